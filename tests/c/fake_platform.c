/* A platform that fails on request: Linux's, with every function wrapped, and every function of the system that it calls; with them those
 * that give memory, wherever the library calls them (the linker is told to). Tests that are linked with it set the faults. */
#include "fake_platform.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
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

#define HOUR_NS INT64_C(3600000000000)

fake_faults fake;

/* Is this the call to be struck? */
static int strikes(const char *call, fake_fault fault) {
    if (fake.fault != fault) return 0;
    fake.calls++;
    if (fake.calls < fake.at || fake.calls - fake.at >= fake.times) return 0;
    if (fake.struck == NULL) fake.struck = call;
    return 1;
}

/* ---- The system below ---- */

static int system_fails(const char *call) {
    if (!strikes(call, FAKE_SYSTEM)) return 0;
    errno = fake.error;
    return 1;
}

static long fake_sysconf(int name) { return name == _SC_PAGESIZE && fake.page_bytes != 0 ? fake.page_bytes : sysconf(name); }

/* A kernel protects whole pages: those that the bytes touch. */
static int fake_mprotect(void *start, size_t bytes, int protection) {
    size_t page = (size_t)fake_sysconf(_SC_PAGESIZE);
    return mprotect(start, (bytes + page - 1) / page * page, protection);
}

static void *fake_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset) {
    void *start = mmap(at, bytes, protection, flags, fd, offset);
    fake.mappings += start != MAP_FAILED;
    return start;
}

static int fake_munmap(void *start, size_t bytes) {
    fake.mappings--;
    return munmap(start, bytes);
}

#define BELOW(name, failure, ...) (system_fails(#name) ? (failure) : name(__VA_ARGS__))
#define accept4(...) BELOW(accept4, -1, __VA_ARGS__)
#define bind(...) BELOW(bind, -1, __VA_ARGS__)
#define connect(...) BELOW(connect, -1, __VA_ARGS__)
#define chmod(...) BELOW(chmod, -1, __VA_ARGS__)
#define fcntl(...) BELOW(fcntl, -1, __VA_ARGS__)
#define flock(...) BELOW(flock, -1, __VA_ARGS__)
#define fopen(...) BELOW(fopen, NULL, __VA_ARGS__)
#define fstat(...) BELOW(fstat, -1, __VA_ARGS__)
#define getsockname(...) BELOW(getsockname, -1, __VA_ARGS__)
#define getsockopt(...) BELOW(getsockopt, -1, __VA_ARGS__)
#define listen(...) BELOW(listen, -1, __VA_ARGS__)
#define lstat(...) BELOW(lstat, -1, __VA_ARGS__)
#define madvise(...) BELOW(madvise, -1, __VA_ARGS__)
#define mkdir(...) BELOW(mkdir, -1, __VA_ARGS__)
#define mmap(...) (system_fails("mmap") ? MAP_FAILED : fake_mmap(__VA_ARGS__))
#define mprotect(...) (system_fails("mprotect") ? -1 : fake_mprotect(__VA_ARGS__))
#define munmap fake_munmap
#define open(...) BELOW(open, -1, __VA_ARGS__)
#define opendir(...) BELOW(opendir, NULL, __VA_ARGS__)
#define posix_fallocate(...) BELOW(posix_fallocate, fake.error, __VA_ARGS__)
#define ppoll(...) BELOW(ppoll, -1, __VA_ARGS__)
#define readdir(...) BELOW(readdir, NULL, __VA_ARGS__)
#define recvmsg(...) BELOW(recvmsg, -1, __VA_ARGS__)
#define sendmsg(...) BELOW(sendmsg, -1, __VA_ARGS__)
#define socket(...) BELOW(socket, -1, __VA_ARGS__)
#define stat(...) BELOW(stat, -1, __VA_ARGS__)
#define symlink(...) BELOW(symlink, -1, __VA_ARGS__)
#define syscall(...) BELOW(syscall, -1, __VA_ARGS__)
#define sysconf fake_sysconf
#define unlink(...) BELOW(unlink, -1, __VA_ARGS__)
#define write(...) BELOW(write, -1, __VA_ARGS__)

#define ferry__platform_accept real_accept
#define ferry__platform_canary_create real_canary_create
#define ferry__platform_connect real_connect
#define ferry__platform_directory real_directory
#define ferry__platform_inherit real_inherit
#define ferry__platform_listen real_listen
#define ferry__platform_memory_available real_memory_available
#define ferry__platform_memory_check real_memory_check
#define ferry__platform_memory_create real_memory_create
#define ferry__platform_memory_freeze real_memory_freeze
#define ferry__platform_memory_map real_memory_map
#define ferry__platform_memory_protect real_memory_protect
#define ferry__platform_nap real_nap
#define ferry__platform_now_ns real_now_ns
#define ferry__platform_peer real_peer
#define ferry__platform_poll real_poll
#define ferry__platform_processor real_processor
#define ferry__platform_receive real_receive
#define ferry__platform_send real_send
#define ferry__platform_sleep real_sleep
#define ferry__platform_watch real_watch
#define ferry__platform_yield real_yield
#include "../../csrc/platform_common.c"
#include "../../csrc/platform_linux.c"
#undef accept4
#undef bind
#undef connect
#undef fcntl
#undef listen
#undef open
#undef socket
#undef stat
#undef write
#undef ferry__platform_accept
#undef ferry__platform_canary_create
#undef ferry__platform_connect
#undef ferry__platform_directory
#undef ferry__platform_inherit
#undef ferry__platform_listen
#undef ferry__platform_memory_available
#undef ferry__platform_memory_check
#undef ferry__platform_memory_create
#undef ferry__platform_memory_freeze
#undef ferry__platform_memory_map
#undef ferry__platform_memory_protect
#undef ferry__platform_nap
#undef ferry__platform_now_ns
#undef ferry__platform_peer
#undef ferry__platform_poll
#undef ferry__platform_processor
#undef ferry__platform_receive
#undef ferry__platform_send
#undef ferry__platform_sleep
#undef ferry__platform_watch
#undef ferry__platform_yield

/* A function that fails as the contract has it: with a code and a text. */
#define FAILS(call, code)                                                                                                                  \
    if (strikes(call, FAKE_FAILS)) return ferry__fail(why, code, "%s failed: fake", call)

/* ---- Time and processor ---- */

int64_t ferry__platform_now_ns(void) {
    if (strikes("now_ns", FAKE_LATE)) fake.time_ns += HOUR_NS;
    return fake.own_time ? (fake.time_ns += 100) : real_now_ns();
}

void ferry__platform_nap(int64_t ns) {
    if (strikes("nap", FAKE_EARLY)) return;
    if (fake.own_time) fake.time_ns += ns;
    else real_nap(ns);
}

/* Longer than a look around, so that no wait yields often. */
void ferry__platform_yield(void) {
    if (fake.own_time) fake.time_ns += 15000;
    else real_yield();
}

uint32_t ferry__platform_processor(void) { return fake.own_time ? 1 : real_processor(); }

void ferry__platform_sleep(ferry__os memory, const uint32_t *word, uint32_t value, int64_t timeout_ns) {
    fake.sleeps++;
    if (strikes("sleep", FAKE_EARLY) || fake.sleep_returns_at_once) return;
    if (!fake.own_time) real_sleep(memory, word, value, timeout_ns);
    else if (__atomic_load_n(word, __ATOMIC_SEQ_CST) == value) fake.time_ns += timeout_ns;
}

/* ---- Memory ---- */

uint64_t ferry__platform_memory_available(void) {
    if (strikes("memory_available", FAKE_FAILS)) return 0;
    return fake.memory_available != 0 ? fake.memory_available : real_memory_available();
}

int ferry__platform_memory_create(uint64_t bytes, ferry__os *out, ferry_why *why) {
    *out = FERRY__NO_OS;
    FAILS("memory_create", FERRY_ENOMEM);
    if (fake.create_fails)
        return ferry__fail(why, FERRY_ENOMEM, "could not reserve %llu bytes of shared memory: fake", (unsigned long long)bytes);
    return real_memory_create(bytes, out, why);
}

int ferry__platform_memory_freeze(const void *data, uint64_t bytes, ferry__os *out, ferry_why *why) {
    *out = FERRY__NO_OS;
    FAILS("memory_freeze", FERRY_ENOMEM);
    return real_memory_freeze(data, bytes, out, why);
}

int ferry__platform_memory_check(ferry__os memory, uint64_t bytes, int frozen, ferry_why *why) {
    FAILS("memory_check", FERRY_EPROTOCOL);
    return real_memory_check(memory, bytes, frozen, why);
}

int ferry__platform_memory_map(ferry__os memory, uint64_t bytes, int mapping, void **out, ferry_why *why) {
    *out = NULL;
    FAILS("memory_map", FERRY_ENOMEM);
    if (fake.map_fails) return ferry__fail(why, FERRY_ENOMEM, "could not map %llu bytes of shared memory: fake", (unsigned long long)bytes);
    return real_memory_map(memory, bytes, mapping, out, why);
}

int ferry__platform_memory_protect(void *start, uint64_t bytes, ferry_why *why) {
    FAILS("memory_protect", FERRY_ESYSTEM);
    return real_memory_protect(start, bytes, why);
}

int ferry__platform_canary_create(uint32_t **out, ferry_why *why) {
    *out = NULL;
    FAILS("canary_create", FERRY_ENOMEM);
    return real_canary_create(out, why);
}

/* ---- Places and control streams ---- */

int ferry__platform_directory(int i, int make, char *out, uint32_t out_bytes, ferry_why *why) {
    FAILS("directory", FERRY_EADDRESS);
    return real_directory(i, make, out, out_bytes, why);
}

int ferry__platform_listen(const char *path, ferry__listener *out, ferry_why *why) {
    out->os = FERRY__NO_OS;
    FAILS("listen", FERRY_ESYSTEM);
    return real_listen(path, out, why);
}

int ferry__platform_accept(ferry__listener *listener, ferry__os *out, ferry_why *why) {
    *out = FERRY__NO_OS;
    FAILS("accept", FERRY_ESYSTEM);
    return strikes("accept", FAKE_EARLY) ? 0 : real_accept(listener, out, why);
}

int ferry__platform_connect(const char *path, ferry__os *out, ferry_why *why) {
    *out = FERRY__NO_OS;
    FAILS("connect", FERRY_ESYSTEM);
    return strikes("connect", FAKE_EARLY) ? 0 : real_connect(path, out, why);
}

int ferry__platform_inherit(int64_t number, ferry__os *out, ferry_why *why) {
    *out = FERRY__NO_OS;
    FAILS("inherit", FERRY_ESYSTEM);
    return real_inherit(number, out, why);
}

int ferry__platform_peer(ferry__os stream, uint32_t *pid, ferry_why *why) {
    *pid = 0;
    FAILS("peer", FERRY_ESYSTEM);
    return real_peer(stream, pid, why);
}

ferry__os ferry__platform_watch(ferry__os stream, uint32_t pid) {
    return strikes("watch", FAKE_FAILS) ? FERRY__NO_OS : real_watch(stream, pid);
}

int ferry__platform_send(ferry__os stream, const void *data, uint32_t bytes, ferry__os pass) {
    if (strikes("send", FAKE_FAILS)) return FERRY_ECLOSED;
    if (!strikes("send", FAKE_HALF)) return real_send(stream, data, bytes, pass);
    (void)real_send(stream, data, bytes / 2, pass);
    return FERRY_ECLOSED;
}

int ferry__platform_receive(ferry__os stream, void *data, uint32_t bytes, ferry__os *passed) {
    const ferry__os before = *passed;
    int got;
    if (strikes("receive", FAKE_FAILS)) return FERRY_ESYSTEM;
    if (strikes("receive", FAKE_EARLY)) return 0;
    got = real_receive(stream, data, bytes > 1 && strikes("receive", FAKE_HALF) ? 1 : bytes, passed);
    if (*passed == before || !strikes("receive", FAKE_LOST)) return got;
    ferry__platform_close(*passed);
    *passed = FERRY__NO_OS;
    return FERRY_ESYSTEM;
}

uint32_t ferry__platform_poll(const ferry__os *handles, uint32_t count, int64_t timeout_ns) {
    uint32_t ready;
    if (strikes("poll", FAKE_FAILS) || strikes("poll", FAKE_EARLY)) return 0;
    if (!fake.own_time) return real_poll(handles, count, timeout_ns);
    ready = real_poll(handles, count, 0);
    if (ready == 0) fake.time_ns += timeout_ns;
    return ready;
}

/* ---- Blocks, in place of the C library's: -Wl,--wrap=malloc and so on ---- */

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *block, size_t bytes);
void __real_free(void *block);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *block, size_t bytes);
void __wrap_free(void *block);

static void *counted(void *block) {
    fake.blocks += block != NULL;
    return block;
}

void *__wrap_malloc(size_t bytes) { return strikes("malloc", FAKE_FAILS) ? NULL : counted(__real_malloc(bytes)); }

void *__wrap_calloc(size_t count, size_t bytes) { return strikes("calloc", FAKE_FAILS) ? NULL : counted(__real_calloc(count, bytes)); }

void *__wrap_realloc(void *block, size_t bytes) {
    if (strikes("realloc", FAKE_FAILS)) return NULL;
    return block == NULL ? counted(__real_malloc(bytes)) : __real_realloc(block, bytes);
}

void __wrap_free(void *block) {
    fake.blocks -= block != NULL;
    __real_free(block);
}
