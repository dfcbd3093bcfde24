/* The environment's real time: takes the newest action, hands out frames, publishes them.
 *
 * Invariant: what a frame costs does not depend on the agent. Actions and frames go through lanes (lane.h), which nobody waits at; RESETs
 * and CALLs are turns as ever, and env.c's. */
#include "env.h"

#include "atomics.h"
#include "elements.h"
#include "errors.h"
#include "rules.h"

#include <string.h>

void ferry__world_open(ferry_env *env, char *base) {
    env->world.published = 0;
    ferry__lanes_open(&env->spec.header, base, FERRY__ENV, &env->world.frames, &env->world.actions);
}

/* Writes an action at rest: zero, or the nearest value that is inside the bounds. */
static void ferry__world_rest(ferry_env *env) {
    uint32_t i;
    memset(env->message + env->actions_begin, 0, env->actions_lines * FERRY__CACHE_LINE);
    for (i = 0; i < env->spec.header.num_fields; i++) {
        const ferry__entry *entry = &env->spec.entries[i];
        uint64_t size = ferry_dtype_bytes(entry->dtype), bytes = size, at;
        uint32_t k;
        if (entry->role != FERRY_ACTION || entry->bounds == FERRY__BOUNDS_NONE || entry->capacity != 0) continue;
        for (k = 0; k < entry->ndim; k++) bytes *= entry->shape[k];
        for (at = 0; at < bytes; at += size) {
            uint64_t bound = entry->bounds == FERRY__BOUNDS_EACH ? at : 0;
            const char *low = env->spec.pool + entry->low_offset + bound, *high = env->spec.pool + entry->high_offset + bound;
            if (ferry__double_at(entry->dtype, low) > 0) memcpy(env->message + entry->offset + at, low, (size_t)size);
            else if (ferry__double_at(entry->dtype, high) < 0) memcpy(env->message + entry->offset + at, high, (size_t)size);
        }
    }
}

void ferry__world_begin(ferry_env *env, ferry_status status) {
    ferry__world *world = &env->world;
    world->runs = status == FERRY_ROW_OK;
    world->frame = world->answers = world->action_ns = 0, world->returned = 0;
    ferry__world_rest(env);
}

/* Takes the newest action, if there is one that belongs to the episode and is in its space. An agent of this library sends no other. */
static int ferry__world_take_latest(ferry_env *env) {
    ferry__world *world = &env->world;
    const char *slot;
    ferry__moment moment;
    ferry_why why;
    int got = ferry__lane_pull(&world->actions);
    if (got < 0) return ferry__channel_damaged(&env->channel, "actions have lost their lane");
    if (got == 0) return 0;
    slot = (const char *)ferry__lane_mine(&world->actions);
    FERRY__ONCE(moment, slot + env->spec.group.action_moment_offset);
    if (moment.episode != env->rows.episode[0] || moment.answers > world->frame || moment.action_ns == 0) return 0;
    ferry__copy_lines_in(world->incoming + env->actions_begin, slot + env->actions_begin, env->actions_lines);
    if (ferry__spec_check_actions(&env->spec, world->incoming, env->turns.all, 1, &why) < 0) return 0;
    memcpy(env->message + env->actions_begin, world->incoming + env->actions_begin, env->actions_lines * FERRY__CACHE_LINE);
    world->answers = moment.answers, world->action_ns = moment.action_ns;
    return 1;
}

int ferry__world_await(ferry_env *env, int64_t timeout_ns) {
    ferry__world *world = &env->world;
    int got = ferry__world_take_latest(env);
    if (got >= 0 && timeout_ns != 0 && (world->action_ns == 0 || world->answers != world->frame)) {
        got = ferry__channel_await_lane(&env->channel, world->actions.word, ferry__load_acquire(world->actions.word) & ~FERRY__LANE_FRESH,
                                        env->in, env->expected.seq, timeout_ns);
        if (got > 0 || got == FERRY__INTERRUPTED) return 0; /* an action, perhaps of an older frame, or a turn and its knock: look again */
    }
    return got < 0 ? got : 1;
}

ferry_turn *ferry__world_frame(ferry_env *env) {
    ferry__world *world = &env->world;
    const ferry__group *group = &env->spec.group;
    ferry_turn *turn = &env->turns.frame[world->frames.mine];
    ferry__slot *slot = ferry__lane_mine(&world->frames);
    ferry__moment *moment = (ferry__moment *)(void *)((char *)slot + group->frame_moment_offset);
    turn->kind = FERRY_STEP, turn->number = env->number, turn->peer_pid = env->channel.peer_pid;
    turn->frame = world->frame + 1, turn->frame_ns = ferry__platform_now_ns();
    turn->answers = world->answers, turn->action_ns = (int64_t)world->action_ns;
    slot->kind = FERRY_STEP, slot->number = turn->frame;
    moment->answers = turn->answers, moment->episode = env->rows.episode[0];
    moment->frame_ns = (uint64_t)turn->frame_ns, moment->action_ns = world->action_ns;
    memcpy((char *)slot + group->episode_offset, env->rows.episode, sizeof *env->rows.episode);
    env->reward = 0, env->terminated = env->truncated = 0;
    env->outbox.used = 0;
    if (env->spec.num_infos > 0) ferry__turn_clear_infos(turn);
    env->holding = FERRY__HOLDING_FRAME;
    ferry__fetch_to_write((char *)slot +
                          ferry__round_up(env->spec.columns_end[FERRY__ENV - 1], FERRY__CACHE_LINE)); /* a small frame's fields */
    return turn;
}

/* Shows observers a frame while it is still this side's own: at most so many a second, and always one that ends an episode. */
static void ferry__world_show(ferry_env *env, const ferry__slot *slot) {
    int64_t now = ferry__platform_now_ns();
    ferry__ring_note(env->ring, slot);
    if (!env->world.runs || now - env->ring->copied_ns >= FERRY__RING_PERIOD_NS) ferry__ring_write(env->ring, env->message, slot, now);
}

FERRY__WARM void ferry__world_publish(ferry_env *env, ferry_status status) {
    ferry__world *world = &env->world;
    const ferry__group *group = &env->spec.group;
    ferry__slot *slot = ferry__lane_mine(&world->frames);
    ferry_turn *turn = &env->turns.frame[world->frames.mine];
    char *base = (char *)slot;
    ferry__moment *moment = (ferry__moment *)(void *)(base + group->frame_moment_offset);
    world->frame = turn->frame;
    moment->returned = world->returned += env->reward;
    env->truncated |= (uint8_t)(env->rows.max_steps != 0 && world->frame >= env->rows.max_steps && status == FERRY_ROW_OK);
    world->runs = status == FERRY_ROW_OK && !env->terminated && !env->truncated;
    memcpy(base + group->reward_offset, &env->reward, sizeof env->reward);
    base[group->terminated_offset] = (char)env->terminated, base[group->truncated_offset] = (char)env->truncated;
    base[group->status_offset] = (char)status;
    if (!env->outbox.used) slot->blob_format = FERRY_NONE;
    env->holding = FERRY__HOLDING_NOTHING;
    env->spoilt = 1; /* what was answered by turns is older */
    if (env->ring != NULL && status == FERRY_ROW_OK) ferry__world_show(env, slot);
    env->channel.line->frames = ++world->published;
    if (ferry__lane_push(&world->frames) < 0) (void)ferry__channel_damaged(&env->channel, "frames have lost their lane");
}
