#include "channel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#ifdef MSG_NOSIGNAL
#define SEND_FLAGS (MSG_DONTWAIT | MSG_NOSIGNAL)
#else
#define SEND_FLAGS MSG_DONTWAIT
#endif

/* macOS and older systems take two calls for it. */
#ifdef MSG_CMSG_CLOEXEC
#define RECEIVE_FLAGS (MSG_DONTWAIT | MSG_CMSG_CLOEXEC)
#else
#define RECEIVE_FLAGS MSG_DONTWAIT
#endif

enum {
    READ_BYTES = 16 * 1024, /* of one read */
    SEND_BYTES = 32 * 1024, /* of one call, but for batches */
    ARRIVALS_MAX = 64,      /* batches in what has been read: each has at least the bytes of its head */
    FIRST_CAPACITY = 1024
};

struct head {
    uint8_t kind;
    uint8_t flags;
    uint16_t zero;
    uint32_t length;
    uint64_t number;
};

_Static_assert(sizeof(struct head) == 16, "a head has no holes");

struct dorrit_channel_arrivals {
    int descriptors[DORRIT_CHANNEL_BATCH_MAX];
    unsigned length;
    unsigned taken;
};

struct dorrit_channel_departure {
    size_t place; /* of its message in the output */
    int descriptor;
};

void dorrit_channel_open(struct dorrit_channel *channel, int descriptor, bool takes)
{
#ifndef MSG_NOSIGNAL
    const int on = 1;
    setsockopt(descriptor, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
#endif
    *channel = (struct dorrit_channel){.descriptor = descriptor, .takes = takes};
}

void dorrit_channel_close(struct dorrit_channel *channel)
{
    for (size_t index = 0; index < channel->arrivals_length; index++) {
        const struct dorrit_channel_arrivals *batch = &channel->arrivals[index];
        for (unsigned at = batch->taken; at < batch->length; at++) {
            close(batch->descriptors[at]);
        }
    }
    if (channel->descriptor >= 0) {
        close(channel->descriptor);
    }
    free(channel->input);
    free(channel->arrivals);
    free(channel->output);
    free(channel->departures);
    free(channel->batch);
    *channel = (struct dorrit_channel){.descriptor = -1};
}

/* ---- Sending ------------------------------------------------------------------------------------ */

/* Makes room for `length` more items of `size` bytes behind `*end`: by moving what is there to the beginning,
 * or by more memory. Returns the array, or NULL. */
static void *with_room(
    void *array, size_t size, size_t *begin, size_t *end, size_t *capacity, size_t length)
{
    if (*capacity - *end >= length) {
        return array;
    }
    const size_t used = *end - *begin;
    if (*begin > 0) {
        memmove(array, (uint8_t *)array + *begin * size, used * size);
        *begin = 0;
        *end = used;
        if (*capacity - used >= length) {
            return array;
        }
    }
    if (length > SIZE_MAX / 4 / size || used > SIZE_MAX / 4 / size) {
        errno = ENOMEM;
        return NULL;
    }
    size_t wanted = *capacity == 0 ? FIRST_CAPACITY / size + 1 : *capacity * 2;
    if (wanted < used + length) {
        wanted = used + length;
    }
    void *grown = realloc(array, wanted * size);
    if (grown != NULL) {
        *capacity = wanted;
    }
    return grown;
}

int dorrit_channel_put(struct dorrit_channel *channel, enum dorrit_channel_kind kind, uint8_t flags,
    uint64_t number, int descriptor, const uint8_t *text, size_t length)
{
    if (channel->descriptor < 0 || length > DORRIT_CHANNEL_TEXT_MAX || (descriptor >= 0 && length > 0)) {
        errno = channel->descriptor < 0 ? EPIPE : EMSGSIZE;
        return -1;
    }
    const size_t begun = channel->output_begin;
    void *output = with_room(channel->output, 1, &channel->output_begin, &channel->output_end,
        &channel->output_capacity, sizeof(struct head) + length);
    if (channel->output_begin != begun) {
        /* what is to be sent has moved, also if there is no memory for more */
        for (size_t index = channel->departures_begin; index < channel->departures_end; index++) {
            channel->departures[index].place -= begun;
        }
    }
    if (output == NULL) {
        return -1;
    }
    channel->output = output;
    if (descriptor >= 0) {
        struct dorrit_channel_departure *departures = with_room(channel->departures, sizeof *departures,
            &channel->departures_begin, &channel->departures_end, &channel->departures_capacity, 1);
        if (departures == NULL) {
            return -1;
        }
        channel->departures = departures;
        departures[channel->departures_end++] = (struct dorrit_channel_departure){
            .place = channel->output_end, .descriptor = descriptor};
    }
    const struct head head = {
        .kind = (uint8_t)kind, .flags = flags, .length = (uint32_t)length, .number = number};
    memcpy(channel->output + channel->output_end, &head, sizeof head);
    channel->output_end += sizeof head;
    if (length > 0) {
        memcpy(channel->output + channel->output_end, text, length);
        channel->output_end += length;
    }
    return 0;
}

static ssize_t send_some(
    int descriptor, const uint8_t *bytes, size_t length, const int *passed, size_t passed_length)
{
    union {
        struct cmsghdr header;
        uint8_t room[CMSG_SPACE(sizeof(int) * DORRIT_CHANNEL_BATCH_MAX)];
    } control;
    struct iovec vector = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = length};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    if (passed_length > 0) {
        memset(&control, 0, sizeof control);
        message.msg_control = control.room;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * passed_length);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * passed_length);
        memcpy(CMSG_DATA(header), passed, sizeof(int) * passed_length);
    }
    for (;;) {
        const ssize_t sent = sendmsg(descriptor, &message, SEND_FLAGS);
        if (sent < 0 && errno == ECONNRESET) {
            errno = EPIPE; /* Linux says so if the other end goes meanwhile, with something unread */
        }
        if (sent >= 0 || errno != EINTR) {
            return sent;
        }
    }
}

/* Sends the rest of a batch of which a part has gone, and its descriptors with it. Returns whether nothing
 * is left of it, or -1. */
static int send_rest_of_batch(struct dorrit_channel *channel)
{
    while (channel->batch_begin < channel->batch_end) {
        const ssize_t sent = send_some(channel->descriptor, channel->batch + channel->batch_begin,
            channel->batch_end - channel->batch_begin, NULL, 0);
        if (sent < 0) {
            return errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS ? 0 : -1;
        }
        channel->batch_begin += (size_t)sent;
    }
    return 1;
}

/* Sends the messages with descriptors that stand first, up to the number of a batch. Returns 1 if they, or
 * a part of them, have gone; 0 if the socket takes none now; or -1. */
static int send_batch(struct dorrit_channel *channel)
{
    enum { BATCH_BYTES = sizeof(struct head) * (DORRIT_CHANNEL_BATCH_MAX + 1) };
    if (channel->batch == NULL && (channel->batch = malloc(BATCH_BYTES)) == NULL) {
        return -1;
    }
    int passed[DORRIT_CHANNEL_BATCH_MAX];
    size_t count = 0, place = channel->output_begin;
    while (count < DORRIT_CHANNEL_BATCH_MAX && channel->departures_begin + count < channel->departures_end
        && channel->departures[channel->departures_begin + count].place == place) {
        passed[count] = channel->departures[channel->departures_begin + count].descriptor;
        place += sizeof(struct head);
        count++;
    }
    const struct head head = {.kind = DORRIT_CHANNEL_BATCH, .number = count};
    memcpy(channel->batch, &head, sizeof head);
    memcpy(channel->batch + sizeof head, channel->output + channel->output_begin, count * sizeof head);
    const size_t length = (count + 1) * sizeof head;
    const ssize_t sent = send_some(channel->descriptor, channel->batch, length, passed, count);
    if (sent < 0) {
        channel->is_stalled = errno == ETOOMANYREFS || errno == ENOBUFS;
        return errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS || errno == ETOOMANYREFS ? 0 : -1;
    }
    channel->batch_begin = (size_t)sent;
    channel->batch_end = length;
    channel->departures_begin += count;
    channel->output_begin = place;
    return 1;
}

bool dorrit_channel_is_stalled(const struct dorrit_channel *channel)
{
    return channel->is_stalled;
}

bool dorrit_channel_is_to_be_sent(const struct dorrit_channel *channel, int descriptor)
{
    for (size_t index = channel->departures_begin; index < channel->departures_end; index++) {
        if (channel->departures[index].descriptor == descriptor) {
            return true;
        }
    }
    return false;
}

bool dorrit_channel_is_settled(const struct dorrit_channel *channel)
{
    return channel->input_begin == channel->input_end && channel->arrivals_length == 0
        && channel->batch_left == 0 && channel->output_begin == channel->output_end
        && channel->departures_begin == channel->departures_end
        && channel->batch_begin == channel->batch_end;
}

ptrdiff_t dorrit_channel_send(struct dorrit_channel *channel)
{
    if (channel->descriptor < 0) {
        errno = EPIPE;
        return -1;
    }
    channel->is_stalled = false;
    for (;;) {
        const int gone = send_rest_of_batch(channel);
        if (gone < 0) {
            return -1;
        }
        const size_t left = channel->batch_end - channel->batch_begin;
        if (gone == 0 || channel->output_begin == channel->output_end) {
            return (ptrdiff_t)(left + channel->output_end - channel->output_begin);
        }
        const bool has_departure = channel->departures_begin < channel->departures_end;
        const size_t end = has_departure ? channel->departures[channel->departures_begin].place
                                         : channel->output_end;
        if (end == channel->output_begin) {
            const int sent = send_batch(channel);
            if (sent < 0) {
                return -1;
            }
            if (sent == 0) {
                return (ptrdiff_t)(channel->output_end - channel->output_begin);
            }
            continue;
        }
        size_t length = end - channel->output_begin;
        if (length > SEND_BYTES) {
            length = SEND_BYTES;
        }
        const ssize_t sent = send_some(
            channel->descriptor, channel->output + channel->output_begin, length, NULL, 0);
        if (sent < 0) {
            if (errno != EAGAIN && errno != EWOULDBLOCK && errno != ENOBUFS) {
                return -1;
            }
            return (ptrdiff_t)(channel->output_end - channel->output_begin);
        }
        channel->output_begin += (size_t)sent;
    }
}

/* ---- Receiving ---------------------------------------------------------------------------------- */

/* Keeps the descriptors of a message, which are one batch; some of it may have got lost. Where none may come
 * they are closed. */
static enum dorrit_channel_verdict keep_arrivals(struct dorrit_channel *channel, struct msghdr *message)
{
    struct dorrit_channel_arrivals batch = {0};
    bool has_some = (message->msg_flags & MSG_CTRUNC) != 0, has_room = true;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL;
         header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t index = 0; index < count; index++) {
            int descriptor;
            memcpy(&descriptor, CMSG_DATA(header) + index * sizeof descriptor, sizeof descriptor);
#ifndef MSG_CMSG_CLOEXEC
            fcntl(descriptor, F_SETFD, FD_CLOEXEC);
#endif
            if (batch.length == DORRIT_CHANNEL_BATCH_MAX) {
                close(descriptor);
                has_room = false;
                continue;
            }
            batch.descriptors[batch.length++] = descriptor;
        }
        has_some = true;
    }
    if (!has_some) {
        return DORRIT_CHANNEL_MESSAGE;
    }
    enum dorrit_channel_verdict verdict = DORRIT_CHANNEL_WRONG;
    if (channel->takes && has_room && channel->arrivals_length < ARRIVALS_MAX) {
        struct dorrit_channel_arrivals *arrivals
            = realloc(channel->arrivals, (channel->arrivals_length + 1) * sizeof *arrivals);
        if (arrivals != NULL) {
            channel->arrivals = arrivals;
            arrivals[channel->arrivals_length++] = batch;
            return DORRIT_CHANNEL_MESSAGE;
        }
        verdict = DORRIT_CHANNEL_FAILED;
    }
    for (unsigned index = 0; index < batch.length; index++) {
        close(batch.descriptors[index]);
    }
    return channel->takes ? verdict : DORRIT_CHANNEL_MESSAGE;
}

enum dorrit_channel_verdict dorrit_channel_receive(struct dorrit_channel *channel)
{
    if (channel->descriptor < 0) {
        return DORRIT_CHANNEL_END;
    }
    uint8_t *input = with_room(channel->input, 1, &channel->input_begin, &channel->input_end,
        &channel->input_capacity, READ_BYTES);
    if (input == NULL) {
        return DORRIT_CHANNEL_FAILED;
    }
    channel->input = input;
    union {
        struct cmsghdr header;
        uint8_t room[CMSG_SPACE(sizeof(int) * DORRIT_CHANNEL_BATCH_MAX)];
    } control;
    struct iovec vector = {
        .iov_base = input + channel->input_end, .iov_len = channel->input_capacity - channel->input_end};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    /* Also where none may come: not every system closes descriptors for which there is no room. */
    memset(&control, 0, sizeof control);
    message.msg_control = control.room;
    message.msg_controllen = sizeof control.room;
    ssize_t received;
    do {
        received = recvmsg(channel->descriptor, &message, RECEIVE_FLAGS);
    } while (received < 0 && errno == EINTR);
    if (received < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return DORRIT_CHANNEL_NOTHING;
        }
        return errno == ECONNRESET ? DORRIT_CHANNEL_END : DORRIT_CHANNEL_FAILED;
    }
    const enum dorrit_channel_verdict kept = keep_arrivals(channel, &message);
    if (kept != DORRIT_CHANNEL_MESSAGE) {
        return kept;
    }
    if (received == 0) {
        return DORRIT_CHANNEL_END;
    }
    channel->input_end += (size_t)received;
    return DORRIT_CHANNEL_MESSAGE;
}

/* Takes the next descriptor of the batch that is being read; -1: it has got lost. */
static int take_arrival(struct dorrit_channel *channel)
{
    struct dorrit_channel_arrivals *batch = &channel->arrivals[0];
    const int descriptor = batch->taken < batch->length ? batch->descriptors[batch->taken++] : -1;
    channel->batch_left--;
    if (channel->batch_left == 0) {
        for (unsigned index = batch->taken; index < batch->length; index++) {
            close(batch->descriptors[index]); /* more than there are messages */
        }
        channel->arrivals_length--;
        memmove(batch, batch + 1, channel->arrivals_length * sizeof *batch);
    }
    return descriptor;
}

enum dorrit_channel_verdict dorrit_channel_next(
    struct dorrit_channel *channel, struct dorrit_channel_message *message)
{
    for (;;) {
        struct head head;
        const size_t available = channel->input_end - channel->input_begin;
        if (available < sizeof head) {
            return DORRIT_CHANNEL_NOTHING;
        }
        memcpy(&head, channel->input + channel->input_begin, sizeof head);
        if (head.kind >= DORRIT_CHANNEL_KINDS || head.length > DORRIT_CHANNEL_TEXT_MAX) {
            return DORRIT_CHANNEL_WRONG;
        }
        if (head.kind == DORRIT_CHANNEL_BATCH) {
            if (channel->batch_left > 0 || head.number == 0 || head.number > DORRIT_CHANNEL_BATCH_MAX
                || head.length > 0 || channel->arrivals_length == 0) {
                return DORRIT_CHANNEL_WRONG;
            }
            channel->batch_left = (uint32_t)head.number;
            channel->input_begin += sizeof head;
            continue;
        }
        if (channel->batch_left > 0 && head.length > 0) {
            return DORRIT_CHANNEL_WRONG;
        }
        if (available - sizeof head < head.length) {
            return DORRIT_CHANNEL_NOTHING;
        }
        *message = (struct dorrit_channel_message){
            .kind = head.kind,
            .flags = head.flags,
            .number = head.number,
            .descriptor = channel->batch_left > 0 ? take_arrival(channel) : -1,
            .text = channel->input + channel->input_begin + sizeof head,
            .length = head.length,
        };
        channel->input_begin += sizeof head + head.length;
        return DORRIT_CHANNEL_MESSAGE;
    }
}
