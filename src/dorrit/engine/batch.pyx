# cython: language_level=3, freethreading_compatible=False
"""The messages of one read, on their way to a dispatcher that takes them together."""

from cpython.list cimport PyList_GET_SIZE

from dorrit.engine.clock cimport quarters
from dorrit.engine.engine cimport Engine


cdef int collect(Connection connection, object message) except -1:
    cdef Engine engine = connection.engine
    if engine.limits.idle_timeout > 0:
        connection.state.active = quarters()
    # Most reads bring one message, for which no list is made.
    if engine.first is None:
        engine.first = message
    else:
        engine.others.append(message)
    if PyList_GET_SIZE(engine.others) + 1 >= <Py_ssize_t>connection.state.room:
        return hand_over(connection)
    return 0


cdef int hand_over(Connection connection) except -1:
    cdef Engine engine = connection.engine
    cdef object first = engine.first
    cdef list others = engine.others
    if first is None:
        return 0
    engine.first = None
    if PyList_GET_SIZE(others) > 0:
        engine.others = []
    engine.on_messages(connection, first, others)
    return 0
