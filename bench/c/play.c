/* Questions: how many steps a second does one agent get out of several env processes, turn by turn? And what share of a
 * CPU does an agent use up while it waits for a slow one? Starts COUNT processes of the env's command, each with
 * FERRY_ADDRESS set, steps them all (sends to each, then waits for each), and tells both. An episode that ends is
 * reset; only steps are counted. Every answer must bear the number that follows its channel's last. JSON on standard
 * output.
 *
 *     play [--count N] [--seconds S] [--cpu A] -- COMMAND ... */
#include "bench.h"

#include <getopt.h>
#include <libferry.h>
#include <sys/resource.h>

enum { MAX_COUNT = 256, LIMIT_S = 120, PEER_TIMEOUT_S = 20 };

typedef struct channel {
    pid_t pid;
    char address[96];
    ferry_agent *agent;
    uint64_t number; /* of the last answer */
    int needs_reset;
} channel;

static const char usage[] = "usage: play [--count N] [--seconds S] [--cpu A] -- COMMAND ...\n"
                            "  --count N     env processes (default 1)\n"
                            "  --seconds S   how long to step them (default 2)\n"
                            "  --cpu A       CPU of all processes; -1: wherever the kernel puts them (default)\n";

static void start_env(channel *c, char **command, const char *directory, uint32_t index) {
    snprintf(c->address, sizeof c->address, "serve:%s/env-%u", directory, index);
    c->pid = bench_fork(LIMIT_S);
    if (c->pid == 0) {
        dup2(STDERR_FILENO, STDOUT_FILENO); /* standard output is for the result */
        setenv("FERRY_ADDRESS", c->address, 1);
        execvp(command[0], command);
        fprintf(stderr, "play: cannot start %s: %s\n", command[0], strerror(errno));
        _exit(1);
    }
}

__attribute__((noreturn)) static void die_of(const ferry_agent *agent) {
    ferry_why why;
    ferry_agent_why(agent, &why);
    bench_die("play: %s", why.text);
}

static void connect_to(channel *c) {
    ferry_agent_desc desc = {0};
    ferry_why why;
    desc.struct_size = sizeof desc, desc.address = c->address + strlen("serve:");
    if (ferry_agent_open(&desc, &c->agent, &why) < 0) bench_die("play: %s", why.text);
    if (ferry_agent_connect(c->agent, (int64_t)PEER_TIMEOUT_S * BENCH_NS_PER_S) != 1) die_of(c->agent);
    c->needs_reset = 1;
}

/* Discrete actions go round all their values; others stay zero. */
static void send_turn(channel *c) {
    const ferry_env_desc *env = ferry_agent_env(c->agent);
    ferry_turn *turn = ferry_agent_turn(c->agent);
    if (!turn) die_of(c->agent);
    turn->kind = c->needs_reset ? FERRY_RESET : FERRY_STEP;
    for (uint32_t i = 0; i < env->num_fields; i++) {
        const ferry_field *f = &env->fields[i];
        if (f->role == FERRY_ACTION && f->kind == FERRY_DISCRETE && f->dtype == FERRY_I64)
            *(int64_t *)turn->data[i] = f->start + (int64_t)(c->number % (uint64_t)f->n);
    }
    if (ferry_agent_send(c->agent) < 0) die_of(c->agent);
}

/* Whether the answer was a step's. */
static int take_answer(channel *c) {
    const ferry_turn *answer;
    int was_step = !c->needs_reset;
    if (ferry_agent_wait(c->agent, (int64_t)PEER_TIMEOUT_S * BENCH_NS_PER_S, &answer) != 1) die_of(c->agent);
    if (c->number && answer->number != c->number + 1)
        bench_die("play: %s: answer %llu follows %llu", c->address, (unsigned long long)answer->number, (unsigned long long)c->number);
    if (answer->status[0] != FERRY_ROW_OK) bench_die("play: %s: turn %llu failed", c->address, (unsigned long long)answer->number);
    c->number = answer->number;
    c->needs_reset = answer->terminated[0] || answer->truncated[0];
    return was_step;
}

static double cpu_seconds(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + 1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

int main(int argc, char **argv) {
    static const struct option known[] = {
        {"count", 1, NULL, 'n'}, {"seconds", 1, NULL, 's'}, {"cpu", 1, NULL, 'c'}, {"help", 0, NULL, 'h'}, {NULL, 0, NULL, 0}};
    char directory[64];
    static channel channels[MAX_COUNT];
    uint32_t count = 1;
    int cpu = -1;
    double seconds = 2, wall, cpu_time;
    uint64_t steps = 0, start, now;
    for (int c; (c = getopt_long(argc, argv, "+", known, NULL)) != -1;) {
        if (c == 'n') count = (uint32_t)bench_parse_count("--count", optarg);
        else if (c == 's') seconds = atof(optarg);
        else if (c == 'c') cpu = atoi(optarg);
        else return fputs(usage, c == 'h' ? stdout : stderr), c != 'h';
    }
    if (optind == argc || !count || count > MAX_COUNT || seconds <= 0) bench_die("%s", usage);
    bench_make_directory(directory);
    bench_pin(cpu);
    for (uint32_t i = 0; i < count; i++) start_env(&channels[i], argv + optind, directory, i);
    for (uint32_t i = 0; i < count; i++) connect_to(&channels[i]);
    for (uint32_t i = 0; i < count; i++) send_turn(&channels[i]), take_answer(&channels[i]);

    start = now = bench_now_ns(), cpu_time = cpu_seconds();
    while ((double)(now - start) < seconds * BENCH_NS_PER_S) {
        for (uint32_t i = 0; i < count; i++) send_turn(&channels[i]);
        for (uint32_t i = 0; i < count; i++) steps += (uint64_t)take_answer(&channels[i]);
        now = bench_now_ns();
    }
    wall = (double)(now - start) / BENCH_NS_PER_S, cpu_time = cpu_seconds() - cpu_time;

    for (uint32_t i = 0; i < count; i++) ferry_agent_close(channels[i].agent);
    for (uint32_t i = 0; i < count; i++) kill(channels[i].pid, SIGTERM), bench_join(channels[i].pid);
    rmdir(directory);
    printf("{\"bench\": \"play\", \"count\": %u, \"cpu\": %d, \"seconds\": %.3f, \"steps\": %llu, \"steps_per_s\": %.0f, "
           "\"us_per_step\": %.3f, \"agent_cpu_share\": %.5f}\n",
           count, cpu, wall, (unsigned long long)steps, (double)steps / wall, 1e6 * wall / (double)steps, cpu_time / wall);
    return 0;
}
