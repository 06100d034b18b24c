"""Connections of the process's last image: the user hears of them before anything of theirs is handled."""

from dorrit.engine.connection cimport Connection
from dorrit.engine.engine cimport Engine


# Tells the user of all that were carried in, at the beginning of a turn.
cdef int resume_carried(Engine engine) except -1

# The user, who took his time, has answered.
cdef int end_resumption(Connection connection, object answer) except -1
