"""A process that is somebody else's child: to send it a signal, and to wait for its end."""

import errno
import os
import select
import signal
import time
from contextlib import suppress
from typing import Final, Self

from dorrit.process.running.proc import is_pending, start_time

INTERVAL: Final = 0.02
"""Seconds between two looks whether a process has ended, where the system does not tell."""


class OutOfReachError(PermissionError):
    """The process is in a PID namespace that can't be seen from here."""


class Process:
    """A process, and never another one that has its pid later.

    It is held by a descriptor (pidfd_open(2)); where the system has none, it is known again by its
    start time, and where it shows none, on FreeBSD, by its pid alone.

    Attributes:
        pid: Its number.
    """

    def __init__(self, pid: int, pidfd: int | None = None) -> None:
        """Take a process.

        Args:
            pid: Its number.
            pidfd: A descriptor of it, closed by `close`; None: one is opened if the system has it.

        Raises:
            ProcessLookupError: There is no such process.
        """
        self.pid = pid
        self._started = start_time(pid)
        self._pidfd = -1 if pidfd is None else pidfd
        if pidfd is None and hasattr(os, "pidfd_open"):
            try:
                self._pidfd = os.pidfd_open(pid)
            except ProcessLookupError:
                raise
            except OSError:
                pass  # a kernel or a sandbox without it
        if self._pidfd < 0:
            _exists(pid)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal.

        Raises:
            ProcessLookupError: It has ended.
            PermissionError: It is another user's.
            OutOfReachError: It is in a PID namespace that can't be seen from here.
        """
        if self._pidfd < 0:
            if not self._is_there():
                raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
            os.kill(self.pid, number)
            return
        try:
            signal.pidfd_send_signal(self._pidfd, number)
        except OSError as error:
            # pidfd_send_signal(2): EINVAL, "the calling process is not in the same or an ancestor
            # PID namespace".
            if error.errno == errno.EINVAL:
                raise OutOfReachError(errno.EPERM, os.strerror(errno.EPERM)) from None
            raise

    def wait(self, timeout: float) -> bool:
        """Wait for its end.

        Args:
            timeout: Seconds; 0 only looks.

        Returns:
            Whether it has ended.
        """
        if self._pidfd >= 0:
            poll = select.poll()
            poll.register(self._pidfd, select.POLLIN)
            return bool(poll.poll(max(0.0, timeout) * 1000))
        end = time.monotonic() + timeout
        while self._is_there():
            if time.monotonic() >= end:
                return False
            time.sleep(INTERVAL)
        return True

    def _is_there(self) -> bool:
        """Tell whether its pid still is its own."""
        try:
            _exists(self.pid)
        except ProcessLookupError:
            return False
        return start_time(self.pid) == self._started

    def has_taken(self, number: signal.Signals) -> bool:
        """Tell whether a signal is no longer pending; True where that can't be seen."""
        return not is_pending(self.pid, number)

    def close(self) -> None:
        """Let go of it."""
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Let go of it."""
        self.close()


def _exists(pid: int) -> None:
    with suppress(PermissionError):
        os.kill(pid, 0)
