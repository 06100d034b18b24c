"""Real daemons, started as an administrator starts them."""

import contextlib
import ctypes
import os
import secrets
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dorrit.drive.supervision import MODULE
from dorrit.process.files.janitor import PROGRAM
from tests.process.crash.restarting import SEARCHED, interpreter_for_nobody
from tests.support import proc
from tests.support.servers import FIVE, TIMEOUT, Client, until

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
        pid: The daemon's, once it has been started: its supervisor's, if it has one.
    """

    pid = 0

    def __init__(self, directory: Path, *, supervised: bool | None = None) -> None:
        """See `Daemons`."""
        self._is_supervised = supervised
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

    @property
    def interpreter(self) -> str:
        """Of the server, and of commands that its user must be able to run."""
        return interpreter_for_nobody() if self._is_supervised else sys.executable

    def command(self, *options: object) -> list[str]:
        words = [self.interpreter, "-m", "dorrit", "serve", self.file, *options]
        return [str(word) for word in words] + self.options

    @property
    def options(self) -> list[str]:
        """Those without which it would be another kind of daemon."""
        return ["--no-supervise"] if self._is_supervised is False else []

    def run(
        self, *options: object, command: list[str] | None = None, **settings: Any
    ) -> "subprocess.CompletedProcess[str]":
        """Run the command that starts it, to its end."""
        if self._is_supervised:
            settings = {"env": os.environ | {"PYTHONPATH": SEARCHED}} | settings
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
        if self._is_supervised is not None:
            assert bool(self.workers) is self._is_supervised
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
            if folder.name.isdecimal():
                words = proc.words(int(folder.name))
                if words[4:5] == [self.name] and Path(words[3]).name == PROGRAM.name:
                    return int(folder.name)
        return None

    @property
    def workers(self) -> list[int]:
        """The pids of its workers; none, if it has no supervisor."""
        if self.pid and MODULE in proc.words(self.pid):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                return sorted(proc.children(self.pid))
        return []

    @property
    def server(self) -> int:
        """The pid of the process that has its code."""
        if self._is_supervised:
            until(lambda: self.workers, "the worker")
        workers = self.workers  # there may be a spare one by now
        return proc.oldest(workers) if workers else self.pid

    @property
    def processes(self) -> set[int]:
        """The pids of its own processes: two, if it has a supervisor, without a spare worker."""
        return {self.pid, self.server}

    def close(self) -> None:
        """End whatever is left of it."""
        for pid in (self.pid, *self.workers, self.janitor):
            if pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                until(lambda pid=pid: proc.is_gone(pid), "its end")  # type: ignore[misc]
        for suffix in self.files:
            (RUN / (self.name + suffix)).unlink(missing_ok=True)


class Daemons:
    """Makes daemons, and ends those that are left."""

    def __init__(self, directory: Path, *, supervised: bool | None = None) -> None:
        """Make none yet.

        Args:
            directory: Where their files are.
            supervised: They have a supervisor, or none; None: as Python is installed here, since
                their user may not be able to run it.
        """
        self.directory = directory
        self.is_supervised = supervised
        self.made: list[Daemon] = []

    def __call__(self, source: str = "") -> Daemon:
        daemon = Daemon(self.directory, supervised=self.is_supervised)
        daemon.write(source)
        self.made.append(daemon)
        return daemon

    def close(self) -> None:
        for daemon in self.made:
            daemon.close()
