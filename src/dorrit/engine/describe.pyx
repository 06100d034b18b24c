# cython: language_level=3, freethreading_compatible=False
"""A connection as its record in a ledger has it.

What a client has sent and nobody has handled yet is written down as the client sends it: as frames. So the
next image takes it as what it reads from the client, by the same way and with the same care.
"""

cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy, memset

from dorrit.engine.assembly cimport Assembly
from dorrit.engine.c.connection cimport (
    DORRIT_ACCEPTED,
    DORRIT_AT_END,
    DORRIT_AT_FOLLOWED,
    DORRIT_AT_FRAME,
    DORRIT_AT_HEAD,
    DORRIT_AWAITED,
    DORRIT_CLOSED,
    DORRIT_HANDSHAKING,
    DORRIT_HELD,
    DORRIT_IN_FOLLOWED,
    DORRIT_IN_LAST,
    DORRIT_IN_UNWANTED,
    DORRIT_OPEN,
    DORRIT_UNDECIDED,
)
from dorrit.engine.c.frame cimport (
    DORRIT_FRAME_HEADER_MAX,
    DORRIT_OPCODE_BINARY,
    DORRIT_OPCODE_CLOSE,
    DORRIT_OPCODE_CONTINUATION,
    DORRIT_OPCODE_TEXT,
    dorrit_frame_header_encode,
    dorrit_opcode,
)
from dorrit.engine.c.ledger cimport (
    DORRIT_CARRIED_BEGUN,
    DORRIT_CARRIED_CLIENT_TAKEOVER,
    DORRIT_CARRIED_CLOSED_HERE,
    DORRIT_CARRIED_DEFLATE,
    DORRIT_CARRIED_SERVER_TAKEOVER,
    DORRIT_CARRIED_TEXT,
    DORRIT_CARRIED_WINDOW,
    DORRIT_LEDGER_REASON_MAX,
)
from dorrit.engine.c.masking cimport dorrit_mask
from dorrit.engine.topics cimport names_of

from dorrit.engine.kept_head import kept_of


cdef Carried look_at_ended(Connection connection):
    cdef Carried carried = carried_new(connection)
    carried.is_end = True
    return carried


cdef Carried carried_new(Connection connection):
    cdef Carried carried = Carried.__new__(Carried)
    carried.connection = connection
    carried.topics = names_of(connection)
    carried.about = carried.input = carried.begun_bytes = carried.window = carried.reason = b""
    return carried


cdef Carried look_at(Connection connection, size_t missing):
    cdef Carried carried = carried_new(connection)
    waiting = ()
    if connection.head is not None:
        carried.about = connection.head
    elif connection.kept_request is not None:
        carried.about = kept_of(connection.kept_request)
    if connection.engine.unhandled is not None:
        carried.begun, waiting = connection.engine.unhandled(connection)
    carried.missing = missing
    carried.input = stream_of(connection, waiting, carried)
    return carried


cdef int describe(Carried one, dorrit_carried *carried) except -1:
    cdef Connection connection = one.connection
    memset(carried, 0, sizeof(dorrit_carried))
    carried.descriptor = -1 if one.is_end else connection.state.descriptor
    carried.number = connection.state.number
    carried.opened = connection.state.opened
    carried.dropped = connection.state.dropped
    carried.close_code = connection.state.close_code
    if connection.state.closed_here:
        carried.flags |= DORRIT_CARRIED_CLOSED_HERE
    if connection.deflate is not None:
        carried.flags |= DORRIT_CARRIED_DEFLATE
        carried.window_bits = connection.deflate.window_bits
        if connection.deflate.keeps_state:
            carried.flags |= DORRIT_CARRIED_SERVER_TAKEOVER
        if connection.deflate.keeps_inflator:
            carried.flags |= DORRIT_CARRIED_CLIENT_TAKEOVER
        if connection.deflate.window is not None:
            carried.flags |= DORRIT_CARRIED_WINDOW
            one.window = connection.deflate.window.past
    if one.begun is not None:
        carried.flags |= DORRIT_CARRIED_BEGUN
        if isinstance(one.begun, str):
            carried.flags |= DORRIT_CARRIED_TEXT
            one.begun_bytes = (<str>one.begun).encode("utf-8")
        else:
            one.begun_bytes = one.begun
    if connection.close_reason:
        one.reason = connection.close_reason.encode("utf-8", "replace")[:DORRIT_LEDGER_REASON_MAX]
        carried.reason_length = <uint8_t>PyBytes_GET_SIZE(one.reason)
        memcpy(carried.reason, PyBytes_AS_STRING(one.reason), carried.reason_length)
    carried.about = span(one.about)
    carried.topics = span(one.topics)
    carried.input = span(one.input)
    borrow_what_may_change(one, carried)
    carried.begun = span(one.begun_bytes)
    carried.window = span(one.window)
    carried.last_life = connection.state.life
    carried.admission = connection.state.admission
    carried.parsing = parsing_of(connection)
    if one.is_end:
        # It may linger, which is another record.
        carried.last_life = DORRIT_CLOSED
        carried.admission = DORRIT_ACCEPTED
        carried.parsing = DORRIT_AT_END
    elif is_asked_again(connection):
        carried.last_life = DORRIT_HANDSHAKING
        carried.admission = DORRIT_UNDECIDED
        carried.about = span(b"")
        carried.topics = span(b"")      # it subscribes again
    else:
        if connection.state.admission == DORRIT_AWAITED:
            # The user is told of its resumption again. Of one that has ended before he has let it in, he is not
            # to hear that it has.
            carried.admission = DORRIT_ACCEPTED if connection.state.opened > 0 else DORRIT_UNDECIDED
        carried.written = connection.state.queue.written
    return 0


cdef void borrow_what_may_change(Carried one, dorrit_carried *carried) noexcept:
    cdef Connection connection = one.connection
    carried.saved = span(b"" if connection.kept is None else connection.kept)
    # Of one that is over it may linger, which is another record.
    carried.unparsed = borrowed(NULL, 0) if one.is_end else unparsed_of(connection)


cdef dorrit_span span(bytes content) noexcept:
    """Borrowed, for as long as the caller has it."""
    return borrowed(<const uint8_t *>PyBytes_AS_STRING(content), <size_t>PyBytes_GET_SIZE(content))


cdef dorrit_span borrowed(const uint8_t *content, size_t length) noexcept:
    cdef dorrit_span result
    result.bytes = content
    result.length = length
    return result


cdef bint is_asked_again(Connection connection) noexcept:
    """The open callback has not decided about it, and is asked again by the next image."""
    return connection.state.life == DORRIT_HANDSHAKING or connection.state.writing == DORRIT_HELD


# What has come in

cdef uint8_t parsing_of(Connection connection) noexcept:
    """What the next byte is when all that `stream_of` says has been taken."""
    if is_asked_again(connection):
        return DORRIT_AT_HEAD
    if connection.state.parsing == DORRIT_AT_END:
        return DORRIT_AT_END
    return DORRIT_AT_FOLLOWED if connection.state.parsing >= DORRIT_AT_FOLLOWED else DORRIT_AT_FRAME


cdef bytes stream_of(Connection connection, waiting, Carried carried):
    """What a client has sent and nobody has handled, as frames of a client's; but for `unparsed_of`.

    Args:
        waiting: Messages before it that wait for handlers, str and bytes.
        carried: Says how much is to be missing, and is told where that is.
    """
    cdef list pieces = []
    if connection.state.parsing == DORRIT_AT_END:
        return b""
    if connection.state.life == DORRIT_OPEN:
        for message in waiting:
            pieces.append(frame_of(message))
    # An engine that does not carry keeps no heads; the build that checks invariants writes it down all the same.
    if is_asked_again(connection) and connection.state.life != DORRIT_HANDSHAKING and (
            connection.head is not None):
        pieces.append(connection.head)
    if connection.assembly is not None:
        put_assembly(connection.assembly, pieces, carried)
    elif connection.state.parsing == DORRIT_IN_UNWANTED or connection.state.parsing == DORRIT_IN_FOLLOWED:
        pieces.append(header(DORRIT_OPCODE_BINARY, True, False, connection.state.skipping, b"\0\0\0\0"))
    elif connection.state.parsing == DORRIT_IN_LAST:
        pieces.append(header(DORRIT_OPCODE_CLOSE, True, False, connection.state.skipping, b"\0\0\0\0"))
    return b"".join(pieces)


cdef dorrit_span unparsed_of(Connection connection) noexcept:
    """What has come behind that. Borrowed: until the connection reads, or handles some of it."""
    if connection.state.parsing == DORRIT_AT_END:
        return borrowed(NULL, 0)
    return borrowed(connection.state.input, connection.state.input_length)


cdef bytes frame_of(message):
    """A whole message. Its key is zero, so that nothing has to be masked."""
    if isinstance(message, str):
        payload = (<str>message).encode("utf-8")
        return header(DORRIT_OPCODE_TEXT, True, False, <uint64_t>len(payload), b"\0\0\0\0") + payload
    return header(
        DORRIT_OPCODE_BINARY, True, False, <uint64_t>len(message), b"\0\0\0\0") + message


cdef int put_assembly(Assembly assembly, list pieces, Carried carried) except -1:
    """A message of which a part has come: a frame with that, and the header of one with what is to come.

    While its first frame is under way it is that frame itself, since servers may refuse fragments. All of it
    has the key of that frame, so that a part of it is the same however much has come.
    """
    cdef size_t length = came(assembly)
    cdef dorrit_opcode opcode = DORRIT_OPCODE_TEXT if assembly.is_text else DORRIT_OPCODE_BINARY
    cdef bint compressed = assembly.inflator is not None
    cdef bint is_fragment = assembly.is_continued or (assembly.frame_rest == 0 and not assembly.fin)
    cdef bytes key = (<char *>assembly.first_key)[:4]
    if is_fragment:
        pieces.append(header(opcode, False, compressed, length, key))
    else:
        pieces.append(header(opcode, assembly.fin, compressed, length + assembly.frame_rest, key))
    carried.missing_at = sum(map(len, pieces))
    pieces.append(part_of(assembly, carried.missing, length - carried.missing))
    if is_fragment and assembly.frame_rest > 0:
        pieces.append(header(
            DORRIT_OPCODE_CONTINUATION, assembly.fin, False, assembly.frame_rest,
            turned(assembly.masking_key, 0)))
    return 0


cdef size_t came(Assembly assembly) noexcept:
    if assembly.compressed is not None:
        return <size_t>len(assembly.compressed)
    return assembly.length


cdef bytes part_of(Assembly assembly, size_t begin, size_t length):
    cdef bytes key = turned(assembly.first_key, begin)
    cdef bytes part = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>length)
    cdef const uint8_t *content
    if assembly.compressed is not None:
        content = <const uint8_t *>PyByteArray_AS_STRING(assembly.compressed)
    elif length > 0:
        content = <const uint8_t *>PyBytes_AS_STRING(<object>assembly.payload)
    else:
        return b""
    if begin + length > came(assembly):
        raise OverflowError("so much of the message has not come")
    dorrit_mask(
        <uint8_t *>PyBytes_AS_STRING(part), content + begin, length,
        <const uint8_t *>PyBytes_AS_STRING(key))
    return part


cdef bytes turned(const uint8_t *key, size_t begin):
    """A masking key for what begins so many bytes behind where it begins."""
    cdef uint8_t result[4]
    cdef unsigned int index
    for index in range(4):
        result[index] = key[(index + begin) & 3]
    return (<char *>result)[:4]


cdef bytes header(dorrit_opcode opcode, bint fin, bint compressed, uint64_t length, bytes key):
    """The header of a client's frame."""
    cdef uint8_t out[DORRIT_FRAME_HEADER_MAX]
    cdef size_t size = dorrit_frame_header_encode(out, fin, opcode, length)
    # RFC 6455 section 5.2: "All frames sent from client to server have this bit set to 1."
    out[1] |= 0x80
    if compressed:
        out[0] |= 0x40
    return (<char *>out)[:size] + key
