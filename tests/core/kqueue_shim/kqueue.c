/* A kqueue of three epolls: one for each filter, both of them watched by the one that is handed
 * out.
 *
 * So a filter of a descriptor is one registration in the kernel, which knows whether it exists
 * (ENOENT) and drops it when the descriptor is closed, and no table here can go stale. A disabled
 * filter stays registered, for no event.
 */
#include <sys/event.h>

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { READING, WRITING, FILTERS };

/* By the queue's descriptor. Nobody says when a queue is closed: its two epolls are closed when the
 * number is handed out again. */
struct queue {
    int filters[FILTERS];
    int first; /* the filter whose events were not the first the last time */
    bool used;
};
enum { QUEUES_MAX = 1024, BATCH = 256 };
static struct queue queues[QUEUES_MAX];

/* Beside the descriptor in what the kernel hands back: epoll reports EPOLLHUP and EPOLLERR of a
 * disabled filter as well. */
static const uint64_t enabled_bit = UINT64_C(1) << 32;

static struct queue *find_queue(int queue)
{
    if (queue < 0 || queue >= QUEUES_MAX || !queues[queue].used) {
        errno = EBADF;
        return NULL;
    }
    return &queues[queue];
}

static void close_filters(struct queue *queue)
{
    for (int filter = 0; filter < FILTERS; filter++) {
        if (queue->filters[filter] != -1) {
            close(queue->filters[filter]);
        }
    }
    queue->used = false;
}

int kqueue(void)
{
    const int descriptor = epoll_create1(0);
    if (descriptor == -1) {
        return -1;
    }
    if (descriptor >= QUEUES_MAX) {
        close(descriptor);
        errno = EMFILE;
        return -1;
    }
    struct queue *queue = &queues[descriptor];
    if (queue->used) {
        close_filters(queue);
    }
    *queue = (struct queue){.filters = {-1, -1}, .used = true};
    for (int filter = 0; filter < FILTERS; filter++) {
        struct epoll_event event = {.events = EPOLLIN};
        queue->filters[filter] = epoll_create1(EPOLL_CLOEXEC);
        if (queue->filters[filter] == -1
            || epoll_ctl(descriptor, EPOLL_CTL_ADD, queue->filters[filter], &event) == -1) {
            const int error = errno;
            close_filters(queue);
            close(descriptor);
            errno = error;
            return -1;
        }
    }
    return descriptor;
}

/* Returns 0, or an errno. */
static int apply(const struct queue *queue, const struct kevent *change)
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
    const bool reading = change->filter == EVFILT_READ;
    const int filter = queue->filters[reading ? READING : WRITING];
    const int descriptor = (int)change->ident;
    if ((flags & EV_DELETE) != 0) {
        return epoll_ctl(filter, EPOLL_CTL_DEL, descriptor, NULL) == -1 ? errno : 0;
    }
    /* "Adding an event automatically enables it, unless overridden by the EV_DISABLE flag." */
    const bool enabled = (flags & EV_DISABLE) == 0;
    struct epoll_event event = {
        .events = enabled ? (uint32_t)(reading ? EPOLLIN | EPOLLRDHUP : EPOLLOUT) : EPOLLONESHOT,
        .data = {.u64 = (uint32_t)descriptor | (enabled ? enabled_bit : 0)},
    };
    /* "Re-adding an existing event will modify the parameters of the original event, and not result
     * in a duplicate entry." */
    if ((flags & EV_ADD) != 0) {
        if (epoll_ctl(filter, EPOLL_CTL_ADD, descriptor, &event) == 0) {
            return 0;
        }
        if (errno != EEXIST) {
            return errno;
        }
    }
    return epoll_ctl(filter, EPOLL_CTL_MOD, descriptor, &event) == -1 ? errno : 0;
}

static int take_events(int epoll, short filter, struct kevent *events, int room)
{
    struct epoll_event ready[BATCH];
    const int count = epoll_wait(epoll, ready, room < BATCH ? room : BATCH, 0);
    int taken = 0;
    for (int index = 0; index < count; index++) {
        const uint64_t data = ready[index].data.u64;
        const int descriptor = (int)(uint32_t)data;
        if ((data & enabled_bit) == 0) {
            continue;
        }
        /* kqueue(2) of EVFILT_READ: "If the read direction of the socket has shutdown, then the
         * filter also sets EV_EOF in flags"; there may be "still data pending in the socket
         * buffer". Of EVFILT_WRITE: "The filter will set EV_EOF when the reader disconnects". */
        const uint32_t ends = EPOLLHUP | EPOLLERR | EPOLLRDHUP;
        int bytes = 0;
        if (filter != EVFILT_READ || ioctl(descriptor, FIONREAD, &bytes) == -1) {
            bytes = 0;
        }
        events[taken++] = (struct kevent){
            .ident = (uintptr_t)descriptor,
            .filter = filter,
            .flags = (ready[index].events & ends) != 0 ? EV_EOF : 0,
            .data = bytes,
        };
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
    int descriptor, const struct kevent *changes, int change_count, struct kevent *events,
    int event_count, const struct timespec *timeout)
{
    struct queue *queue = find_queue(descriptor);
    if (queue == NULL) {
        return -1;
    }
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
        struct epoll_event ready[FILTERS];
        const int count = epoll_wait(
            descriptor, ready, FILTERS, left < INT_MAX ? (int)left : INT_MAX);
        if (count < 0) {
            return -1;
        }
        /* They take turns to be first, so that a busy one can't fill every small list. */
        int taken = 0;
        for (int turn = 0; turn < FILTERS && taken < event_count; turn++) {
            const int which = (queue->first + turn) % FILTERS;
            taken += take_events(
                queue->filters[which], which == READING ? EVFILT_READ : EVFILT_WRITE,
                events + taken, event_count - taken);
        }
        queue->first = (queue->first + 1) % FILTERS;
        if (taken > 0) {
            return taken;
        }
        if (timeout != NULL) {
            left = end - milliseconds_now();
            if (left <= 0) {
                return 0;
            }
        }
    }
}
