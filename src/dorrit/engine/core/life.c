#include "life.h"

/* Life × event → life and action. A cell that is not named is left alone: see dorrit_life_step. */
static const struct dorrit_step table[DORRIT_LIVES][DORRIT_EVENTS] = {
    [DORRIT_CLOSED] =
        {
            [DORRIT_TAKEN_IN] = {DORRIT_HANDSHAKING, DORRIT_NOTHING},
        },
    [DORRIT_HANDSHAKING] =
        {
            [DORRIT_REQUEST_VALID] = {DORRIT_OPEN, DORRIT_ASK},
            [DORRIT_REQUEST_REFUSED] = {DORRIT_LINGERING, DORRIT_TELL_END},
            [DORRIT_CARRIED_OUT] = {DORRIT_CLOSED, DORRIT_NOTHING},
            [DORRIT_LOST] = {DORRIT_CLOSED, DORRIT_TELL_END},
        },
    [DORRIT_OPEN] =
        {
            [DORRIT_REQUEST_REFUSED] = {DORRIT_LINGERING, DORRIT_TELL_END},
            [DORRIT_CLOSE_WANTED] = {DORRIT_CLOSING, DORRIT_SAY_CLOSE},
            [DORRIT_CLOSE_RECEIVED] = {DORRIT_ANSWERING, DORRIT_SAY_CLOSE},
            [DORRIT_FAILED] = {DORRIT_LINGERING, DORRIT_TELL_END},
            [DORRIT_CARRIED_OUT] = {DORRIT_CLOSED, DORRIT_NOTHING},
            [DORRIT_LOST] = {DORRIT_CLOSED, DORRIT_TELL_END},
        },
    [DORRIT_CLOSING] =
        {
            [DORRIT_REQUEST_REFUSED] = {DORRIT_LINGERING, DORRIT_TELL_END},
            [DORRIT_CLOSE_RECEIVED] = {DORRIT_ANSWERING, DORRIT_NOTHING},
            [DORRIT_FAILED] = {DORRIT_LINGERING, DORRIT_TELL_END},
            [DORRIT_CARRIED_OUT] = {DORRIT_CLOSED, DORRIT_NOTHING},
            [DORRIT_LOST] = {DORRIT_CLOSED, DORRIT_TELL_END},
        },
    [DORRIT_ANSWERING] =
        {
            [DORRIT_REQUEST_REFUSED] = {DORRIT_LINGERING, DORRIT_TELL_END},
            [DORRIT_FAILED] = {DORRIT_LINGERING, DORRIT_TELL_END},
            [DORRIT_UNREAD] = {DORRIT_LINGERING, DORRIT_TELL_END},
            [DORRIT_CARRIED_OUT] = {DORRIT_CLOSED, DORRIT_NOTHING},
            [DORRIT_LOST] = {DORRIT_CLOSED, DORRIT_TELL_END},
        },
    [DORRIT_LINGERING] =
        {
            [DORRIT_UNREAD] = {DORRIT_LINGERING, DORRIT_NOTHING},
            [DORRIT_CARRIED_OUT] = {DORRIT_CLOSED, DORRIT_NOTHING},
            [DORRIT_LOST] = {DORRIT_CLOSED, DORRIT_NOTHING},
        },
};

struct dorrit_step dorrit_life_step(enum dorrit_life life, enum dorrit_event event)
{
    const struct dorrit_step step = table[life][event];
    if (step.action == DORRIT_IGNORE) {
        return (struct dorrit_step){(uint8_t)life, DORRIT_IGNORE};
    }
    return step;
}

enum dorrit_action dorrit_life_happen(struct dorrit_connection *connection, enum dorrit_event event)
{
    const struct dorrit_step step = dorrit_life_step((enum dorrit_life)connection->life, event);
    connection->life = step.life;
    return (enum dorrit_action)step.action;
}

const char *dorrit_life_name(enum dorrit_life life)
{
    static const char *const names[DORRIT_LIVES] = {
        [DORRIT_CLOSED] = "closed",
        [DORRIT_HANDSHAKING] = "handshaking",
        [DORRIT_OPEN] = "open",
        [DORRIT_CLOSING] = "closing",
        [DORRIT_ANSWERING] = "answering",
        [DORRIT_LINGERING] = "lingering",
    };
    return names[life];
}

const char *dorrit_event_name(enum dorrit_event event)
{
    static const char *const names[DORRIT_EVENTS] = {
        [DORRIT_TAKEN_IN] = "a client has connected",
        [DORRIT_REQUEST_VALID] = "its request is valid",
        [DORRIT_REQUEST_REFUSED] = "its request is refused, by an HTTP error",
        [DORRIT_CLOSE_WANTED] = "the user closes it, or the server stops",
        [DORRIT_CLOSE_RECEIVED] = "the client's close frame has come",
        [DORRIT_FAILED] = "a rule was broken, or a callback has raised",
        [DORRIT_UNREAD] = "both close frames have gone their way, and input is left",
        [DORRIT_CARRIED_OUT] = "the next image of the process goes on with it",
        [DORRIT_LOST] = "the client has gone, takes too long, or all has been said",
    };
    return names[event];
}

const char *dorrit_action_name(enum dorrit_action action)
{
    static const char *const names[] = {
        [DORRIT_IGNORE] = "nothing changes",
        [DORRIT_NOTHING] = "",
        [DORRIT_ASK] = "the open callback is asked; 101 is queued",
        [DORRIT_SAY_CLOSE] = "a close frame goes behind what is queued",
        [DORRIT_TELL_END] = "the close callback is due, for whom the open callback has accepted",
    };
    return names[action];
}
