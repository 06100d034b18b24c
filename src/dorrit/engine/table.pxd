"""The table of an engine: descriptor → connection."""

from dorrit.engine.connection cimport Connection
from dorrit.engine.engine cimport Engine


# Makes a connection that reads its request and takes it in: from here on the lists of work have room
# for it. It owns the descriptor, unless this fails.
cdef Connection connection_new(Engine engine, int descriptor)

# What becomes of a descriptor whose connection leaves the table.
cdef enum Fate:
    ENDED       # it is closed
    TAKEN       # it is somebody else's already, and is left alone
    CARRIED     # so it is, for the next image of the process

# Takes the connection of a descriptor out, and drops the table's reference.
cdef void table_leave(Engine engine, int descriptor, Fate fate) noexcept

# The connections that have a descriptor, in whatever state: a new list.
cdef list all_connections(Engine engine)
