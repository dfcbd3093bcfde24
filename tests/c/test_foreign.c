/* Foreign bytes: greetings, frames and regions that no well-meaning peer would send. Each is refused in words; nobody crashes or hangs. */
#include "check.h"

#include "../../csrc/layout.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/un.h>

static int dial(const char *directory, const char *name) {
    struct sockaddr_un address;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    snprintf(address.sun_path, sizeof address.sun_path, "%.60s/%.30s", directory, name);
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

static ferry_env *open_quiet_env(const char *address) {
    ferry_field fields[NUM_FIELDS];
    ferry_env_desc desc;
    ferry_env *env;
    ferry_why why;
    small_fields(fields);
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc, desc.address = address, desc.fields = fields, desc.num_fields = NUM_FIELDS, desc.log = drop_log;
    CHECK(ferry_env_open(&desc, &env, &why) == 0);
    return env;
}

static ferry_agent *open_quiet_agent(const char *address) {
    ferry_agent_desc desc;
    ferry_agent *agent;
    ferry_why why;
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc, desc.address = address, desc.log = drop_log;
    CHECK(ferry_agent_open(&desc, &agent, &why) == 0);
    return agent;
}

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
    expect_refusal(env, fd, FERRY_EVERSION, "speaks Ferry's protocol 9.0 (library 9.0.0), the environment");

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

/* An agent that holds a region: shakes hands by hand and maps it. */
typedef struct rogue {
    int fd;
    char *base;
    size_t bytes;
    ferry__header header;
} rogue;

static rogue shake_hands(ferry_env *env, const char *directory) {
    rogue r;
    ferry__hello hello = good_hello(FERRY__AGENT);
    const ferry_turn *turn;
    char bytes[1024];
    int memory = -1;
    r.fd = dial(directory, "door");
    send_frame(r.fd, FERRY__HELLO, &hello, sizeof hello, -1);
    while (memory < 0) {
        union {
            struct cmsghdr align;
            char bytes[CMSG_SPACE(sizeof(int))];
        } control;
        struct iovec part = {bytes, sizeof bytes};
        struct msghdr message;
        CHECK(ferry_env_wait(env, SECOND / 1000, &turn) == 0);
        memset(&message, 0, sizeof message);
        message.msg_iov = &part, message.msg_iovlen = 1, message.msg_control = control.bytes, message.msg_controllen = sizeof control.bytes;
        if (recvmsg(r.fd, &message, MSG_DONTWAIT) > 0 && message.msg_controllen >= CMSG_LEN(sizeof memory))
            memcpy(&memory, CMSG_DATA(&control.align), sizeof memory);
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
    return r;
}

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

/* Offers a region to an agent over a pair; what ferry_agent_connect said. */
static int offer(int memory, uint64_t bytes, ferry_why *why) {
    int pair[2], got;
    char address[32];
    ferry_agent *agent;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    snprintf(address, sizeof address, "fd:%d", pair[0]);
    agent = open_quiet_agent(address);
    finish_handshake(pair[1], memory, bytes);
    got = ferry_agent_connect(agent, 5 * SECOND);
    if (got == 1) { /* it looks sound; then using it must be sound too */
        const ferry_turn *answer;
        ferry_turn *turn = ferry_agent_turn(agent);
        uint32_t i;
        if (turn != NULL) {
            volatile char sum = 0;
            for (i = 0; i < turn->num_fields; i++)
                if (turn->stride[i] > 0) sum = (char)(sum + ((char *)turn->data[i])[0] + ((char *)turn->data[i])[turn->stride[i] - 1]);
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
    ((ferry__header *)(void *)bad)->incompat = FERRY__FEATURE_REALTIME;
    memory = sealed_memory(bad, r.bytes, sealed);
    CHECK(offer(memory, r.bytes, &why) == FERRY_EVERSION);
    CHECK_CONTAINS(why.text, "features 0x20");
    close(memory);
    free(good), free(bad);
    ferry_env_close(env);
}

int main(void) {
    char directory[64];
    begin_test(120, directory);
    test_strange_visitors_are_refused_and_the_next_is_served(directory);
    test_a_scribbling_agent_is_dropped(directory);
    test_foreign_regions_are_checked(directory);
    end_test(directory);
    return 0;
}
