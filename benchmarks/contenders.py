"""The servers that are compared, and how each is started and stopped."""

import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.programs import ROOT, program
from benchmarks.scenarios import (
    ASYNC,
    ASYNC_UVLOOP,
    BARE,
    BEFORE,
    OBJECTS,
    OURS,
    PEER,
    TOPIC,
    WEBSOCKETS,
)

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
        environment: variables that it gets beside those of the benchmark.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


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


def _dorrit(server: Path, *options: str, name: str = "") -> tuple[str, ...]:
    where = f"{server}:{name}" if name else str(server)
    return (sys.executable, "-m", "dorrit", "serve", where, *options, "-x", "-l")


def dorrit_contenders(before: Path | None = None, *options: str) -> list[Contender]:
    """Every echo server of dorrit's, that of five functions first.

    Args:
        before: a folder with another version of dorrit, to be compared with this one.
        *options: for both of them; another version gets those of two words that it knows.
    """
    functions = _SERVERS / "dorrit_functions.py"
    objects = _SERVERS / "dorrit_objects.py"
    return [
        Contender(OURS, _dorrit(functions, *options)),
        *([] if before is None else [_before(before, functions, options)]),
        Contender(OBJECTS, _dorrit(objects, *options, name="app")),
        *(
            Contender(name, _dorrit(objects, *options, "--event-loop", loop, name="async_app"))
            for name, loop in ((ASYNC, "asyncio"), (ASYNC_UVLOOP, "uvloop"))
        ),
    ]


def _before(before: Path, functions: Path, options: Sequence[str]) -> Contender:
    environment = {"PYTHONPATH": str(before)}
    help_text = subprocess.run(
        (sys.executable, "-m", "dorrit", "serve", "--help"),
        env=os.environ | environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    pairs = zip(options[::2], options[1::2], strict=True)
    known = [word for pair in pairs if f" {pair[0]} " in help_text for word in pair]
    return Contender(BEFORE, _dorrit(functions, *known), environment)


def echo_contenders(before: Path | None = None) -> list[Contender]:
    """Every echo server, the yardstick first.

    Args:
        before: a folder with another version of dorrit, to be compared with this one.
    """
    return [
        Contender(BARE, (str(program("bare-echo")),)),
        *dorrit_contenders(before),
        Contender(PEER, _script("picows_server.py", "uvloop", "echo")),
        Contender("picows, asyncio", _script("picows_server.py", "asyncio", "echo")),
        Contender("aiohttp", _script("aiohttp_server.py")),
        Contender(WEBSOCKETS, _script("websockets_server.py", "echo")),
    ]


def fan_out_contenders() -> list[Contender]:
    """Every server that passes each message on to everyone, the yardstick first."""
    objects = _SERVERS / "dorrit_objects_fan_out.py"
    return [
        Contender(BARE, (str(program("bare-echo")), "-f")),
        Contender(OURS, _dorrit(_SERVERS / "dorrit_fan_out.py")),
        Contender(TOPIC, _dorrit(_SERVERS / "dorrit_topic.py")),
        Contender(OBJECTS, _dorrit(objects, name="app")),
        Contender(ASYNC, _dorrit(objects, "--event-loop", "asyncio", name="async_app")),
        Contender(PEER, _script("picows_server.py", "uvloop", "fan-out")),
        Contender(WEBSOCKETS, _script("websockets_server.py", "fan-out")),
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
def running(
    contender: Contender, folder: Path, core: int | None, timeout: float = START_SECONDS
) -> Iterator[Server]:
    """Start a server, wait until it accepts, and stop it in the end.

    Args:
        contender: which.
        folder: for its socket and what it prints; it belongs to the caller.
        core: the processor that it is confined to, or ``None`` for all.
        timeout: seconds for it to accept.

    Raises:
        UnavailableError: it ended before it accepted, or did not accept in time.
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
            env={**os.environ, **contender.environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=prepare,  # noqa: PLW1509 (the harness has one thread)
        )
    try:
        deadline = time.monotonic() + timeout
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
