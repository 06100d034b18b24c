"""Every public name, used as a server's author and the author of its tests would.

mypy and pyright read this; nothing runs it. What a type checker knows is said by assert_type.
"""

import asyncio
import selectors
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, assert_type

import dorrit
from dorrit import (
    CloseCode,
    Connection,
    DorritError,
    Guest,
    Headers,
    Peer,
    Query,
    Recovered,
    Reject,
    Request,
    Server,
    ServerSettings,
    StartError,
    ws_close_conn,
    ws_get_data,
    ws_publish,
    ws_save,
    ws_set_data,
    ws_set_name,
    ws_set_periodic,
    ws_subscribe,
    ws_unsubscribe,
    ws_write_conn,
)
from dorrit.testing import (
    AsyncClient,
    AsyncServing,
    Client,
    ClientOptions,
    Closed,
    Rejected,
    Serving,
    connect,
    connect_async,
    serve,
    serve_async,
)

assert_type(dorrit.__version__, str)

# A server of functions, plain and async

settings: ServerSettings = {
    # made from the settings: settings
    "buffer_size": 65540,
    "listen": Path("/listen"),
    "max_connections": 16384,
    "user": 0,
    "group": 0,
    "foreground": True,
    "supervise": True,
    "preload": True,
    "no_restart": True,
    "config_file": Path("/config_file"),
    "log_level": "info",
    "log": Path("/log"),
    "log_format": "text",
    "access_log": True,
    "slow_handler": 1,
    "origin": ["same"],
    "trust": None,
    "allow_peer": ["some", 33],
    "health": None,
    "rfc": True,
    "max_message": 1048576,
    "deflate": True,
    "deflate_takeover": "none",
    "deflate_keep_window": True,
    "deflate_window_bits": 15,
    "deflate_from": 128,
    "handshake_timeout": 10,
    "max_head": 65536,
    "max_handshakes": 1024,
    "max_per_client": 0,
    "max_message_rate": 0,
    "close_timeout": 10,
    "stop_timeout": 10,
    "max_buffered": 268435456,
    "slow_clients": "refuse",
    "max_pending_bytes": 0,
    "max_topics": 100,
    "max_publish": 1048576,
    "ping_interval": 0,
    "ping_timeout": 20,
    "idle_timeout": 0,
    "max_lifetime": 0,
    "max_waiting": 16,
    "stop_grace": 5,
    "resume_timeout": 60,
    "event_loop": "auto",
    "keep_requests": True,
    # end of settings
}
app = Server("chat", **settings)
assert_type(Server(origin="same", allow_peer=33, user="www", group="80"), Server)
assert_type(Server(listen="/s", health="/h", trust="Forwarded", close_timeout=10.5), Server)
assert_type(app.name, str | None)
room: set[Connection] = set()


@app.on_start
def begin() -> None:
    room.clear()


@app.on_stop
async def end() -> None:
    await asyncio.sleep(0)


@app.on_open
async def joined(conn: Connection) -> bool:
    request = conn.request
    assert_type(request, Request)
    assert_type(request.path, str)
    assert_type(request.target, str)
    assert_type(request.method, str)
    assert_type(request.key, str)
    assert_type(request.host, str | None)
    assert_type(request.origin, str | None)
    assert_type(request.client, str | None)
    assert_type(request.cookie, str)
    assert_type(request.cookies, MappingProxyType[str, str])
    assert_type(request.get_all("Via"), list[str])
    assert_type(request.subprotocols, tuple[str, ...])
    assert_type(request.select("v2", "v1"), str | None)
    assert_type(request.subprotocol, str | None)
    headers: Headers = request.headers
    assert_type(headers["Host"], str)
    assert_type(headers.get("Host"), str | None)
    assert_type(headers.get_all("Via"), list[str])
    query: Query = request.query
    assert_type(query["room"], str)
    assert_type(query.pairs, tuple[tuple[str, str], ...])
    assert_type(list(query), list[str])
    peer = conn.peer
    assert_type(peer, Peer | None)
    if peer is None or peer.uid == 0:
        raise Reject(401, {"WWW-Authenticate": "Basic"}, "who are you?")
    assert_type(peer.pid, int | None)
    assert_type(peer.gid, int)
    if "user" not in request.cookies:
        raise Reject(302, [("Location", "/login"), ("Set-Cookie", "a=b")], b"")
    room.add(conn)
    conn.data = request.cookies["user"]
    return True


listener: Callable[[str, str | bytes], None] = print


@app.on_topic("room:7")
def hear(topic: str, message: str | bytes) -> None:
    print(topic, message)


@app.on_subscribed
async def stands(conn: Connection, topic: str, recovered: Recovered) -> None:
    assert_type(recovered.complete, bool)


@app.on_message
async def said(conn: Connection, message: str | bytes) -> None:
    assert_type(conn.send(message), bool)
    assert_type(conn.send(bytearray(b"bytes")), bool)
    assert_type(await conn.drain(), None)
    assert_type(app.broadcast(room, message), int)
    assert_type(app.broadcast((one for one in app.connections), memoryview(b"x")), int)
    assert_type(conn.subscribe("room:7"), bool)
    assert_type(conn.topics, frozenset[str])
    assert_type(app.publish("room:7", message), bool)
    assert_type(app.publish("room:7", bytearray(b"bytes"), exclude=conn), bool)
    assert_type(app.count("room:7"), int)
    conn.unsubscribe("room:7")
    assert_type(await conn.subscribed("room:7"), Recovered | None)
    assert_type(app.on_topic("room:7", listener), Callable[[str, str | bytes], None])
    assert_type(conn.is_open, bool)
    assert_type(conn.age, float)
    assert_type(conn.pending, int)
    assert_type(conn.pending_bytes, int)
    assert_type(conn.dropped, int)
    assert_type(conn.number, int)
    assert_type(conn.save(bytearray(b"state")), None)
    assert_type(conn.data, Any)


@app.on_close
def left(conn: Connection, code: int, reason: str) -> None:
    room.discard(conn)
    if code == CloseCode.GOING_AWAY:
        assert_type(CloseCode(code).meaning, str)
    assert_type(conn.saved, bytes)
    conn.close()
    conn.close(CloseCode.TRY_AGAIN_LATER, reason)
    conn.abort()


@app.on_resume
async def again(conn: Connection, state: bytes | None, begun: str | bytes | None) -> None:
    room.add(conn)
    conn.data = state


@app.every(30)
def tick() -> int:
    return app.broadcast(app.connections, "tick")


@app.every(0.5)
async def tock() -> str:
    return "tock"


# What a periodic function is called for otherwise: its own type is kept.
assert_type(tick(), int)
app.call_soon_threadsafe(app.broadcast, app.connections, "from a thread")
app.call_soon_threadsafe(said, next(iter(room)), "async")
assert_type(app.connections, list[Connection])


# A server of methods


class Chat(Server):
    """Plain and async methods, with the arguments of handlers."""

    room: set[Connection]

    def on_start(self) -> None:
        self.room = set()

    async def on_stop(self) -> None:
        self.room.clear()

    def on_open(self, conn: Connection) -> bool | None:
        self.room.add(conn)
        return None

    async def on_message(self, conn: Connection, message: str | bytes) -> None:
        self.broadcast(self.room, message)

    def on_close(self, conn: Connection, code: int, reason: str) -> None:
        self.room.discard(conn)

    def on_resume(self, conn: Connection, state: bytes | None) -> None:
        self.room.add(conn)


chat = Chat("chat", buffer_size=1000)
assert_type(chat.room, set[Connection])


def run(arguments: list[str]) -> None:
    try:
        app.run()
        app.run(arguments)
        dorrit.main()
    except StartError as error:
        assert_type(error.status, int)
    except DorritError as error:
        assert_type(error.args, tuple[Any, ...])


# A guest


async def guest() -> None:
    async with dorrit.listen(
        Path("/run/chat.socket"), on_message=said, on_close=left, on_open=joined, max_waiting=4
    ) as running:
        assert_type(running, Guest)
        assert_type(running.server, Server)
        assert_type(running.connections, list[Connection])
        assert_type(running.path, str)
    async with dorrit.listen("/run/chat.socket", app):
        pass


def guest_elsewhere() -> None:
    with (
        dorrit.listen("/run/chat.socket", on_message=left) as running,
        selectors.DefaultSelector() as selector,
    ):
        selector.register(running, selectors.EVENT_READ)
        selector.register(running.fileno(), selectors.EVENT_READ)
        selector.select(running.timeout())
        running.poll()


# The five functions


def ws_init_func() -> None:
    ws_set_name("chat")
    ws_set_periodic(tick, 30)
    assert_type(dorrit.ws_config_file, str | None)


def ws_open_callback(conn: Connection, cookie: str) -> int:
    ws_set_data(conn, cookie)
    return 0


def ws_read_callback(conn: Connection, binary: bool, data: bytes) -> None:
    assert_type(ws_get_data(conn), Any)
    ws_save(conn, data)
    assert_type(ws_subscribe(conn, "news"), int)
    assert_type(ws_publish("news", binary, data), int)
    assert_type(ws_publish("news", False, "text"), int)
    ws_unsubscribe(conn, "news")
    assert_type(ws_write_conn(room, binary, data), Literal[0, -1, -2])
    assert_type(ws_write_conn(conn, False, "text"), Literal[0, -1, -2])
    ws_close_conn(conn, True)
    ws_close_conn(conn, force=False)


def ws_subscribed_callback(conn: Connection, topic: str, recovered: Recovered) -> None:
    assert_type(recovered.messages, int)
    assert_type(recovered.complete, bool)


def ws_resume_callback(conn: Connection, cookie: str, state: bytes | None) -> None:
    ws_set_data(conn, state)


# Tests


def test_plain() -> None:
    with serve(app, max_waiting=2) as server, server.connect("/chat?room=7") as client:
        assert_type(server, Serving)
        assert_type(server.connections, list[Connection])
        assert_type(client, Client)
        client.send("text")
        client.send(b"binary")
        client.send(memoryview(b"binary"))
        assert_type(client.receive(), str | bytes)
        assert_type(client.receive(timeout=0.5), str | bytes)
        client.ping()
        server.run(0.1)
        server.reload()
        server.reload(app)
        server.crash()
        server.crash(client)
        assert_type(client.subprotocol, str | None)
        client.close(4000, "bye")
        assert_type(client.close_code, int | None)
        assert_type(client.close_reason, str)
    headers: Mapping[str, str] = {"Cookie": "user=Ann"}
    try:
        with connect(
            Path("/run/chat.socket"), "/", headers=headers, subprotocols=["v1"], origin="null"
        ) as client:
            client.ping(timeout=1)
    except Rejected as error:
        assert_type(error.status, int)
        assert_type(error.headers, Mapping[str, str])
        assert_type(error.body, bytes)
    except Closed as error:
        assert_type(error.code, int)
        assert_type(error.reason, str)


options: ClientOptions = {"headers": {}, "origin": "https://example.org"}


async def test_async() -> None:
    async with (
        serve_async(app) as server,
        server.connect(subprotocols=("v1",), origin="https://example.org") as client,
        connect_async("/run/chat.socket", "/", **options) as another,
    ):
        assert_type(server, AsyncServing)
        assert_type(client, AsyncClient)
        await client.send("text")
        assert_type(await client.receive(timeout=1), str | bytes)
        await client.ping(timeout=1)
        await another.close(1000, "bye")
        assert_type(another.close_code, int | None)
        assert_type(another.close_reason, str)
        assert_type(another.subprotocol, str | None)
        assert_type(server.connections, list[Connection])
