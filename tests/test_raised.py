"""What comes out of the user's code, whatever it is and wherever: SystemExit and KeyboardInterrupt
end the server in order, all else is logged and costs one connection."""

import ast
import asyncio
import contextlib
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

import dorrit
import dorrit.api.functions
from dorrit import Connection, Server, raised
from dorrit.api.application import Application
from dorrit.api.functions import CALLBACKS
from dorrit.api.functions import application_of as application_of_functions
from dorrit.api.server import application_of
from dorrit.drive.asyncio_loop import AsyncioLoop
from dorrit.drive.choice import loop_type
from dorrit.drive.own_loop import OwnLoop
from dorrit.settings import merge
from dorrit.testing import serve_async
from tests.support.frames import REQUEST, close_frame
from tests.support.harness import LogRecords
from tests.support.raising import ERRORS, EXITS, NAMES, Cell, UnprintableError, cells
from tests.support.servers import TIMEOUT, Client, Servers, until, until_it_sleeps

BAD = REQUEST.replace(b"/chat", b"/bad")


class Table:
    """A server whose one function of some kind raises, and clients that see what becomes of it.

    Attributes:
        closed: The close codes that the server's close handler was told, in order.
        stopped: Its stop handler has run.
    """

    def __init__(self, cell: Cell, path: Path) -> None:
        self.cell = cell
        self.path = path
        self.listener = socket.socket(socket.AF_UNIX)
        self.armed = threading.Event()
        self.has_raised = threading.Event()
        self.closed: list[int] = []
        self.stopped = False
        self.heard: list[str] = []
        self.clients: list[Client] = []
        self.app = Server("raising", stop_grace=60)

    def fail(self) -> None:
        self.has_raised.set()
        error = ERRORS[self.cell.error]()
        raise error

    # The server

    def handler(self, does: Callable[..., object], style: str) -> Callable[..., Any]:
        """A function that does something, in some style."""

        def plain(*arguments: Any) -> None:
            does(*arguments)

        async def at_once(*arguments: Any) -> None:
            does(*arguments)

        async def later(*arguments: Any) -> None:
            await asyncio.sleep(0)
            await asyncio.sleep(0.001)
            does(*arguments)

        async def after_drain(conn: Connection, message: str) -> None:
            while message == "bad" and conn.send(bytes(60_000)):
                pass
            await conn.drain()
            does(conn, message)

        return {
            "plain": plain,
            "async": at_once,
            "async, later": later,
            "after drain": after_drain,
        }[style]

    def opened(self, conn: Connection) -> None:
        conn.data = conn.request.path
        if self.cell.kind == "open" and conn.data == "/bad":
            self.fail()

    def said(self, conn: Connection, message: str) -> None:
        self.heard.append(message)
        if self.cell.kind == "message" and message == "bad":
            self.fail()
        conn.send(message)

    def left(self, conn: Connection, code: int, reason: str) -> None:
        self.closed.append(code)
        if self.cell.kind == "close" and conn.data == "/bad":
            self.fail()

    def tick(self) -> None:
        if self.cell.kind in {"every", "call"} and self.armed.is_set():
            self.armed.clear()
            self.fail()

    def application(self) -> Application:
        if self.cell.style == "five functions":
            return self.functions()
        app, kind = self.app, self.cell.kind

        def of(one: str, does: Callable[..., object]) -> Callable[..., Any]:
            return self.handler(does, self.cell.style if kind == one else "plain")

        app.on_open(of("open", self.opened))
        app.on_message(of("message", self.said))
        app.on_close(of("close", self.left))
        app.every(0.002)(of("every", self.tick if kind == "every" else lambda: None))
        app.on_stop(self.stop)
        if self.cell.style != "plain":

            @app.every(3600)
            async def makes_an_event_loop() -> None:
                pass

        return application_of(app)

    def stop(self) -> None:
        self.stopped = True

    def functions(self) -> Application:
        def ws_open_callback(conn: Connection, cookie: str) -> None:
            self.opened(conn)

        def ws_read_callback(conn: Connection, binary: bool, data: bytes) -> None:
            self.heard.append(data.decode())
            if self.cell.kind == "message" and data == b"bad":
                self.fail()
            dorrit.ws_write_conn(conn, binary, data)

        def ws_init_func() -> None:
            dorrit.ws_set_periodic(self.tick if self.cell.kind == "every" else lambda: None, 0.002)

        namespace = {
            "ws_open_callback": ws_open_callback,
            "ws_read_callback": ws_read_callback,
            "ws_close_callback": lambda conn: self.left(conn, 0, ""),
            "ws_init_func": ws_init_func,
            "ws_exit_func": self.stop,
        }
        assert set(namespace) == set(CALLBACKS)
        application = application_of_functions(namespace)
        application.init()
        return application

    def run(self) -> BaseException | None:
        """Serve until the clients are done, or the server ends; return what it has ended with."""
        self.listener.bind(os.fspath(self.path))
        self.listener.listen()
        self.listener.setblocking(False)
        self.done = threading.Event()
        thread = threading.Thread(target=self.talk)
        self.failure: BaseException | None = None
        try:
            self.serve(thread)
        except BaseException as error:
            return error
        finally:
            self.done.set()
            thread.join()
            self.listener.close()
            if self.failure is not None:
                raise self.failure
        return None

    def serve(self, thread: threading.Thread) -> None:
        place = self.cell.loop
        if place in {"own", "asyncio", "uvloop"}:
            self.serve_whole(thread)
        elif place == "guest":
            self.serve_guest(thread)
        else:
            factory = uvloop.new_event_loop if place == "guest in uvloop" else None
            with asyncio.Runner(loop_factory=factory) as runner:
                runner.run(self.serve_in_asyncio(thread))

    def serve_whole(self, thread: threading.Thread) -> None:
        application = self.application()
        name = "asyncio" if self.cell.loop == "own" else self.cell.loop
        settings = merge({"event_loop": name}, application.defaults)
        if self.cell.loop == "own":
            loop = loop_type(application, settings)(application, settings)
            assert type(loop) is OwnLoop
        else:
            loop = AsyncioLoop(application, settings)
        self.finish = loop.stop
        try:
            loop.start()
            loop.engine.listen(self.listener.fileno())
            thread.start()
            try:
                loop.run()
            finally:
                loop.shutdown(TIMEOUT)
                loop.finish()
        finally:
            loop.close()
            application.exit()

    def serve_guest(self, thread: threading.Thread) -> None:
        self.listener.close()
        self.path.unlink()
        self.finish = self.done.set
        self.application()
        with dorrit.listen(self.path, self.app) as guest:
            thread.start()
            while not self.done.is_set():
                timeout = guest.timeout()
                select.select([guest], [], [], 0.01 if timeout is None else min(timeout, 0.01))
                guest.poll()

    async def serve_in_asyncio(self, thread: threading.Thread) -> None:
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        self.finish = lambda: loop.call_soon_threadsafe(done.set)
        self.application()
        async with contextlib.AsyncExitStack() as stack:
            if self.cell.loop == "testing":
                serving = await stack.enter_async_context(serve_async(self.app))
                serving._server.driver.engine.listen(self.listener.fileno())
            else:
                self.listener.close()
                self.path.unlink()
                await stack.enter_async_context(dorrit.listen(self.path, self.app))
            thread.start()
            await done.wait()

    # The clients

    def talk(self) -> None:
        try:
            self.look()
        except BaseException as error:
            self.failure = error
        finally:
            for client in self.clients:
                client.socket.close()
            if self.failure is not None or not self.cell.is_exit:  # a second stop hurries
                with contextlib.suppress(RuntimeError):  # it has ended
                    self.finish()

    def connect(self, request: bytes = REQUEST) -> Client:
        client = Client(self.path, request)
        self.clients.append(client)
        return client

    def look(self) -> None:
        cell = self.cell
        other = self.connect()
        assert other.ask("before") == "before"
        seen = self.provoke()
        assert self.has_raised.wait(TIMEOUT), "the function was not called"
        if cell.is_exit:
            # The server ends, in order: 1001, and 503 for who wanted in.
            assert other.close_code() == 1001
            with contextlib.suppress(BrokenPipeError):
                other.socket.sendall(close_frame(1001))
            assert seen == {"open": 503, "message": 1001, "close": 1000}.get(cell.kind)
        else:
            assert seen == {"open": 500, "message": 1011, "close": 1000}.get(cell.kind)
            assert other.ask("after") == "after"
            newcomer = self.connect()
            assert newcomer.ask("new") == "new"
            newcomer.close()
            other.close()

    def provoke(self) -> int | None:
        """Have the function raise; return what the client then sees: a status, or a close code."""
        cell = self.cell
        if cell.kind == "call":
            function = (
                self.tick if cell.style == "five functions" else self.handler(self.tick, cell.style)
            )
            self.armed.set()
            loop = self.app._application.driver
            if cell.style == "five functions":
                loop = dorrit.api.functions._current().driver
            assert loop is not None
            loop.call_soon_threadsafe(function)
            return None
        if cell.kind == "every":
            self.armed.set()
            return None
        victim = self.connect(BAD)
        if cell.kind == "open":
            return victim.status
        if cell.kind == "message":
            victim.send("bad")
            with contextlib.suppress(BrokenPipeError):  # the connection may be over by now
                victim.send("behind")
                if cell.style != "after drain":  # which raises when the client has read it all
                    assert self.has_raised.wait(TIMEOUT), "the function was not called"
                    victim.send("behind")
        else:
            victim.socket.sendall(close_frame(1000))
        seen = victim.close_code()
        with contextlib.suppress(BrokenPipeError):
            victim.socket.sendall(close_frame(1000))
        return seen


@pytest.mark.parametrize("cell", list(cells()), ids=str)
def test_what_a_function_raises(cell: Cell, directory: Path, log: LogRecords) -> None:
    table = Table(cell, directory / "socket")
    ended_with = table.run()
    name = NAMES.get(cell.error, cell.error)
    tracebacks = [
        record
        for record in log.records
        if record.levelno == logging.ERROR and f" raised {name}" in record.getMessage()
    ]
    if cell.is_exit:
        assert type(ended_with).__name__ == cell.error
        assert tracebacks == []
    else:
        assert ended_with is None
        assert len(tracebacks) == 1
        text = log.format(tracebacks[0])
        assert "Traceback" in text
        assert name in text.splitlines()[-1] or cell.error in {"RecursionError", "ExceptionGroup"}
        assert "in fail" in text or cell.error == "RecursionError"
    assert "a fault in dorrit" not in log.text
    assert "behind" not in table.heard
    assert table.stopped
    accepted = {"open": 1, "message": 2, "close": 2}.get(cell.kind, 1) + (not cell.is_exit)
    assert len(table.closed) == accepted, "each client's close handler runs, once"


# The functions that are called before and after all others, in a process of its own

LIFE = """
import contextlib, io, os, sys
from dorrit import Server, ws_write_conn
from dorrit.drive import serving
from dorrit.api.functions import CALLBACKS, application_of as functions
from dorrit.api.server import application_of
from tests.support.raising import ERRORS

kind, path = sys.argv[1:3]

def application(error):
    def fail(*_):
        raise ERRORS[error]()
    async def fail_later(*_):
        await asyncio.sleep(0)
        fail()
    async def end(*_):
        application.driver.stop()
    if kind.startswith("ws_"):
        def periodic():
            made.driver.stop()
        def init():
            import dorrit
            dorrit.ws_set_periodic(periodic, 0.01)
        named = {name: lambda *_: None for name in CALLBACKS} | {"ws_init_func": init}
        made = functions(named | {kind: fail})
        return made
    app = Server("life")
    getattr(app, "on_" + kind.split()[0])(fail_later if kind.endswith("async") else fail)
    made = application_of(app)
    app.every(0.01)(lambda: made.driver.stop())
    return made

import asyncio
for error in ERRORS:
    report, at = os.pipe()
    if (pid := os.fork()) == 0:
        os.dup2(at, 2)
        sys.stderr = open(2, "w", closefd=False)
        try:
            options = {"foreground": True, "listen": path, "user": str(os.geteuid()),
                       "group": str(os.getegid())}
            status = serving.serve(lambda: application(error), options)
        except serving.StartError as raised:
            sys.stderr.write(f"StartError: {raised}")
            status = 10
        except SystemExit as raised:
            status = 20 + raised.code
        except KeyboardInterrupt:
            status = 30
        sys.stderr.flush()
        os._exit(status)
    os.close(at)
    with open(report) as lines:
        text = lines.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    print(repr((error, status, os.path.exists(path), text)))
"""


@pytest.mark.parametrize(
    "kind",
    ["start", "start async", "stop", "stop async", "ws_init_func", "ws_exit_func"],
)
def test_what_a_function_of_the_start_or_of_the_end_raises(kind: str, directory: Path) -> None:
    path = directory / "socket"
    outcome = subprocess.run(
        [sys.executable, "-c", LIFE, kind, str(path)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert outcome.stderr == ""
    lines = [ast.literal_eval(line) for line in outcome.stdout.splitlines()]
    assert [line[0] for line in lines] == list(ERRORS)
    is_start = kind.startswith("start") or kind == "ws_init_func"
    for error, status, left, text in lines:
        name = NAMES.get(error, error)
        assert not left, "the socket is removed"
        if error in EXITS:
            assert status == (23 if error == "SystemExit" else 30), text
            assert "Traceback" not in text
            continue
        assert status == (10 if is_start else 1), text
        assert "Traceback" in text
        assert name in text
        if is_start:
            function = "ws_init_func" if kind == "ws_init_func" else "on_start"
            assert f"StartError: {function} raised {name}" in text


# What is logged, and who can break that


def test_what_can_not_be_formatted_is_logged_as_far_as_it_goes() -> None:
    try:
        lies = ERRORS["LiesAboutItselfError"]()
        raise lies
    except LookupError as error:
        text = raised.traceback_of(error)
    assert "test_what_can_not_be_formatted" in text
    assert text.endswith("LiesAboutItselfError (its text raised Panic)\n")
    assert raised.summary_of(UnprintableError()) == "UnprintableError (its text raised Panic)"
    assert raised.summary_of(KeyError("a")) == "KeyError: 'a'"


def test_a_signal_handler_that_raises_ends_nothing(servers: Servers) -> None:
    run = servers.serve("""
        import signal
        class Panic(BaseException): pass
        def panic(*_): raise Panic
        def ws_init_func(): signal.signal(signal.SIGUSR1, panic)
    """)
    for count in range(1, 4):
        # Not while it writes the record of the one before: that is interrupted by this one.
        until_it_sleeps(run.pid)
        run.process.send_signal(signal.SIGUSR1)
        until(lambda count=count: run.err.count("the signal handler raised Panic") == count)
    assert servers.connect().ask("x") == "x"
    assert servers.stop(run) == 0


EXIT_STATUS = """
    from dorrit import Server
    app = Server("exits")

    @app.on_message
    {kind}def said(conn, message):
        {pause}
        sys.exit(7)

    @app.on_close
    def left(conn, code, reason):
        say("closed", code)

    @app.on_stop
    def stop():
        say("stop")
"""


@pytest.mark.parametrize("kind", ["", "async ", "async, later"])
def test_sys_exit_ends_the_server_in_order_wherever_it_is_called(
    servers: Servers, kind: str
) -> None:
    pause = "import asyncio; await asyncio.sleep(0.001)" if kind == "async, later" else "pass"
    source = EXIT_STATUS.format(kind=kind.replace(", later", " "), pause=pause)
    file = servers.write(source)
    run = servers.start(*servers.command(f"{file}:app")).until_listening()
    one, other = servers.connect(), servers.connect()
    one.send("x")
    assert one.close_code() == other.close_code() == 1001
    for client in (one, other):
        client.socket.close()
    assert run.wait() == 7
    assert run.said == ["closed 1001", "closed 1001", "stop"]
    assert not servers.path.exists()
    assert "Traceback" not in run.err
