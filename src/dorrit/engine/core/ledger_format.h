/* How a ledger lies in its file: what the one who writes it and the one who reads it agree on. */
#ifndef DORRIT_LEDGER_FORMAT_H
#define DORRIT_LEDGER_FORMAT_H

#include "checksum.h"
#include "ledger.h"

#include <string.h>

static const uint8_t ledger_magic[8] = {'d', 'o', 'r', 'r', 'i', 't', ' ', 'L'};

enum { HEADER_SIZE = 4096 };

/* Format 1 has no KEPT. */
enum { OLDEST_FORMAT = 1 };

enum chunk_kind { ABOUT = 1, SAVED, BODY, BEGUN, FRAME, WINDOW, PART, UNPARSED, KEPT };

struct record {
    uint32_t used;     /* its slot + 1; 0: the slot is empty */
    uint32_t checksum; /* of the rest, but for `taken`, which has its own */
    uint64_t number;
    uint64_t socket;
    uint64_t taken; /* up to which place of the journal its deliveries are written, or stand in the body */
    int32_t descriptor;
    uint32_t opened;
    uint32_t about; /* chunks; 0: none */
    uint32_t saved; /* of kind SAVED; or KEPT, if there are topics as well */
    uint32_t body;
    uint32_t window;
    uint16_t flags;
    uint16_t close_code;
    uint8_t last_life;
    uint8_t admission;
    uint8_t parsing;
    uint8_t window_bits;
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
    uint32_t current; /* the slot + 1 of whose input is being handled; 0: nobody's is */
    uint32_t writing; /* the slot + 1 of who is being written to; 0: nobody is */
    uint32_t unused;
    uint64_t clients; /* that there have been so far */
    uint64_t journal_at; /* where that begins, in bytes from the beginning of the file; 0: there is none */
    uint64_t journal;    /* a place: how far that holds */
    struct record put;
};
_Static_assert(sizeof(struct header) <= HEADER_SIZE, "records begin behind the header");

/* Bits of a place that say where it is: it is a multiple of 8 bytes, below 64 MiB. */
#define JOURNAL_OFFSET UINT32_C(0x03fffff8)

/* A place in the journal: how often it has been emptied before, and bytes from its beginning. It is stored
 * at once, and so is its checksum, which is in the bits that are left. */
static inline uint64_t journal_place(uint32_t round, uint32_t offset)
{
    const uint64_t place = (uint64_t)round << 32 | offset;
    const uint64_t checksum = (place + 1) * UINT64_C(0x9e3779b97f4a7c15) >> 55;
    return place | (checksum & 7) | checksum >> 3 << 26;
}

static inline uint32_t round_of(uint64_t place)
{
    return (uint32_t)(place >> 32);
}

static inline uint32_t offset_of(uint64_t place)
{
    return (uint32_t)place & JOURNAL_OFFSET;
}

/* Whether somebody has written that place. */
static inline bool is_place(uint64_t place)
{
    return place == journal_place(round_of(place), offset_of(place));
}

/* What stands in the journal, each at a multiple of 8 bytes. The kind is in the two topmost bits of
 * `what`, and the rest of that depends on it. */
struct journal_entry {
    uint32_t what;
    uint32_t more;
};
_Static_assert(sizeof(struct journal_entry) == 8, "nothing is between its fields");

enum {
    JOURNAL_UNIT = 8,
    JOURNAL_FIRST = JOURNAL_UNIT, /* bytes: 0 is not a place */
    JOURNAL_HEADER_SHIFT = 1      /* in `more` of a frame: its header's length, and if it is counted */
};

#define JOURNAL_KIND UINT32_C(0xc0000000)
#define JOURNAL_FRAME UINT32_C(0x80000000)    /* | bytes, which follow */
#define JOURNAL_DELIVERY UINT32_C(0x40000000) /* | the place of its frame, in units; `more`: a slot */
#define JOURNAL_COMMIT UINT32_C(0xc0000000)   /* `more`: the checksum of what stands before it, */
                                              /* up to the one before */

/* In a queue: the frame is in the journal, at that many units. Chunks have lower numbers. */
#define IN_JOURNAL UINT32_C(0x80000000)

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
    uint32_t written;
    uint32_t begun;
    uint32_t parts; /* the last one */
    uint32_t parts_at;
    uint32_t parts_length;
    uint32_t input_length;
    uint32_t unparsed;      /* a chunk, */
    uint32_t unparsed_from; /* whose first bytes have been parsed since it was written */
    uint32_t dropped;
    uint16_t frames_length;
    uint8_t reason_length;
    uint8_t unused;
};
_Static_assert(sizeof(struct body) == 40, "nothing is between its fields");

/* What stands at the beginning of what is kept. Behind it: what the user has saved, the topics. */
struct kept {
    uint32_t saved_length;
};

/* What stands at the beginning of a part. Behind it are its bytes. */
struct part {
    uint32_t before; /* the part before it; 0: it is the first */
    uint32_t number; /* how many there are with it */
};
_Static_assert(sizeof(struct chunk) + sizeof(struct part) + DORRIT_LEDGER_PART_MAX == 32 * 1024,
    "a part fills its chunk");

enum { KNOWN_FLAGS = 2 * DORRIT_CARRIED_WINDOW - 1 };

static inline size_t record_place(uint32_t slot)
{
    return HEADER_SIZE + (size_t)slot * sizeof(struct record);
}

/* Where unit 0 of the chunks is, which no chunk begins in: 0 is the name of none. */
static inline size_t chunks_place(uint32_t slots)
{
    return (record_place(slots) + HEADER_SIZE - 1) / HEADER_SIZE * HEADER_SIZE;
}

static inline uint32_t journal_length(const struct header *header)
{
    return header->journal_at == 0 ? 0 : offset_of(header->journal);
}

/* Whether a header is that of a ledger of `size` bytes, whose numbers lead to no place outside of it. */
static inline enum dorrit_ledger_verdict header_verdict(const struct header *header, uint64_t size)
{
    if (memcmp(header->magic, ledger_magic, sizeof ledger_magic) != 0) {
        return DORRIT_LEDGER_DAMAGED;
    }
    if (header->format > DORRIT_LEDGER_FORMAT) {
        return DORRIT_LEDGER_NEWER;
    }
    if (header->format < OLDEST_FORMAT) {
        return DORRIT_LEDGER_DAMAGED;
    }
    if (header->records > header->slots || record_place(header->slots) > size
        || chunks_place(header->slots) > size
        || header->units > (size - chunks_place(header->slots)) / DORRIT_LEDGER_UNIT
        || header->putting > header->records || header->journal_at > size
        || (header->journal_at != 0 && !is_place(header->journal))
        || journal_length(header) > size - header->journal_at) {
        return DORRIT_LEDGER_DAMAGED;
    }
    return DORRIT_LEDGER_OK;
}

static inline uint32_t record_checksum(const struct record *record)
{
    struct record copied = *record;
    copied.checksum = 0;
    copied.taken = 0;
    return dorrit_checksum(0, (const uint8_t *)&copied, sizeof copied);
}

static inline uint32_t chunk_checksum(const struct chunk *chunk, const uint8_t *content)
{
    struct chunk copied = *chunk;
    copied.checksum = 0;
    const uint32_t head = dorrit_checksum(0, (const uint8_t *)&copied, sizeof copied);
    return dorrit_checksum(head, content, chunk->length);
}

/* Of entries of the journal: of whole units. What comes of a fault is told from what was written, and
 * from what an earlier round has left behind it; it need not be hard to forge, and it is made for each
 * message that is sent. */
static inline uint32_t journal_checksum(uint32_t round, const uint8_t *bytes, size_t length)
{
    /* Two sums in each of four words, of which the second depends on the order. */
    typedef uint32_t four __attribute__((vector_size(16)));
    four sums = {1, 2, 3, 4}, sums_of_sums = {0};
    size_t done = 0;
    for (; length - done >= 2 * sizeof sums; done += 2 * sizeof sums) {
        four words[2];
        memcpy(words, bytes + done, sizeof words);
        sums += words[0];
        sums_of_sums += sums;
        sums += words[1];
        sums_of_sums += sums;
    }
    for (; done < length; done += sizeof(uint64_t)) {
        four words = {0};
        memcpy(&words, bytes + done, sizeof(uint64_t));
        sums += words;
        sums_of_sums += sums;
    }
    uint64_t halves[4];
    memcpy(halves, &sums, sizeof sums);
    memcpy(halves + 2, &sums_of_sums, sizeof sums_of_sums);
    uint64_t folded = (uint64_t)round << 32 | length;
    for (unsigned int half = 0; half < 4; half++) {
        folded = (folded ^ halves[half]) * UINT64_C(0x9e3779b97f4a7c15); /* any odd number without a pattern */
        folded ^= folded >> 32;
    }
    return (uint32_t)folded;
}

#endif
