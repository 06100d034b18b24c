"""``python -m benchmarks.pause``: how long clients wait when a server is restarted, of whatever.

The clients (tests/live/traffic.c) send small messages all the time. Of each restart two figures are
taken: the longest time in which no client at all got an answer, and the longest that a client has
waited for one of its answers. The machine is busy all that time, with clients and server; what a
restart costs is what the first figure has more than without one.
"""

import argparse
import contextlib
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from tests.live.server import HERE, crash, reload, serving
from tests.live.traffic import Traffic, traffic
from tests.support import proc
from tests.support.servers import Run

WAYS: Final = {
    "one process": (),
    "supervised": ("--supervise",),
    "with --preload": ("--supervise", "--preload"),
}
"""How a server is run."""

SETTLING: Final = 2.0
"""Seconds after a restart: clients have what they waited for, and there is a spare worker again."""

NO_LIMIT: Final = ("--max-connections", "20000", "--max-handshakes", "20000")


def kill(run: Run) -> None:
    """Kill the worker."""
    os.kill(proc.oldest(proc.children(run.pid)), signal.SIGKILL)


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A directory with a short name that everybody may enter."""
    made = Path(tempfile.mkdtemp(prefix="dorrit-pause-", dir="/tmp"))
    made.chmod(0o755)
    if os.geteuid() == 0:
        shutil.chown(made, "nobody")
    try:
        yield made
    finally:
        shutil.rmtree(made)


def measure(run: Run, sent: Traffic, restart: Callable[[int], object], times: int) -> str:
    """Restart a server so often; return the medians in milliseconds, as a cell of the table."""
    silences, waits = [], []
    for number in range(times):
        sent.report()
        restart(number)
        time.sleep(SETTLING)
        found = sent.report()
        silences.append(found["silence_ms"])
        waits.append(found["longest_ms"])
        if found["wrong"] or run.process.poll() is not None:
            raise RuntimeError(f"a client got something wrong:\n{run.err}")
    return f"{statistics.median(silences):.0f} / {statistics.median(waits):.0f}"


def row(name: str, options: tuple[str, ...], clients: int, times: int) -> str:
    """Measure one way to run a server with so many clients; return the row of the table."""
    with (
        folder() as directory,
        serving(directory, HERE / "numbered.py", *NO_LIMIT, *options) as run,
        traffic(str(run.path), "/", clients, how="plain") as sent,
    ):
        restarts: list[Callable[[int], object]] = [
            lambda _: None,
            lambda _: reload(run),
            lambda number: crash(run.path, number),
        ]
        if options:
            restarts.append(lambda _: kill(run))
        time.sleep(SETTLING)
        cells = [measure(run, sent, restart, times) for restart in restarts]
        found = sent.end()
    cells += ["ends all"] * (4 - len(cells))
    return f"| {clients} | {name} | {' | '.join(cells)} | {found['lost']} |"


def main() -> int:
    """Print the table; nobody fails by a figure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pause", description=__doc__)
    parser.add_argument("--clients", type=int, nargs="+", default=[200, 2000, 18500])
    parser.add_argument("--times", type=int, default=5, help="restarts of each kind")
    arguments = parser.parse_args()
    print("longest silence / longest wait of a client, in ms, medians\n")
    print("| clients | server | no restart | reload | crash | SIGKILL | lost |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for clients in arguments.clients:
        for name, options in WAYS.items():
            print(row(name, options, clients, arguments.times), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
