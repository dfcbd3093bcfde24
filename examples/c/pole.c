/* CartPole-v1 in a process of its own: a model for engine authors.
 *
 *     cc -Iinclude examples/c/pole.c build/libferry.a -lm -o pole && ./pole     # serves the address "pole"
 *     env = ferry.ClientEnv("pole")                                             # in Python
 *
 * `./pole poles 64` serves 64 of them, which are stepped together: envs = ferry.ClientVectorEnv("poles"). The program needs only obey
 * two orders, step these rows and reset these rows; which, and when, is the library's affair.
 *
 * Double arithmetic in Gymnasium's order, observations in single precision: from the same state the same run follows.
 * env.reset(options={"state": [x, x_dot, theta, theta_dot]}) starts there; else a state is drawn as Gymnasium draws it. */
#include <libferry.h>

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define X_LIMIT 2.4
#define THETA_LIMIT (12 * 2 * 3.141592653589793 / 360)
enum { STATE, PUSH, NUM_FIELDS };
enum { MAX_STEPS = 500 };

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

/* The state that an episode starts in; 0 if the options are malformed. A blob is not NUL-terminated, hence the copy. */
static int start(double s[4], const ferry_blob *options, uint64_t *rng) {
    char text[256] = "";
    int end = 0;
    for (int i = 0; i < 4; i++) s[i] = -0.05 + 0.1 * uniform(rng);
    if (options->format == FERRY_NONE) return 1;
    if (options->format != FERRY_JSON || options->size_bytes >= sizeof text) return 0;
    memcpy(text, options->data, options->size_bytes);
    sscanf(text, " { } %n", &end);
    if (end == 0) sscanf(text, " { \"state\" : [ %lf , %lf , %lf , %lf ] } %n", &s[0], &s[1], &s[2], &s[3], &end);
    return end > 0 && (uint64_t)end == options->size_bytes && isfinite(s[0] + s[1] + s[2] + s[3]);
}

/* One Euler step of 20 ms; 1 when the pole has fallen or the cart has left the track.
 * The equations: https://coneural.org/florian/papers/05_cart_pole.pdf */
static int advance(double s[4], double force) {
    const double gravity = 9.8, pole_mass = 0.1, total_mass = 0.1 + 1.0, half_length = 0.5, moment = 0.1 * 0.5, tau = 0.02;
    double cosine = cos(s[2]), sine = sin(s[2]);
    double push = (force + moment * (s[3] * s[3]) * sine) / total_mass;
    double spin = (gravity * sine - cosine * push) / (half_length * (4.0 / 3.0 - pole_mass * (cosine * cosine) / total_mass));
    double shift = push - moment * spin * cosine / total_mass;
    s[0] += tau * s[1], s[1] += tau * shift, s[2] += tau * s[3], s[3] += tau * spin;
    return s[0] < -X_LIMIT || s[0] > X_LIMIT || s[2] < -THETA_LIMIT || s[2] > THETA_LIMIT;
}

/* One of the rows. */
typedef struct pole {
    double state[4];
    uint64_t rng;
    int steps, fallen;
} pole;

/* The start of an episode; 0 if the options are malformed. */
static int reset(pole *p, const ferry_turn *turn, uint32_t row) {
    p->steps = p->fallen = 0;
    if (turn->seed[row] >= 0) p->rng = (uint64_t)turn->seed[row];
    return start(p->state, &turn->blob, &p->rng);
}

static void step(pole *p, const ferry_turn *turn, uint32_t row) {
    int down = advance(p->state, ((const int64_t *)turn->data[PUSH])[row] ? 10.0 : -10.0);
    turn->terminated[row] = (uint8_t)down;
    turn->truncated[row] = ++p->steps >= MAX_STEPS;
    turn->reward[row] = !(down && p->fallen); /* the fall itself still earns 1 */
    p->fallen |= down;
}

/* Does what the turn asks of its rows, and answers. */
static void play(ferry_env *env, pole *poles, const ferry_turn *turn) {
    for (uint32_t i = 0; i < turn->num_rows; i++) {
        uint32_t row = turn->rows[i];
        if (turn->kind == FERRY_STEP) step(&poles[row], turn, row);
        else if (!reset(&poles[row], turn, row)) {
            ferry_env_fail(env, "the options must be {} or {\"state\": [x, x_dot, theta, theta_dot]}, four finite numbers");
            return;
        }
        for (int k = 0; k < 4; k++) ((float *)turn->data[STATE])[4 * row + k] = (float)poles[row].state[k];
    }
    ferry_env_reply(env);
}

int main(int argc, char **argv) {
    static const char about[] = "{\"metadata\": {\"render_modes\": [], \"render_fps\": 50}}";
    const float high[4] = {(float)(X_LIMIT * 2), INFINITY, (float)(THETA_LIMIT * 2), INFINITY};
    const float low[4] = {-high[0], -INFINITY, -high[2], -INFINITY};
    const ferry_field fields[NUM_FIELDS] = {
        [STATE] = {.role = FERRY_OBSERVATION, .kind = FERRY_BOX, .ndim = 1, .shape = {4}, .low_each = low, .high_each = high},
        [PUSH] = {.role = FERRY_ACTION, .kind = FERRY_DISCRETE, .n = 2},
    };
    long rows = argc > 2 ? strtol(argv[2], NULL, 10) : 1;
    ferry_env_desc desc = {.struct_size = sizeof desc, .address = argc > 1 ? argv[1] : "pole"};
    ferry_env *env;
    ferry_why why;
    const ferry_turn *turn;
    int got = 0;
    if (rows < 1 || rows > FERRY_MAX_ROWS) return fprintf(stderr, "usage: pole [ADDRESS [ROWS]], 1 to %d rows\n", FERRY_MAX_ROWS), 2;
    desc.fields = fields, desc.num_fields = NUM_FIELDS, desc.num_rows = (uint32_t)rows;
    desc.about.data = about, desc.about.size_bytes = sizeof about - 1, desc.about.format = FERRY_JSON;
    pole *poles = calloc((size_t)rows, sizeof *poles);
    if (poles == NULL) return fprintf(stderr, "pole: out of memory\n"), 1;
    if (ferry_env_open(&desc, &env, &why) < 0) return free(poles), fprintf(stderr, "pole: %s\n", why.text), 1;
    signal(SIGINT, stop), signal(SIGTERM, stop);
    /* Unlike those of other rows and other poles. */
    for (long i = 0; i < rows; i++) poles[i].rng = ((uint64_t)time(NULL) ^ (uint64_t)(uintptr_t)env << 16) + ((uint64_t)i << 40);

    while (!stopped && (got = ferry_env_wait(env, 100000000, &turn)) >= 0) /* 100 ms, so that a signal is heeded */
        if (got > 0 && turn->kind != FERRY_LEFT) play(env, poles, turn);   /* when one agent has left, the next may come */
    int failed = got < 0 && got != FERRY_ECLOSED; /* an inherited connection ends with its agent */
    ferry_env_why(env, &why);
    if (failed) fprintf(stderr, "pole: %s\n", why.text);
    ferry_env_close(env);
    free(poles);
    return failed;
}
