/* Rules: what a spec must fulfil before anybody relies on it, and an action before a program indexes with it. */
#ifndef FERRY__RULES_H
#define FERRY__RULES_H

#include "spec.h"

/* Keeps every product and sum of sizes far from the end of 64 bits. */
#define FERRY__MAX_FIELD_BYTES ((uint64_t)1 << 40)

static inline uint64_t ferry__round_up(uint64_t value, uint64_t to) { return (value + to - 1) / to * to; }
/* What a row of a field takes, if one element has so many bytes. */
FERRY__LOCAL uint64_t ferry__stride(const ferry__entry *entry, uint64_t element_bytes);
FERRY__LOCAL const char *ferry__role_name(int role);

/* A header alone, so that the rest can be copied. FERRY_EPROTOCOL, EVERSION, ESPEC. */
FERRY__LOCAL int ferry__spec_check_header(const ferry__header *header, uint64_t region_bytes, ferry_why *why);
/* Everything that is used later, once header, group, entries and pool are private; fills in where columns and fields end, and how many
 * are checked. FERRY_ESPEC. */
FERRY__LOCAL int ferry__spec_check(ferry__spec *spec, ferry_why *why);
/* Are these rows' values of an action inside its field's bounds? values is row 0's. Only integers that engines index with are checked:
 * Discrete, MultiDiscrete, MultiBinary. FERRY_EINVAL with a text if not. */
FERRY__LOCAL int ferry__spec_check_action(const ferry__spec *spec, uint32_t field, const char *values, const uint32_t *rows, uint32_t count,
                                          ferry_why *why);

#endif
