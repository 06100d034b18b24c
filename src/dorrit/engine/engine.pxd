"""Engine: what the connections of one listening socket share. Its fields; who fills them stands below.

The declaration holds data alone. What is done with it are functions of the modules, one job each;
what Python sees of it is in `engine.pyx`, above all of them.
"""

cimport cython
from cpython.object cimport PyObject
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t, uintptr_t

from dorrit.engine.c.topics cimport dorrit_topics
from dorrit.engine.channel cimport Channel
from dorrit.engine.limits cimport CLimits
from dorrit.engine.recording cimport Recording
from dorrit.engine.references cimport References
from dorrit.engine.roster cimport Roster


cdef enum:
    # One read takes at most this much, and one write copies at most this much together. The largest
    # frame that R30 allows fits.
    SCRATCH_SIZE = 64 * 1024 + 64


@cython.final
cdef class Engine:
    cdef object __weakref__

    # Settings, fixed for the engine's life.
    cdef CLimits limits
    cdef object allow_peer                  # a frozenset of uids; empty: anybody's
    cdef object deflate                     # a `dorrit.protocol.deflate.Policy`, or None
    cdef bint keeps_window                  # what clients may refer to is kept for the next image
    cdef object health                      # the path of the health check; None: there is none
    cdef bint access_log                    # each connection's end is reported
    cdef uint32_t fragment_max              # bytes of the largest payload of a frame that is sent
    cdef bint text_as_str                   # messages are str or bytes, without a flag
    cdef object names                       # a `dorrit.engine.callback_names.CallbackNames`
    cdef bint carries                       # connections may outlive the process

    # What the user wants to hear, see `Engine.__init__`.
    cdef object on_open
    cdef object on_message
    cdef object on_close
    cdef object on_resume                   # None: connections just go on
    cdef object on_subscribed               # None: nobody is told
    cdef object reports
    # Of the event loop of asyncio, if there is one, see `Engine.join_loop`.
    cdef object drain                       # makes what a handler awaits to have room in a queue
    cdef object on_room                     # called with a connection that has room again
    cdef object on_messages                 # called with a connection and the messages of one read
    cdef object first                       # message of the read that is under way, or None (batch.pyx)
    cdef list others                        # those behind it
    cdef uint32_t batch_max                 # of a connection with no handler at work
    cdef object is_busy                     # whether a message of a connection is being handled
    cdef object forget                      # lets messages go that wait for handlers
    cdef object unhandled                   # what of a connection's messages no handler has done with
    cdef object subscribed                  # makes what a handler awaits to have a subscription confirmed
    cdef object due                         # those who are over, and of whose end nobody has heard

    # The process that it belongs to (fork.pyx).
    cdef bint stays                         # in that process, whatever that forks
    cdef bint forked                        # this is another one
    cdef bint is_lost                       # and was forked in a callback: it has nothing of the engine
    cdef object child_exit                  # what that one ends with
    cdef object end_child                   # ends it with that, if nobody takes exceptions

    # The turn (turn.pyx).
    cdef int poller                         # descriptor; -1 once the engine is closed
    cdef bint stopping                      # `run` returns soon
    cdef bint shutting_down                 # no client is taken any more
    cdef readonly bint in_turn              # a turn of the loop is under way; it ends with a flush
    cdef readonly uint64_t turns            # so far
    cdef uintptr_t thread                   # in which the last turn was; 0: there was none
    cdef object at_turn                     # called once at the beginning of a turn, or None
    cdef object exit                        # what a message callback leaves the loop with, or None
    cdef bint is_interrupted                # one of the two: the turn does not end as usual

    # Calls of other threads, and descriptors of the caller's (calls.pyx).
    cdef int waker                          # descriptor: a byte written here ends the engine's sleep
    cdef int woken_end                      # of the pipe whose other end is `waker`
    cdef bint woken                         # there is such a byte
    cdef object calls                       # functions and arguments that other threads have put here
    cdef dict watched                       # descriptors that are the caller's, and their functions

    # Time (deadlines.pyx, timers.pyx).
    cdef uint64_t deadline_first            # no deadline is earlier; UINT64_MAX: there is none
    cdef list timers

    # The listening socket (accept.pyx).
    cdef int listener                       # borrowed; -1: none
    cdef int spare                          # kept so that there is one when the process has no other left
    cdef uint64_t listener_resumes          # monotonic milliseconds; 0: it is not paused

    # Of a worker and of its supervisor (passed.pyx, roster.pyx).
    cdef Channel channel                    # to the supervisor, by which clients come; None: there is none
    cdef Roster roster                      # takes the clients of the listener; None: the engine does

    # Descriptor → connection (table.pyx). Owns one reference for each connection that has a descriptor.
    cdef PyObject **table
    cdef size_t table_size
    cdef readonly Py_ssize_t connections    # in the table
    cdef readonly Py_ssize_t departed       # that are over, with handlers that still run for them
    cdef uint64_t numbered                  # clients, so far
    cdef object handshaking                 # descriptors of connections without a request, in order
    cdef object lingerers                   # descriptors of those that are lingering, in order

    # Topics (topics.pyx, publish.pyx, confirm.pyx).
    cdef dorrit_topics topics               # its members are descriptors of connections that are OPEN
    cdef dict listeners                     # topic → functions that hear what is published
    cdef object heard_topics                # deque of such functions, with what each is to hear
    cdef object to_confirm                  # deque of connections and topics that their user is to be told of
    cdef bint is_to_tell                    # there is something in one of the two
    cdef bint publishing                    # something is being published,
    cdef object to_publish                  # and this deque is of what is published meanwhile
    cdef dict left                          # weak references to those that are not OPEN any more → the names
                                            # of the topics that they had

    cdef void *heard                        # borrowed: whose input is being handled; NULL: nobody's is

    # Work for the end of the turn, or the next one (work.pxd). There is room in each for every
    # connection in the table: adding to them can't fail. None is in one of them twice.
    cdef References dirty                   # has something to write, and the kernel may take it
    cdef References ended                   # is over, and the user has not heard it yet
    cdef References resumed                 # is read again, from what it has stashed
    cdef References touched                 # is not any more as its record has it

    cdef Recording recording                # the ledger that is kept up to date; None: there is none

    # What the last image has left (carry_in.pyx, resume.pyx).
    cdef list resuming                      # connections of which the user has not heard yet; None: no one

    # Memory (held.pxd, budget.pyx).
    cdef readonly size_t assembled          # bytes in all assemblies, stashes, and what is kept
    cdef size_t held_most                   # bytes under way at a turn's end, since memory was given back
    cdef size_t inflated                    # work that it was so far to decompress the last read
    cdef uint8_t *input                     # SCRATCH_SIZE bytes, for one read
    cdef uint8_t *output                    # SCRATCH_SIZE bytes, for one write

    # The path that the last client asked for (head.pyx).
    cdef str last_target                    # without its query
    cdef str last_path                      # the same, for the log
