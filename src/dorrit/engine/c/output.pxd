"""What `core/output.h` declares."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t


cdef extern from "output.h" nogil:
    struct dorrit_output_frame:
        Py_ssize_t references
        void *owner
        const uint8_t *payload
        uint32_t payload_length
        uint8_t header[10]
        uint8_t header_length
        uint8_t counted

    struct dorrit_output_queue:
        dorrit_output_frame **frames
        uint16_t capacity
        uint16_t first
        uint16_t length
        uint16_t counted
        uint32_t written
        uint32_t bytes
