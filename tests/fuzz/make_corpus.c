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

/* Fields of all kinds and of dtypes of all sizes, and none of what the others have. */
static void write_kinds(void) {
    static const uint8_t low[4] = {0, 1, 2, 3}, high[4] = {0, 9, 255, 3};
    static const uint64_t none[1] = {0}, most[1] = {UINT64_MAX};
    enum { GREY, HALF, LARGE, BINARY, EMPTY, PAIR, SECOND, GRAPH, STEER, COUNT };
    ferry_field fields[COUNT];
    ferry_env_desc desc;
    memset(fields, 0, sizeof fields);
    fields[GREY].path = "grey", fields[GREY].dtype = FERRY_U8, fields[GREY].ndim = 2, fields[GREY].shape[0] = fields[GREY].shape[1] = 2;
    fields[GREY].low_each = low, fields[GREY].high_each = high;
    fields[HALF].path = "half", fields[HALF].dtype = FERRY_F16, fields[HALF].ndim = 1, fields[HALF].shape[0] = 0;
    fields[LARGE].path = "large", fields[LARGE].dtype = FERRY_U64, fields[LARGE].low_each = none, fields[LARGE].high_each = most;
    fields[BINARY].path = "binary", fields[BINARY].kind = FERRY_MULTI_BINARY, fields[BINARY].ndim = 1, fields[BINARY].shape[0] = 7;
    fields[EMPTY].path = "empty", fields[EMPTY].kind = FERRY_DICT;
    fields[PAIR].path = "pair#0", fields[PAIR].capacity = 4, fields[PAIR].ndim = 1, fields[PAIR].shape[0] = 2;
    fields[SECOND].path = "pair#1/\xC3\xA9", fields[SECOND].kind = FERRY_DISCRETE, fields[SECOND].n = 2;
    fields[GRAPH].path = "graph", fields[GRAPH].kind = FERRY_OTHER;
    fields[STEER].role = FERRY_ACTION, fields[STEER].dtype = FERRY_I16, fields[STEER].low = -100, fields[STEER].high = 100;
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc, desc.name = "kinds", desc.fields = fields, desc.num_fields = COUNT, desc.blob_bytes = FUZZ_BLOB_BYTES;
    write_region("kinds", &desc, FERRY_AUTORESET_DISABLED);
}

static void write_regions(void) {
    static const char *const modes[] = {"disabled", "next_step", "same_step", "realtime"};
    uint32_t mode;
    for (mode = 0; mode <= FUZZ_REALTIME; mode++) {
        ferry_field fields[FUZZ_FIELDS];
        ferry_env_desc desc = fuzz_env_desc("", fields, mode, mode == FERRY_AUTORESET_DISABLED ? 1 : FUZZ_ROWS);
        write_region(modes[mode], &desc, mode == FUZZ_REALTIME ? FERRY_AUTORESET_DISABLED : mode);
    }
    write_kinds();
}

/* ---- fuzz_hello ---- */

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

/* Acts by their numbers in fuzz_peer.c: 05 tick, 06 decide, 07 tick otherwise, 08 step, 09 reset, 0a call, 0b look, 0d observe, 0f pass. */
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
    write_handshakes();
    write_offers();
    write_visits();
    write_plays();
    return 0;
}
