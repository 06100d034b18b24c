/* What connections need to outlive the process: a file without a name, which the next image reads.
 *
 * The file has a record of 64 bytes for each connection, found by its slot, and behind the records
 * chunks for what takes more: what is known of the client, what it has sent in part, what waits to
 * be written. A chunk is named by its place, in units of 64 bytes from the beginning of the file.
 *
 * Whatever a connection's record leads to is replaced by one store: a process that ends between any
 * two stores leaves the connection as it was before, or as it is afterwards. So chunks are never
 * changed while a record leads to them; a new one is written, the new record is laid down beside the
 * old one, and one store says that it holds.
 *
 * Who reads the file trusts nothing in it. Each record and each chunk has a checksum, which damage
 * does not survive, and each number is compared with what there is, since a checksum keeps nobody
 * from writing one.
 *
 * A ledger that is kept while connections live has a journal besides: what is sent goes there first, a
 * frame once, for any number of queues. One store says that it holds, and one empties the journal, when
 * all of that has been written to the clients or stands in their records.
 *
 * Nothing here knows Python, and only one thread may use a ledger.
 */
#ifndef DORRIT_LEDGER_H
#define DORRIT_LEDGER_H

#include "output.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    DORRIT_LEDGER_FORMAT = 2,
    DORRIT_LEDGER_UNIT = 64, /* bytes */
    DORRIT_LEDGER_FRAMES_MAX = 256,     /* in one queue */
    DORRIT_LEDGER_REASON_MAX = 123,     /* bytes, RFC 6455 section 5.5: 125 less the code */
    DORRIT_LEDGER_PART_MAX = 32 * 1024 - 24, /* bytes of a part, which with its head is 32 KiB */
    DORRIT_LEDGER_CLASSES = 26          /* sizes of chunks, each twice the one before */
};

/* Bytes of somebody else's, borrowed. */
struct dorrit_span {
    const uint8_t *bytes;
    size_t length;
};

enum dorrit_carried_flag {
    DORRIT_CARRIED_CLOSED_HERE = 1 << 0, /* the user has closed it */
    DORRIT_CARRIED_BEGUN = 1 << 1,       /* a handler was cut off: `begun` is its message, */
    DORRIT_CARRIED_TEXT = 1 << 2,        /* and that is text */
    DORRIT_CARRIED_DEFLATE = 1 << 3,     /* permessage-deflate was agreed on: */
    DORRIT_CARRIED_SERVER_TAKEOVER = 1 << 4,
    DORRIT_CARRIED_CLIENT_TAKEOVER = 1 << 5,
    DORRIT_CARRIED_WINDOW = 1 << 6       /* `window` is all that the client may refer to */
};

/* One connection, as it lives on. The spans are borrowed: from the caller of dorrit_ledger_put(), or
 * from the copy that dorrit_ledger_get() looks at. */
struct dorrit_carried {
    uint64_t socket;        /* which socket it is: a descriptor's number may be another one's by now */
    uint64_t number;        /* of the client */
    int32_t descriptor;
    uint32_t opened;        /* as in dorrit_connection */
    uint32_t dropped;       /* messages that did not fit */
    uint32_t written;       /* bytes of the first frame that the kernel has taken */
    uint16_t flags;         /* of dorrit_carried_flag */
    uint16_t close_code;
    uint8_t last_life;      /* a dorrit_life */
    uint8_t admission;      /* a dorrit_admission */
    uint8_t parsing;        /* a dorrit_parsing */
    uint8_t window_bits;    /* of the server's messages, if they are compressed */
    uint8_t reason_length;
    uint16_t frames_length;
    uint8_t reason[DORRIT_LEDGER_REASON_MAX];
    struct dorrit_span about;   /* what is known of the client: its request */
    struct dorrit_span saved;   /* what the user has given to keep */
    struct dorrit_span topics;  /* what it has subscribed to */
    struct dorrit_span input;   /* what has come and is to be handled, as the client sends it, */
    uint32_t parts_at;          /* but for what stands in parts, behind so many bytes of it: */
    uint32_t parts_length;      /* so many bytes in all of them, */
    uint32_t parts;             /* of which this is the last: see dorrit_ledger_add_part(); 0: there is none */
    struct dorrit_span unparsed; /* what has come behind all that, as it came */
    struct dorrit_span begun;   /* the message that is under way in a handler */
    struct dorrit_span window;  /* the end of what the client's compressed messages have said */
    uint32_t frames[DORRIT_LEDGER_FRAMES_MAX]; /* the queue: chunks, see dorrit_ledger_add_frame() */
};

/* ---- Writing ------------------------------------------------------------------------------------ */

struct dorrit_ledger {
    uint8_t *memory;     /* the file, mapped as far as it may ever grow; NULL: there is none */
    size_t mapped;       /* bytes */
    uint32_t slots;
    uint32_t units;      /* that the file has memory for */
    uint32_t units_most;
    uint32_t units_used; /* by records and chunks; those below that are free are in `free` */
    uint32_t free[DORRIT_LEDGER_CLASSES];    /* the first free chunk of each size; 0: there is none */
    uint32_t without[DORRIT_LEDGER_CLASSES]; /* the same of those whose memory has been given back */
    size_t free_kept[DORRIT_LEDGER_CLASSES]; /* bytes of those large ones that have theirs */
    uint8_t *journal;       /* within `memory`; NULL: there is none */
    uint32_t journal_most;  /* bytes that it may ever have */
    uint32_t journal_size;  /* bytes that the file has memory for */
    uint32_t journal_used;  /* bytes, */
    uint32_t journal_held;  /* of which so many hold: the rest is not committed yet */
    uint32_t journal_round; /* how often it has been emptied, from 1 */
    int descriptor;      /* borrowed */
};

/* Makes a ledger in an empty file: `slots` connections at most, `most` bytes of chunks, and a journal
 * of up to `journal_most` bytes; 0: none. The file must stay open as long as the ledger is used.
 * Returns 0, or -1 with errno set. */
int dorrit_ledger_create(struct dorrit_ledger *ledger, int descriptor, uint32_t slots,
    uint64_t most, uint32_t journal_most);

/* Notes how many clients there have been: the next one has the next number. */
void dorrit_ledger_note_clients(struct dorrit_ledger *ledger, uint64_t clients);

/* Unmaps the file, which keeps what is in it. Does nothing if there is no ledger. */
void dorrit_ledger_close(struct dorrit_ledger *ledger);

/* Writes down a connection in the place of what was in its slot. Returns 0, or -1 when there is no
 * room (ENOSPC, ENOMEM, EFBIG): then the slot is empty, since what was in it holds no more. */
int dorrit_ledger_put(
    struct dorrit_ledger *ledger, uint32_t slot, const struct dorrit_carried *carried);

/* Writes down a part of what a connection has sent, so that it need not be written anew each time that
 * more has come: behind part `before` of the same connection; 0: it is the first. It belongs to the slot as
 * soon as the record names it, or one behind it, and as long as the next ones do. A record may go on from
 * the parts of the one before, or have other ones, or none. Returns it, or 0 with
 * errno set. */
uint32_t dorrit_ledger_add_part(
    struct dorrit_ledger *ledger, uint32_t slot, uint32_t before, struct dorrit_span bytes);

/* Lets parts go that no record has come to name: the last of them, and those before it up to the ones that
 * the record in the slot names. */
void dorrit_ledger_drop_parts(struct dorrit_ledger *ledger, uint32_t slot, uint32_t last);

/* Empties a slot. */
void dorrit_ledger_remove(struct dorrit_ledger *ledger, uint32_t slot);

/* Which socket the record in a slot is about; 0: the slot is empty. */
uint64_t dorrit_ledger_socket(const struct dorrit_ledger *ledger, uint32_t slot);

/* Writes down a piece of output as it goes to the client, its header and its payload: once, for any
 * number of queues. `counted`: it counts against the limit of a queue. Returns its chunk, which the
 * caller frees when no slot has it any more; or 0 with errno set. */
uint32_t dorrit_ledger_add_frame(struct dorrit_ledger *ledger, struct dorrit_span header,
    struct dorrit_span payload, bool counted);

void dorrit_ledger_free_frame(struct dorrit_ledger *ledger, uint32_t frame);

/* ---- The journal: journal.c -------------------------------------------------------------------- */

/* Says whose input is handled from here on. A process that ends meanwhile has lost that. */
void dorrit_ledger_begin_input(struct dorrit_ledger *ledger, uint32_t slot);

void dorrit_ledger_end_input(struct dorrit_ledger *ledger);

/* Says the same of a step of what handles some input and waits in between; returns what is to be said again
 * when the step is over. */
uint32_t dorrit_ledger_begin_step(struct dorrit_ledger *ledger, uint32_t slot);

void dorrit_ledger_end_step(struct dorrit_ledger *ledger, uint32_t before);

/* Says who is written to from here on. Of a process that ends meanwhile nobody knows how much. */
void dorrit_ledger_begin_write(struct dorrit_ledger *ledger, uint32_t slot);

void dorrit_ledger_end_write(struct dorrit_ledger *ledger);

/* Whether there is room for so many frames of so many bytes, and for a delivery of each. */
bool dorrit_journal_has_room(struct dorrit_ledger *ledger, size_t length, unsigned int frames);

/* Lays down a frame, for which there is room. Returns its place, for the deliveries of it. */
uint32_t dorrit_journal_add_frame(struct dorrit_ledger *ledger, struct dorrit_span header,
    struct dorrit_span payload, bool counted);

/* Does both: lays down a frame, and that it stands last in one queue. Returns its place; 0: there is no
 * room, and nothing has happened. */
uint32_t dorrit_journal_send(
    struct dorrit_ledger *ledger, const struct dorrit_output_frame *frame, uint32_t slot);

/* Lays down that a frame stands last in a queue. Returns false if there is no room. */
bool dorrit_journal_deliver(struct dorrit_ledger *ledger, uint32_t frame, uint32_t slot);

/* Has all that has been laid down hold, by one store. */
void dorrit_journal_commit(struct dorrit_ledger *ledger);

/* Says that all that was delivered to a slot so far has been written, and that nothing waits there. Its
 * record has no queue. */
void dorrit_journal_written(struct dorrit_ledger *ledger, uint32_t slot);

/* Empties the journal: all deliveries are written, or stand in the records. */
void dorrit_journal_empty(struct dorrit_ledger *ledger);

/* ---- Reading ------------------------------------------------------------------------------------ */

/* Calls a function for the descriptor of each record that is whole; for none if nobody will read the
 * ledger, since its header is damaged. Async-signal-safe: for what is done with a ledger in the process
 * that writes it, while that crashes. `mapped` is the size of its file. */
void dorrit_ledger_each_descriptor(const uint8_t *memory, size_t mapped, void (*function)(int));

enum dorrit_ledger_verdict {
    DORRIT_LEDGER_OK = 0,
    DORRIT_LEDGER_EMPTY,     /* nobody is in the slot */
    DORRIT_LEDGER_DAMAGED,   /* it is not what somebody has written */
    DORRIT_LEDGER_NEWER,     /* of a release that this one does not know */
    DORRIT_LEDGER_UNREADABLE /* the file can't be read, or there is no memory: errno says */
};

/* A copy of a ledger, which nobody else can change. */
struct dorrit_ledger_copy {
    uint8_t *memory; /* owned; NULL: there is none */
    uint32_t units;
    uint32_t slots;
    uint32_t current; /* as the header has it, or any other number */
    uint32_t writing;
    uint64_t clients; /* that there have been, or any other number */
    struct dorrit_delivery *deliveries; /* owned; what of the journal holds */
    uint32_t *queues;        /* owned; for each slot its first delivery + 1; 0: it has none */
    const uint8_t *journal;  /* within `memory` */
    uint32_t journal_length; /* bytes of it that hold, and are whole */
    uint64_t journal_end;    /* a place: how far it should hold */
    bool journal_damaged;    /* which is not as far as it should */
};

struct dorrit_delivery {
    uint32_t frame; /* units */
    uint32_t place; /* bytes: where it stands in the journal */
    uint32_t next;  /* the next one of the same slot, + 1; 0: there is none */
};

/* Copies the ledger in a file. The verdict is OK, DAMAGED, NEWER or UNREADABLE, and there is a copy
 * to free only if it is OK. */
enum dorrit_ledger_verdict dorrit_ledger_read(struct dorrit_ledger_copy *copy, int descriptor);

/* Looks at a ledger in the process that writes it, between two writes and with its journal empty: nothing
 * is copied, nor to be freed. */
struct dorrit_ledger_copy dorrit_ledger_view(const struct dorrit_ledger *ledger);

void dorrit_ledger_free_copy(struct dorrit_ledger_copy *copy);

/* Reads who is in a slot below `slots`: OK, EMPTY or DAMAGED. Of a damaged record only `descriptor` and
 * `socket` are set: to what it says, which may be anything; the descriptor to -1 if it says nothing. */
enum dorrit_ledger_verdict dorrit_ledger_get(
    const struct dorrit_ledger_copy *copy, uint32_t slot, struct dorrit_carried *carried);

/* How long is what a connection has sent, of which dorrit_ledger_get() has said where it is: `input`, the
 * parts in the midst of it, and behind them what is unparsed. */
size_t dorrit_ledger_input_length(const struct dorrit_carried *carried);

/* Puts it together. `to` has room for all of it. */
void dorrit_ledger_get_input(
    const struct dorrit_ledger_copy *copy, const struct dorrit_carried *carried, uint8_t *to);

/* Reads a frame that a record has named: OK or DAMAGED. `frame` is the whole of it, `header_length`
 * how much of that is its header. */
enum dorrit_ledger_verdict dorrit_ledger_get_frame(const struct dorrit_ledger_copy *copy,
    uint32_t chunk, struct dorrit_span *frame, uint8_t *header_length, bool *counted);

#endif
