/* To decide in real time: an env that waits for an action sleeps on the lane's word, and must not sleep over a turn, which changes another.
 *
 * Stands for ferry__world_await (csrc/world.c) with ferry__channel_await_lane (csrc/channel.c), ferry__wait
 * (csrc/wait.c), ferry__view_act and ferry__view_sent (csrc/view.c), ferry__slot_publish (csrc/slot.h), ferry__lane_knock and
 * ferry__lane_pull (csrc/lane.h). Of the lane there is the word alone, without its slots.
 *
 * Stores go through a buffer, as on processors that keep their order (TSO); an exchange or an addition waits until it is empty.
 *
 * A turn's knock may come after the answer, and the next turn's after that, before the env has fallen asleep: so three knocks have to be
 * told from one another.
 *
 * Proved, for actions and turns without end: the env sleeps its time to the end only where there is neither a turn nor an action that it
 * has not taken. No other state is an end.
 *
 * Mutants, which must fail: -DNO_KNOCK (the agent sends a turn and only looks whether the env sleeps), -DKNOCK_FIRST (it knocks, then sends),
 * -DPARKED_FIRST (it looks, then knocks), -DNO_FENCE_IN_WAIT, -DNO_COMPARE (the kernel suspends without a look), -DKEEP_FRESH (the env
 * waits for another word than the one it saw, an action or not), -DKNOCKS=2. */
#define AGENT 0
#define ENV 1

#define FRESH 1
#ifndef KNOCKS
#define KNOCKS 3 /* are told from one another; in C 2^29 */
#endif
#define KNOCK 2
#define TURNS 4 /* are told from one another */

#define SEQ 0
#define WORD 1
#define PARKED 2
#define NOWHERE 255

byte memory[3];
byte answered;
bool idle;
byte sleeps_on = NOWHERE;

chan buffer[2] = [3] of { byte, byte };
#define store(where, value) buffer[me] ! where, value
#define ALL_STORED empty(buffer[me])

proctype drain(bit me) {
    byte where, value;
end:
    do
    :: d_step { buffer[me] ? where, value -> memory[where] = value; where = 0; value = 0 }
    od
}

#ifdef NO_FENCE_IN_WAIT
#define FENCE_IN_WAIT true
#else
#define FENCE_IN_WAIT ALL_STORED
#endif
#ifdef NO_COMPARE
#define STILL true
#else
#define STILL (memory[WORD] == previous)
#endif
#ifdef KEEP_FRESH
#define SEEN memory[WORD]
#else
#define SEEN (memory[WORD] - memory[WORD] % KNOCK)
#endif

inline wake_if_parked(where) {
    ALL_STORED;
    if
    :: memory[PARKED] -> d_step { if :: sleeps_on == where -> sleeps_on = NOWHERE :: else fi }
    :: else
    fi
}

inline knock() {
    d_step { ALL_STORED -> memory[WORD] = (memory[WORD] + KNOCK) % (KNOCK * KNOCKS) }
}

proctype agent() {
    bit me = AGENT;
    byte seq;
    do
    :: d_step { ALL_STORED -> memory[WORD] = FRESH }; /* an action */
       wake_if_parked(WORD)
    :: seq = (seq + 1) % TURNS;
#ifdef KNOCK_FIRST
       knock();
#endif
       store(SEQ, seq);
       wake_if_parked(SEQ);
#ifdef PARKED_FIRST
       wake_if_parked(WORD);
       knock();
#else
#if !defined(NO_KNOCK) && !defined(KNOCK_FIRST)
       knock();
#endif
       wake_if_parked(WORD);
#endif
       answered == seq
    :: idle = true; !idle /* it has said all that it will for now */
    od
}

proctype env() {
    bit me = ENV;
    byte previous;
    do
    :: if
       :: memory[SEQ] != answered -> answered = memory[SEQ]; goto again
       :: else
       fi;
       if
       :: memory[WORD] & FRESH -> d_step { ALL_STORED -> memory[WORD] = 0 }; goto again
       :: else
       fi;
       previous = SEEN;
       do
       :: memory[SEQ] != answered -> break
       :: else ->
          if :: memory[WORD] != previous -> break :: else fi;
          store(PARKED, 1);
          FENCE_IN_WAIT;
          if
          :: memory[WORD] == previous ->
             if
             :: atomic { STILL -> sleeps_on = WORD }
                if
                :: sleeps_on == NOWHERE
                :: timeout ->
                   assert(memory[SEQ] == answered && !(memory[WORD] & FRESH));
                   sleeps_on = NOWHERE; idle = false
                fi
             :: true
             fi
          :: else
          fi;
          store(PARKED, 0);
          if :: memory[WORD] != previous -> break :: else fi
       od;
again: previous = 0
    od
}

init {
    atomic { run drain(AGENT); run drain(ENV); run agent(); run env() }
}
