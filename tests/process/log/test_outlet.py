"""Where the log goes (R23): no outlet waits for its reader, and each counts what it can't write."""

import contextlib
import logging
import os
import pty
import socket
from collections.abc import Iterator

import pytest

from dorrit.process.log.layout import text_lines
from dorrit.process.log.outlet import Stream


def record(text: str, level: int = logging.INFO) -> logging.LogRecord:
    return logging.LogRecord("dorrit", level, "", 0, text, (), None)


def fill(descriptor: int) -> None:
    """Fill what is behind a descriptor until it takes nothing."""
    own = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(own, b"x\n" * 50)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(own, b"\n")
    os.close(own)


def read_all(descriptor: int) -> str:
    return read_bytes(descriptor).decode()


def read_bytes(descriptor: int) -> bytes:
    os.set_blocking(descriptor, False)
    text = b""
    with contextlib.suppress(BlockingIOError):
        while data := os.read(descriptor, 1 << 16):
            text += data
    return text


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_it_writes_lines(pipe: tuple[int, int]) -> None:
    Stream(pipe[1]).write(record("a\nb"), text_lines)
    first, second = read_all(pipe[0]).splitlines()
    assert first.endswith(" INFO a")
    assert second == "| b"


def test_what_is_below_its_level_is_passed_over(pipe: tuple[int, int]) -> None:
    made = Stream(pipe[1])
    made.level = logging.WARNING
    made.write(record("a"), text_lines)
    made.write(record("b", logging.WARNING), text_lines)
    assert read_all(pipe[0]).endswith(" WARNING b\n")


@pytest.mark.parametrize("reopened", [True, False])
def test_a_full_pipe_loses_records_and_says_how_many(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch, reopened: bool
) -> None:
    if not reopened:  # another user's, or there is no /proc
        monkeypatch.setattr(Stream, "_reopen_without_waiting", lambda _: None)
    made = Stream(pipe[1])
    fill(pipe[1])
    for number in range(100):
        made.write(record(str(number)), text_lines)
    assert os.get_blocking(pipe[1])  # who shares it is not disturbed
    read_all(pipe[0])
    made.write(record("again"), text_lines)
    lost, again = read_all(pipe[0]).splitlines()
    assert lost.endswith(" WARNING 100 records were lost: the log could not be written")
    assert again.endswith(" INFO again")


def test_a_line_that_was_begun_is_ended_before_the_next(pipe: tuple[int, int]) -> None:
    made = Stream(pipe[1])
    made.write(record("é" * 60_000), text_lines)  # more than a pipe holds
    begun = read_bytes(pipe[0])
    assert b"\n" not in begun
    made.write(record("next"), text_lines)
    text = (begun + read_bytes(pipe[0])).decode()
    line, lost, following = text.splitlines()
    assert line.endswith("é" * 60_000)
    assert lost.endswith("a record was lost: the log could not be written")
    assert following.endswith(" next")


def test_a_terminal_that_is_stopped_loses_records() -> None:
    master, slave = pty.openpty()
    try:
        made = Stream(slave)
        fill(slave)
        for _ in range(1000):  # the kernel takes some more when it has passed on what it has
            made.write(record("x" * 1000), text_lines)
            if made.lost == 10:
                break
        assert made.lost == 10
    finally:
        os.close(master)
        os.close(slave)


def test_a_socket_that_nobody_reads_loses_records() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        made = Stream(ours.fileno())
        while not made.lost:
            made.write(record("x" * 10_000), text_lines)
        made.write(record("x"), text_lines)
        assert made.lost == 2
        assert ours.getblocking()


@pytest.mark.parametrize("gone", ["the reader", "the descriptor"])
def test_what_cannot_be_written_is_lost(gone: str) -> None:
    reader, writer = os.pipe()
    made = Stream(writer)
    made.close()
    os.close(reader)
    if gone == "the descriptor":
        os.close(writer)
    made.write(record("x"), text_lines)
    assert made.lost == 1
    if gone == "the reader":
        os.close(writer)


def test_it_follows_a_descriptor_that_leads_elsewhere_by_now(pipe: tuple[int, int]) -> None:
    before = os.pipe()
    made = Stream(before[1])
    os.dup2(pipe[1], before[1])
    made.write(record("x"), text_lines)
    assert read_all(pipe[0]).endswith(" x\n")
    assert read_all(before[0]) == ""
    made.close()
    for descriptor in before:
        os.close(descriptor)
