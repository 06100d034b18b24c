/* The poller over kqueue(2).
 *
 * A descriptor has two filters, each enabled or not: one to read, and one to write from the first
 * time that its interest is changed, since most never wait for room. The end of a stream and an
 * error arrive as an event of the filter that is enabled (EV_EOF), so they need no branch here.
 */
#include "poller.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/event.h>
#include <sys/time.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

int dorrit_poller_open(void)
{
    /* "The queue is not inherited by a child created with fork(2)", but it is by execve(2), and not
     * every system can say so in one call. */
    const int poller = kqueue();
    if (poller != -1 && fcntl(poller, F_SETFD, FD_CLOEXEC) == -1) {
        const int error = errno;
        close(poller);
        errno = error;
        return -1;
    }
    return poller;
}

void dorrit_poller_let_go(int poller)
{
#ifdef KQUEUE_IS_INHERITED
    close(poller);
#else
    /* "The queue is not inherited by a child": the number may be another file's. */
    (void)poller;
#endif
}

/* With no room for events, the first change that fails ends the call with its errno. */
static int change(int poller, struct kevent *changes, int count)
{
    return kevent(poller, changes, count, NULL, 0, NULL);
}

static struct kevent change_of(int descriptor, short filter, int action)
{
    struct kevent event;
    EV_SET(&event, (uintptr_t)descriptor, filter, (unsigned short)action, 0, 0, NULL);
    return event;
}

int dorrit_poller_add(int poller, int descriptor)
{
    /* "Re-adding an existing event will modify the parameters of the original event": it is no
     * error, and would enable one that is not. A change that asks for nothing tells whether there
     * is one. */
    struct kevent reading = change_of(descriptor, EVFILT_READ, 0);
    if (change(poller, &reading, 1) == 0) {
        errno = EEXIST;
        return -1;
    }
    if (errno != ENOENT) {
        return -1;
    }
    reading = change_of(descriptor, EVFILT_READ, EV_ADD);
    return change(poller, &reading, 1);
}

int dorrit_poller_modify(int poller, int descriptor, bool reading, bool writing)
{
    /* The first one fails for a descriptor that was never added. */
    struct kevent changes[] = {
        change_of(descriptor, EVFILT_READ, reading ? EV_ENABLE : EV_DISABLE),
        change_of(descriptor, EVFILT_WRITE, EV_ADD | (writing ? EV_ENABLE : EV_DISABLE)),
    };
    return change(poller, changes, 2);
}

int dorrit_poller_remove(int poller, int descriptor)
{
    struct kevent reading = change_of(descriptor, EVFILT_READ, EV_DELETE);
    struct kevent writing = change_of(descriptor, EVFILT_WRITE, EV_DELETE);
    if (change(poller, &reading, 1) == -1) {
        return -1;
    }
    /* "[ENOENT] The event could not be found": it was never watched for writing. */
    return change(poller, &writing, 1) == -1 && errno != ENOENT ? -1 : 0;
}

int dorrit_poller_wait(
    int poller, struct dorrit_poller_event *events, int capacity, int milliseconds)
{
    struct kevent ready[DORRIT_POLLER_EVENTS_MAX];
    if (capacity < 1) {
        errno = EINVAL; /* for which kevent() would not wait, and return 0 */
        return -1;
    }
    if (capacity > DORRIT_POLLER_EVENTS_MAX) {
        capacity = DORRIT_POLLER_EVENTS_MAX;
    }
    const struct timespec timeout = {
        .tv_sec = milliseconds / 1000,
        .tv_nsec = milliseconds % 1000 * 1000000L,
    };
    const int count = kevent(poller, NULL, 0, ready, capacity, milliseconds < 0 ? NULL : &timeout);
    for (int index = 0; index < count; index++) {
        events[index] = (struct dorrit_poller_event){
            .descriptor = (int)ready[index].ident,
            .readable = ready[index].filter == EVFILT_READ,
            .writable = ready[index].filter == EVFILT_WRITE,
        };
    }
    return count;
}
