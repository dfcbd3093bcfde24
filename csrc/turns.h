/* Turns as the programs see them: ferry_turn structs whose pointers are set once per connection. */
#ifndef FERRY__TURNS_H
#define FERRY__TURNS_H

#include "spec.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Where the pieces of a turn lie: the start of a slot, or of a private image that is laid out like it. Observations and infos always lie in
 * the env's slots. */
typedef struct ferry__places {
    char *actions;
    char *agent_columns;  /* seeds */
    char *env_columns[2]; /* reward, flags, presence; by slot */
} ferry__places;

typedef struct ferry__turns {
    ferry_turn turn[2]; /* by the env's slot */
    uint32_t row;       /* the list of rows: 0 alone */
    void *block;        /* what the arrays lie in */
} ferry__turns;

/* base: of the region. */
FERRY__LOCAL int ferry__turns_open(ferry__turns *turns, const ferry__spec *spec, char *base, const ferry__places *places, ferry_why *why);
FERRY__LOCAL void ferry__turns_close(ferry__turns *turns);

#ifdef __cplusplus
}
#endif

#endif
