"""Which loop an application runs in."""

import sys
from collections.abc import Callable

from dorrit.drive.application import Application
from dorrit.drive.driver import ServerLoop
from dorrit.drive.own_loop import OwnLoop
from dorrit.settings import Settings


def is_in_event_loop() -> bool:
    """Tell whether an event loop of asyncio runs in this thread; asyncio need not be loaded."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return False
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


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
    from dorrit.drive.asyncio_loop import AsyncioLoop, loop_factory

    loop_factory(settings.event_loop)
    return AsyncioLoop
