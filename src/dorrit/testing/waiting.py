"""What `dorrit.testing` waits for, and errors that say what has not come."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final, TypeVar

SERVE_ASYNC: Final = "serve_async(app)"
CONNECT_ASYNC: Final = "connect_async(path)"
"""What there is where an event loop runs already."""

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
    function: Callable[..., Coroutine[Any, Any, Result]],
    *arguments: Any,  # noqa: ANN401 - the function's
    instead: str,
) -> Result:
    """Call an `async` function where none can be awaited.

    Raises:
        RuntimeError: It can be awaited here, or rather what there is `instead`.
    """
    if asyncio._get_running_loop() is not None:  # noqa: SLF001 - it is public
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
    client.setblocking(False)  # noqa: FBT003 - socket's interface
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
