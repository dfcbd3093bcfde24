/* Question: what does it cost the two sides of a channel that others look at it? An agent and an env, two processes, each on a processor of
 * its own, exchange an action and an observation of 64 bytes each, in blocks: while nobody observes, while one does, and while eight do.
 * Observers are processes that look 30 times a second and sleep in between, wherever the kernel puts them. The ratios are to the block
 * without observers that stands beside. JSON on standard output. */
#include "bench.h"

#include <fcntl.h>
#include <libferry.h>

enum { BYTES = 64, LIMIT_S = 300, BLOCKS = 41, TRIPS = 1000000, MOST = 8, HZ = 30, OBSERVATION = 0, ACTION = 1, NUM_FIELDS = 2 };
enum { ALONE, ONE, ALL, CROWDS };

static const int observers_of[CROWDS] = {0, 1, MOST};
static const char *const crowd_names[CROWDS] = {"alone", "one", "eight"};

static void serve(const char *address) {
    ferry_field fields[NUM_FIELDS];
    ferry_env_desc desc = {0};
    const ferry_turn *turn;
    ferry_env *env;
    ferry_why why;
    memset(fields, 0, sizeof fields);
    for (int i = 0; i < NUM_FIELDS; i++)
        fields[i].role = (uint8_t)i, fields[i].dtype = FERRY_U8, fields[i].ndim = 1, fields[i].shape[0] = BYTES;
    desc.struct_size = sizeof desc, desc.address = address, desc.fields = fields, desc.num_fields = NUM_FIELDS;
    if (ferry_env_open(&desc, &env, &why) < 0) bench_die("the env: %s", why.text);
    while (ferry_env_wait(env, FERRY_FOREVER, &turn) > 0 && turn->kind != FERRY_LEFT) {
        if (turn->kind == FERRY_STEP) memcpy(turn->data[OBSERVATION], turn->data[ACTION], BYTES);
        if (ferry_env_reply(env) < 0) bench_die("the env cannot reply");
    }
    ferry_env_close(env);
}

/* Comes at a byte, and says so; goes at the next, and says how much it saw. */
static void observe(const char *address, int orders, int reports) {
    ferry_observer_desc desc = {0};
    char order;
    desc.struct_size = sizeof desc, desc.address = address;
    while (read(orders, &order, 1) == 1) {
        const ferry_snapshot *snapshot;
        ferry_observer *observer;
        uint32_t seen = 0;
        ferry_why why;
        int got;
        if (ferry_observer_open(&desc, &observer, &why) < 0) bench_die("the observer: %s", why.text);
        if (ferry_observer_snapshot(observer, (int64_t)LIMIT_S * BENCH_NS_PER_S, &snapshot) != 1) bench_die("nothing to observe");
        if (write(reports, &seen, sizeof seen) != sizeof seen) bench_die("cannot report");
        if (fcntl(orders, F_SETFL, O_NONBLOCK) < 0) bench_die("cannot set a pipe");
        while (read(orders, &order, 1) < 0) {
            usleep(1000000 / HZ);
            if ((got = ferry_observer_snapshot(observer, 0, &snapshot)) < 0) bench_die("the observer was sent away");
            seen += (uint32_t)got;
        }
        if (fcntl(orders, F_SETFL, 0) < 0) bench_die("cannot set a pipe");
        ferry_observer_close(observer);
        if (write(reports, &seen, sizeof seen) != sizeof seen) bench_die("cannot report");
    }
}

static void step(ferry_agent *agent, uint64_t n, uint32_t kind) {
    const ferry_turn *answer;
    ferry_turn *turn = ferry_agent_turn(agent);
    if (!turn) bench_die("the env is gone");
    turn->kind = kind;
    memcpy(turn->data[ACTION], &n, sizeof n);
    if (ferry_agent_send(agent) < 0 || ferry_agent_wait(agent, (int64_t)LIMIT_S * BENCH_NS_PER_S, &answer) != 1) bench_die("no answer");
    if (kind == FERRY_STEP && memcmp(answer->data[OBSERVATION], &n, sizeof n) != 0) bench_die("the answer is not to this action");
}

/* Has so many observers come or go, while turns go on, since the env looks at its door between them; what they report. */
static uint32_t order(ferry_agent *agent, const int *orders, int count, int reports) {
    uint32_t seen, sum = 0;
    int i;
    for (i = 0; i < count; i++)
        if (write(orders[i], "!", 1) != 1) bench_die("cannot order");
    for (i = 0; i < count; i++) {
        while (read(reports, &seen, sizeof seen) < 0) step(agent, 1, FERRY_STEP);
        sum += seen;
    }
    for (i = 0; i < TRIPS / 20; i++) step(agent, 1, FERRY_STEP);
    return sum;
}

int main(void) {
    char directory[64], address[80];
    int orders[MOST][2], ends[MOST], reports[2];
    double ns[CROWDS][BLOCKS], ratio[CROWDS][BLOCKS];
    uint32_t seen[CROWDS] = {0};
    ferry_agent_desc desc = {0};
    ferry_agent *agent;
    ferry_why why;
    pid_t children[1 + MOST]; /* the env, then observers */
    int i, crowd;
    unsetenv("FERRY_ADDRESS");
    bench_make_directory(directory);
    snprintf(address, sizeof address, "%s/observed", directory);
    if (pipe(reports) < 0 || fcntl(reports[0], F_SETFL, O_NONBLOCK) < 0) bench_die("cannot make a pipe");
    for (i = 0; i < MOST; i++)
        if (pipe(orders[i]) < 0) bench_die("cannot make a pipe");
        else ends[i] = orders[i][1];
    for (i = 0; i <= MOST; i++) {
        if ((children[i] = bench_fork(LIMIT_S)) != 0) continue;
        for (int k = 0; k < MOST; k++) close(ends[k]);
        if (i == 0) bench_pin(1), serve(address);
        else observe(address, orders[i - 1][0], reports[1]);
        exit(0);
    }
    bench_pin(0);
    desc.struct_size = sizeof desc, desc.address = address;
    if (ferry_agent_open(&desc, &agent, &why) < 0) bench_die("the agent: %s", why.text);
    if (ferry_agent_connect(agent, (int64_t)LIMIT_S * BENCH_NS_PER_S) != 1) bench_die("no env");
    step(agent, 0, FERRY_RESET);
    for (uint64_t n = 0; n < TRIPS; n++) step(agent, n, FERRY_STEP);
    for (int block = 0; block < BLOCKS; block++) {
        for (int place = 0; place < CROWDS; place++) {
            uint64_t start;
            crowd = (block + place) % CROWDS; /* none always comes first */
            order(agent, ends, observers_of[crowd], reports[0]);
            start = bench_now_ns();
            for (uint64_t n = 0; n < TRIPS; n++) step(agent, n, FERRY_STEP);
            ns[crowd][block] = (double)(bench_now_ns() - start) / TRIPS;
            seen[crowd] += order(agent, ends, observers_of[crowd], reports[0]);
        }
        for (crowd = 0; crowd < CROWDS; crowd++) ratio[crowd][block] = ns[crowd][block] / ns[ALONE][block];
    }
    for (i = 0; i < MOST; i++) close(ends[i]);
    ferry_agent_close(agent);
    for (i = 0; i <= MOST; i++) bench_join(children[i]);
    rmdir(directory);
    printf("{\"bench\": \"observed\", \"bytes\": %d, \"blocks\": %d, \"trips\": %d, \"hz\": %d", BYTES, BLOCKS, TRIPS, HZ);
    for (crowd = 0; crowd < CROWDS; crowd++) {
        if (crowd != ALONE && seen[crowd] == 0) bench_die("nobody has seen anything");
        bench_sort(ns[crowd], BLOCKS), bench_sort(ratio[crowd], BLOCKS);
        printf(",\n \"%s\": {\"ns\": {\"p10\": %.1f, \"p50\": %.1f}, "
               "\"ratio\": {\"p10\": %.4f, \"p50\": %.4f, \"p90\": %.4f}, \"snapshots\": %u}",
               crowd_names[crowd], bench_quantile(ns[crowd], BLOCKS, 0.1), bench_quantile(ns[crowd], BLOCKS, 0.5),
               bench_quantile(ratio[crowd], BLOCKS, 0.1), bench_quantile(ratio[crowd], BLOCKS, 0.5),
               bench_quantile(ratio[crowd], BLOCKS, 0.9), seen[crowd]);
    }
    printf("}\n");
    return 0;
}
