/* Masking, RFC 6455 section 5.3. */
#ifndef DORRIT_MASKING_H
#define DORRIT_MASKING_H

#include <stddef.h>
#include <stdint.h>

/* Writes data[i] XOR key[i MOD 4] to out[i] for each i < length.
 *
 * Masking and unmasking are the same. `out` may be `data` itself (in place); otherwise the two must
 * not overlap. Neither needs an alignment.
 */
void dorrit_mask(uint8_t *out, const uint8_t *data, size_t length, const uint8_t key[4]);

#endif
