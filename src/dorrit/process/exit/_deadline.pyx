# cython: language_level=3, freethreading_compatible=False
"""Python's side of deadline.c; see there."""

from cpython.exc cimport PyErr_SetFromErrno
from libc.stdint cimport uintptr_t


ctypedef void (*function_t)() noexcept nogil

cdef extern from "deadline.h" nogil:
    int dorrit_deadline_set(unsigned milliseconds, int number)
    int dorrit_deadline_catch(int number, int status, int report, int traceback, const char *prefix,
                              const char *line, function_t instead)


def set_deadline(double seconds, int number):
    if dorrit_deadline_set(<unsigned>(min(max(seconds, 0.0), 1e6) * 1000), number) == -1:
        PyErr_SetFromErrno(OSError)


def catch(
    int number,
    *,
    int status,
    int report,
    int traceback,
    bytes prefix not None,
    bytes line not None,
    uintptr_t instead=0,
):
    if dorrit_deadline_catch(
        number, status, report, traceback, prefix, line, <function_t>instead
    ) == -1:
        PyErr_SetFromErrno(OSError)
