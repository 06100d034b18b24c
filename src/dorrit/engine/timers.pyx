# cython: language_level=3, freethreading_compatible=False
"""Functions that are called periodically (R14)."""

from dorrit.engine.c.sockets cimport dorrit_monotonic_milliseconds
from dorrit.engine.faults cimport callback_raised
from dorrit.engine.limits cimport milliseconds_of
from dorrit.engine.results cimport check_result
from dorrit.engine.work cimport wake


cdef class Timer:
    """A function that is called periodically; made by `Engine.every`."""

    def cancel(self) -> None:
        """Let the function not be called any more."""
        self.cancelled = True


cdef Timer timer_new(Engine engine, double seconds, function):
    cdef Timer timer = Timer.__new__(Timer)
    if not seconds > 0:
        raise ValueError(f"the period must be a positive number of seconds, not {seconds!r}")
    timer.function = function
    timer.interval = milliseconds_of(seconds)
    timer.due = dorrit_monotonic_milliseconds() + timer.interval
    engine.timers.append(timer)
    wake(engine)
    return timer


cdef int run_timers(Engine engine) except -1:
    cdef Timer timer
    for timer in tuple(engine.timers):
        if timer.cancelled:
            engine.timers.remove(timer)
        elif timer.due <= dorrit_monotonic_milliseconds() and not engine.shutting_down:
            try:
                result = timer.function()
                if result is not None:
                    check_result("the periodic function", result, engine.names.may_be_async)
            except BaseException as error:
                callback_raised(engine, "periodic", error)
            finally:
                timer.due = dorrit_monotonic_milliseconds() + timer.interval
    return 0


cdef uint64_t first_due(Engine engine, uint64_t first) noexcept:
    cdef Timer timer
    if not engine.shutting_down:
        for timer in engine.timers:
            if timer.due < first:
                first = timer.due
    return first
