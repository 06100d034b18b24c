"""AsyncioLoop: runs an application in an event loop of its own."""

import asyncio
import importlib
from collections.abc import Callable

from dorrit.drive.application import Application
from dorrit.drive.asyncio_driver import AsyncioDriver
from dorrit.drive.tasks import end_tasks
from dorrit.engine import Engine
from dorrit.errors import StartError
from dorrit.settings import Settings


class AsyncioLoop:
    """An event loop that runs one application. It is a `ServerLoop`.

    Attributes:
        driver: Runs the application in it.
        engine: The driver's.
    """

    def __init__(self, application: Application, settings: Settings) -> None:
        """Make the event loop and the engine.

        Raises:
            StartError: The settings want an event loop that is not installed.
        """
        factory = loop_factory(settings.event_loop)
        self.driver: AsyncioDriver = AsyncioDriver(application, settings, carries=True)
        self.engine: Engine = self.driver.engine
        # It is never closed: that waits, without a bound, for all tasks and for all threads.
        self._runner = asyncio.Runner(loop_factory=factory)
        self._event_loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Begin to serve nobody yet; see `AsyncioDriver.start`."""
        self._event_loop = self._runner.get_loop()
        self._runner.run(self.driver.start())

    def run(self) -> None:
        """Serve until `stop` or `interrupt`."""
        self._runner.run(self.driver.run())

    def stop(self) -> None:
        """Let `run` return soon, or what comes after it not wait; for signal handlers."""
        self.driver.stop()

    def interrupt(self) -> None:
        """Let `run` return soon, though nobody has told the server to stop; from a turn."""
        self.driver.interrupt()

    def shutdown(self, timeout: float) -> None:
        """End all connections; see `Stopping.shut_down`."""
        self._runner.run(self.driver.shut_down(timeout))

    def suspend(self, grace: float) -> None:
        """Begin no `async` handler any more; wait for those that run; see `Stopping.suspend`."""
        self._runner.run(self.driver.suspend(grace))

    def finish(self) -> None:
        """Run the stop handler, an `async` one within the grace period.

        If connections are to go on in the next image of the process, all other tasks end here, too:
        what they send is still sent.
        """
        stopping = self.driver.stopping
        try:
            self._runner.run(stopping.finish_in_time(self.driver.finish()))
        finally:
            if stopping.suspended:
                self._end_tasks()

    def close(self) -> None:
        """Cut off what is left, cancel the tasks that are left, and free everything.

        Threads are left to whoever ends the process: an executor's end is not waited for.
        """
        self.driver.close()
        if self._event_loop is None:
            return
        try:
            self._end_tasks()
        finally:
            asyncio.set_event_loop(None)
            self._event_loop.close()

    def _end_tasks(self) -> None:
        stopping = self.driver.stopping
        self._runner.run(end_tasks(stopping.left, stopping.cancelled_grace()))


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
