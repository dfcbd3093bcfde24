/* Blobs: the bytes that ride on a turn, in the slot where they fit and by descriptor where they do not. */
#ifndef FERRY__BLOB_H
#define FERRY__BLOB_H

#include "channel.h"

/* The blob received last, private: a copy, or a mapping that nobody can change. */
typedef struct ferry__inbox {
    char *copy; /* [room] */
    uint64_t at, room; /* of blobs in the peer's slots */
    void *mapped;
    uint64_t mapped_bytes;
    int used; /* the last message had a blob */
} ferry__inbox;

/* What an env said to the first part of a turn, waiting to be joined by what it says to the second. */
typedef struct ferry__first_blob {
    char *data; /* a ferry__joined, and behind it the blob */
    uint64_t bytes;
} ferry__first_blob;

/* The blob that goes out with the next turn, as far as it does not lie in the slot. */
typedef struct ferry__outbox {
    uint64_t at, room; /* of blobs in one's own slots */
    ferry__os memory;
    uint64_t bytes; /* of the blob */
    uint32_t format;
    int used; /* the message under way has a blob; the agent's: or the one before had */
} ferry__outbox;

/* Is there nothing to do, as in most turns? (The slot that is being written is not asked: a load from a line whose ownership is on its way
 * waits for it.) */
static inline int ferry__outbox_is_idle(const ferry__outbox *outbox, const ferry_blob *blob) {
    return blob->format == FERRY_NONE && !outbox->used;
}

FERRY__LOCAL int ferry__inbox_open(ferry__inbox *inbox, uint64_t at, uint64_t room, ferry_why *why);
/* Takes the blob that head, a private copy of the slot's, speaks of. Where two were joined, *first is the first of them, else none; first
 * NULL: nobody may join any. 0, or why the connection is over. */
FERRY__LOCAL int ferry__inbox_take(ferry__inbox *inbox, ferry__channel *channel, const ferry__slot *head, const ferry__slot *slot,
                                   ferry_blob *out, ferry_blob *first);
FERRY__LOCAL void ferry__inbox_close(ferry__inbox *inbox);
/* Takes two joined blobs, private already, apart: out becomes the second. -1 if they are none. */
FERRY__LOCAL int ferry__blobs_part(ferry_blob *out, ferry_blob *first);

/* Puts a blob (or none, with format FERRY_NONE) into the message under way, in place of one put before. */
FERRY__LOCAL int ferry__outbox_put(ferry__outbox *outbox, const ferry_blob *blob, ferry__slot *slot, ferry_why *why);
/* Takes the blob that was put, if any, out of the message under way and into first, with room for one to join it. */
FERRY__LOCAL int ferry__outbox_keep(ferry__outbox *outbox, const ferry__slot *slot, ferry__first_blob *first, ferry_why *why);
/* Puts first and blob, which may be none, as one. */
FERRY__LOCAL int ferry__outbox_put_joined(ferry__outbox *outbox, ferry__first_blob *first, const ferry_blob *blob, ferry__slot *slot,
                                          ferry_why *why);
FERRY__LOCAL void ferry__first_blob_clear(ferry__first_blob *first);
/* Sends what does not lie in the slot (memory is there); just before publication. A peer that is gone is no error. */
FERRY__LOCAL void ferry__outbox_send(ferry__outbox *outbox, ferry__channel *channel);
FERRY__LOCAL void ferry__outbox_clear(ferry__outbox *outbox);

#endif
