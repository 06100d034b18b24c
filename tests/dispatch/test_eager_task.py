"""First steps of coroutines, with a task that is there for whoever needs it."""

import asyncio
import gc
import inspect
import sys
import traceback
from collections.abc import Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any

import pytest

from dorrit.dispatch.eager_task import EagerStarter
from tests.support.eager_tasks import Task, current, in_callback, nothing

variable: ContextVar[int] = ContextVar("variable")
kept: list[object] = []


def test_a_coroutine_that_waits_for_nothing_is_over_when_it_was_begun() -> None:
    assert in_callback(lambda begin: begin(nothing())) is None


def test_one_that_waits_goes_on_in_the_task_and_context_of_its_first_step() -> None:
    seen: list[object] = []

    async def waits() -> None:
        variable.set(1)
        seen.append(current())
        await asyncio.sleep(0.001)
        seen.append(current())
        seen.append(variable.get())

    def call(begin: EagerStarter) -> Task | None:
        task = begin(waits())
        assert task is not None
        assert not task.done()
        assert task in asyncio.all_tasks()
        assert task.get_name() == "a name"
        return task

    task = in_callback(call)
    assert task.done()
    assert seen == [task, task, 1]
    assert variable.get(None) is None


def test_one_that_only_lets_others_go_first_goes_on() -> None:
    seen = []

    async def waits() -> None:
        await asyncio.sleep(0)
        seen.append(current())
        await asyncio.sleep(0)
        seen.append(current())

    task = in_callback(lambda begin: begin(waits()))
    assert seen == [task, task]


def test_what_nobody_notices_is_used_again() -> None:
    seen: list[int] = []

    async def looks() -> None:
        seen.append(id(current()))

    async def waits() -> None:
        seen.append(id(current()))
        await asyncio.sleep(0)

    def call(begin: EagerStarter) -> Task | None:
        for _ in range(3):
            assert begin(looks()) is None
        return begin(waits())

    task = in_callback(call)
    assert seen == [id(task)] * 4


def test_each_has_a_copy_of_the_context_in_which_they_were_prepared() -> None:
    seen = []

    async def sets(value: int) -> None:
        seen.append(variable.get(None))
        variable.set(value)

    def call(begin: EagerStarter) -> None:
        variable.set(3)
        begin(sets(1))
        begin(sets(2))
        EagerStarter(asyncio.get_running_loop(), "others")(sets(4))
        assert variable.get(None) == 3

    in_callback(call)
    assert seen == [None, None, 3]


def test_a_context_in_which_nothing_was_set_is_used_again() -> None:
    seen: list[int] = []

    async def looks() -> None:
        seen.append(id(current()))
        assert variable.get() == 3

    def call(_: EagerStarter) -> None:
        variable.set(3)
        begin = EagerStarter(asyncio.get_running_loop(), "a name")
        assert begin(looks()) is None
        assert begin(looks()) is None

    in_callback(call)
    assert len(set(seen)) == 1


def test_a_context_without_any_variable_is_used_again_as_long_as_none_is_set() -> None:
    seen: list[int] = []

    async def looks() -> None:
        seen.append(id(current()))

    def call(begin: EagerStarter) -> None:
        assert len(copy_context()) == 0
        assert begin(looks()) is None
        assert begin(looks()) is None
        assert len(set(seen)) == 1
        assert begin(sets()) is None
        assert begin(sets()) is None

    async def sets() -> None:
        assert variable.get(None) is None
        variable.set(1)

    Context().run(in_callback, call)


def test_a_value_that_equals_the_one_before_is_another_one() -> None:
    anything: ContextVar[dict[str, str]] = ContextVar("anything")
    first: dict[str, str] = {}
    seen = []

    async def sets() -> None:
        seen.append(anything.get() is first)
        anything.set({})

    def call(_: EagerStarter) -> None:
        anything.set(first)
        begin = EagerStarter(asyncio.get_running_loop(), "a name")
        assert begin(sets()) is None
        assert begin(sets()) is None

    in_callback(call)
    assert seen == [True, True]


def test_what_it_raises_is_in_its_task_or_ends_the_program() -> None:
    tasks = []

    async def leaves(error: BaseException) -> None:
        tasks.append(current())
        raise error

    def call(begin: EagerStarter) -> None:
        with pytest.raises(SystemExit):
            begin(leaves(SystemExit(3)))
        assert isinstance(tasks[-1].exception(), SystemExit)
        for error in (LookupError(), GeneratorExit(), BaseException()):
            task = begin(leaves(error))
            assert task is tasks[-1]
            assert task is not None
            assert task.exception() is error
        assert begin(nothing()) is None

    in_callback(call)


def test_what_it_raises_and_nobody_asks_for_is_reported() -> None:
    async def fails() -> None:
        raise LookupError

    def call(begin: EagerStarter) -> None:
        begin(fails())

    faults: list[dict[str, Any]] = []
    in_callback(call, faults=faults)
    assert [fault["message"] for fault in faults] == ["ReadyTask exception was never retrieved"]


def test_within_a_task_they_become_tasks_that_begin_later() -> None:
    seen = []

    async def inner() -> None:
        seen.append(current())

    async def main() -> None:
        begin = EagerStarter(asyncio.get_running_loop(), "inner")
        task = begin(inner())
        assert task is not None
        assert task.get_name() == "inner"
        await task
        assert seen == [task]
        assert current() is not task

    asyncio.run(main())


def test_one_may_begin_another() -> None:
    seen: list[Task] = []

    async def inner() -> None:
        seen.append(current())

    def call(begin: EagerStarter) -> Task | None:
        async def outer() -> None:
            task = begin(inner())
            assert task is not None
            await task
            assert seen == [task]
            assert current() is not task

        return begin(outer())

    assert in_callback(call).exception() is None


def test_what_is_ready_is_not_among_the_tasks_to_be_ended() -> None:
    def call(begin: EagerStarter) -> None:
        before = asyncio.all_tasks()
        assert begin(nothing()) is None
        assert asyncio.all_tasks() == before
        forgotten.append(begin)

    forgotten: list[EagerStarter] = []
    in_callback(call)


def test_a_task_that_is_forgotten_while_it_waits_is_complained_of() -> None:
    async def waits() -> None:
        await asyncio.get_running_loop().create_future()

    def call(begin: EagerStarter) -> bool:
        return begin(waits()) is not None

    faults: list[dict[str, Any]] = []
    assert in_callback(call, faults=faults) is True
    assert [fault["message"] for fault in faults] == ["Task was destroyed but it is pending!"]


def state_of(task: Task) -> str:
    coroutine: Any = task.get_coro()
    return inspect.getcoroutinestate(coroutine)


def test_who_looks_at_a_task_sees_its_coroutine() -> None:
    seen = []

    async def waits() -> None:
        seen.append(state_of(current()))
        await asyncio.sleep(0.001)
        seen.append(state_of(current()))

    def call(begin: EagerStarter) -> Task | None:
        task = begin(waits())
        assert task is not None
        assert state_of(task) == inspect.CORO_SUSPENDED
        assert "waits() running at" in repr(task)
        assert "await asyncio.sleep(0.001)" in traceback.format_stack(task.get_stack()[0])[-1]
        return task

    task = in_callback(call)
    assert seen == [inspect.CORO_RUNNING] * 2
    assert state_of(task) == inspect.CORO_CLOSED


def test_a_coroutine_can_be_closed_by_way_of_its_task() -> None:
    closed = []

    async def waits() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            closed.append(True)

    def call(begin: EagerStarter) -> Task | None:
        task = begin(waits())
        assert task is not None
        coroutine = task.get_coro()
        assert isinstance(coroutine, Coroutine)
        coroutine.close()
        assert closed == [True]
        task.cancel()
        return task

    in_callback(call)


def test_what_a_task_ran_that_has_ended_can_be_closed_again() -> None:
    async def keeps() -> None:
        kept[:] = [current()]

    in_callback(lambda begin: begin(keeps()))
    (task,) = kept
    assert isinstance(task, asyncio.Task)
    coroutine = task.get_coro()
    assert isinstance(coroutine, Coroutine)
    coroutine.close()
    assert task.done()
    awaited: object = coroutine.__await__()
    assert awaited is coroutine
    kept.clear()


def test_what_a_finalizer_asks_for_while_a_task_is_made_is_not_lost() -> None:
    called: list[str] = []

    async def says() -> None:
        called.append("the coroutine")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        get_debug = loop.get_debug

        def ask_for_a_call() -> bool:
            # A task asks the loop for this while it is made, as a finalizer may be run then.
            if asyncio.current_task() is None and "asked" not in called:
                called.append("asked")
                loop.call_soon(called.append, "the finalizer's")
            return get_debug()

        def call() -> None:
            loop.get_debug = ask_for_a_call  # type: ignore[method-assign]
            EagerStarter(loop, "a name")(says())
            loop.get_debug = get_debug  # type: ignore[method-assign]
            loop.call_soon(done.set_result, None)

        loop.call_soon(call)
        await done

    asyncio.run(main())
    assert called == ["asked", "the coroutine", "the finalizer's"]


def test_a_call_soon_of_somebody_in_the_loop_stays_there() -> None:
    called = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        call_soon = loop.call_soon

        def patched(function: Any, *arguments: Any, **options: Any) -> asyncio.Handle:
            called.append(function)
            return call_soon(function, *arguments, **options)

        def call() -> None:
            begin = EagerStarter(loop, "a name")
            loop.call_soon = patched  # type: ignore[method-assign]
            assert begin(nothing()) is None
            assert vars(loop)["call_soon"] is patched
            assert called == []
            del vars(loop)["call_soon"]
            done.set_result(None)

        loop.call_soon(call)
        await done

    asyncio.run(main())


def test_a_finalizer_may_begin_a_coroutine_while_a_task_is_made() -> None:
    seen: list[str] = []

    async def says(word: str) -> None:
        seen.append(word)
        await asyncio.sleep(0)
        seen.append(word)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        get_debug = loop.get_debug
        begin = EagerStarter(loop, "a name")
        tasks = []

        def begin_another() -> bool:
            loop.get_debug = get_debug  # type: ignore[method-assign]
            tasks.append(begin(says("inner")))
            loop.call_soon(seen.append, "cancelled").cancel()
            return get_debug()

        def call() -> None:
            loop.get_debug = begin_another  # type: ignore[method-assign]
            tasks.append(begin(says("outer")))
            assert "call_soon" not in vars(loop)
            done.set_result(None)

        loop.call_soon(call)
        await done
        for task in tasks:
            assert task is not None
            await task

    asyncio.run(main())
    assert seen == ["inner", "outer", "inner", "outer"]


def test_what_can_not_be_made_is_made_for_the_next_one() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        def refuse() -> bool:
            raise MemoryError

        def call() -> None:
            begin = EagerStarter(loop, "a name")
            get_debug = loop.get_debug
            loop.get_debug = refuse  # type: ignore[method-assign]
            coroutine = nothing()
            with pytest.raises(MemoryError):
                begin(coroutine)
            assert "call_soon" not in vars(loop)
            loop.get_debug = get_debug  # type: ignore[method-assign]
            done.set_result(begin(coroutine))

        loop.call_soon(call)
        assert await done is None

    asyncio.run(main())


def test_nothing_is_left_of_thousands() -> None:
    async def waits() -> None:
        await asyncio.sleep(0)

    async def raises() -> None:
        raise LookupError

    async def keeps() -> None:
        kept[:] = [current()]

    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        begin = EagerStarter(loop, "a name")

        def call() -> None:
            begin(nothing())
            begin(waits())
            begin(keeps())
            begin(raises()).exception()  # type: ignore[union-attr]

        blocks = []
        for _ in range(4):
            for _ in range(1000):
                loop.call_soon(call)
            await asyncio.sleep(0)  # in which they are called
            while len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110 - it is over in some turns
                await asyncio.sleep(0)
            gc.collect()
            blocks.append(sys.getallocatedblocks())
        return blocks

    counts = asyncio.run(main())
    kept.clear()
    assert len(counts) == 4
    # The first thousand leave what is made once.
    assert counts[-1] - counts[1] < 100, counts
