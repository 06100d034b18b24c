"""OutputQueue: the frames that a connection has still to write, in order.

A ring of references, whose fields `core/output.h` declares.
"""

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport uint16_t

from dorrit.engine.c.output cimport dorrit_output_queue
from dorrit.engine.frame cimport Frame, frame_release, frame_size


ctypedef dorrit_output_queue OutputQueue


cdef enum:
    # "ws_write_conn() will not allow the outgoing message queue for any connection to grow longer
    # than 200 frames." (libdorrit(3))
    QUEUE_FRAMES_MAX = 200

    CAPACITY_FIRST = 4
    CAPACITY_KEPT = 16  # an empty queue gives back what is larger
    # 200 data frames, and the control frames that may stand before and behind them.
    LENGTH_MAX = 256


cdef inline Frame *queue_at(OutputQueue *queue, unsigned int index) noexcept:
    return queue.frames[(queue.first + index) & (queue.capacity - 1u)]


cdef inline int queue_reserve(OutputQueue *queue, unsigned int more) noexcept:
    """Makes room for `more` frames, so that putting them in can't fail half-way. -1: there is no memory
    for it, or it would be more than any queue has."""
    return 0 if queue.length + more <= queue.capacity else queue_grow(queue, more)


cdef inline int queue_grow(OutputQueue *queue, unsigned int more) noexcept:
    cdef unsigned int capacity = queue.capacity
    cdef unsigned int index
    cdef Frame **frames
    if more > LENGTH_MAX - queue.length:
        return -1
    if capacity == 0:
        capacity = CAPACITY_FIRST
    while capacity < queue.length + more:
        capacity *= 2
    frames = <Frame **>PyMem_Malloc(capacity * sizeof(Frame *))
    if frames == NULL:
        return -1
    for index in range(queue.length):
        frames[index] = queue_at(queue, index)
    PyMem_Free(queue.frames)
    queue.frames = frames
    queue.capacity = <uint16_t>capacity
    queue.first = 0
    return 0


cdef inline void queue_append(OutputQueue *queue, Frame *frame) noexcept:
    """Puts a frame last and takes a reference to it. There must be room (queue_reserve)."""
    frame.references += 1
    queue.frames[(queue.first + queue.length) & (queue.capacity - 1u)] = frame
    queue.length += 1
    queue.counted += frame.counted
    queue.bytes += frame_size(frame)


cdef inline void queue_insert(OutputQueue *queue, unsigned int position, Frame *frame) noexcept:
    """Puts a frame before the one at `position`, which should be small. There must be room."""
    cdef unsigned int mask = queue.capacity - 1u
    cdef unsigned int index
    queue.first = <uint16_t>((queue.first - 1u) & mask)
    for index in range(position):
        queue.frames[(queue.first + index) & mask] = queue.frames[(queue.first + index + 1) & mask]
    frame.references += 1
    queue.frames[(queue.first + position) & mask] = frame
    queue.length += 1
    queue.counted += frame.counted
    queue.bytes += frame_size(frame)


cdef inline void queue_replace(OutputQueue *queue, unsigned int position, Frame *frame) noexcept:
    """Puts a frame in the place of one that has not been begun."""
    cdef unsigned int index = (queue.first + position) & (queue.capacity - 1u)
    cdef Frame *old = queue.frames[index]
    frame.references += 1
    queue.frames[index] = frame
    queue.counted += frame.counted
    queue.counted -= old.counted
    queue.bytes += frame_size(frame)
    queue.bytes -= frame_size(old)
    frame_release(old)


cdef inline void queue_drop_first(OutputQueue *queue) noexcept:
    """Takes the first frame out, written or not."""
    cdef Frame *frame = queue.frames[queue.first]
    queue.first = <uint16_t>((queue.first + 1u) & (queue.capacity - 1u))
    queue.length -= 1
    queue.counted -= frame.counted
    queue.bytes -= frame_size(frame) - queue.written
    queue.written = 0
    frame_release(frame)
    if queue.length == 0 and queue.capacity > CAPACITY_KEPT:
        queue_free(queue)


cdef inline void queue_drop_last(OutputQueue *queue) noexcept:
    """Takes the last frame out. It must not be one that has been begun."""
    cdef Frame *frame = queue_at(queue, queue.length - 1u)
    queue.length -= 1
    queue.counted -= frame.counted
    queue.bytes -= frame_size(frame)
    frame_release(frame)


cdef inline void queue_keep_first(OutputQueue *queue, unsigned int kept) noexcept:
    """Drops all frames but the first `kept` ones. One that has been written in part must be among
    them, or what follows it would be read as its payload."""
    while queue.length > kept:
        queue_drop_last(queue)
    if queue.length == 0:
        queue_free(queue)


cdef inline void queue_free(OutputQueue *queue) noexcept:
    """Drops everything and gives the memory back."""
    while queue.length > 0:
        queue.length -= 1
        frame_release(queue_at(queue, queue.length))
    PyMem_Free(queue.frames)
    queue.frames = NULL
    queue.capacity = 0
    queue.first = 0
    queue.counted = 0
    queue.written = 0
    queue.bytes = 0
