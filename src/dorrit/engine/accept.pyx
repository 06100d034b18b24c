# cython: language_level=3, freethreading_compatible=False
"""Clients from the listening socket, and those for whom there is no room."""

from cpython.exc cimport PyErr_SetFromErrno
from libc.errno cimport EAGAIN, ECONNABORTED, EEXIST, EINTR, EMFILE, ENFILE, errno
from libc.stddef cimport size_t
from libc.stdint cimport int64_t
from posix.fcntl cimport O_CLOEXEC, O_RDONLY, open as open_descriptor
from posix.unistd cimport close as close_descriptor

from dorrit.engine.c.connection cimport DORRIT_HANDSHAKING
from dorrit.engine.c.poller cimport dorrit_poller_add, dorrit_poller_modify, dorrit_poller_remove
from dorrit.engine.c.sockets cimport (
    dorrit_accept,
    dorrit_monotonic_milliseconds,
    dorrit_peer_credentials,
    dorrit_send,
    iovec,
)
from dorrit.engine.clock cimport deadline_in
from dorrit.engine.descriptors cimport take_over
from dorrit.engine.faults cimport give_up
from dorrit.engine.frames cimport read
from dorrit.engine.head cimport refuse
from dorrit.engine.life cimport close_socket, refuse_request
from dorrit.engine.record cimport begin_input, end_input, enter_record
from dorrit.engine.roster cimport enroll, has_room_on_the_way, send_to_worker
from dorrit.engine.table cimport connection_new

from dorrit.engine.peer import Peer
from dorrit.protocol.refusal import (
    STOPPING,
    TOO_MANY_CONNECTIONS,
    TOO_MANY_HANDSHAKES,
    peer_refused,
    refusal,
)


cdef enum:
    # Connections taken in one turn before the others have theirs.
    ACCEPT_BUDGET = 64
    # Milliseconds to leave the listener alone when the system has no descriptor or memory left.
    ACCEPT_PAUSE = 100
    # Clients beyond the limit whose requests are read first, since each may be a health check.
    UNREAD = 64


cdef int take_clients(Engine engine) except -1:
    cdef int budget, descriptor
    take_spare(engine)   # it may have been lost, and without it nobody can be turned away
    for budget in range(ACCEPT_BUDGET):
        if engine.listener < 0:
            return 0    # a callback has had enough
        if engine.roster is not None and not has_room_on_the_way(engine.roster):
            break
        descriptor = dorrit_accept(engine.listener)
        if descriptor >= 0 and engine.roster is not None:
            enroll_client(engine, descriptor)
        elif descriptor >= 0:
            if len(engine.handshaking) >= engine.limits.max_handshakes:
                read_oldest_handshake(engine)
            take_client(engine, descriptor)
        elif errno == EMFILE or errno == ENFILE:
            if not shed_client(engine):
                break
        elif errno == EAGAIN:
            break
        elif errno != EINTR and errno != ECONNABORTED:
            # ENOBUFS, ENOMEM and whatever else: the listener stays ready, so trying again at
            # once would spin.
            engine.reports.accept_failed(errno)
            pause_listener(engine)
            break
    if engine.roster is not None:
        send_to_worker(engine.roster, engine.poller)
        if engine.roster.is_stalled:
            pause_listener(engine)
        elif not has_room_on_the_way(engine.roster) and engine.listener_resumes == 0:
            engine.roster.is_held = True
            dorrit_poller_modify(engine.poller, engine.listener, False, False)
    return 0


cdef int enroll_client(Engine engine, int descriptor) except -1:
    try:
        enroll(engine.roster, descriptor)
    except Exception as error:      # there is no memory: it costs this client
        engine.reports.engine_failed(error)
    return 0


cdef int take_again(Engine engine) except -1:
    if engine.roster is not None and engine.roster.is_held and engine.listener >= 0 and (
            has_room_on_the_way(engine.roster)):
        engine.roster.is_held = False
        dorrit_poller_modify(engine.poller, engine.listener, True, False)
    return 0


cdef bint take_passed(Engine engine, int descriptor) except -1:
    if len(engine.handshaking) >= engine.limits.max_handshakes:
        read_oldest_handshake(engine)
    return take_client(engine, descriptor) is not None


cdef Connection take_client(Engine engine, int descriptor):
    cdef Connection connection
    try:
        if dorrit_poller_add(engine.poller, descriptor) < 0:
            if errno == EEXIST:
                descriptor = -1     # it is somebody's, whatever the caller says
            PyErr_SetFromErrno(OSError)
        take_over(engine, descriptor)
        connection = connection_new(engine, descriptor)
    # None of this is the user's code: there is no memory, or somebody plays with descriptors. It
    # costs this client, and not the server.
    except Exception as error:
        if descriptor < 0:
            raise
        close_descriptor(descriptor)
        engine.reports.engine_failed(error)
        return None
    enter_record(connection)
    try:
        connection.state.deadline = deadline_in(engine, engine.limits.handshake_timeout)
        if len(engine.handshaking) > engine.limits.max_handshakes:
            forget_oldest_handshake(engine)
        if not has_room(engine):
            answer = refusal(*TOO_MANY_CONNECTIONS)
            engine.reports.refused(answer, connection)
            refuse_request(connection, answer.response())
        elif engine.allow_peer:
            check_peer(engine, connection)
    except BaseException as error:
        give_up(engine, connection, error)
    return connection


cdef bint has_room(Engine engine) noexcept:
    """The last client that has come may stay, at least until its request has been read.

    One that has gone takes its place for as long as handlers run for it: who comes and goes can't have
    more of them than may be connected.
    """
    cdef Py_ssize_t most = engine.limits.max_connections
    if engine.health is not None:
        most += UNREAD
    return engine.connections + engine.departed - <Py_ssize_t>len(engine.lingerers) <= most


cdef int read_oldest_handshake(Engine engine) except -1:
    """The oldest connection without a request is about to be turned away: its request may have
    come by now, and wait to be read in this turn."""
    cdef int descriptor = next(iter(engine.handshaking))
    cdef Connection oldest = <Connection>engine.table[descriptor]
    begin_input(oldest)
    try:
        read(oldest)
    except BaseException as error:
        give_up(engine, oldest, error)
    finally:
        end_input(oldest)
    return 0


cdef int forget_oldest_handshake(Engine engine) except -1:
    """There are too many connections whose request has not come. The oldest one is turned away:
    who means well sends a request at once, so it is nearly always one who does not."""
    cdef int descriptor = next(iter(engine.handshaking))
    cdef Connection oldest = <Connection>engine.table[descriptor]
    answer = refusal(*TOO_MANY_HANDSHAKES)
    engine.reports.refused(answer, oldest)
    refuse_request(oldest, answer.response())
    return 0


cdef int check_peer(Engine engine, Connection connection) except -1:
    """The process that has connected must be one of a user who may."""
    peer = peer_of(connection)
    if peer is None or peer.uid not in engine.allow_peer:
        answer = peer_refused(None if peer is None else peer.uid)
        engine.reports.refused(answer, connection)
        refuse_request(connection, answer.response())
    return 0


cdef object peer_of(Connection connection):
    cdef int64_t pid = -1, uid = -1, gid = -1
    if connection.state.descriptor < 0 or dorrit_peer_credentials(
            connection.state.descriptor, &pid, &uid, &gid) < 0:
        return None
    # 0: a process of a namespace that ours can't see.
    return Peer(pid if pid > 0 else None, uid, gid)


cdef bint shed_client(Engine engine) except -1:
    """There is no descriptor left. The spare one is given up to take a client and to tell it so,
    because a client that nobody takes keeps the listener ready: the loop would spin."""
    cdef int descriptor
    cdef iovec vector
    cdef bytes response
    if engine.spare < 0:
        engine.reports.out_of_descriptors()
    else:
        close_descriptor(engine.spare)
        engine.spare = -1
        descriptor = dorrit_accept(engine.listener)
        # accept(2) asks for a descriptor first: EMFILE does not mean that a client waits.
        if descriptor >= 0:
            engine.reports.out_of_descriptors()
            response = refusal(*TOO_MANY_CONNECTIONS).response()
            vector.iov_base = <char *>response
            vector.iov_len = <size_t>len(response)
            dorrit_send(descriptor, &vector, 1)
            close_descriptor(descriptor)
        take_spare(engine)
        if engine.spare >= 0 and descriptor >= 0:
            return True
    take_spare(engine)
    pause_listener(engine)
    return False


cdef void take_spare(Engine engine) noexcept:
    if engine.spare < 0:
        engine.spare = open_descriptor("/dev/null", O_RDONLY | O_CLOEXEC)


cdef void pause_listener(Engine engine) noexcept:
    engine.listener_resumes = dorrit_monotonic_milliseconds() + ACCEPT_PAUSE
    dorrit_poller_modify(engine.poller, engine.listener, False, False)


cdef int resume_listener(Engine engine) except -1:
    engine.listener_resumes = 0
    if engine.roster is not None and engine.roster.is_stalled:
        send_to_worker(engine.roster, engine.poller)
        if engine.roster.is_stalled:
            pause_listener(engine)
            return 0
    dorrit_poller_modify(
        engine.poller, engine.listener, engine.roster is None or not engine.roster.is_held, False)
    return 0


cdef int stop_listening(Engine engine) except -1:
    if engine.channel is not None:
        engine.channel.takes_clients = False
    if engine.listener >= 0:
        dorrit_poller_remove(engine.poller, engine.listener)
        engine.listener = -1
        engine.listener_resumes = 0
    return 0


cdef int answer_at_last(Engine engine, Connection connection) except -1:
    try:
        read(connection)
        if connection.state.life == DORRIT_HANDSHAKING and connection.state.input_length > 0:
            refuse(connection, refusal(*STOPPING))  # its request has begun to come
    except BaseException as error:
        give_up(engine, connection, error)
    if connection.state.life == DORRIT_HANDSHAKING:
        close_socket(connection)
    return 0
