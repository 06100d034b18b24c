"""Workers: how a supervisor starts one, and what it gives to each besides connections.

A worker that has been started says hello as soon as it can be given connections, before anything
else: a line of JSON, so that any two releases understand each other. What follows on the channel is
of the version that it names (`PROTOCOL`).
"""

import json
import logging
import os
import re
import signal
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn, Self

from dorrit.process.exec.command import Command
from dorrit.process.exec.memfd import nameless_file, unshrinkable_file
from dorrit.process.running.peer import peer_credentials
from dorrit.version import __file__ as version_file
from dorrit.version import __version__

logger: logging.Logger = logging.getLogger("dorrit")

VARIABLE: Final = "DORRIT_WORKER"
"""Tells a worker, and nobody else, the descriptors that it has got."""

AHEAD: Final = "DORRIT_AHEAD"
"""In the environment of a worker it says: load the server before there are connections."""

PROTOCOL: Final = 1
"""The version of what a supervisor and a worker say to each other."""

HELLO_MAX: Final = 1000
"""Bytes of what a worker says first."""

END_TIMEOUT_MAX: Final = 1e9
"""Seconds."""

OOM_SCORE: Final = 100
"""What a worker adds to its oom_score_adj: for want of memory it goes, and not its supervisor."""

NOT_RUN: Final = 127
"""The exit status of a process whose program can't be run, as shells have it."""

NUMBERS: Final = re.compile(r"[0-9]{1,9}(,[0-9]{1,9}){3}")


class WorkerFiles(NamedTuple):
    """Descriptors that a worker gets from its supervisor.

    Attributes:
        channel: The channel between the two.
        ledger: An empty file, for what a crash leaves of the connections.
        carried: One for what a reload leaves of them.
        traceback: One for the traceback of a crash.
    """

    channel: int
    ledger: int
    carried: int
    traceback: int

    @classmethod
    def new(cls) -> tuple[Self, int]:
        """Make them; return them with the supervisor's end of the channel.

        Raises:
            OSError: There is no descriptor or memory for them.
        """
        ours, theirs = socket.socketpair()
        made = [theirs.detach(), ours.detach()]
        try:
            for descriptor in made:
                os.set_blocking(descriptor, False)
            made.append(unshrinkable_file("connections"))
            made.append(unshrinkable_file("carried"))
            made.append(nameless_file("traceback"))
        except OSError:
            for descriptor in made:
                os.close(descriptor)
            raise
        channel, other, *files = made
        return cls(channel, *files), other

    @classmethod
    def inherited(cls) -> Self | None:
        """Return what our parent has passed on to us as a worker; it closes on exec from here on.

        To be called first of all. What may be in the environment of a process that no supervisor
        has started is ignored, with a warning in the log.
        """
        value = os.environ.pop(VARIABLE, None)
        if value is None:
            return None
        if NUMBERS.fullmatch(value):
            files = cls(*map(int, value.split(",")))
            try:
                with socket.socket(fileno=os.dup(files.channel)) as channel:
                    credentials = peer_credentials(channel)
                if credentials in {None, (os.getppid(), os.geteuid())}:
                    for descriptor in files:
                        os.set_inheritable(descriptor, False)
                    return files
            except OSError:
                pass
        logger.warning("%s is in the environment by mistake and ignored", VARIABLE)
        return None

    def value(self) -> str:
        """Return the value of the variable `VARIABLE`."""
        return ",".join(map(str, self))


class SupervisedSettings(NamedTuple):
    """What of a server's settings its supervisor goes by; each worker says what it has.

    Attributes:
        no_restart: A crash ends the server.
        preload: A spare worker loads the server before it is needed.
        end_timeout: Seconds that a worker takes to end, at the most.
    """

    no_restart: bool = False
    preload: bool = False
    end_timeout: float = 0.0

    @classmethod
    def known(cls, said: Mapping[str, Any]) -> Self:
        """Return what of these is known: another release may have others.

        Raises:
            TypeError: It can be nothing of that kind.
        """
        if not isinstance(said, Mapping):
            raise TypeError(said)
        return cls(**{name: said[name] for name in cls._fields if name in said})

    @classmethod
    def decoded(cls, text: bytes) -> Self:
        """Return what a worker has said as "settings", in JSON.

        Raises:
            ValueError: It is nothing of that kind.
        """
        try:
            found = cls.known(json.loads(text)["settings"])
        except (ValueError, TypeError, KeyError, RecursionError):
            raise ValueError("it does not say its settings") from None
        kinds = tuple(map(type, found))
        if kinds not in {(bool, bool, int), (bool, bool, float)} or not (
            0 <= found.end_timeout <= END_TIMEOUT_MAX
        ):
            raise ValueError("one of its settings is of another type")
        return found


class Hello(NamedTuple):
    """What a worker says first.

    Attributes:
        protocol: The version of what it says from then on.
        release: Which dorrit it has loaded; another one has another text.
    """

    protocol: int
    release: str

    def line(self) -> bytes:
        """Return it as it is said."""
        return json.dumps(self._asdict()).encode("ascii") + b"\n"

    @classmethod
    def decoded(cls, text: bytes) -> Self:
        """Return what somebody has said.

        Raises:
            ValueError: It is nothing of that kind.
        """
        try:
            said = json.loads(text)
            hello = cls(said["protocol"], said["release"])
        except (ValueError, TypeError, KeyError, RecursionError):
            raise ValueError("it does not say hello") from None
        if type(hello.protocol) is not int or not isinstance(hello.release, str):
            raise ValueError("it does not say which protocol it speaks")
        return hello


def this_release() -> str:
    """Return which dorrit this process has loaded: its version, and when that was installed."""
    with suppress(OSError):
        return f"{__version__} {Path(version_file).stat().st_mtime_ns}"
    return __version__


RELEASE: Final = this_release()
"""What it was when this process began: a file may be another one afterwards."""


def start_worker(
    command: Command,
    files: WorkerFiles,
    *,
    ahead: bool,
    without: Iterable[str],
    blocked: Iterable[int],
) -> int:
    """Start a worker; return its pid.

    Args:
        command: How the server was started.
        files: What it gets.
        ahead: It is to load the server before there are connections.
        without: Variables that are not in its environment.
        blocked: Signals that wait until it unblocks them.

    Raises:
        OSError: The system can't fork.
    """
    names = {*map(os.fsencode, without)}
    environment = {
        name: value
        for name, _, value in (variable.partition(b"=") for variable in command.environment)
        if name not in names
    }
    environment[os.fsencode(VARIABLE)] = os.fsencode(files.value())
    environment.pop(os.fsencode(AHEAD), None)
    if ahead:
        environment[os.fsencode(AHEAD)] = b"1"
    # Before the process is another program, a signal would be the end of it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    try:
        pid = os.fork()
        if pid == 0:
            _run(command, environment, files, frozenset(blocked))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def _run(
    command: Command,
    environment: dict[bytes, bytes],
    descriptors: Iterable[int],
    blocked: frozenset[int],
) -> NoReturn:
    try:
        # Python ignores SIGPIPE and SIGXFSZ, which what it executes would inherit.
        for number in signal.valid_signals():
            if signal.getsignal(number) is signal.SIG_IGN and number not in command.ignored:
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        for descriptor in descriptors:
            os.set_inheritable(descriptor, True)
        os.umask(command.umask)
        with suppress(OSError):  # it is run elsewhere, as after a crash
            os.chdir(command.directory)
        raise_oom_score()
        words = (command.program, *command.arguments)
        os.execve(command.program, words, environment)  # noqa: S606 - there is no shell on purpose
    except OSError as error:
        os.write(2, f"dorrit: {command.program} can't be run: {error.strerror}\n".encode())
    finally:
        os._exit(NOT_RUN)


def raise_oom_score() -> None:
    """Have the kernel end this process before its supervisor, for want of memory."""
    with suppress(OSError, ValueError):  # it is not Linux, or does not let us
        file = Path("/proc/self/oom_score_adj")
        file.write_text(str(min(1000, int(file.read_text()) + OOM_SCORE)))
