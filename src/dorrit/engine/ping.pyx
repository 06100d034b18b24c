# cython: language_level=3, freethreading_compatible=False
"""Pings and pongs on their way out: they go before the messages that wait."""

from dorrit.engine.c.frame cimport DORRIT_OPCODE_PING, DORRIT_OPCODE_PONG
from dorrit.engine.frame cimport Frame, frame_is_ping, frame_is_raw, frame_release, frame_whole
from dorrit.engine.queue cimport queue_at, queue_insert, queue_replace, queue_reserve
from dorrit.engine.work cimport to_be_flushed, to_be_recorded


cdef int put_pong(Connection connection, bytes payload) except -1:
    """R4: "Pings are answered with pongs carrying the same payload". The connection is OPEN.

    A pong goes before the messages that wait, behind a frame that has been begun, so it can't be lost
    because the queue is full. RFC 6455 section 5.5.3: "If an endpoint receives a Ping frame and has
    not yet sent Pong frame(s) in response to previous Ping frame(s), the endpoint MAY elect to send a
    Pong frame for only the most recently processed Ping frame." That is done from the 17th on, so
    that a flood of pings does not make a queue of pongs.
    """
    cdef unsigned int position
    cdef Frame *pong
    position = front(connection) + connection.state.pongs
    pong = frame_whole(DORRIT_OPCODE_PONG, payload)
    if pong == NULL:
        raise MemoryError
    if connection.state.pongs == PONGS_MAX:
        queue_replace(&connection.state.queue, position - 1, pong)
    elif queue_reserve(&connection.state.queue, 1) < 0:
        frame_release(pong)
        raise MemoryError
    else:
        queue_insert(&connection.state.queue, position, pong)
        connection.state.pongs += 1
    frame_release(pong)
    to_be_flushed(connection)
    if not connection.state.is_answered:
        to_be_recorded(connection)
    return 0


cdef int put_ping(Connection connection) except -1:
    """RFC 6455 section 5.5.2: "A Ping frame may serve either as a keepalive or as a means to verify
    that the remote endpoint is still responsive." It goes before the messages that wait, so that the
    answer does not have to wait for a slow client to read them all. While one waits to be written,
    another one would say nothing new."""
    cdef unsigned int position = front(connection) + connection.state.pongs
    cdef Frame *ping
    if position < connection.state.queue.length and frame_is_ping(queue_at(&connection.state.queue, position)):
        return 0
    ping = frame_whole(DORRIT_OPCODE_PING, b"")
    if ping == NULL:
        raise MemoryError
    if queue_reserve(&connection.state.queue, 1) < 0:
        frame_release(ping)
        raise MemoryError
    queue_insert(&connection.state.queue, position, ping)
    frame_release(ping)
    to_be_flushed(connection)
    to_be_recorded(connection)
    return 0


cdef unsigned int front(Connection connection) noexcept:
    """The first place in the queue that a control frame may take."""
    if connection.state.queue.length == 0:
        return 0
    # A frame that has been begun, or the response to the handshake, stays first.
    return connection.state.queue.written > 0 or frame_is_raw(queue_at(&connection.state.queue, 0))
