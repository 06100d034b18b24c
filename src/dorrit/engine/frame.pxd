"""Frame: one framed piece of output, made once and shared by every queue it stands in."""

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t

from dorrit.engine.c.frame cimport DORRIT_OPCODE_PING, DORRIT_OPCODE_PONG, dorrit_opcode
from dorrit.engine.c.output cimport dorrit_output_frame


cdef enum:
    # Bytes that a frame costs beside its payload: itself, and the object that holds the payload.
    FRAME_COST = 128

    # Bytes of the largest payload, which no frame of a message comes near: what 200 frames and an HTTP
    # response have together is to fit an OutputQueue's 32 bits.
    FRAME_PAYLOAD_MAX = 1 << 30


# Its fields are declared in `core/output.h`.
ctypedef dorrit_output_frame Frame


# NULL, without an exception, when memory ran out, or the payload is larger than the largest. The caller
# owns the one reference to a new frame.
cdef Frame *frame_new(
    bint fin, dorrit_opcode opcode, bytes owner, size_t offset, size_t length) noexcept
cdef Frame *frame_raw(bytes content) noexcept
# What is to be written as it stands, and has been made before: header and payload are copied.
cdef Frame *frame_carried(
    const uint8_t *content, size_t length, size_t header_length, bint counted) except? NULL

cdef void frame_free(Frame *frame) noexcept

# Bytes that all frames in this process take.
cdef size_t frames_size


cdef inline Frame *frame_whole(dorrit_opcode opcode, bytes payload) noexcept:
    """A message or a control frame in one frame. `payload` is shared, not copied."""
    return frame_new(True, opcode, payload, 0, <size_t>PyBytes_GET_SIZE(payload))


cdef inline Frame *made(Frame *frame) except NULL:
    """A frame that has been made, or a MemoryError."""
    if frame == NULL:
        raise MemoryError
    return frame


cdef inline void frame_release(Frame *frame) noexcept:
    """Gives one reference back."""
    frame.references -= 1
    if frame.references == 0:
        frame_free(frame)


cdef inline uint32_t frame_size(const Frame *frame) noexcept:
    """Bytes, with the header."""
    return frame.header_length + frame.payload_length


cdef inline void frame_compressed(Frame *frame) noexcept:
    """Says of a new frame that its payload, and that of the message's other frames, is compressed: by
    the "RSV1 bit [...] of the first frame" (RFC 7692 section 6)."""
    frame.header[0] |= 0x40


cdef inline bint frame_is_pong(const Frame *frame) noexcept:
    return frame.header_length > 0 and (frame.header[0] & 0x0F) == DORRIT_OPCODE_PONG


cdef inline bint frame_is_ping(const Frame *frame) noexcept:
    return frame.header_length > 0 and (frame.header[0] & 0x0F) == DORRIT_OPCODE_PING


cdef inline bint frame_is_raw(const Frame *frame) noexcept:
    return frame.header_length == 0
