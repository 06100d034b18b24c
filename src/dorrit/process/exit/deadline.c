#include "deadline.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    PREFIX_MAX = 128,
    TEXT_MAX = 256,
    LINE_MAX_BYTES = 512,
    LINES_MAX = 40,
    /* Milliseconds that the main thread has for its signal, which it may have blocked. */
    SIGNAL_GRACE = 500,
    /* Milliseconds between two looks whether the deadline has been moved. */
    LOOK_INTERVAL = 100
};

static struct {
    int status;
    int report;
    int traceback;
    pid_t pid;
    void (*instead)(void);
    char prefix[PREFIX_MAX];
    char text[TEXT_MAX];
} plan;

static pthread_t main_thread;
static _Atomic(int) signal_number;
static _Atomic(long long) due; /* milliseconds of the monotonic clock */
static atomic_bool is_watched;
static atomic_flag is_ending = ATOMIC_FLAG_INIT;

/* ---- Async-signal-safe ------------------------------------------------------------------------ */

static size_t append(char *line, size_t length, size_t capacity, const char *text, size_t size)
{
    for (size_t i = 0; i < size && length < capacity; i++) {
        line[length++] = text[i];
    }
    return length;
}

static void write_line(const char *text, size_t size)
{
    char line[LINE_MAX_BYTES + 1];
    size_t length = append(line, 0, LINE_MAX_BYTES, plan.prefix, strlen(plan.prefix));
    length = append(line, length, LINE_MAX_BYTES, text, size);
    line[length++] = '\n';
    /* There is nobody to tell if this fails. */
    const ssize_t written = write(plan.report, line, length);
    (void)written;
}

static void write_traceback(void)
{
    char text[LINE_MAX_BYTES];
    size_t length = 0;
    off_t at = 0;
    for (int lines = 0; lines < LINES_MAX;) {
        char byte;
        if (pread(plan.traceback, &byte, 1, at++) != 1) {
            break;
        }
        if (byte == '\n') {
            write_line(text, length);
            length = 0;
            lines++;
        } else if (length < sizeof text) {
            text[length++] = byte;
        }
    }
}

static void end(void)
{
    if (!atomic_flag_test_and_set(&is_ending)) {
        write_line(plan.text, strlen(plan.text));
        write_traceback();
        if (plan.instead != NULL) {
            plan.instead();
        }
        _exit(plan.status);
    }
}

static void handle(int number)
{
    if (getpid() != plan.pid) {
        struct sigaction action = {0};
        action.sa_handler = SIG_DFL;
        sigaction(number, &action, NULL);
        sigset_t only;
        sigemptyset(&only);
        sigaddset(&only, number);
        pthread_sigmask(SIG_UNBLOCK, &only, NULL);
        raise(number);
        _exit(plan.status);
    }
    end();
}

/* ---- Beforehand ------------------------------------------------------------------------------- */

static long long now(void)
{
    struct timespec time = {0};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (long long)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static void sleep_for(long long milliseconds)
{
    const struct timespec time = {.tv_sec = (time_t)(milliseconds / 1000),
                                  .tv_nsec = (long)(milliseconds % 1000) * 1000000};
    nanosleep(&time, NULL);
}

static void *watch(void *unused)
{
    (void)unused;
    for (long long left; (left = atomic_load(&due) - now()) > 0;) {
        sleep_for(left < LOOK_INTERVAL ? left : LOOK_INTERVAL);
    }
    pthread_kill(main_thread, atomic_load(&signal_number));
    sleep_for(SIGNAL_GRACE);
    end();
    return NULL;
}

int dorrit_deadline_set(unsigned milliseconds, int number)
{
    atomic_store(&due, now() + (long long)milliseconds);
    if (atomic_load(&is_watched)) {
        return 0;
    }
    main_thread = pthread_self();
    atomic_store(&signal_number, number);
    sigset_t all, before;
    sigfillset(&all);
    int error = pthread_sigmask(SIG_SETMASK, &all, &before);
    if (error == 0) {
        pthread_t thread;
        error = pthread_create(&thread, NULL, watch, NULL);
        if (error == 0) {
            pthread_detach(thread);
            atomic_store(&is_watched, true);
        }
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    errno = error;
    return error == 0 ? 0 : -1;
}

static void copy(char *into, size_t capacity, const char *text)
{
    const size_t length = strlen(text) < capacity ? strlen(text) : capacity - 1;
    memcpy(into, text, length);
    into[length] = '\0';
}

int dorrit_deadline_catch(int number, int status, int report, int traceback, const char *prefix,
                          const char *line, void (*instead)(void))
{
    plan.status = status;
    plan.report = report;
    plan.traceback = traceback;
    plan.pid = getpid();
    plan.instead = instead;
    copy(plan.prefix, sizeof plan.prefix, prefix);
    copy(plan.text, sizeof plan.text, line);
    struct sigaction action = {0};
    action.sa_handler = handle;
    sigfillset(&action.sa_mask);
    return sigaction(number, &action, NULL);
}
