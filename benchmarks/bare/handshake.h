/* The server's half of the opening handshake (RFC 6455, 4.2), no more than a benchmark needs. */
#ifndef BENCHMARKS_BARE_HANDSHAKE_H
#define BENCHMARKS_BARE_HANDSHAKE_H

#include <stddef.h>

/* Bytes that `handshake_answer` may write, the largest of its answers included. */
#define HANDSHAKE_ANSWER_MAX 256

enum handshake_state {
	HANDSHAKE_INCOMPLETE, /* the blank line that ends the head has not come yet */
	HANDSHAKE_ACCEPTED,
	HANDSHAKE_REFUSED,
};

/*
 * Reads the request head at the start of `request` and writes the answer.
 *
 * request, length: the bytes received so far; they need no NUL behind them and are not kept.
 * head_size:       set to the size of the head in bytes, blank line included, unless incomplete.
 * answer:          room for HANDSHAKE_ANSWER_MAX bytes; belongs to the caller.
 * answer_size:     set to the bytes of the answer (101 or 400), unless incomplete.
 */
enum handshake_state handshake_answer(const char *request, size_t length, size_t *head_size,
                                      char *answer, size_t *answer_size);

#endif
