/* Rows: which of them a turn steps and which it resets. An agent's turn falls into one or two parts for the program, by the autoreset mode
 * that the agent has chosen; here is decided what they are about. */
#ifndef FERRY__ROWS_H
#define FERRY__ROWS_H

#include "spec.h"

typedef enum ferry__row_state {
    FERRY__ROW_IDLE,    /* must be reset: nobody has, or the environment has failed since */
    FERRY__ROW_PLAYING,
    FERRY__ROW_ENDED    /* its episode is over */
} ferry__row_state;

typedef struct ferry__row_list {
    uint32_t *rows; /* ascending */
    uint32_t count;
    uint32_t *own; /* [num_rows of the env], where rows lie if they are not all of them */
} ferry__row_list;

typedef struct ferry__rows {
    uint32_t num_rows, max_steps, autoreset, num_idle;
    uint32_t *all; /* every row */
    int any_over;  /* some may have ended */
    int tick_together;
    ferry__row_list step, reset; /* the parts of the turn under way that are still to come, or that are with the program */
    uint8_t *state;              /* [row] ferry__row_state */
    uint32_t *steps;             /* [row] in this episode */
    uint64_t *episode;           /* [row] RESETs so far, over all connections */
    uint8_t *discard;            /* [row] stepped only because all rows tick together, and reset next */
} ferry__rows;

FERRY__LOCAL int ferry__rows_open(ferry__rows *rows, const ferry__spec *spec, ferry_why *why);
FERRY__LOCAL void ferry__rows_close(ferry__rows *rows);
/* Forgets all episodes: a new agent, or a failure. */
FERRY__LOCAL void ferry__rows_idle(ferry__rows *rows);

/* Plans a STEP or RESET of the rows in a list, NULL for all; count is checked. 0, or FERRY_ESTATE with a text for the agent: nothing has
 * changed then. */
FERRY__LOCAL int ferry__rows_plan(ferry__rows *rows, ferry_kind kind, const uint32_t *list, uint32_t count, ferry_why *why);
/* Does the list name rows that are there, in ascending order? */
FERRY__LOCAL int ferry__rows_valid(const uint32_t *list, uint32_t count, uint32_t num_rows);
/* The rows of the STEP part have been stepped: counts, truncates, notes who ended, and adds to the RESET part. */
FERRY__LOCAL void ferry__rows_stepped(ferry__rows *rows, uint8_t *terminated, uint8_t *truncated);
/* The rows of the RESET part begin an episode. */
FERRY__LOCAL void ferry__rows_begin_episodes(ferry__rows *rows);

#endif
