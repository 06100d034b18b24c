"""The end of a process that the server's code has forked, and that comes back into the server.

It would go on in its parent's loop, with its parent's clients.
"""

import logging
import os
import sys
from types import TracebackType
from typing import NoReturn

from dorrit.logger import log_raised
from dorrit.process.exit.status import end, status_of
from dorrit.raised import name_of

logger: logging.Logger = logging.getLogger("dorrit")


class ended_in_children:  # noqa: N801 - it is used as a function
    """End a process that was forked off this one in the block, and would leave it.

    What the block has made is its parent's: the process ends without undoing any of it.
    """

    # A generator would not do: contextlib sets attributes of the exception, which may refuse that.

    def __enter__(self) -> None:
        """Note which process this is."""
        self._pid = os.getpid()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process if it is another one."""
        if os.getpid() == self._pid:
            return
        if error is not None:
            end_child(error)
        logger.error("a process that the server's code has forked ends: it must not go on as one")
        end(1)


def end_child(error: BaseException) -> NoReturn:
    """End a process that was forked off this one, with what it would be left with."""
    if not issubclass(type(error), SystemExit):  # whatever it says that it is
        text = f"a process that the server's code has forked ends: it raised {name_of(error)}"
        log_raised(logging.ERROR, text, error)
    elif (
        isinstance(error, SystemExit) and error.code is not None and not isinstance(error.code, int)
    ):
        sys.stderr.write(f"{error.code}\n")
    end(status_of(error))
