"""Recording: the ledger of an engine's connections, kept up to date while they live."""

cimport cython
from libc.stdint cimport uint32_t

from dorrit.engine.c.ledger cimport dorrit_ledger


@cython.final
cdef class Parts:
    """What has been written down of a message that is under way, and is not written anew."""
    cdef object assembly        # the message: an Assembly, which knows the engine itself
    cdef uint32_t last          # the last part in the ledger
    cdef size_t length          # bytes of all of them


@cython.final
cdef class Recording:
    cdef dorrit_ledger ledger
    cdef int owned              # descriptor that is closed with it; -1: none is
    cdef list free              # slots that nobody has any more
    cdef uint32_t slots         # that somebody has had
    cdef uint32_t slots_most
    cdef dict chunks            # address of a frame → [its chunk, how many queues have it there]
    cdef dict queues            # slot → the addresses of the frames in its record
    cdef dict parts             # slot → Parts, of whose message much has come
    cdef dict begun             # connection → message that was cut off, until the user has been told
    cdef readonly Py_ssize_t recorded   # connections that have a record

    # Gives back the frames of all queues: nothing is written down any more.
    cdef void let_go(self) noexcept


# Makes one in an empty file, which stays open as long as the recording lives: for so many connections, with
# those of whose end the user has not heard.
cdef Recording recording_new(int descriptor, uint32_t slots)
