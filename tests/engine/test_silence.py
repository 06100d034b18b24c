"""Clients that are silent: pings, and the end of those that do not answer or say nothing."""

import os
import subprocess
import sys
import time

import pytest

from dorrit.engine import Connection
from dorrit.engine.reports import Reports
from fuzz.campaign import ROOT, build_clock
from tests.support.frames import CLOSE, PING, PONG, TEXT, frame
from tests.support.harness import Client, Harness, LogRecords
from tests.support.narrow import NarrowHarness

TIMEOUT = 3008


def pings(client: Client) -> int:
    return sum(received.opcode == PING for received in client.frames)


def until_pinged(harness: Harness, client: Client, times: int) -> None:
    harness.until(lambda: pings(client) >= times, client)


def test_who_answers_is_pinged_again_and_again_though_the_timeout_is_long(log: LogRecords) -> None:
    with Harness(ping_interval=0.25, ping_timeout=3600) as harness:
        client = harness.open()
        for number in range(1, 4):
            until_pinged(harness, client, number)
            client.send(frame(PONG, b""))
        assert harness.closed == []


def test_who_answers_late_is_pinged_an_interval_later(log: LogRecords) -> None:
    with Harness(ping_interval=0.25, ping_timeout=3600) as harness:
        client = harness.open()
        until_pinged(harness, client, 1)
        end = time.monotonic() + 1
        harness.until(lambda: time.monotonic() > end)
        assert pings(client) == 1  # one at a time
        client.send(frame(PONG, b""))
        until_pinged(harness, client, 2)


def test_who_does_not_answer_is_closed(log: LogRecords) -> None:
    with Harness(ping_interval=0.25, ping_timeout=0.5) as harness:
        client = harness.open()
        harness.until(lambda: harness.closed)
        assert harness.closed[0][1:] == (TIMEOUT, "nothing came after a ping")
        harness.until(lambda: client.ended, client)
        assert [f.opcode for f in client.frames] == [PING, CLOSE]
        assert client.frames[1].code == TIMEOUT
    assert "nothing came after a ping" in log.text


def test_without_a_timeout_pings_go_on_unanswered(log: LogRecords) -> None:
    with Harness(ping_interval=0.25, ping_timeout=0) as harness:
        client = harness.open()
        until_pinged(harness, client, 3)
        assert harness.closed == []


def test_one_ping_at_most_waits_for_a_client_that_does_not_read(log: LogRecords) -> None:
    with NarrowHarness(ping_interval=0.25, ping_timeout=0) as harness:
        client = harness.open()
        conn = harness.connection(client)
        while not conn.pending:
            conn.send(b"x" * 1000)
            harness.turn()
        waiting = conn.pending_bytes
        end = time.monotonic() + 2
        while time.monotonic() < end:
            harness.turn()
        assert conn.pending_bytes == waiting + 2
        harness.until(lambda: conn.pending_bytes == 0, client)
        until_pinged(harness, client, pings(client) + 2)


# Elsewhere LD_PRELOAD is unknown, or ignored for a signed interpreter.
if sys.platform == "linux":

    def test_no_number_of_pings_makes_the_queue_of_a_client_that_does_not_read_longer() -> None:
        # Days of silence, as fast as the loop turns.
        code = """
from fuzz.clock import Clock
from tests.support.frames import PONG, frame
from tests.support.narrow import NarrowHarness
clock = Clock()
with NarrowHarness(ping_interval=1.0, ping_timeout=0) as harness:
    client = harness.open()
    conn = harness.connection(client)
    while not conn.pending:
        conn.send(b"x" * 1000)
        harness.turn()
    waiting = conn.pending_bytes
    for _ in range(70_000):
        clock.advance(2000)
        harness.turn()
    assert conn.is_open
    assert conn.pending_bytes <= waiting + 4, conn.pending_bytes
"""
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=os.environ | {"LD_PRELOAD": os.environ.get("LD_PRELOAD", "") + f" {build_clock()}"},
            check=True,
        )


def test_any_frame_is_an_answer(log: LogRecords) -> None:
    with Harness(ping_interval=0.25, ping_timeout=3600) as harness:
        client = harness.open()
        for number in range(1, 4):
            until_pinged(harness, client, number)
            client.send(frame(TEXT, b"here"))
        assert harness.closed == []


def test_pings_do_not_keep_an_idle_connection(log: LogRecords) -> None:
    with Harness(idle_timeout=1, ping_interval=0.25, ping_timeout=3600) as harness:
        client = harness.open()
        for number in range(1, 3):
            until_pinged(harness, client, number)
            client.send(frame(PONG, b""))
        harness.until(lambda: harness.closed)
        assert harness.closed[0][1:] == (TIMEOUT, "no message was exchanged for too long")
    assert "no message was exchanged in the idle timeout" in log.text


@pytest.mark.parametrize("direction", ["in", "out"])
def test_a_message_keeps_an_idle_connection(log: LogRecords, direction: str) -> None:
    with Harness(idle_timeout=1) as harness:
        begin = time.monotonic()
        client = harness.open()
        last, longest = begin, 0.0
        while time.monotonic() < begin + 2 and not harness.closed:
            now = time.monotonic()
            last, longest = now, max(longest, now - last)
            if direction == "in":
                client.send(frame(TEXT, b"here"))
            else:
                assert harness.connection(client).send("there")
            pause = now + 0.1
            harness.until(lambda pause=pause: time.monotonic() > pause or harness.closed)  # type: ignore[misc]
        if harness.closed:
            # Only a test that was itself held up around a message may see that.
            assert max(longest, time.monotonic() - last) >= 0.5
            return
        harness.until(lambda: harness.closed)
        assert time.monotonic() - last >= 1


def test_a_client_whose_message_is_being_handled_is_not_idle(log: LogRecords) -> None:
    busy = True

    def is_busy(asked: Connection) -> bool:
        assert asked is conn
        return busy

    def nothing(*_: object) -> None:
        pytest.fail("nobody asks for room")

    with Harness(idle_timeout=0.25) as harness:
        harness.engine.join_loop(nothing, nothing, is_busy=is_busy)  # type: ignore[arg-type]
        conn = harness.connection(harness.open())
        end = time.monotonic() + 1
        harness.until(lambda: time.monotonic() > end)
        assert harness.closed == []
        busy = False
        harness.until(lambda: harness.closed)
        assert harness.closed == [(conn, TIMEOUT, "no message was exchanged for too long")]


def test_a_client_that_is_not_read_is_not_blamed_for_its_silence(log: LogRecords) -> None:
    with Harness(ping_interval=0.25, ping_timeout=0.25) as harness:
        client = harness.open()
        harness.engine.pause(harness.connection(client))
        client.send(frame(PONG, b""))
        end = time.monotonic() + 2
        harness.until(lambda: time.monotonic() > end)
        assert harness.closed == []


def test_memory_that_runs_out_for_what_is_late_costs_one_connection(log: LogRecords) -> None:
    class OutOfMemory(Reports):
        def timed_out(self, why: str, connection: object = None) -> None:
            raise MemoryError(why)

    with Harness(ping_interval=0.25, ping_timeout=0.25, reports=OutOfMemory()) as harness:
        client = harness.open()
        harness.until(lambda: harness.closed)
        assert harness.closed[0][1] == 1006
        harness.until(lambda: client.ended, client)
    assert "memory ran out" in log.text
