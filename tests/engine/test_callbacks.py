"""What a callback raises costs its connection and no other; an exit leaves the loop."""

from collections.abc import Callable

import pytest

from dorrit.engine import Connection, queue_message
from dorrit.protocol.handshake import Request
from tests.support.frames import CLOSE, REQUEST, TEXT, Received, close_frame, frame
from tests.support.harness import Client, Harness, LogRecords


def fail_with(error: BaseException) -> Callable[..., None]:
    """A callback that raises."""

    def callback(*_: object) -> None:
        raise error

    return callback


def assert_serves(harness: Harness) -> None:
    """A new client is opened, heard and closed."""
    harness.open_callback = harness.message_callback = harness.close_callback = None
    opened, heard, closed = len(harness.opened), len(harness.messages), len(harness.closed)
    client = harness.open()
    client.send(frame(TEXT, b"hello") + close_frame(1000))
    harness.until(lambda: client.ended)
    assert len(harness.opened) == opened + 1
    assert [payload for _, _, payload in harness.messages[heard:]] == [b"hello"]
    assert [code for _, code, _ in harness.closed[closed:]] == [1000]


def assert_answered(client: Client, status: int) -> None:
    assert client.status == status
    assert b"\r\nConnection: close\r\n" in client.head
    assert not client.reset
    assert b"secret" not in client.head + client.body


def test_an_exception_in_the_open_callback_is_answered_500(
    harness: Harness, log: LogRecords
) -> None:
    def callback(conn: Connection, _request: Request) -> None:
        queue_message(conn, False, "never sent")
        raise LookupError("secret")

    harness.open_callback = callback
    client = harness.connect()
    client.send(REQUEST + frame(TEXT, b"never heard"))
    harness.until(lambda: client.ended)
    assert_answered(client, 500)
    assert b"never sent" not in client.body
    assert "LookupError: secret" in log.text
    assert 'in callback\n    raise LookupError("secret")' in log.text
    client.close()
    harness.until(lambda: harness.engine.connections == 0)
    assert harness.messages == []
    assert harness.closed == [], "R11: never for one that was refused"
    assert_serves(harness)


@pytest.mark.parametrize("together", [True, False])
def test_an_exception_in_the_read_callback_closes_with_1011(
    harness: Harness, log: LogRecords, together: bool
) -> None:
    def callback(conn: Connection, _binary: bool, _data: bytes) -> None:
        queue_message(conn, False, "left out")
        raise LookupError("secret")

    other = harness.open()
    harness.message_callback = callback
    client = harness.connect()
    if together:
        client.send(REQUEST + frame(TEXT, b"one") + frame(TEXT, b"two"))
    else:
        client.send_pieces([REQUEST, frame(TEXT, b"one") + frame(TEXT, b"two")])
    harness.until(lambda: client.ended)
    assert client.status == 101
    assert client.frames == [Received(CLOSE, b"\x03\xf3")]
    assert not client.reset
    assert [payload for _, _, payload in harness.messages] == [b"one"]
    assert harness.closed == [(harness.opened[1][0], 1011, "")]
    assert len(log.records) == 1
    assert "LookupError: secret" in log.text
    assert 'in callback\n    raise LookupError("secret")' in log.text
    assert not other.ended
    assert harness.opened[0][0].is_open
    assert_serves(harness)


def test_an_exception_in_the_close_callback_is_logged_and_the_others_run(
    harness: Harness, log: LogRecords
) -> None:
    harness.close_callback = fail_with(LookupError("secret"))
    clients = [harness.open() for _ in range(3)]
    for client in clients:
        client.send(close_frame(1000))
    harness.until(lambda: all(client.ended for client in clients))
    assert {conn for conn, _, _ in harness.closed} == {conn for conn, _ in harness.opened}
    assert len(harness.closed) == 3
    assert len(log.records) == 3
    assert log.text.count("LookupError: secret") == 3
    assert "Traceback" in log.text
    assert_serves(harness)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=["exit", "interrupt"])
@pytest.mark.parametrize("method", ["poll", "run"])
@pytest.mark.parametrize("callback", ["open", "message", "close"])
def test_an_exit_in_a_callback_comes_out_of_the_loop(
    harness: Harness, error: BaseException, method: str, callback: str
) -> None:
    client = harness.connect()
    if callback != "open":
        client.send(REQUEST)
        harness.until(lambda: client.status == 101)
    setattr(harness, f"{callback}_callback", fail_with(error))
    client.send({"open": REQUEST, "message": frame(TEXT), "close": close_frame(1000)}[callback])
    with pytest.raises(type(error)) as caught:
        getattr(harness.engine, method)()
    assert caught.value is error
    if callback == "open":
        harness.until(lambda: client.ended)
        assert_answered(client, 503)
    else:
        harness.until(lambda: client.frames)
        if callback == "message":
            client.send(close_frame(1000))
        harness.until(lambda: client.ended)
        assert [received.code for received in client.frames] == [
            1001 if callback == "message" else 1000
        ]
    client.close()
    harness.until(lambda: harness.engine.connections == 0)
    assert len(harness.opened) == 1
    assert len(harness.closed) == (0 if callback == "open" else 1)
    assert_serves(harness)


def test_an_exit_in_one_close_callback_loses_none_of_the_others(harness: Harness) -> None:
    clients = [harness.open() for _ in range(5)]
    for client in clients:
        client.send(close_frame(1000))
    harness.close_callback = fail_with(SystemExit())
    for count in range(1, 6):
        with pytest.raises(SystemExit):
            harness.engine.run()
        assert len(harness.closed) == count
    harness.close_callback = None
    harness.until(lambda: all(client.ended for client in clients))
    assert len(harness.closed) == 5
    assert {conn for conn, _, _ in harness.closed} == {conn for conn, _ in harness.opened}


def test_an_exit_in_a_read_callback_loses_no_message_of_the_others(harness: Harness) -> None:
    clients = [harness.open() for _ in range(5)]
    for number, client in enumerate(clients):
        client.send(frame(TEXT, b"%d" % number))

    def callback(conn: Connection, _binary: bool, data: bytes) -> None:
        queue_message(conn, False, data)
        if data == b"0":
            raise SystemExit

    harness.message_callback = callback
    with pytest.raises(SystemExit):
        harness.turn(10)
    harness.until(lambda: all(client.frames for client in clients))
    assert clients[0].frames[0] == Received(TEXT, b"0")
    assert clients[0].frames[1].code == 1001
    assert [client.frames for client in clients[1:]] == [
        [Received(TEXT, b"%d" % number)] for number in range(1, 5)
    ]


def test_an_exit_in_a_read_callback_lets_the_client_close_in_order(harness: Harness) -> None:
    """What was read with the message that exits is not lost: frames are found where they begin."""
    harness.message_callback = fail_with(SystemExit())
    client = harness.open()
    client.send(frame(TEXT, b"one") + frame(TEXT, b"two") + close_frame(1001)[:3])
    with pytest.raises(SystemExit):
        harness.turn(10)
    harness.until(lambda: client.frames)
    assert client.frames[0].code == 1001
    client.send(close_frame(1001)[3:])
    harness.until(lambda: client.ended)
    assert not client.reset
    assert [payload for _, _, payload in harness.messages] == [b"one"]
    assert [code for _, code, _ in harness.closed] == [1001]
    assert_serves(harness)


def test_a_pause_in_the_open_callback_lasts(harness: Harness) -> None:
    def open_callback(conn: Connection, _request: object) -> None:
        conn.send("first")
        harness.engine.pause(conn)

    harness.open_callback = open_callback
    client = harness.connect()
    client.send(REQUEST + frame(TEXT, b"one"))
    harness.until(lambda: client.frames)
    harness.settle()
    assert harness.messages == []
    conn = harness.connection(client)
    harness.engine.resume(conn)
    harness.settle()
    assert harness.messages == [(conn, False, b"one")]
