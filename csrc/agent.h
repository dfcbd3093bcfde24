/* An agent: its turns are agent.c's, its real time is view.c's. */
#ifndef FERRY__AGENT_H
#define FERRY__AGENT_H

#include "blob.h"
#include "channel.h"
#include "lane.h"
#include "region.h"
#include "spec.h"
#include "turns.h"

/* What an agent in real time has besides: view.c. */
typedef struct ferry__view {
    ferry__lane frames, actions;
    const ferry_turn *reset; /* the answer to a RESET, whose episode is not begun yet */
    int runs;                /* an episode, as far as the frames say that were given */
    uint64_t episode, frame; /* of the frame given last */
    uint64_t passed_ns, passed; /* from the frame before it to the one taken last, and how many; 0: noted */
    int64_t frame_ns, period_ns; /* when it was begun; how long frames take; 0: unknown */
    double reward, returned;     /* of it: since the one before; in the whole episode */
    uint8_t terminated, truncated, status;
} ferry__view;

struct ferry_agent {
    ferry__channel channel;
    ferry__spec spec;
    ferry__region *region;
    ferry__slot *out, *in[2];
    ferry__turns turns; /* answers, by the env's slot */
    ferry_turn request; /* being filled */
    int64_t *seed;      /* [row] of the request; a step leaves those in the slot alone */
    int seeded;         /* they are not all -1 */
    uint32_t told_rows; /* what the slot says of how many rows a turn is about */
    uint32_t *asked;    /* [row] the list of a turn about some of them, for its answer */
    ferry_bell *bell;
    ferry__inbox inbox;
    ferry__outbox outbox;
    uint64_t number;   /* of the turn that was sent last */
    uint32_t which;    /* env's slot of its answer */
    uint32_t next;     /* env's slot of the next observation */
    uint32_t seen[2];  /* the last sequence word in each slot */
    int64_t owed_ns;   /* since when its answer is waited for, by the waits that timed out; 0 if none did */
    int owed;
    uint32_t notice;   /* the sequence word of the next turn at whose sending the clock is read */
    int64_t sent_ns, received_ns; /* of the turn that is timed; received_ns is 0 until its answer is here */
    int64_t thought_ns;           /* from the answer of the one timed before to the next sending; 0: unknown */
    ferry__plain expected; /* the answer, if it has no blob, like most */
    ferry__view view;
};

/* A connection has been made: its lanes. */
FERRY__LOCAL void ferry__view_open(ferry_agent *agent, char *base);
/* A turn has been sent to an environment that may sleep on the word of its lane. A RESET ends the episode as far as this side is concerned. */
FERRY__LOCAL void ferry__view_sent(ferry_agent *agent);
/* Hands the action of the request over, for the frame that was given last. */
FERRY__LOCAL int ferry__view_act(ferry_agent *agent);
/* Waits for a frame of this episode that has not been given yet: 1, 0 not yet, or what is wrong. */
FERRY__LOCAL int ferry__view_wait(ferry_agent *agent, int64_t timeout_ns, const ferry_turn **out);

#endif
