# cython: language_level=3, freethreading_compatible=False
"""The timer that interrupts the main thread until a signal has been handled; see signals.py.

In C, since the handler in C alone runs whenever a signal comes.
"""

from cpython.exc cimport PyErr_SetFromErrno


cdef extern from *:
    """
    #include <errno.h>
    #include <signal.h>
    #include <stdatomic.h>
    #include <sys/types.h>
    #include <time.h>
    #include <unistd.h>

    enum { DORRIT_INTERVAL = 50 /* milliseconds */ };

    static struct sigaction dorrit_noting[NSIG];
    static _Atomic(pid_t) dorrit_timer_of; /* a process has no timers of the one that has forked it */

    #if defined(_POSIX_TIMERS) && _POSIX_TIMERS > 0
    #if defined(__linux__) && !defined(sigev_notify_thread_id)
    #define sigev_notify_thread_id _sigev_un._tid
    #endif

    static timer_t dorrit_timer;

    static int dorrit_make_timer(int interruption)
    {
        struct sigevent event = {0};
        event.sigev_notify = SIGEV_SIGNAL;
    #ifdef __linux__
        event.sigev_notify = SIGEV_THREAD_ID;
        event.sigev_notify_thread_id = gettid();
    #endif
        event.sigev_signo = interruption;
        return timer_create(CLOCK_MONOTONIC, &event, &dorrit_timer);
    }

    static void dorrit_set_timer(long milliseconds)
    {
        struct itimerspec time = {0};
        time.it_value.tv_nsec = time.it_interval.tv_nsec = milliseconds * 1000000;
        if (atomic_load(&dorrit_timer_of) == getpid()) {
            timer_settime(dorrit_timer, 0, &time, NULL);
        }
    }
    #else
    static int dorrit_make_timer(int interruption)
    {
        (void)interruption;
        errno = ENOSYS;
        return -1;
    }

    static void dorrit_set_timer(long milliseconds)
    {
        (void)milliseconds;
    }
    #endif

    static void dorrit_note(int number)
    {
        const int error = errno;
        dorrit_set_timer(DORRIT_INTERVAL);
        errno = error;
        dorrit_noting[number].sa_handler(number);
    }

    static int dorrit_insist_on(int number, int interruption)
    {
        struct sigaction action;
        if (atomic_load(&dorrit_timer_of) != getpid()) {
            if (dorrit_make_timer(interruption) == -1) {
                return -1;
            }
            atomic_store(&dorrit_timer_of, getpid());
        }
        if (sigaction(number, NULL, &action) == -1) {
            return -1;
        }
        if (action.sa_handler != dorrit_note) {
            dorrit_noting[number] = action;
            action.sa_handler = dorrit_note;
        }
        return sigaction(number, &action, NULL);
    }
    """
    int dorrit_insist_on(int number, int interruption)
    void dorrit_set_timer(long milliseconds)


def insist_on(int number, int interruption):
    if dorrit_insist_on(number, interruption) == -1:
        PyErr_SetFromErrno(OSError)


def heard():
    dorrit_set_timer(0)
