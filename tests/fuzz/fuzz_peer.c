/* An environment, its agent and an observer in one process, and a peer that writes over whatever they share between their calls. The bytes
 * are a play: the first sets the scene, each of the others is an act, and what it needs follows it.
 *
 * The peer is neither side and both: a word that the agent would never write is the environment's trouble, and the other way round. */
#include "fuzz.h"

#include "../../csrc/channel.h"
#include "../../csrc/lane.h"

typedef struct play {
    ferry_env *env;
    ferry_agent *agent;
    ferry_observer *observer;
    ferry_bell *bell;
    uint32_t mode, num_rows;
    ferry__header header; /* as the environment laid the region out; header_bytes is 0 before */
} play;

enum {
    POKE_8,
    POKE_4,
    POKE_1,
    ADD,
    FILL,
    TICK,
    DECIDE,
    TICK_OTHERWISE,
    STEP,
    RESET,
    CALL,
    LOOK,
    AWAIT,
    OBSERVE,
    CONNECT,
    PASS,
    SAY,
    LATER,
    NUM_ACTS
};
enum { MOST_ACTS = 120 }; /* more would show nothing more, and take longer */

static const char filler[1 << 16];

/* ---- The peer ---- */

static const fuzz_mapping *mapping_of(const play *p, int is_region) {
    const fuzz_mapping *mapping;
    uint32_t i;
    for (i = 0; (mapping = fuzz_shared(i)) != NULL; i++)
        if ((p->header.header_bytes == 0 ||
             (mapping->bytes == p->header.region_bytes && memcmp(mapping->start, FERRY__RING_MAGIC, 8) != 0)) == is_region)
            return mapping;
    return NULL;
}

/* Reads a place: which memory, near what in there, and how far from it. */
static const fuzz_mapping *take_place(play *p, fuzz_input *input, uint64_t *at) {
    const ferry__header *header = &p->header;
    uint32_t place = (uint32_t)fuzz_take(input, 1);
    uint64_t from = fuzz_take(input, 2);
    const fuzz_mapping *mapping;
    if (header->header_bytes == 0) {
        uint32_t i;
        for (i = 0; (mapping = fuzz_shared(i)) != NULL; i++)
            if (memcmp(mapping->start, FERRY__REGION_MAGIC, 8) == 0) memcpy(&p->header, mapping->start, sizeof p->header);
    }
    mapping = mapping_of(p, place < 192);
    if (mapping == NULL) return NULL;
    if (place < 192) {
        const uint64_t marks[16] = {0,
                                    header->groups_offset,
                                    header->fields_offset,
                                    header->pool_offset,
                                    header->agent_offset,
                                    header->agent_slot,
                                    header->env_offset,
                                    header->env_offset + FERRY__FRAMES_WORD,
                                    header->env_slot[0],
                                    header->env_slot[1],
                                    header->frame_slots,
                                    header->action_slots,
                                    header->agent_slot + header->agent_blob,
                                    header->env_slot[0] + header->env_blob,
                                    header->env_slot[1] + header->env_blob,
                                    header->frame_slots + ferry__lane_pitch(header->env_blob, header->blob_bytes) * (place / 16 % 3)};
        *at = marks[place % 16] + from;
    } else { /* a ring, or a bell's page: its head, the spec, a slot, the env's slot in there, its blob */
        ferry__ring_head head;
        memcpy(&head, mapping->start, sizeof head);
        *at = from;
        if (place % 4 == 1) *at += head.spec_offset;
        if (place % 4 >= 2) *at += head.slots_offset + head.slot_bytes * (place / 4 % 4);
        if (place % 4 == 3) *at += head.env_at + (place / 16 % 2 ? header->env_blob : 0);
    }
    return mapping;
}

static void poke(play *p, fuzz_input *input, uint32_t bytes) {
    uint64_t at, value;
    const fuzz_mapping *mapping = take_place(p, input, &at);
    value = fuzz_take(input, bytes);
    if (mapping != NULL) fuzz_poke(mapping, at, &value, bytes);
}

/* Adds to a word: the next turn, a lane's other slot. */
static void add(play *p, fuzz_input *input) {
    uint64_t at;
    uint32_t value;
    const fuzz_mapping *mapping = take_place(p, input, &at);
    int8_t by = (int8_t)fuzz_take(input, 1);
    if (mapping == NULL || at > mapping->bytes - sizeof value) return;
    memcpy(&value, mapping->start + at, sizeof value);
    value += (uint32_t)by;
    fuzz_poke(mapping, at, &value, sizeof value);
}

static void fill(play *p, fuzz_input *input) {
    char bytes[256];
    uint64_t at;
    const fuzz_mapping *mapping = take_place(p, input, &at);
    memset(bytes, (int)fuzz_take(input, 1), sizeof bytes);
    if (mapping != NULL) fuzz_poke(mapping, at, bytes, fuzz_take(input, 1) + 1);
}

/* Writes while somebody waits, rather than between the acts. */
static void poke_later(play *p, fuzz_input *input) {
    uint64_t at;
    const fuzz_mapping *mapping = take_place(p, input, &at);
    uint32_t looks = (uint32_t)fuzz_take(input, 1), value = (uint32_t)fuzz_take(input, 4);
    if (mapping != NULL) fuzz_poke_later(mapping, at, value, sizeof value, looks);
}

/* Says that a large blob comes, or something else, and brings it along, or something else. */
static void say(fuzz_input *input) {
    enum { NOTHING, UNSEALED, NOT_FROZEN, FROZEN };
    char message[sizeof(ferry__frame) + sizeof(ferry__welcome)];
    uint32_t which = (uint32_t)fuzz_take(input, 1), type = (uint32_t)fuzz_take(input, 1), with = (uint32_t)fuzz_take(input, 1) % 4;
    int filled = (int)fuzz_take(input, 1);
    ferry__welcome blob = {fuzz_take(input, 4)};
    ferry__frame frame = {FERRY__FRAME_MAGIC, (uint16_t)type, 0, sizeof blob, 0};
    uint64_t bytes = blob.bytes < FERRY__PAGE ? blob.bytes : FERRY__PAGE;
    ferry__os memory = with != NOTHING ? fuzz_memory(bytes, with != UNSEALED, with == FROZEN) : FERRY__NO_OS;
    if (memory != FERRY__NO_OS && bytes > 0) memset(fuzz_memory_start(memory), filled, (size_t)bytes);
    memcpy(message, &frame, sizeof frame);
    memcpy(message + sizeof frame, &blob, sizeof blob);
    fuzz_say(which, message, sizeof message, memory);
    ferry__platform_close(memory);
}

/* ---- The environment ---- */

/* What a program is given to act on is in its space, whoever wrote it. */
static void check_actions(const ferry_turn *turn) {
    uint32_t i, k;
    for (i = 0; i < turn->num_rows; i++) {
        uint32_t row = turn->rows[i];
        int64_t push = ((const int64_t *)turn->data[FUZZ_PUSH])[row];
        const char *at = (const char *)turn->data[FUZZ_CHOICES] + turn->stride[FUZZ_CHOICES] * row;
        ferry_list list;
        int32_t choice;
        EXPECT(push >= 10 && push < 15);
        memcpy(&list, at, sizeof list);
        if (list.count == FERRY_IN_BLOB) continue;
        EXPECT(list.count <= 3);
        for (k = 0; k < 2 * list.count; k++) {
            memcpy(&choice, at + sizeof list + sizeof choice * k, sizeof choice);
            EXPECT(choice >= fuzz_low[k % 2] && choice <= fuzz_high[k % 2]);
        }
    }
}

static void answer(play *p, const ferry_turn *turn, uint32_t how) {
    ferry_blob blob = {filler, (uint64_t)(how / 16) * 4, FERRY_JSON, 0};
    uint32_t i, row;
    fuzz_look_at(turn, p->num_rows);
    if (turn->kind == FERRY_STEP) check_actions(turn);
    for (i = 0; i < turn->num_rows && turn->kind != FERRY_CALL; i++) {
        row = turn->rows[i];
        ((double *)turn->data[FUZZ_SEEN])[3 * row] = 0.5;
        memset((char *)turn->data[FUZZ_WORDS] + turn->stride[FUZZ_WORDS] * row, 0, (size_t)turn->stride[FUZZ_WORDS]);
        ((float *)turn->data[FUZZ_SCORE])[row] = 1, turn->present[FUZZ_SCORE][row] = 1;
        turn->reward[row] = 1, turn->terminated[row] = how % 2, turn->truncated[row] = how / 2 % 2;
    }
    if (how / 4 % 2) (void)ferry_env_blob(p->env, &blob);
    if (how / 8 % 2) (void)ferry_env_fail(p->env, how % 2 ? "so it is" : NULL);
    else (void)ferry_env_reply(p->env);
}

static void tick(play *p, int64_t timeout_ns, uint32_t how) {
    const ferry_turn *turn;
    int64_t start = fuzz_clock_ns;
    int got = ferry_env_wait(p->env, timeout_ns, &turn);
    EXPECT(fuzz_clock_ns - start < timeout_ns + 1000000000);
    EXPECT(got >= 0); /* who serves goes on, whatever its agent writes */
    if (got == 0) return;
    EXPECT(turn->kind >= FERRY_STEP && turn->kind <= FERRY_CALL);
    if (turn->kind == FERRY_LEFT) EXPECT(turn->reason < 0);
    else answer(p, turn, how);
}

/* ---- The agent ---- */

/* Its region may be another than the environment laid out, if the peer was there before it: so it goes by what it was told. */
static void fill_actions(const ferry_env_desc *desc, const ferry_turn *turn, uint32_t how) {
    const ferry_list list = {how / 8 % 4, 0};
    const int64_t push = 10 + how / 32;
    uint32_t i, row;
    for (i = 0; i < desc->num_fields; i++)
        for (row = 0; desc->fields[i].role == FERRY_ACTION && row < desc->num_rows; row++) {
            char *at = (char *)turn->data[i] + turn->stride[i] * row;
            memset(at, 0, (size_t)turn->stride[i]);
            if (desc->fields[i].capacity != 0) memcpy(at, &list, sizeof list);
            else if (turn->stride[i] == sizeof push) memcpy(at, &push, sizeof push);
        }
}

static void send(play *p, uint32_t kind, fuzz_input *input) {
    ferry_turn *turn = ferry_agent_turn(p->agent);
    const ferry_env_desc *desc = ferry_agent_env(p->agent);
    uint32_t how = (uint32_t)fuzz_take(input, 1), rows[FUZZ_ROWS], count = 0, i;
    if (turn == NULL) return;
    fuzz_look_at(turn, desc->num_rows);
    fill_actions(desc, turn, how);
    for (i = 0; i < FUZZ_ROWS && i < desc->num_rows; i++)
        if ((how >> i & 1) == 0) rows[count++] = i;
    turn->kind = kind;
    if (kind == FERRY_RESET) turn->seed[0] = how;
    if (kind != FERRY_CALL && count > 0) turn->rows = rows, turn->num_rows = count;
    if (kind == FERRY_CALL || how == 255) turn->blob.data = filler, turn->blob.size_bytes = how * 4, turn->blob.format = FERRY_JSON;
    (void)ferry_agent_send(p->agent);
}

static void await(play *p, int64_t timeout_ns) {
    const ferry_turn *turn;
    int64_t start = fuzz_clock_ns;
    if (ferry_agent_wait(p->agent, timeout_ns, &turn) == 1) fuzz_look_at(turn, ferry_agent_env(p->agent)->num_rows);
    else EXPECT(turn == NULL);
    EXPECT(fuzz_clock_ns - start < timeout_ns + 1000000000);
}

static void observe(play *p, int64_t timeout_ns) {
    const ferry_snapshot *snapshot;
    int64_t start = fuzz_clock_ns;
    uint8_t ready;
    if (ferry_observer_snapshot(p->observer, timeout_ns, &snapshot) == 1) {
        const ferry_env_desc *desc = ferry_observer_env(p->observer);
        EXPECT(desc != NULL);
        fuzz_look_at(snapshot->turn, desc->num_rows);
        fuzz_touch(snapshot->returns, sizeof(double) * desc->num_rows);
    }
    EXPECT(fuzz_clock_ns - start < timeout_ns + 1000000000);
    if (p->bell != NULL) (void)ferry_agent_wait_any(p->bell, &p->agent, 1, 1, timeout_ns, &ready);
}

/* ---- The play ---- */

static void open_play(play *p, uint32_t scene) {
    ferry_agent_desc desc;
    ferry_why why;
    int i;
    memset(p, 0, sizeof *p);
    p->mode = scene % (FUZZ_REALTIME + 1);
    p->num_rows = p->mode != FUZZ_REALTIME && scene / 4 % 2 ? FUZZ_ROWS : 1;
    p->env = fuzz_open_env("door", p->mode, p->num_rows);
    if (scene / 16 % 2) EXPECT(ferry_bell_open(&p->bell, &why) == 0);
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc, desc.address = "door", desc.log = fuzz_drop_log, desc.bell = p->bell;
    desc.realtime = p->mode == FUZZ_REALTIME, desc.autoreset = desc.realtime ? FERRY_AUTORESET_DISABLED : p->mode;
    EXPECT(ferry_agent_open(&desc, &p->agent, &why) == 0);
    p->observer = fuzz_open_observer("door");
    for (i = 0; i < 3 && scene / 8 % 2 == 0; i++) (void)ferry_agent_connect(p->agent, 0), tick(p, 0, 0);
}

static void act(play *p, fuzz_input *input) {
    ferry_why why;
    switch (fuzz_take(input, 1) % NUM_ACTS) {
    case POKE_8: poke(p, input, 8); break;
    case POKE_4: poke(p, input, 4); break;
    case POKE_1: poke(p, input, 1); break;
    case ADD: add(p, input); break;
    case FILL: fill(p, input); break;
    case TICK: tick(p, 0, 0); break;
    case DECIDE: tick(p, (int64_t)fuzz_take(input, 1) << 18, 0); break;
    case TICK_OTHERWISE: tick(p, 0, (uint32_t)fuzz_take(input, 2)); break;
    case STEP: send(p, FERRY_STEP, input); break;
    case RESET: send(p, FERRY_RESET, input); break;
    case CALL: send(p, FERRY_CALL, input); break;
    case LOOK: await(p, 0); break;
    case AWAIT: await(p, (int64_t)fuzz_take(input, 1) << 18); break;
    case OBSERVE: observe(p, (int64_t)fuzz_take(input, 1) << 18); break;
    case CONNECT: (void)ferry_agent_connect(p->agent, 0), ferry_agent_why(p->agent, &why); break;
    case SAY: say(input); break;
    case LATER: poke_later(p, input); break;
    default: fuzz_clock_ns += (int64_t)fuzz_take(input, 1) << 20; break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_input input = {data, data + size};
    ferry_why why;
    play p;
    int acts;
    fuzz_begin();
    open_play(&p, (uint32_t)fuzz_take(&input, 1));
    for (acts = 0; acts < MOST_ACTS && input.at < input.end; acts++) act(&p, &input);
    ferry_env_why(p.env, &why), ferry_observer_why(p.observer, &why);
    ferry_observer_close(p.observer);
    ferry_agent_close(p.agent);
    ferry_bell_close(p.bell);
    ferry_env_close(p.env);
    fuzz_end();
    return 0;
}
