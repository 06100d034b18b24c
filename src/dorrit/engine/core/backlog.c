#include "backlog.h"

#include <stdlib.h>

enum { CAPACITY_FIRST = 4 };

static struct dorrit_backlog_message *place_of(const struct dorrit_backlog *backlog, uint32_t index)
{
    return &backlog->messages[(backlog->head + index) & (backlog->capacity - 1)];
}

/* Gives the ring twice the room, with the oldest message at its beginning. */
static bool grow(struct dorrit_backlog *backlog)
{
    if (backlog->capacity > UINT32_MAX / 2) {
        return false;
    }
    const uint32_t capacity = backlog->capacity == 0 ? CAPACITY_FIRST : backlog->capacity * 2;
    struct dorrit_backlog_message *const grown = calloc(capacity, sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    for (uint32_t index = 0; index < backlog->length; index++) {
        grown[index] = *place_of(backlog, index);
    }
    free(backlog->messages);
    backlog->messages = grown;
    backlog->capacity = capacity;
    backlog->head = 0;
    return true;
}

void dorrit_backlog_close(struct dorrit_backlog *backlog)
{
    free(backlog->messages);
    *backlog = (struct dorrit_backlog){.first = backlog->first + backlog->length};
}

bool dorrit_backlog_append(struct dorrit_backlog *backlog, void *content, size_t size)
{
    if (backlog->length == backlog->capacity && !grow(backlog)) {
        return false;
    }
    *place_of(backlog, backlog->length)
        = (struct dorrit_backlog_message){.content = content, .size = size};
    backlog->length++;
    backlog->bytes += size;
    return true;
}

void *dorrit_backlog_take(struct dorrit_backlog *backlog)
{
    if (backlog->length == 0) {
        return NULL;
    }
    const struct dorrit_backlog_message oldest = *place_of(backlog, 0);
    backlog->head = (backlog->head + 1) & (backlog->capacity - 1);
    backlog->length--;
    backlog->bytes -= oldest.size;
    backlog->first++;
    return oldest.content;
}

void *dorrit_backlog_at(const struct dorrit_backlog *backlog, uint64_t number)
{
    if (number < backlog->first || number - backlog->first >= backlog->length) {
        return NULL;
    }
    return place_of(backlog, (uint32_t)(number - backlog->first))->content;
}
