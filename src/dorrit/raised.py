"""What comes out of the user's code: what may pass, and how the rest is written down.

It is called at many places: handlers, plain and `async`, what is called periodically or from a
thread, handlers and filters of the module logging. There is one rule for all of them. Only `EXITS`
end the server, in order. Whatever else a function raises is its own fault, also what is no
`Exception` (a panic of an extension in Rust, ``gevent.Timeout``, ``asyncio.CancelledError``).

An exception is the user's as well: its text, its class and its attributes are code that may raise.
"""

import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Final, TypeVar

EXITS: Final = (SystemExit, KeyboardInterrupt)
"""What ends the server, wherever it is raised. For the `except` clause before that of the rest."""

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]

Result = TypeVar("Result")


def attempt(call: Callable[[], Result], otherwise: Callable[[BaseException], Result]) -> Result:
    """Call what is the user's, by the rule above, and return what it returns.

    Args:
        call: Calls it.
        otherwise: Is called with what it has raised, unless that ends the server; what it returns
            is returned then.
    """
    try:
        return call()
    except EXITS:
        raise
    except BaseException as error:  # noqa: BLE001 - the rule above
        return otherwise(error)


def is_exit(error: BaseException) -> bool:
    """Tell whether this ends the server. `isinstance` would believe what an object says it is."""
    return issubclass(type(error), EXITS)


def name_of(error: BaseException) -> str:
    """Return the name of an exception's class, for the log."""
    # A metaclass may have a `__name__` of its own.
    return str(type.__dict__["__name__"].__get__(type(error)))


def summary_of(error: BaseException) -> str:
    """Return an exception's name and text, for one line."""
    return attempt(
        lambda: f"{name_of(error)}: {error}", lambda raised: _without_text(error, raised)
    )


def traceback_of(error: BaseException) -> str:
    """Return the traceback as text: all of it, or the part that can be had."""
    kind, error, trace = exc_info(error)

    def part(raised: BaseException) -> str:
        lines = ["Traceback (most recent call last):\n", *traceback.format_tb(trace)]
        return "".join([*lines, f"{_without_text(error, raised)}\n"])

    return attempt(lambda: "".join(traceback.format_exception(kind, error, trace)), part)


def _without_text(error: BaseException, raised: BaseException) -> str:
    return f"{name_of(error)} (its text raised {name_of(raised)})"


def exc_info(error: BaseException) -> ExcInfo:
    """Return what the module logging takes, without asking the exception itself."""
    return type(error), error, BaseException.__dict__["__traceback__"].__get__(error)
