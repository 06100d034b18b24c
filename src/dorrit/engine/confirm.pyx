# cython: language_level=3, freethreading_compatible=False
"""Subscriptions of which the user is told that they stand: until then what is published waits."""

cimport cython
from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stddef cimport size_t
from libc.stdint cimport UINT32_MAX, uint16_t, uint64_t

from dorrit.engine.c.catch_up cimport (
    dorrit_topics_begin_telling,
    dorrit_topics_catch_up,
    dorrit_topics_end_telling,
    dorrit_topics_is_told,
    dorrit_topics_keep,
    dorrit_topics_most,
)
from dorrit.engine.c.connection cimport DORRIT_ACCEPTED, DORRIT_OPEN
from dorrit.engine.c.frame cimport DORRIT_OPCODE_BINARY, DORRIT_OPCODE_TEXT
from dorrit.engine.c.topics cimport dorrit_topic_name
from dorrit.engine.faults cimport callback_raised, give_up
from dorrit.engine.frame cimport FRAME_COST
from dorrit.engine.life cimport close_in_order, fail
from dorrit.engine.record cimport begin_input, commit, end_input, record_change
from dorrit.engine.results cimport check_result
from dorrit.engine.send cimport NEVER_FITS, check_thread, pass_over, put_payload
from dorrit.engine.topics cimport name_from

from dorrit.engine.head import PENDING
from dorrit.engine.recovered import Recovered
from dorrit.protocol.closing import CloseCode
from dorrit.raised import is_exit


cdef uint16_t INTERNAL_ERROR = CloseCode.INTERNAL_ERROR
cdef uint16_t GOING_AWAY = CloseCode.GOING_AWAY

cdef object NOTHING_MISSED = Recovered()

cdef enum:
    # Bytes that all topics keep together for those who are to be told.
    KEPT_MOST = 16 * 1024 * 1024


@cython.final
@cython.freelist(64)
cdef class Kept:
    """A message that waits in a topic."""
    cdef bytes payload
    cdef bint binary
    cdef uint64_t excluded      # the number of the connection that does not get it; 0: all do


cdef int keep(Engine engine, uint32_t topic, bint binary, bytes payload, object exclude) except -1:
    cdef Kept kept = Kept.__new__(Kept)
    cdef size_t size = <size_t>PyBytes_GET_SIZE(payload) + FRAME_COST
    cdef dorrit_topics_most most
    # As much as may wait in the queue of a client, for which it waits here; but not 200 frames: many that come
    # in one turn may each be announced to all of them.
    most.of_one = most.of_all = KEPT_MOST
    if engine.limits.max_pending_bytes > 0:
        most.of_one = <size_t>engine.limits.max_pending_bytes
    kept.payload = payload
    kept.binary = binary
    # The number of another engine's client is one of this one's as well.
    kept.excluded = 0
    if exclude is not None and (<Connection>exclude).engine is engine:
        kept.excluded = (<Connection>exclude).state.number
    Py_INCREF(kept)
    if not dorrit_topics_keep(&engine.topics, topic, <void *>kept, size, most):
        Py_DECREF(kept)
        raise MemoryError
    return 0


cdef void release_kept(void *message) noexcept:
    Py_DECREF(<Kept>message)


cdef int confirm_all(Engine engine) except -1:
    # Those that come meanwhile have their turn next time.
    cdef Py_ssize_t count = len(engine.to_confirm)
    while count > 0 and engine.to_confirm:
        count -= 1
        connection, topic = engine.to_confirm.popleft()
        confirm(engine, <Connection>connection, <str>topic)
    return 0


cdef int confirm(Engine engine, Connection connection, str topic) except -1:
    cdef dorrit_topic_name name
    if connection.state.life != DORRIT_OPEN or connection.state.admission != DORRIT_ACCEPTED:
        return 0    # who is accepted later is told then: `accept_client`
    name_from(topic, &name)
    if not dorrit_topics_begin_telling(&engine.topics, <uint32_t>connection.state.descriptor, name):
        return 0    # it was left meanwhile
    begin_input(connection)
    try:
        tell(engine, connection, topic)
    except BaseException as error:
        give_up(engine, connection, error)
    finally:
        end_input(connection)
    return 0


cdef int tell(Engine engine, Connection connection, str topic) except -1:
    answer = None
    try:
        answer = engine.on_subscribed(connection, topic, NOTHING_MISSED)
        if answer is not None and answer is not PENDING:
            check_result("on_subscribed", answer, engine.names.may_be_async)
    except BaseException as error:
        if is_exit(error):
            connection.state.closed_here = True
            close_in_order(connection, GOING_AWAY, "")
        else:
            fail(connection, INTERNAL_ERROR, "", True)
        return callback_raised(engine, "subscribed", error, connection)
    return 0 if answer is PENDING else catch_up(connection, topic)


cdef bint is_told(Connection connection, str topic) except -1:
    cdef dorrit_topic_name name
    if connection.state.life != DORRIT_OPEN:
        return False
    name_from(topic, &name)
    return dorrit_topics_is_told(
        &connection.engine.topics, <uint32_t>connection.state.descriptor, name)


cdef int catch_up(Connection connection, str topic) except -1:
    cdef Engine engine = connection.engine
    cdef dorrit_topic_name name
    cdef uint64_t missed
    cdef void *message
    cdef Kept kept
    if connection.state.life != DORRIT_OPEN:
        return 0
    check_thread(engine)
    name_from(topic, &name)
    if not dorrit_topics_end_telling(&engine.topics, <uint32_t>connection.state.descriptor, name):
        return 0
    while connection.state.life == DORRIT_OPEN:
        message = dorrit_topics_catch_up(
            &engine.topics, <uint32_t>connection.state.descriptor, name, &missed)
        # Ours, before the log or whatever else may publish, which lets go of the oldest.
        kept = None if message == NULL else <Kept>message
        if missed > 0:
            note_missed(connection, topic, missed)
        if kept is None or connection.state.life != DORRIT_OPEN:
            break
        if kept.excluded != connection.state.number:
            put_kept(connection, kept)
    # Before what it has got stands in the journal: or the user would be told of it behind that, after a crash.
    record_change(connection)
    commit(connection)
    return 0


cdef int put_kept(Connection connection, Kept kept) except -1:
    cdef int outcome = put_payload(
        connection, DORRIT_OPCODE_BINARY if kept.binary else DORRIT_OPCODE_TEXT, kept.payload)
    if outcome == NEVER_FITS:
        return pass_over(connection, <size_t>PyBytes_GET_SIZE(kept.payload), True)
    if outcome < 0:
        raise MemoryError
    return 0


cdef int note_missed(Connection connection, str topic, uint64_t missed) except -1:
    """More has been published than is kept, before the user had been told."""
    connection.state.dropped += <uint32_t>min(missed, <uint64_t>(UINT32_MAX - connection.state.dropped))
    connection.engine.reports.missed(connection, topic, missed)
    return 0
