"""One message of a client on its way to the user's function."""

from libc.stdint cimport uint8_t

from dorrit.engine.assembly cimport Assembly
from dorrit.engine.c.frame cimport dorrit_frame_header
from dorrit.engine.connection cimport Connection


# A message that is one frame and has come whole: nearly all of them. `masked` is its payload, in the
# engine's input, which is changed.
cdef int take_message(
    Connection connection, dorrit_frame_header *header, uint8_t *masked) except -1

# A message that has come in parts, and is complete.
cdef int deliver_assembled(Connection connection, Assembly assembly) except -1
