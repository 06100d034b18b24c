"""A connection is the server's thread's alone, and who does not know is told (O6)."""

import threading
from collections.abc import Callable

import pytest

from dorrit.engine import Connection, broadcast, queue_message
from tests.support.harness import Harness

CALLS: dict[str, Callable[[Connection], object]] = {
    "send": lambda conn: conn.send("x"),
    "broadcast": lambda conn: broadcast([conn], "x"),
    "ws_write_conn": lambda conn: queue_message(conn, True, b"x"),
    "close": lambda conn: conn.close(),
    "abort": lambda conn: conn.abort(),
}


def in_a_thread(function: Callable[[], object]) -> BaseException | None:
    raised: list[BaseException] = []

    def run() -> None:
        try:
            function()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return raised[0] if raised else None


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_O6_another_thread_is_refused_and_told_what_to_do(
    harness: Harness, call: Callable[[Connection], object]
) -> None:
    client = harness.open()
    conn = harness.connection(client)
    error = in_a_thread(lambda: call(conn))
    assert isinstance(error, RuntimeError)
    assert "app.call_soon_threadsafe(conn.send, message)" in str(error)
    assert conn.is_open
    assert conn.pending == 0


def test_O6_a_connection_that_is_over_takes_calls_from_everywhere(harness: Harness) -> None:
    client = harness.open()
    conn = harness.connection(client)
    conn.abort()
    harness.turn()
    assert [in_a_thread(lambda call=call: call(conn)) for call in CALLS.values()] == [None] * 5
