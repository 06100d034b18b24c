"""Where log records go (R23): to stderr, and from a daemon to syslog."""

import logging
import os
import sys
from typing import Final

from dorrit.process.syslog import SyslogHandler, crash_line

logger: logging.Logger = logging.getLogger("dorrit")

STDERR: Final = 2


class Log:
    """The handlers of the logger ``dorrit``. It begins on stderr.

    A daemon has two until it is ready: what is wrong then is seen by whoever starts it, and it is
    in the system's log as well.
    """

    def __init__(self, level: str) -> None:
        """Write the records to stderr, those of `level` and above.

        Args:
            level: A name of `dorrit.settings.LOG_LEVELS`.
        """
        self._stderr: logging.Handler = logging.StreamHandler(sys.stderr)
        self._stderr.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self._syslog: SyslogHandler | None = None
        self._crash_line: tuple[int, str] | None = None
        logger.handlers[:] = [self._stderr]
        self.set_level(level)
        logger.propagate = False

    def set_level(self, level: str) -> None:
        """Write the records of this level and above from now on.

        Args:
            level: A name of `dorrit.settings.LOG_LEVELS`.
        """
        logger.setLevel(level.upper())

    def use_syslog(self, identity: str) -> None:
        """Write them to syslog; to stderr, which is the terminal of the command, only the bad news.

        Args:
            identity: The server's name.
        """
        self._syslog = SyslogHandler(identity)
        self._stderr.setLevel(logging.WARNING)
        logger.addHandler(self._syslog)

    def leave_terminal(self) -> None:
        """Write nothing to stderr any more."""
        logger.removeHandler(self._stderr)

    def reopen(self) -> None:
        """Open the log anew (SIGHUP): the system's log daemon may have been replaced."""
        if self._syslog is None:
            logger.info("SIGHUP: the log goes to stderr, which can't be opened anew")
            return
        self._syslog.reopen()
        logger.info("SIGHUP: the log was opened anew")

    def crash_report(self) -> tuple[int, str]:
        """Return where a single line can be written with write(2), and what it has to begin with.

        For the handler of a crash, in which syslog(3) must not be called. The descriptor is closed
        on exec.
        """
        if self._syslog is not None and self._crash_line is None:
            self._crash_line = crash_line(self._syslog.identity)
        return self._crash_line or (STDERR, f"dorrit[{os.getpid()}]: ")
