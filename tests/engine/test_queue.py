"""What is queued: R16, R17, R19, R20, R21 and R11's memory."""

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

import dorrit
from dorrit.engine import Connection, connections_alive, frames_alive, queue_message
from dorrit.protocol.refusal import OPEN_CALLBACK_REFUSED, refusal
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
)
from tests.support.harness import Client, Harness, LogRecords
from tests.support.narrow import NarrowHarness, in_child

QUEUE_FRAMES_MAX = 200


@pytest.fixture
def narrow(log: LogRecords) -> Iterator[NarrowHarness]:
    """Like `harness`; the kernel takes only some KB for a client that does not read."""
    with NarrowHarness() as made:
        yield made


def opened(harness: Harness, count: int) -> tuple[list[Client], list[Connection]]:
    clients = [harness.open() for _ in range(count)]
    return clients, [conn for conn, _ in harness.opened[-count:]]


def received(harness: Harness, *clients: Client) -> list[list[tuple[int, bytes]]]:
    """What each client gets until nothing more comes."""
    harness.settle()
    return [[(f.opcode, f.payload) for f in client.frames] for client in clients]


def until_frames(harness: Harness, client: Client, count: int = 1) -> None:
    harness.until(lambda: len(client.frames) >= count, client)


def until_ended(harness: Harness, client: Client) -> None:
    harness.until(lambda: client.ended, client)


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
    with pytest.raises(TypeError, match="float"):
        queue_message(conn, True, 1.5)
    with pytest.raises(TypeError, match="NoneType"):
        queue_message(conn, False, None)
    with pytest.raises(TypeError, match="list"):
        queue_message(conn, False, [b"x"])
    with pytest.raises(TypeError, match="str"):
        queue_message(conn, True, "a text")
    with pytest.raises(TypeError, match="int"):
        queue_message(5, True, b"x")
    with pytest.raises(TypeError, match="NoneType"):
        queue_message(None, True, b"x")
    with pytest.raises(TypeError, match="Client"):
        queue_message([client], True, b"x")
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


def test_R20_no_queue_grows_beyond_200_frames(harness: Harness, log: LogRecords) -> None:
    (client,), (conn,) = opened(harness, 1)
    for number in range(250):
        assert queue_message(conn, False, f"message {number}") == 0
    assert conn.pending == QUEUE_FRAMES_MAX
    assert conn.dropped == 50
    got = received(harness, client)
    assert got == [[(TEXT, f"message {number}".encode()) for number in range(200)]]
    assert conn.pending == conn.pending_bytes == 0
    assert conn.is_open


def test_R20_a_message_that_does_not_fit_whole_is_not_queued_at_all(log: LogRecords) -> None:
    with Harness(buffer_size=15) as harness:
        (client, other), (conn, other_conn) = opened(harness, 2)
        for _ in range(198):
            queue_message(conn, False, "filler")
        before = frames_alive()
        queue_message([conn, other_conn], False, "a" * 30)
        assert (conn.pending, conn.dropped) == (198, 1)
        assert (other_conn.pending, other_conn.dropped) == (3, 0), "the others still get it"
        queue_message([conn, other_conn], False, "b" * 20)
        assert (conn.pending, conn.dropped) == (200, 1), "two frames do fit"
        queue_message([other_conn, conn], False, "c")
        assert (conn.pending, conn.dropped) == (200, 2)
        assert frames_alive() - before == 3 + 2 + 1
        harness.settle()
        texts = b"".join(got.payload for got in client.frames)
        assert texts == b"filler" * 198 + b"b" * 20
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
    harness: Harness, log: LogRecords
) -> None:
    _, conns = opened(harness, 2)
    for _ in range(203):
        queue_message(conns, True, b"x")
    assert full_records(log) == 2
    assert [conn.dropped for conn in conns] == [3, 3]


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
    first = connections_alive()
    (client,), conns = opened(harness, 1)
    conns.clear()
    harness.opened.clear()
    assert connections_alive() == first + 1, "the engine holds it while it has a descriptor"
    client.close()
    harness.until(lambda: harness.closed)
    harness.closed.clear()
    assert connections_alive() == first
