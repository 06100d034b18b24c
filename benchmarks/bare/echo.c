/*
 * The yardstick: a WebSocket echo server on a UNIX socket that is nothing but system calls and frames.
 *
 * One thread, epoll (level-triggered), one recv for each event, every complete frame of it answered,
 * all the answers in one send. What does not go out at once is kept, and that client is not read
 * until it has.
 *
 *     echo [-f] PATH
 *
 * With -f each message goes to every client instead (fan-out): appended to the buffer of each, and
 * every buffer that has something is sent once, when all the events of one epoll_wait are handled.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "frame.h"
#include "handshake.h"

#define EVENTS 256
#define READ_SIZE (256 * 1024) /* above what a UNIX socket holds by default */
#define BACKLOG 1024

struct connection {
	int descriptor;
	bool open;    /* the handshake is done */
	bool closing; /* to be closed once `outgoing` has been written */
	bool blocked; /* the kernel took less than it was given: waits for EPOLLOUT, is not read */
	bool dirty;   /* stands in `dirty` */
	size_t index; /* its place in `all` */
	uint8_t *leftover; /* the start of a frame (or request) whose end has not come; NULL if none */
	size_t leftover_size;
	uint8_t *outgoing; /* what is to be sent; NULL if there was never anything to keep */
	size_t outgoing_room;
	size_t outgoing_size;
	size_t outgoing_done;
};

static int poller;
static bool fan_out;
static struct connection **all, **dirty;
static size_t all_count, dirty_count, all_room;
static uint8_t incoming[FRAME_MAX + READ_SIZE];
static uint8_t answers[FRAME_MAX + READ_SIZE]; /* an answer is smaller than its frame */

static void fail(const char *what)
{
	perror(what);
	exit(EXIT_FAILURE);
}

static void *copy_of(const uint8_t *bytes, size_t size)
{
	uint8_t *copy = malloc(size);

	if (copy == NULL) {
		fail("malloc");
	}
	memcpy(copy, bytes, size);
	return copy;
}

static void forget(struct connection *connection)
{
	for (size_t i = 0; connection->dirty && i < dirty_count; i++) {
		if (dirty[i] == connection) {
			dirty[i] = NULL;
		}
	}
	all[connection->index] = all[--all_count];
	all[connection->index]->index = connection->index;
	close(connection->descriptor);
	free(connection->leftover);
	free(connection->outgoing);
	free(connection);
}

static void watch(struct connection *connection, int operation, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = connection};

	if (epoll_ctl(poller, operation, connection->descriptor, &event) < 0) {
		fail("epoll_ctl");
	}
}

/* Bytes of `size` that the kernel took, or -1 if the connection is gone. */
static ssize_t send_some(const struct connection *connection, const uint8_t *bytes, size_t size)
{
	ssize_t sent = send(connection->descriptor, bytes, size, MSG_NOSIGNAL);

	if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
		return 0;
	}
	return sent;
}

/* Appends to what is to be sent. */
static void keep(struct connection *connection, const uint8_t *bytes, size_t size)
{
	if (connection->outgoing_room - connection->outgoing_size < size) {
		connection->outgoing_room = 2 * connection->outgoing_room + size;
		connection->outgoing = realloc(connection->outgoing, connection->outgoing_room);
		if (connection->outgoing == NULL) {
			fail("realloc");
		}
	}
	memcpy(connection->outgoing + connection->outgoing_size, bytes, size);
	connection->outgoing_size += size;
}

static void keep_for_all(const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < all_count; i++) {
		if (all[i]->open && !all[i]->closing) {
			keep(all[i], bytes, size);
			if (!all[i]->dirty && !all[i]->blocked) {
				all[i]->dirty = true;
				dirty[dirty_count++] = all[i];
			}
		}
	}
}

/* Sends `answers`, keeps what does not fit. False if the connection is to be forgotten. */
static bool send_answers(struct connection *connection, size_t size)
{
	ssize_t sent = 0;

	if (connection->outgoing_size == 0) {
		sent = send_some(connection, answers, size);
	}
	if (sent < 0) {
		return false;
	}
	if ((size_t)sent == size) {
		return !connection->closing;
	}
	keep(connection, answers + sent, size - (size_t)sent);
	connection->blocked = true;
	watch(connection, EPOLL_CTL_MOD, EPOLLOUT);
	return true;
}

/* Sends what is kept. False if the connection is to be forgotten. */
static bool send_outgoing(struct connection *connection)
{
	ssize_t sent = send_some(connection, connection->outgoing + connection->outgoing_done,
	                         connection->outgoing_size - connection->outgoing_done);

	if (sent < 0) {
		return false;
	}
	connection->outgoing_done += (size_t)sent;

	const bool rest = connection->outgoing_done < connection->outgoing_size;

	if (rest != connection->blocked) {
		connection->blocked = rest;
		watch(connection, EPOLL_CTL_MOD, rest ? EPOLLOUT : EPOLLIN);
	}
	if (rest) {
		return true;
	}
	connection->outgoing_size = connection->outgoing_done = 0;
	return !connection->closing;
}

static void send_dirty(void)
{
	for (size_t i = 0; i < dirty_count; i++) {
		struct connection *connection = dirty[i];

		if (connection != NULL) {
			connection->dirty = false;
			dirty[i] = NULL;
			if (!connection->blocked && !send_outgoing(connection)) {
				forget(connection);
			}
		}
	}
	dirty_count = 0;
}

/* Answers the frames in `bytes`, as many as are complete. Sets `used` to the bytes that they took and
 * returns the size of the answers; a refusal marks the connection as closing. */
static size_t answer_frames(struct connection *connection, const uint8_t *bytes, size_t size,
                            size_t *used)
{
	struct frame frame;
	size_t answer_size = 0;

	*used = 0;
	while (!connection->closing) {
		enum frame_state state = frame_parse(bytes + *used, size - *used, &frame);

		if (state == FRAME_INCOMPLETE) {
			break;
		}
		if (state == FRAME_REFUSED) {
			connection->closing = true;
			break;
		}
		*used += frame.size;
		if (frame.opcode == OPCODE_PONG) {
			continue;
		}
		if (fan_out && frame.opcode < OPCODE_CLOSE) {
			keep_for_all(answers + answer_size,
			             frame_answer(answers + answer_size, &frame, frame.opcode));
			continue;
		}
		connection->closing = frame.opcode == OPCODE_CLOSE;
		answer_size += frame_answer(answers + answer_size, &frame,
		                            frame.opcode == OPCODE_PING ? OPCODE_PONG
		                                                        : frame.opcode);
	}
	return answer_size;
}

/* One read and one write. False if the connection is to be forgotten. */
static bool serve(struct connection *connection)
{
	size_t size = connection->leftover_size;
	size_t used = 0, answer_size = 0;

	if (connection->leftover != NULL) {
		memcpy(incoming, connection->leftover, size);
	}
	ssize_t received = recv(connection->descriptor, incoming + size, READ_SIZE, 0);

	if (received < 0) {
		return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
	}
	if (received == 0) {
		return false;
	}
	size += (size_t)received;

	if (!connection->open) {
		size_t head_size = 0, head_answer_size = 0;
		enum handshake_state state =
			handshake_answer((const char *)incoming, size, &head_size,
			                 (char *)answers, &head_answer_size);

		if (state == HANDSHAKE_INCOMPLETE && size > FRAME_MAX) {
			return false;
		}
		if (state != HANDSHAKE_INCOMPLETE) {
			/* A client must wait for the 101, so nothing can follow the head. */
			used = size > head_size ? size : head_size;
			answer_size = head_answer_size;
			connection->open = state == HANDSHAKE_ACCEPTED;
			connection->closing = state == HANDSHAKE_REFUSED || size > head_size;
		}
	} else {
		answer_size = answer_frames(connection, incoming, size, &used);
	}

	free(connection->leftover);
	connection->leftover = NULL;
	connection->leftover_size = size - used;
	if (connection->leftover_size > 0) {
		connection->leftover = copy_of(incoming + used, size - used);
	}
	if (answer_size > 0) {
		return send_answers(connection, answer_size);
	}
	return !connection->closing;
}

static void accept_all(int listener)
{
	for (;;) {
		int descriptor = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (descriptor < 0) {
			if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR &&
			    errno != ECONNABORTED) {
				fail("accept4");
			}
			return;
		}
		struct connection *connection = calloc(1, sizeof *connection);

		if (connection == NULL) {
			fail("calloc");
		}
		connection->descriptor = descriptor;
		connection->index = all_count;
		if (all_count == all_room) {
			all_room = 2 * all_room + 64;
			all = realloc(all, all_room * sizeof(struct connection *));
			/* A connection that goes leaves an empty place until the events are handled. */
			dirty = realloc(dirty, (all_room + EVENTS) * sizeof(struct connection *));
			if (all == NULL || dirty == NULL) {
				fail("realloc");
			}
		}
		all[all_count++] = connection;
		watch(connection, EPOLL_CTL_ADD, EPOLLIN);
	}
}

static int listen_on(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (listener < 0) {
		fail("socket");
	}
	if (strlen(path) >= sizeof address.sun_path) {
		fprintf(stderr, "the path of the socket is too long\n");
		exit(EXIT_FAILURE);
	}
	memcpy(address.sun_path, path, strlen(path) + 1);
	if (bind(listener, (const struct sockaddr *)&address, sizeof address) < 0) {
		fail("bind");
	}
	if (listen(listener, BACKLOG) < 0) {
		fail("listen");
	}
	return listener;
}

int main(int count, char **arguments)
{
	struct epoll_event events[EVENTS];
	struct rlimit limit;

	fan_out = count == 3 && strcmp(arguments[1], "-f") == 0;
	if (count != 2 && !fan_out) {
		fprintf(stderr, "usage: echo [-f] PATH\n");
		return 2;
	}
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	poller = epoll_create1(EPOLL_CLOEXEC);
	if (poller < 0) {
		fail("epoll_create1");
	}

	const int listener = listen_on(arguments[count - 1]);
	struct epoll_event listening = {.events = EPOLLIN, .data.ptr = NULL};

	if (epoll_ctl(poller, EPOLL_CTL_ADD, listener, &listening) < 0) {
		fail("epoll_ctl");
	}
	for (;;) {
		int ready = epoll_wait(poller, events, EVENTS, -1);

		if (ready < 0 && errno != EINTR) {
			fail("epoll_wait");
		}
		for (int i = 0; i < ready; i++) {
			struct connection *connection = events[i].data.ptr;

			if (connection == NULL) {
				accept_all(listener);
			} else if (connection->blocked ? !send_outgoing(connection)
			                               : !serve(connection)) {
				forget(connection);
			}
		}
		send_dirty();
	}
}
