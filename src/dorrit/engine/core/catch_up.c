#include "catch_up.h"

#include <stdlib.h>

static uint64_t number_in(const struct dorrit_subscription *subscription)
{
    return subscription->from & ~(DORRIT_TOPICS_WAITS | DORRIT_TOPICS_IS_TOLD);
}

uint64_t dorrit_topics_wait(struct dorrit_topics *topics, uint32_t topic)
{
    struct dorrit_topic *const found = dorrit_topics_at(topics, topic);
    if (found->backlog == NULL) {
        found->backlog = calloc(1, sizeof *found->backlog);
        if (found->backlog == NULL) {
            return 0;
        }
        found->backlog->first = 1;
    }
    found->behind++;
    return DORRIT_TOPICS_WAITS | (found->backlog->first + found->backlog->length);
}

static void take_oldest(struct dorrit_topics *topics, struct dorrit_backlog *backlog)
{
    const size_t before = backlog->bytes;
    topics->release(dorrit_backlog_take(backlog));
    topics->kept -= before - backlog->bytes;
}

void dorrit_topics_let_go(struct dorrit_topics *topics, uint32_t topic)
{
    struct dorrit_backlog *const backlog = dorrit_topics_at(topics, topic)->backlog;
    if (backlog == NULL) {
        return;
    }
    while (backlog->length > 0) {
        take_oldest(topics, backlog);
    }
    dorrit_backlog_close(backlog);
    free(backlog);
    dorrit_topics_at(topics, topic)->backlog = NULL;
}

void dorrit_topics_go_live(
    struct dorrit_topics *topics, uint32_t topic, struct dorrit_subscription *subscription)
{
    subscription->from = 0;
    dorrit_topics_at(topics, topic)->behind--;
    if (dorrit_topics_at(topics, topic)->behind == 0) {
        dorrit_topics_let_go(topics, topic);
    }
}

bool dorrit_topics_has_behind(const struct dorrit_topics *topics, uint32_t topic)
{
    return dorrit_topics_at(topics, topic)->behind > 0;
}

/* Lets go of what all have got. Who looks through the list does so before the backlog grows: not more often than
 * the members are visited, for as many messages as there is room for. */
static void let_go_of_what_all_have(struct dorrit_topics *topics, const struct dorrit_topic *topic)
{
    uint64_t needed = UINT64_MAX;
    for (uint32_t place = 0; place < topic->length; place++) {
        const struct dorrit_subscription *const subscription = &topic->list[place];
        if (subscription->from != 0 && number_in(subscription) < needed) {
            needed = number_in(subscription);
        }
    }
    while (topic->backlog->length > 0 && topic->backlog->first < needed) {
        take_oldest(topics, topic->backlog);
    }
}

bool dorrit_topics_keep(struct dorrit_topics *topics, uint32_t topic, void *message, size_t size,
    struct dorrit_topics_most most)
{
    const struct dorrit_topic *const found = dorrit_topics_at(topics, topic);
    struct dorrit_backlog *const backlog = found->backlog;
    if (backlog->length == backlog->capacity) {
        let_go_of_what_all_have(topics, found);
    }
    if (!dorrit_backlog_append(backlog, message, size)) {
        return false;
    }
    topics->kept += size;
    while (backlog->length > 0
        && (backlog->bytes > most.of_one || topics->kept > most.of_all)) {
        take_oldest(topics, backlog);
    }
    return true;
}

bool dorrit_topics_begin_telling(
    struct dorrit_topics *topics, uint32_t member, struct dorrit_topic_name name)
{
    struct dorrit_subscription *const found = dorrit_topics_subscription(topics, member, name);
    if (found == NULL || (found->from & DORRIT_TOPICS_WAITS) == 0) {
        return false;
    }
    found->from = number_in(found) | DORRIT_TOPICS_IS_TOLD;
    return true;
}

bool dorrit_topics_is_told(
    const struct dorrit_topics *topics, uint32_t member, struct dorrit_topic_name name)
{
    const struct dorrit_subscription *const found = dorrit_topics_subscription(topics, member, name);
    return found != NULL && (found->from & DORRIT_TOPICS_IS_TOLD) != 0;
}

bool dorrit_topics_end_telling(
    struct dorrit_topics *topics, uint32_t member, struct dorrit_topic_name name)
{
    if (!dorrit_topics_is_told(topics, member, name)) {
        return false;
    }
    struct dorrit_subscription *const found = dorrit_topics_subscription(topics, member, name);
    found->from = number_in(found);
    return true;
}

void *dorrit_topics_catch_up(struct dorrit_topics *topics, uint32_t member,
    struct dorrit_topic_name name, uint64_t *missed)
{
    struct dorrit_subscription *const found = dorrit_topics_subscription(topics, member, name);
    *missed = 0;
    if (found == NULL || found->from == 0 || dorrit_topics_is_unconfirmed(found)) {
        return NULL;
    }
    const uint32_t topic = dorrit_topics_find(topics, name);
    const struct dorrit_backlog *const backlog = dorrit_topics_at(topics, topic)->backlog;
    if (found->from < backlog->first) {
        *missed = backlog->first - found->from;
        found->from = backlog->first;
    }
    void *const message = dorrit_backlog_at(backlog, found->from);
    if (message == NULL) {
        dorrit_topics_go_live(topics, topic, found);
    } else {
        found->from++;
    }
    return message;
}
