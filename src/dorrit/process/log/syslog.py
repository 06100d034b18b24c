"""The log of a daemon: the system's, under the server's name (R23).

syslog(3) waits for ever if the log daemon hangs, and everybody with it. So messages are written
here as it writes them, to a socket that does not block.
"""

import errno
import logging
import os
import socket
import syslog
import time
from typing import Final

from dorrit.process.log.layout import printable
from dorrit.process.log.outlet import Outlet, file_of

PRIORITIES: Final = (
    (logging.CRITICAL, syslog.LOG_CRIT),
    (logging.ERROR, syslog.LOG_ERR),
    (logging.WARNING, syslog.LOG_WARNING),
    (logging.INFO, syslog.LOG_INFO),
)
"""The lowest level of each priority, highest first; what is below all of them is LOG_DEBUG."""

LINE_MAX: Final = 2000
"""Characters of the longest line. RFC 5424 section 6.1: a receiver "SHOULD be able to accept
messages of up to and including 2048 octets in length", and what does not fit in a datagram would be
lost."""

ADDRESSES: Final = ("/dev/log", "/var/run/log", "/var/run/syslog")
"""Where syslogd listens: on Linux, on FreeBSD, on macOS."""

MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun",
                 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")  # fmt: skip
"""RFC 3164 section 4.1.2, "English language abbreviation"; strftime(3) would take the locale's."""

GONE: Final = frozenset(
    {
        errno.ECONNREFUSED, errno.ENOTCONN, errno.ECONNRESET, errno.EPIPE, errno.EDESTADDRREQ,
        errno.EBADF, errno.ENOTSOCK,
    }
)  # fmt: skip
"""Errors that mean: look for another log daemon."""


class Syslog(Outlet):
    """Sends records to the system's log, facility daemon, with the process's pid.

    Each line of a record, such as those of a traceback, is a message of its own.

    Attributes:
        identity: The server's name, printable.
    """

    stamped = False  # the log daemon has them
    longest = LINE_MAX

    def __init__(self, identity: str) -> None:
        """Connect.

        Args:
            identity: The server's name.
        """
        super().__init__()
        self.identity: str = printable(identity)
        self._socket: socket.socket | None = None
        self._file: tuple[int, int] | None = None
        self.is_there: bool = self._connect()

    def _connect(self) -> bool:
        self.close()
        for address in ADDRESSES:
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                log = socket.socket(socket.AF_UNIX, kind)
                log.settimeout(0)
                try:
                    log.connect(address)
                except OSError as error:
                    log.close()
                    if error.errno != errno.EPROTOTYPE:
                        break
                else:
                    self._socket = log
                    self._file = file_of(log.fileno())
                    return True
        return False

    def reopen(self) -> None:
        """Connect again: the log daemon may have been replaced (SIGHUP)."""
        self._connect()

    def send(self, level: int, lines: list[str]) -> bool:
        """Send lines, each as a message, as syslog(3) does (RFC 3164)."""
        moment = time.localtime()
        date = (
            f"{MONTHS[moment.tm_mon - 1]} {moment.tm_mday:2} "
            f"{moment.tm_hour:02}:{moment.tm_min:02}:{moment.tm_sec:02}"
        )
        # RFC 3164 section 4.1.1: "multiplying the Facility number by 8 and adding the ...
        # Severity".
        start = f"<{syslog.LOG_DAEMON | _priority(level)}>{date} {self.identity}[{os.getpid()}]: "
        return all(
            self._send_line((start + line).encode(errors="backslashreplace")) for line in lines
        )

    def _send_line(self, message: bytes) -> bool:
        for _ in range(2):
            if (self._socket is None or file_of(self._socket.fileno()) != self._file) and (
                not self._connect()
            ):
                return False
            log = self._socket
            assert log is not None
            if log.type == socket.SOCK_STREAM:
                message = message.rstrip(b"\0") + b"\0"
            try:
                if not self.wait(log.fileno()):
                    return False
                if log.send(message) == len(message):
                    return True
                self.close()  # half a message in a stream: the next one begins in a new one
            except OSError as error:
                if error.errno not in GONE:
                    return False
                self.close()
        return False

    def close(self) -> None:
        """Close the connection."""
        log, self._socket = self._socket, None
        if log is None:
            return
        if file_of(log.fileno()) == self._file:
            log.close()
        else:
            log.detach()  # the server's code has closed it, and the number is another's


def crash_line(identity: str) -> tuple[int, str] | None:
    """Return where a line for syslogd can be written with write(2), and what it has to begin with.

    Args:
        identity: The server's name; printable.

    Returns:
        A descriptor that does not block and is closed on exec, which the caller owns; None if no
        syslogd listens.
    """
    start = f"<{syslog.LOG_DAEMON | syslog.LOG_CRIT}>{identity}[{os.getpid()}]: "
    for address in ADDRESSES:
        log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        log.settimeout(0)
        try:
            log.connect(address)
        except OSError:
            log.close()
        else:
            return log.detach(), start
    return None


def _priority(level: int) -> int:
    for lowest, priority in PRIORITIES:
        if level >= lowest:
            return priority
    return syslog.LOG_DEBUG
