/* Catch: a game that ticks at its own rate and lets agents play. How a game loop drives Ferry without ever waiting for it.
 *
 *     gameloop [--hz N] [--ticks N] [ADDRESS]       # N ticks a second (60; 0: as fast as possible), N ticks in all (0: for ever)
 *
 * Balls fall, a paddle moves left, stays or moves right. Each tick takes what has arrived, advances the world, answers:
 * one decision a tick. While the agent thinks, the world stands and the ticks go on, as in a paused game. A reset fades to
 * black for some ticks before it is answered. An agent may leave at any instant; the game goes on and takes the next. */
#define _POSIX_C_SOURCE 200809L
#include <libferry.h>

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BALL, PADDLE, LIVES, MOVE, SCORE, NUM_FIELDS };
enum { NUM_LIVES = 3, FADE_TICKS = 5, ROUND_TICKS = 3600 };

/* The court is 1 wide and 1 high, y points up. Speeds are per tick. */
static const float PADDLE_SPEED = 0.02f, PADDLE_HALF_WIDTH = 0.1f, FALL_SPEED = 0.015f, MAX_DRIFT = 0.01f;

typedef struct world {
    float ball[4]; /* x, y and their change in the next tick */
    float paddle;  /* its centre */
    int64_t lives, score, ticks;
    uint32_t rng; /* not 0 */
} world;

typedef struct game {
    world world;
    const ferry_turn *owed; /* the agent's turn that waits for its answer, or NULL */
    int fade;               /* ticks until a reset is answered; 0: none is under way */
    int occupied;           /* an agent plays */
} game;

static volatile sig_atomic_t stopped;

static void stop(int signal_number) {
    (void)signal_number;
    stopped = 1;
}

/* ---- The game -------------------------------------------------------------------------------------------------------- */

/* xorshift, as a float in [0, 1). */
static float uniform(world *w) {
    w->rng ^= w->rng << 13, w->rng ^= w->rng >> 17, w->rng ^= w->rng << 5;
    return (float)(w->rng >> 8) / 16777216.0f;
}

static void drop_ball(world *w) {
    w->ball[0] = uniform(w), w->ball[1] = 1;
    w->ball[2] = MAX_DRIFT * (2 * uniform(w) - 1), w->ball[3] = -FALL_SPEED;
}

static void begin_round(world *w) {
    w->paddle = 0.5f, w->lives = NUM_LIVES, w->score = w->ticks = 0;
    drop_ball(w);
}

static float clamp(float x) { return x < 0 ? 0 : x > 1 ? 1 : x; }

/* One tick of physics; 1 for a catch, -1 for a miss, else 0. */
static int advance(world *w, int direction) {
    w->ticks++;
    w->paddle = clamp(w->paddle + PADDLE_SPEED * (float)direction);
    w->ball[0] = clamp(w->ball[0] + w->ball[2]), w->ball[1] = clamp(w->ball[1] + w->ball[3]);
    if (w->ball[0] <= 0 || w->ball[0] >= 1) w->ball[2] = -w->ball[2];
    if (w->ball[1] > 0) return 0;
    float miss_by = w->ball[0] - w->paddle;
    int caught = miss_by >= -PADDLE_HALF_WIDTH && miss_by <= PADDLE_HALF_WIDTH;
    if (caught) w->score++;
    else w->lives--;
    drop_ball(w);
    return caught ? 1 : -1;
}

/* ---- Its agent ------------------------------------------------------------------------------------------------------- */

/* Takes whatever has arrived, without waiting. Below 0: the connection cannot go on. */
static int take_turns(game *g, ferry_env *env) {
    const ferry_turn *turn;
    int got;
    while ((got = ferry_env_wait(env, 0, &turn)) > 0) {
        if (turn->kind == FERRY_LEFT) {
            const char *when = g->fade ? " in mid-reset" : g->owed ? " in mid-tick" : "";
            printf("agent (pid %u) left%s: %s\n", turn->peer_pid, when, ferry_strerror(turn->reason));
            g->owed = NULL, g->fade = 0, g->occupied = 0;
            continue;
        }
        g->owed = turn;
        if (turn->kind == FERRY_RESET) {
            g->fade = FADE_TICKS;
            if (turn->seed[0] >= 0) g->world.rng = (uint32_t)turn->seed[0] * 2654435769u | 1;
        }
        if (!g->occupied) printf("agent (pid %u) plays\n", turn->peer_pid);
        g->occupied = 1;
    }
    return got;
}

/* What one tick owes the agent: the end of a fade, or a step of the world. */
static void answer(game *g, ferry_env *env) {
    world *w = &g->world;
    const ferry_turn *turn = g->owed;
    if (turn == NULL || (g->fade > 0 && --g->fade > 0)) return;
    if (turn->kind == FERRY_RESET) {
        begin_round(w);
    } else {
        turn->reward[0] = advance(w, (int)*(const int64_t *)turn->data[MOVE] - 1);
        turn->terminated[0] = w->lives <= 0;
        turn->truncated[0] = w->ticks >= ROUND_TICKS;
    }
    memcpy(turn->data[BALL], w->ball, sizeof w->ball);
    *(float *)turn->data[PADDLE] = w->paddle;
    *(int64_t *)turn->data[LIVES] = w->lives > 0 ? w->lives : 0;
    *(int64_t *)turn->data[SCORE] = w->score;
    turn->present[SCORE][0] = 1;
    ferry_env_reply(env);
    g->owed = NULL;
}

/* ---- The loop -------------------------------------------------------------------------------------------------------- */

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* Sleeps until the next tick is due. Deadlines are absolute, so that the rate does not drift; after a hitch the lost ticks are
 * not made up for. */
static void next_tick(int64_t *deadline_ns, int64_t period_ns) {
    if (period_ns == 0) {
        sched_yield(); /* the agent may share this CPU */
        return;
    }
    int64_t now = now_ns();
    *deadline_ns = *deadline_ns + period_ns > now ? *deadline_ns + period_ns : now;
    struct timespec until = {(time_t)(*deadline_ns / 1000000000), (long)(*deadline_ns % 1000000000)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR && !stopped) continue;
}

static int64_t number(const char *text, int64_t max) {
    char *end;
    long long n = strtoll(text, &end, 10);
    if (*end == '\0' && end != text && n >= 0 && n <= max) return n;
    fprintf(stderr, "gameloop: %s is no number from 0 to %lld\n", text, (long long)max);
    exit(2);
}

int main(int argc, char **argv) {
    int64_t hz = 60, ticks = 0;
    const char *address = "gameloop";
    for (int i = 1; i < argc; i++) {
        if (i + 1 < argc && strcmp(argv[i], "--hz") == 0) hz = number(argv[++i], 1000000);
        else if (i + 1 < argc && strcmp(argv[i], "--ticks") == 0) ticks = number(argv[++i], INT64_MAX);
        else if (argv[i][0] != '-') address = argv[i];
        else return fprintf(stderr, "usage: gameloop [--hz N] [--ticks N] [ADDRESS]\n"), 2;
    }

    static const char about[] = "{\"metadata\": {\"render_modes\": [], \"render_fps\": 60}}";
    const float ball_low[4] = {0, 0, -MAX_DRIFT, -FALL_SPEED}, ball_high[4] = {1, 1, MAX_DRIFT, 0};
    ferry_field fields[NUM_FIELDS] = {
        [BALL] = {.path = "ball", .role = FERRY_OBSERVATION, .kind = FERRY_BOX, .ndim = 1, .shape = {4}},
        [PADDLE] = {.path = "paddle", .role = FERRY_OBSERVATION, .kind = FERRY_BOX, .ndim = 1, .shape = {1}, .high = 1},
        [LIVES] = {.path = "lives", .role = FERRY_OBSERVATION, .kind = FERRY_DISCRETE, .n = NUM_LIVES + 1},
        [MOVE] = {.role = FERRY_ACTION, .kind = FERRY_DISCRETE, .n = 3}, /* left, stay, right */
        [SCORE] = {.path = "score", .role = FERRY_INFO, .kind = FERRY_BOX, .dtype = FERRY_I64},
    };
    fields[BALL].low_each = ball_low, fields[BALL].high_each = ball_high;
    ferry_env_desc desc = {.struct_size = sizeof desc, .address = address};
    desc.fields = fields, desc.num_fields = NUM_FIELDS;
    desc.about.data = about, desc.about.size_bytes = sizeof about - 1, desc.about.format = FERRY_JSON;
    ferry_env *env;
    ferry_why why;
    if (ferry_env_open(&desc, &env, &why) < 0) return fprintf(stderr, "gameloop: %s\n", why.text), 1;
    signal(SIGINT, stop), signal(SIGTERM, stop);
    setvbuf(stdout, NULL, _IOLBF, 0);

    game g = {.world = {.rng = (uint32_t)now_ns() | 1}};
    int64_t tick = 0, deadline_ns = now_ns(), period_ns = hz ? 1000000000 / hz : 0;
    int got = 0;
    while (!stopped && (ticks == 0 || tick < ticks) && (got = take_turns(&g, env)) == 0) {
        answer(&g, env);
        next_tick(&deadline_ns, period_ns);
        tick++;
    }
    printf("ended after %lld ticks\n", (long long)tick);
    int failed = got < 0 && got != FERRY_ECLOSED; /* an inherited connection ends with its agent */
    ferry_env_why(env, &why);
    if (failed) fprintf(stderr, "gameloop: %s\n", why.text);
    ferry_env_close(env);
    return failed;
}
