/* Faults that tests can ask the platform for. */
#ifndef FERRY_TESTS_FAKE_PLATFORM_H
#define FERRY_TESTS_FAKE_PLATFORM_H

#include <stdint.h>

/* What one call, chosen by its number, does wrong. */
typedef enum fake_fault {
    FAKE_NONE = 0,
    FAKE_FAILS = 1,  /* a function of the platform has done nothing, and says so; there is no memory where some is asked for */
    FAKE_SYSTEM = 2, /* what Linux's platform calls in its turn fails with errno */
    FAKE_EARLY = 4,  /* nothing yet: a sleep, nap or poll ends at once, nobody is at the door, nothing has been said */
    FAKE_LATE = 8,   /* an hour has passed since the clock was read last */
    FAKE_HALF = 16,  /* one byte is received; a message breaks off in its middle, and sending it fails */
    FAKE_LOST = 32   /* a descriptor that comes along is lost: this process can have no more */
} fake_fault;

typedef struct fake_faults {
    uint64_t memory_available; /* bytes the machine claims to have left; 0: the truth */
    int create_fails, map_fails;
    int sleep_returns_at_once; /* every sleep ends for no reason */
    uint64_t sleeps;
    long page_bytes; /* of a kernel with larger pages; 0: the truth */
    int own_time;    /* time passes only as somebody waits: a game of both sides in one thread repeats itself to the call */
    int64_t time_ns; /* the time then */
    fake_fault fault;
    uint64_t at, times; /* strikes the call of this number, from 1, among those that the fault can strike, and so many in all */
    int error;          /* FAKE_SYSTEM: errno */
    uint64_t calls;     /* of those that the fault can strike */
    const char *struck; /* the first that was; NULL: none */
    int64_t blocks, mappings; /* held now: of malloc, of memory */
} fake_faults;

extern fake_faults fake;

#endif
