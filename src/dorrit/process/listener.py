"""The listening socket (R1, R25), made with care: it takes over a name in the file system."""

import errno
import fcntl
import logging
import os
import socket
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from dorrit.errors import StartError

logger = logging.getLogger("dorrit")

PATH_MAX: Final = 107 if sys.platform == "linux" else 103
"""Bytes of the longest path: what sun_path of unix(7) or unix(4) holds, without its NUL."""

BACKLOG: Final = 4096
"""Clients that may wait to be taken; the kernel's own limit (net.core.somaxconn) caps it."""

UMASK: Final = 0o007
"""Gives the socket the mode srwxrwx--- from its first moment."""

LOCK_PATIENCE: Final = 2.0
"""Seconds to wait for other servers that are just starting in the same directory."""

KINDS: Final = {
    stat.S_IFREG: "a regular file",
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Listener:
    """A listening UNIX-domain socket, whose name goes from the file system when it is closed.

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
        self._identity: tuple[int, int] | None = None  # of the name; None: it has none, or no more
        _check_length(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with _alone_in(Path(path).parent):
                _remove_stale(path)
                self._bind()
                self._socket.listen(BACKLOG)
        except OSError as error:
            self.close()
            raise StartError(f"{path}: the socket can't be made: {_why(error, path)}") from None
        except BaseException:
            self.close()
            raise
        self._socket.setblocking(False)  # noqa: FBT003 - socket's interface
        self.descriptor = self._socket.fileno()

    def _bind(self) -> None:
        before = os.umask(UMASK)
        try:
            self._socket.bind(self.path)
        finally:
            os.umask(before)
        self._identity = _identity_of(self.path)

    def close(self) -> None:
        """Stop listening and remove the name, unless it has become somebody else's."""
        if self._identity is not None:
            # While the socket is open its inode is in use, so nobody else's can have its number.
            try:
                if _identity_of(self.path) == self._identity:
                    Path(self.path).unlink()
            except FileNotFoundError:
                pass
            except OSError as error:
                logger.warning("%s can't be removed: %s", self.path, error.strerror)
            self._identity = None
        self._socket.close()

    def __enter__(self) -> Self:
        """Return the listener."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close it."""
        self.close()


def _identity_of(path: str) -> tuple[int, int]:
    """Return the device and the inode that a name stands for."""
    status = os.lstat(path)
    return status.st_dev, status.st_ino


def _check_length(path: str) -> None:
    length = len(os.fsencode(path))
    if length > PATH_MAX:
        raise StartError(
            f"{path}: too long for a UNIX-domain socket: {length} bytes, where at most {PATH_MAX} "
            "are possible; choose a shorter path with -l"
        )


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Have other servers that start in this directory at the same time wait.

    Two that find the same stale socket would else remove each other's: one that has a name and does
    not listen yet looks stale too. Anybody who can read the directory can hold this lock, so it is
    waited for only for a while; without it, all is as before but for that race.
    """
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield  # the directory may be writable and not readable; if it is missing, bind will say so
        return
    try:
        end = time.monotonic() + LOCK_PATIENCE
        while not _locked(descriptor) and time.monotonic() < end:
            time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove_stale(path: str) -> None:
    """Remove what a server that is gone has left behind, and nothing else."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        kind = KINDS.get(stat.S_IFMT(mode), "something else")
        raise StartError(f"{path}: there is {kind}, not a socket; it was left as it is")
    if _answers(path):
        raise StartError(f"{path}: a server answers there; stop it first, or choose another path")
    Path(path).unlink()


def _answers(path: str) -> bool:
    """Tell whether a server listens on a socket.

    connect(2): "ECONNREFUSED A connect() on a stream socket found no one listening on the remote
    address"; "EAGAIN For nonblocking UNIX domain sockets, the socket is nonblocking, and the
    connection cannot be completed immediately", since the backlog of a server is full.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # noqa: FBT003 - socket's interface
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except BlockingIOError:
            return True
        except OSError as error:
            raise StartError(
                f"{path}: there is a socket, and whether a server answers there can't be seen: "
                f"{error.strerror}; it was left as it is"
            ) from None
    return True


def _why(error: OSError, path: str) -> str:
    directory = Path(path).parent
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return f"{error.strerror}: {directory} must be writable for the server's user"
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        return f"{error.strerror}: {directory} must be a directory"
    return str(error.strerror)
