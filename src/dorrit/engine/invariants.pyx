# cython: language_level=3, freethreading_compatible=False
"""What must hold of an engine after each turn. Builds with the option `invariants` check it."""

from libc.stddef cimport size_t

from dorrit.engine.agenda cimport QUEUE_FRAMES_MAX, Agenda
from dorrit.engine.connection cimport CLOSED, LINGERING, OPEN, Connection
from dorrit.engine.frame cimport Frame, frame_is_pong, frame_size
from dorrit.engine.queue cimport queue_at


cdef int check_invariants(Agenda agenda) except -1:
    """Compares what is counted with what there is.

    Raises:
        AssertionError: The engine has a fault.
    """
    cdef size_t descriptor, index
    cdef Py_ssize_t connections = 0, lingering = 0
    cdef Connection connection
    for descriptor in range(agenda.table_size):
        if agenda.table[descriptor] == NULL:
            continue
        connection = <Connection>agenda.table[descriptor]
        connections += 1
        lingering += connection.state == LINGERING
        check(connection.descriptor == <int>descriptor, "a connection knows its place")
        check(connection.state != CLOSED, "a closed connection has left the table")
        check(connection.over == (connection.state == LINGERING),
              "over for the user, with a descriptor: lingering")
        check(connection.state == OPEN or connection.deadline != 0,
              "whoever is not open has a deadline")
        check(connection.deadline == 0 or connection.deadline >= agenda.deadline_first,
              "no deadline is earlier than the first")
        check(connection.input_length <= connection.input_capacity, "the input fits its buffer")
        check(connection.queue.counted <= QUEUE_FRAMES_MAX, "no queue has more than 200 frames")
        check(connection.queue.length == 0 or connection.is_dirty
              or connection.watched_for_writing, "what is queued will be written")
        check_queue(connection)
    check(connections == agenda.connections, "the connections are counted")
    check(lingering == agenda.lingering, "the lingering connections are counted")
    for index in range(agenda.dirty.length):
        check((<Connection>agenda.dirty.items[index]).is_dirty, "what is listed as dirty is so")
    return 0


cdef int check(bint holds, str invariant) except -1:
    if not holds:
        raise AssertionError(f"does not hold: {invariant}")
    return 0


cdef int check_queue(Connection connection) except -1:
    cdef unsigned int index, counted = 0, pongs = 0
    cdef size_t size = 0
    cdef Frame *frame
    for index in range(connection.queue.length):
        frame = queue_at(&connection.queue, index)
        counted += frame.counted
        size += frame_size(frame)
        pongs += frame_is_pong(frame) and not (index == 0 and connection.queue.written > 0)
    check(counted == connection.queue.counted, "data frames are counted")
    check(size - connection.queue.written == connection.queue.bytes, "queued bytes are counted")
    check(pongs == connection.pongs, "pongs are counted")
    return 0
