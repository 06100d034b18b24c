"""Clients from the listening socket, and those for whom there is no room."""

from dorrit.engine.connection cimport Connection
from dorrit.engine.engine cimport Engine


# Takes the clients that wait, some at a time.
cdef int take_clients(Engine engine) except -1

# Takes a client that a supervisor has accepted. Returns whether there was memory for it; else it is closed.
cdef bint take_passed(Engine engine, int descriptor) except -1

# The worker has said something: clients may be taken again, if too many were on their way to it.
cdef int take_again(Engine engine) except -1

# Takes a connected socket as a client that has not sent its request yet. The engine owns the descriptor
# from here on; None: there is no memory for it, and it is closed.
cdef Connection take_client(Engine engine, int descriptor)

# Who has connected, as the kernel says: a `Peer`, or None.
cdef object peer_of(Connection connection)

# Keeps a descriptor for when there is no other left.
cdef void take_spare(Engine engine) noexcept

cdef int resume_listener(Engine engine) except -1
cdef int stop_listening(Engine engine) except -1

# A client's request may have come and wait to be read: it hears that the server stops.
cdef int answer_at_last(Engine engine, Connection connection) except -1
