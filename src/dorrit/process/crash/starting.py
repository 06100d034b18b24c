"""A crash before the server is ready (R28): it is not restarted, and nothing is left of it.

Whoever starts it sees the traceback, since the standard streams are the command's until then, and
the process ends by the signal. What it has made is removed in the signal's handler, or by the
janitor where that needs privileges which are gone.
"""

import faulthandler
import os
import signal
import weakref
from collections.abc import Sequence
from typing import IO, Final

from dorrit.process.crash import _crash
from dorrit.process.exec.handover import FATAL

NOBODY: Final = -1
"""There is no janitor to be told."""

STDERR: Final = 2


class Guard:
    """What a start is watched with, from before the server's own code is loaded."""

    def __init__(self) -> None:
        """Begin: from now on a crash leaves a traceback on standard error."""
        self._file: weakref.ref[IO[str]] | None = None
        self._above = _crash.HANDLER  # or faulthandler's
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FATAL)
        was_enabled = faulthandler.is_enabled()  # by PYTHONFAULTHANDLER
        faulthandler.disable()
        for number in FATAL:
            if _crash.disposition(number).is_default:
                _crash.catch(number)
        file = os.fdopen(os.dup(STDERR), "w")
        faulthandler.enable(file)
        self._above = _crash.disposition(signal.SIGSEGV).handler
        if was_enabled:
            faulthandler.enable(STDERR)
        else:
            # Only faulthandler holds it, and lets go of it if the server's code enables its own.
            self._file = weakref.ref(file)
        _crash.use_stack()

    def watch(self, paths: Sequence[str], janitor: int = NOBODY) -> None:
        """Have a crash of this process remove what stands at these paths now.

        Args:
            paths: Absolute, in the order in which they go.
            janitor: The descriptor of who is told that the server's end is in order.
        """
        _crash.guard(map(os.fsencode, paths), janitor)

    def forget(self) -> None:
        """A crash leaves the files where they are."""
        _crash.unguard()

    def release_signals(self) -> None:
        """Leave the fatal signals to what is prepared next, or to their default action.

        What the server's own code has done with them stays.
        """
        before = {number: _crash.disposition(number) for number in FATAL}
        if self._file is not None and self._file() is not None:
            faulthandler.disable()  # which puts back what was there before, ours
        self._file = None
        for number, disposition in before.items():
            if disposition.handler not in {self._above, _crash.HANDLER}:
                _crash.set_disposition(number, disposition)
            elif _crash.disposition(number).handler == _crash.HANDLER:
                _crash.set_default(number)

    def close(self) -> None:
        """End it."""
        self.forget()
        self.release_signals()


os.register_at_fork(after_in_child=_crash.unguard)
