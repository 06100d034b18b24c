"""Time as the engine counts it: monotonic milliseconds, and what four bytes hold of them."""

from libc.stdint cimport uint32_t, uint64_t

from dorrit.engine.c.sockets cimport dorrit_monotonic_milliseconds
from dorrit.engine.engine cimport Engine
from dorrit.engine.work cimport wake


cdef enum:
    # Milliseconds: deadlines are rounded up to a multiple, so that all connections are looked
    # through for one that is late a few times a second at most.
    DEADLINE_STEP = 250


cdef inline uint32_t quarters() noexcept:
    """The time in quarters of a second, which four bytes hold for 34 years."""
    return <uint32_t>(dorrit_monotonic_milliseconds() // DEADLINE_STEP)


cdef inline uint32_t hundredths() noexcept:
    """The time in hundredths of a second; a difference holds for 497 days."""
    return <uint32_t>(dorrit_monotonic_milliseconds() // 10)


cdef inline uint64_t deadline_in(Engine engine, uint64_t milliseconds) noexcept:
    """The deadline that many milliseconds from now, of which the engine takes note."""
    cdef uint64_t deadline = dorrit_monotonic_milliseconds() + milliseconds + DEADLINE_STEP - 1
    deadline -= deadline % DEADLINE_STEP
    if deadline < engine.deadline_first:
        engine.deadline_first = deadline
        if not engine.in_turn:
            wake(engine)    # whoever waits for the engine does so until another time
    return deadline
