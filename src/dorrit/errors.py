"""The errors that dorrit raises itself, and what it says of those that the system reports."""

import errno
import os
from collections.abc import Mapping
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
