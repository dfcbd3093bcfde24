/* Addresses: what is valid, who may take one, what is said when nobody is there. */
#include "check.h"

#include <sys/un.h>

static void test_bad_names_are_refused(void) {
    static const char *const bad[] = {"",
                                      "-a",
                                      ".hidden",
                                      "a b",
                                      "a/b",
                                      "serve:",
                                      "connect:",
                                      "connect:a#",
                                      "connect:a#x",
                                      "serve:fd:3",
                                      "fd:",
                                      "fd:x",
                                      "fd:-1",
                                      "fd:99999999999",
                                      "\xff",
                                      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    ferry_why why;
    size_t i;
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK(open_small_env(bad[i], &why) == NULL && why.code == FERRY_EINVAL);
        CHECK_CONTAINS(why.text, "address");
        CHECK(open_agent(bad[i], &why) == NULL && why.code == FERRY_EINVAL);
    }
    CHECK(open_agent("tcp://host:1", &why) == NULL && why.code == FERRY_EUNSUPPORTED);
    CHECK(open_agent(NULL, &why) == NULL && why.code == FERRY_EINVAL);
    CHECK_CONTAINS(why.text, "FERRY_ADDRESS");
}

static void test_an_address_has_one_server(const char *directory) {
    ferry_why why;
    char path[128], pid[32];
    ferry_env *env = open_small_env("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", &why), *other;
    struct stat info;
    CHECK(env != NULL);
    snprintf(path, sizeof path, "%s/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", directory);
    CHECK(stat(path, &info) == 0 && S_ISSOCK(info.st_mode) && (info.st_mode & 0777) == 0600);
    CHECK(open_small_env(path, &why) == NULL && why.code == FERRY_EINUSE);
    snprintf(pid, sizeof pid, "process %d", (int)getpid());
    CHECK_CONTAINS(why.text, pid);
    ferry_env_close(env);
    CHECK(stat(path, &info) != 0);
    other = open_small_env(path, &why);
    CHECK(other != NULL);
    ferry_env_close(other);
}

static void test_what_is_not_a_socket_is_left_alone(const char *directory) {
    ferry_why why;
    char path[128];
    FILE *file;
    snprintf(path, sizeof path, "%s/precious", directory);
    file = fopen(path, "w");
    CHECK(file != NULL && fclose(file) == 0);
    CHECK(open_small_env("precious", &why) == NULL && why.code == FERRY_EADDRESS);
    CHECK_CONTAINS(why.text, "is not a socket");
    CHECK(access(path, F_OK) == 0);
    unlink(path);
}

static void test_nobody_there_is_explained(const char *directory) {
    ferry_why why;
    ferry_env *env = open_small_env("walker", &why);
    ferry_agent *agent = open_agent("wolker", &why);
    char path[128];
    struct sockaddr_un dead;
    struct stat info;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    memset(&dead, 0, sizeof dead);
    dead.sun_family = AF_UNIX;
    snprintf(path, sizeof path, "%s/dead", directory);
    strcpy(dead.sun_path, path);
    CHECK(bind(fd, (struct sockaddr *)&dead, sizeof dead) == 0 && close(fd) == 0);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(path, sizeof path, "%s/no name", directory);
    strcpy(dead.sun_path, path);
    CHECK(bind(fd, (struct sockaddr *)&dead, sizeof dead) == 0 && close(fd) == 0);
    snprintf(path, sizeof path, "%s/dead", directory);
    CHECK(ferry_agent_connect(agent, SECOND / 20) == 0);
    ferry_agent_why(agent, &why);
    CHECK(why.code == 0);
    CHECK_CONTAINS(why.text, "'wolker'");
    CHECK_CONTAINS(why.text, directory);
    CHECK_CONTAINS(why.text, "live: 'walker'");
    CHECK_CONTAINS(why.text, "did you mean 'walker'?");
    CHECK(strstr(why.text, "dead") == NULL && stat(path, &info) != 0); /* a dead name is removed by whoever looks */
    CHECK(stat(dead.sun_path, &info) == 0);                                  /* what is no name is left alone */
    ferry_agent_close(agent);
    ferry_env_close(env);
}

static void test_the_environment_overrides_the_engines_default(void) {
    ferry_why why;
    ferry_env *env, *other;
    CHECK(setenv("FERRY_ADDRESS", "serve:given", 1) == 0);
    env = open_small_env("default", &why);
    CHECK(env != NULL);
    unsetenv("FERRY_ADDRESS");
    CHECK(open_small_env("given", &why) == NULL && why.code == FERRY_EINUSE);
    other = open_small_env("default", &why);
    CHECK(other != NULL);
    ferry_env_close(env);
    ferry_env_close(other);
}

static void test_a_directory_of_others_is_refused(const char *directory) {
    ferry_why why;
    char path[256];
    CHECK(chmod(directory, 0777) == 0);
    CHECK(open_small_env("small", &why) == NULL && why.code == FERRY_EADDRESS);
    CHECK_CONTAINS(why.text, "FERRY_RUNTIME_DIR");
    CHECK(chmod(directory, 0700) == 0);
    snprintf(path, sizeof path, "%s/no/such", directory);
    setenv("FERRY_RUNTIME_DIR", path, 1);
    CHECK(open_small_env("small", &why) == NULL && why.code == FERRY_EADDRESS);
    CHECK_CONTAINS(why.text, "FERRY_RUNTIME_DIR");
    snprintf(path, sizeof path, "%s/%0100d", directory, 0);
    setenv("FERRY_RUNTIME_DIR", path, 1);
    CHECK(open_small_env("small", &why) == NULL && why.code == FERRY_EADDRESS);
    CHECK_CONTAINS(why.text, "too long");
    setenv("FERRY_RUNTIME_DIR", directory, 1);
}

static void test_a_directory_has_to_be_one(const char *directory) {
    ferry_why why;
    char path[256];
    FILE *file;
    setenv("FERRY_RUNTIME_DIR", "somewhere", 1);
    CHECK(open_small_env("small", &why) == NULL && why.code == FERRY_EADDRESS);
    CHECK_CONTAINS(why.text, "not absolute");
    snprintf(path, sizeof path, "%s/file", directory);
    file = fopen(path, "w");
    CHECK(file != NULL && fclose(file) == 0);
    setenv("FERRY_RUNTIME_DIR", path, 1);
    CHECK(open_small_env("small", &why) == NULL && why.code == FERRY_EADDRESS);
    CHECK_CONTAINS(why.text, "is not a directory");
    setenv("FERRY_RUNTIME_DIR", directory, 1);
    strcat(path, "/small"); /* below a file nobody can be, or come to be */
    CHECK(open_small_env(path, &why) == NULL && why.code == FERRY_EADDRESS);
    snprintf(path, sizeof path, "%s/file", directory);
    CHECK(unlink(path) == 0);
}

static void test_the_session_has_a_directory(const char *directory) {
    ferry_why why;
    char path[256];
    ferry_env *env;
    ferry_agent *agent;
    const ferry_turn *turn;
    int looks;
    unsetenv("FERRY_RUNTIME_DIR");
    setenv("XDG_RUNTIME_DIR", directory, 1);
    env = open_small_env("small", &why);
    agent = open_agent("small", &why);
    CHECK(env != NULL && agent != NULL);
    snprintf(path, sizeof path, "%s/ferry/small", directory);
    CHECK(access(path, F_OK) == 0);
    for (looks = 0; looks < 1000 && ferry_agent_connect(agent, SECOND / 1000) == 0; looks++) CHECK(ferry_env_wait(env, 0, &turn) == 0);
    CHECK(ferry_agent_connect(agent, 0) == 1);
    ferry_agent_close(agent);
    ferry_env_close(env);
    unsetenv("XDG_RUNTIME_DIR");
    setenv("FERRY_RUNTIME_DIR", directory, 1);
}

static void test_many_names_are_not_all_told(void) {
    enum { MANY = 10 };
    ferry_env *envs[MANY];
    ferry_agent *agent;
    ferry_why why;
    char name[16];
    int i;
    for (i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "many%d", i);
        envs[i] = open_small_env(name, &why);
        CHECK(envs[i] != NULL);
    }
    agent = open_agent("manyx", &why);
    CHECK(ferry_agent_connect(agent, 0) == 0);
    ferry_agent_why(agent, &why);
    CHECK_CONTAINS(why.text, "', ...");
    CHECK_CONTAINS(why.text, "did you mean 'many");
    ferry_agent_close(agent);
    for (i = 0; i < MANY; i++) ferry_env_close(envs[i]);
}

static void test_an_inherited_pair_needs_no_name(void) {
    ferry_why why;
    int pair[2];
    char text[32];
    ferry_agent *agent;
    const ferry_turn *answer;
    pid_t child;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    fflush(NULL);
    child = fork();
    if (child == 0) {
        ferry_env *env;
        const ferry_turn *turn;
        alarm(60);
        close(pair[0]);
        snprintf(text, sizeof text, "fd:%d", pair[1]);
        setenv("FERRY_ADDRESS", text, 1);
        env = open_small_env("ignored", &why);
        CHECK(env != NULL);
        while (ferry_env_wait(env, FERRY_FOREVER, &turn) > 0)
            if (turn->kind != FERRY_LEFT) play_small_turn(env, turn);
        CHECK(ferry_env_wait(env, FERRY_FOREVER, &turn) == FERRY_ECLOSED);
        ferry_env_close(env);
        _exit(0);
    }
    close(pair[1]);
    snprintf(text, sizeof text, "fd:%d", pair[0]);
    agent = open_agent(text, &why);
    CHECK(ferry_agent_connect(agent, 10 * SECOND) == 1);
    answer = reset(agent, 3);
    CHECK(answer->peer_pid == (uint32_t)child);
    ferry_agent_close(agent);
    CHECK(end_child(child) == 0);
    agent = open_agent("fd:0", &why);
    CHECK(agent != NULL);
    CHECK(ferry_agent_connect(agent, 0) == FERRY_EADDRESS);
    ferry_agent_close(agent);
}

static void test_two_of_a_kind_are_told_so(void) {
    ferry_why why;
    ferry_agent *first = open_agent("serve:pair", &why), *second = open_agent("pair", &why);
    ferry_env *env = open_small_env("small", &why), *other = open_small_env("connect:small", &why);
    const ferry_turn *turn;
    int got;
    CHECK(first != NULL && second != NULL && env != NULL && other != NULL);
    for (got = 0; got == 0;) {
        got = ferry_agent_connect(second, SECOND / 1000);
        CHECK(ferry_agent_connect(first, SECOND / 1000) == 0);
    }
    CHECK(got == FERRY_EROLE);
    ferry_agent_why(second, &why);
    CHECK_CONTAINS(why.text, "both sides of 'pair' are agents");
    ferry_agent_why(first, &why);
    CHECK_CONTAINS(why.text, "both sides of 'pair' are agents");
    for (got = 0; got == 0;) {
        got = ferry_env_wait(other, SECOND / 1000, &turn);
        CHECK(ferry_env_wait(env, SECOND / 1000, &turn) == 0);
    }
    CHECK(got == FERRY_EROLE);
    ferry_env_close(env), ferry_env_close(other), ferry_agent_close(first), ferry_agent_close(second);
}

static void test_a_wrong_wait_mode_is_named(void) {
    ferry_why why;
    setenv("FERRY_WAIT", "busy", 1);
    CHECK(open_agent("small", &why) == NULL && why.code == FERRY_EINVAL);
    CHECK_CONTAINS(why.text, "spin, adaptive or block");
    unsetenv("FERRY_WAIT");
}

int main(void) {
    char directory[64];
    begin_test(60, directory);
    test_bad_names_are_refused();
    test_an_address_has_one_server(directory);
    test_what_is_not_a_socket_is_left_alone(directory);
    test_nobody_there_is_explained(directory);
    test_the_environment_overrides_the_engines_default();
    test_a_directory_of_others_is_refused(directory);
    test_a_directory_has_to_be_one(directory);
    test_the_session_has_a_directory(directory);
    test_many_names_are_not_all_told();
    test_an_inherited_pair_needs_no_name();
    test_two_of_a_kind_are_told_so();
    test_a_wrong_wait_mode_is_named();
    end_test(directory);
    return 0;
}
