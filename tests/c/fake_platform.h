/* Faults that tests can ask the platform for. */
#ifndef FERRY_TESTS_FAKE_PLATFORM_H
#define FERRY_TESTS_FAKE_PLATFORM_H

#include <stdint.h>

typedef struct fake_faults {
    uint64_t memory_available; /* bytes the machine claims to have left; 0: the truth */
    int create_fails, map_fails;
    int sleep_returns_at_once; /* every sleep ends for no reason */
    uint64_t sleeps;
    long page_bytes; /* of a kernel with larger pages; 0: the truth */
} fake_faults;

extern fake_faults fake;

#endif
