/* kqueue(2) and kevent(2) on Linux, for tests only: as much of it as the poller uses.
 *
 * It lets `poller/kqueue.c` be compiled, tested and run under the whole engine where there is no
 * kqueue. It refuses (EINVAL) what it does not offer rather than doing something near to it:
 *
 *   - the filters EVFILT_READ and EVFILT_WRITE, level-triggered; `udata`, `fflags` are 0;
 *   - EV_ADD, EV_DELETE, EV_ENABLE, EV_DISABLE in, EV_EOF and EV_ERROR out;
 *   - `data` is the number of bytes to read, where there is one; it is 0 for EVFILT_WRITE.
 *
 * What differs from a real one: the queue is inherited by fork(2), as KQUEUE_IS_INHERITED says; a
 * file that a forked process holds too is not dropped when it is closed here; what an epoll can't
 * watch (regular files) is refused with EPERM; one filter of a descriptor at a time may be changed,
 * by one thread.
 */
#ifndef DORRIT_TESTS_SYS_EVENT_H
#define DORRIT_TESTS_SYS_EVENT_H

#include <stdint.h>
#include <time.h>

#define KQUEUE_IS_INHERITED 1

enum { EVFILT_READ = -1, EVFILT_WRITE = -2 };

enum {
    EV_ADD = 0x0001,
    EV_DELETE = 0x0002,
    EV_ENABLE = 0x0004,
    EV_DISABLE = 0x0008,
    EV_ERROR = 0x4000,
    EV_EOF = 0x8000
};

struct kevent {
    uintptr_t ident;
    short filter;
    unsigned short flags;
    unsigned int fflags;
    int64_t data;
    void *udata;
};

#define EV_SET(event, identifier, event_filter, event_flags, filter_flags, event_data, user_data)  \
    (*(event) = (struct kevent){                                                                   \
         .ident = (identifier),                                                                    \
         .filter = (event_filter),                                                                 \
         .flags = (event_flags),                                                                   \
         .fflags = (filter_flags),                                                                 \
         .data = (event_data),                                                                     \
         .udata = (user_data),                                                                     \
     })

int kqueue(void);
int kevent(
    int queue, const struct kevent *changes, int change_count, struct kevent *events,
    int event_count, const struct timespec *timeout);

#endif
