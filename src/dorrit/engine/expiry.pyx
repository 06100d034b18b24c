# cython: language_level=3, freethreading_compatible=False
"""How long an OPEN connection may go on, and the pings that it gets meanwhile."""

from libc.stdint cimport UINT64_MAX, uint16_t, uint32_t, uint64_t

from dorrit.engine.c.sockets cimport dorrit_monotonic_milliseconds
from dorrit.engine.clock cimport DEADLINE_STEP, deadline_in, hundredths, quarters
from dorrit.engine.engine cimport Engine
from dorrit.engine.life cimport close_in_order, fail
from dorrit.engine.ping cimport put_ping

from dorrit.protocol.closing import CloseCode


cdef uint16_t TIMEOUT = CloseCode.TIMEOUT


cdef int start_expiry(Connection connection) except -1:
    connection.state.heard = connection.state.active = quarters()
    return expire(connection)


cdef int expire(Connection connection) except -1:
    """What a connection has to expect is found out only here: while something comes or goes, that
    is merely noted."""
    cdef Engine engine = connection.engine
    cdef uint64_t now = dorrit_monotonic_milliseconds()
    cdef uint64_t idle_end = UINT64_MAX
    cdef uint64_t silent_end = UINT64_MAX
    cdef uint64_t life_end = UINT64_MAX
    cdef uint64_t first
    if engine.limits.max_lifetime > 0:
        # Since its beginning was noted, a part of a hundredth of a second may have passed less.
        life_end = now - 10 * <uint64_t><uint32_t>(hundredths() - connection.state.opened)
        life_end += engine.limits.max_lifetime + 10
        if life_end <= now:
            engine.reports.timed_out("it has lasted as long as it may", connection)
            return close_in_order(
                connection, TIMEOUT, "the connection has lasted as long as it may")
    if engine.limits.idle_timeout > 0:
        idle_end = end_of(connection.state.active, engine.limits.idle_timeout)
        if idle_end <= now and engine.is_busy is not None and engine.is_busy(connection):
            connection.state.active = quarters()  # the client waits for us
            idle_end = end_of(connection.state.active, engine.limits.idle_timeout)
        if idle_end <= now:
            engine.reports.timed_out("no message was exchanged in the idle timeout", connection)
            return fail(connection, TIMEOUT, "no message was exchanged for too long", True)
    if engine.limits.ping_interval > 0:
        if connection.state.paused:
            connection.state.heard = quarters()   # it may speak, but nobody listens
            connection.state.pinged = False
        silent_end = end_of(connection.state.heard, engine.limits.ping_timeout if connection.state.pinged
                            and engine.limits.ping_timeout > 0 else engine.limits.ping_interval)
        if silent_end <= now and connection.state.pinged and engine.limits.ping_timeout > 0:
            engine.reports.timed_out("nothing came after a ping in the ping timeout", connection)
            return fail(connection, TIMEOUT, "nothing came after a ping", True)
        if silent_end <= now:
            put_ping(connection)
            connection.state.heard = quarters()
            connection.state.pinged = True
            silent_end = end_of(
                connection.state.heard, engine.limits.ping_timeout or engine.limits.ping_interval)
        if connection.state.pinged:
            # The answer may come any time, and the next ping is due this long after it.
            silent_end = min(silent_end, now + engine.limits.ping_interval)
    first = min(life_end, idle_end, silent_end)
    connection.state.deadline = 0 if first == UINT64_MAX else deadline_in(engine, first - now)
    return 0


cdef uint64_t end_of(uint64_t since, uint64_t timeout) noexcept:
    """The time at which a timeout has passed since some quarter of a second; never too early."""
    return (since + 1) * DEADLINE_STEP + timeout
