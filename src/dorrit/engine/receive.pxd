"""One read from a connection's descriptor."""

from libc.errno cimport EAGAIN, EINTR, errno
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t

from dorrit.engine.c.sockets cimport recv
from dorrit.engine.connection cimport Connection
from dorrit.engine.life cimport close_socket


cdef inline ssize_t receive(Connection connection, uint8_t *buffer, size_t size) noexcept:
    """Reads up to `size` bytes. 0: there is nothing now, or the connection is lost."""
    cdef ssize_t length = recv(connection.state.descriptor, buffer, size, 0)
    if length > 0:
        return length
    if length == 0 or (errno != EAGAIN and errno != EINTR):
        # The client has gone, with or without a close frame.
        close_socket(connection)
    return 0
