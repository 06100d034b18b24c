"""Subscriptions of which the user is told that they stand: until then what is published waits.

Only where there is somebody to tell, `Engine.on_subscribed`.
"""

from libc.stdint cimport uint32_t

from dorrit.engine.connection cimport Connection
from dorrit.engine.engine cimport Engine


# Tells the user of all that there are to confirm.
cdef int confirm_all(Engine engine) except -1

# The user has been told, and the connection gets what was published meanwhile. Does nothing if it is over, or has
# left the topic.
cdef int catch_up(Connection connection, str topic) except -1

# Keeps a message for those who are behind; `topic` is a place as `dorrit_topics_find` has returned it, and there
# must be one of them. `exclude`: a Connection that does not get it, or None.
cdef int keep(Engine engine, uint32_t topic, bint binary, bytes payload, object exclude) except -1

# Whether the user is still to be told, `confirm_all` having asked for that.
cdef bint is_told(Connection connection, str topic) except -1

# Lets go of such a message, for `dorrit_topics.release`.
cdef void release_kept(void *message) noexcept
