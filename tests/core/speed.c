/* How fast the loops over bytes are, in GB/s; the best of several rounds.
 *
 * Usage: speed [MEGABYTES], how many each round works through (default 100).
 */
#include "masking.h"
#include "utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 7, ROOM = 1 << 17 };

static uint8_t data[ROOM];
static volatile size_t length_now; /* what the compiler may not foresee */
static volatile bool result;

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void mask(void)
{
    static const uint8_t key[4] = {0x37, 0xFA, 0x21, 0x3D};
    dorrit_mask(data + 3, data + 3, length_now, key);
    result = data[3] != 0;
}

static void validate(void)
{
    result = dorrit_utf8_is_valid(data, length_now);
}

static void measure(const char *what, void (*function)(void), size_t length, size_t amount)
{
    const size_t turns = amount / (length + 1) + 1;
    double best = 0;
    length_now = length;
    for (int round = 0; round < ROUNDS; round++) {
        const double begin = seconds();
        for (size_t turn = 0; turn < turns; turn++) {
            function();
        }
        const double rate = (double)turns * (double)length / (seconds() - begin) / 1e9;
        best = rate > best ? rate : best;
    }
    printf("%-20s %6zu bytes %7.2f GB/s\n", what, length, best);
}

int main(int count, char **arguments)
{
    static const size_t lengths[] = {16, 64, 1024, 65536};
    static const struct {
        const char *name;
        const char *sample;
    } texts[] = {
        {"text, ASCII", "The quick brown fox jumps over the lazy dog. "},
        {"text, French", "Voilà l'été où le garçon était fâché. "},
        {"text, Russian", "Съешь же ещё этих мягких французских булок. "},
        {"text, Japanese", "色は匂へど散りぬるを我が世誰ぞ常ならむ"},
        {"text, emoji", "hi 😀 there 🎉 “quoted” — "},
    };
    const size_t amount = strtoul(count > 1 ? arguments[1] : "100", NULL, 10) * 1000000;
    for (size_t index = 0; index < sizeof lengths / sizeof *lengths; index++) {
        measure("unmask in place", mask, lengths[index], amount);
    }
    for (size_t text = 0; text < sizeof texts / sizeof *texts; text++) {
        const size_t step = strlen(texts[text].sample);
        for (size_t index = 1; index < sizeof lengths / sizeof *lengths; index++) {
            size_t length = 0;
            for (; length + step <= lengths[index] || length == 0; length += step) {
                memcpy(data + length, texts[text].sample, step);
            }
            measure(texts[text].name, validate, length, amount / 4);
            if (!result) {
                fprintf(stderr, "%s: not valid\n", texts[text].name);
                return 1;
            }
        }
    }
    return 0;
}
