"""The exit status of the process, and its end with that: _exit(2)."""

import os
import signal
import sys
from contextlib import suppress
from typing import Final, NoReturn

from dorrit.errors import StartError

INTERRUPTED: Final = 128 + signal.SIGINT
"""The exit status of a process that Ctrl-C has ended, as a shell has it."""


def status_of(error: BaseException) -> int:
    """Return the exit status of a process that this ends."""
    if issubclass(type(error), KeyboardInterrupt):
        return INTERRUPTED
    if not issubclass(type(error), StartError | SystemExit):  # whatever it says that it is
        return 1
    if isinstance(error, StartError):
        return error.status
    assert isinstance(error, SystemExit)
    # As sys.exit has it: "Most systems require it to be in the range 0-127", and what is not a
    # number is printed instead.
    if error.code is None or isinstance(error.code, int):
        return (error.code or 0) & 0xFF
    return 1


def end(status: int) -> NoReturn:
    """End the process here and now; only what was printed is written out."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed, or there is none
            stream.flush()
    os._exit(status)
