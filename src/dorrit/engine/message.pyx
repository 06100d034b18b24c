# cython: language_level=3, freethreading_compatible=False
"""Message: what a user sends becomes a payload, and a payload becomes frames."""

from cpython.buffer cimport PyObject_CheckBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromObject, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint16_t

from dorrit.engine.c.frame cimport DORRIT_OPCODE_CONTINUATION
from dorrit.engine.c.utf8 cimport dorrit_utf8_is_valid
from dorrit.engine.frame cimport frame_new


cdef bytes payload_of(bint binary, object data):
    """The bytes that go out. An immutable object is shared, others are copied (R16)."""
    cdef bytes payload
    if type(data) is bytes:
        payload = <bytes>data
    elif isinstance(data, str):
        if binary:
            raise TypeError("a binary message is made of bytes, not of str")
        return data.encode("utf-8")
    elif PyObject_CheckBuffer(data):
        payload = PyBytes_FromObject(data)
    else:
        raise TypeError(f"a message is str or bytes, not {type(data).__name__}")
    if not binary and not dorrit_utf8_is_valid(
            <const uint8_t *>PyBytes_AS_STRING(payload), <size_t>PyBytes_GET_SIZE(payload)):
        raise ValueError("a text message must be UTF-8: a client would fail the connection (1007)")
    return payload


cdef bytes close_payload(uint16_t code, str reason):
    """RFC 6455 section 5.5.1: a 2-byte unsigned integer in network byte order, then a reason in
    UTF-8; a control frame's payload has at most 125 bytes."""
    cdef bytes encoded = reason.encode("utf-8", "replace")[:123]
    if not dorrit_utf8_is_valid(
            <const uint8_t *>PyBytes_AS_STRING(encoded), <size_t>PyBytes_GET_SIZE(encoded)):
        encoded = encoded.decode("utf-8", "ignore").encode("utf-8")  # cut within a character
    return bytes((code >> 8, code & 0xFF)) + encoded


cdef bytes message_compress(object deflate, bytes payload, bint *compressed):
    """What goes out instead of a payload, if it is smaller; `deflate` must not keep any state."""
    cdef bytes deflated = deflate.deflate(payload)
    compressed[0] = PyBytes_GET_SIZE(deflated) < PyBytes_GET_SIZE(payload)
    return deflated if compressed[0] else payload


cdef int message_fragment(
    Message *message, dorrit_opcode opcode, bytes payload, uint32_t fragment_max,
    bint compressed) noexcept:
    """Frames a payload in fragments. -1: no memory.

    RFC 6455 section 5.4: "A fragmented message consists of a single frame with the FIN bit clear
    and an opcode other than 0, followed by zero or more frames with the FIN bit clear and the
    opcode set to 0, and terminated by a single frame with the FIN bit set and an opcode of 0."
    """
    cdef size_t length = <size_t>PyBytes_GET_SIZE(payload)
    cdef size_t offset = 0
    cdef size_t size
    message.made = 0
    message.recording = NULL
    message.size = 0
    message.count = (length - 1) // fragment_max + 1
    if message.count > QUEUE_FRAMES_MAX:
        return 0    # no queue has room for it, so nobody needs the frames
    while message.made < message.count:
        size = min(<size_t>fragment_max, length - offset)
        message.frames[message.made] = frame_new(
            offset + size == length,
            opcode if offset == 0 else DORRIT_OPCODE_CONTINUATION,
            payload, offset, size)
        if message.frames[message.made] == NULL:
            message_release(message)
            return -1
        if compressed and offset == 0:
            frame_compressed(message.frames[0])
        message.size += frame_size(message.frames[message.made])
        message.made += 1
        offset += size
    return 0
