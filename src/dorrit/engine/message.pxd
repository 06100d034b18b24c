"""Message: what a user sends becomes a payload, and a payload becomes frames."""

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stddef cimport size_t
from libc.stdint cimport uint16_t, uint32_t

from dorrit.engine.c.frame cimport dorrit_opcode
from dorrit.engine.engine cimport Engine
from dorrit.engine.frame cimport Frame, frame_compressed, frame_release, frame_size, frame_whole
from dorrit.engine.queue cimport QUEUE_FRAMES_MAX


# A message in as many frames as it takes. The frames are there only if a queue has room for them.
cdef struct Message:
    size_t count                        # of frames that it takes
    size_t size                         # bytes of those that are there, with their headers
    unsigned int made                   # of frames that are there: `count` of them, or none
    Frame *frames[QUEUE_FRAMES_MAX]     # owns one reference for each
    void *recording                     # in whose journal they stand; NULL: in none
    uint32_t places[QUEUE_FRAMES_MAX]   # where they do there


cdef bytes payload_of(bint binary, object data)
cdef bytes close_payload(uint16_t code, str reason)
cdef bytes message_compress(object deflate, bytes payload, bint *compressed)
cdef int message_fragment(
    Message *message, dorrit_opcode opcode, bytes payload, uint32_t fragment_max,
    bint compressed) noexcept


cdef inline int message_make(
        Message *message, dorrit_opcode opcode, bytes payload, uint32_t fragment_max,
        bint compressed) noexcept:
    """Frames a payload, in fragments if it is larger than `fragment_max` bytes (R17). -1: no memory."""
    cdef Frame *frame
    if <size_t>PyBytes_GET_SIZE(payload) > fragment_max:
        return message_fragment(message, opcode, payload, fragment_max, compressed)
    message.made = 0
    message.recording = NULL
    frame = frame_whole(opcode, payload)
    if frame == NULL:
        return -1
    if compressed:
        frame_compressed(frame)
    message.frames[0] = frame
    message.made = 1
    message.count = 1
    message.size = frame_size(frame)
    return 0


cdef inline void message_release(Message *message) noexcept:
    """Gives back the references; the frames live on in the queues that have them."""
    while message.made > 0:
        message.made -= 1
        frame_release(message.frames[message.made])


cdef inline uint32_t fragment_size(Engine engine, size_t length) noexcept:
    """Bytes of the fragments that a payload goes out in (R17). What may be received may be sent: a
    message that would take more than half of a queue has larger ones."""
    if length > <size_t>engine.fragment_max * (QUEUE_FRAMES_MAX // 2) and (
            engine.limits.rfc and length <= engine.limits.max_message):
        return <uint32_t>((length - 1) // (QUEUE_FRAMES_MAX // 2) + 1)
    return engine.fragment_max
