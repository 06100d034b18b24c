"""The log as a file (``--log``): made with the right owner, and opened anew when it was renamed."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from dorrit.errors import StartError
from dorrit.process.credentials.privileges import Identity
from dorrit.process.log.outlet import Stream, file_of

MODE: Final = 0o640
"""Of a file that is made: its group may read it."""

ROOT: Final = 0


class LogFile(Stream):
    """A file that records are appended to.

    Attributes:
        path: Where the file is.
    """

    def __init__(self, path: str, descriptor: int) -> None:
        """Take a descriptor of it, which does not block."""
        self.path = path
        self.descriptor: int = descriptor
        super().__init__(descriptor)
        self._encoding = "utf-8"
        self._identity = file_of(descriptor)

    def _reopen_without_waiting(self) -> None:
        """Do nothing: it does not block."""

    def _current(self) -> int:
        # The number may be a client's by now, if the server's code closes what is not its own.
        if file_of(self.descriptor) != self._identity:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self.descriptor

    def reopen(self) -> None:
        """Open it by its name again: it may have been renamed."""
        found = open_file(self.path)
        self._rest = b""
        if file_of(self.descriptor) == self._identity:
            # The same number: what a crash writes to it was laid down when the server started.
            os.dup2(found, self.descriptor, inheritable=False)
            os.close(found)
        else:
            self.descriptor = found
        self._identity = file_of(self.descriptor)


def make_file(path: str, identity: Identity | None = None) -> int:
    """Open a log file, or make it, for who the process is, or is to become.

    Root opens it as the user that the server becomes, who has to open it anew at SIGHUP. Where that
    user may not make it, in ``/var/log``, root makes it for him; but not in a directory where he,
    or anybody else, could have root make a file elsewhere.

    Args:
        path: Absolute.
        identity: Who the process is to become, or None: who it is.

    Returns:
        Its descriptor, which does not block.

    Raises:
        StartError: It can't be opened.
    """
    try:
        if identity is None or os.geteuid() != ROOT or identity.uid == ROOT:
            return open_file(path)
        try:
            with _acting_as(identity):
                return open_file(path)
        except PermissionError:
            return _open_for(path, identity)
    except OSError as error:
        raise StartError(f"the log {path} can't be opened: {_reason(error)}") from None


def open_file(path: str, more_flags: int = os.O_CREAT) -> int:
    """Open a log file; return its descriptor, which does not block.

    Raises:
        OSError: It can't be opened.
    """
    # A link in its place would choose what is written to.
    flags = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | os.O_NOFOLLOW
    before = os.umask(0o777 & ~MODE)
    try:
        return os.open(path, flags | more_flags, MODE)
    finally:
        os.umask(before)


@contextmanager
def _acting_as(identity: Identity) -> Iterator[None]:
    """Have the kernel decide as for this user; root's real ids stay."""
    groups, gid = os.getgroups(), os.getegid()
    os.setgroups(identity.groups)
    os.setegid(identity.gid)
    os.seteuid(identity.uid)
    try:
        yield
    finally:
        os.seteuid(ROOT)
        os.setegid(gid)
        os.setgroups(groups)


def _open_for(path: str, identity: Identity) -> int:
    """Make a file that belongs to somebody else, as root.

    Raises:
        StartError: It is there and the user may not write it, or somebody else decides where it is.
        OSError: It can't be made.
    """
    directory = Path(path).parent
    for place in (directory, *directory.parents):
        status = place.lstat()
        writers = status.st_mode & (
            stat.S_IWOTH | (stat.S_IWGRP if status.st_gid in identity.groups else 0)
        )
        if status.st_uid != ROOT or (writers and not stat.S_ISLNK(status.st_mode)):
            raise StartError(
                f"the log {path} can't be opened: {_name_of(identity)} may not write it, and root "
                f"makes it only where nobody else may change {place}"
            )
    try:
        descriptor = open_file(path, os.O_CREAT | os.O_EXCL)
    except FileExistsError:
        raise StartError(
            f"the log {path} can't be opened: {_name_of(identity)} may not write it"
        ) from None
    os.fchown(descriptor, identity.uid, identity.gid)
    return descriptor


def _name_of(identity: Identity) -> str:
    return identity.user or f"user {identity.uid}"


def _reason(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "it is a symbolic link"
    if error.errno == errno.ENXIO:
        return "it is a pipe that nobody reads, or a socket"
    return error.strerror or str(error)
