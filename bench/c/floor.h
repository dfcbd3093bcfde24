/* The floor: what an expert would write by hand for one exchange of fixed size between two processes, and nothing else.
 * It knows no spec, no liveness, no errors. FROZEN: rates are compared with it across versions, so it is not tuned any
 * more.
 *
 * Four memcpys make a round trip: the agent's action into shared memory and out of it, the env's observation likewise.
 * Each side owns one word on a cache line of its own; publishing is a release store of the trip's number, waiting an
 * acquire load.
 *
 * The payload carries a relation: the first and the last 8 bytes of an action are the trip's number, those of an
 * observation are that number plus 1000. Every trip is checked, by the same code as in the contender that the floor is
 * compared with. */
#ifndef FERRY_BENCH_FLOOR_H
#define FERRY_BENCH_FLOOR_H

#include "bench.h"

#include <linux/futex.h>
#include <sys/syscall.h>

enum { FLOOR_LINE = 128, FLOOR_ANSWER_PLUS = 1000 };

typedef enum floor_wait { FLOOR_SPIN, FLOOR_FUTEX } floor_wait;

typedef struct floor_channel {
    uint32_t *asked, *answered; /* numbers of the last action and the last observation; wrap */
    uint8_t *action, *observation;
    size_t action_bytes, observation_bytes;
    floor_wait wait;
} floor_channel;

static inline size_t floor_round_up(size_t size_bytes) { return (size_bytes + FLOOR_LINE - 1) / FLOOR_LINE * FLOOR_LINE; }

static inline size_t floor_size(size_t action_bytes, size_t observation_bytes) {
    return 2 * FLOOR_LINE + floor_round_up(action_bytes) + floor_round_up(observation_bytes);
}

static inline floor_channel floor_open(size_t action_bytes, size_t observation_bytes, floor_wait wait) {
    floor_channel c;
    uint8_t *base = (uint8_t *)bench_shared(floor_size(action_bytes, observation_bytes));
    c.asked = (uint32_t *)base;
    c.answered = (uint32_t *)(base + FLOOR_LINE);
    c.action = base + 2 * FLOOR_LINE;
    c.observation = c.action + floor_round_up(action_bytes);
    c.action_bytes = action_bytes, c.observation_bytes = observation_bytes, c.wait = wait;
    return c;
}

static inline void floor_close(floor_channel *c) { munmap(c->asked, floor_size(c->action_bytes, c->observation_bytes)); }

static inline void floor_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("isb");
#endif
}

static inline void floor_await(uint32_t *word, uint32_t number, floor_wait wait) {
    uint32_t seen;
    while ((seen = __atomic_load_n(word, __ATOMIC_ACQUIRE)) != number) {
        if (wait == FLOOR_SPIN) floor_pause();
        else syscall(SYS_futex, word, FUTEX_WAIT, seen, NULL, NULL, 0);
    }
}

static inline void floor_publish(uint32_t *word, uint32_t number, floor_wait wait) {
    __atomic_store_n(word, number, __ATOMIC_RELEASE);
    if (wait == FLOOR_FUTEX) syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static inline void payload_write(uint8_t *payload, size_t size_bytes, uint64_t value) {
    memcpy(payload, &value, sizeof value);
    memcpy(payload + size_bytes - sizeof value, &value, sizeof value);
}

/* The payload's number; a payload whose ends differ was torn. */
static inline uint64_t payload_read(const uint8_t *payload, size_t size_bytes) {
    uint64_t first, last;
    memcpy(&first, payload, sizeof first);
    memcpy(&last, payload + size_bytes - sizeof last, sizeof last);
    if (first != last)
        bench_die("a payload was torn: it begins with %llu, ends with %llu", (unsigned long long)first, (unsigned long long)last);
    return first;
}

static inline void payload_expect(const uint8_t *payload, size_t size_bytes, uint64_t value) {
    uint64_t seen = payload_read(payload, size_bytes);
    if (seen != value) bench_die("trip %llu: the payload says %llu", (unsigned long long)value, (unsigned long long)seen);
}

/* The inner loops. Always inlined, so that a call with literal sizes and wait becomes what a hand would write for just
 * that case. */
__attribute__((always_inline)) static inline void floor_env_loop(const floor_channel *c, uint64_t first, uint32_t trips, size_t in,
                                                                 size_t out, floor_wait wait, uint8_t *action, uint8_t *observation) {
    for (uint64_t n = first; n < first + trips; n++) {
        floor_await(c->asked, (uint32_t)n, wait);
        memcpy(action, c->action, in);
        payload_write(observation, out, payload_read(action, in) + FLOOR_ANSWER_PLUS);
        memcpy(c->observation, observation, out);
        floor_publish(c->answered, (uint32_t)n, wait);
    }
}

__attribute__((always_inline)) static inline void floor_agent_loop(const floor_channel *c, uint64_t first, uint32_t trips, size_t in,
                                                                   size_t out, floor_wait wait, uint8_t *action, uint8_t *observation,
                                                                   double *each_ns) {
    for (uint64_t n = first; n < first + trips; n++) {
        uint64_t start = each_ns ? bench_now_ns() : 0;
        payload_write(action, in, n);
        memcpy(c->action, action, in);
        floor_publish(c->asked, (uint32_t)n, wait);
        floor_await(c->answered, (uint32_t)n, wait);
        memcpy(observation, c->observation, out);
        payload_expect(observation, out, n + FLOOR_ANSWER_PLUS);
        if (each_ns) *each_ns++ = (double)(bench_now_ns() - start);
    }
}

/* One block of round trips, numbered from first on, on the env's side. The buffers are private to the process. */
static inline void floor_env_block(const floor_channel *c, uint64_t first, uint32_t trips, uint8_t *action, uint8_t *observation) {
    size_t in = c->action_bytes, out = c->observation_bytes;
    if (c->wait == FLOOR_FUTEX) floor_env_loop(c, first, trips, in, out, FLOOR_FUTEX, action, observation);
    else if (in == 64 && out == 64) floor_env_loop(c, first, trips, 64, 64, FLOOR_SPIN, action, observation);
    else floor_env_loop(c, first, trips, in, out, FLOOR_SPIN, action, observation);
}

/* The agent's side of the same. each_ns receives the time of every single trip, or is NULL. */
static inline void floor_agent_block(const floor_channel *c, uint64_t first, uint32_t trips, uint8_t *action, uint8_t *observation,
                                     double *each_ns) {
    size_t in = c->action_bytes, out = c->observation_bytes;
    if (c->wait == FLOOR_FUTEX) floor_agent_loop(c, first, trips, in, out, FLOOR_FUTEX, action, observation, each_ns);
    else if (in == 64 && out == 64 && !each_ns) floor_agent_loop(c, first, trips, 64, 64, FLOOR_SPIN, action, observation, NULL);
    else floor_agent_loop(c, first, trips, in, out, FLOOR_SPIN, action, observation, each_ns);
}

#endif /* FERRY_BENCH_FLOOR_H */
