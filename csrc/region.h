/* A region: memory that two processes map. Counted, because views of observations may outlive the handle that made them. */
#ifndef FERRY__REGION_H
#define FERRY__REGION_H

#include "platform.h"

typedef struct ferry_hold ferry__region;

struct ferry_hold {
    char *base;
    uint64_t bytes;
    ferry__os memory;
    uint32_t count;
};

#define FERRY__DEFAULT_MAX_BYTES ((uint64_t)1 << 30)
/* No mapping is larger than what two pointers into it may be apart, which is 2 GiB where they have 32 bits. */
#define FERRY__MOST_MAPPED ((uint64_t)PTRDIFF_MAX)

/* Would a region of so many bytes be made? FERRY_ETOOBIG with a remedy if it is beyond max_bytes (0: 1 GiB) or three quarters of what the
 * machine has left: the kernel would not refuse it, it would kill something. */
FERRY__LOCAL int ferry__region_allowed(uint64_t bytes, uint64_t max_bytes, ferry_why *why);
/* Makes and maps one, writable throughout. bytes is a multiple of FERRY__PAGE. */
FERRY__LOCAL int ferry__region_create(uint64_t bytes, uint64_t max_bytes, ferry__region **out, ferry_why *why);
/* Checks and maps one that a peer made. Takes memory over, also on failure. */
FERRY__LOCAL int ferry__region_adopt(ferry__os memory, uint64_t bytes, uint64_t max_bytes, ferry__region **out, ferry_why *why);
FERRY__LOCAL ferry__region *ferry__region_keep(ferry__region *region);
/* Unmaps with the last. NULL is allowed. */
FERRY__LOCAL void ferry__region_release(ferry__region *region);

#endif
