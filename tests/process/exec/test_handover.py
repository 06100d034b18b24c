"""What one image leaves to the next, and how little of it is believed (R29)."""

import fcntl
import json
import os
import socket
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from signal import SIGABRT, SIGSEGV, SIGTERM
from typing import Any

import pytest

from dorrit.errors import StartError
from dorrit.process.crash import _crash
from dorrit.process.exec import backoff
from dorrit.process.exec import handover as module
from dorrit.process.exec.handover import (
    CRASH,
    FAILED,
    MARK,
    RECORD,
    RELOAD,
    SIZE_MAX,
    Handover,
    NoHandoverError,
    Reload,
    Reloads,
    Restart,
    leave,
    shortened,
    take_over,
)
from dorrit.process.exec.memfd import nameless_file

TRACEBACK = b"""\
Fatal Python error: Segmentation fault

Current thread 0x00007f (most recent call first):
  File "chat.py", line 7 in said
"""
SHOWN = TRACEBACK.decode().strip().replace(" 0x00007f", "")
"""What the log has of it: no address."""


class Left:
    """What an image has left, as it is when the next one starts; a test changes some of it."""

    def __init__(self, made: ExitStack, directory: Path) -> None:
        self.listener = made.enter_context(socket.socket(socket.AF_UNIX))
        self.listener.bind(os.fspath(directory / "socket"))
        self.listener.listen()
        self.pid_file = made.enter_context((directory / "pid").open("w"))
        self.lock = made.enter_context((directory / "lock").open("w"))
        self.handover = Handover(
            name="chät\udc80",
            socket=os.fspath(directory / "socket"),
            listener=self.listener.fileno(),
            pid_file=os.fspath(directory / "pid"),
            pid_descriptor=self.pid_file.fileno(),
            kept={"lock": self.lock.fileno()},
            first_start=1000.5,
            restarts=3,
            crash_times=(1.0, 2.0, 3.0),
            crash_score=2.5,
        )
        self.state = nameless_file("restart")
        self.traceback = nameless_file("traceback")
        os.write(self.traceback, TRACEBACK)
        leave(self.handover, self.state, self.traceback)
        # What the crash handler does.
        os.pwrite(self.state, RECORD.pack(SIGSEGV, 100, 500_000_000), 0)
        for descriptor in self.handover.descriptors:
            os.set_inheritable(descriptor, True)

    def take_over(self) -> Handover:
        return take_over(str(self.state))

    def change(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Change what is said in JSON."""
        start = RECORD.size + len(MARK)
        content = json.loads(os.pread(self.state, 1 << 20, start))
        change(content)
        os.ftruncate(self.state, start)
        os.pwrite(self.state, json.dumps(content).encode(), start)

    def close(self) -> None:
        for descriptor in (self.state, self.traceback):
            with suppress(OSError):
                os.close(descriptor)


@pytest.fixture
def left(directory: Path) -> Iterator[Left]:
    with ExitStack() as made:
        left = Left(made, directory)
        yield left
        left.close()


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_the_record_is_as_large_as_that_of_the_handler_in_c() -> None:
    assert RECORD.size == _crash.RECORD_BYTES


def test_R29_the_next_image_has_what_was_left_and_what_the_crash_tells(left: Left) -> None:
    assert left.take_over() == replace(
        left.handover,
        restarts=4,
        crash_times=(1.0, 2.0, 3.0, 100.5),
        crash_score=1.0,
        signal=SIGSEGV,
        traceback=SHOWN,
        down_since=100.5,
    )
    # What it was written in is not needed any more; what was inherited is not for other programs.
    assert not is_open(left.state)
    assert not is_open(left.traceback)
    assert not any(os.get_inheritable(number) for number in left.handover.descriptors)


def test_L1_a_reload_leaves_the_connections_and_is_no_crash(left: Left) -> None:
    ledger = nameless_file("connections")
    os.set_inheritable(ledger, True)
    told = replace(
        left.handover.carrying(ledger, [7, 8, 9]),
        reload=Reload(began=100, until=160.5, timeout=60.5, failures=2, failed_at=110.0),
        reloads=Reloads(attempts=3, state=FAILED, reason="it raised", count=1),
        last=Restart(kind=CRASH, carried=5, lost=1, seconds=0.25),
        untouched=frozenset({50}),
    )
    leave(told, left.state, left.traceback)
    try:
        taken = left.take_over()
        assert taken == told
        assert (taken.ledger, taken.report()) == (ledger, [])
        assert not os.get_inheritable(ledger)
        without = taken.without_connections()
        assert (without.ledger, without.carried, without.reload) == (None, (), None)
        assert (without.reloads, without.last) == (told.reloads, told.last)
    finally:
        os.close(ledger)


def test_L2_a_crash_of_the_new_code_keeps_the_connections(left: Left) -> None:
    told = replace(left.handover, reload=Reload.begun(60), carried=(7, 8))
    leave(told, left.state, left.traceback)
    os.pwrite(left.state, RECORD.pack(SIGSEGV, 100, 0), 0)
    taken = left.take_over()
    assert (taken.signal, taken.reload, taken.carried) == (SIGSEGV, told.reload, (7, 8))


def test_L2_what_a_newer_release_says_of_a_reload_is_left_out(left: Left) -> None:
    leave(replace(left.handover, reload=Reload.begun(60)), left.state, left.traceback)
    left.change(lambda content: content["reload"].update(more=1))
    left.change(lambda content: content["reloads"].update(more=1))
    left.change(lambda content: content["last"].update(more=1))
    assert left.take_over().reload is not None


def test_what_an_older_release_has_left_tells_of_no_reload(left: Left) -> None:
    for name in NEWER:
        left.change(lambda content, name=name: content.pop(name))
    taken = left.take_over()
    assert (taken.reload, taken.carried, taken.reloads) == (None, (), Reloads())
    assert (taken.last, taken.down_since) == (Restart(), 100.5)


def test_L3_service_was_interrupted_by_the_first_crash_of_several(left: Left) -> None:
    leave(replace(left.handover, down_since=42.5), left.state, left.traceback)
    os.pwrite(left.state, RECORD.pack(SIGSEGV, 100, 0), 0)
    taken = left.take_over()
    assert taken.down_since == 42.5
    assert taken.without_connections().down_since is None


def test_L3_what_a_restart_was_and_how_long_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 100.0
    monkeypatch.setattr(module, "_now", lambda: clock)
    first = Handover(name="name", socket="/s", listener=0)
    assert first.restart(0, 0) is None
    crashed = first.after(SIGSEGV, 99.5, "")
    reloading = replace(first, reload=Reload.begun(60))
    clock = 101.0
    assert crashed.restart(7, 2) == Restart(kind=CRASH, carried=7, lost=2, seconds=1.5)
    assert reloading.restart(1, 0) == Restart(kind=RELOAD, carried=1, lost=0, seconds=1.0)
    # The new code has crashed: that is its reload still, which has taken so long.
    crashed = reloading.after(SIGSEGV, 100.5, "")
    assert crashed.restart(1, 0) == Restart(kind=RELOAD, carried=1, lost=0, seconds=1.0)
    clock = 0.0
    assert crashed.restart(1, 0) == Restart(kind=RELOAD, carried=1, lost=0, seconds=0.0)


def test_L2_the_new_code_is_tried_again_after_waits_that_grow_within_its_time() -> None:
    reload = Reload.begun(60)
    assert reload.delay() == 0
    delays = []
    for _ in range(12):
        reload = reload.failed()
        delays.append(reload.delay())
    assert delays[0] == 0
    assert delays[:8] == sorted(delays[:8])
    assert 59 < delays[-1] <= 60
    assert all(delay <= reload.left() + 1 for delay in delays)
    over = replace(reload, until=reload.began)
    assert over.delay() == 0
    assert over.left() <= 0
    assert over.again().left() > 59


def test_R29_a_handover_needs_no_pid_file_and_no_lock(left: Left) -> None:
    bare = Handover(name="", socket="/s", listener=left.listener.fileno())
    leave(bare, left.state, left.traceback)
    os.pwrite(left.state, RECORD.pack(SIGABRT, 1, 0), 0)
    taken = left.take_over()
    assert (taken.pid_file, taken.pid_descriptor, taken.kept) == (None, None, {})
    assert taken.signal is SIGABRT


def test_R29_what_it_is_written_in_has_no_name_and_is_the_users_alone(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.setenv("TMPDIR", os.fspath(directory))
    descriptor = nameless_file("restart")
    try:
        status = os.fstat(descriptor)
        assert (status.st_nlink, status.st_mode & 0o777) == (0, 0o600)
        assert not os.get_inheritable(descriptor)
        assert list(directory.iterdir()) == []
    finally:
        os.close(descriptor)


def expect_ignored(left: Left, why: str) -> None:
    """It is not this process's inheritance, and so nothing is touched."""
    with pytest.raises(NoHandoverError, match=why):
        left.take_over()
    assert is_open(left.state)
    assert is_open(left.traceback)
    assert all(os.get_inheritable(number) for number in left.handover.descriptors)


@pytest.mark.parametrize("value", ["", "-1", "3.0", "٣", " 3", "9" * 10, "9" * 5000, "x"])
def test_R29_a_value_that_is_no_number_is_ignored(value: str) -> None:
    with pytest.raises(NoHandoverError, match="is not a descriptor's number"):
        take_over(value)


def test_R29_a_descriptor_that_is_not_open_is_ignored() -> None:
    with pytest.raises(NoHandoverError, match="Bad file descriptor"):
        take_over("999999999")


def test_R29_a_file_that_has_a_name_is_ignored() -> None:
    with tempfile.NamedTemporaryFile() as file, pytest.raises(NoHandoverError, match="not a file"):
        take_over(str(file.fileno()))


def test_R29_a_pipe_is_ignored() -> None:
    reader, writer = os.pipe()
    try:
        with pytest.raises(NoHandoverError, match="not a file"):
            take_over(str(reader))
    finally:
        os.close(reader)
        os.close(writer)


@pytest.mark.root
def test_R29_another_users_file_is_ignored(left: Left) -> None:
    os.fchown(left.state, 65534, 65534)
    expect_ignored(left, "belongs to the user 65534")


def test_R29_a_file_that_cannot_be_read_is_ignored(left: Left) -> None:
    reader, left.state = left.state, os.open(f"/proc/self/fd/{left.state}", os.O_WRONLY)
    try:
        expect_ignored(left, "can't be read")
    finally:
        os.close(reader)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 10,
        RECORD.pack(SIGSEGV, 1, 0),
        RECORD.pack(SIGSEGV, 1, 0) + b"dorrit 2{}",
        RECORD.pack(SIGSEGV, 1, 0) + MARK + b"{}" + b" " * SIZE_MAX,
    ],
    ids=["empty", "short", "no mark", "other version", "too long"],
)
def test_R29_another_format_is_ignored(left: Left, data: bytes) -> None:
    os.ftruncate(left.state, 0)
    os.pwrite(left.state, data, 0)
    expect_ignored(left, "another format")


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff", b"null", b"{}"])
def test_R29_what_is_not_the_json_of_this_process_is_ignored(left: Left, text: bytes) -> None:
    start = RECORD.size + len(MARK)
    os.ftruncate(left.state, start)
    os.pwrite(left.state, text, start)
    expect_ignored(left, "damaged|another process's")


def test_R29_what_another_process_has_left_is_ignored(left: Left) -> None:
    left.change(lambda content: content.update(pid=os.getppid()))
    expect_ignored(left, "another process's")


@pytest.mark.parametrize("number", [0, SIGTERM, 2**63])
def test_R29_without_a_crash_it_is_ignored(left: Left, number: int) -> None:
    os.pwrite(left.state, struct.pack("=Q", number), 0)
    expect_ignored(left, "tells of no crash")


WRONG: dict[str, list[object]] = {
    "name": [1, None],
    "socket": [None, []],
    "listener": ["3", None, 3.5],
    "pid_file": [3],
    "pid_descriptor": ["3"],
    "kept": [3, ["3"], None, {"lock": "3"}],
    "first_start": ["x", None],
    "restarts": [None, "1"],
    "crash_times": [None, ["x"], 3],
    "crash_score": [None, []],
    "untouched": [None, ["x"]],
    "carried": [None, ["x"], 3],
    "reload": [3, {"began": "x"}, {}],
    "reloads": [3, {"count": "x"}, None],
    "last": [3, {"kind": 1}, {"lost": "x"}, None],
    "down_since": ["x", []],
    "identities": [None, [], {"x": [1, 2]}, {"3": 1}],
}


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, values in WRONG.items() for v in values])
def test_R29_a_part_of_another_type_is_ignored(left: Left, name: str, value: object) -> None:
    left.change(lambda content: content.update({name: value}))
    expect_ignored(left, "missing or wrong")


NEWER = ("untouched", "carried", "reload", "reloads", "last", "down_since")
"""What a release has not had that has left it."""


@pytest.mark.parametrize("name", [*(name for name in WRONG if name not in NEWER), "traceback"])
def test_R29_a_part_that_is_missing_is_ignored(left: Left, name: str) -> None:
    left.change(lambda content: content.pop(name))
    expect_ignored(left, "missing or wrong")


def expect_error(left: Left, what: str) -> None:
    with pytest.raises(StartError, match=what) as caught:
        left.take_over()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("listener", "the listening socket, descriptor"),
        ("pid_file", "the pid file, descriptor"),
        ("lock", "the lock, descriptor"),
    ],
)
def test_R29_a_descriptor_that_is_gone_is_an_error(left: Left, name: str, what: str) -> None:
    getattr(left, name).close()
    expect_error(left, what)


def test_R29_a_descriptor_that_is_another_file_now_is_an_error(left: Left) -> None:
    os.dup2(left.pid_file.fileno(), left.lock.fileno())
    expect_error(left, "the lock, descriptor")


def test_R29_another_listener_in_its_place_is_an_error(left: Left, directory: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(os.fspath(directory / "other"))
        other.listen()
        os.dup2(other.fileno(), left.listener.fileno())
        expect_error(left, "the listening socket, descriptor")


def leave_as_listener(left: Left, number: int) -> None:
    left.handover = replace(left.handover, listener=number)
    leave(left.handover, left.state, left.traceback)
    os.pwrite(left.state, RECORD.pack(SIGSEGV, 1, 0), 0)


@pytest.mark.parametrize(
    ("family", "kind"),
    [
        (socket.AF_UNIX, socket.SOCK_STREAM),  # one that does not listen
        (socket.AF_UNIX, socket.SOCK_DGRAM),
        (socket.AF_UNIX, socket.SOCK_SEQPACKET),
        (socket.AF_INET, socket.SOCK_STREAM),
    ],
)
def test_R29_a_socket_that_is_no_listening_unix_stream_is_an_error(
    left: Left, family: socket.AddressFamily, kind: socket.SocketKind
) -> None:
    with socket.socket(family, kind) as other:
        if family == socket.AF_INET:
            other.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_SEQPACKET or family == socket.AF_INET:
            if family == socket.AF_UNIX:
                other.bind("")
            other.listen()
        leave_as_listener(left, other.fileno())
        expect_error(left, "listens no more")


def test_R29_a_file_in_the_listeners_place_is_an_error(left: Left) -> None:
    leave_as_listener(left, left.lock.fileno())
    expect_error(left, "listens no more")


def test_R29_a_handover_of_a_closed_descriptor_cannot_be_left(left: Left) -> None:
    left.lock.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        leave(left.handover, left.state, left.traceback)


def traceback_of(left: Left, data: bytes) -> str:
    os.ftruncate(left.traceback, 0)
    os.pwrite(left.traceback, data, 0)
    return left.take_over().traceback


def test_R28_without_a_traceback_the_report_says_so(left: Left) -> None:
    os.ftruncate(left.traceback, 0)
    taken = left.take_over()
    assert taken.traceback == ""
    assert taken.report()[1:] == ["the crash has left no traceback"]


def test_R28_a_traceback_that_was_closed_is_none(left: Left) -> None:
    os.dup2(left.lock.fileno(), left.traceback)
    assert left.take_over().traceback == ""
    # The file that has its number now is somebody's.
    assert is_open(left.traceback)


def test_R28_only_the_last_traceback_counts(left: Left) -> None:
    text = traceback_of(left, b"Fatal Python error: Aborted\n\n  File 1\n" + TRACEBACK)
    assert text == SHOWN


def test_R28_a_traceback_has_nothing_that_a_terminal_would_obey(left: Left) -> None:
    text = traceback_of(left, b'  File "\x1b[2J\xff\x9b\t.py"\r\nnext\0\x0bline\n')
    assert text == '  File "\\x1b[2J\\xff\\x9b\\x09.py"\\x0d\nnext\\x00\\x0bline'


def test_R28_a_long_traceback_keeps_the_thread_that_crashed(left: Left) -> None:
    other = b"Thread 0x1 (most recent call first):\n" + b"  File x\n" * 100
    head, _, crashed = TRACEBACK.partition(b"Current")
    lines = traceback_of(left, head + other * 50 + b"Current" + crashed + other * 50).splitlines()
    assert lines[:4] == [
        "Fatal Python error: Segmentation fault",
        "[...]",
        "Current thread (most recent call first):",
        '  File "chat.py", line 7 in said',
    ]
    assert lines[-1] == "[...]"
    assert sum(map(len, lines)) < module.TRACEBACK_MAX


def test_R28_a_long_text_is_cut_at_a_line() -> None:
    assert shortened("short", 10) == "short"
    assert shortened("line one\nline two\nline three", 20) == "line one\nline two\n[...]"


def test_R28_a_huge_traceback_is_read_in_bounds(left: Left) -> None:
    text = traceback_of(left, b"x" * (3 << 20) + b"\n" + TRACEBACK)
    assert text == SHOWN


def test_R28_the_report_is_one_line_for_each_line(left: Left) -> None:
    report = left.take_over().report()
    assert report[0].startswith("crashed: SIGSEGV (Segmentation fault); restarted in place: ")
    assert "restart 4 since 1970-01-01 " in report[0]
    assert report[1:] == [line for line in SHOWN.splitlines() if line]
    assert left.handover.report() == []


def test_R29_locks_stay_held(left: Left, directory: Path) -> None:
    fcntl.flock(left.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    left.take_over()
    with (directory / "lock").open() as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize(("ago", "crash_score"), [(None, 100.0), (0.0, 0.0), (10_000.0, 100.0)])
def test_R28_a_server_that_has_been_quiet_serves_at_once(
    left: Left, ago: float | None, crash_score: float
) -> None:
    times = () if ago is None else (time.clock_gettime(time.CLOCK_MONOTONIC) - ago,)
    assert replace(left.handover, crash_times=times, crash_score=crash_score).delay() == 0.0


def test_R28_a_server_that_crashes_again_and_again_waits_but_not_for_ever(left: Left) -> None:
    now = time.clock_gettime(time.CLOCK_MONOTONIC)
    waits = replace(left.handover, crash_times=(now,), crash_score=100.0)
    assert 0.0 < waits.delay() <= backoff.LONGEST
    assert replace(waits, crash_times=(now + 10_000.0,)).delay() == backoff.LONGEST
