"""Agenda: what the connections of one engine share, and what is to be done before it sleeps."""

from cpython.object cimport PyObject
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from dorrit.engine.frame cimport frames_size
from dorrit.engine.limits cimport CLimits
from dorrit.engine.references cimport References


cdef enum:
    # One read takes at most this much, and one write copies at most this much together. The largest
    # frame that R30 allows fits.
    SCRATCH_SIZE = 64 * 1024 + 64

    # "ws_write_conn() will not allow the outgoing message queue for any connection to grow longer
    # than 200 frames." (libdorrit(3))
    QUEUE_FRAMES_MAX = 200

    # Work that one read may be to decompress, after which the others have their turn. It is counted
    # in bytes that come out, of which zlib makes a mebibyte in three milliseconds. Input may be more
    # work than what comes out of it: a block of 11 bytes with codes of its own, and nothing in it,
    # takes as long as 400 bytes of output, and so does a final block, which needs a new decompressor.
    INFLATED_MAX = 1024 * 1024
    INFLATED_BY_INPUT = 32          # for each byte that goes in
    INFLATED_BY_RESTART = 1024      # for each final block

    # Bytes that are decompressed at a time, before the work that it was is looked at.
    INFLATE_PIECE = 16 * 1024

    # Frames of one connection that are handled in one turn; then the others have theirs. One read
    # may bring ten thousand, each a call of the user's function.
    FRAMES_PER_TURN = 256

    # Connections that are over and only wait for their end; for one more, the oldest is cut off.
    LINGERING_MAX = 1024

    # Bytes of messages under way, from which on memory is given back to the system when most of
    # them have gone.
    HELD_MUCH = 32 * 1024 * 1024

    # Pongs that may wait in one queue; from then on the newest takes the last one's place.
    PONGS_MAX = 16

    # Milliseconds: deadlines are rounded up to a multiple, so that all connections are looked
    # through for one that is late a few times a second at most.
    DEADLINE_STEP = 250


cdef extern from "Python.h":
    unsigned long PyThread_get_thread_ident() noexcept nogil

cdef extern from "sockets.h" nogil:
    uint64_t dorrit_monotonic_milliseconds()


cdef inline uint32_t quarters() noexcept:
    """The time in quarters of a second, which four bytes hold for 34 years."""
    return <uint32_t>(dorrit_monotonic_milliseconds() // DEADLINE_STEP)


cdef inline uint32_t hundredths() noexcept:
    """The time in hundredths of a second; a difference holds for 497 days."""
    return <uint32_t>(dorrit_monotonic_milliseconds() // 10)


# How many processes there are between the first one and this, each forked off the one before it.
cdef unsigned int forks


cdef class Agenda:
    cdef object __weakref__

    # Settings, fixed for the engine's life.
    cdef CLimits limits
    cdef object allow_peer                  # a frozenset of uids; empty: anybody's
    cdef object deflate                     # a `dorrit.protocol.deflate.Policy`, or None
    cdef object health                      # the path of the health check; None: there is none
    cdef bint access_log                    # each connection's end is reported
    cdef uint32_t fragment_max              # bytes of the largest payload of a frame that is sent
    cdef bint text_as_str                   # messages are str or bytes, without a flag
    cdef object names                       # a `dorrit.engine.callback_names.CallbackNames`

    # What the user wants to hear, see Engine.
    cdef object on_open
    cdef object on_message
    cdef object on_close
    cdef object reports
    # Of the event loop of asyncio, if there is one.
    cdef object drain                       # makes what a handler awaits to have room in a queue
    cdef object on_room                     # called with a connection that has room again
    cdef object on_read                     # called when a connection has been read
    cdef object is_busy                     # whether a message of a connection is being handled
    cdef object forget                      # lets messages go that wait for handlers

    cdef unsigned int forks_before          # of the process that it belongs to
    cdef bint stays                         # in that process, whatever that forks
    cdef bint is_lost                       # this is another one, forked in a callback
    cdef object farewell                    # what that one ends with
    cdef object end_child                   # ends it with that, if nobody takes exceptions
    cdef object exit                        # what a message callback leaves the loop with, or None
    cdef bint is_interrupted                # one of the two: the turn does not end as usual

    cdef int poller                         # descriptor; -1 once the engine is closed
    cdef int waker                          # descriptor: a byte written here ends the engine's sleep
    cdef bint woken                         # there is such a byte
    cdef unsigned long thread               # in which the last turn was; 0: there was none
    cdef readonly bint in_turn               # a turn of the loop is under way; it ends with a flush
    cdef bint shutting_down                 # no client is taken any more
    cdef uint64_t numbered                  # clients, so far
    cdef str last_target                    # of a request, without its query
    cdef str last_path                      # the same, for the log
    cdef uint64_t deadline_first            # no deadline is earlier; UINT64_MAX: there is none

    # Descriptor → connection. Owns one reference for each connection that has a descriptor.
    cdef PyObject **table
    cdef size_t table_size
    cdef readonly Py_ssize_t connections    # in the table
    cdef readonly Py_ssize_t departed       # that are over, with handlers that still run for them

    # There is room in each for every connection in the table: adding to them can't fail. None is in
    # one of them twice.
    cdef References dirty                   # has something to write, and the kernel may take it
    cdef References ended                   # is over, and the user has not heard it yet
    cdef References resumed                 # is read again, from what it has stashed

    cdef readonly size_t assembled          # bytes in all assemblies, stashes, and what is kept
    cdef size_t held_most                   # bytes under way at a turn's end, since memory was given back
    cdef object handshaking                 # descriptors of connections without a request, in order
    cdef object lingerers                   # descriptors of those that are lingering, in order
    cdef size_t inflated                    # work that it was so far to decompress the last read
    cdef uint8_t *input                     # SCRATCH_SIZE bytes, for one read
    cdef uint8_t *output                    # SCRATCH_SIZE bytes, for one write

    cdef int enter(self, int descriptor, object connection) except -1
    cdef void leave(self, int descriptor, bint is_taken) noexcept
    cdef void add_dirty(self, object connection) noexcept
    cdef void add_ended(self, object connection) noexcept
    cdef void add_resumed(self, object connection) noexcept
    cdef void give_back(self) noexcept
    cdef int let_go(self) except -1
    cdef int make_room(self) except -1
    cdef int write_now(self, object connection) except -1
    cdef int cut_oldest_lingerer(self) except -1
    cdef uint64_t deadline_in(self, uint64_t milliseconds) noexcept
    cdef void wake(self) noexcept
    cpdef int check_process(self, str callback, error) except -1
    cdef int callback_raised(self, str callback, error, connection=*) except -1
    cdef int end_interrupted(self) except -1


cdef int refuse_thread() except -1


cdef inline uint32_t fragment_size(Agenda agenda, size_t length) noexcept:
    """Bytes of the fragments that a payload goes out in (R17). What may be received may be sent: a
    message that would take more than half of a queue has larger ones."""
    if length > <size_t>agenda.fragment_max * (QUEUE_FRAMES_MAX // 2) and (
            agenda.limits.rfc and length <= agenda.limits.max_message):
        return <uint32_t>((length - 1) // (QUEUE_FRAMES_MAX // 2) + 1)
    return agenda.fragment_max


cdef inline int check_thread(Agenda agenda) except -1:
    """What other threads call may come between any two steps of the one that serves."""
    if agenda.thread != PyThread_get_thread_ident() and agenda.thread != 0:
        refuse_thread()
    return 0


cdef inline bint is_over_budget(Agenda agenda) noexcept:
    """More is under way than may be, for all clients together."""
    return 0 < agenda.limits.max_buffered < frames_size() + agenda.assembled
