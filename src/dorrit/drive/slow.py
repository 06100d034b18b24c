"""Tells of a handler that holds everybody: its stack, while it does.

A thread sees to it, since the one that serves is the one that is held. It sleeps while nothing
happens. While something does, it has the engine call back again and again, and looks how long that
takes.
"""

import logging
import sys
import threading
import time
import traceback
from pathlib import Path
from types import FrameType
from typing import Final

from dorrit.engine import Engine

logger: logging.Logger = logging.getLogger("dorrit")

LOOKS: Final = 4
"""Looks in the time that a handler may take. A process that was stopped gets one, not all of them:
that is not the fault of a handler."""

PERIOD: Final = 10.0
"""Seconds in which there is one record."""

NAME: Final = "dorrit-watch"

OWN: Final = (
    str(Path(__file__).parents[1]) + "/",
    str(Path(threading.__file__).parent / "asyncio") + "/",
    str(Path(threading.__file__).parent / "selectors.py"),
)
"""Whose steps lead to a handler, but are none."""


class Watch:
    """Looks after an engine, in the thread of which it is made, until it is closed."""

    def __init__(self, engine: Engine, seconds: float) -> None:
        """Begin with the engine's next turn.

        Args:
            engine: The engine to look after.
            seconds: What a handler may take.
        """
        self._engine = engine
        self._seconds = seconds
        self._serving = threading.get_ident()
        self._closing = threading.Event()
        self._busy = threading.Semaphore(0)
        self._thread: threading.Thread | None = None
        self._is_answered = False
        self._silent_until = 0.0
        self._seen = -1
        engine.call_at_turn(self._start)

    def close(self) -> None:
        """End the thread."""
        self._closing.set()
        self._busy.release()
        if self._thread is not None:
            self._thread.join()

    def _start(self) -> None:
        if self._thread is None and not self._closing.is_set():
            # A daemon: it does not keep the process from ending.
            self._thread = threading.Thread(target=self._run, name=NAME, daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._closing.is_set():
            while self._look():
                pass
            self._engine.call_at_turn(self._busy.release)
            # Only if no turn has begun before it was to be told.
            if self._engine.turns == self._seen and not self._engine.in_turn:
                self._busy.acquire()

    def _look(self) -> bool:
        """Ask the engine once, and wait for its answer; return whether it has something to do."""
        turns = self._engine.turns
        self._is_answered = False
        try:
            self._engine.call_soon_threadsafe(self._answer)
        except RuntimeError:
            return False  # it is closed
        looks = 0
        is_told = False
        while True:
            if self._closing.wait(self._seconds / LOOKS):
                return False
            if self._is_answered:
                break
            looks += 1
            # One that begins while nothing is said is told when that time is over.
            if looks >= LOOKS and not is_told:
                is_told = self._report()
        # One of the turns was for the answer.
        self._seen = self._engine.turns
        return self._seen - turns > 1

    def _answer(self) -> None:
        self._is_answered = True

    def _report(self) -> bool:
        """Say where the handler is; return whether that was to be said now."""
        frame = sys._current_frames().get(self._serving)  # noqa: SLF001 - it is documented
        now = time.monotonic()
        if frame is None or now < self._silent_until:
            return False
        self._silent_until = now + PERIOD
        logger.warning(
            "nobody has been served for %g seconds, since a handler does not return "
            "(--slow-handler); it is here:\n%s", self._seconds, _stack(frame),
        )  # fmt: skip
        return True


def _stack(frame: FrameType) -> str:
    """Return where a thread is, without what is dorrit's and asyncio's own above it."""
    entries = traceback.extract_stack(frame)
    first = 0
    for index, entry in enumerate(entries):
        if entry.filename.startswith(OWN):
            first = index + 1
    return "".join(traceback.format_list(entries[first:] or entries)).rstrip("\n")
