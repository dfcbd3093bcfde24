/* The whole library as one translation unit. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* before the first system header */
#endif
#define FERRY_BUILDING

#include "errors.c"

#include "address.c"
#include "agent.c"
#include "bell.c"
#include "blob.c"
#include "channel.c"
#include "elements.c"
#include "env.c"
#include "region.c"
#include "rows.c"
#include "rules.c"
#include "spec.c"
#include "turns.c"
#include "wait.c"

#include "platform_linux.c"
