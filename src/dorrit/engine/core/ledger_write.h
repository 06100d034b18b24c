/* How the files that write a ledger do it. */
#ifndef DORRIT_LEDGER_WRITE_H
#define DORRIT_LEDGER_WRITE_H

#include "ledger.h"
#include "ledger_format.h"

#include <stdatomic.h>
#include <string.h>

#ifdef DORRIT_LEDGER_STEPS
/* The tests' build: called before each store, from where it need not return, and in the middle of
 * those that are more than one for a processor. It is the test's function, if there is one. */
extern void dorrit_ledger_step(void) __attribute__((weak, visibility("default")));

static inline void step(void)
{
    if (dorrit_ledger_step != NULL) {
        dorrit_ledger_step();
    }
}

static inline void copy(uint8_t *to, const uint8_t *from, size_t length)
{
    const size_t half = length / 2;
    memcpy(to, from, half);
    step();
    memcpy(to + half, from + half, length - half);
}
#else
static inline void step(void)
{
}

static inline void copy(uint8_t *to, const uint8_t *from, size_t length)
{
    memcpy(to, from, length);
}
#endif

/* All that is written into the file is written here, in the order of the calls: the compiler must
 * not change it, since the process may end between any two of them. */
static inline void store(void *to, const void *from, size_t length)
{
    if (length == 0) {
        return;
    }
    step();
    atomic_signal_fence(memory_order_seq_cst);
    copy(to, from, length);
    atomic_signal_fence(memory_order_seq_cst);
}

static inline void store_number(uint32_t *to, uint32_t number)
{
    step();
    atomic_signal_fence(memory_order_seq_cst);
    *(volatile uint32_t *)to = number;
    atomic_signal_fence(memory_order_seq_cst);
}

static inline void store_place(uint64_t *to, uint64_t place)
{
    step();
    atomic_signal_fence(memory_order_seq_cst);
    *(volatile uint64_t *)to = place;
    atomic_signal_fence(memory_order_seq_cst);
}

static inline struct header *header_of(const struct dorrit_ledger *ledger)
{
    return (struct header *)(void *)ledger->memory;
}

static inline struct record *record_of(const struct dorrit_ledger *ledger, uint32_t slot)
{
    return (struct record *)(void *)(ledger->memory + record_place(slot));
}

/* Gives the file memory for length bytes from `offset`: what is written there can't fail any more, as
 * it would by SIGBUS. Returns 0, or -1 with errno set. */
int ledger_allocate(int descriptor, size_t offset, size_t length);

#endif
