/* One small interface over epoll (Linux) and kqueue (the BSDs, macOS).
 *
 * Level-triggered: a descriptor that is still ready is reported again by the next wait. The
 * poller's own descriptor is readable when an event waits, so it can be put into another loop; it
 * may be so without one, once, after the interest in a descriptor has changed.
 *
 * A descriptor that is closed leaves the poller by itself, but only when nobody else has it:
 * epoll(7) keeps it, and its number, while a forked process still holds a copy. Who may have
 * forked removes it first.
 */
#ifndef DORRIT_POLLER_H
#define DORRIT_POLLER_H

#include <stdbool.h>

/* With kqueue, one descriptor that is both readable and writable is two events, not always next to
 * each other. */
struct dorrit_poller_event {
    int descriptor;
    bool readable; /* readable, at its end, or in error: a read tells which */
    bool writable; /* writable, closed by its peer, or in error: a write tells which */
};

enum { DORRIT_POLLER_EVENTS_MAX = 256 };

/* Each returns -1 with errno set when it fails. */

/* A new poller's descriptor, close-on-exec. The caller closes it. */
int dorrit_poller_open(void);

/* Gives up a poller that a process has inherited, if it has: fork(2) copies it or not, as the system
 * likes. The poller itself is its parent's. */
void dorrit_poller_let_go(int poller);

/* Begins to watch `descriptor`, for reading only. Fails with EEXIST, and changes nothing, for one
 * that was added. */
int dorrit_poller_add(int poller, int descriptor);

/* Sets what a descriptor that was added is watched for. Nothing else is reported of it: neither its
 * end nor an error while it is watched for nothing. */
int dorrit_poller_modify(int poller, int descriptor, bool reading, bool writing);

/* Ends watching a descriptor that was added. */
int dorrit_poller_remove(int poller, int descriptor);

/* Waits up to `milliseconds` (-1: for ever; 0: not at all) and fills events[0 .. result).
 * `capacity` is at least 1; no more than DORRIT_POLLER_EVENTS_MAX are filled in. Returns 0 on a
 * time-out, and may do so too early: the caller has a clock. A signal ends the wait with EINTR. */
int dorrit_poller_wait(
    int poller, struct dorrit_poller_event *events, int capacity, int milliseconds);

#endif
