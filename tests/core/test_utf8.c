/* UTF-8, RFC 3629 (R5), against the set of all characters as another implementation writes them.
 *
 * Usage: test_utf8 FILE, where FILE holds every character from U+0000 to U+10FFFF but the
 * surrogates, in UTF-8, one behind the other.
 */
#include "check.h"
#include "reference.h"
#include "utf8.h"

#include <string.h>

/* One bit for each sequence of so many bytes: is it a character, can it begin one. Characters of
 * four bytes begin with F0 to F7: 3 bits and 24. */
static uint8_t one[256 / 8];
static uint8_t two[65536 / 8];
static uint8_t three[1 << 21];
static uint8_t four[1 << 24];
static uint8_t begins_one[256 / 8];
static uint8_t begins_two[65536 / 8];
static uint8_t begins_three[1 << 21];

static size_t at(const uint8_t *data, size_t count)
{
    size_t number = 0;
    for (size_t index = 0; index < count; index++) {
        number = number << 8 | data[index];
    }
    return number;
}

static void put(uint8_t *set, size_t number)
{
    set[number / 8] = (uint8_t)(set[number / 8] | 1u << number % 8);
}

static bool has(const uint8_t *set, size_t number)
{
    return (set[number / 8] >> number % 8 & 1) != 0;
}

static void read_characters(const char *path)
{
    FILE *file = fopen(path, "rb");
    CHECK(file != NULL);
    size_t count = 0;
    for (int lead = getc(file); lead != EOF; lead = getc(file)) {
        uint8_t data[4] = {(uint8_t)lead};
        const size_t width = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
        CHECK_EQUAL(fread(data + 1, 1, width - 1, file), width - 1);
        if (width == 1) {
            put(one, at(data, 1));
        } else if (width == 2) {
            put(two, at(data, 2));
        } else if (width == 3) {
            put(three, at(data, 3));
        } else {
            CHECK(lead >= 0xF0 && lead <= 0xF7);
            put(four, at(data, 4) & 0x7FFFFFF);
            put(begins_three, at(data, 3));
        }
        if (width > 1) {
            put(begins_one, at(data, 1));
        }
        if (width > 2) {
            put(begins_two, at(data, 2));
        }
        count++;
    }
    fclose(file);
    CHECK_EQUAL(count, 0x110000 - 0x800);
}

/* Takes characters of the set off the front. No character begins another one, so there is only
 * one way to do it. */
static enum reference_text by_the_set(const uint8_t *data, size_t length)
{
    while (length > 0) {
        size_t width = 0;
        if (has(one, at(data, 1))) {
            width = 1;
        } else if (length >= 2 && has(two, at(data, 2))) {
            width = 2;
        } else if (length >= 3 && has(three, at(data, 3))) {
            width = 3;
        } else if (length >= 4 && data[0] >> 3 == 0x1E && has(four, at(data, 4) & 0x7FFFFFF)) {
            width = 4;
        } else {
            const bool begins = (length == 1 && has(begins_one, at(data, 1)))
                || (length == 2 && has(begins_two, at(data, 2)))
                || (length == 3 && has(begins_three, at(data, 3)));
            return begins ? REFERENCE_CUT : REFERENCE_INVALID;
        }
        data += width;
        length -= width;
    }
    return REFERENCE_VALID;
}

static enum reference_text state_of(bool possible, const struct dorrit_utf8 *state)
{
    if (!possible) {
        return REFERENCE_INVALID;
    }
    return dorrit_utf8_is_complete(state) ? REFERENCE_VALID : REFERENCE_CUT;
}

/* Whole; and after each single byte what is known of the text up to there. */
static void judge(const uint8_t *data, size_t length)
{
    trying(data, length);
    const enum reference_text expected = by_the_set(data, length);
    CHECK_EQUAL(dorrit_utf8_is_valid(data, length), expected == REFERENCE_VALID);
    CHECK_EQUAL(reference_text(data, length), expected);
    struct dorrit_utf8 state = {0};
    for (size_t index = 0; index < length; index++) {
        const bool possible = dorrit_utf8_feed(&state, data + index, 1);
        CHECK_EQUAL(state_of(possible, &state), by_the_set(data, index + 1));
    }
}

static void every_sequence_of_up_to_three_bytes(void)
{
    judge(NULL, 0);
    for (size_t length = 1; length <= 3; length++) {
        for (uint32_t number = 0; number < UINT32_C(1) << 8 * length; number++) {
            uint8_t data[3];
            for (size_t index = 0; index < length; index++) {
                data[index] = (uint8_t)(number >> 8 * (length - 1 - index));
            }
            judge(data, length);
        }
    }
}

static const uint8_t boundaries[] = {0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF};
enum { BOUNDARIES = sizeof boundaries };

static void every_two_bytes_before_two_boundaries(void)
{
    for (unsigned start = 0x8000; start <= 0xFFFF; start++) {
        for (size_t third = 0; third < BOUNDARIES; third++) {
            for (size_t fourth = 0; fourth < BOUNDARIES; fourth++) {
                const uint8_t data[4] = {
                    (uint8_t)(start >> 8),
                    (uint8_t)start,
                    boundaries[third],
                    boundaries[fourth],
                };
                judge(data, 4);
            }
        }
    }
}

static const struct {
    const char *bytes;
    size_t length;
} pieces[] = {
    {"a", 1},
    {"\0", 1},
    {"\x7F", 1},
    {"\xC2\x80", 2},
    {"\xDF\xBF", 2},
    {"\xE0\xA0\x80", 3},
    {"\xED\x9F\xBF", 3},
    {"\xEE\x80\x80", 3},
    {"\xEF\xBF\xBF", 3},
    {"\xF0\x90\x80\x80", 4},
    {"\xF4\x8F\xBF\xBF", 4},
    /* alone */
    {"\x80", 1},
    {"\xFE", 1},
    {"\xFF", 1},
    /* too long forms: of "/", U+007F, U+07FF, U+FFFF */
    {"\xC0\xAF", 2},
    {"\xC1\xBF", 2},
    {"\xE0\x9F\xBF", 3},
    {"\xF0\x8F\xBF\xBF", 4},
    /* surrogates: first, last, a pair */
    {"\xED\xA0\x80", 3},
    {"\xED\xBF\xBF", 3},
    {"\xED\xA0\xBD\xED\xB8\x80", 6},
    /* beyond U+10FFFF; five and six bytes */
    {"\xF4\x90\x80\x80", 4},
    {"\xF5\x80\x80\x80", 4},
    {"\xF8\x88\x80\x80\x80", 5},
    {"\xFC\x84\x80\x80\x80\x80", 6},
    /* cut */
    {"\xC2", 1},
    {"\xE2\x82", 2},
    {"\xF0\x9F\x98", 3},
};
enum { PIECES = sizeof pieces / sizeof *pieces, TEXT = 80 };

/* At each place in a longer text, of ASCII and of others, where it meets every block that the
 * validation takes at once; and cut in two at every byte. */
static void every_piece_at_every_place_with_every_cut(void)
{
    static const char *const fillers[] = {"x", "\xD0\x96", "\xE2\x82\xAC", "\xF0\x9F\x98\x80"};
    for (size_t filler = 0; filler < sizeof fillers / sizeof *fillers; filler++) {
        const size_t step = strlen(fillers[filler]);
        for (size_t piece = 0; piece < PIECES; piece++) {
            for (size_t before = 0; before + 8 <= TEXT; before += step) {
                uint8_t text[2 * TEXT];
                size_t length = 0;
                for (; length < before; length += step) {
                    memcpy(text + length, fillers[filler], step);
                }
                memcpy(text + length, pieces[piece].bytes, pieces[piece].length);
                length += pieces[piece].length;
                for (; length < TEXT; length += step) {
                    memcpy(text + length, fillers[filler], step);
                }
                judge(text, length);
                for (size_t cut = 0; cut <= length; cut++) {
                    struct dorrit_utf8 state = {0};
                    bool possible = dorrit_utf8_feed(&state, text, cut);
                    CHECK_EQUAL(state_of(possible, &state), by_the_set(text, cut));
                    possible = dorrit_utf8_feed(&state, text + cut, length - cut);
                    CHECK_EQUAL(state_of(possible, &state), by_the_set(text, length));
                }
            }
        }
    }
}

/* An error stays an error: nothing behind it makes the text valid again. */
static void an_error_is_for_good(void)
{
    for (size_t length = 0; length < TEXT; length++) {
        uint8_t text[TEXT];
        memset(text, 'x', sizeof text);
        struct dorrit_utf8 state = {0};
        CHECK(!dorrit_utf8_feed(&state, (const uint8_t *)"\xFF", 1));
        CHECK(!dorrit_utf8_feed(&state, text, length));
        CHECK(!dorrit_utf8_is_complete(&state));
    }
}

static void reads_nothing_outside(void)
{
    for (size_t length = 1; length < 2 * TEXT; length++) {
        uint8_t *text = malloc(length); /* the sanitizer watches both ends */
        CHECK(text != NULL);
        memset(text, 'x', length);
        CHECK(dorrit_utf8_is_valid(text, length));
        text[length - 1] = 0xC3;
        CHECK(!dorrit_utf8_is_valid(text, length));
        free(text);
    }
}

int main(int count, char **arguments)
{
    CHECK_EQUAL(count, 2);
    read_characters(arguments[1]);
    RUN(every_sequence_of_up_to_three_bytes);
    RUN(every_two_bytes_before_two_boundaries);
    RUN(every_piece_at_every_place_with_every_cut);
    RUN(an_error_is_for_good);
    RUN(reads_nothing_outside);
    return 0;
}
