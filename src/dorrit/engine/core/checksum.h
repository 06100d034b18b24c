/* A checksum that damage does not survive: 32 bits of a multiplying hash, some 10 GB in a second. It
 * keeps nobody from writing what it fits. */
#ifndef DORRIT_CHECKSUM_H
#define DORRIT_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* Returns the checksum of bytes[0 .. length). Other `seed`s make others of the same bytes, so that
 * something that is right in one place is wrong in another. */
uint32_t dorrit_checksum(uint64_t seed, const uint8_t *bytes, size_t length);

#endif
