/* A game editor loads the library once, or over and over, and opens and closes for hours: nothing may be left behind. Several channels at a
 * time, both sides in this process; ticked by one thread, or each environment by a thread of its own; and with the shared library loaded
 * and unloaded around it. Memory, mappings and descriptors are counted after some rounds and after a thousand. */
#include "check.h"

#include <dirent.h>
#include <dlfcn.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1 /* a sanitizer keeps what is freed for a while, and reports leaks itself */
#else
#define SANITIZED 0
#endif

enum { CHANNELS = 3, WARM_UP = 50, ROUNDS = SANITIZED ? 200 : 1000, TURNS = 5, NAME_BYTES = 32, BIG_BLOB = 40000 };

/* ---- The library, linked or loaded ---- */

#define FUNCTIONS(X)                                                                                                                       \
    X(ferry_env_open)                                                                                                                      \
    X(ferry_env_wait)                                                                                                                      \
    X(ferry_env_reply)                                                                                                                     \
    X(ferry_env_blob)                                                                                                                      \
    X(ferry_env_close)                                                                                                                     \
    X(ferry_agent_open)                                                                                                                    \
    X(ferry_agent_connect)                                                                                                                 \
    X(ferry_agent_turn)                                                                                                                    \
    X(ferry_agent_send)                                                                                                                    \
    X(ferry_agent_wait)                                                                                                                    \
    X(ferry_agent_hold)                                                                                                                    \
    X(ferry_release)                                                                                                                       \
    X(ferry_agent_close)                                                                                                                   \
    X(ferry_bell_open)                                                                                                                     \
    X(ferry_bell_close)                                                                                                                    \
    X(ferry_observer_open)                                                                                                                 \
    X(ferry_observer_snapshot)                                                                                                             \
    X(ferry_observer_close)

typedef struct library {
#define POINTER(name) __typeof__(&name) name;
    FUNCTIONS(POINTER)
#undef POINTER
} library;

static library linked(void) {
    library lib;
#define LINKED(name) lib.name = name;
    FUNCTIONS(LINKED)
#undef LINKED
    return lib;
}

static library loaded(void *handle) {
    library lib;
#define LOADED(name)                                                                                                                       \
    {                                                                                                                                      \
        void *symbol = dlsym(handle, #name);                                                                                               \
        CHECK(symbol != NULL);                                                                                                             \
        memcpy(&lib.name, &symbol, sizeof symbol); /* ISO C has no cast from an object's pointer to a function's */                        \
    }
    FUNCTIONS(LOADED)
#undef LOADED
    return lib;
}

/* ---- What a process has ---- */

/* Bytes in blocks that nobody has freed. The allocator's own numbers count what it keeps for the next caller as allocated, and it keeps a
 * little more at first, depending on which sizes follow each other. */
#if defined(__GLIBC__) && !SANITIZED
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void __libc_free(void *block);

static long live_bytes;

static void *counted(void *block) {
    if (block != NULL) __atomic_fetch_add(&live_bytes, (long)malloc_usable_size(block), __ATOMIC_RELAXED);
    return block;
}

static void uncounted(void *block) {
    if (block != NULL) __atomic_fetch_sub(&live_bytes, (long)malloc_usable_size(block), __ATOMIC_RELAXED);
}

#pragma GCC visibility push(default) /* the loaded library's calls come here too */
void *malloc(size_t size) { return counted(__libc_malloc(size)); }

void *calloc(size_t number, size_t size) { return counted(__libc_calloc(number, size)); }

void *realloc(void *old, size_t size) {
    uncounted(old);
    return counted(__libc_realloc(old, size));
}

void free(void *block) {
    uncounted(block);
    __libc_free(block);
}
#pragma GCC visibility pop

static long allocated_now(void) { return __atomic_load_n(&live_bytes, __ATOMIC_RELAXED); }
#else
static long allocated_now(void) { return 0; }
#endif

typedef struct counts {
    long descriptors, mappings, resident_kib, allocated;
} counts;

static long count_lines(const char *path, const char *part) {
    char line[PATH_MAX + 200];
    FILE *file = fopen(path, "r");
    long count = 0;
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL) count += strstr(line, part) != NULL;
    fclose(file);
    return count;
}

static counts count_all(void) {
    counts now;
    long ignored, pages = 0;
    DIR *entries = opendir("/proc/self/fd");
    FILE *statm = fopen("/proc/self/statm", "r");
    CHECK(entries != NULL && statm != NULL);
    now.descriptors = -4; /* ".", "..", and the two that look */
    while (readdir(entries) != NULL) now.descriptors++;
    CHECK(fscanf(statm, "%ld %ld", &ignored, &pages) == 2);
    closedir(entries);
    fclose(statm);
    now.resident_kib = pages * (sysconf(_SC_PAGESIZE) / 1024);
    now.mappings = count_lines("/proc/self/maps", "");
    now.allocated = allocated_now();
    return now;
}

/* The kernel counts resident pages in batches, and not exactly. A page lost in every round would be 4000 KiB. */
static void check_counts(const char *what, counts before, counts after) {
    enum { SLACK_KIB = 256 };
    printf("      %s, %d rounds: descriptors %ld to %ld, mappings %ld to %ld, resident %ld to %ld KiB, allocated %ld to %ld bytes\n", what,
           ROUNDS, before.descriptors, after.descriptors, before.mappings, after.mappings, before.resident_kib, after.resident_kib,
           before.allocated, after.allocated);
    CHECK(after.descriptors == before.descriptors);
    if (SANITIZED) return;
    CHECK(after.mappings <= before.mappings);
    CHECK(after.resident_kib <= before.resident_kib + SLACK_KIB);
    CHECK(after.allocated <= before.allocated);
}

/* ---- A round: channels that are opened, played and closed ---- */

static void name_of(int channel, char name[NAME_BYTES]) { snprintf(name, NAME_BYTES, "reopen%d", channel); }

static ferry_env *open_env(const library *lib, int channel) {
    ferry_field fields[NUM_FIELDS];
    ferry_env_desc desc;
    ferry_env *env;
    ferry_why why;
    char name[NAME_BYTES];
    small_fields(fields);
    name_of(channel, name);
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc, desc.address = name, desc.fields = fields, desc.num_fields = NUM_FIELDS;
    if (lib->ferry_env_open(&desc, &env, &why) < 0) {
        fprintf(stderr, "%s\n", why.text);
        exit(1);
    }
    return env;
}

/* Answers what has come; 0 once the agent has left. A reset's info is too big for the region: it travels by a descriptor of its own. */
static int serve(const library *lib, ferry_env *env, int64_t timeout_ns) {
    static const char big[BIG_BLOB]; /* nobody parses it here */
    const ferry_turn *turn;
    const int got = lib->ferry_env_wait(env, timeout_ns, &turn);
    CHECK(got >= 0);
    if (got == 0) return 1;
    if (turn->kind == FERRY_LEFT) return 0;
    if (turn->kind == FERRY_RESET) {
        ferry_blob info;
        memset(&info, 0, sizeof info);
        info.data = big, info.size_bytes = sizeof big, info.format = FERRY_JSON;
        CHECK(lib->ferry_env_blob(env, &info) == 0);
    }
    ((double *)turn->data[OBSERVATION])[0] = (double)turn->number;
    CHECK(lib->ferry_env_reply(env) == 0);
    return 1;
}

/* Sends turn n of an agent: a reset, then steps. */
static void ask(const library *lib, ferry_agent *agent, int n) {
    ferry_turn *turn = lib->ferry_agent_turn(agent);
    CHECK(turn != NULL);
    turn->kind = n == 0 ? FERRY_RESET : FERRY_STEP;
    *(int64_t *)turn->data[ACTION] = 10;
    CHECK(lib->ferry_agent_send(agent) == 0);
}

static void check_answer(const ferry_turn *answer, int n) {
    CHECK(((const double *)answer->data[OBSERVATION])[0] == n + 1 && answer->status[0] == FERRY_ROW_OK);
    CHECK(answer->blob.size_bytes == (n == 0 ? BIG_BLOB : 0));
}

typedef struct agents {
    ferry_agent *agent[CHANNELS];
    ferry_bell *bell;
} agents;

static agents open_agents(const library *lib) {
    agents all;
    ferry_agent_desc desc;
    ferry_why why;
    char name[NAME_BYTES];
    CHECK(lib->ferry_bell_open(&all.bell, &why) == 0);
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc, desc.address = name, desc.bell = all.bell;
    for (int i = 0; i < CHANNELS; i++) {
        name_of(i, name);
        CHECK(lib->ferry_agent_open(&desc, &all.agent[i], &why) == 0);
    }
    return all;
}

/* Some leave a turn unanswered, and some a view of their region behind. */
static void close_agents(const library *lib, const agents *all, int round) {
    for (int i = 0; i < CHANNELS; i++) {
        ferry_hold *hold = (round + i) % 2 == 0 ? lib->ferry_agent_hold(all->agent[i]) : NULL;
        if ((round + i) % 3 == 0) ask(lib, all->agent[i], 1);
        lib->ferry_agent_close(all->agent[i]);
        lib->ferry_release(hold);
    }
    lib->ferry_bell_close(all->bell);
}

/* In some rounds one channel is looked at; whoever looks goes before its channel does, or after. */
static ferry_observer *open_observer(const library *lib, int round) {
    enum { OBSERVED_ROUNDS = 8 };
    ferry_observer_desc desc;
    ferry_observer *observer;
    ferry_why why;
    char name[NAME_BYTES];
    if (round % OBSERVED_ROUNDS != 0) return NULL;
    name_of(0, name);
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc, desc.address = name;
    CHECK(lib->ferry_observer_open(&desc, &observer, &why) == 0);
    return observer;
}

/* One thread has both sides: nobody may ever wait. */
static void play_ticked(const library *lib, int round) {
    ferry_env *env[CHANNELS];
    ferry_observer *observer = open_observer(lib, round);
    const ferry_snapshot *snapshot = NULL;
    agents all;
    int open = 0;
    for (int i = 0; i < CHANNELS; i++) env[i] = open_env(lib, i);
    all = open_agents(lib);
    while (open < CHANNELS) {
        open = 0;
        for (int i = 0; i < CHANNELS; i++) {
            CHECK(serve(lib, env[i], 0) == 1);
            const int got = lib->ferry_agent_connect(all.agent[i], 0);
            CHECK(got >= 0);
            open += got;
        }
    }
    for (int n = 0; n < TURNS; n++) {
        for (int i = 0; i < CHANNELS; i++) ask(lib, all.agent[i], n);
        for (int i = 0; i < CHANNELS; i++) {
            const ferry_turn *answer;
            int got;
            do {
                CHECK(serve(lib, env[i], 0) == 1);
                got = lib->ferry_agent_wait(all.agent[i], 0, &answer);
                CHECK(got >= 0);
            } while (got == 0);
            check_answer(answer, n);
        }
    }
    while (observer != NULL && snapshot == NULL) {
        CHECK(serve(lib, env[0], 0) == 1);
        CHECK(lib->ferry_observer_snapshot(observer, 0, &snapshot) >= 0);
    }
    if (round % 16 == 0) lib->ferry_observer_close(observer), observer = NULL;
    if (round % 2 == 0) /* whoever is left finds out, or is closed in ignorance */
        for (int i = 0; i < CHANNELS; i++) lib->ferry_env_close(env[i]);
    close_agents(lib, &all, round % 2 == 0 ? 1 : round);
    if (round % 2 != 0)
        for (int i = 0; i < CHANNELS; i++) lib->ferry_env_close(env[i]);
    lib->ferry_observer_close(observer);
}

typedef struct served {
    const library *lib;
    ferry_env *env;
} served;

static void *serve_until_left(void *argument) {
    const served *mine = (const served *)argument;
    while (serve(mine->lib, mine->env, SECOND / 10)) continue;
    mine->lib->ferry_env_close(mine->env);
    return NULL;
}

/* Each environment has a thread of its own, and both sides sleep when they wait. */
static void play_threaded(const library *lib, int round) {
    served env[CHANNELS];
    pthread_t thread[CHANNELS];
    ferry_observer *observer = open_observer(lib, round);
    const ferry_snapshot *snapshot;
    agents all;
    for (int i = 0; i < CHANNELS; i++) {
        env[i].lib = lib, env[i].env = open_env(lib, i);
        CHECK(pthread_create(&thread[i], NULL, serve_until_left, &env[i]) == 0);
    }
    all = open_agents(lib);
    for (int i = 0; i < CHANNELS; i++) CHECK(lib->ferry_agent_connect(all.agent[i], 10 * SECOND) == 1);
    for (int n = 0; n < TURNS; n++) {
        for (int i = 0; i < CHANNELS; i++) ask(lib, all.agent[i], n);
        for (int i = 0; i < CHANNELS; i++) {
            const ferry_turn *answer;
            CHECK(lib->ferry_agent_wait(all.agent[i], 10 * SECOND, &answer) == 1);
            check_answer(answer, n);
        }
    }
    if (observer != NULL) CHECK(lib->ferry_observer_snapshot(observer, 10 * SECOND, &snapshot) == 1);
    if (round % 16 == 0) lib->ferry_observer_close(observer), observer = NULL;
    close_agents(lib, &all, round);
    for (int i = 0; i < CHANNELS; i++) CHECK(pthread_join(thread[i], NULL) == 0);
    lib->ferry_observer_close(observer);
}

/* The shared library, beside the folder of the tests. */
static void shared_library(char path[PATH_MAX]) {
    const char tail[] = "/../libferry.so";
    ssize_t length = readlink("/proc/self/exe", path, PATH_MAX - 1);
    char *end;
    CHECK(length > 0);
    path[length] = '\0';
    end = strrchr(path, '/');
    CHECK(end != NULL && (size_t)(end - path) + sizeof tail <= PATH_MAX);
    memcpy(end, tail, sizeof tail);
}

/* Loads it, plays, and unloads it, to the last page. */
static void play_loaded(const library *ignored, int round) {
    char path[PATH_MAX];
    void *handle;
    library lib;
    (void)ignored;
    shared_library(path);
    handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) fprintf(stderr, "%s\n", dlerror());
    CHECK(handle != NULL);
    lib = loaded(handle);
    CHECK(lib.ferry_env_open != ferry_env_open);
    play_ticked(&lib, round);
    CHECK(dlclose(handle) == 0);
    CHECK(SANITIZED || count_lines("/proc/self/maps", "libferry.so") == 0);
}

static void test_nothing_is_left_behind(const char *what, void (*play)(const library *, int), int rounds) {
    const library lib = linked();
    counts before;
    for (int round = 0; round < WARM_UP; round++) play(&lib, round);
    before = count_all();
    for (int round = 0; round < rounds; round++) play(&lib, round);
    check_counts(what, before, count_all());
}

int main(void) {
    char directory[64], path[PATH_MAX];
    begin_test(110, directory);
    setvbuf(stdout, NULL, _IOLBF, 0);
    test_nothing_is_left_behind("ticked by one thread", play_ticked, ROUNDS);
    test_nothing_is_left_behind("a thread for each environment", play_threaded, ROUNDS);
    shared_library(path);
    if (access(path, R_OK) == 0) test_nothing_is_left_behind("the library loaded and unloaded", play_loaded, ROUNDS);
    else printf("      there is no %s to be loaded\n", path); /* the Makefile builds it first */
    end_test(directory);
    return 0;
}
