"""The server's own handlers are respected, and no SIGTERM is lost in a restart (R27, R28)."""

import os
import signal
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.crash.restarting import CRASHED, Starter, line_of
from tests.support.children import run_python
from tests.support.servers import until

EXIT = "ctypes.CDLL(None).signal({}, ctypes.cast(ctypes.CDLL(None)._exit, ctypes.c_void_p))"
"""Has a signal handled by a C function, _exit(2), which takes the signal's number as the status."""

IS_ALONE = """
from dorrit.process.crash import _crash
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


@pytest.mark.timeout(600)
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


RESTARTER = """
import faulthandler, socket
from dataclasses import replace
from dorrit.process.crash import _crash, restart
from dorrit.process.exec.command import VARIABLE, Command
from dorrit.process.exec.handover import Handover

listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
handover = Handover(name="", socket=sys.argv[1], listener=listener.fileno())
command = Command.current()

def is_caught():
    return [_crash.disposition(n).handler == _crash.HANDLER for n in (11, 7)]
"""


def restarter(directory: Path, code: str) -> list[str]:
    """Run code that finds all that a restart needs; return what it says."""
    return run_python(RESTARTER + textwrap.dedent(code), directory / "socket").splitlines()


def test_R28_what_cannot_be_run_again_is_not_prepared(directory: Path) -> None:
    told = restarter(
        directory,
        """
        made = restart.prepare(handover, command._replace(program=""))
        print(len(made.warnings), is_caught())
        made.disarm()
        """,
    )
    assert told == ["1 [False, False]"]


def test_R28_what_cannot_be_prepared_is_undone(directory: Path) -> None:
    told = restarter(
        directory,
        """
        before = len(os.listdir("/proc/self/fd"))
        try:
            restart.prepare(replace(handover, kept={"lock": 999}), command)
        except OSError as error:
            print(error.strerror)
        print(len(os.listdir("/proc/self/fd")) - before, is_caught())
        """,
    )
    assert told == ["Bad file descriptor", "0 [False, False]"]


def test_R28_faulthandler_is_as_it_was_before_when_a_restart_is_undone(directory: Path) -> None:
    told = restarter(
        directory,
        """
        for enabled in False, True:
            if enabled:
                faulthandler.enable()
            made = restart.prepare(handover, command)
            made.disarm()
            print(faulthandler.is_enabled(), is_caught())
        """,
    )
    assert told == ["False [False, False]", "True [False, False]"]


def test_R28_faulthandler_above_the_servers_handler_stays_there(directory: Path) -> None:
    told = restarter(
        directory,
        """
        signal.signal(signal.SIGBUS, lambda *_: None)
        faulthandler.enable()
        above = _crash.disposition(7).handler
        made = restart.prepare(handover, command)
        print(*[number.name for number in made.respected], _crash.disposition(7).handler == above)
        made.disarm()
        """,
    )
    assert told == ["SIGBUS True"]


def test_R28_a_child_of_a_process_that_has_prepared_nothing_is_as_any(directory: Path) -> None:
    told = restarter(
        directory,
        """
        child = os.fork()
        if child == 0:
            os._exit(7)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """,
    )
    assert told == ["7"]


def test_R28_a_variable_by_mistake_is_ignored_and_gone(directory: Path) -> None:
    told = restarter(
        directory,
        """
        logging.basicConfig(stream=sys.stdout, format="%(message)s")
        os.environ[VARIABLE] = "mistake"
        print(restart.inherited(), VARIABLE in os.environ)
        """,
    )
    assert told[0].endswith("is not a number") or "by mistake and ignored" in told[0]
    assert told[-1] == "None False"


def test_R28_what_the_system_refuses_is_raised(directory: Path) -> None:
    told = restarter(
        directory,
        """
        def refused(function, *arguments, **named):
            try:
                function(*arguments, **named)
            except OSError as error:
                print(error.strerror)

        refused(_crash.catch, signal.SIGKILL)
        refused(_crash.disposition, 9999)
        refused(_crash.set_disposition, signal.SIGKILL, _crash.disposition(signal.SIGTERM))
        refused(
            _crash.arm, program=b"/bin/true", arguments=[], environment=[], directory=b"/",
            umask=0, files=[], inherited=[], untouched=[], ignored=[], held=[], ledger=(0, 0),
            record=999, report=2, prefix=b"",
        )
        """,
    )
    assert told == ["Invalid argument"] * 3 + ["Bad file descriptor"]
