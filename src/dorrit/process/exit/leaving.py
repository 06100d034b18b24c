"""Leaving the interpreter, though something of the server's own code would hold that up.

The interpreter waits for every thread that is not a daemon before it ends, also for those of
executors, and the module multiprocessing waits for its processes; neither has a bound for that.
Then it runs what `atexit` has, and closes what is left: coroutines and generators, which may
refuse, and objects, whose ``__del__`` may not return.
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
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from dorrit.process.exec.memfd import nameless_file
from dorrit.process.exit import _deadline
from dorrit.process.exit.status import end
from dorrit.process.fork import children

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

logger: logging.Logger = logging.getLogger("dorrit")

HURRIED: Final = 0.2
"""Seconds that threads have after a second signal: those that only wait for work end in them."""

TAKEN_DOWN: Final = 2.0
"""Seconds that the interpreter has at least for its own end, for which nothing of the server's code
is to blame: on a busy machine that takes a while."""


class _Event(enum.Enum):
    ENDED = enum.auto()
    TOLD_AGAIN = enum.auto()


GOES_ON: Final = b"the process ends though code of the server goes on:"

IS_REPLACED: Final = b"the server is reloaded though code of it goes on:"


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
        if abandon() or told_again:
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


def leave_then(last: Callable[[], None], seconds: float, report: tuple[int, str]) -> None:
    """Call a function when the interpreter has waited for threads and processes at its end.

    It is called behind what the server's code has registered by `atexit`, in the main thread, and
    must not raise.

    Args:
        last: What is called.
        seconds: If it is not called until then, the process ends, with status 1: something keeps
            the interpreter's lock.
        report: Where lines can be written with write(2), and what they begin with.
    """
    global _when_left  # noqa: PLW0603 - a process ends once
    _when_left = last
    _end_by(seconds, 1, report, numbers=(signal.SIGALRM,))


def abandon() -> bool:
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
    global _when_left  # noqa: PLW0603 - a process ends once
    if (when_left := _when_left) is not None:
        if (util := sys.modules.get("multiprocessing.util")) is not None:
            util._exit_function()  # noqa: SLF001 - does nothing when called again
        _when_left = None  # what belongs to it is to be freed
        when_left()


def end_by(seconds: float, report: tuple[int, str]) -> None:
    """Have the process end in so many seconds, wherever the interpreter is then.

    Args:
        seconds: What that has for its own end.
        report: Where lines can be written with write(2), and what they begin with.
    """
    _end_by(seconds, 0, report, numbers=(signal.SIGALRM,), line=IS_REPLACED)


def replace_by(seconds: float, report: tuple[int, str], replace: int) -> None:
    """Have the process's image be replaced in so many seconds, wherever the interpreter is then.

    Args:
        seconds: What that has for its own end.
        report: Where lines can be written with write(2), and what they begin with.
        replace: The address of what does it (`dorrit.process.crash._crash.REPLACE`).
    """
    numbers = (signal.SIGALRM,)
    _end_by(seconds, 1, report, numbers=numbers, line=IS_REPLACED, instead=replace)


def _end_by(
    seconds: float,
    status: int,
    report: tuple[int, str],
    *,
    numbers: Collection[int] = (signal.SIGALRM, signal.SIGTERM, signal.SIGINT),
    line: bytes = GOES_ON,
    instead: int = 0,
) -> None:
    """Have the process end in so many seconds, or at a signal, without the interpreter.

    When that is taken down it runs no other thread of Python, and calls no signal handler if the
    main one is in C. The main thread's stack is written by faulthandler, which calls what ends the
    process then.
    """
    global _has_deadline  # noqa: PLW0603 - a process ends once
    if _has_deadline and not instead:
        return
    _has_deadline = True
    descriptor, prefix = report
    try:
        stack = nameless_file("end")
        for number in numbers:
            if signal.getsignal(number) in {signal.SIG_IGN, children.ignore}:
                continue
            faulthandler.unregister(number)  # what is registered already is not installed again
            _deadline.catch(
                number,
                status=status,
                report=descriptor,
                traceback=stack,
                prefix=os.fsencode(prefix),
                line=line,
                instead=instead,
            )
            faulthandler.register(number, file=stack, all_threads=False, chain=True)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM, signal.SIGTERM} & {*numbers})
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
