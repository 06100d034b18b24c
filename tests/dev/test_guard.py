"""The process between `dorrit dev` and the server: the server never outlives the command."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from dorrit.dev import guard
from dorrit.dev.supervisor import describe_status

TIMEOUT = 60.0

READY = "import sys, time; sys.stdout.write('ready\\n'); sys.stdout.flush(); "

AS_IN_USE = (sys.executable, "-I", "-S", guard.__file__)
PROGRAM = "import sys; from dorrit.dev import guard; sys.exit(guard.main(sys.argv[1:]))"
CALLED = (sys.executable, "-c", PROGRAM)
"""In an interpreter that can be measured."""


@contextmanager
def guarded(
    code: str, grace: float = TIMEOUT, program: Sequence[str] = CALLED
) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """Run Python code below a guard; the other value is the write end of the guard's pipe."""
    read_end, lifeline = os.pipe()
    process = subprocess.Popen(
        [*program, str(read_end), str(grace), sys.executable, "-I", "-S", "-c", code],
        pass_fds=[read_end],
        stdout=subprocess.PIPE,
        text=True,
    )
    os.close(read_end)
    try:
        with process:
            yield process, lifeline
    finally:
        process.kill()


def wait_until_ready(process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"


@pytest.mark.parametrize("program", [AS_IN_USE, CALLED], ids=["as in use", "called"])
@pytest.mark.parametrize("status", [0, 1, 2, 77])
def test_the_exit_status_is_passed_on(status: int, program: Sequence[str]) -> None:
    with guarded(f"raise SystemExit({status})", program=program) as (process, lifeline):
        assert process.wait(TIMEOUT) == status
        os.close(lifeline)


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGKILL", "SIGTERM"])
def test_the_signal_that_ended_it_is_passed_on(name: str) -> None:
    code = f"import os, signal; os.kill(os.getpid(), signal.{name})"
    with guarded(code) as (process, lifeline):
        status = process.wait(TIMEOUT)
        os.close(lifeline)
    assert status == 128 + signal.Signals[name]
    assert describe_status(status) == f"ended by {name}"


def test_a_status_that_is_no_signal_is_described_as_a_number() -> None:
    assert describe_status(3) == "ended with exit status 3"
    assert describe_status(255) == "ended with exit status 255"


def test_the_end_of_the_pipe_asks_the_server_to_stop() -> None:
    # The handler is there before the line is.
    code = "import signal, sys; signal.signal(15, lambda *_: sys.exit(5)); "
    with guarded(code + READY + "time.sleep(60)") as (process, lifeline):
        wait_until_ready(process)
        os.close(lifeline)
        assert process.wait(TIMEOUT) == 5


def test_a_server_that_does_not_stop_is_killed() -> None:
    code = "import signal; signal.signal(15, signal.SIG_IGN); " + READY + "time.sleep(60)"
    with guarded(code, grace=0.1) as (process, lifeline):
        wait_until_ready(process)
        os.close(lifeline)
        assert process.wait(TIMEOUT) == 128 + signal.SIGKILL


def test_the_pipe_does_not_reach_the_server() -> None:
    # A server that held the read end open would do no harm, but one that held a write end would
    # keep its guard from ever seeing the end.
    code = READY + "import os; sys.stdout.write(' '.join(os.listdir('/dev/fd')) + '\\n')"
    with guarded(code) as (process, lifeline):
        wait_until_ready(process)
        assert process.stdout is not None
        # The three standard streams, and the one of the listing itself.
        assert process.stdout.readline().split() == ["0", "1", "2", "3"]
        os.close(lifeline)


def test_the_servers_standard_input_is_empty() -> None:
    with guarded("import sys; sys.exit(7 if sys.stdin.read() == '' else 1)") as (process, lifeline):
        assert process.wait(TIMEOUT) == 7
        os.close(lifeline)


def test_what_is_written_to_the_pipe_says_nothing() -> None:
    with guarded(READY + "time.sleep(60)") as (process, lifeline):
        wait_until_ready(process)
        os.write(lifeline, b"nothing")
        os.close(lifeline)
        assert process.wait(TIMEOUT) == 128 + signal.SIGTERM
