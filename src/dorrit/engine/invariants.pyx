# cython: language_level=3, freethreading_compatible=False
"""What must hold of an engine after each turn. Builds with the option `invariants` check it."""

from libc.stddef cimport size_t

from dorrit.engine.assembly cimport Assembly
from dorrit.engine.connection cimport (
    CLOSED,
    CLOSING,
    HANDSHAKING,
    LINGERING,
    OPEN,
    Connection,
)
from dorrit.engine.frame cimport Frame, frame_is_ping, frame_is_pong, frame_size
from dorrit.engine.ping cimport PONGS_MAX
from dorrit.engine.queue cimport QUEUE_FRAMES_MAX, queue_at
from dorrit.engine.references cimport references_at


cdef int check_invariants(Engine engine) except -1:
    """Compares what is counted with what there is.

    Raises:
        AssertionError: The engine has a fault.
    """
    cdef size_t descriptor
    cdef Py_ssize_t lingering = 0, handshaking = 0
    cdef size_t connections = 0, assembled = 0, dirty = 0, resumed = 0
    cdef Connection connection
    for descriptor in range(engine.table_size):
        if engine.table[descriptor] == NULL:
            continue
        connection = <Connection>engine.table[descriptor]
        connections += 1
        dirty += connection.is_dirty
        resumed += connection.is_resumed
        lingering += connection.state == LINGERING
        check(connection.descriptor == <int>descriptor, "a connection knows its place")
        check(connection.state != CLOSED, "a closed connection has left the table")
        check(connection.over == (connection.state == LINGERING),
              "over for the user, with a descriptor: lingering")
        check(connection.state == OPEN or connection.deadline != 0,
              "whoever is not open has a deadline")
        check(connection.deadline == 0 or connection.deadline >= engine.deadline_first,
              "no deadline is earlier than the first")
        check(connection.input_length <= connection.input_capacity, "the input fits its buffer")
        check(connection.queue.counted <= QUEUE_FRAMES_MAX, "no queue has more than 200 frames")
        check(connection.queue.length == 0 or connection.is_dirty or connection.held
              or connection.watched_for_writing, "what is queued will be written")
        check(not connection.paused or connection.state == OPEN, "whoever is paused is open")
        check(not connection.stashed or connection.paused or connection.is_resumed,
              "what is stashed will be read")
        check(not connection.stashed or connection.input != NULL, "what is stashed is there")
        check((connection.state == HANDSHAKING) == (<int>descriptor in engine.handshaking),
              "the handshakes under way are listed")
        handshaking += connection.state == HANDSHAKING
        check(not connection.following or connection.state == LINGERING,
              "whoever is followed is lingering")
        check(not connection.following or not connection.close_received or connection.skipping > 0,
              "nobody whose close frame has come is followed")
        check(connection.skipping == 0 or connection.state == CLOSING
              or connection.state == LINGERING, "no frame of an open connection is skipped")
        if connection.assembly is not None:
            check_assembly(engine, connection)
            assembled += connection.assembly.held()
        if connection.stashed:
            assembled += connection.input_capacity
        assembled += connection.request_size
        assembled += connection.waiting
        check_queue(connection)
    check(connections == <size_t>engine.connections, "the connections are counted")
    check(lingering == <Py_ssize_t>len(engine.lingerers), "the lingering connections are listed")
    check(handshaking == len(engine.handshaking), "whoever is listed as handshaking is there")
    # Messages of those that have gone may wait as well.
    check(assembled == engine.assembled or (engine.departed > 0 and assembled < engine.assembled),
          "the bytes of assemblies and stashes, and what is kept, are counted")
    check(dirty == 0 and engine.dirty.length == 0, "all that was to be written has been")
    check(engine.ended.length == 0, "whoever has ended has heard it")
    check_resumed(engine, resumed)
    # Whoever is not in a list may come to be in it, without being asked whether there is room.
    check(connections <= engine.dirty.capacity, "there is room for whoever may be dirty")
    check(connections <= engine.ended.capacity, "there is room for whoever may end")
    check(engine.resumed.length + connections - resumed <= engine.resumed.capacity,
          "there is room for whoever may be read again")
    return 0


cdef int check_resumed(Engine engine, size_t resumed) except -1:
    """Each is once in the list, and says so; whoever has left the table may be in it still."""
    cdef size_t index, found = 0
    cdef Connection connection
    seen = set()
    for index in range(engine.resumed.length):
        connection = <Connection>references_at(&engine.resumed, index)
        check(connection not in seen, "nobody is in a list twice")
        seen.add(connection)
        check(connection.is_resumed, "what is listed to be read again is so")
        found += connection.descriptor >= 0
    check(found == resumed, "whoever is to be read again is listed")
    return 0


cdef int check(bint holds, str invariant) except -1:
    if not holds:
        raise AssertionError(f"does not hold: {invariant}")
    return 0


cdef int check_assembly(Engine engine, Connection connection) except -1:
    cdef Assembly assembly = connection.assembly
    check(connection.state == OPEN, "whoever sends a message is open")
    check(assembly.engine is engine, "an assembly is counted where its connection is")
    check(assembly.length <= assembly.capacity, "what has come of a message fits its buffer")
    check(assembly.capacity <= engine.limits.max_message,
          "no message becomes larger than the largest")
    check(assembly.capacity <= max(512, 2 * assembly.length),
          "no message has more than twice the memory that has come")
    check(not assembly.is_complete(), "a complete message has been delivered")
    check((assembly.payload == NULL) == (assembly.capacity == 0), "a payload is there, or is not")
    check(assembly.inflator is None or engine.deflate is not None,
          "only what was agreed on is decompressed")
    return 0


cdef int check_queue(Connection connection) except -1:
    cdef unsigned int index, counted = 0, pongs = 0, pings = 0
    cdef size_t size = 0
    cdef Frame *frame
    for index in range(connection.queue.length):
        frame = queue_at(&connection.queue, index)
        counted += frame.counted
        size += frame_size(frame)
        pongs += frame_is_pong(frame) and not (index == 0 and connection.queue.written > 0)
        pings += frame_is_ping(frame) and not (index == 0 and connection.queue.written > 0)
    check(counted == connection.queue.counted, "data frames are counted")
    check(size - connection.queue.written == connection.queue.bytes, "queued bytes are counted")
    check(pongs == connection.pongs, "pongs are counted")
    check(pongs <= PONGS_MAX and pings <= 1, "control frames are bounded")
    check(connection.queue.length - counted <= PONGS_MAX + 4, "control frames are bounded")
    return 0
