/* Says of texts that they lie in the blob, and sends it with the first turn alone: forgetful env ADDRESS, forgetful agent ADDRESS. */
#include <libferry.h>

#include <stdio.h>
#include <string.h>

enum { OBSERVATION, ACTION, NUM_FIELDS };

static void say(ferry_turn *turn, uint32_t field, ferry_blob *blob) {
    static char values[] = "\x92\xc0\x81\x00\xa5"
                           "first"; /* [nil, {field: "first"}] */
    values[3] = (char)field;
    ((ferry_list *)turn->data[field])->count = FERRY_IN_BLOB;
    blob->data = values, blob->size_bytes = sizeof values - 1, blob->format = FERRY_VALUES;
}

static int env(const char *address) {
    ferry_field fields[NUM_FIELDS] = {{0}};
    ferry_env_desc desc = {0};
    const ferry_turn *turn;
    ferry_env *handle;
    fields[OBSERVATION].role = FERRY_OBSERVATION, fields[OBSERVATION].kind = FERRY_STRING, fields[OBSERVATION].capacity = 4;
    fields[ACTION].role = FERRY_ACTION, fields[ACTION].kind = FERRY_DISCRETE, fields[ACTION].n = 2;
    desc.struct_size = sizeof desc, desc.address = address, desc.fields = fields, desc.num_fields = NUM_FIELDS;
    if (ferry_env_open(&desc, &handle, NULL) < 0) return 1;
    while (ferry_env_wait(handle, FERRY_FOREVER, &turn) > 0) {
        ferry_blob blob = {0};
        if (turn->kind == FERRY_LEFT) continue;
        say((ferry_turn *)turn, OBSERVATION, &blob);
        if (turn->kind == FERRY_RESET) ferry_env_blob(handle, &blob);
        ferry_env_reply(handle);
    }
    return 0;
}

static int agent(const char *address) {
    ferry_agent_desc desc = {0};
    const ferry_turn *answer;
    ferry_agent *handle;
    int i;
    desc.struct_size = sizeof desc, desc.address = address;
    if (ferry_agent_open(&desc, &handle, NULL) < 0 || ferry_agent_connect(handle, 10000000000) != 1) return 1;
    for (i = 0; i < 3; i++) {
        ferry_turn *turn = ferry_agent_turn(handle);
        ferry_blob blob = {0};
        turn->kind = i == 0 ? FERRY_RESET : FERRY_STEP;
        if (i > 0) say(turn, ACTION, &blob);
        if (i == 1) turn->blob = blob;
        if (ferry_agent_send(handle) < 0 || ferry_agent_wait(handle, 10000000000, &answer) != 1) return 1;
        printf("%d\n", answer->status[0]);
    }
    ferry_agent_close(handle);
    return 0;
}

int main(int argc, char **argv) { return argc != 3 ? 2 : strcmp(argv[1], "env") == 0 ? env(argv[2]) : agent(argv[2]); }
