"""What comes to a worker by its channel to the supervisor."""

from dorrit.engine.c.poller cimport dorrit_poller_event
from dorrit.engine.engine cimport Engine


# Reads some of it, and takes the connections; sends what could not be sent before.
cdef int take_messages(Engine engine, dorrit_poller_event *event) except -1

# Takes a connection that has come by the channel, and says so; or that there is no memory for it.
cdef int take_new(Engine engine, int descriptor) except -1
