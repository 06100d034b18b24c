"""A subscription is confirmed: what is published meanwhile comes behind that, all of it (T4)."""

import logging
from typing import Any

import pytest

from dorrit.engine import PENDING, Connection, Recovered
from dorrit.protocol.refusal import Refusal
from tests.engine.test_publish import clients_of, payloads
from tests.support.carrying import CarryingHarness, ledger
from tests.support.frames import REQUEST, TEXT, close_frame, frame
from tests.support.harness import Harness, LogRecords
from tests.support.narrow import NarrowHarness


class Confirming(NarrowHarness, CarryingHarness):
    """Notes which subscriptions are confirmed, and tells each client.

    Attributes:
        told: Of which subscriptions, in order.
        action: What to do besides; what it returns is the answer.
    """

    def __init__(self, **settings: Any) -> None:
        self.told: list[tuple[Connection, str]] = []
        self.action: Any = None
        super().__init__(**{"on_subscribed": self.subscribed} | settings)

    def subscribed(self, conn: Connection, topic: str, recovered: Recovered) -> object:
        assert recovered == (0, True)
        self.told.append((conn, topic))
        conn.send(f"you are in {topic}")
        return None if self.action is None else self.action(conn, topic)


class Publishes(logging.Handler):
    """Publishes when something is logged, as a handler that sends the log to clients does."""

    def __init__(self, harness: Harness, what: str, message: bytes) -> None:
        super().__init__()
        self.harness = harness
        self.what = what
        self.message = message
        self.published = 0

    def emit(self, record: logging.LogRecord) -> None:
        if self.what in record.getMessage():
            self.published += 1
            self.harness.engine.publish("a", self.message)


def test_T4_what_is_published_waits_until_the_subscriber_has_been_told() -> None:
    with Confirming() as harness:
        (new, old), (first, second) = clients_of(harness, 2)
        second.subscribe("a")
        harness.settle()
        assert first.subscribe("a")
        assert harness.engine.publish("a", "one") == 1
        assert harness.engine.publish("a", b"two") == 1
        assert (harness.engine.count("a"), first.topics) == (2, {"a"})
        assert harness.told == [(second, "a")], "later, though it is subscribed"
        harness.settle()
        assert harness.told[1:] == [(first, "a")]
        assert harness.engine.publish("a", "three") == 2
        harness.settle()
        for client in (new, old):
            assert payloads(client) == [b"you are in a", b"one", b"two", b"three"]
        assert [received.opcode for received in new.frames] == [1, 1, 2, 1]


def test_T4_what_the_handler_publishes_reaches_the_client_itself_behind_what_was_before() -> None:
    with Confirming() as harness:
        (client,), (conn,) = clients_of(harness, 1)
        harness.action = lambda conn, topic: (
            harness.engine.publish(topic, f"{conn.number} has joined") and None
        )
        conn.subscribe("a")
        harness.engine.publish("a", "before")
        harness.settle()
        assert payloads(client) == [b"you are in a", b"before", b"1 has joined"]


def test_T4_the_one_who_is_excluded_is_so_while_it_waits_as_well() -> None:
    with Confirming() as harness:
        clients, conns = clients_of(harness, 2)
        for conn in conns:
            conn.subscribe("a")
        for conn in conns:
            harness.engine.publish("a", f"of {conn.number}", exclude=conn)
        harness.settle()
        assert [payloads(client)[1:] for client in clients] == [[b"of 2"], [b"of 1"]]


def test_T4_who_leaves_before_is_not_told_and_who_comes_again_once() -> None:
    with Confirming() as harness:
        clients, (first, second, third) = clients_of(harness, 3)
        for conn in (first, second, third):
            conn.subscribe("a")
            harness.engine.publish("a", f"after {conn.number}")
        first.unsubscribe("a")
        second.unsubscribe("a")
        second.subscribe("a")
        third.abort()
        harness.engine.publish("a", "last")
        harness.settle()
        assert harness.told == [(second, "a")]
        assert [payloads(client) for client in clients[:2]] == [[], [b"you are in a", b"last"]]


def test_T4_who_leaves_and_comes_again_while_it_is_told_is_told_again() -> None:
    with Confirming() as harness:
        (client,), (conn,) = clients_of(harness, 1)

        def again(conn: Connection, topic: str) -> None:
            harness.engine.publish(topic, str(len(harness.told)))
            if len(harness.told) < 3:
                conn.unsubscribe(topic)
                conn.subscribe(topic)

        harness.action = again
        conn.subscribe("a")
        harness.settle()
        assert payloads(client) == [b"you are in a"] * 3 + [b"3"]


def test_T4_an_answer_that_comes_later_lets_what_is_published_wait_longer() -> None:
    with Confirming() as harness:
        (client,), (conn,) = clients_of(harness, 1)
        harness.action = lambda _conn, _topic: PENDING
        conn.subscribe("a")
        harness.settle()
        harness.engine.publish("a", "waits")
        harness.settle()
        assert payloads(client) == [b"you are in a"]
        harness.engine.catch_up(conn, "b")
        harness.engine.catch_up(conn, "a")
        harness.engine.catch_up(conn, "a")
        assert harness.engine.publish("a", "live") == 1
        harness.settle()
        assert payloads(client)[1:] == [b"waits", b"live"]
        conn.subscribe("b")
        harness.settle()
        conn.abort()
        harness.engine.catch_up(conn, "b")


def test_T4_who_has_not_been_accepted_is_told_when_that_is_done() -> None:
    with Confirming() as harness:
        opening: list[Connection] = []

        def opened(conn: Connection, _request: Any) -> object:
            opening.append(conn)
            conn.subscribe("a")
            return PENDING

        harness.open_callback = opened
        client = harness.connect()
        client.send(REQUEST)
        harness.until(lambda: opening)
        harness.settle()
        harness.engine.publish("a", "meanwhile")
        assert harness.told == []
        harness.engine.answer(opening[0], None)
        harness.settle()
        assert client.status == 101
        assert payloads(client) == [b"you are in a", b"meanwhile"]


def test_T4_who_is_refused_is_not_told(log: LogRecords) -> None:
    with Confirming() as harness:

        def opened(conn: Connection, _request: Any) -> Refusal | None:
            conn.subscribe("a")
            raise LookupError

        harness.open_callback = opened
        client = harness.connect()
        client.send(REQUEST)
        harness.until(lambda: client.status == 500, client)
        harness.settle()
        assert harness.told == []
        assert harness.engine.count("a") == 0
    assert "LookupError" in log.text


def test_T4_an_exception_closes_the_connection_and_is_logged(log: LogRecords) -> None:
    with Confirming() as harness:
        (client, other), (conn, second) = clients_of(harness, 2)

        def fails(conn: Connection, _topic: str) -> None:
            if conn.number == 1:
                raise LookupError("of one")

        harness.action = fails
        conn.subscribe("a")
        second.subscribe("a")
        harness.engine.publish("a", "x")
        harness.settle()
        assert [received.opcode for received in client.frames] == [8]
        assert payloads(client)[0][:2] == (1011).to_bytes(2)
        assert payloads(other) == [b"you are in a", b"x"]
    assert log.text.count("LookupError: of one") == 1
    assert "the subscribed handler raised" in log.text


def test_T4_what_has_not_run_is_an_exception(log: LogRecords) -> None:
    async def never() -> None:
        raise AssertionError

    with Confirming() as harness:
        (client,), (conn,) = clients_of(harness, 1)
        harness.action = lambda _conn, _topic: never()
        conn.subscribe("a")
        harness.settle()
        assert payloads(client)[-1][:2] == (1011).to_bytes(2)
    assert "on_subscribed has returned a coroutine" in log.text


def test_T4_what_the_log_publishes_while_a_client_catches_up_comes_behind(log: LogRecords) -> None:
    with Confirming(max_pending_bytes=10_000) as harness:
        (client,), (conn,) = clients_of(harness, 1)
        conn.subscribe("a")
        for number in range(300):
            harness.engine.publish("a", b"%d:" % number + bytes(200))
        handler = Publishes(harness, "has missed", b"logged" + bytes(200))
        logging.getLogger("dorrit").addHandler(handler)
        try:
            harness.settle()
        finally:
            logging.getLogger("dorrit").removeHandler(handler)
        assert handler.published == 1
        numbers = [payload.partition(b":")[0] for payload in payloads(client)[1:-1]]
        assert numbers == [b"%d" % number for number in range(300 - len(numbers), 300)]
        assert payloads(client)[-1] == b"logged" + bytes(200)
    assert "has missed" in log.text


@pytest.mark.parametrize("end", ["abort", "unsubscribe"])
def test_T4_who_ends_while_what_it_has_missed_is_logged_gets_no_more(end: str) -> None:
    with Confirming(max_pending_bytes=1000) as harness:
        (client,), (conn,) = clients_of(harness, 1)
        conn.subscribe("a")
        for _ in range(300):
            harness.engine.publish("a", bytes(200))

        class Ends(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                conn.abort() if end == "abort" else conn.unsubscribe("a")

        handler = Ends()
        logging.getLogger("dorrit").addHandler(handler)
        try:
            harness.settle()
        finally:
            logging.getLogger("dorrit").removeHandler(handler)
        assert conn.is_open == (end == "unsubscribe")
        assert len(payloads(client)) <= 2


def test_T4_a_client_of_another_engine_excludes_nobody_here() -> None:
    with Confirming() as harness, Confirming() as other:
        (client,), (conn,) = clients_of(harness, 1)
        _, (elsewhere,) = clients_of(other, 1)
        assert conn.number == elsewhere.number
        conn.subscribe("a")
        harness.engine.publish("a", "x", exclude=elsewhere)
        harness.settle()
        assert payloads(client)[1:] == [b"x"]


def test_an_exit_of_the_handler_ends_the_turn_and_not_the_others(log: LogRecords) -> None:
    with Confirming() as harness:
        (client, other), (conn, second) = clients_of(harness, 2)

        def leaves(conn: Connection, _topic: str) -> None:
            if conn.number == 1:
                raise SystemExit(3)

        harness.action = leaves
        conn.subscribe("a")
        second.subscribe("a")
        harness.engine.publish("a", "x")
        with pytest.raises(SystemExit):
            harness.turn()
        harness.settle()
        assert payloads(other) == [b"you are in a", b"x"]
        assert payloads(client)[-1] == (1001).to_bytes(2)
    assert "raised" not in log.text


def test_T4_as_much_waits_as_in_a_queue_and_what_is_missed_is_counted_and_said(
    log: LogRecords,
) -> None:
    with Confirming(max_pending_bytes=10_000) as harness:
        (client,), (conn,) = clients_of(harness, 1)
        conn.subscribe("a")
        for number in range(300):
            harness.engine.publish("a", str(number))
        harness.settle()
        got = [int(payload) for payload in payloads(client)[1:]]
        assert got == list(range(300 - len(got), 300))
        # Each takes its length and what a frame costs besides.
        assert 70 <= len(got) <= 80
        assert conn.dropped == 300 - len(got)
        harness.engine.publish("a", "live")
        harness.settle()
        assert payloads(client)[-1] == b"live"
    assert (
        log.text.count(f"a client has missed {300 - len(got)} of the messages of topic a: more")
        == 1
    )


def test_T4_a_crowd_that_comes_in_one_turn_hears_of_all_of_it() -> None:
    with Confirming() as harness:
        clients, conns = clients_of(harness, 300)
        harness.action = lambda conn, topic: (
            harness.engine.publish(topic, f"{conn.number} has come") and None
        )
        for conn in conns:
            conn.subscribe("a")
        harness.settle()
        come = [f"{conn.number} has come".encode() for conn in conns]
        for conn, client in zip(conns, clients, strict=True):
            assert payloads(client) == [b"you are in a", *come]
            assert conn.dropped == 0


def test_what_all_topics_keep_together_is_bounded() -> None:
    with Confirming(max_pending_bytes=0, max_topics=0, max_publish=4 << 20) as harness:
        _, (conn,) = clients_of(harness, 1)
        harness.action = lambda _conn, _topic: PENDING
        for number in range(20):
            conn.subscribe(str(number))
        for number in range(20):
            harness.engine.publish(str(number), bytes(3 << 20))
            harness.engine.publish(str(number), bytes(10))
        harness.settle()
        for number in range(5):
            conn.unsubscribe(str(number))  # whose large messages have been kept
        for number in range(5, 20):
            harness.engine.catch_up(conn, str(number))
        assert conn.dropped == 15
        assert harness.engine.count("19") == 1


def test_one_topic_may_have_all_of_it() -> None:
    with Confirming(max_pending_bytes=0, max_publish=4 << 20) as harness:
        (client,), (conn,) = clients_of(harness, 1)
        harness.action = lambda _conn, _topic: PENDING
        conn.subscribe("a")
        harness.settle()
        for _ in range(10):
            harness.engine.publish("a", bytes(1 << 20))
        harness.engine.publish("a", b"last")
        harness.engine.catch_up(conn, "a")
        harness.until(lambda: payloads(client)[-1:] == [b"last"], client)
        assert conn.dropped == 0


def test_L5_who_has_not_been_told_is_told_by_the_next_image() -> None:
    with Confirming() as harness:
        clients, (told, waiting, asked) = clients_of(harness, 3)
        told.subscribe("a")
        harness.settle()
        harness.action = lambda _conn, _topic: PENDING
        asked.subscribe("a")
        asked.subscribe("b")
        harness.settle()
        waiting.subscribe("a")
        waiting.subscribe("b")
        harness.engine.publish("a", "before")
        with ledger() as file:
            harness.engine.carry_out(file)
            successor = Confirming()
            assert successor.engine.carry_in(file) == (3, 0)
        successor.clients, harness.clients = harness.clients, []
        for client in successor.clients:
            client.harness = successor
        with successor:
            assert successor.engine.publish("a", "early") == 1, "to the first, the others wait"
            successor.settle()
            assert sorted((conn.number, topic) for conn, topic in successor.told) == [
                (2, "a"), (2, "b"), (3, "a"), (3, "b"),
            ]  # fmt: skip
            successor.engine.publish("a", "after")
            successor.settle()
            assert payloads(clients[0]) == [b"you are in a", b"before", b"early", b"after"]
            # What waited for who had not been told is not carried: nothing was promised of it.
            assert b"before" not in payloads(clients[1])
            for client in clients[1:]:
                assert payloads(client)[-2:] == [b"early", b"after"]


def test_L5_an_image_without_the_handler_confirms_nothing() -> None:
    with Confirming() as harness:
        (client,), (conn,) = clients_of(harness, 1)
        conn.subscribe("a")
        with harness.next(on_subscribed=None) as successor:
            assert successor.engine.publish("a", "x") == 1
            successor.settle()
            assert payloads(client) == [b"x"]


def test_L5_whose_resumption_is_decided_later_is_told_then() -> None:
    with Confirming() as harness:
        (client,), (conn,) = clients_of(harness, 1)
        conn.subscribe("a")
        with ledger() as file:
            harness.engine.carry_out(file)
            successor = Confirming()
            successor.engine.carry_in(file)
        successor.clients, harness.clients = harness.clients, []
        client.harness = successor
        with successor:
            successor.resume_callback = lambda *_arguments: PENDING
            successor.settle()
            successor.engine.publish("a", "x")
            assert successor.told == []
            successor.engine.answer_resume(successor.resumed[0][0], None)
            successor.settle()
            assert payloads(client) == [b"you are in a", b"x"]


def test_subscriptions_of_a_crowd_are_confirmed_in_order() -> None:
    with Confirming(max_topics=0) as harness:
        clients, conns = clients_of(harness, 20)
        for number in range(30):
            for conn in conns:
                conn.subscribe(str(number))
        harness.engine.publish("29", "x")
        harness.settle()
        assert harness.told == [(conn, str(n)) for n in range(30) for conn in conns]
        for client in clients:
            assert payloads(client)[-1] == b"x"


def test_T3_what_is_published_within_a_publish_comes_behind_it_for_all(log: LogRecords) -> None:
    with NarrowHarness(max_pending_bytes=4000) as harness:
        clients, conns = clients_of(harness, 5)
        for conn in conns:
            conn.subscribe("a")
        handler = Publishes(harness, "does not read", b"logged")
        logging.getLogger("dorrit").addHandler(handler)
        try:
            # The second one does not read, and that is said while the others are still to have it.
            while conns[1].pending_bytes < 2500:
                assert conns[1].send(bytes(1000))
                harness.turn()
            harness.engine.publish("a", bytes(2000))
            assert handler.published == 1
        finally:
            logging.getLogger("dorrit").removeHandler(handler)
        harness.settle()
        for client in (clients[0], *clients[2:]):
            assert payloads(client) == [bytes(2000), b"logged"]
    assert "does not read" in log.text


def test_who_is_closing_when_it_would_be_told_is_not() -> None:
    with Confirming() as harness:
        (client,), (conn,) = clients_of(harness, 1)
        harness.message_callback = lambda conn, _binary, _payload: conn.subscribe("a")
        client.send(frame(TEXT, b"x") + close_frame(1000))
        harness.settle()
        assert harness.told == []
        assert not conn.is_open
