# cython: language_level=3, freethreading_compatible=False
"""What must hold of an engine after each turn. Builds with the option `invariants` check it."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from dorrit.engine.assembly cimport Assembly
from dorrit.engine.c.connection cimport (
    DORRIT_ANSWERING,
    DORRIT_AT_END,
    DORRIT_AT_FRAME,
    DORRIT_AT_HEAD,
    DORRIT_CLOSED,
    DORRIT_HANDSHAKING,
    DORRIT_HELD,
    DORRIT_IN_FOLLOWED,
    DORRIT_IN_LAST,
    DORRIT_IN_PAYLOAD,
    DORRIT_IN_UNWANTED,
    DORRIT_LINGERING,
    DORRIT_OPEN,
)
from dorrit.engine.c.ledger cimport (
    DORRIT_LEDGER_EMPTY,
    DORRIT_LEDGER_OK,
    c_bool,
    dorrit_carried,
    dorrit_ledger_copy,
    dorrit_ledger_get,
    dorrit_ledger_get_frame,
    dorrit_ledger_get_input,
    dorrit_ledger_input_length,
    dorrit_ledger_view,
    dorrit_span,
)
from dorrit.engine.c.topics cimport dorrit_topics_count_of, dorrit_topics_fault
from dorrit.engine.connection cimport Connection
from dorrit.engine.describe cimport Carried, describe, is_asked_again, part_of
from dorrit.engine.frame cimport Frame, frame_is_ping, frame_is_pong, frame_size
from dorrit.engine.life cimport is_followed, is_watched_for_writing
from dorrit.engine.ping cimport OTHER_CONTROL_MAX, PONGS_MAX
from dorrit.engine.queue cimport QUEUE_FRAMES_MAX, queue_at
from dorrit.engine.record cimport look_at_for_record, start_recording
from dorrit.engine.references cimport references_at
from dorrit.engine.topics cimport topics_in


cdef enum:
    FEW = 16    # connections of which all are looked at in each turn


cdef extern from *:
    """
    #include <sys/mman.h>
    #ifndef MFD_CLOEXEC
    #define MFD_CLOEXEC 0
    static int memfd_create(const char *name, unsigned int flags)
    {
        (void)name;
        (void)flags;
        errno = ENOSYS;
        return -1;
    }
    #endif
    """
    int MFD_CLOEXEC
    int memfd_create(const char *name, unsigned int flags)


cdef int record_all_along(Engine engine) except -1:
    """Has a ledger kept of every engine, so that whatever is tested tests that as well."""
    cdef int file = memfd_create("invariants", MFD_CLOEXEC)
    if file < 0:
        return 0    # there are no descriptors left, or this system has no such files
    start_recording(engine, file)
    engine.recording.owned = file
    return 0


cdef int check_invariants(Engine engine) except -1:
    """Compares what is counted with what there is.

    Raises:
        AssertionError: The engine has a fault.
    """
    cdef size_t descriptor
    cdef Py_ssize_t lingering = 0, handshaking = 0
    cdef size_t connections = 0, assembled = 0, dirty = 0, resumed = 0
    cdef uint64_t subscriptions = 0
    cdef Connection connection
    for descriptor in range(engine.table_size):
        if engine.table[descriptor] == NULL:
            continue
        connection = <Connection>engine.table[descriptor]
        connections += 1
        dirty += connection.state.is_dirty
        resumed += connection.state.is_resumed
        lingering += connection.state.life == DORRIT_LINGERING
        check(connection.state.life == DORRIT_OPEN
              or dorrit_topics_count_of(&engine.topics, <uint32_t>descriptor) == 0,
              "whoever has topics is open")
        subscriptions += dorrit_topics_count_of(&engine.topics, <uint32_t>descriptor)
        check(not connection.state.is_answered, "whoever has been answered has been written to")
        check(connection.state.descriptor == <int>descriptor, "a connection knows its place")
        check(connection.state.life != DORRIT_CLOSED, "a closed connection has left the table")
        check(connection.state.life == DORRIT_OPEN or connection.state.deadline != 0,
              "whoever is not open has a deadline")
        check(connection.state.deadline == 0 or connection.state.deadline >= engine.deadline_first,
              "no deadline is earlier than the first")
        check(connection.state.input_length <= connection.state.input_capacity, "the input fits its buffer")
        check(connection.state.queue.counted <= QUEUE_FRAMES_MAX, "no queue has more than 200 frames")
        check(connection.state.queue.length == 0 or connection.state.is_dirty
              or connection.state.writing == DORRIT_HELD or is_watched_for_writing(connection), "what is queued will be written")
        check(not connection.state.paused or connection.state.life == DORRIT_OPEN, "whoever is paused is open")
        check(not connection.state.stashed or connection.state.paused or connection.state.is_resumed,
              "what is stashed will be read")
        check(not connection.state.stashed or connection.state.input != NULL, "what is stashed is there")
        check((connection.state.life == DORRIT_HANDSHAKING) == (<int>descriptor in engine.handshaking),
              "the handshakes under way are listed")
        handshaking += connection.state.life == DORRIT_HANDSHAKING
        check((connection.state.parsing == DORRIT_AT_HEAD)
              == (connection.state.life == DORRIT_HANDSHAKING), "whoever sends a request is handshaking")
        check(not is_followed(connection) or connection.state.life == DORRIT_LINGERING,
              "whoever is followed is lingering")
        check(connection.state.life != DORRIT_ANSWERING or connection.state.parsing == DORRIT_AT_END,
              "after its close frame nothing of a client is looked at")
        check((connection.state.parsing == DORRIT_IN_UNWANTED
               or connection.state.parsing == DORRIT_IN_FOLLOWED
               or connection.state.parsing == DORRIT_IN_LAST) == (connection.state.skipping > 0)
              or connection.state.parsing == DORRIT_AT_END, "what is passed over is counted")
        check((connection.state.parsing == DORRIT_IN_PAYLOAD)
              == (connection.assembly is not None and connection.assembly.frame_rest > 0),
              "within a payload there is a message under way")
        check(connection.state.life != DORRIT_OPEN or connection.state.parsing == DORRIT_AT_FRAME
              or connection.state.parsing == DORRIT_IN_PAYLOAD,
              "no frame of an open connection is passed over")
        if connection.assembly is not None:
            check_assembly(engine, connection)
            assembled += connection.assembly.held()
        if connection.state.stashed:
            assembled += connection.state.input_capacity
        assembled += connection.state.request_size
        assembled += connection.state.waiting
        check_queue(connection)
    check(subscriptions == engine.topics.subscriptions, "whoever has topics is in the table")
    check(connections > FEW and engine.turns % FEW != 0 or dorrit_topics_fault(&engine.topics) == NULL,
          "lists of topics and tables of connections point at each other")
    check(engine.heard == NULL, "nobody is heard between two turns")
    check(connections == <size_t>engine.connections, "the connections are counted")
    check(lingering == <Py_ssize_t>len(engine.lingerers), "the lingering connections are listed")
    check(handshaking == len(engine.handshaking), "whoever is listed as handshaking is there")
    # Messages of those that have gone may wait as well.
    check(assembled == engine.assembled or (engine.departed > 0 and assembled < engine.assembled),
          "the bytes of assemblies and stashes, and what is kept, are counted")
    check(dirty == 0 and engine.dirty.length == 0, "all that was to be written has been")
    check(engine.ended.length == 0, "whoever has ended has heard it")
    check_resumed(engine, resumed)
    if engine.recording is not None:
        check_records(engine)
    # Whoever is not in a list may come to be in it, without being asked whether there is room.
    check(connections <= engine.dirty.capacity, "there is room for whoever may be dirty")
    check(connections <= engine.ended.capacity, "there is room for whoever may end")
    check(engine.touched.length + connections <= engine.touched.capacity,
          "there is room for whoever may be written down anew")
    check(engine.resumed.length + connections - resumed <= engine.resumed.capacity,
          "there is room for whoever may be read again")
    return 0


cdef int check_records(Engine engine) except -1:
    """The ledger says of each connection what its record would say if it were made now.

    Of a crowd, each is looked at once in so many turns: all of them in each turn take long, with their queues.
    """
    cdef dorrit_ledger_copy copy = dorrit_ledger_view(&engine.recording.ledger)
    cdef dorrit_carried found
    cdef size_t descriptor
    cdef uint32_t slot, present = 0
    cdef Py_ssize_t recorded = 0
    cdef Connection connection
    check(copy.current == 0 and copy.writing == 0, "nobody's input is handled between two turns")
    for descriptor in range(engine.table_size):
        if engine.table[descriptor] == NULL:
            continue
        connection = <Connection>engine.table[descriptor]
        recorded += connection.state.slot != 0
        if connection.state.slot == 0 or connection.state.is_touched:
            continue
        if engine.connections > FEW and connection.state.slot % FEW != engine.turns % FEW:
            continue
        check(dorrit_ledger_get(&copy, connection.state.slot - 1, &found) == DORRIT_LEDGER_OK,
              "the record of each connection is whole")
        check_record(engine, connection, &copy, &found)
    check(recorded == engine.recording.recorded, "whoever is written down is counted")
    if engine.turns % FEW == 0:
        for slot in range(engine.recording.slots):
            present += dorrit_ledger_get(&copy, slot, &found) != DORRIT_LEDGER_EMPTY
        check(present <= engine.recording.slots - <uint32_t>len(engine.recording.free),
              "whoever has a record has a slot")
    return 0


cdef int check_record(
        Engine engine, Connection connection, dorrit_ledger_copy *copy,
        dorrit_carried *found) except -1:
    cdef dorrit_carried made
    cdef Carried one = look_at_for_record(engine.recording, connection)
    cdef unsigned int index
    cdef dorrit_span content
    cdef uint8_t header_length
    cdef c_bool counted
    cdef Frame *frame
    describe(one, &made)
    check(found.number == made.number and found.descriptor == made.descriptor
          and found.opened == made.opened, "a record is its connection's")
    check(found.last_life == made.last_life, "the life of a connection is written down")
    check(found.admission == made.admission, "what the open callback has said is")
    check(found.parsing == made.parsing, "what the next byte is is")
    check(found.flags == made.flags and found.close_code == made.close_code
          and found.dropped == made.dropped and found.window_bits == made.window_bits, "what else is known is")
    check(bytes_of(found.about) == bytes_of(made.about), "the request is written down")
    check(bytes_of(found.saved) == bytes_of(made.saved), "what is kept is")
    check(frozenset(topics_in(bytes_of(found.topics))) == frozenset(topics_in(bytes_of(made.topics))),
          "the topics are")
    check(bytes_of(found.input) + bytes_of(found.unparsed)
          == bytes_of(made.input) + bytes_of(made.unparsed)
          and found.parts_length == one.missing and (found.parts == 0 or found.parts_at == one.missing_at),
          "what has come is")
    check(found.parts == 0 or parts_of(copy, found) == part_of(connection.assembly, 0, one.missing),
          "what has come of a large message is, too")
    check(bytes_of(found.begun) == bytes_of(made.begun), "what is under way is")
    check(bytes_of(found.window) == bytes_of(made.window), "what was said before is")
    check(found.reason_length == made.reason_length
          and found.reason[:found.reason_length] == made.reason[:made.reason_length], "the reason is")
    if is_asked_again(connection):
        check(found.frames_length == 0, "who is asked again has no queue")
        return 0
    check(found.written == made.written, "what the kernel has taken is written down")
    check(found.frames_length == connection.state.queue.length, "the queue is written down")
    for index in range(found.frames_length):
        frame = queue_at(&connection.state.queue, index)
        check(dorrit_ledger_get_frame(copy, found.frames[index], &content, &header_length, &counted)
              == DORRIT_LEDGER_OK, "each frame of it is")
        check(bytes_of(content) == frame.header[:frame.header_length]
              + frame.payload[:frame.payload_length], "as it is")
        check(header_length == frame.header_length and counted == frame.counted, "and what kind it is")
    return 0


cdef bytes parts_of(dorrit_ledger_copy *copy, dorrit_carried *found):
    cdef bytes result = PyBytes_FromStringAndSize(
        NULL, <Py_ssize_t>dorrit_ledger_input_length(found))
    dorrit_ledger_get_input(copy, found, <uint8_t *>PyBytes_AS_STRING(result))
    return result[found.parts_at : found.parts_at + found.parts_length]


cdef bytes bytes_of(dorrit_span span):
    return span.bytes[:span.length] if span.length > 0 else b""


cdef int check_resumed(Engine engine, size_t resumed) except -1:
    """Each is once in the list, and says so; whoever has left the table may be in it still."""
    cdef size_t index, found = 0
    cdef Connection connection
    seen = set()
    for index in range(engine.resumed.length):
        connection = <Connection>references_at(&engine.resumed, index)
        check(connection not in seen, "nobody is in a list twice")
        seen.add(connection)
        check(connection.state.is_resumed, "what is listed to be read again is so")
        found += connection.state.descriptor >= 0
    check(found == resumed, "whoever is to be read again is listed")
    return 0


cdef int check(bint holds, str invariant) except -1:
    if not holds:
        raise AssertionError(f"does not hold: {invariant}")
    return 0


cdef int check_assembly(Engine engine, Connection connection) except -1:
    cdef Assembly assembly = connection.assembly
    check(connection.state.life == DORRIT_OPEN, "whoever sends a message is open")
    check(assembly.engine is engine, "an assembly is counted where its connection is")
    check(assembly.length <= assembly.capacity, "what has come of a message fits its buffer")
    check(assembly.capacity <= engine.limits.max_message,
          "no message becomes larger than the largest")
    check(assembly.capacity <= max(512, 2 * assembly.length),
          "no message has more than twice the memory that has come")
    check(not assembly.is_complete(), "a complete message has been delivered")
    check((assembly.payload == NULL) == (assembly.capacity == 0), "a payload is there, or is not")
    check(assembly.inflator is None or connection.deflate is not None,
          "only what was agreed on is decompressed")
    return 0


cdef int check_queue(Connection connection) except -1:
    cdef unsigned int index, counted = 0, pongs = 0, pings = 0
    cdef size_t size = 0
    cdef Frame *frame
    for index in range(connection.state.queue.length):
        frame = queue_at(&connection.state.queue, index)
        counted += frame.counted
        size += frame_size(frame)
        pongs += frame_is_pong(frame) and not (index == 0 and connection.state.queue.written > 0)
        pings += frame_is_ping(frame) and not (index == 0 and connection.state.queue.written > 0)
    check(counted == connection.state.queue.counted, "data frames are counted")
    check(size - connection.state.queue.written == connection.state.queue.bytes, "queued bytes are counted")
    check(pongs == connection.state.pongs, "pongs are counted")
    check(pongs <= PONGS_MAX and pings <= 1, "control frames are bounded")
    check(connection.state.queue.length - counted <= PONGS_MAX + OTHER_CONTROL_MAX,
          "control frames are bounded")
    return 0
