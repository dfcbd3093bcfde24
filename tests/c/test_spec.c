/* Descriptions: what the agent sees is what the environment said; what makes no sense is refused in words. */
#include "check.h"

#include <math.h>

static ferry_env *env_of(ferry_field *fields, uint32_t num_fields, ferry_why *why) {
    ferry_env_desc desc;
    ferry_env *env;
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc, desc.address = "spec",
    desc.name = "sp\xC3\xA9"
                "c";
    desc.fields = fields, desc.num_fields = num_fields;
    desc.blob_format = FERRY_MSGPACK;
    desc.about.data = "{}", desc.about.size_bytes = 2, desc.about.format = FERRY_JSON;
    return ferry_env_open(&desc, &env, why) == 0 ? env : NULL;
}

static ferry_field field_of(int kind, int dtype, const char *path) {
    ferry_field field;
    memset(&field, 0, sizeof field);
    field.kind = (uint8_t)kind, field.dtype = (uint8_t)dtype, field.path = path;
    return field;
}

/* A field that is refused beside a good action. */
static void refused(ferry_field field, int code, const char *part) {
    ferry_field fields[2];
    ferry_why why;
    fields[0] = field, fields[1] = field_of(FERRY_BOX, 0, NULL), fields[1].role = FERRY_ACTION;
    CHECK(env_of(fields, 2, &why) == NULL);
    CHECK(why.code == code);
    CHECK_CONTAINS(why.text, part);
}

static void test_nonsense_is_refused(void) {
    static const uint8_t low[2] = {0, 1}, high[2] = {1, 2};
    static const char *const no_paths[] = {"/x", "x/", "x//y", "pair/#0", "#", "#x", "#01", "#1x", "#1/", "#1234567890"};
    static const char *const are_paths[] = {"", "x", "x/y", "pair#0", "#1/x", "#0#12", "%-", "%-/%2F"};
    ferry_field field = field_of(FERRY_BOX, 99, "x"), pair[3];
    size_t i;
    ferry_env_desc desc;
    ferry_env *env;
    ferry_why why;
    refused(field, FERRY_ESPEC, "unknown dtype 99");
    refused(field_of(77, 0, "x"), FERRY_ESPEC, "unknown kind");
    field = field_of(FERRY_BOX, 0, "x"), field.role = 9;
    refused(field, FERRY_ESPEC, "unknown role");
    field = field_of(FERRY_BOX, 0, "x"), field.ndim = 9;
    refused(field, FERRY_ESPEC, "9 dimensions");
    field = field_of(FERRY_BOX, 0, "x"), field.ndim = 3, field.shape[0] = field.shape[1] = field.shape[2] = UINT32_MAX;
    refused(field, FERRY_ETOOBIG, "larger than");
    field = field_of(FERRY_BOX, 0, "x"), field.ndim = 1, field.shape[0] = 1u << 31;
    refused(field, FERRY_ETOOBIG, sizeof(void *) < 8 ? "a 32-bit process can map 2048.0 MiB" : "max_bytes");
    field = field_of(FERRY_BOX, 0, "x"), field.low = 2, field.high = 1;
    refused(field, FERRY_ESPEC, "low (2) is above high (1)");
    field = field_of(FERRY_BOX, 0, "x"), field.low = NAN, field.high = 1;
    refused(field, FERRY_ESPEC, "low (nan)");
    field = field_of(FERRY_BOX, FERRY_U8, "x"), field.high = 256;
    refused(field, FERRY_ESPEC, "cannot hold");
    field = field_of(FERRY_BOX, FERRY_F16, "x"), field.high = 1;
    refused(field, FERRY_ESPEC, "low_each");
    field = field_of(FERRY_BOX, FERRY_U8, "x"), field.high_each = high;
    refused(field, FERRY_ESPEC, "or neither");
    field = field_of(FERRY_TUPLE, 0, "x"), field.ndim = 1, field.shape[0] = 1000;
    refused(field, FERRY_ESPEC, "neither shape nor bounds");
    refused(field_of(FERRY_DISCRETE, 0, "x"), FERRY_ESPEC, "n >= 1");
    field = field_of(FERRY_DISCRETE, 0, "x"), field.n = INT64_MAX, field.start = 2;
    refused(field, FERRY_ESPEC, "n >= 1");
    field = field_of(FERRY_DISCRETE, FERRY_I8, "x"), field.n = 129;
    refused(field, FERRY_ESPEC, "cannot hold");
    field = field_of(FERRY_DISCRETE, FERRY_F32, "x"), field.n = 2;
    refused(field, FERRY_ESPEC, "do not fit its kind");
    refused(field_of(FERRY_BOX, 0, "\xC3("), FERRY_ESPEC, "UTF-8");
    for (i = 0; i < sizeof no_paths / sizeof *no_paths; i++) refused(field_of(FERRY_BOX, 0, no_paths[i]), FERRY_ESPEC, "is no path");
    for (i = 0; i < sizeof are_paths / sizeof *are_paths; i++) {
        ferry_env *opened;
        pair[0] = field_of(FERRY_BOX, 0, are_paths[i]), pair[1] = field_of(FERRY_BOX, 0, NULL), pair[1].role = FERRY_ACTION;
        opened = env_of(pair, 2, &why);
        CHECK(opened != NULL);
        ferry_env_close(opened);
    }
    field = field_of(FERRY_BOX, FERRY_U8, "x"), field.ndim = 1, field.shape[0] = 2, field.low_each = high, field.high_each = low;
    refused(field, FERRY_ESPEC, "a lower bound is above");
    field = field_of(FERRY_MULTI_DISCRETE, 0, "x"), field.ndim = 1, field.shape[0] = 2, field.n = 3;
    refused(field, FERRY_ESPEC, "low_each and high_each");
    field = field_of(FERRY_BOX, 0, NULL), field.role = FERRY_INFO;
    CHECK(env_of(&field, 1, &why) == NULL && why.code == FERRY_ESPEC);
    field = field_of(FERRY_BOX, 0, "x");
    CHECK(env_of(&field, 1, &why) == NULL && why.code == FERRY_ESPEC);
    CHECK_CONTAINS(why.text, "no action field");
    pair[0] = field_of(FERRY_BOX, 0, "camera"), pair[1] = field_of(FERRY_BOX, 0, "camera/rgb");
    pair[2] = field_of(FERRY_BOX, 0, NULL), pair[2].role = FERRY_ACTION;
    CHECK(env_of(pair, 3, &why) == NULL && why.code == FERRY_ESPEC);
    CHECK_CONTAINS(why.text, "contradict");
    pair[0] = pair[1] = field_of(FERRY_BOX, 0, "twice");
    pair[2] = field_of(FERRY_BOX, 0, NULL), pair[2].role = FERRY_ACTION;
    CHECK(env_of(pair, 3, &why) == NULL && why.code == FERRY_ESPEC);
    CHECK_CONTAINS(why.text, "'twice'");
    memset(&desc, 0, sizeof desc);
    CHECK(ferry_env_open(&desc, &env, &why) == FERRY_EINVAL && env == NULL);
    CHECK_CONTAINS(why.text, "struct_size");
    desc.struct_size = sizeof desc, desc.address = "spec", desc.num_rows = FERRY_MAX_ROWS + 1;
    CHECK(ferry_env_open(&desc, &env, &why) == FERRY_ESPEC);
    CHECK_CONTAINS(why.text, "at most 65536");
    desc.num_rows = 0, desc.num_fields = 3;
    CHECK(ferry_env_open(&desc, &env, NULL) == FERRY_ESPEC);
    CHECK(ferry_env_open(&desc, &env, &why) == FERRY_ESPEC);
    CHECK_CONTAINS(why.text, "fields is NULL");
    desc.fields = pair, desc.about.format = FERRY_JSON, desc.about.size_bytes = 2;
    CHECK(ferry_env_open(&desc, &env, &why) == FERRY_ESPEC);
    CHECK_CONTAINS(why.text, "about.data is NULL");
}

static void test_the_agent_sees_what_the_environment_said(void) {
    static const int64_t low[2] = {INT64_MIN, -5}, high[2] = {INT64_MAX, 5};
    static const uint64_t none[2] = {0, 0}, all[2] = {UINT64_MAX, UINT64_MAX};
    enum { BOX, UNBOUNDED, WIDE, UNSIGNED, DISCRETE, MULTI, BINARY, EMPTY, IMAGE, NOTHING, PUSH, COUNT };
    ferry_field fields[COUNT];
    const ferry_field *seen;
    const ferry_env_desc *desc;
    const ferry_turn *turn;
    ferry_agent *agent;
    ferry_env *env;
    ferry_why why;
    int got, i;
    memset(fields, 0, sizeof fields);
    fields[BOX] = field_of(FERRY_BOX, 0, "a/box"), fields[BOX].low = -1.5, fields[BOX].high = INFINITY;
    fields[UNBOUNDED] = field_of(FERRY_BOX, FERRY_F64, "b");
    fields[WIDE] = field_of(FERRY_BOX, FERRY_I64, "c#0"), fields[WIDE].ndim = 1, fields[WIDE].shape[0] = 2;
    fields[WIDE].low_each = low, fields[WIDE].high_each = high;
    fields[UNSIGNED] = field_of(FERRY_BOX, FERRY_U64, "c#1"), fields[UNSIGNED].ndim = 1, fields[UNSIGNED].shape[0] = 2;
    fields[UNSIGNED].low_each = none, fields[UNSIGNED].high_each = all;
    fields[DISCRETE] = field_of(FERRY_DISCRETE, 0, "d"), fields[DISCRETE].n = INT64_MAX, fields[DISCRETE].start = -3;
    fields[MULTI] = field_of(FERRY_MULTI_DISCRETE, FERRY_I32, "m"), fields[MULTI].ndim = 2,
    fields[MULTI].shape[0] = fields[MULTI].shape[1] = 2;
    fields[MULTI].low = -1, fields[MULTI].high = 3;
    fields[BINARY] = field_of(FERRY_MULTI_BINARY, 0, "e"), fields[BINARY].ndim = 1, fields[BINARY].shape[0] = 7;
    fields[EMPTY] = field_of(FERRY_TUPLE, 0, "f");
    fields[IMAGE] = field_of(FERRY_BOX, FERRY_U8, "g"), fields[IMAGE].ndim = 3, fields[IMAGE].high = 255;
    fields[IMAGE].shape[0] = fields[IMAGE].shape[1] = 200, fields[IMAGE].shape[2] = 3;
    fields[NOTHING] = field_of(FERRY_BOX, 0, "h"), fields[NOTHING].ndim = 2, fields[NOTHING].shape[1] = 4;
    fields[PUSH] = field_of(FERRY_BOX, 0, NULL), fields[PUSH].role = FERRY_ACTION;
    env = env_of(fields, COUNT, &why);
    CHECK(env != NULL);
    agent = open_agent("spec", &why);
    for (got = 0; got == 0; got = ferry_agent_connect(agent, 0)) CHECK(ferry_env_wait(env, 0, &turn) == 0);
    CHECK(got == 1);
    desc = ferry_agent_env(agent);
    CHECK(strcmp(desc->name, "sp\xC3\xA9"
                             "c") == 0);
    CHECK(desc->blob_format == FERRY_MSGPACK && desc->about.size_bytes == 2 && memcmp(desc->about.data, "{}", 2) == 0);
    CHECK(desc->num_fields == COUNT && desc->num_rows == 1);
    seen = desc->fields;
    for (i = 0; i < COUNT; i++) {
        CHECK(strcmp(seen[i].path, fields[i].path != NULL ? fields[i].path : "") == 0);
        CHECK(seen[i].role == fields[i].role && seen[i].kind == fields[i].kind && seen[i].ndim == fields[i].ndim);
        CHECK(memcmp(seen[i].shape, fields[i].shape, sizeof fields[i].shape) == 0);
    }
    CHECK(seen[BOX].dtype == FERRY_F32 && seen[BOX].low == -1.5 && seen[BOX].high == INFINITY && seen[BOX].low_each == NULL);
    CHECK(seen[UNBOUNDED].low == 0 && seen[UNBOUNDED].high == 0 && seen[UNBOUNDED].low_each == NULL);
    CHECK(memcmp(seen[WIDE].low_each, low, sizeof low) == 0 && memcmp(seen[WIDE].high_each, high, sizeof high) == 0);
    CHECK(memcmp(seen[UNSIGNED].high_each, all, sizeof all) == 0);
    CHECK(seen[DISCRETE].dtype == FERRY_I64 && seen[DISCRETE].n == INT64_MAX && seen[DISCRETE].start == -3);
    CHECK(seen[MULTI].dtype == FERRY_I32 && seen[MULTI].low == -1 && seen[MULTI].high == 3);
    CHECK(seen[BINARY].dtype == FERRY_I8);
    ferry_agent_turn(agent)->kind = FERRY_RESET;
    CHECK(ferry_agent_send(agent) == 0 && ferry_env_wait(env, SECOND, &turn) == 1);
    CHECK((uintptr_t)turn->data[IMAGE] % 4096 == 0 && turn->stride[IMAGE] == 200 * 200 * 3);
    CHECK(turn->stride[EMPTY] == 0 && turn->stride[NOTHING] == 0 && turn->stride[MULTI] == 16);
    for (i = 0; i < COUNT; i++) CHECK((uintptr_t)turn->data[i] % 8 == 0);
    CHECK(ferry_env_reply(env) == 0);
    ferry_agent_close(agent);
    ferry_env_close(env);
}

static void test_sizes_of_elements(void) {
    CHECK(ferry_dtype_bytes(FERRY_BOOL) == 1 && ferry_dtype_bytes(FERRY_F16) == 2 && ferry_dtype_bytes(FERRY_F32) == 4 &&
          ferry_dtype_bytes(FERRY_U64) == 8);
    CHECK(ferry_dtype_bytes(FERRY_DEFAULT) == 0 && ferry_dtype_bytes(-1) == 0 && ferry_dtype_bytes(13) == 0);
}

int main(void) {
    char directory[64];
    begin_test(60, directory);
    test_nonsense_is_refused();
    test_the_agent_sees_what_the_environment_said();
    test_sizes_of_elements();
    end_test(directory);
    return 0;
}
