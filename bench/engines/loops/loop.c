/* The floor of bench/engines/languages.py in C: the steps of examples/c/pole.c in a loop, without anybody to take turns with.
 * As bench/c/agent.c, for each line "SEED ACTIONS" it prints "NS RETURN". */
#define _GNU_SOURCE
#define main pole_main
#include "../../../examples/c/pole.c"
#undef main

#include "../../c/bench.h"

static float seen[4];

int main(void) {
    static char line[1 << 16];
    const ferry_blob none = {.format = FERRY_NONE};
    while (fgets(line, sizeof line, stdin)) {
        char *actions;
        pole p = {.rng = strtoull(line, &actions, 10)};
        double total = 0;
        uint64_t begun;
        actions += strspn(actions, " ");
        actions[strcspn(actions, "\n")] = '\0';
        start(p.state, &none, &p.rng);
        begun = bench_now_ns();
        for (const char *a = actions; *a; a++) {
            int down = advance(p.state, *a == '1' ? 10.0 : -10.0);
            for (int k = 0; k < 4; k++) ((volatile float *)seen)[k] = (float)p.state[k];
            total += !down;
        }
        printf("%llu %.17g\n", (unsigned long long)(bench_now_ns() - begun), total), fflush(stdout);
    }
    return 0;
}
