/* The whole library as one translation unit. */
/* Before the first system header. 64-bit sizes and inode numbers also where long has 32: without them stat fails for what is larger. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64
#endif
#define FERRY_BUILDING

/* From the ground up, so that most is defined before it is used. What several systems include comes before them. */
/* clang-format off */
#include "errors.c"
#include "elements.c"
#include "layout.h"
#include "atomics.h"
#include "platform_common.h"

#ifdef _WIN32
#include "platform_windows.h"
#include "platform_windows.c"
#include "platform_windows_pipes.c"
#else
#include "platform_posix.h"
#ifdef __APPLE__
#include "platform_macos.c"
#else
#include "platform_linux.c"
#endif
#endif

#include "platform_common.c"
#include "region.c"
#include "wait.c"
#include "address.c"
#include "bell.c"
#include "rules.c"
#include "spec.c"
#include "turns.c"
#include "rows.c"
#include "channel.c"
#include "gallery.c"
#include "blob.c"
#include "ring.c"
#include "observer.c"
#include "view.c"
#include "agent.c"
#include "world.c"
#include "env.c"
