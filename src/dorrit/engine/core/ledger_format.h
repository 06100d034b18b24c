/* How a ledger lies in its file: what the one who writes it and the one who reads it agree on. */
#ifndef DORRIT_LEDGER_FORMAT_H
#define DORRIT_LEDGER_FORMAT_H

#include "checksum.h"
#include "ledger.h"

static const uint8_t ledger_magic[8] = {'d', 'o', 'r', 'r', 'i', 't', ' ', 'L'};

enum { HEADER_SIZE = 4096 };

enum chunk_kind { ABOUT = 1, SAVED, BODY, MESSAGE, FRAME };

struct record {
    uint32_t used;     /* its slot + 1; 0: the slot is empty */
    uint32_t checksum; /* of the rest */
    uint64_t number;
    uint64_t socket;
    int32_t descriptor;
    uint32_t opened;
    uint32_t dropped;
    uint32_t about; /* chunks; 0: none */
    uint32_t saved;
    uint32_t body;
    uint16_t flags;
    uint16_t close_code;
    uint8_t last_life;
    uint8_t admission;
    uint8_t parsing;
    uint8_t window_bits;
    uint32_t unused[2];
};
_Static_assert(sizeof(struct record) == DORRIT_LEDGER_UNIT, "a record is one unit");

struct header {
    uint8_t magic[8];
    uint32_t format;
    uint32_t slots;   /* that the records have place for: chunks begin behind them */
    uint32_t records; /* that have memory, the first ones */
    uint32_t units;   /* of chunks that have memory */
    /* A record that is being put in its place: as soon as `putting` is not 0, this one holds. */
    uint32_t putting; /* its slot + 1 */
    uint32_t unused;
    struct record put;
};

struct chunk {
    uint32_t length;   /* bytes behind this */
    uint32_t checksum; /* of the rest, and of those bytes */
    uint32_t owner;    /* slot + 1; 0: of a frame, which many may have */
    uint8_t kind;
    uint8_t size_class;
    uint8_t header_length; /* of a frame */
    uint8_t counted;
};
_Static_assert(sizeof(struct chunk) == 16, "nothing is between its fields");

/* What stands at the beginning of a body. Behind it: the reason, the input, the frames' chunks. */
struct body {
    uint64_t rest;
    uint32_t written;
    uint32_t message;
    uint32_t input_length;
    uint16_t frames_length;
    uint8_t reason_length;
    uint8_t text_position;
    uint8_t masking_key[4];
    uint32_t unused;
};
_Static_assert(sizeof(struct body) == 32, "nothing is between its fields");

enum { KNOWN_FLAGS = 2 * DORRIT_CARRIED_CLIENT_TAKEOVER - 1 };

static inline size_t record_place(uint32_t slot)
{
    return HEADER_SIZE + (size_t)slot * sizeof(struct record);
}

/* Where unit 0 of the chunks is, which no chunk begins in: 0 is the name of none. */
static inline size_t chunks_place(uint32_t slots)
{
    return (record_place(slots) + HEADER_SIZE - 1) / HEADER_SIZE * HEADER_SIZE;
}

static inline uint32_t record_checksum(const struct record *record)
{
    struct record copied = *record;
    copied.checksum = 0;
    return dorrit_checksum(0, (const uint8_t *)&copied, sizeof copied);
}

static inline uint32_t chunk_checksum(const struct chunk *chunk, const uint8_t *content)
{
    struct chunk copied = *chunk;
    copied.checksum = 0;
    const uint32_t head = dorrit_checksum(0, (const uint8_t *)&copied, sizeof copied);
    return dorrit_checksum(head, content, chunk->length);
}

#endif
