# cython: language_level=3, freethreading_compatible=False
"""What goes out: the queue of one connection becomes one gather write for each write event."""

from libc.errno cimport EAGAIN, EBADF, EINTR, ENOTSOCK, errno
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy

from dorrit.engine.c.connection cimport (
    DORRIT_ANSWERING,
    DORRIT_BLOCKED,
    DORRIT_CLOSING,
    DORRIT_HELD,
    DORRIT_OPEN,
    DORRIT_WAITS,
    DORRIT_WRITES,
)
from dorrit.engine.c.sockets cimport dorrit_send, iovec
from dorrit.engine.clock cimport deadline_in
from dorrit.engine.engine cimport Engine
from dorrit.engine.frame cimport Frame, frame_is_pong, frame_is_raw, frame_size
from dorrit.engine.life cimport close_socket, end_written, peer_has_gone, watch_writing
from dorrit.engine.queue cimport OutputQueue, queue_at, queue_drop_first
from dorrit.engine.record cimport begin_write, end_write
from dorrit.engine.work cimport to_be_recorded


cdef enum:
    VECTORS_MAX = 64
    # A payload of up to this many bytes is copied behind its header, which costs less than a vector
    # of its own; larger ones are gathered from where they are.
    COPIED_MAX = 2048


cdef int flush(Connection connection) except -1:
    """One write event: at most one buffer's worth of the queue goes to the kernel (R18).

    Small frames are copied together, large payloads are gathered from where they are.
    """
    cdef Engine engine = connection.engine
    cdef OutputQueue queue
    cdef iovec vectors[VECTORS_MAX]
    cdef int count = 0
    cdef uint8_t *end = engine.output       # of what was copied
    cdef uint8_t *vector_end = NULL         # of the last vector, if it lies in engine.output
    cdef size_t total = 0
    cdef size_t skip
    cdef size_t header_rest, payload_rest, start, room
    cdef unsigned int index
    cdef ssize_t sent
    cdef Frame *frame

    if not has_something_to_write(connection):
        return 0
    connection.state.is_answered = False
    # To write down how it is, memory may be needed, and with that anything be finalized.
    begin_write(connection)
    if not has_something_to_write(connection):
        end_write(connection, False)
        return 0
    # A copy, which the compiler knows that nothing below changes.
    queue = connection.state.queue
    skip = queue.written                    # of the first frame
    for index in range(queue.length):
        frame = queue_at(&queue, index)
        if skip < frame.header_length:
            header_rest = frame.header_length - skip
            start = 0
        else:
            header_rest = 0
            start = skip - frame.header_length
        payload_rest = frame.payload_length - start
        skip = 0
        # The response to the request may be larger than the buffer.
        room = engine.limits.buffer_size - total if total < engine.limits.buffer_size else 0
        if header_rest + payload_rest > room and not frame_is_raw(frame):
            if index > 0:
                break
            payload_rest = room - header_rest
        if count + 2 > VECTORS_MAX:
            break
        total += header_rest + payload_rest
        # What has no header has not been looked at above: only what there is room for is copied.
        if header_rest > 0 or (payload_rest <= COPIED_MAX and payload_rest <= room):
            if vector_end != end:
                vectors[count].iov_base = end
                vectors[count].iov_len = 0
                count += 1
            if header_rest == frame.header_length:
                # A copy of a fixed size costs two moves. What is too much, the payload comes over, or
                # nothing: the buffer is larger than all that a write may take.
                memcpy(end, frame.header, sizeof(frame.header))
            else:
                memcpy(end, frame.header + (frame.header_length - header_rest), header_rest)
            end += header_rest
            vectors[count - 1].iov_len += header_rest
            if payload_rest <= COPIED_MAX:
                memcpy(end, frame.payload + start, payload_rest)
                end += payload_rest
                vectors[count - 1].iov_len += payload_rest
                payload_rest = 0
            vector_end = end
        if payload_rest > 0:
            vectors[count].iov_base = <void *>(frame.payload + start)
            vectors[count].iov_len = payload_rest
            count += 1
            vector_end = NULL

    sent = dorrit_send(connection.state.descriptor, vectors, count)
    if sent <= 0:
        end_write(connection, False)
    if sent < 0:
        if errno == EBADF or errno == ENOTSOCK:
            close_socket(connection)   # somebody has closed it, and nothing would ever come of it
            return tell_of_room(connection)
        if errno != EAGAIN and errno != EINTR:
            peer_has_gone(connection)
            return tell_of_room(connection)
        sent = 0
    if sent > 0:
        take_written(connection, <size_t>sent)
        end_write(connection, True)
        if connection.state.descriptor < 0:
            return 0
    if connection.state.queue.length > 0:
        if sent == 0:
            to_be_recorded(connection)
        if sent > 0 and (connection.state.life == DORRIT_CLOSING
                         or connection.state.life == DORRIT_ANSWERING):
            connection.state.deadline = deadline_in(engine, engine.limits.close_timeout)  # it does read
        watch_writing(connection, DORRIT_BLOCKED if <size_t>sent < total else DORRIT_WAITS)
        return 0
    if connection.state.writing != DORRIT_WRITES:
        watch_writing(connection, DORRIT_WRITES)
    connection.state.refusing = False
    tell_of_room(connection)
    if connection.state.life != DORRIT_OPEN:
        end_written(connection)
    return 0


cdef inline bint has_something_to_write(Connection connection) noexcept:
    return connection.state.descriptor >= 0 and connection.state.queue.length > 0 and (
        connection.state.writing != DORRIT_HELD)


cdef int tell_of_room(Connection connection) except -1:
    """The queue is empty, and somebody may wait for that."""
    if connection.state.room_wanted:
        connection.state.room_wanted = False
        connection.engine.on_room(connection)
    return 0


cdef void take_written(Connection connection, size_t sent) noexcept:
    """Takes `sent` bytes off the front of the queue."""
    cdef Frame *frame
    cdef size_t rest
    while sent > 0:
        frame = queue_at(&connection.state.queue, 0)
        rest = frame_size(frame) - connection.state.queue.written
        if connection.state.queue.written == 0 and connection.state.pongs > 0 and frame_is_pong(frame):
            connection.state.pongs -= 1
        if sent < rest:
            connection.state.queue.written += <uint32_t>sent
            connection.state.queue.bytes -= <uint32_t>sent
            return
        sent -= rest
        queue_drop_first(&connection.state.queue)
