#include "ledger.h"

#include "ledger_write.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    RECORDS_STEP = 1024, /* records that get memory at a time: 64 KiB */
    UNITS_STEP = 4096,   /* units of chunks: 256 KiB */
    GIVEN_BACK_FROM = 8, /* the size of chunks, 16 KiB, whose memory is given back when they are free, */
    FREE_KEPT = 1 << 20, /* bytes of each size, but for so many: to give memory back and get it again takes long */
    UNPARSED_MIN = 256   /* bytes that have a chunk of their own; fewer stand in the body */
};

/* What stands at the beginning of a free chunk. */
struct free_chunk {
    uint32_t next; /* the next one in the same list; 0: it is the last */
};

static uint8_t *unit_of(const struct dorrit_ledger *ledger, uint32_t unit)
{
    return ledger->memory + chunks_place(ledger->slots) + (size_t)unit * DORRIT_LEDGER_UNIT;
}

int ledger_allocate(int descriptor, size_t offset, size_t length)
{
#ifdef __APPLE__
    static const uint8_t zeros[HEADER_SIZE];
    while (length > 0) {
        const size_t now = length < sizeof zeros ? length : sizeof zeros;
        const ssize_t done = pwrite(descriptor, zeros, now, (off_t)offset);
        if (done <= 0) {
            return -1;
        }
        offset += (size_t)done;
        length -= (size_t)done;
    }
    return 0;
#else
    int error;
    do {
        error = posix_fallocate(descriptor, (off_t)offset, (off_t)length);
    } while (error == EINTR);
    errno = error;
    return error == 0 ? 0 : -1;
#endif
}

int dorrit_ledger_create(struct dorrit_ledger *ledger, int descriptor, uint32_t slots,
    uint64_t most, uint32_t journal_most)
{
    memset(ledger, 0, sizeof *ledger);
    ledger->descriptor = descriptor;
    if (slots == 0 || slots > UINT32_MAX / 4 || most / DORRIT_LEDGER_UNIT > UINT32_MAX / 4
        || journal_most > JOURNAL_OFFSET) {
        errno = EINVAL;
        return -1;
    }
    ledger->slots = slots;
    ledger->units_most = (uint32_t)(most / DORRIT_LEDGER_UNIT) + 1;
    ledger->units_used = 1;
    const size_t chunks_end
        = chunks_place(slots) + (size_t)ledger->units_most * DORRIT_LEDGER_UNIT;
    const size_t journal_at = (chunks_end + HEADER_SIZE - 1) / HEADER_SIZE * HEADER_SIZE;
    const size_t size = journal_at + journal_most;
    if (ftruncate(descriptor, (off_t)size) != 0 || ledger_allocate(descriptor, 0, HEADER_SIZE) != 0) {
        return -1;
    }
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (memory == MAP_FAILED) {
        return -1;
    }
    ledger->memory = memory;
    ledger->mapped = size;
#ifdef MADV_DONTFORK
    /* What a forked process did to it would be done to this one's. */
    (void)madvise(memory, size, MADV_DONTFORK);
#endif
    struct header header = {.format = DORRIT_LEDGER_FORMAT, .slots = slots};
    if (journal_most > 0) {
        ledger->journal = ledger->memory + journal_at;
        ledger->journal_most = journal_most;
        ledger->journal_used = ledger->journal_held = JOURNAL_FIRST;
        ledger->journal_round = 1;
        header.journal_at = journal_at;
        header.journal = journal_place(1, JOURNAL_FIRST);
    }
    store(header_of(ledger), &header, sizeof header);
    /* Last: without it there is no ledger. */
    store(header_of(ledger)->magic, ledger_magic, sizeof ledger_magic);
    return 0;
}

void dorrit_ledger_note_clients(struct dorrit_ledger *ledger, uint64_t clients)
{
    store(&header_of(ledger)->clients, &clients, sizeof clients);
}

void dorrit_ledger_close(struct dorrit_ledger *ledger)
{
    if (ledger->memory != NULL) {
        munmap(ledger->memory, ledger->mapped);
        ledger->memory = NULL;
        ledger->journal = NULL;
    }
}

static int grow_records(struct dorrit_ledger *ledger, uint32_t slot)
{
    struct header *header = header_of(ledger);
    if (slot < header->records) {
        return 0;
    }
    uint32_t wanted = slot / RECORDS_STEP * RECORDS_STEP + RECORDS_STEP;
    if (wanted > ledger->slots) {
        wanted = ledger->slots;
    }
    const size_t from = record_place(header->records);
    if (ledger_allocate(ledger->descriptor, from, record_place(wanted) - from) != 0) {
        return -1;
    }
    store_number(&header->records, wanted);
    return 0;
}

/* Takes `count` units that have not been used yet; returns the first, or 0. */
static uint32_t take_units(struct dorrit_ledger *ledger, uint32_t count)
{
    if (count > ledger->units_most - ledger->units_used) {
        errno = ENOSPC;
        return 0;
    }
    const uint32_t end = ledger->units_used + count;
    if (end > ledger->units) {
        uint32_t wanted = end > UINT32_MAX - UNITS_STEP ? end : end + UNITS_STEP;
        if (wanted > ledger->units_most) {
            wanted = ledger->units_most;
        }
        const size_t from
            = chunks_place(ledger->slots) + (size_t)ledger->units * DORRIT_LEDGER_UNIT;
        const size_t length = (size_t)(wanted - ledger->units) * DORRIT_LEDGER_UNIT;
        if (ledger_allocate(ledger->descriptor, from, length) != 0) {
            return 0;
        }
        ledger->units = wanted;
        store_number(&header_of(ledger)->units, wanted);
    }
    ledger->units_used = end;
    return end - count;
}

/* Whether so many bytes from a chunk's beginning on have ever been a chunk's. */
static bool is_used(const struct dorrit_ledger *ledger, uint32_t chunk, uint64_t length)
{
    return chunk != 0 && chunk < ledger->units_used
        && length <= (uint64_t)(ledger->units_used - chunk) * DORRIT_LEDGER_UNIT;
}

/* Returns a chunk with room for `length` bytes behind its head, whose size class is in `*size_class`;
 * 0: there is no room. */
static uint32_t take_chunk(struct dorrit_ledger *ledger, size_t length, uint8_t *size_class)
{
    uint8_t class = 0;
    while (((size_t)DORRIT_LEDGER_UNIT << class) < sizeof(struct chunk) + length) {
        if (++class == DORRIT_LEDGER_CLASSES) {
            errno = EFBIG;
            return 0;
        }
    }
    *size_class = class;
    const size_t size = (size_t)DORRIT_LEDGER_UNIT << class;
    uint32_t *first = &ledger->free[class];
    if (*first != 0 && class >= GIVEN_BACK_FROM) {
        size_t *const kept = &ledger->free_kept[class];
        *kept -= size < *kept ? size : *kept;
    } else if (*first == 0) {
        first = &ledger->without[class];
        if (*first == 0) {
            return take_units(ledger, UINT32_C(1) << class);
        }
        const size_t from = (size_t)(unit_of(ledger, *first) - ledger->memory);
        if (ledger_allocate(ledger->descriptor, from, size) != 0) {
            return 0;
        }
    }
    const uint32_t chunk = *first;
    struct free_chunk found;
    memcpy(&found, unit_of(ledger, chunk), sizeof found);
    if (is_used(ledger, found.next, size)) {
        *first = found.next;
    } else {
        /* What has been written over may say anything: those that are lost then are lost, and others are
         * not touched. */
        *first = 0;
        if (first == &ledger->free[class]) {
            ledger->free_kept[class] = 0;
        }
    }
    return chunk;
}

/* Gives the memory of a large free chunk back, but for its beginning, which leads to the next one. */
static void give_back_chunk(
    const struct dorrit_ledger *ledger, uint32_t chunk, size_t length)
{
#ifdef MADV_REMOVE
    const size_t begin = (size_t)(unit_of(ledger, chunk) - ledger->memory);
    const size_t first = (begin / HEADER_SIZE + 1) * HEADER_SIZE;
    const size_t end = (begin + length) / HEADER_SIZE * HEADER_SIZE;
    if (end > first) {
        (void)madvise(ledger->memory + first, end - first, MADV_REMOVE);
    }
#else
    (void)ledger;
    (void)chunk;
    (void)length;
#endif
}

static void free_chunk(struct dorrit_ledger *ledger, uint32_t chunk)
{
    if (!is_used(ledger, chunk, sizeof(struct chunk))) {
        return;
    }
    struct chunk head;
    memcpy(&head, unit_of(ledger, chunk), sizeof head);
    if (head.size_class >= DORRIT_LEDGER_CLASSES
        || !is_used(ledger, chunk, (uint64_t)DORRIT_LEDGER_UNIT << head.size_class)) {
        return; /* it has been written over: its place is lost */
    }
    const size_t size = (size_t)DORRIT_LEDGER_UNIT << head.size_class;
    const bool is_large = head.size_class >= GIVEN_BACK_FROM;
    size_t *const kept = &ledger->free_kept[head.size_class];
    const bool is_given_back = is_large && *kept + size > FREE_KEPT;
    uint32_t *const first
        = is_given_back ? &ledger->without[head.size_class] : &ledger->free[head.size_class];
    const struct free_chunk free = {.next = *first};
    store(unit_of(ledger, chunk), &free, sizeof free);
    *first = chunk;
    if (is_given_back) {
        give_back_chunk(ledger, chunk, size);
    } else if (is_large) {
        *kept += size;
    }
}

/* Writes a chunk of some spans. Returns 0 when there is no room. */
static uint32_t add_chunk(struct dorrit_ledger *ledger, struct chunk head,
    const struct dorrit_span *spans, size_t count)
{
    size_t length = 0;
    for (size_t index = 0; index < count; index++) {
        if (spans[index].length > UINT32_MAX - length) {
            errno = EFBIG;
            return 0;
        }
        length += spans[index].length;
    }
    const uint32_t chunk = take_chunk(ledger, length, &head.size_class);
    if (chunk == 0) {
        return 0;
    }
    uint8_t *const content = unit_of(ledger, chunk) + sizeof head;
    size_t written = 0;
    for (size_t index = 0; index < count; index++) {
        store(content + written, spans[index].bytes, spans[index].length);
        written += spans[index].length;
    }
    head.length = (uint32_t)length;
    head.checksum = chunk_checksum(&head, content);
    store(unit_of(ledger, chunk), &head, sizeof head);
    return chunk;
}

/* Whether a chunk has these bytes, and no others. */
static bool has_bytes(const struct dorrit_ledger *ledger, uint32_t chunk, struct chunk head,
    const struct dorrit_span *spans, size_t count)
{
    struct chunk old;
    if (!is_used(ledger, chunk, sizeof old)) {
        return false;
    }
    memcpy(&old, unit_of(ledger, chunk), sizeof old);
    if (old.owner != head.owner || old.kind != head.kind
        || !is_used(ledger, chunk, sizeof old + (uint64_t)old.length)) {
        return false;
    }
    const uint8_t *content = unit_of(ledger, chunk) + sizeof old;
    size_t rest = old.length;
    for (size_t index = 0; index < count; index++) {
        if (spans[index].length > rest
            || (spans[index].length > 0 && memcmp(content, spans[index].bytes, spans[index].length) != 0)) {
            return false;
        }
        content += spans[index].length;
        rest -= spans[index].length;
    }
    return rest == 0;
}

/* The chunk that has a connection's bytes already, or a new one. Returns -1 when there is no room. */
static int keep_or_add_all(struct dorrit_ledger *ledger, uint32_t slot, enum chunk_kind kind,
    uint32_t before, const struct dorrit_span *spans, size_t count, uint32_t *chunk)
{
    const struct chunk head = {.owner = slot + 1, .kind = (uint8_t)kind};
    *chunk = has_bytes(ledger, before, head, spans, count) ? before
                                                           : add_chunk(ledger, head, spans, count);
    return *chunk == 0 ? -1 : 0;
}

/* The same of one span, of which nothing is kept if it is empty. */
static int keep_or_add(struct dorrit_ledger *ledger, uint32_t slot, enum chunk_kind kind,
    uint32_t before, struct dorrit_span span, uint32_t *chunk)
{
    *chunk = 0;
    return span.length == 0 ? 0 : keep_or_add_all(ledger, slot, kind, before, &span, 1, chunk);
}

/* The same of what is kept of a connection in any case. */
static int keep_or_add_kept(struct dorrit_ledger *ledger, uint32_t slot, uint32_t before,
    const struct dorrit_carried *carried, uint32_t *chunk)
{
    if (carried->topics.length == 0) {
        return keep_or_add(ledger, slot, SAVED, before, carried->saved, chunk);
    }
    /* Of more bytes than there are numbers for add_chunk() makes none. */
    const struct kept kept = {.saved_length = (uint32_t)carried->saved.length};
    const struct dorrit_span spans[]
        = {{(const uint8_t *)&kept, sizeof kept}, carried->saved, carried->topics};
    return keep_or_add_all(ledger, slot, KEPT, before, spans, 3, chunk);
}

/* The same of what is unparsed. Bytes are parsed from the first one on and others come behind the last, so
 * that often enough it is the end of the chunk that is there: `*from` says from which byte on. */
static int keep_or_add_unparsed(struct dorrit_ledger *ledger, uint32_t slot, uint32_t before,
    struct dorrit_span span, uint32_t *chunk, uint32_t *from)
{
    struct chunk old;
    *chunk = *from = 0;
    if (span.length < UNPARSED_MIN) {
        return 0;
    }
    if (is_used(ledger, before, sizeof old)) {
        memcpy(&old, unit_of(ledger, before), sizeof old);
        if (old.kind == UNPARSED && old.owner == slot + 1 && old.length >= span.length
            && is_used(ledger, before, sizeof old + (uint64_t)old.length)
            && memcmp(unit_of(ledger, before) + sizeof old + (old.length - span.length), span.bytes,
                   span.length)
                == 0) {
            *chunk = before;
            *from = old.length - (uint32_t)span.length;
            return 0;
        }
    }
    *chunk = add_chunk(ledger, (struct chunk){.owner = slot + 1, .kind = UNPARSED}, &span, 1);
    return *chunk == 0 ? -1 : 0;
}

/* What stands in a body; nothing if that is none. */
static struct body body_before(const struct dorrit_ledger *ledger, uint32_t body)
{
    struct body found = {0};
    if (is_used(ledger, body, sizeof(struct chunk) + sizeof found)) {
        memcpy(&found, unit_of(ledger, body) + sizeof(struct chunk), sizeof found);
    }
    return found;
}

/* What stands before the bytes of a slot's part. False: it is none. */
static bool part_of(
    const struct dorrit_ledger *ledger, uint32_t slot, uint32_t chunk, struct part *part)
{
    struct chunk head;
    if (!is_used(ledger, chunk, sizeof head + sizeof *part)) {
        return false;
    }
    memcpy(&head, unit_of(ledger, chunk), sizeof head);
    memcpy(part, unit_of(ledger, chunk) + sizeof head, sizeof *part);
    return head.kind == PART && head.owner == slot + 1;
}

uint32_t dorrit_ledger_add_part(
    struct dorrit_ledger *ledger, uint32_t slot, uint32_t before, struct dorrit_span bytes)
{
    struct part part = {.before = before, .number = 1}, last;
    if (before != 0) {
        if (!part_of(ledger, slot, before, &last)) {
            errno = EINVAL;
            return 0;
        }
        part.number = last.number + 1;
    }
    const struct dorrit_span spans[] = {{(const uint8_t *)&part, sizeof part}, bytes};
    return add_chunk(ledger, (struct chunk){.owner = slot + 1, .kind = PART}, spans, 2);
}

/* Frees the parts of a slot from the last one back to `kept`, which stays. */
static void free_parts(struct dorrit_ledger *ledger, uint32_t slot, uint32_t last, uint32_t kept)
{
    struct part part;
    uint32_t chunk = last, above = UINT32_MAX;
    /* What has been written over may lead anywhere; but as long as it goes on, the numbers are lower. */
    while (chunk != kept && part_of(ledger, slot, chunk, &part) && part.number < above) {
        free_chunk(ledger, chunk);
        above = part.number;
        chunk = part.before;
    }
}

/* Whether a part is one of those that lead up to the last one. */
static bool leads_to(
    const struct dorrit_ledger *ledger, uint32_t slot, uint32_t part, uint32_t last)
{
    struct part found, wanted;
    if (!part_of(ledger, slot, part, &wanted)) {
        return false;
    }
    uint32_t chunk = last, above = UINT32_MAX;
    while (part_of(ledger, slot, chunk, &found) && found.number < above
        && found.number > wanted.number) {
        above = found.number;
        chunk = found.before;
    }
    return chunk == part;
}

static bool has_body(const struct dorrit_carried *carried)
{
    return carried->written != 0 || carried->dropped != 0 || carried->reason_length != 0
        || carried->input.length != 0 || carried->parts != 0 || carried->unparsed.length != 0
        || carried->frames_length != 0
        || (carried->flags & DORRIT_CARRIED_BEGUN) != 0;
}

/* `chunks`: the body with those that it names. */
static uint32_t add_body(struct dorrit_ledger *ledger, uint32_t slot,
    const struct dorrit_carried *carried, struct body chunks)
{
    const size_t unparsed = chunks.unparsed == 0 ? carried->unparsed.length : 0;
    const struct body body = {
        .written = carried->written,
        .begun = chunks.begun,
        .parts = carried->parts,
        .parts_at = carried->parts_at,
        .parts_length = carried->parts_length,
        .input_length = (uint32_t)(carried->input.length + unparsed),
        .unparsed = chunks.unparsed,
        .unparsed_from = chunks.unparsed_from,
        .dropped = carried->dropped,
        .frames_length = carried->frames_length,
        .reason_length = carried->reason_length,
    };
    const struct dorrit_span spans[] = {
        {(const uint8_t *)&body, sizeof body},
        {carried->reason, carried->reason_length},
        carried->input,
        {carried->unparsed.bytes, unparsed},
        {(const uint8_t *)carried->frames, carried->frames_length * sizeof carried->frames[0]},
    };
    return add_chunk(ledger, (struct chunk){.owner = slot + 1, .kind = BODY}, spans, 5);
}

/* Frees a chunk that a record had and its successor has not. */
static void let_go(struct dorrit_ledger *ledger, uint32_t before, uint32_t now)
{
    if (before != now) {
        free_chunk(ledger, before);
    }
}

/* What stands in a record's place; nothing if that is empty, or has been written over. */
static struct record record_before(const struct record *place, uint32_t slot)
{
    const struct record nobody = {0};
    return place->used == slot + 1 && place->checksum == record_checksum(place) ? *place : nobody;
}

int dorrit_ledger_put(
    struct dorrit_ledger *ledger, uint32_t slot, const struct dorrit_carried *carried)
{
    if (slot >= ledger->slots || carried->frames_length > DORRIT_LEDGER_FRAMES_MAX
        || carried->reason_length > DORRIT_LEDGER_REASON_MAX) {
        errno = EINVAL;
        return -1;
    }
    if (grow_records(ledger, slot) != 0) {
        return -1;
    }
    struct record *const place = record_of(ledger, slot);
    const struct record before = record_before(place, slot);
    const struct body body = body_before(ledger, before.body);
    struct record record = {
        .used = slot + 1,
        .number = carried->number,
        .socket = carried->socket,
        .taken = journal_place(ledger->journal_round, ledger->journal_used),
        .descriptor = carried->descriptor,
        .opened = carried->opened,
        .flags = carried->flags,
        .close_code = carried->close_code,
        .last_life = carried->last_life,
        .admission = carried->admission,
        .parsing = carried->parsing,
        .window_bits = carried->window_bits,
    };
    struct body now = {0};
    const bool fits
        = keep_or_add(ledger, slot, ABOUT, before.about, carried->about, &record.about) == 0
        && keep_or_add_kept(ledger, slot, before.saved, carried, &record.saved) == 0
        && keep_or_add(ledger, slot, WINDOW, before.window, carried->window, &record.window) == 0
        && keep_or_add(ledger, slot, BEGUN, body.begun, carried->begun, &now.begun) == 0
        && keep_or_add_unparsed(ledger, slot, body.unparsed, carried->unparsed, &now.unparsed,
               &now.unparsed_from)
            == 0
        && (!has_body(carried) || (record.body = add_body(ledger, slot, carried, now)) != 0);
    if (!fits) {
        const int error = errno;
        let_go(ledger, record.about, before.about);
        let_go(ledger, record.saved, before.saved);
        let_go(ledger, record.window, before.window);
        let_go(ledger, now.begun, body.begun);
        let_go(ledger, now.unparsed, body.unparsed);
        free_parts(ledger, slot, carried->parts, body.parts);
        dorrit_ledger_remove(ledger, slot);
        errno = error;
        return -1;
    }
    record.checksum = record_checksum(&record);
    struct header *const header = header_of(ledger);
    store(&header->put, &record, sizeof record);
    store_number(&header->putting, slot + 1); /* from here on it holds */
    store(place, &record, sizeof record);
    store_number(&header->putting, 0);
    let_go(ledger, before.about, record.about);
    let_go(ledger, before.saved, record.saved);
    let_go(ledger, before.window, record.window);
    let_go(ledger, body.begun, now.begun);
    let_go(ledger, body.unparsed, now.unparsed);
    if (!leads_to(ledger, slot, body.parts, carried->parts)) {
        free_parts(ledger, slot, body.parts, 0); /* it was another message */
    }
    free_chunk(ledger, before.body);
    return 0;
}

void dorrit_ledger_remove(struct dorrit_ledger *ledger, uint32_t slot)
{
    if (slot >= header_of(ledger)->records) {
        return;
    }
    struct record *const place = record_of(ledger, slot);
    if (place->used == 0) {
        return;
    }
    const struct record before = record_before(place, slot);
    const struct body body = body_before(ledger, before.body);
    store_number(&place->used, 0);
    free_chunk(ledger, before.about);
    free_chunk(ledger, before.saved);
    free_chunk(ledger, before.window);
    free_chunk(ledger, body.begun);
    free_chunk(ledger, body.unparsed);
    free_parts(ledger, slot, body.parts, 0);
    free_chunk(ledger, before.body);
}

void dorrit_ledger_drop_parts(struct dorrit_ledger *ledger, uint32_t slot, uint32_t last)
{
    if (slot < header_of(ledger)->records) {
        const struct record record = record_before(record_of(ledger, slot), slot);
        free_parts(ledger, slot, last, body_before(ledger, record.body).parts);
    }
}

uint64_t dorrit_ledger_socket(const struct dorrit_ledger *ledger, uint32_t slot)
{
    if (slot >= header_of(ledger)->records) {
        return 0;
    }
    return record_before(record_of(ledger, slot), slot).socket;
}

uint32_t dorrit_ledger_add_frame(struct dorrit_ledger *ledger, struct dorrit_span header,
    struct dorrit_span payload, bool counted)
{
    const struct dorrit_span spans[] = {header, payload};
    const struct chunk head
        = {.kind = FRAME, .header_length = (uint8_t)header.length, .counted = counted};
    return add_chunk(ledger, head, spans, 2);
}

void dorrit_ledger_free_frame(struct dorrit_ledger *ledger, uint32_t frame)
{
    free_chunk(ledger, frame);
}
