/* What no program should pass, and calls that are not possible now: each is refused in words, and harms nothing. */
#include "check.h"

#include "layout.h"

#include <sys/resource.h>

static void drop_log(void *user, int level, const char *text) { (void)user, (void)level, (void)text; }

/* ---- Opening ---- */

static ferry_env_desc env_desc_of(ferry_field fields[NUM_FIELDS]) {
    ferry_env_desc desc;
    small_fields(fields);
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc, desc.address = "small", desc.fields = fields, desc.num_fields = NUM_FIELDS, desc.log = drop_log;
    return desc;
}

static void refused_env(const ferry_env_desc *desc, int code, const char *part) {
    ferry_env *env = (ferry_env *)(void *)&env;
    ferry_why why;
    CHECK(ferry_env_open(desc, &env, &why) == code && env == NULL && why.code == code);
    CHECK_CONTAINS(why.text, part);
}

static void test_environments_that_cannot_be_opened(void) {
    static char name[FERRY__MAX_PATH + 2];
    ferry_field fields[NUM_FIELDS];
    ferry_env_desc desc = env_desc_of(fields);
    ferry_why why;
    CHECK(ferry_env_open(&desc, NULL, &why) == FERRY_EINVAL);
    CHECK_CONTAINS(why.text, "a place for the handle");
    refused_env(NULL, FERRY_EINVAL, "struct_size");
    desc.struct_size--;
    refused_env(&desc, FERRY_EINVAL, "struct_size");
    memset(name, 'x', sizeof name - 1);
    desc = env_desc_of(fields), desc.name = name;
    refused_env(&desc, FERRY_ESPEC, "name is longer");
    desc = env_desc_of(fields), fields[OBSERVATION].path = name;
    refused_env(&desc, FERRY_ESPEC, "is longer than");
    desc = env_desc_of(fields), desc.num_fields = FERRY__MAX_FIELDS + 1;
    refused_env(&desc, FERRY_ESPEC, "at most 4096");
    desc = env_desc_of(fields), desc.about.format = FERRY_JSON, desc.about.data = "{}", desc.about.size_bytes = FERRY__MAX_ABOUT + 1;
    refused_env(&desc, FERRY_ESPEC, "about has");
    desc = env_desc_of(fields), desc.blob_format = FERRY_TEXT;
    refused_env(&desc, FERRY_ESPEC, "blob_format");
    desc = env_desc_of(fields), desc.blob_bytes = FERRY_MAX_BLOB + 1;
    refused_env(&desc, FERRY_ETOOBIG, "blob_bytes");
    desc = env_desc_of(fields), desc.realtime = 1, desc.num_rows = 2;
    refused_env(&desc, FERRY_ESPEC, "has one row");
    desc = env_desc_of(fields), desc.num_rows = FERRY_MAX_ROWS, fields[OBSERVATION].shape[0] = 1u << 30;
    refused_env(&desc, FERRY_ETOOBIG, "65536 rows");
    desc = env_desc_of(fields), fields[OBSERVATION].shape[0] = 1u << 30, fields[OBSERVATION].capacity = 1u << 30;
    refused_env(&desc, FERRY_ETOOBIG, "is larger");
    desc = env_desc_of(fields), desc.max_bytes = 1;
    refused_env(&desc, FERRY_ETOOBIG, "raise max_bytes");
    desc = env_desc_of(fields), fields[SCORE].kind = FERRY_OTHER, fields[SCORE].dtype = FERRY_DEFAULT;
    refused_env(&desc, FERRY_ESPEC, "FERRY_OTHER needs no field");
    desc = env_desc_of(fields), fields[ACTION].kind = FERRY_OTHER, desc.realtime = 1;
    refused_env(&desc, FERRY_ESPEC, "in real time actions have none");
}

static void refused_agent(const ferry_agent_desc *desc, int code, const char *part) {
    ferry_agent *agent = (ferry_agent *)(void *)&agent;
    ferry_why why;
    CHECK(ferry_agent_open(desc, &agent, &why) == code && agent == NULL && why.code == code);
    CHECK_CONTAINS(why.text, part);
}

static ferry_agent_desc agent_desc(void) {
    ferry_agent_desc desc;
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc, desc.address = "small", desc.log = drop_log;
    return desc;
}

static void test_agents_that_cannot_be_opened(void) {
    ferry_agent_desc desc = agent_desc();
    ferry_agent *caller;
    ferry_why why;
    char address[300];
    CHECK(ferry_agent_open(&desc, NULL, NULL) == FERRY_EINVAL);
    refused_agent(NULL, FERRY_EINVAL, "struct_size");
    desc.struct_size = 0;
    refused_agent(&desc, FERRY_EINVAL, "struct_size");
    desc = agent_desc(), desc.autoreset = FERRY_AUTORESET_SAME_STEP + 1;
    refused_agent(&desc, FERRY_EINVAL, "autoreset is 3");
    desc = agent_desc(), desc.realtime = 2;
    refused_agent(&desc, FERRY_EINVAL, "realtime");
    desc = agent_desc(), desc.realtime = 1, desc.autoreset = FERRY_AUTORESET_NEXT_STEP;
    refused_agent(&desc, FERRY_EINVAL, "realtime");
    memset(address, 'x', sizeof address), address[0] = '/', address[sizeof address - 1] = 0;
    desc = agent_desc(), desc.address = address;
    refused_agent(&desc, FERRY_EINVAL, "is too long");
    caller = open_agent("small", &why);
    CHECK(caller != NULL);
    desc = agent_desc(), desc.beside = caller;
    refused_agent(&desc, FERRY_EINVAL, "serves");
    desc.address = "serve:small";
    refused_agent(&desc, FERRY_EINVAL, "does not listen");
    ferry_agent_close(caller);
}

static void test_observers_that_cannot_be_opened(void) {
    static const char *const bad[] = {"serve:small", "fd:3", NULL, "no name"};
    ferry_observer_desc desc;
    ferry_observer *observer;
    ferry_why why;
    size_t i;
    memset(&desc, 0, sizeof desc);
    desc.address = "small";
    CHECK(ferry_observer_open(&desc, &observer, NULL) == FERRY_EINVAL && observer == NULL);
    CHECK(ferry_observer_open(NULL, &observer, &why) == FERRY_EINVAL && observer == NULL);
    desc.struct_size = sizeof desc;
    CHECK(ferry_observer_open(&desc, NULL, NULL) == FERRY_EINVAL);
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        desc.address = bad[i];
        CHECK(ferry_observer_open(&desc, &observer, &why) == FERRY_EINVAL && observer == NULL && why.code == FERRY_EINVAL);
        CHECK(strlen(why.text) > 10);
    }
}

static void test_nothing_is_closed_without_harm(void) {
    ferry_env_close(NULL);
    ferry_agent_close(NULL);
    ferry_observer_close(NULL);
    ferry_bell_close(NULL);
    ferry_release(NULL);
}

/* ---- Words ---- */

static void test_every_error_has_a_text(void) {
    int code;
    CHECK(strcmp(ferry_strerror(FERRY_OK), "no error") == 0);
    for (code = -1; code > FERRY__ERR_LAST; code--) CHECK(strlen(ferry_strerror(code)) > 5 && strncmp(ferry_strerror(code), "un", 2) != 0);
    CHECK(strcmp(ferry_strerror(FERRY__ERR_LAST), "unknown error") == 0 && strcmp(ferry_strerror(1), "unknown error") == 0);
    CHECK(ferry_version() == FERRY_VERSION);
    CHECK(ferry_dtype_bytes(FERRY_DEFAULT) == 0 && ferry_dtype_bytes(-1) == 0 && ferry_dtype_bytes(FERRY_F64 + 1) == 0);
}

static void test_the_clock_is_the_systems(void) {
    int64_t before = now_ns(), between = ferry_now_ns();
    CHECK(before <= between && between <= now_ns());
}

/* ---- Bounds of every type ---- */

/* What the agent is told of an action with these bounds. */
static void expect_bounds(ferry_field action, double low, double high) {
    ferry_field fields[NUM_FIELDS];
    ferry_env_desc desc = env_desc_of(fields);
    ferry_env *env;
    ferry_agent *agent;
    ferry_why why;
    const ferry_field *told;
    const ferry_turn *turn;
    int looks;
    action.role = FERRY_ACTION;
    fields[ACTION] = action;
    CHECK(ferry_env_open(&desc, &env, &why) == 0);
    agent = open_agent("small", &why);
    for (looks = 0; looks < 1000 && ferry_agent_connect(agent, SECOND / 1000) == 0; looks++) CHECK(ferry_env_wait(env, 0, &turn) == 0);
    CHECK(ferry_agent_connect(agent, 0) == 1);
    told = &ferry_agent_env(agent)->fields[ACTION];
    CHECK(told->dtype == action.dtype && told->low == low && told->high == high);
    CHECK(told->n == action.n && told->start == action.start);
    ferry_agent_close(agent);
    ferry_env_close(env);
}

static void test_bounds_of_every_type_arrive(void) {
    static const struct {
        uint8_t dtype;
        double low, high;
    } ranges[] = {{FERRY_BOOL, 0, 1},      {FERRY_I8, -128, 127},    {FERRY_U8, 1, 255},           {FERRY_I16, -32768, 32767},
                  {FERRY_U16, 1, 65535},   {FERRY_I32, -5, 1 << 30}, {FERRY_U32, 1, 4294967295.0}, {FERRY_I64, -1e15, 1e15},
                  {FERRY_U64, 1, 9.25e18}, {FERRY_F32, -0.5, 2},     {FERRY_F64, -1e300, 1e300}};
    ferry_field field;
    size_t i;
    for (i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        memset(&field, 0, sizeof field);
        field.dtype = ranges[i].dtype, field.low = ranges[i].low, field.high = ranges[i].high;
        expect_bounds(field, field.low, field.high);
        if (ranges[i].dtype == FERRY_BOOL || ranges[i].dtype >= FERRY_F16) continue;
        memset(&field, 0, sizeof field);
        field.kind = FERRY_DISCRETE, field.dtype = ranges[i].dtype, field.n = 100, field.start = 20;
        expect_bounds(field, 20, 119);
    }
}

/* ---- States ---- */

static void test_calls_that_are_not_possible_now(void) {
    ferry_why why;
    ferry_env *env = open_small_env("small", &why);
    ferry_agent *agent = open_agent("small", &why);
    const ferry_turn *turn;
    ferry_turn *request;
    ferry_blob blob;
    int looks;
    memset(&blob, 0, sizeof blob);
    CHECK(ferry_env_reply(env) == FERRY_ESTATE && ferry_env_fail(env, "x") == FERRY_ESTATE && ferry_env_blob(env, &blob) == FERRY_ESTATE);
    ferry_env_why(env, &why);
    CHECK(why.code == FERRY_ESTATE);
    CHECK(ferry_env_wait(env, 0, &turn) == 0);
    ferry_env_why(env, &why);
    CHECK(why.code == 0);
    CHECK_CONTAINS(why.text, "no agent has connected");
    CHECK(ferry_agent_hold(agent) == NULL && ferry_agent_env(agent) == NULL);
    for (looks = 0; looks < 1000 && ferry_agent_connect(agent, SECOND / 1000) == 0; looks++) CHECK(ferry_env_wait(env, 0, &turn) == 0);
    CHECK(ferry_agent_connect(agent, 0) == 1);
    CHECK(ferry_env_wait(env, 0, &turn) == 0);
    ferry_env_why(env, &why);
    CHECK_CONTAINS(why.text, "has the word after turn 0");
    request = ferry_agent_turn(agent);
    request->kind = FERRY_RESET, request->blob.format = FERRY_JSON, request->blob.data = "{}",
    request->blob.size_bytes = FERRY_MAX_BLOB + 1;
    CHECK(ferry_agent_send(agent) == FERRY_ETOOBIG);
    request->blob.format = FERRY_VALUES + 1, request->blob.size_bytes = 2;
    CHECK(ferry_agent_send(agent) == FERRY_EINVAL);
    request->blob.format = FERRY_JSON, request->blob.data = NULL;
    CHECK(ferry_agent_send(agent) == FERRY_EINVAL);
    ferry_agent_why(agent, &why);
    CHECK(why.code == FERRY_EINVAL);
    CHECK_CONTAINS(why.text, "needs data");
    request->blob.size_bytes = 0;
    CHECK(ferry_agent_send(agent) == 0);
    CHECK(ferry_env_wait(env, SECOND, &turn) == 1 && turn->kind == FERRY_RESET && turn->blob.size_bytes == 0);
    CHECK(ferry_env_wait(env, 1, &turn) == FERRY_ESTATE);
    ferry_env_why(env, &why);
    CHECK_CONTAINS(why.text, "turn 1 is unanswered");
    CHECK(ferry_env_wait(env, 0, &turn) == 0);
    ferry_env_why(env, &why);
    CHECK_CONTAINS(why.text, "waits for the answer to turn 1");
    blob.format = FERRY_VALUES + 1;
    CHECK(ferry_env_blob(env, &blob) == FERRY_EINVAL);
    blob.format = FERRY_JSON, blob.size_bytes = 1;
    CHECK(ferry_env_blob(env, &blob) == FERRY_EINVAL);
    blob.data = "", blob.size_bytes = FERRY_MAX_BLOB + 1;
    CHECK(ferry_env_blob(env, &blob) == FERRY_ETOOBIG);
    blob.data = "{}", blob.size_bytes = 2;
    CHECK(ferry_env_blob(env, &blob) == 0 && ferry_env_reply(env) == 0 && ferry_env_reply(env) == FERRY_ESTATE);
    CHECK(take_answer(agent)->blob.size_bytes == 2);
    ferry_agent_close(agent);
    ferry_env_close(env);
}

/* The agent listens: an observer can see nothing there, whether or not somebody plays. */
static void test_nobody_observes_where_an_agent_listens(void) {
    ferry_why why;
    ferry_env *env = open_small_env("connect:door", &why);
    ferry_agent *agent = open_agent("serve:door", &why);
    ferry_observer_desc desc;
    ferry_observer *observer;
    const ferry_snapshot *snapshot;
    const ferry_turn *turn;
    int looks, got = 0;
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc, desc.address = "door", desc.log = drop_log;
    for (looks = 0; looks < 1000 && ferry_agent_connect(agent, SECOND / 1000) == 0; looks++) CHECK(ferry_env_wait(env, 0, &turn) == 0);
    ferry_agent_turn(agent)->kind = FERRY_RESET;
    CHECK(ferry_agent_send(agent) == 0);
    CHECK(ferry_observer_open(&desc, &observer, &why) == 0);
    for (looks = 0; looks < 1000 && got == 0; looks++) {
        got = ferry_observer_snapshot(observer, 0, &snapshot);
        CHECK(ferry_agent_wait(agent, SECOND / 100, &turn) == 0); /* it answers the door meanwhile */
    }
    CHECK(got == FERRY_EUNSUPPORTED);
    ferry_observer_why(observer, &why);
    CHECK_CONTAINS(why.text, "an agent listens");
    ferry_observer_close(observer);
    ferry_agent_close(agent);
    ferry_env_close(env);
}

static void test_a_look_at_many_does_not_wait(void) {
    ferry_agent_desc desc = agent_desc();
    ferry_env *env;
    ferry_bell *bell;
    ferry_agent *agent;
    ferry_why why;
    const ferry_turn *turn;
    uint8_t ready = 9;
    int looks;
    CHECK(ferry_bell_open(&bell, &why) == 0);
    env = open_small_env("small", &why);
    desc.bell = bell;
    CHECK(ferry_agent_open(&desc, &agent, &why) == 0);
    for (looks = 0; looks < 1000 && ferry_agent_connect(agent, SECOND / 1000) == 0; looks++) CHECK(ferry_env_wait(env, 0, &turn) == 0);
    ferry_agent_turn(agent)->kind = FERRY_RESET;
    CHECK(ferry_agent_send(agent) == 0);
    CHECK(ferry_agent_wait_any(bell, &agent, 1, 1, 0, &ready) == 0 && ready == 0);
    CHECK(ferry_env_wait(env, SECOND, &turn) == 1);
    play_small_turn(env, turn);
    CHECK(ferry_agent_wait_any(bell, &agent, 1, 0, 0, &ready) == 1 && ready == 1);
    CHECK(take_answer(agent)->kind == FERRY_RESET);
    ferry_env_close(env);
    CHECK(ferry_agent_wait_any(bell, &agent, 1, 1, SECOND, &ready) == 1); /* nothing is owed */
    ferry_agent_close(agent);
    ferry_bell_close(bell);
}

/* ---- After a fork ---- */

/* In the child, whose handles they are not. */
static int use_all(void *argument) {
    void **handles = (void **)argument;
    ferry_env *env = (ferry_env *)handles[0];
    ferry_agent *agent = (ferry_agent *)handles[1];
    ferry_observer *observer = (ferry_observer *)handles[2];
    ferry_bell *bell = (ferry_bell *)handles[3];
    const ferry_snapshot *snapshot;
    const ferry_turn *turn;
    ferry_agent_desc desc = agent_desc();
    ferry_blob blob;
    ferry_why why;
    uint8_t ready;
    memset(&blob, 0, sizeof blob);
    CHECK(ferry_env_wait(env, 0, &turn) == FERRY_EFORKED && ferry_env_reply(env) == FERRY_EFORKED);
    CHECK(ferry_env_fail(env, "x") == FERRY_EFORKED && ferry_env_blob(env, &blob) == FERRY_EFORKED);
    ferry_env_why(env, &why);
    CHECK(why.code == FERRY_EFORKED);
    CHECK_CONTAINS(why.text, "after the fork");
    CHECK(ferry_observer_snapshot(observer, 0, &snapshot) == FERRY_EFORKED);
    ferry_observer_why(observer, &why);
    CHECK(why.code == FERRY_EFORKED);
    CHECK(ferry_agent_wait_any(bell, &agent, 1, 1, 0, &ready) == FERRY_EFORKED);
    desc.address = "serve:door", desc.beside = agent;
    refused_agent(&desc, FERRY_EFORKED, "parent process");
    ferry_observer_close(observer);
    ferry_agent_close(agent);
    ferry_env_close(env);
    ferry_bell_close(bell);
    return 0;
}

static void test_a_forked_child_has_no_handles(void) {
    ferry_agent_desc desc = agent_desc();
    ferry_observer_desc observer_desc;
    ferry_env *env;
    ferry_bell *bell;
    ferry_agent *agent;
    ferry_observer *observer;
    ferry_why why;
    void *handles[4];
    uint8_t ready;
    env = open_small_env("small", &why);
    CHECK(ferry_bell_open(&bell, NULL) == 0);
    desc.address = "serve:door", desc.bell = bell;
    CHECK(ferry_agent_open(&desc, &agent, &why) == 0);
    memset(&observer_desc, 0, sizeof observer_desc);
    observer_desc.struct_size = sizeof observer_desc, observer_desc.address = "small";
    CHECK(ferry_observer_open(&observer_desc, &observer, &why) == 0);
    handles[0] = env, handles[1] = agent, handles[2] = observer, handles[3] = bell;
    CHECK(end_child(start_child(use_all, handles)) == 0);
    CHECK(open_small_env("small", &why) == NULL && why.code == FERRY_EINUSE); /* the child gave up nothing */
    CHECK(ferry_agent_wait_any(NULL, &agent, 1, 1, 0, &ready) == FERRY_EINVAL);
    CHECK(ferry_agent_wait_any(bell, &agent, 0, 1, 0, &ready) == 0);
    CHECK(ferry_agent_wait_any(bell, &agent, 1, 7, 0, &ready) == 1 && ready == 1); /* nothing is owed, and more than all there are not */
    ferry_observer_close(observer);
    ferry_agent_close(agent);
    ferry_bell_close(bell);
    ferry_env_close(env);
}

/* ---- No descriptors ---- */

static void test_a_process_without_descriptors_is_told_so(void) {
    int agents = 1, room, got = 0, told = 0;
    pid_t server = start_child(serve_small, &agents);
    ferry_why why;
    ferry_agent *agent = open_agent("small", &why);
    struct rlimit before, scarce;
    int lowest = dup(0);
    CHECK(lowest > 0 && close(lowest) == 0 && getrlimit(RLIMIT_NOFILE, &before) == 0);
    for (room = 0; got != 1; room++) {
        scarce = before, scarce.rlim_cur = (rlim_t)(lowest + room);
        CHECK(room < 8 && setrlimit(RLIMIT_NOFILE, &scarce) == 0);
        got = ferry_agent_connect(agent, 10 * SECOND);
        CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
        if (got == 1) continue;
        ferry_agent_why(agent, &why);
        CHECK(got == FERRY_ESYSTEM && why.code == got);
        if (strstr(why.text, room == 0 ? "Too many open files" : "run out of descriptors") != NULL) told++;
    }
    CHECK(told >= 2 && told == room - 1);
    reset(agent, 3);
    ferry_agent_close(agent);
    CHECK(end_child(server) == 0);
}

/* ---- Ways to wait ---- */

static void test_every_way_to_wait(const char *how) {
    int agents = 1, i;
    ferry_why why;
    const ferry_turn *answer;
    pid_t server;
    ferry_agent *agent;
    CHECK(setenv("FERRY_WAIT", how, 1) == 0);
    server = start_child(serve_small, &agents);
    agent = open_agent("small", &why);
    CHECK(ferry_agent_connect(agent, 10 * SECOND) == 1);
    reset(agent, 4);
    for (i = 0; i < 200; i++) CHECK(((double *)step(agent, 11)->data[OBSERVATION])[1] == i + 1);
    CHECK(kill(server, SIGSTOP) == 0);
    ferry_agent_turn(agent)->kind = FERRY_RESET;
    CHECK(ferry_agent_send(agent) == 0);
    CHECK(ferry_agent_wait(agent, SECOND / 20, &answer) == 0); /* more than a slice, so that it has looked around */
    ferry_agent_why(agent, &why);
    CHECK_CONTAINS(why.text, "has held the turn");
    CHECK(kill(server, SIGCONT) == 0);
    CHECK(take_answer(agent)->kind == FERRY_RESET);
    ferry_agent_close(agent);
    CHECK(end_child(server) == 0);
    unsetenv("FERRY_WAIT");
}

int main(void) {
    char directory[64];
    begin_test(60, directory);
    test_environments_that_cannot_be_opened();
    test_agents_that_cannot_be_opened();
    test_observers_that_cannot_be_opened();
    test_nothing_is_closed_without_harm();
    test_every_error_has_a_text();
    test_the_clock_is_the_systems();
    test_bounds_of_every_type_arrive();
    test_calls_that_are_not_possible_now();
    test_nobody_observes_where_an_agent_listens();
    test_a_look_at_many_does_not_wait();
    if (pages_are_wiped_on_fork()) test_a_forked_child_has_no_handles();
    else printf("      left out: handles on fork; this system wipes no pages on fork\n");
    test_a_process_without_descriptors_is_told_so();
    test_every_way_to_wait("adaptive");
    test_every_way_to_wait("block");
    test_every_way_to_wait("spin");
    end_test(directory);
    return 0;
}
