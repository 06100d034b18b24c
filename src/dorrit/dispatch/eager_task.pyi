"""What Python sees of `dorrit.dispatch.eager_task`."""

import asyncio
import sys
from collections.abc import Coroutine, Generator
from contextvars import Context
from typing import Any, final

class ReadyTask(asyncio.Task[None]):
    """A task that waits for a coroutine which needs it.

    Attributes:
        is_touched: Somebody has asked something of it that the coroutine after this one must not
            inherit. (It is an attribute of the task only then, as others are that somebody sets.)
    """

    is_touched: bool

    if sys.version_info >= (3, 12):
        def get_context(self) -> Context: ...

@final
class TaskBody:
    """What a `ReadyTask` runs: in the end nothing, or a coroutine that has taken its first step."""

    def send(self, value: object) -> Any: ...  # noqa: ANN401 - as of any coroutine
    def throw(self, *error: Any) -> Any: ...  # noqa: ANN401 - as of any coroutine
    def close(self) -> None: ...
    @property
    def cr_suspended(self) -> bool: ...
    def __await__(self) -> Generator[Any, Any]: ...

@final
class EagerStarter:
    """Takes the first steps of coroutines in an event loop of asyncio's kind.

    Args:
        loop: The event loop, which runs. Attributes can be set in it.
        name: What the tasks are called.

    The coroutines have copies of the context in which this is made.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, name: str) -> None: ...
    def __call__(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        """Begin a coroutine. Within another task it becomes a task that begins later.

        Args:
            coroutine: Has not begun.

        Returns:
            The task that it goes on in, or that has what it has raised; None if it is over.

        Raises:
            SystemExit, KeyboardInterrupt: The coroutine has raised it; so does the event loop, when
                one does in a task.
        """
