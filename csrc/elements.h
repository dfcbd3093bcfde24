/* Elements: numbers of a dtype, as they lie in memory. */
#ifndef FERRY__ELEMENTS_H
#define FERRY__ELEMENTS_H

#include "platform.h"

/* Writes a number as one element: exact if use_exact, else value; only where the dtype can hold it. */
FERRY__LOCAL void ferry__element(int dtype, double value, int64_t exact, int use_exact, char *out);
/* The range of an integer dtype as doubles that convert back without overflow; 0 for others. */
FERRY__LOCAL int ferry__integer_range(int dtype, double *low, double *high);
/* The element as an integer; of 64 unsigned bits, the same bits. */
FERRY__LOCAL int64_t ferry__integer_at(int dtype, const char *at);
FERRY__LOCAL double ferry__double_at(int dtype, const char *at);
/* The element as an unsigned number that is ordered as the elements are. */
FERRY__LOCAL uint64_t ferry__element_order(int dtype, const char *at);

#endif
