/* The operating system, as Ferry needs it: the only OS calls, behind a written contract. One platform_*.c fulfils it for each system;
 * tests link others that misbehave.
 *
 * All functions are non-blocking unless they say otherwise, and safe to call from any thread. Those that take a why fill it on failure
 * (it may not be NULL) and return its code. A ferry__os is a descriptor or handle; FERRY__NO_OS is none. Whoever receives one closes it. */
#ifndef FERRY__PLATFORM_H
#define FERRY__PLATFORM_H

#include <stdint.h>

#include "libferry.h"

/* What more than one file uses. Where all are one, tools/amalgamate.py makes it static. */
#ifndef FERRY__LOCAL
#ifdef _WIN32
#define FERRY__LOCAL /* nothing leaves a DLL but what is exported */
#else
#define FERRY__LOCAL __attribute__((visibility("hidden")))
#endif
#endif
/* Checks arguments as printf's are. */
#ifdef __MINGW_PRINTF_FORMAT
#define FERRY__PRINTF(format_at, first_at) __attribute__((format(__MINGW_PRINTF_FORMAT, format_at, first_at)))
#else
#define FERRY__PRINTF(format_at, first_at) __attribute__((format(printf, format_at, first_at)))
#endif
/* What seldom happens: kept out of the way of what always does. */
#define FERRY__COLD __attribute__((noinline, cold))
/* What a cold function calls, and is not cold itself. */
#define FERRY__WARM __attribute__((noinline, hot))

typedef intptr_t ferry__os;
#define FERRY__NO_OS ((ferry__os) - 1)

/* What the system says of the call of its own that failed last in this thread. */
FERRY__LOCAL void ferry__platform_says(char *out, uint32_t out_bytes);

/* ---- Time and processor ---- */

/* Monotonic nanoseconds. Tens of nanoseconds; never goes back. */
FERRY__LOCAL int64_t ferry__platform_now_ns(void);
/* Sleeps for about so long. */
FERRY__LOCAL void ferry__platform_nap(int64_t ns);
/* Lets another thread run, if one wants to. */
FERRY__LOCAL void ferry__platform_yield(void);
FERRY__LOCAL uint32_t ferry__platform_pid(void);
/* An environment variable, in UTF-8: 1, or 0 if it is not set or empty. Of a text that does not fit as much as does, or as many question
 * marks. */
FERRY__LOCAL int ferry__platform_variable(const char *name, char *out, uint32_t out_bytes);
/* The processor that this thread runs on, counted from 1; 0 where unknown. A few nanoseconds. */
FERRY__LOCAL uint32_t ferry__platform_processor(void);

/* Moves a process (its first thread) to the processor that this thread runs on, if it may run there, and leaves it free to go on. What cannot
 * be does nothing. */
FERRY__LOCAL void ferry__platform_fetch(uint32_t pid);

/* ---- Sleeping on a word of shared memory ---- */

/* The word lies in memory that this process made, or that was passed to it and is settled. One thread of the maker's process and one of each
 * other's may sleep in it, whatever the word: who made it is woken by all others, and they are woken by the maker. (Where the system can
 * wait for words, only the word counts.) */

/* Blocks while *word == value, at most timeout_ns. May return at any time for no reason; the caller looks again. */
FERRY__LOCAL void ferry__platform_sleep(ferry__os memory, const uint32_t *word, uint32_t value, int64_t timeout_ns);
/* Wakes whoever sleeps on the word in another process. */
FERRY__LOCAL void ferry__platform_wake(ferry__os memory, const uint32_t *word);

/* ---- Memory ---- */

/* Bytes that this process could still be given: the least of what the machine and the control groups above it leave. */
FERRY__LOCAL uint64_t ferry__platform_memory_available(void);
/* Makes shared memory of exactly so many bytes, zeroed, reserved in full, of a size that nobody can change. */
FERRY__LOCAL int ferry__platform_memory_create(uint64_t bytes, ferry__os *out, ferry_why *why);
/* Makes a copy of data to be passed, which nobody can change once it is mapped for reading. Blocks for the copy. */
FERRY__LOCAL int ferry__platform_memory_freeze(const void *data, uint64_t bytes, ferry__os *out, ferry_why *why);
/* After this nobody can map the memory for writing who has not yet. */
FERRY__LOCAL void ferry__platform_memory_seal(ferry__os memory);
/* Is this foreign descriptor memory of exactly so many bytes (where the system counts pages: so many pages), its size fixed for good, and
 * frozen if it has to be? */
FERRY__LOCAL int ferry__platform_memory_check(ferry__os memory, uint64_t bytes, int frozen, ferry_why *why);
typedef enum ferry__mapping {
    FERRY__MAP_FROZEN = 0,   /* for reading; what others write later does not show, as where a system freezes memory */
    FERRY__MAP_WRITABLE = 1, /* what others write shows */
    FERRY__MAP_LIVE = 2      /* for reading, and what others write shows */
} ferry__mapping;
FERRY__LOCAL int ferry__platform_memory_map(ferry__os memory, uint64_t bytes, int mapping, void **out, ferry_why *why);
/* Mapped for good: gives back what neither sleeping nor waking needs, which may be all (FERRY__NO_OS). */
FERRY__LOCAL void ferry__platform_memory_settle(ferry__os *memory);
/* Makes a mapping's first bytes read-only in this process, as far as they are whole pages of this system: pages may be larger than
 * FERRY__PAGE, of which bytes is a multiple, and what lies behind stays writable. */
FERRY__LOCAL int ferry__platform_memory_protect(void *start, uint64_t bytes, ferry_why *why);
FERRY__LOCAL void ferry__platform_memory_unmap(void *start, uint64_t bytes);

/* A private word that tells this process from a child after fork: it is 1 here and reads 0 there. Where the system cannot do that, a call
 * tells. */
FERRY__LOCAL int ferry__platform_canary_create(uint32_t **out, ferry_why *why);
#ifdef __APPLE__
FERRY__LOCAL int ferry__platform_canary_is_mine(const uint32_t *canary);
#else
static inline int ferry__platform_canary_is_mine(const uint32_t *canary) { return *canary == 1; }
#endif
FERRY__LOCAL void ferry__platform_canary_destroy(uint32_t *canary);

/* ---- Places ---- */

/* Does this text, of an address, begin as an absolute path does? */
FERRY__LOCAL int ferry__platform_is_path(const char *text);
/* Directory number i (0, 1, ...) in which names live, best first: 1, or 0 when there are no more. With make it is created. Negative, with
 * FERRY_EADDRESS, says why it is not the user's alone; the next may be tried. Without make it may be missing. */
FERRY__LOCAL int ferry__platform_directory(int i, int make, char *out, uint32_t out_bytes, ferry_why *why);
/* Calls each for every name in the directory that somebody serves; removes those whose server died. What is
 * no name is left alone. */
FERRY__LOCAL void ferry__platform_each_name(const char *directory, int (*is_name)(const char *), void (*each)(void *user, const char *name),
                                            void *user);

/* ---- Control streams: reliable, ordered bytes and descriptors between two processes of one user ---- */

typedef struct ferry__listener {
    ferry__os os;
    char path[128];
    uint64_t identity[2]; /* tells our path from a successor's, where it outlives its server */
} ferry__listener;

/* Takes a path. A dead predecessor's is removed; FERRY_EINUSE names the pid of a living one. May block up to a second for a lock. */
FERRY__LOCAL int ferry__platform_listen(const char *path, ferry__listener *out, ferry_why *why);
/* owner: gives the path up, unless it is no longer ours; else (a forked child) only closes. */
FERRY__LOCAL void ferry__platform_unlisten(ferry__listener *listener, int owner);
/* Lets other processes of this user find and read the memory (which must be sealed) beside the path, where the system has a way for that;
 * FERRY__NO_OS ends it. */
FERRY__LOCAL void ferry__platform_show(const ferry__listener *listener, ferry__os memory);
/* 1 and a stream, 0 nobody there, negative: see why. */
FERRY__LOCAL int ferry__platform_accept(ferry__listener *listener, ferry__os *out, ferry_why *why);
FERRY__LOCAL int ferry__platform_connect(const char *path, ferry__os *out, ferry_why *why);
/* Takes over an inherited descriptor, which must be a connected stream socket. FERRY_EUNSUPPORTED where there are none. */
FERRY__LOCAL int ferry__platform_inherit(int64_t number, ferry__os *out, ferry_why *why);
/* The process at the other end: refuses other users. *pid is 0 where unknown. Comes before anything is passed. */
FERRY__LOCAL int ferry__platform_peer(ferry__os stream, uint32_t *pid, ferry_why *why);
/* A handle that polls ready when the process has ended; FERRY__NO_OS where there is none. stream, if given, names the process exactly. */
FERRY__LOCAL ferry__os ferry__platform_watch(ferry__os stream, uint32_t pid);
/* Sends all bytes, and pass unless FERRY__NO_OS, or fails. */
FERRY__LOCAL int ferry__platform_send(ferry__os stream, const void *data, uint32_t bytes, ferry__os pass);
/* Receives at most bytes: how many, 0 for nothing yet, FERRY_ECLOSED at the end, FERRY_ESYSTEM (also if a descriptor came along, and
 * this process can have no more). A descriptor that comes along is stored in *passed if that is FERRY__NO_OS, else closed. */
FERRY__LOCAL int ferry__platform_receive(ferry__os stream, void *data, uint32_t bytes, ferry__os *passed);
/* Which of count <= 8 handles (FERRY__NO_OS allowed) have something to accept, read, or have ended: a mask. Blocks up to timeout_ns. */
FERRY__LOCAL uint32_t ferry__platform_poll(const ferry__os *handles, uint32_t count, int64_t timeout_ns);
FERRY__LOCAL void ferry__platform_close(ferry__os handle);

#endif
