/* The rules once more, in the plainest way: what the core is compared with.
 *
 * Written from the RFCs, not from the core, and slow on purpose.
 */
#ifndef DORRIT_TESTS_REFERENCE_H
#define DORRIT_TESTS_REFERENCE_H

#include "frame.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How many bytes of the frame's header must be there for its verdict to be known. */
struct reference_frame {
    enum dorrit_frame_verdict verdict; /* never DORRIT_FRAME_INCOMPLETE */
    size_t known_after;
    uint64_t payload_length; /* of a right one */
};

/* The verdict on a whole header: `data` has DORRIT_FRAME_HEADER_MAX bytes, needed or not. `deflate`:
 * whether a message may be compressed. */
static inline struct reference_frame reference_frame(const uint8_t *data, bool deflate)
{
    const unsigned fin = data[0] >> 7;
    const unsigned reserved = data[0] >> 4 & 7;
    const unsigned opcode = data[0] % 16;
    const unsigned masked = data[1] >> 7;
    const unsigned short_length = data[1] % 128;
    const bool control = opcode == 8 || opcode == 9 || opcode == 10;

    /* With the extension, RSV1 says something of a data frame, be its opcode defined or not; not of
     * a continuation. */
    const bool defined = deflate && reserved == 4 && opcode >= 1 && opcode <= 7;

    if (reserved != 0 && !defined) {
        return (struct reference_frame){DORRIT_FRAME_RESERVED_BITS, 1, 0};
    }
    if (!control && opcode != 0 && opcode != 1 && opcode != 2) {
        return (struct reference_frame){DORRIT_FRAME_RESERVED_OPCODE, 1, 0};
    }
    if (control && fin == 0) {
        return (struct reference_frame){DORRIT_FRAME_CONTROL_FRAGMENTED, 1, 0};
    }
    if (masked == 0) {
        return (struct reference_frame){DORRIT_FRAME_NOT_MASKED, 2, 0};
    }
    if (control && short_length > 125) {
        return (struct reference_frame){DORRIT_FRAME_CONTROL_TOO_LONG, 2, 0};
    }
    if (short_length < 126) {
        return (struct reference_frame){DORRIT_FRAME_OK, 6, short_length};
    }
    if (short_length == 126) {
        const uint64_t length = data[2] * UINT64_C(256) + data[3];
        if (length < 126) {
            return (struct reference_frame){DORRIT_FRAME_LENGTH_NOT_MINIMAL, 4, 0};
        }
        return (struct reference_frame){DORRIT_FRAME_OK, 8, length};
    }
    uint64_t length = 0;
    for (size_t index = 2; index < 10; index++) {
        length = length * 256 + data[index];
    }
    if (length >= UINT64_C(9223372036854775808)) {
        return (struct reference_frame){DORRIT_FRAME_LENGTH_TOO_LARGE, 3, 0};
    }
    if (length < 65536) {
        return (struct reference_frame){DORRIT_FRAME_LENGTH_NOT_MINIMAL, 8, 0};
    }
    return (struct reference_frame){DORRIT_FRAME_OK, 14, length};
}

static inline void reference_mask(
    uint8_t *out, const uint8_t *data, size_t length, const uint8_t key[4])
{
    for (size_t index = 0; index < length; index++) {
        out[index] = (uint8_t)(data[index] ^ key[index % 4]);
    }
}

enum reference_text {
    REFERENCE_VALID,
    REFERENCE_CUT, /* valid so far, in the middle of a character */
    REFERENCE_INVALID
};

/* Decodes to numbers and looks at those, as RFC 3629 section 3 tells it. */
static inline enum reference_text reference_text(const uint8_t *data, size_t length)
{
    static const uint32_t smallest[5] = {0, 0, 0x80, 0x800, 0x10000};
    size_t index = 0;
    while (index < length) {
        const uint8_t lead = data[index];
        const size_t width = lead < 0x80 ? 1
            : lead < 0xC0                ? 0
            : lead < 0xE0                ? 2
            : lead < 0xF0                ? 3
            : lead < 0xF8                ? 4
                                         : 0;
        if (width == 0) {
            return REFERENCE_INVALID;
        }
        uint32_t number = width == 1 ? lead : lead & (0x7Fu >> width);
        /* The lowest and the highest number that a cut character may still become. */
        uint32_t lowest = number;
        uint32_t highest = number;
        const size_t there = length - index < width ? length - index : width;
        for (size_t tail = 1; tail < width; tail++) {
            if (tail < there && data[index + tail] / 64 != 2) {
                return REFERENCE_INVALID;
            }
            lowest = lowest * 64 + (tail < there ? data[index + tail] % 64u : 0);
            highest = highest * 64 + (tail < there ? data[index + tail] % 64u : 63);
        }
        if (highest < smallest[width] || lowest > 0x10FFFF
            || (lowest >= 0xD800 && highest <= 0xDFFF)) {
            return REFERENCE_INVALID;
        }
        if (there < width) {
            return REFERENCE_CUT;
        }
        index += width;
    }
    return REFERENCE_VALID;
}

#endif
