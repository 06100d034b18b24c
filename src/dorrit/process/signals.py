"""Signals that stop the server (R27). Handlers only tell the loop; it does the work."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

STOPPING: Final = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stop_signals(stop: Callable[[], None], wakeup_descriptor: int) -> Iterator[None]:
    """Have SIGTERM and SIGINT call `stop` in the main thread, until the context ends.

    Args:
        stop: Makes the loop end soon. A second signal calls it again.
        wakeup_descriptor: Gets a byte for each signal, so that one that comes just before the loop
            falls asleep is not slept over. Does not block; stays open until the context has ended.
    """

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's interface
        stop()

    descriptor_before = signal.set_wakeup_fd(wakeup_descriptor, warn_on_full_buffer=False)
    before = {number: signal.signal(number, handle) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(descriptor_before)
