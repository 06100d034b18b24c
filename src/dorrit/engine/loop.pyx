# cython: language_level=3, freethreading_compatible=False
"""Engine: the loop that owns the descriptors, the buffers and the time of all connections.

A turn of the loop: wait for the poller; read what has come, which runs the callbacks; run the timers
that are due and end what is late; then write what was queued, one gather write for each connection,
and run the close callbacks, until nothing of either is left.
"""

cimport cython
from cpython.exc cimport PyErr_CheckSignals, PyErr_SetFromErrno
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF
from libc.errno cimport EINTR, errno
from libc.math cimport ceil
from libc.stddef cimport size_t
from libc.stdint cimport UINT64_MAX, uint8_t, uint64_t
from libc.string cimport memmove
from posix.unistd cimport close as close_descriptor, read as read_descriptor

from dorrit.engine.acceptor cimport Acceptor
from dorrit.engine.agenda cimport References
from dorrit.engine.connection cimport HANDSHAKING, OPEN, Connection
from dorrit.engine.invariants cimport check_invariants
from dorrit.engine.reader cimport read

from dorrit.engine.reports import Reports
from dorrit.protocol.refusal import HANDSHAKE_DEADLINE, refusal


cdef extern from "poller.h" nogil:
    struct dorrit_poller_event:
        int descriptor
        bint readable
        bint writable

    enum:
        DORRIT_POLLER_EVENTS_MAX

    int dorrit_poller_open()
    int dorrit_poller_add(int poller, int descriptor)
    int dorrit_poller_remove(int poller, int descriptor)
    int dorrit_poller_wait(
        int poller, dorrit_poller_event *events, int capacity, int milliseconds)

cdef extern from "sockets.h" nogil:
    int dorrit_pipe(int *ends)
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
    # Milliseconds: no sleep is longer, so that the argument of the poller can't overflow.
    SLEEP_MAX = 3_600_000


cdef class Timer:
    """A function that is called periodically; made by `Engine.every`."""

    cdef object function
    cdef uint64_t interval      # milliseconds
    cdef uint64_t due           # monotonic milliseconds
    cdef bint cancelled

    def cancel(self) -> None:
        """Lets the function not be called any more."""
        self.cancelled = True


@cython.final
cdef class Engine(Acceptor):
    """Serves the connections of one listening socket, in the thread that calls `run` or `poll`.

    Args:
        on_open: Called as `on_open(connection, request)` when a client's request is valid. Returns
            `None` to accept it, or the `Refusal` to answer it with.
        on_message: Called as `on_message(connection, binary, payload)` for each message.
        on_close: Called as `on_close(connection, code, reason)` once for each connection that was
            accepted, at the end of the turn in which it ended.
        buffer_size: Bytes, 10 to 65540 (R30). The largest payload in, and the largest frame out, has
            5 less.
        max_connections: Simultaneous connections (R32); one more is answered 503.
        handshake_timeout: Seconds for a request to arrive.
        close_timeout: Seconds without progress after which a closing connection is cut off.
        linger_timeout: Seconds for a client to take in why it was dropped.
        reports: Takes what is to be logged.
    """

    cdef int woken_end                  # of the pipe whose other end is `waker`
    cdef list timers
    cdef dict watched                   # descriptors that are the caller's, and their functions
    cdef bint stopping
    cdef bint shutting_down

    def __cinit__(self, *args, **settings):
        self.woken_end = -1

    def __init__(
        self,
        *,
        on_open,
        on_message,
        on_close,
        buffer_size: int = 65540,
        max_connections: int = 16384,
        handshake_timeout: float = 10.0,
        close_timeout: float = 10.0,
        linger_timeout: float = 2.0,
        reports=None,
    ):
        cdef int ends[2]
        if self.poller >= 0:
            raise RuntimeError("an engine is set up once")
        if not 10 <= buffer_size <= 65540:
            raise ValueError(f"buffer_size must be 10 to 65540, not {buffer_size}")
        if max_connections < 1:
            raise ValueError(f"max_connections must be at least 1, not {max_connections}")
        self.on_open = on_open
        self.on_message = on_message
        self.on_close = on_close
        self.buffer_size = buffer_size
        self.payload_max = buffer_size - 5
        self.max_connections = max_connections
        self.handshake_timeout = milliseconds_of(handshake_timeout)
        self.close_timeout = milliseconds_of(close_timeout)
        self.linger_timeout = milliseconds_of(linger_timeout)
        self.reports = Reports() if reports is None else reports
        self.timers = []
        self.watched = {}
        self.poller = dorrit_poller_open()
        if self.poller < 0:
            PyErr_SetFromErrno(OSError)
        if dorrit_pipe(ends) < 0:
            PyErr_SetFromErrno(OSError)
        self.woken_end, self.waker = ends[0], ends[1]
        if dorrit_poller_add(self.poller, self.woken_end) < 0:
            PyErr_SetFromErrno(OSError)
        self.take_spare()

    def __dealloc__(self):
        for descriptor in (self.poller, self.waker, self.woken_end):
            if descriptor >= 0:
                close_descriptor(descriptor)

    # Use

    def listen(self, descriptor: int) -> None:
        """Takes clients from a listening socket that does not block. The caller keeps owning it.

        Raises:
            OSError: The descriptor can't be watched.
        """
        self.check_usable()
        if dorrit_poller_add(self.poller, descriptor) < 0:
            PyErr_SetFromErrno(OSError)
        self.listener = descriptor

    def stop_listening(self) -> None:
        """Takes no more clients. Those that have connected and were not taken wait in the kernel."""
        if self.listener >= 0:
            dorrit_poller_remove(self.poller, self.listener)
            self.listener = -1
            self.listener_resumes = 0

    def watch(self, descriptor: int, function) -> None:
        """Calls `function()` in each turn in which a descriptor is readable, until `unwatch`. The
        caller keeps owning it, and does not close it before that. The function must not block.

        Raises:
            ValueError: It is watched already.
            OSError: The descriptor can't be watched.
        """
        self.check_usable()
        if descriptor in self.watched:
            raise ValueError(f"descriptor {descriptor} is watched already")
        if dorrit_poller_add(self.poller, descriptor) < 0:
            PyErr_SetFromErrno(OSError)
        self.watched[descriptor] = function

    def unwatch(self, descriptor: int) -> None:
        """Leaves a descriptor alone from now on. Does nothing if it is not watched."""
        if self.watched.pop(descriptor, None) is not None:
            dorrit_poller_remove(self.poller, descriptor)

    def adopt(self, descriptor: int) -> Connection:
        """Takes a connected stream socket as a client that has not sent its request yet.

        Args:
            descriptor: Does not block. The engine owns it from here on and closes it.
        """
        self.check_usable()
        return self.take(descriptor)

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
        """Serves until `stop` is called. An exception that is no `Exception`, from a callback or a
        signal handler, ends it too; then it can be called again."""
        try:
            while not self.stopping:
                self.turn(self.sleep())
        finally:
            self.stopping = False

    def stop(self) -> None:
        """Lets `run` return soon. May be called from a callback or a signal handler."""
        self.stopping = True
        self.wake()

    def every(self, seconds: float, function) -> Timer:
        """Calls `function()` each time that many seconds have passed since the last call (R14).

        Raises:
            ValueError: `seconds` is not positive.
        """
        cdef Timer timer = Timer.__new__(Timer)
        if not seconds > 0:
            raise ValueError(f"the period must be a positive number of seconds, not {seconds!r}")
        timer.function = function
        timer.interval = milliseconds_of(seconds)
        timer.due = dorrit_monotonic_milliseconds() + timer.interval
        self.timers.append(timer)
        self.wake()
        return timer

    def shutdown(self, timeout: float, code: int = 1001, reason: str = "") -> None:
        """Ends all connections: closes them in order, and cuts off those left after `timeout`
        seconds or at a second `stop` (R27). Every close callback has run when it returns.

        Raises:
            RuntimeError: Called from a callback.
        """
        cdef uint64_t end = dorrit_monotonic_milliseconds() + milliseconds_of(timeout)
        cdef uint64_t now
        cdef int milliseconds
        cdef Connection connection
        self.check_outside_turn()
        self.stop_listening()
        self.shutting_down = True
        try:
            for item in self.all_connections():
                connection = <Connection>item
                if connection.state == OPEN:
                    connection.close(code, reason)
                elif connection.state == HANDSHAKING:
                    connection.lose()
            while self.connections > 0 and not self.stopping:
                now = dorrit_monotonic_milliseconds()
                if now >= end:
                    break
                milliseconds = self.sleep()
                if milliseconds < 0 or <uint64_t>milliseconds > end - now:
                    milliseconds = <int>min(end - now, <uint64_t>SLEEP_MAX)
                self.turn(milliseconds)
        finally:
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
        self.on_open = self.on_message = self.on_close = None
        self.timers = []
        self.watched = {}
        self.listener = -1
        for descriptor in (self.poller, self.waker, self.woken_end, self.spare):
            if descriptor >= 0:
                close_descriptor(descriptor)
        self.poller = self.waker = self.woken_end = self.spare = -1

    def all_connections(self) -> list:
        """The connections that have a descriptor, in whatever state."""
        cdef size_t descriptor
        return [
            <object>self.table[descriptor]
            for descriptor in range(self.table_size) if self.table[descriptor] != NULL
        ]

    cdef int check_usable(self) except -1:
        if self.poller < 0:
            raise RuntimeError("the engine is closed")
        return 0

    cdef int check_outside_turn(self) except -1:
        # A turn goes through the lists of connections; another one within it would do so as well.
        if self.in_turn:
            raise RuntimeError("the loop is running already: a callback must not run or end it")
        return 0

    # A turn

    cdef int sleep(self) noexcept:
        """Milliseconds that a turn may wait; -1: for ever."""
        cdef uint64_t first = self.deadline_first
        cdef uint64_t now
        cdef Timer timer
        if self.listener_resumes > 0 and self.listener_resumes < first:
            first = self.listener_resumes
        if not self.shutting_down:
            for timer in self.timers:
                if timer.due < first:
                    first = timer.due
        if first == UINT64_MAX:
            return -1
        now = dorrit_monotonic_milliseconds()
        return 0 if first <= now else <int>min(first - now, <uint64_t>SLEEP_MAX)

    cdef int turn(self, int milliseconds) except -1:
        cdef dorrit_poller_event events[DORRIT_POLLER_EVENTS_MAX]
        cdef int index, count
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
            PyErr_CheckSignals()
            count = 0
        self.in_turn = True
        try:
            for index in range(count):
                self.take_event(&events[index])
            self.run_timers()
            self.end_what_is_late()
            self.settle()
        finally:
            self.in_turn = False
            if self.dirty.length > 0 or self.ended.length > 0:
                self.wake()     # an exception came in between
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
            # One write for each turn, and not a second one by flush_dirty (R18).
            if (event.writable and connection.watched_for_writing) or (
                    connection.queue.bytes >= FLUSHED_AT_ONCE
                    and not connection.watched_for_writing):
                connection.flush()
        except Exception as error:
            self.give_up(connection, error)
        return 0

    cdef int call_watcher(self, int descriptor) except -1:
        function = self.watched.get(descriptor)
        if function is None:
            return 0
        try:
            function()
        except Exception as error:
            self.reports.callback_raised("watching", error)
        return 0

    cdef int wake_up(self) except -1:
        cdef uint8_t thrown_away[512]
        self.woken = False
        while read_descriptor(self.woken_end, thrown_away, sizeof(thrown_away)) > 0:
            pass
        PyErr_CheckSignals()
        return 0

    cdef int run_timers(self) except -1:
        cdef Timer timer
        if not self.timers or self.shutting_down:
            return 0
        for timer in tuple(self.timers):
            if timer.cancelled:
                self.timers.remove(timer)
            elif timer.due <= dorrit_monotonic_milliseconds():
                try:
                    timer.function()
                except Exception as error:
                    self.reports.callback_raised("periodic", error)
                finally:
                    timer.due = dorrit_monotonic_milliseconds() + timer.interval
        return 0

    cdef int end_what_is_late(self) except -1:
        """Looks through all connections, but only when one of them may be late."""
        cdef uint64_t now = dorrit_monotonic_milliseconds()
        cdef size_t descriptor
        cdef Connection connection
        if self.listener_resumes > 0 and now >= self.listener_resumes:
            self.resume_listener()
        if now < self.deadline_first:
            return 0
        self.deadline_first = UINT64_MAX
        for descriptor in range(self.table_size):
            if self.table[descriptor] == NULL:
                continue
            connection = <Connection>self.table[descriptor]
            if connection.deadline != 0 and connection.deadline <= now:
                try:
                    self.end_late(connection)
                except Exception as error:
                    self.give_up(connection, error)
            if connection.deadline != 0 and connection.deadline < self.deadline_first:
                self.deadline_first = connection.deadline
        return 0

    cdef int end_late(self, Connection connection) except -1:
        if connection.state == HANDSHAKING:
            answer = refusal(*HANDSHAKE_DEADLINE)
            self.reports.refused(answer)
            connection.refuse(answer.response())
        else:
            connection.lose()
        return 0

    cdef int settle(self) except -1:
        """Writes what is queued and runs the close callbacks, which may queue more. It ends, since a
        connection ends once, and since one that could not write all of its queue is not dirty."""
        while self.dirty.length > 0 or self.ended.length > 0:
            self.flush_dirty()
            self.call_ended()
        return 0

    cdef int settle_all(self) except -1:
        """Settles though callbacks raise what is no Exception: R11 has the others run all the same.
        The first one then goes on its way."""
        first = None
        while self.dirty.length > 0 or self.ended.length > 0:
            try:
                self.settle()
            except BaseException as error:
                first = error if first is None else first
        if first is not None:
            raise first
        return 0

    cdef int flush_dirty(self) except -1:
        cdef size_t index = 0
        cdef Connection connection
        try:
            while index < self.dirty.length:
                connection = <Connection>self.dirty.items[index]
                Py_DECREF(connection)   # the reference that the list had; the variable has its own
                index += 1
                connection.is_dirty = False
                try:
                    # One that could not write all, earlier in this turn, waits for the poller.
                    if not connection.watched_for_writing:
                        connection.flush()
                except Exception as error:
                    self.give_up(connection, error)
        finally:
            references_drop_first(&self.dirty, index)
        return 0

    cdef int call_ended(self) except -1:
        cdef size_t index = 0
        cdef Connection connection
        try:
            while index < self.ended.length:
                connection = <Connection>self.ended.items[index]
                Py_DECREF(connection)
                index += 1
                try:
                    self.on_close(connection, connection.close_code, connection.close_reason)
                except Exception as error:
                    self.reports.callback_raised("close", error)
        finally:
            references_drop_first(&self.ended, index)
        return 0


cdef uint64_t milliseconds_of(double seconds) except? 0:
    """Rounded up, so that what is positive stays so."""
    if not 0 <= seconds <= 1e9:
        raise ValueError(f"{seconds} is no number of seconds from 0 to 1e9")
    return <uint64_t>ceil(seconds * 1000)


cdef void references_drop(References *references) noexcept:
    while references.length > 0:
        references.length -= 1
        Py_DECREF(<object>references.items[references.length])


cdef void references_drop_first(References *references, size_t count) noexcept:
    """Forgets the first ones, whose references have been dropped already."""
    references.length -= count
    memmove(references.items, references.items + count, references.length * sizeof(PyObject *))
