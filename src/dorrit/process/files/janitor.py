"""A process that removes the server's names from the file system when the server is gone (R27).

The server has made its pid file and its socket as root, in a directory that only root can write,
and has then given up what it would need to remove them. So before that it starts a janitor, which
keeps root's privileges, and which can do this one thing: it waits for the end of a socket pair, on
which it takes no input, then removes the names that it was given at its start, and ends. It waits
for the server itself, not for what the server says: the names go after kill -9, too. But for one:
the file for `dorrit restart` stays, unless the server has said that it ends in order.

It holds the locks of these names with the server. As long as it has not removed them, no other
server can take them over; it can't remove another server's.

It is a program of its own (janitor_program.py), not just a fork: that would keep all memory that
``ws_init_func`` has filled.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, Self

from dorrit.errors import StartError
from dorrit.process.files.janitor_program import ALWAYS

PROGRAM: Final = Path(__file__).with_name("janitor_program.py")

TOLD: Final = b"."

TIMEOUT: Final = 10.0
"""Seconds for it to start, and for it to end."""


class Janitor:
    """In the server: the janitor that waits for it. It is not a child of the server.

    Attributes:
        descriptor: The server's end, closed on exec. For the next image in the same process, clear
            that flag and `adopt`.
    """

    def __init__(
        self,
        server: str,
        paths: Sequence[str],
        locks: Sequence[int],
        *,
        if_told: Sequence[str] = (),
    ) -> None:
        """Start it, as who the process still is. It is ready when this returns.

        Args:
            server: The server's name, for those who list processes.
            paths: Absolute; what is there now goes in this order, if it is still the same then.
            locks: Descriptors of the locks (`dorrit.process.files.lock`) that keep other servers
                from these paths. The janitor holds them as well, until it ends.
            if_told: Like `paths`, but only for an end that `finish` has told it of: they stay
                when the server was killed.

        Raises:
            StartError: It can't be started.
        """
        self._owner = os.getpid()
        ours, theirs = socket.socketpair()
        with theirs, ExitStack() as opened:
            try:
                files = [opened.enter_context(_file(path)) for path in (*if_told, *paths)]
                words = [word for file, _ in files for word in file]
                words.insert(4 * len(if_told), ALWAYS)
                _run(
                    [server, str(theirs.fileno()), *words],
                    [
                        theirs.fileno(),
                        *locks,
                        *(number for _, descriptors in files for number in descriptors),
                    ],
                )
                theirs.close()
                _wait_for_start(ours)
            except (OSError, StartError) as error:
                ours.close()
                raise StartError(f"the janitor that removes {' '.join(paths)}: {error}") from None
            except BaseException:
                ours.close()
                raise
        self.descriptor: int = ours.detach()

    @classmethod
    def adopt(cls, descriptor: int) -> Self:
        """Go on with the janitor of the previous image in the same process (R29).

        Args:
            descriptor: What was `descriptor` there.
        """
        janitor = cls.__new__(cls)
        janitor.descriptor = descriptor
        janitor._owner = os.getpid()  # noqa: SLF001 - its own
        os.set_inheritable(descriptor, False)
        return janitor

    def finish(self, timeout: float = TIMEOUT, *, told: bool = True) -> bool:
        """Have it remove the names, and wait for its end.

        Only the server itself can; in a process forked off it this does nothing.

        Args:
            timeout: Seconds to wait.
            told: The server ends in order: what is only removed then goes as well.

        Returns:
            Whether it has ended. It may have been killed before.
        """
        if self.descriptor < 0:
            return True
        ours = socket.socket(fileno=self.descriptor)
        self.descriptor = -1
        with ours:
            if os.getpid() != self._owner:
                return True
            try:
                if told:
                    ours.send(TOLD)
                # Not only close(2): a process forked off the server may have the descriptor too.
                ours.shutdown(socket.SHUT_WR)
                ours.settimeout(timeout)
                return ours.recv(1) == b""
            except TimeoutError:
                return False
            except OSError:  # it is gone
                return True

    def let_go(self) -> None:
        """Leave it to the server, in a process that was forked off that."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


@contextmanager
def _file(path: str) -> Iterator[tuple[tuple[str, str, str, str], list[int]]]:
    """Give an open directory, the name in it, and the device and inode that it stands for.

    Then the descriptors to keep open: that of the directory and, where the system has such, one of
    the file that is good for nothing else. As long as that is open, no other file gets its inode.
    """
    directory, name = os.path.split(path)
    descriptors = [os.open(directory, os.O_RDONLY | os.O_DIRECTORY)]
    try:
        if hasattr(os, "O_PATH"):
            flags = os.O_PATH | os.O_NOFOLLOW
            descriptors.append(os.open(name, flags, dir_fd=descriptors[0]))
            status = os.fstat(descriptors[1])
        else:
            status = os.lstat(name, dir_fd=descriptors[0])
        numbers = str(status.st_dev), str(status.st_ino)
        yield (str(descriptors[0]), name, *numbers), descriptors
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _run(words: list[str], descriptors: list[int]) -> None:
    """Run the program, which goes on in the background."""
    # -I and -S: nothing from the user's directories, nor from the environment of the server.
    command = [sys.executable, "-I", "-S", str(PROGRAM), *words]
    subprocess.run(
        command,
        check=False,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=descriptors,
        start_new_session=True,
        umask=0o077,
    )


def _wait_for_start(ours: socket.socket) -> None:
    ours.settimeout(TIMEOUT)
    if ours.recv(1) == b"":
        raise StartError("it did not start")
