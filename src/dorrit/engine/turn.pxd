"""A turn of the loop."""

from dorrit.engine.engine cimport Engine


# Waits for at most so many milliseconds (-1: for ever), and does what there is to do.
cdef int turn(Engine engine, int milliseconds) except -1

# Writes what is queued and runs the close callbacks, though some of them exit: the first exit then goes
# on its way.
cdef int settle_all(Engine engine) except -1

# Raises RuntimeError in a callback, which must not run the loop or end it; of an engine that is closed.
cdef int check_outside_turn(Engine engine) except -1
cdef int check_usable(Engine engine) except -1
