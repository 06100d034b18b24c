"""Topics of connections: who gets what is published, also if some end meanwhile (T1, T3)."""

import gc
import random
import socket
import threading
from typing import Any

import pytest

from dorrit.engine import Connection, Engine
from dorrit.protocol.refusal import OPEN_CALLBACK_REFUSED, Refusal, refusal
from tests.support.carrying import CarryingHarness, ledger
from tests.support.deflating import offering
from tests.support.frames import BINARY, REQUEST, TEXT, close_frame, frame
from tests.support.harness import Client, Harness, LogRecords
from tests.support.narrow import NarrowHarness


def clients_of(harness: Harness, count: int) -> tuple[list[Client], list[Connection]]:
    clients = [harness.open() for _ in range(count)]
    return clients, [harness.connection(client) for client in clients]


def payloads(client: Client) -> list[bytes]:
    return [frame.payload for frame in client.frames]


def test_T1_those_who_are_subscribed_get_it_in_order_and_nobody_else() -> None:
    with Harness() as harness:
        clients, (first, second, third) = clients_of(harness, 3)
        assert first.subscribe("a")
        assert first.subscribe("a"), "it is so already"
        assert first.subscribe("b")
        assert second.subscribe("b")
        assert (first.topics, third.topics) == ({"a", "b"}, frozenset())
        assert [harness.engine.count(topic) for topic in "abc"] == [1, 2, 0]
        assert harness.engine.publish("a", "to the first") == 1
        assert harness.engine.publish("b", b"to both") == 2
        assert harness.engine.publish("b", "to the second", exclude=first) == 1
        assert harness.engine.publish("c", "to nobody") == 0
        third.send("to the third")
        harness.settle()
        assert [payloads(client) for client in clients] == [
            [b"to the first", b"to both"], [b"to both", b"to the second"], [b"to the third"],
        ]  # fmt: skip
        assert [frame.opcode for frame in clients[0].frames] == [1, 2]


def test_T1_what_is_queued_when_a_client_unsubscribes_still_goes() -> None:
    with Harness() as harness:
        (client,), (conn,) = clients_of(harness, 1)
        conn.subscribe("a")
        harness.engine.publish("a", "before")
        conn.unsubscribe("a")
        conn.unsubscribe("a")
        conn.unsubscribe("never")
        assert harness.engine.publish("a", "after") == 0
        harness.settle()
        assert payloads(client) == [b"before"]


@pytest.mark.parametrize(
    "topic", ["", "a\n", "\0", "\x7f", "a\x9f", "x" * 256, "ü" * 128, "\ud800"]
)
def test_T1_what_can_be_no_topic_is_refused_by_each_call(topic: str) -> None:
    with Harness() as harness:
        _, (conn,) = clients_of(harness, 1)
        engine = harness.engine
        calls = (
            conn.subscribe,
            conn.unsubscribe,
            engine.count,
            lambda topic: engine.publish(topic, "x"),
        )
        for call in calls:
            with pytest.raises(ValueError, match="can't be a topic"):
                call(topic)
            with pytest.raises(TypeError, match="a topic is a str, not bytes"):
                call(topic.encode("utf-8", "replace"))


@pytest.mark.parametrize("topic", [" ", "x" * 255, "ü" * 127, "#", "a/+/*", "\U0001f980", "\u200b"])
def test_T1_any_other_text_is_a_topic_and_no_more_than_its_name(topic: str) -> None:
    with Harness() as harness:
        (client,), (conn,) = clients_of(harness, 1)
        assert conn.subscribe(topic)
        assert conn.topics == {topic}
        assert harness.engine.publish(topic, "yes") == 1
        assert harness.engine.publish(topic + "x" if len(topic) < 100 else topic[1:], "no") == 0
        harness.settle()
        assert payloads(client) == [b"yes"]


class Name(str):
    """Such as the members of an enumeration are."""

    __slots__ = ()

    def __hash__(self) -> int:
        return 1

    def __str__(self) -> str:
        return "something else"


def test_T1_a_str_of_another_type_is_the_topic_of_its_characters() -> None:
    with Harness() as harness:
        _, (conn,) = clients_of(harness, 1)
        conn.subscribe(Name("a"))
        assert conn.topics == {"a"}
        assert harness.engine.publish("a", "x") == harness.engine.publish(Name("a"), "x") == 1


def test_T1_who_ends_leaves_and_its_close_callback_knows_what_it_had() -> None:
    with Harness() as harness:
        (leaving, staying), (first, second) = clients_of(harness, 2)
        for conn in (first, second):
            conn.subscribe("room")
            conn.subscribe("news")
        seen: list[Any] = []

        def closed(conn: Connection, _code: int, _reason: str) -> None:
            count = harness.engine.count("room")
            seen.append((conn.topics, count, harness.engine.publish("room", "one has left")))

        harness.close_callback = closed
        leaving.send(close_frame(1000))
        harness.until(lambda: seen)
        assert seen == [({"room", "news"}, 1, 1)]
        harness.settle()
        assert payloads(staying) == [b"one has left"]
        assert not first.subscribe("late")
        first.unsubscribe("room")
        assert first.topics == {"room", "news"}


@pytest.mark.parametrize("end", ["close", "abort"])
def test_T1_who_is_closed_leaves_at_once(end: str) -> None:
    with Harness() as harness:
        _, (conn,) = clients_of(harness, 1)
        conn.subscribe("a")
        getattr(conn, end)()
        assert harness.engine.count("a") == 0
        assert conn.topics == {"a"}
        assert not conn.subscribe("b")
        assert conn.topics == {"a"}


def test_T1_who_is_refused_or_whose_number_is_given_to_another_leaves_nothing_behind() -> None:
    with Harness() as harness:

        def opened(conn: Connection, request: Any) -> Refusal | None:
            assert conn.subscribe("a")
            return refusal(*OPEN_CALLBACK_REFUSED) if request.path == "/no" else None

        harness.open_callback = opened
        refused = harness.connect()
        refused.send(REQUEST.replace(b"/chat", b"/no"))
        harness.until(lambda: refused.status == 403)
        assert harness.engine.count("a") == 0
        harness.open()
        conn = harness.opened[-1][0]
        assert harness.engine.count("a") == 1
        conn.abort()
        harness.settle()
        harness.open_callback = None
        harness.open()
        other = harness.opened[-1][0]
        assert other is not conn
        assert other.topics == frozenset()
        assert harness.engine.publish("a", "x") == 0


@pytest.mark.parametrize("end", ["close", "abort"])
def test_T1_who_is_closed_by_its_open_callback_had_topics_for_its_close_callback(end: str) -> None:
    with Harness() as harness:

        def opened(conn: Connection, _request: Any) -> None:
            conn.subscribe("a")
            getattr(conn, end)()

        harness.open_callback = opened
        harness.connect().send(REQUEST)
        seen: list[Any] = []
        harness.close_callback = lambda conn, _code, _reason: seen.append(conn.topics)
        harness.until(lambda: harness.opened)
        for client in harness.clients:
            client.close()
        harness.until(lambda: seen)
        assert seen == [{"a"}]
        assert harness.engine.count("a") == 0


def test_T1_no_finalizer_meets_a_connection_that_is_about_to_leave_its_topics() -> None:
    """Each allocation may collect garbage here, and with it somebody who ends the connection."""

    class Session:
        def __init__(self, conn: Connection) -> None:
            self.conn = conn
            self.itself = self

        def __del__(self) -> None:
            self.conn.abort()

    with Harness() as harness:
        threshold = gc.get_threshold()
        try:
            for end in ("close", "abort", "goes"):
                client = harness.open()
                conn = harness.opened[-1][0]
                conn.subscribe("a")
                conn.data = Session(conn)
                gc.collect()
                conn.data = None
                gc.set_threshold(1)
                if end == "goes":
                    client.close()
                    harness.turn(3)
                else:
                    getattr(conn, end)()
                gc.set_threshold(*threshold)
                harness.until(lambda: len(harness.closed) == len(harness.opened), client)
                assert conn.topics == {"a"}
        finally:
            gc.set_threshold(*threshold)
        assert (harness.engine.connections, harness.engine.count("a")) == (0, 0)


def test_T1_listeners_hear_in_the_turn_what_a_callback_publishes_and_what_the_last_ones_do() -> (
    None
):
    with Harness() as harness:
        client, other = harness.open(), harness.open()
        heard: list[Any] = []

        def hear(topic: str, message: str | bytes) -> None:
            heard.append(message)
            if message == b"question":
                harness.engine.publish(topic, "answer")

        harness.engine.listen_to_topic("a", hear)
        harness.message_callback = lambda _c, _b, payload: harness.engine.publish("a", payload)
        harness.close_callback = lambda conn, *_: harness.engine.publish("a", f"{conn.number} left")
        client.send(frame(BINARY, b"question"))
        harness.until(lambda: harness.messages)
        assert heard == [b"question"]
        harness.turn()
        assert heard == [b"question", "answer"]
        for one in (client, other):
            harness.connection(one).subscribe("a")
        harness.engine.shutdown(0)
        assert heard[2:] == ["1 left", "2 left"]


def test_T1_what_an_open_callback_publishes_reaches_its_own_client_behind_the_response() -> None:
    with Harness() as harness:

        def opened(conn: Connection, _request: Any) -> None:
            conn.subscribe("a")
            harness.engine.publish("a", "welcome")

        harness.open_callback = opened
        client = harness.open()
        harness.settle()
        assert client.status == 101
        assert payloads(client) == [b"welcome"]


def test_T3_clients_that_end_while_something_is_published_cost_nobody_else_anything(
    log: LogRecords,
) -> None:
    """Each message finds two whose queue is full, which closes them: in the midst of the list."""
    with NarrowHarness(slow_clients="close", max_pending_bytes=4000) as harness:
        clients, conns = clients_of(harness, 9)
        for conn in conns:
            conn.subscribe("a")
        slow = conns[2], conns[5], conns[8]
        for number in range(40):
            for conn in slow:
                if conn.is_open:
                    conn.send(random.Random(number).randbytes(3000))
            harness.engine.publish("a", b"%d" % number + bytes(3000))
            harness.turn()
            for client in clients:
                if harness.connection(client) not in slow:
                    client.receive()
        assert harness.engine.count("a") == 6
        harness.settle()
        for client, conn in zip(clients, conns, strict=True):
            if conn not in slow:
                assert [p.rstrip(b"\0") for p in payloads(client)] == [b"%d" % n for n in range(40)]
        assert [code for _, code, _ in harness.closed] == [1008] * 3
    assert log.text.count("a client does not read") == 3


def test_T3_a_slow_client_is_left_out_and_that_is_counted() -> None:
    with NarrowHarness(max_pending_bytes=5000) as harness:
        (slow, reading), (first, second) = clients_of(harness, 2)
        first.subscribe("a")
        second.subscribe("a")
        queued = []
        for _ in range(40):
            queued.append(harness.engine.publish("a", bytes(3000)))
            harness.turn()
            reading.receive()
        assert queued[0] == 2
        assert queued[-1] == 1
        assert first.dropped == queued.count(1)
        assert second.dropped == 0
        assert harness.engine.count("a") == 2
        assert slow.frames == []


def test_T3_it_is_compressed_once_for_all_who_share_the_terms(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from dorrit.protocol.deflate import Deflate

    compressed = []
    deflate = Deflate.deflate

    def counted(self: Deflate, payload: bytes) -> bytes:
        compressed.append(payload)
        return deflate(self, payload)

    monkeypatch.setattr(Deflate, "deflate", counted)
    with Harness(rfc=True, deflate=True) as harness:
        clients = [harness.open(offering()) for _ in range(5)]
        clients += [harness.open(), harness.open()]
        for client in clients:
            harness.connection(client).subscribe("a")
        message = b"again and again " * 100
        assert harness.engine.publish("a", message) == 7
        assert len(compressed) == 1
        harness.settle()
        assert [client.frames[0].compressed for client in clients] == [True] * 5 + [False] * 2
        assert payloads(clients[-1]) == [message]


def test_T1_a_client_has_no_more_topics_than_it_may(log: LogRecords) -> None:
    with Harness(max_topics=3) as harness:
        _, (conn,) = clients_of(harness, 1)
        assert [conn.subscribe(f"topic {number}") for number in range(5)] == [True] * 3 + [
            False
        ] * 2
        assert conn.subscribe("topic 0")
        assert len(conn.topics) == 3
        conn.unsubscribe("topic 0")
        assert conn.subscribe("topic 4")
        assert harness.engine.count("topic 3") == 0
    assert "a client has 3 topics, and is not subscribed to more: see --max-topics" in log.text


def test_T1_without_a_limit_a_client_may_have_any_number_of_them() -> None:
    with Harness(max_topics=0) as harness:
        _, (conn,) = clients_of(harness, 1)
        topics = {f"topic {number}" for number in range(20_000)}
        assert all(map(conn.subscribe, topics))
        assert conn.topics == topics
        assert {harness.engine.count(topic) for topic in topics} == {1}


def test_T1_what_is_too_large_to_be_published_is_refused() -> None:
    with Harness(max_publish=1000, rfc=True) as harness:
        (client,), (conn,) = clients_of(harness, 1)
        conn.subscribe("a")
        for message in ("x" * 1001, "ü" * 501, bytes(1001)):
            with pytest.raises(ValueError, match=r"100[12] bytes"):
                harness.engine.publish("a", message)
        assert harness.engine.publish("a", bytes(1000)) == 1
        assert harness.engine.publish("a", "") == 1
        harness.settle()
        assert [len(payload) for payload in payloads(client)] == [1000, 0]
        assert conn.dropped == 0


@pytest.mark.parametrize(
    ("message", "binary", "error"),
    [
        (1, None, TypeError),
        (["x"], None, TypeError),
        ("x", True, TypeError),
        (b"\xff", False, ValueError),
    ],
)
def test_T1_a_message_is_what_may_be_sent(message: Any, binary: bool | None, error: type) -> None:
    with Harness() as harness, pytest.raises(error):
        harness.engine.publish("a", message, None, binary)


def test_T1_who_is_excluded_is_a_connection() -> None:
    with Harness() as harness, pytest.raises(TypeError, match="a connection or None, not int"):
        harness.engine.publish("a", "x", exclude=1)  # type: ignore[arg-type]


def test_T1_another_thread_is_told_how_to_publish() -> None:
    with Harness() as harness:
        _, (conn,) = clients_of(harness, 1)
        raised: list[RuntimeError] = []

        def elsewhere() -> None:
            for call in (lambda: conn.subscribe("a"), lambda: harness.engine.publish("a", "x")):
                with pytest.raises(RuntimeError, match="call_soon_threadsafe") as caught:
                    call()
                raised.append(caught.value)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert "app.call_soon_threadsafe(app.publish, topic, message)" in str(raised[1])


# Topics outlive the process


def test_L5_a_connection_that_is_carried_has_its_topics() -> None:
    before = CarryingHarness()
    client, other = before.open(), before.open()
    conn = before.connection(client)
    conn.save(b"state")
    conn.subscribe("ü")
    conn.subscribe("b")
    before.connection(other).subscribe("b")
    after = before.next()
    assert conn.topics == {"ü", "b"}
    assert after.engine.count("b") == 2, "whatever is published before they have been resumed"
    after.turn()
    assert [(conn.topics, conn.saved) for conn, *_ in after.resumed] == [
        ({"ü", "b"}, b"state"), ({"b"}, b""),
    ]  # fmt: skip
    assert after.engine.publish("ü", "hello") == 1
    again = after.next()
    assert again.engine.publish("b", "again") == 2
    again.settle()
    assert [payloads(one) for one in (client, other)] == [[b"hello", b"again"], [b"again"]]
    again.close()


def test_L5_who_is_over_or_closing_when_it_is_carried_still_says_what_it_had() -> None:
    before = CarryingHarness()
    gone, closing = before.open(), before.open()
    for client, topic in ((gone, "a"), (closing, "b")):
        before.connection(client).subscribe(topic)
    closing.says_goodbye = False
    before.connection(closing).close()
    before.connection(gone).abort()
    after = before.next()
    seen: list[Any] = []
    after.close_callback = lambda conn, _code, _reason: seen.append(conn.topics)
    after.turn()
    closing.send(close_frame(1000))
    after.until(lambda: len(seen) == 2)
    assert seen == [{"a"}, {"b"}]
    assert after.engine.count("a") == after.engine.count("b") == 0
    after.close()


def test_L5_who_has_not_been_accepted_yet_subscribes_again() -> None:
    from dorrit.engine import PENDING

    before = CarryingHarness()

    def opened(conn: Connection, _request: Any) -> Any:
        conn.subscribe("a")
        return PENDING

    before.open_callback = opened
    client = before.connect()
    client.send(REQUEST)
    before.until(lambda: before.engine.count("a"))
    after = before.next()
    assert after.engine.count("a") == 0
    after.until(lambda: after.opened)
    assert after.opened[0][0].topics == frozenset()
    after.close()


def test_L8_topics_are_written_down_when_the_callback_that_chose_them_has_returned() -> None:
    with ledger() as file, Harness(carries=True) as before, CarryingHarness() as after:
        before.engine.record(file)
        (client, other), (conn, _) = clients_of(before, 2)
        conn.subscribe("outside of a turn")
        conn.subscribe("left")

        def heard(conn: Connection, _binary: bool, payload: bytes) -> None:
            conn.subscribe(payload.decode())
            conn.unsubscribe("left")

        before.message_callback = heard
        client.send(frame(TEXT, b"of a message"))
        before.settle()
        before.engine.abandon(None)
        assert after.engine.carry_in(file) == (2, 0)
        after.turn()
        assert [conn.topics for conn, *_ in after.resumed] == [
            {"outside of a turn", "of a message"}, frozenset(),
        ]  # fmt: skip
        other.close()


def test_leaving_and_coming_takes_no_memory_in_the_end() -> None:
    with Harness() as harness:
        for _ in range(3):
            clients, conns = clients_of(harness, 5)
            for conn in conns:
                for number in range(100):
                    conn.subscribe(f"{conn.number} {number}")
            for client in clients:
                client.close()
            harness.until(lambda: len(harness.closed) == 5)
            harness.closed.clear()
        assert all(harness.engine.count(f"1 {number}") == 0 for number in range(100))


def engine_with_a_client() -> tuple[Engine, socket.socket]:
    ours, theirs = socket.socketpair()
    engine = Engine(on_open=lambda *_: None, on_message=lambda *_: None, on_close=lambda *_: None)
    ours.setblocking(False)
    engine.adopt(ours.detach())
    theirs.sendall(REQUEST)
    engine.poll()
    return engine, theirs


def test_an_engine_that_is_closed_publishes_to_nobody() -> None:
    engine, client = engine_with_a_client()
    (conn,) = engine.open_connections()
    assert conn.subscribe("a")
    engine.close()
    assert engine.publish("a", "x") == 0
    assert conn.topics == {"a"}
    client.close()
