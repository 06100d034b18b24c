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

import functools
import logging
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from dorrit.raised import ExcInfo, attempt, exc_info, name_of, traceback_of

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

    def makeRecord(self, *arguments: Any, **named: Any) -> logging.LogRecord:  # noqa: ANN401, N802 - logging's
        """Make a record, by logging's own class if the process's factory raises."""
        make = functools.partial(super().makeRecord, *arguments, **named)
        if self.sink is None:
            return make()
        return attempt(make, lambda _: _plain_record(*arguments, **named))

    def handle(self, record: logging.LogRecord) -> None:
        """Write a record, then have the logger's handlers do what they do; neither raises."""
        if self.sink is None:
            as_others = functools.partial(super().handle, record)
            attempt(as_others, functools.partial(self._report, "a handler or a filter"))
            return
        # A bool; from Python 3.12 on perhaps another record.
        kept: object = attempt(lambda: self.filter(record), self._filter_raised)
        if not kept:
            return
        if isinstance(kept, logging.LogRecord):
            record = kept
        self.sink(record)
        if self.handlers:  # without any, logging would write it to stderr
            attempt(
                functools.partial(self.callHandlers, record),
                functools.partial(self._report, "a handler"),
            )

    def _filter_raised(self, error: BaseException) -> bool:
        self._report("a filter", error)
        return True

    def _report(self, what: str, error: BaseException) -> None:
        now = time.monotonic()
        if now < self._silent_until:
            return
        self._silent_until = now + PERIOD
        text = f"{what} of the logger {self.name} raised {name_of(error)}"
        text, trace = _loggable(text, error)
        record = _plain_record(self.name, logging.ERROR, "", 0, "%s", (text,), trace)
        if self.sink is not None:
            self.sink(record)
        else:
            self._tell(record)

    def _tell(self, record: logging.LogRecord) -> None:
        """Have a record written by those handlers that do not raise."""
        place: logging.Logger | None = self
        while place is not None:
            for handler in place.handlers:
                # What raises is the one that this is about.
                attempt(functools.partial(_give, record, handler), lambda _: None)
            place = place.parent if place.propagate else None


def log_raised(
    level: int, text: str, error: BaseException, about: Mapping[str, object] | None = None
) -> None:
    """Log what the server's code has raised, with the traceback, whatever it says of itself.

    Args:
        level: Of the module logging.
        text: What comes before the traceback.
        error: What was raised.
        about: What is known of the client whom it concerns.
    """
    text, trace = _loggable(text, error)
    logger.log(level, "%s", text, exc_info=trace, extra={"about": about or {}})


def _loggable(text: str, error: BaseException) -> tuple[str, ExcInfo | None]:
    """Return a text, and the exception if formatters do not stumble over it."""

    def formatted() -> tuple[str, ExcInfo | None]:
        traceback.format_exception(*exc_info(error))
        return text, exc_info(error)

    return attempt(formatted, lambda _: (f"{text}\n{traceback_of(error).rstrip()}", None))


def _give(record: logging.LogRecord, handler: logging.Handler) -> None:
    if record.levelno >= handler.level:
        handler.handle(record)


def _plain_record(*arguments: Any, **_: object) -> logging.LogRecord:  # noqa: ANN401 - logging's
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
"""The logger that dorrit writes to."""
