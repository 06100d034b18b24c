# cython: language_level=3, freethreading_compatible=False
"""Engine: what Python sees of the loop that owns the descriptors, the buffers and the time of all
connections of one listening socket."""

cimport cython
from cpython.exc cimport PyErr_SetFromErrno
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport UINT64_MAX, uint64_t
from posix.fcntl cimport F_GETFD, fcntl

from dorrit.engine.accept cimport stop_listening, take_again, take_client, take_spare
from dorrit.engine.budget cimport count_request
from dorrit.engine.c.build cimport DORRIT_INVARIANTS
from dorrit.engine.c.connection cimport (
    DORRIT_ACCEPTED,
    DORRIT_AWAITED,
    DORRIT_OPEN,
    DORRIT_UNDECIDED,
)
from dorrit.engine.c.poller cimport dorrit_poller_add, dorrit_poller_open, dorrit_poller_remove
from dorrit.engine.c.sockets cimport dorrit_monotonic_milliseconds, dorrit_socket_identity
from dorrit.engine.c.topics cimport dorrit_topics_close
from dorrit.engine.calls cimport open_waker
from dorrit.engine.carry_in cimport carry_in
from dorrit.engine.carry_out cimport abandon, carry_out, room_to_carry
from dorrit.engine.channel cimport Channel, is_passed, note_end
from dorrit.engine.confirm cimport catch_up, release_kept
from dorrit.engine.connection cimport Connection
from dorrit.engine.deadlines cimport SLEEP_MAX, milliseconds_to_sleep
from dorrit.engine.descriptors cimport take_over
from dorrit.engine.fork cimport check_process, close_descriptors, note_engine
from dorrit.engine.head cimport decide
from dorrit.engine.invariants cimport record_all_along
from dorrit.engine.life cimport fail, pause_reading, release, resume_reading
from dorrit.engine.limits cimport limits_take, milliseconds_of
from dorrit.engine.message cimport payload_of
from dorrit.engine.passed cimport take_new
from dorrit.engine.publish cimport count, publish
from dorrit.engine.queue cimport QUEUE_FRAMES_MAX
from dorrit.engine.record cimport start_recording
from dorrit.engine.references cimport references_free
from dorrit.engine.resume cimport end_resumption
from dorrit.engine.roster cimport Roster
from dorrit.engine.shutdown cimport begin_shutdown, close_engine, end_shutdown
from dorrit.engine.table cimport all_connections
from dorrit.engine.timers cimport Timer, timer_new
from dorrit.engine.topics cimport topic_from
from dorrit.engine.turn cimport check_outside_turn, check_usable, turn
from dorrit.engine.work cimport wake

from collections import OrderedDict, deque

from dorrit.engine.callback_names import HANDLERS
from dorrit.engine.limits import Limits
from dorrit.engine.reports import Reports


@cython.final
cdef class Engine:
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

    def __cinit__(self, *args, **settings):
        self.poller = -1
        self.waker = -1
        self.woken_end = -1
        self.listener = -1
        self.spare = -1
        self.deadline_first = UINT64_MAX
        self.handshaking = OrderedDict()
        self.lingerers = OrderedDict()
        self.timers = []
        self.calls = deque()
        self.watched = {}
        self.left = {}
        self.listeners = {}
        self.heard_topics, self.to_confirm, self.to_publish = deque(), deque(), deque()
        self.topics.release = release_kept
        self.input = <uint8_t *>PyMem_Malloc(SCRATCH_SIZE)
        self.output = <uint8_t *>PyMem_Malloc(SCRATCH_SIZE)
        if self.input == NULL or self.output == NULL:
            raise MemoryError
        note_engine(self)

    def __init__(
        self,
        *,
        on_open,
        on_message,
        on_close,
        limits=Limits(),
        reports=None,
        text_as_str: bool = False,
        names=HANDLERS,
        on_resume=None,
        on_subscribed=None,
        carries: bool = False,
    ):
        if self.poller >= 0:
            raise RuntimeError("an engine is set up once")
        self.on_open = on_open
        self.on_message = on_message
        self.on_close = on_close
        self.on_resume = on_resume
        self.on_subscribed = on_subscribed
        self.carries = carries
        limits_take(&self.limits, limits)
        self.fragment_max = self.limits.buffer_size - 5
        if not limits.rfc:
            self.limits.max_message = self.fragment_max     # R5: one frame, whole in the buffer
        self.allow_peer = limits.allow_peer
        self.deflate = limits.policy
        self.keeps_window = carries and limits.deflate_keep_window
        self.health = limits.health
        self.reports = Reports(names=names) if reports is None else reports
        self.access_log = self.reports.access_log
        self.text_as_str = text_as_str
        self.names = names
        self.poller = dorrit_poller_open()
        if self.poller < 0:
            PyErr_SetFromErrno(OSError)
        open_waker(self)
        take_spare(self)
        if DORRIT_INVARIANTS:
            record_all_along(self)

    def __dealloc__(self):
        # A connection in the table holds a reference to its engine, and an engine that is closed has
        # none left: whatever stands here is empty.
        PyMem_Free(self.table)
        dorrit_topics_close(&self.topics)
        references_free(&self.dirty)
        references_free(&self.ended)
        references_free(&self.resumed)
        references_free(&self.touched)
        PyMem_Free(self.input)
        PyMem_Free(self.output)
        close_descriptors(self)

    # The listening socket, and clients

    def listen(self, descriptor: int) -> None:
        """Take clients from a listening socket that does not block. The caller keeps owning it.

        Raises:
            OSError: The descriptor can't be watched.
        """
        check_usable(self)
        if dorrit_poller_add(self.poller, descriptor) < 0:
            PyErr_SetFromErrno(OSError)
        take_over(self, descriptor)
        self.listener = descriptor

    def supervise(self, Roster roster) -> None:
        """Let a roster have the clients that come, and hear its worker in the engine's turns."""
        self.roster = roster

    def go_on_accepting(self) -> None:
        """Take clients again, now that the roster has a worker for them."""
        take_again(self)

    def join_supervisor(self, Channel channel not None, on_ask, on_end) -> None:
        """Take the clients that a supervisor passes on, and let it know of each that is over.

        Args:
            channel: The way to it. The caller keeps it, as long as the engine lives.
            on_ask: Called without arguments when it wants to know how the worker is.
            on_end: Called likewise when it has ended.

        Raises:
            OSError: The channel can't be watched.
        """
        check_usable(self)
        if dorrit_poller_add(self.poller, channel.channel.descriptor) < 0:
            PyErr_SetFromErrno(OSError)
        channel.on_ask, channel.on_end = on_ask, on_end
        self.channel = channel

    def take_passed(self, descriptors) -> None:
        """Take connections as new clients, which came from the supervisor before the first turn.

        Args:
            descriptors: Of them, which the engine owns from here on.

        Raises:
            ValueError: One has not come so; those before it are taken.
        """
        cdef int descriptor
        for descriptor in descriptors:
            if self.channel is None or not is_passed(self.channel, descriptor):
                raise ValueError(f"descriptor {descriptor} has not come from a supervisor")
            take_new(self, descriptor)

    def give_up_passed(self, descriptors) -> None:
        """Say of those that came so, and that the engine does not have, that they are over."""
        cdef int descriptor
        if self.channel is not None:
            for descriptor in self.without_connection(descriptors):
                note_end(self.channel, descriptor)

    def stop_listening(self) -> None:
        """Take no more clients. Those that have connected and were not taken wait in the kernel."""
        stop_listening(self)

    def adopt(self, descriptor: int) -> Connection:
        """Take a connected stream socket as a client that has not sent its request yet.

        Args:
            descriptor: Does not block. The engine owns it from here on and closes it.

        Returns:
            The connection; None: there was no memory for it.

        Raises:
            OSError: It is not open, or the engine has it already.
        """
        check_usable(self)
        if fcntl(descriptor, F_GETFD) < 0:
            PyErr_SetFromErrno(OSError)
        return take_client(self, descriptor)

    def all_connections(self) -> list:
        """The connections that have a descriptor, in whatever state."""
        return all_connections(self)

    def open_connections(self) -> list:
        """The connections that the open callback has accepted and that are not closing."""
        cdef size_t descriptor
        return [
            <object>self.table[descriptor]
            for descriptor in range(self.table_size)
            if self.table[descriptor] != NULL
            and (<Connection>self.table[descriptor]).state.admission == DORRIT_ACCEPTED
            and (<Connection>self.table[descriptor]).state.life == DORRIT_OPEN
        ]

    def publish(self, topic, message, exclude=None, binary=None) -> int:
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
        cdef bint is_binary = not isinstance(message, str) if binary is None else binary
        cdef bytes payload = payload_of(is_binary, message)
        if <size_t>len(payload) > self.limits.max_publish:
            raise ValueError(
                f"a message of {len(payload)} bytes can't be published: the setting max_publish allows "
                f"{self.limits.max_publish}")
        return publish(self, topic, is_binary, payload, exclude)

    def listen_to_topic(self, topic, function) -> None:
        """Have `function(topic, message)` called for each message that is published to a topic.

        It is called in the loop's thread, soon after `publish` has returned, in order, and with a
        str or bytes.

        Raises:
            TypeError: `topic` is not a str.
            ValueError: It can't be a topic.
        """
        self.listeners.setdefault(topic_from(topic), []).append(function)

    def catch_up(self, Connection connection not None, topic) -> None:
        """Let a connection have what has been published to a topic since it has subscribed.

        For each call of `on_subscribed` that has returned `PENDING`. Does nothing if the connection
        is over or has left the topic.

        Raises:
            MemoryError: There was no memory for it.
        """
        catch_up(connection, topic_from(topic))

    def count(self, topic) -> int:
        """How many connections are subscribed to a topic.

        Raises:
            TypeError: It is not a str.
            ValueError: It can't be a topic.
        """
        return count(self, topic)

    @property
    def lingering(self) -> int:
        """How many of them are over for the user, and only wait for their end."""
        return len(self.lingerers)

    # The loop

    def fileno(self) -> int:
        """The descriptor that is readable when `poll` has something to do."""
        check_usable(self)
        return self.poller

    @property
    def wakeup_descriptor(self) -> int:
        """Whatever is written here ends the loop's sleep; for `signal.set_wakeup_fd`."""
        return self.waker

    def timeout(self) -> float | None:
        """Seconds until `poll` should be called though `fileno` is not readable; None: never."""
        cdef int milliseconds = milliseconds_to_sleep(self)
        return None if milliseconds < 0 else milliseconds / 1000

    def poll(self) -> None:
        """Do what there is to do, without waiting.

        Raises:
            RuntimeError: Called from a callback.
        """
        turn(self, 0)

    def run(self) -> None:
        """Serve until `stop` is called.

        SystemExit and KeyboardInterrupt, from a callback or a signal handler, end it too; then it
        can be called again.
        """
        try:
            while not self.stopping:
                turn(self, milliseconds_to_sleep(self))
        finally:
            self.stopping = False

    def stop(self) -> None:
        """Let `run` return soon. May be called from a callback or a signal handler."""
        self.stopping = True
        wake(self)

    def shutdown(self, timeout: float, code: int = 1001, reason: str = "") -> None:
        """End all connections; cut off those left after `timeout` seconds or a second `stop` (R27).

        Every close callback has run when it returns.

        Raises:
            RuntimeError: Called from a callback.
        """
        cdef uint64_t end = dorrit_monotonic_milliseconds() + milliseconds_of(timeout)
        cdef uint64_t now
        cdef int milliseconds
        try:
            begin_shutdown(self, code, reason)
            while self.connections > 0 and not self.stopping:
                now = dorrit_monotonic_milliseconds()
                if now >= end:
                    break
                milliseconds = milliseconds_to_sleep(self)
                if milliseconds < 0 or <uint64_t>milliseconds > end - now:
                    milliseconds = <int>min(end - now, <uint64_t>SLEEP_MAX)
                turn(self, milliseconds)
        finally:
            end_shutdown(self)

    def begin_shutdown(self, code: int = 1001, reason: str = "") -> None:
        """Take no more clients and close all connections in order; the caller turns the loop.

        Raises:
            RuntimeError: Called from a callback.
        """
        begin_shutdown(self, code, reason)

    def end_shutdown(self) -> None:
        """Cut off the connections that are left, and run the close callbacks."""
        end_shutdown(self)

    def close(self) -> None:
        """Cut off all connections, without any callback, and close the engine's descriptors.

        Raises:
            RuntimeError: Called from a callback.
        """
        close_engine(self)

    # From one image of the process to the next

    def carry_out(self, descriptor: int) -> list:
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
        return carry_out(self, descriptor)

    @property
    def room_to_carry(self) -> int:
        """About how many bytes `carry_out` would write now."""
        return room_to_carry(self)

    def abandon(self, Connection culprit) -> list:
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
        return abandon(self, culprit)

    def carry_in(self, descriptor: int, sockets=None, code: int = 1011) -> tuple:
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
        cdef dict places = None
        cdef uint64_t identity
        if sockets is not None:
            places = {}
            for number in sockets:
                if dorrit_socket_identity(<int>number, &identity) == 0:
                    places[identity] = number
        return carry_in(self, descriptor, places, code)

    def record(self, descriptor: int) -> None:
        """Write down from now on what connections need to outlive the process.

        Args:
            descriptor: Of an empty file, which the caller keeps open as long as the engine lives.

        Raises:
            RuntimeError: It does already, called from a callback, or the engine is closed.
            OSError: There is no memory or room for it.
        """
        check_usable(self)
        check_outside_turn(self)
        if self.recording is not None and self.recording.owned < 0:
            raise RuntimeError("the connections are written down already")
        start_recording(self, descriptor)

    @property
    def record_place(self) -> tuple[int, int]:
        """Where in memory connections are written down, and bytes; zeros: nowhere."""
        return (0, 0) if self.recording is None else self.recording.place

    @property
    def unrecorded(self) -> int:
        """How many connections are not written down: they would end with the process."""
        return self.connections - (0 if self.recording is None else self.recording.recorded)

    def without_connection(self, descriptors) -> list:
        """Return those of some descriptors that are not those of its connections."""
        cdef int descriptor
        return [
            descriptor for descriptor in descriptors
            if not (0 <= descriptor < <Py_ssize_t>self.table_size and self.table[descriptor] != NULL)
        ]

    # Functions that are called in its turns

    def every(self, seconds: float, function) -> Timer:
        """Call `function()` each time that many seconds have passed since the last call (R14).

        Raises:
            ValueError: `seconds` is not positive.
        """
        return timer_new(self, seconds, function)

    def watch(self, descriptor: int, function) -> None:
        """Call `function()` in each turn in which a descriptor is readable, until `unwatch`.

        The caller keeps owning it, and does not close it before that. The function must not block.

        Raises:
            ValueError: It is watched already.
            OSError: The descriptor can't be watched.
        """
        check_usable(self)
        if descriptor in self.watched:
            raise ValueError(f"descriptor {descriptor} is watched already")
        if dorrit_poller_add(self.poller, descriptor) < 0:
            PyErr_SetFromErrno(OSError)
        take_over(self, descriptor)
        self.watched[descriptor] = function

    def unwatch(self, descriptor: int) -> None:
        """Leave a descriptor alone from now on. Do nothing if it is not watched."""
        if self.watched.pop(descriptor, None) is not None:
            dorrit_poller_remove(self.poller, descriptor)

    def call_soon_threadsafe(self, function, *arguments) -> None:
        """Call `function(*arguments)` in the loop's thread, soon.

        The one thing, with `stop`, that may be called from any thread.

        Raises:
            RuntimeError: The engine is closed.
        """
        check_usable(self)
        self.calls.append((function, arguments))
        wake(self)

    def call_at_turn(self, function) -> None:
        """Call `function()` once, when the next turn begins that has something to do.

        What was to be called before is not. May be called from any thread. It must not raise.
        """
        self.at_turn = function

    # Connections whose user needs time

    def join_loop(
            self, drain, on_room, on_messages=None, max_waiting=0, is_busy=None, end_child=None,
            forget=None, unhandled=None, due=None, subscribed=None) -> None:
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
        self.drain = drain
        self.on_room = on_room
        self.on_messages = on_messages
        self.others = []
        self.batch_max = max_waiting + 1
        self.is_busy = is_busy
        self.end_child = end_child
        self.forget = forget
        self.unhandled = unhandled
        self.due = due
        self.subscribed = subscribed
        self.stay()

    def pause(self, Connection connection not None) -> None:
        """Read nothing from a connection until `resume`.

        What the client sends waits, in one buffer at most and then in the kernel, and the client
        feels it. A connection that is closing is read on.
        """
        pause_reading(connection)

    def resume(self, Connection connection not None) -> None:
        """Read from a connection again."""
        resume_reading(connection)

    def answer(self, Connection connection not None, answer) -> None:
        """Answer a request whose open callback has returned `PENDING`.

        If it is accepted and over already, its close callback runs.

        Args:
            connection: The client's.
            answer: As what the open callback returns: None to accept, or a `Refusal`.

        Raises:
            RuntimeError: It has been answered.
        """
        if connection.kept_request is None or connection.state.admission == DORRIT_ACCEPTED:
            raise RuntimeError("the client's request has been answered already")
        if connection.state.admission == DORRIT_AWAITED:
            connection.state.admission = DORRIT_UNDECIDED
            if connection.state.descriptor < 0:
                self.departed -= 1
        decide(connection, answer)
        if connection.head is not None and connection.state.descriptor >= 0:
            count_request(connection, <size_t>len(connection.head))
        release(connection)

    def answer_resume(self, Connection connection not None, answer) -> None:
        """Answer for a connection whose `on_resume` has returned `PENDING`.

        Args:
            connection: The client's.
            answer: None: it goes on; or a `Dismissal`.

        Raises:
            RuntimeError: It has been answered.
        """
        end_resumption(connection, answer)

    def has_room(self, Connection connection not None) -> bool:
        """Whether at most half of what may wait for a client does, or it is over."""
        if connection.state.life != DORRIT_OPEN:
            return True
        return not connection.state.refusing and (
            connection.state.queue.counted <= QUEUE_FRAMES_MAX // 2) and (
            self.limits.max_pending_bytes == 0
            or connection.state.queue.bytes <= self.limits.max_pending_bytes // 2)

    def want_room(self, Connection connection not None) -> None:
        """Have `on_room` called when the queue of an open connection has been written."""
        connection.state.room_wanted = True

    def fail(self, Connection connection not None, code: int, reason: str) -> None:
        """Close a connection with this code at once, instead of what is queued (RFC 6455 7.1.7)."""
        fail(connection, code, reason, True)

    # Processes

    def stay(self) -> None:
        """Leave nothing to a process that is forked off this one, by whom and whenever.

        Otherwise one that is forked between two turns may take it over, see `own`.
        """
        self.stays = True

    def own(self) -> None:
        """Make the calling process its owner, if that was not forked in a callback."""
        if not self.is_lost:
            self.forked = False

    @property
    def is_forked(self) -> bool:
        """Whether this is another process than the one that it belongs to."""
        return self.forked

    def check_process(self, callback: str, error: BaseException | None) -> None:
        """End a callback, and the turn, in a process that it has forked.

        What there is of connections, descriptors and files is its parent's.

        Args:
            callback: Which one has just ended.
            error: What it has raised, or None.

        Raises:
            SystemExit, KeyboardInterrupt: It is such a process. In an event loop it has ended.
        """
        check_process(self, callback, error)
