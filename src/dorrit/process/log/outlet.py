"""Where the log goes: an outlet writes without waiting, and counts what it could not write.

Whoever reads the log may have stopped: a pipe that nobody empties, a log daemon that hangs, a disk
that is full. The server serves on, records are lost, and when the log works again it says how many.
"""

import logging
import os
import select
import socket
import stat
import sys
import time
from typing import Final

from dorrit.process.log.layout import Layout

STDERR: Final = 2

WAIT_MAX: Final = 0.1
"""Seconds in each `PERIOD` that all records together wait for a reader who is behind."""

PERIOD: Final = 10.0
"""Seconds."""

LINE_MAX: Final = 1 << 16
"""Characters of the longest line, where the reader has no limit of its own."""


class Outlet:
    """One way out.

    Attributes:
        level: Records below this one are passed over.
        lost: Records that could not be written since one could be.
    """

    stamped: bool = True
    """Its lines have the time and the level."""
    longest: int = LINE_MAX
    """Characters of its longest line."""

    def __init__(self) -> None:
        """Take all records."""
        self.level: int = logging.NOTSET
        self.lost: int = 0
        self._waited: float = 0.0
        self._period_ends: float = 0.0

    def write(self, record: logging.LogRecord, layout: Layout) -> None:
        """Write a record, or count it."""
        if record.levelno < self.level:
            return
        if self.lost:
            what = "a record was" if self.lost == 1 else f"{self.lost} records were"
            text = f"{what} lost: the log could not be written"
            notice = logging.LogRecord("dorrit", logging.WARNING, "", 0, text, (), None)
            if not self.send(notice.levelno, layout(notice, self.stamped, self.longest)):
                self.lost += 1
                return
            self.lost = 0
        if not self.send(record.levelno, layout(record, self.stamped, self.longest)):
            self.lost += 1

    def send(self, level: int, lines: list[str]) -> bool:
        """Write lines; return whether all of them are written."""
        raise NotImplementedError

    def reopen(self) -> None:
        """Open it anew.

        Raises:
            OSError: It can't be; the outlet is what it was.
        """

    def wait(self, descriptor: int) -> bool:
        """Return whether a descriptor takes something now, or soon enough."""
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        if poll.poll(0):
            return True
        now = time.monotonic()
        if now >= self._period_ends:
            self._period_ends = now + PERIOD
            self._waited = 0.0
        left = WAIT_MAX - self._waited
        if left <= 0:
            return False
        ready = poll.poll(left * 1000)
        self._waited += time.monotonic() - now
        return bool(ready)


class Stream(Outlet):
    """A descriptor that takes a stream of bytes: stderr."""

    def __init__(self, descriptor: int = STDERR) -> None:
        """Take the descriptor, which belongs to the caller."""
        super().__init__()
        self._descriptor = descriptor
        self._encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
        self._rest = b""  # of a line that was begun
        self._own = -1
        self._file: tuple[int, int] | None = None
        self._reopen_without_waiting()

    @property
    def report_descriptor(self) -> int:
        """Where a crash can be told without waiting for anybody, if there is such a way."""
        return self._current()

    def _reopen_without_waiting(self) -> None:
        """Get a way to a pipe or a terminal that does not block.

        O_NONBLOCK belongs to the open file, which a shell may share, and other processes with it.
        """
        try:
            status = os.fstat(self._descriptor)
            if not stat.S_ISFIFO(status.st_mode) and not os.isatty(self._descriptor):
                return
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            self._own = os.open(f"/proc/self/fd/{self._descriptor}", flags)
        except OSError:
            return  # no /proc, or it is another user's: then only poll(2) says what it takes
        self._file = status.st_dev, status.st_ino

    def _current(self) -> int:
        """Return the descriptor to write to: the server's code may have put another one there."""
        if self._own != -1 and file_of(self._descriptor) == file_of(self._own) == self._file:
            return self._own
        return self._descriptor

    def send(self, level: int, lines: list[str]) -> bool:  # noqa: ARG002 - Outlet's
        """Write lines."""
        return self.send_bytes("".join(f"{line}\n" for line in lines))

    def send_bytes(self, text: str) -> bool:
        """Write text, in pieces that a pipe takes without blocking once poll(2) has said so."""
        data = self._rest + text.encode(self._encoding, "backslashreplace")
        self._rest = b""
        position = 0
        try:
            while position < len(data):
                descriptor = self._current()
                if not self.wait(descriptor):
                    break
                try:
                    position += _write(descriptor, data[position : position + select.PIPE_BUF])
                except BlockingIOError:
                    break
        except OSError:
            pass  # the disk is full, the terminal or the reader has gone
        if position == len(data):
            return True
        # A line that has been begun is ended before anything else is written.
        if position and data[position - 1 : position] != b"\n":
            self._rest = data[position : data.index(b"\n", position) + 1]
        return False

    def close(self) -> None:
        """Give up what it has opened."""
        if self._own != -1 and file_of(self._own) == self._file:
            os.close(self._own)
        self._own = -1


def file_of(descriptor: int) -> tuple[int, int] | None:
    """Return what makes an open file itself, its device and inode; None if it is closed."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _write(descriptor: int, data: bytes) -> int:
    try:
        is_socket = stat.S_ISSOCK(os.fstat(descriptor).st_mode)
    except OSError:
        is_socket = False
    if not is_socket:
        return os.write(descriptor, data)
    # A service manager's: its flag O_NONBLOCK is shared as well.
    with socket.socket(fileno=os.dup(descriptor)) as stream:
        return stream.send(data, socket.MSG_DONTWAIT)
