"""The opening handshake: the head of a request becomes a 101 or an HTTP error."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t

from dorrit.engine.connection cimport Connection
from dorrit.engine.engine cimport Engine


# Collects the head of the request, up to the empty line that ends it, and answers it then. Returns how
# many bytes that follow the head are in the engine's input buffer.
cdef Py_ssize_t read_head(Connection connection) except -1
# The same for one that has come whole, with what follows it.
cdef Py_ssize_t take_head(Connection connection, uint8_t *data, size_t length) except -1

# Refuses a request with a `Refusal`; its deadline has passed; what the open callback says is done.
cdef int refuse(Connection connection, object answer) except -1
cdef int refuse_late(Connection connection) except -1
cdef int decide(Connection connection, object answer) except -1

# What the log says of a client: the path of a target; and of a connection, with its client's address.
cdef str path_for_log(Engine engine, str target)
cdef int note_address(Connection connection, request) except -1
