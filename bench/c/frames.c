/* Question: how long after it is published is a frame in real time seen, and does any arrive that was not published so?
 *
 * Alone: one frame at a time, from a writer to a reader that spins, through the floor (floor.h: the bytes and a word, one way) and through
 * libferry, in alternating blocks. The time is from just before the writer copies the bytes to just after the reader has them, by a clock that
 * both read, less the reading of the clock.
 *
 * With --stream N: N frames as fast as the writer can, each of them checked to the last byte by a reader who takes what he gets. Rewards and endings
 * are counted on both sides. JSON on standard output. */
#include "floor.h"
#include "world.h"

#include <getopt.h>

enum { FLOOR, CONTROL, FERRY, NUM_CONTENDERS };
enum { LIMIT_S = 600, SETTLE_LEAST = 40, SETTLE_MOST = 100 };

static const char *const contender_names[NUM_CONTENDERS] = {"floor", "control", "ferry"};

typedef struct options {
    int cpus[2];
    size_t bytes;
    uint32_t pairs, blocks, trips;
    uint64_t stream, episode;
} options;

static const char usage[] = "usage: [FERRY_WAIT=spin|adaptive|block] frames [options]\n"
                            "  --cpus A,B      CPUs of the reader and of the writer (default 0,1)\n"
                            "  --bytes N       size of a frame, a multiple of 8 (default 64)\n"
                            "  --pairs N       pairs of processes (default 5)\n"
                            "  --blocks N      blocks of each contender in a pair (default 41)\n"
                            "  --trips N       frames in a block (default 2000)\n"
                            "  --stream N      no times: so many frames at full speed, each checked\n"
                            "  --episode N     with --stream: frames of an episode (default 1000000)\n";

static options parse(int argc, char **argv) {
    static const struct option known[] = {{"cpus", 1, NULL, 'c'},    {"bytes", 1, NULL, 'y'}, {"pairs", 1, NULL, 'p'},
                                          {"blocks", 1, NULL, 'b'},  {"trips", 1, NULL, 't'}, {"stream", 1, NULL, 's'},
                                          {"episode", 1, NULL, 'e'}, {"help", 0, NULL, 'h'},  {NULL, 0, NULL, 0}};
    options o = {{0, 1}, 64, 5, 41, 2000, 0, 1000000};
    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (c == 'c') bench_parse_cpus(optarg, o.cpus);
        else if (c == 'y') o.bytes = bench_parse_count("--bytes", optarg);
        else if (c == 'p') o.pairs = (uint32_t)bench_parse_count("--pairs", optarg);
        else if (c == 'b') o.blocks = (uint32_t)bench_parse_count("--blocks", optarg);
        else if (c == 't') o.trips = (uint32_t)bench_parse_count("--trips", optarg);
        else if (c == 's') o.stream = bench_parse_count("--stream", optarg);
        else if (c == 'e') o.episode = bench_parse_count("--episode", optarg);
        else exit((fputs(usage, c == 'h' ? stdout : stderr), c != 'h'));
    }
    if (o.bytes < 16 || o.bytes % 8 != 0 || !o.pairs || !o.blocks || !o.trips || !o.episode) bench_die("%s", usage);
    return o;
}

/* The next turn, a RESET answered on the way. NULL: the agent has left. */
static const ferry_turn *frame_of(ferry_env *env) {
    const ferry_turn *turn;
    for (;;) {
        int got = ferry_env_wait(env, 0, &turn);
        if (got < 0) die_of_env(env);
        if (got > 0 && turn->kind == FERRY_STEP) return turn;
        if (got > 0 && turn->kind == FERRY_LEFT) return NULL;
        if (got > 0 && ferry_env_reply(env) < 0) die_of_env(env);
        if (got == 0) sched_yield();
    }
}

/* ---- One at a time ---- */

typedef struct stage {
    uint32_t *acknowledged; /* the reader's word, on a line of its own: the number of the last frame that it has seen */
    floor_channel floor, control;
} stage;

/* Until the reader looks again, and then at any moment of its looking. With the same number of pauses each time the frame came at the same
 * moment of whatever a reader does at regular intervals. */
static void await_word(uint32_t *word, uint32_t number) {
    uint32_t settle = SETTLE_LEAST + (number * UINT32_C(2654435761) >> 16) % (SETTLE_MOST - SETTLE_LEAST);
    floor_await(word, number, FLOOR_SPIN);
    for (; settle > 0; settle--) floor_pause();
}

static void write_block(const stage *s, const floor_channel *floor, ferry_env *env, uint64_t first, const options *o, uint8_t *payload) {
    for (uint64_t n = first; n < first + o->trips; n++) {
        const ferry_turn *turn = floor ? NULL : frame_of(env);
        uint64_t now;
        await_word(s->acknowledged, (uint32_t)(n - 1));
        now = bench_now_ns();
        memcpy(payload, &n, sizeof n), memcpy(payload + o->bytes - sizeof now, &now, sizeof now);
        memcpy(floor ? floor->action : (uint8_t *)turn->data[OBSERVATION], payload, o->bytes);
        if (floor) floor_publish(floor->asked, (uint32_t)n, FLOOR_SPIN);
        else if (ferry_env_reply(env) < 0) die_of_env(env);
    }
}

static void read_block(const stage *s, const floor_channel *floor, ferry_agent *agent, uint64_t first, const options *o, uint8_t *payload,
                       double *each_ns) {
    for (uint64_t n = first; n < first + o->trips; n++) {
        const ferry_turn *frame;
        uint64_t number, sent, now;
        if (floor) floor_await(floor->asked, (uint32_t)n, FLOOR_SPIN);
        else if (ferry_agent_wait(agent, FERRY_FOREVER, &frame) != 1) die_of_agent(agent);
        memcpy(payload, floor ? floor->action : (const uint8_t *)frame->data[OBSERVATION], o->bytes);
        now = bench_now_ns();
        memcpy(&number, payload, sizeof number), memcpy(&sent, payload + o->bytes - sizeof sent, sizeof sent);
        if (number != n) bench_die("frame %llu says that it is %llu", (unsigned long long)n, (unsigned long long)number);
        *each_ns++ = (double)(now - sent);
        __atomic_store_n(s->acknowledged, (uint32_t)n, __ATOMIC_RELEASE);
    }
}

static void run_schedule(const stage *s, const options *o, ferry_env *env, ferry_agent *agent, double *medians[NUM_CONTENDERS]) {
    uint8_t *payload = (uint8_t *)bench_alloc(o->bytes);
    double *each_ns = (double *)bench_alloc(o->trips * sizeof *each_ns);
    uint64_t first = 1;
    for (uint32_t block = 0; block < 1 + o->blocks; block++) /* the first one warms up */
        for (int place = 0; place < NUM_CONTENDERS; place++, first += o->trips) {
            int contender = (int)((block + (uint32_t)place) % NUM_CONTENDERS);
            const floor_channel *floor = contender == FLOOR ? &s->floor : contender == CONTROL ? &s->control : NULL;
            if (env) write_block(s, floor, env, first, o, payload);
            else read_block(s, floor, agent, first, o, payload, each_ns);
            if (agent && block > 0) medians[contender][block - 1] = bench_median(each_ns, o->trips);
        }
    free(payload), free(each_ns);
}

static void measure(const options *o, const char *address) {
    double *medians[NUM_CONTENDERS], *ratio[NUM_CONTENDERS], clock_ns = bench_clock_cost_ns();
    double of_pair[NUM_CONTENDERS][2];
    for (int c = 0; c < NUM_CONTENDERS; c++) {
        medians[c] = (double *)bench_alloc(o->blocks * sizeof(double));
        ratio[c] = (double *)bench_alloc(o->blocks * sizeof(double));
    }
    printf(
        "{\"bench\": \"frames\", \"wait\": \"%s\", \"cpus\": {\"reader\": %d, \"writer\": %d}, \"bytes\": %zu, \"blocks\": %u, \"trips\": %u, "
        "\"clock_ns\": %.1f,\n \"pairs\": [",
        getenv("FERRY_WAIT") ? getenv("FERRY_WAIT") : "adaptive", o->cpus[0], o->cpus[1], o->bytes, o->blocks, o->trips, clock_ns);
    for (uint32_t pair = 0; pair < o->pairs; pair++) {
        const ferry_turn *first;
        stage s;
        pid_t child;
        s.acknowledged = (uint32_t *)bench_shared(FLOOR_LINE);
        s.floor = floor_open(o->bytes, 8, FLOOR_SPIN), s.control = floor_open(o->bytes, 8, FLOOR_SPIN);
        child = bench_fork(LIMIT_S);
        bench_pin(o->cpus[child == 0]);
        if (child == 0) {
            ferry_env *env = open_world(address, o->bytes);
            if (!frame_of(env) || ferry_env_reply(env) < 0) die_of_env(env);
            run_schedule(&s, o, env, NULL, NULL);
            ferry_env_close(env);
            exit(0);
        }
        ferry_agent *agent = open_player(address);
        reset(agent);
        if (ferry_agent_wait(agent, FERRY_FOREVER, &first) != 1) die_of_agent(agent);
        run_schedule(&s, o, NULL, agent, medians);
        ferry_agent_close(agent);
        bench_join(child);
        for (int c = 0; c < NUM_CONTENDERS; c++) {
            for (uint32_t b = 0; b < o->blocks; b++) ratio[c][b] = (medians[c][b] - clock_ns) / (medians[FLOOR][b] - clock_ns);
            of_pair[c][1] = bench_median(ratio[c], o->blocks);
        }
        for (int c = 0; c < NUM_CONTENDERS; c++) of_pair[c][0] = bench_median(medians[c], o->blocks) - clock_ns;
        printf("%s\n  {", pair ? "," : "");
        for (int c = 0; c < NUM_CONTENDERS; c++)
            printf("%s\"%s\": {\"ns\": %.1f, \"ratio\": %.3f}", c ? ", " : "", contender_names[c], of_pair[c][0], of_pair[c][1]);
        printf("}");
        munmap(s.acknowledged, FLOOR_LINE);
        floor_close(&s.floor), floor_close(&s.control);
    }
    printf("]}\n");
    for (int c = 0; c < NUM_CONTENDERS; c++) free(medians[c]), free(ratio[c]);
}

/* ---- As many as there can be ---- */

typedef struct tally {
    double rewards;
    uint64_t endings, frames, ns;
} tally;

static double reward_of(uint64_t frame) { return (double)(frame % 7) * 0.5; } /* sums of which are exact */

static void write_stream(const options *o, const char *address, tally *t) {
    ferry_env *env = open_world(address, o->bytes);
    size_t words = o->bytes / 8;
    uint64_t start = 0;
    while (t->frames < o->stream) {
        const ferry_turn *turn = frame_of(env);
        uint64_t *to, value;
        if (turn == NULL) bench_die("the reader has left");
        if (start == 0) start = bench_now_ns();
        to = (uint64_t *)turn->data[OBSERVATION];
        value = turn->episode[0] << 40 | turn->frame;
        for (size_t i = 0; i < words; i++) to[i] = value;
        turn->reward[0] = reward_of(turn->frame);
        turn->terminated[0] = turn->frame == o->episode || t->frames + 1 == o->stream;
        t->rewards += turn->reward[0], t->endings += turn->terminated[0], t->frames++;
        if (ferry_env_reply(env) < 0) die_of_env(env);
    }
    t->ns = bench_now_ns() - start;
    for (const ferry_turn *turn; ferry_env_wait(env, patience_ns, &turn) == 1 && turn->kind != FERRY_LEFT;) {}
    ferry_env_close(env);
}

static void read_stream(const options *o, const char *address, tally *t) {
    ferry_agent *agent = open_player(address);
    size_t words = o->bytes / 8;
    uint64_t start = bench_now_ns();
    do {
        uint64_t last = 0;
        int over = 0;
        reset(agent);
        while (!over) {
            const ferry_turn *frame;
            const uint64_t *from;
            uint64_t differs = 0;
            if (ferry_agent_wait(agent, patience_ns, &frame) != 1) die_of_agent(agent);
            from = (const uint64_t *)frame->data[OBSERVATION];
            for (size_t i = 0; i < words; i++) differs |= from[i] ^ (frame->episode[0] << 40 | frame->frame);
            if (differs) bench_die("frame %llu is torn", (unsigned long long)frame->frame);
            if (frame->frame <= last) bench_die("frame %llu came after %llu", (unsigned long long)frame->frame, (unsigned long long)last);
            last = frame->frame, over = frame->terminated[0];
            t->rewards += frame->reward[0], t->frames++, t->endings += (uint64_t)over;
        }
    } while (t->endings < (o->stream + o->episode - 1) / o->episode);
    t->ns = bench_now_ns() - start;
    ferry_agent_close(agent);
}

static void stream(const options *o, const char *address) {
    tally *written = (tally *)bench_shared(sizeof *written), read;
    pid_t child;
    memset(&read, 0, sizeof read);
    child = bench_fork(LIMIT_S);
    bench_pin(o->cpus[child == 0]);
    if (child == 0) {
        write_stream(o, address, written);
        exit(0);
    }
    read_stream(o, address, &read);
    bench_join(child);
    printf("{\"bench\": \"frames\", \"bytes\": %zu, \"published\": %llu, \"published_per_s\": %.0f, \"seen\": %llu, \"seen_per_s\": %.0f,\n"
           " \"torn\": 0, \"out_of_order\": 0, \"rewards\": [%.1f, %.1f], \"endings\": [%llu, %llu]}\n",
           o->bytes, (unsigned long long)written->frames, (double)written->frames * 1e9 / (double)written->ns,
           (unsigned long long)read.frames, (double)read.frames * 1e9 / (double)read.ns, written->rewards, read.rewards,
           (unsigned long long)written->endings, (unsigned long long)read.endings);
    if (written->rewards != read.rewards || written->endings != read.endings) bench_die("rewards or endings were lost");
    munmap(written, sizeof *written);
}

int main(int argc, char **argv) {
    options o = parse(argc, argv);
    char directory[64], address[80];
    unsetenv("FERRY_ADDRESS");
    bench_make_directory(directory);
    snprintf(address, sizeof address, "%s/frames", directory);
    if (o.stream > 0) stream(&o, address);
    else measure(&o, address);
    rmdir(directory);
    return 0;
}
