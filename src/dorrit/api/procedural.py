"""The procedural API: five functions that the server defines, and seven that it may call.

The names are those of libdorrit(3). A server is one process, so what they set is kept here, in the
module.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import dorrit
from dorrit.engine import Connection, Timer, queue_message
from dorrit.errors import StartError
from dorrit.protocol.handshake import Request
from dorrit.protocol.refusal import OPEN_CALLBACK_REFUSED, Refusal, refusal

CALLBACKS: Final = (
    "ws_init_func",
    "ws_exit_func",
    "ws_open_callback",
    "ws_read_callback",
    "ws_close_callback",
)
"""What a server defines (R7 to R11)."""

LIBRARY: Final = frozenset({
    "ws_close_conn",
    "ws_config_file",
    "ws_get_data",
    "ws_set_data",
    "ws_set_name",
    "ws_set_periodic",
    "ws_write_conn",
})  # fmt: skip
"""What the library defines; a server may import them into its own namespace."""

Every: TypeAlias = Callable[[float, Callable[[], object]], Timer]
"""`Engine.every`: has a function called each time that many seconds have passed."""

PERIOD_MAX: Final = 1e9
"""Seconds; what the engine's clock takes."""


@dataclass(slots=True)
class _Setup:
    """What the server has asked for before it runs."""

    name: str | None = None
    periodic: tuple[float, Callable[[], object]] | None = None
    every: Every | None = None
    """Starts a timer; None until the server runs."""
    timer: Timer | None = None


_setup = _Setup()


def ws_set_name(name: str) -> None:
    """Set the server's name, in ``ws_init_func`` (R13).

    It is the identity of the server's log, the stem of its pid file and, unless ``-l`` is given, of
    its socket, ``/var/run/NAME.socket``. Without it the name is ``server``, and the socket
    ``/var/run/dorrit.socket``.

    Args:
        name: A part of a file's name.

    Raises:
        TypeError: `name` is no str.
        ValueError: It is empty, or has a slash or a NUL character in it.
        RuntimeError: The server runs already.
    """
    if not isinstance(name, str):
        raise TypeError(f"a server's name is a str, not {type(name).__name__}")
    if not name or "/" in name or "\0" in name:
        raise ValueError(
            f"{name!r} can't be a server's name: it must not be empty, nor have / or NUL in it"
        )
    if _setup.every is not None:
        raise RuntimeError("the server runs under its name already: set it in ws_init_func")
    _setup.name = name


def ws_set_periodic(func: Callable[[], object], seconds: float) -> None:
    """Have ``func()`` called each time that many seconds have passed since the last call (R14).

    There is one such function; a second call replaces the first one's. What it raises is logged.

    Args:
        func: Called without arguments.
        seconds: More than 0, at most `PERIOD_MAX`; fractions are allowed, milliseconds count.

    Raises:
        TypeError: `func` can't be called, or `seconds` is no number.
        ValueError: `seconds` is out of range.
    """
    if not callable(func):
        raise TypeError(f"the periodic function can't be called: it is a {type(func).__name__}")
    if not 0 < seconds <= PERIOD_MAX:
        raise ValueError(f"the period must be more than 0 and at most 1e9 seconds, not {seconds!r}")
    _setup.periodic = (seconds, func)
    if _setup.every is not None:
        _start_periodic(_setup.every)


def _start_periodic(every: Every) -> None:
    if _setup.timer is not None:
        _setup.timer.cancel()
    if _setup.periodic is not None:
        seconds, func = _setup.periodic
        _setup.timer = every(seconds, func)


def ws_set_data(conn: Connection, obj: object) -> None:
    """Keep one object with the connection (R15)."""
    conn.data = obj


def ws_get_data(conn: Connection) -> Any:  # noqa: ANN401 - it is the user's object
    """Return the object that was set with `ws_set_data`, or None (R15)."""
    return conn.data


# The engine's own function: a wrapper around it would be one more Python call for each message.
ws_write_conn = queue_message


def ws_close_conn(conn: Connection, force: bool) -> None:  # noqa: FBT001 - as in libdorrit(3)
    """Close a connection (R21). Does nothing if it is closed already.

    Args:
        conn: The connection.
        force: True closes it at once; what is queued is lost. False closes it when the queue has
            been written; from now on no message of this client is delivered.
    """
    if force:
        conn.abort()
    else:
        conn.close()


@dataclass(frozen=True, slots=True)
class Program:
    """The five functions of a server."""

    ws_init_func: Callable[[], object]
    ws_exit_func: Callable[[], object]
    ws_open_callback: Callable[[Connection, str], object]
    ws_read_callback: Callable[[Connection, bool, bytes], object]
    ws_close_callback: Callable[[Connection], object]
    file: str | None = None
    """Where they are defined."""

    def init(self, config_file: str | None) -> str | None:
        """Run ``ws_init_func`` and return the name that it set, if any."""
        set_config_file(config_file)
        self.ws_init_func()
        return _setup.name

    def started(self, every: Every) -> None:
        """The engine is there: start the periodic function."""
        _setup.every = every
        _start_periodic(every)

    def on_open(self, conn: Connection, request: Request) -> Refusal | None:
        """R9: "`0`, `None` or `False` accepts; anything else drops."."""
        verdict = self.ws_open_callback(conn, request.cookie)
        if verdict is None or verdict is False or verdict == 0:
            return None
        return refusal(*OPEN_CALLBACK_REFUSED)

    def on_close(self, conn: Connection, code: int, reason: str) -> None:  # noqa: ARG002
        """Tell the server; the five functions do not ask why."""
        self.ws_close_callback(conn)


def set_config_file(name: str | None) -> None:
    """Set ``dorrit.ws_config_file`` (R35).

    It is a plain variable of the package: a module with a `__getattr__`, which could look here,
    makes every ``dorrit.ws_write_conn`` slower (the interpreter does not specialise it then).
    """
    dorrit.ws_config_file = name


def program_of(namespace: Mapping[str, object], origin: str = "") -> Program:
    """Find the five functions among a module's globals.

    Args:
        namespace: The module's globals.
        origin: What to call the module in an error, if need be.

    Raises:
        StartError: One is missing or can't be called, or another name begins with ``ws_`` (R12).
    """
    where = f"{origin}: " if origin else ""
    missing = [name for name in CALLBACKS if name not in namespace]
    for name, value in namespace.items():
        if name.startswith("ws_") and name not in CALLBACKS and not _is_ours(name, value):
            raise StartError(f"{where}{name}: {_advice(name, missing)}")
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise StartError(
            f"{where}{', '.join(missing)} {verb} missing: a server defines all five of "
            f"{', '.join(CALLBACKS)}"
        )
    for name in CALLBACKS:
        if not callable(namespace[name]):
            kind = type(namespace[name]).__name__
            raise StartError(f"{where}{name} can't be called: it is a {kind}")
    functions: dict[str, Any] = {name: namespace[name] for name in CALLBACKS}
    file = namespace.get("__file__")
    return Program(**functions, file=file if isinstance(file, str) else None)


def _advice(name: str, missing: Sequence[str]) -> str:
    """Say what to do about a name that a server must not define."""
    if name in LIBRARY:
        return f"the server must not define this itself: dorrit.{name} is the library's"
    close = difflib.get_close_matches(name, missing, n=1, cutoff=0.6)
    advice = f"did you mean {close[0]}?" if close else "choose another name"
    return f"names that begin with ws_ are the library's: {advice}"


def _is_ours(name: str, value: object) -> bool:
    return name in LIBRARY and (name == "ws_config_file" or value is globals()[name])
