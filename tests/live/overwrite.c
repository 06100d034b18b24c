/* Overwrites places of this process's memory, and faults before anything else can happen. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { AREAS_MAX = 4096 };

struct area {
    uint8_t *begin;
    size_t length;
};

/* Not in the heap: what is there is overwritten. */
static struct area areas[AREAS_MAX];
static size_t count;
static uint64_t chance;

static size_t random_number(size_t below)
{
    chance ^= chance << 13; /* G. Marsaglia, Xorshift RNGs, 2003 */
    chance ^= chance >> 7;
    chance ^= chance << 17;
    return (size_t)((chance >> 11) % below);
}

/* A place in one of the areas, with at least `length` bytes up to its end. */
static uint8_t *some_place(size_t length)
{
    const struct area *const area = &areas[random_number(count)];
    return area->begin + random_number(area->length - length + 1);
}

static void overwrite(size_t longest)
{
    enum { RANDOM, ZEROS, ONES, COPIED, KINDS };
    const size_t length = 1 + random_number(longest);
    uint8_t *const place = some_place(length);
    switch (random_number(KINDS)) {
    case RANDOM:
        for (size_t index = 0; index < length; index++) {
            place[index] = (uint8_t)random_number(256);
        }
        break;
    case ZEROS: memset(place, 0, length); break;
    case ONES: memset(place, 0xFF, length); break;
    default: memmove(place, some_place(length), length); break;
    }
}

/* Does not return. None of the areas is shorter than `longest`, the bytes of a place at the most. */
void overwrite_and_fault(
    const struct area *given, size_t given_count, size_t places, size_t longest, uint64_t seed)
{
    count = given_count < AREAS_MAX ? given_count : AREAS_MAX;
    memcpy(areas, given, count * sizeof *areas);
    chance = seed * UINT64_C(0x9e3779b97f4a7c15) + 1; /* which is not 0 for small numbers */
    for (; places > 0; places--) {
        overwrite(longest);
    }
    if (seed % 2 == 0) {
        abort();
    }
    *(volatile int *)NULL = 0;
}
