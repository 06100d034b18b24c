"""Real daemons, started as an administrator starts them."""

import contextlib
import ctypes
import os
import secrets
import signal
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support import proc
from tests.support.servers import FIVE, TIMEOUT, Client, dorrit, until

RUN = Path("/var/run")

PR_SET_CHILD_SUBREAPER = 36


@contextlib.contextmanager
def reaper() -> Iterator[None]:
    """Be told how daemons end: they become children of ours when their parents have ended."""
    library = ctypes.CDLL(None)
    assert library.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    try:
        yield
    finally:
        library.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass


class Daemon:
    """A server of a name of its own.

    Attributes:
        name: Its name.
        file: What it is written in.
        path: Its socket.
        pid_file: Its pid file, if root starts it.
        pid: The daemon's, once it has been started.
    """

    pid = 0

    def __init__(self, directory: Path) -> None:
        self.name = f"test{secrets.token_hex(4)}"
        self.file = directory / f"{self.name}.py"
        self.path = RUN / f"{self.name}.socket"
        self.pid_file = RUN / f"{self.name}.pid"

    def write(self, source: str = "") -> None:
        """Write its file: the five functions, then `source`, with which `ws_init_func` begins to
        set the name."""
        init = f"""
            _init = ws_init_func
            def ws_init_func():
                dorrit.ws_set_name({self.name!r})
                _init()
        """
        self.file.write_text(FIVE + textwrap.dedent(source) + textwrap.dedent(init))
        self.file.chmod(0o644)

    @property
    def files(self) -> set[str]:
        """What there is of it in /var/run, without its name."""
        return {
            path.name.removeprefix(self.name)
            for path in RUN.iterdir()
            if path.name.startswith(self.name)
        }

    def command(self, *options: object) -> list[str]:
        return [str(word) for word in dorrit("serve", self.file, *options)]

    def run(
        self, *options: object, command: list[str] | None = None, **settings: Any
    ) -> "subprocess.CompletedProcess[str]":
        """Run the command that starts it, to its end."""
        return subprocess.run(
            command or self.command(*options),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
            **settings,
        )

    def start(self, *options: object, **settings: Any) -> "subprocess.CompletedProcess[str]":
        """Start it; return the command's end."""
        if not self.file.exists():
            self.write()
        ended = self.run(*options, **settings)
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout == ""
        self.pid = int(self.pid_file.read_text())
        return ended

    def connect(self) -> Client:
        return Client(self.path)

    def ask(self, text: str) -> str:
        """Send a text and return the answer; the client goes then."""
        client = self.connect()
        with client.socket:
            return client.ask(text)

    def kill(self, number: int = signal.SIGKILL) -> None:
        os.kill(self.pid, number)

    def wait(self) -> int:
        """Wait for its end, as its reaper; return its exit status, negative for a signal."""
        until(lambda: proc.is_gone(self.pid), "the end of the daemon")
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def stop(self) -> int:
        """Stop it in order; return its exit status."""
        self.kill(signal.SIGTERM)
        return self.wait()

    @property
    def janitor(self) -> int | None:
        """The pid of its janitor."""
        for folder in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                words = (folder / "cmdline").read_bytes().split(b"\0")
                if len(words) > 5 and words[4] == self.name.encode():
                    return int(folder.name)
        return None

    def close(self) -> None:
        """End whatever is left of it."""
        for pid in (self.pid, self.janitor):
            if pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                until(lambda pid=pid: proc.is_gone(pid), "its end")  # type: ignore[misc]
        for suffix in self.files:
            (RUN / (self.name + suffix)).unlink(missing_ok=True)


class Daemons:
    """Makes daemons, and ends those that are left."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.made: list[Daemon] = []

    def __call__(self, source: str = "") -> Daemon:
        daemon = Daemon(self.directory)
        daemon.write(source)
        self.made.append(daemon)
        return daemon

    def close(self) -> None:
        for daemon in self.made:
            daemon.close()
