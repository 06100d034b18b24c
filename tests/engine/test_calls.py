"""Calls of other threads, and of those who watch a descriptor, beside what test_watch shows."""

import threading

import pytest

from tests.support.harness import Harness, LogRecords


def test_calls_are_made_in_order_in_the_loops_thread_and_those_they_ask_for_next_time() -> None:
    calls: list[object] = []
    with Harness() as harness:
        soon = harness.engine.call_soon_threadsafe

        def again() -> None:
            calls.append(threading.current_thread())
            soon(calls.append, "next time")

        thread = threading.Thread(target=lambda: (soon(calls.append, "first"), soon(again)))
        thread.start()
        thread.join()
        harness.turn()
        assert calls == ["first", threading.main_thread()]
        harness.turn()
        assert calls[-1] == "next time"


def test_what_a_call_raises_is_logged_and_the_others_are_made(log: LogRecords) -> None:
    calls: list[int] = []
    with Harness() as harness:
        harness.engine.call_soon_threadsafe(int, "no number")
        harness.engine.call_soon_threadsafe(calls.append, 1)
        harness.turn()
    assert calls == [1]
    assert "invalid literal for int()" in log.text


def test_a_closed_engine_takes_no_calls() -> None:
    harness = Harness()
    harness.close()
    with pytest.raises(RuntimeError, match="the engine is closed"):
        harness.engine.call_soon_threadsafe(print)
