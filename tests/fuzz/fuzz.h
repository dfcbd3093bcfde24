/* What the targets have in common. A target is given bytes and may do anything with them; it fails if the library crashes, reads or writes
 * outside, waits for longer than it was told to, or breaks a promise that EXPECT states. */
#ifndef FERRY_TESTS_FUZZ_H
#define FERRY_TESTS_FUZZ_H

#include "../../csrc/platform.h"
#include "../../csrc/spec.h"

#include <libferry.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline void fuzz_fail(const char *file, int line, const char *what) {
    fprintf(stderr, "%s:%d: failed: %s\n", file, line, what);
    abort();
}

#define EXPECT(condition) ((condition) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #condition))

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- The bytes, taken from the front; where there are no more, zeros ---- */

typedef struct fuzz_input {
    const uint8_t *at, *end;
} fuzz_input;

static inline uint64_t fuzz_take(fuzz_input *input, uint32_t bytes) {
    uint64_t value = 0;
    size_t left = (size_t)(input->end - input->at), count = left < bytes ? left : bytes;
    memcpy(&value, input->at, count);
    input->at += count;
    return value;
}

/* ---- The platform: see fuzz_platform.c ---- */

/* Nanoseconds. It goes on by a little whenever somebody looks, and by all of a sleep at once. */
extern int64_t fuzz_clock_ns;

/* Each run lies between the two. The second fails if the library holds a handle or a mapping still. */
void fuzz_begin(void);
void fuzz_end(void);

typedef struct fuzz_mapping {
    char *start;
    uint64_t bytes;
    uint64_t immutable; /* its first bytes, which the library has made read-only */
} fuzz_mapping;

/* Memory number 0, 1, ... of that which is mapped and may be written by its writers: regions, rings, bells. NULL: there are no more. */
const fuzz_mapping *fuzz_shared(uint32_t number);
/* Writes there as the peer's process would that has a mapping of its own. */
void fuzz_poke(const fuzz_mapping *mapping, uint64_t at, const void *value, uint64_t bytes);
/* Writes up to eight bytes when the library has looked at the clock so many times more: while it waits, say. One such at a time. */
void fuzz_poke_later(const fuzz_mapping *mapping, uint64_t at, uint64_t value, uint32_t bytes, uint32_t looks);

/* Memory to be passed, zeroed, of FUZZ_MOST_BYTES at most, whose size is fixed and whose content is frozen, or not. */
enum { FUZZ_MOST_BYTES = 1 << 21 };
ferry__os fuzz_memory(uint64_t bytes, int fixed, int frozen);
char *fuzz_memory_start(ferry__os memory);

/* Says something to who reads the stream that was opened first, second, ..., in the place of who writes to it. */
void fuzz_say(uint32_t which, const void *data, uint32_t bytes, ferry__os pass);
/* Two ends of a stream; a stream to who serves a name, or FERRY__NO_OS if too many wait there; serving one. They are closed by
 * ferry__platform_close and unlisten. */
void fuzz_pair(ferry__os pair[2]);
ferry__os fuzz_dial(const char *name);
ferry__listener fuzz_serve(const char *name);

/* ---- Looking at what the library hands out ---- */

static inline void fuzz_touch(const void *start, uint64_t bytes) {
    const volatile char *at = (const volatile char *)start;
    if (bytes > 0) (void)at[0], (void)at[bytes - 1];
}

/* Reads what a turn points at: the first and the last byte of each row of each field, all columns and all blobs. */
static inline void fuzz_look_at(const ferry_turn *turn, uint32_t num_rows) {
    uint32_t i, row;
    uint64_t at;
    for (i = 0; i < turn->num_fields; i++) {
        for (row = 0; row < num_rows; row++) fuzz_touch((const char *)turn->data[i] + turn->stride[i] * row, turn->stride[i]);
        if (turn->present[i] != NULL) fuzz_touch(turn->present[i], num_rows);
        if (turn->final_data[i] != NULL) fuzz_touch(turn->final_data[i], turn->stride[i] * num_rows);
        if (turn->final_present[i] != NULL) fuzz_touch(turn->final_present[i], num_rows);
    }
    fuzz_touch(turn->reward, sizeof(double) * num_rows);
    fuzz_touch(turn->episode, sizeof(uint64_t) * num_rows);
    fuzz_touch(turn->seed, sizeof(int64_t) * num_rows);
    fuzz_touch(turn->terminated, num_rows), fuzz_touch(turn->truncated, num_rows), fuzz_touch(turn->status, num_rows);
    EXPECT(turn->num_rows <= num_rows);
    for (i = 0; i < turn->num_rows; i++) EXPECT(turn->rows[i] < num_rows && (i == 0 || turn->rows[i] > turn->rows[i - 1]));
    for (at = 0; at < turn->blob.size_bytes && turn->blob.format != FERRY_NONE; at++) fuzz_touch((const char *)turn->blob.data + at, 1);
    for (at = 0; at < turn->step_blob.size_bytes && turn->step_blob.format != FERRY_NONE; at++)
        fuzz_touch((const char *)turn->step_blob.data + at, 1);
}

/* ---- Environments and agents ---- */

enum { FUZZ_SEEN, FUZZ_PUSH, FUZZ_WORDS, FUZZ_CHOICES, FUZZ_SCORE, FUZZ_FIELDS };

/* A field of each sort: numbers, a list that is written and one that is read, choices with bounds of their own, an info. */
static inline void fuzz_fields(ferry_field fields[FUZZ_FIELDS], const int32_t low[2], const int32_t high[2]) {
    memset(fields, 0, FUZZ_FIELDS * sizeof *fields);
    fields[FUZZ_SEEN].path = "seen", fields[FUZZ_SEEN].dtype = FERRY_F64, fields[FUZZ_SEEN].ndim = 1, fields[FUZZ_SEEN].shape[0] = 3;
    fields[FUZZ_SEEN].low = -1, fields[FUZZ_SEEN].high = 1;
    fields[FUZZ_PUSH].path = "push", fields[FUZZ_PUSH].role = FERRY_ACTION, fields[FUZZ_PUSH].kind = FERRY_DISCRETE;
    fields[FUZZ_PUSH].n = 5, fields[FUZZ_PUSH].start = 10;
    fields[FUZZ_WORDS].path = "words/said", fields[FUZZ_WORDS].kind = FERRY_STRING, fields[FUZZ_WORDS].capacity = 20;
    fields[FUZZ_CHOICES].path = "choices#0", fields[FUZZ_CHOICES].role = FERRY_ACTION, fields[FUZZ_CHOICES].kind = FERRY_MULTI_DISCRETE;
    fields[FUZZ_CHOICES].dtype = FERRY_I32, fields[FUZZ_CHOICES].ndim = 1, fields[FUZZ_CHOICES].shape[0] = 2;
    fields[FUZZ_CHOICES].low_each = low, fields[FUZZ_CHOICES].high_each = high, fields[FUZZ_CHOICES].capacity = 3;
    fields[FUZZ_SCORE].path = "score", fields[FUZZ_SCORE].role = FERRY_INFO, fields[FUZZ_SCORE].dtype = FERRY_F32;
}

static const int32_t fuzz_low[2] = {-1, 0}, fuzz_high[2] = {1, 4};

enum { FUZZ_ROWS = 3, FUZZ_BLOB_BYTES = 256, FUZZ_REALTIME = 3 }; /* ways of playing: the autoreset modes, and real time */

static inline ferry_env_desc fuzz_env_desc(const char *address, ferry_field fields[FUZZ_FIELDS], uint32_t mode, uint32_t num_rows) {
    ferry_env_desc desc;
    fuzz_fields(fields, fuzz_low, fuzz_high);
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc, desc.address = address, desc.name = "fuzzed", desc.fields = fields, desc.num_fields = FUZZ_FIELDS;
    desc.about.data = "{}", desc.about.size_bytes = 2, desc.about.format = FERRY_JSON;
    desc.blob_bytes = FUZZ_BLOB_BYTES, desc.max_bytes = 1 << 20;
    desc.takes_calls = 1, desc.realtime = mode == FUZZ_REALTIME, desc.num_rows = desc.realtime ? 1 : num_rows;
    return desc;
}

/* Of fuzz_hello: who hears the bytes; what comes with a frame. */
enum { FUZZ_ENV, FUZZ_AGENT, FUZZ_AGENT_THAT_LISTENS, FUZZ_OBSERVER, FUZZ_GALLERY, FUZZ_ENV_THAT_LISTENS, FUZZ_ROLES };
enum { FUZZ_ALONE, FUZZ_A_STREAM, FUZZ_RESIZABLE, FUZZ_FIXED, FUZZ_FROZEN, FUZZ_REGION, FUZZ_OTHER_REGION, FUZZ_RING };

/* Fields of all kinds, of dtypes of all sizes and with bounds of all sorts, in one row. */
enum {
    FUZZ_GREY,
    FUZZ_HALF,
    FUZZ_LARGE,
    FUZZ_BINARY,
    FUZZ_EMPTY,
    FUZZ_PAIR,
    FUZZ_SECOND,
    FUZZ_GRAPH,
    FUZZ_LIVES,
    FUZZ_CLOCK,
    FUZZ_STEER,
    FUZZ_LAMPS,
    FUZZ_GEAR,
    FUZZ_GEARS,
    FUZZ_WIDE,
    FUZZ_PATH,
    FUZZ_SAY,
    FUZZ_ANY,
    FUZZ_KINDS
};

static inline ferry_env_desc fuzz_kinds_desc(ferry_field fields[FUZZ_KINDS]) {
    static const uint8_t low[4] = {0, 1, 2, 3}, high[4] = {0, 9, 255, 3};
    static const uint64_t none[2] = {0, 1}, most[2] = {5, UINT64_MAX};
    ferry_env_desc desc;
    uint32_t i;
    memset(fields, 0, FUZZ_KINDS * sizeof *fields);
    fields[FUZZ_GREY].path = "a/rather/long/path", fields[FUZZ_GREY].dtype = FERRY_U8, fields[FUZZ_GREY].ndim = 2;
    fields[FUZZ_GREY].shape[0] = fields[FUZZ_GREY].shape[1] = 2, fields[FUZZ_GREY].low_each = low, fields[FUZZ_GREY].high_each = high;
    fields[FUZZ_HALF].path = "half", fields[FUZZ_HALF].dtype = FERRY_F16, fields[FUZZ_HALF].ndim = 1, fields[FUZZ_HALF].shape[0] = 0;
    fields[FUZZ_LARGE].path = "large", fields[FUZZ_LARGE].dtype = FERRY_U64, fields[FUZZ_LARGE].low_each = none;
    fields[FUZZ_LARGE].high_each = most;
    fields[FUZZ_BINARY].path = "binary", fields[FUZZ_BINARY].kind = FERRY_MULTI_BINARY, fields[FUZZ_BINARY].ndim = 1;
    fields[FUZZ_BINARY].shape[0] = 7;
    fields[FUZZ_EMPTY].path = "empty", fields[FUZZ_EMPTY].kind = FERRY_DICT;
    fields[FUZZ_PAIR].path = "pair#0", fields[FUZZ_PAIR].capacity = 4, fields[FUZZ_PAIR].ndim = 1, fields[FUZZ_PAIR].shape[0] = 2;
    fields[FUZZ_SECOND].path = "pair#1/\xC3\xA9", fields[FUZZ_SECOND].kind = FERRY_DISCRETE, fields[FUZZ_SECOND].n = 2;
    fields[FUZZ_GRAPH].path = "graph", fields[FUZZ_GRAPH].kind = FERRY_OTHER;
    fields[FUZZ_LIVES].path = "lives", fields[FUZZ_LIVES].role = FERRY_INFO, fields[FUZZ_LIVES].dtype = FERRY_I8;
    fields[FUZZ_CLOCK].path = "clock", fields[FUZZ_CLOCK].role = FERRY_INFO, fields[FUZZ_CLOCK].dtype = FERRY_F64;
    for (i = FUZZ_STEER; i < FUZZ_KINDS; i++) fields[i].role = FERRY_ACTION;
    fields[FUZZ_STEER].path = "steer", fields[FUZZ_STEER].dtype = FERRY_I16, fields[FUZZ_STEER].low = -100, fields[FUZZ_STEER].high = 100;
    fields[FUZZ_LAMPS].path = "lamps", fields[FUZZ_LAMPS].kind = FERRY_MULTI_BINARY, fields[FUZZ_LAMPS].ndim = 1;
    fields[FUZZ_LAMPS].shape[0] = 1;
    fields[FUZZ_GEAR].path = "gear", fields[FUZZ_GEAR].kind = FERRY_DISCRETE, fields[FUZZ_GEAR].n = 6, fields[FUZZ_GEAR].dtype = FERRY_I32;
    fields[FUZZ_GEARS].path = "gears", fields[FUZZ_GEARS].kind = FERRY_DISCRETE, fields[FUZZ_GEARS].n = 6, fields[FUZZ_GEARS].capacity = 2;
    fields[FUZZ_WIDE].path = "wide", fields[FUZZ_WIDE].kind = FERRY_MULTI_DISCRETE, fields[FUZZ_WIDE].dtype = FERRY_U64;
    fields[FUZZ_WIDE].ndim = 1, fields[FUZZ_WIDE].shape[0] = 2, fields[FUZZ_WIDE].low_each = none, fields[FUZZ_WIDE].high_each = most;
    fields[FUZZ_PATH].path = "way", fields[FUZZ_PATH].capacity = 3;
    fields[FUZZ_SAY].path = "say", fields[FUZZ_SAY].kind = FERRY_STRING, fields[FUZZ_SAY].capacity = 9;
    fields[FUZZ_ANY].path = "any", fields[FUZZ_ANY].kind = FERRY_OTHER;
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc, desc.name = "kinds", desc.fields = fields, desc.num_fields = FUZZ_KINDS,
    desc.blob_bytes = FUZZ_BLOB_BYTES;
    return desc;
}

/* Of fuzz_spec: the regions that changes are made in. The last is described by a megabyte. */
enum { FUZZ_OF_MODE, FUZZ_OF_KINDS = FUZZ_REALTIME + 1, FUZZ_OF_ONE_ROW, FUZZ_OF_WORDS, FUZZ_BASES };
static inline ferry__spec fuzz_base_spec(uint32_t which) {
    static char words[1 << 20];
    ferry_field fields[FUZZ_KINDS];
    ferry_env_desc desc = which == FUZZ_OF_KINDS  ? fuzz_kinds_desc(fields)
                          : which < FUZZ_OF_KINDS ? fuzz_env_desc("", fields, which, FUZZ_ROWS)
                                                  : fuzz_env_desc("", fields, FERRY_AUTORESET_DISABLED, 1);
    ferry__spec spec;
    ferry_why why;
    if (which == FUZZ_OF_WORDS) desc.about.data = words, desc.about.size_bytes = sizeof words;
    EXPECT(ferry__spec_build(&desc, &spec, &why) == 0);
    EXPECT(ferry__spec_choose(&spec, which <= FERRY_AUTORESET_SAME_STEP ? which : FERRY_AUTORESET_DISABLED, &why) == 0);
    return spec;
}

/* Places there. From each of the others on there is one of each field: its entry, its path, its bounds. */
enum { FUZZ_AT_HEADER, FUZZ_AT_GROUP, FUZZ_AT_AGENT_SLOT, FUZZ_AT_ENTRY = 16, FUZZ_AT_PATH = 64, FUZZ_AT_LOW = 128, FUZZ_AT_HIGH = 192 };

static inline void fuzz_drop_log(void *user, int level, const char *text) { (void)user, (void)level, fuzz_touch(text, strlen(text) + 1); }

static inline ferry_env *fuzz_open_env(const char *address, uint32_t mode, uint32_t num_rows) {
    ferry_field fields[FUZZ_FIELDS];
    ferry_env_desc desc = fuzz_env_desc(address, fields, mode, num_rows);
    ferry_env *env;
    ferry_why why;
    desc.log = fuzz_drop_log;
    if (ferry_env_open(&desc, &env, &why) < 0) fprintf(stderr, "%s\n", why.text), abort();
    return env;
}

static inline ferry_agent *fuzz_open_agent(const char *address, uint32_t mode) {
    ferry_agent_desc desc;
    ferry_agent *agent;
    ferry_why why;
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc, desc.address = address, desc.max_bytes = 1 << 20, desc.log = fuzz_drop_log;
    desc.realtime = mode == FUZZ_REALTIME, desc.autoreset = desc.realtime ? FERRY_AUTORESET_DISABLED : mode;
    if (ferry_agent_open(&desc, &agent, &why) < 0) fprintf(stderr, "%s\n", why.text), abort();
    return agent;
}

static inline ferry_observer *fuzz_open_observer(const char *address) {
    ferry_observer_desc desc;
    ferry_observer *observer;
    ferry_why why;
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc, desc.address = address, desc.max_bytes = 1 << 22, desc.log = fuzz_drop_log;
    if (ferry_observer_open(&desc, &observer, &why) < 0) fprintf(stderr, "%s\n", why.text), abort();
    return observer;
}

#endif
