/* Subscriptions that are behind: what is published to their topic is kept for them, in its backlog.
 *
 * One begins so if it is to wait until it has been confirmed. Then its member is told; and when he knows, he gets
 * what has been kept, message by message, until he has got all of it: from there on he is visited with the others.
 * A message that nobody is to get any more goes, and so does the oldest one if there are too many.
 */
#ifndef DORRIT_CATCH_UP_H
#define DORRIT_CATCH_UP_H

#include "topics.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Beside the number of a message in `from`. */
#define DORRIT_TOPICS_WAITS (UINT64_C(1) << 63)   /* it has not been confirmed */
#define DORRIT_TOPICS_IS_TOLD (UINT64_C(1) << 62) /* its member is being told */

/* Whether a member of that topic is behind. `topic`: as dorrit_topics_find() has returned it. */
bool dorrit_topics_has_behind(const struct dorrit_topics *topics, uint32_t topic);

/* How many bytes are kept. */
struct dorrit_topics_most {
    size_t of_one; /* topic */
    size_t of_all;
};

/* Keeps a message for those who are behind, of whom there must be one; `size` bytes count for it. Of its topic the
 * oldest ones go, and at last this one, until there is no more than may be. Takes it over, unless it returns
 * false: there is no memory. */
bool dorrit_topics_keep(struct dorrit_topics *topics, uint32_t topic, void *message, size_t size,
    struct dorrit_topics_most most);

/* A subscription that waits waits no more: its member is told now. False: it does not wait, or there is none. */
bool dorrit_topics_begin_telling(
    struct dorrit_topics *topics, uint32_t member, struct dorrit_topic_name name);

/* Whether the member is being told. */
bool dorrit_topics_is_told(
    const struct dorrit_topics *topics, uint32_t member, struct dorrit_topic_name name);

/* The member has been told, and may catch up. False: he left meanwhile, and may have come again. */
bool dorrit_topics_end_telling(
    struct dorrit_topics *topics, uint32_t member, struct dorrit_topic_name name);

/* Returns the message that a member is to get next; it is valid until something is kept, subscribed or left.
 * NULL: there is none, and if he has been told, he is not behind any more. `missed` of them have gone
 * before he got them. Not while the topic is visited: he would get what it is visited for twice. */
void *dorrit_topics_catch_up(struct dorrit_topics *topics, uint32_t member,
    struct dorrit_topic_name name, uint64_t *missed);

/* Whether the member of a subscription still is to be told, or is being told. */
static inline bool dorrit_topics_is_unconfirmed(const struct dorrit_subscription *subscription)
{
    return (subscription->from & (DORRIT_TOPICS_WAITS | DORRIT_TOPICS_IS_TOLD)) != 0;
}

/* For topics.c. `wait` returns what `from` is to be of a new subscription that waits, or 0: there is no memory.
 * `go_live` ends that one is behind. `let_go` frees the backlog of a topic that ends. */
uint64_t dorrit_topics_wait(struct dorrit_topics *topics, uint32_t topic);
void dorrit_topics_go_live(
    struct dorrit_topics *topics, uint32_t topic, struct dorrit_subscription *subscription);
void dorrit_topics_let_go(struct dorrit_topics *topics, uint32_t topic);

#endif
