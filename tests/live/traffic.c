/* Clients of all kinds that send numbered messages all the time, and look whether each is answered
 * once and in order, whatever happens to the server meanwhile.
 *
 *     traffic ADDRESS TARGET CLIENTS [plain|paced]
 *
 * ADDRESS is the path of a UNIX-domain socket or HOST:PORT with a numeric host. The server is
 * `numbered.py` or another one that answers so: a message is the number of the client's message
 * (4 bytes), how many answers it wants (2) and how large they are (2), and filling. An answer is the
 * number of the message (4 bytes), its own number among those (2), the client's number (2), how many
 * messages the server has ever heard from this client (8), and filling that depends on the numbers of
 * the message and of the client. The server has the client's number of its cookie. All numbers are in
 * network byte order.
 *
 * The kinds, by a client's number modulo 8: four that send little and have two messages on the way;
 * one with up to 60,000 bytes both ways; one whose messages are in fragments with pings between them,
 * both of which send in pieces, so that most of the time one is cut somewhere; one that asks for more
 * than the kernel takes and reads slowly; one that comes and goes all the time. With `plain` all are of
 * the first kind; with `paced` all pause together for 5 ms each time that some have had something to do.
 *
 * It prints "ready" when all are connected. A line on stdin has it print one of JSON, with the longest
 * time since the last one that an answer took, and that nobody got an answer. At the end of stdin nothing
 * more is sent, what is on its way is waited for, and the last line is printed. "lost" are connections
 * that ended without being asked to; "wrong" is whatever else should not be, and the first of it is said
 * on stderr.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    EVENTS = 256,
    CLIENTS_MAX = 20000,
    HEADER_MAX = 14,
    ASKED = 8,             /* bytes of a message that say what is wanted */
    ANSWERED = 16,         /* bytes of an answer before its filling */
    LARGE = 60000,         /* bytes of the largest message and answer */
    PIECE = 200,           /* bytes of a fragment */
    SLOW_ANSWERS = 150,    /* that a slow reader asks for at a time */
    SLOW_SIZE = 4000,      /* bytes of each */
    SLOW_READ = 16384,     /* bytes that it reads at a time, */
    SLOW_PAUSE = 20,       /* milliseconds after the last time */
    CUT_LARGE = 5000,      /* bytes that are sent at a time of large messages, */
    CUT_SMALL = 40,        /* and of fragments, */
    PACE = 5000000,        /* nanoseconds */
    CUT_PAUSE = 5,         /* milliseconds after the last time */
    VISIT = 3,             /* messages of one that comes and goes */
    STANDSTILL = 60000     /* milliseconds without a single answer, after which it gives up */
};

enum kind { PLAIN, LARGE_ONE, FRAGMENTS = 5, SLOW, VISITOR };
enum state { ASKING, OPEN, CLOSING, REFUSED, ENDED };
enum opcode { CONTINUATION, TEXT, BINARY, CLOSE = 8, PING = 9, PONG = 10 };

struct client {
    int descriptor;
    uint8_t kind;
    uint8_t state;
    uint8_t matched; /* bytes of the end of a head */
    uint8_t header_length;
    uint8_t header[HEADER_MAX];
    uint8_t answer[ANSWERED];
    uint64_t payload; /* bytes of the frame that is being read */
    uint64_t taken;   /* of them that have come */
    uint8_t *out;     /* what is to be sent */
    size_t out_length, out_sent;
    uint32_t sent, answered; /* messages */
    uint16_t index;          /* of the next answer */
    uint16_t pongs;          /* that are due */
    uint32_t sizes[2];       /* of the answers to those on their way */
    uint16_t counts[2];
    uint64_t since[2];       /* when they were sent */
    uint64_t reads_from, writes_from; /* when it goes on; 0: now */
    char status[16];
    uint8_t status_length;
};

static struct client *clients;
static unsigned count;
static int poller;
static union {
    struct sockaddr any;
    struct sockaddr_un local;
    struct sockaddr_in internet;
} address;
static socklen_t address_size;
static const char *target;
static bool ending;
static uint64_t messages, answers, lost, wrong, visits, longest, silence, last_answer;
static uint64_t codes[5000];
static uint32_t chance = 1;

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

static uint32_t random_number(uint32_t below)
{
    chance = chance * 1664525 + 1013904223;
    return (uint32_t)((uint64_t)chance * below >> 32);
}

static void say_wrong(const struct client *client, const char *format, ...)
{
    if (wrong++ == 0) {
        va_list arguments;
        va_start(arguments, format);
        fprintf(stderr, "client %ld: ", (long)(client - clients));
        vfprintf(stderr, format, arguments);
        fputc('\n', stderr);
        va_end(arguments);
    }
}

static void die(const char *what)
{
    perror(what);
    exit(2);
}

static void watch(struct client *client, int operation)
{
    struct epoll_event event = {.data.ptr = client};
    const bool writes = client->out_length > client->out_sent && client->writes_from == 0;
    event.events = (client->reads_from == 0 ? (uint32_t)EPOLLIN : 0)
        | (writes ? (uint32_t)EPOLLOUT : 0);
    if (epoll_ctl(poller, operation, client->descriptor, &event) == -1) {
        die("epoll_ctl");
    }
}

static void put(struct client *client, const void *bytes, size_t length)
{
    if (client->out_sent == client->out_length) {
        client->out_sent = client->out_length = 0;
    }
    uint8_t *const grown = realloc(client->out, client->out_length + length);
    if (grown == NULL) {
        die("realloc");
    }
    client->out = grown;
    memcpy(client->out + client->out_length, bytes, length);
    client->out_length += length;
}

static void put_frame(struct client *client, enum opcode opcode, bool fin, const uint8_t *payload,
    size_t length)
{
    static uint8_t frame[HEADER_MAX + LARGE + ASKED];
    size_t size = 2;
    frame[0] = (uint8_t)((fin ? 0x80 : 0) | opcode);
    if (length < 126) {
        frame[1] = (uint8_t)(0x80 | length);
    } else {
        frame[1] = 0x80 | 126;
        frame[2] = (uint8_t)(length >> 8);
        frame[3] = (uint8_t)length;
        size = 4;
    }
    const uint32_t key = random_number(UINT32_MAX);
    memcpy(frame + size, &key, 4);
    for (size_t index = 0; index < length; index++) {
        frame[size + 4 + index] = payload[index] ^ frame[size + (index & 3)];
    }
    put(client, frame, size + 4 + length);
}

static uint16_t mark_of(const struct client *client)
{
    return (uint16_t)(client - clients);
}

static uint8_t filling(const struct client *client, uint32_t number, uint64_t place)
{
    return (uint8_t)(mark_of(client) * 59U + number * 31 + place * 7);
}

static void say(struct client *client)
{
    static uint8_t message[LARGE];
    const uint32_t number = client->sent;
    uint16_t wanted = 1;
    uint32_t answer = ANSWERED + random_number(48);
    size_t size = ASKED + random_number(56);
    if (client->kind == LARGE_ONE) {
        answer = ANSWERED + random_number(LARGE - ANSWERED);
        size = ASKED + random_number(LARGE - ASKED);
    } else if (client->kind == FRAGMENTS) {
        size = ASKED + random_number(5 * PIECE);
    } else if (client->kind == SLOW) {
        wanted = SLOW_ANSWERS;
        answer = SLOW_SIZE;
    }
    const uint32_t number_out = htonl(number);
    const uint16_t wanted_out = htons(wanted), answer_out = htons((uint16_t)answer);
    memcpy(message, &number_out, 4);
    memcpy(message + 4, &wanted_out, 2);
    memcpy(message + 6, &answer_out, 2);
    for (size_t place = ASKED; place < size; place++) {
        message[place] = filling(client, number, place);
    }
    if (client->kind == FRAGMENTS) {
        for (size_t from = 0; from < size; from += PIECE) {
            const size_t piece = size - from < PIECE ? size - from : PIECE;
            put_frame(client, from == 0 ? BINARY : CONTINUATION, from + piece == size, message + from,
                piece);
            put_frame(client, PING, true, message, 4);
            client->pongs++;
        }
    } else {
        put_frame(client, BINARY, true, message, size);
    }
    client->sizes[number & 1] = answer;
    client->counts[number & 1] = wanted;
    client->since[number & 1] = now();
    client->sent++;
    messages++;
}

static unsigned on_the_way(const struct client *client)
{
    return client->sent - client->answered;
}

/* Sends what is to be sent next, if anything is. */
static void go_on(struct client *client)
{
    if (client->state != OPEN) {
        return;
    }
    if (client->kind == VISITOR && client->sent == VISIT && on_the_way(client) == 0) {
        const uint8_t normal[2] = {1000 >> 8, 1000 & 0xFF};
        put_frame(client, CLOSE, true, normal, 2);
        client->state = CLOSING;
        return;
    }
    const unsigned most = client->kind == PLAIN ? 2 : 1;
    while (!ending && on_the_way(client) < most && !(client->kind == VISITOR && client->sent == VISIT)) {
        say(client);
    }
}

static void begin(struct client *client)
{
    const uint8_t kind = client->kind;
    free(client->out);
    memset(client, 0, sizeof *client);
    client->kind = kind;
    client->descriptor
        = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->descriptor == -1) {
        die("socket");
    }
    if (address.any.sa_family == AF_INET) {
        const int yes = 1;
        setsockopt(client->descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    }
    if (client->kind == SLOW) {
        const int little = SLOW_READ; /* what the kernel takes for it does not wait at the server */
        setsockopt(client->descriptor, SOL_SOCKET, SO_RCVBUF, &little, sizeof little);
    }
    if (connect(client->descriptor, &address.any, address_size) == -1) {
        die("connect");
    }
    fcntl(client->descriptor, F_SETFL, O_NONBLOCK);
    char request[512];
    const int length = snprintf(request, sizeof request,
        "GET %s?client=%ld HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        "Cookie: client=%ld\r\n\r\n",
        target, (long)(client - clients), (long)(client - clients));
    put(client, request, (size_t)length);
    client->state = ASKING;
    watch(client, EPOLL_CTL_ADD);
}

static void end(struct client *client, bool asked)
{
    close(client->descriptor);
    client->descriptor = -1;
    client->state = ENDED;
    lost += !asked;
    if (asked && !ending) {
        visits++;
        begin(client);
    }
}

static void take_answer(struct client *client)
{
    uint32_t number;
    uint16_t index, mark;
    uint64_t heard;
    memcpy(&number, client->answer, 4);
    memcpy(&index, client->answer + 4, 2);
    memcpy(&mark, client->answer + 6, 2);
    memcpy(&heard, client->answer + 8, 8);
    heard = be64toh(heard);
    if (ntohs(mark) != mark_of(client)) {
        say_wrong(client, "an answer for client %u", ntohs(mark));
        return;
    }
    if (on_the_way(client) == 0 || ntohl(number) != client->answered
        || ntohs(index) != client->index) {
        say_wrong(client, "answer %u.%u, and not %u.%u", ntohl(number), ntohs(index),
            client->answered, client->index);
        return;
    }
    if (client->payload != client->sizes[client->answered & 1]) {
        say_wrong(client, "%lu bytes of answer %u", (unsigned long)client->payload, ntohl(number));
    }
    if (heard != client->answered + 1) {
        say_wrong(client, "the server has heard %lu messages when it answers message %u",
            (unsigned long)heard, client->answered);
    }
    answers++;
    const uint64_t time = now();
    silence = time - last_answer > silence ? time - last_answer : silence;
    last_answer = time;
    if (++client->index < client->counts[client->answered & 1]) {
        return;
    }
    const uint64_t took = last_answer - client->since[client->answered & 1];
    if (client->kind == PLAIN && took > longest) {
        longest = took;
    }
    client->index = 0;
    client->answered++;
}

static void take_frame(struct client *client)
{
    const uint8_t opcode = client->header[0] & 0x0F;
    if (opcode == PONG && client->pongs > 0) {
        client->pongs--;
    } else if (opcode == CLOSE) {
        const unsigned code = client->payload < 2 ? 1005 : client->answer[0] * 256U + client->answer[1];
        codes[code < 5000 ? code : 0]++;
        if (client->state == OPEN) {
            put_frame(client, CLOSE, true, client->answer, 2);
            client->state = ENDED; /* without having been asked to */
        }
    } else if (opcode == BINARY && client->payload >= ANSWERED) {
        take_answer(client);
    } else {
        say_wrong(client, "a frame with opcode %u and %lu bytes", opcode,
            (unsigned long)client->payload);
    }
}

/* Takes bytes of frames; each filling is looked at as it comes. */
static void take_frames(struct client *client, const uint8_t *bytes, size_t length)
{
    while (length > 0) {
        const size_t needed = client->header_length < 2 ? 2
            : (client->header[1] & 0x7F) == 126       ? 4
            : (client->header[1] & 0x7F) == 127       ? 10
                                                      : 2;
        if (client->header_length < needed) {
            client->header[client->header_length++] = *bytes++;
            length--;
            if (client->header_length < 2 || (client->header_length == 2 && client->header[1] > 125)
                || client->header_length < needed) {
                continue;
            }
            client->payload = 0;
            if (client->header_length == 2) {
                client->payload = client->header[1];
            }
            for (unsigned place = 2; place < client->header_length; place++) {
                client->payload = client->payload << 8 | client->header[place];
            }
            client->taken = 0;
        } else {
            if (client->taken < ANSWERED) {
                client->answer[client->taken] = *bytes;
            } else if ((client->header[0] & 0x0F) == BINARY
                && *bytes != filling(client, client->answered, client->taken)) {
                say_wrong(client, "byte %lu of answer %u is another one", (unsigned long)client->taken,
                    client->answered);
            }
            client->taken++;
            bytes++;
            length--;
        }
        if (client->taken == client->payload && client->header_length >= needed) {
            take_frame(client);
            client->header_length = 0;
        }
    }
}

static void take(struct client *client, const uint8_t *bytes, size_t length)
{
    while (client->state == ASKING && length > 0) {
        static const char over[] = "\r\n\r\n";
        if (client->status_length < sizeof client->status - 1) {
            client->status[client->status_length++] = (char)*bytes;
        }
        client->matched = *bytes == over[client->matched] ? client->matched + 1 : *bytes == '\r';
        bytes++;
        length--;
        if (client->matched == 4) {
            if (strncmp(client->status, "HTTP/1.1 503", 12) == 0) {
                codes[503]++; /* its request was being handled when the server was killed: it is lost */
                client->state = REFUSED;
                return;
            }
            if (strncmp(client->status, "HTTP/1.1 101", 12) != 0) {
                say_wrong(client, "it is refused: %s", client->status);
            }
            client->state = OPEN;
        }
    }
    take_frames(client, bytes, length);
}

static void read_some(struct client *client)
{
    static uint8_t bytes[1 << 16];
    const bool slow = client->kind == SLOW && client->state == OPEN;
    const ssize_t length = read(client->descriptor, bytes, slow ? SLOW_READ : sizeof bytes);
    if (length > 0) {
        take(client, bytes, (size_t)length);
        if (slow) {
            client->reads_from = now() + SLOW_PAUSE;
        }
        go_on(client);
    } else if (length == 0 || errno != EAGAIN) {
        end(client, client->state == CLOSING);
        return;
    }
    watch(client, EPOLL_CTL_MOD);
}

static void write_some(struct client *client)
{
    size_t piece = client->out_length - client->out_sent;
    const uint32_t most = client->kind == LARGE_ONE ? CUT_LARGE : CUT_SMALL;
    if (piece > most && (client->kind == LARGE_ONE || client->kind == FRAGMENTS)) {
        piece = 1 + random_number(most);
        client->writes_from = now() + CUT_PAUSE;
    }
    const ssize_t length
        = send(client->descriptor, client->out + client->out_sent, piece, MSG_NOSIGNAL);
    if (length > 0) {
        client->out_sent += (size_t)length;
    }
    /* What a write fails for, a read tells. */
    watch(client, EPOLL_CTL_MOD);
}

static void wake_up(void)
{
    const uint64_t time = now();
    for (unsigned number = 0; number < count; number++) {
        struct client *const client = &clients[number];
        const bool reads = client->reads_from != 0 && client->reads_from <= time;
        const bool writes = client->writes_from != 0 && client->writes_from <= time;
        if (client->descriptor != -1 && (reads || writes)) {
            client->reads_from = reads ? 0 : client->reads_from;
            client->writes_from = writes ? 0 : client->writes_from;
            watch(client, EPOLL_CTL_MOD);
        }
    }
}

static void report(void)
{
    unsigned open = 0;
    for (unsigned number = 0; number < count; number++) {
        open += clients[number].state == OPEN;
    }
    printf("{\"open\": %u, \"messages\": %lu, \"answers\": %lu, \"lost\": %lu, \"wrong\": %lu, "
           "\"visits\": %lu, \"longest_ms\": %lu, \"silence_ms\": %lu, \"codes\": {",
        open, (unsigned long)messages, (unsigned long)answers, (unsigned long)lost,
        (unsigned long)wrong, (unsigned long)visits, (unsigned long)longest,
        (unsigned long)silence);
    const char *comma = "";
    for (unsigned code = 0; code < 5000; code++) {
        if (codes[code] > 0 && code != 1000) {
            printf("%s\"%u\": %lu", comma, code, (unsigned long)codes[code]);
            comma = ", ";
        }
    }
    printf("}}\n");
    fflush(stdout);
    longest = silence = 0;
}

static bool all_open(void)
{
    for (unsigned number = 0; number < count; number++) {
        if (clients[number].state < OPEN) {
            return false;
        }
    }
    return true;
}

static bool all_answered(void)
{
    for (unsigned number = 0; number < count; number++) {
        const struct client *const client = &clients[number];
        if (client->state == CLOSING || client->state == ASKING
            || (client->state == OPEN && (on_the_way(client) > 0 || client->pongs > 0))) {
            return false;
        }
    }
    return true;
}

/* What has been said on stdin; false at its end. */
static bool listen_to_stdin(void)
{
    char words[256];
    const ssize_t length = read(STDIN_FILENO, words, sizeof words);
    for (ssize_t place = 0; place < length; place++) {
        if (words[place] == '\n') {
            report();
        }
    }
    return length > 0;
}

static void run(bool is_paced)
{
    const struct timespec pause = {.tv_nsec = is_paced ? PACE : 0};
    bool ready = false;
    struct epoll_event events[EVENTS];
    last_answer = now();
    while (!ending || !all_answered()) {
        const int found = epoll_wait(poller, events, EVENTS, CUT_PAUSE);
        for (int index = 0; index < found; index++) {
            struct client *const client = events[index].data.ptr;
            if (client == NULL) {
                if (!listen_to_stdin()) {
                    ending = true;
                    epoll_ctl(poller, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
                }
                continue;
            }
            if (client->descriptor != -1 && (events[index].events & (uint32_t)EPOLLOUT) != 0) {
                write_some(client);
            }
            if (client->descriptor != -1
                && (events[index].events & (uint32_t)(EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
                read_some(client);
            }
        }
        wake_up();
        nanosleep(&pause, NULL);
        if (!ready && all_open()) {
            ready = true;
            printf("ready\n");
            fflush(stdout);
        }
        if (now() - last_answer > STANDSTILL) {
            fprintf(stderr, "nothing has been answered for a minute\n");
            wrong++;
            return;
        }
    }
}

static void read_address(const char *text)
{
    const char *const colon = strrchr(text, ':');
    if (colon == NULL) {
        address.local.sun_family = AF_UNIX;
        snprintf(address.local.sun_path, sizeof address.local.sun_path, "%s", text);
        address_size = sizeof address.local;
        return;
    }
    char host[64];
    snprintf(host, sizeof host, "%.*s", (int)(colon - text), text);
    address.internet.sin_family = AF_INET;
    address.internet.sin_port = htons((uint16_t)atoi(colon + 1));
    address_size = sizeof address.internet;
    if (inet_pton(AF_INET, host, &address.internet.sin_addr) != 1) {
        fprintf(stderr, "%s is not a numeric address\n", host);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    const bool all_plain = argc == 5 && strcmp(argv[4], "plain") == 0;
    const bool is_paced = argc == 5 && strcmp(argv[4], "paced") == 0;
    if (argc != 4 + all_plain + is_paced || atoi(argv[3]) < 1 || atoi(argv[3]) > CLIENTS_MAX) {
        fprintf(stderr, "usage: traffic ADDRESS TARGET CLIENTS [plain|paced]\n");
        return 2;
    }
    read_address(argv[1]);
    target = argv[2];
    count = (unsigned)atoi(argv[3]);
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    signal(SIGPIPE, SIG_IGN);
    clients = calloc(count, sizeof *clients);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (clients == NULL || poller == -1) {
        die("no room");
    }
    struct epoll_event event = {.events = EPOLLIN};
    epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &event);
    for (unsigned number = 0; number < count; number++) {
        clients[number].kind = (uint8_t)(number & 7);
        if (clients[number].kind < 4 || all_plain) {
            clients[number].kind = PLAIN;
        } else if (clients[number].kind == 4) {
            clients[number].kind = LARGE_ONE;
        }
        begin(&clients[number]);
    }
    run(is_paced);
    report();
    return wrong > 0;
}
