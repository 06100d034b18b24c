"""Connection: one client, from its request to its end. Its fields; what leads from one state to the next
is in `life.pyx`, and what users see of it in `connection.pyx`, above all other modules."""

cimport cython
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from dorrit.engine.assembly cimport Assembly
from dorrit.engine.engine cimport Engine
from dorrit.engine.queue cimport OutputQueue


cdef enum State:
    # The zero state is the safest: a connection that nobody set up is closed.
    CLOSED = 0      # no descriptor
    HANDSHAKING     # the request is being read
    OPEN            # messages go both ways
    CLOSING         # our close frame is queued or sent; the client's has come or is waited for
    LINGERING       # over for the user: the rest is written, then input is thrown away until its end


@cython.final
cdef class Connection:
    cdef public object data         # the user's (R15)
    cdef object __weakref__
    cdef Engine engine
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
    cdef size_t waiting             # bytes of messages that wait for handlers (engine.assembled)
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
    cdef uint8_t is_dirty              # in engine.dirty
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
    cdef uint8_t is_resumed         # in engine.resumed
    cdef uint8_t pinged             # our ping has not been followed by anything yet
    cdef uint8_t room_wanted        # somebody waits for room in the queue
    cdef uint8_t asked              # the open callback will answer later, and has not yet
