/* Question: how much more does a turn through Ferry cost than the bare exchange of its bytes? An agent and an env, two
 * processes, exchange an action and an observation of given sizes through the floor (floor.h) and through libferry, in
 * alternating blocks, in one pair of processes; then again in fresh pairs, since the pages that a pair happens to get
 * move both rates. The floor also runs against a second copy of itself (the control): how far that ratio is from 1 is
 * the error of the method. FERRY_WAIT=spin|adaptive|block chooses how Ferry waits; the floor spins, or sleeps on a
 * futex for block and on a single CPU, where spinning cannot work. JSON on standard output. */
#include "floor.h"

#include <getopt.h>
#include <libferry.h>

enum { OBSERVATION, ACTION, NUM_FIELDS };
enum { FLOOR, CONTROL, FERRY, NUM_CONTENDERS };
enum { LIMIT_S = 120, PEER_TIMEOUT_S = 20 };

static const char *const contender_names[NUM_CONTENDERS] = {"floor", "control", "ferry"};

typedef struct options {
    int cpus[2];
    size_t action_bytes, observation_bytes;
    uint32_t pairs, blocks, single_blocks, trips;
    int only; /* a contender, or -1 for all */
    const char *wait_name;
    floor_wait floor;
} options;

static const char usage[] = "usage: [FERRY_WAIT=spin|adaptive|block] roundtrip [options]\n"
                            "  --cpus A,B      CPUs of the agent and of the env; may be the same (default 0,1)\n"
                            "  --in BYTES      size of the action, at least 8 (default 64)\n"
                            "  --out BYTES     size of the observation, at least 8 (default 64)\n"
                            "  --pairs N       pairs of processes (default 5)\n"
                            "  --blocks N      blocks of each contender in a pair, timed as a whole (default 101)\n"
                            "  --singles N     further blocks in which every trip is timed by itself (default 10)\n"
                            "  --trips N       round trips in a block (default 5000)\n"
                            "  --only WHO      floor or ferry: run that one alone, for a profiler\n";

static options parse(int argc, char **argv) {
    static const struct option known[] = {
        {"cpus", 1, NULL, 'c'},    {"in", 1, NULL, 'i'},    {"out", 1, NULL, 'o'},  {"pairs", 1, NULL, 'p'}, {"blocks", 1, NULL, 'b'},
        {"singles", 1, NULL, 's'}, {"trips", 1, NULL, 't'}, {"only", 1, NULL, 'w'}, {"help", 0, NULL, 'h'},  {NULL, 0, NULL, 0}};
    options o = {{0, 1}, 64, 64, 5, 101, 10, 5000, -1, getenv("FERRY_WAIT"), FLOOR_SPIN};
    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (c == 'c') bench_parse_cpus(optarg, o.cpus);
        else if (c == 'i') o.action_bytes = bench_parse_count("--in", optarg);
        else if (c == 'o') o.observation_bytes = bench_parse_count("--out", optarg);
        else if (c == 'p') o.pairs = (uint32_t)bench_parse_count("--pairs", optarg);
        else if (c == 'b') o.blocks = (uint32_t)bench_parse_count("--blocks", optarg);
        else if (c == 's') o.single_blocks = (uint32_t)bench_parse_count("--singles", optarg);
        else if (c == 't') o.trips = (uint32_t)bench_parse_count("--trips", optarg);
        else if (c == 'w') o.only = strcmp(optarg, "ferry") ? FLOOR : FERRY;
        else exit((fputs(usage, c == 'h' ? stdout : stderr), c != 'h'));
    }
    if (o.action_bytes < 8 || o.observation_bytes < 8 || !o.pairs || !o.blocks || !o.trips) bench_die("%s", usage);
    if (!o.wait_name || !*o.wait_name) o.wait_name = "adaptive";
    if (strcmp(o.wait_name, "spin") == 0 && o.cpus[0] == o.cpus[1]) bench_die("two sides that spin need two CPUs");
    if (strcmp(o.wait_name, "block") == 0 || o.cpus[0] == o.cpus[1]) o.floor = FLOOR_FUTEX;
    return o;
}

/* One process's half of every contender; env is NULL in the agent's process and agent in the env's. */
typedef struct side {
    floor_channel floor, control;
    ferry_env *env;
    ferry_agent *agent;
    uint8_t *action, *observation; /* private to the process */
    size_t action_bytes, observation_bytes;
} side;

__attribute__((noreturn)) static void die_of_env(const ferry_env *env) {
    ferry_why why;
    ferry_env_why(env, &why);
    bench_die("the env: %s", why.text);
}

__attribute__((noreturn)) static void die_of_agent(const ferry_agent *agent) {
    ferry_why why;
    ferry_agent_why(agent, &why);
    bench_die("the agent: %s", why.text);
}

static void open_env(side *s, const char *address) {
    ferry_field fields[NUM_FIELDS];
    ferry_env_desc desc = {0};
    ferry_why why;
    memset(fields, 0, sizeof fields);
    fields[OBSERVATION].role = FERRY_OBSERVATION, fields[ACTION].role = FERRY_ACTION;
    for (int i = 0; i < NUM_FIELDS; i++) fields[i].kind = FERRY_BOX, fields[i].dtype = FERRY_U8, fields[i].ndim = 1;
    fields[OBSERVATION].shape[0] = (uint32_t)s->observation_bytes, fields[ACTION].shape[0] = (uint32_t)s->action_bytes;
    desc.struct_size = sizeof desc, desc.address = address, desc.fields = fields, desc.num_fields = NUM_FIELDS;
    if (ferry_env_open(&desc, &s->env, &why) < 0) bench_die("the env: %s", why.text);
}

static void open_agent(side *s, const char *address) {
    ferry_agent_desc desc = {0};
    ferry_why why;
    desc.struct_size = sizeof desc, desc.address = address;
    if (ferry_agent_open(&desc, &s->agent, &why) < 0) bench_die("the agent: %s", why.text);
    if (ferry_agent_connect(s->agent, (int64_t)PEER_TIMEOUT_S * BENCH_NS_PER_S) != 1) die_of_agent(s->agent);
}

static void ferry_env_block(const side *s, uint32_t trips) {
    ferry_env *env = s->env;
    size_t in = s->action_bytes, out = s->observation_bytes;
    const ferry_turn *turn;
    for (uint32_t i = 0; i < trips; i++) {
        if (ferry_env_wait(env, FERRY_FOREVER, &turn) != 1 || turn->kind == FERRY_LEFT) die_of_env(env);
        if (turn->kind == FERRY_STEP) {
            payload_write(s->observation, out, payload_read((const uint8_t *)turn->data[ACTION], in) + FLOOR_ANSWER_PLUS);
            memcpy(turn->data[OBSERVATION], s->observation, out);
        }
        if (ferry_env_reply(env) < 0) die_of_env(env);
    }
}

static void ferry_agent_block(const side *s, uint64_t first, uint32_t trips, uint32_t kind, double *each_ns) {
    ferry_agent *agent = s->agent;
    size_t in = s->action_bytes, out = s->observation_bytes;
    const ferry_turn *answer;
    for (uint64_t n = first; n < first + trips; n++) {
        uint64_t start = each_ns ? bench_now_ns() : 0;
        ferry_turn *turn = ferry_agent_turn(agent);
        if (!turn) die_of_agent(agent);
        turn->kind = kind;
        payload_write(s->action, in, n);
        memcpy(turn->data[ACTION], s->action, in);
        if (ferry_agent_send(agent) < 0) die_of_agent(agent);
        if (ferry_agent_wait(agent, (int64_t)PEER_TIMEOUT_S * BENCH_NS_PER_S, &answer) != 1) die_of_agent(agent);
        memcpy(s->observation, answer->data[OBSERVATION], out);
        if (kind == FERRY_STEP) payload_expect(s->observation, out, n + FLOOR_ANSWER_PLUS);
        if (each_ns) *each_ns++ = (double)(bench_now_ns() - start);
    }
}

static void run_block(const side *s, int contender, uint64_t first, uint32_t trips, double *each_ns) {
    const floor_channel *floor = contender == FLOOR ? &s->floor : &s->control;
    if (contender == FERRY && s->env) ferry_env_block(s, trips);
    else if (contender == FERRY) ferry_agent_block(s, first, trips, FERRY_STEP, each_ns);
    else if (s->env) floor_env_block(floor, first, trips, s->action, s->observation);
    else floor_agent_block(floor, first, trips, s->action, s->observation, each_ns);
}

typedef struct results {
    double *block_ns[NUM_CONTENDERS];  /* [block] time of a trip in it */
    double *single_ns[NUM_CONTENDERS]; /* [trip] in the blocks that time every trip */
} results;

/* Both processes walk through this schedule, so they agree without a word on which block comes next. The order rotates,
 * so that none of the contenders always follows the same one. */
static void run_schedule(const side *s, const options *o, const results *r) {
    uint64_t first = 1;
    for (uint32_t block = 0; block < 1 + o->blocks + o->single_blocks; block++) { /* the first one warms up */
        for (int place = 0; place < NUM_CONTENDERS; place++, first += o->trips) {
            int contender = (int)((block + (uint32_t)place) % NUM_CONTENDERS);
            double *each_ns = NULL;
            uint64_t start;
            if (o->only >= 0 && contender != o->only) continue;
            if (r && block > o->blocks) each_ns = r->single_ns[contender] + (size_t)(block - o->blocks - 1) * o->trips;
            start = bench_now_ns();
            run_block(s, contender, first, o->trips, each_ns);
            if (r && block >= 1 && block <= o->blocks) r->block_ns[contender][block - 1] = (double)(bench_now_ns() - start) / o->trips;
        }
    }
}

/* One pair of processes. Handles are opened after the fork, as they must be. */
static void run_pair(const options *o, const char *address, const results *r) {
    side s;
    pid_t child;
    memset(&s, 0, sizeof s);
    s.action_bytes = o->action_bytes, s.observation_bytes = o->observation_bytes;
    s.floor = floor_open(o->action_bytes, o->observation_bytes, o->floor);
    s.control = floor_open(o->action_bytes, o->observation_bytes, o->floor);
    child = bench_fork(LIMIT_S);
    bench_pin(o->cpus[child == 0]);
    s.action = (uint8_t *)bench_alloc(o->action_bytes), s.observation = (uint8_t *)bench_alloc(o->observation_bytes);
    if (child == 0) {
        open_env(&s, address);
        ferry_env_block(&s, 1); /* the reset */
        run_schedule(&s, o, NULL);
        ferry_env_close(s.env);
        exit(0);
    }
    open_agent(&s, address);
    ferry_agent_block(&s, 0, 1, FERRY_RESET, NULL);
    run_schedule(&s, o, r);
    ferry_agent_close(s.agent);
    bench_join(child);
    free(s.action), free(s.observation);
    floor_close(&s.floor), floor_close(&s.control);
}

/* Of one pair: the median over its blocks of each contender's time, and of the ratio and the difference to the floor's
 * block next to it. */
typedef struct pair_medians {
    double ns[NUM_CONTENDERS], ratio[NUM_CONTENDERS], difference_ns[NUM_CONTENDERS];
} pair_medians;

static pair_medians reduce(const results *r, uint32_t blocks) {
    pair_medians m;
    double *ratio = (double *)bench_alloc(blocks * sizeof *ratio), *difference = (double *)bench_alloc(blocks * sizeof *difference);
    for (int c = 0; c < NUM_CONTENDERS; c++) {
        for (uint32_t b = 0; b < blocks; b++) {
            ratio[b] = r->block_ns[c][b] / r->block_ns[FLOOR][b];
            difference[b] = r->block_ns[c][b] - r->block_ns[FLOOR][b];
        }
        m.ratio[c] = bench_median(ratio, blocks), m.difference_ns[c] = bench_median(difference, blocks);
    }
    for (int c = 0; c < NUM_CONTENDERS; c++) m.ns[c] = bench_median(r->block_ns[c], blocks);
    free(ratio), free(difference);
    return m;
}

static double median_of_pairs(const pair_medians *pairs, uint32_t count, size_t offset_bytes) {
    double *values = (double *)bench_alloc(count * sizeof *values), median;
    for (uint32_t i = 0; i < count; i++) memcpy(&values[i], (const uint8_t *)&pairs[i] + offset_bytes, sizeof *values);
    median = bench_median(values, count);
    free(values);
    return median;
}

static void print(const options *o, const pair_medians *pairs, const results *r, size_t singles) {
    printf("{\"bench\": \"roundtrip\", \"wait\": \"%s\", \"floor_wait\": \"%s\", \"cpus\": {\"agent\": %d, \"env\": "
           "%d},\n",
           o->wait_name, o->floor == FLOOR_SPIN ? "spin" : "futex", o->cpus[0], o->cpus[1]);
    printf(" \"bytes\": {\"in\": %zu, \"out\": %zu}, \"pairs\": %u, \"blocks\": %u, \"trips\": %u, \"clock_ns\": %.1f", o->action_bytes,
           o->observation_bytes, o->pairs, o->blocks, o->trips, bench_clock_cost_ns());
    for (int c = 0; c < NUM_CONTENDERS; c++) {
        double *single_ns = r->single_ns[c];
        printf(",\n \"%s\": {\"ns\": %.1f, \"ratio\": %.4f, \"difference_ns\": %.1f, \"ratio_by_pair\": [", contender_names[c],
               median_of_pairs(pairs, o->pairs, offsetof(pair_medians, ns) + (size_t)c * sizeof(double)),
               median_of_pairs(pairs, o->pairs, offsetof(pair_medians, ratio) + (size_t)c * sizeof(double)),
               median_of_pairs(pairs, o->pairs, offsetof(pair_medians, difference_ns) + (size_t)c * sizeof(double)));
        for (uint32_t i = 0; i < o->pairs; i++) printf("%s%.3f", i ? ", " : "", pairs[i].ratio[c]);
        printf("]");
        if (singles) {
            bench_sort(single_ns, singles);
            printf(", \"single_ns\": {\"p50\": %.0f, \"p99\": %.0f, \"p99.9\": %.0f}", bench_quantile(single_ns, singles, 0.5),
                   bench_quantile(single_ns, singles, 0.99), bench_quantile(single_ns, singles, 0.999));
        }
        printf("}");
    }
    printf("}\n");
}

int main(int argc, char **argv) {
    options o = parse(argc, argv);
    char directory[64], address[80];
    size_t singles_of_pair = (size_t)o.single_blocks * o.trips, singles = singles_of_pair * o.pairs;
    pair_medians *pairs = (pair_medians *)bench_alloc(o.pairs * sizeof *pairs);
    results all, r;
    unsetenv("FERRY_ADDRESS");
    bench_make_directory(directory);
    snprintf(address, sizeof address, "%s/roundtrip", directory);
    for (int c = 0; c < NUM_CONTENDERS; c++) {
        all.block_ns[c] = (double *)bench_alloc(o.blocks * sizeof(double));
        all.single_ns[c] = (double *)bench_alloc(singles * sizeof(double));
    }
    for (uint32_t i = 0; i < o.pairs; i++) {
        r = all;
        for (int c = 0; c < NUM_CONTENDERS; c++) r.single_ns[c] += singles_of_pair * i;
        run_pair(&o, address, &r);
        pairs[i] = reduce(&r, o.blocks);
    }
    rmdir(directory);
    if (o.only < 0) print(&o, pairs, &all, singles);
    for (int c = 0; c < NUM_CONTENDERS; c++) free(all.block_ns[c]), free(all.single_ns[c]);
    free(pairs);
    return 0;
}
