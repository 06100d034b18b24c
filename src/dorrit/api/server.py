"""The object API: a `Server`, whose functions are plain or `async`."""

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, TypeVarTuple, Unpack, overload

from dorrit.api.application import PERIOD_MAX, Application, check_name
from dorrit.dispatch.callables import is_generator, takes
from dorrit.dispatch.handlers import Handlers
from dorrit.drive.application import Listener
from dorrit.drive.import_file import frame_of_caller, is_imported
from dorrit.engine import Connection
from dorrit.engine import broadcast as broadcast_message
from dorrit.engine.topics import check_topic
from dorrit.errors import StartError, closest
from dorrit.settings import ServerSettings, check

if TYPE_CHECKING:
    from typing_extensions import Buffer

EVENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "start": (),
    "stop": (),
    "open": ("conn",),
    "message": ("conn", "message"),
    "close": ("conn", "code", "reason"),
    "resume": ("conn", "state"),
    "subscribed": ("conn", "topic", "recovered"),
}
"""What a server can handle, and the arguments that a handler is called with."""

FURTHER: Final[Mapping[str, tuple[str, ...]]] = {"resume": ("begun",)}
"""Arguments that a handler gets as well, if it takes them."""

Function = TypeVar("Function", bound=Callable[..., Any])
Arguments = TypeVarTuple("Arguments")


class ServerApplication(Application):
    """What runs in a `Server`."""

    def check(self) -> str | None:
        """Return what is likely to be a mistake, if it is one.

        Raises:
            StartError: It has no handlers.
        """
        handlers = self.handlers
        if handlers == Handlers() and not self.periodic:
            raise StartError(
                "the server has no handlers, and would do nothing: define a function with "
                "@app.on_message, or a method on_message of a subclass"
            )
        if handlers.message is None:
            return (
                "the server has no handler on_message: what clients send is taken and thrown away"
            )
        return None


class Server:
    """A WebSocket server on a UNIX-domain socket, behind your web server.

    Its handlers are functions with a decorator, or methods of a subclass that have the decorators'
    names, and are there before it runs. Each may be plain or `async`; the two kinds mix freely.

        app = Server("echo")

        @app.on_message
        def echo(conn, message):
            conn.send(message)

    ``dorrit serve FILE:app`` runs it, and so does ``app.run()``.

    A connection's handlers run in order: the next message waits while an `async` handler runs for
    the last one, and if too many wait (setting `max_waiting`), the client is not read from. What a
    handler raises is logged, and its connection is closed with 1011. A plain function that returns
    a coroutine, as a wrapper around an `async` one does, has not run: that counts as an exception.

    Attributes:
        name: What the server calls itself.
    """

    def __init__(self, name: str | None = None, **settings: Unpack[ServerSettings]) -> None:
        """Describe a server; it starts when it is run.

        Args:
            name: The identity of the server's log, the stem of its pid file and, without the
                setting `listen`, of its socket, ``/var/run/NAME.socket``.
            **settings: Defaults of its options, by the names of the command line's long options,
                with underscores. What the command line says goes before them.

        Raises:
            TypeError: The name is not a str, or there is no such setting.
            ValueError: The name can't be one, or a setting is out of range.
        """
        if name is not None:
            check_name(name)
        self.name = name
        # Users of this interface expect all of RFC 6455; R5's refusals are for the five functions.
        self._made = ServerApplication(name, {"rfc": True, **check(settings)})
        _check_names(type(self))
        for event in EVENTS:
            method = f"on_{event}"
            if getattr(type(self), method) is not getattr(Server, method):
                self._handle(event, getattr(self, method))

    def __repr__(self) -> str:
        """Return its name."""
        return f"<dorrit server {getattr(self, 'name', None) or '(without a name)'}>"

    if TYPE_CHECKING:
        pass  # to a type checker the method would mean that any attribute can be set
    else:

        def __setattr__(self, name: str, value: object) -> None:
            """Refuse a handler that is assigned: nothing would call it."""
            if name == "on_topic" or (name.startswith("on_") and name[3:] in EVENTS):
                raise AttributeError(
                    f"{name} can't be assigned, it is a decorator: app.{name}(handler), or a "
                    "method of a subclass"
                )
            super().__setattr__(name, value)

    @property
    def _application(self) -> ServerApplication:
        try:
            return self._made
        except AttributeError:
            raise RuntimeError(
                f"{type(self).__name__}.__init__ must call super().__init__() first"
            ) from None

    # Handlers. A subclass may define methods of these names instead, with the handlers' own
    # arguments: that is why these take anything, as far as a type checker can tell.

    def on_start(self, *handler: Any, **_: Any) -> Any:  # noqa: ANN401 - see above
        """Have ``handler()`` called once, before the first client is taken.

        The process is what it will be: a daemon (its working directory is ``/``), without root's
        privileges. A server that has crashed calls it again when it is restarted. If it raises, the
        server does not start.
        """
        return self._handle("start", *handler)

    def on_stop(self, *handler: Any, **_: Any) -> Any:  # noqa: ANN401 - see above
        """Have ``handler()`` called once, when the last client has gone."""
        return self._handle("stop", *handler)

    def on_open(self, *handler: Any, **_: Any) -> Any:  # noqa: ANN401 - see above
        """Have ``handler(conn)`` called for each client that wants in.

        ``conn.request`` is its `Request`. The handler refuses it by returning False or by raising a
        `Reject`; if it raises anything else, the client gets 500. What it sends follows the
        response: it waits in the queue until the handler has returned. An `async` one has 10
        seconds, after which the client gets 503.
        """
        return self._handle("open", *handler)

    def on_message(self, *handler: Any, **_: Any) -> Any:  # noqa: ANN401 - see above
        """Have ``handler(conn, message)`` called for each message: str for text, bytes for binary.

        Messages of one connection come in order, one at a time.
        """
        return self._handle("message", *handler)

    def on_close(self, *handler: Any, **_: Any) -> Any:  # noqa: ANN401 - see above
        """Have ``handler(conn, code, reason)`` called once for each connection that was accepted.

        `code` is 1005 if the client gave none, and 1006 if it went without a close frame. It comes
        after the handlers of the connection's messages.
        """
        return self._handle("close", *handler)

    def on_resume(self, *handler: Any, **_: Any) -> Any:  # noqa: ANN401 - see above
        """Have ``handler(conn, state)`` called for each connection that outlives a reload or crash.

        `state` is what `Connection.save` has kept last, as bytes, or None. ``conn.request`` is
        the client's `Request`, as in the open handler; ``conn.data`` is None. It comes after the
        start handler and before any other handler of this connection. If it raises, the connection
        is closed with 1011. An `async` one has 10 seconds, and the client is not read from
        meanwhile.

        A handler that takes a third argument, ``handler(conn, state, begun)``, is given the message
        whose `async` handler was cut off by the reload, or None. If it does not, or there is no
        such handler, that connection is closed with 1012.

        Without this handler the open handler is called again, and may refuse: then the connection
        is closed with 1008, without the close handler.
        """
        return self._handle("resume", *handler)

    def on_subscribed(self, *handler: Any, **_: Any) -> Any:  # noqa: ANN401 - see above
        """Have ``handler(conn, topic, recovered)`` called for each subscription, once it stands.

        What is published from there on reaches the client, and nothing of the topic has reached it
        yet: what the handler sends comes first, and what has been published since
        `Connection.subscribe` follows when it has returned. This is the place for a greeting, and
        to publish that somebody has come. As many bytes wait as may for a client, and 16 MiB for
        all topics; of more the oldest messages are left out, which `Connection.dropped` counts and
        the log says.

        A plain handler is called at the end of the loop's turn, also while an `async` one of the
        connection waits for something, but not before the client has been accepted. An `async` one
        has its turn among the messages that `async` handlers are called for, and those behind it
        wait.

        After a reload or a crash with `on_resume` it is called only for subscriptions whose handler
        had not returned. Without `on_resume` the open handler subscribes anew, and it is called as
        for a new client. If it raises, the connection is closed with 1011. `recovered` is a
        `Recovered`, which says that nothing was missed.
        """
        return self._handle("subscribed", *handler)

    def _handle(self, event: str, *handlers: Callable[..., Any]) -> Callable[..., Any]:
        decorator, arguments = f"on_{event}", EVENTS[event]
        if not handlers:
            raise TypeError(f"@app.{decorator} has no parentheses: it takes the function below it")
        if len(handlers) != 1 or not callable(handlers[0]):
            raise TypeError(f"{decorator} is a decorator: it takes one function and nothing else")
        handler = handlers[0]
        before = getattr(self._application.handlers, event)
        if before is not None:
            raise ValueError(f"{decorator} is set already, by {_described(before)}")
        if self._application.driver is not None and event != "stop":
            raise RuntimeError(
                f"{decorator}: the server runs already, and would not call {_described(handler)}"
            )
        further = FURTHER.get(event, ())
        if not takes(handler, len(arguments) + len(further)):
            further = ()
        _check_function(handler, f"the handler of {decorator}", (*arguments, *further))
        setattr(self._application.handlers, event, handler)
        return handler

    def every(self, seconds: float) -> Callable[[Function], Function]:
        """Have ``function()`` called each time that many seconds have passed since the last call.

            @app.every(30)
            def tick(): ...

        An `async` function is not called again before its last call is over. What it raises is
        logged.

        Args:
            seconds: More than 0, at most 1e9; milliseconds count.

        Raises:
            TypeError: `seconds` is not a number.
            ValueError: It is out of range.
        """
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise TypeError(
                "every() takes a period, a number of seconds (@app.every(30)), not "
                f"{type(seconds).__name__}"
            )
        if not 0 < seconds <= PERIOD_MAX:
            raise ValueError(
                f"the period of every() must be more than 0 and at most 1e9 seconds, not {seconds}"
            )

        def decorate(function: Function) -> Function:
            if not callable(function):
                raise TypeError(
                    "every() is a decorator: what it makes takes a function, not "
                    f"{type(function).__name__}"
                )
            _check_function(function, "the function of every()", ())
            self._application.add_periodic(seconds, function)
            return function

        return decorate

    @overload
    def on_topic(self, topic: str) -> Callable[[Function], Function]: ...

    @overload
    def on_topic(self, topic: str, function: Function) -> Function: ...

    def on_topic(self, topic: str, function: Function | None = None) -> Any:
        """Have ``function(topic, message)`` called for what is published to a topic.

            @app.on_topic("jobs")
            def job(topic, message): ...

        It is called in the server's thread when `publish` has returned, in the order in which
        messages are published, and with a str or bytes. Several functions may hear of one topic,
        and one of several: ``app.on_topic("jobs", job)``. What they raise is logged. `async` ones
        are begun in that order. What a crash has come before, they do not hear.

        Args:
            topic: As for `Connection.subscribe`.
            function: What is to be called; without it this is a decorator.

        Raises:
            TypeError: `topic` is not a str, or the function can't be called so.
            ValueError: It can't be a topic.
        """
        check_topic(topic)

        def listen(function: Function) -> Function:
            if not callable(function):
                raise TypeError(f"on_topic() takes a function, not {type(function).__name__}")
            _check_function(function, "the function of on_topic()", ("topic", "message"))
            self._application.add_listener(Listener(topic, function))
            return function

        return listen if function is None else listen(function)

    # While it runs

    @property
    def connections(self) -> list[Connection]:
        """The connections that are open, in no order, as a list of its own; empty if none runs."""
        driver = self._application.driver
        return [] if driver is None else driver.engine.open_connections()

    def broadcast(self, connections: Iterable[Connection], message: "str | Buffer") -> int:
        """Queue one message for many connections; it is framed once, and held in memory once.

        Args:
            connections: Those that shall have it. Closed ones are passed over.
            message: `str` for a text, `bytes` or another object with bytes in it.

        Returns:
            How many of them have it in their queue. Those that are closed have not, nor those
            whose queue has no room for all of it; see `Connection.dropped`.

        Raises:
            TypeError: `connections` holds something else, or `message` is of another type.
            ValueError: No queue ever has room for it. Clients for which it is compressed to less
                have it all the same.
            MemoryError: There was no memory for it, for some connections at least.
        """
        return broadcast_message(connections, message)

    def publish(
        self, topic: str, message: "str | Buffer", exclude: Connection | None = None
    ) -> bool:
        """Send a message to all connections that are subscribed to a topic.

        It is framed once, compressed once for all that share the same terms, and held in memory
        once. Each connection gets the messages of one topic in the order in which they were
        published. One whose queue has no room for it does not get it; see `Connection.dropped`. A
        message that is larger than what may wait for any client reaches none, and the log says so.

        Args:
            topic: What they have given to `Connection.subscribe`.
            message: `str` for a text, `bytes` or another object with bytes in it.
            exclude: A connection that shall not have it, such as the one that it came from.

        Returns:
            True. It has been published, be there subscribers or none.

        Raises:
            RuntimeError: The server does not run, or this is another thread than its own: see
                `call_soon_threadsafe`.
            TypeError: One of them is of another type.
            ValueError: The topic can't be one; or the message is larger than the setting
                `max_publish`, or a text that can't be encoded.
            MemoryError: There was no memory for it, for some connections at least.
        """
        driver = self._application.driver
        if driver is None:
            raise RuntimeError("the server does not run: there is nobody to publish to")
        driver.engine.publish(topic, message, exclude)
        return True

    def count(self, topic: str) -> int:
        """Return how many connections are subscribed to a topic; 0 if the server does not run.

        Raises:
            TypeError: `topic` is not a str.
            ValueError: It can't be a topic.
        """
        driver = self._application.driver
        return 0 if driver is None else driver.engine.count(topic)

    def call_soon_threadsafe(
        self, function: Callable[[*Arguments], object], *arguments: *Arguments
    ) -> None:
        """Have ``function(*arguments)`` called soon, in the thread of the server.

        This is the one thing of a running server that other threads may call. The function may be
        `async` if one of the server's handlers is.

        Raises:
            RuntimeError: The server does not run.
            TypeError: The function is `async`, and no handler is.
        """
        driver = self._application.driver
        if driver is None:
            raise RuntimeError("the server does not run")
        driver.call_soon_threadsafe(function, *arguments)

    def run(self, argv: Sequence[str] | None = None) -> None:
        """Run the server with the options of ``dorrit serve``.

        It does not return: the process exits when the server stops. It does nothing while ``dorrit
        serve`` loads the file, or a process of multiprocessing that needs a function of it, so it
        may stand at the file's end.

        Args:
            argv: The options; those of the process, if None.

        Raises:
            SystemExit: The server has stopped, or could not start.
            RuntimeError: An event loop of asyncio runs here, or this is not the main thread:
                `listen` serves there.
            TypeError: `argv` is a str, which would be taken letter by letter.
        """
        if isinstance(argv, str):
            raise TypeError(f"argv is a list of str, not a str: run([{argv!r}])")
        if is_imported(frame_of_caller()):
            return
        from dorrit.drive.program import run

        main = sys.modules.get("__main__")
        file = getattr(main, "__file__", None)
        name = Path(sys.argv[0]).name or "python"
        application = application_of(self, file)
        sys.exit(run(name, lambda: application, argv, application.defaults))


def _check_names(kind: type[Server]) -> None:
    """Refuse methods that nothing would ever call, such as a misspelt handler's.

    Raises:
        TypeError: There is one whose name begins as those of the handlers do.
    """
    known = [f"on_{event}" for event in EVENTS]
    for place in kind.__mro__:
        if place is Server:
            break
        for name, value in vars(place).items():
            if name.startswith("on_") and name not in known and callable(value):
                similar = closest(name, known)
                hint = f"the handlers are {', '.join(known)}"
                if similar:
                    hint = f"did you mean {similar}?"
                raise TypeError(
                    f"{kind.__name__}.{name} is not a handler, nothing would call it: {hint}"
                )


def application_of(server: Server, file: str | None = None) -> Application:
    """Return what runs in a server.

    Args:
        server: What a user has made.
        file: Where it is defined, if that is known.

    Raises:
        TypeError: It is not a server.
        RuntimeError: It is of a class that has left out what `Server` does when it is made.
    """
    if not isinstance(server, Server):
        if inspect.isclass(server) and issubclass(server, Server):
            raise TypeError(f"{server.__name__} is a class: serve an object of it")
        raise TypeError(f"what is served is a dorrit.Server, not {type(server).__name__}")
    application = server._application  # noqa: SLF001 - the API's own, which users need not see
    application.file = application.file or file
    return application


def _check_function(function: Callable[..., Any], role: str, arguments: Sequence[str]) -> None:
    """Look whether a function can be called with these arguments, and whether that would run it.

    Raises:
        TypeError: It can't, or would not.
    """
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError:
        raise TypeError(
            f"{_described(function)} can't be {role}: it is called with ({', '.join(arguments)})"
        ) from None
    except ValueError:
        pass  # a built-in that does not say what it takes
    if is_generator(function):
        raise TypeError(
            f"{_described(function)} can't be {role}: it has a `yield`, so calling it does not run "
            "it"
        )


def _described(function: Callable[..., Any]) -> str:
    name = getattr(function, "__qualname__", repr(function))
    code = getattr(function, "__code__", None)
    return f"{name} ({code.co_filename}:{code.co_firstlineno})" if code else str(name)
