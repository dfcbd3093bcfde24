/* Memory orders: the only place where they are spelled.
 *
 * Acquire and release make a published word carry everything written before it: a reader that sees the word sees those bytes. The
 * sequentially consistent pair below does more, and only it may be used for sleeping. Publisher and sleeper each write one word and
 * then read the other's:
 *
 *     publisher: store seq;    load parked        sleeper: store parked;    load seq
 *
 * With acquire and release alone both loads may be answered before either store is seen, and the wake-up is lost. Sequential
 * consistency forbids exactly that: at least one of the two sees the other (Dekker). */
#ifndef FERRY__ATOMICS_H
#define FERRY__ATOMICS_H

#include <stdint.h>
#include <string.h>

static inline uint32_t ferry__load_acquire(const uint32_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
static inline uint32_t ferry__load_dekker(const uint32_t *word) { return __atomic_load_n(word, __ATOMIC_SEQ_CST); }
static inline void ferry__store_dekker(uint32_t *word, uint32_t value) { __atomic_store_n(word, value, __ATOMIC_SEQ_CST); }
static inline void ferry__store_relaxed(uint32_t *word, uint32_t value) { __atomic_store_n(word, value, __ATOMIC_RELAXED); }

/* Reference counts: the last release must see every earlier use. */
static inline void ferry__count_up(uint32_t *count) { (void)__atomic_fetch_add(count, 1, __ATOMIC_RELAXED); }
static inline uint32_t ferry__count_down(uint32_t *count) { return __atomic_sub_fetch(count, 1, __ATOMIC_ACQ_REL); }

/* Tells the processor that this is a spin loop. */
static inline void ferry__pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#else
    __asm__ volatile("" ::: "memory");
#endif
}

/* Copies foreign bytes once. The barrier keeps the compiler from reading the source again in place of the copy. */
static inline void ferry__copy_in(void *private_copy, const void *foreign, size_t bytes) {
    memcpy(private_copy, foreign, bytes);
    __asm__ volatile("" ::: "memory");
}

#endif
