"""Run a server as a child process, and start it again when its source changes."""

import contextlib
import enum
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

from dorrit.dev import guard
from dorrit.process.start.launch import REPEATED

GRACE = 5.0
"""Seconds that the server has to stop after SIGTERM before SIGKILL."""

SOCKET_INTERVAL = 0.02
"""Seconds between two looks for the socket of a server that is starting."""


class _Event(enum.Enum):
    STOP = enum.auto()
    CHANGED = enum.auto()
    LISTENING = enum.auto()
    ENDED = enum.auto()


def describe_status(status: int) -> str:
    """Say in words how a process ended.

    Args:
        status: An exit status, or 128 + N for signal N, as in a shell.
    """
    if status > guard.SIGNAL_STATUS:
        with contextlib.suppress(ValueError):
            return f"ended by {signal.Signals(status - guard.SIGNAL_STATUS).name}"
    return f"ended with exit status {status}"


class _Child:
    """One run of the server, below its guard."""

    def __init__(
        self, command: Sequence[str], grace: float, environment: Mapping[str, str] = os.environ
    ) -> None:
        read_end, self._lifeline = os.pipe()
        self._grace = grace
        try:
            # A process group of its own: Ctrl-C at the terminal reaches `dorrit dev` alone, which
            # then stops the server in order.
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", guard.__file__, str(read_end), str(grace), *command],
                env=environment,
                stdin=subprocess.DEVNULL,
                pass_fds=[read_end],
                process_group=0,
            )
        except BaseException:
            os.close(self._lifeline)
            raise
        finally:
            os.close(read_end)

    def stop(self) -> int:
        """Ask the guard to stop the server, wait until it has, and return the exit status."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
        return self.process.wait()


class Supervisor:
    """Runs the command of a server, and runs it again after a change.

    All decisions are taken in ``run``, in the caller's thread; other threads and signal handlers
    only put events into a queue. ``SimpleQueue`` is made for that: "a put() or get() call can be
    interrupted by another put() call in the same thread without deadlocking".
    """

    def __init__(
        self,
        command: Sequence[str],
        socket_path: Path,
        *,
        say: Callable[[str], None],
        grace: float = GRACE,
    ) -> None:
        """Remember what to run.

        Args:
            command: The command that serves on the socket, in the foreground.
            socket_path: The socket that it makes when it is ready.
            say: Takes a line for the user.
            grace: Seconds between SIGTERM and SIGKILL.
        """
        self._command = command
        self._socket_path = socket_path
        self._say = say
        self._grace = grace
        self._events: queue.SimpleQueue[tuple[_Event, _Child | None, str]] = queue.SimpleQueue()
        self._child: _Child | None = None
        self._is_running = False
        self._has_listened = False

    def is_running(self) -> bool:
        """Tell whether the server runs or is being started; False while it waits for a change."""
        return self._is_running

    def changed(self, name: str) -> None:
        """Restart the server because the file ``name`` has changed. Any thread may call this."""
        self._events.put((_Event.CHANGED, None, name))

    def stop(self) -> None:
        """Let ``run`` stop the server and return. Any thread or signal handler may call this."""
        self._events.put((_Event.STOP, None, ""))

    def run(self, *, when_listening: str, is_watching: Callable[[], bool]) -> int:
        """Run the server until SIGINT, SIGTERM or SIGHUP; main thread only.

        Args:
            when_listening: The line for the user when the server listens for the first time.
            is_watching: Tells whether a change would be reported: without that there is nothing to
                wait for when the server has ended.

        Returns:
            0 after a signal. If the server ended before it had listened once, its exit status (128
            + N for a signal), and 1 if that was 0. The same for a later end if nothing is watched.
        """
        with self._signals_stop():
            try:
                return self._supervise(when_listening, is_watching)
            finally:
                self._is_running = False
                self._stop_child()

    def _supervise(self, when_listening: str, is_watching: Callable[[], bool]) -> int:
        is_first_start = True
        self._start_child()
        while True:
            event, child, name = self._events.get()
            if event is _Event.STOP:
                return 0
            if event is _Event.CHANGED:
                self._say(f"{name} changed, restarting")
                is_first_start = False
                self._stop_child()
                if self._is_stop_among_pending():
                    return 0
                self._start_child()
            elif child is not self._child or child is None:
                continue  # the news of a run that is over
            elif event is _Event.LISTENING:
                self._say("the server listens again" if self._has_listened else when_listening)
                is_first_start = False
                self._has_listened = True
            else:
                status = child.process.wait()
                self._is_running = False
                self._stop_child()
                if is_first_start or not is_watching():
                    self._say(f"the server {describe_status(status)}")
                    return status or 1
                self._say(f"the server {describe_status(status)}; waiting for a change")

    def _start_child(self) -> None:
        # Between two runs it holds as well.
        self._is_running = True
        environment = os.environ | ({REPEATED: "1"} if self._has_listened else {})
        self._child = _Child(self._command, self._grace, environment)
        threading.Thread(target=self._follow, args=(self._child,), daemon=True).start()

    def _stop_child(self) -> None:
        if self._child is not None:
            # Clients that come from now on wait for the next run, and not in the queue of this one.
            self._socket_path.unlink(missing_ok=True)
            self._child.stop()
            # A server that was killed in its start may have made it after that.
            self._socket_path.unlink(missing_ok=True)
            self._child = None

    def _is_stop_among_pending(self) -> bool:
        """Empty the queue between two runs; tell whether one of the events was a stop.

        Nothing else matters here: changes made so far are in the run that begins now, and the rest
        is news of the run that is over.
        """
        is_stop = False
        with contextlib.suppress(queue.Empty):
            while True:
                is_stop |= self._events.get_nowait()[0] is _Event.STOP
        return is_stop

    def _follow(self, child: _Child) -> None:
        """Report when the child listens, and when it has ended."""
        while child.process.poll() is None:
            if self._is_listening():
                self._events.put((_Event.LISTENING, child, ""))
                break
            time.sleep(SOCKET_INTERVAL)
        child.process.wait()
        self._events.put((_Event.ENDED, child, ""))

    def _is_listening(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(self._socket_path)) == 0

    @contextlib.contextmanager
    def _signals_stop(self) -> Iterator[None]:
        def stop(_number: int, _frame: FrameType | None) -> None:
            self.stop()

        previous = {
            number: signal.signal(number, stop)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
            if signal.getsignal(number) is not signal.SIG_IGN  # nohup
        }
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
