/* The journal of a ledger: each message is in all queues that it was sent to, or in none, whenever the
 * process ends; nothing that is damaged is taken for right.
 *
 * It includes the ledger, to write into it what nobody would. Compiled with DORRIT_LEDGER_STEPS, so that
 * what is under way can be left before any store. */
#include "../../src/dorrit/engine/core/journal.c"
#include "../../src/dorrit/engine/core/ledger.c"
#include "../../src/dorrit/engine/core/ledger_descriptors.c"
#include "../../src/dorrit/engine/core/ledger_read.c"

#include "stores.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SLOTS = 4, SCRIPT = 60, JOURNAL = 1 << 16, QUEUE = SCRIPT };

static struct dorrit_ledger made(int descriptor, uint32_t journal_most)
{
    struct dorrit_ledger ledger;
    CHECK_EQUAL(dorrit_ledger_create(&ledger, descriptor, SLOTS, 1 << 20, journal_most), 0);
    return ledger;
}

/* ---- A model: messages are numbers, and the queue of each slot has some ---- */

struct queue {
    unsigned length;
    uint32_t messages[QUEUE];
};

static uint8_t content[SCRIPT + 2][300];

static struct dorrit_span header_of_message(uint32_t message)
{
    return (struct dorrit_span){content[message], message % 5};
}

static struct dorrit_span payload_of(uint32_t message)
{
    return (struct dorrit_span){content[message] + message % 5, 1 + message * 37 % 250};
}

static void put(struct dorrit_ledger *ledger, uint32_t slot, const struct queue *queue)
{
    struct dorrit_carried carried
        = {.number = slot + 1, .last_life = DORRIT_OPEN, .descriptor = (int32_t)slot + 5};
    for (unsigned index = 0; index < queue->length; index++) {
        const uint32_t message = queue->messages[index];
        carried.frames[index] = dorrit_ledger_add_frame(
            ledger, header_of_message(message), payload_of(message), message % 2 == 1);
        CHECK(carried.frames[index] != 0);
    }
    carried.frames_length = (uint16_t)queue->length;
    CHECK_EQUAL(dorrit_ledger_put(ledger, slot, &carried), 0);
    /* The chunks are not freed: this is a short life. */
}

static uint32_t sent(struct dorrit_ledger *ledger, uint32_t message)
{
    return dorrit_journal_add_frame(
        ledger, header_of_message(message), payload_of(message), message % 2 == 1);
}

static bool has(const struct dorrit_ledger_copy *copy, uint32_t slot, const struct queue *queue)
{
    struct dorrit_carried found;
    const enum dorrit_ledger_verdict verdict = dorrit_ledger_get(copy, slot, &found);
    if (verdict == DORRIT_LEDGER_EMPTY) {
        return queue->length == 0;
    }
    CHECK_EQUAL(verdict, DORRIT_LEDGER_OK);
    if (found.frames_length != queue->length) {
        return false;
    }
    for (unsigned index = 0; index < queue->length; index++) {
        struct dorrit_span frame;
        uint8_t header_length;
        bool counted;
        const uint32_t message = queue->messages[index];
        const struct dorrit_span header = header_of_message(message), payload = payload_of(message);
        CHECK_EQUAL(dorrit_ledger_get_frame(
                        copy, found.frames[index], &frame, &header_length, &counted),
            DORRIT_LEDGER_OK);
        if (frame.length != header.length + payload.length || header_length != header.length
            || counted != (message % 2 == 1)
            || memcmp(frame.bytes, content[message], frame.length) != 0) {
            return false;
        }
    }
    return true;
}

/* ---- */

static void what_is_sent_stands_behind_what_was_put(void)
{
    const int descriptor = file();
    struct dorrit_ledger ledger = made(descriptor, JOURNAL);
    struct queue queues[SLOTS] = {{.length = 2, .messages = {1, 2}}};
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        put(&ledger, slot, &queues[slot]);
    }
    const uint32_t frame = sent(&ledger, 3);
    for (uint32_t slot = 0; slot < SLOTS; slot += 2) {
        dorrit_journal_deliver(&ledger, frame, slot);
    }
    struct dorrit_ledger_copy copy = copied(descriptor);
    CHECK(has(&copy, 0, &queues[0]) && has(&copy, 2, &queues[2]));
    dorrit_ledger_free_copy(&copy);
    dorrit_journal_commit(&ledger);
    dorrit_journal_commit(&ledger); /* there is nothing that does not hold */
    queues[0] = (struct queue){.length = 3, .messages = {1, 2, 3}};
    queues[2] = (struct queue){.length = 1, .messages = {3}};
    copy = copied(descriptor);
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        CHECK(has(&copy, slot, &queues[slot]));
    }
    dorrit_ledger_free_copy(&copy);
    dorrit_journal_written(&ledger, 2);
    put(&ledger, 0, &queues[0]);
    dorrit_journal_empty(&ledger);
    queues[2].length = 0;
    copy = copied(descriptor);
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        CHECK(has(&copy, slot, &queues[slot]));
    }
    CHECK_EQUAL(copy.journal_damaged, false);
    dorrit_ledger_free_copy(&copy);
    dorrit_ledger_close(&ledger);
    close(descriptor);
}

static void who_is_at_work_is_said(void)
{
    const int descriptor = file();
    struct dorrit_ledger ledger = made(descriptor, JOURNAL);
    dorrit_ledger_begin_input(&ledger, 2);
    dorrit_ledger_begin_write(&ledger, 3);
    struct dorrit_ledger_copy copy = copied(descriptor);
    CHECK(copy.current == 3 && copy.writing == 4);
    dorrit_ledger_free_copy(&copy);
    dorrit_ledger_end_input(&ledger);
    dorrit_ledger_end_write(&ledger);
    copy = copied(descriptor);
    CHECK(copy.current == 0 && copy.writing == 0);
    dorrit_ledger_free_copy(&copy);
    dorrit_ledger_close(&ledger);
    close(descriptor);
}

static void what_has_no_room_is_told_beforehand(void)
{
    enum { SMALL = 512 };
    for (size_t length = 1; length < 300; length++) {
        const int descriptor = file();
        struct dorrit_ledger ledger = made(descriptor, SMALL);
        const struct dorrit_span none = {NULL, 0}, payload = {content[0], length};
        unsigned messages = 0;
        while (dorrit_journal_has_room(&ledger, length, 1)) {
            const uint32_t frame = dorrit_journal_add_frame(&ledger, none, payload, true);
            CHECK(frame != 0);
            dorrit_journal_deliver(&ledger, frame, 0);
            dorrit_journal_commit(&ledger);
            CHECK(ledger.journal_used <= SMALL);
            messages++;
        }
        CHECK(messages == 0 ? length > SMALL / 2 : messages <= SMALL / length);
        put(&ledger, 0, &(struct queue){0});
        dorrit_journal_empty(&ledger);
        CHECK(dorrit_journal_has_room(&ledger, length, 1) == (messages > 0));
        dorrit_ledger_close(&ledger);
        close(descriptor);
    }
}

/* Nobody has asked before for room, and the journal has no memory yet. */
static void what_is_sent_first_of_all_needs_room_too(void)
{
    enum { SMALL = 8192, EACH = 300 };
    const struct dorrit_output_frame frame
        = {.payload = content[0], .payload_length = EACH, .header_length = 4};
    for (int first = 0; first < 2; first++) {
        const int descriptor = file();
        struct dorrit_ledger ledger = made(descriptor, SMALL);
        unsigned more = 0;
        bool had_room = true;
        while (had_room && more <= SMALL) {
            had_room = first == 0 ? dorrit_journal_send(&ledger, &frame, 0) != 0
                                  : dorrit_journal_deliver(&ledger, JOURNAL_FIRST, 0);
            CHECK(ledger.journal_used <= ledger.journal_size && ledger.journal_size <= SMALL);
            more += had_room;
        }
        CHECK(more > SMALL / 2 / (first == 0 ? EACH : JOURNAL_UNIT));
        CHECK(!had_room);
        dorrit_ledger_close(&ledger);
        close(descriptor);
    }
}

/* Places of the first round of all must not be those of the one that comes after the last. */
static void rounds_begin_anew_after_the_last_one(void)
{
    const int descriptor = file();
    struct dorrit_ledger ledger = made(descriptor, JOURNAL);
    const struct queue nothing = {0}, something = {.length = 1, .messages = {1}};
    dorrit_journal_deliver(&ledger, sent(&ledger, 1), 0);
    dorrit_journal_commit(&ledger);
    put(&ledger, 0, &nothing);
    dorrit_journal_empty(&ledger);
    ledger.journal_round = UINT32_MAX;
    dorrit_journal_deliver(&ledger, sent(&ledger, 1), 1);
    dorrit_journal_empty(&ledger);
    CHECK_EQUAL(ledger.journal_round, 1);
    dorrit_journal_deliver(&ledger, sent(&ledger, 1), 0);
    dorrit_journal_commit(&ledger);
    struct dorrit_ledger_copy copy = copied(descriptor);
    CHECK(has(&copy, 0, &something));
    dorrit_ledger_free_copy(&copy);
    dorrit_ledger_close(&ledger);
    close(descriptor);
}

/* Behind what holds stands what an earlier round has left. It is whole, and was another client's. */
static void what_an_earlier_round_has_left_is_nobodys(void)
{
    const int descriptor = file();
    struct dorrit_ledger ledger = made(descriptor, JOURNAL);
    for (uint32_t slot = 0; slot < 2; slot++) {
        put(&ledger, slot, &(struct queue){0});
        dorrit_journal_deliver(&ledger, sent(&ledger, 1), slot);
        dorrit_journal_commit(&ledger);
    }
    const uint32_t further = ledger.journal_held;
    dorrit_journal_empty(&ledger);
    dorrit_journal_deliver(&ledger, sent(&ledger, 1), 0);
    dorrit_journal_commit(&ledger);
    CHECK(ledger.journal_held < further);
    header_of(&ledger)->journal = journal_place(ledger.journal_round, further);
    struct dorrit_ledger_copy copy = copied(descriptor);
    struct dorrit_carried found;
    CHECK_EQUAL(dorrit_ledger_get(&copy, 1, &found), DORRIT_LEDGER_DAMAGED);
    dorrit_ledger_free_copy(&copy);
    dorrit_ledger_close(&ledger);
    close(descriptor);
}

/* ---- Ends between two stores ---- */

/* What waits for each slot: before the first line of the script, and after each. */
static struct queue after[SCRIPT + 1][SLOTS];

/* How much of that stands in its record, while the script is played. */
static bool in_record[SLOTS];

enum what { SENDS, SENDS_TWICE, WRITES, PUTS, ENDS_A_TURN, KINDS };

static enum what what_happens(unsigned line)
{
    return (enum what)(line * line * 31 % 97 % KINDS);
}

static bool is_sent_to(unsigned line, uint32_t slot)
{
    return (line * 11 + slot * 7) % 5 < 3;
}

static void play(struct dorrit_ledger *ledger, unsigned line)
{
    const uint32_t slot = line * 7 % SLOTS;
    const enum what what = what_happens(line);
    if (what == SENDS || what == SENDS_TWICE) {
        /* Two messages of which each goes to its own hold together: one store. */
        for (unsigned time = 0; time <= (what == SENDS_TWICE); time++) {
            const uint32_t frame = sent(ledger, line + time);
            for (uint32_t to = 0; to < SLOTS; to++) {
                if (is_sent_to(line + time, to)) {
                    dorrit_journal_deliver(ledger, frame, to);
                }
            }
        }
        dorrit_journal_commit(ledger);
    } else if (what == WRITES && !in_record[slot]) {
        dorrit_journal_written(ledger, slot);
    } else if (what == WRITES || what == PUTS) {
        put(ledger, slot, &after[line + 1][slot]);
        in_record[slot] = after[line + 1][slot].length > 0;
    } else {
        for (uint32_t one = 0; one < SLOTS; one++) {
            put(ledger, one, &after[line][one]);
            in_record[one] = after[line][one].length > 0;
        }
        dorrit_journal_empty(ledger);
    }
}

static void write_the_script(void)
{
    for (unsigned line = 0; line < SCRIPT; line++) {
        memcpy(after[line + 1], after[line], sizeof after[line]);
        const enum what what = what_happens(line);
        for (unsigned time = 0; time <= (what == SENDS_TWICE) && what <= SENDS_TWICE; time++) {
            for (uint32_t to = 0; to < SLOTS; to++) {
                struct queue *const queue = &after[line + 1][to];
                if (is_sent_to(line + time, to)) {
                    queue->messages[queue->length++] = line + time;
                }
            }
        }
        if (what == WRITES) {
            after[line + 1][line * 7 % SLOTS].length = 0;
        }
    }
}

static bool stands_after(const struct dorrit_ledger_copy *copy, unsigned lines)
{
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        if (!has(copy, slot, &after[lines][slot])) {
            return false;
        }
    }
    return true;
}

static void whoever_ends_between_two_stores_has_sent_to_all_or_to_none(void)
{
    write_the_script();
    unsigned line = 0, stores = 0;
    bool is_over = false;
    while (!is_over) {
        const int descriptor = file();
        struct dorrit_ledger ledger = made(descriptor, JOURNAL);
        for (uint32_t slot = 0; slot < SLOTS; slot++) {
            put(&ledger, slot, &after[0][slot]);
        }
        memset(in_record, 0, sizeof in_record);
        is_over = played(&ledger, stores++, SCRIPT, play);
        struct dorrit_ledger_copy copy = copied(descriptor);
        /* It is where it was a store before, or where one of the next lines leads: some change nothing. */
        while (!stands_after(&copy, line)) {
            line++;
            CHECK(line <= SCRIPT);
        }
        CHECK_EQUAL(copy.journal_damaged, false);
        dorrit_ledger_free_copy(&copy);
        dorrit_ledger_close(&ledger);
        close(descriptor);
    }
    CHECK(stores > SCRIPT * 10);
}

/* ---- Damage ---- */

static void no_damage_changes_what_is_sent(void)
{
    const int descriptor = file();
    struct dorrit_ledger ledger = made(descriptor, JOURNAL);
    const struct queue queues[] = {
        {.length = 3, .messages = {7, 1, 3}}, {.length = 1, .messages = {1}}, {.length = 0}};
    put(&ledger, 0, &(struct queue){.length = 1, .messages = {7}});
    put(&ledger, 1, &queues[2]);
    put(&ledger, 2, &queues[2]);
    const uint32_t one = sent(&ledger, 1);
    dorrit_journal_deliver(&ledger, one, 0);
    dorrit_journal_deliver(&ledger, one, 1);
    dorrit_journal_deliver(&ledger, one, 2);
    dorrit_journal_commit(&ledger);
    dorrit_journal_deliver(&ledger, sent(&ledger, 3), 0);
    dorrit_journal_commit(&ledger);
    dorrit_journal_written(&ledger, 2);
    unsigned lost = 0;
    for (uint32_t place = 0; place < ledger.journal_used; place++) {
        const uint8_t before = ledger.journal[place];
        for (unsigned way = 0; way < 3; way++) {
            ledger.journal[place]
                = way == 0 ? before ^ 1 : way == 1 ? before ^ 0x80 : (uint8_t)~before;
            struct dorrit_ledger_copy copy = copied(descriptor);
            for (uint32_t slot = 0; slot < 3; slot++) {
                struct dorrit_carried found;
                if (dorrit_ledger_get(&copy, slot, &found) == DORRIT_LEDGER_OK) {
                    CHECK(has(&copy, slot, &queues[slot]));
                } else {
                    lost++;
                }
            }
            dorrit_ledger_free_copy(&copy);
        }
        ledger.journal[place] = before;
    }
    CHECK(lost > 3 * 100);
    dorrit_ledger_close(&ledger);
    close(descriptor);
}

static void no_damage_of_how_far_it_has_come_changes_what_is_sent(void)
{
    const int descriptor = file();
    struct dorrit_ledger ledger = made(descriptor, JOURNAL);
    const struct queue queues[] = {
        {.length = 2, .messages = {1, 3}}, {.length = 1, .messages = {3}}, {.length = 0}};
    for (uint32_t slot = 0; slot < 3; slot++) {
        put(&ledger, slot, &(struct queue){0});
    }
    const uint32_t one = sent(&ledger, 1);
    for (uint32_t slot = 0; slot < 3; slot++) {
        dorrit_journal_deliver(&ledger, one, slot);
    }
    dorrit_journal_commit(&ledger);
    dorrit_journal_written(&ledger, 1);
    const uint32_t other = sent(&ledger, 3);
    for (uint32_t slot = 0; slot < 3; slot++) {
        dorrit_journal_deliver(&ledger, other, slot);
    }
    dorrit_journal_commit(&ledger);
    dorrit_journal_written(&ledger, 2);
    uint64_t *const places[] = {&header_of(&ledger)->journal, &record_of(&ledger, 0)->taken,
        &record_of(&ledger, 1)->taken, &record_of(&ledger, 2)->taken};
    unsigned lost = 0;
    for (unsigned index = 0; index < 4; index++) {
        const uint64_t before = *places[index];
        for (unsigned way = 0; way <= 64; way++) {
            *places[index] = way == 64 ? 0 : before ^ UINT64_C(1) << way;
            struct dorrit_ledger_copy copy;
            if (dorrit_ledger_read(&copy, descriptor) != DORRIT_LEDGER_OK) {
                lost++;
                continue;
            }
            for (uint32_t slot = 0; slot < 3; slot++) {
                struct dorrit_carried found;
                if (dorrit_ledger_get(&copy, slot, &found) == DORRIT_LEDGER_OK) {
                    CHECK(has(&copy, slot, &queues[slot]));
                } else {
                    lost++;
                }
            }
            dorrit_ledger_free_copy(&copy);
        }
        *places[index] = before;
    }
    CHECK_EQUAL(lost, 4 * 65);
    dorrit_ledger_close(&ledger);
    close(descriptor);
}

static uint32_t said[SLOTS * 2];
static unsigned said_count;

static void say(int descriptor)
{
    CHECK(said_count < SLOTS * 2);
    said[said_count++] = (uint32_t)descriptor;
}

static void the_descriptors_of_all_whole_records_are_said(void)
{
    const int descriptor = file();
    struct dorrit_ledger ledger = made(descriptor, JOURNAL);
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        put(&ledger, slot, &(struct queue){0});
    }
    dorrit_ledger_remove(&ledger, 1);
    record_of(&ledger, 2)->number++;
    dorrit_journal_written(&ledger, 3); /* which is not in the checksum */
    said_count = 0;
    dorrit_ledger_each_descriptor(ledger.memory, ledger.mapped, say);
    CHECK(said_count == 2 && said[0] == 5 && said[1] == 8);
    /* One that is being put in its place counts already. */
    header_of(&ledger)->put = *record_of(&ledger, 3);
    header_of(&ledger)->putting = 3;
    header_of(&ledger)->put.used = 3;
    header_of(&ledger)->put.checksum = record_checksum(&header_of(&ledger)->put);
    said_count = 0;
    dorrit_ledger_each_descriptor(ledger.memory, ledger.mapped, say);
    CHECK(said_count == 3 && said[1] == 8 && said[2] == 8);
    /* Where nobody will read it, none is kept open for nobody. */
    header_of(&ledger)->records = UINT32_MAX;
    said_count = 0;
    dorrit_ledger_each_descriptor(ledger.memory, ledger.mapped, say);
    CHECK(said_count == 0);
    header_of(&ledger)->records = SLOTS;
    header_of(&ledger)->magic[0]++;
    dorrit_ledger_each_descriptor(ledger.memory, ledger.mapped, say);
    CHECK(said_count == 0);
    dorrit_ledger_close(&ledger);
    close(descriptor);
}

int main(void)
{
    for (size_t index = 0; index < sizeof content; index++) {
        ((uint8_t *)content)[index] = (uint8_t)random_number(256);
    }
    RUN(what_is_sent_stands_behind_what_was_put);
    RUN(who_is_at_work_is_said);
    RUN(what_has_no_room_is_told_beforehand);
    RUN(what_is_sent_first_of_all_needs_room_too);
    RUN(rounds_begin_anew_after_the_last_one);
    RUN(what_an_earlier_round_has_left_is_nobodys);
    RUN(whoever_ends_between_two_stores_has_sent_to_all_or_to_none);
    RUN(no_damage_changes_what_is_sent);
    RUN(no_damage_of_how_far_it_has_come_changes_what_is_sent);
    RUN(the_descriptors_of_all_whole_records_are_said);
    return 0;
}
