"""For the tests of your server: clients, with and without a socket file.

    with dorrit.testing.serve(app) as server, server.connect("/chat") as client:
        client.send("hello")
        assert client.receive() == "hello"

`serve` runs a server within the test: no socket file, no other process. `connect` is a client of
one that runs elsewhere, by its socket. `serve_async` and `connect_async` are the same for tests
that are ``async``. The protocol is that of the package ``websockets``: ``pip install
'dorrit[testing]'``.
"""

import asyncio
import contextlib
import functools
import os
import re
import socket
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Self, TypedDict, TypeVar, TypeVarTuple, Unpack
from weakref import WeakKeyDictionary

from dorrit.api.application import Application
from dorrit.api.server import Server, application_of
from dorrit.drive.asyncio_driver import RunningServer
from dorrit.engine import Connection
from dorrit.errors import DorritError
from dorrit.settings import ServerSettings, Settings, check, check_together, merge
from dorrit.testing.waiting import CONNECT_ASYNC, SERVE_ASYNC, connected, run_async, within

try:
    from websockets.client import ClientProtocol
    from websockets.exceptions import InvalidStatus
    from websockets.frames import Frame, Opcode
    from websockets.uri import parse_uri
except ImportError as _error:
    raise ImportError(
        "dorrit.testing needs the package websockets: pip install 'dorrit[testing]'"
    ) from _error

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "AsyncClient",
    "AsyncServing",
    "Client",
    "ClientOptions",
    "Closed",
    "Rejected",
    "Serving",
    "connect",
    "connect_async",
    "serve",
    "serve_async",
]

TIMEOUT: Final = 5.0
"""Seconds after which what does not come is not waited for any more."""

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")


class Rejected(DorritError):  # noqa: N818 - it is an answer, more than an error
    """The server has refused the connection.

    Attributes:
        status: The HTTP status code.
        headers: The header fields, names in lower case.
        body: The content.
    """

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Take the parts of the response."""
        super().__init__(f"the server answered {status}: {body.decode(errors='replace').strip()}")
        self.status = status
        self.headers = headers
        self.body = body


class Closed(DorritError):  # noqa: N818 - it is a fact, more than an error
    """The connection is over.

    Attributes:
        code: The close code; 1005 if the close frame had none, 1006 if there was no close frame.
        reason: The reason in the close frame.
    """

    def __init__(self, code: int, reason: str) -> None:
        """Take what the close frame says."""
        super().__init__(f"the connection was closed, {code}" + (f": {reason}" if reason else ""))
        self.code = code
        self.reason = reason


class ClientOptions(TypedDict, total=False):
    """What else a client may say in its request.

    Attributes:
        headers: More header fields, or other values for those that there are.
        subprotocols: What the client offers.
        origin: The Origin field; None: none is sent.
    """

    headers: Mapping[str, str] | None
    subprotocols: Sequence[str]
    origin: str | None


class AsyncClient:
    """A client for tests that are ``async``; made by `connect_async` or `AsyncServing.connect`.

    Everything that is sent or received runs the server's event loop, if that is the test's own.
    Pings of the server are answered while the client receives.
    """

    def __init__(
        self,
        make: Callable[[], Awaitable[socket.socket]],
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        subprotocols: Sequence[str] = (),
        origin: str | None = None,
    ) -> None:
        """Describe it; ``async with`` connects."""
        if not re.fullmatch(r"/[^\x00-\x20\x7f#]*", target):
            raise ValueError(f"{target!r} is not a path with a query: /chat?room=7, a space is %20")
        self._make = make
        self._headers = dict(headers or {})
        self._protocol = ClientProtocol(
            parse_uri("ws://localhost" + target),
            origin=origin,  # type: ignore[arg-type]  # a NewType of str
            subprotocols=list(subprotocols) or None,  # type: ignore[arg-type]  # likewise
            max_size=None,
        )
        self._frames: list[Frame] = []
        self._messages: list[str | bytes] = []
        self._pongs = 0

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            Rejected: The server refuses.
            Closed: It ends the connection without an answer.
            TimeoutError: It does not answer.
        """
        self._reader, self._writer = await asyncio.open_unix_connection(sock=await self._make())
        try:
            await self._open()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Close the connection in order, with code 1000, if it is open."""
        try:
            await self.close()
        finally:
            await self._end()

    async def _end(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def _open(self) -> None:
        request = self._protocol.connect()
        for name, value in self._headers.items():
            request.headers.pop(name, None)  # setting one that is there would add a second
            request.headers[name] = value
        self._protocol.send_request(request)
        await self._write()
        async with within(TIMEOUT, "the server did not answer the request"):
            while self._protocol.state.name == "CONNECTING" and not self._protocol.handshake_exc:
                await self._read()
        refused = self._protocol.handshake_exc
        if isinstance(refused, InvalidStatus):
            response = refused.response
            fields = {name.lower(): value for name, value in response.headers.raw_items()}
            raise Rejected(response.status_code, fields, bytes(response.body or b""))
        if refused is not None:
            raise Closed(1006, str(refused)) from refused

    async def _write(self) -> None:
        for data in self._protocol.data_to_send():
            if self._writer.is_closing():
                return  # nobody is there any more; what came before can be read still
            if data:
                self._writer.write(data)
            else:
                self._writer.write_eof()
        with contextlib.suppress(ConnectionError):  # what came before can be read still
            await self._writer.drain()

    async def _read(self) -> None:
        """Wait for something, and take it in.

        Raises:
            Closed: It is the end.
        """
        try:
            data = await self._reader.read(1 << 16)
        except ConnectionError:
            data = b""
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        for event in self._protocol.events_received():
            if isinstance(event, Frame):  # otherwise a response
                self._take(event)
        with contextlib.suppress(ConnectionError):
            await self._write()
        if not data and self._protocol.state.name != "CONNECTING":
            raise self._closed()

    def _check_begun(self) -> None:
        if not hasattr(self, "_reader"):
            raise RuntimeError("the client is not connected: it is in a 'with' block")

    def _check_open(self) -> None:
        self._check_begun()
        if self._protocol.state.name != "OPEN":
            raise self._closed()

    def _closed(self) -> Closed:
        frame = self._protocol.close_rcvd
        return Closed(1006, "") if frame is None else Closed(frame.code, frame.reason)

    def _take(self, frame: Frame) -> None:
        if frame.opcode is Opcode.PONG:
            self._pongs += 1
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return
        self._frames.append(frame)
        if frame.fin:
            payload = b"".join(bytes(frame.data) for frame in self._frames)
            is_text = self._frames[0].opcode is Opcode.TEXT
            self._messages.append(payload.decode() if is_text else payload)
            self._frames.clear()

    async def send(self, message: "str | Buffer") -> None:
        """Send a message: a str as text, anything else with bytes in it as a binary one.

        Raises:
            Closed: The connection is over.
        """
        self._check_open()
        while self._writer.is_closing():
            await self._read()  # up to the end, which says why
        if isinstance(message, str):
            self._protocol.send_text(message.encode())
        else:
            self._protocol.send_binary(bytes(message))
        await self._write()

    async def receive(self, timeout: float = TIMEOUT) -> str | bytes:  # noqa: ASYNC109 - a test names it
        """Return the next message.

        Args:
            timeout: Seconds to wait for it.

        Raises:
            Closed: The connection has ended, and no message is left.
            TimeoutError: None has come.
        """
        self._check_begun()
        async with within(timeout, "nothing came"):
            while not self._messages:
                await self._read()
        return self._messages.pop(0)

    async def ping(self, timeout: float = TIMEOUT) -> None:  # noqa: ASYNC109 - a test names it
        """Send a ping and wait for its pong: then the server has taken what was sent before.

        Raises:
            Closed: The connection has ended.
            TimeoutError: No pong has come.
        """
        self._check_open()
        pongs = self._pongs
        self._protocol.send_ping(b"dorrit.testing")
        await self._write()
        async with within(timeout, "no pong came"):
            while self._pongs == pongs:
                await self._read()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection in order, and wait for its end. Does nothing if it is over.

        Raises:
            TimeoutError: The server does not answer.
        """
        self._check_begun()
        if self._protocol.state.name == "OPEN":
            self._protocol.send_close(code, reason)
            await self._write()
        async with within(TIMEOUT, "the server did not close the connection"):
            with contextlib.suppress(Closed):
                while not self._reader.at_eof():
                    await self._read()

    @property
    def subprotocol(self) -> str | None:
        """What the server has chosen."""
        return self._protocol.subprotocol

    @property
    def close_code(self) -> int | None:
        """The close code that has come, see `Closed`; None while the connection is open."""
        return self._protocol.close_code if self._protocol.state.name == "CLOSED" else None

    @property
    def close_reason(self) -> str:
        """The reason that has come with it."""
        return self._protocol.close_reason or ""


class AsyncServing:
    """A server that runs within a test that is ``async``; made by `serve_async`."""

    def __init__(self, server: Server, settings: Mapping[str, Any]) -> None:
        """Describe it; ``async with`` starts it."""
        # Who runs the tests connects, and nobody else can.
        self._settings = {**settings, "allow_peer": ()}
        self._application = application_of(server)
        merged = self._merged(self._application)
        self._server = RunningServer(self._application, merged, 0, carries=True)
        self._numbers: WeakKeyDictionary[AsyncClient, int] = WeakKeyDictionary()

    def _merged(self, application: Application) -> Settings:
        merged = merge(self._settings, application.defaults)
        check_together(merged)
        return merged

    async def __aenter__(self) -> Self:
        """Start it: the start handler runs.

        Raises:
            RuntimeError: It runs already.
        """
        await self._server.__aenter__()
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Stop it in order; clients that do not read any more are cut off."""
        await self._server.__aexit__(*exception)

    async def reload(self, server: Server | None = None) -> None:
        """Do as ``dorrit reload`` does: all clients stay, and everything else begins anew.

        The stop handler runs, then the start handler, then `Server.on_resume` for each connection,
        or the open handler again. Connections have new objects, without `Connection.data`, and with
        what `Connection.save` has kept. The functions are the same ones: what they keep in
        variables is there still, other than in a real reload, unless the start handler clears it.

        Args:
            server: The new code; None: that of before.

        Raises:
            TypeError: It is not a server.
            StartError: Its settings do not fit each other.
            RuntimeError: The server does not run, or that one runs already.
            BaseException: The start or the stop handler has raised it: the server does not run any
                more, and its clients are cut off.
        """
        application = self._application if server is None else application_of(server)
        if application.driver is not None and application is not self._application:
            raise RuntimeError("the server runs already")
        settings = self._merged(application)
        self._application = application
        await self._server.reload(application, settings)

    async def crash(self, client: AsyncClient | None = None) -> None:
        """Do as a crash of the server does, after which it goes on in the same process.

        Nothing ends in order: the stop handler does not run, and no handler ends. The start handler
        runs, then `Server.on_resume` for each connection, or the open handler again, with what
        `Connection.save` has last kept. What was sent before comes once, and a message whose
        ``async`` handler had begun is given to `Server.on_resume`, or its connection is closed with
        1012. Other than in a real crash, functions keep their variables, and ``async`` handlers
        that run are cancelled, so that their ``finally`` runs; what they send then goes nowhere.

        Args:
            client: Whose handler has crashed: it is closed with 1011. None: it was nobody's.

        Raises:
            ValueError: The client is not connected to this server.
            RuntimeError: The server does not run, or a handler has called this, or there was no
                memory to write connections down.
            BaseException: The start handler has raised it: the server does not run any more, and
                its clients are cut off.
        """
        driver = self._server.driver
        if asyncio.current_task() in driver.stopping.unfinished():
            raise RuntimeError("a handler can't have its own server crash: call it in the test")
        culprit = None
        if client is not None:
            number = self._numbers.get(client)
            for conn in driver.engine.all_connections():
                if conn.number == number:
                    culprit = conn
            if culprit is None:
                raise ValueError("the client is not connected to this server")
        await self._server.crash(culprit)

    def connect(self, target: str = "/", **options: Unpack[ClientOptions]) -> AsyncClient:
        """Return a client of the server, for ``async with``.

        Args:
            target: Path and query of the request; it begins with a slash.
            **options: See `ClientOptions`.
        """

        async def pair() -> socket.socket:
            engine = self._server.driver.engine
            ours, theirs = socket.socketpair()
            ours.settimeout(0)
            theirs.settimeout(0)
            conn = engine.adopt(ours.detach())
            if conn is not None:
                self._numbers[client] = conn.number
            return theirs

        client = AsyncClient(pair, target, **options)
        return client

    @property
    def connections(self) -> list[Connection]:
        """The server's connections that are open."""
        return self._server.driver.engine.open_connections()


class Client:
    """A client for tests that are not ``async``; made by `connect` or `Serving.connect`.

    A server that runs within the test runs only while this client, or another one, does something.
    """

    def __init__(self, client: AsyncClient, runner: asyncio.Runner, *, own: bool) -> None:
        """Describe it; ``with`` connects."""
        self._client = client
        self._runner = runner
        self._own = own

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            Rejected: The server refuses.
            Closed: It ends the connection without an answer.
            TimeoutError: It does not answer.
            OSError: Nobody listens on the socket, which it names.
            RuntimeError: An event loop runs here: `connect_async` is for that.
        """
        try:
            self._do(self._client.__aenter__)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the connection in order, with code 1000, if it is open."""
        try:
            self._do(self._client.__aexit__, *exception)
        finally:
            self._end()

    def _do(
        self,
        function: Callable[[*Arguments], Coroutine[Any, Any, Result]],
        *arguments: *Arguments,
    ) -> Result:
        instead = CONNECT_ASYNC if self._own else SERVE_ASYNC
        return run_async(self._runner, function, *arguments, instead=instead)

    def _end(self) -> None:
        if self._own:
            self._runner.close()

    def send(self, message: "str | Buffer") -> None:
        """Send a message; see `AsyncClient.send`."""
        self._do(self._client.send, message)

    def receive(self, timeout: float = TIMEOUT) -> str | bytes:
        """Return the next message; see `AsyncClient.receive`."""
        return self._do(self._client.receive, timeout)

    def ping(self, timeout: float = TIMEOUT) -> None:
        """Send a ping and wait for its pong; see `AsyncClient.ping`."""
        self._do(self._client.ping, timeout)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection in order; see `AsyncClient.close`."""
        self._do(self._client.close, code, reason)

    @property
    def subprotocol(self) -> str | None:
        """What the server has chosen."""
        return self._client.subprotocol

    @property
    def close_code(self) -> int | None:
        """The close code that has come, see `Closed`; None while the connection is open."""
        return self._client.close_code

    @property
    def close_reason(self) -> str:
        """The reason that has come with it."""
        return self._client.close_reason


class Serving:
    """A server that runs within a test that is not ``async``; made by `serve`.

    It has an event loop of its own, which runs while a client does something.
    """

    def __init__(self, server: Server, settings: Mapping[str, Any]) -> None:
        """Describe it; ``with`` starts it."""
        self._serving = AsyncServing(server, settings)
        self._made: asyncio.Runner | None = None

    def __enter__(self) -> Self:
        """Start it: the start handler runs.

        Raises:
            RuntimeError: It runs already, or an event loop runs here: `serve_async` is for that.
        """
        runner = asyncio.Runner()
        try:
            run_async(runner, self._serving.__aenter__, instead=SERVE_ASYNC)
        except BaseException:
            runner.close()
            raise
        self._made = runner
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop it in order; clients that do not read any more are cut off."""
        runner = self._runner
        try:
            run_async(runner, self._serving.__aexit__, *exception, instead=SERVE_ASYNC)
        finally:
            self._made = None
            runner.close()

    @property
    def _runner(self) -> asyncio.Runner:
        if self._made is None:
            raise RuntimeError("the server does not run: it does in a 'with' block")
        return self._made

    def connect(self, target: str = "/", **options: Unpack[ClientOptions]) -> Client:
        """Return a client of the server, for ``with``; see `AsyncServing.connect`."""
        return Client(self._serving.connect(target, **options), self._runner, own=False)

    def reload(self, server: Server | None = None) -> None:
        """Do as ``dorrit reload`` does: all clients stay; see `AsyncServing.reload`."""
        run_async(self._runner, self._serving.reload, server, instead=SERVE_ASYNC)

    def crash(self, client: Client | None = None) -> None:
        """Do as a crash of the server does, after which it goes on; see `AsyncServing.crash`."""
        crashed = None if client is None else client._client  # noqa: SLF001 - of the same module
        run_async(self._runner, self._serving.crash, crashed, instead=SERVE_ASYNC)

    def run(self, seconds: float) -> None:
        """Let the server run for some time though no client does anything."""
        run_async(self._runner, asyncio.sleep, seconds, instead=SERVE_ASYNC)

    @property
    def connections(self) -> list[Connection]:
        """The server's connections that are open."""
        return self._serving.connections


def serve(server: Server, **settings: Unpack[ServerSettings]) -> Serving:
    """Run a server within the test, without a socket file; ``with`` starts it.

    Args:
        server: The server. It may be run again when the ``with`` block has ended.
        **settings: They go before the server's own, as the command line would.

    Raises:
        TypeError: It is not a server, or there is no such setting.
        ValueError: A setting is out of range.
        StartError: The settings do not fit each other.
    """
    return Serving(server, check(settings))


def serve_async(server: Server, **settings: Unpack[ServerSettings]) -> AsyncServing:
    """Run a server within the event loop of the test; see `serve`."""
    return AsyncServing(server, check(settings))


def connect(
    path: str | os.PathLike[str], target: str = "/", **options: Unpack[ClientOptions]
) -> Client:
    """Return a client of a server that runs elsewhere, for ``with``.

    Args:
        path: Of its socket.
        target: Path and query of the request; it begins with a slash.
        **options: See `ClientOptions`.
    """
    return Client(connect_async(path, target, **options), asyncio.Runner(), own=True)


def connect_async(
    path: str | os.PathLike[str], target: str = "/", **options: Unpack[ClientOptions]
) -> AsyncClient:
    """Return a client of a server that runs elsewhere, for ``async with``; see `connect`."""
    return AsyncClient(functools.partial(connected, path), target, **options)
