/* Dead names: a process that was killed leaves its socket behind; whoever serves next, or looks what is served, clears it away.
 *
 * Stands for ferry__platform_listen, ferry__platform_unlisten, ferry__platform_each_name and ferry__lock_directory
 * (csrc/platform_posix.h). Two processes serve one name again and again, and a third lists what is served; each may be killed at any point,
 * and then comes again. A dead name lies there from the beginning. Whoever finds the lock held may have waited long enough, and gives up.
 *
 * Proved: a name never has two owners; while its owner lives nobody else removes it, or takes it; a dead one is in nobody's way.
 *
 * Mutants, which must fail: -DNO_LOCK, -DNO_SECOND_LOOK (the lister removes what was dead before it had the lock), -DNO_DIAL (who serves
 * takes whatever lies there for dead), -DKEEP_DEAD (who serves does not clear away). */
#define LISTER 2
#define NOBODY 3
#define DEAD 4

byte name = DEAD;  /* whose socket lies there */
bool listening[2]; /* until then a socket refuses whoever dials, as a dead one does */
byte lock = NOBODY;
bool kill[3];

bool owns[2]; /* what only the proof knows: who has been told that it serves, and has not begun to stop */

#define REFUSED (name == DEAD || (name < LISTER && !listening[name]))

inline lock_directory() {
#ifdef NO_LOCK
    skip
#else
    if
    :: atomic { lock == NOBODY -> lock = me }
    :: lock != NOBODY -> goto given_up
    fi
#endif
}

inline unlock() {
    d_step { if :: lock == me -> lock = NOBODY :: else fi }
}

inline remove_name() {
    d_step { assert(name == me || name >= LISTER || !listening[name]); name = NOBODY }
}

proctype server(byte me) {
    do
    :: {
           lock_directory();
           if
           :: name == NOBODY
#ifndef NO_DIAL
           :: name != NOBODY && !REFUSED -> unlock(); goto given_up
           :: name != NOBODY && REFUSED ->
#else
           :: name != NOBODY ->
#endif
#ifndef KEEP_DEAD
              remove_name()
#else
              skip
#endif
           fi;
           d_step { assert(name == NOBODY); name = me }; /* bind */
           d_step { listening[me] = true; owns[me] = true; assert(!owns[1 - me]) };
           unlock();
           skip; /* it serves */
           d_step { assert(name == me); owns[me] = false };
           if
           :: atomic { lock == NOBODY -> lock = me };
              assert(name == me);
              remove_name();
              unlock()
           :: lock != NOBODY /* the name remains, as a dead one's would */
           fi;
           d_step { listening[me] = false; if :: name == me -> name = DEAD :: else fi }
given_up:  skip
       } unless { kill[me] ->
           /* The kernel takes the lock and the socket. */
           d_step {
               kill[me] = false;
               if :: lock == me -> lock = NOBODY :: else fi;
               if :: name == me -> name = DEAD :: else fi;
               listening[me] = false; owns[me] = false
           }
       }
    od
}

proctype lister(byte me) {
    do
    :: {
           REFUSED;
           lock_directory();
#ifndef NO_SECOND_LOOK
           if :: REFUSED -> remove_name() :: else fi;
#else
           remove_name();
#endif
           unlock();
given_up:  skip
       } unless { kill[me] ->
           d_step { kill[me] = false; if :: lock == me -> lock = NOBODY :: else fi }
       }
    od
}

/* Kills whom it likes, as often as it likes. */
proctype fate() {
    do
    :: kill[0] = true
    :: kill[1] = true
    :: kill[LISTER] = true
    od
}

init {
    atomic { run fate(); run server(0); run server(1); run lister(LISTER) }
}
