/* Foreign bytes: greetings, frames and regions that no well-meaning peer would send. Each is refused in words; nobody crashes or hangs. */
#include "check.h"

#include "../../csrc/lane.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/un.h>

static struct sockaddr_un path_of(const char *directory, const char *name) {
    struct sockaddr_un address;
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    snprintf(address.sun_path, sizeof address.sun_path, "%.60s/%.30s", directory, name);
    return address;
}

static int dial(const char *directory, const char *name) {
    struct sockaddr_un address = path_of(directory, name);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    return fd;
}

static void send_frame(int fd, int type, const void *payload, uint32_t bytes, int pass) {
    char message[4096];
    ferry__frame frame = {FERRY__FRAME_MAGIC, (uint16_t)type, 0, bytes, 0};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = {message, sizeof frame + bytes};
    struct msghdr header;
    memcpy(message, &frame, sizeof frame);
    if (bytes > 0) memcpy(message + sizeof frame, payload, bytes);
    memset(&header, 0, sizeof header);
    header.msg_iov = &part, header.msg_iovlen = 1;
    if (pass >= 0) {
        struct cmsghdr *head = &control.align;
        memset(&control, 0, sizeof control);
        header.msg_control = control.bytes, header.msg_controllen = sizeof control.bytes;
        head->cmsg_level = SOL_SOCKET, head->cmsg_type = SCM_RIGHTS, head->cmsg_len = CMSG_LEN(sizeof pass);
        memcpy(CMSG_DATA(head), &pass, sizeof pass);
    }
    CHECK(sendmsg(fd, &header, MSG_NOSIGNAL) == (ssize_t)part.iov_len);
}

static ferry__hello good_hello(ferry__side side) {
    ferry__hello hello;
    memset(&hello, 0, sizeof hello);
    memcpy(hello.magic, FERRY__HELLO_MAGIC, 8);
    hello.endian = FERRY__ENDIAN, hello.abi_major = FERRY__ABI_MAJOR, hello.abi_minor = FERRY__ABI_MINOR;
    hello.side = side, hello.pid = (uint32_t)getpid(), hello.index = -1, hello.version = FERRY_VERSION;
    return hello;
}

/* The last refusal that comes before the end of the stream; the environment is ticked meanwhile. */
static void expect_refusal(ferry_env *env, int fd, int code, const char *part) {
    char bytes[8192];
    const ferry_turn *turn;
    size_t got = 0, at = 0;
    int refused = 0, turns;
    CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    for (turns = 0; turns < 10000; turns++) {
        ssize_t more = read(fd, bytes + got, sizeof bytes - got);
        if (more == 0 || (more < 0 && errno == ECONNRESET)) break;
        if (more > 0) got += (size_t)more;
        CHECK(ferry_env_wait(env, SECOND / 1000, &turn) >= 0);
    }
    CHECK(turns < 10000);
    while (at + sizeof(ferry__frame) <= got) {
        ferry__frame frame;
        ferry__refuse refuse;
        memcpy(&frame, bytes + at, sizeof frame);
        CHECK(frame.magic == FERRY__FRAME_MAGIC && at + sizeof frame + frame.bytes <= got);
        if (frame.type == FERRY__REFUSE) {
            char text[2048];
            memcpy(&refuse, bytes + at + sizeof frame, sizeof refuse);
            memcpy(text, bytes + at + sizeof frame + sizeof refuse, refuse.text_bytes);
            text[refuse.text_bytes] = 0;
            CHECK(refuse.code == code);
            CHECK_CONTAINS(text, part);
            refused = 1;
        }
        at += sizeof frame + frame.bytes;
    }
    CHECK(refused);
    close(fd);
}

static void drop_log(void *user, int level, const char *text) { (void)user, (void)level, (void)text; }

enum { ROWS = 7, MODES = 3, REALTIME = MODES }; /* ways of playing: the autoreset modes, and real time */

#define REALTIME_ROW UINT32_MAX /* one row, in real time */

static ferry_env *open_quiet_env_of(const char *address, uint32_t num_rows) {
    ferry_field fields[NUM_FIELDS];
    ferry_env_desc desc;
    ferry_env *env;
    ferry_why why;
    small_fields(fields);
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc, desc.address = address, desc.fields = fields, desc.num_fields = NUM_FIELDS, desc.log = drop_log;
    desc.num_rows = num_rows == REALTIME_ROW ? 1 : num_rows, desc.realtime = num_rows == REALTIME_ROW;
    CHECK(ferry_env_open(&desc, &env, &why) == 0);
    return env;
}

static ferry_env *open_quiet_env(const char *address) { return open_quiet_env_of(address, 1); }

static ferry_agent *open_quiet_agent_of(const char *address, uint32_t mode, ferry_bell *bell) {
    ferry_agent_desc desc;
    ferry_agent *agent;
    ferry_why why;
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc, desc.address = address, desc.log = drop_log, desc.bell = bell;
    desc.autoreset = mode != REALTIME ? mode : FERRY_AUTORESET_DISABLED, desc.realtime = mode == REALTIME;
    CHECK(ferry_agent_open(&desc, &agent, &why) == 0);
    return agent;
}

static ferry_agent *open_quiet_agent(const char *address) { return open_quiet_agent_of(address, FERRY_AUTORESET_DISABLED, NULL); }

static void test_strange_visitors_are_refused_and_the_next_is_served(const char *directory) {
    ferry_env *env = open_quiet_env("door");
    ferry_agent *agent = open_quiet_agent("door");
    const ferry_turn *turn, *answer;
    ferry__hello hello;
    int fd, got;

    fd = dial(directory, "door");
    CHECK(write(fd, "GET / HTTP/1.1\r\n\r\n", 18) == 18);
    expect_refusal(env, fd, FERRY_EPROTOCOL, "does not speak Ferry");

    fd = dial(directory, "door");
    send_frame(fd, FERRY__HELLO, "hello there, env!", 17, -1);
    expect_refusal(env, fd, FERRY_EPROTOCOL, "does not greet");

    fd = dial(directory, "door");
    hello = good_hello(FERRY__AGENT), hello.abi_major = 9, hello.version = 9 << 16;
    send_frame(fd, FERRY__HELLO, &hello, sizeof hello, -1);
    expect_refusal(env, fd, FERRY_EVERSION, "speaks Ferry's protocol 9.1 (library 9.0.0), the environment");

    fd = dial(directory, "door");
    hello = good_hello(FERRY__AGENT), hello.endian = 0x04030201;
    send_frame(fd, FERRY__HELLO, &hello, 16, -1);
    expect_refusal(env, fd, FERRY_EVERSION, "protocol");

    fd = dial(directory, "door");
    hello = good_hello((ferry__side)7);
    send_frame(fd, FERRY__HELLO, &hello, sizeof hello, -1);
    expect_refusal(env, fd, FERRY_EPROTOCOL, "neither environment nor agent");

    fd = dial(directory, "door");
    hello = good_hello(FERRY__ENV);
    send_frame(fd, FERRY__HELLO, &hello, sizeof hello, -1);
    expect_refusal(env, fd, FERRY_EROLE, "both sides");

    fd = dial(directory, "door");
    hello = good_hello(FERRY__AGENT), hello.max_bytes = 4096;
    send_frame(fd, FERRY__HELLO, &hello, sizeof hello, -1);
    expect_refusal(env, fd, FERRY_ETOOBIG, "max_bytes");

    fd = dial(directory, "door");
    send_frame(fd, FERRY__READY, NULL, 0, -1);
    expect_refusal(env, fd, FERRY_EPROTOCOL, "no place");

    fd = dial(directory, "door");
    hello = good_hello(FERRY__AGENT);
    send_frame(fd, FERRY__HELLO, &hello, sizeof hello, STDERR_FILENO);
    expect_refusal(env, fd, FERRY_EPROTOCOL, "not sealed memory");

    fd = dial(directory, "door");
    hello = good_hello(FERRY__AGENT), hello.autoreset = 3;
    send_frame(fd, FERRY__HELLO, &hello, sizeof hello, -1);
    expect_refusal(env, fd, FERRY_EPROTOCOL, "autoreset mode 3");

    fd = dial(directory, "door");
    hello = good_hello(FERRY__AGENT);
    send_frame(fd, FERRY__HELLO, &hello, sizeof hello, -1);
    send_frame(fd, FERRY__READY, NULL, 0, -1);
    send_frame(fd, 99, "?", 1, -1);
    for (got = 0; got == 0;) got = ferry_env_wait(env, SECOND / 100, &turn);
    CHECK(got == 1 && turn->kind == FERRY_LEFT && turn->reason == FERRY_EPROTOCOL);
    close(fd);

    {
        static const uint32_t frame[4] = {FERRY__FRAME_MAGIC, FERRY__HELLO, 0xFFFFFFFF, 0};
        fd = dial(directory, "door");
        CHECK(write(fd, frame, sizeof frame) == sizeof frame);
        expect_refusal(env, fd, FERRY_EPROTOCOL, "4294967295 bytes");
    }

    for (got = 0; got == 0;) {
        got = ferry_agent_connect(agent, SECOND / 1000);
        CHECK(ferry_env_wait(env, SECOND / 1000, &turn) == 0);
    }
    CHECK(got == 1);
    ferry_agent_turn(agent)->kind = FERRY_RESET;
    CHECK(ferry_agent_send(agent) == 0 && ferry_env_wait(env, SECOND, &turn) == 1);
    play_small_turn(env, turn);
    CHECK(ferry_agent_wait(agent, SECOND, &answer) == 1);
    ferry_agent_close(agent);
    ferry_env_close(env);
}

static int has_caller(int listener) {
    struct pollfd at = {listener, POLLIN, 0};
    return poll(&at, 1, 0) == 1;
}

/* As one that dies there does: whoever calls meets the next, who listens serves the next. */
static void test_who_says_goodbye_in_the_handshake_is_followed_by_the_next(const char *directory) {
    struct sockaddr_un address = path_of(directory, "door");
    ferry_agent *agent = open_quiet_agent("door");
    ferry_env *env;
    const ferry_turn *turn;
    ferry__hello hello = good_hello(FERRY__ENV);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), spoken, fd, got;
    CHECK(bind(listener, (struct sockaddr *)&address, sizeof address) == 0 && listen(listener, 1) == 0);
    for (spoken = 0; spoken < 2; spoken++) {
        while (ferry_agent_connect(agent, SECOND / 100) == 0 && !has_caller(listener)) continue;
        fd = accept(listener, NULL, NULL);
        if (spoken) send_frame(fd, FERRY__HELLO, &hello, sizeof hello, -1);
        send_frame(fd, FERRY__GOODBYE, NULL, 0, -1);
        CHECK(ferry_agent_connect(agent, SECOND / 100) == 0);
        close(fd);
    }
    close(listener);
    CHECK(unlink(address.sun_path) == 0);

    env = open_quiet_env("door");
    fd = dial(directory, "door");
    hello = good_hello(FERRY__AGENT);
    send_frame(fd, FERRY__HELLO, &hello, sizeof hello, -1);
    send_frame(fd, FERRY__GOODBYE, NULL, 0, -1);
    for (got = 0; got == 0;) {
        CHECK(ferry_env_wait(env, SECOND / 100, &turn) == 0);
        got = ferry_agent_connect(agent, SECOND / 100);
    }
    CHECK(got == 1);
    close(fd);
    ferry_agent_close(agent);
    ferry_env_close(env);
}

/* An agent that holds a region: shakes hands by hand and maps it. */
typedef struct rogue {
    int fd;
    char *base;
    size_t bytes;
    ferry__header header;
    ferry__group group;
} rogue;

/* Reads what has come, and the descriptor that came with it; -1: none yet. */
static int read_descriptor(int fd) {
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    char bytes[1024];
    struct iovec part = {bytes, sizeof bytes};
    struct msghdr message;
    int memory = -1;
    memset(&message, 0, sizeof message);
    message.msg_iov = &part, message.msg_iovlen = 1, message.msg_control = control.bytes, message.msg_controllen = sizeof control.bytes;
    if (recvmsg(fd, &message, MSG_DONTWAIT) > 0 && message.msg_controllen >= CMSG_LEN(sizeof memory))
        memcpy(&memory, CMSG_DATA(&control.align), sizeof memory);
    return memory;
}

static rogue shake_hands_as(ferry_env *env, const char *directory, uint32_t mode, int bell) {
    rogue r;
    ferry__hello hello = good_hello(FERRY__AGENT);
    const ferry_turn *turn;
    int memory = -1;
    r.fd = dial(directory, "door");
    hello.autoreset = mode != REALTIME ? mode : FERRY_AUTORESET_DISABLED, hello.realtime = mode == REALTIME;
    send_frame(r.fd, FERRY__HELLO, &hello, sizeof hello, bell);
    while (memory < 0) {
        CHECK(ferry_env_wait(env, SECOND / 1000, &turn) == 0);
        memory = read_descriptor(r.fd);
    }
    r.bytes = (size_t)lseek(memory, 0, SEEK_END);
    CHECK(ftruncate(memory, 4096) != 0 && ftruncate(memory, 1 << 30) != 0); /* its size is sealed */
    r.base = (char *)mmap(NULL, r.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    CHECK(r.base != MAP_FAILED);
    send_frame(r.fd, FERRY__READY, NULL, 0, -1);
    CHECK(ferry_env_wait(env, SECOND / 100, &turn) == 0);
    CHECK(mmap(NULL, r.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0) == MAP_FAILED); /* and so is its content, for latecomers */
    close(memory);
    memcpy(&r.header, r.base, sizeof r.header);
    memcpy(&r.group, r.base + r.header.groups_offset, sizeof r.group);
    return r;
}

static rogue shake_hands(ferry_env *env, const char *directory) { return shake_hands_as(env, directory, FERRY_AUTORESET_DISABLED, -1); }

static void part(rogue *r) {
    munmap(r->base, r->bytes);
    close(r->fd);
}

static ferry__slot *slot_of(rogue *r) { return (ferry__slot *)(void *)(r->base + r->header.agent_slot); }

/* Publishes what is in the slot and expects the environment to drop the connection for that reason. */
static void expect_dropped(ferry_env *env, rogue *r, uint32_t seq, int reason) {
    const ferry_turn *turn;
    int got;
    __atomic_store_n(&slot_of(r)->seq, seq, __ATOMIC_SEQ_CST);
    got = ferry_env_wait(env, 5 * SECOND, &turn);
    CHECK(got == 1 && turn->kind == FERRY_LEFT && turn->reason == reason);
    part(r);
}

static void test_a_scribbling_agent_is_dropped(const char *directory) {
    ferry_env *env = open_quiet_env("door");
    const ferry_turn *turn;
    unsigned seed;
    rogue r;
    uint32_t first = FERRY__SEQ_START + 1;

    r = shake_hands(env, directory);
    expect_dropped(env, &r, first + 1, FERRY_ECORRUPT); /* a turn skipped */
    r = shake_hands(env, directory);
    slot_of(&r)->kind = 77, slot_of(&r)->number = 1, slot_of(&r)->num_rows = 1;
    expect_dropped(env, &r, first, FERRY_ECORRUPT); /* an unknown kind */
    r = shake_hands(env, directory);
    slot_of(&r)->kind = FERRY_RESET, slot_of(&r)->number = 1, slot_of(&r)->num_rows = 1000000;
    expect_dropped(env, &r, first, FERRY_ECORRUPT); /* rows that are not there */
    r = shake_hands(env, directory);
    slot_of(&r)->kind = FERRY_RESET, slot_of(&r)->number = 1, slot_of(&r)->num_rows = 1;
    slot_of(&r)->blob_format = FERRY_JSON, slot_of(&r)->blob_bytes = UINT64_MAX;
    expect_dropped(env, &r, first, FERRY_ECORRUPT); /* a blob larger than its room */
    r = shake_hands(env, directory);
    slot_of(&r)->kind = FERRY_RESET, slot_of(&r)->number = 1, slot_of(&r)->num_rows = 1;
    slot_of(&r)->blob_format = FERRY_JSON, slot_of(&r)->blob_where = FERRY__WHERE_DESCRIPTOR, slot_of(&r)->blob_bytes = 10;
    expect_dropped(env, &r, first, FERRY_EPROTOCOL); /* a large blob that was never sent */
    r = shake_hands(env, directory);
    {
        ferry__welcome blob = {10};
        int memory = memfd_create("loose", 0);
        CHECK(ftruncate(memory, 10) == 0);
        send_frame(r.fd, FERRY__BLOB, &blob, sizeof blob, memory);
        close(memory);
    }
    slot_of(&r)->kind = FERRY_RESET, slot_of(&r)->number = 1, slot_of(&r)->num_rows = 1;
    slot_of(&r)->blob_format = FERRY_JSON, slot_of(&r)->blob_where = FERRY__WHERE_DESCRIPTOR, slot_of(&r)->blob_bytes = 10;
    expect_dropped(env, &r, first, FERRY_EPROTOCOL); /* a large blob that is not sealed */

    /* Everything that may be written, at random. Whatever comes of it, the environment's own data stay its own. */
    for (seed = 0; seed < 200; seed++) {
        size_t i, part_bytes;
        int got, turns;
        srand(seed);
        r = shake_hands(env, directory);
        part_bytes = (size_t)(r.bytes < 8192 ? r.bytes : 8192);
        (void)part_bytes;
        for (i = 0; i < r.header.agent_bytes; i++) r.base[r.header.agent_offset + i] = (char)rand();
        if (seed % 2) slot_of(&r)->kind = FERRY_RESET, slot_of(&r)->number = 1, slot_of(&r)->num_rows = 1, slot_of(&r)->blob_format %= 4;
        memset(r.base, 0xFF, 4096); /* the header: nobody reads it again */
        memset(r.base + r.header.env_offset, rand(), r.header.env_bytes);
        __atomic_store_n(&slot_of(&r)->seq, seed % 4 < 3 ? first : (uint32_t)rand(), __ATOMIC_SEQ_CST);
        close(r.fd);
        for (turns = 0, got = 1; turns < 3 && got == 1; turns++) {
            got = ferry_env_wait(env, 5 * SECOND, &turn);
            if (got == 1 && turn->kind == FERRY_LEFT) break;
            if (got == 1) play_small_turn(env, turn);
        }
        CHECK(got == 1 && turn->kind == FERRY_LEFT);
        munmap(r.base, r.bytes);
    }
    ferry_env_close(env);
}

/* Lays a region out as an env does for an agent that wants that mode: a copy of it, to be freed. The connection is given up. */
static char *copy_region(ferry_env *env, const char *directory, uint32_t autoreset, rogue *r) {
    const ferry_turn *turn;
    char *good;
    *r = shake_hands_as(env, directory, autoreset, -1);
    good = (char *)malloc(r->bytes);
    memcpy(good, r->base, r->bytes);
    part(r);
    CHECK(ferry_env_wait(env, 5 * SECOND, &turn) == 1 && turn->kind == FERRY_LEFT);
    return good;
}

/* A turn of seven rows: each row's observation says which it is. Episodes end now and then, and infos come in both formats of place. */
static void play_rows_turn(ferry_env *env, const ferry_turn *turn) {
    static const char info[] = "{\"1\": {\"said\": 1}}";
    static char large[40000];
    ferry_blob blob = {info, sizeof info - 1, FERRY_JSON, 0};
    uint32_t i, before = 0;
    CHECK(turn->num_rows >= 1 && turn->num_rows <= ROWS);
    for (i = 0; i < turn->num_rows; i++) {
        uint32_t row = turn->rows[i];
        double *observation = (double *)turn->data[OBSERVATION] + 3 * row;
        CHECK(row < ROWS && (i == 0 || row > before));
        if (turn->kind == FERRY_STEP) {
            int64_t action = ((const int64_t *)turn->data[ACTION])[row];
            CHECK(action >= 10 && action < 15);
            turn->terminated[row] = (uint8_t)(rand() % 4), turn->truncated[row] = (uint8_t)(rand() % 3);
        }
        observation[0] = row, observation[1] = (double)turn->seed[row];
        if (rand() % 2) ((float *)turn->data[SCORE])[row] = 1, turn->present[SCORE][row] = 1;
        before = row;
    }
    if (rand() % 3 == 0) {
        if (rand() % 2) blob.data = large, blob.size_bytes = sizeof large;
        CHECK(ferry_env_blob(env, &blob) == 0);
    }
    if (rand() % 8 == 0) CHECK(ferry_env_fail(env, "so it is") == 0);
    else CHECK(ferry_env_reply(env) == 0);
}

/* A rogue's list of rows; its turn is complete but for the sequence word. */
static uint32_t *begin_turn(rogue *r, uint32_t kind, uint64_t number, uint32_t num_rows) {
    ferry__slot *slot = slot_of(r);
    slot->kind = (uint16_t)kind, slot->number = number, slot->num_rows = num_rows;
    slot->blob_format = FERRY_NONE;
    return (uint32_t *)(void *)((char *)slot + r->group.rows_offset);
}

static void test_lists_of_rows_are_checked(const char *directory) {
    static const struct {
        uint32_t num_rows, list[4];
    } bad[] = {{0, {0, 0, 0, 0}},          {ROWS + 1, {0, 1, 2, 3}},   {UINT32_C(1) << 31, {0, 1, 2, 3}},
               {UINT32_MAX, {0, 1, 2, 3}}, {2, {1, 1, 0, 0}},          {3, {0, 2, 1, 0}},
               {1, {ROWS, 0, 0, 0}},       {2, {0, UINT32_MAX, 0, 0}}, {4, {3, 4, 5, UINT32_C(1) << 30}}};
    ferry_env *env = open_quiet_env_of("door", ROWS);
    uint32_t first = FERRY__SEQ_START + 1, mode, kind;
    size_t i;
    for (mode = 0; mode < MODES; mode++)
        for (kind = FERRY_STEP; kind <= FERRY_RESET; kind++)
            for (i = 0; i < sizeof bad / sizeof *bad; i++) {
                rogue r = shake_hands_as(env, directory, mode, -1);
                memcpy(begin_turn(&r, kind, 1, bad[i].num_rows), bad[i].list, sizeof bad[i].list);
                expect_dropped(env, &r, first, FERRY_ECORRUPT);
            }
    for (mode = 0; mode < MODES; mode++) { /* two blobs joined are an environment's affair */
        rogue r = shake_hands_as(env, directory, mode, -1);
        begin_turn(&r, FERRY_RESET, 1, ROWS);
        slot_of(&r)->blob_format = FERRY__JOINED, slot_of(&r)->blob_where = FERRY__WHERE_SLOT, slot_of(&r)->blob_bytes = 16;
        expect_dropped(env, &r, first, FERRY_ECORRUPT);
    }
    ferry_env_close(env);
}

/* Turns whose heads are right, and all else at random: actions, seeds, lists, blobs. */
static void test_an_agent_may_say_anything_of_rows(const char *directory) {
    ferry_env *env = open_quiet_env_of("door", ROWS);
    unsigned seed, played = 0;
    for (seed = 0; seed < 300; seed++) {
        const ferry_turn *turn = NULL;
        uint64_t number;
        int over = 0;
        rogue r;
        srand(seed);
        r = shake_hands_as(env, directory, seed % MODES, -1);
        for (number = 1; number < 40 && !over; number++) {
            uint32_t count = (uint32_t)rand() % ROWS + 1, k, *list;
            uint64_t i;
            for (i = r.header.agent_slot + sizeof(ferry__slot); rand() % 4 == 0 && i < r.header.agent_slot + 4096; i++)
                r.base[i] = (char)rand();
            list = begin_turn(&r, number == 1 || rand() % 4 == 0 ? FERRY_RESET : FERRY_STEP, number, number == 1 ? ROWS : count);
            for (k = 0; rand() % 40 != 0 && k < count; k++) list[k] = (uint32_t)(k + (k >= count / 2 ? ROWS - count : 0));
            for (k = 0; rand() % 8 != 0 && k < r.header.num_fields; k++) {
                ferry__entry entry;
                uint32_t row;
                memcpy(&entry, r.base + r.header.fields_offset + k * sizeof entry, sizeof entry);
                if (entry.role != FERRY_ACTION) continue;
                for (row = 0; row < ROWS; row++) ((int64_t *)(void *)((char *)slot_of(&r) + entry.offset))[row] = 10 + rand() % 5;
            }
            if (rand() % 6 == 0) {
                slot_of(&r)->blob_format = (uint8_t)(rand() % 5), slot_of(&r)->blob_where = FERRY__WHERE_SLOT;
                slot_of(&r)->blob_bytes = (uint64_t)rand() % 20000; /* there is room for 16384 */
            }
            __atomic_store_n(&slot_of(&r)->seq, FERRY__SEQ_START + (uint32_t)number, __ATOMIC_SEQ_CST);
            for (;;) { /* a turn may have two parts, or be answered by the library alone */
                int got = ferry_env_wait(env, 0, &turn);
                if (got == 0) break;
                CHECK(got == 1);
                over = turn->kind == FERRY_LEFT;
                if (over) break;
                play_rows_turn(env, turn), played++;
                memset(r.base + r.header.env_offset + 2048, rand(), (size_t)r.header.env_bytes - 2048); /* and scribbles over the answer */
            }
        }
        close(r.fd);
        while (!over) over = ferry_env_wait(env, 5 * SECOND, &turn) == 1 && turn->kind == FERRY_LEFT;
        munmap(r.base, r.bytes);
    }
    CHECK(played > 2000);
    ferry_env_close(env);
}

/* An agent's bell is its own page, and it may write there what it likes. */
static void test_a_bell_may_ring_by_itself(const char *directory) {
    const int sealed = F_SEAL_SHRINK | F_SEAL_GROW;
    ferry_env *env = open_quiet_env_of("door", ROWS);
    const ferry_turn *turn;
    static const char zeros[8192];
    uint64_t number;
    ferry__bell_page *page;
    int bell = memfd_create("bell", MFD_ALLOW_SEALING), fd;
    ferry__hello hello = good_hello(FERRY__AGENT);
    rogue r;
    CHECK(write(bell, zeros, 4096) == 4096 && fcntl(bell, F_ADD_SEALS, sealed) == 0);
    page = (ferry__bell_page *)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, bell, 0);
    r = shake_hands_as(env, directory, FERRY_AUTORESET_SAME_STEP, bell);
    for (number = 1; number < 1000; number++) {
        int i;
        for (i = 0; i < 4096; i++) ((char *)page)[i] = (char)rand();
        begin_turn(&r, FERRY_RESET, number, ROWS);
        __atomic_store_n(&slot_of(&r)->seq, FERRY__SEQ_START + (uint32_t)number, __ATOMIC_SEQ_CST);
        CHECK(ferry_env_wait(env, SECOND, &turn) == 1 && turn->kind == FERRY_RESET);
        CHECK(ferry_env_reply(env) == 0);
    }
    part(&r);
    CHECK(ferry_env_wait(env, 5 * SECOND, &turn) == 1 && turn->kind == FERRY_LEFT);
    munmap(page, 4096), close(bell);

    bell = memfd_create("bell", MFD_ALLOW_SEALING); /* of another size */
    CHECK(write(bell, zeros, 8192) == 8192 && fcntl(bell, F_ADD_SEALS, sealed) == 0);
    fd = dial(directory, "door");
    send_frame(fd, FERRY__HELLO, &hello, sizeof hello, bell);
    expect_refusal(env, fd, FERRY_EPROTOCOL, "8192 bytes where it said 4096");
    close(bell);
    bell = memfd_create("bell", MFD_ALLOW_SEALING); /* that could be taken away */
    CHECK(write(bell, zeros, 4096) == 4096);
    fd = dial(directory, "door");
    send_frame(fd, FERRY__HELLO, &hello, sizeof hello, bell);
    expect_refusal(env, fd, FERRY_EPROTOCOL, "not sealed");
    close(bell);
    ferry_env_close(env);
}

/* ---- Foreign regions, as agents meet them ---- */

static void finish_handshake(int fd, int memory, uint64_t bytes) {
    ferry__hello hello = good_hello(FERRY__ENV);
    ferry__welcome welcome = {bytes};
    send_frame(fd, FERRY__HELLO, &hello, sizeof hello, -1);
    send_frame(fd, FERRY__WELCOME, &welcome, sizeof welcome, memory);
}

static int sealed_memory(const char *content, size_t bytes, int seals) {
    int memory = memfd_create("foreign", MFD_ALLOW_SEALING);
    CHECK(memory >= 0 && write(memory, content, bytes) == (ssize_t)bytes);
    CHECK(fcntl(memory, F_ADD_SEALS, seals) == 0);
    return memory;
}

/* Reads what an answer points at: the first and last byte of each row of each field. */
static void look_at(const ferry_turn *answer, uint32_t num_rows) {
    volatile char sum = 0;
    uint32_t i, row;
    for (i = 0; i < answer->num_fields; i++)
        for (row = 0; row < num_rows; row++) {
            uint64_t at = answer->stride[i] * row, last = at + answer->stride[i] - 1;
            if (answer->stride[i] > 0) sum = (char)(sum + ((char *)answer->data[i])[at] + ((char *)answer->data[i])[last]);
            if (answer->stride[i] > 0 && answer->final_data[i] != NULL)
                sum = (char)(sum + ((char *)answer->final_data[i])[at] + ((char *)answer->final_data[i])[last]);
            if (answer->present[i] != NULL) sum = (char)(sum + answer->present[i][row]);
            if (answer->final_present[i] != NULL) sum = (char)(sum + answer->final_present[i][row]);
        }
    for (row = 0; row < num_rows; row++)
        sum = (char)(sum + (int)(answer->reward[row] > 0) + answer->terminated[row] + answer->truncated[row] + answer->status[row] +
                     (char)answer->episode[row]);
    for (i = 0; i < answer->blob.size_bytes; i++) sum = (char)(sum + ((const char *)answer->blob.data)[i]);
    for (i = 0; i < answer->step_blob.size_bytes; i++) sum = (char)(sum + ((const char *)answer->step_blob.data)[i]);
}

/* Offers a region to an agent over a pair; what ferry_agent_connect said. */
static int offer_to(uint32_t autoreset, int memory, uint64_t bytes, ferry_why *why) {
    int pair[2], got;
    char address[32];
    ferry_agent *agent;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    snprintf(address, sizeof address, "fd:%d", pair[0]);
    agent = open_quiet_agent_of(address, autoreset, NULL);
    finish_handshake(pair[1], memory, bytes);
    got = ferry_agent_connect(agent, 5 * SECOND);
    if (got == 1) { /* it looks sound; then using it must be sound too */
        const ferry_turn *answer;
        ferry_turn *turn = ferry_agent_turn(agent);
        uint32_t num_rows = ferry_agent_env(agent)->num_rows, last = num_rows - 1;
        if (turn != NULL) {
            look_at(turn, num_rows);
            turn->seed[last] = 5;
            if (num_rows > 1) turn->rows = &last, turn->num_rows = 1;
            turn->kind = FERRY_RESET;
            CHECK(ferry_agent_send(agent) == 0);
            (void)ferry_agent_wait(agent, 0, &answer);
        }
    }
    ferry_agent_why(agent, why);
    ferry_agent_close(agent);
    close(pair[1]);
    return got;
}

static int offer(int memory, uint64_t bytes, ferry_why *why) { return offer_to(FERRY_AUTORESET_DISABLED, memory, bytes, why); }

static void test_foreign_regions_are_checked(const char *directory) {
    const int sealed = F_SEAL_SHRINK | F_SEAL_GROW;
    ferry_env *env = open_quiet_env("door");
    rogue r = shake_hands(env, directory);
    char *good = (char *)malloc(r.bytes), *bad = (char *)malloc(r.bytes);
    size_t i, end;
    unsigned seed;
    int memory, accepted = 0, refused = 0;
    ferry_why why;
    memcpy(good, r.base, r.bytes);
    end = (size_t)(r.header.pool_offset + r.header.pool_bytes);
    part(&r);

    memory = sealed_memory(good, r.bytes, sealed);
    CHECK(offer(memory, r.bytes, &why) == 1);
    CHECK(offer(memory, r.bytes + 4096, &why) == FERRY_EPROTOCOL);
    CHECK(offer(memory, 0, &why) == FERRY_EPROTOCOL);
    CHECK(offer(memory, UINT64_MAX - 4095, &why) == FERRY_ETOOBIG);
    CHECK(offer(-1, r.bytes, &why) == FERRY_EPROTOCOL);
    CHECK(offer(STDERR_FILENO, r.bytes, &why) == FERRY_EPROTOCOL);
    close(memory);
    memory = sealed_memory(good, r.bytes, 0);
    CHECK(offer(memory, r.bytes, &why) == FERRY_EPROTOCOL);
    CHECK_CONTAINS(why.text, "sealed");
    close(memory);

    /* Each byte of the immutable start set to each of a few values; then several at random. */
    for (i = 0; i < end; i++) {
        static const unsigned char values[] = {0, 1, 0x7F, 0x80, 0xFF};
        memcpy(bad, good, r.bytes);
        bad[i] = (char)values[(i * 7 + i / 8) % sizeof values];
        memory = sealed_memory(bad, r.bytes, sealed);
        if (offer(memory, r.bytes, &why) == 1) accepted++;
        else refused++;
        close(memory);
    }
    for (seed = 0; seed < 1000; seed++) {
        srand(seed);
        memcpy(bad, good, r.bytes);
        for (i = 0; i < 1 + seed % 5; i++) {
            size_t at = (size_t)rand() % (end / 8) * 8;
            uint64_t value = (uint64_t)rand() << (rand() % 40);
            if (rand() % 3 == 0) value = ~value;
            memcpy(bad + at, &value, rand() % 2 ? 8 : 4);
        }
        memory = sealed_memory(bad, r.bytes, sealed);
        if (offer(memory, r.bytes, &why) == 1) accepted++;
        else {
            refused++;
            CHECK(why.code < 0 && why.text[0] != 0);
        }
        close(memory);
    }
    CHECK(refused > 1000 && accepted > 0);

    memcpy(bad, good, r.bytes);
    ((ferry__header *)(void *)bad)->incompat = FERRY__FEATURE_GROUPS;
    memory = sealed_memory(bad, r.bytes, sealed);
    CHECK(offer(memory, r.bytes, &why) == FERRY_EVERSION);
    CHECK_CONTAINS(why.text, "features 0x2");
    close(memory);
    free(good), free(bad);
    ferry_env_close(env);
}

/* What an agent that wants a mode says to a region in which some bytes are others. */
static int offer_changed(uint32_t autoreset, const rogue *r, const char *good, uint64_t at, const void *value, size_t bytes,
                         ferry_why *why) {
    char *bad = (char *)malloc(r->bytes);
    int memory, got;
    memcpy(bad, good, r->bytes);
    memcpy(bad + at, value, bytes);
    memory = sealed_memory(bad, r->bytes, F_SEAL_SHRINK | F_SEAL_GROW);
    got = offer_to(autoreset, memory, r->bytes, why);
    close(memory);
    free(bad);
    return got;
}

static void check_changed(uint32_t autoreset, const rogue *r, const char *good, uint64_t at, const void *value, size_t bytes, int code,
                          const char *text) {
    ferry_why why;
    CHECK(offer_changed(autoreset, r, good, at, value, bytes, &why) == code);
    CHECK_CONTAINS(why.text, text);
}

#define CHANGED(type, offset, member, kind, value, code, text)                                                                             \
    do {                                                                                                                                   \
        kind changed = (value);                                                                                                            \
        check_changed(mode, &r, good, (offset) + offsetof(type, member), &changed, sizeof changed, code, text);                            \
    } while (0)

static void test_foreign_regions_of_rows_are_checked(const char *directory) {
    ferry_env *env = open_quiet_env_of("door", ROWS);
    uint32_t mode;
    for (mode = 0; mode < MODES; mode++) {
        static const char room[] = "no room for the end of an episode";
        rogue r;
        char *good = copy_region(env, directory, mode, &r);
        uint64_t group = r.header.groups_offset, seen = r.header.fields_offset + OBSERVATION * sizeof(ferry__entry);
        uint64_t action = r.header.fields_offset + ACTION * sizeof(ferry__entry),
                 score = r.header.fields_offset + SCORE * sizeof(ferry__entry);
        uint64_t end = r.header.env_offset + r.header.env_bytes - r.header.env_slot[1], at;
        int same = mode == FERRY_AUTORESET_SAME_STEP, accepted = 0, refused = 0;
        unsigned seed;
        ferry_why why;
        CHECK(offer_changed(mode, &r, good, 0, good, 0, &why) == 1);

        CHANGED(ferry__group, group, num_rows, uint32_t, 0, FERRY_ESPEC, "0 rows");
        CHANGED(ferry__group, group, num_rows, uint32_t, FERRY_MAX_ROWS + 1, FERRY_ESPEC, "65537 rows");
        CHANGED(ferry__group, group, num_rows, uint32_t, UINT32_C(1) << 31, FERRY_ESPEC, "2147483648 rows");
        CHANGED(ferry__group, group, num_rows, uint32_t, FERRY_MAX_ROWS, FERRY_ESPEC, "does not lie inside");
        CHANGED(ferry__group, group, flags, uint32_t, mode | 8, FERRY_ESPEC, "flags of the group");
        CHANGED(ferry__group, group, flags, uint32_t, mode | UINT32_C(0x80000000), FERRY_ESPEC, "flags of the group");
        CHANGED(ferry__group, group, flags, uint32_t, 3, FERRY_ESPEC, "flags of the group");
        if (!same) CHANGED(ferry__group, group, flags, uint32_t, 1 - mode, FERRY_EPROTOCOL, "another way of playing");
        CHANGED(ferry__group, group, rows_offset, uint64_t, r.header.agent_bytes, FERRY_ESPEC, "column");
        CHANGED(ferry__group, group, rows_offset, uint64_t, 33, FERRY_ESPEC, "column");
        CHANGED(ferry__group, group, seed_offset, uint64_t, UINT64_MAX - 7, FERRY_ESPEC, "column");
        CHANGED(ferry__group, group, reward_offset, uint64_t, end - 8 * ROWS + 8, FERRY_ESPEC, "column");
        CHANGED(ferry__group, group, status_offset, uint64_t, end - ROWS + 1, FERRY_ESPEC, "column");
        CHANGED(ferry__entry, seen, stride, uint64_t, UINT64_MAX / ROWS, FERRY_ESPEC, "does not lie inside its slot");
        CHANGED(ferry__entry, seen, offset, uint64_t, end - 24 * (ROWS - 1), FERRY_ESPEC, "does not lie inside its slot");
        CHANGED(ferry__entry, score, present_offset, uint64_t, end - ROWS + 1, FERRY_ESPEC, "no presence");
        CHANGED(ferry__entry, action, final_offset, uint64_t, 4096, FERRY_ESPEC, room);
        CHANGED(ferry__entry, seen, final_present_offset, uint64_t, 4096, FERRY_ESPEC, room);
        if (!same) CHANGED(ferry__entry, seen, final_offset, uint64_t, 4096, FERRY_ESPEC, room);
        if (!same) CHANGED(ferry__entry, score, final_present_offset, uint64_t, 4096, FERRY_ESPEC, room);
        if (same) {
            CHANGED(ferry__entry, seen, final_offset, uint64_t, 0, FERRY_ESPEC, room);
            CHANGED(ferry__entry, seen, final_offset, uint64_t, 4100, FERRY_ESPEC, room);
            CHANGED(ferry__entry, seen, final_offset, uint64_t, end - 24 * (ROWS - 1), FERRY_ESPEC, room);
            CHANGED(ferry__entry, seen, final_offset, uint64_t, r.bytes, FERRY_ESPEC, room);
            CHANGED(ferry__entry, seen, final_offset, uint64_t, UINT64_MAX - 7, FERRY_ESPEC, room);
            CHANGED(ferry__entry, score, final_present_offset, uint64_t, 0, FERRY_ESPEC, room);
            CHANGED(ferry__entry, score, final_present_offset, uint64_t, end - ROWS + 1, FERRY_ESPEC, room);
            CHANGED(ferry__entry, score, final_present_offset, uint64_t, UINT64_MAX, FERRY_ESPEC, room);
        }
        /* Words of group and fields at random. */
        for (seed = 0; seed < 700; seed++) {
            uint64_t value;
            srand(seed);
            at = group + (uint64_t)rand() % ((r.header.pool_offset - group) / 4) * 4;
            value = (uint64_t)rand() >> (rand() % 31);
            if (rand() % 4 == 0) value = ~value;
            if (rand() % 2) value = value / 8 * 8;
            if (offer_changed(mode, &r, good, at, &value, rand() % 2 ? 8 : 4, &why) == 1) accepted++;
            else refused++;
        }
        CHECK(accepted > 0 && refused > 300);
        free(good);
    }
    ferry_env_close(env);
}

/* ---- Environments that lie in their answers ---- */

/* An environment that holds a region which it made by itself, and an agent that plays with it. */
typedef struct liar {
    int fd, bell;
    char *base;
    size_t bytes;
    ferry__header header;
    ferry__group group;
    ferry_agent *agent;
} liar;

static liar begin_lying(const char *good, size_t bytes, uint32_t autoreset, ferry_bell *bell) {
    liar l;
    int pair[2], memory;
    char address[32];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    snprintf(address, sizeof address, "fd:%d", pair[0]);
    l.agent = open_quiet_agent_of(address, autoreset, bell);
    l.fd = pair[1], l.bytes = bytes, l.bell = -1;
    memory = sealed_memory(good, bytes, F_SEAL_SHRINK | F_SEAL_GROW);
    l.base = (char *)mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    CHECK(l.base != MAP_FAILED);
    finish_handshake(l.fd, memory, bytes);
    CHECK(ferry_agent_connect(l.agent, 5 * SECOND) == 1);
    if (bell != NULL) l.bell = read_descriptor(l.fd);
    close(memory);
    memcpy(&l.header, l.base, sizeof l.header);
    memcpy(&l.group, l.base + l.header.groups_offset, sizeof l.group);
    return l;
}

static void stop_lying(liar *l) {
    ferry_agent_close(l->agent);
    munmap(l->base, l->bytes);
    close(l->fd);
    if (l->bell >= 0) close(l->bell);
}

static void send_reset(ferry_agent *agent) {
    ferry_turn *turn = ferry_agent_turn(agent);
    CHECK(turn != NULL);
    turn->kind = FERRY_RESET;
    CHECK(ferry_agent_send(agent) == 0);
}

/* Answers the first turn with that blob, and says what the agent made of it. */
static int answer_with(liar *l, int format, int where, const void *blob, uint64_t bytes, uint64_t said, const ferry_turn **answer) {
    ferry__slot *slot = (ferry__slot *)(void *)(l->base + l->header.env_slot[0]);
    send_reset(l->agent);
    slot->kind = FERRY_RESET, slot->number = 1;
    slot->blob_format = (uint8_t)format, slot->blob_where = (uint8_t)where, slot->blob_bytes = said;
    if (where == FERRY__WHERE_SLOT) memcpy((char *)slot + l->header.env_blob, blob, bytes);
    else {
        ferry__welcome welcome = {said};
        int memory = sealed_memory((const char *)blob, bytes, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
        send_frame(l->fd, FERRY__BLOB, &welcome, sizeof welcome, memory);
        close(memory);
    }
    __atomic_store_n(&slot->seq, FERRY__SEQ_START + 1, __ATOMIC_SEQ_CST);
    return ferry_agent_wait(l->agent, 5 * SECOND, answer);
}

static void test_joined_blobs_that_lie(const char *directory) {
    static const struct {
        ferry__joined joined;
        uint64_t bytes; /* of all */
        int ok;
    } cases[] = {{{FERRY_JSON, FERRY_TEXT, 4}, 24, 1},
                 {{FERRY_JSON, FERRY_TEXT, 8}, 24, 1},
                 {{FERRY_JSON, FERRY_NONE, 8}, 24, 1},
                 {{FERRY_NONE, FERRY_NONE, 0}, 16, 1},
                 {{FERRY_JSON, FERRY_TEXT, 9}, 24, 0},
                 {{FERRY_JSON, FERRY_TEXT, UINT64_MAX}, 24, 0},
                 {{FERRY_JSON, FERRY_TEXT, UINT64_MAX - 15}, 24, 0},
                 {{FERRY_JSON, FERRY_TEXT, 1}, 16, 0},
                 {{FERRY_JSON, FERRY_TEXT, 0}, 15, 0},
                 {{FERRY_JSON, FERRY_TEXT, 0}, 0, 0},
                 {{FERRY__JOINED, FERRY_TEXT, 4}, 24, 0},
                 {{FERRY_JSON, FERRY__JOINED, 4}, 24, 0},
                 {{UINT32_MAX, FERRY_TEXT, 4}, 24, 0},
                 {{FERRY_JSON, 256, 4}, 24, 0}};
    ferry_env *env = open_quiet_env_of("door", ROWS);
    uint32_t mode;
    int where;
    for (mode = 0; mode < MODES; mode++) {
        rogue r;
        char *good = copy_region(env, directory, mode, &r);
        size_t i;
        unsigned seed;
        for (where = 0; where < 2; where++) {
            for (i = 0; i < sizeof cases / sizeof *cases; i++) {
                liar l = begin_lying(good, r.bytes, mode, NULL);
                const ferry_turn *answer;
                char blob[64] = {0};
                int got;
                memcpy(blob, &cases[i].joined, sizeof cases[i].joined);
                got = answer_with(&l, FERRY__JOINED, where, blob, cases[i].bytes, cases[i].bytes, &answer);
                CHECK(got == (cases[i].ok ? 1 : FERRY_ECORRUPT));
                if (got == 1) {
                    look_at(answer, ROWS);
                    CHECK(answer->step_blob.size_bytes == cases[i].joined.first_bytes);
                    CHECK(answer->step_blob.format == cases[i].joined.first_format && answer->blob.format == cases[i].joined.second_format);
                }
                stop_lying(&l);
            }
            for (seed = 0; seed < 60; seed++) {
                liar l = begin_lying(good, r.bytes, mode, NULL);
                const ferry_turn *answer;
                char blob[64];
                uint64_t bytes;
                int got;
                srand(seed);
                bytes = (uint64_t)rand() % sizeof blob + (where == FERRY__WHERE_DESCRIPTOR);
                for (i = 0; i < sizeof blob; i++) blob[i] = (char)(rand() % 3 ? rand() % 6 : rand());
                if (rand() % 2) memset(blob + 1, 0, 3), memset(blob + 5, 0, 3), memset(blob + 9, 0, 7);
                got = answer_with(&l, seed % 8, where, blob, bytes, rand() % 6 ? bytes : bytes + 20000, &answer);
                if (got == 1) look_at(answer, ROWS);
                else CHECK(got == FERRY_ECORRUPT || got == FERRY_EPROTOCOL);
                stop_lying(&l);
            }
        }
        free(good);
    }
    ferry_env_close(env);
}

static void expect_damage(liar *l, int code, int got, const char *part) {
    ferry_why why;
    CHECK(got == code);
    ferry_agent_why(l->agent, &why);
    CHECK(why.code == code);
    CHECK_CONTAINS(why.text, part);
    stop_lying(l);
}

static void test_answers_to_another_turn(const char *directory) {
    static const struct {
        uint64_t number;
        uint16_t kind;
    } cases[] = {{0, FERRY_RESET}, {2, FERRY_RESET}, {1, FERRY_STEP}, {1, FERRY_LEFT}, {UINT64_MAX, 99}};
    ferry_env *env = open_quiet_env("door");
    const ferry_turn *answer;
    rogue r;
    char *good = copy_region(env, directory, FERRY_AUTORESET_DISABLED, &r);
    liar l;
    size_t i;
    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        ferry__slot *slot;
        l = begin_lying(good, r.bytes, FERRY_AUTORESET_DISABLED, NULL);
        slot = (ferry__slot *)(void *)(l.base + l.header.env_slot[0]);
        send_reset(l.agent);
        slot->kind = cases[i].kind, slot->number = cases[i].number;
        __atomic_store_n(&slot->seq, FERRY__SEQ_START + 1, __ATOMIC_SEQ_CST);
        expect_damage(&l, FERRY_ECORRUPT, ferry_agent_wait(l.agent, 5 * SECOND, &answer), "the answer to turn 1 says it is number");
    }
    l = begin_lying(good, r.bytes, FERRY_AUTORESET_DISABLED, NULL);
    expect_damage(&l, FERRY_EPROTOCOL, answer_with(&l, FERRY_JSON, FERRY__WHERE_DESCRIPTOR, "{}", 2, FERRY_MAX_BLOB + 1, &answer),
                  "larger than any may be");
    free(good);
    ferry_env_close(env);
}

/* What an agent makes of a refusal with this code, of a text that is said to have so many bytes. */
static void expect_read(int32_t code, uint32_t text_bytes, uint32_t frame_bytes, int expected, const char *part) {
    char payload[64] = {0}, address[32];
    ferry__refuse refuse;
    ferry_agent *agent;
    ferry_why why;
    int pair[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    snprintf(address, sizeof address, "fd:%d", pair[0]);
    agent = open_quiet_agent(address);
    refuse.code = code, refuse.text_bytes = text_bytes;
    memcpy(payload, &refuse, sizeof refuse);
    memcpy(payload + sizeof refuse, "no\x1b[1m!\x7f\n", 9);
    send_frame(pair[1], FERRY__REFUSE, payload, frame_bytes, -1);
    CHECK(ferry_agent_connect(agent, 5 * SECOND) == expected);
    ferry_agent_why(agent, &why);
    CHECK(why.code == expected);
    CHECK_CONTAINS(why.text, part);
    ferry_agent_close(agent);
    close(pair[1]);
}

static void test_refusals_are_read_with_care(void) {
    const uint32_t head = sizeof(ferry__refuse);
    expect_read(FERRY_EBUSY, 9, head + 9, FERRY_EBUSY, "no?[1m!??"); /* nothing that a terminal would obey */
    expect_read(FERRY_EBUSY, 9, head - 1, FERRY_EPROTOCOL, "a refusal of");
    expect_read(FERRY_EBUSY, 9, head + 8, FERRY_EPROTOCOL, "makes no sense");
    expect_read(FERRY_EBUSY, UINT32_MAX, head + 9, FERRY_EPROTOCOL, "makes no sense");
    expect_read(0, 9, head + 9, FERRY_EPROTOCOL, "makes no sense");
    expect_read(FERRY__ERR_LAST, 9, head + 9, FERRY_EPROTOCOL, "makes no sense");
}

/* An environment that scribbles over the bell, and over every answer that is its own to write. */
static int scribble_over_bell(void *argument) {
    ferry__bell_page *page = (ferry__bell_page *)argument;
    for (;;) {
        int i;
        for (i = 0; i < 3; i++) __atomic_store_n((uint32_t *)page + i, (uint32_t)rand(), __ATOMIC_RELAXED);
    }
    return 0;
}

static void test_an_agent_hears_through_a_scribbled_bell(const char *directory) {
    ferry_env *env = open_quiet_env_of("door", ROWS);
    rogue r;
    char *good = copy_region(env, directory, FERRY_AUTORESET_NEXT_STEP, &r);
    ferry_bell *bell;
    ferry_why why;
    const ferry_turn *answer;
    ferry__bell_page *page;
    uint8_t ready[2];
    uint32_t turn;
    int i;
    pid_t scribbler;
    liar l[2];
    CHECK(ferry_bell_open(&bell, &why) == 0);
    for (i = 0; i < 2; i++) {
        l[i] = begin_lying(good, r.bytes, FERRY_AUTORESET_NEXT_STEP, bell);
        CHECK(l[i].bell >= 0);
    }
    CHECK(ftruncate(l[0].bell, 0) != 0 && ftruncate(l[0].bell, 8192) != 0);
    page = (ferry__bell_page *)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, l[0].bell, 0);
    CHECK(page != MAP_FAILED);
    scribbler = start_child(scribble_over_bell, page);
    for (turn = 1; turn <= 20; turn++) {
        ferry_agent *agents[2];
        for (i = 0; i < 2; i++) agents[i] = l[i].agent, send_reset(l[i].agent);
        CHECK(ferry_agent_wait_any(bell, agents, 2, 1, SECOND / 100, ready) == 0);
        for (i = 0; i < 2; i++) {
            ferry__slot *slot = (ferry__slot *)(void *)(l[i].base + l[i].header.env_slot[(turn - 1) % 2]);
            slot->kind = FERRY_RESET, slot->number = turn;
            __atomic_store_n(&slot->seq, FERRY__SEQ_START + turn, __ATOMIC_SEQ_CST);
            CHECK(ferry_agent_wait_any(bell, agents, 2, (uint32_t)i + 1, 5 * SECOND, ready) == i + 1 && ready[i] == 1);
        }
        for (i = 0; i < 2; i++) CHECK(ferry_agent_wait(l[i].agent, 0, &answer) == 1);
    }
    kill(scribbler, SIGKILL);
    CHECK(end_child(scribbler) == 128 + SIGKILL);
    munmap(page, 4096);
    for (i = 0; i < 2; i++) stop_lying(&l[i]);
    ferry_bell_close(bell);
    CHECK(ferry_agent_wait_any(NULL, NULL, 0, 1, 0, ready) == FERRY_EINVAL);
    free(good);
    ferry_env_close(env);
}

/* ---- Lanes ---- */

static uint32_t *word_at(char *base, const ferry__header *header, uint64_t word) {
    return (uint32_t *)(void *)(base + header->env_offset + word);
}

static uint64_t pitch_of(uint64_t blob_at, const ferry__header *header) { return ferry__lane_pitch(blob_at, header->blob_bytes); }

static void test_foreign_lanes_are_checked(const char *directory) {
    static const char text[] = "the slots for frames and actions do not lie inside";
    const uint32_t mode = REALTIME;
    ferry_env *env = open_quiet_env_of("door", REALTIME_ROW);
    rogue r;
    char *good = copy_region(env, directory, REALTIME, &r);
    uint64_t group = r.header.groups_offset, agent_pitch = pitch_of(r.header.agent_blob, &r.header),
             env_pitch = pitch_of(r.header.env_blob, &r.header), far[] = {0, 64, 4096, UINT64_MAX - 63, UINT64_C(1) << 63, 0}, value;
    int accepted = 0, refused = 0;
    unsigned seed;
    size_t i;
    ferry_why why;
    far[5] = r.bytes - 64;
    CHECK(offer_changed(mode, &r, good, 0, good, 0, &why) == 1);
    for (i = 0; i < sizeof far / sizeof *far; i++) {
        CHANGED(ferry__header, 0, frame_slots, uint64_t, far[i], FERRY_ESPEC, text);
        CHANGED(ferry__header, 0, action_slots, uint64_t, far[i], FERRY_ESPEC, text);
        if (far[i] == 64) continue; /* a place like another */
        CHANGED(ferry__group, group, frame_moment_offset, uint64_t, far[i] == 4096 ? 20 : far[i], FERRY_ESPEC, text);
        CHANGED(ferry__group, group, action_moment_offset, uint64_t, far[i] == 4096 ? 20 : far[i], FERRY_ESPEC, text);
    }
    /* Each of them out of its part, on the turns' slots, and askew. */
    CHANGED(ferry__header, 0, action_slots, uint64_t, r.header.frame_slots, FERRY_ESPEC, text);
    CHANGED(ferry__header, 0, frame_slots, uint64_t, r.header.action_slots, FERRY_ESPEC, text);
    CHANGED(ferry__header, 0, action_slots, uint64_t, r.header.agent_slot, FERRY_ESPEC, text);
    CHANGED(ferry__header, 0, action_slots, uint64_t, r.header.agent_slot + 64, FERRY_ESPEC, text);
    CHANGED(ferry__header, 0, action_slots, uint64_t, r.header.action_slots + agent_pitch, FERRY_ESPEC, text);
    CHANGED(ferry__header, 0, action_slots, uint64_t, r.header.action_slots + 32, FERRY_ESPEC, text);
    CHANGED(ferry__header, 0, frame_slots, uint64_t, r.header.env_slot[0], FERRY_ESPEC, text);
    CHANGED(ferry__header, 0, frame_slots, uint64_t, r.header.env_slot[1] + 128, FERRY_ESPEC, text);
    CHANGED(ferry__header, 0, frame_slots, uint64_t, r.header.env_offset + 128, FERRY_ESPEC, text); /* on the words */
    CHANGED(ferry__header, 0, frame_slots, uint64_t, r.header.frame_slots + env_pitch, FERRY_ESPEC, text);
    CHANGED(ferry__header, 0, env_slot[0], uint64_t, r.header.env_offset + 256, FERRY_ESPEC, text);
    CHANGED(ferry__header, 0, incompat, uint64_t, 0, FERRY_ESPEC, text); /* lanes without the feature */
    CHANGED(ferry__group, group, flags, uint32_t, FERRY_AUTORESET_NEXT_STEP, FERRY_ESPEC, text);
    for (seed = 0; seed < 1500; seed++) {
        static const size_t words[] = {
            offsetof(ferry__header, frame_slots), offsetof(ferry__header, action_slots), offsetof(ferry__header, agent_slot),
            offsetof(ferry__header, env_slot),    offsetof(ferry__header, agent_blob),   offsetof(ferry__header, env_blob),
            offsetof(ferry__header, blob_bytes),  offsetof(ferry__header, agent_bytes),  offsetof(ferry__header, env_bytes)};
        uint64_t at;
        srand(seed);
        at = seed % 2 ? words[(size_t)rand() % (sizeof words / sizeof *words)] : group + (uint64_t)rand() % 15 * 8;
        memcpy(&value, good + at, sizeof value);
        value = seed % 3 == 0 ? (uint64_t)rand() % r.bytes / 64 * 64 : value + (uint64_t)(rand() % 257 - 128) * 64;
        if (offer_changed(mode, &r, good, at, &value, 8, &why) == 1) accepted++;
        else refused++;
    }
    CHECK(accepted > 50 && refused > 500);
    free(good);
    ferry_env_close(env);
}

/* What a rogue writes at random: bits of 1 words, 2 slots, 4 moments, 8 everything that is the peer's besides. */
typedef struct scribble {
    char *base;
    const ferry__header *header;
    const ferry__group *group;
    uint32_t what;
} scribble;

static void scribble_once(const scribble *s) {
    const ferry__header *header = s->header;
    uint64_t agent_pitch = pitch_of(header->agent_blob, header), env_pitch = pitch_of(header->env_blob, header);
    static uint64_t number; /* of frames that seem to come one after the other */
    uint64_t bytes = 8 + (uint64_t)rand() % 300, i, odd[5];
    uint32_t *word = word_at(s->base, header, rand() % 2 ? FERRY__FRAMES_WORD : FERRY__ACTIONS_WORD);
    uint64_t slot = s->what & 1 ? (uint64_t)rand() % 3 : (__atomic_load_n(word, __ATOMIC_ACQUIRE) & 3) % 3; /* the next to be taken */
    char *frame = s->base + header->frame_slots + env_pitch * slot, *action = s->base + header->action_slots + agent_pitch * slot;
    for (i = 0; (s->what & 2) && rand() % 4 == 0 && i < bytes; i++) frame[i] = (char)rand(), action[i] = (char)rand();
    for (i = 0; i < 5; i++) { /* near what is right, and at the ends of what there is */
        static const uint64_t ends[] = {0, 1, 2, UINT64_MAX, UINT64_MAX - 1, UINT64_C(1) << 63, (UINT64_C(1) << 63) - 1, 0};
        odd[i] = rand() % 2 ? ends[rand() % 8] : (uint64_t)rand() << (rand() % 33);
    }
    if (rand() % 2) odd[1] = 1; /* the episode, so that it is looked at */
    if (rand() % 50) odd[2] = ++number;
    if (s->what & 4) {
        ferry__entry entry;
        int64_t choice = 8 + rand() % 9; /* 10 to 14 are in the space */
        memcpy(&entry, s->base + header->fields_offset + ACTION * sizeof entry, sizeof entry);
        memcpy(action + entry.offset, &choice, sizeof choice);
        memcpy(frame + offsetof(ferry__slot, number), &odd[2], sizeof odd[2]);
        odd[2] = rand() % 2 ? (uint64_t)now_ns() : odd[4]; /* when it was begun */
        memcpy(rand() % 2 ? frame + s->group->frame_moment_offset : action + s->group->action_moment_offset, odd, sizeof odd);
        frame[s->group->status_offset] = (char)(rand() % 40 == 0), frame[s->group->terminated_offset] = (char)(rand() % 60 == 0);
        ((ferry__slot *)(void *)frame)->kind = FERRY_STEP;
        ((ferry__slot *)(void *)frame)->blob_format = rand() % 16 ? FERRY_NONE : (uint8_t)(rand() % 7);
        ((ferry__slot *)(void *)frame)->blob_where = rand() % 9 ? FERRY__WHERE_SLOT : (uint8_t)rand();
        ((ferry__slot *)(void *)frame)->blob_bytes = rand() % 2 ? (uint64_t)rand() % 20000 : odd[0];
    }
    if (s->what & 1) __atomic_store_n(word, rand() % 8 ? (uint32_t)rand() % 8 : (uint32_t)rand(), __ATOMIC_RELEASE);
    else __atomic_fetch_or(word, FERRY__LANE_FRESH, __ATOMIC_ACQ_REL); /* something new, always */
    if (s->what & 8) {
        uint64_t at = (uint64_t)rand() % (header->env_bytes - 64);
        memset(s->base + header->env_offset + at, rand(), 64);
        if (rand() % 50 == 0) memset(s->base + header->agent_slot, rand(), 64);
    }
}

static int scribble_for_ever(void *argument) {
    for (;;) scribble_once((const scribble *)argument);
    return 0;
}

static void begin_rogue_episode(ferry_env *env, rogue *r) {
    const ferry_turn *turn;
    begin_turn(r, FERRY_RESET, 1, 1);
    __atomic_store_n(&slot_of(r)->seq, FERRY__SEQ_START + 1, __ATOMIC_SEQ_CST);
    CHECK(ferry_env_wait(env, 5 * SECOND, &turn) == 1 && turn->kind == FERRY_RESET);
    CHECK(ferry_env_reply(env) == 0);
}

/* The world ticks while its agent writes over everything. It goes on or says that the agent is gone; its actions are in their space always. */
static void test_a_world_goes_on_while_its_agent_scribbles(const char *directory) {
    ferry_blob blob = {"{\"a\": 1}", 8, FERRY_JSON, 0};
    uint32_t round, ticks = 0, acted = 0, dropped = 0;
    for (round = 0; round < 64; round++) {
        ferry_env *env = open_quiet_env_of("door", REALTIME_ROW);
        rogue r = shake_hands_as(env, directory, REALTIME, -1);
        scribble s = {r.base, &r.header, &r.group, 0};
        pid_t scribbler = 0;
        int i, over = 0;
        srand(round);
        s.what = round % 16;
        begin_rogue_episode(env, &r);
        if (round % 2) scribbler = start_child(scribble_for_ever, &s);
        for (i = 0; i < 500 && !over; i++) {
            const ferry_turn *turn;
            int got;
            if (!scribbler) scribble_once(&s);
            got = ferry_env_wait(env, i % 3 == 0 ? 20000 : 0, &turn);
            if (got == 0 || (got == 1 && turn->kind == FERRY_RESET)) { /* an ending, or a turn that looks like one */
                if (got == 1) CHECK(ferry_env_reply(env) == 0);
                continue;
            }
            CHECK(got == 1);
            over = turn->kind == FERRY_LEFT;
            if (over) {
                CHECK(turn->reason == FERRY_ECORRUPT || turn->reason == FERRY_EPROTOCOL);
                dropped++;
                break;
            }
            CHECK(turn->kind == FERRY_STEP || turn->kind == FERRY_CALL);
            if (turn->kind == FERRY_CALL) {
                CHECK(ferry_env_reply(env) == 0);
                continue;
            }
            ticks++, acted += turn->action_ns != 0;
            CHECK(*(const int64_t *)turn->data[ACTION] >= 10 && *(const int64_t *)turn->data[ACTION] < 15);
            ((double *)turn->data[OBSERVATION])[2] = 1, turn->present[SCORE][0] = 1, *(float *)turn->data[SCORE] = 2;
            if (i % 5 == 0) CHECK(ferry_env_blob(env, &blob) == 0);
            CHECK(ferry_env_reply(env) == 0);
        }
        if (scribbler) {
            kill(scribbler, SIGKILL);
            CHECK(end_child(scribbler) == 128 + SIGKILL);
        }
        part(&r);
        while (!over) { /* the episode goes on without it */
            const ferry_turn *turn;
            CHECK(ferry_env_wait(env, SECOND / 100, &turn) >= 0);
            if (turn == NULL) continue;
            over = turn->kind == FERRY_LEFT;
            if (!over) CHECK(ferry_env_reply(env) == 0);
        }
        ferry_env_close(env);
    }
    CHECK(ticks > 3000 && dropped > 10 && acted > 100);
}

/* An agent plays on while its world writes over everything: it is given a frame that it may look at, or told what is wrong, in time. */
static void test_an_agent_plays_while_its_world_scribbles(const char *directory) {
    ferry_env *env = open_quiet_env_of("door", REALTIME_ROW);
    rogue r;
    char *good = copy_region(env, directory, REALTIME, &r);
    uint32_t round, given = 0, lost = 0;
    for (round = 0; round < 96; round++) {
        liar l = begin_lying(good, r.bytes, REALTIME, NULL);
        ferry__slot *slot = (ferry__slot *)(void *)(l.base + l.header.env_slot[0]);
        uint64_t episode = 1;
        scribble s = {l.base, &l.header, &l.group, round % 8};
        const ferry_turn *answer;
        pid_t scribbler = 0;
        int i, got = 0;
        srand(round);
        send_reset(l.agent);
        slot->kind = FERRY_RESET, slot->number = 1;
        memcpy((char *)slot + l.group.episode_offset, &episode, sizeof episode);
        __atomic_store_n(&slot->seq, FERRY__SEQ_START + 1, __ATOMIC_SEQ_CST);
        CHECK(ferry_agent_wait(l.agent, 5 * SECOND, &answer) == 1 && ferry_agent_wait(l.agent, 0, &answer) == 0);
        if (round % 2) scribbler = start_child(scribble_for_ever, &s);
        for (i = 0; i < 300 && got >= 0; i++) {
            ferry_turn *turn = ferry_agent_turn(l.agent);
            int64_t began = now_ns();
            int sent;
            CHECK(turn != NULL);
            if (!scribbler) scribble_once(&s);
            turn->kind = FERRY_STEP, *(int64_t *)turn->data[ACTION] = 10 + rand() % 5;
            sent = ferry_agent_send(l.agent);
            CHECK(sent == 0 || sent == FERRY_ECORRUPT || sent == FERRY_ESTATE);
            got = ferry_agent_wait(l.agent, rand() % 2 ? 0 : 200000, &answer);
            CHECK(now_ns() - began < 10 * SECOND);
            CHECK(got == 1 || got == 0 || got == FERRY_ECORRUPT || got == FERRY_ESTATE || got == FERRY_EPROTOCOL);
            if (got == 1) look_at(answer, 1), given++;
        }
        lost += got == FERRY_ECORRUPT;
        if (scribbler) {
            kill(scribbler, SIGKILL);
            CHECK(end_child(scribbler) == 128 + SIGKILL);
        }
        stop_lying(&l);
    }
    CHECK(given > 100 && lost > 20);
    free(good);
    ferry_env_close(env);
}

int main(void) {
    char directory[64];
    begin_test(120, directory);
    test_strange_visitors_are_refused_and_the_next_is_served(directory);
    test_who_says_goodbye_in_the_handshake_is_followed_by_the_next(directory);
    test_a_scribbling_agent_is_dropped(directory);
    test_foreign_regions_are_checked(directory);
    test_lists_of_rows_are_checked(directory);
    test_an_agent_may_say_anything_of_rows(directory);
    test_a_bell_may_ring_by_itself(directory);
    test_foreign_regions_of_rows_are_checked(directory);
    test_joined_blobs_that_lie(directory);
    test_answers_to_another_turn(directory);
    test_refusals_are_read_with_care();
    test_an_agent_hears_through_a_scribbled_bell(directory);
    test_foreign_lanes_are_checked(directory);
    test_a_world_goes_on_while_its_agent_scribbles(directory);
    test_an_agent_plays_while_its_world_scribbles(directory);
    end_test(directory);
    return 0;
}
