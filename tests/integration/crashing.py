"""Servers that crash when they are told to, started by all who may start one."""

import contextlib
import os
import pwd
import re
import secrets
import signal
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.process.restarting import LIBRARY, interpreter_for_nobody
from tests.support import proc
from tests.support.daemons import RUN
from tests.support.servers import FIVE, PATIENCE, Client, until

NOBODY = pwd.getpwnam("nobody")

CRASH = "crash"
"""The message that makes a server read from the address 0."""

CODE = "code "
"""What a message begins with whose rest the server runs; it answers with `answer`."""

SOURCE = '''
import ctypes, signal

def ws_read_callback(conn, binary, data):
    if data == b"crash":
        ctypes.string_at(0)
    elif data.startswith(b"code "):
        names = globals() | {"conn": conn, "answer": "done"}
        exec(data[5:], names)
        ws_write_conn(conn, False, str(names["answer"]))
    else:
        ws_write_conn(conn, binary, data)
'''

COPY = """
def ws_init_func():
    dorrit.ws_set_name({name!r})
    with open({starts!r}, "a") as file:
        file.write("start\\n")
    starts = open({starts!r}).read().count("start")
    in_init(starts)
"""
"""Counts how often it was started, which a process that is replaced can't do for itself."""

IN_INIT = """
def in_init(starts):
    pass
"""
"""Called at the end of ``ws_init_func`` with the number of starts, this one included."""


@dataclass(frozen=True, slots=True)
class Starter:
    """Who starts a server, and who it is then.

    Attributes:
        root: Root starts it; else nobody.
        user: Who it is to be.
    """

    root: bool
    user: str

    def __str__(self) -> str:
        """Return it in words, for the names of tests."""
        return f"{self.user}-by-{'root' if self.root else 'nobody'}"


AS_ROOT = Starter(root=True, user="root")
DROPPED = Starter(root=True, user="nobody")
AS_NOBODY = Starter(root=False, user="nobody")
STARTERS = (AS_ROOT, DROPPED, AS_NOBODY)


class Server:
    """A server in a directory of its own.

    Attributes:
        name: Its name, which no other has.
        path: Its socket.
        file: What it is written in.
        starts: A file with a line for each of its images.
        pid: The server's, once it runs.
        process: The command that started it: in the foreground, the server.
    """

    pid = 0
    process: "subprocess.Popen[bytes]"

    def __init__(self, parent: Path, starter: Starter, source: str) -> None:
        self.starter = starter
        self.name = f"test{secrets.token_hex(4)}"
        self.directory = parent / self.name
        self.directory.mkdir()
        self.directory.chmod(0o755)
        self.path = self.directory / "socket"
        self.file = self.directory / "server.py"
        self.starts = self.directory / "starts"
        self.starts.touch()
        self.errors = self.directory / "stderr"
        init = COPY.format(name=self.name, starts=str(self.starts))
        self.file.write_text(FIVE + SOURCE + IN_INIT + textwrap.dedent(source) + init)
        if starter.user == "nobody":
            os.chown(self.starts, NOBODY.pw_uid, NOBODY.pw_gid)
        if not starter.root:
            os.chown(self.directory, NOBODY.pw_uid, NOBODY.pw_gid)
        self.interpreter = sys.executable
        if starter.user == "nobody":
            self.interpreter = interpreter_for_nobody()

    def start(
        self,
        *options: object,
        daemon: bool = False,
        command: Sequence[object] | None = None,
        prefix: Sequence[object] = (),
        environment: dict[str, str] | None = None,
        **settings: Any,
    ) -> "Server":
        """Start it; return when it serves.

        Args:
            options: Further ones.
            daemon: Not in the foreground.
            command: In place of ``dorrit serve FILE``.
            prefix: What comes before the interpreter.
            environment: Further variables.
            settings: Of `subprocess.Popen`.
        """
        words = [*prefix, self.interpreter, *(command or ["-m", "dorrit", "serve", self.file])]
        if "-l" not in options:
            words += ["-l", self.path]
        if self.starter.root:
            words += ["-u", self.starter.user]
            words += ["-g", "root" if self.starter.user == "root" else NOBODY.pw_gid]
        else:
            settings |= {"user": NOBODY.pw_uid, "group": NOBODY.pw_gid, "extra_groups": []}
        if not daemon:
            words.append("-x")
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [str(word) for word in (*words, *options)],
                **{
                    "stdin": subprocess.DEVNULL,
                    "stdout": errors,
                    "stderr": errors,
                    "cwd": self.directory,
                    "env": os.environ | {"PYTHONPATH": str(LIBRARY)} | (environment or {}),
                }
                | settings,
            )
        if daemon:
            assert self.process.wait(PATIENCE) == 0, self.log
        else:
            self.until_logged(" listening on ")
        self.pid = int(self.run("answer = os.getpid()"))
        return self

    @property
    def log(self) -> str:
        """What it has said on stderr."""
        return self.errors.read_text()

    def until_logged(self, text: str, times: int = 1) -> None:
        """Wait for a text in the log, so often."""
        until(
            lambda: self.log.count(text) >= times or self.process.poll() is not None,
            f"{text!r} in the log",
        )
        assert self.log.count(text) >= times, self.log

    @property
    def images(self) -> int:
        """How often it was started."""
        return len(self.starts.read_text().splitlines())

    def connect(self) -> Client:
        return Client(self.path)

    def ask(self, text: str) -> str:
        """Send a text and return the answer; the client goes then."""
        client = self.connect()
        with client.socket:
            return client.ask(text)

    def run(self, code: str) -> str:
        """Have the server run some code; return what it has put into `answer`."""
        return self.ask(CODE + code)

    def crash(self, code: str = "") -> None:
        """Make it crash, by a null dereference if no code is given; return when it has."""
        client = self.connect()
        with client.socket:
            client.send(CODE + code if code else CRASH)
            assert client.ended()

    def crash_again(self, times: int) -> None:
        """Crash it, and wait until it serves, so often."""
        for _ in range(times):
            self.crash()
            assert self.ask("again") == "again"

    def status(self) -> dict[str, str]:
        """What `dorrit status` says, row by row; without the time since the start."""
        said = subprocess.run(
            [sys.executable, "-m", "dorrit", "status", str(self.path)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        ).stdout
        rows = dict(re.findall(r"^(\w+) +(.*)$", said, re.MULTILINE))
        rows["pid"] = re.findall(r"running as process (\d+)", said)[0]
        rows["since"] = rows.pop("up").partition("since ")[2]
        return rows

    @property
    def files(self) -> set[str]:
        """What there is of it: beside its socket, and in /var/run."""
        beside = {path.name for path in self.directory.glob("socket*")}
        return beside | {path.name for path in RUN.glob(f"{self.name}*")}

    def terminate(self) -> None:
        os.kill(self.pid or self.process.pid, signal.SIGTERM)

    def wait(self) -> int:
        """Wait for the end of a foreground server; return its exit status."""
        return self.process.wait(PATIENCE)

    def stop(self) -> int:
        """Stop a foreground server in order; return its exit status."""
        self.terminate()
        return self.wait()

    def close(self) -> None:
        """End whatever is left of it."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.pid and self.pid != self.process.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            until(lambda: proc.is_gone(self.pid), "its end")
        for path in RUN.glob(f"{self.name}*"):
            path.unlink(missing_ok=True)


class Crashing:
    """Makes servers, and ends those that are left."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.directory.chmod(0o755)
        self.made: list[Server] = []

    def __call__(self, source: str = "", *, starter: Starter = AS_ROOT) -> Server:
        """Make a server that isn't started yet; `source` takes the place of what is there."""
        server = Server(self.directory, starter, source)
        self.made.append(server)
        return server

    def close(self) -> None:
        for server in self.made:
            if hasattr(server, "process"):
                server.close()


def traceback_line(server: Server, code: str) -> str:
    """What a traceback of faulthandler says of the line of the server's file with that code."""
    lines = server.file.read_text().splitlines()
    number = next(i for i, line in enumerate(lines, 1) if line.strip() == code)
    return f'File "{server.file}", line {number} in ws_read_callback'
