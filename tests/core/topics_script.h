/* Whatever may be done to topics, as some bytes say, beside a table that has each member and each topic: what the
 * tests do by chance and the fuzzer does on purpose.
 *
 * Two bytes are one step: what is done, to whom and of which topic. Hashes are such that topics share them.
 * Memory runs out when a step says so. */
#ifndef DORRIT_TESTS_TOPICS_SCRIPT_H
#define DORRIT_TESTS_TOPICS_SCRIPT_H

#include <stdlib.h>
#include <string.h>

static unsigned int script_allocations; /* that succeed before one fails; 0: all do */

static inline bool script_fails(void)
{
    return script_allocations > 0 && --script_allocations == 0;
}

static inline void *script_malloc(size_t size)
{
    return script_fails() ? NULL : malloc(size);
}

static inline void *script_calloc(size_t count, size_t size)
{
    return script_fails() ? NULL : calloc(count, size);
}

static inline void *script_realloc(void *before, size_t size)
{
    return script_fails() ? NULL : realloc(before, size);
}

#define malloc script_malloc
#define calloc script_calloc
#define realloc script_realloc
#include "topics.c"
#undef malloc
#undef calloc
#undef realloc

enum { SCRIPT_MEMBERS = 32, SCRIPT_TOPICS = 64, SCRIPT_VISITS = 3 };

struct script_visit {
    bool begun;
    struct dorrit_topics_visit visit;
    unsigned int topic;
    bool due[SCRIPT_MEMBERS]; /* its turn is to come */
};

struct script {
    struct dorrit_topics topics;
    bool subscribed[SCRIPT_MEMBERS][SCRIPT_TOPICS];
    struct script_visit visits[SCRIPT_VISITS];
};

/* Names of all lengths, one of them the beginning of the next. */
static inline struct dorrit_topic_name script_name(unsigned int topic)
{
    static uint8_t names[SCRIPT_TOPICS][DORRIT_TOPIC_NAME_MAX];
    const size_t length = topic < SCRIPT_TOPICS / 2 ? topic + 1 : DORRIT_TOPIC_NAME_MAX;
    memset(names[topic], 'a', length);
    names[topic][length - 1] = (uint8_t)('a' + topic);
    return (struct dorrit_topic_name){names[topic], length, topic % 3};
}

static inline void script_left(struct script *script, unsigned int member, unsigned int topic)
{
    script->subscribed[member][topic] = false;
    for (unsigned int index = 0; index < SCRIPT_VISITS; index++) {
        if (script->visits[index].topic == topic) {
            script->visits[index].due[member] = false;
        }
    }
}

/* Calls `require` for each thing that must hold. */
static inline void script_step(
    struct script *script, uint8_t what, uint8_t which, void (*require)(bool))
{
    struct dorrit_topics *const topics = &script->topics;
    const unsigned int member = what >> 3, topic = which % SCRIPT_TOPICS;
    struct script_visit *const visit = &script->visits[(which >> 6) % SCRIPT_VISITS];
    const struct dorrit_topic_name name = script_name(topic);
    bool *const subscribed = &script->subscribed[member][topic];
    switch (what & 7) {
    case 0:
    case 1: {
        script_allocations = (what & 7) == 1 ? (which >> 6) + 1 : 0;
        const enum dorrit_topics_outcome outcome = dorrit_topics_subscribe(topics, member, name);
        require(outcome == DORRIT_TOPICS_NO_MEMORY ? script_allocations == 0 && (what & 7) == 1
                : *subscribed                      ? outcome == DORRIT_TOPICS_WAS_SO
                                                   : outcome == DORRIT_TOPICS_DONE);
        script_allocations = 0;
        *subscribed = *subscribed || outcome == DORRIT_TOPICS_DONE;
        break;
    }
    case 2:
        script_allocations = which >> 6;
        require(dorrit_topics_unsubscribe(topics, member, name) == *subscribed);
        script_allocations = 0;
        script_left(script, member, topic);
        break;
    case 3:
        dorrit_topics_leave(topics, member);
        for (unsigned int each = 0; each < SCRIPT_TOPICS; each++) {
            script_left(script, member, each);
        }
        break;
    case 4:
        if (!visit->begun && dorrit_topics_find(topics, name) != 0) {
            dorrit_topics_begin_visit(topics, dorrit_topics_find(topics, name), &visit->visit);
            visit->begun = true;
            visit->topic = topic;
            for (unsigned int each = 0; each < SCRIPT_MEMBERS; each++) {
                visit->due[each] = script->subscribed[each][topic];
            }
        }
        break;
    case 5:
        if (visit->begun) {
            const uint32_t next = dorrit_topics_next(topics, &visit->visit);
            if (next != DORRIT_TOPICS_NOBODY) {
                require(next < SCRIPT_MEMBERS && visit->due[next]);
                visit->due[next] = false;
            } else {
                for (unsigned int each = 0; each < SCRIPT_MEMBERS; each++) {
                    require(!visit->due[each]);
                }
            }
        }
        break;
    case 6:
        if (visit->begun) {
            dorrit_topics_end_visit(topics, &visit->visit);
            *visit = (struct script_visit){0};
        }
        break;
    default: {
        uint32_t count = 0, count_of = 0;
        for (unsigned int each = 0; each < SCRIPT_MEMBERS; each++) {
            count += script->subscribed[each][topic];
        }
        for (unsigned int each = 0; each < SCRIPT_TOPICS; each++) {
            count_of += script->subscribed[member][each];
        }
        require(dorrit_topics_count(topics, name) == count);
        require(dorrit_topics_count_of(topics, member) == count_of);
        require(dorrit_topics_is_subscribed(topics, member, name) == *subscribed);
        const size_t length = dorrit_topics_names(topics, member, NULL, 0);
        /* Exactly as large as the names, so that the sanitizer sees a byte behind them. */
        uint8_t *const names = malloc(length == 0 ? 1 : length);
        require(names != NULL && dorrit_topics_names(topics, member, names, length) == length);
        for (size_t at = 0; at < length; at += 1 + (size_t)names[at], count_of--) {
            bool found = false;
            for (unsigned int each = 0; each < SCRIPT_TOPICS; each++) {
                const struct dorrit_topic_name its = script_name(each);
                found = found
                    || (its.length == names[at] && memcmp(its.bytes, names + at + 1, its.length) == 0
                        && script->subscribed[member][each]);
            }
            require(found);
        }
        free(names);
        require(count_of == 0);
    }
    }
    require(dorrit_topics_fault(topics) == NULL);
}

static inline void script_end(struct script *script, void (*require)(bool))
{
    for (unsigned int index = 0; index < SCRIPT_VISITS; index++) {
        script_step(script, 6, (uint8_t)(index << 6), require);
    }
    for (unsigned int member = 0; member < SCRIPT_MEMBERS; member++) {
        script_step(script, (uint8_t)(member << 3 | 3), 0, require);
    }
    require(script->topics.length == 0 && script->topics.subscriptions == 0);
    dorrit_topics_close(&script->topics);
}

#endif
