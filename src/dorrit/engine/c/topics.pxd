"""What `core/topics.h` declares. What the functions promise stands there."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from dorrit.engine.c.ledger cimport c_bool


cdef extern from "topics.h" nogil:
    enum:
        DORRIT_TOPIC_NAME_MAX
        DORRIT_TOPIC_UNCONFIRMED

    enum dorrit_topics_outcome:
        DORRIT_TOPICS_DONE
        DORRIT_TOPICS_WAS_SO
        DORRIT_TOPICS_NO_MEMORY

    const uint32_t DORRIT_TOPICS_NOBODY

    struct dorrit_topic_name:
        const uint8_t *bytes
        size_t length
        uint64_t hash

    struct dorrit_topics:
        uint32_t length
        uint64_t subscriptions
        size_t kept
        void (*release)(void *message) noexcept

    struct dorrit_topics_visit:
        pass

    c_bool dorrit_topic_name_is_valid(const uint8_t *bytes, size_t length)
    uint32_t dorrit_topics_find(const dorrit_topics *topics, dorrit_topic_name name)
    dorrit_topics_outcome dorrit_topics_subscribe(
        dorrit_topics *topics, uint32_t member, dorrit_topic_name name, c_bool waits)
    c_bool dorrit_topics_unsubscribe(dorrit_topics *topics, uint32_t member, dorrit_topic_name name)
    c_bool dorrit_topics_is_subscribed(
        const dorrit_topics *topics, uint32_t member, dorrit_topic_name name)
    void dorrit_topics_leave(dorrit_topics *topics, uint32_t member)
    uint32_t dorrit_topics_count(const dorrit_topics *topics, dorrit_topic_name name)
    uint32_t dorrit_topics_count_of(const dorrit_topics *topics, uint32_t member)
    size_t dorrit_topics_names(
        const dorrit_topics *topics, uint32_t member, uint8_t *to, size_t room)
    void dorrit_topics_begin_visit(
        dorrit_topics *topics, uint32_t topic, dorrit_topics_visit *visit)
    uint32_t dorrit_topics_next(dorrit_topics *topics, dorrit_topics_visit *visit)
    void dorrit_topics_end_visit(dorrit_topics *topics, dorrit_topics_visit *visit)
    void dorrit_topics_close(dorrit_topics *topics)
    const char *dorrit_topics_fault(const dorrit_topics *topics)
