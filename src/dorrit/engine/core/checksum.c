#include "checksum.h"

#include <string.h>

/* Any odd numbers without a pattern: digits of pi. */
#define FIRST UINT64_C(0x243f6a8885a308d3)
#define SECOND UINT64_C(0x13198a2e03707345)

/* Both halves of a product depend on all bits of both factors. */
static uint64_t mixed(uint64_t one, uint64_t other)
{
    const unsigned __int128 product = (unsigned __int128)one * other;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t word_at(const uint8_t *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

uint32_t dorrit_checksum(uint64_t seed, const uint8_t *bytes, size_t length)
{
    uint64_t state = seed ^ SECOND;
    size_t done = 0;
    for (; length - done >= 16; done += 16) {
        state = mixed(word_at(bytes + done) ^ FIRST, word_at(bytes + done + 8) ^ state);
    }
    uint8_t last[16] = {0};
    if (done < length) {
        memcpy(last, bytes + done, length - done);
    }
    state = mixed(word_at(last) ^ FIRST, word_at(last + 8) ^ state);
    /* The length: zeros at the end are not the same as none. */
    state = mixed(state ^ SECOND, (uint64_t)length ^ FIRST);
    return (uint32_t)(state ^ (state >> 32));
}
