"""What fails in the engine, or is refused: whom it costs what."""

import os
import socket
from pathlib import Path

import pytest

from dorrit.engine import Connection
from tests.support.frames import REQUEST, TEXT, frame
from tests.support.harness import Harness, LogRecords
from tests.support.narrow import NarrowHarness, opened


def test_processes_of_other_users_than_those_allowed_get_403(log: LogRecords) -> None:
    with Harness(allow_peer=frozenset({os.geteuid() + 1})) as harness:
        client = harness.connect()
        client.send(REQUEST)
        harness.until(lambda: client.status is not None)
        assert client.status == 403
        assert harness.opened == []
    with Harness(allow_peer=frozenset({os.geteuid() + 1, os.geteuid()})) as harness:
        assert harness.open().status == 101


def test_a_listener_that_hands_nobody_over_is_left_alone_for_a_while(
    log: LogRecords, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as listener, Harness() as harness:
        # It does not listen: accept(2) fails with EINVAL, and poll(2) finds it ready at once.
        listener.bind(str(tmp_path / "socket"))
        listener.setblocking(False)
        harness.engine.listen(listener.fileno())
        for _ in range(10):
            harness.turn()
        assert log.text.count("no client can be accepted for now: Invalid argument (EINVAL)") == 1
        timeout = harness.engine.timeout()
        assert timeout is not None
        assert 0 < timeout <= 0.1


def test_a_descriptor_that_cannot_be_waited_for_is_an_error(tmp_path: Path) -> None:
    with Harness() as harness, (tmp_path / "file").open("w") as file:
        with pytest.raises(OSError, match="Operation not permitted"):
            harness.engine.listen(file.fileno())
        with pytest.raises(OSError, match="Operation not permitted"):
            harness.engine.watch(file.fileno(), print)


@pytest.mark.parametrize("writes_much", [True, False])
def test_memory_that_runs_out_costs_the_connection_and_no_other(
    log: LogRecords, writes_much: bool
) -> None:
    """Where a connection is worked on, in its read or when its queue is written."""

    def run_out(_: Connection) -> None:
        raise MemoryError

    with Harness() as harness:
        harness.engine.join_loop(lambda conn: None, run_out)  # type: ignore[arg-type, return-value]
        client, other = harness.open(), harness.open()
        conn = harness.connection(client)

        def answer(conn: Connection, binary: bool, payload: bytes) -> None:
            conn.send(bytes(20_000 if writes_much else 10))
            harness.engine.want_room(conn)

        harness.message_callback = answer
        client.send(frame(TEXT, b"go"))
        harness.until(lambda: len(harness.closed) == 1)
        assert not conn.is_open
        assert "memory ran out: a connection is given up" in log.text
        harness.message_callback = None
        other.send(frame(TEXT, b"still there"))
        harness.settle()
        assert harness.messages[-1][2] == b"still there"


def test_a_budget_that_another_engine_has_used_up_closes_nobody_without_messages() -> None:
    megabyte = 1 << 20
    with NarrowHarness() as other, Harness(rfc=True, max_buffered=megabyte) as harness:
        _, held = opened(other, 2)
        for conn in held:
            assert conn.send(bytes(megabyte))
        client, quiet = harness.open(), harness.open()
        harness.connection(client).send("one")
        harness.settle()
        assert [f.payload for f in client.frames] == [b"one"]
        assert harness.connection(quiet).is_open
