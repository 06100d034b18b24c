"""What each message that is sent goes through: framed, then queued for one connection.

All of it is inlined into the two modules that send, `connection` and `messages`: what is seldom wanted
is a method of the connection.
"""

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stddef cimport size_t

from dorrit.engine.agenda cimport (
    QUEUE_FRAMES_MAX,
    Agenda,
    check_thread,
    fragment_size,
    is_over_budget,
    quarters,
)
from dorrit.engine.connection cimport NEVER_FITS, OPEN, QUEUED, REFUSED, Connection
from dorrit.engine.frame cimport dorrit_opcode
from dorrit.engine.framing cimport Message, message_make, message_release
from dorrit.engine.limits cimport CLimits
from dorrit.engine.queue cimport queue_append, queue_reserve


cdef inline bint may_send(Connection connection) noexcept:
    return connection.state == OPEN and not connection.gone


cdef inline int put_payload(
        Connection connection, dorrit_opcode opcode, bytes payload) except? -1:
    """Frames a message, compressed if that has been negotiated, and queues it; see `put_message`."""
    if connection.deflate is not None and (
            <size_t>PyBytes_GET_SIZE(payload) >= connection.agenda.limits.deflate_from):
        return connection.put_compressed(opcode, payload)
    return frame_and_put(connection, opcode, payload, False)


cdef inline int frame_and_put(
        Connection connection, dorrit_opcode opcode, bytes payload, bint compressed) except? -1:
    cdef Agenda agenda = connection.agenda
    cdef Message message
    cdef size_t length = <size_t>PyBytes_GET_SIZE(payload)
    cdef int outcome
    if message_make(&message, opcode, payload, fragment_size(agenda, length), compressed) < 0:
        return -1
    outcome = put_message(connection, agenda, &message)
    message_release(&message)
    return outcome


cdef inline int put_message(Connection connection, Agenda agenda, Message *message) except? -1:
    """Queues a message for a connection that may be sent something. `agenda` is the connection's.

    R20: "No connection's queue ever grows beyond 200 frames. A message whose frames do not all fit
    is not queued for that connection at all (never half a message)". Returns QUEUED, REFUSED or
    NEVER_FITS, or -1 without an exception when memory ran out.
    """
    cdef CLimits *limits = &agenda.limits
    cdef unsigned int index
    check_thread(agenda)
    if not may_send(connection):
        return REFUSED      # compressing runs Python's code, and with it any signal handler
    if connection.queue.counted + message.count > QUEUE_FRAMES_MAX or (
            0 < limits.max_pending_bytes < connection.queue.bytes + message.size) or (
            0 < limits.max_buffered < message.size):
        if message.count > QUEUE_FRAMES_MAX or 0 < limits.max_pending_bytes < message.size or (
                0 < limits.max_buffered < message.size):
            return NEVER_FITS
        if not connection.has_place(message.count, message.size):
            if may_send(connection):
                connection.refuse_message()
            return REFUSED
    if is_over_budget(agenda):
        agenda.make_room()
        if not may_send(connection):
            return REFUSED
    if queue_reserve(&connection.queue, message.made) < 0:
        return -1
    for index in range(message.made):
        queue_append(&connection.queue, message.frames[index])
    if agenda.limits.idle_timeout > 0:
        connection.active = quarters()
    connection.to_be_flushed()
    return QUEUED
