"""RFC 7692: compressed messages both ways, bounded, shared, and in order."""

import gc
import random
import struct
import tracemalloc
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from dorrit.engine import Connection, broadcast, frames_alive, queue_message
from dorrit.protocol import deflate
from dorrit.protocol.deflate import Deflate, Inflator
from dorrit.protocol.handshake import Request
from tests.support.deflating import RSV1, ZlibClient, deflated, deflated_frame, offering
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
from tests.support.narrow import NarrowHarness

MEGABYTE = 1 << 20
OFFER = "permessage-deflate; client_max_window_bits"
TAKEOVERS = ["none", "both"]


@pytest.fixture
def deflating(log: LogRecords) -> Iterator[Harness]:
    """An engine that compresses, and keeps no state."""
    with Harness(rfc=True, deflate=True) as made:
        yield made
        for client in made.clients:
            client.close()
        made.settle()
        assert made.engine.assembled == 0
    faults = [r for r in log.records if r.levelno >= 50]
    assert not faults, log.text


class Counting:
    """Compressors that count what they are given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.compressed: list[bytes] = []
        self._new = deflate.new_compressor
        monkeypatch.setattr(deflate, "new_compressor", self._make)

    def _make(self, bits: int) -> "Counting.Compressor":
        return self.Compressor(self, self._new(bits))

    class Compressor:
        def __init__(self, counting: "Counting", real: Any) -> None:
            self.counting = counting
            self.real = real
            self.flush = real.flush

        def compress(self, payload: bytes) -> bytes:
            self.counting.compressed.append(payload)
            made: bytes = self.real.compress(payload)
            return made


def payloads_of(harness: Harness) -> list[bytes]:
    return [payload for _, _, payload in harness.messages]


def texts(count: int) -> list[bytes]:
    return [b"message %d, and much the same as the others" % index * 5 for index in range(count)]


def assert_dropped(harness: Harness, client: Client, code: int, reason: str) -> None:
    harness.until(lambda: harness.closed, client)
    client.receive()
    assert [(c, r) for _, c, r in harness.closed] == [(code, reason)]
    last = client.frames[-1]
    assert (last.opcode, last.payload) == (CLOSE, struct.pack("!H", code) + reason.encode())
    assert harness.engine.assembled == 0


# The handshake


def test_the_response_names_what_is_agreed_on(deflating: Harness) -> None:
    client = deflating.open(offering(f"foo, {OFFER}; server_max_window_bits=10"))
    assert (
        b"\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; "
        b"client_no_context_takeover; server_max_window_bits=10\r\n"
    ) in client.head
    assert client.head.count(b"Sec-WebSocket-Extensions") == 1


@pytest.mark.parametrize(
    "request_", [REQUEST, offering("permessage-deflate; foo"), offering("permessage-bzip2")]
)
def test_without_an_offer_that_will_do_nothing_is_compressed(
    deflating: Harness, request_: bytes
) -> None:
    client = deflating.open(request_)
    assert b"Sec-WebSocket-Extensions" not in client.head
    deflating.connection(client).send(bytes(1000))
    deflating.until(lambda: client.frames)
    assert client.frames == [Received(BINARY, bytes(1000))]
    client.send(deflated_frame(TEXT, b"x"))
    assert_dropped(deflating, client, 1002, "a reserved bit is set")


def test_a_server_that_does_not_compress_agrees_on_nothing() -> None:
    with Harness(rfc=True) as harness:
        client = harness.open(offering(OFFER))
        assert b"Sec-WebSocket-Extensions" not in client.head
        client.send(deflated_frame(TEXT, b"x"))
        assert_dropped(harness, client, 1002, "a reserved bit is set")


@pytest.mark.parametrize("offer", ["permessage-deflate;", "a b", 'a; b="', "a=b"])
def test_a_malformed_offer_is_a_bad_request(deflating: Harness, offer: str) -> None:
    client = deflating.connect()
    client.send(offering(offer))
    deflating.until(lambda: client.ended)
    assert client.status == 400
    assert deflating.opened == []


def test_a_subprotocol_that_is_chosen_later_does_not_lose_the_extension(
    deflating: Harness,
) -> None:
    def choose(_: Connection, request: Request) -> None:
        request.select("chat")

    deflating.open_callback = choose
    request = offering(OFFER)[:-2] + b"Sec-WebSocket-Protocol: chat\r\n\r\n"
    client = deflating.open(request)
    assert b"Sec-WebSocket-Protocol: chat" in client.head
    assert b"Sec-WebSocket-Extensions: permessage-deflate" in client.head


# What comes in


@pytest.mark.parametrize("cut", [1, 2, 17, 1000, 1 << 20])
@pytest.mark.parametrize("takeover", TAKEOVERS)
def test_compressed_messages_are_inflated_however_they_are_cut(cut: int, takeover: str) -> None:
    with Harness(rfc=True, deflate=True, deflate_takeover=takeover) as harness:
        client = harness.open(offering(OFFER))
        peer = ZlibClient(out_takeover=takeover == "both")
        source = random.Random(1)
        sent = [b"", b"x", "dörrit €".encode() * 99, b"", source.randbytes(90).hex().encode()]
        stream = b""
        for payload in sent:
            content = peer.deflate(payload)
            stream += frame(TEXT, content, reserved=RSV1)
            content = peer.deflate(payload)
            pieces = in_pieces(content, 5)
            for index, piece in enumerate(pieces):
                stream += frame(
                    CONTINUATION if index else BINARY,
                    piece,
                    fin=index == len(pieces) - 1,
                    reserved=0 if index else RSV1,
                )
                if index < 3:
                    stream += frame(PING)
            stream += frame(TEXT, payload)
        assert client.send_pieces(in_pieces(stream, cut))
        harness.until(lambda: len(harness.messages) == 15)
        expected = [(b, payload) for payload in sent for b in (False, True, False)]
        assert [m[1:] for m in harness.messages] == expected
        assert harness.engine.assembled == 0


@pytest.mark.parametrize("cut", [1, 1000])
@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (frame(PING, b"x", reserved=RSV1), "a reserved bit is set"),
        (frame(PONG, b"x", reserved=RSV1), "a reserved bit is set"),
        (frame(CLOSE, b"\x03\xe8", reserved=RSV1), "a reserved bit is set"),
        (deflated_frame(TEXT, b"x", fin=False) + frame(CONTINUATION, b"x", reserved=RSV1),
         "a reserved bit is set"),
        (frame(TEXT, b"x", fin=False) + frame(CONTINUATION, b"x", reserved=RSV1),
         "a reserved bit is set"),
        (frame(CONTINUATION, b"x", reserved=RSV1), "a reserved bit is set"),
        (frame(TEXT, b"x", reserved=2), "a reserved bit is set"),
        (frame(TEXT, b"x", reserved=1 | RSV1), "a reserved bit is set"),
        (frame(TEXT, b"x", fin=False) + deflated_frame(TEXT, b"x"),
         "a message begins within another one"),
        (deflated_frame(TEXT, b"x", fin=False) + frame(TEXT, b"x"),
         "a message begins within another one"),
    ],
)  # fmt: skip
def test_RSV1_stands_in_the_first_frame_of_a_message_only(
    deflating: Harness, stream: bytes, reason: str, cut: int
) -> None:
    client = deflating.open(offering(OFFER))
    client.send_pieces(in_pieces(stream, cut))
    assert_dropped(deflating, client, 1002, reason)


@pytest.mark.parametrize("cut", [1, 1000])
@pytest.mark.parametrize("content", [b"\x07", b"\xff" * 10, b"Hello", b"\0\1\0\0\0"])
def test_garbage_is_1007(deflating: Harness, content: bytes, cut: int) -> None:
    client = deflating.open(offering(OFFER))
    client.send_pieces(in_pieces(frame(BINARY, content, reserved=RSV1), cut))
    assert_dropped(deflating, client, 1007, "a message can't be decompressed")


def test_without_takeover_a_reference_to_an_earlier_message_is_1007(deflating: Harness) -> None:
    client = deflating.open(offering(OFFER))
    peer = ZlibClient(out_takeover=True)
    for _ in range(2):
        client.send(frame(TEXT, peer.deflate(b"again and again"), reserved=RSV1))
    assert_dropped(deflating, client, 1007, "a message can't be decompressed")
    assert payloads_of(deflating) == [b"again and again"]


def test_a_compressed_text_fails_before_the_rest_of_it_is_sent(deflating: Harness) -> None:
    client = deflating.open(offering(OFFER))
    content = zlib.compressobj(0, zlib.DEFLATED, -15)
    bad = content.compress(b"good, then bad: \xff and more") + content.flush(zlib.Z_SYNC_FLUSH)
    client.send(frame(TEXT, bad + bytes(1000), reserved=RSV1)[:-1000])
    assert_dropped(deflating, client, 1007, "a text is not UTF-8")


@pytest.mark.parametrize("text", [b"\xff", b"x\xe2\x82", b"\xed\xa0\x80", b"\xe2\x82" * 1000])
def test_a_compressed_text_must_be_utf_8(deflating: Harness, text: bytes) -> None:
    client = deflating.open(offering(OFFER))
    client.send(deflated_frame(BINARY, text) + deflated_frame(TEXT, text))
    assert_dropped(deflating, client, 1007, "a text is not UTF-8")
    assert payloads_of(deflating) == [text]


# Bombs


@pytest.mark.parametrize("cut", [100, 1 << 20])
@pytest.mark.parametrize("largest", [1000, 65_536, MEGABYTE])
def test_the_largest_message_is_inflated_and_one_byte_more_is_not(largest: int, cut: int) -> None:
    for size in (largest, largest + 1):
        with Harness(rfc=True, deflate=True, max_message=largest) as harness:
            client = harness.open(offering(OFFER))
            client.send_pieces(in_pieces(deflated_frame(BINARY, bytes(size)), cut))
            if size == largest:
                harness.until(lambda harness=harness: harness.messages)  # type: ignore[misc]
                assert payloads_of(harness) == [bytes(size)]
            else:
                reason = f"a message must not be larger than {largest} bytes"
                assert_dropped(harness, client, 1009, reason)


def test_a_bomb_goes_off_in_bounded_memory(deflating: Harness) -> None:
    bomb = deflated_frame(BINARY, bytes(200 * MEGABYTE))
    assert len(bomb) < 220_000
    client = deflating.open(offering(OFFER))
    deflating.settle()
    gc.collect()
    tracemalloc.start()
    try:
        client.send_pieces([bomb])
        deflating.settle()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 6 * MEGABYTE
    assert_dropped(deflating, client, 1009, f"a message must not be larger than {MEGABYTE} bytes")


def test_a_frame_that_is_larger_than_any_compressed_message_is_refused_at_its_header() -> None:
    with Harness(rfc=True, deflate=True, max_message=1000) as harness:
        client = harness.open(offering(OFFER))
        content = deflated(random.Random(2).randbytes(1000))
        assert len(content) > 1000, "what can't be compressed may be larger than the message"
        client.send(frame(BINARY, content, reserved=RSV1))
        harness.until(lambda: harness.messages)
        client.send(frame(BINARY, bytes(2000), reserved=RSV1)[:8])
        assert_dropped(harness, client, 1009, "a message must not be larger than 1000 bytes")


def test_after_a_megabyte_of_one_client_the_others_have_their_turn(deflating: Harness) -> None:
    greedy, honest = (deflating.open(offering(OFFER)) for _ in range(2))
    names = {conn: index for index, (conn, _) in enumerate(deflating.opened)}
    sent = [b"%d" % (index % 10) * 300_000 for index in range(20)]
    stream = b"".join(deflated_frame(BINARY, payload) for payload in sent)
    assert len(stream) < 60_000, "all of it comes in one read"
    greedy.send(stream)
    honest.send(frame(TEXT, b"me too"))
    # Four are more than 1 MiB. What is left comes first in the next turn, four in each.
    deflating.turn()
    order = [names[conn] for conn, _, _ in deflating.messages]
    assert order in ([0, 0, 0, 0, 1], [1, 0, 0, 0, 0])
    greedy.send(close_frame(1000, "done"))
    honest.send(frame(TEXT, b"me too"))
    deflating.turn()
    assert [names[conn] for conn, _, _ in deflating.messages[5:]] == [0, 0, 0, 0, 1]
    deflating.settle()
    greedy_s = [payload for conn, _, payload in deflating.messages if names[conn] == 0]
    assert greedy_s == sent
    assert [(code, reason) for _, code, reason in deflating.closed] == [(1000, "done")]


@pytest.mark.parametrize("end", ["close", "abort", "fail", "pause", "raise", "shutdown"])
def test_what_is_left_for_the_next_turn_is_safe_from_whatever_happens(
    deflating: Harness, end: str
) -> None:
    client = deflating.open(offering(OFFER))
    client.says_goodbye = False
    conn = deflating.connection(client)
    stream = b"".join(deflated_frame(BINARY, bytes(300_000)) for _ in range(20))
    client.send(stream + deflated_frame(TEXT, b"never ends")[:-3])
    deflating.turn()
    count = len(deflating.messages)
    assert 0 < count < 20

    def fail(*_: object) -> None:
        raise LookupError

    if end == "close":
        conn.close(1000)
    elif end == "abort":
        conn.abort()
    elif end == "fail":
        deflating.engine.fail(conn, 1008, "enough")
    elif end == "pause":
        deflating.engine.pause(conn)
        deflating.settle()
        assert len(deflating.messages) == count
        deflating.engine.resume(conn)
        deflating.settle()
        assert len(deflating.messages) == 20
        return
    elif end == "raise":
        deflating.message_callback = fail
        count += 1
    else:
        deflating.engine.shutdown(0)
    deflating.settle()
    assert len(deflating.messages) == count
    assert deflating.engine.assembled == 0
    codes = {"close": [], "abort": [1006], "fail": [1008], "raise": [1011], "shutdown": [1001]}
    assert [code for _, code, _ in deflating.closed] == codes[end]
    if end in ("close", "fail", "raise"):
        # Frames are still counted right: the close frame behind the half one is found.
        client.send(bytes(3) + close_frame(1000))
        deflating.until(lambda: client.ended)
        assert not client.reset


def test_incomplete_compressed_messages_count_with_what_inflates_them(deflating: Harness) -> None:
    client = deflating.open(offering(OFFER))
    client.send(deflated_frame(TEXT, b"x", fin=False))
    deflating.settle()
    assert 32 * 1024 < deflating.engine.assembled < 64 * 1024
    client.send(frame(CONTINUATION))
    deflating.settle()
    assert deflating.engine.assembled == 0
    assert len(deflating.messages) == 1


# What goes out


def test_a_broadcast_is_compressed_once_and_shared(
    deflating: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = Counting(monkeypatch)
    clients = [deflating.open(offering(OFFER)) for _ in range(50)]
    plain = [deflating.open() for _ in range(5)]
    conns = [conn for conn, _ in deflating.opened]
    text = "all of you " * 100
    assert broadcast(conns, text) == 55
    assert counting.compressed == [text.encode()]
    assert frames_alive() == 2, "one compressed, one plain"
    deflating.until(lambda: all(client.frames for client in deflating.clients))
    for client in clients:
        assert client.frames[0].compressed
        assert len(client.frames[0].payload) < 100
        assert ZlibClient().messages(client.frames) == [(TEXT, text.encode())]
    for client in plain:
        assert client.frames == [Received(TEXT, text.encode())]
    assert frames_alive() == 0


def test_a_broadcast_is_compressed_once_for_each_size_of_window(
    deflating: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = Counting(monkeypatch)
    noise = random.Random(3).randbytes(300)
    payload = noise + bytes(1000) + noise + bytes(40_000) + noise
    bits = [9, 12, 15, 9, 12, 15, 10]
    for window in bits:
        deflating.open(offering(f"permessage-deflate; server_max_window_bits={window}"))
    queue_message([conn for conn, _ in deflating.opened], True, payload)
    assert counting.compressed == [payload] * 4
    assert frames_alive() == 4
    deflating.until(lambda: all(client.frames for client in deflating.clients))
    for client, window in zip(deflating.clients, bits, strict=True):
        peer = ZlibClient(in_bits=window)
        assert peer.messages(client.frames) == [(BINARY, payload)]


@pytest.mark.parametrize("to_many", [False, True])
def test_what_is_small_or_does_not_get_smaller_goes_out_as_it_is(to_many: bool) -> None:
    with Harness(rfc=True, deflate=True, deflate_from=100) as harness:
        client = harness.open(offering(OFFER))
        conn = harness.connection(client)
        noise = random.Random(4).randbytes(500)
        for payload in (bytes(99), noise, bytes(100), b""):
            if to_many:
                broadcast([conn, conn], payload)
            else:
                conn.send(payload)
                conn.send(payload)
        harness.until(lambda: len(client.frames) == 8)
        assert [f.compressed for f in client.frames[::2]] == [False, False, True, False]
        assert client.frames[::2] == client.frames[1::2]
        sent = [payload for _, payload in ZlibClient().messages(client.frames[::2])]
        assert sent == [bytes(99), noise, bytes(100), b""]


def test_a_compressed_message_in_fragments_says_so_once() -> None:
    with Harness(rfc=True, deflate=True, buffer_size=100, max_message=1000) as harness:
        client = harness.open(offering(OFFER))
        payload = random.Random(5).randbytes(2000).hex().encode()
        harness.connection(client).send(payload)
        harness.until(lambda: client.frames and client.frames[-1].fin)
        assert len(client.frames) > 10
        assert [f.compressed for f in client.frames] == [True] + [False] * (len(client.frames) - 1)
        assert ZlibClient().messages(client.frames) == [(BINARY, payload)]


@pytest.mark.parametrize("to_many", [False, True])
def test_takeover_is_each_connection_s_own_and_in_order(to_many: bool) -> None:
    with Harness(rfc=True, deflate=True, deflate_takeover="both") as harness:
        clients = [harness.open(offering(OFFER)) for _ in range(3)]
        conns = [conn for conn, _ in harness.opened]
        sent: list[list[bytes]] = [[], [], []]
        source = random.Random(6)
        for payload in texts(40):
            if to_many and source.random() < 0.5:
                assert broadcast(conns, payload.decode()) == 3
                for one in sent:
                    one.append(payload)
            else:
                index = source.randrange(3)
                assert conns[index].send(payload)
                sent[index].append(payload)
        harness.settle()
        for client, expected in zip(clients, sent, strict=True):
            assert len(client.frames) == len(expected)
            peer = ZlibClient(in_takeover=True)
            assert [payload for _, payload in peer.messages(client.frames)] == expected
            assert sum(len(f.payload) for f in client.frames[1:]) < 30 * len(client.frames)


@pytest.mark.parametrize("how", ["send", "queue_message", "broadcast"])
@pytest.mark.parametrize("limits", [{}, {"max_pending_bytes": 3000}])
def test_R20_a_compressor_that_keeps_state_does_not_see_what_is_refused(
    how: str, limits: dict[str, int]
) -> None:
    with NarrowHarness(rfc=True, deflate=True, deflate_takeover="both", **limits) as harness:
        client = harness.open(offering(OFFER))
        conn = harness.connection(client)
        source = random.Random(7)
        sent = []
        for index in range(600):
            payload = b"%d: " % index + source.randbytes(source.randrange(100, 400)).hex().encode()
            before = conn.dropped
            if how == "send":
                assert conn.send(payload) is (conn.dropped == before)
            elif how == "queue_message":
                assert queue_message(conn, True, payload) == 0
            else:
                assert broadcast([conn], payload) == (conn.dropped == before)
            if conn.dropped == before:
                sent.append(payload)
            if index % 50 == 0:
                harness.turn()
                client.receive()
        assert conn.dropped > 50
        assert conn.is_open
        harness.settle()
        conn.send(b"the end" * 30)
        harness.settle()
        peer = ZlibClient(in_takeover=True)
        assert peer.messages(client.frames) == [
            *((BINARY, payload) for payload in sent), (BINARY, b"the end" * 30)
        ]  # fmt: skip


@pytest.mark.parametrize("how", ["send", "broadcast"])
def test_a_slow_client_with_takeover_is_told_why_it_is_closed(how: str) -> None:
    with NarrowHarness(
        rfc=True, deflate=True, deflate_takeover="both", slow_clients="close"
    ) as harness:
        client = harness.open(offering(OFFER))
        conn = harness.connection(client)
        payload = random.Random(8).randbytes(40_000)
        while conn.is_open:
            conn.send(payload) if how == "send" else broadcast([conn], payload)
        harness.until(lambda: client.frames and client.frames[-1].opcode == CLOSE)
        assert [code for _, code, _ in harness.closed] == [1008]
        assert client.frames[-1].code == 1008


def test_a_message_that_is_too_large_for_any_queue_is_refused_with_and_without_state() -> None:
    for takeover in TAKEOVERS:
        with Harness(
            rfc=True, deflate=True, deflate_takeover=takeover, buffer_size=100, max_message=100
        ) as harness:
            client = harness.open(offering(OFFER))
            conn = harness.connection(client)
            with pytest.raises(ValueError, match="larger than what may wait"):
                conn.send(random.Random(9).randbytes(20_000))
            # As it is, it does not fit; compressed it would.
            if takeover == "none":
                assert conn.send(bytes(50_000))
            assert conn.send(bytes(1000))
            harness.settle()
            peer = ZlibClient(in_takeover=takeover == "both")
            assert peer.messages(client.frames)[-1] == (BINARY, bytes(1000))
            assert harness.closed == []


# What a signal handler, or the collection of garbage, does while Python's code compresses


@pytest.mark.parametrize("takeover", TAKEOVERS)
@pytest.mark.parametrize("act", ["close", "abort"])
@pytest.mark.parametrize("how", ["send", "broadcast"])
def test_a_connection_may_end_while_a_message_is_compressed(
    monkeypatch: pytest.MonkeyPatch, takeover: str, act: str, how: str
) -> None:
    with Harness(rfc=True, deflate=True, deflate_takeover=takeover) as harness:
        client = harness.open(offering(OFFER))
        conn = harness.connection(client)
        real = Deflate.deflate

        def interrupted(self: Deflate, payload: bytes) -> bytes:
            getattr(conn, act)()
            return real(self, payload)

        monkeypatch.setattr(Deflate, "deflate", interrupted)
        if how == "send":
            assert conn.send(bytes(1000)) is False
        else:
            assert broadcast([conn], bytes(1000)) == 0
        harness.settle()
        # Nothing follows a close frame.
        assert [f.opcode for f in client.frames] == ([CLOSE] if act == "close" else [])
        assert frames_alive() == 0


@pytest.mark.parametrize("takeover", TAKEOVERS)
@pytest.mark.parametrize("act", ["close", "abort"])
@pytest.mark.parametrize("step", ["inflate", "finish"])
def test_a_connection_may_end_while_a_message_is_inflated(
    monkeypatch: pytest.MonkeyPatch, takeover: str, act: str, step: str
) -> None:
    with Harness(rfc=True, deflate=True, deflate_takeover=takeover) as harness:
        client = harness.open(offering(OFFER))
        conn = harness.connection(client)
        real = getattr(Inflator, step)

        def interrupted(self: Inflator, *arguments: Any) -> bytes:
            getattr(conn, act)()
            inflated: bytes = real(self, *arguments)
            return inflated

        monkeypatch.setattr(Inflator, step, interrupted)
        client.send(deflated_frame(TEXT, b"x" * 1000) + frame(TEXT, b"x"))
        harness.settle()
        assert harness.messages == []
        assert harness.engine.assembled == 0
        if act == "close":
            client.send(close_frame(1000))
            harness.until(lambda: client.ended)
            assert not client.reset, "frames are still counted right"
            assert [code for _, code, _ in harness.closed] == [1000]


def test_what_is_wrong_only_at_the_end_of_a_compressed_message_is_found_there(
    deflating: Harness,
) -> None:
    # A stored block that begins, and whose length the end of the message then contradicts.
    client = deflating.open(offering(OFFER))
    client.send(frame(BINARY, b"\x00\x01", reserved=RSV1))
    assert_dropped(deflating, client, 1007, "a message can't be decompressed")


def test_a_bomb_that_is_no_text_either_is_refused_for_what_comes_first() -> None:
    with Harness(rfc=True, deflate=True, max_message=1000) as harness:
        client = harness.open(offering(OFFER))
        client.send(deflated_frame(TEXT, b"a" * 500 + b"\xff" + b"a" * 5000))
        assert_dropped(harness, client, 1007, "a text is not UTF-8")
        client = harness.open(offering(OFFER))
        client.send(deflated_frame(TEXT, b"a" * 2000 + b"\xff"))
        harness.until(lambda: client.frames)
        assert client.frames[-1].code == 1009
