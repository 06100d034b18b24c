"""How a connection ends: R21, and the one close callback of R11."""

import gc

import pytest

import dorrit
from dorrit.engine import Connection, connections_alive, frames_alive, queue_message
from dorrit.protocol.refusal import OPEN_CALLBACK_REFUSED, refusal
from tests.support.frames import (
    CLOSE,
    PING,
    REQUEST,
    TEXT,
    close_frame,
    frame,
)
from tests.support.harness import Client, Harness, LogRecords
from tests.support.narrow import NarrowHarness, opened


def received(harness: Harness, *clients: Client) -> list[list[tuple[int, bytes]]]:
    """What each client gets until nothing more comes."""
    harness.settle()
    return [[(f.opcode, f.payload) for f in client.frames] for client in clients]


def until_ended(harness: Harness, client: Client) -> None:
    harness.until(lambda: client.ended, client)


# R21


@pytest.mark.parametrize("how", ["Connection.abort", "ws_close_conn"])
def test_R21_force_closes_at_once(narrow: NarrowHarness, how: str) -> None:
    (client,), (conn,) = opened(narrow, 1)
    first = frames_alive()
    for _ in range(50):
        queue_message(conn, True, b"queued" * 1000)
    client.send(frame(TEXT, b"unread"))
    if how == "ws_close_conn":
        dorrit.ws_close_conn(conn, True)
    else:
        conn.abort()
    assert not conn.is_open
    assert frames_alive() == first
    assert narrow.closed == [], "not within the call"
    narrow.until(lambda: client.ended)
    assert narrow.closed == [(conn, 1006, "")]
    assert client.frames == []
    assert narrow.messages == []
    narrow.turn(3)
    assert len(narrow.closed) == 1


@pytest.mark.parametrize("how", ["Connection.close", "ws_close_conn"])
def test_R21_without_force_the_queue_is_written_first(narrow: NarrowHarness, how: str) -> None:
    (client,), (conn,) = opened(narrow, 1)
    messages = [b"%03d" % number + b"m" * 3000 for number in range(100)]
    for message in messages:
        queue_message(conn, True, message)
    if how == "ws_close_conn":
        dorrit.ws_close_conn(conn, False)
    else:
        conn.close()
    assert not conn.is_open
    # From then on nothing more is read from that client, and nothing is queued for it.
    assert queue_message(conn, True, b"too late") == 0
    client.send(frame(TEXT, b"nobody hears this") + frame(PING, b"nor answers"))
    narrow.until(lambda: client.frames and client.frames[-1].opcode == CLOSE)
    assert [got.payload for got in client.frames[:-1]] == messages
    assert client.frames[-1].code == 1000
    client.send(frame(TEXT, b"nor this"))
    narrow.turn(3)
    assert narrow.messages == []
    assert narrow.closed == []
    client.send(close_frame(1000))
    narrow.until(lambda: client.ended)
    assert [code for _, code, _ in narrow.closed] == [1000]
    assert client.frames[-1].opcode == CLOSE
    assert not client.reset


def test_R21_a_connection_may_be_closed_in_its_own_callbacks(harness: Harness) -> None:
    def read(conn: Connection, binary: bool, payload: bytes) -> None:
        if payload == b"abort":
            conn.abort()
        else:
            conn.close(4001)

    harness.message_callback = read
    (one, two), _ = opened(harness, 2)
    one.send(frame(TEXT, b"abort") + frame(TEXT, b"unheard"))
    two.send(frame(TEXT, b"close") + frame(TEXT, b"unheard") + close_frame(4001))
    harness.until(lambda: one.ended and two.ended)
    assert sorted(payload for _, _, payload in harness.messages) == [b"abort", b"close"]
    assert sorted(code for _, code, _ in harness.closed) == [1006, 4001]
    assert [got.code for got in two.frames] == [4001]


@pytest.mark.parametrize("end", ["abort", "close", "client goes", "client breaks the rules"])
def test_R21_calls_on_a_closed_connection_do_nothing(harness: Harness, end: str) -> None:
    (client,), (conn,) = opened(harness, 1)
    if end == "abort":
        conn.abort()
    elif end == "close":
        conn.close()
        client.send(close_frame(1000))
    elif end == "client goes":
        client.close()
    else:
        client.send(frame(TEXT, b"x", reserved=4))
    harness.until(lambda: harness.closed)
    closed = list(harness.closed)
    harness.settle()
    got = list(client.frames)
    first = frames_alive()
    for _ in range(3):
        conn.close()
        conn.close(1001, "again")
        assert queue_message(conn, True, b"x") == 0
        assert queue_message([conn, conn], False, "x" * 1_000_000) == 0
        conn.abort()
        dorrit.ws_close_conn(conn, True)
        dorrit.ws_close_conn(conn, False)
        harness.turn()
        client.receive()
    assert (conn.is_open, conn.pending, conn.pending_bytes, conn.dropped) == (False, 0, 0, 0)
    conn.data = "still mine"
    assert conn.data == "still mine"
    assert "closed" in repr(conn) or "lingering" in repr(conn)
    assert frames_alive() == first
    assert client.frames == got
    assert harness.closed == closed


def test_R21_a_close_code_that_must_not_be_sent_is_a_ValueError(harness: Harness) -> None:
    (client,), (conn,) = opened(harness, 1)
    for code in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65536, -1, 1 << 40):
        with pytest.raises(ValueError, match="must not be sent"):
            conn.close(code)
    assert conn.is_open
    assert received(harness, client) == [[]]


# R11


def test_R11_what_was_queued_is_freed_when_the_close_callback_returns(
    narrow: NarrowHarness,
) -> None:
    first = frames_alive()
    seen = []

    def on_close(conn: Connection, code: int, reason: str) -> None:
        queue_message(conn, True, b"nothing is queued any more")
        seen.append((frames_alive() - first, conn.pending, conn.pending_bytes))

    narrow.close_callback = on_close
    clients, conns = opened(narrow, 3)
    ends = (conns[0].abort, clients[1].close, lambda: clients[2].send(frame(0x3, b"?")))
    for conn, end in zip(conns, ends, strict=True):
        for _ in range(30):
            queue_message(conn, True, b"x" * 4000)
        narrow.turn()
        assert frames_alive() - first == conn.pending
        end()
        narrow.turn(2)
        if conn is conns[2]:  # what has been begun has to go out, and the close frame behind it
            assert seen[-1][1] <= 1
            narrow.until(lambda: clients[2].ended, clients[2])
        else:
            assert seen[-1] == (0, 0, 0)
        assert frames_alive() == first
    assert len(seen) == 3


def test_R11_the_close_callback_runs_exactly_once_whatever_ended_it(log: LogRecords) -> None:
    with Harness() as harness:

        def on_open(conn: Connection, request: object) -> None:
            if conn is harness.opened[0][0]:
                conn.abort()

        def on_message(conn: Connection, binary: bool, payload: bytes) -> None:
            if payload == b"raise":
                raise LookupError("on purpose")
            if payload == b"twice":
                conn.abort()
                raise LookupError("on purpose")
            conn.close()
            conn.abort()

        harness.open_callback = on_open
        harness.message_callback = on_message
        aborted_when_opened = harness.connect()
        aborted_when_opened.send(REQUEST)
        harness.until(lambda: aborted_when_opened.ended)
        assert len(harness.closed) == 1
        endings = [
            frame(TEXT, b"raise"),
            frame(TEXT, b"twice"),
            frame(TEXT, b"close and abort"),
            frame(TEXT, b"unmasked", mask=None),
            close_frame(1001) + close_frame(1001) + frame(TEXT, b"after"),
            close_frame(4000, "reason"),
            frame(CLOSE, b"\x00"),
            frame(0xB, b""),
            frame(TEXT, b"\xff"),
            frame(TEXT, b"begun and broken off")[:-3],
            b"",
        ]
        clients = [harness.open() for _ in endings]
        for client, ending in zip(clients, endings, strict=True):
            client.send(ending)
            harness.turn()
            client.receive()
            client.close()
        harness.open()
        harness.until(lambda: len(harness.closed) == len(endings) + 1)
        harness.engine.shutdown(0)
        harness.turn(3)
        conns = [conn for conn, _ in harness.opened]
        assert len(conns) == len(endings) + 2
        assert sorted(map(id, conns)) == sorted(id(conn) for conn, _, _ in harness.closed)


def test_R11_it_never_runs_for_a_connection_that_was_refused(harness: Harness) -> None:
    def refuse(conn: Connection, request: object) -> object:
        if len(harness.opened) == 2:
            conn.abort()
        elif len(harness.opened) == 3:
            conn.close()
        elif len(harness.opened) == 4:
            raise LookupError("on purpose")
        return refusal(*OPEN_CALLBACK_REFUSED)

    harness.open_callback = refuse  # type: ignore[assignment]
    for _ in range(4):
        client = harness.connect()
        client.send(REQUEST)
        until_ended(harness, client)
        client.close()
    never_spoke = harness.connect()
    never_spoke.close()
    malformed = harness.connect()
    malformed.send(b"nonsense\r\n\r\n")
    harness.until(lambda: malformed.ended)
    harness.settle()
    harness.engine.shutdown(0)
    assert len(harness.opened) == 4
    assert harness.closed == []
    assert harness.engine.connections == 0


def test_R11_a_connection_that_nobody_holds_is_freed(harness: Harness) -> None:
    gc.collect()  # those of other tests
    first = connections_alive()
    (client,), conns = opened(harness, 1)
    conns.clear()
    harness.opened.clear()
    assert connections_alive() == first + 1, "the engine holds it while it has a descriptor"
    client.close()
    harness.until(lambda: harness.closed)
    harness.closed.clear()
    assert connections_alive() == first
