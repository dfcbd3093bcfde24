/* Work that takes its time on a CPU and comes to the same number everywhere: it cannot be shortened, and whether it was done can be checked. */
#ifndef FERRY_BENCH_WORK_H
#define FERRY_BENCH_WORK_H

#include <stdint.h>

/* Knuth's MMIX generator: each round waits for the multiplication before it. */
static inline uint64_t busy_work(uint64_t x, uint32_t rounds) {
    for (uint32_t i = 0; i < rounds; i++) x = x * 6364136223846793005u + 1442695040888963407u;
    return x;
}

#endif /* FERRY_BENCH_WORK_H */
