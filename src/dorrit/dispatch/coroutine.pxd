"""A step of a coroutine, as the interpreter takes it."""

from cpython.object cimport PyObject


cdef extern from "Python.h":
    ctypedef enum PySendResult:
        PYGEN_RETURN
        PYGEN_ERROR
        PYGEN_NEXT

    PySendResult PyIter_Send(
        object coroutine, object value, PyObject **result) except PYGEN_ERROR
    bint PyCoro_CheckExact(object coroutine)
    void release "Py_DECREF"(PyObject *)
