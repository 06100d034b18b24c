"""What is written, and when: R18, writes in part, and random work against a model."""

import contextlib
import random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from dorrit.engine import Connection, frames_alive, queue_message
from tests.support.examples import examples
from tests.support.frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    REQUEST,
    TEXT,
    Received,
    close_frame,
    frame,
    parse,
)
from tests.support.harness import Client, Harness, LogRecords
from tests.support.narrow import NarrowHarness

# R18


def take(client: Client) -> bytes:
    """What lies in the socket, as bytes."""
    data = b""
    while True:
        try:
            data += client.socket.recv(1 << 20)
        except BlockingIOError:
            return data


@pytest.mark.parametrize("size", [1, 40, 93, 95])
def test_R18_one_write_event_sends_one_buffer_at_most(log: LogRecords, size: int) -> None:
    with Harness(buffer_size=100) as harness:
        busy, other = harness.open(), harness.open()
        (busy_conn, _), (other_conn, _) = harness.opened
        messages = [b"%c" % number * size for number in range(60, 180)]
        for message in messages:
            queue_message(busy_conn, True, message)
        queue_message(other_conn, True, b"others have their turn")
        harness.turn()
        first = take(busy)
        assert take(other) == b"\x82\x16others have their turn", "in the same turn"
        # As many frames as fit: none is cut, and none is left out that would have fitted.
        fitting = 100 // (size + 2)
        assert len(first) == fitting * (size + 2)
        received = first
        turns = 1
        while len(received) < 120 * (size + 2):
            queue_message(other_conn, True, b"again")
            harness.turn()
            more = take(busy)
            assert 0 < len(more) <= 100
            assert take(other) == b"\x82\x05again"
            received += more
            turns += 1
        assert turns == -(-120 // fitting)
        frames, rest = parse(received)
        assert rest == b""
        assert frames == [Received(BINARY, message) for message in messages]


@pytest.mark.parametrize("buffer_size", [10, 100, 130, 65540])
def test_R18_the_response_to_the_handshake_leaves_less_of_the_buffer(
    log: LogRecords, buffer_size: int
) -> None:
    def greet(conn: Connection, _request: object) -> None:
        # In a hundred frames each, of 1,000 bytes if the buffer is smaller than that.
        for number in range(2):
            assert conn.send(bytes((number,)) * length)

    length = examples(100_000) if buffer_size == 10 else 100_000
    with Harness(buffer_size=buffer_size, rfc=True) as harness:
        harness.open_callback = greet
        client = harness.connect()
        client.send(REQUEST)
        harness.turn()
        received = take(client)
        head, end, rest = received.partition(b"\r\n\r\n")
        assert len(received) <= max(len(head + end), buffer_size)
        content = b""
        while len(content) < 2 * length:
            harness.turn()
            more = take(client)
            assert 0 < len(more) <= buffer_size
            frames, rest = parse(rest + more)
            content += b"".join(received.payload for received in frames)
        assert rest == b""
        assert content == bytes((0,)) * length + bytes((1,)) * length


def test_R18_a_large_message_does_not_hold_up_others(log: LogRecords) -> None:
    with Harness() as harness:
        ours = harness.open()
        other = harness.open()
        (conn, _), (other_conn, _) = harness.opened
        queue_message(conn, True, b"L" * 1_000_000)
        received = b""
        while len(received) < 1_000_000:
            queue_message(other_conn, True, b"quick")
            harness.turn()
            more = take(ours)
            assert 0 < len(more) <= 65540
            assert take(other) == b"\x82\x05quick"
            received += more
        frames, rest = parse(received)
        assert (len(frames), rest) == (16, b"")
        assert b"".join(got.payload for got in frames) == b"L" * 1_000_000


def test_R18_a_client_that_asks_gets_no_more_than_its_share(harness: Harness) -> None:
    asking, other = harness.open(), harness.open()
    (asking_conn, _), (other_conn, _) = harness.opened

    def answer(conn: Connection, binary: bool, payload: bytes) -> None:
        for _ in range(20):
            queue_message(conn, True, b"a" * 60_000)
        queue_message(other_conn, True, b"others have their turn")

    harness.message_callback = answer
    asking.send(frame(TEXT, b"?"))
    harness.turn()
    assert 0 < len(take(asking)) <= 65540
    assert take(other) == b"\x82\x16others have their turn"
    # It is ready to be read from and to be written to, in the same event.
    while asking_conn.pending_bytes:
        asking.send(frame(PING, b"?"))
        harness.turn()
        assert 0 < len(take(asking)) <= 65540


def test_R18_a_full_queue_of_small_frames_is_gathered_in_few_writes(harness: Harness) -> None:
    client = harness.open()
    conn = harness.connection(client)
    for number in range(200):
        queue_message(conn, False, str(number))
    harness.turn()
    # 64 vectors hold far more than 64 small frames, since these are copied together.
    assert len(parse(take(client))[0]) == 200
    assert conn.pending == 0


def test_R18_large_payloads_between_small_ones_keep_their_order(harness: Harness) -> None:
    client = harness.open()
    conn = harness.connection(client)
    sizes = [1, 2047, 2048, 2049, 3, 65535, 125, 126, 2049, 1, 1, 2049, 9000, 2, 127]
    sizes += [2049] * 70 + [5] * 70
    messages = [bytes([number % 251]) * size for number, size in enumerate(sizes)]
    for message in messages:
        queue_message(conn, True, message)
    harness.settle()
    assert [got.payload for got in client.frames] == messages


# When


def heard_in_one_turn(harness: Harness, *frames: bytes) -> tuple[list[Client], list[bytes]]:
    """Have two clients say the same in one turn.

    Returns:
        The clients, the one first that is heard first, and what each had got when the other one was
        heard.
    """
    clients = [harness.open(), harness.open()]
    order: list[Client] = []
    seen: list[bytes] = []
    callback = harness.message_callback

    def note(conn: Connection, binary: bool, payload: bytes) -> None:
        client = next(client for client in clients if harness.connection(client) is conn)
        order.append(client)
        seen.append(take(clients[1 - clients.index(client)]))
        if callback is not None:
            callback(conn, binary, payload)

    harness.message_callback = note
    for client in clients:
        client.send(b"".join(frames))
    harness.turn()
    assert len(order) == 2, "one turn"
    assert seen[0] == b""
    return order, seen


def test_an_answer_is_written_before_anybody_else_is_heard(harness: Harness) -> None:
    def answer(conn: Connection, binary: bool, payload: bytes) -> None:
        queue_message(conn, binary, payload)
        queue_message(conn, binary, b"again")

    harness.message_callback = answer
    clients, seen = heard_in_one_turn(harness, frame(TEXT, b"one"))
    assert seen[1] == b"\x81\x03one\x81\x05again"
    assert take(clients[1]) == b"\x81\x03one\x81\x05again"


def test_so_is_a_pong(harness: Harness) -> None:
    harness.message_callback = None
    clients, seen = heard_in_one_turn(harness, frame(PING, b"?"), frame(TEXT, b"one"))
    assert seen[1] == b"\x8a\x01?"
    assert take(clients[1]) == b"\x8a\x01?"


def test_what_is_for_many_is_written_at_the_end_of_the_turn_and_all_of_it_at_once(
    harness: Harness,
) -> None:
    def tell_all(conn: Connection, binary: bool, payload: bytes) -> None:
        queue_message(conn, binary, b"heard")
        queue_message([conn for conn, _ in harness.opened], binary, payload)
        queue_message(conn, binary, b"told")

    harness.message_callback = tell_all
    clients, seen = heard_in_one_turn(harness, frame(TEXT, b"one"))
    assert seen[1] == b"", "nothing has been written yet"
    heard, said, told = b"\x81\x05heard", b"\x81\x03one", b"\x81\x04told"
    assert take(clients[0]) == heard + said + told + said
    assert take(clients[1]) == said + heard + said + told


# Writes in part


def test_every_byte_arrives_in_order_however_little_the_kernel_takes(log: LogRecords) -> None:
    chance = random.Random(18)
    with NarrowHarness(buffer_size=9000) as harness:
        client = harness.open()
        conn = harness.connection(client)
        messages = [chance.randbytes(chance.choice([1, 10, 500, 3000, 8995])) for _ in range(150)]
        for message in messages:
            queue_message(conn, True, message)
        assert conn.dropped == 0
        received = b""
        pings = 0
        while conn.pending_bytes:
            with contextlib.suppress(BlockingIOError):
                received += client.socket.recv(chance.choice([1, 7, 100, 1000, 5000]))
            if pings < 40 and chance.random() < 0.2:
                client.send(frame(PING, b"ping %d" % pings))
                pings += 1
                harness.turn()
            elif chance.random() < 0.5:
                harness.turn()
        received += take(client)
        frames, rest = parse(received)
        assert rest == b""
        assert [got.payload for got in frames if got.opcode == BINARY] == messages
        pongs = [got.payload for got in frames if got.opcode == PONG]
        assert pongs == [b"ping %d" % number for number in range(pings)]


def test_a_pong_and_a_close_never_stand_within_a_frame(log: LogRecords) -> None:
    for cut in range(12):
        with NarrowHarness(close_timeout=60) as harness:
            client = harness.open()
            conn = harness.connection(client)
            # Each run stops the first frame at another place.
            queue_message(conn, True, b"f" * (1 + cut * 700))
            queue_message(conn, True, b"g" * 40_000)
            harness.turn()
            assert conn.pending > 0
            client.send(frame(PING, b"p"))
            harness.turn()
            if cut % 2:
                conn.close(4000)
                last = 4000
            else:
                client.send(frame(TEXT, b"x", mask=None))
                last = 1002
            until_closing(harness, client)
            kinds = [got.opcode for got in client.frames]
            assert kinds[-1] == CLOSE
            assert client.frames[-1].code == last
            assert all(
                set(got.payload) in ({ord("f")}, {ord("g")})
                for got in client.frames
                if got.opcode == BINARY
            )
            assert PONG in kinds or last == 1002


def until_closing(harness: Harness, client: Client) -> None:
    harness.until(lambda: client.frames and client.frames[-1].opcode == CLOSE, client)


def test_a_dropped_client_gets_the_rest_of_the_frame_that_was_begun(log: LogRecords) -> None:
    with NarrowHarness() as harness:
        client = harness.open()
        conn = harness.connection(client)
        queue_message(conn, True, b"begun" * 10_000)
        queue_message(conn, True, b"never sent")
        harness.turn()
        client.send(frame(TEXT, b"\xff"))
        harness.until(lambda: client.ended)
        assert [got.opcode for got in client.frames] == [BINARY, CLOSE]
        assert client.frames[0].payload == b"begun" * 10_000
        assert client.frames[1].code == 1007


def test_a_flood_of_pings_makes_no_queue_of_pongs(log: LogRecords) -> None:
    with NarrowHarness() as harness:
        client = harness.open()
        conn = harness.connection(client)
        queue_message(conn, True, b"in the way" * 5000)
        harness.turn()
        before = conn.pending_bytes
        for number in range(500):
            client.send(frame(PING, b"%03d" % number + b"x" * 122))
            harness.turn()
        assert conn.pending_bytes - before <= 16 * 127
        queue_message(conn, True, b"behind")
        harness.until(lambda: len(client.frames) == 18)
        harness.settle()
        assert len(client.frames) == 18
        numbers = [int(got.payload[:3]) for got in client.frames if got.opcode == PONG]
        # RFC 6455 section 5.5.3: the most recently processed ping is answered.
        assert numbers == [*range(15), 499]


# Random work against a model


class Peer:
    """A client that takes bytes as it pleases, and what is known about its connection."""

    def __init__(self, harness: Harness) -> None:
        self.client = harness.connect()
        self.client.send(REQUEST)
        harness.turn()
        self.conn: Connection = harness.opened[-1][0]
        self.data = b""
        self.accepted: list[tuple[int, bytes]] = []
        self.pings: list[bytes] = []
        self.closing = False
        """The server's close frame has to come."""
        self.cut_off = False
        """The connection was aborted: a part of everything may have come."""
        self.gone = False
        """The client has closed its socket."""

    def read(self, size: int) -> None:
        if self.gone:
            return
        try:
            self.data += self.client.socket.recv(size)
        except (BlockingIOError, ConnectionResetError):
            return

    def check(self, *, complete: bool) -> None:
        """What has come is the beginning of what was to come, or all of it."""
        head, found, stream = self.data.partition(b"\r\n\r\n")
        if not found:
            return
        assert head.startswith(b"HTTP/1.1 101 ")
        frames, rest = parse(stream)
        messages: list[tuple[int, bytes]] = []
        pongs = []
        kind = None
        parts: list[bytes] = []
        for number, got in enumerate(frames):
            if got.opcode == CLOSE:
                assert self.closing
                assert number == len(frames) - 1, "nothing follows a close frame"
                assert rest == b""
                assert kind is None, "no message is left half said"
            elif got.opcode == PONG:
                assert got.fin
                pongs.append(got.payload)
            else:
                assert (got.opcode == 0) == (kind is not None)
                kind = got.opcode if kind is None else kind
                parts.append(got.payload)
                if got.fin:
                    messages.append((kind, b"".join(parts)))
                    kind, parts = None, []
        assert messages == self.accepted[: len(messages)]
        asked = iter(self.pings)
        assert all(pong in asked for pong in pongs), "pongs come in order, each once"
        if complete and not self.cut_off:
            assert messages == self.accepted
            assert rest == b""
            if self.closing:
                assert frames[-1].opcode == CLOSE
            elif self.pings:
                assert pongs[-1] == self.pings[-1]


class Work(RuleBasedStateMachine):
    """Sends, pings, reads and ends in any order; each client gets what was accepted for it."""

    buffer_size = 300

    def __init__(self) -> None:
        super().__init__()
        self.frames_before = frames_alive()
        self.harness = NarrowHarness(
            buffer_size=self.buffer_size, close_timeout=600, linger_timeout=600
        )
        self.peers = [Peer(self.harness) for _ in range(3)]
        self.count = 0

    def message(self, size: int) -> bytes:
        self.count += 1
        return (b"%d," % self.count * (size // 2 + 1))[:size]

    @rule(
        who=st.sets(st.integers(0, 2), min_size=1),
        size=st.one_of(st.integers(1, 400), st.integers(400, 20_000)),
        times=st.sampled_from([1, 1, 1, 5, 70]),
        binary=st.booleans(),
    )
    def send(self, who: set[int], size: int, times: int, binary: bool) -> None:
        for _ in range(times):
            payload = self.message(size)
            peers = [self.peers[number] for number in who]
            before = [(peer.conn.is_open, peer.conn.dropped) for peer in peers]
            assert queue_message([peer.conn for peer in peers], binary, payload) == 0
            for peer, (was_open, dropped) in zip(peers, before, strict=True):
                if was_open and peer.conn.dropped == dropped:
                    peer.accepted.append((BINARY if binary else TEXT, payload))

    @rule(number=st.integers(0, 2), times=st.sampled_from([1, 1, 3, 30]))
    def ping(self, number: int, times: int) -> None:
        peer = self.peers[number]
        for _ in range(times if peer.conn.is_open and not peer.gone else 0):
            self.count += 1
            payload = b"ping %d" % self.count
            try:
                peer.client.socket.send(frame(PING, payload))
            except BlockingIOError:
                return
            peer.pings.append(payload)

    @rule(number=st.integers(0, 2), size=st.sampled_from([1, 13, 300, 4000, 100_000]))
    def read(self, number: int, size: int) -> None:
        self.peers[number].read(size)

    @rule(times=st.sampled_from([1, 1, 2, 10]))
    def turn(self, times: int) -> None:
        self.harness.turn(times)

    @rule(number=st.integers(0, 2))
    def close(self, number: int) -> None:
        peer = self.peers[number]
        if peer.conn.is_open:
            # Pings that were not read yet are not answered any more.
            self.harness.turn()
            peer.closing = peer.conn.is_open
            peer.conn.close(4321, "enough")

    @precondition(lambda self: any(peer.conn.is_open for peer in self.peers[1:]))
    @rule(number=st.integers(1, 2))
    def abort(self, number: int) -> None:
        peer = self.peers[number]
        if peer.conn.is_open:
            peer.cut_off = True
            peer.conn.abort()

    @precondition(lambda self: any(peer.conn.is_open for peer in self.peers[1:]))
    @rule(number=st.integers(1, 2), politely=st.booleans())
    def leave(self, number: int, politely: bool) -> None:
        peer = self.peers[number]
        if peer.gone or not peer.conn.is_open:
            return
        if politely:
            peer.client.socket.send(close_frame(1001))
            self.harness.turn()
            peer.closing = True
        else:
            peer.client.close()
            peer.gone = peer.cut_off = True

    @invariant()
    def each_has_the_beginning_of_what_was_accepted(self) -> None:
        for peer in self.peers:
            assert peer.conn.pending <= 200
            peer.check(complete=False)

    def teardown(self) -> None:
        try:
            self.finish()
        finally:
            self.harness.close()

    def finish(self) -> None:
        for _ in range(2000):
            self.harness.turn()
            for peer in self.peers:
                peer.read(1 << 20)
            if not any(peer.conn.pending_bytes for peer in self.peers):
                break
        self.harness.turn()
        for peer in self.peers:
            peer.read(1 << 20)
            assert peer.conn.pending_bytes == 0
            peer.check(complete=True)
        # Everything is written: no frame is left behind.
        assert frames_alive() == self.frames_before
        self.harness.engine.shutdown(0)
        ended = [id(conn) for conn, _, _ in self.harness.closed]
        assert sorted(ended) == sorted(id(peer.conn) for peer in self.peers)


class WorkWithSmallBuffers(Work):
    """Most messages are fragmented, and often have too many fragments."""

    buffer_size = 25


class WorkWithLargeBuffers(Work):
    """Frames are larger than what the kernel takes at once."""

    buffer_size = 65540


@pytest.mark.parametrize("work", [Work, WorkWithSmallBuffers, WorkWithLargeBuffers])
def test_each_client_gets_what_was_accepted_for_it_in_order(
    work: type[Work], log: LogRecords
) -> None:
    run_state_machine_as_test(
        work,
        settings=settings(
            max_examples=examples(50),
            stateful_step_count=40,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
