"""Limits that hold for all clients together, or for what one may do: each under attack."""

import random
import struct
import time
from collections.abc import Callable
from typing import Any

import pytest

from dorrit.engine import Connection, broadcast, frames_alive, queue_message
from dorrit.engine.limits import Limits
from tests.support.deflating import deflated_frame, offering
from tests.support.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    REQUEST,
    TEXT,
    Received,
    close_frame,
    frame,
    in_pieces,
)
from tests.support.harness import Client, Harness, LogRecords
from tests.support.narrow import NarrowHarness, opened

MEGABYTE = 1 << 20


def codes_of(harness: Harness) -> list[int]:
    return [code for _, code, _ in harness.closed]


# What an engine can be told


@pytest.mark.parametrize(
    "setting",
    [
        {"buffer_size": 9},
        {"buffer_size": 65541},
        {"max_connections": 0},
        {"max_message": 0},
        {"max_message": 2**30 + 1},
        {"close_timeout": -1},
        {"linger_timeout": float("nan")},
        {"handshake_timeout": 1e10},
        {"slow_clients": "wait"},
    ],
)
def test_what_is_out_of_range_is_a_ValueError(setting: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(setting))} must be "):
        Limits(**setting)


# The size of a request


def head_of(size: int) -> bytes:
    """A valid request of so many bytes, in several fields: one of them has a limit of its own."""
    rest = size - len(REQUEST)
    fields = b""
    while rest > 0:
        length = rest if rest < 20_000 else 10_000
        fields += b"X: " + b"x" * (length - len(b"X: \r\n")) + b"\r\n"
        rest -= length
    return REQUEST[:-2] + fields + b"\r\n"


@pytest.mark.parametrize("most", [1024, 5000, 65536])
@pytest.mark.parametrize("cut", [1, 700, 1 << 20])
def test_a_request_of_the_largest_size_is_read_and_one_byte_more_is_not(
    most: int, cut: int
) -> None:
    if cut == 1 and most > 1024:
        cut = 13
    with Harness(max_head=most) as harness:
        client = harness.connect()
        assert client.send_pieces(in_pieces(head_of(most) + frame(TEXT, b"x"), cut))
        harness.until(lambda: harness.messages)
        client = harness.connect()
        client.send_pieces(in_pieces(head_of(most + 1), cut))
        harness.until(lambda: client.ended, client)
        assert client.status == 431
        client = harness.connect()
        client.send_pieces(in_pieces(head_of(most + 5)[: most + 1], cut))
        harness.until(lambda: client.ended, client)
        assert client.status == 431, "it is not waited for the end of it"


# Handshakes under way


def test_one_handshake_too_many_costs_the_oldest_one_its_place() -> None:
    with Harness(max_handshakes=3) as harness:
        slow = [harness.connect() for _ in range(3)]
        for client in slow:
            client.send(REQUEST[:20])
        harness.settle()
        honest = harness.open()
        harness.settle()
        assert [client.status for client in slow] == [503, None, None]
        # Who was accepted does not count any more: there is room for one.
        another = harness.connect()
        harness.settle()
        assert [client.status for client in slow] == [503, None, None]
        harness.connect()
        harness.settle()
        assert [client.status for client in slow] == [503, 503, None]
        for client in (slow[2], another):
            client.send(REQUEST[20:] if client is slow[2] else REQUEST)
            harness.until(lambda client=client: client.status == 101)  # type: ignore[misc]
        honest.send(frame(TEXT, b"hello"))
        harness.until(lambda: harness.messages)


@pytest.mark.parametrize("leave", ["goes", "refused", "late"])
def test_who_is_gone_is_no_handshake_under_way(leave: str) -> None:
    with Harness(max_handshakes=2, handshake_timeout=0.01) as harness:
        for _ in range(10):
            client = harness.connect()
            if leave == "goes":
                client.close()
            elif leave == "refused":
                client.send(b"GET / HTTP/1.0\r\n\r\n")
            harness.until(lambda client=client: client.ended)  # type: ignore[misc]
            harness.settle()
            assert client.status == {"goes": None, "refused": 426, "late": 408}[leave]


def test_an_honest_client_gets_in_among_many_that_only_connect() -> None:
    with Harness(max_handshakes=50, max_connections=100) as harness:
        for round_ in range(10):
            for _ in range(100):
                harness.connect()
            harness.settle()
            assert harness.engine.connections - harness.engine.lingering <= 50 + round_
            harness.open()
            for client in harness.clients:
                if client.status not in (None, 101):
                    client.close()
            harness.clients = [client for client in harness.clients if client.status in (None, 101)]
        assert len(harness.opened) == 10
        assert harness.closed == []


# Frames in a second


def in_one_second(act: Callable[[], Client]) -> Client:
    """Do something within one second, of the clock that the engine has, however often it takes."""
    while True:
        before = int(time.monotonic())
        while (second := int(time.monotonic())) == before:
            time.sleep(0.001)
        client = act()
        if int(time.monotonic()) == second:
            return client
        client.close()
        client.harness.settle()
        client.harness.closed.clear()
        client.harness.messages.clear()


@pytest.mark.parametrize(
    "too_many",
    [
        frame(TEXT, b"x"),
        frame(BINARY),
        frame(PING, b"x"),
        frame(PONG),
        frame(CONTINUATION),
        frame(CONTINUATION, b"xx", fin=False)[:6],
    ],
)
@pytest.mark.parametrize("cut", [1, 1000])
def test_one_frame_too_many_in_a_second_is_1008(too_many: bytes, cut: int) -> None:
    with Harness(rfc=True, max_message_rate=10) as harness:
        starts = too_many[0] & 0xF == CONTINUATION
        allowed = frame(TEXT, b"ab") * 4 + frame(PING) * 5
        allowed += frame(BINARY, b"x", fin=False) if starts else frame(BINARY)

        def act() -> Client:
            client = harness.open()
            client.says_goodbye = False
            client.send_pieces(in_pieces(allowed, cut))
            harness.settle()
            assert harness.closed == []
            client.send_pieces(in_pieces(too_many, cut))
            harness.settle()
            return client

        client = in_one_second(act)
        assert codes_of(harness) == [1008]
        assert client.frames[-1].payload == b"\x03\xf0too many messages in a second"
        if len(too_many) == 6:
            client.send(b"xx")
        client.send(frame(TEXT, b"more") + close_frame(1000))
        harness.until(lambda: client.ended)
        assert not client.reset
        assert len(harness.messages) == (4 if starts else 5)


def test_in_the_next_second_a_client_may_send_as_many_again() -> None:
    with Harness(max_message_rate=5) as harness:
        client = harness.open()
        for count in (5, 10, 15):
            before = int(time.monotonic())
            while int(time.monotonic()) == before:
                time.sleep(0.001)
            client.send(frame(TEXT, b"x") * 5)
            harness.settle()
            assert len(harness.messages) == count
        assert harness.closed == []


def test_a_closing_client_is_held_to_it_as_well() -> None:
    with Harness(max_message_rate=5) as harness:

        def act() -> Client:
            client = harness.open()
            harness.connection(client).close(1000)
            harness.settle()
            client.send(frame(TEXT, b"x") * 3 + frame(PING) * 5)
            harness.settle()
            assert harness.closed == []
            client.send(frame(PING))
            harness.settle()
            return client

        client = in_one_second(act)
        assert codes_of(harness) == [1000]
        client.send(close_frame(1000))
        harness.until(lambda: client.ended)
        assert [f.opcode for f in client.frames] == [CLOSE]


def test_without_a_limit_any_number_is_taken(harness: Harness) -> None:
    client = harness.open()
    client.send(frame(TEXT, b"x") * 50_000)
    harness.until(lambda: len(harness.messages) == 50_000)


# Bytes under way for all clients together


def test_the_clients_that_read_least_go_and_the_others_live(log: LogRecords) -> None:
    # Under sanitizers the turns take longer than one that is told to go may.
    with NarrowHarness(max_buffered=MEGABYTE, linger_timeout=60) as harness:
        clients, conns = opened(harness, 5)
        never_reads, honest = conns[:2], conns[2:]
        for index in range(400):
            for conn in never_reads:
                conn.send(bytes(8000))
            for conn in honest:
                assert conn.send(b"%d" % index)
            harness.turn()
            for client in clients[2:]:
                client.receive()
        harness.settle()
        assert sorted(codes_of(harness)) == [1013] * len(harness.closed)
        assert harness.closed
        assert {conn for conn, _, _ in harness.closed} <= set(never_reads)
        assert all(conn.is_open for conn in honest)
        for client in clients[2:]:
            assert [f.payload for f in client.frames] == [b"%d" % i for i in range(400)]
        # They are told, behind the frame that has been begun.
        for client, conn in zip(clients, never_reads, strict=False):
            if not conn.is_open:
                assert client.frames[-1].opcode == CLOSE
                assert client.frames[-1].payload[:2] == b"\x03\xf5"
        assert "more messages are under way than --max-buffered allows" in log.text


def test_the_largest_one_goes_first_and_no_more_than_must() -> None:
    with NarrowHarness(max_buffered=MEGABYTE) as harness:
        _, conns = opened(harness, 4)
        for conn, count in zip(conns, (40, 30, 20, 10), strict=True):
            for _ in range(count):
                assert conn.send(bytes(10_000))
        assert conns[3].send(bytes(50_000))
        harness.settle()
        assert [conn for conn, _, _ in harness.closed] == [conns[0]]
        assert all(conn.is_open for conn in conns[1:])


def test_those_that_read_are_not_closed_for_those_that_hold_memory() -> None:
    """A broadcast is held once: closing one of those that it is for gives next to nothing back."""
    with Harness(rfc=True, max_buffered=MEGABYTE) as harness:
        attackers, hostile = opened(harness, 30)
        for attacker in attackers:
            attacker.send(frame(BINARY, bytes(40_000))[:-1])
            harness.settle()
        assert len(harness.closed) < 10
        readers = [harness.open() for _ in range(20)]
        honest = [harness.connection(reader) for reader in readers]
        for _ in range(5):
            for _ in range(3):
                assert broadcast(honest, bytes(150_000)) == 20
            harness.settle()
        assert {conn for conn, _, _ in harness.closed} < set(hostile)
        for reader in readers:
            payload = b"".join(received.payload for received in reader.frames)
            assert payload == bytes(15 * 150_000)
        # 20 or so of them are within the budget while nothing else is under way.
        assert len(harness.closed) < 25


def test_what_waits_for_the_end_of_the_turn_is_written_before_anybody_is_closed() -> None:
    with Harness(rfc=True, max_buffered=MEGABYTE) as harness:
        readers, conns = opened(harness, 50)
        for conn in conns:
            assert conn.send(bytes(40_000))
        harness.settle()
        assert harness.closed == []
        assert all(len(reader.frames) == 1 for reader in readers)


def test_clients_that_share_what_they_do_not_read_go_before_those_that_hold_less() -> None:
    with NarrowHarness(rfc=True, max_buffered=MEGABYTE) as harness:
        clients, conns = opened(harness, 5)
        for client in clients[2:]:
            client.send(frame(BINARY, bytes(20_000))[:-1])
        harness.turn()
        for _ in range(200):
            if not any(conn.is_open for conn in conns[:2]):
                break
            broadcast(conns[:2], bytes(50_000))
        harness.settle()
        assert {conn for conn, _, _ in harness.closed} == set(conns[:2])


def test_incomplete_messages_count_too() -> None:
    with Harness(rfc=True, max_buffered=MEGABYTE, max_message=MEGABYTE) as harness:
        clients, conns = opened(harness, 4)
        for client, size in zip(clients, (250_000, 400_000, 200_000, 100_000), strict=True):
            client.send(frame(BINARY, bytes(size), fin=False))
            harness.settle()
        assert [conn for conn, _, _ in harness.closed] == [conns[1]]
        assert codes_of(harness) == [1013]
        assert harness.engine.assembled <= MEGABYTE
        for client in (clients[0], clients[2], clients[3]):
            client.send(frame(CONTINUATION, b"end"))
        harness.until(lambda: len(harness.messages) == 3)


def test_what_inflates_incomplete_messages_counts_too() -> None:
    with Harness(rfc=True, deflate=True, max_buffered=MEGABYTE) as harness:
        for _ in range(60):
            client = harness.open(offering())
            client.send(deflated_frame(TEXT, b"x", fin=False))
            harness.settle()
        assert len(harness.closed) > 30
        assert harness.engine.assembled <= MEGABYTE


def test_many_tiny_messages_count_for_what_they_take(log: LogRecords) -> None:
    with NarrowHarness(max_buffered=2 * MEGABYTE) as harness:
        _, conns = opened(harness, 100)
        for conn in conns:
            assert conn.send(bytes(10_000))  # of which the kernel does not take all
        for conn in conns:
            for _ in range(199):
                conn.send(b"x")
        harness.settle()
        assert frames_alive() * 100 < 2 * MEGABYTE
        assert codes_of(harness)
        assert set(codes_of(harness)) == {1013}


def test_a_large_frame_that_has_been_begun_is_given_back_with_its_client() -> None:
    """Otherwise all the others would go, since closing them is not enough."""
    with NarrowHarness(
        rfc=True, max_message=300 * MEGABYTE, max_buffered=4 * MEGABYTE, buffer_size=1000
    ) as harness:
        _, conns = opened(harness, 6)
        assert conns[0].send(bytes(3 * MEGABYTE))
        harness.turn(3)
        assert 0 < conns[0].pending_bytes < 3 * MEGABYTE
        for conn in conns[1:]:
            assert conn.send(bytes(500))
        assert conns[1].send(bytes(2 * MEGABYTE))
        harness.turn()
        assert [(conn, code) for conn, code, _ in harness.closed] == [(conns[0], 1013)]


def test_a_client_with_takeover_is_told_why_it_goes_when_it_is_sent_too_much() -> None:
    with NarrowHarness(
        rfc=True, deflate=True, deflate_takeover="server", max_buffered=MEGABYTE
    ) as harness:
        client = harness.open(offering())
        conn = harness.connection(client)
        source = random.Random(1)
        while conn.is_open:
            conn.send(source.randbytes(9000))
        harness.settle()
        assert codes_of(harness) == [1013]
        assert client.frames[-1].code == 1013


def test_who_lingers_with_much_to_read_goes_before_anybody_else() -> None:
    with NarrowHarness(rfc=True, max_message=65_000, max_buffered=80_000) as harness:
        clients, conns = opened(harness, 3)
        assert conns[0].send(bytes(65_000))
        harness.turn(3)
        clients[0].says_goodbye = False
        clients[0].send(frame(TEXT, b"\xff"))
        harness.turn(3)
        assert codes_of(harness) == [1007]
        assert harness.engine.connections == 3
        assert conns[1].send(bytes(1000))
        assert conns[1].send(bytes(30_000))
        harness.turn()
        assert harness.engine.connections == 2
        assert codes_of(harness) == [1007]


def test_a_message_that_is_larger_than_all_that_may_be_under_way_costs_nobody_else() -> None:
    with NarrowHarness(rfc=True, max_message=4 * MEGABYTE, max_buffered=MEGABYTE) as harness:
        _, conns = opened(harness, 3)
        for conn in conns[:2]:
            assert conn.send(bytes(100_000))
        with pytest.raises(ValueError, match="larger than what may wait"):
            conns[2].send(bytes(2 * MEGABYTE))
        with pytest.raises(ValueError, match="larger than what may wait"):
            broadcast(conns, bytes(2 * MEGABYTE))
        assert [conn.dropped for conn in conns] == [1, 1, 1]
        harness.turn()
        assert harness.closed == []


def test_a_broadcast_may_cost_those_that_it_is_for(log: LogRecords) -> None:
    with NarrowHarness(max_buffered=MEGABYTE) as harness:
        _, conns = opened(harness, 10)
        for conn in conns:
            for _ in range(11):
                conn.send(bytes(9000))
        assert queue_message(conns, True, bytes(60_000)) == 0
        harness.turn()
        gone = {conn for conn, _, _ in harness.closed}
        assert 0 < len(gone) < 10
        assert all(conn.pending <= 1 for conn in gone)  # what has been begun
        assert set(codes_of(harness)) == {1013}


def test_who_has_said_goodbye_is_not_waited_for_when_it_goes_for_others() -> None:
    with NarrowHarness(max_buffered=MEGABYTE, linger_timeout=3600) as harness:
        clients, conns = opened(harness, 2)
        clients[0].says_goodbye = False
        for _ in range(100):
            conns[0].send(bytes(9000))
        clients[0].send(close_frame(1000))
        harness.turn(3)
        for _ in range(30):
            conns[1].send(bytes(7000))
        harness.until(lambda: clients[0].ended)
        assert not clients[0].reset
        assert conns[1].is_open


def test_a_client_of_whom_a_message_is_read_may_be_the_one_to_go() -> None:
    with NarrowHarness(rfc=True, max_buffered=MEGABYTE) as harness:
        (client, _), (conn, other_conn) = opened(harness, 2)

        def flood(conn_: Connection, binary: bool, payload: bytes) -> None:
            for _ in range(90):
                conn_.send(bytes(9000))
            for _ in range(60):
                other_conn.send(bytes(9000))

        harness.message_callback = flood
        stream = frame(TEXT, b"a") + frame(TEXT, b"b" * 500, fin=False) + frame(CONTINUATION)
        client.send(stream + frame(TEXT, b"c") + frame(BINARY, bytes(1000))[:500])
        harness.turn()
        assert [(conn_, code) for conn_, code, _ in harness.closed] == [(conn, 1013)]
        assert len(harness.messages) == 1
        assert harness.engine.assembled == 0
        client.send(frame(BINARY, bytes(1000))[500:] + close_frame(1000))
        harness.until(lambda: client.ended)
        assert not client.reset


# Deadlines


def test_a_request_that_does_not_come_is_408_in_time(log: LogRecords) -> None:
    with Harness(handshake_timeout=0.3) as harness:
        start = time.monotonic()
        silent, slow = harness.connect(), harness.connect()
        sent = 0
        while not (silent.ended and slow.ended):
            if sent < 100 and not slow.ended:
                slow.send(REQUEST[sent : sent + 1])
                sent += 1
            harness.until(lambda: True)
            assert time.monotonic() < start + 10
            time.sleep(0.005)
        assert [client.status for client in (silent, slow)] == [408, 408]
        assert time.monotonic() >= start + 0.3


def test_a_client_that_does_not_answer_a_close_frame_is_cut_off_in_time() -> None:
    with Harness(close_timeout=0.3) as harness:
        client = harness.open()
        start = time.monotonic()
        harness.connection(client).close(1000)
        while not client.ended:
            client.send(frame(PING) + frame(TEXT, b"still here"))
            harness.turn()
            client.receive()
            assert time.monotonic() < start + 10
            time.sleep(0.005)
        assert time.monotonic() >= start + 0.3
        assert codes_of(harness) == [1000]
        assert client.frames[0] == Received(CLOSE, struct.pack("!H", 1000))
