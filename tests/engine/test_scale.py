"""Thousands of connections at a time, and the memory that they take."""

import contextlib
import itertools
import os
import socket
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dorrit.engine import frames_alive, queue_message
from tests.support.descriptors import descriptors
from tests.support.frames import BINARY, REQUEST, TEXT, Received, frame
from tests.support.narrow import ROOT, NarrowHarness, in_child
from tests.support.proc import private_bytes
from tests.support.servers import Servers, until

MB = 1_000_000


# A broadcast


def child_broadcasts() -> None:
    with descriptors(10_200), NarrowHarness() as harness:
        for _ in range(5000):
            harness.open()
        conns = [conn for conn, _ in harness.opened]
        before, frames_before = private_bytes(), frames_alive()
        queue_message(conns, True, b"x" * 60_000)
        harness.turn(100)
        assert all(conn.pending == 1 for conn in conns)
        assert frames_alive() - frames_before == 1
        grown = private_bytes() - before
        assert grown < 20 * MB, f"{grown} bytes"


def test_R19_a_broadcast_to_5000_that_do_not_read_holds_one_copy() -> None:
    in_child(child_broadcasts)


def child_has_one_that_never_reads() -> None:
    def message(number: int) -> bytes:
        return b"%04d" % number * 15_000

    with NarrowHarness() as harness:
        clients = [harness.open() for _ in range(10)]
        stuck, *reading = clients
        conns = [conn for conn, _ in harness.opened]
        before, frames_before = private_bytes(), frames_alive()
        for number in range(400):
            queue_message(conns, True, message(number))
            harness.until(lambda: not any(conn.pending for conn in conns[1:]), *reading)
            for client in reading:
                client.receive()
                assert client.frames == [Received(BINARY, message(number))]
                client.frames.clear()
        assert (conns[0].pending, conns[0].dropped) == (200, 200)
        assert all(conn.dropped == 0 for conn in conns[1:])
        assert frames_alive() - frames_before == 200
        full = private_bytes()
        assert 11 * MB < full - before < 20 * MB, f"{full - before} bytes"
        stuck.close()
        harness.turn(2)
        assert len(harness.closed) == 1
        assert frames_alive() == frames_before
        left = private_bytes() - before
        assert left < 3 * MB, f"{left} bytes"


def test_R20_one_that_never_reads_costs_200_frames_until_it_closes() -> None:
    in_child(child_has_one_that_never_reads)


def test_memory_goes_back_when_much_of_it_was_under_way() -> None:
    # Without such blocks in between, free(3) would give all of it back by itself.
    left: list[bytes] = []
    with NarrowHarness(max_buffered=0) as harness:
        for _ in range(5):
            harness.open()
        conns = [conn for conn, _ in harness.opened]
        for conn in conns:
            for _ in range(150):
                assert conn.send(bytes(65_000))
                left.append(bytes(2000))
        harness.turn()
        held = private_bytes()
        for conn in conns:
            conn.abort()
        harness.turn(2)
        given_back = held - private_bytes()
        assert given_back > 30 * MB, f"{given_back} bytes"


# Idle connections

COUNT = 10_000

WITHOUT_HUGE_PAGES = """\
import ctypes, os, sys
PR_SET_THP_DISABLE = 41
assert ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Becomes a command to which the kernel gives no 2 MB where 4 kB would do, whenever it likes."""


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Descriptors for all clients."""
    with descriptors(COUNT + 200):
        yield


def speak(path: Path, count: int) -> list[socket.socket]:
    """So many clients at a time, each of which has said something and heard its echo."""
    clients = []
    for first in range(0, count, 500):
        batch = []
        for _ in range(first, min(first + 500, count)):
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(20)
            client.connect(os.fspath(path))
            client.sendall(REQUEST + frame(TEXT, b"hello"))
            batch.append(client)
        for client in batch:
            answer = b""
            while not answer.endswith(b"\r\n\r\n\x81\x05hello"):
                data = client.recv(4096)
                assert data, answer
                answer += data
        clients += batch
    return clients


def descriptors_of(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208


def settled(pid: int) -> int:
    """The process's memory once it does nothing any more."""
    last = -1
    end = time.monotonic() + 20
    while (now := private_bytes(pid)) != last:
        assert time.monotonic() < end
        last = now
        time.sleep(0.05)
    return now


@pytest.mark.usefixtures("many_descriptors")
def test_10_000_idle_connections_take_less_than_1_KiB_each_and_give_it_back(
    servers: Servers,
) -> None:
    command = servers.command(ROOT / "examples" / "echo.py")
    server = servers.start(sys.executable, "-c", WITHOUT_HUGE_PAGES, *command).until_listening()
    with contextlib.ExitStack() as ends:
        # What the first ones bring with them (caches, the log) is no cost of the others.
        descriptors_before = descriptors_of(server.pid)
        for client in speak(server.path, 100):
            client.close()
        until(lambda: descriptors_of(server.pid) == descriptors_before)
        before = settled(server.pid)
        sizes = []
        for _ in range(8):
            clients = [ends.enter_context(client) for client in speak(server.path, COUNT)]
            assert descriptors_of(server.pid) == descriptors_before + COUNT
            sizes.append(settled(server.pid))
            for client in clients:
                client.close()
            until(lambda: descriptors_of(server.pid) == descriptors_before)
        each = (sizes[0] - before) / COUNT
        assert each < 1024, f"{each} bytes"
        # The next ones live in the memory that the first ones have left, as soon as it is divided
        # as they need it. Python takes memory, and gives it back, by arenas of 1 MB, of which one
        # more or less may be in use at any time; what leaks is more each time.
        grown = [after - earlier for earlier, after in itertools.pairwise(sizes[2:])]
        leaked = statistics.median(grown) / COUNT
        assert leaked < 8, f"{sizes}: {leaked} bytes each"
    assert servers.stop(server) == 0
    assert "Traceback" not in server.err
