/* The Dekker pair of csrc/atomics.h, on this very processor. In each round both threads store to a word and then load the other's:
 *
 *     publisher: store seq;    fence;    load parked        sleeper: store parked;    fence;    load seq
 *
 * If both loads are answered before either store is seen, somebody sleeps whom nobody wakes. With ferry__fence_dekker that must never be.
 * How often it is without is told beside it: where that is never, the test has shown nothing.
 *
 * With a number: so many seconds. */
#include "check.h"

#include "../../csrc/atomics.h"

#ifdef _WIN32
int main(void) { return 77; }
#else

#include <pthread.h>
#include <sched.h>

enum { PUBLISHER, SLEEPER, LINE_WORDS = 16, PAIRS = 64, ROUNDS = 4096, ENOUGH = 1000 };

/* Each word has a line of its own, which the other thread has had last: so a store takes long to be seen. */
typedef struct pair {
    uint32_t word[2][LINE_WORDS];
} pair;

typedef struct stage {
    pair pairs[PAIRS];
    uint32_t round[2][LINE_WORDS]; /* that each has begun */
    uint32_t seen[2][ROUNDS];
    uint32_t over;
    int fenced;
} stage;

static stage s __attribute__((aligned(64)));

/* Until the other has begun the round too: 0, it will not. */
static int meet(int other, uint32_t round) {
    int looks = 0;
    while ((int32_t)(ferry__load_acquire(&s.round[other][0]) - round) < 0) {
        if (ferry__load_relaxed(&s.over)) return 0;
        if (++looks % 1000 == 0) sched_yield(); /* the other may have no processor */
        ferry__pause();
    }
    return 1;
}

static int play_round(int me, uint32_t round) {
    pair *p = &s.pairs[round % PAIRS];
    ferry__store_release(&s.round[me][0], round);
    if (!meet(1 - me, round)) return 0;
    ferry__store_release(&p->word[me][0], round);
    if (s.fenced) ferry__fence_dekker();
    else __asm__ volatile("" ::: "memory"); /* what the compiler may do is another matter */
    s.seen[me][round % ROUNDS] = ferry__load_relaxed(&p->word[1 - me][0]);
    return 1;
}

static void *sleep_for_ever(void *unused) {
    uint32_t round = 1;
    while (play_round(SLEEPER, round)) round++;
    return unused;
}

/* Goes on for so long, or until it has been lost often enough: how often it was, of how many rounds. */
static uint64_t count_lost(int fenced, int64_t time_ns, uint64_t enough, uint64_t *rounds) {
    pthread_t sleeper;
    uint64_t lost = 0;
    uint32_t round = 0, begun;
    int64_t start = now_ns();
    memset(&s, 0, sizeof s);
    s.fenced = fenced;
    CHECK(pthread_create(&sleeper, NULL, sleep_for_ever, NULL) == 0);
    do {
        begun = round;
        do CHECK(play_round(PUBLISHER, ++round));
        while (round % ROUNDS != 0);
        CHECK(meet(SLEEPER, round + 1)); /* it is through with this one */
        for (; begun < round; begun++) {
            uint32_t i = (begun + 1) % ROUNDS;
            lost += s.seen[PUBLISHER][i] != begun + 1 && s.seen[SLEEPER][i] != begun + 1;
        }
    } while (now_ns() - start < time_ns && lost < enough);
    __atomic_store_n(&s.over, 1, __ATOMIC_SEQ_CST);
    CHECK(pthread_join(sleeper, NULL) == 0);
    *rounds = round;
    return lost;
}

int main(int argc, char **argv) {
    int64_t time_ns = argc > 1 ? atoi(argv[1]) * SECOND : 2 * SECOND, start = now_ns();
    uint64_t lost[2] = {0, 0}, rounds[2] = {0, 0}, more;
    cpu_set_t processors;
    int fenced;
    alarm((unsigned)(time_ns / SECOND) + 100);
    if (sched_getaffinity(0, sizeof processors, &processors) == 0 && CPU_COUNT(&processors) < 2) return 77;
    /* By turns, so that neither has all the luck where others want the processors too. */
    while (now_ns() - start < time_ns)
        for (fenced = 0; fenced < 2; fenced++) {
            lost[fenced] += count_lost(fenced, SECOND / 20, ENOUGH, &more);
            rounds[fenced] += more;
        }
    printf("      lost: %llu of %llu without the fence, %llu of %llu with it%s\n", (unsigned long long)lost[0],
           (unsigned long long)rounds[0], (unsigned long long)lost[1], (unsigned long long)rounds[1],
           lost[0] == 0 ? "; this says nothing" : "");
    CHECK(lost[1] == 0);
    return 0;
}

#endif
