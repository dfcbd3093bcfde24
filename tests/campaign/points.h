/* Named points in the library: where each of its functions begins and ends. In a build with -finstrument-functions the compiler calls points.c at
 * every one of them, also of those that are inlined; in any other nobody does, and no point is ever reached. */
#ifndef FERRY_CAMPAIGN_POINTS_H
#define FERRY_CAMPAIGN_POINTS_H

#include <stdint.h>

typedef enum deed {
    DEED_NONE,
    DEED_RECORD, /* count how often each point is passed */
    DEED_KILL, /* SIGKILL to itself */
    DEED_STOP, /* SIGSTOP to itself */
    DEED_DISCONNECT /* shuts down its connected streams and goes on */
} deed;

typedef struct point {
    const void *function;
    uint32_t ends; /* 0 where it begins, 1 where it ends */
    uint32_t times;
} point;

#define MAX_POINTS 4096

/* What is to be done at which point; of this process and of its children from then on. */
typedef struct plan {
    deed what;
    point at; /* times: when it is passed for so many times */
    uint32_t *done; /* set where it is done, in shared memory */
    int64_t *done_ns; /* and when */
    point *recorded; /* MAX_POINTS, in shared memory: a table hashed by function */
} plan;

extern plan the_plan;

#endif
