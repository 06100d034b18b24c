# cython: language_level=3, freethreading_compatible=False
"""The connections that a supervisor has accepted, and its end of the channel to the worker that serves them.

It keeps its copy of each descriptor until the worker has said that the connection is over, and gives all
that it has to the next worker when there is to be one. It reads nothing that a client sends, and believes a
worker in nothing but which of the connections it was given are over.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_SetFromErrno
from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from libc.errno cimport EBADF, EPIPE, errno
from libc.stddef cimport ptrdiff_t, size_t
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memset, strerror
from posix.fcntl cimport F_SETFD, FD_CLOEXEC, fcntl
from posix.unistd cimport close as close_descriptor

from dorrit.engine.c.channel cimport (
    DORRIT_CHANNEL_ASK,
    DORRIT_CHANNEL_CONNECTION,
    DORRIT_CHANNEL_ENDED,
    DORRIT_CHANNEL_HANDOVER,
    DORRIT_CHANNEL_KNOWN,
    DORRIT_CHANNEL_LEDGER,
    DORRIT_CHANNEL_MESSAGE,
    DORRIT_CHANNEL_END,
    DORRIT_CHANNEL_LEAVING,
    DORRIT_CHANNEL_NOTHING,
    DORRIT_CHANNEL_READY,
    DORRIT_CHANNEL_REFUSED,
    DORRIT_CHANNEL_STATUS,
    DORRIT_CHANNEL_TAKEN,
    DORRIT_CHANNEL_WRONG,
    dorrit_channel_close,
    dorrit_channel_is_settled,
    dorrit_channel_is_stalled,
    dorrit_channel_is_to_be_sent,
    dorrit_channel_kind,
    dorrit_channel_message,
    dorrit_channel_next,
    dorrit_channel_open,
    dorrit_channel_put,
    dorrit_channel_receive,
    dorrit_channel_send,
    dorrit_channel_verdict,
)
from dorrit.engine.c.poller cimport dorrit_poller_add, dorrit_poller_modify, dorrit_poller_remove
from dorrit.engine.c.sockets cimport dorrit_send, dorrit_shutdown, iovec

from dorrit.protocol.refusal import TOO_MANY_CONNECTIONS, refusal

ASK = DORRIT_CHANNEL_ASK


cdef enum:
    # Connections that the worker has not said it has taken. Each takes some of the socket's buffer, and what
    # waits here is accepted by nobody else.
    ON_THEIR_WAY_MAX = 128
    # Reads of what a worker has said before it ended: more than its socket holds. A process that it has left
    # behind may go on.
    DRAINED_MAX = 1024


cdef class Roster:
    """The connections of a supervisor.

    Attributes:
        connections: How many there are.
        is_stalled: Others have too many descriptors on their way: call `send` again in a while.

    Args:
        on_message: Called with the kind and the text of each message of a worker that is not about
            a connection.
        on_end: Called with True when the worker will say nothing any more, or with False when it
            has said what can't be.
    """

    def __cinit__(self, on_message, on_end):
        dorrit_channel_open(&self.channel, -1, False)
        self.on_message = on_message
        self.on_end = on_end
        self.is_held = self.is_made = True

    def __dealloc__(self):
        if self.is_made:
            dorrit_channel_close(&self.channel)
        PyMem_RawFree(self.entries)

    def attach(self, descriptor: int, poller: int) -> None:
        """Speak to a worker from now on; it takes no connection before `open`.

        Args:
            descriptor: Of a connected stream socket, which it owns from here on.
            poller: The descriptor of the engine (`Engine.fileno`) in whose turns it is heard.

        Raises:
            OSError: The descriptor can't be watched.
        """
        self.detach(poller)
        dorrit_channel_open(&self.channel, descriptor, False)
        if dorrit_poller_add(poller, descriptor) < 0:
            error = OSError(errno, strerror(errno).decode("ascii", "replace"))
            dorrit_channel_close(&self.channel)
            raise error

    def detach(self, poller: int) -> None:
        """Speak to the worker no more: it has ended, or is to. Connections stay as they are."""
        cdef size_t index
        if self.channel.descriptor >= 0:
            dorrit_poller_remove(poller, self.channel.descriptor)
        dorrit_channel_close(&self.channel)
        self.on_their_way = 0
        self.waits = self.is_open = self.is_stalled = False
        for index in range(self.size):
            self.entries[index].is_on_its_way = False

    def open(self) -> None:
        """Pass on to the worker what is accepted from now on: it has all that it was given."""
        cdef size_t index
        for index in range(self.size):
            self.entries[index].is_on_its_way = False
            self.entries[index].is_known = True
        self.on_their_way = 0
        self.is_open = True

    def hand_over(self, text: bytes, ledger: int) -> None:
        """Give a worker all connections, and whatever else the last one has left.

        Args:
            text: What there is to say of it.
            ledger: The descriptor of the ledger that the last one has kept, borrowed until it has
                been sent; -1: there is none.

        Raises:
            OSError: There is no memory, or the text is too long.
        """
        cdef size_t descriptor
        if ledger >= 0 and dorrit_channel_put(
                &self.channel, DORRIT_CHANNEL_LEDGER, 0, 0, ledger, NULL, 0) < 0:
            PyErr_SetFromErrno(OSError)
        for descriptor in range(self.size):
            if self.entries[descriptor].number != 0 and pass_on(self, descriptor) < 0:
                PyErr_SetFromErrno(OSError)
        self.put(DORRIT_CHANNEL_HANDOVER, text)

    def put(self, kind: int, text: bytes = b"") -> None:
        """Say something to the worker; `send` sends it.

        Raises:
            OSError: The text is too long, or there is no memory.
        """
        if dorrit_channel_put(
                &self.channel, <dorrit_channel_kind><int>kind, 0, 0, -1,
                <const uint8_t *>PyBytes_AS_STRING(text), <size_t>PyBytes_GET_SIZE(text)) < 0:
            PyErr_SetFromErrno(OSError)

    def send(self, poller: int) -> None:
        """Send what has been said, as far as that goes now; the turns of the engine do the rest."""
        send_to_worker(self, poller)

    def drain(self, poller: int) -> None:
        """Hear what a worker has said before it ended."""
        for _ in range(DRAINED_MAX):
            if self.channel.descriptor < 0 or not hear_worker(self, poller, True, False):
                return

    @property
    def descriptor(self) -> int:
        """That of the channel; -1: there is none."""
        return self.channel.descriptor

    @property
    def is_settled(self) -> bool:
        """Whether the worker serves, and nothing is half said on either side of the channel."""
        return self.is_open and self.channel.descriptor >= 0 and dorrit_channel_is_settled(&self.channel)

    def state(self) -> tuple:
        """Return what `restore` needs to go on with, in another image of this process."""
        cdef size_t index
        cdef list entries = []
        for index in range(self.size):
            if self.entries[index].number != 0:
                entries.append((
                    index, self.entries[index].number >> 32,
                    self.entries[index].is_known | self.entries[index].is_on_its_way << 1))
        return self.generation, entries

    def restore(self, generation: int, entries) -> None:
        """Go on with the connections of the image before, to whose worker a channel is attached.

        Args:
            generation: As `state` has returned it.
            entries: Likewise.

        Raises:
            OSError: A descriptor is not open.
            ValueError: That can't be.
            RuntimeError: There are connections already.
        """
        if self.connections > 0:
            raise RuntimeError("there are connections already")
        for descriptor, number, flags in entries:
            if not 0 < number <= 0xffffffff or not 0 <= flags <= 3:
                raise ValueError("no connection has such a number")
            restore_entry(self, descriptor, number, flags)
        self.generation = generation
        self.is_open = True

    def let_go(self) -> None:
        """Leave all of them to the supervisor, in a process that was forked off that."""
        cdef size_t descriptor
        dorrit_channel_close(&self.channel)
        for descriptor in range(self.size):
            if self.entries[descriptor].number != 0:
                close_descriptor(<int>descriptor)
        self.size = 0
        self.connections = 0

    def end_all(self) -> None:
        """End all connections: there will be no worker any more."""
        cdef size_t descriptor
        for descriptor in range(self.size):
            if self.entries[descriptor].number != 0:
                strike(self, descriptor)


cdef int make_room(Roster roster, int descriptor) except -1:
    """Has an entry for a descriptor."""
    cdef size_t size = roster.size
    cdef Entry *entries
    if <size_t>descriptor >= size:
        size = <size_t>descriptor + size // 2 + 64
        entries = <Entry *>PyMem_RawRealloc(roster.entries, size * sizeof(Entry))
        if entries == NULL:
            raise MemoryError
        memset(entries + roster.size, 0, (size - roster.size) * sizeof(Entry))
        roster.entries = entries
        roster.size = size
    return 0


cdef int restore_entry(Roster roster, int descriptor, uint32_t number, int flags) except -1:
    cdef Entry *entry
    if descriptor < 0 or fcntl(descriptor, F_SETFD, FD_CLOEXEC) < 0:
        raise OSError(EBADF, "a connection is not open any more")
    make_room(roster, descriptor)
    entry = &roster.entries[descriptor]
    if entry.number != 0:
        raise ValueError("two connections have the same descriptor")
    entry.number = <uint64_t>number << 32 | <uint64_t>descriptor
    entry.is_known = flags & 1 != 0
    entry.is_on_its_way = flags & 2 != 0
    roster.on_their_way += entry.is_on_its_way
    roster.connections += 1
    return 0


cdef int enroll(Roster roster, int descriptor) except -1:
    try:
        make_room(roster, descriptor)
    except MemoryError:
        close_descriptor(descriptor)
        raise
    roster.generation += 1
    if roster.generation == 0:
        roster.generation = 1   # no number is 0
    roster.entries[descriptor].number = <uint64_t>roster.generation << 32 | <uint64_t>descriptor
    roster.entries[descriptor].is_known = roster.entries[descriptor].is_on_its_way = False
    roster.connections += 1
    if pass_on(roster, descriptor) < 0:
        strike(roster, descriptor)
        raise MemoryError
    return 0


cdef int pass_on(Roster roster, size_t descriptor) noexcept:
    """Returns -1, with errno set, if there is no memory for it."""
    cdef Entry *entry = &roster.entries[descriptor]
    if dorrit_channel_put(
            &roster.channel, DORRIT_CHANNEL_CONNECTION, DORRIT_CHANNEL_KNOWN if entry.is_known else 0,
            entry.number, <int>descriptor, NULL, 0) < 0:
        return -1
    entry.is_on_its_way = True
    roster.on_their_way += 1
    return 0


cdef void strike(Roster roster, size_t descriptor) noexcept:
    """A connection is over, for whoever has a copy of it."""
    cdef Entry *entry = &roster.entries[descriptor]
    roster.on_their_way -= entry.is_on_its_way
    entry.number = 0
    roster.connections -= 1
    dorrit_shutdown(<int>descriptor)
    close_descriptor(<int>descriptor)


cdef bint has_room_on_the_way(Roster roster) noexcept:
    return roster.is_open and roster.channel.descriptor >= 0 and roster.on_their_way < ON_THEIR_WAY_MAX


cdef int send_to_worker(Roster roster, int poller) except -1:
    cdef ptrdiff_t left
    if roster.channel.descriptor < 0:
        return 0
    left = dorrit_channel_send(&roster.channel)
    if left < 0:
        if errno != EPIPE:
            return lose_worker(roster, poller, False)
        left = 0    # that it has ended is seen where its messages are read
    # unix(7), ETOOMANYREFS: "This error can occur when sending a large number of file descriptors". The
    # socket can be written to all the same, so the poller would say so for ever.
    roster.is_stalled = left > 0 and dorrit_channel_is_stalled(&roster.channel)
    if roster.is_stalled:
        left = 0
    if roster.waits != (left > 0):
        roster.waits = left > 0
        dorrit_poller_modify(poller, roster.channel.descriptor, True, roster.waits)
    return 0


cdef int hear_worker(Roster roster, int poller, bint readable, bint writable) except -1:
    cdef dorrit_channel_message message
    cdef dorrit_channel_verdict verdict
    if writable:
        send_to_worker(roster, poller)
    if not readable or roster.channel.descriptor < 0:
        return 0
    verdict = dorrit_channel_receive(&roster.channel)
    if verdict == DORRIT_CHANNEL_NOTHING:
        return 0
    while verdict == DORRIT_CHANNEL_MESSAGE:
        verdict = dorrit_channel_next(&roster.channel, &message)
        if verdict == DORRIT_CHANNEL_MESSAGE and not take_word(roster, &message):
            verdict = DORRIT_CHANNEL_WRONG
    raised, roster.raised = roster.raised, None
    if verdict == DORRIT_CHANNEL_NOTHING:
        if raised is not None:
            raise raised
        return 1
    lose_worker(roster, poller, verdict == DORRIT_CHANNEL_END)
    if raised is not None:
        raise raised
    return 0


cdef int lose_worker(Roster roster, int poller, bint is_over) except -1:
    """Whoever comes from here on is the next worker's."""
    roster.is_open = roster.is_stalled = roster.waits = False
    dorrit_poller_remove(poller, roster.channel.descriptor)
    dorrit_channel_close(&roster.channel)
    roster.on_end(is_over)
    return 0


cdef bint take_word(Roster roster, dorrit_channel_message *message) except -1:
    """Returns whether a worker may say that."""
    cdef size_t descriptor = <size_t>(message.number & 0xffffffff)
    cdef Entry *entry
    if message.kind in (DORRIT_CHANNEL_READY, DORRIT_CHANNEL_STATUS, DORRIT_CHANNEL_LEAVING):
        # It has all that it was given, and says so once.
        if message.kind == DORRIT_CHANNEL_READY and (
                roster.is_open or roster.channel.departures_begin < roster.channel.departures_end):
            return False
        try:
            roster.on_message(message.kind, PyBytes_FromStringAndSize(
                <const char *>message.text, <Py_ssize_t>message.length))
        except BaseException as error:
            if roster.raised is None:
                roster.raised = error
        return True
    if message.kind not in (DORRIT_CHANNEL_TAKEN, DORRIT_CHANNEL_ENDED, DORRIT_CHANNEL_REFUSED):
        return False
    if message.number == 0 or descriptor >= roster.size or (
            roster.entries[descriptor].number != message.number):
        return False
    entry = &roster.entries[descriptor]
    if entry.is_on_its_way and dorrit_channel_is_to_be_sent(&roster.channel, <int>descriptor):
        return False    # it can't know of it yet
    roster.on_their_way -= entry.is_on_its_way
    entry.is_on_its_way = False
    if message.kind == DORRIT_CHANNEL_TAKEN:
        entry.is_known = True
        return True
    if message.kind == DORRIT_CHANNEL_REFUSED and not entry.is_known:
        refuse(<int>descriptor)
    strike(roster, descriptor)
    return True


cdef int refuse(int descriptor) except -1:
    """The worker has no descriptor or memory left for a client: it is told so."""
    cdef iovec vector
    cdef bytes response = refusal(*TOO_MANY_CONNECTIONS).response()
    vector.iov_base = PyBytes_AS_STRING(response)
    vector.iov_len = <size_t>PyBytes_GET_SIZE(response)
    dorrit_send(descriptor, &vector, 1)
    return 0
