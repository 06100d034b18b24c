"""The table of an engine: descriptor → connection."""

from dorrit.engine.connection cimport Connection
from dorrit.engine.engine cimport Engine


# Makes a connection that reads its request and takes it in: from here on the lists of work have room
# for it. It owns the descriptor, unless this fails.
cdef Connection connection_new(Engine engine, int descriptor)

# Closes the descriptor, unless it is known to be somebody else's, and drops the table's reference.
cdef void table_leave(Engine engine, int descriptor, bint is_taken) noexcept

# The connections that have a descriptor, in whatever state: a new list.
cdef list all_connections(Engine engine)
