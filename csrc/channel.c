/* A channel: finding a peer, shaking hands, noticing that it is gone, and answering the door while it is there.
 *
 * Nothing here blocks but ferry__channel_meet and ferry__channel_await, for as long as they are told. The handshake is a state machine
 * that takes whatever has arrived and returns, so that a game may drive it from its ticks and a peer that says nothing stops nobody. */
#include "channel.h"

#include "atomics.h"
#include "errors.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FERRY__RETRY_NS 10000000        /* between attempts to connect */
#define FERRY__LOOK_NS 5000000          /* between looks around while turns go on */
#define FERRY__HANDSHAKE_NS 5000000000  /* a visitor that is silent for so long is sent away */
#define FERRY__TELL_NS 2000000000       /* then it is logged what one waits for */
#define FERRY__VISITORS 8               /* dealt with in one go */

const char *ferry__side_name(ferry__side side) { return side == FERRY__ENV ? "environment" : side == FERRY__AGENT ? "agent" : "observer"; }

static const char *ferry__peer_name(const ferry__channel *channel) {
    return ferry__side_name(channel->side == FERRY__ENV ? FERRY__AGENT : FERRY__ENV);
}

FERRY__PRINTF(3, 4) static void ferry__tell(const ferry__channel *channel, int level, const char *format, ...) {
    char text[sizeof(((ferry_why *)0)->text) + 128];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (channel->log != NULL) channel->log(channel->log_user, level, text);
    else if (level >= FERRY_LOG_WARNING) fprintf(stderr, "ferry: %s\n", text);
}

int ferry__channel_lose(ferry__channel *channel, int code, const char *format, ...) {
    va_list arguments;
    if (channel->lost != 0) return channel->lost;
    channel->lost = channel->why.code = code;
    va_start(arguments, format);
    vsnprintf(channel->why.text, sizeof channel->why.text, format, arguments);
    va_end(arguments);
    return code;
}

int ferry__channel_damaged(ferry__channel *channel, const char *format, ...) {
    char what[sizeof channel->why.text];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    return ferry__channel_lose(channel, FERRY_ECORRUPT, "the region shared with the %s (pid %u) is damaged: %s", ferry__peer_name(channel),
                               channel->peer_pid, what);
}

/* ---- Frames ---- */

int ferry__send_frame(ferry__os stream, ferry__frame_type type, const void *payload, uint32_t bytes, ferry__os pass) {
    char message[sizeof(ferry__frame) + FERRY__MAX_FRAME];
    ferry__frame frame;
    memset(&frame, 0, sizeof frame);
    frame.magic = FERRY__FRAME_MAGIC, frame.type = (uint16_t)type, frame.bytes = bytes;
    memcpy(message, &frame, sizeof frame);
    if (bytes > 0) memcpy(message + sizeof frame, payload, bytes);
    return ferry__platform_send(stream, message, (uint32_t)sizeof frame + bytes, pass);
}

void ferry__send_refusal(ferry__os stream, const ferry_why *why) {
    char payload[FERRY__MAX_FRAME];
    ferry__refuse refuse;
    refuse.code = why->code, refuse.text_bytes = (uint32_t)strlen(why->text);
    memcpy(payload, &refuse, sizeof refuse);
    memcpy(payload + sizeof refuse, why->text, refuse.text_bytes);
    (void)ferry__send_frame(stream, FERRY__REFUSE, payload, (uint32_t)sizeof refuse + refuse.text_bytes, FERRY__NO_OS);
}

/* Receives as much of a frame as there is: 1 when channel->frame and payload are whole, 0 not yet, FERRY_ECLOSED at the end of the
 * stream, FERRY_ESYSTEM or FERRY_EPROTOCOL with why. A descriptor stays in channel->passed. */
static int ferry__receive_frame(ferry__channel *channel, ferry_why *why) {
    const uint32_t head = sizeof(ferry__frame);
    for (;;) {
        int in_head = channel->received < head, got;
        uint32_t want = in_head ? head : head + channel->frame.bytes;
        char *to = in_head ? (char *)&channel->frame + channel->received : channel->payload + (channel->received - head);
        if (channel->received == want) { /* of a payload: a head that is whole counts to it */
            channel->received = 0;
            return 1;
        }
        got = ferry__platform_receive(channel->stream, to, want - channel->received, &channel->passed);
        if (got == 0) return 0;
        if (got == FERRY_ECLOSED) return ferry__fail(why, FERRY_ECLOSED, "the connection ended");
        if (got < 0)
            return ferry__fail(why, FERRY_ESYSTEM, "the %s (pid %u) at '%s' could not receive; has it run out of descriptors (ulimit -n)?",
                               ferry__side_name(channel->side), ferry__platform_pid(), channel->address.text);
        channel->received += (uint32_t)got;
        if (in_head && channel->received >= 4 && channel->frame.magic != FERRY__FRAME_MAGIC)
            return ferry__fail(why, FERRY_EPROTOCOL, "the peer (pid %u) at '%s' does not speak Ferry: its bytes begin with 0x%08x",
                               channel->peer_pid, channel->address.text, channel->frame.magic);
        if (channel->received == head && channel->frame.bytes > FERRY__MAX_FRAME)
            return ferry__fail(why, FERRY_EPROTOCOL, "the peer (pid %u) at '%s' announces a frame of %u bytes; at most %d are possible",
                               channel->peer_pid, channel->address.text, channel->frame.bytes, FERRY__MAX_FRAME);
    }
}

static ferry__os ferry__take_passed(ferry__channel *channel) {
    ferry__os passed = channel->passed;
    channel->passed = FERRY__NO_OS;
    return passed;
}

/* Puts a received refusal into why; returns its code. */
static int ferry__read_refusal(const ferry__channel *channel, ferry_why *why) {
    ferry__refuse refuse;
    uint32_t i;
    if (channel->frame.bytes < sizeof refuse)
        return ferry__fail(why, FERRY_EPROTOCOL, "the peer sent a refusal of %u bytes", channel->frame.bytes);
    memcpy(&refuse, channel->payload, sizeof refuse);
    if (refuse.code >= 0 || refuse.code <= FERRY__ERR_LAST || refuse.text_bytes > channel->frame.bytes - sizeof refuse ||
        refuse.text_bytes >= sizeof why->text)
        return ferry__fail(why, FERRY_EPROTOCOL, "the peer sent a refusal that makes no sense (code %d)", refuse.code);
    why->code = refuse.code;
    memcpy(why->text, channel->payload + sizeof refuse, refuse.text_bytes);
    why->text[refuse.text_bytes] = 0;
    for (i = 0; i < refuse.text_bytes; i++)
        if ((unsigned char)why->text[i] < 0x20 || why->text[i] == 0x7F) why->text[i] = '?';
    return why->code;
}

/* ---- Ending a connection ---- */

static void ferry__enter(ferry__channel *channel, ferry__state state) {
    if (channel->door != NULL) channel->door->taken += (uint32_t)(state != FERRY__ALONE) - (uint32_t)(channel->state != FERRY__ALONE);
    channel->state = state;
    channel->state_ns = ferry__platform_now_ns();
}

static void ferry__disconnect(ferry__channel *channel) {
    ferry__gallery_close(channel);
    ferry__platform_close(channel->stream);
    ferry__platform_close(channel->watch);
    ferry__platform_close(channel->passed);
    ferry__platform_close(channel->blob);
    channel->stream = channel->watch = channel->passed = channel->blob = FERRY__NO_OS;
    channel->received = 0, channel->lost = 0;
    if (channel->state == FERRY__OPEN) channel->alone_ns = ferry__platform_now_ns(), channel->told = 0;
    ferry__enter(channel, FERRY__ALONE);
}

void ferry__channel_hang_up(ferry__channel *channel) {
    if (channel->state == FERRY__ALONE) return;
    ferry__gallery_dismiss(channel);
    if (channel->lost == FERRY_ECORRUPT || channel->lost == FERRY_EPROTOCOL) {
        ferry__tell(channel, FERRY_LOG_WARNING, "%s", channel->why.text);
        ferry__send_refusal(channel->stream, &channel->why);
    } else if (channel->lost == 0) (void)ferry__send_frame(channel->stream, FERRY__GOODBYE, NULL, 0, FERRY__NO_OS);
    else ferry__tell(channel, FERRY_LOG_INFO, "%s", channel->why.text);
    if (channel->state == FERRY__OPEN && channel->line != NULL) ferry__store_relaxed(&channel->line->left, 1);
    ferry__disconnect(channel);
}

/* Ends a handshake that failed. Who listens goes on listening (0); who came here of its own accord is told why not. */
static int ferry__turn_away(ferry__channel *channel, const ferry_why *why, int tell_peer) {
    if (tell_peer) ferry__send_refusal(channel->stream, why);
    if (!channel->quiet) channel->visitor = *why;
    ferry__disconnect(channel);
    if (channel->address.serve) {
        ferry__tell(channel, channel->quiet ? FERRY_LOG_DEBUG : FERRY_LOG_WARNING, "a peer (pid %u) at '%s' was turned away: %s",
                    channel->peer_pid, channel->address.text, why->text);
        return 0;
    }
    channel->why = *why;
    return why->code;
}

/* ---- The handshake ---- */

int ferry__send_hello(const ferry__channel *channel, ferry__os stream, ferry__os pass) {
    ferry__hello hello;
    memset(&hello, 0, sizeof hello);
    memcpy(hello.magic, FERRY__HELLO_MAGIC, 8);
    hello.endian = FERRY__ENDIAN, hello.abi_major = FERRY__ABI_MAJOR, hello.abi_minor = FERRY__ABI_MINOR;
    hello.features = FERRY__FEATURES_KNOWN;
    hello.side = channel->side, hello.pid = ferry__platform_pid(), hello.index = channel->address.index;
    hello.max_bytes = channel->max_bytes, hello.version = FERRY_VERSION, hello.autoreset = channel->autoreset;
    hello.realtime = channel->realtime;
    return ferry__send_frame(stream, FERRY__HELLO, &hello, sizeof hello, pass);
}

static int ferry__greet(ferry__channel *channel, ferry__os stream) {
    ferry_why why;
    channel->stream = stream;
    channel->quiet = 0;
    channel->peer_pid = 0, channel->received = 0, channel->lost = 0, channel->unlooked = 0;
    ferry__enter(channel, FERRY__GREETING);
    if (channel->address.place != FERRY__INHERITED && ferry__platform_peer(stream, &channel->peer_pid, &why) < 0)
        return ferry__turn_away(channel, &why, 1);
    channel->unsaid = ferry__send_hello(channel, stream, channel->bell) < 0;
    return 0;
}

int ferry__hello_is_known(const ferry__channel *channel, const ferry__hello *hello, uint32_t bytes, uint32_t pid, ferry_why *why) {
    uint32_t theirs = hello->version;
    if (bytes < 16 || memcmp(hello->magic, FERRY__HELLO_MAGIC, 8) != 0)
        return ferry__fail(why, FERRY_EPROTOCOL, "the peer (pid %u) at '%s' does not greet as Ferry does", pid, channel->address.text);
    if (hello->endian != FERRY__ENDIAN || hello->abi_major != FERRY__ABI_MAJOR || bytes < sizeof *hello)
        return ferry__fail(why, FERRY_EVERSION,
                           "the %s (pid %u) speaks Ferry's protocol %u.%u (library %u.%u.%u), the %s (pid %u) %u.%u (library %u.%u.%u); "
                           "build or install both with the same version",
                           hello->side == FERRY__OBSERVER ? "observer" : ferry__peer_name(channel), pid, hello->abi_major, hello->abi_minor,
                           theirs >> 16, theirs >> 8 & 255, theirs & 255, ferry__side_name(channel->side), ferry__platform_pid(),
                           FERRY__ABI_MAJOR, FERRY__ABI_MINOR, FERRY_VERSION_MAJOR, FERRY_VERSION_MINOR, FERRY_VERSION_PATCH);
    return 0;
}

int ferry__nothing_to_observe(const ferry__channel *channel, ferry_why *why) {
    return ferry__fail(why, FERRY_EUNSUPPORTED,
                       "at '%s' an agent listens, and only environments that listen let observers in; ferry top shows what it does",
                       channel->address.text);
}

static int ferry__check_hello(ferry__channel *channel, ferry__hello *hello, ferry_why *why) {
    uint32_t bytes = channel->frame.bytes;
    memset(hello, 0, sizeof *hello);
    memcpy(hello, channel->payload, bytes < sizeof *hello ? bytes : sizeof *hello);
    channel->quiet = hello->side == FERRY__OBSERVER;
    if (ferry__hello_is_known(channel, hello, bytes, channel->peer_pid, why) < 0) return why->code;
    if (hello->side == FERRY__OBSERVER && channel->side == FERRY__ENV)
        return ferry__fail(why, FERRY_ESTATE, "no agent plays at '%s' now, so that there is nothing to observe", channel->address.text);
    if (channel->side == FERRY__OBSERVER ? hello->side == FERRY__AGENT : hello->side == FERRY__OBSERVER)
        return ferry__nothing_to_observe(channel, why);
    if (hello->side == (uint32_t)channel->side)
        return ferry__fail(
            why, FERRY_EROLE,
            "both sides of '%s' are %ss (pids %u and %u); an environment (ServerBackend, ClientBackend, ferry_env) belongs on one side and "
            "an agent (ClientEnv, ServerEnv, ferry_agent) on the other",
            channel->address.text, ferry__side_name(channel->side), channel->peer_pid, ferry__platform_pid());
    if (hello->side != FERRY__ENV && hello->side != FERRY__AGENT)
        return ferry__fail(why, FERRY_EPROTOCOL, "the peer (pid %u) is neither environment nor agent (%u)", channel->peer_pid, hello->side);
    return 0;
}

static int ferry__on_hello(ferry__channel *channel, ferry_why *why) {
    ferry__hello hello;
    ferry__welcome welcome;
    ferry__os memory = FERRY__NO_OS;
    int inherited = channel->address.place == FERRY__INHERITED;
    if (ferry__check_hello(channel, &hello, why) < 0) return why->code;
    /* A socket pair's credentials are those of its maker, so there the peer's own word is taken; elsewhere the kernel's, if it has one. */
    if (inherited || channel->peer_pid == 0) channel->peer_pid = hello.pid;
    channel->peer_index = hello.index;
    channel->watch = ferry__platform_watch(inherited ? FERRY__NO_OS : channel->stream, channel->peer_pid);
    if (channel->side == FERRY__ENV) {
        ferry__os bell = ferry__take_passed(channel);
        if (channel->handshake.offer(channel->user, &hello, bell, &memory, &welcome.bytes, why) < 0) return why->code;
        channel->unsaid |= ferry__send_frame(channel->stream, FERRY__WELCOME, &welcome, sizeof welcome, memory) < 0;
    }
    ferry__enter(channel, FERRY__OFFERING);
    return 0;
}

static int ferry__on_welcome(ferry__channel *channel, ferry_why *why) {
    ferry__welcome welcome;
    ferry__os memory = ferry__take_passed(channel);
    if (channel->frame.bytes < sizeof welcome || memory == FERRY__NO_OS) {
        ferry__platform_close(memory);
        return ferry__fail(why, FERRY_EPROTOCOL, "the environment (pid %u) offered no region", channel->peer_pid);
    }
    memcpy(&welcome, channel->payload, sizeof welcome);
    return channel->handshake.accept(channel->user, memory, welcome.bytes, why);
}

static void ferry__opened(ferry__channel *channel) {
    ferry__enter(channel, FERRY__OPEN);
    channel->looked_ns = channel->state_ns;
    ferry__fail(&channel->why, 0, "%s", "");
    ferry__fail(&channel->visitor, 0, "%s", "");
    ferry__tell(channel, FERRY_LOG_INFO, "the %s (pid %u) is connected at '%s'", ferry__peer_name(channel), channel->peer_pid,
                channel->address.text);
}

/* Acts on one frame of the handshake: 0, or negative with why. */
static int ferry__on_frame(ferry__channel *channel, ferry_why *why) {
    int type = channel->frame.type;
    if (type == FERRY__REFUSE) return ferry__read_refusal(channel, why);
    if (type == FERRY__HELLO && channel->state == FERRY__GREETING) return ferry__on_hello(channel, why);
    if (type == FERRY__WELCOME && channel->state == FERRY__OFFERING && channel->side != FERRY__ENV) {
        if (ferry__on_welcome(channel, why) < 0) return why->code;
        channel->unsaid |= ferry__send_frame(channel->stream, FERRY__READY, NULL, 0, FERRY__NO_OS) < 0;
        if (!channel->unsaid) ferry__opened(channel);
        return 0;
    }
    if (type == FERRY__READY && channel->state == FERRY__OFFERING && channel->side == FERRY__ENV) {
        channel->handshake.ready(channel->user);
        ferry__opened(channel);
        return 0;
    }
    return ferry__fail(why, FERRY_EPROTOCOL, "the peer (pid %u) sent a frame of type %d that has no place in this handshake",
                       channel->peer_pid, type);
}

/* Goes on with a handshake: 1 it is done or over (look at the state), 0 nothing more to do now, negative: an error for the caller. */
static int ferry__shake_hands(ferry__channel *channel) {
    ferry_why why;
    int got = ferry__receive_frame(channel, &why), refused, spoken = channel->state == FERRY__OFFERING;
    if (got == 0 && !channel->unsaid) {
        if (!channel->address.serve || ferry__platform_now_ns() - channel->state_ns < FERRY__HANDSHAKE_NS) return 0;
        ferry__fail(&why, FERRY_EPROTOCOL, "it said nothing for %d s in the handshake", (int)(FERRY__HANDSHAKE_NS / 1000000000));
    } else if (got > 0 && channel->frame.type != FERRY__GOODBYE) {
        if (ferry__on_frame(channel, &why) == 0) return 1;
    } else if (got >= 0 || why.code == FERRY_ECLOSED) {
        /* Whoever was there has gone, or was not told what it waits for: a listener waits for the next, and a caller calls again. A pair has
         * no second chance. */
        ferry__disconnect(channel);
        if (channel->address.place != FERRY__INHERITED) return 1;
        return ferry__fail(&channel->why, FERRY_ECLOSED, "the process at the other end of '%s' has gone %s", channel->address.text,
                           spoken ? "in the handshake" : "without speaking Ferry");
    }
    refused = got > 0 && channel->frame.type == FERRY__REFUSE;
    got = ferry__turn_away(channel, &why, !refused);
    return got < 0 ? got : 1;
}

static ferry__os ferry__door_handle(const ferry__channel *channel) {
    return channel->door != NULL ? channel->door->listener.os : FERRY__NO_OS;
}

/* Looks for somebody: 1 a handshake has begun (or ended at once), 0 nobody there, negative: an error for the caller. */
static int ferry__find_peer(ferry__channel *channel) {
    ferry__os stream = FERRY__NO_OS;
    int64_t now = ferry__platform_now_ns();
    int got;
    if (channel->door != NULL) got = ferry__platform_accept(&channel->door->listener, &stream, &channel->why);
    else {
        if (channel->used_up) return ferry__fail(&channel->why, FERRY_ECLOSED, "the connection of '%s' has ended", channel->address.text);
        if (now - channel->tried_ns < FERRY__RETRY_NS) return 0;
        channel->tried_ns = now;
        got = ferry__address_connect(&channel->address, &stream, &channel->why);
        channel->used_up = channel->address.place == FERRY__INHERITED;
    }
    if (got <= 0) return got;
    got = ferry__greet(channel, stream);
    return got < 0 ? got : 1;
}

static void ferry__describe(const ferry__channel *channel, ferry_why *why) {
    int64_t now = ferry__platform_now_ns();
    double seconds = (double)(now - channel->alone_ns) * 1e-9, state_seconds = (double)(now - channel->state_ns) * 1e-9;
    const char *peer = ferry__peer_name(channel), *text = channel->address.text;
    if (channel->state != FERRY__ALONE && channel->peer_pid == 0) /* inherited connections do not say who is there */
        ferry__fail(why, 0, "the process at the other end of '%s' has not spoken for %.1f s: it may be busy in its own code, or stopped",
                    text, state_seconds);
    else if (channel->state != FERRY__ALONE)
        ferry__fail(why, 0,
                    "the peer (pid %u) at '%s' has not gone on with the handshake for %.1f s: it may be busy in its own code, or stopped",
                    channel->peer_pid, text, state_seconds);
    else if (channel->address.serve)
        ferry__fail(why, 0,
                    "no %s has connected to '%s' for %.1f s; start one: a game or an agent with FERRY_ADDRESS=connect:%s, in Python %s",
                    peer, text, seconds, text, channel->side == FERRY__AGENT ? "a ClientBackend" : "a ClientEnv");
    else {
        ferry__fail(why, 0, "no %s has served '%s' for %.1f s; start one there, or correct the address", peer, text, seconds);
        ferry__address_advise(&channel->address, why);
    }
    if (channel->visitor.code != 0) ferry__also(why, "; the last one that came was turned away: %s", channel->visitor.text);
}

int ferry__channel_explains(const ferry__channel *channel, ferry_why *why) {
    if (!ferry__channel_is_mine(channel)) ferry__fail(why, FERRY_EFORKED, "%s; open one after the fork", ferry_strerror(FERRY_EFORKED));
    else if (channel->why.code != 0) *why = channel->why;
    else if (channel->state != FERRY__OPEN) ferry__describe(channel, why);
    else return 0;
    return 1;
}

/* Says once, after a while, what is being waited for; a server that waits for its agents is no news. */
static void ferry__tell_what_for(ferry__channel *channel, int64_t now) {
    ferry_why why;
    if (channel->told || now - channel->alone_ns < FERRY__TELL_NS || (channel->side == FERRY__ENV && channel->address.serve)) return;
    channel->told = 1;
    ferry__describe(channel, &why);
    ferry__tell(channel, FERRY_LOG_WARNING, "waiting: %s", why.text);
}

int ferry__channel_meet(ferry__channel *channel, int64_t timeout_ns) {
    const int64_t deadline = ferry__deadline(timeout_ns, ferry__platform_now_ns());
    int64_t now;
    ferry__os handles[2];
    int got, visitors = 0;
    channel->why.code = 0;
    for (;;) {
        while (channel->state != FERRY__OPEN && visitors < FERRY__VISITORS) {
            got = channel->state == FERRY__ALONE ? ferry__find_peer(channel) : ferry__shake_hands(channel);
            if (got < 0) return got;
            if (got == 0) break;
            visitors += channel->state == FERRY__ALONE;
        }
        if (channel->state == FERRY__OPEN) return 1;
        visitors = 0;
        now = ferry__platform_now_ns();
        ferry__tell_what_for(channel, now);
        if (now >= deadline) return 0;
        handles[0] = channel->state == FERRY__ALONE ? ferry__door_handle(channel) : FERRY__NO_OS;
        handles[1] = channel->stream;
        ferry__platform_poll(handles, 2, ferry__least(FERRY__RETRY_NS, deadline - now));
    }
}

/* ---- While the connection is open ---- */

void ferry__say_busy(const ferry__channel *channel, uint32_t pid, ferry__os stream) {
    ferry_why why;
    ferry__fail(&why, FERRY_EBUSY, "'%s' is held by the %s with pid %u; end that one, or wait until it has closed", channel->address.text,
                ferry__peer_name(channel), channel->peer_pid);
    ferry__send_refusal(stream, &why);
    ferry__tell(channel, FERRY_LOG_INFO, "a second peer (pid %u) at '%s' was told: %s", pid, channel->address.text, why.text);
}

/* Lets whoever calls sit down until it has said whether it comes to look on, or to play: then it is told that the place is taken. */
static void ferry__answer_the_door(ferry__channel *channel, int64_t now) {
    ferry__os visitor;
    ferry_why why;
    uint32_t pid;
    int i;
    ferry__fail(&why, 0, "%s", "");
    if (channel->door->taken < channel->door->places) return; /* another channel will see to it */
    for (i = 0; i < FERRY__VISITORS && channel->gallery.taken < FERRY__SEATS; i++) { /* the others wait outside until a seat is free */
        if (ferry__platform_accept(&channel->door->listener, &visitor, &why) <= 0) return;
        if (ferry__platform_peer(visitor, &pid, &why) == 0) {
            ferry__gallery_seat(&channel->gallery, visitor, pid, now);
            continue;
        }
        ferry__send_refusal(visitor, &why);
        ferry__platform_close(visitor);
    }
}

/* Reads what the peer says outside its turns. */
static int ferry__hear_peer(ferry__channel *channel) {
    ferry_why why;
    ferry__welcome blob;
    int got;
    while ((got = ferry__receive_frame(channel, &why)) > 0) {
        switch (channel->frame.type) {
        case FERRY__GOODBYE:
            return ferry__channel_lose(channel, FERRY_ECLOSED, "the %s (pid %u) at '%s' said goodbye", ferry__peer_name(channel),
                                       channel->peer_pid, channel->address.text);
        case FERRY__REFUSE: (void)ferry__read_refusal(channel, &why); return ferry__channel_lose(channel, why.code, "%s", why.text);
        case FERRY__BLOB:
            if (channel->frame.bytes < sizeof blob || channel->blob != FERRY__NO_OS || channel->passed == FERRY__NO_OS) break;
            memcpy(&blob, channel->payload, sizeof blob);
            channel->blob = ferry__take_passed(channel), channel->blob_bytes = blob.bytes;
            continue;
        default: break;
        }
        return ferry__channel_lose(channel, FERRY_EPROTOCOL, "the %s (pid %u) sent a frame of type %d that has no place here",
                                   ferry__peer_name(channel), channel->peer_pid, channel->frame.type);
    }
    if (got == 0) return 0;
    if (why.code != FERRY_ECLOSED) return ferry__channel_lose(channel, why.code, "%s", why.text);
    return ferry__channel_lose(channel, FERRY_EPEERDEAD, "the %s (pid %u) at '%s' is gone: its connection ended without a goodbye",
                               ferry__peer_name(channel), channel->peer_pid, channel->address.text);
}

static int ferry__look_around(ferry__channel *channel, int64_t now) {
    ferry__os handles[3];
    uint32_t ready;
    channel->looked_ns = now, channel->unlooked = 0;
    if (channel->lost != 0) return channel->lost;
    handles[0] = channel->stream, handles[1] = channel->watch, handles[2] = ferry__door_handle(channel);
    ready = ferry__platform_poll(handles, 3, 0);
    if (ready == 0 && channel->gallery.taken == 0) return 0;
    /* One look at several handles is not one moment: who closes its stream and ends may do both after the look at the first. */
    if ((ready & 3) != 0 && ferry__hear_peer(channel) < 0) return channel->lost;
    if ((ready & 2) != 0)
        return ferry__channel_lose(channel, FERRY_EPEERDEAD, "the %s (pid %u) at '%s' is gone: its process has ended",
                                   ferry__peer_name(channel), channel->peer_pid, channel->address.text);
    if ((ready & 4) != 0) ferry__answer_the_door(channel, now);
    if (channel->gallery.taken > 0) ferry__gallery_look(channel, now);
    if (channel->gallery.observers > 0) channel->handshake.refresh(channel->user, now);
    return 0;
}

/* Leaving the spin phase happens at every turn of a slow peer: then the clock decides whether to look. */
int ferry__channel_look(ferry__channel *channel, int64_t now_ns, int slept) {
    if (channel->lost != 0) return channel->lost;
    return slept || now_ns - channel->looked_ns >= FERRY__LOOK_NS ? ferry__look_around(channel, now_ns) : 0;
}

void ferry__channel_begin(ferry__channel *channel, uint32_t seq_start) {
    channel->attended = seq_start, channel->attend = seq_start + 1;
    channel->attended_ns = ferry__platform_now_ns();
    channel->taken_ns = 0;
}

/* A turn that is timed has come: when. Chooses the next one. */
static int64_t ferry__attend(ferry__channel *channel) {
    uint32_t seq = channel->attend, turns = seq - channel->attended;
    int64_t now = ferry__platform_now_ns();
    int slow = now - channel->attended_ns >= (int64_t)turns * FERRY__SLOW_TURN_NS;
    channel->unlooked += turns;
    channel->attended = seq, channel->attended_ns = now;
    channel->attend = slow ? seq + 1 : (seq | (FERRY__TIMED_TURNS - 1)) + 1;
    return now;
}

void ferry__channel_sample(ferry__channel *channel, uint64_t number, int64_t first_ns, int64_t second_ns, int64_t third_ns) {
    ferry__line *line = channel->line;
    uint64_t times[3];
    times[0] = (uint64_t)first_ns, times[1] = (uint64_t)second_ns, times[2] = (uint64_t)third_ns;
    ferry__store_relaxed(&line->sample_begun, (uint32_t)number);
    ferry__fence_release();
    ferry__copy_words_out(line->sample_ns, times, sizeof times);
    ferry__store_release(&line->sample_done, (uint32_t)number);
}

static ferry__waiter ferry__waiter_of(ferry__channel *channel, uint32_t next) {
    ferry__waiter waiter;
    waiter.policy = channel->policy, waiter.line = channel->line, waiter.memory = channel->memory, waiter.peer = channel->peer_line,
    waiter.crowded = &channel->crowded, waiter.manners = &channel->manners, waiter.idle = ferry__channel_look, waiter.channel = channel,
    waiter.next = next, waiter.peer_next = next + (channel->side == FERRY__AGENT), waiter.turn = NULL;
    return waiter;
}

int ferry__channel_await_lane(ferry__channel *channel, const uint32_t *word, uint32_t previous, const ferry__slot *slot, uint32_t next,
                              int64_t timeout_ns) {
    ferry__waiter waiter = ferry__waiter_of(channel, next);
    waiter.turn = &slot->seq;
    return ferry__wait(&waiter, word, previous, timeout_ns);
}

int ferry__channel_await(ferry__channel *channel, const ferry__slot *slot, uint32_t previous, uint32_t next, int64_t timeout_ns) {
    int state = ferry__slot_state(slot, previous, next);
    if (state == 0) {
        ferry__waiter waiter = ferry__waiter_of(channel, next);
        state = ferry__wait(&waiter, &slot->seq, previous, timeout_ns);
        if (state <= 0) return state;
        state = ferry__slot_state(slot, previous, next);
    }
    if (state < 0) return ferry__channel_damaged(channel, "a sequence word is neither the last nor the next one");
    channel->taken_ns = next == channel->attend ? ferry__attend(channel) : 0;
    /* What this finds is reported by the next call; the message is whole, and goes first. */
    if (channel->unlooked >= FERRY__LOOK_TURNS) (void)ferry__look_around(channel, ferry__platform_now_ns());
    return 1;
}

/* ---- Large blobs ---- */

int ferry__channel_take_blob(ferry__channel *channel, uint64_t bytes, ferry__os *out) {
    ferry_why why;
    *out = FERRY__NO_OS;
    /* It was sent before the turn was published, so it is here. A goodbye right behind it is found out by the next call. */
    if (channel->blob == FERRY__NO_OS && ferry__hear_peer(channel) < 0 && channel->blob == FERRY__NO_OS) return channel->lost;
    if (channel->blob == FERRY__NO_OS || channel->blob_bytes != bytes)
        return ferry__channel_lose(channel, FERRY_EPROTOCOL, "the %s (pid %u) announced a large blob and did not send it",
                                   ferry__peer_name(channel), channel->peer_pid);
    *out = channel->blob;
    channel->blob = FERRY__NO_OS;
    if (bytes > FERRY_MAX_BLOB) ferry__fail(&why, FERRY_EPROTOCOL, "its blob of %llu bytes is larger than any may be", (ferry__ull)bytes);
    else if (ferry__platform_memory_check(*out, bytes, 1, &why) == 0) return 0;
    ferry__platform_close(*out);
    *out = FERRY__NO_OS;
    return ferry__channel_lose(channel, FERRY_EPROTOCOL, "the %s (pid %u): %s", ferry__peer_name(channel), channel->peer_pid, why.text);
}

/* ---- Life cycle ---- */

static int ferry__open_door(ferry__channel *channel, const ferry__channel *beside, ferry_why *why) {
    ferry__door *door;
    if (beside != NULL) {
        if (beside->door == NULL) return ferry__fail(why, FERRY_EINVAL, "the agent beside which this one is to listen does not listen");
        if (!ferry__channel_is_mine(beside)) return ferry__fail(why, FERRY_EFORKED, "%s", ferry_strerror(FERRY_EFORKED));
        channel->door = beside->door;
        channel->door->places++;
        return 0;
    }
    door = (ferry__door *)calloc(1, sizeof *door);
    if (door == NULL) return ferry__no_memory(why);
    if (ferry__address_listen(&channel->address, &door->listener, why) < 0) {
        free(door);
        return why->code;
    }
    door->places = 1;
    channel->door = door;
    return 0;
}

static void ferry__close_door(ferry__channel *channel, int mine) {
    ferry__door *door = channel->door;
    channel->door = NULL;
    if (door == NULL || --door->places > 0) return;
    ferry__platform_unlisten(&door->listener, mine);
    free(door);
}

int ferry__channel_open(ferry__channel *channel, ferry__side side, const char *text, const ferry__channel *beside, ferry_why *why) {
    char set[1024];
    int serve = side == FERRY__ENV;
    channel->side = side;
    channel->stream = channel->watch = channel->passed = channel->blob = channel->bell = FERRY__NO_OS;
    channel->canary = NULL, channel->door = NULL;
    if ((side == FERRY__ENV || text == NULL) && ferry__platform_variable("FERRY_ADDRESS", set, sizeof set)) text = set;
    if (ferry__address_parse(text, serve, &channel->address, why) < 0 || ferry__policy_from_environment(&channel->policy, why) < 0 ||
        ferry__platform_canary_create(&channel->canary, why) < 0)
        return why->code;
    if (side == FERRY__OBSERVER && (channel->address.serve || channel->address.place == FERRY__INHERITED)) {
        ferry__platform_canary_destroy(channel->canary);
        return ferry__fail(why, FERRY_EINVAL, "an observer looks at a name or a path that somebody else serves, not at '%s'", text);
    }
    channel->manners.looks = channel->policy != FERRY__BLOCK ? FERRY__SPIN_LOOKS : 0;
    if (beside != NULL && !channel->address.serve) ferry__fail(why, FERRY_EINVAL, "an agent beside another serves, as serve:NAME");
    else if (!channel->address.serve || ferry__open_door(channel, beside, why) == 0) {
        ferry__enter(channel, FERRY__ALONE);
        channel->alone_ns = channel->state_ns;
        channel->tried_ns = channel->state_ns - FERRY__RETRY_NS;
        return 0;
    }
    ferry__platform_canary_destroy(channel->canary);
    return why->code;
}

void ferry__channel_close(ferry__channel *channel) {
    int mine = ferry__channel_is_mine(channel);
    if (mine) ferry__channel_hang_up(channel);
    else ferry__disconnect(channel);
    ferry__close_door(channel, mine);
    ferry__platform_canary_destroy(channel->canary);
}
