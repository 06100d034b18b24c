# cython: language_level=3, freethreading_compatible=False
"""Acceptor: takes clients from the listening socket, and turns away those for whom there is no room."""

from cpython.exc cimport PyErr_SetFromErrno
from libc.errno cimport EAGAIN, ECONNABORTED, EEXIST, EINTR, EMFILE, ENFILE, errno
from libc.stddef cimport size_t
from libc.stdint cimport uint16_t
from posix.fcntl cimport O_CLOEXEC, O_RDONLY, open as open_descriptor
from posix.unistd cimport close as close_descriptor

from dorrit.engine.agenda cimport Agenda, is_over_budget
from dorrit.engine.budget cimport held_by, uncount_request
from dorrit.engine.connection cimport HANDSHAKING, LINGERING, OPEN, Connection
from dorrit.engine.reader cimport read
from dorrit.engine.writer cimport flush

from dorrit.protocol.closing import CloseCode
from dorrit.protocol.refusal import (
    OUT_OF_BUDGET,
    TOO_MANY_CONNECTIONS,
    TOO_MANY_HANDSHAKES,
    peer_refused,
    refusal,
)
from dorrit.raised import is_exit


cdef extern from "<sys/uio.h>" nogil:
    struct iovec:
        void *iov_base
        size_t iov_len

cdef extern from "poller.h" nogil:
    int dorrit_poller_add(int poller, int descriptor)
    int dorrit_poller_modify(int poller, int descriptor, bint reading, bint writing)

cdef extern from "sockets.h" nogil:
    int dorrit_accept(int listener)
    ssize_t dorrit_send(int descriptor, iovec *vectors, int count)
    uint64_t dorrit_monotonic_milliseconds()

cdef extern from *:
    """
    #ifndef DORRIT_INVARIANTS
    #define DORRIT_INVARIANTS 0
    #endif
    """
    bint DORRIT_INVARIANTS


cdef enum:
    # Connections taken in one turn before the others have theirs.
    ACCEPT_BUDGET = 64
    # Milliseconds to leave the listener alone when the system has no descriptor or memory left.
    ACCEPT_PAUSE = 100


cdef uint16_t TRY_AGAIN_LATER = CloseCode.TRY_AGAIN_LATER


cdef Connection connection_new(Agenda agenda, int descriptor):
    """A connection that reads its request. It owns the descriptor, unless it fails."""
    cdef Connection connection = Connection.__new__(Connection)
    connection.agenda = agenda
    agenda.handshaking[descriptor] = None
    try:
        agenda.enter(descriptor, connection)
    except Exception:
        del agenda.handshaking[descriptor]
        raise
    connection.descriptor = descriptor
    connection.state = HANDSHAKING
    agenda.numbered += 1
    connection.number = agenda.numbered
    return connection


cdef class Acceptor(Agenda):

    def __cinit__(self, *args, **settings):
        self.listener = -1
        self.spare = -1

    def __dealloc__(self):
        if self.spare >= 0:
            close_descriptor(self.spare)

    cdef int take_clients(self) except -1:
        cdef int budget, descriptor
        self.take_spare()   # it may have been lost, and without it nobody can be turned away
        for budget in range(ACCEPT_BUDGET):
            if self.listener < 0:
                return 0    # a callback has had enough
            descriptor = dorrit_accept(self.listener)
            if descriptor >= 0:
                if len(self.handshaking) >= self.limits.max_handshakes:
                    self.read_oldest_handshake()
                self.take(descriptor)
            elif errno == EMFILE or errno == ENFILE:
                if not self.shed():
                    return 0
            elif errno == EAGAIN:
                return 0
            elif errno != EINTR and errno != ECONNABORTED:
                # ENOBUFS, ENOMEM and whatever else: the listener stays ready, so trying again at
                # once would spin.
                self.reports.accept_failed(errno)
                self.pause_listener()
                return 0
        return 0

    cdef Connection take(self, int descriptor):
        cdef Connection connection
        try:
            if dorrit_poller_add(self.poller, descriptor) < 0:
                if errno == EEXIST:
                    descriptor = -1     # it is somebody's, whatever the caller says
                PyErr_SetFromErrno(OSError)
            self.take_over(descriptor)
            connection = connection_new(self, descriptor)
        except Exception as error:
            if descriptor < 0:
                raise
            close_descriptor(descriptor)
            self.reports.engine_failed(error)
            return None
        try:
            connection.deadline = self.deadline_in(self.limits.handshake_timeout)
            if len(self.handshaking) > self.limits.max_handshakes:
                self.forget_oldest_handshake()
            # One that has gone takes its place for as long as handlers run for it: who comes and
            # goes can't have more of them than may be connected.
            if self.connections + self.departed - <Py_ssize_t>len(
                    self.lingerers) > self.limits.max_connections:
                answer = refusal(*TOO_MANY_CONNECTIONS)
                self.reports.refused(answer, connection)
                connection.refuse(answer.response())
            elif self.allow_peer:
                self.check_peer(connection)
        except BaseException as error:
            self.give_up(connection, error)
        return connection

    def all_connections(self) -> list:
        """The connections that have a descriptor, in whatever state."""
        cdef size_t descriptor
        return [
            <object>self.table[descriptor]
            for descriptor in range(self.table_size) if self.table[descriptor] != NULL
        ]

    def open_connections(self) -> list:
        """The connections that the open callback has accepted and that are not closing."""
        cdef size_t descriptor
        return [
            <object>self.table[descriptor]
            for descriptor in range(self.table_size)
            if self.table[descriptor] != NULL
            and (<Connection>self.table[descriptor]).accepted
            and (<Connection>self.table[descriptor]).state == OPEN
        ]

    cdef int take_over(self, int descriptor) except -1:
        """A descriptor has come into the poller, which had nothing of this number: whatever is known here
        by that number has been closed by somebody else, and must not be read, written or closed any
        more. To the kernel it is the new one."""
        if <size_t>descriptor < self.table_size and self.table[descriptor] != NULL:
            (<Connection>self.table[descriptor]).leave(True)
            self.reports.descriptor_lost(descriptor, "a client's connection")
        if descriptor == self.spare:
            self.spare = -1
            self.reports.descriptor_lost(descriptor, "the spare one")
        if descriptor == self.listener:
            self.listener = -1
            self.listener_resumes = 0
            self.reports.descriptor_lost(descriptor, "the listening socket")
        return 0

    cdef int read_oldest_handshake(self) except -1:
        """The oldest connection without a request is about to be turned away: its request may have
        come by now, and wait to be read in this turn."""
        cdef int descriptor = next(iter(self.handshaking))
        cdef Connection oldest = <Connection>self.table[descriptor]
        try:
            read(oldest)
        except BaseException as error:
            self.give_up(oldest, error)
        return 0

    cdef int forget_oldest_handshake(self) except -1:
        """There are too many connections whose request has not come. The oldest one is turned away:
        who means well sends a request at once, so it is nearly always one who does not."""
        cdef int descriptor = next(iter(self.handshaking))
        cdef Connection oldest = <Connection>self.table[descriptor]
        answer = refusal(*TOO_MANY_HANDSHAKES)
        self.reports.refused(answer, oldest)
        oldest.refuse(answer.response())
        return 0

    cdef int write_now(self, object connection) except -1:
        return flush(<Connection>connection)

    cdef int make_room(self) except -1:
        """The client for which most bytes are there is closed, and the next one, until the rest is
        within the limit. RFC 6455's registry: 1013, "Try Again Later".

        First goes what costs nobody his connection: what only waits for the end of the turn is
        written, and messages are let go whose clients have gone before a handler had time for them.
        """
        cdef size_t descriptor, most, held
        cdef Connection connection, largest
        self.write_what_waits()
        if self.forget is not None and is_over_budget(self):
            self.forget(None)
        while is_over_budget(self):
            largest = None
            most = 0
            for descriptor in range(self.table_size):
                if self.table[descriptor] == NULL:
                    continue
                connection = <Connection>self.table[descriptor]
                held = held_by(connection)
                if held > most:
                    largest, most = connection, held
            if largest is None:
                return 0    # a message that is being made is all there is
            self.reports.out_of_budget(most, largest)
            if self.forget is not None and (largest.waiting > 0 or largest.asked):
                self.forget(largest)
            if largest.asked and largest.state != LINGERING:
                uncount_request(largest)
                largest.refuse(refusal(*OUT_OF_BUDGET).response())
                continue
            if largest.state != LINGERING:
                # Its frames are not followed if that meant keeping a stash of them.
                largest.fail(TRY_AGAIN_LATER, "the server has too much to do", not largest.stashed)
                uncount_request(largest)
                if largest.queue.bytes <= self.limits.buffer_size:
                    continue
            # A frame has been begun, behind which the close frame would have to wait, and what it holds
            # is not given back. Others would have to go for it.
            largest.lose()
        return 0

    cdef int write_what_waits(self) except -1:
        """Writes what each client is to get and the kernel may take, until all is within the limit."""
        cdef size_t descriptor
        cdef Connection connection
        for descriptor in range(self.table_size):
            if not is_over_budget(self):
                return 0
            if self.table[descriptor] != NULL:
                connection = <Connection>self.table[descriptor]
                while connection.queue.length > 0 and not (
                        connection.kernel_is_full or connection.held):
                    flush(connection)
        return 0

    cdef int cut_oldest_lingerer(self) except -1:
        cdef int descriptor = next(iter(self.lingerers))
        (<Connection>self.table[descriptor]).lose()
        return 0

    cdef int check_peer(self, Connection connection) except -1:
        """The process that has connected must be one of a user who may."""
        peer = connection.peer
        if peer is None or peer.uid not in self.allow_peer:
            answer = peer_refused(None if peer is None else peer.uid)
            self.reports.refused(answer, connection)
            connection.refuse(answer.response())
        return 0

    cdef bint shed(self) except -1:
        """There is no descriptor left. The spare one is given up to take a client and to tell it so,
        because a client that nobody takes keeps the listener ready: the loop would spin."""
        cdef int descriptor
        cdef iovec vector
        cdef bytes response
        if self.spare < 0:
            self.reports.out_of_descriptors()
        else:
            close_descriptor(self.spare)
            self.spare = -1
            descriptor = dorrit_accept(self.listener)
            # accept(2) asks for a descriptor first: EMFILE does not mean that a client waits.
            if descriptor >= 0:
                self.reports.out_of_descriptors()
                response = refusal(*TOO_MANY_CONNECTIONS).response()
                vector.iov_base = <char *>response
                vector.iov_len = <size_t>len(response)
                dorrit_send(descriptor, &vector, 1)
                close_descriptor(descriptor)
            self.take_spare()
            if self.spare >= 0 and descriptor >= 0:
                return True
        self.take_spare()
        self.pause_listener()
        return False

    cdef void take_spare(self) noexcept:
        if self.spare < 0:
            self.spare = open_descriptor("/dev/null", O_RDONLY | O_CLOEXEC)

    cdef void pause_listener(self) noexcept:
        self.listener_resumes = dorrit_monotonic_milliseconds() + ACCEPT_PAUSE
        dorrit_poller_modify(self.poller, self.listener, False, False)

    cdef void resume_listener(self) noexcept:
        self.listener_resumes = 0
        dorrit_poller_modify(self.poller, self.listener, True, False)

    cdef int answer_at_last(self, Connection connection) except -1:
        """A client's request may have come and wait to be read: it hears that the server stops."""
        try:
            read(connection)
        except BaseException as error:
            self.give_up(connection, error)
        if connection.state == HANDSHAKING:
            connection.lose()
        return 0

    cdef int give_up(self, Connection connection, object error) except -1:
        """Memory ran out, or the engine has a fault: that costs this connection, and no other. An exit
        goes on its way."""
        if is_exit(error):
            raise error
        if DORRIT_INVARIANTS and not issubclass(type(error), MemoryError):
            raise error
        connection.lose()
        self.reports.engine_failed(error, connection)
        return 0
