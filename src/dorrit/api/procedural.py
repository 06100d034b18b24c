"""The procedural API: five functions that the server defines, and seven that it may call.

The names are those of libdorrit(3). A server is one process, so what they set is kept here, in the
module.
"""

import difflib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dorrit.api import loader
from dorrit.engine import Connection, queue_message
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

ws_config_file: str | None = None


@dataclass(slots=True)
class _Setup:
    """What the server has asked for before it runs."""

    name: str | None = None
    periodic: tuple[float, Callable[[], object]] | None = None
    every: Callable[[float, Callable[[], object]], Any] | None = None
    """Starts a timer; None until the server runs."""
    timer: Any = None


_setup = _Setup()


def ws_set_name(name: str) -> None:
    """Set the server's name (R13): the identity of its log, the stem of its pid file and, unless
    ``-l`` is given, of its socket, ``/var/run/NAME.socket``.

    Call it in ``ws_init_func``. Without it the name is ``server``, and the socket
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
        raise RuntimeError("call ws_set_name in ws_init_func: the server runs under its name already")
    _setup.name = name


def ws_set_periodic(func: Callable[[], object], seconds: float) -> None:
    """Have ``func()`` called each time that many seconds have passed since the last call (R14).

    There is one such function; a second call replaces the first one's. What it raises is logged.

    Raises:
        TypeError: `func` can't be called.
        ValueError: `seconds` is not positive.
    """
    if not callable(func):
        raise TypeError(f"the periodic function can't be called: it is a {type(func).__name__}")
    if not seconds > 0:
        raise ValueError(f"the period must be a positive number of seconds, not {seconds!r}")
    _setup.periodic = (seconds, func)
    if _setup.every is not None:
        _start_periodic(_setup.every)


def _start_periodic(every: Callable[[float, Callable[[], object]], Any]) -> None:
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


# The engine's own function, since a wrapper around it would cost a fifth of what a message costs.
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


def main() -> None:
    """Run the file that calls this as a server, with the command line's options.

    For the end of a server's file: ``python FILE -x`` then is ``dorrit serve FILE -x``. It does not
    return: the process exits when the server stops. It does nothing when ``dorrit serve`` loads the
    file.
    """
    if loader.is_loading():
        return
    from dorrit.cli import serve  # the command line is a layer above, and only needed here

    namespace = sys._getframe(1).f_globals  # noqa: SLF001 - what a server's "main" is part of
    sys.exit(serve.main_of(Path(sys.argv[0]).name, namespace))


@dataclass(frozen=True, slots=True)
class Program:
    """The five functions of a server."""

    ws_init_func: Callable[[], object]
    ws_exit_func: Callable[[], object]
    ws_open_callback: Callable[[Connection, str], object]
    ws_read_callback: Callable[[Connection, bool, bytes], object]
    ws_close_callback: Callable[[Connection], object]

    def init(self, config_file: str | None) -> str | None:
        """Run ``ws_init_func`` and return the name that it set, if any."""
        global ws_config_file  # noqa: PLW0603 - a variable of the library, as in libdorrit(3)
        ws_config_file = config_file
        self.ws_init_func()
        return _setup.name

    def started(self, every: Callable[[float, Callable[[], object]], Any]) -> None:
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
    """Set `ws_config_file`, for code that runs while the server's file is loaded (R35)."""
    global ws_config_file  # noqa: PLW0603 - a variable of the library, as in libdorrit(3)
    ws_config_file = name


def program_of(namespace: Mapping[str, object], origin: str) -> Program:
    """Find the five functions among a module's globals.

    Args:
        namespace: The module's globals.
        origin: What to call the module in an error.

    Raises:
        StartError: One is missing or can't be called, or another name begins with ``ws_`` (R12).
    """
    for name, value in namespace.items():
        if not name.startswith("ws_") or name in CALLBACKS or _is_ours(name, value):
            continue
        close = difflib.get_close_matches(name, CALLBACKS, n=1, cutoff=0.7)
        advice = f"did you mean {close[0]}?" if close else "choose another name"
        raise StartError(f"{origin}: {name} begins with ws_, which is the library's: {advice}")
    missing = [name for name in CALLBACKS if name not in namespace]
    if missing:
        listed = ", ".join(missing)
        raise StartError(f"{origin}: {listed} missing: a server defines all of {', '.join(CALLBACKS)}")
    for name in CALLBACKS:
        if not callable(namespace[name]):
            raise StartError(f"{origin}: {name} is no function but a {type(namespace[name]).__name__}")
    functions: dict[str, Any] = {name: namespace[name] for name in CALLBACKS}
    return Program(**functions)


def _is_ours(name: str, value: object) -> bool:
    return name in LIBRARY and (name == "ws_config_file" or value is globals()[name])
