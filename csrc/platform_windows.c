/* The platform contract on Windows: pagefile sections, events, named pipes, process handles. Needs Windows 7 or newer; Wine will do. Here
 * are time, sleeping, memory and names; platform_windows_pipes.c has the rest.
 *
 * WaitOnAddress does not reach other processes. So each memory has two events: its maker sleeps on one, whoever it was given to on the
 * other. Sleepers look at the word first and may wake for nothing, so it does no harm that an event is left set.
 *
 * A name is a file that its server holds open and that the system deletes with the server; the pipe is called after the file's number on its
 * volume, so that every spelling of a path leads to it. */
#include "platform.h"

#ifdef _WIN32

#include "atomics.h"
#include "errors.h"
#include "layout.h"
#include "platform_common.h"
#include "platform_windows.h"

#include <psapi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

ferry__object *ferry__object_new(ferry__kind kind, size_t bytes) {
    ferry__object *object = (ferry__object *)calloc(1, bytes);
    if (object == NULL) return NULL;
    object->kind = kind;
    if (kind == FERRY__IS_MEMORY || kind == FERRY__IS_PROCESS) return object;
    object->asked.hEvent = object->handle[FERRY__EVENT] = CreateEventW(NULL, TRUE, FALSE, NULL);
    if (object->asked.hEvent != NULL) return object;
    free(object);
    return NULL;
}

/* ---- Texts ---- */

void ferry__wide(const char *text, WCHAR out[FERRY__MOST_WIDE]) { MultiByteToWideChar(CP_UTF8, 0, text, -1, out, FERRY__MOST_WIDE); }

/* And back: 0, or -1 if there is no room. */
static int ferry__narrow(const WCHAR *text, char *out, uint32_t out_bytes) {
    return WideCharToMultiByte(CP_UTF8, 0, text, -1, out, (int)out_bytes, NULL, NULL) > 0 ? 0 : -1;
}

void ferry__platform_says(char *out, uint32_t out_bytes) {
    DWORD error = GetLastError();
    WCHAR wide[64];
    DWORD length = FormatMessageW(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS | FORMAT_MESSAGE_MAX_WIDTH_MASK, NULL, error,
                                  0, wide, 64, NULL);
    while (length > 0 && (wide[length - 1] == ' ' || wide[length - 1] == '.')) wide[--length] = 0;
    if (length == 0 || ferry__narrow(wide, out, out_bytes) != 0) snprintf(out, out_bytes, "Windows error %lu", (unsigned long)error);
}

int ferry__platform_variable(const char *name, char *out, uint32_t out_bytes) {
    WCHAR wide_name[FERRY__MOST_WIDE], wide[1024];
    DWORD length;
    ferry__wide(name, wide_name);
    length = GetEnvironmentVariableW(wide_name, wide, 1024);
    *out = 0;
    if (length >= 1024 || (length > 0 && ferry__narrow(wide, out, out_bytes) != 0)) {
        memset(out, '?', out_bytes - 1);
        out[out_bytes - 1] = 0;
    }
    return *out != 0;
}

/* ---- Time and processor ---- */

int64_t ferry__platform_now_ns(void) {
    LARGE_INTEGER count, frequency;
    QueryPerformanceCounter(&count);
    QueryPerformanceFrequency(&frequency);
    return count.QuadPart / frequency.QuadPart * 1000000000 + count.QuadPart % frequency.QuadPart * 1000000000 / frequency.QuadPart;
}

void ferry__platform_yield(void) { SwitchToThread(); }

/* Windows sleeps in whole ticks of its clock, 1 to 16 ms each. */
void ferry__platform_nap(int64_t ns) { Sleep((DWORD)((ns + 999999) / 1000000)); }

uint32_t ferry__platform_pid(void) { return GetCurrentProcessId(); }

/* Windows numbers processors in groups of up to 64. */
uint32_t ferry__platform_processor(void) {
    PROCESSOR_NUMBER number;
    GetCurrentProcessorNumberEx(&number);
    return number.Group * UINT32_C(64) + number.Number + 1;
}

void ferry__platform_fetch(uint32_t pid) { (void)pid; } /* its scheduler moves whoever is queued by itself */

DWORD ferry__milliseconds(int64_t ns) {
    int64_t ms = ns / 1000000 + (ns % 1000000 > 0);
    return ms <= 0 ? 0 : ms > 0x7FFFFFFF ? 0x7FFFFFFF : (DWORD)ms;
}

/* ---- Sleeping ---- */

void ferry__platform_sleep(ferry__os memory, const uint32_t *word, uint32_t value, int64_t timeout_ns) {
    if (ferry__load_acquire(word) != value) return;
    if (WaitForSingleObject(ferry__as_object(memory)->handle[FERRY__EVENT], ferry__milliseconds(timeout_ns)) == WAIT_FAILED) Sleep(1);
}

void ferry__platform_wake(ferry__os memory, const uint32_t *word) {
    (void)word;
    SetEvent(ferry__as_object(memory)->handle[FERRY__OTHER]);
}

/* ---- Memory ---- */

/* Windows promises no memory that it does not have, so the limit of a job shows itself when the memory is made. */
uint64_t ferry__platform_memory_available(void) {
    MEMORYSTATUSEX status;
    status.dwLength = sizeof status;
    if (!GlobalMemoryStatusEx(&status)) return UINT64_MAX;
    return status.ullAvailPhys < status.ullAvailPageFile ? status.ullAvailPhys : status.ullAvailPageFile;
}

ferry__os ferry__memory_make(uint64_t bytes) {
    ferry__object *memory = ferry__object_new(FERRY__IS_MEMORY, sizeof *memory);
    HANDLE *handle;
    SetLastError(ERROR_NOT_ENOUGH_MEMORY);
    if (memory == NULL) return FERRY__NO_OS;
    handle = memory->handle;
    handle[FERRY__MAIN] = CreateFileMappingW(INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE, (DWORD)(bytes >> 32), (DWORD)bytes, NULL);
    if (handle[FERRY__MAIN] != NULL && (handle[FERRY__EVENT] = CreateEventW(NULL, FALSE, FALSE, NULL)) != NULL &&
        (handle[FERRY__OTHER] = CreateEventW(NULL, FALSE, FALSE, NULL)) != NULL)
        return (ferry__os)memory;
    ferry__platform_close((ferry__os)memory);
    return FERRY__NO_OS;
}

void *ferry__memory_view(ferry__os memory, size_t bytes, int writable) {
    return MapViewOfFile(ferry__as_object(memory)->handle[FERRY__MAIN], writable ? FILE_MAP_READ | FILE_MAP_WRITE : FILE_MAP_READ, 0, 0,
                         bytes);
}

void ferry__platform_memory_settle(ferry__os *memory) {
    HANDLE *section = &ferry__as_object(*memory)->handle[FERRY__MAIN];
    CloseHandle(*section);
    *section = NULL;
}

/* A section neither shrinks nor grows, nor does it lose pages, once they are there: as they all are, unless it was made to get them later.
 * One that is backed by a file may lose the file. */
int ferry__platform_memory_check(ferry__os memory, uint64_t bytes, int frozen, ferry_why *why) {
    MEMORY_BASIC_INFORMATION found;
    WCHAR file[MAX_PATH];
    void *view = ferry__memory_view(memory, 0, 0);
    int whole, backed;
    (void)frozen;
    if (view == NULL) return ferry__fail(why, FERRY_EPROTOCOL, "the peer's handle is not memory");
    whole = VirtualQuery(view, &found, sizeof found) == sizeof found && found.State == MEM_COMMIT && found.Type == MEM_MAPPED;
    backed = K32GetMappedFileNameW(GetCurrentProcess(), view, file, MAX_PATH) != 0;
    UnmapViewOfFile(view);
    if (!whole || backed) return ferry__fail(why, FERRY_EPROTOCOL, "the peer's memory is not all there, or lies in a file");
    return ferry__check_bytes(found.RegionSize, bytes, FERRY__PAGE, why);
}

int ferry__platform_memory_protect(void *start, uint64_t bytes, ferry_why *why) {
    DWORD before;
    if (VirtualProtect(start, (size_t)bytes, PAGE_READONLY, &before)) return 0;
    return ferry__fail_os(why, FERRY_ESYSTEM, "VirtualProtect failed");
}

void ferry__platform_memory_unmap(void *start, uint64_t bytes) {
    (void)bytes;
    UnmapViewOfFile(start);
}

/* There is no fork. */
int ferry__platform_canary_create(uint32_t **out, ferry_why *why) {
    static uint32_t here = 1;
    (void)why;
    *out = &here;
    return 0;
}

void ferry__platform_canary_destroy(uint32_t *canary) { (void)canary; }

/* ---- Places ---- */

int ferry__platform_is_path(const char *text) {
    int drive = (text[0] >= 'A' && text[0] <= 'Z') || (text[0] >= 'a' && text[0] <= 'z');
    return text[0] == '/' || text[0] == '\\' || (drive && text[1] == ':' && (text[2] == '/' || text[2] == '\\'));
}

/* The user's own data, and what is temporary. */
int ferry__usual_directory(int i, char *out, uint32_t out_bytes) {
    char base[FERRY__MOST_PATH];
    if (i > 1 || !ferry__platform_variable(i == 0 ? "LOCALAPPDATA" : "TEMP", base, sizeof base)) return 0;
    snprintf(out, out_bytes, "%s/ferry", base);
    return 1;
}

int ferry__make_directory(const char *path) {
    WCHAR wide[FERRY__MOST_WIDE];
    ferry__wide(path, wide);
    return CreateDirectoryW(wide, NULL) || GetLastError() == ERROR_ALREADY_EXISTS ? 0 : -1;
}

int ferry__check_directory(char *path, int make, ferry_why *why) {
    WCHAR wide[FERRY__MOST_WIDE];
    DWORD found;
    char *at;
    (void)why;
    for (at = path; *at != 0; at++)
        if (*at == '\\') *at = '/';
    ferry__wide(path, wide);
    found = GetFileAttributesW(wide);
    return !make || (found != INVALID_FILE_ATTRIBUTES && (found & FILE_ATTRIBUTE_DIRECTORY) != 0);
}

int64_t ferry__server_of(const WCHAR *path) {
    static const char mark[] = "ferry ";
    char text[32] = "";
    DWORD got = 0;
    HANDLE file = CreateFileW(path, GENERIC_READ, FERRY__SHARE_ALL, NULL, OPEN_EXISTING, 0, NULL);
    if (file == INVALID_HANDLE_VALUE) return GetFileAttributesW(path) != INVALID_FILE_ATTRIBUTES ? -1 : 0;
    if (!ReadFile(file, text, sizeof text - 1, &got, NULL)) got = 0;
    CloseHandle(file);
    return strncmp(text, mark, strlen(mark)) == 0 ? (int64_t)strtoul(text + strlen(mark), NULL, 10) : -1;
}

/* A name's server lets nobody else write to its file: is one there? */
static int ferry__is_served(const WCHAR *path) {
    HANDLE file;
    if (ferry__server_of(path) <= 0) return 0;
    file = CreateFileW(path, GENERIC_WRITE, FERRY__SHARE_ALL, NULL, OPEN_EXISTING, 0, NULL);
    if (file == INVALID_HANDLE_VALUE) return GetLastError() == ERROR_SHARING_VIOLATION;
    CloseHandle(file);
    return 0;
}

void ferry__platform_each_name(const char *directory, int (*is_name)(const char *), void (*each)(void *user, const char *name),
                               void *user) {
    char text[FERRY__MOST_WIDE], name[FERRY__MOST_WIDE / 2];
    WCHAR wide[FERRY__MOST_WIDE];
    WIN32_FIND_DATAW found;
    HANDLE search;
    snprintf(text, sizeof text, "%s/*", directory);
    ferry__wide(text, wide);
    search = FindFirstFileW(wide, &found);
    if (search == INVALID_HANDLE_VALUE) return;
    do {
        if ((found.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY) != 0 || ferry__narrow(found.cFileName, name, sizeof name) != 0 ||
            !is_name(name))
            continue;
        snprintf(text, sizeof text, "%s/%s", directory, name);
        ferry__wide(text, wide);
        if (ferry__is_served(wide)) each(user, name);
    } while (FindNextFileW(search, &found));
    FindClose(search);
}

int ferry__pipe_of(HANDLE file, WCHAR out[FERRY__MOST_WIDE]) {
    BY_HANDLE_FILE_INFORMATION info;
    char text[64];
    if (!GetFileInformationByHandle(file, &info)) return -1;
    snprintf(text, sizeof text, "\\\\.\\pipe\\ferry-%08lx-%08lx%08lx", (unsigned long)info.dwVolumeSerialNumber,
             (unsigned long)info.nFileIndexHigh, (unsigned long)info.nFileIndexLow);
    ferry__wide(text, out);
    return 0;
}

/* Who merely looks whether somebody serves holds the file for a moment, and so does a scanner: so there is more than one attempt. */
HANDLE ferry__take_name(const WCHAR *path) {
    HANDLE file = INVALID_HANDLE_VALUE;
    char text[32];
    DWORD done, error = 0;
    int tries;
    for (tries = 0; tries < 10; tries++) {
        if (tries > 0) Sleep(5);
        error = ERROR_FILE_EXISTS;
        if (ferry__server_of(path) < 0) continue;
        file = CreateFileW(path, GENERIC_WRITE | DELETE, FILE_SHARE_READ | FILE_SHARE_DELETE, NULL, CREATE_ALWAYS,
                           FILE_ATTRIBUTE_TEMPORARY | FILE_FLAG_DELETE_ON_CLOSE, NULL);
        if (file != INVALID_HANDLE_VALUE) break;
        error = GetLastError();
        if (error != ERROR_SHARING_VIOLATION && error != ERROR_ACCESS_DENIED) break;
    }
    if (file == INVALID_HANDLE_VALUE) {
        SetLastError(error);
        return NULL;
    }
    snprintf(text, sizeof text, "ferry %lu\n", (unsigned long)GetCurrentProcessId());
    WriteFile(file, text, (DWORD)strlen(text), &done, NULL);
    return file;
}

#endif
