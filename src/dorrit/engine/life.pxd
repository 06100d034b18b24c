"""The life of a connection: what leads from one state to the next, and nothing else changes it."""

from libc.stdint cimport uint16_t

from dorrit.engine.c.connection cimport (
    DORRIT_AT_END,
    DORRIT_AT_FOLLOWED,
    DORRIT_BLOCKED,
    DORRIT_WAITS,
    dorrit_life,
    dorrit_writing,
)
from dorrit.engine.connection cimport Connection
from dorrit.engine.frame cimport Frame


# Queues a frame behind the others, whatever the limit says. Takes over the caller's reference, also
# when it fails; NULL is for a frame that could not be made.
cdef int put_frame(Connection connection, Frame *frame) except -1

# The open callback said yes: the close callback will run.
cdef int accept_client(Connection connection) except -1

# The handshake is over: HANDSHAKING → OPEN. What is queued waits for `let_write`.
cdef int begin_opening(Connection connection) except -1

# OPEN → CLOSING: the user or the server wants it. RFC 6455 section 7.1.2.
cdef int close_in_order(Connection connection, uint16_t code, str reason) except -1

# OPEN, CLOSING → LINGERING: RFC 6455 section 7.1.7, "Fail the WebSocket Connection". `framed`: it is
# still known where the client's frames begin. In order: what is queued goes out first.
cdef int fail(Connection connection, uint16_t code, str reason, bint framed) except -1
cdef int fail_in_order(Connection connection, uint16_t code, str reason, bint framed) except -1

# HANDSHAKING, OPEN → LINGERING: an HTTP response instead.
cdef int refuse_request(Connection connection, bytes response) except -1

# Any → CLOSED: the descriptor is closed, all memory is given back.
cdef void close_socket(Connection connection) noexcept

# These want nothing, but say what has happened to a connection:
# its close frame has come (OPEN, CLOSING → ANSWERING);
cdef int answer_close(Connection connection, bytes payload, uint16_t code, str reason) except -1
# it has failed, and nothing more of its frames is of interest;
cdef int stop_following(Connection connection) except -1
# all that was queued has been written, and it is ending;
cdef int end_written(Connection connection) except -1
# the client takes nothing any more;
cdef int peer_has_gone(Connection connection) except -1
# its descriptor's number is somebody else's already (any → CLOSED);
cdef void forget_socket(Connection connection) noexcept
# the next image goes on with its descriptor (any → CLOSED).
cdef void carry_away(Connection connection) noexcept

# Brings a new connection to where it was in the last image. What that led to has been done there.
cdef void reach(Connection connection, dorrit_life life) noexcept

# Reading and writing. On failure of the poller the connection is closed.
cdef int watch_writing(Connection connection, dorrit_writing writing) except -1
cdef int pause_reading(Connection connection) except -1
cdef int resume_reading(Connection connection) except -1
# The open callback, which took its time, has answered: what is queued is written, and more is read.
cdef int release(Connection connection) except -1
cdef void let_write(Connection connection) noexcept


cdef inline bint is_watched_for_writing(Connection connection) noexcept:
    """Whether the poller says when what is queued can be written."""
    return connection.state.writing == DORRIT_WAITS or connection.state.writing == DORRIT_BLOCKED


cdef inline bint is_followed(Connection connection) noexcept:
    """Whether its frames are passed over until the client's close frame has come."""
    return DORRIT_AT_FOLLOWED <= connection.state.parsing < DORRIT_AT_END
