"""What `core/ledger.h` declares. What the functions promise stands there."""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t


from dorrit.engine.c.output cimport dorrit_output_frame


cdef extern from "<stdbool.h>" nogil:
    ctypedef unsigned char c_bool "bool"

cdef extern from "ledger.h" nogil:
    enum:
        DORRIT_LEDGER_FRAMES_MAX
        DORRIT_LEDGER_REASON_MAX
        DORRIT_LEDGER_PART_MAX

    struct dorrit_span:
        const uint8_t *bytes
        size_t length

    enum dorrit_carried_flag:
        DORRIT_CARRIED_CLOSED_HERE
        DORRIT_CARRIED_BEGUN
        DORRIT_CARRIED_TEXT
        DORRIT_CARRIED_DEFLATE
        DORRIT_CARRIED_SERVER_TAKEOVER
        DORRIT_CARRIED_CLIENT_TAKEOVER
        DORRIT_CARRIED_WINDOW

    struct dorrit_carried:
        uint64_t socket
        uint64_t number
        int32_t descriptor
        uint32_t opened
        uint32_t dropped
        uint32_t written
        uint16_t flags
        uint16_t close_code
        uint8_t last_life
        uint8_t admission
        uint8_t parsing
        uint8_t window_bits
        uint8_t reason_length
        uint16_t frames_length
        uint8_t *reason
        dorrit_span about
        dorrit_span saved
        dorrit_span topics
        dorrit_span input
        uint32_t parts_at
        uint32_t parts_length
        uint32_t parts
        dorrit_span unparsed
        dorrit_span begun
        dorrit_span window
        uint32_t *frames

    struct dorrit_ledger:
        uint8_t *memory
        size_t mapped
        int descriptor

    int dorrit_ledger_create(
        dorrit_ledger *ledger, int descriptor, uint32_t slots, uint64_t most, uint32_t journal_most)
    void dorrit_ledger_note_clients(dorrit_ledger *ledger, uint64_t clients)
    void dorrit_ledger_close(dorrit_ledger *ledger)
    int dorrit_ledger_put(dorrit_ledger *ledger, uint32_t slot, const dorrit_carried *carried)
    uint32_t dorrit_ledger_add_frame(
        dorrit_ledger *ledger, dorrit_span header, dorrit_span payload, bint counted)

    uint32_t dorrit_ledger_add_part(
        dorrit_ledger *ledger, uint32_t slot, uint32_t before, dorrit_span bytes)
    size_t dorrit_ledger_input_length(const dorrit_carried *carried)
    void dorrit_ledger_drop_parts(dorrit_ledger *ledger, uint32_t slot, uint32_t last)
    void dorrit_ledger_remove(dorrit_ledger *ledger, uint32_t slot)
    void dorrit_ledger_free_frame(dorrit_ledger *ledger, uint32_t frame)
    uint64_t dorrit_ledger_socket(const dorrit_ledger *ledger, uint32_t slot)

    void dorrit_ledger_begin_input(dorrit_ledger *ledger, uint32_t slot)
    void dorrit_ledger_end_input(dorrit_ledger *ledger)
    uint32_t dorrit_ledger_begin_step(dorrit_ledger *ledger, uint32_t slot)
    void dorrit_ledger_end_step(dorrit_ledger *ledger, uint32_t before)
    void dorrit_ledger_begin_write(dorrit_ledger *ledger, uint32_t slot)
    void dorrit_ledger_end_write(dorrit_ledger *ledger)
    bint dorrit_journal_has_room(dorrit_ledger *ledger, size_t length, unsigned int frames)
    uint32_t dorrit_journal_add_frame(
        dorrit_ledger *ledger, dorrit_span header, dorrit_span payload, bint counted)
    uint32_t dorrit_journal_send(
        dorrit_ledger *ledger, const dorrit_output_frame *frame, uint32_t slot)
    bint dorrit_journal_deliver(dorrit_ledger *ledger, uint32_t frame, uint32_t slot)
    void dorrit_journal_commit(dorrit_ledger *ledger)
    void dorrit_journal_written(dorrit_ledger *ledger, uint32_t slot)
    void dorrit_journal_empty(dorrit_ledger *ledger)

    enum dorrit_ledger_verdict:
        DORRIT_LEDGER_OK
        DORRIT_LEDGER_EMPTY
        DORRIT_LEDGER_DAMAGED
        DORRIT_LEDGER_NEWER
        DORRIT_LEDGER_UNREADABLE

    struct dorrit_ledger_copy:
        uint32_t slots
        uint32_t current
        uint32_t writing
        uint64_t clients

    dorrit_ledger_verdict dorrit_ledger_read(dorrit_ledger_copy *copy, int descriptor)
    dorrit_ledger_copy dorrit_ledger_view(const dorrit_ledger *ledger)
    void dorrit_ledger_free_copy(dorrit_ledger_copy *copy)
    dorrit_ledger_verdict dorrit_ledger_get(
        const dorrit_ledger_copy *copy, uint32_t slot, dorrit_carried *carried)
    void dorrit_ledger_get_input(
        const dorrit_ledger_copy *copy, const dorrit_carried *carried, uint8_t *to)
    dorrit_ledger_verdict dorrit_ledger_get_frame(
        const dorrit_ledger_copy *copy, uint32_t chunk, dorrit_span *frame, uint8_t *header_length,
        c_bool *counted)
