# cython: language_level=3, freethreading_compatible=False
"""The life of a connection, from its request to its end.

What may happen in each state, and where that leads, is the table of `core/life.c`, and nothing else
changes `life`. Here is what has to be done for it.

While an open callback takes its time, the connection is OPEN and nothing is written (HELD), so that
the response comes first. Backpressure: after `pause_reading` the socket is not read, and bytes that
were read already are kept until `resume_reading`. When the client takes nothing any more (GONE),
nothing is written, and what it sent before is read to its end.

A connection is never taken apart within its own callback: the loop holds a reference while it works
on it, and what a closed connection is asked to do, it does not do. So a handle may be kept for ever.
"""

from libc.stdint cimport uint8_t

from dorrit.engine.c.connection cimport (
    DORRIT_ACCEPTED,
    DORRIT_ANSWERING,
    DORRIT_AT_FRAME,
    DORRIT_AWAITED,
    DORRIT_CLOSED,
    DORRIT_CLOSING,
    DORRIT_GONE,
    DORRIT_HANDSHAKING,
    DORRIT_HELD,
    DORRIT_IN_FOLLOWED,
    DORRIT_LINGERING,
    DORRIT_OPEN,
    DORRIT_WRITES,
    dorrit_life,
)
from dorrit.engine.c.frame cimport DORRIT_OPCODE_CLOSE
from dorrit.engine.c.life cimport (
    DORRIT_CARRIED_OUT,
    DORRIT_CLOSE_RECEIVED,
    DORRIT_CLOSE_WANTED,
    DORRIT_EVENTS,
    DORRIT_FAILED,
    DORRIT_IGNORE,
    DORRIT_LIVES,
    DORRIT_LOST,
    DORRIT_REQUEST_REFUSED,
    DORRIT_REQUEST_VALID,
    DORRIT_SAY_CLOSE,
    DORRIT_TELL_END,
    DORRIT_UNREAD,
    dorrit_action,
    dorrit_action_name,
    dorrit_event,
    dorrit_event_name,
    dorrit_life_happen,
    dorrit_life_name,
    dorrit_life_step,
    dorrit_step,
)
from dorrit.engine.c.poller cimport dorrit_poller_modify
from dorrit.engine.c.sockets cimport MSG_DONTWAIT, dorrit_shutdown_writing, recv
from dorrit.engine.clock cimport deadline_in, quarters
from dorrit.engine.engine cimport Engine
from dorrit.engine.frame cimport frame_is_raw, frame_raw, frame_release, frame_whole, made
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
from dorrit.engine.record cimport leave_record
from dorrit.engine.table cimport CARRIED, ENDED, TAKEN, Fate, table_leave
from dorrit.engine.topics cimport confirm_accepted, leave_topics
from dorrit.engine.work cimport to_be_flushed, to_be_recorded, to_be_resumed, to_be_told_of_its_end


cdef enum:
    # Connections that are over and only wait for their end; for one more, the oldest is cut off.
    LINGERING_MAX = 1024


cdef int begin_opening(Connection connection) except -1:
    leave_handshake(connection)
    happen(connection, DORRIT_REQUEST_VALID)
    connection.state.parsing = DORRIT_AT_FRAME
    connection.state.deadline = 0
    # The response stands first in the queue: what the open callback writes follows it. Nothing is
    # written before the callback has decided, however much it sends.
    connection.state.writing = DORRIT_HELD
    return 0


cdef int put_frame(Connection connection, Frame *frame) except -1:
    """Queues a frame behind the others, whatever the limit says. Takes over the caller's
    reference, also when it fails; NULL is for a frame that could not be made."""
    if frame == NULL:
        raise MemoryError
    if queue_reserve(&connection.state.queue, 1) < 0:
        frame_release(frame)
        raise MemoryError
    queue_append(&connection.state.queue, frame)
    frame_release(frame)
    to_be_flushed(connection)
    to_be_recorded(connection)
    return 0


cdef int start_closing(Connection connection, bytes payload) except -1:
    """The close frame goes behind what is queued."""
    drop_assembly(connection)
    connection.state.deadline = deadline_in(connection.engine, connection.engine.limits.close_timeout)
    # The client's close frame is to be read; messages are not delivered any more.
    resume_reading(connection)
    put_frame(connection, frame_whole(DORRIT_OPCODE_CLOSE, payload))
    return 0


cdef int answer_close(Connection connection, bytes payload, uint16_t code, str reason) except -1:
    """RFC 6455 section 5.5.1: "If an endpoint receives a Close frame and did not previously send a
    Close frame, the endpoint MUST send a Close frame in response." What was queued before goes out
    first."""
    connection.state.close_code = code
    connection.close_reason = reason
    # RFC 6455 section 1.4: "After receiving a control frame indicating the connection should be
    # closed, a peer … discards any further data received."
    connection.state.parsing = DORRIT_AT_END
    if happen(connection, DORRIT_CLOSE_RECEIVED) == DORRIT_SAY_CLOSE:
        start_closing(connection, payload)
    elif connection.state.queue.length == 0:
        finish_closing(connection)
    return 0


cdef int accept_client(Connection connection) except -1:
    """The open callback said yes."""
    if connection.state.admission == DORRIT_ACCEPTED:
        return 0    # by an answer within that callback
    connection.state.admission = DORRIT_ACCEPTED
    to_be_recorded(connection)
    if connection.engine.topics.subscriptions > 0:
        confirm_accepted(connection)
    if connection.state.life == DORRIT_LINGERING or connection.state.life == DORRIT_CLOSED:
        to_be_told_of_its_end(connection)
    return 0


cdef int fail(Connection connection, uint16_t code, str reason, bint framed) except -1:
    """RFC 6455 section 7.1.7, "Fail the WebSocket Connection": a close frame with the reason at
    once, instead of what is queued; no message is taken from the client any more.

    If it still is known where the client's frames begin (`framed`), its close frame is waited
    for. A web server takes our end for the end of both directions: it would cut off a client
    that still sends, which then may not have read our close frame.
    """
    if is_ignored(connection, DORRIT_FAILED):
        return 0
    follow(connection, framed)
    if connection.state.life == DORRIT_OPEN:
        connection.state.close_code = code
        connection.close_reason = reason
    elif connection.state.queue.length == 0 or (
            connection.state.queue.length == 1 and connection.state.queue.written > 0):
        # Our close frame has gone, or has begun to. Nothing may follow it: section 5.5.1.
        linger(connection, DORRIT_FAILED, NULL)
        return 0
    drop_queue(connection, True)
    linger(connection, DORRIT_FAILED,
           made(frame_whole(DORRIT_OPCODE_CLOSE, close_payload(code, reason))))
    return 0


cdef void follow(Connection connection, bint framed) noexcept:
    """From here on the client's frames are passed over, whatever their size, until its close frame
    has come; or all that comes is thrown away, if it is not known where they begin."""
    if connection.state.parsing == DORRIT_AT_END:
        return      # its close frame has come
    to_be_recorded(connection)
    if not framed:
        connection.state.parsing = DORRIT_AT_END
    elif connection.state.parsing == DORRIT_AT_FRAME:
        connection.state.parsing = DORRIT_AT_FOLLOWED
    else:
        connection.state.parsing = DORRIT_IN_FOLLOWED


cdef int fail_in_order(Connection connection, uint16_t code, str reason, bint framed) except -1:
    """The client has broken a rule (R5). This is `fail`, but what answers its earlier messages
    goes out first, unless it does not read: whether it gets these answers must not depend on
    how its bytes were cut into reads."""
    if connection.state.life != DORRIT_OPEN or connection.state.writing == DORRIT_HELD or (
            is_watched_for_writing(connection)):
        return fail(connection, code, reason, framed)
    follow(connection, framed)
    connection.state.close_code = code
    connection.close_reason = reason
    linger(connection, DORRIT_FAILED,
           made(frame_whole(DORRIT_OPCODE_CLOSE, close_payload(code, reason))))
    return 0


cdef int stop_following(Connection connection) except -1:
    """The close frame of a client that has failed has come, or can't be waited for."""
    connection.state.parsing = DORRIT_AT_END
    to_be_recorded(connection)
    if connection.state.queue.length == 0:
        finish_closing(connection)
    return 0


cdef int refuse_request(Connection connection, bytes response) except -1:
    """No WebSocket: an HTTP answer instead, then the end."""
    if is_ignored(connection, DORRIT_REQUEST_REFUSED):
        return 0
    connection.state.parsing = DORRIT_AT_END
    drop_queue(connection, False)
    linger(connection, DORRIT_REQUEST_REFUSED, made(frame_raw(response)))
    return 0


cdef void drop_queue(Connection connection, bint upgraded) noexcept:
    """Drops what has not been begun; not the 101 of a connection that is `upgraded`, without
    which a close frame would be no answer to the request."""
    cdef unsigned int kept = 1 if connection.state.queue.written > 0 else 0
    if upgraded and connection.state.queue.length > 0 and frame_is_raw(
            queue_at(&connection.state.queue, 0)):
        kept = 1
    queue_keep_first(&connection.state.queue, kept)
    connection.state.pongs = 0
    to_be_recorded(connection)


cdef int linger(Connection connection, dorrit_event event, Frame *last) except -1:
    """→ LINGERING. A socket that is closed with unread input resets its peer, which may then
    lose what we wrote last. So writing is shut down once `last` has gone, and input is thrown
    away for a bounded time."""
    drop_assembly(connection)
    # Where frames are still followed, what was read before is a part of them.
    if not (connection.state.stashed and is_followed(connection)):
        free_input(connection)
    resume_reading(connection)
    if connection.state.life == DORRIT_CLOSED:
        if last != NULL:
            frame_release(last)
        return 0    # the poller has refused to read it again
    let_write(connection)
    leave_handshake(connection)
    happen(connection, event)
    connection.engine.lingerers[connection.state.descriptor] = None
    if len(connection.engine.lingerers) > LINGERING_MAX:
        cut_oldest_lingerer(connection.engine)
    connection.state.deadline = deadline_in(connection.engine, connection.engine.limits.linger_timeout)
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
    if recv(connection.state.descriptor, unread, sizeof(unread), MSG_DONTWAIT) > 0:
        linger(connection, DORRIT_UNREAD, NULL)
    else:
        close_socket(connection)
    return 0


cdef int end_written(Connection connection) except -1:
    """All that was queued has been written: where that is the last thing to be said, it is the end."""
    if connection.state.life == DORRIT_ANSWERING:
        return finish_closing(connection)
    if connection.state.life == DORRIT_LINGERING:
        shut_down_writing(connection)
    return 0


cdef void shut_down_writing(Connection connection) noexcept:
    """Ends what we write, once all of it has been written and the client need not say more."""
    if connection.state.queue.length == 0 and not is_followed(connection):
        if dorrit_shutdown_writing(connection.state.descriptor) < 0:
            close_socket(connection)


cdef int peer_has_gone(Connection connection) except -1:
    """The client takes nothing any more. What it sent before it went is there to be read all the
    same (R6): messages, and a close frame, whose code the close callback is to hear."""
    if connection.state.life != DORRIT_OPEN and connection.state.life != DORRIT_CLOSING:
        close_socket(connection)
        return 0
    connection.state.pongs = 0
    queue_free(&connection.state.queue)
    to_be_recorded(connection)
    return watch_writing(connection, DORRIT_GONE)


cdef void close_socket(Connection connection) noexcept:
    """→ CLOSED, from any state: the descriptor is closed, all memory is given back."""
    leave_table(connection, DORRIT_LOST, ENDED)


cdef void leave_table(Connection connection, dorrit_event event, Fate fate) noexcept:
    """→ CLOSED."""
    cdef int descriptor = connection.state.descriptor
    if descriptor < 0:
        return
    if connection.state.admission == DORRIT_AWAITED:
        connection.engine.departed += 1
    uncount_request(connection)
    leave_handshake(connection)
    if connection.state.life == DORRIT_LINGERING:
        connection.engine.lingerers.pop(descriptor, None)
    happen(connection, event)
    if fate != CARRIED:
        leave_record(connection)
    connection.state.descriptor = -1
    connection.state.deadline = 0
    connection.state.parsing = DORRIT_AT_END
    connection.state.writing = DORRIT_GONE
    connection.state.paused = False
    connection.state.pongs = 0
    connection.deflate = None
    connection.head = None
    drop_assembly(connection)
    queue_free(&connection.state.queue)
    free_input(connection)
    table_leave(connection.engine, descriptor, fate)


cdef dorrit_action happen(Connection connection, dorrit_event event) noexcept:
    """Lets an event happen. When that is the end, the user hears nothing of the connection from here on
    but the close callback, once, at the end of the turn (R11)."""
    cdef dorrit_action action = dorrit_life_happen(&connection.state, event)
    if connection.engine.topics.subscriptions > 0 and connection.state.life != DORRIT_OPEN:
        leave_topics(connection)
    if action == DORRIT_TELL_END and connection.state.admission == DORRIT_ACCEPTED:
        to_be_told_of_its_end(connection)
    to_be_recorded(connection)
    return action


cdef bint is_ignored(Connection connection, dorrit_event event) noexcept:
    """Whether an event means nothing in the connection's state."""
    return dorrit_life_step(<dorrit_life>connection.state.life, event).action == DORRIT_IGNORE


cdef void leave_handshake(Connection connection) noexcept:
    if connection.state.life == DORRIT_HANDSHAKING:
        connection.engine.handshaking.pop(connection.state.descriptor, None)


cdef int watch_writing(Connection connection, dorrit_writing writing) except -1:
    """What is queued may be written as `writing` says from now on."""
    cdef bint watched = writing == DORRIT_WAITS or writing == DORRIT_BLOCKED
    if is_watched_for_writing(connection) != watched:
        if dorrit_poller_modify(connection.engine.poller, connection.state.descriptor,
                                not connection.state.paused, watched) < 0:
            close_socket(connection)
            return 0
    connection.state.writing = writing
    return 0


cdef int pause_reading(Connection connection) except -1:
    """Reads nothing more from an OPEN connection; what the client sends waits in the kernel."""
    if connection.state.life != DORRIT_OPEN or connection.state.paused:
        return 0
    connection.state.paused = True
    if dorrit_poller_modify(connection.engine.poller, connection.state.descriptor, False,
                            is_watched_for_writing(connection)) < 0:
        close_socket(connection)
    return 0


cdef int resume_reading(Connection connection) except -1:
    """Reads again, first what had been read already: in the next turn, or in this one."""
    if not connection.state.paused:
        return 0
    connection.state.paused = False
    if connection.engine.limits.ping_interval > 0:
        connection.state.heard = quarters()     # it was not heard because nobody listened
    if dorrit_poller_modify(connection.engine.poller, connection.state.descriptor, True,
                            is_watched_for_writing(connection)) < 0:
        close_socket(connection)
    elif connection.state.stashed:
        to_be_resumed(connection)
    return 0


cdef int release(Connection connection) except -1:
    resume_reading(connection)
    let_write(connection)
    return 0


cdef void let_write(Connection connection) noexcept:
    if connection.state.writing == DORRIT_HELD:
        connection.state.writing = DORRIT_WRITES
        to_be_recorded(connection)
        if connection.state.queue.length > 0:
            to_be_flushed(connection)


cdef int close_in_order(Connection connection, uint16_t code, str reason) except -1:
    """RFC 6455 section 7.1.2, "Start the WebSocket Closing Handshake"."""
    cdef bytes payload
    if connection.state.life == DORRIT_OPEN:
        payload = close_payload(code, reason)   # which raises for a reason that is not a str
        connection.state.close_code = code
        connection.close_reason = reason
        happen(connection, DORRIT_CLOSE_WANTED)
        start_closing(connection, payload)
    return 0


cdef int cut_oldest_lingerer(Engine engine) except -1:
    """Ends the connection that has been lingering longest."""
    cdef int descriptor = next(iter(engine.lingerers))
    close_socket(<Connection>engine.table[descriptor])
    return 0


cdef void forget_socket(Connection connection) noexcept:
    leave_table(connection, DORRIT_LOST, TAKEN)


cdef void carry_away(Connection connection) noexcept:
    leave_table(connection, DORRIT_CARRIED_OUT, CARRIED)
    connection.state.slot = 0   # what is in it is the next image's


cdef void reach(Connection connection, dorrit_life life) noexcept:
    if life == DORRIT_HANDSHAKING:
        return
    leave_handshake(connection)
    if life == DORRIT_LINGERING:
        dorrit_life_happen(&connection.state, DORRIT_REQUEST_REFUSED)
        connection.engine.lingerers[connection.state.descriptor] = None
        return
    dorrit_life_happen(&connection.state, DORRIT_REQUEST_VALID)
    if life == DORRIT_CLOSING:
        dorrit_life_happen(&connection.state, DORRIT_CLOSE_WANTED)
    elif life == DORRIT_ANSWERING:
        dorrit_life_happen(&connection.state, DORRIT_CLOSE_RECEIVED)


def transitions() -> list:
    """The table, for the documentation: state, event, next state and what is done."""
    cdef int life, event
    cdef dorrit_step step
    rows = []
    for life in range(DORRIT_LIVES):
        for event in range(DORRIT_EVENTS):
            step = dorrit_life_step(<dorrit_life>life, <dorrit_event>event)
            if step.action != DORRIT_IGNORE:
                rows.append((
                    dorrit_life_name(<dorrit_life>life).decode(),
                    dorrit_event_name(<dorrit_event>event).decode(),
                    dorrit_life_name(<dorrit_life>step.life).decode(),
                    dorrit_action_name(<dorrit_action>step.action).decode()))
    return rows
