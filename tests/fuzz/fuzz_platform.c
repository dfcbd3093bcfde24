/* The system that the targets run on: all of it in this process, without a system call, so that a run takes microseconds. Time passes only as
 * somebody waits, so that a run repeats itself and no wait takes long. Nothing lies beside shared memory, as the address sanitizer sees
 * it. At the end of a run every handle must have been closed and every mapping given back, and what was made read-only must be as it was. */
#include "fuzz.h"

#include "../../csrc/errors.h"
#include "../../csrc/layout.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#endif
#endif
#ifndef ASAN_POISON_MEMORY_REGION
#define ASAN_POISON_MEMORY_REGION(start, bytes) ((void)(start), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(start, bytes) ((void)(start), (void)(bytes))
#endif

int64_t fuzz_clock_ns;

static void look_at_clock(void);

/* ---- Handles ---- */

typedef enum object_kind { NOTHING, MEMORY, STREAM, LISTENER } object_kind;

enum { MOST_OBJECTS = 64, QUEUE = 16384, MOST_PASSED = 16, BACKLOG = 12 };

typedef struct object {
    object_kind kind;
    uint32_t handles; /* that name it, those under way among them */
    uint32_t generation;
    /* Memory */
    fuzz_mapping map;
    uint32_t mappings;
    int fixed, frozen; /* its size; its content */
    char *read_only; /* what lay there when it was made so */
    /* A stream: what has come in and was not read, and the handles that came at some bytes of it. */
    ferry__os other; /* FERRY__NO_OS: closed */
    uint32_t first, end;
    uint32_t num_passed;
    struct {
        uint32_t at;
        ferry__os handle;
    } passed[MOST_PASSED];
    char queue[QUEUE];
    /* A listener, and who waits outside */
    char path[64];
    ferry__os backlog[BACKLOG];
    uint32_t waiting;
} object;

static object objects[MOST_OBJECTS];

/* A handle says which life of its object it is about: one that was closed names nothing. */
static ferry__os handle_of(const object *o) { return (ferry__os)(o->generation % 4096 * MOST_OBJECTS + (uint32_t)(o - objects) + 1); }

static object *object_of(ferry__os handle) {
    object *o = &objects[(handle - 1) % MOST_OBJECTS];
    EXPECT(handle > 0 && o->kind != NOTHING && o->handles > 0 && handle_of(o) == handle);
    return o;
}

static object *new_object(object_kind kind) {
    uint32_t i;
    for (i = 0; i < MOST_OBJECTS && objects[i].kind != NOTHING; i++) {}
    EXPECT(i < MOST_OBJECTS);
    objects[i].kind = kind, objects[i].handles = 1;
    return &objects[i];
}

/* What an object leaves behind: nothing. */
static void free_object(object *o) {
    o->kind = NOTHING;
    o->generation++;
}

/* ---- Memory ---- */

/* Each object has a place of its own here, and between two of them nothing may be touched. */
static char arena[MOST_OBJECTS + 1][2 * FUZZ_MOST_BYTES] __attribute__((aligned(4096)));

static void give_memory_back(object *o) {
    if (o->handles > 0 || o->mappings > 0) return;
    ASAN_POISON_MEMORY_REGION(o->map.start, o->map.bytes);
    free_object(o);
}

ferry__os fuzz_memory(uint64_t bytes, int fixed, int frozen) {
    object *o = new_object(MEMORY);
    EXPECT(bytes <= FUZZ_MOST_BYTES);
    o->map.start = arena[o - objects] + FUZZ_MOST_BYTES / 2, o->map.bytes = bytes, o->map.immutable = 0;
    o->mappings = 0, o->fixed = fixed, o->frozen = frozen, o->read_only = NULL;
    ASAN_UNPOISON_MEMORY_REGION(o->map.start, bytes);
    memset(o->map.start, 0, (size_t)bytes);
    return handle_of(o);
}

char *fuzz_memory_start(ferry__os memory) { return object_of(memory)->map.start; }

const fuzz_mapping *fuzz_shared(uint32_t number) {
    uint32_t i;
    for (i = 0; i < MOST_OBJECTS; i++)
        if (objects[i].kind == MEMORY && objects[i].mappings > 0 && !objects[i].frozen && number-- == 0) return &objects[i].map;
    return NULL;
}

void fuzz_poke(const fuzz_mapping *mapping, uint64_t at, const void *value, uint64_t bytes) {
    const object *o = &objects[(uint64_t)(mapping->start - arena[0]) / sizeof arena[0]];
    uint64_t fixed = at < mapping->immutable ? mapping->immutable - at : 0;
    if (at >= mapping->bytes || bytes > mapping->bytes - at) return;
    memcpy(mapping->start + at, value, (size_t)bytes);
    if (fixed > 0) memcpy(o->read_only + at, value, (size_t)(bytes < fixed ? bytes : fixed));
}

static struct {
    const fuzz_mapping *mapping; /* NULL: nothing is to come */
    const char *start;
    uint64_t at, value;
    uint32_t bytes, looks;
} later;

void fuzz_poke_later(const fuzz_mapping *mapping, uint64_t at, uint64_t value, uint32_t bytes, uint32_t looks) {
    later.mapping = mapping, later.start = mapping->start, later.at = at, later.value = value, later.bytes = bytes, later.looks = looks;
}

static void look_at_clock(void) {
    const fuzz_mapping *mapping = later.mapping;
    if (mapping == NULL || later.looks-- > 0) return;
    later.mapping = NULL;
    if (objects[(uint64_t)(later.start - arena[0]) / sizeof arena[0]].mappings > 0) fuzz_poke(mapping, later.at, &later.value, later.bytes);
}

uint64_t ferry__platform_memory_available(void) { return (uint64_t)1 << 30; }

int ferry__platform_memory_create(uint64_t bytes, ferry__os *out, ferry_why *why) {
    *out = FERRY__NO_OS;
    if (bytes > FUZZ_MOST_BYTES) return ferry__fail(why, FERRY_ENOMEM, "%llu bytes are too many here", (unsigned long long)bytes);
    *out = fuzz_memory(bytes, 1, 0);
    return 0;
}

int ferry__platform_memory_freeze(const void *data, uint64_t bytes, ferry__os *out, ferry_why *why) {
    if (ferry__platform_memory_create(bytes, out, why) < 0) return why->code;
    memcpy(fuzz_memory_start(*out), data, (size_t)bytes);
    object_of(*out)->frozen = 1;
    return 0;
}

void ferry__platform_memory_seal(ferry__os memory) { EXPECT(object_of(memory)->kind == MEMORY); }

int ferry__platform_memory_check(ferry__os memory, uint64_t bytes, int frozen, ferry_why *why) {
    const object *o = object_of(memory);
    if (o->kind == MEMORY && o->fixed && o->map.bytes == bytes && (o->frozen || !frozen)) return 0;
    return ferry__fail(why, FERRY_EPROTOCOL, "the peer's memory is not what it must be");
}

int ferry__platform_memory_map(ferry__os memory, uint64_t bytes, int mapping, void **out, ferry_why *why) {
    object *o = object_of(memory);
    EXPECT(o->kind == MEMORY && o->fixed && bytes > 0 && bytes == o->map.bytes); /* it was checked before */
    *out = NULL;
    if (o->frozen && mapping == FERRY__MAP_WRITABLE) return ferry__fail(why, FERRY_ENOMEM, "this memory is sealed against writing");
    o->mappings++;
    *out = o->map.start;
    return 0;
}

static object *object_at(const void *start) {
    object *o = &objects[(uint64_t)((const char *)start - arena[0]) / sizeof arena[0]];
    EXPECT(o->kind == MEMORY && o->map.start == start && o->mappings > 0);
    return o;
}

/* All who map it share one mapping here. So it can be written to, and what was written is seen at the end. */
int ferry__platform_memory_protect(void *start, uint64_t bytes, ferry_why *why) {
    object *o = object_at(start);
    (void)why;
    EXPECT(bytes % FERRY__PAGE == 0 && bytes <= o->map.bytes);
    if (bytes <= o->map.immutable) return 0;
    free(o->read_only);
    o->read_only = (char *)malloc((size_t)bytes);
    EXPECT(o->read_only != NULL);
    memcpy(o->read_only, start, (size_t)bytes);
    o->map.immutable = bytes;
    return 0;
}

void ferry__platform_memory_unmap(void *start, uint64_t bytes) {
    object *o = object_at(start);
    EXPECT(bytes == o->map.bytes);
    if (o->read_only != NULL) EXPECT(memcmp(o->read_only, start, (size_t)o->map.immutable) == 0);
    if (--o->mappings == 0) {
        free(o->read_only);
        o->read_only = NULL, o->map.immutable = 0;
    }
    give_memory_back(o);
}

void ferry__platform_memory_settle(ferry__os *memory) {
    ferry__platform_close(*memory);
    *memory = FERRY__NO_OS;
}

/* ---- Streams ---- */

void fuzz_pair(ferry__os pair[2]) {
    object *ends[2];
    int i;
    for (i = 0; i < 2; i++)
        ends[i] = new_object(STREAM), ends[i]->first = ends[i]->end = ends[i]->num_passed = 0, pair[i] = handle_of(ends[i]);
    ends[0]->other = pair[1], ends[1]->other = pair[0];
}

static int put(object *to, const void *data, uint32_t bytes, ferry__os pass) {
    if (to->first == to->end && to->num_passed == 0) to->first = to->end = 0;
    if (bytes > QUEUE - to->end || (pass != FERRY__NO_OS && to->num_passed == MOST_PASSED)) return FERRY_ECLOSED;
    if (pass != FERRY__NO_OS) {
        to->passed[to->num_passed].at = to->end, to->passed[to->num_passed++].handle = pass;
        object_of(pass)->handles++;
    }
    memcpy(to->queue + to->end, data, bytes);
    to->end += bytes;
    return 0;
}

int ferry__platform_send(ferry__os stream, const void *data, uint32_t bytes, ferry__os pass) {
    const object *from = object_of(stream);
    EXPECT(from->kind == STREAM);
    return from->other != FERRY__NO_OS ? put(object_of(from->other), data, bytes, pass) : FERRY_ECLOSED;
}

void fuzz_say(uint32_t which, const void *data, uint32_t bytes, ferry__os pass) {
    uint32_t i;
    for (i = 0; i < MOST_OBJECTS; i++)
        if (objects[i].kind == STREAM && which-- == 0) (void)put(&objects[i], data, bytes, pass);
}

/* As a kernel does: what one call gives ends before the bytes that the next handle comes with. */
int ferry__platform_receive(ferry__os stream, void *data, uint32_t bytes, ferry__os *passed) {
    object *o = object_of(stream);
    uint32_t count, i;
    EXPECT(o->kind == STREAM && bytes > 0);
    if (o->first == o->end) return o->other == FERRY__NO_OS ? FERRY_ECLOSED : 0;
    count = o->end - o->first < bytes ? o->end - o->first : bytes;
    if (o->num_passed > 0 && o->passed[0].at == o->first) {
        if (*passed == FERRY__NO_OS) *passed = o->passed[0].handle;
        else ferry__platform_close(o->passed[0].handle);
        o->num_passed--;
        for (i = 0; i < o->num_passed; i++) o->passed[i] = o->passed[i + 1];
    }
    if (o->num_passed > 0 && count > o->passed[0].at - o->first) count = o->passed[0].at - o->first;
    memcpy(data, o->queue + o->first, count);
    o->first += count;
    return (int)count;
}

uint32_t ferry__platform_poll(const ferry__os *handles, uint32_t count, int64_t timeout_ns) {
    uint32_t i, ready = 0;
    EXPECT(timeout_ns >= 0 && count <= 8);
    for (i = 0; i < count; i++) {
        const object *o = handles[i] != FERRY__NO_OS ? object_of(handles[i]) : NULL;
        if (o != NULL && (o->kind == LISTENER ? o->waiting > 0 : o->first < o->end || o->other == FERRY__NO_OS)) ready |= 1u << i;
    }
    if (ready == 0) fuzz_clock_ns += timeout_ns;
    return ready;
}

static void close_stream(object *o) {
    uint32_t i;
    if (o->other != FERRY__NO_OS) object_of(o->other)->other = FERRY__NO_OS;
    for (i = 0; i < o->num_passed; i++) ferry__platform_close(o->passed[i].handle);
    free_object(o);
}

void ferry__platform_close(ferry__os handle) {
    object *o;
    if (handle == FERRY__NO_OS) return;
    o = object_of(handle);
    if (--o->handles > 0) return;
    if (o->kind == STREAM) close_stream(o);
    else if (o->kind == MEMORY) give_memory_back(o);
    else {
        uint32_t i;
        for (i = 0; i < o->waiting; i++) ferry__platform_close(o->backlog[i]);
        free_object(o);
    }
}

int ferry__platform_inherit(int64_t number, ferry__os *out, ferry_why *why) {
    (void)why;
    EXPECT(object_of((ferry__os)number)->kind == STREAM);
    *out = (ferry__os)number;
    return 1;
}

int ferry__platform_peer(ferry__os stream, uint32_t *pid, ferry_why *why) {
    (void)why;
    EXPECT(object_of(stream)->kind == STREAM);
    *pid = 2;
    return 0;
}

ferry__os ferry__platform_watch(ferry__os stream, uint32_t pid) {
    (void)stream, (void)pid;
    return FERRY__NO_OS;
}

/* ---- Names ---- */

#define FOLDER "/names"

int ferry__platform_is_path(const char *text) { return text[0] == '/'; }

int ferry__platform_directory(int i, int make, char *out, uint32_t out_bytes, ferry_why *why) {
    (void)make, (void)why;
    snprintf(out, out_bytes, FOLDER);
    return i == 0;
}

static object *listener_at(const char *path) {
    uint32_t i;
    for (i = 0; i < MOST_OBJECTS; i++)
        if (objects[i].kind == LISTENER && strcmp(objects[i].path, path) == 0) return &objects[i];
    return NULL;
}

void ferry__platform_each_name(const char *path, int (*is_name)(const char *), void (*each)(void *user, const char *name), void *user) {
    uint32_t i;
    (void)path;
    for (i = 0; i < MOST_OBJECTS; i++) {
        const char *name = objects[i].path + sizeof FOLDER;
        if (objects[i].kind == LISTENER && is_name(name)) each(user, name);
    }
}

int ferry__platform_listen(const char *path, ferry__listener *out, ferry_why *why) {
    object *o;
    (void)why;
    EXPECT(listener_at(path) == NULL);
    o = new_object(LISTENER);
    o->waiting = 0;
    snprintf(o->path, sizeof o->path, "%s", path);
    out->os = handle_of(o);
    return 0;
}

void ferry__platform_unlisten(ferry__listener *listener, int owner) {
    (void)owner;
    ferry__platform_close(listener->os);
    listener->os = FERRY__NO_OS;
}

void ferry__platform_show(const ferry__listener *listener, ferry__os memory) {
    EXPECT(object_of(listener->os)->kind == LISTENER);
    if (memory != FERRY__NO_OS) EXPECT(object_of(memory)->kind == MEMORY);
}

int ferry__platform_connect(const char *path, ferry__os *out, ferry_why *why) {
    object *o = listener_at(path);
    ferry__os pair[2];
    (void)why;
    *out = FERRY__NO_OS;
    if (o == NULL || o->waiting == BACKLOG) return 0;
    fuzz_pair(pair);
    o->backlog[o->waiting++] = pair[1];
    *out = pair[0];
    return 1;
}

ferry__os fuzz_dial(const char *name) {
    char path[64];
    ferry__os stream;
    ferry_why why;
    snprintf(path, sizeof path, FOLDER "/%s", name);
    (void)ferry__platform_connect(path, &stream, &why);
    return stream;
}

ferry__listener fuzz_serve(const char *name) {
    char path[64];
    ferry__listener listener;
    ferry_why why;
    snprintf(path, sizeof path, FOLDER "/%s", name);
    EXPECT(ferry__platform_listen(path, &listener, &why) == 0);
    return listener;
}

int ferry__platform_accept(ferry__listener *listener, ferry__os *out, ferry_why *why) {
    object *o = object_of(listener->os);
    uint32_t i;
    (void)why;
    *out = FERRY__NO_OS;
    EXPECT(o->kind == LISTENER);
    if (o->waiting == 0) return 0;
    *out = o->backlog[0];
    for (i = 1; i < o->waiting; i++) o->backlog[i - 1] = o->backlog[i];
    o->waiting--;
    return 1;
}

/* ---- Time and processor ---- */

int64_t ferry__platform_now_ns(void) {
    look_at_clock();
    return fuzz_clock_ns += 100;
}

void ferry__platform_nap(int64_t ns) {
    look_at_clock();
    fuzz_clock_ns += ns;
}

void ferry__platform_says(char *out, uint32_t out_bytes) { snprintf(out, out_bytes, "nothing"); }
void ferry__platform_yield(void) { fuzz_clock_ns += 15000; }
uint32_t ferry__platform_processor(void) { return 1; }

void ferry__platform_fetch(uint32_t pid) { (void)pid; }
uint32_t ferry__platform_pid(void) { return 1; }

int ferry__platform_variable(const char *name, char *out, uint32_t out_bytes) {
    (void)name, (void)out_bytes;
    *out = 0;
    return 0;
}

/* Who should sleep for ever is woken by the end of the run. */
void ferry__platform_sleep(ferry__os memory, const uint32_t *word, uint32_t value, int64_t timeout_ns) {
    (void)memory;
    EXPECT(timeout_ns >= 0);
    look_at_clock();
    if (__atomic_load_n(word, __ATOMIC_SEQ_CST) == value) fuzz_clock_ns += timeout_ns;
}

void ferry__platform_wake(ferry__os memory, const uint32_t *word) { (void)memory, (void)word; }

int ferry__platform_canary_create(uint32_t **out, ferry_why *why) {
    (void)why;
    *out = (uint32_t *)malloc(sizeof **out);
    EXPECT(*out != NULL);
    **out = 1;
    return 0;
}

void ferry__platform_canary_destroy(uint32_t *canary) { free(canary); }

/* ---- A run ---- */

void fuzz_begin(void) {
    static int begun;
    if (!begun) ASAN_POISON_MEMORY_REGION(arena, sizeof arena);
    begun = 1, later.mapping = NULL;
    fuzz_clock_ns = 1000000000000;
}

void fuzz_end(void) {
    uint32_t i;
    for (i = 0; i < MOST_OBJECTS; i++) EXPECT(objects[i].kind == NOTHING);
}

/* Of what is freed the sanitizer would keep hundreds of megabytes, and every run would have to fetch other memory. */
const char *__asan_default_options(void) { return "quarantine_size_mb=1:malloc_context_size=2"; }
