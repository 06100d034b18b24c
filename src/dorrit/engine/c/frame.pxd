"""What `core/frame.h` declares: opcodes, headers of frames, close codes."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint16_t, uint64_t


cdef extern from "frame.h" nogil:
    enum dorrit_opcode:
        DORRIT_OPCODE_CONTINUATION
        DORRIT_OPCODE_TEXT
        DORRIT_OPCODE_BINARY
        DORRIT_OPCODE_CLOSE
        DORRIT_OPCODE_PING
        DORRIT_OPCODE_PONG

    enum dorrit_frame_verdict:
        DORRIT_FRAME_OK
        DORRIT_FRAME_INCOMPLETE
        DORRIT_FRAME_RESERVED_BITS
        DORRIT_FRAME_RESERVED_OPCODE
        DORRIT_FRAME_CONTROL_FRAGMENTED
        DORRIT_FRAME_CONTROL_TOO_LONG
        DORRIT_FRAME_NOT_MASKED
        DORRIT_FRAME_LENGTH_NOT_MINIMAL
        DORRIT_FRAME_LENGTH_TOO_LARGE

    enum:
        DORRIT_FRAME_HEADER_MAX
        DORRIT_FRAME_SERVER_HEADER_MAX

    struct dorrit_frame_header:
        uint64_t payload_length
        uint8_t masking_key[4]
        uint8_t opcode
        uint8_t header_length
        bint fin
        bint compressed

    dorrit_frame_verdict dorrit_frame_header_decode(
        dorrit_frame_header *header, const uint8_t *data, size_t length, bint may_be_compressed)
    size_t dorrit_frame_header_encode(
        uint8_t *out, bint fin, dorrit_opcode opcode, uint64_t payload_length)
    bint dorrit_close_code_is_valid(uint16_t code)
