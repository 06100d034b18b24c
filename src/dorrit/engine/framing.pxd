"""Framing: what a user sends becomes a payload, and a payload becomes frames."""

from libc.stddef cimport size_t
from libc.stdint cimport uint16_t, uint32_t

from dorrit.engine.agenda cimport QUEUE_FRAMES_MAX
from dorrit.engine.frame cimport Frame, dorrit_opcode


# A message in as many frames as it takes. The frames are there only if a queue has room for them.
cdef struct Message:
    size_t count                        # of frames that it takes
    size_t size                         # bytes of those that are there, with their headers
    unsigned int made                   # of frames that are there: `count` of them, or none
    Frame *frames[QUEUE_FRAMES_MAX]     # owns one reference for each


cdef bytes payload_of(bint binary, object data)
cdef bytes close_payload(uint16_t code, str reason)
cdef bytes message_compress(object deflate, bytes payload, bint *compressed)
cdef int message_make(
    Message *message, dorrit_opcode opcode, bytes payload, uint32_t fragment_max,
    bint compressed) noexcept
cdef void message_release(Message *message) noexcept
