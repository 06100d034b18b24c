"""CLimits: those of an engine's `Limits` that are looked at for each message, as C has them."""

from libc.math cimport ceil
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t


cdef enum:
    # made from the settings: words
    SLOW_CLIENTS_REFUSE
    SLOW_CLIENTS_CLOSE
    # end of words


cdef struct CLimits:
    uint64_t linger_timeout         # milliseconds
    # made from the settings: fields
    uint32_t buffer_size
    uint32_t max_connections
    bint rfc
    uint32_t max_message
    uint32_t deflate_from
    uint64_t handshake_timeout  # milliseconds
    uint32_t max_head
    uint32_t max_handshakes
    uint32_t max_message_rate
    uint64_t close_timeout  # milliseconds
    size_t max_buffered
    uint32_t slow_clients
    uint32_t max_pending_bytes
    uint32_t max_topics
    uint32_t max_publish
    uint64_t ping_interval  # milliseconds
    uint64_t ping_timeout  # milliseconds
    uint64_t idle_timeout  # milliseconds
    uint64_t max_lifetime  # milliseconds
    bint keep_requests
    # end of fields


cdef inline uint64_t milliseconds_of(double seconds) except? 0:
    """Rounded up, so that what is positive stays so."""
    if not 0 <= seconds <= 1e9:
        raise ValueError(f"{seconds} is not a number of seconds from 0 to 1e9")
    return <uint64_t>ceil(seconds * 1000)


cdef inline int limits_take(CLimits *limits, values) except -1:
    """Fills them from a `Limits`, which has looked at their ranges."""
    limits.linger_timeout = milliseconds_of(values.linger_timeout)
    # made from the settings: values
    limits.buffer_size = values.buffer_size
    limits.max_connections = values.max_connections
    limits.rfc = values.rfc
    limits.max_message = values.max_message
    limits.deflate_from = values.deflate_from
    limits.handshake_timeout = milliseconds_of(values.handshake_timeout)
    limits.max_head = values.max_head
    limits.max_handshakes = values.max_handshakes
    limits.max_message_rate = values.max_message_rate
    limits.close_timeout = milliseconds_of(values.close_timeout)
    limits.max_buffered = values.max_buffered
    limits.slow_clients = ("refuse", "close").index(values.slow_clients)
    limits.max_pending_bytes = values.max_pending_bytes
    limits.max_topics = values.max_topics
    limits.max_publish = values.max_publish
    limits.ping_interval = milliseconds_of(values.ping_interval)
    limits.ping_timeout = milliseconds_of(values.ping_timeout)
    limits.idle_timeout = milliseconds_of(values.idle_timeout)
    limits.max_lifetime = milliseconds_of(values.max_lifetime)
    limits.keep_requests = values.keep_requests
    # end of values
    return 0
