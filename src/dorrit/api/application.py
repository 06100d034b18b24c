"""Application: a server's own functions, and what runs them asks of them. Both APIs make one."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any, Final, NamedTuple

from dorrit.api.admission import Admission, async_verdict_of, verdict_of
from dorrit.api.resumption import resumption_of
from dorrit.dispatch.callables import is_async
from dorrit.dispatch.direct import Direct
from dorrit.dispatch.dispatcher import AsyncDispatcher, Dispatcher
from dorrit.dispatch.handlers import Handlers
from dorrit.drive.application import Listener, Running
from dorrit.engine.callback_names import HANDLERS, CallbackNames
from dorrit.settings import Settings

PERIOD_MAX: Final = 1e9
"""Seconds; what the engine's clock takes."""


class Periodic(NamedTuple):
    """A function that is to be called periodically."""

    seconds: float
    function: Callable[[], object]


class Application:
    """What runs in a server; see `dorrit.drive.application`.

    Attributes:
        name: What it calls itself, or None (R13).
        file: Where it is defined, or None.
        defaults: Settings that its code has given, which the command line overrides.
        handlers: Its functions.
        text_as_str: Messages are str or bytes. Otherwise a flag and bytes.
        names: What the log calls its functions.
        periodic: What is to be called periodically.
        listeners: What hears what is published.
        driver: What runs it, while it runs.
    """

    text_as_str: bool = True
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
        self.driver: Running | None = None
        self.periodic: list[Periodic] = []
        self.listeners: list[Listener] = []

    # Before and after everything else

    def check(self) -> str | None:
        """Return what the log shall say of a likely mistake, or None.

        Raises:
            StartError: It can't be meant like this.
        """
        return None

    def init(self) -> None:
        """Do what comes before privileges are dropped and the process becomes a daemon."""

    def exit(self) -> None:
        """Do what comes last, also when the server could not start after `init`."""

    # What it is made of

    def add_periodic(self, seconds: float, function: Callable[[], object]) -> None:
        """Have `function()` called each time that many seconds have passed since the last call."""
        if self.driver is not None:
            self.driver.every(seconds, function)
        self.periodic.append(Periodic(seconds, function))

    def add_listener(self, listener: Listener) -> None:
        """Call a function for each message that is published to its topic."""
        if self.driver is not None:
            self.driver.listen_to_topic(listener)
        self.listeners.append(listener)

    def start_periodic(self, driver: Running) -> None:
        """Begin to call the periodic functions."""
        for periodic in self.periodic:
            driver.every(periodic.seconds, periodic.function)

    @property
    def is_async(self) -> bool:
        """Whether one of its functions is `async`, so that it needs an event loop of asyncio."""
        functions = [getattr(self.handlers, field.name) for field in fields(Handlers)]
        functions += [periodic.function for periodic in self.periodic]
        functions += [listener.function for listener in self.listeners]
        return any(is_async(function) for function in functions if function is not None)

    # How it is called

    def admission(self, settings: Settings) -> Admission:
        """Return what decides about clients before the open handler does."""
        return Admission(settings)

    def dispatcher(self) -> Dispatcher:
        """Return what calls its functions, of which none is `async`."""
        return Direct(self._dispatched(), resumption_of(self.handlers))

    def async_dispatcher(self, settings: Settings) -> AsyncDispatcher:
        """Return what calls its functions in an event loop of asyncio."""
        from dorrit.dispatch.asyncio_handlers import AsyncioHandlers

        return AsyncioHandlers(
            self._dispatched(),
            resumption_of(self.handlers),
            settings.max_waiting,
            settings.buffer_size,
        )

    def _dispatched(self) -> Handlers:
        """Return its functions as a dispatcher takes them: the open handler gives a verdict."""
        handlers = self.handlers
        if handlers.open is None:
            return handlers
        verdict = async_verdict_of if is_async(handlers.open) else verdict_of
        return replace(handlers, open=functools.partial(verdict, handlers.open))


def check_name(name: str) -> None:
    """Look whether a server can have a name (R13).

    Raises:
        TypeError: It is not a str.
        ValueError: It is empty, or has a slash or a NUL character in it.
    """
    if not isinstance(name, str):
        raise TypeError(f"a server's name is a str, not {type(name).__name__}")
    if not name or "/" in name or "\0" in name:
        raise ValueError(
            f"{name!r} can't be a server's name: it must not be empty, nor have / or NUL in it"
        )
