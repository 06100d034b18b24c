/* The poller over epoll(7). */
#include "poller.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <unistd.h>

/* epoll_ctl(2) of EPOLLERR and EPOLLHUP: "epoll_wait(2) will always report for this event; it is
 * not necessary to set it in events". A connection whose reading is paused and whose peer has
 * gone would keep the loop turning. So the interest is kept beside the descriptor in what the
 * kernel hands back, and one that is watched for nothing is EPOLLONESHOT: it says so once, which
 * is dropped, and is silent then. */
static const uint64_t reading_bit = UINT64_C(1) << 32;
static const uint64_t writing_bit = UINT64_C(1) << 33;

int dorrit_poller_open(void)
{
    return epoll_create1(EPOLL_CLOEXEC);
}

void dorrit_poller_let_go(int poller)
{
    close(poller);
}

static int control(int poller, int operation, int descriptor, bool reading, bool writing)
{
    struct epoll_event event = {
        .events = (reading ? (uint32_t)EPOLLIN : 0) | (writing ? (uint32_t)EPOLLOUT : 0),
        .data = {.u64 = (uint32_t)descriptor | (reading ? reading_bit : 0)
                     | (writing ? writing_bit : 0)},
    };
    if (event.events == 0) {
        event.events = EPOLLONESHOT;
    }
    return epoll_ctl(poller, operation, descriptor, &event);
}

int dorrit_poller_add(int poller, int descriptor)
{
    return control(poller, EPOLL_CTL_ADD, descriptor, true, false);
}

int dorrit_poller_modify(int poller, int descriptor, bool reading, bool writing)
{
    return control(poller, EPOLL_CTL_MOD, descriptor, reading, writing);
}

int dorrit_poller_remove(int poller, int descriptor)
{
    return epoll_ctl(poller, EPOLL_CTL_DEL, descriptor, NULL);
}

int dorrit_poller_wait(
    int poller, struct dorrit_poller_event *events, int capacity, int milliseconds)
{
    struct epoll_event ready[DORRIT_POLLER_EVENTS_MAX];
    if (capacity > DORRIT_POLLER_EVENTS_MAX) {
        capacity = DORRIT_POLLER_EVENTS_MAX;
    }
    const int count = epoll_wait(poller, ready, capacity, milliseconds);
    if (count < 0) {
        return -1;
    }
    int reported = 0;
    for (int index = 0; index < count; index++) {
        const uint32_t flags = ready[index].events;
        const uint64_t data = ready[index].data.u64;
        const bool over = (flags & (EPOLLERR | EPOLLHUP)) != 0;
        const bool readable = (data & reading_bit) != 0 && (over || (flags & EPOLLIN) != 0);
        const bool writable = (data & writing_bit) != 0 && (over || (flags & EPOLLOUT) != 0);
        if (readable || writable) {
            events[reported++] = (struct dorrit_poller_event){
                .descriptor = (int)(uint32_t)data,
                .readable = readable,
                .writable = writable,
            };
        }
    }
    return reported;
}
