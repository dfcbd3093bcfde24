/* Turns as the programs see them: ferry_turn structs whose pointers are set once per connection. */
#ifndef FERRY__TURNS_H
#define FERRY__TURNS_H

#include "lane.h"
#include "spec.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Slots of the env's that its answers may lie in; in real time also those for frames. */
#define FERRY__ANSWERS (2 + FERRY__LANE_SLOTS)

typedef struct ferry__turns {
    ferry_turn turn[FERRY__ANSWERS]; /* by the env's slot; in real time, by the slot for frames */
    uint32_t *all;      /* the list of all rows */
    void *block;        /* what the arrays lie in */
} ferry__turns;

/* Where they lie in a region. */
FERRY__LOCAL void ferry__turns_place(const ferry__spec *spec, char *base, char *answers[FERRY__ANSWERS]);
/* answers are the env's slots, message the agent's; or private copies of them. */
FERRY__LOCAL int ferry__turns_open(ferry__turns *turns, const ferry__spec *spec, char *const answers[FERRY__ANSWERS], char *message,
                                   ferry_why *why);
FERRY__LOCAL void ferry__turns_close(ferry__turns *turns);

#ifdef __cplusplus
}
#endif

#endif
