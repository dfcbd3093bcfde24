/* A step allocates nothing, on either side, with one row and with many: this program's malloc, calloc, realloc, posix_memalign and mmap
 * count, before they hand over to the C library's. The counts of both processes lie in memory that they share. */
#include "check.h"

#include <sys/mman.h>
#include <sys/syscall.h>

#ifndef __has_feature
#define __has_feature(x) 0
#endif

#if !defined(__GLIBC__) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || __has_feature(address_sanitizer) ||            \
    __has_feature(thread_sanitizer)
int main(void) { return 77; } /* no other names for the allocator's functions, or a sanitizer has taken their place */
#else

enum { MANY = 64, TURNS_OF_MANY = 1000000 / MANY, TURNS_OF_ONE = 1000000, WARM_UP = 1000, EPISODE = 500, SIDES = 2 };

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static uint64_t *counts; /* [side], shared; NULL until the test has begun */
static int side;         /* of this process: 0 agent, 1 environment */

static void count(void) {
    if (counts != NULL) counts[side]++;
}

void *malloc(size_t size) {
    count();
    return __libc_malloc(size);
}

void *calloc(size_t number, size_t size) {
    count();
    return __libc_calloc(number, size);
}

void *realloc(void *old, size_t size) {
    count();
    return __libc_realloc(old, size);
}

int posix_memalign(void **out, size_t alignment, size_t size) {
    count();
    *out = __libc_memalign(alignment, size);
    return *out != NULL ? 0 : ENOMEM;
}

/* Under both its names: with 32 bits they are two functions, and the kernel counts the offset in units of 4096. */
void *mmap64(void *where, size_t size, int protection, int flags, int fd, off64_t offset) {
    count();
#ifdef SYS_mmap2
    return (void *)syscall(SYS_mmap2, where, size, protection, flags, fd, (long)(offset / 4096));
#else
    return (void *)syscall(SYS_mmap, where, size, protection, flags, fd, offset);
#endif
}

void *mmap(void *where, size_t size, int protection, int flags, int fd, off_t offset) {
    return mmap64(where, size, protection, flags, fd, offset);
}

/* Rows of one number, the steps of their episode, which end after EPISODE: autoreset is part of what is counted. */
static int serve_rows(void *argument) {
    const uint32_t rows = *(const uint32_t *)argument;
    static uint32_t steps[MANY];
    int over = 0;
    ferry_field fields[NUM_FIELDS];
    ferry_env_desc desc;
    ferry_env *env;
    ferry_why why;
    const ferry_turn *turn;
    side = 1;
    small_fields(fields);
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc, desc.address = "rows", desc.fields = fields, desc.num_fields = NUM_FIELDS, desc.num_rows = rows;
    if (ferry_env_open(&desc, &env, &why) < 0) return fprintf(stderr, "%s\n", why.text), 1;
    while (!over && ferry_env_wait(env, FERRY_FOREVER, &turn) > 0) {
        if (turn->kind == FERRY_LEFT) {
            over = 1;
            continue;
        }
        for (uint32_t i = 0; i < turn->num_rows; i++) {
            const uint32_t row = turn->rows[i];
            double *observation = (double *)turn->data[OBSERVATION] + 3 * row;
            steps[row] = turn->kind == FERRY_RESET ? 0 : steps[row] + 1;
            observation[0] = row, observation[1] = steps[row];
            turn->truncated[row] = steps[row] >= EPISODE + row;
            ((float *)turn->data[SCORE])[row] = (float)steps[row], turn->present[SCORE][row] = 1;
        }
        CHECK(ferry_env_reply(env) == 0);
    }
    ferry_env_close(env);
    return 0;
}

/* So many turns of all rows; returns how many episodes ended. */
static uint64_t play(ferry_agent *agent, uint32_t rows, uint32_t turns) {
    uint64_t ends = 0;
    for (uint32_t n = 0; n < turns; n++) {
        const ferry_turn *answer;
        ferry_turn *turn = ferry_agent_turn(agent);
        CHECK(turn != NULL);
        turn->kind = FERRY_STEP;
        for (uint32_t row = 0; row < rows; row++) ((int64_t *)turn->data[ACTION])[row] = 10 + n % 5;
        CHECK(ferry_agent_send(agent) == 0);
        answer = take_answer(agent);
        for (uint32_t row = 0; row < rows; row++) {
            CHECK(((const double *)answer->data[OBSERVATION])[3 * row] == row);
            ends += answer->truncated[row];
        }
    }
    return ends;
}

static void test_steps_do_not_allocate(uint32_t rows, uint32_t turns) {
    ferry_why why;
    ferry_agent_desc desc;
    ferry_agent *agent;
    uint64_t by_agent, by_env;
    pid_t env = start_child(serve_rows, &rows);
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc, desc.address = "rows", desc.autoreset = FERRY_AUTORESET_NEXT_STEP;
    CHECK(ferry_agent_open(&desc, &agent, &why) == 0);
    CHECK(ferry_agent_connect(agent, 10 * SECOND) == 1);
    reset(agent, 1);
    play(agent, rows, WARM_UP);
    CHECK(counts[0] > 0 && counts[1] > 0); /* opening does allocate: the counters count */
    counts[0] = counts[1] = 0;
    CHECK(play(agent, rows, turns) > 0);
    by_agent = counts[0], by_env = counts[1]; /* before printing, which may allocate */
    printf("      %u rows, %u turns: %llu calls by the agent, %llu by the environment\n", rows, turns, (unsigned long long)by_agent,
           (unsigned long long)by_env);
    CHECK(by_agent == 0 && by_env == 0);
    ferry_agent_close(agent);
    CHECK(end_child(env) == 0);
}

int main(void) {
    char directory[64];
    begin_test(100, directory);
    counts = (uint64_t *)mmap(NULL, SIDES * sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(counts != MAP_FAILED);
    test_steps_do_not_allocate(1, TURNS_OF_ONE);
    test_steps_do_not_allocate(MANY, TURNS_OF_MANY);
    end_test(directory);
    return 0;
}
#endif
