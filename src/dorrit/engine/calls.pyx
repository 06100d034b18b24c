# cython: language_level=3, freethreading_compatible=False
"""Functions that are called in the loop's turns and have nothing to do with a connection: what other
threads and signals ask for, and what watches the caller's own descriptors."""

from cpython.exc cimport PyErr_CheckSignals, PyErr_SetFromErrno
from libc.stdint cimport uint8_t
from posix.unistd cimport close as close_descriptor, read as read_descriptor

from dorrit.engine.c.poller cimport dorrit_poller_add
from dorrit.engine.c.sockets cimport dorrit_pipe
from dorrit.engine.faults cimport callback_raised
from dorrit.engine.results cimport check_result
from dorrit.engine.work cimport wake

import signal

from dorrit.engine.callback_names import FUNCTIONS


cdef int open_waker(Engine engine) except -1:
    cdef int ends[2]
    if dorrit_pipe(ends) < 0:
        PyErr_SetFromErrno(OSError)
    engine.woken_end, engine.waker = ends[0], ends[1]
    if dorrit_poller_add(engine.poller, engine.woken_end) < 0:
        PyErr_SetFromErrno(OSError)
    return 0


cdef int replace_waker(Engine engine, int lost) except -1:
    cdef int before = engine.waker
    close_descriptor(engine.woken_end if lost == engine.waker else engine.waker)
    engine.waker = engine.woken_end = -1
    engine.woken = False
    open_waker(engine)
    wake(engine)     # whatever the one before had to say
    try:
        # Signals write a byte to it, which now would go to somebody else.
        of_signals = signal.set_wakeup_fd(engine.waker, warn_on_full_buffer=False)
        if of_signals != before:
            signal.set_wakeup_fd(of_signals)
    except ValueError:
        pass    # it is not the main thread's
    return 0


cdef int wake_up(Engine engine) except -1:
    cdef uint8_t thrown_away[512]
    engine.woken = False
    while read_descriptor(engine.woken_end, thrown_away, sizeof(thrown_away)) > 0:
        pass
    handle_signals(engine)
    return make_calls(engine)


cdef int handle_signals(Engine engine) except -1:
    """Runs the handlers of signals that have come, which may be the user's."""
    try:
        PyErr_CheckSignals()
    except BaseException as error:
        callback_raised(engine, "signal", error)
    return 0


cdef int make_calls(Engine engine) except -1:
    """Makes the calls that there are; those that they ask for have their turn next time."""
    cdef Py_ssize_t count = len(engine.calls)
    while count > 0 and engine.calls:
        count -= 1
        function, arguments = engine.calls.popleft()
        try:
            result = function(*arguments)
            if result is not None:
                check_result(FUNCTIONS["call_soon_threadsafe"], result)
        except BaseException as error:
            if engine.calls:
                wake(engine)    # the others have their turn, whatever becomes of this one
            callback_raised(engine, "call_soon_threadsafe", error)
    return 0


cdef int call_listeners(Engine engine) except -1:
    """Lets functions hear what has been published; what they publish themselves is heard the next time."""
    cdef Py_ssize_t count = len(engine.heard_topics)
    while count > 0 and engine.heard_topics:
        count -= 1
        function, topic, message = engine.heard_topics.popleft()
        try:
            result = function(topic, message)
            if result is not None:
                check_result(FUNCTIONS["topic"], result)
        except BaseException as error:
            callback_raised(engine, "topic", error)
    return 0


cdef int call_watcher(Engine engine, int descriptor) except -1:
    function = engine.watched.get(descriptor)
    if function is None:
        return 0
    try:
        function()
    except BaseException as error:
        callback_raised(engine, "watching", error)
    return 0


cdef int tell_turn(Engine engine) except -1:
    function, engine.at_turn = engine.at_turn, None
    function()
    return 0
