"""The start of new code, which has a time up to the moment at which it takes the connections."""

import logging
import sys
import threading
import traceback
from typing import Final

from dorrit.drive.dismissing import START_FAILED, STOPPED, dismiss_carried
from dorrit.drive.server_process import ServerProcess
from dorrit.process.exec.handover import Handover, Reload
from dorrit.process.exit.status import end

logger: logging.Logger = logging.getLogger("dorrit")

LEAST: Final = 5.0
"""Seconds that a start has at least, whatever was left of the reload's time."""

HASTE: Final = 0.5
"""Seconds for clients when the process is about to end."""

STATUS: Final = 1
"""The exit status of a server whose new code does not come to serve."""


class StartTimeout:
    """Has the connections be told if the start does not come to its end."""

    def __init__(self, process: ServerProcess, handover: Handover, reload: Reload) -> None:
        """Begin; `over` ends it.

        Args:
            process: What starts; it holds its resources.
            handover: What tells of the connections.
            reload: What the start is for.
        """
        self._process = process
        self._handover = handover
        self._main = threading.get_ident()
        self._turn = threading.Lock()
        self._is_over = threading.Event()
        process.steps.clean_by(self._clean)
        seconds = max(reload.left(), LEAST)
        threading.Thread(
            target=self._watch, args=(seconds,), name="dorrit-start", daemon=True
        ).start()

    def over(self) -> None:
        """Leave the connections to who has called this; it does not return if it is too late."""
        self._turn.acquire()
        self._is_over.set()
        self._turn.release()
        self._process.steps.clean_by(self._process.resources.close)

    def _watch(self, seconds: float) -> None:
        if self._is_over.wait(seconds):
            return
        self._turn.acquire()
        if self._is_over.is_set():
            return
        frame = sys._current_frames().get(self._main)  # noqa: SLF001 - it is documented
        stack = "".join(traceback.format_stack(frame)).rstrip()
        logger.error("the new code does not come to serve; the server ends:\n%s", stack)
        dismiss_carried(self._handover, START_FAILED, self._process.settings.stop_timeout)
        self._process.resources.close()
        end(STATUS)

    def _clean(self) -> None:
        """For a start that does not end though it was told to stop."""
        self._turn.acquire()
        if not self._is_over.is_set():
            dismiss_carried(self._handover, STOPPED, HASTE)
        self._process.resources.close()
