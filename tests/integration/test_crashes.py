"""A server that crashes is there again: the same process, at the same socket, as the same user."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.integration.crashing import (
    AS_ROOT,
    DROPPED,
    NOBODY,
    STARTERS,
    Crashing,
    Server,
    Starter,
    traceback_line,
)
from tests.support import proc
from tests.support.daemons import reaper
from tests.support.log_daemon import LogDaemon, log_daemon
from tests.support.servers import PATIENCE, Client

FAULT = "ctypes.string_at(0)"


@pytest.fixture
def crashing(directory: Path) -> Iterator[Crashing]:
    with reaper():
        made = Crashing(directory)
        yield made
        made.close()


@pytest.fixture
def log() -> Iterator[LogDaemon]:
    with log_daemon() as made:
        yield made


def what_must_stay(server: Server) -> dict[str, Any]:
    """What a process keeps through a crash, as the kernel tells it."""
    shown = proc.status(server.pid)
    kept = {
        name: shown[name]
        for name in ("Uid", "Gid", "Groups", "Umask", "SigBlk", "SigIgn", *proc.CAPABILITIES)
    }
    socket_file = server.path.lstat()
    return kept | {
        "place": proc.stat(server.pid),
        "directory": Path(f"/proc/{server.pid}/cwd").readlink(),
        # Which files they are, not which numbers they have: sockets and the lock are the same.
        "streams": [proc.descriptors(server.pid)[number] for number in range(3)],
        "listening": server.run(LISTENING),
        "file": (
            socket_file.st_ino, socket_file.st_uid, socket_file.st_gid, socket_file.st_mode,
        ),
    }  # fmt: skip


LISTENING = """
import socket
answer = []
for number in os.listdir("/proc/self/fd"):
    try:
        found = socket.socket(fileno=os.dup(int(number)))
    except OSError:
        continue
    with found:
        if found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            answer.append((found.getsockname(), os.fstat(int(number)).st_ino))
answer.sort()
"""
"""The sockets that it listens on, with the inodes of the sockets themselves."""


def kinds(server: Server) -> list[str]:
    """What its descriptors are of, without the numbers that make each of them another one."""
    return sorted(name.partition(":[")[0] for name in proc.descriptors(server.pid).values())


@pytest.mark.parametrize("daemon", [False, True], ids=["foreground", "daemon"])
@pytest.mark.parametrize("starter", STARTERS, ids=str)
def test_R28_R29_it_goes_on_as_what_it_was(
    crashing: Crashing, log: LogDaemon, starter: Starter, daemon: bool
) -> None:
    server = crashing(starter=starter).start(daemon=daemon)
    before, descriptors = what_must_stay(server), kinds(server)
    status = server.status()
    assert status.pop("restarts") == "0"

    server.crash()
    assert server.ask("and now?") == "and now?"

    assert int(server.run("answer = os.getpid()")) == server.pid
    assert server.images == 2
    assert what_must_stay(server) == before
    assert kinds(server) == descriptors
    after = server.status()
    assert after.pop("restarts") == "1"
    assert after == status
    if starter.user == "nobody":
        shown = proc.status(server.pid)
        assert shown["Uid"] == [str(NOBODY.pw_uid)] * 4
        assert shown["Gid"] == [str(NOBODY.pw_gid)] * 4
        assert set(shown["Groups"]) <= {str(NOBODY.pw_gid)}
        for name in proc.CAPABILITIES:
            assert int(shown[name][0], 16) == 0, name

    said = "\n".join(log.until_said("listening on")) if daemon else ""  # the first start
    said = "\n".join(log.until_said("listening on")) if daemon else server.log
    assert "crashed: SIGSEGV (Segmentation fault); restarted in place: restart 1 since" in said
    assert traceback_line(server, FAULT) in said
    if daemon:
        assert server.log == "" or "crashed" not in server.log  # its terminal is gone
    server.terminate()


def test_R29_no_crash_costs_a_descriptor(crashing: Crashing) -> None:
    server = crashing(starter=DROPPED).start()
    server.crash_again(1)
    after_one = kinds(server)
    server.crash_again(4)
    assert kinds(server) == after_one
    assert server.status()["restarts"] == "5"
    assert server.stop() == 0


def test_R28_clients_of_before_are_gone_and_the_limits_are_what_they_were(
    crashing: Crashing,
) -> None:
    server = crashing(starter=DROPPED).start("-m", "2000", "-b", "100")
    limits = Path(f"/proc/{server.pid}/limits").read_text()
    others = [server.connect() for _ in range(20)]
    server.crash()
    for other in others:
        with other.socket:
            assert other.ended()
    client = server.connect()
    client.send("x" * 96)
    assert client.close_code() == 1009  # -b
    client.socket.close()
    assert Path(f"/proc/{server.pid}/limits").read_text() == limits
    assert server.stop() == 0


# Under load

SERVERS, CRASHES, CALLERS = 20, 5, 3
"""100 crashes: a single server would wait for minutes, as it should."""

AT_ONCE = 5
"""Servers that run at the same time."""


class Caller(threading.Thread):
    """Calls a server again and again: connects, asks once, and goes.

    Attributes:
        refused: What connect(2) said when it failed.
        lost: Connections that have ended without an answer.
        answered: How many had theirs.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.refused: list[OSError] = []
        self.lost = self.answered = 0
        self.fault: BaseException | None = None
        self.end = threading.Event()

    def run(self) -> None:
        try:
            while not self.end.is_set():
                self._call()
        except BaseException as fault:
            self.fault = fault

    def _call(self) -> None:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(PATIENCE)
            try:
                probe.connect(str(self.path))
            except OSError as error:
                self.refused.append(error)
                return
        try:
            client = Client(self.path)
        except ConnectionRefusedError as error:
            self.refused.append(error)
            return
        except (EOFError, ConnectionResetError, BrokenPipeError):
            self.lost += 1
            return
        with client.socket:
            try:
                assert client.ask("me") == "me"
            except (EOFError, ConnectionResetError, BrokenPipeError):
                self.lost += 1
            else:
                self.answered += 1


def crash_under_load(server: Server) -> None:
    """Crash a server while it is called without a pause."""
    callers = [Caller(server.path) for _ in range(CALLERS)]
    for caller in callers:
        caller.start()
    try:
        server.crash_again(CRASHES)
        answered = [caller.answered for caller in callers]
    finally:
        for caller in callers:
            caller.end.set()
            caller.join(PATIENCE)
    assert not any(caller.is_alive() for caller in callers)
    for caller, _ in zip(callers, answered, strict=True):
        assert caller.fault is None, caller.fault
        assert caller.refused == []
        assert caller.answered > 0
        # A crash can end one connection of a caller, not one that waits to be accepted.
        assert caller.lost <= CRASHES
    assert server.status()["restarts"] == str(CRASHES)
    assert server.stop() == 0


def test_R28_none_is_refused_over_100_crashes_under_load(crashing: Crashing) -> None:
    def run(number: int) -> None:
        starter = DROPPED if number % 2 else AS_ROOT
        crash_under_load(crashing(starter=starter).start("--log-level", "info"))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(run, range(SERVERS)):
            pass
