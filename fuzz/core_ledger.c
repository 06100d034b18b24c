/* Any bytes in a ledger, its checksums right or not: who reads it finds each time that somebody is
 * there, that nobody is, or that it is damaged, and who writes into it writes nowhere else. */
#include "../src/dorrit/engine/core/ledger.c"
#include "../src/dorrit/engine/core/journal.c"
#include "../src/dorrit/engine/core/ledger_read.c"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SLOTS = 5, MOST = 1 << 16 };

/* A trap that the fuzzer and the sanitizers report with the stack. */
static void require(bool condition)
{
    if (!condition) {
        abort();
    }
}

static const uint8_t text[400] = "GET /chat HTTP/1.1\r\nHost: example.com\r\n";

static struct dorrit_carried carried_for(uint32_t slot, uint32_t frame)
{
    struct dorrit_carried carried = {.number = slot + 1, .last_life = DORRIT_OPEN, .descriptor = 7};
    carried.about = (struct dorrit_span){text, 60};
    if (slot % 2 == 1) {
        carried.saved = (struct dorrit_span){text, slot > 2 ? 0 : 100};
        carried.topics = (struct dorrit_span){text + 100, 40};
        carried.input = (struct dorrit_span){text, 30};
        carried.unparsed = (struct dorrit_span){text, slot % 4 == 1 ? 20 : 300};
        carried.begun = (struct dorrit_span){text, 200};
        carried.flags = DORRIT_CARRIED_BEGUN;
        carried.reason_length = 5;
        carried.frames[0] = carried.frames[1] = frame;
        carried.frames_length = frame == 0 ? 0 : 2;
    }
    return carried;
}

static void write_all(struct dorrit_ledger *ledger)
{
    const uint32_t frame = dorrit_ledger_add_frame(
        ledger, (struct dorrit_span){text, 2}, (struct dorrit_span){text, 90}, true);
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        struct dorrit_carried carried = carried_for(slot, frame);
        if (slot > 2) {
            const struct dorrit_span part = {text, 100};
            const uint32_t first = dorrit_ledger_add_part(ledger, slot, 0, part);
            carried.parts = dorrit_ledger_add_part(ledger, slot, first, part);
            carried.parts_length = carried.parts == 0 ? 0 : 200;
            carried.parts_at = (uint32_t)carried.input.length / 2;
            /* What the record names, this one does not go on from: it is a new message. */
            dorrit_ledger_remove(ledger, slot);
        }
        (void)dorrit_ledger_put(ledger, slot, &carried);
    }
}

static void make_journal_right(struct dorrit_ledger *ledger)
{
    uint32_t begin = JOURNAL_FIRST;
    const uint32_t end = ledger->journal_held;
    for (uint32_t place = JOURNAL_FIRST; place < end;) {
        struct journal_entry entry;
        memcpy(&entry, ledger->journal + place, sizeof entry);
        const uint32_t size = entry_size(entry, end - place);
        if (size == 0) {
            return;
        }
        if ((entry.what & JOURNAL_KIND) == JOURNAL_COMMIT) {
            entry.more = journal_checksum(
                ledger->journal_round, ledger->journal + begin, place - begin);
            memcpy(ledger->journal + place, &entry, sizeof entry);
            begin = place + size;
        }
        place += size;
    }
}

/* Sends something to everybody, and something else to some. */
static void send_all(struct dorrit_ledger *ledger)
{
    const struct dorrit_span header = {text, 2}, long_text = {text, 211}, short_text = {text, 7};
    if (!dorrit_journal_has_room(ledger, 1000, SLOTS * 2)) {
        dorrit_journal_empty(ledger);
        return;
    }
    const uint32_t frame = dorrit_journal_add_frame(ledger, header, long_text, true);
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        dorrit_journal_deliver(ledger, frame, slot);
    }
    dorrit_journal_commit(ledger);
    dorrit_journal_written(ledger, 1);
    const uint32_t other
        = dorrit_journal_add_frame(ledger, (struct dorrit_span){NULL, 0}, short_text, false);
    dorrit_journal_deliver(ledger, other, 0);
    dorrit_journal_deliver(ledger, other, 1);
    dorrit_journal_commit(ledger);
}

/* Makes all checksums right, so that what stands there is looked at. */
static void make_right(struct dorrit_ledger *ledger)
{
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        struct record *const record = record_of(ledger, slot);
        record->checksum = record_checksum(record);
        record->taken = journal_place(round_of(record->taken), offset_of(record->taken));
    }
    struct header *const header = header_of(ledger);
    header->journal = journal_place(round_of(header->journal), offset_of(header->journal));
    header_of(ledger)->put.checksum = record_checksum(&header_of(ledger)->put);
    make_journal_right(ledger);
    for (uint32_t unit = 0; unit < ledger->units_used; unit++) {
        struct chunk head;
        memcpy(&head, unit_of(ledger, unit), sizeof head);
        if (is_used(ledger, unit, sizeof head + (uint64_t)head.length)) {
            head.checksum = chunk_checksum(&head, unit_of(ledger, unit) + sizeof head);
            memcpy(unit_of(ledger, unit), &head, sizeof head);
        }
    }
}

static int file(void)
{
#ifdef __linux__
    return memfd_create("ledger", MFD_CLOEXEC);
#else
    FILE *made = tmpfile();
    require(made != NULL);
    const int descriptor = dup(fileno(made));
    fclose(made);
    return descriptor;
#endif
}

static uint64_t sum;

static void touch(struct dorrit_span span)
{
    for (size_t index = 0; index < span.length; index++) {
        sum += span.bytes[index];
    }
}

static void read_all(int descriptor)
{
    struct dorrit_ledger_copy copy;
    if (dorrit_ledger_read(&copy, descriptor) != DORRIT_LEDGER_OK) {
        return;
    }
    for (uint32_t slot = 0; slot <= copy.slots; slot++) {
        struct dorrit_carried carried;
        const enum dorrit_ledger_verdict verdict = dorrit_ledger_get(&copy, slot, &carried);
        require(verdict <= DORRIT_LEDGER_DAMAGED);
        if (verdict != DORRIT_LEDGER_OK) {
            require(carried.frames_length == 0 && carried.about.length == 0);
            continue;
        }
        require(carried.last_life <= DORRIT_LINGERING && carried.parsing <= DORRIT_AT_END);
        require(carried.frames_length <= DORRIT_LEDGER_FRAMES_MAX);
        touch(carried.about);
        touch(carried.saved);
        touch(carried.topics);
        touch(carried.input);
        touch(carried.unparsed);
        const size_t length = dorrit_ledger_input_length(&carried);
        uint8_t *const input = malloc(length + 1);
        require(input != NULL);
        dorrit_ledger_get_input(&copy, &carried, input);
        touch((struct dorrit_span){input, length});
        free(input);
        touch(carried.begun);
        for (uint16_t index = 0; index < carried.frames_length; index++) {
            struct dorrit_span frame;
            uint8_t header_length;
            bool counted;
            if (dorrit_ledger_get_frame(
                    &copy, carried.frames[index], &frame, &header_length, &counted)
                == DORRIT_LEDGER_OK) {
                require(header_length <= frame.length);
                touch(frame);
            }
        }
    }
    dorrit_ledger_free_copy(&copy);
}

/* The input: whether checksums are made right, then edits of 5 bytes each: two for the place, two
 * that are put there, and what happens next. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 6) {
        return 0;
    }
    const int descriptor = file();
    struct dorrit_ledger ledger;
    require(descriptor >= 0);
    require(dorrit_ledger_create(&ledger, descriptor, SLOTS, MOST, MOST) == 0);
    write_all(&ledger);
    send_all(&ledger);
    const bool is_right = (data[0] & 1) != 0;
    const size_t header_size = sizeof(struct header);
    const size_t begin = HEADER_SIZE, end = chunks_place(SLOTS);
    for (size_t at = 1; size - at >= 5; at += 5) {
        const size_t place = (size_t)data[at] | (size_t)data[at + 1] << 8;
        uint8_t *to = ledger.memory;
        switch (data[at + 4] % 5) {
        case 0:
            to += place % (header_size - 2);
            break;
        case 4:
            to = ledger.journal + place % (ledger.journal_used - 1);
            break;
        case 1:
            to += begin + place % (SLOTS * sizeof(struct record));
            break;
        default: /* every fourth byte of a chunk is in its head */
            to += end + place % ((size_t)ledger.units_used * DORRIT_LEDGER_UNIT - 1);
            break;
        }
        memcpy(to, data + at + 2, 2);
        if (data[at + 4] >= 128) {
            if (is_right) {
                make_right(&ledger);
            }
            read_all(descriptor);
            header_of(&ledger)->records = SLOTS;
            header_of(&ledger)->slots = SLOTS;
            dorrit_ledger_remove(&ledger, data[at + 4] % 8);
            write_all(&ledger);
            send_all(&ledger);
        }
    }
    if (is_right) {
        make_right(&ledger);
    }
    read_all(descriptor);
    dorrit_ledger_close(&ledger);
    require(close(descriptor) == 0);
    return 0;
}
