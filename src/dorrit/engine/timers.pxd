"""Functions that are called periodically."""

from libc.stdint cimport uint64_t

from dorrit.engine.engine cimport Engine


cdef class Timer:
    cdef object function
    cdef uint64_t interval      # milliseconds
    cdef uint64_t due           # monotonic milliseconds
    cdef bint cancelled


cdef Timer timer_new(Engine engine, double seconds, function)
cdef int run_timers(Engine engine) except -1

# The earlier of `first` and when the next timer is due.
cdef uint64_t first_due(Engine engine, uint64_t first) noexcept
