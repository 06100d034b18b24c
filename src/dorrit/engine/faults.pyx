# cython: language_level=3, freethreading_compatible=False
"""What goes wrong, and whom it costs what: a client breaks a rule, a callback raises, memory runs out."""

from dorrit.engine.batch cimport hand_over
from dorrit.engine.c.build cimport DORRIT_INVARIANTS
from dorrit.engine.fork cimport check_process
from dorrit.engine.life cimport close_socket, fail_in_order
from dorrit.engine.work cimport wake

from dorrit.raised import is_exit


cdef int fail_client(Connection connection, uint16_t code, str reason, bint framed) except -1:
    hand_over(connection)
    connection.engine.reports.dropped(code, reason, connection)
    return fail_in_order(connection, code, reason, framed)


cdef int callback_raised(Engine engine, str callback, error, connection=None) except -1:
    check_process(engine, callback, error)
    if is_exit(error):
        raise error
    engine.reports.callback_raised(callback, error, connection)
    return 0


cdef int give_up(Engine engine, Connection connection, error) except -1:
    if is_exit(error):
        raise error
    if DORRIT_INVARIANTS and not issubclass(type(error), MemoryError):
        raise error
    close_socket(connection)
    engine.reports.engine_failed(error, connection)
    return 0


cdef int end_interrupted(Engine engine) except -1:
    if engine.is_lost:
        return check_process(engine, "", engine.exit)
    engine.is_interrupted = False
    wake(engine)
    error, engine.exit = engine.exit, None
    raise error
