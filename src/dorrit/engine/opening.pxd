"""The opening handshake: the head of a request becomes a 101 or an HTTP error."""

from dorrit.engine.connection cimport Connection

cdef Py_ssize_t read_head(Connection connection) except -1
cdef int refuse(Connection connection, object answer) except -1
cdef int refuse_late(Connection connection) except -1
cdef int decide(Connection connection, object answer) except -1
