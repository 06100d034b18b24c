"""What is to be done before the engine sleeps: which connections have something to write, are over, or
are read again. Inlined into the modules that find such work."""

from posix.unistd cimport write

from dorrit.engine.c.connection cimport DORRIT_GONE, DORRIT_WRITES
from dorrit.engine.connection cimport Connection
from dorrit.engine.engine cimport Engine
from dorrit.engine.references cimport References, references_add


cdef inline void wake(Engine engine) noexcept:
    """Ends the engine's sleep, or keeps it from falling asleep."""
    if engine.woken or engine.waker < 0:
        return
    engine.woken = True
    # A full pipe wakes as well, so there is nothing to do about a failure.
    write(engine.waker, b"\0", 1)


cdef inline void add_work(References *references, Connection connection) noexcept:
    """Puts a connection last in one of its engine's lists, in which it is not yet."""
    references_add(references, connection)
    if not connection.engine.in_turn:
        wake(connection.engine)


cdef inline bint is_answer(Connection connection) noexcept:
    """Whether what is queued now would answer the input of the connection that is being handled, and be
    written as soon as that is over: nothing else waits in its queue."""
    return (
        connection.engine.heard == <void *>connection and not connection.state.is_dirty
        and connection.state.writing == DORRIT_WRITES)


cdef inline void to_be_flushed(Connection connection) noexcept:
    """Lets what is queued be written, at the end of the turn at the latest."""
    if is_answer(connection):
        connection.state.is_answered = True
    else:
        to_be_flushed_with_others(connection)


cdef inline void to_be_flushed_with_others(Connection connection) noexcept:
    """Lets what is queued be written at the end of the turn."""
    # While the kernel's buffer is full, the poller says when there is something to do.
    if not connection.state.is_dirty and (
            connection.state.writing == DORRIT_WRITES or connection.state.writing == DORRIT_GONE):
        connection.state.is_dirty = True
        add_work(&connection.engine.dirty, connection)


cdef inline void to_be_resumed(Connection connection) noexcept:
    """Lets what is stashed be read in the next turn."""
    if not connection.state.is_resumed:
        connection.state.is_resumed = True
        add_work(&connection.engine.resumed, connection)


cdef inline int to_be_confirmed(Connection connection, str topic) except -1:
    """Lets the user be told of a subscription that waits, once the connection is accepted. `topic` is what
    `topic_from` has returned."""
    connection.engine.to_confirm.append((connection, topic))
    connection.engine.is_to_tell = True
    if not connection.engine.in_turn:
        wake(connection.engine)
    return 0


cdef inline void to_be_recorded(Connection connection) noexcept:
    """Lets the connection's record say how it is now, before any function of the user's is called that
    has nothing to do with that."""
    if connection.state.slot != 0 and not connection.state.is_touched:
        connection.state.is_touched = True
        add_work(&connection.engine.touched, connection)


cdef inline void to_be_told_of_its_end(Connection connection) noexcept:
    """Lets the close callback run at the end of the turn (R11); not in a process that was forked, whose
    clients are its parent's."""
    if not connection.engine.is_lost:
        add_work(&connection.engine.ended, connection)
        connection.state.end_is_due = True
        to_be_recorded(connection)
