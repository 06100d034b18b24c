# cython: language_level=3, freethreading_compatible=False
"""What few messages need on their way to the user's function: those that have come in parts or are to be
a str, and what it raises or returns."""

from cpython.ref cimport Py_XDECREF
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport uint16_t

from dorrit.engine.faults cimport callback_raised, fail_client
from dorrit.engine.life cimport close_in_order, fail
from dorrit.engine.results cimport check_result

from dorrit.protocol.closing import CloseCode
from dorrit.raised import is_exit


cdef uint16_t INVALID_PAYLOAD_DATA = CloseCode.INVALID_FRAME_PAYLOAD_DATA
cdef uint16_t INTERNAL_ERROR = CloseCode.INTERNAL_ERROR
cdef uint16_t GOING_AWAY = CloseCode.GOING_AWAY


cdef int deliver_assembled(Connection connection, Assembly assembly) except -1:
    connection.assembly = None
    message = assembly.take_message(connection.engine.text_as_str)
    if connection.engine.text_as_str:
        return deliver_message(connection, message)
    return deliver(connection, not assembly.is_text, <bytes>message)


cdef int deliver_text(Connection connection, const uint8_t *data, size_t length) except -1:
    """Validates a text while it is turned into a str: Python's decoder is as strict as RFC 3629,
    which section 8.1 of RFC 6455 asks for."""
    try:
        text = PyUnicode_DecodeUTF8(<const char *>data, <Py_ssize_t>length, NULL)
    except UnicodeDecodeError:
        return refuse_text(connection)
    return deliver_message(connection, text)


cdef int refuse_text(Connection connection) except -1:
    return fail_client(connection, INVALID_PAYLOAD_DATA, "a text is not UTF-8", True)


cdef int take_result(Connection connection, PyObject *returned) except -1:
    """A callback has returned something, which means nothing, unless it shows that it has not run.
    Takes over the reference."""
    cdef object result = <object>returned
    names = connection.engine.names
    Py_XDECREF(returned)
    try:
        check_result(names.message, result, names.may_be_async)
    except BaseException as error:
        take_error(connection, error)
    return 0


cdef int raise_what_is_set() except -1:
    return -1   # the interpreter knows the exception already


cdef int message_callback_raised(Connection connection) except -1:
    try:
        raise_what_is_set()
    except BaseException as error:
        take_error(connection, error)
    return 0


cdef int take_error(Connection connection, error) except -1:
    """A callback has raised: the connection is closed with 1011, or with 1001 if the server ends."""
    cdef Engine engine = connection.engine
    if not is_exit(error):
        fail(connection, INTERNAL_ERROR, "", True)
        return callback_raised(engine, engine.names.kind, error, connection)
    # What has been read with this message is not lost: the exit waits for the end of the turn.
    if engine.exit is None:
        engine.exit = error
    engine.is_interrupted = True
    connection.state.closed_here = True
    close_in_order(connection, GOING_AWAY, "")
    return 0
