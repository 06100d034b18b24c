"""What the build was told: Meson's option `invariants`."""


cdef extern from *:
    """
    #ifndef DORRIT_INVARIANTS
    #define DORRIT_INVARIANTS 0
    #endif
    """
    bint DORRIT_INVARIANTS
