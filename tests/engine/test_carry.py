"""Connections that outlive their engine: carried out into a ledger, and in by the next one."""

import os
import socket
import sys
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from dorrit.engine import PENDING, Connection, broadcast
from dorrit.engine.frame import frames_alive
from dorrit.protocol.closing import Dismissal
from dorrit.protocol.handshake import Request
from tests.support.carrying import CarryingHarness, is_open, ledger
from tests.support.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    REQUEST,
    TEXT,
    close_frame,
    frame,
)
from tests.support.harness import Harness, LogRecords
from tests.support.narrow import NarrowHarness

COMPRESSING = REQUEST[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"


def deflated(payload: bytes) -> bytes:
    """A message as a client sends it that refers to no earlier one (RFC 7692 section 7.2.1)."""
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def payloads(*harnesses: Harness) -> list[bytes]:
    return [payload for harness in harnesses for _, _, payload in harness.messages]


def test_L1_a_client_goes_on_as_if_nothing_had_happened(log: LogRecords) -> None:
    before = CarryingHarness()
    client = before.open()
    client.send(frame(TEXT, b"one"))
    before.settle()
    old = before.opened[0][0]
    after = before.next()
    assert after.carried == (1, 0)
    assert not old.is_open
    assert not old.send(b"x")
    client.send(frame(TEXT, b"two"))
    after.message_callback = lambda conn, binary, payload: conn.send(payload)
    after.until(lambda: client.frames)
    assert payloads(before, after) == [b"one", b"two"]
    assert [f.payload for f in client.frames] == [b"two"]
    assert before.closed == []
    assert [request.target for _, request, *_ in after.resumed] == ["/chat"]
    client.send(close_frame(1000))
    after.until(lambda: after.closed)
    assert [code for _, code, _ in after.closed] == [1000]
    after.close()
    assert "error" not in log.text.lower()


def test_L6_what_was_saved_comes_back_and_the_number_too() -> None:
    before = CarryingHarness()
    before.open()
    before.open()
    first, second = (conn for conn, _ in before.opened)
    first.save(b"abandoned")
    first.save(bytearray(b"state"))
    second.save(b"state")
    second.save(b"")
    assert (first.saved, second.saved) == (b"state", b"")
    first.data = "lost"
    after = before.next()
    after.turn()
    assert [state for *_, state, _ in after.resumed] == [b"state", None]
    conn = after.resumed[0][0]
    assert (conn.saved, conn.data, conn.number) == (b"state", None, 1)
    again = after.next()
    again.turn()
    assert [state for *_, state, _ in again.resumed] == [b"state", None]
    again.open().close()
    again.settle()
    last = again.next()
    last.open()
    assert [conn.number for conn, _ in again.opened + last.opened] == [3, 4]
    last.close()


def test_L6_what_is_saved_is_bytes_and_not_too_many() -> None:
    with CarryingHarness() as harness:
        harness.open()
        conn = harness.opened[0][0]
        conn.save(bytes(65536))
        with pytest.raises(ValueError, match="65537 bytes can't be kept"):
            conn.save(bytes(65537))
        with pytest.raises(TypeError, match="not str"):
            conn.save("text")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="not int"):
            conn.save(3)  # type: ignore[arg-type]
        assert conn.saved == bytes(65536)


CONVERSATION = [
    (frame(TEXT, "grüße".encode()), "grüße".encode()),
    (frame(BINARY, bytes(range(256)), mask=b"\x01\x02\x03\x04"), bytes(range(256))),
    (
        frame(TEXT, "ü".encode()[:1], fin=False)
        + frame(PING, b"in between")
        + frame(CONTINUATION, b"", fin=False)
        + frame(CONTINUATION, "ü".encode()[1:] + b"x" * 130, mask=b"abcd"),
        "ü".encode() + b"x" * 130,
    ),
    (frame(TEXT, deflated(b"compressed" * 20), reserved=4), b"compressed" * 20),
    (
        frame(BINARY, deflated(b"0123456789" * 30)[:9], reserved=4, fin=False)
        + frame(CONTINUATION, deflated(b"0123456789" * 30)[9:]),
        b"0123456789" * 30,
    ),
    (frame(BINARY, b""), b""),
    (frame(PING, b"last"), None),
]
"""What a client sends, and the messages that this is."""


def test_L5_input_that_was_cut_anywhere_is_taken_once_and_in_order() -> None:
    stream = b"".join(sent for sent, _ in CONVERSATION)
    wanted = [message for _, message in CONVERSATION if message is not None]
    for cut in range(len(stream) + 1):
        before = CarryingHarness(rfc=True, deflate=True)
        client = before.open(COMPRESSING)
        client.send(stream[:cut])
        before.settle()
        after = before.next(rfc=True, deflate=True)
        after.settle()
        client.send(stream[cut:])
        after.settle()
        assert payloads(before, after) == wanted, cut
        assert [f.payload for f in client.frames] == [b"in between", b"last"], cut
        assert before.closed == after.closed == []
        after.close()
        assert after.engine.assembled == before.engine.assembled == 0


def test_L5_a_message_lives_through_many_images() -> None:
    payload = os.urandom(200_000)
    stream = frame(BINARY, payload[:70_000], fin=False) + frame(CONTINUATION, payload[70_000:])
    harness = CarryingHarness(rfc=True)
    client = harness.open()
    for start in range(0, len(stream), 7919):
        client.send(stream[start : start + 7919])
        harness.settle()
        if start + 7919 < len(stream):
            assert harness.messages == []
            harness = harness.next(rfc=True)
    assert payloads(harness) == [payload]
    harness.close()
    assert harness.engine.assembled == 0


def test_L5_a_frame_of_a_server_that_takes_no_fragments() -> None:
    stream = frame(TEXT, b"0123456789" * 6000)
    for cut in (1, 3, 7, 8, 9, 10, 11, 30_000):
        before = CarryingHarness()
        client = before.open()
        client.send(stream[:cut])
        before.settle()
        after = before.next()
        client.send(stream[cut:])
        after.settle()
        assert payloads(before, after) == [b"0123456789" * 6000]
        after.close()


def test_L5_what_a_paused_client_has_sent_is_read_by_the_next_engine() -> None:
    before = CarryingHarness(rfc=True)
    client = before.open()
    conn = before.opened[0][0]
    before.message_callback = lambda *_: before.engine.pause(conn)
    client.send(b"".join(frame(TEXT, b"%d" % index) for index in range(5)) + frame(TEXT, b"x")[:3])
    before.settle()
    assert payloads(before) == [b"0"]
    after = before.next(rfc=True)
    after.settle()
    client.send(frame(TEXT, b"x")[3:])
    after.settle()
    assert payloads(before, after) == [b"0", b"1", b"2", b"3", b"4", b"x"]
    after.close()


def test_L5_messages_that_wait_for_handlers_come_before_what_follows_them() -> None:
    before = CarryingHarness(rfc=True)
    client = before.open()
    before.engine.join_loop(None, lambda _: None, unhandled=lambda _: ("cut off", ["ü", b"bytes"]))
    client.send(frame(TEXT, b"be", fin=False) + frame(CONTINUATION, b"hind")[:8])
    before.settle()
    after = before.next(rfc=True)
    after.settle()
    client.send(frame(CONTINUATION, b"hind")[8:])
    after.settle()
    assert [(binary, payload) for _, binary, payload in after.messages] == [
        (False, "ü".encode()), (True, b"bytes"), (False, b"behind")
    ]  # fmt: skip
    assert [begun for *_, begun in after.resumed] == ["cut off"]
    after.close()


@pytest.mark.parametrize("begun", ["", b"", b"\xff", "ü", None])
def test_L7_a_message_whose_handler_was_cut_off_is_told(begun: str | bytes | None) -> None:
    before = CarryingHarness()
    before.open()
    before.engine.join_loop(None, lambda _: None, unhandled=lambda _: (begun, []))
    after = before.next()
    after.turn()
    assert [told for *_, told in after.resumed] == [begun]
    after.close()


class NarrowCarrying(CarryingHarness, NarrowHarness):
    """Its clients have little room for what they do not read."""


def test_L5_what_was_queued_and_half_written_comes_out_once_and_whole() -> None:
    before = NarrowCarrying()
    reader, other = before.open(), before.open()
    first, second = (conn for conn, _ in before.opened)
    sent = [os.urandom(3000 + index) for index in range(60)]
    for payload in sent:
        assert broadcast([first, second], payload) == 2
    before.turn(3)
    first.send("for one alone")
    before.turn()
    assert 50 < first.pending < 61
    after = before.next()
    assert frames_alive() <= 61
    after.until(lambda: len(reader.frames) == 61 and len(other.frames) == 60)
    assert [f.payload for f in reader.frames] == [*sent, b"for one alone"]
    assert [f.payload for f in other.frames] == sent
    after.close()
    assert frames_alive() == 0


def test_L5_pongs_and_pings_are_carried_and_counted() -> None:
    before = NarrowCarrying()
    client = before.open()
    conn = before.opened[0][0]
    for _ in range(30):
        conn.send(bytes(4000))
    before.turn(2)
    for index in range(20):
        client.socket.send(frame(PING, b"%d" % index))
        before.turn()
    after = before.next()
    after.until(lambda: len([f for f in client.frames if f.opcode == PONG]) == 16)
    after.settle()
    assert [f.payload for f in client.frames if f.opcode == PONG][-1] == b"19"
    assert len([f for f in client.frames if f.opcode == BINARY]) == 30
    after.close()


@pytest.mark.parametrize("cut", [0, 1, 20, len(REQUEST) - 1])
def test_L5_a_request_that_was_cut_off_is_gone_on_with(cut: int) -> None:
    before = CarryingHarness()
    client = before.connect()
    client.send(REQUEST[:cut])
    before.settle()
    after = before.next()
    after.settle()
    client.send(REQUEST[cut:] + frame(TEXT, b"first"))
    after.until(lambda: after.messages)
    assert client.status == 101
    assert after.resumed == []
    assert len(after.opened) == 1
    after.close()


def test_L5_who_waits_for_the_open_callback_is_asked_about_again() -> None:
    before = CarryingHarness()
    before.open_callback = lambda *_: PENDING  # type: ignore[assignment,return-value]
    client = before.connect()
    client.send(REQUEST + frame(TEXT, b"in the same read"))
    before.settle()
    before.opened[0][0].send("not decided yet")
    before.turn()
    after = before.next()
    after.until(lambda: after.messages)
    assert [request.target for _, request in before.opened + after.opened] == ["/chat", "/chat"]
    assert after.resumed == []
    assert payloads(after) == [b"in the same read"]
    assert client.status == 101
    assert client.frames == []
    after.close()


def test_L5_who_would_be_asked_about_again_is_refused_if_the_server_stops_before() -> None:
    before = CarryingHarness()
    before.open_callback = lambda *_: PENDING  # type: ignore[assignment,return-value]
    client = before.connect()
    client.send(REQUEST)
    before.turn()
    client.send(frame(TEXT, b"x"))
    with before.next() as after:
        after.engine.begin_shutdown()
        after.until(lambda: client.ended)
        assert client.status == 503
        after.engine.end_shutdown()
        assert after.engine.assembled == 0
        assert after.opened == []


def test_L5_a_close_under_way_goes_on() -> None:
    before = CarryingHarness()
    ours, theirs, failed = before.open(), before.open(), before.open()
    closing, answering, _ = (conn for conn, _ in before.opened)
    before.message_callback = lambda conn, *_: closing.close(1001, "till soon")
    ours.send(frame(TEXT, b"close me"))
    before.settle()
    answering.send("before the end")
    theirs.socket.send(close_frame(4000, "bye"))
    failed.says_goodbye = False
    failed.send(frame(TEXT, b"\xff") + frame(TEXT, bytes(60_000))[:100])
    before.until(lambda: len(before.closed) >= 1, failed)
    closing.save(b"kept")
    after = before.next()
    after.settle()
    assert [f.code for f in ours.frames if f.opcode == CLOSE] == [1001]
    ours.send(close_frame(1001, "till soon"))
    failed.send(frame(TEXT, bytes(60_000))[100:] + close_frame(1007))
    after.until(lambda: ours.ended and theirs.ended and failed.ended)
    ends = {
        conn.number: (code, reason, conn.saved)
        for conn, code, reason in before.closed + after.closed
    }
    assert ends[1] == (1001, "till soon", b"kept")
    assert ends[2][:2] == (4000, "bye")
    assert ends[3][0] == 1007
    assert len(before.closed + after.closed) == 3
    assert 1 not in [conn.number for conn, *_ in after.resumed]
    assert not any(client.reset for client in (ours, theirs, failed))
    after.close()


def test_L6_who_ended_before_it_was_told_hears_it_in_the_next_image() -> None:
    before = CarryingHarness()
    before.open()
    before.open()
    gone, stays = (conn for conn, _ in before.opened)
    gone.save(b"state")
    gone.abort()
    after = before.next()
    assert after.carried == (1, 0)
    after.turn()
    assert before.closed == []
    assert [(conn.number, code, conn.saved) for conn, code, _ in after.closed] == [
        (1, 1006, b"state")
    ]
    assert [conn.number for conn, *_ in after.resumed] == [stays.number]
    after.close()


@pytest.mark.parametrize(
    ("takeover", "goes_on"), [("none", True), ("server", True), ("client", False), ("both", False)]
)
def test_L5_compression_goes_on_but_with_a_client_that_refers_to_what_it_has_sent(
    takeover: str, goes_on: bool
) -> None:
    settings: dict[str, Any] = {"rfc": True, "deflate": True, "deflate_takeover": takeover}
    before = CarryingHarness(**settings)
    client = before.open(COMPRESSING)
    conn = before.opened[0][0]
    conn.send("from the first image " * 20)
    before.settle()
    after = before.next(**settings)
    if not goes_on:
        after.until(lambda: client.ended or any(f.opcode == CLOSE for f in client.frames))
        assert client.frames[-1].code == 1012
        after.close()
        return
    after.turn()
    after.resumed[0][0].send("from the next image " * 20)
    client.send(frame(TEXT, deflated(b"hello"), reserved=4))
    after.until(lambda: after.messages and len(client.frames) == 2)
    inflator = zlib.decompressobj(-15)
    texts = [inflator.decompress(f.payload + b"\0\0\xff\xff") for f in client.frames]
    assert texts == [b"from the first image " * 20, b"from the next image " * 20]
    after.close()


def test_L5_a_client_may_refer_to_what_it_has_sent_if_that_is_kept() -> None:
    settings: dict[str, Any] = {
        "rfc": True, "deflate": True, "deflate_takeover": "both", "deflate_keep_window": True
    }  # fmt: skip
    harness = CarryingHarness(**settings)
    client = harness.open(COMPRESSING)
    compressor = zlib.compressobj(wbits=-15)
    told, heard = [], []
    for index in range(60):
        message = b"%d " % index * 700 + os.urandom(900) * (1 + index % 3)
        told.append(message)
        sent = (compressor.compress(message) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
        half = len(sent) // 2
        stream = frame(BINARY, sent[:half], reserved=4, fin=False) + frame(
            CONTINUATION, sent[half:]
        )
        cut = index * 97 % len(stream)
        client.send(stream[:cut])
        harness.settle()
        heard += payloads(harness)
        harness = harness.next(**settings)
        client.send(stream[cut:])
        harness.settle()
        heard += payloads(harness)
        harness.messages.clear()
    assert heard == told
    assert client.frames == []
    harness.close()
    assert harness.engine.assembled == 0


def test_L5_compression_stays_when_the_next_image_would_not_offer_it() -> None:
    before = CarryingHarness(rfc=True, deflate=True)
    client = before.open(COMPRESSING)
    after = before.next(rfc=True)
    after.settle()
    client.send(frame(TEXT, deflated(b"hello"), reserved=4))
    after.until(lambda: after.messages)
    assert payloads(after) == [b"hello"]
    after.close()


def test_L2_who_is_carried_stays_though_limits_are_smaller() -> None:
    before = CarryingHarness()
    for _ in range(5):
        before.open()
    after = before.next(max_connections=2)
    after.settle()
    assert after.carried == (5, 0)
    assert after.engine.connections == 5
    after.close()


def test_L5_subprotocol_and_kept_request_are_there_again() -> None:
    request = REQUEST[:-2] + b"Sec-WebSocket-Protocol: a, b\r\nCookie: name=value\r\n\r\n"
    before = CarryingHarness()

    def choose(_: Connection, request: Request) -> None:
        request.select("b", "a")

    before.open_callback = choose
    before.open(request)
    after = before.next(keep_requests=True)
    after.turn()
    conn, told, *_ = after.resumed[0]
    assert conn.request is told
    assert (told.subprotocol, told.cookie, told.select("a", "b")) == ("b", "name=value", "b")
    again = after.next()
    again.turn()
    conn, told, *_ = again.resumed[0]
    assert told.subprotocol == "b"
    with pytest.raises(RuntimeError):
        _ = conn.request
    again.close()


# What on_resume says


def test_L6_who_is_being_dismissed_is_carried_on() -> None:
    before = CarryingHarness()
    client = before.open()
    after = before.next()
    after.resume_callback = lambda *_: Dismissal(1008, "not any more", is_told=False)
    after.turn()
    last = after.next()
    assert last.carried == (1, 0)
    last.until(lambda: client.frames)
    client.send(close_frame(1008))
    last.until(lambda: client.ended)
    assert before.closed == after.closed == last.closed == []
    last.close()


@pytest.mark.parametrize("is_told", [True, False])
def test_L6_a_connection_that_is_not_wanted_any_more_is_closed(is_told: bool) -> None:
    before = CarryingHarness()
    client = before.open()
    after = before.next()
    after.resume_callback = lambda *_: Dismissal(1008, "not any more", is_told)
    client.send(frame(TEXT, b"unheard"))
    after.until(lambda: client.frames)
    assert (client.frames[0].code, client.frames[0].payload[2:]) == (1008, b"not any more")
    client.send(close_frame(1008))
    after.until(lambda: client.ended)
    assert after.messages == []
    assert [code for _, code, _ in after.closed] == ([1008] if is_told else [])
    after.close()


def test_L3_a_fault_in_on_resume_costs_that_connection(log: LogRecords) -> None:
    before = CarryingHarness()
    clients = [before.open() for _ in range(3)]
    after = before.next()

    def fault(conn: Connection, *_: object) -> None:
        if conn.number == 2:
            raise ValueError("of this one")

    after.resume_callback = fault
    after.until(lambda: after.closed)
    assert [(conn.number, code) for conn, code, _ in after.closed] == [(2, 1011)]
    assert [conn.number for conn, *_ in after.resumed] == [1, 2, 3]
    for client in (clients[0], clients[2]):
        client.send(frame(TEXT, b"on"))
    after.until(lambda: len(after.messages) == 2)
    assert "of this one" in log.text
    after.close()


def test_L6_while_on_resume_takes_its_time_nothing_of_that_connection_is_read() -> None:
    before = CarryingHarness(rfc=True)
    client, other = before.open(), before.open()
    client.send(frame(TEXT, b"half")[:5])
    before.settle()
    after = before.next(rfc=True)
    after.resume_callback = lambda conn, *_: PENDING if conn.number == 1 else None
    client.send(frame(TEXT, b"half")[5:] + frame(TEXT, b"whole"))
    other.send(frame(TEXT, b"meanwhile"))
    after.until(lambda: after.messages)
    after.settle()
    assert payloads(after) == [b"meanwhile"]
    conn = after.resumed[0][0]
    assert conn.send("at once")
    after.engine.answer_resume(conn, None)
    after.until(lambda: len(after.messages) == 3 and client.frames)
    assert payloads(after) == [b"meanwhile", b"half", b"whole"]
    with pytest.raises(RuntimeError, match="answered already"):
        after.engine.answer_resume(conn, None)
    after.close()


def test_L6_a_client_that_goes_while_on_resume_takes_its_time_is_told_of_afterwards() -> None:
    before = CarryingHarness()
    client = before.open()
    after = before.next()
    after.resume_callback = lambda *_: PENDING
    after.turn()
    conn = after.resumed[0][0]
    conn.abort()
    after.settle()
    assert after.closed == []
    assert after.engine.departed == 1
    after.engine.answer_resume(conn, None)
    after.settle()
    assert [code for _, code, _ in after.closed] == [1006]
    assert after.engine.departed == 0
    client.receive()
    assert client.ended
    after.close()


def test_L1_a_reload_while_on_resume_takes_its_time_asks_again() -> None:
    before = CarryingHarness()
    before.open()
    before.opened[0][0].save(b"state")
    after = before.next()
    after.resume_callback = lambda *_: PENDING
    after.turn()
    again = after.next()
    again.settle()
    assert [(state, begun) for *_, state, begun in again.resumed] == [(b"state", None)]
    assert after.closed == again.closed == []
    again.close()


# What is not to be trusted


def damaged(place: int, value: int) -> Callable[[int], None]:
    def damage(file: int) -> None:
        byte = os.pread(file, 1, place)
        os.pwrite(file, bytes([byte[0] ^ value]), place)

    return damage


# The checksum is not of the bytes 24 to 31, which change with each write.
@pytest.mark.parametrize("place", [*range(4, 24, 5), *range(34, 64, 5)])
def test_L8_damage_costs_a_connection_and_its_client_hears_of_the_end(place: int) -> None:
    record, size = 4096, 64
    before = CarryingHarness()
    clients = [before.open() for _ in range(3)]
    after = before.next(damaged(record + size + place, 0x55))
    assert after.carried == (2, 1)
    for client in (clients[0], clients[2]):
        client.send(frame(TEXT, b"on"))
    after.until(lambda: len(after.messages) == 2)
    if not (16 <= place < 24 or 32 <= place < 36):  # what names the socket is not damaged
        after.until(lambda: clients[1].ended)
    after.close()


def test_L8_a_damaged_record_does_not_end_a_socket_of_somebody_elses() -> None:
    theirs, peer = socket.socketpair()
    with theirs, peer:
        before = CarryingHarness()
        before.open().close()
        number = theirs.fileno()
        after = before.next(
            lambda file: os.pwrite(file, number.to_bytes(4, sys.byteorder), 4096 + 32)
        )
        assert after.carried == (0, 1)
        theirs.send(b"on")
        assert peer.recv(2) == b"on"
        after.close()


def test_L8_a_file_that_is_no_ledger_is_refused_and_nothing_happens() -> None:
    with CarryingHarness() as harness, ledger() as file:
        with pytest.raises(ValueError, match="damaged"):
            harness.engine.carry_in(file)
        os.write(file, os.urandom(10_000))
        with pytest.raises(ValueError, match="damaged"):
            harness.engine.carry_in(file)
        with pytest.raises(OSError, match="Bad file"):
            harness.engine.carry_in(999_999)
        harness.open()


def test_L8_a_descriptor_that_is_another_socket_by_now_is_not_taken() -> None:
    before = CarryingHarness()
    client, other = before.open(), before.open()

    with ledger() as file:
        first, second = before.engine.carry_out(file)
        os.dup2(second, first)
        after = CarryingHarness()
        assert after.engine.carry_in(file) == (1, 1)
    client.receive()
    assert client.ended
    os.close(first)  # it is another one's by now, and was left alone
    client.close()
    after.clients = [other]
    other.harness = after
    other.send(frame(TEXT, b"on"))
    after.until(lambda: after.messages)
    after.close()


def test_L8_the_ledger_is_read_once_and_first() -> None:
    with CarryingHarness() as before, ledger() as file:
        before.open()
        before.engine.carry_out(file)
        with CarryingHarness() as late:
            late.open()
            with pytest.raises(RuntimeError, match="before any client"):
                late.engine.carry_in(file)
        with CarryingHarness() as after:
            after.turn()
            assert after.engine.carry_in(file) == (1, 0)
            with pytest.raises(RuntimeError, match="before any client"):
                after.engine.carry_in(file)


def test_L8_if_there_is_no_room_nothing_has_changed() -> None:
    with CarryingHarness() as harness:
        client = harness.open()
        reader, writer = os.pipe()
        try:
            with pytest.raises(OSError):
                harness.engine.carry_out(reader)
        finally:
            os.close(reader)
            os.close(writer)
        client.send(frame(TEXT, b"on"))
        harness.until(lambda: harness.messages)


def test_L1_an_engine_that_was_carried_out_is_closed_and_its_sockets_are_not() -> None:
    harness = CarryingHarness()
    client = harness.open()
    with ledger() as file:
        (descriptor,) = harness.engine.carry_out(file)
    assert is_open(descriptor)
    with pytest.raises(RuntimeError, match="closed"):
        harness.engine.poll()
    client.receive()
    assert not client.ended
    os.close(descriptor)
    client.close()


def test_L1_a_callback_can_not_carry_out() -> None:
    with CarryingHarness() as harness, ledger() as file:
        raised: list[Exception] = []

        def carry(*_: object) -> None:
            try:
                harness.engine.carry_out(file)
            except RuntimeError as error:
                raised.append(error)

        harness.message_callback = carry
        harness.open().send(frame(TEXT, b"now"))
        harness.until(lambda: raised)
