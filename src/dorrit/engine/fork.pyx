# cython: language_level=3, freethreading_compatible=False
"""Which process an engine belongs to: a callback may fork another one, which must not touch its clients."""

from cpython.ref cimport Py_INCREF
from libc.stddef cimport size_t
from posix.unistd cimport close as close_descriptor

from dorrit.engine.c.connection cimport DORRIT_AT_END
from dorrit.engine.c.life cimport DORRIT_LOST, dorrit_life_happen
from dorrit.engine.c.poller cimport dorrit_poller_let_go
from dorrit.engine.connection cimport Connection

import os
from collections import deque
from weakref import WeakSet

from dorrit.raised import is_exit

engines = WeakSet()


def _let_go():
    """Has all engines know, in a process that was forked, that it is another one."""
    for engine in tuple(engines):
        let_go(<Engine>engine)


os.register_at_fork(after_in_child=_let_go)


cdef int note_engine(Engine engine) except -1:
    engines.add(engine)
    return 0


cdef void let_go(Engine engine) noexcept:
    """In a process that was forked: what there is of connections and descriptors is its parent's. The
    copies are closed, and nothing else is done to them: a socket that is shut down is so for the parent,
    and the poller is the same one. Nobody hears of it.

    If that was in a turn, the rest of it finds nothing to do, and its end ends the process. So nobody
    has to ask after each callback which process this is.
    """
    cdef size_t number
    cdef Connection connection
    engine.forked = True
    # The ledger's memory is the parent's alone, and not mapped here: nobody must touch it, nor unmap it.
    Py_INCREF(engine.recording)
    engine.recording = None
    if not engine.stays and not engine.in_turn:
        return      # it may be taken over: see `Engine.own`
    engine.is_lost = engine.is_interrupted = engine.shutting_down = True
    for number in range(engine.table_size):
        if engine.table[number] != NULL:
            connection = <Connection>engine.table[number]
            dorrit_life_happen(&connection.state, DORRIT_LOST)
            connection.state.parsing = DORRIT_AT_END
            connection.state.deadline = 0
            connection.state.descriptor = -1
            close_descriptor(<int>number)
    # The references are kept for good: dropping the last one might run the user's code.
    engine.table_size = engine.dirty.length = engine.ended.length = engine.resumed.length = 0
    engine.touched.length = 0
    engine.connections = 0
    Py_INCREF(engine.calls)
    Py_INCREF(engine.watched)
    Py_INCREF(engine.exit)
    Py_INCREF(engine.heard_topics)
    Py_INCREF(engine.to_confirm)
    Py_INCREF(engine.to_publish)
    engine.calls, engine.watched, engine.exit = deque(), {}, None
    engine.heard_topics, engine.to_confirm, engine.to_publish = deque(), deque(), deque()
    engine.listener = -1
    if engine.channel is not None:
        engine.channel.let_go()
    if engine.roster is not None:
        engine.roster.let_go()
    if engine.poller >= 0:
        dorrit_poller_let_go(engine.poller)
        engine.poller = -1
    close_descriptors(engine)


cdef void close_descriptors(Engine engine) noexcept:
    for descriptor in (engine.poller, engine.waker, engine.woken_end, engine.spare):
        if descriptor >= 0:
            close_descriptor(descriptor)
    engine.poller = engine.waker = engine.woken_end = engine.spare = -1


cdef int check_process(Engine engine, str callback, error) except -1:
    """In a process that a callback has forked, ends the callback and the turn: what there is of
    connections, descriptors and files is its parent's."""
    if not engine.forked:
        return 0
    engine.is_lost = engine.is_interrupted = True
    if engine.child_exit is None:
        if error is not None and is_exit(error):
            engine.child_exit = error
        else:
            engine.child_exit = SystemExit(1)
            if error is None:
                engine.reports.came_back(callback)
            else:
                engine.reports.callback_raised(callback, error)
    if engine.end_child is not None:
        engine.end_child(engine.child_exit)   # it does not return
    raise engine.child_exit
