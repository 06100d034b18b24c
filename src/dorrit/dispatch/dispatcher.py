"""Dispatcher: the one interface of all that stands between the engine and a server's functions.

`direct` calls plain functions, `asyncio_handlers` plain and `async` ones. Whatever else a server
may be written with is one more module that has these methods.
"""

from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING, NamedTuple, Protocol

from dorrit.dispatch.resumption import Resumption
from dorrit.engine import Connection, Engine, Recovered
from dorrit.engine.reports import Reports
from dorrit.protocol.closing import Dismissal
from dorrit.protocol.refusal import Refusal
from dorrit.protocol.request import Request

if TYPE_CHECKING:
    import asyncio  # servers without `async` functions do not load it

    from dorrit.dispatch.handler_tasks import HandlerTasks


class Events(Protocol):
    """What the engine tells a dispatcher."""

    @property
    def message(self) -> Callable[..., object]:
        """What the engine calls for each message.

        It is the user's own function if that is plain: nothing stands between then.
        """
        ...

    def opened(self, conn: Connection, request: Request, /) -> object:
        """Decide about a client.

        Returns:
            A `Refusal`, None to accept the client, or `PENDING`: see `Host.answer`.
        """
        ...

    @property
    def resumption(self) -> Resumption:
        """What becomes of connections of an earlier image."""
        ...

    def resumed(
        self, conn: Connection, state: bytes | None, begun: str | bytes | None, /
    ) -> object:
        """Take a connection that an earlier image of the process has left to this one.

        Args:
            conn: The connection.
            state: What was kept with it, if anything was.
            begun: The message that was under way, if one was.

        Returns:
            A `Dismissal`, None: it goes on, or `PENDING`: see `Host.answer_resume`.
        """
        ...

    @property
    def subscribed(self) -> Callable[[Connection, str, Recovered], object] | None:
        """What the engine calls when a subscription stands, before anything that is published.

        It returns `PENDING` if that is to wait for `Engine.catch_up`. None: nothing is called, and
        nothing waits.
        """
        ...

    def closed(self, conn: Connection, code: int, reason: str) -> object:
        """Take the end of a connection that was accepted; the engine looks at the result."""
        ...


class Dispatcher(Events, Protocol):
    """Calls the functions of an application that has no `async` ones."""

    def start(self) -> None:
        """Call what the application wants to have called before its first client."""
        ...

    def stop(self) -> None:
        """Call what the application wants to have called after its last client."""
        ...


class AsyncDispatcher(Events, Protocol):
    """Calls the functions of an application in an event loop of asyncio."""

    def connect(self, host: "Host") -> None:
        """Take what it may use; the event loop runs."""
        ...

    def start(self) -> Awaitable[None]:
        """Call what the application wants to have called before its first client."""
        ...

    def stop(self) -> Awaitable[None]:
        """Call what the application wants to have called after its last client."""
        ...

    @property
    def messages(
        self,
    ) -> Callable[[Connection, str | bytes, list[str | bytes]], object] | None:
        """What the engine calls with the messages of one read, instead of `message` with each.

        It raises nothing but what ends the server. None: `message` is called with each.
        """
        ...

    @property
    def max_waiting(self) -> int:
        """How many messages may wait for a connection's handler."""
        ...

    def is_busy(self, conn: Connection) -> bool:
        """Tell whether a message of this client is being handled: that is not idle time."""
        ...

    def is_opening(self, conn: Connection) -> bool:
        """Tell whether the current task decides about this client."""
        ...

    def forget(self, conn: Connection | None) -> None:
        """Let go of the messages of a connection; None: of all that are over. There are too many.

        A decision about the client that is under way is given up, too.
        """
        ...

    def stop_reading(self) -> None:
        """Let the engine read no more: the server stops."""
        ...

    def suspend(self) -> None:
        """Begin no `async` handler any more: the next image of the process goes on.

        Only what belongs to a connection that is over still runs to its end.
        """
        ...

    def cut_off(self) -> None:
        """Begin no `async` handler any more, for whomever: a test plays a crash of the process."""
        ...

    def go_on(self) -> None:
        """Begin what has waited since `suspend`: the server is to stop, and has no next image."""
        ...

    def unhandled(self, conn: Connection) -> tuple[str | bytes | None, list[str | bytes]]:
        """Return the message whose handler runs, or None, and those that wait behind it."""
        ...

    def due(self) -> list[Connection]:
        """Return connections whose end nobody has been told of; see `Engine.join_loop`.

        Those that are over are the next image's: no close handler is begun for them any more.
        """
        ...

    def unfinished(self) -> "Collection[asyncio.Task[None]]":
        """Return the tasks that run for connections, besides those of `Host.tasks`."""
        ...


class Host(NamedTuple):
    """What an `AsyncDispatcher` may use.

    Attributes:
        engine: The engine, for pausing, resuming and failing connections.
        reports: Takes what the functions raise.
        tasks: Makes the tasks that are not a connection's worker.
        answer: Called with a connection for which `opened` has returned `PENDING`, and a `Refusal`,
            or None to accept the client.
        answer_resume: Called with a connection for which `resumed` has returned `PENDING`, and a
            `Dismissal`, or None to let it go on.
    """

    engine: Engine
    reports: Reports
    tasks: "HandlerTasks"
    answer: Callable[[Connection, Refusal | None], None]
    answer_resume: Callable[[Connection, Dismissal | None], None]
