/* The ledger: what is written comes back, whatever is in between leaves it as it was before or as it
 * is afterwards, and nothing that is damaged is taken for right.
 *
 * It includes the ledger, to write into it what nobody would. Compiled with DORRIT_LEDGER_STEPS, so that what is under way can be left before any store. */
#include "../../src/dorrit/engine/core/ledger.c"
#include "../../src/dorrit/engine/core/journal.c"
#include "../../src/dorrit/engine/core/ledger_read.c"

#include "stores.h"

#include <stdio.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SLOTS = 3000, MOST = 32 << 20 };

static struct dorrit_ledger made(int descriptor)
{
    struct dorrit_ledger ledger;
    CHECK_EQUAL(dorrit_ledger_create(&ledger, descriptor, SLOTS, MOST, 0), 0);
    return ledger;
}

static uint8_t bytes[1 << 17];

static struct dorrit_span random_span(size_t most)
{
    const size_t length = random_number(2) == 0 ? 0 : (size_t)random_number(most);
    return (struct dorrit_span){bytes + random_number(sizeof bytes - most), length};
}

/* A connection with anything in it that one may have. */
static void fill(struct dorrit_carried *carried)
{
    memset(carried, 0, sizeof *carried);
    carried->number = 1 + random_number(1000);
    carried->socket = random_number(UINT32_MAX);
    carried->descriptor = (int32_t)random_number(1000);
    carried->opened = (uint32_t)random_number(1000);
    carried->dropped = (uint32_t)random_number(1000);
    carried->close_code = (uint16_t)random_number(5000);
    carried->last_life = (uint8_t)random_number(DORRIT_LINGERING + 1);
    carried->admission = (uint8_t)random_number(DORRIT_ACCEPTED + 1);
    carried->parsing = (uint8_t)random_number(DORRIT_AT_END + 1);
    carried->window_bits = (uint8_t)random_number(16);
    carried->about = random_span(1000);
    carried->saved = random_span(7000);
    carried->topics = random_span(3000);
    carried->window = random_span(33000);
    if (random_number(2) == 0) {
        return;
    }
    carried->written = (uint32_t)random_number(100);
    carried->reason_length = (uint8_t)random_number(DORRIT_LEDGER_REASON_MAX + 1);
    memcpy(carried->reason, bytes, carried->reason_length);
    carried->input = random_span(5000);
    carried->unparsed = random_span(600);
    if (random_number(2) == 0) {
        carried->flags = DORRIT_CARRIED_BEGUN | DORRIT_CARRIED_TEXT;
        carried->begun = random_span(10000);
    }
}

static bool same_span(struct dorrit_span one, struct dorrit_span other)
{
    return one.length == other.length
        && (one.length == 0 || memcmp(one.bytes, other.bytes, one.length) == 0);
}

/* Little that is unparsed comes back behind the rest of the input. */
static bool same_input(const struct dorrit_carried *one, const struct dorrit_carried *other)
{
    static uint8_t left[70000], right[70000];
    const size_t length = dorrit_ledger_input_length(one);
    const struct dorrit_ledger_copy nothing = {0};
    CHECK(length <= sizeof left && one->parts == 0 && other->parts == 0);
    if (length != dorrit_ledger_input_length(other)) {
        return false;
    }
    dorrit_ledger_get_input(&nothing, one, left);
    dorrit_ledger_get_input(&nothing, other, right);
    return memcmp(left, right, length) == 0;
}

static bool same(const struct dorrit_carried *one, const struct dorrit_carried *other)
{
    struct dorrit_carried left = *one, right = *other;
    const struct dorrit_span none = {NULL, 0};
    const bool spans = same_span(one->about, other->about) && same_span(one->saved, other->saved)
        && same_span(one->topics, other->topics) && same_input(one, other) && same_span(one->begun, other->begun)
        && same_span(one->window, other->window);
    left.about = left.saved = left.topics = left.input = left.unparsed = left.begun = left.window = none;
    right.about = right.saved = right.topics = right.input = right.unparsed = right.begun = right.window = none;
    return spans && memcmp(&left, &right, sizeof left) == 0;
}

static struct dorrit_carried plain(uint64_t number)
{
    return (struct dorrit_carried){.number = number, .last_life = DORRIT_OPEN, .descriptor = 5};
}

/* ---- */

static void what_is_put_comes_back(void)
{
    const int descriptor = file();
    struct dorrit_ledger ledger = made(descriptor);
    static struct dorrit_carried put[SLOTS];
    static bool is_put[SLOTS];
    for (unsigned round = 0; round < 5 * SLOTS; round++) {
        const uint32_t slot = (uint32_t)random_number(random_number(10) == 0 ? SLOTS : 60);
        if (random_number(4) == 0) {
            dorrit_ledger_remove(&ledger, slot);
            is_put[slot] = false;
            continue;
        }
        fill(&put[slot]);
        is_put[slot] = true;
        CHECK_EQUAL(dorrit_ledger_put(&ledger, slot, &put[slot]), 0);
    }
    struct dorrit_ledger_copy copy = copied(descriptor);
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        struct dorrit_carried found;
        const enum dorrit_ledger_verdict verdict = dorrit_ledger_get(&copy, slot, &found);
        if (!is_put[slot]) {
            CHECK_EQUAL(verdict, DORRIT_LEDGER_EMPTY);
            continue;
        }
        CHECK_EQUAL(verdict, DORRIT_LEDGER_OK);
        CHECK(same(&found, &put[slot]));
    }
    dorrit_ledger_free_copy(&copy);
    dorrit_ledger_close(&ledger);
    close(descriptor);
}

static void a_frame_is_there_once_for_any_number_of_queues(void)
{
    const int descriptor = file();
    struct dorrit_ledger ledger = made(descriptor);
    const struct dorrit_span header = {bytes, 4}, payload = {bytes + 100, 60000};
    const uint32_t large = dorrit_ledger_add_frame(&ledger, header, payload, true);
    const uint32_t raw
        = dorrit_ledger_add_frame(&ledger, (struct dorrit_span){NULL, 0}, header, false);
    CHECK(large != 0 && raw != 0);
    struct dorrit_carried carried = plain(1);
    carried.frames[0] = raw;
    carried.frames[1] = large;
    carried.frames_length = 2;
    carried.written = 3;
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        CHECK_EQUAL(dorrit_ledger_put(&ledger, slot, &carried), 0);
    }
    struct dorrit_ledger_copy copy = copied(descriptor);
    struct dorrit_carried found;
    CHECK_EQUAL(dorrit_ledger_get(&copy, SLOTS - 1, &found), DORRIT_LEDGER_OK);
    CHECK(same(&found, &carried));
    struct dorrit_span frame;
    uint8_t header_length;
    bool counted;
    CHECK_EQUAL(
        dorrit_ledger_get_frame(&copy, found.frames[0], &frame, &header_length, &counted), 0);
    CHECK(same_span(frame, header) && header_length == 0 && !counted);
    CHECK_EQUAL(
        dorrit_ledger_get_frame(&copy, found.frames[1], &frame, &header_length, &counted), 0);
    CHECK_EQUAL(frame.length, 60004);
    CHECK(memcmp(frame.bytes, bytes, 4) == 0 && memcmp(frame.bytes + 4, bytes + 100, 60000) == 0);
    CHECK(header_length == 4 && counted);
    dorrit_ledger_free_copy(&copy);
    dorrit_ledger_close(&ledger);
    close(descriptor);
}

static void what_is_let_go_is_used_again(void)
{
    const int descriptor = file();
    struct dorrit_ledger ledger = made(descriptor);
    uint32_t after_first = 0;
    for (unsigned round = 0; round < 2000; round++) {
        struct dorrit_carried carried = plain(1 + round);
        carried.about = (struct dorrit_span){bytes + round, 700};
        carried.saved = (struct dorrit_span){bytes + round, 60000};
        carried.begun = (struct dorrit_span){bytes + round, 90000};
        carried.flags = DORRIT_CARRIED_BEGUN;
        CHECK_EQUAL(dorrit_ledger_put(&ledger, round % 3, &carried), 0);
        if (round % 3 == 2) {
            dorrit_ledger_remove(&ledger, 2);
        }
        const uint32_t frame = dorrit_ledger_add_frame(
            &ledger, carried.about, (struct dorrit_span){bytes, 1000}, true);
        CHECK(frame != 0);
        dorrit_ledger_free_frame(&ledger, frame);
        if (round == 10) {
            after_first = ledger.units_used;
        }
    }
    CHECK_EQUAL(ledger.units_used, after_first);
    dorrit_ledger_close(&ledger);
    close(descriptor);
}

static struct body body_in(const struct dorrit_ledger *ledger, uint32_t slot)
{
    struct record record;
    struct body body;
    memcpy(&record, ledger->memory + record_place(slot), sizeof record);
    CHECK(record.body != 0);
    memcpy(&body,
        ledger->memory + chunks_place(ledger->slots) + (size_t)record.body * DORRIT_LEDGER_UNIT
            + sizeof(struct chunk),
        sizeof body);
    return body;
}

static void what_is_unparsed_is_written_once_while_it_is_parsed(void)
{
    const int descriptor = file();
    struct dorrit_ledger ledger = made(descriptor);
    struct dorrit_carried carried = plain(1);
    carried.input = (struct dorrit_span){bytes, 10};
    carried.unparsed = (struct dorrit_span){bytes + 10, 60000};
    CHECK_EQUAL(dorrit_ledger_put(&ledger, 3, &carried), 0);
    const uint32_t chunk = body_in(&ledger, 3).unparsed;
    CHECK(chunk != 0);
    struct dorrit_ledger_copy copy;
    for (; carried.unparsed.length >= 256; carried.unparsed.length -= 997, carried.unparsed.bytes += 997) {
        CHECK_EQUAL(dorrit_ledger_put(&ledger, 3, &carried), 0);
        CHECK_EQUAL(body_in(&ledger, 3).unparsed, chunk);
        CHECK_EQUAL(body_in(&ledger, 3).unparsed_from, 60000 - carried.unparsed.length);
        copy = copied(descriptor);
        struct dorrit_carried found;
        CHECK_EQUAL(dorrit_ledger_get(&copy, 3, &found), DORRIT_LEDGER_OK);
        CHECK(same(&found, &carried));
        dorrit_ledger_free_copy(&copy);
    }
    /* The last bytes stand in the body. */
    CHECK(carried.unparsed.length > 0);
    CHECK_EQUAL(dorrit_ledger_put(&ledger, 3, &carried), 0);
    CHECK_EQUAL(body_in(&ledger, 3).unparsed, 0);
    /* Other bytes, and more of them, are written anew; somebody else's are not taken for one's own. */
    carried.unparsed = (struct dorrit_span){bytes + 500, 300};
    CHECK_EQUAL(dorrit_ledger_put(&ledger, 3, &carried), 0);
    const uint32_t other = body_in(&ledger, 3).unparsed;
    carried.unparsed.length++;
    CHECK_EQUAL(dorrit_ledger_put(&ledger, 3, &carried), 0);
    CHECK(body_in(&ledger, 3).unparsed != other);
    CHECK_EQUAL(dorrit_ledger_put(&ledger, 4, &carried), 0);
    CHECK(body_in(&ledger, 4).unparsed != body_in(&ledger, 3).unparsed);
    dorrit_ledger_close(&ledger);
    close(descriptor);
}

static void memory_is_not_given_back_and_had_again_all_the_time(void)
{
    enum { SIZE = 60000, CLASS = 10, COUNT = 100 };
    const int descriptor = file();
    struct dorrit_ledger ledger = made(descriptor);
    const struct dorrit_span none = {NULL, 0};
    for (unsigned size = SIZE / 2; size <= SIZE; size += SIZE / 2) {
        const struct dorrit_span payload = {bytes, size};
        uint32_t frames[COUNT];
        for (unsigned index = 0; index < COUNT; index++) {
            frames[index] = dorrit_ledger_add_frame(&ledger, none, payload, true);
            CHECK(frames[index] != 0);
        }
        for (unsigned index = 0; index < COUNT; index++) {
            dorrit_ledger_free_frame(&ledger, frames[index]);
        }
    }
    /* Much has been given back of each size; what has not is what is used again. */
    const uint32_t without = ledger.without[CLASS];
    CHECK(without != 0 && ledger.without[CLASS - 1] != 0);
    for (unsigned round = 0; round < 10; round++) {
        const uint32_t frame
            = dorrit_ledger_add_frame(&ledger, none, (struct dorrit_span){bytes, SIZE}, true);
        CHECK(frame != 0);
        CHECK_EQUAL(ledger.without[CLASS], without);
        dorrit_ledger_free_frame(&ledger, frame);
        CHECK_EQUAL(ledger.without[CLASS], without);
    }
    dorrit_ledger_close(&ledger);
    close(descriptor);
}

static void what_has_no_room_is_out_and_the_others_stay(void)
{
    const int descriptor = file();
    struct dorrit_ledger ledger = made(descriptor);
    uint32_t fitted = 0;
    struct dorrit_carried carried = plain(1);
    carried.saved = (struct dorrit_span){bytes, 65536};
    while (dorrit_ledger_put(&ledger, fitted, &carried) == 0) {
        CHECK(++fitted < SLOTS);
    }
    CHECK_EQUAL(errno, ENOSPC);
    CHECK(fitted > 20);
    /* One that was there, and does not fit any more. */
    carried.begun = (struct dorrit_span){bytes, 100000};
    carried.flags = DORRIT_CARRIED_BEGUN;
    CHECK_EQUAL(dorrit_ledger_put(&ledger, 3, &carried), -1);
    struct dorrit_ledger_copy copy = copied(descriptor);
    struct dorrit_carried found;
    for (uint32_t slot = 0; slot <= fitted; slot++) {
        CHECK_EQUAL(dorrit_ledger_get(&copy, slot, &found),
            slot == 3 || slot == fitted ? DORRIT_LEDGER_EMPTY : DORRIT_LEDGER_OK);
    }
    dorrit_ledger_free_copy(&copy);
    /* What it had is free. */
    carried.begun.length = 0;
    carried.flags = 0;
    CHECK_EQUAL(dorrit_ledger_put(&ledger, 3, &carried), 0);
    dorrit_ledger_close(&ledger);
    close(descriptor);
}

static void a_file_that_may_not_grow_is_no_fault(void)
{
    const int descriptor = file();
    struct rlimit limit = {.rlim_cur = 8192, .rlim_max = RLIM_INFINITY}, before;
    CHECK_EQUAL(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit.rlim_max = before.rlim_max;
    CHECK(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    CHECK_EQUAL(setrlimit(RLIMIT_FSIZE, &limit), 0);
    struct dorrit_ledger ledger;
    CHECK_EQUAL(dorrit_ledger_create(&ledger, descriptor, SLOTS, MOST, 0), -1);
    CHECK_EQUAL(errno, EFBIG);
    dorrit_ledger_close(&ledger);
    CHECK_EQUAL(setrlimit(RLIMIT_FSIZE, &before), 0);
    close(descriptor);
}

static void what_makes_no_sense_is_refused(void)
{
    const int descriptor = file();
    struct dorrit_ledger ledger;
    CHECK_EQUAL(dorrit_ledger_create(&ledger, descriptor, 0, MOST, 0), -1);
    CHECK_EQUAL(dorrit_ledger_create(&ledger, descriptor, UINT32_MAX, MOST, 0), -1);
    CHECK_EQUAL(dorrit_ledger_create(&ledger, descriptor, SLOTS, UINT64_MAX, 0), -1);
    ledger = made(descriptor);
    struct dorrit_carried carried = plain(1);
    CHECK_EQUAL(dorrit_ledger_put(&ledger, SLOTS, &carried), -1);
    carried.frames_length = DORRIT_LEDGER_FRAMES_MAX + 1;
    CHECK_EQUAL(dorrit_ledger_put(&ledger, 0, &carried), -1);
    carried = plain(1);
    carried.reason_length = DORRIT_LEDGER_REASON_MAX + 1;
    CHECK_EQUAL(dorrit_ledger_put(&ledger, 0, &carried), -1);
    dorrit_ledger_remove(&ledger, SLOTS);
    dorrit_ledger_remove(&ledger, UINT32_MAX);
    dorrit_ledger_close(&ledger);
    dorrit_ledger_close(&ledger);
    close(descriptor);
}

/* ---- Ends between two stores ---- */

enum { STEPS_SLOTS = 4, SCRIPT = 36 };

/* What each slot holds: before the first line of the script, and after each. */
static struct dorrit_carried after[SCRIPT + 1][STEPS_SLOTS];

static struct dorrit_ledger small(int descriptor)
{
    struct dorrit_ledger ledger;
    CHECK_EQUAL(dorrit_ledger_create(&ledger, descriptor, STEPS_SLOTS, 1 << 20, 0), 0);
    return ledger;
}

/* One line of the script: something happens to one slot. */
static void play(struct dorrit_ledger *ledger, unsigned line)
{
    const uint32_t slot = line * 7 % STEPS_SLOTS;
    if (line % 9 == 8) {
        dorrit_ledger_remove(ledger, slot);
        return;
    }
    struct dorrit_carried carried = after[line + 1][slot];
    const uint32_t frame = dorrit_ledger_add_frame(
        ledger, (struct dorrit_span){bytes, 2}, (struct dorrit_span){bytes + line, 70}, true);
    CHECK(frame != 0);
    CHECK_EQUAL(dorrit_ledger_put(ledger, slot, &carried), 0);
    dorrit_ledger_free_frame(ledger, frame);
}

static void write_the_script(void)
{
    for (unsigned line = 0; line < SCRIPT; line++) {
        memcpy(after[line + 1], after[line], sizeof after[line]);
        struct dorrit_carried *const carried = &after[line + 1][line * 7 % STEPS_SLOTS];
        if (line % 9 == 8) {
            memset(carried, 0, sizeof *carried);
        } else if (carried->unparsed.length > 300) {
            /* Some of it is parsed, and more comes at times. */
            const size_t parsed = (size_t)random_number(200);
            carried->unparsed.bytes += parsed;
            carried->unparsed.length -= line % 2 == 0 ? parsed : parsed / 2;
            carried->number++;
        } else {
            fill(carried);
        }
    }
}

/* Whether the file says of each slot what the script says after so many lines. */
static bool stands_after(const struct dorrit_ledger_copy *copy, unsigned lines)
{
    for (uint32_t slot = 0; slot < STEPS_SLOTS; slot++) {
        struct dorrit_carried found;
        const enum dorrit_ledger_verdict verdict = dorrit_ledger_get(copy, slot, &found);
        CHECK(verdict == DORRIT_LEDGER_OK || verdict == DORRIT_LEDGER_EMPTY);
        if (verdict == DORRIT_LEDGER_EMPTY) {
            if (after[lines][slot].number != 0) {
                return false;
            }
        } else if (!same(&found, &after[lines][slot])) {
            return false;
        }
    }
    return true;
}

static void whoever_ends_between_two_stores_leaves_before_or_after(void)
{
    write_the_script();
    unsigned line = 0, stores = 0;
    bool is_over = false;
    while (!is_over) {
        const int descriptor = file();
        struct dorrit_ledger ledger = small(descriptor);
        is_over = played(&ledger, stores++, SCRIPT, play);
        struct dorrit_ledger_copy copy = copied(descriptor);
        /* It is where it was a store before, or where the next line leads. */
        if (!stands_after(&copy, line)) {
            line++;
            CHECK(line <= SCRIPT && stands_after(&copy, line));
        }
        CHECK(!is_over || line == SCRIPT);
        dorrit_ledger_free_copy(&copy);
        dorrit_ledger_close(&ledger);
        close(descriptor);
    }
    CHECK(stores > SCRIPT * 5);
}

/* ---- Parts of a message ---- */

enum { PARTS_MAX = 12, PART_SIZE = 45 };

/* What a client has sent: so many parts, `before` bytes in front of them and `behind` bytes behind, and what is
 * unparsed. */
struct sent {
    bool is_there;
    unsigned parts;
    uint32_t before, behind, unparsed;
};

static const uint8_t *part_bytes(uint32_t slot, unsigned number)
{
    return bytes + 1000 * slot + PART_SIZE * number;
}

static struct dorrit_carried sent_in_parts(uint32_t slot, struct sent sent, uint32_t last)
{
    struct dorrit_carried carried = plain(slot + 1);
    carried.input = (struct dorrit_span){bytes + 5000 + slot, sent.before + sent.behind};
    carried.parts = last;
    carried.parts_at = last == 0 ? 0 : sent.before;
    carried.parts_length = sent.parts * PART_SIZE;
    carried.unparsed = (struct dorrit_span){bytes + 6000 + slot, sent.unparsed};
    return carried;
}

static bool has_sent(const struct dorrit_ledger_copy *copy, uint32_t slot, struct sent sent)
{
    struct dorrit_carried found;
    const enum dorrit_ledger_verdict verdict = dorrit_ledger_get(copy, slot, &found);
    if (verdict == DORRIT_LEDGER_EMPTY) {
        return !sent.is_there;
    }
    CHECK_EQUAL(verdict, DORRIT_LEDGER_OK);
    const size_t parsed = sent.before + sent.behind + sent.parts * PART_SIZE;
    const size_t length = parsed + sent.unparsed;
    if (!sent.is_there || dorrit_ledger_input_length(&found) != length) {
        return false;
    }
    uint8_t expected[2000], whole[2000];
    memcpy(expected, bytes + 5000 + slot, sent.before);
    for (unsigned number = 0; number < sent.parts; number++) {
        memcpy(expected + sent.before + number * PART_SIZE, part_bytes(slot, number), PART_SIZE);
    }
    memcpy(expected + parsed - sent.behind, bytes + 5000 + slot + sent.before, sent.behind);
    memcpy(expected + parsed, bytes + 6000 + slot, sent.unparsed);
    memset(whole, 0, sizeof whole);
    dorrit_ledger_get_input(copy, &found, whole);
    return memcmp(whole, expected, length) == 0;
}

static uint32_t part_added(struct dorrit_ledger *ledger, uint32_t slot, uint32_t last, unsigned number)
{
    const struct dorrit_span part = {part_bytes(slot, number), PART_SIZE};
    const uint32_t added = dorrit_ledger_add_part(ledger, slot, last, part);
    CHECK(added != 0);
    return added;
}

/* What each slot has sent: before the first line of the script, and after each. */
static struct sent sent_after[SCRIPT + 1][STEPS_SLOTS];

static uint32_t last_parts[STEPS_SLOTS];

static void write_the_script_of_parts(void)
{
    for (unsigned line = 0; line < SCRIPT; line++) {
        memcpy(sent_after[line + 1], sent_after[line], sizeof sent_after[line]);
        struct sent *const sent = &sent_after[line + 1][line % STEPS_SLOTS];
        if (line % 11 == 10) {
            *sent = (struct sent){0};
            continue;
        }
        sent->is_there = true;
        sent->before = (uint32_t)random_number(20);
        sent->behind = (uint32_t)random_number(20);
        sent->unparsed = (uint32_t)random_number(600);
        sent->parts = line % 7 == 6 ? 0 : sent->parts + line / STEPS_SLOTS % 3;
        if (line % 5 == 4) {
            sent->parts = 2; /* of another message */
        }
        CHECK(sent->parts < PARTS_MAX);
    }
}

static void play_parts(struct dorrit_ledger *ledger, unsigned line)
{
    const uint32_t slot = line % STEPS_SLOTS;
    const struct sent before = sent_after[line][slot], sent = sent_after[line + 1][slot];
    if (!sent.is_there) {
        /* Some have come, which the record has not named yet. */
        const uint32_t added = part_added(ledger, slot, last_parts[slot], before.parts);
        dorrit_ledger_drop_parts(ledger, slot, part_added(ledger, slot, added, before.parts + 1));
        dorrit_ledger_remove(ledger, slot);
        last_parts[slot] = 0;
        return;
    }
    const bool is_other = sent.parts == 0 || line % 5 == 4;
    if (is_other) {
        last_parts[slot] = 0;
    }
    for (unsigned number = is_other ? 0 : before.parts; number < sent.parts; number++) {
        last_parts[slot] = part_added(ledger, slot, last_parts[slot], number);
    }
    const struct dorrit_carried carried = sent_in_parts(slot, sent, last_parts[slot]);
    CHECK_EQUAL(dorrit_ledger_put(ledger, slot, &carried), 0);
}

static bool have_sent(const struct dorrit_ledger_copy *copy, unsigned lines)
{
    for (uint32_t slot = 0; slot < STEPS_SLOTS; slot++) {
        if (!has_sent(copy, slot, sent_after[lines][slot])) {
            return false;
        }
    }
    return true;
}

static void a_message_in_parts_is_as_it_was_before_a_store_or_as_it_is_behind_it(void)
{
    write_the_script_of_parts();
    unsigned line = 0, stores = 0;
    bool is_over = false;
    while (!is_over) {
        const int descriptor = file();
        struct dorrit_ledger ledger = small(descriptor);
        memset(last_parts, 0, sizeof last_parts);
        is_over = played(&ledger, stores++, SCRIPT, play_parts);
        struct dorrit_ledger_copy copy = copied(descriptor);
        if (!have_sent(&copy, line)) {
            line++;
            CHECK(line <= SCRIPT && have_sent(&copy, line));
        }
        CHECK(!is_over || line == SCRIPT);
        dorrit_ledger_free_copy(&copy);
        dorrit_ledger_close(&ledger);
        close(descriptor);
    }
    CHECK(stores > SCRIPT * 5);
}

static void parts_that_nobody_names_are_used_again(void)
{
    const int descriptor = file();
    struct dorrit_ledger ledger = small(descriptor);
    uint32_t after_first = 0;
    for (unsigned round = 0; round < 300; round++) {
        struct dorrit_carried carried = plain(1);
        uint32_t last = 0;
        for (unsigned number = 0; number < 5; number++) {
            last = part_added(&ledger, 1, last, number);
            carried = sent_in_parts(1, (struct sent){true, number + 1, 3, 4, 300}, last);
            CHECK_EQUAL(dorrit_ledger_put(&ledger, 1, &carried), 0);
        }
        last = part_added(&ledger, 1, last, 5);
        carried.parts = last;
        switch (round % 5) {
        case 0: /* the message is complete */
            dorrit_ledger_drop_parts(&ledger, 1, last);
            carried = plain(1);
            CHECK_EQUAL(dorrit_ledger_put(&ledger, 1, &carried), 0);
            break;
        case 1: /* another one has begun */
            dorrit_ledger_drop_parts(&ledger, 1, last);
            last = part_added(&ledger, 1, part_added(&ledger, 1, 0, 0), 1);
            carried = sent_in_parts(1, (struct sent){true, 2, 3, 4, 5}, last);
            CHECK_EQUAL(dorrit_ledger_put(&ledger, 1, &carried), 0);
            break;
        case 2: /* the connection ends */
            dorrit_ledger_drop_parts(&ledger, 1, last);
            dorrit_ledger_remove(&ledger, 1);
            break;
        case 3: /* there is no room */
            carried.begun = (struct dorrit_span){bytes, sizeof bytes};
            carried.flags = DORRIT_CARRIED_BEGUN;
            for (unsigned time = 0; time < 8; time++) {
                carried.saved = (struct dorrit_span){bytes + time, sizeof bytes - time};
                if (time % 2 == 0) {
                    ledger.units_most = ledger.units_used;
                }
                CHECK_EQUAL(dorrit_ledger_put(&ledger, 1, &carried), -1);
                carried.parts = 0;
            }
            ledger.units_most = (1 << 20) / DORRIT_LEDGER_UNIT + 1;
            break;
        default: /* another slot has none of them */
            dorrit_ledger_drop_parts(&ledger, 0, last);
            CHECK_EQUAL(dorrit_ledger_add_part(&ledger, 0, last, carried.input), 0);
            dorrit_ledger_drop_parts(&ledger, 1, last);
            dorrit_ledger_remove(&ledger, 1);
            break;
        }
        if (round == 5) {
            after_first = ledger.units_used;
        }
    }
    CHECK_EQUAL(ledger.units_used, after_first);
    dorrit_ledger_close(&ledger);
    close(descriptor);
}

/* ---- Damage ---- */

/* A ledger in which something of each kind is; returns its length. */
static size_t written_to_disk(int descriptor, struct dorrit_carried *put)
{
    struct dorrit_ledger ledger = small(descriptor);
    const uint32_t frame = dorrit_ledger_add_frame(
        &ledger, (struct dorrit_span){bytes, 2}, (struct dorrit_span){bytes + 50, 100}, true);
    for (uint32_t slot = 0; slot < STEPS_SLOTS; slot++) {
        fill(&put[slot]);
        put[slot].about = (struct dorrit_span){bytes + 7 * slot, 100};
        put[slot].saved = (struct dorrit_span){bytes + 9 * slot, 50};
        put[slot].topics = (struct dorrit_span){bytes + 13 * slot, 30};
        put[slot].begun = (struct dorrit_span){bytes + 11 * slot, 40};
        put[slot].flags = DORRIT_CARRIED_BEGUN;
        put[slot].input = (struct dorrit_span){bytes + slot, 20};
        put[slot].frames[0] = frame;
        put[slot].frames_length = 1;
        CHECK_EQUAL(dorrit_ledger_put(&ledger, slot, &put[slot]), 0);
    }
    const size_t used = 2 * 4096 + (size_t)ledger.units_used * DORRIT_LEDGER_UNIT;
    dorrit_ledger_close(&ledger);
    return used;
}

static void no_damage_changes_what_comes_back(void)
{
    const int descriptor = file();
    struct dorrit_carried put[STEPS_SLOTS];
    const size_t used = written_to_disk(descriptor, put);
    uint8_t *const memory
        = mmap(NULL, used, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    CHECK(memory != MAP_FAILED);
    unsigned lost = 0;
    for (size_t place = 0; place < used; place++) {
        if (place == 200) {
            place = 4096; /* the rest of the first page is empty */
        }
        const uint8_t before = memory[place];
        for (unsigned way = 0; way < 3; way++) {
            memory[place] = way == 0 ? before ^ 1 : way == 1 ? before ^ 0x80 : (uint8_t)~before;
            struct dorrit_ledger_copy copy;
            const enum dorrit_ledger_verdict verdict = dorrit_ledger_read(&copy, descriptor);
            if (verdict != DORRIT_LEDGER_OK) {
                CHECK(place < 4096);
                lost++;
                continue;
            }
            for (uint32_t slot = 0; slot < copy.slots && slot < STEPS_SLOTS; slot++) {
                struct dorrit_carried found;
                const enum dorrit_ledger_verdict judged = dorrit_ledger_get(&copy, slot, &found);
                if (judged != DORRIT_LEDGER_OK) {
                    lost++;
                    continue;
                }
                CHECK(same(&found, &put[slot]));
                struct dorrit_span frame;
                uint8_t length;
                bool counted;
                if (dorrit_ledger_get_frame(&copy, found.frames[0], &frame, &length, &counted)
                    == DORRIT_LEDGER_OK) {
                    CHECK(frame.length == 102 && memcmp(frame.bytes + 2, bytes + 50, 100) == 0);
                    CHECK(length == 2 && counted);
                } else {
                    lost++;
                }
            }
            dorrit_ledger_free_copy(&copy);
        }
        memory[place] = before;
    }
    CHECK(lost > 3000);
    CHECK_EQUAL(munmap(memory, used), 0);
    close(descriptor);
}

static void no_damage_changes_what_came_in_parts(void)
{
    const int descriptor = file();
    struct dorrit_ledger ledger = small(descriptor);
    const struct sent sent = {true, 3, 5, 6, 7};
    uint32_t last = 0;
    for (unsigned number = 0; number < sent.parts; number++) {
        last = part_added(&ledger, 1, last, number);
    }
    const struct dorrit_carried carried = sent_in_parts(1, sent, last);
    CHECK_EQUAL(dorrit_ledger_put(&ledger, 1, &carried), 0);
    uint8_t *const chunks = unit_of(&ledger, 0);
    unsigned lost = 0;
    for (size_t place = 0; place < (size_t)ledger.units_used * DORRIT_LEDGER_UNIT; place++) {
        const uint8_t before = chunks[place];
        for (unsigned way = 0; way < 3; way++) {
            chunks[place] = way == 0 ? before ^ 1 : way == 1 ? before ^ 0x80 : (uint8_t)~before;
            struct dorrit_ledger_copy copy = copied(descriptor);
            struct dorrit_carried found;
            if (dorrit_ledger_get(&copy, 1, &found) == DORRIT_LEDGER_OK) {
                CHECK(has_sent(&copy, 1, sent));
            } else {
                lost++;
            }
            dorrit_ledger_free_copy(&copy);
        }
        chunks[place] = before;
    }
    CHECK(lost > 3 * 3 * PART_SIZE);
    dorrit_ledger_close(&ledger);
    close(descriptor);
}

/* A part that leads to itself, or to one of somebody else. */
static void parts_that_lead_elsewhere_are_damage(void)
{
    const int descriptor = file();
    struct dorrit_ledger ledger = small(descriptor);
    const struct sent sent = {true, 2, 0, 0, 0};
    uint32_t firsts[2], lasts[2];
    for (uint32_t slot = 0; slot < 2; slot++) {
        firsts[slot] = part_added(&ledger, slot, 0, 0);
        lasts[slot] = part_added(&ledger, slot, firsts[slot], 1);
        const struct dorrit_carried carried = sent_in_parts(slot, sent, lasts[slot]);
        CHECK_EQUAL(dorrit_ledger_put(&ledger, slot, &carried), 0);
    }
    const uint32_t wrong[] = {lasts[1], firsts[0], lasts[0], 0, 1u << 20, record_of(&ledger, 1)->body};
    uint8_t *const content = unit_of(&ledger, lasts[1]) + sizeof(struct chunk);
    struct chunk head;
    for (size_t index = 0; index < sizeof wrong / sizeof wrong[0]; index++) {
        memcpy(content, &wrong[index], sizeof wrong[index]);
        memcpy(&head, unit_of(&ledger, lasts[1]), sizeof head);
        head.checksum = chunk_checksum(&head, content);
        memcpy(unit_of(&ledger, lasts[1]), &head, sizeof head);
        struct dorrit_ledger_copy copy = copied(descriptor);
        struct dorrit_carried found;
        CHECK_EQUAL(dorrit_ledger_get(&copy, 1, &found), DORRIT_LEDGER_DAMAGED);
        CHECK(found.parts == 0 && found.parts_length == 0);
        CHECK(has_sent(&copy, 0, sent));
        dorrit_ledger_free_copy(&copy);
    }
    /* The writer follows it no further than that either. */
    memcpy(content, &lasts[1], sizeof lasts[1]);
    dorrit_ledger_remove(&ledger, 1);
    dorrit_ledger_close(&ledger);
    close(descriptor);
}

/* Writes a number into a chunk with what belongs to it: the right checksums. */
static void put_into_chunk(
    struct dorrit_ledger *ledger, uint32_t chunk, size_t place, uint64_t number, size_t size)
{
    uint8_t *const content = unit_of(ledger, chunk) + sizeof(struct chunk);
    struct chunk head;
    memcpy(content + place, &number, size);
    memcpy(&head, unit_of(ledger, chunk), sizeof head);
    head.checksum = chunk_checksum(&head, content);
    memcpy(unit_of(ledger, chunk), &head, sizeof head);
}

static void put_into_body(struct dorrit_ledger *ledger, size_t place, uint64_t number, size_t size)
{
    put_into_chunk(ledger, record_of(ledger, 1)->body, place, number, size);
}

static void put_into_kept(struct dorrit_ledger *ledger, size_t place, uint64_t number, size_t size)
{
    put_into_chunk(ledger, record_of(ledger, 1)->saved, place, number, size);
}

static void put_into_record(
    struct dorrit_ledger *ledger, size_t place, uint64_t number, size_t size)
{
    struct record *const record = record_of(ledger, 1);
    memcpy((uint8_t *)record + place, &number, size);
    record->checksum = record_checksum(record);
}

static void a_number_that_makes_no_sense_is_damage_with_the_right_checksum_too(void)
{
    static const struct {
        void (*put)(struct dorrit_ledger *, size_t, uint64_t, size_t);
        size_t place, size;
        uint64_t number;
    } wrong[] = {
        {put_into_record, offsetof(struct record, used), 4, 3},
        {put_into_record, offsetof(struct record, descriptor), 4, UINT32_MAX - 1},
        {put_into_record, offsetof(struct record, last_life), 1, DORRIT_LINGERING + 1},
        {put_into_record, offsetof(struct record, admission), 1, DORRIT_ACCEPTED + 1},
        {put_into_record, offsetof(struct record, parsing), 1, DORRIT_AT_END + 1},
        {put_into_record, offsetof(struct record, flags), 2, KNOWN_FLAGS + 1},
        {put_into_record, offsetof(struct record, about), 4, UINT32_MAX},
        {put_into_record, offsetof(struct record, saved), 4, 1u << 20},
        {put_into_record, offsetof(struct record, body), 4, UINT32_MAX},
        {put_into_kept, offsetof(struct kept, saved_length), 4, UINT32_MAX},
        {put_into_kept, offsetof(struct kept, saved_length), 4, 50 + 30 + 1},
        {put_into_body, offsetof(struct body, frames_length), 2, DORRIT_LEDGER_FRAMES_MAX + 1},
        {put_into_body, offsetof(struct body, frames_length), 2, 0},
        {put_into_body, offsetof(struct body, reason_length), 1, DORRIT_LEDGER_REASON_MAX + 1},
        {put_into_body, offsetof(struct body, input_length), 4, UINT32_MAX},
        {put_into_body, offsetof(struct body, unparsed), 4, UINT32_MAX},
        {put_into_body, offsetof(struct body, unparsed_from), 4, UINT32_MAX},
        {put_into_body, offsetof(struct body, begun), 4, UINT32_MAX},
        {put_into_body, offsetof(struct body, parts), 4, UINT32_MAX},
        {put_into_body, offsetof(struct body, parts_at), 4, 20 + 600 + 1},
        {put_into_body, offsetof(struct body, parts_length), 4, 1},
        {put_into_body, offsetof(struct body, parts_length), 4, UINT32_MAX},
    };
    for (size_t index = 0; index < sizeof wrong / sizeof wrong[0]; index++) {
        const int descriptor = file();
        struct dorrit_carried put[STEPS_SLOTS];
        written_to_disk(descriptor, put);
        struct dorrit_ledger ledger = {.slots = STEPS_SLOTS, .mapped = 1 << 20};
        ledger.memory
            = mmap(NULL, ledger.mapped, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
        CHECK(ledger.memory != MAP_FAILED);
        wrong[index].put(&ledger, wrong[index].place, wrong[index].number, wrong[index].size);
        struct dorrit_ledger_copy copy = copied(descriptor);
        struct dorrit_carried found;
        CHECK_EQUAL(dorrit_ledger_get(&copy, 1, &found), DORRIT_LEDGER_DAMAGED);
        CHECK(found.frames_length == 0 && found.about.length == 0 && found.last_life == 0);
        CHECK_EQUAL(dorrit_ledger_get(&copy, 2, &found), DORRIT_LEDGER_OK);
        dorrit_ledger_free_copy(&copy);
        dorrit_ledger_close(&ledger);
        close(descriptor);
    }
}

/* What is one client's is never another's, whatever a record says. */
static void a_chunk_of_somebody_else_is_damage(void)
{
    const int descriptor = file();
    struct dorrit_ledger ledger = small(descriptor);
    struct dorrit_carried carried = plain(1);
    carried.about = (struct dorrit_span){bytes, 100};
    for (uint32_t slot = 0; slot < 3; slot++) {
        carried.saved = (struct dorrit_span){bytes + 300 * slot, 50};
        CHECK_EQUAL(dorrit_ledger_put(&ledger, slot, &carried), 0);
    }
    put_into_record(&ledger, offsetof(struct record, saved), record_of(&ledger, 2)->saved, 4);
    struct dorrit_ledger_copy copy = copied(descriptor);
    struct dorrit_carried found;
    CHECK_EQUAL(dorrit_ledger_get(&copy, 1, &found), DORRIT_LEDGER_DAMAGED);
    dorrit_ledger_free_copy(&copy);
    put_into_record(&ledger, offsetof(struct record, saved), record_of(&ledger, 1)->about, 4);
    copy = copied(descriptor);
    CHECK_EQUAL(dorrit_ledger_get(&copy, 1, &found), DORRIT_LEDGER_DAMAGED);
    dorrit_ledger_free_copy(&copy);
    dorrit_ledger_close(&ledger);
    close(descriptor);
}

static void what_is_no_ledger_of_ours_is_told_apart(void)
{
    struct dorrit_ledger_copy copy;
    int descriptor = file();
    CHECK_EQUAL(dorrit_ledger_read(&copy, descriptor), DORRIT_LEDGER_DAMAGED);
    CHECK_EQUAL(write(descriptor, bytes, 8192), 8192);
    CHECK_EQUAL(dorrit_ledger_read(&copy, descriptor), DORRIT_LEDGER_DAMAGED);
    CHECK_EQUAL(dorrit_ledger_read(&copy, -1), DORRIT_LEDGER_UNREADABLE);
    struct dorrit_carried put[STEPS_SLOTS];
    CHECK_EQUAL(ftruncate(descriptor, 0), 0);
    written_to_disk(descriptor, put);
    uint32_t format = DORRIT_LEDGER_FORMAT + 1;
    CHECK_EQUAL(pwrite(descriptor, &format, sizeof format, 8), sizeof format);
    CHECK_EQUAL(dorrit_ledger_read(&copy, descriptor), DORRIT_LEDGER_NEWER);
    format = 0;
    CHECK_EQUAL(pwrite(descriptor, &format, sizeof format, 8), sizeof format);
    CHECK_EQUAL(dorrit_ledger_read(&copy, descriptor), DORRIT_LEDGER_DAMAGED);
    /* Cut off: what is not there is not looked for. */
    CHECK_EQUAL(ftruncate(descriptor, 0), 0);
    written_to_disk(descriptor, put);
    CHECK_EQUAL(ftruncate(descriptor, 8192), 0);
    CHECK_EQUAL(dorrit_ledger_read(&copy, descriptor), DORRIT_LEDGER_DAMAGED);
    CHECK_EQUAL(ftruncate(descriptor, 4096), 0);
    CHECK_EQUAL(dorrit_ledger_read(&copy, descriptor), DORRIT_LEDGER_DAMAGED);
    close(descriptor);
}

static void what_the_writer_finds_damaged_hurts_nobody_else(void)
{
    const int descriptor = file();
    struct dorrit_ledger ledger = made(descriptor);
    for (unsigned round = 0; round < 3000; round++) {
        struct dorrit_carried carried;
        fill(&carried);
        const uint32_t slot = (uint32_t)random_number(20);
        if (dorrit_ledger_put(&ledger, slot, &carried) != 0) {
            CHECK_EQUAL(errno, ENOSPC);
        }
        /* Somebody writes anywhere into records and chunks. */
        const size_t place = 4096 + (size_t)random_number(4096);
        uint8_t *const memory = random_number(2) == 0
            ? ledger.memory + place
            : ledger.memory + 4096 + 64 * SLOTS + random_number(64 * ledger.units_used);
        *memory = (uint8_t)random_number(256);
        if (random_number(3) == 0) {
            dorrit_ledger_remove(&ledger, (uint32_t)random_number(20));
        }
    }
    dorrit_ledger_close(&ledger);
    close(descriptor);
}

int main(void)
{
    for (size_t index = 0; index < sizeof bytes; index++) {
        bytes[index] = (uint8_t)random_number(256);
    }
    RUN(what_is_put_comes_back);
    RUN(a_frame_is_there_once_for_any_number_of_queues);
    RUN(what_is_let_go_is_used_again);
    RUN(what_is_unparsed_is_written_once_while_it_is_parsed);
    RUN(memory_is_not_given_back_and_had_again_all_the_time);
    RUN(what_has_no_room_is_out_and_the_others_stay);
    RUN(a_file_that_may_not_grow_is_no_fault);
    RUN(what_makes_no_sense_is_refused);
    RUN(whoever_ends_between_two_stores_leaves_before_or_after);
    RUN(a_message_in_parts_is_as_it_was_before_a_store_or_as_it_is_behind_it);
    RUN(parts_that_nobody_names_are_used_again);
    RUN(no_damage_changes_what_comes_back);
    RUN(no_damage_changes_what_came_in_parts);
    RUN(parts_that_lead_elsewhere_are_damage);
    RUN(a_number_that_makes_no_sense_is_damage_with_the_right_checksum_too);
    RUN(a_chunk_of_somebody_else_is_damage);
    RUN(what_is_no_ledger_of_ours_is_told_apart);
    RUN(what_the_writer_finds_damaged_hurts_nobody_else);
    return 0;
}
