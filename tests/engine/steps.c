/* To be preloaded: has something happen before the so many-th store to a ledger from now on. */
#include <stddef.h>

void dorrit_ledger_step(void);
void leave_before_store(unsigned long number, void (*function)(void));
unsigned long stores_left(void);

static unsigned long left;
static void (*leave)(void);

void dorrit_ledger_step(void)
{
    if (left > 0 && --left == 0) {
        leave();
    }
}

void leave_before_store(unsigned long number, void (*function)(void))
{
    left = number;
    leave = function;
}

unsigned long stores_left(void)
{
    return left;
}
