"""The servers that are compared, and how each is started and stopped."""

import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.programs import ROOT, program
from benchmarks.scenarios import BARE, OURS, PEER

START_SECONDS = 15.0
STOP_SECONDS = 10.0

_SERVERS = ROOT / "benchmarks" / "servers"


class UnavailableError(Exception):
    """A server cannot take part; the text says why."""


@dataclass(frozen=True)
class Contender:
    """A server program.

    Attributes:
        name: as it stands in the tables.
        command: its arguments; the path of the socket is appended.
    """

    name: str
    command: tuple[str, ...]


@dataclass(frozen=True)
class Server:
    """A server that runs and accepts connections.

    Attributes:
        name: of its contender.
        pid: of its only process.
        path: of its UNIX socket.
    """

    name: str
    pid: int
    path: Path


def _script(file: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, str(_SERVERS / file), *arguments)


def _dorrit(server_file: Path) -> tuple[str, ...]:
    return (sys.executable, "-m", "dorrit", "serve", str(server_file), "-x", "-l")


def echo_contenders() -> list[Contender]:
    """Every echo server, the yardstick first."""
    return [
        Contender(BARE, (str(program("bare-echo")),)),
        Contender(OURS, _dorrit(ROOT / "examples" / "echo.py")),
        Contender(PEER, _script("picows_server.py", "uvloop", "echo")),
        Contender("picows, asyncio", _script("picows_server.py", "asyncio", "echo")),
        Contender("aiohttp", _script("aiohttp_server.py")),
        Contender("websockets", _script("websockets_server.py", "echo")),
    ]


def fan_out_contenders() -> list[Contender]:
    """Every server that passes each message on to everyone, the yardstick first."""
    return [
        Contender(BARE, (str(program("bare-echo")), "-f")),
        Contender(OURS, _dorrit(_SERVERS / "dorrit_fan_out.py")),
        Contender(PEER, _script("picows_server.py", "uvloop", "fan-out")),
        Contender("websockets", _script("websockets_server.py", "fan-out")),
    ]


def _raise_descriptor_limit() -> None:
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


@contextmanager
def running(contender: Contender, folder: Path, core: int | None) -> Iterator[Server]:
    """Start a server, wait until it accepts, and stop it in the end.

    Args:
        contender: which.
        folder: for its socket and what it prints; it belongs to the caller.
        core: the processor that it is confined to, or ``None`` for all.

    Raises:
        UnavailableError: it ended before it accepted, or did not accept in ``START_SECONDS``.
    """
    stem = "".join(letter if letter.isalnum() else "-" for letter in contender.name)
    path = folder / f"{stem}.socket"
    log = folder / f"{stem}.log"
    affinity = os.sched_getaffinity(0) if core is None else {core}

    def prepare() -> None:
        os.sched_setaffinity(0, affinity)
        _raise_descriptor_limit()

    with log.open("wb") as output:
        process = subprocess.Popen(
            [*contender.command, str(path)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=prepare,  # noqa: PLW1509 (the harness has one thread)
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _accepts(path):
            if process.poll() is not None or time.monotonic() > deadline:
                lines = log.read_text(errors="replace").strip().splitlines()
                raise UnavailableError(lines[-1] if lines else "it does not listen")
            time.sleep(0.02)
        yield Server(contender.name, process.pid, path)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        path.unlink(missing_ok=True)
