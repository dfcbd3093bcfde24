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

void ferry__platform_fetch(uint32_t pid) { (void)pid; } /* nor moves anybody */

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

enum { FERRY__SHARED = 1, FERRY__MACH_CLOCK = 32 }; /* OS_SYNC_WAIT_ON_ADDRESS_SHARED (also to wake), OS_CLOCK_MACH_ABSOLUTE_TIME */
enum { FERRY__COMPARE_AND_WAIT_SHARED = 3, FERRY__WAKE_ALL = 0x100 }; /* UL_COMPARE_AND_WAIT_SHARED, ULF_WAKE_ALL */

void ferry__platform_sleep(ferry__os memory, const uint32_t *word, uint32_t value, int64_t timeout_ns) {
    void *at = (void *)(uintptr_t)word;
    (void)memory;
    if (timeout_ns <= 0) return; /* it would be an error, or for ever; hence also the rounding up */
#if __MAC_OS_X_VERSION_MIN_REQUIRED >= 140400
    (void)os_sync_wait_on_address_with_timeout(at, value, sizeof *word, FERRY__SHARED, FERRY__MACH_CLOCK, (uint64_t)timeout_ns);
#else
    if (timeout_ns > INT32_MAX) timeout_ns = INT32_MAX; /* two seconds: it may return early */
    (void)__ulock_wait(FERRY__COMPARE_AND_WAIT_SHARED, at, value, (uint32_t)(timeout_ns / 1000 + 1));
#endif
}

void ferry__platform_wake(ferry__os memory, const uint32_t *word) {
    void *at = (void *)(uintptr_t)word;
    (void)memory;
#if __MAC_OS_X_VERSION_MIN_REQUIRED >= 140400
    (void)os_sync_wake_by_address_all(at, sizeof *word, FERRY__SHARED);
#else
    (void)__ulock_wake(FERRY__COMPARE_AND_WAIT_SHARED | FERRY__WAKE_ALL, at, 0);
#endif
}

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

/* A nameless object: its name is random, and gone before anybody is told of the descriptor. Such an object takes its size once; that is what
 * seals it. Its pages are zero, and made when they are touched: nothing here reserves memory, so that ferry__region_allowed is all that
 * stands before a machine that runs out of it. */
ferry__os ferry__memory_make(uint64_t bytes) {
    char name[32]; /* at most 31 are possible */
    int fd = -1, tries;
    for (tries = 0; fd < 0 && tries < 8; tries++) {
        snprintf(name, sizeof name, "/ferry-%08x%08x", (unsigned)arc4random(), (unsigned)arc4random());
        fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
        if (fd < 0 && errno != EEXIST) break;
    }
    if (fd < 0) return FERRY__NO_OS;
    shm_unlink(name);
    return fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 && ftruncate(fd, (off_t)bytes) == 0 ? fd : ferry__drop(fd);
}

/* That nobody can change frozen content cannot be known here: ferry__platform_memory_map makes it so. */
int ferry__platform_memory_check(ferry__os memory, uint64_t bytes, int frozen, ferry_why *why) {
    struct pshm_fdinfo object;
    struct stat info;
    (void)frozen;
    if (proc_pidfdinfo(getpid(), (int)memory, PROC_PIDFDPSHMINFO, &object, sizeof object) != (int)sizeof object ||
        fstat((int)memory, &info) != 0)
        return ferry__fail(why, FERRY_EPROTOCOL, "the peer's descriptor is not shared memory");
    return ferry__check_bytes((uint64_t)info.st_size, bytes, vm_page_size, why);
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

static int ferry__poll(struct pollfd *polled, uint32_t count, int64_t timeout_ns) {
    const int64_t most = INT_MAX;
    int64_t ms = timeout_ns > 0 ? timeout_ns / 1000000 + (timeout_ns % 1000000 != 0) : 0;
    return poll(polled, count, (int)(ms < most ? ms : most));
}

static int ferry__credentials(int stream, uid_t *user, uint32_t *pid) {
    pid_t peer;
    socklen_t size = sizeof peer;
    gid_t group;
    if (getsockopt(stream, SOL_LOCAL, LOCAL_PEERPID, &peer, &size) == 0 && peer > 0) *pid = (uint32_t)peer;
    return getpeereid(stream, user, &group);
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
