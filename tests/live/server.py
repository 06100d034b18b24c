"""The server for `traffic.c`, behind a real nginx, and how it is reloaded."""

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.integration.nginx import nginx_in_front_of
from tests.live.numbers import ANSWERED, ASKED, CRASHES
from tests.live.traffic import ROOT, Traffic, traffic
from tests.process.crash.restarting import SEARCHED, interpreter_for_nobody
from tests.support import proc
from tests.support.frames import BINARY, frame
from tests.support.servers import TIMEOUT, Client, Run, dorrit, request_with, until

HERE: Final = Path(__file__).parent

AT_ONCE: Final = str(HERE / "at_once")
"""In PYTHONPATH it has a server that crashes serve again at once, however often it has done so."""

SERVERS: Final = {
    "five functions": "numbered.py",
    "async handlers": "numbered_async.py:app",
}
"""What runs, by what the tests call it."""


LOST_BY_KILL: Final = 2
"""Connections that SIGKILL costs: one whose input was handled, and one that was written to."""

MARK: Final = 7
"""The number of a client that is none of `traffic.c`; any will do."""

ANSWERS: Final = 200
"""After so many, a worker serves."""


@dataclass
class Live:
    """A server, and clients of it that send all the time.

    Attributes:
        run: The server's process.
        traffic: The clients.
    """

    run: Run
    traffic: Traffic


def reload(run: Run) -> None:
    """Have a server's code run anew, and wait for that."""
    done = subprocess.run(
        [str(word) for word in dorrit("reload", run.path)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stderr + run.err


def crash(socket: Path, number: int) -> None:
    """Have a handler crash a server, for a client of its own, and wait until it serves again.

    Args:
        socket: The server's.
        number: How often it has been crashed so; each time it is another of `CRASHES`.
    """
    client = Client(socket, request_with(b"Cookie: client=0"))
    client.socket.sendall(frame(BINARY, CRASHES[number % len(CRASHES)]))
    assert client.close_code() == 1011
    client.socket.close()


@contextlib.contextmanager
def newcomer(socket: Path) -> Iterator[Client]:
    """A client that comes now, and is served."""
    client = Client(socket, request_with(b"Cookie: client=%d" % MARK))
    with client.socket:
        client.send(ASKED.pack(0, 1, ANSWERED.size))
        received = client.receive()
        assert received.opcode == BINARY
        assert received.payload == ANSWERED.pack(0, 0, MARK, 1)
        yield client


def kill_worker(run: Run) -> None:
    """Kill the worker of a supervised server, and wait until the next one serves."""
    served = run.err.count("listening on")
    os.kill(proc.oldest(proc.children(run.pid)), signal.SIGKILL)
    until(lambda: run.err.count("listening on") > served, "the next worker")


def kill(running: Live) -> dict[str, Any]:
    """Kill the worker of a supervised server, and wait until the next one has answered many.

    Returns:
        What the clients have found so far, with their longest wait meanwhile.
    """
    kill_worker(running.run)
    found = running.traffic.report()
    before = found["answers"]

    def answers() -> bool:
        longest = found["longest_ms"]
        found.update(running.traffic.report())
        found["longest_ms"] = max(longest, found["longest_ms"])
        return bool(found["answers"] > before + ANSWERS)

    until(answers, "answers of the next worker")
    return found


def nobody_notices(running: Live, times: int, restart: Callable[[int], object]) -> None:
    """Restart a server so often: no client may be lost, and no message lost, doubled or misplaced.

    Args:
        running: The server, and its clients.
        times: How often.
        restart: `restart(number)` does it, and returns when the server serves again.
    """
    run, answers = running.run, 0
    pid = run.pid
    for number in range(times):
        restart(number)
        found = running.traffic.report()
        assert (found["lost"], found["wrong"]) == (0, 0), run.err
        assert found["answers"] > answers
        answers = found["answers"]
    found = running.traffic.end()
    assert (found["lost"], found["wrong"], found["codes"]) == (0, 0, {}), run.err
    assert run.process.poll() is None
    assert run.pid == pid


def with_little_room(configuration: str) -> str:
    """Have what clients do not read wait at the server, and not in nginx's kernel buffers."""
    return re.sub(r"(listen 127\.[\d.:]+);", r"\1 sndbuf=16k;", configuration)


@contextlib.contextmanager
def serving(directory: Path, server: str | Path, *options: str) -> Iterator[Run]:
    """Run a server that its own user may execute anew, within the block; then it has to stop."""
    command = [interpreter_for_nobody(), "-m", "dorrit", "serve", server, "-x"]
    command += ["-l", directory / "socket", "--slow-handler", "60", *options]
    searched = os.pathsep.join((SEARCHED, str(ROOT), AT_ONCE))
    run = Run(command, directory, env=os.environ | {"PYTHONPATH": searched})
    try:
        yield run.until_listening()
        run.process.terminate()
        assert run.wait() == 0, run.err
    finally:
        run.kill()


@contextlib.contextmanager
def live(
    directory: Path, server: str, clients: int, *options: str, how: str | None = "paced"
) -> Iterator[Live]:
    """Run a server behind nginx, with so many clients, within the block; then it has to stop.

    How they send, `traffic` says: by default so that all that runs beside it has its part.
    """
    with (
        serving(directory, HERE / server, "--rfc", *options) as run,
        nginx_in_front_of(run.path, edit=with_little_room, connections=4 * clients + 100) as nginx,
        traffic(f"127.0.0.1:{nginx.port}", "/websocket", clients, how=how) as sent,
    ):
        yield Live(run, sent)
