"""Children: what a process that the server's code forks must not have of the server.

A forked process is a copy. It would handle the signals that are meant for the server, and never
end by SIGTERM; it would keep clients waiting at a socket that nobody serves, hold a lock that keeps
the next server from starting, and have the status socket answer for a server that is gone. So what
the server has set and opened is undone in each process that is forked off it, before any code of
its own runs there. What it executes has nothing of it either: descriptors close on exec, and no
signal is ignored for which the server has a handler (execve(2): "signals set to be ignored in the
calling process are left ignored").

The engine does the same for what it holds.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, Protocol
from weakref import WeakSet

from dorrit.process.fork import _children


class Held(Protocol):
    """What has descriptors that are the server's alone."""

    def let_go(self) -> None:
        """Close the copies of its descriptors, in a process that was forked. May come twice."""


_held: Final[WeakSet[Held]] = WeakSet()

_handlers: Final[dict[int, tuple[list[object], Any]]] = {}
"""Of signals: the server's handlers, and what there was before them."""


_maker_of_heirs: int | None = None


def hold(thing: Held) -> None:
    """Have a process that is forked from now on let go of this."""
    _held.add(thing)


@contextmanager
def heirs() -> Iterator[None]:
    """Let what this thread forks in the block have everything: it is to be the server itself."""
    global _maker_of_heirs  # noqa: PLW0603 - one process becomes one daemon
    _maker_of_heirs = threading.get_ident()
    try:
        yield
    finally:
        _maker_of_heirs = None


# Signals


def set_handler(number: int, handler: Any) -> Any:  # noqa: ANN401 - as signal.signal has it
    """Set the server's handler of a signal, which no child has: there it is what it was before.

    Args:
        number: The signal.
        handler: As for `signal.signal`, but not `signal.SIG_IGN`; see `ignore`.

    Returns:
        What `signal.signal` does: the previous handler.
    """
    _children.hold_back(number)
    before = signal.signal(number, handler)
    ours, _ = _handlers.setdefault(number, ([], before))
    if handler not in ours:
        ours.append(handler)
    return before


def reset_handlers() -> None:
    """Put back what was there before `set_handler`, also of what has been set since."""
    for number, (_, before) in _handlers.items():
        put_back(number, before)
    _handlers.clear()


def forget_handlers() -> None:
    """Keep none of them: the interpreter is about to end, and is to free what they belong to."""
    _handlers.clear()


def ignore(number: int, frame: FrameType | None) -> None:
    """Ignore a signal; as `signal.SIG_IGN`, but what is executed does not inherit it."""


def put_back(number: int, handler: Any) -> None:  # noqa: ANN401 - as signal.signal returns it
    """Set the handler that there was before, as `signal.signal` has returned it."""
    # None: it was not set from Python, so Python can't set it again.
    signal.signal(number, signal.SIG_DFL if handler is None else handler)


# In a forked process


def _undo() -> None:
    """Undo it all. The signals that are sent to the child wait meanwhile."""
    if _maker_of_heirs == threading.get_ident():
        return
    if _handlers:
        # It is the parent's, or that of its event loop: a signal of the child would wake that.
        signal.set_wakeup_fd(-1)
        for number, (ours, before) in _handlers.items():
            if signal.getsignal(number) in ours:  # and not the server's code has its own
                put_back(number, before)
        _handlers.clear()
    for thing in tuple(_held):
        thing.let_go()
    _held.clear()


os.register_at_fork(before=_children.hold, after_in_parent=_children.release)
os.register_at_fork(after_in_child=_undo)
os.register_at_fork(after_in_child=_children.release)
