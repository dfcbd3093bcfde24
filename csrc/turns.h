/* Turns as the programs see them: ferry_turn structs whose pointers are set once per connection. */
#ifndef FERRY__TURNS_H
#define FERRY__TURNS_H

#include "lane.h"
#include "spec.h"

#include <string.h>

/* Slots of the env's that its answers may lie in: those of turns, then, in real time, those for frames. */
#define FERRY__TURN_SLOTS 2
#define FERRY__ANSWERS (FERRY__TURN_SLOTS + FERRY__LANE_SLOTS)

typedef struct ferry__turns {
    ferry_turn turn[FERRY__TURN_SLOTS];  /* by the env's slot */
    ferry_turn frame[FERRY__LANE_SLOTS]; /* by the slot for frames, in real time */
    uint32_t *all;                       /* the list of all rows */
    void *block;                         /* what the arrays lie in */
} ferry__turns;

static inline ferry_turn *ferry__turns_at(ferry__turns *turns, uint32_t answer) {
    return answer < FERRY__TURN_SLOTS ? &turns->turn[answer] : &turns->frame[answer - FERRY__TURN_SLOTS];
}

/* No row has infos yet. */
static inline void ferry__turn_clear_infos(ferry_turn *turn) {
    uint32_t i;
    for (i = 0; i < turn->num_fields; i++)
        if (turn->present[i] != NULL) memset(turn->present[i], 0, turn->num_rows);
}

/* Where they lie in a region. */
FERRY__LOCAL void ferry__turns_place(const ferry__spec *spec, char *base, char *answers[FERRY__ANSWERS]);
/* answers are the env's slots, message the agent's; or private copies of them. */
FERRY__LOCAL int ferry__turns_open(ferry__turns *turns, const ferry__spec *spec, char *const answers[FERRY__ANSWERS], char *message,
                                   ferry_why *why);
FERRY__LOCAL void ferry__turns_close(ferry__turns *turns);

#endif
