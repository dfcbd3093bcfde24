/* Checks, children and a watchdog for test programs. Exit codes: 0 pass, 1 fail, 77 skip. */
#ifndef FERRY_TESTS_CHECK_H
#define FERRY_TESTS_CHECK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <libferry.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef _WIN32
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#endif
#ifdef FERRY_COVERAGE
#include <gcov.h>
#endif

#define SECOND INT64_C(1000000000)

#define CHECK(condition)                                                                                                                   \
    do {                                                                                                                                   \
        if (!(condition)) {                                                                                                                \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);                                                        \
            exit(1);                                                                                                                       \
        }                                                                                                                                  \
    } while (0)

#define CHECK_CONTAINS(text, part)                                                                                                         \
    do {                                                                                                                                   \
        if (strstr((text), (part)) == NULL) {                                                                                              \
            fprintf(stderr, "%s:%d: failed: \"%s\" does not contain \"%s\"\n", __FILE__, __LINE__, (text), (part));                        \
            exit(1);                                                                                                                       \
        }                                                                                                                                  \
    } while (0)

#ifdef _WIN32
#include "check_windows.h"
#else

static inline int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * SECOND + now.tv_nsec;
}

/* Open descriptors, and one more for looking. */
static inline int count_descriptors(void) {
    DIR *entries = opendir("/proc/self/fd");
    int count = 0;
    while (readdir(entries) != NULL) count++;
    closedir(entries);
    return count;
}

/* The directory of this test, and the process that it belongs to; 0: none. */
static char test_directory[64];
static pid_t test_owner;

static inline void remove_test_directory(void) {
    char command[128];
    if (getpid() != test_owner) return;
    test_owner = 0;
    snprintf(command, sizeof command, "rm -rf %s", test_directory);
    if (system(command) != 0) fprintf(stderr, "%s cannot be removed\n", test_directory);
}

/* Every test runs in a directory of its own, whose path takes up to 64 bytes, under a watchdog. It goes when the test does, also if it fails. */
static inline void begin_test(unsigned seconds, char *directory) {
    alarm(seconds);
    snprintf(directory, 64, "%.40s/ferry-test-XXXXXX", getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
    CHECK(mkdtemp(directory) != NULL);
    memcpy(test_directory, directory, sizeof test_directory);
    test_owner = getpid();
    CHECK(atexit(remove_test_directory) == 0);
    CHECK(setenv("FERRY_RUNTIME_DIR", directory, 1) == 0);
    unsetenv("FERRY_ADDRESS");
}

/* Fails if anything but dead names is left; removes the directory. */
static inline void end_test(const char *directory) {
    CHECK(strcmp(directory, test_directory) == 0);
    remove_test_directory();
    CHECK(access(directory, F_OK) != 0);
}

/* Runs body(argument) in a child that dies with this process; its exit code is body's. */
static inline pid_t start_child(int (*body)(void *), void *argument) {
    pid_t parent = getpid(), pid;
    fflush(NULL);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) _exit(1);
        alarm(60);
        exit(body(argument));
    }
    return pid;
}

/* As if killed. */
static inline void die(void) {
#ifdef FERRY_COVERAGE
    __gcov_dump(); /* what it has run counts all the same */
#endif
    kill(getpid(), SIGKILL);
}

/* Does a child read zeros where it was advised so? An emulator of another processor may take the advice and not follow it. */
static inline int pages_are_wiped_on_fork(void) {
    char *page = (char *)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pid_t child;
    int wiped;
    CHECK(page != MAP_FAILED && madvise(page, 4096, MADV_WIPEONFORK) == 0);
    *page = 1;
    fflush(NULL);
    child = fork();
    if (child == 0) _exit(*page);
    CHECK(waitpid(child, &wiped, 0) == child);
    munmap(page, 4096);
    return WIFEXITED(wiped) && WEXITSTATUS(wiped) == 0;
}

static inline int end_child(pid_t pid) {
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

#endif

/* A small environment: observation = {episode seed, steps so far, last action}, action a Discrete(5) from 10. */
enum { OBSERVATION, ACTION, SCORE, NUM_FIELDS };

static inline void small_fields(ferry_field fields[NUM_FIELDS]) {
    memset(fields, 0, NUM_FIELDS * sizeof *fields);
    fields[OBSERVATION].role = FERRY_OBSERVATION, fields[OBSERVATION].dtype = FERRY_F64;
    fields[OBSERVATION].ndim = 1, fields[OBSERVATION].shape[0] = 3;
    fields[ACTION].role = FERRY_ACTION, fields[ACTION].kind = FERRY_DISCRETE, fields[ACTION].n = 5, fields[ACTION].start = 10;
    fields[SCORE].role = FERRY_INFO, fields[SCORE].path = "score", fields[SCORE].dtype = FERRY_F32;
}

static inline ferry_env *open_small_env(const char *address, ferry_why *why) {
    ferry_field fields[NUM_FIELDS];
    ferry_env_desc desc;
    ferry_env *env;
    small_fields(fields);
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc, desc.address = address, desc.name = "small", desc.fields = fields, desc.num_fields = NUM_FIELDS;
    return ferry_env_open(&desc, &env, why) == 0 ? env : NULL;
}

static inline ferry_agent *open_agent(const char *address, ferry_why *why) {
    ferry_agent_desc desc;
    ferry_agent *agent;
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc, desc.address = address;
    return ferry_agent_open(&desc, &agent, why) == 0 ? agent : NULL;
}

/* One turn of the small environment. */
static inline void play_small_turn(ferry_env *env, const ferry_turn *turn) {
    double *observation = (double *)turn->data[OBSERVATION];
    static double seed, steps;
    double action = -1;
    if (turn->kind == FERRY_RESET) seed = (double)turn->seed[0], steps = 0;
    else steps++, action = (double)*(const int64_t *)turn->data[ACTION];
    observation[0] = seed, observation[1] = steps, observation[2] = action;
    turn->reward[0] = steps * 0.5;
    turn->truncated[0] = steps >= 1000;
    if (turn->kind == FERRY_STEP && (long)steps % 3 == 0) *(float *)turn->data[SCORE] = (float)steps, turn->present[SCORE][0] = 1;
    CHECK(ferry_env_reply(env) == 0);
}

/* Serves agents until *argument of them have left. */
static inline int serve_small(void *argument) {
    int left = *(int *)argument;
    ferry_why why;
    const ferry_turn *turn;
    ferry_env *env = open_small_env("small", &why);
    if (env == NULL) return fprintf(stderr, "%s\n", why.text), 1;
    while (left > 0 && ferry_env_wait(env, FERRY_FOREVER, &turn) > 0) {
        if (turn->kind == FERRY_LEFT) left--;
        else play_small_turn(env, turn);
    }
    ferry_env_close(env);
    return left;
}

static inline const ferry_turn *take_answer(ferry_agent *agent) {
    const ferry_turn *answer = NULL;
    int got = ferry_agent_wait(agent, 10 * SECOND, &answer);
    if (got != 1) {
        ferry_why why;
        ferry_agent_why(agent, &why);
        fprintf(stderr, "no answer: %d %s\n", got, why.text);
        exit(1);
    }
    return answer;
}

static inline const ferry_turn *reset(ferry_agent *agent, int64_t seed) {
    ferry_turn *turn = ferry_agent_turn(agent);
    CHECK(turn != NULL);
    turn->kind = FERRY_RESET, turn->seed[0] = seed;
    CHECK(ferry_agent_send(agent) == 0);
    return take_answer(agent);
}

static inline const ferry_turn *step(ferry_agent *agent, int64_t action) {
    ferry_turn *turn = ferry_agent_turn(agent);
    CHECK(turn != NULL);
    turn->kind = FERRY_STEP, *(int64_t *)turn->data[ACTION] = action;
    CHECK(ferry_agent_send(agent) == 0);
    return take_answer(agent);
}

#endif
