/* A lane: three slots between one writer and one reader, of which only the newest message counts. Each side has a slot of its own, the
 * third lies between them, and giving one's own for it in a single exchange publishes, or takes. So nobody waits, nobody tries again,
 * nothing is read while it is written, and each side's work is the same whatever the other does: a triple buffer. */
#ifndef FERRY__LANE_H
#define FERRY__LANE_H

#include "atomics.h"
#include "layout.h"

#define FERRY__LANE_SLOTS 3
#define FERRY__LANE_SLOT UINT32_C(3)  /* the word's bits for the slot in between */
#define FERRY__LANE_FRESH UINT32_C(4) /* it holds what the reader has not taken */
#define FERRY__LANE_KNOCK UINT32_C(8) /* the first of those that count knocks */

typedef struct ferry__lane {
    uint32_t *word;
    uint32_t mine;
    ferry__slot *slot[FERRY__LANE_SLOTS];
} ferry__lane;

/* What the word holds in a fresh region. The writer begins with the first slot, the reader with the last. */
#define FERRY__LANE_START UINT32_C(1)

static inline uint64_t ferry__lane_pitch(uint64_t blob_at, uint64_t blob_bytes) {
    return (blob_at + blob_bytes + FERRY__PAGE - 1) / FERRY__PAGE * FERRY__PAGE;
}

static inline void ferry__lane_open(ferry__lane *lane, char *word, char *slots, uint64_t pitch, uint32_t mine) {
    uint32_t i;
    lane->word = (uint32_t *)(void *)word, lane->mine = mine;
    for (i = 0; i < FERRY__LANE_SLOTS; i++) lane->slot[i] = (ferry__slot *)(void *)(slots + pitch * i);
}

/* Both lanes of a region, by the private copy of its header. */
static inline void ferry__lanes_open(const ferry__header *header, char *base, ferry__side side, ferry__lane *frames, ferry__lane *actions) {
    const uint32_t writes = 0, reads = FERRY__LANE_SLOTS - 1;
    char *words = base + header->env_offset;
    ferry__lane_open(frames, words + FERRY__FRAMES_WORD, base + header->frame_slots,
                     ferry__lane_pitch(header->env_blob, header->blob_bytes), side == FERRY__ENV ? writes : reads);
    ferry__lane_open(actions, words + FERRY__ACTIONS_WORD, base + header->action_slots,
                     ferry__lane_pitch(header->agent_blob, header->blob_bytes), side == FERRY__ENV ? reads : writes);
}

static inline ferry__slot *ferry__lane_mine(const ferry__lane *lane) { return lane->slot[lane->mine]; }

/* Where the peer has damaged the word one's own slot stays one's own. */
static inline int ferry__lane_swap(ferry__lane *lane, uint32_t flag) {
    uint32_t got = ferry__exchange(lane->word, lane->mine | flag) & FERRY__LANE_SLOT;
    if (got >= FERRY__LANE_SLOTS || got == lane->mine) return FERRY_ECORRUPT;
    lane->mine = got;
    return 1;
}

/* Writer: what is in its slot is the newest message; it has another slot now. FERRY_ECORRUPT if the word was damaged. */
static inline int ferry__lane_push(ferry__lane *lane) { return ferry__lane_swap(lane, FERRY__LANE_FRESH); }

/* Writer: changes the word and nothing that it says, so that a reader who would sleep on it looks around, and at what was written elsewhere
 * before. */
static inline void ferry__lane_knock(const ferry__lane *lane) { (void)ferry__add(lane->word, FERRY__LANE_KNOCK); }

/* Reader: 1, its slot holds the newest message, until the next time; 0, there is none that it has not had; FERRY_ECORRUPT. */
static inline int ferry__lane_pull(ferry__lane *lane) {
    uint32_t word = ferry__load_acquire(lane->word), line;
    if ((word & FERRY__LANE_FRESH) == 0) return 0;
    /* The message's first lines come along with the word's ownership, and not after it. */
    if ((word & FERRY__LANE_SLOT) < FERRY__LANE_SLOTS)
        for (line = 0; line < 3; line++) __builtin_prefetch((const char *)lane->slot[word & FERRY__LANE_SLOT] + 64 * line);
    return ferry__lane_swap(lane, 0);
}

#endif
