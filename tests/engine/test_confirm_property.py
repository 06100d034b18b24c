"""T4, L5: whatever happens, a subscriber is told before a message reaches it, and misses none then.

Beside a model: who has which topics and how far each is, and what each client is to receive.
"""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dorrit.engine import PENDING, Connection, Recovered
from tests.support.carrying import CarryingHarness
from tests.support.examples import examples
from tests.support.frames import close_frame
from tests.support.harness import Client

TOPICS = ("a", "room:1")
CLIENTS_MAX = 4


class Subscription:
    """What is known of one: what waits for it, until it is live."""

    def __init__(self) -> None:
        self.standing = "waits"
        self.waiting: list[bytes] = []


class Subscriber:
    """What is known of one client, and what it is to receive."""

    def __init__(self, client: Client, number: int) -> None:
        self.client = client
        self.number = number
        self.topics: dict[str, Subscription] = {}
        self.expected: list[bytes] = []


class Confirming(RuleBasedStateMachine):
    """Clients come, go and subscribe; a server publishes, and is replaced by its next image."""

    def __init__(self) -> None:
        super().__init__()
        self.harness = CarryingHarness(on_subscribed=self.stands)
        self.subscribers: list[Subscriber] = []
        self.published = 0
        self.is_deferred = False

    def teardown(self) -> None:
        self.harness.settle()
        for subscriber in self.subscribers:
            self.check(subscriber)
        self.harness.close()

    def conn(self, subscriber: Subscriber) -> Connection:
        (found,) = [
            conn
            for conn in self.harness.engine.all_connections()
            if conn.number == subscriber.number
        ]
        return found

    def stands(self, conn: Connection, topic: str, _recovered: Recovered) -> object:
        (subscriber,) = [one for one in self.subscribers if one.number == conn.number]
        subscription = subscriber.topics[topic]
        assert subscription.standing == "waits"
        conn.send(f"in {topic}")
        subscriber.expected.append(f"in {topic}".encode())
        subscription.standing = "is told"
        if self.is_deferred:
            return PENDING
        self.goes_live(subscriber, topic)
        return None

    def goes_live(self, subscriber: Subscriber, topic: str) -> None:
        subscription = subscriber.topics[topic]
        subscriber.expected += subscription.waiting
        subscription.standing, subscription.waiting = "live", []

    @precondition(lambda self: len(self.subscribers) < CLIENTS_MAX)
    @rule()
    def come(self) -> None:
        client = self.harness.open()
        self.subscribers.append(Subscriber(client, self.harness.opened[-1][0].number))

    @precondition(lambda self: self.subscribers)
    @rule(data=st.data(), politely=st.booleans())
    def go(self, data: Any, politely: bool) -> None:
        subscriber = data.draw(st.sampled_from(self.subscribers))
        self.harness.settle()
        self.check(subscriber)
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
        assert self.conn(subscriber).subscribe(topic)
        subscriber.topics.setdefault(topic, Subscription())

    @precondition(lambda self: self.subscribers)
    @rule(data=st.data(), topic=st.sampled_from(TOPICS))
    def unsubscribe(self, data: Any, topic: str) -> None:
        subscriber = data.draw(st.sampled_from(self.subscribers))
        self.conn(subscriber).unsubscribe(topic)
        subscriber.topics.pop(topic, None)

    @rule()
    def defer_or_not(self) -> None:
        self.is_deferred = not self.is_deferred

    @precondition(lambda self: self.subscribers)
    @rule(data=st.data(), topic=st.sampled_from(TOPICS))
    def has_been_told(self, data: Any, topic: str) -> None:
        subscriber = data.draw(st.sampled_from(self.subscribers))
        self.harness.engine.catch_up(self.conn(subscriber), topic)
        if topic in subscriber.topics and subscriber.topics[topic].standing == "is told":
            self.goes_live(subscriber, topic)

    @rule(data=st.data(), topic=st.sampled_from(TOPICS), times=st.sampled_from([1, 2, 9]))
    def publish(self, data: Any, topic: str, times: int) -> None:
        exclude = data.draw(st.sampled_from([None, None, *self.subscribers]))
        excluded = None if exclude is None else self.conn(exclude)
        for _ in range(times):
            self.published += 1
            message = b"%d" % self.published
            queued = 0
            for one in self.subscribers:
                if topic not in one.topics or one is exclude:
                    continue
                if one.topics[topic].standing == "live":
                    one.expected.append(message)
                    queued += 1
                else:
                    one.topics[topic].waiting.append(message)
            assert self.harness.engine.publish(topic, message, excluded) == queued

    @rule()
    def turn(self) -> None:
        self.harness.turn()

    @rule()
    def go_on_with_the_next_image(self) -> None:
        successor = self.harness.next(on_subscribed=self.stands)
        assert successor.carried == (len(self.subscribers), 0)
        self.harness = successor
        for subscriber in self.subscribers:
            for topic, subscription in subscriber.topics.items():
                if subscription.standing != "live":
                    subscriber.topics[topic] = Subscription()

    @invariant()
    def who_is_subscribed_is_known(self) -> None:
        for subscriber in self.subscribers:
            assert self.conn(subscriber).topics == subscriber.topics.keys()

    def check(self, subscriber: Subscriber) -> None:
        client, expected = subscriber.client, subscriber.expected
        self.harness.until(lambda: len(client.frames) >= len(expected), client)
        assert [frame.payload for frame in client.frames] == expected


TestConfirming = Confirming.TestCase
TestConfirming.settings = settings(max_examples=examples(60), stateful_step_count=40, deadline=None)
