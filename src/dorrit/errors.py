"""The errors that dorrit raises itself, and what it says of those that the system reports."""

import errno
import os
from collections.abc import Iterable, Mapping
from typing import Final

ADVICE: Final[Mapping[int, str]] = {
    errno.EMFILE: "; raise the limit of the process (ulimit -n)",
    errno.ENFILE: "; the whole system has too many",
}
"""What to do, or who is at fault, where the system's own words leave that open."""


class DorritError(Exception):
    """The base of the errors that are dorrit's own."""


class StartError(DorritError):
    """The server can't start. The message is one line that says what, why and what to do.

    Attributes:
        status: The exit status of the command: 1, or 2 if the command line is at fault.
    """

    def __init__(self, message: str, *, status: int = 1) -> None:
        """Make the error.

        Args:
            message: One line for stderr.
            status: The exit status.
        """
        super().__init__(message)
        self.status = status


def reason_of(error: OSError) -> str:
    """Say in one line what the system has refused."""
    file = error.filename
    place = f"{os.fsdecode(file)}: " if isinstance(file, str | bytes) else ""
    return f"{place}{error.strerror or error}{ADVICE.get(error.errno or 0, '')}"


def closest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return which of the known names was probably meant; None: that can't be told.

    Args:
        name: What is not known.
        known: What is.
        cutoff: How much it must be alike, up to 1.
    """
    import difflib  # who makes no mistake does not wait for it

    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=cutoff)), None)
