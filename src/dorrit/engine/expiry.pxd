"""How long an OPEN connection may go on, and the pings that it gets meanwhile."""

from dorrit.engine.connection cimport Connection


# It has just become OPEN.
cdef int start_expiry(Connection connection) except -1

# Its deadline has passed: ends it, or sends a ping, or does neither, and sets the next deadline.
cdef int expire(Connection connection) except -1
