"""What `core/connection.h` declares. What the fields are stands there."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from dorrit.engine.c.output cimport dorrit_output_queue


cdef extern from "connection.h" nogil:
    enum dorrit_life:
        DORRIT_CLOSED
        DORRIT_HANDSHAKING
        DORRIT_OPEN
        DORRIT_CLOSING
        DORRIT_ANSWERING
        DORRIT_LINGERING

    enum dorrit_admission:
        DORRIT_UNDECIDED
        DORRIT_AWAITED
        DORRIT_ACCEPTED

    enum dorrit_parsing:
        DORRIT_AT_HEAD
        DORRIT_AT_FRAME
        DORRIT_IN_PAYLOAD
        DORRIT_IN_UNWANTED
        DORRIT_AT_FOLLOWED
        DORRIT_IN_FOLLOWED
        DORRIT_IN_LAST
        DORRIT_AT_END

    enum dorrit_writing:
        DORRIT_WRITES
        DORRIT_HELD
        DORRIT_WAITS
        DORRIT_BLOCKED
        DORRIT_GONE

    struct dorrit_connection:
        dorrit_output_queue queue
        uint8_t *input
        uint32_t input_length
        uint32_t input_capacity
        uint32_t input_searched
        uint32_t request_size
        uint64_t skipping
        size_t waiting
        uint64_t deadline
        uint64_t number
        uint32_t heard
        uint32_t active
        uint32_t second
        uint32_t frames_in_second
        uint32_t opened
        uint32_t dropped
        uint32_t room
        uint32_t slot
        uint32_t end_slot
        int descriptor
        uint16_t close_code
        uint8_t life
        uint8_t admission
        uint8_t parsing
        uint8_t writing
        uint8_t pongs
        bint paused
        bint stashed
        bint is_dirty
        bint is_answered
        bint is_resumed
        bint closed_here
        bint refusing
        bint pinged
        bint room_wanted
        bint is_touched
        bint end_is_due
        bint has_record_of_queue
        bint has_record_of_input
