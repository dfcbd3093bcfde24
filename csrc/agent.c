/* The agent's side: sends turns, waits for the answers.
 *
 * An answer is owed from ferry_agent_send to the ferry_agent_wait that returns it, however many waits time out in between. The region's
 * spec is copied and checked once per connection; of what the environment writes later only heads and blobs are checked, because nothing
 * here computes with observations. */
#include "agent.h"

#include "atomics.h"
#include "bell.h"
#include "errors.h"
#include "rows.h"

#include <stdlib.h>
#include <string.h>

/* ---- Handshake ---- */

static void ferry__agent_forget(ferry_agent *agent) {
    free(agent->seed);
    free(agent->asked);
    agent->seed = NULL, agent->asked = NULL;
    ferry__inbox_close(&agent->inbox);
    ferry__turns_close(&agent->turns);
    ferry__spec_clear(&agent->spec);
    ferry__region_release(agent->region);
    agent->region = NULL;
}

/* Room for what is said of rows; and is the region the one that was asked for? */
static int ferry__agent_make_room(ferry_agent *agent, ferry_why *why) {
    const ferry__group *group = &agent->spec.group;
    if ((group->flags & FERRY__AUTORESET_MASK) != agent->channel.autoreset || (uint32_t)agent->spec.realtime != agent->channel.realtime)
        return ferry__fail(why, FERRY_EPROTOCOL, "the environment (pid %u) offers another way of playing than it was asked for",
                           agent->channel.peer_pid);
    agent->seed = (int64_t *)malloc(group->num_rows * sizeof *agent->seed);
    agent->asked = (uint32_t *)malloc(group->num_rows * sizeof *agent->asked);
    agent->seeded = 1;
    return agent->seed != NULL && agent->asked != NULL ? 0 : ferry__no_memory(why);
}

/* Where it listens, for itself alone, onlookers find the memory while there is a connection. Else nobody needs the descriptor. */
static void ferry__agent_show(ferry_agent *agent, int shown) {
    const ferry__door *door = agent->channel.door;
    if (door != NULL && door->places == 1) {
        ferry__platform_show(&door->listener, shown ? agent->region->memory : FERRY__NO_OS);
        if (shown) return;
    }
    ferry__platform_memory_settle(&agent->region->memory);
}

static int ferry__agent_accept(void *user, ferry__os memory, uint64_t bytes, ferry_why *why) {
    ferry_agent *agent = (ferry_agent *)user;
    const ferry__header *header = &agent->spec.header;
    char *base, *answers[FERRY__ANSWERS];
    ferry__agent_forget(agent);
    if (ferry__region_adopt(memory, bytes, agent->channel.max_bytes, &agent->region, why) < 0) return why->code;
    base = agent->region->base;
    if (ferry__spec_take(base, bytes, bytes, &agent->spec, why) < 0) {
        ferry__agent_forget(agent);
        return why->code;
    }
    ferry__turns_place(&agent->spec, base, answers);
    if (ferry__turns_open(&agent->turns, &agent->spec, answers, base + header->agent_slot, why) < 0 ||
        ferry__inbox_open(&agent->inbox, header->env_blob, header->blob_bytes, why) < 0 || ferry__agent_make_room(agent, why) < 0 ||
        ferry__platform_memory_protect(agent->region->base, agent->spec.parts_begin, why) < 0) {
        ferry__agent_forget(agent);
        return why->code;
    }
    agent->channel.line = (ferry__line *)(void *)(base + header->agent_offset);
    agent->channel.peer_line = (ferry__line *)(void *)(base + header->env_offset);
    agent->out = (ferry__slot *)(void *)(base + header->agent_slot);
    agent->in[0] = (ferry__slot *)(void *)(base + header->env_slot[0]);
    agent->in[1] = (ferry__slot *)(void *)(base + header->env_slot[1]);
    ferry__agent_show(agent, 1);
    agent->channel.memory = agent->region->memory;
    agent->spec.desc.index = agent->channel.peer_index;
    agent->turns.turn[0].peer_pid = agent->turns.turn[1].peer_pid = agent->channel.peer_pid;
    agent->request = agent->turns.turn[0];
    agent->request.seed = agent->seed;
    agent->channel.line->pid = ferry__platform_pid();
    if (agent->spec.realtime) ferry__view_open(agent, base);
    agent->outbox.at = header->agent_blob, agent->outbox.room = header->blob_bytes;
    agent->told_rows = 0;
    agent->number = 0, agent->next = 0, agent->owed = 0, agent->owed_ns = 0;
    agent->seen[0] = agent->seen[1] = header->seq_start;
    ferry__channel_begin(&agent->channel, header->seq_start);
    agent->notice = agent->channel.attend, agent->received_ns = agent->thought_ns = 0;
    return 0;
}

/* ---- Life cycle ---- */

int ferry_agent_open(const ferry_agent_desc *desc, ferry_agent **out, ferry_why *why) {
    ferry_why ignored;
    ferry_agent *agent;
    if (why == NULL) why = &ignored;
    if (out != NULL) *out = NULL;
    if (ferry__check_open("agent", out, desc != NULL ? &desc->struct_size : NULL, sizeof *desc, why) < 0) return why->code;
    if (desc->autoreset > FERRY_AUTORESET_SAME_STEP)
        return ferry__fail(why, FERRY_EINVAL, "autoreset is %u; it may be FERRY_AUTORESET_DISABLED, NEXT_STEP or SAME_STEP",
                           desc->autoreset);
    if (desc->realtime > 1 || (desc->realtime == 1 && desc->autoreset != FERRY_AUTORESET_DISABLED))
        return ferry__fail(why, FERRY_EINVAL,
                           "realtime is 0 or 1, and with 1 autoreset is FERRY_AUTORESET_DISABLED: a frame that ends stands");
    agent = (ferry_agent *)calloc(1, sizeof *agent);
    if (agent == NULL) return ferry__no_memory(why);
    agent->outbox.memory = FERRY__NO_OS;
    agent->channel.log = desc->log, agent->channel.log_user = desc->log_user;
    agent->channel.max_bytes = desc->max_bytes != 0 ? desc->max_bytes : FERRY__DEFAULT_MAX_BYTES;
    agent->channel.handshake.accept = ferry__agent_accept;
    agent->channel.user = agent;
    if (ferry__channel_open(&agent->channel, FERRY__AGENT, desc->address, desc->beside != NULL ? &desc->beside->channel : NULL, why) < 0) {
        free(agent);
        return why->code;
    }
    agent->bell = desc->bell;
    agent->channel.autoreset = desc->autoreset, agent->channel.realtime = desc->realtime;
    if (desc->bell != NULL) agent->channel.bell = desc->bell->region->memory;
    *out = agent;
    return 0;
}

/* Ends the connection and wakes an environment that sleeps, so that it looks around. */
static void ferry__agent_leave(ferry_agent *agent) {
    ferry__agent_show(agent, 0);
    ferry__channel_hang_up(&agent->channel);
    ferry__platform_wake(agent->region->memory, &agent->out->seq);
    if (agent->spec.realtime) ferry__platform_wake(agent->region->memory, agent->view.actions.word);
    ferry__outbox_clear(&agent->outbox);
    agent->owed = 0;
}

void ferry_agent_close(ferry_agent *agent) {
    if (agent == NULL) return;
    if (agent->channel.state == FERRY__OPEN && ferry__channel_is_mine(&agent->channel)) ferry__agent_leave(agent);
    ferry__channel_close(&agent->channel);
    ferry__outbox_clear(&agent->outbox);
    ferry__agent_forget(agent);
    free(agent);
}

int ferry_agent_connect(ferry_agent *agent, int64_t timeout_ns) {
    if (!ferry__channel_is_mine(&agent->channel)) return FERRY_EFORKED;
    if (agent->channel.state == FERRY__OPEN && ferry__channel_look(&agent->channel, ferry__platform_now_ns(), 0) < 0)
        ferry__agent_leave(agent);
    return agent->channel.state == FERRY__OPEN ? 1 : ferry__channel_meet(&agent->channel, timeout_ns);
}

const ferry_env_desc *ferry_agent_env(const ferry_agent *agent) { return agent->spec.desc.struct_size != 0 ? &agent->spec.desc : NULL; }

ferry_hold *ferry_agent_hold(ferry_agent *agent) { return ferry__region_keep(agent->region); }

void ferry_release(ferry_hold *hold) { ferry__region_release(hold); }

void ferry_agent_why(const ferry_agent *agent, ferry_why *why) {
    const ferry__channel *channel = &agent->channel;
    const char *text = channel->address.text;
    ferry__ull number = (ferry__ull)agent->number;
    if (ferry__channel_explains(channel, why)) return;
    if (!agent->owed && agent->view.runs && agent->owed_ns != 0)
        ferry__fail(why, 0, "the environment (pid %u) at '%s' has published no frame for %.1f s, after number %llu of episode %llu",
                    channel->peer_pid, text, (double)(ferry__platform_now_ns() - agent->owed_ns) * 1e-9, (ferry__ull)agent->view.frame,
                    (ferry__ull)agent->view.episode);
    else if (!agent->owed)
        ferry__fail(why, 0, "the environment (pid %u) at '%s' has answered turn %llu and waits for the next", channel->peer_pid, text,
                    number);
    else
        ferry__fail(why, 0, "the environment (pid %u) at '%s' has held the turn for %.1f s, at turn %llu (a %s)", channel->peer_pid, text,
                    agent->owed_ns == 0 ? 0.0 : (double)(ferry__platform_now_ns() - agent->owed_ns) * 1e-9, number,
                    agent->request.kind == FERRY_STEP    ? "step"
                    : agent->request.kind == FERRY_RESET ? "reset"
                                                         : "call");
}

/* ---- Turns ---- */

FERRY__COLD static void ferry__agent_forget_seeds(ferry_agent *agent) {
    uint32_t row;
    for (row = 0; row < agent->spec.group.num_rows; row++) agent->seed[row] = -1;
    agent->seeded = 0;
}

/* Writes a list of some of the rows into the slot, and keeps it for the answer. */
FERRY__COLD static int ferry__agent_put_rows(ferry_agent *agent, const ferry_turn *turn, ferry__slot *slot) {
    const ferry__group *group = &agent->spec.group;
    if (!ferry__rows_valid(turn->rows, turn->num_rows, group->num_rows))
        return ferry__fail(&agent->channel.why, FERRY_EINVAL, "a turn is about one row or more, in ascending order, below %u",
                           group->num_rows);
    memcpy(agent->asked, turn->rows, turn->num_rows * sizeof *turn->rows);
    memcpy((char *)slot + group->rows_offset, agent->asked, turn->num_rows * sizeof *turn->rows);
    return 0;
}

ferry_turn *ferry_agent_turn(ferry_agent *agent) {
    ferry_turn *turn = &agent->request;
    if (!ferry__channel_is_mine(&agent->channel) || agent->channel.state != FERRY__OPEN || agent->owed) return NULL;
    turn->number = agent->number + 1;
    turn->kind = 0;
    turn->rows = agent->turns.all, turn->num_rows = agent->spec.group.num_rows;
    if (agent->seeded) ferry__agent_forget_seeds(agent);
    turn->blob.data = NULL, turn->blob.size_bytes = 0, turn->blob.format = FERRY_NONE;
    return turn;
}

/* Reads the clock at the sending of a turn that is timed, or of the one after it. */
FERRY__COLD static void ferry__agent_note_sending(ferry_agent *agent, uint32_t seq) {
    int64_t now = ferry__platform_now_ns();
    if (agent->received_ns != 0) agent->thought_ns = now - agent->received_ns, agent->received_ns = 0;
    if (seq == agent->channel.attend) agent->sent_ns = now;
    agent->notice = agent->channel.attend;
}

int ferry_agent_send(ferry_agent *agent) {
    const ferry__header *header = &agent->spec.header;
    ferry__slot *slot = agent->out;
    ferry_turn *turn = &agent->request, *answer;
    ferry_why *why = &agent->channel.why;
    uint32_t seq;
    if (!ferry__channel_is_mine(&agent->channel)) return FERRY_EFORKED;
    if (agent->channel.lost == 0) why->code = 0;
    if (agent->channel.state != FERRY__OPEN) return ferry__fail(why, FERRY_ESTATE, "there is no connection: call ferry_agent_connect");
    if (agent->owed) return ferry__fail(why, FERRY_ESTATE, "the answer to turn %llu is owed: wait for it first", (ferry__ull)agent->number);
    if ((turn->kind != FERRY_STEP && turn->kind != FERRY_RESET && turn->kind != FERRY_CALL) || turn->number != agent->number + 1)
        return ferry__fail(why, FERRY_EINVAL, "an agent sends turns of kind FERRY_STEP, RESET or CALL, not %u; fill ferry_agent_turn first",
                           turn->kind);
    if (agent->spec.realtime && turn->kind == FERRY_STEP) return ferry__view_act(agent);
    if (!ferry__outbox_is_idle(&agent->outbox, &turn->blob) && ferry__outbox_put(&agent->outbox, &turn->blob, slot, why) < 0)
        return why->code;
    if (turn->num_rows != agent->spec.group.num_rows && ferry__agent_put_rows(agent, turn, slot) < 0) return why->code;
    if (turn->kind == FERRY_RESET) {
        memcpy((char *)slot + agent->spec.group.seed_offset, agent->seed, agent->spec.group.num_rows * sizeof *agent->seed);
        agent->seeded = 1;
    }
    if (turn->num_rows != agent->told_rows) slot->num_rows = agent->told_rows = turn->num_rows;
    slot->kind = (uint16_t)turn->kind;
    slot->number = ++agent->number;
    seq = header->seq_start + (uint32_t)agent->number;
    agent->owed = 1, agent->owed_ns = 0;
    if (agent->outbox.memory != FERRY__NO_OS) ferry__outbox_send(&agent->outbox, &agent->channel);
    if (seq == agent->notice) ferry__agent_note_sending(agent, seq);
    ferry__slot_publish(slot, seq, agent->channel.peer_line, &agent->channel.memory);
    if (agent->spec.realtime) ferry__view_sent(agent);
    /* While the environment is at work. */
    agent->expected = ferry__plain_of(seq, turn->kind, agent->number);
    agent->which = agent->next;
    agent->next ^= turn->kind != FERRY_CALL;
    answer = &agent->turns.turn[agent->which];
    answer->kind = turn->kind, answer->number = agent->number;
    answer->num_rows = turn->num_rows, answer->rows = turn->num_rows != agent->spec.group.num_rows ? agent->asked : agent->turns.all;
    return 0;
}

/* Checks the head of the answer that has arrived, and its blob. */
static int ferry__agent_take(ferry_agent *agent, const ferry__slot *slot, ferry_turn *answer) {
    ferry__slot head;
    FERRY__ONCE(head, slot);
    if (head.number != agent->number || head.kind != agent->request.kind)
        return ferry__channel_damaged(&agent->channel, "the answer to turn %llu says it is number %llu, kind %d", (ferry__ull)agent->number,
                                      (ferry__ull)head.number, head.kind);
    agent->turns.turn[0].blob.format = agent->turns.turn[1].blob.format = FERRY_NONE;
    agent->turns.turn[0].step_blob.format = agent->turns.turn[1].step_blob.format = FERRY_NONE;
    if (ferry__inbox_take(&agent->inbox, &agent->channel, &head, slot, &answer->blob, &answer->step_blob) < 0) return agent->channel.lost;
    return 1;
}

/* The answer to a turn that is timed has come. */
static void ferry__agent_note_answer(ferry_agent *agent) {
    agent->received_ns = agent->channel.taken_ns, agent->notice = agent->expected.seq + 1;
    ferry__channel_sample(&agent->channel, agent->number, agent->sent_ns, agent->received_ns, agent->thought_ns);
}

/* Goes on where spinning for the answer ends. */
FERRY__COLD static int ferry__agent_wait_longer(ferry_agent *agent, int64_t timeout_ns, const ferry_turn **out) {
    uint32_t which = agent->which;
    ferry_turn *answer = &agent->turns.turn[which];
    int got;
    if (!agent->owed && agent->spec.realtime && agent->channel.state == FERRY__OPEN) {
        got = ferry__view_wait(agent, timeout_ns, out);
        if (got < 0 && got != FERRY_ESTATE) ferry__agent_leave(agent);
        return got;
    }
    if (!agent->owed) return ferry__fail(&agent->channel.why, FERRY_ESTATE, "no answer is owed: send a turn first");
    got = ferry__channel_await(&agent->channel, agent->in[which], agent->seen[which], agent->expected.seq, timeout_ns);
    if (got > 0 && agent->channel.taken_ns != 0) ferry__agent_note_answer(agent);
    if (got > 0) got = ferry__agent_take(agent, agent->in[which], answer);
    if (got > 0) agent->owed = 0, agent->seen[which] = agent->expected.seq, *out = answer;
    else if (got < 0) ferry__agent_leave(agent);
    else if (agent->owed_ns == 0 && timeout_ns > 0) agent->owed_ns = ferry__platform_now_ns() - timeout_ns;
    return got;
}

int ferry_agent_wait(ferry_agent *agent, int64_t timeout_ns, const ferry_turn **out) {
    uint32_t which = agent->which, next = agent->expected.seq;
    const ferry__slot *slot = agent->in[which];
    *out = NULL;
    if (!ferry__channel_is_mine(&agent->channel)) return FERRY_EFORKED;
    if (agent->channel.lost == 0) agent->channel.why.code = 0; /* what a look found stands until it is told */
    if (agent->owed && ferry__channel_spin(&agent->channel, slot, agent->seen[which], next, timeout_ns) && !agent->inbox.used &&
        ferry__slot_is_plain(slot, &agent->expected)) {
        agent->owed = 0;
        agent->seen[which] = next;
        *out = &agent->turns.turn[which];
        return 1;
    }
    return ferry__agent_wait_longer(agent, timeout_ns, out);
}

/* ---- Many agents ---- */

/* Has the agent something to tell? */
static int ferry__agent_is_ready(const ferry_agent *agent) {
    uint32_t which = agent->which;
    return !agent->owed || agent->channel.lost != 0 || ferry__slot_state(agent->in[which], agent->seen[which], agent->expected.seq) != 0;
}

static uint32_t ferry__count_ready(ferry_agent *const *agents, uint32_t count, uint8_t *ready) {
    uint32_t i, total = 0;
    for (i = 0; i < count; i++) total += ready[i] = (uint8_t)ferry__agent_is_ready(agents[i]);
    return total;
}

/* Looks whether somebody is gone: whoever is has that to tell. */
static void ferry__look_after_all(ferry_agent *const *agents, uint32_t count, int slept) {
    uint32_t i;
    for (i = 0; i < count; i++)
        if (!ferry__agent_is_ready(agents[i])) (void)ferry__channel_look(&agents[i]->channel, ferry__platform_now_ns(), slept);
}

/* A scheduler leaves two envs on one processor while this agent, which yields, has another for itself. The agent sees them: two that were there
 * last, or one of several that has been woken and does not run yet. It fetches one. */
static void ferry__fetch_one(ferry_agent *const *agents, uint32_t count) {
    ferry_agent *crowded = NULL;
    uint64_t met = 0;
    uint32_t i;
    for (i = 0; i < count; i++) {
        const ferry__line *peer = agents[i]->channel.peer_line;
        uint32_t there = ferry__load_relaxed(&peer->processor);
        uint64_t bit = there - 1 < 64 ? UINT64_C(1) << (there - 1) : 0;
        if (ferry__agent_is_ready(agents[i])) continue;
        if ((met & bit) != 0 || (count > 1 && ferry__load_relaxed(&peer->parked) != 0)) crowded = agents[i];
        met |= bit;
    }
    if (crowded == NULL) return;
    ferry__platform_fetch(crowded->channel.peer_pid);
    crowded->channel.line->fetched++;
}

/* Goes on where spinning ends. */
static int ferry__wait_for_many(ferry_bell *bell, ferry_agent *const *agents, uint32_t count, uint32_t at_least, int64_t timeout_ns,
                                uint8_t *ready) {
    ferry__bell_page *page = ferry__bell_page_of(bell->region);
    ferry__policy policy = agents[0]->channel.policy;
    const int64_t start = ferry__platform_now_ns(), deadline = ferry__deadline(timeout_ns, start);
    int64_t now = start, in_vain = 0;
    uint32_t i, total, seen;
    int slept = 0, fetched = 0, yields = policy == FERRY__ADAPTIVE && bell->manners.hasty == 0;
    if (bell->manners.hasty > 0) bell->manners.hasty--;
    for (i = 0; i < count; i++) { /* for the envs, and for onlookers */
        (void)ferry__tell_processor(agents[i]->channel.line);
        if (!ferry__agent_is_ready(agents[i])) ferry__note_wait(agents[i]->channel.line, agents[i]->expected.seq, now);
    }
    for (;;) {
        seen = ferry__load_acquire(&page->count);
        total = ferry__count_ready(agents, count, ready);
        if (total >= at_least) {
            for (i = 0; bell->manners.late && i < count; i++)
                bell->manners.late = ferry__lost(agents[i]->channel.peer_line, agents[i]->expected.seq + 1, now);
            if (bell->manners.late) bell->manners.hasty = FERRY__HASTY_WAITS;
            return (int)total;
        }
        if (now >= deadline) {
            for (i = 0; i < count; i++)
                if (agents[i]->owed_ns == 0 && !ferry__agent_is_ready(agents[i])) agents[i]->owed_ns = start;
            return 0;
        }
        if (policy == FERRY__SPIN) ferry__pause();
        else if (yields) {
            yields = ferry__yield(&bell->manners, &in_vain, &now);
            /* Where a wait is short, sharing a processor with the agent costs more. */
            if (!fetched && bell->manners.looks > 0 && now - start > 10000) fetched = 1, ferry__fetch_one(agents, count);
        } else if (!slept) slept = 1, bell->manners.late = 0, ferry__look_after_all(agents, count, 0);
        else {
            ferry__bell_sleep(bell->region, seen, at_least - total, ferry__least(deadline - now, FERRY__SLICE_NS));
            if (ferry__count_ready(agents, count, ready) < at_least) ferry__look_after_all(agents, count, 1);
        }
        now = ferry__platform_now_ns();
        if (policy == FERRY__SPIN && now - start > FERRY__SLICE_NS) ferry__look_after_all(agents, count, 0);
    }
}

int ferry_agent_wait_any(ferry_bell *bell, ferry_agent *const *agents, uint32_t count, uint32_t at_least, int64_t timeout_ns,
                         uint8_t *ready) {
    uint32_t i, total;
    int looks;
    if (bell == NULL) return FERRY_EINVAL;
    for (i = 0; i < count; i++) {
        if (!ferry__channel_is_mine(&agents[i]->channel)) return FERRY_EFORKED;
        if (agents[i]->bell != bell) return FERRY_EINVAL;
    }
    if (at_least > count) at_least = count;
    if (at_least == 0) at_least = 1;
    if (count == 0) return 0;
    for (looks = timeout_ns != 0 && agents[0]->channel.policy != FERRY__BLOCK ? bell->manners.looks : 0; looks >= 0; looks--) {
        total = ferry__count_ready(agents, count, ready);
        if (total >= at_least) return (int)total;
        if (looks > 0) ferry__pause();
    }
    if (timeout_ns == 0) {
        ferry__look_after_all(agents, count, 0);
        total = ferry__count_ready(agents, count, ready);
        return total >= at_least ? (int)total : 0;
    }
    return ferry__wait_for_many(bell, agents, count, at_least, timeout_ns, ready);
}
