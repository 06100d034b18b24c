/* UTF-8 validation, RFC 3629, in pieces: a message may be checked as it arrives. */
#ifndef DORRIT_UTF8_H
#define DORRIT_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where in a character the bytes seen so far end. Zero-initialised: between two characters. */
struct dorrit_utf8 {
    uint8_t missing; /* continuation bytes that the current character still lacks, 0 to 3 */
    uint8_t lowest;  /* the range that the next of them must lie in, if any is missing */
    uint8_t highest;
};

/* Takes the next piece of a text. Returns false as soon as no continuation could make it valid; then
 * `state` must not be used again. `data` is borrowed for the call.
 */
bool dorrit_utf8_feed(struct dorrit_utf8 *state, const uint8_t *data, size_t length);

/* Whether the text may end here. */
bool dorrit_utf8_is_complete(const struct dorrit_utf8 *state);

/* Whether data[0 .. length) is valid UTF-8 as a whole. */
bool dorrit_utf8_is_valid(const uint8_t *data, size_t length);

#endif
