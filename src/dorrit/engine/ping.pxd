"""Pings and pongs on their way out: they go before the messages that wait."""

from dorrit.engine.connection cimport Connection


cdef enum:
    # Pongs that may wait in one queue; from then on the newest takes the last one's place.
    PONGS_MAX = 16
    # Control frames that may stand in a queue beside pongs: pings and closes.
    OTHER_CONTROL_MAX = 4


cdef int put_pong(Connection connection, bytes payload) except -1
cdef int put_ping(Connection connection) except -1
