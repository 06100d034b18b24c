# cython: language_level=3, freethreading_compatible=False
"""Subscriptions of connections, and what is published to them."""

from cpython.object cimport PyObject
from libc.stdint cimport uint32_t

from dorrit.engine.c.catch_up cimport dorrit_topics_has_behind
from dorrit.engine.c.connection cimport DORRIT_ACCEPTED, DORRIT_OPEN
from dorrit.engine.c.frame cimport DORRIT_OPCODE_BINARY, DORRIT_OPCODE_TEXT
from dorrit.engine.c.topics cimport (
    DORRIT_TOPICS_DONE,
    DORRIT_TOPICS_NOBODY,
    DORRIT_TOPICS_NO_MEMORY,
    dorrit_topic_name,
    dorrit_topics_begin_visit,
    dorrit_topics_count,
    dorrit_topics_count_of,
    dorrit_topics_end_visit,
    dorrit_topics_find,
    dorrit_topics_is_subscribed,
    dorrit_topics_next,
    dorrit_topics_outcome,
    dorrit_topics_subscribe,
    dorrit_topics_unsubscribe,
    dorrit_topics_visit,
)
from dorrit.engine.c.threads cimport dorrit_thread
from dorrit.engine.confirm cimport keep
from dorrit.engine.for_many cimport ForMany, for_many, for_many_release, put_for_many
from dorrit.engine.record cimport commit_all
from dorrit.engine.send cimport check_thread, may_send
from dorrit.engine.topics cimport name_from, topic_from
from dorrit.engine.work cimport to_be_confirmed, to_be_recorded, wake


cdef bint subscribe(Connection connection, object topic) except -1:
    cdef Engine engine = connection.engine
    cdef dorrit_topic_name name
    cdef dorrit_topics_outcome outcome
    cdef uint32_t member
    cdef str checked = topic_from(topic)
    if engine is None or connection.state.life != DORRIT_OPEN:
        return False
    check_thread(engine)
    name_from(checked, &name)
    member = <uint32_t>connection.state.descriptor
    if 0 < engine.limits.max_topics <= dorrit_topics_count_of(&engine.topics, member):
        if dorrit_topics_is_subscribed(&engine.topics, member, name):
            return True
        engine.reports.too_many_topics(connection, engine.limits.max_topics)
        return False
    outcome = dorrit_topics_subscribe(&engine.topics, member, name, engine.on_subscribed is not None)
    if outcome == DORRIT_TOPICS_NO_MEMORY:
        raise MemoryError
    if outcome == DORRIT_TOPICS_DONE:
        to_be_recorded(connection)      # nobody outside has seen it
        if engine.on_subscribed is not None and connection.state.admission == DORRIT_ACCEPTED:
            try:
                to_be_confirmed(connection, checked)
            except BaseException:
                dorrit_topics_unsubscribe(&engine.topics, member, name)
                raise
    return True


cdef int unsubscribe(Connection connection, object topic) except -1:
    cdef Engine engine = connection.engine
    cdef dorrit_topic_name name
    cdef str checked = topic_from(topic)
    if engine is None or connection.state.life != DORRIT_OPEN:
        return 0
    check_thread(engine)
    name_from(checked, &name)
    if dorrit_topics_unsubscribe(&engine.topics, <uint32_t>connection.state.descriptor, name):
        to_be_recorded(connection)
    return 0


cdef Py_ssize_t publish(Engine engine, object topic, bint binary, bytes payload, object exclude) except -1:
    cdef str checked = topic_from(topic)
    if exclude is not None and type(exclude) is not Connection:
        raise TypeError(f"who is excluded is a connection or None, not {type(exclude).__name__}")
    if engine.thread != dorrit_thread() and engine.thread != 0:
        raise RuntimeError(
            "publish() is called in another thread than the server's: have the server do it, by "
            "app.call_soon_threadsafe(app.publish, topic, message)")
    if engine.is_lost:
        return 0    # a process that was forked: the connections are its parent's
    if engine.publishing:
        # By a signal handler or what the log calls: who has been visited already must not get this one behind
        # the other, and the others before it.
        engine.to_publish.append((checked, binary, payload, exclude))
        return 0
    engine.publishing = True
    try:
        return publish_one(engine, checked, binary, payload, exclude)
    finally:
        try:
            if engine.to_publish:
                publish_what_waits(engine)
        finally:
            engine.publishing = False


cdef int publish_what_waits(Engine engine) except -1:
    error = None
    while engine.to_publish:
        topic, binary, payload, exclude = engine.to_publish.popleft()
        try:
            publish_one(engine, <str>topic, binary, payload, exclude)
        except BaseException as raised:
            error = raised      # the others are published all the same
    if error is not None:
        raise error
    return 0


cdef Py_ssize_t publish_one(
        Engine engine, str topic, bint binary, bytes payload, object exclude) except -1:
    cdef dorrit_topic_name name
    cdef dorrit_topics_visit visit
    cdef ForMany message
    cdef Connection connection
    cdef uint32_t member, found
    name_from(topic, &name)
    if engine.listeners:
        tell_listeners(engine, topic, binary, payload)
    found = dorrit_topics_find(&engine.topics, name)
    if found == 0:
        return 0
    if dorrit_topics_has_behind(&engine.topics, found):
        keep(engine, found, binary, payload, exclude)
    for_many(&message, DORRIT_OPCODE_BINARY if binary else DORRIT_OPCODE_TEXT, <PyObject *>payload)
    dorrit_topics_begin_visit(&engine.topics, found, &visit)
    try:
        member = dorrit_topics_next(&engine.topics, &visit)
        while member != DORRIT_TOPICS_NOBODY:
            # Who has a subscription is in the table: `leave_topics` comes before `table_leave`.
            connection = <Connection>engine.table[member]
            if connection is not exclude and may_send(connection):
                put_for_many(&message, connection)
            member = dorrit_topics_next(&engine.topics, &visit)
    finally:
        dorrit_topics_end_visit(&engine.topics, &visit)
        commit_all(engine)
        for_many_release(&message)
    if message.no_memory:
        raise MemoryError
    return message.queued


cdef int tell_listeners(Engine engine, str topic, bint binary, bytes payload) except -1:
    """Not within the publisher's own function: what a listener publishes comes behind this message, for all."""
    functions = engine.listeners.get(topic)
    if functions is not None:
        message = payload if binary else payload.decode("utf-8")
        for function in functions:
            engine.heard_topics.append((function, topic, message))
        engine.is_to_tell = True
        if not engine.in_turn:
            wake(engine)
    return 0


cdef Py_ssize_t count(Engine engine, object topic) except -1:
    cdef dorrit_topic_name name
    cdef str checked = topic_from(topic)
    if engine.is_lost:
        return 0
    name_from(checked, &name)
    return <Py_ssize_t>dorrit_topics_count(&engine.topics, name)
