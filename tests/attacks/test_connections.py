"""Attacks by connections: half of them, too many of them, and those that lead to nothing."""

import resource

import pytest

from tests.attacks.arena import KINDS, Arena, arena
from tests.support.proc import descriptors
from tests.support.servers import Client, Servers, request_with, until

each_kind = pytest.mark.parametrize("kind", KINDS)

DESCRIPTORS = 100
LINGERING_MAX = 1024
"""Connections that are over and wait for their end."""


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("five", "slowloris"),
        ("five", "silence"),
        ("async", "silence"),
        ("object", "connect and leave"),
        ("async", "connect and leave"),
        ("object", "large heads"),
        ("five", "half-open closes"),
        ("async", "half-open closes"),
        ("object", "dropped and still there"),
        ("five", "never reading"),
    ],
)
def test_others_still_get_in_and_are_served(servers: Servers, kind: str, name: str) -> None:
    with arena(servers, kind) as fought:
        did = fought.attack(name, connections=51)
        assert did["connections"] > 50
        assert len(fought.under_attack.messages) >= 20
        assert len(fought.under_attack.newcomers) >= 2
        assert fought.memory_gained < 64 << 20


def test_handshake_timeout_ends_requests_that_do_not_come_to_their_end(servers: Servers) -> None:
    with arena(servers, "five", "--handshake-timeout", 0.5) as fought:
        did = fought.attack("slowloris", seconds=4, closed=101)  # they linger for two
        assert did["closed"] > 100
        assert "handshake refused, 408: " in fought.run.err


def test_max_handshakes_turns_away_the_oldest_silent_connections_and_nobody_else(
    servers: Servers,
) -> None:
    with arena(servers, "object", "--max-handshakes", 50) as fought:
        # One that has connected need not have been accepted yet.
        did = fought.attack("silence", connections=101, refused=1)
        assert did["connections"] > 100
        assert "handshake refused, 503: " in fought.run.err
        assert len(fought.under_attack.newcomers) >= 2


def test_max_head_refuses_large_requests(servers: Servers) -> None:
    with arena(servers, "five", "--max-head", 2048) as fought:
        fought.attack("large heads")
        assert "handshake refused, 431: " in fought.run.err


def test_max_connections_is_not_exceeded_and_who_is_in_is_served(servers: Servers) -> None:
    with arena(servers, "object", "--max-connections", 200, newcomers=False) as fought:
        did = fought.attack("occupation", websockets=101, refused=1)
        # The honest one has one place.
        assert did["websockets"] > 100
        assert did["refused"] > 0
        assert "handshake refused, 503: " in fought.run.err
        assert len(fought.under_attack.messages) >= 20
        until(lambda: newcomer_status(servers) == 101, "a place for a newcomer")


def newcomer_status(servers: Servers) -> int:
    client = servers.connect()
    client.socket.close()
    return client.status


def test_max_connections_counts_what_is_there_at_once(servers: Servers) -> None:
    with arena(servers, "object", "--max-connections", 20, newcomers=False) as fought:
        clients = [servers.connect() for _ in range(30)]
        assert [client.status for client in clients] == [101] * 19 + [503] * 11
        fought.honest.go_on_for(0.1)
        for client in clients:
            client.socket.close()


def test_max_per_client_refuses_one_address_and_no_other(servers: Servers) -> None:
    options = ("--trust", "X-Forwarded-For", "--max-per-client", 5)
    honest = request_with(b"X-Forwarded-For: 192.0.2.1")
    with arena(servers, "five", *options, request=honest) as fought:
        attacker = request_with(b"X-Forwarded-For: 192.0.2.1, 198.51.100.7")
        clients = [servers.connect(attacker) for _ in range(40)]
        assert [client.status for client in clients] == [101] * 5 + [429] * 35
        fought.honest.bring_newcomer()
        for client in clients:
            client.socket.close()
        until(lambda: newcomer_of(servers, attacker) == 101, "a place for the same address")


def newcomer_of(servers: Servers, request: bytes) -> int:
    client = servers.connect(request)
    client.socket.close()
    return client.status


@each_kind
def test_without_descriptors_who_is_in_is_served_and_later_everybody(
    servers: Servers, kind: str
) -> None:
    with arena(servers, kind, newcomers=False) as fought:
        # The server has raised its limit already, as it does at its start.
        resource.prlimit(fought.run.pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
        did = fought.attack("occupation", refused=1)
        assert did["refused"] > 0
        assert "no descriptor is left" in fought.run.err
        assert len(fought.under_attack.messages) >= 20
        until(lambda: newcomer_status(servers) == 101, "a descriptor for a newcomer")


def test_connections_that_linger_are_not_more_than_there_are_descriptors_for(
    servers: Servers,
) -> None:
    with arena(servers, "five") as fought:
        most = 0

        def count(fought: Arena) -> int:
            return len(descriptors(fought.run.pid))

        before = count(fought)
        clients: list[Client] = []
        for number in range(1, 2001):
            client = servers.connect()
            client.socket.sendall(b"\x81\xff")  # a frame whose length has its top bit set: no end
            client.socket.sendall(b"\xff" * 8)
            clients.append(client)
            if number % 100 == 0:
                most = max(most, count(fought) - before)
        assert 100 < most <= LINGERING_MAX + 10
        for client in clients:
            client.socket.close()
