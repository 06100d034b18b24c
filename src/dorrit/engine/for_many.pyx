# cython: language_level=3, freethreading_compatible=False
"""One message for many connections: framed once, and compressed once for each size of window."""

from dorrit.engine.message cimport fragment_size, message_compress, message_make
from dorrit.engine.send cimport NEVER_FITS, QUEUED, pass_over, put_message, put_payload


cdef int put_for_many(ForMany *message, Connection connection) except -1:
    cdef bytes payload = <bytes>message.payload
    cdef unsigned int variant = 0
    cdef uint32_t fragment_max = fragment_size(connection.engine, message.length)
    if fragment_max != message.fragment_max:
        # Once, unless the connections are of servers with different buffers.
        for_many_release(message)
        message.fragment_max = fragment_max
    if connection.deflate is not None and message.length >= connection.engine.limits.deflate_from:
        if connection.deflate.keeps_state:
            return note(message, connection, put_payload(connection, message.opcode, payload))
        variant = <unsigned int>connection.deflate.window_bits - 8
        if variant >= VARIANTS:
            raise ValueError("a window of deflate has 2^9 to 2^15 bytes")
        if not message.made[variant] and compress(message, connection, variant) < 0:
            message.no_memory = True
            return 0
        if not message.useful[variant]:
            variant = 0
    if variant == 0 and not message.made[0]:
        if message_make(&message.variants[0], message.opcode, payload, fragment_max, False) < 0:
            message.no_memory = True
            return 0
        message.made[0] = True
    return note(message, connection, put_message(
        connection, connection.engine, &message.variants[variant], True))


cdef int compress(ForMany *message, Connection connection, unsigned int variant) except? -1:
    """-1, without an exception: there is no memory for its frames."""
    cdef bint compressed
    cdef bytes content = message_compress(connection.deflate, <bytes>message.payload, &compressed)
    if compressed and message_make(
            &message.variants[variant], message.opcode, content, message.fragment_max, True) < 0:
        return -1
    message.useful[variant] = compressed
    message.made[variant] = True
    return 0


cdef int note(ForMany *message, Connection connection, int outcome) except -1:
    """What has become of it for one connection, see `put_message`."""
    if outcome < 0:
        message.no_memory = True
    elif outcome == NEVER_FITS:
        pass_over(connection, message.length, not message.too_large)
        message.too_large = True
    elif outcome == QUEUED:
        message.queued += 1
    return 0
