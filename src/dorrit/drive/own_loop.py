"""OwnLoop: runs an application in the engine's own loop, in which no function is `async`."""

from dorrit.dispatch.dispatcher import Dispatcher
from dorrit.drive.application import Application
from dorrit.drive.driver import Driver
from dorrit.settings import Settings


class OwnLoop(Driver):
    """Runs an application without an event loop. It is a `ServerLoop`."""

    def __init__(
        self, application: Application, settings: Settings, *, carries: bool = True
    ) -> None:
        """Make the engine, which has no clients yet; see `Driver`."""
        self._dispatcher: Dispatcher = application.dispatcher()
        super().__init__(application, settings, self._dispatcher, carries=carries)

    def start(self) -> None:
        """Run the start handler and begin to call periodic functions; no client is there yet.

        What the handler raises goes to the caller.

        Raises:
            RuntimeError: The application runs already.
        """
        self.begin()
        self._dispatcher.start()
        self.application.start_periodic(self)

    def run(self) -> None:
        """Serve until `stop`."""
        self.engine.run()

    def stop(self) -> None:
        """Let `run` return soon, or what comes after it not wait; for signal handlers."""
        self.engine.stop()

    def interrupt(self) -> None:
        """Let `run` return soon, though nobody has told the server to stop; from a turn."""
        self.engine.stop()

    def suspend(self, _grace: float) -> None:
        """Do nothing: no handler runs between two turns."""

    def shutdown(self, timeout: float) -> None:
        """End all connections (R27), in `timeout` seconds or at a second `stop`."""
        self.engine.shutdown(timeout)

    def finish(self) -> None:
        """Run the stop handler. What it raises goes to the caller."""
        self._dispatcher.stop()
