"""T1, T3, L5: each client gets what was published while it was subscribed, whatever else happens.

Beside a model: who has which topics, and what each is to receive, in order. A client that does not
read is left out of some of it, which is counted, and of nothing else.
"""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dorrit.engine import Connection
from tests.support.carrying import CarryingHarness
from tests.support.examples import examples
from tests.support.frames import close_frame
from tests.support.harness import Client
from tests.support.narrow import NarrowHarness

TOPICS = ("a", "room:1", "ü" * 127)
CLIENTS_MAX = 6


class NarrowCarrying(CarryingHarness, NarrowHarness):
    """Its clients have little room for what they do not read."""


class Subscriber:
    """What is known of one client."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.topics: set[str] = set()
        self.published: list[bytes] = []
        self.is_reading = True


class Publishing(RuleBasedStateMachine):
    """Clients come, go and read slowly; a server publishes, and is replaced by its next image."""

    def __init__(self) -> None:
        super().__init__()
        self.harness = NarrowCarrying(max_pending_bytes=20_000, max_topics=2)
        self.subscribers: list[Subscriber] = []
        self.number = 0

    def teardown(self) -> None:
        for subscriber in self.subscribers:
            self.read_all(subscriber)
        self.harness.close()

    def conn(self, subscriber: Subscriber) -> Connection:
        number = self.numbers[subscriber.client]
        (found,) = [c for c in self.harness.engine.all_connections() if c.number == number]
        return found

    @initialize()
    def begin(self) -> None:
        self.numbers: dict[Client, int] = {}
        for _ in range(2):
            self.come("a")

    @precondition(lambda self: len(self.subscribers) < CLIENTS_MAX)
    @rule(topic=st.sampled_from(TOPICS))
    def come(self, topic: str) -> None:
        client = self.harness.open()
        conn = self.harness.opened[-1][0]
        self.numbers[client] = conn.number
        self.subscribers.append(Subscriber(client))
        assert conn.subscribe(topic)
        self.subscribers[-1].topics.add(topic)

    @precondition(lambda self: self.subscribers)
    @rule(data=st.data(), politely=st.booleans())
    def go(self, data: Any, politely: bool) -> None:
        subscriber = data.draw(st.sampled_from(self.subscribers))
        self.read_all(subscriber)
        if politely:
            subscriber.client.send(close_frame(1000))
        else:
            subscriber.client.close()
        self.harness.settle()
        self.subscribers.remove(subscriber)

    @precondition(lambda self: self.subscribers)
    @rule(data=st.data(), topic=st.sampled_from(TOPICS))
    def subscribe(self, data: Any, topic: str) -> None:
        subscriber = data.draw(st.sampled_from(self.subscribers))
        fits = topic in subscriber.topics or len(subscriber.topics) < 2
        assert self.conn(subscriber).subscribe(topic) == fits
        if fits:
            subscriber.topics.add(topic)

    @precondition(lambda self: self.subscribers)
    @rule(data=st.data(), topic=st.sampled_from(TOPICS))
    def unsubscribe(self, data: Any, topic: str) -> None:
        subscriber = data.draw(st.sampled_from(self.subscribers))
        self.conn(subscriber).unsubscribe(topic)
        subscriber.topics.discard(topic)

    @precondition(lambda self: self.subscribers)
    @rule(data=st.data())
    def read_or_not(self, data: Any) -> None:
        subscriber = data.draw(st.sampled_from(self.subscribers))
        subscriber.is_reading = not subscriber.is_reading

    @rule(
        data=st.data(), topic=st.sampled_from(TOPICS), size=st.sampled_from([0, 10, 3000]),
        times=st.sampled_from([1, 2, 15]),
    )  # fmt: skip
    def publish(self, data: Any, topic: str, size: int, times: int) -> None:
        exclude = data.draw(st.sampled_from([None, None, *self.subscribers]))
        excluded = None if exclude is None else self.conn(exclude)
        for _ in range(times):
            self.number += 1
            message = b"%d:" % self.number + bytes(size)
            due = [one for one in self.subscribers if topic in one.topics and one is not exclude]
            dropped = [self.conn(one).dropped for one in due]
            queued = self.harness.engine.publish(topic, message, excluded)
            missed = 0
            for one, before in zip(due, dropped, strict=True):
                if self.conn(one).dropped == before:
                    one.published.append(message)
                else:
                    missed += 1
            assert queued == len(due) - missed

    @rule()
    def turn(self) -> None:
        self.harness.turn()
        for subscriber in self.subscribers:
            if subscriber.is_reading:
                subscriber.client.receive()

    @rule()
    def go_on_with_the_next_image(self) -> None:
        successor = self.harness.next(max_pending_bytes=20_000, max_topics=2)
        assert successor.carried == (len(self.subscribers), 0)
        self.harness = successor  # type: ignore[assignment]

    @invariant()
    def who_is_subscribed_is_known(self) -> None:
        for subscriber in self.subscribers:
            assert self.conn(subscriber).topics == subscriber.topics
        for topic in TOPICS:
            count = sum(topic in subscriber.topics for subscriber in self.subscribers)
            assert self.harness.engine.count(topic) == count

    def read_all(self, subscriber: Subscriber) -> None:
        """What it has received in the end is what was published for it, and nothing else."""
        wanted = subscriber.published
        self.harness.until(lambda: len(subscriber.client.frames) >= len(wanted), subscriber.client)
        assert [frame.payload for frame in subscriber.client.frames] == wanted


TestPublishing = Publishing.TestCase
TestPublishing.settings = settings(max_examples=examples(60), stateful_step_count=40, deadline=None)
