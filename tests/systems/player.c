/* Plays an environment of the pole's kind and writes every answer down, bit by bit, so that two runs can be compared as text:
 *
 *     player ADDRESS STEPS      # serve:NAME waits for the environment
 *
 * The policy keeps the pole up for a while and lets it fall in the end: a run in which no bit of the arithmetic goes unseen. */
#include <libferry.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STATE, PUSH };
#define SECOND INT64_C(1000000000)

static void fail(const ferry_agent *agent) {
    ferry_why why;
    ferry_agent_why(agent, &why);
    fprintf(stderr, "player: %s (%d)\n", why.text, why.code);
    exit(1);
}

static const ferry_turn *exchange(ferry_agent *agent, ferry_kind kind, int64_t value) {
    const ferry_turn *answer = NULL;
    ferry_turn *turn = ferry_agent_turn(agent);
    if (turn == NULL) fail(agent);
    turn->kind = kind;
    if (kind == FERRY_RESET) turn->seed[0] = value;
    else *(int64_t *)turn->data[PUSH] = value;
    if (ferry_agent_send(agent) < 0 || ferry_agent_wait(agent, 20 * SECOND, &answer) <= 0) fail(agent);
    return answer;
}

static void write_down(const ferry_turn *answer) {
    uint32_t state[4];
    uint64_t reward;
    int i;
    memcpy(state, answer->data[STATE], sizeof state);
    memcpy(&reward, answer->reward, sizeof reward);
    for (i = 0; i < 4; i++) printf("%08" PRIx32 " ", state[i]);
    printf("%016" PRIx64 " %d %d %" PRIu64 "\n", reward, answer->terminated[0], answer->truncated[0], answer->episode[0]);
}

int main(int argc, char **argv) {
    ferry_agent_desc desc;
    ferry_agent *agent;
    ferry_why why;
    const ferry_turn *answer;
    int64_t seed = 0;
    long step, steps = argc == 3 ? strtol(argv[2], NULL, 10) : 0;
    if (steps <= 0) return fprintf(stderr, "usage: player ADDRESS STEPS\n"), 2;
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc, desc.address = argv[1];
    if (ferry_agent_open(&desc, &agent, &why) < 0) return fprintf(stderr, "player: %s\n", why.text), 1;
    if (ferry_agent_connect(agent, 20 * SECOND) <= 0) fail(agent);
    answer = exchange(agent, FERRY_RESET, seed);
    write_down(answer);
    for (step = 0; step < steps; step++) {
        float state[4];
        memcpy(state, answer->data[STATE], sizeof state);
        answer = exchange(agent, FERRY_STEP, state[2] + 0.3f * state[3] > 0);
        write_down(answer);
        if (answer->terminated[0] || answer->truncated[0]) write_down(answer = exchange(agent, FERRY_RESET, ++seed));
    }
    ferry_agent_close(agent);
    return 0;
}
