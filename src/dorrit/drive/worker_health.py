"""Whether the worker's loop turns: for callers of `dorrit status`, and for the service manager."""

from collections.abc import Callable
from typing import Final

from dorrit.engine import Engine, Timer
from dorrit.process.control.notify import Notifier
from dorrit.process.control.status import Status
from dorrit.process.control.status_socket import StatusSocket

ANSWER: Final = 1.0
"""Seconds for a worker to say how it is; then callers are told without."""

LOOKS: Final = 4
"""How often the worker is asked in the time after which the service manager ends the server."""

UNANSWERED_MAX: Final = LOOKS - 1
"""How many of these questions in a row may be without an answer."""


class WorkerHealth:
    """Asks the worker that serves how it is, for whoever wants to know."""

    def __init__(
        self,
        engine: Engine,
        notifier: Notifier,
        socket: StatusSocket,
        ask: Callable[[], bool],
        end: Callable[[float, bool], None],
    ) -> None:
        """Ask nothing yet.

        Args:
            engine: The supervisor's.
            notifier: What the service manager hears.
            socket: Where callers of `dorrit status` come.
            ask: `ask()` asks the worker, and returns whether there is one that answers.
            end: `end(seconds, again)` ends one that has not answered for so long; `again` if that
                has been done before, and it has not ended.
        """
        self._engine = engine
        self._notifier = notifier
        self._socket = socket
        self._ask = ask
        self._end = end
        self._asked: Timer | None = None  # somebody waits for what the worker says
        self._has_answered = True
        self._missed = 0

    def listen(self, describe: Callable[[], Status]) -> None:
        """Answer callers, and tell the service manager, from now on.

        Args:
            describe: Returns what callers are told.
        """
        self._socket.listen(describe)
        self._engine.watch(self._socket.descriptor, self._be_asked)
        watchdog = self._notifier.watchdog
        if watchdog is not None:
            self._notifier.alive()
            self._engine.every(watchdog / LOOKS, lambda: self._look(watchdog))

    def begin(self) -> None:
        """Another worker serves, which has not been asked yet."""
        self._missed = 0
        self._has_answered = True

    def answered(self) -> None:
        """The worker has said how it is."""
        self._has_answered = True
        self._answer()

    def lost(self) -> None:
        """The worker will not answer any more what it has been asked."""
        self._answer()

    def _look(self, watchdog: float) -> None:
        """Tell the service manager that the server is alive: as long as it can help itself, it is.

        A worker that hangs is ended before the service manager ends the server, which would cost
        all connections.
        """
        asks = self._ask()
        self._missed = 0 if self._has_answered or not asks else self._missed + 1
        self._has_answered = not asks
        if self._missed >= UNANSWERED_MAX:
            self._end(watchdog * UNANSWERED_MAX / LOOKS, self._missed > UNANSWERED_MAX)
        if self._missed in {0, UNANSWERED_MAX}:
            self._notifier.alive()

    def _be_asked(self) -> None:
        """Somebody wants to know how the server is: the worker is asked first."""
        self._engine.unwatch(self._socket.descriptor)
        self._asked = self._engine.every(ANSWER, self._answer)
        if not self._ask():
            self._answer()

    def _answer(self) -> None:
        if self._asked is None:
            return
        self._asked.cancel()
        self._asked = None
        self._socket.answer()
        self._engine.watch(self._socket.descriptor, self._be_asked)
