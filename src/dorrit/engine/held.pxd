"""What one client makes the server hold, as far as it counts for `--max-buffered`.

Beside what stands in its queue, its assembly and its stash, that is a request that is kept, and messages
that wait for `async` handlers. Inlined into the modules that count.
"""

from libc.stddef cimport size_t

from dorrit.engine.connection cimport Connection
from dorrit.engine.engine cimport Engine
from dorrit.engine.frame cimport FRAME_COST, Frame, frames_size
from dorrit.engine.queue cimport queue_at


cdef inline bint is_over_budget(Engine engine) noexcept:
    """More is under way than may be, for all clients together."""
    return 0 < engine.limits.max_buffered < frames_size + engine.assembled


cdef inline void uncount_request(Connection connection) noexcept:
    connection.engine.assembled -= connection.state.request_size
    connection.state.request_size = 0


cdef inline void count_waiting(Connection connection, size_t length) noexcept:
    """Counts a message of so many bytes, which waits until a handler has time for it."""
    connection.state.waiting += length + FRAME_COST
    connection.engine.assembled += length + FRAME_COST


cdef inline void uncount_waiting(Connection connection, size_t length) noexcept:
    """Such a message waits no longer."""
    connection.state.waiting -= length + FRAME_COST
    connection.engine.assembled -= length + FRAME_COST


cdef inline size_t held_by(Connection connection) noexcept:
    """Bytes that are there for a connection. Of a frame that stands in other queues as well it is
    the connection's part, since closing it alone does not give the frame back."""
    cdef size_t held = connection.state.waiting + connection.state.request_size
    cdef unsigned int index
    cdef Frame *frame
    for index in range(connection.state.queue.length):
        frame = queue_at(&connection.state.queue, index)
        held += (frame.payload_length + FRAME_COST) // <size_t>frame.references
    if connection.assembly is not None:
        held += connection.assembly.held()
    if connection.state.stashed:
        held += connection.state.input_capacity
    return held
