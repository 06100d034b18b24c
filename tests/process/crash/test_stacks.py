"""Threads whose stack overflows (R28)."""

import _thread
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dorrit.process.crash import _crash, stacks
from tests.process.crash.restarting import CRASHED, Starter, line_of

WAYS = [
    "overflow_in_thread",
    "overflow_in_thread_of_a_subclass",
    "overflow_in_to_thread",
    "overflow_in_executor",
    "overflow_in_bare_thread",
    "overflow_in_thread_that_blocks_signals",
]


@pytest.fixture
def start(directory: Path) -> Iterator[Starter]:
    starter = Starter(directory)
    yield starter
    starter.close()


@pytest.mark.parametrize("way", WAYS)
def test_R28_an_overflow_of_a_threads_stack_restarts_the_server(start: Starter, way: str) -> None:
    server = start()
    for restarts in (1, 2):
        server.crash(f"{way}()")
        assert server.restarts == restarts
    assert len(server.logged(f"{CRASHED}SIGSEGV")) == 2
    assert server.log.count(line_of("stack_overflow", "_stack_overflow()")) == 2
    assert server.errors == ""


def test_R28_a_thread_from_before_the_preparation_is_covered_as_well(start: Starter) -> None:
    early = (
        "server.now = threading.Event()\nthreading.Thread(daemon=True, target=lambda: "
        "(server.now.wait(), stack_overflow())).start()"
    )
    server = start("--init", early)
    server.crash("server.now.set(); threading.Event().wait()")
    assert server.restarts == 1
    assert line_of("stack_overflow", "_stack_overflow()") in server.log


def mappings() -> int:
    return len(Path("/proc/self/maps").read_text().splitlines())


def test_a_thread_gives_its_stack_back_when_it_ends() -> None:
    before = 0
    with stacks.covered_threads():
        for round_ in range(110):
            thread = threading.Thread(target=int)
            thread.start()
            thread.join()
            if round_ == 9:
                before = mappings()
    assert mappings() < before + 50


def test_a_thread_that_has_a_stack_keeps_it() -> None:
    said: list[int] = []

    def look() -> None:
        _crash.use_stack()
        said.append(_crash.give_stack())

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert said == [0]
    _crash.take_stack(0)


def test_what_starts_threads_is_afterwards_what_it_was_before() -> None:
    before = threading.Thread._bootstrap, _thread.start_new_thread  # type: ignore[attr-defined]
    with stacks.covered_threads():
        during = threading.Thread._bootstrap, _thread.start_new_thread  # type: ignore[attr-defined]
        assert during[0] is not before[0]
        assert during[1] is not before[1]
        done = threading.Event()
        _thread.start_new_thread(lambda word, *, other: done.set(), ("a",), {"other": "b"})
        assert done.wait(60)
        with pytest.raises(TypeError, match="must be callable"):
            _thread.start_new_thread(1, ())  # type: ignore[call-overload]
    after = threading.Thread._bootstrap, _thread.start_new_thread  # type: ignore[attr-defined]
    assert after == before
