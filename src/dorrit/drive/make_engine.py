"""Makes the engine: the one place that knows all that an engine can be told to call."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from dorrit.dispatch.dispatcher import AsyncDispatcher
from dorrit.dispatch.lifecycle import Lifecycle
from dorrit.drive.engine_settings import limits_of
from dorrit.engine import Engine
from dorrit.engine.callback_names import CallbackNames
from dorrit.engine.reports import Reports
from dorrit.process.exit.forked import end_child
from dorrit.settings import Settings

if TYPE_CHECKING:
    from dorrit.dispatch.room import Room  # only servers in asyncio load it


def make_engine(
    settings: Settings,
    lifecycle: Lifecycle,
    on_message: Callable[..., object],
    reports: Reports,
    names: CallbackNames,
    *,
    text_as_str: bool,
    carries: bool,
) -> Engine:
    """Make the engine that calls these functions, as the settings say.

    Args:
        settings: The settings.
        lifecycle: Hears of connections that begin, go on and end.
        on_message: Called for each message.
        reports: Takes what is to be logged.
        names: What the log calls the functions.
        text_as_str: Messages are str or bytes. Otherwise a flag and bytes.
        carries: Connections may outlive the process's image.

    Raises:
        StartError: A user that may connect does not exist.
        OSError: There is no descriptor or memory left.
    """
    return Engine(
        on_open=lifecycle.opened,
        on_message=on_message,
        on_close=lifecycle.closed,
        limits=limits_of(settings),
        reports=reports,
        text_as_str=text_as_str,
        names=names,
        on_resume=lifecycle.resumed,
        on_subscribed=lifecycle.subscribed,
        carries=carries,
    )


def join_event_loop(engine: Engine, dispatcher: AsyncDispatcher, room: "Room") -> None:
    """Have an engine serve in an event loop of asyncio, with what only an `async` user needs."""
    from dorrit.dispatch.confirmation import subscribed  # only servers in asyncio load it

    engine.join_loop(
        room.drain,
        room.again,
        dispatcher.messages,
        dispatcher.max_waiting,
        dispatcher.is_busy,
        end_child,
        dispatcher.forget,
        dispatcher.unhandled,
        dispatcher.due,
        subscribed,
    )
