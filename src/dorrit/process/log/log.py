"""The log (R23, O1): stderr, a daemon's syslog, or a file, for all that the process has to say.

What dorrit says itself comes by its own logger, whatever the server's code does to logging. What
that code logs comes from logging's root, unless it has configured that itself: then its handlers
do what they are to do, and dorrit leaves them alone.
"""

import logging
import os
import sys
import threading
from contextlib import suppress
from typing import Final

from dorrit.logger import NAME, logger
from dorrit.process.credentials.privileges import Identity
from dorrit.process.log.capture import Hooks, Printed
from dorrit.process.log.layout import layout_of
from dorrit.process.log.log_file import LogFile, make_file
from dorrit.process.log.outlet import Outlet, Stream
from dorrit.process.log.syslog import ADDRESSES, Syslog, crash_line
from dorrit.raised import EXITS

NO_SYSLOG: Final = (
    f"no syslog here ({ADDRESSES[0]}): records are lost until there is one; --log FILE keeps them"
)


class Relay(logging.Handler):
    """Brings records of logging's other loggers to the log."""

    def __init__(self, log: "Log") -> None:
        """Take the log."""
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; those of dorrit's own logger come by their own way."""
        if record.name != NAME:
            self._log.write(record)


class Log:
    """Where records go. It begins on stderr.

    A daemon has two outlets until it is ready: what is wrong then is seen by whoever starts it, and
    it is in its log as well.
    """

    def __init__(self, level: str, layout: str = "text") -> None:
        """Write the records to stderr, those of `level` and above.

        Args:
            level: A name of `dorrit.settings.readers.LOG_LEVELS`.
            layout: A name of `dorrit.settings.readers.LOG_FORMATS`.
        """
        self._layout = layout_of(layout)
        self._lock = threading.RLock()
        self._outlets: list[Outlet] = []
        self._stderr = Stream()
        self._main: Outlet = self._stderr
        self._crash_line: tuple[int, str] | None = None
        self._printed: Printed | None = None
        self._hooks = Hooks()
        self._relay = Relay(self)
        self._outlets.append(self._stderr)
        self._last_resort = logging.lastResort
        self._root_level = logging.root.level
        os.register_at_fork(after_in_child=self._in_forked_child)
        # What no handler takes goes here: as long as the server's code has not configured logging,
        # that is everything.
        logging.lastResort = self._relay
        for handler in list(logger.handlers):
            if isinstance(handler, Relay):
                logger.removeHandler(handler)
        logger.addHandler(self._relay)  # what comes from loggers below it
        logger.propagate = False
        self._level: int = logging.NOTSET
        self._level_of_logger = logger.level
        self.set_level(level)
        logger.sink = self.write

    def write(self, record: logging.LogRecord) -> None:
        """Write a record to all outlets. It raises nothing, and waits for nobody."""
        with self._lock:
            for outlet in self._outlets:
                try:
                    outlet.write(record, self._layout)
                except EXITS:
                    raise
                # What the record is made of may be the user's code, and raise anything; and a log
                # that fails, whatever the reason, must not end what it tells of.
                except BaseException:  # noqa: BLE001 - see above
                    outlet.lost += 1

    def _in_forked_child(self) -> None:
        self._lock = threading.RLock()  # another thread may have had it

    def set_level(self, level: str) -> None:
        """Write the records of this level and above from now on.

        A level that the server's code has set itself, of the root or of ``dorrit``, stays.

        Args:
            level: A name of `dorrit.settings.readers.LOG_LEVELS`.
        """
        number = logging.getLevelNamesMapping()[level.upper()]
        before, self._level = self._level, number
        logger.sink_level = number
        if logger.level == self._level_of_logger:
            logger.setLevel(number)
            self._level_of_logger = number
        # WARNING is what the root has when nobody has said anything.
        if logging.root.level == (before or logging.WARNING):
            logging.root.setLevel(number)

    def set_layout(self, layout: str) -> None:
        """Write records like this from now on.

        Args:
            layout: A name of `dorrit.settings.readers.LOG_FORMATS`.
        """
        self._layout = layout_of(layout)

    def take_root(self) -> None:
        """Have what the server's code logs come here, unless it has configured that itself.

        To be called when its start is over. A ``basicConfig()`` without arguments, which also the
        functions of the module logging call (``logging.error(…)``), configures nothing: it is for
        programs that have no log.
        """
        root = logging.root
        if len(root.handlers) == 1 and _is_default(root.handlers[0]):
            root.removeHandler(root.handlers[0])
        if not root.handlers:
            root.addHandler(self._relay)

    def use_syslog(self, identity: str) -> bool:
        """Write to syslog; to stderr, which is the terminal of the command, only the bad news.

        Args:
            identity: The server's name.

        Returns:
            Whether a log daemon listens.
        """
        made = Syslog(identity)
        self._use(made)
        return made.is_there

    def use_file(self, path: str, identity: Identity | None = None) -> None:
        """Write to a file; to stderr, until the server has started, only the bad news.

        Args:
            path: It; absolute.
            identity: Whose it shall be, if this process is to become somebody else.

        Raises:
            StartError: It can't be opened.
        """
        self._use(LogFile(path, make_file(path, identity)))

    def _use(self, outlet: Outlet) -> None:
        with self._lock:
            self._outlets = [one for one in self._outlets if one is self._stderr]
            self._stderr.level = logging.WARNING
            self._outlets.append(outlet)
            self._main = outlet
            self._crash_line = None

    @property
    def path(self) -> str | None:
        """The file that it goes to, if it does."""
        return self._main.path if isinstance(self._main, LogFile) else None

    def leave_terminal(self) -> None:
        """Write nothing to stderr any more."""
        with self._lock:
            self._outlets = [one for one in self._outlets if one is not self._stderr]
            self._stderr.close()

    def take_prints(self) -> None:
        """Have what is printed from now on become records: stdout and stderr lead nowhere."""
        if self._printed is None:
            self._printed = Printed(self.write)

    def reopen(self) -> None:
        """Open the log anew (SIGHUP): it may have been renamed, or the log daemon replaced."""
        if self._main is self._stderr:
            logger.info("SIGHUP: the log goes to stderr, which can't be opened anew")
            return
        try:
            with self._lock:
                self._main.reopen()
        except OSError as error:
            logger.error("SIGHUP: the log can't be opened anew: %s", error.strerror)
            return
        logger.info("SIGHUP: the log was opened anew")

    def crash_report(self) -> tuple[int, str]:
        """Return where a single line can be written with write(2), and what it has to begin with.

        For the handler of a crash, which may call next to nothing. The descriptor is closed on
        exec.
        """
        if isinstance(self._main, Syslog) and self._crash_line is None:
            self._crash_line = crash_line(self._main.identity)
        if isinstance(self._main, LogFile):
            return self._main.descriptor, f"dorrit[{os.getpid()}]: "
        start = f"dorrit[{os.getpid()}]: "
        return self._crash_line or (self._stderr.report_descriptor, start)

    def close(self) -> None:
        """Leave logging as it was before."""
        if self._printed is not None:
            self._printed.close()
            self._printed = None
        self._hooks.close()
        if logger.sink == self.write:
            logger.sink = None
        if logging.lastResort is self._relay:
            logging.lastResort = self._last_resort
        logger.removeHandler(self._relay)
        logging.root.removeHandler(self._relay)
        if logging.root.level == self._level:
            logging.root.setLevel(self._root_level)
        self._stderr.close()

    def let_go(self) -> None:
        """Leave what a crash is told on to the server, in a process that was forked off it."""
        if self._crash_line is not None:
            os.close(self._crash_line[0])
            self._crash_line = None


def _is_default(handler: logging.Handler) -> bool:
    """Tell whether this is what ``logging.basicConfig()`` makes, without arguments."""
    if type(handler) is not logging.StreamHandler or handler.filters or handler.level:
        return False
    with suppress(AttributeError):
        return (
            handler.stream in {sys.stderr, sys.__stderr__}
            and handler.formatter is not None
            and handler.formatter._fmt == logging.BASIC_FORMAT  # noqa: SLF001 - nothing else says it
            and handler.formatter.datefmt is None
        )
    return False
