"""One message for many connections: framed once, and compressed once for each size of window."""

from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t

from dorrit.engine.c.frame cimport dorrit_opcode
from dorrit.engine.connection cimport Connection
from dorrit.engine.message cimport Message, message_release


cdef enum:
    # Of one message: as it is, and compressed for windows of 2^9 to 2^15 bytes.
    VARIANTS = 8


cdef struct ForMany:
    dorrit_opcode opcode
    PyObject *payload           # borrowed: a bytes object
    size_t length               # of that
    uint32_t fragment_max       # 0: nothing has been framed yet
    Message variants[VARIANTS]
    bint made[VARIANTS]
    bint useful[VARIANTS]       # compressed, it is smaller
    Py_ssize_t queued           # connections that have it in their queue
    bint too_large              # there is one at least whose queue never has room for it
    bint no_memory              # there was none for one of them at least


# Queues it for one of them, which may be sent something (may_send).
cdef int put_for_many(ForMany *message, Connection connection) except -1


cdef inline void for_many(ForMany *message, dorrit_opcode opcode, PyObject *payload) noexcept:
    """Begins one. `payload` is borrowed until `for_many_release`, which must follow."""
    cdef unsigned int variant
    message.opcode = opcode
    message.payload = payload
    message.length = <size_t>PyBytes_GET_SIZE(<object>payload)
    message.fragment_max = 0
    message.queued = 0
    message.too_large = message.no_memory = False
    for variant in range(VARIANTS):
        message.made[variant] = False
        message.variants[variant].made = 0


cdef inline void for_many_release(ForMany *message) noexcept:
    """Gives back the references; the frames live on in the queues that have them."""
    cdef unsigned int variant
    for variant in range(VARIANTS):
        message_release(&message.variants[variant])
        message.made[variant] = False
