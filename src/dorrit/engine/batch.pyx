# cython: language_level=3, freethreading_compatible=False
"""The messages of one read, on their way to a dispatcher that takes them together."""

from cpython.list cimport PyList_GET_SIZE

from dorrit.engine.clock cimport quarters
from dorrit.engine.engine cimport Engine
from dorrit.engine.fork cimport check_process, forks


cdef int collect(Connection connection, object message) except -1:
    cdef Engine engine = connection.engine
    if engine.limits.idle_timeout > 0:
        connection.state.active = quarters()
    engine.batch.append(message)
    if PyList_GET_SIZE(engine.batch) >= <Py_ssize_t>connection.state.room:
        return hand_over(connection)
    return 0


cdef int hand_over(Connection connection) except -1:
    cdef Engine engine = connection.engine
    cdef list batch = engine.batch
    if engine.on_messages is None or PyList_GET_SIZE(batch) == 0:
        return 0
    engine.batch = []
    engine.on_messages(connection, batch)
    if engine.forks_before != forks:
        check_process(engine, engine.names.kind, None)
    return 0
