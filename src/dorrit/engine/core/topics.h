/* Topics: names under which something is published, and who is to get it.
 *
 * Each topic has a list of its subscriptions, and each member a table of its own. The two point at each other,
 * so that subscribing and leaving take the same few steps however many there are of either: what is
 * taken out of a list is replaced by the last one, and what is taken out of a table by what stood behind it.
 *
 * A member is a number, which should be small: whoever is behind it has one slot of an array. Nothing here
 * knows a connection, a socket or Python, and only one thread may use it.
 *
 * Names may come from an enemy. Their hashes are the caller's: of a function whose results nobody can foresee.
 */
#ifndef DORRIT_TOPICS_H
#define DORRIT_TOPICS_H

#include "backlog.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    DORRIT_TOPIC_NAME_MAX = 255, /* bytes */
    DORRIT_TOPIC_UNCONFIRMED = 1 /* in what dorrit_topics_names() writes: the subscription is */
};

#define DORRIT_TOPICS_NOBODY UINT32_MAX /* no member has this number */

struct dorrit_topic_name {
    const uint8_t *bytes; /* UTF-8 */
    size_t length;
    uint64_t hash; /* the same for the same bytes */
};

/* In the list of a topic. */
struct dorrit_subscription {
    uint32_t member; /* DORRIT_TOPICS_NOBODY: it has left while the topic is visited */
    uint32_t place;  /* in the member's table */
    uint64_t from;   /* the message that it is to get next, and how it stands: see catch_up.h; 0: it is live */
};

/* In the table of a member: found by the topic. */
struct dorrit_membership {
    uint32_t topic; /* its place + 1; 0: none is here */
    uint32_t place; /* in the topic's list */
};

struct dorrit_member {
    uint32_t length;
    uint32_t capacity; /* a power of two; 1: there is room for the one that is here; 0: there is no table */
    union {
        struct dorrit_membership one;
        struct dorrit_membership *many; /* owned */
    } table;
};

struct dorrit_topic {
    uint64_t hash;
    uint8_t *name; /* owned; NULL: there is no topic here, and `next` is the next such place + 1 */
    struct dorrit_subscription *list; /* owned */
    struct dorrit_backlog *backlog;   /* owned; NULL: no member is behind */
    uint32_t behind;   /* so many are, see catch_up.h */
    uint32_t next;     /* with the same hash, as far as that is looked at; its place + 1; 0: it is the last */
    uint32_t length;   /* of the list, with those that have left it while it is visited */
    uint32_t capacity;
    uint32_t left;     /* so many have */
    uint32_t visits;   /* that are under way */
    uint8_t name_length;
};

struct dorrit_topics {
    struct dorrit_topic *topics; /* owned */
    uint32_t places;             /* there are topics in, or were */
    uint32_t capacity;
    uint32_t unused;   /* the first place without a topic, + 1; 0: there is none */
    uint32_t length;   /* topics that there are */
    uint32_t *buckets; /* owned: the first topic of each, its place + 1; 0: none */
    uint32_t bucket_count; /* a power of two, or 0 */
    struct dorrit_member *members; /* owned */
    uint32_t members_capacity;
    uint64_t subscriptions; /* that there are in all */
    size_t kept;            /* bytes of the messages in all backlogs */
    void (*release)(void *message); /* lets go of what stood in one; must not come back here */
};

enum dorrit_topics_outcome {
    DORRIT_TOPICS_DONE = 0,
    DORRIT_TOPICS_WAS_SO,   /* it is subscribed already */
    DORRIT_TOPICS_NO_MEMORY /* nothing has changed */
};

/* All zeros is an empty one as well; `release` must be set before a message is kept. */
void dorrit_topics_open(struct dorrit_topics *topics);

/* Gives the memory back. No visit may be under way. */
void dorrit_topics_close(struct dorrit_topics *topics);

/* Whether a topic may have that name: 1 to 255 bytes, none of a control character (U+0000 to U+001F, U+007F to
 * U+009F). That it is UTF-8 is the caller's. */
bool dorrit_topic_name_is_valid(const uint8_t *bytes, size_t length);

/* Finds a topic that somebody has subscribed to; returns its place + 1, or 0. It is valid until something is
 * subscribed or left. */
uint32_t dorrit_topics_find(const struct dorrit_topics *topics, struct dorrit_topic_name name);

/* The name must be valid, and the member not DORRIT_TOPICS_NOBODY. `waits`: it is not visited before it has been
 * confirmed, and gets then what has been kept meanwhile: see catch_up.h. */
enum dorrit_topics_outcome dorrit_topics_subscribe(
    struct dorrit_topics *topics, uint32_t member, struct dorrit_topic_name name, bool waits);

/* Whether it was subscribed; it is not from here on. */
bool dorrit_topics_unsubscribe(
    struct dorrit_topics *topics, uint32_t member, struct dorrit_topic_name name);

/* Finds a subscription; NULL: there is none. It is valid until something is subscribed or left. */
struct dorrit_subscription *dorrit_topics_subscription(
    const struct dorrit_topics *topics, uint32_t member, struct dorrit_topic_name name);

bool dorrit_topics_is_subscribed(
    const struct dorrit_topics *topics, uint32_t member, struct dorrit_topic_name name);

/* Ends all subscriptions of a member. */
void dorrit_topics_leave(struct dorrit_topics *topics, uint32_t member);

static inline struct dorrit_topic *dorrit_topics_at(const struct dorrit_topics *topics, uint32_t topic)
{
    return &topics->topics[topic - 1];
}

/* How many members a topic has, and how many topics a member. */
uint32_t dorrit_topics_count(const struct dorrit_topics *topics, struct dorrit_topic_name name);
uint32_t dorrit_topics_count_of(const struct dorrit_topics *topics, uint32_t member);

/* Writes the names of a member's topics, each behind a byte with its length and one that is 0 or
 * DORRIT_TOPIC_UNCONFIRMED, in no order that means anything. Returns how many bytes that takes; nothing is written if there are not as many. */
size_t dorrit_topics_names(
    const struct dorrit_topics *topics, uint32_t member, uint8_t *to, size_t room);

/* Goes through the members of a topic that are not behind, in the order in which they have come but for what leaving has
 * moved. Whatever happens meanwhile: who has been a member from the beginning to its turn is visited once, who
 * comes is not, and who leaves is not if its turn has not come. */
struct dorrit_topics_visit {
    uint32_t topic; /* its place + 1 */
    uint32_t at;
    uint32_t end;
};

/* `topic`: as dorrit_topics_find() has returned it. */
void dorrit_topics_begin_visit(
    struct dorrit_topics *topics, uint32_t topic, struct dorrit_topics_visit *visit);

/* Returns the next member; DORRIT_TOPICS_NOBODY: that was the last. */
uint32_t dorrit_topics_next(struct dorrit_topics *topics, struct dorrit_topics_visit *visit);

/* To be called once for each visit, also for one that is not gone on with. */
void dorrit_topics_end_visit(struct dorrit_topics *topics, struct dorrit_topics_visit *visit);

/* What can't be, if dorrit has no fault: NULL if all is as it should. For tests, and slow. */
const char *dorrit_topics_fault(const struct dorrit_topics *topics);

#endif
