"""The server's own handlers are respected, and no SIGTERM is lost in a restart (R27, R28)."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.restarting import CRASHED, Starter, line_of
from tests.support.servers import until

EXIT = "ctypes.CDLL(None).signal({}, ctypes.cast(ctypes.CDLL(None)._exit, ctypes.c_void_p))"
"""Has a signal handled by a C function, _exit(2), which takes the signal's number as the status."""

IS_ALONE = """
from dorrit.process import _crash
address = ctypes.cast(ctypes.CDLL(None)._exit, ctypes.c_void_p).value
answer = _crash.disposition(signal.SIGSEGV).handler == address
"""
"""Whether the kernel calls it at once, with nobody in between who would change what it is told."""


@pytest.fixture
def start(directory: Path) -> Iterator[Starter]:
    starter = Starter(directory)
    yield starter
    starter.close()


def test_R28_a_handler_in_c_stays_in_place_and_alone(start: Starter) -> None:
    server = start("--init", EXIT.format(int(signal.SIGSEGV)))
    assert server.ask("answer = [s.name for s in server.restarter.respected]") == "['SIGSEGV']"
    assert server.ask(IS_ALONE) == "True"
    # The other signals restart it, and it is respected in the next image as well.
    server.crash("abort()")
    assert server.restarts == 1
    assert server.ask(IS_ALONE) == "True"
    assert server.crash_for_good() == signal.SIGSEGV
    assert len(server.logged(CRASHED)) == 1


def test_R28_a_handler_in_python_stays_in_place_with_a_warning(start: Starter) -> None:
    server = start("--init", "signal.signal(signal.SIGFPE, lambda *_: server.log('handled'))")
    os.kill(server.pid, signal.SIGFPE)
    until(lambda: server.logged("handled"), "the handler")
    assert server.restarts == 0
    assert server.log[0].startswith("the server handles SIGFPE in Python, which never happens")


def test_R28_a_signal_that_is_ignored_stays_so(start: Starter) -> None:
    server = start("--init", "signal.signal(signal.SIGABRT, signal.SIG_IGN)")
    os.kill(server.pid, signal.SIGABRT)
    assert server.restarts == 0
    server.crash()
    assert server.restarts == 1
    os.kill(server.pid, signal.SIGABRT)
    assert server.restarts == 1


def test_R28_a_handler_that_comes_later_outlives_a_second_preparation(start: Starter) -> None:
    server = start()
    server.ask(EXIT.format(int(signal.SIGSEGV)))
    server.ask("server.prepare()")
    assert server.crash_for_good() == signal.SIGSEGV


def test_R28_a_handler_that_comes_later_outlives_the_stop(start: Starter) -> None:
    server = start()
    server.ask(EXIT.format(int(signal.SIGSEGV)))
    server.ask("server.restarter.disarm()")
    assert server.crash_for_good() == signal.SIGSEGV


def test_R28_a_server_that_enables_faulthandler_is_restarted_too(start: Starter) -> None:
    server = start("--init", "faulthandler.enable()")
    for restarts in (1, 2):
        server.crash()
        assert server.restarts == restarts
    assert server.log.count(line_of("null_dereference", "string_at(0)")) == 2
    assert server.errors == ""


def test_R28_a_faulthandler_that_was_there_before_is_there_again_at_the_stop(
    start: Starter,
) -> None:
    server = start(environment={"PYTHONFAULTHANDLER": "1"})
    server.crash()
    server.ask("server.restarter.disarm()")
    assert server.errors == ""
    assert server.crash_for_good() == -signal.SIGSEGV
    assert line_of("null_dereference", "string_at(0)") in server.errors.splitlines()


def test_R28_faulthandler_below_a_handler_of_the_server_is_left_as_it_is(start: Starter) -> None:
    server = start("--init", EXIT.format(int(signal.SIGSEGV)) + "\nfaulthandler.enable()")
    assert server.ask("answer = [s.name for s in server.restarter.respected]") == "['SIGSEGV']"
    assert server.crash_for_good() == signal.SIGSEGV


def test_R28_a_handler_above_the_servers_own_faulthandler_is_left_alone(start: Starter) -> None:
    server = start("--init", "faulthandler.enable()\n" + EXIT.format(int(signal.SIGSEGV)))
    assert server.ask("answer = [s.name for s in server.restarter.respected]") == "['SIGSEGV']"
    assert server.ask(IS_ALONE) == "True"
    assert server.crash_for_good() == signal.SIGSEGV


def test_R27_no_sigterm_is_lost_between_two_images(start: Starter) -> None:
    for moment in range(12):
        server = start()
        server.crash()
        # Some time in the next image's start. Before its handlers stand, the signal must wait.
        time.sleep(moment * 0.02)
        server.terminate()
        assert server.wait() == 0, server.errors
        assert server.log[-1] == "stopped"
        assert not server.path.exists()


def test_R28_signals_are_blocked_no_longer_when_the_server_runs(start: Starter) -> None:
    server = start("--init", "server.init_mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])")
    server.crash()
    masks = "answer = server.init_mask, signal.pthread_sigmask(signal.SIG_BLOCK, [])"
    assert server.ask(masks) == "(set(), set())"
