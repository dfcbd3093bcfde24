/* The environment's side: takes turns, hands them to the program, publishes its answers.
 *
 * What an agent says is copied, then checked, then shown; an action that the program must not index with is answered here. The program
 * holds a turn from ferry_env_wait to ferry_env_reply; whatever becomes of the agent meanwhile, the pointers stay mapped. */
#include "atomics.h"
#include "blob.h"
#include "channel.h"
#include "errors.h"
#include "region.h"
#include "spec.h"
#include "turns.h"

#include <stdlib.h>
#include <string.h>

/* Where an answer goes in one of the two slots. */
typedef struct ferry__answer {
    ferry__slot *slot;
    double *reward;
    uint64_t *episode;
    uint8_t *terminated, *truncated, *status;
} ferry__answer;

struct ferry_env {
    ferry__channel channel;
    ferry__spec spec;
    uint64_t max_bytes;
    ferry__region *region; /* of the connection, or of the one before while there is none */
    ferry__slot *in;
    ferry__answer out[2];
    char *message;      /* private copy of the agent's slot, up to the end of its fields */
    size_t actions_begin, actions_lines;
    ferry__plain expected; /* the next message, if it is a step like most */
    double reward;      /* the answer's columns until it is published */
    uint64_t episode;   /* resets so far, over all connections */
    uint8_t terminated, truncated, status;
    ferry__turns turns;
    ferry__inbox inbox;
    ferry__outbox outbox;
    ferry_turn left;   /* the turn that says so */
    uint64_t number;   /* of the turn that was taken last */
    uint32_t which;    /* slot of the answer under way, or of the next */
    int holding;       /* the program has a turn that it has not answered */
    int abandoned;     /* it had one when its agent left, and may answer it yet */
    int playing;       /* there was a reset, and no failure since */
    int takes_calls;
};

/* ---- Handshake ---- */

static int ferry__env_offer(void *user, const ferry__hello *hello, ferry__os *memory, uint64_t *bytes, ferry_why *why) {
    ferry_env *env = (ferry_env *)user;
    const ferry__header *header = &env->spec.header;
    char *base;
    int i;
    if (hello->max_bytes != 0 && header->region_bytes > hello->max_bytes)
        return ferry__fail(why, FERRY_ETOOBIG,
                           "the environment's region has %.1f MiB, and the agent accepts %.1f MiB; raise the agent's max_bytes",
                           (double)header->region_bytes / 1048576, (double)hello->max_bytes / 1048576);
    ferry__region_release(env->region);
    if (ferry__region_create(header->region_bytes, env->max_bytes, &env->region, why) < 0) return why->code;
    base = env->region->base;
    ferry__spec_write(&env->spec, base);
    if (ferry__region_protect(env->region, env->spec.parts_begin, why) < 0) return why->code;
    env->channel.line = (ferry__line *)(void *)(base + header->env_offset);
    env->channel.peer_line = (ferry__line *)(void *)(base + header->agent_offset);
    env->in = (ferry__slot *)(void *)(base + header->agent_slot);
    ferry__turns_close(&env->turns);
    if (ferry__turns_open(&env->turns, &env->spec, base, env->message, why) < 0) return why->code;
    for (i = 0; i < 2; i++) {
        ferry_turn *turn = &env->turns.turn[i];
        ferry__answer *answer = &env->out[i];
        answer->slot = (ferry__slot *)(void *)(base + header->env_slot[i]);
        answer->reward = turn->reward, answer->episode = turn->episode;
        answer->terminated = turn->terminated, answer->truncated = turn->truncated, answer->status = turn->status;
        turn->reward = &env->reward, turn->episode = &env->episode;
        turn->terminated = &env->terminated, turn->truncated = &env->truncated, turn->status = &env->status;
    }
    env->number = 0, env->which = 0, env->holding = 0, env->abandoned = 0, env->playing = 0;
    *memory = env->region->memory, *bytes = header->region_bytes;
    return 0;
}

static void ferry__env_clear_infos(ferry_turn *turn) {
    uint32_t i;
    for (i = 0; i < turn->num_fields; i++)
        if (turn->present[i] != NULL) turn->present[i][0] = 0;
}

/* Begins the answer to turn number, which has not come yet: what the program need not write. */
static void ferry__env_begin_answer(ferry_env *env, uint64_t number) {
    ferry_turn *turn = &env->turns.turn[env->which];
    turn->number = number;
    turn->kind = FERRY_STEP;
    env->expected = ferry__plain_of(env->spec.header.seq_start + (uint32_t)number, FERRY_STEP, number);
    env->reward = 0, env->terminated = 0, env->truncated = 0, env->status = FERRY_ROW_OK;
    env->outbox.used = 0;
    if (env->spec.num_infos > 0) ferry__env_clear_infos(turn);
}

static void ferry__env_ready(void *user) {
    ferry_env *env = (ferry_env *)user;
    ferry__region_seal(env->region);
    env->channel.line->pid = env->spec.header.env_pid;
    ferry__platform_show(&env->channel.listener, env->region->memory);
    env->turns.turn[0].peer_pid = env->turns.turn[1].peer_pid = env->channel.peer_pid;
    ferry__env_begin_answer(env, 1);
}

/* ---- Life cycle ---- */

static int ferry__env_make_room(ferry_env *env, ferry_why *why) {
    const size_t line = FERRY__CACHE_LINE;
    size_t columns_end = (size_t)env->spec.columns_end[FERRY__AGENT - 1], fields_end = (size_t)env->spec.fields_end[FERRY__AGENT - 1];
    /* Whole lines are copied fastest. Fields begin with one, and the room for blobs after them does too. */
    env->actions_begin = (columns_end + line - 1) / line * line;
    env->actions_lines = fields_end > env->actions_begin ? (fields_end - env->actions_begin + line - 1) / line : 0;
    env->message = (char *)calloc(1, env->actions_begin + env->actions_lines * line);
    return env->message != NULL ? 0 : ferry__fail(why, FERRY_ENOMEM, "out of memory");
}

static void ferry__env_free(ferry_env *env) {
    ferry__region_release(env->region);
    ferry__inbox_close(&env->inbox);
    ferry__outbox_clear(&env->outbox);
    ferry__turns_close(&env->turns);
    ferry__spec_clear(&env->spec);
    free(env->message);
    free(env);
}

int ferry_env_open(const ferry_env_desc *desc, ferry_env **out, ferry_why *why) {
    ferry_why ignored;
    ferry_env *env;
    if (why == NULL) why = &ignored;
    ferry__fail(why, 0, "%s", "");
    if (out == NULL) return ferry__fail(why, FERRY_EINVAL, "ferry_env_open needs a place for the handle");
    *out = NULL;
    if (desc == NULL || desc->struct_size != sizeof *desc)
        return ferry__fail(why, FERRY_EINVAL,
                           "set ferry_env_desc.struct_size to sizeof(ferry_env_desc); are header and library of one version?");
    env = (ferry_env *)calloc(1, sizeof *env);
    if (env == NULL) return ferry__fail(why, FERRY_ENOMEM, "out of memory");
    env->outbox.memory = FERRY__NO_OS;
    env->max_bytes = desc->max_bytes;
    env->takes_calls = desc->takes_calls != 0;
    env->channel.log = desc->log, env->channel.log_user = desc->log_user;
    env->channel.handshake.offer = ferry__env_offer, env->channel.handshake.ready = ferry__env_ready;
    env->channel.user = env;
    if (ferry__spec_build(desc, &env->spec, why) == 0 && ferry__region_allowed(env->spec.header.region_bytes, desc->max_bytes, why) == 0 &&
        ferry__inbox_open(&env->inbox, env->spec.header.blob_bytes, why) == 0 && ferry__env_make_room(env, why) == 0 &&
        ferry__channel_open(&env->channel, FERRY__ENV, desc->address, why) == 0) {
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
        ferry__platform_wake(&env->out[0].slot->seq);
        ferry__platform_wake(&env->out[1].slot->seq);
    }
    ferry__channel_close(&env->channel);
    ferry__env_free(env);
}

void ferry_env_why(const ferry_env *env, ferry_why *why) {
    const ferry__channel *channel = &env->channel;
    if (!ferry__channel_is_mine(channel)) ferry__fail(why, FERRY_EFORKED, "%s; open one after the fork", ferry_strerror(FERRY_EFORKED));
    else if (channel->why.code != 0) *why = channel->why;
    else if (channel->state != FERRY__OPEN) ferry__channel_describe(channel, why);
    else
        ferry__fail(why, 0, "the agent (pid %u) at '%s' %s turn %llu", channel->peer_pid, channel->address.text,
                    env->holding ? "waits for the answer to" : "has the word after", (unsigned long long)env->number);
}

/* ---- Answers ---- */

static void ferry__env_publish(ferry_env *env, ferry_status status) {
    const ferry__answer *answer = &env->out[env->which];
    uint32_t kind = env->turns.turn[env->which].kind;
    ferry__slot *slot = answer->slot;
    env->holding = 0;
    /* One store each: a wide copy of what was just stored narrowly stalls the processor. */
    *answer->reward = env->reward, *answer->episode = env->episode;
    *answer->terminated = env->terminated, *answer->truncated = env->truncated, *answer->status = (uint8_t)status;
    if (!env->outbox.used) slot->blob_format = FERRY_NONE;
    else if (env->outbox.memory != FERRY__NO_OS) ferry__outbox_send(&env->outbox, &env->channel);
    slot->kind = (uint16_t)kind;
    slot->number = env->number;
    ferry__slot_publish(slot, env->expected.seq, env->channel.peer_line);
    env->which ^= kind != FERRY_CALL;
    ferry__env_begin_answer(env, env->number + 1); /* while the agent is busy with this one */
}

static int ferry__env_put_blob(ferry_env *env, const ferry_blob *blob) {
    const ferry__header *header = &env->spec.header;
    ferry__slot *slot = env->out[env->which].slot;
    return ferry__outbox_put(&env->outbox, blob, slot, (char *)slot + header->env_blob, header->blob_bytes, &env->channel.why);
}

static void ferry__env_put_text(ferry_env *env, const char *text) {
    ferry_blob blob;
    memset(&blob, 0, sizeof blob);
    blob.data = text, blob.size_bytes = strlen(text), blob.format = FERRY_TEXT;
    (void)ferry__env_put_blob(env, &blob);
}

/* May the program answer now? 1; 0 if its agent has left and nobody would hear it; or an error. */
static int ferry__env_may_answer(ferry_env *env) {
    if (!ferry__channel_is_mine(&env->channel)) return FERRY_EFORKED;
    if (env->channel.lost == 0) env->channel.why.code = 0;
    if (env->holding) return 1;
    if (env->abandoned) return 0;
    return ferry__fail(&env->channel.why, FERRY_ESTATE, "there is no turn to answer: ferry_env_wait gives one");
}

int ferry_env_blob(ferry_env *env, const ferry_blob *blob) {
    int may = ferry__env_may_answer(env);
    return may > 0 ? ferry__env_put_blob(env, blob) : may;
}

int ferry_env_reply(ferry_env *env) {
    int may = ferry__env_may_answer(env);
    if (may > 0) ferry__env_publish(env, FERRY_ROW_OK);
    else env->abandoned = 0;
    return may < 0 ? may : 0;
}

int ferry_env_fail(ferry_env *env, const char *text) {
    int may = ferry__env_may_answer(env);
    if (may > 0) {
        if (env->turns.turn[env->which].kind != FERRY_CALL) env->playing = 0;
        if (text != NULL) ferry__env_put_text(env, text);
        ferry__env_publish(env, FERRY_ROW_FAILED);
    } else env->abandoned = 0;
    return may < 0 ? may : 0;
}

/* ---- Turns ---- */

/* Answers in the program's place. */
static int ferry__env_refuse(ferry_env *env, const char *text) {
    ferry__env_put_text(env, text);
    ferry__env_publish(env, FERRY_ROW_REFUSED);
    return 0;
}

/* Is there an action that the program must not index with? Then it is answered here. */
static int ferry__env_refuse_actions(ferry_env *env, ferry_turn *turn) {
    ferry_why why;
    uint32_t i;
    for (i = 0; i < turn->num_fields; i++)
        if (env->spec.entries[i].role == FERRY_ACTION && ferry__spec_check_action(&env->spec, i, turn->data[i], &why) < 0) {
            (void)ferry__env_refuse(env, why.text);
            return 1;
        }
    return 0;
}

/* Copies the actions and checks them: 1 the program's turn, 0 it was answered here. */
static inline int ferry__env_take_actions(ferry_env *env, ferry_turn *turn) {
    env->number++;
    ferry__copy_lines_in(env->message + env->actions_begin, (const char *)env->in + env->actions_begin, env->actions_lines);
    if (env->spec.num_checked > 0 && ferry__env_refuse_actions(env, turn)) return 0;
    env->holding = 1;
    return 1;
}

/* Takes the message that has arrived: 1 the program's turn, 0 it was answered here, negative: the connection is over. */
static int ferry__env_take(ferry_env *env) {
    const ferry__slot *head = (const ferry__slot *)(void *)env->message;
    ferry_turn *turn = &env->turns.turn[env->which];
    uint32_t row;
    ferry__copy_in(env->message, env->in, (size_t)env->spec.columns_end[FERRY__AGENT - 1]);
    memcpy(&row, env->message + env->spec.group.rows_offset, sizeof row);
    if (head->number != env->number + 1 || (head->kind != FERRY_STEP && head->kind != FERRY_RESET && head->kind != FERRY_CALL) ||
        head->num_rows != 1 || row != 0)
        return ferry__channel_lose(
            &env->channel, FERRY_ECORRUPT,
            "the region shared with the agent (pid %u) is damaged: turn %llu says it is number %llu, kind %d, rows %u",
            env->channel.peer_pid, (unsigned long long)env->number + 1, (unsigned long long)head->number, head->kind, head->num_rows);
    env->turns.turn[0].blob.format = env->turns.turn[1].blob.format = FERRY_NONE;
    if (ferry__inbox_take(&env->inbox, &env->channel, head, (const char *)env->in + env->spec.header.agent_blob, &turn->blob) < 0)
        return env->channel.lost;
    turn->kind = head->kind;
    if (head->kind == FERRY_STEP && env->playing) return ferry__env_take_actions(env, turn);
    env->number++;
    if (head->kind == FERRY_CALL) return env->takes_calls ? env->holding = 1 : ferry__env_refuse(env, "this environment takes no calls");
    if (head->kind == FERRY_STEP)
        return ferry__env_refuse(env, "the first turn of an agent, and the next after a failure, must be a reset");
    env->episode++;
    env->playing = 1;
    env->holding = 1;
    return 1;
}

/* Tells the program that its agent is gone. */
static int ferry__env_leave(ferry_env *env, const ferry_turn **out) {
    uint32_t pid = env->channel.peer_pid;
    int reason = env->channel.lost;
    env->abandoned = env->holding, env->holding = 0;
    ferry__outbox_clear(&env->outbox);
    ferry__platform_show(&env->channel.listener, FERRY__NO_OS);
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

/* Whatever ferry_env_wait does not find at once. */
FERRY__COLD static int ferry__env_wait_longer(ferry_env *env, int64_t timeout_ns, const ferry_turn **out) {
    ferry__channel *channel = &env->channel;
    int64_t start, left = timeout_ns;
    int got, answered;
    if (env->holding) {
        channel->why.code = 0;
        if (timeout_ns != 0)
            return ferry__fail(&channel->why, FERRY_ESTATE,
                               "turn %llu is unanswered: ferry_env_reply or ferry_env_fail comes before the next wait",
                               (unsigned long long)env->number);
        return ferry__channel_look(channel) < 0 ? ferry__env_leave(env, out) : 0;
    }
    start = ferry__platform_now_ns();
    for (;;) {
        if (channel->state != FERRY__OPEN) {
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

int ferry_env_wait(ferry_env *env, int64_t timeout_ns, const ferry_turn **out) {
    ferry_turn *turn = &env->turns.turn[env->which];
    uint32_t next = env->expected.seq;
    *out = NULL;
    if (!ferry__channel_is_mine(&env->channel)) return FERRY_EFORKED;
    if (!env->holding && env->channel.state == FERRY__OPEN && ferry__channel_spin(&env->channel, env->in, next - 1, next, timeout_ns) &&
        env->playing && !env->inbox.used && ferry__slot_is_plain(env->in, &env->expected) && ferry__env_take_actions(env, turn)) {
        *out = turn;
        return 1;
    }
    return ferry__env_wait_longer(env, timeout_ns, out);
}
