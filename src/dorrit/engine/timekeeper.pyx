# cython: language_level=3, freethreading_compatible=False
"""Timekeeper: calls functions periodically, and ends the connections that take too long."""

from libc.stddef cimport size_t
from libc.stdint cimport UINT64_MAX, uint16_t, uint64_t

from dorrit.engine.acceptor cimport Acceptor
from dorrit.engine.agenda cimport DEADLINE_STEP, quarters
from dorrit.engine.connection cimport HANDSHAKING, OPEN, Connection
from dorrit.engine.control cimport put_ping
from dorrit.engine.limits cimport milliseconds_of
from dorrit.engine.opening cimport refuse_late
from dorrit.engine.results cimport check_result

from dorrit.protocol.closing import CloseCode


cdef extern from "sockets.h" nogil:
    uint64_t dorrit_monotonic_milliseconds()


cdef uint16_t TIMEOUT = CloseCode.TIMEOUT


cdef class Timer:
    """A function that is called periodically; made by `Engine.every`."""

    def cancel(self) -> None:
        """Lets the function not be called any more."""
        self.cancelled = True


cdef class Timekeeper(Acceptor):

    def __cinit__(self, *args, **settings):
        self.timers = []

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

    cdef int run_timers(self) except -1:
        cdef Timer timer
        if not self.timers or self.shutting_down:
            return 0
        for timer in tuple(self.timers):
            if timer.cancelled:
                self.timers.remove(timer)
            elif timer.due <= dorrit_monotonic_milliseconds():
                try:
                    result = timer.function()
                    self.check_process("periodic", None)
                    if result is not None:
                        check_result("the periodic function", result, self.names.may_be_async)
                except BaseException as error:
                    self.callback_raised("periodic", error)
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
                except BaseException as error:
                    self.give_up(connection, error)
            if connection.deadline != 0 and connection.deadline < self.deadline_first:
                self.deadline_first = connection.deadline
        return 0

    cdef int end_late(self, Connection connection) except -1:
        if connection.state == HANDSHAKING:
            refuse_late(connection)
        elif connection.state == OPEN:
            self.end_silent(connection)
        else:
            connection.lose()
        return 0

    cdef int end_silent(self, Connection connection) except -1:
        """An OPEN connection has been silent for some time. What it is due to is found out only
        here: while something comes or goes, that is merely noted."""
        cdef uint64_t now = dorrit_monotonic_milliseconds()
        cdef uint64_t idle_end = UINT64_MAX
        cdef uint64_t silent_end = UINT64_MAX
        if self.limits.idle_timeout > 0:
            idle_end = end_of(connection.active, self.limits.idle_timeout)
            if idle_end <= now and self.is_busy is not None and self.is_busy(connection):
                connection.active = quarters()  # the client waits for us
                idle_end = end_of(connection.active, self.limits.idle_timeout)
            if idle_end <= now:
                self.reports.timed_out("no message was exchanged in the idle timeout", connection)
                return connection.fail(TIMEOUT, "no message was exchanged for too long", True)
        if self.limits.ping_interval > 0:
            if connection.paused:
                connection.heard = quarters()   # it may speak, but nobody listens
                connection.pinged = False
            silent_end = end_of(connection.heard, self.limits.ping_timeout if connection.pinged
                                and self.limits.ping_timeout > 0 else self.limits.ping_interval)
            if silent_end <= now and connection.pinged and self.limits.ping_timeout > 0:
                self.reports.timed_out("nothing came after a ping in the ping timeout", connection)
                return connection.fail(TIMEOUT, "nothing came after a ping", True)
            if silent_end <= now:
                put_ping(connection)
                connection.heard = quarters()
                connection.pinged = True
                silent_end = end_of(
                    connection.heard, self.limits.ping_timeout or self.limits.ping_interval)
            if connection.pinged:
                # The answer may come any time, and the next ping is due this long after it.
                silent_end = min(silent_end, now + self.limits.ping_interval)
        connection.deadline = self.deadline_in(min(idle_end, silent_end) - now)
        return 0


cdef uint64_t end_of(uint64_t since, uint64_t timeout) noexcept:
    """The time at which a timeout has passed since some quarter of a second; never too early."""
    return (since + 1) * DEADLINE_STEP + timeout
