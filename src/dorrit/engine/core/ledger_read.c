#include "ledger.h"

#include "connection.h"
#include "ledger_format.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Reads length bytes of the file from `offset`. False: they are not there, or errno says why not. */
static bool read_whole(int descriptor, uint8_t *to, size_t length, size_t offset)
{
    while (length > 0) {
        const ssize_t got = pread(descriptor, to, length, (off_t)offset);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            errno = got == 0 ? ENODATA : errno;
            return false;
        }
        to += got;
        length -= (size_t)got;
        offset += (size_t)got;
    }
    return true;
}

/* In the copy, the chunks stand right behind the records. */
static const uint8_t *copied_unit(const struct dorrit_ledger_copy *copy, uint32_t unit)
{
    return copy->memory + ((size_t)copy->slots + unit) * DORRIT_LEDGER_UNIT;
}

static struct journal_entry entry_at(const struct dorrit_ledger_copy *copy, uint32_t place)
{
    struct journal_entry entry;
    memcpy(&entry, copy->journal + place, sizeof entry);
    return entry;
}

/* Bytes from one entry of the journal to the next; 0: there is no such entry. */
static uint32_t entry_size(struct journal_entry entry, uint32_t room)
{
    uint32_t size = sizeof entry;
    if ((entry.what & JOURNAL_KIND) == JOURNAL_FRAME) {
        const uint32_t length = entry.what & ~JOURNAL_KIND;
        size += (length + JOURNAL_UNIT - 1) / JOURNAL_UNIT * JOURNAL_UNIT;
    } else if ((entry.what & JOURNAL_KIND) != JOURNAL_DELIVERY
        && (entry.what & JOURNAL_KIND) != JOURNAL_COMMIT) {
        return 0;
    }
    return size <= room ? size : 0;
}

/* Finds how far the journal is whole. Returns how many deliveries there are up to there. */
static uint32_t look_through(struct dorrit_ledger_copy *copy, uint32_t length)
{
    const uint32_t round = round_of(copy->journal_end);
    uint32_t found = 0, since_commit = 0, begin = JOURNAL_FIRST, size = 0;
    copy->journal_length = JOURNAL_FIRST;
    for (uint32_t place = JOURNAL_FIRST; place < length; place += size) {
        const struct journal_entry entry = entry_at(copy, place);
        size = entry_size(entry, length - place);
        if (size == 0) {
            break;
        }
        if ((entry.what & JOURNAL_KIND) == JOURNAL_DELIVERY) {
            since_commit++;
        } else if ((entry.what & JOURNAL_KIND) == JOURNAL_COMMIT) {
            if (entry.more != journal_checksum(round, copy->journal + begin, place - begin)) {
                break;
            }
            found += since_commit;
            since_commit = 0;
            begin = copy->journal_length = place + size;
        }
    }
    copy->journal_damaged = copy->journal_length != length;
    return found;
}

/* Sorts the deliveries by their slots. False: there is no memory. */
static bool read_journal(struct dorrit_ledger_copy *copy, uint32_t length)
{
    const uint32_t found = look_through(copy, length);
    /* One more: there is always something to allocate. */
    copy->deliveries = calloc((size_t)found + 1, sizeof *copy->deliveries);
    copy->queues = calloc((size_t)copy->slots + 1, sizeof *copy->queues);
    uint32_t *const last = calloc((size_t)copy->slots + 1, sizeof *last);
    if (copy->deliveries == NULL || copy->queues == NULL || last == NULL) {
        free(last);
        errno = ENOMEM;
        return false;
    }
    uint32_t index = 0, size = 0;
    for (uint32_t place = JOURNAL_FIRST; place < copy->journal_length; place += size) {
        const struct journal_entry entry = entry_at(copy, place);
        size = entry_size(entry, copy->journal_length - place);
        if ((entry.what & JOURNAL_KIND) != JOURNAL_DELIVERY || entry.more >= copy->slots
            || index == found) {
            continue;
        }
        copy->deliveries[index]
            = (struct dorrit_delivery){.frame = entry.what & ~JOURNAL_KIND, .place = place};
        uint32_t *const to = last[entry.more] == 0 ? &copy->queues[entry.more]
                                                   : &copy->deliveries[last[entry.more] - 1].next;
        last[entry.more] = *to = ++index;
    }
    free(last);
    return true;
}

enum dorrit_ledger_verdict dorrit_ledger_read(struct dorrit_ledger_copy *copy, int descriptor)
{
    memset(copy, 0, sizeof *copy);
    struct stat status;
    if (fstat(descriptor, &status) != 0) {
        return DORRIT_LEDGER_UNREADABLE;
    }
    struct header header;
    if (status.st_size < HEADER_SIZE) {
        return DORRIT_LEDGER_DAMAGED;
    }
    if (!read_whole(descriptor, (uint8_t *)&header, sizeof header, 0)) {
        return DORRIT_LEDGER_UNREADABLE;
    }
    const enum dorrit_ledger_verdict verdict = header_verdict(&header, (uint64_t)status.st_size);
    if (verdict != DORRIT_LEDGER_OK) {
        return verdict;
    }
    const size_t records_size = (size_t)header.records * DORRIT_LEDGER_UNIT;
    const size_t chunks_size = (size_t)header.units * DORRIT_LEDGER_UNIT;
    const size_t journal_size = journal_length(&header);
    /* One unit more: there is always something to allocate. */
    uint8_t *const memory
        = malloc(records_size + chunks_size + journal_size + DORRIT_LEDGER_UNIT);
    if (memory == NULL) {
        return DORRIT_LEDGER_UNREADABLE;
    }
    if (!read_whole(descriptor, memory, records_size, record_place(0))
        || !read_whole(descriptor, memory + records_size, chunks_size, chunks_place(header.slots))
        || !read_whole(descriptor, memory + records_size + chunks_size, journal_size,
            (size_t)header.journal_at)) {
        const int error = errno;
        free(memory);
        errno = error;
        return DORRIT_LEDGER_UNREADABLE;
    }
    if (header.putting != 0) {
        memcpy(memory + (size_t)(header.putting - 1) * sizeof header.put, &header.put,
            sizeof header.put);
    }
    copy->memory = memory;
    copy->slots = header.records;
    copy->units = header.units;
    copy->clients = header.clients;
    copy->current = header.current;
    copy->writing = header.writing;
    copy->journal = memory + records_size + chunks_size;
    copy->journal_end = header.journal;
    if (journal_size > JOURNAL_FIRST && !read_journal(copy, (uint32_t)journal_size)) {
        const int error = errno;
        dorrit_ledger_free_copy(copy);
        errno = error;
        return DORRIT_LEDGER_UNREADABLE;
    }
    return DORRIT_LEDGER_OK;
}

struct dorrit_ledger_copy dorrit_ledger_view(const struct dorrit_ledger *ledger)
{
    struct header header;
    memcpy(&header, ledger->memory, sizeof header);
    /* Behind the records that there may be stand the chunks, as in a copy. */
    return (struct dorrit_ledger_copy){
        .memory = ledger->memory + record_place(0),
        .slots = (uint32_t)((chunks_place(header.slots) - record_place(0)) / DORRIT_LEDGER_UNIT),
        .units = header.units,
        .current = header.current,
        .writing = header.writing,
        .clients = header.clients,
        .journal_end = header.journal,
    };
}

void dorrit_ledger_free_copy(struct dorrit_ledger_copy *copy)
{
    free(copy->memory);
    free(copy->deliveries);
    free(copy->queues);
    copy->memory = NULL;
    copy->deliveries = NULL;
    copy->queues = NULL;
}

/* Whether a chunk is one of that kind and owner, and whole. What it holds is in `content`. */
static bool get_chunk(const struct dorrit_ledger_copy *copy, uint32_t chunk, enum chunk_kind kind,
    uint32_t owner, struct chunk *head, struct dorrit_span *content)
{
    if (chunk == 0 || chunk >= copy->units) {
        return false;
    }
    const size_t room = (size_t)(copy->units - chunk) * DORRIT_LEDGER_UNIT - sizeof *head;
    memcpy(head, copied_unit(copy, chunk), sizeof *head);
    if (head->kind != (uint8_t)kind || head->owner != owner || head->length > room) {
        return false;
    }
    content->bytes = copied_unit(copy, chunk) + sizeof *head;
    content->length = head->length;
    return head->checksum == chunk_checksum(head, content->bytes);
}

static bool get_span(const struct dorrit_ledger_copy *copy, uint32_t chunk, enum chunk_kind kind,
    uint32_t slot, struct dorrit_span *span)
{
    struct chunk head;
    return chunk == 0 || get_chunk(copy, chunk, kind, slot + 1, &head, span);
}

/* What is kept of a connection: of kind SAVED, or KEPT. */
static bool get_kept(const struct dorrit_ledger_copy *copy, uint32_t chunk, uint32_t slot,
    struct dorrit_carried *carried)
{
    struct chunk head;
    struct dorrit_span content;
    struct kept kept;
    if (chunk == 0 || get_chunk(copy, chunk, SAVED, slot + 1, &head, &carried->saved)) {
        return true;
    }
    carried->saved = (struct dorrit_span){0};
    if (!get_chunk(copy, chunk, KEPT, slot + 1, &head, &content) || content.length < sizeof kept) {
        return false;
    }
    memcpy(&kept, content.bytes, sizeof kept);
    if (kept.saved_length > content.length - sizeof kept) {
        return false;
    }
    carried->saved = (struct dorrit_span){content.bytes + sizeof kept, kept.saved_length};
    carried->topics = (struct dorrit_span){content.bytes + sizeof kept + kept.saved_length,
        content.length - sizeof kept - kept.saved_length};
    return true;
}

/* One of a connection's parts. Returns false if it is none, or damaged. */
static bool get_part(const struct dorrit_ledger_copy *copy, uint32_t owner, uint32_t chunk,
    struct part *part, struct dorrit_span *bytes)
{
    struct chunk head;
    if (!get_chunk(copy, chunk, PART, owner, &head, bytes) || bytes->length <= sizeof *part) {
        return false;
    }
    memcpy(part, bytes->bytes, sizeof *part);
    bytes->bytes += sizeof *part;
    bytes->length -= sizeof *part;
    return true;
}

/* Whether all parts are there, and are as long as is said. */
static bool has_parts(
    const struct dorrit_ledger_copy *copy, uint32_t slot, const struct dorrit_carried *carried)
{
    struct part part = {.before = carried->parts};
    struct dorrit_span bytes;
    uint32_t rest = carried->parts_length;
    /* It ends: each of them has some of the bytes. */
    while (part.before != 0) {
        if (!get_part(copy, slot + 1, part.before, &part, &bytes) || bytes.length > rest) {
            return false;
        }
        rest -= (uint32_t)bytes.length;
    }
    return rest == 0;
}

size_t dorrit_ledger_input_length(const struct dorrit_carried *carried)
{
    return carried->input.length + carried->parts_length + carried->unparsed.length;
}

void dorrit_ledger_get_input(
    const struct dorrit_ledger_copy *copy, const struct dorrit_carried *carried, uint8_t *to)
{
    struct part part = {.before = carried->parts};
    struct dorrit_span bytes;
    struct chunk head;
    size_t rest = carried->parts_length;
    uint8_t *const parts = to + carried->parts_at;
    if (carried->input.length > 0) {
        memcpy(to, carried->input.bytes, carried->parts_at);
        memcpy(parts + rest, carried->input.bytes + carried->parts_at,
            carried->input.length - carried->parts_at);
    }
    if (carried->unparsed.length > 0) {
        memcpy(to + carried->input.length + rest, carried->unparsed.bytes, carried->unparsed.length);
    }
    while (rest > 0) {
        memcpy(&head, copied_unit(copy, part.before), sizeof head);
        if (!get_part(copy, head.owner, part.before, &part, &bytes) || bytes.length > rest) {
            return; /* it is not the copy that has been looked at */
        }
        rest -= bytes.length;
        memcpy(parts + rest, bytes.bytes, bytes.length);
    }
}

static bool get_body(const struct dorrit_ledger_copy *copy, uint32_t slot, uint32_t chunk,
    struct dorrit_carried *carried)
{
    struct chunk head;
    struct dorrit_span content;
    struct body body;
    if (!get_chunk(copy, chunk, BODY, slot + 1, &head, &content) || content.length < sizeof body) {
        return false;
    }
    memcpy(&body, content.bytes, sizeof body);
    if (body.frames_length > DORRIT_LEDGER_FRAMES_MAX
        || body.reason_length > DORRIT_LEDGER_REASON_MAX
        || content.length
            != sizeof body + body.reason_length + (uint64_t)body.input_length
                + body.frames_length * sizeof carried->frames[0]) {
        return false;
    }
    carried->written = body.written;
    carried->dropped = body.dropped;
    const uint8_t *at = content.bytes + sizeof body;
    carried->reason_length = body.reason_length;
    memcpy(carried->reason, at, body.reason_length);
    at += body.reason_length;
    carried->input = (struct dorrit_span){at, body.input_length};
    at += body.input_length;
    carried->parts = body.parts;
    carried->parts_at = body.parts_at;
    carried->parts_length = body.parts_length;
    if (!get_span(copy, body.unparsed, UNPARSED, slot, &carried->unparsed)
        || body.unparsed_from > carried->unparsed.length) {
        return false;
    }
    if (carried->unparsed.length > 0) {
        carried->unparsed.bytes += body.unparsed_from;
        carried->unparsed.length -= body.unparsed_from;
    }
    if (body.parts_at > body.input_length
        || (uint64_t)body.parts_length + body.input_length + carried->unparsed.length > UINT32_MAX
        || !has_parts(copy, slot, carried)) {
        return false;
    }
    carried->frames_length = body.frames_length;
    memcpy(carried->frames, at, body.frames_length * sizeof carried->frames[0]);
    return get_span(copy, body.begun, BEGUN, slot, &carried->begun);
}

/* Puts what was sent since the record was laid down behind the queue that it has. */
static bool get_deliveries(const struct dorrit_ledger_copy *copy, uint32_t slot, uint64_t taken,
    struct dorrit_carried *carried)
{
    const uint32_t from = round_of(taken) == round_of(copy->journal_end) ? offset_of(taken) : 0;
    if (!is_place(taken) || (copy->journal_damaged && from < offset_of(copy->journal_end))) {
        return false; /* something may be missing, or is there twice */
    }
    uint32_t index = copy->queues == NULL ? 0 : copy->queues[slot];
    for (; index != 0; index = copy->deliveries[index - 1].next) {
        const struct dorrit_delivery *const delivery = &copy->deliveries[index - 1];
        if (delivery->place < from) {
            continue;
        }
        if (carried->frames_length == DORRIT_LEDGER_FRAMES_MAX) {
            return false;
        }
        carried->frames[carried->frames_length++] = IN_JOURNAL | delivery->frame;
    }
    return true;
}

enum dorrit_ledger_verdict dorrit_ledger_get(
    const struct dorrit_ledger_copy *copy, uint32_t slot, struct dorrit_carried *carried)
{
    struct record record;
    memset(carried, 0, sizeof *carried);
    carried->descriptor = -1;
    if (slot >= copy->slots) {
        return DORRIT_LEDGER_EMPTY;
    }
    memcpy(&record, copy->memory + (size_t)slot * sizeof record, sizeof record);
    if (record.used == 0) {
        return DORRIT_LEDGER_EMPTY;
    }
    carried->descriptor = record.descriptor;
    carried->socket = record.socket;
    if (record.used != slot + 1 || record.checksum != record_checksum(&record)
        || record.descriptor < -1
        || record.last_life > DORRIT_LINGERING || record.admission > DORRIT_ACCEPTED
        || record.parsing > DORRIT_AT_END || record.flags > KNOWN_FLAGS) {
        return DORRIT_LEDGER_DAMAGED;
    }
    carried->number = record.number;
    carried->opened = record.opened;
    carried->flags = record.flags;
    carried->close_code = record.close_code;
    carried->last_life = record.last_life;
    carried->admission = record.admission;
    carried->parsing = record.parsing;
    carried->window_bits = record.window_bits;
    if (!get_span(copy, record.about, ABOUT, slot, &carried->about)
        || !get_kept(copy, record.saved, slot, carried)
        || !get_span(copy, record.window, WINDOW, slot, &carried->window)
        || (record.body != 0 && !get_body(copy, slot, record.body, carried))
        || !get_deliveries(copy, slot, record.taken, carried)) {
        memset(carried, 0, sizeof *carried);
        carried->descriptor = record.descriptor;
        carried->socket = record.socket;
        return DORRIT_LEDGER_DAMAGED;
    }
    return DORRIT_LEDGER_OK;
}

static enum dorrit_ledger_verdict get_from_journal(const struct dorrit_ledger_copy *copy,
    uint32_t unit, struct dorrit_span *frame, uint8_t *header_length, bool *counted)
{
    if (unit >= copy->journal_length / JOURNAL_UNIT) {
        return DORRIT_LEDGER_DAMAGED;
    }
    const uint32_t place = unit * JOURNAL_UNIT;
    const struct journal_entry entry = entry_at(copy, place);
    const uint32_t length = entry.what & ~JOURNAL_KIND;
    const uint32_t header = entry.more >> JOURNAL_HEADER_SHIFT;
    if ((entry.what & JOURNAL_KIND) != JOURNAL_FRAME
        || entry_size(entry, copy->journal_length - place) == 0
        || header > UINT8_MAX || header > length) {
        return DORRIT_LEDGER_DAMAGED;
    }
    *frame = (struct dorrit_span){copy->journal + place + sizeof entry, length};
    *header_length = (uint8_t)header;
    *counted = (entry.more & 1) == 1;
    return DORRIT_LEDGER_OK;
}

enum dorrit_ledger_verdict dorrit_ledger_get_frame(const struct dorrit_ledger_copy *copy,
    uint32_t chunk, struct dorrit_span *frame, uint8_t *header_length, bool *counted)
{
    struct chunk head;
    if ((chunk & IN_JOURNAL) != 0) {
        return get_from_journal(copy, chunk & ~IN_JOURNAL, frame, header_length, counted);
    }
    if (!get_chunk(copy, chunk, FRAME, 0, &head, frame) || head.header_length > head.length
        || head.counted > 1) {
        return DORRIT_LEDGER_DAMAGED;
    }
    *header_length = head.header_length;
    *counted = head.counted == 1;
    return DORRIT_LEDGER_OK;
}
