/* The handshake, how far it lets turns begin, and every way in which a connection ends.
 *
 * Stands for csrc/channel.c: ferry__channel_meet with ferry__find_peer, ferry__greet, ferry__shake_hands, ferry__on_frame and
 * ferry__turn_away; ferry__channel_await with ferry__look_around, ferry__hear_peer and ferry__answer_the_door; ferry__channel_hang_up,
 * ferry__disconnect and ferry__channel_take_blob. For ferry__gallery_seat and ferry__gallery_hear (csrc/gallery.c), ferry__env_offer,
 * ferry__env_ready and ferry__env_leave (csrc/env.c), ferry__agent_accept and ferry__agent_leave (csrc/agent.c).
 *
 * A server listens, two callers come. The server is the env; with -DAGENT_LISTENS it is the agent. The first caller may be of another
 * version; env and agent may decline what they are offered; agents leave when they like. One side, at one point, may besides be killed (a
 * child of a caller may have its stream yet), be closed by its program, or, if it calls, fall silent in the handshake or in its turn
 * (with -DTWO_FATES: two such things, which takes long).
 *
 * Proved, of sides that keep to the protocol:
 *   - the env acts as if there were a connection only after the agent has said READY, and both mean the same region; no frame comes where
 *     it has no place;
 *   - who waits is answered, or finds that the peer has gone: no state but the end of all is one, and only who is silent has to be timed
 *     out. While one plays, who calls is answered, however long that one thinks;
 *   - one plays at a time; when it has gone, however it went, the server takes the next;
 *   - what the dead or departed had published is taken first, and who said goodbye is not taken for dead;
 *   - each descriptor that was passed and each stream is held in one place, and closed once.
 *
 * Mutants, which must fail: -DEARLY (the env begins when it has offered), -DNO_PATIENCE (nobody is timed out), -DEND_UNSEEN (in a handshake
 * the end of the stream is not seen), -DNO_DOOR (who plays does not look at the door), -DTWO_AT_ONCE (who knocks may play too),
 * -DKEEP_STREAM (of who is turned away), -DKEEP_PASSED (what came along and was not taken), -DKEEP_REGION (the one before),
 * -DNO_WATCH (nobody looks whether the peer's process has ended), -DWATCH_FIRST (who sees that it has, does not listen once more),
 * -DEND_FIRST (who sees the end does not look at the word once more). */
#define SERVER 0
#define CALLERS 2
#ifndef TURNS
#define TURNS 1 /* of a connection, at most */
#endif
#define NONE 255

#ifdef AGENT_LISTENS
#define ENV (me != SERVER)
#else
#define ENV (me == SERVER)
#endif

/* Each caller has a stream, and a stream two ends: the server's is even. A region is called by the stream that it was offered on. */
#define STREAMS CALLERS
#define ENDS (2 * STREAMS)
#define SIDES (1 + CALLERS)
#define END_OF(caller) (2 * caller - 1)
#define PEER(end) (end ^ 1)
#define STREAM(end) (end / 2)

mtype = { HELLO, OTHER_HELLO, WELCOME, READY, REFUSE, GOODBYE, BLOB, END, SILENCE };

/* The kernel's: what lies at each end, in order. Whoever is dead has closed all that it had. */
chan pipe[ENDS] = [4] of { mtype };
bool closed[ENDS], ended[ENDS]; /* the end; the process that had it */
bool calling[STREAMS];          /* the server has not accepted it yet */
bool listening = true;
byte handles[SIDES]; /* descriptors of streams and memory that each process has */

/* Shared memory. */
byte turn[STREAMS], answer[STREAMS];
bool has_blob[STREAMS];

bool kill[SIDES], shut[SIDES], halt[SIDES]; /* what fate has in store for each */

/* What only the proof knows. */
bool waits[SIDES];   /* in a handshake, and is not silent itself */
bool begun[STREAMS]; /* the agent has mapped the region, and said so */
bool goodbye[ENDS];  /* was said here */

#define CALLED (calling[0] || calling[1])
#define SOMEBODY_WAITS (waits[1] && !halt[1] || waits[2])
#define READABLE(end) (len(pipe[end]) > 0 || closed[PEER(end)])
#define PLAYED(stream) (begun[stream] && !closed[2 * stream] && !closed[2 * stream + 1])

inline send(end, what) {
    if :: !closed[PEER(end)] -> pipe[PEER(end)] ! what :: else fi
}

/* What lies there unread goes, and what was passed with it. What nobody can look at any more is forgotten, to have fewer states. */
inline drop(end) {
    closed[end] = true;
    do :: len(pipe[end]) > 0 -> pipe[end] ? _ :: else -> break od;
    if
    :: closed[PEER(end)] ->
       turn[STREAM(end)] = 0; answer[STREAM(end)] = 0; has_blob[STREAM(end)] = false; begun[STREAM(end)] = false;
       goodbye[end] = false; goodbye[PEER(end)] = false; ended[end] = false; ended[PEER(end)] = false
    :: else
    fi
}

inline close_end(end) {
    d_step { drop(end); handles[me]--; end = NONE }
}

/* The process ends: the kernel closes what it had, and only then tells who watches it. */
inline vanish() {
    d_step {
        handles[me] = 0; waits[me] = false;
        if
        :: me == SERVER -> listening = false; for (i : 0 .. STREAMS - 1) { calling[i] = false; drop(2 * i) }
        :: me != SERVER && at != NONE -> drop(at)
        :: else
        fi;
        i = 0
    };
    d_step {
        if
        :: me == SERVER -> for (i : 0 .. STREAMS - 1) { ended[2 * i] = !closed[2 * i + 1] }; i = 0
        :: else -> ended[END_OF(me)] = called && !closed[PEER(END_OF(me))]
        fi
    }
}

inline accept(end) {
    if
    :: calling[0] -> calling[0] = false; end = 0
    :: calling[1] -> calling[1] = false; end = 2
    fi;
    handles[me]++
}

/* ferry__receive_frame, for as long as ferry__channel_meet does. The descriptor that comes along is in passed. */
inline receive() {
    if
    :: len(pipe[at]) > 0 && !halt[me] ->
       pipe[at] ? frame;
       if
       :: (frame == WELCOME || ENV && (frame == HELLO || frame == OTHER_HELLO)) -> assert(!passed); passed = true; handles[me]++
       :: else
       fi
#ifndef END_UNSEEN
    :: len(pipe[at]) == 0 && closed[PEER(at)] && !halt[me] -> frame = END
#endif
#ifndef NO_PATIENCE
    :: me == SERVER && timeout -> assert(!closed[PEER(at)]); frame = SILENCE
#endif
    :: halt[me] && (closed[PEER(at)] || begun[STREAM(at)] && timeout) -> /* sent away; or it had all the time, since the agent plays */
       assert(closed[PEER(at)] || !SOMEBODY_WAITS);
       halt[me] = false;
       goto shake_hands
    :: shut[me] -> goto leave
    fi
}

/* ferry__hear_peer: what is said outside turns. The first reason is the one that counts. */
inline hear_peer() {
    do
    :: len(pipe[at]) > 0 ->
       pipe[at] ? frame;
       assert(frame == BLOB || frame == GOODBYE || frame == REFUSE);
       if
       :: frame == BLOB -> assert(!blob); blob = true; handles[me]++
       :: else -> lost = frame; break
       fi
    :: len(pipe[at]) == 0 && closed[PEER(at)] -> if :: lost == 0 -> lost = END :: else fi; break
    :: else -> break
    od;
    frame = 0
}

#define HAS_WORD (ENV && !owed && turn[region] != number || !ENV && owed && answer[region] == number)
#define ITS_TURN (ENV && owed || !ENV && !owed)
#ifdef NO_DOOR
#define DOOR false
#else
#define DOOR (me == SERVER && (seat != NONE || CALLED))
#endif
#ifdef NO_WATCH
#define DIED false
#else
#define DIED ended[PEER(at)]
#endif
#ifdef WATCH_FIRST
#define MAY_SPEAK heard
#else
#define MAY_SPEAK (heard || died)
#endif

/* ferry__look_around. The kernel looks at one handle after the other. */
inline look_around() {
    heard = READABLE(at);
    died = DIED;
    atomic {
        if :: MAY_SPEAK -> hear_peer() :: else fi;
        if :: died && lost == 0 -> lost = END :: else fi;
        heard = false; died = false
    };
    atomic {
        if
        :: lost == 0 && DOOR && seat != NONE -> /* it has greeted, or had its time: what it sent goes, and it is told */
#ifdef TWO_AT_ONCE
           send(seat, HELLO);
           send(seat, WELCOME);
           handles[me]--; seat = NONE
#else
           send(seat, REFUSE);
           close_end(seat)
#endif
        :: lost == 0 && DOOR && seat == NONE -> accept(seat)
        :: else
        fi
    }
}

proctype side(byte me) {
    byte at = NONE, seat = NONE, region = NONE, number, i;
    mtype frame, lost;
    bool kept, called, passed, blob, bell, owed, heard, died, greeted, other;
    {
        skip;
end_alone: /* It keeps the last region, which a program may have pointers into, and the env the last bell. */
        atomic {
            if
            :: me == SERVER && CALLED && !shut[me] -> accept(at)
            :: me != SERVER && !called && listening && !shut[me] ->
               at = END_OF(me); called = true; calling[STREAM(at)] = true; handles[me]++;
               if :: true :: me == 1 -> other = true fi
            :: me != SERVER && (called || !listening) -> goto over
            :: shut[me] -> goto over
            fi
        };

        atomic {
            !halt[me] || closed[PEER(at)] ->
            halt[me] = false; waits[me] = true;
            if :: other -> send(at, OTHER_HELLO) :: else -> send(at, HELLO) fi
        };
shake_hands:
        atomic {
            receive();
            if
            :: frame == REFUSE || frame == GOODBYE || frame == END -> goto disconnect
            :: frame == SILENCE || frame == OTHER_HELLO || frame == HELLO && other -> goto turn_away
            :: frame == HELLO && !other ->
               assert(!greeted);
               greeted = true;
               if
               :: ENV ->
                  handles[me] = handles[me] - bell; bell = passed; passed = false;
                  if :: goto turn_away :: true fi; /* the program cannot fulfil what the agent wants, or there is no memory for it */
#ifndef KEEP_REGION
                  handles[me] = handles[me] - kept;
#endif
                  region = STREAM(at); kept = false; handles[me]++;
                  send(at, WELCOME)
               :: else
               fi;
#ifdef EARLY
               if :: ENV -> goto play :: else fi;
#endif
               goto shake_hands
            :: frame == WELCOME ->
               assert(greeted && !ENV);
               handles[me] = handles[me] - kept; kept = false;
               if :: goto turn_away :: true fi; /* it cannot be mapped, or is not what it ought to be */
               region = STREAM(at); passed = false;
               begun[region] = true;
               assert(!PLAYED(0) || !PLAYED(1));
               send(at, READY)
            :: else -> assert(frame == READY && greeted && ENV)
            fi
        };

play:   /* OPEN */
        atomic { frame = 0; waits[me] = false; assert(region == STREAM(at) && begun[region]) };
        do
        :: atomic {
               ENV && !owed && turn[region] != number ->
               number++;
               assert(turn[region] == number);
               if
               :: has_blob[region] && number == 1 ->
                  if :: !blob -> hear_peer() :: else fi;
                  assert(blob); blob = false; handles[me]--
               :: else
               fi;
               owed = true
           }
        :: atomic { ENV && owed && !halt[me] -> answer[region] = number; owed = false }
        :: !ENV && !owed && !halt[me] && number < TURNS ->
           if
           :: number == 0 -> atomic { has_blob[region] = true; send(at, BLOB) }
           :: true
           fi;
           atomic { number++; turn[region] = number; owed = true }
        :: !ENV && owed && answer[region] == number -> owed = false
        :: !ENV && !owed && !halt[me] && lost == 0 -> goto leave
        :: halt[me] && ITS_TURN && timeout -> /* it has thought until nothing else could happen */
           assert(!SOMEBODY_WAITS);
           halt[me] = false
        :: shut[me] && lost == 0 -> goto leave
        :: (lost != 0 || READABLE(at) || DIED || DOOR) && !(halt[me] && ITS_TURN) ->
           look_around();
           if
#ifdef END_FIRST
           :: lost != 0 -> break
#else
           :: lost != 0 && !HAS_WORD -> break
#endif
           :: else
           fi
        od;
        assert(!HAS_WORD && (lost == GOODBYE) == goodbye[PEER(at)]);
        goto disconnect;

turn_away:
        atomic {
            send(at, REFUSE)
#ifdef KEEP_STREAM
            ; at = NONE; goto reset
#endif
        };
        goto disconnect;
leave:  atomic { goodbye[at] = true; send(at, GOODBYE) };
disconnect:
        if :: seat != NONE -> close_end(seat) :: else fi;
        close_end(at);
#ifndef KEEP_PASSED
        d_step { handles[me] = handles[me] - passed; passed = false };
#endif
reset:
        atomic {
            handles[me] = handles[me] - blob; blob = false;
            kept = kept || region != NONE; region = NONE;
            number = 0; owed = false; lost = 0; frame = 0; greeted = false; other = false; waits[me] = false;
            assert(handles[me] == kept + bell)
        };
        goto end_alone;
over:   /* The program closes its handle, and ends. */
        atomic { handles[me] = handles[me] - kept - bell; assert(handles[me] == 0) }
    } unless { kill[me] ->
        kill[me] = false;
        if
        :: me != SERVER && at != NONE && region == STREAM(at) && begun[region] -> at = NONE /* a child of its has the stream yet */
        :: true
        fi
    };
    vanish()
}

/* Strikes the server, or the first caller. The second is always a sound one. */
proctype fate() {
    if
    :: kill[SERVER] = true
    :: shut[SERVER] = true
    :: kill[1] = true
    :: shut[1] = true
    :: halt[1] = true
    :: true
    fi
}

init {
    atomic {
        run side(SERVER); run side(1); run side(2);
        run fate();
#ifdef TWO_FATES
        run fate()
#endif
    }
}
