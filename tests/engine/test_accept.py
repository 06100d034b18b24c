"""How clients are taken: the budget of a turn, R32's limit, and a process without descriptors."""

import logging
import os
import resource
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from dorrit.engine import queue_message
from tests.support.frames import REQUEST, TEXT, frame
from tests.support.harness import TIMEOUT, Client, Harness, LogRecords
from tests.support.narrow import in_child

ACCEPT_BUDGET = 64


@contextmanager
def listening(harness: Harness, backlog: int = 500) -> Iterator[str]:
    """The engine takes clients from a socket; yields its address."""
    with socket.socket(socket.AF_UNIX) as listener:
        # unix(7), autobind: an abstract address that is nobody else's. There is no file to remove.
        listener.bind("")
        listener.setblocking(False)
        listener.listen(backlog)
        harness.engine.listen(listener.fileno())
        yield listener.getsockname()
        harness.engine.stop_listening()


def client_at(harness: Harness, address: str, end: socket.socket | None = None) -> Client:
    """A client that has connected and sent its request, without a turn."""
    end = socket.socket(socket.AF_UNIX) if end is None else end
    end.connect(address)
    client = Client(harness, end)
    harness.clients.append(client)
    client.socket.send(REQUEST)
    return client


def statuses(clients: list[Client]) -> list[int | None]:
    for client in clients:
        client.receive()
    return [client.status for client in clients]


def test_a_turn_takes_64_clients_and_serves_the_others(harness: Harness) -> None:
    with listening(harness) as address:
        old = harness.open()
        harness.message_callback = queue_message
        crowd = [client_at(harness, address) for _ in range(3 * ACCEPT_BUDGET)]
        for turn in range(1, 4):
            old.send(frame(TEXT, b"served"))
            harness.turn()
            old.receive()
            assert len(old.frames) == turn, "within the turn"
            assert harness.engine.connections == 1 + turn * ACCEPT_BUDGET
        harness.until(lambda: all(client.head for client in crowd))
        assert statuses(crowd) == [101] * len(crowd)


def test_R32_one_more_client_is_answered_503_at_once_and_logged(log: LogRecords) -> None:
    with Harness(max_connections=3) as harness, listening(harness) as address:
        clients = [client_at(harness, address) for _ in range(3)]
        harness.until(lambda: all(client.head for client in clients))
        assert "503" not in log.text
        refused = client_at(harness, address)
        harness.until(lambda: refused.ended, refused)
        assert refused.status == 503
        assert log.text.count("503") == 1
        assert statuses(clients) == [101] * 3
        assert len(harness.opened) == 3, "no callback for the one that was refused"


def test_R32_a_refused_client_need_not_have_spoken(log: LogRecords) -> None:
    with Harness(max_connections=1) as harness:
        harness.open()
        silent = harness.connect()
        harness.until(lambda: silent.ended)
        assert silent.status == 503
        assert b"Connection: close" in silent.head


def test_R32_those_that_are_over_do_not_count(log: LogRecords) -> None:
    with Harness(max_connections=2, linger_timeout=3600) as harness:
        one, _two = harness.open(), harness.open()
        refused = [harness.connect() for _ in range(5)]
        harness.turn()
        assert statuses(refused) == [503] * 5
        one.send(frame(TEXT, b"no mask", mask=None))
        harness.until(lambda: one.ended)
        # None of them has closed its end, and all have a descriptor still.
        assert harness.engine.lingering == 6
        assert harness.engine.connections == 7
        assert harness.open().status == 101
        late = harness.connect()
        harness.turn()
        assert statuses([late]) == [503]


def test_R32_a_handshake_that_has_not_ended_counts(log: LogRecords) -> None:
    with Harness(max_connections=2) as harness:
        harness.connect()
        waiting = harness.connect()
        refused = harness.connect()
        harness.turn()
        assert statuses([refused]) == [503]
        waiting.close()
        harness.turn()
        assert harness.open().status == 101


# Without descriptors


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def leave_descriptors(count: int) -> None:
    """Lower the limit so that exactly `count` more can be had."""
    listed = [int(name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208
    highest = max(filter(is_open, listed))  # the listing itself had one, too
    while (descriptor := os.open("/dev/null", os.O_RDONLY)) < highest:
        pass  # it fills a gap, and stays open
    os.close(descriptor)
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1 + count, hard))


def allow_descriptors(count: int) -> None:
    """Raise the limit by so many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft + count, hard))


def turns_within(harness: Harness, seconds: float) -> int:
    """How often the loop turns in that time, if it turns whenever it has a reason to."""
    turns = 0
    end = time.monotonic() + seconds
    # poll(2), since select(2) of Python would need no descriptor either but is limited to 1024.
    poller = select.poll()
    poller.register(harness.engine.fileno(), select.POLLIN)
    while (left := end - time.monotonic()) > 0:
        timeout = harness.engine.timeout()
        poller.poll(1000 * (left if timeout is None else min(left, timeout)))
        harness.turn()
        turns += 1
    return turns


def recorded() -> LogRecords:
    """What a child logs, which has no fixtures."""
    records = LogRecords()
    logging.getLogger("dorrit").addHandler(records)
    return records


def child_runs_out_of_descriptors() -> None:
    records = recorded()
    with Harness(max_connections=1000) as harness, listening(harness) as address:
        harness.message_callback = queue_message
        ends = [socket.socket(socket.AF_UNIX) for _ in range(400)]
        leave_descriptors(10)

        # 10 are accepted, the others are told that there is no room, instead of waiting for ever.
        crowd = [client_at(harness, address, ends.pop()) for _ in range(60)]
        harness.until(lambda: all(client.head for client in crowd))
        assert sorted(statuses(crowd), key=str) == [101] * 10 + [503] * 50
        accepted = [client for client in crowd if client.status == 101]
        assert "no descriptor is left" in records.text
        assert len(records.records) <= 10, "at a bounded rate"

        # Nobody waits: nothing to do but to look at the listener now and then, and then not even
        # that. Somebody who comes every moment makes no spinning loop either.
        assert turns_within(harness, 0.5) <= 10
        late = client_at(harness, address, ends.pop())
        assert turns_within(harness, 0.5) <= 20
        assert statuses([late]) == [503]

        # Those that are in are served meanwhile.
        accepted[0].send(frame(TEXT, b"echo"))
        harness.until(lambda: accepted[0].frames)

        # Descriptors come back, one by one and then many.
        accepted.pop().close()
        harness.settle()
        again = [client_at(harness, address, ends.pop()) for _ in range(3)]
        harness.until(lambda: all(client.head for client in again))
        # The client's own end was one of the process, too.
        assert sorted(statuses(again), key=str) == [101, 101, 503]
        allow_descriptors(100)
        again = [client_at(harness, address, ends.pop()) for _ in range(50)]
        harness.until(lambda: all(client.head for client in again))
        assert statuses(again) == [101] * 50
        for end in ends:
            end.close()


def test_without_descriptors_clients_are_turned_away_and_the_loop_does_not_spin() -> None:
    in_child(child_runs_out_of_descriptors)


def child_takes_the_last_descriptor() -> None:
    records = recorded()
    with Harness() as harness, listening(harness) as address:
        end = socket.socket(socket.AF_UNIX)
        leave_descriptors(1)
        client = client_at(harness, address, end)
        harness.until(lambda: client.head)
        assert client.status == 101
        # The next accept(2) fails, but nobody was turned away.
        assert records.records == []


def test_the_last_descriptor_is_given_out_without_an_error() -> None:
    in_child(child_takes_the_last_descriptor)


def child_has_no_spare_descriptor() -> None:
    records = recorded()
    ends = [socket.socket(socket.AF_UNIX) for _ in range(20)]
    # For the poller and the two ends of the wake-up pipe, but for no spare one.
    with_descriptors = socket.socket(socket.AF_UNIX)
    with_descriptors.bind("")
    with_descriptors.setblocking(False)
    with_descriptors.listen(100)
    leave_descriptors(3)
    with Harness() as harness:
        harness.engine.listen(with_descriptors.fileno())
        crowd = [client_at(harness, with_descriptors.getsockname(), end) for end in ends]
        # They wait in the kernel and keep the listener ready, which is left alone for a while.
        assert turns_within(harness, 1) <= 25
        assert statuses(crowd) == [None] * 20
        assert "no descriptor is left" in records.text
        # One is kept again to turn away with.
        allow_descriptors(5)
        end = time.monotonic() + TIMEOUT
        while None in statuses(crowd):
            assert time.monotonic() < end
            turns_within(harness, 0.05)
        assert statuses(crowd).count(101) == 4
        assert statuses(crowd).count(503) == 16
    with_descriptors.close()


def test_without_a_spare_descriptor_the_loop_does_not_spin_and_recovers() -> None:
    in_child(child_has_no_spare_descriptor)
