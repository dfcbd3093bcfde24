/* The agent's real time: hands actions over, and takes the newest frame.
 *
 * Nobody wakes who waits for a frame, so that publishing one costs the same whoever waits; the agent naps by the rate that it has seen. */
#include "agent.h"

#include "atomics.h"
#include "errors.h"
#include "rules.h"

#include <string.h>

void ferry__view_open(ferry_agent *agent, char *base) {
    ferry__view *view = &agent->view;
    int i;
    memset(view, 0, sizeof *view);
    ferry__lanes_open(&agent->spec.header, base, FERRY__AGENT, &view->frames, &view->actions);
    for (i = 0; i < FERRY__LANE_SLOTS; i++) {
        ferry_turn *turn = &agent->turns.frame[i];
        turn->kind = FERRY_STEP, turn->peer_pid = agent->channel.peer_pid;
        turn->reward = &view->reward, turn->episode = &view->episode, turn->status = &view->status;
        turn->terminated = &view->terminated, turn->truncated = &view->truncated;
    }
}

/* The word that a deciding environment sleeps on has been changed. The fence and the look are one half of the Dekker pair; ferry__wait has the
 * other. */
static void ferry__view_wake(const ferry_agent *agent) {
    ferry__fence_dekker();
    if (ferry__load_relaxed(&agent->channel.peer_line->parked) != 0) ferry__platform_wake(agent->channel.memory, agent->view.actions.word);
}

FERRY__COLD void ferry__view_sent(ferry_agent *agent) {
    ferry__lane_knock(&agent->view.actions); /* who is not asleep yet has looked for a turn before, and compares this word alone */
    ferry__view_wake(agent);
    if (agent->request.kind != FERRY_RESET) return;
    agent->view.reset = &agent->turns.turn[agent->next];
    agent->view.runs = 0;
}

/* The episode whose RESET has been answered begins. */
static void ferry__view_begin_episode(ferry_agent *agent) {
    ferry__view *view = &agent->view;
    uint8_t status;
    if (view->reset == NULL || agent->owed) return;
    FERRY__ONCE(view->episode, view->reset->episode);
    FERRY__ONCE(status, view->reset->status);
    view->reset = NULL;
    view->runs = status == FERRY_ROW_OK, view->frame = 0, view->returned = 0, view->frame_ns = 0;
}

FERRY__WARM int ferry__view_act(ferry_agent *agent) {
    const ferry__group *group = &agent->spec.group;
    ferry__view *view = &agent->view;
    ferry_why *why = &agent->channel.why;
    char *slot = (char *)ferry__lane_mine(&view->actions);
    size_t begin = (size_t)agent->spec.columns_end[FERRY__AGENT - 1], end = (size_t)agent->spec.fields_end[FERRY__AGENT - 1];
    ferry__moment moment;
    ferry__view_begin_episode(agent);
    if (!view->runs) return ferry__fail(why, FERRY_ESTATE, "no episode runs: a RESET comes first");
    if (agent->request.blob.format != FERRY_NONE) return ferry__fail(why, FERRY_EINVAL, "in real time an action has no blob");
    if (ferry__spec_check_actions(&agent->spec, (const char *)agent->out, agent->turns.all, 1, why) < 0) return why->code;
    memset(&moment, 0, sizeof moment);
    moment.answers = view->frame, moment.episode = view->episode, moment.action_ns = (uint64_t)ferry__platform_now_ns();
    memcpy(slot + group->action_moment_offset, &moment, sizeof moment);
    memcpy(slot + begin, (const char *)agent->out + begin, end - begin);
    if (ferry__lane_push(&view->actions) < 0) return ferry__channel_damaged(&agent->channel, "actions have lost their lane");
    ferry__view_wake(agent);
    return 0;
}

/* Learns from the frame taken last how long frames take. A peer may say what it likes, and a clock of its own that makes no sense tells nothing. */
#define FERRY__MOST_PERIOD_NS UINT64_C(60000000000)
static void ferry__view_note_period(ferry__view *view) {
    uint64_t period = view->passed_ns / view->passed;
    view->passed = 0;
    if (period > FERRY__MOST_PERIOD_NS) return;
    view->period_ns = view->period_ns == 0 ? (int64_t)period : view->period_ns + ((int64_t)period - view->period_ns) / 8;
}

/* Takes the frame that was pulled: 1, 0 it is of an episode that is over, or why the connection is. Each number is loaded by itself: as a whole
 * the head would go through memory, which is waited for. */
static inline int ferry__view_take_frame(ferry_agent *agent, const ferry_turn **out) {
    const ferry__group *group = &agent->spec.group;
    ferry__view *view = &agent->view;
    ferry_turn *turn = &agent->turns.frame[view->frames.mine];
    const ferry__slot *slot = ferry__lane_mine(&view->frames);
    const char *base = (const char *)slot;
    const ferry__moment *moment = (const ferry__moment *)(const void *)(base + group->frame_moment_offset);
    ferry__slot head;
    uint64_t number, episode, frame_ns;
    double reward, returned;
    uint16_t kind;
    uint8_t format, status;
    FERRY__ONCE(number, &slot->number);
    FERRY__ONCE(kind, &slot->kind);
    FERRY__ONCE(format, &slot->blob_format);
    FERRY__ONCE(episode, &moment->episode);
    FERRY__ONCE(frame_ns, &moment->frame_ns);
    FERRY__ONCE(returned, &moment->returned);
    if (episode != view->episode) return 0;
    if (kind != FERRY_STEP || number <= view->frame)
        return ferry__channel_damaged(&agent->channel, "frame %llu follows %llu, kind %d", (ferry__ull)number, (ferry__ull)view->frame,
                                      kind);
    FERRY__ONCE(reward, base + group->reward_offset);
    FERRY__ONCE(view->terminated, base + group->terminated_offset);
    FERRY__ONCE(view->truncated, base + group->truncated_offset);
    FERRY__ONCE(status, base + group->status_offset);
    turn->blob.format = FERRY_NONE, turn->blob.size_bytes = 0;
    if (format != FERRY_NONE || agent->inbox.used) {
        FERRY__ONCE(head, slot);
        head.blob_where = FERRY__WHERE_SLOT;
        if (ferry__inbox_take(&agent->inbox, &agent->channel, &head, slot, &turn->blob, NULL) < 0) return agent->channel.lost;
    }
    /* The sum's rounding would show in a difference: where nothing was passed over, there is no need for one. */
    view->reward = number == view->frame + 1 ? reward : returned - view->returned;
    view->returned = returned, view->status = status;
    if (view->frame_ns != 0) view->passed_ns = frame_ns - (uint64_t)view->frame_ns, view->passed = number - view->frame;
    view->frame = number, view->frame_ns = (int64_t)frame_ns;
    view->runs = status == FERRY_ROW_OK && !view->terminated && !view->truncated;
    turn->number = agent->number, turn->frame = number, turn->frame_ns = (int64_t)frame_ns;
    FERRY__ONCE(turn->answers, &moment->answers);
    FERRY__ONCE(turn->action_ns, &moment->action_ns);
    *out = turn;
    return 1;
}

static inline int ferry__view_pull_frame(ferry_agent *agent, const ferry_turn **out) {
    int got = ferry__lane_pull(&agent->view.frames);
    if (got < 0) return ferry__channel_damaged(&agent->channel, "frames have lost their lane");
    return got > 0 ? ferry__view_take_frame(agent, out) : 0;
}

/* Nobody wakes who waits for a frame. So it sleeps until shortly before one is due, looks closely then, and less and less so when it does
 * not come. When an episode's first one is due nobody knows, and it looks closely when the wait begins. */
#define FERRY__EARLY_NS 150000
#define FERRY__LEAST_NAP_NS 50000
#define FERRY__MOST_NAP_NS 2000000
static int64_t ferry__view_nap(const ferry__view *view, int64_t start, int64_t now) {
    int known = view->frame_ns != 0 && view->period_ns > 0;
    int64_t late = known ? (int64_t)((uint64_t)now - (uint64_t)view->frame_ns - (uint64_t)view->period_ns) : now - start;
    if (late < -FERRY__EARLY_NS) return late > -FERRY__EARLY_NS - FERRY__SLICE_NS ? -late - FERRY__EARLY_NS : FERRY__SLICE_NS;
    if (late < FERRY__EARLY_NS) return 0;
    late /= 8;
    return late < FERRY__LEAST_NAP_NS ? FERRY__LEAST_NAP_NS : late < FERRY__MOST_NAP_NS ? late : FERRY__MOST_NAP_NS;
}

FERRY__WARM int ferry__view_wait(ferry_agent *agent, int64_t timeout_ns, const ferry_turn **out) {
    ferry__channel *channel = &agent->channel;
    ferry__view *view = &agent->view;
    int64_t start = 0, deadline = 0, look_ns = 0, now, nap;
    int got, looks, slept = 0;
    ferry__view_begin_episode(agent);
    if (view->passed != 0) ferry__view_note_period(view);
    if (!view->runs) return ferry__fail(&channel->why, FERRY_ESTATE, "no episode runs: a RESET comes first");
    for (;;) {
        for (looks = timeout_ns != 0 ? FERRY__SPIN_LOOKS : 0;
             (ferry__load_acquire(view->frames.word) & FERRY__LANE_FRESH) == 0 && looks > 0; looks--)
            ferry__pause();
        got = ferry__view_pull_frame(agent, out);
        if (got != 0) break;
        now = ferry__platform_now_ns();
        if (start == 0) start = now, deadline = ferry__deadline(timeout_ns, now);
        if (now < look_ns) continue;
        got = ferry__channel_look(channel, now, slept);
        if (got < 0) { /* what a dying environment published last goes first */
            got = ferry__view_pull_frame(agent, out);
            if (got == 0) got = channel->lost;
            break;
        }
        if (now >= deadline) {
            if (agent->owed_ns == 0 && timeout_ns > 0) agent->owed_ns = start;
            return 0;
        }
        if (channel->policy == FERRY__SPIN) {
            look_ns = ferry__least(now + FERRY__SLICE_NS, deadline);
            continue;
        }
        nap = ferry__least(ferry__view_nap(view, start, now), deadline - now);
        slept = nap >= FERRY__MOST_NAP_NS;
        if (nap == 0) ferry__platform_yield();
        else ferry__platform_nap(nap);
    }
    agent->owed_ns = 0;
    return got;
}
