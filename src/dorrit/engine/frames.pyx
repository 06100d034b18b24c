# cython: language_level=3, freethreading_compatible=False
"""What comes in: bytes of one connection become messages, control frames or its end.

One read for each event. It goes into the engine's one scratch buffer; of a header or a control frame
that is incomplete, some bytes are kept with the connection, and of an incomplete message its `Assembly`.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint16_t, uint64_t
from libc.string cimport memcpy

from dorrit.engine.assembly cimport NOT_TEXT, NO_FAULT, TOO_LARGE, Assembly, Fault, assembly_new
from dorrit.engine.batch cimport hand_over
from dorrit.engine.budget cimport make_room
from dorrit.engine.c.connection cimport (
    DORRIT_AT_FOLLOWED,
    DORRIT_AT_FRAME,
    DORRIT_AT_HEAD,
    DORRIT_CLOSED,
    DORRIT_CLOSING,
    DORRIT_HANDSHAKING,
    DORRIT_IN_FOLLOWED,
    DORRIT_IN_LAST,
    DORRIT_IN_PAYLOAD,
    DORRIT_IN_UNWANTED,
    DORRIT_OPEN,
)
from dorrit.engine.c.frame cimport (
    DORRIT_FRAME_CONTROL_FRAGMENTED,
    DORRIT_FRAME_CONTROL_TOO_LONG,
    DORRIT_FRAME_HEADER_MAX,
    DORRIT_FRAME_INCOMPLETE,
    DORRIT_FRAME_LENGTH_NOT_MINIMAL,
    DORRIT_FRAME_LENGTH_TOO_LARGE,
    DORRIT_FRAME_NOT_MASKED,
    DORRIT_FRAME_OK,
    DORRIT_FRAME_RESERVED_BITS,
    DORRIT_FRAME_RESERVED_OPCODE,
    DORRIT_OPCODE_CLOSE,
    DORRIT_OPCODE_CONTINUATION,
    DORRIT_OPCODE_PING,
    dorrit_close_code_is_valid,
    dorrit_frame_header,
    dorrit_frame_header_decode,
    dorrit_frame_verdict,
)
from dorrit.engine.c.masking cimport dorrit_mask
from dorrit.engine.c.utf8 cimport dorrit_utf8_is_valid
from dorrit.engine.clock cimport quarters
from dorrit.engine.deliver cimport deliver_assembled, take_message
from dorrit.engine.engine cimport SCRATCH_SIZE, Engine
from dorrit.engine.faults cimport fail_client
from dorrit.engine.head cimport read_head, take_head
from dorrit.engine.held cimport is_over_budget
from dorrit.engine.input cimport free_input, take_in
from dorrit.engine.life cimport answer_close, is_followed, stop_following
from dorrit.engine.ping cimport put_pong
from dorrit.engine.receive cimport receive
from dorrit.engine.work cimport to_be_resumed

from dorrit.protocol.closing import CloseCode


cdef enum:
    # Work that one read may be to decompress, after which the others have their turn. It is counted
    # in bytes that come out, of which zlib makes a mebibyte in three milliseconds. Input may be more
    # work than what comes out of it: a block of 11 bytes with codes of its own, and nothing in it,
    # takes as long as 400 bytes of output, and so does a final block, which needs a new decompressor.
    INFLATED_MAX = 1024 * 1024
    INFLATED_BY_INPUT = 32          # for each byte that goes in
    INFLATED_BY_RESTART = 1024      # for each final block

    # Bytes that are decompressed at a time, before the work that it was is looked at.
    INFLATE_PIECE = 16 * 1024

    # Frames of one connection that are handled in one turn; then the others have theirs. One read
    # may bring ten thousand, each a call of the user's function.
    FRAMES_PER_TURN = 256


cdef uint16_t PROTOCOL_ERROR = CloseCode.PROTOCOL_ERROR
cdef uint16_t UNSUPPORTED_DATA = CloseCode.UNSUPPORTED_DATA
cdef uint16_t INVALID_PAYLOAD_DATA = CloseCode.INVALID_FRAME_PAYLOAD_DATA
cdef uint16_t POLICY_VIOLATION = CloseCode.POLICY_VIOLATION
cdef uint16_t MESSAGE_TOO_BIG = CloseCode.MESSAGE_TOO_BIG
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
    cdef Engine engine = connection.engine
    cdef size_t before
    cdef ssize_t count
    if connection.state.life == DORRIT_CLOSED or connection.state.paused:
        return 0
    engine.inflated = 0
    if connection.state.life == DORRIT_HANDSHAKING:
        if connection.state.stashed:
            return 0    # a whole request, which the last image has left
        return take_read(connection, engine.input, <size_t>read_head(connection))
    if engine.limits.ping_interval > 0:
        connection.state.heard = quarters()
        connection.state.pinged = False
    if connection.state.stashed:
        return 0    # that has its turn first, and is in the list for it
    before = connection.state.input_length    # of a header or a control frame: 138 bytes at most
    if before > 0:
        if before >= SCRATCH_SIZE:
            raise OverflowError("what was kept of a frame is larger than the buffer")
        memcpy(engine.input, connection.state.input, before)
    count = receive(connection, engine.input + before, SCRATCH_SIZE - before)
    if count <= 0:
        return 0
    if before > 0:
        free_input(connection)
    return take_read(connection, engine.input, before + <size_t>count)


# Frames

cdef int read_stash(Connection connection) except -1:
    cdef uint8_t *stash = connection.state.input
    cdef size_t length = connection.state.input_length
    connection.engine.inflated = 0
    connection.state.input = NULL
    free_input(connection)
    try:
        if connection.state.parsing == DORRIT_AT_HEAD:
            length = <size_t>take_head(connection, stash, length)
            return take_read(connection, connection.engine.input, length)
        return take_read(connection, stash, length)
    finally:
        PyMem_Free(stash)


cdef int take_read(Connection connection, uint8_t *data, size_t length) except -1:
    """Handles what was read together; messages for `async` handlers begin when all of it is there."""
    if connection.engine.on_messages is None:
        return take_frames(connection, data, length)
    try:
        take_frames(connection, data, length)
    finally:
        hand_over(connection)
    return 0


cdef int take_frames(Connection connection, uint8_t *data, size_t length) except -1:
    """Handles the frames in data[0 .. length) in order, which it may change, and keeps what is
    incomplete at the end."""
    cdef Engine engine = connection.engine
    cdef dorrit_frame_header header
    cdef dorrit_frame_verdict verdict
    cdef Assembly assembly
    cdef size_t size
    cdef unsigned int frames = 0
    while length > 0:
        if connection.state.parsing >= DORRIT_AT_FOLLOWED:
            if is_followed(connection):
                return skip_frames(connection, data, length)
            # What a LINGERING client sends is thrown away: it only is read so that closing does not
            # reset the peer.
            return 0
        if connection.state.parsing == DORRIT_IN_UNWANTED:
            size = <size_t>min(connection.state.skipping, <uint64_t>length)
            connection.state.skipping -= size
            if connection.state.skipping == 0:
                connection.state.parsing = DORRIT_AT_FRAME
            data += size
            length -= size
            continue
        if connection.state.paused or engine.inflated >= INFLATED_MAX or frames == FRAMES_PER_TURN:
            return stash(connection, data, length)
        if connection.state.parsing == DORRIT_IN_PAYLOAD:
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
            return take_in(connection, data, length, DORRIT_FRAME_HEADER_MAX)
        if verdict != DORRIT_FRAME_OK:
            return fail_client(connection, PROTOCOL_ERROR, WHAT_IS_WRONG[verdict], False)
        frames += 1
        size = header.header_length + <size_t>header.payload_length
        if header.opcode >= DORRIT_OPCODE_CLOSE:
            if length < size:
                return take_in(connection, data, length, size)
            if engine.limits.max_message_rate > 0 and is_too_fast(connection):
                continue
            take_control_frame(connection, &header, data + header.header_length)
            data += size
            length -= size
            continue
        if connection.state.life == DORRIT_CLOSING:
            # R21: "from then on nothing more is read from that client"
            connection.state.skipping = header.header_length + header.payload_length
            connection.state.parsing = DORRIT_IN_UNWANTED
            continue
        if engine.limits.max_message_rate > 0 and is_too_fast(connection):
            continue
        if header.payload_length > engine.limits.max_message or not header.fin or (
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
            assembly = connection.assembly = assembly_new(engine, &header, connection.deflate)
        else:
            assembly.begin_frame(&header)
        data += header.header_length
        length -= header.header_length
        if header.payload_length == 0:
            take_piece(connection, assembly, data, 0)
        else:
            connection.state.parsing = DORRIT_IN_PAYLOAD
    return 0


cdef int stash(Connection connection, uint8_t *data, size_t length) except -1:
    """Keeps what has been read but is not to be handled now. It is handled before anything else is
    read: in the next turn, or when reading is resumed."""
    take_in(connection, data, length, length)
    connection.state.stashed = True
    connection.engine.assembled += connection.state.input_capacity
    if not connection.state.paused:
        to_be_resumed(connection)
    if is_over_budget(connection.engine):
        make_room(connection.engine)
    return 0


cdef bint is_refused(Connection connection, const dorrit_frame_header *header) except -1:
    """Looks at the header of a data frame that is not a whole message of a usual size, and drops the
    connection if it is not allowed."""
    cdef Engine engine = connection.engine
    cdef Assembly assembly = connection.assembly
    cdef uint64_t most = engine.limits.max_message
    if not engine.limits.rfc:
        # "Dorrit drops connections on which messages arrive with payloads greater than the buffer
        # size less 5 bytes." (libdorrit(3))
        if header.payload_length > most:
            return refuse_size(connection)
        # "Dorrit drops connections on which fragment frames arrive." A continuation frame has
        # nothing to continue then, which RFC 6455 section 5.4 does not allow either.
        if header.opcode == DORRIT_OPCODE_CONTINUATION:
            fail_client(connection, PROTOCOL_ERROR, "a continuation frame continues nothing", True)
        else:
            fail_client(connection, UNSUPPORTED_DATA, "messages must not be fragmented", True)
        return True
    # RFC 6455 section 5.4: "The fragments of one message MUST NOT be interleaved between the
    # fragments of another message unless an extension has been negotiated that can interpret the
    # interleaving."
    if header.opcode == DORRIT_OPCODE_CONTINUATION and assembly is None:
        fail_client(connection, PROTOCOL_ERROR, "a continuation frame continues nothing", True)
        return True
    if header.opcode != DORRIT_OPCODE_CONTINUATION and assembly is not None:
        fail_client(connection, PROTOCOL_ERROR, "a message begins within another one", True)
        return True
    if header.compressed or (assembly is not None and assembly.inflator is not None):
        # How large it will be is seen when it is decompressed. Deflate adds some bytes to what it
        # can't make smaller: five for each block (RFC 1951 section 3.2.4).
        most += (most >> 8) + 64
    elif assembly is not None:
        most -= assembly.length
    return header.payload_length > most and refuse_size(connection)


cdef bint refuse_size(Connection connection) except -1:
    fail_client(connection, MESSAGE_TOO_BIG,
                f"a message must not be larger than {connection.engine.limits.max_message} bytes", True)
    return True


cdef bint is_too_fast(Connection connection) except -1:
    """Counts a frame, and drops a client that sends more of them in a second than it may."""
    cdef unsigned int second = quarters() >> 2
    if connection.state.second != second:
        connection.state.second = second
        connection.state.frames_in_second = 0
    connection.state.frames_in_second += 1
    if connection.state.frames_in_second <= connection.engine.limits.max_message_rate:
        return False
    # In CLOSING, too: what it sends then is work as well.
    fail_client(connection, POLICY_VIOLATION, "too many messages in a second", True)
    return True


cdef int take_piece(
    Connection connection, Assembly assembly, uint8_t *masked, size_t length) except -1:
    """Takes bytes of the current frame of a message, which may be its last."""
    cdef size_t before = assembly.length
    cdef size_t restarts = assembly.restarts()
    cdef Fault fault
    # Whatever runs from here on may end the connection: it is known what comes next.
    if assembly.frame_rest == length:
        connection.state.parsing = DORRIT_AT_FRAME
    fault = assembly.take(masked, length)
    if fault == NO_FAULT and assembly.is_complete():
        fault = assembly.finish()
    if assembly.inflator is not None:
        connection.engine.inflated += (
            assembly.length - before + length * INFLATED_BY_INPUT
            + (assembly.restarts() - restarts) * INFLATED_BY_RESTART)
        if connection.assembly is not assembly:
            return 0    # a signal handler has closed the connection meanwhile
    if fault == NO_FAULT and assembly.is_complete():
        return deliver_assembled(connection, assembly)
    if fault == NO_FAULT:
        return make_room(connection.engine) if is_over_budget(connection.engine) else 0
    # Section 8.1: "When an endpoint is to interpret a byte stream as UTF-8 but finds that the byte
    # stream is not, in fact, a valid UTF-8 stream, that endpoint MUST _Fail the WebSocket
    # Connection_."
    if fault == NOT_TEXT:
        return fail_client(connection, INVALID_PAYLOAD_DATA, "a text is not UTF-8", True)
    if fault == TOO_LARGE:
        refuse_size(connection)
        return 0
    return fail_client(connection, INVALID_PAYLOAD_DATA, "a message can't be decompressed", True)


cdef int take_control_frame(
    Connection connection, dorrit_frame_header *header, uint8_t *masked) except -1:
    cdef size_t length = <size_t>header.payload_length
    cdef bytes payload
    if header.opcode == DORRIT_OPCODE_CLOSE or (
            header.opcode == DORRIT_OPCODE_PING and connection.state.life == DORRIT_OPEN):
        payload = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>length)
        dorrit_mask(<uint8_t *>PyBytes_AS_STRING(payload), masked, length, header.masking_key)
        if header.opcode == DORRIT_OPCODE_PING:
            return put_pong(connection, payload)
        return take_close(connection, payload)
    return 0    # R4: "Unsolicited pongs are ignored."


cdef int take_close(Connection connection, bytes payload) except -1:
    """RFC 6455 section 5.5.1: "If there is a body, the first two bytes of the body MUST be a 2-byte
    unsigned integer (in network byte order) representing a status code"."""
    cdef const uint8_t *data = <const uint8_t *>PyBytes_AS_STRING(payload)
    cdef size_t length = <size_t>PyBytes_GET_SIZE(payload)
    cdef uint16_t code
    hand_over(connection)
    if connection.state.life != DORRIT_OPEN and connection.state.life != DORRIT_CLOSING:
        return 0
    if length == 0:
        return answer_close(connection, b"", NO_STATUS, "")
    if length == 1:
        return fail_client(connection, PROTOCOL_ERROR, "a close frame has half a close code", False)
    code = <uint16_t>(data[0] << 8 | data[1])
    if not dorrit_close_code_is_valid(code):
        return fail_client(connection, PROTOCOL_ERROR, f"close code {code} must not be sent", False)
    if not dorrit_utf8_is_valid(data + 2, length - 2):
        return fail_client(
            connection, INVALID_PAYLOAD_DATA, "the reason for a close is not UTF-8", False)
    # "When sending a Close frame in response, the endpoint typically echos the status code it
    # received."
    return answer_close(connection, payload[:2], code, payload[2:].decode("utf-8"))


# After a failure: frames are skipped, and only the client's close frame is looked for

cdef int skip_frames(Connection connection, uint8_t *data, size_t length) except -1:
    """Skips the frames in data[0 .. length), whatever their size, and keeps nothing of them."""
    cdef dorrit_frame_header header
    cdef dorrit_frame_verdict verdict
    cdef size_t skipped
    while length > 0:
        if connection.state.parsing == DORRIT_AT_FOLLOWED:
            verdict = dorrit_frame_header_decode(
                &header, data, length, connection.deflate is not None)
            if verdict == DORRIT_FRAME_INCOMPLETE:
                return take_in(connection, data, length, DORRIT_FRAME_HEADER_MAX)
            if verdict != DORRIT_FRAME_OK:
                return stop_following(connection)
            connection.state.skipping = header.header_length + header.payload_length
            connection.state.parsing = (
                DORRIT_IN_LAST if header.opcode == DORRIT_OPCODE_CLOSE else DORRIT_IN_FOLLOWED)
        skipped = <size_t>min(connection.state.skipping, <uint64_t>length)
        connection.state.skipping -= skipped
        data += skipped
        length -= skipped
        if connection.state.skipping == 0:
            if connection.state.parsing == DORRIT_IN_LAST:
                return stop_following(connection)
            connection.state.parsing = DORRIT_AT_FOLLOWED
    return 0
