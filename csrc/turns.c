/* Turns as the programs see them: see turns.h. */
#include "turns.h"

#include "errors.h"

#include <stdlib.h>
#include <string.h>

void ferry__turns_place(const ferry__spec *spec, char *base, char *answers[FERRY__ANSWERS]) {
    const ferry__header *header = &spec->header;
    uint64_t pitch = ferry__lane_pitch(header->env_blob, header->blob_bytes);
    uint32_t i;
    for (i = 0; i < FERRY__TURN_SLOTS; i++) answers[i] = base + header->env_slot[i];
    for (; i < FERRY__ANSWERS; i++) answers[i] = base + header->frame_slots + pitch * (i - FERRY__TURN_SLOTS);
}

int ferry__turns_open(ferry__turns *turns, const ferry__spec *spec, char *const answers[FERRY__ANSWERS], char *message, ferry_why *why) {
    const ferry__group *group = &spec->group;
    size_t n = spec->header.num_fields, rows = group->num_rows;
    /* Per slot data, present and the same of the end of an episode; once stride and the list of rows. */
    uint32_t i, slot, num_slots = spec->realtime ? FERRY__ANSWERS : FERRY__TURN_SLOTS;
    uint64_t *stride = (uint64_t *)calloc(1, n * (num_slots * 4 * sizeof(void *) + sizeof *stride) + (rows + 1) * sizeof *turns->all);
    void **data;
    memset(turns, 0, sizeof *turns);
    if (stride == NULL) return ferry__no_memory(why);
    turns->block = stride, data = (void **)(void *)(stride + n);
    turns->all = (uint32_t *)(void *)(data + num_slots * 4 * n);
    for (i = 0; i < rows; i++) turns->all[i] = i;
    for (slot = 0; slot < num_slots; slot++, data += 4 * n) {
        ferry_turn *turn = ferry__turns_at(turns, slot);
        char *answer = answers[slot];
        uint8_t **present = (uint8_t **)(data + n), **final_present = (uint8_t **)(data + 3 * n);
        turn->struct_size = sizeof *turn;
        turn->num_fields = (uint32_t)n;
        turn->num_rows = (uint32_t)rows, turn->rows = turns->all;
        turn->data = data, turn->present = present, turn->stride = stride;
        turn->final_data = data + 2 * n, turn->final_present = final_present;
        for (i = 0; i < n; i++) {
            const ferry__entry *entry = &spec->entries[i];
            stride[i] = entry->stride;
            data[i] = (entry->role == FERRY_ACTION ? message : answer) + entry->offset;
            if (entry->role == FERRY_INFO) present[i] = (uint8_t *)answer + entry->present_offset;
            if (entry->final_offset != 0) data[2 * n + i] = answer + entry->final_offset;
            if (entry->final_present_offset != 0) final_present[i] = (uint8_t *)answer + entry->final_present_offset;
        }
        turn->reward = (double *)(void *)(answer + group->reward_offset);
        turn->episode = (uint64_t *)(void *)(answer + group->episode_offset);
        turn->terminated = (uint8_t *)answer + group->terminated_offset;
        turn->truncated = (uint8_t *)answer + group->truncated_offset;
        turn->status = (uint8_t *)answer + group->status_offset;
        turn->seed = (int64_t *)(void *)(message + group->seed_offset);
    }
    return 0;
}

void ferry__turns_close(ferry__turns *turns) {
    free(turns->block);
    memset(turns, 0, sizeof *turns);
}
