/* The handshake, in all its roles: the bytes are what the other end of the stream says, piece by piece, and no descriptor comes with them.
 *
 * The first byte chooses who hears them; then come pieces: how many bytes, what they are, and the bytes. */
#include "fuzz.h"

#include "../../csrc/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { ENV, AGENT, AGENT_THAT_LISTENS, OBSERVER, GALLERY, NUM_ROLES };

/* Who hears the bytes, and the stream that they are written to; the agent of a gallery plays meanwhile. */
typedef struct listener {
    ferry_env *env;
    ferry_agent *agent;
    ferry_observer *observer;
    int stream, door;
    uint32_t num_rows;
} listener;

static int dial(const char *name) {
    struct sockaddr_un address;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    snprintf(address.sun_path, sizeof address.sun_path, "%.60s/%.30s", fuzz_directory(), name);
    EXPECT(connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    return fd;
}

static int serve(const char *name) {
    struct sockaddr_un address;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    snprintf(address.sun_path, sizeof address.sun_path, "%.60s/%.30s", fuzz_directory(), name);
    (void)unlink(address.sun_path);
    EXPECT(bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 1) == 0);
    return fd;
}

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
        (void)ferry_agent_env(l->agent);
        if (ferry_agent_turn(l->agent) == NULL) (void)ferry_agent_wait(l->agent, 0, &answer);
        else ferry_agent_turn(l->agent)->kind = FERRY_RESET, (void)ferry_agent_send(l->agent);
    }
    if (l->agent != NULL) ferry_agent_why(l->agent, &why);
    if (l->observer != NULL) {
        EXPECT(ferry_observer_snapshot(l->observer, 0, &snapshot) <= 0); /* nobody has shown it anything */
        ferry_observer_why(l->observer, &why);
    }
    EXPECT(fuzz_clock_ns - start < 1000000000);
    fuzz_clock_ns += 5000000; /* the sides look around now and then, not at each call */
}

static listener begin(uint32_t role, uint32_t mode) {
    listener l = {NULL, NULL, NULL, -1, -1, 0};
    char address[32];
    int pair[2], i;
    (void)fuzz_directory();
    l.num_rows = mode == FUZZ_REALTIME ? 1 : FUZZ_ROWS;
    if (role == ENV || role == AGENT) {
        EXPECT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
        snprintf(address, sizeof address, "fd:%d", pair[0]);
        if (role == ENV) l.env = fuzz_open_env(address, mode, FUZZ_ROWS);
        else l.agent = fuzz_open_agent(address, mode);
        l.stream = pair[1];
        return l;
    }
    if (role == AGENT_THAT_LISTENS) l.agent = fuzz_open_agent("serve:door", mode), l.stream = dial("door");
    if (role == OBSERVER) {
        l.door = serve("door");
        l.observer = fuzz_open_observer("door");
        go_on(&l);
        l.stream = accept4(l.door, NULL, NULL, SOCK_NONBLOCK);
        EXPECT(l.stream >= 0);
    }
    if (role == GALLERY) {
        l.env = fuzz_open_env("door", mode, FUZZ_ROWS), l.agent = fuzz_open_agent("door", mode);
        for (i = 0; i < 4; i++) go_on(&l);
        l.stream = dial("door");
    }
    return l;
}

static void end(listener *l) {
    close(l->stream);
    go_on(l), go_on(l);
    ferry_agent_close(l->agent);
    ferry_env_close(l->env);
    ferry_observer_close(l->observer);
    if (l->door >= 0) close(l->door);
}

static void say(int stream, const void *bytes, size_t size) {
    if (size > 0) (void)!send(stream, bytes, size, MSG_NOSIGNAL);
}

/* A frame whose head is right, with a payload from the input; greetings have what must be equal made equal. */
static void say_frame(int stream, uint32_t type, int greets, fuzz_input *input, uint32_t bytes) {
    char message[sizeof(ferry__frame) + 256];
    ferry__frame frame = {FERRY__FRAME_MAGIC, (uint16_t)type, 0, bytes, 0};
    ferry__hello hello;
    memcpy(message, &frame, sizeof frame);
    memset(message + sizeof frame, 0, bytes);
    memcpy(message + sizeof frame, input->at, bytes < (size_t)(input->end - input->at) ? bytes : (size_t)(input->end - input->at));
    input->at += bytes < (size_t)(input->end - input->at) ? bytes : (size_t)(input->end - input->at);
    if (greets && bytes >= sizeof hello) {
        memcpy(&hello, message + sizeof frame, sizeof hello);
        memcpy(hello.magic, FERRY__HELLO_MAGIC, sizeof hello.magic);
        hello.endian = FERRY__ENDIAN, hello.abi_major = FERRY__ABI_MAJOR;
        memcpy(message + sizeof frame, &hello, sizeof hello);
    }
    say(stream, message, sizeof frame + bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_input input = {data, data + size};
    uint32_t first = (uint32_t)fuzz_take(&input, 1), role = first % NUM_ROLES, mode = first / NUM_ROLES % (FUZZ_REALTIME + 1);
    listener l;
    char ignored[4096];
    fuzz_num_mappings = 0, fuzz_clock_ns = 1000000000000;
    l = begin(role, mode);
    while (input.at < input.end) {
        uint32_t what = (uint32_t)fuzz_take(&input, 1), bytes = (uint32_t)fuzz_take(&input, 1);
        size_t left = (size_t)(input.end - input.at), count = bytes < left ? bytes : left;
        if (what % 8 == 0) say(l.stream, input.at, count), input.at += count;
        else if (what % 8 == 7) fuzz_clock_ns += (int64_t)bytes << 26; /* up to a quarter of a minute */
        else say_frame(l.stream, what % 8, what / 8 % 2 == 0 && what % 8 == FERRY__HELLO, &input, bytes);
        go_on(&l);
        while (recv(l.stream, ignored, sizeof ignored, MSG_DONTWAIT) > 0) {}
    }
    end(&l);
    return 0;
}
