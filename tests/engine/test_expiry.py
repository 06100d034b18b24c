"""Connections that have lasted as long as they may."""

import time

from tests.support.frames import BINARY, CLOSE, PING, PONG, frame
from tests.support.harness import Harness, LogRecords
from tests.support.narrow import STUFFING, NarrowHarness, stuffed

TIMEOUT = 3008
REASON = "the connection has lasted as long as it may"


def test_a_client_is_closed_when_its_time_is_over_whatever_it_does(log: LogRecords) -> None:
    with Harness(max_lifetime=0.5, idle_timeout=3600, ping_interval=0.25) as harness:
        begin = time.monotonic()
        client = harness.open()
        while not harness.closed:
            client.send(frame(BINARY, b"busy") + frame(PONG, b""))
            harness.turn()
            client.receive()
        assert time.monotonic() - begin >= 0.5
        assert [args[1:] for args in harness.closed] == [(TIMEOUT, REASON)]
        harness.until(lambda: client.ended or client.frames[-1].opcode == CLOSE, client)
        assert {received.opcode for received in client.frames} <= {PING, CLOSE}
        assert client.frames[-1].code == TIMEOUT
    assert "it has lasted as long as it may" in log.text


def test_what_is_queued_for_it_goes_first() -> None:
    with NarrowHarness(max_lifetime=0.25) as harness:
        (client,), (conn,) = stuffed(harness, 1)
        assert conn.send(b"the last")
        harness.until(lambda: not conn.is_open, harness.connect())  # the client does not read
        harness.until(lambda: client.frames and client.frames[-1].opcode == CLOSE, client)
        assert [received.payload for received in client.frames[:2]] == [STUFFING, b"the last"]
        assert client.frames[-1].code == TIMEOUT


def test_each_client_has_its_own_time_and_none_has_less_than_it() -> None:
    with Harness(max_lifetime=0.5) as harness:
        first = harness.open()
        middle = time.monotonic() + 0.3
        harness.until(lambda: time.monotonic() > middle, first)
        begin = time.monotonic()
        second = harness.open()
        harness.until(lambda: first.frames, first)
        harness.until(lambda: second.frames, second)
        assert time.monotonic() - begin >= 0.5
