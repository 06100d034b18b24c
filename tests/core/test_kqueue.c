/* What the poller relies on of kqueue(2), over the one of tests/core and, where there is one, over
 * the system's: so the first can't be kinder than the second. */
#include <sys/types.h>

#include <sys/event.h>

#include "check.h"

#include <errno.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const struct timespec at_once;
static int queue;
static int here;
static int there;

static void begin(void)
{
    int ends[2];
    CHECK_EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    here = ends[0];
    there = ends[1];
    queue = kqueue();
    CHECK(queue >= 0);
}

static void end(void)
{
    close(here);
    close(there);
    close(queue);
}

/* 0, or the errno. */
static int change(int filter, int flags)
{
    struct kevent event;
    EV_SET(&event, (uintptr_t)here, (short)filter, (unsigned short)flags, 0, 0, NULL);
    return kevent(queue, &event, 1, NULL, 0, NULL) == 0 ? 0 : errno;
}

/* The one event that waits, or none. */
static struct kevent only_event(void)
{
    struct kevent events[4];
    EV_SET(&events[0], 0, 0, 0, 0, 0, NULL);
    const int count = kevent(queue, NULL, 0, events, 4, &at_once);
    CHECK(count == 0 || count == 1);
    if (count == 1) {
        CHECK_EQUAL(events[0].ident, here);
    }
    return events[0];
}

static void each_filter_exists_by_itself(void)
{
    begin();
    CHECK_EQUAL(change(EVFILT_READ, EV_ENABLE), ENOENT);
    CHECK_EQUAL(change(EVFILT_READ, EV_DISABLE), ENOENT);
    CHECK_EQUAL(change(EVFILT_READ, EV_DELETE), ENOENT);
    CHECK_EQUAL(change(EVFILT_READ, EV_ADD), 0);
    CHECK_EQUAL(change(EVFILT_WRITE, EV_ENABLE), ENOENT);
    CHECK_EQUAL(change(EVFILT_WRITE, EV_ADD | EV_DISABLE), 0);
    CHECK_EQUAL(only_event().filter, 0);
    CHECK_EQUAL(change(EVFILT_WRITE, EV_ADD | EV_ENABLE), 0);
    CHECK_EQUAL(only_event().filter, EVFILT_WRITE);
    CHECK_EQUAL(change(EVFILT_READ, EV_DELETE), 0);
    CHECK_EQUAL(only_event().filter, EVFILT_WRITE);
    CHECK_EQUAL(change(EVFILT_WRITE, EV_DELETE), 0);
    CHECK_EQUAL(only_event().filter, 0);
    CHECK_EQUAL(change(EVFILT_WRITE, EV_DELETE), ENOENT);
    end();
}

static void adding_again_changes(void)
{
    begin();
    CHECK_EQUAL(write(there, "x", 1), 1);
    CHECK_EQUAL(change(EVFILT_READ, EV_ADD), 0);
    CHECK_EQUAL(change(EVFILT_READ, EV_ADD), 0);
    CHECK_EQUAL(only_event().filter, EVFILT_READ);
    CHECK_EQUAL(change(EVFILT_READ, EV_ADD | EV_DISABLE), 0);
    CHECK_EQUAL(only_event().filter, 0);
    end();
}

static void a_change_that_asks_for_nothing_tells_whether_there_is_a_filter(void)
{
    begin();
    CHECK_EQUAL(write(there, "x", 1), 1);
    CHECK_EQUAL(change(EVFILT_READ, 0), ENOENT);
    CHECK_EQUAL(only_event().filter, 0);
    CHECK_EQUAL(change(EVFILT_READ, EV_ADD | EV_DISABLE), 0);
    CHECK_EQUAL(change(EVFILT_READ, 0), 0);
    CHECK_EQUAL(only_event().filter, 0);
    CHECK_EQUAL(change(EVFILT_READ, EV_ENABLE), 0);
    CHECK_EQUAL(change(EVFILT_READ, 0), 0);
    CHECK_EQUAL(only_event().filter, EVFILT_READ);
    CHECK_EQUAL(change(EVFILT_WRITE, 0), ENOENT);
    end();
}

static void the_end_is_told_together_with_the_data_before_it(void)
{
    begin();
    CHECK_EQUAL(change(EVFILT_READ, EV_ADD), 0);
    CHECK_EQUAL(write(there, "abc", 3), 3);
    CHECK_EQUAL(only_event().flags & EV_EOF, 0);
    CHECK_EQUAL(only_event().data, 3);
    CHECK_EQUAL(shutdown(there, SHUT_WR), 0);
    CHECK_EQUAL(only_event().flags & EV_EOF, EV_EOF);
    CHECK_EQUAL(only_event().data, 3);
    end();
}

static void a_writer_is_told_that_the_reader_has_gone(void)
{
    begin();
    CHECK_EQUAL(change(EVFILT_WRITE, EV_ADD), 0);
    CHECK_EQUAL(only_event().flags & EV_EOF, 0);
    close(there);
    CHECK_EQUAL(only_event().filter, EVFILT_WRITE);
    CHECK_EQUAL(only_event().flags & EV_EOF, EV_EOF);
    end();
}

static void errors_are_events_where_there_is_room(void)
{
    begin();
    struct kevent changes[2];
    EV_SET(&changes[0], (uintptr_t)here, EVFILT_READ, EV_ENABLE, 0, 0, NULL);
    EV_SET(&changes[1], (uintptr_t)here, EVFILT_WRITE, EV_ADD, 0, 0, NULL);
    struct kevent events[2];
    CHECK_EQUAL(kevent(queue, changes, 2, events, 2, NULL), 1);
    CHECK_EQUAL(events[0].ident, here);
    CHECK_EQUAL(events[0].filter, EVFILT_READ);
    CHECK_EQUAL(events[0].flags & EV_ERROR, EV_ERROR);
    CHECK_EQUAL(events[0].data, ENOENT);
    CHECK_EQUAL(only_event().filter, EVFILT_WRITE); /* the second change was made all the same */
    end();
}

static void what_is_unknown_is_refused(void)
{
    begin();
    CHECK_EQUAL(change(-999, EV_ADD), EINVAL);
    close(here);
    CHECK_EQUAL(change(EVFILT_READ, EV_ADD), EBADF);
    CHECK_EQUAL(change(EVFILT_READ, EV_ENABLE), EBADF);
    close(there);
    close(queue);
    CHECK_EQUAL(change(EVFILT_READ, EV_ADD), EBADF);
}

int main(void)
{
    RUN(each_filter_exists_by_itself);
    RUN(adding_again_changes);
    RUN(a_change_that_asks_for_nothing_tells_whether_there_is_a_filter);
    RUN(the_end_is_told_together_with_the_data_before_it);
    RUN(a_writer_is_told_that_the_reader_has_gone);
    RUN(errors_are_events_where_there_is_room);
    RUN(what_is_unknown_is_refused);
    return 0;
}
