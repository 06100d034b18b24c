"""Reloading: while a server serves, what comes of a SIGUSR2 until its process is to be replaced."""

import logging
from contextlib import suppress
from dataclasses import replace
from typing import Final

from dorrit.drive.carried import check_room
from dorrit.drive.driver import ServerLoop
from dorrit.drive.lasting import difference
from dorrit.drive.server_process import ServerProcess
from dorrit.engine import Timer
from dorrit.process.control.status import shortened
from dorrit.process.exec.handover import (
    CHECKING,
    DONE,
    REFUSED,
    RELOAD,
    Handover,
    Reload,
    Reloads,
    Restart,
)
from dorrit.process.running.check_child import CheckChild, Found

logger: logging.Logger = logging.getLogger("dorrit")

CHECK_TIMEOUT: Final = 60.0
"""Seconds for the child to look at the new code."""

INTERVAL: Final = 0.05
"""Seconds between two looks at the child."""

PREFIX: Final = "dorrit: "
"""What the line begins with in which a command says why it fails."""


class Reloading:
    """Looks at the new code when somebody wants it, and decides. To be used in the loop's thread.

    Attributes:
        decided: The reload that is to be; None: the server goes on.
        reloads: What has come of those so far.
        last: The last restart, which need not have been one.
    """

    def __init__(self, process: ServerProcess, loop: ServerLoop, handover: Handover) -> None:
        """Wait for the first SIGUSR2.

        Args:
            process: What is reloaded.
            loop: What it runs in.
            handover: What it has got of the image before, or will leave to the next.
        """
        self.decided: Reload | None = None
        self.reloads: Reloads = handover.reloads
        self.last: Restart = handover.last
        self._process = process
        self._loop = loop
        self._child: CheckChild | None = None
        self._timer: Timer | None = None
        self._again = False

    def ask(self) -> None:
        """Look at the new code soon; for signal handlers."""
        with suppress(RuntimeError):  # the engine is closed: the server has stopped
            self._loop.engine.call_soon_threadsafe(self._take)

    def _take(self) -> None:
        if self.decided is not None or not self._process.handlers.take_reloads():
            return  # one that comes now is the next image's
        if self._child is None:
            self._begin()
        else:
            self._again = True  # what it has looked at may be older

    def _begin(self) -> None:
        attempts = self.reloads.attempts + 1
        self.reloads = replace(self.reloads, attempts=attempts, state=CHECKING, reason="")
        file = self._process.application.file
        command = self._process.launch.command
        if obstacles := command.obstacles([file] if file else []):
            self._refuse(obstacles[0])
            return
        try:
            self._child = CheckChild(command, CHECK_TIMEOUT)
        except OSError as error:
            self._refuse(f"{command.program} can't be run: {error.strerror}")
            return
        self._timer = self._loop.engine.every(INTERVAL, self._look)

    def _look(self) -> None:
        if self._child is None or (found := self._child.poll()) is None:
            return
        self.close()
        if self._again:
            self._again = False
            self._begin()
        elif found.passed:
            is_supervised = self._process.worker is not None
            facts = self._process.facts
            self._decide(difference(facts, found.facts, is_supervised=is_supervised))
        else:
            self._refuse(_why(found), found.output)

    def _decide(self, why_not: str | None) -> None:
        if why_not is not None:
            self._refuse(why_not)
            return
        try:
            check_room(self._loop.engine)
        except (OSError, MemoryError) as error:
            why = error.strerror if isinstance(error, OSError) else "there is no memory"
            self._refuse(f"connections can't be carried over: {why}")
            return
        self.decided = Reload.begun(self._process.settings.resume_timeout)
        self._loop.interrupt()

    def over(self, restart: Restart) -> None:
        """Note that this image serves after a restart, which may be a reload."""
        self.last = restart
        if restart.kind == RELOAD:
            count = self.reloads.count + 1
            self.reloads = replace(self.reloads, state=DONE, reason="", count=count)

    def _refuse(self, why: str, output: str = "") -> None:
        self.reloads = replace(self.reloads, state=REFUSED, reason=shortened(why))
        said = f":\n{output}" if "\n" in output else f": {why}"
        logger.error("not reloaded, the server goes on with the code that it has%s", said)

    def close(self) -> None:
        """Look no longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._child is not None:
            self._child.close()
            self._child = None


def _why(found: Found) -> str:
    """Return in one line why the new code has not passed."""
    if found.is_late:
        return f"the look at the new code has not ended within {CHECK_TIMEOUT:g} seconds"
    lines = [line for line in found.output.splitlines() if line.strip()]
    for line in lines:
        if line.startswith(PREFIX):
            return line.removeprefix(PREFIX)
    return lines[-1] if lines else "the look at the new code has ended without a word"
