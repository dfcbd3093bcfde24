/* Turns in both paradigms: values arrive, sequence words wrap, buffers alternate, refusals and failures are answered. */
#include "check.h"

static void test_values_arrive_over_the_wrap(void) {
    int agents = 1;
    int64_t i;
    ferry_why why;
    pid_t server = start_child(serve_small, &agents);
    ferry_agent *agent = open_agent("small", &why);
    const ferry_turn *answer;
    CHECK(agent != NULL);
    CHECK(ferry_agent_env(agent) == NULL);
    CHECK(ferry_agent_connect(agent, 10 * SECOND) == 1);
    CHECK(strcmp(ferry_agent_env(agent)->name, "small") == 0);
    CHECK(ferry_agent_env(agent)->num_fields == NUM_FIELDS);
    answer = reset(agent, 7);
    CHECK(((double *)answer->data[OBSERVATION])[0] == 7);
    CHECK(answer->episode[0] == 1 && answer->status[0] == FERRY_ROW_OK && answer->number == 1);
    for (i = 1; i <= 1000; i++) {
        const double *observation;
        answer = step(agent, 10 + i % 5);
        observation = (const double *)answer->data[OBSERVATION];
        CHECK(observation[0] == 7 && observation[1] == (double)i && observation[2] == (double)(10 + i % 5));
        CHECK(answer->reward[0] == (double)i * 0.5 && answer->terminated[0] == 0 && answer->truncated[0] == (i == 1000));
        CHECK(answer->present[SCORE][0] == (i % 3 == 0));
        CHECK(i % 3 != 0 || *(float *)answer->data[SCORE] == (float)i);
        CHECK(answer->number == (uint64_t)i + 1);
    }
    ferry_agent_close(agent);
    CHECK(end_child(server) == 0);
}

static void test_an_observation_outlives_the_next_turn(void) {
    int agents = 1;
    ferry_why why;
    pid_t server = start_child(serve_small, &agents);
    ferry_agent *agent = open_agent("small", &why);
    const double *first, *second;
    CHECK(ferry_agent_connect(agent, 10 * SECOND) == 1);
    reset(agent, 1);
    first = (const double *)step(agent, 11)->data[OBSERVATION];
    second = (const double *)step(agent, 12)->data[OBSERVATION];
    CHECK(first != second && first[2] == 11 && second[2] == 12);
    CHECK((const double *)step(agent, 13)->data[OBSERVATION] == first && first[2] == 13 && second[2] == 12);
    ferry_agent_close(agent);
    CHECK(end_child(server) == 0);
}

static void test_bad_actions_and_lawless_steps_are_refused(void) {
    int agents = 1;
    ferry_why why;
    pid_t server = start_child(serve_small, &agents);
    ferry_agent *agent = open_agent("small", &why);
    const ferry_turn *answer;
    CHECK(ferry_agent_connect(agent, 10 * SECOND) == 1);
    answer = step(agent, 10);
    CHECK(answer->status[0] == FERRY_ROW_REFUSED && answer->blob.format == FERRY_TEXT);
    CHECK(memmem(answer->blob.data, answer->blob.size_bytes, "reset", 5) != NULL);
    reset(agent, 3);
    answer = step(agent, 15);
    CHECK(answer->status[0] == FERRY_ROW_REFUSED);
    CHECK(memmem(answer->blob.data, answer->blob.size_bytes, "10 to 14", 8) != NULL);
    answer = step(agent, INT64_MIN);
    CHECK(answer->status[0] == FERRY_ROW_REFUSED);
    answer = step(agent, 14);
    CHECK(answer->status[0] == FERRY_ROW_OK && ((double *)answer->data[OBSERVATION])[1] == 1);
    ferry_agent_close(agent);
    CHECK(end_child(server) == 0);
}

/* The other paradigm: the agent serves, environments connect. */
static int connect_small(void *argument) {
    ferry_why why;
    const ferry_turn *turn;
    ferry_env *env = open_small_env("connect:trainer#3", &why);
    int reason = 0;
    (void)argument;
    CHECK(env != NULL);
    while (reason == 0 && ferry_env_wait(env, FERRY_FOREVER, &turn) > 0) {
        if (turn->kind == FERRY_LEFT) reason = turn->reason;
        else play_small_turn(env, turn);
    }
    ferry_env_close(env);
    return reason == FERRY_ECLOSED ? 0 : 1;
}

static void test_an_environment_may_connect(void) {
    ferry_why why;
    ferry_agent *agent = open_agent("serve:trainer", &why);
    pid_t backend = start_child(connect_small, NULL);
    int i;
    CHECK(agent != NULL);
    CHECK(ferry_agent_connect(agent, 10 * SECOND) == 1);
    CHECK(((double *)reset(agent, 5)->data[OBSERVATION])[0] == 5);
    for (i = 0; i < 600; i++) step(agent, 10);
    CHECK(((double *)step(agent, 10)->data[OBSERVATION])[1] == 601);
    ferry_agent_close(agent);
    CHECK(end_child(backend) == 0);
}

static void test_odd_time_outs_do_not_wait(void) {
    static const int64_t odd[] = {0, -2, INT64_MIN, 1};
    ferry_why why;
    const ferry_turn *turn;
    ferry_env *env = open_small_env("odd", &why);
    ferry_agent *agent = open_agent("nobody", &why);
    size_t i;
    for (i = 0; i < sizeof odd / sizeof *odd; i++) {
        CHECK(ferry_env_wait(env, odd[i], &turn) == 0 && turn == NULL);
        CHECK(ferry_agent_connect(agent, odd[i]) == 0);
    }
    ferry_env_close(env);
    ferry_agent_close(agent);
}

static void test_calls_out_of_order_are_refused(void) {
    int agents = 1;
    ferry_why why;
    pid_t server = start_child(serve_small, &agents);
    ferry_agent *agent = open_agent("small", &why);
    const ferry_turn *answer;
    ferry_turn *turn;
    CHECK(ferry_agent_turn(agent) == NULL);
    CHECK(ferry_agent_send(agent) == FERRY_ESTATE);
    CHECK(ferry_agent_wait(agent, 0, &answer) == FERRY_ESTATE);
    CHECK(ferry_agent_connect(agent, 10 * SECOND) == 1);
    CHECK(ferry_agent_wait(agent, 0, &answer) == FERRY_ESTATE && answer == NULL);
    turn = ferry_agent_turn(agent);
    turn->kind = FERRY_LEFT;
    CHECK(ferry_agent_send(agent) == FERRY_EINVAL);
    turn->kind = FERRY_RESET;
    CHECK(ferry_agent_send(agent) == 0);
    CHECK(ferry_agent_send(agent) == FERRY_ESTATE);
    CHECK(ferry_agent_turn(agent) == NULL);
    CHECK(take_answer(agent)->kind == FERRY_RESET);
    ferry_agent_why(agent, &why);
    CHECK(why.code == 0);
    ferry_agent_close(agent);
    CHECK(end_child(server) == 0);
}

int main(void) {
    char directory[64];
    begin_test(60, directory);
    test_values_arrive_over_the_wrap();
    test_an_observation_outlives_the_next_turn();
    test_bad_actions_and_lawless_steps_are_refused();
    test_an_environment_may_connect();
    test_odd_time_outs_do_not_wait();
    test_calls_out_of_order_are_refused();
    end_test(directory);
    return 0;
}
