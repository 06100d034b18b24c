# cython: language_level=3, freethreading_compatible=False
"""Descriptors that somebody else in this process has closed, and whose numbers are given anew."""

from libc.stddef cimport size_t

from dorrit.engine.calls cimport replace_waker
from dorrit.engine.connection cimport Connection
from dorrit.engine.life cimport forget_socket


cdef int take_over(Engine engine, int descriptor) except -1:
    if <size_t>descriptor < engine.table_size and engine.table[descriptor] != NULL:
        forget_socket(<Connection>engine.table[descriptor])
        engine.reports.descriptor_lost(descriptor, "a client's connection")
    if descriptor == engine.spare:
        engine.spare = -1
        engine.reports.descriptor_lost(descriptor, "the spare one")
    if descriptor == engine.listener:
        engine.listener = -1
        engine.listener_resumes = 0
        engine.reports.descriptor_lost(descriptor, "the listening socket")
    if engine.watched.pop(descriptor, None) is not None:
        engine.reports.descriptor_lost(descriptor, "one that is watched")
    if descriptor == engine.waker or descriptor == engine.woken_end:
        replace_waker(engine, descriptor)
        engine.reports.descriptor_lost(descriptor, "the one that wakes the loop")
    return 0
