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
    if (memcmp(header.magic, ledger_magic, sizeof ledger_magic) != 0) {
        return DORRIT_LEDGER_DAMAGED;
    }
    if (header.format != DORRIT_LEDGER_FORMAT) {
        return header.format > DORRIT_LEDGER_FORMAT ? DORRIT_LEDGER_NEWER : DORRIT_LEDGER_DAMAGED;
    }
    const uint64_t size = (uint64_t)status.st_size;
    if (header.records > header.slots || record_place(header.slots) > size
        || chunks_place(header.slots) > size
        || header.units > (size - chunks_place(header.slots)) / DORRIT_LEDGER_UNIT
        || header.putting > header.records) {
        return DORRIT_LEDGER_DAMAGED;
    }
    const size_t records_size = (size_t)header.records * DORRIT_LEDGER_UNIT;
    const size_t chunks_size = (size_t)header.units * DORRIT_LEDGER_UNIT;
    /* One unit more: there is always something to allocate. */
    uint8_t *const memory = malloc(records_size + chunks_size + DORRIT_LEDGER_UNIT);
    if (memory == NULL) {
        return DORRIT_LEDGER_UNREADABLE;
    }
    if (!read_whole(descriptor, memory, records_size, record_place(0))
        || !read_whole(descriptor, memory + records_size, chunks_size, chunks_place(header.slots))) {
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
    return DORRIT_LEDGER_OK;
}

void dorrit_ledger_free_copy(struct dorrit_ledger_copy *copy)
{
    free(copy->memory);
    copy->memory = NULL;
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
    carried->rest = body.rest;
    carried->written = body.written;
    carried->text_position = body.text_position;
    memcpy(carried->masking_key, body.masking_key, sizeof carried->masking_key);
    const uint8_t *at = content.bytes + sizeof body;
    carried->reason_length = body.reason_length;
    memcpy(carried->reason, at, body.reason_length);
    at += body.reason_length;
    carried->input = (struct dorrit_span){at, body.input_length};
    at += body.input_length;
    carried->frames_length = body.frames_length;
    memcpy(carried->frames, at, body.frames_length * sizeof carried->frames[0]);
    return get_span(copy, body.message, MESSAGE, slot, &carried->message);
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
    if (record.used != slot + 1 || record.checksum != record_checksum(&record)
        || record.descriptor < -1
        || record.last_life > DORRIT_LINGERING || record.admission > DORRIT_ACCEPTED
        || record.parsing > DORRIT_AT_END || record.flags > KNOWN_FLAGS) {
        return DORRIT_LEDGER_DAMAGED;
    }
    carried->number = record.number;
    carried->socket = record.socket;
    carried->opened = record.opened;
    carried->dropped = record.dropped;
    carried->flags = record.flags;
    carried->close_code = record.close_code;
    carried->last_life = record.last_life;
    carried->admission = record.admission;
    carried->parsing = record.parsing;
    carried->window_bits = record.window_bits;
    if (!get_span(copy, record.about, ABOUT, slot, &carried->about)
        || !get_span(copy, record.saved, SAVED, slot, &carried->saved)
        || (record.body != 0 && !get_body(copy, slot, record.body, carried))) {
        const int32_t descriptor = carried->descriptor;
        memset(carried, 0, sizeof *carried);
        carried->descriptor = descriptor;
        return DORRIT_LEDGER_DAMAGED;
    }
    return DORRIT_LEDGER_OK;
}

enum dorrit_ledger_verdict dorrit_ledger_get_frame(const struct dorrit_ledger_copy *copy,
    uint32_t chunk, struct dorrit_span *frame, uint8_t *header_length, bool *counted)
{
    struct chunk head;
    if (!get_chunk(copy, chunk, FRAME, 0, &head, frame) || head.header_length > head.length
        || head.counted > 1) {
        return DORRIT_LEDGER_DAMAGED;
    }
    *header_length = head.header_length;
    *counted = head.counted == 1;
    return DORRIT_LEDGER_OK;
}
