/* What every benchmark here needs: a clock, pinning, quantiles, a mapping shared over fork, a watchdog. Linux, C99. */
#ifndef FERRY_BENCH_H
#define FERRY_BENCH_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BENCH_NS_PER_S 1000000000u

__attribute__((noreturn, format(printf, 1, 2))) static inline void bench_die(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

static inline uint64_t bench_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * BENCH_NS_PER_S + (uint64_t)t.tv_nsec;
}

/* Ties the calling process to one CPU; a negative one leaves the choice to the kernel. */
static inline void bench_pin(int cpu) {
    cpu_set_t set;
    if (cpu < 0) return;
    CPU_ZERO(&set);
    CPU_SET((unsigned)cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) < 0) bench_die("cannot pin to CPU %d: %s", cpu, strerror(errno));
}

/* Memory that this process and its children share. Ends with them. */
static inline void *bench_shared(size_t size_bytes) {
    void *memory = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED) bench_die("cannot map %zu bytes: %s", size_bytes, strerror(errno));
    return memory;
}

static inline void *bench_alloc(size_t size_bytes) {
    void *memory = NULL;
    if (posix_memalign(&memory, 4096, size_bytes ? size_bytes : 1) != 0) bench_die("out of memory");
    memset(memory, 0, size_bytes);
    return memory;
}

/* Makes a directory for addresses, in $TMPDIR or /tmp. */
static inline void bench_make_directory(char path[64]) {
    const char *parent = getenv("TMPDIR");
    int length = snprintf(path, 64, "%s/ferry-bench-XXXXXX", parent && *parent ? parent : "/tmp");
    if (length < 0 || length >= 64 || !mkdtemp(path)) bench_die("cannot make %s: %s", path, strerror(errno));
}

/* fork(); the child dies with its parent, and both die after limit_s, so that a lost wake-up cannot leave them behind.
 */
static inline pid_t bench_fork(unsigned limit_s) {
    pid_t parent = getpid(), pid;
    fflush(NULL);
    pid = fork();
    if (pid < 0) bench_die("cannot fork: %s", strerror(errno));
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) _exit(1);
    }
    alarm(limit_s);
    return pid;
}

/* Reaps a child that must have succeeded. */
static inline void bench_join(pid_t pid) {
    int status;
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0) bench_die("the other process failed");
}

static inline int bench_ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static inline void bench_sort(double *values, size_t count) { qsort(values, count, sizeof *values, bench_ascending); }

/* Of sorted values; the nearest rank, so that a p99.9 is a time that was really seen. */
static inline double bench_quantile(const double *sorted, size_t count, double q) {
    size_t rank = (size_t)(q * (double)(count - 1) + 0.5);
    return sorted[rank];
}

static inline double bench_median(double *values, size_t count) {
    bench_sort(values, count);
    return bench_quantile(values, count, 0.5);
}

/* What one reading of the clock costs: it is inside every time that was taken of a single round trip. */
static inline double bench_clock_cost_ns(void) {
    enum { READINGS = 100000 };
    uint64_t start = bench_now_ns(), last = start;
    for (int i = 0; i < READINGS; i++) last = bench_now_ns();
    return (double)(last - start) / READINGS;
}

/* "A,B" into two CPUs; -1 leaves one unpinned. */
static inline void bench_parse_cpus(const char *text, int cpus[2]) {
    if (sscanf(text, "%d,%d", &cpus[0], &cpus[1]) != 2) bench_die("--cpus wants two numbers, as in 0,1; not '%s'", text);
}

static inline uint64_t bench_parse_count(const char *option, const char *text) {
    char *end;
    unsigned long long value;
    errno = 0;
    value = strtoull(text, &end, 10);
    if (end == text || *end || errno || *text == '-' || value > UINT32_MAX) bench_die("%s wants a number, not '%s'", option, text);
    return value;
}

#endif /* FERRY_BENCH_H */
