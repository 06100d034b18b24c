/* What the tests of ledgers share: a file for one, numbers that are the same in each run, and scripts that
 * are left before any store. To be included behind the ledger, compiled with DORRIT_LEDGER_STEPS. */
#ifndef DORRIT_TESTS_STORES_H
#define DORRIT_TESTS_STORES_H

#include "check.h"

#include <setjmp.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static int file(void)
{
#ifdef __linux__
    const int descriptor = memfd_create("ledger", MFD_CLOEXEC);
#else
    FILE *made = tmpfile();
    CHECK(made != NULL);
    const int descriptor = dup(fileno(made));
    fclose(made);
#endif
    CHECK(descriptor >= 0);
    return descriptor;
}

static struct dorrit_ledger_copy copied(int descriptor)
{
    struct dorrit_ledger_copy copy;
    CHECK_EQUAL(dorrit_ledger_read(&copy, descriptor), DORRIT_LEDGER_OK);
    return copy;
}

static uint64_t random_number(uint64_t below)
{
    static uint64_t state;
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (state >> 33) % below;
}

/* Called before each store, as long as it is set. */
static void (*before_store)(void);

void dorrit_ledger_step(void);

void dorrit_ledger_step(void)
{
    if (before_store != NULL) {
        before_store();
    }
}

static jmp_buf end;
static unsigned stores_left;

static void end_before_the_last_store(void)
{
    if (stores_left-- == 0) {
        longjmp(end, 1);
    }
}

/* Plays a script of so many lines until so many stores are done; returns whether that was all of it. */
static bool played(struct dorrit_ledger *ledger, unsigned stores, unsigned lines,
    void (*play)(struct dorrit_ledger *, unsigned))
{
    stores_left = stores;
    before_store = end_before_the_last_store;
    const bool is_left = setjmp(end) != 0;
    if (!is_left) {
        for (unsigned line = 0; line < lines; line++) {
            play(ledger, line);
        }
    }
    before_store = NULL;
    return !is_left;
}

#endif
