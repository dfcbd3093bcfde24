/* Every fault at every place. A short whole game of both sides and an observer, in one thread and a time of its own, is played again and
 * again, and each time the next call of the platform, of the system below it, or for memory is struck. Whatever that is: nobody crashes
 * or waits for ever, an error has a code and a text, what was seen is what was played, the same handles get to the end of a game
 * afterwards, and when they are closed everything has been given back. */
#include "check.h"
#include "fake_platform.h"

#define MILLISECOND (SECOND / 1000)
#define PATIENCE_NS (20 * MILLISECOND) /* of each call that waits; the game has ways to go on after it */
#define LOOKS 1000                     /* so many of them: whoever has not come by then does not come */
#define ATTEMPTS 8                     /* to play a game to its end, the fault in the first */
#define BIG_BYTES 20000                /* a blob for which a slot has no room */
#ifndef STRIDE
#define STRIDE 1 /* of so many calls one is struck: under an emulator not each */
#endif
#define SEED 5

enum { PLAIN = 10, LONG_INFO = 11, BREAKS = 12 }; /* actions: what the environment does with them besides */

typedef struct setting {
    const char *name, *env_address, *agent_address;
    uint32_t num_rows, autoreset, realtime;
    int bell, observer;
} setting;

static const setting settings[] = {
    {"an environment listens", "play", "play", 1, FERRY_AUTORESET_DISABLED, 0, 0, 1},
    {"an agent listens", "connect:play#3", "serve:play", 1, FERRY_AUTORESET_DISABLED, 0, 1, 0},
    {"a pair of sockets", NULL, NULL, 1, FERRY_AUTORESET_DISABLED, 0, 0, 0},
    {"rows, reset in the next step", "play", "play", 3, FERRY_AUTORESET_NEXT_STEP, 0, 1, 1},
    {"rows, reset in the same step", "play", "play", 3, FERRY_AUTORESET_SAME_STEP, 0, 0, 0},
    {"real time", "play", "play", 1, FERRY_AUTORESET_DISABLED, 1, 0, 1},
};

typedef struct players {
    const setting *how;
    ferry_env *env;
    ferry_bell *bell;
    ferry_agent *agent;
    ferry_observer *observer;
    int ends[2]; /* of a pair of sockets, each to be taken over by the side that uses it */
    double steps[3], seed; /* the environment's */
} players;

static const char *where = "";
static ferry_why said; /* by the last error */

#define EXPECT(condition)                                                                                                                  \
    do {                                                                                                                                   \
        if (!(condition)) unexpected(__LINE__, #condition);                                                                                \
    } while (0)

static void unexpected(int line, const char *condition) {
    fprintf(stderr, "%s:%d: failed: %s; %s, fault %d (errno %d) %d times from call %d on: %s; the last error said: %s\n", __FILE__, line,
            condition, where, (int)fake.fault, fake.error, (int)fake.times, (int)fake.at, fake.struck != NULL ? fake.struck : "not struck",
            said.text);
    exit(1);
}

static void check_log(void *user, int level, const char *text) {
    (void)user, (void)level;
    EXPECT(strlen(text) > 10);
}

/* An error has its reason, and there is none without a fault. */
static void expect_reason(int code, const ferry_why *why) {
    said = *why;
    EXPECT(fake.struck != NULL);
    EXPECT(code < 0 && why->code == code && strlen(why->text) > 10);
    EXPECT(strstr(fake.struck, "lloc") == NULL || code == FERRY_ENOMEM || fake.times > 1);
}

static void expect_env_reason(const players *p, int code) {
    ferry_why why;
    ferry_env_why(p->env, &why);
    expect_reason(code, &why);
}

static void expect_agent_reason(const players *p, int code) {
    ferry_why why;
    ferry_agent_why(p->agent, &why);
    expect_reason(code, &why);
}

/* ---- Opening and closing ---- */

static int open_env(players *p, const char *address) {
    ferry_field fields[NUM_FIELDS];
    ferry_env_desc desc;
    ferry_why why;
    int err;
    small_fields(fields);
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc, desc.address = address, desc.name = "small", desc.fields = fields, desc.num_fields = NUM_FIELDS;
    desc.about.data = "{\"metadata\": {}}", desc.about.size_bytes = 16, desc.about.format = FERRY_JSON;
    desc.num_rows = p->how->num_rows, desc.realtime = p->how->realtime, desc.takes_calls = 1, desc.log = check_log;
    err = ferry_env_open(&desc, &p->env, &why);
    if (err < 0) expect_reason(err, &why);
    EXPECT((err == 0) == (p->env != NULL));
    return err == 0;
}

static int open_player(players *p, const char *address) {
    ferry_agent_desc desc;
    ferry_why why;
    int err;
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc, desc.address = address, desc.autoreset = p->how->autoreset, desc.realtime = p->how->realtime;
    desc.bell = p->bell, desc.log = check_log;
    err = ferry_agent_open(&desc, &p->agent, &why);
    if (err < 0) expect_reason(err, &why);
    EXPECT((err == 0) == (p->agent != NULL));
    return err == 0;
}

static int open_onlooker(players *p, const char *address) {
    ferry_observer_desc desc;
    ferry_why why;
    int err;
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc, desc.address = address, desc.log = check_log;
    err = ferry_observer_open(&desc, &p->observer, &why);
    if (err < 0) expect_reason(err, &why);
    EXPECT((err == 0) == (p->observer != NULL));
    return err == 0;
}

/* Opens what is not open: 1, 0 if something cannot be. */
static int open_all(players *p) {
    char env_address[16], agent_address[16];
    ferry_why why;
    int err;
    if (p->how->bell && p->bell == NULL && (err = ferry_bell_open(&p->bell, &why)) < 0) {
        expect_reason(err, &why);
        return 0;
    }
    if (p->how->env_address != NULL)
        return (p->env != NULL || open_env(p, p->how->env_address)) && (p->agent != NULL || open_player(p, p->how->agent_address)) &&
               (!p->how->observer || p->observer != NULL || open_onlooker(p, p->how->env_address));
    if (p->env == NULL && p->agent == NULL) CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p->ends) == 0);
    snprintf(env_address, sizeof env_address, "fd:%d", p->ends[0]), snprintf(agent_address, sizeof agent_address, "fd:%d", p->ends[1]);
    return (p->env != NULL || open_env(p, env_address)) && (p->agent != NULL || open_player(p, agent_address));
}

static void close_all(players *p) {
    ferry_observer_close(p->observer);
    ferry_agent_close(p->agent);
    ferry_env_close(p->env);
    ferry_bell_close(p->bell);
    p->observer = NULL, p->agent = NULL, p->env = NULL, p->bell = NULL;
    if (p->how->env_address == NULL) close(p->ends[0]), close(p->ends[1]); /* as far as they were not */
}

/* ---- The environment ---- */

static void write_observations(players *p, const ferry_turn *turn) {
    uint32_t i;
    for (i = 0; i < turn->num_rows; i++) {
        uint32_t row = turn->rows[i];
        double *observation = (double *)turn->data[OBSERVATION] + 3 * row, action = -1;
        if (turn->kind == FERRY_STEP) action = (double)((const int64_t *)turn->data[ACTION])[row], p->steps[row]++;
        else p->steps[row] = 0, p->seed = turn->seed[row] >= 0 ? (double)turn->seed[row] : p->seed;
        observation[0] = p->seed, observation[1] = p->steps[row], observation[2] = action;
        turn->reward[row] = p->steps[row];
        turn->terminated[row] = p->steps[row] >= 2 + row && p->how->num_rows > 1;
        if (turn->kind == FERRY_STEP) ((float *)turn->data[SCORE])[row] = (float)action, turn->present[SCORE][row] = 1;
    }
}

/* Does what there is to do: 0, or the error of an environment that has lost the one agent that it could have. */
static int tend(players *p, int64_t timeout_ns) {
    static char big[BIG_BYTES];
    const ferry_turn *turn;
    ferry_blob blob = {"{\"said\": 1}", 11, FERRY_JSON, 0};
    int err = ferry_env_wait(p->env, timeout_ns, &turn), breaks = 0;
    if (err < 0) expect_env_reason(p, err);
    if (err <= 0 || turn->kind == FERRY_LEFT) return p->how->env_address == NULL ? err : 0;
    if (turn->kind == FERRY_CALL) blob = turn->blob;
    else write_observations(p, turn);
    if (turn->kind == FERRY_STEP) {
        int64_t action = ((const int64_t *)turn->data[ACTION])[turn->rows[0]];
        breaks = action == BREAKS;
        memset(big, ' ', sizeof big);
        memcpy(big, "{}", 2);
        if (action == LONG_INFO && !p->how->realtime) blob.data = big, blob.size_bytes = sizeof big;
        if (action == PLAIN) blob.format = FERRY_NONE;
    }
    err = breaks ? 0 : ferry_env_blob(p->env, &blob);
    if (err < 0) expect_env_reason(p, err);
    if (breaks || err < 0) {
        EXPECT(ferry_env_fail(p->env, "it broke") == 0);
        return 0;
    }
    err = ferry_env_reply(p->env);
    if (err < 0) expect_env_reason(p, err);
    return 0;
}

/* ---- The agent ---- */

static int meet(players *p) {
    int looks, got = 0;
    for (looks = 0; looks < LOOKS && got == 0; looks++) {
        if (tend(p, looks % 2 * PATIENCE_NS) < 0) return 0;
        got = ferry_agent_connect(p->agent, looks % 2 * PATIENCE_NS);
    }
    if (got < 0) expect_agent_reason(p, got);
    EXPECT(got != 0); /* within a time in which whoever is silent is sent away */
    return got > 0;
}

/* Waits as a program with a bell does, or one without. */
static int wait_for_answer(players *p, int64_t timeout_ns, const ferry_turn **out) {
    uint8_t ready;
    if (p->bell != NULL && ferry_agent_wait_any(p->bell, &p->agent, 1, 1, timeout_ns, &ready) == 0) {
        *out = NULL;
        return 0;
    }
    return ferry_agent_wait(p->agent, p->bell != NULL ? 0 : timeout_ns, out);
}

/* Sends the turn and waits for its answer, or a frame: 1, 0 if there will be none. */
static int ask(players *p, const ferry_turn **answer) {
    int looks, got = ferry_agent_send(p->agent);
    *answer = NULL;
    for (looks = 0; looks < LOOKS && got == 0; looks++) {
        if (tend(p, looks % 2 * MILLISECOND) < 0) return 0;
        got = wait_for_answer(p, PATIENCE_NS, answer);
    }
    if (got < 0) expect_agent_reason(p, got);
    EXPECT(got != 0);
    return got > 0;
}

static int reset_all(players *p) {
    const ferry_turn *answer;
    ferry_turn *turn = ferry_agent_turn(p->agent);
    uint32_t row;
    if (turn == NULL) return 0;
    turn->kind = FERRY_RESET;
    for (row = 0; row < p->how->num_rows; row++) turn->seed[row] = SEED;
    turn->blob.data = "{}", turn->blob.size_bytes = 2, turn->blob.format = FERRY_JSON;
    if (!ask(p, &answer)) return 0;
    EXPECT(answer->kind == FERRY_RESET);
    for (row = 0; row < p->how->num_rows && answer->status[row] == FERRY_ROW_OK; row++) {
        const double *observation = (const double *)answer->data[OBSERVATION] + 3 * row;
        EXPECT(observation[0] == SEED && observation[1] == 0 && observation[2] == -1);
    }
    EXPECT(row == p->how->num_rows || fake.struck != NULL);
    return row == p->how->num_rows;
}

static int step_all(players *p, int64_t action) {
    const ferry_turn *answer;
    ferry_turn *turn = ferry_agent_turn(p->agent);
    uint32_t row;
    if (turn == NULL) return 0;
    turn->kind = FERRY_STEP;
    for (row = 0; row < p->how->num_rows; row++) ((int64_t *)turn->data[ACTION])[row] = action;
    if (!ask(p, &answer)) return 0;
    EXPECT(answer->kind == FERRY_STEP);
    if (answer->status[0] != FERRY_ROW_OK) {
        EXPECT(answer->blob.format == FERRY_TEXT && answer->blob.size_bytes > 0 && (action == BREAKS || fake.struck != NULL));
        return action == BREAKS;
    }
    EXPECT(action != BREAKS || p->how->realtime);
    for (row = 0; row < p->how->num_rows; row++) {
        const double *observation = (const double *)answer->data[OBSERVATION] + 3 * row;
        EXPECT(observation[0] == SEED && (observation[2] == (double)action || observation[1] == 0 || p->how->realtime));
        EXPECT(observation[1] == 0 || answer->present[SCORE][row] == 0 || p->how->num_rows > 1 ||
               ((const float *)answer->data[SCORE])[row] == (float)observation[2]);
    }
    if (action == LONG_INFO && !p->how->realtime) EXPECT(answer->blob.size_bytes >= BIG_BYTES || answer->step_blob.size_bytes >= BIG_BYTES);
    return 1;
}

static int call(players *p, uint64_t bytes) {
    static char request[BIG_BYTES];
    const ferry_turn *answer;
    ferry_turn *turn = ferry_agent_turn(p->agent);
    if (turn == NULL) return 0;
    memset(request, 'x', sizeof request);
    turn->kind = FERRY_CALL;
    turn->blob.data = request, turn->blob.size_bytes = bytes, turn->blob.format = FERRY_JSON;
    if (!ask(p, &answer)) return 0;
    EXPECT(answer->kind == FERRY_CALL && (answer->status[0] == FERRY_ROW_OK || fake.struck != NULL));
    if (answer->status[0] != FERRY_ROW_OK) return 0;
    EXPECT(answer->blob.size_bytes == bytes && memcmp(answer->blob.data, request, bytes) == 0);
    return 1;
}

/* ---- The observer ---- */

static int look_on(players *p) {
    const ferry_snapshot *snapshot;
    int looks, got = 0;
    for (looks = 0; looks < LOOKS && (got == 0 || got == FERRY_ECLOSED); looks++) { /* the agent of the round before has left */
        (void)tend(p, PATIENCE_NS);
        got = ferry_observer_snapshot(p->observer, PATIENCE_NS, &snapshot);
    }
    if (got < 0) {
        ferry_why why;
        ferry_observer_why(p->observer, &why);
        expect_reason(got, &why);
    }
    EXPECT(got == 1 || fake.struck != NULL); /* then it may be the game that is over */
    if (got != 1) return 0;
    EXPECT(((const double *)snapshot->turn->data[OBSERVATION])[0] == SEED);
    return 1;
}

/* ---- The game ---- */

/* From the beginning, with the handles that there are: 1 if it came to its end. */
static int attempt(players *p) {
    int round;
    if (!open_all(p)) return 0;
    for (round = 0; round < 2; round++) {
        if (!meet(p) || !reset_all(p) || !step_all(p, PLAIN) || !call(p, 10) || !call(p, BIG_BYTES) || !step_all(p, LONG_INFO)) return 0;
        if (p->observer != NULL && !look_on(p)) return 0;
        if (!step_all(p, PLAIN + 3) || !step_all(p, PLAIN) || !step_all(p, BREAKS) || !reset_all(p) || !step_all(p, PLAIN)) return 0;
        if (p->how->env_address == NULL) return 1; /* a pair has no second agent */
        ferry_agent_close(p->agent);
        p->agent = NULL;
        if (round == 0 && !open_player(p, p->how->agent_address)) return 0;
    }
    return 1;
}

static void play(const setting *how) {
    players p;
    const int descriptors = count_descriptors();
    int attempts;
    memset(&p, 0, sizeof p);
    p.how = how;
    where = how->name;
    fake.calls = 0, fake.struck = NULL, fake.blocks = fake.mappings = 0;
    for (attempts = 0; !attempt(&p); attempts++) {
        EXPECT(fake.struck != NULL && attempts < ATTEMPTS);
        if (how->env_address == NULL) close_all(&p);
    }
    close_all(&p);
    EXPECT(fake.blocks == 0 && fake.mappings == 0);
    EXPECT(count_descriptors() == descriptors);
}

/* Plays games until each call that the fault can strike has been, so many in each. */
static void play_with(const char *name, fake_fault fault, int error, uint64_t times) {
    uint64_t games = 0;
    size_t i;
    fake.fault = fault, fake.error = error, fake.times = times;
    for (i = 0; i < sizeof settings / sizeof *settings; i++) {
        fake.at = 1;
        do play(&settings[i]), games++;
        while (fake.struck != NULL && (fake.at += STRIDE * times) > 0);
    }
    fake.fault = FAKE_NONE;
    printf("      %-40s %5d games\n", name, (int)games);
}

int main(void) {
    char directory[64];
    begin_test(100, directory);
    fake.own_time = 1, fake.time_ns = SECOND;
    play_with("nothing fails", FAKE_NONE, 0, 1);
    play_with("the system has no memory", FAKE_SYSTEM, ENOMEM, 1);
    fake.memory_available = (uint64_t)1 << 30; /* what is free is looked up in many files, which have failed now */
    play_with("the system has no descriptors, five times", FAKE_SYSTEM, EMFILE, 5);
    play_with("the system is interrupted", FAKE_SYSTEM, EINTR, 1);
    play_with("a call of the platform, or for memory", FAKE_FAILS, 0, 1);
    play_with("four of them in a row", FAKE_FAILS, 0, 4);
    play_with("a call returns early", FAKE_EARLY, 0, 1);
    play_with("an hour passes", FAKE_LATE, 0, 1);
    play_with("half a message", FAKE_HALF, 0, 1);
    play_with("a descriptor is lost on its way", FAKE_LOST, 0, 1);
    end_test(directory);
    return 0;
}
