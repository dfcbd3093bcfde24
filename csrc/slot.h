/* Publishing a message and seeing one. A message belongs to its writer until it is published, and publishing is the writer's last store:
 * whoever dies before it has said nothing. */
#ifndef FERRY__SLOT_H
#define FERRY__SLOT_H

#include "atomics.h"
#include "layout.h"
#include "platform.h"

/* What images are rounded up to, where nothing else follows: whole lines are copied fastest. */
static inline uint64_t ferry__whole_lines(uint64_t bytes, uint64_t limit) {
    uint64_t lines = (bytes + FERRY__CACHE_LINE - 1) / FERRY__CACHE_LINE * FERRY__CACHE_LINE;
    return lines <= limit ? lines : bytes;
}

/* Makes the slot's content the message that seq stands for, and wakes the peer if it sleeps.
 *
 * The peer polls the line that begins the slot, and each store to a polled line may cost a trip between the processors. So the first
 * bytes of a message (head, columns, small fields) are prepared in private memory, in the slot's own layout, and go out here: the later
 * lines, then the polled one in one burst that ends with seq. image is that memory; its own seq and
 * kind are ignored. (A wide load of what was just stored narrowly stalls the processor; so callers write the image early.)
 *
 * The release carries all that was written to the slot; it pairs with the acquire in ferry__slot_state and ferry__wait. The fence and the
 * load after it are one half of the Dekker pair; ferry__wait has the other. */
static inline void ferry__slot_publish(ferry__slot *slot, const ferry__slot *image, size_t image_bytes, uint16_t kind, uint32_t seq, const ferry__line *peer) {
    const size_t first = sizeof slot->seq, line = FERRY__CACHE_LINE;
    char *to = (char *)slot;
    const char *from = (const char *)image;
    if (image_bytes >= line) {
        size_t at = image_bytes - image_bytes % line;
        if (at < image_bytes) memcpy(to + at, from + at, image_bytes - at);
        for (at -= line; at > 0; at -= line) memcpy(to + at, from + at, line);
        memcpy(to + first, from + first, line - first);
    } else memcpy(to + first, from + first, image_bytes - first);
    slot->kind = kind;
    ferry__store_release(&slot->seq, seq);
    ferry__fence_dekker();
    if (ferry__load_relaxed(&peer->parked) != 0) ferry__platform_wake(&slot->seq);
}

/* 1: the message next is there, 0: the slot still holds previous, FERRY_ECORRUPT: it holds what nobody may write. Only equality is
 * asked, since the words wrap. */
static inline int ferry__slot_state(const ferry__slot *slot, uint32_t previous, uint32_t next) {
    uint32_t seq = ferry__load_acquire(&slot->seq);
    return seq == next ? 1 : seq == previous ? 0 : FERRY_ECORRUPT;
}

#endif
