#include "topics.h"

#include "catch_up.h"

#include <stdlib.h>
#include <string.h>

enum {
    BUCKETS_FIRST = 16,
    TABLE_FIRST = 4 /* the capacity of a member's table that holds more than one */
};

/* ---- Room ---------------------------------------------------------------------------------------- */

/* Half as much again, so that what is never used is a third at the most. */
static uint32_t larger(uint32_t capacity, uint32_t wanted)
{
    const uint64_t grown = (uint64_t)capacity + capacity / 2;
    if (grown > UINT32_MAX - 1) {
        return UINT32_MAX - 1;
    }
    return grown > wanted ? (uint32_t)grown : wanted;
}

/* Has room for so many of them in an array. */
static bool reserve(void **array, uint32_t *capacity, uint32_t wanted, size_t size)
{
    if (wanted <= *capacity) {
        return true;
    }
    const uint32_t grown = larger(*capacity, wanted);
    void *const found = realloc(*array, (size_t)grown * size);
    if (found == NULL) {
        return false;
    }
    *array = found;
    *capacity = grown;
    return true;
}

static bool reserve_topic(struct dorrit_topics *topics)
{
    if (topics->unused != 0) {
        return true;
    }
    if (topics->places == UINT32_MAX - 1) {
        return false; /* as many as there are numbers for */
    }
    void *array = topics->topics;
    const bool done
        = reserve(&array, &topics->capacity, topics->places + 1, sizeof *topics->topics);
    topics->topics = array;
    return done;
}

static bool reserve_member(struct dorrit_topics *topics, uint32_t member)
{
    const uint32_t before = topics->members_capacity;
    void *array = topics->members;
    if (!reserve(&array, &topics->members_capacity, member + 1, sizeof *topics->members)) {
        return false;
    }
    topics->members = array;
    if (topics->members_capacity > before) {
        memset(topics->members + before, 0,
            (size_t)(topics->members_capacity - before) * sizeof *topics->members);
    }
    return true;
}

static bool reserve_subscription(struct dorrit_topic *topic)
{
    if (topic->length == UINT32_MAX - 1) {
        return false;
    }
    void *array = topic->list;
    const bool done = reserve(&array, &topic->capacity, topic->length + 1, sizeof *topic->list);
    topic->list = array;
    return done;
}

/* ---- The table of a member ----------------------------------------------------------------------- */

static struct dorrit_membership *table_of(struct dorrit_member *member)
{
    return member->capacity == 1 ? &member->table.one : member->table.many;
}

static const struct dorrit_membership *const_table_of(const struct dorrit_member *member)
{
    return member->capacity == 1 ? &member->table.one : member->table.many;
}

/* Where a topic should stand. */
static uint32_t home_of(uint32_t topic, uint32_t capacity)
{
    const uint32_t mixed = topic * UINT32_C(0x9e3779b1);
    return (mixed ^ mixed >> 15) & (capacity - 1);
}

/* Where it does; NOBODY: it does not. */
static uint32_t find_membership(const struct dorrit_member *member, uint32_t topic)
{
    if (member->length == 0) {
        return DORRIT_TOPICS_NOBODY;
    }
    const struct dorrit_membership *const table = const_table_of(member);
    uint32_t place = home_of(topic, member->capacity);
    for (uint32_t step = 0; step < member->capacity && table[place].topic != 0; step++) {
        if (table[place].topic == topic) {
            return place;
        }
        place = (place + 1) & (member->capacity - 1);
    }
    return DORRIT_TOPICS_NOBODY;
}

/* Puts one into a table that has room for it, and lets the topic's list know where it stands. */
static void put_membership(struct dorrit_topics *topics, struct dorrit_member *member,
    struct dorrit_membership membership)
{
    struct dorrit_membership *const table = table_of(member);
    uint32_t place = home_of(membership.topic, member->capacity);
    while (table[place].topic != 0) {
        place = (place + 1) & (member->capacity - 1);
    }
    table[place] = membership;
    dorrit_topics_at(topics, membership.topic)->list[membership.place].place = place;
}

/* Gives a member a table of that capacity, which has room for what it has. */
static bool resize_table(
    struct dorrit_topics *topics, struct dorrit_member *member, uint32_t capacity)
{
    struct dorrit_member resized = {.length = member->length, .capacity = capacity};
    if (capacity == 1) {
        resized.table.one = (struct dorrit_membership){0};
    } else {
        resized.table.many = calloc(capacity, sizeof *resized.table.many);
        if (resized.table.many == NULL) {
            return false;
        }
    }
    const struct dorrit_membership *const table
        = member->capacity == 0 ? NULL : const_table_of(member);
    for (uint32_t place = 0; place < member->capacity; place++) {
        if (table[place].topic != 0) {
            put_membership(topics, &resized, table[place]);
        }
    }
    if (member->capacity > 1) {
        free(member->table.many);
    }
    *member = resized;
    return true;
}

/* Has room for one more, and in a table of several for an empty place besides, where looking ends. */
static bool reserve_membership(struct dorrit_topics *topics, struct dorrit_member *member)
{
    const uint32_t wanted = member->length + 1;
    if (wanted <= (member->capacity == 1 ? 1 : member->capacity - member->capacity / 4)) {
        return true;
    }
    if (member->capacity > UINT32_MAX / 2) {
        return false;
    }
    const uint32_t capacity = member->capacity == 0 ? 1
        : member->capacity == 1                     ? TABLE_FIRST
                                                    : member->capacity * 2;
    return resize_table(topics, member, capacity);
}

/* Takes one out. Those behind it move up, as far as that brings them nearer to where they should stand. */
static void take_membership(
    struct dorrit_topics *topics, struct dorrit_member *member, uint32_t place)
{
    struct dorrit_membership *const table = table_of(member);
    const uint32_t mask = member->capacity - 1;
    uint32_t hole = place, next = place;
    for (uint32_t step = 1; step < member->capacity; step++) {
        next = (next + 1) & mask;
        if (table[next].topic == 0) {
            break;
        }
        const uint32_t home = home_of(table[next].topic, member->capacity);
        if (((next - home) & mask) >= ((next - hole) & mask)) {
            table[hole] = table[next];
            dorrit_topics_at(topics, table[hole].topic)->list[table[hole].place].place = hole;
            hole = next;
        }
    }
    table[hole] = (struct dorrit_membership){0};
    member->length--;
    if (member->length == 0) {
        if (member->capacity > 1) {
            free(member->table.many);
        }
        *member = (struct dorrit_member){0};
    } else if (member->capacity > TABLE_FIRST && member->length <= member->capacity / 8) {
        (void)resize_table(topics, member, member->capacity / 2); /* or it stays as large */
    }
}

/* ---- Topics --------------------------------------------------------------------------------------- */

void dorrit_topics_open(struct dorrit_topics *topics)
{
    memset(topics, 0, sizeof *topics);
}

void dorrit_topics_close(struct dorrit_topics *topics)
{
    for (uint32_t topic = 1; topic <= topics->places; topic++) {
        dorrit_topics_let_go(topics, topic);
        free(dorrit_topics_at(topics, topic)->name);
        free(dorrit_topics_at(topics, topic)->list);
    }
    for (uint32_t member = 0; member < topics->members_capacity; member++) {
        if (topics->members[member].capacity > 1) {
            free(topics->members[member].table.many);
        }
    }
    free(topics->topics);
    free(topics->buckets);
    free(topics->members);
    memset(topics, 0, sizeof *topics);
}

bool dorrit_topic_name_is_valid(const uint8_t *bytes, size_t length)
{
    if (length == 0 || length > DORRIT_TOPIC_NAME_MAX) {
        return false;
    }
    for (size_t index = 0; index < length; index++) {
        if (bytes[index] < 0x20 || bytes[index] == 0x7f
            || (bytes[index] == 0xc2 && index + 1 < length && bytes[index + 1] < 0xa0)) {
            return false;
        }
    }
    return true;
}

uint32_t dorrit_topics_find(const struct dorrit_topics *topics, struct dorrit_topic_name name)
{
    if (topics->bucket_count == 0) {
        return 0;
    }
    uint32_t topic = topics->buckets[name.hash & (topics->bucket_count - 1)];
    while (topic != 0) {
        const struct dorrit_topic *const found = dorrit_topics_at(topics, topic);
        if (found->hash == name.hash && found->name_length == name.length
            && memcmp(found->name, name.bytes, name.length) == 0) {
            return topic;
        }
        topic = found->next;
    }
    return 0;
}

static void link_topic(struct dorrit_topics *topics, uint32_t topic)
{
    struct dorrit_topic *const found = dorrit_topics_at(topics, topic);
    uint32_t *const bucket = &topics->buckets[found->hash & (topics->bucket_count - 1)];
    found->next = *bucket;
    *bucket = topic;
}

static bool reserve_buckets(struct dorrit_topics *topics)
{
    if (topics->length < topics->bucket_count) {
        return true;
    }
    if (topics->bucket_count > UINT32_MAX / 2) {
        return true; /* they get longer */
    }
    const uint32_t count = topics->bucket_count == 0 ? BUCKETS_FIRST : topics->bucket_count * 2;
    uint32_t *const buckets = calloc(count, sizeof *buckets);
    if (buckets == NULL) {
        return topics->bucket_count != 0;
    }
    free(topics->buckets);
    topics->buckets = buckets;
    topics->bucket_count = count;
    for (uint32_t topic = 1; topic <= topics->places; topic++) {
        if (dorrit_topics_at(topics, topic)->name != NULL) {
            link_topic(topics, topic);
        }
    }
    return true;
}

/* Makes a topic without members. Returns 0 if there is no memory. */
static uint32_t add_topic(struct dorrit_topics *topics, struct dorrit_topic_name name)
{
    if (!reserve_topic(topics) || !reserve_buckets(topics)) {
        return 0;
    }
    uint8_t *const copy = malloc(name.length);
    if (copy == NULL) {
        return 0;
    }
    memcpy(copy, name.bytes, name.length);
    uint32_t topic = topics->unused;
    if (topic != 0) {
        topics->unused = dorrit_topics_at(topics, topic)->next;
    } else {
        topic = ++topics->places;
    }
    *dorrit_topics_at(topics, topic) = (struct dorrit_topic){
        .hash = name.hash, .name = copy, .name_length = (uint8_t)name.length};
    link_topic(topics, topic);
    topics->length++;
    return topic;
}

static void remove_topic(struct dorrit_topics *topics, uint32_t topic)
{
    struct dorrit_topic *const found = dorrit_topics_at(topics, topic);
    uint32_t *link = &topics->buckets[found->hash & (topics->bucket_count - 1)];
    while (*link != topic) {
        link = &dorrit_topics_at(topics, *link)->next;
    }
    *link = found->next;
    dorrit_topics_let_go(topics, topic);
    free(found->name);
    free(found->list);
    *found = (struct dorrit_topic){.next = topics->unused};
    topics->unused = topic;
    topics->length--;
    if (topics->length == 0) {
        /* What a million of them have taken is not kept for the next one. */
        free(topics->topics);
        free(topics->buckets);
        topics->topics = NULL;
        topics->buckets = NULL;
        topics->places = topics->capacity = topics->unused = topics->bucket_count = 0;
    }
}

/* Ends a topic that has no members; not while it is visited. */
static void remove_unless_used(struct dorrit_topics *topics, uint32_t topic)
{
    const struct dorrit_topic *const found = dorrit_topics_at(topics, topic);
    if (found->length == found->left && found->visits == 0) {
        remove_topic(topics, topic);
    }
}

/* ---- Subscriptions -------------------------------------------------------------------------------- */

enum dorrit_topics_outcome dorrit_topics_subscribe(
    struct dorrit_topics *topics, uint32_t member, struct dorrit_topic_name name, bool waits)
{
    if (!reserve_member(topics, member)) {
        return DORRIT_TOPICS_NO_MEMORY;
    }
    struct dorrit_member *const one = &topics->members[member];
    uint32_t topic = dorrit_topics_find(topics, name);
    if (topic != 0 && find_membership(one, topic) != DORRIT_TOPICS_NOBODY) {
        return DORRIT_TOPICS_WAS_SO;
    }
    if (topic == 0) {
        topic = add_topic(topics, name);
        if (topic == 0) {
            return DORRIT_TOPICS_NO_MEMORY;
        }
    }
    struct dorrit_topic *const found = dorrit_topics_at(topics, topic);
    uint64_t from = 0;
    if (!reserve_subscription(found) || !reserve_membership(topics, one)
        || (waits && (from = dorrit_topics_wait(topics, topic)) == 0)) {
        remove_unless_used(topics, topic);
        return DORRIT_TOPICS_NO_MEMORY;
    }
    found->list[found->length] = (struct dorrit_subscription){.member = member, .from = from};
    put_membership(topics, one, (struct dorrit_membership){.topic = topic, .place = found->length});
    found->length++;
    one->length++;
    topics->subscriptions++;
    return DORRIT_TOPICS_DONE;
}

/* Gives back what a list has too much of by far. */
static void shrink_list(struct dorrit_topic *topic)
{
    uint32_t capacity = topic->capacity;
    while (capacity >= 16 && topic->length <= capacity / 4) {
        capacity /= 2;
    }
    if (capacity == topic->capacity) {
        return;
    }
    struct dorrit_subscription *const list
        = realloc(topic->list, (size_t)capacity * sizeof *topic->list);
    if (list != NULL) {
        topic->list = list;
        topic->capacity = capacity;
    }
}

/* Puts the last one of a list into a place, and the list is shorter. */
static void fill_place(struct dorrit_topics *topics, struct dorrit_topic *topic, uint32_t place)
{
    topic->length--;
    if (place == topic->length) {
        return;
    }
    const struct dorrit_subscription last = topic->list[topic->length];
    topic->list[place] = last;
    if (last.member != DORRIT_TOPICS_NOBODY) {
        table_of(&topics->members[last.member])[last.place].place = place;
    }
}

/* Ends the subscription at a place of a member's table. */
static void leave_place(
    struct dorrit_topics *topics, struct dorrit_member *member, uint32_t place)
{
    const struct dorrit_membership membership = table_of(member)[place];
    struct dorrit_topic *const topic = dorrit_topics_at(topics, membership.topic);
    take_membership(topics, member, place);
    topics->subscriptions--;
    if (topic->list[membership.place].from != 0) {
        dorrit_topics_go_live(topics, membership.topic, &topic->list[membership.place]);
    }
    if (topic->visits > 0) {
        topic->list[membership.place].member = DORRIT_TOPICS_NOBODY;
        topic->left++;
        return;
    }
    fill_place(topics, topic, membership.place);
    shrink_list(topic);
    remove_unless_used(topics, membership.topic);
}

static uint32_t find_subscription(
    const struct dorrit_topics *topics, uint32_t member, struct dorrit_topic_name name)
{
    const uint32_t topic
        = member < topics->members_capacity ? dorrit_topics_find(topics, name) : 0;
    return topic == 0 ? DORRIT_TOPICS_NOBODY : find_membership(&topics->members[member], topic);
}

struct dorrit_subscription *dorrit_topics_subscription(
    const struct dorrit_topics *topics, uint32_t member, struct dorrit_topic_name name)
{
    const uint32_t place = find_subscription(topics, member, name);
    if (place == DORRIT_TOPICS_NOBODY) {
        return NULL;
    }
    const struct dorrit_membership membership = const_table_of(&topics->members[member])[place];
    return &dorrit_topics_at(topics, membership.topic)->list[membership.place];
}

bool dorrit_topics_unsubscribe(
    struct dorrit_topics *topics, uint32_t member, struct dorrit_topic_name name)
{
    const uint32_t place = find_subscription(topics, member, name);
    if (place == DORRIT_TOPICS_NOBODY) {
        return false;
    }
    leave_place(topics, &topics->members[member], place);
    return true;
}

bool dorrit_topics_is_subscribed(
    const struct dorrit_topics *topics, uint32_t member, struct dorrit_topic_name name)
{
    return find_subscription(topics, member, name) != DORRIT_TOPICS_NOBODY;
}

void dorrit_topics_leave(struct dorrit_topics *topics, uint32_t member)
{
    if (member >= topics->members_capacity) {
        return;
    }
    struct dorrit_member *const one = &topics->members[member];
    /* A table that gets smaller may get another order: each time it is looked through from its beginning, which
     * is what it has been emptied up to. */
    while (one->length > 0) {
        uint32_t place = 0;
        while (table_of(one)[place].topic == 0) {
            place++;
        }
        const uint32_t capacity = one->capacity;
        while (one->length > 0 && one->capacity == capacity && place < capacity) {
            if (table_of(one)[place].topic == 0) {
                place++;
            } else {
                leave_place(topics, one, place);
            }
        }
    }
}

uint32_t dorrit_topics_count(const struct dorrit_topics *topics, struct dorrit_topic_name name)
{
    const uint32_t topic = dorrit_topics_find(topics, name);
    return topic == 0 ? 0 : dorrit_topics_at(topics, topic)->length - dorrit_topics_at(topics, topic)->left;
}

uint32_t dorrit_topics_count_of(const struct dorrit_topics *topics, uint32_t member)
{
    return member < topics->members_capacity ? topics->members[member].length : 0;
}

size_t dorrit_topics_names(
    const struct dorrit_topics *topics, uint32_t member, uint8_t *to, size_t room)
{
    if (member >= topics->members_capacity) {
        return 0;
    }
    const struct dorrit_member *const one = &topics->members[member];
    size_t length = 0, written = 0;
    for (uint32_t place = 0; place < one->capacity; place++) {
        const uint32_t topic = const_table_of(one)[place].topic;
        length += topic == 0 ? 0 : 2 + (size_t)dorrit_topics_at(topics, topic)->name_length;
    }
    for (uint32_t place = 0; place < one->capacity && length <= room; place++) {
        const struct dorrit_membership membership = const_table_of(one)[place];
        if (membership.topic != 0) {
            const struct dorrit_topic *const found = dorrit_topics_at(topics, membership.topic);
            to[written] = found->name_length;
            to[written + 1] = dorrit_topics_is_unconfirmed(&found->list[membership.place])
                ? DORRIT_TOPIC_UNCONFIRMED
                : 0;
            memcpy(to + written + 2, found->name, found->name_length);
            written += 2 + (size_t)found->name_length;
        }
    }
    return length;
}

/* ---- Visits --------------------------------------------------------------------------------------- */

void dorrit_topics_begin_visit(
    struct dorrit_topics *topics, uint32_t topic, struct dorrit_topics_visit *visit)
{
    visit->topic = topic;
    visit->at = 0;
    visit->end = dorrit_topics_at(topics, topic)->length;
    dorrit_topics_at(topics, topic)->visits++;
}

uint32_t dorrit_topics_next(struct dorrit_topics *topics, struct dorrit_topics_visit *visit)
{
    const struct dorrit_topic *const topic = dorrit_topics_at(topics, visit->topic);
    while (visit->at < visit->end) {
        const struct dorrit_subscription subscription = topic->list[visit->at++];
        if (subscription.member != DORRIT_TOPICS_NOBODY && subscription.from == 0) {
            return subscription.member;
        }
    }
    return DORRIT_TOPICS_NOBODY;
}

void dorrit_topics_end_visit(struct dorrit_topics *topics, struct dorrit_topics_visit *visit)
{
    struct dorrit_topic *const topic = dorrit_topics_at(topics, visit->topic);
    topic->visits--;
    if (topic->visits > 0 || topic->left == 0) {
        return;
    }
    uint32_t kept = 0;
    for (uint32_t place = 0; place < topic->length; place++) {
        const struct dorrit_subscription subscription = topic->list[place];
        if (subscription.member == DORRIT_TOPICS_NOBODY) {
            continue;
        }
        topic->list[kept] = subscription;
        table_of(&topics->members[subscription.member])[subscription.place].place = kept;
        kept++;
    }
    topic->length = kept;
    topic->left = 0;
    shrink_list(topic);
    remove_unless_used(topics, visit->topic);
}

/* ---- For tests ------------------------------------------------------------------------------------ */

static const char *fault_of_topic(const struct dorrit_topics *topics, uint32_t topic)
{
    const struct dorrit_topic *const found = dorrit_topics_at(topics, topic);
    uint32_t left = 0, behind = 0;
    if (found->length > found->capacity || (found->length == found->left && found->visits == 0)) {
        return "a topic has no members";
    }
    const struct dorrit_topic_name name = {found->name, found->name_length, found->hash};
    if (dorrit_topics_find(topics, name) != topic) {
        return "a topic is not found by its name";
    }
    for (uint32_t place = 0; place < found->length; place++) {
        const struct dorrit_subscription subscription = found->list[place];
        behind += subscription.from != 0;
        if (subscription.member == DORRIT_TOPICS_NOBODY) {
            left++;
            continue;
        }
        if (subscription.member >= topics->members_capacity) {
            return "a topic has a member that there is not";
        }
        const struct dorrit_member *const member = &topics->members[subscription.member];
        if (subscription.place >= member->capacity
            || const_table_of(member)[subscription.place].topic != topic
            || const_table_of(member)[subscription.place].place != place) {
            return "a topic's list and a member's table do not point at each other";
        }
    }
    if (behind != found->behind || (behind == 0) != (found->backlog == NULL)) {
        return "there is a backlog for nobody, or none";
    }
    return left != found->left || (left > 0 && found->visits == 0) ? "a topic has places without a member"
                                                                   : NULL;
}

const char *dorrit_topics_fault(const struct dorrit_topics *topics)
{
    uint32_t length = 0;
    uint64_t listed = 0, held = 0;
    size_t kept = 0;
    for (uint32_t topic = 1; topic <= topics->places; topic++) {
        if (dorrit_topics_at(topics, topic)->name == NULL) {
            continue;
        }
        const char *const fault = fault_of_topic(topics, topic);
        if (fault != NULL) {
            return fault;
        }
        length++;
        kept += dorrit_topics_at(topics, topic)->backlog == NULL ? 0 : dorrit_topics_at(topics, topic)->backlog->bytes;
        listed += dorrit_topics_at(topics, topic)->length - dorrit_topics_at(topics, topic)->left;
    }
    for (uint32_t number = 0; number < topics->members_capacity; number++) {
        const struct dorrit_member *const member = &topics->members[number];
        uint32_t found = 0;
        for (uint32_t place = 0; place < member->capacity; place++) {
            const uint32_t topic = const_table_of(member)[place].topic;
            if (topic != 0 && find_membership(member, topic) != place) {
                return "a subscription is not found in its member's table";
            }
            found += topic != 0;
        }
        if (found != member->length) {
            return "a member's table has another length";
        }
        held += found;
    }
    if (length != topics->length || kept != topics->kept) {
        return "the number of topics is another one, or what is kept for them";
    }
    return listed != held || held != topics->subscriptions ? "the number of subscriptions is another one"
                                                           : NULL;
}
