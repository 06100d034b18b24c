"""A server is not a number: what has its pid, when it has ended, is left alone.

Each test runs in a PID namespace of its own, whose next pid can be chosen.
"""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.process.running import status_server
from tests.support.servers import TIMEOUT

BEGINNING = """\
import os, signal, subprocess, sys, time
from dorrit.process.running import proc
from dorrit.process.running import peer
from dorrit.process.running.find import find
from dorrit.process.running.pidfd import Process
from dorrit.process.running.status_client import NotRunningError, StatusError

directory, program = sys.argv[1:]

def start(*words):
    "Start the stand-in for a server, and wait until it is ready; return its pid."
    server = subprocess.Popen(
        [sys.executable, program, directory, "chat", directory + "/chat.socket", *words],
        stdout=subprocess.PIPE, text=True, cwd=directory,
    )
    assert server.stdout.readline() == "ready\\n"
    return server

def bystander(pid, uid=None):
    "Start a process that gets this pid."
    for _ in range(100):
        with open("/proc/sys/kernel/ns_last_pid", "w") as last:
            last.write(str(pid - 1))
        process = subprocess.Popen(["sleep", "600"], user=uid)
        if process.pid == pid:
            return process
        process.kill()
        process.wait()
    raise AssertionError("the pid is not free")

def born(pid):
    "Return a time by CLOCK_BOOTTIME at which no process gets the start time of this one."
    return (int(proc.start_time(pid)) + 2) / os.sysconf("SC_CLK_TCK")

def stop(target):
    try:
        with find(target, directory) as server:
            print("stopped", server.stop(5))
    except StatusError as error:
        print(type(error).__name__, str(error).replace(directory, ""))

def without_peerpidfd():
    "A kernel before 6.5: ENOPROTOOPT"
    peer.SO_PEERPIDFD = 9999

def without_pidfd():
    "Or a sandbox without pidfd_open(2)"
    without_peerpidfd()
    del os.pidfd_open
"""


def run(directory: Path, code: str) -> list[str]:
    """Run code as the first process of a PID namespace; return the lines that it prints."""
    process = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, "-c",
         BEGINNING + textwrap.dedent(code), directory, status_server.__file__],
        capture_output=True, text=True, timeout=TIMEOUT, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    return process.stdout.splitlines()


KERNELS = pytest.mark.parametrize("kernel", ["", "without_peerpidfd()", "without_pidfd()"])


@KERNELS
@pytest.mark.parametrize("user", ["", "nobody"])
def test_the_process_that_has_a_servers_pid_now_is_left_alone_though_something_answers(
    directory: Path, kernel: str, user: str
) -> None:
    by_name, by_path, *alive = run(
        directory,
        f"""
        server = start("pid", "heir", {user!r})
        server.wait()
        other = bystander(server.pid)
        {kernel}
        for target in "chat", directory + "/chat.socket":
            stop(target)
        print(other.pid == server.pid, other.poll())
        """,
    )
    assert alive == ["True None"], (by_name, by_path)
    assert by_name.startswith("StatusError /chat.pid: process ")
    assert by_name.endswith("which it names, does not hold its lock: it is left alone")
    assert by_path == (
        "StatusError /chat.status: the server has ended, and something of it still answers"
    )


@KERNELS
def test_a_process_of_the_same_user_is_left_alone_as_well(directory: Path, kernel: str) -> None:
    # It has the user that the kernel names, and the pid.
    by_name, by_path, *alive = run(
        directory,
        f"""
        server = start("pid", "heir", "nobody")
        server.wait()
        other = bystander(server.pid, 65534)
        {kernel}
        for target in "chat", directory + "/chat.socket":
            stop(target)
        print(other.pid == server.pid, other.poll())
        """,
    )
    assert alive == ["True None"], (by_name, by_path)
    assert "does not hold its lock" in by_name
    assert by_path.endswith("the server has ended, and something of it still answers")


@KERNELS
def test_a_server_that_lives_is_stopped_all_the_same(directory: Path, kernel: str) -> None:
    assert run(
        directory,
        f"""
        {kernel}
        import threading
        for target in "chat", directory + "/chat.socket":
            server = start("pid", "nobody")
            waiting = threading.Thread(target=server.wait)  # a zombie is a process to some kernels
            waiting.start()
            stop(target)
            waiting.join()
            for file in os.listdir(directory):
                os.unlink(os.path.join(directory, file))
        """,
    ) == ["stopped True", "stopped True"]


@pytest.mark.parametrize("kernel", ["", "without_pidfd()"])
def test_a_process_that_was_found_is_not_mistaken_for_the_next_one_of_its_pid(
    directory: Path, kernel: str
) -> None:
    assert run(
        directory,
        f"""
        {kernel}
        first = subprocess.Popen(["sleep", "600"])
        with Process(first.pid) as process:
            while time.clock_gettime(time.CLOCK_BOOTTIME) < born(first.pid):
                pass  # a start time is known to a hundredth of a second
            first.kill()
            first.wait()
            other = bystander(first.pid)
            print(process.wait(5))
            try:
                process.send(signal.SIGTERM)
            except ProcessLookupError:
                print("ended")
            print(other.pid == first.pid, other.poll())
        """,
    ) == ["True", "ended", "True None"]


def test_a_socket_of_another_user_than_its_server_is_not_believed(directory: Path) -> None:
    # The directory may be the server's user's own: he can have a name there lead elsewhere.
    answer, *alive = run(
        directory,
        """
        server = start()
        os.chown(directory + "/chat.status", 65534, 65534)
        stop(directory + "/chat.socket")
        print(server.poll())
        """,
    )
    assert alive == ["None"]
    assert answer.startswith("StatusError /chat.status: process ")
    assert answer.endswith("which serves there, is not the socket's owner's: it is left alone")


def test_a_server_in_a_pid_namespace_below_is_known_by_its_number_here(directory: Path) -> None:
    assert run(
        directory,
        """
        inner = subprocess.Popen(
            ["unshare", "--pid", "--fork", "--kill-child", sys.executable, program, directory,
             "chat", directory + "/chat.socket"], stdout=subprocess.PIPE, text=True,
        )
        assert inner.stdout.readline() == "ready\\n"
        with find(directory + "/chat.socket") as server:
            with open(f"/proc/{server.process.pid}/cmdline") as words:
                print(program in words.read().split("\\0"), server.status.pid == server.process.pid)
            print(server.stop(5))
        """,
    ) == ["True True", "True"]


ASKING = """\
import sys
from dorrit.process.running import peer
from dorrit.process.running.find import find
from dorrit.process.running.status_client import StatusError

for peer.SO_PEERPIDFD in 77, 9999:
    try:
        with find(sys.argv[1] + "/chat.socket") as found:
            found.stop(5)
    except StatusError as error:
        print(str(error).replace(sys.argv[1], ""))
"""


def test_a_server_in_a_pid_namespace_out_of_reach_is_not_mistaken_for_one_of_its_number(
    directory: Path,
) -> None:
    # Its number there is somebody else's here.
    lines = run(
        directory,
        f"""
        server = start()
        subprocess.run(
            ["unshare", "--pid", "--fork", "--mount-proc",
             sys.executable, "-c", {ASKING!r}, directory], check=True,
        )
        print(server.poll())
        """,
    )
    assert lines == [
        "process 2: permission denied: it is in a PID namespace that can't be reached from here",
        "/chat.status: the server is in a PID namespace that can't be seen from here",
        "None",
    ]
