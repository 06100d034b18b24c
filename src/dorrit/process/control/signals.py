"""Signals (R27): SIGTERM stops the server, SIGHUP has its log opened anew, SIGUSR2 reloads it.

Handlers only say what is wanted; the loop does the work.
"""

import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Final, Self

from dorrit.process.control import _interrupt
from dorrit.process.fork import children

logger: logging.Logger = logging.getLogger("dorrit")

HANDLED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)


class SignalHandlers:
    """The server's handlers of `HANDLED`, in the main thread, until it is closed.

    A foreground server is stopped by SIGINT (Ctrl-C), too, and by the end of its terminal. A daemon
    has none, and ignores SIGINT. No child has these handlers (`dorrit.process.fork.children`).
    SIGUSR2 is left to a server that has a handler of its own for it.

    Attributes:
        received: The last signal that was to stop the server, or None.
        stops: How many of them there were. From the second one on nothing is waited for.
        reloads: How many have asked for a reload that nobody has taken yet.
    """

    def __init__(self, reopen: Callable[[], None], told: Callable[[], None] | None = None) -> None:
        """Make them; `install` puts them in place.

        Args:
            reopen: Opens the log anew (SIGHUP). Runs between any two steps of Python code.
            told: Hears of each signal that is to stop the server; likewise.
        """
        self.received: signal.Signals | None = None
        self.stops: int = 0
        self.reloads: int = 0
        self._reload: Callable[[], None] | None = None
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
        self._insist()
        of_reload = signal.getsignal(signal.SIGUSR2)
        if of_reload in {signal.SIG_DFL, signal.SIG_IGN, self._handle_reload}:
            self._set(signal.SIGUSR2, self._handle_reload)

    def _set(self, number: signal.Signals, handler: Any) -> None:  # noqa: ANN401 - signal's type
        children.set_handler(number, handler)
        # execve(2): "The signal mask is preserved": whoever started the server may have blocked it.
        if number in signal.pthread_sigmask(signal.SIG_UNBLOCK, {number}):
            self._blocked.add(number)

    def _insist(self) -> None:
        """Have SIGURG interrupt what the main thread waits in, until a stop has been handled.

        The main thread handles a signal between two steps of Python code. One that comes just
        before a call that waits, or that the kernel gives to another thread, does not interrupt
        that call, and a handler that sleeps for an hour would sleep over its grace period.
        """
        if signal.getsignal(signal.SIGURG) not in {signal.SIG_DFL, children.ignore}:
            return  # it is the server's own
        children.set_handler(signal.SIGURG, children.ignore)
        with suppress(OSError):  # this system has no such timers, or none is left
            for number in (signal.SIGTERM, signal.SIGINT):
                if signal.getsignal(number) == self._handle_stop:
                    _interrupt.insist_on(number, signal.SIGURG)

    def _handle_stop(self, number: int, _frame: FrameType | None) -> None:
        _interrupt.heard()
        self.received = signal.Signals(number)
        self.stops += 1
        if self._told is not None:
            self._told()
        if self._stop is not None:
            self._stop()

    def _handle_hangup(self, _number: int, _frame: FrameType | None) -> None:
        self._reopen()

    def _handle_reload(self, _number: int, _frame: FrameType | None) -> None:
        self.reloads += 1
        if self._reload is not None:
            self._reload()

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

    def reload_by(self, reload: Callable[[], None]) -> None:
        """Have SIGUSR2 call this from now on; at once if one has come before."""
        self._reload = reload
        if self.reloads:
            reload()

    def take_reloads(self) -> int:
        """Return how many have asked for a reload since this was called last."""
        taken, self.reloads = self.reloads, 0
        return taken

    def close(self) -> None:
        """Put back what was there before."""
        _interrupt.heard()
        children.reset_handlers()
        signal.pthread_sigmask(signal.SIG_BLOCK, self._blocked)
        self._blocked.clear()

    def __enter__(self) -> Self:
        """Return them."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Put back what was there before."""
        self.close()
