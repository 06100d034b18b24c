"""Restart in place: real faults in a real server, and what its callers see of it (R28, R29)."""

import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.crash.restarting import (
    CRASHED,
    NOBODY,
    Starter,
    interpreter_for_nobody,
    line_of,
)
from tests.process.crash.restarting import SCRIPT as SERVER
from tests.support.servers import TIMEOUT, until

FAULTS = {
    "null_dereference": (signal.SIGSEGV, "string_at(0)"),
    "abort": (signal.SIGABRT, "os.abort()"),
    "stack_overflow": (signal.SIGSEGV, "_stack_overflow()"),
    "division_by_zero": (signal.SIGFPE, "_sigfpe()"),
    "bus_error": (signal.SIGBUS, "mapped[0]"),
    "illegal_instruction": (signal.SIGILL, "CFUNCTYPE"),
}
SIGNALS = [signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL]
CRASHES = 100
IDENTITY = "answer = os.getpid(), os.fstat(server.listener.fileno()).st_ino"


@pytest.fixture
def start(directory: Path) -> Iterator[Starter]:
    starter = Starter(directory)
    yield starter
    starter.close()


@pytest.mark.parametrize("fault", FAULTS)
def test_R28_a_real_fault_restarts_the_same_process_on_the_same_socket(
    start: Starter, fault: str
) -> None:
    server = start()
    number, line = FAULTS[fault]
    before = server.ask(IDENTITY)
    server.crash(f"{fault}()")
    assert server.ask(IDENTITY) == before
    assert server.ask("answer = server.handover.signal.name") == number.name
    assert server.log[1].startswith(f"{CRASHED}{number.name} (")
    assert "restart 1 since" in server.log[1]
    # The traceback: where it was, and how it came there.
    assert line_of(fault, line) in server.log
    assert any(line.endswith(" in serve_one") for line in server.log)
    assert server.errors == ""


@pytest.mark.parametrize("number", SIGNALS)
def test_R28_the_signal_alone_restarts_it(start: Starter, number: signal.Signals) -> None:
    server = start()
    os.kill(server.pid, number)
    until(lambda: server.log.count("ready") == 2, "the restart")
    assert server.ask(IDENTITY).startswith(f"({server.pid}, ")
    assert server.log[1].startswith(f"{CRASHED}{number.name} (")


def test_R28_a_fault_in_another_thread_restarts_it(start: Starter) -> None:
    server = start()
    server.crash("in_another_thread()")
    assert server.restarts == 1
    assert line_of("null_dereference", "string_at(0)") in server.log
    assert line_of("in_another_thread", "thread.") in server.log


def test_R28_a_fatal_error_of_the_interpreter_restarts_it(start: Starter) -> None:
    server = start()
    server.crash("fatal_error()")
    assert server.restarts == 1
    # The interpreter writes the traceback itself, to stderr, and turns faulthandler off.
    assert "the crash has left no traceback" in server.log
    assert line_of("fatal_error", "Py_FatalError") in server.errors


def test_R29_callers_that_come_during_the_restart_wait_and_are_served(start: Starter) -> None:
    hold = start.directory / "hold"
    server = start("--init", f"import time\nwhile os.path.exists({str(hold)!r}): time.sleep(0.01)")
    hold.touch()
    server.crash()
    until(lambda: server.logged(CRASHED), "the crash")
    waiting = [server.call(f"answer = {number}") for number in range(50)]
    assert server.log.count("ready") == 1
    hold.unlink()
    assert [caller.answer() for caller in waiting] == [str(number) for number in range(50)]


@pytest.mark.timeout(600)
def test_R29_no_caller_is_refused_nor_lost_over_a_hundred_crashes(start: Starter) -> None:
    server = start()
    outcomes: Counter[str] = Counter()
    done = threading.Event()

    def call_all_the_time() -> None:
        while not done.is_set():
            try:
                outcomes["served" if server.ask("answer = 'yes'") == "yes" else "lost"] += 1
            except ConnectionRefusedError:
                outcomes["refused"] += 1
            except OSError as error:
                outcomes[repr(error)] += 1

    callers = [threading.Thread(target=call_all_the_time) for _ in range(4)]
    for caller in callers:
        caller.start()
    try:
        for _ in range(CRASHES):
            server.crash()
        restarts = server.restarts
    finally:
        # They would go on for ever, and the interpreter wait for them at its end.
        done.set()
        for caller in callers:
            caller.join(TIMEOUT)
    assert restarts == CRASHES
    assert outcomes.pop("served") >= CRASHES
    assert outcomes == {}
    assert server.ask("answer = len(server.handover.crash_times)") == "32"


def test_R29_no_descriptor_is_lost_over_twenty_restarts(start: Starter) -> None:
    # What C libraries open without O_CLOEXEC would stay open, one more after each crash.
    server = start("--init", "os.set_inheritable(os.open('/', os.O_RDONLY), True)")
    descriptors = "answer = sorted(int(name) for name in os.listdir('/proc/self/fd'))"
    server.crash()
    before = server.ask(descriptors)
    for _ in range(20):
        server.crash()
    assert server.ask(descriptors) == before
    assert server.restarts == 21


def test_R29_descriptors_close_on_exec_but_those_that_were_given(start: Starter) -> None:
    given, ours = socket.socketpair()
    os.set_inheritable(given.fileno(), True)
    given_number = given.fileno()
    server = start(pass_fds=[given_number])
    given.close()
    inheritable = (
        "answer = [n for n in map(int, os.listdir('/proc/self/fd')) if n > 2 "
        "and os.path.exists(f'/proc/self/fd/{n}') and os.get_inheritable(n)]"
    )
    for _ in range(2):
        assert server.ask(inheritable) == str([given_number])
        server.crash()
    # It is still the same, at the other end.
    server.ask(f"os.write({given_number}, b'hello')")
    assert ours.recv(10) == b"hello"
    ours.close()


def test_R29_children_that_the_last_image_left_are_not_left_as_zombies(start: Starter) -> None:
    server = start()
    for _ in range(3):
        server.crash(
            "ready, held = os.pipe()\n"
            "if os.fork() == 0: os._exit(0)\n"
            "os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)\n"
            "null_dereference()"
        )
    children = f"answer = open('/proc/{server.pid}/task/{server.pid}/children').read()"
    assert server.ask(children) == ""


def test_R28_a_forked_childs_crash_ends_the_child_alone(start: Starter) -> None:
    server = start()
    ended = server.ask(
        "child = os.fork()\nif child == 0: abort()\nanswer = os.waitpid(child, 0)[1] & 127"
    )
    assert ended == str(signal.SIGABRT)
    # fork(2) itself, of which Python is not told.
    ended = server.ask(
        "child = ctypes.CDLL(None).fork()\n"
        "if child == 0: abort()\n"
        "answer = os.waitpid(child, 0)[1] & 127"
    )
    assert ended == str(signal.SIGABRT)
    assert server.restarts == 0
    # Their tracebacks are not taken for the server's.
    server.crash()
    assert server.restarts == 1
    assert line_of("null_dereference", "string_at(0)") in server.log
    assert line_of("abort", "os.abort()") not in server.log


def test_R28_a_forked_childs_traceback_is_not_taken_for_the_servers(start: Starter) -> None:
    server = start()
    server.ask("child = os.fork()\nif child == 0: abort()\nos.waitpid(child, 0)")
    server.crash("fatal_error()")
    assert server.restarts == 1
    assert "the crash has left no traceback" in server.log


def test_R28_a_crash_while_the_next_image_starts_restarts_it_as_well(start: Starter) -> None:
    init = "if hasattr(server, 'handover') and server.handover.restarts <= 2: abort()"
    server = start("--init", init)
    server.crash()
    assert server.restarts == 3
    assert len(server.logged(CRASHED)) == 3


@pytest.mark.root
@pytest.mark.parametrize("daemon", [(), ("--daemon",)], ids=["foreground", "daemon"])
@pytest.mark.parametrize("user", [0, NOBODY], ids=["root", "nobody"])
def test_R29_it_restarts_with_the_privileges_that_it_has(
    start: Starter, user: int, daemon: tuple[str, ...]
) -> None:
    server = start("--user", str(user), *daemon, command=[interpreter_for_nobody(), str(SERVER)])
    state = (
        "answer = os.getresuid(), os.getresgid(), os.getgroups(), os.getsid(0), os.getcwd(), "
        "[os.readlink(f'/proc/self/fd/{n}') for n in range(3)], " + IDENTITY.partition("= ")[2]
    )
    before = server.ask(state)
    assert str((user,) * 3) in before
    for _ in range(2):
        server.crash()
        assert server.ask(state) == before
    assert server.restarts == 2
    assert line_of("null_dereference", "string_at(0)") in server.log


def test_R28_once_disarmed_a_crash_ends_the_process(start: Starter) -> None:
    server = start()
    server.ask("server.restarter.disarm()\nserver.restarter.disarm()")
    assert server.crash_for_good() == -signal.SIGSEGV
    assert not server.logged(CRASHED)


def test_R28_a_crash_at_exit_ends_the_process(start: Starter) -> None:
    server = start("--init", "import atexit; atexit.register(null_dereference)")
    server.terminate()
    assert server.wait() == -signal.SIGSEGV
    assert server.log == ["ready", "stopped"]


def test_R29_without_memfd_a_file_without_a_name_does_it(start: Starter) -> None:
    server = start("--init", "del os.memfd_create", environment={"TMPDIR": str(start.directory)})
    server.crash()
    server.crash()
    assert server.restarts == 2
    assert line_of("null_dereference", "string_at(0)") in server.log
    assert [path.name for path in start.directory.iterdir()] == ["0"]


def test_R29_a_server_that_closes_its_listener_says_so_and_ends(start: Starter) -> None:
    server = start()
    server.crash("os.close(server.handover.listener)\nnull_dereference()")
    assert server.wait() == 1
    assert "StartError: can't go on after the crash: the listening socket" in server.errors
