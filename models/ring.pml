/* The ring: whole messages, copied for onlookers, each slot a sequence lock.
 *
 * Stands for ferry__ring_write and ferry__ring_read (csrc/ring.c), with two slots in place of four, so that a reader is overtaken sooner.
 * Of a message there are two words: count, and one that stands for all others.
 *
 * The memory is a weak one: between two barriers the writer's stores are seen in any order, and the reader's loads are made in any. The
 * writer loads nothing that is shared, so a barrier may as well wait until all before it has been seen.
 *
 * Proved, for a writer that comes round more than twice, with words that wrap, and dies at any point:
 *   - what a reader accepts is whole, is the message that it looked for, and is newer than the one before;
 *   - once the writer has ended or died, the first try gives the newest that was published, if the reader has not had it.
 *
 * Mutants, which must fail: -DNO_RECHECK (the word is not looked at again), -DNO_ODD (the writer does not announce that it writes),
 * -DNO_RELEASE, -DNO_ACQUIRE (without the fences of these names), -DNO_COUNT (a whole message is taken for the one looked for). */
#define SLOTS 2
#define MESSAGES 5
#define COUNTS 16
#define START (COUNTS - 2)
#define SEQ_START 254 /* the slots' words are bytes, and wrap */
#define AFTER(count) ((count - START + COUNTS) % COUNTS)

#define SEQ(slot) (slot)
#define COUNT(slot) (SLOTS + slot)
#define REST(slot) (2 * SLOTS + slot)
#define LATEST (3 * SLOTS)
#define WORDS (3 * SLOTS + 1)

byte memory[WORDS], stored[WORDS];
bool pending[WORDS];
byte pendings;
bool kill, over;

#define ALL_SEEN (pendings == 0)
inline store(where, value) { d_step { assert(!pending[where]); stored[where] = value; pending[where] = true; pendings++ } }

inline seen(where) { d_step { memory[where] = stored[where]; stored[where] = 0; pending[where] = false; pendings-- } }

proctype memory_order() {
end:
    do
    :: pending[0] -> seen(0)
    :: pending[1] -> seen(1)
    :: pending[2] -> seen(2)
    :: pending[3] -> seen(3)
    :: pending[4] -> seen(4)
    :: pending[5] -> seen(5)
    :: pending[6] -> seen(6)
    od
}

proctype writer() {
    byte next = START, seq[SLOTS] = SEQ_START, slot, written;
    {
        do
        :: written < MESSAGES ->
           d_step { written++; next = (next + 1) % COUNTS; slot = next % SLOTS }
#ifndef NO_ODD
           store(SEQ(slot), seq[slot] + 1);
#endif
#ifndef NO_RELEASE
           ALL_SEEN;
#endif
           store(COUNT(slot), next);
           store(REST(slot), next);
           seq[slot] = seq[slot] + 2;
           ALL_SEEN;
           store(SEQ(slot), seq[slot]);
           ALL_SEEN;
           store(LATEST, next)
        :: else -> break
        od
    } unless { kill }
    ALL_SEEN -> over = true
}

proctype reader() {
    byte had = START, latest, slot, seq, again, count, rest;
    bool got_count, got_rest, got_again, last;
    do
    :: last = over;
       latest = memory[LATEST];
       if
       :: latest == had -> if :: last -> break :: else -> goto next fi
       :: else
       fi;
       slot = latest % SLOTS;
       seq = memory[SEQ(slot)];
       if :: seq % 2 != 0 -> assert(!last); goto next :: else fi;
       do
       :: !got_count -> count = memory[COUNT(slot)]; got_count = true
       :: !got_rest -> rest = memory[REST(slot)]; got_rest = true
#ifdef NO_ACQUIRE
       :: !got_again -> again = memory[SEQ(slot)]; got_again = true
       :: got_count && got_rest && got_again -> break
#else
       :: got_count && got_rest -> again = memory[SEQ(slot)]; break
#endif
       od;
#ifndef NO_RECHECK
       if :: again != seq -> assert(!last); goto next :: else fi;
#endif
#ifndef NO_COUNT
       if :: count != latest -> assert(!last); goto next :: else fi;
#endif
       assert(count == latest && rest == latest);
       assert(AFTER(latest) > AFTER(had));
       had = latest;
next:  skip;
       d_step { latest = 0; slot = 0; seq = 0; again = 0; count = 0; rest = 0; got_count = false; got_rest = false; got_again = false }
    od;
    assert(had == memory[LATEST])
}

/* Kills the writer at some time, or never. */
proctype fate() {
    if :: kill = true :: true fi
}

init {
    atomic {
        memory[LATEST] = START; memory[SEQ(0)] = SEQ_START; memory[SEQ(1)] = SEQ_START;
        run memory_order(); run fate(); run writer(); run reader()
    }
}
