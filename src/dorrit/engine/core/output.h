/* What waits to be written: frames, and the queue of them that each connection has.
 *
 * These are declarations alone: the engine makes frames and queues (frame.pyx, queue.pxd), and whoever
 * looks at a connection from C finds them here.
 */
#ifndef DORRIT_OUTPUT_H
#define DORRIT_OUTPUT_H

#include <stddef.h>
#include <stdint.h>

/* One framed piece of output, made once and shared by every queue it stands in.
 *
 * Everything but `references` is set when the frame is made and never changes: any number of queues
 * share it. One is made and freed for every message.
 */
struct dorrit_output_frame {
    ptrdiff_t references;
    void *owner;              /* the Python object that holds the payload; kept whole, never copied again */
    const uint8_t *payload;   /* points into `owner` */
    uint32_t payload_length;  /* bytes */
    uint8_t header[10];
    uint8_t header_length;    /* bytes; 0 for an HTTP response, which is written as it is */
    uint8_t counted;          /* whether it is a data frame: those count against the queue's limit */
};

/* A ring of references. It is a part of the connection, since most queues are empty most of the
 * time: 24 bytes then, and an array only once there is something to hold. */
struct dorrit_output_queue {
    struct dorrit_output_frame **frames; /* owns one reference for each of `length`; NULL until the first */
    uint16_t capacity;                   /* a power of two, or 0 */
    uint16_t first;
    uint16_t length;
    uint16_t counted; /* how many of them are data frames */
    uint32_t written; /* bytes of the first frame (header and payload) that the kernel has taken */
    /* Of all frames, headers included, less `written`. 32 bits are enough: 200 frames of a message of
     * 1 GiB each, which is sent in a hundred, are 2 GiB, and one HTTP response has 1 GiB at most. */
    uint32_t bytes;
};

#endif
