/* Masking, RFC 6455 section 5.3, against one byte at a time. */
#include "check.h"
#include "masking.h"
#include "reference.h"

#include <string.h>

enum { LENGTHS = 301, ALIGNMENTS = 9, GUARD = 8 };

static uint8_t noise(size_t index)
{
    return (uint8_t)(index * 167 + index / 256 * 13 + 5);
}

/* Writes the right bytes and no byte outside of them, wherever both sides begin. */
static void masks(size_t length, size_t data_offset, size_t out_offset, const uint8_t key[4])
{
    uint8_t data[LENGTHS + ALIGNMENTS + GUARD];
    uint8_t out[LENGTHS + ALIGNMENTS + 2 * GUARD];
    uint8_t expected[sizeof out];
    for (size_t index = 0; index < sizeof data; index++) {
        data[index] = noise(index);
    }
    memset(out, 0x5A, sizeof out);
    memset(expected, 0x5A, sizeof expected);
    reference_mask(expected + out_offset, data + data_offset, length, key);
    dorrit_mask(out + out_offset, data + data_offset, length, key);
    CHECK(memcmp(out, expected, sizeof out) == 0);
}

static void every_length_and_alignment_into_another_place(void)
{
    static const uint8_t keys[][4] = {
        {0, 0, 0, 0}, {0xFF, 0xFF, 0xFF, 0xFF}, {1, 2, 3, 4}, {0x80, 0, 0, 0}, {0, 0, 0, 0x80}};
    for (size_t key = 0; key < sizeof keys / sizeof *keys; key++) {
        trying(keys[key], 4);
        for (size_t length = 0; length < LENGTHS; length++) {
            for (size_t offset = 0; offset < ALIGNMENTS; offset++) {
                masks(length, offset, 0, keys[key]);
                masks(length, 0, offset, keys[key]);
                masks(length, offset, ALIGNMENTS - 1 - offset, keys[key]);
            }
        }
    }
}

static void every_length_and_alignment_in_place(void)
{
    static const uint8_t key[4] = {0x37, 0xFA, 0x21, 0x3D};
    for (size_t length = 0; length < LENGTHS; length++) {
        for (size_t offset = 0; offset < ALIGNMENTS; offset++) {
            uint8_t data[LENGTHS + ALIGNMENTS + GUARD];
            uint8_t expected[sizeof data];
            for (size_t index = 0; index < sizeof data; index++) {
                data[index] = noise(index);
            }
            memcpy(expected, data, sizeof data);
            reference_mask(expected + offset, data + offset, length, key);
            dorrit_mask(data + offset, data + offset, length, key);
            CHECK(memcmp(data, expected, sizeof data) == 0);
            dorrit_mask(data + offset, data + offset, length, key);
            for (size_t index = 0; index < sizeof data; index++) {
                CHECK_EQUAL(data[index], noise(index));
            }
        }
    }
}

/* A payload may be unmasked in pieces when the key is turned by as many bytes as came before. */
static void in_two_pieces_with_the_key_turned(void)
{
    static const uint8_t key[4] = {0x37, 0xFA, 0x21, 0x3D};
    uint8_t data[67];
    uint8_t expected[sizeof data];
    for (size_t cut = 0; cut <= sizeof data; cut++) {
        for (size_t index = 0; index < sizeof data; index++) {
            data[index] = noise(index);
        }
        reference_mask(expected, data, sizeof data, key);
        uint8_t turned[4];
        for (size_t index = 0; index < 4; index++) {
            turned[index] = key[(cut + index) % 4];
        }
        dorrit_mask(data, data, cut, key);
        dorrit_mask(data + cut, data + cut, sizeof data - cut, turned);
        CHECK(memcmp(data, expected, sizeof data) == 0);
    }
}

static void reads_and_writes_nothing_outside(void)
{
    static const uint8_t key[4] = {1, 2, 3, 4};
    dorrit_mask(NULL, NULL, 0, key);
    for (size_t length = 1; length < LENGTHS; length++) {
        uint8_t *data = malloc(length); /* the sanitizer watches both ends */
        CHECK(data != NULL);
        memset(data, 0, length);
        dorrit_mask(data, data, length, key);
        for (size_t index = 0; index < length; index++) {
            CHECK_EQUAL(data[index], key[index % 4]);
        }
        free(data);
    }
}

/* The example of section 5.7: "A single-frame masked text message" that says "Hello". */
static void the_example_of_the_rfc(void)
{
    static const uint8_t key[4] = {0x37, 0xFA, 0x21, 0x3D};
    uint8_t data[5] = {0x7F, 0x9F, 0x4D, 0x51, 0x58};
    dorrit_mask(data, data, sizeof data, key);
    CHECK(memcmp(data, "Hello", 5) == 0);
}

int main(void)
{
    RUN(the_example_of_the_rfc);
    RUN(every_length_and_alignment_into_another_place);
    RUN(every_length_and_alignment_in_place);
    RUN(in_two_pieces_with_the_key_turned);
    RUN(reads_and_writes_nothing_outside);
    return 0;
}
