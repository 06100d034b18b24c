"""Overdue: how a server ends though one of its functions does not return.

A plain handler that waits for ever keeps the loop from hearing that it is to stop. A thread looks
at the clock meanwhile. It is made only when the end has begun, and gets its turn as long as what
runs is Python, or waits without the interpreter's lock.
"""

import _thread
import logging
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from dorrit.process.exit.status import end

logger: logging.Logger = logging.getLogger("dorrit")

LOG_GRACE: Final = 1.0
"""Seconds for the log to take what has happened."""

STATUS: Final = 1
"""The exit status: the server has not stopped in order."""


class Overdue:
    """Ends this process when the step of its end that is under way takes too long.

    To be used in the main thread only; signal handlers may call `within`.
    """

    def __init__(self, clean: Callable[[], None]) -> None:
        """Look at nothing yet.

        Args:
            clean: Removes what the process must not leave behind.
        """
        self._clean = clean
        self._instead: Callable[[str, str], object] | None = None
        # "a put() or get() call can be interrupted by another put() call in the same thread".
        self._changes: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._pid = -1
        self._running: _thread.LockType | None = None
        self._is_over = False
        self._step = ""
        self._due: float | None = None

    def instead(self, function: Callable[[str, str], object]) -> None:
        """From now on, call a function in another thread before the process would be ended.

        Args:
            function: Is told the step, and where the main thread is. If it returns, the process
                ends.
        """
        self._instead = function

    def within(self, step: str, seconds: float, *, begins: bool = False) -> None:
        """Have a step end in so many seconds, or earlier if that was said before.

        Args:
            step: What it is, for the log.
            seconds: What it has left.
            begins: It begins now, so that nothing was said before, even if the last one was called
                the same.
        """
        if self._is_over:
            return
        due = time.monotonic() + seconds
        if not begins and step == self._step and self._due is not None:
            due = min(due, self._due)
        self._step, self._due = step, due
        if self._pid != os.getpid():  # threads do not come along when a process is forked
            self._pid = os.getpid()
            running = _thread.allocate_lock()
            running.acquire()
            # Not by the module threading, whose locks the interrupted thread may have.
            _thread.start_new_thread(self._watch, (running,))
            self._running = running
        else:
            self._changes.put(None)

    def over(self) -> None:
        """Look at the clock no longer, nor ever again: nothing is left that could take too long.

        The thread has ended then. One that has not even begun when the interpreter begins to end
        would use what that has freed, and crash the process.
        """
        self._is_over = True
        self._due = None
        self._changes.put(None)
        if self._pid == os.getpid() and self._running is not None:
            self._running.acquire()

    def _watch(self, running: _thread.LockType) -> None:
        while (due := self._due) is not None:
            left = due - time.monotonic()
            if left <= 0:
                self._give_up()
            with suppress(queue.Empty):
                self._changes.get(timeout=left)
        running.release()

    def _give_up(self) -> None:
        step = self._step
        frame = sys._current_frames().get(threading.main_thread().ident or 0)  # noqa: SLF001 - it is documented
        stack = "".join(traceback.format_stack(frame)).rstrip()
        if self._instead is not None:
            with suppress(BaseException):
                self._instead(step, stack)
        # Handlers of logging may wait for what the main thread holds.
        _thread.start_new_thread(_end_soon, ())
        with suppress(BaseException):
            self._clean()
        logger.error("%s does not end, and the process does not wait for it:\n%s", step, stack)
        end(STATUS)


def _end_soon() -> None:
    time.sleep(LOG_GRACE)
    os._exit(STATUS)
