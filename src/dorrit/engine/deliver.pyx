# cython: language_level=3, freethreading_compatible=False
"""One message of a client on its way to the user's function."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stddef cimport size_t
from libc.stdint cimport uint16_t

from dorrit.engine.batch cimport collect
from dorrit.engine.c.frame cimport DORRIT_OPCODE_BINARY, DORRIT_OPCODE_TEXT
from dorrit.engine.c.masking cimport dorrit_mask
from dorrit.engine.c.utf8 cimport dorrit_utf8_is_valid
from dorrit.engine.clock cimport quarters
from dorrit.engine.engine cimport Engine
from dorrit.engine.faults cimport callback_raised, fail_client
from dorrit.engine.fork cimport check_process, forks
from dorrit.engine.life cimport close_in_order, fail
from dorrit.engine.results cimport check_result

from dorrit.protocol.closing import CloseCode
from dorrit.raised import is_exit


cdef extern from "Python.h":
    size_t PY_VECTORCALL_ARGUMENTS_OFFSET
    PyObject *Py_True
    PyObject *Py_False
    # Declared so that Cython leaves a NULL to us.
    PyObject *PyObject_Vectorcall(
        object callback, PyObject **arguments, size_t count, PyObject *names)


cdef uint16_t INVALID_PAYLOAD_DATA = CloseCode.INVALID_FRAME_PAYLOAD_DATA
cdef uint16_t INTERNAL_ERROR = CloseCode.INTERNAL_ERROR
cdef uint16_t GOING_AWAY = CloseCode.GOING_AWAY


cdef int deliver_assembled(Connection connection, Assembly assembly) except -1:
    cdef Engine engine = connection.engine
    connection.assembly = None
    message = assembly.take_message(engine.text_as_str)
    if engine.text_as_str:
        return deliver_message(connection, message)
    return deliver(connection, not assembly.is_text, <bytes>message)


cdef int take_message(
    Connection connection, dorrit_frame_header *header, uint8_t *masked) except -1:
    cdef size_t length = <size_t>header.payload_length
    cdef bint text_as_str = connection.engine.text_as_str
    cdef bytes payload
    if header.opcode == DORRIT_OPCODE_TEXT and text_as_str:
        dorrit_mask(masked, masked, length, header.masking_key)
        return deliver_text(connection, masked, length)
    payload = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>length)
    dorrit_mask(<uint8_t *>PyBytes_AS_STRING(payload), masked, length, header.masking_key)
    if text_as_str:
        return deliver_message(connection, payload)
    if header.opcode == DORRIT_OPCODE_BINARY:
        return deliver(connection, True, payload)
    if not dorrit_utf8_is_valid(<uint8_t *>PyBytes_AS_STRING(payload), length):
        return fail_client(connection, INVALID_PAYLOAD_DATA, "a text is not UTF-8", True)
    return deliver(connection, False, payload)


cdef int deliver(Connection connection, bint binary, bytes payload) except -1:
    """R6: "One message in, one read callback".

    Called as the interpreter calls it, without the frame that a try statement costs each time.
    """
    cdef object callback = connection.engine.on_message
    cdef PyObject *arguments[4]
    if connection.engine.limits.idle_timeout > 0:
        connection.state.active = quarters()
    arguments[1] = <PyObject *>connection
    arguments[2] = Py_True if binary else Py_False
    arguments[3] = <PyObject *>payload
    return take_returned(connection, PyObject_Vectorcall(
        callback, arguments + 1, 3 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL))


cdef int deliver_text(Connection connection, const uint8_t *data, size_t length) except -1:
    """Validates a text while it is turned into a str: Python's decoder is as strict as RFC 3629,
    which section 8.1 of RFC 6455 asks for."""
    try:
        text = PyUnicode_DecodeUTF8(<const char *>data, <Py_ssize_t>length, NULL)
    except UnicodeDecodeError:
        return fail_client(connection, INVALID_PAYLOAD_DATA, "a text is not UTF-8", True)
    return deliver_message(connection, text)


cdef int deliver_message(Connection connection, object message) except -1:
    """As `deliver`, for a callback that takes a str or bytes, or for a dispatcher that takes several of
    them together."""
    cdef object callback
    cdef PyObject *arguments[3]
    if connection.engine.on_messages is not None:
        return collect(connection, message)
    callback = connection.engine.on_message
    if connection.engine.limits.idle_timeout > 0:
        connection.state.active = quarters()
    arguments[1] = <PyObject *>connection
    arguments[2] = <PyObject *>message
    return take_returned(connection, PyObject_Vectorcall(
        callback, arguments + 1, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL))


cdef inline int take_returned(Connection connection, PyObject *result) except -1:
    """A callback has come back: with NULL if it has raised. Takes over the reference."""
    if result == NULL:
        return message_callback_raised(connection)
    if connection.engine.forks_before != forks:
        check_process(connection.engine, connection.engine.names.kind, None)
    if result != <PyObject *>None:
        return take_result(connection, result)
    Py_XDECREF(result)
    return 0


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
    check_process(engine, engine.names.kind, error)
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
