/* What publishing a frame takes, in instructions, whatever its agent does: to be run under callgrind, which counts ferry_env_reply alone
 * (tests/test_realtime_work.py does). The agent is a process of its own, outside of it: one that has left, is stopped, or looks without
 * pause. */
#include "world.h"

enum { LIMIT_S = 120, FRAMES = 5000, FRAME_BYTES = 64 };

/* Begins an episode, and looks until the world has gone; or leaves at once. */
static int play(const char *address, int leaves) {
    ferry_agent *agent = open_player(address);
    const ferry_turn *frame;
    ferry_turn *turn;
    int got = leaves ? -1 : 0;
    reset(agent);
    while (got >= 0) {
        turn = ferry_agent_turn(agent);
        if (turn) turn->kind = FERRY_STEP, (void)ferry_agent_send(agent);
        got = ferry_agent_wait(agent, 0, &frame);
    }
    ferry_agent_close(agent);
    return 0;
}

/* The next frame, a RESET answered on the way; *left says whether the agent has. */
static const ferry_turn *frame_of(ferry_env *env, int *left) {
    for (const ferry_turn *turn;;) {
        int got = ferry_env_wait(env, 0, &turn);
        if (got < 0) bench_die("the world has failed: %d", got);
        if (got > 0 && turn->kind == FERRY_STEP) return turn;
        if (got > 0 && turn->kind == FERRY_LEFT) *left = 1;
        if (got > 0 && turn->kind == FERRY_RESET && ferry_env_reply(env) < 0) bench_die("a reset cannot be answered");
    }
}

int main(int argc, char **argv) {
    char directory[64], address[80];
    const char *way = argc > 1 ? argv[1] : "";
    int leaves = strcmp(way, "left") == 0, stopped = strcmp(way, "stopped") == 0, left = 0;
    uint64_t answered = 0, warm = 0;
    ferry_env *env;
    pid_t agent;
    if (argc == 4 && strcmp(way, "play") == 0) return play(argv[2], strcmp(argv[3], "left") == 0);
    if (argc != 2 || (!leaves && !stopped && strcmp(way, "spinning") != 0)) bench_die("usage: publish left|stopped|spinning");
    unsetenv("FERRY_ADDRESS");
    bench_make_directory(directory);
    snprintf(address, sizeof address, "%s/publish", directory);
    env = open_world(address, FRAME_BYTES);
    agent = bench_fork(LIMIT_S);
    if (agent == 0) {
        execl(argv[0], argv[0], "play", address, way, (char *)NULL);
        bench_die("the agent cannot be started");
    }
    /* Frames until the agent is what it is said to be: they are replied to in any case, and counted too. So all three are given as many. */
    for (int i = 0; i < FRAMES; i++) {
        const ferry_turn *turn = frame_of(env, &left);
        while (i == FRAMES / 2 && leaves && !left) { /* it is noticed now and then, by the clock */
            const ferry_turn *other;
            if (ferry_env_wait(env, 0, &other) == 1 && other->kind == FERRY_LEFT) left = 1, turn = frame_of(env, &left);
        }
        if (i == FRAMES / 2 && stopped) kill(agent, SIGSTOP);
        if (i == FRAMES / 2) warm = answered;
        answered += turn->action_ns != 0 && turn->answers + 1 == turn->frame;
        memset(turn->data[OBSERVATION], i, FRAME_BYTES);
        turn->reward[0] = 1;
        if (ferry_env_reply(env) < 0) bench_die("a frame cannot be published");
    }
    kill(agent, SIGCONT);
    ferry_env_close(env);
    bench_join(agent);
    rmdir(directory);
    printf("{\"agent\": \"%s\", \"frames\": %d, \"answered\": %llu}\n", way, FRAMES, (unsigned long long)(answered - warm));
    return 0;
}
