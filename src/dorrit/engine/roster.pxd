"""The connections that a supervisor has accepted, and its end of the channel to the worker that serves them."""

cimport cython
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t

from dorrit.engine.c.channel cimport dorrit_channel


cdef struct Entry:
    uint64_t number     # of the connection; 0: the descriptor is none
    bint is_known       # a worker has had it
    bint is_on_its_way  # to one that has not said so yet


@cython.final
cdef class Roster:
    cdef dorrit_channel channel         # to the worker; its descriptor is -1: there is none
    cdef Entry *entries                 # by descriptor
    cdef size_t size
    cdef uint32_t generation            # of the last number
    cdef readonly Py_ssize_t connections
    cdef Py_ssize_t on_their_way        # passed on, and not taken yet
    cdef readonly bint is_stalled                # others have too many descriptors on their way for more of ours
    cdef bint is_made
    cdef object raised                  # by `on_message`, while the rest of what has come is heard
    cdef bint is_open                   # a worker takes those that come
    cdef bint is_held                   # the listening socket is left alone meanwhile
    cdef bint waits                     # for the poller to say that the channel can be written
    cdef object on_message              # called with the kind and the text of what a worker says
    cdef object on_end                  # called when a worker will say nothing any more

# Keeps a connection, and passes it on. It owns the descriptor from here on.
cdef int enroll(Roster roster, int descriptor) except -1

# Whether more may be accepted now.
cdef bint has_room_on_the_way(Roster roster) noexcept

# Sends what has been said, as far as that goes now; the poller says when it goes on. Whoever can't be sent
# anything is to be ended, and hears nothing any more.
cdef int send_to_worker(Roster roster, int poller) except -1

# Goes on with what could not be sent, and reads some of what the worker says. Returns whether something came.
cdef int hear_worker(Roster roster, int poller, bint readable, bint writable) except -1
