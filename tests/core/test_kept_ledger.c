/* A ledger that was written once, and is kept: each release after it reads what stands there, or says that it
 * does not know the format. Whoever changes the format writes the next one beside it.
 *
 *     kept_ledger FILE          reads it
 *     kept_ledger FILE write    writes it, as this release does
 */
#include "../../src/dorrit/engine/core/ledger.c"
#include "../../src/dorrit/engine/core/journal.c"
#include "../../src/dorrit/engine/core/ledger_read.c"

#include "check.h"

#include <stdio.h>
#include <string.h>

enum { SLOTS = 8, OF_ALL = 2, OF_PARTS = 5, GONE = 3, PART_SIZE = 100, LATER = 3 };

static uint8_t bytes[4096];

static struct dorrit_span span(size_t from, size_t length)
{
    return (struct dorrit_span){bytes + from, length};
}

/* A connection of which everything is known. */
static struct dorrit_carried with_all(void)
{
    struct dorrit_carried carried = {
        .socket = UINT64_C(0x0123456789abcdef),
        .number = UINT64_C(0x123456789),
        .descriptor = 17,
        .opened = 1000,
        .dropped = 3,
        .written = 5,
        .flags = DORRIT_CARRIED_BEGUN | DORRIT_CARRIED_TEXT | DORRIT_CARRIED_DEFLATE | DORRIT_CARRIED_WINDOW,
        .close_code = 1001,
        .last_life = DORRIT_OPEN,
        .admission = DORRIT_ACCEPTED,
        .parsing = DORRIT_AT_FRAME,
        .window_bits = 15,
        .reason_length = 4,
        .reason = "gone",
        .about = span(0, 200),
        .saved = span(200, 300),
        .topics = span(3500, 50),
        .input = span(500, 40),
        .unparsed = span(540, 700),
        .begun = span(1240, 60),
        .window = span(1300, 500),
    };
    return carried;
}

/* One whose message comes in parts, with little behind them. */
static struct dorrit_carried with_parts(uint32_t last)
{
    struct dorrit_carried carried = {
        .socket = 2,
        .number = 2,
        .descriptor = 18,
        .last_life = DORRIT_CLOSING,
        .admission = DORRIT_ACCEPTED,
        .parsing = DORRIT_AT_FRAME,
        .input = span(0, 14),
        .parts_at = 10,
        .parts_length = 2 * PART_SIZE,
        .parts = last,
        .unparsed = span(14, 20),
    };
    return carried;
}

static void write_kept(const char *name)
{
    const int descriptor = open(name, O_RDWR | O_CREAT | O_TRUNC, 0644);
    CHECK(descriptor >= 0);
    struct dorrit_ledger ledger;
    CHECK_EQUAL(dorrit_ledger_create(&ledger, descriptor, SLOTS, 16384, 4096), 0);
    struct dorrit_carried carried = with_all();
    for (unsigned frame = 0; frame < 2; frame++) {
        carried.frames[frame] = dorrit_ledger_add_frame(&ledger, span(2000, 2), span(2002 + frame, 90), frame == 0);
        CHECK(carried.frames[frame] != 0);
    }
    carried.frames_length = 2;
    CHECK_EQUAL(dorrit_ledger_put(&ledger, GONE, &carried), 0);
    CHECK_EQUAL(dorrit_ledger_put(&ledger, OF_ALL, &carried), 0);
    dorrit_ledger_remove(&ledger, GONE);
    const uint32_t first = dorrit_ledger_add_part(&ledger, OF_PARTS, 0, span(1000, PART_SIZE));
    carried = with_parts(dorrit_ledger_add_part(&ledger, OF_PARTS, first, span(1000 + PART_SIZE, PART_SIZE)));
    CHECK_EQUAL(dorrit_ledger_put(&ledger, OF_PARTS, &carried), 0);
    dorrit_ledger_note_clients(&ledger, UINT64_C(0x200000000));
    /* What was sent since then stands in the journal alone. */
    const uint32_t place = dorrit_journal_add_frame(&ledger, span(3000, 4), span(3004, 130), true);
    CHECK(dorrit_journal_deliver(&ledger, place, OF_ALL) && dorrit_journal_deliver(&ledger, place, OF_PARTS));
    dorrit_journal_commit(&ledger);
    dorrit_ledger_begin_input(&ledger, OF_PARTS);
    dorrit_ledger_close(&ledger);
    close(descriptor);
}

static void check_span(struct dorrit_span found, struct dorrit_span expected)
{
    CHECK_EQUAL(found.length, expected.length);
    CHECK(expected.length == 0 || memcmp(found.bytes, expected.bytes, expected.length) == 0);
}

static void check_input(const struct dorrit_ledger_copy *copy, const struct dorrit_carried *found,
    const struct dorrit_span *pieces, size_t count)
{
    uint8_t expected[2000], whole[2000];
    size_t length = 0;
    for (size_t index = 0; index < count; index++) {
        memcpy(expected + length, pieces[index].bytes, pieces[index].length);
        length += pieces[index].length;
    }
    CHECK_EQUAL(dorrit_ledger_input_length(found), length);
    dorrit_ledger_get_input(copy, found, whole);
    CHECK(memcmp(whole, expected, length) == 0);
}

static void check_frame(const struct dorrit_ledger_copy *copy, uint32_t frame, struct dorrit_span whole,
    uint8_t header, bool is_counted)
{
    struct dorrit_span found;
    uint8_t header_length;
    bool counted;
    CHECK_EQUAL(dorrit_ledger_get_frame(copy, frame, &found, &header_length, &counted), DORRIT_LEDGER_OK);
    CHECK_EQUAL(header_length, header);
    CHECK_EQUAL(counted, is_counted);
    check_span(found, whole);
}

/* Format 1 knows no topics. */
static void check_all(const struct dorrit_ledger_copy *copy, uint32_t format)
{
    struct dorrit_carried found;
    const struct dorrit_carried expected = with_all();
    CHECK_EQUAL(dorrit_ledger_get(copy, OF_ALL, &found), DORRIT_LEDGER_OK);
    CHECK(found.socket == expected.socket && found.number == expected.number);
    CHECK_EQUAL(found.descriptor, expected.descriptor);
    CHECK_EQUAL(found.opened, expected.opened);
    CHECK_EQUAL(found.dropped, expected.dropped);
    CHECK_EQUAL(found.written, expected.written);
    CHECK_EQUAL(found.flags, expected.flags);
    CHECK_EQUAL(found.close_code, expected.close_code);
    CHECK_EQUAL(found.last_life, expected.last_life);
    CHECK_EQUAL(found.admission, expected.admission);
    CHECK_EQUAL(found.parsing, expected.parsing);
    CHECK_EQUAL(found.window_bits, expected.window_bits);
    CHECK_EQUAL(found.reason_length, expected.reason_length);
    CHECK(memcmp(found.reason, expected.reason, expected.reason_length) == 0);
    check_span(found.about, expected.about);
    check_span(found.saved, expected.saved);
    check_span(found.topics, format == 1 ? span(0, 0) : expected.topics);
    check_span(found.begun, expected.begun);
    check_span(found.window, expected.window);
    check_input(copy, &found, &(struct dorrit_span){bytes + 500, 740}, 1);
    CHECK_EQUAL(found.frames_length, LATER);
    check_frame(copy, found.frames[0], span(2000, 92), 2, true);
    CHECK_EQUAL(found.frames[0] == found.frames[1], false);
    check_frame(copy, found.frames[2], span(3000, 134), 4, true);
}

static void what_each_format_says_is_read(const char *name)
{
    const int descriptor = open(name, O_RDONLY);
    CHECK(descriptor >= 0);
    struct dorrit_ledger_copy copy;
    struct dorrit_carried found;
    uint32_t format;
    CHECK_EQUAL(pread(descriptor, &format, sizeof format, offsetof(struct header, format)), sizeof format);
    CHECK_EQUAL(dorrit_ledger_read(&copy, descriptor), DORRIT_LEDGER_OK);
    CHECK(copy.clients == UINT64_C(0x200000000));
    CHECK_EQUAL(copy.current, OF_PARTS + 1);
    check_all(&copy, format);
    CHECK_EQUAL(dorrit_ledger_get(&copy, GONE, &found), DORRIT_LEDGER_EMPTY);
    CHECK_EQUAL(dorrit_ledger_get(&copy, OF_PARTS, &found), DORRIT_LEDGER_OK);
    CHECK_EQUAL(found.last_life, DORRIT_CLOSING);
    const struct dorrit_span pieces[] = {span(0, 10), span(1000, 2 * PART_SIZE), span(10, 24)};
    check_input(&copy, &found, pieces, 3);
    CHECK_EQUAL(found.frames_length, 1);
    check_frame(&copy, found.frames[0], span(3000, 134), 4, true);
    dorrit_ledger_free_copy(&copy);
    close(descriptor);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: %s FILE [write]\n", argv[0]);
        return 2;
    }
    for (size_t index = 0; index < sizeof bytes; index++) {
        bytes[index] = (uint8_t)(index * 7 + index / 256);
    }
    if (argc == 3 && strcmp(argv[2], "write") == 0) {
        write_kept(argv[1]);
    }
    what_each_format_says_is_read(argv[1]);
    return 0;
}
