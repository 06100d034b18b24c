"""The logger ``dorrit``, whose records are not lost by what the server's own code does to logging.

The module logging has one state for the whole process, and much of what is done to it is meant for
other loggers: ``logging.config.dictConfig`` disables those that there are, ``logging.disable`` all
of them, ``basicConfig(force=True)`` removes handlers, and a factory of records may raise. While
dorrit keeps a log (`dorrit.process.log`), its own records are written there all the same. What is
done to the logger ``dorrit`` by its name counts: its level, its filters, and handlers, which get
the records besides.

In a process that is not dorrit's (`dorrit.listen`) there is no such log, and this is a logger like
any other.
"""

import logging
import time
from collections.abc import Callable
from typing import Any, Final, cast

NAME: Final = "dorrit"

PERIOD: Final = 10.0
"""Seconds in which a handler or a filter that raises is reported once."""


class OwnLogger(logging.Logger):
    """The logger ``dorrit``.

    Attributes:
        sink: Writes a record to dorrit's log, and raises nothing; None while there is no log.
        sink_level: The lowest level, if the logger has none of its own.
    """

    # In the class: an object that was made as a plain Logger has none of its own at first.
    sink: Callable[[logging.LogRecord], None] | None = None
    sink_level: int = logging.NOTSET
    _silent_until: float = 0.0

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - logging's name
        """Tell whether a record is written; what disables all loggers does not disable this one."""
        if self.sink is None:
            return super().isEnabledFor(level)
        return level >= (self.level or self.sink_level)

    def makeRecord(self, *arguments: Any, **named: Any) -> logging.LogRecord:  # noqa: ANN401, N802
        """Make a record, by logging's own class if the process's factory raises."""
        if self.sink is None:
            return super().makeRecord(*arguments, **named)
        try:
            return super().makeRecord(*arguments, **named)
        except Exception:  # noqa: BLE001 - whatever the server's code raises there
            return _plain_record(*arguments, **named)

    def handle(self, record: logging.LogRecord) -> None:
        """Write a record, then have the logger's handlers do what they do; neither raises."""
        if self.sink is None:
            super().handle(record)
            return
        try:
            # A bool; from Python 3.12 on perhaps another record.
            kept = cast("bool | logging.LogRecord", self.filter(record))
        except Exception as error:  # noqa: BLE001 - a filter of the server's code
            kept = True
            self._report("a filter", error)
        if not kept:
            return
        if isinstance(kept, logging.LogRecord):
            record = kept
        self.sink(record)
        if self.handlers:  # without any, logging would write it to stderr
            try:
                self.callHandlers(record)
            except Exception as error:  # noqa: BLE001 - a handler of the server's code
                self._report("a handler", error)

    def _report(self, what: str, error: Exception) -> None:
        now = time.monotonic()
        if self.sink is None or now < self._silent_until:
            return
        self._silent_until = now + PERIOD
        trace = (type(error), error, error.__traceback__)
        text = f"{what} of the logger {self.name} raised {type(error).__name__}"
        self.sink(_plain_record(self.name, logging.ERROR, "", 0, text, (), trace))


def _plain_record(*arguments: Any, **_: object) -> logging.LogRecord:  # noqa: ANN401
    """Make a record of what `logging.Logger.makeRecord` is called with."""
    record = logging.LogRecord(*arguments[:8])
    extra, stack = (*arguments[8:10], None, None)[:2]
    record.__dict__.update(extra or {})
    record.stack_info = stack
    return record


def _own_logger() -> OwnLogger:
    made = logging.getLogger(NAME)
    if not isinstance(made, OwnLogger):
        # Somebody may hold it already, who asked for it before dorrit was imported.
        made.__class__ = OwnLogger
    return cast("OwnLogger", made)


logger: Final = _own_logger()
"""It."""
