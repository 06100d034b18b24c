#include "utf8.h"

#include <string.h>

/* The number of leading bytes below 0x80, found 32, then 8, then 1 at a time. */
static size_t ascii_prefix(const uint8_t *data, size_t length)
{
    const uint64_t high_bits = UINT64_C(0x8080808080808080);
    size_t index = 0;
    for (; length - index >= 32; index += 32) {
        uint64_t words[4];
        memcpy(words, data + index, 32);
        if (((words[0] | words[1] | words[2] | words[3]) & high_bits) != 0) {
            break;
        }
    }
    for (; length - index >= 8; index += 8) {
        uint64_t word;
        memcpy(&word, data + index, 8);
        if ((word & high_bits) != 0) {
            break;
        }
    }
    while (index < length && data[index] < 0x80) {
        index++;
    }
    return index;
}

/* Begins a character of several bytes. RFC 3629 section 4:
 *
 *   UTF8-2 = %xC2-DF UTF8-tail
 *   UTF8-3 = %xE0 %xA0-BF UTF8-tail / %xE1-EC 2( UTF8-tail ) /
 *            %xED %x80-9F UTF8-tail / %xEE-EF 2( UTF8-tail )
 *   UTF8-4 = %xF0 %x90-BF 2( UTF8-tail ) / %xF1-F3 3( UTF8-tail ) /
 *            %xF4 %x80-8F 2( UTF8-tail )
 *   UTF8-tail = %x80-BF
 */
static bool begin_character(struct dorrit_utf8 *state, uint8_t lead)
{
    state->lowest = 0x80;
    state->highest = 0xBF;
    if (lead >= 0xC2 && lead <= 0xDF) {
        state->missing = 1;
    } else if (lead >= 0xE0 && lead <= 0xEF) {
        state->missing = 2;
        if (lead == 0xE0) {
            state->lowest = 0xA0; /* shorter forms exist */
        } else if (lead == 0xED) {
            state->highest = 0x9F; /* surrogates, U+D800 to U+DFFF */
        }
    } else if (lead >= 0xF0 && lead <= 0xF4) {
        state->missing = 3;
        if (lead == 0xF0) {
            state->lowest = 0x90; /* shorter forms exist */
        } else if (lead == 0xF4) {
            state->highest = 0x8F; /* beyond U+10FFFF */
        }
    } else {
        return false;
    }
    return true;
}

bool dorrit_utf8_feed(struct dorrit_utf8 *state, const uint8_t *data, size_t length)
{
    size_t index = 0;
    while (index < length) {
        if (state->missing == 0) {
            index += ascii_prefix(data + index, length - index);
            if (index == length) {
                break;
            }
            if (!begin_character(state, data[index])) {
                return false;
            }
            index++;
        } else {
            if (data[index] < state->lowest || data[index] > state->highest) {
                return false;
            }
            state->lowest = 0x80;
            state->highest = 0xBF;
            state->missing--;
            index++;
        }
    }
    return true;
}

bool dorrit_utf8_is_complete(const struct dorrit_utf8 *state)
{
    return state->missing == 0;
}

bool dorrit_utf8_is_valid(const uint8_t *data, size_t length)
{
    struct dorrit_utf8 state = {0, 0, 0};
    return dorrit_utf8_feed(&state, data, length) && dorrit_utf8_is_complete(&state);
}
