/* A turn's pointers: the same for every turn but for which of the env's two slots they point into. */
#ifndef FERRY__TABLE_H
#define FERRY__TABLE_H

#include "spec.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ferry__table {
    void **data[2];       /* [field] for either slot */
    uint8_t **present[2]; /* [field] */
    uint64_t *stride;     /* [field] */
    uint32_t row;         /* the list of rows: 0 alone */
    void *block;          /* what the arrays lie in */
} ferry__table;

FERRY__LOCAL int ferry__table_open(ferry__table *table, const ferry__spec *spec, ferry_why *why);
FERRY__LOCAL void ferry__table_close(ferry__table *table);
/* Points into a mapped region. actions stands for the agent's slot: the slot itself, or a private copy of it. */
FERRY__LOCAL void ferry__table_point(ferry__table *table, const ferry__spec *spec, char *base, char *actions);
/* Makes turn's columns and fields those of slot number which (0 or 1). */
FERRY__LOCAL void ferry__table_show(ferry__table *table, const ferry__spec *spec, char *base, uint32_t which, ferry_turn *turn);

#ifdef __cplusplus
}
#endif

#endif
