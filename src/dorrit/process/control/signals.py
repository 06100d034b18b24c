"""Signals (R27): SIGTERM stops the server, SIGHUP has its log opened anew.

Handlers only say what is wanted; the loop does the work.
"""

import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, Self

from dorrit.process.fork import children

logger: logging.Logger = logging.getLogger("dorrit")

HANDLED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class SignalHandlers:
    """The server's handlers of SIGTERM, SIGINT and SIGHUP, in the main thread, until it is closed.

    A foreground server is stopped by SIGINT (Ctrl-C), too, and by the end of its terminal. A daemon
    has none, and ignores SIGINT. No child has these handlers (`dorrit.process.fork.children`).

    Attributes:
        received: The last signal that was to stop the server, or None.
        stops: How many of them there were. From the second one on nothing is waited for.
    """

    def __init__(self, reopen: Callable[[], None], told: Callable[[], None] | None = None) -> None:
        """Make them; `install` puts them in place.

        Args:
            reopen: Opens the log anew (SIGHUP). Runs between any two steps of Python code.
            told: Hears of each signal that is to stop the server; likewise.
        """
        self.received: signal.Signals | None = None
        self.stops: int = 0
        self._reopen = reopen
        self._told = told
        self._stop: Callable[[], None] | None = None
        self._blocked: set[signal.Signals] = set()

    def install(self, *, daemon: bool) -> None:
        """Put the handlers in place, also of what the server's own code has installed meanwhile.

        libdorrit(3): "Dorrit needs to catch SIGTERM, so do not change the disposition of that".

        Args:
            daemon: The process is a daemon.
        """
        self._set(signal.SIGTERM, self._handle_stop)
        self._set(signal.SIGINT, children.ignore if daemon else self._handle_stop)
        if daemon:
            self._set(signal.SIGHUP, self._handle_hangup)
        elif signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            # Ignored: nohup(1), which means that it shall outlive its terminal.
            has_terminal = sys.stderr is not None and sys.stderr.isatty()
            self._set(signal.SIGHUP, self._handle_stop if has_terminal else self._handle_hangup)

    def _set(self, number: signal.Signals, handler: Any) -> None:  # noqa: ANN401 - signal's type
        children.set_handler(number, handler)
        # execve(2): "The signal mask is preserved": whoever started the server may have blocked it.
        if number in signal.pthread_sigmask(signal.SIG_UNBLOCK, {number}):
            self._blocked.add(number)

    def _handle_stop(self, number: int, _frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        self.stops += 1
        if self._told is not None:
            self._told()
        if self._stop is not None:
            self._stop()

    def _handle_hangup(self, _number: int, _frame: FrameType | None) -> None:
        self._reopen()

    @contextmanager
    def connected(self, stop: Callable[[], None], wakeup_descriptor: int) -> Iterator[None]:
        """Have a signal that stops the server call `stop`; at once if one has come before.

        Args:
            stop: Makes the loop end soon. A second signal calls it again.
            wakeup_descriptor: Gets a byte for each signal, so that one that comes just before the
                loop falls asleep is not slept over. Does not block; stays open until the context
                has ended.
        """
        descriptor_before = signal.set_wakeup_fd(wakeup_descriptor, warn_on_full_buffer=False)
        self._stop = stop
        try:
            if self.received is not None:
                stop()
            yield
        finally:
            self._stop = None
            signal.set_wakeup_fd(descriptor_before)

    def close(self) -> None:
        """Put back what was there before."""
        children.reset_handlers()
        signal.pthread_sigmask(signal.SIG_BLOCK, self._blocked)
        self._blocked.clear()

    def __enter__(self) -> Self:
        """Return them."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Put back what was there before."""
        self.close()
