# cython: language_level=3, freethreading_compatible=False
"""What comes in: bytes of one connection become a request, messages, control frames or its end.

One read for each event. It goes into the engine's one scratch buffer; only what is left of an
incomplete head or frame is kept with the connection, in one buffer that never grows beyond that
head or frame and that grows with what has really come, not with what a header promises.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memmove

from dorrit.engine.agenda cimport SCRATCH_SIZE, Agenda
from dorrit.engine.connection cimport (
    CLOSED,
    CLOSING,
    HANDSHAKING,
    LINGERING,
    OPEN,
    Connection,
)
from dorrit.engine.frame cimport (
    DORRIT_OPCODE_BINARY,
    DORRIT_OPCODE_CLOSE,
    DORRIT_OPCODE_CONTINUATION,
    DORRIT_OPCODE_PING,
    DORRIT_OPCODE_PONG,
    DORRIT_OPCODE_TEXT,
    frame_raw,
)

from dorrit.protocol.closing import CloseCode
from dorrit.protocol.handshake import accept_response, parse_request
from dorrit.protocol.refusal import (
    HEAD_TOO_LARGE,
    MAX_HEAD,
    OPEN_CALLBACK_RAISED,
    Refusal,
    refusal,
)


cdef extern from "<sys/uio.h>" nogil:
    struct iovec:
        void *iov_base
        size_t iov_len
    ssize_t readv(int descriptor, const iovec *vectors, int count)

cdef extern from "<sys/socket.h>" nogil:
    ssize_t recv(int descriptor, void *buffer, size_t length, int flags)

cdef extern from "Python.h":
    size_t PY_VECTORCALL_ARGUMENTS_OFFSET
    # Declared so that Cython leaves a NULL to us.
    PyObject *PyObject_Vectorcall(
        object callback, PyObject **arguments, size_t count, PyObject *names)

cdef extern from "<string.h>" nogil:
    void *memmem(const void *haystack, size_t length, const void *needle, size_t needle_length)

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

    struct dorrit_frame_header:
        uint64_t payload_length
        uint8_t masking_key[4]
        uint8_t opcode
        uint8_t header_length
        bint fin

    enum:
        DORRIT_CONTROL_PAYLOAD_MAX

    dorrit_frame_verdict dorrit_frame_header_decode(
        dorrit_frame_header *header, const uint8_t *data, size_t length)
    bint dorrit_close_code_is_valid(uint16_t code)

cdef extern from "masking.h" nogil:
    void dorrit_mask(uint8_t *out, const uint8_t *data, size_t length, const uint8_t *key)

cdef extern from "utf8.h" nogil:
    bint dorrit_utf8_is_valid(const uint8_t *data, size_t length)


cdef enum:
    # The first buffer of what is incomplete, in bytes; it doubles from there.
    INPUT_FIRST = 512

cdef size_t HEAD_MAX = MAX_HEAD

cdef uint16_t PROTOCOL_ERROR = CloseCode.PROTOCOL_ERROR
cdef uint16_t UNSUPPORTED_DATA = CloseCode.UNSUPPORTED_DATA
cdef uint16_t INVALID_PAYLOAD_DATA = CloseCode.INVALID_FRAME_PAYLOAD_DATA
cdef uint16_t MESSAGE_TOO_BIG = CloseCode.MESSAGE_TOO_BIG
cdef uint16_t INTERNAL_ERROR = CloseCode.INTERNAL_ERROR
cdef uint16_t NO_STATUS = CloseCode.NO_STATUS_RCVD

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
    if connection.state == CLOSED:
        return 0
    if connection.state == HANDSHAKING:
        return read_head(connection)
    if connection.state == LINGERING and connection.following:
        return read_until_close(connection)
    if connection.state == LINGERING:
        # Thrown away: it only is read so that closing does not reset the peer.
        receive(connection, connection.agenda.input, SCRATCH_SIZE)
        return 0
    if connection.input_mark > 0:
        return read_rest_of_frame(connection)
    return read_frames(connection)


cdef ssize_t receive(Connection connection, uint8_t *buffer, size_t size) noexcept:
    """Reads up to `size` bytes. 0: there is nothing now, or the connection is lost."""
    return received(connection, recv(connection.descriptor, buffer, size, 0))


cdef ssize_t received(Connection connection, ssize_t length) noexcept:
    if length > 0:
        return length
    if length == 0 or (errno != EAGAIN and errno != EINTR):
        # The client has gone, with or without a close frame.
        connection.lose()
    return 0


# The request

cdef int read_head(Connection connection) except -1:
    """Collects the head of the request, up to the empty line that ends it."""
    cdef Agenda agenda = connection.agenda
    cdef uint8_t *start = agenda.input
    cdef uint8_t *found
    cdef size_t length, searched, rest
    cdef ssize_t count
    cdef bytes head

    if connection.input_length == 0:
        count = receive(connection, start, SCRATCH_SIZE)
        length = <size_t>count
        searched = 0
    else:
        if connection.input_length == connection.input_capacity:
            connection.take_in(NULL, 0, min(<size_t>connection.input_capacity * 2, HEAD_MAX))
        start = connection.input
        count = receive(connection, start + connection.input_length,
                        connection.input_capacity - connection.input_length)
        if count > 0:
            connection.input_length += <uint32_t>count
        length = connection.input_length
        searched = connection.input_mark
    if count <= 0:
        return 0

    # The end may have begun within the three bytes that were searched last.
    searched = searched - 3 if searched > 3 else 0
    found = <uint8_t *>memmem(start + searched, length - searched, b"\r\n\r\n", 4)
    if found == NULL:
        if length >= HEAD_MAX:
            return refuse(connection, refusal(*HEAD_TOO_LARGE))
        if connection.input_length == 0:
            connection.take_in(start, length, min(max(length * 2, <size_t>INPUT_FIRST), HEAD_MAX))
        connection.input_mark = <uint32_t>length
        return 0

    head = PyBytes_FromStringAndSize(<char *>start, found + 4 - start)
    # Frames may be right behind the head, in the same read.
    rest = length - <size_t>PyBytes_GET_SIZE(head)
    memmove(agenda.input, found + 4, rest)
    connection.free_input()
    if <size_t>PyBytes_GET_SIZE(head) > HEAD_MAX:
        return refuse(connection, refusal(*HEAD_TOO_LARGE))
    upgrade(connection, head)
    return take_frames(connection, agenda.input, rest)


cdef int refuse(Connection connection, object answer) except -1:
    connection.agenda.reports.refused(answer)
    connection.refuse(answer.response())
    return 0


cdef int upgrade(Connection connection, bytes head) except -1:
    """Answers the request: 101, or an HTTP error."""
    cdef Agenda agenda = connection.agenda
    try:
        request = parse_request(head)
    except Refusal as answer:
        return refuse(connection, answer)
    connection.state = OPEN
    connection.deadline = 0
    # The response stands first in the queue: what the open callback writes follows it.
    connection.put(frame_raw(accept_response(request)))
    try:
        answer = agenda.on_open(connection, request)
    except BaseException as error:
        refuse(connection, refusal(*OPEN_CALLBACK_RAISED))
        report(agenda, "open", error)
        return 0
    if answer is not None:
        return refuse(connection, answer)
    connection.accept()
    return 0


cdef int report(Agenda agenda, str callback, error) except -1:
    """Logs what a callback raised. What is no Exception (SystemExit, KeyboardInterrupt) is meant for
    the whole program: it goes on its way."""
    if not isinstance(error, Exception):
        raise error
    agenda.reports.callback_raised(callback, error)
    return 0


# Frames

cdef int read_frames(Connection connection) except -1:
    """Reads when there is nothing of a frame yet, or only a part of its header."""
    cdef uint8_t *buffer = connection.agenda.input
    cdef size_t before = connection.input_length  # at most 13 bytes
    cdef ssize_t count
    if before > 0:
        memcpy(buffer, connection.input, before)
        count = receive(connection, buffer + before, SCRATCH_SIZE - before)
        if count > 0:
            connection.free_input()
    else:
        count = receive(connection, buffer, SCRATCH_SIZE)
    if count <= 0:
        return 0
    return take_frames(connection, buffer, before + <size_t>count)


cdef int read_rest_of_frame(Connection connection) except -1:
    """Reads when the header is there and a part of the payload: straight to where it belongs, and
    what follows the frame into the scratch buffer, in one call."""
    cdef Agenda agenda = connection.agenda
    cdef size_t size = connection.input_mark
    cdef size_t room, behind
    cdef iovec vectors[2]
    cdef ssize_t count
    cdef uint8_t *frame
    if connection.input_length == connection.input_capacity:
        connection.take_in(NULL, 0, min(<size_t>connection.input_capacity * 2, size))
    room = connection.input_capacity - connection.input_length
    vectors[0].iov_base = connection.input + connection.input_length
    vectors[0].iov_len = room
    vectors[1].iov_base = agenda.input
    vectors[1].iov_len = SCRATCH_SIZE
    count = received(connection, readv(
        connection.descriptor, vectors, 2 if connection.input_capacity == size else 1))
    if count <= 0:
        return 0
    behind = <size_t>count - room if <size_t>count > room else 0
    connection.input_length += <uint32_t>(<size_t>count - behind)
    if connection.input_length < size:
        return 0
    # The buffer changes hands: callbacks may do what they like with the connection meanwhile.
    frame = connection.input
    connection.input = NULL
    connection.free_input()
    try:
        take_frames(connection, frame, size)
    finally:
        PyMem_Free(frame)
    return take_frames(connection, agenda.input, behind)


cdef int take_frames(Connection connection, uint8_t *data, size_t length) except -1:
    """Handles the complete frames in data[0 .. length) in order, which it may change, and keeps the
    incomplete one at the end."""
    cdef Agenda agenda = connection.agenda
    cdef dorrit_frame_header header
    cdef dorrit_frame_verdict verdict
    cdef size_t size
    while length > 0:
        if connection.following:
            return skip_frames(connection, data, length)
        if connection.state != OPEN and connection.state != CLOSING:
            return 0
        if connection.close_received:
            # RFC 6455 section 1.4: "After receiving a control frame indicating the connection
            # should be closed, a peer … discards any further data received."
            return 0
        verdict = dorrit_frame_header_decode(&header, data, length)
        if verdict == DORRIT_FRAME_INCOMPLETE:
            connection.take_in(data, length, 16)
            return 0
        if verdict != DORRIT_FRAME_OK:
            return drop(connection, PROTOCOL_ERROR, WHAT_IS_WRONG[verdict], False)
        # "Dorrit drops connections on which messages arrive with payloads greater than the buffer
        # size less 5 bytes."
        if header.payload_length > agenda.payload_max and header.opcode < DORRIT_OPCODE_CLOSE:
            drop(connection, MESSAGE_TOO_BIG,
                 f"a message must not be larger than {agenda.payload_max} bytes", True)
            continue
        # "Dorrit drops connections on which fragment frames arrive." A continuation frame has
        # nothing to continue then, which RFC 6455 section 5.4 does not allow either.
        if header.opcode == DORRIT_OPCODE_CONTINUATION:
            drop(connection, PROTOCOL_ERROR, "a continuation frame continues nothing", True)
            continue
        if not header.fin:
            drop(connection, UNSUPPORTED_DATA, "messages must not be fragmented", True)
            continue
        size = header.header_length + <size_t>header.payload_length
        if length < size:
            connection.take_in(data, length, min(max(length * 2, <size_t>INPUT_FIRST), size))
            connection.input_mark = <uint32_t>size
            return 0
        take_frame(connection, &header, data + header.header_length)
        data += size
        length -= size
    return 0


cdef int drop(Connection connection, uint16_t code, str reason, bint framed) except -1:
    """R5. `framed`: whether it is still known where the client's frames begin."""
    connection.agenda.reports.dropped(code, reason)
    return connection.fail(code, reason, framed)


cdef int take_frame(
    Connection connection, dorrit_frame_header *header, uint8_t *masked) except -1:
    """Handles one complete frame, whose header is right."""
    cdef size_t length = <size_t>header.payload_length
    cdef bytes payload
    if header.opcode == DORRIT_OPCODE_PONG:
        return 0  # R4: "Unsolicited pongs are ignored."
    if connection.state == CLOSING and header.opcode != DORRIT_OPCODE_CLOSE:
        return 0  # R21: "from then on nothing more is read from that client"
    payload = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>length)
    dorrit_mask(<uint8_t *>PyBytes_AS_STRING(payload), masked, length, header.masking_key)
    if header.opcode == DORRIT_OPCODE_BINARY:
        return deliver(connection, True, payload)
    if header.opcode == DORRIT_OPCODE_TEXT:
        # Section 8.1: "When an endpoint is to interpret a byte stream as UTF-8 but finds that the
        # byte stream is not, in fact, a valid UTF-8 stream, that endpoint MUST _Fail the WebSocket
        # Connection_."
        if not dorrit_utf8_is_valid(<uint8_t *>PyBytes_AS_STRING(payload), length):
            return drop(connection, INVALID_PAYLOAD_DATA, "a text is not UTF-8", True)
        return deliver(connection, False, payload)
    if header.opcode == DORRIT_OPCODE_PING:
        return connection.put_pong(payload)
    return take_close(connection, payload)


cdef int deliver(Connection connection, bint binary, bytes payload) except -1:
    """R6: "One message in, one read callback".

    Called as the interpreter calls it, without the frame that a try statement costs each time.
    """
    cdef object callback = connection.agenda.on_message
    cdef object is_binary = binary
    cdef PyObject *arguments[4]
    cdef PyObject *result
    arguments[1] = <PyObject *>connection
    arguments[2] = <PyObject *>is_binary
    arguments[3] = <PyObject *>payload
    result = PyObject_Vectorcall(
        callback, arguments + 1, 3 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL)
    if result == NULL:
        return callback_raised(connection)
    Py_XDECREF(result)
    return 0


cdef int raise_what_is_set() except -1:
    return -1   # the interpreter knows the exception already


cdef int callback_raised(Connection connection) except -1:
    try:
        raise_what_is_set()
    except BaseException as error:
        connection.fail(INTERNAL_ERROR, "", True)
        report(connection.agenda, "read", error)
    return 0


cdef int take_close(Connection connection, bytes payload) except -1:
    """RFC 6455 section 5.5.1: "If there is a body, the first two bytes of the body MUST be a 2-byte
    unsigned integer (in network byte order) representing a status code"."""
    cdef const uint8_t *data = <const uint8_t *>PyBytes_AS_STRING(payload)
    cdef size_t length = <size_t>PyBytes_GET_SIZE(payload)
    cdef uint16_t code
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

cdef int read_until_close(Connection connection) except -1:
    cdef uint8_t *buffer = connection.agenda.input
    cdef size_t before = connection.input_length    # of a header: at most 13 bytes
    cdef ssize_t count
    if before > 0:
        memcpy(buffer, connection.input, before)
    count = receive(connection, buffer + before, SCRATCH_SIZE - before)
    if count <= 0:
        return 0
    connection.free_input()
    return skip_frames(connection, buffer, before + <size_t>count)


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
        verdict = dorrit_frame_header_decode(&header, data, length)
        if verdict == DORRIT_FRAME_INCOMPLETE:
            return connection.take_in(data, length, 16)
        if verdict != DORRIT_FRAME_OK:
            return connection.part()
        connection.skipping = header.header_length + header.payload_length
        connection.close_received = header.opcode == DORRIT_OPCODE_CLOSE
    return 0
