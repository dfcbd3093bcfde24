/* The platform contract on Linux: memfd and seals, futex, Unix stream sockets, pidfd. Needs 4.18; uses SO_PEERPIDFD where it is. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64 /* see libferry.c */
#endif

#include "platform_posix.h"

#include <linux/futex.h>
#include <linux/memfd.h>
#include <sys/syscall.h>

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

/* ---- Time and processor ---- */

int64_t ferry__platform_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

uint32_t ferry__platform_processor(void) { return (uint32_t)(sched_getcpu() + 1); }

void ferry__platform_fetch(uint32_t pid) {
    cpu_set_t all, one;
    const int here = sched_getcpu();
    if (pid == 0 || here < 0 || here >= CPU_SETSIZE || sched_getaffinity((pid_t)pid, sizeof all, &all) < 0 || !CPU_ISSET(here, &all))
        return;
    CPU_ZERO(&one);
    CPU_SET(here, &one);
    if (sched_setaffinity((pid_t)pid, sizeof one, &one) == 0) (void)sched_setaffinity((pid_t)pid, sizeof all, &all);
}

/* ---- Sleeping ---- */

/* The kernel's own struct for this call: on 32-bit systems a libc may have given struct timespec 64-bit seconds, which SYS_futex misreads. */
#ifdef SYS_futex
typedef struct ferry__futex_time {
    __kernel_long_t seconds, nanoseconds;
} ferry__futex_time;
#define FERRY__FUTEX SYS_futex
#else /* younger 32-bit processors know the newer call alone */
typedef struct ferry__futex_time {
    int64_t seconds, nanoseconds;
} ferry__futex_time;
#define FERRY__FUTEX SYS_futex_time64
#endif

/* Never FUTEX_PRIVATE_FLAG: the word is shared between processes. */
void ferry__platform_sleep(ferry__os memory, const uint32_t *word, uint32_t value, int64_t timeout_ns) {
    const int64_t seconds = timeout_ns / 1000000000;
    ferry__futex_time timeout;
    (void)memory;
    timeout.seconds = seconds < INT32_MAX ? (int32_t)seconds : INT32_MAX; /* sixty years; it may return early */
    timeout.nanoseconds = (int32_t)(timeout_ns % 1000000000);
    syscall(FERRY__FUTEX, word, FUTEX_WAIT, value, &timeout, NULL, 0);
}

void ferry__platform_wake(ferry__os memory, const uint32_t *word) {
    (void)memory;
    syscall(FERRY__FUTEX, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

/* ---- Memory ---- */

/* Reads the number that follows key (or begins the file, if key is ""); UINT64_MAX if there is none ("max" is none). */
static uint64_t ferry__number_in(const char *path, const char *key) {
    char text[4096];
    const char *at;
    unsigned long long number;
    size_t got;
    FILE *file = fopen(path, "re");
    if (file == NULL) return UINT64_MAX;
    got = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[got] = 0;
    at = strstr(text, key);
    return at != NULL && sscanf(at + strlen(key), "%llu", &number) == 1 ? number : UINT64_MAX;
}

/* Lowers least to what a control group leaves. */
static void ferry__heed_group(const char *directory, const char *limit_file, const char *usage_file, uint64_t *least) {
    char path[4096 + 64];
    uint64_t limit, used;
    snprintf(path, sizeof path, "%s/%s", directory, limit_file);
    limit = ferry__number_in(path, "");
    snprintf(path, sizeof path, "%s/%s", directory, usage_file);
    used = ferry__number_in(path, "");
    if (limit == UINT64_MAX || used == UINT64_MAX) return;
    if (limit < used) limit = used;
    if (limit - used < *least) *least = limit - used;
}

uint64_t ferry__platform_memory_available(void) {
    uint64_t least = ferry__number_in("/proc/meminfo", "MemAvailable:");
    char line[4096], directory[4096 + 32];
    FILE *groups;
    least = least > UINT64_MAX / 1024 ? UINT64_MAX : least * 1024;
    ferry__heed_group("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", &least);
    groups = fopen("/proc/self/cgroup", "re");
    if (groups == NULL) return least;
    while (fgets(line, sizeof line, groups) != NULL) {
        if (strncmp(line, "0::/", 4) != 0) continue; /* version 2 has this one line; every level above may set a limit too */
        line[strcspn(line, "\n")] = 0;
        snprintf(directory, sizeof directory, "/sys/fs/cgroup%s", line + 3);
        while (strlen(directory) >= strlen("/sys/fs/cgroup")) {
            ferry__heed_group(directory, "memory.max", "memory.current", &least);
            *strrchr(directory, '/') = 0;
        }
    }
    fclose(groups);
    return least;
}

ferry__os ferry__memory_make(uint64_t bytes) {
    uint64_t at, step = (uint64_t)4 << 20;
    int fd = (int)syscall(SYS_memfd_create, "ferry", MFD_CLOEXEC | MFD_ALLOW_SEALING), err = 0;
    if (fd < 0) return FERRY__NO_OS;
    /* Step by step: up to Linux 6.8 a signal undid all that one call had reserved. */
    for (at = 0; err == 0 && at < bytes; at += step) {
        if (step > bytes - at) step = bytes - at;
        do err = posix_fallocate(fd, (off_t)at, (off_t)step);
        while (err == EINTR);
    }
    if (err != 0) errno = err;
    return err == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0 ? fd : ferry__drop(fd);
}

/* Written, not mapped: that takes half the time. */
int ferry__memory_fill(ferry__os memory, const void *data, uint64_t bytes) {
    const char *at = (const char *)data;
    while (bytes > 0) {
        ssize_t done = write((int)memory, at, (size_t)bytes);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return -1;
        at += done, bytes -= (uint64_t)done;
    }
    return fcntl((int)memory, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SEAL);
}

void ferry__platform_memory_seal(ferry__os memory) {
    /* Kernels before 5.1 know no FUTURE_WRITE. Nothing relies on it: who gets the descriptor was checked before. */
    (void)fcntl((int)memory, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL);
}

int ferry__platform_memory_check(ferry__os memory, uint64_t bytes, int frozen, ferry_why *why) {
    struct stat info;
    int want = F_SEAL_SHRINK | F_SEAL_GROW | (frozen ? F_SEAL_WRITE : 0), seals = fcntl((int)memory, F_GET_SEALS);
    if (seals < 0 || fstat((int)memory, &info) != 0) return ferry__fail(why, FERRY_EPROTOCOL, "the peer's descriptor is not sealed memory");
    if ((seals & want) != want)
        return ferry__fail(why, FERRY_EPROTOCOL, "the peer's memory is not sealed (seals 0x%x, want 0x%x)", seals, want);
    return ferry__check_bytes((uint64_t)info.st_size, bytes, 1, why);
}

int ferry__platform_canary_create(uint32_t **out, ferry_why *why) {
    void *page = mmap(NULL, FERRY__PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *out = NULL;
    if (page == MAP_FAILED) return ferry__fail_os(why, FERRY_ENOMEM, "could not map a page");
    if (madvise(page, FERRY__PAGE, MADV_WIPEONFORK) != 0) {
        munmap(page, FERRY__PAGE);
        return ferry__fail(why, FERRY_ESYSTEM, "this kernel does not know MADV_WIPEONFORK (Linux 4.14 or newer is needed)");
    }
    *out = (uint32_t *)page;
    **out = 1;
    return 0;
}

void ferry__platform_canary_destroy(uint32_t *canary) {
    if (canary != NULL) munmap(canary, FERRY__PAGE);
}

/* ---- Places and control streams: what differs from other systems with Unix sockets ---- */

static int ferry__poll(struct pollfd *polled, uint32_t count, int64_t timeout_ns) {
    struct timespec timeout = ferry__timespec(timeout_ns);
    return ppoll(polled, count, &timeout, NULL);
}

void ferry__platform_show(const ferry__listener *listener, ferry__os memory) {
    char link[2 * FERRY__MOST_PATH], target[64];
    if (listener->os == FERRY__NO_OS) return;
    ferry__shown_path(listener->path, link);
    ferry__remove_link(link);
    snprintf(target, sizeof target, "/proc/%ld/fd/%ld", (long)getpid(), (long)memory);
    /* Should it fail, the channel works all the same; it cannot be looked at. */
    if (memory != FERRY__NO_OS && symlink(target, link) != 0) return;
}

static int ferry__credentials(int stream, uid_t *user, uint32_t *pid) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(stream, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return -1;
    *user = peer.uid, *pid = peer.pid > 0 ? (uint32_t)peer.pid : 0;
    return 0;
}

ferry__os ferry__platform_watch(ferry__os stream, uint32_t pid) {
    int fd;
    socklen_t size = sizeof fd;
    if (stream != FERRY__NO_OS && getsockopt((int)stream, SOL_SOCKET, SO_PEERPIDFD, &fd, &size) == 0) return fd;
    return pid != 0 ? (ferry__os)syscall(SYS_pidfd_open, (pid_t)pid, 0) : FERRY__NO_OS;
}
