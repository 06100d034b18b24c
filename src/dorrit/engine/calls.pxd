"""Functions that are called in the loop's turns and have nothing to do with a connection: what other
threads and signals ask for, and what watches the caller's own descriptors."""

from dorrit.engine.engine cimport Engine


# Makes the pipe that ends the loop's sleep.
cdef int open_waker(Engine engine) except -1

# One end of that pipe is somebody else's: there is another one.
cdef int replace_waker(Engine engine, int lost) except -1

# Functions that listen to topics hear what has been published so far.
cdef int call_listeners(Engine engine) except -1

# Something has woken the loop: handlers of signals run, and calls are made.
cdef int wake_up(Engine engine) except -1
cdef int handle_signals(Engine engine) except -1
cdef int call_watcher(Engine engine, int descriptor) except -1
cdef int tell_turn(Engine engine) except -1
