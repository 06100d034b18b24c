/* The poller (R3), the same test over epoll, over a kqueue, and over the kqueue of tests/core. */
#include "check.h"
#include "poller.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { READABLE = 1, WRITABLE = 2 };

struct pair {
    int here;
    int there;
};

static struct pair connected(void)
{
    int ends[2];
    CHECK_EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    CHECK_EQUAL(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    CHECK_EQUAL(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
    return (struct pair){ends[0], ends[1]};
}

static void close_pair(struct pair pair)
{
    CHECK_EQUAL(close(pair.here), 0);
    CHECK_EQUAL(close(pair.there), 0);
}

static int opened(void)
{
    const int poller = dorrit_poller_open();
    CHECK(poller >= 0);
    return poller;
}

/* What waits now, of every descriptor, in one: kqueue tells reading and writing apart. Fails when a
 * descriptor other than this one is reported. */
static unsigned ready(int poller, int descriptor)
{
    struct dorrit_poller_event events[8];
    const int count = dorrit_poller_wait(poller, events, 8, 0);
    CHECK(count >= 0);
    unsigned found = 0;
    for (int index = 0; index < count; index++) {
        CHECK_EQUAL(events[index].descriptor, descriptor);
        CHECK(events[index].readable || events[index].writable);
        found |= events[index].readable ? READABLE : 0u;
        found |= events[index].writable ? WRITABLE : 0u;
    }
    return found;
}

static bool is_readable(int poller)
{
    struct pollfd entry = {.fd = poller, .events = POLLIN};
    CHECK(poll(&entry, 1, 0) >= 0);
    return (entry.revents & POLLIN) != 0;
}

static void fill(int descriptor)
{
    static const char bytes[4096];
    while (write(descriptor, bytes, sizeof bytes) > 0) {
    }
    CHECK_EQUAL(errno, EAGAIN);
}

static void drain(int descriptor)
{
    char bytes[4096];
    while (read(descriptor, bytes, sizeof bytes) > 0) {
    }
}

static int64_t milliseconds(void)
{
    struct timespec now;
    CHECK_EQUAL(clock_gettime(CLOCK_MONOTONIC, &now), 0);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void is_close_on_exec(void)
{
    const int poller = opened();
    CHECK_EQUAL(fcntl(poller, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    close(poller);
}

static void add_watches_for_reading_only(void)
{
    const int poller = opened();
    const struct pair pair = connected();
    CHECK_EQUAL(dorrit_poller_add(poller, pair.here), 0);
    CHECK_EQUAL(ready(poller, pair.here), 0);
    CHECK_EQUAL(write(pair.there, "x", 1), 1);
    CHECK_EQUAL(ready(poller, pair.here), READABLE);
    CHECK_EQUAL(ready(poller, pair.here), READABLE); /* level-triggered */
    drain(pair.here);
    CHECK_EQUAL(ready(poller, pair.here), 0);
    close_pair(pair);
    close(poller);
}

static void what_was_added_is_not_added_again(void)
{
    const int poller = opened();
    const struct pair pair = connected();
    CHECK_EQUAL(dorrit_poller_add(poller, pair.here), 0);
    CHECK_EQUAL(dorrit_poller_modify(poller, pair.here, false, false), 0);
    CHECK_EQUAL(write(pair.there, "x", 1), 1);
    CHECK_EQUAL(dorrit_poller_add(poller, pair.here), -1);
    CHECK_EQUAL(errno, EEXIST);
    CHECK_EQUAL(ready(poller, pair.here), 0);
    CHECK_EQUAL(dorrit_poller_remove(poller, pair.here), 0);
    CHECK_EQUAL(dorrit_poller_add(poller, pair.here), 0);
    CHECK_EQUAL(ready(poller, pair.here), READABLE);
    close_pair(pair);
    close(poller);
}

static void modify_sets_each_interest(void)
{
    const int poller = opened();
    const struct pair pair = connected();
    CHECK_EQUAL(dorrit_poller_add(poller, pair.here), 0);
    CHECK_EQUAL(write(pair.there, "x", 1), 1);
    /* From each interest to each other one. */
    for (unsigned before = 0; before < 4; before++) {
        for (unsigned after = 0; after < 4; after++) {
            CHECK_EQUAL(
                dorrit_poller_modify(
                    poller, pair.here, (before & READABLE) != 0, (before & WRITABLE) != 0),
                0);
            CHECK_EQUAL(ready(poller, pair.here), before);
            CHECK_EQUAL(
                dorrit_poller_modify(
                    poller, pair.here, (after & READABLE) != 0, (after & WRITABLE) != 0),
                0);
            CHECK_EQUAL(ready(poller, pair.here), after);
        }
    }
    close_pair(pair);
    close(poller);
}

static void writable_means_that_there_is_room(void)
{
    const int poller = opened();
    const struct pair pair = connected();
    CHECK_EQUAL(dorrit_poller_add(poller, pair.here), 0);
    CHECK_EQUAL(dorrit_poller_modify(poller, pair.here, true, true), 0);
    CHECK_EQUAL(ready(poller, pair.here), WRITABLE);
    fill(pair.here);
    CHECK_EQUAL(ready(poller, pair.here), 0);
    drain(pair.there);
    CHECK_EQUAL(ready(poller, pair.here), WRITABLE);
    CHECK_EQUAL(ready(poller, pair.here), WRITABLE);
    close_pair(pair);
    close(poller);
}

static void without_room_only_what_can_be_read_is_reported(void)
{
    const int poller = opened();
    const struct pair pair = connected();
    CHECK_EQUAL(dorrit_poller_add(poller, pair.here), 0);
    CHECK_EQUAL(dorrit_poller_modify(poller, pair.here, true, true), 0);
    fill(pair.here);
    CHECK_EQUAL(ready(poller, pair.here), 0);
    CHECK_EQUAL(write(pair.there, "x", 1), 1);
    CHECK_EQUAL(ready(poller, pair.here), READABLE);
    close_pair(pair);
    close(poller);
}

static void half_closed_peer_is_readable(void)
{
    const int poller = opened();
    const struct pair pair = connected();
    char byte;
    CHECK_EQUAL(dorrit_poller_add(poller, pair.here), 0);
    CHECK_EQUAL(write(pair.there, "x", 1), 1);
    CHECK_EQUAL(shutdown(pair.there, SHUT_WR), 0);
    CHECK_EQUAL(ready(poller, pair.here), READABLE);
    CHECK_EQUAL(read(pair.here, &byte, 1), 1); /* what was sent before the end is not lost */
    CHECK_EQUAL(ready(poller, pair.here), READABLE);
    CHECK_EQUAL(read(pair.here, &byte, 1), 0);
    close_pair(pair);
    close(poller);
}

static void hang_up_is_reported_to_who_reads(void)
{
    const int poller = opened();
    const struct pair pair = connected();
    char byte;
    CHECK_EQUAL(dorrit_poller_add(poller, pair.here), 0);
    close(pair.there);
    CHECK_EQUAL(ready(poller, pair.here), READABLE);
    CHECK_EQUAL(read(pair.here, &byte, 1), 0);
    close(pair.here);
    close(poller);
}

/* Even when there was no room when it hung up. */
static void hang_up_is_reported_to_who_writes(void)
{
    const int poller = opened();
    const struct pair pair = connected();
    CHECK_EQUAL(dorrit_poller_add(poller, pair.here), 0);
    fill(pair.here);
    CHECK_EQUAL(dorrit_poller_modify(poller, pair.here, false, true), 0);
    CHECK_EQUAL(ready(poller, pair.here), 0);
    close(pair.there);
    CHECK_EQUAL(ready(poller, pair.here), WRITABLE);
    close(pair.here);
    close(poller);
}

/* Of a pipe that is full, epoll says nothing but that it is in error. */
static void error_is_reported_to_who_writes(void)
{
    const int poller = opened();
    int ends[2];
    CHECK_EQUAL(pipe(ends), 0);
    CHECK_EQUAL(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
    fill(ends[1]);
    CHECK_EQUAL(dorrit_poller_add(poller, ends[1]), 0);
    CHECK_EQUAL(dorrit_poller_modify(poller, ends[1], false, true), 0);
    CHECK_EQUAL(ready(poller, ends[1]), 0);
    close(ends[0]);
    CHECK_EQUAL(ready(poller, ends[1]), WRITABLE);
    close(ends[1]);
    close(poller);
}

/* A paused connection whose client has gone must not keep the loop turning. */
static void hang_up_is_not_reported_to_who_does_neither(void)
{
    for (int before = 0; before < 2; before++) {
        const int poller = opened();
        const struct pair pair = connected();
        CHECK_EQUAL(dorrit_poller_add(poller, pair.here), 0);
        if (before == 1) {
            close(pair.there);
        }
        CHECK_EQUAL(dorrit_poller_modify(poller, pair.here, false, false), 0);
        if (before == 0) {
            close(pair.there);
        }
        CHECK_EQUAL(ready(poller, pair.here), 0);
        CHECK(!is_readable(poller));
        CHECK_EQUAL(ready(poller, pair.here), 0);
        CHECK_EQUAL(dorrit_poller_modify(poller, pair.here, true, false), 0);
        CHECK_EQUAL(ready(poller, pair.here), READABLE);
        close(pair.here);
        close(poller);
    }
}

static void closed_descriptor_leaves_by_itself(void)
{
    const int poller = opened();
    const struct pair pair = connected();
    CHECK_EQUAL(dorrit_poller_add(poller, pair.here), 0);
    CHECK_EQUAL(dorrit_poller_modify(poller, pair.here, true, true), 0);
    close_pair(pair);
    CHECK_EQUAL(ready(poller, -1), 0);
    CHECK_EQUAL(dorrit_poller_modify(poller, pair.here, true, false), -1);
    CHECK_EQUAL(errno, EBADF);
    /* The number comes again, and means another one. */
    const struct pair next = connected();
    CHECK_EQUAL(next.here, pair.here);
    CHECK_EQUAL(dorrit_poller_modify(poller, next.here, true, false), -1);
    CHECK_EQUAL(errno, ENOENT);
    CHECK_EQUAL(write(next.there, "x", 1), 1);
    CHECK_EQUAL(ready(poller, -1), 0);
    CHECK_EQUAL(dorrit_poller_add(poller, next.here), 0);
    CHECK_EQUAL(ready(poller, next.here), READABLE);
    close_pair(next);
    close(poller);
}

static void removed_descriptor_is_silent(void)
{
    const int poller = opened();
    const struct pair pair = connected();
    CHECK_EQUAL(dorrit_poller_add(poller, pair.here), 0);
    CHECK_EQUAL(write(pair.there, "x", 1), 1);
    CHECK_EQUAL(ready(poller, pair.here), READABLE);
    CHECK_EQUAL(dorrit_poller_remove(poller, pair.here), 0);
    CHECK_EQUAL(ready(poller, -1), 0);
    CHECK_EQUAL(dorrit_poller_remove(poller, pair.here), -1);
    CHECK_EQUAL(errno, ENOENT);
    CHECK_EQUAL(dorrit_poller_add(poller, pair.here), 0);
    CHECK_EQUAL(ready(poller, pair.here), READABLE);
    close_pair(pair);
    close(poller);
}

/* What dorrit_poller_remove() is for: a process that was forked in between holds a copy. */
static void removed_descriptor_is_silent_though_a_child_holds_it(void)
{
    const int poller = opened();
    const struct pair pair = connected();
    const struct pair life = connected();
    CHECK_EQUAL(fcntl(life.there, F_SETFL, 0), 0);
    CHECK_EQUAL(dorrit_poller_add(poller, pair.here), 0);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        char byte;
        close(life.here);
        _exit(read(life.there, &byte, 1) == 0 ? 0 : 1);
    }
    CHECK_EQUAL(dorrit_poller_remove(poller, pair.here), 0);
    close(pair.here);
    CHECK_EQUAL(write(pair.there, "x", 1), 1);
    CHECK_EQUAL(ready(poller, -1), 0);
    close(life.here);
    close(life.there);
    int status;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(status, 0);
    close(pair.there);
    close(poller);
}

static void a_child_that_lets_go_of_a_poller_leaves_it_to_its_parent(void)
{
    const int poller = opened();
    const struct pair pair = connected();
    CHECK_EQUAL(dorrit_poller_add(poller, pair.here), 0);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        dorrit_poller_let_go(poller);
        close(pair.here);
        _exit(fcntl(poller, F_GETFD) == -1 ? 0 : 1);
    }
    int status;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(status, 0);
    CHECK_EQUAL(write(pair.there, "x", 1), 1);
    CHECK_EQUAL(ready(poller, pair.here), READABLE);
    close_pair(pair);
    close(poller);
}

static void time_out(void)
{
    const int poller = opened();
    const struct pair pair = connected();
    struct dorrit_poller_event events[8];
    CHECK_EQUAL(dorrit_poller_add(poller, pair.here), 0);
    CHECK_EQUAL(dorrit_poller_wait(poller, events, 8, 0), 0);
    const int64_t begin = milliseconds();
    CHECK_EQUAL(dorrit_poller_wait(poller, events, 8, 30), 0);
    CHECK(milliseconds() - begin >= 29); /* both ends are cut to whole milliseconds */
    close_pair(pair);
    close(poller);
}

/* An event ends a wait, whether it is bounded, by more than a second, or not. */
static void event_ends_a_wait(void)
{
    static const int limits[] = {-1, 1, 59999};
    const int poller = opened();
    const struct pair pair = connected();
    CHECK_EQUAL(dorrit_poller_add(poller, pair.here), 0);
    CHECK_EQUAL(write(pair.there, "x", 1), 1);
    for (size_t index = 0; index < sizeof limits / sizeof *limits; index++) {
        struct dorrit_poller_event events[8];
        CHECK_EQUAL(dorrit_poller_wait(poller, events, 8, limits[index]), 1);
        CHECK_EQUAL(events[0].descriptor, pair.here);
    }
    close_pair(pair);
    close(poller);
}

static volatile sig_atomic_t alarms;

static void count_alarm(int number)
{
    (void)number;
    alarms = alarms + 1;
}

static void signal_ends_a_wait(void)
{
    const int poller = opened();
    const struct pair pair = connected();
    struct dorrit_poller_event events[8];
    CHECK_EQUAL(dorrit_poller_add(poller, pair.here), 0);
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = count_alarm;
    action.sa_flags = SA_RESTART; /* which does not apply to a poller */
    CHECK_EQUAL(sigaction(SIGALRM, &action, NULL), 0);
    /* Again and again, since one that comes before the wait has begun does not end it. */
    const struct itimerval often = {{0, 5000}, {0, 5000}};
    const struct itimerval never = {{0, 0}, {0, 0}};
    CHECK_EQUAL(setitimer(ITIMER_REAL, &often, NULL), 0);
    for (int limit = -1; limit <= 60000; limit += 60001) {
        CHECK_EQUAL(dorrit_poller_wait(poller, events, 8, limit), -1);
        CHECK_EQUAL(errno, EINTR);
    }
    CHECK_EQUAL(setitimer(ITIMER_REAL, &never, NULL), 0);
    CHECK(alarms > 0);
    close_pair(pair);
    close(poller);
}

/* Each of them has its turn, however few fit into one wait. */
static void more_are_ready_than_fit(void)
{
    enum { PAIRS = 10 };
    for (int capacity = 1; capacity <= 4; capacity++) {
        const int poller = opened();
        struct pair pairs[PAIRS];
        unsigned seen[PAIRS] = {0};
        for (int index = 0; index < PAIRS; index++) {
            pairs[index] = connected();
            CHECK_EQUAL(dorrit_poller_add(poller, pairs[index].here), 0);
            CHECK_EQUAL(dorrit_poller_modify(poller, pairs[index].here, true, true), 0);
            CHECK_EQUAL(write(pairs[index].there, "x", 1), 1);
        }
        for (int wait = 0; wait < 4 * PAIRS; wait++) {
            struct dorrit_poller_event events[4];
            const int count = dorrit_poller_wait(poller, events, capacity, 0);
            CHECK(count >= 1 && count <= capacity);
            for (int event = 0; event < count; event++) {
                for (int index = 0; index < PAIRS; index++) {
                    if (pairs[index].here == events[event].descriptor) {
                        seen[index] |= events[event].readable ? READABLE : 0u;
                        seen[index] |= events[event].writable ? WRITABLE : 0u;
                    }
                }
            }
        }
        for (int index = 0; index < PAIRS; index++) {
            CHECK_EQUAL(seen[index], READABLE | WRITABLE);
            close_pair(pairs[index]);
        }
        close(poller);
    }
}

static void capacity_is_bounded(void)
{
    enum { COPIES = DORRIT_POLLER_EVENTS_MAX + 1 };
    const int poller = opened();
    const struct pair pair = connected();
    static int copies[COPIES];
    static struct dorrit_poller_event events[2 * COPIES];
    CHECK_EQUAL(dorrit_poller_wait(poller, events, 0, 0), -1);
    CHECK_EQUAL(errno, EINVAL);
    struct rlimit limit; /* macOS begins with 256 */
    CHECK_EQUAL(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_cur < 2 * COPIES) {
        limit.rlim_cur = 2 * COPIES;
        CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &limit), 0);
    }
    CHECK_EQUAL(write(pair.there, "x", 1), 1);
    for (int index = 0; index < COPIES; index++) {
        copies[index] = dup(pair.here);
        CHECK(copies[index] >= 0);
        CHECK_EQUAL(dorrit_poller_add(poller, copies[index]), 0);
    }
    const int count = dorrit_poller_wait(poller, events, 2 * COPIES, 0);
    CHECK_EQUAL(count, DORRIT_POLLER_EVENTS_MAX);
    for (int index = 0; index < COPIES; index++) {
        close(copies[index]);
    }
    close_pair(pair);
    close(poller);
}

/* The asyncio API puts the poller's descriptor into another loop. */
static void the_poller_can_be_polled(void)
{
    const int poller = opened();
    const struct pair pair = connected();
    CHECK_EQUAL(dorrit_poller_add(poller, pair.here), 0);
    CHECK(!is_readable(poller));
    CHECK_EQUAL(write(pair.there, "x", 1), 1);
    CHECK(is_readable(poller));
    CHECK_EQUAL(ready(poller, pair.here), READABLE);
    CHECK(is_readable(poller)); /* nobody has read it yet */
    drain(pair.here);
    CHECK_EQUAL(ready(poller, pair.here), 0);
    CHECK(!is_readable(poller));
    CHECK_EQUAL(dorrit_poller_modify(poller, pair.here, false, true), 0);
    CHECK(is_readable(poller));
    close_pair(pair);
    close(poller);
}

static void what_cannot_be_watched_is_refused(void)
{
    const int poller = opened();
    const struct pair pair = connected();
    CHECK_EQUAL(dorrit_poller_modify(poller, pair.here, true, true), -1);
    CHECK_EQUAL(errno, ENOENT);
    CHECK_EQUAL(dorrit_poller_remove(poller, pair.here), -1);
    CHECK_EQUAL(errno, ENOENT);
    close_pair(pair);
    CHECK_EQUAL(dorrit_poller_add(poller, pair.here), -1);
    CHECK_EQUAL(errno, EBADF);
    close(poller);
    CHECK_EQUAL(dorrit_poller_add(-1, STDIN_FILENO), -1);
    CHECK_EQUAL(errno, EBADF);
    struct dorrit_poller_event event;
    CHECK_EQUAL(dorrit_poller_wait(-1, &event, 1, 0), -1);
    CHECK_EQUAL(errno, EBADF);
}

int main(void)
{
    RUN(is_close_on_exec);
    RUN(add_watches_for_reading_only);
    RUN(what_was_added_is_not_added_again);
    RUN(modify_sets_each_interest);
    RUN(writable_means_that_there_is_room);
    RUN(without_room_only_what_can_be_read_is_reported);
    RUN(half_closed_peer_is_readable);
    RUN(hang_up_is_reported_to_who_reads);
    RUN(hang_up_is_reported_to_who_writes);
    RUN(error_is_reported_to_who_writes);
    RUN(hang_up_is_not_reported_to_who_does_neither);
    RUN(closed_descriptor_leaves_by_itself);
    RUN(removed_descriptor_is_silent);
    RUN(removed_descriptor_is_silent_though_a_child_holds_it);
    RUN(a_child_that_lets_go_of_a_poller_leaves_it_to_its_parent);
    RUN(time_out);
    RUN(event_ends_a_wait);
    RUN(signal_ends_a_wait);
    RUN(more_are_ready_than_fit);
    RUN(capacity_is_bounded);
    RUN(the_poller_can_be_polled);
    RUN(what_cannot_be_watched_is_refused);
    return 0;
}
