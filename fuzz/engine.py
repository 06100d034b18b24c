"""The whole engine over socket pairs: an input is settings and a program of what happens.

Clients connect, send requests, messages, pieces of them and any bytes, cut anywhere; they read
some, end their side, or go. Callbacks, and code between the turns, send, broadcast, close, abort,
pause and raise. Time passes in between. A hundred clients may do the same at once, and each send
thousands of frames for one read (`fuzz.crowd`). The only outcomes allowed:

- a client gets nothing, an HTTP response with one of `STATUSES`, or 101 and frames that RFC 6455
  and RFC 7692 have a client accept, with a close code out of `expected_codes` and nothing behind;
- it gets messages that were queued for it, whole and in order, none left out before the last one;
  all of them, if it was closed in order; pongs for its pings, in order;
- the message callback hears what the client's bytes mean (`fuzz.reference`), in order, from the
  first on; all of it, if the connection is still open when all has been read; nothing before the
  open callback accepted, and nothing after a close, in a pause or after the close callback;
- a client is dropped for breaking the protocol if it did, with the code that says how;
- the close callback runs once for each connection that was accepted, and for no other;
- nothing is raised but what a callback raised, `RuntimeError` for a turn within a turn, and
  `ValueError` for a message that fits no queue; nothing is a fault in the log;
- another engine may go on with all of them, and each goes on as if nothing had happened;
- in the end no frame, no connection and no descriptor is left, and the engine has come to rest.
"""

import gc
import os
import select
import socket
from collections.abc import Callable
from typing import Any, Final

from dorrit.engine import PENDING, Engine, Recovered, broadcast, queue_message
from dorrit.engine.connection import Connection, connections_alive
from dorrit.engine.frame import frames_alive
from dorrit.engine.limits import Limits
from dorrit.engine.reports import Reports
from dorrit.process.exec.memfd import nameless_file
from dorrit.protocol.closing import Dismissal
from dorrit.protocol.refusal import Refusal, refusal
from dorrit.protocol.request import Request
from fuzz.choices import Choices
from fuzz.client import Client, Heard
from fuzz.clock import START, Clock
from fuzz.crowd import Crowd
from fuzz.reference import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Rules, meaning_of, xor

STATUSES: Final = {101, 400, 401, 403, 405, 408, 414, 426, 431, 500, 503, 505}
DROPS: Final = {1002, 1003, 1007, 1009}
CLOSES: Final = (4000, 4001, 1000)
"""What the callbacks close connections with."""
STOPPED: Final = 1001
CLIENTS_MAX: Final = 6
MESSAGE_MAX: Final = 150_000
END: Final = b"\r\n\r\n"
REQUEST: Final = (
    b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)
FIELDS: Final = (
    b"",
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n",
    b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9\r\n",
    b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n",
    b"Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n",
    b"Sec-WebSocket-Protocol: chat, other\r\n",
    b"Sec-WebSocket-Extensions: ;\r\n",
    b"Sec-WebSocket-Version: 8\r\n",
    b"X: " + b"y" * 300 + b"\r\n",
)
PEERS: Final = ((), (), (os.getuid(),), (os.getuid() + 1,))
DEFLATE: Final[tuple[dict[str, Any] | None, ...]] = (
    None,
    {"deflate_from": 0},
    {"deflate_from": 10, "deflate_window_bits": 9},
    {
        "deflate_from": 0,
        "deflate_takeover": "both",
        "deflate_window_bits": 10,
        "deflate_keep_window": True,
    },
    {"deflate_takeover": "server"},
    {"deflate_takeover": "client"},
)


TOPICS: Final = ("a", "room:1", "\u00fc" * 127, "b", "x" * 255)
TOPICS_MAX: Final = 3
SUBSCRIBES: Final = 10
"""The rounds of 20 from which on a byte has a server subscribe, unsubscribe or publish as well."""


class OnPurpose(Exception):  # noqa: N818 - it is none
    """What a callback raises."""


class OnPurposeToo(BaseException):
    """What a callback raises that is no `Exception`, and costs its connection all the same."""


class MeantForTheProgram(SystemExit):
    """What a callback raises that no engine may keep for itself."""


class Strict(Reports):
    """Writes nothing, and remembers what must not be reported."""

    def __init__(self) -> None:
        """Begin without a fault."""
        super().__init__()
        self.faults: list[str] = []

    def _write(self, *_arguments: object, **_named: object) -> None:
        pass

    def callback_raised(
        self, callback: str, error: BaseException, connection: Connection | None = None
    ) -> None:
        """Take it for a fault, unless it was on purpose."""
        if not isinstance(error, OnPurpose | OnPurposeToo):
            self.faults.append(f"{callback}, {connection!r}: {error!r}")

    def engine_failed(self, error: BaseException, connection: Connection | None = None) -> None:
        """Take it for a fault."""
        self.faults.append(f"{connection!r}: {error!r}")


class Side:
    """The server's side of a client: what happened to its connection, and what it heard."""

    def __init__(self, client: Client, connection: Connection | None) -> None:
        """Begin with a connection that was just taken in."""
        self.client = client
        self.connection = connection
        self.extensions = ""
        self.queued: list[tuple[bool, bytes]] = []
        self.topics: set[str] = set()
        self.unconfirmed: dict[str, list[tuple[bool, bytes] | None]] = {}
        """What was published to topics of which the server has not been told; None: by this one."""
        self.told: set[str] = set()
        """Those of them of which it is being told."""
        self.is_vague = False
        """Some of what had waited was left out, and nobody knows what."""
        self.delivered: list[tuple[bool, bytes]] = []
        self.accepted = False
        self.pending = False
        self.resuming = False
        self.carried = False
        self.paused = False
        self.closed_by_server = False
        self.raised = False
        self.wants_room = False
        self.waiting = 0
        """Messages that a handler has not begun with, as an `async` one."""
        self.ends: list[int] = []

    def rules(self, rfc: bool, message_max: int) -> Rules:
        """Return what is accepted of this client."""
        deflate = self.extensions != ""
        return Rules(rfc, message_max, deflate, "client_no_context_takeover" not in self.extensions)


class Program:
    """Carries out an input."""

    def __init__(self, choices: Choices, clock: Clock) -> None:
        """Make the engine with the settings that the input begins with."""
        self.choices = choices
        self.clock = clock
        self.sides: list[Side] = []
        self.by_number: dict[int, Side] = {}
        self.reports = Strict()
        self.in_callback = 0
        self.is_ending = False
        c = choices
        self.rfc = c.flag()
        deflate = c.one_of(DEFLATE)
        self.buffer_size = c.one_of((65540, 10, 14, 131, 100, 1000))
        self.rfc_max = c.one_of((1 << 20, 1, 20, 126, 1000, 70_000))
        self.message_max = self.rfc_max if self.rfc else self.buffer_size - 5
        self.text_as_str = c.flag()
        self.rate = c.one_of((0, 0, 0, 1, 5))
        self.buffered = c.one_of((1 << 28, 0, 1 << 28, 1, 3000))
        modes = c.byte()
        self.is_narrow = bool(modes & 1)
        self.confirms = bool(modes >> 1 & 1)
        self.pending_max = c.one_of((0, 0, 1, 500, 5000))
        self.closes_slow = c.flag()
        self.ping_interval = c.one_of((0.0, 1.0, 20.0))
        self.idle_timeout = c.one_of((0.0, 0.0, 0.5, 30.0))
        few = c.byte()
        # As the engine has it: the largest message takes half of a queue.
        self.fragment_max = self.buffer_size - 5
        if self.rfc:
            self.fragment_max = max(self.fragment_max, -(-self.rfc_max // 100))
        self.limits = Limits(
            buffer_size=self.buffer_size,
            max_connections=(16384, 1)[few & 1],
            max_handshakes=(1024, 1)[few >> 1 & 1],
            max_head=(65536, 170)[few >> 2 & 1],
            allow_peer=frozenset(PEERS[few >> 3 & 3]),
            keep_requests=bool(few >> 5 & 1),
            handshake_timeout=(10.0, 0.5)[few >> 6 & 1],
            max_pending_bytes=self.pending_max,
            max_topics=TOPICS_MAX,
            slow_clients="close" if self.closes_slow else "refuse",
            ping_interval=self.ping_interval,
            ping_timeout=c.one_of((20.0, 0.25, 0.0)),
            idle_timeout=self.idle_timeout,
            rfc=self.rfc,
            max_message=self.rfc_max,
            max_message_rate=self.rate,
            max_buffered=self.buffered,
            deflate=self.rfc and deflate is not None,
            **deflate or {},
        )
        self.acts_periodically = bool(few >> 7)
        self.engine = self.new_engine()
        self.crowd = Crowd(self)

    def new_engine(self) -> Engine:
        engine = Engine(
            on_open=self.on_open,
            on_message=self.on_text_or_bytes if self.text_as_str else self.on_message,
            on_close=self.on_close,
            limits=self.limits,
            reports=self.reports,
            text_as_str=self.text_as_str,
            on_resume=self.on_resume,
            on_subscribed=self.on_subscribed if self.confirms else None,
            carries=True,
        )
        engine.join_loop(lambda _: None, self.on_room)  # type: ignore[arg-type, return-value]
        if self.acts_periodically:
            engine.every(1.0, lambda: self.act(None))
        return engine

    # Callbacks

    def on_open(self, connection: Connection, request: Request) -> object:
        side = self.by_number[connection.number]
        assert not side.accepted
        assert not side.pending
        assert connection.request is request
        side.extensions = request.extensions
        request.select("chat")
        connection.save(str(connection.number).encode())
        if not self.crowd.lets_act():
            side.accepted = True
            return None
        decision = self.choices.byte() % 16
        self.act(connection)
        if decision == 1:
            return refusal(401, "not you")
        if decision == 2:
            side.pending = True
            return PENDING
        side.accepted = True
        return None

    def on_resume(
        self, connection: Connection, request: Request, state: bytes | None, begun: object
    ) -> object:
        side = self.by_number[connection.number]
        assert side.connection is connection
        assert side.accepted, "no resumption before it is accepted"
        assert not side.ends, "no resumption after the close callback"
        assert state == str(connection.number).encode() == connection.saved
        assert connection.request is request
        assert begun is None
        if not self.crowd.lets_act():
            return None
        decision = self.choices.byte() % 16
        self.act(connection)
        if not connection.is_open:
            return None
        if decision == 1:
            side.closed_by_server = True
            return Dismissal(1008, "not any more", is_told=True)
        if decision == 2:
            side.closed_by_server = True
            side.accepted = False
            return Dismissal(1008, "not any more", is_told=False)
        if decision == 3:
            side.resuming = side.paused = True
            return PENDING
        return None

    def on_subscribed(self, connection: Connection, topic: str, recovered: Recovered) -> object:
        side = self.by_number[connection.number]
        assert side.accepted, "no subscription before it is accepted"
        assert not side.ends, "no subscription after the close callback"
        assert connection.is_open
        assert topic in side.unconfirmed
        assert topic not in side.told
        assert recovered == (0, True)
        side.told.add(topic)
        if self.crowd.lets_act():
            self.act(connection)
        if self.choices.flag():
            self.catch_up(side, connection, topic)
        return PENDING if topic in side.told else None

    def on_text_or_bytes(self, connection: Connection, message: str | bytes) -> None:
        binary = isinstance(message, bytes)
        self.on_message(
            connection, binary, message.encode() if isinstance(message, str) else message
        )

    def on_message(self, connection: Connection, binary: bool, payload: bytes) -> None:
        side = self.by_number[connection.number]
        self.crowd.end_handlers()
        assert side.accepted, "no message before it is accepted"
        assert not side.ends, "no message after the close callback"
        assert not side.closed_by_server, "no message after a close"
        assert not side.paused, "no message in a pause"
        assert connection.is_open or side.client.gone, "what was sent before it went is heard"
        side.delivered.append((binary, payload))
        self.crowd.wait(side, connection)
        if self.crowd.lets_act():
            self.act(connection, payload)

    def on_close(self, connection: Connection, code: int, reason: str) -> None:
        side = self.by_number[connection.number]
        assert side.accepted, "no close callback without an open one"
        assert isinstance(reason, str)
        assert not connection.is_open
        side.ends.append(code)
        if self.crowd.lets_act():
            self.act(connection)

    def on_room(self, connection: Connection) -> None:
        assert self.by_number[connection.number].wants_room, "nobody has asked"

    # What a server does

    def act(self, connection: Connection | None, payload: bytes = b"echo") -> None:
        """Do what the input says, from a callback or between turns."""
        rounds, what = divmod(self.choices.byte(), 20)
        if what < 2:
            return
        if what == 2:
            self.engine_turns_in_callback()
            return
        if connection is None or what >= 14:
            if not self.sides:
                return
            side = self.choices.one_of(self.sides)
            if side.connection is None:
                return
            connection = side.connection
        side = self.by_number[connection.number]
        action = (
            self.send, self.send_much, self.broadcast, self.queue, self.close, self.abort,
            self.fail, self.pause, self.resume, self.want_room, self.stop, self.raise_it,
        )[(what - 3) % 12]  # fmt: skip
        if rounds >= SUBSCRIBES:
            (self.subscribe, self.unsubscribe, self.publish)[rounds - SUBSCRIBES](side, connection)
        action(side, connection, payload)

    def engine_turns_in_callback(self) -> None:
        if not self.in_callback:
            return
        try:
            self.engine.poll()
        except RuntimeError:
            return
        raise AssertionError("a turn within a turn")

    def message(self) -> tuple[bool, bytes]:
        binary = self.choices.flag()
        unit = self.choices.bytes(self.choices.byte() % 32)
        payload = unit * self.choices.one_of((1, 1, 3, 40, 1200, 6000))
        # Few bytes for each turn would be many turns.
        payload = payload[: min(MESSAGE_MAX, self.buffer_size * 300)]
        return binary, payload if binary else payload.decode("latin-1").encode()

    def send(self, side: Side, connection: Connection, _payload: bytes) -> None:
        self.send_one(side, connection, *self.message())

    def send_much(self, side: Side, connection: Connection, payload: bytes) -> None:
        for _ in range(self.choices.byte()):
            self.send_one(side, connection, binary=True, payload=payload[:1000])

    def send_one(self, side: Side, connection: Connection, binary: bool, payload: bytes) -> None:
        was_open = connection.is_open
        try:
            is_queued = connection.send(payload if binary else payload.decode())
        except ValueError:
            assert self.may_be_too_large(payload)
            return
        assert was_open or not is_queued
        if is_queued:
            side.queued.append((binary, payload))

    def may_be_too_large(self, payload: bytes) -> bool:
        """Return whether there may be no room for a message in any queue."""
        # Those of messages that may not be received are not made larger (R17).
        frames = len(payload) // (self.buffer_size - 5) + 1
        most = min(limit for limit in (self.pending_max, self.buffered, 1 << 62) if limit > 0)
        return frames > 200 or most < len(payload) + 10 * frames

    def broadcast(self, _side: Side, _connection: Connection, _payload: bytes) -> None:
        self.to_many([side for side in self.sides if side.connection], *self.message(), queue=False)

    def queue(self, side: Side, _connection: Connection, _payload: bytes) -> None:
        several = [other for other in self.sides if other.connection]
        self.to_many(
            several if self.choices.flag() else [side], *self.message(), queue=self.choices.flag()
        )

    def subscribe(self, side: Side, connection: Connection) -> None:
        topic = self.choices.one_of(TOPICS)
        if connection.subscribe(topic):
            if self.confirms and topic not in side.topics:
                side.unconfirmed[topic] = []
            side.topics.add(topic)
        if side.told and self.choices.flag():
            self.catch_up(side, connection, self.choices.one_of(sorted(side.told)))
        self.check_topics(side, connection)

    def catch_up(self, side: Side, connection: Connection, topic: str) -> None:
        """Let a client have what has waited for it, unless it has left the topic."""
        is_told = topic in side.told and connection.is_open
        dropped = connection.dropped
        self.engine.catch_up(connection, topic)
        if not is_told:
            return
        side.told.remove(topic)
        waiting = side.unconfirmed.pop(topic)
        missing = connection.dropped - dropped
        if missing == 0 and connection.is_open:
            side.queued += [message for message in waiting if message is not None]
        elif missing != len(waiting) or not connection.is_open:
            side.is_vague = True

    def unsubscribe(self, side: Side, connection: Connection) -> None:
        topic = self.choices.one_of(TOPICS)
        connection.unsubscribe(topic)
        if connection.is_open:
            side.topics.discard(topic)
            side.unconfirmed.pop(topic, None)
            side.told.discard(topic)
        self.check_topics(side, connection)

    def check_topics(self, side: Side, connection: Connection) -> None:
        if connection.is_open:
            assert connection.topics == side.topics
            assert len(side.topics) <= TOPICS_MAX

    def publish(self, side: Side, connection: Connection) -> None:
        """Publish to those who have subscribed, but not to this one."""
        topic = self.choices.one_of(TOPICS)
        others = [one for one in self.sides if one is not side and topic in one.topics]

        def publish(message: str | bytes) -> int:
            return self.engine.publish(topic, message, connection)

        binary, payload = self.message()
        for one in self.sides:
            if topic in one.unconfirmed:
                one.unconfirmed[topic].append(None if one is side else (binary, payload))
        others = [one for one in others if topic not in one.unconfirmed]
        self.to_many(others, binary, payload, queue=False, publish=publish)

    def to_many(
        self,
        sides: list[Side],
        binary: bool,
        payload: bytes,
        *,
        queue: bool,
        publish: Callable[[str | bytes], int] | None = None,
    ) -> None:
        connections = [side.connection for side in sides if side.connection is not None]
        before = [(c.is_open, c.dropped) for c in connections]
        if publish is not None:
            count = publish(payload if binary else payload.decode())
        elif queue:
            target = connections[0] if len(connections) == 1 else connections
            outcome = queue_message(target, binary, payload)
            assert outcome == (0 if payload else -2)
            if not payload:
                return
            count = len(connections)
        else:
            try:
                count = broadcast(connections, payload if binary else payload.decode())
            except ValueError:
                assert self.may_be_too_large(payload)
                count = len(connections)
        got = 0
        for side, connection, (was_open, dropped) in zip(sides, connections, before, strict=True):
            if was_open and connection.is_open and connection.dropped == dropped:
                side.queued.append((binary, payload))
                got += 1
        assert got <= count

    def close(self, side: Side, connection: Connection, _payload: bytes) -> None:
        was_open = connection.is_open
        connection.close(self.choices.one_of(CLOSES), "é" * self.choices.byte())
        assert not connection.is_open
        side.closed_by_server |= was_open

    def abort(self, side: Side, connection: Connection, _payload: bytes) -> None:
        connection.abort()
        side.closed_by_server = True

    def fail(self, side: Side, connection: Connection, _payload: bytes) -> None:
        # One whose request has not come goes on.
        side.closed_by_server |= connection.is_open or side.accepted or side.pending
        self.engine.fail(connection, 1008, "x")

    def pause(self, side: Side, connection: Connection, _payload: bytes) -> None:
        if not side.pending and not side.resuming:
            self.engine.pause(connection)
            side.paused = connection.is_open

    def resume(self, side: Side, connection: Connection, _payload: bytes) -> None:
        if not side.pending and not side.resuming:
            self.engine.resume(connection)
            side.paused = False

    def want_room(self, side: Side, connection: Connection, _payload: bytes) -> None:
        side.wants_room = True
        self.engine.want_room(connection)
        self.engine.has_room(connection)

    def stop(self, _side: Side, _connection: Connection, _payload: bytes) -> None:
        self.engine.stop()

    def raise_it(self, side: Side, _connection: Connection, _payload: bytes) -> None:
        if self.in_callback:
            side.raised = True
            for other in self.sides:  # a callback of one may have acted on another one
                other.raised = True
            raise (OnPurpose, OnPurpose, OnPurposeToo, MeantForTheProgram)[self.choices.byte() % 4]

    # What clients do

    def turn(self) -> None:
        self.in_callback = 1
        try:
            self.engine.poll()
        except MeantForTheProgram:
            pass
        finally:
            self.in_callback = 0
        self.crowd.end_handlers()

    def connect(self, most: int = CLIENTS_MAX) -> None:
        if len(self.sides) >= most:
            return
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        if self.is_narrow:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        connection = self.engine.adopt(ours.detach())
        side = Side(Client(theirs), connection)
        self.sides.append(side)
        assert connection is not None
        self.by_number[connection.number] = side

    def client(self) -> Client | None:
        return self.choices.one_of(self.sides).client if self.sides else None

    def ask(self, client: Client) -> None:
        client.outbox += REQUEST + self.choices.one_of(FIELDS) + b"\r\n"

    def put_frame(self, client: Client, first: int, payload: bytes) -> None:
        size = len(payload)
        extended = b""
        if size > 0xFFFF:
            extended, size = size.to_bytes(8), 127
        elif size > 125:
            extended, size = size.to_bytes(2), 126
        key = b"\x00\x00\x00\x00" if first % 2 else b"\x37\xfa\x21\x3d"
        client.outbox += bytes((first, 0x80 | size)) + extended + key + xor(payload, key)

    def say(self, client: Client) -> None:
        """Put a message into the outbox, in any number of fragments, compressed or not."""
        how = self.choices.byte()
        binary, payload = self.message()
        first = BINARY if binary else TEXT
        if how & 1:
            payload = client.compress(payload, takeover=bool(how & 2))
            first |= 0x40
        count = (1, 1, 2, 5)[how >> 2 & 3]
        size = len(payload) // count + 1
        for index in range(count):
            fin = 0x80 if index == count - 1 else 0
            self.put_frame(client, first | fin, payload[index * size : (index + 1) * size])
            first = CONTINUATION
            if how & 16:
                self.put_frame(client, 0x80 | PING, bytes((index,)))

    def control(self, client: Client) -> None:
        opcode = self.choices.one_of((PING, PONG, CLOSE))
        payload = self.choices.bytes(self.choices.byte() % 130)
        if opcode == CLOSE and self.choices.flag():
            payload = (4100).to_bytes(2) + b"bye"
        self.put_frame(client, 0x80 | opcode, payload)

    def spoil(self, client: Client) -> None:
        if client.outbox:
            client.outbox[self.choices.number() % len(client.outbox)] = self.choices.byte()

    def step(self) -> None:
        """Let one thing happen."""
        what = self.choices.byte() % 24
        if what < 3:
            self.turn()
        elif what == 3:
            self.connect()
        elif what == 4:
            self.clock.advance(self.choices.one_of((100, 250, 1000, 2500, 11_000, 60_000)))
        elif what == 5:
            self.act(None)
        elif what == 6:
            self.answer()
        elif what == 7:
            self.connect()
            self.ask(self.sides[-1].client)
            self.sides[-1].client.push(1 << 20)
            self.turn()
        elif what == 8:
            self.end_or_begin_anew(self.choices.byte() % 16)
        elif what == 23:
            self.crowd.step()
        else:
            client = self.client()
            if client is not None:
                self.client_does(client, what)

    def end_or_begin_anew(self, which: int) -> None:
        if which == 15:
            self.begin_shutdown()
        elif which < 8 and not self.is_ending:
            self.carry()

    def carry(self) -> None:
        """Have another engine go on with all connections."""
        self.answer_for_the_gone()
        file = nameless_file("ledger")
        try:
            self.engine.carry_out(file)
            self.engine = self.new_engine()
            _, lost = self.engine.carry_in(file)
        finally:
            os.close(file)
        assert lost == 0
        for connection in self.engine.all_connections():
            side = self.by_number[connection.number]
            side.connection = connection
            side.carried = True
            side.paused = side.resuming = False
            side.waiting = 0
            if side.pending:
                # It is asked about again, as if the first time.
                side.pending = side.closed_by_server = False
                side.queued.clear()
                side.topics.clear()
                side.unconfirmed.clear()
            for waiting in side.unconfirmed.values():
                waiting.clear()  # nothing was promised of it
            side.told.clear()
            self.check_topics(side, connection)

    def answer_for_the_gone(self) -> None:
        """Give up what is still being decided about clients that have gone."""
        for side in self.sides:
            connection = side.connection
            if connection in self.engine.all_connections() or connection is None:
                continue
            if side.pending:
                self.engine.answer(connection, refusal(401, "it has gone"))
            elif side.resuming:
                self.engine.answer_resume(connection, None)
            side.pending = side.resuming = False

    def client_does(self, client: Client, what: int) -> None:
        if what == 9:
            self.ask(client)
        elif what == 10:
            client.outbox += self.choices.bytes(self.choices.byte() % 64)
        elif what < 14:
            self.say(client)
        elif what == 14:
            self.control(client)
        elif what == 15:
            self.spoil(client)
        elif what < 18:
            client.push(self.choices.number())
            self.turn()
        elif what < 20:
            client.push(1 << 20)
            self.turn()
        elif what == 20:
            client.pull(self.choices.number() or 1 << 20)
        elif what == 21:
            client.end_sending()
        elif what == 22:
            client.close()

    def answer(self) -> None:
        for side in self.sides:
            if side.pending and side.connection is not None:
                answer: Refusal | None = None
                if self.choices.byte() % 4 == 1:
                    answer = refusal(401, "not you")
                side.pending = False
                side.paused = False  # an answer ends a pause
                side.accepted = answer is None
                self.engine.answer(side.connection, answer)
            elif side.resuming and side.connection is not None:
                side.resuming = side.paused = False
                self.engine.answer_resume(side.connection, None)

    def begin_shutdown(self) -> None:
        self.is_ending = True
        self.engine.begin_shutdown(STOPPED)
        for side in self.sides:
            side.closed_by_server = True

    # The end

    def settle(self) -> None:
        """Let the engine do what there is to do, while the clients read."""
        idle = 0
        while idle < 1000:
            self.turn()
            heard = [side.client.pull(1 << 20) for side in self.sides]
            if not any(heard) and not select.select([self.engine.fileno()], [], [], 0)[0]:
                return
            idle = 0 if any(heard) else idle + 1
        raise AssertionError("the engine does not come to rest")

    def run(self) -> None:
        """Carry the input out, and judge what came of it."""
        while self.choices.left:
            self.step()
        self.choices = Choices(b"")
        self.crowd.waits = 0
        self.answer()
        for side in self.sides:
            if side.connection is not None:
                self.engine.resume(side.connection)
                side.paused = False
        self.settle()
        assert self.reports.faults == [], self.reports.faults
        for side in self.sides:
            self.judge_delivered(side)
        self.begin_shutdown()
        self.settle()
        self.engine.end_shutdown()
        self.settle()
        assert self.reports.faults == [], self.reports.faults
        for side in self.sides:
            self.judge(side, side.client.heard(self.fragment_max))
        assert self.engine.all_connections() == []

    def release(self) -> None:
        """Leave nothing behind."""
        self.engine.close()
        for side in self.sides:
            side.client.close()

    def judge_delivered(self, side: Side) -> None:
        """Look at what was heard of a client."""
        _, found, frames = side.client.sent.partition(END)
        meaning = meaning_of(frames if found else b"", side.rules(self.rfc, self.message_max))
        count = len(side.delivered)
        assert side.delivered == meaning.messages[:count], "the messages are those of the client"
        if side.connection is not None and side.connection.is_open and side.accepted:
            assert side.delivered == meaning.messages, "none is missing"
            assert not meaning.faults, "who breaks the protocol is dropped"
            assert meaning.closed is None, "who closes is closed"

    def expected_codes(self, side: Side) -> set[int]:
        """Return the close codes that a client may see."""
        _, _, frames = side.client.sent.partition(END)
        meaning = meaning_of(frames, side.rules(self.rfc, self.message_max))
        codes = {STOPPED} | meaning.faults
        if meaning.closed is not None:
            codes.add(meaning.closed)
        if side.closed_by_server:
            codes |= DROPS | set(CLOSES) | {1008}
        if side.raised:
            codes.add(1011)
        if side.carried and side.extensions and "client_no_context" not in side.extensions:
            codes.add(1012)
        if self.rate or self.closes_slow:
            codes.add(1008)
        if 0 < self.buffered < 1 << 28:
            codes.add(1013)
        if self.ping_interval or self.idle_timeout:
            codes.add(3008)
        return codes

    def judge(self, side: Side, heard: Heard) -> None:
        """Look at what a client heard, and at what was heard of its end."""
        assert len(side.ends) == side.accepted, (
            "the close callback runs once for whoever is accepted"
        )
        assert heard.status is None or heard.status in STATUSES
        # After our close nothing is read of a client but its close frame, whatever precedes it.
        if side.ends and not side.closed_by_server:
            assert side.ends[0] in self.expected_codes(side) | {1006}, side.ends
        if heard.status != 101:
            return
        if not side.is_vague:
            assert heard.messages == side.queued[: len(heard.messages)], "in order, none left out"
        _, _, frames = side.client.sent.partition(END)
        pings = iter(meaning_of(frames, side.rules(self.rfc, self.message_max)).pings)
        assert all(pong in pings for pong in heard.pongs), "pongs are the pings', in order"
        if heard.closed is None:
            return
        assert heard.closed in self.expected_codes(side), (heard.closed, self.expected_codes(side))
        if heard.closed in (STOPPED, 4000, 4001, 4100):
            assert side.is_vague or heard.messages == side.queued, (
                "who is closed in order has got all"
            )


CLOCK: Final = Clock()


def fuzz_one(data: bytes) -> None:
    """Judge one input."""
    CLOCK.advance(START - CLOCK.now())
    descriptors = set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a name for each
    program = Program(Choices(data), CLOCK)
    try:
        program.run()
    finally:
        program.release()
    del program
    if connections_alive() or frames_alive():
        gc.collect()
    assert frames_alive() == 0, "no frame is left"
    assert connections_alive() == 0, "no connection is left"
    assert set(os.listdir("/proc/self/fd")) == descriptors, "no descriptor is left"  # noqa: PTH208
