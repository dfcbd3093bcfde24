/* A ring: whole messages, copied for onlookers. One process writes, any number read and are never waited for. It lies in memory of its own,
 * which is made when the first onlooker comes: in the region it would cost every channel four times its messages, for nothing mostly.
 *
 *
 * Each slot is a sequence lock. The writer makes its word odd, writes, makes it even; a reader that finds the same even word before and
 * after has read a whole message. A reader is given the newest, and has the time that three further ones take. */
#ifndef FERRY__RING_H
#define FERRY__RING_H

#include "region.h"
#include "spec.h"

/* So long at least between two messages. */
#define FERRY__RING_PERIOD_NS 33333333

typedef struct ferry__ring {
    ferry__region *region;
    const ferry__spec *spec;
    ferry__ring_head head;
    uint32_t latest, seq[FERRY__RING_SLOTS];
    double *returns; /* [row] of the episode under way; NaN where it began unobserved */
    uint64_t *episode; /* [row] as last noted */
    uint8_t *over; /* [row] its episode has ended, and is counted */
    uint64_t finished;
    double finished_return;
    int64_t copied_ns; /* when the newest message was written */
    int behind; /* there is a newer one */
} ferry__ring;

/* Makes one for a channel; start is the region's, of which the part that never changes is copied; episode, [row], those under way. spec
 * must outlive it. */
FERRY__LOCAL int ferry__ring_open(const ferry__spec *spec, const char *start, const uint64_t *episode, uint64_t max_bytes,
                                  ferry__ring **out, ferry_why *why);
/* NULL is allowed. */
FERRY__LOCAL void ferry__ring_close(ferry__ring *ring);
/* Counts what an answer says of rewards and ends of episodes; every answer is noted, few are written. */
FERRY__LOCAL void ferry__ring_note(ferry__ring *ring, const ferry__slot *answer);
/* The same of a STEP of one row that ended nothing, which most are. */
static inline void ferry__ring_add(ferry__ring *ring, double reward) {
    ring->returns[0] += reward;
    ring->behind = 1;
}

/* Writes the message: request is the agent's slot, or a copy, whose list of rows and actions are right. */
FERRY__LOCAL void ferry__ring_write(ferry__ring *ring, const char *request, const ferry__slot *answer, int64_t now_ns);

/* A foreign ring, mapped for reading. */
typedef struct ferry__ring_reader {
    const char *base;
    uint64_t bytes;
    ferry__ring_head head; /* private, checked */
    ferry__spec spec;
    uint32_t seen; /* the newest that was read */
    char *copy; /* the message that was read last, private: a slot; and its parts */
    const ferry__ring_slot *said;
    const double *returns;
    const ferry__slot *request, *answer;
} ferry__ring_reader;

/* Checks and maps a ring. Takes memory over, also on failure; a zeroed reader may be closed. */
FERRY__LOCAL int ferry__ring_adopt(ferry__os memory, uint64_t bytes, ferry__ring_reader *out, ferry_why *why);
FERRY__LOCAL void ferry__ring_forget(ferry__ring_reader *reader);
/* Copies the newest message: 1 if it is a new one, 0 if not, or if the writer overtook the reader again and again. What is in it, is not
 * checked. */
FERRY__LOCAL int ferry__ring_read(ferry__ring_reader *reader);

#endif
