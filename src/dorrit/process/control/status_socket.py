"""The status socket: what the server answers ``dorrit status`` with.

It stands beside the listening socket, and only the server's user and root may connect to it. Each
connection gets one line (`dorrit.process.control.status`) and its end; nothing is read from it. It
answers and does nothing else: whoever finds a hole in it can't tell the server anything.
"""

import logging
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from dorrit.errors import StartError
from dorrit.process.control.status import Status, encoded
from dorrit.process.files.binding import bind, identity_of, remove_stale
from dorrit.process.files.ownership import change_owner
from dorrit.process.files.paths import check_length

logger: logging.Logger = logging.getLogger("dorrit")

UMASK: Final = 0o177
"""Gives the socket the mode srw------- from its first moment."""

BACKLOG: Final = 16
"""Callers that may wait; one more waits in connect(2)."""

ANSWERS_AT_ONCE: Final = 16
"""The others wait for the next turn of the loop."""


class StatusSocket:
    """In the server: the status socket, which is read-only and never waits for anybody.

    Attributes:
        path: Where it is.
        descriptor: Call `answer` when it is readable. It does not block, and is closed on exec; for
            the next image clear that flag and `adopt`.
    """

    _identity: tuple[int, int] | None = None  # of the name; None: it has none of ours
    _describe: Callable[[], Status] | None = None  # None: nobody can connect yet
    _spare = -1

    def __init__(self, path: str, uid: int = -1, gid: int = -1) -> None:
        """Make it, while the process still may. Nobody can connect before `listen`.

        A socket that a server has left behind there is replaced.

        Args:
            path: Absolute; in a directory that `check_directory` accepts.
            uid: Its owner; -1 leaves that as it is.
            gid: Its group, likewise.

        Raises:
            StartError: It can't be made there, or something else is there already, which is left as
                it is.
        """
        check_length(path)
        made = self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            remove_stale(path)
            bind(made, path, UMASK)
            self._use(made, path)
            change_owner(path, uid, gid)
        except OSError as error:
            self.close()
            raise StartError(f"{path}: the status socket can't be made: {error.strerror}") from None
        except BaseException:
            self.close()
            raise

    @classmethod
    def adopt(cls, descriptor: int, path: str) -> Self:
        """Go on with the socket of the previous image in the same process (R29).

        Args:
            descriptor: What was `descriptor` there.
            path: What was `path` there.

        Raises:
            StartError: It is another descriptor.
        """
        adopted = cls.__new__(cls)
        try:
            made = socket.socket(fileno=descriptor)
            if made.family != socket.AF_UNIX or made.getsockname() != path:
                made.detach()
                raise StartError(f"{path}: descriptor {descriptor} is not the status socket")
            adopted._use(made, path)  # noqa: SLF001 - its own
        except OSError as error:
            raise StartError(f"{path}: the status socket is lost: {error.strerror}") from None
        return adopted

    def _use(self, made: socket.socket, path: str) -> None:
        self.path = path
        self._socket = made
        self._socket.settimeout(0)
        self.descriptor: int = self._socket.fileno()
        os.set_inheritable(self.descriptor, False)
        with suppress(FileNotFoundError):
            self._identity = identity_of(path)
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def listen(self, describe: Callable[[], Status]) -> None:
        """Let callers connect from now on.

        To be called in the process that serves, when it is a daemon and its privileges are gone:
        the kernel tells callers which process has called listen(2), and as who.

        Args:
            describe: Returns what to answer; called for each `answer`.

        Raises:
            OSError: The system can't.
        """
        self._describe = describe
        self._socket.listen(BACKLOG)

    def answer(self) -> None:
        """Answer those who wait, at most `ANSWERS_AT_ONCE`. Never blocks and never raises."""
        if self._describe is None:
            return
        try:
            data = encoded(self._describe())
        # None of this is the user's code: a fault of dorrit's own is told, and costs an answer, not
        # the server.
        except Exception:
            logger.exception("the status can't be told")
            data = b""  # they see that nothing came
        for _ in range(ANSWERS_AT_ONCE):
            try:
                client, _address = self._socket.accept()
            except BlockingIOError:
                return
            except OSError:
                self._answer_in_spare_place(data)
                return
            _send(client, data)

    def _answer_in_spare_place(self, data: bytes) -> None:
        """Answer a caller that there is no descriptor for; the spare one makes room for it.

        Left to wait, it would wake the loop for ever. Who looks why nobody gets in asks just then.
        """
        with suppress(OSError):
            if self._spare >= 0:
                os.close(self._spare)
                self._spare = -1
            _send(self._socket.accept()[0], data)
        with suppress(OSError):
            self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def leave_open(self) -> None:
        """Let the descriptor outlive this object, and the interpreter: the next image has it."""
        self._socket.detach()

    def close(self) -> None:
        """Answer nobody any more, and remove the name, unless it has become somebody else's.

        Where the privileges to remove it have been dropped it stays: that's the janitor's work
        (`dorrit.process.files.janitor`), or that of the next start.
        """
        if self._identity is not None:
            with suppress(OSError):
                if identity_of(self.path) == self._identity:
                    Path(self.path).unlink()
        self.let_go()

    def let_go(self) -> None:
        """Leave the name to the server, in a process that was forked off that."""
        self._identity = None
        self._socket.close()
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close it."""
        self.close()


def _send(client: socket.socket, data: bytes) -> None:
    with client, suppress(OSError):
        client.settimeout(0)
        client.send(data)
