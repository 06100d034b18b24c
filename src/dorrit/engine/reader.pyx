# cython: language_level=3, freethreading_compatible=False
"""What comes in: bytes of one connection become messages, control frames or its end.

One read for each event. It goes into the engine's one scratch buffer; of a header or a control frame
that is incomplete, some bytes are kept with the connection, and of an incomplete message its `Assembly`.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint16_t, uint64_t
from libc.string cimport memcpy

from dorrit.engine.agenda cimport (
    FRAMES_PER_TURN,
    INFLATE_PIECE,
    INFLATED_BY_INPUT,
    INFLATED_BY_RESTART,
    INFLATED_MAX,
    SCRATCH_SIZE,
    Agenda,
    forks,
    is_over_budget,
    quarters,
)
from dorrit.engine.assembly cimport (
    NO_FAULT,
    NOT_TEXT,
    TOO_LARGE,
    Assembly,
    Fault,
    assembly_new,
    dorrit_frame_header,
)
from dorrit.engine.connection cimport (
    CLOSED,
    CLOSING,
    HANDSHAKING,
    LINGERING,
    OPEN,
    Connection,
)
from dorrit.engine.control cimport put_pong
from dorrit.engine.frame cimport (
    DORRIT_OPCODE_BINARY,
    DORRIT_OPCODE_CLOSE,
    DORRIT_OPCODE_CONTINUATION,
    DORRIT_OPCODE_PING,
    DORRIT_OPCODE_TEXT,
)
from dorrit.engine.opening cimport read_head
from dorrit.engine.receiving cimport receive
from dorrit.engine.results cimport check_result

from dorrit.protocol.closing import CloseCode
from dorrit.raised import is_exit


cdef extern from "Python.h":
    size_t PY_VECTORCALL_ARGUMENTS_OFFSET
    PyObject *Py_True
    PyObject *Py_False
    # Declared so that Cython leaves a NULL to us.
    PyObject *PyObject_Vectorcall(
        object callback, PyObject **arguments, size_t count, PyObject *names)

cdef extern from "frame.h" nogil:
    enum dorrit_frame_verdict:
        DORRIT_FRAME_OK
        DORRIT_FRAME_INCOMPLETE
        DORRIT_FRAME_RESERVED_BITS
        DORRIT_FRAME_RESERVED_OPCODE
        DORRIT_FRAME_CONTROL_FRAGMENTED
        DORRIT_FRAME_CONTROL_TOO_LONG
        DORRIT_FRAME_NOT_MASKED
        DORRIT_FRAME_LENGTH_NOT_MINIMAL
        DORRIT_FRAME_LENGTH_TOO_LARGE

    enum:
        DORRIT_FRAME_HEADER_MAX

    dorrit_frame_verdict dorrit_frame_header_decode(
        dorrit_frame_header *header, const uint8_t *data, size_t length, bint may_be_compressed)
    bint dorrit_close_code_is_valid(uint16_t code)

cdef extern from "masking.h" nogil:
    void dorrit_mask(uint8_t *out, const uint8_t *data, size_t length, const uint8_t *key)

cdef extern from "utf8.h" nogil:
    bint dorrit_utf8_is_valid(const uint8_t *data, size_t length)


cdef uint16_t PROTOCOL_ERROR = CloseCode.PROTOCOL_ERROR
cdef uint16_t UNSUPPORTED_DATA = CloseCode.UNSUPPORTED_DATA
cdef uint16_t INVALID_PAYLOAD_DATA = CloseCode.INVALID_FRAME_PAYLOAD_DATA
cdef uint16_t POLICY_VIOLATION = CloseCode.POLICY_VIOLATION
cdef uint16_t MESSAGE_TOO_BIG = CloseCode.MESSAGE_TOO_BIG
cdef uint16_t INTERNAL_ERROR = CloseCode.INTERNAL_ERROR
cdef uint16_t NO_STATUS = CloseCode.NO_STATUS_RCVD
cdef object GOING_AWAY = int(CloseCode.GOING_AWAY)

WHAT_IS_WRONG = {
    DORRIT_FRAME_RESERVED_BITS: "a reserved bit is set",
    DORRIT_FRAME_RESERVED_OPCODE: "the opcode is reserved",
    DORRIT_FRAME_CONTROL_FRAGMENTED: "a control frame is fragmented",
    DORRIT_FRAME_CONTROL_TOO_LONG: "a control frame has more than 125 bytes",
    DORRIT_FRAME_NOT_MASKED: "a frame is not masked",
    DORRIT_FRAME_LENGTH_NOT_MINIMAL: "a length is not in its shortest form",
    DORRIT_FRAME_LENGTH_TOO_LARGE: "a length has its top bit set",
}


cdef int read(Connection connection) except -1:
    """Takes one read's worth of input, when the poller says that there is some."""
    cdef Agenda agenda = connection.agenda
    cdef size_t before
    cdef ssize_t count
    if connection.state == CLOSED or connection.paused:
        return 0
    agenda.inflated = 0
    if connection.state == HANDSHAKING:
        return take_frames(connection, agenda.input, <size_t>read_head(connection))
    if agenda.limits.ping_interval > 0:
        connection.heard = quarters()
        connection.pinged = False
    if connection.stashed:
        return 0    # that has its turn first, and is in the list for it
    before = connection.input_length    # of a header or a control frame: 138 bytes at most
    if before > 0:
        if before >= SCRATCH_SIZE:
            raise OverflowError("what was kept of a frame is larger than the buffer")
        memcpy(agenda.input, connection.input, before)
    count = receive(connection, agenda.input + before, SCRATCH_SIZE - before)
    if count <= 0:
        return 0
    if before > 0:
        connection.free_input()
    return take_frames(connection, agenda.input, before + <size_t>count)


# Frames

cdef int read_stash(Connection connection) except -1:
    """Goes on with what had been read when reading was paused, before anything else is read."""
    cdef uint8_t *stash = connection.input
    cdef size_t length = connection.input_length
    connection.agenda.inflated = 0
    connection.input = NULL
    connection.free_input()
    try:
        return take_frames(connection, stash, length)
    finally:
        PyMem_Free(stash)


cdef int take_frames(Connection connection, uint8_t *data, size_t length) except -1:
    """Handles the frames in data[0 .. length) in order, which it may change, and keeps what is
    incomplete at the end."""
    cdef Agenda agenda = connection.agenda
    cdef dorrit_frame_header header
    cdef dorrit_frame_verdict verdict
    cdef Assembly assembly
    cdef size_t size
    cdef unsigned int frames = 0
    while length > 0:
        if connection.state != OPEN:
            if connection.following:
                return skip_frames(connection, data, length)
            # What a LINGERING client sends is thrown away: it only is read so that closing does not
            # reset the peer. RFC 6455 section 1.4: "After receiving a control frame indicating the
            # connection should be closed, a peer … discards any further data received."
            if connection.state != CLOSING or connection.close_received:
                return 0
        if connection.skipping > 0:
            size = <size_t>min(connection.skipping, <uint64_t>length)
            connection.skipping -= size
            data += size
            length -= size
            continue
        if connection.paused or agenda.inflated >= INFLATED_MAX or frames == FRAMES_PER_TURN:
            return connection.stash(data, length)
        if connection.assembly is not None and connection.assembly.frame_rest > 0:
            assembly = connection.assembly
            size = <size_t>min(assembly.frame_rest, <uint64_t>length)
            if assembly.inflator is not None:
                size = min(size, <size_t>INFLATE_PIECE)
            take_piece(connection, assembly, data, size)
            data += size
            length -= size
            continue
        verdict = dorrit_frame_header_decode(&header, data, length, connection.deflate is not None)
        if verdict == DORRIT_FRAME_INCOMPLETE:
            return connection.take_in(data, length, DORRIT_FRAME_HEADER_MAX)
        if verdict != DORRIT_FRAME_OK:
            return drop(connection, PROTOCOL_ERROR, WHAT_IS_WRONG[verdict], False)
        frames += 1
        size = header.header_length + <size_t>header.payload_length
        if header.opcode >= DORRIT_OPCODE_CLOSE:
            if length < size:
                return connection.take_in(data, length, size)
            if agenda.limits.max_message_rate > 0 and is_too_fast(connection):
                continue
            take_control_frame(connection, &header, data + header.header_length)
            data += size
            length -= size
            continue
        if connection.state == CLOSING:
            # R21: "from then on nothing more is read from that client"
            connection.skipping = header.header_length + header.payload_length
            continue
        if agenda.limits.max_message_rate > 0 and is_too_fast(connection):
            continue
        if header.payload_length > agenda.limits.max_message or not header.fin or (
                header.opcode == DORRIT_OPCODE_CONTINUATION or connection.assembly is not None):
            if is_refused(connection, &header):
                continue
        elif length >= size and not header.compressed:
            take_message(connection, &header, data + header.header_length)
            data += size
            length -= size
            continue
        assembly = connection.assembly
        if assembly is None:
            assembly = connection.assembly = assembly_new(agenda, &header, connection.deflate)
        else:
            assembly.begin_frame(&header)
        data += header.header_length
        length -= header.header_length
        if header.payload_length == 0:
            take_piece(connection, assembly, data, 0)
    return 0


cdef bint is_refused(Connection connection, const dorrit_frame_header *header) except -1:
    """Looks at the header of a data frame that is no whole message of a usual size, and drops the
    connection if it is not allowed."""
    cdef Agenda agenda = connection.agenda
    cdef Assembly assembly = connection.assembly
    cdef uint64_t most = agenda.limits.max_message
    if not agenda.limits.rfc:
        # "Dorrit drops connections on which messages arrive with payloads greater than the buffer
        # size less 5 bytes." (libdorrit(3))
        if header.payload_length > most:
            return refuse_size(connection)
        # "Dorrit drops connections on which fragment frames arrive." A continuation frame has
        # nothing to continue then, which RFC 6455 section 5.4 does not allow either.
        if header.opcode == DORRIT_OPCODE_CONTINUATION:
            drop(connection, PROTOCOL_ERROR, "a continuation frame continues nothing", True)
        else:
            drop(connection, UNSUPPORTED_DATA, "messages must not be fragmented", True)
        return True
    # RFC 6455 section 5.4: "The fragments of one message MUST NOT be interleaved between the
    # fragments of another message unless an extension has been negotiated that can interpret the
    # interleaving."
    if header.opcode == DORRIT_OPCODE_CONTINUATION and assembly is None:
        drop(connection, PROTOCOL_ERROR, "a continuation frame continues nothing", True)
        return True
    if header.opcode != DORRIT_OPCODE_CONTINUATION and assembly is not None:
        drop(connection, PROTOCOL_ERROR, "a message begins within another one", True)
        return True
    if header.compressed or (assembly is not None and assembly.inflator is not None):
        # How large it will be is seen when it is decompressed. Deflate adds some bytes to what it
        # can't make smaller: five for each block (RFC 1951 section 3.2.4).
        most += (most >> 8) + 64
    elif assembly is not None:
        most -= assembly.length
    return header.payload_length > most and refuse_size(connection)


cdef bint refuse_size(Connection connection) except -1:
    drop(connection, MESSAGE_TOO_BIG,
         f"a message must not be larger than {connection.agenda.limits.max_message} bytes", True)
    return True


cdef bint is_too_fast(Connection connection) except -1:
    """Counts a frame, and drops a client that sends more of them in a second than it may."""
    cdef unsigned int second = quarters() >> 2
    if connection.second != second:
        connection.second = second
        connection.frames_in_second = 0
    connection.frames_in_second += 1
    if connection.frames_in_second <= connection.agenda.limits.max_message_rate:
        return False
    # In CLOSING, too: what it sends then is work as well.
    drop(connection, POLICY_VIOLATION, "too many messages in a second", True)
    return True


cdef int drop(Connection connection, uint16_t code, str reason, bint framed) except -1:
    """R5. `framed`: whether it is still known where the client's frames begin."""
    begin_handlers(connection)
    connection.agenda.reports.dropped(code, reason, connection)
    return connection.drop(code, reason, framed)


cdef int begin_handlers(Connection connection) except -1:
    """Messages that came in the same read as the connection's end are answered before it, as if they
    had come in one of their own: handlers that are `async` begin only when a read is over."""
    if connection.agenda.on_read is not None:
        connection.agenda.on_read()
    return 0


cdef int take_piece(
    Connection connection, Assembly assembly, uint8_t *masked, size_t length) except -1:
    """Takes bytes of the current frame of a message, which may be its last."""
    cdef size_t before = assembly.length
    cdef size_t restarts = assembly.restarts()
    cdef Fault fault = assembly.take(masked, length)
    if fault == NO_FAULT and assembly.is_complete():
        fault = assembly.finish()
    if assembly.inflator is not None:
        connection.agenda.inflated += (
            assembly.length - before + length * INFLATED_BY_INPUT
            + (assembly.restarts() - restarts) * INFLATED_BY_RESTART)
        if connection.assembly is not assembly:
            return 0    # a signal handler has closed the connection meanwhile
    if fault == NO_FAULT and assembly.is_complete():
        return deliver_assembled(connection, assembly)
    if fault == NO_FAULT:
        return connection.agenda.make_room() if is_over_budget(connection.agenda) else 0
    # Section 8.1: "When an endpoint is to interpret a byte stream as UTF-8 but finds that the byte
    # stream is not, in fact, a valid UTF-8 stream, that endpoint MUST _Fail the WebSocket
    # Connection_."
    if fault == NOT_TEXT:
        return drop(connection, INVALID_PAYLOAD_DATA, "a text is not UTF-8", True)
    if fault == TOO_LARGE:
        refuse_size(connection)
        return 0
    return drop(connection, INVALID_PAYLOAD_DATA, "a message can't be decompressed", True)


cdef int deliver_assembled(Connection connection, Assembly assembly) except -1:
    cdef Agenda agenda = connection.agenda
    connection.assembly = None
    message = assembly.take_message(agenda.text_as_str)
    if agenda.text_as_str:
        return deliver_message(connection, message)
    return deliver(connection, not assembly.is_text, <bytes>message)


cdef int take_message(
    Connection connection, dorrit_frame_header *header, uint8_t *masked) except -1:
    """Handles a message that is one frame and has come whole: nearly all of them."""
    cdef size_t length = <size_t>header.payload_length
    cdef bint text_as_str = connection.agenda.text_as_str
    cdef bytes payload
    if header.opcode == DORRIT_OPCODE_TEXT and text_as_str:
        dorrit_mask(masked, masked, length, header.masking_key)
        return deliver_text(connection, masked, length)
    payload = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>length)
    dorrit_mask(<uint8_t *>PyBytes_AS_STRING(payload), masked, length, header.masking_key)
    if text_as_str:
        return deliver_message(connection, payload)
    if header.opcode == DORRIT_OPCODE_BINARY:
        return deliver(connection, True, payload)
    if not dorrit_utf8_is_valid(<uint8_t *>PyBytes_AS_STRING(payload), length):
        return drop(connection, INVALID_PAYLOAD_DATA, "a text is not UTF-8", True)
    return deliver(connection, False, payload)


cdef int take_control_frame(
    Connection connection, dorrit_frame_header *header, uint8_t *masked) except -1:
    cdef size_t length = <size_t>header.payload_length
    cdef bytes payload
    if header.opcode == DORRIT_OPCODE_CLOSE or (
            header.opcode == DORRIT_OPCODE_PING and connection.state == OPEN):
        payload = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>length)
        dorrit_mask(<uint8_t *>PyBytes_AS_STRING(payload), masked, length, header.masking_key)
        if header.opcode == DORRIT_OPCODE_PING:
            return put_pong(connection, payload)
        return take_close(connection, payload)
    return 0    # R4: "Unsolicited pongs are ignored."


cdef int deliver(Connection connection, bint binary, bytes payload) except -1:
    """R6: "One message in, one read callback".

    Called as the interpreter calls it, without the frame that a try statement costs each time.
    """
    cdef object callback = connection.agenda.on_message
    cdef PyObject *arguments[4]
    cdef PyObject *result
    if connection.agenda.limits.idle_timeout > 0:
        connection.active = quarters()
    arguments[1] = <PyObject *>connection
    arguments[2] = Py_True if binary else Py_False
    arguments[3] = <PyObject *>payload
    result = PyObject_Vectorcall(
        callback, arguments + 1, 3 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL)
    if result == NULL:
        return callback_raised(connection)
    if connection.agenda.forks_before != forks:
        connection.agenda.check_process(connection.agenda.names.kind, None)
    if result != <PyObject *>None:
        return take_result(connection, result)
    Py_XDECREF(result)
    return 0


cdef int deliver_text(Connection connection, const uint8_t *data, size_t length) except -1:
    """Validates a text while it is turned into a str: Python's decoder is as strict as RFC 3629,
    which section 8.1 of RFC 6455 asks for."""
    try:
        text = PyUnicode_DecodeUTF8(<const char *>data, <Py_ssize_t>length, NULL)
    except UnicodeDecodeError:
        return drop(connection, INVALID_PAYLOAD_DATA, "a text is not UTF-8", True)
    return deliver_message(connection, text)


cdef int deliver_message(Connection connection, object message) except -1:
    """As `deliver`, for a callback that takes a str or bytes."""
    cdef object callback = connection.agenda.on_message
    cdef PyObject *arguments[3]
    cdef PyObject *result
    if connection.agenda.limits.idle_timeout > 0:
        connection.active = quarters()
    arguments[1] = <PyObject *>connection
    arguments[2] = <PyObject *>message
    result = PyObject_Vectorcall(
        callback, arguments + 1, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL)
    if result == NULL:
        return callback_raised(connection)
    if connection.agenda.forks_before != forks:
        connection.agenda.check_process(connection.agenda.names.kind, None)
    if result != <PyObject *>None:
        return take_result(connection, result)
    Py_XDECREF(result)
    return 0


cdef int take_result(Connection connection, PyObject *returned) except -1:
    """A callback has returned something, which means nothing, unless it shows that it has not run.
    Takes over the reference."""
    cdef object result = <object>returned
    names = connection.agenda.names
    Py_XDECREF(returned)
    try:
        check_result(names.message, result, names.may_be_async)
    except BaseException as error:
        take_error(connection, error)
    return 0


cdef int raise_what_is_set() except -1:
    return -1   # the interpreter knows the exception already


cdef int callback_raised(Connection connection) except -1:
    try:
        raise_what_is_set()
    except BaseException as error:
        take_error(connection, error)
    return 0


cdef int take_error(Connection connection, error) except -1:
    """A callback has raised: the connection is closed with 1011, or with 1001 if the server ends."""
    cdef Agenda agenda = connection.agenda
    agenda.check_process(agenda.names.kind, error)
    if not is_exit(error):
        connection.fail(INTERNAL_ERROR, "", True)
        return agenda.callback_raised(agenda.names.kind, error, connection)
    # What has been read with this message is not lost: the exit waits for the end of the turn.
    if agenda.exit is None:
        agenda.exit = error
    agenda.is_interrupted = True
    connection.close(GOING_AWAY, "")
    return 0


cdef int take_close(Connection connection, bytes payload) except -1:
    """RFC 6455 section 5.5.1: "If there is a body, the first two bytes of the body MUST be a 2-byte
    unsigned integer (in network byte order) representing a status code"."""
    cdef const uint8_t *data = <const uint8_t *>PyBytes_AS_STRING(payload)
    cdef size_t length = <size_t>PyBytes_GET_SIZE(payload)
    cdef uint16_t code
    begin_handlers(connection)
    if connection.state != OPEN and connection.state != CLOSING:
        return 0
    if length == 0:
        return connection.answer_close(b"", NO_STATUS, "")
    if length == 1:
        return drop(connection, PROTOCOL_ERROR, "a close frame has half a close code", False)
    code = <uint16_t>(data[0] << 8 | data[1])
    if not dorrit_close_code_is_valid(code):
        return drop(connection, PROTOCOL_ERROR, f"close code {code} must not be sent", False)
    if not dorrit_utf8_is_valid(data + 2, length - 2):
        return drop(connection, INVALID_PAYLOAD_DATA, "the reason for a close is not UTF-8", False)
    # "When sending a Close frame in response, the endpoint typically echos the status code it
    # received."
    return connection.answer_close(payload[:2], code, payload[2:].decode("utf-8"))


# After a drop: frames are skipped, and only the client's close frame is looked for

cdef int skip_frames(Connection connection, uint8_t *data, size_t length) except -1:
    """Skips the frames in data[0 .. length), whatever their size, and keeps nothing of them."""
    cdef dorrit_frame_header header
    cdef dorrit_frame_verdict verdict
    cdef size_t skipped
    while length > 0:
        if connection.skipping > 0:
            skipped = <size_t>min(connection.skipping, <uint64_t>length)
            connection.skipping -= skipped
            data += skipped
            length -= skipped
            if connection.skipping == 0 and connection.close_received:
                return connection.part()
            continue
        verdict = dorrit_frame_header_decode(&header, data, length, connection.deflate is not None)
        if verdict == DORRIT_FRAME_INCOMPLETE:
            return connection.take_in(data, length, DORRIT_FRAME_HEADER_MAX)
        if verdict != DORRIT_FRAME_OK:
            return connection.part()
        connection.skipping = header.header_length + header.payload_length
        connection.close_received = header.opcode == DORRIT_OPCODE_CLOSE
    return 0
