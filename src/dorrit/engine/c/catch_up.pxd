"""What `core/catch_up.h` declares. What the functions promise stands there."""

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t

from dorrit.engine.c.ledger cimport c_bool
from dorrit.engine.c.topics cimport dorrit_topic_name, dorrit_topics


cdef extern from "catch_up.h" nogil:
    c_bool dorrit_topics_has_behind(const dorrit_topics *topics, uint32_t topic)
    struct dorrit_topics_most:
        size_t of_one
        size_t of_all

    c_bool dorrit_topics_keep(
        dorrit_topics *topics, uint32_t topic, void *message, size_t size,
        dorrit_topics_most most)
    c_bool dorrit_topics_begin_telling(
        dorrit_topics *topics, uint32_t member, dorrit_topic_name name)
    c_bool dorrit_topics_is_told(
        const dorrit_topics *topics, uint32_t member, dorrit_topic_name name)
    c_bool dorrit_topics_end_telling(
        dorrit_topics *topics, uint32_t member, dorrit_topic_name name)
    void *dorrit_topics_catch_up(
        dorrit_topics *topics, uint32_t member, dorrit_topic_name name, uint64_t *missed)
