/* What a C test says: the condition, where it stands, what it was in the middle of, and then it
 * ends with status 1. Nothing is printed when all is well. */
#ifndef DORRIT_TESTS_CHECK_H
#define DORRIT_TESTS_CHECK_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* The test that runs, and the input that it tries: a failure prints both. */
static const char *running = "";
static const uint8_t *tried;
static size_t tried_length;

static inline void trying(const uint8_t *data, size_t length)
{
    tried = data;
    tried_length = length;
}

static inline void fail(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: in %s: %s\n", file, line, running, what);
    if (tried != NULL) {
        fprintf(stderr, "  input, %zu bytes:", tried_length);
        for (size_t index = 0; index < tried_length && index < 64; index++) {
            fprintf(stderr, " %02x", tried[index]);
        }
        fprintf(stderr, "%s\n", tried_length > 64 ? " ..." : "");
    }
    exit(1);
}

static inline void check_equal(
    const char *file, int line, const char *what, int64_t found, int64_t expected)
{
    if (found != expected) {
        fprintf(stderr, "found %lld, expected %lld\n", (long long)found, (long long)expected);
        fail(file, line, what);
    }
}

#define CHECK(condition) ((condition) ? (void)0 : fail(__FILE__, __LINE__, #condition))
#define CHECK_EQUAL(found, expected)                                                               \
    check_equal(                                                                                   \
        __FILE__, __LINE__, #found " == " #expected, (int64_t)(found), (int64_t)(expected))
#define RUN(test) (running = #test, tried = NULL, (test)())

#endif
