"""Application: a server's own functions, and what the engine asks of them. Both APIs make one."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from dorrit.api.client_limit import ClientLimit
from dorrit.api.reject import Reject, refusal_of
from dorrit.engine import Connection
from dorrit.engine.callback_names import HANDLERS, CallbackNames
from dorrit.engine.results import check_result
from dorrit.protocol.handshake import Request
from dorrit.protocol.origin import Origins
from dorrit.protocol.refusal import OPEN_CALLBACK_REFUSED, Refusal, origin_refused, refusal
from dorrit.settings import Settings

if TYPE_CHECKING:
    from dorrit.api.loop import Loop

PERIOD_MAX: Final = 1e9
"""Seconds; what the engine's clock takes."""


@dataclass(slots=True)
class Handlers:
    """The functions of a server that it has, plain or `async`.

    Attributes:
        start: Called as `start()` before the first client is taken.
        stop: Called as `stop()` when the last one has gone.
        open: Called as `open(conn)`; refuses by returning False or raising a Reject.
        message: Called as `message(conn, message)`, or `message(conn, binary, payload)` if the
            application is not `text_as_str`.
        close: Called as `close(conn, code, reason)`.
    """

    start: Callable[..., Any] | None = None
    stop: Callable[..., Any] | None = None
    open: Callable[..., Any] | None = None
    message: Callable[..., Any] | None = None
    close: Callable[..., Any] | None = None


@dataclass(frozen=True, slots=True)
class Periodic:
    """A function that is to be called periodically."""

    seconds: float
    function: Callable[[], object]


def is_async(function: object) -> bool:
    """Tell whether calling this makes a coroutine, as an `async def` does."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an instance with an async __call__
    )


def is_generator(function: object) -> bool:
    """Tell whether calling this only makes a generator: its body would never run."""
    return any(
        inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one)
        for one in (function, getattr(function, "__call__", None))  # noqa: B004 - as above
    )


class Application:
    """What runs in a server.

    Attributes:
        name: What it calls itself, or None (R13).
        file: Where it is defined, or None.
        defaults: Settings that its code has given, which the command line overrides.
        handlers: Its functions.
        text_as_str: Messages are str or bytes. Otherwise a flag and bytes.
        names: What the log calls its functions.
        periodic: What is to be called periodically.
        loop: What it runs in, while it does.
    """

    text_as_str = True
    names: CallbackNames = HANDLERS

    def __init__(self, name: str | None = None, defaults: Mapping[str, Any] | None = None) -> None:
        """Make one without functions.

        Args:
            name: Its name; `check_name` has seen it.
            defaults: Checked settings.
        """
        self.name = name
        self.file: str | None = None
        self.defaults: Mapping[str, Any] = {} if defaults is None else defaults
        self.handlers: Handlers = Handlers()
        self.loop: Loop | None = None
        self.periodic: list[Periodic] = []

    # Before and after everything else

    def check(self) -> str | None:
        """Return what the log shall say of a likely mistake, or None.

        Raises:
            StartError: It can't be meant like this.
        """
        return None

    def init(self, config_file: str | None) -> None:
        """Do what comes before privileges are dropped and the process becomes a daemon."""

    def exit(self) -> None:
        """Do what comes last, also when the server could not start after `init`."""

    # What it is made of

    def add_periodic(self, seconds: float, function: Callable[[], object]) -> None:
        """Have `function()` called each time that many seconds have passed since the last call."""
        if self.loop is not None:
            self.loop.every(seconds, function)
        self.periodic.append(Periodic(seconds, function))

    def start_periodic(self, loop: "Loop") -> None:
        """Begin to call the periodic functions, in the loop that it runs in."""
        for periodic in self.periodic:
            loop.every(periodic.seconds, periodic.function)

    @property
    def is_async(self) -> bool:
        """Whether one of its functions is `async`, so that it needs an event loop of asyncio."""
        functions = [getattr(self.handlers, field.name) for field in fields(Handlers)]
        functions += [periodic.function for periodic in self.periodic]
        return any(is_async(function) for function in functions if function is not None)

    def gate(self, settings: Settings) -> "Gate":
        """Return what decides about clients before the open callback does."""
        return Gate(settings)


class Gate:
    """What the settings say about a client that wants in."""

    def __init__(self, settings: Settings) -> None:
        """Take the settings `origin` and `trust`."""
        self._trust = settings.trust
        self._origins = Origins(settings.origin) if settings.origin else None
        self.limit: ClientLimit = ClientLimit(settings.max_per_client)

    def check(self, conn: Connection, request: Request) -> Refusal | None:
        """Return why a client is refused; or None, and it is counted until ``limit.leave``."""
        request.trust(self._trust)
        if self._origins is not None and not self._origins.allows(request.origin, request.host):
            return origin_refused(request.origin, request.host, same=self._origins.accepts_same)
        return self.limit.enter(conn, request.client)


def verdict_of(function: Callable[..., Any], conn: Connection) -> Refusal | None:
    """Ask a plain open callback about a client."""
    try:
        return answer_of(function(conn))
    except Reject as reject:
        return refusal_of(reject)


async def async_verdict_of(function: Callable[..., Any], conn: Connection) -> Refusal | None:
    """Ask an `async` open callback about a client."""
    try:
        return answer_of(await function(conn))
    except Reject as reject:
        return refusal_of(reject)


def answer_of(verdict: object) -> Refusal | None:
    """Return what an open callback's result means: False refuses, True and None accept.

    Raises:
        TypeError: It is something else, such as a coroutine that nobody awaits.
    """
    if verdict is False:
        return refusal(*OPEN_CALLBACK_REFUSED)
    if verdict is None or verdict is True:
        return None
    check_result("on_open", verdict)
    if isinstance(verdict, Reject):
        raise TypeError("the open callback returned a Reject: raise it")
    raise TypeError(
        f"the open callback returned a {type(verdict).__name__}: True or None accepts the client, "
        "False refuses it"
    )
