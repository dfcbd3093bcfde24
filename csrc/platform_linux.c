/* The platform contract on Linux: memfd and seals, futex, Unix stream sockets, pidfd. Needs 4.18; uses SO_PEERPIDFD where it is. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64 /* see libferry.c */
#endif

#include "platform.h"

#include "errors.h"
#include "layout.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/memfd.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

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

void ferry__platform_yield(void) { sched_yield(); }

uint32_t ferry__platform_pid(void) { return (uint32_t)getpid(); }

int ferry__platform_variable(const char *name, char *out, uint32_t out_bytes) {
    const char *text = getenv(name);
    *out = 0;
    if (text == NULL || *text == 0) return 0;
    if (strlen(text) < out_bytes) strcpy(out, text);
    else memset(out, '?', out_bytes - 1), out[out_bytes - 1] = 0;
    return 1;
}

uint32_t ferry__platform_processor(void) { return (uint32_t)(sched_getcpu() + 1); }

void ferry__platform_move(uint32_t processor) {
    cpu_set_t allowed, one;
    if (processor == 0 || processor > CPU_SETSIZE || sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
    if (!CPU_ISSET(processor - 1, &allowed)) return;
    CPU_ZERO(&one);
    CPU_SET(processor - 1, &one);
    if (sched_setaffinity(0, sizeof one, &one) == 0) (void)sched_setaffinity(0, sizeof allowed, &allowed);
}

static struct timespec ferry__timespec(int64_t ns) {
    struct timespec time;
    time.tv_sec = (time_t)(ns / 1000000000);
    time.tv_nsec = (long)(ns % 1000000000);
    return time;
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
    size_t got;
    FILE *file = fopen(path, "re");
    if (file == NULL) return UINT64_MAX;
    got = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[got] = 0;
    at = strstr(text, key);
    if (at == NULL) return UINT64_MAX;
    at += strlen(key);
    while (*at == ' ') at++;
    return *at >= '0' && *at <= '9' ? strtoull(at, NULL, 10) : UINT64_MAX;
}

static uint64_t ferry__left_in_group(const char *directory, const char *limit_file, const char *usage_file) {
    char path[4096 + 64];
    uint64_t limit, used;
    snprintf(path, sizeof path, "%s/%s", directory, limit_file);
    limit = ferry__number_in(path, "");
    snprintf(path, sizeof path, "%s/%s", directory, usage_file);
    used = ferry__number_in(path, "");
    if (limit == UINT64_MAX || used == UINT64_MAX) return UINT64_MAX;
    return limit > used ? limit - used : 0;
}

uint64_t ferry__platform_memory_available(void) {
    uint64_t least = ferry__number_in("/proc/meminfo", "MemAvailable:"), left;
    char line[4096], directory[4096 + 32];
    FILE *groups;
    least = least > UINT64_MAX / 1024 ? UINT64_MAX : least * 1024;
    left = ferry__left_in_group("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes");
    if (left < least) least = left;
    groups = fopen("/proc/self/cgroup", "re");
    if (groups == NULL) return least;
    while (fgets(line, sizeof line, groups) != NULL) {
        if (strncmp(line, "0::/", 4) != 0) continue; /* version 2 has this one line; every level above may set a limit too */
        line[strcspn(line, "\n")] = 0;
        snprintf(directory, sizeof directory, "/sys/fs/cgroup%s", line + 3);
        while (strlen(directory) >= strlen("/sys/fs/cgroup")) {
            left = ferry__left_in_group(directory, "memory.max", "memory.current");
            if (left < least) least = left;
            *strrchr(directory, '/') = 0;
        }
    }
    fclose(groups);
    return least;
}

int ferry__platform_memory_create(uint64_t bytes, ferry__os *out, ferry_why *why) {
    uint64_t at, step = (uint64_t)4 << 20;
    int fd = (int)syscall(SYS_memfd_create, "ferry", MFD_CLOEXEC | MFD_ALLOW_SEALING), err = 0;
    *out = FERRY__NO_OS;
    if (fd < 0) return ferry__fail(why, FERRY_ESYSTEM, "memfd_create failed: %s", strerror(errno));
    if ((uint64_t)(off_t)bytes != bytes || (off_t)bytes < 0) err = EFBIG;
    /* Step by step: up to Linux 6.8 a signal undid all that one call had reserved. */
    for (at = 0; err == 0 && at < bytes; at += step) {
        if (step > bytes - at) step = bytes - at;
        do err = posix_fallocate(fd, (off_t)at, (off_t)step);
        while (err == EINTR);
    }
    if (err == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0) err = errno;
    if (err != 0) {
        close(fd);
        return ferry__fail(why, FERRY_ENOMEM, "could not reserve %llu bytes of shared memory: %s", (unsigned long long)bytes,
                           strerror(err));
    }
    *out = fd;
    return 0;
}

int ferry__platform_memory_freeze(const void *data, uint64_t bytes, ferry__os *out, ferry_why *why) {
    const char *at = (const char *)data;
    uint64_t left = bytes;
    int fd;
    if (ferry__platform_memory_create(bytes, out, why) < 0) return why->code;
    fd = (int)*out;
    while (left > 0) {
        ssize_t done = write(fd, at, left < (1u << 30) ? (size_t)left : (size_t)(1u << 30));
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) break;
        at += done, left -= (uint64_t)done;
    }
    if (left == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SEAL) == 0) return 0;
    ferry__fail(why, FERRY_ESYSTEM, "could not write %llu bytes of shared memory: %s", (unsigned long long)bytes, strerror(errno));
    close(fd);
    *out = FERRY__NO_OS;
    return why->code;
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
    if ((uint64_t)info.st_size != bytes)
        return ferry__fail(why, FERRY_EPROTOCOL, "the peer's memory has %llu bytes where it said %llu", (unsigned long long)info.st_size,
                           (unsigned long long)bytes);
    return 0;
}

int ferry__platform_memory_map(ferry__os memory, uint64_t bytes, int writable, void **out, ferry_why *why) {
    void *start = MAP_FAILED;
    *out = NULL;
    errno = ENOMEM;
    if ((uint64_t)(size_t)bytes == bytes)
        start = mmap(NULL, (size_t)bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, (int)memory, 0);
    if (start == MAP_FAILED)
        return ferry__fail(why, FERRY_ENOMEM, "could not map %llu bytes of shared memory: %s", (unsigned long long)bytes, strerror(errno));
    *out = start;
    return 0;
}

void ferry__platform_memory_settle(ferry__os *memory) {
    ferry__platform_close(*memory);
    *memory = FERRY__NO_OS;
}

int ferry__platform_memory_protect(void *start, uint64_t bytes, ferry_why *why) {
    /* The kernel would round up. */
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), whole = bytes - bytes % page;
    if (whole == 0 || mprotect(start, (size_t)whole, PROT_READ) == 0) return 0;
    return ferry__fail(why, FERRY_ESYSTEM, "mprotect failed: %s", strerror(errno));
}

void ferry__platform_memory_unmap(void *start, uint64_t bytes) { munmap(start, (size_t)bytes); }

int ferry__platform_canary_create(uint32_t **out, ferry_why *why) {
    void *page = mmap(NULL, FERRY__PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *out = NULL;
    if (page == MAP_FAILED) return ferry__fail(why, FERRY_ENOMEM, "could not map a page: %s", strerror(errno));
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

/* ---- Places ---- */

int ferry__platform_is_path(const char *text) { return text[0] == '/'; }

/* Candidates: the variable alone, if it is set; else the session's directory and /tmp. */
int ferry__platform_directory(int i, int make, char *out, uint32_t out_bytes, ferry_why *why) {
    const char *named = getenv("FERRY_RUNTIME_DIR"), *session = getenv("XDG_RUNTIME_DIR");
    int has_named = named != NULL && *named != 0, has_session = session != NULL && *session == '/';
    struct stat info;
    int length;
    if (i >= (has_named ? 1 : 1 + has_session)) return 0;
    if (has_named) length = snprintf(out, out_bytes, "%s", named);
    else if (has_session && i == 0) length = snprintf(out, out_bytes, "%s/ferry", session);
    else length = snprintf(out, out_bytes, "/tmp/ferry-%lu", (unsigned long)geteuid());
    if (out[0] != '/')
        return ferry__fail(why, FERRY_EADDRESS,
                           "the directory '%s' is not absolute, so that others would not find it; set FERRY_RUNTIME_DIR to one that is",
                           out);
    /* A socket's path has 108 bytes; a name needs up to 42 of them. */
    if (length < 0 || (uint32_t)length >= out_bytes || length > 108 - 43)
        return ferry__fail(why, FERRY_EADDRESS,
                           "the directory '%s' has too long a path (65 bytes at most); set FERRY_RUNTIME_DIR to a shorter one", out);
    if (!make) return 1;
    if (mkdir(out, 0700) != 0 && errno != EEXIST)
        return ferry__fail(why, FERRY_EADDRESS, "could not make the directory '%s': %s; set FERRY_RUNTIME_DIR to one that you own", out,
                           strerror(errno));
    if (stat(out, &info) != 0 || !S_ISDIR(info.st_mode))
        return ferry__fail(why, FERRY_EADDRESS, "'%s' is not a directory; set FERRY_RUNTIME_DIR to one that you own", out);
    if (info.st_uid != geteuid())
        return ferry__fail(why, FERRY_EADDRESS,
                           "the directory '%s' belongs to user %lu, not to you (%lu); set FERRY_RUNTIME_DIR to one that you own", out,
                           (unsigned long)info.st_uid, (unsigned long)geteuid());
    if ((info.st_mode & 022) != 0)
        return ferry__fail(why, FERRY_EADDRESS,
                           "the directory '%s' can be written by others; run chmod 700 on it, or set FERRY_RUNTIME_DIR", out);
    return 1;
}

static int ferry__address_of(const char *path, struct sockaddr_un *out) {
    memset(out, 0, sizeof *out);
    out->sun_family = AF_UNIX;
    if (strlen(path) >= sizeof out->sun_path) return -1;
    strcpy(out->sun_path, path);
    return 0;
}

/* Connects a fresh non-blocking socket: the descriptor, or -errno. */
static int ferry__dial(const char *path) {
    struct sockaddr_un address;
    int fd, err;
    if (ferry__address_of(path, &address) != 0) return -ENAMETOOLONG;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -errno;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
    err = errno;
    close(fd);
    return -err;
}

/* Serialises check, unlink and bind among all who serve in a directory. A lock that a stopped process holds is not waited for long. */
static int ferry__lock_directory(const char *path) {
    char directory[128];
    struct timespec pause = ferry__timespec(1000000);
    char *slash;
    int fd, tries;
    snprintf(directory, sizeof directory, "%s", path);
    slash = strrchr(directory, '/');
    slash[slash == directory] = 0;
    fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return -1;
    for (tries = 0; tries < 1000; tries++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
        nanosleep(&pause, NULL);
    }
    close(fd);
    errno = ETIMEDOUT;
    return -1;
}

/* The link beside a socket: no name begins with a dot. */
static int ferry__shown_path(const char *path, char *out, size_t out_bytes) {
    const char *base = strrchr(path, '/') + 1;
    return snprintf(out, out_bytes, "%.*s.%s.map", (int)(base - path), path, base) < (int)out_bytes ? 0 : -1;
}

/* Removes a link; whatever else has its name is somebody's own. */
static void ferry__remove_link(const char *path) {
    struct stat info;
    if (lstat(path, &info) == 0 && S_ISLNK(info.st_mode)) unlink(path);
}

/* Removes a name and the link beside it. */
static void ferry__remove_name(const char *path) {
    char link[512];
    unlink(path);
    if (ferry__shown_path(path, link, sizeof link) == 0) ferry__remove_link(link);
}

void ferry__platform_each_name(const char *directory, int (*is_name)(const char *), void (*each)(void *user, const char *name),
                               void *user) {
    DIR *entries = opendir(directory);
    struct dirent *entry;
    char path[512];
    if (entries == NULL) return;
    while ((entry = readdir(entries)) != NULL) {
        struct stat info;
        int fd, lock;
        if (!is_name(entry->d_name) || snprintf(path, sizeof path, "%s/%s", directory, entry->d_name) >= (int)sizeof path) continue;
        if (lstat(path, &info) != 0 || !S_ISSOCK(info.st_mode)) continue;
        fd = ferry__dial(path);
        if (fd >= 0 || fd == -EAGAIN) each(user, entry->d_name);
        if (fd >= 0) close(fd);
        if (fd != -ECONNREFUSED || (lock = ferry__lock_directory(path)) < 0) continue;
        fd = ferry__dial(path); /* again, now that nobody can take the name meanwhile */
        if (fd >= 0) close(fd);
        if (fd == -ECONNREFUSED) ferry__remove_name(path);
        close(lock);
    }
    closedir(entries);
}

/* ---- Control streams ---- */

int ferry__platform_listen(const char *path, ferry__listener *out, ferry_why *why) {
    struct sockaddr_un address;
    struct stat info;
    int lock = -1, fd = -1;
    out->os = FERRY__NO_OS;
    if (ferry__address_of(path, &address) != 0)
        return ferry__fail(why, FERRY_EADDRESS,
                           "the path '%s' is longer than a socket's may be (107 bytes); choose a shorter one, or a name", path);
    strcpy(out->path, path);
    lock = ferry__lock_directory(path);
    if (lock < 0) return ferry__fail(why, FERRY_EADDRESS, "could not lock the directory of '%s': %s", path, strerror(errno));
    if (lstat(path, &info) == 0) {
        int holder;
        if (!S_ISSOCK(info.st_mode)) {
            ferry__fail(why, FERRY_EADDRESS, "'%s' exists and is not a socket; choose another address", path);
            goto fail;
        }
        holder = ferry__dial(path);
        if (holder >= 0 || holder == -EAGAIN) {
            uint32_t pid = 0;
            ferry_why ignored;
            if (holder >= 0) ferry__platform_peer(holder, &pid, &ignored);
            ferry__fail(why, FERRY_EINUSE, "'%s' is already served by the process %u; choose another name, or end that one", path, pid);
            if (holder >= 0) close(holder);
            goto fail;
        }
        if (holder != -ECONNREFUSED) {
            ferry__fail(why, FERRY_EADDRESS, "'%s' cannot be taken: %s", path, strerror(-holder));
            goto fail;
        }
        ferry__remove_name(path);
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* The mode of an unbound socket becomes that of its path. */
    if (fd < 0 || fchmod(fd, 0600) != 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 64) != 0 ||
        lstat(path, &info) != 0) {
        ferry__fail(why, errno == EACCES || errno == ENOENT ? FERRY_EADDRESS : FERRY_ESYSTEM, "could not listen on '%s': %s", path,
                    strerror(errno));
        goto fail;
    }
    out->identity[0] = (uint64_t)info.st_dev, out->identity[1] = (uint64_t)info.st_ino;
    out->os = fd;
    close(lock);
    return 0;
fail:
    if (fd >= 0) close(fd);
    close(lock);
    return why->code;
}

void ferry__platform_unlisten(ferry__listener *listener, int owner) {
    struct stat info;
    int lock;
    if (listener->os == FERRY__NO_OS) return;
    if (owner && (lock = ferry__lock_directory(listener->path)) >= 0) {
        if (lstat(listener->path, &info) == 0 && (uint64_t)info.st_dev == listener->identity[0] &&
            (uint64_t)info.st_ino == listener->identity[1])
            ferry__remove_name(listener->path);
        close(lock);
    }
    close((int)listener->os);
    listener->os = FERRY__NO_OS;
}

void ferry__platform_show(const ferry__listener *listener, ferry__os memory) {
    char link[512], target[64];
    if (listener->os == FERRY__NO_OS || ferry__shown_path(listener->path, link, sizeof link) != 0) return;
    ferry__remove_link(link);
    snprintf(target, sizeof target, "/proc/%ld/fd/%ld", (long)getpid(), (long)memory);
    /* Should it fail, the channel works all the same; it cannot be looked at. */
    if (memory != FERRY__NO_OS && symlink(target, link) != 0) return;
}

int ferry__platform_accept(ferry__listener *listener, ferry__os *out, ferry_why *why) {
    int fd = accept4((int)listener->os, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    *out = FERRY__NO_OS;
    if (fd < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)) return 0;
    if (fd < 0) return ferry__fail(why, FERRY_ESYSTEM, "accept on '%s' failed: %s", listener->path, strerror(errno));
    *out = fd;
    return 1;
}

int ferry__platform_connect(const char *path, ferry__os *out, ferry_why *why) {
    int fd = ferry__dial(path);
    *out = FERRY__NO_OS;
    if (fd == -ENOENT || fd == -ECONNREFUSED || fd == -EAGAIN || fd == -ENOTDIR || fd == -EINTR) return 0;
    if (fd == -EACCES || fd == -EPERM || fd == -ENAMETOOLONG || fd == -EPROTOTYPE || fd == -ELOOP)
        return ferry__fail(why, FERRY_EADDRESS, "'%s' cannot be connected to: %s", path, strerror(-fd));
    if (fd < 0) return ferry__fail(why, FERRY_ESYSTEM, "connecting to '%s' failed: %s", path, strerror(-fd));
    *out = fd;
    return 1;
}

int ferry__platform_inherit(int64_t number, ferry__os *out, ferry_why *why) {
    int type = 0, domain = 0, fd = (int)number;
    socklen_t size = sizeof type;
    *out = FERRY__NO_OS;
    if (number < 0 || number > INT32_MAX || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_STREAM ||
        getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 || domain != AF_UNIX)
        return ferry__fail(why, FERRY_EADDRESS,
                           "descriptor %lld is not an inherited Unix stream socket; was it closed before Ferry was opened?",
                           (long long)number);
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 || fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
        return ferry__fail(why, FERRY_ESYSTEM, "fcntl on descriptor %d failed: %s", fd, strerror(errno));
    *out = fd;
    return 1;
}

int ferry__platform_peer(ferry__os stream, uint32_t *pid, ferry_why *why) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    *pid = 0;
    if (getsockopt((int)stream, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
        return ferry__fail(why, FERRY_ESYSTEM, "the peer's user is not known: %s", strerror(errno));
    *pid = peer.pid > 0 ? (uint32_t)peer.pid : 0;
    if (peer.uid != geteuid() && peer.uid != 0)
        return ferry__fail(why, FERRY_EADDRESS,
                           "the peer (pid %u) belongs to user %lu, not to you (%lu); Ferry joins processes of one user", *pid,
                           (unsigned long)peer.uid, (unsigned long)geteuid());
    return 0;
}

ferry__os ferry__platform_watch(ferry__os stream, uint32_t pid) {
    int fd = -1;
    socklen_t size = sizeof fd;
    if (stream != FERRY__NO_OS && getsockopt((int)stream, SOL_SOCKET, SO_PEERPIDFD, &fd, &size) == 0) return fd;
    if (pid != 0) fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
    return fd >= 0 ? (ferry__os)fd : FERRY__NO_OS;
}

int ferry__platform_send(ferry__os stream, const void *data, uint32_t bytes, ferry__os pass) {
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part;
    struct msghdr message;
    ssize_t sent;
    memset(&message, 0, sizeof message);
    memset(&control, 0, sizeof control);
    part.iov_base = (void *)(uintptr_t)data, part.iov_len = bytes;
    message.msg_iov = &part, message.msg_iovlen = 1;
    if (pass != FERRY__NO_OS) {
        int fd = (int)pass;
        struct cmsghdr *head;
        message.msg_control = control.bytes, message.msg_controllen = sizeof control.bytes;
        head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET, head->cmsg_type = SCM_RIGHTS, head->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(head), &fd, sizeof fd);
    }
    do sent = sendmsg((int)stream, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    return sent == (ssize_t)bytes ? 0 : FERRY_ECLOSED;
}

int ferry__platform_receive(ferry__os stream, void *data, uint32_t bytes, ferry__os *passed) {
    enum { MOST = 8 };
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(MOST * sizeof(int))];
    } control;
    struct iovec part;
    struct msghdr message;
    struct cmsghdr *head;
    ssize_t got;
    memset(&message, 0, sizeof message);
    part.iov_base = data, part.iov_len = bytes;
    message.msg_iov = &part, message.msg_iovlen = 1;
    message.msg_control = control.bytes, message.msg_controllen = sizeof control.bytes;
    do got = recvmsg((int)stream, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return 0;
    if (got == 0 || (got < 0 && (errno == ECONNRESET || errno == EPIPE))) return FERRY_ECLOSED;
    if (got < 0) return FERRY_ESYSTEM;
    for (head = CMSG_FIRSTHDR(&message); head != NULL; head = CMSG_NXTHDR(&message, head)) {
        size_t i, count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) continue;
        for (i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(head) + i * sizeof fd, sizeof fd);
            if (*passed == FERRY__NO_OS) *passed = fd;
            else close(fd);
        }
    }
    return (int)got;
}

uint32_t ferry__platform_poll(const ferry__os *handles, uint32_t count, int64_t timeout_ns) {
    struct pollfd polled[8];
    struct timespec timeout = ferry__timespec(timeout_ns);
    uint32_t i, mask = 0;
    for (i = 0; i < count; i++) {
        polled[i].fd = (int)handles[i]; /* poll passes over -1 */
        polled[i].events = POLLIN;
        polled[i].revents = 0;
    }
    if (ppoll(polled, count, &timeout, NULL) <= 0) return 0;
    for (i = 0; i < count; i++)
        if (polled[i].revents != 0) mask |= 1u << i;
    return mask;
}

void ferry__platform_close(ferry__os handle) {
    if (handle != FERRY__NO_OS) close((int)handle);
}
