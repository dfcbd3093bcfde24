/* Leaving: goodbyes, deaths, second agents, forks, ticks. Whoever stays says so in time and goes on. */
#include "check.h"

static void test_the_next_agent_is_taken_when_the_first_has_gone(void) {
    int agents = 20, i;
    ferry_why why;
    pid_t server = start_child(serve_small, &agents);
    for (i = 0; i < agents; i++) {
        ferry_agent *agent = open_agent("small", &why);
        CHECK(ferry_agent_connect(agent, 10 * SECOND) == 1);
        CHECK(((double *)reset(agent, i)->data[OBSERVATION])[0] == i);
        step(agent, 10);
        ferry_agent_close(agent);
    }
    CHECK(end_child(server) == 0);
}

static void test_a_second_agent_is_told_who_holds_the_place(void) {
    int agents = 2;
    char pid[32];
    ferry_why why;
    pid_t server = start_child(serve_small, &agents);
    ferry_agent *first = open_agent("small", &why), *second = open_agent("small", &why);
    CHECK(ferry_agent_connect(first, 10 * SECOND) == 1);
    reset(first, 1);
    CHECK(ferry_agent_connect(second, 10 * SECOND) == FERRY_EBUSY);
    ferry_agent_why(second, &why);
    snprintf(pid, sizeof pid, "pid %d", (int)getpid());
    CHECK_CONTAINS(why.text, pid);
    CHECK(step(first, 10)->status[0] == FERRY_ROW_OK);
    ferry_agent_close(first);
    CHECK(ferry_agent_connect(second, 10 * SECOND) == 1);
    reset(second, 1);
    ferry_agent_close(second);
    CHECK(end_child(server) == 0);
}

/* Steps as fast as it can, for ever. */
static int step_for_ever(void *argument) {
    ferry_why why;
    ferry_agent *agent = open_agent("small", &why);
    int i;
    (void)argument;
    CHECK(ferry_agent_connect(agent, 10 * SECOND) == 1);
    for (i = 0;; i++) {
        if (i % 500 == 0) reset(agent, 1);
        step(agent, 10);
    }
}

static void test_a_killed_agent_is_noticed(void) {
    int i;
    ferry_why why;
    ferry_env *env = open_small_env("small", &why);
    CHECK(env != NULL);
    for (i = 0; i < 5; i++) {
        pid_t agent;
        const ferry_turn *turn;
        int64_t killed = 0;
        int running = 1;
        agent = start_child(step_for_ever, NULL);
        while (running) {
            CHECK(ferry_env_wait(env, 10 * SECOND, &turn) == 1);
            if (turn->kind == FERRY_LEFT) break;
            play_small_turn(env, turn);
            if (killed == 0 && turn->number > 2100) {
                kill(agent, SIGKILL);
                killed = now_ns();
            }
        }
        CHECK(turn->reason == FERRY_EPEERDEAD);
        CHECK(turn->peer_pid == (uint32_t)agent);
        CHECK(now_ns() - killed < 5 * SECOND);
        CHECK(end_child(agent) == 128 + SIGKILL);
    }
    ferry_env_close(env);
}

static int serve_and_stall(void *argument) {
    ferry_why why;
    const ferry_turn *turn;
    ferry_env *env = open_small_env("small", &why);
    (void)argument;
    while (ferry_env_wait(env, FERRY_FOREVER, &turn) > 0)
        if (turn->kind == FERRY_STEP) pause();
        else if (turn->kind == FERRY_RESET) play_small_turn(env, turn);
    return 1;
}

static void test_a_killed_environment_is_noticed_and_the_next_is_met(void) {
    ferry_why why;
    const ferry_turn *answer;
    ferry_agent *agent = open_agent("small", &why);
    int i, agents = 1;
    pid_t server;
    for (i = 0; i < 3; i++) {
        ferry_turn *turn;
        server = start_child(serve_and_stall, NULL);
        CHECK(ferry_agent_connect(agent, 10 * SECOND) == 1);
        reset(agent, 1);
        turn = ferry_agent_turn(agent);
        turn->kind = FERRY_STEP, *(int64_t *)turn->data[ACTION] = 10;
        CHECK(ferry_agent_send(agent) == 0);
        CHECK(ferry_agent_wait(agent, SECOND / 20, &answer) == 0);
        ferry_agent_why(agent, &why);
        CHECK_CONTAINS(why.text, "has held the turn for 0.");
        CHECK(ferry_agent_connect(agent, 0) == 1);
        kill(server, SIGKILL);
        CHECK(ferry_agent_wait(agent, 10 * SECOND, &answer) == FERRY_EPEERDEAD && answer == NULL);
        ferry_agent_why(agent, &why);
        CHECK(why.code == FERRY_EPEERDEAD);
        CHECK(end_child(server) == 128 + SIGKILL);
    }
    server = start_child(serve_small, &agents); /* takes over the dead one's name */
    CHECK(ferry_agent_connect(agent, 10 * SECOND) == 1);
    CHECK(((double *)reset(agent, 9)->data[OBSERVATION])[0] == 9);
    ferry_agent_close(agent);
    CHECK(end_child(server) == 0);
}

static int serve_and_close(void *argument) {
    ferry_why why;
    const ferry_turn *turn;
    ferry_env *env = open_small_env("small", &why);
    (void)argument;
    while (ferry_env_wait(env, FERRY_FOREVER, &turn) > 0) {
        if (turn->kind == FERRY_STEP) break;
        play_small_turn(env, turn);
    }
    ferry_env_close(env);
    return 0;
}

static void test_an_environment_that_closes_says_goodbye(void) {
    ferry_why why;
    const ferry_turn *answer;
    ferry_turn *turn;
    pid_t server = start_child(serve_and_close, NULL);
    ferry_agent *agent = open_agent("small", &why);
    CHECK(ferry_agent_connect(agent, 10 * SECOND) == 1);
    reset(agent, 1);
    turn = ferry_agent_turn(agent);
    turn->kind = FERRY_STEP, *(int64_t *)turn->data[ACTION] = 10;
    CHECK(ferry_agent_send(agent) == 0);
    CHECK(ferry_agent_wait(agent, 10 * SECOND, &answer) == FERRY_ECLOSED);
    CHECK(end_child(server) == 0);
    ferry_agent_close(agent);
}

/* Answers a step, and dies at once. */
static int serve_and_die(void *argument) {
    ferry_why why;
    const ferry_turn *turn;
    ferry_env *env = open_small_env("small", &why);
    (void)argument;
    while (ferry_env_wait(env, FERRY_FOREVER, &turn) > 0) {
        int is_step = turn->kind == FERRY_STEP;
        play_small_turn(env, turn);
        if (is_step) die();
    }
    return 1;
}

static void test_the_last_answer_of_a_dying_environment_arrives(void) {
    ferry_why why;
    const ferry_turn *answer;
    ferry_turn *turn;
    ferry_agent *agent = open_agent("small", &why);
    pid_t server = start_child(serve_and_die, NULL);
    CHECK(ferry_agent_connect(agent, 10 * SECOND) == 1);
    reset(agent, 4);
    turn = ferry_agent_turn(agent);
    turn->kind = FERRY_STEP, *(int64_t *)turn->data[ACTION] = 12;
    CHECK(ferry_agent_send(agent) == 0);
    CHECK(end_child(server) == 128 + SIGKILL);
    CHECK(ferry_agent_wait(agent, 10 * SECOND, &answer) == 1);
    CHECK(((double *)answer->data[OBSERVATION])[2] == 12);
    turn = ferry_agent_turn(agent);
    turn->kind = FERRY_STEP;
    CHECK(ferry_agent_send(agent) == 0);
    CHECK(ferry_agent_wait(agent, 10 * SECOND, &answer) == FERRY_EPEERDEAD);
    ferry_agent_close(agent);
}

/* A game's loop: never waits, resets over several ticks, loses its agent in the middle of one, takes the next. */
static void test_a_ticking_game_survives_its_agents(void) {
    ferry_why why;
    const ferry_turn *turn;
    ferry_env *env = open_small_env("small", &why);
    ferry_agent *agent = open_agent("small", &why);
    const ferry_turn *answer;
    int ticks, got = 0;
    CHECK(ferry_env_wait(env, 0, &turn) == 0 && turn == NULL);
    for (ticks = 0; ticks < 1000 && got == 0; ticks++) {
        got = ferry_agent_connect(agent, 0);
        CHECK(got >= 0);
        CHECK(ferry_env_wait(env, 0, &turn) == 0);
    }
    CHECK(got == 1);
    ferry_agent_turn(agent)->kind = FERRY_RESET;
    CHECK(ferry_agent_send(agent) == 0);
    CHECK(ferry_env_wait(env, 0, &turn) == 1 && turn->kind == FERRY_RESET);
    for (ticks = 0; ticks < 5; ticks++) {
        CHECK(ferry_env_wait(env, 0, &turn) == 0);
        CHECK(ferry_agent_wait(agent, 0, &answer) == 0);
    }
    CHECK(ferry_env_wait(env, SECOND, &turn) == FERRY_ESTATE);
    ferry_env_why(env, &why);
    CHECK_CONTAINS(why.text, "unanswered");
    ferry_agent_close(agent);
    for (got = 0; got == 0;) got = ferry_env_wait(env, 0, &turn);
    CHECK(got == 1 && turn->kind == FERRY_LEFT && turn->reason == FERRY_ECLOSED);
    CHECK(ferry_env_reply(env) == 0); /* nobody hears it, and it is no error */
    CHECK(ferry_env_reply(env) == FERRY_ESTATE);
    agent = open_agent("small", &why);
    for (got = 0; got == 0;) {
        got = ferry_agent_connect(agent, 0);
        CHECK(ferry_env_wait(env, 0, &turn) == 0);
    }
    ferry_agent_turn(agent)->kind = FERRY_RESET;
    CHECK(ferry_agent_send(agent) == 0);
    CHECK(ferry_env_wait(env, 0, &turn) == 1);
    play_small_turn(env, turn);
    CHECK(ferry_agent_wait(agent, 0, &answer) == 1 && answer->number == 1);
    ferry_agent_close(agent);
    ferry_env_close(env);
}

#ifndef _WIN32 /* where there is no fork */
static void test_a_forked_child_cannot_use_the_handles(void) {
    int agents = 1;
    ferry_why why;
    const ferry_turn *answer;
    pid_t server = start_child(serve_small, &agents), child;
    ferry_agent *agent = open_agent("small", &why);
    ferry_env *env = open_small_env("other", &why);
    CHECK(ferry_agent_connect(agent, 10 * SECOND) == 1);
    reset(agent, 1);
    fflush(NULL);
    child = fork();
    if (child == 0) {
        CHECK(ferry_agent_turn(agent) == NULL);
        CHECK(ferry_agent_send(agent) == FERRY_EFORKED);
        CHECK(ferry_agent_wait(agent, 0, &answer) == FERRY_EFORKED);
        CHECK(ferry_agent_connect(agent, 0) == FERRY_EFORKED);
        CHECK(ferry_env_wait(env, 0, &answer) == FERRY_EFORKED);
        CHECK(ferry_env_reply(env) == FERRY_EFORKED);
        ferry_agent_why(agent, &why);
        CHECK(why.code == FERRY_EFORKED);
        ferry_agent_close(agent);
        ferry_env_close(env);
        _exit(0);
    }
    CHECK(end_child(child) == 0);
    CHECK(step(agent, 10)->status[0] == FERRY_ROW_OK); /* the child said no goodbye */
    CHECK(open_small_env("other", &why) == NULL && why.code == FERRY_EINUSE); /* nor gave up the address */
    ferry_env_close(env);
    ferry_agent_close(agent);
    CHECK(end_child(server) == 0);
}
#endif

static void test_a_held_region_outlives_everything(void) {
    int agents = 1;
    ferry_why why;
    pid_t server = start_child(serve_small, &agents);
    ferry_agent *agent = open_agent("small", &why);
    const double *observation;
    ferry_hold *hold;
    CHECK(ferry_agent_hold(agent) == NULL);
    CHECK(ferry_agent_connect(agent, 10 * SECOND) == 1);
    observation = (const double *)reset(agent, 42)->data[OBSERVATION];
    hold = ferry_agent_hold(agent);
    ferry_agent_close(agent);
    CHECK(end_child(server) == 0);
    CHECK(observation[0] == 42);
    ferry_release(hold);
    ferry_release(NULL);
}

int main(void) {
    char directory[64];
    int descriptors;
    begin_test(120, directory);
    descriptors = count_descriptors();
    test_the_next_agent_is_taken_when_the_first_has_gone();
    test_a_second_agent_is_told_who_holds_the_place();
    test_a_killed_agent_is_noticed();
    test_a_killed_environment_is_noticed_and_the_next_is_met();
    test_an_environment_that_closes_says_goodbye();
    test_the_last_answer_of_a_dying_environment_arrives();
    test_a_ticking_game_survives_its_agents();
#ifndef _WIN32
    if (pages_are_wiped_on_fork()) test_a_forked_child_cannot_use_the_handles();
    else printf("      left out: a forked child cannot use the handles; this system wipes no pages on fork\n");
#endif
    test_a_held_region_outlives_everything();
    CHECK(count_descriptors() == descriptors);
    end_test(directory);
    return 0;
}
