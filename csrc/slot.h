/* Publishing a message and seeing one. A message belongs to its writer until it is published, and publishing is the writer's last store:
 * whoever dies before it has said nothing. */
#ifndef FERRY__SLOT_H
#define FERRY__SLOT_H

#include "atomics.h"
#include "layout.h"
#include "platform.h"

/* Makes the slot's content the message that seq stands for, and wakes the peer if it sleeps (only then is memory read). The release carries all that was written to
 * the slot; it pairs with the acquire in ferry__slot_state and ferry__wait. The fence and the load after it are one half of the Dekker
 * pair; ferry__wait has the other. */
static inline void ferry__slot_publish(ferry__slot *slot, uint32_t seq, const ferry__line *peer, const ferry__os *memory) {
    ferry__store_release(&slot->seq, seq);
    ferry__fence_dekker();
    if (ferry__load_relaxed(&peer->parked) != 0) ferry__platform_wake(*memory, &slot->seq);
}

/* The first 16 bytes of a head, which say all there is to say of a message without a blob. */
typedef struct ferry__plain {
    uint32_t seq;
    uint16_t kind;
    uint8_t blob_format, blob_where;
    uint64_t number;
} ferry__plain;
FERRY__SIZE(ferry__plain, 16);

/* Is the published message exactly the one that was expected? If not, it may still be a good one: look closer. */
static inline int ferry__slot_is_plain(const ferry__slot *slot, const ferry__plain *expected) {
    uint64_t seen[2], wanted[2];
    ferry__copy_in(seen, slot, sizeof seen);
    memcpy(wanted, expected, sizeof wanted);
    return ((seen[0] ^ wanted[0]) | (seen[1] ^ wanted[1])) == 0;
}

static inline ferry__plain ferry__plain_of(uint32_t seq, uint32_t kind, uint64_t number) {
    ferry__plain plain;
    plain.seq = seq, plain.kind = (uint16_t)kind, plain.blob_format = FERRY_NONE, plain.blob_where = FERRY__WHERE_SLOT,
    plain.number = number;
    return plain;
}

/* 1: the message next is there, 0: the slot still holds previous, FERRY_ECORRUPT: it holds what nobody may write. Only equality is
 * asked, since the words wrap. */
static inline int ferry__slot_state(const ferry__slot *slot, uint32_t previous, uint32_t next) {
    uint32_t seq = ferry__load_acquire(&slot->seq);
    return seq == next ? 1 : seq == previous ? 0 : FERRY_ECORRUPT;
}

#endif
