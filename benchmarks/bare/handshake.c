#define _GNU_SOURCE
#include "handshake.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define SHA1_SIZE 20
#define SHA1_BLOCK 64
#define KEY_SIZE 24 /* "a randomly selected 16-byte value that has been base64-encoded" (RFC 6455, 4.1) */

static const char GUID[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

static uint32_t rotate_left(uint32_t word, unsigned int bits)
{
	return (word << bits) | (word >> (32 - bits));
}

/* FIPS 180-4, 6.1.2: one block into the five words of the state. */
static void sha1_block(uint32_t state[5], const uint8_t block[SHA1_BLOCK])
{
	uint32_t schedule[80];
	uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];

	for (size_t t = 0; t < 16; t++) {
		schedule[t] = (uint32_t)block[4 * t] << 24 | (uint32_t)block[4 * t + 1] << 16 |
		              (uint32_t)block[4 * t + 2] << 8 | (uint32_t)block[4 * t + 3];
	}
	for (size_t t = 16; t < 80; t++) {
		schedule[t] = rotate_left(
			schedule[t - 3] ^ schedule[t - 8] ^ schedule[t - 14] ^ schedule[t - 16], 1);
	}
	for (size_t t = 0; t < 80; t++) {
		uint32_t mixed, constant;

		if (t < 20) {
			mixed = (b & c) | (~b & d);
			constant = 0x5a827999;
		} else if (t < 40) {
			mixed = b ^ c ^ d;
			constant = 0x6ed9eba1;
		} else if (t < 60) {
			mixed = (b & c) | (b & d) | (c & d);
			constant = 0x8f1bbcdc;
		} else {
			mixed = b ^ c ^ d;
			constant = 0xca62c1d6;
		}
		uint32_t next = rotate_left(a, 5) + mixed + e + constant + schedule[t];
		e = d;
		d = c;
		c = rotate_left(b, 30);
		b = a;
		a = next;
	}
	state[0] += a;
	state[1] += b;
	state[2] += c;
	state[3] += d;
	state[4] += e;
}

/* SHA-1 of a key and the GUID: 60 bytes, which with the padding is always two blocks. */
static void sha1_of_key(const char key[KEY_SIZE], uint8_t digest[SHA1_SIZE])
{
	uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
	uint8_t blocks[2 * SHA1_BLOCK] = {0};
	const size_t length = KEY_SIZE + sizeof GUID - 1;

	memcpy(blocks, key, KEY_SIZE);
	memcpy(blocks + KEY_SIZE, GUID, sizeof GUID - 1);
	blocks[length] = 0x80;
	blocks[sizeof blocks - 2] = (uint8_t)(length * 8 >> 8);
	blocks[sizeof blocks - 1] = (uint8_t)(length * 8);
	sha1_block(state, blocks);
	sha1_block(state, blocks + SHA1_BLOCK);
	for (size_t i = 0; i < SHA1_SIZE; i++) {
		digest[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
	}
}

/* RFC 4648, 4. `text` gets 28 characters and a NUL. */
static void base64_of_digest(const uint8_t digest[SHA1_SIZE], char text[29])
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t out = 0;

	for (size_t i = 0; i < SHA1_SIZE; i += 3) {
		uint32_t group = (uint32_t)digest[i] << 16 | (uint32_t)digest[i + 1] << 8;

		if (i + 2 < SHA1_SIZE) {
			group |= digest[i + 2];
		}
		for (unsigned int shift = 18; out < 28; shift -= 6) {
			text[out++] = alphabet[group >> shift & 63];
			if (shift == 0) {
				break;
			}
		}
	}
	text[27] = '='; /* 20 bytes leave two in the last group */
	text[28] = '\0';
}

/* The value of the header `name` (with its colon), without the blanks around it; NULL if absent. */
static const char *header_value(const char *head, size_t head_size, const char *name, size_t *size)
{
	const char *end = head + head_size;
	const char *line = memmem(head, head_size, "\r\n", 2);

	while (line != NULL) {
		line += 2;
		const char *next = memmem(line, (size_t)(end - line), "\r\n", 2);

		if (next == NULL || next == line) {
			return NULL;
		}
		if ((size_t)(next - line) >= strlen(name) &&
		    strncasecmp(line, name, strlen(name)) == 0) {
			const char *value = line + strlen(name);

			while (value < next && (*value == ' ' || *value == '\t')) {
				value++;
			}
			while (next > value && (next[-1] == ' ' || next[-1] == '\t')) {
				next--;
			}
			*size = (size_t)(next - value);
			return value;
		}
		line = next;
	}
	return NULL;
}

static bool header_is(const char *head, size_t head_size, const char *name, const char *wanted)
{
	size_t size = 0;
	const char *value = header_value(head, head_size, name, &size);

	return value != NULL && size == strlen(wanted) && strncasecmp(value, wanted, size) == 0;
}

enum handshake_state handshake_answer(const char *request, size_t length, size_t *head_size,
                                      char *answer, size_t *answer_size)
{
	const char *blank_line = memmem(request, length, "\r\n\r\n", 4);

	if (blank_line == NULL) {
		return HANDSHAKE_INCOMPLETE;
	}
	*head_size = (size_t)(blank_line - request) + 4;

	size_t key_size = 0;
	const char *key = header_value(request, *head_size, "Sec-WebSocket-Key:", &key_size);

	if (memcmp(request, "GET ", 4) != 0 || key == NULL || key_size != KEY_SIZE ||
	    !header_is(request, *head_size, "Upgrade:", "websocket") ||
	    !header_is(request, *head_size, "Sec-WebSocket-Version:", "13")) {
		*answer_size = (size_t)snprintf(answer, HANDSHAKE_ANSWER_MAX,
		                                "HTTP/1.1 400 Bad Request\r\n"
		                                "Connection: close\r\nContent-Length: 0\r\n\r\n");
		return HANDSHAKE_REFUSED;
	}

	uint8_t digest[SHA1_SIZE];
	char accept[29];

	sha1_of_key(key, digest);
	base64_of_digest(digest, accept);
	*answer_size = (size_t)snprintf(answer, HANDSHAKE_ANSWER_MAX,
	                                "HTTP/1.1 101 Switching Protocols\r\n"
	                                "Upgrade: websocket\r\nConnection: Upgrade\r\n"
	                                "Sec-WebSocket-Accept: %s\r\n\r\n",
	                                accept);
	return HANDSHAKE_ACCEPTED;
}
