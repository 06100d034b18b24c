# cython: language_level=3, freethreading_compatible=False
"""Engine: the loop that owns the descriptors, the buffers and the time of all connections.

A turn of the loop: wait for the poller; read what has come, which runs the callbacks; run the timers
that are due and end what is late; then write what was queued, one gather write for each connection,
and run the close callbacks, until nothing of either is left.
"""

cimport cython
from cpython.exc cimport PyErr_SetFromErrno
from cpython.ref cimport Py_DECREF
from libc.errno cimport EINTR, errno
from libc.stddef cimport size_t
from libc.stdint cimport uint64_t
from posix.unistd cimport close as close_descriptor

from dorrit.engine.agenda cimport QUEUE_FRAMES_MAX, PyThread_get_thread_ident, forks
from dorrit.engine.calls cimport Calls
from dorrit.engine.connection cimport CLOSED, HANDSHAKING, OPEN, Connection
from dorrit.engine.invariants cimport check_invariants
from dorrit.engine.limits cimport limits_take, milliseconds_of
from dorrit.engine.opening cimport decide, refuse
from dorrit.engine.reader cimport read, read_stash
from dorrit.engine.references cimport References, references_drop, references_take
from dorrit.engine.results cimport check_result
from dorrit.engine.timekeeper cimport SLEEP_MAX
from dorrit.engine.writer cimport flush

from dorrit.engine.callback_names import HANDLERS
from dorrit.engine.limits import Limits
from dorrit.engine.reports import Reports
from dorrit.protocol.refusal import STOPPING, refusal


cdef extern from "poller.h" nogil:
    struct dorrit_poller_event:
        int descriptor
        bint readable
        bint writable

    enum:
        DORRIT_POLLER_EVENTS_MAX

    int dorrit_poller_open()
    void dorrit_poller_let_go(int poller)
    int dorrit_poller_add(int poller, int descriptor)
    int dorrit_poller_remove(int poller, int descriptor)
    int dorrit_poller_wait(
        int poller, dorrit_poller_event *events, int capacity, int milliseconds)

cdef extern from "sockets.h" nogil:
    uint64_t dorrit_monotonic_milliseconds()

cdef extern from *:
    """
    #ifndef DORRIT_INVARIANTS
    #define DORRIT_INVARIANTS 0
    #endif
    """
    bint DORRIT_INVARIANTS


cdef enum:
    # Bytes that a connection has queued for itself when its input has been read, from which on they
    # are written before the next one is read: what is in the processor's cache and goes back to the
    # allocator now need not be fetched and faulted in for each of a hundred connections.
    FLUSHED_AT_ONCE = 16 * 1024


@cython.final
cdef class Engine(Calls):
    """Serves the connections of one listening socket, in the thread that calls `run` or `poll`.

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
    """

    cdef bint stopping

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
    ):
        if self.poller >= 0:
            raise RuntimeError("an engine is set up once")
        self.on_open = on_open
        self.on_message = on_message
        self.on_close = on_close
        limits_take(&self.limits, limits)
        self.fragment_max = self.limits.buffer_size - 5
        if not limits.rfc:
            self.limits.max_message = self.fragment_max     # R5: one frame, whole in the buffer
        self.allow_peer = limits.allow_peer
        self.deflate = limits.policy
        self.health = limits.health
        self.reports = Reports() if reports is None else reports
        self.access_log = self.reports.access_log
        self.text_as_str = text_as_str
        self.names = names
        self.poller = dorrit_poller_open()
        if self.poller < 0:
            PyErr_SetFromErrno(OSError)
        self.open_waker()
        self.take_spare()

    def __dealloc__(self):
        if self.poller >= 0:
            close_descriptor(self.poller)

    # Use

    def listen(self, descriptor: int) -> None:
        """Takes clients from a listening socket that does not block. The caller keeps owning it.

        Raises:
            OSError: The descriptor can't be watched.
        """
        self.check_usable()
        if dorrit_poller_add(self.poller, descriptor) < 0:
            PyErr_SetFromErrno(OSError)
        self.take_over(descriptor)
        self.listener = descriptor

    def stop_listening(self) -> None:
        """Takes no more clients. Those that have connected and were not taken wait in the kernel."""
        if self.listener >= 0:
            dorrit_poller_remove(self.poller, self.listener)
            self.listener = -1
            self.listener_resumes = 0

    def fileno(self) -> int:
        """The descriptor that is readable when `poll` has something to do."""
        self.check_usable()
        return self.poller

    @property
    def wakeup_descriptor(self) -> int:
        """Whatever is written here ends the loop's sleep; for `signal.set_wakeup_fd`."""
        return self.waker

    def timeout(self) -> float | None:
        """Seconds until `poll` should be called though `fileno` is not readable; None: never."""
        cdef int milliseconds = self.sleep()
        return None if milliseconds < 0 else milliseconds / 1000

    def poll(self) -> None:
        """Does what there is to do, without waiting.

        Raises:
            RuntimeError: Called from a callback.
        """
        self.turn(0)

    def run(self) -> None:
        """Serves until `stop` is called. SystemExit and KeyboardInterrupt, from a callback or a
        signal handler, end it too; then it can be called again."""
        try:
            while not self.stopping:
                self.turn(self.sleep())
        finally:
            self.stopping = False

    def stop(self) -> None:
        """Lets `run` return soon. May be called from a callback or a signal handler."""
        self.stopping = True
        self.wake()

    def pause(self, Connection connection not None) -> None:
        """Reads nothing from a connection until `resume`; what the client sends waits, in one buffer
        at most and then in the kernel, and the client feels it. A connection that is closing is read
        on."""
        connection.pause()

    def resume(self, Connection connection not None) -> None:
        """Reads from a connection again."""
        connection.resume()

    def answer(self, Connection connection not None, answer) -> None:
        """Answers a request whose open callback has returned `PENDING`. If it is accepted and over
        already, its close callback runs.

        Args:
            answer: As what the open callback returns: `None` to accept, or a `Refusal`.

        Raises:
            RuntimeError: It has been answered.
        """
        if connection.kept_request is None or connection.accepted:
            raise RuntimeError("the client's request has been answered already")
        if connection.asked:
            connection.asked = False
            if connection.descriptor < 0:
                self.departed -= 1
        decide(connection, answer)
        connection.release()

    def join_loop(
            self, drain, on_room, on_read=None, is_busy=None, end_child=None, forget=None) -> None:
        """Serves connections whose user awaits.

        Args:
            drain: `drain(connection)` makes what `Connection.drain` returns.
            on_room: Called as `on_room(connection)` once after each `want_room`, when the queue has
                been written or the connection is over.
            on_read: Called as `on_read()` when a connection has been read and its messages have
                been delivered, before what is queued is written.
            is_busy: `is_busy(connection)` says whether a message of its client is being handled: that
                is no idle time.
            end_child: Called as `end_child(error)` in a process that a callback has forked, which it
                ends: an event loop might go on in spite of an exception, as that of uvloop does.
            forget: `forget(connection)` lets the messages go that wait for handlers of a connection;
                `forget(None)` those of all connections that are over. There is no room for them.
        """
        self.drain = drain
        self.on_room = on_room
        self.on_read = on_read
        self.is_busy = is_busy
        self.end_child = end_child
        self.forget = forget
        self.stay()

    def has_room(self, Connection connection not None) -> bool:
        """Whether at most half of what may wait for a client does, or it is over."""
        if connection.state != OPEN:
            return True
        return not connection.refusing and connection.queue.counted <= QUEUE_FRAMES_MAX // 2 and (
            self.limits.max_pending_bytes == 0
            or connection.queue.bytes <= self.limits.max_pending_bytes // 2)

    def want_room(self, Connection connection not None) -> None:
        """Has `on_room` called when the queue of an open connection has been written."""
        connection.room_wanted = True

    def fail(self, Connection connection not None, code: int, reason: str) -> None:
        """Closes a connection with this code at once, instead of what is queued (RFC 6455 7.1.7)."""
        connection.fail(code, reason, True)

    def shutdown(self, timeout: float, code: int = 1001, reason: str = "") -> None:
        """Ends all connections: closes them in order, and cuts off those left after `timeout`
        seconds or at a second `stop` (R27). Every close callback has run when it returns.

        Raises:
            RuntimeError: Called from a callback.
        """
        cdef uint64_t end = dorrit_monotonic_milliseconds() + milliseconds_of(timeout)
        cdef uint64_t now
        cdef int milliseconds
        try:
            self.begin_shutdown(code, reason)
            while self.connections > 0 and not self.stopping:
                now = dorrit_monotonic_milliseconds()
                if now >= end:
                    break
                milliseconds = self.sleep()
                if milliseconds < 0 or <uint64_t>milliseconds > end - now:
                    milliseconds = <int>min(end - now, <uint64_t>SLEEP_MAX)
                self.turn(milliseconds)
        finally:
            self.end_shutdown()

    def begin_shutdown(self, code: int = 1001, reason: str = "") -> None:
        """Takes no more clients and closes all connections in order. The caller turns the loop.

        Raises:
            RuntimeError: Called from a callback.
        """
        cdef Connection connection
        self.check_outside_turn()
        self.stop_listening()
        self.shutting_down = True
        for item in self.all_connections():
            connection = <Connection>item
            if connection.held:
                refuse(connection, refusal(*STOPPING))
            elif connection.state == OPEN:
                connection.close(code, reason)
            elif connection.state == HANDSHAKING:
                self.answer_at_last(connection)

    def end_shutdown(self) -> None:
        """Cuts off the connections that are left, and runs the close callbacks."""
        self.check_outside_turn()
        for item in self.all_connections():
            (<Connection>item).lose()
        self.in_turn = True     # a close callback must not turn the loop in between
        try:
            self.settle_all()
        finally:
            self.in_turn = False
            self.shutting_down = False

    def close(self) -> None:
        """Cuts off all connections, without any callback, and closes the engine's descriptors.

        Raises:
            RuntimeError: Called from a callback.
        """
        self.check_outside_turn()
        for item in self.all_connections():
            (<Connection>item).lose()
        references_drop(&self.dirty)
        references_drop(&self.ended)
        references_drop(&self.resumed)
        self.on_open = self.on_message = self.on_close = self.drain = self.on_room = self.on_read = None
        self.calls.clear()
        self.timers = []
        self.watched = {}
        self.listener = -1
        self.close_descriptors()

    cdef int let_go(self) except -1:
        """In a process that was forked: what there is of connections and descriptors is its parent's.
        The copies are closed, and nothing else is done to them: a socket that is shut down is so for
        the parent, and the poller is the same one. Nobody hears of it."""
        cdef size_t number
        cdef Connection connection
        if not self.stays and not self.in_turn:
            return 0
        self.is_lost = True
        for number in range(self.table_size):
            if self.table[number] != NULL:
                connection = <Connection>self.table[number]
                connection.state = CLOSED
                connection.descriptor = -1
                close_descriptor(<int>number)
        # The references are kept for good: dropping the last one might run the user's code.
        self.table_size = 0
        self.connections = 0
        self.listener = -1
        if self.poller >= 0:
            dorrit_poller_let_go(self.poller)
            self.poller = -1
        self.close_descriptors()
        return 0

    cdef void close_descriptors(self) noexcept:
        for descriptor in (self.poller, self.waker, self.woken_end, self.spare):
            if descriptor >= 0:
                close_descriptor(descriptor)
        self.poller = self.waker = self.woken_end = self.spare = -1

    cdef int check_outside_turn(self) except -1:
        # A turn goes through the lists of connections; another one within it would do so as well.
        if self.in_turn:
            raise RuntimeError("the loop is running already: a callback must not run or end it")
        return 0

    # A turn

    cdef int turn(self, int milliseconds) except -1:
        cdef dorrit_poller_event events[DORRIT_POLLER_EVENTS_MAX]
        cdef int index, count
        if self.forks_before != forks:
            self.check_process("async", None)
        self.check_usable()
        self.check_outside_turn()
        if milliseconds == 0:
            count = dorrit_poller_wait(self.poller, events, DORRIT_POLLER_EVENTS_MAX, 0)
        else:
            with nogil:
                count = dorrit_poller_wait(
                    self.poller, events, DORRIT_POLLER_EVENTS_MAX, milliseconds)
        if count < 0:
            if errno != EINTR:
                PyErr_SetFromErrno(OSError)
            self.handle_signals()
            count = 0
        self.in_turn = True
        self.thread = PyThread_get_thread_ident()
        self.turns += 1
        try:
            if self.at_turn is not None and count > 0:
                self.tell_turn()
            # What is stashed by these reads has its turn next time, after the others.
            if self.resumed.length > 0:
                self.take_resumed()
            for index in range(count):
                self.take_event(&events[index])
            self.run_timers()
            self.end_what_is_late()
            self.settle()
            self.give_back()
        except BaseException as error:
            self.check_process("", error)
            raise
        finally:
            self.in_turn = False
            # An exception came in between, or what was resumed has been read only now.
            if self.is_interrupted:
                self.end_interrupted()
            elif self.dirty.length > 0 or self.ended.length > 0 or self.resumed.length > 0:
                self.wake()
        if DORRIT_INVARIANTS:
            check_invariants(self)
        return 0

    cdef int take_event(self, dorrit_poller_event *event) except -1:
        cdef Connection connection
        if event.descriptor == self.listener:
            return self.take_clients()
        if event.descriptor == self.woken_end:
            return self.wake_up()
        # A connection that an earlier event of this turn has closed is not in the table any more. If
        # its number has been given to another one, that one is asked for nothing, which is harmless.
        if <size_t>event.descriptor >= self.table_size or self.table[event.descriptor] == NULL:
            return self.call_watcher(event.descriptor)
        connection = <Connection>self.table[event.descriptor]
        try:
            if event.readable:
                read(connection)
                if self.on_read is not None:
                    self.on_read()
                    self.check_process("message", None)
            # One write for each turn, and not a second one by flush_dirty (R18).
            if (event.writable and connection.watched_for_writing) or (
                    connection.queue.bytes >= FLUSHED_AT_ONCE
                    and not connection.watched_for_writing):
                flush(connection)
        except BaseException as error:
            self.give_up(connection, error)
        return 0

    cdef int take_resumed(self) except -1:
        """Goes on with what connections had read when they were paused. One that is resumed anew
        meanwhile has its turn next time."""
        cdef size_t count = self.resumed.length
        cdef Connection connection
        while count > 0 and self.resumed.length > 0:
            count -= 1
            connection = take_first(&self.resumed)
            connection.is_resumed = False
            try:
                if connection.stashed and not connection.paused:
                    read_stash(connection)
                    if self.on_read is not None:
                        self.on_read()
                        self.check_process("message", None)
            except BaseException as error:
                self.give_up(connection, error)
        return 0

    cdef int settle(self) except -1:
        """Writes what is queued and runs the close callbacks, which may queue more. It ends, since a
        connection ends once, and since one that could not write all of its queue is not dirty."""
        while self.dirty.length > 0 or self.ended.length > 0:
            self.flush_dirty()
            self.call_ended()
        return 0

    cdef int settle_all(self) except -1:
        """Settles though callbacks exit: R11 has the others run all the same. The first exit then goes
        on its way."""
        first = None
        while self.dirty.length > 0 or self.ended.length > 0:
            try:
                self.settle()
            except BaseException as error:
                self.check_process("close", error)
                first = error if first is None else first
        if first is not None:
            raise first
        return 0

    cdef int flush_dirty(self) except -1:
        cdef Connection connection
        while self.dirty.length > 0:
            connection = take_first(&self.dirty)
            connection.is_dirty = False
            try:
                # One that could not write all, earlier in this turn, waits for the poller.
                if not connection.watched_for_writing:
                    flush(connection)
            except BaseException as error:
                self.give_up(connection, error)
        return 0

    cdef int call_ended(self) except -1:
        cdef Connection connection
        while self.ended.length > 0:
            connection = take_first(&self.ended)
            if self.access_log:
                self.reports.ended(connection, connection.close_code)
            try:
                result = self.on_close(connection, connection.close_code, connection.close_reason)
                self.check_process("close", None)
                if result is not None:
                    check_result(self.names.close, result, self.names.may_be_async)
            except BaseException as error:
                self.callback_raised("close", error, connection)
        return 0


cdef inline Connection take_first(References *references):
    """The one that has waited longest; there is one."""
    cdef Connection connection = <Connection>references_take(references)
    Py_DECREF(connection)   # the reference that the list had; the variable has its own
    return connection
