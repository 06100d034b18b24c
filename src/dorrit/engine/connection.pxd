"""Connection: one client, from its request to its end."""

cimport cython
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from dorrit.engine.agenda cimport Agenda
from dorrit.engine.assembly cimport Assembly
from dorrit.engine.frame cimport Frame, dorrit_opcode
from dorrit.engine.queue cimport OutputQueue


cdef enum State:
    # The zero state is the safest: a connection that nobody set up is closed.
    CLOSED = 0      # no descriptor
    HANDSHAKING     # the request is being read
    OPEN            # messages go both ways
    CLOSING         # our close frame is queued or sent; the client's has come or is waited for
    LINGERING       # over for the user: the rest is written, then input is thrown away until its end


# What has become of a message that was to be queued; -1 is for want of memory.
cdef enum:
    QUEUED = 0
    REFUSED = 1     # there was no room for it (R20)
    NEVER_FITS = 2  # not even in an empty queue


@cython.final
cdef class Connection:
    cdef public object data         # the user's (R15)
    cdef object __weakref__
    cdef Agenda agenda
    cdef object kept_request        # a Request, while the user may ask for it
    cdef object deflate             # a `dorrit.protocol.deflate.Deflate`; None: not negotiated
    cdef Assembly assembly          # a message of which a part has come; None: there is none
    cdef str close_reason
    cdef object about               # for the log: its path, or (address, path); None: not known yet
    cdef OutputQueue queue
    cdef uint8_t *input             # what has come of an incomplete head, header or control frame
    cdef uint32_t input_length      # bytes there are
    cdef uint32_t input_capacity    # bytes there is room for
    cdef uint32_t input_searched    # bytes of a head that do not hold its end
    cdef uint64_t skipping          # bytes of a frame that is not wanted, which are still to come
    cdef size_t waiting             # bytes of messages that wait for handlers (agenda.assembled)
    cdef uint32_t request_size      # bytes that the kept request takes; 0: it is not counted
    cdef uint64_t deadline          # monotonic milliseconds; 0: none
    cdef readonly uint64_t number   # counts the clients of one engine, from 1
    cdef uint32_t heard             # quarters: when something last came, or a ping was sent
    cdef uint32_t active            # quarters: when a message last came or was queued
    cdef uint32_t second            # the one in which frames are counted
    cdef uint32_t frames_in_second  # that have come
    cdef uint32_t opened            # hundredths of a second: when it was accepted
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
    cdef uint8_t closed_here        # the user has closed it
    cdef uint8_t following          # lingering until the client's close frame has come
    cdef uint8_t refusing              # a message did not fit, and the queue has not been empty since
    cdef uint8_t gone               # it takes nothing any more; what it sent may still be read
    cdef uint8_t kernel_is_full     # the last write could not write all that it was to
    cdef uint8_t held               # the open callback has not decided yet: nothing is written
    cdef uint8_t paused             # nothing is read, since the user has enough to do
    cdef uint8_t stashed            # `input` is what was read when reading was paused
    cdef uint8_t is_resumed         # in agenda.resumed
    cdef uint8_t pinged             # our ping has not been followed by anything yet
    cdef uint8_t room_wanted        # somebody waits for room in the queue
    cdef uint8_t asked              # the open callback will answer later, and has not yet

    cdef int put(self, Frame *frame) except -1
    cdef int put_compressed(self, dorrit_opcode opcode, bytes payload) except? -1
    cdef bint has_place(self, size_t count, size_t size) except -1
    cdef int refuse_message(self) except -1
    cdef int pass_over(self, size_t size, bint reported) except -1
    cdef int put_close(self, bytes payload) except -1
    cdef int answer_close(self, bytes payload, uint16_t code, str reason) except -1
    cdef int fail(self, uint16_t code, str reason, bint framed) except -1
    cdef int drop(self, uint16_t code, str reason, bint framed) except -1
    cdef int part(self) except -1
    cdef int refuse(self, bytes response) except -1
    cdef int linger(self, Frame *last) except -1
    cdef int finish(self) except -1
    cdef void shut_down(self) noexcept
    cdef void end(self) noexcept
    cdef void drop_queue(self, bint upgraded) noexcept
    cdef void to_be_flushed(self) noexcept
    cdef int watch_writing(self, bint writing) except -1
    cdef int pause(self) except -1
    cdef int resume(self) except -1
    cdef int hold(self) except -1
    cdef int release(self) except -1
    cdef void let_write(self) noexcept
    cdef int accept(self) except -1
    cdef int peer_has_gone(self) except -1
    cdef void lose(self) noexcept
    cdef void leave(self, bint is_taken) noexcept
    cdef int stash(self, uint8_t *data, size_t length) except -1
    cdef void to_be_resumed(self) noexcept
    cdef void leave_handshake(self) noexcept
    cdef void drop_assembly(self) noexcept
    cdef int take_in(self, uint8_t *data, size_t length, size_t capacity) except -1
    cdef void free_input(self) noexcept
