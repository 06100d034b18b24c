/* The channel between a supervisor and a worker: messages in both directions over a pair of stream
 * sockets, and with them descriptors, in one of the two.
 *
 * A message has a head of 16 bytes, in the byte order of the machine, and text behind it. Descriptors come
 * in batches: a message says how many follow, and each of those has one. What carries a batch is one
 * call of sendmsg(2), so a receiver that has no room for all of its descriptors knows which ones it
 * lacks, and the rest still belong to their messages. (SEQPACKET keeps messages apart by itself, but
 * macOS has none.)
 *
 * Neither end trusts the other: whatever comes is compared with what may come, and a channel on which
 * something else has come is of no use any more.
 *
 * Nothing here knows Python, and only one thread may use a channel.
 */
#ifndef DORRIT_CHANNEL_H
#define DORRIT_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    DORRIT_CHANNEL_BATCH_MAX = 240,       /* descriptors: Linux passes 253 at once */
    DORRIT_CHANNEL_TEXT_MAX = 1024 * 1024 /* bytes */
};

/* What a message says. */
enum dorrit_channel_kind {
    DORRIT_CHANNEL_BATCH = 0,  /* so many messages with descriptors follow; nobody sees this one */
    /* from the supervisor */
    DORRIT_CHANNEL_LEDGER,     /* what the last worker has written down; a descriptor */
    DORRIT_CHANNEL_CONNECTION, /* a connection, its number, and its descriptor */
    DORRIT_CHANNEL_HANDOVER,   /* all else that the last worker has left, a text; the last of that */
    DORRIT_CHANNEL_ASK,        /* what there is to be said of it */
    /* from the worker */
    DORRIT_CHANNEL_TAKEN,      /* so many connections have been taken, since the last time */
    DORRIT_CHANNEL_ENDED,      /* the connection of this number is over */
    DORRIT_CHANNEL_REFUSED,    /* and there was no room for this one */
    DORRIT_CHANNEL_READY,      /* it serves */
    DORRIT_CHANNEL_STATUS,     /* what it says of itself, a text */
    DORRIT_CHANNEL_LEAVING,    /* it ends for the next one, and why, a text */
    DORRIT_CHANNEL_KINDS
};

enum dorrit_channel_flag {
    DORRIT_CHANNEL_KNOWN = 1 << 0 /* the last worker has taken this connection */
};

struct dorrit_channel_message {
    uint8_t kind;
    uint8_t flags;
    uint64_t number;
    int descriptor;      /* the caller's from here on; -1: it has none, or it has got lost */
    const uint8_t *text; /* borrowed until the next call */
    uint32_t length;     /* bytes of it */
};

struct dorrit_channel_arrivals;
struct dorrit_channel_departure;

struct dorrit_channel {
    int descriptor;      /* owned */
    bool takes;          /* descriptors may come */
    uint8_t *input;      /* what has come, from `input_begin` on */
    size_t input_begin, input_end, input_capacity;
    struct dorrit_channel_arrivals *arrivals; /* descriptors, one entry for each batch that has come */
    size_t arrivals_length;
    uint32_t batch_left; /* messages of the batch that is being read */
    uint8_t *output;     /* what is to be sent, from `output_begin` on; without heads of batches */
    size_t output_begin, output_end, output_capacity;
    struct dorrit_channel_departure *departures; /* descriptors in `output`, borrowed */
    size_t departures_begin, departures_end, departures_capacity;
    uint8_t *batch;      /* a batch of which a part has been sent, with its head; NULL: there was none */
    size_t batch_begin, batch_end;
    bool is_stalled;     /* as dorrit_channel_is_stalled() says */
};

/* Begins with a connected socket, which it owns from here on. `takes`: descriptors may come this way. */
void dorrit_channel_open(struct dorrit_channel *channel, int descriptor, bool takes);

/* Closes it, and the descriptors that nobody has asked for. Does nothing the second time. */
void dorrit_channel_close(struct dorrit_channel *channel);

/* Puts a message behind those that are to be sent. The descriptor is borrowed until it has been; -1:
 * there is none. A message with one has no text. Returns 0, or -1 with errno set. */
int dorrit_channel_put(struct dorrit_channel *channel, enum dorrit_channel_kind kind, uint8_t flags,
    uint64_t number, int descriptor, const uint8_t *text, size_t length);

/* Sends what the socket takes now. Returns how many bytes are left, or -1 with errno set: EPIPE says that
 * nobody reads. */
ptrdiff_t dorrit_channel_send(struct dorrit_channel *channel);

enum dorrit_channel_verdict {
    DORRIT_CHANNEL_MESSAGE, /* there is one */
    DORRIT_CHANNEL_NOTHING, /* not yet */
    DORRIT_CHANNEL_END,     /* there will be none any more */
    DORRIT_CHANNEL_WRONG,   /* what has come can't be */
    DORRIT_CHANNEL_FAILED   /* errno says why */
};

/* Whether what is left was not sent since the system has too many descriptors on their way, of whomever: the
 * socket can be written to all the same. */
bool dorrit_channel_is_stalled(const struct dorrit_channel *channel);

/* Whether a descriptor that was put is still to be sent. */
bool dorrit_channel_is_to_be_sent(const struct dorrit_channel *channel, int descriptor);

/* Whether nothing is half sent or half read: another image of the process can go on with the socket. */
bool dorrit_channel_is_settled(const struct dorrit_channel *channel);

/* Reads once, without a wait. The verdict is MESSAGE if something has come, which may be a part of one. All
 * messages are to be taken before the next call: no more than 64 batches are kept. */
enum dorrit_channel_verdict dorrit_channel_receive(struct dorrit_channel *channel);

/* Takes the next message of what has come: MESSAGE, NOTHING or WRONG. */
enum dorrit_channel_verdict dorrit_channel_next(
    struct dorrit_channel *channel, struct dorrit_channel_message *message);

#endif
