"""The topics of an engine's connections, by their descriptors: those that are OPEN have some.

Whoever is not OPEN any more has left them; what it had is kept beside, for its close callback.
"""

from dorrit.engine.c.topics cimport dorrit_topic_name
from dorrit.engine.connection cimport Connection
from dorrit.engine.engine cimport Engine


# A topic's name as C has it. It borrows from `topic`, which must be a str of its own type (topic_from).
cdef int name_from(str topic, dorrit_topic_name *name) except -1

# What a user gives as a topic. Raises TypeError, or ValueError if it can't be one.
cdef str topic_from(object topic)

# The names of a connection's topics, as `dorrit_topics_names` writes them; of one that is over, those that it had.
# And such names as the set that users see.
cdef bytes names_of(Connection connection)
cdef object set_of(bytes names)

# What stands in a ledger as the names of a connection's topics: a list of tuples of a str and whether its
# subscription is confirmed; or None if that is something else.
cdef list topics_in(bytes names)

# A connection of the last image has these topics, as `topics_in` has read them.
cdef int restore_topics(Connection connection, bytes names, list topics) except -1

# The connection has been accepted: its user is to be told of the topics that it has by then.
cdef int confirm_accepted(Connection connection) except -1

# The connection gets nothing any more.
cdef void leave_topics(Connection connection) noexcept
