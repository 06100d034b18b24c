"""The name of a UNIX-domain socket, in the place of one that was left, and of nothing else."""

import os
import socket
import stat
from pathlib import Path
from typing import Final

from dorrit.errors import StartError
from dorrit.process.credentials.capabilities import lacks

KINDS: Final = {
    stat.S_IFREG: "a regular file",
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def bind(made: socket.socket, path: str, umask: int) -> None:
    """Bind a socket, so that it has the mode that the umask leaves from its first moment.

    Raises:
        OSError: The system can't.
    """
    before = os.umask(umask)
    try:
        made.bind(path)
    finally:
        os.umask(before)


def identity_of(path: str) -> tuple[int, int]:
    """Return the device and the inode that a name stands for.

    Raises:
        OSError: There is no such name.
    """
    status = os.lstat(path)
    return status.st_dev, status.st_ino


def remove_stale(path: str) -> None:
    """Remove what a server that is gone has left behind, and nothing else.

    Raises:
        StartError: There is something else, or it can't be removed. It is left as it is.
        OSError: It can't be looked at.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        kind = KINDS.get(stat.S_IFMT(mode), "something else")
        raise StartError(f"{path}: there is {kind}, not a socket; it was left as it is")
    if _answers(path):
        raise StartError(f"{path}: a server answers there; stop it first, or choose another path")
    try:
        Path(path).unlink(missing_ok=True)
    except PermissionError as error:
        why = str(error.strerror)
        if Path(path).parent.stat().st_mode & stat.S_ISVTX:
            why += ": it is another user's, in a directory with the sticky bit"
            if os.geteuid() == 0 and lacks("CAP_FOWNER"):
                why += ", and root lacks the capability CAP_FOWNER"
        raise StartError(f"{path}: what a server has left there can't be removed: {why}") from None


def _answers(path: str) -> bool:
    """Tell whether a server listens on a socket.

    connect(2): "ECONNREFUSED A connect() on a stream socket found no one listening on the remote
    address"; "EAGAIN For nonblocking UNIX domain sockets, the socket is nonblocking, and the
    connection cannot be completed immediately", since the backlog of a server is full.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0)
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
