"""The five functions that a server may be made of, and those that it may call.

The names are those of libdorrit(3). A server is one process, so what they set is kept here, in the
module.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from dorrit.api.application import PERIOD_MAX, Application, Periodic, check_name
from dorrit.dispatch.callables import is_async, is_generator
from dorrit.dispatch.handlers import Handlers
from dorrit.drive.application import Running
from dorrit.drive.import_file import frame_of_caller, is_imported
from dorrit.engine import Connection, Recovered, Timer, queue_message
from dorrit.engine.callback_names import CallbackNames
from dorrit.engine.results import check_result
from dorrit.errors import StartError, closest

if TYPE_CHECKING:
    from typing_extensions import Buffer

CALLBACKS: Final = (
    "ws_init_func",
    "ws_exit_func",
    "ws_open_callback",
    "ws_read_callback",
    "ws_close_callback",
)
"""What a server defines (R7 to R11)."""

OPTIONAL: Final = ("ws_resume_callback", "ws_subscribed_callback")
"""What a server may define as well."""

CALLBACK_NAMES: Final = CallbackNames(
    "callback", "read", "ws_read_callback", "ws_close_callback", may_be_async=False
)
"""What is said of them calls them so."""

LIBRARY: Final = frozenset({
    "ws_close_conn",
    "ws_config_file",
    "ws_get_data",
    "ws_publish",
    "ws_save",
    "ws_set_data",
    "ws_set_name",
    "ws_set_periodic",
    "ws_subscribe",
    "ws_unsubscribe",
    "ws_write_conn",
})  # fmt: skip
"""What the library defines; a server may import them into its own namespace."""


def _current() -> "FiveFunctions":
    if FiveFunctions.current is None:
        raise RuntimeError("no server is there: this is for the functions of a server's file")
    return FiveFunctions.current


def ws_set_name(name: str) -> None:
    """Set the server's name, in ``ws_init_func``.

    It is the identity of the server's log, the stem of its pid file and, unless ``-l`` is given, of
    its socket, ``/var/run/NAME.socket``. Without it the name is ``server``, and the socket
    ``/var/run/dorrit.socket``.

    Args:
        name: A part of a file's name.

    Raises:
        TypeError: `name` is not a str.
        ValueError: It is empty, or has a slash or a NUL character in it.
        RuntimeError: The server runs already.
    """
    check_name(name)
    current = _current()
    if current.driver is not None:
        raise RuntimeError("the server runs under its name already: set it in ws_init_func")
    current.name = name


def ws_set_periodic(func: Callable[[], object], seconds: float) -> None:
    """Have ``func()`` called each time that many seconds have passed since the last call.

    There is one such function; a second call replaces the first one's. What it raises is logged.

    Args:
        func: Called without arguments.
        seconds: More than 0, at most 1e9; fractions are allowed, milliseconds count.

    Raises:
        TypeError: `func` can't be called, or `seconds` is not a number.
        ValueError: `seconds` is out of range.
    """
    if not callable(func):
        raise TypeError(f"the periodic function can't be called: it is a {type(func).__name__}")
    if not 0 < seconds <= PERIOD_MAX:
        raise ValueError(f"the period must be more than 0 and at most 1e9 seconds, not {seconds!r}")
    _current().set_periodic(seconds, func)


def ws_set_data(conn: Connection, obj: object) -> None:
    """Keep one object with the connection."""
    conn.data = obj


def ws_get_data(conn: Connection) -> Any:  # noqa: ANN401 - it is the user's object
    """Return the object that was set with `ws_set_data`, or None."""
    return conn.data


def ws_save(conn: Connection, data: "Buffer") -> None:
    """Keep bytes with the connection that survive a reload; see `Connection.save`.

    ``ws_resume_callback(conn, cookie, state)`` gets them. The object of `ws_set_data` does not
    survive.

    Args:
        conn: The connection.
        data: At most 65,536 bytes, which replace those that were kept before; ``b""`` keeps none.

    Raises:
        TypeError: `data` is not an object with bytes in it.
        ValueError: They are too many.
    """
    conn.save(data)


# The engine's own function: a wrapper around it would be one more Python call for each message.
ws_write_conn = queue_message


def ws_subscribe(conn: Connection, topic: str) -> int:
    """Have a client get what is published to a topic; see `Connection.subscribe`.

    Args:
        conn: The connection.
        topic: Any text that takes 1 to 255 bytes in UTF-8, without control characters.

    Returns:
        0; -1 if the connection is closed or closing, or has as many topics as the option
        ``--max-topics`` allows.

    Raises:
        TypeError: `topic` is not a str.
        ValueError: It can't be a topic.
    """
    return 0 if conn.subscribe(topic) else -1


def ws_unsubscribe(conn: Connection, topic: str) -> None:
    """Have a client get no more of a topic. What is queued for it still goes.

    Raises:
        TypeError: `topic` is not a str.
        ValueError: It can't be a topic.
    """
    conn.unsubscribe(topic)


def ws_publish(topic: str, binary: bool, data: "str | Buffer") -> int:  # noqa: FBT001 - as ws_write_conn
    """Send a message to all connections that are subscribed to a topic; see `Server.publish`.

    Args:
        topic: What they have subscribed to.
        binary: True for a binary message, false for text.
        data: `bytes` or another object with bytes in it; for text also `str`. Bytes of a text must
            be UTF-8.

    Returns:
        0; -1 when memory ran out; -2 when `data` is empty.

    Raises:
        RuntimeError: The server does not run, or this is not its thread.
        TypeError: `topic` or `data` is of another type.
        ValueError: The topic can't be one; or the message is larger than the option
            ``--max-publish`` allows, or a text that is not UTF-8.
    """
    driver = _current().driver
    if driver is None:
        raise RuntimeError("the server does not run: there is nobody to publish to")
    if (len(data) if isinstance(data, str) else memoryview(data).nbytes) == 0:
        return -2
    try:
        driver.engine.publish(topic, data, None, binary)
    except MemoryError:
        return -1
    return 0


def ws_close_conn(conn: Connection, force: bool) -> None:  # noqa: FBT001 - as in libdorrit(3)
    """Close a connection. Does nothing if it is closed already.

    Args:
        conn: The connection.
        force: True closes it at once; what is queued is lost. False closes it when the queue has
            been written; from now on no message of this client is delivered.
    """
    if force:
        conn.abort()
    else:
        conn.close()


def main() -> None:
    """Run the file that calls this as a server, with the command line's options.

    For the end of a server's file: ``python FILE -x`` then is ``dorrit serve FILE -x``. It does not
    return: the process exits when the server stops. It does nothing when ``dorrit serve`` loads the
    file, or a process of multiprocessing that needs a function of it.

    Raises:
        SystemExit: The server has stopped, or could not start.
    """
    caller = frame_of_caller()
    if is_imported(caller):
        return
    from dorrit.drive.program import run

    namespace = caller.f_globals
    sys.exit(run(Path(sys.argv[0]).name, lambda: application_of(namespace)))


class FiveFunctions(Application):
    """A server of five functions.

    Attributes:
        current: The one that runs; a server is one process.
    """

    current: "ClassVar[FiveFunctions | None]" = None
    text_as_str = False
    names = CALLBACK_NAMES

    def __init__(self, functions: Mapping[str, Callable[..., Any]]) -> None:
        """Take the functions by their names."""
        super().__init__()
        self._init_func = functions["ws_init_func"]
        self._exit_func = functions["ws_exit_func"]
        self._open_callback = functions["ws_open_callback"]
        self._close_callback = functions["ws_close_callback"]
        self._resume_callback = functions.get("ws_resume_callback")
        self._subscribed_callback = functions.get("ws_subscribed_callback")
        self._timer: Timer | None = None
        self.handlers: Handlers = Handlers(
            open=self._open,
            message=functions["ws_read_callback"],
            close=self._close,
            resume=None if self._resume_callback is None else self._resume,
            subscribed=None if self._subscribed_callback is None else self._subscribed,
        )

    def init(self) -> None:
        """Run ``ws_init_func``, which may set the name."""
        FiveFunctions.current = self
        check_result("ws_init_func", self._init_func(), may_be_async=False)

    def exit(self) -> None:
        """Run ``ws_exit_func``."""
        check_result("ws_exit_func", self._exit_func(), may_be_async=False)

    def set_periodic(self, seconds: float, function: Callable[[], object]) -> None:
        """Call this function periodically, instead of the one that was set before."""
        self.periodic.clear()
        self.periodic.append(Periodic(seconds, function))
        if self.driver is not None:
            self.start_periodic(self.driver)

    def start_periodic(self, driver: Running) -> None:
        """Begin to call the periodic function."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for periodic in self.periodic:
            self._timer = driver.every(periodic.seconds, periodic.function)

    def _open(self, conn: Connection) -> bool:
        """R9: "`0`, `None` or `False` accepts; anything else drops."."""
        verdict = self._open_callback(conn, conn.request.cookie)
        check_result("ws_open_callback", verdict, may_be_async=False)
        return verdict is None or verdict is False or verdict == 0

    def _close(self, conn: Connection, _code: int, _reason: str) -> object:
        """Tell the server; the five functions do not ask why."""
        return self._close_callback(conn)

    def _resume(self, conn: Connection, state: bytes | None) -> None:
        """Tell the server of a connection that has survived a reload."""
        assert self._resume_callback is not None
        result = self._resume_callback(conn, conn.request.cookie, state)
        check_result("ws_resume_callback", result, may_be_async=False)

    def _subscribed(self, conn: Connection, topic: str, recovered: Recovered) -> None:
        """Tell the server that a subscription stands."""
        assert self._subscribed_callback is not None
        result = self._subscribed_callback(conn, topic, recovered)
        check_result("ws_subscribed_callback", result, may_be_async=False)


def application_of(namespace: Mapping[str, object], origin: str = "") -> FiveFunctions:
    """Find the five functions among a module's globals.

    Args:
        namespace: The module's globals.
        origin: What to call the module in an error, if need be.

    Raises:
        StartError: One is missing or can't be called, or another name begins with ``ws_`` (R12).
    """
    where = f"{origin}: " if origin else ""
    known = (*CALLBACKS, *OPTIONAL)
    missing = [name for name in CALLBACKS if name not in namespace]
    for name, value in namespace.items():
        if name.startswith("ws_") and name not in known and not _is_ours(name, value):
            unused = [optional for optional in OPTIONAL if optional not in namespace]
            raise StartError(f"{where}{name}: {_advice(name, missing, unused)}")
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise StartError(
            f"{where}{', '.join(missing)} {verb} missing: a server defines all five of "
            f"{', '.join(CALLBACKS)}"
        )
    found = [name for name in known if name in namespace]
    for name in found:
        if not callable(namespace[name]):
            kind = type(namespace[name]).__name__
            raise StartError(f"{where}{name} can't be called: it is a {kind}")
        if is_async(namespace[name]):
            raise StartError(
                f"{where}{name} must not be async: that is for the handlers of a dorrit.Server"
            )
        if is_generator(namespace[name]):
            raise StartError(f"{where}{name} must have no `yield`: calling it would not run it")
    functions: dict[str, Any] = {name: namespace[name] for name in found}
    application = FiveFunctions(functions)
    file = namespace.get("__file__")
    application.file = file if isinstance(file, str) else None
    return application


def _advice(name: str, missing: Sequence[str], unused: Sequence[str]) -> str:
    """Say what to do about a name that a server must not define."""
    if name in LIBRARY:
        return f"the server must not define this itself: dorrit.{name} is the library's"
    similar = closest(name, missing) or closest(name, unused, cutoff=0.9)
    advice = f"did you mean {similar}?" if similar else "choose another name"
    return f"names that begin with ws_ are the library's: {advice}"


def _is_ours(name: str, value: object) -> bool:
    return name in LIBRARY and (name == "ws_config_file" or value is globals()[name])
