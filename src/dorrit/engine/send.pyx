# cython: language_level=3, freethreading_compatible=False
"""What is seldom wanted of a message that is sent: it is compressed, or there is no room for it."""

from libc.stdint cimport UINT32_MAX, uint16_t

from dorrit.engine.c.connection cimport DORRIT_BLOCKED, DORRIT_HELD
from dorrit.engine.life cimport close_socket, fail
from dorrit.engine.limits cimport SLOW_CLIENTS_CLOSE, CLimits
from dorrit.engine.message cimport message_compress
from dorrit.engine.work cimport to_be_recorded
from dorrit.engine.write cimport flush

from dorrit.protocol.closing import CloseCode


cdef uint16_t POLICY_VIOLATION = CloseCode.POLICY_VIOLATION


cdef int refuse_thread() except -1:
    raise RuntimeError(
        "a connection is used in another thread than the server's: have the server do it, by "
        "app.call_soon_threadsafe(conn.send, message)")


cdef int put_compressed(Connection connection, dorrit_opcode opcode, bytes payload) except? -1:
    cdef int outcome
    cdef size_t length = <size_t>PyBytes_GET_SIZE(payload)
    cdef size_t most = length + (length >> 3) + 64
    cdef size_t count = most // fragment_size(connection.engine, most) + 1
    cdef bint compressed = False
    if not connection.deflate.keeps_state:
        payload = message_compress(connection.deflate, payload, &compressed)
    elif make_place(connection, count, most + count * 10):
        payload = connection.deflate.deflate(payload)
        compressed = True
    # Otherwise it is refused below, uncompressed: a compressor that keeps state must not see
    # what the client will not.
    outcome = frame_and_put(connection, opcode, payload, compressed)
    if outcome != QUEUED and compressed and may_send(connection) and connection.deflate.keeps_state:
        close_socket(connection)     # memory ran out, and the client could not follow from here on
    return outcome


cdef int find_place(Connection connection, size_t count, size_t size) except -1:
    cdef CLimits *limits = &connection.engine.limits
    if count > QUEUE_FRAMES_MAX or 0 < limits.max_pending_bytes < size or (
            0 < limits.max_buffered < size):
        return NEVER_FITS
    if make_place(connection, count, size):
        return QUEUED
    if may_send(connection):
        refuse_message(connection)
    return REFUSED


cdef bint make_place(Connection connection, size_t count, size_t size) except -1:
    """Whether a message of so many frames and bytes would be queued now.

    What waits may only be waiting for the end of the turn, and then the client is not to blame:
    it is written first, as far as the kernel takes it. A callback, or many of them in one turn,
    may send any number of messages to a client that reads.
    """
    while not has_place(connection, count, size):
        if connection.state.writing == DORRIT_BLOCKED or connection.state.writing == DORRIT_HELD or (
                connection.state.queue.length == 0):
            return False
        flush(connection)
        if not may_send(connection):
            return False
    return True


cdef int refuse_message(Connection connection) except -1:
    """R20: "the refusal is counted, logged once for each spell"."""
    connection.state.dropped += connection.state.dropped < UINT32_MAX
    to_be_recorded(connection)
    if connection.engine.limits.slow_clients == SLOW_CLIENTS_CLOSE:
        # "The object API lets the server choose instead to close such a connection (1008)."
        connection.engine.reports.slow_client_closed(connection)
        fail(connection, POLICY_VIOLATION, "the client does not read", True)
    elif not connection.state.refusing:
        connection.state.refusing = True
        connection.engine.reports.queue_is_full(connection)
    return 0


cdef int pass_over(Connection connection, size_t size, bint reported) except -1:
    """A message is too large for any queue: that says nothing about this client."""
    connection.state.dropped += connection.state.dropped < UINT32_MAX
    to_be_recorded(connection)
    if reported:
        connection.engine.reports.never_fits(size)
    return 0
