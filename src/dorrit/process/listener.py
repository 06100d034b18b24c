"""The listening socket (R1, R25): made with care, because it takes over a name in the file system."""

import contextlib
import errno
import os
import socket
import stat
import sys
from typing import Final, Self

from dorrit.errors import StartError

PATH_MAX: Final = 107 if sys.platform == "linux" else 103
"""Bytes of the longest path: what sun_path of unix(7) or unix(4) holds, without its NUL."""

BACKLOG: Final = 4096
"""Clients that may wait to be taken; the kernel's own limit (net.core.somaxconn) caps it."""

UMASK: Final = 0o007
"""Gives the socket the mode srwxrwx--- from its first moment."""


class Listener:
    """A listening UNIX-domain socket that goes from the file system when it is closed.

    Attributes:
        path: Where it is.
        descriptor: Does not block; is not inherited by other programs.
    """

    def __init__(self, path: str) -> None:
        """Make the socket and listen on it.

        Args:
            path: Absolute, at most `PATH_MAX` bytes.

        Raises:
            StartError: It can't be made there, or something is there already: a server that
                answers, or no socket at all. That is left as it is.
        """
        self.path = path
        _check_path(path)
        _remove_stale(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._bind(path)
            self._socket.setblocking(False)
            self._socket.listen(BACKLOG)
        except BaseException:
            self.close()
            raise
        self.descriptor = self._socket.fileno()

    _identity: tuple[int, int] | None = None
    """Device and inode of the socket's name; None before it has one."""

    def _bind(self, path: str) -> None:
        before = os.umask(UMASK)
        try:
            self._socket.bind(path)
            self._identity = _identity_of(os.lstat(path))
        except OSError as error:
            raise StartError(f"{path}: the socket can't be made: {_why(error, path)}") from None
        finally:
            os.umask(before)

    def close(self) -> None:
        """Stop listening and remove the name, unless it has become somebody else's."""
        if self._identity is not None:
            with contextlib.suppress(FileNotFoundError):
                if _identity_of(os.lstat(self.path)) == self._identity:
                    os.unlink(self.path)
            self._identity = None
        self._socket.close()

    def __enter__(self) -> Self:
        """Return the listener."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close it."""
        self.close()


def _identity_of(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _check_path(path: str) -> None:
    length = len(os.fsencode(path))
    if length > PATH_MAX:
        raise StartError(
            f"{path}: too long for a UNIX-domain socket: {length} bytes, at most {PATH_MAX} are "
            "possible; choose a shorter path with -l"
        )


def _remove_stale(path: str) -> None:
    """Remove what a server that is gone has left behind, and nothing else."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StartError(f"{path}: the socket can't be made: {_why(error, path)}") from None
    if not stat.S_ISSOCK(status.st_mode):
        raise StartError(f"{path}: there is something that is no socket; it was left as it is")
    if _answers(path):
        raise StartError(f"{path}: a server answers there; stop it first, or choose another with -l")
    try:
        os.unlink(path)
    except OSError as error:
        raise StartError(
            f"{path}: a socket without a server can't be removed: {_why(error, path)}"
        ) from None


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # A server whose backlog is full lives: it answers EAGAIN to who does not want to wait.
        probe.setblocking(False)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except BlockingIOError:
            return True
        except OSError as error:
            raise StartError(
                f"{path}: there is a socket, and whether a server answers there can't be seen: "
                f"{_why(error, path)}"
            ) from None
    return True


def _why(error: OSError, path: str) -> str:
    directory = os.path.dirname(path)
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return f"{error.strerror}: {directory} must be writable for the user that the server runs as"
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        return f"{error.strerror}: {directory} must be a directory"
    return str(error.strerror)
