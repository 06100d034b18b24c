"""AsyncioHandlers: calls plain and `async` functions in an event loop of asyncio."""

import asyncio
from collections.abc import Callable
from typing import Any

from dorrit.dispatch.callables import is_async
from dorrit.dispatch.dispatcher import Host
from dorrit.dispatch.handlers import Handlers, ignore
from dorrit.dispatch.open_handler import OpenHandler
from dorrit.dispatch.worker import Workers
from dorrit.engine import Connection
from dorrit.engine.results import check_result
from dorrit.protocol.request import Request


class AsyncioHandlers:
    """Calls the functions of a server: plain ones directly, `async` ones in workers and tasks.

    Attributes:
        message: The message handler.
        messages: Takes the messages of one read if the message handler is `async`; else None.
        max_waiting: Messages that may wait for a connection's `async` handler.
        closed: The close handler itself if it and that of messages are plain.
        workers: The tasks of connections whose handlers are `async`.
    """

    def __init__(self, handlers: Handlers, max_waiting: int, max_waiting_bytes: int) -> None:
        """Take the functions.

        Args:
            handlers: The functions.
            max_waiting: Messages that may wait for a connection's `async` handler.
            max_waiting_bytes: Bytes of messages, from which on no more of them are read.
        """
        self._handlers = handlers
        self._open: OpenHandler | None = None
        self.workers: Workers = Workers(
            handlers.message, handlers.close, max_waiting, max_waiting_bytes
        )
        is_message_async = is_async(handlers.message)
        self.message: Callable[..., object] = handlers.message or ignore
        self.messages: Callable[[Connection, str | bytes, list[str | bytes]], object] | None = None
        self.max_waiting = max_waiting
        if is_message_async:
            self.messages = self.workers.messages
        self.closed: Callable[[Connection, int, str], object] = handlers.close or ignore
        if is_message_async or is_async(handlers.close):
            self.closed = self.workers.closed
        self.is_busy: Callable[[Connection], bool] = self.workers.is_busy
        self.stop_reading: Callable[[], None] = self.workers.stop_reading

    def connect(self, host: Host) -> None:
        """Take what the functions run in; the event loop runs."""
        self._host = host
        self.workers.connect(host.engine, host.reports)
        if self._handlers.open is not None and is_async(self._handlers.open):
            self._open = OpenHandler(self._handlers.open, host)

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

    def is_opening(self, conn: Connection) -> bool:
        """Tell whether the current task is the open handler of this connection."""
        return self._open is not None and self._open.is_asking(conn)

    def forget(self, conn: Connection | None) -> None:
        """Let go of what waits for a connection that is over; see `AsyncDispatcher.forget`."""
        if conn is not None and self._open is not None:
            self._open.forget(conn)
        self.workers.forget(conn)

    def unfinished(self) -> list[asyncio.Task[None]]:
        """Return the tasks of the connections' workers."""
        return self.workers.tasks()
