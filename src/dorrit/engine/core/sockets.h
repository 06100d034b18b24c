/* What sockets, pipes and the clock are called where POSIX leaves it to the system.
 *
 * Thin on purpose: each function is one system call where the system has one that fits. Each
 * returns -1 with errno set when it fails, unless it says otherwise, and leaves no descriptor
 * behind.
 */
#ifndef DORRIT_SOCKETS_H
#define DORRIT_SOCKETS_H

#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/* Takes a connection off `listener`: a descriptor that is non-blocking, close-on-exec and never
 * raises SIGPIPE when it is written to with dorrit_send(). The caller closes it. ECONNABORTED
 * means that the client had gone again before its turn came; the next call may succeed. */
int dorrit_accept(int listener);

/* Sends what the socket takes now of vectors[0 .. count) and returns how many bytes that was. Never
 * waits (EAGAIN) and never raises SIGPIPE (EPIPE), whatever the state of the descriptor. Vectors
 * beyond the system's IOV_MAX are left for the next call. `vectors` and what they point to are
 * borrowed for the call and not changed. */
ssize_t dorrit_send(int descriptor, struct iovec *vectors, int count);

/* Ends the outgoing direction: the peer reads everything sent before, and then the end. */
int dorrit_shutdown_writing(int descriptor);

/* Ends both directions, for every process that has a copy of the descriptor. */
int dorrit_shutdown(int descriptor);

/* Milliseconds of a clock that never goes back; its zero is arbitrary. Does not fail. */
uint64_t dorrit_monotonic_milliseconds(void);

/* Who connected the other end of a UNIX-domain socket, at the time it did: process, effective user
 * and group. `*pid` is -1 where the system does not tell. Nothing is written on failure. */
int dorrit_peer_credentials(int descriptor, int64_t *pid, int64_t *uid, int64_t *gid);

/* Which socket a descriptor is, of all that there are and have been since the machine was started;
 * where the system does not number them so, of those that there are. Fails for what is not a socket. */
int dorrit_socket_identity(int descriptor, uint64_t *identity);

/* A pipe, ends[0] to read from and ends[1] to write to, both non-blocking and close-on-exec. The
 * caller closes both. */
int dorrit_pipe(int ends[2]);

#endif
