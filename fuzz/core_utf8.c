/* Any bytes as text, whole, in two pieces and byte by byte, beside the reference (R5). The first
 * byte says where to cut the rest. */
#include "../tests/core/reference.h"
#include "utf8.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition) {
        abort();
    }
}

static enum reference_text state_of(bool possible, const struct dorrit_utf8 *state)
{
    if (!possible) {
        return REFERENCE_INVALID;
    }
    return dorrit_utf8_is_complete(state) ? REFERENCE_VALID : REFERENCE_CUT;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) {
        return 0;
    }
    const uint8_t *text = data + 1;
    const size_t length = size - 1;
    const size_t cut = data[0] < length ? data[0] : length;
    const enum reference_text expected = reference_text(text, length);
    require(dorrit_utf8_is_valid(text, length) == (expected == REFERENCE_VALID));

    struct dorrit_utf8 state = {0};
    bool possible = dorrit_utf8_feed(&state, text, cut);
    require(state_of(possible, &state) == reference_text(text, cut));
    possible = dorrit_utf8_feed(&state, text + cut, length - cut);
    require(state_of(possible, &state) == expected);

    state = (struct dorrit_utf8){0};
    possible = true;
    for (size_t index = 0; index < length && index < 64; index++) {
        possible = dorrit_utf8_feed(&state, text + index, 1);
        require(state_of(possible, &state) == reference_text(text, index + 1));
    }
    return 0;
}
