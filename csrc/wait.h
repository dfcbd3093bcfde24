/* Waiting for a word to change: spin, yield, sleep. */
#ifndef FERRY__WAIT_H
#define FERRY__WAIT_H

#include "atomics.h"
#include "layout.h"
#include "platform.h"

typedef enum ferry__policy {
    FERRY__ADAPTIVE, /* spin about 1 us, yield between looks until 50 us are lost, then sleep */
    FERRY__SPIN,     /* never sleep: for cores that belong to one process each */
    FERRY__BLOCK     /* sleep at once: where the processor is for others */
} ferry__policy;

/* What a waiter has learnt of those that it shares the processor with. */
typedef struct ferry__manners {
    int looks;      /* how often the next wait looks before it yields: not at all where somebody else wants the processor */
    uint32_t hasty; /* so many waits are yet to sleep at once */
    int late;       /* the last yield has met somebody who does not yield */
} ferry__manners;

struct ferry__channel;

typedef struct ferry__waiter {
    ferry__policy policy;
    ferry__line *line;       /* this side's: parked is raised in it around each sleep */
    ferry__os memory;        /* in which the word lies */
    const ferry__line *peer; /* the other's: while left stands in it the first sleep is passed over, so that idle looks at once */
    uint32_t next;           /* the sequence word that is waited for: for onlookers */
    uint32_t peer_next;      /* what the peer waits for once it has published that */
    const uint32_t *turn;    /* NULL, or where next may come while another word is waited for: FERRY__INTERRUPTED */
    uint32_t *crowded;       /* counts the waits on the peer's own processor */
    ferry__manners *manners;
    /* Called when spinning ends (slept is 0), then at least every 20 ms and after every wake-up (slept is 1); negative ends the wait. */
    int (*idle)(struct ferry__channel *channel, int64_t now_ns, int slept);
    struct ferry__channel *channel;
} ferry__waiter;

/* Tells onlookers since when this side waits. A wait that is taken up again goes on. */
static inline void ferry__note_wait(ferry__line *line, uint32_t next, int64_t now_ns) {
    if (line->waits_for == next) return;
    line->waits_ns = (uint64_t)now_ns;
    ferry__store_release(&line->waits_for, next);
}

/* Tells the peer where this side is, and returns it. */
static inline uint32_t ferry__tell_processor(ferry__line *line) {
    uint32_t here = ferry__platform_processor();
    if (line->processor != here) ferry__store_relaxed(&line->processor, here);
    return here;
}

/* When a wait that begins now is over; INT64_MAX for never. */
static inline int64_t ferry__deadline(int64_t timeout_ns, int64_t now_ns) {
    return timeout_ns == FERRY_FOREVER || timeout_ns > INT64_MAX - now_ns ? INT64_MAX : now_ns + timeout_ns;
}

static inline int64_t ferry__least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Reads FERRY_WAIT. */
FERRY__LOCAL int ferry__policy_from_environment(ferry__policy *out, ferry_why *why);

/* Yielding hands the processor to whoever wants it (often the very peer), at the price of a call. Beyond the order of a wake-up from sleep it
 * is no use. */
#define FERRY__YIELD_NS 50000
/* A yield that comes back late has handed the processor over; it costs this side two switches at most. */
#define FERRY__HANDED_OVER_NS 1500
#define FERRY__SWITCHES_NS 1000
/* One that comes back very late has met somebody who does not yield. If an answer has lain there meanwhile, a number of waits sleep at once:
 * whoever sleeps is woken in another's stead. */
#define FERRY__AT_WORK_NS 1000000
#define FERRY__HASTY_WAITS 127
#define FERRY__LOST_NS 500000
/* So long sleeps a wait at most before it looks around. */
#define FERRY__SLICE_NS 20000000

/* A busy peer answers within a microsecond, and a pause takes 10 to 45 ns: so many looks are made before the clock, itself 25 ns, is read. */
#define FERRY__SPIN_LOOKS 40

/* Yields once, in a wait that has come to *now: whether it may yield again. *in_vain counts what yielding has cost. */
static inline int ferry__yield(ferry__manners *manners, int64_t *in_vain, int64_t *now) {
    int64_t took = -*now;
    ferry__platform_yield();
    *now = ferry__platform_now_ns();
    took += *now;
    manners->looks = took > FERRY__HANDED_OVER_NS ? 0 : FERRY__SPIN_LOOKS;
    manners->late = took > FERRY__AT_WORK_NS;
    *in_vain += ferry__least(took, FERRY__SWITCHES_NS);
    return !manners->late && *in_vain < FERRY__YIELD_NS;
}

/* Has the peer waited for seq as long as makes it a loss? */
static inline int ferry__lost(const ferry__line *peer, uint32_t seq, int64_t now_ns) {
    return ferry__load_acquire(&peer->waits_for) == seq && (int64_t)((uint64_t)now_ns - peer->waits_ns) > FERRY__LOST_NS;
}

/* What a wait may end with besides an error: there is something else to do. */
#define FERRY__INTERRUPTED (-1000)

/* Goes on where spinning ends. 1 when *word no longer is previous (also if that happened along with an error), 0 after timeout_ns, or
 * idle's error. */
FERRY__LOCAL int ferry__wait(const ferry__waiter *waiter, const uint32_t *word, uint32_t previous, int64_t timeout_ns);

#endif
