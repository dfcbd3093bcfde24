/* Waiting for a word to change.
 *
 * Invariant: nobody sleeps through a publication. The sleeper stores parked, then loads the word; the publisher stores the word, then
 * loads parked (slot.h). Each has a sequentially consistent fence between the two, so one of them sees the other's store: the
 * sleeper does not fall asleep, or the publisher wakes it. And the kernel compares the word once more before it suspends anybody. */
#include "wait.h"

#include "atomics.h"
#include "errors.h"

#include <string.h>

int64_t ferry_now_ns(void) { return ferry__platform_now_ns(); }

int ferry__policy_from_environment(ferry__policy *out, ferry_why *why) {
    char text[32];
    *out = FERRY__ADAPTIVE;
    if (!ferry__platform_variable("FERRY_WAIT", text, sizeof text) || strcmp(text, "adaptive") == 0) return 0;
    if (strcmp(text, "spin") == 0) *out = FERRY__SPIN;
    else if (strcmp(text, "block") == 0) *out = FERRY__BLOCK;
    else return ferry__fail(why, FERRY_EINVAL, "FERRY_WAIT is '%s'; it may be spin, adaptive or block", text);
    return 0;
}

static int ferry__changed(const uint32_t *word, uint32_t previous) { return ferry__load_acquire(word) != previous; }

/* Looks between pauses: 1 changed, 0 not. */
static int ferry__spin(const uint32_t *word, uint32_t previous) {
    int looks;
    for (looks = 0; looks < FERRY__SPIN_LOOKS; looks++) {
        if (ferry__changed(word, previous)) return 1;
        ferry__pause();
    }
    return 0;
}

/* Two processes that yield to each other are left on one processor by a scheduler that has idle ones besides. Whoever is woken is put on an idle
 * one; so now and then one sleeps. */
#define FERRY__CROWDED_WAITS 32
static int ferry__should_sleep(const ferry__waiter *waiter) {
    uint32_t here = ferry__tell_processor(waiter->line);
    if (here == 0 || ferry__load_relaxed(&waiter->peer->processor) != here) return 0;
    return ++*waiter->crowded % FERRY__CROWDED_WAITS == 0;
}

/* What was waited for is there, and this side perhaps on another processor than before. */
static int ferry__arrived(const ferry__waiter *waiter) {
    (void)ferry__tell_processor(waiter->line);
    return 1;
}

int ferry__wait(const ferry__waiter *waiter, const uint32_t *word, uint32_t previous, int64_t timeout_ns) {
    int64_t now = ferry__platform_now_ns(), in_vain = 0;
    const int64_t deadline = ferry__deadline(timeout_ns, now);
    int err, slept = 0, yields = timeout_ns != 0 && waiter->policy == FERRY__ADAPTIVE && !ferry__should_sleep(waiter);
    ferry__note_wait(waiter->line, waiter->next, now);
    if (waiter->manners->hasty > 0) waiter->manners->hasty--;
    else if (yields) {
        int again;
        do {
            again = ferry__yield(waiter->manners, &in_vain, &now);
            if (ferry__changed(word, previous)) {
                if (waiter->manners->late && ferry__lost(waiter->peer, waiter->peer_next, now)) waiter->manners->hasty = FERRY__HASTY_WAITS;
                return ferry__arrived(waiter);
            }
        } while (again && now < deadline);
    }
    for (;;) {
        if (waiter->turn != NULL && ferry__load_acquire(waiter->turn) == waiter->next) err = FERRY__INTERRUPTED;
        else err = waiter->idle(waiter->channel, now, slept);
        /* What a dying peer published last is delivered first. */
        if (ferry__changed(word, previous)) return 1;
        if (err < 0) return err;
        if (now >= deadline) return 0;
        if (waiter->policy == FERRY__SPIN) {
            int64_t slice_end = ferry__least(now + FERRY__SLICE_NS, deadline);
            do
                if (ferry__spin(word, previous)) return 1;
            while (ferry__platform_now_ns() < slice_end);
        } else {
            ferry__store_relaxed(&waiter->line->parked, 1);
            ferry__fence_dekker();
            if (ferry__load_relaxed(word) == previous && (slept || ferry__load_relaxed(&waiter->peer->left) == 0)) {
                waiter->line->sleeps++;
                ferry__platform_sleep(waiter->memory, word, previous, ferry__least(FERRY__SLICE_NS, deadline - now));
            }
            ferry__store_relaxed(&waiter->line->parked, 0);
            if (ferry__changed(word, previous)) return ferry__arrived(waiter);
        }
        now = ferry__platform_now_ns();
        slept = 1;
    }
}
