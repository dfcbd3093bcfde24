/* What comes between two looks. The linker puts this file's poll and sleep before the platform's (the Makefile tells it to), so that the other
 * side acts in moments that no clock would hit. Both sides are in one thread, but where one has to end. */
#include "check.h"
#include "fake_platform.h"

#include "../../csrc/platform.h"

uint32_t __real_ferry__platform_poll(const ferry__os *handles, uint32_t count, int64_t timeout_ns);
uint32_t __wrap_ferry__platform_poll(const ferry__os *handles, uint32_t count, int64_t timeout_ns);
void __wrap_ferry__platform_sleep(ferry__os memory, const uint32_t *word, uint32_t value, int64_t timeout_ns);

typedef enum moment { NEVER, LOOKING_AROUND, ABOUT_TO_SLEEP } moment;

static struct {
    moment when; /* what is to happen then happens once */
    void (*what)(void);
    int slept; /* so often somebody would have slept, and nothing had changed */
    int stream_first, too_late; /* the peer has spoken and ended, both after the look at its stream; so often that was so */
} fake_moments;

static void come(moment now) {
    if (fake_moments.when != now) return;
    fake_moments.when = NEVER;
    fake_moments.what();
}

uint32_t __wrap_ferry__platform_poll(const ferry__os *handles, uint32_t count, int64_t timeout_ns) {
    uint32_t ready = __real_ferry__platform_poll(handles, count, timeout_ns);
    come(LOOKING_AROUND);
    if (fake_moments.stream_first && (ready & 3) == 3) ready &= ~UINT32_C(1), fake_moments.too_late++;
    return ready;
}

/* As the kernel: who comes before the comparison finds nobody to wake. Nobody really sleeps. */
void __wrap_ferry__platform_sleep(ferry__os memory, const uint32_t *word, uint32_t value, int64_t timeout_ns) {
    (void)memory, (void)timeout_ns;
    come(ABOUT_TO_SLEEP);
    fake_moments.slept += __atomic_load_n(word, __ATOMIC_SEQ_CST) == value;
}

static void drop_log(void *user, int level, const char *text) { (void)user, (void)level, (void)text; }

static ferry_env *env;
static ferry_agent *agent;
static uint32_t next_kind; /* of what the agent sends */

static void open_both(uint32_t realtime) {
    ferry_field fields[NUM_FIELDS];
    ferry_env_desc desc;
    ferry_agent_desc agent_desc;
    const ferry_turn *turn;
    int i;
    small_fields(fields);
    memset(&desc, 0, sizeof desc), memset(&agent_desc, 0, sizeof agent_desc);
    desc.struct_size = sizeof desc, desc.address = "small", desc.fields = fields, desc.num_fields = NUM_FIELDS, desc.log = drop_log;
    desc.realtime = realtime, desc.takes_calls = 1;
    agent_desc.struct_size = sizeof agent_desc, agent_desc.address = "small", agent_desc.realtime = realtime, agent_desc.log = drop_log;
    CHECK(ferry_env_open(&desc, &env, NULL) == 0 && ferry_agent_open(&agent_desc, &agent, NULL) == 0);
    for (i = 0; i < 1000 && ferry_agent_connect(agent, SECOND / 1000) == 0; i++) CHECK(ferry_env_wait(env, 0, &turn) == 0);
    CHECK(ferry_agent_connect(agent, 0) == 1);
}

static void send_next(void) {
    ferry_turn *turn = ferry_agent_turn(agent);
    CHECK(turn != NULL);
    turn->kind = next_kind, *(int64_t *)turn->data[ACTION] = 10;
    CHECK(ferry_agent_send(agent) == 0);
}

/* The environment waits, and in that moment the agent sends a turn, or an action. */
static void expect_at(moment when, uint32_t kind) {
    const ferry_turn *turn, *answer;
    next_kind = kind;
    fake_moments.when = when, fake_moments.what = send_next, fake_moments.slept = 0;
    CHECK(ferry_env_wait(env, 10 * SECOND, &turn) == 1 && turn->kind == kind);
    CHECK(fake_moments.when == NEVER);
    CHECK(fake_moments.slept == (when == LOOKING_AROUND)); /* before it looked around, but not over what came */
    CHECK(ferry_env_reply(env) == 0);
    CHECK(ferry_agent_wait(agent, SECOND, &answer) == 1 && answer->kind == kind);
}

static void test_nobody_sleeps_over_what_comes_just_before(uint32_t realtime) {
    static const uint32_t kinds[] = {FERRY_RESET, FERRY_STEP, FERRY_CALL, FERRY_CALL, FERRY_STEP, FERRY_RESET};
    int when, i, times;
    open_both(realtime);
    for (times = 0; times < 3; times++)
        for (when = LOOKING_AROUND; when <= ABOUT_TO_SLEEP; when++)
            for (i = 0; i < 6; i++) expect_at((moment)when, kinds[i]);
    ferry_agent_close(agent);
    ferry_env_close(env);
}

/* Plays a turn, says goodbye, and ends. */
static int play_and_leave(void *argument) {
    ferry_why why;
    ferry_agent *leaving = open_agent("small", &why);
    (void)argument;
    CHECK(ferry_agent_connect(leaving, 10 * SECOND) == 1);
    reset(leaving, 1);
    ferry_agent_close(leaving);
    return 0;
}

static void test_who_said_goodbye_and_ended_is_not_taken_for_dead(void) {
    ferry_why why;
    const ferry_turn *turn;
    siginfo_t ended;
    pid_t leaving;
    env = open_small_env("small", &why);
    CHECK(env != NULL);
    leaving = start_child(play_and_leave, NULL);
    CHECK(ferry_env_wait(env, 10 * SECOND, &turn) == 1 && turn->kind == FERRY_RESET);
    play_small_turn(env, turn);
    CHECK(waitid(P_PID, (id_t)leaving, &ended, WEXITED | WNOWAIT) == 0);
    fake_moments.stream_first = 1, fake_moments.too_late = 0;
    CHECK(ferry_env_wait(env, 10 * SECOND, &turn) == 1 && turn->kind == FERRY_LEFT);
    CHECK(turn->peer_pid == (uint32_t)leaving && turn->reason == FERRY_ECLOSED);
    if (fake_moments.too_late == 0) printf("      this system does not tell when a process ends\n");
    CHECK(end_child(leaving) == 0);
    fake_moments.stream_first = 0;
    ferry_env_close(env);
}

int main(void) {
    char directory[64];
    begin_test(60, directory);
    test_nobody_sleeps_over_what_comes_just_before(0);
    test_nobody_sleeps_over_what_comes_just_before(1);
    test_who_said_goodbye_and_ended_is_not_taken_for_dead();
    end_test(directory);
    return 0;
}
