"""Starts tests/process/crash/restart_server.py, talks to it and ends it."""

import os
import pwd
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import dorrit
from tests.support import proc
from tests.support.servers import TIMEOUT, until

SCRIPT = Path(__file__).with_name("restart_server.py")
LIBRARY = Path(dorrit.__file__).parent.parent
SEARCHED = os.pathsep.join([str(LIBRARY), *filter(None, [os.environ.get("PYTHONPATH")])])
"""PYTHONPATH for an interpreter that is not that of the tests."""
NOBODY = pwd.getpwnam("nobody").pw_uid
CRASHED = "crashed: "
"""What the first line of the report of a crash begins with."""


def interpreter_for_nobody() -> str:
    """An interpreter of this version that every user may run, if we can be another one."""
    if os.geteuid() != 0:
        return sys.executable
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    candidates = [sys.executable, *(f"{prefix}/bin/{version}" for prefix in ("/usr", "/usr/local"))]
    for candidate in candidates:
        with suppress(OSError):
            words = [candidate, "-c", "import ctypes"]
            done = subprocess.run(words, check=False, user=NOBODY, stderr=subprocess.DEVNULL)
            if done.returncode == 0:
                return candidate
    raise AssertionError(f"nobody may run none of {candidates}")


def line_of(function: str, text: str) -> str:
    """Where a traceback says that a line of a function of the server is."""
    lines = SCRIPT.read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"def {function}("))
    number = next(i for i in range(start + 1, len(lines)) if text in lines[i]) + 1
    return f'  File "{SCRIPT}", line {number} in {function}'


class Caller:
    """A client that asks one thing."""

    def __init__(self, path: Path, code: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(TIMEOUT)
        self.socket.connect(os.fspath(path))
        self.socket.sendall(code.encode())
        self.socket.shutdown(socket.SHUT_WR)

    def answer(self) -> str:
        """The answer; empty if the server did not live to give it, or none was asked for."""
        with self.socket:
            return b"".join(iter(lambda: self.socket.recv(65536), b"")).decode()


class Server:
    """A server that runs in the background.

    Attributes:
        pid: Of the server, which is not `process` if it is a daemon.
    """

    def __init__(
        self,
        directory: Path,
        *options: str,
        command: Sequence[str] | None = None,
        environment: dict[str, str] | None = None,
        **settings: Any,
    ) -> None:
        self.path = directory / "socket"
        self.log_path = directory / "socket.log"
        self.error_path = directory / "stderr"
        words = command or [sys.executable, str(SCRIPT)]
        with self.error_path.open("ab") as stderr:
            self.process = subprocess.Popen(
                [*words, str(self.path), *options],
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                env=os.environ | {"PYTHONPATH": SEARCHED} | (environment or {}),
                **settings,
            )
        self.pid = self.process.pid
        until(lambda: "ready" in self.log or self.process.poll(), "the server's start")
        assert "ready" in self.log, self.errors
        self.pid = int(self.ask("answer = os.getpid()"))

    @property
    def log(self) -> list[str]:
        return self.log_path.read_text().splitlines() if self.log_path.exists() else []

    @property
    def errors(self) -> str:
        return self.error_path.read_text()

    @property
    def restarts(self) -> int:
        return int(self.ask("answer = server.handover.restarts"))

    def call(self, code: str) -> Caller:
        return Caller(self.path, code)

    def ask(self, code: str) -> str:
        return self.call(code).answer()

    def crash(self, code: str = "null_dereference()") -> None:
        """Run what crashes the server; return when it has, or when it has not."""
        with suppress(ConnectionResetError):
            assert self.ask(code) == ""

    def crash_for_good(self, code: str = "null_dereference()") -> int:
        """The same, where the process ends; return its exit status."""
        self.crash(code)
        return self.wait()

    def wait(self) -> int:
        return self.process.wait(TIMEOUT)

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)

    def logged(self, begin: str) -> list[str]:
        """The lines of the log that begin so."""
        return [line for line in self.log if line.startswith(begin)]

    def close(self) -> None:
        # What is killed at once loses what was measured of it.
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                self.process.send_signal(number)
                with suppress(subprocess.TimeoutExpired):
                    self.process.wait(5)
        if self.pid != self.process.pid:
            with suppress(ProcessLookupError):
                self.terminate()
            with suppress(AssertionError):
                until(lambda: proc.is_gone(self.pid))
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


class Starter:
    """Starts servers in a directory of their own each."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.directory.chmod(0o777)  # the server may be nobody's
        self.servers: list[Server] = []

    def __call__(self, *options: str, **settings: Any) -> Server:
        directory = self.directory / str(len(self.servers))
        directory.mkdir()
        directory.chmod(0o777)
        server = Server(directory, *options, **settings)
        self.servers.append(server)
        return server

    def close(self) -> None:
        for server in self.servers:
            server.close()
