"""An engine whose process ends at any store to its ledger.

`python -m tests.engine.every_store N` plays a conversation with everything in it again and again,
in a child each time, and leaves it before another store to the ledger, every N-th of them. What the
next engine makes of the ledger must then be what it would have been before the line of the
conversation that was left, or behind it: for all connections alike, but for those that the ledger
names, whose input was being handled or who was written to, and for one that had just come. The next
engine is left at each of its stores as well, some times.

It needs a build with the option `ledger_steps`, and steps.c preloaded.
"""

import ctypes
import gc
import json
import os
import struct
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

from dorrit.engine import Connection, queue_message
from dorrit.engine.carry_in import descriptors_in
from dorrit.process.exec.memfd import nameless_file
from tests.support.carrying import CarryingHarness
from tests.support.deflating import deflated_frame, offering
from tests.support.forging import HEADER, RECORD, UNIT
from tests.support.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    REQUEST,
    TEXT,
    close_frame,
    frame,
)
from tests.support.harness import Client
from tests.support.narrow import NarrowHarness

LONG: Final = frame(BINARY, bytes(range(250)) * 400)
"""A message that comes in parts, some of which fill parts of the ledger."""

COUNT: Final = 16
"""Where the header of a ledger says how many records there are."""

CURRENT: Final = 28
"""Where it names who is heard, and behind that who is written to."""

RESTORED: Final = 6
"""Of so many lines the next engine is left at each of its stores, too."""

SETTINGS: Final[Mapping[str, Any]] = {
    "rfc": True,
    "deflate": True,
    "max_message": 1 << 20,
    "buffer_size": 9000,
}

View = dict[str, Any]


class SceneHarness(CarryingHarness, NarrowHarness):
    """Connections go on with it, and the kernel keeps little for their clients.

    Attributes:
        sockets: The server's ends of them: inodes, and the descriptors.
    """

    def __init__(self, **settings: Any) -> None:
        self.sockets: dict[int, int] = {}
        super().__init__(**settings)

    def connect(self) -> Client:
        before = descriptors()
        client = super().connect()
        ours = descriptors() - before - {client.socket.fileno()}
        self.sockets |= {os.fstat(one).st_ino: one for one in ours}
        return client


class Scene:
    """The conversation: a server, its clients, and how far it has come.

    Attributes:
        line: The line that is played.
        newcomer: The client that has just come: it may have no record yet.
        rest: What each client has still to send before it can be asked something.
    """

    def __init__(self) -> None:
        self.line = 0
        self.newcomer: int | None = None
        self.rest: dict[int, bytes] = {}
        self.harness, self.file = self.begin()

    # The processes

    def begin(self) -> tuple[CarryingHarness, int]:
        """Return the first one, and the ledger that it leaves."""
        file = nameless_file("ledger")
        harness = self._harness()
        harness.engine.record(file)
        return harness, file

    def leave(self) -> None:
        """End it: close what the handler of a crash does not keep open for the next image."""
        kept = descriptors_in(self.file)
        assert isinstance(self.harness, SceneHarness)
        for inode, descriptor in self.harness.sockets.items():
            is_ours = descriptor in descriptors() and os.fstat(descriptor).st_ino == inode
            if is_ours and descriptor not in kept:
                os.close(descriptor)

    def follow(self) -> CarryingHarness:
        """Return one that goes on with what the first one has left."""
        harness = self._harness()
        harness.engine.carry_in(self.file)
        harness.engine.record(nameless_file("next"))
        return harness

    def _harness(self) -> SceneHarness:
        made = SceneHarness(**SETTINGS)
        made.message_callback = self.heard
        return made

    @property
    def clients(self) -> list[Client]:
        return self.harness.clients

    def conn(self, index: int) -> Connection:
        return self.harness.connection(self.clients[index])

    # The server

    def heard(self, conn: Connection, binary: bool, payload: bytes) -> None:
        everybody = [one for one, _ in self.harness.opened if one.is_open]
        everybody += [one for one, *_ in self.harness.resumed if one.is_open]
        word = payload[:20]
        if word == b"tell all":
            queue_message(conn, binary, b"you say to all")
            queue_message(everybody, binary, b"to all")
            queue_message(conn, binary, b"you have said it")
        elif word == b"tell the next":
            after = everybody[(everybody.index(conn) + 1) % len(everybody)]
            queue_message(after, binary, b"to the next")
        elif word == b"save":
            conn.save(payload)
        elif word == b"flood":
            for number in range(20):
                queue_message(conn, binary, b"%d" % number * 1000)
        elif word == b"close":
            conn.close(4000, "why")
        elif word == b"abort the next":
            everybody[(everybody.index(conn) + 1) % len(everybody)].abort()
        else:
            queue_message(conn, binary, b"%d: " % len(payload) + word)

    # The clients

    def comes(self, request: bytes = REQUEST) -> None:
        self.newcomer = len(self.clients)
        client = self.harness.connect()
        client.send(request)
        self.harness.turn(2)

    def says(self, index: int, data: bytes, rest: bytes = b"") -> None:
        self.rest[index] = rest
        self.clients[index].send(data)
        self.harness.turn(2)

    def says_next(self, index: int, length: int) -> None:
        """Send more of what is left of a message."""
        rest = self.rest[index]
        self.says(index, rest[:length], rest[length:])

    def reads(self, index: int) -> None:
        self.clients[index].receive()
        self.harness.turn(2)

    def goes(self, index: int) -> None:
        self.clients[index].close()
        self.harness.turn(2)

    def news(self) -> None:
        """Something is sent to all that has nothing to do with any of them."""
        queue_message([conn for conn, _ in self.harness.opened if conn.is_open], False, b"news")
        self.harness.turn(2)

    # What has become of them

    def culprits(self) -> list[int]:
        """Who is heard and who is written to, as the ledger has it: their numbers."""
        named = struct.unpack("=II", os.pread(self.file, 8, CURRENT))
        records = self.records()
        return [records[slot - 1][0] for slot in named if 0 < slot <= len(records)]

    def due(self) -> list[int]:
        """Whose end the user is to hear of, as the ledger has it: their numbers."""
        return [number for number, descriptor in self.records() if number and descriptor < 0]

    def records(self) -> list[tuple[int, int]]:
        """The number and the descriptor of each record; 0 for one that is empty."""
        (count,) = struct.unpack("=I", os.pread(self.file, 4, COUNT))
        found = []
        for slot in range(count):
            record = os.pread(self.file, UNIT, HEADER + slot * UNIT)
            used, _, number, _, _, descriptor = RECORD.unpack_from(record)[:6]
            found.append((number if used else 0, descriptor))
        return found

    def view(self) -> View:
        """Have another engine go on, where clients end what they are about, and ask something."""
        left = self.harness
        self.leave()
        self.harness = self.follow()
        leave_before_store(0, NEVER)
        self.harness.clients = left.clients
        for client in self.clients:
            client.harness = self.harness
        self.harness.turn(3)
        self.harness.settle()
        for index, client in enumerate(self.clients):
            if client.status == 101 and not client.ended and not self.is_over(client):
                client.send(self.rest.get(index, b"") + frame(TEXT, b"there?"))
                self.harness.settle()
        seen: View = {}
        for index, client in enumerate(self.clients):
            frames = [[received.opcode, received.payload.hex()[:60]] for received in client.frames]
            seen[str(index + 1)] = [client.status, frames, client.ended]
        conns = [conn for conn, *_ in [*self.harness.resumed, *self.harness.opened]]
        saved = {str(conn.number): (conn.saved or b"").decode() for conn in conns if conn.is_open}
        closed: dict[str, list[int]] = {}
        for conn, code, _ in [*left.closed, *self.harness.closed]:
            closed.setdefault(str(conn.number), []).append(code)
        return {"clients": seen, "saved": saved, "closed": closed}

    def is_over(self, client: Client) -> bool:
        return any(received.opcode == CLOSE for received in client.frames)


def descriptors() -> set[int]:
    """Those that are open."""
    return {number for number in map(int, os.listdir("/proc/self/fd")) if is_open(number)}  # noqa: PTH208


def is_open(descriptor: int) -> bool:
    """Whether it is not the one that the list was read with."""
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def lines() -> list[Callable[[Scene], object]]:
    compressed = deflated_frame(TEXT, b"compressed" * 30)
    return [
        lambda scene: scene.comes(),
        lambda scene: scene.comes(),
        lambda scene: scene.says(0, frame(TEXT, b"hello")),
        lambda scene: scene.says(1, frame(TEXT, b"tell all")),
        lambda scene: scene.comes(offering()),
        lambda scene: scene.says(0, frame(TEXT, b"save"), b""),
        lambda scene: scene.says(0, frame(TEXT, b"tell the next")),
        lambda scene: scene.says(2, compressed),
        lambda scene: scene.says(2, compressed[:10], compressed[10:]),
        lambda scene: scene.says_next(2, 5),
        lambda scene: scene.comes(REQUEST[:30]),
        lambda scene: scene.says(3, REQUEST[30:]),
        lambda scene: scene.says(1, frame(TEXT, b"flood")),
        lambda scene: scene.says(3, frame(TEXT, b"tell all")),
        lambda scene: scene.news(),
        lambda scene: scene.reads(1),
        lambda scene: scene.says_next(2, 1000),
        lambda scene: scene.says(0, LONG[:3], LONG[3:]),
        lambda scene: scene.says_next(0, 40_000),
        lambda scene: scene.says_next(0, 30_000),
        lambda scene: scene.news(),
        lambda scene: scene.reads(1),
        lambda scene: scene.says_next(0, 100_000),
        lambda scene: scene.says(3, frame(PING, b"ping")),
        lambda scene: scene.says(
            3, frame(TEXT, b"frag", fin=False), frame(CONTINUATION, b"ment", fin=True)
        ),
        lambda scene: scene.says_next(3, 3),
        lambda scene: scene.says_next(3, 100),
        lambda scene: scene.says(3, frame(TEXT, b"abort the next")),
        lambda scene: scene.comes(),
        lambda scene: scene.says(4, frame(TEXT, b"close")),
        lambda scene: scene.says(4, close_frame(4000, "why")),
        lambda scene: scene.reads(1),
        lambda scene: scene.says(2, close_frame(1000, "done")),
        lambda scene: scene.news(),
        lambda scene: scene.goes(3),
        lambda scene: scene.reads(1),
        lambda scene: scene.reads(1),
    ]


# Processes

FUNCTION: Final = ctypes.CFUNCTYPE(None)
NEVER: Final = FUNCTION(lambda: None)


def leave_before_store(number: int, function: Any) -> None:
    """Have a function called before the so many-th store from now on; 0: never."""
    ctypes.CDLL(None).leave_before_store(ctypes.c_ulong(number), function)


def stores_left() -> int:
    found = ctypes.CDLL(None).stores_left
    found.restype = ctypes.c_ulong
    return int(found())


def in_child(play: Callable[[Callable[[object], NoReturn]], object]) -> Any:
    """Call a function in a child; return what it passes to its argument, which ends the child."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:

        def tell(found: object) -> NoReturn:
            with os.fdopen(writing, "w") as pipe:
                json.dump(found, pipe)
            os._exit(0)

        try:
            gc.disable()
            play(tell)
        except BaseException:
            traceback.print_exc()
        os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = pipe.read()
    assert os.waitpid(pid, 0)[1] == 0, "the child has failed"
    return json.loads(told)


def view_after(made: type[Scene], count: int) -> View:
    """What is seen when the process ends between two lines."""

    def play(tell: Callable[[object], NoReturn]) -> None:
        scene = made()
        for line in lines()[:count]:
            line(scene)
        tell(scene.view())

    found: View = in_child(play)
    return found


def left_at(made: type[Scene], store: int, restored_at: int = 0) -> dict[str, Any] | None:
    """Leave the conversation before a store to the ledger; return what is seen then.

    Args:
        made: The kind of processes.
        store: Which store, from 1 on.
        restored_at: Before which of its stores the next engine is left as well; 0: it goes on.

    Returns:
        None: there are not so many stores.
    """

    def play(tell: Callable[[object], NoReturn]) -> None:
        scene = made()

        def seen() -> None:
            try:
                tell(
                    {
                        "line": scene.line,
                        "newcomer": newcomer,
                        "culprits": culprits,
                        "due": due,
                        "view": scene.view(),
                    }
                )
            except BaseException:
                traceback.print_exc()
                print(f"store {store}, line {scene.line}: {culprits}", file=sys.stderr)
            os._exit(1)

        def leave() -> None:
            nonlocal newcomer, culprits, due
            try:
                culprits, due = scene.culprits(), scene.due()
                newcomer = scene.newcomer
                if restored_at == 0:
                    seen()
                # What the next engine does to its own ledger is left, and one more goes on.
                leave_before_store(restored_at, again)
                scene.leave()
                scene.follow()
                tell(None)
            except BaseException:
                traceback.print_exc()
            os._exit(1)

        newcomer: int | None = None
        culprits: list[int] = []
        due: list[int] = []
        again, first = FUNCTION(seen), FUNCTION(leave)
        leave_before_store(store, first)
        for number, line in enumerate(lines()):
            scene.line = number
            scene.newcomer = None
            line(scene)
        tell(None)

    found: dict[str, Any] | None = in_child(play)
    return found


def differences(seen: View, expected: View, but: set[str], due: list[int]) -> list[str]:
    """What is not as it was between two lines, but for some connections."""
    found = []
    for key in ("clients", "saved", "closed"):
        for number in sorted((seen[key].keys() | expected[key].keys()) - but):
            ours, theirs = (view[key].get(number) for view in (seen, expected))
            # Nobody knows whether a close callback that is not due any more has begun: it is not
            # called twice.
            has_perhaps_heard = key == "closed" and ours is None and int(number) not in due
            if ours != theirs and not has_perhaps_heard:
                found.append(f"{key} {number}: {ours}, not {theirs}")
    return found


def check(found: dict[str, Any], views: list[View], what: str) -> None:
    but = {str(number) for number in found["culprits"]}
    if found["newcomer"] is not None:
        but.add(str(found["newcomer"] + 1))
    line, due = found["line"], found["due"]
    wrong = [differences(found["view"], views[line + more], but, due) for more in (0, 1)]
    if all(wrong):
        sys.exit(
            "\n".join(
                [
                    f"{what}, line {found['line']}, but for {but}: neither",
                    *wrong[0],
                    "nor",
                    *wrong[1],
                ]
            )
        )
    twice = {number: codes for number, codes in found["view"]["closed"].items() if len(codes) > 1}
    if twice:
        sys.exit(f"{what}: a close callback was called twice: {twice}")


def main(every: int, made: type[Scene] = Scene) -> None:
    """Leave it before each store, or some of them.

    Args:
        every: Before every so many-th.
        made: The kind of processes.
    """
    views = [view_after(made, count) for count in range(len(lines()) + 1)]
    store, tried, named = 1, 0, 0
    restored: set[int] = set()
    while (found := left_at(made, store)) is not None:
        check(found, views, f"store {store}")
        tried += 1
        named = max(named, len(set(found["culprits"])))
        line = found["line"]
        if line not in restored and line % (len(views) // RESTORED) == 5:
            restored.add(line)
            again = 1
            while (second := left_at(made, store, again)) is not None:
                check(second, views, f"store {store}, store {again} of the next")
                again += every
                tried += 1
        store += every
    assert len(restored) >= RESTORED - 1, restored
    assert named <= 2, named
    print(f"{store} stores, left {tried} times")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
