/* Error texts: how a failure is put into words. */
#ifndef FERRY__ERRORS_H
#define FERRY__ERRORS_H

#include "platform.h"

/* Writes code and text (printf) into why, which may be NULL; returns the code. */
FERRY__LOCAL int ferry__fail(ferry_why *why, int code, const char *format, ...) FERRY__PRINTF(3, 4);
/* Appends to the text. */
FERRY__LOCAL void ferry__also(ferry_why *why, const char *format, ...) FERRY__PRINTF(2, 3);

#endif
