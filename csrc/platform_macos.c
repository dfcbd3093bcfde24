/* The platform contract on macOS 10.15 and newer: POSIX shared memory, waiting on addresses, Unix stream sockets, kqueue.
 *
 * Written from the documented behaviour of each call, and compiled and linked for both processors; it has never run. Where macOS promises
 * less than the contract asks for, it says below what stands in. */
#include "platform.h"

#ifdef __APPLE__

#include "platform_posix.h"

#include <libproc.h>
#include <limits.h>
#include <mach/mach.h>
#include <mach/vm_page_size.h>
#include <sys/event.h>

/* ---- Time and processor ---- */

/* As Linux's monotonic clock it stands still while the machine sleeps. */
int64_t ferry__platform_now_ns(void) { return (int64_t)clock_gettime_nsec_np(CLOCK_UPTIME_RAW); }

/* Unknown: no public call tells. */
uint32_t ferry__platform_processor(void) { return 0; }

/* ---- Sleeping ---- */

/* macOS 14.4 has made public what its C++ library had used for years. A build for it and newer systems uses the public names, others the
 * private ones. Both key a shared word by the memory behind it, and the former is built on the latter, so that processes of either kind
 * wake each other; should they once not, sleeps are short slices, and the word is looked at after each. The declarations stand here because
 * the first are missing from older development kits, and the second from all. */
#ifdef __cplusplus
extern "C" {
#endif
#if __MAC_OS_X_VERSION_MIN_REQUIRED >= 140400
int os_sync_wait_on_address_with_timeout(void *word, uint64_t value, size_t bytes, uint32_t flags, uint32_t clock, uint64_t timeout_ns);
int os_sync_wake_by_address_all(void *word, size_t bytes, uint32_t flags);
#else
int __ulock_wait(uint32_t operation, void *word, uint64_t value, uint32_t timeout_us);
int __ulock_wake(uint32_t operation, void *word, uint64_t value);
#endif
#ifdef __cplusplus
}
#endif

#if __MAC_OS_X_VERSION_MIN_REQUIRED >= 140400

enum { FERRY__SHARED = 1, FERRY__MACH_CLOCK = 32 }; /* OS_SYNC_WAIT_ON_ADDRESS_SHARED (also to wake), OS_CLOCK_MACH_ABSOLUTE_TIME */

void ferry__platform_sleep(ferry__os memory, const uint32_t *word, uint32_t value, int64_t timeout_ns) {
    (void)memory;
    if (timeout_ns > 0) /* 0 would be an error */
        (void)os_sync_wait_on_address_with_timeout((void *)(uintptr_t)word, value, sizeof *word, FERRY__SHARED, FERRY__MACH_CLOCK,
                                                   (uint64_t)timeout_ns);
}

void ferry__platform_wake(ferry__os memory, const uint32_t *word) {
    (void)memory;
    (void)os_sync_wake_by_address_all((void *)(uintptr_t)word, sizeof *word, FERRY__SHARED);
}

#else

enum { FERRY__COMPARE_AND_WAIT_SHARED = 3, FERRY__WAKE_ALL = 0x100 }; /* UL_COMPARE_AND_WAIT_SHARED, ULF_WAKE_ALL */

void ferry__platform_sleep(ferry__os memory, const uint32_t *word, uint32_t value, int64_t timeout_ns) {
    const int64_t most = INT32_MAX; /* microseconds: it may return early */
    (void)memory;
    if (timeout_ns > 0) /* 0 would be for ever, hence also the rounding up */
        (void)__ulock_wait(FERRY__COMPARE_AND_WAIT_SHARED, (void *)(uintptr_t)word, value,
                           (uint32_t)(timeout_ns / 1000 < most ? timeout_ns / 1000 + 1 : most));
}

void ferry__platform_wake(ferry__os memory, const uint32_t *word) {
    (void)memory;
    (void)__ulock_wake(FERRY__COMPARE_AND_WAIT_SHARED | FERRY__WAKE_ALL, (void *)(uintptr_t)word, 0);
}

#endif

/* ---- Memory ---- */

/* What is free or could be at once; the compressor and swap files could give more. */
uint64_t ferry__platform_memory_available(void) {
    vm_statistics64_data_t seen;
    mach_msg_type_number_t count = HOST_VM_INFO64_COUNT;
    mach_port_t host = mach_host_self();
    kern_return_t got = host_statistics64(host, HOST_VM_INFO64, (host_info64_t)&seen, &count);
    mach_port_deallocate(mach_task_self(), host);
    if (got != KERN_SUCCESS) return UINT64_MAX;
    return ((uint64_t)seen.free_count + seen.inactive_count) * vm_kernel_page_size;
}

/* A nameless object of so many bytes: its name is random, and gone before anybody is told of the descriptor. Also opens it for reading
 * alone, if wanted. */
static int ferry__open_memory(uint64_t bytes, int *read_only, ferry_why *why) {
    char name[32]; /* at most 31 are possible */
    int fd = -1, err = 0, tries;
    for (tries = 0; fd < 0 && tries < 8; tries++) {
        snprintf(name, sizeof name, "/ferry-%08x%08x", (unsigned)arc4random(), (unsigned)arc4random());
        fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
        if (fd < 0 && errno != EEXIST) break;
    }
    if (fd < 0) return ferry__fail(why, FERRY_ESYSTEM, "shm_open failed: %s", strerror(errno));
    if (read_only != NULL && (*read_only = shm_open(name, O_RDONLY, 0)) < 0) err = errno;
    shm_unlink(name);
    if (err == 0 && (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 || (read_only != NULL && fcntl(*read_only, F_SETFD, FD_CLOEXEC) != 0)))
        err = errno;
    /* Such an object takes its size once; that is what seals it. Its pages are zero, and made when they are touched: nothing here reserves
     * memory, so that ferry__region_allowed is all that stands before a machine that runs out of it. */
    if (err == 0 && ftruncate(fd, (off_t)bytes) != 0) err = errno;
    if (err == 0) return fd;
    close(fd);
    if (read_only != NULL && *read_only >= 0) close(*read_only);
    return ferry__fail(why, FERRY_ENOMEM, "could not make %llu bytes of shared memory: %s", (unsigned long long)bytes, strerror(err));
}

int ferry__platform_memory_create(uint64_t bytes, ferry__os *out, ferry_why *why) {
    int fd = ferry__open_memory(bytes, NULL, why);
    *out = fd >= 0 ? (ferry__os)fd : FERRY__NO_OS;
    return fd >= 0 ? 0 : why->code;
}

int ferry__platform_memory_freeze(const void *data, uint64_t bytes, ferry__os *out, ferry_why *why) {
    int read_only = -1, fd = ferry__open_memory(bytes, &read_only, why);
    void *to;
    *out = FERRY__NO_OS;
    if (fd < 0) return why->code;
    to = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (to == MAP_FAILED) {
        ferry__fail(why, FERRY_ENOMEM, "could not map %llu bytes of shared memory: %s", (unsigned long long)bytes, strerror(errno));
        close(fd);
        close(read_only);
        return why->code;
    }
    memcpy(to, data, (size_t)bytes);
    munmap(to, (size_t)bytes);
    close(fd);
    *out = read_only;
    return 0;
}

/* Without a name, only those can map it whom a side has given a descriptor, and the agent closes its own. */
void ferry__platform_memory_seal(ferry__os memory) { (void)memory; }

/* That nobody can change frozen content cannot be known here: ferry__platform_memory_map makes it so. */
int ferry__platform_memory_check(ferry__os memory, uint64_t bytes, int frozen, ferry_why *why) {
    struct pshm_fdinfo object;
    struct stat info;
    uint64_t size, page = vm_page_size;
    (void)frozen;
    if (proc_pidfdinfo(getpid(), (int)memory, PROC_PIDFDPSHMINFO, &object, sizeof object) != (int)sizeof object ||
        fstat((int)memory, &info) != 0)
        return ferry__fail(why, FERRY_EPROTOCOL, "the peer's descriptor is not shared memory");
    size = (uint64_t)info.st_size; /* in whole pages of this system */
    if (size < bytes || size - bytes >= page)
        return ferry__fail(why, FERRY_EPROTOCOL, "the peer's memory has %llu bytes where it said %llu", (unsigned long long)size,
                           (unsigned long long)bytes);
    return 0;
}

static void *ferry__map(int fd, uint64_t bytes, int protection, int flags) {
    errno = ENOMEM;
    return (uint64_t)(size_t)bytes == bytes ? mmap(NULL, (size_t)bytes, protection, flags, fd, 0) : MAP_FAILED;
}

/* For reading alone is for content that nobody may change: that is a copy, because the peer may have kept a way to write. */
int ferry__platform_memory_map(ferry__os memory, uint64_t bytes, int mapping, void **out, ferry_why *why) {
    void *start = ferry__map((int)memory, bytes, mapping == FERRY__MAP_WRITABLE ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED),
         *copy = MAP_FAILED;
    *out = NULL;
    if (start != MAP_FAILED && mapping == FERRY__MAP_FROZEN) {
        copy = ferry__map(-1, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON);
        if (copy != MAP_FAILED) memcpy(copy, start, (size_t)bytes);
        munmap(start, (size_t)bytes);
        start = copy;
    }
    if (start == MAP_FAILED)
        return ferry__fail(why, FERRY_ENOMEM, "could not map %llu bytes of shared memory: %s", (unsigned long long)bytes, strerror(errno));
    *out = start;
    return 0;
}

/* No page is cleared on fork here. The word is the process id, which the C library knows without a system call. */
int ferry__platform_canary_create(uint32_t **out, ferry_why *why) {
    *out = (uint32_t *)malloc(sizeof **out);
    if (*out == NULL) return ferry__no_memory(why);
    **out = ferry__platform_pid();
    return 0;
}

int ferry__platform_canary_is_mine(const uint32_t *canary) { return *canary == ferry__platform_pid(); }

void ferry__platform_canary_destroy(uint32_t *canary) { free(canary); }

/* ---- Places and control streams: what differs from other systems with Unix sockets ---- */

/* Not at one stroke with the socket: what another thread starts in between inherits it, and a peer that has died then seems to live until its
 * process is found to have ended. */
static int ferry__stream_tame(int fd) {
    const int yes = 1;
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 || fcntl(fd, F_SETFL, O_NONBLOCK) != 0) return -1;
    return setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &yes, sizeof yes);
}

static int ferry__stream_socket(void) {
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0 || ferry__stream_tame(fd) == 0) return fd;
    close(fd);
    return -1;
}

static int ferry__stream_accept(int listener) {
    int fd = accept(listener, NULL, NULL);
    if (fd < 0 || ferry__stream_tame(fd) == 0) return fd;
    close(fd);
    errno = ECONNABORTED; /* a socket whose peer has left already takes no options */
    return -1;
}

/* Nobody can connect before it listens, so that the mode comes in time. */
static int ferry__bind_private(int fd, const struct sockaddr_un *address) {
    return bind(fd, (const struct sockaddr *)address, sizeof *address) == 0 ? chmod(address->sun_path, 0600) : -1;
}

static int ferry__poll(struct pollfd *polled, uint32_t count, int64_t timeout_ns) {
    const int64_t most = INT_MAX;
    int64_t ms = timeout_ns > 0 ? timeout_ns / 1000000 + (timeout_ns % 1000000 != 0) : 0;
    return poll(polled, count, (int)(ms < most ? ms : most));
}

/* No path leads to another process's memory here: the channel works, and cannot be looked at. */
void ferry__platform_show(const ferry__listener *listener, ferry__os memory) { (void)listener, (void)memory; }

int ferry__platform_peer(ferry__os stream, uint32_t *pid, ferry_why *why) {
    pid_t peer = 0;
    socklen_t size = sizeof peer;
    uid_t user;
    gid_t group;
    *pid = 0;
    if (getpeereid((int)stream, &user, &group) != 0)
        return ferry__fail(why, FERRY_ESYSTEM, "the peer's user is not known: %s", strerror(errno));
    if (getsockopt((int)stream, SOL_LOCAL, LOCAL_PEERPID, &peer, &size) == 0 && peer > 0) *pid = (uint32_t)peer;
    return ferry__peer_may(user, *pid, why);
}

/* Polls ready from the end of the process on, since nobody takes the event out. */
ferry__os ferry__platform_watch(ferry__os stream, uint32_t pid) {
    struct kevent event;
    int queue = pid != 0 ? kqueue() : -1;
    (void)stream;
    if (queue < 0) return FERRY__NO_OS;
    EV_SET(&event, pid, EVFILT_PROC, EV_ADD, NOTE_EXIT, 0, NULL);
    if (fcntl(queue, F_SETFD, FD_CLOEXEC) == 0 && kevent(queue, &event, 1, NULL, 0, NULL) == 0) return queue;
    close(queue);
    return FERRY__NO_OS;
}

#endif
