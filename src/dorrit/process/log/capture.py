"""What a program says other than by logging: it becomes log records as well.

Warnings, exceptions of threads, and those that Python can't raise anywhere, go to stderr by
default, without a time; from a daemon they would go nowhere, as would what it prints.
"""

import contextlib
import io
import logging
import re
import sys
import threading
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TextIO

from dorrit.logger import logger
from dorrit.raised import attempt

if TYPE_CHECKING:
    from typing_extensions import Buffer

ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")
"""Where an object is in memory, as Python's own descriptions have it: nothing for a log."""

LINE_MAX: Final = 8192
"""Bytes of a printed line that are kept until its end comes."""

Write = Callable[[logging.LogRecord], None]
"""Writes a record to dorrit's log."""


class Hooks:
    """What Python calls for warnings and for exceptions that nobody catches, while this is there.

    The server's own code may put its own in their place.
    """

    def __init__(self) -> None:
        """Put them in place."""
        self._warning = warnings.showwarning
        self._thread = threading.excepthook
        self._unraisable = sys.unraisablehook
        warnings.showwarning = self._show_warning
        threading.excepthook = _report_thread
        sys.unraisablehook = _report_unraisable

    def close(self) -> None:
        """Put back what was there before, unless something else is there by now."""
        if warnings.showwarning == self._show_warning:
            warnings.showwarning = self._warning
        if threading.excepthook is _report_thread:
            threading.excepthook = self._thread
        if sys.unraisablehook is _report_unraisable:
            sys.unraisablehook = self._unraisable

    def _show_warning(  # noqa: PLR0917 - as warnings.showwarning has it
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if file is not None:
            self._warning(message, category, filename, lineno, file, line)
            return
        text = warnings.formatwarning(message, category, filename, lineno, line)
        # Where logging.captureWarnings writes them.
        logging.getLogger("py.warnings").warning("%s", text.rstrip("\n"))


def _report_thread(unhandled: threading.ExceptHookArgs) -> None:
    if unhandled.exc_type is SystemExit:
        return  # as the hook that Python has
    name = unhandled.thread.name if unhandled.thread is not None else "a thread"
    error = unhandled.exc_value
    logger.error(
        "an exception has ended the thread %s: %s", name, unhandled.exc_type.__name__,
        exc_info=None if error is None else (unhandled.exc_type, error, unhandled.exc_traceback),
    )  # fmt: skip


def _report_unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    where = attempt(
        lambda: ADDRESS.sub("", repr(unraisable.object)),
        lambda _: f"a {type(unraisable.object).__name__}",
    )
    error = unraisable.exc_value
    logger.error(
        "%s: %s", unraisable.err_msg or "an exception was ignored in", where,
        exc_info=(
            None if error is None else (unraisable.exc_type, error, unraisable.exc_traceback)
        ),
    )  # fmt: skip


# What is printed


class Lines(io.RawIOBase):
    """Takes bytes; each line becomes a record."""

    def __init__(self, write: Write, name: str, level: int, descriptor: int) -> None:
        """Begin.

        Args:
            write: Gets the records.
            name: Their logger's name.
            level: Their level.
            descriptor: For who asks: children get this one instead.
        """
        self._write = write
        self._name = name
        self._level = level
        self._descriptor = descriptor
        self._begun = threading.local()  # print() of one thread does not end another one's line

    def writable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the descriptor that the records do not go to."""
        return self._descriptor

    def write(self, data: "Buffer") -> int:
        """Take bytes."""
        taken = bytes(data)
        *lines, rest = (getattr(self._begun, "data", b"") + taken).split(b"\n")
        self._begun.data = b""
        while len(rest) >= LINE_MAX:
            lines.append(rest[:LINE_MAX])
            rest = rest[LINE_MAX:]
        for line in lines:
            self._record(line)
        self._begun.data = rest
        return len(taken)

    def end_line(self) -> None:
        """Write what this thread has begun."""
        rest, self._begun.data = getattr(self._begun, "data", b""), b""
        if rest:
            self._record(rest)

    def _record(self, line: bytes) -> None:
        text = line.decode(errors="backslashreplace")
        # Not by way of a logger: its handlers may write to this very stream.
        self._write(logging.LogRecord(self._name, self._level, "", 0, "%s", (text,), None))


class Printed:
    """``sys.stdout`` and ``sys.stderr`` of a daemon, whose descriptors lead to /dev/null."""

    def __init__(self, write: Write) -> None:
        """Put them in place, and have handlers of logging that write to the old ones follow."""
        self._before = sys.stdout, sys.stderr
        self._lines = (
            Lines(write, "stdout", logging.INFO, 1),
            Lines(write, "stderr", logging.WARNING, 2),
        )
        streams = [
            io.TextIOWrapper(
                lines,  # type: ignore[type-var] # unbuffered, as with python -u
                encoding="utf-8", errors="backslashreplace", write_through=True,
            )
            for lines in self._lines
        ]  # fmt: skip
        sys.stdout, sys.stderr = self._streams = streams
        for handler in _handlers():
            for before, stream in zip(self._before, streams, strict=True):
                if isinstance(handler, logging.StreamHandler) and handler.stream is before:
                    with contextlib.suppress(OSError, ValueError):
                        handler.setStream(stream)

    def close(self) -> None:
        """Write what was printed last, and put back what was there before."""
        for lines in self._lines:
            lines.end_line()
        if sys.stdout is self._streams[0]:
            sys.stdout = self._before[0]
        if sys.stderr is self._streams[1]:
            sys.stderr = self._before[1]


def _handlers() -> list[logging.Handler]:
    found: list[Any] = [logging.root, *list(logging.root.manager.loggerDict.values())]
    return [
        handler
        for one in found
        if isinstance(one, logging.Logger)
        for handler in list(one.handlers)
    ]
