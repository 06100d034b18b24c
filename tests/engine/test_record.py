"""Connections are written down while they live, as far as there is room for them."""

import gc
import os
import resource
from collections.abc import Iterator

import pytest

from dorrit.engine import frames_alive
from tests.support.carrying import CarryingHarness, ledger
from tests.support.frames import BINARY, frame
from tests.support.harness import LogRecords
from tests.support.narrow import NarrowHarness, stuffed

SAVED_MAX = 64 * 1024
"""Bytes that may be kept with a connection."""


@pytest.fixture
def file() -> Iterator[int]:
    with ledger() as made:
        yield made


def leave_no_room(file: int) -> None:
    """Have a ledger get no more memory: what stands in its descriptor's place has none."""
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, file)
    os.close(nothing)


def test_L8_without_a_ledger_nobody_is_written_down_and_with_one_everybody_is(file: int) -> None:
    harness = CarryingHarness()
    harness.open()
    is_recorded = harness.engine.record_place != (0, 0)  # in the build that checks invariants
    assert harness.engine.unrecorded == (0 if is_recorded else 1)
    harness.engine.record(file)
    assert harness.engine.unrecorded == 0
    gone = harness.open()
    gone.close()
    harness.turn(3)
    assert (harness.engine.connections, harness.engine.unrecorded) == (1, 0)
    harness.close()


def test_L8_who_comes_when_all_places_are_taken_is_served_and_counted_and_the_log_says_so(
    file: int, log: LogRecords
) -> None:
    harness = CarryingHarness()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (2, before[1]))
    try:
        harness.engine.record(file)  # with places for four
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    clients = [harness.open() for _ in range(6)]
    assert harness.engine.unrecorded == 2
    assert log.text.count("there is no room to write a connection down") == 2
    clients[5].close()
    harness.turn(3)
    assert harness.engine.unrecorded == 1
    clients[0].close()
    harness.turn(3)
    harness.open()  # takes the place
    assert (harness.engine.connections, harness.engine.unrecorded) == (5, 1)
    harness.close()


def test_L8_who_needs_more_than_there_is_is_served_on_and_counted_once(
    file: int, log: LogRecords
) -> None:
    harness = CarryingHarness()
    harness.engine.record(file)
    client, _ = harness.open(), harness.open()
    (conn, _), _ = harness.opened
    leave_no_room(file)
    for number in range(8):
        conn.save(bytes([number]) * SAVED_MAX)
    assert harness.engine.unrecorded == 1
    assert log.text.count("there is no room to write a connection down") == 1
    assert conn.is_open
    client.close()
    harness.turn(3)
    assert (harness.engine.connections, harness.engine.unrecorded) == (1, 0)
    harness.close()


def test_an_engine_that_is_given_up_and_forgotten_leaves_no_frame(file: int) -> None:
    gc.collect()
    before = frames_alive()
    with NarrowHarness(carries=True) as harness:
        harness.engine.record(file)
        clients, conns = stuffed(harness, 3)
        conns[0].data = conns  # a cycle through the user's data
        for descriptor in harness.engine.abandon(None):
            os.close(descriptor)
        for client in clients:
            client.socket.close()
    del harness, clients, conns
    gc.collect()
    assert frames_alive() == before


def test_large_messages_that_follow_each_other_leave_nothing_in_the_ledger(file: int) -> None:
    message = frame(BINARY, bytes(65_535))
    with CarryingHarness(rfc=True) as harness:
        harness.engine.record(file)
        client = harness.open()
        before = os.fstat(file).st_blocks
        # Each read ends within a message that is not the one that it began in.
        stream = message * 200
        for begin in range(0, len(stream), 60_000):
            client.send(stream[begin : begin + 60_000])
            harness.turn()
        harness.turn()
        assert len(harness.messages) == 200
        kept = 512 * (os.fstat(file).st_blocks - before)
        assert kept < 1 << 20, f"{kept} bytes"


def place_of(content: bytes, file: int) -> int:
    """Where it stands in a ledger, of which most is a hole."""
    size, begin = os.fstat(file).st_size, 0
    while True:
        begin = os.lseek(file, begin, os.SEEK_DATA)
        end = os.lseek(file, begin, os.SEEK_HOLE)
        found = os.pread(file, end - begin, begin).find(content)
        if found >= 0:
            return begin + found
        assert end < size, "it stands nowhere"
        begin = end


def test_what_waits_behind_a_message_is_not_written_down_again_for_it(file: int) -> None:
    last = b"\x82\xe4\1\2\3\4" + b"as it came".ljust(100)
    with CarryingHarness() as harness:
        harness.message_callback = lambda conn, *_: harness.engine.pause(conn)
        harness.engine.record(file)
        client = harness.open()
        client.send(frame(BINARY, bytes(100)) * 500 + last)
        harness.turn()
        [(conn, _)] = harness.opened
        place = place_of(last, file)
        for count in range(2, 400):
            harness.engine.resume(conn)
            harness.turn()
            assert len(harness.messages) == count
            assert place_of(last, file) == place
