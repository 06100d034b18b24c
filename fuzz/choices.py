"""A fuzzer's input, read as decisions. When it is used up, every decision is 0: do nothing."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Choices:
    """Takes an input apart, from its beginning to its end."""

    def __init__(self, data: bytes) -> None:
        """Take the input."""
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        """Bytes that have not been used."""
        return len(self._data) - self._at

    def bytes(self, count: int) -> bytes:
        """Return the next bytes, fewer at the end."""
        found = self._data[self._at : self._at + count]
        self._at += len(found)
        return found

    def byte(self) -> int:
        """Return the next byte."""
        return self.bytes(1)[0] if self.left else 0

    def flag(self) -> bool:
        """Return yes or no; no if the input is used up."""
        return self.byte() % 2 == 1

    def number(self) -> int:
        """Return a number from 0 to 65535, and small ones more often."""
        first = self.byte()
        return first if first < 0xC0 else (first - 0xC0) << 10 | self.byte() << 2

    def one_of(self, values: Sequence[T]) -> T:
        """Return one of these; the first one if the input is used up."""
        return values[self.byte() % len(values)]
