"""Pings and pongs on their way out."""

from dorrit.engine.connection cimport Connection

cdef int put_pong(Connection connection, bytes payload) except -1
cdef int put_ping(Connection connection) except -1
