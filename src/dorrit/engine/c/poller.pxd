"""What `poller/poller.h` declares."""


cdef extern from "poller.h" nogil:
    struct dorrit_poller_event:
        int descriptor
        bint readable
        bint writable

    enum:
        DORRIT_POLLER_EVENTS_MAX

    int dorrit_poller_open()
    void dorrit_poller_let_go(int poller)
    int dorrit_poller_add(int poller, int descriptor)
    int dorrit_poller_modify(int poller, int descriptor, bint reading, bint writing)
    int dorrit_poller_remove(int poller, int descriptor)
    int dorrit_poller_wait(
        int poller, dorrit_poller_event *events, int capacity, int milliseconds)
