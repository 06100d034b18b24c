"""A message for many: who gets it, who does not, and what is wrong with it."""

import random

import pytest

from dorrit.engine import broadcast, queue_message
from tests.support.deflating import offering
from tests.support.harness import Harness, LogRecords

MEGABYTE = 1 << 20


@pytest.mark.parametrize("slow_clients", ["refuse", "close"])
def test_a_message_that_never_fits_is_refused_by_each_kind_of_client_and_costs_none(
    log: LogRecords, slow_clients: str
) -> None:
    """Compressed for each of them, compressed for all, and as it is."""
    with Harness(
        rfc=True,
        max_pending_bytes=1000,
        deflate=True,
        deflate_takeover="server",
        slow_clients=slow_clients,
    ) as harness:
        own = harness.open(offering())
        shared = harness.open(offering("permessage-deflate; server_no_context_takeover"))
        plain = harness.open()
        conns = [harness.connection(client) for client in (own, shared, plain)]
        noise = random.Random(1).randbytes(2000)
        with pytest.raises(ValueError, match="larger than what may wait for one client"):
            broadcast(conns, noise)
        assert [conn.dropped for conn in conns] == [1, 1, 1]
        assert all(harness.engine.has_room(conn) for conn in conns), "nobody is slow"
        assert broadcast(conns, b"fits") == 3
        for conn in conns:
            assert queue_message(conn, True, noise) == 0
            with pytest.raises(ValueError, match="larger than what may wait for one client"):
                conn.send(noise)
        assert [conn.dropped for conn in conns] == [2, 2, 2]
        harness.settle()
        assert [client.frames[-1].payload for client in (own, shared, plain)] == [b"fits"] * 3
        assert harness.closed == []
        assert {record.getMessage() for record in log.records} == {
            "a message of 2000 bytes is not sent: larger than what may wait for one client"
        }


def test_what_is_small_enough_once_it_is_compressed_reaches_those_who_take_it(
    log: LogRecords,
) -> None:
    with Harness(rfc=True, max_pending_bytes=1000, deflate=True) as harness:
        shared, plain = harness.open(offering()), harness.open()
        conns = [harness.connection(client) for client in (shared, plain)]
        with pytest.raises(ValueError, match="larger than what may wait for one client"):
            broadcast(conns, bytes(5000))
        assert [conn.dropped for conn in conns] == [0, 1]
        harness.settle()
        assert [len(client.frames) for client in (shared, plain)] == [1, 0]


def test_closed_connections_are_passed_over() -> None:
    with Harness() as harness:
        conns = [harness.connection(harness.open()) for _ in range(3)]
        conns[1].abort()
        assert broadcast(conns, "for two") == 2
        assert queue_message(conns[1], False, "for nobody") == 0


@pytest.mark.parametrize("conns", [[None], ["text"], [1, 2]])
def test_what_is_no_connection_is_a_type_error(conns: list[object]) -> None:
    with pytest.raises(TypeError, match="a connection is expected, not "):
        broadcast(conns, "text")  # type: ignore[arg-type]
