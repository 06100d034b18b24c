"""Real servers, each a process of its own, and a blocking client for them."""

import contextlib
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from tests.support import proc
from tests.support.frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    REQUEST,
    TEXT,
    Received,
    close_frame,
    frame,
    parse,
)

TIMEOUT = 120.0
"""Seconds after which what does not come will not come."""

# An address in memory; not the end of a directory with a random name ("/tmp/dorrit-0x1684ba").
ADDRESS = re.compile(r"(?<![\w-])0x[0-9a-f]{6,}")
"""What must not be in the log: it tells where things are in memory."""

FIRST_LINE = re.compile(r"^[-\d]{10} [:\d]{8},\d{3} [A-Z]+ .*", re.MULTILINE)
"""A record's, but for what is in an exception."""

FIVE = """\
import os, sys, time
import dorrit
from dorrit import ws_close_conn, ws_get_data, ws_set_data, ws_write_conn

def say(*words):
    print(*words, flush=True)

def ws_init_func():
    pass

def ws_open_callback(conn, cookie):
    return 0

def ws_read_callback(conn, binary, data):
    ws_write_conn(conn, binary, data)

def ws_close_callback(conn):
    pass

def ws_exit_func():
    pass

"""
"""An echo server; what a test appends to it takes the place of what has the same name."""


def until(condition: Callable[[], object], what: str = "what was waited for") -> None:
    """Wait for a condition that another process brings about; it is asked for ever less often."""
    begun = time.monotonic()
    while not condition():
        waited = time.monotonic() - begun
        assert waited < TIMEOUT, f"{what} did not come"
        time.sleep(min(0.002 + waited / 20, 0.05))


def until_it_sleeps(pid: int) -> None:
    """Wait until a server waits for its clients.

    Who has started it goes on as soon as it says that it is ready; it closes what it says so with
    after that.
    """
    until(lambda: str(proc.waits_in(pid)).startswith("epoll_"), "its sleep")


class Run:
    """A command that runs, with its standard output and error in files.

    Attributes:
        process: It.
        path: The socket, for a server.
    """

    def __init__(self, command: Sequence[object], directory: Path, **settings: Any) -> None:
        self.path = directory / "socket"
        number = len(list(directory.glob("out*")))
        self._out = directory / f"out{number}"
        self._err = directory / f"err{number}"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": err}
            self.process: subprocess.Popen[bytes] = subprocess.Popen(
                [str(word) for word in command], **streams | settings
            )

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def said(self) -> list[str]:
        """The lines of the standard output."""
        return self.out.splitlines()

    @property
    def err(self) -> str:
        return self._err.read_text()

    @property
    def log(self) -> list[str]:
        """The lines of its log, but for the warning that it runs as root, as the tests may do."""
        return [line for line in self.err.splitlines() if " the server runs as root: " not in line]

    @property
    def pid(self) -> int:
        return self.process.pid

    def until_listening(self) -> Self:
        until(
            lambda: " listening on " in self.err or self.process.poll() is not None,
            "the server's start",
        )
        assert self.process.poll() is None, self.err
        return self

    def until_said(self, line: str) -> None:
        until(lambda: line in self.said, repr(line))

    def until_logged(self, text: str) -> None:
        """Wait until it has logged this, which one that has failed will not do any more."""
        until(lambda: text in self.err or self.process.poll() not in {None, 0}, repr(text))
        assert text in self.err, f"it ended without {text!r}:\n{self.err}"

    def wait(self) -> int:
        """Wait for its end; return its exit status, negative if a signal has ended it."""
        return self.process.wait(TIMEOUT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def dorrit(*words: object) -> list[object]:
    """The command ``dorrit`` of the interpreter that runs the tests."""
    return [sys.executable, "-m", "dorrit", *words]


class Servers:
    """Starts commands in a directory of their own, and ends those that are left."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "socket"
        self.runs: list[Run] = []
        self.clients: list[Client] = []
        self.others: list[socket.socket] = []

    def write(self, source: str, name: str = "server.py") -> Path:
        """Write a server's file: the five functions, then `source`."""
        path = self.directory / name
        path.write_text(FIVE + textwrap.dedent(source))
        return path

    def start(self, *command: object, **settings: Any) -> Run:
        """Run a command."""
        run = Run(command, self.directory, **{"cwd": self.directory} | settings)
        self.runs.append(run)
        return run

    def run(self, *command: object, **settings: Any) -> Run:
        """Run a command to its end."""
        run = self.start(*command, **settings)
        run.wait()
        return run

    def command(self, server: object, *options: object) -> list[object]:
        """The command that runs a server in the foreground on our socket."""
        # As who runs the tests: who started by root becomes nobody has tests of its own.
        user = ["-u", os.geteuid(), "-g", os.getegid()]
        # Where much else is to be done, any handler may take a second; that is told in the log.
        patient = ["--slow-handler", 60]
        return dorrit("serve", server, "-x", "-l", self.path, *user, *patient, *options)

    def serve(self, source: str | Path, *options: object, **settings: Any) -> Run:
        """Run a server until it listens: a file, or what to write into one."""
        file = source if isinstance(source, Path) else self.write(source)
        return self.start(*self.command(file, *options), **settings).until_listening()

    def connect(self, request: bytes = REQUEST) -> "Client":
        """A client of the server, which has its answer."""
        client = Client(self.path, request)
        self.clients.append(client)
        return client

    def is_listening(self) -> bool:
        """Whether a client could connect."""
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(os.fspath(self.path)) == 0

    def stop(self, run: Run, number: int = signal.SIGTERM) -> int:
        """Stop a server; the clients that are left go, so that it need not wait for them."""
        run.process.send_signal(number)
        for client in self.clients:
            client.socket.close()
        return run.wait()

    def close(self) -> None:
        for end in [*(client.socket for client in self.clients), *self.others]:
            end.close()
        for run in self.runs:
            run.kill()
            assert not ADDRESS.search("\n".join(FIRST_LINE.findall(run.err))), run.err


def request_with(*lines: bytes) -> bytes:
    """A valid request with further header lines."""
    return REQUEST[:-2] + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


class Client:
    """A client that waits for what it wants to have; what does not come fails the test."""

    def __init__(self, address: Path | int, request: bytes = REQUEST) -> None:
        """Connect to a socket, or to a port of this machine, and send a request."""
        at = ("127.0.0.1", address) if isinstance(address, int) else os.fspath(address)
        self.socket = socket.socket(socket.AF_UNIX if isinstance(at, str) else socket.AF_INET)
        # A connect(2) that blocks waits for a place in the backlog; one with a timeout of Python's
        # does not block.
        seconds = struct.pack("ll", int(TIMEOUT), 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, seconds)
        self._rest = b""
        self._frames: list[Received] = []
        try:
            self.socket.connect(at)
            self.socket.settimeout(TIMEOUT)
            self.socket.sendall(request)
            while b"\r\n\r\n" not in self._rest:
                self._read()
        except BaseException:
            self.socket.close()
            raise
        self.head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        self.status = int(self.head.split()[1])

    def _read(self) -> None:
        data = self.socket.recv(1 << 16)
        if not data:
            raise EOFError
        self._rest += data

    def send(self, data: str | bytes) -> None:
        """Send a message."""
        if isinstance(data, str):
            self.socket.sendall(frame(TEXT, data.encode()))
        else:
            self.socket.sendall(frame(BINARY, data))

    def receive(self) -> Received:
        """The next frame; EOFError at the end."""
        while not self._frames:
            frames, self._rest = parse(self._rest)
            self._frames += frames
            if not frames:
                self._read()
        return self._frames.pop(0)

    def text(self) -> str:
        """The next frame, which must be a text."""
        received = self.receive()
        assert received.opcode == TEXT, received
        return received.payload.decode()

    def ask(self, text: str) -> str:
        """Send a text and return the text that comes back."""
        self.send(text)
        return self.text()

    def close_code(self) -> int | None:
        """Read to the close frame and return its code."""
        while (received := self.receive()).opcode != CLOSE:
            pass
        return received.code

    def ended(self) -> bool:
        """Whether nothing comes before the end."""
        try:
            self.receive()
        except (EOFError, ConnectionResetError):
            return True
        return False

    def close(self) -> None:
        """Close in order: both close frames, then the end."""
        self.socket.sendall(close_frame(1000))
        assert self.close_code() == 1000
        assert self.ended()
        self.socket.close()


class AnsweringClient(Client):
    """A client that answers pings, and does not show them."""

    def receive(self) -> Received:
        while (received := super().receive()).opcode == PING:
            with contextlib.suppress(OSError):  # it need not be heard any more
                self.socket.sendall(frame(PONG, received.payload))
        return received
