/* An environment whose step takes CPU time and nothing else, and the same work without anybody to serve.
 *
 *     busy ROUNDS ADDRESS    serves: the observation is {steps in the episode, x}; a reset sets x to the seed, a step makes it
 *                            busy_work(x + action, ROUNDS)
 *     busy ROUNDS < counts   for each line "N" works N times from x = 0 and prints "NS X": how long that took, and what came out
 */
#include "bench.h"
#include "work.h"

#include <libferry.h>

enum { OBSERVATION, ACTION, NUM_FIELDS };
enum { MAX_LINE = 64, LIMIT_S = 900 };

static volatile sig_atomic_t stopped;

static void stop(int signal_number) {
    (void)signal_number;
    stopped = 1;
}

static void work_on_request(uint32_t rounds) {
    char line[MAX_LINE];
    alarm(LIMIT_S);
    while (fgets(line, sizeof line, stdin)) {
        uint64_t start = bench_now_ns(), x = 0;
        for (long n = strtol(line, NULL, 10); n > 0; n--) x = busy_work(x, rounds);
        printf("%llu %llu\n", (unsigned long long)(bench_now_ns() - start), (unsigned long long)x), fflush(stdout);
    }
}

static void serve(uint32_t rounds, const char *address) {
    const ferry_field fields[NUM_FIELDS] = {
        [OBSERVATION] = {.role = FERRY_OBSERVATION, .kind = FERRY_BOX, .dtype = FERRY_U64, .ndim = 1, .shape = {2}},
        [ACTION] = {.role = FERRY_ACTION, .kind = FERRY_DISCRETE, .n = 2},
    };
    const ferry_env_desc desc = {.struct_size = sizeof desc, .address = address, .fields = fields, .num_fields = NUM_FIELDS};
    uint64_t steps = 0, x = 0;
    ferry_env *env;
    ferry_why why;
    const ferry_turn *turn;
    int got = 0;
    if (ferry_env_open(&desc, &env, &why) < 0) bench_die("busy: %s", why.text);
    signal(SIGINT, stop), signal(SIGTERM, stop);
    while (!stopped && (got = ferry_env_wait(env, 100000000, &turn)) >= 0) {
        if (got == 0 || turn->kind == FERRY_LEFT) continue;
        if (turn->kind == FERRY_RESET) steps = 0, x = turn->seed[0] < 0 ? 0 : (uint64_t)turn->seed[0];
        else steps++, x = busy_work(x + (uint64_t)*(const int64_t *)turn->data[ACTION], rounds);
        ((uint64_t *)turn->data[OBSERVATION])[0] = steps, ((uint64_t *)turn->data[OBSERVATION])[1] = x;
        turn->reward[0] = 1;
        ferry_env_reply(env);
    }
    ferry_env_why(env, &why);
    if (got < 0 && got != FERRY_ECLOSED) bench_die("busy: %s", why.text);
    ferry_env_close(env);
}

int main(int argc, char **argv) {
    if (argc < 2 || argc > 3) bench_die("usage: busy ROUNDS [ADDRESS]");
    uint32_t rounds = (uint32_t)bench_parse_count("ROUNDS", argv[1]);
    if (argc > 2) serve(rounds, argv[2]);
    else work_on_request(rounds);
    return 0;
}
