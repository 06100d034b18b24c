"""Guest: a server within a program that has its own event loop."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

from dorrit.api.application import Application
from dorrit.api.server import Server, application_of
from dorrit.drive.driver import Driver
from dorrit.drive.own_loop import OwnLoop
from dorrit.engine import Connection
from dorrit.process.files.listener import Listener
from dorrit.process.fork import children
from dorrit.settings import ServerSettings, check_together, merge

if TYPE_CHECKING:
    from dorrit.drive.asyncio_driver import RunningServer  # only servers in asyncio load it


class Guest:
    """A server that lives in somebody else's program; made by `listen`.

    In a program of asyncio, ``async with`` serves until its block ends. Anywhere else, ``with``
    makes the server, and the program calls `poll` whenever `fileno` is readable or `timeout` has
    passed.

    Attributes:
        server: Its `Server`, for ``server.broadcast`` and the like.
    """

    def __init__(self, application: Application, server: Server, path: str) -> None:
        """Describe it; nothing is made before the ``with`` block begins."""
        self.server = server
        self._application = application
        self._settings = merge({}, application.defaults)
        check_together(self._settings)
        self._path = path
        self._driver: Driver | None = None
        self._listener: Listener | None = None
        self._running_server: RunningServer | None = None

    # In asyncio

    async def __aenter__(self) -> Self:
        """Listen, in the event loop that runs.

        Raises:
            StartError: The socket can't be made.
            RuntimeError: The server runs already.
        """
        from dorrit.drive.asyncio_driver import RunningServer

        server = RunningServer(
            self._application, self._settings, self._settings.stop_timeout, carries=False
        )
        await server.__aenter__()
        self._running_server, self._driver = server, server.driver
        try:
            self._listen(server.driver)
            assert self._listener is not None
            children.hold(self._listener)
        except BaseException as error:
            # What the start handler made, the other one ends.
            await self.__aexit__(type(error), error, None)
            raise
        return self

    async def __aexit__(self, *exception: object) -> None:
        """End all connections in order, and remove the socket."""
        assert self._running_server is not None
        try:
            await self._running_server.__aexit__(*exception)
        finally:
            self._end()

    # Anywhere else

    def __enter__(self) -> Self:
        """Listen; the program polls.

        Raises:
            StartError: The socket can't be made.
            RuntimeError: The server runs already.
            TypeError: A handler is `async`: that needs ``async with``.
        """
        if self._application.is_async:
            raise TypeError("a server with async handlers is entered by 'async with', in asyncio")
        loop = OwnLoop(self._application, self._settings, carries=False)
        try:
            loop.start()
        except BaseException:
            loop.close()
            raise
        self._driver = loop
        try:
            self._listen(loop)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        """End all connections in order, which may take some seconds, and remove the socket."""
        loop = self._running
        assert isinstance(loop, OwnLoop)
        loop.engine.own()
        try:
            if loop.engine.is_forked:
                return  # a handler has forked this process: its clients are its parent's
            loop.shutdown(self._settings.stop_timeout)
            loop.finish()
        finally:
            loop.close()
            self._end()

    def fileno(self) -> int:
        """Return the descriptor that is readable when `poll` has something to do."""
        return self._running.engine.fileno()

    def timeout(self) -> float | None:
        """Return the seconds until `poll` should be called though `fileno` is not readable.

        None: never. To be asked anew after each `poll`.
        """
        return self._running.engine.timeout()

    def poll(self) -> None:
        """Do what there is to do, without waiting; handlers are called from here.

        Raises:
            RuntimeError: It was called by a handler.
        """
        engine = self._running.engine
        engine.own()  # the program may have forked, and go on in the child
        engine.poll()

    @property
    def path(self) -> str:
        """The path of the socket."""
        return self._path

    @property
    def connections(self) -> list[Connection]:
        """The connections that are open; see `Server.connections`."""
        return self.server.connections

    @property
    def _running(self) -> Driver:
        if self._driver is None:
            raise RuntimeError("the server does not run: it does in a 'with' block")
        return self._driver

    def _listen(self, driver: Driver) -> None:
        self._listener = Listener(self._path)
        self._listener.listen()
        driver.engine.listen(self._listener.descriptor)

    def _end(self) -> None:
        self._driver = None
        if self._listener is not None:
            self._listener.close()
            self._listener = None


def listen(
    path: str | os.PathLike[str],
    server: Server | None = None,
    *,
    on_open: Callable[[Connection], Any] | None = None,
    on_message: Callable[[Connection, Any], Any] | None = None,
    on_close: Callable[[Connection, int, str], Any] | None = None,
    **settings: Unpack[ServerSettings],
) -> Guest:
    """Serve WebSockets within a program that has an event loop already.

        async with dorrit.listen("/run/chat.socket", on_message=said):
            await something_else()

    Nothing is daemonised, no signal is handled, and the logger ``dorrit`` is left as it is.

    Args:
        path: Of the socket. A stale one is replaced; it is removed at the end.
        server: What to serve. Without it, the handlers below.
        on_open: See `Server.on_open`.
        on_message: See `Server.on_message`.
        on_close: See `Server.on_close`.
        **settings: As those of `Server`. Those of the process (`user`, `foreground`, …) mean
            nothing here.

    Raises:
        TypeError: There is no such setting, or both a server and handlers are given.
        ValueError: A setting is out of range, or the server runs already.
    """
    handlers = {"open": on_open, "message": on_message, "close": on_close}
    if server is None:
        server = Server(None, **settings)
        for event, handler in handlers.items():
            if handler is not None:
                getattr(server, f"on_{event}")(handler)
    elif settings or any(handlers.values()):
        raise TypeError("a server has its own handlers and settings: give one or the other")
    application = application_of(server)
    if application.driver is not None:
        raise ValueError("the server runs already")
    return Guest(application, server, str(Path(path).absolute()))
