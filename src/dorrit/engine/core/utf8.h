/* UTF-8 validation, RFC 3629, in pieces: a message may be checked as it arrives. */
#ifndef DORRIT_UTF8_H
#define DORRIT_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where in a character the bytes seen so far end. Zero-initialised: between two characters. */
struct dorrit_utf8 {
    uint8_t position;
};

/* Takes the next piece of a text. Returns false if no continuation could make the text valid;
 * then it does so for every later piece too. `data` is borrowed for the call.
 */
bool dorrit_utf8_feed(struct dorrit_utf8 *state, const uint8_t *data, size_t length);

/* Whether the text may end here. */
bool dorrit_utf8_is_complete(const struct dorrit_utf8 *state);

/* Whether data[0 .. length) is valid UTF-8 as a whole. */
bool dorrit_utf8_is_valid(const uint8_t *data, size_t length);

#endif
