"""What one client makes the server hold, as far as it counts for `--max-buffered`.

Beside what stands in its queue, its assembly and its stash, that is a request that is kept, and messages
that wait for `async` handlers. Inlined into the modules that count.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t

from dorrit.engine.agenda cimport is_over_budget
from dorrit.engine.connection cimport Connection
from dorrit.engine.frame cimport FRAME_COST, Frame
from dorrit.engine.queue cimport queue_at


cdef enum:
    # Bytes that a kept request takes besides those of its head, at the most: itself, and for each of
    # its fields two strings and what holds them.
    REQUEST_COST = 1024
    FIELD_COST = 128


cdef inline int count_request(Connection connection, size_t head_length) except -1:
    """Counts the request, which is kept for longer than the open callback runs."""
    connection.request_size = <uint32_t>(
        head_length + REQUEST_COST + len(connection.kept_request.headers.pairs) * FIELD_COST)
    connection.agenda.assembled += connection.request_size
    if is_over_budget(connection.agenda):
        connection.agenda.make_room()
    return 0


cdef inline void uncount_request(Connection connection) noexcept:
    connection.agenda.assembled -= connection.request_size
    connection.request_size = 0


cdef inline void count_waiting(Connection connection, size_t length) noexcept:
    """Counts a message of so many bytes, which waits until a handler has time for it."""
    connection.waiting += length + FRAME_COST
    connection.agenda.assembled += length + FRAME_COST


cdef inline void uncount_waiting(Connection connection, size_t length) noexcept:
    """Such a message waits no longer."""
    connection.waiting -= length + FRAME_COST
    connection.agenda.assembled -= length + FRAME_COST


cdef inline size_t held_by(Connection connection) noexcept:
    """Bytes that are there for a connection. Of a frame that stands in other queues as well it is
    the connection's part, since closing it alone does not give the frame back."""
    cdef size_t held = connection.waiting + connection.request_size
    cdef unsigned int index
    cdef Frame *frame
    for index in range(connection.queue.length):
        frame = queue_at(&connection.queue, index)
        held += (frame.payload_length + FRAME_COST) // <size_t>frame.references
    if connection.assembly is not None:
        held += connection.assembly.held()
    if connection.stashed:
        held += connection.input_capacity
    return held
