/* Taking turns: publish, look, park, sleep, wake.
 *
 * Stands for ferry__slot_publish and ferry__slot_state (csrc/slot.h), ferry__wait (csrc/wait.c), ferry__channel_look and
 * ferry__channel_await (csrc/channel.c), and the way in which agent.c and env.c choose slots: one of the agent's, two of the env's, of which the answer to a
 * CALL takes the one that the next observation will have. The futex of ferry__platform_sleep and ferry__platform_wake is in sleep and wake.
 *
 * Proved, for turns without end, sequence words that wrap, and either side or both killed at any point:
 *   - no wake-up is lost: a slice of sleep ends by its time only where the peer is dead;
 *   - a message is taken whole, and is the one that was waited for; the observation before it still stands;
 *   - the survivor notices, and has been given what the dead had published. No other state is an end, and turns go on: there is no
 *     cycle without progress, if whoever can go on does so at some time (without CALLs).
 *
 * Stores go through a buffer, as on processors that keep their order (TSO); -DSC does without. Neither side loads a word that it stores
 * itself, so that loads may look past their own buffer. Mutants, which must fail: -DNO_FENCE_IN_PUBLISH, -DNO_FENCE_IN_WAIT,
 * -DNO_COMPARE (the kernel suspends without a look), -DWORD_FIRST (published, then written), -DDEATH_FIRST (whoever sees a death does not
 * look at the word again), -DCALLS=4 (as many turns as there are sequence words go by while one slot stands still). */
#define AGENT 0
#define ENV 1
#define PEER (1 - me)

#define WORDS 4 /* in C 2^32 */
#define NEXT(word) ((word + 1) % WORDS)
#define START (WORDS - 2)
#define CALL WORDS /* is added to a request's body */
#ifndef CALLS
#define CALLS 1 /* in a row */
#endif

/* The shared memory: three slots of a sequence word and two words of content, and each side's parked. Slot 0 is the agent's. */
#define SEQ(slot) (slot)
#define HEAD(slot) (3 + slot)
#define BODY(slot) (6 + slot)
#define PARKED(side) (9 + side)
#define NOWHERE 255

byte memory[11];
byte sleeps_on[2] = NOWHERE;
bool kill[2], dead[2];

#ifdef SC
#define store(where, value) memory[where] = value
#define ALL_STORED true
#else
chan buffer[2] = [4] of { byte, byte }; /* never is more pending between two fences */
#define store(where, value) buffer[me] ! where, value
#define ALL_STORED empty(buffer[me])

proctype drain(bit me) {
    byte where, value;
end:
    do
    :: d_step { buffer[me] ? where, value -> memory[where] = value; where = 0; value = 0 }
    od
}
#endif

#ifdef NO_FENCE_IN_PUBLISH
#define FENCE_IN_PUBLISH true
#else
#define FENCE_IN_PUBLISH ALL_STORED
#endif
#ifdef NO_FENCE_IN_WAIT
#define FENCE_IN_WAIT true
#else
#define FENCE_IN_WAIT ALL_STORED
#endif
#ifdef NO_COMPARE
#define STILL(slot, value) true
#else
#define STILL(slot, value) (memory[SEQ(slot)] == value)
#endif

/* FUTEX_WAIT: compares and suspends in one. It may return early; by time only where nothing else can happen. */
inline sleep(slot, value) {
    if
    :: atomic { STILL(slot, value) -> sleeps_on[me] = SEQ(slot) }
       if
       :: sleeps_on[me] == NOWHERE
       :: timeout -> assert(dead[PEER]); sleeps_on[me] = NOWHERE
       fi
    :: true
    fi
}

inline wake(slot) {
    d_step { if :: sleeps_on[PEER] == SEQ(slot) -> sleeps_on[PEER] = NOWHERE :: else fi }
}

inline publish(slot, seq, kind) {
#ifdef WORD_FIRST
    store(SEQ(slot), seq);
#endif
    store(HEAD(slot), seq);
    store(BODY(slot), seq + kind);
#ifndef WORD_FIRST
    store(SEQ(slot), seq);
#endif
    FENCE_IN_PUBLISH;
    if :: memory[PARKED(PEER)] -> wake(slot) :: else fi
}

/* Yields are looks that change nothing, and stand here as the first one. Ends at gone where idle finds the peer dead. */
inline await(slot, previous, next) {
    slept = false;
    do
    :: memory[SEQ(slot)] == next || memory[SEQ(slot)] != previous -> break
    :: else ->
       if :: died = dead[PEER] :: !slept -> died = false fi; /* before the first sleep the clock says whether to look around */
#ifndef DEATH_FIRST
       if :: memory[SEQ(slot)] != previous -> break :: else fi;
#endif
       if :: died -> goto gone :: else fi;
       store(PARKED(me), 1);
       FENCE_IN_WAIT;
       if :: memory[SEQ(slot)] == previous -> sleep(slot, previous) :: else fi;
       store(PARKED(me), 0);
       slept = true
    od;
    slept = false; died = false;
    assert(memory[SEQ(slot)] == next);
    assert(memory[HEAD(slot)] == next);
    assert(memory[BODY(slot)] % WORDS == next)
}

proctype side(bit me) {
    byte seq = START, seen[2] = START, calls, kind;
    bit which, answer; /* of the env's slots: the next observation's, and the one of the answer under way */
    bool slept, died;
    {
        if
        :: me == AGENT ->
           do
           :: seq = NEXT(seq);
              answer = which;
              if
              :: calls < CALLS -> calls++; kind = CALL
              :: calls = 0; kind = 0; which = 1 - which
              fi;
              publish(0, seq, kind);
              await(1 + answer, seen[answer], seq);
progress:     seen[answer] = seq;
              /* The other slot has not been touched. */
              assert(memory[HEAD(2 - answer)] == seen[1 - answer] && memory[BODY(2 - answer)] == seen[1 - answer])
           od
        :: else ->
           do
           :: await(0, seq, NEXT(seq));
              seq = NEXT(seq);
              kind = memory[BODY(0)] - seq;
              publish(1 + which, seq, 0);
              if :: kind == CALL :: else -> which = 1 - which fi
           od
        fi
    } unless { kill[me] }
    /* What a killed process had stored is seen before its death is. */
    sleeps_on[me] = NOWHERE;
    ALL_STORED -> dead[me] = true;
    goto over;
gone:
    /* All that the dead had published was taken. */
    assert(dead[PEER] && (me == AGENT || memory[SEQ(0)] == seq) && (me == ENV || memory[SEQ(1 + answer)] == seen[answer]));
over:
    skip
}

/* Kills one side at some time, or none, or both. */
proctype fate() {
    if
    :: kill[AGENT] = true
    :: kill[ENV] = true
    :: true
    fi
#ifdef SC
    if
    :: kill[AGENT] = true
    :: kill[ENV] = true
    :: true
    fi
#endif
}

init {
    atomic {
        byte i;
        for (i : 0 .. 2) { memory[SEQ(i)] = START; memory[HEAD(i)] = START; memory[BODY(i)] = START }
        i = 0;
#ifndef SC
        run drain(AGENT); run drain(ENV);
#endif
        run fate();
        run side(AGENT); run side(ENV)
    }
}
