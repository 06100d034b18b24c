/* Frames as a server sees them (RFC 6455, 5.2). Inline, because they are all that the hot path does
 * besides its system calls. */
#ifndef BENCHMARKS_BARE_FRAME_H
#define BENCHMARKS_BARE_FRAME_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define FRAME_PAYLOAD_MAX 65535
#define FRAME_HEADER_MAX 8                                   /* 2, a 16-bit length, the key */
#define FRAME_MAX (FRAME_HEADER_MAX + FRAME_PAYLOAD_MAX)     /* bytes of the largest one taken */

enum frame_opcode {
	OPCODE_TEXT = 0x1,
	OPCODE_BINARY = 0x2,
	OPCODE_CLOSE = 0x8,
	OPCODE_PING = 0x9,
	OPCODE_PONG = 0xa,
};

enum frame_state {
	FRAME_INCOMPLETE,
	FRAME_COMPLETE,
	FRAME_REFUSED,
};

struct frame {
	enum frame_opcode opcode;
	const uint8_t *masking_key; /* four bytes, inside the caller's buffer */
	const uint8_t *payload;     /* still masked, inside the caller's buffer */
	size_t payload_size;
	size_t size; /* header and payload */
};

/* Looks at the frame at the start of `bytes`. Fragments, unmasked frames, reserved bits and opcodes,
 * and payloads above FRAME_PAYLOAD_MAX are refused. `frame` is set only when it is complete. */
static inline enum frame_state frame_parse(const uint8_t *bytes, size_t available,
                                           struct frame *frame)
{
	if (available < 2) {
		return FRAME_INCOMPLETE;
	}

	const unsigned int opcode = bytes[0] & 0x0fu;
	size_t payload_size = bytes[1] & 0x7fu;
	size_t header_size = 6;

	/* "The server MUST close the connection upon receiving a frame that is not masked." (5.1) */
	if ((bytes[0] & 0xf0u) != 0x80u || (bytes[1] & 0x80u) == 0 || payload_size == 127) {
		return FRAME_REFUSED;
	}
	if (opcode != OPCODE_TEXT && opcode != OPCODE_BINARY &&
	    (opcode < OPCODE_CLOSE || opcode > OPCODE_PONG || payload_size > 125)) {
		return FRAME_REFUSED;
	}
	if (payload_size == 126) {
		if (available < 4) {
			return FRAME_INCOMPLETE;
		}
		payload_size = (size_t)bytes[2] << 8 | bytes[3];
		header_size = 8;
		/* "the minimal number of bytes MUST be used to encode the length" (5.2) */
		if (payload_size < 126) {
			return FRAME_REFUSED;
		}
	}
	if (available < header_size + payload_size) {
		return FRAME_INCOMPLETE;
	}
	frame->opcode = (enum frame_opcode)opcode;
	frame->masking_key = bytes + header_size - 4;
	frame->payload = bytes + header_size;
	frame->payload_size = payload_size;
	frame->size = header_size + payload_size;
	return FRAME_COMPLETE;
}

/* Copies a payload and takes the mask off: octet i of it is combined with octet i MOD 4 of the key
 * by an exclusive or (5.3). The inner loops have a fixed length so that -O2 makes vectors of them. */
static inline void frame_unmask(uint8_t *restrict to, const uint8_t *restrict from, size_t size,
                                const uint8_t key[4])
{
	uint64_t words[8], key_word;
	size_t done = 0;

	memcpy(&key_word, key, 4);
	memcpy((uint8_t *)&key_word + 4, key, 4);
	for (; done + sizeof words <= size; done += sizeof words) {
		memcpy(words, from + done, sizeof words);
		for (size_t i = 0; i < 8; i++) {
			words[i] ^= key_word;
		}
		memcpy(to + done, words, sizeof words);
	}
	for (; done + 8 <= size; done += 8) {
		memcpy(words, from + done, 8);
		words[0] ^= key_word;
		memcpy(to + done, words, 8);
	}
	for (; done < size; done++) {
		to[done] = from[done] ^ key[done % 4];
	}
}

/* Writes the server's frame for the (masked) payload of `frame`; returns its size, which is always
 * smaller than that of the frame that came in. */
static inline size_t frame_answer(uint8_t *restrict to, const struct frame *frame,
                                  enum frame_opcode opcode)
{
	size_t header_size = 2;

	to[0] = (uint8_t)(0x80u | (unsigned int)opcode);
	if (frame->payload_size < 126) {
		to[1] = (uint8_t)frame->payload_size;
	} else {
		to[1] = 126;
		to[2] = (uint8_t)(frame->payload_size >> 8);
		to[3] = (uint8_t)frame->payload_size;
		header_size = 4;
	}
	frame_unmask(to + header_size, frame->payload, frame->payload_size, frame->masking_key);
	return header_size + frame->payload_size;
}

#endif
