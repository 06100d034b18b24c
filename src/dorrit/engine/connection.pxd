"""Connection: one client, from its request to its end."""

cimport cython
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from dorrit.engine.agenda cimport QUEUE_FRAMES_MAX, Agenda
from dorrit.engine.frame cimport Frame
from dorrit.engine.queue cimport OutputQueue


cdef enum State:
    # The zero state is the safest: a connection that nobody set up is closed.
    CLOSED = 0      # no descriptor
    HANDSHAKING     # the request is being read
    OPEN            # messages go both ways
    CLOSING         # our close frame is queued or sent; the client's has come or is waited for
    LINGERING       # over for the user: the rest is written, then input is thrown away until its end


# A message in as many frames as it takes. The frames are there only if a queue has room for them.
cdef struct Message:
    size_t count                        # of frames that it takes
    unsigned int made                   # of frames that are there: `count` of them, or none
    Frame *frames[QUEUE_FRAMES_MAX]     # owns one reference for each


@cython.final
cdef class Connection:
    cdef public object data         # the user's (R15)
    cdef object __weakref__
    cdef Agenda agenda
    cdef str close_reason
    cdef OutputQueue queue
    cdef uint8_t *input             # what has come of an incomplete head or frame; NULL: nothing
    cdef uint32_t input_length      # bytes there are
    cdef uint32_t input_capacity    # bytes there is room for
    cdef uint32_t input_mark        # head: bytes searched for its end; frame: its whole size or 0
    cdef uint64_t skipping          # bytes of a frame that is not wanted, which are still to come
    cdef uint64_t deadline          # monotonic milliseconds; 0: none
    cdef int descriptor             # -1: closed
    cdef readonly uint32_t dropped  # messages that did not fit (R20)
    cdef uint16_t close_code
    cdef uint8_t state              # a State
    cdef uint8_t pongs              # in the queue and not begun
    # Truth values, a byte each.
    cdef uint8_t accepted              # the open callback said yes: the close callback will run
    cdef uint8_t over                  # nothing more goes to the user but the close callback
    cdef uint8_t is_dirty              # in agenda.dirty
    cdef bint watched_for_writing
    cdef uint8_t close_received
    cdef uint8_t following          # lingering until the client's close frame has come
    cdef uint8_t refusing              # a message did not fit, and the queue has not been empty since

    cdef int put(self, Frame *frame) except -1
    cdef int put_message(self, Message *message) except? -1
    cdef int put_pong(self, bytes payload) except -1
    cdef int put_close(self, bytes payload) except -1
    cdef int flush(self) except -1
    cdef int answer_close(self, bytes payload, uint16_t code, str reason) except -1
    cdef int fail(self, uint16_t code, str reason, bint framed) except -1
    cdef int part(self) except -1
    cdef int refuse(self, bytes response) except -1
    cdef int linger(self, Frame *last) except -1
    cdef int finish(self) except -1
    cdef void shut_down(self) noexcept
    cdef void end(self) noexcept
    cdef void drop_queue(self, bint upgraded) noexcept
    cdef void to_be_flushed(self) noexcept
    cdef void take_written(self, size_t sent) noexcept
    cdef int watch_writing(self, bint writing) except -1
    cdef int accept(self) except -1
    cdef void lose(self) noexcept
    cdef int take_in(self, uint8_t *data, size_t length, size_t capacity) except -1
    cdef void free_input(self) noexcept

cdef Connection connection_new(Agenda agenda, int descriptor)
cdef bytes close_payload(uint16_t code, str reason)
