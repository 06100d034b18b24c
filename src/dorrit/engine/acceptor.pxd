"""Acceptor: takes clients from the listening socket, and turns away those for whom there is no room."""

from libc.stdint cimport uint64_t

from dorrit.engine.agenda cimport Agenda
from dorrit.engine.connection cimport Connection


cdef class Acceptor(Agenda):
    cdef int listener                   # borrowed; -1: none
    cdef int spare                      # kept so that there is one when the process has no other left
    cdef uint64_t listener_resumes      # monotonic milliseconds; 0: it is not paused

    cdef int take_clients(self) except -1
    cdef Connection take(self, int descriptor)
    cdef int take_over(self, int descriptor) except -1
    cdef int read_oldest_handshake(self) except -1
    cdef int forget_oldest_handshake(self) except -1
    cdef int write_what_waits(self) except -1
    cdef int check_peer(self, Connection connection) except -1
    cdef bint shed(self) except -1
    cdef void take_spare(self) noexcept
    cdef void pause_listener(self) noexcept
    cdef void resume_listener(self) noexcept
    cdef int answer_at_last(self, Connection connection) except -1
    cdef int give_up(self, Connection connection, object error) except -1
