"""A ready task is like any other: who notices it, and who cancels it, finds a task of asyncio."""

import asyncio
import sys
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import ContextVar
from typing import Any

import pytest

from dorrit.dispatch.eager_task import EagerStarter
from tests.support.eager_tasks import Task, current, in_callback

variable: ContextVar[int] = ContextVar("variable")


# Whoever notices the task


kept: list[object] = []


def keep() -> None:
    kept.append(current())


def refer() -> None:
    kept.append(weakref.ref(current()))


def name() -> None:
    current().set_name("another")


def call_back() -> None:
    current().add_done_callback(lambda task: kept.append(task.done()))


def set_variable() -> None:
    variable.set(1)


def cancel() -> None:
    current().cancel()


def set_attribute() -> None:
    current().user = "somebody"  # type: ignore[attr-defined]


def keep_coroutine() -> None:
    kept.append(current().get_coro())


def look_at_context() -> None:
    if sys.version_info >= (3, 12):
        kept.append(current().get_context())
    else:
        keep()


NOTICES = [
    keep, refer, name, call_back, set_variable, cancel, set_attribute, keep_coroutine,
    look_at_context,
]  # fmt: skip


@pytest.mark.parametrize("notice", NOTICES)
@pytest.mark.parametrize("raises", [False, True])
def test_a_task_that_somebody_has_noticed_ends_and_the_next_has_another(
    notice: Callable[[], None], *, raises: bool
) -> None:
    seen: list[object] = []

    async def notices() -> None:
        notice()
        if raises:
            raise LookupError

    async def looks() -> None:
        task = current()
        user = getattr(task, "user", None)
        seen.append((variable.get(None), task.get_name(), task.cancelling(), user, task in kept))
        assert not any(one is task.get_coro() for one in kept)
        if sys.version_info >= (3, 12):
            assert not any(one is task.get_context() for one in kept)
        await asyncio.sleep(0)

    def call(begin: EagerStarter) -> Task | None:
        if raises:
            raised = begin(notices())
            assert raised is not None
            assert isinstance(raised.exception(), LookupError)
        else:
            assert begin(notices()) is None
        return begin(looks())

    kept.clear()
    task = in_callback(call)
    assert task.exception() is None
    assert seen == [(None, "a name", 0, None, False)]
    if notice is keep:
        (one,) = kept
        assert isinstance(one, asyncio.Task)
        assert one.done()
    elif notice is refer:
        (reference,) = kept
        assert isinstance(reference, weakref.ref)
        assert reference() is None
    elif notice is call_back:
        assert kept == [True]


# Cancellation


def test_one_that_is_cancelled_or_times_out_hears_of_it() -> None:
    seen = []

    async def waits() -> None:
        try:
            async with asyncio.timeout(0):
                await asyncio.sleep(60)
        except TimeoutError:
            seen.append("timeout")
        task = current()
        task.cancel()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")

    in_callback(lambda begin: begin(waits()))
    assert seen == ["timeout", "cancelled"]


class Yields:
    """Waits for something as only an event loop does."""

    def __init__(self, what: object) -> None:
        self.what = what

    def __await__(self) -> Generator[object, None, None]:
        yield self.what


class Stubborn(asyncio.Future[None]):
    """It does not let itself be cancelled."""

    def cancel(self, msg: object = None) -> bool:
        return False


def what_to_wait_for(what: str, made: list[Any]) -> Awaitable[object]:
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    if what == "a task":
        made.append(loop.create_task(asyncio.sleep(60)))
        return made[0]  # type: ignore[no-any-return]
    if what == "a future":
        made.append(future)
        return future
    if what == "the next turn":
        return asyncio.sleep(0)
    if what == "what is done":
        future.set_result(None)
        return Yields(future)
    if what == "what can't be cancelled":
        stubborn = Stubborn()
        loop.call_soon(stubborn.set_result, None)
        return stubborn
    if what == "another loop's":
        other = asyncio.new_event_loop()
        made.append(other.create_future())
        other.close()
        return made[0]  # type: ignore[no-any-return]
    if what == "a future, wrongly":
        made.append(future)
        return Yields(future)
    assert what == "no future"
    return Yields(5)


WAITS = [
    "a task", "a future", "the next turn", "what is done", "what can't be cancelled",
    "another loop's", "a future, wrongly", "no future",
]  # fmt: skip


# The others end by themselves, however much else the machine has to do.
WITHOUT_END = {"a task", "a future"}


@pytest.mark.parametrize("what", WAITS)
@pytest.mark.parametrize("times", [0, 1, 2])
@pytest.mark.parametrize("taken_back", [False, True])
def test_one_that_cancels_itself_and_then_waits_ends_as_in_a_task_of_asyncio(
    what: str, times: int, *, taken_back: bool
) -> None:
    def seen_by(begin: Callable[[Coroutine[Any, Any, None]], Task | None]) -> list[object]:
        seen: list[object] = []
        made: list[Any] = []

        async def waits() -> None:
            task = current()
            for _ in range(times):
                task.cancel("why")
            if taken_back and times > 0:
                task.uncancel()
            try:
                async with asyncio.timeout(0.01 if what in WITHOUT_END else 60):
                    await what_to_wait_for(what, made)
            except BaseException as error:
                # What else it may be says which task it was.
                seen.append(error.args if isinstance(error, asyncio.CancelledError) else None)
                seen.append((type(error), task.cancelling()))
                raise

        async def main() -> None:
            loop = asyncio.get_running_loop()
            begun: asyncio.Future[Task | None] = loop.create_future()
            loop.call_soon(lambda: begun.set_result(begin(waits())))
            task = await begun
            assert task is not None
            await asyncio.wait([task])
            seen.append((task.cancelled(), task.cancelling()))
            seen.append([one.cancelled() for one in made])
            if not task.cancelled():
                seen.append(type(task.exception()))

        asyncio.run(main())
        return seen

    def first_step(coroutine: Coroutine[Any, Any, None]) -> Task | None:
        return EagerStarter(asyncio.get_running_loop(), "a name")(coroutine)

    assert seen_by(first_step) == seen_by(asyncio.Task)
