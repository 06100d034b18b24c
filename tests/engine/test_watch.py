"""Foreign descriptors that the engine watches."""

import os
import threading
from collections.abc import Iterator

import pytest

from dorrit.engine import Engine
from tests.support.harness import Harness, LogRecords


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    yield reading, writing
    os.close(reading)
    os.close(writing)


def test_its_function_is_called_while_there_is_something_to_read(
    harness: Harness, pipe: tuple[int, int]
) -> None:
    calls: list[None] = []
    harness.engine.watch(pipe[0], lambda: calls.append(None))
    harness.engine.poll()
    assert calls == []
    os.write(pipe[1], b"x")
    harness.engine.poll()
    harness.engine.poll()
    assert len(calls) == 2
    os.read(pipe[0], 10)
    harness.engine.poll()
    assert len(calls) == 2
    harness.engine.unwatch(pipe[0])


def test_it_ends_the_sleep_of_the_loop(harness: Harness, pipe: tuple[int, int]) -> None:
    os.write(pipe[1], b"x")
    harness.engine.watch(pipe[0], harness.engine.stop)
    harness.engine.run()
    harness.engine.unwatch(pipe[0])


def test_a_loop_that_sleeps_is_woken_by_it(harness: Harness, pipe: tuple[int, int]) -> None:
    calls: list[bytes] = []

    def read() -> None:
        calls.append(os.read(pipe[0], 10))
        harness.engine.stop()

    harness.engine.watch(pipe[0], read)
    writer = threading.Timer(0.05, os.write, (pipe[1], b"x"))
    writer.start()
    harness.engine.run()
    writer.join()
    assert calls == [b"x"]
    harness.engine.unwatch(pipe[0])


def test_one_that_is_not_watched_any_more_is_left_alone(
    harness: Harness, pipe: tuple[int, int]
) -> None:
    def fail() -> None:
        raise AssertionError

    harness.engine.watch(pipe[0], fail)
    harness.engine.unwatch(pipe[0])
    harness.engine.unwatch(pipe[0])
    os.write(pipe[1], b"x")
    harness.engine.poll()
    harness.engine.watch(pipe[0], lambda: os.read(pipe[0], 10))
    harness.engine.poll()
    harness.engine.unwatch(pipe[0])


def test_it_may_be_given_up_in_a_function_of_the_same_turn(harness: Harness) -> None:
    pipes = [os.pipe(), os.pipe()]
    calls: list[None] = []

    def give_up() -> None:
        calls.append(None)
        for reading, _ in pipes:
            harness.engine.unwatch(reading)

    for reading, writing in pipes:
        os.write(writing, b"x")
        harness.engine.watch(reading, give_up)
    harness.engine.poll()
    harness.engine.poll()
    assert len(calls) == 1
    for ends in pipes:
        for end in ends:
            os.close(end)


def test_what_its_function_raises_is_logged_and_the_loop_goes_on(
    harness: Harness, pipe: tuple[int, int], log: LogRecords
) -> None:
    def fail() -> None:
        os.read(pipe[0], 10)
        raise ValueError("for the log")

    harness.engine.watch(pipe[0], fail)
    for _ in range(2):
        os.write(pipe[1], b"x")
        harness.engine.poll()
    assert "the function that watches a descriptor raised ValueError" in log.text
    harness.engine.unwatch(pipe[0])


def test_what_is_to_end_the_program_is_not_kept(harness: Harness, pipe: tuple[int, int]) -> None:
    def leave() -> None:
        raise SystemExit(3)

    os.write(pipe[1], b"x")
    harness.engine.watch(pipe[0], leave)
    with pytest.raises(SystemExit):
        harness.engine.poll()
    harness.engine.unwatch(pipe[0])


def test_one_descriptor_has_one_function(harness: Harness, pipe: tuple[int, int]) -> None:
    harness.engine.watch(pipe[0], lambda: None)
    with pytest.raises(ValueError, match="watched already"):
        harness.engine.watch(pipe[0], lambda: None)
    harness.engine.unwatch(pipe[0])


def test_what_cannot_be_watched_is_an_error(harness: Harness, pipe: tuple[int, int]) -> None:
    closed = os.dup(pipe[0])
    os.close(closed)
    with pytest.raises(OSError, match="descriptor"):
        harness.engine.watch(closed, lambda: None)
    harness.engine.watch(pipe[0], lambda: None)
    harness.engine.unwatch(pipe[0])


def test_it_is_watched_while_the_engine_shuts_down(harness: Harness, pipe: tuple[int, int]) -> None:
    calls: list[int] = []
    client = harness.open()
    harness.engine.watch(pipe[0], lambda: calls.append(len(os.read(pipe[0], 10))))
    os.write(pipe[1], b"x")
    harness.engine.shutdown(0.2)
    client.close()
    assert calls == [1]


def test_a_closed_engine_watches_nothing(pipe: tuple[int, int]) -> None:
    engine = Engine(on_open=lambda *_: None, on_message=print, on_close=print)
    engine.watch(pipe[0], print)
    engine.close()
    with pytest.raises(RuntimeError):
        engine.watch(pipe[0], print)
    engine.unwatch(pipe[0])
