/* One client, as far as it is not a Python object. */
#ifndef DORRIT_CONNECTION_H
#define DORRIT_CONNECTION_H

#include "output.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where in its life a connection is. Only life.c changes it. */
enum dorrit_life {
    DORRIT_CLOSED = 0,  /* no descriptor. Zero is the safest: nobody has set it up */
    DORRIT_HANDSHAKING, /* the request is being read */
    DORRIT_OPEN,        /* messages go both ways, as soon as the open callback agrees */
    DORRIT_CLOSING,     /* our close frame is queued or sent, and the client's is waited for */
    DORRIT_ANSWERING,   /* the client's close frame has come, and ours is being written */
    DORRIT_LINGERING,   /* over for the user: the rest is written, and input read to its end */
};

/* What the open callback has said. The close callback runs for whom it has accepted. */
enum dorrit_admission {
    DORRIT_UNDECIDED = 0, /* it has not been called, or has not returned yet */
    DORRIT_AWAITED,       /* it will answer later, and has not yet */
    DORRIT_ACCEPTED,
};

/* What the next byte of input is. */
enum dorrit_parsing {
    DORRIT_AT_HEAD = 0,  /* of the request's head, of which a part may be in `input` */
    DORRIT_AT_FRAME,     /* of a frame; a part of its header, or of a control frame, may be in `input` */
    DORRIT_IN_PAYLOAD,   /* of a data frame that is a part of the message under way */
    DORRIT_IN_UNWANTED,  /* of a frame that nobody wants: `skipping` bytes of it are to come */
    /* From here on the connection has failed, and only the client's close frame is looked for: */
    DORRIT_AT_FOLLOWED,  /* of a frame, whose kind and length are looked at */
    DORRIT_IN_FOLLOWED,  /* of such a frame: `skipping` bytes of it are to come */
    DORRIT_IN_LAST,      /* of the close frame: as much is to come */
    DORRIT_AT_END,       /* of nothing any more: whatever comes is thrown away */
};

/* Whether what is queued may be written. */
enum dorrit_writing {
    DORRIT_WRITES = 0, /* at once, or at the end of the turn */
    DORRIT_HELD,       /* not before the open callback has decided */
    DORRIT_WAITS,      /* when the poller says so: it is more than one write takes */
    DORRIT_BLOCKED,    /* when the poller says so: the kernel has not taken all that it was given */
    DORRIT_GONE,       /* not at all: the client takes nothing any more. What it sent may still be read */
};

struct dorrit_connection {
    struct dorrit_output_queue queue;
    uint8_t *input;            /* what has come and is incomplete, or was read too early; NULL: nothing */
    uint32_t input_length;     /* bytes there are */
    uint32_t input_capacity;   /* bytes there is room for */
    uint32_t input_searched;   /* bytes of a head that do not hold its end */
    uint32_t request_size;     /* bytes that the kept request takes; 0: it is not counted */
    uint64_t skipping;         /* bytes of a frame that are passed over and are still to come */
    size_t waiting;            /* bytes of messages that wait for handlers; counted in `assembled` */
    uint64_t deadline;         /* monotonic milliseconds; 0: none */
    uint64_t number;           /* counts the clients of one engine, from 1 */
    uint32_t heard;            /* quarters of a second: when something last came, or a ping was sent */
    uint32_t active;           /* quarters: when a message last came or was queued */
    uint32_t second;           /* the one in which frames are counted */
    uint32_t frames_in_second; /* that have come */
    uint32_t opened;           /* hundredths of a second: when it was accepted */
    uint32_t dropped;          /* messages that did not fit (R20) */
    uint32_t room;             /* messages that its handlers take before reading is paused */
    uint32_t slot;             /* + 1, of its record in the ledger; 0: there is none */
    uint32_t end_slot;         /* + 1, of the record that says that it is over */
    int descriptor;            /* -1: closed */
    uint16_t close_code;

    uint8_t life;              /* a dorrit_life */
    uint8_t admission;         /* a dorrit_admission */
    uint8_t parsing;           /* a dorrit_parsing */
    uint8_t writing;           /* a dorrit_writing */
    uint8_t pongs;             /* in the queue and not begun */

    bool paused;               /* nothing is read, since the user has enough to do */
    bool stashed;              /* `input` was read too early: it is handled before anything else is read */
    bool is_dirty;             /* in the engine's list of those that have something to write */
    bool is_answered;          /* all that is queued answers the input that is being handled */
    bool is_resumed;           /* in the engine's list of those whose stash is handled */
    bool closed_here;          /* the user has closed it */
    bool refusing;             /* a message did not fit, and the queue has not been empty since */
    bool pinged;               /* our ping has not been followed by anything yet */
    bool room_wanted;          /* somebody waits for room in the queue */
    bool is_touched;           /* in the engine's list of those that have changed since their record */
    bool end_is_due;           /* the user is to hear that it is over, and has not yet */
    bool has_record_of_queue;  /* in its record there are frames, */
    bool has_record_of_input;  /* and there is input */
};

#endif
