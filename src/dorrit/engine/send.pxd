"""What each message that is sent goes through: framed, then queued for one connection.

All of it is inlined into the modules that send, `connection`, `broadcast` and `for_many`; what is seldom
wanted stands in `send.pyx`.
"""

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stddef cimport size_t

from dorrit.engine.budget cimport make_room
from dorrit.engine.c.connection cimport DORRIT_GONE, DORRIT_OPEN
from dorrit.engine.c.frame cimport dorrit_opcode
from dorrit.engine.c.threads cimport dorrit_thread
from dorrit.engine.clock cimport quarters
from dorrit.engine.connection cimport Connection
from dorrit.engine.engine cimport Engine
from dorrit.engine.held cimport is_over_budget
from dorrit.engine.message cimport Message, fragment_size, message_make, message_release
from dorrit.engine.queue cimport QUEUE_FRAMES_MAX, queue_append, queue_reserve
from dorrit.engine.record cimport commit, record_answers, record_message
from dorrit.engine.work cimport is_answer, to_be_flushed_with_others


# What has become of a message that was to be queued; -1 is for want of memory.
cdef enum:
    QUEUED = 0
    REFUSED = 1     # there was no room for it (R20)
    NEVER_FITS = 2  # not even in an empty queue


cdef int refuse_thread() except -1

# Frames and queues a message for a connection that compresses.
cdef int put_compressed(Connection connection, dorrit_opcode opcode, bytes payload) except? -1

# There is no room for a message of so many frames and bytes (R20), unless writing makes some: QUEUED then.
cdef int find_place(Connection connection, size_t count, size_t size) except -1

# A message is larger than any queue.
cdef int pass_over(Connection connection, size_t size, bint reported) except -1


cdef inline int check_thread(Engine engine) except -1:
    """What other threads call may come between any two steps of the one that serves."""
    if engine.thread != dorrit_thread() and engine.thread != 0:
        refuse_thread()
    return 0


cdef inline bint may_send(Connection connection) noexcept:
    return connection.state.life == DORRIT_OPEN and connection.state.writing != DORRIT_GONE


cdef inline bint has_place(Connection connection, size_t count, size_t size) noexcept:
    """Whether there is room in the queue for so many frames and bytes."""
    return connection.state.queue.counted + count <= QUEUE_FRAMES_MAX and not (
        0 < connection.engine.limits.max_pending_bytes < connection.state.queue.bytes + size)


cdef inline int put_payload(
        Connection connection, dorrit_opcode opcode, bytes payload) except? -1:
    """Frames a message, compressed if that has been negotiated, and queues it; see `put_message`."""
    if connection.deflate is not None and (
            <size_t>PyBytes_GET_SIZE(payload) >= connection.engine.limits.deflate_from):
        return put_compressed(connection, opcode, payload)
    return frame_and_put(connection, opcode, payload, False)


cdef inline int frame_and_put(
        Connection connection, dorrit_opcode opcode, bytes payload, bint compressed) except? -1:
    cdef Engine engine = connection.engine
    cdef Message message
    cdef size_t length = <size_t>PyBytes_GET_SIZE(payload)
    cdef int outcome
    if message_make(&message, opcode, payload, fragment_size(engine, length), compressed) < 0:
        return -1
    outcome = put_message(connection, engine, &message, False)
    message_release(&message)
    return outcome


cdef inline int put_message(
        Connection connection, Engine engine, Message *message, bint for_many) except? -1:
    """Queues a message for a connection that may be sent something. `engine` is the connection's.

    R20: "No connection's queue ever grows beyond 200 frames. A message whose frames do not all fit
    is not queued for that connection at all (never half a message)". Returns QUEUED, REFUSED or
    NEVER_FITS, or -1 without an exception when memory ran out.
    """
    cdef unsigned int index
    cdef int outcome
    check_thread(engine)
    if not may_send(connection):
        return REFUSED      # compressing runs Python's code, and with it any signal handler
    if not has_place(connection, message.count, message.size) or (
            0 < engine.limits.max_buffered < message.size):
        outcome = find_place(connection, message.count, message.size)
        if outcome != QUEUED:
            return outcome
    if is_over_budget(engine):
        make_room(engine)
        if not may_send(connection):
            return REFUSED
    if queue_reserve(&connection.state.queue, message.made) < 0:
        return -1
    for index in range(message.made):
        queue_append(&connection.state.queue, message.frames[index])
    if engine.limits.idle_timeout > 0:
        connection.state.active = quarters()
    # What is for many is written at the end of the turn: all of them may be about to say something to all.
    if not for_many and is_answer(connection):
        connection.state.is_answered = True
        return QUEUED
    if connection.state.is_answered:
        record_answers(connection, message)
    record_message(connection, message)
    to_be_flushed_with_others(connection)
    return QUEUED
