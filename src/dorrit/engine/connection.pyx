# cython: language_level=3, freethreading_compatible=False
"""Connection: what a user sees of one client.

A handle may be kept for ever: what a closed connection is asked to do, it does not do.
"""

cimport cython
from cpython.buffer cimport PyObject_CheckBuffer
from cpython.bytes cimport PyBytes_FromObject
from cpython.mem cimport PyMem_Free
from cpython.unicode cimport PyUnicode_AsUTF8String
from libc.stdint cimport uint16_t, uint32_t

from dorrit.engine.accept cimport peer_of
from dorrit.engine.c.connection cimport (
    DORRIT_ACCEPTED,
    DORRIT_CLOSED,
    DORRIT_LINGERING,
    dorrit_life,
)
from dorrit.engine.c.frame cimport (
    DORRIT_OPCODE_BINARY,
    DORRIT_OPCODE_TEXT,
    dorrit_close_code_is_valid,
    dorrit_opcode,
)
from dorrit.engine.c.life cimport dorrit_life_name
from dorrit.engine.clock cimport hundredths
from dorrit.engine.life cimport close_in_order, close_socket
from dorrit.engine.message cimport payload_of
from dorrit.engine.publish cimport subscribe, unsubscribe
from dorrit.engine.queue cimport queue_free
from dorrit.engine.record cimport commit, record_change
from dorrit.engine.send cimport NEVER_FITS, QUEUED, check_thread, may_send, put_payload
from dorrit.engine.topics cimport names_of, set_of, topic_from
from dorrit.engine.work cimport to_be_recorded


cdef enum:
    # RFC 6455 section 7.4.1: "1006 is a reserved value … designated for use in applications
    # expecting a status code to indicate that the connection was closed abnormally".
    ABNORMAL = 1006


cdef Py_ssize_t alive = 0


def connections_alive() -> int:
    """The number of `Connection` objects in this process, closed ones that are held included."""
    return alive


def client_of(Connection connection not None) -> dict:
    """Return what the log says about whose connection this is, without secrets.

    Its number, the client's address, if the server trusts a header that has it, and the path that
    was asked for, without its query.
    """
    about = connection.about
    if about is None:
        return {"client": connection.state.number}
    if isinstance(about, str):
        return {"client": connection.state.number, "path": about}
    address, path = about
    return {"client": connection.state.number, "address": address, "path": path}


def seconds_open(Connection connection not None) -> float:
    """Return how long ago a connection was accepted, which it must have been."""
    return <uint32_t>(hundredths() - connection.state.opened) / 100


@cython.final
cdef class Connection:
    """One client's connection. The server makes these and hands them to your handlers.

    It may be kept for as long as you like: once the connection is over, what you ask of it is
    quietly not done.

    Attributes:
        data: Whatever you want to keep with the connection; None until set.
    """

    def __cinit__(self):
        global alive
        alive += 1
        self.state.descriptor = -1
        self.state.close_code = ABNORMAL
        self.close_reason = ""

    def __init__(self):
        raise TypeError("connections are made by the server, for each client that connects")

    def __dealloc__(self):
        global alive
        alive -= 1
        # The engine's table holds a reference as long as there is a descriptor: it is closed.
        queue_free(&self.state.queue)
        PyMem_Free(self.state.input)

    @property
    def number(self) -> int:
        """Which client of this server it is, from 1; the log names clients by it."""
        return self.state.number

    @property
    def dropped(self) -> int:
        """Messages that were left out, because this client did not read.

        Also those that were too many to wait until `Server.on_subscribed` had returned for it.
        """
        return self.state.dropped

    def __repr__(self) -> str:
        return f"<dorrit connection {self.state.number}, {dorrit_life_name(<dorrit_life>self.state.life).decode()}>"

    @property
    def is_open(self) -> bool:
        """Whether messages can still be queued for this client."""
        return may_send(self)

    @property
    def pending(self) -> int:
        """Frames of messages that have not been written yet, 0 to 200."""
        return self.state.queue.counted

    @property
    def pending_bytes(self) -> int:
        """Bytes that have not been written yet, frame headers and control frames included."""
        return self.state.queue.bytes

    @property
    def age(self) -> float:
        """Seconds since the open handler has accepted the client; 0.0 until then."""
        return seconds_open(self) if self.state.admission == DORRIT_ACCEPTED else 0.0

    @property
    def request(self):
        """The client's request: in the open handler and, if the server keeps requests, later.

        Raises:
            RuntimeError: It has been let go. Keep what you need of it: `conn.data = conn.request`,
                or use the setting `keep_requests`.
        """
        if self.kept_request is None:
            raise RuntimeError(
                "the request was let go when the open handler returned: keep there what you need "
                "of it (conn.data = conn.request), or set keep_requests")
        return self.kept_request

    @property
    def peer(self):
        """Who has connected to the socket, as the kernel says: the web server.

        None once the connection is closed.
        """
        return peer_of(self)

    def send(self, message) -> bool:
        """Queue a message for this client; it is written later in the loop's turn.

        Args:
            message: `str` for a text, `bytes` or another object with bytes in it, which may be
                changed afterwards, for a binary message. It may be empty.

        Returns:
            Whether it is queued. If not, the connection is closed or closing, or its queue has no
            room for all of the message, because the client does not read; see `dropped`.

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
        commit(self)
        if outcome < 0:
            raise MemoryError
        if outcome == NEVER_FITS:
            raise ValueError(
                f"a message of {len(payload)} bytes is larger than what may wait for one client")
        return outcome == QUEUED

    def subscribe(self, topic) -> bool:
        """Have this client get what is published to a topic, see `Server.publish`.

        It does so at once or, if the server has a handler `on_subscribed`, when that has returned.
        A reload or a crash of the server does not end it; the end of the connection does.

        Args:
            topic: Any text that takes 1 to 255 bytes in UTF-8, without control characters. What
                clients send may be none: look at it, or expect the ValueError.

        Returns:
            Whether it is subscribed, which it may have been before. It is not if the connection is
            closed or closing, or has as many topics as the setting `max_topics` allows.

        Raises:
            TypeError: `topic` is not a str.
            ValueError: It can't be a topic.
        """
        return subscribe(self, topic)

    def subscribed(self, topic):
        """Wait until a subscription stands: `await conn.subscribed(topic)`, in an `async` handler.

        What is published from there on reaches this client. It does not wait for the handler of
        `Server.on_subscribed`, which is for what the client is to be told before that.

        Args:
            topic: What was given to `subscribe`.

        Returns:
            A `Recovered`; None if it is not subscribed, or the connection is closed or closing.

        Raises:
            TypeError: `topic` is not a str.
            ValueError: It can't be a topic.
            RuntimeError: The server has no event loop of asyncio.
        """
        topic = topic_from(topic)
        if self.engine is None or self.engine.subscribed is None:
            raise RuntimeError(
                "subscribed() is for servers with async handlers, and dorrit.listen(): see on_subscribed; whether "
                "it is subscribed says `topic in conn.topics`")
        return self.engine.subscribed(self, topic)

    def unsubscribe(self, topic) -> None:
        """Have this client get no more of a topic. What is queued for it still goes.

        Raises:
            TypeError: `topic` is not a str.
            ValueError: It can't be a topic.
        """
        unsubscribe(self, topic)

    @property
    def topics(self) -> frozenset:
        """The topics that it is subscribed to; once it is closed or closing, those that it was."""
        return set_of(names_of(self))

    def save(self, state) -> None:
        """Keep some bytes for the server's next image: `on_resume` gets them there.

        A server that is reloaded or crashes goes on with its connections, but not with `data` nor
        with anything else of Python. What was kept before is replaced.

        Args:
            state: `bytes` or another object with bytes in it, 65,536 at most; none keeps nothing.

        Raises:
            TypeError: `state` has no bytes in it.
            ValueError: It has more of them.
        """
        cdef bytes kept
        if isinstance(state, str) or not PyObject_CheckBuffer(state):
            raise TypeError(f"what is kept is made of bytes, not {type(state).__name__}")
        kept = PyBytes_FromObject(state)
        if len(kept) > SAVED_MAX:
            raise ValueError(f"{len(kept)} bytes can't be kept: {SAVED_MAX} at most")
        if self.state.life != DORRIT_CLOSED:
            self.kept = kept if kept else None
            record_change(self)

    @property
    def saved(self) -> bytes:
        """What was last given to `save`, in this image or in the one before; b"" if nothing was."""
        return b"" if self.kept is None else self.kept

    def drain(self):
        """Wait until there is room in the queue: `await conn.drain()`, in an `async` handler.

        Returns at once if at most half of what may wait does wait; otherwise when all of it has
        been handed to the kernel, or when the connection is over.

        In an `async` open handler there is nothing to wait for: what that sends is written when it
        has returned. Send what is more from a task that it makes, or when the first message comes.

        Raises:
            RuntimeError: The server has no event loop of asyncio, or this is its open handler.
        """
        if self.engine is None or self.engine.drain is None:    # no engine: the server has not made it
            raise RuntimeError("drain() is for servers with async handlers, and dorrit.listen()")
        return self.engine.drain(self)

    def close(self, code=1000, reason: str = "") -> None:     # Cython takes a float for an int
        """Close the connection after what is queued has been written (RFC 6455 section 7.1.2).

        From now on no message of this client is delivered, and none is queued for it. Does nothing
        if the connection is closing or closed already.

        Args:
            code: The close code, one that RFC 6455 section 7.4 lets an endpoint send.
            reason: For the client; cut to 123 bytes of UTF-8.

        Raises:
            TypeError: The code is not an int, or the reason not a str.
            ValueError: The code must not be sent.
        """
        if not isinstance(code, int):
            raise TypeError(f"a close code is an int, not {type(code).__name__}")
        if not (0 <= code <= 0xFFFF and dorrit_close_code_is_valid(<uint16_t>code)):
            raise ValueError(
                f"close code {code} must not be sent: 1000 to 1003, 1007 to 1014 and 3000 to 4999 may")
        if self.state.life != DORRIT_CLOSED:
            check_thread(self.engine)
        self.state.closed_here = True
        to_be_recorded(self)
        close_in_order(self, <uint16_t>code, reason)

    def abort(self) -> None:
        """Close the connection at once; what is queued is not written, and no close frame sent."""
        if self.state.life != DORRIT_CLOSED:
            check_thread(self.engine)
        self.state.closed_here = True
        to_be_recorded(self)
        if self.state.life != DORRIT_LINGERING:
            close_socket(self)
