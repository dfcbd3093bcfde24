/* Rows: see rows.h. */
#include "rows.h"

#include "errors.h"

#include <stdlib.h>
#include <string.h>

int ferry__rows_open(ferry__rows *rows, const ferry__spec *spec, ferry_why *why) {
    const ferry__group *group = &spec->group;
    size_t n = group->num_rows;
    memset(rows, 0, sizeof *rows);
    rows->num_rows = group->num_rows, rows->max_steps = group->max_episode_steps;
    rows->tick_together = (group->flags & FERRY__TICK_TOGETHER) != 0;
    rows->step.rows = (uint32_t *)calloc(n, sizeof(uint32_t)), rows->reset.rows = (uint32_t *)calloc(n, sizeof(uint32_t));
    rows->state = (uint8_t *)calloc(n, 1), rows->discard = (uint8_t *)calloc(n, 1);
    rows->steps = (uint32_t *)calloc(n, sizeof(uint32_t)), rows->episode = (uint64_t *)calloc(n, sizeof(uint64_t));
    if (rows->step.rows == NULL || rows->reset.rows == NULL || rows->state == NULL || rows->discard == NULL || rows->steps == NULL ||
        rows->episode == NULL) {
        ferry__rows_close(rows);
        return ferry__fail(why, FERRY_ENOMEM, "out of memory");
    }
    ferry__rows_idle(rows);
    return 0;
}

void ferry__rows_close(ferry__rows *rows) {
    free(rows->step.rows);
    free(rows->reset.rows);
    free(rows->state);
    free(rows->discard);
    free(rows->steps);
    free(rows->episode);
    memset(rows, 0, sizeof *rows);
}

void ferry__rows_idle(ferry__rows *rows) {
    memset(rows->state, FERRY__ROW_IDLE, rows->num_rows);
    rows->num_idle = rows->num_rows;
}

int ferry__rows_valid(const uint32_t *list, uint32_t count, uint32_t num_rows) {
    uint32_t i;
    if (count == 0 || count > num_rows) return 0;
    for (i = 1; i < count; i++)
        if (list[i] <= list[i - 1]) return 0;
    return list[count - 1] < num_rows;
}

static void ferry__add_row(ferry__row_list *list, uint32_t row) { list->rows[list->count++] = row; }

int ferry__rows_plan(ferry__rows *rows, ferry_kind kind, const uint32_t *list, uint32_t count, ferry_why *why) {
    uint32_t i, row;
    rows->step.count = rows->reset.count = 0;
    if (kind == FERRY_RESET) {
        for (i = 0; i < count; i++) ferry__add_row(&rows->reset, list != NULL ? list[i] : i);
        return 0;
    }
    if (rows->tick_together && count < rows->num_rows)
        return ferry__fail(why, FERRY_ESTATE, "the rows of this environment tick together: step all %u of them, not %u", rows->num_rows,
                           count);
    for (i = 0; i < count; i++) {
        int over;
        row = list != NULL ? list[i] : i;
        if (rows->num_idle > 0 && rows->state[row] == FERRY__ROW_IDLE && rows->num_rows == 1)
            return ferry__fail(why, FERRY_ESTATE, "the first turn of an agent, and the next after a failure, must be a reset");
        if (rows->num_idle > 0 && rows->state[row] == FERRY__ROW_IDLE)
            return ferry__fail(why, FERRY_ESTATE, "row %u has no episode under way: reset it before it is stepped", row);
        over = rows->autoreset == FERRY_AUTORESET_NEXT_STEP && rows->state[row] == FERRY__ROW_ENDED;
        if (over) ferry__add_row(&rows->reset, row);
        if (!over || rows->tick_together) ferry__add_row(&rows->step, row);
        rows->discard[row] = (uint8_t)(over && rows->tick_together);
    }
    if (rows->reset.count == rows->num_rows) rows->step.count = 0; /* nobody is left to be stepped */
    return 0;
}

void ferry__rows_stepped(ferry__rows *rows, uint8_t *terminated, uint8_t *truncated) {
    uint32_t i, row;
    for (i = 0; i < rows->step.count; i++) {
        row = rows->step.rows[i];
        if (rows->discard[row]) continue;
        rows->steps[row]++;
        if (rows->max_steps != 0 && rows->steps[row] >= rows->max_steps) truncated[row] = 1;
        if ((terminated[row] | truncated[row]) == 0) continue;
        rows->state[row] = FERRY__ROW_ENDED;
        if (rows->autoreset == FERRY_AUTORESET_SAME_STEP) ferry__add_row(&rows->reset, row);
    }
    rows->step.count = 0;
}

void ferry__rows_begin_episodes(ferry__rows *rows) {
    uint32_t i, row;
    for (i = 0; i < rows->reset.count; i++) {
        row = rows->reset.rows[i];
        if (rows->state[row] == FERRY__ROW_IDLE) rows->num_idle--;
        rows->state[row] = FERRY__ROW_PLAYING;
        rows->steps[row] = 0;
        rows->episode[row]++;
    }
}
