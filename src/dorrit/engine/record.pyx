# cython: language_level=3, freethreading_compatible=False
"""What is written down of connections while they live, so that they outlive the process."""

from cpython.bytes cimport PyBytes_AS_STRING
from cpython.exc cimport PyErr_SetFromErrno
from cpython.ref cimport Py_DECREF
from libc.stdint cimport uint8_t, uint32_t, uintptr_t
from posix.resource cimport RLIMIT_NOFILE, getrlimit, rlimit

from dorrit.engine.assembly cimport Assembly
from dorrit.engine.c.connection cimport DORRIT_AT_END, DORRIT_AT_FOLLOWED, DORRIT_AT_FRAME
from dorrit.engine.c.ledger cimport (
    DORRIT_LEDGER_FRAMES_MAX,
    DORRIT_LEDGER_PART_MAX,
    dorrit_carried,
    dorrit_journal_add_frame,
    dorrit_journal_deliver,
    dorrit_journal_empty,
    dorrit_journal_has_room,
    dorrit_journal_send,
    dorrit_ledger_add_frame,
    dorrit_ledger_add_part,
    dorrit_ledger_begin_step,
    dorrit_ledger_drop_parts,
    dorrit_ledger_end_input,
    dorrit_ledger_end_step,
    dorrit_ledger_free_frame,
    dorrit_ledger_note_clients,
    dorrit_ledger_put,
    dorrit_ledger_remove,
    dorrit_ledger_socket,
)
from dorrit.engine.c.sockets cimport dorrit_socket_identity
from dorrit.engine.describe cimport (
    Carried,
    borrow_what_may_change,
    borrowed,
    came,
    describe,
    is_asked_again,
    look_at,
    look_at_ended,
    part_of,
)
from dorrit.engine.frame cimport Frame, frame_release
from dorrit.engine.queue cimport queue_at
from dorrit.engine.recording cimport Parts, recording_new
from dorrit.engine.references cimport references_at, references_take
from dorrit.engine.table cimport all_connections
from dorrit.engine.work cimport to_be_flushed_with_others, to_be_recorded

from dorrit.raised import is_exit


cdef enum:
    # There are descriptors for so many connections at the most.
    SLOTS_MOST = 1 << 20
    # Whose step it is, since the connection has no record.
    NOT_SAID = 0xffffffff


cdef int start_recording(Engine engine, int file) except -1:
    cdef rlimit limit
    cdef uint32_t descriptors = SLOTS_MOST
    if getrlimit(RLIMIT_NOFILE, &limit) == 0 and limit.rlim_cur < SLOTS_MOST:
        descriptors = <uint32_t>limit.rlim_cur
    # Of as many the user may not have heard yet that they are over.
    engine.recording = recording_new(file, 2 * descriptors)
    return record_all(engine)


cdef int record_all(Engine engine) except -1:
    cdef size_t index
    cdef Connection connection
    if engine.recording is None:
        return 0
    if engine.resuming is not None:
        for item, _, begun in engine.resuming:
            if begun is not None:
                engine.recording.begun[item] = begun
    for index in range(engine.ended.length):
        connection = <Connection>references_at(&engine.ended, index)
        connection.state.end_slot = 0
        put_end(engine.recording, connection)
    for item in all_connections(engine):
        enter_record(<Connection>item)
    record_touched(engine)
    return 0


cdef uint32_t take_slot(Recording recording) noexcept:
    """Returns a slot + 1; 0: there is none left."""
    if recording.free:
        return <uint32_t>recording.free.pop()
    if recording.slots == recording.slots_most:
        return 0
    recording.slots += 1
    return recording.slots


cdef void give_back_slot(Recording recording, uint32_t slot) noexcept:
    cdef Parts parts = recording.parts.pop(slot, None)
    if parts is not None:
        dorrit_ledger_drop_parts(&recording.ledger, slot - 1, parts.last)
    dorrit_ledger_remove(&recording.ledger, slot - 1)
    let_go_of_queue(recording, recording.queues.pop(slot, ()))
    recording.free.append(slot)


cdef void enter_record(Connection connection) noexcept:
    cdef Recording recording = connection.engine.recording
    if recording is None:
        return
    connection.state.slot = take_slot(recording)
    if connection.state.slot == 0:
        say_unrecorded(connection)
        return
    recording.recorded += 1
    connection.state.has_record_of_queue = connection.state.has_record_of_input = False
    record_change(connection)


cdef void record_now(Connection connection) noexcept:
    cdef Recording recording = connection.engine.recording
    if recording is None or connection.state.slot == 0:
        return
    if connection.state.end_is_due:
        put_end(recording, connection)
    try:
        put(recording, connection)
    except BaseException as error:
        # There is no memory, or no room: the connection ends with the process.
        give_back_slot(recording, connection.state.slot)
        connection.state.slot = 0
        recording.recorded -= 1
        leave_later(connection.engine, error)
        say_unrecorded(connection)


cdef int put(Recording recording, Connection connection) except -1:
    cdef dorrit_carried carried
    cdef Carried one
    cdef Parts parts
    cdef uint32_t slot = connection.state.slot
    cdef tuple queue = ()
    add_parts(recording, connection)
    one = look_at_for_record(recording, connection)
    describe(one, &carried)
    parts = recording.parts.get(slot)
    if parts is not None:
        carried.parts, carried.parts_length = parts.last, <uint32_t>parts.length
        carried.parts_at = <uint32_t>one.missing_at
    carried.socket = dorrit_ledger_socket(&recording.ledger, slot - 1)
    if carried.socket == 0 and dorrit_socket_identity(carried.descriptor, &carried.socket) < 0:
        PyErr_SetFromErrno(OSError)
    if not is_asked_again(connection) and connection.state.queue.length > 0:
        queue = put_queue(recording, connection, &carried)
    before = recording.queues.get(slot, ())
    if queue:
        recording.queues[slot] = queue
    else:
        recording.queues.pop(slot, None)
    borrow_what_may_change(one, &carried)
    if dorrit_ledger_put(&recording.ledger, slot - 1, &carried) < 0:
        let_go_of_queue(recording, before)
        PyErr_SetFromErrno(OSError)
    # What no record leads to any more, and not a moment before, may be written over.
    let_go_of_queue(recording, before)
    connection.state.has_record_of_queue = carried.frames_length > 0
    connection.state.has_record_of_input = (
        carried.input.length > 0 or carried.unparsed.length > 0 or one.begun is not None)
    return 0


cdef int add_parts(Recording recording, Connection connection) except -1:
    """Writes down what has come of a message, as far as it fills parts."""
    cdef Assembly assembly = connection.assembly
    cdef uint32_t slot = connection.state.slot
    cdef uint32_t part
    cdef bytes content
    cdef Parts parts = recording.parts.get(slot)
    if parts is not None and parts.assembly is not assembly:
        # With the record that is about to be made its parts go.
        del recording.parts[slot]
        parts = None
    if assembly is None or came(assembly) < DORRIT_LEDGER_PART_MAX or connection.state.parsing == DORRIT_AT_END:
        return 0
    if parts is None:
        parts = recording.parts[slot] = Parts.__new__(Parts)
        parts.assembly = assembly
    while came(assembly) - parts.length >= DORRIT_LEDGER_PART_MAX:
        content = part_of(assembly, parts.length, DORRIT_LEDGER_PART_MAX)
        part = dorrit_ledger_add_part(
            &recording.ledger, slot - 1, parts.last,
            borrowed(<const uint8_t *>PyBytes_AS_STRING(content), DORRIT_LEDGER_PART_MAX))
        if part == 0:
            PyErr_SetFromErrno(OSError)
        parts.last = part
        parts.length += DORRIT_LEDGER_PART_MAX
    return 0


cdef Carried look_at_for_record(Recording recording, Connection connection):
    cdef Parts parts = recording.parts.get(connection.state.slot)
    cdef Carried one = look_at(
        connection, 0 if parts is None or parts.assembly is not connection.assembly else parts.length)
    if recording.begun and one.begun is None:
        one.begun = recording.begun.get(connection)
    return one


cdef tuple put_queue(Recording recording, Connection connection, dorrit_carried *carried):
    """Has each frame of a queue in a chunk, once for all queues that it stands in."""
    cdef unsigned int index
    cdef Frame *frame
    cdef uint32_t chunk
    cdef list addresses = []
    if connection.state.queue.length > DORRIT_LEDGER_FRAMES_MAX:
        raise OverflowError("a queue is longer than any may be")
    try:
        for index in range(connection.state.queue.length):
            frame = queue_at(&connection.state.queue, index)
            found = recording.chunks.get(<uintptr_t>frame)
            if found is None:
                chunk = dorrit_ledger_add_frame(
                    &recording.ledger, borrowed(frame.header, frame.header_length),
                    borrowed(frame.payload, frame.payload_length), frame.counted)
                if chunk == 0:
                    PyErr_SetFromErrno(OSError)
                found = recording.chunks[<uintptr_t>frame] = [chunk, 0]
                frame.references += 1   # its address is not another frame's as long as this is here
            found[1] += 1
            addresses.append(<uintptr_t>frame)
            carried.frames[index] = <uint32_t>found[0]
    except BaseException:
        let_go_of_queue(recording, addresses)
        raise
    carried.frames_length = connection.state.queue.length
    return tuple(addresses)


cdef void let_go_of_queue(Recording recording, addresses) noexcept:
    cdef uintptr_t address
    for address in addresses:
        found = recording.chunks[address]
        found[1] -= 1
        if found[1] == 0:
            del recording.chunks[address]
            dorrit_ledger_free_frame(&recording.ledger, <uint32_t>found[0])
            frame_release(<Frame *>address)


cdef void put_end(Recording recording, Connection connection) noexcept:
    """Writes down that a connection is over, and that the user is still to hear of it."""
    cdef dorrit_carried carried
    cdef Carried one
    cdef uint32_t slot
    if connection.state.end_slot != 0:
        return
    slot = take_slot(recording)
    if slot == 0:
        return
    try:
        one = look_at_ended(connection)
        describe(one, &carried)
        if dorrit_ledger_put(&recording.ledger, slot - 1, &carried) < 0:
            PyErr_SetFromErrno(OSError)
        connection.state.end_slot = slot
    except BaseException as error:
        give_back_slot(recording, slot)
        leave_later(connection.engine, error)


cdef void say_unrecorded(Connection connection) noexcept:
    try:
        connection.engine.reports.unrecorded(connection)
    except BaseException as error:
        leave_later(connection.engine, error)


cdef void leave_later(Engine engine, error) noexcept:
    """A signal handler has exited while something was written down: the turn ends with that."""
    if is_exit(error) and engine.exit is None and engine.in_turn:
        engine.exit = error
        engine.is_interrupted = True


cdef void forget_end(Connection connection) noexcept:
    cdef Recording recording = connection.engine.recording
    connection.state.end_is_due = False
    if recording is not None and connection.state.end_slot != 0:
        give_back_slot(recording, connection.state.end_slot)
        connection.state.end_slot = 0


cdef void leave_record(Connection connection) noexcept:
    cdef Recording recording = connection.engine.recording
    if recording is None:
        return
    # First that the user is to hear of it: a process that ends in between has the connection as it was
    # before, since its record goes before this one.
    if connection.state.end_is_due:
        put_end(recording, connection)
    if connection.state.slot != 0:
        give_back_slot(recording, connection.state.slot)
        connection.state.slot = 0
        recording.recorded -= 1
    recording.begun.pop(connection, None)


cdef void record_touched(Engine engine) noexcept:
    cdef Connection connection
    while engine.touched.length > 0:
        connection = <Connection>references_take(&engine.touched)
        Py_DECREF(connection)   # the reference that the list had; the variable has its own
        connection.state.is_touched = False
        record_now(connection)


cdef void end_of_input(Connection connection) noexcept:
    cdef Engine engine = connection.engine
    cdef Recording recording = engine.recording
    if connection.state.has_record_of_input or is_partial(connection):
        to_be_recorded(connection)
    if engine.touched.length > 0:
        record_touched(engine)
    dorrit_journal_commit(&recording.ledger)
    dorrit_ledger_end_input(&recording.ledger)


cdef uint32_t begin_step(Connection connection) noexcept:
    cdef Recording recording = connection.engine.recording
    if recording is None or connection.state.slot == 0:
        return NOT_SAID
    return dorrit_ledger_begin_step(&recording.ledger, connection.state.slot - 1)


cdef void end_step(Connection connection, uint32_t before) noexcept:
    if before != NOT_SAID and connection.engine.recording is not None:
        dorrit_ledger_end_step(&connection.engine.recording.ledger, before)


cdef bint is_partial(Connection connection) noexcept:
    """Whether there is something of the client's that has come and is to be handled."""
    if connection.state.slot == 0:
        return False
    return (
        connection.state.input_length > 0
        or connection.assembly is not None
        or (connection.state.parsing != DORRIT_AT_FRAME
            and connection.state.parsing != DORRIT_AT_FOLLOWED
            and connection.state.parsing != DORRIT_AT_END)
        or (connection.deflate is not None and connection.deflate.window is not None)
    )


cdef void end_of_turn(Engine engine) noexcept:
    cdef Recording recording = engine.recording
    if recording is None:
        return
    record_touched(engine)
    dorrit_journal_commit(&recording.ledger)
    dorrit_journal_empty(&recording.ledger)
    dorrit_ledger_note_clients(&recording.ledger, engine.numbered)


cdef int record_answers(Connection connection, Message *message) except -1:
    cdef Recording recording = connection.engine.recording
    cdef unsigned int index
    cdef Frame *frame
    connection.state.is_answered = False
    if recording is None or connection.state.slot == 0 or connection.state.is_touched:
        return 0
    for index in range(connection.state.queue.length - message.made):
        frame = queue_at(&connection.state.queue, index)
        if dorrit_journal_send(&recording.ledger, frame, connection.state.slot - 1) == 0:
            to_be_recorded(connection)
            return 0
    return 0


cdef void keep_answers(Connection connection) noexcept:
    connection.state.is_answered = False
    if connection.state.queue.length > 0:
        to_be_recorded(connection)
        to_be_flushed_with_others(connection)


cdef int put_in_journal(Connection connection, Recording recording, Message *message) except -1:
    cdef unsigned int index
    cdef Frame *frame
    cdef bint is_there = message.recording == <void *>recording
    if not dorrit_journal_has_room(
            &recording.ledger, 0 if is_there else message.size, message.made):
        record_now(connection)
        return 0
    if not is_there:
        for index in range(message.made):
            frame = message.frames[index]
            message.places[index] = dorrit_journal_add_frame(
                &recording.ledger, borrowed(frame.header, frame.header_length),
                borrowed(frame.payload, frame.payload_length), frame.counted)
        message.recording = <void *>recording
    for index in range(message.made):
        dorrit_journal_deliver(&recording.ledger, message.places[index], connection.state.slot - 1)
    # Who is not written to in this turn is to have a record of what waits when that is over.
    if connection.state.writing != DORRIT_WRITES:
        to_be_recorded(connection)
    return 0
