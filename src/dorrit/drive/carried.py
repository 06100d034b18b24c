"""Takes the connections that the last image has carried out, as far as its ledger tells of them."""

import os
import socket
import stat
from collections.abc import Iterable
from contextlib import suppress
from signal import Signals
from typing import Final

from dorrit.engine import Engine
from dorrit.engine.carry_in import descriptors_in
from dorrit.process.exec.descriptors import inheritable_descriptors
from dorrit.process.exec.handover import Handover
from dorrit.process.exec.memfd import unshrinkable_file
from dorrit.process.fork import children
from dorrit.protocol.closing import CloseCode

CRASHED: Final = CloseCode.INTERNAL_ERROR
"""What a client is told whose input was being handled when the server crashed."""

PIECE: Final = 1 << 20
"""Bytes that are written at a time to see whether there is room for them."""

KILLED: Final = CloseCode.SERVICE_RESTART
"""And when somebody else ended it."""


def carry_in(engine: Engine, handover: Handover) -> tuple[int, int]:
    """Have an engine take the connections of a handover; the others are ended.

    The handover says which descriptors are connections, also where the record of one is damaged:
    its client would otherwise wait for somebody who does not know of it.

    Args:
        engine: It has had no client yet.
        handover: It has a ledger.

    Returns:
        How many connections go on, and how many are lost; see `Engine.carry_in`.

    Raises:
        ValueError: It is not a ledger that this release reads; all connections have been ended.
        OSError: It can't be read; all connections have been ended.
    """
    assert handover.ledger is not None
    try:
        if handover.elsewhere:
            code = KILLED if handover.signal is Signals.SIGKILL else CRASHED
            # Among the carried are some that nobody has taken yet: see `Worker.take`.
            return engine.carry_in(handover.ledger, handover.carried, code)
        taken, lost = engine.carry_in(handover.ledger)
    except (OSError, ValueError):
        if not handover.elsewhere:
            cut_off(handover.carried)
        raise
    if lost:
        cut_off(engine.without_connection(handover.carried))
    return taken, lost


class Ledger:
    """The file that an engine writes its connections down in, in case of a crash.

    Attributes:
        descriptor: Its descriptor.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        """Make it; a process that the server forks does not have it.

        Args:
            descriptor: Of an empty file, which is used, and owned from here on.

        Raises:
            OSError: There is no memory for it.
        """
        self.descriptor: int = (
            unshrinkable_file("connections") if descriptor is None else descriptor
        )
        children.hold(self)

    def let_go(self) -> None:
        """Close it; nothing happens when it is closed already."""
        if self.descriptor != -1:
            os.close(self.descriptor)
            self.descriptor = -1


def check_room(engine: Engine) -> None:
    """Have as much memory as connections take that are carried out, and give it back.

    Raises:
        OSError: There is no room. Whoever hears of it before anything has ended can go on.
    """
    room = engine.room_to_carry
    with os.fdopen(unshrinkable_file("connections"), "wb") as file:
        for begin in range(0, room, PIECE):
            file.write(bytes(min(PIECE, room - begin)))


def after_crash(handover: Handover) -> Handover:
    """Return what a crash has left, with the connections that the ledger tells of by now.

    Args:
        handover: Was made before the crash, and before the connections.
    """
    if handover.ledger is None or handover.carried or handover.elsewhere:
        return handover
    try:
        return handover.carrying(handover.ledger, descriptors_in(handover.ledger))
    except (OSError, ValueError):
        # Whoever takes them says why there are none, and ends what the crash has left open.
        if handover.signal is None:
            return handover  # there was none: a test plays it
        known = {*handover.descriptors, *handover.untouched}
        return handover.carrying(handover.ledger, set(inheritable_descriptors()) - known)


def cut_off(descriptors: Iterable[int]) -> None:
    """End connections that nothing is known of but their sockets.

    Args:
        descriptors: What they were; one that is something else by now is left alone.
    """
    for descriptor in descriptors:
        with suppress(OSError):
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                with socket.socket(fileno=descriptor) as connection:
                    connection.shutdown(socket.SHUT_RDWR)
