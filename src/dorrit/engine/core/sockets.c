#include "sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifdef __APPLE__
#include <sys/un.h> /* LOCAL_PEERPID */
#elif defined(__FreeBSD__)
#include <sys/ucred.h>
#include <sys/un.h> /* LOCAL_PEERCRED */
#elif defined(__NetBSD__)
#include <sys/un.h> /* LOCAL_PEEREID */
#endif

/* macOS alone has neither accept4() nor pipe2(). */
#ifdef __APPLE__
#define HAVE_ATOMIC_FLAGS 0
#else
#define HAVE_ATOMIC_FLAGS 1
#endif

#ifdef MSG_NOSIGNAL
#define SEND_FLAGS (MSG_DONTWAIT | MSG_NOSIGNAL)
#else
#define SEND_FLAGS MSG_DONTWAIT
#endif

#ifndef IOV_MAX
#define IOV_MAX 1024
#endif

#if !HAVE_ATOMIC_FLAGS
static int close_keeping_errno(int descriptor)
{
    const int error = errno;
    close(descriptor);
    errno = error;
    return -1;
}

/* Between the call that made the descriptor and this one, another thread's fork and exec may
 * inherit it. The system offers nothing better. */
static bool set_flags(int descriptor)
{
    const int status = fcntl(descriptor, F_GETFL);
    return status != -1 && fcntl(descriptor, F_SETFL, status | O_NONBLOCK) != -1
        && fcntl(descriptor, F_SETFD, FD_CLOEXEC) != -1;
}
#endif

int dorrit_accept(int listener)
{
#if HAVE_ATOMIC_FLAGS
    return accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
#else
    const int descriptor = accept(listener, NULL, NULL);
    if (descriptor == -1) {
        return -1;
    }
    if (!set_flags(descriptor)) {
        return close_keeping_errno(descriptor);
    }
    const int on = 1;
    if (setsockopt(descriptor, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on) == -1) {
        /* setsockopt(2) of macOS: EINVAL if "the socket has been shut down", which is how a client
         * that is already gone shows itself. */
        if (errno == EINVAL) {
            errno = ECONNABORTED;
        }
        return close_keeping_errno(descriptor);
    }
    return descriptor;
#endif
}

ssize_t dorrit_send(int descriptor, struct iovec *vectors, int count)
{
    if (count == 1) {
        return send(descriptor, vectors[0].iov_base, vectors[0].iov_len, SEND_FLAGS);
    }
    struct msghdr message = {.msg_iov = vectors};
    /* POSIX says int, glibc says size_t: an unsigned short is safe in either. */
    message.msg_iovlen = (unsigned short)(count < IOV_MAX ? count : IOV_MAX);
    return sendmsg(descriptor, &message, SEND_FLAGS);
}

int dorrit_shutdown_writing(int descriptor)
{
    return shutdown(descriptor, SHUT_WR);
}

int dorrit_shutdown(int descriptor)
{
    return shutdown(descriptor, SHUT_RDWR);
}

uint64_t dorrit_monotonic_milliseconds(void)
{
    struct timespec now = {0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

#if defined(__linux__)

int dorrit_peer_credentials(int descriptor, int64_t *pid, int64_t *uid, int64_t *gid)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &size) == -1) {
        return -1;
    }
    /* unix(7): "The use of this option is possible only for connected AF_UNIX stream sockets". For
     * others Linux does not fail: it answers pid 0 and ids of -1. */
    if (peer.uid == (uid_t)-1) {
        errno = ENOTCONN;
        return -1;
    }
    /* 0 is a process of a PID namespace that this one can't see. */
    *pid = peer.pid == 0 ? -1 : peer.pid;
    *uid = peer.uid;
    *gid = peer.gid;
    return 0;
}

#else

/* The process, or -1: getpeereid() does not tell it. */
static int64_t peer_process(int descriptor)
{
#if defined(__APPLE__)
    pid_t peer = -1;
    socklen_t size = sizeof peer;
    return getsockopt(descriptor, SOL_LOCAL, LOCAL_PEERPID, &peer, &size) == 0 ? peer : -1;
#elif defined(__FreeBSD__)
    struct xucred peer = {0};
    socklen_t size = sizeof peer;
    /* unix(4): cr_pid is filled in since FreeBSD 13; 0 before. */
    if (getsockopt(descriptor, SOL_LOCAL, LOCAL_PEERCRED, &peer, &size) == 0
        && peer.cr_version == XUCRED_VERSION && peer.cr_pid > 0) {
        return peer.cr_pid;
    }
    return -1;
#elif defined(__NetBSD__)
    struct unpcbid peer;
    socklen_t size = sizeof peer;
    return getsockopt(descriptor, SOL_LOCAL, LOCAL_PEEREID, &peer, &size) == 0 ? peer.unp_pid : -1;
#elif defined(__OpenBSD__)
    struct sockpeercred peer;
    socklen_t size = sizeof peer;
    return getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 ? peer.pid : -1;
#else
    (void)descriptor;
    return -1;
#endif
}

int dorrit_peer_credentials(int descriptor, int64_t *pid, int64_t *uid, int64_t *gid)
{
    uid_t user;
    gid_t group;
    if (getpeereid(descriptor, &user, &group) == -1) {
        return -1;
    }
    *pid = peer_process(descriptor);
    *uid = user;
    *gid = group;
    return 0;
}

#endif

int dorrit_socket_identity(int descriptor, uint64_t *identity)
{
    struct stat status;
    if (fstat(descriptor, &status) == -1) {
        return -1;
    }
    if (!S_ISSOCK(status.st_mode)) {
        errno = ENOTSOCK;
        return -1;
    }
    /* An inode's number may be that of a file elsewhere, and is given again. */
    *identity = (uint64_t)status.st_ino ^ (uint64_t)status.st_dev << 32;
#ifdef SO_COOKIE
    uint64_t cookie;
    socklen_t size = sizeof cookie;
    if (getsockopt(descriptor, SOL_SOCKET, SO_COOKIE, &cookie, &size) == 0) {
        *identity = cookie;
    }
#endif
    return 0;
}

int dorrit_pipe(int ends[2])
{
#if HAVE_ATOMIC_FLAGS
    return pipe2(ends, O_NONBLOCK | O_CLOEXEC);
#else
    if (pipe(ends) == -1) {
        return -1;
    }
    if (!set_flags(ends[0]) || !set_flags(ends[1])) {
        close_keeping_errno(ends[0]);
        return close_keeping_errno(ends[1]);
    }
    return 0;
#endif
}
