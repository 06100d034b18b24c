"""Calls: functions that are called in the loop's turns and have nothing to do with a connection."""

from libc.stdint cimport uint64_t

from dorrit.engine.timekeeper cimport Timekeeper


cdef class Calls(Timekeeper):
    cdef int woken_end                  # of the pipe whose other end is `waker`
    cdef object calls                   # functions and arguments that other threads have put here
    cdef object at_turn                 # called once at the beginning of a turn, or None
    cdef readonly uint64_t turns        # so far
    cdef dict watched                   # descriptors that are the caller's, and their functions

    cdef int open_waker(self) except -1
    cdef int take_over(self, int descriptor) except -1
    cdef int replace_waker(self, int lost) except -1
    cdef int check_usable(self) except -1
    cdef int call_watcher(self, int descriptor) except -1
    cdef int wake_up(self) except -1
    cdef int handle_signals(self) except -1
    cdef int make_calls(self) except -1
    cdef int tell_turn(self) except -1
