"""What can be said of a server before it runs."""

import asyncio
import functools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dorrit
from dorrit import Connection, Reject, Server
from dorrit.api.server import EVENTS, application_of
from dorrit.drive.own_loop import OwnLoop
from dorrit.protocol.refusal import refusal
from dorrit.settings import merge
from dorrit.testing import serve
from tests.support.harness import LogRecords
from tests.support.servers import Servers


def handlers_of(server: Server) -> dict[str, Any]:
    handlers = application_of(server).handlers
    return {event: getattr(handlers, event) for event in EVENTS}


def any_handler(*arguments: object) -> None:
    pass


async def any_async_handler(*arguments: object) -> None:
    pass


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("handler", [any_handler, any_async_handler])
def test_a_decorator_sets_a_handler_and_returns_it(event: str, handler: Any) -> None:
    server = Server("chat")
    assert getattr(server, f"on_{event}")(handler) is handler
    assert handlers_of(server)[event] is handler
    assert application_of(server).is_async is (handler is any_async_handler)


def test_methods_of_a_subclass_are_handlers() -> None:
    class Chat(Server):
        def on_open(self, conn: dorrit.Connection) -> bool:
            return True

        async def on_message(self, conn: dorrit.Connection, message: str | bytes) -> None:
            pass

    chat = Chat("chat", buffer_size=1000)
    found = handlers_of(chat)
    assert found["open"] == chat.on_open
    assert found["message"] == chat.on_message
    assert found["close"] is found["start"] is None
    assert application_of(chat).is_async
    chat.on_close(any_handler)
    assert handlers_of(chat)["close"] is any_handler


def test_a_method_of_a_subclass_of_a_subclass_is_a_handler() -> None:
    class Base(Server):
        def on_message(self, conn: dorrit.Connection, message: str | bytes) -> None:
            pass

    class Chat(Base):
        pass

    assert handlers_of(Chat("chat"))["message"] is not None


@pytest.mark.parametrize(
    ("event", "handler", "called"),
    [
        ("start", lambda conn: None, "()"),
        ("open", lambda: None, "(conn)"),
        ("message", lambda conn: None, "(conn, message)"),
        ("message", lambda conn, binary, message: None, "(conn, message)"),
        ("close", lambda conn: None, "(conn, code, reason)"),
        ("resume", lambda conn: None, "(conn, state)"),
        ("resume", lambda conn, state, begun, more: None, "(conn, state)"),
    ],
)
def test_a_handler_with_other_arguments_is_refused_at_once(
    event: str, handler: Any, called: str
) -> None:
    with pytest.raises(TypeError) as raised:
        getattr(Server(), f"on_{event}")(handler)
    assert f"handler of on_{event}: it is called with {called}" in str(raised.value)
    assert "test_server.py:" in str(raised.value)


def test_a_method_with_other_arguments_is_refused_when_the_server_is_made() -> None:
    class Chat(Server):
        def on_message(self, conn: dorrit.Connection) -> None:
            pass

    with pytest.raises(TypeError, match=r"Chat\.on_message .* \(conn, message\)"):
        Chat("chat")


@pytest.mark.parametrize(
    "handler", [lambda conn, state: None, lambda conn, state, begun: None, any_async_handler]
)
def test_a_resume_handler_takes_two_arguments_or_three(handler: Any) -> None:
    server = Server()
    assert server.on_resume(handler) is handler


def test_a_misspelt_resume_handler_is_refused() -> None:
    class Chat(Server):
        def on_resumed(self, conn: dorrit.Connection, state: bytes | None) -> None:
            pass

    with pytest.raises(TypeError, match="did you mean on_resume"):
        Chat("chat")


@pytest.mark.parametrize("what", [(5,), (any_handler, any_handler)])
def test_a_decorator_takes_one_function(what: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError, match="on_open is a decorator: it takes one function"):
        Server().on_open(*what)


def test_a_decorator_with_parentheses_is_told_to_leave_them_away() -> None:
    with pytest.raises(
        TypeError, match=r"^@app\.on_open has no parentheses: it takes the function"
    ):
        Server().on_open()


def test_a_built_in_that_does_not_say_what_it_takes_is_a_handler() -> None:
    assert Server().on_message(print) is print
    assert Server().on_message(type) is type


def test_a_second_handler_is_refused_with_the_place_of_the_first() -> None:
    server = Server()
    server.on_open(any_handler)
    with pytest.raises(ValueError, match=r"on_open is set already, by any_handler \(.*\.py:\d+\)"):
        server.on_open(any_handler)


class CallableObject:
    async def __call__(self, *arguments: object) -> None:
        pass


@pytest.mark.parametrize(
    "handler", [functools.partial(any_async_handler, 1), CallableObject(), any_async_handler]
)
def test_whatever_is_async_is_seen_as_such(handler: Any) -> None:
    server = Server()
    server.on_message(handler)
    assert application_of(server).is_async


def test_an_async_periodic_function_makes_a_server_async() -> None:
    server = Server()
    assert not application_of(server).is_async
    assert server.every(1)(any_handler) is any_handler
    assert not application_of(server).is_async
    server.every(0.5)(any_async_handler)
    assert application_of(server).is_async


@pytest.mark.parametrize(
    ("seconds", "error"),
    [(0, ValueError), (-1, ValueError), (2e9, ValueError), (float("nan"), ValueError),
     ("1", TypeError), (True, TypeError), (None, TypeError)],
)  # fmt: skip
def test_a_period_is_a_number_of_seconds(seconds: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"period.*every\(\)|every\(\).*period"):
        Server().every(seconds)


def test_a_periodic_function_takes_no_arguments() -> None:
    with pytest.raises(TypeError, match=r"function of every\(\): it is called with \(\)"):
        Server().every(1)(lambda conn: None)


def test_every_takes_its_period_first_then_the_function() -> None:
    with pytest.raises(TypeError, match=r"@app\.every\(30\)\), not function"):
        Server().every(any_handler)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"every\(\) is a decorator: .* not int"):
        Server().every(1)(5)  # type: ignore[type-var]
    assert Server().every(1)(dict.update) is dict.update  # it does not say what it takes


@pytest.mark.parametrize(
    ("name", "error"), [("", ValueError), ("a/b", ValueError), ("a\0", ValueError), (7, TypeError)]
)
def test_R13_a_name_can_be_part_of_a_files_name(name: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="name"):
        Server(name)


def test_a_setting_that_is_none_is_refused_with_what_was_meant() -> None:
    with pytest.raises(TypeError, match="did you mean buffer_size"):
        Server("chat", buffersize=7)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match=r"buffer_size: .*10 to 65540"):
        Server("chat", buffer_size=7)


@pytest.mark.parametrize("event", EVENTS)
def test_a_handler_is_no_setting(event: str, directory: Path) -> None:
    makes: list[Callable[..., Any]] = [Server, functools.partial(serve, Server())]
    if event in ("start", "stop", "resume"):
        makes.append(functools.partial(dorrit.listen, directory / "socket"))
    for make in makes:
        with pytest.raises(
            TypeError, match=rf"on_{event} is not a setting: .* \(@app\.on_{event}\)"
        ):
            make(**{f"on_{event}": any_handler})


@pytest.mark.parametrize("event", EVENTS)
def test_a_handler_can_not_be_assigned(event: str) -> None:
    server: Any = Server("chat")
    with pytest.raises(AttributeError, match=rf"on_{event} can't be assigned.* app\.on_{event}\("):
        setattr(server, f"on_{event}", any_handler)
    assert not any(handlers_of(server).values())
    server.on_something = server.database = 5  # a user's own
    assert server.on_something == server.database == 5


class Forgetful(Server):
    def __init__(self) -> None:
        self.room: set[dorrit.Connection] = set()


def test_a_subclass_that_forgets_to_call_its_class_is_told_so(directory: Path) -> None:
    for use in (
        lambda: Forgetful().on_message(any_handler),
        lambda: Forgetful().every(1)(any_handler),
        lambda: Forgetful().connections,
        lambda: Forgetful().run([]),
        lambda: serve(Forgetful()),
        lambda: dorrit.listen(directory / "socket", Forgetful()),
    ):
        with pytest.raises(
            RuntimeError, match=r"Forgetful\.__init__ must call super\(\)\.__init__"
        ):
            use()
    assert repr(Forgetful()) == "<dorrit server (without a name)>"


def test_what_is_served_is_a_server(directory: Path) -> None:
    serves: list[Callable[[Any], Any]] = [serve, functools.partial(dorrit.listen, directory / "s")]
    for make in serves:
        with pytest.raises(TypeError, match=r"what is served is a dorrit\.Server, not int"):
            make(5)
        with pytest.raises(TypeError, match="Forgetful is a class: serve an object of it"):
            make(Forgetful)


@pytest.mark.parametrize("event", EVENTS)
def test_a_handler_that_would_not_be_called_any_more_is_refused(event: str) -> None:
    app, raised = Server(), []

    @app.on_message
    def said(conn: dorrit.Connection, message: str) -> None:
        try:
            getattr(app, f"on_{event}")(any_handler)
        except (RuntimeError, ValueError) as error:
            raised.append(str(error))
        conn.send("done")

    with serve(app) as server, server.connect() as client:
        client.send("now")
        client.receive()
    if event == "stop":
        assert raised == []
    elif event == "message":
        assert "is set already" in raised[0]
    else:
        assert f"on_{event}: the server runs already, and would not call any_handler" in raised[0]


def test_a_process_is_run_in_the_main_thread_and_not_within_asyncio() -> None:
    app, raised = Server(), []

    def run() -> None:
        with pytest.raises(RuntimeError) as error:
            app.run([])
        raised.append(str(error.value))

    async def run_in_asyncio() -> None:
        run()

    asyncio.run(run_in_asyncio())
    assert "an event loop of asyncio runs here" in raised[0]
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert "main thread" in raised[1]
    assert all("dorrit.listen" in text for text in raised)


def test_the_options_are_no_single_str() -> None:
    with pytest.raises(TypeError, match=r"argv is a list of str, not a str: run\(\['-x'\]\)"):
        Server().run("-x")


def test_what_only_a_running_server_can_do() -> None:
    server = Server()
    assert server.connections == []
    with pytest.raises(RuntimeError, match="does not run"):
        server.call_soon_threadsafe(any_handler)
    assert server.broadcast([], "hello") == 0
    assert repr(server) == "<dorrit server (without a name)>"
    assert repr(Server("chat")) == "<dorrit server chat>"


# Reject


def test_a_rejection_is_an_http_response() -> None:
    error = Reject(401, {"WWW-Authenticate": "Basic"}, '{"who": "é"}')
    assert error.status == 401
    assert isinstance(error, dorrit.DorritError)
    response = error._refusal.response()
    assert response.startswith(b"HTTP/1.1 401 Unauthorized\r\n")
    assert b"\r\nContent-Type: text/plain; charset=utf-8\r\n" in response
    assert response.endswith('\r\n\r\n{"who": "é"}'.encode())
    typed = Reject(400, [("content-type", "application/json")], b"{}")._refusal.response()
    assert b"\r\nContent-Type: application/json\r\n" in typed
    assert typed.count(b"ontent-") == 2
    assert Reject()._refusal.response() == refusal(403, "").response()


@pytest.mark.parametrize("status", [0, 101, 200, 600])
def test_a_status_that_accepts_can_not_reject(status: int) -> None:
    with pytest.raises(ValueError, match=str(status)):
        Reject(status)


def test_a_header_that_would_add_another_is_refused() -> None:
    with pytest.raises(ValueError, match="can't be sent"):
        Reject(403, {"X": "a\r\nSet-Cookie: b"})


def test_what_is_to_be_called_periodically_may_be_added_while_the_server_runs() -> None:
    app, calls = Server(), []

    @app.on_message
    def begin(conn: dorrit.Connection, message: str) -> None:
        app.every(0.001)(functools.partial(calls.append, message))

    with serve(app) as server, server.connect() as client:
        client.send("tick")
        while len(calls) < 3:
            server.run(0.01)
    assert set(calls) == {"tick"}


async def _later() -> None:
    raise AssertionError("it can't run")


def test_a_server_without_async_functions_takes_none_while_it_runs() -> None:
    app = Server()
    loop = OwnLoop(application_of(app), merge({}, {}))
    try:
        loop.start()
        with pytest.raises(RuntimeError, match="add async functions before it runs"):
            app.every(1)(_later)
        with pytest.raises(TypeError, match="none of its own functions is async"):
            app.call_soon_threadsafe(_later)
        called: list[int] = []
        app.call_soon_threadsafe(called.append, 1)
        loop.engine.poll()
        assert called == [1]
    finally:
        loop.close()


def test_one_server_runs_once_at_a_time() -> None:
    app = Server()
    first, second = (OwnLoop(application_of(app), merge({}, {})) for _ in range(2))
    try:
        first.start()
        with pytest.raises(RuntimeError, match="the server runs already"):
            second.start()
    finally:
        second.close()
        first.close()


# Mistakes that nothing would tell


def test_O6_a_method_that_is_named_nearly_as_a_handler_is_refused() -> None:
    class Chat(Server):
        def on_mesage(self, conn: Connection, message: str) -> None: ...

    with pytest.raises(
        TypeError, match=r"^Chat\.on_mesage is not a handler, nothing .* did you mean on_message\?$"
    ):
        Chat()


def test_O6_a_method_that_is_named_as_only_handlers_are_is_refused() -> None:
    class Base(Server):
        def on_quux(self) -> None: ...

    class Chat(Base):
        def helper(self) -> None: ...

    with pytest.raises(
        TypeError,
        match=r"the handlers are on_start, .*, on_close, on_resume, on_subscribed$",
    ):
        Chat()


def test_O6_a_server_without_handlers_does_not_start(servers: Servers) -> None:
    file = servers.directory / "app.py"
    file.write_text("from dorrit import Server\napp = Server()\n")
    run = servers.run(*servers.command(f"{file}:app"))
    assert run.wait() == 1
    assert run.err.startswith("dorrit: the server has no handlers, and would do nothing: ")
    assert run.err.count("\n") == 1


def test_O6_a_server_that_hears_no_messages_says_so(servers: Servers) -> None:
    file = servers.directory / "app.py"
    file.write_text("from dorrit import Server\napp = Server()\n@app.every(10)\ndef f(): ...\n")
    run = servers.start(*servers.command(f"{file}:app")).until_listening()
    assert servers.stop(run) == 0
    assert " WARNING the server has no handler on_message: " in run.err


@pytest.mark.parametrize("what", ['conn.send("x")', 'app.broadcast([conn], "x")', "conn.close()"])
def test_O6_who_awaits_what_is_no_coroutine_is_told(log: LogRecords, what: str) -> None:
    app = Server()
    space: dict[str, object] = {"app": app}
    exec(f"async def said(conn, message):\n await {what}\n", space)
    app.on_message(space["said"])
    with serve(app) as server, server.connect("/") as client:
        client.send("x")
        while "leave out await" not in log.text:
            server.run(0.01)
    assert "TypeError" in log.text
