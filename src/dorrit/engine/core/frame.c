#include "frame.h"

#include <string.h>

static bool is_control(uint8_t opcode)
{
    /* RFC 6455 section 5.5: "Control frames are identified by opcodes where the most significant
     * bit of the opcode is 1." */
    return (opcode & 0x8u) != 0;
}

static bool is_reserved(uint8_t opcode)
{
    /* Both halves define three: 0x0 to 0x2 "non-control", 0x8 to 0xA "control". */
    return (opcode & 0x7u) > 0x2u;
}

/* Reads `count` bytes, most significant first ("network byte order"). */
static uint64_t read_length(const uint8_t *data, size_t count)
{
    uint64_t value = 0;
    for (size_t index = 0; index < count; index++) {
        value = value << 8 | data[index];
    }
    return value;
}

enum dorrit_frame_verdict dorrit_frame_header_decode(
    struct dorrit_frame_header *header, const uint8_t *data, size_t length, bool may_be_compressed)
{
    if (length < 1) {
        return DORRIT_FRAME_INCOMPLETE;
    }
    const uint8_t opcode = data[0] & 0x0Fu;
    const bool fin = (data[0] & 0x80u) != 0;
    const bool compressed = (data[0] & 0x40u) != 0;
    /* "RSV1, RSV2, RSV3: MUST be 0 unless an extension is negotiated that defines meanings for
     * non-zero values." RFC 7692 section 6 defines RSV1, and "An endpoint MUST NOT set the
     * "Per-Message Compressed" bit of control frames and non-first fragments of a data message." */
    if ((data[0] & 0x30u) != 0
        || (compressed
            && (!may_be_compressed || is_control(opcode)
                || opcode == DORRIT_OPCODE_CONTINUATION))) {
        return DORRIT_FRAME_RESERVED_BITS;
    }
    /* "If an unknown opcode is received, the receiving endpoint MUST _Fail the WebSocket
     * Connection_." */
    if (is_reserved(opcode)) {
        return DORRIT_FRAME_RESERVED_OPCODE;
    }
    /* Section 5.5: "All control frames MUST have a payload length of 125 bytes or less and MUST NOT
     * be fragmented." */
    if (is_control(opcode) && !fin) {
        return DORRIT_FRAME_CONTROL_FRAGMENTED;
    }
    if (length < 2) {
        return DORRIT_FRAME_INCOMPLETE;
    }
    /* Section 5.1: "The server MUST close the connection upon receiving a frame that is not
     * masked." */
    if ((data[1] & 0x80u) == 0) {
        return DORRIT_FRAME_NOT_MASKED;
    }
    const uint8_t short_length = data[1] & 0x7Fu;
    if (is_control(opcode) && short_length > DORRIT_CONTROL_PAYLOAD_MAX) {
        return DORRIT_FRAME_CONTROL_TOO_LONG;
    }

    size_t extended = 0;
    uint64_t payload_length = short_length;
    if (short_length > 125) { /* few are: the others pay for nothing of this */
        extended = short_length == 126 ? 2 : 8;
        const size_t available = length - 2 < extended ? length - 2 : extended;
        /* "the most significant bit MUST be 0" */
        if (extended == 8 && available > 0 && (data[2] & 0x80u) != 0) {
            return DORRIT_FRAME_LENGTH_TOO_LARGE;
        }
        /* "in all cases, the minimal number of bytes MUST be used to encode the length": of the
         * 64-bit form, six bytes of 0 already say that the other two would have done. */
        if (extended == 8 && available >= 6 && read_length(data + 2, 6) == 0) {
            return DORRIT_FRAME_LENGTH_NOT_MINIMAL;
        }
        if (available < extended) {
            return DORRIT_FRAME_INCOMPLETE;
        }
        payload_length = read_length(data + 2, extended);
        if (extended == 2 && payload_length < 126) {
            return DORRIT_FRAME_LENGTH_NOT_MINIMAL;
        }
    }

    const size_t header_length = 2 + extended + 4;
    if (length < header_length) {
        return DORRIT_FRAME_INCOMPLETE;
    }
    header->payload_length = payload_length;
    memcpy(header->masking_key, data + 2 + extended, sizeof header->masking_key);
    header->opcode = opcode;
    header->header_length = (uint8_t)header_length;
    header->fin = fin;
    header->compressed = compressed;
    return DORRIT_FRAME_OK;
}

size_t dorrit_frame_header_encode(
    uint8_t *out, bool fin, enum dorrit_opcode opcode, uint64_t payload_length)
{
    out[0] = (uint8_t)((fin ? 0x80u : 0u) | (unsigned)opcode);
    size_t extended = 0;
    if (payload_length <= 125) {
        out[1] = (uint8_t)payload_length;
    } else if (payload_length <= 0xFFFFu) {
        out[1] = 126;
        extended = 2;
    } else {
        out[1] = 127;
        extended = 8;
    }
    for (size_t index = 0; index < extended; index++) {
        out[2 + index] = (uint8_t)(payload_length >> (8 * (extended - 1 - index)));
    }
    return 2 + extended;
}

bool dorrit_close_code_is_valid(uint16_t code)
{
    /* Section 7.4.1 reserves 1004; 1005, 1006 and 1015 "MUST NOT be set as a status code in a Close
     * control frame by an endpoint". 1012 to 1014 were registered later. Section 7.4.2: 0-999 "are
     * not used", 1000-2999 "are reserved for definition by this protocol", 3000-4999 are free. */
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014)
        || (code >= 3000 && code <= 4999);
}
