"""What Python sees of `dorrit.engine.loop`."""

from collections.abc import Awaitable, Callable, Collection
from typing import final

from dorrit.engine.calls import Calls
from dorrit.engine.connection import Connection
from dorrit.engine.reports import Reports
from dorrit.protocol.deflate import Policy
from dorrit.protocol.handshake import Request
from dorrit.protocol.refusal import Refusal

@final
class Engine(Calls):
    """Serves the connections of one listening socket, in the thread that calls `run` or `poll`."""

    def __init__(
        self,
        *,
        on_open: Callable[[Connection, Request], object],
        on_message: Callable[..., object],
        on_close: Callable[[Connection, int, str], object],
        buffer_size: int = 65540,
        max_connections: int = 16384,
        handshake_timeout: float = 10.0,
        close_timeout: float = 10.0,
        linger_timeout: float = 2.0,
        reports: Reports | None = None,
        text_as_str: bool = False,
        keep_requests: bool = False,
        peers: Collection[int] | None = None,
        max_pending_bytes: int = 0,
        close_slow_clients: bool = False,
        ping_interval: float = 0.0,
        ping_timeout: float = 20.0,
        idle_timeout: float = 0.0,
        rfc: bool = False,
        max_message: int = ...,
        max_frame_rate: int = 0,
        max_head: int = ...,
        max_handshakes: int = 1024,
        max_buffered: int = ...,
        deflate: Policy | None = None,
        health: str | None = None,
    ) -> None:
        """Make an engine that has no clients yet.

        Args:
            on_open: Called as `on_open(connection, request)` when a client's request is valid.
                Returns None to accept it, the `Refusal` to answer it with, or `PENDING` to answer
                later, with `answer`.
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
            text_as_str: Calls `on_message(connection, message)` instead, with a str or bytes.
            keep_requests: `Connection.request` stays there as long as the connection.
            peers: The numbers of the users whose processes may connect; None: anybody's.
            max_pending_bytes: Bytes that may wait for one client beside the 200 frames; 0: any
                number.
            close_slow_clients: A client whose queue is full is closed with 1008 (R20).
            ping_interval: Seconds of silence after which a client gets a ping; 0: never.
            ping_timeout: Seconds of silence after a ping, after which the connection is closed.
            idle_timeout: Seconds without a message, in or out, after which it is closed; 0: never.
            rfc: Accepts all of RFC 6455: fragments, and messages of `max_message` bytes. Otherwise
                messages are one frame of buffer_size - 5 bytes at most (R5).
            max_message: Bytes of the largest message that is accepted, 1 to 1 GiB; of a compressed
                one, decompressed.
            max_frame_rate: Frames that a client may send in a second; 0: any number.
            max_head: Bytes of the largest head of a request.
            max_handshakes: Connections whose request has not come; the oldest is turned away for
                one more.
            max_buffered: Bytes of messages under way, queued or incomplete, for all clients
                together; then the client with most of them is closed with 1013. 0: any number.
            deflate: Messages may be compressed. None: never.
            health: The path of which a plain GET is answered 200, or 503 in a shutdown; None: none.
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
