/* Calls and lists from C: requests are answered beside the episode, counts are checked, what does not fit rides in the blob. */
#include "check.h"

enum { WORDS, PICKED, PICK, SAY, NUM_LISTS };
enum { PICKED_CAPACITY = 4, SAY_CAPACITY = 8 };

static ferry_env *open_lists(const char *address, int takes_calls) {
    ferry_field fields[NUM_LISTS];
    ferry_env_desc desc;
    ferry_env *env;
    ferry_why why;
    memset(fields, 0, sizeof fields);
    memset(&desc, 0, sizeof desc);
    fields[WORDS].kind = FERRY_STRING, fields[WORDS].path = "words", fields[WORDS].capacity = 16;
    fields[PICKED].dtype = FERRY_F32, fields[PICKED].path = "picked", fields[PICKED].capacity = PICKED_CAPACITY, fields[PICKED].ndim = 1,
    fields[PICKED].shape[0] = 3;
    fields[PICK].role = FERRY_ACTION, fields[PICK].path = "pick", fields[PICK].kind = FERRY_DISCRETE, fields[PICK].n = 5,
    fields[PICK].capacity = PICKED_CAPACITY;
    fields[SAY].role = FERRY_ACTION, fields[SAY].path = "say", fields[SAY].kind = FERRY_STRING, fields[SAY].capacity = SAY_CAPACITY;
    desc.struct_size = sizeof desc, desc.address = address, desc.fields = fields, desc.num_fields = NUM_LISTS;
    desc.takes_calls = (uint32_t)takes_calls;
    if (ferry_env_open(&desc, &env, &why) < 0) return fprintf(stderr, "%s\n", why.text), NULL;
    return env;
}

/* Answers with what it was given: the picks thrice each, the text as it came. "fail" fails. */
static void play_lists(ferry_env *env, const ferry_turn *turn) {
    if (turn->kind == FERRY_CALL) {
        CHECK(turn->blob.format == FERRY_JSON);
        if (memmem(turn->blob.data, turn->blob.size_bytes, "fail", 4) != NULL) {
            CHECK(ferry_env_fail(env, "no such method") == 0);
            return;
        }
        CHECK(ferry_env_blob(env, &turn->blob) == 0);
    } else {
        ferry_list *picked = (ferry_list *)turn->data[PICKED], *words = (ferry_list *)turn->data[WORDS];
        const ferry_list *pick = (const ferry_list *)turn->data[PICK], *say = (const ferry_list *)turn->data[SAY];
        float *out = (float *)(void *)(picked + 1);
        uint32_t i;
        picked->count = words->count = 0;
        if (turn->kind == FERRY_STEP) {
            CHECK(pick->count <= PICKED_CAPACITY && say->count <= SAY_CAPACITY);
            for (i = 0; i < 3 * pick->count; i++) out[i] = (float)((const int64_t *)(const void *)(pick + 1))[i / 3];
            memcpy(words + 1, say + 1, say->count);
            picked->count = pick->count, words->count = say->count;
        }
    }
    CHECK(ferry_env_reply(env) == 0);
}

static int serve_lists(void *takes_calls) {
    const ferry_turn *turn;
    ferry_env *env = open_lists("lists", *(int *)takes_calls);
    while (env != NULL && ferry_env_wait(env, FERRY_FOREVER, &turn) > 0 && turn->kind != FERRY_LEFT) play_lists(env, turn);
    ferry_env_close(env);
    return env == NULL;
}

static const ferry_turn *pick(ferry_agent *agent, uint32_t count, int64_t first, const char *say, uint32_t say_count) {
    ferry_turn *turn = ferry_agent_turn(agent);
    ferry_list *picks = (ferry_list *)turn->data[PICK], *text = (ferry_list *)turn->data[SAY];
    uint32_t i;
    turn->kind = FERRY_STEP;
    picks->count = count;
    for (i = 0; i < count && i < PICKED_CAPACITY; i++) ((int64_t *)(void *)(picks + 1))[i] = first + i;
    text->count = say_count;
    memcpy(text + 1, say, strlen(say));
    CHECK(ferry_agent_send(agent) == 0);
    return take_answer(agent);
}

static const ferry_turn *call(ferry_agent *agent, const char *request) {
    ferry_turn *turn = ferry_agent_turn(agent);
    turn->kind = FERRY_CALL;
    turn->blob.data = request, turn->blob.size_bytes = strlen(request), turn->blob.format = FERRY_JSON;
    CHECK(ferry_agent_send(agent) == 0);
    return take_answer(agent);
}

static ferry_agent *meet_lists(void) {
    ferry_why why;
    ferry_agent *agent = open_agent("lists", &why);
    CHECK(agent != NULL && ferry_agent_connect(agent, 10 * SECOND) == 1);
    return agent;
}

static void test_lists_arrive_and_their_counts_are_checked(void) {
    int takes_calls = 0;
    pid_t server = start_child(serve_lists, &takes_calls);
    ferry_agent *agent = meet_lists();
    const ferry_turn *answer;
    CHECK(ferry_agent_env(agent)->fields[PICKED].capacity == PICKED_CAPACITY && ferry_agent_env(agent)->fields[PICKED].shape[0] == 3);
    CHECK(ferry_agent_env(agent)->takes_calls == 0);
    reset(agent, -1);
    answer = pick(agent, 3, 2, "abc", 3);
    CHECK(((ferry_list *)answer->data[PICKED])->count == 3 && ((ferry_list *)answer->data[WORDS])->count == 3);
    CHECK(((float *)answer->data[PICKED])[2 + 8] == 4 && memcmp((char *)answer->data[WORDS] + sizeof(ferry_list), "abc", 3) == 0);
    answer = pick(agent, PICKED_CAPACITY + 1, 0, "", 0);
    CHECK(answer->status[0] == FERRY_ROW_REFUSED);
    CHECK(memmem(answer->blob.data, answer->blob.size_bytes, "5 elements; there is room for 4", 31) != NULL);
    answer = pick(agent, 1, 5, "", 0);
    CHECK(answer->status[0] == FERRY_ROW_REFUSED && memmem(answer->blob.data, answer->blob.size_bytes, "0 to 4", 6) != NULL);
    answer = pick(agent, 1, 1, "", SAY_CAPACITY + 1);
    CHECK(answer->status[0] == FERRY_ROW_REFUSED);
    CHECK(pick(agent, 0, 0, "", 0)->status[0] == FERRY_ROW_OK);
    ferry_agent_close(agent);
    CHECK(end_child(server) == 0);
}

static void test_calls_are_answered_beside_the_episode(void) {
    int takes_calls = 1, i;
    pid_t server = start_child(serve_lists, &takes_calls);
    ferry_agent *agent = meet_lists();
    const ferry_turn *answer;
    const float *before, *after;
    CHECK(ferry_agent_env(agent)->takes_calls == 1);
    answer = call(agent, "{\"op\": \"get\"}");
    CHECK(answer->status[0] == FERRY_ROW_OK && answer->blob.format == FERRY_JSON && answer->blob.size_bytes == 13);
    reset(agent, -1);
    before = (const float *)pick(agent, 1, 3, "", 0)->data[PICKED];
    for (i = 0; i < 3; i++) CHECK(call(agent, "[1]")->blob.size_bytes == 3);
    answer = call(agent, "\"fail\"");
    CHECK(answer->status[0] == FERRY_ROW_FAILED && memcmp(answer->blob.data, "no such method", 14) == 0);
    after = (const float *)pick(agent, 1, 4, "", 0)->data[PICKED];
    CHECK(after != before && before[2] == 3 && after[2] == 4);
    ferry_agent_close(agent);
    CHECK(end_child(server) == 0);
}

static void test_an_environment_that_takes_no_calls_never_sees_one(void) {
    int takes_calls = 0;
    pid_t server = start_child(serve_lists, &takes_calls);
    ferry_agent *agent = meet_lists();
    const ferry_turn *answer = call(agent, "[]");
    CHECK(answer->status[0] == FERRY_ROW_REFUSED && memmem(answer->blob.data, answer->blob.size_bytes, "takes no calls", 14) != NULL);
    reset(agent, -1);
    CHECK(call(agent, "[]")->status[0] == FERRY_ROW_REFUSED);
    CHECK(pick(agent, 1, 1, "x", 1)->status[0] == FERRY_ROW_OK);
    ferry_agent_close(agent);
    CHECK(end_child(server) == 0);
}

int main(void) {
    char directory[64];
    begin_test(60, directory);
    test_lists_arrive_and_their_counts_are_checked();
    test_calls_are_answered_beside_the_episode();
    test_an_environment_that_takes_no_calls_never_sees_one();
    end_test(directory);
    return 0;
}
