# cython: language_level=3, freethreading_compatible=False
"""Frame: one framed piece of output, made once and shared by every queue it stands in.

"All queued data is reference counted to avoid unnecessary copying. Each connection's queue of
outgoing data points to the same copy of the data." (libdorrit(3)) Here Python's own reference
count does that: a queue holds a reference for each frame that it has still to write.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stddef cimport size_t
from libc.stdint cimport uint64_t


cdef extern from "frame.h" nogil:
    size_t dorrit_frame_header_encode(
        uint8_t *out, bint fin, dorrit_opcode opcode, uint64_t payload_length)


cdef Py_ssize_t alive = 0


@cython.final
@cython.freelist(512)
@cython.no_gc
cdef class Frame:

    def __cinit__(self):
        global alive
        alive += 1

    def __dealloc__(self):
        global alive
        alive -= 1


def frames_alive() -> int:
    """The number of frames that exist in this process (for tests and statistics)."""
    return alive


cdef inline Frame framed(
    bint fin, dorrit_opcode opcode, bytes owner, size_t offset, uint32_t length):
    cdef Frame frame = Frame.__new__(Frame)
    frame.owner = owner
    frame.payload = <const uint8_t *>PyBytes_AS_STRING(owner) + offset
    frame.payload_length = length
    frame.header_length = <uint8_t>dorrit_frame_header_encode(frame.header, fin, opcode, length)
    # RFC 6455 section 5.5: opcodes with the most significant bit set are control frames.
    frame.counted = opcode < DORRIT_OPCODE_CLOSE
    return frame


cdef Frame frame_whole(dorrit_opcode opcode, bytes payload):
    """A message or a control frame in one frame. `payload` is shared, not copied."""
    return framed(True, opcode, payload, 0, <uint32_t>PyBytes_GET_SIZE(payload))


cdef tuple frame_in_fragments(dorrit_opcode opcode, bytes payload, uint32_t payload_max):
    """A message in fragments of at most `payload_max` bytes, all of which share `payload`.

    RFC 6455 section 5.4: "A fragmented message consists of a single frame with the FIN bit clear
    and an opcode other than 0, followed by zero or more frames with the FIN bit clear and the
    opcode set to 0, and terminated by a single frame with the FIN bit set and an opcode of 0."
    """
    cdef size_t length = <size_t>PyBytes_GET_SIZE(payload)
    cdef size_t offset = 0
    cdef size_t size
    cdef list frames = []
    while offset < length:
        size = min(<size_t>payload_max, length - offset)
        frames.append(framed(
            offset + size == length,
            opcode if offset == 0 else DORRIT_OPCODE_CONTINUATION,
            payload, offset, <uint32_t>size))
        offset += size
    return tuple(frames)


cdef Frame frame_raw(bytes content):
    """Bytes that are written as they are: an HTTP response."""
    cdef Frame frame = Frame.__new__(Frame)
    frame.owner = content
    frame.payload = <const uint8_t *>PyBytes_AS_STRING(content)
    frame.payload_length = <uint32_t>PyBytes_GET_SIZE(content)
    frame.header_length = 0
    frame.counted = False
    return frame
