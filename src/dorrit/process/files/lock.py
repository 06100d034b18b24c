"""A lock that is held for as long as the server lives, in a file that names the holder.

flock(2): "Locks created by flock() are associated with an open file description. This means that
duplicate file descriptors (created by, for example, fork(2) or dup(2)) refer to the same lock". So
the first process takes it, the daemon inherits it by fork, the next image by execv, and it is free
when the last of them is gone, however that happened. Nobody has to judge whether a pid is stale.
"""

import errno
import fcntl
import logging
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Self

from dorrit.errors import StartError

logger: logging.Logger = logging.getLogger("dorrit")

MODE: Final = 0o600
"""Who can read a file can lock it (and keep a server from starting), so only its owner can."""

TIMEOUT: Final = 2.0
"""Seconds to wait for a lock whose holder is only just starting, or just cleaning up."""

INTERVAL: Final = 0.01
"""Seconds between two tries."""

MAX_PID: Final = 2**31 - 1


class HeldError(StartError):
    """Somebody else holds the lock.

    Attributes:
        pid: The process that says that it does, or None if none says so.
    """

    def __init__(self, path: str, pid: int | None) -> None:
        """Make the error.

        Args:
            path: The file.
            pid: Who holds it, or None.
        """
        who = "another process" if pid is None else f"process {pid}"
        super().__init__(f"{path}: locked by {who}; stop it first")
        self.pid = pid


class Lock:
    """A lock of its own, and its file with the holder's pid in it.

    Attributes:
        path: The file.
        descriptor: The file's, closed on exec. For the next image, clear that flag and `adopt`. It
            is for reading only: a server that has dropped root's privileges keeps it, and whoever
            takes that over must not write another's pid to root's file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Take the lock, and make the file if there is none. It is empty at first.

        A file that is left over is taken again. It is replaced if another user owns it or may write
        to it, or if it has a second name: what is written to it must harm nobody, and nobody else
        shall write to it.

        Args:
            path: Absolute, in a directory that `check_directory` accepts.

        Raises:
            HeldError: Another process holds it.
            StartError: It can't be made, or is not a regular file. That is left as it is; a
                symbolic link is not followed.
        """
        self.path: str = os.fspath(path)
        with _explained(self.path):
            self.descriptor: int = _acquire(self.path)
        self._owner = os.getpid()

    @classmethod
    def adopt(cls, descriptor: int, path: str | os.PathLike[str]) -> Self:
        """Go on with the lock that the previous image held in the same process (R29).

        Args:
            descriptor: What was `descriptor` there.
            path: The file.

        Raises:
            HeldError: The descriptor is of a file that another process has locked.
            StartError: It is not a descriptor of a regular file.
        """
        lock = cls.__new__(cls)
        lock.path, lock.descriptor = os.fspath(path), descriptor
        lock._owner = os.getpid()  # noqa: SLF001 - its own
        with _explained(lock.path):
            _check_kind(descriptor, lock.path)
            if not _locked(descriptor):  # which changes nothing if it is held already
                raise HeldError(lock.path, _pid_in(descriptor))
            os.set_inheritable(descriptor, False)
        return lock

    def write(self) -> None:
        """Write the current process's pid; from now on this process is the holder.

        Raises:
            StartError: It can't be written.
        """
        with _explained(self.path), _writable(self.descriptor, self.path) as writable:
            os.ftruncate(writable, 0)
            os.pwrite(writable, b"%d\n" % os.getpid(), 0)
        self._owner = os.getpid()

    def is_holder(self) -> bool:
        """Tell whether this process is the holder, and not one that was forked off it."""
        return self.descriptor >= 0 and os.getpid() == self._owner

    def close(self) -> bool:
        """Empty the file, remove it, and let go of the lock.

        In this order, so that a file that is there and not locked is always left over from a crash.
        Only the holder empties and removes it: not a process forked off it.

        Returns:
            Whether the name is gone. It stays if the privileges to remove it have been dropped (see
            `dorrit.process.files.janitor`); that it is not locked says that no server runs.
        """
        if self.descriptor < 0:
            return True
        try:
            if not self.is_holder():
                return True
            if _is_at(self.descriptor, self.path):
                # Who was root may not write to it any more, and yet remove it from a directory.
                with suppress(PermissionError), _writable(self.descriptor, self.path) as writable:
                    os.ftruncate(writable, 0)
                Path(self.path).unlink()
        except OSError as error:
            logger.debug("%s can't be removed: %s", self.path, error.strerror)
            return False
        else:
            return True
        finally:
            os.close(self.descriptor)
            self.descriptor = -1

    def let_go(self) -> None:
        """Leave it to its holder, in a process that was forked off that."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __enter__(self) -> Self:
        """Return the lock."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close it."""
        self.close()


def _acquire(path: str) -> int:
    """Return a descriptor of the file at `path`, empty, ours and locked."""
    end = time.monotonic() + TIMEOUT
    named = None  # the holder that the file named when it was last looked at
    while True:
        late = time.monotonic() >= end
        taken = False
        descriptor = _open(path, os.O_RDONLY | os.O_CREAT)
        try:
            taken = _take(descriptor, path, late=late)
        except HeldError as error:
            # Looked at twice: who has just taken over a stale file may not have emptied it yet. One
            # that names nobody, or a process that is gone, is about to become free.
            if late or (error.pid is not None and error.pid == named and _is_alive(named)):
                raise
            named = error.pid
        finally:
            if not taken:
                os.close(descriptor)
        if taken:
            return descriptor
        time.sleep(INTERVAL)


def _take(descriptor: int, path: str, *, late: bool) -> bool:
    """Try to take the lock of a file; return False if that is worth another try.

    Raises:
        HeldError: Another process holds it.
    """
    _check_kind(descriptor, path)
    if not _locked(descriptor):
        raise HeldError(path, _pid_in(descriptor))
    # Between open and flock its holder may have removed the file: what we have locked then is no
    # longer what others find at that path.
    if not _is_at(descriptor, path):
        return False
    if not _is_ours(descriptor):
        if late:
            raise StartError(
                f"{path}: another user makes it again and again, or the file system gives what is "
                "made there to another user"
            )
        Path(path).unlink()  # whoever wants the lock waits for us, so it is still this one
        return False
    os.fchmod(descriptor, MODE)  # whatever the umask
    with _writable(descriptor, path) as writable:
        os.ftruncate(writable, 0)
    return True


@contextmanager
def _writable(descriptor: int, path: str) -> Iterator[int]:
    """Open the file of a descriptor for writing, for as long as the context lasts.

    Raises:
        OSError: It can't be written, or is not the file at its path any more.
    """
    writable = _open(path, os.O_WRONLY)
    try:
        if not os.path.samestat(os.fstat(writable), os.fstat(descriptor)):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        yield writable
    finally:
        os.close(writable)


def _open(path: str | os.PathLike[str], flags: int) -> int:
    # O_NONBLOCK and O_NOCTTY matter only if it is not what we expect, and is refused.
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY, MODE)


def _check_kind(descriptor: int, path: str) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise StartError(f"{path}: it is not a regular file; it was left as it is")


def _is_ours(descriptor: int) -> bool:
    status = os.fstat(descriptor)
    return (
        status.st_uid == os.geteuid()
        and status.st_nlink == 1
        and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )


def _is_at(descriptor: int, path: str) -> bool:
    """Tell whether a descriptor is of the file at a path. A symbolic link is not followed."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _pid_in(descriptor: int) -> int | None:
    text = re.fullmatch(rb"([0-9]{1,10})\n", os.pread(descriptor, 16, 0))
    pid = int(text[1]) if text else 0
    return pid if 0 < pid <= MAX_PID else None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@contextmanager
def _explained(path: str) -> Iterator[None]:
    """Turn an OSError into a StartError."""
    try:
        yield
    except OSError as error:
        # open(2): ELOOP, "path was a symbolic link"; EMLINK on FreeBSD.
        if error.errno in {errno.ELOOP, errno.EMLINK}:
            raise StartError(f"{path}: it is a symbolic link; it was left as it is") from None
        raise StartError(f"{path}: {error.strerror}") from None
