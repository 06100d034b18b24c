# cython: language_level=3, freethreading_compatible=False
"""Frame: one framed piece of output, made once and shared by every queue it stands in.

"All queued data is reference counted to avoid unnecessary copying. Each connection's queue of
outgoing data points to the same copy of the data. When a connection writes the data or closes, the
reference count for the data is decremented." (libdorrit(3))
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy

from dorrit.engine.c.frame cimport DORRIT_OPCODE_CLOSE, dorrit_frame_header_encode


cdef Py_ssize_t alive = 0
frames_size = 0


def frames_alive() -> int:
    """The number of frames that exist in this process (for tests and statistics)."""
    return alive


cdef inline Frame *allocate(bytes owner, size_t offset, size_t length) noexcept:
    global alive, frames_size
    cdef Frame *frame
    if length > FRAME_PAYLOAD_MAX:
        return NULL
    frame = <Frame *>PyMem_Malloc(sizeof(Frame))
    if frame == NULL:
        return NULL
    alive += 1
    frames_size += length + FRAME_COST
    frame.references = 1
    Py_INCREF(owner)
    frame.owner = <void *>owner
    frame.payload = <const uint8_t *>PyBytes_AS_STRING(owner) + offset
    frame.payload_length = <uint32_t>length
    return frame


cdef Frame *frame_new(
    bint fin, dorrit_opcode opcode, bytes owner, size_t offset, size_t length) noexcept:
    """A frame whose payload is owner[offset : offset + length], shared and not copied."""
    cdef Frame *frame = allocate(owner, offset, length)
    if frame != NULL:
        frame.header_length = <uint8_t>dorrit_frame_header_encode(
            frame.header, fin, opcode, length)
        # RFC 6455 section 5.5: opcodes with the most significant bit set are control frames.
        frame.counted = opcode < DORRIT_OPCODE_CLOSE
    return frame


cdef Frame *frame_raw(bytes content) noexcept:
    """Bytes that are written as they are: an HTTP response."""
    cdef Frame *frame = allocate(content, 0, <size_t>PyBytes_GET_SIZE(content))
    if frame != NULL:
        frame.header_length = 0
        frame.counted = False
    return frame


cdef Frame *frame_carried(
        const uint8_t *content, size_t length, size_t header_length, bint counted) except? NULL:
    cdef Frame *frame
    cdef bytes payload
    if header_length > sizeof(frame.header) or header_length > length:
        raise OverflowError("the header of a frame is longer than any is")
    payload = PyBytes_FromStringAndSize(
        <const char *>content + header_length, <Py_ssize_t>(length - header_length))
    frame = allocate(payload, 0, length - header_length)
    if frame != NULL:
        memcpy(frame.header, content, header_length)
        frame.header_length = <uint8_t>header_length
        frame.counted = counted
    return frame


cdef void frame_free(Frame *frame) noexcept:
    """Frees a frame to which there is no reference any more."""
    global alive, frames_size
    alive -= 1
    frames_size -= frame.payload_length + FRAME_COST
    Py_DECREF(<object>frame.owner)
    PyMem_Free(frame)
