/* Many double pendulums in one process, their rows spread over threads: a model for simulators that have cores to use.
 *
 *     cc -Iinclude examples/c/pendulums.c build/libferry.a -lm -pthread -o pendulums && ./pendulums pendulums 64 4
 *     envs = ferry.ClientVectorEnv("pendulums")                                   # in Python: 64 rows, on 4 threads
 *
 * Only the main thread calls the library. Between ferry_env_wait and ferry_env_reply the turn's arrays belong to the program, and rows do
 * not overlap, so that any thread may fill any row.
 *
 * A motor at the upper joint (0 still, 1 left, 2 right) is to swing the lower end up. The observation is sine and cosine of both angles and
 * their speeds; the reward the height of the end, from -2 to 2; an episode is cut after 500 steps. The equations of motion:
 * https://en.wikipedia.org/wiki/Double_pendulum, for rods of 1 m without mass and bobs of 1 kg. */
#include <libferry.h>

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STATE, MOTOR, NUM_FIELDS };
enum { MAX_STEPS = 500, SUBSTEPS = 200, MAX_THREADS = 256 };

typedef struct pendulum {
    double angle[2], speed[2];
    uint64_t rng;
} pendulum;

/* The rows of the turn under way, handed out one by one. */
typedef struct crew {
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    const ferry_turn *turn;
    pendulum *rows;
    uint32_t next, finished; /* places in the turn's list: not begun from next on; so many are done */
    int over;
} crew;

static volatile sig_atomic_t stopped;

static void stop(int signal_number) {
    (void)signal_number;
    stopped = 1;
}

/* splitmix64, as a double in [0, 1). */
static double uniform(uint64_t *rng) {
    uint64_t z = *rng += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (double)((z ^ (z >> 31)) >> 11) / 9007199254740992.0;
}

/* Semi-implicit Euler over 20 ms. */
static void advance(pendulum *p, double torque) {
    const double g = 9.81, dt = 0.02 / SUBSTEPS;
    for (int i = 0; i < SUBSTEPS; i++) {
        double a = p->angle[0], b = p->angle[1], u = p->speed[0], v = p->speed[1];
        double s = sin(a - b), c = cos(a - b), mass = 2 - c * c;
        double upper = (torque - g * (2 * sin(a) - c * sin(b)) - s * (v * v + c * u * u)) / mass;
        double lower = (2 * (s * u * u - g * sin(b)) - c * (torque - 2 * g * sin(a) - s * v * v)) / mass;
        p->speed[0] = u + dt * upper, p->speed[1] = v + dt * lower;
        p->angle[0] = a + dt * p->speed[0], p->angle[1] = b + dt * p->speed[1];
    }
}

static void play_row(const ferry_turn *turn, pendulum *p, uint32_t row) {
    static const double torques[3] = {0, -8, 8};
    float *out = (float *)turn->data[STATE] + 6 * row;
    if (turn->kind == FERRY_RESET) {
        if (turn->seed[row] >= 0) p->rng = (uint64_t)turn->seed[row];
        for (int i = 0; i < 2; i++) p->angle[i] = 0.1 * (uniform(&p->rng) - 0.5), p->speed[i] = 0;
    } else {
        advance(p, torques[((const int64_t *)turn->data[MOTOR])[row]]);
        turn->reward[row] = -cos(p->angle[0]) - cos(p->angle[1]);
    }
    for (int i = 0; i < 2; i++) {
        out[i] = (float)sin(p->angle[i]), out[2 + i] = (float)cos(p->angle[i]);
        out[4 + i] = (float)p->speed[i];
    }
}

/* Plays rows until none is left; the lock is held between them. */
static void play_rows(crew *c) {
    while (c->turn != NULL && c->next < c->turn->num_rows) {
        const ferry_turn *turn = c->turn;
        uint32_t row = turn->rows[c->next++];
        pthread_mutex_unlock(&c->lock);
        play_row(turn, &c->rows[row], row);
        pthread_mutex_lock(&c->lock);
        if (++c->finished == turn->num_rows) pthread_cond_signal(&c->done);
    }
}

static void *help(void *argument) {
    crew *c = argument;
    pthread_mutex_lock(&c->lock);
    while (!c->over) {
        play_rows(c);
        if (!c->over) pthread_cond_wait(&c->work, &c->lock);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

/* Does a turn with all hands, the caller's among them. */
static void play(crew *c, const ferry_turn *turn) {
    pthread_mutex_lock(&c->lock);
    c->turn = turn, c->next = 0, c->finished = 0;
    pthread_cond_broadcast(&c->work);
    play_rows(c);
    while (c->finished < turn->num_rows) pthread_cond_wait(&c->done, &c->lock);
    c->turn = NULL;
    pthread_mutex_unlock(&c->lock);
}

static int serve(ferry_env *env, crew *c) {
    const ferry_turn *turn;
    ferry_why why;
    int got = 0, failed;
    while (!stopped && (got = ferry_env_wait(env, 100000000, &turn)) >= 0) { /* 100 ms, so that a signal is heeded */
        if (got == 0 || turn->kind == FERRY_LEFT) continue;
        play(c, turn);
        ferry_env_reply(env);
    }
    failed = got < 0 && got != FERRY_ECLOSED; /* an inherited connection ends with its agent */
    ferry_env_why(env, &why);
    if (failed) fprintf(stderr, "pendulums: %s\n", why.text);
    return failed;
}

int main(int argc, char **argv) {
    const ferry_field fields[NUM_FIELDS] = {
        [STATE] = {.role = FERRY_OBSERVATION, .kind = FERRY_BOX, .ndim = 1, .shape = {6}},
        [MOTOR] = {.role = FERRY_ACTION, .kind = FERRY_DISCRETE, .n = 3},
    };
    long rows = argc > 2 ? strtol(argv[2], NULL, 10) : 16, threads = argc > 3 ? strtol(argv[3], NULL, 10) : 2, started = 0;
    ferry_env_desc desc = {.struct_size = sizeof desc, .address = argc > 1 ? argv[1] : "pendulums"};
    static crew c = {.lock = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER, .done = PTHREAD_COND_INITIALIZER};
    pthread_t helpers[MAX_THREADS];
    ferry_env *env;
    ferry_why why;
    if (rows < 1 || rows > FERRY_MAX_ROWS || threads < 1 || threads > MAX_THREADS)
        return fprintf(stderr, "usage: pendulums [ADDRESS [ROWS [THREADS]]], 1 to %d rows, 1 to %d threads\n", FERRY_MAX_ROWS, MAX_THREADS),
               2;
    desc.fields = fields, desc.num_fields = NUM_FIELDS, desc.num_rows = (uint32_t)rows, desc.max_episode_steps = MAX_STEPS;
    c.rows = calloc((size_t)rows, sizeof *c.rows);
    if (c.rows == NULL) return fprintf(stderr, "pendulums: out of memory\n"), 1;
    if (ferry_env_open(&desc, &env, &why) < 0) return free(c.rows), fprintf(stderr, "pendulums: %s\n", why.text), 1;
    for (long i = 0; i < rows; i++) c.rows[i].rng = (uint64_t)(uintptr_t)env + ((uint64_t)i << 40);
    signal(SIGINT, stop), signal(SIGTERM, stop);
    while (started < threads - 1 && pthread_create(&helpers[started], NULL, help, &c) == 0) started++;
    int failed = serve(env, &c);
    pthread_mutex_lock(&c.lock);
    c.over = 1;
    pthread_cond_broadcast(&c.work);
    pthread_mutex_unlock(&c.lock);
    while (started > 0) pthread_join(helpers[--started], NULL);
    ferry_env_close(env);
    free(c.rows);
    return failed;
}
