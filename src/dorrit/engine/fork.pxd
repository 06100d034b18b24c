"""Which process an engine belongs to: a callback may fork another one, which must not touch its clients."""

from dorrit.engine.engine cimport Engine


# Notes an engine, which is to know that its process has been forked.
cdef int note_engine(Engine engine) except -1

# Closes the engine's own descriptors: poller, pipe, spare.
cdef void close_descriptors(Engine engine) noexcept

# Ends a process that a callback has forked, where it comes back: raises SystemExit or KeyboardInterrupt
# then. `callback`: which one has just ended, "" if that is not known; `error`: what it has raised, or None.
cdef int check_process(Engine engine, str callback, error) except -1
