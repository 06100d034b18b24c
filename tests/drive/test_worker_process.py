"""A worker, as its supervisor knows it."""

import os
import signal
import socket
from collections.abc import Iterator

import pytest

from dorrit.drive.worker_process import WorkerProcess
from dorrit.process.start.workers import HELLO_MAX, PROTOCOL, RELEASE, Hello, WorkerFiles

HELLO = Hello(PROTOCOL, RELEASE)


class Given:
    """A worker that a test plays.

    Attributes:
        process: What the supervisor knows of it.
        end: Its end of the channel.
    """

    def __init__(self) -> None:
        self.files, ours = WorkerFiles.new()
        self.end = socket.socket(fileno=self.files.channel)
        self.process = WorkerProcess(0, self.files._replace(channel=-1), ours, is_spare=True)
        self.process.is_over = True


@pytest.fixture
def given() -> Iterator[Given]:
    made = Given()
    yield made
    made.process.close()
    made.end.close()


def test_W1_a_worker_says_hello_before_it_is_given_anything(given: Given) -> None:
    given.end.send(HELLO.line())
    assert given.process.hear_hello()
    assert given.process.hello == HELLO


def test_a_hello_may_come_in_pieces(given: Given) -> None:
    *pieces, last = (HELLO.line()[place : place + 5] for place in range(0, len(HELLO.line()), 5))
    for piece in pieces:
        given.end.send(piece)
        assert not given.process.hear_hello()
        assert given.process.hello is None
    given.end.send(last)
    assert given.process.hear_hello()


def test_one_that_has_ended_says_none(given: Given) -> None:
    given.end.send(HELLO.line()[:4])
    given.process.hear_hello()
    given.end.close()
    with pytest.raises(EOFError):
        given.process.hear_hello()


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (HELLO.line() + b"\0", "more than hello"),
        (b'{"protocol": "1", "release": ""}\n', "which protocol"),
        (b'{"protocol": true, "release": ""}\n', "which protocol"),
        (b'{"protocol": null, "release": ""}\n', "which protocol"),
        (b'{"protocol": 1, "release": 1}\n', "which protocol"),
        (b'{"protocol": 1}\n', "does not say hello"),
        (b"{}\n", "does not say hello"),
        (b"[]\n", "does not say hello"),
        (b"1\n", "does not say hello"),
        (b"\n", "does not say hello"),
        (b"\xff\n", "does not say hello"),
        (b"[" * (HELLO_MAX - 1) + b"\n", "does not say hello"),
        (b"x" * HELLO_MAX, "does not say hello"),
    ],
)
def test_what_is_no_hello_is_said_to_be_none(given: Given, said: bytes, why: str) -> None:
    given.end.send(said)
    with pytest.raises(ValueError, match=why):
        given.process.hear_hello()
    assert given.process.hello is None


def test_when_it_is_closed_nothing_is_left_open_but_what_is_to_be_kept() -> None:
    given = Given()
    ledger = given.files.ledger
    channel = given.process.channel
    given.process.close(but=ledger)
    for descriptor in (channel, given.files.carried, given.files.traceback):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)
    os.fstat(ledger)
    os.close(ledger)
    given.end.close()


def test_one_that_has_ended_gets_no_signal(given: Given) -> None:
    given.process.pid = os.getpid()
    given.process.tell(signal.SIGKILL)
