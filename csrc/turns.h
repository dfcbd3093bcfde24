/* Turns as the programs see them: ferry_turn structs whose pointers are set once per connection. */
#ifndef FERRY__TURNS_H
#define FERRY__TURNS_H

#include "lane.h"
#include "spec.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ferry__turns {
    ferry_turn turn[2 + FERRY__LANE_SLOTS]; /* by the env's slot; in real time, by the slot for frames */
    uint32_t *all;      /* the list of all rows */
    void *block;        /* what the arrays lie in */
} ferry__turns;

/* base is the region's; message is the agent's slot in it, or a private copy of that. */
FERRY__LOCAL int ferry__turns_open(ferry__turns *turns, const ferry__spec *spec, char *base, char *message, ferry_why *why);
FERRY__LOCAL void ferry__turns_close(ferry__turns *turns);

#ifdef __cplusplus
}
#endif

#endif
