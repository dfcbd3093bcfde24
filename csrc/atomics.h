/* Memory orders: the only place where they are spelled.
 *
 * Acquire and release make a published word carry everything written before it: a reader that sees the word sees those bytes. Sleeping
 * needs more. Publisher and sleeper each write one word and then read the other's:
 *
 *     publisher: store seq;    fence;    load parked        sleeper: store parked;    fence;    load seq
 *
 * Without the fences both loads may be answered before either store is seen, and the wake-up is lost. With a sequentially consistent fence
 * on both sides at least one of the two sees the other (Dekker). The publisher's store is a plain release store, so that it leaves the
 * processor as soon as those before it have; the fence is waited for while the peer is already at work. */
#ifndef FERRY__ATOMICS_H
#define FERRY__ATOMICS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t ferry__load_acquire(const uint32_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
static inline void ferry__store_release(uint32_t *word, uint32_t value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }
static inline void ferry__fence_dekker(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
static inline uint32_t ferry__load_relaxed(const uint32_t *word) { return __atomic_load_n(word, __ATOMIC_RELAXED); }
static inline void ferry__store_relaxed(uint32_t *word, uint32_t value) { __atomic_store_n(word, value, __ATOMIC_RELAXED); }

/* The two fences of a sequence lock: what is stored after the first is seen no earlier than what was stored before it; what was loaded
 * before the second was loaded no later than what is loaded after it. */
static inline void ferry__fence_release(void) { __atomic_thread_fence(__ATOMIC_RELEASE); }
static inline void ferry__fence_acquire(void) { __atomic_thread_fence(__ATOMIC_ACQUIRE); }

/* Copies between private memory and memory that others read or write meanwhile, a relaxed word at a time: such a race is defined, and a
 * sequence word says whether it was lost. Both sides are aligned to a word, and bytes is a multiple of it. */
typedef size_t ferry__word;
static inline void ferry__copy_words_out(void *shared, const void *private_copy, size_t bytes) {
    ferry__word *to = (ferry__word *)shared;
    const ferry__word *from = (const ferry__word *)private_copy;
    size_t i;
    for (i = 0; i < bytes / sizeof *to; i++) __atomic_store_n(to + i, from[i], __ATOMIC_RELAXED);
}
static inline void ferry__copy_words_in(void *private_copy, const void *shared, size_t bytes) {
    ferry__word *to = (ferry__word *)private_copy;
    const ferry__word *from = (const ferry__word *)shared;
    size_t i;
    for (i = 0; i < bytes / sizeof *to; i++) to[i] = __atomic_load_n(from + i, __ATOMIC_RELAXED);
}

/* Gives one word for another, carrying what was written before and seeing what was written before the other was given. */
static inline uint32_t ferry__exchange(uint32_t *word, uint32_t value) { return __atomic_exchange_n(word, value, __ATOMIC_ACQ_REL); }

/* Adds to a word, in one order that everybody sees, carrying what was written before, and returns the sum. */
static inline uint32_t ferry__add(uint32_t *word, uint32_t number) { return __atomic_add_fetch(word, number, __ATOMIC_SEQ_CST); }

/* Reference counts: the last release must see every earlier use. */
static inline void ferry__count_up(uint32_t *count) { (void)__atomic_fetch_add(count, 1, __ATOMIC_RELAXED); }
static inline uint32_t ferry__count_down(uint32_t *count) { return __atomic_sub_fetch(count, 1, __ATOMIC_ACQ_REL); }

/* Tells the processor that this is a spin loop. */
static inline void ferry__pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory"); /* yield takes no time on most of them */
#else
    __asm__ volatile("" ::: "memory");
#endif
}

/* Asks for a line that is going to be written, and that the peer has in its cache. */
static inline void ferry__fetch_to_write(const char *line) {
#if defined(__x86_64__)
    __asm__ volatile("prefetchw %0" : : "m"(*line));
#elif defined(__aarch64__)
    __asm__ volatile("prfm pstl1keep, [%0]" : : "r"(line));
#else
    __builtin_prefetch(line, 1);
    __asm__ volatile("" : : "r"(line)); /* a function of prefetches alone has no effect, by gcc's book, and would go */
#endif
}

/* Copies foreign bytes once. The barrier keeps the compiler from reading the source again in place of the copy. */
static inline void ferry__copy_in(void *private_copy, const void *foreign, size_t bytes) {
    if (bytes > 0) memcpy(private_copy, foreign, bytes);
    __asm__ volatile("" ::: "memory");
}

/* The same for one value. */
#define FERRY__ONCE(private_value, foreign) ferry__copy_in(&(private_value), foreign, sizeof(private_value))

/* The same for whole lines; a few of them are copied faster without a call. */
static inline void ferry__copy_lines_in(void *private_copy, const void *foreign, size_t lines) {
    const size_t line = 64;
    char *to = (char *)private_copy;
    const char *from = (const char *)foreign;
    if (lines > 4) memcpy(to, from, lines * line);
    else
        for (; lines > 0; lines--, to += line, from += line) memcpy(to, from, line);
    __asm__ volatile("" ::: "memory");
}

#endif
