# cython: language_level=3, freethreading_compatible=False
"""The life of a connection, from its request to its end.

What leads from one state to the next; nothing else changes `state`:

    HANDSHAKING --begin_opening--> OPEN         the request is valid; the open callback runs
    HANDSHAKING, OPEN --refuse_request--> LINGERING   an HTTP error is the answer
    OPEN --close_in_order, answer_close--> CLOSING
    OPEN, CLOSING --fail, fail_in_order--> LINGERING  a close frame with the reason, then nothing more
    CLOSING --finish_closing--> LINGERING, CLOSED     both close frames have gone their way
    any --close_socket--> CLOSED                no descriptor any more

While an open callback takes its time (`hold`, `release`), the connection is OPEN and nothing is
written, so that the response comes first. Backpressure: after `pause_reading` the socket is not read,
and bytes that were read already are kept until `resume_reading`. When the client takes nothing any more
(`peer_has_gone`), nothing is written, and what it sent before is read to its end.

A connection is never taken apart within its own callback: the loop holds a reference while it works
on it, and what a closed connection is asked to do, it does not do. So a handle may be kept for ever.
"""

from libc.stdint cimport uint8_t

from dorrit.engine.c.frame cimport DORRIT_OPCODE_CLOSE
from dorrit.engine.c.poller cimport dorrit_poller_modify
from dorrit.engine.c.sockets cimport MSG_DONTWAIT, dorrit_shutdown_writing, recv
from dorrit.engine.clock cimport deadline_in, quarters
from dorrit.engine.connection cimport CLOSED, CLOSING, HANDSHAKING, LINGERING, OPEN
from dorrit.engine.engine cimport Engine
from dorrit.engine.frame cimport (
    frame_is_raw,
    frame_raw,
    frame_release,
    frame_whole,
    made,
)
from dorrit.engine.held cimport uncount_request
from dorrit.engine.input cimport drop_assembly, free_input
from dorrit.engine.message cimport close_payload
from dorrit.engine.queue cimport (
    queue_append,
    queue_at,
    queue_free,
    queue_keep_first,
    queue_reserve,
)
from dorrit.engine.table cimport table_leave
from dorrit.engine.work cimport to_be_flushed, to_be_resumed, to_be_told_of_its_end


cdef enum:
    # Connections that are over and only wait for their end; for one more, the oldest is cut off.
    LINGERING_MAX = 1024


cdef int begin_opening(Connection connection) except -1:
    leave_handshake(connection)
    connection.state = OPEN
    connection.deadline = 0
    # The response stands first in the queue: what the open callback writes follows it. Nothing is
    # written before the callback has decided, however much it sends.
    connection.held = True
    return 0


cdef int put_frame(Connection connection, Frame *frame) except -1:
    """Queues a frame behind the others, whatever the limit says. Takes over the caller's
    reference, also when it fails; NULL is for a frame that could not be made."""
    if frame == NULL:
        raise MemoryError
    if queue_reserve(&connection.queue, 1) < 0:
        frame_release(frame)
        raise MemoryError
    queue_append(&connection.queue, frame)
    frame_release(frame)
    to_be_flushed(connection)
    return 0


cdef int start_closing(Connection connection, bytes payload) except -1:
    """OPEN → CLOSING: the close frame goes behind what is queued."""
    connection.state = CLOSING
    drop_assembly(connection)
    connection.deadline = deadline_in(connection.engine, connection.engine.limits.close_timeout)
    resume_reading(connection)   # the client's close frame is to be read; messages are not delivered any more
    put_frame(connection, frame_whole(DORRIT_OPCODE_CLOSE, payload))
    return 0


cdef int answer_close(Connection connection, bytes payload, uint16_t code, str reason) except -1:
    """The client's close frame has come. RFC 6455 section 5.5.1: "If an endpoint receives a
    Close frame and did not previously send a Close frame, the endpoint MUST send a Close frame
    in response." What was queued before goes out first."""
    connection.close_code = code
    connection.close_reason = reason
    connection.close_received = True
    if connection.state == OPEN:
        start_closing(connection, payload)
    elif connection.queue.length == 0:
        finish_closing(connection)
    return 0


cdef int accept_client(Connection connection) except -1:
    """The open callback said yes."""
    if connection.accepted:
        return 0    # by an answer within that callback
    connection.accepted = True
    if connection.over:
        to_be_told_of_its_end(connection)
    return 0


cdef int fail(Connection connection, uint16_t code, str reason, bint framed) except -1:
    """RFC 6455 section 7.1.7, "Fail the WebSocket Connection": a close frame with the reason at
    once, instead of what is queued; no message is taken from the client any more.

    If it still is known where the client's frames begin (`framed`), its close frame is waited
    for. A web server takes our end for the end of both directions: it would cut off a client
    that still sends, which then may not have read our close frame.
    """
    if connection.state != OPEN and connection.state != CLOSING:
        return 0
    connection.following = framed and not connection.close_received
    if connection.state == OPEN:
        connection.close_code = code
        connection.close_reason = reason
    elif connection.queue.length == 0 or (connection.queue.length == 1 and connection.queue.written > 0):
        # Our close frame has gone, or has begun to. Nothing may follow it: section 5.5.1.
        linger(connection, NULL)
        return 0
    drop_queue(connection, True)
    linger(connection, made(frame_whole(DORRIT_OPCODE_CLOSE, close_payload(code, reason))))
    return 0


cdef int fail_in_order(Connection connection, uint16_t code, str reason, bint framed) except -1:
    """The client has broken a rule (R5). This is `fail`, but what answers its earlier messages
    goes out first, unless it does not read: whether it gets these answers must not depend on
    how its bytes were cut into reads."""
    if connection.state != OPEN or connection.watched_for_writing or connection.held:
        return fail(connection, code, reason, framed)
    connection.following = framed
    connection.close_code = code
    connection.close_reason = reason
    linger(connection, made(frame_whole(DORRIT_OPCODE_CLOSE, close_payload(code, reason))))
    return 0


cdef int stop_following(Connection connection) except -1:
    """The close frame of a client that was dropped has come, or can't be waited for."""
    connection.following = False
    if connection.queue.length == 0:
        finish_closing(connection)
    return 0


cdef int refuse_request(Connection connection, bytes response) except -1:
    """No WebSocket: an HTTP answer instead, then the end."""
    if connection.state == CLOSED or connection.state == LINGERING:
        return 0
    drop_queue(connection, False)
    linger(connection, made(frame_raw(response)))
    return 0


cdef void drop_queue(Connection connection, bint upgraded) noexcept:
    """Drops what has not been begun; not the 101 of a connection that is `upgraded`, without
    which a close frame would be no answer to the request."""
    cdef unsigned int kept = 1 if connection.queue.written > 0 else 0
    if upgraded and connection.queue.length > 0 and frame_is_raw(queue_at(&connection.queue, 0)):
        kept = 1
    queue_keep_first(&connection.queue, kept)
    connection.pongs = 0


cdef int linger(Connection connection, Frame *last) except -1:
    """→ LINGERING. A socket that is closed with unread input resets its peer, which may then
    lose what we wrote last. So writing is shut down once `last` has gone, and input is thrown
    away for a bounded time."""
    drop_assembly(connection)
    # Where frames are still followed, what was read before is a part of them.
    if not (connection.stashed and connection.following):
        free_input(connection)
    resume_reading(connection)
    connection.held = False
    leave_handshake(connection)
    connection.state = LINGERING
    connection.engine.lingerers[connection.descriptor] = None
    if len(connection.engine.lingerers) > LINGERING_MAX:
        cut_oldest_lingerer(connection.engine)
    connection.deadline = deadline_in(connection.engine, connection.engine.limits.linger_timeout)
    end_for_user(connection)
    if last != NULL:
        put_frame(connection, last)
    else:
        shut_down_writing(connection)
    return 0


cdef int finish_closing(Connection connection) except -1:
    """Both close frames have gone their way. RFC 6455 section 7.1.1: the server closes first.

    After its close frame a client sends nothing, as a rule; then the descriptor can be closed at
    once."""
    cdef uint8_t unread[512]
    if recv(connection.descriptor, unread, sizeof(unread), MSG_DONTWAIT) > 0:
        linger(connection, NULL)
    else:
        close_socket(connection)
    return 0


cdef void shut_down_writing(Connection connection) noexcept:
    """Ends what we write, once all of it has been written and the client need not say more."""
    if connection.queue.length == 0 and not connection.following:
        if dorrit_shutdown_writing(connection.descriptor) < 0:
            close_socket(connection)


cdef int peer_has_gone(Connection connection) except -1:
    """The client takes nothing any more. What it sent before it went is there to be read all the
    same (R6): messages, and a close frame, whose code the close callback is to hear."""
    if (connection.state != OPEN and connection.state != CLOSING) or connection.close_received:
        close_socket(connection)
        return 0
    connection.gone = True
    connection.pongs = 0
    queue_free(&connection.queue)
    return watch_writing(connection, False)


cdef void close_socket(Connection connection) noexcept:
    """→ CLOSED, from any state: the descriptor is closed, all memory is given back."""
    leave_table(connection, False)


cdef void leave_table(Connection connection, bint is_taken) noexcept:
    """→ CLOSED. `is_taken`: the descriptor's number is somebody else's already."""
    cdef int descriptor = connection.descriptor
    if descriptor < 0:
        return
    if connection.asked:
        connection.engine.departed += 1
    uncount_request(connection)
    end_for_user(connection)
    leave_handshake(connection)
    if connection.state == LINGERING:
        connection.engine.lingerers.pop(descriptor, None)
    connection.state = CLOSED
    connection.descriptor = -1
    connection.deadline = 0
    connection.watched_for_writing = False
    connection.paused = False
    connection.held = False
    connection.following = False
    connection.pongs = 0
    connection.deflate = None
    drop_assembly(connection)
    queue_free(&connection.queue)
    free_input(connection)
    table_leave(connection.engine, descriptor, is_taken)


cdef void end_for_user(Connection connection) noexcept:
    """From here on the user hears nothing of it but the close callback, once, at the end of the
    turn (R11)."""
    if not connection.over:
        connection.over = True
        if connection.accepted:
            to_be_told_of_its_end(connection)


cdef void leave_handshake(Connection connection) noexcept:
    if connection.state == HANDSHAKING:
        connection.engine.handshaking.pop(connection.descriptor, None)


cdef int watch_writing(Connection connection, bint writing) except -1:
    if connection.watched_for_writing != writing:
        if dorrit_poller_modify(
                connection.engine.poller, connection.descriptor, not connection.paused, writing) < 0:
            close_socket(connection)
        else:
            connection.watched_for_writing = writing
    return 0


cdef int pause_reading(Connection connection) except -1:
    """Reads nothing more from an OPEN connection; what the client sends waits in the kernel."""
    if connection.state != OPEN or connection.paused:
        return 0
    connection.paused = True
    if dorrit_poller_modify(connection.engine.poller, connection.descriptor, False,
                            connection.watched_for_writing) < 0:
        close_socket(connection)
    return 0


cdef int resume_reading(Connection connection) except -1:
    """Reads again, first what had been read already: in the next turn, or in this one."""
    if not connection.paused:
        return 0
    connection.paused = False
    if connection.engine.limits.ping_interval > 0:
        connection.heard = quarters()     # it was not heard because nobody listened
    if dorrit_poller_modify(connection.engine.poller, connection.descriptor, True,
                            connection.watched_for_writing) < 0:
        close_socket(connection)
    elif connection.stashed:
        to_be_resumed(connection)
    return 0


cdef int hold(Connection connection) except -1:
    """The open callback takes its time: nothing is read or written until `release`."""
    connection.held = True
    return pause_reading(connection)


cdef int release(Connection connection) except -1:
    resume_reading(connection)
    let_write(connection)
    return 0


cdef void let_write(Connection connection) noexcept:
    connection.held = False
    if connection.queue.length > 0:
        to_be_flushed(connection)


cdef int close_in_order(Connection connection, uint16_t code, str reason) except -1:
    """OPEN → CLOSING, since the user wants it (RFC 6455 section 7.1.2)."""
    connection.closed_here = True
    if connection.state == OPEN:
        connection.close_code = code
        connection.close_reason = reason
        start_closing(connection, close_payload(code, reason))
    return 0


cdef int cut_oldest_lingerer(Engine engine) except -1:
    """Ends the connection that has been lingering longest."""
    cdef int descriptor = next(iter(engine.lingerers))
    close_socket(<Connection>engine.table[descriptor])
    return 0


cdef void forget_socket(Connection connection) noexcept:
    leave_table(connection, True)
