"""--max-per-client: connections of one client, by the address that a trusted header gives."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

import pytest

from dorrit import Connection, Reject, Server
from dorrit.api.client_limit import ClientLimit, network_of
from dorrit.api.server import application_of
from dorrit.drive.asyncio_driver import AsyncioDriver
from dorrit.drive.driver import Driver
from dorrit.drive.own_loop import OwnLoop
from dorrit.settings import merge
from dorrit.testing import Client, Closed, Rejected, Serving, serve
from tests.support.frames import REQUEST, close_frame
from tests.support.harness import Harness, LogRecords
from tests.support.servers import FIVE, Servers, request_with
from tests.support.servers import until as until_other_process

TRUST = "X-Real-IP"


def limited(most: int = 2, **settings: Any) -> Server:
    return Server("limited", trust=TRUST, max_per_client=most, **settings)


def counts_of(server: Server) -> dict[str, int]:
    driver = application_of(server).driver
    assert isinstance(driver, Driver)
    limit = driver.lifecycle.observers[0]
    assert isinstance(limit, ClientLimit)
    assert sorted(limit._networks.values()) == sorted(limit._counts.elements())
    return dict(limit._counts)


def connect(serving: Serving, address: str) -> Client:
    return serving.connect("/", headers={"X-Real-IP": address})


def refusal_of(serving: Serving, address: str) -> int:
    with pytest.raises(Rejected) as rejected, connect(serving, address):
        pass
    return rejected.value.status


async def until(condition: Callable[[], object]) -> None:
    """Let the event loop run until what a client's end leads to has happened."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what it waits for has no event
            await asyncio.sleep(0.001)


def until_empty(serving: Serving, server: Server) -> None:
    """Let the server's loop turn until it counts nobody."""

    run(serving, until(lambda: not counts_of(server)))


def run(serving: Serving, coroutine: Any) -> Any:
    return serving._runner.run(coroutine)


# The counting


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("2001:db8::1", "2001:db8::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::1", "10.0.0.1", False),
    ],
)
def test_a_client_is_an_address_or_a_network_of_ipv6(one: str, other: str, same: bool) -> None:
    assert (network_of(one) == network_of(other)) is same


def test_counters_come_and_go(harness: Harness) -> None:
    for _ in range(3):
        harness.open()
    conns = [conn for conn, _ in harness.opened]
    limit = ClientLimit(2)
    assert limit.enter(conns[0], "10.0.0.1") is None
    assert limit.enter(conns[1], "10.0.0.1") is None
    refused = limit.enter(conns[2], "10.0.0.1")
    assert refused is not None
    assert refused.status == 429
    limit.ended(conns[2])  # it was not counted
    assert limit._counts == {"10.0.0.1": 2}
    limit.ended(conns[0])
    limit.ended(conns[0])
    assert limit.enter(conns[2], "10.0.0.1") is None
    limit.ended(conns[1])
    limit.ended(conns[2])
    assert limit._counts == {}
    assert limit._networks == {}


def test_who_is_not_known_is_not_counted_and_0_counts_nobody(
    harness: Harness, log: LogRecords
) -> None:
    harness.open()
    conn = harness.opened[0][0]
    for limit, address in ((ClientLimit(1), None), (ClientLimit(0), "10.0.0.1")):
        for _ in range(3):
            assert limit.enter(conn, address) is None
        assert limit._counts == {}
        # It is said once.
        assert log.text.count("--max-per-client does not hold for a client") == 1


# In a server


def nothing(conn: Connection) -> None:
    pass


async def nothing_later(conn: Connection) -> None:
    await asyncio.sleep(0.002)


@pytest.mark.parametrize("handler", [None, nothing, nothing_later])
def test_one_connection_too_many_is_429_until_one_has_gone(
    handler: Callable[[Connection], Any] | None,
) -> None:
    server = limited()
    if handler is not None:
        server.on_open(handler)
    with serve(server) as serving:
        with contextlib.ExitStack() as stack:
            stack.enter_context(connect(serving, "10.0.0.1"))
            with connect(serving, "10.0.0.1"):
                assert refusal_of(serving, "10.0.0.1") == 429
                # Others are others.
                stack.enter_context(connect(serving, "10.0.0.2"))
                stack.enter_context(connect(serving, "::ffff:10.0.0.3"))
                stack.enter_context(connect(serving, "::ffff:10.0.0.4"))
                assert counts_of(server) == {
                    "10.0.0.1": 2, "10.0.0.2": 1, "10.0.0.3": 1, "10.0.0.4": 1
                }  # fmt: skip
            run(serving, until(lambda: counts_of(server)["10.0.0.1"] == 1))
            stack.enter_context(connect(serving, "10.0.0.1"))
            assert refusal_of(serving, "10.0.0.1") == 429
        until_empty(serving, server)


def test_a_network_of_ipv6_is_one_client() -> None:
    server = limited()
    with serve(server) as serving:
        with (
            connect(serving, "2001:db8::1"),
            connect(serving, "2001:DB8:0:0:9::2"),
            connect(serving, "2001:db8:0:1::1"),
        ):
            assert refusal_of(serving, "2001:db8::3") == 429
            assert counts_of(server) == {"2001:db8::/64": 2, "2001:db8:0:1::/64": 1}
        until_empty(serving, server)


def refuses(conn: Connection) -> bool:
    return False


def rejects(conn: Connection) -> None:
    raise Reject(403)


def raises(conn: Connection) -> None:
    raise LookupError


def returns_nonsense(conn: Connection) -> Any:
    return "yes"


def later(function: Callable[[Connection], Any]) -> Callable[[Connection], Any]:
    async def called(conn: Connection) -> Any:
        await asyncio.sleep(0)
        return function(conn)

    return called


@pytest.mark.parametrize("make", [lambda function: function, later], ids=["plain", "async"])
@pytest.mark.parametrize(
    ("function", "status"), [(refuses, 403), (rejects, 403), (raises, 500), (returns_nonsense, 500)]
)
def test_who_is_refused_by_the_open_callback_is_not_counted(
    log: LogRecords, make: Callable[[Any], Any], function: Any, status: int
) -> None:
    server = limited(1)
    server.on_open(make(function))
    with serve(server) as serving:
        for _ in range(3):
            assert refusal_of(serving, "10.0.0.1") == status
        assert counts_of(server) == {}


def test_an_origin_that_is_refused_is_not_counted() -> None:
    server = limited(1, origin=["https://example.com"])
    with serve(server) as serving:
        for _ in range(3):
            assert refusal_of(serving, "10.0.0.1") == 403
        assert counts_of(server) == {}


@pytest.mark.parametrize("act", ["close", "abort", "raise"])
@pytest.mark.parametrize("make", [lambda function: function, later], ids=["plain", "async"])
def test_who_is_closed_is_counted_no_longer_whatever_the_close_callback_does(
    log: LogRecords, act: str, make: Callable[[Any], Any]
) -> None:
    server = limited(1)

    def end(conn: Connection, message: str | bytes) -> None:
        if act == "raise":
            raise LookupError
        getattr(conn, act)()

    server.on_message(end)

    def fail(conn: Connection) -> None:
        raise LookupError

    if make is later:

        async def fail_later(conn: Connection, code: int, reason: str) -> None:
            await asyncio.sleep(0)
            fail(conn)

        server.on_close(fail_later)
    else:
        server.on_close(lambda conn, code, reason: fail(conn))
    with serve(server) as serving:
        for _ in range(3):
            with connect(serving, "10.0.0.1") as client:
                client.send("end")
                with pytest.raises(Closed):
                    client.receive()
            until_empty(serving, server)


def ends_itself(act: str) -> Callable[[Connection], None]:
    def end(conn: Connection) -> None:
        getattr(conn, act)()

    return end


@pytest.mark.parametrize("act", ["close", "abort"])
@pytest.mark.parametrize("make", [lambda function: function, later], ids=["plain", "async"])
def test_who_is_closed_by_the_open_callback_is_counted_no_longer(
    act: str, make: Callable[[Any], Any]
) -> None:
    server = limited(1)
    server.on_open(make(ends_itself(act)))
    with serve(server) as serving:
        for _ in range(3):
            with contextlib.suppress(Closed), connect(serving, "10.0.0.1") as client:
                client.receive()
            until_empty(serving, server)


def test_who_goes_while_the_open_callback_waits_is_counted_no_longer() -> None:
    server = limited(1)
    waiting: list[Connection] = []
    go_on = asyncio.Event()

    async def wait(conn: Connection) -> None:
        waiting.append(conn)
        await go_on.wait()

    server.on_open(wait)
    with serve(server) as serving:

        async def come_and_go() -> None:
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            loop = application_of(server).driver
            assert loop is not None
            loop.engine.adopt(ours.detach())
            theirs.sendall(REQUEST[:-2] + b"X-Real-IP: 10.0.0.1\r\n\r\n" + close_frame(1000))
            await until(lambda: waiting)
            assert counts_of(server) == {"10.0.0.1": 1}
            theirs.close()
            go_on.set()

        run(serving, come_and_go())
        until_empty(serving, server)


def test_the_command_line_limits_a_server_of_five_functions(servers: Servers) -> None:
    servers.serve(FIVE, "--trust", "X-Forwarded-For", "--max-per-client", 2)
    request = request_with(b"X-Forwarded-For: 10.9.9.9, 10.0.0.1")
    clients = [servers.connect(request) for _ in range(2)]
    refused = servers.connect(request)
    assert refused.status == 429
    # What stands before the right-hand end may be invented.
    assert servers.connect(request_with(b"X-Forwarded-For: 10.0.0.1, 10.9.9.9")).status == 101
    assert clients[0].ask("still there?") == "still there?"
    clients[0].close()
    until_other_process(lambda: servers.connect(request).status == 101)


def test_the_loop_of_a_plain_server_counts_as_well() -> None:
    """`serve` runs everything in an event loop; a server without async functions has none."""
    server = limited(1)
    closed: list[int] = []
    server.on_close(lambda conn, code, reason: closed.append(code))
    application = application_of(server)
    loop = OwnLoop(application, merge({}, application.defaults))
    assert not isinstance(loop, AsyncioDriver)
    loop.start()
    with Harness() as harness:
        harness.engine.close()
        harness.engine = loop.engine
        request = REQUEST[:-2] + b"X-Real-IP: 10.0.0.1\r\n\r\n"
        for code in (1000, 3000):
            client = harness.open(request)
            second = harness.connect()
            second.send(request)
            harness.until(lambda second=second: second.ended)  # type: ignore[misc]
            assert second.status == 429
            assert counts_of(server) == {"10.0.0.1": 1}
            client.send(close_frame(code))
            harness.until(lambda client=client: client.ended)  # type: ignore[misc]
            assert counts_of(server) == {}
        assert closed == [1000, 3000]
        loop.close()
