/* The lane: three slots and a word between one writer and one reader, of which only the newest message counts.
 *
 * Stands for ferry__lane_push, ferry__lane_pull, ferry__lane_swap and ferry__lane_knock (csrc/lane.h). Stores need no buffer here: an exchange carries all
 * that was written before it, and each side loads nothing else that the other stores.
 *
 * Proved, for messages without end and either side killed at any point:
 *   - the writer's slot, the reader's and the one between are three different ones, always;
 *   - a message is whole, and stays as it is for as long as the reader has it, whatever the writer does;
 *   - it is the newest at the moment of the exchange, and none comes twice: so they come in order, and the newest is never lost;
 *   - the last message of a writer that dies is delivered. Neither side ever waits for the other: no state but the killed is an end.
 *
 * Mutants, which must fail: -DPEEK (the reader reads the slot in between without an exchange), -DTWO_STEPS (it loads the word, then stores
 * it), -DNO_FRESH (it exchanges whether or not there is something new), -DDEATH_FIRST (whoever sees a death does not look at the lane again),
 * -DUNMASKED (knocks are taken for a part of the slot's number). */
#define FRESH 4
#define KNOCK 8 /* in C the first of 29 bits */
#ifdef UNMASKED
#define SLOT(word) (word & ~FRESH)
#else
#define SLOT(word) (word & 3)
#endif
#define MESSAGES 4 /* are told from one another */

byte word = 1;
byte head[3], body[3];
byte writers = 0, readers = 2;
bool kill[2], dead;

byte newest; /* what only the proof knows: the message pushed last, and whether it was pulled */
bool pulled = true;

#define PERMUTATION (writers < 3 && readers < 3 && writers != readers && writers != SLOT(word) && readers != SLOT(word))

proctype writer() {
    byte message, got;
    {
        do
        :: message = (message + 1) % MESSAGES;
           head[writers] = message;
           body[writers] = message;
           d_step {
               got = SLOT(word); word = writers | FRESH; writers = got; got = 0;
               newest = message; pulled = false;
               assert(PERMUTATION)
           }
        :: word = word ^ KNOCK
        od
    } unless { kill[0] }
    dead = true
}

proctype reader() {
    byte seen, got;
    bool died;
    {
        do
        :: died = dead;
#ifdef DEATH_FIRST
           if :: died -> break :: else fi;
#endif
#ifdef NO_FRESH
           if
           :: true
#else
           if
           :: !(word & FRESH) -> if :: died -> break :: else -> goto again fi
           :: else
#endif
           fi;
#if defined(PEEK)
           d_step { readers = SLOT(word); word = word & 3; seen = newest; pulled = true }
#elif defined(TWO_STEPS)
           got = SLOT(word);
           d_step { word = readers; readers = got; seen = newest; pulled = true }
#else
           d_step {
               got = SLOT(word); word = readers; readers = got; got = 0;
               assert(PERMUTATION);
               assert(!pulled);
               seen = newest; pulled = true
           }
#endif
           /* Twice, since it may be read for as long as one likes. */
           assert(head[readers] == seen); assert(body[readers] == seen);
           assert(head[readers] == seen); assert(body[readers] == seen);
again:     skip
        od;
        assert(pulled && seen == newest)
    } unless { kill[1] }
}

/* Kills one side at some time, or never. */
proctype fate(bit victim) {
    if :: kill[victim] = true :: true fi
}

init {
    atomic { run fate(0); run fate(1); run writer(); run reader() }
}
