/* Messages with descriptors between two channels: all of them arrive, in order, each with what belongs to
 * it, however they are cut; and from a side that says what can't be, nothing does any harm. */
#include "channel.h"
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    LIMIT = 1024, /* descriptors of this process: few enough to look at each */
    FILES = 7,    /* that are passed, again and again */
    NONE = -1     /* of them */
};

/* ---- Numbers that are the same in each run ---- */

static uint64_t state;

static uint64_t random_number(uint64_t below)
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (state >> 33) % below;
}

static uint64_t mixed(uint64_t number)
{
    number = (number + UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xbf58476d1ce4e5b9);
    return (number ^ number >> 29) * UINT64_C(0x94d049bb133111eb) >> 16;
}

/* ---- Descriptors ---- */

static int files[FILES];
static struct stat statuses[FILES];

static void open_files(void)
{
    for (int index = 0; index < FILES; index++) {
        FILE *made = tmpfile();
        CHECK(made != NULL);
        files[index] = dup(fileno(made));
        CHECK(files[index] >= 0);
        fclose(made);
        CHECK_EQUAL(fstat(files[index], &statuses[index]), 0);
        for (int other = 0; other < index; other++) {
            CHECK(statuses[other].st_ino != statuses[index].st_ino);
        }
    }
}

/* Which of the files it is. */
static int file_of(int descriptor)
{
    struct stat status;
    CHECK_EQUAL(fstat(descriptor, &status), 0);
    for (int index = 0; index < FILES; index++) {
        if (status.st_dev == statuses[index].st_dev && status.st_ino == statuses[index].st_ino) {
            return index;
        }
    }
    return NONE;
}

static void limit_descriptors(rlim_t limit)
{
    struct rlimit now;
    CHECK_EQUAL(getrlimit(RLIMIT_NOFILE, &now), 0);
    now.rlim_cur = limit;
    CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &now), 0);
}

static bool is_open(int descriptor)
{
    return fcntl(descriptor, F_GETFD) != -1;
}

/* The system gives the lowest number that is free, so one that is lost is below the limit. */
static int open_descriptors(void)
{
    int count = 0;
    for (int descriptor = 0; descriptor < LIMIT; descriptor++) {
        count += is_open(descriptor);
    }
    return count;
}

/* From here on the process has room for so many descriptors more. */
static void leave_room(unsigned room)
{
    int limit = 0;
    for (unsigned found = 0; found < room || is_open(limit); limit++) {
        found += !is_open(limit);
    }
    limit_descriptors((rlim_t)limit);
}

/* ---- Channels ---- */

/* The head of a message, once more: a change of it is one of what both sides must know. */
struct head {
    uint8_t kind;
    uint8_t flags;
    uint16_t zero;
    uint32_t length;
    uint64_t number;
};

struct pair {
    struct dorrit_channel from, to; /* descriptors are passed this way only */
};

static struct pair opened(void)
{
    int ends[2];
    CHECK_EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    struct pair pair;
    dorrit_channel_open(&pair.from, ends[0], false);
    dorrit_channel_open(&pair.to, ends[1], true);
    return pair;
}

static void close_both(struct pair *pair)
{
    dorrit_channel_close(&pair->from);
    dorrit_channel_close(&pair->to);
}

/* Little is on its way at a time. Linux makes the least that it has of it, which is less than two batches;
 * other systems take the number as it is, and pass no descriptors if they don't fit in. */
static void make_narrow(const struct dorrit_channel *channel)
{
#ifdef __linux__
    const int bytes = 1;
#else
    const int bytes = 4096;
#endif
    CHECK_EQUAL(setsockopt(channel->descriptor, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes), 0);
}

static uint8_t words[DORRIT_CHANNEL_TEXT_MAX + 256];

/* A message of a test. Its text is what stands in `words` from a place on that its number says. */
struct said {
    enum dorrit_channel_kind kind;
    uint8_t flags;
    uint64_t number;
    int file;
    size_t length;
};

static const uint8_t *text_of(struct said said)
{
    return words + said.number % 256;
}

/* The message of this number in a long conversation, in which those with descriptors stand together, or
 * among others, or there are none of them for a while. */
static struct said said_of(uint64_t number, bool may_pass)
{
    const uint64_t chance = mixed(number), stretch = mixed(number / 100) % 3;
    const bool passes = may_pass && (stretch == 0 || (stretch == 1 && chance % 2 == 0));
    const size_t length = (size_t)(chance >> 8) % (chance % 5 == 0 ? 4000 : 50);
    return (struct said){
        .kind = DORRIT_CHANNEL_LEDGER + chance % (DORRIT_CHANNEL_KINDS - DORRIT_CHANNEL_LEDGER),
        .flags = (uint8_t)(chance >> 4),
        .number = number,
        .file = passes ? (int)(chance / 2 % FILES) : NONE,
        .length = passes || chance % 3 == 0 ? 0 : length,
    };
}

static struct said connection(uint64_t number)
{
    return (struct said){DORRIT_CHANNEL_CONNECTION, 0, number, (int)(number % FILES), 0};
}

static struct said text(uint64_t number, size_t length)
{
    return (struct said){DORRIT_CHANNEL_HANDOVER, 0, number, NONE, length};
}

static void put(struct dorrit_channel *from, struct said said)
{
    CHECK_EQUAL(dorrit_channel_put(from, said.kind, said.flags, said.number,
                    said.file == NONE ? -1 : files[said.file], text_of(said), said.length),
        0);
}

static void send_all(struct dorrit_channel *from)
{
    CHECK_EQUAL(dorrit_channel_send(from), 0);
}

/* For as much as a channel keeps: few batches. */
static void receive_all(struct dorrit_channel *to)
{
    enum dorrit_channel_verdict verdict;
    do {
        verdict = dorrit_channel_receive(to);
    } while (verdict == DORRIT_CHANNEL_MESSAGE);
    CHECK_EQUAL(verdict, DORRIT_CHANNEL_NOTHING);
}

static void take(struct dorrit_channel_message *message, struct dorrit_channel *to)
{
    CHECK_EQUAL(dorrit_channel_next(to, message), DORRIT_CHANNEL_MESSAGE);
}

static void check_said(const struct dorrit_channel_message *message, struct said said)
{
    CHECK_EQUAL(message->number, said.number);
    CHECK_EQUAL(message->kind, said.kind);
    CHECK_EQUAL(message->flags, said.flags);
    CHECK_EQUAL(message->length, said.length);
    CHECK(memcmp(message->text, text_of(said), said.length) == 0);
    if (said.file == NONE) {
        CHECK_EQUAL(message->descriptor, -1);
        return;
    }
    CHECK(message->descriptor >= 0);
    CHECK_EQUAL(file_of(message->descriptor), said.file);
    CHECK_EQUAL(fcntl(message->descriptor, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    CHECK_EQUAL(close(message->descriptor), 0);
}

static void check_next(struct dorrit_channel *to, struct said said)
{
    struct dorrit_channel_message message;
    take(&message, to);
    check_said(&message, said);
}

static void check_nothing(struct dorrit_channel *to)
{
    struct dorrit_channel_message message;
    CHECK_EQUAL(dorrit_channel_next(to, &message), DORRIT_CHANNEL_NOTHING);
}

/* ---- What a channel is for ---- */

static void messages_come_in_order_with_what_they_have(void)
{
    struct pair pair = opened();
    check_nothing(&pair.to);
    CHECK_EQUAL(dorrit_channel_receive(&pair.to), DORRIT_CHANNEL_NOTHING);
    send_all(&pair.from);
    CHECK_EQUAL(dorrit_channel_receive(&pair.to), DORRIT_CHANNEL_NOTHING);
    static const struct said all[] = {
        {DORRIT_CHANNEL_ASK, 0, 0, NONE, 0},
        {DORRIT_CHANNEL_LEDGER, 0, UINT64_MAX, 0, 0},
        {DORRIT_CHANNEL_CONNECTION, DORRIT_CHANNEL_KNOWN, 7, 1, 0},
        {DORRIT_CHANNEL_CONNECTION, 0, 8, 2, 0},
        {DORRIT_CHANNEL_HANDOVER, 255, 9, NONE, 1000},
        {DORRIT_CHANNEL_TAKEN, 1, UINT64_C(1) << 32, NONE, 0},
        {DORRIT_CHANNEL_ENDED, 0, 1, NONE, 1},
        {DORRIT_CHANNEL_CONNECTION, 0, 10, 3, 0},
        {DORRIT_CHANNEL_REFUSED, 0, 2, NONE, 0},
        {DORRIT_CHANNEL_READY, 0, 3, NONE, 15},
        {DORRIT_CHANNEL_STATUS, 0, 4, NONE, 16},
        {DORRIT_CHANNEL_LEAVING, 0, 5, NONE, 17},
        {DORRIT_CHANNEL_CONNECTION, 0, 11, 4, 0},
    };
    enum { ALL = sizeof all / sizeof *all };
    /* All at once, and each by itself; the second time over what the first has left. */
    for (int turn = 0; turn < 4; turn++) {
        for (size_t index = 0; index < ALL; index++) {
            put(&pair.from, all[index]);
            if (turn % 2 == 1) {
                send_all(&pair.from);
                receive_all(&pair.to);
                check_next(&pair.to, all[index]);
                check_nothing(&pair.to);
            }
        }
        if (turn % 2 == 0) {
            send_all(&pair.from);
            receive_all(&pair.to);
            for (size_t index = 0; index < ALL; index++) {
                check_next(&pair.to, all[index]);
            }
        }
        check_nothing(&pair.to);
    }
    close_both(&pair);
}

static void both_sides_speak(void)
{
    struct pair pair = opened();
    put(&pair.from, connection(1));
    put(&pair.to, text(2, 20));
    put(&pair.to, text(3, 0));
    send_all(&pair.to);
    send_all(&pair.from);
    receive_all(&pair.from);
    receive_all(&pair.to);
    check_next(&pair.from, text(2, 20));
    check_next(&pair.to, connection(1));
    check_next(&pair.from, text(3, 0));
    check_nothing(&pair.from);
    check_nothing(&pair.to);
    close_both(&pair);
}

static void descriptor_that_arrives_is_the_same_file(void)
{
    struct pair pair = opened();
    int ends[2];
    CHECK_EQUAL(pipe(ends), 0);
    CHECK_EQUAL(
        dorrit_channel_put(&pair.from, DORRIT_CHANNEL_CONNECTION, 0, 1, ends[1], NULL, 0), 0);
    send_all(&pair.from);
    receive_all(&pair.to);
    struct dorrit_channel_message message;
    take(&message, &pair.to);
    CHECK(message.descriptor >= 0 && message.descriptor != ends[1]);
    CHECK_EQUAL(fcntl(message.descriptor, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    CHECK_EQUAL(fcntl(ends[1], F_GETFD), 0); /* the sender's stays as it was */
    char found[8];
    CHECK_EQUAL(write(message.descriptor, "there", 5), 5);
    CHECK_EQUAL(write(ends[1], "here", 4), 4);
    CHECK_EQUAL(read(ends[0], found, 5), 5);
    CHECK(memcmp(found, "there", 5) == 0);
    CHECK_EQUAL(read(ends[0], found, 4), 4);
    CHECK(memcmp(found, "here", 4) == 0);
    close(message.descriptor);
    /* Once it has been sent it may be closed. */
    CHECK_EQUAL(
        dorrit_channel_put(&pair.from, DORRIT_CHANNEL_CONNECTION, 0, 2, ends[1], NULL, 0), 0);
    send_all(&pair.from);
    close(ends[1]);
    receive_all(&pair.to);
    take(&message, &pair.to);
    CHECK(message.descriptor >= 0);
    CHECK_EQUAL(write(message.descriptor, "later", 5), 5);
    CHECK_EQUAL(read(ends[0], found, 5), 5);
    /* The channel holds none: this was the last one that writes. */
    close(message.descriptor);
    CHECK_EQUAL(read(ends[0], found, 5), 0);
    close(ends[0]);
    close_both(&pair);
}

static void texts_have_a_longest_length(void)
{
    static const size_t lengths[] = {DORRIT_CHANNEL_TEXT_MAX - 1, DORRIT_CHANNEL_TEXT_MAX, 0, 1};
    enum { LENGTHS = sizeof lengths / sizeof *lengths };
    struct pair pair = opened();
    CHECK_EQUAL(dorrit_channel_put(&pair.from, DORRIT_CHANNEL_STATUS, 0, 0, -1, words,
                    DORRIT_CHANNEL_TEXT_MAX + 1),
        -1);
    CHECK_EQUAL(errno, EMSGSIZE);
    CHECK_EQUAL(
        dorrit_channel_put(&pair.from, DORRIT_CHANNEL_STATUS, 0, 0, -1, words, SIZE_MAX), -1);
    CHECK_EQUAL(errno, EMSGSIZE);
    CHECK_EQUAL(
        dorrit_channel_put(&pair.from, DORRIT_CHANNEL_CONNECTION, 0, 0, files[0], words, 1), -1);
    CHECK_EQUAL(errno, EMSGSIZE);
    send_all(&pair.from); /* and nothing of them has been put */
    CHECK_EQUAL(dorrit_channel_receive(&pair.to), DORRIT_CHANNEL_NOTHING);
    for (size_t index = 0; index < LENGTHS; index++) {
        put(&pair.from, text(index, lengths[index]));
        put(&pair.from, connection(100 + index));
    }
    size_t taken = 0;
    for (;;) {
        const ptrdiff_t left = dorrit_channel_send(&pair.from);
        CHECK(left >= 0);
        receive_all(&pair.to);
        struct dorrit_channel_message message;
        while (dorrit_channel_next(&pair.to, &message) == DORRIT_CHANNEL_MESSAGE) {
            const size_t index = taken / 2;
            CHECK(index < LENGTHS);
            check_said(
                &message, taken % 2 == 0 ? text(index, lengths[index]) : connection(100 + index));
            taken++;
        }
        if (left == 0) {
            break;
        }
    }
    CHECK_EQUAL(taken, 2 * LENGTHS);
    close_both(&pair);
}

/* Around the number of descriptors that go at once, before and behind a message that has none. */
static void any_number_of_descriptors_in_a_row(void)
{
    enum { MOST = DORRIT_CHANNEL_BATCH_MAX };
    static const unsigned numbers[] = {1, 2, MOST - 1, MOST, MOST + 1, 2 * MOST, 2 * MOST + 1};
    struct pair pair = opened();
    for (size_t index = 0; index < sizeof numbers / sizeof *numbers; index++) {
        put(&pair.from, text(0, 10));
        for (unsigned number = 0; number < numbers[index]; number++) {
            put(&pair.from, connection(number));
        }
        put(&pair.from, text(1, 10));
        send_all(&pair.from);
        receive_all(&pair.to);
        check_next(&pair.to, text(0, 10));
        for (unsigned number = 0; number < numbers[index]; number++) {
            check_next(&pair.to, connection(number));
        }
        check_next(&pair.to, text(1, 10));
        check_nothing(&pair.to);
    }
    close_both(&pair);
}

/* Sends what has been put, which are the messages from 0 on, and reads in between. */
static void pass(struct pair *pair, unsigned number, struct said said(uint64_t))
{
    unsigned taken = 0;
    for (unsigned turns = 0; taken < number; turns++) {
        CHECK(turns < 1000000);
        const ptrdiff_t left = dorrit_channel_send(&pair->from);
        CHECK(left >= 0);
        const enum dorrit_channel_verdict verdict = dorrit_channel_receive(&pair->to);
        CHECK(verdict == DORRIT_CHANNEL_MESSAGE || (verdict == DORRIT_CHANNEL_NOTHING && left > 0));
        struct dorrit_channel_message message;
        while (dorrit_channel_next(&pair->to, &message) == DORRIT_CHANNEL_MESSAGE) {
            check_said(&message, said(taken++));
        }
    }
    CHECK_EQUAL(taken, number);
    send_all(&pair->from);
    receive_all(&pair->to);
    check_nothing(&pair->to);
}

/* More than the process may have open, and more than fit into the socket if that is narrow. */
static void many_descriptors_in_one_go(void)
{
    enum { MANY = 3000 };
    for (int narrow = 0; narrow < 2; narrow++) {
        struct pair pair = opened();
        if (narrow) {
            make_narrow(&pair.from);
        }
        for (unsigned number = 0; number < MANY; number++) {
            put(&pair.from, connection(number));
        }
        pass(&pair, MANY, connection);
        close_both(&pair);
    }
}

/* Takes what there is of: so many messages without anything, a batch, and a text. */
static unsigned take_around_a_batch(struct dorrit_channel *to, unsigned taken, unsigned first)
{
    enum { BATCH = DORRIT_CHANNEL_BATCH_MAX };
    struct dorrit_channel_message message;
    while (dorrit_channel_next(to, &message) == DORRIT_CHANNEL_MESSAGE) {
        CHECK(taken <= first + BATCH);
        check_said(&message,
            taken < first               ? text(taken, 0)
                : taken < first + BATCH ? connection(taken)
                                        : text(taken, 50));
        taken++;
    }
    return taken;
}

/* A batch goes into the socket as far as there is room, which depends on what is there already. */
static void batches_are_cut(void)
{
    enum { MOST = 30, BATCH = DORRIT_CHANNEL_BATCH_MAX };
    unsigned cut = 0;
    for (unsigned first = 0; first < MOST; first++) {
        struct pair pair = opened();
        make_narrow(&pair.from);
        for (unsigned number = 0; number <= first + BATCH; number++) {
            const bool is_text = number < first || number == first + BATCH;
            put(&pair.from, is_text ? text(number, number < first ? 0 : 50) : connection(number));
            if (number < first) {
                /* Each that is sent by itself takes its part of the room. */
                CHECK(dorrit_channel_send(&pair.from) >= 0);
            }
        }
        const ptrdiff_t left = dorrit_channel_send(&pair.from);
        CHECK(left >= 0);
        const bool is_cut = pair.from.batch_begin < pair.from.batch_end;
        cut += is_cut;
        receive_all(&pair.to);
        if (is_cut) {
            /* Heads: also that of the batch, and of the text behind it. */
            const size_t all = (first + 1 + BATCH + 1) * sizeof(struct head) + 50;
            CHECK_EQUAL(left, all - (pair.to.input_end - pair.to.input_begin));
        }
        unsigned taken = take_around_a_batch(&pair.to, 0, first);
        CHECK(!is_cut || (taken >= first && taken < first + BATCH));
        for (unsigned turns = 0; taken <= first + BATCH; turns++) {
            CHECK(turns < 1000);
            CHECK(dorrit_channel_send(&pair.from) >= 0);
            receive_all(&pair.to);
            taken = take_around_a_batch(&pair.to, taken, first);
        }
        send_all(&pair.from);
        close_both(&pair);
    }
#ifdef __linux__
    CHECK(cut > 0);
#else
    (void)cut; /* others may take all that is sent with descriptors, or nothing */
#endif
}

/* ---- A receiver without room ---- */

/* Takes messages of which the first so many have descriptors, as there was room for them. Only Linux passes
 * a part of those of a batch. */
static void check_short(struct dorrit_channel *to, unsigned first, unsigned end, unsigned *room)
{
    for (unsigned number = first; number < end; number++) {
        struct dorrit_channel_message message;
        take(&message, to);
        struct said said = connection(number);
#ifdef __linux__
        CHECK_EQUAL(message.descriptor >= 0, *room > 0);
#endif
        if (message.descriptor < 0) {
            said.file = NONE;
        } else {
            CHECK(*room > 0);
            --*room;
        }
        check_said(&message, said);
    }
}

static void descriptors_that_find_no_room_are_missing_where_they_belong(void)
{
    /* Two batches with a text between them find some room; the third finds enough. */
    enum { FIRST = 9, SECOND = FIRST + 3, THIRD = SECOND + 4 };
    for (unsigned room = 0; room <= SECOND + 1; room++) {
        struct pair pair = opened();
        for (unsigned number = 0; number < SECOND; number++) {
            if (number == FIRST) {
                put(&pair.from, text(100, 10));
            }
            put(&pair.from, connection(number));
        }
        put(&pair.from, text(101, 10));
        send_all(&pair.from);
        leave_room(room);
        receive_all(&pair.to);
        limit_descriptors(LIMIT);
        for (unsigned number = SECOND; number < THIRD; number++) {
            put(&pair.from, connection(number));
        }
        send_all(&pair.from);
        if (room % 2 == 0) {
            receive_all(&pair.to); /* while those of the first are still there */
        }
        unsigned left = room;
        check_short(&pair.to, 0, FIRST, &left);
        check_next(&pair.to, text(100, 10));
        check_short(&pair.to, FIRST, SECOND, &left);
        check_next(&pair.to, text(101, 10));
        receive_all(&pair.to);
        for (unsigned number = SECOND; number < THIRD; number++) {
            check_next(&pair.to, connection(number));
        }
        check_nothing(&pair.to);
        close_both(&pair);
    }
}

/* A batch whose descriptors have come with its first part may find room again while the rest of it comes;
 * that helps only the next one. */
static void batch_that_finds_no_room_and_is_cut(void)
{
    enum { BATCH = DORRIT_CHANNEL_BATCH_MAX, ALL = BATCH + 20, ROOM = 100 };
    struct pair pair = opened();
    make_narrow(&pair.from);
    for (unsigned number = 0; number < 3; number++) {
        put(&pair.from, text(1000 + number, 0));
        CHECK(dorrit_channel_send(&pair.from) >= 0);
    }
    for (unsigned number = 0; number < ALL; number++) {
        put(&pair.from, connection(number));
    }
    CHECK(dorrit_channel_send(&pair.from) >= 0);
    leave_room(ROOM);
    receive_all(&pair.to);
    limit_descriptors(LIMIT);
    for (unsigned number = 0; number < 3; number++) {
        check_next(&pair.to, text(1000 + number, 0));
    }
    unsigned taken = 0;
    for (unsigned turns = 0; taken < ALL; turns++) {
        CHECK(turns < 1000);
        struct dorrit_channel_message message;
        while (dorrit_channel_next(&pair.to, &message) == DORRIT_CHANNEL_MESSAGE) {
            struct said said = connection(taken);
            const bool must_have = taken >= BATCH;
            const bool may_have = must_have || taken < ROOM;
            CHECK(message.descriptor >= 0 ? may_have : !must_have);
#ifdef __linux__
            CHECK_EQUAL(message.descriptor >= 0, may_have);
#endif
            said.file = message.descriptor >= 0 ? said.file : NONE;
            check_said(&message, said);
            taken++;
        }
        CHECK(dorrit_channel_send(&pair.from) >= 0);
        receive_all(&pair.to);
    }
    CHECK_EQUAL(taken, ALL);
    close_both(&pair);
}

#ifdef __linux__
/* unix(7), ETOOMANYREFS: more descriptors are on their way than the limit of open ones, and the process has
 * no CAP_SYS_RESOURCE. Then it is the reader's turn. */
static void too_many_descriptors_on_their_way(void)
{
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child > 0) {
        int status;
        CHECK_EQUAL(waitpid(child, &status, 0), child);
        CHECK_EQUAL(status, 0);
        return;
    }
    enum { ALL = 3 * DORRIT_CHANNEL_BATCH_MAX };
    const bool has_no_privilege = geteuid() != 0 || setuid(65534) == 0;
    struct pair pair = opened();
    for (unsigned number = 0; number < ALL; number++) {
        put(&pair.from, connection(number));
    }
    limit_descriptors(DORRIT_CHANNEL_BATCH_MAX / 2);
    const ptrdiff_t left = dorrit_channel_send(&pair.from);
    CHECK(left >= 0);
    CHECK(left > 0 || !has_no_privilege);
    CHECK_EQUAL(dorrit_channel_send(&pair.from), left);
    limit_descriptors(LIMIT);
    pass(&pair, ALL, connection);
    close_both(&pair);
    _exit(0); /* the leak sanitizer can't look into a process that has given up its privilege */
}
#endif

/* ---- The end ---- */

static void end_comes_behind_what_was_sent(void)
{
    struct pair pair = opened();
    put(&pair.from, text(1, 30));
    put(&pair.from, connection(2));
    put(&pair.from, connection(3));
    send_all(&pair.from);
    dorrit_channel_close(&pair.from);
    enum dorrit_channel_verdict verdict;
    do {
        verdict = dorrit_channel_receive(&pair.to);
    } while (verdict == DORRIT_CHANNEL_MESSAGE);
    CHECK_EQUAL(verdict, DORRIT_CHANNEL_END);
    CHECK_EQUAL(dorrit_channel_receive(&pair.to), DORRIT_CHANNEL_END);
    check_next(&pair.to, text(1, 30));
    check_next(&pair.to, connection(2));
    check_next(&pair.to, connection(3));
    check_nothing(&pair.to);
    CHECK_EQUAL(dorrit_channel_receive(&pair.to), DORRIT_CHANNEL_END);
    close_both(&pair);
}

/* Some systems say ECONNRESET then: what has been sent will not be read. */
static void end_comes_also_if_the_other_side_has_not_read(void)
{
    struct pair pair = opened();
    put(&pair.from, text(1, 30));
    put(&pair.from, connection(2));
    send_all(&pair.from);
    put(&pair.to, text(3, 30));
    send_all(&pair.to);
    dorrit_channel_close(&pair.to);
    CHECK_EQUAL(dorrit_channel_receive(&pair.from), DORRIT_CHANNEL_MESSAGE);
    CHECK_EQUAL(dorrit_channel_receive(&pair.from), DORRIT_CHANNEL_END);
    CHECK_EQUAL(dorrit_channel_receive(&pair.from), DORRIT_CHANNEL_END);
    check_next(&pair.from, text(3, 30));
    check_nothing(&pair.from);
    close_both(&pair);
}

/* SIGPIPE has its default here, which would end the test. */
static void nobody_reads(void)
{
    for (int what = 0; what < 4; what++) {
        struct pair pair = opened();
        if (what == 3) { /* the rest of a batch */
            make_narrow(&pair.from);
            for (unsigned number = 0; number < 3; number++) {
                put(&pair.from, text(number, 0));
                CHECK(dorrit_channel_send(&pair.from) >= 0);
            }
            for (unsigned number = 0; number < 2 * DORRIT_CHANNEL_BATCH_MAX; number++) {
                put(&pair.from, connection(number));
            }
            CHECK(dorrit_channel_send(&pair.from) > 0);
        } else if (what > 0) {
            put(&pair.from, what == 1 ? text(1, 0) : connection(1));
        }
        dorrit_channel_close(&pair.to);
        for (int turn = 0; turn < 2; turn++) {
            errno = 0;
            CHECK_EQUAL(dorrit_channel_send(&pair.from), what == 0 ? 0 : -1);
            CHECK_EQUAL(errno, what == 0 ? 0 : EPIPE);
        }
        close_both(&pair);
    }
}

/* Another image of the process may go on with the socket when nothing is lost with this one. */
static void channel_is_settled_when_nothing_is_half_said(void)
{
    struct pair pair = opened();
    CHECK(dorrit_channel_is_settled(&pair.from) && dorrit_channel_is_settled(&pair.to));
    put(&pair.from, connection(1));
    CHECK(!dorrit_channel_is_settled(&pair.from));
    send_all(&pair.from);
    CHECK(dorrit_channel_is_settled(&pair.from));
    receive_all(&pair.to);
    CHECK(!dorrit_channel_is_settled(&pair.to));
    check_next(&pair.to, connection(1));
    CHECK(dorrit_channel_is_settled(&pair.to));
    /* A part of a message. */
    const struct head head = {.kind = DORRIT_CHANNEL_READY, .length = 4};
    CHECK_EQUAL(send(pair.from.descriptor, &head, sizeof head, 0), (ssize_t)sizeof head);
    CHECK_EQUAL(dorrit_channel_receive(&pair.to), DORRIT_CHANNEL_MESSAGE);
    check_nothing(&pair.to);
    CHECK(!dorrit_channel_is_settled(&pair.to));
    CHECK_EQUAL(send(pair.from.descriptor, "text", 4, 0), 4);
    receive_all(&pair.to);
    struct dorrit_channel_message message;
    take(&message, &pair.to);
    CHECK(dorrit_channel_is_settled(&pair.to));
    /* A part of a batch, on both sides. */
    make_narrow(&pair.from);
    for (unsigned number = 0; number < 2 * DORRIT_CHANNEL_BATCH_MAX; number++) {
        put(&pair.from, connection(number));
    }
    CHECK(dorrit_channel_send(&pair.from) > 0);
    CHECK(!dorrit_channel_is_settled(&pair.from));
    close_both(&pair);
}

static void channel_that_is_closed(void)
{
    const int before = open_descriptors();
    struct pair pair = opened();
    put(&pair.from, connection(1));
    put(&pair.to, text(2, 3000));
    struct dorrit_channel *const both[] = {&pair.from, &pair.to};
    for (int index = 0; index < 2; index++) {
        const int descriptor = both[index]->descriptor;
        dorrit_channel_close(both[index]);
        CHECK(!is_open(descriptor));
        /* The number may be somebody else's by now. */
        CHECK_EQUAL(dup2(files[0], descriptor), descriptor);
        dorrit_channel_close(both[index]);
        CHECK(is_open(descriptor));
        close(descriptor);
        CHECK_EQUAL(dorrit_channel_put(both[index], DORRIT_CHANNEL_READY, 0, 0, -1, NULL, 0), -1);
        CHECK_EQUAL(errno, EPIPE);
        errno = 0;
        CHECK_EQUAL(dorrit_channel_send(both[index]), -1);
        CHECK_EQUAL(errno, EPIPE);
        CHECK_EQUAL(dorrit_channel_receive(both[index]), DORRIT_CHANNEL_END);
        check_nothing(both[index]);
        dorrit_channel_close(both[index]);
    }
    CHECK_EQUAL(open_descriptors(), before); /* what was to be sent is borrowed */
}

static void descriptors_that_nobody_has_asked_for_are_closed(void)
{
    enum { ALL = 10 };
    for (int taken = 0; taken <= 2 * ALL; taken++) {
        const int before = open_descriptors();
        struct pair pair = opened();
        for (unsigned number = 0; number < 2 * ALL; number++) {
            if (number == ALL) {
                put(&pair.from, text(100, 0)); /* two batches */
            }
            put(&pair.from, connection(number));
        }
        send_all(&pair.from);
        receive_all(&pair.to);
        CHECK_EQUAL(open_descriptors(), before + 2 + 2 * ALL);
        struct dorrit_channel_message messages[2 * ALL];
        for (int index = 0; index < taken; index++) {
            if (index == ALL) {
                check_next(&pair.to, text(100, 0));
            }
            take(&messages[index], &pair.to);
        }
        close_both(&pair);
        CHECK_EQUAL(open_descriptors(), before + taken);
        for (int index = 0; index < taken; index++) {
            const struct said said = connection((uint64_t)index);
            CHECK_EQUAL(file_of(messages[index].descriptor), said.file); /* the caller's */
            close(messages[index].descriptor);
        }
    }
}

/* ---- Hostile bytes ---- */

enum { MOST_PASSED = 253 }; /* Linux: SCM_MAX_FD */

/* Sends bytes, and so many descriptors with them, of which the first is of this file. */
static void send_raw(int descriptor, const void *bytes, size_t length, unsigned first, unsigned count)
{
    union {
        struct cmsghdr header;
        uint8_t room[CMSG_SPACE(sizeof(int) * MOST_PASSED)];
    } control;
    struct iovec vector = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = length};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    CHECK(count <= MOST_PASSED);
    if (count > 0) {
        memset(&control, 0, sizeof control);
        message.msg_control = control.room;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * count);
        for (unsigned index = 0; index < count; index++) {
            memcpy(CMSG_DATA(header) + index * sizeof(int), &files[(first + index) % FILES], sizeof(int));
        }
    }
    CHECK_EQUAL(sendmsg(descriptor, &message, 0), length);
}

/* How a channel takes these heads, sent at once with so many descriptors. They bring so many messages, the
 * first of them with descriptors, and then the verdict. Nothing stays open. */
static void check_judged(const struct head *heads, size_t count, bool takes, unsigned passed,
    enum dorrit_channel_verdict expected, unsigned messages, unsigned descriptors)
{
    const int before = open_descriptors();
    struct pair pair = opened();
    pair.to.takes = takes;
    trying((const uint8_t *)heads, count * sizeof *heads);
    send_raw(pair.from.descriptor, heads, count * sizeof *heads, 0, passed);
    receive_all(&pair.to);
    struct dorrit_channel_message message;
    for (unsigned index = 0; index < messages; index++) {
        take(&message, &pair.to);
        CHECK_EQUAL(message.descriptor >= 0, index < descriptors);
        if (message.descriptor >= 0) {
            CHECK_EQUAL(file_of(message.descriptor), index % FILES);
            close(message.descriptor);
        }
    }
    for (int turn = 0; turn < 2; turn++) { /* and it stays so */
        CHECK_EQUAL(dorrit_channel_next(&pair.to, &message), expected);
    }
    close_both(&pair);
    CHECK_EQUAL(open_descriptors(), before);
}

#define CHECK_JUDGED(takes, passed, expected, messages, descriptors, ...)                          \
    check_judged((const struct head[]){__VA_ARGS__},                                               \
        sizeof((const struct head[]){__VA_ARGS__}) / sizeof(struct head), takes, passed, expected, \
        messages, descriptors)
#define WRONG DORRIT_CHANNEL_WRONG
#define NOTHING DORRIT_CHANNEL_NOTHING
#define BATCH(of) {.number = (of)}
#define PLAIN {.kind = DORRIT_CHANNEL_CONNECTION}
#define WITH_TEXT(bytes) {.kind = DORRIT_CHANNEL_STATUS, .length = (bytes)}

static void kinds_that_nobody_knows(void)
{
    for (unsigned kind = 1; kind < 256; kind++) {
        const bool is_known = kind < DORRIT_CHANNEL_KINDS;
        CHECK_JUDGED(true, 0, is_known ? NOTHING : WRONG, is_known, 0, {.kind = (uint8_t)kind});
    }
    CHECK_JUDGED(true, 0, WRONG, 1, 0, PLAIN, {.kind = DORRIT_CHANNEL_KINDS}, PLAIN);
}

static void lengths_beyond_the_limit(void)
{
    CHECK_JUDGED(true, 0, NOTHING, 0, 0, WITH_TEXT(DORRIT_CHANNEL_TEXT_MAX));
    CHECK_JUDGED(true, 0, WRONG, 0, 0, WITH_TEXT(DORRIT_CHANNEL_TEXT_MAX + 1));
    CHECK_JUDGED(true, 0, WRONG, 1, 0, PLAIN, WITH_TEXT(UINT32_MAX));
    CHECK_JUDGED(true, 0, WRONG, 1, 0, WITH_TEXT(16), PLAIN, WITH_TEXT(UINT32_MAX - 15));
}

static void batches_that_cannot_be(void)
{
    enum { MOST = DORRIT_CHANNEL_BATCH_MAX };
    CHECK_JUDGED(true, 2, NOTHING, 2, 2, BATCH(2), PLAIN, PLAIN);
    /* of none, or too many */
    CHECK_JUDGED(true, 1, WRONG, 0, 0, BATCH(0), PLAIN);
    CHECK_JUDGED(true, 1, NOTHING, 1, 1, BATCH(MOST), PLAIN);
    CHECK_JUDGED(true, 1, WRONG, 0, 0, BATCH(MOST + 1), PLAIN);
    CHECK_JUDGED(true, 1, WRONG, 0, 0, BATCH((UINT64_C(1) << 32) + 1), PLAIN);
    CHECK_JUDGED(true, 1, WRONG, 0, 0, BATCH(UINT64_MAX), PLAIN);
    /* within another */
    CHECK_JUDGED(true, 3, WRONG, 1, 1, BATCH(3), PLAIN, BATCH(1), PLAIN);
    CHECK_JUDGED(true, 3, WRONG, 0, 0, BATCH(1), BATCH(1), PLAIN);
    /* without descriptors */
    CHECK_JUDGED(true, 0, WRONG, 0, 0, BATCH(1), PLAIN);
    CHECK_JUDGED(true, 1, WRONG, 1, 1, BATCH(1), PLAIN, BATCH(1), PLAIN);
    CHECK_JUDGED(false, 1, WRONG, 0, 0, BATCH(1), PLAIN);
    /* with texts */
    CHECK_JUDGED(true, 1, WRONG, 0, 0, {.length = 16, .number = 1}, PLAIN, PLAIN);
    CHECK_JUDGED(true, 2, WRONG, 1, 1, BATCH(2), PLAIN, WITH_TEXT(16), PLAIN);
    CHECK_JUDGED(true, 1, WRONG, 0, 0, BATCH(1), WITH_TEXT(16), PLAIN);
    CHECK_JUDGED(true, 1, WRONG, 0, 0, BATCH(1), WITH_TEXT(1)); /* though it has not come yet */
    CHECK_JUDGED(true, 1, NOTHING, 2, 1, BATCH(1), PLAIN, WITH_TEXT(16), PLAIN);
}

static void descriptors_of_another_number(void)
{
    CHECK_JUDGED(true, 3, NOTHING, 2, 1, BATCH(1), PLAIN, PLAIN);
    CHECK_JUDGED(true, 1, NOTHING, 4, 1, BATCH(3), PLAIN, PLAIN, PLAIN, PLAIN);
    CHECK_JUDGED(true, 3, NOTHING, 2, 0, PLAIN, PLAIN);
    CHECK_JUDGED(false, 3, NOTHING, 2, 0, PLAIN, PLAIN);
    /* What is too much is closed as soon as the batch is over, and the next one has its own. */
    const int before = open_descriptors();
    struct pair pair = opened();
    static const struct head two[] = {BATCH(2), PLAIN, PLAIN};
    static const unsigned passed[] = {5, 1, 2};
    for (unsigned index = 0; index < 3; index++) {
        send_raw(pair.from.descriptor, two, sizeof two, index, passed[index]);
    }
    receive_all(&pair.to);
    CHECK_EQUAL(open_descriptors(), before + 2 + 8);
    for (unsigned index = 0; index < 3; index++) {
        for (unsigned at = 0; at < 2; at++) {
            struct dorrit_channel_message message;
            take(&message, &pair.to);
            CHECK_EQUAL(message.descriptor >= 0, at < passed[index]);
            if (message.descriptor >= 0) {
                CHECK_EQUAL(file_of(message.descriptor), index + at);
                close(message.descriptor);
            }
        }
        CHECK_EQUAL(open_descriptors(), before + 2 + (index == 0 ? 3 : index == 1 ? 2 : 0));
    }
    check_nothing(&pair.to);
    close_both(&pair);
}

/* More than a batch may have. The system closes what there is no room for. */
static void more_descriptors_than_are_taken(void)
{
#ifdef __linux__
    enum { MOST = DORRIT_CHANNEL_BATCH_MAX };
    static struct head heads[1 + MOST + 1] = {BATCH(MOST)};
    for (int index = 1; index < 1 + MOST + 1; index++) {
        heads[index] = (struct head)PLAIN;
    }
    check_judged(heads, MOST + 2, true, MOST_PASSED, NOTHING, MOST + 1, MOST);
    check_judged(heads, MOST + 2, true, MOST, NOTHING, MOST + 1, MOST);
    check_judged(heads, MOST + 2, true, MOST - 1, NOTHING, MOST + 1, MOST - 1);
#endif
}

/* A side that passes descriptors and never says what for doesn't fill the process. */
static void descriptors_that_belong_to_nothing(void)
{
    enum { MOST = 500 };
    const int before = open_descriptors();
    struct pair pair = opened();
    static const struct head head = PLAIN;
    enum dorrit_channel_verdict verdict = DORRIT_CHANNEL_MESSAGE;
    for (int sent = 0; verdict == DORRIT_CHANNEL_MESSAGE; sent++) {
        CHECK(sent < MOST);
        send_raw(pair.from.descriptor, &head, sizeof head, 0, 1);
        verdict = dorrit_channel_receive(&pair.to);
        struct dorrit_channel_message message;
        while (dorrit_channel_next(&pair.to, &message) == DORRIT_CHANNEL_MESSAGE) {
            CHECK_EQUAL(message.descriptor, -1);
        }
    }
    CHECK_EQUAL(verdict, WRONG);
    close_both(&pair);
    CHECK_EQUAL(open_descriptors(), before);
}

static void messages_come_byte_by_byte(void)
{
    struct pair pair = opened();
    static const struct head heads[] = {BATCH(2), PLAIN, PLAIN, WITH_TEXT(16), PLAIN, PLAIN};
    static const size_t ends[] = {32, 48, 80, 96}; /* of the messages, in bytes */
    unsigned taken = 0;
    for (size_t at = 0; at < sizeof heads; at++) {
        send_raw(pair.from.descriptor, (const uint8_t *)heads + at, 1, 0, at == 0 ? 2 : 0);
        CHECK_EQUAL(dorrit_channel_receive(&pair.to), DORRIT_CHANNEL_MESSAGE);
        struct dorrit_channel_message message;
        if (at + 1 == ends[taken]) {
            take(&message, &pair.to);
            CHECK_EQUAL(message.descriptor >= 0, taken < 2);
            CHECK_EQUAL(message.length, taken == 2 ? 16 : 0);
            if (taken < 2) {
                CHECK_EQUAL(file_of(message.descriptor), taken);
                close(message.descriptor);
            } else {
                CHECK(memcmp(message.text, &heads[4], message.length) == 0);
            }
            taken++;
        }
        check_nothing(&pair.to);
    }
    CHECK_EQUAL(taken, 4);
    /* The half of one is not a message, also if nothing more comes. */
    send_raw(pair.from.descriptor, &heads[3], sizeof heads[3], 0, 0);
    dorrit_channel_close(&pair.from);
    CHECK_EQUAL(dorrit_channel_receive(&pair.to), DORRIT_CHANNEL_MESSAGE);
    CHECK_EQUAL(dorrit_channel_receive(&pair.to), DORRIT_CHANNEL_END);
    check_nothing(&pair.to);
    close_both(&pair);
}

/* ---- Random bytes ---- */

enum { PARTS = 8, PIECES = 4, MOST_BYTES = PARTS * 64, MOST_MESSAGES = MOST_BYTES / 16 };

/* What was sent at once. */
struct piece {
    size_t end;            /* in the bytes */
    unsigned first, count; /* descriptors */
};

struct trial {
    uint8_t bytes[MOST_BYTES];
    size_t length;
    struct piece pieces[PIECES];
    unsigned pieces_length;
};

struct heard {
    struct head head;
    int file;
    const uint8_t *text;
};

/* Puts a head behind the bytes, with its text if that is short, or bytes that are no message. */
static void add_part(struct trial *trial, struct head head, uint64_t junk)
{
    if (junk == 0) {
        if (random_number(16) == 0) {
            ((uint8_t *)&head)[random_number(sizeof head)] ^= (uint8_t)(1 << random_number(8));
        }
        memcpy(trial->bytes + trial->length, &head, sizeof head);
        trial->length += sizeof head;
        junk = head.length < 40 ? head.length : 0;
    }
    while (junk-- > 0) {
        trial->bytes[trial->length++] = (uint8_t)random_number(256);
    }
}

/* Mostly what can be, and then something that can't. */
static void make_trial(struct trial *trial)
{
    trial->length = 0;
    trial->pieces_length = 0;
    const uint64_t parts = 1 + random_number(PARTS);
    uint64_t in_batch = 0;
    for (uint64_t part = 0; part < parts; part++) {
        struct head head = {.kind = (uint8_t)(1 + random_number(DORRIT_CHANNEL_KINDS - 1)),
            .flags = (uint8_t)random_number(256),
            .number = random_number(1000)};
        uint64_t junk = 0;
        if (random_number(20) == 0) {
            junk = 1 + random_number(40);
        } else if (random_number(in_batch > 0 ? 20 : 2) == 0) {
            in_batch = 1 + random_number(3);
            head = (struct head)BATCH(in_batch);
            if (random_number(20) == 0) {
                head.number = random_number(2) == 0 ? DORRIT_CHANNEL_BATCH_MAX - 1 + random_number(3)
                                                    : random_number(2) << 32;
            }
        } else if (random_number(in_batch > 0 ? 20 : 2) == 0) {
            head.length = (uint32_t)random_number(40);
        } else if (in_batch > 0) {
            in_batch--;
        }
        add_part(trial, head, junk);
    }
    if (random_number(4) == 0) {
        trial->length = 1 + random_number(trial->length);
    }
    const uint64_t pieces = 1 + random_number(PIECES);
    for (size_t end = 0; end < trial->length;) {
        end += 1 + random_number(trial->length - end);
        if (trial->pieces_length + 1 == pieces) {
            end = trial->length;
        }
        trial->pieces[trial->pieces_length++] = (struct piece){.end = end,
            .first = (unsigned)random_number(FILES),
            .count = (unsigned)(random_number(3) == 0 ? 0 : 1 + random_number(4))};
    }
}

/* The rules, once more, for one who has all of it in hand. */
static enum dorrit_channel_verdict judged(
    const struct trial *trial, bool takes, struct heard *heard, unsigned *heard_length)
{
    const struct piece *passed[PIECES];
    unsigned passed_length = 0, next_passed = 0, in_batch = 0, batch = 0;
    for (unsigned index = 0; takes && index < trial->pieces_length; index++) {
        if (trial->pieces[index].count > 0) {
            passed[passed_length++] = &trial->pieces[index];
        }
    }
    *heard_length = 0;
    for (size_t at = 0; trial->length - at >= sizeof(struct head);) {
        struct heard found = {.file = NONE, .text = trial->bytes + at + sizeof(struct head)};
        memcpy(&found.head, trial->bytes + at, sizeof found.head);
        if (found.head.kind >= DORRIT_CHANNEL_KINDS || found.head.length > DORRIT_CHANNEL_TEXT_MAX) {
            return WRONG;
        }
        const bool is_within = in_batch < batch;
        if (found.head.kind == DORRIT_CHANNEL_BATCH) {
            if (is_within || found.head.length > 0 || found.head.number < 1
                || found.head.number > DORRIT_CHANNEL_BATCH_MAX || next_passed == passed_length) {
                return WRONG;
            }
            next_passed++;
            in_batch = 0;
            batch = (unsigned)found.head.number;
            at += sizeof found.head;
            continue;
        }
        if (is_within && found.head.length > 0) {
            return WRONG;
        }
        if (trial->length - at - sizeof found.head < found.head.length) {
            return NOTHING;
        }
        if (is_within) {
            const struct piece *piece = passed[next_passed - 1];
            found.file = in_batch < piece->count ? (int)((piece->first + in_batch) % FILES) : NONE;
            in_batch++;
        }
        heard[(*heard_length)++] = found;
        at += sizeof found.head + found.head.length;
    }
    return NOTHING;
}

static enum dorrit_channel_verdict take_heard(struct dorrit_channel *channel,
    const struct heard *heard, unsigned heard_length, unsigned *taken)
{
    struct dorrit_channel_message message;
    enum dorrit_channel_verdict verdict;
    while ((verdict = dorrit_channel_next(channel, &message)) == DORRIT_CHANNEL_MESSAGE) {
        CHECK(*taken < heard_length);
        const struct heard *expected = &heard[(*taken)++];
        CHECK_EQUAL(message.kind, expected->head.kind);
        CHECK_EQUAL(message.flags, expected->head.flags);
        CHECK_EQUAL(message.number, expected->head.number);
        CHECK_EQUAL(message.length, expected->head.length);
        CHECK(memcmp(message.text, expected->text, message.length) == 0);
        CHECK_EQUAL(message.descriptor >= 0, expected->file != NONE);
        if (message.descriptor >= 0) {
            CHECK_EQUAL(file_of(message.descriptor), expected->file);
            close(message.descriptor);
        }
    }
    return verdict;
}

/* All channels have the same socket, one after the other: that is quicker than a pair for each. */
static void random_bytes_do_no_harm(void)
{
    enum { TRIALS = 200000 };
    const int before = open_descriptors();
    int ends[2];
    CHECK_EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    static struct trial trial;
    unsigned verdicts[DORRIT_CHANNEL_FAILED + 1] = {0}, descriptors = 0;
    int lowest = -1;
    state = 1;
    for (unsigned turn = 0; turn < TRIALS; turn++) {
        make_trial(&trial);
        trying(trial.bytes, trial.length);
        size_t sent = 0;
        for (unsigned index = 0; index < trial.pieces_length; index++) {
            const struct piece *piece = &trial.pieces[index];
            send_raw(ends[0], trial.bytes + sent, piece->end - sent, piece->first, piece->count);
            sent = piece->end;
        }
        CHECK_EQUAL(sent, trial.length);
        const bool takes = random_number(8) > 0;
        struct heard heard[MOST_MESSAGES];
        unsigned heard_length, taken = 0;
        const enum dorrit_channel_verdict expected = judged(&trial, takes, heard, &heard_length);
        struct dorrit_channel channel;
        const int descriptor = dup(ends[1]);
        dorrit_channel_open(&channel, descriptor, takes);
        enum dorrit_channel_verdict verdict = NOTHING;
        if (random_number(2) == 0) {
            receive_all(&channel);
            verdict = take_heard(&channel, heard, heard_length, &taken);
            CHECK_EQUAL(verdict, expected);
            CHECK_EQUAL(taken, heard_length);
        } else {
            /* As it comes. Descriptors that come behind the head of their batch are too late. */
            while (verdict == NOTHING
                && dorrit_channel_receive(&channel) == DORRIT_CHANNEL_MESSAGE) {
                verdict = take_heard(&channel, heard, heard_length, &taken);
            }
            if (verdict != WRONG) {
                CHECK_EQUAL(verdict, expected);
                CHECK_EQUAL(taken, heard_length);
            }
        }
        verdicts[verdict]++;
        for (unsigned index = 0; index < taken; index++) {
            descriptors += heard[index].file != NONE;
        }
        dorrit_channel_close(&channel);
        uint8_t rest[MOST_BYTES];
        while (recv(ends[1], rest, sizeof rest, MSG_DONTWAIT) > 0) {
        }
        /* A number that was lost shows itself at once if it is the lowest, or else in the end. */
        lowest = lowest < 0 ? descriptor : lowest;
        CHECK_EQUAL(descriptor, lowest);
        if (turn % 1000 == 0) {
            CHECK_EQUAL(open_descriptors(), before + 2);
        }
    }
    /* That it was not all the same. */
    CHECK(verdicts[WRONG] > TRIALS / 10 && verdicts[NOTHING] > TRIALS / 10);
    CHECK(descriptors > TRIALS / 4);
    close(ends[0]);
    close(ends[1]);
    CHECK_EQUAL(open_descriptors(), before);
}

/* ---- A random conversation ---- */

struct way {
    struct dorrit_channel *from, *to;
    bool passes;
    uint64_t put, taken; /* messages */
    unsigned reads;      /* since all of what had come was taken: each may bring a batch */
};

static void take_some(struct way *way, uint64_t most)
{
    struct dorrit_channel_message message;
    while (most-- > 0) {
        const enum dorrit_channel_verdict verdict = dorrit_channel_next(way->to, &message);
        if (verdict != DORRIT_CHANNEL_MESSAGE) {
            CHECK_EQUAL(verdict, NOTHING);
            way->reads = 0;
            return;
        }
        CHECK(way->taken < way->put);
        check_said(&message, said_of(way->taken++, way->passes));
    }
}

static void random_conversation(void)
{
    /* Fewer messages on their way than there may be descriptors, and fewer reads than batches are kept. */
    enum { ROUNDS = 6, STEPS = 6000, ON_THEIR_WAY = 600, READS = 50 };
    unsigned cut = 0, full = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct pair pair = opened();
        if (round % 3 > 0) {
            make_narrow(&pair.from);
            make_narrow(&pair.to);
        }
        struct way ways[] = {{&pair.from, &pair.to, true, 0, 0, 0}, {&pair.to, &pair.from, false, 0, 0, 0}};
        state = round;
        for (unsigned step = 0; step < STEPS; step++) {
            struct way *way = &ways[random_number(4) == 0];
            switch (random_number(4)) {
            case 0:
                for (uint64_t many = random_number(random_number(4) == 0 ? 400 : 10);
                     many > 0 && way->put - way->taken < ON_THEIR_WAY; many--) {
                    put(way->from, said_of(way->put++, way->passes));
                }
                break;
            case 1: {
                const ptrdiff_t left = dorrit_channel_send(way->from);
                CHECK(left >= 0);
                full += left > 0;
                cut += way->from->batch_begin < way->from->batch_end;
                break;
            }
            case 2:
                if (way->reads < READS) {
                    const enum dorrit_channel_verdict verdict = dorrit_channel_receive(way->to);
                    CHECK(verdict == DORRIT_CHANNEL_MESSAGE || verdict == NOTHING);
                    way->reads += verdict == DORRIT_CHANNEL_MESSAGE;
                }
                break;
            case 3:
                take_some(way, random_number(2) == 0 ? UINT64_MAX : random_number(20));
                break;
            }
        }
        for (unsigned index = 0; index < 2; index++) {
            struct way *way = &ways[index];
            CHECK(way->put > STEPS / 10);
            for (unsigned turns = 0; way->taken < way->put; turns++) {
                CHECK(turns < 100000);
                CHECK(dorrit_channel_send(way->from) >= 0);
                take_some(way, UINT64_MAX);
                CHECK(dorrit_channel_receive(way->to) <= NOTHING);
                take_some(way, UINT64_MAX);
            }
            send_all(way->from);
            CHECK_EQUAL(dorrit_channel_receive(way->to), NOTHING);
            check_nothing(way->to);
        }
        close_both(&pair);
    }
    CHECK(full > 0);
#ifdef __linux__
    CHECK(cut > 0);
#else
    (void)cut;
#endif
}

/* Each test leaves as many descriptors open as it has found. */
#define RUN_AND_COUNT(test) (RUN(test), CHECK_EQUAL(open_descriptors(), at_first))

int main(void)
{
    limit_descriptors(LIMIT);
    open_files();
    for (size_t index = 0; index < sizeof words; index++) {
        words[index] = (uint8_t)random_number(256);
    }
    const int at_first = open_descriptors();
    RUN_AND_COUNT(messages_come_in_order_with_what_they_have);
    RUN_AND_COUNT(both_sides_speak);
    RUN_AND_COUNT(descriptor_that_arrives_is_the_same_file);
    RUN_AND_COUNT(texts_have_a_longest_length);
    RUN_AND_COUNT(any_number_of_descriptors_in_a_row);
    RUN_AND_COUNT(many_descriptors_in_one_go);
    RUN_AND_COUNT(batches_are_cut);
    RUN_AND_COUNT(descriptors_that_find_no_room_are_missing_where_they_belong);
    RUN_AND_COUNT(batch_that_finds_no_room_and_is_cut);
#ifdef __linux__
    RUN_AND_COUNT(too_many_descriptors_on_their_way);
#endif
    RUN_AND_COUNT(end_comes_behind_what_was_sent);
    RUN_AND_COUNT(end_comes_also_if_the_other_side_has_not_read);
    RUN_AND_COUNT(nobody_reads);
    RUN_AND_COUNT(channel_is_settled_when_nothing_is_half_said);
    RUN_AND_COUNT(channel_that_is_closed);
    RUN_AND_COUNT(descriptors_that_nobody_has_asked_for_are_closed);
    RUN_AND_COUNT(kinds_that_nobody_knows);
    RUN_AND_COUNT(lengths_beyond_the_limit);
    RUN_AND_COUNT(batches_that_cannot_be);
    RUN_AND_COUNT(descriptors_of_another_number);
    RUN_AND_COUNT(more_descriptors_than_are_taken);
    RUN_AND_COUNT(descriptors_that_belong_to_nothing);
    RUN_AND_COUNT(messages_come_byte_by_byte);
    RUN_AND_COUNT(random_bytes_do_no_harm);
    RUN_AND_COUNT(random_conversation);
    return 0;
}
