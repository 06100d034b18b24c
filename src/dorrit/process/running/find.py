"""Finds a server that runs, makes sure that it is the one that is meant, and stops it."""

import fcntl
import os
import re
import signal
import stat
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from dorrit.errors import StartError
from dorrit.process.control.status import Status
from dorrit.process.files import command_file
from dorrit.process.files.command_file import Record
from dorrit.process.files.paths import (
    DIRECTORY,
    UNNAMED,
    command_path,
    command_path_beside,
    pid_path,
    socket_path,
    status_path,
)
from dorrit.process.running.pidfd import INTERVAL, OutOfReachError, Process
from dorrit.process.running.proc import holds_lock, is_shown
from dorrit.process.running.status_client import (
    TIMEOUT,
    NoAnswerError,
    NoPermissionError,
    NotRunningError,
    StatusError,
    ask,
)

SECOND_SIGNAL_AFTER: Final = 0.1
"""Seconds; a signal that comes before the first one has been handled is lost in it."""

AGAIN_AFTER: Final = 1.0
"""Seconds; Python handles two signals that come while a callback runs as one."""

SETTLED_WITHIN: Final = 5.0
"""Seconds for what is left of a server that has ended: its janitor removes its files."""


class RunningServer:
    """A server that runs.

    Attributes:
        process: The process of the server.
        status: What it says of itself; None if it can't be asked, see `silence`.
        silence: Why it can't be asked, or "".
        hangs: Whether that is because it does not answer.
        pid_file: Path of its pid file, or None.
    """

    def __init__(
        self,
        process: Process,
        status: Status | None,
        *,
        silence: str = "",
        hangs: bool = False,
        pid_file: str | None = None,
    ) -> None:
        """Made by `find`."""
        self.process = process
        self.status = status
        self.silence = silence
        self.hangs = hangs
        self.pid_file = pid_file

    def stop(self, timeout: float, *, now: bool = False) -> bool:
        """Send it SIGTERM and wait for its end, and for that of its janitor.

        Args:
            timeout: Seconds.
            now: Send it again until it ends: the server then does not wait for its clients.

        Returns:
            Whether it has ended.

        Raises:
            NoPermissionError: It is another user's.
        """
        end = time.monotonic() + timeout
        try:
            self.process.send(signal.SIGTERM)
            if now and not self._has_taken_it(end):
                self.process.send(signal.SIGTERM)
                while not self.process.wait(min(AGAIN_AFTER, end - time.monotonic())):
                    if time.monotonic() >= end:
                        return False
                    self.process.send(signal.SIGTERM)
        except ProcessLookupError:
            pass
        except PermissionError as error:
            raise self._denied(error, "stop") from None
        if not self.process.wait(end - time.monotonic()):
            return False
        if self.pid_file is not None:
            _wait_for_janitor(self.pid_file, min(end, time.monotonic() + SETTLED_WITHIN))
        return True

    def ask_for_reload(self) -> None:
        """Send it SIGUSR2.

        Raises:
            NoPermissionError: It is another user's.
            NotRunningError: It has ended.
        """
        try:
            self.process.send(signal.SIGUSR2)
        except ProcessLookupError:
            raise NotRunningError(f"process {self.process.pid} has ended") from None
        except PermissionError as error:
            raise self._denied(error, "reload") from None

    def _denied(self, error: PermissionError, what: str) -> NoPermissionError:
        who = f"only the server's user and root may {what} it"
        if isinstance(error, OutOfReachError):
            who = "it is in a PID namespace that can't be reached from here"
        elif os.geteuid() == 0:
            who = f"to {what} another user's server, root needs the capability CAP_KILL"
        return NoPermissionError(f"process {self.process.pid}: permission denied: {who}")

    def _has_taken_it(self, end: float) -> bool:
        """Wait until the first signal is no longer pending; return whether the server has ended."""
        while not self.process.has_taken(signal.SIGTERM) and time.monotonic() < end:
            if self.process.wait(INTERVAL):
                return True
        return self.process.wait(SECOND_SIGNAL_AFTER)

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Let go of its process."""
        self.process.close()


def find(target: str, directory: str = DIRECTORY, *, timeout: float = TIMEOUT) -> RunningServer:
    """Find a server that runs.

    Args:
        target: Its name, or the absolute path of its socket.
        directory: Where pid files are, and sockets that have no path of their own.
        timeout: Seconds for it to answer.

    Returns:
        The server. The caller closes it.

    Raises:
        NotRunningError: It doesn't run.
        StatusError: Whether it runs can't be told, or what runs may be something else.
    """
    if target.startswith("/"):
        status, process = ask(status_path(target), timeout)
        return RunningServer(process, status)
    _check_name(target)
    try:
        pid_file = _read(pid_path(target, directory))
    except NoPermissionError as error:
        return _without_pid_file(target, directory, timeout, error)
    if pid_file is not None and pid_file.is_locked:
        return _holder(target, directory, pid_file, timeout)
    try:
        return _by_status(target, directory, timeout)
    except NotRunningError as error:
        is_left = error.is_left
    if pid_file is not None and pid_file.pid is not None:
        raise NotRunningError(
            f"{target}: not running; process {pid_file.pid} has ended and left {pid_file.path}",
            is_left=True,
        )
    raise NotRunningError(f"{target}: not running", is_left=is_left)


def record_of(target: str, directory: str = DIRECTORY) -> tuple[str, Record]:
    """Return how a server was started, whether it still runs or has crashed, and where that stands.

    Args:
        target: Its name, or the absolute path of its socket.
        directory: Where pid files are.

    Raises:
        StartError: It isn't known, or not by somebody who is trusted.
    """
    if not target.startswith("/"):
        _check_name(target)
        path = command_path(target, directory)
        return path, command_file.read(path)
    beside = command_path_beside(target)
    if not os.path.lexists(beside):
        with suppress(StatusError):
            status, process = ask(status_path(target))
            process.close()
            beside = command_path(status.name, directory)
    found = command_file.read(beside)
    if found.socket != target:
        raise StartError(f"{beside}: this is of a server on another socket, {found.socket}")
    return beside, found


def _check_name(name: str) -> None:
    if not name or "/" in name or "\0" in name:
        raise StartError(
            f"{name!r} is neither a server's name nor the absolute path of a socket", status=2
        )


def _without_pid_file(
    name: str, directory: str, timeout: float, denied: NoPermissionError
) -> RunningServer:
    """Find a server whose pid file only root may read, for the server's own user."""
    try:
        return _by_status(name, directory, timeout)
    except NotRunningError:
        raise NoPermissionError(
            f"{denied}; if the server listens elsewhere, give the path of its socket for its name"
        ) from None


def _by_status(name: str, directory: str, timeout: float) -> RunningServer:
    """Find a server without a pid file: one in the foreground."""
    listening = socket_path(None if name == UNNAMED[0] else name, directory)
    file = Path(listening).stem
    with suppress(StartError):  # who may read the record knows where else it is
        listening = command_file.read(command_path(name, directory)).socket
    status, process = ask(status_path(listening), timeout)
    if name not in {status.name, file}:
        process.close()
        raise StatusError(f"{name}: the server there says that it is {status.name}")
    return RunningServer(process, status)


def _holder(name: str, directory: str, file: "_PidFile", timeout: float) -> RunningServer:
    """Return the server that holds the lock of its pid file.

    What the file says is a number, which may be another process's by now: what the server has
    forked can hold the lock when it has ended. The process is therefore believed to be the server
    only if the kernel says so: it has the lock, or it is the one that listens on the status socket.
    """
    if file.pid is None:
        raise StatusError(f"{name}: starting or stopping just now")
    with ExitStack() as opened:
        try:
            process = Process(file.pid)
        except ProcessLookupError:
            raise StatusError(
                f"{name}: process {file.pid} has ended, and something of it still holds {file.path}"
            ) from None
        opened.callback(process.close)
        status, silence, hangs = None, "", False
        try:
            with _by_status(name, directory, timeout) as answering:
                # It lives, so its pid has been no other's since before `process` was made.
                if answering.process.pid == file.pid:
                    status = answering.status
                else:
                    silence = "another process answers on its status socket"
        except NotRunningError:
            silence = "its socket has another path, which says more: dorrit status PATH"
        except StatusError as error:
            silence, hangs = str(error), isinstance(error, NoAnswerError)
        if status is None and is_shown():
            has_lock = holds_lock(file.pid, file.device, file.inode)
            if not has_lock:
                fault = (
                    "is not seen to hold its lock (only with CAP_SYS_PTRACE can that be seen)"
                    if has_lock is None
                    else "does not hold its lock"
                )
                raise StatusError(
                    f"{file.path}: process {file.pid}, which it names, {fault}: it is left alone"
                )
        # Only now is it sure whose pid it was when `process` was made.
        again = _read(file.path)
        if again is None or not again.is_locked or again.pid != file.pid:
            raise NotRunningError(f"{name}: not running any more")
        if process.wait(0):
            raise NotRunningError(f"{name}: not running any more")
        opened.pop_all()
        return RunningServer(process, status, silence=silence, hangs=hangs, pid_file=file.path)


@dataclass(frozen=True, slots=True)
class _PidFile:
    path: str
    pid: int | None
    is_locked: bool
    device: int
    inode: int


def _read(path: str) -> _PidFile | None:
    """Return what a pid file says; None: there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except PermissionError:
        raise NoPermissionError(f"{path}: permission denied: only root may read it") from None
    except OSError as error:
        raise StatusError(f"{path}: {error.strerror}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise StatusError(f"{path}: it is not a regular file")
        text = re.fullmatch(rb"([1-9][0-9]{0,9})\n", os.pread(descriptor, 16, 0))
        pid = int(text[1]) if text else None
        return _PidFile(path, pid, _is_locked(descriptor), status.st_dev, status.st_ino)
    finally:
        os.close(descriptor)


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _wait_for_janitor(pid_file: str, end: float) -> None:
    while time.monotonic() < end:
        file = _read(pid_file)
        if file is None or not file.is_locked:
            return
        time.sleep(INTERVAL)
