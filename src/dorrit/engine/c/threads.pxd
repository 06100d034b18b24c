"""What `core/threads.h` declares."""

from libc.stdint cimport uintptr_t


cdef extern from "threads.h" nogil:
    uintptr_t dorrit_thread()
