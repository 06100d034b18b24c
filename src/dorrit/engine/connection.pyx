# cython: language_level=3, freethreading_compatible=False
"""Connection: one client, from its request to its end.

The states and what leads from one to the next; nothing else changes `state`:

    HANDSHAKING --begin--> OPEN            the request is valid; the open callback runs
    HANDSHAKING, OPEN --refuse--> LINGERING   an HTTP error is the answer
    OPEN --put_close, answer_close--> CLOSING
    OPEN, CLOSING --fail--> LINGERING      a close frame with the reason, then nothing more
    CLOSING --finish--> LINGERING, CLOSED  both close frames have gone their way
    any --lose--> CLOSED                   no descriptor any more

A connection is never taken apart within its own callback: the loop holds a reference while it works
on it, and what a closed connection is asked to do, it does not do. So a handle may be kept for ever.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stddef cimport size_t
from libc.string cimport memcpy

from dorrit.engine.agenda cimport PONGS_MAX, QUEUE_FRAMES_MAX, Agenda
from dorrit.engine.frame cimport (
    DORRIT_OPCODE_CLOSE,
    DORRIT_OPCODE_PONG,
    Frame,
    frame_is_pong,
    frame_is_raw,
    frame_raw,
    frame_release,
    frame_size,
    frame_whole,
)
from dorrit.engine.queue cimport (
    queue_append,
    queue_at,
    queue_drop_first,
    queue_free,
    queue_insert,
    queue_keep_first,
    queue_replace,
    queue_reserve,
)


cdef extern from "<sys/uio.h>" nogil:
    struct iovec:
        void *iov_base
        size_t iov_len

cdef extern from "<sys/socket.h>" nogil:
    ssize_t recv(int descriptor, void *buffer, size_t length, int flags)
    int MSG_DONTWAIT

cdef extern from "sockets.h" nogil:
    ssize_t dorrit_send(int descriptor, iovec *vectors, int count)
    int dorrit_shutdown_writing(int descriptor)

cdef extern from "poller.h" nogil:
    int dorrit_poller_modify(int poller, int descriptor, bint reading, bint writing)

cdef extern from "frame.h" nogil:
    bint dorrit_close_code_is_valid(uint16_t code)

cdef extern from "utf8.h" nogil:
    bint dorrit_utf8_is_valid(const uint8_t *data, size_t length)


cdef enum:
    VECTORS_MAX = 64
    # A payload of up to this many bytes is copied behind its header, which costs less than a vector
    # of its own; larger ones are gathered from where they are.
    COPIED_MAX = 2048

    # RFC 6455 section 7.4.1: "1006 is a reserved value … designated for use in applications
    # expecting a status code to indicate that the connection was closed abnormally".
    ABNORMAL = 1006


cdef Py_ssize_t alive = 0


def connections_alive() -> int:
    """The number of Connection objects in this process, closed ones that somebody holds included
    (for tests and statistics)."""
    return alive


cdef Connection connection_new(Agenda agenda, int descriptor):
    """A connection that reads its request. It owns the descriptor, unless it fails."""
    cdef Connection connection = Connection.__new__(Connection)
    connection.agenda = agenda
    agenda.enter(descriptor, connection)
    connection.descriptor = descriptor
    connection.state = HANDSHAKING
    return connection


cdef bytes close_payload(uint16_t code, str reason):
    """RFC 6455 section 5.5.1: a 2-byte unsigned integer in network byte order, then a reason in
    UTF-8; a control frame's payload has at most 125 bytes. A code of 0 gives an empty payload."""
    if code == 0:
        return b""
    cdef bytes encoded = reason.encode("utf-8", "replace")[:123]
    if not dorrit_utf8_is_valid(
            <const uint8_t *>PyBytes_AS_STRING(encoded), <size_t>PyBytes_GET_SIZE(encoded)):
        encoded = encoded.decode("utf-8", "ignore").encode("utf-8")  # cut within a character
    return bytes((code >> 8, code & 0xFF)) + encoded


@cython.final
cdef class Connection:
    """One client's connection. The server makes these and hands them to your callbacks.

    It may be kept for as long as you like: once the connection is over, what you ask of it is
    quietly not done.

    Attributes:
        data: Whatever you want to keep with the connection; `None` until set (R15).
        dropped: Messages that were not queued, because this client did not read (R20).
    """

    def __cinit__(self):
        global alive
        alive += 1
        self.descriptor = -1
        self.close_code = ABNORMAL
        self.close_reason = ""

    def __init__(self):
        raise TypeError("connections are made by the server, for each client that connects")

    def __dealloc__(self):
        global alive
        alive -= 1
        # The table of the agenda holds a reference as long as there is a descriptor: it is closed.
        queue_free(&self.queue)
        PyMem_Free(self.input)

    def __repr__(self):
        return f"<dorrit connection {STATE_NAMES[self.state]} at {<size_t><void *>self:#x}>"

    @property
    def is_open(self) -> bool:
        """Whether messages can still be queued for this client."""
        return self.state == OPEN

    @property
    def pending(self) -> int:
        """Frames of messages that have not been written yet, 0 to 200."""
        return self.queue.counted

    @property
    def pending_bytes(self) -> int:
        """Bytes that have not been written yet, frame headers and control frames included."""
        return self.queue.bytes

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Closes the connection after what is queued has been written (RFC 6455 section 7.1.2).

        From now on no message of this client is delivered, and none is queued for it. Does nothing
        if the connection is closing or closed already.

        Args:
            code: The close code, one that RFC 6455 section 7.4 lets an endpoint send.
            reason: For the client; cut to 123 bytes of UTF-8.

        Raises:
            ValueError: The code must not be sent.
        """
        if not (0 <= code <= 0xFFFF and dorrit_close_code_is_valid(<uint16_t>code)):
            raise ValueError(
                f"close code {code} must not be sent: 1000 to 1003, 1007 to 1014 and 3000 to 4999 may")
        if self.state == OPEN:
            self.close_code = <uint16_t>code
            self.close_reason = reason
            self.put_close(close_payload(<uint16_t>code, reason))

    def abort(self) -> None:
        """Closes the connection at once; what is queued is not written."""
        if self.state != LINGERING:
            self.lose()

    # What goes out. Only put() and its like add to the queue, only flush() takes from it.

    cdef int put(self, Frame *frame) except -1:
        """Queues a frame behind the others, whatever the limit says. Takes over the caller's
        reference, also when it fails; NULL is for a frame that could not be made."""
        if frame == NULL:
            raise MemoryError
        if queue_reserve(&self.queue, 1) < 0:
            frame_release(frame)
            raise MemoryError
        queue_append(&self.queue, frame)
        frame_release(frame)
        self.to_be_flushed()
        return 0

    cdef void to_be_flushed(self) noexcept:
        # While the kernel's buffer is full, the poller says when there is something to do.
        if not self.is_dirty and not self.watched_for_writing:
            self.is_dirty = True
            self.agenda.add_dirty(self)

    cdef int put_message(self, Message *message) except? -1:
        """Queues a message for a connection that is OPEN.

        R20: "No connection's queue ever grows beyond 200 frames. A message whose frames do not all
        fit is not queued for that connection at all (never half a message)". Returns 0, or -1
        without an exception when memory ran out.
        """
        cdef unsigned int index
        if self.queue.counted + message.count > QUEUE_FRAMES_MAX:
            self.dropped += 1
            if not self.refusing:
                self.refusing = True
                self.agenda.reports.queue_is_full(self)
            return 0
        if queue_reserve(&self.queue, message.made) < 0:
            return -1
        for index in range(message.made):
            queue_append(&self.queue, message.frames[index])
        self.to_be_flushed()
        return 0

    cdef int put_pong(self, bytes payload) except -1:
        """R4: "Pings are answered with pongs carrying the same payload".

        A pong goes before the messages that wait, behind a frame that has been begun, so it can't
        be lost because the queue is full. RFC 6455 section 5.5.3: "If an endpoint receives a Ping
        frame and has not yet sent Pong frame(s) in response to previous Ping frame(s), the endpoint
        MAY elect to send a Pong frame for only the most recently processed Ping frame." That is
        done from the 17th on, so that a flood of pings does not make a queue of pongs.
        """
        cdef unsigned int position
        cdef Frame *pong
        if self.state != OPEN:
            return 0
        position = self.pongs + (1 if self.queue.written > 0 else 0)
        # The response to the handshake may stand first and not have been begun.
        if self.queue.length > 0 and self.queue.written == 0 and frame_is_raw(
                queue_at(&self.queue, 0)):
            position += 1
        pong = frame_whole(DORRIT_OPCODE_PONG, payload)
        if pong == NULL:
            raise MemoryError
        if self.pongs == PONGS_MAX:
            queue_replace(&self.queue, position - 1, pong)
        elif queue_reserve(&self.queue, 1) < 0:
            frame_release(pong)
            raise MemoryError
        else:
            queue_insert(&self.queue, position, pong)
            self.pongs += 1
        frame_release(pong)
        self.to_be_flushed()
        return 0

    cdef int put_close(self, bytes payload) except -1:
        """OPEN → CLOSING: the close frame goes behind what is queued."""
        self.state = CLOSING
        self.deadline = self.agenda.deadline_in(self.agenda.close_timeout)
        self.put(frame_whole(DORRIT_OPCODE_CLOSE, payload))
        return 0

    cdef int answer_close(self, bytes payload, uint16_t code, str reason) except -1:
        """The client's close frame has come. RFC 6455 section 5.5.1: "If an endpoint receives a
        Close frame and did not previously send a Close frame, the endpoint MUST send a Close frame
        in response." What was queued before goes out first."""
        self.close_code = code
        self.close_reason = reason
        self.close_received = True
        if self.state == OPEN:
            self.put_close(payload)
        elif self.queue.length == 0:
            self.finish()
        return 0

    cdef int accept(self) except -1:
        """The open callback said yes."""
        self.accepted = True
        if self.over:
            self.agenda.add_ended(self)
        return 0

    cdef void end(self) noexcept:
        """From here on the user hears nothing of it but the close callback, once, at the end of the
        turn (R11)."""
        if not self.over:
            self.over = True
            if self.accepted:
                self.agenda.add_ended(self)

    cdef int fail(self, uint16_t code, str reason, bint framed) except -1:
        """RFC 6455 section 7.1.7, "Fail the WebSocket Connection": a close frame with the reason at
        once, instead of what is queued; no message is taken from the client any more.

        If it still is known where the client's frames begin (`framed`), its close frame is waited
        for. A web server takes our end for the end of both directions: it would cut off a client
        that still sends, which then may not have read our close frame.
        """
        if self.state != OPEN and self.state != CLOSING:
            return 0
        self.following = framed
        if self.state == OPEN:
            self.close_code = code
            self.close_reason = reason
        elif self.queue.length == 0 or (self.queue.length == 1 and self.queue.written > 0):
            # Our close frame has gone, or has begun to. Nothing may follow it: section 5.5.1.
            self.linger(NULL)
            return 0
        self.drop_queue(True)
        self.linger(made(frame_whole(DORRIT_OPCODE_CLOSE, close_payload(code, reason))))
        return 0

    cdef int part(self) except -1:
        """The close frame of a client that was dropped has come, or can't be waited for."""
        self.following = False
        if self.queue.length == 0:
            self.finish()
        return 0

    cdef int refuse(self, bytes response) except -1:
        """No WebSocket: an HTTP answer instead, then the end."""
        if self.state == CLOSED or self.state == LINGERING:
            return 0
        self.drop_queue(False)
        self.linger(made(frame_raw(response)))
        return 0

    cdef void drop_queue(self, bint upgraded) noexcept:
        """Drops what has not been begun; not the 101 of a connection that is `upgraded`, without
        which a close frame would be no answer to the request."""
        cdef unsigned int kept = 1 if self.queue.written > 0 else 0
        if upgraded and self.queue.length > 0 and frame_is_raw(queue_at(&self.queue, 0)):
            kept = 1
        queue_keep_first(&self.queue, kept)
        self.pongs = 0

    cdef int linger(self, Frame *last) except -1:
        """→ LINGERING. A socket that is closed with unread input resets its peer, which may then
        lose what we wrote last. So writing is shut down once `last` has gone, and input is thrown
        away for a bounded time."""
        self.free_input()
        if self.state != LINGERING:
            self.agenda.lingering += 1
        self.state = LINGERING
        self.deadline = self.agenda.deadline_in(self.agenda.linger_timeout)
        self.end()
        if last != NULL:
            self.put(last)
        else:
            self.shut_down()
        return 0

    cdef void shut_down(self) noexcept:
        """Ends what we write, once all of it has been written and the client need not say more."""
        if self.queue.length == 0 and not self.following:
            if dorrit_shutdown_writing(self.descriptor) < 0:
                self.lose()

    cdef int finish(self) except -1:
        """Both close frames have gone their way. RFC 6455 section 7.1.1: the server closes first.

        After its close frame a client sends nothing, as a rule; then the descriptor can be closed at
        once."""
        cdef uint8_t unread[512]
        if recv(self.descriptor, unread, sizeof(unread), MSG_DONTWAIT) > 0:
            self.linger(NULL)
        else:
            self.lose()
        return 0

    cdef void lose(self) noexcept:
        """→ CLOSED, from any state: the descriptor is closed, all memory is given back."""
        cdef int descriptor = self.descriptor
        if descriptor < 0:
            return
        self.end()
        if self.state == LINGERING:
            self.agenda.lingering -= 1
        self.state = CLOSED
        self.descriptor = -1
        self.deadline = 0
        self.watched_for_writing = False
        self.pongs = 0
        queue_free(&self.queue)
        self.free_input()
        self.agenda.leave(descriptor)

    cdef int flush(self) except -1:
        """One write event: at most one buffer's worth of the queue goes to the kernel (R18).

        Small frames are copied together, large payloads are gathered from where they are.
        """
        cdef Agenda agenda = self.agenda
        cdef iovec vectors[VECTORS_MAX]
        cdef int count = 0
        cdef uint8_t *end = agenda.output       # of what was copied
        cdef uint8_t *vector_end = NULL         # of the last vector, if it lies in agenda.output
        cdef size_t total = 0
        cdef size_t skip = self.queue.written   # of the first frame
        cdef size_t header_rest, payload_rest
        cdef unsigned int index
        cdef ssize_t sent
        cdef Frame *frame

        if self.descriptor < 0 or self.queue.length == 0:
            return 0
        for index in range(self.queue.length):
            frame = queue_at(&self.queue, index)
            if skip < frame.header_length:
                header_rest = frame.header_length - skip
                payload_rest = frame.payload_length
            else:
                header_rest = 0
                payload_rest = frame.payload_length - (skip - frame.header_length)
            skip = 0
            if index > 0 and total + header_rest + payload_rest > agenda.buffer_size:
                break
            if count + 2 > VECTORS_MAX:
                break
            total += header_rest + payload_rest
            if header_rest > 0 or payload_rest <= COPIED_MAX:
                if vector_end != end:
                    vectors[count].iov_base = end
                    vectors[count].iov_len = 0
                    count += 1
                memcpy(end, frame.header + (frame.header_length - header_rest), header_rest)
                end += header_rest
                vectors[count - 1].iov_len += header_rest
                if payload_rest <= COPIED_MAX:
                    memcpy(end, frame.payload + (frame.payload_length - payload_rest), payload_rest)
                    end += payload_rest
                    vectors[count - 1].iov_len += payload_rest
                    payload_rest = 0
                vector_end = end
            if payload_rest > 0:
                vectors[count].iov_base = <void *>(
                    frame.payload + (frame.payload_length - payload_rest))
                vectors[count].iov_len = payload_rest
                count += 1
                vector_end = NULL

        sent = dorrit_send(self.descriptor, vectors, count)
        if sent < 0:
            if errno != EAGAIN and errno != EINTR:
                self.lose()
                return 0
            sent = 0
        self.take_written(<size_t>sent)
        if self.queue.length > 0:
            if sent > 0 and self.state == CLOSING:
                self.deadline = agenda.deadline_in(agenda.close_timeout)  # it does read
            self.watch_writing(True)
            return 0
        self.watch_writing(False)
        self.refusing = False
        if self.state == CLOSING and self.close_received:
            self.finish()
        elif self.state == LINGERING:
            self.shut_down()
        return 0

    cdef void take_written(self, size_t sent) noexcept:
        """Takes `sent` bytes off the front of the queue."""
        cdef Frame *frame
        cdef size_t rest
        while sent > 0:
            frame = queue_at(&self.queue, 0)
            rest = frame_size(frame) - self.queue.written
            if self.queue.written == 0 and self.pongs > 0 and frame_is_pong(frame):
                self.pongs -= 1
            if sent < rest:
                self.queue.written += <uint32_t>sent
                self.queue.bytes -= <uint32_t>sent
                return
            sent -= rest
            queue_drop_first(&self.queue)

    cdef int watch_writing(self, bint writing) except -1:
        if self.watched_for_writing != writing:
            if dorrit_poller_modify(self.agenda.poller, self.descriptor, True, writing) < 0:
                self.lose()
            else:
                self.watched_for_writing = writing
        return 0

    # What has come in and is incomplete. One buffer, never a list of pieces.

    cdef int take_in(self, uint8_t *data, size_t length, size_t capacity) except -1:
        """Puts `length` bytes behind those there are; the buffer has `capacity` bytes from now on."""
        cdef uint8_t *grown = <uint8_t *>PyMem_Realloc(self.input, capacity)
        if grown == NULL:
            raise MemoryError
        self.input = grown
        self.input_capacity = <uint32_t>capacity
        if length > 0:
            memcpy(grown + self.input_length, data, length)
            self.input_length += <uint32_t>length
        return 0

    cdef void free_input(self) noexcept:
        PyMem_Free(self.input)
        self.input = NULL
        self.input_length = 0
        self.input_capacity = 0
        self.input_mark = 0


STATE_NAMES = {
    CLOSED: "closed", HANDSHAKING: "handshaking", OPEN: "open", CLOSING: "closing",
    LINGERING: "lingering",
}


cdef Frame *made(Frame *frame) except NULL:
    if frame == NULL:
        raise MemoryError
    return frame
