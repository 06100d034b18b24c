"""The signals of a server (R27)."""

import contextlib
import os
import pty
import signal
import sys
import textwrap
import time
from collections.abc import Iterator
from typing import Any

import pytest

from dorrit.process.control.signals import HANDLED, SignalHandlers
from tests.support.children import run_python
from tests.support.servers import Servers


@pytest.fixture
def wakeup() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    yield reading, writing
    os.close(reading)
    os.close(writing)


class Calls(list[str]):
    def stop(self) -> None:
        self.append("stop")

    def reopen(self) -> None:
        self.append("reopen")


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def handlers(calls: Calls) -> Iterator[SignalHandlers]:
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    with SignalHandlers(calls.reopen) as made:
        yield made
    assert {number: signal.getsignal(number) for number in signal.valid_signals()} == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_R27_each_signal_calls_stop_and_writes_a_byte(
    handlers: SignalHandlers, calls: Calls, wakeup: tuple[int, int], number: signal.Signals
) -> None:
    reading, writing = wakeup
    handlers.install(daemon=False)
    with handlers.connected(calls.stop, writing):
        for times in (1, 2):
            signal.raise_signal(number)
            assert calls == ["stop"] * times
            assert os.read(reading, 100) == bytes([number])
    assert handlers.received is number


@pytest.mark.parametrize("daemon", [False, True])
def test_R27_one_that_comes_before_there_is_a_loop_stops_that_at_once(
    handlers: SignalHandlers, calls: Calls, wakeup: tuple[int, int], daemon: bool
) -> None:
    handlers.install(daemon=daemon)
    signal.raise_signal(signal.SIGTERM)
    assert (handlers.received, calls) == (signal.SIGTERM, [])
    with handlers.connected(calls.stop, wakeup[1]):
        assert calls == ["stop"]


def test_R27_one_that_comes_after_the_loop_calls_nothing(
    handlers: SignalHandlers, calls: Calls, wakeup: tuple[int, int]
) -> None:
    handlers.install(daemon=False)
    before = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(before)
    with handlers.connected(calls.stop, wakeup[1]):
        pass
    assert signal.set_wakeup_fd(before) == before
    signal.raise_signal(signal.SIGTERM)
    assert calls == []


def test_R27_a_daemon_has_no_terminal(handlers: SignalHandlers, calls: Calls) -> None:
    handlers.install(daemon=True)
    signal.raise_signal(signal.SIGINT)
    assert handlers.received is None
    signal.raise_signal(signal.SIGHUP)
    assert (handlers.received, calls) == (None, ["reopen"])


def test_R27_other_signals_are_left_alone(handlers: SignalHandlers) -> None:
    others = set(signal.valid_signals()) - {*HANDLED, signal.SIGURG}
    before = {number: signal.getsignal(number) for number in others}
    handlers.install(daemon=False)
    handlers.install(daemon=True)
    assert {number: signal.getsignal(number) for number in others} == before


def test_R27_signals_that_were_blocked_are_not_until_it_is_closed(calls: Calls) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    try:
        with SignalHandlers(calls.reopen) as handlers:
            signal.raise_signal(signal.SIGTERM)  # before it is there
            assert handlers.received is None
            handlers.install(daemon=True)
            assert handlers.received == signal.SIGTERM
            assert not signal.pthread_sigmask(signal.SIG_BLOCK, []) & set(HANDLED)
            handlers.install(daemon=True)
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) >= set(HANDLED)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_R27_afterwards_all_is_as_it_was(calls: Calls, wakeup: tuple[int, int]) -> None:
    def mine(number: int, frame: object) -> None:
        raise AssertionError

    other_reading, other_writing = os.pipe()
    os.set_blocking(other_writing, False)
    before: dict[Any, Any] = {n: signal.getsignal(n) for n in HANDLED}
    signal.signal(signal.SIGTERM, mine)
    descriptor = signal.set_wakeup_fd(other_writing)
    try:
        with contextlib.suppress(ZeroDivisionError), SignalHandlers(calls.reopen) as handlers:
            handlers.install(daemon=False)
            handlers.install(daemon=True)
            with handlers.connected(calls.stop, wakeup[1]):
                assert signal.getsignal(signal.SIGTERM) is not mine
                raise ZeroDivisionError
        assert signal.getsignal(signal.SIGTERM) is mine
        for number in (signal.SIGINT, signal.SIGHUP):
            assert signal.getsignal(number) is before[number]
    finally:
        signal.signal(signal.SIGTERM, before[signal.SIGTERM])
        now = signal.set_wakeup_fd(descriptor)
        os.close(other_reading)
        os.close(other_writing)
    assert now == other_writing


def test_R27_a_full_pipe_is_no_error(
    handlers: SignalHandlers, calls: Calls, wakeup: tuple[int, int]
) -> None:
    _, writing = wakeup
    for size in (65536, 1):
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writing, b"x" * size)
    handlers.install(daemon=False)
    with handlers.connected(calls.stop, writing):
        signal.raise_signal(signal.SIGTERM)
    assert calls == ["stop"]


FOREGROUND = """
handlers = signals.SignalHandlers(lambda: print("reopen"))
reading, writing = os.pipe()
os.set_blocking(writing, False)
{before}
handlers.install(daemon=False)
with handlers.connected(lambda: print("stop"), writing):
    signal.raise_signal(signal.{name})
print(handlers.received and int(handlers.received))
"""


@pytest.mark.parametrize(
    ("name", "before", "told"),
    [
        # As in the background of a shell that has no job control.
        ("SIGINT", "signal.signal(signal.SIGINT, signal.SIG_IGN)", ["stop", "2"]),
        # As with the command nohup.
        ("SIGHUP", "signal.signal(signal.SIGHUP, signal.SIG_IGN)", ["None"]),
        # A supervisor: its stderr is no terminal.
        ("SIGHUP", "", ["reopen", "None"]),
        # A terminal that is closed.
        ("SIGHUP", "sys.stderr = open(os.openpty()[1], 'w')", ["stop", "1"]),
        ("SIGHUP", "sys.stderr = None", ["reopen", "None"]),
    ],
)
def test_R27_in_the_foreground(name: str, before: str, told: list[str]) -> None:
    assert run_python(FOREGROUND.format(name=name, before=before)).splitlines() == told


def test_R27_the_end_of_its_terminal_stops_it() -> None:
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", ON_A_TERMINAL, str(writing)])
    os.close(writing)
    with os.fdopen(reading) as told:
        assert told.readline() == "ready\n"
        os.close(terminal)
        assert told.read() == "stop SIGHUP\n"
    assert os.waitpid(pid, 0)[1] == 0


ON_A_TERMINAL = """
import os, select, sys
from dorrit.process.control.signals import SignalHandlers

def say(text):
    os.write(int(sys.argv[1]), text.encode())

handlers = SignalHandlers(lambda: say("reopen\\n"))
handlers.install(daemon=False)
reading, writing = os.pipe()
os.set_blocking(writing, False)
with handlers.connected(lambda: say("stop "), writing):
    say("ready\\n")
    select.select([reading], [], [], 60)
say(handlers.received.name + "\\n")
"""


# In a call that waits

ANOTHER_THREAD = """
    def signal_comes():
        time.sleep(0.2)
        # Here, so that it does not interrupt the main thread, as it does not just before a call.
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    def waits(*_):
        threading.Thread(target=signal_comes).start()
        time.sleep(3600)
"""


@pytest.mark.parametrize("loop", ["own", "asyncio"])
def test_R27_a_stop_that_does_not_interrupt_a_handler_is_heard_all_the_same(
    servers: Servers, loop: str
) -> None:
    file = servers.write(
        "import signal, threading, time\nfrom dorrit import Server\n"
        + textwrap.dedent(ANOTHER_THREAD)
        + "app = Server('waits')\napp.on_message(waits)\n"
    )
    options = [] if loop == "own" else ["--event-loop", loop]
    run = servers.start(*servers.command(f"{file}:app", "--stop-grace=0.1", *options))
    run.until_listening()
    servers.connect().send("x")
    assert run.wait() == 1
    assert "a handler does not end, and the process does not wait for it" in run.err


def test_R27_nothing_interrupts_what_waits_once_the_stop_is_heard(calls: Calls) -> None:
    interruptions: list[int] = []
    with SignalHandlers(calls.reopen) as handlers:
        handlers.install(daemon=False)
        before = signal.signal(signal.SIGURG, lambda number, _: interruptions.append(number))
        signal.raise_signal(signal.SIGTERM)
        assert handlers.received == signal.SIGTERM
        time.sleep(0.2)
        signal.signal(signal.SIGURG, before)
    assert interruptions == []
    assert signal.getsignal(signal.SIGURG) is signal.SIG_DFL


def test_R27_a_handler_of_the_servers_own_for_SIGURG_is_kept(calls: Calls) -> None:
    def mine(number: int, frame: object) -> None:
        raise AssertionError

    signal.signal(signal.SIGURG, mine)
    try:
        with SignalHandlers(calls.reopen) as handlers:
            handlers.install(daemon=False)
            assert signal.getsignal(signal.SIGURG) is mine
            signal.raise_signal(signal.SIGTERM)
            assert handlers.received == signal.SIGTERM
        assert signal.getsignal(signal.SIGURG) is mine
    finally:
        signal.signal(signal.SIGURG, signal.SIG_DFL)
