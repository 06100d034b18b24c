"""Connections that take too long, and how long the engine may sleep."""

from libc.stdint cimport UINT64_MAX

from dorrit.engine.engine cimport Engine


cdef enum:
    # Milliseconds: no sleep is longer, so that the argument of the poller can't overflow.
    SLEEP_MAX = 3_600_000


# Milliseconds that a turn may wait; -1: for ever.
cdef int milliseconds_to_sleep(Engine engine) noexcept

# Looks through all connections, but only when one of them may be late.
cdef int end_what_is_late(Engine engine) except -1


cdef inline bint has_deadline(Engine engine) noexcept:
    """Whether anything is to be done at a certain time, timers apart."""
    return engine.deadline_first != UINT64_MAX or engine.listener_resumes > 0
