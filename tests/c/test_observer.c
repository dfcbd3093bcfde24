/* Observers: they see whole messages and nothing of them is noticed; they come, go and die as they like. */
#include "check.h"

#include "gallery.h"
#include "layout.h"

#include <math.h>
#ifndef _WIN32
#include <fcntl.h>
#include <sys/un.h>
#endif

static ferry_observer *open_observer(const char *address) {
    ferry_observer_desc desc;
    ferry_observer *observer;
    ferry_why why;
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc, desc.address = address;
    if (ferry_observer_open(&desc, &observer, &why) < 0) fprintf(stderr, "%s\n", why.text), exit(1);
    return observer;
}

static const ferry_snapshot *observe(ferry_observer *observer) {
    const ferry_snapshot *snapshot = NULL;
    int got = ferry_observer_snapshot(observer, 10 * SECOND, &snapshot);
    if (got != 1) {
        ferry_why why;
        ferry_observer_why(observer, &why);
        fprintf(stderr, "no snapshot: %d %s\n", got, why.text);
        exit(1);
    }
    return snapshot;
}

static void test_what_is_played_is_seen_whole(void) {
    int agents = 1, i, seen = 0;
    ferry_why why;
    pid_t server = start_child(serve_small, &agents);
    ferry_agent *agent = open_agent("small", &why);
    ferry_observer *observer = open_observer("small");
    const ferry_snapshot *snapshot;
    CHECK(ferry_observer_env(observer) == NULL);
    CHECK(ferry_agent_connect(agent, 10 * SECOND) == 1);
    reset(agent, 7);
    CHECK(ferry_observer_snapshot(observer, 10 * SECOND, &snapshot) == 1); /* what was there before it came */
    CHECK(strcmp(ferry_observer_env(observer)->name, "small") == 0);
    CHECK(snapshot->turn->kind == FERRY_RESET && snapshot->turn->number == 1 && isnan(snapshot->returns[0]));
    CHECK(ferry_observer_snapshot(observer, 0, &snapshot) == 0 && snapshot == NULL);
    reset(agent, 8);
    snapshot = observe(observer);
    CHECK(snapshot->turn->number == 2 && snapshot->returns[0] == 0 && ((const double *)snapshot->turn->data[OBSERVATION])[0] == 8);
    for (i = 1; i <= 200000 || seen < 3; i++) {
        int at = (i - 1) % 1000 + 1;
        const ferry_turn *turn;
        step(agent, 10 + i % 5);
        if (at == 1000) reset(agent, 8);
        if (ferry_observer_snapshot(observer, 0, &snapshot) == 0) continue;
        seen++;
        turn = snapshot->turn;
        if (turn->kind == FERRY_STEP) {
            const double *observation = (const double *)turn->data[OBSERVATION];
            double steps = observation[1];
            CHECK(observation[0] == 8 && observation[2] == (double)*(const int64_t *)turn->data[ACTION]);
            CHECK(turn->reward[0] == steps * 0.5 && turn->truncated[0] == (steps >= 1000));
            CHECK(snapshot->returns[0] == steps * (steps + 1) / 4);
            CHECK(turn->present[SCORE][0] == ((long)steps % 3 == 0));
        }
        CHECK(snapshot->finished_return == (double)snapshot->finished * 1000 * 1001 / 4);
        CHECK(turn->episode[0] == 2 + snapshot->finished || turn->episode[0] == 1 + snapshot->finished);
        CHECK(i < 10000000);
    }
    CHECK(seen >= 3);
    ferry_agent_close(agent);
    for (i = 0; i < 1000 && ferry_observer_snapshot(observer, SECOND, &snapshot) >= 0;) i++;
    ferry_observer_why(observer, &why);
    CHECK(why.code == FERRY_ECLOSED);
    CHECK_CONTAINS(why.text, "is over");
    ferry_observer_close(observer);
    CHECK(end_child(server) == 0);
}

static int look_on(void *argument) {
    ferry_observer *observer = open_observer("small");
    int i;
    for (i = 0; i < *(int *)argument; i++) observe(observer);
    ferry_observer_close(observer);
    return 0;
}

/* The exit code of a child that has ended, or -1. */
static int code_of(pid_t child) {
#ifdef _WIN32
    return WaitForSingleObject(children[find_child(child)].process, 0) == WAIT_OBJECT_0 ? end_child(child) : -1;
#else
    int status;
    if (waitpid(child, &status, WNOHANG) == 0) return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
#endif
}

/* Plays until a child that looks on has ended. */
static int play_until_ended(ferry_agent *agent, pid_t child) {
    int code;
    while ((code = code_of(child)) < 0) step(agent, 12);
    return code;
}

static void test_observers_come_and_go_and_are_killed(void) {
    int agents = 1, few = 3, many = 1000000, i;
    ferry_why why;
    pid_t server = start_child(serve_small, &agents);
    ferry_agent *agent = open_agent("small", &why);
    CHECK(ferry_agent_connect(agent, 10 * SECOND) == 1);
    reset(agent, 1);
    for (i = 0; i < 4; i++) {
        pid_t killed = start_child(look_on, &many), lives = start_child(look_on, &few);
        CHECK(play_until_ended(agent, lives) == 0);
        kill(killed, SIGKILL);
        CHECK(play_until_ended(agent, killed) == 128 + SIGKILL);
    }
    step(agent, 12);
    ferry_agent_close(agent);
    CHECK(end_child(server) == 0);
}

static void test_no_more_than_eight_look_on(void) {
    int agents = 1, i;
    ferry_why why;
    pid_t server = start_child(serve_small, &agents);
    ferry_agent *agent = open_agent("small", &why);
    ferry_observer *observers[FERRY__MAX_OBSERVERS + 1];
    const ferry_snapshot *snapshot;
    CHECK(ferry_agent_connect(agent, 10 * SECOND) == 1);
    reset(agent, 1);
    for (i = 0; i < FERRY__MAX_OBSERVERS; i++) {
        observers[i] = open_observer("small");
        observe(observers[i]);
        step(agent, 12);
    }
    observers[i] = open_observer("small");
    CHECK(ferry_observer_snapshot(observers[i], 10 * SECOND, &snapshot) == FERRY_EBUSY && snapshot == NULL);
    ferry_observer_why(observers[i], &why);
    CHECK_CONTAINS(why.text, "8 observers look at 'small' already");
    ferry_observer_close(observers[0]);
    for (i = 0; i < 100000 && ferry_observer_snapshot(observers[FERRY__MAX_OBSERVERS], SECOND / 100, &snapshot) != 1; i++) step(agent, 12);
    CHECK(snapshot != NULL);
    for (i = 1; i <= FERRY__MAX_OBSERVERS; i++) ferry_observer_close(observers[i]);
    /* An agent's place is no observer's, with and without them. */
    {
        ferry_agent *second = open_agent("small", &why);
        CHECK(ferry_agent_connect(second, 10 * SECOND) == FERRY_EBUSY);
        ferry_agent_close(second);
    }
    ferry_agent_close(agent);
    CHECK(end_child(server) == 0);
}

static void test_an_environment_without_an_agent_has_nothing_to_show(void) {
    int agents = 1;
    ferry_why why;
    ferry_agent *agent;
    ferry_observer *observer = open_observer("small");
    const ferry_snapshot *snapshot;
    pid_t server;
    CHECK(ferry_observer_snapshot(observer, SECOND / 10, &snapshot) == 0);
    ferry_observer_why(observer, &why);
    CHECK_CONTAINS(why.text, "no environment has served 'small'");
    server = start_child(serve_small, &agents);
    do CHECK(ferry_observer_snapshot(observer, SECOND / 10, &snapshot) == 0);
    while (ferry_observer_why(observer, &why), why.code != FERRY_ESTATE);
    CHECK_CONTAINS(why.text, "no agent plays at 'small' now");
    agent = open_agent("small", &why);
    CHECK(ferry_agent_connect(agent, 10 * SECOND) == 1);
    reset(agent, 1);
    CHECK(observe(observer)->turn->number == 1);
    kill(server, SIGKILL);
    CHECK(end_child(server) == 128 + SIGKILL);
    CHECK(ferry_observer_snapshot(observer, SECOND, &snapshot) == FERRY_EPEERDEAD);
    ferry_observer_close(observer);
    ferry_agent_close(agent);
}

static int serve_agent(void *argument) {
    ferry_why why;
    ferry_agent *agent = open_agent("serve:trainer", &why);
    (void)argument;
    CHECK(agent != NULL);
    (void)ferry_agent_connect(agent, FERRY_FOREVER);
    return 1;
}

static void test_where_an_agent_listens_it_is_said_that_nobody_is_let_in(void) {
    ferry_observer *observer = open_observer("trainer");
    const ferry_snapshot *snapshot;
    ferry_why why;
    pid_t trainer = start_child(serve_agent, NULL);
    CHECK(ferry_observer_snapshot(observer, 10 * SECOND, &snapshot) == FERRY_EUNSUPPORTED);
    ferry_observer_why(observer, &why);
    CHECK_CONTAINS(why.text, "an agent listens");
    ferry_observer_close(observer);
    kill(trainer, SIGKILL);
    end_child(trainer);
}

enum { FRAMES = 20 };

/* Publishes a frame, or answers what has come by turns; the observation says which frame it is, and the last ends the episode. */
static void tick(ferry_env *env) {
    const ferry_turn *turn;
    if (ferry_env_wait(env, 0, &turn) != 1) return;
    ((double *)turn->data[OBSERVATION])[0] = turn->kind == FERRY_STEP ? (double)turn->frame : 0;
    turn->reward[0] = 2;
    turn->truncated[0] = turn->kind == FERRY_STEP && turn->frame == FRAMES;
    CHECK(ferry_env_reply(env) == 0);
}

/* In real time frames are shown, and the one that ends an episode always. */
static void test_frames_are_seen(void) {
    ferry_field fields[NUM_FIELDS];
    ferry_env_desc desc;
    ferry_agent_desc agent_desc;
    ferry_env *env;
    ferry_agent *agent;
    ferry_observer *observer = open_observer("world");
    const ferry_snapshot *snapshot = NULL;
    const ferry_turn *answer;
    ferry_why why;
    int64_t due;
    int episode, seen = 0;
    small_fields(fields);
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc, desc.address = "world", desc.fields = fields, desc.num_fields = NUM_FIELDS, desc.realtime = 1;
    CHECK(ferry_env_open(&desc, &env, &why) == 0);
    memset(&agent_desc, 0, sizeof agent_desc);
    agent_desc.struct_size = sizeof agent_desc, agent_desc.address = "world", agent_desc.realtime = 1;
    CHECK(ferry_agent_open(&agent_desc, &agent, &why) == 0);
    while (ferry_agent_connect(agent, 0) != 1) tick(env);
    while (ferry_observer_env(observer) == NULL) {
        CHECK(ferry_observer_snapshot(observer, 0, &snapshot) == 0);
        tick(env);
    }
    for (episode = 1; episode <= 3; episode++) {
        ferry_agent_turn(agent)->kind = FERRY_RESET;
        CHECK(ferry_agent_send(agent) == 0);
        do tick(env);
        while (ferry_agent_wait(agent, 0, &answer) != 1);
        for (due = now_ns() + 10 * SECOND; now_ns() < due;) {
            int64_t next = now_ns() + SECOND / 200;
            tick(env);
            if (ferry_observer_snapshot(observer, 0, &snapshot) == 1 && snapshot->turn->kind == FERRY_STEP) {
                const ferry_turn *turn = snapshot->turn;
                seen++;
                CHECK(((const double *)turn->data[OBSERVATION])[0] == (double)turn->frame && turn->number == turn->frame);
                CHECK(turn->frame_ns > 0 && turn->reward[0] == 2 && turn->truncated[0] == (turn->frame == FRAMES));
                CHECK(snapshot->returns[0] == 2 * (double)turn->frame && turn->episode[0] == (uint64_t)episode);
                if (turn->frame == FRAMES) break;
            }
            while (now_ns() < next) continue;
        }
        CHECK(snapshot != NULL && snapshot->turn->frame == FRAMES && snapshot->finished == (uint64_t)episode);
    }
    CHECK(seen > 3); /* more than the ends */
    ferry_agent_close(agent);
    ferry_env_close(env);
    ferry_observer_close(observer);
}

static void test_wrong_descriptions_are_refused(void) {
    ferry_observer_desc desc;
    ferry_observer *observer;
    ferry_why why;
    memset(&desc, 0, sizeof desc);
    CHECK(ferry_observer_open(&desc, &observer, &why) == FERRY_EINVAL && observer == NULL);
    desc.struct_size = sizeof desc, desc.address = "serve:small";
    CHECK(ferry_observer_open(&desc, &observer, &why) == FERRY_EINVAL && observer == NULL);
    CHECK_CONTAINS(why.text, "an observer looks at a name");
    CHECK(ferry_observer_open(&desc, NULL, &why) == FERRY_EINVAL);
    ferry_observer_close(NULL);
}

enum { CROWD = 24, SEEN = 0, TOLD = 3 };

/* Looks a few times, or is told that there is no room. */
static int look_on_in_a_crowd(void *ignored) {
    ferry_observer *observer = open_observer("small");
    const ferry_snapshot *snapshot;
    ferry_why why;
    int i, got = 1;
    (void)ignored;
    for (i = 0; i < 5 && got == 1; i++) got = ferry_observer_snapshot(observer, 30 * SECOND, &snapshot);
    ferry_observer_why(observer, &why);
    if (got == FERRY_EBUSY) CHECK_CONTAINS(why.text, "8 observers look at 'small' already");
    if (got != 1 && got != FERRY_EBUSY) fprintf(stderr, "%d %s\n", got, why.text);
    ferry_observer_close(observer);
    return got == 1 ? SEEN : got == FERRY_EBUSY ? TOLD : 1;
}

static void test_a_crowd_comes_at_once(void) {
    int agents = 1, i, codes[4] = {0};
    ferry_why why;
    pid_t server = start_child(serve_small, &agents), crowd[CROWD];
    ferry_agent *agent = open_agent("small", &why);
    CHECK(ferry_agent_connect(agent, 10 * SECOND) == 1);
    reset(agent, 1);
    for (i = 0; i < CROWD; i++) crowd[i] = start_child(look_on_in_a_crowd, NULL);
    for (i = 0; i < CROWD; i++) {
        int code = play_until_ended(agent, crowd[i]);
        CHECK(code == SEEN || code == TOLD);
        codes[code]++;
    }
    printf("      of %d observers %d have looked, and %d were told that there is no room\n", CROWD, codes[SEEN], codes[TOLD]);
    CHECK(codes[SEEN] >= FERRY__MAX_OBSERVERS);
    CHECK(play_until_ended(agent, start_child(look_on_in_a_crowd, NULL)) == SEEN); /* the places are free again */
    ferry_agent_close(agent);
    CHECK(end_child(server) == 0);
}

#ifndef _WIN32 /* plain sockets, signals, and other users */
static int visitor_of(const char *directory) {
    struct sockaddr_un address;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    snprintf(address.sun_path, sizeof address.sun_path, "%.60s/small", directory);
    CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    return fd;
}

/* The code of the refusal that ends a stream; 0: it ended without a word. Reads nothing but frames of heads and refusals. */
static int refusal_of(int fd) {
    ferry__frame frame;
    char payload[FERRY__MAX_FRAME];
    ferry__refuse refuse = {0, 0};
    while (recv(fd, &frame, sizeof frame, MSG_WAITALL) == (ssize_t)sizeof frame) {
        CHECK(frame.magic == FERRY__FRAME_MAGIC && frame.bytes <= sizeof payload);
        CHECK(recv(fd, payload, frame.bytes, MSG_WAITALL) == (ssize_t)frame.bytes);
        CHECK(frame.type == FERRY__REFUSE);
        memcpy(&refuse, payload, sizeof refuse);
    }
    close(fd);
    return refuse.code;
}

static void test_visitors_that_say_nothing_keep_nobody_out(const char *directory) {
    enum { SILENT = 2 * FERRY__SEATS };
    int agents = 1, few = 3, i, silent[SILENT], late;
    ferry_why why;
    int64_t end;
    pid_t server = start_child(serve_small, &agents), observer;
    ferry_agent *agent = open_agent("small", &why);
    CHECK(ferry_agent_connect(agent, 10 * SECOND) == 1);
    reset(agent, 1);
    for (i = 0; i < SILENT; i++) {
        silent[i] = visitor_of(directory);
        if (i % 3 == 1) CHECK(write(silent[i], "FRRY", 4) == 4);                 /* the beginning of something */
        if (i % 3 == 2) CHECK(write(silent[i], "GET / HTTP/1.1\r\n\r\n", 18) == 18); /* of something else */
    }
    observer = start_child(look_on, &few);
    CHECK(play_until_ended(agent, observer) == 0);
    for (i = 0; i < SILENT; i++) CHECK(refusal_of(silent[i]) == FERRY_EBUSY);
    /* Whoever has not spoken when the agent leaves may have come to play, and is not told that an observation is over. */
    late = visitor_of(directory);
    for (end = now_ns() + SECOND / 50; now_ns() < end;) step(agent, 12);
    ferry_agent_close(agent);
    i = refusal_of(late);
    CHECK(i == 0 || i == FERRY_EBUSY);
    CHECK(end_child(server) == 0);
}

/* Signals a side and waits until it has stopped. */
static void stop(pid_t pid) {
    int status;
    CHECK(kill(pid, SIGSTOP) == 0);
    CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
}

static int play_small(void *argument) {
    ferry_why why;
    ferry_agent *agent = open_agent("small", &why);
    int64_t i;
    CHECK(ferry_agent_connect(agent, 10 * SECOND) == 1);
    reset(agent, 3);
    for (i = 0; i < *(int64_t *)argument; i++) step(agent, 10 + i % 5);
    ferry_agent_close(agent);
    return 0;
}

static void test_whoever_is_stopped_is_seen_as_it_was_last(void) {
    int agents = 1;
    int64_t forever = INT64_MAX, start;
    ferry_why why;
    pid_t server = start_child(serve_small, &agents), player = start_child(play_small, &forever);
    ferry_observer *first = open_observer("small"), *late = open_observer("small"), *outside = open_observer("small");
    const ferry_snapshot *snapshot;
    uint64_t number = 0;
    observe(first);
    /* The agent: the env answers the door while it waits, so that one may come even now; all see the same turn. */
    stop(player);
    while (ferry_observer_snapshot(first, SECOND / 5, &snapshot) == 1) number = snapshot->turn->number;
    snapshot = observe(late);
    CHECK(snapshot->turn->number >= number && ((const double *)snapshot->turn->data[OBSERVATION])[0] == 3);
    CHECK(ferry_observer_snapshot(late, SECOND / 20, &snapshot) == 0 && snapshot == NULL);
    CHECK(kill(player, SIGCONT) == 0);
    CHECK(observe(late)->turn->number > number);
    /* The env: who is in has seen the last that it showed, and waits no longer than it is told to; nobody is let in, and it is said why. */
    observe(first);
    stop(server);
    while (ferry_observer_snapshot(late, 0, &snapshot) == 1) number = snapshot->turn->number;
    CHECK(ferry_observer_snapshot(first, 0, &snapshot) >= 0);
    start = now_ns();
    CHECK(ferry_observer_snapshot(first, SECOND / 10, &snapshot) == 0 && now_ns() - start < 5 * SECOND);
    CHECK(ferry_observer_snapshot(outside, SECOND / 10, &snapshot) == 0);
    ferry_observer_why(outside, &why);
    CHECK_CONTAINS(why.text, "it may be busy in its own code, or stopped");
    CHECK(kill(server, SIGCONT) == 0);
    CHECK(observe(first)->turn->number > number);
    CHECK(observe(outside)->turn->number > number);
    ferry_observer_close(first), ferry_observer_close(late), ferry_observer_close(outside);
    kill(player, SIGKILL);
    CHECK(end_child(player) == 128 + SIGKILL);
    CHECK(end_child(server) == 0);
}

/* Says why nobody can look at this path. */
static int why_not(const char *path, ferry_why *why) {
    ferry_observer *observer = open_observer(path);
    const ferry_snapshot *snapshot;
    int got = ferry_observer_snapshot(observer, SECOND / 5, &snapshot);
    CHECK(snapshot == NULL);
    ferry_observer_why(observer, why);
    ferry_observer_close(observer);
    return got;
}

/* Speaks, but not Ferry. */
static int serve_another_protocol(void *argument) {
    int fd;
    while ((fd = accept(*(int *)argument, NULL, NULL)) >= 0) {
        CHECK(write(fd, "220 mail.example ESMTP ready\r\n", 30) == 30);
        close(fd);
    }
    return 1;
}

static void test_what_is_no_channel_is_called_so(const char *directory) {
    char path[128];
    struct sockaddr_un address;
    ferry_why why;
    pid_t other;
    int fd;
    snprintf(path, sizeof path, "%.60s/file", directory);
    fd = open(path, O_CREAT | O_WRONLY, 0600);
    CHECK(fd >= 0 && close(fd) == 0);
    CHECK(why_not(path, &why) <= 0);
    CHECK_CONTAINS(why.text, path);
    CHECK(why_not(directory, &why) <= 0);
    CHECK_CONTAINS(why.text, directory);
    snprintf(path, sizeof path, "%.60s/mail", directory);
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    snprintf(address.sun_path, sizeof address.sun_path, "%.100s", path);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 4) == 0);
    other = start_child(serve_another_protocol, &fd);
    close(fd);
    CHECK(why_not(path, &why) == FERRY_EPROTOCOL);
    CHECK_CONTAINS(why.text, "does not speak Ferry");
    kill(other, SIGKILL);
    end_child(other);
}

/* Another user's: 0 if it is refused, with the words that belong to it. */
static int look_on_as_nobody(void *argument) {
    const char *const *told = (const char *const *)argument, *part = told[1];
    ferry_observer *observer = open_observer(told[0]);
    const ferry_snapshot *snapshot;
    ferry_why why;
    CHECK(setgid(65534) == 0 && setuid(65534) == 0);
    CHECK(ferry_observer_snapshot(observer, 10 * SECOND, &snapshot) == FERRY_EADDRESS);
    ferry_observer_why(observer, &why);
    CHECK_CONTAINS(why.text, part);
    ferry_observer_close(observer);
    return 0;
}

static void test_another_user_is_not_let_in(void) {
    const char *by_name[] = {"small", "belongs to user 0"}, *by_path[2];
    int agents = 1;
    ferry_why why;
    ferry_agent *agent;
    pid_t server, nobody;
    char before[128], directory[] = "/tmp/ferry-open-XXXXXX", path[128]; /* nobody may look into TMPDIR */
    if (geteuid() != 0) return; /* one cannot be another */
    snprintf(before, sizeof before, "%s", getenv("FERRY_RUNTIME_DIR"));
    CHECK(mkdtemp(directory) != NULL && setenv("FERRY_RUNTIME_DIR", directory, 1) == 0);
    server = start_child(serve_small, &agents);
    agent = open_agent("small", &why);
    CHECK(ferry_agent_connect(agent, 10 * SECOND) == 1);
    reset(agent, 1);
    CHECK(end_child(start_child(look_on_as_nobody, by_name)) == 0);
    snprintf(path, sizeof path, "%s/small", directory);
    by_path[0] = path, by_path[1] = "Permission denied";
    CHECK(end_child(start_child(look_on_as_nobody, by_path)) == 0);
    /* Where the modes of directory and socket were opened, the environment still asks who it is. */
    CHECK(chmod(directory, 0755) == 0 && chmod(path, 0666) == 0);
    by_path[1] = "belongs to user 65534";
    nobody = start_child(look_on_as_nobody, by_path);
    CHECK(play_until_ended(agent, nobody) == 0);
    ferry_agent_close(agent);
    CHECK(end_child(server) == 0);
    CHECK(rmdir(directory) == 0 && setenv("FERRY_RUNTIME_DIR", before, 1) == 0);
}
#endif

int main(void) {
    char directory[64];
    begin_test(100, directory);
    test_what_is_played_is_seen_whole();
    test_observers_come_and_go_and_are_killed();
    test_no_more_than_eight_look_on();
    test_an_environment_without_an_agent_has_nothing_to_show();
    test_where_an_agent_listens_it_is_said_that_nobody_is_let_in();
    test_frames_are_seen();
    test_wrong_descriptions_are_refused();
    test_a_crowd_comes_at_once();
#ifndef _WIN32
    test_visitors_that_say_nothing_keep_nobody_out(directory);
    test_whoever_is_stopped_is_seen_as_it_was_last();
    test_what_is_no_channel_is_called_so(directory);
    test_another_user_is_not_let_in();
#endif
    end_test(directory);
    return 0;
}
