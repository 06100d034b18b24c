"""Assembly: a message of which only a part has come yet."""

from cpython.object cimport PyObject
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint64_t

from dorrit.engine.c.frame cimport dorrit_frame_header
from dorrit.engine.c.utf8 cimport dorrit_utf8
from dorrit.engine.engine cimport Engine



# What is wrong with a message, as far as it has come.
cdef enum Fault:
    NO_FAULT = 0
    NOT_TEXT        # no continuation makes it UTF-8
    TOO_LARGE       # decompressed, it is larger than the largest message
    NOT_DEFLATED    # it can't be decompressed


cdef class Assembly:
    cdef Engine engine
    cdef PyObject *payload      # bytes of `capacity`, of which `length` have come; NULL: none
    cdef size_t capacity
    cdef size_t length
    cdef uint64_t frame_rest    # bytes of the current frame's payload that are still to come
    cdef uint8_t masking_key[4] # the current frame's, turned so that the next byte needs the first
    cdef uint8_t first_key[4]   # the first frame's, as it was at its beginning
    cdef bint fin               # the current frame is the message's last
    cdef bint is_text
    cdef dorrit_utf8 text       # where in a character the bytes so far end
    cdef object inflator        # a `dorrit.protocol.deflate.Inflator`; None: it is not compressed
    cdef size_t inflating       # bytes that it takes to inflate, beside the payload
    cdef bint is_continued      # the current frame is not its first
    cdef bytearray compressed   # what has come, as it has come; None: it is not compressed, or can't be carried

    cdef void begin_frame(self, const dorrit_frame_header *header) noexcept
    cdef bint is_complete(self) noexcept
    cdef size_t held(self) noexcept
    cdef size_t restarts(self) except? 0
    cdef void turn_key(self, size_t length) noexcept
    cdef Fault take(self, uint8_t *masked, size_t length) except *
    cdef Fault finish(self) except *
    cdef object take_message(self, bint as_str)
    cdef Fault inflate(self, bytes piece) except *
    cdef Fault finish_inflating(self) except *
    cdef Fault append(self, bytes piece) except *
    cdef uint8_t *reserve(self, size_t more) except NULL
    cdef int resize(self, size_t capacity) except -1
    cdef void free_payload(self) noexcept

cdef Assembly assembly_new(Engine engine, const dorrit_frame_header *header, object deflate)
