/* A platform that fails on request: Linux's, with some functions wrapped. Tests that are linked with it set the faults. */
#include "fake_platform.h"

#include <sys/mman.h>
#include <unistd.h>

fake_faults fake;

static long fake_sysconf(int name) { return name == _SC_PAGESIZE && fake.page_bytes != 0 ? fake.page_bytes : sysconf(name); }

/* A kernel protects whole pages: those that the bytes touch. */
static int fake_mprotect(void *start, size_t bytes, int protection) {
    size_t page = (size_t)fake_sysconf(_SC_PAGESIZE);
    return mprotect(start, (bytes + page - 1) / page * page, protection);
}

#define ferry__platform_memory_available real_memory_available
#define ferry__platform_memory_create real_memory_create
#define ferry__platform_memory_map real_memory_map
#define ferry__platform_sleep real_sleep
#define mprotect fake_mprotect
#define sysconf fake_sysconf
#include "../../csrc/platform_linux.c"
#undef ferry__platform_memory_available
#undef ferry__platform_memory_create
#undef ferry__platform_memory_map
#undef ferry__platform_sleep
#undef mprotect
#undef sysconf

uint64_t ferry__platform_memory_available(void) { return fake.memory_available != 0 ? fake.memory_available : real_memory_available(); }

int ferry__platform_memory_create(uint64_t bytes, ferry__os *out, ferry_why *why) {
    *out = FERRY__NO_OS;
    if (fake.create_fails)
        return ferry__fail(why, FERRY_ENOMEM, "could not reserve %llu bytes of shared memory: fake", (unsigned long long)bytes);
    return real_memory_create(bytes, out, why);
}

int ferry__platform_memory_map(ferry__os memory, uint64_t bytes, int mapping, void **out, ferry_why *why) {
    *out = NULL;
    if (fake.map_fails) return ferry__fail(why, FERRY_ENOMEM, "could not map %llu bytes of shared memory: fake", (unsigned long long)bytes);
    return real_memory_map(memory, bytes, mapping, out, why);
}

void ferry__platform_sleep(ferry__os memory, const uint32_t *word, uint32_t value, int64_t timeout_ns) {
    fake.sleeps++;
    if (!fake.sleep_returns_at_once) real_sleep(memory, word, value, timeout_ns);
}
