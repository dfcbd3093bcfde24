/* A channel: one address, and the connection of the moment with one peer there. Knows messages, not reinforcement learning. */
#ifndef FERRY__CHANNEL_H
#define FERRY__CHANNEL_H

#include "address.h"
#include "gallery.h"
#include "layout.h"
#include "platform.h"
#include "slot.h"
#include "wait.h"

typedef enum ferry__state {
    FERRY__ALONE,    /* nobody is there */
    FERRY__GREETING, /* a stream is open, our HELLO is sent, the peer's is awaited */
    FERRY__OFFERING, /* env: the region is offered, READY is awaited. agent: WELCOME is awaited */
    FERRY__OPEN      /* turns may be exchanged */
} ferry__state;

/* What the sides add to the handshake. Negative, with why filled, turns the peer away. */
typedef struct ferry__handshake {
    /* Env: makes the region for this agent and gives its descriptor (which stays the region's) and size. bell is the page that the agent
     * sent, or none; taken over. */
    int (*offer)(void *user, const ferry__hello *hello, ferry__os bell, ferry__os *memory, uint64_t *bytes, ferry_why *why);
    /* Env: the agent has mapped it. */
    void (*ready)(void *user);
    /* Agent: takes the region over. */
    int (*accept)(void *user, ferry__os memory, uint64_t bytes, ferry_why *why);
    /* Env: an observer has come; gives the ring's descriptor (which stays its own) and size. NULL: nobody may look on. */
    int (*watch)(void *user, ferry__os *memory, uint64_t *bytes, ferry_why *why);
    /* Env: the last observer has gone. */
    void (*unwatch)(void *user);
    /* Env: a wait goes on while observers look on; they may want what was answered last. */
    void (*refresh)(void *user, int64_t now_ns);
} ferry__handshake;

/* A listener, and the channels that share it: one peer for each. */
typedef struct ferry__door {
    ferry__listener listener;
    uint32_t places, taken; /* channels; those that have a peer, or shake hands with one */
} ferry__door;

typedef struct ferry__channel {
    ferry__side side;
    ferry__address address;
    ferry__policy policy;
    ferry__handshake handshake;
    void *user; /* of handshake */
    ferry_log log;
    void *log_user;
    uint64_t max_bytes;
    ferry__gallery gallery;
    uint32_t autoreset; /* agent: what it wants */
    uint32_t realtime;  /* agent: it plays in real time */
    ferry__os bell;     /* agent: the page that it sends, or none; not owned */
    uint32_t *canary; /* tells of a fork */
    ferry__door *door; /* who listens; else NULL */
    ferry__state state;
    int lost;    /* why the connection is over, as an error; 0 while it is not */
    int used_up; /* the inherited descriptor was used */
    int unsaid;  /* a frame of the handshake could not be sent */
    int told;    /* what it waits for has been logged */
    ferry__os stream, watch;
    uint32_t peer_pid;
    int quiet; /* whoever shakes hands is an observer: nobody is told that it was turned away */
    int32_t peer_index; /* of an env among its fellows; -1: none */
    ferry__frame frame; /* being received */
    uint32_t received;  /* bytes of frame and payload so far */
    ferry__os passed;   /* the descriptor that came with it */
    char payload[FERRY__MAX_FRAME];
    ferry__line *line, *peer_line; /* of the connection that is open; the sides set them, and the memory that they lie in */
    ferry__os memory;
    ferry__os blob;                /* a large blob that has arrived and waits for its turn */
    uint64_t blob_bytes;
    int64_t alone_ns, state_ns, tried_ns, looked_ns; /* when: lost the last peer; entered the state; tried to connect; looked around */
    uint32_t unlooked; /* turns since */
    uint32_t attend;   /* the sequence word of the next turn that is timed, and not let through quickly */
    uint32_t attended; /* of the last one, and when it was taken */
    int64_t attended_ns;
    int64_t taken_ns; /* when the message taken last was, if it is timed; else 0 */
    uint32_t crowded;  /* of ferry__waiter */
    ferry__manners manners;
    ferry_why why;     /* the last error */
    ferry_why visitor; /* what was wrong with the last peer that was turned away */
} ferry__channel;

/* Takes the address, or shares the door of a channel that has it. On failure nothing needs closing. text NULL: FERRY_ADDRESS. */
FERRY__LOCAL int ferry__channel_open(ferry__channel *channel, ferry__side side, const char *text, const ferry__channel *beside,
                                     ferry_why *why);
/* Says goodbye, unless this is a forked child; closes everything. */
FERRY__LOCAL void ferry__channel_close(ferry__channel *channel);
/* Is this the process that opened it? */
static inline int ferry__channel_is_mine(const ferry__channel *channel) { return ferry__platform_canary_is_mine(channel->canary); }

/* Finds a peer and shakes hands: 1 open, 0 not within timeout_ns, negative: an error that waiting will not mend. */
FERRY__LOCAL int ferry__channel_meet(ferry__channel *channel, int64_t timeout_ns);
/* A channel whose turns have begun: the words of both sides stand at seq_start. */
FERRY__LOCAL void ferry__channel_begin(ferry__channel *channel, uint32_t seq_start);
/* Tells onlookers when the steps of a turn were. */
FERRY__LOCAL void ferry__channel_sample(ferry__channel *channel, uint64_t number, int64_t first_ns, int64_t second_ns, int64_t third_ns);

/* Reading the clock at every turn would cost a quick pair a fifth of its time. So one turn in so many is timed: those whose sequence word is a
 * multiple, on both sides the same; and every one where turns take longer than this on average. */
#define FERRY__TIMED_TURNS 128
#define FERRY__SLOW_TURN_NS 16000
#define FERRY__LOOK_TURNS 1024 /* so many turns pass without a look around, where no wait gets as far as to read the clock */

/* Looks for message number next in the slot, for as long as a busy peer takes to answer: 1 it is there; 0 ferry__channel_await goes on, also
 * with the turns that are timed. */
static inline int ferry__channel_spin(ferry__channel *channel, const ferry__slot *slot, uint32_t previous, uint32_t next,
                                      int64_t timeout_ns) {
    int looks = timeout_ns != 0 ? channel->manners.looks : 0, state;
    while ((state = ferry__slot_state(slot, previous, next)) == 0 && looks-- > 0) ferry__pause();
    return state == 1 && next != channel->attend;
}

/* Waits for message number next in the slot: 1, 0 not yet, or why the connection is over. */
FERRY__LOCAL int ferry__channel_await(ferry__channel *channel, const ferry__slot *slot, uint32_t previous, uint32_t next,
                                      int64_t timeout_ns);

/* Waits for a word of a lane to change: 1, 0 not yet, FERRY__INTERRUPTED if message number next has come in the slot, or why the connection is over. */
FERRY__LOCAL int ferry__channel_await_lane(ferry__channel *channel, const uint32_t *word, uint32_t previous, const ferry__slot *slot,
                                           uint32_t next, int64_t timeout_ns);

/* As ferry__waiter.idle: looks after the peer and the door. 0, or why the connection is over. Now and then, or, if a sleep has ended
 * without what was waited for, in any case. */
FERRY__LOCAL int ferry__channel_look(ferry__channel *channel, int64_t now_ns, int slept);
/* Declares the connection over, if it is not already. Returns why it is. */
FERRY__LOCAL int ferry__channel_lose(ferry__channel *channel, int code, const char *format, ...) FERRY__PRINTF(3, 4);
/* The same where the peer has written what it may not, as the text says. */
FERRY__LOCAL int ferry__channel_damaged(ferry__channel *channel, const char *format, ...) FERRY__PRINTF(2, 3);
/* Ends the connection, telling the peer what was wrong if it was at fault; the channel may meet again. */
FERRY__LOCAL void ferry__channel_hang_up(ferry__channel *channel);

/* The large blob that came with this turn, checked; the caller closes it. */
FERRY__LOCAL int ferry__channel_take_blob(ferry__channel *channel, uint64_t bytes, ferry__os *out);

/* Frames, and what they say; also to those who are not the peer. */
FERRY__LOCAL int ferry__send_frame(ferry__os stream, ferry__frame_type type, const void *payload, uint32_t bytes, ferry__os pass);
FERRY__LOCAL void ferry__send_refusal(ferry__os stream, const ferry_why *why);
FERRY__LOCAL int ferry__send_hello(const ferry__channel *channel, ferry__os stream, ferry__os pass);
/* Is a greeting of so many bytes one of this version? */
FERRY__LOCAL int ferry__hello_is_known(const ferry__channel *channel, const ferry__hello *hello, uint32_t bytes, uint32_t pid,
                                       ferry_why *why);
/* What an observer is told, or finds, where an agent listens. */
FERRY__LOCAL int ferry__nothing_to_observe(const ferry__channel *channel, ferry_why *why);
/* What a second peer is told. */
FERRY__LOCAL void ferry__say_busy(const ferry__channel *channel, uint32_t pid, ferry__os stream);

/* Writes what is known about a channel that is not open, or has an error to tell: 1; or 0, and its side knows what is going on. */
FERRY__LOCAL int ferry__channel_explains(const ferry__channel *channel, ferry_why *why);
FERRY__LOCAL const char *ferry__side_name(ferry__side side);

#endif
