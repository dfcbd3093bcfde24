/* A machine without memory, mappings that fail, sleeps that end for no reason: each has its error, and the channel goes on after it. */
#include "check.h"
#include "fake_platform.h"

static void drop_log(void *user, int level, const char *text) { (void)user, (void)level, (void)text; }

static ferry_env *open_env(ferry_why *why) {
    ferry_field fields[NUM_FIELDS];
    ferry_env_desc desc;
    ferry_env *env;
    small_fields(fields);
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc, desc.address = "small", desc.fields = fields, desc.num_fields = NUM_FIELDS, desc.log = drop_log;
    return ferry_env_open(&desc, &env, why) == 0 ? env : NULL;
}

/* Both sides by turns until the agent's attempt has an outcome. */
static int connect_both(ferry_env *env, ferry_agent *agent) {
    const ferry_turn *turn;
    int got = 0, turns;
    for (turns = 0; turns < 1000 && got == 0; turns++) {
        got = ferry_agent_connect(agent, SECOND / 1000);
        CHECK(ferry_env_wait(env, SECOND / 1000, &turn) >= 0);
    }
    return got;
}

static void test_a_region_too_big_for_the_machine_is_never_made(void) {
    ferry_why why;
    ferry_env *env;
    ferry_agent *agent;
    fake.memory_available = 64 << 10;
    CHECK(open_env(&why) == NULL && why.code == FERRY_ETOOBIG);
    CHECK_CONTAINS(why.text, "0.1 MiB left");
    CHECK_CONTAINS(why.text, "free memory");
    fake.memory_available = 0;
    env = open_env(&why);
    CHECK(env != NULL);
    agent = open_agent("small", &why);
    fake.memory_available = 64 << 10; /* memory got scarce after the environment had been opened */
    CHECK(connect_both(env, agent) == FERRY_ETOOBIG);
    ferry_agent_why(agent, &why);
    CHECK_CONTAINS(why.text, "MiB left");
    fake.memory_available = 0;
    CHECK(connect_both(env, agent) == 1);
    ferry_agent_close(agent);
    ferry_env_close(env);
}

static void test_failing_memory_is_reported_to_both_sides(void) {
    ferry_why why;
    ferry_env *env = open_env(&why);
    ferry_agent *agent = open_agent("small", &why);
    fake.create_fails = 1;
    CHECK(connect_both(env, agent) == FERRY_ENOMEM);
    ferry_agent_why(agent, &why);
    CHECK_CONTAINS(why.text, "could not reserve");
    fake.create_fails = 0;
    fake.map_fails = 1;
    CHECK(connect_both(env, agent) == FERRY_ENOMEM);
    ferry_agent_why(agent, &why);
    CHECK_CONTAINS(why.text, "could not map");
    fake.map_fails = 0;
    CHECK(connect_both(env, agent) == 1);
    ferry_agent_close(agent);
    ferry_env_close(env);
}

static ferry_agent *open_player(ferry_why *why) {
    ferry_agent_desc desc;
    ferry_agent *agent;
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc, desc.address = "world", desc.realtime = 1, desc.log = drop_log;
    return ferry_agent_open(&desc, &agent, why) == 0 ? agent : NULL;
}

/* Publishes the frame that there has to be; its number. */
static uint64_t publish_frame(ferry_env *env) {
    const ferry_turn *turn;
    CHECK(ferry_env_wait(env, 0, &turn) == 1 && turn->kind == FERRY_STEP);
    memset(turn->data[OBSERVATION], 0, 3 * sizeof(double));
    CHECK(ferry_env_reply(env) == 0);
    return turn->frame;
}

static void test_an_episode_outlives_an_agent_that_finds_no_room(void) {
    ferry_field fields[NUM_FIELDS];
    ferry_env_desc desc;
    ferry_env *env;
    ferry_why why;
    ferry_agent *agent = open_player(&why);
    const ferry_turn *turn;
    int looks, got, i;
    small_fields(fields);
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc, desc.address = "world", desc.fields = fields, desc.num_fields = NUM_FIELDS, desc.log = drop_log;
    desc.realtime = 1;
    CHECK(ferry_env_open(&desc, &env, &why) == 0);
    CHECK(connect_both(env, agent) == 1);
    ferry_agent_turn(agent)->kind = FERRY_RESET;
    CHECK(ferry_agent_send(agent) == 0);
    CHECK(ferry_env_wait(env, SECOND, &turn) == 1 && turn->kind == FERRY_RESET && ferry_env_reply(env) == 0);
    CHECK(ferry_agent_wait(agent, SECOND, &turn) == 1);
    CHECK(publish_frame(env) == 1);
    ferry_agent_close(agent);
    do CHECK(ferry_env_wait(env, SECOND / 100, &turn) == 1);
    while (turn->kind != FERRY_LEFT && ferry_env_reply(env) == 0);
    for (i = 0; i < 2; i++) {
        uint64_t frame;
        fake.create_fails = i == 0, fake.map_fails = i == 1;
        agent = open_player(&why);
        frame = publish_frame(env);
        for (looks = 0, got = 0; looks < 1000 && got == 0; looks++) {
            got = ferry_agent_connect(agent, SECOND / 1000);
            CHECK(publish_frame(env) == ++frame);
        }
        CHECK(got == FERRY_ENOMEM);
        ferry_agent_close(agent);
    }
    fake.map_fails = 0;
    ferry_env_close(env);
}

static void test_waits_keep_their_time_whatever_sleep_does(void) {
    ferry_why why;
    ferry_env *env = open_env(&why);
    ferry_agent *agent = open_agent("small", &why);
    const ferry_turn *answer;
    int64_t start;
    CHECK(connect_both(env, agent) == 1);
    ferry_agent_turn(agent)->kind = FERRY_RESET;
    CHECK(ferry_agent_send(agent) == 0);
    fake.sleep_returns_at_once = 1, fake.sleeps = 0;
    start = now_ns();
    CHECK(ferry_agent_wait(agent, SECOND / 10, &answer) == 0);
    CHECK(now_ns() - start >= SECOND / 10);
    CHECK(fake.sleeps > 1);
    fake.sleep_returns_at_once = 0, fake.sleeps = 0;
    start = now_ns();
    CHECK(ferry_agent_wait(agent, SECOND / 10, &answer) == 0);
    CHECK(now_ns() - start >= SECOND / 10);
    CHECK(fake.sleeps >= 1 && fake.sleeps <= 6); /* slices of 20 ms */
    ferry_agent_close(agent);
    ferry_env_close(env);
}

static void test_pages_may_be_larger_than_the_layouts(void) {
    static const long sizes[] = {4096, 16384, 65536};
    size_t i;
    for (i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        ferry_why why;
        const ferry_turn *turn, *answer;
        ferry_env *env;
        ferry_agent *agent;
        fake.page_bytes = sizes[i];
        env = open_env(&why);
        agent = open_agent("small", &why);
        CHECK(connect_both(env, agent) == 1);
        ferry_agent_turn(agent)->kind = FERRY_RESET;
        CHECK(ferry_agent_send(agent) == 0);
        CHECK(ferry_env_wait(env, SECOND, &turn) == 1);
        play_small_turn(env, turn);
        CHECK(ferry_agent_wait(agent, SECOND, &answer) == 1);
        ferry_agent_close(agent);
        ferry_env_close(env);
    }
    fake.page_bytes = 0;
}

int main(void) {
    char directory[64];
    begin_test(60, directory);
    test_a_region_too_big_for_the_machine_is_never_made();
    test_failing_memory_is_reported_to_both_sides();
    test_an_episode_outlives_an_agent_that_finds_no_room();
    test_waits_keep_their_time_whatever_sleep_does();
    test_pages_may_be_larger_than_the_layouts();
    end_test(directory);
    return 0;
}
