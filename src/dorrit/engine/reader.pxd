"""What comes in: bytes of one connection become messages, control frames or its end."""

from dorrit.engine.connection cimport Connection

cdef int read(Connection connection) except -1
cdef int read_stash(Connection connection) except -1
