/* A game that both sides check, value for value, for the campaign: what it consists of is all that a channel can do. */
#ifndef FERRY_CAMPAIGN_GAME_H
#define FERRY_CAMPAIGN_GAME_H

#include "../c/check.h"

/* How a channel is used. */
typedef enum game_mode { GAME_TURNS, GAME_ROWS, GAME_FRAMES, NUM_GAME_MODES } game_mode;

/* How a connection ended, as the player saw it. */
typedef struct ending {
    uint32_t pid;   /* of the peer */
    int32_t reason; /* FERRY_ECLOSED, FERRY_EPEERDEAD, ...; 0: it said goodbye itself */
    int64_t at_ns;
} ending;

#define KEPT_ENDINGS 256

/* What a player tells whoever directs, in memory that is shared; and the one thing that it is told. */
typedef struct board {
    uint32_t stop;
    uint32_t endings; /* so many; the last KEPT_ENDINGS are kept, at their number modulo it */
    ending ending[KEPT_ENDINGS];
    uint64_t pulse; /* grows as long as no call of the library holds the player up */
    uint64_t games, turns;
} board;

typedef struct player {
    const char *address;
    game_mode mode;
    int sessions; /* so many connections that end in good order, then it goes; 0: until it is stopped */
    int games, steps; /* in a session, and in a game, as an agent */
    int64_t slice_ns; /* so long a call may wait */
    board *board;
} player;

/* Each plays one side until it is done, ends the process with a message if anything is wrong, and returns 0. */
int play_as_env(void *one);
int play_as_agent(void *one);

#endif
