#include "masking.h"

#include <string.h>

void dorrit_mask(uint8_t *out, const uint8_t *data, size_t length, const uint8_t key[4])
{
    uint64_t wide_key;
    memcpy(&wide_key, key, 4);
    memcpy((uint8_t *)&wide_key + 4, key, 4);

    /* Eight bytes at a time, through memcpy since neither side is aligned. The length is a multiple
     * of the key's, so each step begins with key[0]. Compilers make SIMD of this loop. */
    size_t index = 0;
    for (; length - index >= 8; index += 8) {
        uint64_t word;
        memcpy(&word, data + index, 8);
        word ^= wide_key;
        memcpy(out + index, &word, 8);
    }
    for (; index < length; index++) {
        out[index] = data[index] ^ key[index & 3];
    }
}
