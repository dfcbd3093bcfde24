/* The floor of a batch: the rows of examples/c/pole.c in the process that steps them, called from Python by ctypes. It is that very file:
 * the same dynamics, the same generator, the same reset of a row on the step after its end, without a library in between. A seed and
 * actions give the very trajectories that Ferry carries, by which those are verified.
 *
 * A shared library, not a program. The arrays belong to the caller and stay where they are. */
#define main pole_main
#include "../../examples/c/pole.c"
#undef main

#include "work.h"

#define EXPORT __attribute__((visibility("default")))

typedef struct batch {
    ferry_turn turn;
    pole *poles;
    void *data[NUM_FIELDS];
    float *observations; /* [row][4] */
} batch;

EXPORT void batch_close(batch *b);
EXPORT batch *batch_open(uint32_t num_rows, int64_t *actions, float *observations, double *reward, uint8_t *terminated, uint8_t *truncated);
EXPORT int batch_reset(batch *b, int64_t seed);
EXPORT int batch_step(batch *b);
EXPORT uint64_t work(uint64_t x, uint32_t rounds);

void batch_close(batch *b) {
    free(b->turn.seed);
    free(b->poles);
    free(b);
}

batch *batch_open(uint32_t num_rows, int64_t *actions, float *observations, double *reward, uint8_t *terminated, uint8_t *truncated) {
    batch *b = (batch *)calloc(1, sizeof *b);
    if (b == NULL) return NULL;
    b->turn.seed = (int64_t *)calloc(num_rows, sizeof *b->turn.seed), b->poles = (pole *)calloc(num_rows, sizeof *b->poles);
    if (b->turn.seed == NULL || b->poles == NULL) return batch_close(b), NULL;
    b->data[STATE] = b->observations = observations, b->data[PUSH] = actions;
    b->turn.num_rows = num_rows, b->turn.data = b->data;
    b->turn.reward = reward, b->turn.terminated = terminated, b->turn.truncated = truncated;
    return b;
}

static void observe(batch *b, uint32_t row) {
    for (int k = 0; k < 4; k++) b->observations[4 * row + k] = (float)b->poles[row].state[k];
}

static int begin(batch *b, uint32_t row) {
    b->turn.reward[row] = 0, b->turn.terminated[row] = b->turn.truncated[row] = 0;
    return reset(&b->poles[row], &b->turn, row);
}

/* Row r is seeded with seed + r. 0, or -1. */
int batch_reset(batch *b, int64_t seed) {
    int ok = 1;
    for (uint32_t row = 0; row < b->turn.num_rows; row++) {
        b->turn.seed[row] = seed + row;
        ok &= begin(b, row);
        b->turn.seed[row] = -1; /* from now on its own generator goes on */
        observe(b, row);
    }
    return ok ? 0 : -1;
}

int batch_step(batch *b) {
    int ok = 1;
    for (uint32_t row = 0; row < b->turn.num_rows; row++) {
        if (b->turn.terminated[row] | b->turn.truncated[row]) ok &= begin(b, row);
        else step(&b->poles[row], &b->turn, row);
        observe(b, row);
    }
    return ok ? 0 : -1;
}

uint64_t work(uint64_t x, uint32_t rounds) { return busy_work(x, rounds); }
