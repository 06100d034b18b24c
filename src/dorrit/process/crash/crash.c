#include "crash.h"

#include "ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/syscall.h>
#endif

#ifndef MAP_ANONYMOUS
#define MAP_ANONYMOUS MAP_ANON
#endif

/* Signals' numbers are below this. */
#if defined(_SIG_MAXSIG)
#define SIGNALS_END (_SIG_MAXSIG + 1) /* FreeBSD: its NSIG is that of an older time */
#else
#define SIGNALS_END NSIG
#endif

enum {
    /* Two handlers, each with the processor's registers saved below it: 11 KiB with AMX. */
    STACK_BYTES = 128 * 1024,
    /* Where the system can't do it in one call, descriptors are gone through up to here. */
    DESCRIPTORS_MAX = 1 << 16,
    LINE_MAX_BYTES = 512,
    /* What strsignal(3) and the shell make of a process that a signal has ended. */
    STATUS_OF_SIGNALS = 128
};

/* A plan with everything that it points to behind it, in one read-only piece of memory. */
struct armed_plan {
    struct dorrit_crash_plan plan;
    char **argv;
    char **envp;
    int *kept; /* both lists of descriptors, ascending */
    size_t kept_count;
    pid_t pid;
    dev_t record_device;
    ino_t record_inode;
    int descriptors_end;
};

static _Atomic(const struct armed_plan *) armed;

/* What is removed if the process ends before it has started. */
struct made {
    const char *path;
    dev_t device;
    ino_t inode;
};

struct guard {
    struct made *made;
    size_t count;
    int told;
    pid_t pid;
};

static _Atomic(const struct guard *) guard;

/* Set by the first thread that crashes, or that replaces the image. */
static atomic_bool crashing;

/* Signals that have come since dorrit_crash_note_signals(), for the next image. */
static atomic_bool noted[SIGNALS_END];

/* Who replaces the image, once somebody does; it gets those that come then. */
static atomic_bool is_replacing;
static pthread_t replacing;

/* ---- Beforehand ------------------------------------------------------------------------------ */

/* Lays out what a plan points to. With `memory` NULL it only counts the bytes. */
struct arena {
    char *memory;
    size_t used;
};

static void *place(struct arena *arena, const void *bytes, size_t size)
{
    enum { ALIGNMENT = _Alignof(max_align_t) };
    void *placed = NULL;
    if (arena->memory != NULL) {
        placed = arena->memory + arena->used;
        if (bytes != NULL && size != 0) {
            memcpy(placed, bytes, size);
        }
    }
    arena->used += (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return placed;
}

static char *place_string(struct arena *arena, const char *string)
{
    return place(arena, string, strlen(string) + 1);
}

/* An array of strings with a NULL at its end, which is what execve(2) takes. */
static char **place_strings(struct arena *arena, const char *const *strings, size_t count)
{
    char **placed = place(arena, NULL, (count + 1) * sizeof *placed);
    for (size_t i = 0; i < count; i++) {
        char *string = place_string(arena, strings[i]);
        if (placed != NULL) {
            placed[i] = string;
        }
    }
    if (placed != NULL) {
        placed[count] = NULL;
    }
    return placed;
}

/* Merges two ascending lists; a descriptor may be in both. */
static size_t merge(int *into, const struct dorrit_crash_plan *plan)
{
    size_t count = 0, i = 0, j = 0;
    while (i < plan->inherited_count || j < plan->untouched_count) {
        const bool first = j == plan->untouched_count
            || (i < plan->inherited_count && plan->inherited[i] <= plan->untouched[j]);
        const int next = first ? plan->inherited[i++] : plan->untouched[j++];
        if (count == 0 || into[count - 1] != next) {
            into[count++] = next;
        }
    }
    return count;
}

static struct armed_plan *lay_out(struct arena *arena, const struct dorrit_crash_plan *plan)
{
    struct armed_plan *placed = place(arena, NULL, sizeof *placed);
    struct armed_plan made = {.plan = *plan};
    made.plan.program = place_string(arena, plan->program);
    made.plan.directory = place_string(arena, plan->directory);
    made.plan.prefix = place_string(arena, plan->prefix);
    made.argv = place_strings(arena, plan->arguments, plan->argument_count);
    made.envp = place_strings(arena, plan->environment, plan->environment_count);
    made.plan.arguments = NULL; /* argv and envp have taken their places */
    made.plan.environment = NULL;
    made.plan.files =
        (const char *const *)place_strings(arena, plan->files, plan->file_count);
    made.plan.inherited =
        place(arena, plan->inherited, plan->inherited_count * sizeof *plan->inherited);
    made.plan.untouched =
        place(arena, plan->untouched, plan->untouched_count * sizeof *plan->untouched);
    made.kept =
        place(arena, NULL, (plan->inherited_count + plan->untouched_count) * sizeof *made.kept);
    if (placed != NULL) {
        made.kept_count = merge(made.kept, plan);
        *placed = made;
    }
    return placed;
}

/* One more than the largest number that a descriptor can have, within bounds. */
static int descriptors_end(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == -1 || limit.rlim_cur > DESCRIPTORS_MAX) {
        return DESCRIPTORS_MAX;
    }
    return (int)limit.rlim_cur;
}

int dorrit_crash_arm(const struct dorrit_crash_plan *plan)
{
    struct stat record;
    if (fstat(plan->record, &record) == -1) {
        return -1;
    }
    struct arena arena = {0};
    lay_out(&arena, plan);
    const size_t size = arena.used;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return -1;
    }
    arena = (struct arena){.memory = memory};
    struct armed_plan *made = lay_out(&arena, plan);
    made->pid = getpid();
    made->record_device = record.st_dev;
    made->record_inode = record.st_ino;
    made->descriptors_end = descriptors_end();
    /* What goes astray in the code that crashes can't change it. */
    if (mprotect(memory, size, PROT_READ) == -1) {
        const int error = errno;
        munmap(memory, size);
        errno = error;
        return -1;
    }
    atomic_store(&armed, made);
    return 0;
}

void dorrit_crash_disarm(void)
{
    atomic_store(&armed, NULL);
}

static struct guard *lay_out_guard(struct arena *arena, const char *const *paths, size_t count)
{
    struct guard *placed = place(arena, NULL, sizeof *placed);
    struct made *made = place(arena, NULL, count * sizeof *made);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        const char *path = place_string(arena, paths[i]);
        struct stat status;
        if (made != NULL && lstat(paths[i], &status) == 0) {
            made[kept++] =
                (struct made){.path = path, .device = status.st_dev, .inode = status.st_ino};
        }
    }
    if (placed != NULL) {
        *placed = (struct guard){.made = made, .count = kept, .pid = getpid()};
    }
    return placed;
}

int dorrit_crash_guard(const char *const *paths, size_t count, int told)
{
    struct arena arena = {0};
    lay_out_guard(&arena, paths, count);
    const size_t size = arena.used;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return -1;
    }
    arena = (struct arena){.memory = memory};
    struct guard *laid = lay_out_guard(&arena, paths, count);
    laid->told = told;
    if (mprotect(memory, size, PROT_READ) == -1) {
        const int error = errno;
        munmap(memory, size);
        errno = error;
        return -1;
    }
    atomic_store(&guard, laid);
    return 0;
}

void dorrit_crash_unguard(void)
{
    atomic_store(&guard, NULL);
}

int dorrit_crash_catch(int number)
{
    struct sigaction action = {0};
    action.sa_handler = dorrit_crash_handler;
    action.sa_flags = SA_ONSTACK;
    /* Nothing else happens meanwhile. A fault inside the handler is one while its signal is
     * blocked; sigprocmask(2) leaves undefined what that does, and the systems agree: they end the
     * process. */
    sigfillset(&action.sa_mask);
    return sigaction(number, &action, NULL);
}

/* Below each stack is a page that can't be touched: what overflows it must not write on. */
static size_t guard_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static void *map_stack(void)
{
    void *made = mmap(NULL, guard_bytes() + STACK_BYTES, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (made == MAP_FAILED) {
        return NULL;
    }
    (void)mprotect(made, guard_bytes(), PROT_NONE);
    return made;
}

static int use(void *memory)
{
    const stack_t stack = {.ss_sp = (char *)memory + guard_bytes(), .ss_size = STACK_BYTES};
    return sigaltstack(&stack, NULL);
}

int dorrit_crash_use_stack(void)
{
    static void *memory = NULL;
    if (memory == NULL && (memory = map_stack()) == NULL) {
        return -1;
    }
    return use(memory);
}

void *dorrit_crash_give_stack(void)
{
    stack_t now;
    if (sigaltstack(NULL, &now) == -1 || (now.ss_flags & SS_DISABLE) == 0) {
        return NULL;
    }
    void *memory = map_stack();
    if (memory != NULL && use(memory) == -1) {
        munmap(memory, guard_bytes() + STACK_BYTES);
        return NULL;
    }
    return memory;
}

void dorrit_crash_take_stack(void *memory)
{
    if (memory == NULL) {
        return;
    }
    stack_t now;
    if (sigaltstack(NULL, &now) == 0 && now.ss_sp == (char *)memory + guard_bytes()) {
        /* macOS looks at the size all the same. */
        const stack_t none = {.ss_flags = SS_DISABLE, .ss_size = STACK_BYTES};
        if (sigaltstack(&none, NULL) == -1) {
            return; /* it is in use just now */
        }
    }
    munmap(memory, guard_bytes() + STACK_BYTES);
}

/* ---- After the fault: async-signal-safe from here on ------------------------------------------ */

static void append(char *line, size_t *length, const char *text)
{
    while (*text != '\0' && *length < LINE_MAX_BYTES) {
        line[(*length)++] = *text++;
    }
}

static const char *reason(int error)
{
    switch (error) { /* strerror(3) is not safe here */
    case EACCES: return ": permission denied";
    case ENOENT: return ": no such file or directory";
    case ENOTDIR: return ": not a directory";
    case E2BIG: return ": the arguments and the environment are too long";
    case ENOMEM: return ": out of memory";
    case ENOEXEC: return ": not a program";
    case EBADF: return ": bad file descriptor";
    default: return "";
    }
}

/* Says in one line, with one write, what has failed. */
static void report(const struct armed_plan *plan, const char *what, const char *name, int error,
                   const char *consequence)
{
    char line[LINE_MAX_BYTES + 1];
    size_t length = 0;
    append(line, &length, plan->plan.prefix);
    append(line, &length, what);
    append(line, &length, name);
    append(line, &length, reason(error));
    append(line, &length, consequence);
    line[length++] = '\n';
    /* There is nobody to tell if this fails. */
    const ssize_t written = write(plan->plan.report, line, length);
    (void)written;
}

/* Ends the process by the signal, with a core dump where the system makes one. */
static void end(int number)
{
    struct sigaction action = {0};
    action.sa_handler = SIG_DFL;
    sigaction(number, &action, NULL);
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, number);
    pthread_sigmask(SIG_UNBLOCK, &only, NULL);
    raise(number);
    _exit(STATUS_OF_SIGNALS + number);
}

/* Writes down what has happened. */
static bool record(const struct armed_plan *plan, int number)
{
    const int descriptor = plan->plan.record;
    struct stat status;
    /* The server may have closed what is not its own; another file may have the number now. */
    if (fstat(descriptor, &status) == -1 || status.st_dev != plan->record_device
        || status.st_ino != plan->record_inode) {
        errno = EBADF;
        return false;
    }
    struct timespec now = {0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    struct dorrit_crash_record written = {0};
    written.signal = (uint64_t)number;
    written.seconds = now.tv_sec;
    written.nanoseconds = now.tv_nsec;
    return lseek(descriptor, 0, SEEK_SET) == 0
        && write(descriptor, &written, sizeof written) == (ssize_t)sizeof written;
}

/* execve(2) preserves pending alarms, and their signals would find no handler. */
static void stop_timers(void)
{
    const struct itimerval none = {0};
    setitimer(ITIMER_REAL, &none, NULL);
    setitimer(ITIMER_VIRTUAL, &none, NULL);
    setitimer(ITIMER_PROF, &none, NULL);
}

/* execve(2): "The dispositions of any signals that are being caught are reset to the default";
 * those that are ignored stay so, which the next image has not asked for. */
static void reset_ignored_signals(const struct armed_plan *plan)
{
    for (int number = 1; number < SIGNALS_END; number++) {
        struct sigaction action;
        if (sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN
            && sigismember(&plan->plan.ignored, number) == 0) {
            action.sa_handler = SIG_DFL;
            sigaction(number, &action, NULL);
        }
    }
}

static void set_close_on_exec(int first, int last, int end_of_known)
{
    if (first > last) {
        return;
    }
#if defined(SYS_close_range) && !defined(DORRIT_CRASH_ONE_BY_ONE)
    enum { SET_CLOSE_ON_EXEC = 1 << 2 }; /* CLOSE_RANGE_CLOEXEC, which older headers don't have */
    if (syscall(SYS_close_range, (unsigned)first, (unsigned)last, SET_CLOSE_ON_EXEC) == 0) {
        return;
    }
#endif
    for (int descriptor = first; descriptor <= last && descriptor < end_of_known; descriptor++) {
        const int flags = fcntl(descriptor, F_GETFD);
        if (flags != -1 && (flags & FD_CLOEXEC) == 0) {
            fcntl(descriptor, F_SETFD, flags | FD_CLOEXEC);
        }
    }
}

/* Has all descriptors above 2 closed by execve(2) but these, which ascend. */
static void close_others_on_exec(const int *kept, size_t count, int end_of_known)
{
    int next = STDERR_FILENO + 1;
    for (size_t i = 0; i < count; i++) {
        set_close_on_exec(next, kept[i] - 1, end_of_known);
        next = kept[i] + 1;
    }
    set_close_on_exec(next, INT_MAX, end_of_known);
}

static void keep_on_exec(int descriptor)
{
    const int flags = fcntl(descriptor, F_GETFD);
    if (descriptor > STDERR_FILENO && flags != -1) {
        fcntl(descriptor, F_SETFD, flags & ~FD_CLOEXEC);
    }
}

/* Has all descriptors closed by execve(2) but those that the next image goes on with: what some
 * library has opened without the flag would else be lost there, one more after each crash. */
static void sort_descriptors(const struct armed_plan *plan)
{
    close_others_on_exec(plan->kept, plan->kept_count, plan->descriptors_end);
    for (size_t i = 0; i < plan->plan.inherited_count; i++) {
        keep_on_exec(plan->plan.inherited[i]);
    }
    if (plan->plan.ledger != NULL) {
        dorrit_ledger_each_descriptor(plan->plan.ledger, plan->plan.ledger_size, keep_on_exec);
    }
}

/* Tells whether the next image will find what it is made of. Some of that, a script, is opened by an
 * interpreter that could only complain to a stderr that is nowhere. */
static bool can_run(const struct armed_plan *plan, const char *consequence)
{
    if (access(plan->plan.program, X_OK) == -1) {
        report(plan, "can't run ", plan->plan.program, errno, consequence);
        return false;
    }
    for (size_t i = 0; i < plan->plan.file_count; i++) {
        if (access(plan->plan.files[i], R_OK) == -1) {
            report(plan, "can't read ", plan->plan.files[i], errno, consequence);
            return false;
        }
    }
    return true;
}

/* Removes what a server has made that ends before it has started. */
static void remove_made(const struct guard *found)
{
    for (size_t i = 0; i < found->count; i++) {
        const struct made *made = &found->made[i];
        struct stat status;
        if (lstat(made->path, &status) == 0 && status.st_dev == made->device
            && status.st_ino == made->inode) {
            unlink(made->path);
        }
    }
    if (found->told != -1) {
        /* There is nobody to tell if this fails. */
        const ssize_t written = write(found->told, ".", 1);
        (void)written;
    }
}

/* Runs the command; returns if it can't, and says why. */
static void run_next_image(const struct armed_plan *plan, const char *not_run,
                           const char *elsewhere)
{
    stop_timers();
    reset_ignored_signals(plan);
    sort_descriptors(plan);
    umask(plan->plan.umask);
    if (chdir(plan->plan.directory) == -1) {
        report(plan, "can't enter ", plan->plan.directory, errno, elsewhere);
    }
    if (!can_run(plan, not_run)) {
        return;
    }
    pthread_sigmask(SIG_SETMASK, &plan->plan.held, NULL);
    execve(plan->plan.program, plan->argv, plan->envp);
    report(plan, "can't run ", plan->plan.program, errno, not_run);
}

void dorrit_crash_handler(int number)
{
    const struct guard *found = atomic_load(&guard);
    if (found != NULL && found->pid == getpid()) {
        remove_made(found);
        end(number);
    }
    const struct armed_plan *plan = atomic_load(&armed);
    if (plan == NULL || plan->pid != getpid()) {
        end(number);
    }
    if (atomic_exchange(&crashing, true)) {
        /* Another thread has crashed as well. What it does ends this one, too. */
        for (;;) {
            pause();
        }
    }
    if (!record(plan, number)) {
        report(plan, "the record of the crash can't be written", "", errno,
               ": the server can't be restarted");
        end(number);
    }
    run_next_image(plan, ": the server can't be restarted after its crash",
                   ": the server is restarted elsewhere after its crash");
    end(number);
}

/* ---- Without a crash -------------------------------------------------------------------------- */

/* Has the next image get a signal, whichever thread the system gives it to. */
static void note(int number)
{
    const int error = errno;
    atomic_store(&noted[number], true);
    if (atomic_load(&is_replacing)) {
        pthread_kill(replacing, number);
    }
    errno = error;
}

int dorrit_crash_note_signals(void)
{
    const struct armed_plan *plan = atomic_load(&armed);
    for (int number = 1; plan != NULL && number < SIGNALS_END; number++) {
        struct sigaction action;
        if (sigismember(&plan->plan.held, number) != 1 || sigaction(number, NULL, &action) == -1
            || action.sa_handler == SIG_IGN) {
            continue;
        }
        action = (struct sigaction){0};
        action.sa_handler = note;
        action.sa_flags = SA_RESTART;
        sigfillset(&action.sa_mask);
        if (sigaction(number, &action, NULL) == -1) {
            return -1;
        }
    }
    return 0;
}

void dorrit_crash_replace(void)
{
    const struct armed_plan *plan = atomic_load(&armed);
    if (plan == NULL || plan->pid != getpid()) {
        return;
    }
    if (atomic_exchange(&crashing, true)) {
        for (;;) {
            pause(); /* another thread does it, or has crashed */
        }
    }
    /* execve(2) preserves the signals that are pending for the thread that calls it. */
    pthread_sigmask(SIG_SETMASK, &plan->plan.held, NULL);
    replacing = pthread_self();
    atomic_store(&is_replacing, true);
    for (int number = 1; number < SIGNALS_END; number++) {
        if (atomic_load(&noted[number])) {
            pthread_kill(replacing, number);
        }
    }
    run_next_image(plan, ": the server ends instead of being reloaded",
                   ": the server is reloaded elsewhere");
    atomic_store(&is_replacing, false);
    atomic_store(&crashing, false);
}

void dorrit_crash_close_on_exec(const int *kept, size_t count)
{
    close_others_on_exec(kept, count, descriptors_end());
}
