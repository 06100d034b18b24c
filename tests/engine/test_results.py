"""What callbacks return: what shows that they have not run, and what does not matter."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from dorrit.api.functions import CALLBACK_NAMES
from dorrit.engine.callback_names import HANDLERS, CallbackNames
from dorrit.engine.results import check_result
from tests.support.frames import TEXT, frame
from tests.support.harness import Harness, LogRecords


async def coroutine() -> None:
    raise AssertionError("it never runs")


def generator() -> Iterator[None]:
    yield


async def async_generator() -> AsyncIterator[None]:
    yield


class Awaited:
    def __await__(self) -> Iterator[None]:
        yield


class Whatever:
    pass


@pytest.mark.parametrize("result", [None, True, 5, "x", b"x", [], object(), Whatever(), Whatever])
def test_what_does_not_matter(result: object) -> None:
    check_result("on_message", result)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (coroutine, "on_message has returned a coroutine, which nobody awaits: declare"),
        (Awaited, "on_message has returned an awaitable, which nobody awaits: declare"),
        (generator, "on_message has returned a generator, which nobody runs: .* no `yield`"),
        (async_generator, "on_message has returned a generator, which nobody runs"),
    ],
)
def test_what_nobody_runs_is_an_error(make: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        check_result("on_message", make())


def test_a_coroutine_is_closed() -> None:
    result = coroutine()
    with pytest.raises(TypeError, match="it can't be async"):
        check_result("ws_exit_func", result, may_be_async=False)
    assert inspect.getcoroutinestate(result) == inspect.CORO_CLOSED


def test_a_task_gets_on_by_itself() -> None:
    async def main() -> None:
        task = asyncio.create_task(asyncio.sleep(0))
        check_result("on_message", task)
        check_result("on_message", asyncio.get_running_loop().create_future())
        await task

    asyncio.run(main())


class SecondIsLost(Harness):
    """Its second message is for a coroutine that nobody awaits."""

    def _on_message(self, *arguments: Any) -> Any:
        self.messages.append(arguments[-1])
        return coroutine() if len(self.messages) == 2 else True


@pytest.mark.parametrize("text_as_str", [False, True])
@pytest.mark.parametrize("names", [HANDLERS, CALLBACK_NAMES])
def test_a_message_that_nobody_has_handled_closes_the_connection_with_1011(
    names: CallbackNames, text_as_str: bool, log: LogRecords
) -> None:
    with SecondIsLost(text_as_str=text_as_str, names=names) as harness:
        client = harness.open()
        client.send(frame(TEXT, b"a") + frame(TEXT, b"b") + frame(TEXT, b"c"))
        harness.until(lambda: client.ended)
        assert len(harness.messages) == 2
        assert client.frames[-1].code == 1011
        assert [code for _, code, _ in harness.closed] == [1011]
    assert f"{names.message} has returned a coroutine" in log.text
    assert ("async def" in log.text) is names.may_be_async
