"""What `core/channel.h` declares. What the functions promise stands there."""

from libc.stddef cimport ptrdiff_t, size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from dorrit.engine.c.ledger cimport c_bool


cdef extern from "channel.h" nogil:
    enum dorrit_channel_kind:
        DORRIT_CHANNEL_LEDGER
        DORRIT_CHANNEL_CONNECTION
        DORRIT_CHANNEL_HANDOVER
        DORRIT_CHANNEL_ASK
        DORRIT_CHANNEL_TAKEN
        DORRIT_CHANNEL_ENDED
        DORRIT_CHANNEL_REFUSED
        DORRIT_CHANNEL_READY
        DORRIT_CHANNEL_STATUS
        DORRIT_CHANNEL_LEAVING

    enum dorrit_channel_flag:
        DORRIT_CHANNEL_KNOWN

    struct dorrit_channel_message:
        uint8_t kind
        uint8_t flags
        uint64_t number
        int descriptor
        const uint8_t *text
        uint32_t length

    struct dorrit_channel:
        int descriptor
        size_t departures_begin
        size_t departures_end

    enum dorrit_channel_verdict:
        DORRIT_CHANNEL_MESSAGE
        DORRIT_CHANNEL_NOTHING
        DORRIT_CHANNEL_END
        DORRIT_CHANNEL_WRONG
        DORRIT_CHANNEL_FAILED

    void dorrit_channel_open(dorrit_channel *channel, int descriptor, c_bool takes)
    void dorrit_channel_close(dorrit_channel *channel)
    int dorrit_channel_put(
        dorrit_channel *channel, dorrit_channel_kind kind, uint8_t flags, uint64_t number,
        int descriptor, const uint8_t *text, size_t length)
    ptrdiff_t dorrit_channel_send(dorrit_channel *channel)
    c_bool dorrit_channel_is_settled(const dorrit_channel *channel)
    c_bool dorrit_channel_is_stalled(const dorrit_channel *channel)
    c_bool dorrit_channel_is_to_be_sent(const dorrit_channel *channel, int descriptor)
    dorrit_channel_verdict dorrit_channel_receive(dorrit_channel *channel)
    dorrit_channel_verdict dorrit_channel_next(
        dorrit_channel *channel, dorrit_channel_message *message)
