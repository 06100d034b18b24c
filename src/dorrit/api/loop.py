"""Loop: runs an application in the engine's own loop, in which no function is `async`."""

from collections.abc import Callable
from typing import Any

from dorrit.api.application import (
    Application,
    Gate,
    Handlers,
    is_async,
    verdict_of,
)
from dorrit.api.engine_settings import limits_of
from dorrit.engine import Connection, Engine, Timer
from dorrit.engine.reports import Reports
from dorrit.engine.results import check_result
from dorrit.protocol.handshake import Request
from dorrit.protocol.refusal import Refusal
from dorrit.settings import Settings


class Loop:
    """One run of an application: its engine, and the order of its callbacks.

    Attributes:
        engine: The engine. Whoever made the loop closes it, by `close`.
        reports: Takes what is to be logged.
        on_open, on_message, on_close: What the engine calls.
    """

    on_message: Callable[..., object]
    on_close: Callable[[Connection, int, str], object]

    def __init__(self, application: Application, settings: Settings) -> None:
        """Make the engine, which has no clients yet.

        Raises:
            StartError: A user that may connect does not exist.
            OSError: There is no descriptor or memory left.
        """
        self.application = application
        self.settings = settings
        self.handlers: Handlers = application.handlers
        self.gate: Gate = application.gate(settings)
        self._prepare()
        self.on_close = self.gate.limit.before(self.on_close)
        self.reports: Reports = Reports(access_log=settings.access_log)
        self.engine: Engine = Engine(
            on_open=self.on_open,
            on_message=self.on_message,
            on_close=self.on_close,
            limits=limits_of(settings),
            reports=self.reports,
            text_as_str=application.text_as_str,
            names=application.names,
        )

    def _prepare(self) -> None:
        """Choose what the engine calls. A handler is called without any detour."""
        self.on_message = self.handlers.message or _ignore
        self.on_close = self.handlers.close or _ignore

    def on_open(self, conn: Connection, request: Request) -> object:
        """Decide about a client."""
        answer = self.gate.check(conn, request)
        if answer is None and self.handlers.open is not None:
            try:
                answer = self.ask(conn)
            except BaseException:
                self.gate.limit.leave(conn)
                raise
        if answer is not None:
            self.gate.limit.leave(conn)
        return answer

    def ask(self, conn: Connection) -> Refusal | None:
        """Ask the open callback, which is plain."""
        assert self.handlers.open is not None
        return verdict_of(self.handlers.open, conn)

    # The life of a server

    def begin(self) -> None:
        """Make this the one loop that the application runs in.

        Raises:
            RuntimeError: It runs in another one.
        """
        if self.application.loop is not None:
            raise RuntimeError("the server runs already")
        self.application.loop = self

    def start(self) -> None:
        """Run the start callback and begin to call periodic functions; no client is there yet.

        What the callback raises goes to the caller.

        Raises:
            RuntimeError: The application runs already.
        """
        self.begin()
        if self.handlers.start is not None:
            check_result("on_start", self.handlers.start())
        self.application.start_periodic(self)

    def run(self) -> None:
        """Serve until `stop`."""
        self.engine.run()

    def stop(self) -> None:
        """Let `run` return soon, or what comes after it not wait; for signal handlers."""
        self.engine.stop()

    def shutdown(self, timeout: float) -> None:
        """End all connections (R27), in `timeout` seconds or at a second `stop`."""
        self.engine.shutdown(timeout)

    def finish(self) -> None:
        """Run the stop callback. What it raises goes to the caller."""
        if self.handlers.stop is not None:
            check_result("on_stop", self.handlers.stop())

    def close(self) -> None:
        """Cut off what is left, and free everything."""
        if self.application.loop is self:
            self.application.loop = None
        self.engine.close()

    # What the application asks for

    def every(self, seconds: float, function: Callable[[], object]) -> Timer:
        """Have `function()` called each time that many seconds have passed since the last call."""
        if is_async(function):
            raise RuntimeError("the server has no event loop: add async functions before it runs")
        return self.engine.every(seconds, function)

    def call_soon_threadsafe(self, function: Callable[..., object], *arguments: Any) -> None:  # noqa: ANN401
        """Have `function(*arguments)` called in the loop's thread, soon; from any thread."""
        if is_async(function):
            raise TypeError("the server has no event loop: none of its own functions is async")
        self.engine.call_soon_threadsafe(function, *arguments)


def _ignore(*_arguments: object) -> None:
    """Do nothing: the server does not want to hear of it."""


def loop_type(application: Application, settings: Settings) -> type[Loop]:
    """Return what an application runs in; asyncio is imported only if a function is `async`.

    To be called before privileges are dropped: its modules may lie where the server's user can't
    read them.

    Raises:
        StartError: The settings want an event loop that is not installed.
    """
    if not application.is_async:
        return Loop
    from dorrit.api.aio import RunningLoop, loop_factory  # noqa: PLC0415 - see above

    loop_factory(settings.event_loop)
    return RunningLoop
