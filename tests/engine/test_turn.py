"""The loop: R14's timer, stop, wake-ups, and other loops around it."""

import asyncio
import select
import signal
import socket
import threading
import time
from collections.abc import Iterator
from types import FrameType

import pytest

from dorrit.engine import Connection, queue_message
from tests.support.frames import REQUEST, TEXT, close_frame, frame
from tests.support.harness import TIMEOUT, Harness, LogRecords
from tests.support.narrow import NarrowHarness

MILLISECOND = 0.001
"""The loop's clock has whole milliseconds: what is due may come that much too early."""


def is_readable(harness: Harness) -> bool:
    return bool(select.select([harness.engine.fileno()], [], [], 0)[0])


# Timers, R14


def test_R14_the_period_counts_from_the_last_call(harness: Harness) -> None:
    began: list[float] = []
    ended: list[float] = []

    def slow() -> None:
        began.append(time.monotonic())
        time.sleep(0.03)
        ended.append(time.monotonic())

    start = time.monotonic()
    harness.engine.every(0.05, slow)
    harness.until(lambda: len(began) == 4)
    assert began[0] - start >= 0.05 - MILLISECOND
    for end, begin in zip(ended, began[1:], strict=False):
        assert begin - end >= 0.05 - MILLISECOND


def test_R14_calls_that_were_missed_are_not_made_up_for(harness: Harness) -> None:
    calls: list[None] = []
    harness.engine.every(0.02, lambda: calls.append(None))
    time.sleep(0.2)
    harness.turn()
    assert len(calls) == 1


def test_R14_timeout_tells_when_the_next_call_is_due(harness: Harness) -> None:
    assert harness.engine.timeout() is None
    harness.engine.every(1000, lambda: None)
    harness.engine.every(500, lambda: None)
    timeout = harness.engine.timeout()
    assert timeout is not None
    assert 400 < timeout <= 500
    timer = harness.engine.every(0.001, lambda: None)
    time.sleep(0.003)
    assert harness.engine.timeout() == 0
    timer.cancel()
    harness.turn()
    timeout = harness.engine.timeout()
    assert timeout is not None
    assert timeout > 400


def test_R14_an_exception_is_logged_and_the_calls_go_on(harness: Harness, log: LogRecords) -> None:
    calls: list[None] = []

    def broken() -> None:
        calls.append(None)
        raise LookupError("on purpose")

    harness.engine.every(0.001, broken)
    harness.until(lambda: len(calls) == 3)
    assert log.text.count("LookupError: on purpose") == 3
    assert "Traceback" in log.text
    assert "periodic" in log.text


def test_R14_a_cancelled_timer_is_not_called_any_more(harness: Harness) -> None:
    first: list[None] = []
    second: list[None] = []

    def once() -> None:
        first.append(None)
        timer.cancel()
        timer.cancel()

    timer = harness.engine.every(0.001, once)
    harness.engine.every(0.001, lambda: second.append(None))
    never = harness.engine.every(0.001, lambda: first.append(None))
    never.cancel()
    harness.until(lambda: len(second) == 5)
    assert len(first) == 1


def test_R14_a_timer_may_start_another(harness: Harness) -> None:
    calls: list[str] = []

    def first() -> None:
        calls.append("first")
        timer.cancel()
        harness.engine.every(0.001, lambda: calls.append("second"))

    timer = harness.engine.every(0.001, first)
    harness.until(lambda: len(calls) == 3)
    assert calls == ["first", "second", "second"]


def test_R14_a_timer_may_write(harness: Harness) -> None:
    client = harness.open()
    conn = harness.connection(client)
    harness.engine.every(0.001, lambda: queue_message(conn, False, "tick"))
    harness.until(lambda: len(client.frames) >= 3)
    assert {got.payload for got in client.frames} == {b"tick"}


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 1e12])
def test_R14_a_period_that_is_none_is_a_ValueError(harness: Harness, seconds: float) -> None:
    with pytest.raises(ValueError, match="seconds"):
        harness.engine.every(seconds, lambda: None)
    assert harness.engine.timeout() is None


def test_R14_the_shortest_period_still_lets_the_loop_sleep(harness: Harness) -> None:
    harness.engine.every(1e-9, lambda: None)
    harness.turn()
    time.sleep(0.002)
    harness.turn()
    assert harness.engine.timeout() in {0.0, 0.001}
    harness.turn()
    harness.settle()


# To run and to stop


def test_stop_from_a_callback_ends_run(harness: Harness) -> None:
    client = harness.open()
    harness.message_callback = lambda conn, binary, payload: harness.engine.stop()
    client.send(frame(TEXT, b"stop"))
    harness.engine.run()
    assert [payload for _, _, payload in harness.messages] == [b"stop"]
    client.send(frame(TEXT, b"again"))
    harness.engine.run()
    assert len(harness.messages) == 2


def test_a_stop_before_run_is_not_forgotten(harness: Harness) -> None:
    harness.engine.stop()
    harness.engine.run()


def test_what_was_queued_before_stop_is_written(harness: Harness) -> None:
    client = harness.open()

    def read(conn: Connection, binary: bool, payload: bytes) -> None:
        queue_message(conn, False, "last words")
        harness.engine.stop()

    harness.message_callback = read
    client.send(frame(TEXT, b"stop"))
    harness.engine.run()
    client.receive()
    assert [got.payload for got in client.frames] == [b"last words"]


def test_stop_from_another_thread_ends_the_sleep(harness: Harness) -> None:
    for _ in range(20):
        thread = threading.Thread(target=harness.engine.stop)
        thread.start()
        harness.engine.run()
        thread.join()
    asleep = threading.Timer(0.05, harness.engine.stop)
    asleep.start()
    harness.engine.run()
    asleep.join()


@pytest.fixture
def alarm(harness: Harness) -> Iterator[None]:
    """SIGALRM stops the loop."""

    def handle(number: int, trace: FrameType | None) -> None:
        harness.engine.stop()

    before = signal.signal(signal.SIGALRM, handle)
    descriptor_before = signal.set_wakeup_fd(harness.engine.wakeup_descriptor)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.set_wakeup_fd(descriptor_before)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("alarm")
def test_a_signal_ends_the_sleep_whenever_it_comes(harness: Harness) -> None:
    # Before the sleep, right when it begins, and within it.
    for microseconds in [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000, 20_000] * 3:
        signal.setitimer(signal.ITIMER_REAL, microseconds / 1e6)
        harness.engine.run()


@pytest.mark.usefixtures("alarm")
def test_a_signal_handler_that_raises_ends_run_and_it_can_go_on(harness: Harness) -> None:
    client = harness.open()

    def handle(number: int, trace: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, handle)
    for _ in range(3):
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        with pytest.raises(KeyboardInterrupt):
            harness.engine.run()
    client.send(frame(TEXT, b"still here"))
    harness.until(lambda: harness.messages)


def test_an_exit_ends_run_and_it_can_go_on(harness: Harness) -> None:
    client, other = harness.open(), harness.open()
    other_conn = harness.connection(other)

    def read(conn: Connection, binary: bool, payload: bytes) -> None:
        queue_message(other_conn, False, "written all the same")
        raise SystemExit(3)

    harness.message_callback = read
    client.send(frame(TEXT, b"x"))
    with pytest.raises(SystemExit):
        harness.engine.run()
    assert is_readable(harness), "there is something left to do"
    harness.until(lambda: other.frames and client.frames)
    assert client.frames[0].code == 1001
    client.send(close_frame(1001))
    harness.until(lambda: client.ended)
    assert [code for _, code, _ in harness.closed] == [1001]


# Other loops around it


def test_the_descriptor_is_readable_when_there_is_work(harness: Harness) -> None:
    client = harness.open()
    conn = harness.connection(client)
    harness.settle()
    assert not is_readable(harness)
    client.send(frame(TEXT, b"x"))
    assert is_readable(harness)
    harness.turn()
    assert not is_readable(harness)
    new = harness.connect()
    assert not is_readable(harness)
    new.send(REQUEST)
    assert is_readable(harness)
    harness.turn()
    assert not is_readable(harness)
    conn.abort()
    assert is_readable(harness), "the close callback is still to run"
    harness.turn()
    assert not is_readable(harness)
    assert len(harness.closed) == 1


def test_what_is_queued_outside_a_turn_wakes_the_loop(harness: Harness) -> None:
    client = harness.open()
    conn = harness.connection(client)
    for action in (
        lambda: queue_message(conn, False, "one"),
        lambda: queue_message([conn], False, "list"),
        conn.close,
    ):
        harness.settle()
        assert not is_readable(harness)
        action()
        action()
        assert is_readable(harness)
        harness.turn()
        assert not is_readable(harness)
    client.receive()
    assert [got.payload for got in client.frames] == [
        b"one",
        b"one",
        b"list",
        b"list",
        b"\x03\xe8",
    ]


def test_what_is_queued_within_a_turn_needs_no_wake_up(harness: Harness) -> None:
    client = harness.open()
    harness.message_callback = queue_message
    harness.settle()
    client.send(frame(TEXT, b"echo"))
    harness.turn()
    assert not is_readable(harness)
    client.receive()
    assert [got.payload for got in client.frames] == [b"echo"]


def test_it_waits_for_the_client_only_as_long_as_something_is_queued(log: LogRecords) -> None:
    with NarrowHarness() as harness:
        client = harness.open()
        conn = harness.connection(client)
        queue_message(conn, True, b"x" * 20_000)
        harness.turn(3)
        assert conn.pending == 1
        assert not is_readable(harness), "the kernel takes nothing: no reason to turn"
        client.receive()
        assert is_readable(harness)
        harness.until(lambda: client.frames)
        assert not is_readable(harness), "everything is written: no reason to turn"


def test_it_nests_in_another_poller(harness: Harness) -> None:
    client = harness.open()
    harness.message_callback = queue_message
    harness.settle()
    with select.epoll() as outer:
        outer.register(harness.engine.fileno(), select.EPOLLIN)
        assert outer.poll(0) == []
        for _ in range(3):
            client.send(frame(TEXT, b"echo"))
            assert outer.poll(TIMEOUT) == [(harness.engine.fileno(), select.EPOLLIN)]
            harness.turn()
            assert outer.poll(0) == []
    client.receive()
    assert len(client.frames) == 3


def test_it_runs_under_asyncio(harness: Harness) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    harness.message_callback = queue_message

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(harness.engine.fileno(), harness.engine.poll)
        harness.engine.adopt(ours.detach())
        reader, writer = await asyncio.open_connection(sock=theirs)
        writer.write(REQUEST + frame(TEXT, b"first"))
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(7) == b"\x81\x05first"
        for number in range(100):
            writer.write(frame(TEXT, b"%05d" % number) * 3)
            assert await reader.readexactly(21) == (b"\x81\x05%05d" % number) * 3
        # From a task, outside of any turn.
        queue_message(harness.opened[0][0], False, "async")
        assert await reader.readexactly(7) == b"\x81\x05async"
        gone = asyncio.Event()
        harness.close_callback = lambda conn, code, reason: gone.set()
        writer.close()
        await gone.wait()
        loop.remove_reader(harness.engine.fileno())

    asyncio.run(asyncio.wait_for(main(), TIMEOUT))


@pytest.mark.parametrize("callback", ["open", "message", "close", "timer"])
def test_a_callback_must_not_turn_or_end_the_loop(harness: Harness, callback: str) -> None:
    engine = harness.engine
    refused = []

    def misuse(*ignored: object) -> None:
        for method in (engine.poll, engine.run, engine.close, lambda: engine.shutdown(1)):
            with pytest.raises(RuntimeError, match="handler"):
                method()
            refused.append(method)

    if callback == "open":
        harness.open_callback = misuse
    elif callback == "message":
        harness.message_callback = misuse
    elif callback == "close":
        harness.close_callback = misuse
    else:

        def tick() -> None:
            timer.cancel()
            misuse()

        timer = engine.every(0.001, tick)
    client, other = harness.open(), harness.open()
    client.send(frame(TEXT, b"x"))
    harness.until(lambda: harness.messages)
    client.close()
    harness.until(lambda: harness.closed and refused)
    assert len(refused) in {4, 8}
    assert len(harness.closed) == 1
    harness.message_callback = queue_message
    other.send(frame(TEXT, b"goes on"))
    harness.until(lambda: other.frames)
    harness.close_callback = None


def test_a_close_callback_must_not_turn_the_loop_in_a_shutdown(harness: Harness) -> None:
    for _ in range(3):
        harness.open()
    raised = []

    def on_close(conn: Connection, code: int, reason: str) -> None:
        for method in (harness.engine.poll, lambda: harness.engine.shutdown(0)):
            try:
                method()
            except RuntimeError:
                raised.append(method)

    harness.close_callback = on_close
    harness.engine.shutdown(0)
    assert len(raised) == 6
    assert len(harness.closed) == 3


def test_a_deadline_that_begins_between_two_turns_wakes_who_waits_for_the_engine(
    log: LogRecords,
) -> None:
    with Harness(handshake_timeout=0.25) as harness:
        client = harness.open()
        conn = harness.connection(client)
        while queue_message(conn, True, bytes(60_000)) == 0 and conn.dropped == 0:
            harness.turn()
        harness.until(lambda: harness.engine.timeout() is None, harness.connect())
        assert not select.select([harness.engine.fileno()], [], [], 0)[0]
        conn.close()  # the client, which does not read, has a time for that
        assert select.select([harness.engine.fileno()], [], [], 0)[0]
        harness.turn()
        timeout = harness.engine.timeout()
        assert timeout is not None
        assert timeout <= 10.25
