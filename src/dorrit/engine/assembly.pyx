# cython: language_level=3, freethreading_compatible=False
"""Assembly: a message of which only a part has come yet.

A connection has one only while a message is under way that did not come whole in one read. Each piece
is unmasked (and decompressed) straight to its place in one bytes object, which grows geometrically
with what has come, never with what a header promises, and becomes the message itself in the end. So a
client can't make it a list of a million pieces, nor memory that it has not paid for with bytes.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport Py_DECREF, Py_INCREF
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.string cimport memcpy, memset

from dorrit.engine.c.frame cimport DORRIT_OPCODE_TEXT
from dorrit.engine.c.masking cimport dorrit_mask
from dorrit.engine.c.utf8 cimport dorrit_utf8_feed, dorrit_utf8_is_complete


cdef extern from "Python.h":
    # Declared so that Cython leaves the references to us.
    PyObject *bytes_new "PyBytes_FromStringAndSize" (const char *data, Py_ssize_t length)
    int _PyBytes_Resize(PyObject **payload, Py_ssize_t length)
    char *bytes_data "PyBytes_AS_STRING" (PyObject *payload)


cdef enum:
    # Bytes that the payload has room for at first; it doubles from there.
    CAPACITY_FIRST = 512
    # Bytes of a decompressor: its window, its tables, and what Python puts around them.
    INFLATOR_SIZE = 44 * 1024


cdef Assembly assembly_new(Engine engine, const dorrit_frame_header *header, object deflate):
    """A message that begins with the frame of this header.

    Args:
        deflate: The connection's `dorrit.protocol.deflate.Deflate`, if there is one.
    """
    cdef Assembly assembly = Assembly.__new__(Assembly)
    assembly.engine = engine
    assembly.is_text = header.opcode == DORRIT_OPCODE_TEXT
    if header.compressed:
        assembly.inflator = deflate.inflator()
        if not deflate.keeps_inflator:
            assembly.inflating = INFLATOR_SIZE
            engine.assembled += INFLATOR_SIZE
        if engine.carries and not (deflate.keeps_inflator and deflate.window is None):
            assembly.compressed = bytearray()
    assembly.begin_frame(header)
    memcpy(assembly.first_key, header.masking_key, 4)
    assembly.is_continued = False
    return assembly


@cython.final
@cython.no_gc_clear     # __dealloc__ needs the engine
cdef class Assembly:
    """A message of which only a part has come yet."""

    def __cinit__(self):
        memset(&self.text, 0, sizeof(self.text))

    def __dealloc__(self):
        self.free_payload()
        if self.engine is not None:
            self.engine.assembled -= self.inflating

    cdef void begin_frame(self, const dorrit_frame_header *header) noexcept:
        self.frame_rest = header.payload_length
        self.fin = header.fin
        memcpy(self.masking_key, header.masking_key, 4)
        self.is_continued = True

    cdef bint is_complete(self) noexcept:
        """All bytes of its last frame have come."""
        return self.fin and self.frame_rest == 0

    cdef size_t held(self) noexcept:
        """Bytes of memory that it takes."""
        return self.capacity + self.inflating

    cdef size_t restarts(self) except? 0:
        """Final blocks that its inflator has gone on after, in earlier messages too."""
        return 0 if self.inflator is None else <size_t>self.inflator.restarts

    cdef Fault take(self, uint8_t *masked, size_t length) except *:
        """Takes the next bytes of the current frame, which it may change; no more than there are to
        come."""
        cdef uint8_t *place
        cdef bytes piece
        cdef Fault fault = NO_FAULT
        # Inflating runs Python's code, and with it whatever a signal handler does to the connection:
        # what is still to come must be right by then.
        self.frame_rest -= length
        if self.inflator is not None:
            dorrit_mask(masked, masked, length, self.masking_key)
            self.turn_key(length)
            piece = PyBytes_FromStringAndSize(<char *>masked, <Py_ssize_t>length)
            if self.compressed is not None:
                self.compressed += piece
                self.inflating += length
                self.engine.assembled += length
            return self.inflate(piece)
        if length > 0:
            place = self.reserve(length)
            dorrit_mask(place, masked, length, self.masking_key)
            self.length += length
            if self.is_text and not dorrit_utf8_feed(&self.text, place, length):
                fault = NOT_TEXT
        self.turn_key(length)
        return fault

    cdef void turn_key(self, size_t length) noexcept:
        # RFC 6455 section 5.3: "Octet i of the transformed data is the XOR of octet i of the original
        # data with octet at index i modulo 4 of the masking key".
        cdef uint8_t key[4]
        cdef unsigned int index
        memcpy(key, self.masking_key, 4)
        for index in range(4):
            self.masking_key[index] = key[(index + length) & 3]

    cdef Fault inflate(self, bytes piece) except *:
        cdef size_t room = self.engine.limits.max_message - self.length
        try:
            return self.append(self.inflator.inflate(piece, room))
        except ValueError:
            return NOT_DEFLATED

    cdef Fault append(self, bytes piece) except *:
        cdef size_t length = <size_t>PyBytes_GET_SIZE(piece)
        cdef uint8_t *place
        cdef size_t room = self.engine.limits.max_message - self.length
        if length > room:
            # Whichever is first in the stream counts, however it was cut.
            if self.is_text and not dorrit_utf8_feed(
                    &self.text, <uint8_t *>PyBytes_AS_STRING(piece), room):
                return NOT_TEXT
            return TOO_LARGE
        if length == 0:
            return NO_FAULT
        place = self.reserve(length)
        memcpy(place, PyBytes_AS_STRING(piece), length)
        self.length += length
        if self.is_text and not dorrit_utf8_feed(&self.text, place, length):
            return NOT_TEXT
        return NO_FAULT

    cdef Fault finish(self) except *:
        """The message is complete: is it right as a whole?"""
        cdef Fault fault
        if self.inflator is not None:
            fault = self.finish_inflating()
            if fault != NO_FAULT:
                return fault
        # RFC 6455 section 5.6: "Note that a particular text frame might include a partial UTF-8
        # sequence; however, the whole message MUST contain valid UTF-8."
        if self.is_text and not dorrit_utf8_is_complete(&self.text):
            return NOT_TEXT
        return NO_FAULT

    cdef Fault finish_inflating(self) except *:
        cdef size_t room = self.engine.limits.max_message - self.length
        try:
            return self.append(self.inflator.finish(room))
        except ValueError:
            return NOT_DEFLATED

    cdef object take_message(self, bint as_str):
        """The message, once and for all: str for a text, if it is to be one, otherwise bytes."""
        cdef PyObject *payload
        if self.payload == NULL:
            return "" if as_str and self.is_text else b""
        if as_str and self.is_text:
            text = PyUnicode_DecodeUTF8(bytes_data(self.payload), <Py_ssize_t>self.length, NULL)
            self.free_payload()     # the callback may take its time
            return text
        if self.length < self.capacity:
            self.resize(self.length)
        payload = self.payload
        self.payload = NULL
        self.engine.assembled -= self.capacity
        self.capacity = 0
        message = <object>payload
        Py_DECREF(message)  # ours, which it goes on with
        return message

    cdef uint8_t *reserve(self, size_t more) except NULL:
        """Makes room for `more` bytes, and returns where they go."""
        cdef size_t needed = self.length + more
        cdef size_t most = self.engine.limits.max_message
        if needed > self.capacity:
            if self.fin and self.inflator is None:
                most = needed + <size_t>self.frame_rest     # and that is all of it
            self.resize(max(needed, min(max(self.capacity * 2, more * 2, <size_t>CAPACITY_FIRST), most)))
        return <uint8_t *>bytes_data(self.payload) + self.length

    cdef int resize(self, size_t capacity) except -1:
        cdef size_t before = self.capacity
        if self.payload == NULL:
            self.payload = bytes_new(NULL, <Py_ssize_t>capacity)
            if self.payload == NULL:
                raise MemoryError
        elif _PyBytes_Resize(&self.payload, <Py_ssize_t>capacity) < 0:
            # It has been freed, and what raises the exception knows.
            self.capacity = self.length = 0
            self.engine.assembled -= before
            raise MemoryError
        self.capacity = capacity
        self.engine.assembled += capacity
        self.engine.assembled -= before
        return 0

    cdef void free_payload(self) noexcept:
        if self.payload != NULL:
            self.engine.assembled -= self.capacity
            Py_DECREF(<object>self.payload)
            self.payload = NULL
        self.capacity = self.length = 0
