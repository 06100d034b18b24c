"""The worker's end of its channel to a supervisor, which accepts the connections and keeps a copy of each."""

cimport cython
from libc.stddef cimport size_t
from libc.stdint cimport uint64_t

from dorrit.engine.c.channel cimport dorrit_channel, dorrit_channel_kind


@cython.final
cdef class Channel:
    cdef dorrit_channel channel
    cdef uint64_t *numbers          # by descriptor: the connection that has come with it; 0: none has
    cdef size_t numbers_size
    cdef bint has_said              # something is to be sent
    cdef bint waits                 # for the poller to say that it can be
    cdef bint is_lost               # something could not be said, so the supervisor is to do without
    cdef bint takes_clients         # those that come are taken
    cdef object on_ask              # called when the supervisor wants to know how the worker is
    cdef object on_end              # called when nothing will come any more

# Lets the supervisor know, at the end of the turn.
cdef void say(Channel channel, dorrit_channel_kind kind, uint64_t number) noexcept

# Notes which connection a descriptor is.
cdef int note_number(Channel channel, int descriptor, uint64_t number) except -1

# Whether a descriptor is a connection that has come by the channel, and is not over.
cdef bint is_passed(Channel channel, int descriptor) noexcept

# Says that the connection of a descriptor is over, if it has come by the channel.
cdef void note_end(Channel channel, int descriptor) noexcept

# Sends what has been said, as far as that goes now; the poller says when it goes on.
cdef int send_said(Channel channel, int poller) except -1
