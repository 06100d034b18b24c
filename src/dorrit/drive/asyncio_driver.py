"""AsyncioDriver: the engine's one descriptor in an event loop of asyncio."""

import asyncio
import contextlib
import importlib
import inspect
import logging
import os
from collections.abc import Callable, Iterable
from typing import Any, Self, TypeVarTuple

from dorrit.dispatch.callables import is_async
from dorrit.dispatch.dispatcher import AsyncDispatcher, Host
from dorrit.dispatch.handler_tasks import HandlerTasks
from dorrit.dispatch.room import Room
from dorrit.drive.application import Application, Listener
from dorrit.drive.carried import Ledger, after_crash, carry_in
from dorrit.drive.driver import Driver
from dorrit.drive.make_engine import join_event_loop
from dorrit.drive.stopping import Stopping
from dorrit.drive.tasks import names_of
from dorrit.engine import Connection, Timer
from dorrit.engine.results import check_result
from dorrit.errors import StartError
from dorrit.process.exec.handover import Handover
from dorrit.process.exec.memfd import unshrinkable_file
from dorrit.process.fork import children
from dorrit.protocol.closing import Dismissal
from dorrit.protocol.refusal import Refusal
from dorrit.raised import EXITS
from dorrit.settings import Settings

# asyncio imports it only when it is used, which may be where the server's user can't read it.
importlib.import_module("concurrent.futures.thread")

logger: logging.Logger = logging.getLogger("dorrit")

Arguments = TypeVarTuple("Arguments")


class AsyncioDriver(Driver):
    """Runs an application in an event loop of asyncio that somebody else runs.

    Attributes:
        dispatcher: Calls the application's functions.
        room: Tasks that wait for room in a queue.
        tasks: The tasks of functions that are not a connection's worker.
        stopping: How it comes to its end.
    """

    def __init__(
        self, application: Application, settings: Settings, *, carries: bool = False
    ) -> None:
        """Make the engine, which has no clients yet; see `Driver`."""
        self.dispatcher: AsyncDispatcher = application.async_dispatcher(settings)
        self.room: Room = Room(self.dispatcher.is_opening)
        super().__init__(application, settings, self.dispatcher, self.room, carries=carries)
        self.tasks: HandlerTasks = HandlerTasks(self.engine, self.reports)
        self.stopping: Stopping = Stopping(
            self.engine, self.dispatcher, self.tasks, settings.stop_grace, self._turn
        )
        self._aio: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.Handle | None = None
        self._due = 0.0
        self._child_turn: asyncio.Handle | None = None
        self._starting: asyncio.Task[Any] | None = None
        self._failure: BaseException | None = None

    # In the event loop

    @property
    def event_loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that it is attached to."""
        assert self._aio is not None
        return self._aio

    def _attach(self) -> None:
        """Let the engine have its turns in the event loop that runs."""
        self._aio = asyncio.get_running_loop()
        self.room.connect(self.engine)
        self.dispatcher.connect(
            Host(self.engine, self.reports, self.tasks, self._answer, self._answer_resume)
        )
        join_event_loop(self.engine, self.dispatcher, self.room)
        self._descriptor = self.engine.fileno()
        self._aio.add_reader(self._descriptor, self._turn)
        children.hold(self)
        self._arm()

    def _detach(self) -> None:
        """Take the engine out of the event loop."""
        self.event_loop.remove_reader(self._descriptor)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _turn(self) -> None:
        try:
            self.engine.poll()
        except EXITS:
            # A handler's own. The event loop may go on, and the engine then has to be woken.
            self._arm()
            raise
        except BaseException as error:  # noqa: BLE001 - it is raised where the server is run
            # The engine can't go on. The event loop would log that, and turn for ever.
            self._failure = error
            self.event_loop.remove_reader(self._descriptor)
            self.stopping.requested.set()
            return
        if self.engine.connections == 0:
            self.stopping.emptied()
        self._arm()

    def _arm(self) -> None:
        """Wake the engine in time. A timer that is too early does no harm, and is not replaced."""
        timeout = self.engine.timeout()
        if timeout is None:
            return
        loop = self._aio  # each turn gets here, and pays for no property
        assert loop is not None
        due = loop.time() + timeout
        if self._timer is not None:
            if self._due <= due:
                return
            self._timer.cancel()
        # uvloop returns no TimerHandle for what is due at once, which could be asked when it is.
        self._due = due
        self._timer = loop.call_at(due, self._due_turn)

    def _due_turn(self) -> None:
        self._timer = None
        self._turn()

    def _answer(self, conn: Connection, answer: Refusal | None) -> None:
        self.lifecycle.answered(conn, answer)
        self.engine.answer(conn, answer)
        if not conn.is_open:
            self.room.again(conn)  # a client that is refused has no close handler

    def _answer_resume(self, conn: Connection, answer: Dismissal | None) -> None:
        self.lifecycle.resume_answered(conn, answer)
        self.engine.answer_resume(conn, answer)

    # What the application asks for

    def every(self, seconds: float, function: Callable[[], object]) -> Timer:
        """Have `function()` called periodically; an `async` one when its last call is over."""
        if not is_async(function):
            return self.engine.every(seconds, function)
        running: asyncio.Task[Any] | None = None

        def call() -> None:
            nonlocal running
            is_ending = self.stopping.requests or self.stopping.suspended
            if not is_ending and (running is None or running.done()):
                result: Any = function()
                running = self.tasks.spawn("periodic", result)

        return self.engine.every(seconds, call)

    def listen_to_topic(self, listener: Listener) -> None:
        """Call a function, plain or `async`, for each message that is published to its topic."""
        function: Callable[[str, str | bytes], Any] = listener.function
        if not is_async(function):
            self.engine.listen_to_topic(*listener)
            return

        def call(topic: str, message: str | bytes) -> None:
            self.tasks.spawn("topic", function(topic, message))

        self.engine.listen_to_topic(listener.topic, call)

    def call_soon_threadsafe(
        self, function: Callable[[*Arguments], object], *arguments: *Arguments
    ) -> None:
        """Have `function(*arguments)` called in the loop's thread, plain or `async`."""
        self.engine.call_soon_threadsafe(self._call, function, arguments)

    def _call(self, function: Callable[..., object], arguments: Iterable[Any]) -> None:
        result = function(*arguments)
        if inspect.iscoroutine(result):
            self.tasks.spawn("call_soon_threadsafe", result)
        else:
            check_result("the function of call_soon_threadsafe", result)

    # The life of a server

    async def start(self) -> None:
        """Begin in the event loop that runs: call the start handler, then periodic functions.

        No client is there yet.

        Raises:
            RuntimeError: The application runs already.
            StartError: It was told to stop, and the handler did not end in the grace period.
        """
        self._attach()
        self.begin()
        self._starting = asyncio.current_task()
        try:
            await self.dispatcher.start()
        except asyncio.CancelledError:
            if not self.stopping.requests:
                raise
            raise StartError("told to stop before it was ready: on_start was cancelled") from None
        finally:
            self._starting = None
        self.application.start_periodic(self)

    def interrupt(self) -> None:
        """Let `run` return soon, though nobody has told the server to stop; from a turn."""
        self.stopping.requested.set()

    async def run(self) -> None:
        """Serve until `stop` or `interrupt`."""
        await self.stopping.requested.wait()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Let `run` return soon, or what comes after it not wait; for signal handlers."""
        with contextlib.suppress(RuntimeError):  # it is closed: it has stopped
            self.engine.call_soon_threadsafe(self._told_to_stop)

    def _told_to_stop(self) -> None:
        self.stopping.request()
        if self._starting is not None:
            grace = 0 if self.stopping.hurried.is_set() else self.settings.stop_grace
            self.event_loop.call_later(grace, self._cancel_start)

    def _cancel_start(self) -> None:
        if self._starting is not None and not self._starting.cancelling():
            name = names_of([self._starting])
            logger.warning("on_start has not ended in time, and is cancelled: %s", name)
            self._starting.cancel()

    async def shut_down(self, seconds: float) -> None:
        """End all connections in order; see `Stopping.shut_down`."""
        await self.stopping.shut_down(seconds, engine_failed=self._failure is not None)

    async def suspend(self, seconds: float) -> None:
        """Come to rest, with all connections; see `Stopping.suspend`."""
        await self.stopping.suspend(seconds)

    def carry_out(self, descriptor: int) -> list[int]:
        """Leave all connections to another driver; see `Engine.carry_out`. `close` follows."""
        self._detach()
        return self.engine.carry_out(descriptor)

    def crash(self, culprit: Connection | None) -> list[int]:
        """Leave all connections as a crash does, see `Engine.abandon`.

        `Stopping.cut_off` follows, and `close`.
        """
        descriptors = self.engine.abandon(culprit)
        self._detach()
        return descriptors

    async def finish(self) -> None:
        """Run the stop handler. What it raises goes to the caller."""
        await self.dispatcher.stop()

    def let_go(self) -> None:
        """Have a process that was forked in a task end when it comes back to the event loop."""
        with contextlib.suppress(RuntimeError):  # the loop's debugging: another thread has forked
            self._child_turn = self.event_loop.call_soon(self._turn)

    def close(self) -> None:
        """Cut off what is left, and free everything."""
        if self._child_turn is not None:
            # It has left the server in order, and may do in the event loop what it likes.
            self._child_turn.cancel()
        # A process that was forked has the same poller in its event loop: it must not take the
        # server out of that.
        if self._aio is not None and not self._aio.is_closed() and not self.engine.is_forked:
            self._detach()
            self.stopping.cancel_all()
        super().close()


class RunningServer:
    """A server in the event loop that runs, from ``async with`` to the end of its block.

    Guests and the tests of servers are run by it.
    """

    def __init__(
        self, application: Application, settings: Settings, timeout: float, *, carries: bool
    ) -> None:
        """Describe it; nothing is made before the block begins.

        Args:
            application: What is run.
            settings: The settings.
            timeout: Seconds that clients have at the end.
            carries: It may be reloaded, and may play a crash.
        """
        self._carries = carries
        self._application = application
        self._settings = settings
        self._timeout = timeout
        self._driver: AsyncioDriver | None = None
        self._ledger: Ledger | None = None

    @property
    def driver(self) -> AsyncioDriver:
        """What runs it.

        Raises:
            RuntimeError: The block has not begun, or has ended.
        """
        if self._driver is None:
            raise RuntimeError("the server does not run: it does in a 'with' block")
        return self._driver

    async def __aenter__(self) -> Self:
        """Make the engine, and run the start handler.

        Raises:
            RuntimeError: The application runs already.
        """
        self._driver = await self._started()
        return self

    async def _started(self, ledger: int | None = None) -> AsyncioDriver:
        driver = AsyncioDriver(self._application, self._settings, carries=self._carries)
        try:
            await driver.start()
            if ledger is not None:
                left = Handover(name="", socket="", listener=-1).carrying(ledger, ())
                carry_in(driver.engine, after_crash(left))
        except BaseException:
            driver.close()
            self._let_go_of_ledger()
            raise
        self._let_go_of_ledger()
        if self._carries:
            self._record(driver)
        return driver

    def _record(self, driver: AsyncioDriver) -> None:
        try:
            self._ledger = Ledger()
            driver.engine.record(self._ledger.descriptor)
        except OSError as error:
            logger.warning("no connection will outlive a crash: %s", error)

    def _let_go_of_ledger(self) -> None:
        if self._ledger is not None:
            self._ledger.let_go()
            self._ledger = None

    async def reload(self, application: Application, settings: Settings) -> None:
        """Go on with all connections as another image of the process would, which has this code.

        Whoever asked the application for its driver finds another one.

        Raises:
            BaseException: A start or stop handler has raised it, or there is no memory. Then the
                server has stopped, and all connections have been cut off.
        """
        before = self.driver
        await before.suspend(self._settings.stop_grace)
        descriptors: list[int] = []
        ledger = unshrinkable_file("connections")
        try:
            try:
                await before.finish()
                descriptors = before.carry_out(ledger)
            finally:
                self._driver = None
                before.close()
            self._application, self._settings = application, settings
            await self._start_again(ledger, descriptors)
        finally:
            os.close(ledger)

    async def crash(self, culprit: Connection | None) -> None:
        """Go on with what a crash of the process would have left; nothing ends in order before.

        Args:
            culprit: The connection whose handler has crashed; None: it was nobody's.

        Raises:
            ValueError: That one is over.
            RuntimeError: The connections are not written down: there was no memory for that.
            BaseException: The start handler has raised it, or there is no memory. Then the server
                has stopped, and all connections have been cut off.
        """
        before, ledger = self.driver, self._ledger
        descriptors = before.crash(culprit)
        assert ledger is not None
        try:
            await before.stopping.cut_off()
        except BaseException:
            _close(descriptors)
            raise
        finally:
            self._driver = None
            before.close()
        await self._start_again(ledger.descriptor, descriptors)

    async def _start_again(self, ledger: int, descriptors: Iterable[int]) -> None:
        try:
            self._driver = await self._started(ledger)
        except BaseException:
            _close(descriptors)
            raise

    async def __aexit__(self, *exception: object) -> None:
        """End all connections in order, and run the stop handler."""
        driver = self._driver
        if driver is None:
            return  # a reload has failed
        try:
            if not driver.engine.is_forked:  # otherwise its clients are its parent's
                await driver.shut_down(self._timeout)
                await driver.finish()
        finally:
            self._driver = None
            driver.close()
            self._let_go_of_ledger()


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)
