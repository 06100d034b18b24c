/* Backlog: messages of one topic in the order in which they were published, each with a number. The oldest ones
 * are let go of first.
 *
 * What a message is, the caller knows. Nothing here takes or gives back a reference to one.
 */
#ifndef DORRIT_BACKLOG_H
#define DORRIT_BACKLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dorrit_backlog_message {
    void *content; /* the caller's */
    size_t size;   /* bytes, as the caller counts them */
};

/* All zeros but for `first` is an empty one. */
struct dorrit_backlog {
    struct dorrit_backlog_message *messages; /* owned: a ring */
    uint64_t first;    /* the number of the oldest message; if there is none, of the next one */
    size_t bytes;      /* of all of them */
    uint32_t head;     /* where the oldest one stands */
    uint32_t length;
    uint32_t capacity; /* a power of two, or 0 */
};

/* Gives back the memory of the ring. What was in it is the caller's to let go of. */
void dorrit_backlog_close(struct dorrit_backlog *backlog);

/* Whether there was memory for one more. */
bool dorrit_backlog_append(struct dorrit_backlog *backlog, void *content, size_t size);

/* Takes the oldest message out; NULL: there is none. */
void *dorrit_backlog_take(struct dorrit_backlog *backlog);

/* Finds a message by its number; NULL: it is not there. */
void *dorrit_backlog_at(const struct dorrit_backlog *backlog, uint64_t number);

#endif
