"""AwaitedHandler: asks an `async` function about connections, which wait for its answer."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from dorrit.dispatch.dispatcher import Host
from dorrit.dispatch.worker import steps_of
from dorrit.engine import PENDING, Connection
from dorrit.raised import EXITS

TIMEOUT: Final = 10.0
"""Seconds for a function to answer."""

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Otherwise(Generic[Answer]):
    """What a connection is answered when the function has not said it.

    Attributes:
        late: Makes the answer when it has not ended in time.
        stopping: Makes the answer when the server stops.
        raised: Makes the answer when it has raised.
    """

    late: Callable[[], Answer]
    stopping: Callable[[], Answer]
    raised: Callable[[], Answer]


class AwaitedHandler(Generic[Answer]):
    """An `async` function, and the connections that it decides about."""

    def __init__(
        self,
        callback: str,
        function: Callable[..., Awaitable[Answer | None]],
        host: Host,
        answer: Callable[[Connection, Answer | None], None],
        otherwise: Otherwise[Answer],
    ) -> None:
        """Take the function, and what it runs in.

        Args:
            callback: What the function is called in the log.
            function: Called with a connection and more arguments; its result is the answer.
            host: What it runs in.
            answer: Called with each connection and its answer.
            otherwise: The other answers.
        """
        self._callback = callback
        self._function = function
        self._host = host
        self._answer = answer
        self._otherwise = otherwise
        self._loop = asyncio.get_running_loop()
        self._tasks: dict[Connection, asyncio.Task[Any]] = {}
        self._is_suspended = False
        self._unasked: list[Connection] = []

    def ask(self, conn: Connection, *arguments: object) -> object:
        """Begin to decide about a connection; the answer comes later."""
        if self._is_suspended:
            self._unasked.append(conn)
        else:
            asking = self._ask(conn, arguments)
            self._tasks[conn] = self._host.tasks.spawn(self._callback, asking)
        return PENDING

    def suspend(self) -> None:
        """Begin nothing more; who has no answer in the end, is asked by the next image."""
        self._is_suspended = True

    def go_on(self) -> None:
        """Answer those who have no answer since `suspend`: the server is to stop."""
        self._is_suspended = False
        unasked, self._unasked = self._unasked, []
        for conn in unasked:
            self._answer(conn, self._otherwise.stopping())

    def undecided(self) -> list[Connection]:
        """Return the connections that have no answer."""
        return [*self._tasks, *self._unasked]

    def is_asking(self, conn: Connection) -> bool:
        """Tell whether the current task decides about this connection."""
        task = self._tasks.get(conn)
        return task is not None and task is asyncio.current_task()

    def forget(self, conn: Connection) -> None:
        """Give up deciding about a connection, if the function still does."""
        task = self._tasks.get(conn)
        if task is not None:
            self._host.tasks.cancel([task])

    async def _ask(self, conn: Connection, arguments: tuple[object, ...]) -> None:
        answer: Answer | None
        timeout = asyncio.timeout(TIMEOUT)
        try:
            if self._loop.get_task_factory() is not None:
                # A task of Python 3.12's eager factory would answer before the engine knows of it.
                await asyncio.sleep(0)
            async with timeout:
                answer = await steps_of(conn, self._function(conn, *arguments))
        except EXITS:
            self._reply(conn, self._otherwise.stopping())
            raise
        except BaseException as error:
            if asyncio.current_task(self._loop) is None:
                raise  # GeneratorExit: it was left behind, and is closed by the interpreter
            if self._is_suspended and self._host.tasks.is_by_server(error):
                del self._tasks[conn]
                self._unasked.append(conn)
                raise
            answer = self._answer_to(conn, error, timeout)
        self._reply(conn, answer)

    def _answer_to(
        self, conn: Connection, error: BaseException, timeout: asyncio.Timeout
    ) -> Answer:
        """Say what becomes of a connection whose function has raised."""
        if timeout.expired() and issubclass(type(error), TimeoutError):
            return self._otherwise.late()
        if self._host.tasks.is_by_server(error):
            return self._otherwise.stopping()
        self._host.engine.check_process(self._callback, error)
        self._host.reports.callback_raised(self._callback, error, conn)
        return self._otherwise.raised()

    def _reply(self, conn: Connection, answer: Answer | None) -> None:
        del self._tasks[conn]
        self._answer(conn, answer)
