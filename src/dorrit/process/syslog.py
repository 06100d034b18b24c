"""The log of a daemon: syslog(3), under the server's name (R23)."""

import logging
import os
import socket
import syslog
from typing import Final

PRIORITIES: Final = (
    (logging.CRITICAL, syslog.LOG_CRIT),
    (logging.ERROR, syslog.LOG_ERR),
    (logging.WARNING, syslog.LOG_WARNING),
    (logging.INFO, syslog.LOG_INFO),
)
"""The lowest level of each priority, highest first; what is below all of them is LOG_DEBUG."""

OPTIONS: Final = syslog.LOG_PID | syslog.LOG_NDELAY

LINE_MAX: Final = 2000
"""Characters of the longest line. RFC 5424 section 6.1: a receiver "SHOULD be able to accept
messages of up to and including 2048 octets in length", and what does not fit in a datagram would be
lost."""

ADDRESSES: Final = ("/dev/log", "/var/run/log", "/var/run/syslog")
"""Where syslogd listens: on Linux, on FreeBSD, on macOS."""

CONTINUED: Final = "| "
"""Begins each line of a record but its first."""


class SyslogHandler(logging.Handler):
    """Sends records to syslog, facility daemon, with the process's pid.

    Each line of a record, such as those of a traceback, is a message of its own. Text in an
    exception may be a client's: so characters that a terminal does not print are escaped, and all
    lines of a record but the first are marked, that they can't be taken for records. The
    connection of syslog(3) is one for the whole process, so there can be one such handler, and a
    server that calls openlog itself changes the name under which dorrit logs.
    """

    def __init__(self, identity: str) -> None:
        """Open the connection.

        Args:
            identity: The server's name.
        """
        super().__init__()
        self.identity: str = _printable(identity)
        self.reopen()

    def reopen(self) -> None:
        """Connect again: the log daemon may have been replaced (SIGHUP)."""
        self.acquire()
        try:
            syslog.closelog()
            syslog.openlog(self.identity, OPTIONS, syslog.LOG_DAEMON)
        finally:
            self.release()

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record. It is lost if no log daemon listens; that is no error."""
        try:
            priority = _priority(record.levelno)
            first, *others = self.format(record).split("\n")
            syslog.syslog(priority, _cut(_printable(first)))
            for line in others:
                syslog.syslog(priority, _cut(CONTINUED + _printable(line)))
        except Exception:  # noqa: BLE001 - whatever a record's arguments raise
            self.handleError(record)

    def close(self) -> None:
        """Close the connection."""
        syslog.closelog()
        super().close()


def crash_line(identity: str) -> tuple[int, str] | None:
    """Return where a line for syslogd can be written with write(2), and what it has to begin with.

    syslog(3) must not be called by the handler of a signal.

    Args:
        identity: The server's name; printable.

    Returns:
        A descriptor that does not block and is closed on exec, which the caller owns; None if no
        syslogd listens.
    """
    # RFC 3164 section 4.1.1: "multiplying the Facility number by 8 and adding the ... Severity".
    start = f"<{syslog.LOG_DAEMON | syslog.LOG_CRIT}>{identity}[{os.getpid()}]: "
    for address in ADDRESSES:
        log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        log.setblocking(False)  # noqa: FBT003 - socket's interface
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


def _printable(text: str) -> str:
    r"""Return a text with everything that a terminal does not print as ``\xNN`` or ``\uNNNN``.

    That includes lone surrogates, which UTF-8 can't encode, and marks that reverse the direction.
    """
    if text.isprintable():
        return text
    return "".join(
        # Not the codec unicode_escape: it is a module, which can't always be found any more when
        # root's privileges are gone.
        character if character.isprintable() else ascii(character)[1:-1]
        for character in text
    )


def _cut(line: str) -> str:
    if len(line) <= LINE_MAX:
        return line
    return f"{line[:LINE_MAX]}... ({len(line)} characters)"
