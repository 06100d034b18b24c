# cython: language_level=3, freethreading_compatible=False
"""The topics of an engine's connections."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject_Hash
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from cpython.weakref cimport PyWeakref_NewRef
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from dorrit.engine.c.connection cimport DORRIT_OPEN
from dorrit.engine.c.topics cimport (
    DORRIT_TOPICS_NO_MEMORY,
    DORRIT_TOPIC_UNCONFIRMED,
    dorrit_topic_name_is_valid,
    dorrit_topics_leave,
    dorrit_topics_names,
    dorrit_topics_subscribe,
)
from dorrit.engine.work cimport to_be_confirmed


cdef extern from "Python.h":
    int PyGC_Disable() noexcept
    int PyGC_Enable() noexcept


cdef int name_from(str topic, dorrit_topic_name *name) except -1:
    cdef Py_ssize_t length
    name.bytes = <const uint8_t *>PyUnicode_AsUTF8AndSize(topic, &length)
    name.length = <size_t>length
    # Python's hash of a str has a key that is made anew for each process.
    name.hash = <uint64_t>PyObject_Hash(topic)
    return 0


cdef str topic_from(object topic):
    cdef dorrit_topic_name name
    if not isinstance(topic, str):
        raise TypeError(f"a topic is a str, not {type(topic).__name__}")
    if type(topic) is not str:
        topic = str.__str__(topic)
    try:
        name_from(topic, &name)
    except UnicodeEncodeError:
        raise ValueError(
            f"{topic[:300]!r} can't be a topic: it is not text that can be encoded in UTF-8") from None
    if not dorrit_topic_name_is_valid(name.bytes, name.length):
        raise ValueError(
            f"{topic[:300]!r} can't be a topic: that is 1 to 255 bytes of UTF-8 without control characters")
    return topic


def check_topic(topic) -> None:
    """Look whether something can be a topic.

    Raises:
        TypeError: It is not a str.
        ValueError: It can't be a topic.
    """
    topic_from(topic)


cdef bytes names_of(Connection connection):
    cdef Engine engine = connection.engine
    if engine is None:
        return b""
    if connection.state.life == DORRIT_OPEN:
        return names_in_table(engine, <uint32_t>connection.state.descriptor)
    return engine.left.get(PyWeakref_NewRef(connection, None), b"") if engine.left else b""


cdef bytes names_in_table(Engine engine, uint32_t member):
    cdef size_t length = dorrit_topics_names(&engine.topics, member, NULL, 0)
    cdef bytes names
    if length == 0:
        return b""
    names = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>length)
    dorrit_topics_names(&engine.topics, member, <uint8_t *>PyBytes_AS_STRING(names), length)
    return names


cdef object set_of(bytes names):
    return frozenset([topic for topic, _ in topics_in(names)])


cdef list topics_in(bytes names):
    cdef const uint8_t *content = <const uint8_t *>PyBytes_AS_STRING(names)
    cdef size_t length = <size_t>PyBytes_GET_SIZE(names)
    cdef size_t at = 0, size
    cdef uint8_t flags
    cdef list topics = []
    while at < length:
        size = content[at]
        if length - at < 2 or size > length - at - 2:
            return None
        flags = content[at + 1]
        at += 2
        if flags > DORRIT_TOPIC_UNCONFIRMED or not dorrit_topic_name_is_valid(content + at, size):
            return None
        try:
            topics.append(((<const char *>content + at)[:size].decode("utf-8"), flags == 0))
        except UnicodeDecodeError:
            return None
        at += size
    return topics


cdef int restore_topics(Connection connection, bytes names, list topics) except -1:
    cdef dorrit_topic_name name
    cdef bint waits
    if not topics:
        return 0
    if connection.state.life != DORRIT_OPEN:
        keep_left(connection, names)
        return 0
    for topic, is_confirmed in topics:
        waits = not is_confirmed and connection.engine.on_subscribed is not None
        name_from(topic, &name)
        if dorrit_topics_subscribe(
                &connection.engine.topics, <uint32_t>connection.state.descriptor,
                name, waits) == DORRIT_TOPICS_NO_MEMORY:
            raise MemoryError
        if waits:
            to_be_confirmed(connection, topic)
    return 0


cdef int confirm_accepted(Connection connection) except -1:
    if connection.engine.on_subscribed is None or connection.state.life != DORRIT_OPEN:
        return 0
    for topic, is_confirmed in topics_in(names_of(connection)):
        if not is_confirmed:
            to_be_confirmed(connection, topic)
    return 0


cdef void leave_topics(Connection connection) noexcept:
    cdef Engine engine = connection.engine
    cdef bytes names
    cdef uint32_t member = <uint32_t>connection.state.descriptor
    # A finalizer would find the connection between two states.
    cdef int collects = PyGC_Disable()
    try:
        names = names_in_table(engine, member)
        if names:
            keep_left(connection, names)
    except MemoryError:
        pass    # the close callback finds none
    dorrit_topics_leave(&engine.topics, member)
    if collects:
        PyGC_Enable()


cdef int keep_left(Connection connection, bytes names) except -1:
    """Keeps what a connection had for as long as somebody has its handle."""
    cdef dict left = connection.engine.left
    left[PyWeakref_NewRef(connection, left.pop)] = names
    return 0
