/* The table of a connection's life: each event in each state, against the rules that it must keep. */
#include "check.h"
#include "life.h"

#include <string.h>

static enum dorrit_life next(enum dorrit_life life, enum dorrit_event event)
{
    return (enum dorrit_life)dorrit_life_step(life, event).life;
}

static void an_event_that_means_nothing_changes_nothing(void)
{
    running = __func__;
    for (unsigned life = 0; life < DORRIT_LIVES; life++) {
        for (unsigned event = 0; event < DORRIT_EVENTS; event++) {
            const struct dorrit_step step =
                dorrit_life_step((enum dorrit_life)life, (enum dorrit_event)event);
            CHECK(step.life < DORRIT_LIVES);
            if (step.action == DORRIT_IGNORE) {
                CHECK_EQUAL(step.life, life);
            }
        }
    }
}

static void only_the_life_of_a_connection_changes(void)
{
    running = __func__;
    for (unsigned life = 0; life < DORRIT_LIVES; life++) {
        for (unsigned event = 0; event < DORRIT_EVENTS; event++) {
            struct dorrit_connection connection, before;
            memset(&connection, 0x5a, sizeof(connection));
            connection.life = (uint8_t)life;
            before = connection;
            const struct dorrit_step step =
                dorrit_life_step((enum dorrit_life)life, (enum dorrit_event)event);
            CHECK_EQUAL(dorrit_life_happen(&connection, (enum dorrit_event)event), step.action);
            CHECK_EQUAL(connection.life, step.life);
            before.life = step.life;
            CHECK_EQUAL(memcmp(&connection, &before, sizeof(before)), 0);
        }
    }
}

static void each_ends_once_and_hears_of_it_once(void)
{
    running = __func__;
    for (unsigned life = 0; life < DORRIT_LIVES; life++) {
        for (unsigned event = 0; event < DORRIT_EVENTS; event++) {
            const struct dorrit_step step =
                dorrit_life_step((enum dorrit_life)life, (enum dorrit_event)event);
            const bool was_over = life == DORRIT_LINGERING || life == DORRIT_CLOSED;
            const bool is_over = step.life == DORRIT_LINGERING || step.life == DORRIT_CLOSED;
            /* Whoever is over is told of it in the step that ends him, and in no other. One whom the
             * next image goes on with is not over. */
            CHECK_EQUAL(step.action == DORRIT_TELL_END,
                !was_over && is_over && event != DORRIT_CARRIED_OUT);
            /* Nobody comes back, but for a new client. */
            if (was_over && !is_over) {
                CHECK_EQUAL(event, DORRIT_TAKEN_IN);
            }
        }
    }
}

static void whoever_is_lost_is_closed_from_anywhere(void)
{
    running = __func__;
    for (unsigned life = 0; life < DORRIT_LIVES; life++) {
        CHECK_EQUAL(next((enum dorrit_life)life, DORRIT_LOST), DORRIT_CLOSED);
    }
}

/* RFC 6455 section 5.5.1: "The application MUST NOT send any more data frames after sending a Close
 * frame." So a close frame is asked for in OPEN alone, and never twice. */
static void a_close_frame_is_sent_once(void)
{
    running = __func__;
    for (unsigned life = 0; life < DORRIT_LIVES; life++) {
        for (unsigned event = 0; event < DORRIT_EVENTS; event++) {
            const struct dorrit_step step =
                dorrit_life_step((enum dorrit_life)life, (enum dorrit_event)event);
            if (step.action == DORRIT_SAY_CLOSE) {
                CHECK_EQUAL(life, DORRIT_OPEN);
                CHECK(step.life == DORRIT_CLOSING || step.life == DORRIT_ANSWERING);
            }
        }
    }
}

static void nothing_is_asked_of_whoever_has_been_asked(void)
{
    running = __func__;
    for (unsigned life = 0; life < DORRIT_LIVES; life++) {
        for (unsigned event = 0; event < DORRIT_EVENTS; event++) {
            const struct dorrit_step step =
                dorrit_life_step((enum dorrit_life)life, (enum dorrit_event)event);
            if (step.action == DORRIT_ASK) {
                CHECK_EQUAL(life, DORRIT_HANDSHAKING);
                CHECK_EQUAL(step.life, DORRIT_OPEN);
            }
        }
    }
}

static void the_usual_lives(void)
{
    running = __func__;
    /* The client closes; the server does, and the client answers; one that speaks no HTTP. */
    enum dorrit_life life = next(DORRIT_CLOSED, DORRIT_TAKEN_IN);
    life = next(life, DORRIT_REQUEST_VALID);
    CHECK_EQUAL(life, DORRIT_OPEN);
    CHECK_EQUAL(next(life, DORRIT_CLOSE_RECEIVED), DORRIT_ANSWERING);
    life = next(life, DORRIT_CLOSE_WANTED);
    CHECK_EQUAL(life, DORRIT_CLOSING);
    life = next(life, DORRIT_CLOSE_RECEIVED);
    CHECK_EQUAL(life, DORRIT_ANSWERING);
    CHECK_EQUAL(next(life, DORRIT_UNREAD), DORRIT_LINGERING);
    CHECK_EQUAL(next(DORRIT_HANDSHAKING, DORRIT_REQUEST_REFUSED), DORRIT_LINGERING);
    CHECK_EQUAL(next(DORRIT_HANDSHAKING, DORRIT_FAILED), DORRIT_HANDSHAKING);
}

static void all_have_names(void)
{
    running = __func__;
    for (unsigned life = 0; life < DORRIT_LIVES; life++) {
        CHECK(strlen(dorrit_life_name((enum dorrit_life)life)) > 0);
    }
    for (unsigned event = 0; event < DORRIT_EVENTS; event++) {
        CHECK(strlen(dorrit_event_name((enum dorrit_event)event)) > 0);
    }
    for (unsigned action = 0; action <= DORRIT_TELL_END; action++) {
        CHECK(dorrit_action_name((enum dorrit_action)action) != NULL);
    }
}

int main(void)
{
    an_event_that_means_nothing_changes_nothing();
    only_the_life_of_a_connection_changes();
    each_ends_once_and_hears_of_it_once();
    whoever_is_lost_is_closed_from_anywhere();
    a_close_frame_is_sent_once();
    nothing_is_asked_of_whoever_has_been_asked();
    the_usual_lives();
    all_have_names();
    return 0;
}
