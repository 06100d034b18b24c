"""The connections of an engine into a ledger, from which the process's next image goes on with them."""

from libc.stdint cimport uint64_t

from dorrit.engine.connection cimport Connection
from dorrit.engine.engine cimport Engine


# Writes them into an empty file, and gives them up: whoever has a handle finds it closed, nobody hears of
# it, and the sockets stay open. Returns their descriptors. If it fails, nothing has changed.
cdef list carry_out(Engine engine, int file)

# Gives them up as the process's crash would, which leaves what is written down. `culprit`: whose input was
# being handled, or None. Returns the descriptors of those that have a record; the others are closed.
cdef list abandon(Engine engine, Connection culprit)

# About how many bytes that writes.
cdef uint64_t room_to_carry(Engine engine) except? 0
