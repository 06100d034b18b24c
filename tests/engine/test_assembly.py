"""RFC 6455 section 5.4: messages in fragments, of any size, in one buffer that is given back."""

import gc
import random
import struct
import tracemalloc
from collections.abc import Callable, Iterator

import pytest

from dorrit.engine import Connection
from dorrit.engine.assembly import Assembly
from dorrit.engine.limits import Limits
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

MEGABYTE = 1 << 20

CUTS = [1, 2, 3, 7, 64, 1000, 1 << 20]


@pytest.fixture
def rfc(log: LogRecords) -> Iterator[Harness]:
    """An engine that takes all of RFC 6455; nothing is left of incomplete messages at the end."""
    with Harness(rfc=True) as made:
        yield made
        for client in made.clients:
            client.close()
        made.settle()
        assert made.engine.assembled == 0
    faults = [r for r in log.records if r.levelno >= 50]
    assert not faults, log.text


def payloads_of(harness: Harness) -> list[bytes]:
    return [payload for _, _, payload in harness.messages]


def fragmented(
    opcode: int, payload: bytes, size: int, between: Callable[[int], bytes] = lambda _: b""
) -> bytes:
    """A message in fragments of `size` bytes, with something between them."""
    pieces = in_pieces(payload, size) or [b""]
    made = b""
    for index, piece in enumerate(pieces):
        made += frame(
            CONTINUATION if index else opcode,
            piece,
            fin=index == len(pieces) - 1,
            mask=struct.pack("!I", index * 0x9E3779B1 & 0xFFFFFFFF),
        )
        if index < len(pieces) - 1:
            made += between(index)
    return made


def start(opcode: int, length: int, *, fin: bool = True, mask: bytes = bytes(4)) -> bytes:
    """The header of a frame whose payload is yet to come."""
    whole = frame(opcode, bytes(length) if length < 65536 else bytes(65536), mask=mask, fin=fin)
    if length < 65536:
        return whole[: len(whole) - length]
    return whole[:2] + struct.pack("!Q", length) + mask


def assert_dropped(harness: Harness, client: Client, code: int, reason: str) -> None:
    harness.until(lambda: harness.closed, client)
    client.receive()
    assert [(c, r) for _, c, r in harness.closed] == [(code, reason)]
    assert client.frames[-1] == Received(CLOSE, struct.pack("!H", code) + reason.encode())
    assert harness.engine.assembled == 0


# Reassembly


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("size", [1, 2, 5, 100, 1000])
def test_fragments_are_one_message_however_the_stream_is_cut(
    rfc: Harness, cut: int, size: int
) -> None:
    payload = random.Random(size).randbytes(1003)
    text = ("aé€\U0001f600" * 101).encode()
    stream = fragmented(BINARY, payload, size) + fragmented(TEXT, text, size) + frame(TEXT, b"end")
    client = rfc.open()
    if cut == 1 and size == 1:
        stream = fragmented(BINARY, payload[:50], 1) + fragmented(TEXT, text[:50], 1)
        payload, text = payload[:50], text[:50]
        stream += frame(TEXT, b"end")
    assert client.send_pieces(in_pieces(stream, cut))
    rfc.until(lambda: len(rfc.messages) == 3)
    assert [m[1:] for m in rfc.messages] == [(True, payload), (False, text), (False, b"end")]
    assert rfc.engine.assembled == 0


@pytest.mark.parametrize("cut", CUTS)
def test_control_frames_between_fragments_are_answered_at_once(rfc: Harness, cut: int) -> None:
    def between(index: int) -> bytes:
        return frame(PING, b"%d" % index) + frame(PONG, b"unasked")

    client = rfc.open()
    stream = fragmented(TEXT, "dörrit".encode() * 5, 8, between)
    assert client.send_pieces(in_pieces(stream[:-1], cut))
    rfc.settle()
    assert rfc.messages == []
    assert client.frames == [Received(PONG, b"%d" % index) for index in range(4)]
    client.send(stream[-1:])
    rfc.until(lambda: rfc.messages)
    assert payloads_of(rfc) == ["dörrit".encode() * 5]


@pytest.mark.parametrize("cut", [1, 3, 100])
def test_fragments_may_be_empty(rfc: Harness, cut: int) -> None:
    def empty(_: int) -> bytes:
        return frame(CONTINUATION, fin=False) * 3

    client = rfc.open()
    stream = frame(BINARY, fin=False) + empty(0) + frame(CONTINUATION)
    stream += frame(TEXT, fin=False) + frame(CONTINUATION, b"x")
    stream += frame(TEXT, b"x", fin=False) + empty(0) + frame(CONTINUATION)
    stream += fragmented(TEXT, b"abc", 1, empty)
    assert client.send_pieces(in_pieces(stream, cut))
    rfc.until(lambda: len(rfc.messages) == 4)
    assert payloads_of(rfc) == [b"", b"x", b"x", b"abc"]


@pytest.mark.parametrize("length", [65_535, 65_536, 65_537, 200_000, MEGABYTE])
def test_a_length_of_64_bits_is_one_message(rfc: Harness, length: int) -> None:
    payload = random.Random(length).randbytes(length)
    text = ("é" * (length // 2)).encode().ljust(length, b"x")
    client = rfc.open()
    client.send(frame(BINARY, payload) + frame(TEXT, text))
    rfc.until(lambda: len(rfc.messages) == 2)
    assert payloads_of(rfc) == [payload, text]


def test_texts_are_str_if_the_user_wants_that() -> None:
    received: list[str | bytes] = []
    with Harness(rfc=True, text_as_str=True) as rfc:
        held: list[int] = []

        def heard(conn: Connection, message: str | bytes) -> None:
            received.append(message)
            held.append(rfc.engine.assembled)

        rfc.engine.close()
        rfc.engine = type(rfc.engine)(
            on_open=rfc._on_open,
            on_message=heard,
            on_close=rfc._on_close,
            limits=Limits(rfc=True),
            text_as_str=True,
        )
        client = rfc.open()
        text = "é€\U0001f600x" * 30_000
        client.send(fragmented(TEXT, text.encode(), 10_000))
        client.send(fragmented(BINARY, text.encode(), 10_000))
        client.send(frame(TEXT, fin=False) + frame(CONTINUATION))
        client.send(frame(BINARY, fin=False) + frame(CONTINUATION))
        rfc.until(lambda: len(received) == 4)
        assert received == [text, text.encode(), "", b""]
        assert held == [0, 0, 0, 0], "the buffer is given back before the callback runs"


def test_messages_of_all_kinds_keep_their_order(rfc: Harness) -> None:
    source = random.Random(4)
    sent = []
    stream = b""
    for index in range(300):
        payload = b"%d " % index * source.randrange(400)
        sent.append(payload)
        if source.random() < 0.5:
            stream += frame(TEXT, payload)
        else:
            stream += fragmented(TEXT, payload, source.randrange(1, 900))
    client = rfc.open()
    position = 0
    while position < len(stream):
        size = source.choice([1, 10, 1000, 30_000, 70_000])
        client.send(stream[position : position + size])
        position += size
        rfc.turn()
    rfc.until(lambda: len(rfc.messages) == 300)
    assert payloads_of(rfc) == sent


def test_clients_do_not_get_into_each_other_s_messages(rfc: Harness) -> None:
    clients = [rfc.open() for _ in range(10)]
    streams = [in_pieces(fragmented(BINARY, b"%d" % index * 5000, 700), 501) for index in range(10)]
    for pieces in zip(*streams, strict=True):
        for client, piece in zip(clients, pieces, strict=True):
            client.send(piece)
        rfc.turn()
    rfc.until(lambda: len(rfc.messages) == 10)
    for conn, _, payload in rfc.messages:
        index = [c for c, _ in rfc.opened].index(conn)
        assert payload == b"%d" % index * 5000


# Fail fast


@pytest.mark.parametrize(
    ("before", "bad"),
    [
        (b"", b"\xff"),
        (b"abc", b"\x80"),
        (b"", b"\xc0"),
        (b"\xe2\x82", b"x"),
        (b"\xf0", b"\x8f"),
        (b"\xed", b"\xa0"),
        (b"\xf4", b"\x90"),
        ("é".encode() * 1000, b"\xf5"),
    ],
)
@pytest.mark.parametrize("kind", ["frame", "fragment", "next fragment", "strict"])
def test_a_text_fails_at_its_first_bad_byte(before: bytes, bad: bytes, kind: str) -> None:
    with Harness(rfc=kind != "strict") as harness:
        client = harness.open()
        length = len(before) + len(bad) + 60_000
        if kind == "next fragment":
            good = [frame(TEXT, before, fin=False) + start(CONTINUATION, 60_000), b""]
        else:
            good = [start(TEXT, length, fin=kind != "fragment"), *in_pieces(before, 501)]
        assert client.send_pieces(good)
        harness.settle()
        assert client.frames == []
        assert harness.closed == []
        client.send(bad)
        assert_dropped(harness, client, 1007, "a text is not UTF-8")
        assert harness.messages == []


@pytest.mark.parametrize("text", [b"\xe2\x82", b"x\xf0\x9f\x98", "é".encode()[:1]])
@pytest.mark.parametrize("end", [b"", b"\xe2"])
def test_a_text_must_not_end_within_a_character(rfc: Harness, text: bytes, end: bytes) -> None:
    client = rfc.open()
    client.send(frame(TEXT, text if not end else b"x", fin=False) + frame(CONTINUATION, end))
    assert_dropped(rfc, client, 1007, "a text is not UTF-8")


def test_a_character_may_be_cut_by_any_frame_and_read(rfc: Harness) -> None:
    text = "\U0001f600€é".encode()
    client = rfc.open()
    assert client.send_pieces(in_pieces(fragmented(TEXT, text, 1), 3))
    client.send(fragmented(TEXT, text, 1))
    rfc.until(lambda: len(rfc.messages) == 2)
    assert payloads_of(rfc) == [text, text]


def test_binary_messages_are_anything(rfc: Harness) -> None:
    client = rfc.open()
    client.send(fragmented(BINARY, b"\xff\xfe\x80" * 100, 7))
    rfc.until(lambda: rfc.messages)


@pytest.mark.parametrize("cut", [1, 1000])
@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (frame(CONTINUATION, b"x"), "a continuation frame continues nothing"),
        (frame(CONTINUATION, b"x", fin=False), "a continuation frame continues nothing"),
        (frame(CONTINUATION), "a continuation frame continues nothing"),
        (frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"b") + frame(CONTINUATION, b"c"),
         "a continuation frame continues nothing"),
        (frame(TEXT, b"a") + frame(CONTINUATION, b"c"), "a continuation frame continues nothing"),
        (frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), "a message begins within another one"),
        (frame(TEXT, b"a", fin=False) + frame(BINARY, b"b", fin=False),
         "a message begins within another one"),
        (frame(BINARY, fin=False) + frame(PING) + frame(BINARY),
         "a message begins within another one"),
        (frame(TEXT, b"a", fin=False) + frame(PING, b"x", fin=False),
         "a control frame is fragmented"),
        (frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"x", reserved=4),
         "a reserved bit is set"),
        (frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"x", mask=None),
         "a frame is not masked"),
    ],
)  # fmt: skip
def test_fragments_out_of_order_are_a_protocol_error(
    rfc: Harness, stream: bytes, reason: str, cut: int
) -> None:
    client = rfc.open()
    client.send_pieces(in_pieces(stream, cut))
    assert_dropped(rfc, client, 1002, reason)


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (frame(TEXT, b"a", fin=False), 1003),
        (frame(BINARY, fin=False), 1003),
        (frame(CONTINUATION, b"a"), 1002),
        (start(BINARY, 65_536), 1009),
    ],
)
def test_R5_the_five_functions_still_refuse_all_of_this(
    harness: Harness, stream: bytes, code: int
) -> None:
    client = harness.open()
    client.send(stream)
    harness.until(lambda: harness.closed, client)
    assert [c for _, c, _ in harness.closed] == [code]
    assert harness.engine.assembled == 0


# The largest message


@pytest.mark.parametrize("largest", [1, 5, 600, 70_000])
def test_the_largest_message_is_accepted_in_every_form(largest: int) -> None:
    with Harness(rfc=True, max_message=largest) as rfc:
        client = rfc.open()
        payload = random.Random(largest).randbytes(largest)
        client.send(frame(BINARY, payload))
        client.send_pieces(in_pieces(frame(BINARY, payload), max(1, largest // 7)))
        client.send(fragmented(BINARY, payload, largest // 3 + 1))
        client.send(frame(BINARY, payload, fin=False) + frame(CONTINUATION))
        rfc.until(lambda: len(rfc.messages) == 4)
        assert payloads_of(rfc) == [payload] * 4


@pytest.mark.parametrize("largest", [1, 5, 600, 70_000])
def test_one_byte_more_is_refused_at_the_header_that_says_so(largest: int) -> None:
    reason = f"a message must not be larger than {largest} bytes"
    half = largest // 2 + 1
    for stream in (
        start(BINARY, largest + 1),
        start(TEXT, largest + 1, fin=False),
        frame(BINARY, bytes(half), fin=False) + start(CONTINUATION, largest + 1 - half),
        frame(BINARY, bytes(half), fin=False) + start(CONTINUATION, largest + 1 - half, fin=False),
        frame(TEXT, b"x" * largest, fin=False) + frame(CONTINUATION, fin=False)
        + start(CONTINUATION, 1),
        start(BINARY, 2**63 - 1),
    ):  # fmt: skip
        with Harness(rfc=True, max_message=largest) as rfc:
            client = rfc.open()
            client.send(stream)
            assert_dropped(rfc, client, 1009, reason)


def test_what_was_announced_is_skipped_up_to_the_answer_of_a_client_that_was_dropped() -> None:
    with Harness(rfc=True, max_message=1000) as rfc:
        client = rfc.open()
        client.says_goodbye = False
        client.send(frame(BINARY, bytes(500), fin=False) + start(CONTINUATION, 200_000, fin=False))
        assert_dropped(rfc, client, 1009, "a message must not be larger than 1000 bytes")
        for piece in in_pieces(bytes(200_000), 9_999):
            client.send(piece)
            rfc.turn()
        client.send(frame(CONTINUATION, b"x") + frame(PING, b"x"))
        rfc.settle()
        assert not client.ended
        client.send(close_frame(1009))
        rfc.until(lambda: client.ended)
        assert not client.reset
        assert client.frames[1:] == []


# Memory


def test_memory_grows_with_what_has_come_and_not_with_what_is_announced(rfc: Harness) -> None:
    client = rfc.open()
    client.send(start(BINARY, MEGABYTE))
    rfc.settle()
    assert rfc.engine.assembled == 0
    came = 0
    for size in (1, 1, 510, 1, 5000, 60_000, 200_000, MEGABYTE):
        piece = bytes(min(size, MEGABYTE - 1 - came))
        client.send(piece)
        came += len(piece)
        rfc.settle()
        assert came <= rfc.engine.assembled <= max(512, 2 * came)
    assert rfc.engine.assembled <= MEGABYTE
    client.send(b"\0")
    rfc.until(lambda: rfc.messages)
    assert rfc.engine.assembled == 0
    assert payloads_of(rfc) == [bytes(MEGABYTE)]


def test_a_frame_that_is_all_there_is_takes_what_it_needs_and_no_more(rfc: Harness) -> None:
    client = rfc.open()
    client.send(start(BINARY, 100_000) + bytes(60_000))
    rfc.settle()
    assert rfc.engine.assembled == 100_000


def closes(client: Client, conn: Connection) -> None:
    conn.close(1000)


def aborts(client: Client, conn: Connection) -> None:
    conn.abort()


def goes(client: Client, conn: Connection) -> None:
    client.close()


def says_goodbye(client: Client, conn: Connection) -> None:
    client.send(b"x" * 10 + close_frame(1000))


def breaks_the_rules(client: Client, conn: Connection) -> None:
    client.send(b"x" * 10 + frame(TEXT, b"x"))


@pytest.mark.parametrize("end", [closes, aborts, goes, says_goodbye, breaks_the_rules])
def test_memory_is_given_back_whatever_ends_the_connection(
    rfc: Harness, end: Callable[[Client, Connection], None]
) -> None:
    client = rfc.open()
    client.send(frame(BINARY, bytes(50_000), fin=False) + start(CONTINUATION, 1000, fin=False))
    client.send(b"x" * 990)
    rfc.settle()
    assert rfc.engine.assembled >= 50_990
    end(client, rfc.connection(client))
    rfc.settle()
    assert rfc.engine.assembled == 0
    assert rfc.messages == []


def test_memory_is_given_back_when_the_server_stops_or_is_closed() -> None:
    for end in ("shutdown", "close"):
        with Harness(rfc=True) as rfc:
            client = rfc.open()
            client.send(frame(BINARY, bytes(50_000), fin=False))
            rfc.settle()
            assert rfc.engine.assembled >= 50_000
            rfc.engine.shutdown(0) if end == "shutdown" else rfc.engine.close()
            assert rfc.engine.assembled == 0


def test_a_million_tiny_fragments_take_no_more_memory_than_one_large_one(rfc: Harness) -> None:
    client = rfc.open()
    client.send(frame(BINARY, fin=False))
    rfc.settle()
    empty = frame(CONTINUATION, fin=False) * 10_000
    tiny = frame(CONTINUATION, b"x", fin=False) * 10_000
    gc.collect()
    tracemalloc.start()
    try:
        for index in range(100):
            client.send(tiny if index % 2 else empty)
            rfc.turn()
        rfc.settle()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 500_000 <= rfc.engine.assembled <= MEGABYTE
    # The buffer, twice while it grows, and what a read and the test need.
    assert peak < 4 * MEGABYTE
    client.send(frame(CONTINUATION))
    rfc.until(lambda: rfc.messages)
    assert payloads_of(rfc) == [b"x" * 500_000]


# Callbacks that act in the middle of a read


@pytest.mark.parametrize("act", [closes, aborts])
@pytest.mark.parametrize("assembled", [False, True])
def test_a_callback_may_end_the_connection_in_the_middle_of_a_read(
    rfc: Harness, act: Callable[[Client, Connection], None], assembled: bool
) -> None:
    client = rfc.open()
    rfc.message_callback = lambda conn, _binary, _payload: act(client, conn)
    first = fragmented(BINARY, bytes(100), 30) if assembled else frame(BINARY, bytes(100))
    rest = fragmented(BINARY, bytes(5000), 900) + frame(TEXT, b"more") + frame(TEXT, b"\xff")
    client.send(first + rest + frame(BINARY, b"x", fin=False) + start(CONTINUATION, 50))
    rfc.settle()
    assert len(rfc.messages) == 1, "nothing is delivered after the end"
    assert rfc.engine.assembled == 0
    if act is closes:
        assert client.frames[-1].code == 1000
        client.send(bytes(50) + close_frame(1000))
        rfc.until(lambda: client.ended)
        assert [code for _, code, _ in rfc.closed] == [1000]
    else:
        assert [code for _, code, _ in rfc.closed] == [1006]


def test_a_callback_that_raises_ends_the_connection_in_the_middle_of_a_read(
    rfc: Harness, log: LogRecords
) -> None:
    def fail(*_: object) -> None:
        raise LookupError

    client = rfc.open()
    client.says_goodbye = False
    rfc.message_callback = fail
    client.send(fragmented(BINARY, bytes(100), 30) + start(BINARY, 1000, fin=False) + bytes(10))
    rfc.settle()
    assert [code for _, code, _ in rfc.closed] == [1011]
    client.send(bytes(990) + close_frame(1000))
    rfc.until(lambda: client.ended)
    assert not client.reset
    assert "LookupError" in log.text


def test_what_another_client_s_callback_does_to_a_half_message_is_done(rfc: Harness) -> None:
    victims = [rfc.open() for _ in range(3)]
    for victim in victims:
        victim.send(start(BINARY, 1000, fin=False) + bytes(500))
    rfc.settle()
    conns = [conn for conn, _ in rfc.opened]
    actor = rfc.open()

    def act(*_: object) -> None:
        conns[0].close(1000)
        conns[1].abort()
        rfc.engine.fail(conns[2], 1008, "enough")

    rfc.message_callback = act
    actor.send(fragmented(TEXT, b"act", 1))
    rfc.settle()
    assert rfc.engine.assembled == 0
    assert sorted(code for _, code, _ in rfc.closed) == [1006, 1008]
    for victim in (victims[0], victims[2]):
        victim.send(bytes(500) + frame(CONTINUATION, b"x") + close_frame(1000))
        rfc.until(lambda victim=victim: victim.ended)  # type: ignore[misc]
        assert not victim.reset
    assert len(rfc.messages) == 1


def test_reading_pauses_and_goes_on_in_the_middle_of_a_message(rfc: Harness) -> None:
    client = rfc.open()
    conn = rfc.connection(client)
    payload = random.Random(5).randbytes(300_000)
    stream = fragmented(BINARY, payload, 70_000)
    client.send(stream[:100_000])
    rfc.settle()
    held = rfc.engine.assembled
    rfc.engine.pause(conn)
    sent = client.socket.send(stream[100_000:])
    rfc.turn(5)
    assert rfc.engine.assembled == held, "nothing is read"
    rfc.engine.resume(conn)
    client.send(stream[100_000 + sent :])
    rfc.until(lambda: rfc.messages)
    assert payloads_of(rfc) == [payload]


@pytest.mark.parametrize("cut", [1, 10, 100_000])
def test_a_callback_pauses_between_any_two_messages(rfc: Harness, cut: int) -> None:
    client = rfc.open()
    conn = rfc.connection(client)
    rfc.message_callback = lambda *_: rfc.engine.pause(conn)
    stream = b"".join(fragmented(TEXT, b"%d" % index * 5, 2) for index in range(10))
    stream += frame(TEXT, b"whole") + start(BINARY, 10) + b"12345"
    for piece in in_pieces(stream, cut):
        client.send(piece)
        rfc.turn()
    for count in range(1, 12):
        rfc.settle()
        assert len(rfc.messages) == count
        rfc.engine.resume(conn)
    client.send(b"67890")
    rfc.settle()
    expected = [b"%d" % index * 5 for index in range(10)]
    assert payloads_of(rfc) == [*expected, b"whole", b"1234567890"]


def test_R21_what_comes_after_close_is_skipped_and_not_kept(rfc: Harness) -> None:
    client = rfc.open()
    client.send(frame(BINARY, bytes(1000), fin=False) + start(CONTINUATION, 50_000) + bytes(5))
    rfc.settle()
    rfc.connection(client).close(1000)
    rfc.settle()
    assert rfc.engine.assembled == 0
    gc.collect()
    tracemalloc.start()
    try:
        client.send(bytes(49_995))
        for _ in range(20):
            client.send(frame(BINARY, bytes(60_000)) + fragmented(TEXT, b"\xff" * 1000, 99))
            client.send(start(BINARY, 30_000) + bytes(10_000))
            rfc.settle()
            client.send(bytes(20_000))
        rfc.settle()
        now, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert now < 20_000
    assert rfc.engine.assembled == 0
    client.send(close_frame(1000, "and out"))
    rfc.until(lambda: client.ended)
    assert not client.reset
    assert rfc.messages == []
    assert [(code, reason) for _, code, reason in rfc.closed] == [(1000, "and out")]


def test_a_close_frame_within_a_message_ends_it(rfc: Harness) -> None:
    client = rfc.open()
    client.send(frame(TEXT, b"never ", fin=False) + close_frame(1001) + frame(CONTINUATION, b"x"))
    rfc.until(lambda: client.ended)
    assert rfc.messages == []
    assert [code for _, code, _ in rfc.closed] == [1001]
    assert rfc.engine.assembled == 0


def test_the_first_fragment_may_come_with_the_request(rfc: Harness) -> None:
    client = rfc.connect()
    stream = fragmented(TEXT, b"hello", 2)
    client.send(REQUEST + stream[:10])
    rfc.settle()
    client.send(stream[10:])
    rfc.until(lambda: rfc.messages)
    assert payloads_of(rfc) == [b"hello"]


def test_one_that_no_engine_has_made_is_of_no_use_and_does_no_harm() -> None:
    made = [Assembly() for _ in range(10)]
    del made
