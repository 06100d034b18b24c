/* Crashes in the way that its first argument names, after it has armed the handler of crash.c. The
 * next image, this program with the argument "next", says what has become of the process: one line
 * for each thing. tests/process/crash/test_crash.py knows what it must say. */

#include "crash.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RECORD = 20, INHERITED = 21, UNTOUCHED = 22, STRAY = 23, GONE = 25, THREADS = 8 };

static volatile int *volatile nowhere;

#ifdef FAULT_IN_HANDLER
/* All was compiled with -Dumask=broken_umask. The handler asks for the mask that it was told, which
 * nothing else here does. */
mode_t broken_umask(mode_t mask)
{
    if (mask == 027) {
        const ssize_t written = write(STDOUT_FILENO, "in the handler\n", 15);
        *nowhere = written > 0;
    }
    return mask;
}
#endif

static void require(bool condition, const char *what)
{
    if (!condition) {
        perror(what);
        exit(99);
    }
}

static void say_signals(const char *what, bool (*has)(int))
{
    printf("%s", what);
    for (int number = 1; number < 32; number++) {
        if (has(number)) {
            printf(" %d", number);
        }
    }
    printf("\n");
}

static bool is_blocked(int number)
{
    sigset_t blocked;
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    return sigismember(&blocked, number) == 1;
}

static bool is_ignored(int number)
{
    struct sigaction action;
    return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

static bool is_pending(int number)
{
    sigset_t pending;
    sigpending(&pending);
    return sigismember(&pending, number) == 1;
}

/* The next image. */
static int say(char **arguments)
{
    printf("pid %d\n", (int)getpid());
    for (char **argument = arguments; *argument != NULL; argument++) {
        printf("argument %s\n", *argument);
    }
    printf("variable %s\n", getenv("CRASH_TEST"));
    printf("descriptors");
    for (int descriptor = 3; descriptor < 1024; descriptor++) {
        if (fcntl(descriptor, F_GETFD) != -1) {
            printf(" %d", descriptor);
        }
    }
    printf("\n");
    say_signals("blocked", is_blocked);
    say_signals("pending", is_pending);
    say_signals("ignored", is_ignored);
    struct itimerval timer;
    getitimer(ITIMER_REAL, &timer);
    printf("timer %ld\n", (long)timer.it_value.tv_sec);
    printf("umask %03o\n", (unsigned)umask(0));
    char directory[4096];
    printf("directory %s\n", getcwd(directory, sizeof directory));
    struct dorrit_crash_record record = {0};
    if (pread(RECORD, &record, sizeof record, 0) == (ssize_t)sizeof record) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        const long long ago = now.tv_sec - record.seconds;
        printf("record %d%s\n", (int)record.signal, ago >= 0 && ago < 60 ? " lately" : "");
    }
    return 0;
}

static int descend(int depth)
{
    volatile char frame[4096];
    frame[0] = (char)depth;
    return depth < 0 ? 0 : descend(depth + 1) + frame[0];
}

static pthread_barrier_t together;

static void *crash_together(void *unused)
{
    pthread_barrier_wait(&together);
    *nowhere = 1;
    return unused;
}

static void crash_in_threads(void)
{
    require(pthread_barrier_init(&together, NULL, THREADS) == 0, "barrier");
    pthread_t thread;
    for (int i = 0; i < THREADS; i++) {
        require(pthread_create(&thread, NULL, crash_together, NULL) == 0, "thread");
    }
    pthread_join(thread, NULL);
}

static void *descend_on_a_given_stack(void *given)
{
    void *memory = dorrit_crash_give_stack();
    require(memory != NULL, "give");
    require(dorrit_crash_give_stack() == NULL, "give a second one");
    if (given != NULL) {
        descend(0);
    }
    dorrit_crash_take_stack(memory);
    stack_t now;
    require(sigaltstack(NULL, &now) == 0 && (now.ss_flags & SS_DISABLE) != 0, "take");
    return NULL;
}

/* Many threads have had a stack, and one of them overflows its own. */
static void crash_in_thread_by_overflow(void)
{
    for (int i = 0; i <= 100; i++) {
        pthread_t thread;
        require(pthread_create(&thread, NULL, descend_on_a_given_stack, i < 100 ? NULL : &thread)
                    == 0, "thread");
        pthread_join(thread, NULL);
    }
}

/* A child that crashes; then this process ends as the child has. */
static void crash_in_child(void)
{
    const pid_t child = fork();
    if (child == 0) {
        *nowhere = 1;
    }
    int status;
    require(waitpid(child, &status, 0) == child, "waitpid");
    printf("child ended by signal %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    fflush(stdout);
}

static void *replace_in_thread(void *unused)
{
    dorrit_crash_replace();
    return unused;
}

/* Has the next image run without a crash, in one of several ways; returns if it is not run. */
static void replace(const char *way)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGUSR2);
    if (strcmp(way, "replace-noted") == 0) {
        require(dorrit_crash_note_signals() == 0, "note");
        sigprocmask(SIG_UNBLOCK, &signals, NULL);
        raise(SIGUSR2); /* is ignored */
        raise(SIGTERM);
    } else if (strcmp(way, "replace-ignored") == 0) {
        signal(SIGTERM, SIG_IGN);
        require(dorrit_crash_note_signals() == 0, "note");
        sigprocmask(SIG_UNBLOCK, &signals, NULL);
        raise(SIGTERM);
        signal(SIGTERM, SIG_DFL);
    } else if (strcmp(way, "replace-disarmed") == 0) {
        dorrit_crash_disarm();
    } else if (strcmp(way, "replace-in-child") == 0) {
        const pid_t child = fork();
        if (child == 0) {
            dorrit_crash_replace();
            _exit(7);
        }
        int status;
        require(waitpid(child, &status, 0) == child, "waitpid");
        printf("child %d\n", WEXITSTATUS(status));
        return;
    }
    if (strcmp(way, "replace-in-thread") == 0) {
        pthread_t thread;
        require(pthread_create(&thread, NULL, replace_in_thread, NULL) == 0, "thread");
        pthread_join(thread, NULL);
    } else {
        dorrit_crash_replace();
    }
}

/* Says which descriptors an image that is run now would have. */
static void say_descriptors(void)
{
    const int kept[] = {INHERITED, STRAY};
    for (int number = RECORD; number <= GONE; number++) {
        const int flags = fcntl(number, F_GETFD);
        fcntl(number, F_SETFD, flags & ~FD_CLOEXEC);
    }
    dorrit_crash_close_on_exec(kept, sizeof kept / sizeof kept[0]);
    printf("inheritable");
    for (int number = 0; number <= GONE; number++) {
        const int flags = fcntl(number, F_GETFD);
        if (flags != -1 && (flags & FD_CLOEXEC) == 0) {
            printf(" %d", number);
        }
    }
    printf("\n");
}

static void arrange(void)
{
    char name[] = "/tmp/dorrit-crash-XXXXXX";
    const int file = mkstemp(name);
    require(file != -1 && unlink(name) == 0, "record");
    const int numbers[] = {RECORD, INHERITED, UNTOUCHED, STRAY, GONE};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        require(dup2(file, numbers[i]) != -1, "dup2");
    }
    close(file);
    fcntl(RECORD, F_SETFD, FD_CLOEXEC);
    fcntl(INHERITED, F_SETFD, FD_CLOEXEC);
    fcntl(GONE, F_SETFD, FD_CLOEXEC);
    signal(SIGUSR1, SIG_IGN);
    signal(SIGUSR2, SIG_IGN);
    sigset_t all;
    sigfillset(&all);
    sigdelset(&all, SIGSEGV); /* a fault while its signal is blocked ends the process */
    sigprocmask(SIG_BLOCK, &all, NULL);
    const struct itimerval timer = {.it_value = {.tv_sec = 1000}};
    setitimer(ITIMER_REAL, &timer, NULL);
    umask(0);
    require(chdir("/usr") == 0, "chdir");
}

static char too_long[1 << 20]; /* longer than any system takes it */

static void arm(const char *program, const char *directory, const char *file, const char *way)
{
    const char *words = "two words";
    if (strcmp(way, "too-long") == 0) {
        memset(too_long, 'x', sizeof too_long - 1);
        words = too_long;
    }
    const char *const arguments[] = {program, "next", words, ""};
    const char *const environment[] = {"CRASH_TEST=yes"};
    const char *const files[] = {"/", file};
    const int inherited[] = {RECORD, INHERITED};
    const int untouched[] = {19, INHERITED, UNTOUCHED, 24};
    struct dorrit_crash_plan plan = {
        .program = program,
        .arguments = arguments,
        .argument_count = 4,
        .environment = environment,
        .environment_count = 1,
        .directory = directory,
        .umask = 027,
        .files = files,
        .file_count = 2,
        .inherited = inherited,
        .inherited_count = 2,
        .untouched = untouched,
        .untouched_count = strcmp(way, "nothing-untouched") == 0 ? 0 : 4,
        .record = RECORD,
        .report = STDERR_FILENO,
        .prefix = "prefix: ",
    };
    sigemptyset(&plan.ignored);
    sigaddset(&plan.ignored, SIGUSR2);
    sigemptyset(&plan.held);
    sigaddset(&plan.held, SIGTERM);
    require(dorrit_crash_arm(&plan) == 0, "arm");
    require(dorrit_crash_catch(SIGSEGV) == 0, "catch");
    require(dorrit_crash_catch(SIGABRT) == 0, "catch");
    require(dorrit_crash_use_stack() == 0, "stack");
}

int main(int count, char **arguments)
{
    (void)count;
    const char *way = arguments[1];
    if (strcmp(way, "next") == 0) {
        return say(arguments + 1);
    }
    /* Relative names belong to the directory that the next image runs in. */
    const char *program = arguments[0];
    if (strncmp(way, "program ", 8) == 0) {
        program = way + 8;
    }
    const char *directory = strcmp(way, "no-directory") == 0 ? "/nowhere" : "/etc";
    const char *file = strcmp(way, "no-file") == 0 ? "nowhere" : "passwd";
    const struct rlimit none = {0};
    setrlimit(RLIMIT_CORE, &none);
    printf("pid %d\n", (int)getpid());
    fflush(stdout);
    arrange();
    if (strcmp(way, "record-never") == 0) {
        close(RECORD);
    }
    arm(program, directory, strcmp(way, "no-directory") == 0 ? "/etc/passwd" : file, way);
    if (strcmp(way, "disarmed") == 0) {
        dorrit_crash_disarm();
    } else if (strcmp(way, "record-closed") == 0) {
        dup2(STDOUT_FILENO, RECORD);
    } else if (strcmp(way, "record-gone") == 0) {
        close(RECORD);
    } else if (strcmp(way, "record-for-reading") == 0) {
        char name[64];
        snprintf(name, sizeof name, "/proc/self/fd/%d", RECORD);
        require(dup2(open(name, O_RDONLY), RECORD) == RECORD, "reopen");
    } else if (strcmp(way, "armed-again") == 0) {
        dorrit_crash_disarm();
        arm(program, directory, file, way);
    } else if (strcmp(way, "inherited-gone") == 0) {
        close(INHERITED);
    }
    if (strncmp(way, "replace", 7) == 0) {
        replace(way);
        return 97;
    }
    if (strcmp(way, "close-on-exec") == 0) {
        say_descriptors();
        return 0;
    }
    if (strcmp(way, "abort") == 0) {
        abort();
    } else if (strcmp(way, "stack") == 0) {
        descend(0);
    } else if (strcmp(way, "threads") == 0) {
        crash_in_threads();
    } else if (strcmp(way, "stack-of-thread") == 0) {
        crash_in_thread_by_overflow();
    } else if (strcmp(way, "child") == 0) {
        crash_in_child();
        return 0;
    }
    *nowhere = 1;
    return 98;
}
