/* Question: what do this machine and this kernel allow? The floors by themselves: a round trip between two processes
 * that spin, one between two that sleep, and a warm memcpy. JSON on standard output. */
#include "floor.h"

#include <getopt.h>

typedef struct options {
    int cpus[2];
    size_t action_bytes, observation_bytes;
    uint32_t blocks, trips;
} options;

static const char usage[] = "usage: floor [--cpus A,B] [--in BYTES] [--out BYTES] [--blocks N] [--trips N]\n"
                            "  --cpus A,B    CPUs of the agent and of the env; the same twice leaves out the spin (default 0,1)\n"
                            "  --in BYTES    size of the action, at least 8 (default 64)\n"
                            "  --out BYTES   size of the observation, at least 8 (default 64)\n"
                            "  --blocks N    blocks that are timed (default 101)\n"
                            "  --trips N     round trips in a block of the spin; a block of the futex has a tenth (default 20000)\n";

static options parse(int argc, char **argv) {
    static const struct option known[] = {{"cpus", 1, NULL, 'c'},  {"in", 1, NULL, 'i'},   {"out", 1, NULL, 'o'}, {"blocks", 1, NULL, 'b'},
                                          {"trips", 1, NULL, 't'}, {"help", 0, NULL, 'h'}, {NULL, 0, NULL, 0}};
    options o = {{0, 1}, 64, 64, 101, 20000};
    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (c == 'c') bench_parse_cpus(optarg, o.cpus);
        else if (c == 'i') o.action_bytes = bench_parse_count("--in", optarg);
        else if (c == 'o') o.observation_bytes = bench_parse_count("--out", optarg);
        else if (c == 'b') o.blocks = (uint32_t)bench_parse_count("--blocks", optarg);
        else if (c == 't') o.trips = (uint32_t)bench_parse_count("--trips", optarg);
        else exit((fputs(usage, c == 'h' ? stdout : stderr), c != 'h'));
    }
    if (o.action_bytes < 8 || o.observation_bytes < 8 || !o.blocks || o.trips < 10) bench_die("%s", usage);
    return o;
}

static void measure_trips(const options *o, floor_wait wait) {
    floor_channel channel = floor_open(o->action_bytes, o->observation_bytes, wait);
    uint8_t *action = (uint8_t *)bench_alloc(o->action_bytes), *observation = (uint8_t *)bench_alloc(o->observation_bytes);
    uint32_t trips = wait == FLOOR_FUTEX ? o->trips / 10 : o->trips;
    double *block_ns = (double *)bench_alloc(o->blocks * sizeof *block_ns);
    double *each_ns = (double *)bench_alloc(trips * sizeof *each_ns);
    uint64_t number = 1;
    pid_t child = bench_fork(120);
    bench_pin(o->cpus[child == 0]);
    if (child == 0) {
        for (uint32_t block = 0; block < o->blocks + 2; block++, number += trips)
            floor_env_block(&channel, number, trips, action, observation);
        _exit(0);
    }
    floor_agent_block(&channel, number, trips, action, observation, NULL); /* warm-up */
    number += trips;
    for (uint32_t block = 0; block < o->blocks; block++, number += trips) {
        uint64_t start = bench_now_ns();
        floor_agent_block(&channel, number, trips, action, observation, NULL);
        block_ns[block] = (double)(bench_now_ns() - start) / trips;
    }
    floor_agent_block(&channel, number, trips, action, observation, each_ns);
    bench_join(child);
    bench_sort(block_ns, o->blocks);
    bench_sort(each_ns, trips);
    printf("  \"%s\": {\"blocks\": %u, \"trips\": %u, \"ns\": %.1f, \"fastest_ns\": %.1f, \"slowest_ns\": %.1f, "
           "\"single_ns\": {\"p50\": %.0f, \"p99\": %.0f, \"p99.9\": %.0f}},\n",
           wait == FLOOR_SPIN ? "spin" : "futex", o->blocks, trips, bench_quantile(block_ns, o->blocks, 0.5), block_ns[0],
           block_ns[o->blocks - 1], bench_quantile(each_ns, trips, 0.5), bench_quantile(each_ns, trips, 0.99),
           bench_quantile(each_ns, trips, 0.999));
    free(action), free(observation), free(block_ns), free(each_ns);
}

static double measure_memcpy_ns(size_t size_bytes) {
    enum { BLOCKS = 31, BYTES_PER_BLOCK = 64 << 20 };
    uint8_t *from = (uint8_t *)bench_alloc(size_bytes), *to = (uint8_t *)bench_alloc(size_bytes);
    size_t copies = BYTES_PER_BLOCK / size_bytes + 1;
    double block_ns[BLOCKS], median;
    for (int block = 0; block < BLOCKS; block++) {
        uint64_t start = bench_now_ns();
        for (size_t i = 0; i < copies; i++) {
            payload_write(from, size_bytes, i);
            memcpy(to, from, size_bytes);
            payload_expect(to, size_bytes, i);
        }
        block_ns[block] = (double)(bench_now_ns() - start) / (double)copies;
    }
    median = bench_median(block_ns, BLOCKS);
    free(from), free(to);
    return median;
}

int main(int argc, char **argv) {
    options o = parse(argc, argv);
    printf("{\n  \"bench\": \"floor\", \"cpus\": {\"agent\": %d, \"env\": %d}, \"bytes\": {\"in\": %zu, \"out\": %zu},\n", o.cpus[0],
           o.cpus[1], o.action_bytes, o.observation_bytes);
    printf("  \"clock_ns\": %.1f,\n", bench_clock_cost_ns());
    if (o.cpus[0] != o.cpus[1]) measure_trips(&o, FLOOR_SPIN);
    measure_trips(&o, FLOOR_FUTEX);
    printf("  \"memcpy_ns\": {\"64\": %.1f, \"28224\": %.1f, \"6220800\": %.1f}\n}\n", measure_memcpy_ns(64),
           measure_memcpy_ns(84 * 84 * 4), measure_memcpy_ns(1080 * 1920 * 3));
    return 0;
}
