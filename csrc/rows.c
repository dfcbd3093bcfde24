/* Rows: see rows.h. */
#include "rows.h"

#include "errors.h"

#include <stdlib.h>
#include <string.h>

void ferry__rows_idle(ferry__rows *rows) {
    memset(rows->state, FERRY__ROW_IDLE, rows->num_rows);
    rows->num_idle = rows->num_rows;
    rows->any_over = 0;
}

int ferry__rows_open(ferry__rows *rows, const ferry__spec *spec, ferry_why *why) {
    const ferry__group *group = &spec->group;
    size_t n = group->num_rows;
    uint32_t row;
    char *block;
    memset(rows, 0, sizeof *rows);
    rows->num_rows = group->num_rows, rows->max_steps = group->max_episode_steps;
    rows->tick_together = (group->flags & FERRY__TICK_TOGETHER) != 0;
    block = (char *)calloc(n, sizeof(uint64_t) + 4 * sizeof(uint32_t) + 2);
    if (block == NULL) return ferry__no_memory(why);
    rows->episode = (uint64_t *)(void *)block, block += n * sizeof(uint64_t);
    rows->all = (uint32_t *)(void *)block, rows->steps = rows->all + n;
    rows->step.own = rows->steps + n, rows->reset.own = rows->step.own + n;
    rows->state = (uint8_t *)(rows->reset.own + n), rows->discard = rows->state + n;
    for (row = 0; row < n; row++) rows->all[row] = row;
    ferry__rows_idle(rows);
    return 0;
}

void ferry__rows_close(ferry__rows *rows) {
    free(rows->episode);
    memset(rows, 0, sizeof *rows);
}

int ferry__rows_valid(const uint32_t *list, uint32_t count, uint32_t num_rows) {
    uint32_t i;
    if (count == 0 || count > num_rows) return 0;
    for (i = 1; i < count; i++)
        if (list[i] <= list[i - 1]) return 0;
    return list[count - 1] < num_rows;
}

static void ferry__add_row(ferry__row_list *list, uint32_t row) { list->rows[list->count++] = row; }

static void ferry__set_rows(ferry__row_list *list, uint32_t *rows, uint32_t count) { list->rows = rows, list->count = count; }

int ferry__rows_plan(ferry__rows *rows, ferry_kind kind, const uint32_t *list, uint32_t count, ferry_why *why) {
    const int next_step = rows->autoreset == FERRY_AUTORESET_NEXT_STEP;
    uint32_t i, row;
    ferry__set_rows(&rows->step, rows->step.own, 0);
    ferry__set_rows(&rows->reset, rows->reset.own, 0);
    if (kind == FERRY_RESET) {
        for (i = 0; i < count; i++) ferry__add_row(&rows->reset, list != NULL ? list[i] : i);
        return 0;
    }
    if (list == NULL && rows->num_idle == 0 && !(next_step && rows->any_over)) {
        ferry__set_rows(&rows->step, rows->all, count);
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
        over = next_step && rows->state[row] == FERRY__ROW_ENDED;
        if (over) ferry__add_row(&rows->reset, row);
        if (!over || rows->tick_together) ferry__add_row(&rows->step, row);
        rows->discard[row] = (uint8_t)(over && rows->tick_together);
    }
    if (rows->reset.count == rows->num_rows) rows->step.count = 0; /* nobody is left to be stepped */
    return 0;
}

/* Has any row ended, by the flags of all? */
static int ferry__any_ended(const uint8_t *terminated, const uint8_t *truncated, uint32_t num_rows) {
    uint32_t row;
    uint8_t any = 0;
    for (row = 0; row < num_rows; row++) any |= terminated[row] | truncated[row];
    return any != 0;
}

void ferry__rows_stepped(ferry__rows *rows, uint8_t *terminated, uint8_t *truncated) {
    uint32_t i, row;
    if (rows->max_steps == 0 && !ferry__any_ended(terminated, truncated, rows->num_rows)) rows->step.count = 0;
    for (i = 0; i < rows->step.count; i++) {
        row = rows->step.rows[i];
        if (rows->discard[row]) continue;
        rows->steps[row]++;
        if (rows->max_steps != 0 && rows->steps[row] >= rows->max_steps) truncated[row] = 1;
        if ((terminated[row] | truncated[row]) == 0) continue;
        rows->state[row] = FERRY__ROW_ENDED;
        rows->any_over = 1;
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
        rows->discard[row] = 0;
    }
    rows->any_over = memchr(rows->state, FERRY__ROW_ENDED, rows->num_rows) != NULL;
}
