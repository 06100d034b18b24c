"""How an engine ends, R27, and how it ends those that are late."""

import contextlib
import os
import socket
import threading
import time
from typing import Any

import pytest

from dorrit.engine import PENDING, Connection, frames_alive, queue_message
from tests.support.frames import CLOSE, REQUEST, TEXT, close_frame, frame, parse
from tests.support.harness import TIMEOUT, Harness, LogRecords
from tests.support.narrow import NarrowHarness


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are all that is wanted


MILLISECOND = 0.001
"""The loop's clock has whole milliseconds: what is due may come that much too early."""


# Shutdown, R27


def test_R27_shutdown_tells_every_client_and_runs_every_close_callback(harness: Harness) -> None:
    clients = [harness.open() for _ in range(5)]
    silent = [harness.open() for _ in range(2)]
    handshaking = harness.connect()
    for client in clients:
        # Their answer to the close frame that will come: nobody else runs meanwhile.
        client.send(close_frame(1001))
    queue_message([conn for conn, _ in harness.opened], False, "queued before")
    start = time.monotonic()
    harness.engine.shutdown(0.3)
    assert 0.3 - MILLISECOND <= time.monotonic() - start < TIMEOUT
    for client in clients + silent:
        client.receive()
        assert [got.payload for got in client.frames] == [b"queued before", b"\x03\xe9"]
        assert client.ended
    handshaking.receive()
    assert handshaking.ended
    assert handshaking.head == b""
    assert harness.engine.connections == 0
    conns = [conn for conn, _ in harness.opened]
    assert sorted(id(conn) for conn, _, _ in harness.closed) == sorted(map(id, conns))
    assert {code for _, code, _ in harness.closed} == {1001}


def test_R27_shutdown_ends_early_when_all_clients_have_answered(harness: Harness) -> None:
    for _ in range(3):
        harness.open().send(close_frame(1001))
    harness.engine.shutdown(3600)
    assert len(harness.closed) == 3


def test_R27_shutdown_of_nobody_returns_at_once(harness: Harness) -> None:
    harness.engine.shutdown(3600)


def test_R27_a_second_stop_cuts_a_shutdown_short(log: LogRecords) -> None:
    with Harness(close_timeout=3600) as harness:
        polite, silent = harness.open(), harness.open()
        polite.send(close_frame(1001))
        harness.close_callback = lambda conn, code, reason: harness.engine.stop()
        harness.engine.shutdown(3600)
        assert [id(conn) for conn, _, _ in harness.closed] == [
            id(harness.connection(polite)),
            id(harness.connection(silent)),
        ]
        silent.receive()
        assert silent.ended


def test_R27_shutdown_writes_a_long_queue_to_a_client_that_reads(log: LogRecords) -> None:
    with NarrowHarness() as harness:
        client = harness.open()
        conn = harness.connection(client)
        for number in range(100):
            queue_message(conn, False, f"{number:04}" * 1000)
        received: list[bytes] = []

        def read() -> None:
            client.socket.setblocking(True)
            while data := client.socket.recv(1 << 16):
                received.append(data)
                if parse(b"".join(received))[0][-1:] and received[-1].endswith(b"\x88\x02\x03\xe9"):
                    client.socket.sendall(close_frame(1001))

        reader = threading.Thread(target=read)
        reader.start()
        harness.engine.shutdown(TIMEOUT)
        reader.join()
        frames, rest = parse(b"".join(received))
        assert rest == b""
        assert [got.opcode for got in frames] == [TEXT] * 100 + [CLOSE]
        assert [code for _, code, _ in harness.closed] == [1001]


def test_R27_shutdown_takes_no_new_clients(harness: Harness, tmp_path: object) -> None:
    path = f"{tmp_path}/s"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(path)
        listener.setblocking(False)
        listener.listen()
        harness.engine.listen(listener.fileno())
        harness.open()
        client.connect(path)
        harness.engine.shutdown(0.05)
        assert len(harness.opened) == 1
        accepted, _ = listener.accept()  # it still waits in the kernel
        accepted.close()


def test_R27_no_timer_runs_in_a_shutdown(harness: Harness) -> None:
    calls: list[None] = []
    harness.open()
    harness.engine.every(0.001, lambda: calls.append(None))
    harness.engine.shutdown(0.05)
    assert calls == []


# Close


def test_close_ends_everything_without_a_callback(log: LogRecords) -> None:
    before = descriptors()
    frames_before = frames_alive()
    harness = Harness()
    client, handshaking = harness.open(), harness.connect()
    conn = harness.connection(client)
    queue_message(conn, True, b"never written")
    harness.engine.close()
    harness.engine.close()
    assert not conn.is_open
    client.receive()
    assert client.ended
    assert client.frames == []
    client.close()
    handshaking.close()
    assert harness.closed == []
    assert frames_alive() == frames_before
    assert descriptors() == before
    # A handle is safe for ever.
    conn.close()
    conn.abort()
    assert queue_message(conn, True, b"x") == 0


def test_use_after_close_is_a_RuntimeError(log: LogRecords) -> None:
    harness = Harness()
    engine = harness.engine
    engine.close()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for use in (
            engine.fileno,
            engine.poll,
            engine.run,
            lambda: engine.listen(ours.fileno()),
            lambda: engine.adopt(ours.fileno()),
        ):
            with pytest.raises(RuntimeError, match="closed"):
                use()
        # What may come late, from a signal handler or another thread, does no harm.
        engine.stop()
        engine.stop_listening()
        theirs.sendall(b"still open")
        assert ours.recv(100) == b"still open"


def test_an_engine_is_set_up_once(harness: Harness) -> None:
    callbacks: dict[str, Any] = dict.fromkeys(("on_open", "on_message", "on_close"))
    with pytest.raises(RuntimeError, match="once"):
        harness.engine.__init__(**callbacks)


# Deadlines


def test_a_client_that_never_answers_the_close_frame_is_cut_off(log: LogRecords) -> None:
    with Harness(close_timeout=0.1) as harness:
        client = harness.open()
        start = time.monotonic()
        harness.connection(client).close(4000, "and?")
        harness.until(lambda: client.ended)
        assert time.monotonic() - start >= 0.1 - MILLISECOND
        assert client.frames[-1].code == 4000
        assert [(code, reason) for _, code, reason in harness.closed] == [(4000, "and?")]
        assert harness.engine.connections == 0
        assert harness.engine.timeout() is None


def test_a_closing_client_that_reads_slowly_is_not_cut_off(log: LogRecords) -> None:
    limit = 0.6
    with NarrowHarness(close_timeout=limit) as harness:
        client = harness.open()
        conn = harness.connection(client)
        queue_message(conn, True, b"x" * 60_000)
        conn.close()
        data = b""
        start = progress = time.monotonic()
        longest = 0.0
        while not data.endswith(b"\x88\x02\x03\xe8"):
            with contextlib.suppress(BlockingIOError):
                data += client.socket.recv(2500)
            harness.turn()
            now = time.monotonic()
            longest, progress = max(longest, now - progress), now
            if harness.closed:
                break
            time.sleep(0.05)
        assert time.monotonic() - start > 2 * limit
        # Only a test that was itself held up for that long may see it cut off.
        assert not harness.closed or longest >= limit


def test_a_closing_client_that_stops_reading_is_cut_off(log: LogRecords) -> None:
    frames_before = frames_alive()
    with NarrowHarness(close_timeout=0.1) as harness:
        client = harness.open()
        conn = harness.connection(client)
        queue_message(conn, True, b"x" * 60_000)
        conn.close()
        harness.until(lambda: harness.closed, harness.open())
        assert frames_alive() == frames_before
        assert harness.engine.connections == 1


def test_a_dropped_client_that_stays_is_cut_off(log: LogRecords) -> None:
    with Harness(linger_timeout=0.1) as harness:
        client = harness.open()
        client.send(frame(TEXT, b"no mask", mask=None))
        harness.turn()
        start = time.monotonic()
        assert len(harness.closed) == 1, "the user hears at once"
        assert (harness.engine.connections, harness.engine.lingering) == (1, 1)
        for _ in range(3):
            client.send(b"whatever it still says")
            harness.turn()
        harness.until(lambda: harness.engine.connections == 0)
        assert time.monotonic() - start >= 0.1 - 0.01
        assert harness.engine.lingering == 0
        assert [got.code for got in client.frames] == [1002]
        assert len(harness.closed) == 1


def test_a_dropped_client_that_goes_is_forgotten_at_once(log: LogRecords) -> None:
    with Harness(linger_timeout=3600) as harness:
        client = harness.open()
        client.send(frame(TEXT, b"no mask", mask=None))
        harness.until(lambda: client.ended)
        assert harness.engine.lingering == 1
        client.close()
        harness.until(lambda: harness.engine.connections == 0)
        assert harness.engine.lingering == 0


def test_a_request_that_never_comes_is_answered_408(log: LogRecords) -> None:
    with Harness(handshake_timeout=0.1) as harness:
        silent, slow, fine = harness.connect(), harness.connect(), harness.open()
        slow.send(REQUEST[:-1])
        harness.until(lambda: silent.ended and slow.ended)
        assert (silent.status, slow.status) == (408, 408)
        assert harness.connection(fine).is_open
        assert harness.closed == []


def test_R27_a_client_whose_request_waits_for_an_answer_is_told_that_the_server_stops(
    harness: Harness,
) -> None:
    harness.open_callback = lambda conn, request: PENDING  # type: ignore[assignment, return-value]
    client = harness.connect()
    client.send(REQUEST)
    harness.until(lambda: harness.opened)
    harness.engine.shutdown(0.25)
    client.receive()
    assert client.status == 503
    assert harness.closed == []


@pytest.mark.parametrize("is_read", [True, False])
def test_R27_a_client_whose_request_has_begun_to_come_is_told_that_the_server_stops(
    harness: Harness, is_read: bool
) -> None:
    client, silent = harness.connect(), harness.connect()
    client.send(REQUEST[:40])
    if is_read:
        harness.turn()
    harness.engine.shutdown(0.25)
    client.receive()
    assert client.status == 503
    assert b"Connection: close" in client.head
    silent.receive()
    assert silent.ended
    assert silent.head == b""
    assert harness.opened == []


def test_R11_close_callbacks_that_exit_the_program_do_not_keep_others_from_running(
    harness: Harness,
) -> None:
    for _ in range(3):
        harness.open()

    def leave(conn: Connection, code: int, reason: str) -> None:
        raise SystemExit(len(harness.closed))

    harness.close_callback = leave
    with pytest.raises(SystemExit) as left:
        harness.engine.shutdown(0)
    assert left.value.code == 1
    assert len(harness.closed) == 3
