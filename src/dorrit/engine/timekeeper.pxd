"""Timekeeper: calls functions periodically, and ends the connections that take too long."""

from libc.stdint cimport uint64_t

from dorrit.engine.acceptor cimport Acceptor
from dorrit.engine.connection cimport Connection


cdef enum:
    # Milliseconds: no sleep is longer, so that the argument of the poller can't overflow.
    SLEEP_MAX = 3_600_000


cdef class Timer:
    cdef object function
    cdef uint64_t interval      # milliseconds
    cdef uint64_t due           # monotonic milliseconds
    cdef bint cancelled


cdef class Timekeeper(Acceptor):
    cdef list timers

    cdef int sleep(self) noexcept
    cdef int run_timers(self) except -1
    cdef int end_what_is_late(self) except -1
    cdef int end_late(self, Connection connection) except -1
    cdef int end_silent(self, Connection connection) except -1
