# cython: language_level=3, freethreading_compatible=False
"""The table of an engine: descriptor → connection."""

from cpython.mem cimport PyMem_Realloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.errno cimport EBADF, ENOENT, EPERM, errno
from libc.stddef cimport size_t
from libc.string cimport memset
from posix.unistd cimport close

from dorrit.engine.channel cimport note_end
from dorrit.engine.c.life cimport DORRIT_TAKEN_IN, dorrit_life_happen
from dorrit.engine.c.poller cimport dorrit_poller_remove
from dorrit.engine.c.sockets cimport dorrit_shutdown
from dorrit.engine.references cimport references_reserve


cdef Connection connection_new(Engine engine, int descriptor):
    cdef Connection connection = Connection.__new__(Connection)
    connection.engine = engine
    engine.handshaking[descriptor] = None
    try:
        table_enter(engine, descriptor, connection)
    except Exception:
        del engine.handshaking[descriptor]
        raise
    connection.state.descriptor = descriptor
    dorrit_life_happen(&connection.state, DORRIT_TAKEN_IN)
    engine.numbered += 1
    connection.state.number = engine.numbered
    connection.state.room = engine.batch_max
    return connection


cdef int table_enter(Engine engine, int descriptor, Connection connection) except -1:
    """Takes a connection in, for which the lists of work (work.pxd) have room from here on."""
    cdef size_t size = engine.table_size
    cdef PyObject **table
    if descriptor < 0:
        raise OverflowError("no connection has a negative descriptor")
    if <size_t>descriptor >= size:
        size = <size_t>descriptor + size // 2 + 64
        table = <PyObject **>PyMem_Realloc(engine.table, size * sizeof(PyObject *))
        if table == NULL:
            raise MemoryError
        memset(table + engine.table_size, 0, (size - engine.table_size) * sizeof(PyObject *))
        engine.table = table
        engine.table_size = size
    if engine.table[descriptor] != NULL:
        raise RuntimeError("two connections have the same descriptor")  # `take_over` comes first
    references_reserve(&engine.dirty, engine.dirty.length + <size_t>engine.connections + 1)
    references_reserve(&engine.ended, engine.ended.length + <size_t>engine.connections + 1)
    references_reserve(&engine.resumed, engine.resumed.length + <size_t>engine.connections + 1)
    references_reserve(&engine.touched, engine.touched.length + <size_t>engine.connections + 1)
    Py_INCREF(connection)
    engine.table[descriptor] = <PyObject *>connection
    engine.connections += 1
    return 0


cdef void table_leave(Engine engine, int descriptor, Fate fate) noexcept:
    """Closes the descriptor, unless it is known to be somebody else's, and drops the reference."""
    cdef bint is_taken = fate == TAKEN
    cdef PyObject *connection = engine.table[descriptor]
    engine.table[descriptor] = NULL
    engine.connections -= 1
    if engine.channel is not None and fate != CARRIED:
        note_end(engine.channel, descriptor)
    # Closing takes it out of the poller and tells the client, but not while a process that was
    # forked holds a copy: then it would be reported for ever, and the client wait as long.
    # Such a process lets its parent's poller alone, which is the same one, and its sockets.
    if fate == ENDED and not engine.forked:
        # What is not in the poller, or can't be, is another file: somebody has closed the
        # connection's, and got its number.
        is_taken = dorrit_poller_remove(engine.poller, descriptor) < 0 and (
            errno == ENOENT or errno == EPERM)
        # POSIX leaves it open whether EINTR closes the descriptor; Linux and the BSDs do close it,
        # and a second close could hit somebody else's.
        if not is_taken:
            dorrit_shutdown(descriptor)
            is_taken = close(descriptor) < 0 and errno == EBADF
        if is_taken:
            engine.reports.descriptor_lost(descriptor, "a client's connection")
    elif fate == ENDED:
        close(descriptor)
    Py_DECREF(<object>connection)


cdef list all_connections(Engine engine):
    cdef size_t descriptor
    return [
        <object>engine.table[descriptor]
        for descriptor in range(engine.table_size) if engine.table[descriptor] != NULL
    ]
