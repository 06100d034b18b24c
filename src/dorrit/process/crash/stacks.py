"""Alternate signal stacks for threads (R28).

sigaltstack(2) is for one thread: without such a stack of its own, an overflow of a thread's stack
ends the process at once, and no handler sees it. So each thread that Python starts gets one when it
begins and loses it when it ends. A server that starts no threads pays nothing. Threads that C code
starts without Python can't be reached.
"""

import _thread
import functools
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from dorrit.process.crash import _crash
from dorrit.process.exec.handover import FATAL

BOOTSTRAP: Final = "_bootstrap"
"""The method of threading.Thread that each of its threads begins and ends in, in all versions."""

START: Final = "start_new_thread"
"""What starts a thread without the module threading."""


@contextmanager
def covered_threads() -> Iterator[None]:
    """Give each thread that is started in the block a stack to handle an overflow of its own on."""
    bootstrap = getattr(threading.Thread, BOOTSTRAP)
    start = getattr(_thread, START)

    @functools.wraps(start)
    def start_covered(function: Callable[..., object], *arguments: object) -> int:
        # What is not a function is the original's to refuse.
        begun = _covered(function) if callable(function) else function
        return int(start(begun, *arguments))

    # Threads inherit what is blocked, see below.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FATAL)
    setattr(threading.Thread, BOOTSTRAP, _covered(bootstrap))
    setattr(_thread, START, start_covered)
    try:
        yield
    finally:
        setattr(threading.Thread, BOOTSTRAP, bootstrap)
        setattr(_thread, START, start)


def _covered(function: Callable[..., object]) -> Callable[..., object]:
    @functools.wraps(function)
    def run(*arguments: object, **named: object) -> object:
        # Linux ends a process at once whose fault comes with a signal that is blocked; who starts
        # a thread often has blocked all, so that others take them.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FATAL)
        given = _crash.give_stack()
        try:
            return function(*arguments, **named)
        finally:
            _crash.take_stack(given)

    return run
