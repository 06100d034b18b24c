"""What `Python.h` declares, and Cython has no declaration of."""


cdef extern from "Python.h":
    unsigned long PyThread_get_thread_ident() noexcept nogil
