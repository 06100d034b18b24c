"""A crash of a worker leaves a traceback, and ends it: its supervisor knows the rest."""

import faulthandler
import signal
from typing import Final

from dorrit.process.crash import _crash
from dorrit.process.exec.handover import FATAL
from dorrit.process.fork import children

SIGNALS: Final = tuple(sorted(FATAL))


class TracebackFile:
    """Has a crash of this process write the traceback of all threads into a file.

    What the server's own code does about one of the signals stays as it is.
    """

    def __init__(self, descriptor: int) -> None:
        """Begin; to be called in the main thread, whose stack may then overflow, too.

        Args:
            descriptor: Of the file, which stays open as long as this is used.
        """
        before = {number: _crash.disposition(number) for number in SIGNALS}
        faulthandler.enable(descriptor, all_threads=True)
        above = _crash.disposition(SIGNALS[0]).handler
        for number, disposition in before.items():
            if not disposition.is_default and disposition.handler not in {above, _crash.HANDLER}:
                _crash.set_disposition(number, disposition)
        # Linux ends a process at once whose fault comes with a signal that is blocked.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FATAL)
        _crash.use_stack()
        children.hold(self)

    def let_go(self) -> None:
        """Let a forked child crash on its own, and not write its traceback into our file."""
        faulthandler.disable()
