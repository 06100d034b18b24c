"""Eager coroutines: they begin in the call that takes them, not when the event loop gets there."""

import asyncio
import functools
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from dorrit.dispatch.eager_task import EagerStarter

Starter = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None] | None]
"""Begins a coroutine; returns the task that goes on with it, or None if it is over."""


def eager_starter(loop: asyncio.AbstractEventLoop, name: str) -> Starter:
    """Return what begins coroutines, in callbacks of this event loop.

    Somebody's own task factory is respected: its tasks begin when it says.

    Args:
        loop: The event loop, which runs.
        name: What the tasks are called.
    """
    if loop.get_task_factory() is not None:
        return functools.partial(loop.create_task, name=name)
    if hasattr(loop, "__dict__"):
        return EagerStarter(loop, name)
    if sys.version_info >= (3, 12):
        return functools.partial(asyncio.Task, loop=loop, name=name, eager_start=True)
    return functools.partial(asyncio.Task, loop=loop, name=name)
