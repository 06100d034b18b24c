"""Frame: one framed piece of output, made once and shared by every queue it stands in."""

from libc.stdint cimport uint8_t, uint32_t


cdef extern from "frame.h" nogil:
    enum dorrit_opcode:
        DORRIT_OPCODE_CONTINUATION
        DORRIT_OPCODE_TEXT
        DORRIT_OPCODE_BINARY
        DORRIT_OPCODE_CLOSE
        DORRIT_OPCODE_PING
        DORRIT_OPCODE_PONG


cdef class Frame:
    # Everything is set when the frame is made and never changes: any number of queues share it.
    cdef bytes owner                # holds the payload; kept whole, never copied again
    cdef const uint8_t *payload     # points into `owner`
    cdef uint32_t payload_length    # bytes
    cdef uint8_t header[10]
    cdef uint8_t header_length      # bytes; 0 for an HTTP response, which is written as it is
    cdef bint counted               # a data frame: it counts against the queue's limit

cdef Frame frame_whole(dorrit_opcode opcode, bytes payload)
cdef tuple frame_in_fragments(dorrit_opcode opcode, bytes payload, uint32_t payload_max)
cdef Frame frame_raw(bytes content)
