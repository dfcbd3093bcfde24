/* Real time: frames and actions that wait for nobody. Most of it plays both sides in one thread, which only works because neither waits. */
#include "check.h"

#include "../../csrc/layout.h"

#ifndef _WIN32
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#endif

static void drop_log(void *user, int level, const char *text) { (void)user, (void)level, (void)text; }

typedef struct pair {
    ferry_env *env;
    ferry_agent *agent;
} pair;

static ferry_env *open_world(const char *address, uint32_t max_steps, uint64_t blob_bytes) {
    ferry_field fields[NUM_FIELDS];
    ferry_env_desc desc;
    ferry_env *env;
    ferry_why why;
    small_fields(fields);
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc, desc.address = address, desc.fields = fields, desc.num_fields = NUM_FIELDS, desc.realtime = 1;
    desc.max_episode_steps = max_steps, desc.takes_calls = 1, desc.blob_bytes = blob_bytes, desc.log = drop_log;
    if (ferry_env_open(&desc, &env, &why) < 0) fprintf(stderr, "%s\n", why.text);
    CHECK(why.code == 0);
    return env;
}

static ferry_agent *open_player(const char *address, uint32_t realtime) {
    ferry_agent_desc desc;
    ferry_agent *agent;
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc, desc.address = address, desc.realtime = realtime, desc.log = drop_log;
    CHECK(ferry_agent_open(&desc, &agent, NULL) == 0);
    return agent;
}

static void meet(pair *p) {
    const ferry_turn *turn;
    int i;
    for (i = 0; i < 1000 && ferry_agent_connect(p->agent, 1000000) == 0; i++) CHECK(ferry_env_wait(p->env, 0, &turn) == 0);
    CHECK(ferry_agent_connect(p->agent, 0) == 1);
}

static pair open_pair(const char *address, uint32_t max_steps, uint64_t blob_bytes) {
    pair p;
    p.env = open_world(address, max_steps, blob_bytes), p.agent = open_player(address, 1);
    meet(&p);
    return p;
}

static void close_pair(pair *p) {
    ferry_agent_close(p->agent);
    ferry_env_close(p->env);
}

/* The env's next turn, which has to be of this kind. */
static const ferry_turn *expect_turn(pair *p, uint32_t kind) {
    const ferry_turn *turn;
    int i, got = 0;
    for (i = 0; i < 1000 && got == 0; i++) got = ferry_env_wait(p->env, 0, &turn);
    CHECK(got == 1 && turn->kind == kind);
    return turn;
}

static void write_observation(const ferry_turn *turn, double value) {
    double *observation = (double *)turn->data[OBSERVATION];
    observation[0] = observation[1] = observation[2] = value;
}

static void reset_pair(pair *p, int64_t seed) {
    const ferry_turn *turn, *answer;
    ferry_turn *request = ferry_agent_turn(p->agent);
    request->kind = FERRY_RESET, request->seed[0] = seed;
    CHECK(ferry_agent_send(p->agent) == 0);
    turn = expect_turn(p, FERRY_RESET);
    CHECK(turn->seed[0] == seed);
    write_observation(turn, -(double)seed);
    CHECK(ferry_env_reply(p->env) == 0);
    CHECK(ferry_agent_wait(p->agent, SECOND, &answer) == 1 && answer->kind == FERRY_RESET);
    CHECK(((double *)answer->data[OBSERVATION])[0] == -(double)seed);
}

static void act(pair *p, int64_t action) {
    ferry_turn *turn = ferry_agent_turn(p->agent);
    turn->kind = FERRY_STEP, *(int64_t *)turn->data[ACTION] = action;
    CHECK(ferry_agent_send(p->agent) == 0);
}

/* A tick: what is observed is the frame's number. */
static void tick(pair *p, double reward, int terminated) {
    const ferry_turn *turn = expect_turn(p, FERRY_STEP);
    write_observation(turn, (double)turn->frame);
    turn->reward[0] = reward, turn->terminated[0] = (uint8_t)terminated;
    CHECK(ferry_env_reply(p->env) == 0);
}

static const ferry_turn *newest(pair *p) {
    const ferry_turn *frame;
    CHECK(ferry_agent_wait(p->agent, 0, &frame) == 1 && frame->kind == FERRY_STEP);
    return frame;
}

static void test_each_frame_is_seen_and_each_action_arrives(void) {
    pair p = open_pair("world", 0, 0);
    const ferry_turn *turn, *frame;
    int i;
    reset_pair(&p, 7);
    turn = expect_turn(&p, FERRY_STEP);
    CHECK(turn->frame == 1 && turn->action_ns == 0 && *(const int64_t *)turn->data[ACTION] == 10); /* at rest */
    CHECK(ferry_env_reply(p.env) == 0);
    CHECK(newest(&p)->frame == 1);
    for (i = 2; i < 300; i++) {
        act(&p, 10 + i % 5);
        turn = expect_turn(&p, FERRY_STEP);
        CHECK(*(const int64_t *)turn->data[ACTION] == 10 + i % 5);
        CHECK(turn->frame == (uint64_t)i && turn->answers == (uint64_t)i - 1 && turn->action_ns > 0 && turn->action_ns <= turn->frame_ns);
        write_observation(turn, i);
        turn->reward[0] = 0.1;
        CHECK(ferry_env_reply(p.env) == 0);
        frame = newest(&p);
        CHECK(frame->frame == (uint64_t)i && frame->answers == (uint64_t)i - 1 && frame->reward[0] == 0.1);
        CHECK(((double *)frame->data[OBSERVATION])[2] == i && frame->frame_ns == turn->frame_ns && frame->action_ns == turn->action_ns);
        CHECK(ferry_agent_wait(p.agent, 0, &frame) == 0 && frame == NULL); /* once */
    }
    close_pair(&p);
}

static void test_what_is_passed_over_is_not_lost(void) {
    pair p = open_pair("world", 0, 0);
    const ferry_turn *frame;
    int i;
    reset_pair(&p, 1);
    for (i = 0; i < 10; i++) tick(&p, 1, 0);
    frame = newest(&p);
    CHECK(frame->frame == 10 && frame->reward[0] == 10 && frame->terminated[0] == 0);
    for (i = 0; i < 4; i++) tick(&p, 2, i == 3);
    frame = newest(&p);
    CHECK(frame->frame == 14 && frame->reward[0] == 8 && frame->terminated[0] == 1 && frame->truncated[0] == 0);
    CHECK(ferry_agent_wait(p.agent, 0, &frame) == FERRY_ESTATE);
    CHECK(ferry_agent_turn(p.agent) != NULL);
    close_pair(&p);
}

static void test_an_ending_stands_until_the_reset(void) {
    pair p = open_pair("world", 5, 0);
    const ferry_turn *turn, *frame;
    int episode, i;
    for (episode = 0; episode < 3; episode++) {
        reset_pair(&p, episode);
        for (i = 0; i < 5; i++) tick(&p, 1, 0);
        for (i = 0; i < 3; i++) CHECK(ferry_env_wait(p.env, 0, &turn) == 0 && turn == NULL);
        frame = newest(&p);
        CHECK(frame->frame == 5 && frame->truncated[0] == 1 && frame->terminated[0] == 0 && frame->reward[0] == 5);
        CHECK(frame->episode[0] == (uint64_t)episode + 1);
    }
    /* A frame of an episode that the agent has ended by a reset is not given. */
    reset_pair(&p, 9);
    tick(&p, 1, 0);
    reset_pair(&p, 10);
    CHECK(ferry_agent_wait(p.agent, 0, &frame) == 0);
    tick(&p, 3, 0);
    frame = newest(&p);
    CHECK(frame->frame == 1 && frame->reward[0] == 3 && frame->episode[0] == 5);
    close_pair(&p);
}

static void test_an_action_for_an_older_episode_is_ignored(void) {
    pair p = open_pair("world", 0, 0);
    const ferry_turn *turn;
    reset_pair(&p, 1);
    tick(&p, 0, 0);
    act(&p, 14);
    reset_pair(&p, 2); /* the env has not looked at it before */
    turn = expect_turn(&p, FERRY_STEP);
    CHECK(turn->action_ns == 0 && turn->answers == 0 && *(const int64_t *)turn->data[ACTION] == 10);
    CHECK(ferry_env_reply(p.env) == 0);
    close_pair(&p);
}

static void test_what_is_out_of_place_is_refused(void) {
    pair p = open_pair("world", 0, 64);
    ferry_why why;
    ferry_turn *request = ferry_agent_turn(p.agent);
    const ferry_turn *frame, *turn;
    char text[200];
    ferry_blob blob;
    request->kind = FERRY_STEP;
    CHECK(ferry_agent_send(p.agent) == FERRY_ESTATE);
    CHECK(ferry_agent_wait(p.agent, 0, &frame) == FERRY_ESTATE);
    reset_pair(&p, 1);
    request = ferry_agent_turn(p.agent);
    request->kind = FERRY_STEP, *(int64_t *)request->data[ACTION] = 15;
    CHECK(ferry_agent_send(p.agent) == FERRY_EINVAL);
    ferry_agent_why(p.agent, &why);
    CHECK_CONTAINS(why.text, "is 15; it may be 10 to 14");
    turn = expect_turn(&p, FERRY_STEP);
    CHECK(ferry_env_wait(p.env, 1, &turn) == FERRY_ESTATE && ferry_env_wait(p.env, 0, &turn) == 0);
    memset(text, 'x', sizeof text), memset(&blob, 0, sizeof blob);
    blob.data = text, blob.size_bytes = sizeof text, blob.format = FERRY_JSON;
    CHECK(ferry_env_blob(p.env, &blob) == FERRY_ETOOBIG);
    ferry_env_why(p.env, &why);
    CHECK_CONTAINS(why.text, "room for blob_bytes, which are 64");
    blob.data = "{\"a\": 1}", blob.size_bytes = 8;
    CHECK(ferry_env_blob(p.env, &blob) == 0 && ferry_env_reply(p.env) == 0 && ferry_env_reply(p.env) == FERRY_ESTATE);
    frame = newest(&p);
    CHECK(frame->blob.format == FERRY_JSON && frame->blob.size_bytes == 8 && memcmp(frame->blob.data, "{\"a\": 1}", 8) == 0);
    tick(&p, 0, 0);
    CHECK(newest(&p)->blob.format == FERRY_NONE);
    (void)expect_turn(&p, FERRY_STEP);
    CHECK(ferry_env_fail(p.env, "the motor is gone") == 0);
    frame = newest(&p);
    CHECK(frame->status[0] == FERRY_ROW_FAILED && frame->blob.format == FERRY_TEXT &&
          memcmp(frame->blob.data, "the motor is gone", 17) == 0);
    CHECK(ferry_env_wait(p.env, 0, &turn) == 0);
    reset_pair(&p, 2);
    tick(&p, 0, 0);
    CHECK(newest(&p)->status[0] == FERRY_ROW_OK);
    close_pair(&p);
}

/* A failure's text may be longer than a frame has room for: then its beginning is told, in whole characters. */
static void test_a_long_failure_is_told_in_short(void) {
    pair p = open_pair("world", 0, 64);
    const ferry_turn *frame;
    char text[200];
    int i;
    for (i = 0; i < 198; i += 2) text[i] = (char)0xC3, text[i + 1] = (char)0xA4; /* an umlaut each */
    text[198] = 0;
    for (i = 0; i < 2; i++) {
        reset_pair(&p, 1);
        (void)expect_turn(&p, FERRY_STEP);
        CHECK(ferry_env_fail(p.env, text + i) == 0);
        frame = newest(&p);
        CHECK(frame->status[0] == FERRY_ROW_FAILED && frame->blob.format == FERRY_TEXT);
        CHECK(frame->blob.size_bytes == (i == 0 ? 64 : 63) && memcmp(frame->blob.data, text + i, (size_t)frame->blob.size_bytes) == 0);
    }
    close_pair(&p);
}

/* Actions have no blobs, so nothing of them may lie there. */
static void test_an_action_lies_in_its_place(void) {
    ferry_field fields[3];
    ferry_env_desc desc;
    ferry_why why;
    const ferry_turn *turn, *answer;
    ferry_turn *request;
    ferry_list list = {FERRY_IN_BLOB, 0};
    pair p;
    memset(fields, 0, sizeof fields), memset(&desc, 0, sizeof desc);
    fields[0].role = FERRY_OBSERVATION, fields[0].ndim = 1, fields[0].shape[0] = 1;
    fields[1].role = FERRY_ACTION, fields[1].path = "many", fields[1].capacity = 3, fields[1].dtype = FERRY_U8;
    fields[2].role = FERRY_ACTION, fields[2].path = "other", fields[2].kind = FERRY_OTHER;
    desc.struct_size = sizeof desc, desc.address = "world", desc.fields = fields, desc.num_fields = 3, desc.realtime = 1;
    CHECK(ferry_env_open(&desc, &p.env, &why) == FERRY_ESPEC);
    CHECK_CONTAINS(why.text, "action 'other' is of kind FERRY_OTHER, which travels in blobs");
    desc.num_fields = 2;
    CHECK(ferry_env_open(&desc, &p.env, &why) == 0);
    p.agent = open_player("world", 1);
    meet(&p);
    request = ferry_agent_turn(p.agent), request->kind = FERRY_RESET;
    CHECK(ferry_agent_send(p.agent) == 0);
    (void)expect_turn(&p, FERRY_RESET);
    CHECK(ferry_env_reply(p.env) == 0 && ferry_agent_wait(p.agent, SECOND, &answer) == 1);
    request = ferry_agent_turn(p.agent), request->kind = FERRY_STEP;
    memcpy(request->data[1], &list, sizeof list);
    CHECK(ferry_agent_send(p.agent) == FERRY_EINVAL);
    ferry_agent_why(p.agent, &why);
    CHECK_CONTAINS(why.text, "action 'many' lies in a blob, and in real time an action has none");
    list.count = 3;
    memcpy(request->data[1], &list, sizeof list), memcpy((char *)request->data[1] + sizeof list, "abc", 3);
    CHECK(ferry_agent_send(p.agent) == 0);
    turn = expect_turn(&p, FERRY_STEP);
    CHECK(turn->action_ns > 0 && memcmp((const char *)turn->data[1] + sizeof list, "abc", 3) == 0);
    close_pair(&p); /* in mid-frame */
}

/* Before an action has come its values are 0, or the nearest that may be; of arrays each element has its own. */
static void test_an_action_at_rest_is_inside_its_space(void) {
    static const float low_each[3] = {-3, -1, 2}, high_each[3] = {-2, 1, 3};
    ferry_field fields[4];
    ferry_env_desc desc;
    ferry_why why;
    const ferry_turn *turn, *answer;
    const float *each;
    pair p;
    memset(fields, 0, sizeof fields), memset(&desc, 0, sizeof desc);
    fields[0].ndim = 1, fields[0].shape[0] = 3;
    fields[1].role = FERRY_ACTION, fields[1].path = "below", fields[1].dtype = FERRY_F64, fields[1].low = -2, fields[1].high = -0.5;
    fields[2].role = FERRY_ACTION, fields[2].path = "each", fields[2].ndim = 1, fields[2].shape[0] = 3;
    fields[2].low_each = low_each, fields[2].high_each = high_each;
    fields[3].role = FERRY_ACTION, fields[3].path = "free";
    desc.struct_size = sizeof desc, desc.address = "world", desc.fields = fields, desc.num_fields = 4, desc.realtime = 1;
    CHECK(ferry_env_open(&desc, &p.env, &why) == 0);
    p.agent = open_player("world", 1);
    meet(&p);
    ferry_agent_turn(p.agent)->kind = FERRY_RESET;
    CHECK(ferry_agent_send(p.agent) == 0);
    (void)expect_turn(&p, FERRY_RESET);
    CHECK(ferry_env_reply(p.env) == 0 && ferry_agent_wait(p.agent, SECOND, &answer) == 1);
    turn = expect_turn(&p, FERRY_STEP);
    each = (const float *)turn->data[2];
    CHECK(*(const double *)turn->data[1] == -0.5 && each[0] == -2 && each[1] == 0 && each[2] == 2 && *(const float *)turn->data[3] == 0);
    close_pair(&p);
}

static void test_a_world_that_stands_still_is_told(void) {
    pair p = open_pair("world", 0, 0);
    const ferry_turn *frame;
    ferry_why why;
    reset_pair(&p, 1);
    tick(&p, 1, 0);
    CHECK(newest(&p)->frame == 1);
    CHECK(ferry_agent_wait(p.agent, SECOND / 100, &frame) == 0);
    ferry_agent_why(p.agent, &why);
    CHECK(why.code == 0);
    CHECK_CONTAINS(why.text, "has published no frame for ");
    CHECK_CONTAINS(why.text, "after number 1 of episode 1");
    close_pair(&p);
}

static void test_calls_come_between_frames(void) {
    pair p = open_pair("world", 0, 0);
    const ferry_turn *answer;
    ferry_turn *request;
    ferry_blob blob = {"[1]", 3, FERRY_JSON, 0};
    int i;
    reset_pair(&p, 1);
    for (i = 1; i <= 10; i++) {
        tick(&p, 1, 0);
        request = ferry_agent_turn(p.agent);
        request->kind = FERRY_CALL, request->blob = blob;
        CHECK(ferry_agent_send(p.agent) == 0);
        (void)expect_turn(&p, FERRY_CALL);
        CHECK(ferry_env_blob(p.env, &blob) == 0 && ferry_env_reply(p.env) == 0);
        CHECK(ferry_agent_wait(p.agent, SECOND, &answer) == 1 && answer->kind == FERRY_CALL && answer->blob.size_bytes == 3);
        CHECK(newest(&p)->frame == (uint64_t)i);
    }
    close_pair(&p);
}

static void test_both_must_want_real_time(void) {
    ferry_why why;
    ferry_env *world = open_world("world", 0, 0), *turns = open_small_env("turns", &why);
    ferry_agent *late = open_player("turns", 1), *strict = open_player("world", 0);
    const ferry_turn *turn;
    ferry_agent_desc desc;
    ferry_agent *agent;
    int got, i;
    for (i = 0, got = 0; got == 0 && i < 1000; i++) ferry_env_wait(turns, 0, &turn), got = ferry_agent_connect(late, 1000000);
    CHECK(got == FERRY_EINVAL);
    ferry_agent_why(late, &why);
    CHECK_CONTAINS(why.text, "the agent plays in real time, and the environment in turns");
    for (i = 0, got = 0; got == 0 && i < 1000; i++) ferry_env_wait(world, 0, &turn), got = ferry_agent_connect(strict, 1000000);
    CHECK(got == FERRY_EINVAL);
    ferry_agent_why(strict, &why);
    CHECK_CONTAINS(why.text, "the environment runs in real time, and the agent plays in turns");
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc, desc.address = "world", desc.realtime = 1, desc.autoreset = FERRY_AUTORESET_SAME_STEP;
    CHECK(ferry_agent_open(&desc, &agent, &why) == FERRY_EINVAL);
    ferry_agent_close(late), ferry_agent_close(strict);
    ferry_env_close(world), ferry_env_close(turns);
}

static void test_the_world_goes_on_without_its_agent(void) {
    pair p = open_pair("world", 0, 0);
    const ferry_turn *turn;
    int i;
    reset_pair(&p, 1);
    tick(&p, 1, 0);
    ferry_agent_close(p.agent);
    for (;;) { /* it looks around now and then, by the clock */
        CHECK(ferry_env_wait(p.env, 0, &turn) == 1);
        if (turn->kind == FERRY_LEFT) break;
        CHECK(ferry_env_reply(p.env) == 0);
    }
    CHECK(turn->reason == FERRY_ECLOSED);
    for (i = 0; i < 100; i++) tick(&p, 1, 0);
    p.agent = open_player("world", 1);
    for (i = 0; i < 1000 && ferry_agent_connect(p.agent, 1000000) == 0; i++) tick(&p, 1, 0);
    CHECK(ferry_agent_wait(p.agent, 0, &turn) == FERRY_ESTATE); /* not its episode */
    reset_pair(&p, 2);
    tick(&p, 5, 0);
    CHECK(newest(&p)->reward[0] == 5);
    close_pair(&p);
}

/* ---- A peer that scribbles ---- */

/* Where the region begins that a pointer of a turn points into. */
static char *region_of(const void *inside) {
    char *page = (char *)((uintptr_t)inside / 4096 * 4096);
    while (memcmp(page, FERRY__REGION_MAGIC, 8) != 0) page -= 4096;
    return page;
}

/* Goes on until both sides have found out, however either does, or for a while. */
static void play_on(pair *p, int ticks) {
    const ferry_turn *turn, *frame;
    int i, left = 0, lost = 0;
    for (i = 0; i < ticks && !(left && lost); i++) {
        int got = ferry_env_wait(p->env, 0, &turn);
        CHECK(got >= 0);
        if (got == 1 && turn->kind == FERRY_LEFT) left = 1;
        else if (got == 1) {
            if (turn->kind == FERRY_STEP) {
                CHECK(*(const int64_t *)turn->data[ACTION] >= 10 && *(const int64_t *)turn->data[ACTION] <= 14);
                write_observation(turn, 1);
            }
            CHECK(ferry_env_reply(p->env) == 0);
        }
        if (lost) continue;
        got = ferry_agent_wait(p->agent, 0, &frame);
        CHECK(got == 1 || got == 0 || got == FERRY_ECORRUPT || got == FERRY_ECLOSED || got == FERRY_EPEERDEAD || got == FERRY_ESTATE);
        lost = got < 0;
    }
}

static void begin_scribbling(pair *p, char **base, ferry__header *header) {
    reset_pair(p, 1);
    tick(p, 1, 0);
    (void)newest(p);
    *base = region_of(ferry_agent_turn(p->agent)->data[ACTION]);
    memcpy(header, *base, sizeof *header);
}

/* Whatever becomes of the connection, the world goes on. */
static void test_scribbles_over_lanes_harm_nobody(void) {
    ferry__header header;
    unsigned seed, value;
    uint64_t at;
    char *base;
    int of_actions;
    for (value = 0; value < 8; value++)
        for (of_actions = 0; of_actions < 2; of_actions++) {
            pair p = open_pair("world", 0, 0);
            begin_scribbling(&p, &base, &header);
            at = header.env_offset + (of_actions ? FERRY__ACTIONS_WORD : FERRY__FRAMES_WORD);
            __atomic_store_n((uint32_t *)(void *)(base + at), value, __ATOMIC_SEQ_CST);
            if (!of_actions) tick(&p, 1, 0); /* publishing never fails; the next wait tells */
            if (of_actions ? value == 7 : value % 4 == 3) CHECK(expect_turn(&p, FERRY_LEFT)->reason == FERRY_ECORRUPT);
            play_on(&p, 50);
            close_pair(&p);
        }
    for (seed = 0; seed < 100; seed++) {
        pair p = open_pair("world", 0, 0);
        begin_scribbling(&p, &base, &header);
        srand(seed);
        for (at = header.agent_slot; at < header.agent_offset + header.agent_bytes; at++)
            if (rand() % 4 == 0) base[at] = (char)rand();
        for (at = header.env_offset + FERRY__FRAMES_WORD; at < header.env_offset + header.env_bytes; at++)
            if (rand() % 4 == 0) base[at] = (char)rand();
        play_on(&p, 50);
        close_pair(&p);
    }
}

#ifndef _WIN32

/* ---- Two processes ---- */

/* Answers each frame at once, until the env goes. */
static int answer_frames(void *argument) {
    pair p;
    const ferry_turn *frame;
    ferry_turn *request;
    int got;
    (void)argument;
    p.agent = open_player("world", 1);
    CHECK(ferry_agent_connect(p.agent, 10 * SECOND) == 1);
    request = ferry_agent_turn(p.agent), request->kind = FERRY_RESET;
    CHECK(ferry_agent_send(p.agent) == 0 && ferry_agent_wait(p.agent, 10 * SECOND, &frame) == 1);
    act(&p, 10);
    while ((got = ferry_agent_wait(p.agent, 10 * SECOND, &frame)) == 1) act(&p, 10 + (int64_t)(frame->frame % 5));
    ferry_agent_close(p.agent);
    return got != FERRY_ECLOSED;
}

static const ferry_turn *serve_reset(ferry_env *env) {
    const ferry_turn *turn;
    CHECK(ferry_env_wait(env, 10 * SECOND, &turn) == 1 && turn->kind == FERRY_RESET);
    write_observation(turn, 0);
    CHECK(ferry_env_reply(env) == 0);
    return turn;
}

static void test_to_decide_is_to_wait_for_the_action_that_answers(void) {
    ferry_env *env = open_world("world", 0, 0);
    pid_t agent = start_child(answer_frames, NULL);
    const ferry_turn *turn;
    int64_t began;
    int i;
    serve_reset(env);
    for (i = 1; i <= 500; i++) {
        CHECK(ferry_env_wait(env, 10 * SECOND, &turn) == 1 && turn->kind == FERRY_STEP);
        CHECK(turn->frame == (uint64_t)i && turn->answers == (uint64_t)i - 1);
        CHECK(*(const int64_t *)turn->data[ACTION] == 10 + (i - 1) % 5);
        CHECK(ferry_env_reply(env) == 0);
    }
    kill(agent, SIGSTOP); /* it may answer the last frame yet, and then no more */
    for (i = 0; i < 3; i++) {
        began = now_ns();
        CHECK(ferry_env_wait(env, SECOND / 50, &turn) == 1 && turn->kind == FERRY_STEP);
        if (i > 0) CHECK(turn->answers != turn->frame - 1 && now_ns() - began >= SECOND / 50);
        CHECK(ferry_env_reply(env) == 0);
    }
    kill(agent, SIGCONT);
    ferry_env_close(env);
    CHECK(end_child(agent) == 0);
}

/* Publishes until it is killed. What is observed is the frame's number three times. */
static int publish_for_ever(void *argument) {
    ferry_env *env = open_world("world", 0, 0);
    const ferry_turn *turn;
    (void)argument;
    serve_reset(env);
    for (;;) {
        CHECK(ferry_env_wait(env, 0, &turn) == 1 && turn->kind == FERRY_STEP);
        write_observation(turn, (double)turn->frame);
        turn->reward[0] = 1;
        CHECK(ferry_env_reply(env) == 0);
    }
}

static void test_a_writer_that_is_killed_leaves_a_whole_frame(int times) {
    ferry_agent *agent = open_player("world", 1);
    int i, got;
    for (i = 0; i < times; i++) {
        pid_t env = start_child(publish_for_ever, NULL);
        ferry_turn *request;
        const ferry_turn *frame;
        double sum = 0;
        uint64_t last = 0, until;
        CHECK(ferry_agent_connect(agent, 10 * SECOND) == 1);
        request = ferry_agent_turn(agent), request->kind = FERRY_RESET;
        CHECK(ferry_agent_send(agent) == 0 && ferry_agent_wait(agent, 10 * SECOND, &frame) == 1);
        until = 1000 + (uint64_t)rand() % 5000;
        while ((got = ferry_agent_wait(agent, 10 * SECOND, &frame)) == 1) {
            const double *seen = (const double *)frame->data[OBSERVATION];
            CHECK(seen[0] == (double)frame->frame && seen[1] == seen[0] && seen[2] == seen[0]);
            CHECK(frame->frame > last);
            last = frame->frame, sum += frame->reward[0];
            CHECK(sum == (double)last);
            if (last > until) kill(env, SIGKILL), until = UINT64_MAX;
        }
        CHECK(got == FERRY_EPEERDEAD);
        CHECK(end_child(env) == 128 + SIGKILL);
    }
    ferry_agent_close(agent);
}

/* Its first frame is a long time in coming, and so are the next. */
static int publish_slowly(void *argument) {
    ferry_env *env = open_world("world", 0, 0);
    const ferry_turn *turn;
    int i;
    (void)argument;
    serve_reset(env);
    for (i = 0; i < 3; i++) {
        usleep(200000);
        CHECK(ferry_env_wait(env, 0, &turn) == 1 && turn->kind == FERRY_STEP);
        CHECK(ferry_env_reply(env) == 0);
    }
    ferry_env_close(env);
    return 0;
}

static int64_t used_ns(void) {
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (int64_t)used.tv_sec * SECOND + used.tv_nsec;
}

static void test_who_waits_for_a_frame_sleeps(void) {
    ferry_agent *agent = open_player("world", 1);
    pid_t env = start_child(publish_slowly, NULL);
    ferry_turn *request;
    const ferry_turn *frame;
    int64_t before;
    int frames = 0;
    CHECK(ferry_agent_connect(agent, 10 * SECOND) == 1);
    request = ferry_agent_turn(agent), request->kind = FERRY_RESET;
    CHECK(ferry_agent_send(agent) == 0 && ferry_agent_wait(agent, 10 * SECOND, &frame) == 1);
    before = used_ns();
    while (ferry_agent_wait(agent, 10 * SECOND, &frame) == 1) frames++;
    CHECK(frames == 3);
    CHECK(used_ns() - before < SECOND / 10);
    ferry_agent_close(agent);
    CHECK(end_child(env) == 0);
}

/* From now on every system call kills, except that the process may say that it is done. */
static void forbid_system_calls(void) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

/* Publishing is one reply; between two there has to be a wait, which may look around by system calls. So each reply is made by a
 * process of its own, forked... which a handle does not outlive. Hence one process for each: it fills a frame, locks the door, replies. */
static int publish_under_a_filter(void *argument) {
    ferry_env *env = open_world("world", 0, 0);
    const ferry_turn *turn;
    int i;
    serve_reset(env);
    for (i = 0; i < *(int *)argument; i++) {
        CHECK(ferry_env_wait(env, 0, &turn) == 1 && turn->kind == FERRY_STEP);
        CHECK(ferry_env_reply(env) == 0);
    }
    CHECK(ferry_env_wait(env, 0, &turn) == 1);
    write_observation(turn, 42);
    turn->reward[0] = 1;
    forbid_system_calls();
    syscall(SYS_exit_group, ferry_env_reply(env) != 0); /* _exit would ask a sanitizer first, which looks for leaks */
    return 1;
}

static void test_publishing_makes_no_system_call(void) {
    int ticks[] = {0, 1, 2, 100, 5000}, i;
    ferry_agent *agent = open_player("world", 1);
    if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) < 0) { /* an emulated processor: its system calls are another program's */
        printf("      no filter of system calls here\n");
        ferry_agent_close(agent);
        return;
    }
    for (i = 0; i < 5; i++) {
        pid_t env = start_child(publish_under_a_filter, &ticks[i]);
        ferry_turn *request;
        const ferry_turn *frame;
        double last = 0;
        int got;
        CHECK(ferry_agent_connect(agent, 10 * SECOND) == 1);
        request = ferry_agent_turn(agent), request->kind = FERRY_RESET;
        CHECK(ferry_agent_send(agent) == 0 && ferry_agent_wait(agent, 10 * SECOND, &frame) == 1);
        while ((got = ferry_agent_wait(agent, 10 * SECOND, &frame)) == 1) last = ((const double *)frame->data[OBSERVATION])[0];
        CHECK(last == 42 && got == FERRY_EPEERDEAD);
        CHECK(end_child(env) == 0);
    }
    ferry_agent_close(agent);
}

#endif

/* With a number: writers are killed so often, and that is all. */
int main(int argc, char **argv) {
    char directory[64];
#ifndef _WIN32
    if (argc > 1) {
        begin_test(600, directory);
        srand((unsigned)getpid());
        test_a_writer_that_is_killed_leaves_a_whole_frame(atoi(argv[1]));
        end_test(directory);
        return printf("%s writers were killed: no frame was torn or lost, and each death was told\n", argv[1]) < 0;
    }
#endif
    (void)argc, (void)argv;
    begin_test(60, directory);
    test_each_frame_is_seen_and_each_action_arrives();
    test_what_is_passed_over_is_not_lost();
    test_an_ending_stands_until_the_reset();
    test_an_action_for_an_older_episode_is_ignored();
    test_what_is_out_of_place_is_refused();
    test_a_long_failure_is_told_in_short();
    test_an_action_lies_in_its_place();
    test_an_action_at_rest_is_inside_its_space();
    test_a_world_that_stands_still_is_told();
    test_calls_come_between_frames();
    test_both_must_want_real_time();
    test_the_world_goes_on_without_its_agent();
    test_scribbles_over_lanes_harm_nobody();
#ifndef _WIN32
    test_to_decide_is_to_wait_for_the_action_that_answers();
    test_a_writer_that_is_killed_leaves_a_whole_frame(30);
    test_who_waits_for_a_frame_sleeps();
    test_publishing_makes_no_system_call();
#endif
    end_test(directory);
    return 0;
}
