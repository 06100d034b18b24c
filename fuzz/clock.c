/* A monotonic clock that stands still until it is told to go on, for what is loaded after it with
 * LD_PRELOAD: an input then does the same each time, and hours pass in no time. */
#include <dlfcn.h>
#include <stdint.h>
#include <time.h>

int64_t dorrit_fuzz_clock = -1; /* milliseconds; -1: the clock of the system */

int clock_gettime(clockid_t clock, struct timespec *now)
{
    static int (*of_the_system)(clockid_t, struct timespec *);
    if (clock == CLOCK_MONOTONIC && dorrit_fuzz_clock >= 0) {
        now->tv_sec = (time_t)(dorrit_fuzz_clock / 1000);
        now->tv_nsec = (long)(dorrit_fuzz_clock % 1000) * 1000000;
        return 0;
    }
    if (of_the_system == NULL) {
        *(void **)&of_the_system = dlsym(RTLD_NEXT, "clock_gettime");
    }
    return of_the_system(clock, now);
}
