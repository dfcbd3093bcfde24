/* What all systems share of the platform contract: memory and directories. */
#include "platform_common.h"

#include <string.h>

/* ---- Memory ---- */

int ferry__platform_memory_create(uint64_t bytes, ferry__os *out, ferry_why *why) {
    *out = ferry__memory_make(bytes);
    if (*out != FERRY__NO_OS) return 0;
    return ferry__fail_os(why, FERRY_ENOMEM, "could not reserve %llu bytes of shared memory", (ferry__ull)bytes);
}

#if !FERRY__FREEZES
int ferry__memory_fill(ferry__os memory, const void *data, uint64_t bytes) {
    void *view = ferry__memory_view(memory, (size_t)bytes, 1);
    if (view == NULL) return -1;
    memcpy(view, data, (size_t)bytes);
    ferry__platform_memory_unmap(view, bytes);
    return 0;
}

/* Only those can map memory whom a side has given it, and the agent keeps none to give. */
void ferry__platform_memory_seal(ferry__os memory) { (void)memory; }

/* So a channel works, and cannot be looked at. */
void ferry__platform_show(const ferry__listener *listener, ferry__os memory) { (void)listener, (void)memory; }
#endif

int ferry__platform_memory_freeze(const void *data, uint64_t bytes, ferry__os *out, ferry_why *why) {
    if (ferry__platform_memory_create(bytes, out, why) < 0) return why->code;
    if (ferry__memory_fill(*out, data, bytes) == 0) return 0;
    ferry__fail_os(why, FERRY_ESYSTEM, "could not write %llu bytes of shared memory", (ferry__ull)bytes);
    ferry__platform_close(*out);
    *out = FERRY__NO_OS;
    return why->code;
}

int ferry__platform_memory_map(ferry__os memory, uint64_t bytes, int mapping, void **out, ferry_why *why) {
    *out = NULL;
    if ((uint64_t)(size_t)bytes != bytes) return ferry__no_memory(why);
    *out = ferry__memory_view(memory, (size_t)bytes, mapping == FERRY__MAP_WRITABLE);
    if (*out == NULL) return ferry__fail_os(why, FERRY_ENOMEM, "could not map %llu bytes of shared memory", (ferry__ull)bytes);
    if (mapping == FERRY__MAP_FROZEN && !FERRY__FREEZES) { /* whoever passed it can still write to it, but not to a copy */
        void *view = *out;
        ferry__os copy;
        *out = NULL;
        if (ferry__platform_memory_freeze(view, bytes, &copy, why) == 0) {
            (void)ferry__platform_memory_map(copy, bytes, FERRY__MAP_LIVE, out, why);
            ferry__platform_close(copy);
        }
        ferry__platform_memory_unmap(view, bytes);
    }
    return *out != NULL ? 0 : why->code;
}

/* ---- Directories ---- */

/* Candidates: the variable alone, if it is set; else the system's. */
int ferry__platform_directory(int i, int make, char *out, uint32_t out_bytes, ferry_why *why) {
    int named = ferry__platform_variable("FERRY_RUNTIME_DIR", out, out_bytes), found;
    if (named ? i > 0 : !ferry__usual_directory(i, out, out_bytes)) return 0;
    if (strlen(out) > FERRY__MOST_DIRECTORY)
        return ferry__fail(why, FERRY_EADDRESS,
                           "the directory '%s' has too long a path (%d bytes at most); set FERRY_RUNTIME_DIR to a shorter one", out,
                           FERRY__MOST_DIRECTORY);
    if (!ferry__platform_is_path(out))
        return ferry__fail(why, FERRY_EADDRESS,
                           "the directory '%s' is not absolute, so that others would not find it; set FERRY_RUNTIME_DIR to one that is",
                           out);
    if (make && ferry__make_directory(out) != 0)
        return ferry__fail_os(why, FERRY_EADDRESS, "set FERRY_RUNTIME_DIR to a directory that you own; could not make '%s'", out);
    found = ferry__check_directory(out, make, why);
    if (found != 0) return found;
    return ferry__fail(why, FERRY_EADDRESS, "'%s' is not a directory; set FERRY_RUNTIME_DIR to one that you own", out);
}
