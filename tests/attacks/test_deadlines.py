"""Deadlines under attack: clients that are told to go and don't, and a server that is to stop."""

import signal
import time

import pytest

from tests.attacks.arena import FEED, KINDS, QUIET, Arena, arena
from tests.support.proc import descriptors
from tests.support.servers import TIMEOUT, Client, Servers, until

CLOSING = """
import dorrit
app = dorrit.Server("closing")

@app.on_message
def said(conn, message):
    conn.send(message)
    if message == "close":
        conn.close(4000)
"""


def test_close_timeout_cuts_off_clients_that_do_not_answer_a_close_frame(servers: Servers) -> None:
    with arena(servers, CLOSING, "--close-timeout", 0.5) as fought:
        before = len(descriptors(fought.run.pid))
        clients = [servers.connect() for _ in range(100)]
        for client in clients:
            assert client.ask("close") == "close"
        fought.honest.go_on_until(lambda _: len(descriptors(fought.run.pid)) <= before)
        for client in clients:
            assert client.close_code() == 4000
            assert client.ended()
            client.socket.close()


def silent_clients(servers: Servers, fought: Arena) -> list[Client]:
    """A hundred clients, while the one that is honest goes on."""
    clients = []
    for _ in range(10):
        clients += [servers.connect() for _ in range(10)]
        fought.honest.exchange()
    return clients


def test_ping_timeout_ends_clients_that_have_gone_silently(servers: Servers) -> None:
    options = ("--ping-interval", 0.25, "--ping-timeout", 2)
    with arena(servers, "object", *options, newcomers=False) as fought:
        before = len(descriptors(fought.run.pid))
        clients = silent_clients(servers, fought)
        fought.honest.go_on_until(lambda _: len(descriptors(fought.run.pid)) <= before)
        assert "nothing came after a ping in the ping timeout" in fought.run.err
        for client in clients:
            assert client.close_code() == 3008
            client.socket.close()


def test_idle_timeout_ends_clients_that_answer_pings_and_say_nothing(servers: Servers) -> None:
    with arena(servers, "five", "--idle-timeout", 2, newcomers=False) as fought:
        before = len(descriptors(fought.run.pid))
        clients = silent_clients(servers, fought)
        fought.honest.go_on_until(lambda _: len(descriptors(fought.run.pid)) <= before)
        assert "no message was exchanged in the idle timeout" in fought.run.err
        for client in clients:
            client.socket.close()


@pytest.mark.parametrize("kind", KINDS)
def test_stop_timeout_bounds_the_end_when_clients_do_not_read(servers: Servers, kind: str) -> None:
    with arena(servers, kind, "--stop-timeout", 1, "--close-timeout", 600) as fought:
        block = b"x" * 60_000
        clients = [servers.connect() for _ in range(20)]
        for client in clients:
            for _ in range(30):
                client.send(block)
        fought.honest.go_on_for(0.5)
        began = time.monotonic()
        fought.run.process.send_signal(signal.SIGTERM)
        assert fought.run.wait() == 0, fought.run.err
        took = time.monotonic() - began
        assert took >= 1, "they have their time"
        assert took < TIMEOUT
        assert not servers.path.exists()
        for client in clients:
            client.socket.close()
        fought.is_over = True


def test_a_second_signal_does_not_wait_for_clients_that_do_not_read(servers: Servers) -> None:
    with arena(servers, "object", "--stop-timeout", 600) as fought:
        clients = [servers.connect() for _ in range(20)]
        fought.run.process.send_signal(signal.SIGTERM)
        for client in clients:
            assert client.close_code() == 1001
        fought.run.process.send_signal(signal.SIGTERM)
        assert fought.run.wait() == 0
        fought.is_over = True


# A feed to clients that do not read


def test_clients_that_do_not_read_a_feed_have_no_effect_on_one_who_does(servers: Servers) -> None:
    said = "more messages are under way than --max-buffered allows"
    # Each of the 500 would have 200 frames of 50,000 bytes queued: 5 GB.
    with arena(servers, FEED, "--max-buffered", 64 << 20, newcomers=False) as fought:
        did = fought.attack(
            "never reading",
            until=lambda: fought.honest.feed > 20 and said in fought.run.err,
            websockets=500,
        )
        assert did["websockets"] == 500
        assert fought.honest.feed > 20
        assert said in fought.run.err
        assert fought.memory_gained < 192 << 20


def test_max_pending_bytes_bounds_what_waits_for_each(servers: Servers) -> None:
    said = "messages for it are left out"
    options = ("--max-pending-bytes", 100_000, "--slow-clients", "refuse")
    with arena(servers, FEED, *options, newcomers=False) as fought:
        did = fought.attack(
            "never reading",
            until=lambda: fought.honest.feed > 20 and said in fought.run.err,
            websockets=500,
        )
        assert did["websockets"] == 500
        assert said in fought.run.err
        # Twice: what waits stands in the ledger of the connections as well.
        assert fought.memory_gained < 2 * 500 * 100_000 + (32 << 20)
        assert fought.honest.feed > 20


def test_slow_clients_close_ends_those_that_do_not_read(servers: Servers) -> None:
    options = ("--max-pending-bytes", 100_000, "--slow-clients", "close")
    with arena(servers, FEED, *options, request=QUIET, newcomers=False) as fought:
        before = len(descriptors(fought.run.pid))
        clients = [servers.connect() for _ in range(50)]
        until(lambda: "it is closed with 1008" in fought.run.err)
        fought.honest.go_on_until(lambda _: len(descriptors(fought.run.pid)) <= before)
        for client in clients:
            client.socket.close()
