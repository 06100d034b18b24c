# cython: language_level=3, freethreading_compatible=False
"""What has come in from a client and is incomplete: one buffer, never a list of pieces."""

from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.stdint cimport UINT32_MAX, uint32_t
from libc.string cimport memcpy

from dorrit.engine.c.connection cimport DORRIT_IN_PAYLOAD, DORRIT_IN_UNWANTED


cdef void drop_assembly(Connection connection) noexcept:
    if connection.assembly is not None:
        connection.state.skipping = connection.assembly.frame_rest
        connection.assembly = None
        if connection.state.parsing == DORRIT_IN_PAYLOAD:
            connection.state.parsing = DORRIT_IN_UNWANTED


cdef int take_in(Connection connection, uint8_t *data, size_t length, size_t capacity) except -1:
    """Puts `length` bytes behind those there are; the buffer has `capacity` bytes from now on."""
    cdef uint8_t *grown
    if capacity > UINT32_MAX or length > capacity or connection.state.input_length > capacity - length:
        raise OverflowError("what has come does not fit the buffer that is made for it")
    grown = <uint8_t *>PyMem_Realloc(connection.state.input, capacity)
    if grown == NULL:
        raise MemoryError
    connection.state.input = grown
    connection.state.input_capacity = <uint32_t>capacity
    if length > 0:
        memcpy(grown + connection.state.input_length, data, length)
        connection.state.input_length += <uint32_t>length
    return 0


cdef void free_input(Connection connection) noexcept:
    if connection.state.stashed:
        connection.engine.assembled -= connection.state.input_capacity
    PyMem_Free(connection.state.input)
    connection.state.input = NULL
    connection.state.input_length = 0
    connection.state.input_capacity = 0
    connection.state.input_searched = 0
    connection.state.stashed = False
