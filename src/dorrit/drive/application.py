"""Application: what a driver has to know of that which it runs, whoever has written it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, TypeVarTuple

from dorrit.dispatch.dispatcher import AsyncDispatcher, Dispatcher
from dorrit.dispatch.lifecycle import Admission
from dorrit.engine import Engine, Timer
from dorrit.engine.callback_names import CallbackNames
from dorrit.settings import Settings

Arguments = TypeVarTuple("Arguments")


class Listener(NamedTuple):
    """A function that hears what is published to a topic."""

    topic: str
    function: Callable[[str, str | bytes], object]


class Running(Protocol):
    """What an application may ask of the driver that runs it.

    Attributes:
        engine: The engine.
        settings: The settings with which it runs.
    """

    engine: Engine
    settings: Settings

    def every(self, seconds: float, function: Callable[[], object]) -> Timer:
        """Have `function()` called each time that many seconds have passed since the last call."""
        ...

    def listen_to_topic(self, listener: Listener) -> None:
        """Call a function for each message that is published to its topic."""
        ...

    def call_soon_threadsafe(
        self, function: Callable[[*Arguments], object], *arguments: *Arguments
    ) -> None:
        """Have `function(*arguments)` called in the loop's thread, soon; from any thread."""
        ...


class Application(Protocol):
    """What is run.

    Attributes:
        name: What it calls itself, or None.
        file: Where it is defined, or None.
        defaults: Settings that its code has given, which the command line overrides.
        text_as_str: Messages are str or bytes. Otherwise a flag and bytes.
        names: What the log calls its functions.
        listeners: Functions that hear what is published.
        driver: What runs it, while it runs.
    """

    name: str | None
    file: str | None
    defaults: Mapping[str, Any]
    text_as_str: bool
    names: CallbackNames
    listeners: list[Listener]
    driver: Running | None

    @property
    def is_async(self) -> bool:
        """Whether it needs an event loop of asyncio."""
        ...

    def check(self) -> str | None:
        """Return what the log shall say of a likely mistake, or None.

        Raises:
            StartError: It can't be meant like this.
        """
        ...

    def init(self) -> None:
        """Do what comes before privileges are dropped and the process becomes a daemon."""
        ...

    def exit(self) -> None:
        """Do what comes last, also when the server could not start after `init`."""
        ...

    def start_periodic(self, driver: Running) -> None:
        """Begin to call what is to be called periodically."""
        ...

    def admission(self, settings: Settings) -> Admission:
        """Return what decides about clients before its own functions do."""
        ...

    def dispatcher(self) -> Dispatcher:
        """Return what calls its functions, of which none is `async`."""
        ...

    def async_dispatcher(self, settings: Settings) -> AsyncDispatcher:
        """Return what calls its functions in an event loop of asyncio."""
        ...
