"""A supervisor's connections, and the channel to the worker that serves them, both in one process.

The supervisor's engine accepts, the worker's serves; only `turn` lets either of them run. A worker
that is killed is an engine that is given up: its copies of the descriptors are closed, and no more.
"""

import contextlib
import gc
import os
import random
import resource
import select
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from dorrit.drive.worker import Worker
from dorrit.engine import Connection, Engine, connections_alive, frames_alive
from dorrit.engine.channel import LEAVING, READY, STATUS, Channel
from dorrit.engine.roster import ASK, Roster
from dorrit.process.exec.handover import Handover, encoded
from dorrit.process.exec.memfd import unshrinkable_file
from dorrit.process.start.workers import WorkerFiles
from dorrit.protocol.refusal import OPEN_CALLBACK_REFUSED, refusal
from dorrit.settings import Settings
from tests.engine.test_accept import leave_descriptors
from tests.support.carrying import CarryingHarness
from tests.support.examples import examples
from tests.support.forging import HEADER, UNIT
from tests.support.frames import CLOSE, REQUEST, TEXT, close_frame, frame
from tests.support.harness import Client, LogRecords
from tests.support.narrow import in_child

ON_THEIR_WAY_MAX: Final = 128
"""Connections that the worker has not said it has taken."""

HEAD: Final = struct.Struct("=BBHIQ")
"""Of a message: kind, flags, nothing, bytes of text, number."""

BATCH, LEDGER, CONNECTION, HANDOVER = 0, 1, 2, 3
TAKEN, ENDED, REFUSED = 5, 6, 7
KINDS: Final = 11
TEXT_MAX: Final = 1024 * 1024
BATCH_MAX: Final = 240

LEFT: Final = Handover(name="test", socket="", listener=-1)


def message(kind: int, number: int = 0, text: bytes = b"", flags: int = 0) -> bytes:
    return HEAD.pack(kind, flags, 0, len(text), number) + text


def open_now() -> dict[int, str]:
    """What each descriptor of this process is."""
    found = {}
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        with contextlib.suppress(OSError):
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115
    return {number: what for number, what in found.items() if "/proc/" not in what}


def count() -> tuple[int, int, int]:
    """What there is of descriptors, connections and frames."""
    gc.collect()
    return len(open_now()), connections_alive(), frames_alive()


def is_at_rest(engine: Engine) -> bool:
    """Whether nothing would wake the loop: otherwise it spins."""
    return not select.select([engine.fileno()], [], [], 0)[0]


def nobody(*_: object) -> None:
    raise AssertionError("a supervisor serves no client itself")


class Supervisor:
    """An engine with a roster.

    Attributes:
        said: What a worker has said of itself, in order.
        ends: What `on_end` was called with, in order.
        heard: What to do besides when a worker says something.
        clients: Those that have connected.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / "socket"
        self.said: list[tuple[int, bytes]] = []
        self.ends: list[bool] = []
        self.heard: Callable[[int, bytes], object] | None = None
        self.clients: list[Client] = []
        self.turn: Callable[[], object] = self.poll
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.listener.listen(2000)
        self.listener.setblocking(False)
        self.roster = Roster(self._hear, self.ends.append)
        self.engine = Engine(on_open=nobody, on_message=nobody, on_close=nobody)
        self.engine.listen(self.listener.fileno())
        self.engine.supervise(self.roster)

    def _hear(self, kind: int, text: bytes) -> None:
        self.said.append((kind, text))
        if self.heard is not None:
            self.heard(kind, text)
        elif kind == READY:
            self.roster.open()
            self.engine.go_on_accepting()

    def poll(self, times: int = 1) -> None:
        for _ in range(times):
            self.engine.poll()

    def attach(self) -> socket.socket:
        """Return the end of a new channel that a worker would have."""
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        self.roster.attach(ours.detach(), self.engine.fileno())
        return theirs

    def serve(self) -> socket.socket:
        """Return the same, of a worker that has said that it serves."""
        theirs = self.attach()
        theirs.send(message(READY))
        self.poll(2)
        return theirs

    def connect(self) -> Client:
        """A client in the listener's queue."""
        end = socket.socket(socket.AF_UNIX)
        end.connect(str(self.path))
        client = Client(self, end)  # type: ignore[arg-type] # it only asks for turns
        self.clients.append(client)
        return client

    def accepted(self) -> int:
        """The descriptor that the supervisor has of a new client; no worker has a copy yet."""
        self.connect()
        before = set(open_now())
        connections = self.roster.connections
        self.poll()
        assert self.roster.connections == connections + 1
        (found,) = set(open_now()) - before
        return found

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.roster.end_all()
        self.roster.detach(self.engine.fileno())
        self.engine.close()
        self.listener.close()


class Served(CarryingHarness):
    """A worker of a supervisor, and the clients of both.

    Attributes:
        kept: The ledger that is left when it is given up.
        took: How many connections it goes on with, and how many are lost.
        orphaned: How often it has heard that the supervisor has ended.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        ledger: int | None = None,
        *,
        ready: bool = True,
        **settings: Any,
    ) -> None:
        super().__init__(**{"handshake_timeout": 600.0} | settings)
        self.supervisor = supervisor
        self.orphaned: list[None] = []
        self.asked: list[None] = []
        self.took = (0, 0)
        self.kept = unshrinkable_file("connections")
        theirs = supervisor.attach()
        self.worker = Worker(WorkerFiles(theirs.detach(), os.dup(self.kept), -1, -1), lambda: 0)
        given = LEFT
        if ledger is not None:
            supervisor.roster.hand_over(encoded(LEFT), ledger)
            supervisor.roster.send(supervisor.engine.fileno())
            given = self.worker.receive()

        def describe() -> Any:
            self.asked.append(None)

        self.worker.join(self.engine, describe, lambda: self.orphaned.append(None))
        if ledger is not None:
            self.took = self.worker.take(self.engine, given)
            if given.ledger is not None:
                os.close(given.ledger)
        self.engine.record(self.worker.files.ledger)
        if ready:
            self.worker.ready(LEFT, Settings())
            supervisor.poll()

    def turn(self, times: int = 1) -> None:
        for _ in range(times):
            self.supervisor.engine.poll()
            self.engine.poll()

    def connect(self) -> Client:
        client = self.supervisor.connect()
        client.harness = self
        self.clients.append(client)
        return client

    def settle(self) -> None:
        for _ in range(1000):
            self.turn()
            for client in self.clients:
                client.receive()
            if is_at_rest(self.engine) and is_at_rest(self.supervisor.engine):
                return
        raise AssertionError("the loops do not come to rest")

    def killed(self, culprit: Connection | None = None) -> None:
        """Have it end as SIGKILL would: the kernel closes what it has, and tells nobody."""
        self.worker.let_go()
        for descriptor in self.engine.abandon(culprit):
            os.close(descriptor)

    def successor(self, ledger: int | None = None, **settings: Any) -> "Served":
        """The next worker, after this one has been killed.

        Args:
            ledger: What tells of the connections; None: what this one has left.
            **settings: Of the next one.
        """
        following = Served(self.supervisor, self.kept if ledger is None else ledger, **settings)
        following.clients, self.clients = self.clients, []
        for client in following.clients:
            client.harness = following
        return following

    def close(self) -> None:
        super().close()
        self.worker.let_go()
        os.close(self.kept)


@pytest.fixture
def supervisor(directory: Path, log: LogRecords) -> Iterator[Supervisor]:
    made = Supervisor(directory)
    yield made
    made.close()


@pytest.fixture
def served(supervisor: Supervisor) -> Iterator[Served]:
    with Served(supervisor) as made:
        yield made


def echoes(conn: Connection, binary: bool, payload: bytes) -> None:
    conn.send(payload)


# ---- From the listener to the worker -------------------------------------------------------------


def test_W1_a_client_that_the_supervisor_accepts_is_served_by_the_worker(served: Served) -> None:
    served.message_callback = echoes
    client = served.open()
    assert (served.supervisor.roster.connections, served.engine.connections) == (1, 1)
    client.send(frame(TEXT, b"hello"))
    served.until(lambda: client.frames)
    assert [received.payload for received in client.frames] == [b"hello"]
    served.settle()  # neither loop spins


def test_who_comes_when_too_many_are_on_their_way_waits_and_is_served_then(
    served: Served,
) -> None:
    clients = [served.connect() for _ in range(300)]
    for client in clients:
        client.send(REQUEST)
    served.supervisor.poll(20)
    assert served.supervisor.roster.connections == ON_THEIR_WAY_MAX
    assert is_at_rest(served.supervisor.engine)  # though clients wait
    served.until(lambda: all(client.status == 101 for client in clients))
    assert (served.supervisor.roster.connections, served.engine.connections) == (300, 300)
    for client in clients:
        client.close()
    served.settle()
    assert (served.supervisor.roster.connections, served.engine.connections) == (0, 0)


def test_W1_clients_that_come_while_there_is_no_worker_are_served_by_the_next(
    supervisor: Supervisor,
) -> None:
    early = supervisor.connect()
    early.send(REQUEST)
    supervisor.poll(3)
    assert is_at_rest(supervisor.engine)
    assert supervisor.roster.connections == 0
    with Served(supervisor) as first:
        first.until(lambda: early.status == 101, early)
        first.killed()
        supervisor.poll(2)
        assert supervisor.ends == [True]
        late = supervisor.connect()
        late.send(REQUEST)
        supervisor.poll(3)
        assert is_at_rest(supervisor.engine)
        with first.successor() as second:
            second.until(lambda: late.status == 101, late)
            assert second.took == (1, 0)
            assert (supervisor.roster.connections, second.engine.connections) == (2, 2)


def test_the_supervisor_asks_and_the_worker_answers(served: Served) -> None:
    served.supervisor.roster.put(ASK)
    served.supervisor.roster.send(served.supervisor.engine.fileno())
    served.settle()
    # What describes the server has no answer here, which is a fault of the callback alone.
    assert served.asked == [None]
    assert served.open().status == 101


# ---- Ends ----------------------------------------------------------------------------------------


def client_goes(served: Served, client: Client) -> None:
    client.close()


def client_says_goodbye(served: Served, client: Client) -> None:
    client.send(close_frame(1000))


def server_closes(served: Served, client: Client) -> None:
    served.connection(client).close(4000)
    served.until(lambda: client.frames, client)
    client.send(close_frame(4000))


def server_aborts(served: Served, client: Client) -> None:
    served.connection(client).abort()


def client_breaks_the_rules(served: Served, client: Client) -> None:
    client.send(frame(TEXT, b"\xff"))


def callback_raises(served: Served, client: Client) -> None:
    def raises(*_: object) -> None:
        raise LookupError("on purpose")

    served.message_callback = raises
    client.send(frame(TEXT, b"x"))


def server_stops(served: Served, client: Client) -> None:
    served.engine.begin_shutdown()
    served.until(lambda: client.frames, client)
    client.send(close_frame(1001))


def server_stops_at_once(served: Served, client: Client) -> None:
    served.engine.begin_shutdown()
    served.engine.end_shutdown()


def engine_is_closed(served: Served, client: Client) -> None:
    served.engine.shutdown(0.0)
    served.engine.close()


ENDS: Final[list[Callable[[Served, Client], None]]] = [
    client_goes,
    client_says_goodbye,
    server_closes,
    server_aborts,
    client_breaks_the_rules,
    callback_raises,
    server_stops,
    server_stops_at_once,
    engine_is_closed,
]


@contextlib.contextmanager
def copies_of_new_sockets() -> Iterator[Callable[[], None]]:
    """Keeps copies of all sockets that are there when it is called, as a forked process would."""
    before = set(open_now())
    copies: list[int] = []

    def copy() -> None:
        new = {number for number, what in open_now().items() if what.startswith("socket:")}
        copies.extend(os.dup(number) for number in new - before)

    try:
        yield copy
    finally:
        for number in copies:
            os.close(number)


@pytest.mark.parametrize("end", ENDS)
def test_an_end_is_one_for_the_supervisor_too_and_for_the_client_at_once(
    supervisor: Supervisor, end: Callable[[Served, Client], None]
) -> None:
    with Served(supervisor) as served:
        before = count()[0]
        client = supervisor.connect()
        client.harness = served
        served.clients.append(client)
        with copies_of_new_sockets() as copy:
            client.send(REQUEST)
            served.until(lambda: client.status == 101, client)
            copy()
            end(served, client)
            for _ in range(20):
                supervisor.poll()
                if end is not engine_is_closed:
                    served.engine.poll()
                client.receive()
            assert client.ended
            assert supervisor.roster.connections == 0
            assert is_at_rest(supervisor.engine)
        client.close()
        if end is not engine_is_closed:
            assert count()[0] == before


def test_a_refused_client_is_let_go_of(served: Served) -> None:
    served.open_callback = lambda conn, request: refusal(*OPEN_CALLBACK_REFUSED)
    client = served.connect()
    client.send(REQUEST)
    served.until(lambda: client.ended, client)
    assert client.status == 403
    client.close()
    served.settle()
    assert served.supervisor.roster.connections == 0


def test_who_sends_no_request_in_time_is_let_go_of(supervisor: Supervisor) -> None:
    with Served(supervisor, handshake_timeout=0.01, linger_timeout=0.01) as served:
        client = served.connect()
        served.until(lambda: supervisor.roster.connections == 1)
        served.until(lambda: client.ended, client)
        assert client.status == 408
        served.until(lambda: supervisor.roster.connections == 0, client)


def test_who_is_beyond_the_limit_is_refused_by_the_worker_and_let_go_of(
    supervisor: Supervisor,
) -> None:
    with Served(supervisor, max_connections=2) as served:
        served.open()
        served.open()
        third = served.connect()
        third.send(REQUEST)
        served.until(lambda: third.ended, third)
        assert third.status == 503
        third.close()
        served.settle()
        assert supervisor.roster.connections == 2


def test_when_the_supervisor_gives_all_up_every_client_sees_it(served: Served) -> None:
    clients = [served.open() for _ in range(3)]
    served.supervisor.roster.end_all()
    served.until(lambda: all(client.ended for client in clients))
    assert served.supervisor.roster.connections == 0


# ---- The next worker -----------------------------------------------------------------------------


def test_the_next_worker_goes_on_with_those_that_were_known_and_begins_with_the_others(
    served: Served,
) -> None:
    served.message_callback = echoes
    known = [served.open() for _ in range(3)]
    known[1].send(frame(TEXT, b"in two parts")[:7])
    served.settle()
    fresh = [served.connect() for _ in range(4)]
    for client in fresh:
        client.send(REQUEST)
    served.supervisor.poll()  # they are on their way, and nobody takes them
    assert served.supervisor.roster.connections == 7
    served.killed()
    served.supervisor.poll()
    assert served.supervisor.ends == [True]
    with served.successor() as following:
        following.message_callback = echoes
        assert following.took == (3, 0)
        following.until(lambda: all(client.status == 101 for client in fresh))
        assert len(following.resumed) == 3
        assert len(following.opened) == 4
        known[1].send(frame(TEXT, b"in two parts")[7:])
        for client in (known[0], known[2], *fresh):
            client.send(frame(TEXT, b"hello"))
        following.until(lambda: all(client.frames for client in known + fresh))
        assert [received.payload for received in known[1].frames] == [b"in two parts"]
        for client in known + fresh:
            client.close()
        following.settle()
        assert served.supervisor.roster.connections == 0


def test_a_known_one_that_nothing_is_known_of_is_cut_off_and_counted(served: Served) -> None:
    known = [served.open() for _ in range(2)]
    fresh = served.connect()
    fresh.send(REQUEST)
    served.supervisor.poll()
    served.killed()
    served.supervisor.poll()
    with served.successor(ledger=-1) as following:
        assert following.took == (0, 2)
        following.until(lambda: fresh.status == 101, fresh)
        following.until(lambda: all(client.ended for client in known))
        assert served.supervisor.roster.connections == 1


def test_one_whose_record_is_damaged_is_cut_off_and_counted_and_the_others_go_on(
    served: Served,
) -> None:
    known = [served.open() for _ in range(3)]
    served.killed()
    served.supervisor.poll()
    place = HEADER + UNIT + 40  # of the second one
    os.pwrite(served.kept, bytes([os.pread(served.kept, 1, place)[0] ^ 1]), place)
    with served.successor() as following:
        following.until(lambda: any(client.ended for client in known))
        following.settle()
        assert sum(client.ended for client in known) == 1
        assert served.supervisor.roster.connections == following.engine.connections == 2
        assert following.took == (2, 1)


def test_those_that_nobody_has_taken_are_served_though_a_record_is_damaged(
    served: Served,
) -> None:
    known = [served.open() for _ in range(2)]
    fresh = served.connect()
    fresh.send(REQUEST)
    served.supervisor.poll()
    served.killed()
    served.supervisor.poll()
    place = HEADER + 40
    os.pwrite(served.kept, bytes([os.pread(served.kept, 1, place)[0] ^ 1]), place)
    with served.successor() as following:
        following.until(lambda: fresh.status == 101 or fresh.ended, fresh)
        assert fresh.status == 101
        assert sum(client.ended for client in known) <= 1


def test_those_that_nobody_has_taken_are_served_though_the_whole_ledger_is_damaged(
    served: Served,
) -> None:
    known = served.open()
    fresh = served.connect()
    fresh.send(REQUEST)
    served.supervisor.poll()
    served.killed()
    served.supervisor.poll()
    os.pwrite(served.kept, bytes(64), 0)
    with served.successor() as following:
        following.until(lambda: fresh.status == 101 or fresh.ended, fresh)
        assert fresh.status == 101
        following.until(lambda: known.ended, known)
        assert served.supervisor.roster.connections == 1
        assert following.took == (0, 1)


@pytest.mark.parametrize("state", ["open", "handshaking"])
def test_who_was_being_handled_is_told_to_come_again_after_a_kill(
    supervisor: Supervisor, state: str
) -> None:
    with Served(supervisor) as served:
        other = served.open()
        if state == "open":
            culprit = served.open()
        else:
            culprit = served.connect()
            served.settle()
        conn = served.engine.all_connections()[-1]
        served.worker.let_go()
        for descriptor in served.engine.abandon(conn):
            os.close(descriptor)
        supervisor.poll()
        # As `Worker.take` does it, which takes the code from the signal.
        theirs = supervisor.attach()
        supervisor.roster.hand_over(b"{}", served.kept)
        supervisor.roster.send(supervisor.engine.fileno())
        channel = Channel(theirs.detach())
        text, ledger, passed = channel.receive_handover(10)
        assert (text, len(passed)) == (b"{}", 2)
        with CarryingHarness() as following:
            following.engine.join_supervisor(channel, nobody, nobody)
            following.engine.carry_in(ledger, [descriptor for descriptor, _ in passed], 1012)
            os.close(ledger)
            channel.put(READY)
            for _ in range(5):
                following.turn()
                supervisor.poll()
            other.receive()
            culprit.receive()
            if state == "open":
                assert [received.code for received in culprit.frames] == [1012]
            else:
                assert culprit.status == 503
            assert not other.ended
            channel.let_go()


def test_the_ledger_is_used_again_when_the_next_worker_ends_before_it_serves(
    served: Served,
) -> None:
    known = [served.open() for _ in range(3)]
    fresh = served.connect()
    fresh.send(REQUEST)
    served.supervisor.poll()
    served.killed()
    served.supervisor.poll()
    for _ in range(3):
        with Served(served.supervisor, served.kept, ready=False) as failed:
            assert failed.took == (3, 0)
            failed.worker.let_go()  # before anything that it does is heard of
            for descriptor in failed.engine.abandon(None):
                os.close(descriptor)
        served.supervisor.poll()
    assert served.supervisor.roster.connections == 4
    with served.successor() as following:
        assert following.took == (3, 0)
        following.message_callback = echoes
        following.until(lambda: fresh.status == 101, fresh)
        for client in known:
            client.send(frame(TEXT, b"still there?"))
        following.until(lambda: all(client.frames for client in known))


def test_one_that_came_with_the_ledger_before_the_supervisor_heard_that_it_was_taken_is_known(
    served: Served,
) -> None:
    client = served.open()
    late = served.connect()
    late.send(REQUEST)
    served.supervisor.poll()
    # The worker ends in the turn in which it has taken it: it is written down, and nobody is told.
    with socket.socket(fileno=os.dup(served.worker._channel.descriptor)) as channel:
        channel.shutdown(socket.SHUT_WR)
        served.engine.poll()
    served.killed()
    served.supervisor.poll()
    with served.successor() as second:
        assert second.took[0] == 2
        second.until(lambda: late.status == 101, late)
        second.settle()
        second.killed()
        served.supervisor.poll()
        # Now without a ledger: who has been served must not be taken for one that was not.
        with second.successor(ledger=-1) as third:
            assert third.took == (0, 2)
            third.until(lambda: late.ended and client.ended)
            assert third.opened == []


def test_three_hundred_are_handed_over(served: Served) -> None:
    clients = [served.connect() for _ in range(300)]
    for client in clients:
        client.send(REQUEST)
    served.until(lambda: all(client.status == 101 for client in clients))
    served.killed()
    with served.successor() as following:
        following.message_callback = echoes
        assert following.took == (300, 0)
        for client in clients:
            client.send(frame(TEXT, b"hello"))
        following.until(lambda: all(client.frames for client in clients))


def test_a_reload_hands_over_what_was_carried_out(served: Served) -> None:
    client = served.open()
    client.send(frame(TEXT, b"in two parts")[:7])
    served.settle()
    carried = unshrinkable_file("carried")
    served.engine.carry_out(carried)
    served.worker._say(LEAVING, encoded(LEFT))
    served.supervisor.poll()
    assert served.supervisor.said[-1][0] == LEAVING
    assert served.supervisor.roster.connections == 1
    served.worker.let_go()
    served.supervisor.poll()
    with served.successor(ledger=carried) as following:
        os.close(carried)
        following.message_callback = echoes
        client.send(frame(TEXT, b"in two parts")[7:])
        following.until(lambda: client.frames)
        assert client.frames[0].payload == b"in two parts"


def test_who_comes_while_the_worker_takes_nobody_is_the_next_ones(served: Served) -> None:
    served.engine.stop_listening()
    client = served.connect()
    client.send(REQUEST)
    served.turn(3)
    assert (served.supervisor.roster.connections, served.engine.connections) == (1, 0)
    assert not client.ended
    served.killed()
    with served.successor() as following:
        following.until(lambda: client.status == 101, client)


# ---- Descriptors ---------------------------------------------------------------------------------


@contextlib.contextmanager
def limit_stays() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_supervisor_without_descriptors_turns_clients_away_and_goes_on(served: Served) -> None:
    served.open()  # since it is asked for a client, it has a descriptor to spare
    clients = [served.connect() for _ in range(6)]
    for client in clients:
        client.send(REQUEST)
    with limit_stays():
        leave_descriptors(2)
        served.supervisor.poll(3)
    assert served.supervisor.roster.connections == 3
    served.until(lambda: all(client.status is not None for client in clients))
    assert sorted(client.status or 0 for client in clients) == [101, 101, 503, 503, 503, 503]
    assert served.open().status == 101


def test_a_worker_without_descriptors_has_clients_turned_away_and_serves_the_others(
    served: Served,
) -> None:
    served.open()
    clients = [served.connect() for _ in range(6)]
    for client in clients:
        client.send(REQUEST)
    served.supervisor.poll()
    assert served.supervisor.roster.connections == 7
    with limit_stays():
        leave_descriptors(2)
        served.engine.poll()
    served.until(lambda: all(client.status is not None for client in clients))
    assert sorted(client.status or 0 for client in clients) == [101, 101, 503, 503, 503, 503]
    served.until(lambda: all(client.ended for client in clients if client.status == 503))
    assert served.supervisor.roster.connections == 3
    assert served.open().status == 101


def test_a_client_gets_the_number_of_one_that_somebody_has_closed_in_the_worker(
    served: Served,
) -> None:
    lost, other = served.connect(), served.connect()
    other.send(REQUEST)
    served.supervisor.poll()
    before = set(open_now())
    served.engine.poll()
    theirs = min(set(open_now()) - before)
    served.settle()
    assert served.engine.connections == 2
    last = served.connect()
    os.close(theirs)  # by something else than dorrit
    fillers = [os.open(os.devnull, os.O_RDONLY)]
    while fillers[-1] < theirs:  # the supervisor is to get another number
        fillers.append(os.open(os.devnull, os.O_RDONLY))
    assert fillers[-1] == theirs
    served.supervisor.poll()
    os.close(fillers.pop())
    served.engine.poll()
    for filler in fillers:
        os.close(filler)
    last.send(REQUEST)
    served.until(lambda: last.status is not None or last.ended, last)
    assert last.status == 101, "it is a client like any other"
    served.settle()
    assert lost.ended
    assert other.status == 101
    assert (served.supervisor.roster.connections, served.engine.connections) == (2, 2)


def test_nothing_is_left_of_connections_and_workers(supervisor: Supervisor) -> None:
    def round_of(served: Served) -> None:
        clients = [served.open() for _ in range(10)]
        for client in clients[:7]:
            client.send(frame(TEXT, b"x" * 1000))
        served.settle()
        for client in clients[:5]:
            client.close()
        served.settle()
        for client in clients:
            client.close()
        served.settle()
        served.clients.clear()
        served.opened.clear()
        served.messages.clear()
        served.closed.clear()

    with Served(supervisor) as served:
        served.message_callback = echoes
        round_of(served)
        supervisor.clients.clear()
        before = count()
        for _ in range(20):
            round_of(served)
        supervisor.clients.clear()
        assert count() == before
    supervisor.roster.detach(supervisor.engine.fileno())
    before = count()
    for _ in range(10):
        with Served(supervisor) as first:
            first.open()
            late = first.connect()
            late.send(REQUEST)
            supervisor.poll()
            first.killed()
            with first.successor() as second:
                second.until(lambda late=late: late.status == 101, late)  # type: ignore[misc]
                second.settle()
                for client in second.clients:
                    client.close()
                second.settle()
                assert supervisor.roster.connections == 0
        supervisor.poll()
        supervisor.clients.clear()
        del first, second, late, client
    supervisor.roster.detach(supervisor.engine.fileno())
    assert count() == before


def test_what_stands_in_a_cycle_is_collected_with_its_descriptors() -> None:
    before = count()[0]
    ends = [end for _ in range(4) for end in socket.socketpair()]
    numbers = [end.detach() for end in ends]

    def made() -> None:
        class Owner:
            def __init__(self) -> None:
                self.roster = Roster(self.hear, self.hear)
                self.engine = Engine(on_open=self.hear, on_message=self.hear, on_close=self.hear)
                self.engine.supervise(self.roster)
                self.roster.attach(numbers[0], self.engine.fileno())
                self.other = Engine(on_open=self.hear, on_message=self.hear, on_close=self.hear)
                self.channel = Channel(numbers[1])
                self.other.join_supervisor(self.channel, self.hear, self.hear)
                self.mine = self

            def hear(self, *_: object) -> None: ...

        owner = Owner()
        owner.engine.poll()
        owner.other.close()
        owner.engine.close()

    made()
    for number in numbers[2:]:
        os.close(number)
    assert count()[0] == before


@pytest.mark.parametrize(
    "make",
    [
        lambda: Channel(None),  # type: ignore[arg-type]
        lambda: Channel(1 << 40),
        lambda: Channel.__new__(Channel),
        lambda: Roster.__new__(Roster),
        lambda: Roster(None),  # type: ignore[call-arg, arg-type]
    ],
    ids=["None", "a number too large", "no descriptor", "no callbacks", "one callback"],
)
def test_what_could_not_be_made_closes_nobodys_descriptor(make: Callable[[], object]) -> None:
    saved = os.dup(0)
    try:
        with contextlib.suppress(TypeError, OverflowError):
            make()
        gc.collect()
        os.fstat(0)
    finally:
        os.dup2(saved, 0)
        os.close(saved)


def engine_alone() -> Engine:
    return Engine(on_open=nobody, on_message=nobody, on_close=nobody)


def child_goes_on_accepting() -> None:
    engine = engine_alone()
    engine.go_on_accepting()
    engine.supervise(None)  # type: ignore[arg-type]
    engine.go_on_accepting()
    engine.poll()
    engine.close()


def child_takes_what_nobody_passed() -> None:
    engine = engine_alone()
    engine.give_up_passed([1, -1])
    with contextlib.suppress(Exception):
        engine.take_passed([os.dup(0)])
    engine.close()


def child_takes_what_no_channel_has_brought() -> None:
    engine = engine_alone()
    ours, _theirs = socket.socketpair()
    engine.join_supervisor(Channel(ours.detach()), nobody, nobody)
    for number in (1 << 30, -(1 << 20), os.dup(0)):
        with contextlib.suppress(Exception):
            engine.take_passed([number])
    engine.close()
    _theirs.close()


def child_joins_nobody() -> None:
    engine = engine_alone()
    with pytest.raises(TypeError):
        engine.join_supervisor(None, nobody, nobody)  # type: ignore[arg-type]
    engine.close()


@pytest.mark.parametrize(
    "use",
    [
        child_goes_on_accepting,
        child_takes_what_nobody_passed,
        child_takes_what_no_channel_has_brought,
        child_joins_nobody,
    ],
)
def test_an_engine_that_has_no_supervisor_can_be_asked_for_what_needs_one(
    use: Callable[[], None],
) -> None:
    in_child(use)


def test_a_channel_that_cant_be_watched_is_closed(supervisor: Supervisor, directory: Path) -> None:
    (directory / "file").touch()
    before = open_now()
    number = os.open(directory / "file", os.O_RDWR)  # which epoll(7) takes none of
    with pytest.raises(OSError):
        supervisor.roster.attach(number, supervisor.engine.fileno())
    assert open_now() == before


# ---- Forks ---------------------------------------------------------------------------------------


def status_of(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_process_that_a_callback_of_the_worker_forks_has_none_of_it(served: Served) -> None:
    client, other = served.open(), served.open()
    parent = os.getpid()
    children: list[int] = []

    def forks(*_: object) -> None:
        if not children:
            children.append(os.fork())

    served.message_callback = forks
    client.send(frame(TEXT, b"x"))
    waiting = served.connect()
    waiting.send(REQUEST)
    served.supervisor.poll()
    channel = served.worker._channel
    try:
        served.engine.poll()
    except SystemExit:
        os._exit(7 if channel.descriptor == -1 and served.engine.is_forked else 98)
    finally:
        if os.getpid() != parent:
            os._exit(99)
    assert status_of(children[0]) == 7
    other.send(frame(TEXT, b"still there?"))
    served.until(lambda: waiting.status == 101, waiting)
    served.settle()
    assert served.messages[-1][2] == b"still there?"
    assert served.supervisor.roster.connections == served.engine.connections == 3
    assert not client.ended


def test_a_process_that_is_forked_while_a_client_is_taken_has_none_of_it(
    supervisor: Supervisor,
) -> None:
    with Served(supervisor, max_handshakes=1) as served:
        parent = os.getpid()
        children: list[int] = []

        def forks(*_: object) -> None:
            if not children:
                children.append(os.fork())

        served.open_callback = forks
        # The request of the first is read when the second is taken, in the middle of the messages.
        clients = [served.connect() for _ in range(3)]
        for client in clients:
            client.send(REQUEST)
        supervisor.poll()
        try:
            served.engine.poll()
        except SystemExit:
            os._exit(7 if served.worker._channel.descriptor == -1 else 98)
        finally:
            if os.getpid() != parent:
                os._exit(99)
        assert status_of(children[0]) == 7
        served.until(lambda: all(client.status is not None for client in clients))
        assert [client.status for client in clients] == [101] * 3
        assert supervisor.roster.connections == served.engine.connections == 3


def test_a_process_that_a_callback_of_the_supervisor_forks_has_none_of_it(
    supervisor: Supervisor,
) -> None:
    theirs = supervisor.serve()
    numbers = [supervisor.accepted() for _ in range(3)]
    parent = os.getpid()
    children: list[int] = []
    supervisor.heard = lambda kind, text: children.append(os.fork())
    theirs.send(message(STATUS))
    status = 99
    try:
        supervisor.poll()
    except SystemExit:
        if os.getpid() != parent:
            status = 7
            for number in numbers:
                with contextlib.suppress(OSError):
                    os.fstat(number)
                    status = 98
    finally:
        if os.getpid() != parent:
            os._exit(status)
    assert status_of(children[0]) == 7
    assert supervisor.roster.connections == 3
    for client in supervisor.clients:
        client.receive()
        assert not client.ended
    theirs.close()


# ---- A worker that means no good -----------------------------------------------------------------


def taken(theirs: socket.socket) -> list[int]:
    """The numbers of the connections that a worker has got; it closes their descriptors."""
    numbers = []
    with contextlib.suppress(BlockingIOError):
        while True:
            data, descriptors, _, _ = socket.recv_fds(theirs, 1 << 16, 250)
            for descriptor in descriptors:
                os.close(descriptor)
            if not data:
                break
            while data:
                kind, _, _, length, number = HEAD.unpack_from(data)
                data = data[HEAD.size + length :]
                if kind == CONNECTION:
                    numbers.append(number)
    return numbers


@pytest.mark.parametrize("kind", [TAKEN, ENDED, REFUSED], ids=["taken", "ended", "refused"])
@pytest.mark.parametrize(
    "which",
    ["0", "of no descriptor", "of somebody else's descriptor", "of another time", "ended", "huge"],
)
def test_a_worker_speaks_of_a_connection_that_it_has_not(
    supervisor: Supervisor, kind: int, which: str
) -> None:
    saved = os.dup(0)
    theirs = supervisor.serve()
    supervisor.accepted()
    supervisor.accepted()
    first, second = taken(theirs)
    if which == "ended":
        theirs.send(message(ENDED, first))
        supervisor.poll(2)
    number = {
        "0": 0,
        "of no descriptor": (1 << 32) | 0x7FFFFFFF,
        "of somebody else's descriptor": (1 << 32) | supervisor.listener.fileno(),
        "of another time": first + (1 << 32),
        "ended": first,
        "huge": (1 << 64) - 1,
    }[which]
    before, connections = open_now(), supervisor.roster.connections
    try:
        theirs.send(message(kind, number))
        supervisor.poll(3)
        assert supervisor.ends == [False]
        assert supervisor.roster.connections == connections
        after = open_now()
        assert len(after) == len(before) - 1  # the channel
        assert after.items() <= before.items()
        assert is_at_rest(supervisor.engine)
    finally:
        os.dup2(saved, 0)
        os.close(saved)
        theirs.close()
    assert second != first


@pytest.mark.parametrize(
    "said",
    [
        message(BATCH, 1),
        message(LEDGER),
        message(CONNECTION, 1),
        message(HANDOVER, text=b"{}"),
        message(ASK),
        message(KINDS),
        message(255),
        HEAD.pack(STATUS, 0, 0, TEXT_MAX + 1, 0),
        HEAD.pack(STATUS, 0, 0, 0xFFFFFFFF, 0),
    ],
    ids=lambda said: f"kind {said[0]}",
)
def test_a_worker_says_what_no_worker_may_say(supervisor: Supervisor, said: bytes) -> None:
    theirs = supervisor.serve()
    supervisor.accepted()
    theirs.send(message(STATUS, text=b"before") + said + message(STATUS, text=b"after"))
    supervisor.poll(3)
    assert supervisor.said[1:] == [(STATUS, b"before")]
    assert supervisor.ends == [False]
    assert supervisor.roster.connections == 1
    assert is_at_rest(supervisor.engine)
    theirs.close()
    supervisor.poll(2)
    assert supervisor.ends == [False]


def test_a_text_as_long_as_any_may_be_comes_as_it_is(supervisor: Supervisor) -> None:
    theirs = supervisor.serve()
    text = os.urandom(TEXT_MAX)
    left = memoryview(message(STATUS, text=text))
    while left:
        with contextlib.suppress(BlockingIOError):
            left = left[theirs.send(left) :]
        supervisor.poll()
    supervisor.poll(100)
    assert supervisor.said[1:] == [(STATUS, text)]
    assert supervisor.ends == []
    theirs.close()


def test_descriptors_that_a_worker_passes_are_closed_and_no_fault(supervisor: Supervisor) -> None:
    theirs = supervisor.serve()
    before = open_now()
    for _ in range(100):
        socket.send_fds(theirs, [message(STATUS)], [0] * BATCH_MAX)
        socket.send_fds(theirs, [message(STATUS)], [0] * 250)
        supervisor.poll()
    supervisor.poll(200)
    assert open_now() == before
    assert supervisor.said[1:] == [(STATUS, b"")] * 200
    theirs.close()


def test_a_worker_speaks_of_what_has_not_been_sent_to_it(supervisor: Supervisor) -> None:
    theirs = supervisor.serve()
    supervisor.accepted()
    (number,) = taken(theirs)
    supervisor.roster.detach(supervisor.engine.fileno())
    theirs.close()
    theirs = supervisor.attach()
    supervisor.roster.hand_over(b"{}", -1)  # and it is not sent
    theirs.send(message(ENDED, number))
    supervisor.poll(2)
    assert supervisor.ends == [False]
    assert supervisor.roster.connections == 1
    theirs.close()


@pytest.mark.parametrize("said", [[READY], [READY, READY]], ids=["once", "twice"])
def test_a_worker_that_says_it_serves_has_not_got_everything_by_that(
    supervisor: Supervisor, said: list[int]
) -> None:
    theirs = supervisor.serve()
    numbers = [supervisor.accepted() for _ in range(3)]
    known = taken(theirs)
    supervisor.roster.detach(supervisor.engine.fileno())
    theirs.close()
    theirs = supervisor.attach()
    supervisor.roster.hand_over(b"{}", -1)  # and it is not sent: the channel may be full
    before = open_now()
    for kind in said:
        theirs.send(message(kind))
    theirs.send(message(ENDED, known[1]))
    supervisor.poll(2)
    # What is to be sent is not closed: its number would be another connection's by then.
    assert numbers[1] in open_now()
    assert supervisor.roster.connections == 3
    assert supervisor.ends == [False]
    assert before.items() >= open_now().items()
    theirs.close()


def test_a_worker_that_says_over_and_over_that_it_serves_has_no_more_on_their_way(
    supervisor: Supervisor,
) -> None:
    theirs = supervisor.serve()
    for _ in range(3 * ON_THEIR_WAY_MAX):
        supervisor.connect()
    for _ in range(20):
        with contextlib.suppress(BrokenPipeError):
            theirs.send(message(READY))
        supervisor.poll()
    assert supervisor.roster.connections <= ON_THEIR_WAY_MAX
    theirs.close()


def test_a_process_that_a_worker_has_left_behind_cant_keep_the_supervisor_listening(
    supervisor: Supervisor,
) -> None:
    theirs = supervisor.serve()
    heard = []

    def says_more(kind: int, text: bytes) -> None:
        heard.append(kind)
        assert len(heard) < 10_000, "it would listen for ever"
        theirs.send(message(STATUS))

    supervisor.heard = says_more
    theirs.send(message(STATUS))
    supervisor.roster.drain(supervisor.engine.fileno())
    theirs.close()


def test_what_a_worker_has_said_last_is_heard_once_it_has_ended(supervisor: Supervisor) -> None:
    theirs = supervisor.serve()
    said = [b"%d" % number * 1000 for number in range(50)]
    theirs.send(b"".join(message(STATUS, text=text) for text in said) + message(LEAVING))
    theirs.close()
    supervisor.roster.drain(supervisor.engine.fileno())
    assert supervisor.said[1:] == [(STATUS, text) for text in said] + [(LEAVING, b"")]
    assert supervisor.ends == [True]
    supervisor.roster.drain(supervisor.engine.fileno())
    supervisor.poll(2)
    assert supervisor.ends == [True]
    assert is_at_rest(supervisor.engine)


def test_a_callback_of_the_roster_that_raises_costs_nothing_that_follows(
    supervisor: Supervisor,
) -> None:
    theirs = supervisor.serve()

    def raises(kind: int, text: bytes) -> None:
        if text == b"wrong":
            raise LookupError("on purpose")

    supervisor.heard = raises
    supervisor.accepted()
    (number,) = taken(theirs)
    theirs.send(
        message(STATUS, text=b"wrong") + message(STATUS, text=b"x") + message(ENDED, number)
    )
    with contextlib.suppress(LookupError):
        supervisor.poll()
    supervisor.poll(3)
    assert supervisor.said[1:] == [(STATUS, b"wrong"), (STATUS, b"x")]
    assert supervisor.roster.connections == 0
    theirs.close()


@pytest.mark.parametrize("what", ["detach", "attach", "end_all", "drain"])
def test_a_callback_of_the_roster_may_use_it(supervisor: Supervisor, what: str) -> None:
    theirs = supervisor.serve()
    supervisor.accepted()
    others: list[socket.socket] = []

    def uses(kind: int, text: bytes) -> None:
        if what == "attach":
            others.append(supervisor.attach())
        elif what == "end_all":
            supervisor.roster.end_all()
        else:
            getattr(supervisor.roster, what)(supervisor.engine.fileno())

    supervisor.heard = uses
    theirs.send(message(STATUS) * 2)
    supervisor.poll(3)
    assert supervisor.ends == []
    assert is_at_rest(supervisor.engine)
    for end in (theirs, *others):
        end.close()


def said_at_random(chance: random.Random, numbers: list[int]) -> bytes:
    """Something that a worker might say, or nearly so."""
    parts = []
    for _ in range(chance.randrange(1, 6)):
        number = (
            chance.choice(
                [
                    *numbers,
                    *(number + (chance.randrange(-2, 3) << 32) for number in numbers),
                    *(number ^ 1 << chance.randrange(64) for number in numbers),
                    chance.randrange(1 << 64),
                    chance.randrange(64),
                    1 << 32 | chance.randrange(64),
                ]
            )
            & (1 << 64) - 1
        )
        kind = chance.choice([TAKEN, TAKEN, ENDED, REFUSED, READY, STATUS, LEAVING])
        if chance.randrange(20) == 0:
            kind = chance.randrange(256)
        text = chance.randbytes(chance.choice([0, 0, 0, 1, 16, 3000]))
        said = bytearray(message(kind, number, text, chance.choice([0, 0, 1, 255])))
        if chance.randrange(20) == 0:
            said[chance.randrange(HEAD.size)] ^= 1 << chance.randrange(8)
        if chance.randrange(20) == 0:
            del said[chance.randrange(len(said)) :]
        parts.append(bytes(said))
    if chance.randrange(15) == 0:
        parts.append(chance.randbytes(chance.randrange(200)))
    return b"".join(parts)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_a_worker_says_ends_its_own_connections_at_the_most(
    supervisor: Supervisor, seed: int
) -> None:
    chance = random.Random(seed)
    saved = os.dup(0)
    gone = open_now()
    sockets: set[str] = set()  # of the supervisor's connections
    told: list[int] = []  # numbers that some worker has got

    def turn() -> None:
        before = set(open_now())
        supervisor.poll()
        sockets.update(what for number, what in open_now().items() if number not in before)

    for _ in range(examples(300)):
        theirs = supervisor.attach()
        del supervisor.ends[:]
        numbers = [0, 1, 2, *told[-12:]]
        if supervisor.roster.connections and chance.randrange(4):
            supervisor.roster.hand_over(b"{}", chance.choice([-1, saved]))
            if chance.randrange(3):
                supervisor.roster.send(supervisor.engine.fileno())
        if chance.randrange(3):
            theirs.send(message(READY))
            turn()
        for _ in range(chance.randrange(1, 5)):
            for _ in range(chance.randrange(4)):
                supervisor.connect()
            turn()
            if chance.randrange(4):
                told += taken(theirs)
                numbers += told[-12:]
            with contextlib.suppress(BrokenPipeError, BlockingIOError, ConnectionResetError):
                data = said_at_random(chance, numbers)
                if chance.randrange(8) == 0:
                    socket.send_fds(theirs, [data], [saved] * chance.randrange(1, 250))
                else:
                    theirs.send(data)
            before, ended = open_now(), len(supervisor.ends)
            turn()
            after = open_now()
            lost = {
                what
                for number, what in before.items()
                if after.get(number) != what and what not in sockets
            }
            assert len(lost) == len(supervisor.ends) - ended, lost  # its own end of the channel
            assert supervisor.roster.connections >= 0
        theirs.close()
        turn()
        turn()
        assert len(supervisor.ends) == 1
        supervisor.roster.detach(supervisor.engine.fileno())
        turn()
        assert is_at_rest(supervisor.engine)
        open_ones = {what for what in open_now().values() if what in sockets}
        assert len(open_ones) == supervisor.roster.connections
        if len(supervisor.clients) > 30:
            for client in supervisor.clients:
                client.close()
            supervisor.clients.clear()
            if chance.randrange(2):
                supervisor.roster.end_all()
                assert supervisor.roster.connections == 0
    for client in supervisor.clients:
        client.close()
    supervisor.clients.clear()
    supervisor.roster.end_all()
    os.close(saved)
    left = {number: what for number, what in open_now().items() if gone.get(number) != what}
    # The listener is asked with a descriptor to spare.
    assert list(left.values()) in ([], ["/dev/null"])


# ---- A supervisor that means no good -------------------------------------------------------------


class Misled(CarryingHarness):
    """A worker, and what its supervisor says is the test's."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.theirs, ours = socket.socketpair()
        self.theirs.setblocking(False)
        self.channel = Channel(ours.detach())
        self.orphaned: list[None] = []
        self.asked: list[None] = []

        def asked() -> None:
            self.asked.append(None)

        def orphaned() -> None:
            self.orphaned.append(None)

        self.engine.join_supervisor(self.channel, asked, orphaned)

    def said(self) -> bytes:
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            return self.theirs.recv(1 << 16)
        return b""

    def close(self) -> None:
        super().close()
        self.channel.let_go()
        self.theirs.close()


@pytest.mark.parametrize(
    "said",
    [
        message(BATCH, 0),
        message(BATCH, 1),
        message(BATCH, BATCH_MAX + 1),
        message(KINDS),
        message(255),
        HEAD.pack(HANDOVER, 0, 0, TEXT_MAX + 1, 0),
    ],
    ids=lambda said: f"kind {said[0]}, number {HEAD.unpack(said)[4]}",
)
def test_a_supervisor_says_what_cant_be_and_the_worker_stops(log: LogRecords, said: bytes) -> None:
    with Misled() as worker:
        copy = os.dup(worker.channel.descriptor)  # as a process has that was forked a moment ago
        try:
            worker.theirs.send(message(ASK) + said + message(ASK))
            worker.turn(3)
            assert worker.asked == [None]
            assert worker.orphaned == [None]
            assert worker.channel.descriptor == -1
            assert is_at_rest(worker.engine)
        finally:
            os.close(copy)


def test_a_channel_whose_supervisor_has_ended_leaves_nothing_in_the_poller(log: LogRecords) -> None:
    with Misled() as worker:
        copy = os.dup(worker.channel.descriptor)  # as a process has that was forked a moment ago
        try:
            worker.theirs.close()
            worker.turn(5)
            assert is_at_rest(worker.engine)
            assert worker.orphaned == [None]
        finally:
            os.close(copy)


def test_the_supervisor_ends_and_the_worker_hears_of_it_once(log: LogRecords) -> None:
    with Misled() as worker:
        client, theirs = socket.socketpair()
        socket.send_fds(
            worker.theirs, [message(BATCH, 1) + message(CONNECTION, 1 << 32 | 7)], [theirs.fileno()]
        )
        theirs.close()
        client.send(REQUEST)
        worker.turn(2)
        assert len(worker.opened) == 1
        worker.theirs.close()
        worker.turn(3)
        assert worker.orphaned == [None]
        assert is_at_rest(worker.engine)
        worker.opened[0][0].abort()
        worker.turn(3)  # which nobody hears of
        assert worker.engine.connections == 0
        assert worker.orphaned == [None]
        client.close()


@pytest.mark.parametrize("what", ["file", "pipe", "listener", "poller", "itself", "same twice"])
def test_what_a_supervisor_passes_that_is_no_connection_costs_nothing(
    log: LogRecords, directory: Path, what: str
) -> None:
    before = count()[0]
    with Misled() as worker:
        extra: list[int] = []
        if what == "file":
            extra.append(os.open(directory / "file", os.O_RDWR | os.O_CREAT))
        elif what == "pipe":
            extra += os.pipe()
        elif what == "listener":
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(directory / "listener"))
                listener.listen()
                extra.append(os.dup(listener.fileno()))
        elif what == "poller":
            extra.append(os.dup(worker.engine.fileno()))
        elif what == "itself":
            extra.append(os.dup(worker.theirs.fileno()))
        else:
            one, other = socket.socketpair()
            extra += [one.detach(), os.dup(other.fileno()), other.detach()]
        said = message(BATCH, len(extra)) + b"".join(
            message(CONNECTION, 1 << 32 | 100 + index) for index in range(len(extra))
        )
        socket.send_fds(worker.theirs, [said], extra)
        for number in extra:
            os.close(number)
        for _ in range(5):
            worker.turn()
            worker.said()
        for conn in worker.engine.all_connections():
            conn.abort()
        worker.turn(3)
    del worker
    assert count()[0] == before


@pytest.mark.parametrize("seed", range(2))
def test_whatever_a_supervisor_says_is_no_crash_of_the_worker(log: LogRecords, seed: int) -> None:
    chance = random.Random(seed)
    before = count()
    for _ in range(400):
        with Misled(max_handshakes=chance.choice([1, 3, 100])) as worker:
            for _ in range(chance.randrange(1, 6)):
                pairs = [socket.socketpair() for _ in range(chance.randrange(5))]
                said = message(BATCH, max(0, len(pairs) + chance.choice([0, 0, 0, 0, 1, -1])))
                if chance.randrange(8) == 0:
                    said = b""
                for index in range(len(pairs)):
                    kind = CONNECTION if chance.randrange(10) else chance.randrange(KINDS)
                    said += message(kind, chance.choice([0, index, 1 << 32 | index]))
                said += b"".join(
                    message(chance.choice([ASK, HANDOVER, STATUS]), 0, chance.randbytes(9))
                    for _ in range(chance.randrange(3))
                )
                changed = bytearray(said)
                if changed and chance.randrange(5) == 0:
                    changed[chance.randrange(len(changed))] = chance.randrange(256)
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    if changed:
                        numbers = [theirs.fileno() for _, theirs in pairs]
                        socket.send_fds(worker.theirs, [changed], numbers)
                for one, other in pairs:
                    other.close()
                    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                        one.send(REQUEST if chance.randrange(3) else b"x")
                worker.turn(2)
                for one, _ in pairs:
                    one.close()
                if chance.randrange(2):
                    worker.said()
            worker.turn(2)
            assert len(worker.orphaned) <= 1
            if worker.orphaned:
                assert is_at_rest(worker.engine)
    del worker
    pairs.clear()
    assert count() == before


@pytest.mark.parametrize("seed", range(2))
def test_whatever_is_handed_over_is_an_error_at_the_most(seed: int) -> None:
    chance = random.Random(seed)
    before = count()[0]
    for _ in range(500):
        theirs, ours = socket.socketpair()
        channel = Channel(ours.detach())
        numbers = [0] * chance.randrange(1, 6)
        said = message(BATCH, len(numbers))
        for _ in numbers:
            said += message(chance.choice([LEDGER, CONNECTION, CONNECTION, ASK]), 1 << 32 | 5)
        said += message(HANDOVER, text=b"{}")
        changed = bytearray(said)
        if chance.randrange(3) == 0:
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        socket.send_fds(theirs, [changed], numbers)
        theirs.shutdown(socket.SHUT_WR)
        try:
            _, ledger, passed = channel.receive_handover(10)
        except (OSError, MemoryError):
            pass
        else:
            for number in {ledger, *(number for number, _ in passed)} - {-1}:
                os.close(number)
        theirs.close()
        del channel
    assert count()[0] == before


def test_a_worker_without_descriptors_for_those_that_nobody_has_taken_has_the_others(
    served: Served,
) -> None:
    known = [served.open() for _ in range(2)]
    fresh = [served.connect() for _ in range(3)]
    for client in fresh:
        client.send(REQUEST)
    served.supervisor.poll()
    served.killed()
    served.supervisor.poll()
    theirs = served.supervisor.attach()
    served.supervisor.roster.hand_over(b"{}", served.kept)
    served.supervisor.roster.send(served.supervisor.engine.fileno())
    channel = Channel(theirs.detach())
    with limit_stays():
        leave_descriptors(5)  # the poll that waits for it takes none
        _, ledger, passed = channel.receive_handover(10)
    assert ledger >= 0
    assert sum(known for _, known in passed) == len(known)
    for number in (ledger, *(number for number, _ in passed)):
        os.close(number)
    channel.let_go()


# ---- A full channel ------------------------------------------------------------------------------


def test_a_channel_that_is_full_waits_and_goes_on_without_a_loss(supervisor: Supervisor) -> None:
    theirs = supervisor.serve()
    for _ in range(30):
        supervisor.roster.put(ASK, b"x" * 20_000)
    supervisor.roster.send(supervisor.engine.fileno())
    number = supervisor.accepted()
    supervisor.poll(2)
    assert is_at_rest(supervisor.engine)  # it waits for room
    received = b""
    got: list[int] = []
    while len(received) < 30 * (20_000 + HEAD.size) + 2 * HEAD.size:
        with contextlib.suppress(BlockingIOError):
            data, passed, _, _ = socket.recv_fds(theirs, 1 << 20, 250)
            received += data
            got += passed
        supervisor.poll()
    assert len(got) == 1
    assert os.fstat(got[0]).st_ino == os.fstat(number).st_ino
    os.close(got[0])
    assert is_at_rest(supervisor.engine)
    theirs.close()


def child_has_too_many_in_flight() -> None:
    """unix(7): ETOOMANYREFS, which root does not get."""
    ends = socket.socketpair()
    os.setgid(65534)
    os.setuid(65534)
    pairs = [socket.socketpair() for _ in range(20)]
    roster = Roster(nobody, nobody)
    engine = engine_alone()
    engine.supervise(roster)
    # What is in flight already is somebody else's of the same user.
    filler = socket.socketpair()
    socket.send_fds(filler[0], [b"x"], [pairs[0][0].fileno()] * 250)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    roster.attach(ends[0].detach(), engine.fileno())
    roster.hand_over(b"{}", pairs[1][0].fileno())
    roster.send(engine.fileno())
    for _ in range(3):
        engine.poll()
    with contextlib.suppress(BlockingIOError):
        ends[1].setblocking(False)
        sys.exit(0 if ends[1].recv(1) else 1)  # this kernel counts otherwise
    assert is_at_rest(engine), "it spins"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_a_supervisor_does_not_spin_while_too_many_descriptors_are_in_flight() -> None:
    in_child(child_has_too_many_in_flight)


def test_a_close_frame_is_the_last_that_a_client_gets_of_a_worker_that_closes(
    served: Served,
) -> None:
    client = served.open()
    conn = served.connection(client)
    conn.send(b"x" * 50_000)
    conn.close(4000)
    served.settle()
    client.send(close_frame(4000))
    served.until(lambda: client.ended, client)
    assert client.frames[-1].opcode == CLOSE
    assert not client.reset
