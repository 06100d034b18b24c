"""Stopping: the graces of handlers in asyncio, what is cancelled after them, and what is left."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Coroutine, Iterable
from typing import Any

from dorrit.dispatch.dispatcher import AsyncDispatcher
from dorrit.dispatch.handler_tasks import HandlerTasks
from dorrit.drive.graces import CANCELLED, PROMPT
from dorrit.drive.tasks import names_of
from dorrit.engine import Engine

logger: logging.Logger = logging.getLogger("dorrit")


class Stopping:
    """How a server in an event loop of asyncio comes to its end.

    Attributes:
        requests: How often it was told to stop.
        requested: Is set when it is told to stop the first time.
        hurried: Is set when it is told the second time: then nothing is waited for.
        suspended: The next image of the process goes on with what is begun no more.
        left: Tasks that go on though they were cancelled; they have been named.
    """

    def __init__(
        self,
        engine: Engine,
        dispatcher: AsyncDispatcher,
        tasks: HandlerTasks,
        grace: float,
        turn: Callable[[], object],
    ) -> None:
        """Take what is to be stopped.

        Args:
            engine: The engine.
            dispatcher: Knows the tasks of connections.
            tasks: The other tasks of handlers.
            grace: Seconds that handlers have to end, before they are cancelled.
            turn: Gives the engine a turn.
        """
        self._engine = engine
        self._dispatcher = dispatcher
        self._tasks = tasks
        self._grace = grace
        self._turn = turn
        self.requests: int = 0
        self.requested: asyncio.Event = asyncio.Event()
        self.hurried: asyncio.Event = asyncio.Event()
        self.suspended: bool = False
        self.left: set[asyncio.Task[Any]] = set()
        self._hurried_until: float | None = None
        self._emptied = asyncio.Event()

    def request(self) -> None:
        """Take the word that the server shall stop."""
        self.requests += 1
        self.requested.set()
        if self.requests > 1 and not self.hurried.is_set():
            self.hurried.set()
            self._hurried_until = time.monotonic() + CANCELLED

    def emptied(self) -> None:
        """Note that no client is left."""
        self._emptied.set()

    async def shut_down(self, seconds: float, *, engine_failed: bool) -> None:
        """End all connections in order (R27).

        No message is read any more, and the handlers that run get the grace period; then they are
        cancelled. Clients are told, what is queued is written, within so many seconds. The close
        handlers have a grace period, too. A second request ends each wait, and so does a
        cancellation.
        """
        try:
            await self._shut_down(seconds, engine_failed=engine_failed)
        except asyncio.CancelledError:
            self.hurried.set()
            self._engine.end_shutdown()
            await self._finish_handlers(self._grace)
            raise

    async def suspend(self, seconds: float) -> None:
        """Begin no `async` function any more; those that run have so long, and are cancelled then.

        Clients are served on meanwhile, as far as plain handlers do it. A request to stop ends the
        wait; then nothing is cancelled, and `shut_down` goes on with what waits.
        """
        if self.requests:
            return
        self.suspended = True
        self.requested.clear()
        self._dispatcher.suspend()
        await self._finish_handlers(seconds, self.requested)

    async def _shut_down(self, seconds: float, *, engine_failed: bool) -> None:
        self.requests = max(self.requests, 1)
        self._engine.stop_listening()
        self._dispatcher.stop_reading()
        if self.suspended:
            self.suspended = False
            self._dispatcher.go_on()
        for conn in self._engine.all_connections():
            self._engine.pause(conn)
        await self._finish_handlers(self._grace)
        if not engine_failed:
            self._engine.begin_shutdown()
            self._emptied.clear()
            self._turn()
            await self.within(seconds, self._emptied.wait())
        self._engine.end_shutdown()
        await self._finish_handlers(self._grace)

    async def within(
        self, seconds: float, what: Coroutine[Any, Any, Any], enough: asyncio.Event | None = None
    ) -> None:
        """Wait for something, for some seconds at most, or until told to hurry (or `enough`)."""
        enough = enough or self.hurried
        tasks = {asyncio.ensure_future(what), asyncio.ensure_future(enough.wait())}
        try:
            await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def finish_in_time(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run the stop handler, which has the grace period; cancel it then.

        A second request leaves it what it leaves all others. What it raises goes to the caller.
        """
        task = asyncio.ensure_future(coroutine)
        if self.hurried.is_set():
            # It is begun all the same, and has something to free, maybe.
            await asyncio.wait({task}, timeout=self.cancelled_grace())
        else:
            await self.within(max(self._grace, CANCELLED), _wait({task}))
        if task.done():
            task.result()
            return
        await self._cancel({task})
        if task.done() and not task.cancelled():
            task.result()

    def unfinished(self) -> set[asyncio.Task[Any]]:
        """Return the tasks of handlers that have not ended."""
        return {*self._dispatcher.unfinished(), *self._tasks.unfinished()}

    async def _finish_handlers(self, seconds: float, enough: asyncio.Event | None = None) -> None:
        enough = enough or self.hurried
        end = time.monotonic() + seconds
        # One that ends may be followed by another: the close handler by that of a message.
        while tasks := self.unfinished() - self.left:
            left = end - time.monotonic()
            if left <= 0 or enough.is_set():
                break
            await self.within(left, _wait(tasks), enough)
        if not tasks or (self.suspended and self.requests):
            return
        await self._cancel(tasks)

    async def _cancel(self, tasks: Collection[asyncio.Task[Any]]) -> None:
        """Cancel handlers, and leave those that do not end; they are named."""
        logger.warning(
            "%d async handlers have not ended in time, and are cancelled: %s",
            len(tasks),
            names_of(tasks),
        )
        self._tasks.cancel(tasks)
        await asyncio.wait(tasks, timeout=self.cancelled_grace())
        if left := [task for task in tasks if not task.done()]:
            self.left.update(left)
            logger.error(
                "%d async handlers go on though they were cancelled: %s", len(left), names_of(left)
            )

    async def cut_off(self) -> None:
        """End the handlers that run, as a crash of the process would have, and begin none."""
        self._dispatcher.cut_off()
        if tasks := self.unfinished():
            self._tasks.cancel(tasks)
            await asyncio.wait(tasks, timeout=self.cancelled_grace())

    def cancel_all(self) -> None:
        """Cancel the handlers that are left, without a wait."""
        self._tasks.cancel(self.unfinished())

    def cancelled_grace(self) -> float:
        """Return the seconds that tasks have which are cancelled now."""
        if self._hurried_until is None:
            return CANCELLED
        return max(min(CANCELLED, self._hurried_until - time.monotonic()), PROMPT)


async def _wait(tasks: Iterable[asyncio.Task[Any]]) -> None:
    await asyncio.wait(tasks)
