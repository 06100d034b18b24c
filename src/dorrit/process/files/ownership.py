"""Gives a socket that root has just made to the server's user, and nothing else by mistake."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from dorrit.errors import StartError
from dorrit.process.credentials.capabilities import lacks

DESCRIPTORS: Final = "/proc/self/fd"
"""Where Linux lets a file be named by a descriptor that is open for nothing but that (O_PATH)."""


def change_owner(path: str, uid: int, gid: int) -> None:
    """Give a socket that this process has bound just now to a user and a group.

    The directory may be that user's own. He could then put another name of somebody else's file in
    the socket's place meanwhile, and a chown(2) of the path would give him that. So it is looked at
    first what is there, and exactly that is given away. The mode stays as it is.

    Args:
        path: Absolute.
        uid: The user; -1 leaves it as it is.
        gid: The group; likewise.

    Raises:
        StartError: It is not the socket any more, or it can't be given away, or not safely.
        OSError: The system refuses.
    """
    if hasattr(os, "O_PATH") and Path(DESCRIPTORS).is_dir():
        descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            _check_is_ours(path, status)
            if _differs(status, uid, gid):
                with _explained(path, uid, gid):
                    os.chown(f"{DESCRIPTORS}/{descriptor}", uid, gid)
        finally:
            os.close(descriptor)
        return
    status = os.lstat(path)
    _check_is_ours(path, status)
    if not _differs(status, uid, gid):
        return
    # Without a descriptor there is a moment between the look and the change: so nobody else may be
    # able to use it.
    directory = Path(path).parent
    place = directory.stat()
    writable = place.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if os.geteuid() == 0 and (place.st_uid != 0 or writable):
        raise StartError(
            f"{path}: on this system, root can give a socket away safely only in a directory that "
            f"root alone can write: chown root {directory} and chmod go-w {directory}, or start "
            "the server as its user"
        )
    with _explained(path, uid, gid):
        os.chown(path, uid, gid, follow_symlinks=False)


@contextmanager
def _explained(path: str, uid: int, gid: int) -> Iterator[None]:
    """Say of a refusal what it is that was refused."""
    try:
        yield
    except OSError as error:
        who = " and ".join(
            f"{what} {number}" for what, number in (("user", uid), ("group", gid)) if number != -1
        )
        why = f"{error.strerror}"
        if error.errno == errno.EPERM and os.geteuid() == 0 and lacks("CAP_CHOWN"):
            why += ": root lacks the capability CAP_CHOWN"
        raise StartError(f"{path}: the socket can't be given to {who}: {why}") from None


def _check_is_ours(path: str, status: os.stat_result) -> None:
    if (
        not stat.S_ISSOCK(status.st_mode)
        or status.st_uid != os.geteuid()
        or status.st_nlink != 1  # another name of it may be of somebody else's choice
    ):
        raise StartError(
            f"{path}: somebody has put something else in the place of the socket, or the file "
            "system gives what is made there to another user"
        )


def _differs(status: os.stat_result, uid: int, gid: int) -> bool:
    return uid not in {-1, status.st_uid} or gid not in {-1, status.st_gid}
