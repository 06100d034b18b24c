"""Attacks by what WebSockets send: floods of frames, tiny and large, in pieces and compressed."""

import pytest

from tests.attacks.arena import Arena, arena
from tests.attacks.attackers import DEFLATING, MIB
from tests.support.frames import CLOSE
from tests.support.servers import Servers

RFC = ("--rfc",)
DEFLATE = ("--rfc", "--deflate")

BUDGET = 16 << 20
"""Bytes: the least that --max-buffered takes."""


@pytest.mark.parametrize(
    ("kind", "name", "options"),
    [
        ("five", "byte at a time", ()),
        ("async", "byte at a time", ()),
        ("five", "pings", ()),
        ("async", "pings, pongs not read", ()),
        ("object", "empty pings", ()),
        ("five", "tiny messages", ()),
        ("object", "tiny messages, echoes not read", ()),
        ("async", "tiny messages", ()),
        ("five", "65,535 bytes", ()),
        ("async", "65,535 bytes", ()),
        ("object", "1 MiB messages", RFC),
        ("five", "a million fragments", RFC),
        ("async", "a million fragments", RFC),
        ("object", "a million empty fragments", RFC),
        ("object", "bombs", DEFLATE),
        ("async", "bombs, echoes not read", DEFLATE),
    ],
)
def test_a_flood_of_what_is_allowed_leaves_the_others_their_turn(
    servers: Servers, kind: str, name: str, options: tuple[str, ...]
) -> None:
    with arena(servers, kind, *options) as fought:
        did = fought.attack(name, bytes=1001)
        assert did["bytes"] > 1000
        assert "closed" not in did, "nothing of it is forbidden"
        # Each has its part: one receives a message in each of the server's turns.
        assert len(fought.under_attack.messages) >= 20
        assert fought.memory_gained < 320 << 20, "the default of --max-buffered, and some"


@pytest.mark.parametrize(
    ("kind", "name", "options", "code"),
    [
        ("five", "a million fragments", (), "1003: messages must not be fragmented"),
        ("five", "1 MiB messages", (), "1009: "),
        ("object", "bombs that are too large", DEFLATE, "1009: "),
        ("async", "broken frames", (), "1002: a reserved bit is set"),
    ],
)
def test_a_flood_of_what_is_not_allowed_is_dropped_and_hardly_logged(
    servers: Servers, kind: str, name: str, options: tuple[str, ...], code: str
) -> None:
    with arena(servers, kind, *options) as fought:
        did = fought.attack(
            name, until=lambda: f"client dropped, {code}" in fought.run.err, websockets=4
        )
        assert did["websockets"] >= 4
        assert f"client dropped, {code}" in fought.run.err
        assert fought.memory_gained < 64 << 20


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("five", "65,535 bytes, echoes not read"),
        ("object", "1 MiB messages, echoes not read"),
        ("async", "1 MiB messages, echoes not read"),
    ],
)
def test_max_buffered_bounds_what_clients_that_do_not_read_can_make_the_server_hold(
    servers: Servers, kind: str, name: str
) -> None:
    said = "more messages are under way than --max-buffered allows"
    with arena(servers, kind, "--rfc", "--max-buffered", BUDGET) as fought:
        did = fought.attack(name, until=lambda: said in fought.run.err, bytes=BUDGET + 1)
        assert did["bytes"] > BUDGET
        assert said in fought.run.err
        # Beside the budget: what a read brings before the next look, copies, and the allocator's.
        assert fought.memory_gained < 4 * BUDGET


def test_memory_that_many_messages_took_is_given_back(servers: Servers) -> None:
    with arena(servers, "object") as fought:
        fought.attack(
            "1 MiB messages, echoes not read", until=lambda: fought.memory_gained > 100 << 20
        )
        assert fought.memory_gained > 100 << 20
        assert fought.memory_gained < 384 << 20
        # How little is left is looked at when it is over, as after each attack.


def test_max_message_is_the_end_of_a_message_in_fragments_while_it_comes(servers: Servers) -> None:
    said = "client dropped, 1009: a message must not be larger than 10000"
    with arena(servers, "object", "--max-message", 10_000) as fought:
        did = fought.attack(
            "a million fragments", until=lambda: said in fought.run.err, websockets=4
        )
        assert did["websockets"] >= 4
        assert said in fought.run.err
        assert fought.memory_gained < 16 << 20


def test_max_message_bounds_a_bomb_while_it_is_inflated(servers: Servers) -> None:
    said = "client dropped, 1009: a message must not be larger than"
    options = ("--deflate", "--max-message", MIB)
    with arena(servers, "object", *options, request=DEFLATING) as fought:
        fought.attack("bombs that are too large", until=lambda: said in fought.run.err)
        assert said in fought.run.err
        assert fought.memory_gained < 48 << 20, "a hundredth of what it would have become"


@pytest.mark.parametrize("name", ["tiny messages", "pings", "a million fragments"])
def test_max_message_rate_ends_whoever_sends_too_fast(servers: Servers, name: str) -> None:
    said = "client dropped, 1008: too many messages in a second"
    with arena(servers, "object", "--max-message-rate", 1000) as fought:
        did = fought.attack(name, until=lambda: said in fought.run.err, websockets=4)
        assert did["websockets"] >= 4
        assert said in fought.run.err
        assert_too_fast_is_1008(fought, servers)


def assert_too_fast_is_1008(fought: Arena, servers: Servers) -> None:
    client = servers.connect()
    for _ in range(3000):
        try:
            client.send("too fast")
        except BrokenPipeError:
            break
    while (received := client.receive()).opcode != CLOSE:
        assert received.payload == b"too fast"
    assert received.code == 1008
    client.socket.close()
