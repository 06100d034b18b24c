/* The topics of dorrit under a crowd. */
#include "../../src/dorrit/engine/core/backlog.c"
#include "../../src/dorrit/engine/core/catch_up.c"
#include "../../src/dorrit/engine/core/topics.c"
#include "crowd.h"

/* Python has the hash of a str in it, so that it costs nothing here either. */
static struct dorrit_topic_name *names_of(const struct crowd *crowd)
{
    struct dorrit_topic_name *const names = malloc(crowd->topics * sizeof *names);
    if (names == NULL) {
        exit(1);
    }
    for (uint32_t topic = 0; topic < crowd->topics; topic++) {
        const char *const name = crowd->names[topic];
        names[topic] = (struct dorrit_topic_name){
            (const uint8_t *)name, strlen(name), 14695981039346656037u};
        for (const char *at = name; *at != '\0'; at++) {
            names[topic].hash = (names[topic].hash ^ (uint8_t)*at) * 1099511628211u;
        }
    }
    return names;
}

int main(int count, char **arguments)
{
    if (count != 4) {
        return 2;
    }
    struct crowd crowd = crowd_of(arguments);
    struct dorrit_topic_name *const names = names_of(&crowd);
    struct dorrit_topics topics;
    dorrit_topics_open(&topics);
    const size_t before = bytes_in_use();
    double begin = seconds_now();
    for (size_t index = 0; index < crowd.length; index++) {
        if (dorrit_topics_subscribe(&topics, crowd.pairs[index].member, names[crowd.pairs[index].topic], false)
            != DORRIT_TOPICS_DONE) {
            return 1;
        }
    }
    const double subscribe = seconds_now() - begin;
    const size_t bytes = bytes_in_use() - before;
    size_t visited = 0;
    begin = seconds_now();
    for (uint32_t topic = 0; topic < crowd.topics; topic++) {
        struct dorrit_topics_visit visit;
        const uint32_t found = dorrit_topics_find(&topics, names[topic]);
        if (found != 0) {
            dorrit_topics_begin_visit(&topics, found, &visit);
            while (dorrit_topics_next(&topics, &visit) != DORRIT_TOPICS_NOBODY) {
                visited++;
            }
            dorrit_topics_end_visit(&topics, &visit);
        }
    }
    const double visit = seconds_now() - begin;
    shuffle(&crowd);
    begin = seconds_now();
    for (size_t index = 0; index < crowd.length; index++) {
        if (!dorrit_topics_unsubscribe(
                &topics, crowd.pairs[index].member, names[crowd.pairs[index].topic])) {
            return 1;
        }
    }
    print_figures(&crowd, bytes, subscribe, visit, seconds_now() - begin);
    return visited == crowd.length && topics.length == 0 ? 0 : 1;
}
