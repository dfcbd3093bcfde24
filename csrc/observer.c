/* The observer: looks at a channel that is in use. A channel of its own carries its handshake and notices when the environment is gone;
 * messages come from the ring, which is mapped for reading alone. It pays for all it does by itself.
 *
 * What is observed ends with the agent or the environment; the same observer may then wait for the next. */
#include "atomics.h"
#include "blob.h"
#include "channel.h"
#include "errors.h"
#include "ring.h"
#include "rows.h"
#include "turns.h"

#include <stdlib.h>
#include <string.h>

#define FERRY__ASK_AGAIN_NS 100000000 /* an environment that has no agent yet */
#define FERRY__GLANCE_NS 5000000 /* between two looks for a new message; thirty come in a second */
/* A ring is four messages and more. */
#define FERRY__DEFAULT_MAX_RING (5 * FERRY__DEFAULT_MAX_BYTES)

struct ferry_observer {
    ferry__channel channel;
    uint64_t max_bytes;
    ferry__ring_reader reader;
    ferry__turns turns;
    ferry_snapshot snapshot;
    int64_t asked_ns; /* when an environment without an agent was asked */
};

static void ferry__observer_forget(ferry_observer *observer) {
    ferry__turns_close(&observer->turns);
    ferry__ring_forget(&observer->reader);
}

static int ferry__observer_accept(void *user, ferry__os memory, uint64_t bytes, ferry_why *why) {
    ferry_observer *observer = (ferry_observer *)user;
    ferry__ring_reader *reader = &observer->reader;
    char *answers[FERRY__ANSWERS];
    int i;
    ferry__observer_forget(observer);
    if (bytes > observer->max_bytes) {
        ferry__platform_close(memory);
        return ferry__fail(why, FERRY_ETOOBIG,
                           "what the environment shows takes %.1f MiB, and this observer accepts %.1f MiB; raise max_bytes",
                           (double)bytes / 1048576, (double)observer->max_bytes / 1048576);
    }
    if (ferry__ring_adopt(memory, bytes, reader, why) < 0) return why->code;
    for (i = 0; i < FERRY__ANSWERS; i++) answers[i] = reader->copy + reader->head.env_at;
    if (ferry__turns_open(&observer->turns, &reader->spec, answers, reader->copy + reader->head.agent_at, why) < 0) {
        ferry__observer_forget(observer);
        return why->code;
    }
    observer->turns.turn[0].peer_pid = observer->channel.peer_pid;
    return 0;
}

int ferry_observer_open(const ferry_observer_desc *desc, ferry_observer **out, ferry_why *why) {
    ferry_why ignored;
    ferry_observer *observer;
    if (why == NULL) why = &ignored;
    if (out != NULL) *out = NULL;
    if (ferry__check_open("observer", out, desc != NULL ? &desc->struct_size : NULL, sizeof *desc, why) < 0) return why->code;
    observer = (ferry_observer *)calloc(1, sizeof *observer);
    if (observer == NULL) return ferry__no_memory(why);
    observer->max_bytes = desc->max_bytes != 0 ? desc->max_bytes : FERRY__DEFAULT_MAX_RING;
    observer->channel.log = desc->log, observer->channel.log_user = desc->log_user;
    observer->channel.handshake.accept = ferry__observer_accept;
    observer->channel.user = observer;
    if (ferry__channel_open(&observer->channel, FERRY__OBSERVER, desc->address, NULL, why) < 0) {
        free(observer);
        return why->code;
    }
    observer->asked_ns = ferry__platform_now_ns() - FERRY__ASK_AGAIN_NS;
    *out = observer;
    return 0;
}

void ferry_observer_close(ferry_observer *observer) {
    if (observer == NULL) return;
    ferry__channel_close(&observer->channel);
    ferry__observer_forget(observer);
    free(observer);
}

const ferry_env_desc *ferry_observer_env(const ferry_observer *observer) {
    return observer->channel.state == FERRY__OPEN ? &observer->reader.spec.desc : NULL;
}

void ferry_observer_why(const ferry_observer *observer, ferry_why *why) {
    const ferry__channel *channel = &observer->channel;
    if (ferry__channel_explains(channel, why)) return;
    ferry__fail(why, 0, "observing the environment (pid %u) at '%s'", channel->peer_pid, channel->address.text);
}

/* Gets in: 1, 0 not by then, or why not. */
static int ferry__observer_attach(ferry_observer *observer, int64_t deadline_ns) {
    int64_t now = ferry__platform_now_ns();
    for (;;) {
        if (now - observer->asked_ns >= FERRY__ASK_AGAIN_NS) {
            int got = ferry__channel_meet(&observer->channel, now < deadline_ns ? deadline_ns - now : 0);
            if (got != FERRY_ESTATE) return got;
            now = observer->asked_ns = ferry__platform_now_ns();
        }
        if (now >= deadline_ns) return 0;
        ferry__platform_poll(NULL, 0, ferry__least(observer->asked_ns + FERRY__ASK_AGAIN_NS, deadline_ns) - now);
        now = ferry__platform_now_ns();
    }
}

/* Puts the message that was copied into words. Of what it says only what is computed with here is checked. */
static int ferry__observer_show(ferry_observer *observer, const ferry_snapshot **out) {
    const ferry__ring_reader *reader = &observer->reader;
    const ferry__group *group = &reader->spec.group;
    const ferry__slot *request = reader->request, *answer = reader->answer;
    const uint32_t *rows = (const uint32_t *)(const void *)((const char *)request + group->rows_offset);
    const ferry__ring_slot *said = reader->said;
    ferry_snapshot *snapshot = &observer->snapshot;
    ferry_turn *turn = &observer->turns.turn[0];
    if ((answer->kind != FERRY_STEP && answer->kind != FERRY_RESET) || answer->number != said->number ||
        answer->blob_format > FERRY__JOINED || answer->blob_where > FERRY__WHERE_DESCRIPTOR ||
        (answer->blob_where == FERRY__WHERE_SLOT && answer->blob_format != FERRY_NONE &&
         answer->blob_bytes > reader->spec.header.blob_bytes))
        return -1;
    memset(snapshot, 0, sizeof *snapshot);
    snapshot->struct_size = sizeof *snapshot, snapshot->turn = turn;
    snapshot->time_ns = (int64_t)said->stamp_ns;
    snapshot->returns = reader->returns;
    snapshot->finished = said->finished, snapshot->finished_return = said->finished_return;
    turn->number = answer->number, turn->kind = answer->kind;
    turn->rows = observer->turns.all, turn->num_rows = group->num_rows;
    if (request->num_rows > 0 && request->num_rows < group->num_rows && ferry__rows_valid(rows, request->num_rows, group->num_rows))
        turn->rows = rows, turn->num_rows = request->num_rows;
    if (reader->spec.realtime) {
        ferry__moment moment;
        memcpy(&moment, (const char *)answer + group->frame_moment_offset, sizeof moment);
        turn->frame = answer->kind == FERRY_STEP ? answer->number : 0, turn->answers = moment.answers;
        turn->frame_ns = (int64_t)moment.frame_ns, turn->action_ns = (int64_t)moment.action_ns;
    }
    memset(&turn->blob, 0, sizeof turn->blob);
    memset(&turn->step_blob, 0, sizeof turn->step_blob);
    *out = snapshot;
    if (answer->blob_format == FERRY_NONE) return 1;
    snapshot->blob_left_out = answer->blob_where == FERRY__WHERE_DESCRIPTOR;
    if (snapshot->blob_left_out) return 1;
    turn->blob.data = (const char *)answer + reader->spec.header.env_blob, turn->blob.size_bytes = answer->blob_bytes,
    turn->blob.format = answer->blob_format;
    return answer->blob_format != FERRY__JOINED || ferry__blobs_part(&turn->blob, &turn->step_blob) == 0 ? 1 : -1;
}

/* One look, while attached: 1 and *out, 0, or why it is over. */
static int ferry__observer_look(ferry_observer *observer, const ferry_snapshot **out) {
    ferry__channel *channel = &observer->channel;
    int got = ferry__ring_read(&observer->reader);
    if (got > 0) got = ferry__observer_show(observer, out);
    if (got < 0)
        got =
            ferry__channel_lose(channel, FERRY_ECORRUPT, "what the environment (pid %u) shows to observers is damaged", channel->peer_pid);
    if (got == 0) got = ferry__channel_look(channel, ferry__platform_now_ns(), 1);
    if (got >= 0) return got;
    *out = NULL;
    ferry__channel_hang_up(channel);
    return got;
}

/* How long nothing new is to be expected: every look takes a processor from somebody, perhaps from those who are looked at. */
static int64_t ferry__observer_pause(const ferry_observer *observer, int64_t now_ns) {
    /* Unsigned, since the time is the environment's word and may be any. */
    uint64_t age = (uint64_t)now_ns - (uint64_t)observer->snapshot.time_ns;
    int64_t pause = age < FERRY__RING_PERIOD_NS ? FERRY__RING_PERIOD_NS - (int64_t)age : 0;
    return pause < FERRY__GLANCE_NS ? FERRY__GLANCE_NS : pause;
}

int ferry_observer_snapshot(ferry_observer *observer, int64_t timeout_ns, const ferry_snapshot **out) {
    const int64_t deadline = ferry__deadline(timeout_ns, ferry__platform_now_ns());
    int64_t now;
    int got;
    *out = NULL;
    if (!ferry__channel_is_mine(&observer->channel)) return FERRY_EFORKED;
    for (;;) {
        if (observer->channel.state != FERRY__OPEN) {
            got = ferry__observer_attach(observer, deadline);
            if (got <= 0) return got;
        }
        got = ferry__observer_look(observer, out);
        if (got != 0) return got;
        now = ferry__platform_now_ns();
        if (now >= deadline) return 0;
        ferry__platform_poll(&observer->channel.stream, 1, ferry__least(ferry__observer_pause(observer, now), deadline - now));
    }
}
