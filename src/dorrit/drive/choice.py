"""Which loop an application runs in."""

from collections.abc import Callable

from dorrit.drive.application import Application
from dorrit.drive.driver import ServerLoop
from dorrit.drive.own_loop import OwnLoop
from dorrit.settings import Settings

LoopType = Callable[[Application, Settings], ServerLoop]
"""Makes what an application runs in."""


def loop_type(application: Application, settings: Settings) -> LoopType:
    """Return what an application runs in; asyncio is imported only if a function is `async`.

    To be called before privileges are dropped: its modules may lie where the server's user can't
    read them.

    Raises:
        StartError: The settings want an event loop that is not installed.
    """
    if not application.is_async:
        return OwnLoop
    from dorrit.drive.asyncio_loop import AsyncioLoop, loop_factory  # noqa: PLC0415 - see above

    loop_factory(settings.event_loop)
    return AsyncioLoop
