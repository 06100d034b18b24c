"""What Python sees of `dorrit.engine.engine`."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, final

from typing_extensions import Buffer

from dorrit.engine.callback_names import CallbackNames
from dorrit.engine.channel import Channel
from dorrit.engine.connection import Connection
from dorrit.engine.limits import Limits
from dorrit.engine.recovered import Recovered
from dorrit.engine.reports import Reports
from dorrit.engine.roster import Roster
from dorrit.engine.timers import Timer
from dorrit.protocol.closing import Dismissal
from dorrit.protocol.handshake import Request
from dorrit.protocol.refusal import Refusal

@final
class Engine:
    """Serve the connections of one listening socket, in the thread that calls `run` or `poll`.

    Args:
        on_open: Called as `on_open(connection, request)` when a client's request is valid. Returns
            `None` to accept it, or the `Refusal` to answer it with.
        on_message: Called as `on_message(connection, binary, payload)` for each message.
        on_close: Called as `on_close(connection, code, reason)` once for each connection that was
            accepted, at the end of the turn in which it ended.
        limits: A `dorrit.engine.limits.Limits`: what it is told.
        reports: Takes what is to be logged.
        text_as_str: Calls `on_message(connection, message)` instead, with a `str` or `bytes`.
        names: What the user calls the callbacks, a `dorrit.engine.callback_names.CallbackNames`.
        on_resume: Called as `on_resume(connection, request, state, begun)` in the first turns for
            each connection that was carried in and is open. `state` is what `Connection.save` has
            kept, or None; `begun` a message whose handler was cut off, or None. Returns None: it
            goes on; `PENDING`: `answer_resume` follows; or a `Dismissal`.
        on_subscribed: Called as `on_subscribed(connection, topic, recovered)` at the end of a turn
            for each topic that a connection has subscribed to, when that is accepted. Until it
            returns, what is published to the topic waits for the connection. Returns `PENDING` if
            that is to wait for `catch_up`. None: nothing waits.
        carries: Connections may be carried out: what is needed for that is kept of each.
    """

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
        on_resume: Callable[[Connection, Request, bytes | None, str | bytes | None], object]
        | None = None,
        on_subscribed: Callable[[Connection, str, Recovered], object] | None = None,
        carries: bool = False,
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
            on_resume: Hears of connections that were carried in.
            on_subscribed: Hears of subscriptions, before what is published gets there.
            carries: Connections may be carried out.
        """
    @property
    def wakeup_descriptor(self) -> int:
        """Whatever is written here ends the loop's sleep; for `signal.set_wakeup_fd`."""
    def listen(self, descriptor: int) -> None:
        """Take clients from a listening socket that does not block. The caller keeps owning it.

        Raises:
            OSError: The descriptor can't be watched.
        """
    def supervise(self, roster: Roster) -> None:
        """Let a roster have the clients that come, and hear its worker in the engine's turns."""
    def go_on_accepting(self) -> None:
        """Take clients again, now that the roster has a worker for them."""
    def join_supervisor(
        self, channel: Channel, on_ask: Callable[[], object], on_end: Callable[[], object]
    ) -> None:
        """Take the clients that a supervisor passes on, and let it know of each that is over.

        Args:
            channel: The way to it. The caller keeps it, as long as the engine lives.
            on_ask: Called without arguments when it wants to know how the worker is.
            on_end: Called likewise when it has ended.

        Raises:
            OSError: The channel can't be watched.
        """
    def take_passed(self, descriptors: Iterable[int]) -> None:
        """Take connections as new clients, which came from the supervisor before the first turn.

        Args:
            descriptors: Of them, which the engine owns from here on.

        Raises:
            ValueError: One has not come so; those before it are taken.
        """
    def give_up_passed(self, descriptors: Iterable[int]) -> None:
        """Say of those that came so, and that the engine does not have, that they are over."""
    def stop_listening(self) -> None:
        """Take no more clients. Those that have connected and were not taken wait in the kernel."""
    def fileno(self) -> int:
        """The descriptor that is readable when `poll` has something to do."""
    def timeout(self) -> float | None:
        """Seconds until `poll` should be called though `fileno` is not readable; None: never."""
    def poll(self) -> None:
        """Do what there is to do, without waiting.

        Raises:
            RuntimeError: Called from a callback.
        """
    def run(self) -> None:
        """Serve until `stop` is called.

        SystemExit and KeyboardInterrupt, from a callback or a signal handler, end it too; then it
        can be called again.
        """
    def stop(self) -> None:
        """Let `run` return soon. May be called from a callback or a signal handler."""
    def pause(self, connection: Connection) -> None:
        """Read nothing from a connection until `resume`.

        What the client sends waits, in one buffer at most and then in the kernel, and the client
        feels it. A connection that is closing is read on.
        """
    def resume(self, connection: Connection) -> None:
        """Read from a connection again."""
    def answer(self, connection: Connection, answer: Refusal | None) -> None:
        """Answer a request whose open callback has returned `PENDING`.

        If it is accepted and over already, its close callback runs.

        Args:
            connection: The client's.
            answer: As what the open callback returns: None to accept, or a `Refusal`.

        Raises:
            RuntimeError: It has been answered.
        """
    def join_loop(
        self,
        drain: Callable[[Connection], Awaitable[None]],
        on_room: Callable[[Connection], object],
        on_messages: Callable[[Connection, str | bytes, list[str | bytes]], object] | None = None,
        max_waiting: int = 0,
        is_busy: Callable[[Connection], bool] | None = None,
        end_child: Callable[[BaseException], object] | None = None,
        forget: Callable[[Connection | None], object] | None = None,
        unhandled: Callable[[Connection], tuple[str | bytes | None, list[str | bytes]]]
        | None = None,
        due: Callable[[], list[Connection]] | None = None,
        subscribed: Callable[[Connection, str], Awaitable[Recovered | None]] | None = None,
    ) -> None:
        """Serve connections whose user awaits.

        Args:
            drain: `drain(connection)` makes what `Connection.drain` returns.
            on_room: Called as `on_room(connection)` once after each `want_room`, when the queue has
                been written or the connection is over.
            on_messages: Called as `on_messages(connection, first, others)` with those that one read
                has brought, as str and bytes, instead of `on_message` with each; `others` is a
                list. It must not raise but to end the server. None: each goes to `on_message`.
            max_waiting: Messages that may wait for a connection's handler; it is handed one more.
            is_busy: `is_busy(connection)` says whether a message of its client is being handled:
                that time is not idle.
            end_child: Called as `end_child(error)` in a process that a callback has forked, which
                it ends: an event loop might go on in spite of an exception, as that of uvloop does.
            forget: `forget(connection)` lets the messages go that wait for handlers of a
                connection; `forget(None)` those of all connections that are over. There is no room
                for them.
            unhandled: `unhandled(connection)` returns the message that is under way in a handler,
                or None, and a list of those that wait behind it, when connections are carried out.
            due: `due()` returns connections whose close handler has not begun yet, or whose
                resumption has not been answered. Of those that are over the next image's user is
                told.
            subscribed: `subscribed(connection, topic)` makes what `Connection.subscribed` returns.
        """
    def answer_resume(self, connection: Connection, answer: Dismissal | None) -> None:
        """Answer for a connection whose `on_resume` has returned `PENDING`.

        Args:
            connection: The client's.
            answer: None: it goes on; or a `Dismissal`.

        Raises:
            RuntimeError: It has been answered.
        """
    def carry_out(self, descriptor: int) -> list[int]:
        """Write all connections into a ledger, and give them up; the engine is closed.

        Whoever has a handle finds it closed; no callback hears of it; and the sockets stay open,
        for whoever carries them in.

        Args:
            descriptor: Of an empty file, which the caller keeps.

        Returns:
            The descriptors of the sockets.

        Raises:
            RuntimeError: Called from a callback, or the engine is closed.
            OSError: There is no memory or room for it; then nothing has changed.
        """
    @property
    def room_to_carry(self) -> int:
        """About how many bytes `carry_out` would write now."""
    def abandon(self, culprit: Connection | None) -> list[int]:
        """Give all connections up as a crash of the process does: for tests of what it leaves.

        They go on as they are written down, see `record`. Nothing is written any more, and no
        callback hears of it; the engine is closed.

        Args:
            culprit: The connection whose callback has crashed; None: it was nobody's.

        Returns:
            The descriptors of the sockets that stay open, for whoever carries them in.

        Raises:
            RuntimeError: Nothing is written down, called from a callback, or the engine is closed.
            ValueError: The connection is over, or another engine's; nothing has changed.
        """
    def carry_in(
        self, descriptor: int, sockets: Iterable[int] | None = None, code: int = 1011
    ) -> tuple[int, int]:
        """Take in what another engine has carried out, before the first client; the file stays so.

        Args:
            descriptor: Of the file.
            sockets: The descriptors that the connections have in this process; None: the same as in
                the one before, whose descriptors were inherited.
            code: What the client is told whose input was being handled when the one before ended.

        Returns:
            How many connections go on, and how many are lost: their records are damaged, or their
            descriptors something else by now. Neither are those that end since the process has.

        Raises:
            RuntimeError: The engine has had clients.
            ValueError: It is not a ledger that this release reads.
            OSError: It can't be read.
        """
    def record(self, descriptor: int) -> None:
        """Write down from now on what connections need to outlive the process.

        Args:
            descriptor: Of an empty file, which the caller keeps open as long as the engine lives.

        Raises:
            RuntimeError: It does already, called from a callback, or the engine is closed.
            OSError: There is no memory or room for it.
        """
    @property
    def record_place(self) -> tuple[int, int]:
        """Where in memory connections are written down, and bytes; zeros: nowhere."""
    @property
    def unrecorded(self) -> int:
        """How many connections are not written down: they would end with the process."""
    def without_connection(self, descriptors: Iterable[int]) -> list[int]:
        """Return those of some descriptors that are not those of its connections."""
    def has_room(self, connection: Connection) -> bool:
        """Whether at most half of what may wait for a client does, or it is over."""
    def want_room(self, connection: Connection) -> None:
        """Have `on_room` called when the queue of an open connection has been written."""
    def fail(self, connection: Connection, code: int, reason: str) -> None:
        """Close a connection with this code at once, instead of what is queued (RFC 6455 7.1.7)."""
    def shutdown(self, timeout: float, code: int = 1001, reason: str = "") -> None:
        """End all connections; cut off those left after `timeout` seconds or a second `stop` (R27).

        Every close callback has run when it returns.

        Raises:
            RuntimeError: Called from a callback.
        """
    def begin_shutdown(self, code: int = 1001, reason: str = "") -> None:
        """Take no more clients and close all connections in order; the caller turns the loop.

        Raises:
            RuntimeError: Called from a callback.
        """
    def end_shutdown(self) -> None:
        """Cut off the connections that are left, and run the close callbacks."""
    def close(self) -> None:
        """Cut off all connections, without any callback, and close the engine's descriptors.

        Raises:
            RuntimeError: Called from a callback.
        """
    def open_connections(self) -> list[Connection]:
        """The connections that the open callback has accepted and that are not closing."""
    def all_connections(self) -> list[Connection]:
        """The connections that have a descriptor, in whatever state."""
    @property
    def connections(self) -> int:
        """Connections that have a descriptor, in whatever state."""
    def stay(self) -> None:
        """Leave nothing to a process that is forked off this one, by whom and whenever.

        Otherwise one that is forked between two turns may take it over, see `own`.
        """
    def own(self) -> None:
        """Make the calling process its owner, if that was not forked in a callback."""
    @property
    def is_forked(self) -> bool:
        """Whether this is another process than the one that it belongs to."""
    def check_process(self, callback: str, error: BaseException | None) -> None:
        """End a callback, and the turn, in a process that it has forked.

        What there is of connections, descriptors and files is its parent's.

        Args:
            callback: Which one has just ended.
            error: What it has raised, or None.

        Raises:
            SystemExit, KeyboardInterrupt: It is such a process. In an event loop it has ended.
        """
    @property
    def assembled(self) -> int:
        """Bytes of incomplete messages, and of what was read too early or is kept (for tests)."""
    @property
    def in_turn(self) -> bool:
        """Whether a turn is under way."""
    @property
    def departed(self) -> int:
        """Connections that are over, and for which handlers still run."""
    def publish(
        self,
        topic: str,
        message: str | Buffer,
        exclude: Connection | None = None,
        binary: bool | None = None,
    ) -> int:
        """Queue a message for the connections that are subscribed to a topic.

        Args:
            topic: A str.
            message: As `Connection.send` takes it.
            exclude: A connection that shall not have it, or None.
            binary: Whether it is a binary message; None: unless it is a `str`.

        Returns:
            How many have it in their queue. Those whose queue has no room for all of it have not.

        Raises:
            TypeError: One of them is of another type.
            ValueError: The topic can't be one; or the message is larger than `max_publish`, or a
                text that can't be encoded or is not UTF-8.
            MemoryError: There was no memory for it, for some connections at least.
            RuntimeError: It is called in another thread than the server's.
        """
    def listen_to_topic(self, topic: str, function: Callable[[str, str | bytes], object]) -> None:
        """Have `function(topic, message)` called for each message that is published to a topic.

        It is called in the loop's thread, soon after `publish` has returned, in order, and with a
        str or bytes.

        Raises:
            TypeError: `topic` is not a str.
            ValueError: It can't be a topic.
        """
    def catch_up(self, connection: Connection, topic: str) -> None:
        """Let a connection have what has been published to a topic since it has subscribed.

        For each call of `on_subscribed` that has returned `PENDING`. Does nothing if the connection
        is over or has left the topic.

        Raises:
            MemoryError: There was no memory for it.
        """
    def count(self, topic: str) -> int:
        """How many connections are subscribed to a topic.

        Raises:
            TypeError: It is not a str.
            ValueError: It can't be a topic.
        """
    @property
    def lingering(self) -> int:
        """How many of them are over for the user, and only wait for their end."""
    def every(self, seconds: float, function: Callable[[], object]) -> Timer:
        """Call `function()` each time that many seconds have passed since the last call (R14).

        Raises:
            ValueError: `seconds` is not positive.
        """
    def adopt(self, descriptor: int) -> Connection | None:
        """Take a connected stream socket as a client that has not sent its request yet.

        Args:
            descriptor: Does not block. The engine owns it from here on and closes it.

        Returns:
            The connection; None: there was no memory for it.

        Raises:
            OSError: It is not open, or the engine has it already.
        """

    def watch(self, descriptor: int, function: Callable[[], object]) -> None:
        """Call `function()` in each turn in which a descriptor is readable, until `unwatch`.

        The caller keeps owning it, and does not close it before that. The function must not block.

        Raises:
            ValueError: It is watched already.
            OSError: The descriptor can't be watched.
        """
    def unwatch(self, descriptor: int) -> None:
        """Leave a descriptor alone from now on. Do nothing if it is not watched."""
    @property
    def turns(self) -> int:
        """How many have begun."""
    def call_at_turn(self, function: Callable[[], object]) -> None:
        """Call `function()` once, when the next turn begins that has something to do.

        What was to be called before is not. May be called from any thread. It must not raise.
        """
    def call_soon_threadsafe(
        self,
        function: Callable[..., object],
        *arguments: Any,  # noqa: ANN401 - the function's
    ) -> None:
        """Call `function(*arguments)` in the loop's thread, soon.

        The one thing, with `stop`, that may be called from any thread.

        Raises:
            RuntimeError: The engine is closed.
        """
