"""What Python sees of `dorrit.dispatch.worker`."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Final, Self, TypeVar, final

from dorrit.engine import Connection, Engine, Recovered
from dorrit.engine.reports import Reports

_Result = TypeVar("_Result")

TASK_NAME: Final[str]
"""What the tasks are called."""

def steps_of(conn: Connection, awaitable: Awaitable[_Result]) -> Awaitable[_Result]:
    """Return what is to be awaited instead, so that a crash in there is known to be a connection's.

    Args:
        conn: Whose it is.
        awaitable: What one of the user's functions has made, for that connection.
    """

@final
class Steps:
    """Takes the steps of a coroutine in the name of a connection.

    Attributes:
        cr_await: The coroutine.
    """

    @property
    def cr_await(self) -> Any: ...  # noqa: ANN401 - any coroutine, or what an awaitable has made
    def __await__(self) -> Generator[Any, Any, Any]: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Any: ...  # noqa: ANN401 - as of any coroutine
    def send(self, value: object) -> Any: ...  # noqa: ANN401 - as of any coroutine
    def throw(self, *error: Any) -> Any: ...  # noqa: ANN401 - as of any coroutine
    def close(self) -> None: ...

@final
class Confirmation:
    """A subscription that stands, of which the handler is told in its turn among the messages."""

    def __len__(self) -> int: ...

@final
class Worker:
    """What waits for the handlers of one connection.

    Attributes:
        waiting: Messages that have come while a handler runs.
        size: Bytes and characters in them.
        paused: The engine does not read from the connection.
    """

    @property
    def waiting(self) -> deque[Any] | None: ...
    @property
    def size(self) -> int: ...
    @property
    def paused(self) -> bool: ...

@final
class Workers:
    """Runs the message and close handlers of a server that has `async` ones.

    A message that comes while a handler runs for its connection waits. Where too many of them do,
    reading pauses, so that a client that is too fast feels it.

    Attributes:
        workers: Those that there are.
    """

    def __init__(
        self,
        on_message: Callable[..., Any] | None,
        on_close: Callable[..., Any] | None,
        on_subscribed: Callable[..., Any] | None,
        max_waiting: int,
        max_waiting_bytes: int,
    ) -> None:
        """Take the handlers; `connect` comes before the first of their calls.

        Args:
            on_message: The message handler.
            on_close: The close handler, which may be plain.
            on_subscribed: The handler of subscriptions; only an `async` one is called from here.
            max_waiting: Messages that may wait for one connection.
            max_waiting_bytes: Bytes of messages, from which on no more of them are read.
        """

    @property
    def workers(self) -> dict[Connection, Worker]:
        """Those that there are, by their connections: a copy."""
    def connect(
        self, engine: Engine, reports: Reports, is_by_server: Callable[[BaseException], bool]
    ) -> None:
        """Take what they need; in the event loop.

        Args:
            engine: Pauses connections.
            reports: Takes what handlers raise.
            is_by_server: `is_by_server(error)`: the server has cancelled the current task.
        """

    def tasks(self) -> list[asyncio.Task[None]]:
        """Return the tasks that run."""

    def is_busy(self, conn: Connection) -> bool:
        """Return whether a handler of this connection runs or waits to be run."""

    def stop_reading(self) -> None:
        """Let connections that are paused stay so: the server stops."""

    def suspend(self) -> None:
        """Begin no message handler any more: the next image of the process goes on with what waits.

        Only what belongs to a connection that is over still runs to its end.
        """

    def cut_off(self) -> None:
        """Begin no handler any more, and log nothing of those that end: a crash is played."""

    def go_on(self) -> None:
        """Begin what has waited, and close who was cut off: the server is to stop after all."""

    def unhandled(self, conn: Connection) -> tuple[str | bytes | None, list[str | bytes]]:
        """Return the message whose handler runs, or None, and those that wait behind it.

        A handler that was cut off by the server counts as one that runs.
        """

    def due(self) -> list[Connection]:
        """Return the connections that are over and whose close handler has not begun.

        It never does then: the next image of the process calls it.
        """

    def forget(self, conn: Connection | None) -> None:
        """Let go of messages that wait, for there is no room for them.

        Args:
            conn: Whose; None for those of all connections that are over.
        """

    def messages(self, conn: Connection, first: str | bytes, others: list[str | bytes]) -> None:
        """Have the `async` message handler called for each, after those that are under way.

        Args:
            conn: Whose they are.
            first: The first message that one read has brought.
            others: Those behind it, no more than may wait.
        """

    def subscribed(self, conn: Connection, topic: str, recovered: Recovered) -> object:
        """Have the `async` handler of subscriptions called, after the messages that are under way.

        Args:
            conn: Whose subscription it is.
            topic: To what.
            recovered: What it is told.
        """

    def closed(self, conn: Connection, code: int, reason: str) -> object:
        """Have the close handler called, after those of the messages before."""
