"""What must hold of an engine after each turn."""

from dorrit.engine.agenda cimport Agenda

cdef int check_invariants(Agenda agenda) except -1
