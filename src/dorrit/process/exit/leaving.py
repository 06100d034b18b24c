"""Leaving: how a process ends though something of the server's own code would hold it up.

The interpreter waits for every thread that is not a daemon before it ends, also for those of
executors, and the module multiprocessing waits for its processes; neither has a bound for that.
Then it runs what `atexit` has, and closes what is left: coroutines and generators, which may
refuse, and objects, whose ``__del__`` may not return. A
process that a callback has forked would come back into its parent's loop.
"""

import atexit
import enum
import faulthandler
import logging
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Final, NoReturn

from dorrit.errors import StartError
from dorrit.logger import log_raised
from dorrit.process.exec.handover import nameless_file
from dorrit.process.exit import _deadline
from dorrit.process.fork import children
from dorrit.raised import name_of

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

logger: logging.Logger = logging.getLogger("dorrit")

HURRIED: Final = 0.2
"""Seconds that threads have after a second signal: those that only wait for work end in them."""

TAKEN_DOWN: Final = 2.0
"""Seconds that the interpreter has at least for its own end, for which nothing of the server's code
is to blame: on a busy machine that takes a while."""


INTERRUPTED: Final = 128 + signal.SIGINT
"""The exit status of a process that Ctrl-C has ended, as a shell has it."""


# Threads and processes


class _Event(enum.Enum):
    ENDED = enum.auto()
    TOLD_AGAIN = enum.auto()


GOES_ON: Final = b"the process ends though code of the server goes on:"


def leave_in_time(
    seconds: Callable[[], float], status: int, report: tuple[int, str] = (2, "dorrit: ")
) -> bool:
    """Have the process end in so many seconds, even if something of the server's code goes on.

    Nor are processes waited for that it has made by the module multiprocessing; they are
    terminated. To be called last, in the main thread; the caller then leaves the interpreter in the
    ordinary way. While threads or processes go on, and from the moment on at which the interpreter
    begins to end, a signal that stops a server has the process end at once.

    Args:
        seconds: Says what is left, when signals have their new handlers.
        status: The exit status.
        report: Where lines can be written with write(2), and what they begin with.

    Returns:
        Whether there are threads or processes that go on, and signals have new handlers already.
    """
    global _when_left  # noqa: PLW0603 - a process ends once

    def end_by() -> None:
        _end_by(max(seconds(), TAKEN_DOWN), status, report)

    if not _processes():
        # The interpreter calls this before all others: what comes last is called first.
        atexit.register(end_by)
    if not _threads() and not _processes():
        return False
    # "a put() or get() call can be interrupted by another put() call in the same thread without
    # deadlocking": signal handlers call it.
    events: queue.SimpleQueue[_Event] = queue.SimpleQueue()

    def watch() -> None:
        told_again = False
        with suppress(queue.Empty):
            if events.get(timeout=left) is _Event.ENDED:
                return
            told_again = True
        if _abandon() or told_again:
            end(status)

    watcher = threading.Thread(target=watch, name="dorrit-leaving", daemon=True)

    def ended() -> None:
        events.put(_Event.ENDED)
        watcher.join()
        end_by()

    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) not in {signal.SIG_IGN, children.ignore}:
            children.set_handler(number, lambda *_: events.put(_Event.TOLD_AGAIN))
    left = max(seconds(), HURRIED)
    watcher.start()
    _when_left = ended
    return True


def _abandon() -> bool:
    """Name what has not ended, and terminate processes; return whether there was something."""
    if threads := _threads():
        names = ", ".join(sorted(thread.name for thread in threads))
        logger.error("the process does not wait for threads that have not ended: %s", names)
    if processes := _processes():
        names = ", ".join(sorted(process.name for process in processes))
        logger.error("processes that have not ended are terminated: %s", names)
        for process in processes:
            process.terminate()
    return bool(threads or processes)


_when_left: Callable[[], None] | None = None

_has_deadline = False


@atexit.register
def _leave() -> None:
    """Note that nothing is left to wait for.

    The interpreter calls this when it has waited for the threads, and last of all that was
    registered: it was so first. If multiprocessing was even before, it has its turn here.
    """
    if _when_left is not None:
        if (util := sys.modules.get("multiprocessing.util")) is not None:
            util._exit_function()  # noqa: SLF001 - does nothing when called again
        _when_left()


def _end_by(seconds: float, status: int, report: tuple[int, str]) -> None:
    """Have the process end in so many seconds, or at a signal, without the interpreter.

    When that is taken down it runs no other thread of Python, and calls no signal handler if the
    main one is in C. The main thread's stack is written by faulthandler, which calls what ends the
    process then.
    """
    global _has_deadline  # noqa: PLW0603 - a process ends once
    if _has_deadline:
        return
    _has_deadline = True
    descriptor, prefix = report
    try:
        stack = nameless_file("end")
        for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
            if signal.getsignal(number) in {signal.SIG_IGN, children.ignore}:
                continue
            _deadline.catch(
                number,
                status=status,
                report=descriptor,
                traceback=stack,
                prefix=os.fsencode(prefix),
                line=GOES_ON,
            )
            faulthandler.register(number, file=stack, all_threads=False, chain=True)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM, signal.SIGTERM})
        _deadline.set_deadline(seconds, signal.SIGALRM)
    except OSError as error:
        logger.warning("the end of the process has no deadline: %s", error)


def _threads() -> list[threading.Thread]:
    """Return those that the interpreter waits for."""
    return [
        thread
        for thread in threading.enumerate()
        if not thread.daemon and thread is not threading.main_thread()
    ]


def _processes() -> list["BaseProcess"]:
    """Return those that multiprocessing waits for."""
    module = sys.modules.get("multiprocessing")
    return [] if module is None else module.active_children()


# Forked processes


class ended_in_children:  # noqa: N801 - it is used as a function
    """End a process that was forked off this one in the block, and would leave it.

    What the block has made is its parent's: the process ends without undoing any of it.
    """

    # A generator would not do: contextlib sets attributes of the exception, which may refuse that.

    def __enter__(self) -> None:
        """Note which process this is."""
        self._pid = os.getpid()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process if it is another one."""
        if os.getpid() == self._pid:
            return
        if error is not None:
            end_child(error)
        logger.error("a process that the server's code has forked ends: it must not go on as one")
        end(1)


def end_child(error: BaseException) -> NoReturn:
    """End a process that was forked off this one, with what it would be left with."""
    if not issubclass(type(error), SystemExit):  # whatever it says that it is
        text = f"a process that the server's code has forked ends: it raised {name_of(error)}"
        log_raised(logging.ERROR, text, error)
    elif (
        isinstance(error, SystemExit) and error.code is not None and not isinstance(error.code, int)
    ):
        sys.stderr.write(f"{error.code}\n")
    end(status_of(error))


def status_of(error: BaseException) -> int:
    """Return the exit status of a process that this ends."""
    if issubclass(type(error), KeyboardInterrupt):
        return INTERRUPTED
    if not issubclass(type(error), StartError | SystemExit):  # whatever it says that it is
        return 1
    if isinstance(error, StartError):
        return error.status
    assert isinstance(error, SystemExit)
    # As sys.exit has it: "Most systems require it to be in the range 0-127", and what is not a
    # number is printed instead.
    if error.code is None or isinstance(error.code, int):
        return (error.code or 0) & 0xFF
    return 1


def end(status: int) -> NoReturn:
    """End the process here and now; only what was printed is written out."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed, or there is none
            stream.flush()
    os._exit(status)
