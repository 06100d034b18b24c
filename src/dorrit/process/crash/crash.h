/* Restarts the process in place when a fault would have ended it (R28, R29): the handler of the
 * signal runs the command again with execve(2), with the same pid and with the descriptors that the
 * next image goes on with.
 *
 * After a fault nothing in the process's memory can be relied on, and no lock may be taken. So all
 * that the handler needs is made beforehand by dorrit_crash_arm() and lies in memory that is
 * read-only from then on, and the handler calls nothing that is not async-signal-safe
 * (signal-safety(7)) or a bare system call.
 */
#ifndef DORRIT_CRASH_H
#define DORRIT_CRASH_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What the handler does. Strings end with NUL. */
struct dorrit_crash_plan {
    const char *program;     /* absolute path of what is run */
    const char *const *arguments;   /* its argv, `argument_count` strings, and no NULL at the end */
    size_t argument_count;
    const char *const *environment; /* NAME=VALUE, `environment_count` strings, likewise */
    size_t environment_count;
    const char *directory;   /* where it is run, and relative names below are looked up */
    mode_t umask;            /* the file mode creation mask it is run with */
    const char *const *files; /* what must be readable, or it isn't run: `file_count` names */
    size_t file_count;
    const int *inherited;    /* descriptors that the next image gets, ascending */
    size_t inherited_count;
    const int *untouched;    /* descriptors whose close-on-exec flag stays what it is, ascending */
    size_t untouched_count;
    sigset_t ignored;        /* signals that may stay ignored; others that are, get their default */
    sigset_t held;           /* signals that wait, blocked, until the next image unblocks them */
    const unsigned char *ledger; /* where connections are written down, of which the next image gets */
    size_t ledger_size;      /* the descriptors as well; NULL: nowhere. It stays mapped */
    int record;              /* a regular file, one of `inherited`: gets a dorrit_crash_record */
    int report;              /* where one line goes that says why there is no restart */
    const char *prefix;      /* what the line begins with */
};

/* What the handler writes at the beginning of the record, in the byte order of the machine. */
struct dorrit_crash_record {
    uint64_t signal;         /* its number; 0 before a crash */
    int64_t seconds;         /* when, by CLOCK_MONOTONIC */
    int64_t nanoseconds;
};

/* Copies a plan, which this process's next crash then follows, in place of any earlier one. Nothing
 * that `plan` points to is needed afterwards. Returns 0, or -1 with errno set, and then the earlier
 * plan still holds. A plan takes memory, some kilobytes, that is not given back: a handler may be
 * using it in another thread. */
int dorrit_crash_arm(const struct dorrit_crash_plan *plan);

/* From now on a crash ends the process, as the signal's default action does. */
void dorrit_crash_disarm(void);

/* Until dorrit_crash_unguard(), a crash of this process ends it, whatever is armed, and removes what
 * stands at these absolute paths now: those that are still the same files then. A byte is written to
 * the descriptor `told`, unless that is -1. What cannot be looked at is left out. Returns 0, or -1
 * with errno set. A guard takes some memory that is not given back, as a plan does. */
int dorrit_crash_guard(const char *const *paths, size_t count, int told);

void dorrit_crash_unguard(void);

/* Installs the handler for a signal. Returns 0, or -1 with errno set. */
int dorrit_crash_catch(int number);

/* The handler, to compare with what sigaction(2) says of a signal. In a process that is not the one
 * that was armed, a child that it forked, it does what the signal does by default. */
void dorrit_crash_handler(int number);

/* From now on the signals that the plan holds are none for this image: the next one gets those that
 * come, though another thread has let them through. What is ignored stays so. Returns 0, or -1 with
 * errno set. */
int dorrit_crash_note_signals(void);

/* Runs the next image without a crash: what a handler does, but for the record. Async-signal-safe.
 * Returns if that fails, and has said why in one line. */
void dorrit_crash_replace(void);

/* Has all descriptors above 2 closed by execve(2) but these, which ascend: in ranges, where the
 * system can do that. */
void dorrit_crash_close_on_exec(const int *kept, size_t count);

/* Gives the calling thread an alternate signal stack that has room for the handler on top of
 * another one, so that an overflow of the thread's own stack can be handled. It is made once and
 * stays. Returns 0, or -1 with errno set. */
int dorrit_crash_use_stack(void);

/* Gives the calling thread one of its own, until it is taken. A thread that has one keeps that.
 * Returns what to take; NULL: none was given, for want of memory or because there is one. */
void *dorrit_crash_give_stack(void);

/* Takes back from the calling thread, at its end, what it was given; NULL: nothing. If it has
 * another one by now it keeps that. */
void dorrit_crash_take_stack(void *memory);

#endif
