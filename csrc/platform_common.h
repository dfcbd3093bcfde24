/* What all systems share of the platform contract: memory and directories. Included once by the file of each, which defines:
 *
 *     ferry__memory_make           ferry__platform_memory_create; FERRY__NO_OS and the system's error
 *     ferry__memory_view           ferry__platform_memory_map, live; NULL and the system's error
 *     ferry__usual_directory       number i of those that the system has for this: 1, or 0 if there is none
 *     ferry__make_directory        0 also if it is there; -1 and the system's error
 *     ferry__check_directory       1 it is one of this user's alone, 0 it is none, negative: see why; unmade it may be missing */
#ifndef FERRY__PLATFORM_COMMON_H
#define FERRY__PLATFORM_COMMON_H

#include "errors.h"
#include "platform.h"

#include <string.h>

/* Can the system keep everybody from changing memory? And what may a path have with the zero at its end? A name takes up to 42 bytes of it, with
 * the stroke before it. */
#ifdef _WIN32
#define FERRY__FREEZES 0
#define FERRY__MOST_PATH 128
#else
#ifdef __APPLE__
#define FERRY__FREEZES 0
#define FERRY__MOST_PATH 104
#else
#define FERRY__FREEZES 1
#define FERRY__MOST_PATH 108
#endif
#endif
#define FERRY__MOST_DIRECTORY (FERRY__MOST_PATH - 43)

static ferry__os ferry__memory_make(uint64_t bytes);
static void *ferry__memory_view(ferry__os memory, size_t bytes, int writable);
static int ferry__usual_directory(int i, char *out, uint32_t out_bytes);
static int ferry__make_directory(const char *path);
static int ferry__check_directory(char *path, int make, ferry_why *why);

/* ---- Memory ---- */

int ferry__platform_memory_create(uint64_t bytes, ferry__os *out, ferry_why *why) {
    *out = ferry__memory_make(bytes);
    if (*out != FERRY__NO_OS) return 0;
    return ferry__fail_os(why, FERRY_ENOMEM, "could not reserve %llu bytes of shared memory", (unsigned long long)bytes);
}

int ferry__platform_memory_map(ferry__os memory, uint64_t bytes, int mapping, void **out, ferry_why *why) {
    *out = NULL;
    if ((uint64_t)(size_t)bytes != bytes) return ferry__no_memory(why);
    *out = ferry__memory_view(memory, (size_t)bytes, mapping == FERRY__MAP_WRITABLE);
    if (*out == NULL) return ferry__fail_os(why, FERRY_ENOMEM, "could not map %llu bytes of shared memory", (unsigned long long)bytes);
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

#if !FERRY__FREEZES
int ferry__platform_memory_freeze(const void *data, uint64_t bytes, ferry__os *out, ferry_why *why) {
    void *view;
    if (ferry__platform_memory_create(bytes, out, why) < 0) return why->code;
    if (ferry__platform_memory_map(*out, bytes, FERRY__MAP_WRITABLE, &view, why) == 0) {
        memcpy(view, data, (size_t)bytes);
        ferry__platform_memory_unmap(view, bytes);
        return 0;
    }
    ferry__platform_close(*out);
    *out = FERRY__NO_OS;
    return why->code;
}
#endif

/* Peers say how large the memory is that they pass. */
static int ferry__check_bytes(uint64_t bytes, uint64_t said, uint64_t page, ferry_why *why) {
    if (bytes >= said && bytes - said < page) return 0;
    return ferry__fail(why, FERRY_EPROTOCOL, "the peer's memory has %llu bytes where it said %llu", (unsigned long long)bytes,
                       (unsigned long long)said);
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

#endif
