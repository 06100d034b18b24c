"""Asks a server for its status, and believes it only what can be so."""

import os
import socket
import time
from contextlib import ExitStack
from typing import Final

from dorrit.errors import StartError
from dorrit.process.control.status import ANSWER_MAX, Status, decoded
from dorrit.process.files.paths import check_length, status_path
from dorrit.process.running.peer import peer_credentials, peer_pidfd
from dorrit.process.running.pidfd import INTERVAL, Process
from dorrit.process.running.proc import holds_socket, numbers_of, user_ids

TIMEOUT: Final = 5.0
"""Seconds for a server to answer, which it does at the end of a turn of its loop."""


class StatusError(StartError):
    """The status can't be had. Its exit status is that of the LSB: 4, "unknown"."""

    def __init__(self, message: str, *, status: int = 4) -> None:
        """Make the error.

        Args:
            message: One line for stderr.
            status: The exit status.
        """
        super().__init__(message, status=status)


class NotRunningError(StatusError):
    """No server answers. The exit status is that of the LSB: 3, "not running".

    Attributes:
        is_left: Whether a server that has crashed has left its socket there.
    """

    def __init__(self, message: str, *, is_left: bool = False) -> None:
        """Make the error.

        Args:
            message: One line for stderr.
            is_left: Whether a server that has crashed has left its socket there.
        """
        super().__init__(message, status=3)
        self.is_left = is_left


class NoAnswerError(StatusError):
    """What listens there does not answer in time: it hangs, or is stopped."""


class NoPermissionError(StatusError):
    """Only the server's user and root may ask."""


def query(path: str, timeout: float = TIMEOUT) -> Status:
    """Ask a server for its status.

    Args:
        path: Of the status socket.
        timeout: Seconds, for all of it.

    Raises:
        NotRunningError: No server answers there.
        NoPermissionError: The server is another user's.
        NoAnswerError: It does not answer in time.
        StatusError: What answers is not a server of dorrit's.
    """
    status, process = ask(path, timeout)
    process.close()
    return status


def ask(path: str, timeout: float = TIMEOUT) -> tuple[Status, Process]:
    """Ask a server for its status, and the kernel for its process.

    Takes and raises what `query` does.

    Returns:
        The status, and the process that has given it. The caller closes that.
    """
    end = time.monotonic() + timeout
    with connect(path, timeout) as connected, ExitStack() as opened:
        try:
            peer = _peer(connected, path)
            if peer is not None:
                opened.callback(peer.close)
            try:
                status = decoded(_read(connected, end))
            except TimeoutError:
                raise _late(path, timeout) from None
            except ValueError as error:
                raise _wrong(path, str(error)) from None
            if status_path(status.socket) != path:
                raise _wrong(path, "it is the status of another socket")
            if peer is None:
                peer = Process(status.pid)
        except ProcessLookupError:
            raise _gone(path) from None
        except OSError as error:
            raise StatusError(f"{path}: {error.strerror}") from None
        opened.pop_all()
    return _numbered(status, peer, path), peer


def _numbered(status: Status, peer: Process, path: str) -> Status:
    """Return a status with the pid that its process has here, which the kernel knows better.

    Raises:
        StatusError: It claims another one, and the process is let go of.
    """
    if peer.pid == 0:
        peer.pid = status.pid
    if status.pid != peer.pid and status.pid not in numbers_of(peer.pid):
        peer.close()
        raise _wrong(path, f"process {peer.pid} says that it is process {status.pid}")
    return status._replace(pid=peer.pid)


def _peer(connected: socket.socket, path: str) -> Process | None:
    """Return the process that listens, as the kernel names it.

    Others may have its socket as well, may answer when it is gone, and another process have its
    pid. The server is only who has called listen(2) and is still there, as the user who owns the
    socket.

    Returns:
        None: the system names nobody (FreeBSD, macOS). Its pid is 0 if it is in a PID namespace
        that can't be seen from here.

    Raises:
        ProcessLookupError: It has ended.
        StatusError: It can't be seen which process that is.
    """
    credentials = peer_credentials(connected)
    if credentials is None:
        return None
    pid, uid = credentials
    pidfd = peer_pidfd(connected)
    if pidfd is None and pid == 0:
        raise StatusError(f"{path}: the server is in a PID namespace that can't be seen from here")
    process = Process(pid, pidfd)
    try:
        if pid != 0:
            # Without a descriptor from the socket it may be another one that has the pid now.
            if pidfd is None and holds_socket(pid, path) is False:
                raise ProcessLookupError  # noqa: TRY301 - as with such a descriptor
            _check_user(process, uid, path)
        if process.wait(0):  # what was seen of that pid was of this process
            raise ProcessLookupError  # noqa: TRY301 - it has ended
    except BaseException:
        process.close()
        raise
    return process


def _check_user(process: Process, uid: int, path: str) -> None:
    try:
        owner = os.lstat(path).st_uid
    except OSError as error:
        raise StatusError(f"{path}: {error.strerror}") from None
    users = user_ids(process.pid)
    if owner == uid and (users is None or users == {uid}):
        return
    if process.wait(0):
        raise ProcessLookupError
    raise StatusError(
        f"{path}: process {process.pid}, which serves there, is not the socket's owner's: it is "
        "left alone"
    )


def _gone(path: str) -> StatusError:
    """Return what is to be said of a server whose process is no more."""
    try:
        connect(path, TIMEOUT).close()
    except NotRunningError:
        return NotRunningError(f"{path}: the server has just ended")
    except StatusError as error:
        return error
    return StatusError(f"{path}: the server has ended, and something of it still answers")


def _wrong(path: str, why: str) -> StatusError:
    return StatusError(f"{path}: this is not a status of a dorrit server: {why}")


def _late(path: str, timeout: float) -> NoAnswerError:
    return NoAnswerError(f"{path}: no answer within {timeout:g} seconds")


def connect(path: str, timeout: float) -> socket.socket:
    """Connect to a status socket.

    Args:
        path: Where the socket is.
        timeout: Seconds.

    Raises:
        NotRunningError: No server answers there.
        NoPermissionError: The server is another user's.
        StatusError: It can't be told.
    """
    check_length(path)
    end = time.monotonic() + timeout
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.settimeout(timeout)
        while not _is_connected(made, path):
            if time.monotonic() >= end:
                raise TimeoutError  # noqa: TRY301 - as connect(2) would say it
            time.sleep(INTERVAL)
    except OSError as error:
        made.close()
        raise _reason(error, path, timeout) from None
    except BaseException:
        made.close()
        raise
    return made


def _is_connected(made: socket.socket, path: str) -> bool:
    """Try to connect; return whether that is done.

    connect(2): "EAGAIN For nonblocking UNIX domain sockets, the socket is nonblocking, and the
    connection cannot be completed immediately", since others wait already.
    """
    try:
        made.connect(path)
    except BlockingIOError:
        return False
    return True


def _reason(error: OSError, path: str, timeout: float) -> StatusError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return NotRunningError(f"{path}: no server runs there")
    if isinstance(error, ConnectionRefusedError):
        return NotRunningError(
            f"{path}: no server answers there; one that has ended has left its socket", is_left=True
        )
    if isinstance(error, PermissionError):
        return NoPermissionError(
            f"{path}: permission denied: only the server's user and root may ask"
        )
    if isinstance(error, TimeoutError):
        return _late(path, timeout)
    return StatusError(f"{path}: {error.strerror}")


def _read(connected: socket.socket, end: float) -> bytes:
    """Read to the end, or to one byte more than an answer may have."""
    data = b""
    while len(data) <= ANSWER_MAX:
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connected.settimeout(left)
        more = connected.recv(ANSWER_MAX + 1 - len(data))
        if not more:
            break
        data += more
    return data
