/* The life of a connection as one table: what may happen in each state, and where that leads. */
#ifndef DORRIT_LIFE_H
#define DORRIT_LIFE_H

#include "connection.h"

/* What happens to a connection. */
enum dorrit_event {
    DORRIT_TAKEN_IN = 0,    /* a client has connected */
    DORRIT_REQUEST_VALID,   /* its request asks for a WebSocket, as it should */
    DORRIT_REQUEST_REFUSED, /* an HTTP error is the answer, or an answer to a health check */
    DORRIT_CLOSE_WANTED,    /* the user closes it, or the server stops */
    DORRIT_CLOSE_RECEIVED,  /* the client's close frame has come */
    DORRIT_FAILED,          /* RFC 6455 section 7.1.7: a rule was broken, or a callback has raised */
    DORRIT_UNREAD,          /* both close frames have gone their way, and there is input left */
    DORRIT_CARRIED_OUT,     /* the process's next image goes on with it */
    DORRIT_LOST,            /* the client has gone, it takes too long, or both have said all */
};

/* What a step asks for, beside the new state. */
enum dorrit_action {
    DORRIT_IGNORE = 0, /* the event means nothing here, and nothing changes */
    DORRIT_NOTHING,
    DORRIT_ASK,        /* the open callback, whether the client may come in */
    DORRIT_SAY_CLOSE,  /* a close frame goes behind what is queued */
    DORRIT_TELL_END,   /* the close callback is due, if the open callback had accepted the client */
};

#define DORRIT_LIVES (DORRIT_LINGERING + 1)
#define DORRIT_EVENTS (DORRIT_LOST + 1)

struct dorrit_step {
    uint8_t life;   /* a dorrit_life: the next one */
    uint8_t action; /* a dorrit_action */
};

/* Returns what an event leads to in a state. Both must be in their ranges. */
struct dorrit_step dorrit_life_step(enum dorrit_life life, enum dorrit_event event);

/* Lets an event happen to a connection: its life is what the table says from now on.
 *
 * Returns what is to be done. This is the only function that writes `life`.
 */
enum dorrit_action dorrit_life_happen(struct dorrit_connection *connection, enum dorrit_event event);

/* What a state, an event and an action are called, in the documentation and in the log. */
const char *dorrit_life_name(enum dorrit_life life);
const char *dorrit_event_name(enum dorrit_event event);
const char *dorrit_action_name(enum dorrit_action action);

#endif
