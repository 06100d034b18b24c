/* Who subscribes to what in the benchmark of topics, in C and in C++ alike.
 *
 * A program is called with the numbers of members, of topics, and of topics that each member has. It prints one
 * line: bytes for each subscription, then nanoseconds to subscribe, to unsubscribe in any order, and to visit.
 */
#ifndef BENCHMARK_CROWD_H
#define BENCHMARK_CROWD_H

#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct pair {
    uint32_t member, topic;
};

struct crowd {
    uint32_t members, topics;
    size_t length;
    struct pair *pairs; /* as they subscribe: one member after the other */
    char (*names)[16];
};

static inline double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static inline size_t bytes_in_use(void)
{
    const struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static inline uint32_t any(uint32_t most)
{
    static uint64_t state = 20261201;
    state = state * UINT64_C(6364136223846793005) + 1;
    return (uint32_t)((state >> 32) % most);
}

static inline struct crowd crowd_of(char **arguments)
{
    struct crowd crowd;
    crowd.members = (uint32_t)strtoul(arguments[1], NULL, 10);
    crowd.topics = (uint32_t)strtoul(arguments[2], NULL, 10);
    const uint32_t each = (uint32_t)strtoul(arguments[3], NULL, 10);
    crowd.length = (size_t)crowd.members * each;
    crowd.pairs = (struct pair *)malloc(crowd.length * sizeof *crowd.pairs);
    crowd.names = (char(*)[16])malloc((size_t)crowd.topics * sizeof *crowd.names);
    if (crowd.pairs == NULL || crowd.names == NULL) {
        exit(1);
    }
    for (uint32_t topic = 0; topic < crowd.topics; topic++) {
        (void)snprintf(crowd.names[topic], sizeof crowd.names[topic], "room:%u", (unsigned int)topic);
    }
    size_t index = 0;
    for (uint32_t member = 0; member < crowd.members; member++) {
        const uint32_t first = each == 1 ? member % crowd.topics : any(crowd.topics);
        for (uint32_t number = 0; number < each; number++, index++) {
            crowd.pairs[index].member = member;
            crowd.pairs[index].topic = (first + number * 7919) % crowd.topics;
        }
    }
    return crowd;
}

/* Puts the pairs into any order. */
static inline void shuffle(struct crowd *crowd)
{
    for (size_t index = crowd->length; index > 1; index--) {
        const size_t other = any((uint32_t)index);
        const struct pair pair = crowd->pairs[index - 1];
        crowd->pairs[index - 1] = crowd->pairs[other];
        crowd->pairs[other] = pair;
    }
}

static inline void print_figures(
    const struct crowd *crowd, size_t bytes, double subscribe, double visit, double unsubscribe)
{
    const double count = (double)crowd->length;
    printf("%.1f %.1f %.1f %.1f\n", (double)bytes / count, subscribe * 1e9 / count,
        unsubscribe * 1e9 / count, visit * 1e9 / count);
}

#endif
