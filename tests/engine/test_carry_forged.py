"""A ledger that somebody has forged costs the connections whose records he has changed, at most."""

import contextlib
import os

import pytest

from dorrit.engine import PENDING, Connection
from dorrit.protocol.handshake import Request
from tests.engine.test_carry import COMPRESSING, deflated
from tests.support.carrying import CarryingHarness
from tests.support.forging import Forger
from tests.support.frames import BINARY, REQUEST, TEXT, close_frame, frame
from tests.support.narrow import NarrowHarness

SEEDS = 60
SPOILED = 7
HONEST = 3


class NarrowCarrying(CarryingHarness, NarrowHarness):
    """Its clients have little room for what they do not read."""


def crowded() -> NarrowCarrying:
    """An engine with connections of all kinds, of which the last ones are ordinary."""
    harness = NarrowCarrying(rfc=True, deflate=True, deflate_takeover="server")

    def opened(conn: Connection, request: Request) -> object:
        conn.save(b"state")
        conn.subscribe("room")
        conn.subscribe("ü" * 100)
        return PENDING if request.path == "/later" else None

    harness.open_callback = opened  # type: ignore[assignment]
    clients = [harness.open(COMPRESSING) for _ in range(SPOILED - 2)]
    closing, _, queued, sending, _ = (conn for conn, _ in harness.opened)
    closing.close(4000, "bye")
    clients[1].says_goodbye = False
    clients[1].send(frame(TEXT, b"\xff"))
    for _ in range(20):
        queued.send(os.urandom(1000))
        sending.send("text " * 50)
    clients[3].send(frame(TEXT, b"x" * 300)[:200])
    clients[4].send(frame(BINARY, deflated(b"y" * 900), reserved=4)[:9])
    harness.connect().send(REQUEST.replace(b"/chat", b"/later") + frame(TEXT, b"z"))
    harness.connect().send(REQUEST[:50])
    harness.turn(3)
    return harness


@pytest.mark.parametrize("seed", range(SEEDS))
def test_L8_a_forged_record_costs_its_connection_at_most(seed: int) -> None:
    before = crowded()
    honest = [before.open(REQUEST) for _ in range(HONEST)]

    def forge(file: int) -> None:
        forger = Forger(file, seed)
        numbers = [conn.number for conn in before.engine.all_connections()]
        assert numbers == []  # they have been carried out
        for slot in range(SPOILED):
            forger.spoil(slot)

    after = before.next(forge, rfc=True, deflate=True, max_handshakes=4)
    taken, lost = after.carried
    assert taken + lost == SPOILED + HONEST
    assert lost <= SPOILED
    # What the others get may be anything: nobody reads it as frames.
    spoiled = after.clients[:SPOILED]
    after.clients = honest
    for client in honest:
        client.send(frame(TEXT, b"honest"))
    after.until(lambda: [p for *_, p in after.messages].count(b"honest") == HONEST)
    for conn, *_ in after.resumed:
        conn.send("to everybody")
    after.settle()
    for client in spoiled:
        with contextlib.suppress(OSError):
            client.socket.send(close_frame(1000))
    after.turn(3)
    after.engine.shutdown(0)
    for client in spoiled:
        client.close()
    after.close()
