# cython: language_level=3, freethreading_compatible=False
"""Connections that take too long, and how long the engine may sleep."""

from libc.stddef cimport size_t
from libc.stdint cimport UINT64_MAX, uint64_t

from dorrit.engine.accept cimport resume_listener
from dorrit.engine.c.connection cimport DORRIT_HANDSHAKING, DORRIT_OPEN
from dorrit.engine.c.sockets cimport dorrit_monotonic_milliseconds
from dorrit.engine.connection cimport Connection
from dorrit.engine.expiry cimport expire
from dorrit.engine.faults cimport give_up
from dorrit.engine.head cimport refuse_late
from dorrit.engine.life cimport close_socket
from dorrit.engine.timers cimport first_due


cdef int milliseconds_to_sleep(Engine engine) noexcept:
    cdef uint64_t first = engine.deadline_first
    cdef uint64_t now
    if engine.listener_resumes > 0 and engine.listener_resumes < first:
        first = engine.listener_resumes
    if engine.timers:
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
        if connection.state.deadline != 0 and connection.state.deadline <= now:
            try:
                end_late(engine, connection)
            except BaseException as error:
                give_up(engine, connection, error)
        if connection.state.deadline != 0 and connection.state.deadline < engine.deadline_first:
            engine.deadline_first = connection.state.deadline
    return 0


cdef int end_late(Engine engine, Connection connection) except -1:
    if connection.state.life == DORRIT_HANDSHAKING:
        refuse_late(connection)
    elif connection.state.life == DORRIT_OPEN:
        expire(connection)
    else:
        close_socket(connection)
    return 0
