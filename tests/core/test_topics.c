/* Topics (T1, T2). */
#include "topics.h"

#include "check.h"
#include "topics_script.h"

static struct dorrit_topic_name named(const char *name)
{
    uint64_t hash = 14695981039346656037u;
    for (const char *at = name; *at != '\0'; at++) {
        hash = (hash ^ (uint8_t)*at) * 1099511628211u;
    }
    return (struct dorrit_topic_name){(const uint8_t *)name, strlen(name), hash};
}

static struct dorrit_topic_name numbered(uint32_t number)
{
    static char name[16];
    (void)snprintf(name, sizeof name, "room:%u", (unsigned int)number);
    return named(name);
}

static void each_member_is_visited_in_the_order_of_coming(void)
{
    struct dorrit_topics topics;
    struct dorrit_topics_visit visit;
    dorrit_topics_open(&topics);
    CHECK_EQUAL(dorrit_topics_find(&topics, named("a")), 0);
    for (uint32_t member = 0; member < 100; member++) {
        CHECK_EQUAL(dorrit_topics_subscribe(&topics, member, named("a"), false), DORRIT_TOPICS_DONE);
    }
    CHECK_EQUAL(dorrit_topics_subscribe(&topics, 7, named("a"), false), DORRIT_TOPICS_WAS_SO);
    CHECK_EQUAL(dorrit_topics_count(&topics, named("a")), 100);
    dorrit_topics_begin_visit(&topics, dorrit_topics_find(&topics, named("a")), &visit);
    for (uint32_t member = 0; member < 100; member++) {
        CHECK_EQUAL(dorrit_topics_next(&topics, &visit), member);
    }
    CHECK_EQUAL(dorrit_topics_next(&topics, &visit), DORRIT_TOPICS_NOBODY);
    dorrit_topics_end_visit(&topics, &visit);
    CHECK(dorrit_topics_fault(&topics) == NULL);
    dorrit_topics_close(&topics);
}

static void who_leaves_while_a_topic_is_visited_is_not_and_who_comes_neither(void)
{
    struct dorrit_topics topics;
    struct dorrit_topics_visit visit, inner;
    dorrit_topics_open(&topics);
    for (uint32_t member = 0; member < 4; member++) {
        (void)dorrit_topics_subscribe(&topics, member, named("a"), false);
    }
    const uint32_t topic = dorrit_topics_find(&topics, named("a"));
    dorrit_topics_begin_visit(&topics, topic, &visit);
    CHECK_EQUAL(dorrit_topics_next(&topics, &visit), 0);
    dorrit_topics_leave(&topics, 0);
    CHECK(dorrit_topics_unsubscribe(&topics, 1, named("a")));
    CHECK(!dorrit_topics_unsubscribe(&topics, 1, named("a")));
    CHECK_EQUAL(dorrit_topics_subscribe(&topics, 1, named("a"), false), DORRIT_TOPICS_DONE);
    CHECK_EQUAL(dorrit_topics_count(&topics, named("a")), 3);
    dorrit_topics_begin_visit(&topics, topic, &inner); /* something is published to it meanwhile */
    CHECK_EQUAL(dorrit_topics_next(&topics, &inner), 2);
    CHECK_EQUAL(dorrit_topics_next(&topics, &inner), 3);
    CHECK_EQUAL(dorrit_topics_next(&topics, &inner), 1);
    dorrit_topics_end_visit(&topics, &inner);
    CHECK_EQUAL(dorrit_topics_next(&topics, &visit), 2);
    for (uint32_t member = 0; member < 4; member++) {
        dorrit_topics_leave(&topics, member);
    }
    CHECK_EQUAL(dorrit_topics_next(&topics, &visit), DORRIT_TOPICS_NOBODY);
    CHECK_EQUAL(topics.length, 1);
    dorrit_topics_end_visit(&topics, &visit);
    CHECK_EQUAL(topics.length, 0);
    CHECK(dorrit_topics_fault(&topics) == NULL);
    dorrit_topics_close(&topics);
}

static void a_name_is_any_text_without_control_characters(void)
{
    static const char *const valid[] = {"a", " ", "room:7", "#", "*", "\xc2\xa0", "\xe2\x80\x8b",
        "\xf0\x9f\xa6\x80", "\xc3\x80\x7e", "\xe1\x82\x80"};
    static const char *const invalid[]
        = {"", "\n", "a\x1f", "\x7f", "a\xc2\x80", "\xc2\x9f!", "a\tb"};
    uint8_t longest[DORRIT_TOPIC_NAME_MAX + 1];
    memset(longest, 'x', sizeof longest);
    CHECK(dorrit_topic_name_is_valid(longest, DORRIT_TOPIC_NAME_MAX));
    CHECK(!dorrit_topic_name_is_valid(longest, DORRIT_TOPIC_NAME_MAX + 1));
    CHECK(!dorrit_topic_name_is_valid((const uint8_t *)"a\0b", 3));
    for (size_t index = 0; index < sizeof valid / sizeof valid[0]; index++) {
        trying((const uint8_t *)valid[index], strlen(valid[index]));
        CHECK(dorrit_topic_name_is_valid((const uint8_t *)valid[index], strlen(valid[index])));
    }
    for (size_t index = 0; index < sizeof invalid / sizeof invalid[0]; index++) {
        trying((const uint8_t *)invalid[index], strlen(invalid[index]));
        CHECK(!dorrit_topic_name_is_valid((const uint8_t *)invalid[index], strlen(invalid[index])));
    }
}

/* T2: "A subscription takes at most 64 bytes (a topic 128 and its name besides)". */
static size_t memory_of(const struct dorrit_topics *topics)
{
    size_t memory = (size_t)topics->capacity * sizeof *topics->topics
        + (size_t)topics->bucket_count * sizeof *topics->buckets;
    for (uint32_t topic = 0; topic < topics->places; topic++) {
        memory += (size_t)topics->topics[topic].capacity * sizeof *topics->topics[topic].list;
    }
    for (uint32_t member = 0; member < topics->members_capacity; member++) {
        const uint32_t capacity = topics->members[member].capacity;
        memory += capacity > 1 ? (size_t)capacity * sizeof(struct dorrit_membership) : 0;
    }
    return memory + (size_t)topics->members_capacity * sizeof *topics->members;
}

static void subscriptions_take_what_is_promised(void)
{
    static const struct {
        uint32_t members, topics, each;
    } crowds[] = {{20000, 1, 1}, {20000, 1000, 1}, {20000, 20000, 1}, {10, 20000, 20000}, {4000, 2000, 5}};
    for (size_t crowd = 0; crowd < sizeof crowds / sizeof crowds[0]; crowd++) {
        struct dorrit_topics topics;
        dorrit_topics_open(&topics);
        for (uint32_t member = 0; member < crowds[crowd].members; member++) {
            for (uint32_t each = 0; each < crowds[crowd].each; each++) {
                CHECK_EQUAL(dorrit_topics_subscribe(&topics, member,
                                numbered((member + each * 7) % crowds[crowd].topics), false),
                    DORRIT_TOPICS_DONE);
            }
        }
        const uint64_t subscriptions = topics.subscriptions;
        CHECK_EQUAL(subscriptions, (uint64_t)crowds[crowd].members * crowds[crowd].each);
        CHECK(memory_of(&topics) <= 64 * subscriptions + 128 * topics.length);
        CHECK(dorrit_topics_fault(&topics) == NULL);
        for (uint32_t member = 0; member < crowds[crowd].members; member++) {
            dorrit_topics_leave(&topics, member);
        }
        /* What a crowd has taken is not kept when it has gone; of a member that was there one slot stays. */
        CHECK_EQUAL(memory_of(&topics), (size_t)topics.members_capacity * sizeof *topics.members);
        dorrit_topics_close(&topics);
    }
}

static void a_list_gets_smaller_when_most_have_left(void)
{
    struct dorrit_topics topics;
    dorrit_topics_open(&topics);
    for (uint32_t number = 0; number < 10000; number++) {
        (void)dorrit_topics_subscribe(&topics, number, named("all"), false);
        (void)dorrit_topics_subscribe(&topics, 0, numbered(number), false);
    }
    for (uint32_t number = 10; number < 10000; number++) {
        CHECK(dorrit_topics_unsubscribe(&topics, number, named("all")));
        CHECK(dorrit_topics_unsubscribe(&topics, 0, numbered(number)));
    }
    CHECK(topics.topics[dorrit_topics_find(&topics, named("all")) - 1].capacity < 100);
    CHECK(topics.members[0].capacity < 200);
    /* Also if all of them leave while it is visited. */
    struct dorrit_topics_visit visit;
    for (uint32_t number = 10; number < 10000; number++) {
        (void)dorrit_topics_subscribe(&topics, number, named("all"), false);
    }
    dorrit_topics_begin_visit(&topics, dorrit_topics_find(&topics, named("all")), &visit);
    for (uint32_t number = 10; number < 10000; number++) {
        dorrit_topics_leave(&topics, number);
    }
    dorrit_topics_end_visit(&topics, &visit);
    CHECK(topics.topics[dorrit_topics_find(&topics, named("all")) - 1].capacity < 100);
    CHECK(dorrit_topics_fault(&topics) == NULL);
    dorrit_topics_close(&topics);
}

/* What stands in a backlog: released ones are counted. */
static unsigned int released;

static struct dorrit_topics_most at_most(size_t bytes)
{
    return (struct dorrit_topics_most){bytes, 2000};
}

static void count_released(void *message)
{
    CHECK(message != NULL);
    released++;
}

static void who_waits_gets_what_was_published_meanwhile_when_he_has_been_told(void)
{
    static int messages[4];
    struct dorrit_topics topics;
    struct dorrit_topics_visit visit;
    uint64_t missed;
    released = 0;
    dorrit_topics_open(&topics);
    topics.release = count_released;
    CHECK_EQUAL(dorrit_topics_subscribe(&topics, 0, named("a"), false), DORRIT_TOPICS_DONE);
    const uint32_t topic = dorrit_topics_find(&topics, named("a"));
    CHECK(!dorrit_topics_has_behind(&topics, topic));
    CHECK_EQUAL(dorrit_topics_subscribe(&topics, 1, named("a"), true), DORRIT_TOPICS_DONE);
    CHECK(dorrit_topics_has_behind(&topics, topic));
    CHECK(dorrit_topics_keep(&topics, topic, &messages[0], 10, at_most(100)));
    CHECK_EQUAL(dorrit_topics_subscribe(&topics, 2, named("a"), true), DORRIT_TOPICS_DONE);
    CHECK(dorrit_topics_keep(&topics, topic, &messages[1], 10, at_most(100)));
    CHECK_EQUAL(topics.kept, 20);
    dorrit_topics_begin_visit(&topics, topic, &visit);
    CHECK_EQUAL(dorrit_topics_next(&topics, &visit), 0);
    CHECK_EQUAL(dorrit_topics_next(&topics, &visit), DORRIT_TOPICS_NOBODY);
    dorrit_topics_end_visit(&topics, &visit);
    CHECK(dorrit_topics_catch_up(&topics, 1, named("a"), &missed) == NULL);
    CHECK(!dorrit_topics_end_telling(&topics, 1, named("a")));
    CHECK(dorrit_topics_begin_telling(&topics, 1, named("a")));
    CHECK(!dorrit_topics_begin_telling(&topics, 1, named("a")));
    CHECK(dorrit_topics_catch_up(&topics, 1, named("a"), &missed) == NULL);
    CHECK(dorrit_topics_end_telling(&topics, 1, named("a")));
    CHECK(dorrit_topics_catch_up(&topics, 1, named("a"), &missed) == &messages[0]);
    CHECK(dorrit_topics_catch_up(&topics, 1, named("a"), &missed) == &messages[1]);
    CHECK(dorrit_topics_catch_up(&topics, 1, named("a"), &missed) == NULL);
    CHECK_EQUAL(missed, 0);
    dorrit_topics_begin_visit(&topics, topic, &visit);
    CHECK_EQUAL(dorrit_topics_next(&topics, &visit), 0);
    CHECK_EQUAL(dorrit_topics_next(&topics, &visit), 1);
    CHECK_EQUAL(dorrit_topics_next(&topics, &visit), DORRIT_TOPICS_NOBODY);
    dorrit_topics_end_visit(&topics, &visit);
    CHECK(dorrit_topics_begin_telling(&topics, 2, named("a")));
    CHECK(dorrit_topics_end_telling(&topics, 2, named("a")));
    CHECK(dorrit_topics_catch_up(&topics, 2, named("a"), &missed) == &messages[1]);
    CHECK_EQUAL(released, 0);
    CHECK(dorrit_topics_catch_up(&topics, 2, named("a"), &missed) == NULL);
    CHECK_EQUAL(released, 2); /* nobody is behind any more */
    CHECK_EQUAL(topics.kept, 0);
    CHECK(dorrit_topics_fault(&topics) == NULL);
    dorrit_topics_close(&topics);
}

static void what_is_too_much_goes_and_who_has_missed_it_is_told_how_many(void)
{
    static int messages[10];
    struct dorrit_topics topics;
    uint64_t missed;
    released = 0;
    dorrit_topics_open(&topics);
    topics.release = count_released;
    CHECK_EQUAL(dorrit_topics_subscribe(&topics, 1, named("a"), true), DORRIT_TOPICS_DONE);
    const uint32_t topic = dorrit_topics_find(&topics, named("a"));
    for (unsigned int index = 0; index < 10; index++) {
        CHECK(dorrit_topics_keep(&topics, topic, &messages[index], 10, at_most(55)));
        CHECK_EQUAL(topics.kept, index < 5 ? 10 * (index + 1) : 50);
    }
    CHECK_EQUAL(released, 5);
    CHECK(dorrit_topics_keep(&topics, topic, &messages[0], 56, at_most(55))); /* not even the last one stays */
    CHECK_EQUAL(released, 11);
    CHECK_EQUAL(topics.kept, 0);
    CHECK(dorrit_topics_keep(&topics, topic, &messages[0], 55, at_most(55)));
    CHECK(dorrit_topics_begin_telling(&topics, 1, named("a")));
    CHECK(dorrit_topics_end_telling(&topics, 1, named("a")));
    CHECK(dorrit_topics_catch_up(&topics, 1, named("a"), &missed) == &messages[0]);
    CHECK_EQUAL(missed, 11);
    CHECK_EQUAL(dorrit_topics_subscribe(&topics, 2, named("a"), true), DORRIT_TOPICS_DONE);
    /* What the first one has got is let go of while the second one waits: with small ones it never grows. */
    for (unsigned int round = 0; round < 100; round++) {
        CHECK(dorrit_topics_keep(&topics, topic, &messages[1], 1, at_most(55)));
        CHECK(dorrit_topics_catch_up(&topics, 1, named("a"), &missed) == &messages[1]);
        if (round == 50) {
            CHECK(dorrit_topics_unsubscribe(&topics, 2, named("a")));
        }
    }
    CHECK(topics.topics[topic - 1].backlog->capacity <= 64);
    dorrit_topics_leave(&topics, 1);
    CHECK_EQUAL(released, 112);
    /* What all topics keep is bounded as well: the one that is published to loses its oldest. */
    CHECK_EQUAL(dorrit_topics_subscribe(&topics, 1, named("a"), true), DORRIT_TOPICS_DONE);
    CHECK_EQUAL(dorrit_topics_subscribe(&topics, 1, named("b"), true), DORRIT_TOPICS_DONE);
    const uint32_t first = dorrit_topics_find(&topics, named("a"));
    const uint32_t second = dorrit_topics_find(&topics, named("b"));
    for (unsigned int index = 0; index < 3; index++) {
        CHECK(dorrit_topics_keep(&topics, first, &messages[index], 500, at_most(10000)));
    }
    CHECK_EQUAL(topics.kept, 1500);
    CHECK(dorrit_topics_keep(&topics, second, &messages[3], 500, at_most(10000)));
    CHECK(dorrit_topics_keep(&topics, second, &messages[4], 400, at_most(10000)));
    CHECK_EQUAL(topics.kept, 1900);
    CHECK(dorrit_topics_keep(&topics, second, &messages[5], 501, at_most(10000)));
    CHECK_EQUAL(topics.kept, 1500);
    dorrit_topics_leave(&topics, 1);
    CHECK_EQUAL(topics.kept, 0);
    CHECK_EQUAL(topics.length, 0);
    dorrit_topics_close(&topics);
}

static void must(bool condition)
{
    CHECK(condition);
}

static void whatever_is_done_is_as_a_table_would_have_it(void)
{
    uint32_t state = 20261201;
    uint8_t steps[2 * 600];
    for (int round = 0; round < 300; round++) {
        static const struct script none;
        struct script script = none;
        for (size_t index = 0; index < sizeof steps; index++) {
            state = state * 1664525 + 1013904223;
            steps[index] = (uint8_t)(state >> 24);
            /* In some rounds few leave, so that lists and tables get long. */
            if (index % 2 == 0 && round % 3 != 0 && (steps[index] & 15) == 3 && (state >> 20 & 15) != 0) {
                steps[index] &= 0xf0;
            }
        }
        trying(steps, sizeof steps);
        for (size_t index = 0; index + 1 < sizeof steps; index += 2) {
            script_step(&script, steps[index], steps[index + 1], must);
        }
        script_end(&script, must);
    }
}

int main(void)
{
    RUN(each_member_is_visited_in_the_order_of_coming);
    RUN(who_leaves_while_a_topic_is_visited_is_not_and_who_comes_neither);
    RUN(a_name_is_any_text_without_control_characters);
    RUN(subscriptions_take_what_is_promised);
    RUN(a_list_gets_smaller_when_most_have_left);
    RUN(who_waits_gets_what_was_published_meanwhile_when_he_has_been_told);
    RUN(what_is_too_much_goes_and_who_has_missed_it_is_told_how_many);
    RUN(whatever_is_done_is_as_a_table_would_have_it);
    return 0;
}
