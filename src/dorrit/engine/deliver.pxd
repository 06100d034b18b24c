"""One message of a client on its way to the user's function.

That of most messages is inlined into `frames`; what few of them need stands in `deliver.pyx`.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t

from dorrit.engine.assembly cimport Assembly
from dorrit.engine.batch cimport collect
from dorrit.engine.c.frame cimport (
    DORRIT_OPCODE_BINARY,
    DORRIT_OPCODE_TEXT,
    dorrit_frame_header,
)
from dorrit.engine.c.masking cimport dorrit_mask
from dorrit.engine.c.utf8 cimport dorrit_utf8_is_valid
from dorrit.engine.clock cimport quarters
from dorrit.engine.connection cimport Connection
from dorrit.engine.engine cimport Engine


cdef extern from "Python.h":
    size_t PY_VECTORCALL_ARGUMENTS_OFFSET
    PyObject *Py_True
    PyObject *Py_False
    # Declared so that Cython leaves a NULL to us, and takes no reference to what the engine has for life.
    PyObject *PyObject_Vectorcall(
        PyObject *callback, PyObject **arguments, size_t count, PyObject *names)


# A message that has come in parts, and is complete.
cdef int deliver_assembled(Connection connection, Assembly assembly) except -1

# A text that is to be a str: its bytes are validated. A text is not UTF-8: the client is failed.
cdef int deliver_text(Connection connection, const uint8_t *data, size_t length) except -1
cdef int refuse_text(Connection connection) except -1

# A callback has raised. It has returned something, whose reference is taken over.
cdef int message_callback_raised(Connection connection) except -1
cdef int take_result(Connection connection, PyObject *returned) except -1


cdef inline int take_message(
        Connection connection, dorrit_frame_header *header, uint8_t *masked) except -1:
    """A message that is one frame and has come whole: nearly all of them. `masked` is its payload, in
    the engine's input, which is changed."""
    cdef size_t length = <size_t>header.payload_length
    cdef bytes payload
    if connection.engine.text_as_str and header.opcode == DORRIT_OPCODE_TEXT:
        dorrit_mask(masked, masked, length, header.masking_key)
        return deliver_text(connection, masked, length)
    payload = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>length)
    dorrit_mask(<uint8_t *>PyBytes_AS_STRING(payload), masked, length, header.masking_key)
    if connection.engine.text_as_str:
        return deliver_message(connection, payload)
    if header.opcode == DORRIT_OPCODE_TEXT and not dorrit_utf8_is_valid(
            <uint8_t *>PyBytes_AS_STRING(payload), length):
        return refuse_text(connection)
    return deliver(connection, header.opcode == DORRIT_OPCODE_BINARY, payload)


cdef inline int deliver(Connection connection, bint binary, bytes payload) except -1:
    """R6: "One message in, one read callback".

    Called as the interpreter calls it, without the frame that a try statement costs each time.
    """
    cdef PyObject *arguments[4]
    if connection.engine.limits.idle_timeout > 0:
        connection.state.active = quarters()
    arguments[1] = <PyObject *>connection
    arguments[2] = Py_True if binary else Py_False
    arguments[3] = <PyObject *>payload
    return take_returned(connection, PyObject_Vectorcall(
        <PyObject *>connection.engine.on_message, arguments + 1,
        3 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL))


cdef inline int deliver_message(Connection connection, object message) except -1:
    """As `deliver`, for a callback that takes a str or bytes, or for a dispatcher that takes several of
    them together."""
    cdef PyObject *arguments[3]
    if connection.engine.on_messages is not None:
        return collect(connection, message)
    if connection.engine.limits.idle_timeout > 0:
        connection.state.active = quarters()
    arguments[1] = <PyObject *>connection
    arguments[2] = <PyObject *>message
    return take_returned(connection, PyObject_Vectorcall(
        <PyObject *>connection.engine.on_message, arguments + 1,
        2 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL))


cdef inline int take_returned(Connection connection, PyObject *result) except -1:
    """A callback has come back: with NULL if it has raised. Takes over the reference."""
    if result == NULL:
        return message_callback_raised(connection)
    if result != <PyObject *>None:
        return take_result(connection, result)
    Py_XDECREF(result)
    return 0
