"""Replacement: the end of an image whose process goes on with the next one.

It is the end of a process, up to execve(2): handlers, ``ws_exit_func``, what the program does
behind that, threads, and what `atexit` has. Then connections are carried out, the interpreter ends,
and the very last is the next image. What hangs is waited for as long as when a server stops.
"""

import logging
import os
import signal
from collections.abc import Callable
from typing import Final, NoReturn, Protocol

from dorrit.drive.dismissing import START_FAILED
from dorrit.drive.graces import SLACK
from dorrit.drive.server_process import ServerProcess
from dorrit.process.crash import restart
from dorrit.process.exec.handover import Handover
from dorrit.process.exit import leaving
from dorrit.process.exit.status import end
from dorrit.process.fork import children

logger: logging.Logger = logging.getLogger("dorrit")

LOCKED: Final = 10.0
"""Seconds after which no thread of Python can be waited for that looks after the others."""

FAILED: Final = 1
"""The exit status of a process that can't be replaced."""


class Next(Protocol):
    """How somebody goes on with the server."""

    def prepare(self, handover: Handover, report: int, prefix: str) -> None:
        """Have all ready.

        Args:
            handover: What the next one gets.
            report: A descriptor; one line is written there if there can't be a next one.
            prefix: What that line begins with.

        Raises:
            OSError: The next one can't be told.
        """
        ...

    def at_exit(self, seconds: float, report: tuple[int, str]) -> None:
        """Have it go on when the interpreter has ended, or in so many seconds.

        Raises:
            OSError: That is not possible.
        """
        ...

    def now(self) -> None:
        """Have it go on here and now."""
        ...


class InPlace:
    """The next image of this process."""

    def __init__(self, process: ServerProcess) -> None:
        """Replace the image of this process."""
        self._process = process

    def prepare(self, handover: Handover, report: int, prefix: str) -> None:
        """Lay down what is to be run; see `Next`."""
        process = self._process
        restart.be_replaced(
            handover,
            process.launch.command,
            catches=not process.settings.no_restart,
            report=report,
            prefix=prefix,
        )
        # What has been taken here is the next image's to do.
        if process.handlers.stops:
            os.kill(os.getpid(), process.handlers.received or signal.SIGTERM)
        if process.handlers.reloads:
            os.kill(os.getpid(), signal.SIGUSR2)

    def at_exit(self, seconds: float, report: tuple[int, str]) -> None:
        """Run it last of all; see `Next`."""
        restart.replace_at_exit()
        self._process.resources.leave_open()
        children.forget_handlers()
        leaving.replace_by(seconds, report, restart.REPLACE)

    def now(self) -> None:
        """Run it; return if that is not possible."""
        restart.replace_now()


class Replacement:
    """Ends a server's process, or its image, for the one that goes on with its connections."""

    def __init__(
        self,
        process: ServerProcess,
        carry: Callable[[], Handover],
        let_down: Callable[[int, float], None],
    ) -> None:
        """Have it end like this.

        Args:
            process: What is replaced. What it holds is the next image's from now on.
            carry: Carries the connections out, and returns what the next image gets.
            let_down: `let_down(code, seconds)` ends the connections, if that is not possible.
        """
        self._process = process
        self._next: Next = process.worker or InPlace(process)
        self._carry = carry
        self._let_down = let_down
        self._held = process.held.pop_all()
        self._reported: tuple[int, str] | None = None
        process.steps.instead(self._overdue)
        process.replacement = self

    def begin(self) -> None:
        """Have the image be replaced when the interpreter ends; for the end of `serve`."""
        process = self._process
        grace = process.settings.stop_grace
        process.steps.begin("the end of the process", grace, ends=True)
        leaving.leave_then(self._last, grace + SLACK + LOCKED, self._report())

    def _last(self) -> None:
        """Carry out; what is left is the interpreter's own end."""
        self._process.steps.over()  # if the time is over just now, this does not return
        self._prepare()
        grace = max(self._process.settings.stop_grace, leaving.TAKEN_DOWN)
        try:
            self._next.at_exit(grace, self._report())
        except OSError as error:
            self._fail(str(error))

    def _report(self) -> tuple[int, str]:
        """Return where lines can be written, also when the log has ended, and their beginning."""
        if self._reported is None:
            descriptor, prefix = self._process.log.crash_report()
            self._reported = os.dup(descriptor), prefix
        return self._reported

    def _overdue(self, step: str, stack: str) -> None:
        """Replace it here and now, from another thread than the main one."""
        descriptor, prefix = self._report()
        lines = [f"{step} does not end, and the reload does not wait for it:", *stack.splitlines()]
        # Not by the module logging, whose locks the main thread may hold.
        os.write(descriptor, "".join(f"{prefix}{line}\n" for line in lines).encode())
        leaving.abandon()
        self._prepare()
        self._next.now()

    def _prepare(self) -> None:
        """Carry out the connections, and have all ready for the next image."""
        process = self._process
        try:
            if obstacles := process.launch.command.obstacles():
                self._fail(obstacles[0])
            handover = self._carry()
        except OSError as error:
            self._fail(f"connections can't be carried over: {error.strerror}")
        try:
            self._next.prepare(handover, *self._report())
        except OSError as error:
            self._fail(f"the next image can't be told of the last: {error.strerror}")

    def _fail(self, why: str) -> NoReturn:
        """End the process instead: nobody would go on."""
        logger.error("the server ends instead of being reloaded: %s", why)
        try:
            self._let_down(START_FAILED, self._process.settings.stop_timeout)
        except Exception:
            logger.exception("clients can't be told")
        self._held.close()
        end(FAILED)
