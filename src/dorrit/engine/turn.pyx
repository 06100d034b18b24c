# cython: language_level=3, freethreading_compatible=False
"""A turn of the loop: wait for the poller; read what has come, which runs the callbacks; run the timers
that are due and end what is late; then write what was queued, one gather write for each connection,
and run the close callbacks, until nothing of either is left.
"""

from cpython.exc cimport PyErr_SetFromErrno
from cpython.ref cimport Py_DECREF
from libc.errno cimport EINTR, errno
from libc.stddef cimport size_t

from dorrit.engine.accept cimport take_again, take_clients
from dorrit.engine.budget cimport give_back_memory
from dorrit.engine.c.build cimport DORRIT_INVARIANTS
from dorrit.engine.c.poller cimport (
    DORRIT_POLLER_EVENTS_MAX,
    dorrit_poller_event,
    dorrit_poller_wait,
)
from dorrit.engine.c.threads cimport dorrit_thread
from dorrit.engine.calls cimport call_listeners, call_watcher, handle_signals, tell_turn, wake_up
from dorrit.engine.channel cimport send_said
from dorrit.engine.confirm cimport confirm_all
from dorrit.engine.connection cimport Connection
from dorrit.engine.deadlines cimport end_what_is_late, has_deadline
from dorrit.engine.faults cimport callback_raised, end_interrupted, give_up
from dorrit.engine.fork cimport check_process
from dorrit.engine.frames cimport read, read_stash
from dorrit.engine.invariants cimport check_invariants
from dorrit.engine.life cimport is_watched_for_writing
from dorrit.engine.passed cimport take_messages
from dorrit.engine.record cimport begin_input, end_input, end_of_turn, forget_end, record_touched
from dorrit.engine.references cimport References, references_take
from dorrit.engine.results cimport check_result
from dorrit.engine.resume cimport resume_carried
from dorrit.engine.roster cimport hear_worker
from dorrit.engine.timers cimport run_timers
from dorrit.engine.work cimport wake
from dorrit.engine.write cimport flush


cdef enum:
    # Bytes that a connection has queued for itself when its input has been read, from which on they
    # are written before the next one is read: what is in the processor's cache and goes back to the
    # allocator now need not be fetched and faulted in for each of a hundred connections.
    FLUSHED_AT_ONCE = 16 * 1024


cdef int turn(Engine engine, int milliseconds) except -1:
    cdef dorrit_poller_event events[DORRIT_POLLER_EVENTS_MAX]
    cdef int index, count
    if engine.forked or engine.poller < 0 or engine.in_turn:
        refuse_turn(engine)
    if milliseconds == 0:
        count = dorrit_poller_wait(engine.poller, events, DORRIT_POLLER_EVENTS_MAX, 0)
    else:
        with nogil:
            count = dorrit_poller_wait(
                engine.poller, events, DORRIT_POLLER_EVENTS_MAX, milliseconds)
    if count < 0:
        if errno != EINTR:
            PyErr_SetFromErrno(OSError)
        handle_signals(engine)
        count = 0
    engine.in_turn = True
    engine.thread = dorrit_thread()
    engine.turns += 1
    try:
        if engine.at_turn is not None and count > 0:
            tell_turn(engine)
        if engine.resuming is not None:
            resume_carried(engine)
        # What is stashed by these reads has its turn next time, after the others.
        if engine.resumed.length > 0:
            take_resumed(engine)
        for index in range(count):
            take_event(engine, &events[index])
        if engine.timers and not engine.shutting_down:
            run_timers(engine)
        if has_deadline(engine):
            end_what_is_late(engine)
        settle(engine)
        if engine.is_to_tell:
            tell_of_topics(engine)
        end_of_turn(engine)
        if engine.channel is not None and engine.channel.has_said:
            send_said(engine.channel, engine.poller)
        give_back_memory(engine)
    finally:
        engine.in_turn = False
        # An exception came in between, or what was resumed has been read only now.
        if engine.is_interrupted:
            end_interrupted(engine)
        elif (engine.dirty.length > 0 or engine.ended.length > 0 or engine.resumed.length > 0
              or engine.is_to_tell):
            wake(engine)
    if DORRIT_INVARIANTS:
        check_invariants(engine)
    return 0


cdef int tell_of_topics(Engine engine) except -1:
    """Tells of what stands by now, and lets functions hear what has been published."""
    if engine.to_confirm:
        confirm_all(engine)
        settle(engine)
    if engine.heard_topics:
        call_listeners(engine)
        settle(engine)
    engine.is_to_tell = len(engine.to_confirm) + len(engine.heard_topics) > 0
    return 0


cdef int take_event(Engine engine, dorrit_poller_event *event) except -1:
    cdef Connection connection
    if event.descriptor == engine.listener:
        take_clients(engine)
        record_touched(engine)
        return 0
    if event.descriptor == engine.woken_end:
        return wake_up(engine)
    # A connection that an earlier event of this turn has closed is not in the table any more. If
    # its number has been given to another one, that one is asked for nothing, which is harmless.
    if <size_t>event.descriptor >= engine.table_size or engine.table[event.descriptor] == NULL:
        if engine.channel is not None and event.descriptor == engine.channel.channel.descriptor:
            return take_messages(engine, event)
        if engine.roster is not None and event.descriptor == engine.roster.channel.descriptor:
            hear_worker(engine.roster, engine.poller, event.readable, event.writable)
            return take_again(engine)
        return call_watcher(engine, event.descriptor)
    connection = <Connection>engine.table[event.descriptor]
    begin_input(connection)
    try:
        if event.readable:
            read(connection)
        # One write for each turn, and not a second one by flush_dirty (R18).
        if event.writable if is_watched_for_writing(connection) else is_flushed_at_once(connection):
            flush(connection)
    except BaseException as error:
        give_up(engine, connection, error)
    finally:
        end_input(connection)
    return 0


cdef inline bint is_flushed_at_once(Connection connection) noexcept:
    """Whether what is queued is written now that its input has been handled, and not with all the rest."""
    return connection.state.is_answered or (
        connection.state.queue.bytes >= FLUSHED_AT_ONCE and not is_watched_for_writing(connection))


cdef int take_resumed(Engine engine) except -1:
    """Goes on with what connections had read when they were paused. One that is resumed anew
    meanwhile has its turn next time."""
    cdef size_t count = engine.resumed.length
    cdef Connection connection
    while count > 0 and engine.resumed.length > 0:
        count -= 1
        connection = take_first(&engine.resumed)
        connection.state.is_resumed = False
        begin_input(connection)
        try:
            if connection.state.stashed and not connection.state.paused:
                read_stash(connection)
                if is_flushed_at_once(connection):
                    flush(connection)
        except BaseException as error:
            give_up(engine, connection, error)
        finally:
            end_input(connection)
    return 0


cdef int settle(Engine engine) except -1:
    """Writes what is queued and runs the close callbacks, which may queue more. It ends, since a
    connection ends once, and since one that could not write all of its queue is not dirty."""
    while engine.dirty.length > 0 or engine.ended.length > 0:
        flush_dirty(engine)
        if engine.ended.length > 0:
            call_ended(engine)
    return 0


cdef int settle_all(Engine engine) except -1:
    """Settles though callbacks exit: R11 has the others run all the same. The first exit then goes
    on its way."""
    first = None
    while engine.dirty.length > 0 or engine.ended.length > 0:
        try:
            settle(engine)
        except BaseException as error:
            first = error if first is None else first
    check_process(engine, "close", first)
    if first is not None:
        raise first
    return 0


cdef int flush_dirty(Engine engine) except -1:
    cdef Connection connection
    while engine.dirty.length > 0:
        connection = take_first(&engine.dirty)
        connection.state.is_dirty = False
        try:
            # One that could not write all, earlier in this turn, waits for the poller.
            if not is_watched_for_writing(connection):
                flush(connection)
        except BaseException as error:
            give_up(engine, connection, error)
    return 0


cdef int call_ended(Engine engine) except -1:
    cdef Connection connection
    while engine.ended.length > 0:
        connection = take_first(&engine.ended)
        if engine.access_log:
            engine.reports.ended(connection, connection.state.close_code)
        if engine.is_busy is None:
            forget_end(connection)  # an event loop's workers do it when they get to it
        try:
            result = engine.on_close(connection, connection.state.close_code, connection.close_reason)
            if result is not None:
                check_result(engine.names.close, result, engine.names.may_be_async)
        except BaseException as error:
            callback_raised(engine, "close", error, connection)
        if connection.state.end_slot != 0 and not engine.is_busy(connection):
            forget_end(connection)
    return 0


cdef inline Connection take_first(References *references):
    """The one that has waited longest; there is one."""
    cdef Connection connection = <Connection>references_take(references)
    Py_DECREF(connection)   # the reference that the list had; the variable has its own
    return connection


cdef int refuse_turn(Engine engine) except -1:
    check_process(engine, "", None)
    check_usable(engine)
    return check_outside_turn(engine)


cdef int check_outside_turn(Engine engine) except -1:
    # A turn goes through the lists of connections; another one within it would do so as well.
    if engine.in_turn:
        raise RuntimeError("the loop is running already: a handler must not run or end it")
    return 0


cdef int check_usable(Engine engine) except -1:
    if engine.is_lost:
        raise RuntimeError(
            "this process was forked off the server's, whose connections it has not")
    if engine.poller < 0:
        raise RuntimeError("the engine is closed")
    return 0
