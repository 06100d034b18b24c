"""HandlerTasks: the tasks of `async` functions that are not a connection's worker."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

from dorrit.engine import Engine
from dorrit.engine.reports import Reports
from dorrit.raised import EXITS


class HandlerTasks:
    """Runs coroutines of the user's in the event loop that runs, and logs what they raise."""

    def __init__(self, engine: Engine, reports: Reports) -> None:
        """Begin without a task.

        Args:
            engine: Ends processes that a coroutine has forked.
            reports: Takes what the coroutines raise.
        """
        self._engine = engine
        self._reports = reports
        self._running: set[asyncio.Task[Any]] = set()
        self._cancelled: set[asyncio.Task[Any]] = set()

    def unfinished(self) -> set[asyncio.Task[Any]]:
        """Return the tasks that run: a copy."""
        return set(self._running)

    def cancel(self, tasks: Iterable[asyncio.Task[Any]]) -> None:
        """Cancel tasks in the server's name: their ends are not their functions' fault."""
        for task in tasks:
            self._cancelled.add(task)
            task.cancel()

    def is_by_server(self, error: BaseException) -> bool:
        """Tell whether this ends the current task because the server has cancelled it."""
        is_cancellation = issubclass(type(error), asyncio.CancelledError)
        return is_cancellation and asyncio.current_task() in self._cancelled

    def spawn(self, callback: str, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run what an `async` function has made.

        Args:
            callback: What the function is called in the log.
            coroutine: What it has made; it is closed if it never runs.
        """
        loop = asyncio.get_running_loop()

        async def run() -> None:
            mine = asyncio.current_task()
            try:
                await coroutine
            except EXITS as error:
                self._engine.check_process(callback, error)
                raise
            except BaseException as error:
                if asyncio.current_task(loop) is not mine:
                    raise  # GeneratorExit: it was left behind, and is closed by the interpreter
                self._engine.check_process(callback, error)
                if self.is_by_server(error):
                    raise
                self._reports.callback_raised(callback, error)
            else:
                self._engine.check_process(callback, None)

        running = run()
        try:
            task = loop.create_task(running)
        except BaseException:  # somebody's task factory
            running.close()
            coroutine.close()
            raise
        self._running.add(task)

        def ended(task: asyncio.Task[Any]) -> None:
            self._running.discard(task)
            self._cancelled.discard(task)
            coroutine.close()  # if it was cancelled before it began
            if not task.cancelled():
                task.exception()  # SystemExit: whoever runs the event loop gets it, too

        task.add_done_callback(ended)
        return task
