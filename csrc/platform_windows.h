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

/* What a ferry__os points to begins with this. */
typedef struct ferry__object {
    ferry__kind kind;
    HANDLE handle; /* section, process, pipe */
} ferry__object;

enum { FERRY__ASLEEP, FERRY__OTHER, FERRY__NUM_EVENTS };

typedef struct ferry__memory {
    ferry__object object;
    HANDLE event[FERRY__NUM_EVENTS]; /* this side sleeps on one and wakes the other by the other; NULL: frozen memory has none */
} ferry__memory;

static inline ferry__memory *ferry__as_memory(ferry__os os) { return (ferry__memory *)os; }
FERRY__LOCAL ferry__memory *ferry__memory_new(void);
FERRY__LOCAL void ferry__memory_free(ferry__memory *memory);
FERRY__LOCAL void ferry__close_handle(HANDLE *handle);

/* Never shorter than ns. */
FERRY__LOCAL DWORD ferry__milliseconds(int64_t ns);

/* UTF-8, which all texts of Ferry's are, into Windows' own, and back: 0, or -1 if there is no room or it is none. */
FERRY__LOCAL int ferry__wide(const char *text, WCHAR *out, int size);
FERRY__LOCAL int ferry__narrow(const WCHAR *text, char *out, int size);

typedef struct ferry__said {
    char text[256];
} ferry__said;

/* What Windows says of an error, on one line. */
FERRY__LOCAL ferry__said ferry__says(DWORD error);

/* ---- Names ---- */

#define FERRY__SHARE_ALL (FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE)

/* Opens a name's file, for as long as this process lives; else INVALID_HANDLE_VALUE and an error: ERROR_SHARING_VIOLATION if it has a server,
 * ERROR_FILE_EXISTS if it is somebody's own, and left alone. */
FERRY__LOCAL HANDLE ferry__take_name(const WCHAR *path);
/* What the file of a name says: "ferry PID". The pid; 0: it is not there or says nothing as yet; -1: it is somebody's own. */
FERRY__LOCAL int64_t ferry__server_of(const WCHAR *path);
/* Is the file being removed? It is, for a moment, where its server has ended while somebody looked at it; and says that access is denied. */
FERRY__LOCAL int ferry__is_going(const WCHAR *path, DWORD error);
/* The pipe that belongs to a name's file. */
FERRY__LOCAL int ferry__pipe_of(HANDLE file, WCHAR out[64]);

#endif
