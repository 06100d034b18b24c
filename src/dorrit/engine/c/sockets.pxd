"""What `core/sockets.h` declares, and the system's headers that it goes with."""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint64_t


cdef extern from "<sys/uio.h>" nogil:
    struct iovec:
        void *iov_base
        size_t iov_len

cdef extern from "<sys/socket.h>" nogil:
    ssize_t recv(int descriptor, void *buffer, size_t length, int flags)
    int MSG_DONTWAIT

cdef extern from "sockets.h" nogil:
    int dorrit_accept(int listener)
    int dorrit_pipe(int *ends)
    ssize_t dorrit_send(int descriptor, iovec *vectors, int count)
    int dorrit_shutdown(int descriptor)
    int dorrit_shutdown_writing(int descriptor)
    int dorrit_peer_credentials(int descriptor, int64_t *pid, int64_t *uid, int64_t *gid)
    int dorrit_socket_identity(int descriptor, uint64_t *identity)
    uint64_t dorrit_monotonic_milliseconds()
