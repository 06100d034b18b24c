"""Agenda: what the connections of one engine share, and what is to be done before it sleeps."""

from cpython.mem cimport PyMem_Realloc
from cpython.object cimport PyObject
from libc.stdint cimport uint8_t, uint32_t, uint64_t


cdef enum:
    # One read takes at most this much, and one write copies at most this much together. The largest
    # frame that R30 allows fits.
    SCRATCH_SIZE = 64 * 1024 + 64

    # "ws_write_conn() will not allow the outgoing message queue for any connection to grow longer
    # than 200 frames." (libdorrit(3))
    QUEUE_FRAMES_MAX = 200

    # Pongs that may wait in one queue; from then on the newest takes the last one's place.
    PONGS_MAX = 16

    # Milliseconds: deadlines are rounded up to a multiple, so that all connections are looked
    # through for one that is late a few times a second at most.
    DEADLINE_STEP = 250


ctypedef struct References:
    PyObject **items    # owns one reference for each
    size_t length
    size_t capacity


cdef inline int references_reserve(References *references, size_t capacity) except -1:
    cdef PyObject **items
    if capacity > references.capacity:
        capacity += capacity // 2 + 16
        items = <PyObject **>PyMem_Realloc(references.items, capacity * sizeof(PyObject *))
        if items == NULL:
            raise MemoryError
        references.items = items
        references.capacity = capacity
    return 0


cdef class Agenda:
    # Settings, fixed for the engine's life.
    cdef readonly uint32_t buffer_size      # bytes (R30)
    cdef uint32_t payload_max               # bytes: buffer_size - 5
    cdef uint64_t close_timeout             # milliseconds without progress
    cdef uint64_t linger_timeout            # milliseconds

    # What the user wants to hear, see Engine.
    cdef object on_open
    cdef object on_message
    cdef object on_close
    cdef object reports

    cdef int poller                         # descriptor; -1 once the engine is closed
    cdef int waker                          # descriptor: a byte written here ends the engine's sleep
    cdef bint woken                         # there is such a byte
    cdef bint in_turn                       # a turn of the loop is under way; it ends with a flush
    cdef uint64_t deadline_first            # no deadline is earlier; UINT64_MAX: there is none

    # Descriptor → connection. Owns one reference for each connection that has a descriptor.
    cdef PyObject **table
    cdef size_t table_size
    cdef readonly Py_ssize_t connections    # in the table
    cdef readonly Py_ssize_t lingering      # of these: over, and only waiting for their end

    # There is room in both for every connection in the table: adding to them can't fail.
    cdef References dirty                   # has something to write, and the kernel may take it
    cdef References ended                   # is over, and the user has not heard it yet

    cdef uint8_t *input                     # SCRATCH_SIZE bytes, for one read
    cdef uint8_t *output                    # SCRATCH_SIZE bytes, for one write

    cdef int enter(self, int descriptor, object connection) except -1
    cdef void leave(self, int descriptor) noexcept
    cdef void add_dirty(self, object connection) noexcept
    cdef void add_ended(self, object connection) noexcept
    cdef uint64_t deadline_in(self, uint64_t milliseconds) noexcept
    cdef void wake(self) noexcept
