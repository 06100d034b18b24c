# cython: language_level=3, freethreading_compatible=False
"""What Python sees of crash.c: it hands over the plan, and reads and sets signals' dispositions.

Python's own module signal can't see a handler that C code has installed, nor put one back.
"""

from cpython.exc cimport PyErr_SetFromErrno
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.signal cimport SIG_DFL
from libc.stddef cimport size_t
from libc.stdint cimport uintptr_t


cdef extern from "<signal.h>" nogil:
    ctypedef struct sigset_t:
        pass

    struct sigaction_t "sigaction":
        void (*sa_handler)(int)

    int sigaction(int number, const sigaction_t *new, sigaction_t *old)
    int sigemptyset(sigset_t *signals)
    int sigaddset(sigset_t *signals, int number)

cdef extern from "<sys/types.h>" nogil:
    ctypedef unsigned int mode_t

cdef extern from "crash.h" nogil:
    struct dorrit_crash_plan:
        const char *program
        const char **arguments
        size_t argument_count
        const char **environment
        size_t environment_count
        const char *directory
        mode_t umask
        const char **files
        size_t file_count
        const int *inherited
        size_t inherited_count
        const int *untouched
        size_t untouched_count
        sigset_t ignored
        sigset_t held
        const unsigned char *ledger
        size_t ledger_size
        int record
        int report
        const char *prefix

    struct dorrit_crash_record:
        pass

    int dorrit_crash_arm(const dorrit_crash_plan *plan)
    void dorrit_crash_disarm()
    int dorrit_crash_guard(const char **paths, size_t count, int told)
    void dorrit_crash_unguard()
    int dorrit_crash_catch(int number)
    void dorrit_crash_handler(int number)
    int dorrit_crash_use_stack()
    void *dorrit_crash_give_stack()
    void dorrit_crash_take_stack(void *memory)
    int dorrit_crash_note_signals()
    void dorrit_crash_replace()
    void dorrit_crash_close_on_exec(const int *kept, size_t count)

ctypedef void (*function_t)() noexcept nogil

cdef extern from "Python.h":
    int Py_AtExit(function_t function)

cdef extern from "<stdlib.h>" nogil:
    void _Exit(int status)

cdef extern from "<unistd.h>" nogil:
    int getpid()


HANDLER = <uintptr_t>dorrit_crash_handler
REPLACE = <uintptr_t>dorrit_crash_replace
RECORD_BYTES = sizeof(dorrit_crash_record)


cdef class _Strings:
    """An array of C strings that lie in the bytes objects that they are made of."""

    cdef const char **array
    cdef size_t count
    cdef list owners

    def __cinit__(self, strings):
        self.owners = list(strings)
        self.count = <size_t>len(self.owners)
        self.array = <const char **>PyMem_Malloc((self.count + 1) * sizeof(const char *))
        if self.array is NULL:
            raise MemoryError
        cdef size_t index
        for index in range(self.count):
            self.array[index] = <const char *>(<bytes?>self.owners[index])

    def __dealloc__(self):
        PyMem_Free(self.array)


cdef class _Descriptors:
    """An array of descriptors, ascending."""

    cdef int *array
    cdef size_t count

    def __cinit__(self, descriptors):
        cdef list ascending = sorted(descriptors)
        self.count = <size_t>len(ascending)
        self.array = <int *>PyMem_Malloc((self.count + 1) * sizeof(int))
        if self.array is NULL:
            raise MemoryError
        cdef size_t index
        for index in range(self.count):
            self.array[index] = ascending[index]

    def __dealloc__(self):
        PyMem_Free(self.array)


cdef int _fill(sigset_t *into, signals) except -1:
    sigemptyset(into)
    for number in signals:
        sigaddset(into, number)
    return 0


def arm(
    *,
    bytes program not None,
    arguments,
    environment,
    bytes directory not None,
    mode_t umask,
    files,
    inherited,
    untouched,
    ignored,
    held,
    ledger,
    int record,
    int report,
    bytes prefix not None,
):
    cdef _Strings argument_array = _Strings(arguments)
    cdef _Strings environment_array = _Strings(environment)
    cdef _Strings file_array = _Strings(files)
    cdef _Descriptors inherited_array = _Descriptors(inherited)
    cdef _Descriptors untouched_array = _Descriptors(untouched)
    cdef uintptr_t ledger_address = ledger[0]
    cdef dorrit_crash_plan plan
    plan.program = program
    plan.arguments = argument_array.array
    plan.argument_count = argument_array.count
    plan.environment = environment_array.array
    plan.environment_count = environment_array.count
    plan.directory = directory
    plan.umask = umask
    plan.files = file_array.array
    plan.file_count = file_array.count
    plan.inherited = inherited_array.array
    plan.inherited_count = inherited_array.count
    plan.untouched = untouched_array.array
    plan.untouched_count = untouched_array.count
    _fill(&plan.ignored, ignored)
    _fill(&plan.held, held)
    plan.ledger = <const unsigned char *>ledger_address
    plan.ledger_size = ledger[1]
    plan.record = record
    plan.report = report
    plan.prefix = prefix
    if dorrit_crash_arm(&plan) == -1:
        PyErr_SetFromErrno(OSError)


def disarm():
    dorrit_crash_disarm()


def guard(paths, int told):
    cdef _Strings array = _Strings(paths)
    if dorrit_crash_guard(array.array, array.count, told) == -1:
        PyErr_SetFromErrno(OSError)


def unguard():
    dorrit_crash_unguard()


def catch(int number):
    if dorrit_crash_catch(number) == -1:
        PyErr_SetFromErrno(OSError)


def use_stack():
    if dorrit_crash_use_stack() == -1:
        PyErr_SetFromErrno(OSError)


def give_stack():
    return <uintptr_t>dorrit_crash_give_stack()


def take_stack(uintptr_t given):
    dorrit_crash_take_stack(<void *>given)


cdef enum:
    FAILED = 1


cdef int _replaced = 0


cdef void _replace_at_exit() noexcept nogil:
    if getpid() == _replaced:  # and not a process that was forked since
        dorrit_crash_replace()
        _Exit(FAILED)


def note_signals():
    if dorrit_crash_note_signals() == -1:
        PyErr_SetFromErrno(OSError)


def replace():
    dorrit_crash_replace()


def replace_at_exit():
    global _replaced
    _replaced = getpid()
    if Py_AtExit(_replace_at_exit) == -1:
        raise OSError("too many functions are called at the end of the interpreter")


def close_on_exec(kept):
    cdef _Descriptors array = _Descriptors(kept)
    dorrit_crash_close_on_exec(array.array, array.count)


cdef class Disposition:
    cdef sigaction_t action

    @property
    def handler(self):
        return <uintptr_t>self.action.sa_handler

    @property
    def is_default(self):
        return self.action.sa_handler == SIG_DFL


def disposition(int number):
    cdef Disposition found = Disposition.__new__(Disposition)
    if sigaction(number, NULL, &found.action) == -1:
        PyErr_SetFromErrno(OSError)
    return found


def set_disposition(int number, Disposition wanted not None):
    if sigaction(number, &wanted.action, NULL) == -1:
        PyErr_SetFromErrno(OSError)


def set_default(int number):
    cdef Disposition none = Disposition.__new__(Disposition)  # all zero, and its mask is empty
    none.action.sa_handler = SIG_DFL
    set_disposition(number, none)
