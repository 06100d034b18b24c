"""What an event loop of asyncio still runs when it is to end: what to call it, and how it ends."""

import asyncio
import gc
import logging
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, Final

logger: logging.Logger = logging.getLogger("dorrit")

PACKAGE: Final = Path(__file__).parents[1]

LEFT: Final[list[asyncio.Task[Any]]] = []
"""Tasks that do not end. They are kept until the interpreter ends: what is forgotten is closed by
it, and a coroutine that refuses even that would hold up the process before its files are gone."""

NAMES_MAX: Final = 10
"""Functions that are named in one record."""


def names_of(tasks: Iterable[asyncio.Task[Any]]) -> str:
    """Say what tasks run, for the log: functions, and where they wait."""
    counted = Counter(map(_name_of, tasks)).most_common()
    names = [name if count == 1 else f"{name}, {count} times" for name, count in counted]
    more = len(names) - NAMES_MAX
    return "; ".join([*names[:NAMES_MAX], *([f"and {more} others"] if more > 0 else [])])


def _name_of(task: asyncio.Task[Any]) -> str:
    # What the library itself awaits is of no interest, but the first function that is not ours.
    coroutine: Any = task.get_coro()
    while coroutine is not None:
        code = getattr(coroutine, "cr_code", None)
        frame = getattr(coroutine, "cr_frame", None)
        if code is not None and frame is not None and not _is_ours(code.co_filename):
            return f"{coroutine.__qualname__} ({code.co_filename}:{frame.f_lineno})"
        coroutine = getattr(coroutine, "cr_await", None)
        if type(coroutine).__name__ == "coroutine_wrapper":
            # Python's own, around what one of Cython awaits. It has no attribute for that.
            coroutine = next(iter(gc.get_referents(coroutine)), None)
    return task.get_name()


def _is_ours(file: str) -> bool:
    return file.endswith(".pyx") or Path(file).is_relative_to(PACKAGE)


async def end_tasks(known: Collection[asyncio.Task[Any]], seconds: float) -> None:
    """Cancel all tasks of the event loop that runs, but for the one that calls this.

    As asyncio's own runner does; but it waits for what does not end.

    Args:
        known: Those that have been cancelled, and named, before.
        seconds: What they have.
    """
    loop = asyncio.get_running_loop()
    tasks = asyncio.all_tasks() - {asyncio.current_task(), *known}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=seconds)
    for task in tasks:
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            context = {"message": "a task has raised at the end", "exception": error, "task": task}
            loop.call_exception_handler(context)
    if left := [task for task in tasks if not task.done()]:
        logger.error("%d tasks go on though they were cancelled: %s", len(left), names_of(left))
    generators = asyncio.ensure_future(loop.shutdown_asyncgens())
    await asyncio.wait({generators}, timeout=seconds)
    if not generators.done():
        logger.error("asynchronous generators have not ended")
    for task in {*left, *known, generators}:
        if not task.done():
            # Otherwise asyncio says once more, in its own words, that they were pending.
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001 - there is no other way
            LEFT.append(task)
