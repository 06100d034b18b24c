"""What the user's code may raise, and the kinds of his functions in which it does."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any


class Panic(BaseException):
    """As an extension written in Rust raises it, or gevent's Timeout."""


class UnprintableError(LookupError):
    """Its text can't be made."""

    def __str__(self) -> str:
        raise Panic("no text")

    __repr__ = __str__


class LiesAboutItselfError(LookupError):
    """What it says of its class and of its attributes raises."""

    @property
    def __class__(self) -> type:  # type: ignore[override]
        raise Panic("no class")

    @property
    def __traceback__(self) -> Any:  # type: ignore[override]
        raise Panic("no traceback")

    @property
    def __cause__(self) -> Any:  # type: ignore[override]
        raise Panic("no cause")

    @property
    def __notes__(self) -> Any:
        raise Panic("no notes")


class SaysItExits(Panic):
    """It is no SystemExit, whatever it says."""

    @property
    def __class__(self) -> type:  # type: ignore[override]
        return SystemExit


class _Nameless(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise Panic("no name")


class OfAStrangeClassError(LookupError, metaclass=_Nameless):
    """Its class has a name of its own."""


def _recursion() -> BaseException:
    def deeper() -> None:
        deeper()

    try:
        deeper()
    except RecursionError as error:
        return error
    raise AssertionError("it has an end")


ERRORS: dict[str, Callable[[], BaseException]] = {
    "LookupError": lambda: LookupError("a fault"),
    "Panic": lambda: Panic("a fault"),
    "CancelledError": asyncio.CancelledError,
    "GeneratorExit": GeneratorExit,
    "SystemExit": lambda: SystemExit(3),
    "KeyboardInterrupt": KeyboardInterrupt,
    "UnprintableError": UnprintableError,
    "LiesAboutItselfError": LiesAboutItselfError,
    "SaysItExits": SaysItExits,
    "OfAStrangeClassError": OfAStrangeClassError,
    "RecursionError": _recursion,
    "MemoryError": lambda: MemoryError("a fault"),
    "ExceptionGroup": lambda: BaseExceptionGroup("faults", [Panic("a fault"), SystemExit(3)]),
}
"""By the names of their classes, for which the log is searched."""

NAMES = {"ExceptionGroup": "BaseExceptionGroup"}
"""Where the class has another one."""

EXITS = {"SystemExit", "KeyboardInterrupt"}
"""The two that end a server."""


@dataclass(frozen=True)
class Cell:
    """One case of the table: a function of some kind raises something, in some loop."""

    loop: str
    kind: str
    style: str
    error: str

    @property
    def is_exit(self) -> bool:
        return self.error in EXITS

    def __str__(self) -> str:
        return f"{self.loop}-{self.kind}-{self.style}-{self.error}"


LOOPS = ("own", "asyncio", "uvloop", "guest", "guest in asyncio", "guest in uvloop", "testing")

KINDS = ("open", "message", "close", "every", "call")

STYLES = ("plain", "async", "async, later", "after drain", "five functions")


def is_possible(cell: Cell) -> bool:
    """Whether there is such a case."""
    if cell.loop in {"own", "guest"} and cell.style.startswith(("async", "after")):
        return False  # they have no event loop
    if cell.style == "after drain":
        return cell.kind == "message"
    if cell.style == "five functions":
        return cell.loop == "own"
    return True


def cells() -> Iterator[Cell]:
    """The whole table."""
    for loop in LOOPS:
        for kind in KINDS:
            for style in STYLES:
                for error in ERRORS:
                    cell = Cell(loop, kind, style, error)
                    if is_possible(cell):
                        yield cell
