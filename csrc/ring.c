/* A ring: see ring.h. */
#include "ring.h"

#include "atomics.h"
#include "errors.h"
#include "rules.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Whole words of either side's, also where one of them has 32 bits. */
#define FERRY__RING_ALIGN 8

/* A reader that is overtaken so often has met a writer that does not keep its period. */
#define FERRY__RING_TRIES 16

static ferry__ring_slot *ferry__ring_slot_at(char *base, const ferry__ring_head *head, uint32_t which) {
    return (ferry__ring_slot *)(void *)(base + head->slots_offset + head->slot_bytes * (which % FERRY__RING_SLOTS));
}

static ferry__ring_head *ferry__ring_head_at(char *base) { return (ferry__ring_head *)(void *)base; }

typedef void ferry__copier(void *to, const void *from, size_t bytes);

/* Copies what a message has besides its slot's words. The blob comes along as far as the copied head says that there is one; told is that
 * head, and private. */
static void ferry__ring_copy(const ferry__spec *spec, const ferry__ring_head *head, ferry__copier *copy, char *to, const void *returns,
                             const void *request, const char *answer, const ferry__slot *told) {
    const ferry__header *header = &spec->header;
    char *env = to + head->env_at;
    copy(to + head->returns_at, returns, sizeof(double) * spec->group.num_rows);
    copy(to + head->agent_at, request, (size_t)head->agent_bytes);
    copy(env, answer, (size_t)ferry__round_up(spec->fields_end[FERRY__ENV - 1], FERRY__RING_ALIGN));
    if (told->blob_format == FERRY_NONE || told->blob_where != FERRY__WHERE_SLOT) return;
    copy(env + header->env_blob, answer + header->env_blob,
         (size_t)ferry__round_up(told->blob_bytes < header->blob_bytes ? told->blob_bytes : header->blob_bytes, FERRY__RING_ALIGN));
}

/* ---- Writing ---- */

static void ferry__ring_lay_out(const ferry__spec *spec, ferry__ring_head *head) {
    const ferry__header *header = &spec->header;
    memset(head, 0, sizeof *head);
    memcpy(head->magic, FERRY__RING_MAGIC, 8);
    head->spec_offset = FERRY__PAGE, head->spec_bytes = spec->parts_begin;
    head->slots_offset = head->spec_offset + ferry__round_up(head->spec_bytes, FERRY__PAGE);
    head->returns_at = sizeof(ferry__ring_slot);
    head->agent_at = ferry__round_up(head->returns_at + sizeof(double) * spec->group.num_rows, FERRY__CACHE_LINE);
    head->agent_bytes = ferry__round_up(spec->fields_end[FERRY__AGENT - 1], FERRY__RING_ALIGN);
    head->env_at = ferry__round_up(head->agent_at + head->agent_bytes, FERRY__CACHE_LINE);
    head->env_bytes = header->env_blob + header->blob_bytes;
    head->slot_bytes = ferry__round_up(head->env_at + head->env_bytes, FERRY__CACHE_LINE);
    head->bytes = ferry__round_up(head->slots_offset + FERRY__RING_SLOTS * head->slot_bytes, FERRY__PAGE);
    head->latest = FERRY__SEQ_START;
}

void ferry__ring_close(ferry__ring *ring) {
    if (ring == NULL) return;
    ferry__region_release(ring->region);
    free(ring->returns);
    free(ring->episode);
    free(ring->over);
    free(ring);
}

int ferry__ring_open(const ferry__spec *spec, const char *start, const uint64_t *episode, uint64_t max_bytes, ferry__ring **out,
                     ferry_why *why) {
    ferry__ring *ring = (ferry__ring *)calloc(1, sizeof *ring);
    size_t rows = spec->group.num_rows, i;
    char *base;
    *out = NULL;
    if (ring == NULL) return ferry__no_memory(why);
    ring->spec = spec;
    ferry__ring_lay_out(spec, &ring->head);
    ring->returns = (double *)malloc(rows * sizeof *ring->returns);
    ring->episode = (uint64_t *)calloc(rows, sizeof *ring->episode);
    ring->over = (uint8_t *)calloc(rows, 1);
    if (ring->returns == NULL || ring->episode == NULL || ring->over == NULL) {
        ferry__no_memory(why);
        goto fail;
    }
    if (ferry__region_create(ring->head.bytes, max_bytes, &ring->region, why) < 0) goto fail;
    base = ring->region->base;
    memcpy(base, &ring->head, sizeof ring->head);
    memcpy(base + ring->head.spec_offset, start, (size_t)ring->head.spec_bytes);
    ring->latest = FERRY__SEQ_START;
    for (i = 0; i < FERRY__RING_SLOTS; i++) {
        ring->seq[i] = FERRY__SEQ_START;
        ferry__store_relaxed(&ferry__ring_slot_at(base, &ring->head, (uint32_t)i)->seq, FERRY__SEQ_START);
    }
    for (i = 0; i < rows; i++) ring->returns[i] = NAN, ring->episode[i] = episode[i];
    ferry__platform_memory_seal(ring->region->memory);
    *out = ring;
    return 0;
fail:
    ferry__ring_close(ring);
    return why->code;
}

void ferry__ring_note(ferry__ring *ring, const ferry__slot *answer) {
    const ferry__group *group = &ring->spec->group;
    const char *slot = (const char *)answer;
    const double *reward = (const double *)(const void *)(slot + group->reward_offset);
    const uint64_t *episode = (const uint64_t *)(const void *)(slot + group->episode_offset);
    const uint8_t *terminated = (const uint8_t *)slot + group->terminated_offset;
    const uint8_t *truncated = (const uint8_t *)slot + group->truncated_offset;
    int same_step = (group->flags & FERRY__AUTORESET_MASK) == FERRY_AUTORESET_SAME_STEP;
    uint32_t row;
    ring->behind = 1;
    for (row = 0; row < group->num_rows; row++) {
        int begun = episode[row] != ring->episode[row];
        /* In mode same step the reward is of the episode that ended; in others a row that begins one has none. */
        if (answer->kind == FERRY_STEP && (!begun || same_step)) {
            int over = (terminated[row] | truncated[row]) != 0;
            ring->returns[row] += reward[row];
            if (over && !ring->over[row] && !isnan(ring->returns[row])) {
                ring->finished++;
                ring->finished_return += ring->returns[row];
            }
            ring->over[row] |= (uint8_t)over;
        }
        if (begun) ring->returns[row] = 0, ring->over[row] = 0, ring->episode[row] = episode[row];
    }
}

void ferry__ring_write(ferry__ring *ring, const char *request, const ferry__slot *answer, int64_t now_ns) {
    uint32_t next = ring->latest + 1, *seq = &ring->seq[next % FERRY__RING_SLOTS];
    ferry__ring_slot *slot = ferry__ring_slot_at(ring->region->base, &ring->head, next), said;
    ferry__slot told; /* it lies where the agent could have written to it meanwhile */
    FERRY__ONCE(told, answer);
    memset(&said, 0, sizeof said);
    said.number = told.number, said.stamp_ns = (uint64_t)now_ns;
    said.count = next;
    said.finished = ring->finished, said.finished_return = ring->finished_return;
    ferry__store_relaxed(&slot->seq, *seq + 1);
    ferry__fence_release();
    ferry__copy_words_out(&slot->number, &said.number, sizeof said - offsetof(ferry__ring_slot, number));
    ferry__ring_copy(ring->spec, &ring->head, ferry__copy_words_out, (char *)slot, ring->returns, request, (const char *)answer, &told);
    *seq += 2;
    ferry__store_release(&slot->seq, *seq);
    ferry__store_release(&ferry__ring_head_at(ring->region->base)->latest, next);
    ring->latest = next, ring->copied_ns = now_ns, ring->behind = 0;
}

/* ---- Reading ---- */

/* Is the ring's head as it must be, as far as it goes by itself? */
static int ferry__ring_head_is_sound(const ferry__ring_head *head, uint64_t bytes) {
    return memcmp(head->magic, FERRY__RING_MAGIC, 8) == 0 && head->bytes == bytes &&
           ferry__lies_in(head->spec_offset, head->spec_bytes, sizeof *head, bytes, 8) && head->spec_bytes >= sizeof(ferry__header) &&
           head->slot_bytes <= bytes / FERRY__RING_SLOTS && head->slot_bytes % FERRY__CACHE_LINE == 0 &&
           ferry__lies_in(head->slots_offset, FERRY__RING_SLOTS * head->slot_bytes, sizeof *head, bytes, FERRY__CACHE_LINE);
}

/* And do messages of this kind fit into its slots? */
static int ferry__ring_slots_are_sound(const ferry__ring_head *head, const ferry__spec *spec) {
    const uint64_t from = sizeof(ferry__ring_slot), end = head->slot_bytes;
    return ferry__lies_in(head->returns_at, sizeof(double) * spec->group.num_rows, from, end, 8) &&
           ferry__lies_in(head->agent_at, head->agent_bytes, from, end, 8) && ferry__lies_in(head->env_at, head->env_bytes, from, end, 8) &&
           head->agent_bytes >= spec->fields_end[FERRY__AGENT - 1] && head->agent_bytes % FERRY__RING_ALIGN == 0 &&
           spec->header.env_blob <= head->env_bytes &&
           ferry__round_up(spec->header.blob_bytes, FERRY__RING_ALIGN) <= head->env_bytes - spec->header.env_blob;
}

/* Everything that reading relies on. */
static int ferry__ring_check(ferry__ring_reader *reader, ferry_why *why) {
    const ferry__ring_head *head = &reader->head;
    ferry__header header;
    int sound = ferry__ring_head_is_sound(head, reader->bytes);
    if (sound) {
        const char *start = reader->base + head->spec_offset;
        FERRY__ONCE(header, start);
        if (ferry__spec_take(start, head->spec_bytes, header.region_bytes, &reader->spec, why) < 0) return why->code;
        sound = ferry__ring_slots_are_sound(head, &reader->spec);
    }
    return sound ? 0 : ferry__fail(why, FERRY_EPROTOCOL, "what the environment shows to observers is not laid out as it must be");
}

void ferry__ring_forget(ferry__ring_reader *reader) {
    if (reader->base != NULL) ferry__platform_memory_unmap((void *)(uintptr_t)reader->base, reader->bytes);
    ferry__spec_clear(&reader->spec);
    free(reader->copy);
    memset(reader, 0, sizeof *reader);
}

int ferry__ring_adopt(ferry__os memory, uint64_t bytes, ferry__ring_reader *out, ferry_why *why) {
    void *base = NULL;
    int err = 0;
    memset(out, 0, sizeof *out);
    if (bytes < sizeof out->head || bytes % FERRY__PAGE != 0)
        err = ferry__fail(why, FERRY_EPROTOCOL, "a region cannot have %llu bytes", (ferry__ull)bytes);
    else if (ferry__platform_memory_check(memory, bytes, 0, why) < 0 ||
             ferry__platform_memory_map(memory, bytes, FERRY__MAP_LIVE, &base, why) < 0)
        err = why->code;
    ferry__platform_close(memory);
    if (err < 0) return err;
    out->base = (const char *)base, out->bytes = bytes;
    FERRY__ONCE(out->head, base);
    if (ferry__ring_check(out, why) == 0) {
        out->seen = FERRY__SEQ_START;
        out->copy = (char *)calloc(1, (size_t)out->head.slot_bytes);
        if (out->copy != NULL) {
            out->said = (const ferry__ring_slot *)(void *)out->copy;
            out->returns = (const double *)(void *)(out->copy + out->head.returns_at);
            out->request = (const ferry__slot *)(void *)(out->copy + out->head.agent_at);
            out->answer = (const ferry__slot *)(void *)(out->copy + out->head.env_at);
            return 0;
        }
        ferry__no_memory(why);
    }
    ferry__ring_forget(out);
    return why->code;
}

int ferry__ring_read(ferry__ring_reader *reader) {
    const ferry__ring_head *head = &reader->head;
    char *base = (char *)(uintptr_t)reader->base, *copy = reader->copy;
    int tries;
    for (tries = 0; tries < FERRY__RING_TRIES; tries++) {
        uint32_t latest = ferry__load_acquire(&ferry__ring_head_at(base)->latest), seq;
        const ferry__ring_slot *slot = ferry__ring_slot_at(base, head, latest);
        const char *from = (const char *)slot;
        if (latest == reader->seen) return 0;
        seq = ferry__load_acquire(&slot->seq);
        if (seq % 2 != 0) continue;
        ferry__copy_words_in(copy + offsetof(ferry__ring_slot, number), &slot->number, sizeof *slot - offsetof(ferry__ring_slot, number));
        ferry__ring_copy(&reader->spec, head, ferry__copy_words_in, copy, from + head->returns_at, from + head->agent_at,
                         from + head->env_at, reader->answer);
        ferry__fence_acquire();
        if (ferry__load_relaxed(&slot->seq) != seq) continue;
        /* Whole, but the writer may have come round before it was begun: then there are newer ones by now. */
        if (reader->said->count != latest) continue;
        reader->seen = latest;
        return 1;
    }
    return 0;
}
