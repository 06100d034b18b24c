"""What the service manager is told; its socket is a real one of the tests' own."""

import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dorrit.process.control.notify import NAME_MAX, STATUS_MAX, Notifier
from tests.support.harness import LogRecords


@pytest.fixture
def manager(directory: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.settimeout(10)
        made.bind(str(directory / "notify"))
        yield made


@pytest.fixture
def notifier(manager: socket.socket) -> Iterator[Notifier]:
    made = Notifier.from_environment(
        {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "3000000"}
    )
    yield made
    made.close()


def test_each_state_is_one_datagram_of_the_protocol(
    manager: socket.socket, notifier: Notifier
) -> None:
    notifier.ready()
    assert manager.recv(4096) == b"READY=1"
    notifier.ready("listening", main_pid=4711)
    assert manager.recv(4096) == b"READY=1\nMAINPID=4711\nSTATUS=listening"
    notifier.status("5 connections")
    assert manager.recv(4096) == b"STATUS=5 connections"
    notifier.alive()
    assert manager.recv(4096) == b"WATCHDOG=1"
    notifier.reloading()
    state, microseconds = manager.recv(4096).split(b"\n")
    assert state == b"RELOADING=1"
    now = time.clock_gettime(time.CLOCK_MONOTONIC)
    assert 0 <= now - int(microseconds.removeprefix(b"MONOTONIC_USEC=")) / 1e6 < now
    notifier.stopping()
    assert manager.recv(4096) == b"STOPPING=1"


def test_an_abstract_address_begins_with_an_at_sign() -> None:
    name = f"dorrit-test-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(10)
        manager.bind("\0" + name)
        notifier = Notifier.from_environment({"NOTIFY_SOCKET": "@" + name})
        notifier.ready()
        assert manager.recv(4096) == b"READY=1"
        notifier.close()


def test_the_status_is_one_line_whatever_is_in_it(
    manager: socket.socket, notifier: Notifier
) -> None:
    notifier.status("a\nREADY=0\r\n\x0bb\u2028c \udcff" + "x" * 10_000)
    told = manager.recv(65536).decode()
    assert told.startswith("STATUS=a READY=0 b c \\udcff" + "x")
    assert "\n" not in told
    assert len(told) <= len("STATUS=") + STATUS_MAX + 20


def test_without_a_manager_nothing_is_said_and_nothing_raises() -> None:
    notifier = Notifier.from_environment({"WATCHDOG_USEC": "3000000"})
    assert notifier.address is None
    assert notifier.watchdog_interval() is None
    notifier.ready("x")
    notifier.alive()
    notifier.stopping()
    notifier.close()
    notifier.status("after the end")


def test_the_variables_are_gone_afterwards_so_that_no_child_gets_them(
    manager: socket.socket,
) -> None:
    code = """if True:
        import os, subprocess, sys
        from dorrit.process.control.notify import Notifier
        notifier = Notifier.from_environment()
        notifier.ready(main_pid=os.getpid())
        print(notifier.watchdog_interval())
        subprocess.run(["env"], check=True)
    """
    environment = {
        "NOTIFY_SOCKET": manager.getsockname(),
        "WATCHDOG_USEC": "20000000",
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "MINE": "stays",
    }
    told = subprocess.run(
        [sys.executable, "-uc", code], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert told.startswith("10.0\n")
    assert "MINE=stays" in told
    assert "NOTIFY_SOCKET" not in told
    assert "WATCHDOG" not in told
    assert manager.recv(4096).startswith(b"READY=1\nMAINPID=")


@pytest.mark.parametrize(
    "value",
    ["relative", "@", "/", "vsock:2:1234", "/a\0b", "/" + "x" * NAME_MAX, "@" + "é" * 100],
)
def test_an_address_that_cannot_be_is_logged_and_ignored(value: str, log: LogRecords) -> None:
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": value, "WATCHDOG_USEC": "1000000"})
    assert notifier.address is None
    assert notifier.watchdog_interval() is None
    (record,) = log.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith("NOTIFY_SOCKET='")
    assert record.getMessage().isascii()
    notifier.ready()


def test_the_longest_address_is_taken(directory: Path) -> None:
    path = str(directory / ("x" * (NAME_MAX - len(str(directory)) - 1)))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(10)
        manager.bind(path)
        notifier = Notifier.from_environment({"NOTIFY_SOCKET": path})
        notifier.ready()
        assert manager.recv(4096) == b"READY=1"
        notifier.close()


# The watchdog


@pytest.mark.parametrize(
    ("variables", "interval"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "1"}, 0.0000005),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getppid())}, None),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "x"}, None),
        ({"WATCHDOG_PID": str(os.getpid())}, None),
        ({}, None),
    ],
)
def test_signs_of_life_are_due_after_half_the_time_that_the_manager_waits(
    manager: socket.socket, variables: dict[str, str], interval: float | None
) -> None:
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": manager.getsockname(), **variables})
    assert notifier.watchdog_interval() == interval
    notifier.alive()
    notifier.stopping()
    assert manager.recv(4096) == (b"STOPPING=1" if interval is None else b"WATCHDOG=1")
    notifier.close()


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "x", "٣", " 1", "1" * 21])
def test_a_watchdog_time_that_cannot_be_is_logged_and_ignored(
    manager: socket.socket, value: str, log: LogRecords
) -> None:
    notifier = Notifier.from_environment(
        {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": value}
    )
    assert notifier.watchdog_interval() is None
    assert "WATCHDOG_USEC=" in log.text
    notifier.close()


# While the server runs


def fill(manager: socket.socket) -> int:
    """Fill the manager's queue; return how many datagrams it took."""
    count = 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        try:
            while True:
                other.sendto(b"x", manager.getsockname())
                count += 1
        except BlockingIOError:
            return count


def test_a_manager_that_does_not_read_holds_nothing_up_and_is_logged_once(
    manager: socket.socket, notifier: Notifier, log: LogRecords
) -> None:
    assert fill(manager) > 0
    begin = time.monotonic()
    for _ in range(1000):
        notifier.alive()
        notifier.status("x")
    assert time.monotonic() - begin < 5  # each of them waiting, this would take hours
    (record,) = log.records
    assert record.getMessage().startswith("the service manager can't be told WATCHDOG=1: ")


def test_ready_waits_for_a_manager_that_is_busy(
    manager: socket.socket, notifier: Notifier, log: LogRecords
) -> None:
    count = fill(manager)
    received: list[bytes] = []

    def read() -> None:
        while received[-1:] != [b"READY=1"] and len(received) <= count:
            received.append(manager.recv(4096))

    reader = threading.Timer(0.2, read)
    reader.start()
    notifier.ready()
    reader.join(10)
    assert received[-1] == b"READY=1"
    assert not log.records


def test_a_manager_that_is_gone_is_logged_once_and_heard_of_again_when_it_is_back(
    manager: socket.socket, notifier: Notifier, log: LogRecords
) -> None:
    path = manager.getsockname()
    manager.close()
    Path(path).unlink()
    notifier.ready()
    notifier.alive()
    assert len(log.records) == 1
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as again:
        again.settimeout(10)
        again.bind(path)
        notifier.alive()
        assert again.recv(4096) == b"WATCHDOG=1"


def test_its_descriptor_is_not_inherited(notifier: Notifier) -> None:
    assert notifier._socket is not None
    assert not notifier._socket.get_inheritable()


def test_the_variables_of_the_process_are_meant_if_no_others_are_given(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.getsockname())
    made = Notifier.from_environment()
    assert "NOTIFY_SOCKET" not in os.environ
    made.ready()
    assert manager.recv(4096) == b"READY=1"
    made.close()
