"""Runs where systemd does: clients send all the time, and what serves them comes to its end."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from tests.live.numbers import EXHAUST, HANG
from tests.live.server import crash, newcomer
from tests.live.traffic import traffic
from tests.support import proc
from tests.support.servers import until

UNIT: Final = "dorrit@numbered"
CLIENTS: Final = 48
IMPATIENT: Final = Path(f"/run/systemd/system/{UNIT}.service.d/watchdog.conf")


def systemctl(*words: str) -> str:
    done = subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout


def shown(name: str) -> str:
    """A property of the unit."""
    return systemctl("show", "-P", name, UNIT).strip()


def worker() -> int:
    """The one that serves."""
    return proc.oldest(proc.children(int(shown("MainPID"))))


def kill(socket: Path) -> None:
    """Kill the worker, and wait until the next one serves."""
    before = worker()
    os.kill(before, signal.SIGKILL)
    until_the_next_serves(before, socket)


def until_the_next_serves(before: int, socket: Path) -> None:
    """Wait until a worker has gone and another one serves."""
    until(lambda: proc.is_gone(before), "the end of the worker")
    with newcomer(socket):
        pass


def exhaust_memory(socket: Path) -> None:
    """Have a handler take memory until the kernel ends the worker, and the next one serve."""
    before = worker()
    with newcomer(socket) as culprit:
        culprit.send(EXHAUST)
        assert culprit.close_code() == 1012
    until_the_next_serves(before, socket)


def out_of_memory_kills() -> int:
    """How many processes of the unit the kernel has ended for want of memory."""
    group = shown("ControlGroup")
    for events in (
        Path(f"/sys/fs/cgroup{group}/memory.events"),
        Path(f"/sys/fs/cgroup/memory{group}/memory.oom_control"),
    ):
        if events.exists():
            counts = dict(line.split() for line in events.read_text().splitlines())
            return int(counts["oom_kill"])
    raise AssertionError("nobody limits memory here")


def scores() -> list[int]:
    """What the kernel adds to the scores of the supervisor and of the worker."""
    pids = (int(shown("MainPID")), worker())
    return [int(Path(f"/proc/{pid}/oom_score_adj").read_text()) for pid in pids]


def start_impatiently() -> None:
    """Start the unit with a watchdog that does not wait as long as the shipped one."""
    IMPATIENT.parent.mkdir(parents=True)
    IMPATIENT.write_text("[Service]\nWatchdogSec=8s\n")
    systemctl("daemon-reload")
    systemctl("start", UNIT)


def hang(socket: Path) -> None:
    """Have a handler hang until the supervisor ends the worker, and the next one serve."""
    before = worker()
    with newcomer(socket) as culprit:
        culprit.send(HANG)
        assert culprit.close_code() == 1011
    until_the_next_serves(before, socket)


def stop_supervisor(socket: Path) -> str:
    """Have the supervisor hang until another server serves; return how many systemd has started."""
    before = shown("MainPID")
    os.kill(int(before), signal.SIGSTOP)
    until(lambda: shown("MainPID") not in {before, "0"}, "another server")
    until(lambda: shown("ActiveState") == "active", "its readiness")
    with newcomer(socket):
        return shown("NRestarts")


MEMORY: Final = "memory"
HANGS: Final = "hangs"
WAYS: Final[Mapping[str, Callable[[Path, int], object]]] = {
    "reloads": lambda _socket, _number: systemctl("reload", UNIT),
    "crashes": crash,
    "kills": lambda socket, _: kill(socket),
    MEMORY: lambda socket, _: exhaust_memory(socket),
    HANGS: lambda socket, _: hang(socket),
}
"""What ends a worker, by what it is called; each returns when the next one serves."""

WATCHDOG: Final = "watchdog"
"""So is what ends the server."""


def under_traffic(program: str, socket: Path, times: int, way: str) -> dict[str, Any]:
    """End the worker so often while clients send; return what they find, and the main pids."""
    pids = []
    with traffic(str(socket), "/x", CLIENTS, program) as sent:
        for number in range(times):
            WAYS[way](socket, number)
            assert systemctl("is-active", UNIT) == "active\n"
            pids.append(shown("MainPID"))
            sent.report()
        return {"found": sent.end(), "pids": pids}


def main(program: str, path: str, times: int, ways: list[str]) -> None:
    """Print what becomes of the unit, and of its clients."""
    socket = Path(path)
    systemctl("start", UNIT)
    found: dict[str, Any] = {"started": shown("MainPID"), "scores": scores()}
    for way in ways:
        if way not in {HANGS, WATCHDOG}:
            found[way] = under_traffic(program, socket, times, way)
    found |= {"killed for memory": out_of_memory_kills(), "restarts": shown("NRestarts")}
    systemctl("stop", UNIT)
    found["result"] = shown("Result")
    if WATCHDOG in ways:
        start_impatiently()
        found[HANGS] = under_traffic(program, socket, 1, HANGS)
        found[WATCHDOG] = stop_supervisor(socket)
        systemctl("stop", UNIT)
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:])
