"""Coroutines that are begun in a callback of an event loop, as the engine's are."""

import asyncio
import gc
from collections.abc import Callable
from typing import Any

from dorrit.dispatch.eager_task import EagerStarter

Task = asyncio.Task[None]


def in_callback(
    function: Callable[[EagerStarter], Any], *, faults: list[dict[str, Any]] | None = None
) -> Any:
    """The result of a function that is called by an event loop, as the engine is."""

    async def main() -> Any:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: noted.append(context))
        result = loop.create_future()

        def call() -> None:
            try:
                result.set_result(function(EagerStarter(loop, "a name")))
            except BaseException as error:
                result.set_exception(error)
            assert asyncio.current_task() is None

        loop.call_soon(call)
        made = await result
        assert "call_soon" not in vars(loop)
        if isinstance(made, asyncio.Task):
            await asyncio.wait([made])
        gc.collect()
        return made

    noted: list[dict[str, Any]] = []
    made = asyncio.run(main())
    gc.collect()
    if faults is None:
        assert noted == []
    else:
        faults += noted
    return made


def current() -> Task:
    task = asyncio.current_task()
    assert task is not None
    return task


async def nothing() -> None:
    pass
