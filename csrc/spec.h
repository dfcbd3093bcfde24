/* The spec: what an environment is made of, and where each piece lies. */
#ifndef FERRY__SPEC_H
#define FERRY__SPEC_H

#include "layout.h"
#include "platform.h"

/* A private copy of a region's immutable start, and the public words for it. Both sides hold one: the env builds it from its description,
 * the agent takes it from the region; both check it the same way, and neither reads the shared original afterwards. */
typedef struct ferry__spec {
    ferry__header header;
    ferry__group group;
    ferry__entry *entries; /* [num_fields] */
    char *pool;            /* strings, bounds, about */
    ferry_field *fields;   /* [num_fields]; point into pool */
    /* Where a slot's columns and fields end (offsets from the slot), by ferry__side - 1. Columns lie before fields, fields before blobs. */
    uint64_t columns_end[2], fields_end[2];
    uint64_t parts_begin; /* offset in the region: before it nothing changes */
    uint32_t num_checked; /* actions whose values are checked: Discrete, MultiDiscrete, MultiBinary */
    uint32_t num_infos;
    int realtime; /* frames and actions go through lanes */
    ferry_env_desc desc; /* what ferry_agent_env shows; points into this spec */
} ferry__spec;

/* Lays a description out. FERRY_EINVAL, ESPEC, ETOOBIG, EUNSUPPORTED, ENOMEM. */
FERRY__LOCAL int ferry__spec_build(const ferry_env_desc *desc, ferry__spec *out, ferry_why *why);
/* Lays it out anew for the autoreset mode that an agent wants. FERRY_EPROTOCOL for an unknown one. */
FERRY__LOCAL int ferry__spec_choose(ferry__spec *spec, uint32_t autoreset, ferry_why *why);
/* Writes the immutable start of a fresh region of header.region_bytes. */
FERRY__LOCAL void ferry__spec_write(const ferry__spec *spec, char *base);
/* Copies and checks a foreign region's, of which so many bytes are readable (all that never changes must lie there): after it every offset
 * and size in the spec is inside the region, aligned and safe to use. FERRY_EPROTOCOL, EVERSION, ESPEC, ENOMEM. */
FERRY__LOCAL int ferry__spec_take(const char *base, uint64_t readable, uint64_t region_bytes, ferry__spec *out, ferry_why *why);
/* Frees what build or take made; a zeroed spec is allowed. */
FERRY__LOCAL void ferry__spec_clear(ferry__spec *spec);

#endif
