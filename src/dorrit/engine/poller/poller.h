/* One small interface over epoll (Linux) and kqueue (the BSDs, macOS).
 *
 * Level-triggered: a descriptor that is still ready is reported again by the next wait. A closed descriptor leaves the poller by itself.
 * The poller's own descriptor is readable when an event waits, so it can be put into another loop.
 */
#ifndef DORRIT_POLLER_H
#define DORRIT_POLLER_H

#include <stdbool.h>
#include <stdint.h>

struct dorrit_poller_event {
    int descriptor;
    bool readable; /* readable, at its end, or in error: a read tells which */
    bool writable;
};

enum { DORRIT_POLLER_EVENTS_MAX = 256 };

/* Each returns -1 with errno set when it fails. */

/* A new poller's descriptor, close-on-exec. The caller closes it. */
int dorrit_poller_open(void);

/* Begins to watch `descriptor`, for reading only. */
int dorrit_poller_add(int poller, int descriptor);

/* Sets what a descriptor that was added is watched for. */
int dorrit_poller_modify(int poller, int descriptor, bool reading, bool writing);

/* Waits up to `milliseconds` (-1: for ever; 0: not at all) and fills events[0 .. result), at most
 * `capacity` (up to DORRIT_POLLER_EVENTS_MAX). Returns 0 on a time-out. A signal ends the wait with
 * EINTR. */
int dorrit_poller_wait(
    int poller, struct dorrit_poller_event *events, int capacity, int milliseconds);

#endif
