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
#include "backlog.c"
#include "catch_up.c"
#include "topics.c"
#undef malloc
#undef calloc
#undef realloc

enum { SCRIPT_MEMBERS = 16, SCRIPT_TOPICS = 64, SCRIPT_VISITS = 3, SCRIPT_MOST = 100 /* bytes kept */ };

struct script_visit {
    bool begun;
    struct dorrit_topics_visit visit;
    unsigned int topic;
    bool due[SCRIPT_MEMBERS]; /* its turn is to come */
};

enum script_standing { SCRIPT_LEFT = 0, SCRIPT_LIVE, SCRIPT_WAITS, SCRIPT_IS_TOLD, SCRIPT_BEHIND };

struct script_message {
    unsigned int topic;
    unsigned int number;
};

struct script {
    struct dorrit_topics topics;
    enum script_standing subscribed[SCRIPT_MEMBERS][SCRIPT_TOPICS];
    unsigned int next[SCRIPT_MEMBERS][SCRIPT_TOPICS]; /* the message that it is to get, if it is behind */
    unsigned int published[SCRIPT_TOPICS];
    struct script_visit visits[SCRIPT_VISITS];
};

static unsigned int script_kept; /* messages that have not been released */

static inline void script_release(void *message)
{
    script_kept--;
    free(message);
}

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
    script->subscribed[member][topic] = SCRIPT_LEFT;
    for (unsigned int index = 0; index < SCRIPT_VISITS; index++) {
        if (script->visits[index].topic == topic) {
            script->visits[index].due[member] = false;
        }
    }
}

static inline bool script_is_visited(const struct script *script, unsigned int topic)
{
    for (unsigned int index = 0; index < SCRIPT_VISITS; index++) {
        if (script->visits[index].begun && script->visits[index].topic == topic) {
            return true;
        }
    }
    return false;
}

static inline void script_publish(
    struct script *script, unsigned int topic, unsigned int size, void (*require)(bool))
{
    struct dorrit_topics *const topics = &script->topics;
    const uint32_t found = dorrit_topics_find(topics, script_name(topic));
    bool is_behind = false;
    for (unsigned int member = 0; member < SCRIPT_MEMBERS; member++) {
        is_behind = is_behind || script->subscribed[member][topic] >= SCRIPT_WAITS;
    }
    require((found != 0 && dorrit_topics_has_behind(topics, found)) == is_behind);
    if (!is_behind) {
        return;
    }
    struct script_message *const message = malloc(sizeof *message);
    require(message != NULL);
    *message = (struct script_message){.topic = topic, .number = script->published[topic]};
    script_kept++;
    if (dorrit_topics_keep(topics, found, message, size, (struct dorrit_topics_most){SCRIPT_MOST, 200 * SCRIPT_MOST})) {
        script->published[topic]++;
    } else {
        script_release(message);
    }
}

static inline void script_catch_up(
    struct script *script, unsigned int member, unsigned int topic, void (*require)(bool))
{
    uint64_t missed;
    unsigned int *const next = &script->next[member][topic];
    const struct script_message *const message
        = dorrit_topics_catch_up(&script->topics, member, script_name(topic), &missed);
    if (script->subscribed[member][topic] != SCRIPT_BEHIND) {
        require(message == NULL && missed == 0);
        return;
    }
    /* With less kept than may be, none is missed. */
    require(missed == 0 || *next + 3 < script->published[topic]);
    *next += (unsigned int)missed;
    if (message == NULL) {
        require(*next == script->published[topic]);
        script->subscribed[member][topic] = SCRIPT_LIVE;
    } else {
        require(message->topic == topic && message->number == *next);
        *next += 1;
    }
}

/* Calls `require` for each thing that must hold. */
static inline void script_step(
    struct script *script, uint8_t what, uint8_t which, void (*require)(bool))
{
    struct dorrit_topics *const topics = &script->topics;
    const unsigned int member = what >> 4, topic = which % SCRIPT_TOPICS;
    struct script_visit *const visit = &script->visits[(which >> 6) % SCRIPT_VISITS];
    const struct dorrit_topic_name name = script_name(topic);
    enum script_standing *const subscribed = &script->subscribed[member][topic];
    topics->release = script_release;
    switch (what & 15) {
    case 0:
    case 1:
    case 8:
    case 9: {
        const bool fails = (what & 1) != 0, waits = (what & 8) != 0;
        script_allocations = fails ? (which >> 6) + 1 : 0;
        const enum dorrit_topics_outcome outcome
            = dorrit_topics_subscribe(topics, member, name, waits);
        require(outcome == DORRIT_TOPICS_NO_MEMORY ? script_allocations == 0 && fails
                : *subscribed != SCRIPT_LEFT       ? outcome == DORRIT_TOPICS_WAS_SO
                                                   : outcome == DORRIT_TOPICS_DONE);
        script_allocations = 0;
        if (outcome == DORRIT_TOPICS_DONE) {
            *subscribed = waits ? SCRIPT_WAITS : SCRIPT_LIVE;
            script->next[member][topic] = script->published[topic];
        }
        break;
    }
    case 2:
        script_allocations = which >> 6;
        require(dorrit_topics_unsubscribe(topics, member, name) == (*subscribed != SCRIPT_LEFT));
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
                visit->due[each] = script->subscribed[each][topic] == SCRIPT_LIVE;
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
    case 10:
        require(dorrit_topics_begin_telling(topics, member, name) == (*subscribed == SCRIPT_WAITS));
        *subscribed = *subscribed == SCRIPT_WAITS ? SCRIPT_IS_TOLD : *subscribed;
        break;
    case 11:
        require(dorrit_topics_end_telling(topics, member, name) == (*subscribed == SCRIPT_IS_TOLD));
        *subscribed = *subscribed == SCRIPT_IS_TOLD ? SCRIPT_BEHIND : *subscribed;
        break;
    case 12:
    case 13:
        /* Each is 1 or 31 bytes large: of three of them all may be kept, and of the large ones no four. */
        script_allocations = (what & 1) != 0 ? which >> 6 : 0;
        script_publish(script, topic, 1 + 15 * (member & 2), require);
        script_allocations = 0;
        break;
    case 14:
    case 15:
        if (!script_is_visited(script, topic)) {
            script_catch_up(script, member, topic, require);
        }
        break;
    default: {
        uint32_t count = 0, count_of = 0;
        for (unsigned int each = 0; each < SCRIPT_MEMBERS; each++) {
            count += script->subscribed[each][topic] != SCRIPT_LEFT;
        }
        for (unsigned int each = 0; each < SCRIPT_TOPICS; each++) {
            count_of += script->subscribed[member][each] != SCRIPT_LEFT;
        }
        require(dorrit_topics_count(topics, name) == count);
        require(dorrit_topics_count_of(topics, member) == count_of);
        require(dorrit_topics_is_subscribed(topics, member, name) == (*subscribed != SCRIPT_LEFT));
        const size_t length = dorrit_topics_names(topics, member, NULL, 0);
        /* Exactly as large as the names, so that the sanitizer sees a byte behind them. */
        uint8_t *const names = malloc(length == 0 ? 1 : length);
        require(names != NULL && dorrit_topics_names(topics, member, names, length) == length);
        for (size_t at = 0; at < length; at += 2 + (size_t)names[at], count_of--) {
            bool found = false;
            for (unsigned int each = 0; each < SCRIPT_TOPICS; each++) {
                const struct dorrit_topic_name its = script_name(each);
                const enum script_standing standing = script->subscribed[member][each];
                found = found
                    || (its.length == names[at] && memcmp(its.bytes, names + at + 2, its.length) == 0
                        && standing != SCRIPT_LEFT
                        && (names[at + 1] == DORRIT_TOPIC_UNCONFIRMED)
                            == (standing == SCRIPT_WAITS || standing == SCRIPT_IS_TOLD));
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
        script_step(script, (uint8_t)(member << 4 | 3), 0, require);
    }
    require(script->topics.length == 0 && script->topics.subscriptions == 0);
    require(script->topics.kept == 0 && script_kept == 0);
    dorrit_topics_close(&script->topics);
}

#endif
