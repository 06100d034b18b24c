"""What `dorrit.testing` waits for, and errors that say what has not come."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final, TypeVar, TypeVarTuple

from dorrit.drive.choice import is_in_event_loop

SERVE_ASYNC: Final = "serve_async(app)"
CONNECT_ASYNC: Final = "connect_async(path)"
"""What there is where an event loop runs already."""

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")


@contextlib.asynccontextmanager
async def within(seconds: float, what: str) -> AsyncIterator[None]:
    """Give up after some seconds, with an error that says what has not come."""
    timer = asyncio.timeout(seconds)
    try:
        async with timer:
            yield
    except TimeoutError:
        if not timer.expired():
            raise
        raise TimeoutError(f"{what} within {seconds:g} s") from None


def run_async(
    runner: asyncio.Runner,
    function: Callable[[*Arguments], Coroutine[Any, Any, Result]],
    *arguments: *Arguments,
    instead: str,
) -> Result:
    """Call an `async` function where none can be awaited.

    Raises:
        RuntimeError: It can be awaited here, or rather what there is `instead`.
    """
    if is_in_event_loop():
        raise RuntimeError(
            "an event loop of asyncio runs here (an async test, a notebook): use 'async with "
            f"dorrit.testing.{instead}', and await what its methods return"
        )
    return runner.run(function(*arguments))


async def connected(path: str | os.PathLike[str]) -> socket.socket:
    """Connect to a socket.

    Raises:
        OSError: Nobody listens there; it names the path.
    """
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(0)
    try:
        await asyncio.get_running_loop().sock_connect(client, os.fspath(path))
    except OSError as error:
        client.close()
        if error.errno is None:  # a path that is too long for a socket
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from None
    except BaseException:
        client.close()
        raise
    return client
