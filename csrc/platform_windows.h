/* What the two halves of the platform on Windows share: objects, texts, names. */
#ifndef FERRY__PLATFORM_WINDOWS_H
#define FERRY__PLATFORM_WINDOWS_H

#ifndef _WIN32_WINNT
#define _WIN32_WINNT 0x0601
#endif
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif

#include "platform.h"

#include <windows.h>

typedef enum ferry__kind { FERRY__IS_MEMORY, FERRY__IS_PROCESS, FERRY__IS_STREAM, FERRY__IS_LISTENER } ferry__kind;

/* The handles of an object: */
enum {
    FERRY__MAIN,  /* section, process, pipe */
    FERRY__EVENT, /* memory: this side sleeps on it; stream, listener: set when what is pending is done, or the stream has ended */
    FERRY__OTHER, /* memory: wakes the other side; stream: the process at the other end, if it is known; listener: the file of the name */
    FERRY__NUM_HANDLES
};

/* What a ferry__os points to, or begins with. */
typedef struct ferry__object {
    ferry__kind kind;
    int pending; /* a pipe: has the system been asked for bytes, or for somebody who connects? */
    HANDLE handle[FERRY__NUM_HANDLES];
    OVERLAPPED asked;
} ferry__object;

static inline ferry__object *ferry__as_object(ferry__os os) { return (ferry__object *)os; }
/* Makes one, without handles but a pipe's event; NULL if there is no memory. ferry__platform_close ends any. */
FERRY__LOCAL ferry__object *ferry__object_new(ferry__kind kind, size_t bytes);

/* Never shorter than ns. */
FERRY__LOCAL DWORD ferry__milliseconds(int64_t ns);

#define FERRY__MOST_WIDE 512
/* UTF-8, which all texts of Ferry's are, into Windows' own; each is shorter than FERRY__MOST_WIDE. */
FERRY__LOCAL void ferry__wide(const char *text, WCHAR out[FERRY__MOST_WIDE]);

/* ---- Names ---- */

#define FERRY__SHARE_ALL (FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE)

/* Opens a name's file, for as long as this process lives; else NULL and an error: ERROR_SHARING_VIOLATION if it has a server,
 * ERROR_FILE_EXISTS if it is somebody's own, and left alone. */
FERRY__LOCAL HANDLE ferry__take_name(const WCHAR *path);
/* What the file of a name says: "ferry PID". The pid; 0: it is not there; -1: it says nothing as yet, or is somebody's own. */
FERRY__LOCAL int64_t ferry__server_of(const WCHAR *path);
/* The pipe that belongs to a name's file. */
FERRY__LOCAL int ferry__pipe_of(HANDLE file, WCHAR out[FERRY__MOST_WIDE]);

#endif
