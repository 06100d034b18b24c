"""Steps: what of a server runs now, and how long that may take once the server is to end."""

import os
from collections.abc import Callable

from dorrit.drive.graces import HURRIED, SLACK
from dorrit.process.exit.overdue import Overdue


class Steps:
    """Ends the process if a step of the server's end takes too long, such as a handler.

    To be used in the main thread only; signal handlers may call `look`.
    """

    def __init__(self, seconds: float, stops: Callable[[], int]) -> None:
        """Begin with the start of the server.

        Args:
            seconds: What that may take.
            stops: Tells how often the server was told to stop. From the second time on each step
                has little time.
        """
        self._stops = stops
        self._clean: Callable[[], object] = lambda: None
        self._overdue = Overdue(self._end)
        self._pid = os.getpid()
        self._step = ("the start of the server", seconds)
        self._ends = False

    def clean_by(self, clean: Callable[[], object]) -> None:
        """Take what removes that which the process must not leave behind, from now on."""
        self._clean = clean

    def instead(self, function: Callable[[str, str], object]) -> None:
        """Call this before the process would be ended; see `Overdue.instead`."""
        self._overdue.instead(function)

    def own(self) -> None:
        """Belong to this process from now on: it is the daemon."""
        self._pid = os.getpid()

    def begin(self, step: str, seconds: float, *, ends: bool = False) -> None:
        """Note what is called now.

        Args:
            step: What it is, for the log.
            seconds: What it has when the server is to end.
            ends: The server is to end from now on, whatever signals have come.
        """
        self._step = (step, seconds)
        self._ends = self._ends or ends
        if self._ends or self._stops() > 0:
            self.look(begins=True)

    def look(self, *, begins: bool = False) -> None:
        """Look at the clock: the server is to end."""
        if os.getpid() == self._pid:  # one that the server's code has forked is none of ours
            step, seconds = self._step
            left = HURRIED if self._stops() > 1 else seconds + SLACK
            self._overdue.within(step, left, begins=begins)

    def _end(self) -> None:
        self._clean()

    def over(self) -> None:
        """Look at the clock no longer."""
        self._overdue.over()
