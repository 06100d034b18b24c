"""Nothing is left behind: descriptors, objects, blocks of memory, over 10,000 connections."""

import gc
import logging
import os
import sys
from collections.abc import Callable
from typing import Final, NamedTuple

from dorrit.engine import Connection, connections_alive, frames_alive, queue_message
from dorrit.protocol.refusal import OPEN_CALLBACK_REFUSED, Refusal, refusal
from tests.support.examples import examples
from tests.support.frames import BINARY, PING, REQUEST, TEXT, close_frame, frame
from tests.support.harness import Client, Harness
from tests.support.narrow import NarrowHarness, in_child

WAVES: Final = examples(50)
WAVE: Final = 200
"""Connections at a time; all waves together are 10,000, or fewer of a slow build."""


class Counted(NamedTuple):
    """What there is of what may leak."""

    descriptors: int
    connections: int
    frames: int
    objects: int
    blocks: int


def count() -> Counted:
    gc.collect()
    return Counted(
        len(os.listdir("/proc/self/fd")),  # noqa: PTH208
        connections_alive(),
        frames_alive(),
        len(gc.get_objects()),
        sys.getallocatedblocks(),
    )


def says_goodbye(harness: Harness, client: Client) -> None:
    client.send(close_frame(1000, "done"))


def goes(harness: Harness, client: Client) -> None:
    client.close()


def is_aborted(harness: Harness, client: Client) -> None:
    client.send(frame(TEXT, b"abort"))


def is_closed(harness: Harness, client: Client) -> None:
    client.send(frame(TEXT, b"close") + close_frame(1000))


def breaks_the_rules(harness: Harness, client: Client) -> None:
    client.send(frame(TEXT, b"\xff"))


def breaks_off(harness: Harness, client: Client) -> None:
    client.send(frame(BINARY, b"f" * 3000)[:2000])
    harness.turn()
    client.close()


def leaves_a_queue(harness: Harness, client: Client) -> None:
    client.send(frame(TEXT, b"flood"))
    harness.turn(2)
    client.close()


def makes_the_callback_raise(harness: Harness, client: Client) -> None:
    client.send(frame(TEXT, b"raise"))


ENDINGS: Final[list[Callable[[Harness, Client], None]]] = [
    says_goodbye,
    goes,
    is_aborted,
    is_closed,
    breaks_the_rules,
    breaks_off,
    leaves_a_queue,
    makes_the_callback_raise,
]


def child_counts() -> None:
    logging.getLogger("dorrit").addHandler(logging.NullHandler())
    logging.getLogger("dorrit").propagate = False
    with NarrowHarness(buffer_size=9000) as harness:
        refused: set[int] = set()

        def on_open(conn: Connection, request: object) -> Refusal | None:
            if len(harness.opened) % 10 != 9:
                return None
            refused.add(id(conn))
            return refusal(*OPEN_CALLBACK_REFUSED)

        def on_message(conn: Connection, binary: bool, payload: bytes) -> None:
            if payload == b"raise":
                raise LookupError("on purpose")
            if payload == b"abort":
                conn.data = [conn]  # a cycle through the user's data
                conn.abort()
            elif payload == b"close":
                conn.close(4000, "closed")
            elif payload == b"flood":
                for _ in range(250):
                    queue_message(conn, False, "flood" * 1000)
            else:
                queue_message(conn, binary, payload)
                queue_message([entry[0] for entry in harness.opened[-3:]], True, b"b" * 20_000)

        harness.open_callback = on_open
        harness.message_callback = on_message

        def wave() -> None:
            for number in range(WAVE):
                client = harness.connect()
                if number % 20 == 7:
                    client.send(REQUEST[:50])
                    harness.turn()
                    client.close()
                    continue
                client.send(REQUEST + frame(TEXT, b"hello") + frame(PING, b"ping"))
                harness.turn()
                client.receive()
                if client.status == 101:
                    ENDINGS[number % len(ENDINGS)](harness, client)
            harness.turn(3)
            assert len(harness.opened) > WAVE // 2
            for client in harness.clients:
                client.close()
            harness.clients.clear()
            harness.settle()
            assert harness.engine.connections == harness.engine.lingering == 0
            accepted = {id(conn) for conn, _ in harness.opened} - refused
            assert {id(conn) for conn, _, _ in harness.closed} == accepted
            refused.clear()
            harness.opened.clear()
            harness.messages.clear()
            harness.closed.clear()

        wave()
        wave()
        before = count()
        for _ in range(WAVES):
            wave()
        after = count()
        assert after[:3] == before[:3], (before, after)
        # Caches of the interpreter may differ by some; 10,000 of anything are not some.
        assert after.objects - before.objects < 100, (before, after)
        assert after.blocks - before.blocks < 500, (before, after)


def test_10_000_connections_open_speak_and_end_in_every_way_without_a_leak() -> None:
    in_child(child_counts)
