"""What a log record looks like: as lines of text, or as one object of JSON.

A record may have a client's text in it, in its message or in an exception. So every way out of the
process, a terminal, a file or syslog, gets it from here. Characters that a terminal does not print
are escaped, and all lines of a record but the first are marked, so that they can't be taken for
records.
"""

import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

from dorrit.logger import NAME
from dorrit.raised import attempt, name_of, traceback_of

CONTINUED: Final = "| "
"""Begins each line of a record but its first."""

Layout = Callable[[logging.LogRecord, bool, int], list[str]]
"""Makes lines of a record: with the time and the level, or without, and how long they may be."""


def layout_of(name: str) -> Layout:
    """Return what makes lines of a record: `name` is one of `LOG_FORMATS` of the settings."""
    return json_lines if name == "json" else text_lines


def text_lines(record: logging.LogRecord, stamped: bool, longest: int) -> list[str]:  # noqa: FBT001 - see Layout
    """Return a record as lines of text, the message first, then the traceback."""
    text = message_of(record)
    if record.name != NAME:
        text = f"{record.name}: {text}"
    for more in (exception_of(record), record.stack_info):
        if more:
            text = f"{text}\n{more}"
    first, *others = text.split("\n")
    start = f"{_local_time(record.created)} {printable(record.levelname)} " if stamped else ""
    return [
        start + _cut(printable(first), longest),
        *[CONTINUED + _cut(printable(line), longest) for line in others],
    ]


def json_lines(record: logging.LogRecord, stamped: bool, longest: int) -> list[str]:  # noqa: FBT001, ARG001 - see Layout
    """Return a record as one object of JSON, in ASCII, which is valid UTF-8 whatever is in it."""
    told: dict[str, object] = {
        "time": _time_and_zone(record.created),
        "level": record.levelname,
        "logger": record.name,
        "message": message_of(record),
    }
    about = getattr(record, "about", None)
    if record.name == NAME and isinstance(about, Mapping):
        told.update(about)
    exception = exception_of(record)
    if exception:
        told["exception"] = exception
    if record.stack_info:
        told["stack"] = record.stack_info
    line = _json(told)
    # What is cut off the line would not be JSON any more.
    for name in ("stack", "exception", "message"):
        value = told.get(name)
        if len(line) > longest and isinstance(value, str):
            # Each character may have become six, and twelve outside of the first plane.
            room = max(0, longest - (len(line) - len(_json(value)))) // 12
            shown = value[:room] if name == "message" else value[-room:] if room else ""
            told[name] = f"{shown}... ({len(value)} characters)"
            line = _json(told)
    return [line]


def message_of(record: logging.LogRecord) -> str:
    """Return a record's message; what is wrong with its arguments is not a reason to lose it."""
    return attempt(
        lambda: str(record.getMessage()),
        lambda error: (
            f"{_shown(record.msg)} (the arguments do not fit the message: {_shown(record.args)}: "
            f"{name_of(error)})"
        ),
    )


def exception_of(record: logging.LogRecord) -> str:
    """Return the traceback of a record's exception; "" if there is none."""
    info = record.exc_info
    if not isinstance(info, tuple) or info[1] is None:
        return ""
    return traceback_of(info[1]).rstrip("\n")


def printable(text: str) -> str:
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


def _cut(line: str, longest: int) -> str:
    if len(line) <= longest:
        return line
    return f"{line[:longest]}... ({len(line)} characters)"


def _local_time(created: float) -> str:
    moment = time.localtime(created)
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', moment)},{int(created % 1 * 1000):03}"


def _time_and_zone(created: float) -> str:
    """Return a time as ISO 8601 and RFC 3339 have it, as the module datetime would.

    That module would take a hundredth of a server's start.
    """
    seconds, milliseconds = divmod(round(created * 1_000_000) // 1000, 1000)
    moment = time.localtime(seconds)
    zone = time.strftime("%z", moment)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', moment)}.{milliseconds:03}{zone[:3]}:{zone[3:]}"


def _json(value: object) -> str:
    # DEL is ASCII, and a terminal acts on it.
    return json.dumps(value, default=_shown).replace("\x7f", "\\u007f")


def _shown(value: object) -> str:
    return attempt(lambda: repr(value), lambda _: f"a {type(value).__name__}")
