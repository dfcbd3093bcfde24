/* Writes what the targets begin with into FOLDER/TARGET: regions as environments lay them out, the messages of handshakes that succeed, and
 * games that are played to their end. The same files every time.
 *
 *     make_corpus FOLDER
 */
#include "fuzz.h"

#include "../../csrc/rules.h"

#include <errno.h>
#include <sys/stat.h>

static const char *folder;

static void write_file(const char *target, const char *name, const void *bytes, size_t size) {
    char path[512];
    FILE *file;
    snprintf(path, sizeof path, "%s/%s", folder, target);
    EXPECT(mkdir(path, 0777) == 0 || errno == EEXIST);
    snprintf(path, sizeof path, "%s/%s/%s", folder, target, name);
    file = fopen(path, "wb");
    EXPECT(file != NULL && fwrite(bytes, 1, size, file) == size && fclose(file) == 0);
}

typedef struct bytes {
    uint8_t at[4096];
    size_t size;
} bytes;

static void add(bytes *to, const void *from, size_t size) {
    EXPECT(to->size + size <= sizeof to->at);
    if (size > 0) memcpy(to->at + to->size, from, size);
    to->size += size;
}

static void add_byte(bytes *to, uint32_t value) {
    const uint8_t byte = (uint8_t)value;
    add(to, &byte, 1);
}

/* ---- fuzz_spec ---- */

/* The part of a region that never changes, for an agent that wants the mode. */
static void write_region(const char *name, const ferry_env_desc *desc, uint32_t autoreset) {
    ferry__spec spec, taken;
    ferry_why why;
    char *base;
    EXPECT(ferry__spec_build(desc, &spec, &why) == 0 && ferry__spec_choose(&spec, autoreset, &why) == 0);
    spec.header.env_pid = 1;
    base = (char *)calloc(1, (size_t)spec.header.region_bytes);
    EXPECT(base != NULL);
    ferry__spec_write(&spec, base);
    EXPECT(ferry__spec_take(base, spec.header.region_bytes, spec.header.region_bytes, &taken, &why) == 0);
    ferry__spec_clear(&taken);
    write_file("fuzz_spec", name, base, (size_t)(spec.header.pool_offset + spec.header.pool_bytes));
    free(base);
    ferry__spec_clear(&spec);
}

static void write_regions(void) {
    static const char *const modes[] = {"disabled", "next_step", "same_step", "realtime"};
    ferry_field of_kinds[FUZZ_KINDS];
    const ferry_env_desc kinds = fuzz_kinds_desc(of_kinds);
    uint32_t mode;
    for (mode = 0; mode <= FUZZ_REALTIME; mode++) {
        ferry_field fields[FUZZ_FIELDS];
        ferry_env_desc desc = fuzz_env_desc("", fields, mode, mode == FERRY_AUTORESET_DISABLED ? 1 : FUZZ_ROWS);
        write_region(modes[mode], &desc, mode == FUZZ_REALTIME ? FERRY_AUTORESET_DISABLED : mode);
    }
    write_region("kinds", &kinds, FERRY_AUTORESET_DISABLED);
}

/* Changes of a region, each of which is refused for a reason of its own, or accepted at the edge of what is. */

/* The header, and where in its slot a field lies. */
static uint64_t laid_out(uint32_t which, uint32_t field, ferry__header *header) {
    ferry__spec spec = fuzz_base_spec(which);
    const uint64_t offset = spec.entries[field].offset;
    *header = spec.header;
    ferry__spec_clear(&spec);
    return offset;
}

static void add_change(bytes *to, uint32_t mark, size_t at, uint32_t bytes, uint64_t value) {
    const uint16_t offset = (uint16_t)at;
    add_byte(to, mark);
    add(to, &offset, sizeof offset);
    add_byte(to, bytes == 8 ? 3 : bytes / 2);
    add(to, &value, bytes);
}

/* One change, if bytes is not 0, after those that were made. */
static void write_change(const char *name, bytes so_far, uint32_t mark, size_t at, uint32_t bytes, uint64_t value) {
    char path[96];
    if (bytes > 0) add_change(&so_far, mark, at, bytes, value);
    snprintf(path, sizeof path, "changed_%s", name);
    write_file("fuzz_spec", path, so_far.at, so_far.size);
}

static bytes of(uint32_t which) {
    bytes none = {{0}, 0};
    add_byte(&none, which);
    return none;
}

#define HEADER(member) FUZZ_AT_HEADER, offsetof(ferry__header, member), sizeof(((ferry__header *)0)->member)
#define GROUP(member) FUZZ_AT_GROUP, offsetof(ferry__group, member), sizeof(((ferry__group *)0)->member)
#define ENTRY(field, member) FUZZ_AT_ENTRY + (field), offsetof(ferry__entry, member), sizeof(((ferry__entry *)0)->member)

static void write_changed_fields(void) {
    const bytes kinds = of(FUZZ_OF_KINDS), rows = of(FERRY_AUTORESET_SAME_STEP), realtime = of(FUZZ_REALTIME);
    ferry__header header;
    bytes so_far;
    write_change("discrete_dtype", kinds, ENTRY(FUZZ_SECOND, dtype), FERRY_BOOL);
    write_change("dict_dtype", kinds, ENTRY(FUZZ_EMPTY, dtype), FERRY_F64);
    write_change("end_without_need", kinds, ENTRY(FUZZ_LIVES, final_present_offset), 64);
    write_change("tuple", kinds, ENTRY(FUZZ_EMPTY, kind), FERRY_TUPLE);
    write_change("info_other", kinds, ENTRY(FUZZ_GRAPH, role), FERRY_INFO);
    write_change("binary_without_bounds", kinds, ENTRY(FUZZ_LAMPS, bounds), FERRY__BOUNDS_NONE);
    write_change("msgpack", kinds, HEADER(blob_format), FERRY_MSGPACK);
    write_change("blob_format", kinds, HEADER(blob_format), FERRY_MSGPACK + 1);
    so_far = realtime, add_change(&so_far, ENTRY(FUZZ_PUSH, bounds), FERRY__BOUNDS_NONE);
    add_change(&so_far, ENTRY(FUZZ_PUSH, dtype), FERRY_U8);
    write_change("realtime_other", so_far, ENTRY(FUZZ_PUSH, kind), FERRY_OTHER);
    /* Numbers that there are too many of to be counted, or none. */
    so_far = of(FUZZ_OF_ONE_ROW), add_change(&so_far, FUZZ_AT_LOW + FUZZ_PUSH, 0, 8, (uint64_t)INT64_MIN);
    write_change("discrete_of_all", so_far, FUZZ_AT_HIGH + FUZZ_PUSH, 0, 8, INT64_MAX);
    so_far = of(FUZZ_OF_ONE_ROW), add_change(&so_far, ENTRY(FUZZ_PUSH, dtype), FERRY_U64);
    write_change("discrete_beyond", so_far, FUZZ_AT_HIGH + FUZZ_PUSH, 0, 8, UINT64_MAX);
    write_change("action_lamp", kinds, FUZZ_AT_AGENT_SLOT, laid_out(FUZZ_OF_KINDS, FUZZ_LAMPS, &header), 1, 7);
    write_change("action_beyond", kinds, FUZZ_AT_AGENT_SLOT, laid_out(FUZZ_OF_KINDS, FUZZ_WIDE, &header), 8, 9);
    /* A field of more than any may have: of three rows, in a region of terabytes, of which only the beginning is looked at. */
    so_far = rows, add_change(&so_far, HEADER(region_bytes), UINT64_C(1) << 45);
    (void)laid_out(FERRY_AUTORESET_SAME_STEP, 0, &header);
    add_change(&so_far, HEADER(env_bytes), (UINT64_C(1) << 45) - header.env_offset);
    add_change(&so_far, ENTRY(FUZZ_SEEN, ndim), 2);
    add_change(&so_far, FUZZ_AT_ENTRY + FUZZ_SEEN, offsetof(ferry__entry, shape), 8, (UINT64_C(1) << 37) | (UINT64_C(1) << 31));
    write_change("large_in_all", so_far, ENTRY(FUZZ_SEEN, stride), UINT64_C(1) << 39);
}

static void write_changed_texts(void) {
    const bytes kinds = of(FUZZ_OF_KINDS), words = of(FUZZ_OF_WORDS);
    static const struct {
        const char *name, *path; /* of 18 bytes, as the one that it takes the place of */
    } paths[] = {{"path_number_missing", "long#/and/so/on/to"},
                 {"path_number_zero", "long#00/and/so/on/"},
                 {"path_number_long", "long#1234567890/on"},
                 {"path_without_stroke", "long#1and/so/on/to"},
                 {"path_in_tuple", "pair#0#1/and/so/on"},
                 {"path_beside", "pair#0and/so/on/to"},
                 {"utf8_cut", "a/rather/long/pat\xC3"},
                 {"utf8_long", "a/rather/long/p\xE0\x80\x80"},
                 {"utf8_beyond", "a/rather/long/\xF4\x90\x80\x80"},
                 {"utf8_surrogate", "a/rather/long/p\xED\xA0\x80"},
                 {"utf8_private", "a/rather/long/p\xEE\x80\x80"}};
    ferry__header header;
    bytes so_far;
    size_t i, k;
    for (i = 0; i < sizeof paths / sizeof *paths; i++) {
        EXPECT(strlen(paths[i].path) == 18);
        so_far = kinds;
        for (k = 0; k < 18; k++) add_change(&so_far, FUZZ_AT_PATH + FUZZ_GREY, k, 1, (uint8_t)paths[i].path[k]);
        write_change(paths[i].name, so_far, FUZZ_AT_HEADER, 0, 0, 0);
    }
    (void)laid_out(FUZZ_OF_WORDS, 0, &header);
    so_far = words, add_change(&so_far, ENTRY(FUZZ_SEEN, path_offset), header.about_offset);
    write_change("path_too_long", so_far, ENTRY(FUZZ_SEEN, path_bytes), FERRY__MAX_PATH + 1);
    write_change("about_too_long", words, HEADER(about_bytes), FERRY__MAX_ABOUT + 1);
}

static void write_changed_places(void) {
    const bytes realtime = of(FUZZ_REALTIME), row = of(FUZZ_OF_ONE_ROW);
    ferry__header lanes, one;
    uint64_t first, pitch;
    bytes so_far;
    (void)laid_out(FUZZ_REALTIME, 0, &lanes), (void)laid_out(FUZZ_OF_ONE_ROW, 0, &one);
    first = lanes.env_offset + sizeof(ferry__line), pitch = lanes.env_slot[1] - lanes.env_slot[0];
    write_change("slot_at_end", row, HEADER(agent_slot), one.agent_offset + one.agent_bytes);
    write_change("frames_on_answers", realtime, HEADER(frame_slots), lanes.env_slot[0]);
    write_change("frames_on_others", realtime, HEADER(frame_slots), lanes.env_slot[1]);
    write_change("frames_on_words", realtime, HEADER(frame_slots), first);
    write_change("answers_on_words", realtime, HEADER(env_slot[0]), first);
    write_change("others_on_words", realtime, HEADER(env_slot[1]), first);
    so_far = realtime, add_change(&so_far, HEADER(agent_slot), lanes.action_slots + 2 * (lanes.action_slots - lanes.agent_slot));
    write_change("actions_first", so_far, HEADER(action_slots), lanes.agent_slot);
    so_far = realtime, add_change(&so_far, HEADER(env_slot[0]), lanes.env_slot[0] + 3 * pitch);
    add_change(&so_far, HEADER(env_slot[1]), lanes.env_slot[0] + 4 * pitch);
    write_change("frames_first", so_far, HEADER(frame_slots), lanes.env_slot[0]);
    /* A part that ends before the words of its lanes. */
    so_far = realtime, add_change(&so_far, HEADER(env_bytes), 300);
    add_change(&so_far, HEADER(env_slot[0]), first), add_change(&so_far, HEADER(env_slot[1]), first);
    add_change(&so_far, HEADER(env_blob), 96);
    write_change("no_words", so_far, HEADER(blob_bytes), 0);
    /* Fields far behind what is there of the region. */
    so_far = row, add_change(&so_far, HEADER(region_bytes), UINT64_C(1) << 45);
    write_change("fields_beyond", so_far, HEADER(fields_offset), UINT64_C(1) << 40);
    /* The env's part comes first. */
    so_far = row, add_change(&so_far, HEADER(env_offset), one.agent_offset);
    add_change(&so_far, HEADER(env_slot[0]), one.env_slot[0] - one.agent_bytes);
    add_change(&so_far, HEADER(env_slot[1]), one.env_slot[1] - one.agent_bytes);
    add_change(&so_far, HEADER(agent_offset), one.agent_offset + one.env_bytes);
    write_change("env_first", so_far, HEADER(agent_slot), one.agent_slot + one.env_bytes);
}

/* ---- fuzz_hello ---- */

/* A piece that the target makes a frame of. */
static void add_frame_with(bytes *to, ferry__frame_type type, uint32_t with, const void *payload, uint32_t size) {
    add_byte(to, type | with << 4), add_byte(to, size);
    add(to, payload, size);
}

static void add_frame(bytes *to, ferry__frame_type type, const void *payload, uint32_t size) {
    add_frame_with(to, type, FUZZ_ALONE, payload, size);
}

/* Somebody else comes to the door, or goes; up to a quarter of a minute goes by. */
static void add_come(bytes *to) { add_byte(to, 15), add_byte(to, 0); }
static void add_go(bytes *to) { add_byte(to, 15), add_byte(to, 1); }
static void add_pass(bytes *to, uint32_t time) { add_byte(to, 7), add_byte(to, time); }

static ferry__hello hello_of(ferry__side side, uint32_t mode) {
    ferry__hello hello;
    memset(&hello, 0, sizeof hello);
    memcpy(hello.magic, FERRY__HELLO_MAGIC, sizeof hello.magic);
    hello.endian = FERRY__ENDIAN, hello.abi_major = FERRY__ABI_MAJOR, hello.abi_minor = FERRY__ABI_MINOR;
    hello.features = FERRY__FEATURES_KNOWN, hello.side = side, hello.index = -1, hello.version = FERRY_VERSION;
    hello.realtime = mode == FUZZ_REALTIME, hello.autoreset = hello.realtime ? 0 : mode;
    return hello;
}

/* What is said to each role in a handshake that goes well, as far as it can without a descriptor, and what may come later. */
static void write_handshakes(void) {
    static const char *const roles[] = {"env", "agent", "agent_that_listens", "observer", "gallery", "env_that_listens"};
    static const ferry__side sides[] = {FERRY__AGENT, FERRY__ENV, FERRY__ENV, FERRY__ENV, FERRY__OBSERVER, FERRY__AGENT};
    const ferry__welcome welcome = {8192};
    const struct {
        ferry__refuse head;
        char text[16];
    } refusal = {{FERRY_EBUSY, 16}, "another plays on"};
    uint32_t role, mode;
    for (role = 0; role < FUZZ_ROLES; role++)
        for (mode = 0; mode <= FUZZ_REALTIME; mode += FUZZ_REALTIME) {
            ferry__hello hello = hello_of(sides[role], mode);
            bytes said = {{0}, 0};
            char name[64];
            add_byte(&said, role + FUZZ_ROLES * mode);
            add_frame(&said, FERRY__HELLO, &hello, sizeof hello);
            if (sides[role] == FERRY__ENV) add_frame(&said, FERRY__WELCOME, &welcome, sizeof welcome);
            else add_frame(&said, FERRY__READY, NULL, 0), add_frame(&said, FERRY__BLOB, &welcome, sizeof welcome);
            add_frame(&said, FERRY__GOODBYE, NULL, 0);
            snprintf(name, sizeof name, "%s%s", roles[role], mode == FUZZ_REALTIME ? "_realtime" : "");
            write_file("fuzz_hello", name, said.at, said.size);
        }
    for (role = 0; role < 2; role++) { /* the very bytes, in two pieces; and a refusal */
        ferry__hello hello = hello_of(sides[role], 0);
        ferry__frame frame = {FERRY__FRAME_MAGIC, FERRY__HELLO, 0, sizeof hello, 0};
        bytes said = {{0}, 0}, refused = {{0}, 0};
        add_byte(&said, role);
        add_byte(&said, 0), add_byte(&said, 10), add(&said, &frame, 10);
        add_byte(&said, 0), add_byte(&said, 6 + sizeof hello), add(&said, (const char *)&frame + 10, 6), add(&said, &hello, sizeof hello);
        write_file("fuzz_hello", role == 0 ? "env_in_pieces" : "agent_in_pieces", said.at, said.size);
        add_byte(&refused, role);
        add_frame(&refused, FERRY__REFUSE, &refusal, sizeof refusal);
        write_file("fuzz_hello", role == 0 ? "env_refused" : "agent_refused", refused.at, refused.size);
    }
}

/* What is offered to agents and observers, and what comes later. */
static void write_offers(void) {
    static const char *const offers[] = {"alone", "stream", "resizable", "fixed", "frozen", "region", "other_region", "ring"};
    static const uint32_t roles[] = {FUZZ_AGENT, FUZZ_AGENT_THAT_LISTENS, FUZZ_OBSERVER};
    const ferry__welcome size = {8192}, blob = {100};
    uint32_t role, with, mode;
    for (role = 0; role < 3; role++)
        for (with = FUZZ_A_STREAM; with <= FUZZ_RING; with++) {
            ferry__hello hello = hello_of(FERRY__ENV, with % 4);
            bytes said = {{0}, 0};
            char name[64];
            mode = with % 4;
            add_byte(&said, roles[role] + FUZZ_ROLES * mode);
            add_frame(&said, FERRY__HELLO, &hello, sizeof hello);
            add_frame_with(&said, FERRY__WELCOME, with, &size, sizeof size);
            add_frame_with(&said, FERRY__BLOB, FUZZ_FROZEN, &blob, sizeof blob);
            if (with % 2 == 0) add_frame_with(&said, FERRY__BLOB, FUZZ_FROZEN, &blob, sizeof blob);
            add_frame(&said, FERRY__GOODBYE, NULL, 0);
            snprintf(name, sizeof name, "offer_%u_%s", role, offers[with]);
            write_file("fuzz_hello", name, said.at, said.size);
        }
}

/* A visitor while an agent that listens plays; regions of another way of playing; large blobs twice; a long refusal; another mode. */
static void write_further(void) {
    static const char text[] = {(char)FERRY_EBUSY, -1, -1, -1, 0x00, 0x07, 0, 0};
    const ferry__hello env = hello_of(FERRY__ENV, 0), agent = hello_of(FERRY__AGENT, 0), observer = hello_of(FERRY__OBSERVER, 0);
    const ferry__hello real = hello_of(FERRY__ENV, FUZZ_REALTIME), next = hello_of(FERRY__AGENT, 1);
    const ferry__welcome size = {8192}, large = {UINT64_C(1) << 40}, blob = {100};
    const uint8_t alone = FUZZ_ENV; /* whose agent goes without a word */
    bytes visited = {{0}, 0}, other = {{0}, 0}, blobs = {{0}, 0}, refused = {{0}, 0}, huge = {{0}, 0}, modes = {{0}, 0};
    write_file("fuzz_hello", "alone", &alone, 1);
    add_byte(&visited, FUZZ_AGENT_THAT_LISTENS);
    add_frame(&visited, FERRY__HELLO, &env, sizeof env), add_frame_with(&visited, FERRY__WELCOME, FUZZ_REGION, &size, sizeof size);
    add_come(&visited), add_frame(&visited, FERRY__HELLO, &observer, sizeof observer), add_pass(&visited, 1);
    add_byte(&visited, 15), add_byte(&visited, 30), add_pass(&visited, 1), add_pass(&visited, 1), add_pass(&visited, 1);
    write_file("fuzz_hello", "agent_visited", visited.at, visited.size);
    add_byte(&other, FUZZ_AGENT + FUZZ_ROLES * FUZZ_REALTIME);
    add_frame(&other, FERRY__HELLO, &real, sizeof real), add_frame_with(&other, FERRY__WELCOME, FUZZ_OTHER_REGION, &size, sizeof size);
    write_file("fuzz_hello", "agent_offered_other", other.at, other.size);
    add_byte(&blobs, FUZZ_ENV);
    add_frame(&blobs, FERRY__HELLO, &agent, sizeof agent), add_frame(&blobs, FERRY__READY, NULL, 0);
    add_frame_with(&blobs, FERRY__BLOB, FUZZ_FROZEN, &blob, sizeof blob), add_pass(&blobs, 1);
    add_frame_with(&blobs, FERRY__BLOB, FUZZ_FROZEN, &blob, sizeof blob), add_pass(&blobs, 1), add_pass(&blobs, 1);
    write_file("fuzz_hello", "blobs", blobs.at, blobs.size);
    blobs.size = 0, add_byte(&blobs, FUZZ_ENV);
    add_frame(&blobs, FERRY__HELLO, &agent, sizeof agent), add_frame(&blobs, FERRY__READY, NULL, 0), add_pass(&blobs, 1);
    add_frame(&blobs, FERRY__READY, NULL, 0), add_pass(&blobs, 1), add_pass(&blobs, 1);
    write_file("fuzz_hello", "ready_twice", blobs.at, blobs.size);
    add_byte(&refused, FUZZ_AGENT);
    add_byte(&refused, FERRY__REFUSE | 8), add_byte(&refused, 255), add(&refused, text, sizeof text);
    write_file("fuzz_hello", "refused_at_length", refused.at, refused.size);
    add_byte(&huge, FUZZ_OBSERVER);
    add_frame(&huge, FERRY__HELLO, &env, sizeof env), add_frame_with(&huge, FERRY__WELCOME, FUZZ_A_STREAM, &large, sizeof large);
    write_file("fuzz_hello", "huge_ring", huge.at, huge.size);
    huge.at[0] = FUZZ_AGENT;
    write_file("fuzz_hello", "huge_region", huge.at, huge.size);
    add_byte(&modes, FUZZ_ENV_THAT_LISTENS);
    add_frame(&modes, FERRY__HELLO, &next, sizeof next), add_frame(&modes, FERRY__GOODBYE, NULL, 0), add_come(&modes);
    add_frame(&modes, FERRY__HELLO, &agent, sizeof agent), add_frame(&modes, FERRY__READY, NULL, 0);
    write_file("fuzz_hello", "another_mode", modes.at, modes.size);
}

/* Bells that come with greetings; a full house; who comes, says nothing and goes. */
static void write_visits(void) {
    const ferry__hello agent = hello_of(FERRY__AGENT, 0), observer = hello_of(FERRY__OBSERVER, 0);
    bytes house = {{0}, 0}, silent = {{0}, 0}, listening = {{0}, 0};
    uint32_t with, i;
    for (with = FUZZ_A_STREAM; with <= FUZZ_FROZEN; with++) {
        bytes said = {{0}, 0};
        char name[64];
        add_byte(&said, FUZZ_ENV);
        add_frame_with(&said, FERRY__HELLO, with, &agent, sizeof agent);
        add_frame(&said, FERRY__READY, NULL, 0);
        add_frame_with(&said, FERRY__BLOB, with, &agent, 8);
        snprintf(name, sizeof name, "bell_%u", with);
        write_file("fuzz_hello", name, said.at, said.size);
    }
    add_byte(&house, FUZZ_GALLERY);
    for (i = 0; i < 10; i++) add_frame(&house, FERRY__HELLO, &observer, sizeof observer), add_pass(&house, 1), add_come(&house);
    for (i = 0; i < 10; i++) add_go(&house), add_pass(&house, 1);
    write_file("fuzz_hello", "full_house", house.at, house.size);
    add_byte(&silent, FUZZ_GALLERY);
    for (i = 0; i < 20; i++) add_come(&silent);
    add_frame(&silent, FERRY__HELLO, &agent, sizeof agent), add_go(&silent), add_frame(&silent, FERRY__READY, NULL, 0),
        add_pass(&silent, 9);
    write_file("fuzz_hello", "silent", silent.at, silent.size);
    add_byte(&listening, FUZZ_ENV_THAT_LISTENS);
    add_pass(&listening, 255), add_come(&listening), add_frame(&listening, FERRY__HELLO, &observer, sizeof observer);
    add_come(&listening), add_frame(&listening, FERRY__HELLO, &agent, 20), add_come(&listening), add_go(&listening);
    write_file("fuzz_hello", "listening", listening.at, listening.size);
}

/* ---- fuzz_peer ---- */

static void add_text(bytes *to, const char *text) {
    while (*text != 0) { /* pairs of hexadecimal digits, spaces between acts */
        char pair[3] = {text[0], text[1], 0};
        add_byte(to, (uint32_t)strtoul(pair, NULL, 16));
        text += 2;
        while (*text == ' ') text++;
    }
}

/* Acts by their numbers in fuzz_peer.c: 05 tick, 06 decide, 07 tick otherwise, 08 step, 09 reset, 0a call, 0b look, 0d observe, 0f pass, 10 say, 11 write later. */
static void write_plays(void) {
    static const struct {
        const char *name, *acts;
    } plays[] = {
        {"lockstep", "00 0900 05 0b 0800 05 0b 0808 05 0b 0a05 05 0b 0800 050b"},
        {"rows", "04 0900 05 0b 0802 05 0b 0800 070100 0b 0901 05 0b"},
        {"next_step", "05 0900 05 0b 0800 070100 0b 0800 05 05 0b"},
        {"same_step", "06 0900 05 0b 0800 07ff00 0b 0800 070500 05 0b"},
        {"large_blobs", "00 0900 0704ff 0b 0aff 05 0b"},
        {"realtime", "03 0900 05 0b 05 0b 0800 05 0b 05 05 0c10 0620 0808 05 0b 070100 0b"},
        {"observed", "00 0900 05 0b 0d00 05 0d00 05 0d00 0ff0 0800 05 0b 0ff0 05 0d40 0800 05 0d40"},
        {"observed_realtime", "03 0900 05 0b 0d00 05 0d00 05 0d00 0ff0 05 0d40 05 0ff0 070100 0d40"},
        {"bell", "14 0900 0d01 05 0d01 0b"},
        {"left", "08 0e 05 0e 05 0e 0900 05 0b 0415000000 0e 05 0e 05 0900 05"},
        /* The word of a turn, of a lane, of a ring; a head; a field's place before the agent has come. */
        {"early", "00 0900 05 0b 03050000 01 05 0b"},
        {"lane", "03 0900 05 0b 05 0307000001 0b 0800 03070080ff 05 0b"},
        {"ring", "00 0900 05 0b 0d00 05 0d00 05 03c0800001 0d40 02c1180001 0d40"},
        {"ring_early", "00 0900 05 0b 0d00 0f20 05 0f20 05 00c040004000000000000000 0d00 05 0d40"},
        {"head", "00 0900 05 02080400 04 0b 0800 02050400 09 05"},
        /* An action's list: too long, in a blob that is not there, with elements outside their bounds. */
        {"list", "00 0900 05 0b 0810 05 0b 0808 0105480004000000 05 0b"},
        {"list_in_blob", "00 0900 05 0b 0808 01054800ffffffff 05 0b 0900 05 0b 0808 0105500009000000 05 0b"},
        {"list_realtime", "03 0900 05 0b 0810 05 0808 010b8800ffffffff 05 0808 010b880004000000 05"},
        /* Two blobs in one: the format of the second, the bytes of the first; in the slot, and by descriptor. */
        {"joined_format", "02 0900 05 0b 0800 070500 05 010d040009000000 010e040009000000 0b"},
        {"joined_bytes", "02 0900 05 0b 0800 070500 05 000d0800ffffffffffffffff 000e0800ffffffffffffffff 0b"},
        {"joined_short", "00 0900 05 0b 0800 05 0208060005 0209060005 0b"},
        {"action_of_no_time", "03 0900 05 0b 05 0b 0800 000b48000000000000000000 05 0b"},
        {"joined_observed",
         "02 0900 05 0b 0d00 05 0d00 05 0800 070500 0b 0ff0 05 0800 070500 05 01d3040009000000 01d7040009000000 01db040009000000 "
         "01df040009000000 0d40"},
        /* A large blob that is announced and does not come; that is not what it must be; that is empty; that is damaged. */
        {"blob_missing", "00 0900 05 0b 0800 0205060001 0205070001 05"},
        {"blob_of_none", "00 0900 05 0b 1001060300 00000000 0800 0205060001 0205070001 05"},
        {"blob_unsealed", "00 0900 05 0b 1001060100 64000000 0800 0205060001 0205070001 0205100064 05"},
        {"blob_not_frozen", "00 0900 05 0b 1001060200 64000000 0800 0205060001 0205070001 0205100064 05"},
        {"blob_goodbye", "00 0900 05 0b 1001050000 00000000 0800 0205060001 0205070001 05"},
        {"blob_too_large", "00 0900 05 0b 1001060300 ffffffff 0800 0205060001 0205070001 00051000ffffffff00000000 05"},
        {"blob_joined", "00 0900 05 0b 10000603ff 64000000 0800 05 0208060005 0208070001 0208100064 0209060005 0209070001 0209100064 0b"},
        /* What comes while somebody waits: a turn, and a turn where a frame is waited for. */
        {"later", "00 0900 05 0b 1105000003 02ffffff 06ff"},
        {"lane_later", "03 0900 05 0b 1105000008 02ffffff 06ff 06ff"},
        {"frame_blob", "03 0900 05 0b 05 020f060001 020f070001 021f060001 021f070001 022f060001 022f070001 0b"},
        {"frame_blob_format", "03 0900 05 0b 05 020f060009 021f060009 022f060009 0b"},
        {"frame_kind", "03 0900 05 0b 05 020f040002 021f040002 022f040002 0b"},
        {"realtime_truncated", "03 0900 05 0b 05 0b 070200 0b 0b"},
        {"ring_rows",
         "06 0900 05 0b 0d00 05 0d00 05 0d00 0ff0 0801 05 0b 0ff0 05 0801 05 0ff0 05 01c2b80009000000 01c6b80009000000 01cab80009000000 01ceb80009000000 0d40"},
        {"step_in_realtime", "03 0900 05 0b 05 0900 0205040001 05"},
        {"rows_none", "00 0900 05 0b 0800 0205180000 05"},
        {"rows_many", "00 0900 05 0b 0800 0205180009 05"},
        {"blob_damaged", "00 0900 05 0b 0800 0205060009 05 0900 05 0b 0800 0205060001 0205070009 05"},
        {"blob_beyond", "00 0900 05 0b 0800 0205060001 0205130009 05"},
        /* A ring's slot that is being written, one that was written over, and messages that are none. */
        {"ring_odd", "00 0900 05 0b 0d00 05 0d00 05 0ff0 0800 05 0b 0ff0 05 02c2000001 02c6000001 02ca000001 02ce000001 0d40"},
        {"ring_counts", "00 0900 05 0b 0d00 05 0d00 05 0ff0 0800 05 0b 0ff0 05 02c2280077 02c6280077 02ca280077 02ce280077 0d40"},
        {"ring_numbers", "00 0900 05 0b 0d00 05 0d00 05 0ff0 0800 05 0b 0ff0 05 02c2080077 02c6080077 02ca080077 02ce080077 0d40"},
        {"ring_kind", "00 0900 05 0b 0d00 05 0d00 05 0ff0 0800 05 0b 0ff0 05 02c3040009 02c7040009 02cb040009 02cf040009 0d40"},
        {"ring_format", "00 0900 05 0b 0d00 05 0d00 05 0ff0 0800 05 0b 0ff0 05 02c3060009 02c7060009 02cb060009 02cf060009 0d40"},
        {"ring_where", "00 0900 05 0b 0d00 05 0d00 05 0ff0 0800 05 0b 0ff0 05 02c3060001 02c7060001 02cb060001 02cf060001 02c3070009 "
                       "02c7070009 02cb070009 02cf070009 0d40"},
        {"ring_beyond", "00 0900 05 0b 0d00 05 0d00 05 0ff0 0800 05 0b 0ff0 05 02c3060001 02c7060001 02cb060001 02cf060001 02c3130009 "
                        "02c7130009 02cb130009 02cf130009 0d40"},
        {"foreign", "08 0e 05 0e 05 00023800 ffffffffffffffff 0e 05 0900 0b"},
    };
    size_t i;
    for (i = 0; i < sizeof plays / sizeof *plays; i++) {
        bytes acts = {{0}, 0};
        add_text(&acts, plays[i].acts);
        write_file("fuzz_peer", plays[i].name, acts.at, acts.size);
    }
}

int main(int count, char **arguments) {
    if (count != 2) return fprintf(stderr, "make_corpus FOLDER\n"), 1;
    folder = arguments[1];
    EXPECT(mkdir(folder, 0777) == 0 || errno == EEXIST);
    write_regions();
    write_changed_fields();
    write_changed_texts();
    write_changed_places();
    write_handshakes();
    write_offers();
    write_visits();
    write_further();
    write_plays();
    return 0;
}
