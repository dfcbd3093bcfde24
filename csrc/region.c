/* A region: see region.h. */
#include "region.h"

#include "atomics.h"
#include "errors.h"
#include "layout.h"

#include <stdlib.h>

/* Can this process map so many bytes, and may it? */
static int ferry__region_fits(uint64_t bytes, uint64_t max_bytes, ferry_why *why) {
    uint64_t most = max_bytes != 0 ? max_bytes : FERRY__DEFAULT_MAX_BYTES;
    if (bytes > FERRY__MOST_MAPPED)
        return ferry__fail(why, FERRY_ETOOBIG,
                           "the environment needs a region of %.1f MiB, and a %d-bit process can map %.1f MiB at once; make the "
                           "observation smaller, or build this side for 64 bits",
                           (double)bytes / 1048576, (int)(8 * sizeof(void *)), (double)FERRY__MOST_MAPPED / 1048576);
    if (bytes > most)
        return ferry__fail(
            why, FERRY_ETOOBIG,
            "the environment needs a region of %.1f MiB, and %.1f MiB are allowed; make the observation smaller, or raise max_bytes",
            (double)bytes / 1048576, (double)most / 1048576);
    return 0;
}

int ferry__region_allowed(uint64_t bytes, uint64_t max_bytes, ferry_why *why) {
    uint64_t available;
    if (ferry__region_fits(bytes, max_bytes, why) < 0) return why->code;
    available = ferry__platform_memory_available();
    if (bytes > available / 4 * 3)
        return ferry__fail(
            why, FERRY_ETOOBIG,
            "the environment needs a region of %.1f MiB, and this machine (or its control group) has %.1f MiB left, of which Ferry takes "
            "three quarters at most; make the observation smaller, or free memory",
            (double)bytes / 1048576, (double)available / 1048576);
    return 0;
}

static int ferry__region_map(ferry__os memory, uint64_t bytes, ferry__region **out, ferry_why *why) {
    ferry__region *region = (ferry__region *)calloc(1, sizeof *region);
    void *base = NULL;
    *out = NULL;
    if (region == NULL) ferry__no_memory(why);
    else if (ferry__platform_memory_map(memory, bytes, 1, &base, why) == 0) {
        region->base = (char *)base, region->bytes = bytes, region->memory = memory, region->count = 1;
        *out = region;
        return 0;
    }
    free(region);
    ferry__platform_close(memory);
    return why->code;
}

int ferry__region_create(uint64_t bytes, uint64_t max_bytes, ferry__region **out, ferry_why *why) {
    ferry__os memory;
    *out = NULL;
    if (ferry__region_allowed(bytes, max_bytes, why) < 0 || ferry__platform_memory_create(bytes, &memory, why) < 0) return why->code;
    return ferry__region_map(memory, bytes, out, why);
}

int ferry__region_adopt(ferry__os memory, uint64_t bytes, uint64_t max_bytes, ferry__region **out, ferry_why *why) {
    *out = NULL;
    if (ferry__region_fits(bytes, max_bytes, why) == 0) {
        if (bytes < sizeof(ferry__header) || bytes % FERRY__PAGE != 0)
            ferry__fail(why, FERRY_EPROTOCOL, "a region cannot have %llu bytes", (ferry__ull)bytes);
        else if (ferry__platform_memory_check(memory, bytes, 0, why) == 0) return ferry__region_map(memory, bytes, out, why);
    }
    ferry__platform_close(memory);
    return why->code;
}

ferry__region *ferry__region_keep(ferry__region *region) {
    if (region != NULL) ferry__count_up(&region->count);
    return region;
}

void ferry__region_release(ferry__region *region) {
    if (region == NULL || ferry__count_down(&region->count) > 0) return;
    ferry__platform_memory_unmap(region->base, region->bytes);
    ferry__platform_close(region->memory);
    free(region);
}
