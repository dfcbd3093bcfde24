/* A cart with a motor and a pole on it, in real time: it falls whether or not its agent has thought.
 *
 *     realtime_pole [ADDRESS [HZ [DECIDE_MS]]]      # the address "pole", 200 ticks a second, and it waits for nobody
 *     env = ferry.RealtimeEnv("pole")               # in Python; examples/python/realtime_agent.py balances it
 *
 * Each tick takes the latest action, moves the world on by 1 / HZ seconds and publishes a frame. With DECIDE_MS a tick waits up to
 * so long for the action that answers the frame before: then no decision comes late, and the clock goes slower instead, if need be.
 *
 * The reward is the time that the pole has stood, so that the return, 10 at the most, is the same at any rate. */
#define _POSIX_C_SOURCE 200809L
#include <libferry.h>

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define X_LIMIT 2.4
#define THETA_LIMIT (12 * 2 * 3.141592653589793 / 360)
#define MAX_FORCE 10.0
#define SILENCE_NS INT64_C(1000000000)
enum { STATE, FORCE, NUM_FIELDS };
enum { EPISODE_S = 10, MAX_HZ = 100000, MAX_DECIDE_MS = 1000 };

static volatile sig_atomic_t stopped;

static void stop(int signal_number) {
    (void)signal_number;
    stopped = 1;
}

/* ---- The world ------------------------------------------------------------------------------------------------------- */

typedef struct world {
    double x, v, theta, spin; /* of the cart, and of the pole from upright */
    double tau;               /* seconds of a tick */
    uint64_t rng;
} world;

/* splitmix64, as a double from -0.05 to 0.05. */
static double nudge(world *w) {
    uint64_t z = w->rng += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (double)((z ^ (z >> 31)) >> 11) / 9007199254740992.0 * 0.1 - 0.05;
}

static void begin(world *w, int64_t seed) {
    if (seed >= 0) w->rng = (uint64_t)seed;
    w->x = nudge(w), w->v = nudge(w), w->theta = nudge(w), w->spin = nudge(w);
}

/* One Euler step; 1 when the pole has fallen or the cart has left the track.
 * The equations: https://coneural.org/florian/papers/05_cart_pole.pdf */
static int advance(world *w, double force) {
    const double gravity = 9.8, pole_mass = 0.1, total_mass = 0.1 + 1.0, half_length = 0.5, moment = 0.1 * 0.5;
    double cosine = cos(w->theta), sine = sin(w->theta);
    double push = (force + moment * w->spin * w->spin * sine) / total_mass;
    double fall = (gravity * sine - cosine * push) / (half_length * (4.0 / 3.0 - pole_mass * cosine * cosine / total_mass));
    double shift = push - moment * fall * cosine / total_mass;
    w->x += w->tau * w->v, w->v += w->tau * shift, w->theta += w->tau * w->spin, w->spin += w->tau * fall;
    return fabs(w->x) > X_LIMIT || fabs(w->theta) > THETA_LIMIT;
}

/* ---- Its agent ------------------------------------------------------------------------------------------------------- */

static void observe(const world *w, const ferry_turn *turn) {
    float *state = (float *)turn->data[STATE];
    state[0] = (float)w->x, state[1] = (float)w->v, state[2] = (float)w->theta, state[3] = (float)w->spin;
}

/* A tick: the frame that is due, or the answer to a reset. Below 0: there will be no agent any more. */
static int tick(world *w, ferry_env *env, int64_t decide_ns) {
    const ferry_turn *turn;
    int got = ferry_env_wait(env, decide_ns, &turn);
    if (got > 0 && turn->kind == FERRY_LEFT) got = ferry_env_wait(env, 0, &turn); /* the pole falls all the same */
    if (got <= 0) return got;                                                     /* 0: no episode runs */
    if (turn->kind == FERRY_RESET) {
        begin(w, turn->seed[0]);
    } else {
        double force = *(const float *)turn->data[FORCE];
        int silent = turn->frame_ns - turn->action_ns > SILENCE_NS; /* an agent that is gone, or has not acted yet, drives nothing */
        int down = advance(w, silent ? 0 : fmax(-MAX_FORCE, fmin(MAX_FORCE, force)));
        turn->reward[0] = down ? 0 : w->tau;
        turn->terminated[0] = (uint8_t)down;
    }
    observe(w, turn);
    return ferry_env_reply(env);
}

/* ---- The loop -------------------------------------------------------------------------------------------------------- */

/* Sleeps until the next tick is due: on an absolute clock, so that the rate does not drift. Late ticks are not made up for; 1 if it was
 * late. */
static int next_tick(int64_t *due_ns, int64_t period_ns) {
    int64_t now = ferry_now_ns();
    int late = (*due_ns += period_ns) < now;
    if (late) *due_ns = now;
    struct timespec until = {(time_t)(*due_ns / 1000000000), (long)(*due_ns % 1000000000)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR && !stopped) continue;
    return late;
}

/* The argument at this place, or what is usual. */
static long number(int argc, char **argv, int place, long usual, long least, long most) {
    char *end;
    if (place >= argc) return usual;
    long n = strtol(argv[place], &end, 10);
    if (*end == '\0' && end != argv[place] && n >= least && n <= most) return n;
    fprintf(stderr, "realtime_pole: %s is no number from %ld to %ld\n", argv[place], least, most);
    fprintf(stderr, "usage: realtime_pole [ADDRESS [HZ [DECIDE_MS]]]\n");
    exit(2);
}

int main(int argc, char **argv) {
    long hz = number(argc, argv, 2, 200, 1, MAX_HZ), decide_ms = number(argc, argv, 3, 0, 0, MAX_DECIDE_MS);
    const float high[4] = {(float)(X_LIMIT * 2), INFINITY, (float)(THETA_LIMIT * 2), INFINITY};
    const float low[4] = {-high[0], -INFINITY, -high[2], -INFINITY};
    const ferry_field fields[NUM_FIELDS] = {
        [STATE] = {.role = FERRY_OBSERVATION, .kind = FERRY_BOX, .ndim = 1, .shape = {4}, .low_each = low, .high_each = high},
        [FORCE] = {.role = FERRY_ACTION, .kind = FERRY_BOX, .ndim = 1, .shape = {1}, .low = -MAX_FORCE, .high = MAX_FORCE},
    };
    char about[80];
    int about_bytes = snprintf(about, sizeof about, "{\"metadata\": {\"render_modes\": [], \"render_fps\": %ld}}", hz);
    ferry_env_desc desc = {.struct_size = sizeof desc, .address = argc > 1 ? argv[1] : "pole", .realtime = 1};
    ferry_env *env;
    ferry_why why;
    desc.fields = fields, desc.num_fields = NUM_FIELDS, desc.max_episode_steps = (uint32_t)(EPISODE_S * hz);
    desc.about.data = about, desc.about.size_bytes = (uint64_t)about_bytes, desc.about.format = FERRY_JSON;
    if (ferry_env_open(&desc, &env, &why) < 0) return fprintf(stderr, "realtime_pole: %s\n", why.text), 1;
    signal(SIGINT, stop), signal(SIGTERM, stop);

    world w = {.tau = 1.0 / (double)hz, .rng = (uint64_t)ferry_now_ns()};
    int64_t due_ns = ferry_now_ns(), period_ns = 1000000000 / hz, ticks = 0, late = 0;
    int got = 0;
    while (!stopped && (got = tick(&w, env, decide_ms * INT64_C(1000000))) >= 0) ticks++, late += next_tick(&due_ns, period_ns);
    printf("%lld ticks, %lld of them late\n", (long long)ticks, (long long)late);
    int failed = got < 0 && got != FERRY_ECLOSED; /* an inherited connection ends with its agent */
    ferry_env_why(env, &why);
    if (failed) fprintf(stderr, "realtime_pole: %s\n", why.text);
    ferry_env_close(env);
    return failed;
}
