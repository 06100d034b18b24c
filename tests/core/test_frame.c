/* The frame header, RFC 6455 section 5.2 (R5). */
#include "check.h"
#include "frame.h"
#include "reference.h"

#include <string.h>

/* The verdict whole, byte by byte, with bytes behind: always the one of the reference, from the
 * first byte at which it can be known and not before. */
static void decode_every_cut(const uint8_t data[DORRIT_FRAME_HEADER_MAX], bool deflate)
{
    trying(data, DORRIT_FRAME_HEADER_MAX);
    const struct reference_frame expected = reference_frame(data, deflate);
    for (size_t length = 0; length <= DORRIT_FRAME_HEADER_MAX; length++) {
        /* Exactly as large as the input, so that the sanitizer sees a read behind it. */
        uint8_t *piece = malloc(length == 0 ? 1 : length);
        CHECK(piece != NULL);
        memcpy(piece, data, length);
        struct dorrit_frame_header header;
        const enum dorrit_frame_verdict verdict
            = dorrit_frame_header_decode(&header, length == 0 ? NULL : piece, length, deflate);
        free(piece);
        if (length < expected.known_after) {
            CHECK_EQUAL(verdict, DORRIT_FRAME_INCOMPLETE);
            continue;
        }
        CHECK_EQUAL(verdict, expected.verdict);
        if (verdict == DORRIT_FRAME_OK) {
            CHECK_EQUAL(header.header_length, expected.known_after);
            CHECK_EQUAL(header.payload_length, expected.payload_length);
            CHECK_EQUAL(header.opcode, data[0] % 16);
            CHECK_EQUAL(header.fin, data[0] / 128);
            CHECK_EQUAL(header.compressed, data[0] / 64 % 2);
            CHECK(memcmp(header.masking_key, data + expected.known_after - 4, 4) == 0);
        }
    }
}

/* Also with the extension negotiated that defines RSV1 (RFC 7692). */
static void decode_every_way(const uint8_t data[DORRIT_FRAME_HEADER_MAX])
{
    decode_every_cut(data, false);
    decode_every_cut(data, true);
}

static void every_first_two_bytes(void)
{
    /* What follows them: lengths at both ends of what each form may hold, and nonsense. */
    static const uint8_t rests[][12] = {
        {0},
        {0, 125, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5},
        {0, 126, 0xA1, 0xA2, 0xA3, 0xA4},
        {0xFF, 0xFF, 0xA1, 0xA2, 0xA3, 0xA4},
        {0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0xA1, 0xA2, 0xA3, 0xA4},
        {0, 0, 0, 0, 0, 1, 0, 0, 0xA1, 0xA2, 0xA3, 0xA4},
        {0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xA1, 0xA2, 0xA3, 0xA4},
        {0x80, 0, 0, 0, 0, 0, 0, 0, 0xA1, 0xA2, 0xA3, 0xA4},
        {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF},
    };
    uint8_t data[DORRIT_FRAME_HEADER_MAX];
    for (unsigned start = 0; start <= 0xFFFF; start++) {
        for (size_t rest = 0; rest < sizeof rests / sizeof *rests; rest++) {
            data[0] = (uint8_t)(start >> 8);
            data[1] = (uint8_t)start;
            memcpy(data + 2, rests[rest], 12);
            decode_every_way(data);
        }
    }
}

static void every_16_bit_length(void)
{
    for (unsigned length = 0; length <= 0xFFFF; length++) {
        const uint8_t data[DORRIT_FRAME_HEADER_MAX]
            = {0x82, 0xFE, (uint8_t)(length >> 8), (uint8_t)length, 1, 2, 3, 4};
        decode_every_way(data);
    }
}

static void every_bit_of_a_64_bit_length(void)
{
    for (unsigned bit = 0; bit < 64; bit++) {
        for (int around = -1; around <= 1; around++) {
            const uint64_t length = (UINT64_C(1) << bit) + (uint64_t)(int64_t)around;
            uint8_t data[DORRIT_FRAME_HEADER_MAX] = {0x82, 0xFF};
            for (unsigned index = 0; index < 8; index++) {
                data[2 + index] = (uint8_t)(length >> (56 - 8 * index));
            }
            decode_every_way(data);
        }
    }
}

/* The verdicts by hand, so that the core and the reference can't be wrong together. */
static void each_verdict(void)
{
    static const struct {
        uint8_t data[DORRIT_FRAME_HEADER_MAX];
        size_t length;
        enum dorrit_frame_verdict verdict;
    } cases[] = {
        {{0x81, 0x85, 1, 2, 3, 4}, 6, DORRIT_FRAME_OK},
        {{0x01, 0x80, 1, 2, 3, 4}, 6, DORRIT_FRAME_OK},
        {{0x80, 0xFE, 0, 126, 1, 2, 3, 4}, 8, DORRIT_FRAME_OK},
        {{0x82, 0xFE, 0xFF, 0xFF, 1, 2, 3, 4}, 8, DORRIT_FRAME_OK},
        {{0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4}, 14, DORRIT_FRAME_OK},
        {{0x82, 0xFF, 0x7F, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4}, 14, DORRIT_FRAME_OK},
        {{0x88, 0x80, 1, 2, 3, 4}, 6, DORRIT_FRAME_OK},
        {{0x89, 0xFD, 1, 2, 3, 4}, 6, DORRIT_FRAME_OK},
        {{0x8A, 0xFD, 1, 2, 3, 4}, 6, DORRIT_FRAME_OK},
        {{0}, 0, DORRIT_FRAME_INCOMPLETE},
        {{0x81}, 1, DORRIT_FRAME_INCOMPLETE},
        {{0x81, 0x85, 1, 2, 3}, 5, DORRIT_FRAME_INCOMPLETE},
        {{0x81, 0xFE, 0}, 3, DORRIT_FRAME_INCOMPLETE},
        {{0x81, 0xFF, 0, 0, 0, 0, 0}, 7, DORRIT_FRAME_INCOMPLETE},
        {{0xC1}, 1, DORRIT_FRAME_RESERVED_BITS},
        {{0xA1}, 1, DORRIT_FRAME_RESERVED_BITS},
        {{0x91}, 1, DORRIT_FRAME_RESERVED_BITS},
        {{0x83}, 1, DORRIT_FRAME_RESERVED_OPCODE},
        {{0x87}, 1, DORRIT_FRAME_RESERVED_OPCODE},
        {{0x8B}, 1, DORRIT_FRAME_RESERVED_OPCODE},
        {{0x8F}, 1, DORRIT_FRAME_RESERVED_OPCODE},
        {{0x08}, 1, DORRIT_FRAME_CONTROL_FRAGMENTED},
        {{0x09}, 1, DORRIT_FRAME_CONTROL_FRAGMENTED},
        {{0x0A}, 1, DORRIT_FRAME_CONTROL_FRAGMENTED},
        {{0x81, 0x05}, 2, DORRIT_FRAME_NOT_MASKED},
        {{0x81, 0x00}, 2, DORRIT_FRAME_NOT_MASKED},
        {{0x89, 0xFE}, 2, DORRIT_FRAME_CONTROL_TOO_LONG},
        {{0x88, 0xFF}, 2, DORRIT_FRAME_CONTROL_TOO_LONG},
        {{0x82, 0xFE, 0, 125}, 4, DORRIT_FRAME_LENGTH_NOT_MINIMAL},
        {{0x82, 0xFF, 0, 0, 0, 0, 0, 0}, 8, DORRIT_FRAME_LENGTH_NOT_MINIMAL},
        {{0x82, 0xFF, 0, 0, 0, 0, 0, 0, 255, 255}, 10, DORRIT_FRAME_LENGTH_NOT_MINIMAL},
        {{0x82, 0xFF, 0x80}, 3, DORRIT_FRAME_LENGTH_TOO_LARGE},
    };
    for (size_t index = 0; index < sizeof cases / sizeof *cases; index++) {
        struct dorrit_frame_header header;
        trying(cases[index].data, cases[index].length);
        CHECK_EQUAL(
            dorrit_frame_header_decode(&header, cases[index].data, cases[index].length, false),
            cases[index].verdict);
    }
}

static void headers_at_every_alignment(void)
{
    static const uint8_t frame[] = {0x82, 0xFF, 0, 0, 0, 1, 2, 3, 4, 5, 0xA1, 0xA2, 0xA3, 0xA4};
    for (size_t offset = 0; offset < 16; offset++) {
        uint8_t data[32] = {0};
        memcpy(data + offset, frame, sizeof frame);
        struct dorrit_frame_header header;
        CHECK_EQUAL(
            dorrit_frame_header_decode(&header, data + offset, sizeof frame, false), DORRIT_FRAME_OK);
        CHECK_EQUAL(header.payload_length, 0x0102030405);
    }
}

static void encoding_takes_the_shortest_form(void)
{
    static const struct {
        uint64_t length;
        size_t written;
        uint8_t bytes[DORRIT_FRAME_SERVER_HEADER_MAX];
    } cases[] = {
        {0, 2, {0x82, 0}},
        {1, 2, {0x82, 1}},
        {125, 2, {0x82, 125}},
        {126, 4, {0x82, 126, 0, 126}},
        {65535, 4, {0x82, 126, 0xFF, 0xFF}},
        {65536, 10, {0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0}},
        {INT64_MAX, 10, {0x82, 127, 0x7F, 255, 255, 255, 255, 255, 255, 255}},
    };
    for (size_t index = 0; index < sizeof cases / sizeof *cases; index++) {
        uint8_t out[DORRIT_FRAME_SERVER_HEADER_MAX];
        trying(cases[index].bytes, cases[index].written);
        CHECK_EQUAL(
            dorrit_frame_header_encode(out, true, DORRIT_OPCODE_BINARY, cases[index].length),
            cases[index].written);
        CHECK(memcmp(out, cases[index].bytes, cases[index].written) == 0);
    }
}

/* A server's header with the mask bit set and a key behind it is a client's. */
static void what_is_encoded_is_decoded(void)
{
    static const enum dorrit_opcode opcodes[] = {
        DORRIT_OPCODE_CONTINUATION, DORRIT_OPCODE_TEXT, DORRIT_OPCODE_BINARY,
        DORRIT_OPCODE_CLOSE,        DORRIT_OPCODE_PING, DORRIT_OPCODE_PONG};
    for (size_t which = 0; which < sizeof opcodes / sizeof *opcodes; which++) {
        const bool control = (opcodes[which] & 8) != 0;
        for (uint64_t length = 0; length < (control ? 126 : 70000); length++) {
            for (int fin = control ? 1 : 0; fin <= 1; fin++) {
                uint8_t data[DORRIT_FRAME_HEADER_MAX];
                const size_t written
                    = dorrit_frame_header_encode(data, fin != 0, opcodes[which], length);
                trying(data, written);
                CHECK_EQUAL(data[1] & 0x80, 0);
                data[1] |= 0x80;
                memcpy(data + written, "\xA1\xA2\xA3\xA4", 4);
                struct dorrit_frame_header header;
                CHECK_EQUAL(
                    dorrit_frame_header_decode(&header, data, written + 4, false), DORRIT_FRAME_OK);
                CHECK_EQUAL(header.header_length, written + 4);
                CHECK_EQUAL(header.payload_length, length);
                CHECK_EQUAL(header.opcode, opcodes[which]);
                CHECK_EQUAL(header.fin, fin);
            }
        }
    }
}

static void every_close_code(void)
{
    static const uint16_t defined[]
        = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014};
    for (unsigned code = 0; code <= 0xFFFF; code++) {
        bool valid = code / 1000 == 3 || code / 1000 == 4;
        for (size_t index = 0; index < sizeof defined / sizeof *defined; index++) {
            valid = valid || code == defined[index];
        }
        if (dorrit_close_code_is_valid((uint16_t)code) != valid) {
            fprintf(stderr, "close code %u\n", code);
        }
        CHECK_EQUAL(dorrit_close_code_is_valid((uint16_t)code), valid);
    }
}

int main(void)
{
    RUN(each_verdict);
    RUN(every_first_two_bytes);
    RUN(every_16_bit_length);
    RUN(every_bit_of_a_64_bit_length);
    RUN(headers_at_every_alignment);
    RUN(encoding_takes_the_shortest_form);
    RUN(what_is_encoded_is_decoded);
    RUN(every_close_code);
    return 0;
}
