"""What clients do: each scene is over when its clients have gone, and says what must come of it."""

import contextlib
import os
import socket
import struct
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final

from tests.soak.guest import LARGEST, Closed, Guest, random_message, random_size, request_for
from tests.support.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    TEXT,
    close_frame,
    frame,
)
from tests.support.servers import TIMEOUT

RESIDENTS: Final = 12
"""Clients that stay, and hear all broadcasts."""

SERVICE_RESTART: Final = 1012
"""The close code of those whose messages refer to what the last image has heard."""


class Stage:
    """A server, as those see it who talk to it.

    Attributes:
        path: Its socket.
        random: What decides.
        is_async: It has an event loop.
        has_threads: Its threads may call it.
        closes_slow: A client whose queue is full is closed.
        tally: What has been done: clients, messages and so on.
        residents: Clients that stay.
    """

    def __init__(
        self, path: Path, random: Random, *, is_async: bool, has_threads: bool, closes_slow: bool
    ) -> None:
        self.path = path
        self.random = random
        self.is_async = is_async
        self.has_threads = has_threads
        self.closes_slow = closes_slow
        self.tally: Counter[str] = Counter()
        self.residents: list[Guest] = []

    def guest(self, where: str = "/") -> Guest:
        """A client that has been taken in."""
        deflate = self.random.random() < 0.3
        guest = Guest(self.path, self.random, where, deflate=deflate)
        self.tally["clients"] += 1
        assert guest.status == 101, guest.head
        return guest

    def raw(self, data: bytes) -> socket.socket:
        """A connection on which something was sent."""
        made = socket.socket(socket.AF_UNIX)
        self.tally["clients"] += 1
        seconds = struct.pack("ll", int(TIMEOUT), 0)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, seconds)
        made.connect(os.fspath(self.path))
        made.settimeout(TIMEOUT)
        # The server may have seen enough before all of it has been sent.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            made.sendall(data)
        return made

    def exchange(self, guest: Guest, count: int, *, most: int = LARGEST) -> None:
        """Have messages echoed, several at a time, with pings in between."""
        random = self.random
        while count > 0:
            said, total = [], 0
            pings = []
            for _ in range(min(count, random.randrange(1, 17))):
                message = random_message(random, min(most, random_size(random)))
                guest.say(message)
                said.append(message)
                total += len(message)
                if random.random() < 0.1:
                    pings.append(random.randbytes(random.randrange(126)))
                    guest.ping(pings[-1])
                if total > LARGEST:
                    break
            for message in said:
                guest.expect(message)
            count -= len(said)
            self.tally["messages"] += len(said)
            if pings:
                # Messages and pings each have their own order.
                guest.say("behind the pongs")
                guest.expect("behind the pongs")
                assert guest.pongs == pings, "pongs are missing"
                guest.pongs.clear()

    def invite(self) -> None:
        """Have those come that stay."""
        self.residents = [self.guest("/listening") for _ in range(RESIDENTS)]

    def outlive(self) -> None:
        """The server has crashed: they are still there, and who compresses with a past is not."""
        for guest in self.residents:
            if guest.has_past:
                assert guest.close_code() == SERVICE_RESTART
                guest.socket.close()
            else:
                self.exchange(guest, 3)
        self.residents = [guest for guest in self.residents if not guest.has_past]
        while len(self.residents) < RESIDENTS:
            self.residents.append(self.guest("/listening"))


def leave(stage: Stage, guest: Guest) -> None:
    """Go, in one of the ways in which clients go."""
    way = stage.random.randrange(5)
    if way == 0:
        guest.socket.sendall(frame(BINARY, b"half of it")[:7])
    elif way == 1:
        guest.socket.sendall(close_frame(1000) + b"and more")
    elif way == 2:
        guest.socket.shutdown(socket.SHUT_WR)
        assert guest.ended()
    elif way == 3:
        guest.socket.sendall(frame(BINARY, bytes(1000)))  # whose echo nobody reads
    else:
        guest.close()
    guest.socket.close()


# Those who mean well


def conversation(stage: Stage) -> None:
    """One client, for a while."""
    guest = stage.guest()
    stage.exchange(guest, stage.random.randrange(1, 60))
    leave(stage, guest)


def company(stage: Stage) -> None:
    """Several clients at a time."""
    guests = [stage.guest() for _ in range(stage.random.randrange(2, 25))]
    for _ in range(stage.random.randrange(1, 4)):
        said = [random_message(stage.random, stage.random.randrange(3000)) for _ in guests]
        for guest, message in zip(guests, said, strict=True):
            guest.say(message)
        for guest, message in zip(guests, said, strict=True):
            guest.expect(message)
        stage.tally["messages"] += len(said)
    for guest in guests:
        leave(stage, guest)


def crowd(stage: Stage) -> None:
    """Many clients that have little to say."""
    # What they say comes with their requests.
    hellos = [b"hello %d" % number for number in range(stage.random.randrange(30, 150))]
    sockets = [stage.raw(request_for("/") + frame(TEXT, hello)) for hello in hellos]
    for hello, client in zip(hellos, sockets, strict=True):
        with client:
            wanted = bytes((0x80 | TEXT, len(hello))) + hello
            heard = b""
            while len(heard.partition(b"\r\n\r\n")[2]) < len(wanted):
                data = client.recv(1 << 16)
                assert data, heard
                heard += data
            answer = heard.partition(b"\r\n\r\n")[2]
            assert answer == wanted, f"{wanted!r} was said, and {answer!r} was heard"
            client.sendall(close_frame(1000))
            if hello.endswith(b"0"):
                continue  # it does not wait for the answer
            assert client.recv(1 << 16) == b"\x88\x02\x03\xe8"
            assert client.recv(1 << 16) == b""
    stage.tally["messages"] += len(sockets)


def residents(stage: Stage) -> None:
    """Those that stay have a word each."""
    for guest in stage.residents:
        stage.exchange(guest, stage.random.randrange(1, 4), most=10_000)


def broadcast(stage: Stage) -> None:
    """All that stay hear the same, in the same order."""
    speaker = stage.guest()
    texts = [
        str(number) + "y" * stage.random.randrange(stage.random.choice((100, 100_000)))
        for number in range(stage.random.randrange(1, 20))
    ]
    for text in texts:
        assert speaker.command(f"!broadcast {text}") == f"told {len(stage.residents)}"
    for guest in stage.residents:
        for text in texts:
            guest.expect(text)
        stage.tally["messages"] += len(texts)
    leave(stage, speaker)


def welcome(stage: Stage) -> None:
    """The open handler sends something."""
    guest = stage.guest("/welcomed")
    guest.expect("welcome")
    leave(stage, guest)


# Those who are turned away

REFUSED: Final = {
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n": 426,
    b"POST / HTTP/1.1\r\nHost: a\r\n\r\n": 405,
    b"GET / HTTP/1.0\r\nHost: a\r\n\r\n": 426,
    b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n": 200,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(600): 400,
    request_for("/").replace(b"13", b"12"): 426,
    request_for("/").replace(b"Host: server.example.com\r\n", b""): 400,
    request_for("/rejected"): 403,
    request_for("/unwanted"): 403,
    request_for("/raising"): 500,
    b"GET / HTTP/1.1\r\nHost: a\r\nCookie: " + b"c" * 70_000: 431,
}


def refused(stage: Stage) -> None:
    """A request that is none, or that somebody does not want."""
    for request, status in stage.random.sample(list(REFUSED.items()), 5):
        with stage.raw(request) as client:
            answer = client.recv(1 << 16)
            assert answer.startswith(b"HTTP/1.1 %d " % status), (request[:80], answer)


def half_heads(stage: Stage) -> None:
    """Requests that do not come to their end."""
    head = request_for("/")
    for _ in range(stage.random.randrange(1, 10)):
        stage.raw(head[: stage.random.randrange(len(head))]).close()


def overdue_head(stage: Stage) -> None:
    """A request that takes too long."""
    with stage.raw(request_for("/")[:40]) as client:
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 408 ")


# Those who break rules


def _wrong_frames() -> list[tuple[bytes, int]]:
    garbage = frame(BINARY, b"\xff" * 40, reserved=4)
    return [
        (frame(TEXT, b"not masked", mask=None), 1002),
        (frame(TEXT, b"reserved", reserved=1), 1002),
        (frame(3, b"no such kind"), 1002),
        (frame(11, b"no such kind"), 1002),
        (frame(PING, bytes(126)), 1002),
        (frame(PING, b"in pieces", fin=False), 1002),
        (frame(CONTINUATION, b"of nothing"), 1002),
        (frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), 1002),
        (frame(CLOSE, b"\x03"), 1002),
        (close_frame(1005), 1002),
        (frame(TEXT, b"\xff\xfe"), 1007),
        (frame(TEXT, b"a\xc3", fin=False) + frame(CONTINUATION, b"b"), 1007),
        (struct.pack("!BBQ", 0x82, 0xFF, LARGEST + 1) + bytes(4), 1009),
        (garbage, 1007),
        (frame(BINARY, zlib.compress(bytes(3 * LARGEST), 9, -15)[:-4], reserved=4), 1009),
    ]


WRONG: Final = _wrong_frames()
COMPRESSED: Final = WRONG[-2:]
"""Those that break the rules of an extension."""


def wrong_frames(stage: Stage) -> None:
    """A frame that breaks a rule ends its connection, with the reason, behind what came before."""
    for data, code in stage.random.sample(WRONG, 4):
        deflate = (data, code) in COMPRESSED
        guest = Guest(stage.path, stage.random, deflate=deflate)
        stage.tally["clients"] += 1
        guest.say("before it")
        guest.expect("before it")
        guest.socket.sendall(data)
        found = guest.close_code()
        assert found == code, (data[:40], found)
        with contextlib.suppress(BrokenPipeError):
            guest.socket.sendall(close_frame(1000))
        assert guest.ended()
        guest.socket.close()


def vanishing(stage: Stage) -> None:
    """Clients that are gone in the middle of something."""
    large = frame(BINARY, bytes(200_000), mask=b"\1\2\3\4")
    for _ in range(stage.random.randrange(1, 6)):
        data = request_for("/") + large * 2
        stage.raw(data[: stage.random.randrange(len(data))]).close()


# Those who do not read


def slow_reader(stage: Stage) -> None:
    """A client that reads nothing until there is no room any more."""
    name = f"f{stage.random.randrange(1 << 40):x}"
    count, size = stage.random.choice(((600, 100), (400, 5000), (300, 40_000)))
    guest = Guest(stage.path, stage.random)
    stage.tally["clients"] += 1
    guest.say(f"!flood {name} {count} {size}")
    other = stage.guest()
    # It comes behind: one turn of the server after the other.
    while (answer := _accepted(other, name)) is None:
        pass
    if answer == count:
        assert size * count < 400_000, "all of it had room"
    stage.tally["dropped"] += count - answer
    if stage.random.random() < 0.3:
        guest.socket.close()  # it never reads
    elif stage.closes_slow and answer < count:
        # What was queued may be left out, since it does not read.
        try:
            _numbers(guest, size, answer + 1)
        except Closed as closed:
            assert closed.code == 1008, closed.code  # noqa: PT017 - it need not be raised
        guest.socket.close()
    else:
        assert _numbers(guest, size, answer) == answer
        guest.say("awake")
        guest.expect("awake")
        leave(stage, guest)
    leave(stage, other)


def _accepted(guest: Guest, name: str) -> int | None:
    answer = guest.command(f"!flooded {name}").split()
    return None if answer[1] == "None" else int(answer[1])


def _numbers(guest: Guest, size: int, count: int) -> int:
    """Read so many messages of a flood, whose numbers rise; return how many have come."""
    last = -1
    for _ in range(count):
        message = guest.hear()
        assert isinstance(message, str)
        number, _, payload = message.partition(" ")
        assert int(number) > last, (number, last)
        assert payload == "x" * size
        last = int(number)
    return count


# What handlers do

FAILURES: Final = {"!fail": 1011, "!close 4001": 4001, "!close 1000": 1000}
ASYNC_FAILURES: Final = {"!fail_later": 1011}


def failing_handlers(stage: Stage) -> None:
    """Handlers that raise, and those that close."""
    failures = FAILURES | ASYNC_FAILURES if stage.is_async else FAILURES
    for words, code in failures.items():
        guest = stage.guest()
        stage.exchange(guest, 2, most=1000)
        guest.say(words)
        found = guest.close_code()
        assert found == code, (words, found)
        guest.socket.sendall(close_frame(1000))
        assert guest.ended()
        guest.socket.close()
    guest = stage.guest("/raising-later")
    guest.close()
    guest = stage.guest()
    guest.say("!abort")
    assert guest.ended()
    guest.socket.close()


ANSWERS: Final = {"!fork": "child 7", "!execute": "child 3"}
THREAD_ANSWERS: Final = {"!thread": "from a thread"}
ASYNC_ANSWERS: Final = {
    "!execute_beside": "child 4",
    "!to_thread": "from a thread",
    "!task": "from a task",
}


def working_handlers(stage: Stage) -> None:
    """Handlers that make processes, threads and tasks."""
    guest = stage.guest()
    answers = ANSWERS | (THREAD_ANSWERS if stage.has_threads else {})
    answers |= ASYNC_ANSWERS if stage.is_async else {}
    for words in stage.random.sample(list(answers), min(3, len(answers))):
        assert guest.command(words) == answers[words], words
    leave(stage, guest)


def child_that_returns(stage: Stage) -> None:
    """A child of a handler that comes back from it is ended; the server goes on."""
    guest = stage.guest()
    assert guest.command("!fork_and_return").startswith("child ")
    stage.exchange(guest, 2)
    leave(stage, guest)


def cancelled_handlers(stage: Stage) -> None:
    """Handlers that wait until they are cancelled, for clients that have gone and for others."""
    if not stage.is_async:
        return
    name = f"h{stage.random.randrange(1 << 40):x}"
    guest, other = stage.guest(), stage.guest()
    guest.say(f"!hold {name}")
    for number in range(stage.random.randrange(30)):
        guest.say(f"waiting {number}")
    goes = stage.random.random() < 0.5
    if goes:
        guest.socket.close()
    assert other.command(f"!cancel {name}") == "cancelled"
    if not goes:
        assert guest.close_code() == 1011
        guest.socket.close()
    leave(stage, other)


def streaming_handler(stage: Stage) -> None:
    """A handler that sends much, and waits for room."""
    if not stage.is_async:
        return
    guest = stage.guest()
    count, size = stage.random.choice(((500, 500), (60, 60_000)))
    guest.say(f"!stream {count} {size}")
    if stage.random.random() < 0.2:
        guest.socket.close()
        return
    for number in range(count):
        guest.expect(f"{number} {'x' * size}")
    stage.tally["messages"] += count
    leave(stage, guest)


SCENES: Final[dict[Callable[[Stage], None], int]] = {
    conversation: 8,
    company: 8,
    crowd: 8,
    residents: 4,
    broadcast: 4,
    welcome: 2,
    refused: 4,
    half_heads: 4,
    overdue_head: 1,
    wrong_frames: 4,
    vanishing: 4,
    slow_reader: 2,
    failing_handlers: 2,
    working_handlers: 2,
    child_that_returns: 1,
    cancelled_handlers: 2,
    streaming_handler: 2,
}
"""Each with how often it comes."""
