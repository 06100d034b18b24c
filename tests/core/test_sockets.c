/* What sockets, pipes and the clock must do on every system (R1, R18). */
#include "check.h"
#include "sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void connected(int ends[2])
{
    CHECK_EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
}

static void close_pair(const int ends[2])
{
    CHECK_EQUAL(close(ends[0]), 0);
    CHECK_EQUAL(close(ends[1]), 0);
}

/* A listening socket in a directory of its own, that is gone again at once. */
static int listening(int *client)
{
    char directory[] = "/tmp/dorrit-core-XXXXXX";
    CHECK(mkdtemp(directory) != NULL);
    struct sockaddr_un address;
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", directory);
    const int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    *client = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(listener >= 0 && *client >= 0);
    CHECK_EQUAL(bind(listener, (const struct sockaddr *)&address, sizeof address), 0);
    CHECK_EQUAL(listen(listener, 1), 0);
    CHECK_EQUAL(connect(*client, (const struct sockaddr *)&address, sizeof address), 0);
    CHECK_EQUAL(unlink(address.sun_path), 0);
    CHECK_EQUAL(rmdir(directory), 0);
    return listener;
}

static void accepted_descriptor_is_non_blocking_and_close_on_exec(void)
{
    /* Whatever the listener is: some systems hand its flags on. */
    for (int flags = 0; flags < 2; flags++) {
        int client;
        const int listener = listening(&client);
        CHECK_EQUAL(fcntl(listener, F_SETFL, flags == 0 ? 0 : O_NONBLOCK), 0);
        const int descriptor = dorrit_accept(listener);
        CHECK(descriptor >= 0);
        CHECK_EQUAL(fcntl(descriptor, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
        CHECK_EQUAL(fcntl(descriptor, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
        char byte;
        CHECK_EQUAL(read(descriptor, &byte, 1), -1);
        CHECK_EQUAL(errno, EAGAIN);
        CHECK_EQUAL(write(client, "x", 1), 1);
        CHECK_EQUAL(read(descriptor, &byte, 1), 1);
        close(descriptor);
        close(client);
        close(listener);
    }
}

static void nobody_to_accept(void)
{
    int client;
    const int listener = listening(&client);
    CHECK_EQUAL(fcntl(listener, F_SETFL, O_NONBLOCK), 0);
    const int descriptor = dorrit_accept(listener);
    CHECK(descriptor >= 0);
    CHECK_EQUAL(dorrit_accept(listener), -1);
    CHECK_EQUAL(errno, EAGAIN);
    close(descriptor);
    close(client);
    close(listener);
    CHECK_EQUAL(dorrit_accept(listener), -1);
    CHECK_EQUAL(errno, EBADF);
}

static void sends_all_vectors_in_order(void)
{
    char first[] = "one", second[] = "", third[] = "three";
    struct iovec vectors[] = {{first, 3}, {second, 0}, {third, 5}};
    static const char *const expected[] = {"", "one", "one", "onethree"};
    for (int count = 0; count <= 3; count++) {
        int ends[2];
        connected(ends);
        const ssize_t length = (ssize_t)strlen(expected[count]);
        CHECK_EQUAL(dorrit_send(ends[0], vectors, count), length);
        CHECK_EQUAL(dorrit_shutdown_writing(ends[0]), 0);
        char found[16];
        CHECK_EQUAL(read(ends[1], found, sizeof found), length);
        CHECK(memcmp(found, expected[count], (size_t)length) == 0);
        close_pair(ends);
    }
}

static void more_vectors_than_the_system_takes_are_a_short_write(void)
{
    enum { MANY = 70000 }; /* more than 16 bits count, too */
    static struct iovec vectors[MANY];
    static char byte = 'x';
    for (size_t index = 0; index < MANY; index++) {
        vectors[index] = (struct iovec){&byte, 1};
    }
    int ends[2];
    connected(ends);
    const ssize_t sent = dorrit_send(ends[0], vectors, MANY);
    CHECK(sent > 0 && sent < MANY);
    static char found[MANY];
    CHECK_EQUAL(read(ends[1], found, sizeof found), sent);
    close_pair(ends);
}

/* Also when the descriptor itself would block. */
static void never_waits(void)
{
    static char bytes[1 << 16];
    struct iovec vectors[] = {{bytes, sizeof bytes}, {bytes, sizeof bytes}};
    for (int count = 1; count <= 2; count++) {
        int ends[2];
        connected(ends);
        ssize_t sent;
        do {
            sent = dorrit_send(ends[0], vectors, count);
        } while (sent > 0);
        CHECK_EQUAL(sent, -1);
        CHECK(errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS);
        close_pair(ends);
    }
}

/* SIGPIPE has its default here, which would end the test. */
static void broken_pipe_is_an_error_and_no_signal(void)
{
    char bytes[] = "x";
    struct iovec vectors[] = {{bytes, 1}, {bytes, 1}};
    for (int count = 1; count <= 2; count++) {
        int client;
        const int listener = listening(&client);
        const int descriptor = dorrit_accept(listener);
        CHECK(descriptor >= 0);
        close(client);
        CHECK_EQUAL(dorrit_send(descriptor, vectors, count), -1);
        CHECK_EQUAL(errno, EPIPE);
        close(descriptor);
        close(listener);
    }
}

static void shut_down_is_one_way(void)
{
    int ends[2];
    char bytes[] = "last";
    char found[8];
    struct iovec vector = {bytes, 4};
    connected(ends);
    CHECK_EQUAL(dorrit_send(ends[0], &vector, 1), 4);
    CHECK_EQUAL(dorrit_shutdown_writing(ends[0]), 0);
    CHECK_EQUAL(read(ends[1], found, sizeof found), 4);
    CHECK_EQUAL(read(ends[1], found, sizeof found), 0);
    CHECK_EQUAL(write(ends[1], "answer", 6), 6);
    CHECK_EQUAL(read(ends[0], found, sizeof found), 6);
    close_pair(ends);
    CHECK_EQUAL(dorrit_shutdown_writing(ends[0]), -1);
    CHECK_EQUAL(errno, EBADF);
}

/* What a process that was forked may hold. */
static void shut_down_ends_both_ways_for_every_copy(void)
{
    int ends[2];
    char found[8];
    connected(ends);
    const int copy = dup(ends[0]);
    CHECK(copy >= 0);
    CHECK_EQUAL(write(ends[0], "last", 4), 4);
    CHECK_EQUAL(dorrit_shutdown(ends[0]), 0);
    CHECK_EQUAL(read(ends[1], found, sizeof found), 4);
    CHECK_EQUAL(read(ends[1], found, sizeof found), 0);
    CHECK_EQUAL(read(copy, found, sizeof found), 0);
    close(copy);
    close_pair(ends);
    CHECK_EQUAL(dorrit_shutdown(ends[0]), -1);
    CHECK_EQUAL(errno, EBADF);
}

static void clock_does_not_go_back(void)
{
    uint64_t last = dorrit_monotonic_milliseconds();
    for (int turn = 0; turn < 1000; turn++) {
        const uint64_t now = dorrit_monotonic_milliseconds();
        CHECK(now >= last && now - last < 60000);
        last = now;
    }
}

static void peer_is_who_connected(void)
{
    int client;
    const int listener = listening(&client);
    const int descriptor = dorrit_accept(listener);
    CHECK(descriptor >= 0);
    int64_t pid = -2, uid = -2, gid = -2;
    CHECK_EQUAL(dorrit_peer_credentials(descriptor, &pid, &uid, &gid), 0);
    CHECK_EQUAL(uid, geteuid());
    CHECK_EQUAL(gid, getegid());
#ifdef __linux__
    CHECK_EQUAL(pid, getpid());
#else
    CHECK(pid == getpid() || pid == -1);
#endif
    close(descriptor);
    close(client);
    close(listener);
}

static void what_has_no_peer_has_no_credentials(void)
{
    const int lonely = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(lonely >= 0);
    int64_t pid = -2, uid = -2, gid = -2;
    CHECK_EQUAL(dorrit_peer_credentials(lonely, &pid, &uid, &gid), -1);
    close(lonely);
    CHECK_EQUAL(dorrit_peer_credentials(lonely, &pid, &uid, &gid), -1);
    CHECK_EQUAL(errno, EBADF);
    CHECK(pid == -2 && uid == -2 && gid == -2);
}

static void pipe_is_non_blocking_and_close_on_exec(void)
{
    int ends[2];
    CHECK_EQUAL(dorrit_pipe(ends), 0);
    for (int end = 0; end < 2; end++) {
        CHECK_EQUAL(fcntl(ends[end], F_GETFL) & O_NONBLOCK, O_NONBLOCK);
        CHECK_EQUAL(fcntl(ends[end], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    }
    char byte;
    CHECK_EQUAL(read(ends[0], &byte, 1), -1);
    CHECK_EQUAL(errno, EAGAIN);
    CHECK_EQUAL(write(ends[1], "x", 1), 1);
    CHECK_EQUAL(read(ends[0], &byte, 1), 1);
    CHECK_EQUAL(byte, 'x');
    close_pair(ends);
}

int main(void)
{
    RUN(accepted_descriptor_is_non_blocking_and_close_on_exec);
    RUN(nobody_to_accept);
    RUN(sends_all_vectors_in_order);
    RUN(more_vectors_than_the_system_takes_are_a_short_write);
    RUN(never_waits);
    RUN(broken_pipe_is_an_error_and_no_signal);
    RUN(shut_down_is_one_way);
    RUN(shut_down_ends_both_ways_for_every_copy);
    RUN(clock_does_not_go_back);
    RUN(peer_is_who_connected);
    RUN(what_has_no_peer_has_no_credentials);
    RUN(pipe_is_non_blocking_and_close_on_exec);
    return 0;
}
