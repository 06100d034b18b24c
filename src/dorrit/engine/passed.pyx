# cython: language_level=3, freethreading_compatible=False
"""What comes to a worker by its channel to the supervisor: connections, and questions."""

from libc.stdint cimport uint64_t
from posix.unistd cimport close as close_descriptor

from dorrit.engine.accept cimport take_passed
from dorrit.engine.c.channel cimport (
    DORRIT_CHANNEL_ASK,
    DORRIT_CHANNEL_CONNECTION,
    DORRIT_CHANNEL_FAILED,
    DORRIT_CHANNEL_MESSAGE,
    DORRIT_CHANNEL_NOTHING,
    DORRIT_CHANNEL_REFUSED,
    DORRIT_CHANNEL_TAKEN,
    DORRIT_CHANNEL_WRONG,
    dorrit_channel_message,
    dorrit_channel_next,
    dorrit_channel_receive,
    dorrit_channel_verdict,
)
from dorrit.engine.c.poller cimport dorrit_poller_remove
from dorrit.engine.channel cimport Channel, note_number, say, send_said
from dorrit.engine.descriptors cimport take_over
from dorrit.engine.faults cimport callback_raised
from dorrit.engine.record cimport record_touched


cdef int take_messages(Engine engine, dorrit_poller_event *event) except -1:
    cdef Channel channel = engine.channel
    cdef dorrit_channel_verdict verdict
    cdef dorrit_channel_message message
    if event.writable:
        send_said(channel, engine.poller)
    if not event.readable:
        return 0
    verdict = dorrit_channel_receive(&channel.channel)
    if verdict == DORRIT_CHANNEL_NOTHING:
        return 0
    while verdict == DORRIT_CHANNEL_MESSAGE:
        verdict = dorrit_channel_next(&channel.channel, &message)
        if verdict == DORRIT_CHANNEL_MESSAGE:
            take_message(engine, channel, &message)
    if verdict != DORRIT_CHANNEL_NOTHING:
        end_of_messages(engine, channel, verdict)
    record_touched(engine)
    return 0


cdef int take_message(Engine engine, Channel channel, dorrit_channel_message *message) except -1:
    if message.kind == DORRIT_CHANNEL_CONNECTION:
        if message.descriptor < 0:
            say(channel, DORRIT_CHANNEL_REFUSED, message.number)
        elif channel.takes_clients:
            # Whose number it was is told of before that is another connection's.
            take_over(engine, message.descriptor)
            try:
                note_number(channel, message.descriptor, message.number)
            except MemoryError as error:
                close_descriptor(message.descriptor)
                say(channel, DORRIT_CHANNEL_REFUSED, message.number)
                engine.reports.engine_failed(error)
                return 0
            take_new(engine, message.descriptor)
        else:
            close_descriptor(message.descriptor)    # it is the next worker's
        return 0
    if message.descriptor >= 0:
        close_descriptor(message.descriptor)
    if message.kind == DORRIT_CHANNEL_ASK:
        try:
            channel.on_ask()
        except BaseException as error:
            callback_raised(engine, "watching", error)
    return 0


cdef int take_new(Engine engine, int descriptor) except -1:
    cdef Channel channel = engine.channel
    cdef uint64_t number = channel.numbers[descriptor]
    if take_passed(engine, descriptor):
        if channel.numbers[descriptor] == number:   # else it is over already, which has been said
            say(channel, DORRIT_CHANNEL_TAKEN, number)
    else:
        channel.numbers[descriptor] = 0
        say(channel, DORRIT_CHANNEL_REFUSED, number)
    return 0


cdef int end_of_messages(Engine engine, Channel channel, dorrit_channel_verdict verdict) except -1:
    """The supervisor has ended; or it says what can't be, and then has to do without this worker."""
    dorrit_poller_remove(engine.poller, channel.channel.descriptor)
    channel.takes_clients = False
    if verdict == DORRIT_CHANNEL_WRONG or verdict == DORRIT_CHANNEL_FAILED:
        channel.is_lost = channel.has_said = True
    try:
        channel.on_end()
    except BaseException as error:
        callback_raised(engine, "watching", error)
    return 0
