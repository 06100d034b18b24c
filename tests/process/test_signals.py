"""The signals that stop a server (R27)."""

import contextlib
import os
import signal
from collections.abc import Iterator

import pytest

from dorrit.process.signals import stop_signals
from tests.support.children import run_python


@pytest.fixture
def wakeup() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    yield reading, writing
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_R27_each_signal_calls_stop_and_writes_a_byte(
    wakeup: tuple[int, int], number: signal.Signals
) -> None:
    reading, writing = wakeup
    calls: list[None] = []
    with stop_signals(lambda: calls.append(None), writing):
        signal.raise_signal(number)
        assert len(calls) == 1
        assert os.read(reading, 100) == bytes([number])
        signal.raise_signal(number)
        assert len(calls) == 2
        assert os.read(reading, 100) == bytes([number])


def test_R27_other_signals_are_left_alone(wakeup: tuple[int, int]) -> None:
    others = set(signal.valid_signals()) - {signal.SIGTERM, signal.SIGINT}
    before = {number: signal.getsignal(number) for number in others}
    with stop_signals(lambda: None, wakeup[1]):
        assert {number: signal.getsignal(number) for number in others} == before


def test_R27_afterwards_all_is_as_it_was(wakeup: tuple[int, int]) -> None:
    def mine(number: int, frame: object) -> None:
        raise AssertionError

    other_reading, other_writing = os.pipe()
    os.set_blocking(other_writing, False)
    before = signal.signal(signal.SIGTERM, mine), signal.getsignal(signal.SIGINT)
    descriptor = signal.set_wakeup_fd(other_writing)
    try:
        with contextlib.suppress(ZeroDivisionError), stop_signals(lambda: None, wakeup[1]):
            assert signal.getsignal(signal.SIGTERM) is not mine
            raise ZeroDivisionError
        assert signal.getsignal(signal.SIGTERM) is mine
        assert signal.getsignal(signal.SIGINT) is before[1]
    finally:
        signal.signal(signal.SIGTERM, before[0])
        now = signal.set_wakeup_fd(descriptor)
        os.close(other_reading)
        os.close(other_writing)
    assert now == other_writing


def test_R27_a_full_pipe_is_no_error(wakeup: tuple[int, int]) -> None:
    _, writing = wakeup
    for size in (65536, 1):
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writing, b"x" * size)
    calls: list[None] = []
    with stop_signals(lambda: calls.append(None), writing):
        signal.raise_signal(signal.SIGTERM)
    assert len(calls) == 1


def test_R27_a_signal_that_was_ignored_when_the_process_started_stops_it_too() -> None:
    # As with nohup, or in the background of a shell that has no job control.
    told = run_python(
        """
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        with signals.stop_signals(lambda: print("stop"), writing):
            signal.raise_signal(signal.SIGINT)
        print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)
        """
    )
    assert told == "stop\nTrue\n"
