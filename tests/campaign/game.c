#include "game.h"

#include <time.h>

enum { SEEN, DONE, NUM_GAME_FIELDS };
enum { SEEN_NUMBERS = 64, DONE_NUMBERS = 8, GAME_ROW_COUNT = 3, INLINE_BYTES = 1024, LARGE_BYTES = 50000, PATIENCE_S = 20 };

/* Every number of a message follows from a token that was drawn for it, so that no part of another message can pass for a part of it. */
static int64_t mixed(int64_t token, int64_t place) {
    uint64_t x = (uint64_t)token * UINT64_C(0x9E3779B97F4A7C15) + (uint64_t)place;
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return (int64_t)((x ^ (x >> 31)) >> 1);
}

static int64_t drawn(void) {
    static int64_t state;
    if (state == 0) state = now_ns() ^ ((int64_t)getpid() << 40);
    return state = mixed(state, 1);
}

static void beat(board *told) { __atomic_add_fetch(&told->pulse, 1, __ATOMIC_RELAXED); }

static int stopped(const board *told) { return __atomic_load_n(&told->stop, __ATOMIC_ACQUIRE) != 0; }

static void tell_ending(board *told, uint32_t pid, int reason) {
    ending *next = &told->ending[told->endings % KEPT_ENDINGS];
    next->pid = pid, next->reason = reason, next->at_ns = now_ns();
    __atomic_add_fetch(&told->endings, 1, __ATOMIC_RELEASE);
}

static void ignore_log(void *user, int level, const char *text) { (void)user, (void)level, (void)text; }

/* ---- Values ---- */

static void write_numbers(void *at, int count, int64_t token, int64_t step) {
    int64_t *numbers = (int64_t *)at;
    int i;
    numbers[0] = token, numbers[1] = step;
    for (i = 2; i < count; i++) numbers[i] = mixed(token ^ step, i);
}

static void check_numbers(const void *at, int count, int64_t token, int64_t step) {
    const int64_t *numbers = (const int64_t *)at;
    int i;
    CHECK(numbers[0] == token);
    CHECK(numbers[1] == step);
    for (i = 2; i < count; i++) CHECK(numbers[i] == mixed(token ^ step, i));
}

/* Fills bytes, which blob then names: MessagePack's binary. */
static void write_blob(ferry_blob *blob, char *bytes, uint32_t size, int64_t token) {
    uint32_t i;
    bytes[0] = (char)0xC6;
    for (i = 0; i < 4; i++) bytes[1 + i] = (char)((size - 5) >> (24 - 8 * i));
    memcpy(bytes + 5, &token, sizeof token);
    for (i = 5 + sizeof token; i < size; i++) bytes[i] = (char)mixed(token, i);
    memset(blob, 0, sizeof *blob);
    blob->data = bytes, blob->size_bytes = size, blob->format = FERRY_MSGPACK;
}

/* The token of a blob that is whole. */
static int64_t check_blob(const ferry_blob *blob) {
    const char *bytes = (const char *)blob->data;
    int64_t token;
    uint32_t i;
    CHECK(blob->format == FERRY_MSGPACK && blob->size_bytes >= 5 + sizeof token);
    memcpy(&token, bytes + 5, sizeof token);
    for (i = 5 + sizeof token; i < blob->size_bytes; i++) CHECK(bytes[i] == (char)mixed(token, i));
    return token;
}

static void *row_of(const ferry_turn *turn, int field, uint32_t row) { return (char *)turn->data[field] + turn->stride[field] * row; }

/* Rows end at different steps; one alone goes on. */
static int64_t last_step(game_mode mode, uint32_t row) { return mode == GAME_ROWS ? 2 + (int64_t)row : 1000000; }

/* ---- The environment's side ---- */

typedef struct world {
    int64_t token[GAME_ROW_COUNT], step[GAME_ROW_COUNT];
    char bytes[LARGE_BYTES];
} world;

static ferry_env *open_game(const player *me) {
    ferry_field fields[NUM_GAME_FIELDS];
    ferry_env_desc desc;
    ferry_why why;
    ferry_env *env;
    memset(fields, 0, sizeof fields), memset(&desc, 0, sizeof desc);
    fields[SEEN].role = FERRY_OBSERVATION, fields[SEEN].dtype = FERRY_I64, fields[SEEN].ndim = 1, fields[SEEN].shape[0] = SEEN_NUMBERS;
    fields[DONE].role = FERRY_ACTION, fields[DONE].dtype = FERRY_I64, fields[DONE].ndim = 1, fields[DONE].shape[0] = DONE_NUMBERS;
    desc.struct_size = sizeof desc, desc.address = me->address, desc.fields = fields, desc.num_fields = NUM_GAME_FIELDS;
    desc.num_rows = me->mode == GAME_ROWS ? GAME_ROW_COUNT : 1, desc.blob_format = FERRY_MSGPACK, desc.blob_bytes = INLINE_BYTES;
    desc.takes_calls = 1, desc.log = ignore_log, desc.realtime = me->mode == GAME_FRAMES;
    if (ferry_env_open(&desc, &env, &why) < 0) fprintf(stderr, "the environment cannot open %s: %s\n", me->address, why.text), exit(1);
    return env;
}

/* Answers a row's RESET or STEP. */
static void answer_row(const player *me, world *held, const ferry_turn *turn, uint32_t row) {
    int is_frame = turn->frame != 0;
    if (turn->kind == FERRY_RESET) {
        int64_t seed = turn->seed[row];
        CHECK(turn->blob.format == FERRY_NONE || check_blob(&turn->blob) == turn->seed[0]);
        held->token[row] = seed >= 0 ? seed : mixed(held->token[row], 0), held->step[row] = 0;
    } else {
        const int64_t *done = (const int64_t *)row_of(turn, DONE, row);
        held->step[row] = is_frame ? (int64_t)turn->frame : held->step[row] + 1;
        if (!is_frame || turn->action_ns != 0) { /* else none has come in this episode */
            held->token[row] = done[0];
            check_numbers(done, DONE_NUMBERS, done[0], is_frame ? done[1] : held->step[row]);
        }
        turn->terminated[row] = held->step[row] == last_step(me->mode, row);
    }
    write_numbers(row_of(turn, SEEN, row), SEEN_NUMBERS, held->token[row], held->step[row]);
    turn->reward[row] = 1;
}

static void answer_game(const player *me, world *held, ferry_env *env, const ferry_turn *turn) {
    ferry_blob blob;
    uint32_t i;
    if (turn->kind == FERRY_CALL) {
        write_blob(&blob, held->bytes, (uint32_t)turn->blob.size_bytes, mixed(check_blob(&turn->blob), 0));
        CHECK(ferry_env_blob(env, &blob) == 0);
    } else
        for (i = 0; i < turn->num_rows; i++) answer_row(me, held, turn, turn->rows[i]);
    CHECK(ferry_env_reply(env) == 0);
}

int play_as_env(void *one) {
    const player *me = (const player *)one;
    static world held;
    ferry_env *env = open_game(me);
    uint32_t with = 0; /* whose end has not been told */
    int sessions = 0;
    while (!stopped(me->board) && (me->sessions == 0 || sessions < me->sessions)) {
        const ferry_turn *turn;
        int got = ferry_env_wait(env, me->mode == GAME_FRAMES ? SECOND / 2000 : me->slice_ns, &turn);
        beat(me->board);
        if (got <= 0) continue; /* an error here is an attempt to connect that failed: the next call makes another */
        alarm(PATIENCE_S);
        if (turn->kind == FERRY_LEFT) {
            CHECK(turn->reason == FERRY_ECLOSED || turn->reason == FERRY_EPEERDEAD);
            tell_ending(me->board, turn->peer_pid, turn->reason);
            with = 0;
            sessions += turn->number > 0;
        } else {
            if (turn->kind == FERRY_RESET) { /* in real time steps go on without an agent */
                CHECK(with == 0 || with == turn->peer_pid);
                with = turn->peer_pid;
            }
            answer_game(me, &held, env, turn);
            __atomic_add_fetch(&me->board->turns, 1, __ATOMIC_RELAXED);
        }
    }
    ferry_env_close(env);
    return 0;
}

/* ---- The agent's side ---- */

typedef struct hand {
    const player *me;
    ferry_agent *agent;
    int64_t token[GAME_ROW_COUNT], step[GAME_ROW_COUNT];
    uint64_t frame;
    char bytes[LARGE_BYTES];
} hand;

/* Until the answer is there: 1, or why there will be none. */
static int await(hand *held, const ferry_turn **out) {
    int got = 0;
    int64_t until = now_ns() + PATIENCE_S * SECOND;
    while (got == 0) {
        got = ferry_agent_wait(held->agent, held->me->slice_ns, out);
        beat(held->me->board);
        CHECK(got != 0 || now_ns() < until);
    }
    if (got > 0) __atomic_add_fetch(&held->me->board->turns, 1, __ATOMIC_RELAXED);
    return got;
}

static int ask(hand *held, const ferry_turn **out) {
    int sent = ferry_agent_send(held->agent);
    return sent < 0 ? sent : await(held, out);
}

/* 1, or why there is no environment any more. */
static int begin(hand *held, ferry_turn **out) {
    *out = ferry_agent_turn(held->agent);
    return *out != NULL ? 1 : FERRY_EPEERDEAD;
}

static int play_reset(hand *held, uint32_t blob_bytes) {
    ferry_turn *turn;
    const ferry_turn *answer;
    uint32_t row, rows;
    int got = begin(held, &turn);
    if (got < 0) return got;
    turn->kind = FERRY_RESET, rows = turn->num_rows;
    for (row = 0; row < rows; row++) turn->seed[row] = held->token[row] = drawn(), held->step[row] = 0;
    if (blob_bytes > 0) write_blob(&turn->blob, held->bytes, blob_bytes, held->token[0]);
    got = ask(held, &answer);
    if (got < 0) return got;
    CHECK(answer->kind == FERRY_RESET);
    for (row = 0; row < rows; row++) check_numbers(row_of(answer, SEEN, row), SEEN_NUMBERS, held->token[row], 0);
    held->frame = 0;
    return 1;
}

static int play_step(hand *held) {
    ferry_turn *turn;
    const ferry_turn *answer;
    uint32_t row, rows;
    int got = begin(held, &turn);
    if (got < 0) return got;
    turn->kind = FERRY_STEP, rows = turn->num_rows;
    for (row = 0; row < rows; row++) {
        held->token[row] = drawn(), held->step[row]++;
        write_numbers(row_of(turn, DONE, row), DONE_NUMBERS, held->token[row], held->step[row]);
    }
    got = ask(held, &answer);
    if (got < 0) return got;
    CHECK(answer->kind == FERRY_STEP);
    for (row = 0; row < rows; row++) {
        CHECK(answer->reward[row] == 1 && answer->terminated[row] == (held->step[row] == last_step(held->me->mode, row)));
        if (answer->terminated[row]) { /* it has been reset in the same turn */
            const char *final = (const char *)answer->final_data[SEEN] + answer->stride[SEEN] * row;
            check_numbers(final, SEEN_NUMBERS, held->token[row], held->step[row]);
            held->token[row] = mixed(held->token[row], 0), held->step[row] = 0;
        }
        check_numbers(row_of(answer, SEEN, row), SEEN_NUMBERS, held->token[row], held->step[row]);
    }
    return 1;
}

/* Sends an action and takes a frame, which may not know of it yet. */
static int play_frame(hand *held) {
    ferry_turn *turn;
    const ferry_turn *frame;
    const int64_t *seen;
    int got = begin(held, &turn);
    if (got < 0) return got;
    turn->kind = FERRY_STEP;
    write_numbers(turn->data[DONE], DONE_NUMBERS, drawn(), (int64_t)held->frame);
    got = ask(held, &frame);
    if (got < 0) return got;
    CHECK(frame->kind == FERRY_STEP && frame->frame > held->frame);
    CHECK(frame->reward[0] == (double)(frame->frame - held->frame)); /* of the frames that were passed over too */
    held->frame = frame->frame;
    seen = (const int64_t *)frame->data[SEEN];
    check_numbers(seen, SEEN_NUMBERS, seen[0], (int64_t)frame->frame);
    return 1;
}

static int play_call(hand *held, uint32_t blob_bytes) {
    ferry_turn *turn;
    const ferry_turn *answer;
    int64_t token = drawn();
    int got = begin(held, &turn);
    if (got < 0) return got;
    turn->kind = FERRY_CALL;
    write_blob(&turn->blob, held->bytes, blob_bytes, token);
    got = ask(held, &answer);
    if (got < 0) return got;
    CHECK(answer->kind == FERRY_CALL && answer->blob.size_bytes == blob_bytes && check_blob(&answer->blob) == mixed(token, 0));
    return 1;
}

/* All that a channel can do, once: 1, or why the environment is gone. */
static int play_game(hand *held) {
    int i, got = play_reset(held, 100);
    for (i = 0; i < held->me->steps && got > 0; i++) got = held->me->mode == GAME_FRAMES ? play_frame(held) : play_step(held);
    if (got > 0) got = play_call(held, 200);
    if (got > 0) got = play_call(held, LARGE_BYTES); /* larger than the region's room: it travels by descriptor, there and back */
    if (got > 0) got = play_reset(held, LARGE_BYTES);
    for (i = 0; i < 3 && got > 0; i++) got = held->me->mode == GAME_FRAMES ? play_frame(held) : play_step(held);
    if (got > 0) __atomic_add_fetch(&held->me->board->games, 1, __ATOMIC_RELEASE);
    return got;
}

static ferry_agent *open_hand(const player *me) {
    ferry_agent_desc desc;
    ferry_agent *agent;
    ferry_why why;
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc, desc.address = me->address, desc.log = ignore_log, desc.realtime = me->mode == GAME_FRAMES;
    desc.autoreset = me->mode == GAME_ROWS ? FERRY_AUTORESET_SAME_STEP : FERRY_AUTORESET_DISABLED;
    if (ferry_agent_open(&desc, &agent, &why) < 0) fprintf(stderr, "the agent cannot open %s: %s\n", me->address, why.text), exit(1);
    return agent;
}

/* Games in a handle of its own, until they are over or the environment is gone. */
static int play_session(hand *held) {
    int games, got = 0;
    held->agent = open_hand(held->me);
    while (got <= 0 && !stopped(held->me->board)) { /* errors: the environment is busy, or died as it shook hands; there may be another */
        got = ferry_agent_connect(held->agent, SECOND / 100);
        beat(held->me->board);
    }
    if (got > 0) {
        ferry_turn *turn = ferry_agent_turn(held->agent);
        uint32_t pid = turn != NULL ? turn->peer_pid : 0;
        for (games = 0; games < held->me->games && got > 0; games++) {
            alarm(PATIENCE_S);
            got = play_game(held);
        }
        CHECK(got == 1 || got == FERRY_ECLOSED || got == FERRY_EPEERDEAD);
        tell_ending(held->me->board, pid, got > 0 ? 0 : got);
    }
    ferry_agent_close(held->agent);
    return got;
}

int play_as_agent(void *one) {
    static hand held;
    int sessions = 0;
    held.me = (const player *)one;
    while (!stopped(held.me->board) && (held.me->sessions == 0 || sessions < held.me->sessions)) sessions += play_session(&held) > 0;
    return 0;
}
