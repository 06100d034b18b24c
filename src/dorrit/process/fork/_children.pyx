# cython: language_level=3, freethreading_compatible=False
"""The signals that wait while a process is forked; see children.py.

Not in Python, which would run the server's handlers of other signals in between.
"""


cdef extern from *:
    """
    #include <signal.h>
    /* Of the thread that forks. */
    static _Thread_local sigset_t dorrit_mask_before;
    """
    ctypedef struct sigset_t:
        pass

    sigset_t dorrit_mask_before
    enum:
        SIG_BLOCK
        SIG_SETMASK

    int pthread_sigmask(int how, const sigset_t *signals, sigset_t *old) nogil
    int sigemptyset(sigset_t *signals) nogil
    int sigaddset(sigset_t *signals, int number) nogil


cdef sigset_t held
sigemptyset(&held)


def hold_back(int number):
    sigaddset(&held, number)


def hold():
    pthread_sigmask(SIG_BLOCK, &held, &dorrit_mask_before)


def release():
    pthread_sigmask(SIG_SETMASK, &dorrit_mask_before, NULL)
