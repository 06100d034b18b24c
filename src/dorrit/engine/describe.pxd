"""A connection as its record in a ledger has it."""

cimport cython
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t

from dorrit.engine.assembly cimport Assembly
from dorrit.engine.c.ledger cimport dorrit_carried, dorrit_span
from dorrit.engine.connection cimport Connection
from dorrit.engine.engine cimport Engine


@cython.final
cdef class Carried:
    """What is written down of one connection, as far as that has to be made first."""
    cdef Connection connection
    cdef bytes about
    cdef bytes topics       # as `names_of` has them
    cdef bytes input        # what has come and is to be handled, up to what is unparsed,
    cdef size_t missing     # but for so many bytes of the message that is under way,
    cdef size_t missing_at  # behind so many of it
    cdef object begun       # the message that is under way in a handler; None: there is none
    cdef bint is_end        # only that it is over is written down, of which the user has not heard
    # What `describe` borrows from:
    cdef bytes begun_bytes
    cdef bytes window
    cdef bytes reason


# Looks at a connection; and at one of whose end the user has not heard. Of the message that is under way the
# first `missing` bytes are left out: they are written down already.
cdef Carried look_at(Connection connection, size_t missing)
cdef Carried look_at_ended(Connection connection)

# How many bytes of a message have come, and `length` of them from `begin` on, as its client sends them.
cdef size_t came(Assembly assembly) noexcept
cdef bytes part_of(Assembly assembly, size_t begin, size_t length)

# Fills a record, but for the socket's identity and the queue. It borrows from `one`, and from the connection
# what that may replace as soon as any code of the user's runs, a finalizer's included: whoever makes objects
# between this and the record borrows that once more.
cdef int describe(Carried one, dorrit_carried *carried) except -1
cdef void borrow_what_may_change(Carried one, dorrit_carried *carried) noexcept

# The open callback has not decided about it, and is asked again by the next image.
cdef bint is_asked_again(Connection connection) noexcept

cdef dorrit_span borrowed(const uint8_t *content, size_t length) noexcept
