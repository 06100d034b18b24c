"""References: connections of one engine that wait for the same thing, in order.

A ring. Each is taken out before it is looked after, so that whatever is done to it meanwhile may put
it in again: with a flag of its own that says whether it is in, a connection is there once at most,
and room for each of the engine's connections is room for whatever comes.
"""

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stddef cimport size_t


cdef extern from "Python.h":
    void Py_FatalError(const char *message) noexcept


ctypedef struct References:
    PyObject **items    # owns one reference for each
    size_t capacity     # a power of two, or 0
    size_t first
    size_t length


cdef enum:
    REFERENCES_FIRST = 16


cdef inline int references_reserve(References *references, size_t wanted) except -1:
    """Makes room for so many in all."""
    cdef size_t capacity = references.capacity
    cdef size_t index
    cdef PyObject **items
    if wanted <= capacity:
        return 0
    if capacity == 0:
        capacity = REFERENCES_FIRST
    while capacity < wanted:
        capacity *= 2
    items = <PyObject **>PyMem_Malloc(capacity * sizeof(PyObject *))
    if items == NULL:
        raise MemoryError
    for index in range(references.length):
        items[index] = references.items[(references.first + index) & (references.capacity - 1)]
    PyMem_Free(references.items)
    references.items = items
    references.capacity = capacity
    references.first = 0
    return 0


cdef inline void references_add(References *references, object connection) noexcept:
    """Puts one last. There must be room (references_reserve)."""
    if references.length >= references.capacity:
        # A fault in dorrit. Whatever came of a write beyond the end would be worse.
        Py_FatalError(b"dorrit: a list of connections has no room for one of them")
    Py_INCREF(connection)
    references.items[
        (references.first + references.length) & (references.capacity - 1)] = <PyObject *>connection
    references.length += 1


cdef inline PyObject *references_take(References *references) noexcept:
    """Takes the first one out. There must be one. The caller owns the reference."""
    cdef PyObject *connection = references.items[references.first]
    references.first = (references.first + 1) & (references.capacity - 1)
    references.length -= 1
    return connection


cdef inline PyObject *references_at(References *references, size_t index) noexcept:
    return references.items[(references.first + index) & (references.capacity - 1)]


cdef inline void references_drop(References *references) noexcept:
    """Forgets all."""
    while references.length > 0:
        Py_DECREF(<object>references_take(references))


cdef inline void references_free(References *references) noexcept:
    references_drop(references)
    PyMem_Free(references.items)
    references.items = NULL
    references.capacity = 0
