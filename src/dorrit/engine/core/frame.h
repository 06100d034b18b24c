/* The frame header of RFC 6455 section 5.2: bytes in, values out, and back.
 *
 * Nothing here allocates, keeps state or knows Python. Every length is unsigned.
 */
#ifndef DORRIT_FRAME_H
#define DORRIT_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* RFC 6455 section 5.2, "Opcode". */
enum dorrit_opcode {
    DORRIT_OPCODE_CONTINUATION = 0x0,
    DORRIT_OPCODE_TEXT = 0x1,
    DORRIT_OPCODE_BINARY = 0x2,
    DORRIT_OPCODE_CLOSE = 0x8,
    DORRIT_OPCODE_PING = 0x9,
    DORRIT_OPCODE_PONG = 0xA
};

/* What dorrit_frame_header_decode() found. */
enum dorrit_frame_verdict {
    DORRIT_FRAME_OK = 0,
    DORRIT_FRAME_INCOMPLETE,          /* all that is there is right; more bytes are needed */
    DORRIT_FRAME_RESERVED_BITS,       /* RSV1, RSV2 or RSV3 is set where no extension defines it */
    DORRIT_FRAME_RESERVED_OPCODE,     /* 0x3 to 0x7 or 0xB to 0xF */
    DORRIT_FRAME_CONTROL_FRAGMENTED,  /* a control frame with FIN clear */
    DORRIT_FRAME_CONTROL_TOO_LONG,    /* a control frame with a payload of over 125 bytes */
    DORRIT_FRAME_NOT_MASKED,          /* a frame of a client with MASK clear */
    DORRIT_FRAME_LENGTH_NOT_MINIMAL,  /* a length that a shorter form could have held */
    DORRIT_FRAME_LENGTH_TOO_LARGE     /* a 64-bit length with its most significant bit set */
};

enum {
    DORRIT_FRAME_HEADER_MAX = 14,        /* 2 + 8 bytes of length + 4 of masking key */
    DORRIT_FRAME_SERVER_HEADER_MAX = 10, /* a server does not mask */
    DORRIT_CONTROL_PAYLOAD_MAX = 125
};

struct dorrit_frame_header {
    uint64_t payload_length;
    uint8_t masking_key[4];
    uint8_t opcode;
    uint8_t header_length; /* 6 to 14 bytes, the masking key included */
    bool fin;
    bool compressed; /* RSV1: the message that begins here is compressed (RFC 7692) */
};

/* Reads the header of a client's frame from data[0 .. length). `may_be_compressed`: the extension
 * permessage-deflate has been negotiated.
 *
 * It fails on the first byte that can't be right, without waiting for the rest of the header, so
 * that the verdict does not depend on how the bytes were cut. `header` is valid after
 * DORRIT_FRAME_OK only. `data` is borrowed for the call.
 */
enum dorrit_frame_verdict dorrit_frame_header_decode(
    struct dorrit_frame_header *header, const uint8_t *data, size_t length, bool may_be_compressed);

/* Writes the header of a server's frame (never masked) in its shortest form and returns its length,
 * 2 to 10 bytes. `out` has room for DORRIT_FRAME_SERVER_HEADER_MAX bytes; `payload_length` is below
 * 2^63.
 */
size_t dorrit_frame_header_encode(
    uint8_t *out, bool fin, enum dorrit_opcode opcode, uint64_t payload_length);

/* Whether a close frame of a client may carry this code (RFC 6455 section 7.4 and IANA's
 * registry). */
bool dorrit_close_code_is_valid(uint16_t code);

#endif
