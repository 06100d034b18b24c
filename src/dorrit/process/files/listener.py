"""The listening socket (R1, R25), made with care: it takes over a name in the file system."""

import errno
import logging
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from dorrit.errors import StartError
from dorrit.process.credentials.capabilities import lacks
from dorrit.process.files.binding import bind, identity_of, remove_stale
from dorrit.process.files.directories import check_directory
from dorrit.process.files.lock import HeldError, Lock
from dorrit.process.files.ownership import change_owner
from dorrit.process.files.paths import LISTEN_ADVICE, LOCK_SUFFIX, check_length

logger: logging.Logger = logging.getLogger("dorrit")

BACKLOG: Final = 4096
"""Clients that may wait to be taken; the kernel's own limit (net.core.somaxconn) caps it."""

UMASK: Final = 0o007
"""Gives the socket the mode srwxrwx--- from its first moment."""

EFFECTIVE: Final = os.access in os.supports_effective_ids


class Listener:
    """A UNIX-domain socket to listen on, whose name goes from the file system when it is closed.

    Beside it, in PATH.lock, is a lock that keeps other servers from taking its name, for as long as
    the server lives (`dorrit.process.files.lock`). A socket that a service manager has handed over
    has none, and its name is the manager's.

    Attributes:
        path: Where it is.
        descriptor: Does not block; is not inherited by other programs.
        lock: Its lock; None: it was handed over.
    """

    path: str
    descriptor: int = -1
    lock: Lock | None = None
    _identity: tuple[int, int] | None = None  # of the name; None: it has none of ours
    _listens = False

    def __init__(self, path: str, uid: int = -1, gid: int = -1) -> None:
        """Make it. Nobody can connect before `listen`.

        Args:
            path: Absolute, no longer than a socket's may be.
            uid: Its owner; -1 leaves that as it is.
            gid: Its group, likewise.

        Raises:
            StartError: It can't be made there, or something is there already: a server that
                answers, or no socket at all. That is left as it is.
        """
        check_length(path, LISTEN_ADVICE)
        self.path = path
        self._creator = os.geteuid()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _check_writable(Path(path).parent)
            check_directory(Path(path).parent)
            self.lock = _lock(path)
            self.lock.write()
            remove_stale(path)
            bind(self._socket, path, UMASK)
            self._identity = identity_of(path)
            change_owner(path, uid, gid)
        except OSError as error:
            self.close()
            raise StartError(f"{path}: the socket can't be made: {_why(error, path)}") from None
        except BaseException:
            self.close()
            raise
        self._use(self._socket)

    @classmethod
    def given(cls, descriptor: int, path: str) -> Self:
        """Use a socket that a service manager has made and listens on, as it is.

        Args:
            descriptor: Of the socket. It is the listener's from now on.
            path: Where it is bound to.
        """
        return cls.adopt(descriptor, path, None)

    @classmethod
    def adopt(cls, descriptor: int, path: str, lock: int | None) -> Self:
        """Go on with the socket of the previous image in the same process (R29).

        Args:
            descriptor: What was `descriptor` there.
            path: What was `path` there.
            lock: Descriptor of the lock; None: a service manager has handed over the socket.

        Raises:
            StartError: The lock is lost.
        """
        adopted = cls.__new__(cls)
        adopted.path = path
        adopted._creator = os.geteuid()  # noqa: SLF001 - its own, here and below
        if lock is not None:
            adopted.lock = Lock.adopt(lock, path + LOCK_SUFFIX)
            with suppress(FileNotFoundError):
                adopted._identity = identity_of(path)  # noqa: SLF001 - of this class
        made = socket.socket(fileno=descriptor)
        adopted._use(made)  # noqa: SLF001 - of this class
        listens = made.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) != 0
        adopted._listens = listens  # noqa: SLF001 - of this class
        return adopted

    def _use(self, made: socket.socket) -> None:
        self._socket = made
        self._socket.settimeout(0)
        self.descriptor = self._socket.fileno()
        os.set_inheritable(self.descriptor, False)

    def leave_open(self) -> None:
        """Let the descriptor outlive this object, and the interpreter: the next image has it."""
        self._socket.detach()

    def own(self) -> None:
        """Make the calling process the owner: the daemon, when it has been forked.

        Raises:
            StartError: Its pid can't be written to the lock.
        """
        if self.lock is not None:
            self.lock.write()

    def listen(self) -> None:
        """Let clients connect from now on.

        To be called in the process that serves, when its privileges are gone: the kernel tells
        clients which process has called listen(2), and as who. One that listens already stays as it
        is, and so do those who wait there.

        Raises:
            OSError: The system can't.
        """
        if not self._listens:
            self._socket.listen(BACKLOG)
            self._listens = True

    def close(self) -> None:
        """Stop listening, and remove the name unless it has become somebody else's.

        The lock goes last, so that nobody comes in between. A process that was forked off the owner
        removes nothing. Nor can one that has dropped the privileges it needs for that: then it is
        the janitor's work (`dorrit.process.files.janitor`).
        """
        if self._identity is not None and self.lock is not None and self.lock.is_holder():
            self._unlink()
        self._identity = None
        self._socket.close()
        self.descriptor = -1
        if self.lock is not None:
            self.lock.close()

    def let_go(self) -> None:
        """Leave the socket to its owner, in a process that was forked off that."""
        self._identity = None
        self._socket.close()
        self.descriptor = -1
        if self.lock is not None:
            self.lock.let_go()

    def _unlink(self) -> None:
        try:
            # While the socket is open its inode is in use, so nobody else's can have its number.
            if identity_of(self.path) == self._identity:
                Path(self.path).unlink()
        except FileNotFoundError:
            pass
        except OSError as error:
            expected = os.geteuid() != self._creator or not os.access(
                Path(self.path).parent, os.W_OK
            )
            logger.log(
                logging.DEBUG if expected else logging.WARNING,
                "%s can't be removed: %s",
                self.path,
                error.strerror,
            )

    def __enter__(self) -> Self:
        """Return the listener."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close it."""
        self.close()


def _check_writable(directory: Path) -> None:
    """Let what is wrong with the directory be said of the socket, not of its lock.

    Raises:
        OSError: Nothing can be made in it.
    """
    number = 0
    if not stat.S_ISDIR(directory.stat().st_mode):
        number = errno.ENOTDIR
    elif not os.access(directory, os.W_OK | os.X_OK, effective_ids=EFFECTIVE):
        # access(2) has an errno of its own, which Python does not tell.
        read_only = os.statvfs(directory).f_flag & os.ST_RDONLY
        number = errno.EROFS if read_only else errno.EACCES
    if number:
        raise OSError(number, os.strerror(number))


def _lock(path: str) -> Lock:
    """Take the lock of the socket at a path.

    Raises:
        StartError: Another server has it, or it can't be made.
    """
    try:
        return Lock(path + LOCK_SUFFIX)
    except HeldError as error:
        who = "that is just starting or stopping" if error.pid is None else f"(process {error.pid})"
        raise StartError(
            f"{path}: another server {who} has this socket; stop it first, or choose another path"
        ) from None


def _why(error: OSError, path: str) -> str:
    directory = Path(path).parent
    if error.errno == errno.EACCES:
        if os.geteuid() == 0 and lacks("CAP_DAC_OVERRIDE"):
            return (
                f"{error.strerror}: root lacks the capability CAP_DAC_OVERRIDE, so {directory} "
                "must be its own"
            )
        return (
            f"{error.strerror}: {directory} must be writable for the server's user; or choose "
            "another path with -l"
        )
    if error.errno == errno.EOVERFLOW:
        return f"{error.strerror}: its user has no number outside this user namespace"
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        return f"{error.strerror}: {directory} must be a directory"
    return str(error.strerror)
