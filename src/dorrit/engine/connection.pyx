# cython: language_level=3, freethreading_compatible=False
"""Connection: one client, from its request to its end.

What leads from one state to the next; nothing else changes `state`:

    HANDSHAKING --begin--> OPEN            the request is valid; the open callback runs
    HANDSHAKING, OPEN --refuse--> LINGERING   an HTTP error is the answer
    OPEN --put_close, answer_close--> CLOSING
    OPEN, CLOSING --fail--> LINGERING      a close frame with the reason, then nothing more
    CLOSING --finish--> LINGERING, CLOSED  both close frames have gone their way
    any --lose--> CLOSED                   no descriptor any more

While an open callback takes its time (`hold`, `release`), the connection is OPEN and nothing is
written, so that the response comes first. While the user has enough to do with the messages there
are (`pause`, `resume`), nothing is read, and what was read already is kept. When the client takes
nothing any more (`peer_has_gone`), nothing is written, and what it sent before is read to its end.

A connection is never taken apart within its own callback: the loop holds a reference while it works
on it, and what a closed connection is asked to do, it does not do. So a handle may be kept for ever.
"""

cimport cython
from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.unicode cimport PyUnicode_AsUTF8String
from libc.stddef cimport size_t
from libc.stdint cimport UINT32_MAX, int64_t
from libc.string cimport memcpy

from dorrit.engine.agenda cimport (
    LINGERING_MAX,
    QUEUE_FRAMES_MAX,
    Agenda,
    check_thread,
    fragment_size,
    hundredths,
    is_over_budget,
    quarters,
)
from dorrit.engine.budget cimport uncount_request
from dorrit.engine.frame cimport (
    DORRIT_OPCODE_BINARY,
    DORRIT_OPCODE_CLOSE,
    DORRIT_OPCODE_TEXT,
    Frame,
    dorrit_opcode,
    frame_is_raw,
    frame_raw,
    frame_release,
    frame_whole,
    made,
)
from dorrit.engine.framing cimport close_payload, message_compress, payload_of
from dorrit.engine.limits cimport SLOW_CLIENTS_CLOSE
from dorrit.engine.queue cimport (
    queue_append,
    queue_at,
    queue_free,
    queue_keep_first,
    queue_reserve,
)
from dorrit.engine.sending cimport frame_and_put, may_send, put_payload

from dorrit.engine.peer import Peer


cdef extern from "<sys/socket.h>" nogil:
    ssize_t recv(int descriptor, void *buffer, size_t length, int flags)
    int MSG_DONTWAIT

cdef extern from "sockets.h" nogil:
    int dorrit_shutdown_writing(int descriptor)
    int dorrit_peer_credentials(int descriptor, int64_t *pid, int64_t *uid, int64_t *gid)

cdef extern from "poller.h" nogil:
    int dorrit_poller_modify(int poller, int descriptor, bint reading, bint writing)

cdef extern from "frame.h" nogil:
    bint dorrit_close_code_is_valid(uint16_t code)

cdef enum:
    # RFC 6455 section 7.4.1: "1006 is a reserved value … designated for use in applications
    # expecting a status code to indicate that the connection was closed abnormally".
    ABNORMAL = 1006
    # "1008 indicates that an endpoint is terminating the connection because it has received a
    # message that violates its policy." It does not take what it is sent.
    POLICY_VIOLATION = 1008


cdef Py_ssize_t alive = 0


def connections_alive() -> int:
    """The number of Connection objects in this process, closed ones that somebody holds included
    (for tests and statistics)."""
    return alive


def client_of(Connection connection not None) -> dict:
    """What the log says about whose connection this is: its number, the client's address, if the
    server trusts a header that has it, and the path that was asked for, without its query."""
    about = connection.about
    if about is None:
        return {"client": connection.number}
    if isinstance(about, str):
        return {"client": connection.number, "path": about}
    address, path = about
    return {"client": connection.number, "address": address, "path": path}


def seconds_open(Connection connection not None) -> float:
    """How long ago a connection was accepted, if the engine reports its end."""
    return <uint32_t>(hundredths() - connection.opened) / 100


def was_closed_here(Connection connection not None) -> bool:
    """Whether the user has closed a connection, by `close` or `abort`."""
    return connection.closed_here


@cython.final
cdef class Connection:
    """One client's connection. The server makes these and hands them to your callbacks.

    It may be kept for as long as you like: once the connection is over, what you ask of it is
    quietly not done.

    Attributes:
        data: Whatever you want to keep with the connection; `None` until set.
        dropped: Messages that were not queued, because this client did not read.
        number: Which client of this server it is, from 1; the log names clients by it.
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

    def __repr__(self) -> str:
        return f"<dorrit connection {self.number}, {STATE_NAMES[self.state]}>"

    @property
    def is_open(self) -> bool:
        """Whether messages can still be queued for this client."""
        return may_send(self)

    @property
    def pending(self) -> int:
        """Frames of messages that have not been written yet, 0 to 200."""
        return self.queue.counted

    @property
    def pending_bytes(self) -> int:
        """Bytes that have not been written yet, frame headers and control frames included."""
        return self.queue.bytes

    @property
    def request(self):
        """The client's `Request`: in the open callback and, if the server keeps requests, later.
        RuntimeError: it has been let go."""
        if self.kept_request is None:
            raise RuntimeError(
                "the request was let go when the open callback returned: keep there what you need "
                "of it (conn.data = conn.request), or set keep_requests")
        return self.kept_request

    @property
    def peer(self):
        """Who has connected to the socket, as the kernel says: the web server. A `Peer`, or `None`
        once the connection is closed."""
        cdef int64_t pid = -1, uid = -1, gid = -1
        if self.descriptor < 0 or dorrit_peer_credentials(self.descriptor, &pid, &uid, &gid) < 0:
            return None
        # 0: a process of a namespace that ours can't see.
        return Peer(pid if pid > 0 else None, uid, gid)

    def send(self, message) -> bool:
        """Queues a message for this client; it is written at the end of the loop's turn.

        Args:
            message: `str` for a text; `bytes` or another object with bytes in it, which may be
                changed afterwards, for a binary message.

        Returns:
            Whether it is queued. If not, the connection is over, or its queue has no room for all of
            the message, because the client does not read; see `dropped`.

        Raises:
            TypeError: `message` is of another type.
            ValueError: No queue ever has room for it, or a text can't be encoded.
        """
        cdef dorrit_opcode opcode = DORRIT_OPCODE_BINARY
        cdef bytes payload
        cdef int outcome
        if type(message) is str:
            opcode = DORRIT_OPCODE_TEXT
            payload = PyUnicode_AsUTF8String(message)
        elif type(message) is bytes:
            payload = <bytes>message
        else:
            if isinstance(message, str):
                opcode = DORRIT_OPCODE_TEXT
            payload = payload_of(opcode == DORRIT_OPCODE_BINARY, message)
        if not may_send(self):
            return False
        outcome = put_payload(self, opcode, payload)
        if outcome < 0:
            raise MemoryError
        if outcome == NEVER_FITS:
            raise ValueError(
                f"a message of {len(payload)} bytes is larger than what may wait for one client")
        return outcome == QUEUED

    def drain(self):
        """Waits for room in the queue: `await conn.drain()`, in an `async` handler. Returns at once if
        at most half of what may wait does; otherwise when the kernel has all of it, or it is over.

        Raises:
            RuntimeError: The server has no event loop of asyncio, or its open handler waits for itself.
        """
        if self.agenda is None or self.agenda.drain is None:    # no agenda: the server has not made it
            raise RuntimeError("drain() is for servers with async handlers, and dorrit.listen()")
        return self.agenda.drain(self)

    def close(self, code=1000, reason: str = "") -> None:     # Cython takes a float for an int
        """Closes the connection after what is queued has been written (RFC 6455 section 7.1.2).

        No message of this client is delivered any more, none is queued. Does nothing if it is over.

        Args:
            code: The close code, one that RFC 6455 section 7.4 lets an endpoint send.
            reason: For the client; cut to 123 bytes of UTF-8.

        Raises:
            TypeError, ValueError: The code is no int, the reason no str; the code must not be sent.
        """
        if not isinstance(code, int):
            raise TypeError(f"a close code is an int, not {type(code).__name__}")
        if not (0 <= code <= 0xFFFF and dorrit_close_code_is_valid(<uint16_t>code)):
            raise ValueError(
                f"close code {code} must not be sent: 1000 to 1003, 1007 to 1014 and 3000 to 4999 may")
        if self.state != CLOSED:
            check_thread(self.agenda)
        self.closed_here = True
        if self.state == OPEN:
            self.close_code = <uint16_t>code
            self.close_reason = reason
            self.put_close(close_payload(<uint16_t>code, reason))

    def abort(self) -> None:
        """Closes the connection at once; what is queued is not written."""
        if self.state != CLOSED:
            check_thread(self.agenda)
        self.closed_here = True
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
        if not self.is_dirty and not self.watched_for_writing and not self.held:
            self.is_dirty = True
            self.agenda.add_dirty(self)

    cdef int put_compressed(self, dorrit_opcode opcode, bytes payload) except? -1:
        cdef int outcome
        cdef size_t length = <size_t>PyBytes_GET_SIZE(payload)
        cdef size_t most = length + (length >> 3) + 64
        cdef size_t count = most // fragment_size(self.agenda, most) + 1
        cdef bint compressed = False
        if not self.deflate.keeps_state:
            payload = message_compress(self.deflate, payload, &compressed)
        elif self.has_place(count, most + count * 10):
            payload = self.deflate.deflate(payload)
            compressed = True
        # Otherwise it is refused below, uncompressed: a compressor that keeps state must not see
        # what the client will not.
        outcome = frame_and_put(self, opcode, payload, compressed)
        if outcome != QUEUED and compressed and may_send(self) and self.deflate.keeps_state:
            self.lose()     # memory ran out, and the client could not follow from here on
        return outcome

    cdef bint has_place(self, size_t count, size_t size) except -1:
        """Whether a message of so many frames and bytes would be queued now.

        What waits may only be waiting for the end of the turn, and then the client is not to blame:
        it is written first, as far as the kernel takes it. A callback, or many of them in one turn,
        may send any number of messages to a client that reads.
        """
        while self.queue.counted + count > QUEUE_FRAMES_MAX or (
                0 < self.agenda.limits.max_pending_bytes < self.queue.bytes + size):
            if self.kernel_is_full or self.held or self.queue.length == 0:
                return False
            self.agenda.write_now(self)
            if not may_send(self):
                return False
        return True

    cdef int refuse_message(self) except -1:
        """R20: "the refusal is counted, logged once for each spell"."""
        self.dropped += self.dropped < UINT32_MAX
        if self.agenda.limits.slow_clients == SLOW_CLIENTS_CLOSE:
            # "The object API lets the server choose instead to close such a connection (1008)."
            self.agenda.reports.slow_client_closed(self)
            self.fail(POLICY_VIOLATION, "the client does not read", True)
        elif not self.refusing:
            self.refusing = True
            self.agenda.reports.queue_is_full(self)
        return 0

    cdef int pass_over(self, size_t size, bint reported) except -1:
        """A message is too large for any queue: that says nothing about this client."""
        self.dropped += self.dropped < UINT32_MAX
        if reported:
            self.agenda.reports.never_fits(size)
        return 0

    cdef int put_close(self, bytes payload) except -1:
        """OPEN → CLOSING: the close frame goes behind what is queued."""
        self.state = CLOSING
        self.drop_assembly()
        self.deadline = self.agenda.deadline_in(self.agenda.limits.close_timeout)
        self.resume()   # the client's close frame is to be read; messages are not delivered any more
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
        if self.accepted:
            return 0    # by an answer within that callback
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
        self.following = framed and not self.close_received
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

    cdef int drop(self, uint16_t code, str reason, bint framed) except -1:
        """The client has broken a rule (R5). This is `fail`, but what answers its earlier messages
        goes out first, unless it does not read: whether it gets these answers must not depend on
        how its bytes were cut into reads."""
        if self.state != OPEN or self.watched_for_writing or self.held:
            return self.fail(code, reason, framed)
        self.following = framed
        self.close_code = code
        self.close_reason = reason
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
        self.drop_assembly()
        # Where frames are still followed, what was read before is a part of them.
        if not (self.stashed and self.following):
            self.free_input()
        self.resume()
        self.held = False
        self.leave_handshake()
        self.state = LINGERING
        self.agenda.lingerers[self.descriptor] = None
        if len(self.agenda.lingerers) > LINGERING_MAX:
            self.agenda.cut_oldest_lingerer()
        self.deadline = self.agenda.deadline_in(self.agenda.limits.linger_timeout)
        self.end()
        if last != NULL:
            self.put(last)
        else:
            self.shut_down()
        return 0

    cdef void leave_handshake(self) noexcept:
        if self.state == HANDSHAKING:
            self.agenda.handshaking.pop(self.descriptor, None)

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

    cdef int peer_has_gone(self) except -1:
        """The client takes nothing any more. What it sent before it went is there to be read all the
        same (R6): messages, and a close frame, whose code the close callback is to hear."""
        if (self.state != OPEN and self.state != CLOSING) or self.close_received:
            self.lose()
            return 0
        self.gone = True
        self.pongs = 0
        queue_free(&self.queue)
        return self.watch_writing(False)

    cdef void lose(self) noexcept:
        """→ CLOSED, from any state: the descriptor is closed, all memory is given back."""
        self.leave(False)

    cdef void leave(self, bint is_taken) noexcept:
        """→ CLOSED. `is_taken`: the descriptor's number is somebody else's already."""
        cdef int descriptor = self.descriptor
        if descriptor < 0:
            return
        if self.asked:
            self.agenda.departed += 1
        uncount_request(self)
        self.end()
        self.leave_handshake()
        if self.state == LINGERING:
            self.agenda.lingerers.pop(descriptor, None)
        self.state = CLOSED
        self.descriptor = -1
        self.deadline = 0
        self.watched_for_writing = False
        self.paused = False
        self.held = False
        self.following = False
        self.pongs = 0
        self.deflate = None
        self.drop_assembly()
        queue_free(&self.queue)
        self.free_input()
        self.agenda.leave(descriptor, is_taken)

    cdef int watch_writing(self, bint writing) except -1:
        if self.watched_for_writing != writing:
            if dorrit_poller_modify(
                    self.agenda.poller, self.descriptor, not self.paused, writing) < 0:
                self.lose()
            else:
                self.watched_for_writing = writing
        return 0

    # When the user needs time

    cdef int pause(self) except -1:
        """Reads nothing more from an OPEN connection; what the client sends waits in the kernel."""
        if self.state != OPEN or self.paused:
            return 0
        self.paused = True
        if dorrit_poller_modify(self.agenda.poller, self.descriptor, False,
                                self.watched_for_writing) < 0:
            self.lose()
        return 0

    cdef int resume(self) except -1:
        """Reads again, first what had been read already: in the next turn, or in this one."""
        if not self.paused:
            return 0
        self.paused = False
        if self.agenda.limits.ping_interval > 0:
            self.heard = quarters()     # it was not heard because nobody listened
        if dorrit_poller_modify(self.agenda.poller, self.descriptor, True,
                                self.watched_for_writing) < 0:
            self.lose()
        elif self.stashed:
            self.to_be_resumed()
        return 0

    cdef int stash(self, uint8_t *data, size_t length) except -1:
        """Keeps what has been read but is not to be handled now. It is handled before anything else is
        read: in the next turn, or when reading is resumed."""
        self.take_in(data, length, length)
        self.stashed = True
        self.agenda.assembled += self.input_capacity
        if not self.paused:
            self.to_be_resumed()
        if is_over_budget(self.agenda):
            self.agenda.make_room()
        return 0

    cdef void to_be_resumed(self) noexcept:
        if not self.is_resumed:
            self.is_resumed = True
            self.agenda.add_resumed(self)

    cdef int hold(self) except -1:
        """The open callback takes its time: nothing is read or written until `release`."""
        self.held = True
        return self.pause()

    cdef int release(self) except -1:
        self.resume()
        self.let_write()
        return 0

    cdef void let_write(self) noexcept:
        self.held = False
        if self.queue.length > 0:
            self.to_be_flushed()

    # What has come in and is incomplete. One buffer, never a list of pieces.

    cdef void drop_assembly(self) noexcept:
        """Nobody wants the message that is under way; what is still to come of its frame is skipped."""
        if self.assembly is not None:
            self.skipping = self.assembly.frame_rest
            self.assembly = None

    cdef int take_in(self, uint8_t *data, size_t length, size_t capacity) except -1:
        """Puts `length` bytes behind those there are; the buffer has `capacity` bytes from now on."""
        cdef uint8_t *grown
        if capacity > UINT32_MAX or length > capacity or self.input_length > capacity - length:
            raise OverflowError("what has come does not fit the buffer that is made for it")
        grown = <uint8_t *>PyMem_Realloc(self.input, capacity)
        if grown == NULL:
            raise MemoryError
        self.input = grown
        self.input_capacity = <uint32_t>capacity
        if length > 0:
            memcpy(grown + self.input_length, data, length)
            self.input_length += <uint32_t>length
        return 0

    cdef void free_input(self) noexcept:
        if self.stashed:
            self.agenda.assembled -= self.input_capacity
        PyMem_Free(self.input)
        self.input = NULL
        self.input_length = 0
        self.input_capacity = 0
        self.input_searched = 0
        self.stashed = False


STATE_NAMES = {CLOSED: "closed", HANDSHAKING: "handshaking", OPEN: "open", CLOSING: "closing",
               LINGERING: "lingering"}
