/* A world in real time and its agent: frames of so many bytes one way, actions of eight the other. */
#ifndef FERRY_BENCH_WORLD_H
#define FERRY_BENCH_WORLD_H

#include "bench.h"

#include <libferry.h>

enum { OBSERVATION, ACTION, NUM_FIELDS };

static const int64_t patience_ns = INT64_C(60) * BENCH_NS_PER_S;

__attribute__((noreturn)) static inline void die_of_env(const ferry_env *env) {
    ferry_why why;
    ferry_env_why(env, &why);
    bench_die("the env: %s", why.text);
}

__attribute__((noreturn)) static inline void die_of_agent(const ferry_agent *agent) {
    ferry_why why;
    ferry_agent_why(agent, &why);
    bench_die("the agent: %s", why.text);
}

static inline ferry_env *open_world(const char *address, size_t bytes) {
    ferry_field fields[NUM_FIELDS];
    ferry_env_desc desc;
    ferry_env *env;
    ferry_why why;
    memset(fields, 0, sizeof fields), memset(&desc, 0, sizeof desc);
    fields[OBSERVATION].role = FERRY_OBSERVATION, fields[ACTION].role = FERRY_ACTION;
    for (int i = 0; i < NUM_FIELDS; i++) fields[i].kind = FERRY_BOX, fields[i].dtype = FERRY_U8, fields[i].ndim = 1, fields[i].shape[0] = 8;
    fields[OBSERVATION].shape[0] = (uint32_t)bytes;
    desc.struct_size = sizeof desc, desc.address = address, desc.fields = fields, desc.num_fields = NUM_FIELDS, desc.realtime = 1;
    if (ferry_env_open(&desc, &env, &why) < 0) bench_die("the env: %s", why.text);
    return env;
}

static inline ferry_agent *open_player(const char *address) {
    ferry_agent_desc desc;
    ferry_agent *agent;
    ferry_why why;
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc, desc.address = address, desc.realtime = 1;
    if (ferry_agent_open(&desc, &agent, &why) < 0) bench_die("the agent: %s", why.text);
    if (ferry_agent_connect(agent, patience_ns) != 1) die_of_agent(agent);
    return agent;
}

static inline void reset(ferry_agent *agent) {
    const ferry_turn *answer;
    ferry_turn *turn = ferry_agent_turn(agent);
    if (!turn) die_of_agent(agent);
    turn->kind = FERRY_RESET;
    if (ferry_agent_send(agent) < 0 || ferry_agent_wait(agent, patience_ns, &answer) != 1) die_of_agent(agent);
}

#endif
