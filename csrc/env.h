/* An environment: its turns are env.c's, its real time is world.c's. */
#ifndef FERRY__ENV_H
#define FERRY__ENV_H

#include "blob.h"
#include "channel.h"
#include "lane.h"
#include "region.h"
#include "ring.h"
#include "rows.h"
#include "spec.h"
#include "turns.h"

/* Reward, flags and numbers of RESETs, [row]. */
typedef struct ferry__columns {
    double *reward;
    uint64_t *episode;
    uint8_t *terminated, *truncated, *status;
} ferry__columns;

/* Where an answer goes in one of the two slots. */
typedef struct ferry__answer {
    ferry__slot *slot;
    ferry__columns columns;
} ferry__answer;

typedef enum ferry__holding {
    FERRY__HOLDING_NOTHING,
    FERRY__HOLDING_TURN, /* the program has a turn that it has not answered */
    FERRY__HOLDING_RESET, /* the RESET that follows its answer is still to be handed to it */
    FERRY__HOLDING_FRAME  /* the program has a frame to publish */
} ferry__holding;

/* What an environment in real time has besides: world.c. */
typedef struct ferry__world {
    ferry__lane frames, actions;
    char *incoming; /* an action that is not checked yet, as message */
    int runs;       /* an episode: from the answer to its RESET to the frame that ends it */
    uint64_t frame; /* the one published last */
    uint64_t published; /* on this connection */
    uint64_t answers; /* of the latest action */
    uint64_t action_ns;
    double returned;
} ferry__world;

struct ferry_env {
    ferry__channel channel;
    ferry__spec spec;
    uint64_t max_bytes;
    ferry__region *region; /* of the connection, or of the one before while there is none */
    ferry__slot *in;
    ferry__answer out[2];
    char *message;      /* private copy of the agent's slot, up to the end of its fields */
    size_t actions_begin, actions_lines;
    ferry__plain expected; /* the next message, if it is a step like most */
    double reward;      /* the answer's columns until it is published, if there is one row; else columns point elsewhere */
    uint64_t episode;
    uint8_t terminated, truncated, status;
    ferry__columns columns; /* while the program writes them */
    char *block;            /* what those of many rows lie in */
    ferry__rows rows;
    int steady; /* one row, no autoreset, no limit of steps: most of what is above never changes */
    int brisk;  /* 1: steady, and nothing more is to be done with the answer under way than to publish it; 2: but to count its reward */
    ferry__region *bell;
    ferry__ring *ring;  /* while observers look on */
    int spoilt;         /* the answer published last is none to show, or its request has been overwritten */
    ferry__first_blob first; /* what the program said to the STEP that a RESET follows */
    ferry__turns turns;
    ferry__inbox inbox;
    ferry__outbox outbox;
    ferry_turn left;   /* says that the agent has gone */
    uint64_t number;   /* of the turn that was taken last */
    uint32_t kind;     /* of it; its parts, for the program, have their own */
    uint32_t which;    /* slot of the answer under way, or of the next */
    ferry__holding holding;
    int abandoned;     /* it had one when its agent left, and may answer it yet */
    int takes_calls;
    ferry__world world;
};

/* A connection has been made: its lanes. */
FERRY__LOCAL void ferry__world_open(ferry_env *env, char *base);
/* A RESET is answered: an episode runs from now on, or none. */
FERRY__LOCAL void ferry__world_begin(ferry_env *env, ferry_status status);
/* While one runs, and no turn has come: takes the newest action, and waits for one where the program decides. 1 it is time for a frame, 0
 * something has come: look again; or why the connection is over. */
FERRY__LOCAL int ferry__world_await(ferry_env *env, int64_t timeout_ns);
/* The frame for the program to fill: all of it is written that is known before. */
FERRY__LOCAL ferry_turn *ferry__world_frame(ferry_env *env);
/* Hands it to whoever may look at it. What a peer has done to the lane, the next wait tells. */
FERRY__LOCAL void ferry__world_publish(ferry_env *env, ferry_status status);

#endif
