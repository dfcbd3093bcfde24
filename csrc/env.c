/* The environment's side: takes turns, hands them to the program, publishes its answers.
 *
 * What an agent says is copied, then checked, then shown; an action that the program must not index with is answered here. The program
 * holds a turn from ferry_env_wait to ferry_env_reply; whatever becomes of the agent meanwhile, the pointers stay mapped.
 *
 * A turn may have two parts for the program, a STEP and then a RESET (rows.h); it is published after the second. One row whose agent
 * wants no autoreset is by far the commonest, and has a way of its own through ferry_env_wait and the answer: steady. */
#include "env.h"

#include "atomics.h"
#include "bell.h"
#include "errors.h"
#include "rules.h"

#include <stdlib.h>
#include <string.h>

/* Has the program something to answer? */
static int ferry__env_is_held(const ferry_env *env) { return env->holding == FERRY__HOLDING_TURN || env->holding == FERRY__HOLDING_FRAME; }

/* ---- Handshake ---- */

/* Where the columns of the answer under way lie, and what the program sees of them. */
static void ferry__env_show_columns(ferry_env *env, ferry_turn *turn, const ferry__columns *columns) {
    turn->reward = columns->reward, turn->episode = env->columns.episode, turn->status = columns->status;
    turn->terminated = columns->terminated, turn->truncated = columns->truncated;
}

static int ferry__env_offer(void *user, const ferry__hello *hello, ferry__os bell, ferry__os *memory, uint64_t *bytes, ferry_why *why) {
    ferry_env *env = (ferry_env *)user;
    const ferry__header *header = &env->spec.header;
    char *base, *answers[FERRY__ANSWERS];
    ferry__region *region;
    ferry__turns turns;
    int i;
    ferry__region_release(env->bell);
    env->bell = NULL;
    if (bell != FERRY__NO_OS && ferry__region_adopt(bell, FERRY__PAGE, 0, &env->bell, why) < 0) return why->code;
    if (ferry__spec_choose(&env->spec, hello->autoreset, why) < 0) return why->code;
    if (env->spec.realtime && !hello->realtime)
        return ferry__fail(why, FERRY_EINVAL,
                           "the environment runs in real time, and the agent plays in turns; play it with a RealtimeEnv in Python, "
                           "ferry_agent_desc.realtime in C");
    if (!env->spec.realtime && hello->realtime)
        return ferry__fail(why, FERRY_EINVAL,
                           "the agent plays in real time, and the environment in turns; play it with a ClientEnv or ServerEnv in Python, "
                           "or let it run in real time (realtime_hz in Python, ferry_env_desc.realtime in C)");
    if (hello->max_bytes != 0 && header->region_bytes > hello->max_bytes)
        return ferry__fail(why, FERRY_ETOOBIG,
                           "the environment's region has %.1f MiB, and the agent accepts %.1f MiB; raise the agent's max_bytes",
                           (double)header->region_bytes / 1048576, (double)hello->max_bytes / 1048576);
    if (!env->world.runs) { /* an episode that goes on without an agent stays where it is until this one has its place */
        ferry__region_release(env->region);
        env->region = NULL;
    }
    if (ferry__region_create(header->region_bytes, env->max_bytes, &region, why) < 0) return why->code;
    base = region->base;
    ferry__spec_write(&env->spec, base);
    ferry__turns_place(&env->spec, base, answers);
    if (ferry__platform_memory_protect(region->base, env->spec.parts_begin, why) < 0 ||
        ferry__turns_open(&turns, &env->spec, answers, env->message, why) < 0) {
        ferry__region_release(region);
        return why->code;
    }
    ferry__region_release(env->region);
    env->region = region;
    ferry__turns_close(&env->turns);
    env->turns = turns;
    env->channel.line = (ferry__line *)(void *)(base + header->env_offset);
    env->channel.peer_line = (ferry__line *)(void *)(base + header->agent_offset);
    env->channel.memory = env->region->memory;
    env->in = (ferry__slot *)(void *)(base + header->agent_slot);
    if (env->spec.realtime) {
        ferry__world_open(env, base);
        for (i = 0; i < FERRY__LANE_SLOTS; i++) ferry__env_show_columns(env, &env->turns.frame[i], &env->columns);
    }
    for (i = 0; i < 2; i++) {
        ferry_turn *turn = &env->turns.turn[i];
        ferry__answer *answer = &env->out[i];
        answer->slot = (ferry__slot *)(void *)(base + header->env_slot[i]);
        answer->columns.reward = turn->reward, answer->columns.episode = turn->episode, answer->columns.status = turn->status;
        answer->columns.terminated = turn->terminated, answer->columns.truncated = turn->truncated;
        ferry__env_show_columns(env, turn, &env->columns);
    }
    env->rows.autoreset = hello->autoreset;
    env->steady =
        env->rows.num_rows == 1 && env->rows.autoreset == FERRY_AUTORESET_DISABLED && env->rows.max_steps == 0 && !env->spec.realtime;
    env->outbox.at = header->env_blob, env->outbox.room = header->blob_bytes;
    env->spoilt = 1;
    env->number = 0, env->which = 0, env->holding = FERRY__HOLDING_NOTHING, env->abandoned = 0;
    ferry__rows_idle(&env->rows);
    *memory = env->region->memory, *bytes = header->region_bytes;
    return 0;
}

/* The lines of the slot that will be written next lie in the agent's cache, which read them two turns ago. A program that computes and
 * stores by turns would wait for one after the other; asked for now, they come while the agent is at work. */
#define FERRY__FETCHED_LINES 64
static void ferry__env_fetch_slot(const ferry_env *env) {
    const char *slot = (const char *)env->out[env->which].slot;
    uint64_t at, end = env->spec.fields_end[FERRY__ENV - 1];
    if (end > FERRY__FETCHED_LINES * FERRY__CACHE_LINE) end = FERRY__FETCHED_LINES * FERRY__CACHE_LINE;
    for (at = FERRY__CACHE_LINE; at < end; at += FERRY__CACHE_LINE) ferry__fetch_to_write(slot + at);
}

static void ferry__clear_columns(const ferry__columns *columns, size_t num_rows) {
    memset(columns->reward, 0, num_rows * sizeof *columns->reward);
    memset(columns->terminated, 0, num_rows);
    memset(columns->truncated, 0, num_rows);
}

/* Begins the answer to turn number, which has not come yet: what the program need not write. */
static void ferry__env_begin_answer(ferry_env *env, uint64_t number) {
    ferry_turn *turn = &env->turns.turn[env->which];
    turn->number = number;
    turn->kind = FERRY_STEP;
    env->expected = ferry__plain_of(env->spec.header.seq_start + (uint32_t)number, FERRY_STEP, number);
    ferry__env_fetch_slot(env);
    if (env->steady) env->reward = 0, env->terminated = 0, env->truncated = 0;
    else {
        turn->rows = env->turns.all, turn->num_rows = env->rows.num_rows;
        ferry__clear_columns(&env->columns, env->rows.num_rows);
    }
    env->outbox.used = 0;
    if (env->spec.num_infos > 0) ferry__turn_clear_infos(turn);
}

/* Where it listens, onlookers find the memory; none: not any longer. */
static void ferry__env_show(const ferry_env *env, ferry__os memory) {
    if (env->channel.door != NULL) ferry__platform_show(&env->channel.door->listener, memory);
}

/* May the next answer be published at once? */
static void ferry__env_settle(ferry_env *env) {
    env->brisk = env->steady && env->channel.taken_ns == 0 && !env->spoilt ? 1 + (env->ring != NULL) : 0;
}

static void ferry__env_ready(void *user) {
    ferry_env *env = (ferry_env *)user;
    ferry__platform_memory_seal(env->region->memory);
    ferry__channel_begin(&env->channel, env->spec.header.seq_start);
    ferry__env_settle(env);
    env->channel.line->pid = env->spec.header.env_pid;
    ferry__env_show(env, env->region->memory);
    env->turns.turn[0].peer_pid = env->turns.turn[1].peer_pid = env->channel.peer_pid;
    ferry__env_begin_answer(env, 1);
}

/* ---- Observers ---- */

/* Shows them the answer that was published last, if it can be shown and they have not seen it. */
static void ferry__env_refresh(void *user, int64_t now_ns) {
    ferry_env *env = (ferry_env *)user;
    if (env->ring == NULL || !env->ring->behind || env->spoilt || env->holding != FERRY__HOLDING_NOTHING) return;
    if (now_ns - env->ring->copied_ns >= FERRY__RING_PERIOD_NS)
        ferry__ring_write(env->ring, env->message, env->out[env->which ^ 1].slot, now_ns);
}

static int ferry__env_watch(void *user, ferry__os *memory, uint64_t *bytes, ferry_why *why) {
    ferry_env *env = (ferry_env *)user;
    if (env->ring == NULL) {
        if (ferry__ring_open(&env->spec, env->region->base, env->rows.episode, env->max_bytes, &env->ring, why) < 0) return why->code;
        env->ring->behind = 1;
        ferry__env_settle(env);
    }
    *memory = env->ring->region->memory, *bytes = env->ring->region->bytes;
    return 0;
}

static void ferry__env_unwatch(void *user) {
    ferry_env *env = (ferry_env *)user;
    ferry__ring_close(env->ring);
    env->ring = NULL;
    ferry__env_settle(env);
}

/* ---- Life cycle ---- */

static int ferry__env_make_columns(ferry_env *env, ferry_why *why) {
    ferry__columns *columns = &env->columns;
    size_t n = env->spec.group.num_rows;
    if (ferry__rows_open(&env->rows, &env->spec, why) < 0) return why->code;
    columns->episode = env->rows.episode;
    columns->reward = &env->reward;
    columns->terminated = &env->terminated, columns->truncated = &env->truncated, columns->status = &env->status;
    if (n == 1) return 0;
    env->block = (char *)calloc(n, sizeof(double) + 3);
    if (env->block == NULL) return ferry__no_memory(why);
    columns->reward = (double *)(void *)env->block;
    columns->terminated = (uint8_t *)(columns->reward + n), columns->truncated = columns->terminated + n;
    columns->status = columns->truncated + n;
    return 0;
}

static int ferry__env_make_room(ferry_env *env, ferry_why *why) {
    const size_t line = FERRY__CACHE_LINE;
    size_t columns_end = (size_t)env->spec.columns_end[FERRY__AGENT - 1], fields_end = (size_t)env->spec.fields_end[FERRY__AGENT - 1];
    /* Whole lines are copied fastest. Fields begin with one, and the room for blobs after them does too. */
    env->actions_begin = (columns_end + line - 1) / line * line;
    env->actions_lines = fields_end > env->actions_begin ? (fields_end - env->actions_begin + line - 1) / line : 0;
    env->message = (char *)calloc(1, env->actions_begin + env->actions_lines * line);
    if (env->spec.realtime) {
        env->world.incoming = (char *)malloc(env->actions_begin + env->actions_lines * line);
        if (env->world.incoming == NULL) return ferry__no_memory(why);
    }
    return env->message != NULL ? ferry__env_make_columns(env, why) : ferry__no_memory(why);
}

static void ferry__env_free(ferry_env *env) {
    ferry__region_release(env->region);
    ferry__region_release(env->bell);
    ferry__ring_close(env->ring);
    ferry__first_blob_clear(&env->first);
    ferry__rows_close(&env->rows);
    free(env->block);
    ferry__inbox_close(&env->inbox);
    ferry__outbox_clear(&env->outbox);
    ferry__turns_close(&env->turns);
    ferry__spec_clear(&env->spec);
    free(env->message);
    free(env->world.incoming);
    free(env);
}

int ferry_env_open(const ferry_env_desc *desc, ferry_env **out, ferry_why *why) {
    static const ferry__handshake handshake = {ferry__env_offer, ferry__env_ready,   NULL,
                                               ferry__env_watch, ferry__env_unwatch, ferry__env_refresh};
    ferry_why ignored;
    ferry_env *env;
    if (why == NULL) why = &ignored;
    if (out != NULL) *out = NULL;
    if (ferry__check_open("env", out, desc != NULL ? &desc->struct_size : NULL, sizeof *desc, why) < 0) return why->code;
    env = (ferry_env *)calloc(1, sizeof *env);
    if (env == NULL) return ferry__no_memory(why);
    env->outbox.memory = FERRY__NO_OS;
    env->max_bytes = desc->max_bytes;
    env->takes_calls = desc->takes_calls != 0;
    env->channel.log = desc->log, env->channel.log_user = desc->log_user;
    env->channel.handshake = handshake;
    env->channel.user = env;
    if (ferry__spec_build(desc, &env->spec, why) == 0 && ferry__region_allowed(env->spec.header.region_bytes, desc->max_bytes, why) == 0 &&
        ferry__inbox_open(&env->inbox, env->spec.header.agent_blob, env->spec.header.blob_bytes, why) == 0 &&
        ferry__env_make_room(env, why) == 0 && ferry__channel_open(&env->channel, FERRY__ENV, desc->address, NULL, why) == 0) {
        *out = env;
        return 0;
    }
    ferry__env_free(env);
    return why->code;
}

void ferry_env_close(ferry_env *env) {
    if (env == NULL) return;
    if (env->channel.state == FERRY__OPEN && ferry__channel_is_mine(&env->channel)) {
        ferry__channel_hang_up(&env->channel);
        /* A sleeping agent looks around when it is woken, and finds the goodbye. */
        ferry__platform_wake(env->region->memory, &env->out[0].slot->seq);
        ferry__platform_wake(env->region->memory, &env->out[1].slot->seq);
        if (env->bell != NULL) ferry__platform_wake(env->bell->memory, &ferry__bell_page_of(env->bell)->count);
    }
    ferry__channel_close(&env->channel);
    ferry__env_free(env);
}

void ferry_env_why(const ferry_env *env, ferry_why *why) {
    const ferry__channel *channel = &env->channel;
    if (ferry__channel_explains(channel, why)) return;
    ferry__fail(why, 0, "the agent (pid %u) at '%s' %s turn %llu", channel->peer_pid, channel->address.text,
                env->holding != FERRY__HOLDING_NOTHING ? "waits for the answer to" : "has the word after", (ferry__ull)env->number);
}

/* ---- Answers ---- */

/* The columns of many rows, and of one that the library may have to reset. */
static void ferry__env_put_columns(ferry_env *env, const ferry__columns *to, ferry_status status) {
    const ferry__columns *columns = &env->columns;
    size_t n = env->rows.num_rows;
    memcpy(to->reward, columns->reward, n * sizeof *columns->reward);
    memcpy(to->episode, columns->episode, n * sizeof *columns->episode);
    memcpy(to->terminated, columns->terminated, n);
    memcpy(to->truncated, columns->truncated, n);
    memset(to->status, status, n);
    ferry__env_show_columns(env, &env->turns.turn[env->which], columns);
}

static void ferry__env_publish(ferry_env *env, ferry_status status) {
    const ferry__columns *columns = &env->out[env->which].columns;
    uint32_t kind = env->kind;
    ferry__slot *slot = env->out[env->which].slot;
    env->holding = FERRY__HOLDING_NOTHING;
    /* One store each: a wide copy of what was just stored narrowly stalls the processor. */
    if (env->steady) {
        *columns->reward = env->reward, *columns->episode = env->episode;
        *columns->terminated = env->terminated, *columns->truncated = env->truncated, *columns->status = (uint8_t)status;
    } else ferry__env_put_columns(env, columns, status);
    if (!env->outbox.used) slot->blob_format = FERRY_NONE;
    else if (env->outbox.memory != FERRY__NO_OS) ferry__outbox_send(&env->outbox, &env->channel);
    slot->kind = (uint16_t)kind;
    slot->number = env->number;
    if (env->spec.realtime && kind == FERRY_RESET) ferry__world_begin(env, status);
    ferry__slot_publish(slot, env->expected.seq, env->channel.peer_line, &env->channel.memory);
    if (env->bell != NULL) ferry__bell_ring(env->bell);
    env->which ^= kind != FERRY_CALL;
    ferry__env_begin_answer(env, env->number + 1); /* while the agent is busy with this one */
}

/* The same, of an answer to more than the common turn: one that is timed, or that observers may want. */
static void ferry__env_publish_seen(ferry_env *env, ferry_status status) {
    ferry__channel *channel = &env->channel;
    const ferry__slot *slot = env->out[env->which].slot;
    int64_t taken_ns = channel->taken_ns, answered_ns = taken_ns != 0 ? ferry__platform_now_ns() : 0;
    ferry__env_publish(env, status);
    channel->taken_ns = 0;
    if (taken_ns != 0) ferry__channel_sample(channel, env->number, taken_ns, answered_ns, 0);
    env->spoilt = status != FERRY_ROW_OK || env->kind == FERRY_CALL;
    if (env->ring != NULL && !env->spoilt) {
        ferry__ring_note(env->ring, slot);
        if (taken_ns != 0) ferry__env_refresh(env, answered_ns);
    }
    ferry__env_settle(env);
}

static int ferry__env_put_blob(ferry_env *env, const ferry_blob *blob) {
    ferry__slot *slot = env->out[env->which].slot;
    if (env->holding == FERRY__HOLDING_FRAME) {
        slot = ferry__lane_mine(&env->world.frames);
        if (blob->format != FERRY_NONE && blob->size_bytes > env->outbox.room)
            return ferry__fail(
                &env->channel.why, FERRY_ETOOBIG,
                "a blob of %llu bytes: a frame has room for blob_bytes, which are %llu; ask for more when the environment is opened",
                (ferry__ull)blob->size_bytes, (ferry__ull)env->outbox.room);
    }
    if (env->first.data != NULL) return ferry__outbox_put_joined(&env->outbox, &env->first, blob, slot, &env->channel.why);
    return ferry__outbox_put(&env->outbox, blob, slot, &env->channel.why);
}

static void ferry__env_put_text(ferry_env *env, const char *text) {
    ferry_blob blob;
    ferry__first_blob_clear(&env->first);
    memset(&blob, 0, sizeof blob);
    blob.data = text, blob.size_bytes = strlen(text), blob.format = FERRY_TEXT;
    if (env->holding == FERRY__HOLDING_FRAME && blob.size_bytes > env->outbox.room) {
        blob.size_bytes = env->outbox.room; /* rather its beginning than nothing, in whole characters */
        while (blob.size_bytes > 0 && (text[blob.size_bytes] & 0xC0) == 0x80) blob.size_bytes--;
    }
    (void)ferry__env_put_blob(env, &blob);
}

/* May the program answer now? 1; 0 if its agent has left and nobody would hear it; or an error. */
static int ferry__env_may_answer(ferry_env *env) {
    if (!ferry__channel_is_mine(&env->channel)) return FERRY_EFORKED;
    if (env->channel.lost == 0) env->channel.why.code = 0;
    if (ferry__env_is_held(env)) return 1;
    if (env->abandoned) return 0;
    return ferry__fail(&env->channel.why, FERRY_ESTATE, "there is no turn to answer: ferry_env_wait gives one");
}

int ferry_env_blob(ferry_env *env, const ferry_blob *blob) {
    int may = ferry__env_may_answer(env);
    return may > 0 ? ferry__env_put_blob(env, blob) : may;
}

/* The turn has failed: every row must be reset. */
static void ferry__env_publish_failure(ferry_env *env) {
    if (env->kind != FERRY_CALL) ferry__rows_idle(&env->rows);
    ferry__env_publish_seen(env, FERRY_ROW_FAILED);
}

/* Saves what the rows that end look like before their RESET overwrites it. */
static void ferry__env_save_finals(ferry_env *env, const ferry_turn *turn) {
    const ferry__row_list *ended = &env->rows.reset;
    uint32_t i, k;
    for (i = 0; i < turn->num_fields; i++) {
        size_t stride = (size_t)turn->stride[i];
        if (turn->final_data[i] == NULL) continue;
        for (k = 0; k < ended->count; k++) {
            size_t row = ended->rows[k];
            memcpy((char *)turn->final_data[i] + stride * row, (const char *)turn->data[i] + stride * row, stride);
            if (turn->present[i] != NULL) turn->final_present[i][row] = turn->present[i][row];
        }
    }
}

/* What a program writes of reward and flags when it resets rows is of no account: those of the answer are written over it. */
static void ferry__env_spare_columns(ferry_env *env, ferry_turn *turn) {
    const ferry__columns *spare = &env->out[env->which].columns;
    ferry__clear_columns(spare, env->rows.num_rows);
    ferry__env_show_columns(env, turn, spare);
}

/* Makes the turn the one RESET that follows the STEP: its rows have neither seed nor options, and no infos yet. */
static void ferry__env_begin_reset(ferry_env *env, ferry_turn *turn) {
    const ferry__row_list *reset = &env->rows.reset;
    uint32_t i, k;
    for (k = 0; k < reset->count; k++) {
        uint32_t row = reset->rows[k];
        turn->seed[row] = -1;
        if (env->rows.autoreset == FERRY_AUTORESET_NEXT_STEP)
            env->columns.reward[row] = 0, env->columns.terminated[row] = env->columns.truncated[row] = 0;
        for (i = 0; i < turn->num_fields; i++)
            if (turn->present[i] != NULL) turn->present[i][row] = 0;
    }
    ferry__rows_begin_episodes(&env->rows);
    ferry__env_spare_columns(env, turn);
    turn->kind = FERRY_RESET, turn->rows = reset->rows, turn->num_rows = reset->count;
    turn->blob.format = FERRY_NONE, turn->blob.data = NULL, turn->blob.size_bytes = 0;
}

/* The STEP of a turn is answered. 1: that was all of it; 0: a RESET follows; or an error. */
static int ferry__env_end_step(ferry_env *env, ferry_turn *turn) {
    const ferry__slot *slot = env->out[env->which].slot;
    ferry_blob none;
    ferry__rows_stepped(&env->rows, env->columns.terminated, env->columns.truncated);
    if (env->rows.reset.count == 0) return 1;
    if (env->rows.autoreset == FERRY_AUTORESET_SAME_STEP) ferry__env_save_finals(env, turn);
    if (env->outbox.used) {
        memset(&none, 0, sizeof none);
        if (ferry__outbox_keep(&env->outbox, slot, &env->first, &env->channel.why) < 0 || ferry__env_put_blob(env, &none) < 0)
            return env->channel.why.code;
    }
    ferry__env_begin_reset(env, turn);
    env->holding = FERRY__HOLDING_RESET;
    return 0;
}

/* An answer that may not be the whole of a turn, or may not be given. */
FERRY__COLD static int ferry__env_reply_longer(ferry_env *env) {
    ferry_turn *turn = &env->turns.turn[env->which];
    int may = ferry__env_may_answer(env), rest = 1;
    if (may > 0) {
        if (!env->steady && turn->kind == FERRY_STEP) rest = ferry__env_end_step(env, turn);
        if (rest > 0) ferry__env_publish_seen(env, FERRY_ROW_OK);
        else if (rest < 0) {
            ferry__env_put_text(env, env->channel.why.text);
            ferry__env_publish_failure(env);
            may = rest;
        }
    } else env->abandoned = 0;
    return may < 0 ? may : 0;
}

/* An answer that is not the commonest. Frames, and the common step while observers look on, whose reward is added, are published at once all the
 * same. */
__attribute__((noinline)) static int ferry__env_reply_slowly(ferry_env *env) {
    double reward = env->reward;
    int frame = env->holding == FERRY__HOLDING_FRAME;
    if (!ferry__channel_is_mine(&env->channel) || (!frame && (env->brisk != 2 || env->holding != FERRY__HOLDING_TURN ||
                                                              env->kind != FERRY_STEP || (env->terminated | env->truncated) != 0)))
        return ferry__env_reply_longer(env);
    if (env->channel.lost == 0) env->channel.why.code = 0;
    if (frame) ferry__world_publish(env, FERRY_ROW_OK);
    else {
        ferry__env_publish(env, FERRY_ROW_OK);
        ferry__ring_add(env->ring, reward);
    }
    return 0;
}

int ferry_env_reply(ferry_env *env) {
    if (env->brisk != 1 || env->holding != FERRY__HOLDING_TURN || !ferry__channel_is_mine(&env->channel))
        return ferry__env_reply_slowly(env);
    if (env->channel.lost == 0) env->channel.why.code = 0;
    ferry__env_publish(env, FERRY_ROW_OK);
    return 0;
}

int ferry_env_fail(ferry_env *env, const char *text) {
    int may = ferry__env_may_answer(env);
    if (may > 0) {
        if (text != NULL) ferry__env_put_text(env, text);
        if (env->holding == FERRY__HOLDING_FRAME) ferry__world_publish(env, FERRY_ROW_FAILED);
        else ferry__env_publish_failure(env);
    } else env->abandoned = 0;
    return may < 0 ? may : 0;
}

/* ---- Turns ---- */

/* Fills the observations of the rows that a turn is not about with those of the answer before, so that each answer is whole. */
static void ferry__env_keep_rows(ferry_env *env, const ferry_turn *turn, const uint32_t *rows, uint32_t count) {
    const ferry_turn *before = &env->turns.turn[env->which ^ 1];
    uint32_t i, k, row, end;
    for (i = 0; i < turn->num_fields; i++) {
        size_t stride = (size_t)turn->stride[i];
        if (env->spec.entries[i].role != FERRY_OBSERVATION) continue;
        for (k = 0, row = 0; k <= count; row = end + 1, k++) { /* the gaps between the rows of the list */
            end = k < count ? rows[k] : env->rows.num_rows;
            if (end > row) memcpy((char *)turn->data[i] + stride * row, (const char *)before->data[i] + stride * row, stride * (end - row));
        }
    }
}

/* Answers in the program's place. Of many rows the next turn may be about some, and those of the others are taken from this answer. */
static int ferry__env_refuse(ferry_env *env, const char *text) {
    if (env->kind != FERRY_CALL && env->rows.num_rows > 1) ferry__env_keep_rows(env, &env->turns.turn[env->which], NULL, 0);
    ferry__env_put_text(env, text);
    ferry__env_publish_seen(env, FERRY_ROW_REFUSED);
    return 0;
}

/* Is there an action that the program must not index with? Then it is answered here. */
static int ferry__env_refuse_actions(ferry_env *env, ferry_turn *turn) {
    ferry_why why;
    if (ferry__spec_check_actions(&env->spec, env->message, turn->rows, turn->num_rows, &why) == 0) return 0;
    (void)ferry__env_refuse(env, why.text);
    return 1;
}

/* Copies the actions and checks them: 1 the program's turn, 0 it was answered here. */
static inline int ferry__env_take_actions(ferry_env *env, ferry_turn *turn) {
    ferry__copy_lines_in(env->message + env->actions_begin, (const char *)env->in + env->actions_begin, env->actions_lines);
    if (env->spec.num_checked > 0 && ferry__env_refuse_actions(env, turn)) return 0;
    env->holding = FERRY__HOLDING_TURN;
    return 1;
}

/* Goes on with a STEP or RESET whose head has been taken: as ferry__env_take. */
static int ferry__env_take_rows(ferry_env *env, ferry_turn *turn, uint32_t count) {
    ferry__rows *rows = &env->rows;
    const ferry__group *group = &env->spec.group;
    const uint32_t *list = NULL;
    ferry_why why;
    if (count < rows->num_rows) {
        list = (const uint32_t *)(void *)(env->message + group->rows_offset);
        ferry__copy_in(env->message + group->rows_offset, (const char *)env->in + group->rows_offset, count * sizeof *list);
    }
    if (list != NULL && !ferry__rows_valid(list, count, rows->num_rows))
        return ferry__channel_damaged(&env->channel, "turn %llu is about rows that are not there", (ferry__ull)env->number);
    if (ferry__rows_plan(rows, (ferry_kind)env->kind, list, count, &why) < 0) return ferry__env_refuse(env, why.text);
    if (list != NULL) ferry__env_keep_rows(env, turn, list, count);
    turn->kind = env->kind;
    if (env->kind == FERRY_STEP && rows->step.count > 0) {
        turn->rows = rows->step.rows, turn->num_rows = rows->step.count;
        return ferry__env_take_actions(env, turn);
    }
    if (env->kind == FERRY_STEP) ferry__env_begin_reset(env, turn);
    else {
        ferry__copy_in(env->message + group->seed_offset, (const char *)env->in + group->seed_offset, rows->num_rows * sizeof(int64_t));
        ferry__rows_begin_episodes(rows);
        env->episode = rows->episode[0];
        if (!env->steady) ferry__env_spare_columns(env, turn);
        turn->rows = rows->reset.rows, turn->num_rows = rows->reset.count;
    }
    env->holding = FERRY__HOLDING_TURN;
    return 1;
}

/* Takes the message that has arrived: 1 the program's turn, 0 it was answered here, negative: the connection is over. */
static int ferry__env_take(ferry_env *env) {
    const ferry__slot *head = (const ferry__slot *)(void *)env->message;
    ferry_turn *turn = &env->turns.turn[env->which];
    ferry__copy_in(env->message, env->in, sizeof *head);
    if (head->number != env->number + 1 ||
        ((head->kind != FERRY_STEP || env->spec.realtime) && head->kind != FERRY_RESET && head->kind != FERRY_CALL) ||
        head->num_rows == 0 || head->num_rows > env->rows.num_rows)
        return ferry__channel_damaged(&env->channel, "turn %llu says it is number %llu, kind %d, rows %u", (ferry__ull)env->number + 1,
                                      (ferry__ull)head->number, head->kind, head->num_rows);
    env->turns.turn[0].blob.format = env->turns.turn[1].blob.format = FERRY_NONE;
    ferry__first_blob_clear(&env->first);
    if (ferry__inbox_take(&env->inbox, &env->channel, head, env->in, &turn->blob, NULL) < 0) return env->channel.lost;
    turn->kind = env->kind = head->kind;
    env->number++;
    if (env->kind != FERRY_CALL) return ferry__env_take_rows(env, turn, head->num_rows);
    if (!env->takes_calls) return ferry__env_refuse(env, "this environment takes no calls");
    env->holding = FERRY__HOLDING_TURN;
    return 1;
}

/* Tells the program that its agent is gone. */
static int ferry__env_leave(ferry_env *env, const ferry_turn **out) {
    uint32_t pid = env->channel.peer_pid;
    int reason = env->channel.lost;
    env->abandoned = ferry__env_is_held(env), env->holding = FERRY__HOLDING_NOTHING;
    ferry__outbox_clear(&env->outbox);
    ferry__env_show(env, FERRY__NO_OS);
    ferry__channel_hang_up(&env->channel);
    memset(&env->left, 0, sizeof env->left);
    env->left.struct_size = sizeof env->left, env->left.kind = FERRY_LEFT, env->left.reason = reason;
    env->left.number = env->number, env->left.peer_pid = pid;
    *out = &env->left;
    return 1;
}

/* Goes on where spinning for the next message ends, or was not tried. *answered says that one came and was answered here. */
static int ferry__env_await(ferry_env *env, int64_t timeout_ns, const ferry_turn **out, int *answered) {
    ferry_turn *turn = &env->turns.turn[env->which];
    uint32_t next = env->expected.seq;
    int got = ferry__channel_await(&env->channel, env->in, next - 1, next, timeout_ns);
    *answered = 0;
    if (got > 0) {
        got = ferry__env_take(env);
        if (got > 0) *out = turn;
        *answered = got == 0;
    }
    return got < 0 ? ferry__env_leave(env, out) : got;
}

/* While an episode runs: 1 and a frame, or whatever comes first; negative; 0: nothing, look again. */
static int ferry__env_find_frame(ferry_env *env, int64_t timeout_ns, const ferry_turn **out) {
    int got, answered;
    if (env->channel.state != FERRY__OPEN) {
        got = ferry__channel_meet(&env->channel, timeout_ns);
        if (got != 0) return got > 0 ? 0 : got;
    } else {
        got = ferry__env_await(env, 0, out, &answered);
        if (got != 0 || answered) return got;
        got = ferry__world_await(env, timeout_ns);
        if (got <= 0) return got < 0 ? ferry__env_leave(env, out) : 0;
    }
    *out = ferry__world_frame(env);
    return 1;
}

static int ferry__env_find_turn(ferry_env *env, int64_t timeout_ns, const ferry_turn **out) {
    ferry__channel *channel = &env->channel;
    int64_t start, left = timeout_ns;
    int got, answered;
    if (env->holding == FERRY__HOLDING_RESET) {
        env->holding = FERRY__HOLDING_TURN;
        *out = &env->turns.turn[env->which];
        return 1;
    }
    if (ferry__env_is_held(env)) {
        channel->why.code = 0;
        if (timeout_ns != 0)
            return ferry__fail(&channel->why, FERRY_ESTATE,
                               "turn %llu is unanswered: ferry_env_reply or ferry_env_fail comes before the next wait",
                               (ferry__ull)env->number);
        return ferry__channel_look(channel, ferry__platform_now_ns(), 0) < 0 ? ferry__env_leave(env, out) : 0;
    }
    start = ferry__platform_now_ns();
    for (;;) {
        if (env->world.runs) {
            got = ferry__env_find_frame(env, left, out);
            if (got != 0) return got;
        } else if (channel->state != FERRY__OPEN) {
            got = ferry__channel_meet(channel, left);
            if (got <= 0) return got;
        } else {
            got = ferry__env_await(env, left, out, &answered);
            if (got != 0 || !answered) return got;
        }
        if (timeout_ns > 0) left = timeout_ns - (ferry__platform_now_ns() - start);
        if (timeout_ns > 0 && left < 0) left = 0;
    }
}

/* Whatever ferry_env_wait does not find at once. */
FERRY__COLD static int ferry__env_wait_longer(ferry_env *env, int64_t timeout_ns, const ferry_turn **out) {
    int got = ferry__env_find_turn(env, timeout_ns, out);
    ferry__env_settle(env);
    return got;
}

int ferry_env_wait(ferry_env *env, int64_t timeout_ns, const ferry_turn **out) {
    ferry_turn *turn = &env->turns.turn[env->which];
    uint32_t next = env->expected.seq;
    *out = NULL;
    if (!ferry__channel_is_mine(&env->channel)) return FERRY_EFORKED;
    if (!env->holding && env->channel.state == FERRY__OPEN && ferry__channel_spin(&env->channel, env->in, next - 1, next, timeout_ns) &&
        env->steady && env->rows.num_idle == 0 && !env->inbox.used && ferry__slot_is_plain(env->in, &env->expected)) {
        env->number++;
        env->kind = FERRY_STEP;
        if (ferry__env_take_actions(env, turn)) {
            *out = turn;
            return 1;
        }
    }
    return ferry__env_wait_longer(env, timeout_ns, out);
}
