#include "ledger_write.h"

#include <sys/mman.h>

void dorrit_ledger_begin_input(struct dorrit_ledger *ledger, uint32_t slot)
{
    store_number(&header_of(ledger)->current, slot + 1);
}

void dorrit_ledger_end_input(struct dorrit_ledger *ledger)
{
    store_number(&header_of(ledger)->current, 0);
}

uint32_t dorrit_ledger_begin_step(struct dorrit_ledger *ledger, uint32_t slot)
{
    const uint32_t before = header_of(ledger)->current;
    store_number(&header_of(ledger)->current, slot + 1);
    return before;
}

void dorrit_ledger_end_step(struct dorrit_ledger *ledger, uint32_t before)
{
    store_number(&header_of(ledger)->current, before);
}

void dorrit_ledger_begin_write(struct dorrit_ledger *ledger, uint32_t slot)
{
    store_number(&header_of(ledger)->writing, slot + 1);
}

void dorrit_ledger_end_write(struct dorrit_ledger *ledger)
{
    store_number(&header_of(ledger)->writing, 0);
}

enum {
    JOURNAL_STEP = 256 * 1024, /* bytes that get memory at a time */
    JOURNAL_KEPT = 1024 * 1024 /* bytes that it keeps when it is emptied; whole pages */
};

/* Returns where the next `length` bytes go, which are a multiple of a unit; NULL: there is no room, for
 * them and for the entry behind them that has them hold. */
static uint8_t *journal_room(struct dorrit_ledger *ledger, size_t length)
{
    length += sizeof(struct journal_entry);
    if (ledger->journal_used + length > ledger->journal_most) {
        return NULL;
    }
    const uint32_t end = ledger->journal_used + (uint32_t)length;
    if (end > ledger->journal_size) {
        uint32_t wanted = ledger->journal_most;
        if (ledger->journal_most - end > JOURNAL_STEP) {
            wanted = end + JOURNAL_STEP;
        }
        const size_t from = (size_t)(ledger->journal - ledger->memory) + ledger->journal_size;
        if (ledger_allocate(ledger->descriptor, from, wanted - ledger->journal_size) != 0) {
            return NULL;
        }
        ledger->journal_size = wanted;
    }
    return ledger->journal + ledger->journal_used;
}

static void put_entry(uint8_t *to, uint32_t what, uint32_t more)
{
    const struct journal_entry entry = {.what = what, .more = more};
    store(to, &entry, sizeof entry);
}

bool dorrit_journal_has_room(struct dorrit_ledger *ledger, size_t length, unsigned int frames)
{
    /* Each frame has an entry, is padded, and is delivered. */
    const size_t more = frames * (2 * sizeof(struct journal_entry) + JOURNAL_UNIT);
    return length < JOURNAL_FRAME >> 2 && journal_room(ledger, length + more) != NULL;
}

uint32_t dorrit_journal_add_frame(struct dorrit_ledger *ledger, struct dorrit_span header,
    struct dorrit_span payload, bool counted)
{
    const size_t length = header.length + payload.length;
    const size_t padded = (length + JOURNAL_UNIT - 1) / JOURNAL_UNIT * JOURNAL_UNIT;
    uint8_t *const to = journal_room(ledger, sizeof(struct journal_entry) + padded);
    if (to == NULL) {
        return 0;
    }
    put_entry(to, JOURNAL_FRAME | (uint32_t)length,
        (uint32_t)header.length << JOURNAL_HEADER_SHIFT | counted);
    uint8_t *at = to + sizeof(struct journal_entry);
    store(at, header.bytes, header.length);
    store(at + header.length, payload.bytes, payload.length);
    const uint32_t place = ledger->journal_used;
    ledger->journal_used += (uint32_t)(sizeof(struct journal_entry) + padded);
    return place;
}

uint32_t dorrit_journal_send(
    struct dorrit_ledger *ledger, const struct dorrit_output_frame *frame, uint32_t slot)
{
    enum { ENTRY = sizeof(struct journal_entry) };
    const size_t length = (size_t)frame->header_length + frame->payload_length;
    const size_t padded = (length + JOURNAL_UNIT - 1) / JOURNAL_UNIT * JOURNAL_UNIT;
    /* The header is copied whole, since that costs less: it may be longer than the frame. */
    const size_t needed = padded + sizeof frame->header + 3 * ENTRY;
    /* A sum and no difference: at first there is less memory than what stands before all entries. */
    if (ledger->journal_used + needed > ledger->journal_size
        && (length >= JOURNAL_FRAME >> 2 || journal_room(ledger, needed) == NULL)) {
        return 0;
    }
    const uint32_t place = ledger->journal_used;
    uint8_t *const to = ledger->journal + place;
    uint8_t *const at = to + ENTRY;
    put_entry(to, JOURNAL_FRAME | (uint32_t)length,
        (uint32_t)frame->header_length << JOURNAL_HEADER_SHIFT | frame->counted);
    store(at, frame->header, sizeof frame->header);
    store(at + frame->header_length, frame->payload, frame->payload_length);
    put_entry(at + padded, JOURNAL_DELIVERY | place / JOURNAL_UNIT, slot);
    ledger->journal_used = place + (uint32_t)(2 * ENTRY + padded);
    return place;
}

bool dorrit_journal_deliver(struct dorrit_ledger *ledger, uint32_t frame, uint32_t slot)
{
    enum { ENTRY = sizeof(struct journal_entry) };
    /* Behind it there is to be room for the entry that has it hold. */
    if (ledger->journal_used + 2 * ENTRY > ledger->journal_size
        && journal_room(ledger, ENTRY) == NULL) {
        return false;
    }
    put_entry(ledger->journal + ledger->journal_used, JOURNAL_DELIVERY | frame / JOURNAL_UNIT, slot);
    ledger->journal_used += ENTRY;
    return true;
}

void dorrit_journal_commit(struct dorrit_ledger *ledger)
{
    if (ledger->journal_used == ledger->journal_held) {
        return;
    }
    const uint32_t checksum = journal_checksum(ledger->journal_round,
        ledger->journal + ledger->journal_held, ledger->journal_used - ledger->journal_held);
    put_entry(ledger->journal + ledger->journal_used, JOURNAL_COMMIT, checksum);
    ledger->journal_used += sizeof(struct journal_entry);
    ledger->journal_held = ledger->journal_used;
    store_place(&header_of(ledger)->journal,
        journal_place(ledger->journal_round, ledger->journal_held));
}

void dorrit_journal_written(struct dorrit_ledger *ledger, uint32_t slot)
{
    if (slot < header_of(ledger)->records) {
        store_place(&record_of(ledger, slot)->taken,
            journal_place(ledger->journal_round, ledger->journal_used));
    }
}

/* Gives memory back that a large turn has needed. */
static void give_back_journal(struct dorrit_ledger *ledger)
{
#ifdef MADV_REMOVE
    if (madvise(ledger->journal + JOURNAL_KEPT, ledger->journal_size - JOURNAL_KEPT, MADV_REMOVE)
        == 0) {
        ledger->journal_size = JOURNAL_KEPT;
    }
#else
    (void)ledger;
#endif
}

void dorrit_journal_empty(struct dorrit_ledger *ledger)
{
    if (ledger->journal_used == JOURNAL_FIRST) {
        return;
    }
    if (ledger->journal_round == UINT32_MAX) {
        /* Places of the first rounds must not be taken for those that come. */
        for (uint32_t slot = 0; slot < header_of(ledger)->records; slot++) {
            store_place(&record_of(ledger, slot)->taken, journal_place(0, 0));
        }
        ledger->journal_round = 0;
    }
    if (ledger->journal_size > JOURNAL_KEPT) {
        give_back_journal(ledger);
    }
    ledger->journal_round++;
    ledger->journal_used = ledger->journal_held = JOURNAL_FIRST;
    store_place(&header_of(ledger)->journal,
        journal_place(ledger->journal_round, JOURNAL_FIRST));
}
