# cython: language_level=3, freethreading_compatible=False
"""The worker's end of its channel to a supervisor, which accepts the connections and keeps a copy of each.

So a connection is over only when the supervisor has closed its copy as well, and hears of it here. What
can't be said for want of memory ends the channel: the supervisor then ends this process, and the next
worker goes on with all of its connections.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_SetFromErrno
from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from libc.errno cimport EPIPE, errno
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport uint8_t
from libc.string cimport memset
from posix.unistd cimport close as close_descriptor

from dorrit.engine.c.channel cimport (
    DORRIT_CHANNEL_CONNECTION,
    DORRIT_CHANNEL_ENDED,
    DORRIT_CHANNEL_FAILED,
    DORRIT_CHANNEL_HANDOVER,
    DORRIT_CHANNEL_KNOWN,
    DORRIT_CHANNEL_LEAVING,
    DORRIT_CHANNEL_LEDGER,
    DORRIT_CHANNEL_MESSAGE,
    DORRIT_CHANNEL_NOTHING,
    DORRIT_CHANNEL_READY,
    DORRIT_CHANNEL_REFUSED,
    DORRIT_CHANNEL_STATUS,
    dorrit_channel_close,
    dorrit_channel_message,
    dorrit_channel_next,
    dorrit_channel_open,
    dorrit_channel_put,
    dorrit_channel_receive,
    dorrit_channel_send,
    dorrit_channel_verdict,
)
from dorrit.engine.c.poller cimport dorrit_poller_modify, dorrit_poller_remove

import select

READY = DORRIT_CHANNEL_READY
STATUS = DORRIT_CHANNEL_STATUS
LEAVING = DORRIT_CHANNEL_LEAVING


cdef class Channel:
    """The worker's end of its channel to the supervisor.

    Args:
        descriptor: Of a connected stream socket, which it owns from here on.
    """

    def __cinit__(self, *args):
        dorrit_channel_open(&self.channel, -1, True)
        self.takes_clients = True

    def __init__(self, descriptor: int):
        if self.channel.descriptor >= 0:
            raise RuntimeError("a channel is set up once")
        dorrit_channel_open(&self.channel, descriptor, True)

    def __dealloc__(self):
        dorrit_channel_close(&self.channel)
        PyMem_RawFree(self.numbers)

    @property
    def descriptor(self) -> int:
        """Its descriptor; -1: it is closed."""
        return self.channel.descriptor

    def receive_handover(self, seconds: float) -> tuple:
        """Wait for what the last worker has left, which the supervisor sends first of all.

        Args:
            seconds: For how long at the most.

        Returns:
            A text, the descriptor of a ledger or -1, and for each connection its descriptor and
            whether the last worker had taken it. The caller owns all of these descriptors.

        Raises:
            OSError: It does not come, or something else does.
        """
        cdef dorrit_channel_message message
        cdef dorrit_channel_verdict verdict
        cdef int ledger = -1
        cdef list connections = []
        poll = select.poll()
        poll.register(self.channel.descriptor, select.POLLIN)
        try:
            while True:
                verdict = dorrit_channel_next(&self.channel, &message)
                if verdict == DORRIT_CHANNEL_NOTHING:
                    if not poll.poll(seconds * 1000):
                        raise TimeoutError(
                            f"the supervisor has said nothing for {seconds:g} seconds")
                    verdict = dorrit_channel_receive(&self.channel)
                    if verdict == DORRIT_CHANNEL_MESSAGE or verdict == DORRIT_CHANNEL_NOTHING:
                        continue
                    if verdict == DORRIT_CHANNEL_FAILED:
                        PyErr_SetFromErrno(OSError)
                if verdict != DORRIT_CHANNEL_MESSAGE:
                    raise ConnectionError("the supervisor has ended, or says what it can't mean")
                if message.kind == DORRIT_CHANNEL_LEDGER:
                    if ledger >= 0:
                        close_descriptor(ledger)
                    ledger = message.descriptor
                elif message.kind == DORRIT_CHANNEL_CONNECTION and message.descriptor >= 0:
                    note_number(self, message.descriptor, message.number)
                    connections.append((message.descriptor, message.flags & DORRIT_CHANNEL_KNOWN != 0))
                elif message.kind == DORRIT_CHANNEL_CONNECTION and (
                        not message.flags & DORRIT_CHANNEL_KNOWN):
                    say(self, DORRIT_CHANNEL_REFUSED, message.number)
                elif message.kind == DORRIT_CHANNEL_CONNECTION:
                    raise ConnectionError("there are not enough descriptors for all connections")
                elif message.kind == DORRIT_CHANNEL_HANDOVER and message.descriptor < 0:
                    return text_of(&message), ledger, connections
                else:
                    if message.descriptor >= 0:
                        close_descriptor(message.descriptor)
                    raise ConnectionError("the supervisor says what it can't mean")
        except BaseException:
            if ledger >= 0:
                close_descriptor(ledger)
            for number, _ in connections:
                close_descriptor(number)
            raise

    def put(self, kind: int, text: bytes = b"") -> None:
        """Say something else, before the loop turns or while it does.

        Raises:
            OSError: The text is too long, or there is no memory.
        """
        if dorrit_channel_put(
                &self.channel, <dorrit_channel_kind><int>kind, 0, 0, -1,
                <const uint8_t *>PyBytes_AS_STRING(text), <size_t>PyBytes_GET_SIZE(text)) < 0:
            PyErr_SetFromErrno(OSError)
        self.has_said = True

    def send(self) -> bool:
        """Send what has been said, without a wait; return whether all of it has gone."""
        cdef ptrdiff_t left = dorrit_channel_send(&self.channel)
        if left < 0:
            PyErr_SetFromErrno(OSError)
        return left == 0

    def let_go(self) -> None:
        """Leave it to the worker, in a process that was forked off that."""
        dorrit_channel_close(&self.channel)


cdef bytes text_of(const dorrit_channel_message *message):
    return PyBytes_FromStringAndSize(<const char *>message.text, <Py_ssize_t>message.length)


cdef void say(Channel channel, dorrit_channel_kind kind, uint64_t number) noexcept:
    channel.has_said = True
    if not channel.is_lost and dorrit_channel_put(&channel.channel, kind, 0, number, -1, NULL, 0) < 0:
        channel.is_lost = True


cdef int note_number(Channel channel, int descriptor, uint64_t number) except -1:
    cdef size_t size = channel.numbers_size
    cdef uint64_t *numbers
    if <size_t>descriptor >= size:
        size = <size_t>descriptor + size // 2 + 64
        numbers = <uint64_t *>PyMem_RawRealloc(channel.numbers, size * sizeof(uint64_t))
        if numbers == NULL:
            raise MemoryError
        memset(numbers + channel.numbers_size, 0, (size - channel.numbers_size) * sizeof(uint64_t))
        channel.numbers = numbers
        channel.numbers_size = size
    channel.numbers[descriptor] = number
    return 0


cdef bint is_passed(Channel channel, int descriptor) noexcept:
    return descriptor >= 0 and <size_t>descriptor < channel.numbers_size and channel.numbers[descriptor] != 0


cdef void note_end(Channel channel, int descriptor) noexcept:
    if is_passed(channel, descriptor):
        say(channel, DORRIT_CHANNEL_ENDED, channel.numbers[descriptor])
        channel.numbers[descriptor] = 0


cdef int send_said(Channel channel, int poller) except -1:
    cdef ptrdiff_t left = -1
    if not channel.is_lost and channel.channel.descriptor >= 0:
        left = dorrit_channel_send(&channel.channel)
    if left < 0:
        # EPIPE: the supervisor has ended, which is seen where its messages are read.
        channel.has_said = False
        if channel.is_lost or errno != EPIPE:
            if poller >= 0 and channel.channel.descriptor >= 0:
                dorrit_poller_remove(poller, channel.channel.descriptor)
            dorrit_channel_close(&channel.channel)
        return 0
    channel.has_said = left > 0
    if channel.waits != channel.has_said and poller >= 0:
        channel.waits = channel.has_said
        dorrit_poller_modify(poller, channel.channel.descriptor, True, channel.waits)
    return 0
