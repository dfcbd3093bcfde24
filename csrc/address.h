/* An address: who listens, where. */
#ifndef FERRY__ADDRESS_H
#define FERRY__ADDRESS_H

#include "layout.h"
#include "platform.h"

typedef enum ferry__place { FERRY__NAME, FERRY__PATH, FERRY__INHERITED } ferry__place;

typedef struct ferry__address {
    int serve; /* this side listens */
    ferry__place place;
    int32_t index;  /* of an env among its fellows; -1 */
    int64_t number; /* INHERITED: the descriptor */
    char text[128]; /* NAME, PATH: as given, without role and index */
} ferry__address;

/* Reads text as described in libferry.h; serve is the role where the text does not say. */
FERRY__LOCAL int ferry__address_parse(const char *text, int serve, ferry__address *out, ferry_why *why);
/* Takes the address: NAME in the first directory that can be used. */
FERRY__LOCAL int ferry__address_listen(const ferry__address *address, ferry__listener *out, ferry_why *why);
/* One attempt, NAME in every directory: 1 and a stream, 0 nobody is there, negative: see why. */
FERRY__LOCAL int ferry__address_connect(const ferry__address *address, ferry__os *out, ferry_why *why);
/* Appends where a NAME was looked for, who is there instead, and the nearest name. */
FERRY__LOCAL void ferry__address_advise(const ferry__address *address, ferry_why *why);

#endif
