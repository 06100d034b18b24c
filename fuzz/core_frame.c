/* Any bytes as a frame's header, and as a payload to unmask, beside the reference (R5). */
#include "../tests/core/reference.h"
#include "frame.h"
#include "masking.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A trap that the fuzzer and the sanitizers report with the stack. */
static void require(bool condition)
{
    if (!condition) {
        abort();
    }
}

/* For an input that is shorter than a header, the rest is made up: once of zeros, once of ones.
 * What can be known of the input must not depend on it. */
static void judge(const uint8_t *data, size_t size, int rest, bool deflate)
{
    uint8_t whole[DORRIT_FRAME_HEADER_MAX];
    memset(whole, rest, sizeof whole);
    if (size > 0) {
        memcpy(whole, data, size < sizeof whole ? size : sizeof whole);
    }
    const struct reference_frame expected = reference_frame(whole, deflate);
    for (size_t length = 0; length <= size && length <= sizeof whole; length++) {
        struct dorrit_frame_header header;
        const enum dorrit_frame_verdict verdict
            = dorrit_frame_header_decode(&header, data, length, deflate);
        if (length < expected.known_after) {
            require(verdict == DORRIT_FRAME_INCOMPLETE);
            continue;
        }
        require(verdict == expected.verdict);
        if (verdict != DORRIT_FRAME_OK) {
            continue;
        }
        require(header.header_length == expected.known_after);
        require(header.payload_length == expected.payload_length);
        require(header.opcode == whole[0] % 16 && header.fin == (whole[0] >= 128));
        require(memcmp(header.masking_key, whole + expected.known_after - 4, 4) == 0);
        /* A right header is the only form of what it says. */
        uint8_t again[DORRIT_FRAME_SERVER_HEADER_MAX];
        const size_t written = dorrit_frame_header_encode(
            again, header.fin, (enum dorrit_opcode)header.opcode, header.payload_length);
        require(written + 4 == header.header_length);
        again[1] |= 0x80;
        again[0] |= header.compressed ? 0x40 : 0;
        require(memcmp(again, whole, written) == 0);
    }
}

static void unmask(const uint8_t *data, size_t size)
{
    if (size < 4) {
        return;
    }
    const size_t length = size - 4;
    uint8_t *found = malloc(length + 1);
    uint8_t *expected = malloc(length + 1);
    require(found != NULL && expected != NULL);
    reference_mask(expected, data + 4, length, data);
    dorrit_mask(found, data + 4, length, data);
    require(memcmp(found, expected, length) == 0);
    dorrit_mask(found, found, length, data);
    require(memcmp(found, data + 4, length) == 0);
    free(found);
    free(expected);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    judge(data, size, 0x00, false);
    judge(data, size, 0xFF, false);
    judge(data, size, 0x00, true);
    judge(data, size, 0xFF, true);
    unmask(data, size);
    if (size >= 2) {
        const uint16_t code = (uint16_t)(data[0] << 8 | data[1]);
        const bool valid = dorrit_close_code_is_valid(code);
        require(valid || code < 3000 || code > 4999);
        require(!valid || (code >= 1000 && code <= 4999));
    }
    return 0;
}
