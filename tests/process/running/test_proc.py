"""What the kernel shows of a process."""

import fcntl
import os
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from dorrit.process.running import proc
from tests.support.children import run_python

NO_PID = 2**22 + 5
"""More than Linux gives."""


def test_a_process_has_a_start_time_that_its_name_can_not_forge() -> None:
    code = 'open("/proc/self/comm", "w").write("a) S 1 2 3"); input()'
    with subprocess.Popen(
        ["python3", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as named:
        comm = Path(f"/proc/{named.pid}/comm")
        before = proc.start_time(named.pid)
        while comm.read_text() != "a) S 1 2 3\n":
            assert named.poll() is None
        assert before is not None
        assert proc.start_time(named.pid) == before
        assert int(before) >= int(proc.start_time(1) or "-1")
        named.communicate(b"\n")
    assert proc.start_time(named.pid) is None


def test_a_process_has_users_and_numbers() -> None:
    assert proc.user_ids(os.getpid()) == set(os.getresuid())
    assert proc.numbers_of(os.getpid())[0] == os.getpid()
    assert proc.user_ids(NO_PID) is None
    assert proc.numbers_of(NO_PID) == [NO_PID]


def test_the_holder_of_a_lock_is_who_has_it_and_not_who_has_the_file_open(directory: Path) -> None:
    file = directory / "chat.pid"
    with file.open("w") as held, file.open() as opened:
        status = os.fstat(held.fileno())
        where = status.st_dev, status.st_ino
        assert proc.holds_lock(os.getpid(), *where) is False
        fcntl.flock(held, fcntl.LOCK_EX)
        assert proc.holds_lock(os.getpid(), *where) is True
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[opened.fileno()]) as other:
            assert proc.holds_lock(other.pid, *where) is False


def test_the_holder_of_a_socket_is_who_listens_there(directory: Path) -> None:
    path = str(directory / "chat.status")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(path)
        assert proc.holds_socket(os.getpid(), path) is False
        listener.listen()
        assert proc.holds_socket(os.getpid(), path) is True
        assert proc.holds_socket(os.getpid(), path + "x") is False
        client.connect(path)
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[client.fileno()]) as other:
            assert proc.holds_socket(other.pid, path) is False


@pytest.mark.parametrize("pid", [1, NO_PID])
def test_of_a_process_that_may_not_be_looked_at_it_is_not_known(pid: int) -> None:
    told = run_python(
        f"""
        from dorrit.process.running import proc
        become_nobody()
        print(proc.holds_lock({pid}, 0, 0), proc.holds_socket({pid}, "/x"))
        """
    )
    assert told == "None None\n"


def test_a_signal_that_is_blocked_is_pending() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        assert not proc.is_pending(os.getpid(), signal.SIGUSR1)
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        assert proc.is_pending(os.getpid(), signal.SIGUSR1)
        assert not proc.is_pending(os.getpid(), signal.SIGUSR2)
        signal.sigwait({signal.SIGUSR1})
        assert not proc.is_pending(os.getpid(), signal.SIGUSR1)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert not proc.is_pending(NO_PID, signal.SIGUSR1)
