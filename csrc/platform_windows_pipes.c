/* The platform contract on Windows, continued: control streams over named pipes, and whatever can be waited for.
 *
 * Sections and events have no names: a process gets them because another puts them into its handle table (DuplicateHandle) and tells the
 * number over the pipe. A number is the peer's word, so it is believed only of a handle with exactly the access that such a gift has;
 * nothing else of this process can be meant, and what is accepted gets another access. */
#include "platform.h"

#ifdef _WIN32

#include "errors.h"
#include "layout.h"
#include "platform_windows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What goes before each message on a pipe. */
typedef struct ferry__preface {
    uint32_t magic;
    uint32_t bytes; /* of the message */
    uint32_t pid;   /* of the sender: for who is not told by the system */
    uint32_t passes;
    uint64_t gift[1 + FERRY__NUM_EVENTS]; /* if it passes memory: section, events, as handles of the receiver; 0: none */
} ferry__preface;

#define FERRY__PREFACE_MAGIC UINT32_C(0x50525246) /* "FRRP" */
#define FERRY__MAX_MESSAGE (FERRY__MAX_FRAME + sizeof(ferry__frame))
#define FERRY__PIPE_BYTES 65536 /* that may be on their way; nobody sends as much unheard */

typedef struct ferry__record {
    ferry__preface preface;
    char message[FERRY__MAX_MESSAGE];
} ferry__record;

typedef struct ferry__stream {
    ferry__object object;
    HANDLE event; /* set when the pending read is done, or the stream has ended */
    OVERLAPPED reading;
    int pending, ended;
    int is_server;  /* this end was listened on */
    HANDLE process; /* at the other end; NULL: unknown as yet */
    uint32_t begin, end; /* of what is unread in the buffer */
    uint32_t left;       /* of the present message */
    char buffer[4096];
    ferry__record *held; /* waits until process is known */
    ferry__os held_pass;
} ferry__stream;

typedef struct ferry__doorway {
    ferry__object object; /* the pipe that the next one connects to */
    HANDLE event;
    OVERLAPPED connecting;
    int pending;
    HANDLE name; /* the file */
    WCHAR pipe[64];
} ferry__doorway;

static ferry__stream *ferry__as_stream(ferry__os os) { return (ferry__stream *)os; }

/* ---- Users ---- */

typedef union ferry__user {
    TOKEN_USER user;
    char bytes[sizeof(TOKEN_USER) + SECURITY_MAX_SID_SIZE];
} ferry__user;

static int ferry__user_of(HANDLE process, ferry__user *out) {
    HANDLE token;
    DWORD size;
    BOOL known;
    if (!OpenProcessToken(process, TOKEN_QUERY, &token)) return -1;
    known = GetTokenInformation(token, TokenUser, out, sizeof *out, &size);
    CloseHandle(token);
    return known ? 0 : -1;
}

/* ---- Streams ---- */

static ferry__stream *ferry__stream_new(HANDLE pipe, int is_server) {
    ferry__stream *stream = (ferry__stream *)calloc(1, sizeof *stream);
    if (stream == NULL) return NULL;
    stream->object.kind = FERRY__IS_STREAM, stream->object.handle = pipe;
    stream->is_server = is_server;
    stream->held_pass = FERRY__NO_OS;
    stream->reading.hEvent = stream->event = CreateEventW(NULL, TRUE, FALSE, NULL);
    if (stream->event != NULL) return stream;
    free(stream);
    return NULL;
}

static void ferry__stream_end(ferry__stream *stream) {
    stream->ended = 1;
    SetEvent(stream->event);
}

/* Asks for more bytes, behind those that are unread. */
static void ferry__stream_ask(ferry__stream *stream) {
    uint32_t unread = stream->end - stream->begin;
    memmove(stream->buffer, stream->buffer + stream->begin, unread);
    stream->begin = 0, stream->end = unread;
    stream->pending =
        ReadFile(stream->object.handle, stream->buffer + unread, (DWORD)sizeof stream->buffer - unread, NULL, &stream->reading) ||
        GetLastError() == ERROR_IO_PENDING;
    if (!stream->pending) ferry__stream_end(stream);
}

/* Have bytes come that were asked for? (A peer may write none.) */
static int ferry__stream_got(ferry__stream *stream) {
    DWORD got = 0;
    if (!stream->pending) return 0;
    if (!GetOverlappedResult(stream->object.handle, &stream->reading, &got, FALSE)) {
        if (GetLastError() == ERROR_IO_INCOMPLETE) return 0;
        ferry__stream_end(stream);
    }
    stream->pending = 0;
    stream->end += got;
    return got > 0;
}

/* The process at the other end, as the system (pid) or itself tells it. A number may be given to another process when the first has died:
 * but that one's pipe would have ended. */
static int ferry__stream_meet(ferry__stream *stream, uint32_t pid, ferry_why *why) {
    ferry__user theirs, mine;
    HANDLE process = OpenProcess(PROCESS_DUP_HANDLE | PROCESS_QUERY_LIMITED_INFORMATION | SYNCHRONIZE, FALSE, pid);
    if (process == NULL && GetLastError() == ERROR_INVALID_PARAMETER) return 0; /* it is gone: so is its stream */
    if (process == NULL)
        return ferry__fail(why, FERRY_EADDRESS, "the peer (pid %u) cannot be given memory: %s; run both as one user, with the same rights",
                           pid, ferry__says(GetLastError()).text);
    if (ferry__user_of(process, &theirs) != 0 || ferry__user_of(GetCurrentProcess(), &mine) != 0 ||
        !EqualSid(theirs.user.User.Sid, mine.user.User.Sid)) {
        CloseHandle(process);
        return ferry__fail(why, FERRY_EADDRESS, "the peer (pid %u) belongs to another user; Ferry joins processes of one user", pid);
    }
    if (PeekNamedPipe(stream->object.handle, NULL, 0, NULL, NULL, NULL)) stream->process = process;
    else CloseHandle(process);
    return 0;
}

int ferry__platform_peer(ferry__os os, uint32_t *pid, ferry_why *why) {
    ferry__stream *stream = ferry__as_stream(os);
    HANDLE pipe = stream->object.handle;
    ULONG number = 0;
    /* Wine answers 0. Then the first message says who sent it. */
    if (!(stream->is_server ? GetNamedPipeClientProcessId(pipe, &number) : GetNamedPipeServerProcessId(pipe, &number))) number = 0;
    *pid = number;
    return number != 0 ? ferry__stream_meet(stream, number, why) : 0;
}

/* ---- Gifts ---- */

/* Nobody else asks for WRITE_DAC alone: the mark of a gift. */
#define FERRY__GIFT WRITE_DAC
static DWORD ferry__gift_access(int i) {
    return i == 0 ? SECTION_MAP_READ | SECTION_MAP_WRITE | SECTION_QUERY : EVENT_MODIFY_STATE | SYNCHRONIZE;
}

static void ferry__take_back(HANDLE process, uint64_t *gift) {
    int i;
    for (i = 0; i < 1 + FERRY__NUM_EVENTS; i++)
        if (gift[i] != 0) DuplicateHandle(process, (HANDLE)(uintptr_t)gift[i], NULL, NULL, 0, FALSE, DUPLICATE_CLOSE_SOURCE);
}

/* Puts memory into the table of another process, with the events the other way round: what wakes us is what it wakes. */
static int ferry__give(HANDLE process, const ferry__memory *memory, uint64_t gift[1 + FERRY__NUM_EVENTS]) {
    HANDLE source[1 + FERRY__NUM_EVENTS], given;
    int i;
    source[0] = memory->object.handle, source[1 + FERRY__ASLEEP] = memory->event[FERRY__OTHER];
    source[1 + FERRY__OTHER] = memory->event[FERRY__ASLEEP];
    memset(gift, 0, (1 + FERRY__NUM_EVENTS) * sizeof *gift);
    for (i = 0; i < 1 + FERRY__NUM_EVENTS; i++) {
        if (source[i] == NULL) continue;
        if (!DuplicateHandle(GetCurrentProcess(), source[i], process, &given, ferry__gift_access(i) | FERRY__GIFT, FALSE, 0)) {
            ferry__take_back(process, gift);
            return -1;
        }
        gift[i] = (uint64_t)(uintptr_t)given;
    }
    return 0;
}

typedef struct ferry__basic_information { /* PUBLIC_OBJECT_BASIC_INFORMATION */
    ULONG attributes;
    ACCESS_MASK access;
    ULONG reserved[12];
} ferry__basic_information;

typedef LONG(WINAPI *ferry__query_object)(HANDLE, int, void *, ULONG, ULONG *);

/* The handle that was given under this number, with its final access; NULL if it is no gift. */
static HANDLE ferry__accept_gift(uint64_t number, DWORD access) {
    union {
        FARPROC plain;
        ferry__query_object call;
    } query;
    ferry__basic_information info;
    HANDLE given = (HANDLE)(uintptr_t)number, out;
    query.plain = GetProcAddress(GetModuleHandleW(L"ntdll.dll"), "NtQueryObject"); /* documented, but in no usual import library */
    if (number == 0 || (uint64_t)(uintptr_t)number != number || query.plain == NULL) return NULL;
    if (query.call(given, 0, &info, sizeof info, NULL) < 0 || info.access != (access | FERRY__GIFT)) return NULL;
    if (!DuplicateHandle(GetCurrentProcess(), given, GetCurrentProcess(), &out, access, FALSE, DUPLICATE_CLOSE_SOURCE)) return NULL;
    return out;
}

static ferry__os ferry__accept_gifts(const uint64_t gift[1 + FERRY__NUM_EVENTS]) {
    ferry__memory *memory = ferry__memory_new();
    int i;
    if (memory == NULL) return FERRY__NO_OS;
    memory->object.handle = ferry__accept_gift(gift[0], ferry__gift_access(0));
    for (i = 0; i < FERRY__NUM_EVENTS; i++) memory->event[i] = ferry__accept_gift(gift[1 + i], ferry__gift_access(1 + i));
    if (memory->object.handle != NULL) return (ferry__os)memory;
    ferry__memory_free(memory);
    return FERRY__NO_OS;
}

/* ---- Messages ---- */

/* Writes without waiting: what is left over for want of room is taken back, and the stream is of no use any more. */
static int ferry__stream_write(ferry__stream *stream, const ferry__record *record) {
    OVERLAPPED writing;
    DWORD bytes = (DWORD)sizeof record->preface + record->preface.bytes, done = 0;
    int sent = 0;
    memset(&writing, 0, sizeof writing);
    writing.hEvent = CreateEventW(NULL, TRUE, FALSE, NULL);
    if (writing.hEvent == NULL) return FERRY_ECLOSED;
    if (WriteFile(stream->object.handle, record, bytes, NULL, &writing) || GetLastError() == ERROR_IO_PENDING) {
        if (WaitForSingleObject(writing.hEvent, 0) != WAIT_OBJECT_0) CancelIoEx(stream->object.handle, &writing);
        sent = GetOverlappedResult(stream->object.handle, &writing, &done, TRUE) && done == bytes;
    }
    CloseHandle(writing.hEvent);
    return sent ? 0 : FERRY_ECLOSED;
}

static int ferry__stream_send(ferry__stream *stream, ferry__record *record, ferry__os pass) {
    int err;
    if (pass != FERRY__NO_OS) record->preface.passes = ferry__give(stream->process, ferry__as_memory(pass), record->preface.gift) == 0;
    err = ferry__stream_write(stream, record);
    if (err < 0 && record->preface.passes) ferry__take_back(stream->process, record->preface.gift);
    return err;
}

static void ferry__stream_forget_held(ferry__stream *stream) {
    free(stream->held);
    stream->held = NULL;
    ferry__platform_close(stream->held_pass);
    stream->held_pass = FERRY__NO_OS;
}

/* Keeps a message that passes memory until it is known whom to give it to. */
static int ferry__stream_hold(ferry__stream *stream, const ferry__record *record, const ferry__memory *pass) {
    ferry__memory *copy = ferry__memory_new();
    HANDLE self = GetCurrentProcess();
    int i;
    if (copy == NULL || stream->held != NULL) return free(copy), FERRY_ECLOSED;
    DuplicateHandle(self, pass->object.handle, self, &copy->object.handle, 0, FALSE, DUPLICATE_SAME_ACCESS);
    for (i = 0; i < FERRY__NUM_EVENTS; i++)
        if (pass->event[i] != NULL) DuplicateHandle(self, pass->event[i], self, &copy->event[i], 0, FALSE, DUPLICATE_SAME_ACCESS);
    stream->held_pass = (ferry__os)copy;
    stream->held = (ferry__record *)malloc(sizeof *record);
    if (stream->held == NULL) return ferry__stream_forget_held(stream), FERRY_ECLOSED;
    *stream->held = *record;
    return 0;
}

int ferry__platform_send(ferry__os os, const void *data, uint32_t bytes, ferry__os pass) {
    ferry__stream *stream = ferry__as_stream(os);
    ferry__record record;
    if (bytes > sizeof record.message) return FERRY_ECLOSED;
    memset(&record, 0, sizeof record);
    record.preface.magic = FERRY__PREFACE_MAGIC, record.preface.bytes = bytes, record.preface.pid = GetCurrentProcessId();
    memcpy(record.message, data, bytes);
    if (pass != FERRY__NO_OS && stream->process == NULL) return ferry__stream_hold(stream, &record, ferry__as_memory(pass));
    return ferry__stream_send(stream, &record, pass);
}

/* Who it is that speaks, if the system did not say. */
static void ferry__stream_introduce(ferry__stream *stream, uint32_t pid) {
    ferry_why why;
    if (ferry__stream_meet(stream, pid, &why) < 0) ferry__stream_end(stream);
    if (stream->process != NULL && stream->held != NULL) (void)ferry__stream_send(stream, stream->held, stream->held_pass);
    ferry__stream_forget_held(stream);
}

/* Reads the preface of a message if it is there: 1, or 0 not yet. Whoever writes none, or one of an empty message, is no process of Ferry's;
 * his bytes pass as they are, so that the channel can say so. */
static int ferry__stream_read_preface(ferry__stream *stream, ferry__os *passed) {
    const char *at = stream->buffer + stream->begin;
    uint32_t unread = stream->end - stream->begin;
    ferry__preface preface;
    ferry__os gift;
    if (unread < sizeof preface.magic) return 0;
    memcpy(&preface.magic, at, sizeof preface.magic);
    if (preface.magic == FERRY__PREFACE_MAGIC) {
        if (unread < sizeof preface) return 0;
        memcpy(&preface, at, sizeof preface);
    }
    if (preface.magic != FERRY__PREFACE_MAGIC || preface.bytes == 0) {
        stream->left = UINT32_MAX;
        return 1;
    }
    stream->begin += (uint32_t)sizeof preface;
    stream->left = preface.bytes;
    if (stream->process == NULL) ferry__stream_introduce(stream, preface.pid);
    if (preface.passes == 0 || (gift = ferry__accept_gifts(preface.gift)) == FERRY__NO_OS) return 1;
    if (*passed == FERRY__NO_OS) *passed = gift;
    else ferry__platform_close(gift);
    return 1;
}

int ferry__platform_receive(ferry__os os, void *data, uint32_t bytes, ferry__os *passed) {
    ferry__stream *stream = ferry__as_stream(os);
    for (;;) {
        uint32_t unread, part;
        while (stream->left == 0 && ferry__stream_read_preface(stream, passed)) continue;
        unread = stream->end - stream->begin;
        part = unread < stream->left ? unread : stream->left;
        if (part > bytes) part = bytes;
        if (part > 0) {
            memcpy(data, stream->buffer + stream->begin, part);
            stream->begin += part, stream->left -= part;
            return (int)part;
        }
        if (stream->ended) return FERRY_ECLOSED;
        if (!stream->pending) ferry__stream_ask(stream);
        if (!ferry__stream_got(stream) && !stream->ended) return 0;
    }
}

/* Has it something to read, without the system's being asked? If not, its event will say. */
static int ferry__stream_is_ready(ferry__stream *stream) {
    uint32_t unread = stream->end - stream->begin;
    if (stream->ended || (stream->left > 0 ? unread > 0 : unread >= sizeof(ferry__preface))) return 1;
    if (!stream->pending) ferry__stream_ask(stream);
    return stream->ended;
}

static void ferry__stream_free(ferry__stream *stream) {
    char scrap[FERRY__MAX_MESSAGE];
    ferry__os passed = FERRY__NO_OS;
    DWORD done;
    int got = 1, messages;
    /* What was given and never taken would stay in the table. A peer that goes on writing is not heard out. */
    for (messages = 0; got > 0 && messages < 64; messages++) {
        got = ferry__platform_receive((ferry__os)stream, scrap, sizeof scrap, &passed);
        ferry__platform_close(passed);
        passed = FERRY__NO_OS;
    }
    if (stream->pending) {
        CancelIoEx(stream->object.handle, &stream->reading);
        GetOverlappedResult(stream->object.handle, &stream->reading, &done, TRUE);
    }
    ferry__stream_forget_held(stream);
    ferry__close_handle(&stream->object.handle);
    ferry__close_handle(&stream->process);
    ferry__close_handle(&stream->event);
    free(stream);
}

/* ---- Listening ---- */

/* Makes the next pipe to be connected to. Only this user may. */
static int ferry__doorway_open(ferry__doorway *doorway) {
    union {
        ACL acl;
        char bytes[sizeof(ACL) + sizeof(ACCESS_ALLOWED_ACE) + SECURITY_MAX_SID_SIZE];
    } list;
    SECURITY_DESCRIPTOR descriptor;
    SECURITY_ATTRIBUTES attributes;
    ferry__user mine;
    if (ferry__user_of(GetCurrentProcess(), &mine) != 0 || !InitializeAcl(&list.acl, sizeof list, ACL_REVISION) ||
        !AddAccessAllowedAce(&list.acl, ACL_REVISION, FILE_ALL_ACCESS, mine.user.User.Sid) ||
        !InitializeSecurityDescriptor(&descriptor, SECURITY_DESCRIPTOR_REVISION) ||
        !SetSecurityDescriptorDacl(&descriptor, TRUE, &list.acl, FALSE))
        return -1;
    attributes.nLength = sizeof attributes, attributes.lpSecurityDescriptor = &descriptor, attributes.bInheritHandle = FALSE;
    doorway->object.handle = CreateNamedPipeW(doorway->pipe, PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED,
                                              PIPE_TYPE_BYTE | PIPE_READMODE_BYTE | PIPE_WAIT | PIPE_REJECT_REMOTE_CLIENTS,
                                              PIPE_UNLIMITED_INSTANCES, FERRY__PIPE_BYTES, FERRY__PIPE_BYTES, 0, &attributes);
    if (doorway->object.handle == INVALID_HANDLE_VALUE) return -1;
    doorway->pending = ConnectNamedPipe(doorway->object.handle, &doorway->connecting) || GetLastError() == ERROR_IO_PENDING;
    if (!doorway->pending) SetEvent(doorway->event); /* somebody has come already, or even gone */
    return 0;
}

static void ferry__doorway_free(ferry__doorway *doorway) {
    DWORD done;
    if (doorway->pending) {
        CancelIoEx(doorway->object.handle, &doorway->connecting);
        GetOverlappedResult(doorway->object.handle, &doorway->connecting, &done, TRUE);
    }
    ferry__close_handle(&doorway->object.handle);
    ferry__close_handle(&doorway->event);
    ferry__close_handle(&doorway->name);
    free(doorway);
}

int ferry__platform_listen(const char *path, ferry__listener *out, ferry_why *why) {
    ferry__doorway *doorway = (ferry__doorway *)calloc(1, sizeof *doorway);
    WCHAR wide[512];
    out->os = FERRY__NO_OS;
    if (doorway == NULL) return ferry__no_memory(why);
    doorway->object.kind = FERRY__IS_LISTENER;
    snprintf(out->path, sizeof out->path, "%s", path);
    SetLastError(ERROR_INVALID_NAME);
    doorway->name = ferry__wide(path, wide, 512) == 0 ? ferry__take_name(wide) : INVALID_HANDLE_VALUE;
    if (doorway->name == INVALID_HANDLE_VALUE) {
        if (GetLastError() == ERROR_SHARING_VIOLATION)
            ferry__fail(why, FERRY_EINUSE, "'%s' is already served by the process %u; choose another name, or end that one", path,
                        (unsigned)ferry__server_of(wide));
        else if (GetLastError() == ERROR_FILE_EXISTS)
            ferry__fail(why, FERRY_EADDRESS, "'%s' exists and is no name of Ferry's; choose another address", path);
        else ferry__fail(why, FERRY_EADDRESS, "'%s' cannot be taken: %s", path, ferry__says(GetLastError()).text);
    } else {
        doorway->connecting.hEvent = doorway->event = CreateEventW(NULL, TRUE, FALSE, NULL);
        if (doorway->event != NULL && ferry__pipe_of(doorway->name, doorway->pipe) == 0 && ferry__doorway_open(doorway) == 0) {
            out->os = (ferry__os)doorway;
            return 0;
        }
        ferry__fail(why, FERRY_ESYSTEM, "could not listen on '%s': %s", path, ferry__says(GetLastError()).text);
    }
    ferry__doorway_free(doorway);
    return why->code;
}

void ferry__platform_unlisten(ferry__listener *listener, int owner) {
    (void)owner; /* there is no fork */
    ferry__platform_close(listener->os);
    listener->os = FERRY__NO_OS;
}

/* Nothing can be looked at here but by those who are given it. */
void ferry__platform_show(const ferry__listener *listener, ferry__os memory) { (void)listener, (void)memory; }

int ferry__platform_accept(ferry__listener *listener, ferry__os *out, ferry_why *why) {
    ferry__doorway *doorway = (ferry__doorway *)listener->os;
    ferry__stream *stream;
    DWORD ignored;
    *out = FERRY__NO_OS;
    if (doorway->object.handle == NULL && ferry__doorway_open(doorway) != 0) goto fail;
    if (doorway->pending && !GetOverlappedResult(doorway->object.handle, &doorway->connecting, &ignored, FALSE) &&
        GetLastError() == ERROR_IO_INCOMPLETE)
        return 0;
    stream = ferry__stream_new(doorway->object.handle, 1);
    doorway->pending = 0;
    if (stream == NULL) ferry__close_handle(&doorway->object.handle);
    doorway->object.handle = NULL;
    ResetEvent(doorway->event);
    if (stream == NULL) return ferry__no_memory(why);
    *out = (ferry__os)stream;
    if (ferry__doorway_open(doorway) != 0)
        ferry__close_handle(&doorway->object.handle), SetEvent(doorway->event); /* the next call tries again */
    return 1;
fail:
    ferry__close_handle(&doorway->object.handle);
    return ferry__fail(why, FERRY_ESYSTEM, "accept on '%s' failed: %s", listener->path, ferry__says(GetLastError()).text);
}

int ferry__platform_connect(const char *path, ferry__os *out, ferry_why *why) {
    WCHAR wide[512], pipe[64];
    HANDLE file, end = INVALID_HANDLE_VALUE;
    ferry__stream *stream;
    DWORD error = ERROR_INVALID_NAME;
    *out = FERRY__NO_OS;
    if (ferry__wide(path, wide, 512) == 0) {
        file = CreateFileW(wide, FILE_READ_ATTRIBUTES, FERRY__SHARE_ALL, NULL, OPEN_EXISTING, 0, NULL);
        if (file == INVALID_HANDLE_VALUE && ferry__is_going(wide, GetLastError())) return 0;
        if (file != INVALID_HANDLE_VALUE && ferry__pipe_of(file, pipe) == 0)
            end = CreateFileW(pipe, GENERIC_READ | GENERIC_WRITE, 0, NULL, OPEN_EXISTING,
                              FILE_FLAG_OVERLAPPED | SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION, NULL);
        error = GetLastError();
        if (file != INVALID_HANDLE_VALUE) CloseHandle(file);
    }
    if (end == INVALID_HANDLE_VALUE) {
        if (error == ERROR_FILE_NOT_FOUND || error == ERROR_PATH_NOT_FOUND || error == ERROR_PIPE_BUSY) return 0;
        return ferry__fail(why, FERRY_EADDRESS, "'%s' cannot be connected to: %s", path, ferry__says(error).text);
    }
    stream = ferry__stream_new(end, 0);
    if (stream == NULL) return CloseHandle(end), ferry__no_memory(why);
    *out = (ferry__os)stream;
    return 1;
}

int ferry__platform_inherit(int64_t number, ferry__os *out, ferry_why *why) {
    *out = FERRY__NO_OS;
    return ferry__fail(why, FERRY_EUNSUPPORTED, "'fd:%lld': on Windows no connection is inherited; use a name", (long long)number);
}

/* ---- Processes, and whatever can be waited for ---- */

ferry__os ferry__platform_watch(ferry__os os, uint32_t pid) {
    ferry__object *process = (ferry__object *)calloc(1, sizeof *process);
    HANDLE self = GetCurrentProcess(), known = os != FERRY__NO_OS ? ferry__as_stream(os)->process : NULL;
    if (process == NULL) return FERRY__NO_OS;
    process->kind = FERRY__IS_PROCESS;
    if (known != NULL) {
        if (!DuplicateHandle(self, known, self, &process->handle, SYNCHRONIZE, FALSE, 0)) process->handle = NULL;
    } else if (pid != 0) process->handle = OpenProcess(SYNCHRONIZE, FALSE, pid);
    if (process->handle != NULL) return (ferry__os)process;
    free(process);
    return FERRY__NO_OS;
}

/* What is set when something has come; NULL: it has come already. */
static HANDLE ferry__waitable(ferry__os os) {
    ferry__object *object = (ferry__object *)os;
    switch (object->kind) {
    case FERRY__IS_STREAM: return ferry__stream_is_ready(ferry__as_stream(os)) ? NULL : ferry__as_stream(os)->event;
    case FERRY__IS_LISTENER: return ((ferry__doorway *)os)->event;
    default: return object->handle;
    }
}

uint32_t ferry__platform_poll(const ferry__os *handles, uint32_t count, int64_t timeout_ns) {
    HANDLE waited[8];
    uint32_t place[8], i, waiting = 0, mask = 0;
    for (i = 0; i < count; i++) {
        HANDLE waitable;
        if (handles[i] == FERRY__NO_OS) continue;
        waitable = ferry__waitable(handles[i]);
        if (waitable == NULL) mask |= 1u << i;
        else place[waiting] = i, waited[waiting++] = waitable;
    }
    if (mask != 0) timeout_ns = 0;
    if (waiting == 0) {
        if (timeout_ns > 0) Sleep(ferry__milliseconds(timeout_ns));
        return mask;
    }
    if (WaitForMultipleObjects(waiting, waited, FALSE, ferry__milliseconds(timeout_ns)) == WAIT_TIMEOUT) return mask;
    for (i = 0; i < waiting; i++)
        if (WaitForSingleObject(waited[i], 0) == WAIT_OBJECT_0) mask |= 1u << place[i];
    return mask;
}

void ferry__platform_close(ferry__os os) {
    ferry__object *object = (ferry__object *)os;
    if (os == FERRY__NO_OS) return;
    switch (object->kind) {
    case FERRY__IS_MEMORY: ferry__memory_free(ferry__as_memory(os)); break;
    case FERRY__IS_STREAM: ferry__stream_free(ferry__as_stream(os)); break;
    case FERRY__IS_LISTENER: ferry__doorway_free((ferry__doorway *)os); break;
    case FERRY__IS_PROCESS:
        ferry__close_handle(&object->handle);
        free(object);
        break;
    }
}

#endif
