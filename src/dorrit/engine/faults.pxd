"""What goes wrong, and whom it costs what: a client breaks a rule, a callback raises, memory runs out."""

from libc.stdint cimport uint16_t

from dorrit.engine.connection cimport Connection
from dorrit.engine.engine cimport Engine


# R5: the client has broken a rule. `framed`: whether it is still known where its frames begin.
cdef int fail_client(Connection connection, uint16_t code, str reason, bint framed) except -1

# Takes what a function of the user has raised: it is logged, unless it ends the server.
cdef int callback_raised(Engine engine, str callback, error, connection=*) except -1

# Memory ran out, or the engine has a fault: that costs this connection, and no other. An exit goes on
# its way.
cdef int give_up(Engine engine, Connection connection, error) except -1

# Ends a turn that does not end as usual.
cdef int end_interrupted(Engine engine) except -1
