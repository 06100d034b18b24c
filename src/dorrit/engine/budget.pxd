"""`--max-buffered`: who has to go when more is under way than may be, for all clients together."""

from libc.stddef cimport size_t

from dorrit.engine.connection cimport Connection
from dorrit.engine.engine cimport Engine


# Ends connections until what is under way is within the limit.
cdef int make_room(Engine engine) except -1

# Counts what is kept of a request for longer than the open callback runs. `head_length`: its bytes.
cdef int count_request(Connection connection, size_t head_length) except -1

# Gives memory back to the system, at the end of a turn.
cdef void give_back_memory(Engine engine) noexcept
