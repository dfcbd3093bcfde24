/* Question: what does a step cost an agent written in C? Replays given actions on any environment with one Discrete
 * action, on request of a driver, which thereby alternates its blocks with those of other contenders.
 *
 *     agent ADDRESS < episodes
 *
 * Connects (or serves, where ADDRESS says so) and prints "ready". For each line "SEED ACTIONS", ACTIONS being a digit a
 * step, it resets with that seed, takes the steps, copying each observation into private memory, and prints "NS
 * RETURN": the time of all the steps together, and the sum of their rewards. An episode that ends before its last
 * action is an error. */
#include "bench.h"

#include <libferry.h>

enum { MAX_LINE = 1 << 16, LIMIT_S = 900, PEER_TIMEOUT_S = 20 };

typedef struct player {
    ferry_agent *agent;
    uint32_t action_field, num_fields;
    const ferry_field *fields;
    uint64_t *size_bytes;   /* [field] of one row; 0 for what is no observation */
    uint8_t **private_copy; /* [field] */
} player;

__attribute__((noreturn)) static void die_of(const ferry_agent *agent) {
    ferry_why why;
    ferry_agent_why(agent, &why);
    bench_die("agent: %s", why.text);
}

static player connect_to(const char *address) {
    player p = {0};
    ferry_agent_desc desc = {0};
    const ferry_env_desc *env;
    ferry_why why;
    desc.struct_size = sizeof desc, desc.address = address;
    if (ferry_agent_open(&desc, &p.agent, &why) < 0) bench_die("agent: %s", why.text);
    if (ferry_agent_connect(p.agent, (int64_t)PEER_TIMEOUT_S * BENCH_NS_PER_S) != 1) die_of(p.agent);
    env = ferry_agent_env(p.agent);
    p.fields = env->fields, p.num_fields = env->num_fields, p.action_field = env->num_fields;
    p.size_bytes = (uint64_t *)bench_alloc(p.num_fields * sizeof *p.size_bytes);
    p.private_copy = (uint8_t **)bench_alloc(p.num_fields * sizeof *p.private_copy);
    for (uint32_t i = 0; i < p.num_fields; i++) {
        const ferry_field *f = &p.fields[i];
        if (f->role == FERRY_ACTION && f->kind == FERRY_DISCRETE && f->dtype == FERRY_I64) p.action_field = i;
        if (f->role != FERRY_OBSERVATION) continue;
        p.size_bytes[i] = ferry_dtype_bytes(f->dtype);
        for (int d = 0; d < f->ndim; d++) p.size_bytes[i] *= f->shape[d];
        p.private_copy[i] = (uint8_t *)bench_alloc(p.size_bytes[i]);
    }
    if (p.action_field == p.num_fields) bench_die("agent: the environment has no Discrete action");
    return p;
}

static const ferry_turn *take_turn(const player *p, uint32_t kind, int64_t seed, int64_t action) {
    ferry_turn *turn = ferry_agent_turn(p->agent);
    const ferry_turn *answer;
    if (!turn) die_of(p->agent);
    turn->kind = kind;
    if (kind == FERRY_RESET) turn->seed[0] = seed;
    else *(int64_t *)turn->data[p->action_field] = p->fields[p->action_field].start + action;
    if (ferry_agent_send(p->agent) < 0) die_of(p->agent);
    if (ferry_agent_wait(p->agent, (int64_t)PEER_TIMEOUT_S * BENCH_NS_PER_S, &answer) != 1) die_of(p->agent);
    if (answer->status[0] != FERRY_ROW_OK) bench_die("agent: turn %llu failed", (unsigned long long)answer->number);
    for (uint32_t i = 0; i < p->num_fields; i++)
        if (p->size_bytes[i]) memcpy(p->private_copy[i], answer->data[i], p->size_bytes[i]);
    return answer;
}

int main(int argc, char **argv) {
    static char line[MAX_LINE];
    player p;
    if (argc != 2) bench_die("usage: agent ADDRESS < episodes");
    alarm(LIMIT_S);
    p = connect_to(argv[1]);
    puts("ready"), fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        char *actions = line;
        long long seed = strtoll(line, &actions, 10);
        double total = 0;
        uint64_t start;
        actions += strspn(actions, " ");
        actions[strcspn(actions, "\n")] = '\0';
        take_turn(&p, FERRY_RESET, seed, 0);
        start = bench_now_ns();
        for (const char *a = actions; *a; a++) {
            const ferry_turn *answer = take_turn(&p, FERRY_STEP, -1, *a - '0');
            total += answer->reward[0];
            if ((answer->terminated[0] || answer->truncated[0]) && a[1]) bench_die("agent: the episode ended too early");
        }
        printf("%llu %.17g\n", (unsigned long long)(bench_now_ns() - start), total), fflush(stdout);
    }
    ferry_agent_close(p.agent);
    for (uint32_t i = 0; i < p.num_fields; i++) free(p.private_copy[i]);
    free(p.private_copy), free(p.size_bytes);
    return 0;
}
