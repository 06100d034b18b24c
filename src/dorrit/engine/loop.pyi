"""What Python sees of `dorrit.engine.loop`."""

from collections.abc import Callable
from typing import final

from dorrit.engine.acceptor import Acceptor
from dorrit.engine.connection import Connection
from dorrit.engine.reports import Reports
from dorrit.protocol.handshake import Request
from dorrit.protocol.refusal import Refusal

@final
class Timer:
    """A function that is called periodically; made by `Engine.every`."""

    def cancel(self) -> None:
        """Let the function not be called any more."""

@final
class Engine(Acceptor):
    """Serves the connections of one listening socket, in the thread that calls `run` or `poll`."""

    def __init__(
        self,
        *,
        on_open: Callable[[Connection, Request], Refusal | None],
        on_message: Callable[[Connection, bool, bytes], object],
        on_close: Callable[[Connection, int, str], object],
        buffer_size: int = 65540,
        max_connections: int = 16384,
        handshake_timeout: float = 10.0,
        close_timeout: float = 10.0,
        linger_timeout: float = 2.0,
        reports: Reports | None = None,
    ) -> None:
        """Make an engine that has no clients yet.

        Args:
            on_open: Called as `on_open(connection, request)` when a client's request is valid.
                Returns None to accept it, or the `Refusal` to answer it with.
            on_message: Called as `on_message(connection, binary, payload)` for each message.
            on_close: Called as `on_close(connection, code, reason)` once for each connection that
                was accepted, at the end of the turn in which it ended.
            buffer_size: Bytes, 10 to 65540 (R30). The largest payload in, and the largest frame
                out, has 5 less.
            max_connections: Simultaneous connections (R32); one more is answered 503.
            handshake_timeout: Seconds for a request to arrive.
            close_timeout: Seconds without progress after which a closing connection is cut off.
            linger_timeout: Seconds for a client to take in why it was dropped.
            reports: Takes what is to be logged.
        """
    @property
    def wakeup_descriptor(self) -> int:
        """Whatever is written here ends the loop's sleep; for `signal.set_wakeup_fd`."""
    def listen(self, descriptor: int) -> None:
        """Take clients from a listening socket that does not block. The caller keeps owning it."""
    def stop_listening(self) -> None:
        """Take no more clients. Those that were not taken wait in the kernel."""
    def watch(self, descriptor: int, function: Callable[[], object]) -> None:
        """Call `function()` in each turn in which a descriptor is readable, until `unwatch`."""
    def unwatch(self, descriptor: int) -> None:
        """Leave a descriptor alone from now on. Do nothing if it is not watched."""
    def adopt(self, descriptor: int) -> Connection | None:
        """Take a connected stream socket, which does not block, as a client; None: no memory."""
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
    def every(self, seconds: float, function: Callable[[], object]) -> Timer:
        """Call `function()` each time that many seconds have passed since the last call (R14)."""
    def shutdown(self, timeout: float, code: int = 1001, reason: str = "") -> None:
        """End all connections; cut off those left after `timeout` seconds or a second `stop`."""
    def close(self) -> None:
        """Cut off all connections, without any callback, and close the engine's descriptors."""
    def all_connections(self) -> list[Connection]:
        """The connections that have a descriptor, in whatever state."""
