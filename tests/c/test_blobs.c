/* Blobs there and back: none, empty, small, at the edge of the slot's room, by descriptor; too large ones are refused. */
#include "check.h"

#define ROOM 16384

/* Echoes the options of a reset as info, and fails every step with the action as text. */
static int serve_echo(void *argument) {
    ferry_why why;
    const ferry_turn *turn;
    ferry_env *env = open_small_env("small", &why);
    (void)argument;
    CHECK(env != NULL);
    while (ferry_env_wait(env, FERRY_FOREVER, &turn) > 0 && turn->kind != FERRY_LEFT) {
        if (turn->kind == FERRY_RESET) {
            CHECK(turn->blob.format == FERRY_NONE || ferry_env_blob(env, &turn->blob) == 0);
            CHECK(ferry_env_reply(env) == 0);
        } else CHECK(ferry_env_fail(env, "the dog ate it") == 0);
    }
    ferry_env_close(env);
    return 0;
}

static const ferry_turn *reset_with(ferry_agent *agent, const void *data, uint64_t bytes, uint32_t format) {
    ferry_turn *turn = ferry_agent_turn(agent);
    turn->kind = FERRY_RESET;
    turn->blob.data = data, turn->blob.size_bytes = bytes, turn->blob.format = format;
    CHECK(ferry_agent_send(agent) == 0);
    return take_answer(agent);
}

static void test_any_size_comes_back_equal(ferry_agent *agent) {
    static const uint64_t sizes[] = {0, 1, 63, 64, ROOM - 1, ROOM, ROOM + 1, 1 << 20, 100 << 20, 5};
    size_t i, j;
    for (i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *data = (char *)malloc(sizes[i] + 1);
        const ferry_turn *answer;
        for (j = 0; j < sizes[i]; j++) data[j] = (char)(j * 31 + i);
        answer = reset_with(agent, data, sizes[i], FERRY_MSGPACK);
        CHECK(answer->blob.format == FERRY_MSGPACK && answer->blob.size_bytes == sizes[i]);
        CHECK(sizes[i] == 0 || memcmp(answer->blob.data, data, sizes[i]) == 0);
        free(data);
    }
    CHECK(reset(agent, 1)->blob.format == FERRY_NONE);
}

static void test_what_cannot_travel_is_refused(ferry_agent *agent) {
    ferry_turn *turn = ferry_agent_turn(agent);
    ferry_why why;
    turn->kind = FERRY_RESET;
    turn->blob.data = "", turn->blob.size_bytes = FERRY_MAX_BLOB + 1, turn->blob.format = FERRY_JSON;
    CHECK(ferry_agent_send(agent) == FERRY_ETOOBIG);
    ferry_agent_why(agent, &why);
    CHECK_CONTAINS(why.text, "268435456");
    turn->blob.size_bytes = 1, turn->blob.format = 17;
    CHECK(ferry_agent_send(agent) == FERRY_EINVAL);
    turn->blob.data = NULL, turn->blob.format = FERRY_TEXT;
    CHECK(ferry_agent_send(agent) == FERRY_EINVAL);
    CHECK(reset(agent, 1)->status[0] == FERRY_ROW_OK);
}

static void test_a_failure_says_why_and_wants_a_reset(ferry_agent *agent) {
    const ferry_turn *answer;
    reset(agent, 1);
    answer = step(agent, 12);
    CHECK(answer->status[0] == FERRY_ROW_FAILED && answer->blob.format == FERRY_TEXT);
    CHECK(answer->blob.size_bytes == 14 && memcmp(answer->blob.data, "the dog ate it", 14) == 0);
    CHECK(step(agent, 12)->status[0] == FERRY_ROW_REFUSED);
    CHECK(reset(agent, 1)->status[0] == FERRY_ROW_OK);
}

int main(void) {
    char directory[64];
    ferry_why why;
    ferry_agent *agent;
    pid_t server;
    begin_test(60, directory);
    server = start_child(serve_echo, NULL);
    agent = open_agent("small", &why);
    CHECK(ferry_agent_connect(agent, 10 * SECOND) == 1);
    test_any_size_comes_back_equal(agent);
    test_what_cannot_travel_is_refused(agent);
    test_a_failure_says_why_and_wants_a_reset(agent);
    ferry_agent_close(agent);
    CHECK(end_child(server) == 0);
    end_test(directory);
    return 0;
}
