/* What is the platform's own on Windows: names, strangers on the pipe, handles that are given, and how soon a death is noticed. */
#include "../../c/check.h"

#include "layout.h"
#include "platform.h"

static void file_of(const char *directory, const char *name, char path[128]) { snprintf(path, 128, "%s\\%s", directory, name); }

static int exists(const char *path) { return GetFileAttributesA(path) != INVALID_FILE_ATTRIBUTES; }

static void test_a_name_goes_with_its_server(const char *directory) {
    char path[128], pid[32];
    ferry_why why;
    ferry_env *env = open_small_env("name", &why);
    pid_t server;
    int agents = 1;
    ferry_agent *agent;
    CHECK(env != NULL);
    file_of(directory, "name", path);
    CHECK(exists(path));
    CHECK(open_small_env("name", &why) == NULL && why.code == FERRY_EINUSE);
    snprintf(pid, sizeof pid, "process %lu;", (unsigned long)GetCurrentProcessId());
    CHECK_CONTAINS(why.text, pid);
    CHECK(open_small_env(path, &why) == NULL && why.code == FERRY_EINUSE); /* the same, as a path */
    ferry_env_close(env);
    CHECK(!exists(path));
    file_of(directory, "small", path);
    server = start_child(serve_small, &agents);
    agent = open_agent(path, &why);
    CHECK(ferry_agent_connect(agent, 10 * SECOND) == 1);
    kill(server, SIGKILL);
    CHECK(end_child(server) == 128 + SIGKILL);
    CHECK(!exists(path)); /* though the agent has not noticed as yet */
    env = open_small_env("small", &why);
    CHECK(env != NULL);
    ferry_env_close(env);
    ferry_agent_close(agent);
}

static void test_files_of_others_are_left_alone(const char *directory) {
    char path[128], text[16] = "";
    ferry_why why;
    ferry_agent *agent;
    FILE *file;
    file_of(directory, "precious", path);
    file = fopen(path, "w");
    CHECK(file != NULL && fputs("mine", file) >= 0 && fclose(file) == 0);
    CHECK(open_small_env("precious", &why) == NULL && why.code == FERRY_EADDRESS);
    CHECK_CONTAINS(why.text, "no name of Ferry's");
    agent = open_agent("precius", &why);
    CHECK(ferry_agent_connect(agent, 0) == 0);
    ferry_agent_why(agent, &why);
    CHECK_CONTAINS(why.text, "nobody serves there");
    ferry_agent_close(agent);
    file = fopen(path, "r");
    CHECK(file != NULL && fread(text, 1, 4, file) == 4 && fclose(file) == 0 && strcmp(text, "mine") == 0);
    CHECK(DeleteFileA(path));
}

static void test_what_a_power_cut_left_is_taken_over(const char *directory) {
    char path[128];
    ferry_why why;
    ferry_env *env;
    FILE *file;
    file_of(directory, "left", path);
    file = fopen(path, "w");
    CHECK(file != NULL && fputs("ferry 4711\n", file) >= 0 && fclose(file) == 0);
    env = open_small_env("left", &why);
    CHECK(env != NULL);
    ferry_env_close(env);
    CHECK(!exists(path));
}

static void test_nobody_there_is_explained(const char *directory) {
    ferry_why why;
    ferry_env *env = open_small_env("walker", &why);
    ferry_agent *agent = open_agent("wolker", &why);
    char shown[64], *at;
    CHECK(ferry_agent_connect(agent, SECOND / 20) == 0);
    ferry_agent_why(agent, &why);
    snprintf(shown, sizeof shown, "%s", directory);
    for (at = shown; *at != 0; at++)
        if (*at == '\\') *at = '/';
    CHECK_CONTAINS(why.text, shown);
    CHECK_CONTAINS(why.text, "live: 'walker'");
    CHECK_CONTAINS(why.text, "did you mean 'walker'?");
    ferry_agent_close(agent);
    ferry_env_close(env);
}

static void test_directories_have_names_in_unicode(const char *directory) {
    char path[128];
    WCHAR wide[128];
    ferry_why why;
    ferry_env *env;
    ferry_agent *agent;
    const ferry_turn *turn;
    int got;
    snprintf(path, sizeof path,
             "%s\\gr\xc3\xb6\xc3\x9f"
             "e",
             directory);
    CHECK(MultiByteToWideChar(CP_UTF8, 0, path, -1, wide, 128) > 0);
    CHECK(SetEnvironmentVariableW(L"FERRY_RUNTIME_DIR", wide));
    env = open_small_env("name", &why);
    agent = open_agent("NAME", &why); /* files have names of either case */
    CHECK(env != NULL && agent != NULL && GetFileAttributesW(wide) != INVALID_FILE_ATTRIBUTES);
    for (got = 0; got == 0;) {
        got = ferry_agent_connect(agent, SECOND / 1000);
        CHECK(ferry_env_wait(env, 0, &turn) == 0);
    }
    CHECK(got == 1);
    ferry_agent_close(agent);
    ferry_env_close(env);
    CHECK(RemoveDirectoryW(wide));
    setenv("FERRY_RUNTIME_DIR", "relative", 1);
    CHECK(open_small_env("name", &why) == NULL && why.code == FERRY_EADDRESS);
    CHECK_CONTAINS(why.text, "not absolute");
    setenv("FERRY_RUNTIME_DIR", directory, 1);
    agent = open_agent("fd:3", &why);
    CHECK(agent != NULL && ferry_agent_connect(agent, 0) == FERRY_EUNSUPPORTED);
    ferry_agent_close(agent);
}

/* ---- Strangers ---- */

/* Opens the pipe of a name as anybody could. */
static HANDLE open_pipe(const char *directory, const char *name) {
    char path[128], pipe[64];
    BY_HANDLE_FILE_INFORMATION info;
    HANDLE file, end = INVALID_HANDLE_VALUE;
    int tries;
    file_of(directory, name, path);
    file = CreateFileA(path, 0, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL, OPEN_EXISTING, 0, NULL);
    CHECK(file != INVALID_HANDLE_VALUE && GetFileInformationByHandle(file, &info));
    CloseHandle(file);
    snprintf(pipe, sizeof pipe, "\\\\.\\pipe\\ferry-%08lx-%08lx%08lx", (unsigned long)info.dwVolumeSerialNumber,
             (unsigned long)info.nFileIndexHigh, (unsigned long)info.nFileIndexLow);
    for (tries = 0; tries < 1000 && end == INVALID_HANDLE_VALUE; tries++) {
        end = CreateFileA(pipe, GENERIC_READ | GENERIC_WRITE, 0, NULL, OPEN_EXISTING, 0, NULL);
        if (end == INVALID_HANDLE_VALUE) Sleep(2);
    }
    CHECK(end != INVALID_HANDLE_VALUE);
    return end;
}

/* As platform_windows.c has it. */
typedef struct preface {
    uint32_t magic, bytes, pid, passes;
    uint64_t gift[3];
} preface;

enum { PREFACE_MAGIC = 0x50525246 };

typedef struct heard {
    char text[512];
} heard;

static void hear(void *user, int level, const char *text) {
    (void)level;
    snprintf(((heard *)user)->text, sizeof((heard *)user)->text, "%s", text);
}

static ferry_env *open_hearing_env(const char *address, heard *log) {
    ferry_field fields[NUM_FIELDS];
    ferry_env_desc desc;
    ferry_env *env;
    ferry_why why;
    small_fields(fields);
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc, desc.address = address, desc.fields = fields, desc.num_fields = NUM_FIELDS;
    desc.log = hear, desc.log_user = log;
    CHECK(ferry_env_open(&desc, &env, &why) == 0);
    return env;
}

/* Lets the environment look until it has something to say of its visitor. */
static void wait_for(ferry_env *env, heard *log, const char *part) {
    const ferry_turn *turn;
    int tries;
    for (tries = 0; tries < 1000 && strstr(log->text, part) == NULL; tries++) CHECK(ferry_env_wait(env, SECOND / 1000, &turn) == 0);
    CHECK_CONTAINS(log->text, part);
    log->text[0] = 0;
}

static void write_all(HANDLE pipe, const void *data, size_t bytes) {
    DWORD done;
    CHECK(WriteFile(pipe, data, (DWORD)bytes, &done, NULL) && done == bytes);
}

/* A greeting as a right agent's, with the preface that is given. */
static void greet(HANDLE pipe, const preface *before) {
    struct {
        preface before;
        ferry__frame frame;
        ferry__hello hello;
    } message;
    memset(&message, 0, sizeof message);
    message.before = *before;
    message.before.magic = PREFACE_MAGIC, message.before.bytes = sizeof message.frame + sizeof message.hello;
    message.before.pid = GetCurrentProcessId();
    message.frame.magic = FERRY__FRAME_MAGIC, message.frame.type = FERRY__HELLO, message.frame.bytes = sizeof message.hello;
    memcpy(message.hello.magic, FERRY__HELLO_MAGIC, 8);
    message.hello.endian = FERRY__ENDIAN, message.hello.abi_major = FERRY__ABI_MAJOR, message.hello.side = FERRY__AGENT;
    write_all(pipe, &message, sizeof message);
}

/* Writes messages for as long as they are taken: empty ones, or ones that say nothing. */
static DWORD WINAPI flood(void *argument) {
    HANDLE pipe = *(HANDLE *)argument;
    struct {
        preface before;
        char scrap[64];
    } message;
    DWORD done;
    memset(&message, 0, sizeof message);
    message.before.magic = PREFACE_MAGIC, message.before.bytes = sizeof message.scrap;
    while (WriteFile(pipe, &message, sizeof message, &done, NULL)) continue;
    return 0;
}

static void test_strangers_are_turned_away(const char *directory) {
    heard log = {""};
    ferry_env *env = open_hearing_env("door", &log);
    ferry_agent *agent;
    ferry_why why;
    const ferry_turn *turn;
    HANDLE pipe;
    preface half = {PREFACE_MAGIC, 1u << 30, 0, 0, {0}}, empty = {PREFACE_MAGIC, 0, 0, 0, {0}};
    HANDLE flooder;
    int got, i;
    pipe = open_pipe(directory, "door");
    write_all(pipe, "GET / HTTP/1.1\r\n\r\n", 18);
    wait_for(env, &log, "does not speak Ferry: its bytes begin with 0x20544547");
    CloseHandle(pipe);
    pipe = open_pipe(directory, "door"); /* a message of any size, of which nothing is right */
    write_all(pipe, &half, sizeof half);
    write_all(pipe, "0123456789012345", 16);
    wait_for(env, &log, "does not speak Ferry");
    CloseHandle(pipe);
    pipe = open_pipe(directory, "door");
    write_all(pipe, &empty, sizeof empty);
    wait_for(env, &log, "does not speak Ferry: its bytes begin with 0x50525246");
    CloseHandle(pipe);
    pipe = open_pipe(directory, "door"); /* who never ends is not heard out */
    flooder = CreateThread(NULL, 0, flood, &pipe, 0, NULL);
    wait_for(env, &log, "does not speak Ferry");
    CHECK(WaitForSingleObject(flooder, 10000) == WAIT_OBJECT_0);
    CloseHandle(flooder), CloseHandle(pipe);
    for (i = 0; i < 20; i++) { /* who says nothing, and goes */
        pipe = open_pipe(directory, "door");
        if (i % 2 == 0) write_all(pipe, &half, 7);
        CloseHandle(pipe);
        CHECK(ferry_env_wait(env, SECOND / 1000, &turn) == 0);
    }
    agent = open_agent("door", &why);
    for (got = 0; got == 0;) {
        got = ferry_agent_connect(agent, SECOND / 1000);
        CHECK(ferry_env_wait(env, 0, &turn) == 0);
    }
    CHECK(got == 1);
    ferry_agent_close(agent);
    ferry_env_close(env);
}

/* Numbers of handles that this process has for its own ends, told as if they had been given, neither open anything nor are closed. */
static void test_a_number_is_no_gift(const char *directory) {
    heard log = {""};
    ferry_env *env = open_hearing_env("door", &log);
    HANDLE section = CreateFileMappingA(INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE, 0, FERRY__PAGE, NULL);
    HANDLE event = CreateEventA(NULL, FALSE, FALSE, NULL), pipe;
    const uint64_t numbers[][3] = {{(uint64_t)(uintptr_t)section, (uint64_t)(uintptr_t)event, (uint64_t)(uintptr_t)event},
                                   {(uint64_t)(uintptr_t)GetCurrentProcess(), 1, 2},
                                   {UINT64_MAX - 7, UINT64_MAX, 0x7fffffff},
                                   {0, 0, 0}};
    preface before = {0, 0, 0, 1, {0}};
    DWORD flags;
    size_t i;
    const ferry_turn *turn;
    for (i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        int tries;
        pipe = open_pipe(directory, "door");
        memcpy(before.gift, numbers[i], sizeof before.gift);
        greet(pipe, &before);
        for (tries = 0; tries < 20; tries++) CHECK(ferry_env_wait(env, SECOND / 1000, &turn) == 0);
        CloseHandle(pipe);
        for (tries = 0; tries < 20; tries++) CHECK(ferry_env_wait(env, SECOND / 1000, &turn) == 0);
        CHECK(GetHandleInformation(section, &flags) && GetHandleInformation(event, &flags));
    }
    CloseHandle(section), CloseHandle(event);
    ferry_env_close(env);
}

/* A bell that is not what it should be: too large, too small, or only promised. */
static void test_given_memory_is_checked(const char *directory) {
    static const struct {
        DWORD bytes, kind;
        const char *said;
    } bells[] = {{FERRY__PAGE, SEC_COMMIT, NULL},
                 {3 * FERRY__PAGE, SEC_COMMIT, "has 12288 bytes where it said 4096"},
                 {FERRY__PAGE, SEC_RESERVE, "is not all there"}};
    heard log = {""};
    ferry_env *env = open_hearing_env("door", &log);
    size_t i;
    for (i = 0; i < sizeof bells / sizeof *bells; i++) {
        HANDLE section = CreateFileMappingA(INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE | bells[i].kind, 0, bells[i].bytes, NULL), given;
        HANDLE pipe = open_pipe(directory, "door");
        preface before = {0, 0, 0, 1, {0}};
        const ferry_turn *turn;
        int tries;
        CHECK(DuplicateHandle(GetCurrentProcess(), section, GetCurrentProcess(), &given,
                              SECTION_MAP_READ | SECTION_MAP_WRITE | SECTION_QUERY | WRITE_DAC, FALSE, 0));
        before.gift[0] = (uint64_t)(uintptr_t)given;
        greet(pipe, &before);
        if (bells[i].said != NULL) wait_for(env, &log, bells[i].said);
        else
            for (tries = 0; tries < 20; tries++) CHECK(ferry_env_wait(env, SECOND / 1000, &turn) == 0);
        CloseHandle(pipe), CloseHandle(section);
        for (tries = 0; tries < 20; tries++) CHECK(ferry_env_wait(env, SECOND / 1000, &turn) == 0);
    }
    ferry_env_close(env);
}

/* ---- Deaths, and sleeping ---- */

static int serve_and_stall(void *argument) {
    ferry_why why;
    const ferry_turn *turn;
    ferry_env *env = open_small_env("stalls", &why);
    (void)argument;
    while (ferry_env_wait(env, FERRY_FOREVER, &turn) > 0)
        if (turn->kind == FERRY_STEP) pause();
        else if (turn->kind == FERRY_RESET) play_small_turn(env, turn);
    return 1;
}

static DWORD WINAPI kill_soon(void *child) {
    Sleep(200);
    kill(*(pid_t *)child, SIGKILL);
    return 0;
}

static void test_a_death_is_noticed_in_time(void) {
    ferry_why why;
    ferry_agent *agent = open_agent("stalls", &why);
    int64_t worst = 0;
    int i;
    for (i = 0; i < 3; i++) {
        pid_t server = start_child(serve_and_stall, NULL);
        int64_t before, late;
        HANDLE killer;
        ferry_turn *turn;
        const ferry_turn *answer;
        CHECK(ferry_agent_connect(agent, 10 * SECOND) == 1);
        reset(agent, 1);
        turn = ferry_agent_turn(agent);
        turn->kind = FERRY_STEP, *(int64_t *)turn->data[ACTION] = 10;
        CHECK(ferry_agent_send(agent) == 0);
        before = now_ns();
        killer = CreateThread(NULL, 0, kill_soon, &server, 0, NULL);
        CHECK(ferry_agent_wait(agent, 10 * SECOND, &answer) == FERRY_EPEERDEAD);
        late = now_ns() - before - 200000000;
        CHECK(late >= 0);
        if (late > worst) worst = late;
        WaitForSingleObject(killer, INFINITE);
        CloseHandle(killer);
        CHECK(end_child(server) == 128 + SIGKILL);
    }
    printf("a death is noticed after %.1f ms at most\n", (double)worst * 1e-6);
    CHECK(worst < 50000000);
    ferry_agent_close(agent);
}

/* Turns in a second, as FERRY_WAIT says. Whoever slept through a wake-up would be 20 ms late. */
static double turns_in_a_second(const char *wait) {
    int agents = 1, turns;
    ferry_why why;
    pid_t server;
    ferry_agent *agent;
    int64_t start;
    setenv("FERRY_WAIT", wait, 1);
    server = start_child(serve_small, &agents);
    agent = open_agent("small", &why);
    CHECK(ferry_agent_connect(agent, 10 * SECOND) == 1);
    reset(agent, 1);
    start = now_ns();
    for (turns = 0; now_ns() - start < SECOND; turns++)
        if (step(agent, 10)->truncated[0]) reset(agent, 1);
    ferry_agent_close(agent);
    CHECK(end_child(server) == 0);
    unsetenv("FERRY_WAIT");
    return (double)turns * 1e9 / (double)(now_ns() - start);
}

static void test_sleepers_are_woken(void) {
    double spin = turns_in_a_second("spin"), adaptive = turns_in_a_second("adaptive"), block = turns_in_a_second("block");
    printf("turns/s: spin %.0f, adaptive %.0f, block %.0f\n", spin, adaptive, block);
    CHECK(block > 500 && adaptive > 500 && spin > 500);
}

int main(void) {
    char directory[64];
    int descriptors;
    begin_test(60, directory);
    descriptors = count_descriptors();
    test_a_name_goes_with_its_server(directory);
    test_files_of_others_are_left_alone(directory);
    test_what_a_power_cut_left_is_taken_over(directory);
    test_nobody_there_is_explained(directory);
    test_directories_have_names_in_unicode(directory);
    test_strangers_are_turned_away(directory);
    test_a_number_is_no_gift(directory);
    test_given_memory_is_checked(directory);
    test_a_death_is_noticed_in_time();
    test_sleepers_are_woken();
    CHECK(count_descriptors() == descriptors);
    end_test(directory);
    return 0;
}
