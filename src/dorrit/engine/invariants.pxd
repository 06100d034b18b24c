"""What must hold of an engine after each turn."""

from dorrit.engine.engine cimport Engine

cdef int check_invariants(Engine engine) except -1

# When an engine is made.
cdef int record_all_along(Engine engine) except -1
