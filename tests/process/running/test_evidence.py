"""What the kernel shows of a process."""

import fcntl
import os
import socket
import subprocess
from pathlib import Path

import pytest

from dorrit.process.running import evidence
from tests.support.children import run_python

NO_PID = 2**22 + 5
"""More than Linux gives."""


def test_a_process_has_a_start_time_that_its_name_can_not_forge() -> None:
    code = 'open("/proc/self/comm", "w").write("a) S 1 2 3"); input()'
    with subprocess.Popen(
        ["python3", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as named:
        comm = Path(f"/proc/{named.pid}/comm")
        before = evidence.start_time(named.pid)
        while comm.read_text() != "a) S 1 2 3\n":
            assert named.poll() is None
        assert before is not None
        assert evidence.start_time(named.pid) == before
        assert int(before) >= int(evidence.start_time(1) or "-1")
        named.communicate(b"\n")
    assert evidence.start_time(named.pid) is None


def test_a_process_has_users_and_numbers() -> None:
    assert evidence.user_ids(os.getpid()) == set(os.getresuid())
    assert evidence.numbers_of(os.getpid())[0] == os.getpid()
    assert evidence.user_ids(NO_PID) is None
    assert evidence.numbers_of(NO_PID) == [NO_PID]


def test_the_holder_of_a_lock_is_who_has_it_and_not_who_has_the_file_open(directory: Path) -> None:
    file = directory / "chat.pid"
    with file.open("w") as held, file.open() as opened:
        status = os.fstat(held.fileno())
        where = status.st_dev, status.st_ino
        assert evidence.holds_lock(os.getpid(), *where) is False
        fcntl.flock(held, fcntl.LOCK_EX)
        assert evidence.holds_lock(os.getpid(), *where) is True
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[opened.fileno()]) as other:
            assert evidence.holds_lock(other.pid, *where) is False


def test_the_holder_of_a_socket_is_who_listens_there(directory: Path) -> None:
    path = str(directory / "chat.status")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(path)
        assert evidence.holds_socket(os.getpid(), path) is False
        listener.listen()
        assert evidence.holds_socket(os.getpid(), path) is True
        assert evidence.holds_socket(os.getpid(), path + "x") is False
        client.connect(path)
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[client.fileno()]) as other:
            assert evidence.holds_socket(other.pid, path) is False


@pytest.mark.parametrize("pid", [1, NO_PID])
def test_of_a_process_that_may_not_be_looked_at_it_is_not_known(pid: int) -> None:
    told = run_python(
        f"""
        from dorrit.process.running import evidence
        become_nobody()
        print(evidence.holds_lock({pid}, 0, 0), evidence.holds_socket({pid}, "/x"))
        """
    )
    assert told == "None None\n"
