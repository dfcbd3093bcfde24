/* A gallery: see gallery.h. */
#include "gallery.h"

#include "channel.h"
#include "errors.h"

#include <string.h>

/* A visitor greets at once if it is one of Ferry's; one that says nothing for so long is told that the place is taken. */
#define FERRY__GREETING_NS 100000000

void ferry__gallery_seat(ferry__gallery *gallery, ferry__os stream, uint32_t pid, int64_t now_ns) {
    ferry__seat *seat = gallery->seats;
    while (seat->taken) seat++;
    memset(seat, 0, sizeof *seat);
    seat->taken = 1, seat->stream = stream, seat->pid = pid, seat->since_ns = now_ns;
    gallery->taken++;
}

static void ferry__gallery_let_go(ferry__channel *channel, ferry__seat *seat) {
    ferry__gallery *gallery = &channel->gallery;
    int observed = seat->observes;
    ferry__platform_close(seat->stream);
    memset(seat, 0, sizeof *seat);
    gallery->taken--;
    if (observed && --gallery->observers == 0) channel->handshake.unwatch(channel->user);
}

/* Shows the channel to a visitor that wants to look on: 0, or why not. */
static int ferry__gallery_admit(ferry__channel *channel, ferry__seat *seat, ferry_why *why) {
    ferry__gallery *gallery = &channel->gallery;
    ferry__welcome welcome;
    ferry__os memory;
    if (channel->handshake.watch == NULL) return ferry__nothing_to_observe(channel, why);
    if (gallery->observers == FERRY__MAX_OBSERVERS)
        return ferry__fail(why, FERRY_EBUSY, "%d observers look at '%s' already, and there is no room for more; end one of them",
                           FERRY__MAX_OBSERVERS, channel->address.text);
    if (channel->handshake.watch(channel->user, &memory, &welcome.bytes, why) < 0) return why->code;
    seat->observes = 1;
    gallery->observers++;
    if (ferry__send_hello(channel, seat->stream, FERRY__NO_OS) == 0 &&
        ferry__send_frame(seat->stream, FERRY__WELCOME, &welcome, sizeof welcome, memory) == 0)
        return 0;
    return ferry__fail(why, FERRY_ESYSTEM, "the memory that observers of '%s' see could not be handed over; look again",
                       channel->address.text);
}

/* A visitor has said all that it will before it is answered; heard says whether that is a greeting. */
static void ferry__gallery_answer(ferry__channel *channel, ferry__seat *seat, int heard) {
    ferry__frame frame;
    ferry__hello hello;
    ferry_why why;
    memcpy(&frame, seat->greeting, sizeof frame);
    memcpy(&hello, seat->greeting + sizeof frame, sizeof hello);
    ferry__fail(&why, 0, "%s", "");
    heard = heard && frame.magic == FERRY__FRAME_MAGIC && frame.type == FERRY__HELLO && frame.bytes >= sizeof hello;
    if (heard && ferry__hello_is_known(channel, &hello, frame.bytes, seat->pid, &why) == 0 && hello.side == FERRY__OBSERVER &&
        ferry__gallery_admit(channel, seat, &why) == 0)
        return;
    if (heard && hello.side == FERRY__OBSERVER) ferry__send_refusal(seat->stream, &why);
    else ferry__say_busy(channel, seat->pid, seat->stream);
    ferry__gallery_let_go(channel, seat);
}

/* What an observer sends means nothing; that it sends no more means that it has left. One that floods is read again at the next look. */
static void ferry__gallery_drain(ferry__channel *channel, ferry__seat *seat) {
    enum { READS = 4 };
    char ignored[256];
    int i, got = 1;
    for (i = 0; i < READS && got > 0; i++) {
        ferry__os passed = FERRY__NO_OS;
        got = ferry__platform_receive(seat->stream, ignored, sizeof ignored, &passed);
        ferry__platform_close(passed);
    }
    if (got < 0) ferry__gallery_let_go(channel, seat);
}

static void ferry__gallery_hear(ferry__channel *channel, ferry__seat *seat, int64_t now_ns) {
    uint32_t left = (uint32_t)sizeof seat->greeting - seat->received;
    ferry__os passed = FERRY__NO_OS;
    int got = ferry__platform_receive(seat->stream, seat->greeting + seat->received, left, &passed);
    ferry__platform_close(passed);
    if (got > 0) seat->received += (uint32_t)got;
    if (seat->received == sizeof seat->greeting) ferry__gallery_answer(channel, seat, 1);
    else if (got < 0 || now_ns - seat->since_ns >= FERRY__GREETING_NS) ferry__gallery_answer(channel, seat, 0);
}

/* Lets those observers go that have left. */
static void ferry__gallery_drain_all(ferry__channel *channel) {
    ferry__os handles[FERRY__MAX_OBSERVERS];
    ferry__seat *seats[FERRY__MAX_OBSERVERS];
    uint32_t ready, count = 0, i;
    for (i = 0; i < FERRY__SEATS; i++) {
        ferry__seat *seat = &channel->gallery.seats[i];
        if (seat->observes) seats[count] = seat, handles[count++] = seat->stream;
    }
    ready = ferry__platform_poll(handles, count, 0);
    for (i = 0; i < count; i++)
        if ((ready >> i & 1) != 0) ferry__gallery_drain(channel, seats[i]);
}

void ferry__gallery_look(ferry__channel *channel, int64_t now_ns) {
    ferry__gallery *gallery = &channel->gallery;
    int i;
    /* First who has left: whoever comes after finds the place free. */
    if (gallery->observers > 0) ferry__gallery_drain_all(channel);
    for (i = 0; i < FERRY__SEATS && gallery->taken > gallery->observers; i++)
        if (gallery->seats[i].taken && !gallery->seats[i].observes) ferry__gallery_hear(channel, &gallery->seats[i], now_ns);
}

void ferry__gallery_dismiss(ferry__channel *channel) {
    ferry_why why;
    int i;
    if (channel->gallery.taken == 0) return;
    ferry__fail(&why, FERRY_ECLOSED, "what was observed at '%s' is over: the agent or the environment has left", channel->address.text);
    for (i = 0; i < FERRY__SEATS; i++) {
        const ferry__seat *seat = &channel->gallery.seats[i];
        /* Whoever has not said what it wants comes again, perhaps to play: now there is a place. */
        if (seat->taken && seat->observes) ferry__send_refusal(seat->stream, &why);
    }
    ferry__gallery_close(channel);
}

void ferry__gallery_close(ferry__channel *channel) {
    int i;
    for (i = 0; i < FERRY__SEATS; i++)
        if (channel->gallery.seats[i].taken) ferry__gallery_let_go(channel, &channel->gallery.seats[i]);
}
