"""What goes out: the queue of one connection becomes one gather write for each write event."""

from dorrit.engine.connection cimport Connection

cdef int flush(Connection connection) except -1
