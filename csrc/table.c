/* A turn's pointers: see table.h. */
#include "table.h"

#include "errors.h"

#include <stdlib.h>
#include <string.h>

int ferry__table_open(ferry__table *table, const ferry__spec *spec, ferry_why *why) {
    size_t n = spec->header.num_fields;
    char *block = (char *)calloc(n + 1, 4 * sizeof(void *) + sizeof(uint64_t));
    uint32_t i;
    memset(table, 0, sizeof *table);
    if (block == NULL) return ferry__fail(why, FERRY_ENOMEM, "out of memory");
    table->block = block;
    table->stride = (uint64_t *)(void *)block, block += n * sizeof(uint64_t);
    for (i = 0; i < 2; i++) {
        table->data[i] = (void **)(void *)block, block += n * sizeof(void *);
        table->present[i] = (uint8_t **)(void *)block, block += n * sizeof(uint8_t *);
    }
    for (i = 0; i < n; i++) table->stride[i] = spec->entries[i].stride;
    return 0;
}

void ferry__table_close(ferry__table *table) {
    free(table->block);
    memset(table, 0, sizeof *table);
}

void ferry__table_point(ferry__table *table, const ferry__spec *spec, char *base, char *actions) {
    uint32_t i, which;
    for (which = 0; which < 2; which++) {
        char *slot = base + spec->header.env_slot[which];
        for (i = 0; i < spec->header.num_fields; i++) {
            const ferry__entry *entry = &spec->entries[i];
            table->data[which][i] = (entry->role == FERRY_ACTION ? actions : slot) + entry->offset;
            table->present[which][i] = entry->role == FERRY_INFO ? (uint8_t *)slot + entry->present_offset : NULL;
        }
    }
}

void ferry__table_show(ferry__table *table, const ferry__spec *spec, char *base, uint32_t which, ferry_turn *turn) {
    const ferry__group *group = &spec->group;
    char *slot = base + spec->header.env_slot[which];
    turn->struct_size = sizeof *turn;
    turn->num_fields = spec->header.num_fields;
    turn->num_rows = 1, turn->rows = &table->row;
    turn->data = table->data[which], turn->present = table->present[which], turn->stride = table->stride;
    turn->reward = (double *)(void *)(slot + group->reward_offset);
    turn->episode = (uint64_t *)(void *)(slot + group->episode_offset);
    turn->terminated = (uint8_t *)slot + group->terminated_offset;
    turn->truncated = (uint8_t *)slot + group->truncated_offset;
    turn->status = (uint8_t *)slot + group->status_offset;
}
