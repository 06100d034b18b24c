"""What `core/masking.h` declares."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t


cdef extern from "masking.h" nogil:
    void dorrit_mask(uint8_t *out, const uint8_t *data, size_t length, const uint8_t *key)
