"""How the process finds out why it was started (R22, R28, R29)."""

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from dorrit.process.exec.command import VARIABLE
from dorrit.process.start.launch import Launch
from tests.process.exec.test_handover import Left
from tests.support.children import run_python

LAUNCH = """
from dorrit.process.start.launch import Launch
import socket

"""


def test_R22_a_command_has_nothing_handed_over() -> None:
    told = run_python(
        LAUNCH
        + """
launch = Launch.current()
print(launch.handover, launch.given, launch.notifier.watchdog_interval())
print(launch.command.arguments[0], launch.command.arguments[2:])
""",
        "word",
    )
    assert told.splitlines() == ["None None None", "-c ('word',)"]


def test_what_says_that_it_is_started_once_more_is_taken_out_of_the_environment() -> None:
    told = run_python(
        LAUNCH
        + """
os.environ["DORRIT_REPEATED"] = "1"
print(Launch.current().is_repeated, "DORRIT_REPEATED" in os.environ)
print(Launch.current().is_repeated)
"""
    )
    assert told.splitlines() == ["True False", "False"]


def test_R22_standard_streams_that_are_closed_are_opened_first() -> None:
    code = """
import os, sys
from dorrit.process.start.launch import Launch
Launch.current()
places = [os.readlink(f"/proc/self/fd/{number}") for number in (0, 2)]
os.write(1, " ".join(places).encode())
"""
    told = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" <&- 2>&-', sys.executable, code],
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    assert told.stdout == "/dev/null /dev/null"


def test_R22_what_was_left_open_is_told_from_what_was_handed_over(directory: Path) -> None:
    told = run_python(
        LAUNCH
        + """
manager = socket.socket(socket.AF_UNIX)
manager.bind(sys.argv[1])
manager.listen()
left = os.dup2(1, 50)
os.dup2(manager.fileno(), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="x")
launch = Launch.current()
print(launch.given, os.get_inheritable(3), [n for n in os.environ if "LISTEN" in n])
print(launch.inherited.close())
print(socket.socket(fileno=3).getsockname() == sys.argv[1])
""",
        directory / "socket",
    )
    assert told.splitlines() == ["3 False []", "[50]", "True"]


def test_R28_a_managers_watchdog_is_content_while_the_server_waits(directory: Path) -> None:
    told = run_python(
        LAUNCH
        + """
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.bind(sys.argv[1])
manager.setblocking(False)
os.environ.update(NOTIFY_SOCKET=sys.argv[1], WATCHDOG_USEC="100000",
                  WATCHDOG_PID=str(os.getpid()))
launch = Launch.current()
print(launch.notifier.watchdog_interval(), "NOTIFY_SOCKET" in os.environ)
print(launch.wait_after_crash(0.3), manager.recv(100))
""",
        directory / "notify",
    )
    assert told.splitlines() == ["0.05 False", "None b'WATCHDOG=1'"]


def test_R27_sigterm_ends_the_wait() -> None:
    told = run_python(
        LAUNCH
        + """
launch = Launch.current()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
os.kill(os.getpid(), signal.SIGTERM)
print(launch.wait_after_crash(1000).name)
print(launch.wait_after_crash(0))
"""
    )
    assert told.splitlines() == ["SIGTERM", "None"]


def test_R29_after_a_crash_the_managers_variables_are_no_more_looked_at(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as made:
        left = Left(made, directory)
        monkeypatch.setenv(VARIABLE, str(left.state))
        monkeypatch.setenv("LISTEN_FDS", "7")
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        launch = Launch.current()
        assert launch.handover is not None
        assert launch.handover.listener == left.listener.fileno()
        assert launch.given is None
        assert not {VARIABLE, "LISTEN_FDS", "LISTEN_PID"} & os.environ.keys()
        left.close()
