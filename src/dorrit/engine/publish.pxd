"""Subscriptions of connections, and what is published to them."""

from dorrit.engine.connection cimport Connection
from dorrit.engine.engine cimport Engine


# Whether a connection is subscribed to a topic from here on; not if it is over, or has too many already.
cdef bint subscribe(Connection connection, object topic) except -1

# A connection's topic is none of its topics any more.
cdef int unsubscribe(Connection connection, object topic) except -1

# Queues a message for all connections that are subscribed, but for `exclude`, a Connection or None. Returns how
# many have it in their queue; -1 with an exception.
cdef Py_ssize_t publish(Engine engine, object topic, bint binary, bytes payload, object exclude) except -1

# How many connections are subscribed.
cdef Py_ssize_t count(Engine engine, object topic) except -1
