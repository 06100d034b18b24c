"""What comes in: bytes of one connection become a request, messages, control frames or its end."""

from dorrit.engine.connection cimport Connection

cdef int read(Connection connection) except -1
