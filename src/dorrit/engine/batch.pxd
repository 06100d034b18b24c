"""The messages of one read, on their way to a dispatcher that takes them together.

`async` handlers begin when a read is over: what was read together is handled by one task, and the
messages before a close frame are answered before it, as if they had come in a read of their own.
"""

from dorrit.engine.connection cimport Connection


# Puts a message behind those that have come with it. As many as its handlers take are handed over.
cdef int collect(Connection connection, object message) except -1

# The read is over, or the connection is about to end: hands over what has been collected. Does nothing
# if that is nothing.
cdef int hand_over(Connection connection) except -1
