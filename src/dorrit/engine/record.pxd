"""What is written down of connections while they live, so that they outlive the process.

The rule: whatever the outside has seen, or has let go, stands in the ledger before a function of the
user's is called that has nothing to do with it. While the input of a connection is handled, that one's
own record is as it was before, but for what has been written to it; a process that ends then has lost the
connection, and no other.
"""

from libc.stdint cimport uint32_t

from dorrit.engine.c.connection cimport DORRIT_WRITES
from dorrit.engine.c.ledger cimport (
    dorrit_journal_commit,
    dorrit_journal_deliver,
    dorrit_journal_send,
    dorrit_journal_written,
    dorrit_ledger_begin_input,
    dorrit_ledger_begin_write,
    dorrit_ledger_end_write,
)
from dorrit.engine.connection cimport Connection
from dorrit.engine.describe cimport Carried
from dorrit.engine.engine cimport Engine
from dorrit.engine.message cimport Message
from dorrit.engine.recording cimport Recording
from dorrit.engine.work cimport to_be_recorded, to_be_flushed_with_others


# Begins to write down an engine's connections, all that there are first.
cdef int start_recording(Engine engine, int file) except -1

# Does so anew for all that there are: they have been carried in.
cdef int record_all(Engine engine) except -1

# A connection has come.
cdef void enter_record(Connection connection) noexcept

# Writes a connection down as it is now. Where there is no room it has no record
# from then on, and the log says so.
cdef void record_now(Connection connection) noexcept

# A connection has no descriptor any more, or will have none in a moment.
cdef void leave_record(Connection connection) noexcept

# The user has heard, or is about to hear, of a connection's end.
cdef void forget_end(Connection connection) noexcept

# Writes down those that have changed.
cdef void record_touched(Engine engine) noexcept

# A turn is over: what was sent in it has been written, or stands in the records.
cdef void end_of_turn(Engine engine) noexcept

# The input of `connection` has been handled.
cdef void end_of_input(Connection connection) noexcept

# A function of the user's that handles something of the connection's goes on for a while, outside of that
# one's input: if the process crashes meanwhile, it is that connection's. Returns what `end_step` takes.
cdef uint32_t begin_step(Connection connection) noexcept
cdef void end_step(Connection connection, uint32_t before) noexcept

# What its record says of a connection.
cdef Carried look_at_for_record(Recording recording, Connection connection)

cdef int put_in_journal(Connection connection, Recording recording, Message *message) except -1

# A message for many stands last in a queue, behind answers that have not been written down.
cdef int record_answers(Connection connection, Message *message) except -1

# What has not been written of them waits with all the rest.
cdef void keep_answers(Connection connection) noexcept


cdef inline void begin_input(Connection connection) noexcept:
    cdef Recording recording = connection.engine.recording
    connection.engine.heard = <void *>connection
    if recording is not None and connection.state.slot != 0:
        dorrit_ledger_begin_input(&recording.ledger, connection.state.slot - 1)


cdef inline void end_input(Connection connection) noexcept:
    connection.engine.heard = NULL
    if connection.state.is_answered:
        keep_answers(connection)
    if connection.engine.recording is not None:
        end_of_input(connection)


cdef inline int record_message(Connection connection, Message *message) except -1:
    """A message stands last in the connection's queue; `commit` follows, when it does in all queues."""
    cdef Recording recording = connection.engine.recording
    if recording is None or connection.state.slot == 0:
        return 0
    if message.made == 1 and connection.state.writing == DORRIT_WRITES:     # nearly all that is sent
        if message.recording == <void *>recording:
            if dorrit_journal_deliver(
                    &recording.ledger, message.places[0], connection.state.slot - 1):
                return 0
        elif message.recording == NULL:
            message.places[0] = dorrit_journal_send(
                &recording.ledger, message.frames[0], connection.state.slot - 1)
            if message.places[0] != 0:
                message.recording = <void *>recording
                return 0
    return put_in_journal(connection, recording, message)


cdef inline void commit_all(Engine engine) noexcept:
    """What has been sent to many holds."""
    if engine.recording is not None:
        dorrit_journal_commit(&engine.recording.ledger)


cdef inline void commit(Connection connection) noexcept:
    """What has been sent to a connection holds. What it is sent while its own input is handled does when
    that is over: it would be lost with it."""
    cdef Recording recording = connection.engine.recording
    if recording is not None and connection.engine.heard != <void *>connection:
        dorrit_journal_commit(&recording.ledger)


cdef inline void record_change(Connection connection) noexcept:
    """The connection's record is to say how it is now: soon, or, if there may be no turn soon, at once."""
    if connection.engine.in_turn:
        to_be_recorded(connection)
    else:
        record_now(connection)


cdef inline void begin_write(Connection connection) noexcept:
    if connection.engine.recording is not None and connection.state.slot != 0:
        # What the client may see must not go before what the record says, unless it is lost anyway when
        # the process ends now.
        if connection.state.is_touched and connection.engine.heard != <void *>connection:
            record_now(connection)
        dorrit_ledger_begin_write(&connection.engine.recording.ledger, connection.state.slot - 1)


cdef inline void end_write(Connection connection, bint written) noexcept:
    """What the kernel has taken of the queue is out of it."""
    cdef Recording recording = connection.engine.recording
    if recording is None:
        return
    if connection.state.slot != 0 and written:
        # Also of who is heard: what it is told if the process ends now follows what has been written, be that
        # a part of a frame or the response to its request.
        if connection.state.queue.length > 0 or connection.state.has_record_of_queue or connection.state.is_touched:
            record_now(connection)
        else:
            dorrit_journal_written(&recording.ledger, connection.state.slot - 1)
    dorrit_ledger_end_write(&recording.ledger)
