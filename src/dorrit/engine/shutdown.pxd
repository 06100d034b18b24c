"""The end of an engine's connections, in order or at once."""

from libc.stdint cimport uint16_t

from dorrit.engine.engine cimport Engine


# Takes no more clients and closes all connections in order. The caller turns the loop.
cdef int begin_shutdown(Engine engine, uint16_t code, str reason) except -1

# Cuts off the connections that are left, and runs the close callbacks.
cdef int end_shutdown(Engine engine) except -1

# Cuts off all connections, without any callback, and closes the engine's descriptors.
cdef int close_engine(Engine engine) except -1
