"""The event loop of asyncio, with the engine's one descriptor in it."""

import asyncio
import concurrent.futures.thread  # noqa: F401 - what asyncio imports only when it is used
import contextlib
import importlib
import inspect
import logging
import time
from collections.abc import Callable, Collection, Coroutine, Iterable
from typing import Any, Final

from dorrit.api.application import Application, async_verdict_of, is_async
from dorrit.api.lanes import Lanes
from dorrit.api.leftovers import end_tasks, names_of
from dorrit.api.loop import Loop
from dorrit.engine import PENDING, Connection, Timer
from dorrit.engine.results import check_result
from dorrit.errors import StartError
from dorrit.process import children
from dorrit.process.leaving import end_child
from dorrit.protocol.handshake import Request
from dorrit.protocol.refusal import (
    OPEN_CALLBACK_RAISED,
    OPEN_CALLBACK_TIMEOUT,
    STOPPING,
    Refusal,
    refusal,
)
from dorrit.raised import EXITS
from dorrit.settings import Settings

logger: logging.Logger = logging.getLogger("dorrit")

OPEN_TIMEOUT: Final = 10.0
"""Seconds for an `async` open callback."""

LAST_WORDS: Final = 1.0
"""Seconds for a callback to end when it was cancelled; after a second `stop`, for all together."""

LAST_TURNS: Final = 0.05
"""Seconds that it has when they are over: what ends as soon as it is cancelled does so in them."""


class AsyncLoop(Loop):
    """Runs an application in an event loop of asyncio that somebody else runs."""

    on_message: Callable[..., object]
    on_close: Callable[[Connection, int, str], object]

    def _prepare(self) -> None:
        handlers = self.handlers
        self._asks_async = is_async(handlers.open)
        self._lanes = Lanes(
            handlers.message,
            handlers.close,
            self.settings.max_waiting,
            self.settings.buffer_size,
        )
        if is_async(handlers.message):
            self.on_message = self._lanes.take_message
            self.on_close = self._lanes.take_close
        else:
            super()._prepare()
            if is_async(handlers.close):
                self.on_close = self._lanes.take_close
        self._after_close = self.on_close
        self.on_close = self._close
        self._tasks: set[asyncio.Task[Any]] = set()
        self._rooms: dict[Connection, list[asyncio.Future[None]]] = {}
        self._opening: dict[Connection, asyncio.Task[None]] = {}
        self._timer: asyncio.Handle | None = None
        self._child_turn: asyncio.Handle | None = None
        self._due = 0.0
        self._stops = 0
        self._hurried_until: float | None = None
        self._cancelled: set[asyncio.Task[Any]] = set()
        self._left: set[asyncio.Task[Any]] = set()
        self._failure: BaseException | None = None

    # In the event loop

    def attach(self) -> None:
        """Let the engine have its turns in the event loop that runs."""
        self._aio = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        self._hurried = asyncio.Event()
        self._emptied = asyncio.Event()
        self._lanes.connect(self.engine, self.reports)
        self.engine.join_loop(
            self._drain,
            self._has_room_again,
            self._lanes.begin,
            self._lanes.is_busy,
            end_child,
            self._forget,
        )
        self._aio.add_reader(self.engine.fileno(), self._turn)
        children.hold(self)
        self._arm()

    def detach(self) -> None:
        """Take the engine out of the event loop."""
        self._aio.remove_reader(self.engine.fileno())
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _turn(self) -> None:
        try:
            self.engine.poll()
        except EXITS:
            # A callback's own. The event loop may go on, and the engine then has to be woken.
            self._arm()
            raise
        except BaseException as error:  # noqa: BLE001 - it is raised where the server is run
            # The engine can't go on. The event loop would log that, and turn for ever.
            self._failure = error
            self._aio.remove_reader(self.engine.fileno())
            self._stopped.set()
            return
        if self.engine.connections == 0:
            self._emptied.set()
        self._arm()

    def _arm(self) -> None:
        """Wake the engine in time. A timer that is too early does no harm, and is not replaced."""
        timeout = self.engine.timeout()
        if timeout is None:
            return
        due = self._aio.time() + timeout
        if self._timer is not None:
            if self._due <= due:
                return
            self._timer.cancel()
        # uvloop returns no TimerHandle for what is due at once, which could be asked when it is.
        self._due = due
        self._timer = self._aio.call_at(due, self._due_turn)

    def _due_turn(self) -> None:
        self._timer = None
        self._turn()

    # Callbacks

    def on_open(self, conn: Connection, request: Request) -> object:
        """Decide about a client; `PENDING` if the open callback is `async`."""
        if not self._asks_async:
            return super().on_open(conn, request)
        answer = self.gate.check(conn, request)
        if answer is not None:
            return answer
        try:
            self._opening[conn] = self._spawn("open", self._open(conn))
        except BaseException:  # somebody's task factory
            self.gate.limit.leave(conn)
            raise
        return PENDING

    async def _open(self, conn: Connection) -> None:
        answer: Refusal | None
        assert self.handlers.open is not None
        timeout = asyncio.timeout(OPEN_TIMEOUT)
        try:
            if self._aio.get_task_factory() is not None:
                # A task of Python 3.12's eager factory would answer before the engine knows of it.
                await asyncio.sleep(0)
            async with timeout:
                answer = await async_verdict_of(self.handlers.open, conn)
        except EXITS as error:
            self.engine.check_process("open", error)
            self._answer(conn, refusal(*STOPPING))
            raise
        except BaseException as error:
            if asyncio.current_task(self._aio) is None:
                raise  # GeneratorExit: it was left behind, and is closed by the interpreter
            answer = self._answer_to(conn, error, timeout)
        self.engine.check_process("open", None)
        self._answer(conn, answer)

    def _answer_to(
        self, conn: Connection, error: BaseException, timeout: asyncio.Timeout
    ) -> Refusal:
        """Say what becomes of a client whose open callback has raised."""
        if timeout.expired() and issubclass(type(error), TimeoutError):
            return refusal(*OPEN_CALLBACK_TIMEOUT)
        if self._is_ours(error):
            return refusal(*STOPPING)
        self.engine.check_process("open", error)
        self.reports.callback_raised("open", error, conn)
        return refusal(*OPEN_CALLBACK_RAISED)

    def _is_ours(self, error: BaseException) -> bool:
        """Tell whether this is the cancellation of a callback by the server."""
        is_cancellation = issubclass(type(error), asyncio.CancelledError)
        return is_cancellation and asyncio.current_task(self._aio) in self._cancelled

    def _answer(self, conn: Connection, answer: Refusal | None) -> None:
        del self._opening[conn]
        if answer is not None:
            self.gate.limit.leave(conn)
        self.engine.answer(conn, answer)
        if not conn.is_open:
            self._has_room_again(conn)  # a client that is refused has no close callback

    def _forget(self, conn: Connection | None) -> None:
        """Let go of what waits for a connection that is closed, since there is too much of it."""
        opening = None if conn is None else self._opening.get(conn)
        if opening is not None:
            self._cancelled.add(opening)
            opening.cancel()
        self._lanes.forget(conn)

    def _close(self, conn: Connection, code: int, reason: str) -> object:
        if self._rooms:
            self._has_room_again(conn)
        return self._after_close(conn, code, reason)

    def _drain(self, conn: Connection) -> Coroutine[Any, Any, None]:
        # It would wait for itself. Others may wait: what they send is written when it has returned.
        opening = self._opening.get(conn)
        if opening is not None and opening is asyncio.current_task():
            raise RuntimeError(
                "drain() has nothing to wait for in the open handler: what that sends is written "
                "when it has returned; send the rest from a task that it makes "
                "(asyncio.create_task), or when the first message comes"
            )
        return self._wait_for_room(conn)

    async def _wait_for_room(self, conn: Connection) -> None:
        if self.engine.has_room(conn):
            return
        room = self._aio.create_future()
        self._rooms.setdefault(conn, []).append(room)
        self.engine.want_room(conn)
        await room

    def _has_room_again(self, conn: Connection) -> None:
        for room in self._rooms.pop(conn, ()):
            if not room.done():
                room.set_result(None)

    def _spawn(self, callback: str, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run what an `async` callback has made, and log what it raises."""

        async def run() -> None:
            mine = asyncio.current_task()
            try:
                await coroutine
            except EXITS as error:
                self.engine.check_process(callback, error)
                raise
            except BaseException as error:
                if asyncio.current_task(self._aio) is not mine:
                    raise  # GeneratorExit: it was left behind, and is closed by the interpreter
                self.engine.check_process(callback, error)
                if self._is_ours(error):
                    raise
                self.reports.callback_raised(callback, error)
            else:
                self.engine.check_process(callback, None)

        running = run()
        try:
            task = self._aio.create_task(running)
        except BaseException:  # somebody's task factory
            running.close()
            coroutine.close()
            raise
        self._tasks.add(task)

        def ended(task: asyncio.Task[Any]) -> None:
            self._tasks.discard(task)
            self._cancelled.discard(task)
            coroutine.close()  # if it was cancelled before it began
            if not task.cancelled():
                task.exception()  # SystemExit: whoever runs the event loop gets it, too

        task.add_done_callback(ended)
        return task

    # What the application asks for

    def every(self, seconds: float, function: Callable[[], object]) -> Timer:
        """Have `function()` called periodically; an `async` one when its last call is over."""
        if not is_async(function):
            return self.engine.every(seconds, function)
        running: asyncio.Task[Any] | None = None

        def call() -> None:
            nonlocal running
            if not self._stops and (running is None or running.done()):
                result: Any = function()
                running = self._spawn("periodic", result)

        return self.engine.every(seconds, call)

    def call_soon_threadsafe(self, function: Callable[..., object], *arguments: Any) -> None:  # noqa: ANN401
        """Have `function(*arguments)` called in the loop's thread, plain or `async`."""
        self.engine.call_soon_threadsafe(self._call, function, arguments)

    def _call(self, function: Callable[..., object], arguments: Iterable[Any]) -> None:
        result = function(*arguments)
        if inspect.iscoroutine(result):
            self._spawn("call_soon_threadsafe", result)
        else:
            check_result("the function of call_soon_threadsafe", result)

    # The life of a server

    async def astart(self) -> None:
        """Run the start callback and begin to call periodic functions; no client is there yet."""
        self.begin()
        if self.handlers.start is not None:
            await self._run("start", self.handlers.start)
        self.application.start_periodic(self)

    async def arun(self) -> None:
        """Serve until `stop`."""
        await self._stopped.wait()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Let `arun` return soon, or what comes after it not wait; for signal handlers."""
        with contextlib.suppress(RuntimeError):  # it is closed: it has stopped
            self.engine.call_soon_threadsafe(self._told_to_stop)

    def _told_to_stop(self) -> None:
        self._stops += 1
        self._stopped.set()
        if self._stops > 1 and not self._hurried.is_set():
            self._hurried.set()
            self._hurried_until = time.monotonic() + LAST_WORDS

    async def ashutdown(self, seconds: float) -> None:
        """End all connections in order (R27).

        No message is read any more, and the callbacks that run get the grace period; then they are
        cancelled. Clients are told, what is queued is written, within so many seconds. The close
        callbacks have a grace period, too. A second `stop` ends each wait, and so does a
        cancellation.
        """
        try:
            await self._shut_down(seconds)
        except asyncio.CancelledError:
            self._hurried.set()
            self.engine.end_shutdown()
            await self._finish_tasks()
            raise

    async def _shut_down(self, seconds: float) -> None:
        self._stops = max(self._stops, 1)
        self.engine.stop_listening()
        self._lanes.stop_reading()
        for conn in self.engine.all_connections():
            self.engine.pause(conn)
        await self._finish_tasks()
        if self._failure is None:
            self.engine.begin_shutdown()
            self._emptied.clear()
            self._turn()
            await self._within(seconds, self._emptied.wait())
        self.engine.end_shutdown()
        await self._finish_tasks()

    async def _within(self, seconds: float, what: Coroutine[Any, Any, Any]) -> None:
        """Wait for something, for some seconds at most, or until told to hurry."""
        tasks = {asyncio.ensure_future(what), asyncio.ensure_future(self._hurried.wait())}
        try:
            await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _finish_tasks(self) -> None:
        end = time.monotonic() + self.settings.stop_grace
        # One that ends may be followed by another: the close callback by that of a message.
        while tasks := self._running() - self._left:
            left = end - time.monotonic()
            if left <= 0 or self._hurried.is_set():
                break
            await self._within(left, _wait(tasks))
        if not tasks:
            return
        await self._cancel(tasks)

    async def _cancel(self, tasks: Collection[asyncio.Task[Any]]) -> None:
        """Cancel callbacks, and leave those that do not end; they are named."""
        logger.warning(
            "%d async callbacks have not ended in time, and are cancelled: %s",
            len(tasks),
            names_of(tasks),
        )
        self._cancelled.update(tasks)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=self._last_words())
        if left := [task for task in tasks if not task.done()]:
            self._left.update(left)
            logger.error(
                "%d async callbacks go on though they were cancelled: %s", len(left), names_of(left)
            )

    def _last_words(self) -> float:
        """Seconds for what is cancelled."""
        if self._hurried_until is None:
            return LAST_WORDS
        return max(min(LAST_WORDS, self._hurried_until - time.monotonic()), LAST_TURNS)

    def _running(self) -> set[asyncio.Task[Any]]:
        return {*self._lanes.tasks(), *self._tasks}

    async def afinish(self) -> None:
        """Run the stop callback. What it raises goes to the caller."""
        if self.handlers.stop is not None:
            await self._run("stop", self.handlers.stop)

    async def _run(self, callback: str, function: Callable[[], Any]) -> None:
        """Call a plain or an `async` callback; a process that it has forked ends with it."""
        error: BaseException | None = None
        try:
            await _run(f"on_{callback}", function)
        except BaseException as raised:
            error = raised
            raise
        finally:
            self.engine.check_process(callback, error)

    def let_go(self) -> None:
        """Have a process that was forked in a task end when it comes back to the event loop."""
        with contextlib.suppress(RuntimeError):  # the loop's debugging: another thread has forked
            self._child_turn = self._aio.call_soon(self._turn)

    def close(self) -> None:
        """Cut off what is left, and free everything."""
        if self._child_turn is not None:
            # It has left the server in order, and may do in the event loop what it likes.
            self._child_turn.cancel()
        # A process that was forked has the same poller in its event loop: it must not take the
        # server out of that.
        if hasattr(self, "_aio") and not self._aio.is_closed() and not self.engine.is_forked:
            self.detach()
            for task in self._running():
                self._cancelled.add(task)
                task.cancel()
        super().close()


async def _wait(tasks: Iterable[asyncio.Task[Any]]) -> None:
    await asyncio.wait(tasks)


async def _run(callback: str, function: Callable[[], Any]) -> None:
    """Call a plain or an `async` callback."""
    result = function()
    if is_async(function):
        await result
    else:
        check_result(callback, result)


class RunningLoop(AsyncLoop):
    """Runs an application in an event loop of its own."""

    def __init__(self, application: Application, settings: Settings) -> None:
        """Make the event loop and the engine.

        Raises:
            StartError: The settings want an event loop that is not installed.
        """
        factory = loop_factory(settings.event_loop)
        super().__init__(application, settings)
        # It is never closed: that waits, without a bound, for all tasks and for all threads.
        self._runner = asyncio.Runner(loop_factory=factory)
        self._starting: asyncio.Task[Any] | None = None

    def start(self) -> None:
        """Begin to serve nobody yet; see `astart`.

        Raises:
            StartError: It was told to stop, and the start callback did not end in the grace period.
        """
        self._runner.run(self._attach_and_start())

    async def _attach_and_start(self) -> None:
        self.attach()
        self._starting = asyncio.current_task()
        try:
            await self.astart()
        except asyncio.CancelledError:
            if not self._stops:
                raise
            raise StartError("told to stop before it was ready: on_start was cancelled") from None
        finally:
            self._starting = None

    def _told_to_stop(self) -> None:
        super()._told_to_stop()
        if self._starting is not None:
            grace = 0 if self._hurried.is_set() else self.settings.stop_grace
            self._aio.call_later(grace, self._cancel_start)

    def _cancel_start(self) -> None:
        if self._starting is not None and not self._starting.cancelling():
            name = names_of([self._starting])
            logger.warning("on_start has not ended in time, and is cancelled: %s", name)
            self._starting.cancel()

    def run(self) -> None:
        """Serve until `stop`."""
        self._runner.run(self.arun())

    def shutdown(self, timeout: float) -> None:
        """End all connections; see `ashutdown`."""
        self._runner.run(self.ashutdown(timeout))

    def finish(self) -> None:
        """Run the stop callback. What it raises goes to the caller.

        An `async` one has the grace period. A second `stop` leaves it what it leaves all others.
        """
        self._runner.run(self._finish_in_time())

    async def _finish_in_time(self) -> None:
        task = asyncio.ensure_future(self.afinish())
        if self._hurried.is_set():
            # It is begun all the same, and has something to free, maybe.
            await asyncio.wait({task}, timeout=self._last_words())
        else:
            await self._within(max(self.settings.stop_grace, LAST_WORDS), _wait({task}))
        if task.done():
            task.result()
            return
        await self._cancel({task})
        if task.done() and not task.cancelled():
            task.result()

    def close(self) -> None:
        """Cut off what is left, cancel the tasks that are left, and free everything.

        Threads are left to whoever ends the process: an executor's end is not waited for.
        """
        super().close()
        if not hasattr(self, "_aio"):
            return
        try:
            self._runner.run(end_tasks(self._left, self._last_words()))
        finally:
            asyncio.set_event_loop(None)
            self._aio.close()


def loop_factory(event_loop: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes event loops; None is asyncio's own.

    Args:
        event_loop: As the setting: ``auto`` (uvloop if it is installed), ``asyncio``, ``uvloop``.

    Raises:
        StartError: It is not installed.
    """
    if event_loop == "asyncio":
        return None
    try:
        uvloop = importlib.import_module("uvloop")
    except ImportError:
        if event_loop == "auto":
            return None
        raise StartError(
            "--event-loop uvloop: it is not installed; run 'pip install uvloop', or leave this out"
        ) from None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
