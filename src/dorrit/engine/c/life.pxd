"""What `core/life.h` declares. What the events and actions are stands there."""

from libc.stdint cimport uint8_t

from dorrit.engine.c.connection cimport dorrit_connection, dorrit_life


cdef extern from "life.h" nogil:
    enum dorrit_event:
        DORRIT_TAKEN_IN
        DORRIT_REQUEST_VALID
        DORRIT_REQUEST_REFUSED
        DORRIT_CLOSE_WANTED
        DORRIT_CLOSE_RECEIVED
        DORRIT_FAILED
        DORRIT_UNREAD
        DORRIT_CARRIED_OUT
        DORRIT_LOST

    enum dorrit_action:
        DORRIT_IGNORE
        DORRIT_NOTHING
        DORRIT_ASK
        DORRIT_SAY_CLOSE
        DORRIT_TELL_END

    enum:
        DORRIT_LIVES
        DORRIT_EVENTS

    struct dorrit_step:
        uint8_t life
        uint8_t action

    dorrit_step dorrit_life_step(dorrit_life life, dorrit_event event)
    dorrit_action dorrit_life_happen(dorrit_connection *connection, dorrit_event event)
    const char *dorrit_life_name(dorrit_life life)
    const char *dorrit_event_name(dorrit_event event)
    const char *dorrit_action_name(dorrit_action action)
