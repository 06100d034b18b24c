"""Handlers that look plain and are `async`, and generators: what nobody would run is an error."""

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from dorrit import Server
from dorrit.api.server import EVENTS, application_of
from dorrit.drive.own_loop import OwnLoop
from dorrit.settings import merge
from dorrit.testing import Closed, Serving, serve
from tests.support.harness import LogRecords
from tests.support.servers import Servers


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    """What a decorator makes that has not thought of `async` functions."""

    @functools.wraps(function)
    def called(*arguments: Any) -> Any:
        return function(*arguments)

    return called


async def any_async(*arguments: object) -> None:
    raise AssertionError("it can't run")


hidden = decorated(any_async)


def generator(*arguments: object) -> Iterator[None]:
    yield


async def async_generator(*arguments: object) -> AsyncIterator[None]:
    yield


class AsyncGeneratorObject:
    async def __call__(self, *arguments: object) -> AsyncIterator[None]:
        yield


each_generator = pytest.mark.parametrize(
    "function",
    [generator, async_generator, functools.partial(generator, 1), AsyncGeneratorObject()],
)


@each_generator
@pytest.mark.parametrize("event", EVENTS)
def test_a_generator_is_no_handler(event: str, function: Any) -> None:
    app = Server()
    with pytest.raises(TypeError, match=f"can't be the handler of on_{event}: it has a `yield`"):
        getattr(app, f"on_{event}")(function)
    assert getattr(application_of(app).handlers, event) is None


@each_generator
def test_a_generator_is_not_called_periodically(function: Any) -> None:
    with pytest.raises(TypeError, match="can't be the function of every\\(\\): it has a `yield`"):
        Server().every(1)(function)


def turn(app: Server, serving: Serving | None, condition: Callable[[], object]) -> None:
    """Let a server that has no clients run."""
    loop = app._application.driver
    assert loop is not None
    for _ in range(1000):
        if serving is None:
            loop.engine.poll()
        else:
            serving.run(0.001)
        if condition():
            return
    raise AssertionError("it does not come")


def test_a_message_handler_that_did_not_run_closes_with_1011(
    log: LogRecords,
) -> None:
    app = Server()
    app.on_message(hidden)
    with serve(app) as server, server.connect() as client:
        client.send("x")
        with pytest.raises(Closed, match="1011"):
            client.receive()
    assert "the message handler raised TypeError" in log.text
    assert (
        "on_message has returned a coroutine, which nobody awaits: declare the function" in log.text
    )


@pytest.mark.parametrize("message", [None, any_async])
def test_a_close_handler_that_did_not_run_is_an_error(message: Any, log: LogRecords) -> None:
    app = Server()
    if message is not None:
        app.on_message(message)
    app.on_close(hidden)
    with serve(app) as server:
        with server.connect() as client:
            if message is not None:
                client.send("x")  # so that the close handler comes after an async one
        with server.connect():
            pass
    assert log.text.count("the close handler raised TypeError") == 2
    assert "on_close has returned a coroutine" in log.text


def test_a_start_handler_that_did_not_run_ends_the_start() -> None:
    app = Server()
    app.on_start(hidden)
    with pytest.raises(TypeError, match="on_start has returned a coroutine"), serve(app):
        pass
    loop = OwnLoop(application_of(app), merge({}, {}))
    try:
        with pytest.raises(TypeError, match="on_start has returned a coroutine"):
            loop.start()
    finally:
        loop.close()


def test_a_stop_handler_that_did_not_run_is_an_error() -> None:
    app = Server()
    app.on_stop(hidden)
    with pytest.raises(TypeError, match="on_stop has returned a coroutine"), serve(app):
        pass
    loop = OwnLoop(application_of(app), merge({}, {}))
    try:
        loop.start()
        with pytest.raises(TypeError, match="on_stop has returned a coroutine"):
            loop.finish()
    finally:
        loop.close()


def test_a_periodic_function_that_did_not_run_is_an_error(log: LogRecords) -> None:
    app = Server()
    app.every(0.001)(hidden)
    with serve(app) as server:
        turn(app, server, lambda: "the periodic function raised TypeError" in log.text)
    assert "the periodic function has returned a coroutine" in log.text


def test_a_call_from_a_thread_that_did_not_run_is_an_error(log: LogRecords) -> None:
    app = Server()
    loop = OwnLoop(application_of(app), merge({}, {}))
    try:
        loop.start()
        app.call_soon_threadsafe(hidden)
        turn(app, None, lambda: log.text)
    finally:
        loop.close()
    assert "the function of call_soon_threadsafe raised TypeError" in log.text
    assert "the function of call_soon_threadsafe has returned a coroutine" in log.text


def test_a_call_from_a_thread_of_a_generator_is_an_error_in_asyncio(log: LogRecords) -> None:
    app = Server()
    with serve(app) as server:
        app.call_soon_threadsafe(generator)
        turn(app, server, lambda: log.text)
    assert "the function of call_soon_threadsafe has returned a generator" in log.text


def test_a_call_from_a_thread_may_return_a_coroutine_in_asyncio(log: LogRecords) -> None:
    app, done = Server(), []

    async def later() -> None:
        done.append(1)

    with serve(app) as server:
        app.call_soon_threadsafe(decorated(later))
        turn(app, server, lambda: done)
    assert log.text == ""


# The five functions

HIDDEN = """
    def hide(function):
        return lambda *arguments: function(*arguments)

    @hide
    async def {name}(*arguments):
        pass
"""


@pytest.mark.parametrize(
    "name", ["ws_read_callback", "ws_close_callback", "ws_open_callback", "ws_exit_func"]
)
def test_one_of_the_five_that_did_not_run_is_an_error(servers: Servers, name: str) -> None:
    run = servers.serve(HIDDEN.format(name=name))
    client = servers.connect()
    if name == "ws_open_callback":
        assert client.status == 500
    else:
        client.send("x")
        if name == "ws_read_callback":
            assert client.close_code() == 1011
    client.socket.close()
    if name != "ws_exit_func":
        run.until_logged(f"{name} has returned a coroutine")
    assert servers.stop(run) == (1 if name == "ws_exit_func" else 0)
    assert (
        f"TypeError: {name} has returned a coroutine, which nobody awaits: it can't be async"
        in run.err
    )
    assert "never awaited" not in run.err


def test_ws_init_func_that_did_not_run_ends_the_start(servers: Servers) -> None:
    file = servers.write(HIDDEN.format(name="ws_init_func"))
    run = servers.run(*servers.command(file))
    assert run.wait() == 1
    assert "ws_init_func has returned a coroutine" in run.err
