# cython: language_level=3, freethreading_compatible=False
"""The connections that the process's last image has carried out, out of its ledger.

The ledger is read as if an enemy had written it: whatever stands there costs the connection that it is
about, and nothing else. What a client had sent goes the way of what is read from a client.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_SetFromErrno
from cpython.object cimport PyObject
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from posix.fcntl cimport F_SETFD, FD_CLOEXEC, fcntl
from posix.unistd cimport close as close_descriptor

from dorrit.engine.c.connection cimport (
    DORRIT_ACCEPTED,
    DORRIT_ANSWERING,
    DORRIT_AT_END,
    DORRIT_AT_FOLLOWED,
    DORRIT_AT_FRAME,
    DORRIT_AT_HEAD,
    DORRIT_AWAITED,
    DORRIT_CLOSED,
    DORRIT_CLOSING,
    DORRIT_HANDSHAKING,
    DORRIT_LINGERING,
    DORRIT_OPEN,
    DORRIT_UNDECIDED,
    dorrit_life,
)
from dorrit.engine.c.frame cimport DORRIT_FRAME_SERVER_HEADER_MAX
from dorrit.engine.c.ledger cimport (
    DORRIT_CARRIED_BEGUN,
    DORRIT_CARRIED_CLIENT_TAKEOVER,
    DORRIT_CARRIED_CLOSED_HERE,
    DORRIT_CARRIED_DEFLATE,
    DORRIT_CARRIED_SERVER_TAKEOVER,
    DORRIT_CARRIED_TEXT,
    DORRIT_CARRIED_WINDOW,
    DORRIT_LEDGER_EMPTY,
    DORRIT_LEDGER_NEWER,
    DORRIT_LEDGER_OK,
    DORRIT_LEDGER_UNREADABLE,
    c_bool,
    dorrit_carried,
    dorrit_ledger_copy,
    dorrit_ledger_free_copy,
    dorrit_ledger_get,
    dorrit_ledger_get_frame,
    dorrit_ledger_get_input,
    dorrit_ledger_input_length,
    dorrit_ledger_read,
    dorrit_ledger_verdict,
    dorrit_span,
)
from dorrit.engine.c.poller cimport dorrit_poller_add
from dorrit.engine.c.sockets cimport dorrit_shutdown, dorrit_socket_identity
from dorrit.engine.clock cimport deadline_in
from dorrit.engine.connection cimport SAVED_MAX, Connection
from dorrit.engine.frame cimport (
    FRAME_PAYLOAD_MAX,
    Frame,
    frame_carried,
    frame_is_ping,
    frame_is_pong,
    frame_release,
    frame_size,
)
from dorrit.engine.input cimport take_in
from dorrit.engine.life cimport close_socket, fail_in_order, reach, refuse_request
from dorrit.engine.ping cimport OTHER_CONTROL_MAX, PONGS_MAX
from dorrit.engine.queue cimport QUEUE_FRAMES_MAX, queue_append, queue_reserve
from dorrit.engine.record cimport record_all
from dorrit.engine.references cimport references_reserve
from dorrit.engine.table cimport connection_new
from dorrit.engine.topics cimport restore_topics, topics_in
from dorrit.engine.turn cimport check_usable
from dorrit.engine.work cimport to_be_flushed, to_be_resumed, to_be_told_of_its_end, wake

from dorrit.engine.kept_head import split
from dorrit.protocol.closing import CloseCode
from dorrit.protocol.deflate import WINDOW_BITS_MAX, WINDOW_BITS_MIN, WINDOW_SIZE, Terms, Window, deflate_of
from dorrit.protocol.handshake import request_again
from dorrit.protocol.refusal import OPEN_CALLBACK_RAISED, RESTARTED, Refusal, refusal


cdef enum:
    # Bytes of the shortest header that a frame may have.
    HEADER_MIN = 2

cdef uint16_t SERVICE_RESTART = CloseCode.SERVICE_RESTART

# Of clients; no machine lives long enough for more.
cdef uint64_t NUMBERS_MAX = <uint64_t>1 << 62


@cython.final
cdef class Arrival:
    """One connection as it was, before it is anybody's."""
    cdef object request     # None: it had not been accepted, or is over
    cdef bytes head
    cdef bytes saved
    cdef bytes names        # of its topics, as the ledger has them,
    cdef list topics        # and as they are
    cdef object begun
    cdef object deflate
    cdef str reason


def descriptors_in(descriptor: int) -> list:
    cdef dorrit_ledger_copy copy
    cdef dorrit_carried carried
    cdef uint32_t slot
    cdef list found = []
    read_ledger(&copy, descriptor)
    try:
        for slot in range(copy.slots):
            if dorrit_ledger_get(&copy, slot, &carried) == DORRIT_LEDGER_OK and carried.descriptor > 2:
                found.append(carried.descriptor)
    finally:
        dorrit_ledger_free_copy(&copy)
    return found


cdef tuple carry_in(Engine engine, int file, dict places, uint16_t code):
    cdef dorrit_ledger_copy copy
    cdef dorrit_carried carried
    cdef dorrit_ledger_verdict verdict
    cdef uint32_t slot
    cdef set taken = set(), living = set()
    cdef Py_ssize_t going_on = 0
    cdef list lost = [], over = []
    cdef FramesRead frames
    check_usable(engine)
    # There may have been turns: a start handler may await.
    if engine.resuming is not None or engine.numbered > 0:
        raise RuntimeError("connections are carried in once, before any client is there")
    read_ledger(&copy, file)
    frames = FramesRead.__new__(FramesRead)
    frames.copy = &copy
    engine.resuming = []
    try:
        for slot in range(copy.slots):
            verdict = dorrit_ledger_get(&copy, slot, &carried)
            if verdict == DORRIT_LEDGER_EMPTY:
                continue
            if places is not None and carried.descriptor >= 0:
                carried.descriptor = place_of(places, carried.socket)
                if carried.descriptor < 0:
                    lost.append((-1, carried.socket))
                    continue
            if verdict == DORRIT_LEDGER_OK and carried.descriptor < 0:
                over.append(slot)
            elif verdict == DORRIT_LEDGER_OK and take_carried(engine, frames, &carried, slot, code):
                taken.add(carried.socket)
                going_on += goes_on(engine, &carried)
                if carried.last_life != DORRIT_LINGERING:
                    living.add(carried.number)
            else:
                lost.append((carried.descriptor, carried.socket))
        for slot in over:
            # That a connection is over is written down before its own record goes.
            if dorrit_ledger_get(&copy, slot, &carried) == DORRIT_LEDGER_OK and (
                    carried.number not in living and not take_ended(engine, &carried)):
                lost.append((-1, 0))
        # What a damaged record names may be another connection's, which is known by now.
        for descriptor, identity in lost if places is None else ():
            if identity not in taken:
                end_stranger(<int>descriptor, <uint64_t>identity)
        if copy.clients < NUMBERS_MAX:      # the last one may have gone
            engine.numbered = max(engine.numbered, copy.clients)
    finally:
        frames.release()
        dorrit_ledger_free_copy(&copy)
    record_all(engine)
    if engine.resuming:
        wake(engine)
    return going_on, len(lost)


cdef int place_of(dict places, uint64_t identity) except -2:
    return <int>places.get(identity, -1)


cdef int read_ledger(dorrit_ledger_copy *copy, int file) except -1:
    cdef dorrit_ledger_verdict verdict = dorrit_ledger_read(copy, file)
    if verdict == DORRIT_LEDGER_UNREADABLE:
        PyErr_SetFromErrno(OSError)
    if verdict == DORRIT_LEDGER_NEWER:
        raise ValueError("a newer release has written it")
    if verdict != DORRIT_LEDGER_OK:
        raise ValueError("it is damaged")
    return 0


cdef bint take_carried(
        Engine engine, FramesRead frames, dorrit_carried *carried, uint32_t slot,
        uint16_t code) except -1:
    """Whether a record is of a connection that is there and can go on; then it does, or it ends in order
    if that was the one that the process was busy with when it ended."""
    cdef Connection connection
    cdef Arrival arrival
    cdef bytes input
    cdef uint64_t identity, numbered
    if dorrit_socket_identity(carried.descriptor, &identity) < 0 or identity != carried.socket:
        return False
    if carried.number >= NUMBERS_MAX:
        return False
    if <size_t>carried.descriptor < engine.table_size and engine.table[carried.descriptor] != NULL:
        return False
    if not is_possible(carried):
        return False
    arrival = arrival_of(carried)
    if arrival is None or not frames.are_possible(carried):
        return False
    if fcntl(carried.descriptor, F_SETFD, FD_CLOEXEC) < 0 or (
            dorrit_poller_add(engine.poller, carried.descriptor) < 0):
        return False
    numbered = engine.numbered
    connection = connection_new(engine, carried.descriptor)
    engine.numbered = numbered
    describe(connection, carried, arrival)
    reach(connection, <dorrit_life>carried.last_life)
    restore_topics(connection, arrival.names, arrival.topics)
    connection.state.parsing = carried.parsing
    connection.state.deadline = deadline_of(connection)
    frames.fill(connection, carried)
    if frames.copy.writing == slot + 1:
        # Nobody knows how much of it the client has got: whatever followed might be read as a part of it.
        connection.state.close_code = SERVICE_RESTART
        close_socket(connection)
        return True
    if frames.copy.current == slot + 1:
        # What it has sent last is lost with what was made of it.
        end_culprit(connection, code)
        return True
    if dorrit_ledger_input_length(carried) > 0:
        input = input_of(frames.copy, carried)
        take_in(
            connection, <uint8_t *>PyBytes_AS_STRING(input), <size_t>PyBytes_GET_SIZE(input),
            <size_t>PyBytes_GET_SIZE(input))
        # Part of a request is gone on with; what follows one is read as soon as there are turns.
        if carried.parsing != DORRIT_AT_HEAD or b"\r\n\r\n" in input:
            connection.state.stashed = True
            engine.assembled += connection.state.input_capacity
            to_be_resumed(connection)
    if carried.last_life == DORRIT_OPEN:
        engine.resuming.append((connection, arrival.request, arrival.begun))
    return True


cdef bint goes_on(Engine engine, dorrit_carried *carried) noexcept:
    """Whether a connection is as it was: the crash has not ended it."""
    cdef PyObject *found = engine.table[carried.descriptor]
    return found != NULL and (<Connection>found).state.life == carried.last_life


cdef int end_culprit(Connection connection, uint16_t code) except -1:
    """The connection whose callback ran when the process ended: it might end it again."""
    if connection.state.life == DORRIT_HANDSHAKING:
        why = RESTARTED if code == SERVICE_RESTART else OPEN_CALLBACK_RAISED
        return refuse_request(connection, refusal(*why).response())
    if connection.state.life == DORRIT_OPEN or connection.state.life == DORRIT_CLOSING:
        return fail_in_order(connection, code, "", False)
    return 0


cdef int describe(Connection connection, dorrit_carried *carried, Arrival arrival) except -1:
    connection.state.number = carried.number
    connection.engine.numbered = max(connection.engine.numbered, carried.number)
    connection.state.opened = carried.opened
    connection.state.dropped = carried.dropped
    connection.state.close_code = carried.close_code
    connection.state.closed_here = carried.flags & DORRIT_CARRIED_CLOSED_HERE != 0
    connection.state.admission = carried.admission
    connection.close_reason = arrival.reason
    connection.kept = arrival.saved
    connection.deflate = arrival.deflate
    if connection.engine.carries:
        connection.head = arrival.head
    return 0


cdef bint take_ended(Engine engine, dorrit_carried *carried) except -1:
    """Somebody of whose end the user has not heard yet."""
    cdef Connection connection
    if carried.last_life != DORRIT_CLOSED or carried.admission != DORRIT_ACCEPTED:
        return False
    arrival = arrival_of(carried)
    if arrival is None:
        return False
    connection = Connection.__new__(Connection)
    connection.engine = engine
    describe(connection, carried, arrival)
    restore_topics(connection, arrival.names, arrival.topics)
    connection.state.parsing = DORRIT_AT_END
    references_reserve(&engine.ended, engine.ended.length + <size_t>engine.connections + 1)
    to_be_told_of_its_end(connection)
    return True


cdef bint is_possible(dorrit_carried *carried) noexcept:
    """Whether a connection can be so at all."""
    if carried.last_life == DORRIT_HANDSHAKING:
        return carried.parsing == DORRIT_AT_HEAD and carried.admission == DORRIT_UNDECIDED and (
            carried.frames_length == 0)
    if carried.last_life == DORRIT_LINGERING:
        return carried.parsing == DORRIT_AT_FOLLOWED or carried.parsing == DORRIT_AT_END
    # Of the end of one that is closing the user may have no wish to hear.
    if carried.admission == DORRIT_AWAITED or (
            carried.last_life == DORRIT_OPEN and carried.admission != DORRIT_ACCEPTED):
        return False
    if carried.last_life == DORRIT_ANSWERING:
        return carried.parsing == DORRIT_AT_END
    return carried.parsing == DORRIT_AT_FRAME and (
        carried.last_life == DORRIT_OPEN or carried.last_life == DORRIT_CLOSING)


cdef Arrival arrival_of(dorrit_carried *carried):
    """What is said of a connection, or None if that can't be so."""
    cdef Arrival arrival = Arrival.__new__(Arrival)
    cdef bytes about = content_of(carried.about)
    arrival.reason = (<char *>carried.reason)[:carried.reason_length].decode("utf-8", "replace")
    if carried.saved.length > SAVED_MAX:
        return None
    if carried.saved.length > 0:
        arrival.saved = content_of(carried.saved)
    arrival.names = content_of(carried.topics)
    arrival.topics = topics_in(arrival.names)
    if arrival.topics is None or (arrival.topics and carried.last_life == DORRIT_HANDSHAKING):
        return None
    try:
        if carried.flags & DORRIT_CARRIED_DEFLATE:
            arrival.deflate = deflate_from(carried)
        if about:
            arrival.request = request_of(about)
            arrival.head = about
        if carried.flags & DORRIT_CARRIED_BEGUN:
            arrival.begun = content_of(carried.begun)
            if carried.flags & DORRIT_CARRIED_TEXT:
                arrival.begun = arrival.begun.decode("utf-8")
    except (ValueError, Refusal):
        return None
    if carried.last_life == DORRIT_OPEN and arrival.request is None:
        return None
    return arrival


cdef object request_of(bytes about):
    head, subprotocol = split(about)
    request = request_again(head)
    request.resumed(subprotocol)
    return request


cdef object deflate_from(dorrit_carried *carried):
    """What compresses from here on: of what has gone before nothing is known."""
    if not WINDOW_BITS_MIN <= carried.window_bits <= WINDOW_BITS_MAX:
        raise ValueError("there is no such window")
    window = None
    if carried.flags & DORRIT_CARRIED_WINDOW:
        if carried.window.length > WINDOW_SIZE:
            raise ValueError("no window is larger than the largest")
        window = Window(content_of(carried.window))
    return deflate_of(Terms(
        carried.flags & DORRIT_CARRIED_SERVER_TAKEOVER != 0,
        carried.flags & DORRIT_CARRIED_CLIENT_TAKEOVER != 0,
        carried.window_bits, False), window)


cdef bytes content_of(dorrit_span span):
    if span.length == 0:
        return b""
    return PyBytes_FromStringAndSize(<const char *>span.bytes, <Py_ssize_t>span.length)


cdef bytes input_of(const dorrit_ledger_copy *copy, const dorrit_carried *carried):
    cdef bytes result = PyBytes_FromStringAndSize(
        NULL, <Py_ssize_t>dorrit_ledger_input_length(carried))
    dorrit_ledger_get_input(copy, carried, <uint8_t *>PyBytes_AS_STRING(result))
    return result


cdef uint64_t deadline_of(Connection connection) noexcept:
    """Deadlines of closes and handshakes start afresh; that of who is open, with its resumption."""
    cdef Engine engine = connection.engine
    if connection.state.life == DORRIT_OPEN:
        return 0
    if connection.state.life == DORRIT_HANDSHAKING:
        return deadline_in(engine, engine.limits.handshake_timeout)
    if connection.state.life == DORRIT_LINGERING:
        return deadline_in(engine, engine.limits.linger_timeout)
    return deadline_in(engine, engine.limits.close_timeout)


cdef int end_stranger(int descriptor, uint64_t expected) except -1:
    """A connection is lost whose record names a socket, and which one that is. Nobody else ends it.

    A record that is damaged may name any other: one that the user has opened is left alone.
    """
    cdef uint64_t identity
    if descriptor > 2 and dorrit_socket_identity(descriptor, &identity) == 0 and identity == expected:
        dorrit_shutdown(descriptor)
        close_descriptor(descriptor)
    return 0


@cython.final
cdef class FramesRead:
    """The frames of a ledger: each is made once, for all queues that it stands in.

    Attributes:
        copy: The ledger's, borrowed.
    """
    cdef dorrit_ledger_copy *copy
    cdef dict made          # by the numbers of their chunks: pointers to frames, a reference to each

    def __cinit__(self):
        self.made = {}

    cdef bint are_possible(self, dorrit_carried *carried) except -1:
        """Whether a queue can be so; then all of its frames are made."""
        cdef unsigned int index, counted = 0, pongs = 0, pings = 0
        cdef Frame *frame
        for index in range(carried.frames_length):
            frame = self.frame(carried.frames[index])
            if frame == NULL:
                return False
            counted += frame.counted
            if index > 0 or carried.written == 0:
                pongs += frame_is_pong(frame)
                pings += frame_is_ping(frame)
            if index == 0 and carried.written >= frame_size(frame):
                return False
        if carried.frames_length == 0 and carried.written > 0:
            return False
        return counted <= QUEUE_FRAMES_MAX and pongs <= PONGS_MAX and pings <= 1 and (
            carried.frames_length - counted <= PONGS_MAX + OTHER_CONTROL_MAX)

    cdef Frame *frame(self, uint32_t chunk) except? NULL:
        """The frame of a chunk; NULL, without an exception, if it can't be one."""
        cdef dorrit_span content
        cdef uint8_t header_length
        cdef c_bool counted
        cdef Frame *frame
        cdef size_t pointer
        found = self.made.get(chunk)
        if found is not None:
            pointer = found
            return <Frame *>pointer
        if dorrit_ledger_get_frame(self.copy, chunk, &content, &header_length, &counted) != DORRIT_LEDGER_OK:
            return NULL
        if content.length == 0 or content.length > FRAME_PAYLOAD_MAX or (
                header_length != 0 and not HEADER_MIN <= header_length <= DORRIT_FRAME_SERVER_HEADER_MAX):
            return NULL
        frame = frame_carried(content.bytes, content.length, header_length, counted)
        if frame == NULL:
            raise MemoryError
        self.made[chunk] = <size_t>frame
        return frame

    cdef int fill(self, Connection connection, dorrit_carried *carried) except -1:
        """Puts the frames of a queue into it."""
        cdef unsigned int index
        cdef Frame *frame
        if carried.frames_length == 0:
            return 0
        if queue_reserve(&connection.state.queue, carried.frames_length) < 0:
            raise MemoryError
        for index in range(carried.frames_length):
            frame = self.frame(carried.frames[index])
            queue_append(&connection.state.queue, frame)
            if frame_is_pong(frame) and (index > 0 or carried.written == 0):
                connection.state.pongs += 1
        connection.state.queue.written = carried.written
        connection.state.queue.bytes -= carried.written
        to_be_flushed(connection)
        return 0

    cdef int release(self) except -1:
        cdef size_t pointer
        for found in self.made.values():
            pointer = found
            frame_release(<Frame *>pointer)
        self.made = {}
        return 0
