/* The poller over epoll(7). */
#include "poller.h"

#include <sys/epoll.h>

int dorrit_poller_open(void)
{
    return epoll_create1(EPOLL_CLOEXEC);
}

static int control(int poller, int operation, int descriptor, uint32_t interest)
{
    struct epoll_event event = {.events = interest, .data = {.fd = descriptor}};
    return epoll_ctl(poller, operation, descriptor, &event);
}

int dorrit_poller_add(int poller, int descriptor)
{
    return control(poller, EPOLL_CTL_ADD, descriptor, EPOLLIN);
}

int dorrit_poller_modify(int poller, int descriptor, bool reading, bool writing)
{
    const uint32_t interest = (reading ? (uint32_t)EPOLLIN : 0) | (writing ? (uint32_t)EPOLLOUT : 0);
    return control(poller, EPOLL_CTL_MOD, descriptor, interest);
}

int dorrit_poller_wait(
    int poller, struct dorrit_poller_event *events, int capacity, int milliseconds)
{
    struct epoll_event ready[DORRIT_POLLER_EVENTS_MAX];
    if (capacity > DORRIT_POLLER_EVENTS_MAX) {
        capacity = DORRIT_POLLER_EVENTS_MAX;
    }
    const int count = epoll_wait(poller, ready, capacity, milliseconds);
    for (int index = 0; index < count; index++) {
        const uint32_t flags = ready[index].events;
        events[index] = (struct dorrit_poller_event){
            .descriptor = ready[index].data.fd,
            .readable = (flags & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0,
            .writable = (flags & EPOLLOUT) != 0,
        };
    }
    return count;
}
