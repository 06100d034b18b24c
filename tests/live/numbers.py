"""What `traffic.c` sends and wants to have: numbered messages, and numbered answers."""

import ctypes
import faulthandler
import os
import struct
import threading
from collections.abc import Iterator
from typing import Final

from tests.live.overwriting import overwrite_and_crash

ASKED: Final = struct.Struct("!IHH")
"""Number of the message, how many answers it wants, and how large they are."""

ANSWERED: Final = struct.Struct("!IHHQ")
"""Number of the message, of the answer and of the client, and the messages heard of this client."""

COUNT: Final = struct.Struct("!Q")
"""What is saved of a client: the messages heard of it."""

PROGRESS: Final = struct.Struct("!QH")
"""The same, and how many answers to the next message have been sent."""

PERIOD: Final = 256
STEP: Final = 7
# The byte at a place is that of client 0 and message 0 so many places further on: 7 * 183 is 1
# modulo 256.
NUMBER_SHIFT: Final = 31 * 183
CLIENT_SHIFT: Final = 59 * 183
PATTERN: Final = bytes(place * STEP % PERIOD for place in range(PERIOD)) * 240


CRASHES: Final = (b"null", b"abort", b"overflow")
"""Messages that no client of `traffic.c` sends: the server crashes, in that way."""

EXHAUST: Final = b"exhaust memory"
"""Another one: the server takes memory until the kernel ends it."""

EXHAUST_MAX: Final = 1024
"""MiB that it takes at the most: the test sees to it that there are not as many."""

HANG: Final = b"hang"
"""Another one: its handler does not return."""

OVERWRITE: Final = b"overwrite "
"""What another such message begins with; the arguments of `overwrite_and_crash` come behind it."""


def crash_if_told(message: bytes) -> None:
    """Crash if this is one of `CRASHES`, or begins with `OVERWRITE`; so on with the others."""
    if message == b"null":
        ctypes.string_at(0)
    elif message == b"abort":
        os.abort()
    elif message == b"overflow":
        faulthandler._stack_overflow()
    elif message == EXHAUST:
        held = [b"x" * 2**20 for _ in range(EXHAUST_MAX)]
        raise AssertionError(f"{len(held)} MiB are no problem")
    elif message == HANG:
        threading.Event().wait()
    elif message.startswith(OVERWRITE):
        what, seed = message.removeprefix(OVERWRITE).split()
        overwrite_and_crash(what.decode(), int(seed))


def number_of(cookie: str) -> int:
    """Return the number of the client that has this cookie."""
    name, _, number = cookie.partition("=")
    assert name == "client", cookie
    return int(number)


def answers(message: bytes, client: int, heard: int, first: int = 0) -> Iterator[bytes]:
    """Return the answers to a message.

    Args:
        message: What has come.
        client: The number of the client.
        heard: How many messages have come from this client, this one included.
        first: How many of the answers it has already.
    """
    number, wanted, size = ASKED.unpack_from(message)
    begin = (number * NUMBER_SHIFT + client * CLIENT_SHIFT) % PERIOD
    filling = PATTERN[begin + ANSWERED.size : begin + size]
    for index in range(first, wanted):
        yield ANSWERED.pack(number, index, client, heard) + filling
