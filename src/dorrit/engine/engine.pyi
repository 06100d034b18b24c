"""What Python sees of `dorrit.engine.engine`."""

from collections.abc import Awaitable, Callable
from typing import Any, final

from dorrit.engine.callback_names import CallbackNames
from dorrit.engine.connection import Connection
from dorrit.engine.limits import Limits
from dorrit.engine.reports import Reports
from dorrit.engine.timers import Timer
from dorrit.protocol.handshake import Request
from dorrit.protocol.refusal import Refusal

@final
class Engine:
    """Serves the connections of one listening socket, in the thread that calls `run` or `poll`."""

    def __init__(
        self,
        *,
        on_open: Callable[[Connection, Request], object],
        on_message: Callable[..., object],
        on_close: Callable[[Connection, int, str], object],
        limits: Limits = ...,
        reports: Reports | None = None,
        text_as_str: bool = False,
        names: CallbackNames = ...,
    ) -> None:
        """Make an engine that has no clients yet.

        Args:
            on_open: Called as `on_open(connection, request)` when a client's request is valid.
                Returns None to accept it, the `Refusal` to answer it with, or `PENDING` to answer
                later, with `answer`.
            on_message: Called as `on_message(connection, binary, payload)` for each message.
            on_close: Called as `on_close(connection, code, reason)` once for each connection that
                was accepted, at the end of the turn in which it ended.
            limits: What it is told.
            reports: Takes what is to be logged.
            text_as_str: Calls `on_message(connection, message)` instead, with a str or bytes.
            names: What the user calls the callbacks.
        """
    @property
    def wakeup_descriptor(self) -> int:
        """Whatever is written here ends the loop's sleep; for `signal.set_wakeup_fd`."""
    def listen(self, descriptor: int) -> None:
        """Take clients from a listening socket that does not block. The caller keeps owning it."""
    def stop_listening(self) -> None:
        """Take no more clients. Those that were not taken wait in the kernel."""
    def fileno(self) -> int:
        """The descriptor that is readable when `poll` has something to do."""
    def timeout(self) -> float | None:
        """Seconds until `poll` should be called though `fileno` is not readable; None: never."""
    def poll(self) -> None:
        """Do what there is to do, without waiting."""
    def run(self) -> None:
        """Serve until `stop` is called."""
    def stop(self) -> None:
        """Let `run` return soon. May be called from a callback or a signal handler."""
    def pause(self, connection: Connection) -> None:
        """Read nothing from an open connection until `resume`."""
    def resume(self, connection: Connection) -> None:
        """Read from a connection again."""
    def answer(self, connection: Connection, answer: Refusal | None) -> None:
        """Answer a request whose open callback has returned `PENDING`."""
    def join_loop(
        self,
        drain: Callable[[Connection], Awaitable[None]],
        on_room: Callable[[Connection], object],
        on_read: Callable[[], object] | None = None,
        is_busy: Callable[[Connection], bool] | None = None,
        end_child: Callable[[BaseException], object] | None = None,
        forget: Callable[[Connection | None], object] | None = None,
    ) -> None:
        """Serve connections whose user awaits."""
    def has_room(self, connection: Connection) -> bool:
        """Whether at most half of what may wait for a client does, or it is over."""
    def want_room(self, connection: Connection) -> None:
        """Have `on_room` called when the queue of an open connection has been written."""
    def fail(self, connection: Connection, code: int, reason: str) -> None:
        """Close a connection with this code at once, instead of what is queued."""
    def shutdown(self, timeout: float, code: int = 1001, reason: str = "") -> None:
        """End all connections; cut off those left after `timeout` seconds or a second `stop`."""
    def begin_shutdown(self, code: int = 1001, reason: str = "") -> None:
        """Take no more clients and close all connections in order; the caller turns the loop."""
    def end_shutdown(self) -> None:
        """Cut off the connections that are left, and run the close callbacks."""
    def close(self) -> None:
        """Cut off all connections, without any callback, and close the engine's descriptors."""
    def open_connections(self) -> list[Connection]:
        """The connections that the open callback has accepted and that are not closing."""
    def all_connections(self) -> list[Connection]:
        """The connections that have a descriptor, in whatever state."""
    @property
    def connections(self) -> int:
        """Connections that have a descriptor, in whatever state."""
    def stay(self) -> None:
        """Leave nothing to a process that is forked off this one, by whom and whenever."""
    def own(self) -> None:
        """Make the calling process the one that it belongs to, if no callback has forked it."""
    @property
    def is_forked(self) -> bool:
        """Whether this is another process than the one that it belongs to."""
    def check_process(self, callback: str, error: BaseException | None) -> None:
        """End a callback in a process that it has forked, with what it has raised or SystemExit."""
    @property
    def assembled(self) -> int:
        """Bytes of incomplete messages, and of what was read too early or is kept (for tests)."""
    @property
    def in_turn(self) -> bool:
        """Whether a turn is under way."""
    @property
    def departed(self) -> int:
        """Connections that are over, and for which handlers still run."""
    @property
    def lingering(self) -> int:
        """How many of them are over for the user, and only wait for their end."""
    def every(self, seconds: float, function: Callable[[], object]) -> Timer:
        """Call `function()` each time that many seconds have passed since the last call (R14).

        Raises:
            ValueError: `seconds` is not positive.
        """
    def adopt(self, descriptor: int) -> Connection | None:
        """Take a connected stream socket, which does not block, as a client; None: no memory.

        Raises:
            OSError: It is not open, or the engine has it already.
        """

    def watch(self, descriptor: int, function: Callable[[], object]) -> None:
        """Call `function()` in each turn in which a descriptor is readable, until `unwatch`."""
    def unwatch(self, descriptor: int) -> None:
        """Leave a descriptor alone from now on. Do nothing if it is not watched."""
    @property
    def turns(self) -> int:
        """How many have begun."""
    def call_at_turn(self, function: Callable[[], object]) -> None:
        """Call `function()` once, when the next turn begins that has something to do."""
    def call_soon_threadsafe(
        self,
        function: Callable[..., object],
        *arguments: Any,  # noqa: ANN401 - the function's
    ) -> None:
        """Call `function(*arguments)` in the loop's thread, soon; from any thread."""
