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
    uint32_t pid;   /* of the sender */
    uint32_t passes;
    uint64_t gift[FERRY__NUM_HANDLES]; /* if it passes memory: section, events, as handles of the receiver; 0: none */
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
    int ended;
    uint32_t begin, end; /* of what is unread in the buffer */
    uint32_t left;       /* of the present message */
    char buffer[4096];
} ferry__stream;

typedef struct ferry__doorway {
    ferry__object object; /* its pipe is the one that the next one connects to */
    WCHAR pipe[FERRY__MOST_WIDE];
} ferry__doorway;

/* Ends what a pipe was asked for, unless it is done: the bytes that were read or written. */
static DWORD ferry__cease(HANDLE pipe, OVERLAPPED *asked) {
    DWORD done = 0;
    CancelIoEx(pipe, asked);
    return GetOverlappedResult(pipe, asked, &done, TRUE) ? done : 0;
}

/* ---- Streams ---- */

/* Takes the pipe over, also on failure. */
static int ferry__stream_new(HANDLE pipe, ferry__os *out, ferry_why *why) {
    ferry__object *stream = ferry__object_new(FERRY__IS_STREAM, sizeof(ferry__stream));
    if (stream == NULL) return CloseHandle(pipe), ferry__no_memory(why);
    stream->handle[FERRY__MAIN] = pipe;
    *out = (ferry__os)stream;
    return 1;
}

static void ferry__stream_end(ferry__stream *stream) {
    stream->ended = 1;
    SetEvent(stream->object.handle[FERRY__EVENT]);
}

/* Asks for more bytes, behind those that are unread. */
static void ferry__stream_ask(ferry__stream *stream) {
    ferry__object *object = &stream->object;
    uint32_t unread = stream->end - stream->begin;
    memmove(stream->buffer, stream->buffer + stream->begin, unread);
    stream->begin = 0, stream->end = unread;
    object->pending =
        ReadFile(object->handle[FERRY__MAIN], stream->buffer + unread, (DWORD)sizeof stream->buffer - unread, NULL, &object->asked) ||
        GetLastError() == ERROR_IO_PENDING;
    if (!object->pending) ferry__stream_end(stream);
}

/* Have bytes come that were asked for? (A peer may write none.) */
static int ferry__stream_got(ferry__stream *stream) {
    DWORD got = 0;
    if (!stream->object.pending) return 0;
    if (!GetOverlappedResult(stream->object.handle[FERRY__MAIN], &stream->object.asked, &got, FALSE)) {
        if (GetLastError() == ERROR_IO_INCOMPLETE) return 0;
        ferry__stream_end(stream);
    }
    stream->object.pending = 0;
    stream->end += got;
    return got > 0;
}

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

int ferry__platform_peer(ferry__os os, uint32_t *pid, ferry_why *why) {
    ferry__object *stream = ferry__as_object(os);
    HANDLE pipe = stream->handle[FERRY__MAIN], process;
    ferry__user theirs, mine;
    ULONG client = 0, server = 0;
    GetNamedPipeClientProcessId(pipe, &client);
    GetNamedPipeServerProcessId(pipe, &server);
    *pid = client != GetCurrentProcessId() ? client : server;
    process = OpenProcess(PROCESS_DUP_HANDLE | PROCESS_QUERY_LIMITED_INFORMATION | SYNCHRONIZE, FALSE, *pid);
    if (process == NULL && GetLastError() == ERROR_INVALID_PARAMETER) return 0; /* it is gone: so is its stream */
    if (process == NULL)
        return ferry__fail_os(why, FERRY_EADDRESS,
                              "run both sides as one user, with the same rights; the peer (pid %u) cannot be given memory", *pid);
    if (ferry__user_of(process, &theirs) != 0 || ferry__user_of(GetCurrentProcess(), &mine) != 0 ||
        !EqualSid(theirs.user.User.Sid, mine.user.User.Sid)) {
        CloseHandle(process);
        return ferry__fail(why, FERRY_EADDRESS, "the peer (pid %u) belongs to another user; Ferry joins processes of one user", *pid);
    }
    /* The number may have been given to another process when the first had died: but then the pipe has ended. */
    if (PeekNamedPipe(pipe, NULL, 0, NULL, NULL, NULL)) stream->handle[FERRY__OTHER] = process;
    else CloseHandle(process);
    return 0;
}

/* ---- Gifts ---- */

/* Nobody else asks for WRITE_DAC alone: the mark of a gift. */
#define FERRY__GIFT WRITE_DAC
static DWORD ferry__gift_access(int i) {
    return i == FERRY__MAIN ? SECTION_MAP_READ | SECTION_MAP_WRITE | SECTION_QUERY : EVENT_MODIFY_STATE | SYNCHRONIZE;
}

static void ferry__take_back(HANDLE process, const uint64_t *gift) {
    int i;
    for (i = 0; i < FERRY__NUM_HANDLES; i++)
        if (gift[i] != 0) DuplicateHandle(process, (HANDLE)(uintptr_t)gift[i], NULL, NULL, 0, FALSE, DUPLICATE_CLOSE_SOURCE);
}

/* Puts memory into the table of another process, with the events the other way round: what wakes us is what it wakes. Is it there? */
static int ferry__give(HANDLE process, const ferry__object *memory, uint64_t gift[FERRY__NUM_HANDLES]) {
    static const int theirs[] = {FERRY__MAIN, FERRY__OTHER, FERRY__EVENT};
    HANDLE given;
    int i;
    for (i = 0; i < FERRY__NUM_HANDLES; i++) {
        if (!DuplicateHandle(GetCurrentProcess(), memory->handle[theirs[i]], process, &given, ferry__gift_access(i) | FERRY__GIFT, FALSE,
                             0)) {
            ferry__take_back(process, gift);
            return 0;
        }
        gift[i] = (uint64_t)(uintptr_t)given;
    }
    return 1;
}

/* The handle that was given under this number, with its final access; NULL if it is no gift. */
static HANDLE ferry__accept_gift(uint64_t number, DWORD access) {
    typedef LONG(WINAPI * query_object)(HANDLE, int, void *, ULONG, ULONG *);
    /* It is documented, but in no usual import library. */
    query_object query = (query_object)(uintptr_t)GetProcAddress(GetModuleHandleW(L"ntdll.dll"), "NtQueryObject");
    HANDLE given = (HANDLE)(uintptr_t)number, out;
    ULONG info[14]; /* PUBLIC_OBJECT_BASIC_INFORMATION: attributes, access, and what is of no use */
    if (number == 0 || (uint64_t)(uintptr_t)number != number || query == NULL) return NULL;
    if (query(given, 0, info, sizeof info, NULL) < 0 || info[1] != (access | FERRY__GIFT)) return NULL;
    if (!DuplicateHandle(GetCurrentProcess(), given, GetCurrentProcess(), &out, access, FALSE, DUPLICATE_CLOSE_SOURCE)) return NULL;
    return out;
}

static ferry__os ferry__accept_gifts(const uint64_t gift[FERRY__NUM_HANDLES]) {
    ferry__object *memory = ferry__object_new(FERRY__IS_MEMORY, sizeof *memory);
    int i;
    if (memory == NULL) return FERRY__NO_OS;
    for (i = 0; i < FERRY__NUM_HANDLES; i++) memory->handle[i] = ferry__accept_gift(gift[i], ferry__gift_access(i));
    if (memory->handle[FERRY__MAIN] != NULL) return (ferry__os)memory;
    ferry__platform_close((ferry__os)memory);
    return FERRY__NO_OS;
}

/* ---- Messages ---- */

/* Writes without waiting: what is left over for want of room is taken back, and the stream is of no use any more. */
int ferry__platform_send(ferry__os os, const void *data, uint32_t bytes, ferry__os pass) {
    HANDLE pipe = ferry__as_object(os)->handle[FERRY__MAIN], process = ferry__as_object(os)->handle[FERRY__OTHER];
    const DWORD whole = (DWORD)sizeof(ferry__preface) + bytes;
    DWORD sent = 0;
    ferry__record record;
    OVERLAPPED writing;
    memset(&record, 0, sizeof record);
    memset(&writing, 0, sizeof writing);
    writing.hEvent = CreateEventW(NULL, TRUE, FALSE, NULL);
    if (writing.hEvent == NULL) return FERRY_ECLOSED;
    record.preface.magic = FERRY__PREFACE_MAGIC, record.preface.bytes = bytes, record.preface.pid = GetCurrentProcessId();
    if (pass != FERRY__NO_OS) record.preface.passes = (uint32_t)ferry__give(process, ferry__as_object(pass), record.preface.gift);
    memcpy(record.message, data, bytes);
    if (WriteFile(pipe, &record, whole, NULL, &writing) || GetLastError() == ERROR_IO_PENDING) sent = ferry__cease(pipe, &writing);
    CloseHandle(writing.hEvent);
    if (sent == whole) return 0;
    if (record.preface.passes) ferry__take_back(process, record.preface.gift);
    return FERRY_ECLOSED;
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
    if (preface.passes == 0) return 1;
    gift = ferry__accept_gifts(preface.gift);
    if (*passed == FERRY__NO_OS) *passed = gift;
    else ferry__platform_close(gift);
    return 1;
}

int ferry__platform_receive(ferry__os os, void *data, uint32_t bytes, ferry__os *passed) {
    ferry__stream *stream = (ferry__stream *)os;
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
        if (!stream->object.pending) ferry__stream_ask(stream);
        if (!ferry__stream_got(stream) && !stream->ended) return 0;
    }
}

/* Has it something to read, without the system's being asked? If not, its event will say. */
static int ferry__stream_is_ready(ferry__stream *stream) {
    uint32_t unread = stream->end - stream->begin;
    if (stream->ended || (stream->left > 0 ? unread > 0 : unread >= sizeof(ferry__preface))) return 1;
    if (!stream->object.pending) ferry__stream_ask(stream);
    return stream->ended;
}

/* What was given and never taken would stay in the table. A peer that goes on writing is not heard out. */
static void ferry__stream_drain(ferry__os os) {
    char scrap[FERRY__MAX_MESSAGE];
    int got = 1, messages;
    for (messages = 0; got > 0 && messages < 64; messages++) {
        ferry__os passed = FERRY__NO_OS;
        got = ferry__platform_receive(os, scrap, sizeof scrap, &passed);
        ferry__platform_close(passed);
    }
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
    HANDLE pipe;
    if (ferry__user_of(GetCurrentProcess(), &mine) != 0 || !InitializeAcl(&list.acl, sizeof list, ACL_REVISION) ||
        !AddAccessAllowedAce(&list.acl, ACL_REVISION, FILE_ALL_ACCESS, mine.user.User.Sid) ||
        !InitializeSecurityDescriptor(&descriptor, SECURITY_DESCRIPTOR_REVISION) ||
        !SetSecurityDescriptorDacl(&descriptor, TRUE, &list.acl, FALSE))
        return -1;
    attributes.nLength = sizeof attributes, attributes.lpSecurityDescriptor = &descriptor, attributes.bInheritHandle = FALSE;
    pipe = CreateNamedPipeW(doorway->pipe, PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED,
                            PIPE_TYPE_BYTE | PIPE_READMODE_BYTE | PIPE_WAIT | PIPE_REJECT_REMOTE_CLIENTS, PIPE_UNLIMITED_INSTANCES,
                            FERRY__PIPE_BYTES, FERRY__PIPE_BYTES, 0, &attributes);
    if (pipe == INVALID_HANDLE_VALUE) return -1;
    doorway->object.handle[FERRY__MAIN] = pipe;
    doorway->object.pending = ConnectNamedPipe(pipe, &doorway->object.asked) || GetLastError() == ERROR_IO_PENDING;
    if (!doorway->object.pending) SetEvent(doorway->object.handle[FERRY__EVENT]); /* somebody has come already, or even gone */
    return 0;
}

int ferry__platform_listen(const char *path, ferry__listener *out, ferry_why *why) {
    ferry__object *object = ferry__object_new(FERRY__IS_LISTENER, sizeof(ferry__doorway));
    ferry__doorway *doorway = (ferry__doorway *)object;
    WCHAR wide[FERRY__MOST_WIDE];
    HANDLE name;
    out->os = FERRY__NO_OS;
    if (object == NULL) return ferry__no_memory(why);
    snprintf(out->path, sizeof out->path, "%s", path);
    ferry__wide(path, wide);
    name = object->handle[FERRY__OTHER] = ferry__take_name(wide);
    if (name == NULL && GetLastError() == ERROR_SHARING_VIOLATION) {
        int64_t pid = ferry__server_of(wide);
        ferry__fail(why, FERRY_EINUSE, "'%s' is already served by the process %u; choose another name, or end that one", path,
                    pid > 0 ? (unsigned)pid : 0);
    } else if (name == NULL && GetLastError() == ERROR_FILE_EXISTS)
        ferry__fail(why, FERRY_EADDRESS, "'%s' exists and is no name of Ferry's; choose another address", path);
    else if (name == NULL) ferry__fail_os(why, FERRY_EADDRESS, "'%s' cannot be taken", path);
    else if (ferry__pipe_of(name, doorway->pipe) == 0 && ferry__doorway_open(doorway) == 0) {
        out->os = (ferry__os)doorway;
        return 0;
    } else ferry__fail_os(why, FERRY_ESYSTEM, "could not listen on '%s'", path);
    ferry__platform_close((ferry__os)doorway);
    return why->code;
}

void ferry__platform_unlisten(ferry__listener *listener, int owner) {
    (void)owner; /* there is no fork */
    ferry__platform_close(listener->os);
    listener->os = FERRY__NO_OS;
}

int ferry__platform_accept(ferry__listener *listener, ferry__os *out, ferry_why *why) {
    ferry__doorway *doorway = (ferry__doorway *)listener->os;
    HANDLE *pipe = &doorway->object.handle[FERRY__MAIN];
    DWORD ignored;
    int got;
    *out = FERRY__NO_OS;
    if (*pipe == NULL && ferry__doorway_open(doorway) != 0)
        return ferry__fail_os(why, FERRY_ESYSTEM, "accept on '%s' failed", listener->path);
    if (doorway->object.pending && !GetOverlappedResult(*pipe, &doorway->object.asked, &ignored, FALSE) &&
        GetLastError() == ERROR_IO_INCOMPLETE)
        return 0;
    got = ferry__stream_new(*pipe, out, why);
    *pipe = NULL, doorway->object.pending = 0;
    ResetEvent(doorway->object.handle[FERRY__EVENT]);
    if (ferry__doorway_open(doorway) != 0) SetEvent(doorway->object.handle[FERRY__EVENT]); /* the next call tries again */
    return got;
}

int ferry__platform_connect(const char *path, ferry__os *out, ferry_why *why) {
    WCHAR wide[FERRY__MOST_WIDE], pipe[FERRY__MOST_WIDE];
    HANDLE file, end = INVALID_HANDLE_VALUE;
    DWORD error;
    *out = FERRY__NO_OS;
    ferry__wide(path, wide);
    file = CreateFileW(wide, FILE_READ_ATTRIBUTES, FERRY__SHARE_ALL, NULL, OPEN_EXISTING, 0, NULL);
    if (file != INVALID_HANDLE_VALUE && ferry__pipe_of(file, pipe) == 0)
        end = CreateFileW(pipe, GENERIC_READ | GENERIC_WRITE, 0, NULL, OPEN_EXISTING,
                          FILE_FLAG_OVERLAPPED | SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION, NULL);
    error = GetLastError();
    if (file != INVALID_HANDLE_VALUE) CloseHandle(file);
    if (end != INVALID_HANDLE_VALUE) return ferry__stream_new(end, out, why);
    /* A file that is being removed is there for a moment, where its server has ended while somebody looked at it; and denies access. */
    if (error == ERROR_FILE_NOT_FOUND || error == ERROR_PATH_NOT_FOUND || error == ERROR_PIPE_BUSY || error == ERROR_DELETE_PENDING ||
        (error == ERROR_ACCESS_DENIED && GetFileAttributesW(wide) == INVALID_FILE_ATTRIBUTES))
        return 0;
    SetLastError(error);
    return ferry__fail_os(why, FERRY_EADDRESS, "'%s' cannot be connected to", path);
}

int ferry__platform_inherit(int64_t number, ferry__os *out, ferry_why *why) {
    *out = FERRY__NO_OS;
    return ferry__fail(why, FERRY_EUNSUPPORTED, "'fd:%lld': on Windows no connection is inherited; use a name", (long long)number);
}

/* ---- Processes, and whatever can be waited for ---- */

ferry__os ferry__platform_watch(ferry__os os, uint32_t pid) {
    ferry__object *process = ferry__object_new(FERRY__IS_PROCESS, sizeof *process);
    HANDLE self = GetCurrentProcess(), known = os != FERRY__NO_OS ? ferry__as_object(os)->handle[FERRY__OTHER] : NULL;
    if (process == NULL) return FERRY__NO_OS;
    if (known == NULL) process->handle[FERRY__MAIN] = OpenProcess(SYNCHRONIZE, FALSE, pid);
    else if (!DuplicateHandle(self, known, self, &process->handle[FERRY__MAIN], SYNCHRONIZE, FALSE, 0)) process->handle[FERRY__MAIN] = NULL;
    if (process->handle[FERRY__MAIN] != NULL) return (ferry__os)process;
    free(process);
    return FERRY__NO_OS;
}

/* What is set when something has come; NULL: it has come already. */
static HANDLE ferry__waitable(ferry__object *object) {
    if (object->kind == FERRY__IS_STREAM && ferry__stream_is_ready((ferry__stream *)object)) return NULL;
    return object->handle[object->kind == FERRY__IS_PROCESS ? FERRY__MAIN : FERRY__EVENT];
}

uint32_t ferry__platform_poll(const ferry__os *handles, uint32_t count, int64_t timeout_ns) {
    HANDLE waited[8];
    uint32_t place[8], i, waiting = 0, mask = 0;
    for (i = 0; i < count; i++) {
        if (handles[i] == FERRY__NO_OS) continue;
        place[waiting] = i, waited[waiting] = ferry__waitable(ferry__as_object(handles[i]));
        if (waited[waiting] != NULL) waiting++;
        else mask |= 1u << i, timeout_ns = 0;
    }
    if (waiting == 0) Sleep(ferry__milliseconds(timeout_ns));
    else if (WaitForMultipleObjects(waiting, waited, FALSE, ferry__milliseconds(timeout_ns)) != WAIT_TIMEOUT)
        for (i = 0; i < waiting; i++)
            if (WaitForSingleObject(waited[i], 0) == WAIT_OBJECT_0) mask |= 1u << place[i];
    return mask;
}

void ferry__platform_close(ferry__os os) {
    ferry__object *object = ferry__as_object(os);
    int i;
    if (os == FERRY__NO_OS) return;
    if (object->kind == FERRY__IS_STREAM) ferry__stream_drain(os);
    if (object->pending) (void)ferry__cease(object->handle[FERRY__MAIN], &object->asked);
    for (i = 0; i < FERRY__NUM_HANDLES; i++)
        if (object->handle[i] != NULL) CloseHandle(object->handle[i]);
    free(object);
}

#endif
