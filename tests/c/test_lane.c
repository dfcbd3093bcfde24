/* The lane by itself: in every order of what its sides do, with a damaged word, and with two threads at full speed. */
#include "check.h"

#include "../../csrc/lane.h"

#ifndef _WIN32
#include <pthread.h>
#endif

enum { PITCH = 4096, DEPTH = 14 };

typedef struct stage {
    uint32_t word;
    ferry__lane writer, reader;
    char *slots;
} stage;

static void open_stage(stage *s) {
    s->word = FERRY__LANE_START;
    s->slots = (char *)calloc(FERRY__LANE_SLOTS, PITCH);
    CHECK(s->slots != NULL);
    ferry__lane_open(&s->writer, (char *)&s->word, s->slots, PITCH, 0);
    ferry__lane_open(&s->reader, (char *)&s->word, s->slots, PITCH, FERRY__LANE_SLOTS - 1);
}

static uint64_t *content(const ferry__lane *lane) { return (uint64_t *)(void *)ferry__lane_mine(lane); }

/* What each side does to the word is one exchange, so every run of two sides is one of these orders. The bits say who is next. */
static void play_order(uint32_t order) {
    stage s;
    uint64_t pushed = 0, taken = 0;
    uint32_t word;
    int i, got;
    open_stage(&s);
    for (i = 0; i < DEPTH; i++) {
        word = s.word;
        ferry__lane_knock(&s.writer);
        CHECK(s.word != word && ((s.word ^ word) & (FERRY__LANE_SLOT | FERRY__LANE_FRESH)) == 0);
        if (order >> i & 1) {
            *content(&s.writer) = ++pushed;
            CHECK(ferry__lane_push(&s.writer) == 1);
        } else {
            got = ferry__lane_pull(&s.reader);
            CHECK(got == (pushed > taken));
            if (got == 1) taken = *content(&s.reader);
            CHECK(taken == pushed);
        }
        CHECK((1 << s.writer.mine | 1 << s.reader.mine | 1 << (s.word & FERRY__LANE_SLOT)) == 7);
        CHECK(taken == 0 || *content(&s.reader) == taken); /* it stays as it is while others are written */
    }
    free(s.slots);
}

static void test_every_order(void) {
    uint32_t order;
    for (order = 0; order < UINT32_C(1) << DEPTH; order++) play_order(order);
}

static void test_a_damaged_word_costs_nobody_his_slot(void) {
    uint32_t value, mine;
    int writes;
    for (value = 0; value < 64; value++)
        for (mine = 0; mine < FERRY__LANE_SLOTS; mine++)
            for (writes = 0; writes < 2; writes++) {
                stage s;
                uint32_t number = value & FERRY__LANE_SLOT;
                int bad = number == FERRY__LANE_SLOT || number == mine, got;
                open_stage(&s);
                s.word = value * UINT32_C(0x02000001), s.writer.mine = s.reader.mine = mine;
                got = writes ? ferry__lane_push(&s.writer) : ferry__lane_pull(&s.reader);
                if (!writes && (value & FERRY__LANE_FRESH) == 0) CHECK(got == 0);
                else CHECK(got == (bad ? FERRY_ECORRUPT : 1));
                CHECK((writes ? s.writer.mine : s.reader.mine) == (got == 1 ? number : mine));
                free(s.slots);
            }
}

#ifndef _WIN32

enum { MESSAGES = 100000, WORDS = PITCH / 8 };

/* The whole slot says the message's number. Under the thread sanitizer a slot that both sides touch at once, or in the wrong order of memory,
 * is a failure of its own. */
static void *push_all(void *user) {
    ferry__lane *lane = (ferry__lane *)user;
    uint64_t number;
    int i;
    for (number = 1; number <= MESSAGES; number++) {
        uint64_t *to = content(lane);
        for (i = 0; i < WORDS; i++) to[i] = number;
        ferry__lane_knock(lane);
        CHECK(ferry__lane_push(lane) == 1);
    }
    return NULL;
}

static void test_two_threads(void) {
    stage s;
    pthread_t writer;
    uint64_t last = 0, seen = 0;
    int i;
    open_stage(&s);
    CHECK(pthread_create(&writer, NULL, push_all, &s.writer) == 0);
    while (last < MESSAGES) {
        const uint64_t *from;
        int got = ferry__lane_pull(&s.reader);
        CHECK(got >= 0);
        if (got == 0) continue;
        from = content(&s.reader);
        CHECK(from[0] > last);
        for (i = 1; i < WORDS; i++) CHECK(from[i] == from[0]);
        last = from[0], seen++;
    }
    CHECK(pthread_join(writer, NULL) == 0);
    CHECK(ferry__lane_pull(&s.reader) == 0 && seen > 0);
    free(s.slots);
}

#endif

int main(void) {
    test_every_order();
    test_a_damaged_word_costs_nobody_his_slot();
#ifndef _WIN32
    alarm(120);
    test_two_threads();
#endif
    return 0;
}
