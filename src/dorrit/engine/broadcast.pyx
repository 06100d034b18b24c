# cython: language_level=3, freethreading_compatible=False
"""Messages on their way out: one message for one connection or for many of them."""

cimport cython
from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.stddef cimport size_t

from dorrit.engine.c.frame cimport DORRIT_OPCODE_BINARY, DORRIT_OPCODE_TEXT, dorrit_opcode
from dorrit.engine.connection cimport Connection
from dorrit.engine.for_many cimport ForMany, for_many, for_many_release, put_for_many
from dorrit.engine.message cimport payload_of
from dorrit.engine.record cimport commit, commit_all
from dorrit.engine.send cimport NEVER_FITS, may_send, pass_over, put_payload


cdef int queue_for_one(Connection connection, dorrit_opcode opcode, bytes payload) except? -1:
    cdef int outcome
    if not may_send(connection):
        return 0
    outcome = put_payload(connection, opcode, payload)
    commit(connection)
    if outcome == NEVER_FITS:
        pass_over(connection, <size_t>PyBytes_GET_SIZE(payload), True)
    return -1 if outcome < 0 else 0


cdef int queue_for_many(
    object conns, dorrit_opcode opcode, bytes payload, Py_ssize_t *queued,
    bint *too_large) except? -1:
    """-1: no memory for one of them at least; the others have got it. `queued`: by how many.
    `too_large`: there is one at least whose queue never has room for it."""
    cdef ForMany message
    cdef Connection connection = None
    for_many(&message, opcode, <PyObject *>payload)
    try:
        for item in conns:
            if type(item) is not Connection:
                raise TypeError(f"a connection is expected, not {type(item).__name__}")
            connection = <Connection>item
            if may_send(connection):
                put_for_many(&message, connection)
    finally:
        if connection is not None and connection.engine is not None:
            commit_all(connection.engine)
        for_many_release(&message)
        queued[0] = message.queued
        too_large[0] = message.too_large
    return -1 if message.no_memory else 0


# As a function of C the interpreter calls it without a detour.
@cython.binding(False)
@cython.embedsignature(True)
@cython.embedsignature.format("clinic")
def queue_message(conns, binary, data) -> int:
    """Frame a message once and queue it for one connection or for many.

    Nothing is written here: that happens later in the loop's turn. A connection that is closed
    is passed over; one whose queue has no room for the whole message does not get it (see
    `Connection.dropped`).

    Args:
        conns: A connection, or an iterable of connections.
        binary: True for a binary message, false for text.
        data: `bytes` or another object with bytes in it, which may be changed afterwards; for text
            also `str`. Bytes of a text must be UTF-8.

    Returns:
        0; -1 when memory ran out; -2 when `data` is empty.

    Raises:
        TypeError: `conns` or `data` is of another type.
        ValueError: The bytes of a text are not UTF-8.
    """
    cdef dorrit_opcode opcode = DORRIT_OPCODE_BINARY if binary else DORRIT_OPCODE_TEXT
    cdef bytes payload
    cdef Py_ssize_t queued = 0
    cdef bint too_large = False
    cdef int outcome
    if type(data) is bytes and opcode == DORRIT_OPCODE_BINARY:
        payload = <bytes>data
    else:
        try:
            payload = payload_of(opcode == DORRIT_OPCODE_BINARY, data)
        except MemoryError:
            return -1
    if PyBytes_GET_SIZE(payload) == 0:
        return -2
    if type(conns) is Connection:
        outcome = queue_for_one(<Connection>conns, opcode, payload)
    else:
        outcome = queue_for_many(conns, opcode, payload, &queued, &too_large)
    return 0 if outcome == 0 else -1


@cython.binding(False)
@cython.embedsignature(True)
@cython.embedsignature.format("clinic")
def broadcast(conns, message) -> int:
    """Frame a message once and queue it for many connections.

    Connections that are closed, or whose queue has no room for all of it, are passed over.

    Args:
        conns: An iterable of connections.
        message: `str` for a text, `bytes` or another object with bytes in it for a binary message.

    Returns:
        How many connections have it in their queue.

    Raises:
        TypeError: `conns` or `message` is of another type.
        ValueError: No queue ever has room for it. Clients for which it is compressed to less have
            it all the same.
        MemoryError: There was no memory for it, for some connections at least.
    """
    cdef bint binary = not isinstance(message, str)
    cdef bytes payload = payload_of(binary, message)
    cdef Py_ssize_t queued = 0
    cdef bint too_large = False
    if type(conns) is Connection:
        raise TypeError("broadcast takes several connections: conn.send(message) is for one")
    if queue_for_many(
            conns, DORRIT_OPCODE_BINARY if binary else DORRIT_OPCODE_TEXT,
            payload, &queued, &too_large) < 0:
        raise MemoryError
    if too_large:
        raise ValueError(
            f"a message of {len(payload)} bytes is larger than what may wait for one client")
    return queued
