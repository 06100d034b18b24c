/*
 * The load: WebSocket clients on a UNIX socket that keep a fixed number of messages in flight.
 *
 *     client [-c CONNECTIONS] [-f SENDERS] [-k IN_FLIGHT] [-s SIZE] [-w SECONDS] [-t SECONDS]
 *            [-m MESSAGES] PATH
 *
 * A sender has IN_FLIGHT messages on the way, always: the next one leaves when one has come back.
 * Without -f every connection is a sender and a message has come back when its sender got the echo;
 * with -f only the first SENDERS are, and it has when every connection got it (a fan-out).
 *
 * A message is SIZE bytes: the number of its sender, its own number at that sender (32 bits each) and
 * a pattern. Every byte that the server sends is compared with the one that is due.
 *
 * Two runs: warm-up (-w), then "ready" on stdout; when a byte comes on stdin, the measured one, which
 * ends after -t seconds or -m messages. Each ends with nothing in flight, so that whoever reads the
 * server's CPU clock between them has the cost of a whole number of messages. Then one line of JSON,
 * and the end when stdin is closed:
 *
 *     {"messages": sent and come back, "deliveries": frames received, "seconds": ...}
 *
 * Exit status 1, with the reason on stderr, if the server does anything that is not due.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 256
#define BUFFER_SIZE (256 * 1024)
#define HEADER_MAX 10
#define IDENTITY_SIZE 8 /* number of the sender, number of the message */
#define SIZE_MAX_ALLOWED 65535
#define IN_FLIGHT_MAX 1024
#define SILENCE_MAX_MS 10000 /* a server that answers nothing for so long has failed */

struct options {
	const char *path;
	uint32_t connections;
	uint32_t senders;
	uint32_t in_flight;
	uint32_t size;
	double warm_up;
	double seconds;
	uint64_t messages;
	bool fan_out;
};

struct connection {
	int descriptor;
	bool blocked;          /* waits for EPOLLOUT */
	uint32_t next_message; /* number of the next message to send */
	uint32_t owed;         /* messages to send now, the one begun included */
	size_t sent_of_frame;  /* bytes of the first owed frame that are out */
	size_t got_of_frame;   /* bytes of the frame being received that are in */
	uint8_t identity[IDENTITY_SIZE]; /* of the frame being received */
};

static const char REQUEST[] = "GET / HTTP/1.1\r\n"
                              "Host: localhost\r\n"
                              "Upgrade: websocket\r\n"
                              "Connection: Upgrade\r\n"
                              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                              "Sec-WebSocket-Version: 13\r\n\r\n";
static const char ACCEPT[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="; /* RFC 6455, 1.3 */
static const uint8_t MASKING_KEY[4] = {0x37, 0xfa, 0x21, 0x3d};

static struct options options = {
	.connections = 100,
	.in_flight = 1,
	.size = 64,
	.warm_up = 0.2,
	.seconds = 1.0,
	.messages = UINT64_MAX,
};
static struct connection *connections;
static uint32_t *due;      /* [receiver][sender]: number of the message due */
static uint32_t *arrivals; /* [sender][number modulo in flight]: receivers that have it */
static int poller;
static uint8_t buffer[BUFFER_SIZE];

/* The frames, but for the identity. */
static uint8_t request_frame[HEADER_MAX + 4 + SIZE_MAX_ALLOWED];
static uint8_t reply_frame[HEADER_MAX + SIZE_MAX_ALLOWED];
static size_t request_header, request_size, reply_header, reply_size;

static uint64_t started, finished, deliveries;
static bool stopping;

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fputs("client: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	exit(EXIT_FAILURE);
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* RFC 6455, 5.2. Writes a header for a binary message, without the key; returns its size. */
static size_t write_header(uint8_t *to, uint32_t payload_size, uint8_t mask_bit)
{
	to[0] = 0x82;
	if (payload_size < 126) {
		to[1] = (uint8_t)(mask_bit | payload_size);
		return 2;
	}
	to[1] = mask_bit | 126;
	to[2] = (uint8_t)(payload_size >> 8);
	to[3] = (uint8_t)payload_size;
	return 4;
}

static void make_frames(void)
{
	request_header = write_header(request_frame, options.size, 0x80);
	memcpy(request_frame + request_header, MASKING_KEY, 4);
	request_header += 4;
	reply_header = write_header(reply_frame, options.size, 0);
	for (uint32_t i = IDENTITY_SIZE; i < options.size; i++) {
		uint8_t octet = (uint8_t)(i * 131 + (i >> 8) * 29);

		reply_frame[reply_header + i] = octet;
		request_frame[request_header + i] = octet ^ MASKING_KEY[i % 4];
	}
	request_size = request_header + options.size;
	reply_size = reply_header + options.size;
}

static void watch(uint32_t index, int operation, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.u32 = index};

	if (epoll_ctl(poller, operation, connections[index].descriptor, &event) < 0) {
		fail("epoll_ctl: %s", strerror(errno));
	}
}

/* Connects and shakes hands, blocking; from then on no call on the descriptor blocks. */
static void open_connection(uint32_t index)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const struct timeval timeout = {.tv_sec = SILENCE_MAX_MS / 1000};
	char reply[1024];
	size_t size = 0;
	int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (descriptor < 0) {
		fail("socket: %s", strerror(errno));
	}
	if (strlen(options.path) >= sizeof address.sun_path) {
		fail("the path of the socket is too long");
	}
	if (setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) < 0 ||
	    setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout) < 0) {
		fail("setsockopt: %s", strerror(errno));
	}
	memcpy(address.sun_path, options.path, strlen(options.path) + 1);
	if (connect(descriptor, (const struct sockaddr *)&address, sizeof address) < 0) {
		fail("connect: %s", strerror(errno));
	}
	if (send(descriptor, REQUEST, sizeof REQUEST - 1, MSG_NOSIGNAL) != sizeof REQUEST - 1) {
		fail("handshake: send: %s", strerror(errno));
	}
	while (memmem(reply, size, "\r\n\r\n", 4) == NULL) {
		ssize_t received = recv(descriptor, reply + size, sizeof reply - size, 0);

		if (received <= 0) {
			fail("handshake: the answer has no end");
		}
		size += (size_t)received;
	}
	if (size < 12 || memcmp(reply, "HTTP/1.1 101", 12) != 0 ||
	    memmem(reply, size, ACCEPT, sizeof ACCEPT - 1) == NULL) {
		fail("handshake: refused: %.*s", (int)size, reply);
	}
	if (memcmp(reply + size - 4, "\r\n\r\n", 4) != 0) {
		fail("handshake: something follows the 101");
	}
	connections[index].descriptor = descriptor;
	watch(index, EPOLL_CTL_ADD, EPOLLIN);
}

/* Sends what the connection owes, as much of it as the socket takes. */
static void send_owed(uint32_t index)
{
	struct connection *connection = &connections[index];

	while (connection->owed > 0 && !connection->blocked) {
		size_t offset = connection->sent_of_frame;
		size_t filled = 0;
		uint32_t message = connection->next_message;

		for (uint32_t i = 0; i < connection->owed && filled < BUFFER_SIZE; i++) {
			uint32_t identity[2] = {index, message++}, key;
			size_t size = request_size - offset;

			memcpy(&key, MASKING_KEY, 4);
			identity[0] ^= key;
			identity[1] ^= key;
			memcpy(request_frame + request_header, identity, IDENTITY_SIZE);
			size = size < BUFFER_SIZE - filled ? size : BUFFER_SIZE - filled;
			memcpy(buffer + filled, request_frame + offset, size);
			filled += size;
			offset = 0;
		}

		ssize_t sent = send(connection->descriptor, buffer, filled, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
			sent = 0;
		}
		if (sent < 0) {
			fail("send: %s", strerror(errno));
		}
		if ((size_t)sent < filled) {
			connection->blocked = true;
			watch(index, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
		}
		connection->sent_of_frame += (size_t)sent;
		connection->next_message += (uint32_t)(connection->sent_of_frame / request_size);
		connection->owed -= (uint32_t)(connection->sent_of_frame / request_size);
		connection->sent_of_frame %= request_size;
	}
}

static void owe(uint32_t sender, uint32_t messages)
{
	connections[sender].owed += messages;
	started += messages;
}

/* A whole frame is in: is it the one due, and has its message come back? */
static void take_delivery(uint32_t receiver, const uint8_t identity[IDENTITY_SIZE])
{
	uint32_t sender, message;

	memcpy(&sender, identity, 4);
	memcpy(&message, identity + 4, 4);
	if (options.fan_out ? sender >= options.senders : sender != receiver) {
		fail("connection %u got a message of sender %u", receiver, sender);
	}

	uint32_t *expected =
		&due[options.fan_out ? (size_t)receiver * options.senders + sender : receiver];
	uint32_t *arrived = &arrivals[(size_t)sender * options.in_flight + message % options.in_flight];

	if (message != *expected) {
		fail("connection %u got message %u of sender %u; due was %u", receiver, message,
		     sender, *expected);
	}
	(*expected)++;
	deliveries++;
	if (++*arrived == (options.fan_out ? options.connections : 1)) {
		*arrived = 0;
		finished++;
		if (!stopping) {
			owe(sender, 1);
		}
	}
}

static void receive(uint32_t index)
{
	struct connection *connection = &connections[index];
	ssize_t received = recv(connection->descriptor, buffer, sizeof buffer, MSG_DONTWAIT);
	size_t offset = 0;

	if (received == 0) {
		fail("the server closed a connection");
	}
	if (received < 0) {
		if (errno == EAGAIN || errno == EWOULDBLOCK) {
			return;
		}
		fail("recv: %s", strerror(errno));
	}
	while (offset < (size_t)received) {
		const size_t identity_end = reply_header + IDENTITY_SIZE;
		size_t at = connection->got_of_frame;
		size_t size = (size_t)received - offset;
		const bool pattern = at < reply_header || at >= identity_end;
		const size_t part_end =
			at < reply_header ? reply_header : pattern ? reply_size : identity_end;

		size = size < part_end - at ? size : part_end - at;
		if (!pattern) {
			memcpy(connection->identity + at - reply_header, buffer + offset, size);
		} else if (memcmp(buffer + offset, reply_frame + at, size) != 0) {
			fail("connection %u: a byte between %zu and %zu of a frame is wrong", index, at,
			     at + size);
		}
		offset += size;
		connection->got_of_frame += size;
		if (connection->got_of_frame == reply_size) {
			connection->got_of_frame = 0;
			take_delivery(index, connection->identity);
		}
	}
}

/* One run, from nothing in flight to nothing in flight. Returns its seconds. */
static double run(double seconds, uint64_t messages)
{
	struct epoll_event events[EVENTS];
	const double begin = now();

	started = finished = deliveries = 0;
	stopping = false;
	for (uint32_t sender = 0; sender < options.senders; sender++) {
		owe(sender, options.in_flight);
		send_owed(sender);
	}
	while (finished < started) {
		int ready = epoll_wait(poller, events, EVENTS, SILENCE_MAX_MS);

		if (ready < 0 && errno != EINTR) {
			fail("epoll_wait: %s", strerror(errno));
		}
		if (ready == 0) {
			fail("nothing came for %d ms, %llu messages are in flight", SILENCE_MAX_MS,
			     (unsigned long long)(started - finished));
		}
		for (int i = 0; i < ready; i++) {
			uint32_t index = events[i].data.u32;

			if (events[i].events & EPOLLOUT) {
				connections[index].blocked = false;
				watch(index, EPOLL_CTL_MOD, EPOLLIN);
				send_owed(index);
			}
			if (events[i].events & ~(uint32_t)EPOLLOUT) {
				receive(index);
				send_owed(index);
			}
		}
		if (options.fan_out) {
			for (uint32_t sender = 0; sender < options.senders; sender++) {
				send_owed(sender);
			}
		}
		stopping = stopping || started >= messages || now() - begin >= seconds;
	}
	return now() - begin;
}

static uint32_t number(const char *text, uint32_t smallest, uint32_t largest)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*text == '\0' || *end != '\0' || value < smallest || value > largest) {
		fail("%s is not a number from %u to %u", text, smallest, largest);
	}
	return (uint32_t)value;
}

static void read_options(int count, char **arguments)
{
	int letter;

	while ((letter = getopt(count, arguments, "c:f:k:m:s:t:w:")) != -1) {
		switch (letter) {
		case 'c':
			options.connections = number(optarg, 1, 100000);
			break;
		case 'f':
			options.senders = number(optarg, 1, 100000);
			options.fan_out = true;
			break;
		case 'k':
			options.in_flight = number(optarg, 1, IN_FLIGHT_MAX);
			break;
		case 'm':
			options.messages = number(optarg, 1, UINT32_MAX);
			break;
		case 's':
			options.size = number(optarg, IDENTITY_SIZE, SIZE_MAX_ALLOWED);
			break;
		case 't':
			options.seconds = strtod(optarg, NULL);
			break;
		case 'w':
			options.warm_up = strtod(optarg, NULL);
			break;
		default:
			exit(2);
		}
	}
	if (optind != count - 1) {
		fail("which socket?");
	}
	options.path = arguments[optind];
	if (!options.fan_out) {
		options.senders = options.connections;
	}
	if (options.senders > options.connections) {
		fail("more senders than connections");
	}
}

int main(int count, char **arguments)
{
	struct rlimit limit;

	read_options(count, arguments);
	make_frames();
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	poller = epoll_create1(EPOLL_CLOEXEC);
	connections = calloc(options.connections, sizeof *connections);
	due = calloc((size_t)options.connections * (options.fan_out ? options.senders : 1), sizeof *due);
	arrivals = calloc((size_t)options.senders * options.in_flight, sizeof *arrivals);
	if (poller < 0 || connections == NULL || due == NULL || arrivals == NULL) {
		fail("%s", strerror(errno));
	}
	for (uint32_t index = 0; index < options.connections; index++) {
		open_connection(index);
	}

	run(options.warm_up, options.messages);
	puts("ready");
	fflush(stdout);
	if (getchar() == EOF) {
		return EXIT_FAILURE;
	}

	double seconds = run(options.seconds, options.messages);

	printf("{\"messages\": %llu, \"deliveries\": %llu, \"seconds\": %.6f}\n",
	       (unsigned long long)finished, (unsigned long long)deliveries, seconds);
	fflush(stdout);
	while (getchar() != EOF) {
		/* stays, so that its own CPU clock can be read, until stdin is closed */
	}
	return EXIT_SUCCESS;
}
