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
#include "platform_windows.h"

#include <psapi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void ferry__close_handle(HANDLE *handle) {
    if (*handle != NULL && *handle != INVALID_HANDLE_VALUE) CloseHandle(*handle);
    *handle = NULL;
}

/* ---- Texts ---- */

int ferry__wide(const char *text, WCHAR *out, int size) { return MultiByteToWideChar(CP_UTF8, 0, text, -1, out, size) > 0 ? 0 : -1; }

int ferry__narrow(const WCHAR *text, char *out, int size) {
    return WideCharToMultiByte(CP_UTF8, 0, text, -1, out, size, NULL, NULL) > 0 ? 0 : -1;
}

ferry__said ferry__says(DWORD error) {
    ferry__said said;
    WCHAR wide[sizeof said.text / 4];
    DWORD length = FormatMessageW(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS | FORMAT_MESSAGE_MAX_WIDTH_MASK, NULL, error,
                                  0, wide, sizeof wide / sizeof *wide, NULL);
    while (length > 0 && (wide[length - 1] == ' ' || wide[length - 1] == '.')) wide[--length] = 0;
    if (length == 0 || ferry__narrow(wide, said.text, sizeof said.text) != 0)
        snprintf(said.text, sizeof said.text, "Windows error %lu", (unsigned long)error);
    return said;
}

void ferry__platform_says(char *out, uint32_t out_bytes) { snprintf(out, out_bytes, "%s", ferry__says(GetLastError()).text); }

int ferry__platform_variable(const char *name, char *out, uint32_t out_bytes) {
    WCHAR wide_name[64], wide[1024];
    DWORD length;
    *out = 0;
    if (ferry__wide(name, wide_name, 64) != 0) return 0;
    length = GetEnvironmentVariableW(wide_name, wide, 1024);
    if (length == 0) return 0;
    if (length >= 1024 || ferry__narrow(wide, out, (int)out_bytes) != 0) {
        memset(out, '?', out_bytes - 1); /* no address and no word that means anything */
        out[out_bytes - 1] = 0;
    }
    return 1;
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

DWORD ferry__milliseconds(int64_t ns) {
    int64_t ms = ns / 1000000 + (ns % 1000000 > 0);
    return ms <= 0 ? 0 : ms > 0x7FFFFFFF ? 0x7FFFFFFF : (DWORD)ms;
}

/* ---- Sleeping ---- */

void ferry__platform_sleep(ferry__os memory, const uint32_t *word, uint32_t value, int64_t timeout_ns) {
    if (ferry__load_acquire(word) != value) return;
    if (WaitForSingleObject(ferry__as_memory(memory)->event[FERRY__ASLEEP], ferry__milliseconds(timeout_ns)) == WAIT_FAILED) Sleep(1);
}

void ferry__platform_wake(ferry__os memory, const uint32_t *word) {
    (void)word;
    SetEvent(ferry__as_memory(memory)->event[FERRY__OTHER]);
}

/* ---- Memory ---- */

/* Windows promises no memory that it does not have, so the limit of a job shows itself when the memory is made. */
uint64_t ferry__platform_memory_available(void) {
    MEMORYSTATUSEX status;
    status.dwLength = sizeof status;
    if (!GlobalMemoryStatusEx(&status)) return UINT64_MAX;
    return status.ullAvailPhys < status.ullAvailPageFile ? status.ullAvailPhys : status.ullAvailPageFile;
}

ferry__memory *ferry__memory_new(void) {
    ferry__memory *memory = (ferry__memory *)calloc(1, sizeof *memory);
    if (memory != NULL) memory->object.kind = FERRY__IS_MEMORY;
    return memory;
}

void ferry__memory_free(ferry__memory *memory) {
    int i;
    ferry__close_handle(&memory->object.handle);
    for (i = 0; i < FERRY__NUM_EVENTS; i++) ferry__close_handle(&memory->event[i]);
    free(memory);
}

static int ferry__make_memory(uint64_t bytes, int num_events, ferry__os *out, ferry_why *why) {
    ferry__memory *memory = ferry__memory_new();
    int i, made = 0;
    *out = FERRY__NO_OS;
    if (memory == NULL) return ferry__no_memory(why);
    memory->object.handle = CreateFileMappingW(INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE, (DWORD)(bytes >> 32), (DWORD)bytes, NULL);
    if (memory->object.handle != NULL)
        for (i = 0; i < num_events; i++) made += (memory->event[i] = CreateEventW(NULL, FALSE, FALSE, NULL)) != NULL;
    if (memory->object.handle == NULL || made < num_events) {
        ferry__fail(why, FERRY_ENOMEM, "could not reserve %llu bytes of shared memory: %s", (unsigned long long)bytes,
                    ferry__says(GetLastError()).text);
        ferry__memory_free(memory);
        return why->code;
    }
    *out = (ferry__os)memory;
    return 0;
}

int ferry__platform_memory_create(uint64_t bytes, ferry__os *out, ferry_why *why) {
    return ferry__make_memory(bytes, FERRY__NUM_EVENTS, out, why);
}

int ferry__platform_memory_freeze(const void *data, uint64_t bytes, ferry__os *out, ferry_why *why) {
    void *view;
    if (ferry__make_memory(bytes, 0, out, why) < 0) return why->code;
    if (ferry__platform_memory_map(*out, bytes, 1, &view, why) < 0) {
        ferry__platform_close(*out);
        *out = FERRY__NO_OS;
        return why->code;
    }
    memcpy(view, data, (size_t)bytes);
    ferry__platform_memory_unmap(view, bytes);
    return 0;
}

/* No handle can be had but as a gift. */
void ferry__platform_memory_seal(ferry__os memory) { (void)memory; }

void ferry__platform_memory_settle(ferry__os *memory) { ferry__close_handle(&ferry__as_memory(*memory)->object.handle); }

/* A section neither shrinks nor grows, nor does it lose pages, once they are there: as they all are, unless it was made to get them later.
 * One that is backed by a file may lose the file. Nobody can take from a peer the right to write to what it made: so what is frozen is
 * copied when it is mapped. */
int ferry__platform_memory_check(ferry__os memory, uint64_t bytes, int frozen, ferry_why *why) {
    const uint64_t mask = FERRY__PAGE - 1;
    MEMORY_BASIC_INFORMATION found;
    WCHAR file[MAX_PATH];
    void *view = MapViewOfFile(ferry__as_memory(memory)->object.handle, FILE_MAP_READ, 0, 0, 0);
    int known, whole, backed;
    (void)frozen;
    if (view == NULL) return ferry__fail(why, FERRY_EPROTOCOL, "the peer's handle is not memory");
    known = VirtualQuery(view, &found, sizeof found) == sizeof found;
    whole = known && found.State == MEM_COMMIT && found.Type == MEM_MAPPED;
    backed = K32GetMappedFileNameW(GetCurrentProcess(), view, file, MAX_PATH) != 0;
    UnmapViewOfFile(view);
    if (!whole || backed) return ferry__fail(why, FERRY_EPROTOCOL, "the peer's memory is not all there, or lies in a file");
    if (found.RegionSize != ((bytes + mask) & ~mask))
        return ferry__fail(why, FERRY_EPROTOCOL, "the peer's memory has %llu bytes where it said %llu",
                           (unsigned long long)found.RegionSize, (unsigned long long)bytes);
    return 0;
}

/* For reading: a private copy, which stays as it is whatever the peer does. */
static void *ferry__map_copy(HANDLE section, size_t bytes) {
    DWORD before;
    const void *view = MapViewOfFile(section, FILE_MAP_READ, 0, 0, bytes);
    void *copy = view != NULL ? VirtualAlloc(NULL, bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE) : NULL;
    if (copy != NULL) {
        memcpy(copy, view, bytes);
        VirtualProtect(copy, bytes, PAGE_READONLY, &before);
    }
    if (view != NULL) UnmapViewOfFile(view);
    return copy;
}

int ferry__platform_memory_map(ferry__os memory, uint64_t bytes, int mapping, void **out, ferry_why *why) {
    HANDLE section = ferry__as_memory(memory)->object.handle;
    *out = NULL;
    SetLastError(ERROR_NOT_ENOUGH_MEMORY);
    if ((uint64_t)(size_t)bytes == bytes)
        *out = mapping == FERRY__MAP_WRITABLE ? MapViewOfFile(section, FILE_MAP_READ | FILE_MAP_WRITE, 0, 0, (size_t)bytes)
               : mapping == FERRY__MAP_LIVE   ? MapViewOfFile(section, FILE_MAP_READ, 0, 0, (size_t)bytes)
                                              : ferry__map_copy(section, (size_t)bytes);
    if (*out != NULL) return 0;
    return ferry__fail(why, FERRY_ENOMEM, "could not map %llu bytes of shared memory: %s", (unsigned long long)bytes,
                       ferry__says(GetLastError()).text);
}

int ferry__platform_memory_protect(void *start, uint64_t bytes, ferry_why *why) {
    DWORD before;
    if (VirtualProtect(start, (size_t)bytes, PAGE_READONLY, &before)) return 0;
    return ferry__fail(why, FERRY_ESYSTEM, "VirtualProtect failed: %s", ferry__says(GetLastError()).text);
}

void ferry__platform_memory_unmap(void *start, uint64_t bytes) {
    (void)bytes;
    if (!UnmapViewOfFile(start)) VirtualFree(start, 0, MEM_RELEASE);
}

/* There is no fork. */
int ferry__platform_canary_create(uint32_t **out, ferry_why *why) {
    *out = (uint32_t *)malloc(sizeof **out);
    if (*out == NULL) return ferry__no_memory(why);
    **out = 1;
    return 0;
}

void ferry__platform_canary_destroy(uint32_t *canary) { free(canary); }

/* ---- Places ---- */

int ferry__platform_is_path(const char *text) {
    int drive = (text[0] >= 'A' && text[0] <= 'Z') || (text[0] >= 'a' && text[0] <= 'z');
    return text[0] == '/' || text[0] == '\\' || (drive && text[1] == ':' && (text[2] == '/' || text[2] == '\\'));
}

/* Candidates: the variable alone, if it is set; else the user's own data, and what is temporary. */
int ferry__platform_directory(int i, int make, char *out, uint32_t out_bytes, ferry_why *why) {
    const char *const variable[] = {"FERRY_RUNTIME_DIR", "LOCALAPPDATA", "TEMP"};
    char base[512], *at;
    WCHAR wide[512];
    int named = ferry__platform_variable(variable[0], base, sizeof base), length;
    DWORD found;
    if (i > 1 - named || (!named && !ferry__platform_variable(variable[1 + i], base, sizeof base))) return 0;
    length = snprintf(out, out_bytes, "%s%s", base, named ? "" : "/ferry");
    for (at = out; *at != 0; at++)
        if (*at == '\\') *at = '/';
    if (!ferry__platform_is_path(out))
        return ferry__fail(why, FERRY_EADDRESS,
                           "the directory '%s' is not absolute, so that others would not find it; set FERRY_RUNTIME_DIR to one that is",
                           out);
    /* A path is kept in 128 bytes; a name needs up to 42 of them. */
    if (length < 0 || length > 128 - 43 || (uint32_t)length >= out_bytes)
        return ferry__fail(why, FERRY_EADDRESS,
                           "the directory '%s' has too long a path (85 bytes at most); set FERRY_RUNTIME_DIR to a shorter one", out);
    if (!make) return 1;
    if (ferry__wide(out, wide, 512) == 0 && !CreateDirectoryW(wide, NULL) && GetLastError() != ERROR_ALREADY_EXISTS)
        return ferry__fail(why, FERRY_EADDRESS, "set FERRY_RUNTIME_DIR to a directory that you own; could not make '%s': %s", out,
                           ferry__says(GetLastError()).text);
    found = GetFileAttributesW(wide);
    if (found == INVALID_FILE_ATTRIBUTES || (found & FILE_ATTRIBUTE_DIRECTORY) == 0)
        return ferry__fail(why, FERRY_EADDRESS, "'%s' is not a directory; set FERRY_RUNTIME_DIR to one that you own", out);
    return 1;
}

int64_t ferry__server_of(const WCHAR *path) {
    static const char mark[] = "ferry ";
    char text[32] = "";
    DWORD got = 0;
    HANDLE file = CreateFileW(path, GENERIC_READ, FERRY__SHARE_ALL, NULL, OPEN_EXISTING, 0, NULL);
    if (file == INVALID_HANDLE_VALUE) return GetFileAttributesW(path) != INVALID_FILE_ATTRIBUTES ? -1 : 0;
    if (!ReadFile(file, text, sizeof text - 1, &got, NULL)) got = 0;
    CloseHandle(file);
    if (got == 0) return 0;
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
    char text[512], name[512];
    WCHAR wide[512];
    WIN32_FIND_DATAW found;
    HANDLE search;
    if (snprintf(text, sizeof text, "%s/*", directory) >= (int)sizeof text || ferry__wide(text, wide, 512) != 0) return;
    search = FindFirstFileW(wide, &found);
    if (search == INVALID_HANDLE_VALUE) return;
    do {
        if ((found.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY) != 0 || ferry__narrow(found.cFileName, name, sizeof name) != 0) continue;
        if (!is_name(name) || snprintf(text, sizeof text, "%s/%s", directory, name) >= (int)sizeof text) continue;
        if (ferry__wide(text, wide, 512) == 0 && ferry__is_served(wide)) each(user, name);
    } while (FindNextFileW(search, &found));
    FindClose(search);
}

int ferry__is_going(const WCHAR *path, DWORD error) {
    return error == ERROR_DELETE_PENDING || (error == ERROR_ACCESS_DENIED && GetFileAttributesW(path) == INVALID_FILE_ATTRIBUTES);
}

int ferry__pipe_of(HANDLE file, WCHAR out[64]) {
    BY_HANDLE_FILE_INFORMATION info;
    char text[64];
    if (!GetFileInformationByHandle(file, &info)) return -1;
    snprintf(text, sizeof text, "\\\\.\\pipe\\ferry-%08lx-%08lx%08lx", (unsigned long)info.dwVolumeSerialNumber,
             (unsigned long)info.nFileIndexHigh, (unsigned long)info.nFileIndexLow);
    return ferry__wide(text, out, 64);
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
        if (ferry__server_of(path) < 0 || (ferry__server_of(path) == 0 && GetFileAttributesW(path) != INVALID_FILE_ATTRIBUTES)) continue;
        file = CreateFileW(path, GENERIC_WRITE | DELETE, FILE_SHARE_READ | FILE_SHARE_DELETE, NULL, CREATE_ALWAYS,
                           FILE_ATTRIBUTE_TEMPORARY | FILE_FLAG_DELETE_ON_CLOSE, NULL);
        if (file != INVALID_HANDLE_VALUE) break;
        error = GetLastError();
        if (error != ERROR_SHARING_VIOLATION && error != ERROR_ACCESS_DENIED) break;
    }
    if (file == INVALID_HANDLE_VALUE) return SetLastError(error), file;
    snprintf(text, sizeof text, "ferry %lu\n", (unsigned long)GetCurrentProcessId());
    WriteFile(file, text, (DWORD)strlen(text), &done, NULL);
    return file;
}

#endif
