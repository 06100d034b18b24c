"""The opening handshake: the head of a request becomes a 101 or an HTTP error."""

from dorrit.engine.connection cimport Connection

# Collects the head of the request, up to the empty line that ends it, and answers it then. Returns how
# many bytes that follow the head are in the engine's input buffer.
cdef Py_ssize_t read_head(Connection connection) except -1

# Refuses a request with a `Refusal`; its deadline has passed; what the open callback says is done.
cdef int refuse(Connection connection, object answer) except -1
cdef int refuse_late(Connection connection) except -1
cdef int decide(Connection connection, object answer) except -1
