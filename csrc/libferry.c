/* The whole library as one translation unit. */
/* Before the first system header. 64-bit sizes and inode numbers also where long has 32: without them stat fails for what is larger. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64
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
#include "gallery.c"
#include "observer.c"
#include "region.c"
#include "ring.c"
#include "rows.c"
#include "rules.c"
#include "spec.c"
#include "turns.c"
#include "view.c"
#include "wait.c"
#include "world.c"

#if defined(_WIN32)
#include "platform_windows.c"
#include "platform_windows_pipes.c"
#elif defined(__APPLE__)
#include "platform_macos.c"
#else
#include "platform_linux.c"
#endif
