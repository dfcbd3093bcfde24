/* The handshake, in all its roles: the bytes are what the other end of the stream says, piece by piece, and what comes with it.
 *
 * The first byte chooses who hears them; then come pieces: what they are, how many bytes, and the bytes. */
#include "fuzz.h"

#include "../../csrc/channel.h"
#include "../../csrc/ring.h"

#define MOST_BYTES ((uint64_t)1 << 18)
enum { MOST_STREAMS = 20, MOST_PIECES = 64 };

/* Who hears the bytes, and the streams that they are written to, the newest first; the agent of a gallery plays meanwhile. */
typedef struct listener {
    ferry_env *env;
    ferry_agent *agent;
    ferry_observer *observer;
    ferry__os streams[MOST_STREAMS];
    uint32_t num_streams;
    ferry__listener door;
    uint32_t role, mode, num_rows;
} listener;

static ferry__os stream_of(const listener *l) { return l->streams[l->num_streams - 1]; }

/* Everybody does what there is to do now. */
static void go_on(listener *l) {
    const ferry_turn *turn, *answer;
    const ferry_snapshot *snapshot;
    int64_t start = fuzz_clock_ns;
    ferry_why why;
    if (l->env != NULL) {
        int got = ferry_env_wait(l->env, 0, &turn);
        if (got == 1 && turn->kind != FERRY_LEFT) fuzz_look_at(turn, l->num_rows), EXPECT(ferry_env_reply(l->env) == 0);
        ferry_env_why(l->env, &why);
    }
    if (l->agent != NULL && ferry_agent_connect(l->agent, 0) == 1) {
        const ferry_env_desc *desc = ferry_agent_env(l->agent);
        if (ferry_agent_turn(l->agent) != NULL) ferry_agent_turn(l->agent)->kind = FERRY_RESET, (void)ferry_agent_send(l->agent);
        else if (ferry_agent_wait(l->agent, 0, &answer) == 1) fuzz_look_at(answer, desc->num_rows);
    }
    if (l->agent != NULL) ferry_agent_why(l->agent, &why);
    if (l->observer != NULL) {
        if (ferry_observer_snapshot(l->observer, 0, &snapshot) == 1)
            fuzz_look_at(snapshot->turn, ferry_observer_env(l->observer)->num_rows);
        ferry_observer_why(l->observer, &why);
    }
    EXPECT(fuzz_clock_ns - start < 1000000000);
    fuzz_clock_ns += 5000000; /* the sides look around now and then, not at each call */
}

static void begin(listener *l) {
    char address[32];
    ferry__os pair[2];
    int i;
    l->door.os = FERRY__NO_OS;
    l->num_rows = l->mode == FUZZ_REALTIME ? 1 : FUZZ_ROWS;
    if (l->role == FUZZ_ENV || l->role == FUZZ_AGENT) {
        fuzz_pair(pair);
        snprintf(address, sizeof address, "fd:%d", (int)pair[0]);
        if (l->role == FUZZ_ENV) l->env = fuzz_open_env(address, l->mode, FUZZ_ROWS);
        else l->agent = fuzz_open_agent(address, l->mode);
        l->streams[l->num_streams++] = pair[1];
        return;
    }
    if (l->role == FUZZ_OBSERVER) {
        ferry_why why;
        l->door = fuzz_serve("door");
        l->observer = fuzz_open_observer("door");
        go_on(l);
        EXPECT(ferry__platform_accept(&l->door, &l->streams[l->num_streams++], &why) == 1);
        return;
    }
    if (l->role == FUZZ_AGENT_THAT_LISTENS) l->agent = fuzz_open_agent("serve:door", l->mode);
    else l->env = fuzz_open_env("door", l->mode, FUZZ_ROWS);
    if (l->role == FUZZ_GALLERY) {
        l->agent = fuzz_open_agent("door", l->mode);
        for (i = 0; i < 4; i++) go_on(l);
    }
    l->streams[l->num_streams++] = fuzz_dial("door");
}

static void end(listener *l) {
    while (l->num_streams > 0) ferry__platform_close(l->streams[--l->num_streams]);
    go_on(l), go_on(l);
    ferry_agent_close(l->agent);
    ferry_env_close(l->env);
    ferry_observer_close(l->observer);
    if (l->door.os != FERRY__NO_OS) ferry__platform_unlisten(&l->door, 1);
}

/* ---- What comes with a frame ---- */

/* A region as an environment lays it out, or a ring with nothing in it yet. */
static ferry__os lay_out(uint32_t mode, int ring_wanted, uint64_t *bytes) {
    static const uint64_t episode[FUZZ_ROWS];
    ferry_field fields[FUZZ_FIELDS];
    ferry_env_desc desc = fuzz_env_desc("", fields, mode, FUZZ_ROWS);
    ferry__spec spec;
    ferry__os memory;
    ferry__ring *ring;
    ferry_why why;
    EXPECT(ferry__spec_build(&desc, &spec, &why) == 0);
    EXPECT(ferry__spec_choose(&spec, mode == FUZZ_REALTIME ? FERRY_AUTORESET_DISABLED : mode, &why) == 0);
    memory = fuzz_memory(spec.header.region_bytes, 1, 0), *bytes = spec.header.region_bytes;
    ferry__spec_write(&spec, fuzz_memory_start(memory));
    if (ring_wanted) {
        EXPECT(ferry__ring_open(&spec, fuzz_memory_start(memory), episode, 0, &ring, &why) == 0);
        ferry__platform_close(memory);
        memory = ring->region->memory, ring->region->memory = FERRY__NO_OS, *bytes = ring->head.bytes;
        ferry__ring_close(ring);
    }
    ferry__spec_clear(&spec);
    return memory;
}

/* Where the payload announces a size, the memory has it, or the payload is told the memory's; what is behind it in the payload are
 * places in the memory (two bytes), and what is written there (one byte). With a greeting comes a page. */
static ferry__os bring(const listener *l, uint32_t what, uint32_t type, char *payload, uint32_t bytes) {
    uint64_t size = type == FERRY__HELLO ? FERRY__PAGE : 0, k;
    ferry__os memory, pair[2];
    char *start;
    if (type != FERRY__HELLO && bytes >= sizeof size) memcpy(&size, payload, sizeof size);
    if (what == FUZZ_ALONE || (what != FUZZ_A_STREAM && size > MOST_BYTES)) return FERRY__NO_OS;
    if (what == FUZZ_A_STREAM) { /* of any size, as far as is said */
        fuzz_pair(pair);
        ferry__platform_close(pair[1]);
        return pair[0];
    }
    if (what < FUZZ_REGION) memory = fuzz_memory(size, what != FUZZ_RESIZABLE, what == FUZZ_FROZEN);
    else memory = lay_out((l->mode + (what == FUZZ_OTHER_REGION)) % (FUZZ_REALTIME + 1), what == FUZZ_RING, &size);
    if (type == FERRY__HELLO) return memory;
    start = fuzz_memory_start(memory);
    for (k = sizeof size; k + 3 <= bytes; k += 3) {
        uint64_t at = (uint8_t)payload[k] | (uint64_t)(uint8_t)payload[k + 1] << 8;
        if (at < size) start[at] = payload[k + 2];
    }
    if (bytes >= sizeof size) memcpy(payload, &size, sizeof size);
    return memory;
}

/* ---- What is said ---- */

static uint32_t take_bytes(fuzz_input *input, char *to, uint32_t bytes) {
    size_t left = (size_t)(input->end - input->at);
    uint32_t count = bytes < left ? bytes : (uint32_t)left;
    memcpy(to, input->at, count);
    input->at += count;
    return count;
}

/* A frame whose head is right, with a payload from the input; greetings have what must be equal made equal, refusals may be long. */
static void say_frame(const listener *l, uint32_t type, uint32_t how, fuzz_input *input, uint32_t bytes) {
    char payload[FERRY__MAX_FRAME] = {0};
    ferry__hello hello;
    ferry__os pass;
    (void)take_bytes(input, payload, bytes);
    if (how % 2 == 1 && type == FERRY__REFUSE) bytes *= 8;
    if (how % 2 == 0 && type == FERRY__HELLO && bytes >= sizeof hello) {
        memcpy(&hello, payload, sizeof hello);
        memcpy(hello.magic, FERRY__HELLO_MAGIC, sizeof hello.magic);
        hello.endian = FERRY__ENDIAN, hello.abi_major = FERRY__ABI_MAJOR;
        memcpy(payload, &hello, sizeof hello);
    }
    pass = bring(l, how / 2 % 8, type, payload, bytes);
    (void)ferry__send_frame(stream_of(l), (ferry__frame_type)type, payload, bytes, pass);
    ferry__platform_close(pass);
}

/* Others come to the door, and the last of them is heard from then on; or somebody goes. */
static void come_or_go(listener *l, uint32_t how) {
    uint32_t i, count = how % 2 == 0 ? 1 + how / 2 % 16 : 0;
    if (how % 2 == 1 && l->num_streams > 1) ferry__platform_close(l->streams[--l->num_streams]);
    if (l->role != FUZZ_AGENT_THAT_LISTENS && l->role < FUZZ_GALLERY) return;
    for (i = 0; i < count && l->num_streams < MOST_STREAMS; i++) {
        l->streams[l->num_streams] = fuzz_dial("door");
        if (l->streams[l->num_streams] != FERRY__NO_OS) l->num_streams++;
    }
}

static void say(listener *l, fuzz_input *input) {
    uint32_t what = (uint32_t)fuzz_take(input, 1), bytes = (uint32_t)fuzz_take(input, 1);
    char text[256];
    if (what % 8 == 0) (void)ferry__platform_send(stream_of(l), text, take_bytes(input, text, bytes), FERRY__NO_OS);
    else if (what % 8 == 7 && what / 8 % 2 == 0) fuzz_clock_ns += (int64_t)bytes << 26; /* up to a quarter of a minute */
    else if (what % 8 == 7) come_or_go(l, bytes);
    else say_frame(l, what % 8, what / 8, input, bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_input input = {data, data + size};
    uint32_t first = (uint32_t)fuzz_take(&input, 1);
    listener l = {0};
    char ignored[4096];
    int pieces;
    fuzz_begin();
    l.role = first % FUZZ_ROLES, l.mode = first / FUZZ_ROLES % (FUZZ_REALTIME + 1);
    begin(&l);
    for (pieces = 0; pieces < MOST_PIECES && input.at < input.end; pieces++) {
        ferry__os passed = FERRY__NO_OS;
        say(&l, &input);
        go_on(&l);
        while (ferry__platform_receive(stream_of(&l), ignored, sizeof ignored, &passed) > 0) {}
        ferry__platform_close(passed);
    }
    end(&l);
    fuzz_end();
    return 0;
}
