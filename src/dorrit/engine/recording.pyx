# cython: language_level=3, freethreading_compatible=False
"""Recording: the ledger of an engine's connections, kept up to date while they live."""

cimport cython
from cpython.exc cimport PyErr_SetFromErrno
from libc.stdint cimport uint64_t, uintptr_t
from posix.unistd cimport close as close_descriptor

from dorrit.engine.c.ledger cimport dorrit_ledger_close, dorrit_ledger_create
from dorrit.engine.frame cimport Frame, frame_release


cdef enum:
    # Bytes of address space, which cost nothing before they are used.
    CHUNKS_MOST = 1 << 30
    JOURNAL_MOST = 64 * 1024 * 1024 - 4096


cdef class Parts:
    """What has been written down of a message that is under way."""


@cython.no_gc_clear     # __dealloc__ needs the frames
cdef class Recording:
    """The ledger of an engine's connections.

    Attributes:
        recorded: Connections that have a record; for the others there was no room.
    """

    def __cinit__(self):
        self.owned = -1
        self.free = []
        self.chunks = {}
        self.queues = {}
        self.parts = {}
        self.begun = {}

    cdef void let_go(self) noexcept:
        cdef uintptr_t address
        for address in self.chunks:
            frame_release(<Frame *>address)
        self.chunks, self.queues = {}, {}
        if self.owned >= 0:
            close_descriptor(self.owned)
            self.owned = -1

    def __dealloc__(self):
        self.let_go()
        dorrit_ledger_close(&self.ledger)

    @property
    def place(self) -> tuple:
        """Where it is in memory, and how many bytes."""
        return <uintptr_t>self.ledger.memory, self.ledger.mapped


cdef Recording recording_new(int descriptor, uint32_t slots):
    cdef Recording recording = Recording.__new__(Recording)
    recording.slots_most = slots
    if dorrit_ledger_create(
            &recording.ledger, descriptor, slots, <uint64_t>CHUNKS_MOST, <uint32_t>JOURNAL_MOST) < 0:
        PyErr_SetFromErrno(OSError)
    return recording
