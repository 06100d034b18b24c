"""OpenHandler: asks an `async` function about clients, which wait for its answer meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from dorrit.dispatch.dispatcher import Host
from dorrit.engine import PENDING, Connection
from dorrit.protocol.refusal import (
    OPEN_CALLBACK_RAISED,
    OPEN_CALLBACK_TIMEOUT,
    STOPPING,
    Refusal,
    refusal,
)
from dorrit.raised import EXITS

OPEN_TIMEOUT: Final = 10.0
"""Seconds for an `async` open handler."""


class OpenHandler:
    """An `async` open handler, and the clients that it decides about."""

    def __init__(
        self, function: Callable[[Connection], Awaitable[Refusal | None]], host: Host
    ) -> None:
        """Take the function, and what it runs in."""
        self._function = function
        self._host = host
        self._loop = asyncio.get_running_loop()
        self._tasks: dict[Connection, asyncio.Task[Any]] = {}

    def ask(self, conn: Connection) -> object:
        """Begin to decide about a client; the answer goes to the host."""
        self._tasks[conn] = self._host.tasks.spawn("open", self._ask(conn))
        return PENDING

    def is_asking(self, conn: Connection) -> bool:
        """Tell whether the current task decides about this client."""
        task = self._tasks.get(conn)
        return task is not None and task is asyncio.current_task()

    def forget(self, conn: Connection) -> None:
        """Give up deciding about a client, if the function still does."""
        task = self._tasks.get(conn)
        if task is not None:
            self._host.tasks.cancel([task])

    async def _ask(self, conn: Connection) -> None:
        answer: Refusal | None
        timeout = asyncio.timeout(OPEN_TIMEOUT)
        try:
            if self._loop.get_task_factory() is not None:
                # A task of Python 3.12's eager factory would answer before the engine knows of it.
                await asyncio.sleep(0)
            async with timeout:
                answer = await self._function(conn)
        except EXITS:
            self._answer(conn, refusal(*STOPPING))
            raise
        except BaseException as error:
            if asyncio.current_task(self._loop) is None:
                raise  # GeneratorExit: it was left behind, and is closed by the interpreter
            answer = self._answer_to(conn, error, timeout)
        self._answer(conn, answer)

    def _answer_to(
        self, conn: Connection, error: BaseException, timeout: asyncio.Timeout
    ) -> Refusal:
        """Say what becomes of a client whose open handler has raised."""
        if timeout.expired() and issubclass(type(error), TimeoutError):
            return refusal(*OPEN_CALLBACK_TIMEOUT)
        if self._host.tasks.is_by_server(error):
            return refusal(*STOPPING)
        self._host.engine.check_process("open", error)
        self._host.reports.callback_raised("open", error, conn)
        return refusal(*OPEN_CALLBACK_RAISED)

    def _answer(self, conn: Connection, answer: Refusal | None) -> None:
        del self._tasks[conn]
        self._host.answer(conn, answer)
