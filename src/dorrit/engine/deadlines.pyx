# cython: language_level=3, freethreading_compatible=False
"""Connections that take too long, and how long the engine may sleep."""

from libc.stddef cimport size_t
from libc.stdint cimport UINT64_MAX, uint16_t, uint64_t

from dorrit.engine.accept cimport resume_listener
from dorrit.engine.c.sockets cimport dorrit_monotonic_milliseconds
from dorrit.engine.clock cimport DEADLINE_STEP, deadline_in, quarters
from dorrit.engine.connection cimport HANDSHAKING, OPEN, Connection
from dorrit.engine.faults cimport give_up
from dorrit.engine.head cimport refuse_late
from dorrit.engine.life cimport close_socket, fail
from dorrit.engine.ping cimport put_ping
from dorrit.engine.timers cimport first_due

from dorrit.protocol.closing import CloseCode


cdef uint16_t TIMEOUT = CloseCode.TIMEOUT


cdef int milliseconds_to_sleep(Engine engine) noexcept:
    cdef uint64_t first = engine.deadline_first
    cdef uint64_t now
    if engine.listener_resumes > 0 and engine.listener_resumes < first:
        first = engine.listener_resumes
    first = first_due(engine, first)
    if first == UINT64_MAX:
        return -1
    now = dorrit_monotonic_milliseconds()
    return 0 if first <= now else <int>min(first - now, <uint64_t>SLEEP_MAX)


cdef int end_what_is_late(Engine engine) except -1:
    cdef uint64_t now = dorrit_monotonic_milliseconds()
    cdef size_t descriptor
    cdef Connection connection
    if engine.listener_resumes > 0 and now >= engine.listener_resumes:
        resume_listener(engine)
    if now < engine.deadline_first:
        return 0
    engine.deadline_first = UINT64_MAX
    for descriptor in range(engine.table_size):
        if engine.table[descriptor] == NULL:
            continue
        connection = <Connection>engine.table[descriptor]
        if connection.deadline != 0 and connection.deadline <= now:
            try:
                end_late(engine, connection)
            except BaseException as error:
                give_up(engine, connection, error)
        if connection.deadline != 0 and connection.deadline < engine.deadline_first:
            engine.deadline_first = connection.deadline
    return 0


cdef int end_late(Engine engine, Connection connection) except -1:
    if connection.state == HANDSHAKING:
        refuse_late(connection)
    elif connection.state == OPEN:
        end_silent(engine, connection)
    else:
        close_socket(connection)
    return 0


cdef int end_silent(Engine engine, Connection connection) except -1:
    """An OPEN connection has been silent for some time. What it is due to is found out only
    here: while something comes or goes, that is merely noted."""
    cdef uint64_t now = dorrit_monotonic_milliseconds()
    cdef uint64_t idle_end = UINT64_MAX
    cdef uint64_t silent_end = UINT64_MAX
    if engine.limits.idle_timeout > 0:
        idle_end = end_of(connection.active, engine.limits.idle_timeout)
        if idle_end <= now and engine.is_busy is not None and engine.is_busy(connection):
            connection.active = quarters()  # the client waits for us
            idle_end = end_of(connection.active, engine.limits.idle_timeout)
        if idle_end <= now:
            engine.reports.timed_out("no message was exchanged in the idle timeout", connection)
            return fail(connection, TIMEOUT, "no message was exchanged for too long", True)
    if engine.limits.ping_interval > 0:
        if connection.paused:
            connection.heard = quarters()   # it may speak, but nobody listens
            connection.pinged = False
        silent_end = end_of(connection.heard, engine.limits.ping_timeout if connection.pinged
                            and engine.limits.ping_timeout > 0 else engine.limits.ping_interval)
        if silent_end <= now and connection.pinged and engine.limits.ping_timeout > 0:
            engine.reports.timed_out("nothing came after a ping in the ping timeout", connection)
            return fail(connection, TIMEOUT, "nothing came after a ping", True)
        if silent_end <= now:
            put_ping(connection)
            connection.heard = quarters()
            connection.pinged = True
            silent_end = end_of(
                connection.heard, engine.limits.ping_timeout or engine.limits.ping_interval)
        if connection.pinged:
            # The answer may come any time, and the next ping is due this long after it.
            silent_end = min(silent_end, now + engine.limits.ping_interval)
    connection.deadline = deadline_in(engine, min(idle_end, silent_end) - now)
    return 0


cdef uint64_t end_of(uint64_t since, uint64_t timeout) noexcept:
    """The time at which a timeout has passed since some quarter of a second; never too early."""
    return (since + 1) * DEADLINE_STEP + timeout
