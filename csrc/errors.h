/* Error texts: how a failure is put into words. */
#ifndef FERRY__ERRORS_H
#define FERRY__ERRORS_H

#include "platform.h"

typedef unsigned long long ferry__ull; /* what %llu takes */

/* Writes code and text (printf) into why, which may be NULL; returns the code. */
FERRY__LOCAL int ferry__fail(ferry_why *why, int code, const char *format, ...) FERRY__PRINTF(3, 4);
FERRY__LOCAL int ferry__no_memory(ferry_why *why);
/* The same, and behind the text what the system says of the call that failed last. */
FERRY__LOCAL int ferry__fail_os(ferry_why *why, int code, const char *format, ...) FERRY__PRINTF(3, 4);
/* Appends to the text. */
FERRY__LOCAL void ferry__also(ferry_why *why, const char *format, ...) FERRY__PRINTF(2, 3);

/* Are these the arguments of ferry_WHAT_open: a place for the handle, and a description of so many bytes? FERRY_EINVAL if not. */
FERRY__LOCAL int ferry__check_open(const char *what, const void *out, const uint32_t *struct_size, size_t bytes, ferry_why *why);

#endif
