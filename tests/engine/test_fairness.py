"""One client does not take what others need: its part of a turn, of memory and of descriptors."""

import socket
import zlib
from collections import Counter

import pytest

from dorrit.engine import queue_message
from tests.attacks.attackers import DEFLATING, bomb
from tests.engine.test_accept import listening
from tests.support.descriptors import descriptors
from tests.support.frames import BINARY, CLOSE, PING, REQUEST, TEXT, frame
from tests.support.harness import Client, Harness

FRAMES_PER_TURN = 256
LINGERING_MAX = 1024


@pytest.mark.parametrize("greedy_first", [True, False])
def test_a_turn_handles_256_frames_of_each_client(harness: Harness, greedy_first: bool) -> None:
    first, second = harness.open(), harness.open()
    greedy, modest = (first, second) if greedy_first else (second, first)
    many = [b"%d" % number for number in range(3 * FRAMES_PER_TURN + 10)]
    greedy.send(b"".join(frame(TEXT, text) for text in many))
    for turn in range(1, 5):
        modest.send(frame(TEXT, b"modest"))
        harness.turn()
        said = Counter(conn for conn, _, _ in harness.messages)
        assert said[harness.connection(modest)] == turn
        assert said[harness.connection(greedy)] == min(turn * FRAMES_PER_TURN, len(many))
    greedy_one = harness.connection(greedy)
    assert [text for conn, _, text in harness.messages if conn is greedy_one] == many


def test_control_frames_count_as_well(harness: Harness) -> None:
    client = harness.open()
    client.send(frame(PING) * FRAMES_PER_TURN + frame(TEXT, b"later"))
    harness.turn()
    assert harness.messages == []
    harness.turn()
    assert [text for _, _, text in harness.messages] == [b"later"]


def test_what_is_left_for_later_turns_keeps_the_loop_awake(harness: Harness) -> None:
    client = harness.open()
    client.send(frame(TEXT, b"x") * 1000)
    harness.until(lambda: len(harness.messages) == 1000, client)


def test_what_a_client_sent_before_it_left_is_handled(harness: Harness) -> None:
    client = harness.open()
    client.send(frame(TEXT, b"x") * 1000)
    client.close()
    harness.until(lambda: harness.closed)
    assert len(harness.messages) == 1000
    assert [code for _, code, _ in harness.closed] == [1006]


def test_nothing_is_handled_after_a_close_in_the_middle(harness: Harness) -> None:
    client = harness.open()

    def close(conn: object, binary: bool, payload: bytes) -> None:
        if len(harness.messages) == FRAMES_PER_TURN:
            harness.connection(client).close(4001)

    harness.message_callback = close
    client.send(frame(TEXT, b"x") * 1000)
    harness.until(lambda: any(received.opcode == CLOSE for received in client.frames), client)
    harness.settle()
    assert len(harness.messages) == FRAMES_PER_TURN


def test_what_has_been_read_and_must_wait_counts_among_the_messages_under_way() -> None:
    with Harness(max_buffered=100_000) as harness:
        clients = [harness.open() for _ in range(3)]
        for client, size in zip(clients, (20_000, 60_000, 30_000), strict=True):
            harness.message_callback = lambda conn, binary, payload: harness.engine.pause(conn)
            client.send(frame(TEXT, b"first") + frame(TEXT, b"x" * size))
        harness.until(lambda: harness.closed)
        harness.settle()
        assert [conn for conn, _, _ in harness.closed] == [harness.connection(clients[1])]
        assert [code for _, code, _ in harness.closed] == [1013]
        # It is given back: the others have a place for theirs.
        harness.message_callback = queue_message
        for client in (clients[0], clients[2]):
            harness.engine.resume(harness.connection(client))
        for client in (clients[0], clients[2]):
            client.send(frame(TEXT, b"last"))
        harness.until(lambda: all(clients[n].frames[-1:] for n in (0, 2)))
        harness.until(lambda: all(clients[n].frames[-1].payload == b"last" for n in (0, 2)))
        assert len(harness.closed) == 1


def test_1024_connections_linger_and_for_one_more_the_oldest_is_cut_off() -> None:
    # None of them is to end because it has lingered long enough.
    with Harness(linger_timeout=300) as harness, descriptors(3 * LINGERING_MAX):
        ends: list[socket.socket] = []
        for _ in range(LINGERING_MAX):
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            harness.engine.adopt(ours.detach())
            theirs.setblocking(False)
            theirs.send(b"no request\r\n\r\n")
            ends.append(theirs)
            harness.turn()
        assert harness.engine.lingering == harness.engine.connections == LINGERING_MAX
        late = harness.connect()
        late.send(b"no request\r\n\r\n")
        harness.until(lambda: late.status == 400, late)
        assert harness.engine.lingering == harness.engine.connections == LINGERING_MAX
        assert ends[0].recv(4096).startswith(b"HTTP/1.1 400 "), "it has its answer all the same"
        with pytest.raises(BrokenPipeError):
            ends[0].send(b"x")
        ends[1].send(b"x")
        for end in ends:
            end.close()
        harness.until(lambda: harness.engine.connections == 1)


def test_a_request_that_has_come_is_read_before_its_connection_makes_room_for_others() -> None:
    with Harness(max_handshakes=3) as harness, listening(harness) as address:
        silent = connected(harness, address)
        harness.turn()
        honest = connected(harness, address)
        harness.turn()
        # The listener is ready first, and these would push both of the others out.
        crowd = [connected(harness, address) for _ in range(20)]
        honest.send(REQUEST)
        harness.until(lambda: honest.status is not None and silent.status is not None)
        assert honest.status == 101
        assert silent.status == 503
        assert [client.status for client in crowd] == [503] * 17 + [None] * 3


def connected(harness: Harness, address: str) -> Client:
    """A client that has connected and says nothing."""
    end = socket.socket(socket.AF_UNIX)
    end.connect(address)
    client = Client(harness, end)
    harness.clients.append(client)
    return client


def test_one_bomb_of_each_client_is_inflated_in_a_turn() -> None:
    mebibyte = 1 << 20
    with Harness(rfc=True, max_message=mebibyte, deflate=True) as harness:
        first, second = harness.open(DEFLATING), harness.open(DEFLATING)
        for client in (first, second):
            client.send(bomb(mebibyte) * 5)
        for turn in range(1, 6):
            harness.turn()
            said = Counter(conn for conn, _, _ in harness.messages)
            assert [said[harness.connection(client)] for client in (first, second)] == [turn, turn]
        assert {len(payload) for _, _, payload in harness.messages} == {mebibyte}


def final_blocks(count: int) -> bytes:
    """A message of final blocks without content, each of which ends a stream of zlib's."""
    return frame(BINARY, b"\x03\x00" * count, reserved=4)


def blocks_with_codes(size: int) -> bytes:
    """A message of blocks that have nothing but codes of their own (RFC 1951 section 3.2.7)."""
    block = "0" + "01" + "00000" + "00000" + "0111"  # BFINAL, BTYPE 2, HLIT, HDIST, HCLEN (18)
    # Two code lengths are used, 18 ("repeat a code length of 0 for 11-138 times") and 1.
    order = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1)
    block += "".join("100" if symbol in (18, 1) else "000" for symbol in order)
    # 138 and 118 literals that do not occur, the end of the block, one distance.
    block += "1" + "1111111" + "1" + "1101011" + "0" + "0"
    block += "0"  # the block has ended
    stream = block * (8 * size // len(block))
    stream += "0" * (-len(stream) % 8)
    octets = (stream[start : start + 8][::-1] for start in range(0, len(stream), 8))
    return bytes(int(octet, 2) for octet in octets)


@pytest.mark.parametrize("count", [1, 60])
def test_final_blocks_are_work_though_nothing_comes_out_of_them(count: int) -> None:
    with Harness(rfc=True, deflate=True) as harness:
        first, second = harness.open(DEFLATING), harness.open(DEFLATING)
        for client in (first, second):
            client.send(final_blocks(count) * 200)
        harness.turn()
        said = Counter(conn for conn, _, _ in harness.messages)
        for client in (first, second):
            # A mebibyte of output takes as long as some thousand final blocks.
            assert 1 <= said[harness.connection(client)] * count <= 1200
        harness.until(lambda: len(harness.messages) == 400)
        assert {payload for _, _, payload in harness.messages} == {b""}


def test_blocks_with_codes_are_work_though_nothing_comes_out_of_them() -> None:
    content = blocks_with_codes(60_000)
    assert zlib.decompressobj(-15).decompress(content) == b""
    with Harness(rfc=True, deflate=True) as harness:
        client = harness.open(DEFLATING)
        client.send(frame(BINARY, content, reserved=4))
        harness.turn()
        assert harness.messages == []
        harness.until(lambda: harness.messages)
        assert harness.messages[0][2] == b""
