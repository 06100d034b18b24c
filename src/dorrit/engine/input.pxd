"""What has come in from a client and is incomplete: one buffer, never a list of pieces."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t

from dorrit.engine.connection cimport Connection


# Puts `length` bytes behind those there are; the buffer has `capacity` bytes from now on.
cdef int take_in(Connection connection, uint8_t *data, size_t length, size_t capacity) except -1
cdef void free_input(Connection connection) noexcept

# Nobody wants the message that is under way; what is still to come of its frame is skipped.
cdef void drop_assembly(Connection connection) noexcept
