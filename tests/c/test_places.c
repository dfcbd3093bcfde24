/* Who works where: an agent that sees two environments on one processor, and none on its own, asks one of them to come; who waits goes where it
 * is asked to. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "check.h"

#ifndef __linux__
int main(void) { return 77; }
#else

#include "../../csrc/agent.h"
#include "../../csrc/wait.h"

#include <libferry.h>
#include <pthread.h>
#include <sched.h>

enum { ENVS = 2, FEW = 3, MANY = 1000, TRIES = 200 };

static int place[2]; /* two processors that may be used */

static void pin(int processor) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(processor, &one);
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
}

/* ---- Going ---- */

static int look_nowhere(struct ferry__channel *channel, int64_t now_ns, int slept) { return (void)channel, (void)now_ns, (void)slept, 0; }

static int is_same_mask(const cpu_set_t *before) {
    cpu_set_t now;
    CHECK(sched_getaffinity(0, sizeof now, &now) == 0);
    return CPU_EQUAL(&now, before);
}

static void test_who_waits_goes_where_it_is_asked_to(const cpu_set_t *all) {
    ferry__line mine, theirs;
    ferry__manners manners;
    ferry__waiter waiter;
    uint32_t word = 7, crowded = 0;
    int tries, arrived[2] = {0, 0};
    memset(&mine, 0, sizeof mine), memset(&theirs, 0, sizeof theirs);
    memset(&manners, 0, sizeof manners), memset(&waiter, 0, sizeof waiter);
    waiter.policy = FERRY__ADAPTIVE, waiter.line = &mine, waiter.peer = &theirs, waiter.memory = FERRY__NO_OS;
    waiter.crowded = &crowded, waiter.manners = &manners, waiter.idle = look_nowhere;
    for (tries = 0; tries < TRIES; tries++) { /* the scheduler may take it elsewhere at any time */
        theirs.come = (uint32_t)place[tries % 2] + 1;
        CHECK(ferry__wait(&waiter, &word, word, 1) == 0);
        arrived[tries % 2] += mine.processor == theirs.come;
        CHECK(is_same_mask(all));
    }
    CHECK(arrived[0] > TRIES / 4 && arrived[1] > TRIES / 4);
    for (tries = 0; tries < 3; tries++) { /* processors that there are not, or not for this thread */
        const uint32_t nowhere[3] = {CPU_SETSIZE, CPU_SETSIZE + 1, UINT32_MAX};
        theirs.come = nowhere[tries];
        CHECK(ferry__wait(&waiter, &word, word, 1) == 0 && is_same_mask(all));
    }
}

static void test_nobody_goes_where_it_may_not(const cpu_set_t *all) {
    cpu_set_t here;
    pin(place[0]);
    CHECK(sched_getaffinity(0, sizeof here, &here) == 0);
    ferry__platform_move((uint32_t)place[1] + 1);
    CHECK(is_same_mask(&here) && sched_getcpu() == place[0]);
    CHECK(sched_setaffinity(0, sizeof *all, all) == 0);
}

/* ---- Asking ---- */

typedef struct world {
    char address[32];
    int processor, over;
} world;

/* An environment whose step takes longer than a short wait. */
static void *play(void *one) {
    world *w = (world *)one;
    const ferry_turn *turn;
    ferry_env *env;
    pin(w->processor);
    env = open_small_env(w->address, NULL);
    CHECK(env != NULL);
    while (!__atomic_load_n(&w->over, __ATOMIC_ACQUIRE)) {
        if (ferry_env_wait(env, SECOND / 50, &turn) != 1 || turn->kind == FERRY_LEFT) continue;
        CHECK(usleep(2000) == 0);
        CHECK(ferry_env_reply(env) == 0);
    }
    ferry_env_close(env);
    return NULL;
}

/* How many of the environments have been asked to come, at the first of so many steps in which one is: on a crowded machine the agent itself
 * may be away until they are done. */
static int asked(int first, int second, int steps) {
    ferry_agent *agents[ENVS];
    ferry_bell *bell;
    world worlds[ENVS];
    pthread_t threads[ENVS];
    uint8_t ready[ENVS];
    int i, n, come = 0;
    CHECK(ferry_bell_open(&bell, NULL) == 0);
    for (i = 0; i < ENVS; i++) {
        ferry_agent_desc desc;
        memset(&worlds[i], 0, sizeof worlds[i]), memset(&desc, 0, sizeof desc);
        snprintf(worlds[i].address, sizeof worlds[i].address, "small-%d", i);
        worlds[i].processor = i == 0 ? first : second;
        CHECK(pthread_create(&threads[i], NULL, play, &worlds[i]) == 0);
        desc.struct_size = sizeof desc, desc.address = worlds[i].address, desc.bell = bell;
        CHECK(ferry_agent_open(&desc, &agents[i], NULL) == 0);
        CHECK(ferry_agent_connect(agents[i], 10 * SECOND) == 1);
    }
    pin(place[0]);
    for (n = 0; n < steps && come == 0; n++) {
        const ferry_turn *answer;
        for (i = 0; i < ENVS; i++) {
            ferry_turn *turn = ferry_agent_turn(agents[i]);
            CHECK(turn != NULL);
            turn->kind = n == 0 ? FERRY_RESET : FERRY_STEP;
            *(int64_t *)turn->data[ACTION] = 10;
            CHECK(ferry_agent_send(agents[i]) == 0);
        }
        CHECK(ferry_agent_wait_any(bell, agents, ENVS, ENVS, 10 * SECOND, ready) == ENVS);
        for (i = 0; i < ENVS; i++) CHECK(ferry_agent_wait(agents[i], 0, &answer) == 1);
        for (i = 0; i < ENVS; i++) {
            uint32_t to = agents[i]->channel.line->come;
            CHECK(to == 0 || to == (uint32_t)place[0] + 1);
            come += to != 0;
        }
    }
    for (i = 0; i < ENVS; i++) {
        ferry_agent_close(agents[i]);
        __atomic_store_n(&worlds[i].over, 1, __ATOMIC_RELEASE);
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    ferry_bell_close(bell);
    return come;
}

int main(void) {
    char directory[64];
    cpu_set_t all;
    int i, found = 0;
    begin_test(60, directory);
    unsetenv("FERRY_WAIT");
    CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
    for (i = 0; i < CPU_SETSIZE && found < 2; i++)
        if (CPU_ISSET(i, &all)) place[found++] = i;
    if (found < 2) return 77;
    test_who_waits_goes_where_it_is_asked_to(&all);
    test_nobody_goes_where_it_may_not(&all);
    CHECK(asked(place[1], place[1], MANY) == 1);
    CHECK(asked(place[0], place[1], FEW) == 0);
    CHECK(asked(place[0], place[0], FEW) == 0);
    end_test(directory);
    return 0;
}
#endif
