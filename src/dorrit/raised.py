"""What comes out of the user's code: what may pass, and how the rest is logged.

It is called at many places: handlers, plain and `async`, what is called periodically or from a
thread, handlers and filters of the module logging. There is one rule for all of them. Only `EXITS`
end the server, in order. Whatever else a function raises is its own fault, also what is no
`Exception` (a panic of an extension in Rust, ``gevent.Timeout``, ``asyncio.CancelledError``).

An exception is the user's as well: its text, its class and its attributes are code that may raise.
"""

import logging
import time
import traceback
from types import TracebackType
from typing import Final

EXITS: Final = (SystemExit, KeyboardInterrupt)
"""What ends the server, wherever it is raised. For the `except` clause before that of the rest."""

NOTICE_INTERVAL: Final = 10.0
"""Seconds between two records that say that the log's own handlers have raised."""

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def is_exit(error: BaseException) -> bool:
    """Tell whether this ends the server. `isinstance` would believe what an object says it is."""
    return issubclass(type(error), EXITS)


def name_of(error: BaseException) -> str:
    """Return the name of an exception's class, for the log."""
    # A metaclass may have a `__name__` of its own.
    return str(type.__dict__["__name__"].__get__(type(error)))


def summary_of(error: BaseException) -> str:
    """Return an exception's name and text, for one line."""
    try:
        return f"{name_of(error)}: {error}"
    except EXITS:
        raise
    except BaseException as raised:  # noqa: BLE001 - see above
        return f"{name_of(error)} (its text raised {name_of(raised)})"


def traceback_of(error: BaseException) -> str:
    """Return the traceback as text: all of it, or the part that can be had."""
    kind, error, trace = exc_info(error)
    try:
        return "".join(traceback.format_exception(kind, error, trace))
    except EXITS:
        raise
    except BaseException as raised:  # noqa: BLE001 - see above
        lines = ["Traceback (most recent call last):\n", *traceback.format_tb(trace)]
        return "".join([*lines, f"{name_of(error)} (its text raised {name_of(raised)})\n"])


def exc_info(error: BaseException) -> ExcInfo:
    """Return what the module logging takes, without asking the exception itself."""
    return type(error), error, BaseException.__dict__["__traceback__"].__get__(error)


def log(level: int, text: str, error: BaseException) -> None:
    """Write a record with a traceback, for the logger ``dorrit``."""
    try:
        # Formatters would stumble over it.
        "".join(traceback.format_exception(*exc_info(error)))
    except EXITS:
        raise
    except BaseException:  # noqa: BLE001 - see above
        logger.log(level, "%s\n%s", text, traceback_of(error).rstrip("\n"))
    else:
        logger.log(level, "%s", text, exc_info=exc_info(error))


class GuardedLogger(logging.Logger):
    """A logger that goes on when a handler or a filter raises: those may be the user's."""

    _told: float = float("-inf")

    def handle(self, record: logging.LogRecord) -> None:
        """Have a record written."""
        try:
            super().handle(record)
        except EXITS:
            raise
        except BaseException as error:  # noqa: BLE001 - the user's
            self._tell(record, error)

    def _tell(self, lost: logging.LogRecord, error: BaseException) -> None:
        """Say, to those handlers that do not raise, that a record has not come everywhere."""
        if time.monotonic() < self._told + NOTICE_INTERVAL:
            return
        self._told = time.monotonic()
        text = (
            "a handler or a filter of the module logging, which the server's own code has added, "
            f"raised {name_of(error)}; a record is lost, from {lost.pathname}:{lost.lineno}\n"
            f"{traceback_of(error)}"
        )
        record = self.makeRecord(
            self.name, logging.ERROR, __file__, 0, "%s", (text.rstrip("\n"),), None
        )
        place: logging.Logger | None = self
        while place is not None:
            for handler in place.handlers:
                try:
                    if record.levelno >= handler.level:
                        handler.handle(record)
                except EXITS:
                    raise
                except BaseException:  # noqa: BLE001, S112 - it is the one that this is about
                    continue
            place = place.parent if place.propagate else None


def _guarded() -> logging.Logger:
    """Return the logger ``dorrit``, which somebody may have made before, and have it guarded."""
    found = logging.getLogger("dorrit")
    if type(found) is logging.Logger:
        found.__class__ = GuardedLogger
    return found


logger: logging.Logger = _guarded()
