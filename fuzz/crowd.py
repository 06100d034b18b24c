"""Many clients at once: they connect, send thousands of frames for one read, read and go together.

What a list of connections holds, and in which order they have their turns, shows only with many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fuzz.reference import BINARY, PING, TEXT

if TYPE_CHECKING:
    from dorrit.engine.connection import Connection
    from fuzz.engine import Program, Side

CROWD_MAX: Final = 150
FRAMES_AT_ONCE: Final = 10_000
"""Frames of all clients that one step puts into their outboxes at most."""
STRIDE: Final = 61
"""One in so many of a crowd's callbacks does something: all would use up the input."""


class Largest:
    """What the inputs so far have been, so that a test can tell whether they are large."""

    clients: int = 0
    frames: int = 0
    """That one client has sent at once."""
    crowds: Final[set[int]] = set()
    """How many clients there were when all were read."""


class Crowd:
    """The steps of a program that are for all of its clients, or for some part of them."""

    def __init__(self, program: Program) -> None:
        """Begin without anybody."""
        self.program = program
        self.waits = 0
        """Messages that wait for a handler, from which on their client is paused; 0: none."""
        self._heard = 0
        self._is_large = False

    def step(self) -> None:
        """Let all do the same."""
        program = self.program
        match program.choices.byte() % 8:
            case 0:
                self._connect(program.choices.byte())
            case 1:
                self._send(program.choices.byte(), program.choices.byte())
            case 2:
                program.turn()
                program.turn()
            case 3:
                for side in self._part(program.choices.byte()):
                    side.client.pull(1 << 20)
            case 4:
                self._pause(program.choices.byte())
            case 5:
                self.waits = (0, 1, 2, 16)[program.choices.byte() % 4]
            case 6:
                for side in self._part(program.choices.byte()):
                    if side.connection is not None:
                        program.act(side.connection)
            case _:
                for side in self._part(program.choices.byte() | 1):
                    side.client.close()

    def _part(self, which: int) -> list[Side]:
        """Return all clients, or every second, third or fourth, from the first or second on."""
        return self.program.sides[which >> 2 & 1 :: (which & 3) + 1]

    def _connect(self, count: int) -> None:
        program = self.program
        before = len(program.sides)
        for _ in range(count % CROWD_MAX + 1):
            program.connect(CROWD_MAX)
        new = [side.client for side in program.sides[before:]]
        for client in new[:1]:
            program.ask(client)
        for client in new[1:]:
            client.outbox += new[0].outbox
        for client in new:
            client.push(1 << 20)
        self._is_large |= len(program.sides) > 8
        program.turn()
        Largest.clients = max(Largest.clients, len(program.sides))

    def _send(self, how: int, which: int) -> None:
        """Have many frames sent by each, which are read in one turn."""
        program = self.program
        part = self._part(which)
        if not part:
            return
        count = (1, 20, 255, 256, 257, 300, 520, 4000)[how & 7]
        count = min(count, max(1, FRAMES_AT_ONCE // len(part)))
        first = 0x80 | (TEXT, BINARY, TEXT, PING)[how >> 3 & 3]
        size = (1, 0, 5, 100)[how >> 5 & 3]
        before = len(part[0].client.outbox)
        for _ in range(count):
            program.put_frame(part[0].client, first, b"x" * size)
        block = part[0].client.outbox[before:]
        for side in part:
            if side is not part[0]:
                side.client.outbox += block
            side.client.push(1 << 20)
        Largest.frames = max(Largest.frames, count)
        Largest.crowds.add(len(part))
        program.turn()

    def _pause(self, which: int) -> None:
        program = self.program
        for side in self._part(which):
            if side.connection is not None and not side.pending:
                act = program.pause if which & 8 else program.resume
                act(side, side.connection, b"")

    # Within callbacks

    def lets_act(self) -> bool:
        """Return whether this message's callback is to do something."""
        self._heard += 1
        return not self._is_large or self._heard % STRIDE == 0

    def wait(self, side: Side, connection: Connection) -> None:
        """Have a message wait for its handler, as that of a server with `async` ones does."""
        if self.waits == 0:
            return
        side.waiting += 1
        if side.waiting >= self.waits and connection.is_open:
            self.program.engine.pause(connection)
            side.paused = connection.is_open

    def end_handlers(self) -> None:
        """Let the handlers of some that wait be over, which are read again then."""
        if self.waits == 0:
            return
        for side in self.program.sides:
            if side.waiting >= self.waits and side.connection is not None and not side.pending:
                side.waiting = 0
                if side.paused:
                    side.paused = False
                    self.program.engine.resume(side.connection)
