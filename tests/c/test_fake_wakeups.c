/* Publishing and waiting as the library does, by two threads that sleep at once wherever they wait, at full speed. The linker puts this file's
 * sleep before the platform's: it ends by no slice, so that a wake-up that is lost leaves both standing there. With a number: so many
 * seconds. */
#include "check.h"

#include "../../csrc/slot.h"
#include "../../csrc/wait.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>

#define LOST_S 20

typedef struct half {
    ferry__slot slot;
    ferry__line line;
    uint32_t crowded;
    ferry__manners manners;
} half;

static half halves[2];
static int over; /* the first half's own: its last message says so */

void __wrap_ferry__platform_sleep(ferry__os memory, const uint32_t *word, uint32_t value, int64_t timeout_ns);
void __wrap_ferry__platform_sleep(ferry__os memory, const uint32_t *word, uint32_t value, int64_t timeout_ns) {
    long lost[2] = {LOST_S, 0};
    (void)memory, (void)timeout_ns;
    CHECK(syscall(SYS_futex, word, FUTEX_WAIT, value, lost, NULL, 0) == 0 || errno != ETIMEDOUT);
}

static int look_nowhere(struct ferry__channel *channel, int64_t now, int slept) { return (void)channel, (void)now, (void)slept, 0; }

static void wait_for(half *mine, half *theirs, uint32_t seq) {
    ferry__waiter waiter;
    memset(&waiter, 0, sizeof waiter);
    waiter.policy = FERRY__BLOCK, waiter.line = &mine->line, waiter.peer = &theirs->line, waiter.memory = FERRY__NO_OS, waiter.next = seq;
    waiter.crowded = &mine->crowded, waiter.manners = &mine->manners, waiter.idle = look_nowhere;
    if (ferry__slot_state(&theirs->slot, seq - 1, seq) == 0) CHECK(ferry__wait(&waiter, &theirs->slot.seq, seq - 1, FERRY_FOREVER) == 1);
    CHECK(ferry__slot_state(&theirs->slot, seq - 1, seq) == 1);
    CHECK(theirs->slot.number == seq);
}

static void publish(half *mine, const half *theirs, uint32_t seq) {
    const ferry__os memory = FERRY__NO_OS;
    mine->slot.number = seq;
    ferry__slot_publish(&mine->slot, seq, &theirs->line, &memory);
}

static void *answer_all(void *unused) {
    uint32_t seq;
    for (seq = 1;; seq++) {
        wait_for(&halves[1], &halves[0], seq);
        if (halves[0].slot.kind != 0) return unused;
        publish(&halves[1], &halves[0], seq);
    }
}

int main(int argc, char **argv) {
    int64_t time_ns = argc > 1 ? atoi(argv[1]) * SECOND : SECOND, start = now_ns();
    pthread_t other;
    uint32_t seq = 0;
    alarm((unsigned)(time_ns / SECOND) + 100);
    CHECK(pthread_create(&other, NULL, answer_all, NULL) == 0);
    while (!over) {
        over = now_ns() - start >= time_ns;
        halves[0].slot.kind = (uint16_t)over;
        publish(&halves[0], &halves[1], ++seq);
        if (!over) wait_for(&halves[0], &halves[1], seq);
    }
    CHECK(pthread_join(other, NULL) == 0);
    printf("      %u turns, %llu sleeps\n", seq, (unsigned long long)(halves[0].line.sleeps + halves[1].line.sleeps));
    CHECK(halves[0].line.sleeps > 0);
    return 0;
}
