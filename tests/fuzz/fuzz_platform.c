/* Linux's platform for the targets. Time passes only as they wait, so that a run repeats itself and no wait takes long. Memory that is
 * mapped for writing is noted, and all that is mapped lies between pages that nobody may touch: the sanitizer knows nothing of mappings. */
#include "fuzz.h"

#include <sys/mman.h>
#include <unistd.h>

#define ferry__platform_now_ns real_now_ns
#define ferry__platform_nap real_nap
#define ferry__platform_yield real_yield
#define ferry__platform_processor real_processor
#define ferry__platform_sleep real_sleep
#define ferry__platform_memory_available real_memory_available
#define ferry__platform_memory_map real_memory_map
#define ferry__platform_memory_protect real_memory_protect
#define ferry__platform_memory_unmap real_memory_unmap
#define ferry__platform_poll real_poll
#include "../../csrc/platform_linux.c"
#undef ferry__platform_now_ns
#undef ferry__platform_nap
#undef ferry__platform_yield
#undef ferry__platform_processor
#undef ferry__platform_sleep
#undef ferry__platform_memory_available
#undef ferry__platform_memory_map
#undef ferry__platform_memory_protect
#undef ferry__platform_memory_unmap
#undef ferry__platform_poll

#define GUARD ((uint64_t)1 << 20)

int64_t fuzz_clock_ns;
fuzz_mapping fuzz_mappings[FUZZ_MAPPINGS];
uint32_t fuzz_num_mappings;

/* ---- Time ---- */

int64_t ferry__platform_now_ns(void) { return fuzz_clock_ns += 100; }
void ferry__platform_nap(int64_t ns) { fuzz_clock_ns += ns; }
void ferry__platform_yield(void) { fuzz_clock_ns += 500; }
uint32_t ferry__platform_processor(void) { return 1; }
uint64_t ferry__platform_memory_available(void) { return (uint64_t)1 << 30; }

void ferry__platform_sleep(ferry__os memory, const uint32_t *word, uint32_t value, int64_t timeout_ns) {
    (void)memory;
    EXPECT(timeout_ns >= 0);
    if (__atomic_load_n(word, __ATOMIC_SEQ_CST) == value) fuzz_clock_ns += timeout_ns;
}

uint32_t ferry__platform_poll(const ferry__os *handles, uint32_t count, int64_t timeout_ns) {
    uint32_t ready = real_poll(handles, count, 0);
    EXPECT(timeout_ns >= 0);
    if (ready == 0) fuzz_clock_ns += timeout_ns;
    return ready;
}

/* ---- Memory ---- */

int ferry__platform_memory_map(ferry__os memory, uint64_t bytes, int mapping, void **out, ferry_why *why) {
    const uint64_t page = FERRY__PAGE, whole = (bytes + page - 1) / page * page;
    int protection = mapping == FERRY__MAP_WRITABLE ? PROT_READ | PROT_WRITE : PROT_READ;
    char *place = (char *)mmap(NULL, (size_t)(whole + 2 * GUARD), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    *out = NULL;
    EXPECT(place != MAP_FAILED);
    if (mmap(place + GUARD, (size_t)bytes, protection, MAP_SHARED | MAP_FIXED, (int)memory, 0) == MAP_FAILED) {
        munmap(place, (size_t)(whole + 2 * GUARD));
        return ferry__fail(why, FERRY_ENOMEM, "could not map %llu bytes of shared memory: %s", (unsigned long long)bytes, strerror(errno));
    }
    *out = place + GUARD;
    if (mapping != FERRY__MAP_WRITABLE || fuzz_num_mappings == FUZZ_MAPPINGS) return 0;
    fuzz_mappings[fuzz_num_mappings].start = place + GUARD, fuzz_mappings[fuzz_num_mappings].bytes = bytes;
    fuzz_mappings[fuzz_num_mappings++].immutable = 0;
    return 0;
}

int ferry__platform_memory_protect(void *start, uint64_t bytes, ferry_why *why) {
    uint32_t i;
    for (i = 0; i < fuzz_num_mappings; i++)
        if (fuzz_mappings[i].start == start) fuzz_mappings[i].immutable = bytes;
    return real_memory_protect(start, bytes, why);
}

void ferry__platform_memory_unmap(void *start, uint64_t bytes) {
    const uint64_t page = FERRY__PAGE, whole = (bytes + page - 1) / page * page;
    uint32_t i;
    for (i = 0; i < fuzz_num_mappings; i++)
        if (fuzz_mappings[i].start == start) {
            memmove(&fuzz_mappings[i], &fuzz_mappings[i + 1], (fuzz_num_mappings - i - 1) * sizeof *fuzz_mappings);
            fuzz_num_mappings--;
            break;
        }
    real_memory_unmap((char *)start - GUARD, whole + 2 * GUARD);
}

void fuzz_poke(const fuzz_mapping *mapping, uint64_t at, const void *value, uint64_t bytes) {
    uint64_t whole = mapping->immutable;
    if (at >= mapping->bytes || bytes > mapping->bytes - at) return;
    if (at < whole) EXPECT(mprotect(mapping->start, (size_t)whole, PROT_READ | PROT_WRITE) == 0);
    memcpy(mapping->start + at, value, (size_t)bytes);
    if (at < whole) EXPECT(mprotect(mapping->start, (size_t)whole, PROT_READ) == 0);
}

/* ---- A folder ---- */

static char directory[64];

static void remove_directory(void) {
    char path[128];
    DIR *entries = opendir(directory);
    struct dirent *entry;
    while (entries != NULL && (entry = readdir(entries)) != NULL) {
        snprintf(path, sizeof path, "%.60s/%.60s", directory, entry->d_name);
        if (entry->d_name[0] != '.' || strlen(entry->d_name) > 2) unlink(path);
    }
    if (entries != NULL) closedir(entries);
    rmdir(directory);
}

const char *fuzz_directory(void) {
    if (directory[0] != 0) return directory;
    snprintf(directory, sizeof directory, "%.40s/ferry-fuzz-XXXXXX", getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
    EXPECT(mkdtemp(directory) != NULL);
    EXPECT(setenv("FERRY_RUNTIME_DIR", directory, 1) == 0 && unsetenv("FERRY_ADDRESS") == 0 && unsetenv("FERRY_WAIT") == 0);
    atexit(remove_directory);
    return directory;
}
