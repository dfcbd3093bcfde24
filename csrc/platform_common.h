/* What platform_common.c, which has what all systems share of the platform contract, asks for of the file of each. */
#ifndef FERRY__PLATFORM_COMMON_H
#define FERRY__PLATFORM_COMMON_H

#include "errors.h"
#include "platform.h"

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

/* ferry__platform_memory_create; FERRY__NO_OS and the system's error. */
FERRY__LOCAL ferry__os ferry__memory_make(uint64_t bytes);
/* Puts data into memory that was made for it, and freezes it where that can be: 0, or -1 and the system's error. */
FERRY__LOCAL int ferry__memory_fill(ferry__os memory, const void *data, uint64_t bytes);
/* ferry__platform_memory_map, live; NULL and the system's error. */
FERRY__LOCAL void *ferry__memory_view(ferry__os memory, size_t bytes, int writable);
/* Number i of the directories that the system has for this: 1, or 0 if there is none. */
FERRY__LOCAL int ferry__usual_directory(int i, char *out, uint32_t out_bytes);
/* 0 also if it is there; -1 and the system's error. */
FERRY__LOCAL int ferry__make_directory(const char *path);
/* 1 it is one of this user's alone, 0 it is none, negative: see why. Unless it was made it may be missing. */
FERRY__LOCAL int ferry__check_directory(char *path, int made, ferry_why *why);

/* Peers say how large the memory is that they pass. */
static inline int ferry__check_bytes(uint64_t bytes, uint64_t said, uint64_t page, ferry_why *why) {
    if (bytes >= said && bytes - said < page) return 0;
    return ferry__fail(why, FERRY_EPROTOCOL, "the peer's memory has %llu bytes where it said %llu", (ferry__ull)bytes, (ferry__ull)said);
}

#endif
