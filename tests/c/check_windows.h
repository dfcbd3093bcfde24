/* What check.h needs of POSIX, on Windows. A child is this program once more: it is told where body lies and the bytes of its argument, and so
 * runs body before main. Both processes have the program at one address (linked with --disable-dynamicbase), so that what the argument points
 * to in the program, such as a literal, is there too. */
#ifndef FERRY_TESTS_CHECK_WINDOWS_H
#define FERRY_TESTS_CHECK_WINDOWS_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <windows.h>

#define SIGKILL 9
#define SIGSTOP 19

enum { MAX_CHILDREN = 64, MAX_ARGUMENT = 64 };

static struct {
    DWORD pid;
    HANDLE process, thread;
} children[MAX_CHILDREN];

static inline int find_child(pid_t pid) {
    int i;
    for (i = 0; i < MAX_CHILDREN; i++)
        if (children[i].process != NULL && children[i].pid == (DWORD)pid) return i;
    fprintf(stderr, "%lld is no child\n", (long long)pid);
    exit(1);
}

static inline void kill(pid_t pid, int signal_number) {
    int i = find_child(pid);
    if (signal_number == SIGSTOP) SuspendThread(children[i].thread);
    else TerminateProcess(children[i].process, 128 + (UINT)signal_number);
}

static inline void die(void) { TerminateProcess(GetCurrentProcess(), 128 + SIGKILL); }

static inline int end_child(pid_t pid) {
    int i = find_child(pid);
    DWORD code = 1;
    WaitForSingleObject(children[i].process, INFINITE);
    GetExitCodeProcess(children[i].process, &code);
    CloseHandle(children[i].process), CloseHandle(children[i].thread);
    children[i].process = NULL;
    return (int)code;
}

static inline pid_t start_child_with(int (*body)(void *), const void *argument, size_t bytes) {
    char program[MAX_PATH], command[MAX_PATH + 64 + 2 * MAX_ARGUMENT];
    STARTUPINFOA startup;
    PROCESS_INFORMATION started;
    int length, i = 0;
    size_t k;
    if (argument == NULL) bytes = 0;
    GetModuleFileNameA(NULL, program, sizeof program);
    length = snprintf(command, sizeof command, "\"%s\" --child %llx ", program, (unsigned long long)(uintptr_t)body);
    for (k = 0; k < bytes && k < MAX_ARGUMENT; k++)
        length += snprintf(command + length, sizeof command - (size_t)length, "%02x", ((const unsigned char *)argument)[k]);
    while (i < MAX_CHILDREN && children[i].process != NULL) i++;
    memset(&startup, 0, sizeof startup);
    startup.cb = sizeof startup;
    fflush(NULL);
    if (bytes > MAX_ARGUMENT || i == MAX_CHILDREN || !CreateProcessA(NULL, command, NULL, NULL, TRUE, 0, NULL, NULL, &startup, &started)) {
        fprintf(stderr, "could not start a child: %lu\n", (unsigned long)GetLastError());
        exit(1);
    }
    children[i].pid = started.dwProcessId, children[i].process = started.hProcess, children[i].thread = started.hThread;
    return (pid_t)started.dwProcessId;
}

#define start_child(body, argument) start_child_with((body), (argument), sizeof *(argument))

static DWORD WINAPI bark(void *seconds) {
    Sleep((DWORD)(uintptr_t)seconds * 1000);
    TerminateProcess(GetCurrentProcess(), 142);
    return 0;
}

static inline void alarm(unsigned seconds) { CloseHandle(CreateThread(NULL, 0, bark, (void *)(uintptr_t)seconds, 0, NULL)); }

static inline int setenv(const char *name, const char *value, int overwrite) {
    (void)overwrite;
    return SetEnvironmentVariableA(name, value) ? 0 : -1;
}

static inline void unsetenv(const char *name) { SetEnvironmentVariableA(name, NULL); }

static inline void pause(void) { Sleep(INFINITE); }

static inline void *memmem(const void *text, size_t text_bytes, const void *part, size_t part_bytes) {
    const char *at = (const char *)text;
    for (; text_bytes >= part_bytes; at++, text_bytes--)
        if (memcmp(at, part, part_bytes) == 0) return (void *)(uintptr_t)at;
    return NULL;
}

static inline int64_t now_ns(void) {
    LARGE_INTEGER count, frequency;
    QueryPerformanceCounter(&count);
    QueryPerformanceFrequency(&frequency);
    return (int64_t)((double)count.QuadPart * 1e9 / (double)frequency.QuadPart);
}

/* Handles that this process has. */
static inline int count_descriptors(void) {
    DWORD count = 0;
    GetProcessHandleCount(GetCurrentProcess(), &count);
    return (int)count;
}

static inline void begin_test(unsigned seconds, char *directory) {
    char temporary[MAX_PATH];
    GetTempPathA(sizeof temporary, temporary);
    alarm(seconds);
    snprintf(directory, 64, "%.40s\\ferry-%lu-%lu", temporary, (unsigned long)GetCurrentProcessId(), (unsigned long)GetTickCount());
    if (!CreateDirectoryA(directory, NULL) || setenv("FERRY_RUNTIME_DIR", directory, 1) != 0) {
        fprintf(stderr, "could not make %s: %lu\n", directory, (unsigned long)GetLastError());
        exit(1);
    }
    unsetenv("FERRY_ADDRESS");
}

/* Fails if names are left: they go with their servers. */
static inline void end_test(const char *directory) {
    if (RemoveDirectoryA(directory)) return;
    fprintf(stderr, "could not remove %s: %lu\n", directory, (unsigned long)GetLastError());
    exit(1);
}

/* Before main: is this a child? */
__attribute__((constructor)) static void run_child(void) {
    static char argument[MAX_ARGUMENT];
    const char *at = strstr(GetCommandLineA(), " --child ");
    union {
        uintptr_t number;
        int (*call)(void *);
    } body;
    char *end;
    unsigned value;
    size_t k;
    if (at == NULL) return;
    alarm(60);
    body.number = (uintptr_t)strtoull(at + strlen(" --child "), &end, 16);
    for (k = 0; k < MAX_ARGUMENT && sscanf(end + 1 + 2 * k, "%2x", &value) == 1; k++) argument[k] = (char)value;
    exit(body.call(argument));
}

#endif
