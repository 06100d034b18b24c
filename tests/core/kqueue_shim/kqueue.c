/* A kqueue that is an epoll, both filters of a descriptor being one registration.
 *
 * Which filters there are and which of them are enabled stands in the 64 bits that the kernel keeps
 * beside each registration and hands back: nothing is kept here, so nothing goes stale when a
 * descriptor or a queue is closed, and several copies of this file may serve one queue (each
 * extension module is linked with its own). To change one filter the other must be known:
 * proc(5) shows the registrations of an epoll in /proc/self/fdinfo.
 */
#include <sys/event.h>

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BATCH = 64 };

/* Above the descriptor's number. */
static const uint64_t read_exists = UINT64_C(1) << 32;
static const uint64_t read_enabled = UINT64_C(1) << 33;
static const uint64_t write_exists = UINT64_C(1) << 34;
static const uint64_t write_enabled = UINT64_C(1) << 35;
static const uint64_t write_first = UINT64_C(1) << 36; /* it had no room the last time */

int kqueue(void)
{
    return epoll_create1(0);
}

static int control(int queue, int operation, int descriptor, uint64_t state)
{
    /* epoll reports EPOLLHUP and EPOLLERR whatever is asked for; with EPOLLONESHOT only once. */
    struct epoll_event event = {
        .events = ((state & read_enabled) != 0 ? (uint32_t)(EPOLLIN | EPOLLRDHUP) : 0)
            | ((state & write_enabled) != 0 ? (uint32_t)EPOLLOUT : 0),
        .data = {.u64 = (state & ~UINT64_C(0xFFFFFFFF)) | (uint32_t)descriptor},
    };
    if (event.events == 0) {
        event.events = EPOLLONESHOT;
    }
    return epoll_ctl(queue, operation, descriptor, &event);
}

/* To look costs a descriptor, and a real kqueue none: when there is none left, it is one above the
 * soft limit, where the hard limit allows it. */
static FILE *open_always(const char *path)
{
    FILE *file = fopen(path, "re");
    struct rlimit limit;
    if (file != NULL || errno != EMFILE || getrlimit(RLIMIT_NOFILE, &limit) == -1) {
        return file;
    }
    limit.rlim_cur++;
    if (setrlimit(RLIMIT_NOFILE, &limit) == -1) {
        errno = EMFILE;
        return NULL;
    }
    file = fopen(path, "re");
    limit.rlim_cur--;
    setrlimit(RLIMIT_NOFILE, &limit);
    return file;
}

/* Sets `*state` to what is registered for the descriptor, 0 for nothing. Returns 0, or an errno. */
static int look_up(int queue, int descriptor, uint64_t *state)
{
    struct stat status;
    if (fstat(descriptor, &status) == -1) {
        return errno;
    }
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", queue);
    FILE *file = open_always(path);
    if (file == NULL) {
        return errno == ENOENT ? EBADF : errno;
    }
    *state = 0;
    char line[256];
    while (fgets(line, sizeof line, file) != NULL) {
        int number;
        uint64_t data;
        uint64_t inode;
        /* A number may stand there twice: once of a file that was closed here and lives in a
         * process that was forked. */
        if (sscanf(
                line, "tfd: %d events: %*x data: %" SCNx64 " pos:%*d ino:%" SCNx64, &number, &data,
                &inode)
                == 3
            && number == descriptor && inode == status.st_ino) {
            *state = data;
        }
    }
    fclose(file);
    return 0;
}

/* Returns 0, or an errno. */
static int apply(int queue, const struct kevent *change)
{
    const unsigned known = EV_ADD | EV_DELETE | EV_ENABLE | EV_DISABLE;
    const unsigned flags = change->flags;
    if ((change->filter != EVFILT_READ && change->filter != EVFILT_WRITE) || (flags & ~known) != 0
        || change->fflags != 0 || change->udata != NULL) {
        return EINVAL;
    }
    if (change->ident > INT_MAX) {
        return EBADF;
    }
    const int descriptor = (int)change->ident;
    const uint64_t exists = change->filter == EVFILT_READ ? read_exists : write_exists;
    const uint64_t enabled = change->filter == EVFILT_READ ? read_enabled : write_enabled;
    /* "Adding an event automatically enables it, unless overridden by the EV_DISABLE flag." */
    const uint64_t wanted = exists | ((flags & EV_DISABLE) == 0 ? enabled : 0);
    if ((flags & EV_ADD) != 0) {
        if (control(queue, EPOLL_CTL_ADD, descriptor, wanted) == 0) {
            return 0;
        }
        if (errno != EEXIST) {
            return errno;
        }
    }
    /* What asks for nothing is only to be found, which mostly it is not: that is told without a
     * look at all of them. */
    if (flags == 0) {
        if (control(queue, EPOLL_CTL_ADD, descriptor, exists) == 0) {
            return control(queue, EPOLL_CTL_DEL, descriptor, 0) == -1 ? errno : ENOENT;
        }
        if (errno != EEXIST) {
            return errno;
        }
    }
    uint64_t state = 0;
    const int error = look_up(queue, descriptor, &state);
    if (error != 0) {
        return error;
    }
    /* "Re-adding an existing event will modify the parameters of the original event, and not result
     * in a duplicate entry." */
    if ((state & exists) == 0 && (flags & EV_ADD) == 0) {
        return ENOENT;
    }
    if (flags == 0) {
        return 0;
    }
    state &= ~(exists | enabled);
    if ((flags & EV_DELETE) == 0) {
        state |= wanted;
    }
    const int operation
        = (state & (read_exists | write_exists)) == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;
    return control(queue, operation, descriptor, state) == -1 ? errno : 0;
}

static struct kevent event_of(const struct epoll_event *ready, short filter)
{
    const int descriptor = (int)(uint32_t)ready->data.u64;
    /* kqueue(2) of EVFILT_READ: "If the read direction of the socket has shutdown, then the filter
     * also sets EV_EOF in flags"; there may be "still data pending in the socket buffer". Of
     * EVFILT_WRITE: "The filter will set EV_EOF when the reader disconnects". */
    const uint32_t ends = (uint32_t)(EPOLLHUP | EPOLLERR)
        | (filter == EVFILT_READ ? (uint32_t)EPOLLRDHUP : 0);
    int bytes = 0;
    if (filter != EVFILT_READ || ioctl(descriptor, FIONREAD, &bytes) == -1) {
        bytes = 0;
    }
    return (struct kevent){
        .ident = (uintptr_t)descriptor,
        .filter = filter,
        .flags = (ready->events & ends) != 0 ? EV_EOF : 0,
        .data = bytes,
    };
}

/* Writes the events of one descriptor, 0 to 2. When there is room for one of two, the other one is
 * the first of the two next time. */
static int unfold(int queue, const struct epoll_event *ready, struct kevent *events, int room)
{
    const uint64_t state = ready->data.u64;
    const uint32_t over = EPOLLHUP | EPOLLERR;
    const bool readable = (state & read_enabled) != 0
        && (ready->events & (over | (uint32_t)(EPOLLIN | EPOLLRDHUP))) != 0;
    const bool writable
        = (state & write_enabled) != 0 && (ready->events & (over | (uint32_t)EPOLLOUT)) != 0;
    if (readable && writable) {
        const bool turned = (state & write_first) != 0;
        events[0] = event_of(ready, turned ? EVFILT_WRITE : EVFILT_READ);
        if (room < 2) {
            control(queue, EPOLL_CTL_MOD, (int)(uint32_t)state, state ^ write_first);
            return 1;
        }
        events[1] = event_of(ready, turned ? EVFILT_READ : EVFILT_WRITE);
        return 2;
    }
    if (readable || writable) {
        events[0] = event_of(ready, readable ? EVFILT_READ : EVFILT_WRITE);
        return 1;
    }
    return 0;
}

static bool is_among(int descriptor, const struct kevent *events, int count)
{
    for (int index = 0; index < count; index++) {
        if (events[index].ident == (uintptr_t)descriptor) {
            return true;
        }
    }
    return false;
}

/* Takes what is ready, or waits for the first. Never asks for more descriptors than there is room
 * for their events: an epoll puts those that it has reported behind the others, and one whose event
 * were thrown away here might never get through. */
static int take(int queue, struct kevent *events, int room, int milliseconds)
{
    int taken = 0;
    while (taken < room) {
        struct epoll_event ready[BATCH];
        const int half = (room - taken + 1) / 2;
        const int count = epoll_wait(
            queue, ready, half < BATCH ? half : BATCH, taken == 0 ? milliseconds : 0);
        if (count <= 0) {
            return taken > 0 ? taken : count;
        }
        const int before = taken;
        bool around = false;
        for (int index = 0; index < count && taken < room; index++) {
            if (is_among((int)(uint32_t)ready[index].data.u64, events, before)) {
                around = true; /* all of them have had their turn */
            } else {
                taken += unfold(queue, &ready[index], events + taken, room - taken);
            }
        }
        if (around || taken == 0) {
            break;
        }
    }
    return taken;
}

static int64_t milliseconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int kevent(
    int queue, const struct kevent *changes, int change_count, struct kevent *events,
    int event_count, const struct timespec *timeout)
{
    int errors = 0;
    for (int index = 0; index < change_count; index++) {
        const int error = apply(queue, &changes[index]);
        if (error == 0) {
            continue;
        }
        /* "If an error occurs while processing an element of the changelist and there is enough
         * room in the eventlist, then the event will be placed in the eventlist with EV_ERROR set
         * in flags and the system error in data. Otherwise, -1 will be returned" */
        if (errors == event_count) {
            errno = error;
            return -1;
        }
        events[errors] = changes[index];
        events[errors].flags = EV_ERROR;
        events[errors++].data = error;
    }
    /* "When nevents is zero, kevent() will return immediately even if there is a timeout
     * specified" */
    if (errors > 0 || event_count == 0) {
        return errors;
    }
    const int64_t limit = timeout == NULL
        ? -1
        : (int64_t)timeout->tv_sec * 1000 + (timeout->tv_nsec + 999999) / 1000000;
    const int64_t end = milliseconds_now() + limit;
    for (int64_t left = limit;;) {
        const int count = take(queue, events, event_count, left < INT_MAX ? (int)left : INT_MAX);
        if (count != 0) {
            return count;
        }
        if (timeout != NULL) {
            left = end - milliseconds_now();
            if (left <= 0) {
                return 0;
            }
        }
    }
}
