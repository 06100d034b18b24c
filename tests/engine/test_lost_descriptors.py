"""Descriptors of the engine's that somebody else has closed: a number may be another client's now.

What closes a descriptor twice closes somebody else's the second time.
"""

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dorrit.engine import Connection
from tests.engine.test_accept import listening
from tests.support.frames import PING, REQUEST, TEXT, frame
from tests.support.harness import Client, Harness, LogRecords

LOST = "was closed by something else than dorrit"


def is_ledger(number: int) -> bool:
    """Whether it is one of an engine that was built to check its invariants."""
    with contextlib.suppress(OSError):
        return "memfd:invariants" in str(Path(f"/proc/self/fd/{number}").readlink())
    return False


def open_now() -> set[int]:
    """The descriptors that this process has open."""
    found = set()
    for number in range(256):
        with contextlib.suppress(OSError):
            os.fstat(number)
            if not is_ledger(number):
                found.add(number)
    return found


def descriptor_of(harness: Harness, make: str = "client") -> tuple[Client, int]:
    """A client that is open, and the number of the server's end."""
    before = open_now()
    client = harness.open() if make == "client" else harness.connect()
    new = open_now() - before
    return client, (new - {client.socket.fileno()}).pop()


def open_at(harness: Harness, number: int) -> Client:
    """A client whose connection gets a number that somebody has closed."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    spare = ours.detach()
    if spare != number:
        os.dup2(spare, number, inheritable=False)
        os.close(spare)
    assert harness.engine.adopt(number) is not None
    client = Client(harness, theirs)
    harness.clients.append(client)
    return client


@pytest.mark.parametrize("waits", ["nothing", "messages", "half a message", "a pause", "a close"])
def test_the_next_client_with_the_number_gets_nothing_that_was_for_another_one(
    harness: Harness, log: LogRecords, waits: str
) -> None:
    client, number = descriptor_of(harness)
    conn = harness.connection(client)
    match waits:
        case "messages":
            conn.send("for the first one")
        case "half a message":
            client.send(frame(TEXT, b"for the server" * 100)[:700])
            harness.turn()
        case "a pause":
            harness.message_callback = lambda conn, binary, payload: harness.engine.pause(conn)
            client.send(frame(TEXT, b"x") * 3)
            harness.turn()
        case "a close":
            conn.close(4000)
    os.close(number)
    other = open_at(harness, number)
    other.send(REQUEST)
    harness.until(lambda: other.status is not None, other)
    assert not conn.is_open
    assert [(lost, code) for lost, code, _ in harness.closed] == [
        (conn, 4000 if waits == "a close" else 1006)
    ]
    assert log.text.count(LOST) == 1
    conn.send("x")
    conn.close()
    conn.abort()
    harness.engine.resume(conn)
    other.send(frame(PING, b"still there?"))
    harness.until(lambda: other.frames, other)
    assert [received.payload for received in other.frames] == [b"still there?"]
    assert harness.engine.connections == 1
    harness.connection(other).abort()
    harness.settle()
    assert other.ended


@pytest.mark.parametrize("state", ["handshaking", "lingering"])
def test_one_whose_request_has_not_come_or_that_is_over_may_lose_its_number_too(
    harness: Harness, log: LogRecords, state: str
) -> None:
    client, number = descriptor_of(harness, "connection")
    if state == "lingering":
        client.send(b"no request\r\n\r\n")
        harness.turn()
        assert harness.engine.lingering == 1
    os.close(number)
    other = open_at(harness, number)
    assert harness.engine.connections == 1
    assert harness.engine.lingering == 0
    other.send(REQUEST)
    harness.until(lambda: other.status == 101, other)
    assert log.text.count(LOST) == 1


def test_it_may_happen_in_a_callback_of_the_same_connection(
    harness: Harness, log: LogRecords
) -> None:
    client, number = descriptor_of(harness)
    others: list[Client] = []

    def close_and_adopt(conn: Connection, binary: bool, payload: bytes) -> None:
        os.close(number)
        others.append(open_at(harness, number))
        conn.send("to nobody")

    harness.message_callback = close_and_adopt
    client.send(frame(TEXT, b"x") * 3)
    harness.turn()
    assert len(harness.messages) == len(others) == 1
    others[0].send(REQUEST)
    harness.until(lambda: others[0].status == 101, others[0])
    assert [code for _, code, _ in harness.closed] == [1006]
    assert others[0].frames == []


def test_a_number_that_is_a_file_of_somebody_else_s_is_not_closed(
    harness: Harness, log: LogRecords
) -> None:
    client, number = descriptor_of(harness)
    conn = harness.connection(client)
    reading, writing = os.pipe()
    os.dup2(writing, number)  # which closes it
    conn.abort()
    harness.settle()
    assert os.write(number, b"still open") == 10
    assert log.text.count(LOST) == 1
    for mine in {reading, writing, number}:
        os.close(mine)


@pytest.mark.parametrize("how", ["send", "close", "abort", "pause", "shutdown"])
def test_a_connection_without_a_descriptor_ends_when_it_is_used(
    harness: Harness, log: LogRecords, how: str
) -> None:
    client, number = descriptor_of(harness)
    conn = harness.connection(client)
    os.close(number)
    match how:
        case "send":
            conn.send("x")
        case "close":
            conn.close()
        case "abort":
            conn.abort()
        case "pause":
            harness.engine.pause(conn)
        case "shutdown":
            harness.engine.begin_shutdown()
    harness.settle()
    assert harness.engine.connections == 0
    assert [lost for lost, _, _ in harness.closed] == [conn]
    assert log.text.count(LOST) == 1


def test_the_number_of_the_listening_socket_may_be_a_client_s(log: LogRecords) -> None:
    with Harness() as harness, socket.socket(socket.AF_UNIX) as listener:
        listener.bind("")
        listener.listen()
        listener.setblocking(False)
        number = listener.detach()
        harness.engine.listen(number)
        os.close(number)
        client = open_at(harness, number)
        client.send(REQUEST)
        harness.until(lambda: client.status == 101, client)
        assert "the listening socket, " + LOST in log.text
        harness.engine.stop_listening()
        client.send(frame(PING))
        harness.until(lambda: client.frames, client)


@pytest.fixture
def own_descriptors() -> Iterator[tuple[Harness, set[int]]]:
    before = open_now()
    harness = Harness()
    new = open_now() - before
    with harness:
        yield harness, {number for number in new if number != harness.engine.fileno()}


def test_the_number_of_any_other_descriptor_of_the_engine_may_be_a_client_s(
    own_descriptors: tuple[Harness, set[int]], log: LogRecords
) -> None:
    harness, numbers = own_descriptors
    assert len(numbers) == 3, "two ends of a pipe, and one to spare"
    assert harness.engine.wakeup_descriptor in numbers
    before = signal.set_wakeup_fd(harness.engine.wakeup_descriptor)
    try:
        clients = []
        for number in numbers:
            os.close(number)
            clients.append(open_at(harness, number))
        for client in clients:
            client.send(REQUEST)
        harness.until(lambda: all(client.status == 101 for client in clients))
        called: list[int] = []
        for number in range(3):
            harness.engine.call_soon_threadsafe(called.append, number)
            harness.until(lambda number=number: len(called) == number + 1)  # type: ignore[misc]
        with listening(harness) as address, socket.socket(socket.AF_UNIX) as late:
            late.connect(address)
            harness.turn(3)
            assert harness.engine.connections == 4
        signal.raise_signal(signal.SIGURG)
        for client in clients:
            client.send(frame(PING, b"x"))
        harness.until(lambda: all(client.frames for client in clients))
        assert all([received.payload for received in c.frames] == [b"x"] for c in clients)
        assert LOST in log.text
    finally:
        signal.set_wakeup_fd(before)


def test_the_number_of_a_descriptor_that_is_watched_may_be_a_client_s(
    harness: Harness, log: LogRecords
) -> None:
    reading, writing = os.pipe()
    harness.engine.watch(reading, lambda: None)
    os.close(reading)
    client = open_at(harness, reading)
    assert "one that is watched, " + LOST in log.text
    harness.engine.unwatch(reading)
    client.send(REQUEST)
    harness.until(lambda: client.status == 101, client)
    os.close(writing)


def test_the_number_of_a_client_may_be_a_descriptor_s_that_is_watched(
    harness: Harness, log: LogRecords
) -> None:
    _, number = descriptor_of(harness)
    reading, writing = os.pipe()
    os.dup2(reading, number)  # which closes it
    heard: list[bytes] = []
    harness.engine.watch(number, lambda: heard.append(os.read(number, 10)))
    os.write(writing, b"x")
    harness.turn(2)
    assert heard == [b"x"]
    assert [code for _, code, _ in harness.closed] == [1006]
    harness.engine.unwatch(number)
    for mine in {reading, writing, number}:
        os.close(mine)


@pytest.mark.parametrize("number", [-1, 1 << 20, (1 << 31) - 1])
def test_what_is_no_descriptor_is_not_adopted(harness: Harness, number: int) -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        harness.engine.adopt(number)
    assert harness.engine.connections == 0


def test_what_is_a_connection_already_is_not_adopted_again(
    harness: Harness, log: LogRecords
) -> None:
    client, number = descriptor_of(harness)
    with pytest.raises(FileExistsError):
        harness.engine.adopt(number)
    client.send(frame(PING, b"still there?"))
    harness.until(lambda: client.frames, client)
    assert harness.engine.connections == 1
