/* A bell: how one agent sleeps until enough of many environments have answered. It lies on a page of the agent's, which it hands to each of
 * them in the handshake; they count their answers there, and wake it when the count has come as far as it wants. */
#ifndef FERRY__BELL_H
#define FERRY__BELL_H

#include "atomics.h"
#include "layout.h"
#include "region.h"
#include "wait.h"

struct ferry_bell {
    ferry__region *region; /* a page of its own */
    ferry__manners manners;
};

static inline ferry__bell_page *ferry__bell_page_of(const ferry__region *region) { return (ferry__bell_page *)(void *)region->base; }

/* Env: counts the answer that has just been published. The count and the look at parked are this side's half of the Dekker pair. A peer that
 * writes nonsense to the page gains a needless wake-up, or sleeps a slice. */
static inline void ferry__bell_ring(const ferry__region *bell) {
    ferry__bell_page *page = ferry__bell_page_of(bell);
    uint32_t count = ferry__add(&page->count, 1);
    ferry__fence_dekker();
    if (ferry__load_acquire(&page->parked) != 0 && (int32_t)(count - ferry__load_relaxed(&page->target)) >= 0)
        ferry__platform_wake(bell->memory, &page->count);
}

/* Agent: sleeps until so many more answers have been counted than were seen, or a slice is over; or wakes for no reason. */
static inline void ferry__bell_sleep(const ferry__region *bell, uint32_t seen, uint32_t more, int64_t slice_ns) {
    ferry__bell_page *page = ferry__bell_page_of(bell);
    ferry__store_relaxed(&page->target, seen + more);
    ferry__store_release(&page->parked, 1);
    ferry__fence_dekker();
    if (ferry__load_relaxed(&page->count) == seen) ferry__platform_sleep(bell->memory, &page->count, seen, slice_ns);
    ferry__store_relaxed(&page->parked, 0);
}

#endif
