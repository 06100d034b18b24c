"""AsyncioHandlers: calls plain and `async` functions in an event loop of asyncio."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from dorrit.dispatch.awaited_handler import AwaitedHandler, Otherwise
from dorrit.dispatch.callables import is_async
from dorrit.dispatch.dispatcher import Host
from dorrit.dispatch.handlers import Handlers, ignore
from dorrit.dispatch.resumption import Resumption
from dorrit.dispatch.worker import Workers
from dorrit.engine import Connection, Recovered
from dorrit.engine.results import check_result
from dorrit.protocol.closing import Dismissal
from dorrit.protocol.refusal import (
    OPEN_CALLBACK_RAISED,
    OPEN_CALLBACK_TIMEOUT,
    STOPPING,
    Refusal,
    refusal,
)
from dorrit.protocol.request import Request

OTHERWISE: Final[Otherwise[Refusal]] = Otherwise(
    lambda: refusal(*OPEN_CALLBACK_TIMEOUT),
    lambda: refusal(*STOPPING),
    lambda: refusal(*OPEN_CALLBACK_RAISED),
)
"""What a client is answered when the open handler has not said it."""


class AsyncioHandlers:
    """Calls the functions of a server: plain ones directly, `async` ones in workers and tasks.

    Attributes:
        message: The message handler.
        messages: Takes the messages of one read if the message handler is `async`; else None.
        max_waiting: Messages that may wait for a connection's `async` handler.
        closed: Has the close handler called, after those that run for the connection.
        subscribed: Has the handler of subscriptions called; an `async` one in order with messages.
        workers: The tasks of connections whose handlers are `async`.
        resumption: What becomes of connections of an earlier image.
    """

    def __init__(
        self, handlers: Handlers, resumption: Resumption, max_waiting: int, max_waiting_bytes: int
    ) -> None:
        """Take the functions.

        Args:
            handlers: The functions.
            resumption: What becomes of connections of an earlier image.
            max_waiting: Messages that may wait for a connection's `async` handler.
            max_waiting_bytes: Bytes of messages, from which on no more of them are read.
        """
        self._handlers = handlers
        self.resumption: Resumption = resumption
        self._open: AwaitedHandler[Refusal] | None = None
        self._resume: AwaitedHandler[Dismissal] | None = None
        self.workers: Workers = Workers(
            handlers.message, handlers.close, handlers.subscribed, max_waiting, max_waiting_bytes
        )
        is_message_async = is_async(handlers.message)
        self.message: Callable[..., object] = handlers.message or ignore
        self.messages: Callable[[Connection, str | bytes, list[str | bytes]], object] | None = None
        self.max_waiting = max_waiting
        if is_message_async:
            self.messages = self.workers.messages
        self.subscribed: Callable[[Connection, str, Recovered], object] | None = (
            self.workers.subscribed if is_async(handlers.subscribed) else handlers.subscribed
        )
        self.closed: Callable[[Connection, int, str], object] = self.workers.closed
        self.is_busy: Callable[[Connection], bool] = self.workers.is_busy
        self.stop_reading: Callable[[], None] = self.workers.stop_reading
        self.unhandled: Callable[[Connection], tuple[str | bytes | None, list[str | bytes]]] = (
            self.workers.unhandled
        )

    def connect(self, host: Host) -> None:
        """Take what the functions run in; the event loop runs."""
        self._host = host
        self.workers.connect(host.engine, host.reports, host.tasks.is_by_server)
        if self._handlers.open is not None and is_async(self._handlers.open):
            self._open = AwaitedHandler("open", self._handlers.open, host, host.answer, OTHERWISE)
        resumption = self.resumption
        if is_async(resumption.function):
            self._resume = AwaitedHandler(
                resumption.callback,
                resumption.function,
                host,
                host.answer_resume,
                Otherwise(resumption.late, resumption.stopping, resumption.raised),
            )

    async def start(self) -> None:
        """Run the start handler."""
        await self._call("start", self._handlers.start)

    async def stop(self) -> None:
        """Run the stop handler."""
        await self._call("stop", self._handlers.stop)

    async def _call(self, callback: str, function: Callable[[], Any] | None) -> None:
        """Call a plain or an `async` function; a process that it has forked ends with it."""
        if function is None:
            return
        error: BaseException | None = None
        try:
            result = function()
            if is_async(function):
                await result
            else:
                check_result(f"on_{callback}", result)
        except BaseException as raised:
            error = raised
            raise
        finally:
            self._host.engine.check_process(callback, error)

    def opened(self, conn: Connection, _request: Request) -> object:
        """Ask the open handler about a client."""
        if self._open is not None:
            return self._open.ask(conn)
        return None if self._handlers.open is None else self._handlers.open(conn)

    def resumed(self, conn: Connection, state: bytes | None, begun: str | bytes | None) -> object:
        """Ask the resume handler, or the open handler again."""
        if self._resume is not None:
            return self._resume.ask(conn, state, begun)
        return self.resumption.function(conn, state, begun)

    def is_opening(self, conn: Connection) -> bool:
        """Tell whether the current task is the open handler of this connection."""
        return self._open is not None and self._open.is_asking(conn)

    def forget(self, conn: Connection | None) -> None:
        """Let go of what waits for a connection that is over; see `AsyncDispatcher.forget`."""
        for awaited in (self._open, self._resume):
            if conn is not None and awaited is not None:
                awaited.forget(conn)
        self.workers.forget(conn)

    def suspend(self) -> None:
        """Begin nothing more; see `AsyncDispatcher.suspend`."""
        for awaited in (self._open, self._resume):
            if awaited is not None:
                awaited.suspend()
        self.workers.suspend()

    def cut_off(self) -> None:
        """Begin nothing more, and log nothing; see `AsyncDispatcher.cut_off`."""
        self.suspend()
        self.workers.cut_off()

    def due(self) -> list[Connection]:
        """Return connections whose end nobody has been told of; see `AsyncDispatcher.due`."""
        return [*self.workers.due(), *(self._resume.undecided() if self._resume else ())]

    def go_on(self) -> None:
        """Begin what has waited; see `AsyncDispatcher.go_on`."""
        for awaited in (self._open, self._resume):
            if awaited is not None:
                awaited.go_on()
        self.workers.go_on()

    def unfinished(self) -> list[asyncio.Task[None]]:
        """Return the tasks of the connections' workers."""
        return self.workers.tasks()
