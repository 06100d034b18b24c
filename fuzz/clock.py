"""The monotonic clock of this process, which a fuzzer sets; see clock.c."""

import ctypes
from typing import Final

START: Final = 1_000_000_000
"""Milliseconds at which each input begins."""


class Clock:
    """Milliseconds that pass only when somebody says so."""

    def __init__(self) -> None:
        """Stop the clock.

        Raises:
            ValueError: This process was started without the library made of clock.c.
        """
        self._now = ctypes.c_int64.in_dll(ctypes.CDLL(None), "dorrit_fuzz_clock")
        self._now.value = START

    def now(self) -> int:
        """Return the milliseconds."""
        return self._now.value

    def advance(self, milliseconds: int) -> None:
        """Let time pass."""
        self._now.value += milliseconds

    def release(self) -> None:
        """Let it be the system's clock again."""
        self._now.value = -1
