# cython: language_level=3, freethreading_compatible=False
"""The connections of an engine into a ledger, from which the process's next image goes on with them."""

from cpython.exc cimport PyErr_SetFromErrno
from libc.stdint cimport uint32_t, uint64_t, uintptr_t

from dorrit.engine.c.connection cimport DORRIT_CLOSED, DORRIT_LINGERING
from dorrit.engine.c.ledger cimport (
    DORRIT_LEDGER_FRAMES_MAX,
    dorrit_carried,
    dorrit_ledger,
    dorrit_ledger_add_frame,
    dorrit_ledger_begin_input,
    dorrit_ledger_close,
    dorrit_ledger_create,
    dorrit_ledger_note_clients,
    dorrit_ledger_put,
)
from dorrit.engine.c.sockets cimport dorrit_socket_identity
from dorrit.engine.calls cimport call_listeners
from dorrit.engine.connection cimport Connection
from dorrit.engine.describe cimport (
    Carried,
    borrow_what_may_change,
    borrowed,
    describe,
    is_asked_again,
    look_at,
    look_at_ended,
)
from dorrit.engine.frame cimport Frame, frame_size, frames_size
from dorrit.engine.life cimport carry_away
from dorrit.engine.queue cimport queue_at
from dorrit.engine.recording cimport Recording
from dorrit.engine.references cimport references_at, references_drop
from dorrit.engine.shutdown cimport close_engine
from dorrit.engine.table cimport all_connections
from dorrit.engine.topics cimport names_of
from dorrit.engine.turn cimport check_outside_turn, check_usable

from dorrit.protocol.deflate import WINDOW_SIZE


cdef enum:
    # Bytes that a chunk of a ledger takes besides twice its content, at the most.
    CHUNK_COST = 128
    # Bytes of a body besides the input and the numbers of frames.
    BODY_COST = 256
    # Bytes of a connection of which nothing waits, about: its record and what is known of the client.
    CONNECTION_COST = 1024


cdef list carry_out(Engine engine, int file):
    cdef dorrit_ledger ledger
    cdef Carried one
    cdef uint32_t slot = 0
    cdef list everybody, descriptors = []
    cdef dict chunks = {}
    check_usable(engine)
    check_outside_turn(engine)
    if engine.heard_topics:
        hear_the_last(engine)
    everybody = [look_at(item, 0) for item in all_connections(engine)]
    # Whose close callback is due, the user hears of in the next image.
    everybody += [look_at_ended(item) for item in ended(engine)]
    if dorrit_ledger_create(&ledger, file, <uint32_t>max(1, len(everybody)), room_for(everybody), 0) < 0:
        PyErr_SetFromErrno(OSError)
    try:
        dorrit_ledger_note_clients(&ledger, engine.numbered)
        for one in everybody:
            put(&ledger, slot, one, chunks)
            slot += 1
    finally:
        dorrit_ledger_close(&ledger)
    # Nothing below fails.
    for one in everybody:
        if one.connection.state.descriptor >= 0:
            descriptors.append(one.connection.state.descriptor)
            carry_away(one.connection)
    references_drop(&engine.ended)
    close_engine(engine)
    return descriptors


cdef list abandon(Engine engine, Connection culprit):
    cdef Recording recording = engine.recording
    cdef Connection connection
    cdef list descriptors = []
    check_usable(engine)
    check_outside_turn(engine)
    if recording is None:
        raise RuntimeError("the connections are not written down")
    if culprit is not None:
        if culprit.engine is not engine or culprit.state.descriptor < 0:
            raise ValueError("the connection is over")
        if culprit.state.slot != 0:
            dorrit_ledger_begin_input(&recording.ledger, culprit.state.slot - 1)
    # Whatever follows is done to the heap of a process that has crashed, and not to its ledger.
    engine.recording = None
    for item in all_connections(engine):
        connection = <Connection>item
        if connection.state.slot != 0:
            descriptors.append(connection.state.descriptor)
            carry_away(connection)
    close_engine(engine)
    recording.let_go()
    return descriptors


cdef list ended(Engine engine):
    cdef size_t index
    cdef Connection connection
    cdef list found = [
        <Connection>references_at(&engine.ended, index) for index in range(engine.ended.length)]
    for item in () if engine.due is None else engine.due():
        connection = <Connection?>item
        # Who goes on to wait for the answer about its resumption is asked about again.
        if connection.state.life == DORRIT_CLOSED or connection.state.life == DORRIT_LINGERING:
            found.append(connection)
    return found


cdef int hear_the_last(Engine engine) except -1:
    """What was published since the last turn has gone to connections, and listeners are to hear it, too."""
    engine.in_turn = True
    try:
        call_listeners(engine)
    finally:
        engine.in_turn = False
    return 0


cdef uint64_t room_to_carry(Engine engine) except? 0:
    # Chunks take up to twice what is in them.
    cdef uint64_t room = 2 * (<uint64_t>engine.assembled + <uint64_t>frames_size)
    cdef Connection connection
    for item in all_connections(engine):
        connection = <Connection>item
        room += CONNECTION_COST
        if connection.kept is not None:
            room += 2 * <uint64_t>len(connection.kept)
        room += 2 * <uint64_t>len(names_of(connection))
        if connection.deflate is not None and connection.deflate.window is not None:
            room += 2 * WINDOW_SIZE
    return room


cdef uint64_t room_for(list everybody) except? 0:
    """How many bytes the chunks of a ledger take at the most."""
    cdef Carried one
    cdef uint64_t room = CHUNK_COST
    cdef unsigned int index
    for one in everybody:
        room += <uint64_t>(
            len(one.about) + len(one.topics) + len(one.input) + one.connection.state.input_length) * 2
        room += 5 * CHUNK_COST + 2 * BODY_COST
        if one.connection.deflate is not None and one.connection.deflate.window is not None:
            room += 2 * WINDOW_SIZE + CHUNK_COST
        if one.connection.kept is not None:
            room += <uint64_t>len(one.connection.kept) * 2
        if one.begun is not None:
            room += <uint64_t>len(one.begun) * 8        # of a character, UTF-8 has up to four
        for index in range(one.connection.state.queue.length):
            room += <uint64_t>frame_size(queue_at(&one.connection.state.queue, index)) * 2
            room += CHUNK_COST
    return room


cdef int put(dorrit_ledger *ledger, uint32_t slot, Carried one, dict chunks) except -1:
    cdef dorrit_carried carried
    describe(one, &carried)
    if carried.descriptor >= 0 and dorrit_socket_identity(carried.descriptor, &carried.socket) < 0:
        PyErr_SetFromErrno(OSError)
    if not one.is_end and not is_asked_again(one.connection):
        put_queue(ledger, one.connection, &carried, chunks)
    borrow_what_may_change(one, &carried)
    if dorrit_ledger_put(ledger, slot, &carried) < 0:
        PyErr_SetFromErrno(OSError)
    return 0


cdef int put_queue(
        dorrit_ledger *ledger, Connection connection, dorrit_carried *carried, dict chunks) except -1:
    """What waits to be written: each frame once, in however many queues it stands."""
    cdef unsigned int index
    cdef Frame *frame
    cdef uint32_t chunk
    if connection.state.queue.length > DORRIT_LEDGER_FRAMES_MAX:
        raise OverflowError("a queue is longer than any may be")
    for index in range(connection.state.queue.length):
        frame = queue_at(&connection.state.queue, index)
        found = chunks.get(<uintptr_t>frame)
        if found is None:
            chunk = dorrit_ledger_add_frame(
                ledger, borrowed(frame.header, frame.header_length),
                borrowed(frame.payload, frame.payload_length), frame.counted)
            if chunk == 0:
                PyErr_SetFromErrno(OSError)
            chunks[<uintptr_t>frame] = chunk
        else:
            chunk = found
        carried.frames[index] = chunk
    carried.frames_length = connection.state.queue.length
    return 0
