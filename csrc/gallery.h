/* A gallery: who has come through the door of a channel that is in use. Observers sit there and look on; whoever has not said yet what it
 * wants sits there until it does. Nobody is waited for, and the channel's two sides are told nothing. */
#ifndef FERRY__GALLERY_H
#define FERRY__GALLERY_H

#include "layout.h"
#include "platform.h"

struct ferry__channel;

typedef struct ferry__seat {
    ferry__os stream; /* FERRY__NO_OS: the seat is free, if it is not taken */
    int taken, observes;
    uint32_t pid;
    int64_t since_ns;
    uint32_t received; /* bytes of the greeting */
    char greeting[sizeof(ferry__frame) + sizeof(ferry__hello)];
} ferry__seat;

/* Observers, as many as can be polled at once, and as many others. */
#define FERRY__SEATS (2 * FERRY__MAX_OBSERVERS)

typedef struct ferry__gallery {
    ferry__seat seats[FERRY__SEATS];
    uint32_t taken, observers;
} ferry__gallery;

/* Takes a visitor in; fewer than FERRY__SEATS are taken. Observers take half of them at most, and who is silent does not stay, so that one
 * will be free. */
FERRY__LOCAL void ferry__gallery_seat(ferry__gallery *gallery, ferry__os stream, uint32_t pid, int64_t now_ns);
/* Hears what visitors want, and lets go who has left. */
FERRY__LOCAL void ferry__gallery_look(struct ferry__channel *channel, int64_t now_ns);
/* Tells observers that the channel's connection is over, and closes. */
FERRY__LOCAL void ferry__gallery_dismiss(struct ferry__channel *channel);
/* Closes without a word, as in a forked child. */
FERRY__LOCAL void ferry__gallery_close(struct ferry__channel *channel);

#endif
