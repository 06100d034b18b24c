"""What is queued: R16, R17, R19 and R20."""

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dorrit
from dorrit.engine import Connection, frames_alive, queue_message
from tests.support.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    REQUEST,
    TEXT,
    Received,
    frame,
)
from tests.support.harness import Client, Harness, LogRecords
from tests.support.narrow import NarrowHarness, in_child, opened, stuffed

QUEUE_FRAMES_MAX = 200


def received(harness: Harness, *clients: Client) -> list[list[tuple[int, bytes]]]:
    """What each client gets until nothing more comes."""
    harness.settle()
    return [[(f.opcode, f.payload) for f in client.frames] for client in clients]


def until_frames(harness: Harness, client: Client, count: int = 1) -> None:
    harness.until(lambda: len(client.frames) >= count, client)


def full_records(log: LogRecords) -> int:
    return sum("does not read" in record.getMessage() for record in log.records)


# R16


def test_R16_queueing_returns_0_and_minus_2_for_an_empty_message(harness: Harness) -> None:
    (client,), (conn,) = opened(harness, 1)
    assert queue_message(conn, True, b"x") == 0
    for empty in (b"", "", bytearray(), memoryview(b"")):
        assert queue_message(conn, False, empty) == -2
        assert queue_message([], False, empty) == -2
    assert received(harness, client) == [[(BINARY, b"x")]]


def test_R16_the_function_of_the_manual_is_this_one(harness: Harness) -> None:
    (client,), (conn,) = opened(harness, 1)
    assert dorrit.ws_write_conn(conn, False, "é") == 0
    assert dorrit.ws_write_conn([conn], True, b"") == -2
    assert received(harness, client) == [[(TEXT, "é".encode())]]


def test_R16_a_bytearray_may_be_changed_afterwards(harness: Harness) -> None:
    (client,), (conn,) = opened(harness, 1)
    data = bytearray(b"before")
    large = bytearray(b"before" * 1000)
    shared = memoryview(large)[6:5000]
    queue_message(conn, True, data)
    queue_message(conn, True, large)
    queue_message(conn, True, shared)
    data[:] = b"after!"
    large[:] = b"after!" * 1000
    before = b"before" * 1000
    assert received(harness, client) == [
        [(BINARY, b"before"), (BINARY, before), (BINARY, before[6:5000])]
    ]


def test_R16_whatever_has_bytes_in_it_is_a_message(harness: Harness) -> None:
    class Bytes(bytes):
        __slots__ = ()

    class Text(str):
        __slots__ = ()

    (client,), (conn,) = opened(harness, 1)
    queue_message(conn, True, memoryview(b"abcdef")[::2])
    queue_message(conn, True, Bytes(b"subclass"))
    queue_message(conn, False, Text("tëxt"))
    queue_message(conn, False, "bytes of tëxt".encode())
    queue_message(conn, False, bytearray("\U0001f600".encode()))
    assert received(harness, client) == [
        [
            (BINARY, b"ace"),
            (BINARY, b"subclass"),
            (TEXT, "tëxt".encode()),
            (TEXT, "bytes of tëxt".encode()),
            (TEXT, "\U0001f600".encode()),
        ]
    ]


@pytest.mark.parametrize("data", [b"\xff", b"\xed\xa0\x80", b"cut \xc3", bytearray(b"\x80")])
def test_R16_a_text_of_bytes_that_are_not_UTF8_is_a_ValueError(
    harness: Harness, data: bytes
) -> None:
    (client,), (conn,) = opened(harness, 1)
    with pytest.raises(ValueError, match="UTF-8"):
        queue_message(conn, False, data)
    assert queue_message(conn, True, data) == 0
    assert received(harness, client) == [[(BINARY, bytes(data))]]


def test_R16_a_str_that_has_no_UTF8_is_a_ValueError(harness: Harness) -> None:
    (client,), (conn,) = opened(harness, 1)
    with pytest.raises(ValueError, match="surrogates"):
        queue_message(conn, False, "\ud800")
    assert received(harness, client) == [[]]


def test_R16_a_wrong_type_is_a_TypeError_that_names_it(harness: Harness) -> None:
    (client,), (conn,) = opened(harness, 1)
    wrong: list[tuple[str, Any, bool, Any]] = [
        ("float", conn, True, 1.5),
        ("NoneType", conn, False, None),
        ("list", conn, False, [b"x"]),
        ("str", conn, True, "a text"),
        ("int", 5, True, b"x"),
        ("NoneType", None, True, b"x"),
        ("Client", [client], True, b"x"),
    ]
    for name, conns, binary, data in wrong:
        with pytest.raises(TypeError, match=name):
            queue_message(conns, binary, data)
    assert received(harness, client) == [[]]
    assert conn.is_open


def test_R16_one_connection_or_any_iterable_of_them(harness: Harness) -> None:
    clients, conns = opened(harness, 3)
    queue_message(conns[0], True, b"one")
    queue_message(conns, True, b"list")
    queue_message(tuple(conns[:2]), True, b"tuple")
    queue_message(set(conns), True, b"set")
    queue_message(dict.fromkeys(conns[1:]), True, b"keys")
    queue_message((conn for conn in conns if conn is not conns[1]), True, b"generator")
    queue_message([], True, b"nobody")
    got = [[payload for _, payload in frames] for frames in received(harness, *clients)]
    assert got == [
        [b"one", b"list", b"tuple", b"set", b"generator"],
        [b"list", b"tuple", b"set", b"keys"],
        [b"list", b"set", b"keys", b"generator"],
    ]


def test_R16_what_an_iterable_raises_goes_to_the_caller(harness: Harness) -> None:
    (client,), (conn,) = opened(harness, 1)

    def broken() -> Iterator[Connection]:
        yield conn
        raise LookupError("nobody else")

    with pytest.raises(LookupError, match="nobody else"):
        queue_message(broken(), True, b"x")
    assert received(harness, client) == [[(BINARY, b"x")]]


def child_runs_out_of_memory() -> None:
    with Harness() as harness:
        (client,), (conn,) = opened(harness, 1)
        size = 128 << 20
        large = bytearray(size)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + size // 2
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        assert queue_message(conn, True, large) == -1
        assert queue_message([conn], True, memoryview(large)) == -1
        assert conn.is_open
        assert conn.pending == conn.dropped == 0
        assert queue_message(conn, True, b"small") == 0
        assert received(harness, client) == [[(BINARY, b"small")]]


def test_R16_minus_1_when_memory_ran_out_and_the_server_goes_on() -> None:
    in_child(child_runs_out_of_memory)


def child_has_each_allocation_fail() -> None:
    """Has each allocation of a broadcast and of the turn that writes it fail once."""
    import _testcapi  # type: ignore[import-not-found]

    returned = set()
    first = frames_alive()
    for failing in range(60):
        with Harness(buffer_size=100) as harness:
            _clients, conns = opened(harness, 3)
            data = bytearray(b"0123456789" * 50)  # copied, and six fragments
            _testcapi.set_nomemory(failing, failing + 1)
            try:
                result = queue_message(conns, True, data)
            finally:
                _testcapi.remove_mem_hooks()
            returned.add(result)
            for conn in conns:
                # Never half a message; once memory is back, all is well.
                assert conn.pending in {0, 6}
                if result == 0:
                    assert conn.pending == 6
                assert queue_message(conn, True, b"afterwards") == 0
            harness.settle()
            for client, conn in zip(harness.clients, conns, strict=True):
                assert conn.is_open
                assert client.frames[-1].payload == b"afterwards"
                assert len(client.frames) in {1, 7}
        assert frames_alive() == first
    assert returned == {0, -1}


def test_R16_whichever_allocation_fails_no_half_message_is_queued() -> None:
    in_child(child_has_each_allocation_fail)


# R17


@pytest.mark.parametrize("buffer_size", [10, 100, 65540])
@pytest.mark.parametrize("binary", [True, False])
def test_R17_a_large_payload_goes_out_in_fragments(
    log: LogRecords, buffer_size: int, binary: bool
) -> None:
    most = buffer_size - 5
    opcode = BINARY if binary else TEXT
    for size in (most - 1, most, most + 1, 2 * most, 2 * most + 1, 7 * most - 1):
        payload = ("€" * (size // 3) + "x" * (size % 3)).encode()
        assert len(payload) == size
        with Harness(buffer_size=buffer_size) as harness:
            (client,), (conn,) = opened(harness, 1)
            queue_message(conn, binary, payload)
            count = -(-size // most)
            assert conn.pending == count
            until_frames(harness, client, count)
            harness.settle()
            assert len(client.frames) == count
            for index, got in enumerate(client.frames):
                # RFC 6455 section 5.4.
                assert got.opcode == (opcode if index == 0 else CONTINUATION)
                assert got.fin == (index == count - 1)
                assert len(got.payload) == (most if not got.fin else size - most * (count - 1))
            assert b"".join(got.payload for got in client.frames) == payload


def test_R17_fragments_of_one_message_stay_together(log: LogRecords) -> None:
    with Harness(buffer_size=20) as harness:
        (client,), (conn,) = opened(harness, 1)
        for letter in "abc":
            queue_message(conn, False, letter * 40)
        client.send(frame(PING, b"between"))
        harness.settle()
        data = [got for got in client.frames if got.opcode != PONG]
        assert [got.fin for got in data] == [False, False, True] * 3
        assert b"".join(got.payload for got in data) == b"a" * 40 + b"b" * 40 + b"c" * 40
        assert [got.payload for got in client.frames if got.opcode == PONG] == [b"between"]


# R19


def test_R19_a_broadcast_holds_one_frame(narrow: NarrowHarness) -> None:
    clients, conns = opened(narrow, 40)
    first = frames_alive()
    queue_message(conns, True, b"m" * 60_000)
    assert frames_alive() - first == 1
    narrow.turn(3)
    # Begun by all, finished by none: a KB here and there went into the kernel.
    assert frames_alive() - first == 1
    assert all(conn.pending == 1 for conn in conns)
    for number, client in enumerate(clients[:-1]):
        if number % 3 == 0:
            client.close()
        elif number % 3 == 1:
            conns[number].abort()
        else:
            until_frames(narrow, client)
            assert client.frames == [Received(BINARY, b"m" * 60_000)]
    narrow.turn(2)
    assert frames_alive() - first == 1, "the last one still needs it"
    narrow.until(lambda: clients[-1].frames, clients[-1])
    assert frames_alive() == first


def test_R19_a_broadcast_in_fragments_holds_each_once(log: LogRecords) -> None:
    with NarrowHarness(buffer_size=1000) as harness:
        clients, conns = opened(harness, 20)
        first = frames_alive()
        queue_message(conns, False, "x" * (995 * 29 + 1))
        assert frames_alive() - first == 30
        assert all(conn.pending == 30 for conn in conns)
        for client in clients[1:]:
            client.close()
        harness.turn(3)
        assert len(harness.closed) == 19
        assert 0 < frames_alive() - first <= 30
        harness.until(lambda: conns[0].pending == 0)
        assert frames_alive() == first


# R20


def test_R20_no_queue_grows_beyond_200_frames(narrow: NarrowHarness) -> None:
    (client,), (conn,) = stuffed(narrow, 1)
    for number in range(250):
        assert queue_message(conn, False, f"message {number}") == 0
    assert conn.pending == QUEUE_FRAMES_MAX
    assert conn.dropped == 51
    narrow.until(lambda: conn.pending == 0)
    (got,) = received(narrow, client)
    assert got[1:] == [(TEXT, f"message {number}".encode()) for number in range(199)]
    assert conn.pending == conn.pending_bytes == 0
    assert conn.is_open


def test_R20_a_client_that_reads_gets_any_number_of_messages_of_one_turn(
    harness: Harness, log: LogRecords
) -> None:
    (client, other), conns = opened(harness, 2)
    for number in range(1000):
        assert queue_message(conns, False, f"message {number}") == 0
        assert conns[0].pending <= QUEUE_FRAMES_MAX
        client.receive()
        other.receive()
    expected = [(TEXT, f"message {number}".encode()) for number in range(1000)]
    assert received(harness, client, other) == [expected, expected]
    assert [conn.dropped for conn in conns] == [0, 0]
    assert full_records(log) == 0


def test_R20_a_client_that_pipelines_gets_every_answer(harness: Harness) -> None:
    """More frames than the queue holds come in one read, and each has several answers."""

    def answer(conn: Connection, binary: bool, payload: bytes) -> None:
        for number in range(3):
            assert queue_message(conn, binary, payload + b" %d" % number) == 0

    harness.message_callback = answer
    client = harness.open()
    client.send(b"".join(frame(TEXT, b"%d" % number) for number in range(600)))
    harness.until(lambda: len(client.frames) == 1800)
    answers = [b"%d %d" % (number, part) for number in range(600) for part in range(3)]
    assert [got.payload for got in client.frames] == answers


@pytest.mark.parametrize("settings", [{"max_pending_bytes": 100_000}, {}])
def test_R20_a_client_that_reads_is_not_taken_for_a_slow_one(settings: dict[str, int]) -> None:
    with Harness(slow_clients="close", **settings) as harness:
        (client,), (conn,) = opened(harness, 1)
        for _ in range(300):
            assert conn.send(bytes(1000))
            client.receive()
        harness.until(lambda: len(client.frames) == 300)
        assert harness.closed == []
        assert conn.dropped == 0


def test_R20_nothing_is_written_before_the_open_callback_has_decided(harness: Harness) -> None:
    def open_callback(conn: Connection, _request: object) -> None:
        for _ in range(QUEUE_FRAMES_MAX + 1):
            conn.send("early")

    harness.open_callback = open_callback
    client = harness.connect()
    client.send(REQUEST)
    harness.until(lambda: len(client.frames) == QUEUE_FRAMES_MAX)
    assert client.status == 101
    assert harness.connection(client).dropped == 1


def test_R20_a_client_that_goes_while_its_queue_is_full_is_not_called_slow(
    harness: Harness, log: LogRecords
) -> None:
    (client,), (conn,) = opened(harness, 1)
    client.close()
    for _ in range(QUEUE_FRAMES_MAX + 10):
        assert queue_message(conn, True, b"x") == 0
    assert (conn.is_open, conn.pending, conn.dropped) == (False, 0, 0)
    assert log.records == []


def test_R20_a_message_that_does_not_fit_whole_is_not_queued_at_all(log: LogRecords) -> None:
    with NarrowHarness(buffer_size=15) as harness:
        (client,), (conn,) = opened(harness, 1)
        # Until the kernel has enough.
        while conn.pending < 198:
            queue_message(conn, False, "filler")
            harness.turn()
        (other,), (other_conn,) = opened(harness, 1)
        before = frames_alive()
        queue_message([conn, other_conn], False, "a" * 30)
        assert (conn.pending, conn.dropped) == (198, 1)
        assert (other_conn.pending, other_conn.dropped) == (3, 0), "the others still get it"
        queue_message([conn, other_conn], False, "b" * 20)
        assert (conn.pending, conn.dropped) == (200, 1), "two frames do fit"
        queue_message([other_conn, conn], False, "c")
        assert (conn.pending, conn.dropped) == (200, 2)
        assert frames_alive() - before == 3 + 2 + 1
        harness.until(lambda: conn.pending == 0)
        texts = b"".join(got.payload for got in client.frames)
        assert texts.endswith(b"filler" * 198 + b"b" * 20)
        assert b"".join(got.payload for got in other.frames) == b"a" * 30 + b"b" * 20 + b"c"


def test_R20_a_message_of_more_than_200_fragments_never_fits(log: LogRecords) -> None:
    with Harness(buffer_size=10) as harness:
        (client,), (conn,) = opened(harness, 1)
        before = frames_alive()
        queue_message(conn, True, b"x" * 1001)
        queue_message([conn], True, b"x" * 1_000_000)
        assert (conn.pending, conn.dropped) == (0, 2)
        assert frames_alive() == before
        queue_message(conn, True, b"y" * 1000)
        assert (conn.pending, conn.dropped) == (200, 2)
        harness.settle()
        assert b"".join(got.payload for got in client.frames) == b"y" * 1000


def test_R20_a_refusal_is_logged_once_for_each_spell(
    narrow: NarrowHarness, log: LogRecords
) -> None:
    _, (conn,) = opened(narrow, 1)
    large = b"z" * 5000
    for _ in range(220):
        queue_message(conn, True, large)
    assert full_records(log) == 1
    # It reads a little: there is room again, but the spell goes on until the queue is empty.
    narrow.until(lambda: 100 < conn.pending < 190)
    for _ in range(120):
        queue_message(conn, True, large)
    assert conn.pending == QUEUE_FRAMES_MAX
    assert full_records(log) == 1
    narrow.until(lambda: conn.pending == 0)
    assert full_records(log) == 1
    for _ in range(210):
        queue_message(conn, True, large)
    assert full_records(log) == 2
    assert log.records[-1].levelname == "WARNING"


def test_R20_two_connections_that_do_not_read_are_logged_each(
    narrow: NarrowHarness, log: LogRecords
) -> None:
    _, conns = stuffed(narrow, 2)
    for _ in range(203):
        queue_message(conns, True, b"x")
    assert full_records(log) == 2
    assert [conn.dropped for conn in conns] == [4, 4]


def test_R20_control_frames_have_a_place_of_their_own(narrow: NarrowHarness) -> None:
    (client,), (conn,) = opened(narrow, 1)
    for _ in range(200):
        queue_message(conn, True, b"q" * 3000)
    narrow.turn()
    while conn.pending < QUEUE_FRAMES_MAX:
        queue_message(conn, True, b"q" * 3000)
    client.send(frame(PING, b"are you there?"))
    narrow.turn()
    assert conn.pending == QUEUE_FRAMES_MAX
    conn.close(4000, "bye")
    narrow.until(lambda: client.frames and client.frames[-1].opcode == CLOSE)
    opcodes = [got.opcode for got in client.frames]
    assert opcodes.count(PONG) == 1
    assert opcodes.index(PONG) < 5, "a pong goes before the messages that wait"
    assert client.frames[-1].payload == b"\x0f\xa0bye"
    assert opcodes.count(BINARY) >= QUEUE_FRAMES_MAX
