"""What comes in: bytes of one connection become messages, control frames or its end."""

from dorrit.engine.connection cimport Connection

# Takes one read's worth of input, when the poller says that there is some.
cdef int read(Connection connection) except -1

# Goes on with what had been read when reading was paused, before anything else is read.
cdef int read_stash(Connection connection) except -1
