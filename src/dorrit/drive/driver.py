"""Driver: one run of an application, and what each kind of it has in common."""

from collections.abc import Callable
from typing import Protocol, TypeVarTuple

from dorrit.dispatch.callables import is_async
from dorrit.dispatch.dispatcher import Events
from dorrit.dispatch.lifecycle import Lifecycle, Observer
from dorrit.drive.application import Application, Listener
from dorrit.drive.make_engine import make_engine
from dorrit.engine import Engine, Timer
from dorrit.engine.reports import Reports
from dorrit.settings import Settings

Arguments = TypeVarTuple("Arguments")


class Driver:
    """One run of an application: its engine, and the dispatcher that calls its functions.

    Attributes:
        application: What it runs.
        settings: The settings with which it runs.
        engine: The engine. Whoever made the driver closes it, by `close`.
        reports: Takes what is to be logged.
        lifecycle: What begins and ends with each connection.
    """

    def __init__(
        self,
        application: Application,
        settings: Settings,
        dispatcher: Events,
        *observers: Observer,
        carries: bool,
    ) -> None:
        """Make the engine, which has no clients yet.

        Args:
            application: What is to be run.
            settings: The settings.
            dispatcher: Calls the application's functions.
            *observers: Are told of the end of each connection, after those of its admission.
            carries: Connections may outlive the process's image.

        Raises:
            StartError: A user that may connect does not exist.
            OSError: There is no descriptor or memory left.
        """
        self.application = application
        self.settings = settings
        names = application.names
        self.reports: Reports = Reports(access_log=settings.access_log, names=names)
        self.lifecycle: Lifecycle = Lifecycle(
            dispatcher, application.admission(settings), observers, self.reports
        )
        self.engine: Engine = make_engine(
            settings,
            self.lifecycle,
            dispatcher.message,
            self.reports,
            names,
            text_as_str=application.text_as_str,
            carries=carries,
        )

    def begin(self) -> None:
        """Make this the one driver of the application.

        Raises:
            RuntimeError: It has another one.
        """
        if self.application.driver is not None:
            raise RuntimeError("the server runs already")
        for listener in self.application.listeners:
            self.listen_to_topic(listener)
        self.application.driver = self

    def close(self) -> None:
        """Cut off what is left, and free everything."""
        if self.application.driver is self:
            self.application.driver = None
        self.engine.close()

    # What the application asks for

    def every(self, seconds: float, function: Callable[[], object]) -> Timer:
        """Have `function()` called each time that many seconds have passed since the last call."""
        if is_async(function):
            raise RuntimeError("the server has no event loop: add async functions before it runs")
        return self.engine.every(seconds, function)

    def listen_to_topic(self, listener: Listener) -> None:
        """Call a function for each message that is published to its topic."""
        if is_async(listener.function):
            raise RuntimeError("the server has no event loop: add async functions before it runs")
        self.engine.listen_to_topic(*listener)

    def call_soon_threadsafe(
        self, function: Callable[[*Arguments], object], *arguments: *Arguments
    ) -> None:
        """Have `function(*arguments)` called in the loop's thread, soon; from any thread."""
        if is_async(function):
            raise TypeError("the server has no event loop: none of its own functions is async")
        self.engine.call_soon_threadsafe(function, *arguments)


class ServerLoop(Protocol):
    """The loop of a process that is a server, step by step, each to its end.

    Attributes:
        engine: The engine.
    """

    engine: Engine

    def start(self) -> None:
        """Run the start handler and begin to call periodic functions; no client is there yet."""
        ...

    def run(self) -> None:
        """Serve until `stop`."""
        ...

    def stop(self) -> None:
        """Let `run` return soon, or what comes after it not wait; for signal handlers."""
        ...

    def interrupt(self) -> None:
        """Let `run` return soon, though nobody has told the server to stop; from a turn."""
        ...

    def suspend(self, grace: float) -> None:
        """Come to rest, with all connections, for the next image of the process.

        No `async` handler is begun any more; those that run have so many seconds, and are cancelled
        then. After it comes `finish`, and `Engine.carry_out`.
        """
        ...

    def shutdown(self, timeout: float) -> None:
        """End all connections in order, in `timeout` seconds or at a second `stop`."""
        ...

    def finish(self) -> None:
        """Run the stop handler. What it raises goes to the caller."""
        ...

    def close(self) -> None:
        """Cut off what is left, and free everything."""
        ...
