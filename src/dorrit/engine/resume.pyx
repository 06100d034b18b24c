# cython: language_level=3, freethreading_compatible=False
"""Connections of the process's last image: the user hears of them before anything of theirs is handled."""

from libc.stdint cimport uint16_t

from dorrit.engine.budget cimport count_request
from dorrit.engine.c.connection cimport DORRIT_ACCEPTED, DORRIT_AWAITED, DORRIT_OPEN, DORRIT_UNDECIDED
from dorrit.engine.expiry cimport start_expiry
from dorrit.engine.faults cimport callback_raised, give_up
from dorrit.engine.head cimport note_address, path_for_log
from dorrit.engine.life cimport accept_client, close_in_order, fail, pause_reading, resume_reading

from dorrit.engine.record cimport begin_input, end_input, record_change

from dorrit.engine.head import PENDING
from dorrit.protocol.closing import CloseCode
from dorrit.raised import is_exit


cdef uint16_t INTERNAL_ERROR = CloseCode.INTERNAL_ERROR
cdef uint16_t SERVICE_RESTART = CloseCode.SERVICE_RESTART


cdef int resume_carried(Engine engine) except -1:
    cdef Connection connection
    cdef list resuming = engine.resuming
    engine.resuming = None
    for item, request, begun in resuming:
        connection = <Connection>item
        if connection.state.life != DORRIT_OPEN:
            continue    # the user has closed it, when he heard of another one
        begin_input(connection)
        try:
            resume(connection, request, begun)
        except BaseException as error:
            give_up(engine, connection, error)
        finally:
            if connection.state.admission != DORRIT_AWAITED:
                note_resumed(connection)
            end_input(connection)
    return 0


cdef int resume(Connection connection, request, begun) except -1:
    cdef Engine engine = connection.engine
    connection.about = path_for_log(engine, request.target)
    connection.kept_request = request
    if connection.deflate is not None and connection.deflate.keeps_inflator and (
            connection.deflate.window is None):
        # What the client compresses from here on refers to what it has sent to the last image.
        start_expiry(connection)
        return close_in_order(connection, SERVICE_RESTART, "the server has been restarted")
    answer = None
    if engine.on_resume is not None:
        try:
            answer = engine.on_resume(connection, request, connection.kept, begun)
        except BaseException as error:
            note_address(connection, request)
            return end_raised(connection, error)
    note_address(connection, request)
    if answer is PENDING:
        if connection.state.admission == DORRIT_ACCEPTED:
            connection.state.admission = DORRIT_AWAITED
            if connection.state.descriptor < 0:
                engine.departed += 1
            pause_reading(connection)
        return 0
    return do_as_told(connection, answer)


cdef int end_resumption(Connection connection, object answer) except -1:
    if connection.state.admission != DORRIT_AWAITED:
        raise RuntimeError("the resumption of the connection has been answered already")
    connection.state.admission = DORRIT_UNDECIDED
    if connection.state.descriptor < 0:
        connection.engine.departed -= 1
    if answer is None or answer.is_told:
        accept_client(connection)
    do_as_told(connection, answer)
    note_resumed(connection)
    return resume_reading(connection)


cdef void note_resumed(Connection connection) noexcept:
    """The user has what was under way."""
    if connection.engine.recording is not None:
        connection.engine.recording.begun.pop(connection, None)
        record_change(connection)   # or it would be begun again, whatever crashes before the next turn


cdef int do_as_told(Connection connection, object answer) except -1:
    cdef Engine engine = connection.engine
    cdef size_t size = 0 if connection.head is None else <size_t>len(connection.head)
    if engine.limits.keep_requests:
        connection.head = None      # the request says it all
    else:
        connection.kept_request = None
    if connection.state.descriptor >= 0 and size > 0:
        count_request(connection, size)
    if connection.state.life != DORRIT_OPEN:
        return 0
    start_expiry(connection)
    if answer is None:
        return 0
    code, reason, is_told = answer
    if not is_told:
        connection.state.admission = DORRIT_UNDECIDED
    connection.state.closed_here = True
    return close_in_order(connection, code, reason)


cdef int end_raised(Connection connection, error) except -1:
    """The user has raised, which costs the connection, and not those that follow unless he exits."""
    connection.kept_request = None
    start_expiry(connection)
    if not is_exit(error):
        fail(connection, INTERNAL_ERROR, "", True)
    return callback_raised(connection.engine, "resume", error, connection)
