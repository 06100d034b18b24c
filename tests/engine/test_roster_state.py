"""What a supervisor's roster leaves to the next image of its process."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dorrit.engine.channel import READY, STATUS
from dorrit.engine.roster import Roster
from tests.engine.test_roster import (
    CONNECTION,
    ENDED,
    HEAD,
    TAKEN,
    Supervisor,
    message,
)
from tests.support.frames import REQUEST

KNOWN, ON_ITS_WAY = 1, 2
"""Flags of an entry."""


@pytest.fixture
def images(directory: Path) -> Iterator[tuple[Supervisor, Supervisor]]:
    """A supervisor, and what it is in the next image of its process."""
    (directory / "next").mkdir()
    made = Supervisor(directory), Supervisor(directory / "next")
    yield made
    for supervisor in made:
        supervisor.close()


def go_on(before: Supervisor, after: Supervisor) -> None:
    """Have the next image take over; the last one has nothing any more."""
    generation, entries = before.roster.state()
    ours = os.dup(before.roster.descriptor)
    copies = [(os.dup(descriptor), number, flags) for descriptor, number, flags in entries]
    before.roster.let_go()
    # exec(2) would have let them keep their numbers.
    for copy, (descriptor, _, _) in zip(copies, entries, strict=True):
        os.dup2(copy[0], descriptor)
        os.close(copy[0])
    after.roster.attach(ours, after.engine.fileno())
    after.roster.restore(generation, entries)


def numbers_sent(worker: socket.socket) -> list[int]:
    """The numbers of the connections that have come to a worker; it closes its copies."""
    data = b""
    with contextlib.suppress(BlockingIOError):
        while True:
            some, descriptors, _, _ = socket.recv_fds(worker, 65536, 300)
            data += some
            for descriptor in descriptors:
                os.close(descriptor)
    found = []
    while data:
        kind, _, _, length, number = HEAD.unpack_from(data)
        data = data[HEAD.size + length :]
        if kind == CONNECTION:
            found.append(number)
    return found


def test_connections_are_known_by_their_numbers_to_the_next_image(
    images: tuple[Supervisor, Supervisor],
) -> None:
    before, after = images
    worker = before.serve()
    taken, on_its_way = before.accepted(), before.accepted()
    first, second = numbers_sent(worker)
    worker.send(message(TAKEN, first))
    before.poll()
    generation, entries = before.roster.state()
    assert sorted(entries) == sorted(
        [(taken, first >> 32, KNOWN), (on_its_way, second >> 32, ON_ITS_WAY)]
    )
    assert generation == second >> 32
    assert before.roster.is_settled
    go_on(before, after)
    assert after.roster.connections == 2
    assert all(not os.get_inheritable(descriptor) for descriptor in (taken, on_its_way))
    worker.send(message(TAKEN, second) + message(ENDED, first))
    after.poll()
    assert after.ends == []
    assert after.roster.connections == 1
    assert after.roster.state()[1] == [(on_its_way, second >> 32, KNOWN)]
    # Whoever comes is passed on at once, with a number that nobody has had.
    after.accepted()
    (third,) = numbers_sent(worker)
    assert third >> 32 == generation + 1
    worker.close()


def test_a_client_is_served_by_the_copy_that_the_next_image_has(
    images: tuple[Supervisor, Supervisor],
) -> None:
    before, after = images
    worker = before.serve()
    before.accepted()
    (number,) = numbers_sent(worker)
    go_on(before, after)
    client = before.clients[0]
    client.send(REQUEST)
    worker.send(message(ENDED, number))
    after.poll()
    client.receive()
    assert client.ended
    worker.close()


def test_a_roster_is_settled_when_a_worker_serves_and_nothing_is_half_said(
    supervisor: Supervisor,
) -> None:
    roster = supervisor.roster
    assert not roster.is_settled
    assert roster.descriptor == -1
    worker = supervisor.attach()
    assert not roster.is_settled  # it does not serve
    worker.send(message(READY))
    supervisor.poll(2)
    assert roster.is_settled
    said = message(STATUS, text=b"well")
    worker.send(said[:-1])
    supervisor.poll()
    assert not roster.is_settled
    worker.send(said[-1:])
    supervisor.poll()
    assert roster.is_settled
    roster.put(4, b"x" * 1_000_000)
    roster.send(supervisor.engine.fileno())
    assert not roster.is_settled
    worker.close()
    supervisor.poll()
    assert not roster.is_settled


@pytest.fixture
def supervisor(directory: Path) -> Iterator[Supervisor]:
    made = Supervisor(directory)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("number", "flags", "error"),
    [
        (0, 0, ValueError),
        (-1, 0, ValueError),
        (1 << 32, 0, ValueError),
        (1, 4, ValueError),
        (1, -1, ValueError),
        ("1", 0, TypeError),
        (1, None, TypeError),
    ],
)
def test_what_no_image_has_left_is_an_error(
    supervisor: Supervisor, number: object, flags: object, error: type[Exception]
) -> None:
    ours, theirs = socket.socketpair()
    with pytest.raises(error):
        supervisor.roster.restore(1, [(ours.fileno(), number, flags)])  # type: ignore[list-item]
    assert supervisor.roster.connections == 0
    ours.close()
    theirs.close()


def test_a_descriptor_that_is_not_open_is_an_error() -> None:
    roster = Roster(lambda *_: None, lambda _: None)
    ours, theirs = socket.socketpair()
    gone = os.dup(ours.fileno())
    os.close(gone)
    for descriptor in (-1, gone):
        with pytest.raises(OSError, match="not open any more"):
            roster.restore(1, [(descriptor, 1, 0)])
    with pytest.raises(ValueError, match="the same descriptor"):
        roster.restore(2, [(ours.fileno(), 1, 0), (ours.fileno(), 2, 0)])
    with pytest.raises(RuntimeError, match="there are connections already"):
        roster.restore(2, [(theirs.fileno(), 2, 0)])
    roster.end_all()
    ours.detach()
    theirs.close()
