# cython: language_level=3, freethreading_compatible=False
"""`--max-buffered`: who has to go when more is under way than may be, for all clients together."""

from libc.stdint cimport uint16_t, uint32_t

from dorrit.engine.c.connection cimport (
    DORRIT_AWAITED,
    DORRIT_BLOCKED,
    DORRIT_HELD,
    DORRIT_LINGERING,
)
from dorrit.engine.frame cimport frames_size
from dorrit.engine.held cimport held_by, is_over_budget, uncount_request
from dorrit.engine.life cimport close_socket, fail, refuse_request
from dorrit.engine.record cimport record_now
from dorrit.engine.write cimport flush

from dorrit.protocol.closing import CloseCode
from dorrit.protocol.refusal import OUT_OF_BUDGET, refusal


cdef extern from *:
    """
    #ifdef __GLIBC__
    #include <malloc.h>
    #define DORRIT_TRIM() ((void)malloc_trim(0))
    #else
    #define DORRIT_TRIM() ((void)0)
    #endif
    """
    void DORRIT_TRIM() noexcept nogil


cdef enum:
    # Bytes of messages under way, from which on memory is given back to the system when most of
    # them have gone.
    HELD_MUCH = 32 * 1024 * 1024

    # Bytes that a kept request takes besides those of its head, at the most: itself, and for each of
    # its fields two strings and what holds them.
    REQUEST_COST = 1024
    FIELD_COST = 128

    # Bytes that a kept head takes besides its own.
    HEAD_COST = 48


cdef uint16_t TRY_AGAIN_LATER = CloseCode.TRY_AGAIN_LATER


cdef int make_room(Engine engine) except -1:
    """The client for which most bytes are there is closed, and the next one, until the rest is
    within the limit. RFC 6455's registry: 1013, "Try Again Later".

    First goes what costs nobody his connection: what only waits for the end of the turn is
    written, and messages are let go whose clients have gone before a handler had time for them.
    """
    cdef size_t descriptor, most, held
    cdef Connection connection, largest
    write_what_waits(engine)
    if engine.forget is not None and is_over_budget(engine):
        engine.forget(None)
    while is_over_budget(engine):
        largest = None
        most = 0
        for descriptor in range(engine.table_size):
            if engine.table[descriptor] == NULL:
                continue
            connection = <Connection>engine.table[descriptor]
            held = held_by(connection)
            if held > most:
                largest, most = connection, held
        if largest is None:
            return 0    # a message that is being made is all there is
        engine.reports.out_of_budget(most, largest)
        if engine.forget is not None and (
                largest.state.waiting > 0 or largest.state.admission == DORRIT_AWAITED):
            engine.forget(largest)
        if largest.state.admission == DORRIT_AWAITED and largest.state.writing == DORRIT_HELD:
            uncount_request(largest)
            refuse_request(largest, refusal(*OUT_OF_BUDGET).response())
            continue
        if largest.state.life != DORRIT_LINGERING:
            # Its frames are not followed if that meant keeping a stash of them.
            fail(largest, TRY_AGAIN_LATER, "the server has too much to do", not largest.state.stashed)
            uncount_request(largest)
            record_now(largest)     # its record would keep what it had in its queue
            if largest.state.queue.bytes <= engine.limits.buffer_size:
                continue
        # A frame has been begun, behind which the close frame would have to wait, and what it holds
        # is not given back. Others would have to go for it.
        close_socket(largest)
    return 0


cdef int write_what_waits(Engine engine) except -1:
    """Writes what each client is to get and the kernel may take, until all is within the limit."""
    cdef size_t descriptor
    cdef Connection connection
    for descriptor in range(engine.table_size):
        if not is_over_budget(engine):
            return 0
        if engine.table[descriptor] != NULL:
            connection = <Connection>engine.table[descriptor]
            while connection.state.queue.length > 0 and not (
                    connection.state.writing == DORRIT_BLOCKED
                    or connection.state.writing == DORRIT_HELD):
                flush(connection)
    return 0


cdef int count_request(Connection connection, size_t head_length) except -1:
    cdef size_t size = 0
    uncount_request(connection)
    if connection.kept_request is not None:
        size += head_length + REQUEST_COST + (
            <size_t>len(connection.kept_request.headers.pairs) * FIELD_COST)
    if connection.head is not None:
        size += head_length + HEAD_COST
    connection.state.request_size = <uint32_t>size
    connection.engine.assembled += size
    if is_over_budget(connection.engine):
        make_room(connection.engine)
    return 0


cdef void give_back_memory(Engine engine) noexcept:
    """Gives memory back to the system when much of it was needed and most of that is free again.

    glibc's free() gives back what lies at the end of the heap only: one small block that was
    made meanwhile keeps the hundreds of megabytes before it."""
    cdef size_t held = frames_size + engine.assembled
    if held > engine.held_most:
        engine.held_most = held
    elif engine.held_most > HELD_MUCH and held < engine.held_most // 4:
        engine.held_most = held
        DORRIT_TRIM()
