"""What `core/utf8.h` declares."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t


cdef extern from "utf8.h" nogil:
    struct dorrit_utf8:
        pass

    bint dorrit_utf8_is_valid(const uint8_t *data, size_t length)
    bint dorrit_utf8_feed(dorrit_utf8 *state, const uint8_t *data, size_t length)
    bint dorrit_utf8_is_complete(const dorrit_utf8 *state)
