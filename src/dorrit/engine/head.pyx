# cython: language_level=3, freethreading_compatible=False
"""The opening handshake: the head of a request becomes a 101 or an HTTP error."""

from cpython.bytes cimport PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memmove

from dorrit.engine.budget cimport count_request
from dorrit.engine.c.connection cimport (
    DORRIT_AWAITED,
    DORRIT_CLOSED,
    DORRIT_LINGERING,
    DORRIT_OPEN,
    DORRIT_UNDECIDED,
)
from dorrit.engine.clock cimport hundredths
from dorrit.engine.engine cimport SCRATCH_SIZE, Engine
from dorrit.engine.expiry cimport start_expiry
from dorrit.engine.faults cimport callback_raised
from dorrit.engine.frame cimport Frame, frame_is_raw, frame_raw, frame_release
from dorrit.engine.held cimport uncount_request
from dorrit.engine.input cimport free_input, take_in
from dorrit.engine.life cimport (
    accept_client,
    begin_opening,
    let_write,
    pause_reading,
    put_frame,
    refuse_request,
)
from dorrit.engine.queue cimport queue_at, queue_replace
from dorrit.engine.receive cimport receive

from dorrit.engine.kept_head import with_subprotocol
from dorrit.protocol.deflate import Window, deflate_of
from dorrit.protocol.diagnosis import diagnose
from dorrit.protocol.display import target_for_log
from dorrit.protocol.extensions import parse_extensions
from dorrit.protocol.handshake import accept_response, parse_request
from dorrit.protocol.health import health_response
from dorrit.protocol.refusal import (
    HANDSHAKE_DEADLINE,
    OPEN_CALLBACK_RAISED,
    STOPPING,
    TOO_MANY_CONNECTIONS,
    Refusal,
    bad_request,
    head_too_large,
    refusal,
)
from dorrit.raised import is_exit


cdef extern from "<string.h>" nogil:
    void *memmem(const void *haystack, size_t length, const void *needle, size_t needle_length)


cdef enum:
    # The first buffer of an incomplete head, in bytes; it doubles from there.
    INPUT_FIRST = 512
    # Bytes by which it is found out what somebody speaks who does not speak HTTP.
    DIAGNOSED = 1024

PENDING = object()
"""What an open callback returns that will answer later, with `Engine.answer`."""


cdef Py_ssize_t read_head(Connection connection) except -1:
    """Collects the head of the request, up to the empty line that ends it, and answers it then.

    Returns how many bytes that follow the head are in the engine's input buffer.
    """
    cdef Engine engine = connection.engine
    cdef uint8_t *start = engine.input
    cdef uint8_t *found
    cdef size_t length, searched
    cdef ssize_t count

    if connection.state.input_length == 0:
        count = receive(connection, start, SCRATCH_SIZE)
        length = <size_t>count
        searched = 0
    else:
        if connection.state.input_length == connection.state.input_capacity:
            take_in(connection, 
                NULL, 0, min(<size_t>connection.state.input_capacity * 2, engine.limits.max_head))
        start = connection.state.input
        count = receive(connection, start + connection.state.input_length,
                        connection.state.input_capacity - connection.state.input_length)
        if count > 0:
            connection.state.input_length += <uint32_t>count
        length = connection.state.input_length
        searched = connection.state.input_searched
    if count <= 0:
        return 0

    # The end may have begun within the three bytes that were searched last.
    searched = searched - 3 if searched > 3 else 0
    # An empty line before the request is not its end.
    if searched < 2 and length >= 2 and start[0] == c"\r" and start[1] == c"\n":
        searched = 2
    found = <uint8_t *>memmem(start + searched, length - searched, b"\r\n\r\n", 4)
    if found == NULL:
        if length >= engine.limits.max_head:
            return refuse(connection, head_too_large(engine.limits.max_head))
        if connection.state.input_length == 0:
            answer = diagnose(PyBytes_FromStringAndSize(<char *>start, min(length, DIAGNOSED)))
            if answer is not None:
                return refuse(connection, answer)
            take_in(connection, 
                start, length, min(max(length * 2, <size_t>INPUT_FIRST), engine.limits.max_head))
        connection.state.input_searched = <uint32_t>length
        return 0

    return take_whole(connection, start, length, <size_t>(found + 4 - start))


cdef Py_ssize_t take_whole(
        Connection connection, uint8_t *start, size_t length, size_t head_length) except -1:
    """Answers a request whose head is the beginning of start[0 .. length)."""
    cdef Engine engine = connection.engine
    cdef bytes head = PyBytes_FromStringAndSize(<char *>start, <Py_ssize_t>head_length)
    # Frames may be right behind the head, in the same read.
    cdef size_t rest = length - head_length
    if rest > SCRATCH_SIZE:
        raise OverflowError("what follows a request is larger than the buffer")
    memmove(engine.input, start + head_length, rest)
    free_input(connection)
    if head_length > engine.limits.max_head:
        return refuse(connection, head_too_large(engine.limits.max_head))
    upgrade(connection, head)
    return <Py_ssize_t>rest


cdef Py_ssize_t take_head(Connection connection, uint8_t *data, size_t length) except -1:
    cdef uint8_t *found = <uint8_t *>memmem(data, length, b"\r\n\r\n", 4)
    if found == NULL:
        return refuse(connection, bad_request("the head of the request is not whole"))
    return take_whole(connection, data, length, <size_t>(found + 4 - data))


cdef int refuse_late(Connection connection) except -1:
    """The head of the request has not come in time."""
    answer = None
    if connection.state.input_length > 0:
        answer = diagnose(PyBytes_FromStringAndSize(
            <char *>connection.state.input, min(<size_t>connection.state.input_length, <size_t>DIAGNOSED)))
    return refuse(connection, refusal(*HANDSHAKE_DEADLINE) if answer is None else answer)


cdef int refuse(Connection connection, object answer) except -1:
    cdef bytes response
    if connection.state.life == DORRIT_CLOSED or connection.state.life == DORRIT_LINGERING:
        return 0    # it has gone, or has been refused for another reason, before it was decided
    response = answer.response()    # before the log says that the client gets it
    if response is None:
        raise TypeError("a refusal has no response")
    connection.engine.reports.refused(answer, connection)
    refuse_request(connection, response)
    return 0


cdef int refuse_for(Connection connection, error) except -1:
    """An open callback has raised, or what it has said can't be made an answer: that is a 500, or a
    503 if it ends the server."""
    connection.kept_request = None
    uncount_request(connection)
    refuse(connection, refusal(*(STOPPING if is_exit(error) else OPEN_CALLBACK_RAISED)))
    return callback_raised(connection.engine, "open", error, connection)


cdef int upgrade(Connection connection, bytes head) except -1:
    """Answers the request: 101, or an HTTP error."""
    cdef Engine engine = connection.engine
    try:
        request = parse_request(head)
        connection.about = path_for_log(engine, request.target)
        if engine.shutting_down:
            raise refusal(*STOPPING)
        if is_full(engine):
            raise refusal(*TOO_MANY_CONNECTIONS)
        terms = negotiate(engine, request)
    except Refusal as answer:
        if engine.health is not None:
            response = health_response(head, engine.health, trouble_of(engine))
            if response is not None:
                return refuse_request(connection, response)      # that is not a refusal: nothing is logged
        return refuse(connection, answer)
    begin_opening(connection)
    put_frame(connection, frame_raw(accept_response(request)))
    if terms is not None:
        connection.deflate = deflate_of(terms, Window() if engine.keeps_window else None)
    connection.kept_request = request
    if engine.carries:
        connection.head = head
    try:
        answer = engine.on_open(connection, request)
    except BaseException as error:
        note_address(connection, request)
        return refuse_for(connection, error)
    note_address(connection, request)
    if answer is PENDING and connection.kept_request is not None and (
            connection.state.admission == DORRIT_UNDECIDED):
        connection.state.admission = DORRIT_AWAITED
        if connection.state.descriptor < 0:
            # It has ended within the callback: its handler still runs, and nothing more is counted.
            engine.departed += 1
            return 0
        pause_reading(connection)
        return count_request(connection, <size_t>PyBytes_GET_SIZE(head))
    if answer is PENDING:
        return 0    # and has answered within the callback
    let_write(connection)
    decide(connection, answer)
    # What closes it meanwhile, counts it no more.
    if connection.state.descriptor >= 0 and (
            connection.kept_request is not None or connection.head is not None):
        return count_request(connection, <size_t>PyBytes_GET_SIZE(head))
    return 0


cdef bint is_full(Engine engine) noexcept:
    """There is no room for one that has asked. See `has_room` for those whose requests are not read
    without a health check."""
    return engine.health is not None and (
        engine.connections + engine.departed - <Py_ssize_t>len(engine.lingerers)
        - <Py_ssize_t>len(engine.handshaking) >= engine.limits.max_connections)


cdef str trouble_of(Engine engine):
    """Why no more clients should be sent here, in a word, or None."""
    if engine.shutting_down:
        return "stopping"
    return "full" if is_full(engine) else None


cdef str path_for_log(Engine engine, str target):
    """The path of a target as the log has it. Most clients ask for the one that was asked for last,
    and share its text."""
    target = target.partition("?")[0]
    if target != engine.last_target:
        engine.last_path = target_for_log(target)
        engine.last_target = target
    return engine.last_path


cdef int note_address(Connection connection, request) except -1:
    """Whether a header says who the client is has been decided with the open callback."""
    if type(connection.about) is str and (address := request.client) is not None:
        connection.about = (address, connection.about)
    return 0


cdef object negotiate(Engine engine, request):
    """The terms of compression that the response names, or `None`."""
    if engine.deflate is None:
        return None
    try:
        offers = parse_extensions(request.get_all("Sec-WebSocket-Extensions"))
    except ValueError as error:
        raise bad_request(str(error)) from None
    terms = engine.deflate.negotiate(offers)
    request.agree("" if terms is None else terms.response)
    return terms


cdef int decide(Connection connection, object answer) except -1:
    """What the open callback says is done: `None` accepts, a `Refusal` refuses. Whatever goes wrong
    with that, the client is answered: one that is held would have no deadline."""
    try:
        do_as_told(connection, answer)
    except BaseException as error:
        refuse_for(connection, error)
    return 0


cdef int do_as_told(Connection connection, object answer) except -1:
    cdef Engine engine = connection.engine
    cdef Frame *response
    request = connection.kept_request
    if answer is not None or not engine.limits.keep_requests:
        connection.kept_request = None
        uncount_request(connection)
    if answer is not None:
        return refuse(connection, answer)
    if request.subprotocol is not None and connection.state.queue.length > 0 and frame_is_raw(
            queue_at(&connection.state.queue, 0)):
        # It was chosen in the open callback; nothing of the response has been written yet.
        response = frame_raw(accept_response(request))
        if response == NULL:
            raise MemoryError
        queue_replace(&connection.state.queue, 0, response)
        frame_release(response)
    if engine.limits.keep_requests:
        connection.head = None      # the request says it all
    elif request.subprotocol is not None and connection.head is not None:
        connection.head = with_subprotocol(connection.head, request.subprotocol)
    request.answered()
    connection.state.opened = hundredths()
    accept_client(connection)
    return start_expiry(connection) if connection.state.life == DORRIT_OPEN else 0
