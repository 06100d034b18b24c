"""Each example of the how-to does what is said about it."""

import asyncio
import hashlib
import inspect
import re
import signal
import sys
from collections.abc import Callable

import pytest
from websockets.asyncio.client import unix_connect

import dorrit
from dorrit import listen
from dorrit.testing import Client, Closed, Rejected, connect, serve
from tests.docs.snippets import ROOT, Snippet, snippet, snippets
from tests.support.frames import PING
from tests.support.harness import LogRecords
from tests.support.servers import Servers, until

HOW_TO = "docs/how-to.md"


def subprotocol(example: Snippet) -> None:
    with serve(example.app()) as server:
        for offered, chosen in [
            (["chat.v1", "chat.v2"], "chat.v2"),
            (["other", "chat.v1"], "chat.v1"),
        ]:
            with server.connect("/", subprotocols=offered) as client:
                client.send("hello")
                assert client.receive() == f"{chosen}: hello"
                assert client.subprotocol == chosen
        for offered in [["other"], []]:
            with pytest.raises(Rejected) as rejected, server.connect("/", subprotocols=offered):
                pass
            assert (rejected.value.status, rejected.value.body) == (
                400,
                b"speak chat.v2 or chat.v1\n",
            )


def refuse(example: Snippet) -> None:
    namespace = example.run()
    with serve(namespace["app"]) as server:
        with pytest.raises(Rejected) as rejected, server.connect("/"):
            pass
        assert rejected.value.status == 401
        assert rejected.value.headers["www-authenticate"] == 'Bearer realm="chat"'
        assert rejected.value.body == b"log in first\n"
        cookies = {"Cookie": "other=1; session=c0ffee"}
        with server.connect("/", headers=cookies) as client:
            client.send("hello")
            assert client.receive() == "Ann said hello"
        namespace["sessions"]["c0ffee"] = "Bob"
        with pytest.raises(Rejected) as rejected, server.connect("/", headers=cookies):
            pass
        assert rejected.value.status == 403


def origin(example: Snippet) -> None:
    with serve(example.app()) as server:
        for accepted in ("http://localhost", "https://www.example.org"):
            with server.connect("/", origin=accepted) as client:
                client.send("hello")
                assert client.receive() == "hello"
        for refused in ("https://example.com", "null", None):
            with pytest.raises(Rejected) as rejected, server.connect("/", origin=refused):
                pass
            assert rejected.value.status == 403
    with serve(example.app(), origin="none") as server, server.connect("/") as client:
        client.send("no browser")
        assert client.receive() == "no browser"


def address(example: Snippet) -> None:
    app = example.app()
    claims = {"X-Forwarded-For": "192.0.2.66, 192.0.2.1"}
    with serve(app, trust="X-Forwarded-For") as server:
        with server.connect("/", headers=claims) as client:
            assert client.receive() == "you are at 192.0.2.1"
        with server.connect("/") as client:
            assert client.receive() == "you are at an unknown place"
    with serve(app) as server, server.connect("/", headers=claims) as client:
        assert client.receive() == "you are at an unknown place"


def rooms(example: Snippet) -> None:
    namespace = example.run()
    with (
        serve(namespace["app"]) as server,
        server.connect("/tea") as one,
        server.connect("/tea") as other,
        server.connect("/coffee") as elsewhere,
    ):
        for client, room in ((one, "tea"), (other, "tea"), (elsewhere, "coffee")):
            assert client.receive() == f"welcome to room:/{room}"
        assert one.receive() == "one more is here"
        one.send("hello")
        assert other.receive() == "hello"
        elsewhere.send("anybody?")
        other.send("hi")
        assert one.receive() == "hi"
        elsewhere.ping()
        with pytest.raises(TimeoutError):
            elsewhere.receive(timeout=0)
        assert namespace["app"].count("room:/tea") == 2


def periodic(example: Snippet) -> None:
    with serve(example.app()) as server, server.connect("/") as client:
        for _ in range(2):
            assert re.fullmatch(r"\d\d:\d\d:\d\d", str(client.receive()))


def thread(example: Snippet) -> None:
    with serve(example.app()) as server, server.connect("/") as one, server.connect("/") as other:
        one.send("begin")
        assert [one.receive(), other.receive()] == ["done", "done"]


def logged(example: Snippet, servers: Servers) -> None:
    file = servers.directory / "chat.py"
    file.write_text(example.text)
    run = servers.start(*servers.command(f"{file}:app")).until_listening()
    client = servers.connect()
    client.send("hello\nforged")
    run.until_logged("INFO chat: somebody said hello\n| forged\n")
    assert servers.stop(run) == 0


def long_work(example: Snippet) -> None:
    app = example.app()
    with serve(app) as server, server.connect("/") as client:
        client.send("hello")
        client.send("again")
        answers = client.receive(), client.receive()
    digest = app._application.handlers.message.__globals__["digest"]  # type: ignore[union-attr]
    assert answers == (digest(b"hello"), digest(b"again"))


def fall_behind(app: dorrit.Server, *readers: Client) -> None:
    """Say so much that who does not read is closed; the others hear all of it."""
    message = b"x" * 60_000
    for _ in range(1000):
        if len(app.connections) == len(readers):
            return
        readers[0].send(message)
        assert all(reader.receive() == message for reader in readers)
    raise AssertionError("nobody is closed")


def read_to_the_end(client: Client) -> int:
    while True:
        try:
            client.receive()
        except Closed as closed:
            return closed.code


def slow(example: Snippet) -> None:
    app = example.app()
    for settings, code in [({}, 1013), ({"slow_clients": "close"}, 1008)]:
        with (
            serve(app, max_pending_bytes=1_000_000, **settings) as server,  # type: ignore[arg-type]
            server.connect("/") as one,
            server.connect("/") as other,
            server.connect("/") as sleeper,
        ):
            fall_behind(app, one, other)
            assert read_to_the_end(sleeper) == code


def send_a_lot(example: Snippet) -> None:
    with serve(example.app()) as server, server.connect("/") as client:
        client.send("5000")
        assert [client.receive() for _ in range(5000)] == [f"line {n}" for n in range(5000)]


def send_a_lot_at_the_start(example: Snippet) -> None:
    names = example.run()
    with serve(names["app"]) as server, server.connect("/") as client:
        assert [client.receive() for _ in range(1000)] == [f"line {n}" for n in range(1000)]
        client.ping()
        assert names["sending"] == set()


def large_messages(example: Snippet) -> None:
    with serve(example.app()) as server:
        with server.connect("/") as client:
            client.send(bytes(16 * 1024 * 1024))
            assert client.receive() == "16777216 bytes"
        with server.connect("/") as client:
            client.send(bytes(16 * 1024 * 1024 + 1))
            assert read_to_the_end(client) == 1009


def compressed(example: Snippet, servers: Servers) -> None:
    path = str(servers.directory / "feed.socket")

    async def talk() -> None:
        async with (
            listen(path, example.app()),
            unix_connect(path, "ws://localhost/") as one,
            unix_connect(path, "ws://localhost/") as other,
            unix_connect(path, "ws://localhost/", compression=None) as plain,
        ):
            await one.send("hello" * 1000)
            for client in (one, other, plain):
                assert await client.recv() == "hello" * 1000
            extensions = [len(client.protocol.extensions) for client in (one, other, plain)]
            assert extensions == [1, 1, 0]

    asyncio.run(talk())


def as_a_class(example: Snippet) -> None:
    app = example.app()
    with serve(app) as server:
        with server.connect("/") as one, server.connect("/") as other:
            one.send("hello")
            assert [one.receive(), other.receive()] == ["hello", "hello"]
        assert app.room == set()  # type: ignore[attr-defined]
    assert app._application.defaults == {"rfc": True, "ping_interval": 20}


def config_file(example: Snippet, servers: Servers) -> None:
    file = servers.directory / "chat.py"
    file.write_text(example.text)
    config = servers.directory / "chat.toml"
    config.write_text('greeting = "welcome"\n')
    servers.start(*servers.command(f"{file}:app", "-f", config)).until_listening()
    with connect(servers.path) as client:
        assert client.receive() == "welcome"


def guest(example: Snippet, servers: Servers) -> None:
    text = example.text.replace("/run/chat/chat.socket", str(servers.path))
    assert text != example.text
    # It has its turn in time though nothing comes: without that there would be no ping.
    text = text.replace("on_message=said)", "on_message=said, ping_interval=0.25)")
    file = servers.directory / "guest.py"
    file.write_text(text)
    run = servers.start(sys.executable, file)
    until(lambda: servers.path.exists() or run.process.poll() is not None, "its start")
    until(servers.is_listening)
    with connect(servers.path) as client:
        client.send("hello")
        assert client.receive() == "hello"
    assert servers.connect().receive().opcode == PING
    servers.stop(run, signal.SIGINT)
    assert run.err.rstrip().endswith("KeyboardInterrupt")
    assert not servers.path.exists()


def processes(example: Snippet, servers: Servers) -> None:
    file = servers.directory / "digest.py"
    file.write_text(example.text)
    run = servers.start(*servers.command(f"{file}:app")).until_listening()
    expected = hashlib.pbkdf2_hmac("sha256", b"hello", b"salt", 10_000).hex()
    clients = [servers.connect() for _ in range(3)]
    for client in clients:
        client.send("hello")
    assert [client.text() for client in clients] == [expected] * 3
    assert servers.stop(run) == 0
    assert "Traceback" not in run.err


def with_pytest(example: Snippet, servers: Servers) -> None:
    (servers.directory / "test_echo.py").write_text(example.text)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error"]
    run = servers.run(*command, cwd=servers.directory)
    assert run.process.returncode == 0, run.out
    assert "4 passed" in run.out


CHECKS: dict[str, Callable[..., None]] = {
    "Choose a subprotocol": subprotocol,
    "Refuse clients": refuse,
    "Accept only your own pages": origin,
    "Know the client's address": address,
    "Send to many, and make rooms": rooms,
    "Do something periodically": periodic,
    "Call in from another thread": thread,
    "Run what takes long": long_work,
    "Run other processes": processes,
    "Deal with slow clients": slow,
    "Send a lot": send_a_lot,
    "Send a lot at the start": send_a_lot_at_the_start,
    "Accept large messages, and limit them": large_messages,
    "Compress messages": compressed,
    "Write it as a class": as_a_class,
    "Log": logged,
    "Read a configuration file": config_file,
    "Serve within a program of asyncio": guest,
    "Serve within any other loop": guest,
    "Test a server with pytest": with_pytest,
}


def test_there_is_a_test_for_every_example() -> None:
    assert [each.heading for each in snippets(HOW_TO, "python")] == list(CHECKS)
    assert {each.language for each in snippets(HOW_TO)} == {"console", "python", "nginx", "haproxy"}


@pytest.mark.parametrize("heading", list(CHECKS))
def test_an_example_does_what_is_said_about_it(
    heading: str, servers: Servers, log: LogRecords
) -> None:
    check = CHECKS[heading]
    example = snippet(HOW_TO, heading)
    if "servers" in inspect.signature(check).parameters:
        check(example, servers)
    else:
        check(example)
    assert "Traceback" not in log.text


def test_who_does_not_answer_a_ping_is_closed_with_3008_and_who_does_stays() -> None:
    app = dorrit.Server("pings")
    codes: list[int] = []

    @app.on_message
    def echo(conn: dorrit.Connection, message: str | bytes) -> None:
        conn.send(message)

    @app.on_close
    def left(conn: dorrit.Connection, code: int, reason: str) -> None:
        codes.append(code)

    with serve(app, ping_interval=0.25, ping_timeout=10) as server, server.connect("/") as client:
        with pytest.raises(TimeoutError):
            client.receive(timeout=1)  # which answers pings meanwhile
        client.send("here")
        assert client.receive() == "here"
        assert codes == []
    codes.clear()
    with serve(app, ping_interval=0.25, ping_timeout=0.25) as server, server.connect("/") as client:
        while not codes:
            server.run(0.05)
        assert read_to_the_end(client) == 3008
    assert codes == [3008]


def test_the_directives_for_nginx_are_those_of_the_configuration_that_is_shipped() -> None:
    shipped = (ROOT / "packaging/nginx/dorrit.conf").read_text().splitlines()
    lines = snippet(HOW_TO, "Put it behind nginx", "nginx").text.splitlines()
    assert {line.strip() for line in lines} <= {line.strip() for line in shipped}


def test_every_section_is_in_the_list_at_the_top() -> None:
    text = (ROOT / HOW_TO).read_text()
    assert re.findall(r"^- \[(.+)\]\(#", text, re.MULTILINE) == re.findall(
        r"^## (.+)$", text, re.MULTILINE
    )
