/* Which thread it is that calls. */
#ifndef DORRIT_THREADS_H
#define DORRIT_THREADS_H

#include <pthread.h>
#include <stdint.h>

/* Returns what tells the calling thread from others that there are. Never 0.
 *
 * The interpreter's function does the same by two calls, and each message asks.
 */
static inline uintptr_t dorrit_thread(void)
{
    return (uintptr_t)pthread_self();
}

#endif
