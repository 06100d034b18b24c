"""The lists of connections that wait for the same thing: to be written, ended, or read again.

These run under sanitizers and with invariants as well, which look at what is written beyond an end.
"""

import pytest

from dorrit.engine import Connection, queue_message
from tests.support.frames import REQUEST, TEXT, frame
from tests.support.harness import Harness

FRAMES_PER_TURN = 256

# Around the numbers at which the lists have grown.
COUNTS = [1, 2, 10, 11, 16, 17, 40, 43, 80, 83, 150]


@pytest.mark.parametrize("count", COUNTS)
def test_any_number_of_clients_may_have_more_than_a_turn_handles(
    harness: Harness, count: int
) -> None:
    clients = [harness.open() for _ in range(count)]
    harness.message_callback = queue_message
    number = 2 * FRAMES_PER_TURN + 1
    batch = b"".join(frame(TEXT, b"%d" % index) for index in range(number))
    for client in clients:
        client.socket.send(batch)
    harness.until(lambda: len(harness.messages) == count * number)
    harness.until(lambda: all(len(client.frames) == number for client in clients))
    for client in clients:
        assert [int(echo.payload) for echo in client.frames] == list(range(number))


@pytest.mark.parametrize("count", COUNTS)
def test_any_number_of_clients_may_be_paused_and_read_again_within_their_callbacks(
    harness: Harness, count: int
) -> None:
    clients = [harness.open() for _ in range(count)]

    def pause_and_resume(conn: Connection, _binary: bool, _payload: bytes) -> None:
        for _ in range(3):
            harness.engine.pause(conn)
            harness.engine.resume(conn)

    harness.message_callback = pause_and_resume
    for client in clients:
        client.send(frame(TEXT, b"x") * (FRAMES_PER_TURN + 1))
    harness.until(lambda: len(harness.messages) == count * (FRAMES_PER_TURN + 1))


def test_a_connection_may_have_something_to_write_again_while_it_is_written(
    harness: Harness,
) -> None:
    client = harness.open()
    conn = harness.connection(client)
    left = 1000

    def on_room(conn: Connection) -> None:
        nonlocal left
        left -= 1
        conn.send(str(left))
        if left > 0:
            harness.engine.want_room(conn)

    harness.engine.join_loop(lambda _: None, on_room)  # type: ignore[arg-type, return-value]
    harness.engine.want_room(conn)
    conn.send("first")
    harness.until(lambda: len(client.frames) == 1001)
    assert [int(got.payload) for got in client.frames[1:]] == list(range(999, -1, -1))


@pytest.mark.parametrize("count", COUNTS)
def test_connections_may_end_one_another_in_their_close_callbacks(
    harness: Harness, count: int
) -> None:
    clients = [harness.open() for _ in range(count)]
    conns = [harness.connection(client) for client in clients]

    def end_all(_conn: Connection, _code: int, _reason: str) -> None:
        for other in conns:
            other.send("too late")
            other.abort()

    harness.close_callback = end_all
    conns[0].abort()
    harness.settle()
    assert [conn for conn, _, _ in harness.closed] == conns
    assert harness.engine.connections == 0


def test_an_answer_within_the_open_callback_does_not_end_a_connection_twice() -> None:
    with Harness(keep_requests=True) as harness:

        def answer(conn: Connection, _request: object) -> None:
            harness.engine.answer(conn, None)
            conn.abort()

        harness.open_callback = answer
        clients = [harness.connect() for _ in range(40)]
        for client in clients:
            client.send(REQUEST)
        harness.settle()
        assert len(harness.closed) == 40
