# cython: language_level=3, freethreading_compatible=False
"""Agenda: what the connections of one engine share, and what is to be done before it sleeps."""

from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.errno cimport EBADF, ENOENT, EPERM, errno
from libc.stdint cimport UINT64_MAX
from libc.string cimport memset
from posix.unistd cimport close, write

from dorrit.engine.frame cimport frames_size
from dorrit.engine.references cimport references_add, references_free, references_reserve

import os
from collections import OrderedDict
from weakref import WeakSet

from dorrit.raised import is_exit


cdef extern from "poller.h" nogil:
    int dorrit_poller_remove(int poller, int descriptor)

cdef extern from "sockets.h" nogil:
    int dorrit_shutdown(int descriptor)

cdef extern from *:
    """
    #ifdef __GLIBC__
    #include <malloc.h>
    #define DORRIT_TRIM() ((void)malloc_trim(0))
    #else
    #define DORRIT_TRIM() ((void)0)
    #endif
    """
    void DORRIT_TRIM() noexcept nogil

agendas = WeakSet()


def _let_go():
    """Notes, in a process that was forked, that it is another one, and that connections are its
    parent's."""
    global forks
    forks += 1
    for agenda in tuple(agendas):
        (<Agenda>agenda).let_go()


os.register_at_fork(after_in_child=_let_go)


cdef int refuse_thread() except -1:
    raise RuntimeError(
        "a connection is used in another thread than the server's: have the server do it, by "
        "app.call_soon_threadsafe(conn.send, message)")


cdef class Agenda:

    def __cinit__(self):
        self.forks_before = forks
        self.poller = -1
        self.waker = -1
        self.deadline_first = UINT64_MAX
        self.handshaking = OrderedDict()
        self.lingerers = OrderedDict()
        self.input = <uint8_t *>PyMem_Malloc(SCRATCH_SIZE)
        self.output = <uint8_t *>PyMem_Malloc(SCRATCH_SIZE)
        if self.input == NULL or self.output == NULL:
            raise MemoryError
        agendas.add(self)

    def __dealloc__(self):
        # A connection in the table holds a reference to its agenda, and an engine that is closed has
        # none left: whatever stands here is empty.
        PyMem_Free(self.table)
        references_free(&self.dirty)
        references_free(&self.ended)
        references_free(&self.resumed)
        PyMem_Free(self.input)
        PyMem_Free(self.output)

    cdef int enter(self, int descriptor, object connection) except -1:
        """Takes a connection in; from here on `add_dirty` and `add_ended` can't fail for it."""
        cdef size_t size = self.table_size
        cdef PyObject **table
        if descriptor < 0:
            raise OverflowError("no connection has a negative descriptor")
        if <size_t>descriptor >= size:
            size = <size_t>descriptor + size // 2 + 64
            table = <PyObject **>PyMem_Realloc(self.table, size * sizeof(PyObject *))
            if table == NULL:
                raise MemoryError
            memset(table + self.table_size, 0, (size - self.table_size) * sizeof(PyObject *))
            self.table = table
            self.table_size = size
        if self.table[descriptor] != NULL:
            raise RuntimeError("two connections have the same descriptor")  # `take_over` comes first
        references_reserve(&self.dirty, self.dirty.length + <size_t>self.connections + 1)
        references_reserve(&self.ended, self.ended.length + <size_t>self.connections + 1)
        references_reserve(&self.resumed, self.resumed.length + <size_t>self.connections + 1)
        Py_INCREF(connection)
        self.table[descriptor] = <PyObject *>connection
        self.connections += 1
        return 0

    cdef void leave(self, int descriptor, bint is_taken) noexcept:
        """Closes the descriptor, unless it is known to be somebody else's, and drops the reference."""
        cdef PyObject *connection = self.table[descriptor]
        self.table[descriptor] = NULL
        self.connections -= 1
        # Closing takes it out of the poller and tells the client, but not while a process that was
        # forked holds a copy: then it would be reported for ever, and the client wait as long.
        # Such a process lets its parent's poller alone, which is the same one, and its sockets.
        if not is_taken and self.forks_before == forks:
            # What is not in the poller, or can't be, is another file: somebody has closed the
            # connection's, and got its number.
            is_taken = dorrit_poller_remove(self.poller, descriptor) < 0 and (
                errno == ENOENT or errno == EPERM)
            # POSIX leaves it open whether EINTR closes the descriptor; Linux and the BSDs do close it,
            # and a second close could hit somebody else's.
            if not is_taken:
                dorrit_shutdown(descriptor)
                is_taken = close(descriptor) < 0 and errno == EBADF
            if is_taken:
                self.reports.descriptor_lost(descriptor, "a client's connection")
        elif not is_taken:
            close(descriptor)
        Py_DECREF(<object>connection)

    cdef void add_dirty(self, object connection) noexcept:
        references_add(&self.dirty, connection)
        if not self.in_turn:
            self.wake()

    cdef void add_ended(self, object connection) noexcept:
        references_add(&self.ended, connection)
        if not self.in_turn:
            self.wake()

    cdef void add_resumed(self, object connection) noexcept:
        references_add(&self.resumed, connection)
        if not self.in_turn:
            self.wake()

    cdef void give_back(self) noexcept:
        """Gives memory back to the system when much of it was needed and most of that is free again.

        glibc's free() gives back what lies at the end of the heap only: one small block that was
        made meanwhile keeps the hundreds of megabytes before it."""
        cdef size_t held = frames_size() + self.assembled
        if held > self.held_most:
            self.held_most = held
        elif self.held_most > HELD_MUCH and held < self.held_most // 4:
            self.held_most = held
            DORRIT_TRIM()

    cdef int let_go(self) except -1:
        """Closes the copies of its descriptors, in a process that was forked: the `Engine` does."""
        return 0

    cdef int make_room(self) except -1:
        """Ends connections until what is under way is within the limit: the `Acceptor` does."""
        return 0

    cdef int write_now(self, object connection) except -1:
        """Writes what a connection has queued, before the turn's end: the `Acceptor` does."""
        return 0

    cdef int cut_oldest_lingerer(self) except -1:
        """Ends the connection that has been lingering longest: the `Acceptor` does."""
        return 0

    @property
    def lingering(self) -> int:
        """Of the connections: those that are over, and only waiting for their end."""
        return len(self.lingerers)

    # Processes

    def stay(self) -> None:
        """Stays in this process: one that is forked off it, by whom and when ever, has no copies of its
        descriptors. Otherwise one that is forked between two turns may take it over, see `own`."""
        self.stays = True

    def own(self) -> None:
        """Makes the calling process the one that it belongs to, if it was not forked in a callback."""
        if not self.is_lost:
            self.forks_before = forks

    @property
    def is_forked(self) -> bool:
        """Whether this is another process than the one that it belongs to."""
        return self.forks_before != forks

    cpdef int check_process(self, str callback, error) except -1:
        """In a process that a callback has forked, ends the callback and the turn: what there is of
        connections, descriptors and files is its parent's.

        Args:
            callback: Which one has just ended.
            error: What it has raised, or `None`.

        Raises:
            SystemExit, KeyboardInterrupt: It is such a process. In an event loop it has ended by then.
        """
        if self.forks_before == forks:
            return 0
        self.is_lost = self.is_interrupted = True
        if self.farewell is None:
            if error is not None and is_exit(error):
                self.farewell = error
            else:
                self.farewell = SystemExit(1)
                if error is None:
                    self.reports.came_back(callback)
                else:
                    self.reports.callback_raised(callback, error)
        if self.end_child is not None:
            self.end_child(self.farewell)   # it does not return
        raise self.farewell

    cdef int end_interrupted(self) except -1:
        """Ends a turn that does not end as usual."""
        if self.is_lost:
            return 0    # the parent of a process that a callback has forked knows for itself
        self.is_interrupted = False
        self.wake()
        error, self.exit = self.exit, None
        raise error

    cdef int callback_raised(self, str callback, error, connection=None) except -1:
        """Takes what a function of the user has raised: it is logged, unless it ends the server."""
        self.check_process(callback, error)
        if is_exit(error):
            raise error
        self.reports.callback_raised(callback, error, connection)
        return 0

    cdef uint64_t deadline_in(self, uint64_t milliseconds) noexcept:
        cdef uint64_t deadline = dorrit_monotonic_milliseconds() + milliseconds + DEADLINE_STEP - 1
        deadline -= deadline % DEADLINE_STEP
        if deadline < self.deadline_first:
            self.deadline_first = deadline
            if not self.in_turn:
                self.wake()     # whoever waits for the engine does so until another time
        return deadline

    cdef void wake(self) noexcept:
        """Ends the engine's sleep, or keeps it from falling asleep."""
        if self.woken or self.waker < 0:
            return
        self.woken = True
        # A full pipe wakes as well, so there is nothing to do about a failure.
        write(self.waker, b"\0", 1)
