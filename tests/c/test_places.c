/* Who works where: an agent that sees two environments on one processor, and none on its own, fetches one of them. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "check.h"

#ifndef __linux__
int main(void) { return 77; }
#else

#include "../../csrc/agent.h"

#include <libferry.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

enum { ENVS = 2, FEW = 3, MANY = 1000, TRIES = 200, LOOKS = 40 };

static int place[2]; /* two processors that may be used */

static void pin(int processor) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(processor, &one);
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
}

/* ---- Fetching ---- */

static int processor_of(pid_t pid) {
    char path[64], text[1024], *field;
    size_t got;
    FILE *file;
    int n;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    CHECK((file = fopen(path, "r")) != NULL);
    got = fread(text, 1, sizeof text - 1, file);
    CHECK(fclose(file) == 0 && got > 0);
    text[got] = 0;
    CHECK((field = strrchr(text, ')')) != NULL);
    for (n = 2; n < 39; n++) CHECK((field = strchr(field + 1, ' ')) != NULL);
    return atoi(field + 1);
}

static int has_mask(pid_t pid, const cpu_set_t *mask) {
    cpu_set_t now;
    CHECK(sched_getaffinity(pid, sizeof now, &now) == 0);
    return CPU_EQUAL(&now, mask);
}

/* A process that is at work, for ten seconds at most. */
static pid_t start_work(void) {
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0)
        for (alarm(10);;) continue;
    return pid;
}

static void end_work(pid_t pid) { CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid); }

static void test_who_is_at_work_is_fetched(const cpu_set_t *all) {
    pid_t pid = start_work();
    int tries, arrived[2] = {0, 0};
    for (tries = 0; tries < TRIES; tries++) { /* the scheduler may take it elsewhere at any time */
        pin(place[tries % 2]);
        ferry__platform_fetch((uint32_t)pid);
        arrived[tries % 2] += processor_of(pid) == place[tries % 2];
        CHECK(has_mask(pid, all));
    }
    CHECK(arrived[0] > TRIES / 8 && arrived[1] > TRIES / 8);
    end_work(pid);
    CHECK(sched_setaffinity(0, sizeof *all, all) == 0);
}

static void test_nobody_is_fetched_to_where_it_may_not_run(const cpu_set_t *all) {
    cpu_set_t there;
    pid_t pid = start_work();
    CPU_ZERO(&there);
    CPU_SET(place[1], &there);
    CHECK(sched_setaffinity(pid, sizeof there, &there) == 0);
    pin(place[0]);
    ferry__platform_fetch((uint32_t)pid);
    CHECK(has_mask(pid, &there) && processor_of(pid) == place[1]);
    end_work(pid);
    ferry__platform_fetch((uint32_t)pid), ferry__platform_fetch(0), ferry__platform_fetch(UINT32_MAX); /* nobody */
    CHECK(sched_setaffinity(0, sizeof *all, all) == 0);
}

/* ---- Seeing who is to be fetched ---- */

typedef struct world {
    char address[32];
    int processor, over;
} world;

static void work_for(int64_t ns) {
    const int64_t end = ferry_now_ns() + ns;
    while (ferry_now_ns() < end) continue;
}

/* An environment that works for longer than a short wait. */
static void *play(void *one) {
    world *w = (world *)one;
    const ferry_turn *turn;
    ferry_env *env;
    pin(w->processor);
    env = open_small_env(w->address, NULL);
    CHECK(env != NULL);
    while (!__atomic_load_n(&w->over, __ATOMIC_ACQUIRE)) {
        if (ferry_env_wait(env, SECOND / 50, &turn) != 1 || turn->kind == FERRY_LEFT) continue;
        work_for(2 * SECOND / 1000);
        CHECK(ferry_env_reply(env) == 0);
    }
    ferry_env_close(env);
    return NULL;
}

/* How often environments have been fetched, most in one of so many steps. (They are threads of this process, so that it is its first thread
 * that is brought here, where it is.) Until there have been as many as are wanted, because on a crowded machine nobody is: the agent's processor
 * is not free then. */
static uint32_t fetched(int first, int second, uint32_t wanted, int steps) {
    ferry_agent *agents[ENVS];
    ferry_bell *bell;
    world worlds[ENVS];
    pthread_t threads[ENVS];
    uint8_t ready[ENVS];
    uint32_t most = 0, before[ENVS] = {0, 0};
    int i, n;
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
    for (n = 0; n < steps && most < wanted; n++) {
        const ferry_turn *answer;
        uint32_t times = 0;
        CHECK(usleep(2000) == 0);
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
            times += agents[i]->channel.line->fetched - before[i];
            before[i] = agents[i]->channel.line->fetched;
        }
        if (times > most) most = times;
    }
    for (i = 0; i < ENVS; i++) {
        ferry_agent_close(agents[i]);
        __atomic_store_n(&worlds[i].over, 1, __ATOMIC_RELEASE);
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    ferry_bell_close(bell);
    return most;
}

/* Do others want processors, most of the time? */
static int is_crowded(void) {
    int n, crowded = 0;
    for (n = 0; n < LOOKS; n++) {
        unsigned running = 0;
        FILE *file = fopen("/proc/loadavg", "r");
        CHECK(file != NULL && fscanf(file, "%*s %*s %*s %u/", &running) == 1 && fclose(file) == 0);
        crowded += running > 1;
        CHECK(usleep(5000) == 0);
    }
    return crowded > LOOKS / 2;
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
    test_who_is_at_work_is_fetched(&all);
    test_nobody_is_fetched_to_where_it_may_not_run(&all);
    if (fetched(place[1], place[1], 1, MANY) != 1) {
        CHECK(is_crowded());
        return 77;
    }
    CHECK(fetched(place[0], place[0], 1, FEW) == 0);
    end_test(directory);
    return 0;
}
#endif
