# cython: language_level=3, freethreading_compatible=False
"""Messages on their way out: what a user sends becomes frames, and these go into queues."""

cimport cython
from cpython.buffer cimport PyObject_CheckBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromObject, PyBytes_GET_SIZE
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t

from dorrit.engine.agenda cimport QUEUE_FRAMES_MAX
from dorrit.engine.connection cimport OPEN, Connection, Message
from dorrit.engine.frame cimport (
    DORRIT_OPCODE_BINARY,
    DORRIT_OPCODE_CONTINUATION,
    DORRIT_OPCODE_TEXT,
    dorrit_opcode,
    frame_new,
    frame_release,
)


cdef extern from "utf8.h" nogil:
    bint dorrit_utf8_is_valid(const uint8_t *data, size_t length)


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


cdef int message_make(
    Message *message, dorrit_opcode opcode, bytes payload, uint32_t payload_max) noexcept:
    """Frames a payload, in fragments if it is larger than `payload_max` bytes (R17). -1: no memory.

    RFC 6455 section 5.4: "A fragmented message consists of a single frame with the FIN bit clear
    and an opcode other than 0, followed by zero or more frames with the FIN bit clear and the
    opcode set to 0, and terminated by a single frame with the FIN bit set and an opcode of 0."
    """
    cdef size_t length = <size_t>PyBytes_GET_SIZE(payload)
    cdef size_t offset = 0
    cdef size_t size
    message.made = 0
    # Nearly every message fits one frame; a division costs more than the rest of this.
    message.count = 1 if length <= payload_max else (length - 1) // payload_max + 1
    if message.count > QUEUE_FRAMES_MAX:
        return 0    # no queue has room for it, so nobody needs the frames
    while offset < length:
        size = min(<size_t>payload_max, length - offset)
        message.frames[message.made] = frame_new(
            offset + size == length,
            opcode if offset == 0 else DORRIT_OPCODE_CONTINUATION,
            payload, offset, <uint32_t>size)
        if message.frames[message.made] == NULL:
            message_release(message)
            return -1
        message.made += 1
        offset += size
    return 0


cdef void message_release(Message *message) noexcept:
    """Gives back the references; the frames live on in the queues that have them."""
    while message.made > 0:
        message.made -= 1
        frame_release(message.frames[message.made])


cdef int queue_for_one(Connection connection, dorrit_opcode opcode, bytes payload) except? -1:
    cdef Message message
    cdef int result
    if connection.state != OPEN:
        return 0
    if message_make(&message, opcode, payload, connection.agenda.payload_max) < 0:
        return -1
    result = connection.put_message(&message)
    message_release(&message)
    return result


cdef int queue_for_many(object conns, dorrit_opcode opcode, bytes payload) except? -1:
    """-1: no memory for one of them at least; the others have got it."""
    cdef Message message
    cdef uint32_t payload_max = 0
    cdef int result = 0
    cdef Connection connection
    message.made = 0
    try:
        for item in conns:
            if type(item) is not Connection:
                raise TypeError(f"conns holds a {type(item).__name__}, which is no connection")
            connection = <Connection>item
            if connection.state != OPEN:
                continue
            if connection.agenda.payload_max != payload_max:
                # Once, unless the connections are of servers with different buffers.
                message_release(&message)
                payload_max = connection.agenda.payload_max
                if message_make(&message, opcode, payload, payload_max) < 0:
                    return -1
            if connection.put_message(&message) < 0:
                result = -1
    finally:
        message_release(&message)
    return result


# As a function of C the interpreter calls it without a detour.
@cython.binding(False)
@cython.embedsignature(True)
@cython.embedsignature.format("clinic")
def queue_message(conns, binary, data) -> int:
    """Frames a message once and queues it for one connection or for many (R16 to R20).

    Nothing is written here: that happens at the end of the loop's turn. The frames are shared, so a
    broadcast holds one copy of `data`. A connection that is closed is passed over; one whose queue
    has no room for the whole message does not get it (see `Connection.dropped`).

    Args:
        conns: A connection, or an iterable of connections.
        binary: True for a binary message, false for text.
        data: `bytes` or another object with bytes in it, which may be changed afterwards; for text
            also `str`. Bytes of a text must be UTF-8.

    Returns:
        0; -1 when memory ran out; -2 when `data` is empty.

    Raises:
        TypeError: `conns` or `data` is of another type.
        ValueError: The bytes of a text are not UTF-8.
    """
    cdef dorrit_opcode opcode = DORRIT_OPCODE_BINARY if binary else DORRIT_OPCODE_TEXT
    cdef bytes payload
    if type(data) is bytes and opcode == DORRIT_OPCODE_BINARY:
        payload = <bytes>data
    else:
        try:
            payload = payload_of(opcode == DORRIT_OPCODE_BINARY, data)
        except MemoryError:
            return -1
    if PyBytes_GET_SIZE(payload) == 0:
        return -2
    if type(conns) is Connection:
        return queue_for_one(<Connection>conns, opcode, payload)
    return queue_for_many(conns, opcode, payload)
