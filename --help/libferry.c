/* libferry in one file, made from csrc, where it is explained; libferry.h is its manual.
What begins with fy_ or FY_ here begins with ferry__ or FERRY__ there.

MIT License

Copyright (c) 2026 The Ferry authors

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
*/

/* ---- libferry.c ---- */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64
#endif
#define FERRY_BUILDING

/* ---- errors.c ---- */
#include <stdint.h>

#include "libferry.h"

#ifdef __MINGW_PRINTF_FORMAT
#define FY_PRINTF(format_at, first_at) __attribute__((format(__MINGW_PRINTF_FORMAT, format_at, first_at)))
#else
#define FY_PRINTF(format_at, first_at) __attribute__((format(printf, format_at, first_at)))
#endif
#define FY_COLD __attribute__((noinline, cold))
#define FY_WARM __attribute__((noinline, hot))

typedef intptr_t fy_os;
#define FY_NO_OS ((fy_os) - 1)

static void fy_platform_says(char *out, uint32_t out_bytes);

typedef enum fy_mapping {
	FY_MAP_FROZEN = 0,
	FY_MAP_WRITABLE = 1,
	FY_MAP_LIVE = 2
} fy_mapping;

#ifdef __APPLE__
static int fy_platform_canary_is_mine(const uint32_t *canary);
#else
static inline int fy_platform_canary_is_mine(const uint32_t *canary) { return *canary == 1; }
#endif

typedef struct fy_listener {
	fy_os os;
	char path[128];
	uint64_t identity[2];
} fy_listener;

static void fy_platform_close(fy_os handle);

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *ferry_strerror(int err) {
	switch (err) {
	case FERRY_OK: return "no error";
#define FY_CASE(name, value, text) \
	case name: return text;
		FERRY_ERRORS(FY_CASE)
#undef FY_CASE
	default: return "unknown error";
	}
}

uint32_t ferry_version(void) { return FERRY_VERSION; }

static void fy_write(ferry_why *why, size_t from, const char *format, va_list arguments) {
	vsnprintf(why->text + from, sizeof why->text - from, format, arguments);
}

static int fy_fail(ferry_why *why, int code, const char *format, ...) {
	if (why != NULL) {
		va_list arguments;
		why->code = code;
		va_start(arguments, format);
		fy_write(why, 0, format, arguments);
		va_end(arguments);
	}
	return code;
}

static int fy_no_memory(ferry_why *why) { return fy_fail(why, FERRY_ENOMEM, "out of memory"); }

static void fy_also(ferry_why *why, const char *format, ...) {
	if (why != NULL) {
		va_list arguments;
		va_start(arguments, format);
		fy_write(why, strlen(why->text), format, arguments);
		va_end(arguments);
	}
}

static int fy_fail_os(ferry_why *why, int code, const char *format, ...) {
	char said[256];
	va_list arguments;
	fy_platform_says(said, sizeof said);
	why->code = code;
	va_start(arguments, format);
	fy_write(why, 0, format, arguments);
	va_end(arguments);
	fy_also(why, ": %s", said);
	return code;
}

static int fy_check_open(const char *what, const void *out, const uint32_t *struct_size, size_t bytes, ferry_why *why) {
	if (out == NULL) return fy_fail(why, FERRY_EINVAL, "ferry_%s_open needs a place for the handle", what);
	if (struct_size == NULL || *struct_size != bytes)
		return fy_fail(why, FERRY_EINVAL,
			"set ferry_%s_desc.struct_size to sizeof(ferry_%s_desc); are header and library of one version?", what, what);
	return fy_fail(why, 0, "%s", "");
}

/* ---- elements.c ---- */

#define FY_INTEGERS(X) \
	X(FERRY_BOOL, uint8_t) \
	X(FERRY_I8, int8_t) \
	X(FERRY_U8, uint8_t) \
	X(FERRY_I16, int16_t) \
	X(FERRY_U16, uint16_t) \
	X(FERRY_I32, int32_t) \
	X(FERRY_U32, uint32_t) \
	X(FERRY_I64, int64_t) \
	X(FERRY_U64, uint64_t)
#define FY_REALS(X) \
	X(FERRY_F32, float) \
	X(FERRY_F64, double)

uint32_t ferry_dtype_bytes(int dtype) {
#define FY_BYTES(name, type) \
	case name: return sizeof(type);
	switch (dtype) {
		FY_INTEGERS(FY_BYTES)
		FY_REALS(FY_BYTES)
	case FERRY_F16: return 2;
	default: return 0;
	}
}

static void fy_element(int dtype, double value, int64_t exact, int use_exact, char *out) {
#define FY_PUT(name, type) \
	case name: { \
		type v = use_exact ? (type)exact : (type)value; \
		memcpy(out, &v, sizeof v); \
		return; \
	}
	switch (dtype) {
		FY_INTEGERS(FY_PUT)
		FY_REALS(FY_PUT)
	}
}

static int fy_integer_range(int dtype, double *low, double *high) {
	static const double lows[] = {0, -128.0, 0, -32768.0, 0, -2147483648.0, 0, -9223372036854775808.0, 0};
	static const double highs[] = {1, 127, 255, 32767, 65535, 2147483647, 4294967295.0, 9223372036854774784.0, 18446744073709549568.0};
	if (dtype < FERRY_BOOL || dtype > FERRY_U64) return 0;
	*low = lows[dtype - FERRY_BOOL], *high = highs[dtype - FERRY_BOOL];
	return 1;
}

#define FY_READ(name, type) \
	case name: { \
		type v; \
		memcpy(&v, at, sizeof v); \
		return v; \
	}

static int64_t fy_integer_at(int dtype, const char *at) {
	switch (dtype) {
		FY_INTEGERS(FY_READ)
	default: return 0;
	}
}

static double fy_double_at(int dtype, const char *at) {
	switch (dtype) {
		FY_INTEGERS(FY_READ)
		FY_REALS(FY_READ)
	default: return 0;
	}
}

static uint64_t fy_element_order(int dtype, const char *at) {
	const uint64_t sign = (uint64_t)1 << 63;
	uint64_t bits;
	if (dtype < FERRY_F16) {
		bits = (uint64_t)fy_integer_at(dtype, at);
		return dtype == FERRY_U64 ? bits : bits ^ sign;
	}
	bits = (uint64_t)fy_integer_at(dtype == FERRY_F16 ? FERRY_U16 : dtype == FERRY_F32 ? FERRY_U32 : FERRY_U64, at);
	bits <<= 64 - 8 * ferry_dtype_bytes(dtype);
	if (bits == sign) bits = 0;
	return (bits & sign) != 0 ? ~bits : bits | sign;
}
#include <stddef.h>

#ifdef __cplusplus
#define FY_STATIC_ASSERT(condition, name) static_assert(condition, #name)
#else
#define FY_STATIC_ASSERT(condition, name) typedef char fy_assert_##name[(condition) ? 1 : -1]
#endif
#define FY_SIZE(type, bytes) FY_STATIC_ASSERT(sizeof(type) == (bytes), type##_size)

#define FY_ABI_MAJOR 1
#define FY_ABI_MINOR 1
#define FY_ENDIAN UINT32_C(0x01020304)

#define FY_FEATURE_ROWS (UINT64_C(1) << 0)
#define FY_FEATURE_GROUPS (UINT64_C(1) << 1)
#define FY_FEATURE_AUTORESET (UINT64_C(1) << 2)
#define FY_FEATURE_BELL (UINT64_C(1) << 3)
#define FY_FEATURE_OBSERVERS (UINT64_C(1) << 4)
#define FY_FEATURE_REALTIME (UINT64_C(1) << 5)
#define FY_FEATURES_KNOWN \
	(FY_FEATURE_ROWS | FY_FEATURE_AUTORESET | FY_FEATURE_BELL | FY_FEATURE_OBSERVERS | FY_FEATURE_REALTIME)

#define FY_OFFERS_CALLS (UINT64_C(1) << 0)

#define FY_CACHE_LINE 64
#define FY_LINE_BYTES 128
#define FY_PAGE 4096
#define FY_MAX_FIELDS 4096
#define FY_MAX_PATH 1024
#define FY_MAX_ABOUT (1 << 20)

#define FY_SEQ_START UINT32_C(0xFFFFFF00)

typedef struct fy_header {
	uint8_t magic[8];
	uint32_t endian;
	uint16_t abi_major, abi_minor;
	uint64_t compat, incompat;
	uint64_t region_bytes;
	uint32_t header_bytes, group_bytes, field_bytes;
	uint32_t num_groups, num_fields;
	uint32_t seq_start;
	uint64_t groups_offset, fields_offset, pool_offset, pool_bytes;
	uint64_t agent_offset, agent_bytes, env_offset, env_bytes;
	uint64_t agent_slot;
	uint64_t env_slot[2];
	uint64_t agent_blob, env_blob, blob_bytes;
	uint32_t env_pid, blob_format;
	uint32_t name_offset, name_bytes;
	uint32_t about_offset, about_bytes, about_format;
	uint32_t reserved0;
	uint64_t frame_slots, action_slots;
	uint32_t reserved[10];
} fy_header;

#define FY_REGION_MAGIC "FERRYmap"
FY_SIZE(fy_header, 264);

#define FY_AUTORESET_MASK UINT32_C(3)
#define FY_TICK_TOGETHER UINT32_C(4)
#define FY_FLAGS_KNOWN UINT32_C(7)

typedef struct fy_group {
	uint32_t num_rows, flags;
	uint32_t first_field, num_fields;
	uint32_t max_episode_steps, reserved0;
	uint64_t rows_offset, seed_offset;
	uint64_t reward_offset, episode_offset;
	uint64_t terminated_offset, truncated_offset, status_offset, active_offset;
	uint64_t env_number_offset, agent_number_offset;
	uint64_t action_moment_offset, frame_moment_offset;
	uint64_t reserved[1];
} fy_group;

FY_SIZE(fy_group, 128);

typedef enum fy_bounds { FY_BOUNDS_NONE = 0, FY_BOUNDS_SCALAR = 1, FY_BOUNDS_EACH = 2 } fy_bounds;

typedef struct fy_entry {
	uint32_t path_offset;
	uint16_t path_bytes;
	uint8_t role, kind, dtype, ndim;
	uint8_t bounds;
	uint8_t reserved0;
	uint32_t shape[FERRY_MAX_NDIM];
	uint32_t capacity;
	uint64_t stride;
	uint64_t offset;
	uint64_t final_offset;
	uint64_t present_offset;
	uint64_t low_offset, high_offset;
	uint64_t final_present_offset;
	uint64_t reserved2[3];
} fy_entry;

FY_SIZE(fy_entry, 128);

typedef struct fy_line {
	uint32_t parked;
	uint32_t left;
	uint64_t sleeps;
	uint64_t big_blobs;
	uint64_t stamp_ns;
	uint32_t processor;
	uint32_t pid;
	uint64_t reserved0[3];
	uint32_t sample_begun, sample_done;
	uint64_t sample_ns[3];
	uint64_t waits_ns;
	uint32_t waits_for;
	uint32_t come;
	uint64_t frames;
	uint64_t reserved2[1];
} fy_line;

FY_SIZE(fy_line, FY_LINE_BYTES);

typedef struct fy_slot {
	uint32_t seq;
	uint16_t kind;
	uint8_t blob_format, blob_where;
	uint64_t number;
	uint64_t blob_bytes;
	uint32_t num_rows;
	uint32_t reserved;
} fy_slot;

typedef enum fy_where { FY_WHERE_SLOT = 0, FY_WHERE_DESCRIPTOR = 1 } fy_where;

FY_SIZE(fy_slot, 32);

#define FY_FRAMES_WORD 128
#define FY_ACTIONS_WORD 256
#define FY_LANES_END 384

typedef struct fy_moment {
	uint64_t answers;
	uint64_t episode;
	uint64_t frame_ns;
	uint64_t action_ns;
	double returned;
} fy_moment;
FY_SIZE(fy_moment, 40);

typedef struct fy_joined {
	uint32_t first_format, second_format;
	uint64_t first_bytes;
} fy_joined;

#define FY_JOINED 5
FY_SIZE(fy_joined, 16);

typedef struct fy_bell_page {
	uint32_t count;
	uint32_t parked;
	uint32_t target;
	uint32_t reserved[29];
} fy_bell_page;
FY_SIZE(fy_bell_page, FY_LINE_BYTES);

#define FY_RING_SLOTS 4
#define FY_MAX_OBSERVERS 8

typedef struct fy_ring_head {
	uint8_t magic[8];
	uint64_t bytes;
	uint64_t spec_offset, spec_bytes;
	uint64_t slots_offset, slot_bytes;
	uint64_t returns_at;
	uint64_t agent_at,
		agent_bytes;
	uint64_t env_at, env_bytes;
	uint64_t reserved0[5];
	uint32_t latest;
	uint32_t reserved1[31];
} fy_ring_head;

#define FY_RING_MAGIC "FERRYobs"
FY_SIZE(fy_ring_head, 256);

typedef struct fy_ring_slot {
	uint32_t seq;
	uint32_t reserved0;
	uint64_t number;
	uint64_t stamp_ns;
	uint64_t finished;
	double finished_return;
	uint64_t count;
	uint64_t reserved1[2];
} fy_ring_slot;

FY_SIZE(fy_ring_slot, 64);

typedef enum fy_frame_type {
	FY_HELLO = 1,
	FY_WELCOME = 2,
	FY_READY = 3,
	FY_REFUSE = 4,
	FY_GOODBYE = 5,
	FY_BLOB = 6
} fy_frame_type;

typedef struct fy_frame {
	uint32_t magic;
	uint16_t type, reserved0;
	uint32_t bytes;
	uint32_t reserved1;
} fy_frame;

#define FY_FRAME_MAGIC UINT32_C(0x59525246)
#define FY_MAX_FRAME 2048
FY_SIZE(fy_frame, 16);

typedef struct fy_hello {
	uint8_t magic[8];
	uint32_t endian;
	uint16_t abi_major, abi_minor;
	uint64_t features;
	uint32_t side;
	uint32_t pid;
	int32_t index;
	uint32_t autoreset;
	uint64_t max_bytes;
	uint32_t version;
	uint32_t realtime;
	uint32_t reserved[2];
} fy_hello;

#define FY_HELLO_MAGIC "FERRYhi\n"
FY_SIZE(fy_hello, 64);

typedef enum fy_side { FY_ENV = 1, FY_AGENT = 2, FY_OBSERVER = 3 } fy_side;

typedef struct fy_welcome {
	uint64_t bytes;
} fy_welcome;

typedef struct fy_refuse {
	int32_t code;
	uint32_t text_bytes;
} fy_refuse;

static inline uint32_t fy_load_acquire(const uint32_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
static inline void fy_store_release(uint32_t *word, uint32_t value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }
static inline void fy_fence_dekker(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
static inline uint32_t fy_load_relaxed(const uint32_t *word) { return __atomic_load_n(word, __ATOMIC_RELAXED); }
static inline void fy_store_relaxed(uint32_t *word, uint32_t value) { __atomic_store_n(word, value, __ATOMIC_RELAXED); }

static inline void fy_fence_release(void) { __atomic_thread_fence(__ATOMIC_RELEASE); }
static inline void fy_fence_acquire(void) { __atomic_thread_fence(__ATOMIC_ACQUIRE); }

typedef size_t fy_word;
static inline void fy_copy_words_out(void *shared, const void *private_copy, size_t bytes) {
	fy_word *to = (fy_word *)shared;
	const fy_word *from = (const fy_word *)private_copy;
	size_t i;
	for (i = 0; i < bytes / sizeof *to; i++) __atomic_store_n(to + i, from[i], __ATOMIC_RELAXED);
}
static inline void fy_copy_words_in(void *private_copy, const void *shared, size_t bytes) {
	fy_word *to = (fy_word *)private_copy;
	const fy_word *from = (const fy_word *)shared;
	size_t i;
	for (i = 0; i < bytes / sizeof *to; i++) to[i] = __atomic_load_n(from + i, __ATOMIC_RELAXED);
}

static inline uint32_t fy_exchange(uint32_t *word, uint32_t value) { return __atomic_exchange_n(word, value, __ATOMIC_ACQ_REL); }

static inline uint32_t fy_add(uint32_t *word, uint32_t number) { return __atomic_add_fetch(word, number, __ATOMIC_SEQ_CST); }

static inline void fy_count_up(uint32_t *count) { (void)__atomic_fetch_add(count, 1, __ATOMIC_RELAXED); }
static inline uint32_t fy_count_down(uint32_t *count) { return __atomic_sub_fetch(count, 1, __ATOMIC_ACQ_REL); }

static inline void fy_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("isb" ::: "memory");
#else
	__asm__ volatile("" ::: "memory");
#endif
}

static inline void fy_fetch_to_write(const char *line) {
#if defined(__x86_64__)
	__asm__ volatile("prefetchw %0" : : "m"(*line));
#elif defined(__aarch64__)
	__asm__ volatile("prfm pstl1keep, [%0]" : : "r"(line));
#else
	__builtin_prefetch(line, 1);
	__asm__ volatile("" : : "r"(line));
#endif
}

static inline void fy_copy_in(void *private_copy, const void *foreign, size_t bytes) {
	if (bytes > 0) memcpy(private_copy, foreign, bytes);
	__asm__ volatile("" ::: "memory");
}

static inline void fy_copy_lines_in(void *private_copy, const void *foreign, size_t lines) {
	const size_t line = 64;
	char *to = (char *)private_copy;
	const char *from = (const char *)foreign;
	if (lines > 4) memcpy(to, from, lines * line);
	else
		for (; lines > 0; lines--, to += line, from += line) memcpy(to, from, line);
	__asm__ volatile("" ::: "memory");
}

#ifdef _WIN32
#define FY_FREEZES 0
#define FY_MOST_PATH 128
#else
#ifdef __APPLE__
#define FY_FREEZES 0
#define FY_MOST_PATH 104
#else
#define FY_FREEZES 1
#define FY_MOST_PATH 108
#endif
#endif
#define FY_MOST_DIRECTORY (FY_MOST_PATH - 43)

static inline int fy_check_bytes(uint64_t bytes, uint64_t said, uint64_t page, ferry_why *why) {
	if (bytes >= said && bytes - said < page) return 0;
	return fy_fail(why, FERRY_EPROTOCOL, "the peer's memory has %llu bytes where it said %llu", (unsigned long long)bytes,
		(unsigned long long)said);
}

#ifdef _WIN32
#ifndef _WIN32_WINNT
#define _WIN32_WINNT 0x0601
#endif
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif

#include <windows.h>

typedef enum fy_kind { FY_IS_MEMORY, FY_IS_PROCESS, FY_IS_STREAM, FY_IS_LISTENER } fy_kind;

enum {
	FY_MAIN,
	FY_EVENT,
	FY_OTHER,
	FY_NUM_HANDLES
};

typedef struct fy_object {
	fy_kind kind;
	int pending;
	HANDLE handle[FY_NUM_HANDLES];
	OVERLAPPED asked;
} fy_object;

static inline fy_object *fy_as_object(fy_os os) { return (fy_object *)os; }

#define FY_MOST_WIDE 512

#define FY_SHARE_ALL (FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE)

/* ---- platform_windows.c ---- */

#ifdef _WIN32

#include <psapi.h>
#include <stdlib.h>

static fy_object *fy_object_new(fy_kind kind, size_t bytes) {
	fy_object *object = (fy_object *)calloc(1, bytes);
	if (object == NULL) return NULL;
	object->kind = kind;
	if (kind == FY_IS_MEMORY || kind == FY_IS_PROCESS) return object;
	object->asked.hEvent = object->handle[FY_EVENT] = CreateEventW(NULL, TRUE, FALSE, NULL);
	if (object->asked.hEvent != NULL) return object;
	free(object);
	return NULL;
}

static void fy_wide(const char *text, WCHAR out[FY_MOST_WIDE]) { MultiByteToWideChar(CP_UTF8, 0, text, -1, out, FY_MOST_WIDE); }

static int fy_narrow(const WCHAR *text, char *out, uint32_t out_bytes) {
	return WideCharToMultiByte(CP_UTF8, 0, text, -1, out, (int)out_bytes, NULL, NULL) > 0 ? 0 : -1;
}

void fy_platform_says(char *out, uint32_t out_bytes) {
	DWORD error = GetLastError();
	WCHAR wide[64];
	DWORD length = FormatMessageW(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS | FORMAT_MESSAGE_MAX_WIDTH_MASK, NULL, error,
		0, wide, 64, NULL);
	while (length > 0 && (wide[length - 1] == ' ' || wide[length - 1] == '.')) wide[--length] = 0;
	if (length == 0 || fy_narrow(wide, out, out_bytes) != 0) snprintf(out, out_bytes, "Windows error %lu", (unsigned long)error);
}

static int fy_platform_variable(const char *name, char *out, uint32_t out_bytes) {
	WCHAR wide_name[FY_MOST_WIDE], wide[1024];
	DWORD length;
	fy_wide(name, wide_name);
	length = GetEnvironmentVariableW(wide_name, wide, 1024);
	*out = 0;
	if (length >= 1024 || (length > 0 && fy_narrow(wide, out, out_bytes) != 0)) {
		memset(out, '?', out_bytes - 1);
		out[out_bytes - 1] = 0;
	}
	return *out != 0;
}

static int64_t fy_platform_now_ns(void) {
	LARGE_INTEGER count, frequency;
	QueryPerformanceCounter(&count);
	QueryPerformanceFrequency(&frequency);
	return count.QuadPart / frequency.QuadPart * 1000000000 + count.QuadPart % frequency.QuadPart * 1000000000 / frequency.QuadPart;
}

static void fy_platform_yield(void) { SwitchToThread(); }

static void fy_platform_nap(int64_t ns) { Sleep((DWORD)((ns + 999999) / 1000000)); }

static uint32_t fy_platform_pid(void) { return GetCurrentProcessId(); }

static uint32_t fy_platform_processor(void) {
	PROCESSOR_NUMBER number;
	GetCurrentProcessorNumberEx(&number);
	return number.Group * UINT32_C(64) + number.Number + 1;
}

static void fy_platform_move(uint32_t processor) {
	DWORD_PTR all;
	if (processor - 1 >= 8 * sizeof all) return;
	all = SetThreadAffinityMask(GetCurrentThread(), (DWORD_PTR)1 << (processor - 1));
	if (all != 0) SetThreadAffinityMask(GetCurrentThread(), all);
}

static DWORD fy_milliseconds(int64_t ns) {
	int64_t ms = ns / 1000000 + (ns % 1000000 > 0);
	return ms <= 0 ? 0 : ms > 0x7FFFFFFF ? 0x7FFFFFFF : (DWORD)ms;
}

static void fy_platform_sleep(fy_os memory, const uint32_t *word, uint32_t value, int64_t timeout_ns) {
	if (fy_load_acquire(word) != value) return;
	if (WaitForSingleObject(fy_as_object(memory)->handle[FY_EVENT], fy_milliseconds(timeout_ns)) == WAIT_FAILED) Sleep(1);
}

static void fy_platform_wake(fy_os memory, const uint32_t *word) {
	(void)word;
	SetEvent(fy_as_object(memory)->handle[FY_OTHER]);
}

static uint64_t fy_platform_memory_available(void) {
	MEMORYSTATUSEX status;
	status.dwLength = sizeof status;
	if (!GlobalMemoryStatusEx(&status)) return UINT64_MAX;
	return status.ullAvailPhys < status.ullAvailPageFile ? status.ullAvailPhys : status.ullAvailPageFile;
}

static fy_os fy_memory_make(uint64_t bytes) {
	fy_object *memory = fy_object_new(FY_IS_MEMORY, sizeof *memory);
	HANDLE *handle;
	SetLastError(ERROR_NOT_ENOUGH_MEMORY);
	if (memory == NULL) return FY_NO_OS;
	handle = memory->handle;
	handle[FY_MAIN] = CreateFileMappingW(INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE, (DWORD)(bytes >> 32), (DWORD)bytes, NULL);
	if (handle[FY_MAIN] != NULL && (handle[FY_EVENT] = CreateEventW(NULL, FALSE, FALSE, NULL)) != NULL &&
		(handle[FY_OTHER] = CreateEventW(NULL, FALSE, FALSE, NULL)) != NULL)
		return (fy_os)memory;
	fy_platform_close((fy_os)memory);
	return FY_NO_OS;
}

static void *fy_memory_view(fy_os memory, size_t bytes, int writable) {
	return MapViewOfFile(fy_as_object(memory)->handle[FY_MAIN], writable ? FILE_MAP_READ | FILE_MAP_WRITE : FILE_MAP_READ, 0, 0,
		bytes);
}

static void fy_platform_memory_settle(fy_os *memory) {
	HANDLE *section = &fy_as_object(*memory)->handle[FY_MAIN];
	CloseHandle(*section);
	*section = NULL;
}

static int fy_platform_memory_check(fy_os memory, uint64_t bytes, int frozen, ferry_why *why) {
	MEMORY_BASIC_INFORMATION found;
	WCHAR file[MAX_PATH];
	void *view = fy_memory_view(memory, 0, 0);
	int whole, backed;
	(void)frozen;
	if (view == NULL) return fy_fail(why, FERRY_EPROTOCOL, "the peer's handle is not memory");
	whole = VirtualQuery(view, &found, sizeof found) == sizeof found && found.State == MEM_COMMIT && found.Type == MEM_MAPPED;
	backed = K32GetMappedFileNameW(GetCurrentProcess(), view, file, MAX_PATH) != 0;
	UnmapViewOfFile(view);
	if (!whole || backed) return fy_fail(why, FERRY_EPROTOCOL, "the peer's memory is not all there, or lies in a file");
	return fy_check_bytes(found.RegionSize, bytes, FY_PAGE, why);
}

static int fy_platform_memory_protect(void *start, uint64_t bytes, ferry_why *why) {
	DWORD before;
	if (VirtualProtect(start, (size_t)bytes, PAGE_READONLY, &before)) return 0;
	return fy_fail_os(why, FERRY_ESYSTEM, "VirtualProtect failed");
}

static void fy_platform_memory_unmap(void *start, uint64_t bytes) {
	(void)bytes;
	UnmapViewOfFile(start);
}

static int fy_platform_canary_create(uint32_t **out, ferry_why *why) {
	static uint32_t here = 1;
	(void)why;
	*out = &here;
	return 0;
}

static void fy_platform_canary_destroy(uint32_t *canary) { (void)canary; }

static int fy_platform_is_path(const char *text) {
	int drive = (text[0] >= 'A' && text[0] <= 'Z') || (text[0] >= 'a' && text[0] <= 'z');
	return text[0] == '/' || text[0] == '\\' || (drive && text[1] == ':' && (text[2] == '/' || text[2] == '\\'));
}

static int fy_usual_directory(int i, char *out, uint32_t out_bytes) {
	char base[FY_MOST_PATH];
	if (i > 1 || !fy_platform_variable(i == 0 ? "LOCALAPPDATA" : "TEMP", base, sizeof base)) return 0;
	snprintf(out, out_bytes, "%s/ferry", base);
	return 1;
}

static int fy_make_directory(const char *path) {
	WCHAR wide[FY_MOST_WIDE];
	fy_wide(path, wide);
	return CreateDirectoryW(wide, NULL) || GetLastError() == ERROR_ALREADY_EXISTS ? 0 : -1;
}

static int fy_check_directory(char *path, int make, ferry_why *why) {
	WCHAR wide[FY_MOST_WIDE];
	DWORD found;
	char *at;
	(void)why;
	for (at = path; *at != 0; at++)
		if (*at == '\\') *at = '/';
	fy_wide(path, wide);
	found = GetFileAttributesW(wide);
	return !make || (found != INVALID_FILE_ATTRIBUTES && (found & FILE_ATTRIBUTE_DIRECTORY) != 0);
}

static int64_t fy_server_of(const WCHAR *path) {
	static const char mark[] = "ferry ";
	char text[32] = "";
	DWORD got = 0;
	HANDLE file = CreateFileW(path, GENERIC_READ, FY_SHARE_ALL, NULL, OPEN_EXISTING, 0, NULL);
	if (file == INVALID_HANDLE_VALUE) return GetFileAttributesW(path) != INVALID_FILE_ATTRIBUTES ? -1 : 0;
	if (!ReadFile(file, text, sizeof text - 1, &got, NULL)) got = 0;
	CloseHandle(file);
	return strncmp(text, mark, strlen(mark)) == 0 ? (int64_t)strtoul(text + strlen(mark), NULL, 10) : -1;
}

static int fy_is_served(const WCHAR *path) {
	HANDLE file;
	if (fy_server_of(path) <= 0) return 0;
	file = CreateFileW(path, GENERIC_WRITE, FY_SHARE_ALL, NULL, OPEN_EXISTING, 0, NULL);
	if (file == INVALID_HANDLE_VALUE) return GetLastError() == ERROR_SHARING_VIOLATION;
	CloseHandle(file);
	return 0;
}

static void fy_platform_each_name(const char *directory, int (*is_name)(const char *), void (*each)(void *user, const char *name),
	void *user) {
	char text[FY_MOST_WIDE], name[FY_MOST_WIDE / 2];
	WCHAR wide[FY_MOST_WIDE];
	WIN32_FIND_DATAW found;
	HANDLE search;
	snprintf(text, sizeof text, "%s/*", directory);
	fy_wide(text, wide);
	search = FindFirstFileW(wide, &found);
	if (search == INVALID_HANDLE_VALUE) return;
	do {
		if ((found.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY) != 0 || fy_narrow(found.cFileName, name, sizeof name) != 0 ||
			!is_name(name))
			continue;
		snprintf(text, sizeof text, "%s/%s", directory, name);
		fy_wide(text, wide);
		if (fy_is_served(wide)) each(user, name);
	} while (FindNextFileW(search, &found));
	FindClose(search);
}

static int fy_pipe_of(HANDLE file, WCHAR out[FY_MOST_WIDE]) {
	BY_HANDLE_FILE_INFORMATION info;
	char text[64];
	if (!GetFileInformationByHandle(file, &info)) return -1;
	snprintf(text, sizeof text, "\\\\.\\pipe\\ferry-%08lx-%08lx%08lx", (unsigned long)info.dwVolumeSerialNumber,
		(unsigned long)info.nFileIndexHigh, (unsigned long)info.nFileIndexLow);
	fy_wide(text, out);
	return 0;
}

static HANDLE fy_take_name(const WCHAR *path) {
	HANDLE file = INVALID_HANDLE_VALUE;
	char text[32];
	DWORD done, error = 0;
	int tries;
	for (tries = 0; tries < 10; tries++) {
		if (tries > 0) Sleep(5);
		error = ERROR_FILE_EXISTS;
		if (fy_server_of(path) < 0) continue;
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

/* ---- platform_windows_pipes.c ---- */

#ifdef _WIN32

#include <stdlib.h>

typedef struct fy_preface {
	uint32_t magic;
	uint32_t bytes;
	uint32_t pid;
	uint32_t passes;
	uint64_t gift[FY_NUM_HANDLES];
} fy_preface;

#define FY_PREFACE_MAGIC UINT32_C(0x50525246)
#define FY_MAX_MESSAGE (FY_MAX_FRAME + sizeof(fy_frame))
#define FY_PIPE_BYTES 65536

typedef struct fy_record {
	fy_preface preface;
	char message[FY_MAX_MESSAGE];
} fy_record;

typedef struct fy_stream {
	fy_object object;
	int ended;
	uint32_t begin, end;
	uint32_t left;
	char buffer[4096];
} fy_stream;

typedef struct fy_doorway {
	fy_object object;
	WCHAR pipe[FY_MOST_WIDE];
} fy_doorway;

static DWORD fy_cease(HANDLE pipe, OVERLAPPED *asked) {
	DWORD done = 0;
	CancelIoEx(pipe, asked);
	return GetOverlappedResult(pipe, asked, &done, TRUE) ? done : 0;
}

static int fy_stream_new(HANDLE pipe, fy_os *out, ferry_why *why) {
	fy_object *stream = fy_object_new(FY_IS_STREAM, sizeof(fy_stream));
	if (stream == NULL) return CloseHandle(pipe), fy_no_memory(why);
	stream->handle[FY_MAIN] = pipe;
	*out = (fy_os)stream;
	return 1;
}

static void fy_stream_end(fy_stream *stream) {
	stream->ended = 1;
	SetEvent(stream->object.handle[FY_EVENT]);
}

static void fy_stream_ask(fy_stream *stream) {
	fy_object *object = &stream->object;
	uint32_t unread = stream->end - stream->begin;
	memmove(stream->buffer, stream->buffer + stream->begin, unread);
	stream->begin = 0, stream->end = unread;
	object->pending =
		ReadFile(object->handle[FY_MAIN], stream->buffer + unread, (DWORD)sizeof stream->buffer - unread, NULL, &object->asked) ||
		GetLastError() == ERROR_IO_PENDING;
	if (!object->pending) fy_stream_end(stream);
}

static int fy_stream_got(fy_stream *stream) {
	DWORD got = 0;
	if (!stream->object.pending) return 0;
	if (!GetOverlappedResult(stream->object.handle[FY_MAIN], &stream->object.asked, &got, FALSE)) {
		if (GetLastError() == ERROR_IO_INCOMPLETE) return 0;
		fy_stream_end(stream);
	}
	stream->object.pending = 0;
	stream->end += got;
	return got > 0;
}

typedef union fy_user {
	TOKEN_USER user;
	char bytes[sizeof(TOKEN_USER) + SECURITY_MAX_SID_SIZE];
} fy_user;

static int fy_user_of(HANDLE process, fy_user *out) {
	HANDLE token;
	DWORD size;
	BOOL known;
	if (!OpenProcessToken(process, TOKEN_QUERY, &token)) return -1;
	known = GetTokenInformation(token, TokenUser, out, sizeof *out, &size);
	CloseHandle(token);
	return known ? 0 : -1;
}

static int fy_platform_peer(fy_os os, uint32_t *pid, ferry_why *why) {
	fy_object *stream = fy_as_object(os);
	HANDLE pipe = stream->handle[FY_MAIN], process;
	fy_user theirs, mine;
	ULONG client = 0, server = 0;
	GetNamedPipeClientProcessId(pipe, &client);
	GetNamedPipeServerProcessId(pipe, &server);
	*pid = client != GetCurrentProcessId() ? client : server;
	process = OpenProcess(PROCESS_DUP_HANDLE | PROCESS_QUERY_LIMITED_INFORMATION | SYNCHRONIZE, FALSE, *pid);
	if (process == NULL && GetLastError() == ERROR_INVALID_PARAMETER) return 0;
	if (process == NULL)
		return fy_fail_os(why, FERRY_EADDRESS,
			"run both sides as one user, with the same rights; the peer (pid %u) cannot be given memory", *pid);
	if (fy_user_of(process, &theirs) != 0 || fy_user_of(GetCurrentProcess(), &mine) != 0 ||
		!EqualSid(theirs.user.User.Sid, mine.user.User.Sid)) {
		CloseHandle(process);
		return fy_fail(why, FERRY_EADDRESS, "the peer (pid %u) belongs to another user; Ferry joins processes of one user", *pid);
	}
	if (PeekNamedPipe(pipe, NULL, 0, NULL, NULL, NULL)) stream->handle[FY_OTHER] = process;
	else CloseHandle(process);
	return 0;
}

#define FY_GIFT WRITE_DAC
static DWORD fy_gift_access(int i) {
	return i == FY_MAIN ? SECTION_MAP_READ | SECTION_MAP_WRITE | SECTION_QUERY : EVENT_MODIFY_STATE | SYNCHRONIZE;
}

static void fy_take_back(HANDLE process, const uint64_t *gift) {
	int i;
	for (i = 0; i < FY_NUM_HANDLES; i++)
		if (gift[i] != 0) DuplicateHandle(process, (HANDLE)(uintptr_t)gift[i], NULL, NULL, 0, FALSE, DUPLICATE_CLOSE_SOURCE);
}

static int fy_give(HANDLE process, const fy_object *memory, uint64_t gift[FY_NUM_HANDLES]) {
	static const int theirs[] = {FY_MAIN, FY_OTHER, FY_EVENT};
	HANDLE given;
	int i;
	for (i = 0; i < FY_NUM_HANDLES; i++) {
		if (!DuplicateHandle(GetCurrentProcess(), memory->handle[theirs[i]], process, &given, fy_gift_access(i) | FY_GIFT, FALSE,
			0)) {
			fy_take_back(process, gift);
			return 0;
		}
		gift[i] = (uint64_t)(uintptr_t)given;
	}
	return 1;
}

static HANDLE fy_accept_gift(uint64_t number, DWORD access) {
	typedef LONG(WINAPI * query_object)(HANDLE, int, void *, ULONG, ULONG *);
	query_object query = (query_object)(uintptr_t)GetProcAddress(GetModuleHandleW(L"ntdll.dll"), "NtQueryObject");
	HANDLE given = (HANDLE)(uintptr_t)number, out;
	ULONG info[14];
	if (number == 0 || (uint64_t)(uintptr_t)number != number || query == NULL) return NULL;
	if (query(given, 0, info, sizeof info, NULL) < 0 || info[1] != (access | FY_GIFT)) return NULL;
	if (!DuplicateHandle(GetCurrentProcess(), given, GetCurrentProcess(), &out, access, FALSE, DUPLICATE_CLOSE_SOURCE)) return NULL;
	return out;
}

static fy_os fy_accept_gifts(const uint64_t gift[FY_NUM_HANDLES]) {
	fy_object *memory = fy_object_new(FY_IS_MEMORY, sizeof *memory);
	int i;
	if (memory == NULL) return FY_NO_OS;
	for (i = 0; i < FY_NUM_HANDLES; i++) memory->handle[i] = fy_accept_gift(gift[i], fy_gift_access(i));
	if (memory->handle[FY_MAIN] != NULL) return (fy_os)memory;
	fy_platform_close((fy_os)memory);
	return FY_NO_OS;
}

static int fy_platform_send(fy_os os, const void *data, uint32_t bytes, fy_os pass) {
	HANDLE pipe = fy_as_object(os)->handle[FY_MAIN], process = fy_as_object(os)->handle[FY_OTHER];
	const DWORD whole = (DWORD)sizeof(fy_preface) + bytes;
	DWORD sent = 0;
	fy_record record;
	OVERLAPPED writing;
	memset(&record, 0, sizeof record);
	memset(&writing, 0, sizeof writing);
	writing.hEvent = CreateEventW(NULL, TRUE, FALSE, NULL);
	if (writing.hEvent == NULL) return FERRY_ECLOSED;
	record.preface.magic = FY_PREFACE_MAGIC, record.preface.bytes = bytes, record.preface.pid = GetCurrentProcessId();
	if (pass != FY_NO_OS) record.preface.passes = (uint32_t)fy_give(process, fy_as_object(pass), record.preface.gift);
	memcpy(record.message, data, bytes);
	if (WriteFile(pipe, &record, whole, NULL, &writing) || GetLastError() == ERROR_IO_PENDING) sent = fy_cease(pipe, &writing);
	CloseHandle(writing.hEvent);
	if (sent == whole) return 0;
	if (record.preface.passes) fy_take_back(process, record.preface.gift);
	return FERRY_ECLOSED;
}

static int fy_stream_read_preface(fy_stream *stream, fy_os *passed) {
	const char *at = stream->buffer + stream->begin;
	uint32_t unread = stream->end - stream->begin;
	fy_preface preface;
	fy_os gift;
	if (unread < sizeof preface.magic) return 0;
	memcpy(&preface.magic, at, sizeof preface.magic);
	if (preface.magic == FY_PREFACE_MAGIC) {
		if (unread < sizeof preface) return 0;
		memcpy(&preface, at, sizeof preface);
	}
	if (preface.magic != FY_PREFACE_MAGIC || preface.bytes == 0) {
		stream->left = UINT32_MAX;
		return 1;
	}
	stream->begin += (uint32_t)sizeof preface;
	stream->left = preface.bytes;
	if (preface.passes == 0) return 1;
	gift = fy_accept_gifts(preface.gift);
	if (*passed == FY_NO_OS) *passed = gift;
	else fy_platform_close(gift);
	return 1;
}

static int fy_platform_receive(fy_os os, void *data, uint32_t bytes, fy_os *passed) {
	fy_stream *stream = (fy_stream *)os;
	for (;;) {
		uint32_t unread, part;
		while (stream->left == 0 && fy_stream_read_preface(stream, passed)) continue;
		unread = stream->end - stream->begin;
		part = unread < stream->left ? unread : stream->left;
		if (part > bytes) part = bytes;
		if (part > 0) {
			memcpy(data, stream->buffer + stream->begin, part);
			stream->begin += part, stream->left -= part;
			return (int)part;
		}
		if (stream->ended) return FERRY_ECLOSED;
		if (!stream->object.pending) fy_stream_ask(stream);
		if (!fy_stream_got(stream) && !stream->ended) return 0;
	}
}

static int fy_stream_is_ready(fy_stream *stream) {
	uint32_t unread = stream->end - stream->begin;
	if (stream->ended || (stream->left > 0 ? unread > 0 : unread >= sizeof(fy_preface))) return 1;
	if (!stream->object.pending) fy_stream_ask(stream);
	return stream->ended;
}

static void fy_stream_drain(fy_os os) {
	char scrap[FY_MAX_MESSAGE];
	int got = 1, messages;
	for (messages = 0; got > 0 && messages < 64; messages++) {
		fy_os passed = FY_NO_OS;
		got = fy_platform_receive(os, scrap, sizeof scrap, &passed);
		fy_platform_close(passed);
	}
}

static int fy_doorway_open(fy_doorway *doorway) {
	union {
		ACL acl;
		char bytes[sizeof(ACL) + sizeof(ACCESS_ALLOWED_ACE) + SECURITY_MAX_SID_SIZE];
	} list;
	SECURITY_DESCRIPTOR descriptor;
	SECURITY_ATTRIBUTES attributes;
	fy_user mine;
	HANDLE pipe;
	if (fy_user_of(GetCurrentProcess(), &mine) != 0 || !InitializeAcl(&list.acl, sizeof list, ACL_REVISION) ||
		!AddAccessAllowedAce(&list.acl, ACL_REVISION, FILE_ALL_ACCESS, mine.user.User.Sid) ||
		!InitializeSecurityDescriptor(&descriptor, SECURITY_DESCRIPTOR_REVISION) ||
		!SetSecurityDescriptorDacl(&descriptor, TRUE, &list.acl, FALSE))
		return -1;
	attributes.nLength = sizeof attributes, attributes.lpSecurityDescriptor = &descriptor, attributes.bInheritHandle = FALSE;
	pipe = CreateNamedPipeW(doorway->pipe, PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED,
		PIPE_TYPE_BYTE | PIPE_READMODE_BYTE | PIPE_WAIT | PIPE_REJECT_REMOTE_CLIENTS, PIPE_UNLIMITED_INSTANCES,
		FY_PIPE_BYTES, FY_PIPE_BYTES, 0, &attributes);
	if (pipe == INVALID_HANDLE_VALUE) return -1;
	doorway->object.handle[FY_MAIN] = pipe;
	doorway->object.pending = ConnectNamedPipe(pipe, &doorway->object.asked) || GetLastError() == ERROR_IO_PENDING;
	if (!doorway->object.pending) SetEvent(doorway->object.handle[FY_EVENT]);
	return 0;
}

static int fy_platform_listen(const char *path, fy_listener *out, ferry_why *why) {
	fy_object *object = fy_object_new(FY_IS_LISTENER, sizeof(fy_doorway));
	fy_doorway *doorway = (fy_doorway *)object;
	WCHAR wide[FY_MOST_WIDE];
	HANDLE name;
	out->os = FY_NO_OS;
	if (object == NULL) return fy_no_memory(why);
	snprintf(out->path, sizeof out->path, "%s", path);
	fy_wide(path, wide);
	name = object->handle[FY_OTHER] = fy_take_name(wide);
	if (name == NULL && GetLastError() == ERROR_SHARING_VIOLATION) {
		int64_t pid = fy_server_of(wide);
		fy_fail(why, FERRY_EINUSE, "'%s' is already served by the process %u; choose another name, or end that one", path,
			pid > 0 ? (unsigned)pid : 0);
	} else if (name == NULL && GetLastError() == ERROR_FILE_EXISTS)
		fy_fail(why, FERRY_EADDRESS, "'%s' exists and is no name of Ferry's; choose another address", path);
	else if (name == NULL) fy_fail_os(why, FERRY_EADDRESS, "'%s' cannot be taken", path);
	else if (fy_pipe_of(name, doorway->pipe) == 0 && fy_doorway_open(doorway) == 0) {
		out->os = (fy_os)doorway;
		return 0;
	} else fy_fail_os(why, FERRY_ESYSTEM, "could not listen on '%s'", path);
	fy_platform_close((fy_os)doorway);
	return why->code;
}

static void fy_platform_unlisten(fy_listener *listener, int owner) {
	(void)owner;
	fy_platform_close(listener->os);
	listener->os = FY_NO_OS;
}

static int fy_platform_accept(fy_listener *listener, fy_os *out, ferry_why *why) {
	fy_doorway *doorway = (fy_doorway *)listener->os;
	HANDLE *pipe = &doorway->object.handle[FY_MAIN];
	DWORD ignored;
	int got;
	*out = FY_NO_OS;
	if (*pipe == NULL && fy_doorway_open(doorway) != 0)
		return fy_fail_os(why, FERRY_ESYSTEM, "accept on '%s' failed", listener->path);
	if (doorway->object.pending && !GetOverlappedResult(*pipe, &doorway->object.asked, &ignored, FALSE) &&
		GetLastError() == ERROR_IO_INCOMPLETE)
		return 0;
	got = fy_stream_new(*pipe, out, why);
	*pipe = NULL, doorway->object.pending = 0;
	ResetEvent(doorway->object.handle[FY_EVENT]);
	if (fy_doorway_open(doorway) != 0) SetEvent(doorway->object.handle[FY_EVENT]);
	return got;
}

static int fy_platform_connect(const char *path, fy_os *out, ferry_why *why) {
	WCHAR wide[FY_MOST_WIDE], pipe[FY_MOST_WIDE];
	HANDLE file, end = INVALID_HANDLE_VALUE;
	DWORD error;
	*out = FY_NO_OS;
	fy_wide(path, wide);
	file = CreateFileW(wide, FILE_READ_ATTRIBUTES, FY_SHARE_ALL, NULL, OPEN_EXISTING, 0, NULL);
	if (file != INVALID_HANDLE_VALUE && fy_pipe_of(file, pipe) == 0)
		end = CreateFileW(pipe, GENERIC_READ | GENERIC_WRITE, 0, NULL, OPEN_EXISTING,
			FILE_FLAG_OVERLAPPED | SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION, NULL);
	error = GetLastError();
	if (file != INVALID_HANDLE_VALUE) CloseHandle(file);
	if (end != INVALID_HANDLE_VALUE) return fy_stream_new(end, out, why);
	if (error == ERROR_FILE_NOT_FOUND || error == ERROR_PATH_NOT_FOUND || error == ERROR_PIPE_BUSY || error == ERROR_DELETE_PENDING ||
		(error == ERROR_ACCESS_DENIED && GetFileAttributesW(wide) == INVALID_FILE_ATTRIBUTES))
		return 0;
	SetLastError(error);
	return fy_fail_os(why, FERRY_EADDRESS, "'%s' cannot be connected to", path);
}

static int fy_platform_inherit(int64_t number, fy_os *out, ferry_why *why) {
	*out = FY_NO_OS;
	return fy_fail(why, FERRY_EUNSUPPORTED, "'fd:%lld': on Windows no connection is inherited; use a name", (long long)number);
}

static fy_os fy_platform_watch(fy_os os, uint32_t pid) {
	fy_object *process = fy_object_new(FY_IS_PROCESS, sizeof *process);
	HANDLE self = GetCurrentProcess(), known = os != FY_NO_OS ? fy_as_object(os)->handle[FY_OTHER] : NULL;
	if (process == NULL) return FY_NO_OS;
	if (known == NULL) process->handle[FY_MAIN] = OpenProcess(SYNCHRONIZE, FALSE, pid);
	else if (!DuplicateHandle(self, known, self, &process->handle[FY_MAIN], SYNCHRONIZE, FALSE, 0)) process->handle[FY_MAIN] = NULL;
	if (process->handle[FY_MAIN] != NULL) return (fy_os)process;
	free(process);
	return FY_NO_OS;
}

static HANDLE fy_waitable(fy_object *object) {
	if (object->kind == FY_IS_STREAM && fy_stream_is_ready((fy_stream *)object)) return NULL;
	return object->handle[object->kind == FY_IS_PROCESS ? FY_MAIN : FY_EVENT];
}

static uint32_t fy_platform_poll(const fy_os *handles, uint32_t count, int64_t timeout_ns) {
	HANDLE waited[8];
	uint32_t place[8], i, waiting = 0, mask = 0;
	for (i = 0; i < count; i++) {
		if (handles[i] == FY_NO_OS) continue;
		place[waiting] = i, waited[waiting] = fy_waitable(fy_as_object(handles[i]));
		if (waited[waiting] != NULL) waiting++;
		else mask |= 1u << i, timeout_ns = 0;
	}
	if (waiting == 0) Sleep(fy_milliseconds(timeout_ns));
	else if (WaitForMultipleObjects(waiting, waited, FALSE, fy_milliseconds(timeout_ns)) != WAIT_TIMEOUT)
		for (i = 0; i < waiting; i++)
			if (WaitForSingleObject(waited[i], 0) == WAIT_OBJECT_0) mask |= 1u << place[i];
	return mask;
}

void fy_platform_close(fy_os os) {
	fy_object *object = fy_as_object(os);
	int i;
	if (os == FY_NO_OS) return;
	if (object->kind == FY_IS_STREAM) fy_stream_drain(os);
	if (object->pending) (void)fy_cease(object->handle[FY_MAIN], &object->asked);
	for (i = 0; i < FY_NUM_HANDLES; i++)
		if (object->handle[i] != NULL) CloseHandle(object->handle[i]);
	free(object);
}

#endif
#else

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#ifndef SOCK_CLOEXEC
#define SOCK_CLOEXEC 0
#endif
#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif
#ifndef MSG_CMSG_CLOEXEC
#define MSG_CMSG_CLOEXEC 0
#endif

static int fy_credentials(int stream, uid_t *user, uint32_t *pid);
static int fy_poll(struct pollfd *polled, uint32_t count, int64_t timeout_ns);

static int fy_drop(int fd) {
	int err = errno;
	close(fd);
	errno = err;
	return -1;
}

void fy_platform_says(char *out, uint32_t out_bytes) { snprintf(out, out_bytes, "%s", strerror(errno)); }

static void fy_platform_yield(void) { sched_yield(); }

static struct timespec fy_timespec(int64_t ns) {
	struct timespec time;
	time.tv_sec = (time_t)(ns / 1000000000), time.tv_nsec = (long)(ns % 1000000000);
	return time;
}

static void fy_platform_nap(int64_t ns) {
	struct timespec time = fy_timespec(ns);
	(void)nanosleep(&time, NULL);
}

static uint32_t fy_platform_pid(void) { return (uint32_t)getpid(); }

static int fy_platform_variable(const char *name, char *out, uint32_t out_bytes) {
	const char *text = getenv(name);
	snprintf(out, out_bytes, "%s", text != NULL ? text : "");
	return *out != 0;
}

static void *fy_memory_view(fy_os memory, size_t bytes, int writable) {
	void *start = mmap(NULL, bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, (int)memory, 0);
	return start != MAP_FAILED ? start : NULL;
}

static void fy_platform_memory_settle(fy_os *memory) {
	fy_platform_close(*memory);
	*memory = FY_NO_OS;
}

static int fy_platform_memory_protect(void *start, uint64_t bytes, ferry_why *why) {
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), whole = bytes - bytes % page;
	if (whole == 0 || mprotect(start, (size_t)whole, PROT_READ) == 0) return 0;
	return fy_fail_os(why, FERRY_ESYSTEM, "mprotect failed");
}

static void fy_platform_memory_unmap(void *start, uint64_t bytes) { munmap(start, (size_t)bytes); }

static int fy_platform_is_path(const char *text) { return text[0] == '/'; }

static int fy_usual_directory(int i, char *out, uint32_t out_bytes) {
	const char *session = getenv("XDG_RUNTIME_DIR");
	int has_session = session != NULL && *session == '/';
	if (i < has_session) snprintf(out, out_bytes, "%s/ferry", session);
	else snprintf(out, out_bytes, "/tmp/ferry-%lu", (unsigned long)geteuid());
	return i <= has_session;
}

static int fy_make_directory(const char *path) { return mkdir(path, 0700) == 0 || errno == EEXIST ? 0 : -1; }

static int fy_check_directory(char *path, int make, ferry_why *why) {
	struct stat info;
	if (lstat(path, &info) != 0) return !make;
	if (S_ISLNK(info.st_mode) && info.st_uid == geteuid() && stat(path, &info) != 0) return 0;
	if (info.st_uid != geteuid())
		return fy_fail(why, FERRY_EADDRESS,
			"the directory '%s' belongs to user %lu, not to you (%lu); set FERRY_RUNTIME_DIR to one that you own", path,
			(unsigned long)info.st_uid, (unsigned long)geteuid());
	if (S_ISDIR(info.st_mode) && (info.st_mode & 077) != 0)
		return fy_fail(why, FERRY_EADDRESS, "the directory '%s' is open to others; run chmod 700 on it, or set FERRY_RUNTIME_DIR",
			path);
	return S_ISDIR(info.st_mode);
}

static int fy_address_of(const char *path, struct sockaddr_un *out) {
	memset(out, 0, sizeof *out);
	out->sun_family = AF_UNIX;
	if (strlen(path) >= sizeof out->sun_path) return -1;
	strcpy(out->sun_path, path);
	return 0;
}

static int fy_tame(int fd) {
#ifdef SO_NOSIGPIPE
	const int yes = 1;
	if (setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &yes, sizeof yes) != 0) return -1;
#endif
	return fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 ? fcntl(fd, F_SETFL, O_NONBLOCK) : -1;
}

static int fy_stream_socket(void) {
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return fd < 0 || fy_tame(fd) == 0 ? fd : fy_drop(fd);
}

static int fy_dial(const char *path) {
	struct sockaddr_un address;
	int fd;
	errno = ENAMETOOLONG;
	if (fy_address_of(path, &address) != 0) return -1;
	fd = fy_stream_socket();
	return fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) == 0 ? fd : fy_drop(fd);
}

static int fy_lock_directory(const char *path) {
	char directory[128];
	char *slash;
	int fd, tries;
	snprintf(directory, sizeof directory, "%s", path);
	slash = strrchr(directory, '/');
	slash[slash == directory] = 0;
	fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) return -1;
	for (tries = 0; tries < 1000; tries++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
		fy_platform_nap(1000000);
	}
	errno = ETIMEDOUT;
	return fy_drop(fd);
}

static void fy_shown_path(const char *path, char out[2 * FY_MOST_PATH]) {
	const char *base = strrchr(path, '/') + 1;
	snprintf(out, 2 * FY_MOST_PATH, "%.*s.%s.map", (int)(base - path), path, base);
}

static void fy_remove_link(const char *path) {
	struct stat info;
	if (lstat(path, &info) == 0 && S_ISLNK(info.st_mode)) unlink(path);
}

static int fy_remove_name(const char *path) {
	char link[2 * FY_MOST_PATH];
	if (unlink(path) != 0 && errno != ENOENT) return -1;
	fy_shown_path(path, link);
	fy_remove_link(link);
	return 0;
}

static void fy_platform_each_name(const char *directory, int (*is_name)(const char *), void (*each)(void *user, const char *name),
	void *user) {
	DIR *entries = opendir(directory);
	struct dirent *entry;
	char path[512];
	if (entries == NULL) return;
	while ((entry = readdir(entries)) != NULL) {
		struct stat info;
		int fd, lock, err;
		if (!is_name(entry->d_name) || snprintf(path, sizeof path, "%s/%s", directory, entry->d_name) >= (int)sizeof path) continue;
		if (lstat(path, &info) != 0 || !S_ISSOCK(info.st_mode)) continue;
		fd = fy_dial(path);
		err = errno;
		if (fd >= 0 || err == EAGAIN) each(user, entry->d_name);
		fy_platform_close(fd);
		if (fd >= 0 || err != ECONNREFUSED || (lock = fy_lock_directory(path)) < 0) continue;
		fd = fy_dial(path);
		if (fd < 0 && errno == ECONNREFUSED) (void)fy_remove_name(path);
		fy_platform_close(fd);
		close(lock);
	}
	closedir(entries);
}

static int fy_platform_peer(fy_os stream, uint32_t *pid, ferry_why *why) {
	uid_t user;
	*pid = 0;
	if (fy_credentials((int)stream, &user, pid) != 0) return fy_fail_os(why, FERRY_ESYSTEM, "the peer's user is not known");
	if (user == geteuid() || user == 0) return 0;
	return fy_fail(why, FERRY_EADDRESS, "the peer (pid %u) belongs to user %lu, not to you (%lu); Ferry joins processes of one user",
		*pid, (unsigned long)user, (unsigned long)geteuid());
}

static int fy_clear_path(const char *path, ferry_why *why) {
	struct stat info;
	uint32_t pid = 0;
	ferry_why ignored;
	int holder;
	if (lstat(path, &info) != 0) return 0;
	if (!S_ISSOCK(info.st_mode)) return fy_fail(why, FERRY_EADDRESS, "'%s' exists and is not a socket; choose another address", path);
	holder = fy_dial(path);
	if (holder >= 0) {
		fy_platform_peer(holder, &pid, &ignored);
		close(holder);
	}
	if (holder >= 0 || errno == EAGAIN)
		return fy_fail(why, FERRY_EINUSE, "'%s' is already served by the process %u; choose another name, or end that one", path, pid);
	if (errno != ECONNREFUSED) return fy_fail_os(why, FERRY_EADDRESS, "'%s' cannot be taken", path);
	if (fy_remove_name(path) == 0) return 0;
	return fy_fail(why, FERRY_EADDRESS, "'%s' is a dead socket of user %lu and cannot be removed: %s; choose another address", path,
		(unsigned long)info.st_uid, strerror(errno));
}

static int fy_platform_listen(const char *path, fy_listener *out, ferry_why *why) {
	struct sockaddr_un address;
	struct stat info;
	int lock, fd = -1, err;
	out->os = FY_NO_OS;
	if (fy_address_of(path, &address) != 0)
		return fy_fail(why, FERRY_EADDRESS,
			"the path '%s' is longer than a socket's may be (%d bytes); choose a shorter one, or a name", path,
			FY_MOST_PATH - 1);
	strcpy(out->path, path);
	lock = fy_lock_directory(path);
	if (lock < 0 && errno == ETIMEDOUT)
		return fy_fail(why, FERRY_EADDRESS,
			"another process has kept the directory of '%s' locked for a second; end it, or serve in a directory that is "
			"yours alone, as names do",
			path);
	if (lock < 0) return fy_fail_os(why, FERRY_EADDRESS, "could not lock the directory of '%s'", path);
	err = fy_clear_path(path, why);
	if (err == 0) fd = fy_stream_socket();
	if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && chmod(path, 0600) == 0 && listen(fd, 64) == 0 &&
		lstat(path, &info) == 0) {
		out->identity[0] = (uint64_t)info.st_dev, out->identity[1] = (uint64_t)info.st_ino;
		out->os = fd;
	} else if (err == 0) {
		err = errno == EACCES || errno == ENOENT ? FERRY_EADDRESS : FERRY_ESYSTEM;
		fy_fail_os(why, err, "could not listen on '%s'", path);
		fy_platform_close(fd);
	}
	close(lock);
	return err;
}

static void fy_platform_unlisten(fy_listener *listener, int owner) {
	struct stat info;
	int lock;
	if (listener->os == FY_NO_OS) return;
	if (owner && (lock = fy_lock_directory(listener->path)) >= 0) {
		if (lstat(listener->path, &info) == 0 && (uint64_t)info.st_dev == listener->identity[0] &&
			(uint64_t)info.st_ino == listener->identity[1])
			(void)fy_remove_name(listener->path);
		close(lock);
	}
	close((int)listener->os);
	listener->os = FY_NO_OS;
}

static int fy_platform_accept(fy_listener *listener, fy_os *out, ferry_why *why) {
#ifdef __APPLE__
	int fd = accept((int)listener->os, NULL, NULL);
#else
	int fd = accept4((int)listener->os, NULL, NULL, SOCK_CLOEXEC);
#endif
	*out = FY_NO_OS;
	if (fd < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)) return 0;
	if (fd < 0) return fy_fail_os(why, FERRY_ESYSTEM, "accept on '%s' failed", listener->path);
	if (fy_tame(fd) != 0) return close(fd), 0;
	*out = fd;
	return 1;
}

static int fy_platform_connect(const char *path, fy_os *out, ferry_why *why) {
	int fd = fy_dial(path), err = errno;
	*out = fd;
	if (fd >= 0) return 1;
	if (err == ENOENT || err == ECONNREFUSED || err == EAGAIN || err == ENOTDIR || err == EINTR) return 0;
	err = err == EACCES || err == EPERM || err == ENAMETOOLONG || err == EPROTOTYPE || err == ELOOP ? FERRY_EADDRESS : FERRY_ESYSTEM;
	return fy_fail_os(why, err, "'%s' cannot be connected to", path);
}

static int fy_platform_inherit(int64_t number, fy_os *out, ferry_why *why) {
	int type = 0, fd = (int)number;
	socklen_t size = sizeof type, name_size = sizeof(struct sockaddr_un);
	struct sockaddr_un name;
	*out = FY_NO_OS;
	if (number < 0 || number > INT32_MAX || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_STREAM ||
		getsockname(fd, (struct sockaddr *)&name, &name_size) != 0 || name.sun_family != AF_UNIX || fy_tame(fd) != 0)
		return fy_fail(why, FERRY_EADDRESS,
			"descriptor %lld is not an inherited Unix stream socket; was it closed before Ferry was opened?",
			(long long)number);
	*out = fd;
	return 1;
}

static struct msghdr fy_message(struct iovec *part, const void *data, uint32_t bytes) {
	struct msghdr message;
	memset(&message, 0, sizeof message);
	part->iov_base = (void *)(uintptr_t)data, part->iov_len = bytes;
	message.msg_iov = part, message.msg_iovlen = 1;
	return message;
}

static int fy_platform_send(fy_os stream, const void *data, uint32_t bytes, fy_os pass) {
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec part;
	struct msghdr message = fy_message(&part, data, bytes);
	ssize_t sent;
	memset(&control, 0, sizeof control);
	if (pass != FY_NO_OS) {
		int fd = (int)pass;
		struct cmsghdr *head;
		message.msg_control = control.bytes, message.msg_controllen = sizeof control.bytes;
		head = CMSG_FIRSTHDR(&message);
		head->cmsg_level = SOL_SOCKET, head->cmsg_type = SCM_RIGHTS, head->cmsg_len = CMSG_LEN(sizeof fd);
		memcpy(CMSG_DATA(head), &fd, sizeof fd);
	}
	do sent = sendmsg((int)stream, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	return sent == (ssize_t)bytes ? 0 : FERRY_ECLOSED;
}

static int fy_platform_receive(fy_os stream, void *data, uint32_t bytes, fy_os *passed) {
	enum { MOST = 8 };
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(MOST * sizeof(int))];
	} control;
	struct iovec part;
	struct msghdr message = fy_message(&part, data, bytes);
	struct cmsghdr *head;
	ssize_t got;
	size_t came = 0;
	message.msg_control = control.bytes, message.msg_controllen = sizeof control.bytes;
	do got = recvmsg((int)stream, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return 0;
	if (got == 0 || (got < 0 && (errno == ECONNRESET || errno == EPIPE))) return FERRY_ECLOSED;
	if (got < 0) return FERRY_ESYSTEM;
	for (head = CMSG_FIRSTHDR(&message); head != NULL; head = CMSG_NXTHDR(&message, head)) {
		size_t i, count = ((size_t)head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) continue;
		for (i = 0; i < count; i++, came++) {
			int fd;
			memcpy(&fd, CMSG_DATA(head) + i * sizeof fd, sizeof fd);
			if (MSG_CMSG_CLOEXEC == 0) (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
			if (*passed == FY_NO_OS) *passed = fd;
			else close(fd);
		}
	}
	return came == 0 && (message.msg_flags & MSG_CTRUNC) != 0 ? FERRY_ESYSTEM : (int)got;
}

static uint32_t fy_platform_poll(const fy_os *handles, uint32_t count, int64_t timeout_ns) {
	struct pollfd polled[8];
	uint32_t i, mask = 0;
	for (i = 0; i < count; i++) {
		polled[i].fd = (int)handles[i];
		polled[i].events = POLLIN;
		polled[i].revents = 0;
	}
	if (fy_poll(polled, count, timeout_ns) <= 0) return 0;
	for (i = 0; i < count; i++)
		if (polled[i].revents != 0) mask |= 1u << i;
	return mask;
}

void fy_platform_close(fy_os handle) {
	if (handle != FY_NO_OS) close((int)handle);
}
#ifdef __APPLE__

/* ---- platform_macos.c ---- */

#ifdef __APPLE__

#include <libproc.h>
#include <limits.h>
#include <mach/mach.h>
#include <mach/vm_page_size.h>
#include <sys/event.h>

static int64_t fy_platform_now_ns(void) { return (int64_t)clock_gettime_nsec_np(CLOCK_UPTIME_RAW); }

static uint32_t fy_platform_processor(void) { return 0; }

static void fy_platform_move(uint32_t processor) { (void)processor; }

#ifdef __cplusplus
extern "C" {
#endif
#if __MAC_OS_X_VERSION_MIN_REQUIRED >= 140400
int os_sync_wait_on_address_with_timeout(void *word, uint64_t value, size_t bytes, uint32_t flags, uint32_t clock, uint64_t timeout_ns);
int os_sync_wake_by_address_all(void *word, size_t bytes, uint32_t flags);
#else
int __ulock_wait(uint32_t operation, void *word, uint64_t value, uint32_t timeout_us);
int __ulock_wake(uint32_t operation, void *word, uint64_t value);
#endif
#ifdef __cplusplus
}
#endif

enum { FY_SHARED = 1, FY_MACH_CLOCK = 32 };
enum { FY_COMPARE_AND_WAIT_SHARED = 3, FY_WAKE_ALL = 0x100 };

static void fy_platform_sleep(fy_os memory, const uint32_t *word, uint32_t value, int64_t timeout_ns) {
	void *at = (void *)(uintptr_t)word;
	(void)memory;
	if (timeout_ns <= 0) return;
#if __MAC_OS_X_VERSION_MIN_REQUIRED >= 140400
	(void)os_sync_wait_on_address_with_timeout(at, value, sizeof *word, FY_SHARED, FY_MACH_CLOCK, (uint64_t)timeout_ns);
#else
	if (timeout_ns > INT32_MAX) timeout_ns = INT32_MAX;
	(void)__ulock_wait(FY_COMPARE_AND_WAIT_SHARED, at, value, (uint32_t)(timeout_ns / 1000 + 1));
#endif
}

static void fy_platform_wake(fy_os memory, const uint32_t *word) {
	void *at = (void *)(uintptr_t)word;
	(void)memory;
#if __MAC_OS_X_VERSION_MIN_REQUIRED >= 140400
	(void)os_sync_wake_by_address_all(at, sizeof *word, FY_SHARED);
#else
	(void)__ulock_wake(FY_COMPARE_AND_WAIT_SHARED | FY_WAKE_ALL, at, 0);
#endif
}

static uint64_t fy_platform_memory_available(void) {
	vm_statistics64_data_t seen;
	mach_msg_type_number_t count = HOST_VM_INFO64_COUNT;
	mach_port_t host = mach_host_self();
	kern_return_t got = host_statistics64(host, HOST_VM_INFO64, (host_info64_t)&seen, &count);
	mach_port_deallocate(mach_task_self(), host);
	if (got != KERN_SUCCESS) return UINT64_MAX;
	return ((uint64_t)seen.free_count + seen.inactive_count) * vm_kernel_page_size;
}

static fy_os fy_memory_make(uint64_t bytes) {
	char name[32];
	int fd = -1, tries;
	for (tries = 0; fd < 0 && tries < 8; tries++) {
		snprintf(name, sizeof name, "/ferry-%08x%08x", (unsigned)arc4random(), (unsigned)arc4random());
		fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
		if (fd < 0 && errno != EEXIST) break;
	}
	if (fd < 0) return FY_NO_OS;
	shm_unlink(name);
	return fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 && ftruncate(fd, (off_t)bytes) == 0 ? fd : fy_drop(fd);
}

static int fy_platform_memory_check(fy_os memory, uint64_t bytes, int frozen, ferry_why *why) {
	struct pshm_fdinfo object;
	struct stat info;
	(void)frozen;
	if (proc_pidfdinfo(getpid(), (int)memory, PROC_PIDFDPSHMINFO, &object, sizeof object) != (int)sizeof object ||
		fstat((int)memory, &info) != 0)
		return fy_fail(why, FERRY_EPROTOCOL, "the peer's descriptor is not shared memory");
	return fy_check_bytes((uint64_t)info.st_size, bytes, vm_page_size, why);
}

static int fy_platform_canary_create(uint32_t **out, ferry_why *why) {
	*out = (uint32_t *)malloc(sizeof **out);
	if (*out == NULL) return fy_no_memory(why);
	**out = fy_platform_pid();
	return 0;
}

int fy_platform_canary_is_mine(const uint32_t *canary) { return *canary == fy_platform_pid(); }

static void fy_platform_canary_destroy(uint32_t *canary) { free(canary); }

static int fy_poll(struct pollfd *polled, uint32_t count, int64_t timeout_ns) {
	const int64_t most = INT_MAX;
	int64_t ms = timeout_ns > 0 ? timeout_ns / 1000000 + (timeout_ns % 1000000 != 0) : 0;
	return poll(polled, count, (int)(ms < most ? ms : most));
}

static int fy_credentials(int stream, uid_t *user, uint32_t *pid) {
	pid_t peer;
	socklen_t size = sizeof peer;
	gid_t group;
	if (getsockopt(stream, SOL_LOCAL, LOCAL_PEERPID, &peer, &size) == 0 && peer > 0) *pid = (uint32_t)peer;
	return getpeereid(stream, user, &group);
}

static fy_os fy_platform_watch(fy_os stream, uint32_t pid) {
	struct kevent event;
	int queue = pid != 0 ? kqueue() : -1;
	(void)stream;
	if (queue < 0) return FY_NO_OS;
	EV_SET(&event, pid, EVFILT_PROC, EV_ADD, NOTE_EXIT, 0, NULL);
	if (fcntl(queue, F_SETFD, FD_CLOEXEC) == 0 && kevent(queue, &event, 1, NULL, 0, NULL) == 0) return queue;
	close(queue);
	return FY_NO_OS;
}

#endif
#else

/* ---- platform_linux.c ---- */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64
#endif

#include <linux/futex.h>
#include <linux/memfd.h>
#include <sys/syscall.h>

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

static int64_t fy_platform_now_ns(void) {
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static uint32_t fy_platform_processor(void) { return (uint32_t)(sched_getcpu() + 1); }

static void fy_platform_move(uint32_t processor) {
	cpu_set_t all, one;
	if (processor - 1 >= CPU_SETSIZE || sched_getaffinity(0, sizeof all, &all) < 0 || !CPU_ISSET(processor - 1, &all)) return;
	CPU_ZERO(&one);
	CPU_SET(processor - 1, &one);
	if (sched_setaffinity(0, sizeof one, &one) == 0) (void)sched_setaffinity(0, sizeof all, &all);
}

#ifdef SYS_futex
typedef struct fy_futex_time {
	__kernel_long_t seconds, nanoseconds;
} fy_futex_time;
#define FY_FUTEX SYS_futex
#else
typedef struct fy_futex_time {
	int64_t seconds, nanoseconds;
} fy_futex_time;
#define FY_FUTEX SYS_futex_time64
#endif

static void fy_platform_sleep(fy_os memory, const uint32_t *word, uint32_t value, int64_t timeout_ns) {
	const int64_t seconds = timeout_ns / 1000000000;
	fy_futex_time timeout;
	(void)memory;
	timeout.seconds = seconds < INT32_MAX ? (int32_t)seconds : INT32_MAX;
	timeout.nanoseconds = (int32_t)(timeout_ns % 1000000000);
	syscall(FY_FUTEX, word, FUTEX_WAIT, value, &timeout, NULL, 0);
}

static void fy_platform_wake(fy_os memory, const uint32_t *word) {
	(void)memory;
	syscall(FY_FUTEX, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

static uint64_t fy_number_in(const char *path, const char *key) {
	char text[4096];
	const char *at;
	unsigned long long number;
	size_t got;
	FILE *file = fopen(path, "re");
	if (file == NULL) return UINT64_MAX;
	got = fread(text, 1, sizeof text - 1, file);
	fclose(file);
	text[got] = 0;
	at = strstr(text, key);
	return at != NULL && sscanf(at + strlen(key), "%llu", &number) == 1 ? number : UINT64_MAX;
}

static void fy_heed_group(const char *directory, const char *limit_file, const char *usage_file, uint64_t *least) {
	char path[4096 + 64];
	uint64_t limit, used;
	snprintf(path, sizeof path, "%s/%s", directory, limit_file);
	limit = fy_number_in(path, "");
	snprintf(path, sizeof path, "%s/%s", directory, usage_file);
	used = fy_number_in(path, "");
	if (limit == UINT64_MAX || used == UINT64_MAX) return;
	if (limit < used) limit = used;
	if (limit - used < *least) *least = limit - used;
}

static uint64_t fy_platform_memory_available(void) {
	uint64_t least = fy_number_in("/proc/meminfo", "MemAvailable:");
	char line[4096], directory[4096 + 32];
	FILE *groups;
	least = least > UINT64_MAX / 1024 ? UINT64_MAX : least * 1024;
	fy_heed_group("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", &least);
	groups = fopen("/proc/self/cgroup", "re");
	if (groups == NULL) return least;
	while (fgets(line, sizeof line, groups) != NULL) {
		if (strncmp(line, "0::/", 4) != 0) continue;
		line[strcspn(line, "\n")] = 0;
		snprintf(directory, sizeof directory, "/sys/fs/cgroup%s", line + 3);
		while (strlen(directory) >= strlen("/sys/fs/cgroup")) {
			fy_heed_group(directory, "memory.max", "memory.current", &least);
			*strrchr(directory, '/') = 0;
		}
	}
	fclose(groups);
	return least;
}

static fy_os fy_memory_make(uint64_t bytes) {
	uint64_t at, step = (uint64_t)4 << 20;
	int fd = (int)syscall(SYS_memfd_create, "ferry", MFD_CLOEXEC | MFD_ALLOW_SEALING), err = 0;
	if (fd < 0) return FY_NO_OS;
	for (at = 0; err == 0 && at < bytes; at += step) {
		if (step > bytes - at) step = bytes - at;
		do err = posix_fallocate(fd, (off_t)at, (off_t)step);
		while (err == EINTR);
	}
	if (err != 0) errno = err;
	return err == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0 ? fd : fy_drop(fd);
}

static int fy_memory_fill(fy_os memory, const void *data, uint64_t bytes) {
	const char *at = (const char *)data;
	while (bytes > 0) {
		ssize_t done = write((int)memory, at, (size_t)bytes);
		if (done < 0 && errno == EINTR) continue;
		if (done <= 0) return -1;
		at += done, bytes -= (uint64_t)done;
	}
	return fcntl((int)memory, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SEAL);
}

static void fy_platform_memory_seal(fy_os memory) {
	(void)fcntl((int)memory, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL);
}

static int fy_platform_memory_check(fy_os memory, uint64_t bytes, int frozen, ferry_why *why) {
	struct stat info;
	int want = F_SEAL_SHRINK | F_SEAL_GROW | (frozen ? F_SEAL_WRITE : 0), seals = fcntl((int)memory, F_GET_SEALS);
	if (seals < 0 || fstat((int)memory, &info) != 0) return fy_fail(why, FERRY_EPROTOCOL, "the peer's descriptor is not sealed memory");
	if ((seals & want) != want)
		return fy_fail(why, FERRY_EPROTOCOL, "the peer's memory is not sealed (seals 0x%x, want 0x%x)", seals, want);
	return fy_check_bytes((uint64_t)info.st_size, bytes, 1, why);
}

static int fy_platform_canary_create(uint32_t **out, ferry_why *why) {
	void *page = mmap(NULL, FY_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	*out = NULL;
	if (page == MAP_FAILED) return fy_fail_os(why, FERRY_ENOMEM, "could not map a page");
	if (madvise(page, FY_PAGE, MADV_WIPEONFORK) != 0) {
		munmap(page, FY_PAGE);
		return fy_fail(why, FERRY_ESYSTEM, "this kernel does not know MADV_WIPEONFORK (Linux 4.14 or newer is needed)");
	}
	*out = (uint32_t *)page;
	**out = 1;
	return 0;
}

static void fy_platform_canary_destroy(uint32_t *canary) {
	if (canary != NULL) munmap(canary, FY_PAGE);
}

static int fy_poll(struct pollfd *polled, uint32_t count, int64_t timeout_ns) {
	struct timespec timeout = fy_timespec(timeout_ns);
	return ppoll(polled, count, &timeout, NULL);
}

static void fy_platform_show(const fy_listener *listener, fy_os memory) {
	char link[2 * FY_MOST_PATH], target[64];
	if (listener->os == FY_NO_OS) return;
	fy_shown_path(listener->path, link);
	fy_remove_link(link);
	snprintf(target, sizeof target, "/proc/%ld/fd/%ld", (long)getpid(), (long)memory);
	if (memory != FY_NO_OS && symlink(target, link) != 0) return;
}

static int fy_credentials(int stream, uid_t *user, uint32_t *pid) {
	struct ucred peer;
	socklen_t size = sizeof peer;
	if (getsockopt(stream, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return -1;
	*user = peer.uid, *pid = peer.pid > 0 ? (uint32_t)peer.pid : 0;
	return 0;
}

static fy_os fy_platform_watch(fy_os stream, uint32_t pid) {
	int fd;
	socklen_t size = sizeof fd;
	if (stream != FY_NO_OS && getsockopt((int)stream, SOL_SOCKET, SO_PEERPIDFD, &fd, &size) == 0) return fd;
	return pid != 0 ? (fy_os)syscall(SYS_pidfd_open, (pid_t)pid, 0) : FY_NO_OS;
}
#endif
#endif

/* ---- platform_common.c ---- */

static int fy_platform_memory_create(uint64_t bytes, fy_os *out, ferry_why *why) {
	*out = fy_memory_make(bytes);
	if (*out != FY_NO_OS) return 0;
	return fy_fail_os(why, FERRY_ENOMEM, "could not reserve %llu bytes of shared memory", (unsigned long long)bytes);
}

#if !FY_FREEZES
static int fy_memory_fill(fy_os memory, const void *data, uint64_t bytes) {
	void *view = fy_memory_view(memory, (size_t)bytes, 1);
	if (view == NULL) return -1;
	memcpy(view, data, (size_t)bytes);
	fy_platform_memory_unmap(view, bytes);
	return 0;
}

static void fy_platform_memory_seal(fy_os memory) { (void)memory; }

static void fy_platform_show(const fy_listener *listener, fy_os memory) { (void)listener, (void)memory; }
#endif

static int fy_platform_memory_freeze(const void *data, uint64_t bytes, fy_os *out, ferry_why *why) {
	if (fy_platform_memory_create(bytes, out, why) < 0) return why->code;
	if (fy_memory_fill(*out, data, bytes) == 0) return 0;
	fy_fail_os(why, FERRY_ESYSTEM, "could not write %llu bytes of shared memory", (unsigned long long)bytes);
	fy_platform_close(*out);
	*out = FY_NO_OS;
	return why->code;
}

static int fy_platform_memory_map(fy_os memory, uint64_t bytes, int mapping, void **out, ferry_why *why) {
	*out = NULL;
	if ((uint64_t)(size_t)bytes != bytes) return fy_no_memory(why);
	*out = fy_memory_view(memory, (size_t)bytes, mapping == FY_MAP_WRITABLE);
	if (*out == NULL) return fy_fail_os(why, FERRY_ENOMEM, "could not map %llu bytes of shared memory", (unsigned long long)bytes);
	if (mapping == FY_MAP_FROZEN && !FY_FREEZES) {
		void *view = *out;
		fy_os copy;
		*out = NULL;
		if (fy_platform_memory_freeze(view, bytes, &copy, why) == 0) {
			(void)fy_platform_memory_map(copy, bytes, FY_MAP_LIVE, out, why);
			fy_platform_close(copy);
		}
		fy_platform_memory_unmap(view, bytes);
	}
	return *out != NULL ? 0 : why->code;
}

static int fy_platform_directory(int i, int make, char *out, uint32_t out_bytes, ferry_why *why) {
	int named = fy_platform_variable("FERRY_RUNTIME_DIR", out, out_bytes), found;
	if (named ? i > 0 : !fy_usual_directory(i, out, out_bytes)) return 0;
	if (strlen(out) > FY_MOST_DIRECTORY)
		return fy_fail(why, FERRY_EADDRESS,
			"the directory '%s' has too long a path (%d bytes at most); set FERRY_RUNTIME_DIR to a shorter one", out,
			FY_MOST_DIRECTORY);
	if (!fy_platform_is_path(out))
		return fy_fail(why, FERRY_EADDRESS,
			"the directory '%s' is not absolute, so that others would not find it; set FERRY_RUNTIME_DIR to one that is",
			out);
	if (make && fy_make_directory(out) != 0)
		return fy_fail_os(why, FERRY_EADDRESS, "set FERRY_RUNTIME_DIR to a directory that you own; could not make '%s'", out);
	found = fy_check_directory(out, make, why);
	if (found != 0) return found;
	return fy_fail(why, FERRY_EADDRESS, "'%s' is not a directory; set FERRY_RUNTIME_DIR to one that you own", out);
}

/* ---- region.c ---- */

typedef struct ferry_hold fy_region;

struct ferry_hold {
	char *base;
	uint64_t bytes;
	fy_os memory;
	uint32_t count;
};

#define FY_DEFAULT_MAX_BYTES ((uint64_t)1 << 30)
#define FY_MOST_MAPPED ((uint64_t)PTRDIFF_MAX)

#include <stdlib.h>

static int fy_region_fits(uint64_t bytes, uint64_t max_bytes, ferry_why *why) {
	uint64_t most = max_bytes != 0 ? max_bytes : FY_DEFAULT_MAX_BYTES;
	if (bytes > FY_MOST_MAPPED)
		return fy_fail(why, FERRY_ETOOBIG,
			"the environment needs a region of %.1f MiB, and a %d-bit process can map %.1f MiB at once; make the "
			"observation smaller, or build this side for 64 bits",
			(double)bytes / 1048576, (int)(8 * sizeof(void *)), (double)FY_MOST_MAPPED / 1048576);
	if (bytes > most)
		return fy_fail(
			why, FERRY_ETOOBIG,
			"the environment needs a region of %.1f MiB, and %.1f MiB are allowed; make the observation smaller, or raise max_bytes",
			(double)bytes / 1048576, (double)most / 1048576);
	return 0;
}

static int fy_region_allowed(uint64_t bytes, uint64_t max_bytes, ferry_why *why) {
	uint64_t available;
	if (fy_region_fits(bytes, max_bytes, why) < 0) return why->code;
	available = fy_platform_memory_available();
	if (bytes > available / 4 * 3)
		return fy_fail(
			why, FERRY_ETOOBIG,
			"the environment needs a region of %.1f MiB, and this machine (or its control group) has %.1f MiB left, of which Ferry takes "
			"three quarters at most; make the observation smaller, or free memory",
			(double)bytes / 1048576, (double)available / 1048576);
	return 0;
}

static int fy_region_map(fy_os memory, uint64_t bytes, fy_region **out, ferry_why *why) {
	fy_region *region = (fy_region *)calloc(1, sizeof *region);
	void *base = NULL;
	*out = NULL;
	if (region == NULL) fy_no_memory(why);
	else if (fy_platform_memory_map(memory, bytes, 1, &base, why) == 0) {
		region->base = (char *)base, region->bytes = bytes, region->memory = memory, region->count = 1;
		*out = region;
		return 0;
	}
	free(region);
	fy_platform_close(memory);
	return why->code;
}

static int fy_region_create(uint64_t bytes, uint64_t max_bytes, fy_region **out, ferry_why *why) {
	fy_os memory;
	*out = NULL;
	if (fy_region_allowed(bytes, max_bytes, why) < 0 || fy_platform_memory_create(bytes, &memory, why) < 0) return why->code;
	return fy_region_map(memory, bytes, out, why);
}

static int fy_region_adopt(fy_os memory, uint64_t bytes, uint64_t max_bytes, fy_region **out, ferry_why *why) {
	*out = NULL;
	if (fy_region_fits(bytes, max_bytes, why) == 0) {
		if (bytes < sizeof(fy_header) || bytes % FY_PAGE != 0)
			fy_fail(why, FERRY_EPROTOCOL, "a region cannot have %llu bytes", (unsigned long long)bytes);
		else if (fy_platform_memory_check(memory, bytes, 0, why) == 0) return fy_region_map(memory, bytes, out, why);
	}
	fy_platform_close(memory);
	return why->code;
}

static fy_region *fy_region_keep(fy_region *region) {
	if (region != NULL) fy_count_up(&region->count);
	return region;
}

static void fy_region_release(fy_region *region) {
	if (region == NULL || fy_count_down(&region->count) > 0) return;
	fy_platform_memory_unmap(region->base, region->bytes);
	fy_platform_close(region->memory);
	free(region);
}

/* ---- wait.c ---- */

typedef enum fy_policy {
	FY_ADAPTIVE,
	FY_SPIN,
	FY_BLOCK
} fy_policy;

typedef struct fy_manners {
	int looks;
	uint32_t hasty;
} fy_manners;

struct fy_channel;

typedef struct fy_waiter {
	fy_policy policy;
	fy_line *line;
	fy_os memory;
	const fy_line *peer;
	uint32_t next;
	const uint32_t *turn;
	uint32_t *crowded;
	fy_manners *manners;
	int (*idle)(struct fy_channel *channel, int64_t now_ns, int slept);
	struct fy_channel *channel;
} fy_waiter;

static inline void fy_note_wait(fy_line *line, uint32_t next, int64_t now_ns) {
	if (line->waits_for == next) return;
	line->waits_ns = (uint64_t)now_ns;
	fy_store_release(&line->waits_for, next);
}

static inline uint32_t fy_tell_processor(fy_line *line) {
	uint32_t here = fy_platform_processor();
	if (line->processor != here) fy_store_relaxed(&line->processor, here);
	return here;
}

static inline int64_t fy_deadline(int64_t timeout_ns, int64_t now_ns) {
	return timeout_ns == FERRY_FOREVER || timeout_ns > INT64_MAX - now_ns ? INT64_MAX : now_ns + timeout_ns;
}

static inline int64_t fy_least(int64_t a, int64_t b) { return a < b ? a : b; }

#define FY_YIELD_NS 50000
#define FY_WORKED_NS 20000
#define FY_SWITCHES_NS 1000
#define FY_HANDED_OVER_NS 1000
#define FY_AT_WORK_NS 1000000
#define FY_HASTY_WAITS 127
#define FY_SLICE_NS 20000000

#define FY_SPIN_LOOKS 40

static inline int fy_yield(fy_manners *manners, int64_t *in_vain, int64_t *now) {
	int64_t took = -*now;
	fy_platform_yield();
	*now = fy_platform_now_ns();
	took += *now;
	manners->looks = took > FY_HANDED_OVER_NS ? 0 : FY_SPIN_LOOKS;
	if (took > FY_AT_WORK_NS) manners->hasty = FY_HASTY_WAITS;
	*in_vain += took > FY_WORKED_NS ? FY_SWITCHES_NS : took;
	return manners->hasty == 0 && *in_vain < FY_YIELD_NS;
}

#define FY_INTERRUPTED (-1000)

int64_t ferry_now_ns(void) { return fy_platform_now_ns(); }

static int fy_policy_from_environment(fy_policy *out, ferry_why *why) {
	char text[32];
	*out = FY_ADAPTIVE;
	if (!fy_platform_variable("FERRY_WAIT", text, sizeof text) || strcmp(text, "adaptive") == 0) return 0;
	if (strcmp(text, "spin") == 0) *out = FY_SPIN;
	else if (strcmp(text, "block") == 0) *out = FY_BLOCK;
	else return fy_fail(why, FERRY_EINVAL, "FERRY_WAIT is '%s'; it may be spin, adaptive or block", text);
	return 0;
}

static int fy_changed(const uint32_t *word, uint32_t previous) { return fy_load_acquire(word) != previous; }

static int fy_spin(const uint32_t *word, uint32_t previous) {
	int looks;
	for (looks = 0; looks < FY_SPIN_LOOKS; looks++) {
		if (fy_changed(word, previous)) return 1;
		fy_pause();
	}
	return 0;
}

static uint32_t fy_place(const fy_waiter *waiter) {
	uint32_t here = fy_tell_processor(waiter->line), come = fy_load_relaxed(&waiter->peer->come);
	if (come == 0 || come == here) return here;
	fy_platform_move(come);
	return fy_tell_processor(waiter->line);
}

#define FY_CROWDED_WAITS 32
static int fy_should_sleep(const fy_waiter *waiter) {
	uint32_t here = fy_place(waiter);
	if (here == 0 || fy_load_relaxed(&waiter->peer->processor) != here) return 0;
	return ++*waiter->crowded % FY_CROWDED_WAITS == 0;
}

static int fy_arrived(const fy_waiter *waiter) {
	(void)fy_place(waiter);
	return 1;
}

static int fy_wait(const fy_waiter *waiter, const uint32_t *word, uint32_t previous, int64_t timeout_ns) {
	int64_t now = fy_platform_now_ns(), in_vain = 0;
	const int64_t deadline = fy_deadline(timeout_ns, now);
	int err, slept = 0, yields = timeout_ns != 0 && waiter->policy == FY_ADAPTIVE && !fy_should_sleep(waiter);
	fy_note_wait(waiter->line, waiter->next, now);
	if (waiter->manners->hasty > 0) waiter->manners->hasty--;
	else if (yields) {
		int again;
		do {
			again = fy_yield(waiter->manners, &in_vain, &now);
			if (fy_changed(word, previous)) return fy_arrived(waiter);
		} while (again && now < deadline);
	}
	for (;;) {
		if (waiter->turn != NULL && fy_load_acquire(waiter->turn) == waiter->next) err = FY_INTERRUPTED;
		else err = waiter->idle(waiter->channel, now, slept);
		if (fy_changed(word, previous)) return 1;
		if (err < 0) return err;
		if (now >= deadline) return 0;
		if (waiter->policy == FY_SPIN) {
			int64_t slice_end = fy_least(now + FY_SLICE_NS, deadline);
			do
				if (fy_spin(word, previous)) return 1;
			while (fy_platform_now_ns() < slice_end);
		} else {
			fy_store_relaxed(&waiter->line->parked, 1);
			fy_fence_dekker();
			if (fy_load_relaxed(word) == previous && (slept || fy_load_relaxed(&waiter->peer->left) == 0)) {
				waiter->line->sleeps++;
				fy_platform_sleep(waiter->memory, word, previous, fy_least(FY_SLICE_NS, deadline - now));
			}
			fy_store_relaxed(&waiter->line->parked, 0);
			if (fy_changed(word, previous)) return fy_arrived(waiter);
		}
		now = fy_platform_now_ns();
		slept = 1;
	}
}

/* ---- address.c ---- */

typedef enum fy_place { FY_NAME, FY_PATH, FY_INHERITED } fy_place;

typedef struct fy_address {
	int serve;
	fy_place place;
	int32_t index;
	int64_t number;
	char text[128];
} fy_address;

#define FY_MAX_NAME 40
#define FY_PATH_BYTES 128

static int fy_in_name(char c, int first) {
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (!first && (c == '.' || c == '_' || c == '-'));
}

static int fy_is_name(const char *text) {
	size_t i;
	for (i = 0; text[i] != 0; i++)
		if (!fy_in_name(text[i], i == 0)) return 0;
	return i > 0 && i <= FY_MAX_NAME;
}

static int64_t fy_digits(const char *text) {
	int64_t number = 0;
	if (*text == 0) return -1;
	for (; *text != 0; text++) {
		if (*text < '0' || *text > '9') return -1;
		number = number * 10 + (*text - '0');
		if (number > INT32_MAX) return -1;
	}
	return number;
}

static int fy_address_parse(const char *text, int serve, fy_address *out, ferry_why *why) {
	const char *where = text;
	char *mark;
	int explicit_connect = 0;
	memset(out, 0, sizeof *out);
	out->serve = serve, out->index = -1;
	if (text == NULL || *text == 0)
		return fy_fail(why, FERRY_EINVAL, "no address is given, and FERRY_ADDRESS is not set; pass a name such as \"pole\"");
	if (strncmp(text, "serve:", 6) == 0) where += 6, out->serve = 1;
	else if (strncmp(text, "connect:", 8) == 0) where += 8, out->serve = 0, explicit_connect = 1;
	if (strncmp(where, "tcp:", 4) == 0 || strncmp(where, "tls:", 4) == 0)
		return fy_fail(why, FERRY_EUNSUPPORTED, "the address '%s' is on another machine; this build joins processes of one machine",
			text);
	if (strncmp(where, "fd:", 3) == 0) {
		out->place = FY_INHERITED;
		out->serve = 0;
		out->number = fy_digits(where + 3);
		if (out->number >= 0 && where == text) {
			snprintf(out->text, sizeof out->text, "%s", where);
			return 0;
		}
		return fy_fail(why, FERRY_EINVAL, "'%s' is not a valid address: an inherited descriptor is written fd:N, without a role", text);
	}
	if (strlen(where) >= sizeof out->text)
		return fy_fail(why, FERRY_EINVAL, "the address '%.60s...' is too long; a name has %d characters at most, a path 107 bytes",
			text, FY_MAX_NAME);
	strcpy(out->text, where);
	mark = explicit_connect ? strrchr(out->text, '#') : NULL;
	if (mark != NULL) {
		int64_t index = fy_digits(mark + 1);
		if (index < 0) return fy_fail(why, FERRY_EINVAL, "'%s' is not a valid address: a number belongs after '#'", text);
		out->index = (int32_t)index;
		*mark = 0;
	}
	out->place = fy_platform_is_path(out->text) ? FY_PATH : FY_NAME;
	if (out->place == FY_NAME && !fy_is_name(out->text))
		return fy_fail(
			why, FERRY_EINVAL,
			"'%s' is not a valid address: a name has 1 to %d of the characters A-Z a-z 0-9 . _ - and begins with a letter or digit; "
			"a path is absolute; roles are written serve:NAME and connect:NAME",
			text, FY_MAX_NAME);
	return 0;
}

static int fy_address_listen(const fy_address *address, fy_listener *out, ferry_why *why) {
	char directory[FY_PATH_BYTES], path[2 * FY_PATH_BYTES];
	int i, found, err = 0;
	out->os = FY_NO_OS;
	if (address->place == FY_PATH) return fy_platform_listen(address->text, out, why);
	for (i = 0; (found = fy_platform_directory(i, 1, directory, sizeof directory, why)) != 0; i++) {
		if (found < 0) {
			err = found;
			continue;
		}
		snprintf(path, sizeof path, "%s/%s", directory, address->text);
		return fy_platform_listen(path, out, why);
	}
	return err;
}

static int fy_address_connect(const fy_address *address, fy_os *out, ferry_why *why) {
	char directory[FY_PATH_BYTES], path[2 * FY_PATH_BYTES];
	ferry_why unfit;
	int i, found, done, usable = 0;
	unfit.code = 0;
	*out = FY_NO_OS;
	if (address->place == FY_INHERITED) return fy_platform_inherit(address->number, out, why);
	if (address->place == FY_PATH) return fy_platform_connect(address->text, out, why);
	for (i = 0; (found = fy_platform_directory(i, 0, directory, sizeof directory, &unfit)) != 0; i++) {
		if (found < 0) continue;
		usable = 1;
		snprintf(path, sizeof path, "%s/%s", directory, address->text);
		done = fy_platform_connect(path, out, why);
		if (done != 0) return done;
	}
	if (usable || unfit.code == 0) return 0;
	*why = unfit;
	return unfit.code;
}

typedef struct fy_survey {
	const char *wanted;
	ferry_why *why;
	int count, nearest_distance;
	char nearest[FY_MAX_NAME + 1];
} fy_survey;

static int fy_distance(const char *a, const char *b) {
	int row[FY_MAX_NAME + 1], i, j, n = (int)strlen(b);
	for (j = 0; j <= n; j++) row[j] = j;
	for (i = 0; a[i] != 0; i++) {
		int diagonal = row[0];
		row[0] = i + 1;
		for (j = 0; j < n; j++) {
			int substitute = diagonal + (a[i] != b[j]), insert = row[j] + 1, remove = row[j + 1] + 1;
			int best = substitute < insert ? substitute : insert;
			diagonal = row[j + 1];
			row[j + 1] = best < remove ? best : remove;
		}
	}
	return row[n];
}

static void fy_survey_one(void *user, const char *name) {
	fy_survey *survey = (fy_survey *)user;
	int distance;
	distance = fy_distance(survey->wanted, name);
	if (distance < survey->nearest_distance) {
		survey->nearest_distance = distance;
		strcpy(survey->nearest, name);
	}
	if (survey->count < 8) fy_also(survey->why, "%s'%s'", survey->count == 0 ? "; live: " : ", ", name);
	else if (survey->count == 8) fy_also(survey->why, ", ...");
	survey->count++;
}

static void fy_address_advise(const fy_address *address, ferry_why *why) {
	char directory[FY_PATH_BYTES];
	fy_survey survey;
	ferry_why ignored;
	int i, found, searched = 0;
	if (address->place != FY_NAME) return;
	memset(&survey, 0, sizeof survey);
	survey.wanted = address->text, survey.why = why, survey.nearest_distance = 2 + (int)strlen(address->text) / 3;
	for (i = 0; (found = fy_platform_directory(i, 0, directory, sizeof directory, &ignored)) != 0; i++)
		if (found > 0) fy_also(why, "%s%s", searched++ == 0 ? "; searched: " : ", ", directory);
	for (i = 0; (found = fy_platform_directory(i, 0, directory, sizeof directory, &ignored)) != 0; i++)
		if (found > 0) fy_platform_each_name(directory, fy_is_name, fy_survey_one, &survey);
	if (survey.count == 0) fy_also(why, "; nobody serves there");
	if (survey.nearest[0] != 0 && strcmp(survey.nearest, address->text) != 0) fy_also(why, "; did you mean '%s'?", survey.nearest);
}

/* ---- bell.c ---- */

struct ferry_bell {
	fy_region *region;
	fy_manners manners;
};

static inline fy_bell_page *fy_bell_page_of(const fy_region *region) { return (fy_bell_page *)(void *)region->base; }

static inline void fy_bell_ring(const fy_region *bell) {
	fy_bell_page *page = fy_bell_page_of(bell);
	uint32_t count = fy_add(&page->count, 1);
	fy_fence_dekker();
	if (fy_load_acquire(&page->parked) != 0 && (int32_t)(count - fy_load_relaxed(&page->target)) >= 0)
		fy_platform_wake(bell->memory, &page->count);
}

static inline void fy_bell_sleep(const fy_region *bell, uint32_t seen, uint32_t more, int64_t slice_ns) {
	fy_bell_page *page = fy_bell_page_of(bell);
	fy_store_relaxed(&page->target, seen + more);
	fy_store_release(&page->parked, 1);
	fy_fence_dekker();
	if (fy_load_relaxed(&page->count) == seen) fy_platform_sleep(bell->memory, &page->count, seen, slice_ns);
	fy_store_relaxed(&page->parked, 0);
}

int ferry_bell_open(ferry_bell **out, ferry_why *why) {
	ferry_why ignored;
	ferry_bell *bell = (ferry_bell *)calloc(1, sizeof *bell);
	if (why == NULL) why = &ignored;
	fy_fail(why, 0, "%s", "");
	*out = NULL;
	if (bell == NULL) return fy_no_memory(why);
	bell->manners.looks = FY_SPIN_LOOKS;
	if (fy_region_create(FY_PAGE, 0, &bell->region, why) == 0) *out = bell;
	else free(bell);
	return why->code;
}

void ferry_bell_close(ferry_bell *bell) {
	if (bell == NULL) return;
	fy_region_release(bell->region);
	free(bell);
}

/* ---- rules.c ---- */

typedef struct fy_spec {
	fy_header header;
	fy_group group;
	fy_entry *entries;
	char *pool;
	ferry_field *fields;
	uint64_t columns_end[2], fields_end[2];
	uint64_t parts_begin;
	uint32_t num_checked;
	uint32_t num_infos;
	int realtime;
	ferry_env_desc desc;
} fy_spec;

#define FY_MAX_FIELD_BYTES ((uint64_t)1 << 40)

static inline uint64_t fy_round_up(uint64_t value, uint64_t to) { return (value + to - 1) / to * to; }
static inline int fy_lies_in(uint64_t offset, uint64_t bytes, uint64_t from, uint64_t end, uint64_t align) {
	return offset % align == 0 && offset >= from && offset <= end && bytes <= end - offset;
}

typedef struct fy_column {
	size_t member;
	uint32_t bytes;
	fy_side writer;
} fy_column;
#define FY_COLUMNS 8
static const fy_column fy_columns_of_group[FY_COLUMNS] = {
	{offsetof(fy_group, seed_offset), 8, FY_AGENT},     {offsetof(fy_group, rows_offset), 4, FY_AGENT},
	{offsetof(fy_group, reward_offset), 8, FY_ENV},     {offsetof(fy_group, episode_offset), 8, FY_ENV},
	{offsetof(fy_group, terminated_offset), 1, FY_ENV}, {offsetof(fy_group, truncated_offset), 1, FY_ENV},
	{offsetof(fy_group, status_offset), 1, FY_ENV},     {offsetof(fy_group, active_offset), 1, FY_ENV}};
static inline uint64_t *fy_column_offset(fy_group *group, const fy_column *column) {
	return (uint64_t *)(void *)((char *)group + column->member);
}

static inline uint32_t fy_writer(const fy_entry *entry) { return (entry->role == FERRY_ACTION ? FY_AGENT : FY_ENV) - 1; }
static inline int fy_has_final(const fy_group *group, const fy_entry *entry) {
	return entry->role != FERRY_ACTION && (group->flags & FY_AUTORESET_MASK) == FERRY_AUTORESET_SAME_STEP;
}

#define FY_LANE_SLOTS 3
#define FY_LANE_SLOT UINT32_C(3)
#define FY_LANE_FRESH UINT32_C(4)
#define FY_LANE_KNOCK UINT32_C(8)

typedef struct fy_lane {
	uint32_t *word;
	uint32_t mine;
	fy_slot *slot[FY_LANE_SLOTS];
} fy_lane;

#define FY_LANE_START UINT32_C(1)

static inline uint64_t fy_lane_pitch(uint64_t blob_at, uint64_t blob_bytes) {
	return (blob_at + blob_bytes + FY_PAGE - 1) / FY_PAGE * FY_PAGE;
}

static inline void fy_lane_open(fy_lane *lane, char *word, char *slots, uint64_t pitch, uint32_t mine) {
	uint32_t i;
	lane->word = (uint32_t *)(void *)word, lane->mine = mine;
	for (i = 0; i < FY_LANE_SLOTS; i++) lane->slot[i] = (fy_slot *)(void *)(slots + pitch * i);
}

static inline void fy_lanes_open(const fy_header *header, char *base, fy_side side, fy_lane *frames, fy_lane *actions) {
	const uint32_t writes = 0, reads = FY_LANE_SLOTS - 1;
	char *words = base + header->env_offset;
	fy_lane_open(frames, words + FY_FRAMES_WORD, base + header->frame_slots,
		fy_lane_pitch(header->env_blob, header->blob_bytes), side == FY_ENV ? writes : reads);
	fy_lane_open(actions, words + FY_ACTIONS_WORD, base + header->action_slots,
		fy_lane_pitch(header->agent_blob, header->blob_bytes), side == FY_ENV ? reads : writes);
}

static inline fy_slot *fy_lane_mine(const fy_lane *lane) { return lane->slot[lane->mine]; }

static inline int fy_lane_swap(fy_lane *lane, uint32_t flag) {
	uint32_t got = fy_exchange(lane->word, lane->mine | flag) & FY_LANE_SLOT;
	if (got >= FY_LANE_SLOTS || got == lane->mine) return FERRY_ECORRUPT;
	lane->mine = got;
	return 1;
}

static inline int fy_lane_push(fy_lane *lane) { return fy_lane_swap(lane, FY_LANE_FRESH); }

static inline void fy_lane_knock(const fy_lane *lane) { (void)fy_add(lane->word, FY_LANE_KNOCK); }

static inline int fy_lane_pull(fy_lane *lane) {
	uint32_t word = fy_load_acquire(lane->word), line;
	if ((word & FY_LANE_FRESH) == 0) return 0;
	if ((word & FY_LANE_SLOT) < FY_LANE_SLOTS)
		for (line = 0; line < 3; line++) __builtin_prefetch((const char *)lane->slot[word & FY_LANE_SLOT] + 64 * line);
	return fy_lane_swap(lane, 0);
}

static const char *fy_role_name(int role) { return role == FERRY_OBSERVATION ? "observation" : role == FERRY_ACTION ? "action" : "info"; }

static uint64_t fy_stride(const fy_entry *entry, uint64_t element_bytes) {
	if (entry->kind == FERRY_DICT || entry->kind == FERRY_TUPLE || entry->kind == FERRY_OTHER) return 0;
	return entry->capacity == 0 ? element_bytes : fy_round_up(sizeof(ferry_list) + element_bytes * entry->capacity, 8);
}

static int fy_wrong_field(const fy_entry *entry, const char *path, ferry_why *why, const char *format, ...) {
	char wrong[sizeof why->text];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(wrong, sizeof wrong, format, arguments);
	va_end(arguments);
	return fy_fail(why, FERRY_ESPEC, "%s '%s'%s", fy_role_name(entry->role), path, wrong);
}

static int fy_measure_field(const fy_entry *entry, uint64_t rows, const char *path, uint64_t *bytes, ferry_why *why) {
	const uint64_t most = FY_MAX_FIELD_BYTES / rows;
	uint32_t i;
	int fits = 1;
	*bytes = ferry_dtype_bytes(entry->dtype);
	if (entry->role > FERRY_INFO) return fy_fail(why, FERRY_ESPEC, "field '%s' has the unknown role %d", path, entry->role);
	if (entry->kind > FERRY_OTHER) return fy_wrong_field(entry, path, why, " has the unknown kind %d", entry->kind);
	if (*bytes == 0) return fy_wrong_field(entry, path, why, " has the unknown dtype %d", entry->dtype);
	if (entry->ndim > FERRY_MAX_NDIM)
		return fy_wrong_field(entry, path, why, " has %d dimensions; %d are possible", entry->ndim, FERRY_MAX_NDIM);
	for (i = 0; i < entry->ndim; i++) {
		fits &= *bytes == 0 || entry->shape[i] <= most / *bytes;
		*bytes *= entry->shape[i];
	}
	if (fits && (entry->capacity == 0 || *bytes <= most / entry->capacity)) return 0;
	return fy_fail(why, FERRY_ETOOBIG, "%s '%s' of %u rows is larger than %llu bytes", fy_role_name(entry->role), path,
		(uint32_t)rows, (unsigned long long)FY_MAX_FIELD_BYTES);
}

static int fy_is_utf8(const char *text, uint64_t bytes) {
	const uint8_t *at = (const uint8_t *)text, *end = at + bytes;
	while (at < end) {
		uint32_t c = *at++, least, more;
		if (c == 0) return 0;
		if (c < 0x80) continue;
		if (c >= 0xC2 && c < 0xE0) more = 1, least = 0x80, c &= 0x1F;
		else if (c >= 0xE0 && c < 0xF0) more = 2, least = 0x800, c &= 0x0F;
		else if (c >= 0xF0 && c < 0xF5) more = 3, least = 0x10000, c &= 0x07;
		else return 0;
		for (; more > 0; more--) {
			if (at == end || (*at & 0xC0) != 0x80) return 0;
			c = c << 6 | (*at++ & 0x3F);
		}
		if (c < least || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) return 0;
	}
	return 1;
}

static int fy_bounds_in_order(const fy_entry *entry, const char *low, const char *high, uint64_t bytes) {
	uint64_t size = ferry_dtype_bytes(entry->dtype), at;
	for (at = 0; at + size <= bytes; at += size)
		if (fy_element_order(entry->dtype, low + at) > fy_element_order(entry->dtype, high + at)) return 0;
	return 1;
}

static int fy_is_path(const char *path) {
	const char *at = path;
	while (*at != 0) {
		size_t length;
		if (*at == '#') {
			length = strspn(++at, "0123456789");
			if (length == 0 || length > 9 || (*at == '0' && length > 1)) return 0;
		} else {
			if (at > path && *at++ != '/') return 0;
			length = strcspn(at, "/#");
			if (length == 0) return 0;
		}
		at += length;
	}
	return 1;
}

static int fy_is_inside(const char *leaf, uint64_t leaf_bytes, const char *path, uint64_t path_bytes) {
	return path_bytes > leaf_bytes && memcmp(leaf, path, (size_t)leaf_bytes) == 0 &&
		(leaf_bytes == 0 || path[leaf_bytes] == '/' || path[leaf_bytes] == '#');
}

static int fy_is_text(const fy_spec *spec, uint64_t offset, uint64_t bytes) {
	return fy_lies_in(offset, bytes + 1, 0, spec->header.pool_bytes, 1) && spec->pool[offset + bytes] == 0 &&
		fy_is_utf8(spec->pool + offset, bytes);
}

static int fy_is_integer(const fy_entry *entry) { return entry->kind >= FERRY_DISCRETE && entry->kind <= FERRY_MULTI_BINARY; }

static int fy_in_slot(uint64_t offset, uint64_t bytes, uint64_t end, uint64_t align) {
	return fy_lies_in(offset, bytes, sizeof(fy_slot), end, align);
}

static int fy_final_is_inside(const fy_spec *spec, const fy_entry *entry, uint64_t env_end) {
	uint64_t rows = spec->group.num_rows;
	int wanted = fy_has_final(&spec->group, entry);
	if (wanted ? !fy_in_slot(entry->final_offset, entry->stride * rows, env_end, 8) : entry->final_offset != 0) return 0;
	if (wanted && entry->role == FERRY_INFO) return fy_in_slot(entry->final_present_offset, rows, env_end, 1);
	return entry->final_present_offset == 0;
}

static int fy_check_entry(const fy_spec *spec, const fy_entry *entry, const uint64_t slot_ends[2], ferry_why *why) {
	const char *path;
	const int is_integer = fy_is_integer(entry);
	uint64_t rows = spec->group.num_rows, pool = spec->header.pool_bytes, env_end = slot_ends[FY_ENV - 1], bytes, bound;
	if (entry->path_bytes > FY_MAX_PATH || !fy_is_text(spec, entry->path_offset, entry->path_bytes))
		return fy_fail(why, FERRY_ESPEC, "a field's path is not valid UTF-8 text of at most %d bytes", FY_MAX_PATH);
	path = spec->pool + entry->path_offset;
	if (entry->role != FERRY_INFO && !fy_is_path(path))
		return fy_fail(why, FERRY_ESPEC, "'%s' is no path: keys are joined by '/', places in a Tuple written '#0' ('pair#0', '#1/x')",
			path);
	if (entry->role == FERRY_INFO && entry->path_bytes == 0)
		return fy_fail(why, FERRY_ESPEC, "an info needs a path: its key in the info dict");
	if (fy_measure_field(entry, rows, path, &bytes, why) < 0) return why->code;
	if ((entry->kind == FERRY_DISCRETE && entry->ndim != 0) || (is_integer && (entry->dtype < FERRY_I8 || entry->dtype > FERRY_U64)) ||
		(is_integer && entry->kind != FERRY_MULTI_BINARY && entry->bounds == FY_BOUNDS_NONE) || entry->bounds > FY_BOUNDS_EACH)
		return fy_wrong_field(entry, path, why, ": shape, dtype or bounds do not fit its kind");
	if (entry->kind >= FERRY_DICT && (entry->ndim != 0 || entry->bounds != FY_BOUNDS_NONE ||
		(entry->capacity != 0) != (entry->kind == FERRY_STRING) || ferry_dtype_bytes(entry->dtype) != 1))
		return fy_wrong_field(entry, path, why,
			": a string has a capacity, an empty Dict or Tuple has none, and all of them neither shape nor bounds");
	if (entry->role == FERRY_INFO && entry->kind == FERRY_OTHER)
		return fy_wrong_field(entry, path, why, ": an info of kind FERRY_OTHER needs no field; put it into the blob");
	if (entry->role == FERRY_ACTION && entry->kind == FERRY_OTHER && spec->realtime)
		return fy_wrong_field(entry, path, why, " is of kind FERRY_OTHER, which travels in blobs, and in real time actions have none");
	if (entry->stride != fy_stride(entry, bytes) ||
		!fy_in_slot(entry->offset, entry->stride * rows, slot_ends[fy_writer(entry)], 8))
		return fy_wrong_field(entry, path, why, " does not lie inside its slot");
	if (entry->role == FERRY_INFO && !fy_in_slot(entry->present_offset, rows, env_end, 1))
		return fy_wrong_field(entry, path, why, " has no presence inside its slot");
	if (!fy_final_is_inside(spec, entry, env_end))
		return fy_wrong_field(entry, path, why, " has no room for the end of an episode inside its slot, or has it without need");
	bound = entry->bounds == FY_BOUNDS_EACH ? bytes : entry->bounds == FY_BOUNDS_SCALAR ? ferry_dtype_bytes(entry->dtype) : 0;
	if (!fy_lies_in(entry->low_offset, bound, 0, pool, 8) || !fy_lies_in(entry->high_offset, bound, 0, pool, 8))
		return fy_wrong_field(entry, path, why, ": its bounds do not lie inside the pool");
	if (!fy_bounds_in_order(entry, spec->pool + entry->low_offset, spec->pool + entry->high_offset, bound))
		return fy_wrong_field(entry, path, why, ": a lower bound is above its upper bound");
	return 0;
}

static int fy_spec_check_header(const fy_header *header, uint64_t region_bytes, ferry_why *why) {
	if (memcmp(header->magic, FY_REGION_MAGIC, 8) != 0)
		return fy_fail(why, FERRY_EPROTOCOL, "the peer's region does not begin with Ferry's mark");
	if (header->endian != FY_ENDIAN) return fy_fail(why, FERRY_EVERSION, "the peer's region has another byte order");
	if (header->abi_major != FY_ABI_MAJOR || (header->incompat & ~FY_FEATURES_KNOWN) != 0)
		return fy_fail(why, FERRY_EVERSION,
			"the peer's region has protocol %d.%d with features 0x%llx; this side knows %d.x and 0x%llx", header->abi_major,
			header->abi_minor, (unsigned long long)header->incompat, FY_ABI_MAJOR,
			(unsigned long long)FY_FEATURES_KNOWN);
	if (header->region_bytes != region_bytes || header->header_bytes < sizeof(fy_header) ||
		header->group_bytes < sizeof(fy_group) || header->field_bytes < sizeof(fy_entry) || header->header_bytes > FY_PAGE ||
		header->group_bytes > FY_PAGE || header->field_bytes > FY_PAGE || header->num_groups != 1 ||
		header->num_fields > FY_MAX_FIELDS)
		return fy_fail(why, FERRY_ESPEC, "the sizes in the peer's region do not fit together");
	if (!fy_lies_in(header->groups_offset, header->group_bytes, 0, region_bytes, 8) ||
		!fy_lies_in(header->fields_offset, (uint64_t)header->field_bytes * header->num_fields, 0, region_bytes, 8) ||
		!fy_lies_in(header->pool_offset, header->pool_bytes, 0, region_bytes, 8) ||
		!fy_lies_in(header->agent_offset, header->agent_bytes, header->header_bytes, region_bytes, FY_PAGE) ||
		!fy_lies_in(header->env_offset, header->env_bytes, header->header_bytes, region_bytes, FY_PAGE) ||
		header->agent_bytes % FY_PAGE != 0 || header->agent_bytes == 0 || header->env_bytes == 0 ||
		(header->agent_offset < header->env_offset + header->env_bytes && header->env_offset < header->agent_offset + header->agent_bytes))
		return fy_fail(why, FERRY_ESPEC, "the parts of the peer's region do not lie inside it");
	return 0;
}

static uint64_t fy_slot_room(uint64_t slot, uint64_t part, uint64_t part_bytes) {
	uint64_t end = part + part_bytes;
	return fy_lies_in(slot, sizeof(fy_slot), part + sizeof(fy_line), end, 64) ? end - slot : 0;
}

static int fy_is_checked(const fy_entry *entry) {
	return entry->capacity != 0 || (fy_is_integer(entry) && entry->bounds != FY_BOUNDS_NONE);
}

static void fy_extend(uint64_t *end, uint64_t to) {
	if (to > *end) *end = to;
}

static int fy_are_apart(uint64_t one, uint64_t other, uint64_t bytes) { return one + bytes <= other || other + bytes <= one; }

static int fy_lanes_are_inside(const fy_spec *spec, uint64_t agent_end, uint64_t env_end) {
	const fy_header *header = &spec->header;
	const fy_group *group = &spec->group;
	uint64_t agent_pitch = fy_lane_pitch(header->agent_blob, header->blob_bytes);
	uint64_t env_pitch = fy_lane_pitch(header->env_blob, header->blob_bytes), i;
	if (!spec->realtime)
		return (header->frame_slots | header->action_slots | group->action_moment_offset | group->frame_moment_offset) == 0;
	if (group->num_rows != 1 || (group->flags & FY_AUTORESET_MASK) != FERRY_AUTORESET_DISABLED ||
		header->env_bytes < FY_LANES_END || !fy_in_slot(group->action_moment_offset, sizeof(fy_moment), agent_end, 8) ||
		!fy_in_slot(group->frame_moment_offset, sizeof(fy_moment), env_end, 8) || header->action_slots > header->region_bytes ||
		header->frame_slots > header->region_bytes)
		return 0;
	for (i = 0; i < FY_LANE_SLOTS; i++) {
		uint64_t action = header->action_slots + agent_pitch * i, agent_room = header->agent_blob + header->blob_bytes;
		uint64_t frame = header->frame_slots + env_pitch * i, env_room = header->env_blob + header->blob_bytes;
		if (fy_slot_room(action, header->agent_offset, header->agent_bytes) < agent_room ||
			fy_slot_room(frame, header->env_offset, header->env_bytes) < env_room ||
			!fy_are_apart(action, header->agent_slot, agent_room) || !fy_are_apart(frame, header->env_slot[0], env_room) ||
			!fy_are_apart(frame, header->env_slot[1], env_room) || frame < header->env_offset + FY_LANES_END)
			return 0;
	}
	return header->env_slot[0] >= header->env_offset + FY_LANES_END && header->env_slot[1] >= header->env_offset + FY_LANES_END;
}

static int fy_check_paths(const fy_spec *spec, const fy_entry *entry, const fy_entry *other, ferry_why *why) {
	const char *one = spec->pool + other->path_offset, *two = spec->pool + entry->path_offset;
	if (other->role != entry->role) return 0;
	if (strcmp(one, two) == 0) return fy_fail(why, FERRY_ESPEC, "two %ss have the path '%s'", fy_role_name(entry->role), two);
	if (entry->role != FERRY_INFO && (fy_is_inside(one, other->path_bytes, two, entry->path_bytes) ||
		fy_is_inside(two, entry->path_bytes, one, other->path_bytes)))
		return fy_fail(why, FERRY_ESPEC, "the %ss '%s' and '%s' contradict each other: one place cannot be a leaf and hold others",
			fy_role_name(entry->role), one, two);
	return 0;
}

static int fy_spec_check(fy_spec *spec, ferry_why *why) {
	const fy_header *header = &spec->header;
	const fy_group *group = &spec->group;
	uint64_t rows = group->num_rows, slot_ends[2], other_slot, *ends = spec->fields_end;
	uint32_t i, j;
	slot_ends[FY_AGENT - 1] = fy_slot_room(header->agent_slot, header->agent_offset, header->agent_bytes);
	slot_ends[FY_ENV - 1] = fy_slot_room(header->env_slot[0], header->env_offset, header->env_bytes);
	other_slot = fy_slot_room(header->env_slot[1], header->env_offset, header->env_bytes);
	if (other_slot < slot_ends[FY_ENV - 1]) slot_ends[FY_ENV - 1] = other_slot;
	if (slot_ends[0] == 0 || slot_ends[1] == 0) return fy_fail(why, FERRY_ESPEC, "a slot does not lie inside its part of the region");
	if (rows == 0 || rows > FERRY_MAX_ROWS)
		return fy_fail(why, FERRY_ESPEC, "an environment of %llu rows; 1 to %d are possible", (unsigned long long)rows, FERRY_MAX_ROWS);
	if (group->num_fields != header->num_fields || group->first_field != 0 || (group->flags & ~FY_FLAGS_KNOWN) != 0 ||
		(group->flags & FY_AUTORESET_MASK) > FERRY_AUTORESET_SAME_STEP)
		return fy_fail(why, FERRY_ESPEC, "the fields or flags of the group do not fit together");
	spec->num_checked = spec->num_infos = 0;
	spec->parts_begin = header->agent_offset < header->env_offset ? header->agent_offset : header->env_offset;
	ends[0] = ends[1] = sizeof(fy_slot);
	for (i = 0; i < FY_COLUMNS; i++) {
		const fy_column *column = &fy_columns_of_group[i];
		uint64_t offset = *fy_column_offset((fy_group *)group, column);
		if (!fy_in_slot(offset, column->bytes * rows, slot_ends[column->writer - 1], column->bytes))
			return fy_fail(why, FERRY_ESPEC, "a column of the group does not lie inside its slot");
		fy_extend(&ends[column->writer - 1], offset + column->bytes * rows);
	}
	if (!fy_in_slot(header->agent_blob, header->blob_bytes, slot_ends[FY_AGENT - 1], 8) ||
		!fy_in_slot(header->env_blob, header->blob_bytes, slot_ends[FY_ENV - 1], 8))
		return fy_fail(why, FERRY_ESPEC, "the room for blobs does not lie inside its slot");
	spec->realtime = (header->incompat & FY_FEATURE_REALTIME) != 0;
	if (!fy_lanes_are_inside(spec, slot_ends[FY_AGENT - 1], slot_ends[FY_ENV - 1]))
		return fy_fail(why, FERRY_ESPEC, "the slots for frames and actions do not lie inside their parts of the region");
	if (spec->realtime) {
		fy_extend(&ends[FY_AGENT - 1], group->action_moment_offset + sizeof(fy_moment));
		fy_extend(&ends[FY_ENV - 1], group->frame_moment_offset + sizeof(fy_moment));
	}
	if (!fy_is_text(spec, header->name_offset, header->name_bytes) ||
		!fy_lies_in(header->about_offset, header->about_bytes, 0, header->pool_bytes, 1) || header->about_bytes > FY_MAX_ABOUT ||
		header->about_format > FERRY_TEXT || (header->blob_format != FERRY_JSON && header->blob_format != FERRY_MSGPACK))
		return fy_fail(why, FERRY_ESPEC, "the name or the description of the environment is not valid");
	for (i = 0; i < header->num_fields; i++) {
		const fy_entry *entry = &spec->entries[i];
		if (fy_check_entry(spec, entry, slot_ends, why) < 0) return why->code;
		spec->num_infos += entry->role == FERRY_INFO;
		spec->num_checked += entry->role == FERRY_ACTION && fy_is_checked(entry);
		if (entry->role == FERRY_INFO) fy_extend(&ends[FY_ENV - 1], entry->present_offset + rows);
		for (j = 0; j < i; j++)
			if (fy_check_paths(spec, entry, &spec->entries[j], why) < 0) return why->code;
	}
	memcpy(spec->columns_end, ends, sizeof spec->columns_end);
	for (i = 0; i < header->num_fields; i++) {
		const fy_entry *entry = &spec->entries[i];
		uint32_t writer = fy_writer(entry);
		if (entry->offset < spec->columns_end[writer])
			return fy_wrong_field(entry, spec->pool + entry->path_offset, why, " lies before the end of the columns");
		fy_extend(&ends[writer], entry->offset + entry->stride * rows);
		if (entry->final_offset != 0) fy_extend(&ends[writer], entry->final_offset + entry->stride * rows);
		if (entry->final_present_offset != 0) fy_extend(&ends[writer], entry->final_present_offset + rows);
	}
	if (header->agent_blob < ends[FY_AGENT - 1] || header->env_blob < ends[FY_ENV - 1])
		return fy_fail(why, FERRY_ESPEC, "the room for blobs begins before the end of the fields");
	return 0;
}

static int fy_check_one_action(const fy_spec *spec, const fy_entry *entry, const char *elements, ferry_why *why) {
	const char *path = spec->pool + entry->path_offset;
	const char *low = spec->pool + entry->low_offset, *high = spec->pool + entry->high_offset;
	uint64_t size = ferry_dtype_bytes(entry->dtype), bytes = size, total, at;
	uint32_t i;
	for (i = 0; i < entry->ndim; i++) bytes *= entry->shape[i];
	total = bytes;
	if (entry->capacity != 0) {
		ferry_list list;
		memcpy(&list, elements, sizeof list);
		if (list.count == FERRY_IN_BLOB && spec->realtime)
			return fy_fail(why, FERRY_EINVAL, "action '%s' lies in a blob, and in real time an action has none", path);
		if (list.count == FERRY_IN_BLOB) return 0;
		if (list.count > entry->capacity)
			return fy_fail(why, FERRY_EINVAL,
				"action '%s' has %u elements; there is room for %u (more go into the blob, with FERRY_IN_BLOB as the count)",
				path, list.count, entry->capacity);
		elements += sizeof list, total = bytes * list.count;
	}
	if (!fy_is_integer(entry)) return 0;
	for (at = 0; at < total; at += size) {
		uint64_t bound = entry->bounds == FY_BOUNDS_EACH ? at % bytes : 0;
		int64_t v = fy_integer_at(entry->dtype, elements + at);
		int64_t least = fy_integer_at(entry->dtype, low + bound), most = fy_integer_at(entry->dtype, high + bound);
		int wrong = entry->dtype == FERRY_U64 ? (uint64_t)v < (uint64_t)least || (uint64_t)v > (uint64_t)most : v < least || v > most;
		if (wrong && total == size && entry->kind == FERRY_DISCRETE)
			return fy_fail(why, FERRY_EINVAL, "action '%s' is %lld; it may be %lld to %lld", path, (long long)v, (long long)least,
				(long long)most);
		if (wrong)
			return fy_fail(why, FERRY_EINVAL, "element %llu of action '%s' is %lld; it may be %lld to %lld",
				(unsigned long long)(at / size), path, (long long)v, (long long)least, (long long)most);
	}
	return 0;
}

static int fy_numbers_inside(const char *values, const uint32_t *rows, uint32_t count, int64_t least, int64_t most) {
	uint32_t i, wrong = 0;
	int64_t v;
	for (i = 0; i < count; i++) {
		memcpy(&v, values + (uint64_t)8 * rows[i], 8);
		wrong |= (uint32_t)(v < least) | (uint32_t)(v > most);
	}
	return !wrong;
}

static int fy_spec_check_actions(const fy_spec *spec, const char *message, const uint32_t *rows, uint32_t count, ferry_why *why) {
	uint32_t i, k;
	for (i = 0; i < spec->header.num_fields; i++) {
		const fy_entry *entry = &spec->entries[i];
		const char *values = message + entry->offset;
		if (entry->role != FERRY_ACTION || !fy_is_checked(entry)) continue;
		if (entry->kind == FERRY_DISCRETE && entry->dtype == FERRY_I64 && entry->capacity == 0 &&
			fy_numbers_inside(values, rows, count, fy_integer_at(FERRY_I64, spec->pool + entry->low_offset),
			fy_integer_at(FERRY_I64, spec->pool + entry->high_offset)))
			continue;
		for (k = 0; k < count; k++)
			if (fy_check_one_action(spec, entry, values + entry->stride * rows[k], why) < 0) {
				if (spec->group.num_rows > 1) fy_also(why, " (row %u)", rows[k]);
				return why->code;
			}
	}
	return 0;
}

/* ---- spec.c ---- */

#define FY_DEFAULT_BLOB_BYTES 16384
#define FY_BIG_FIELD 16384

typedef struct fy_pool {
	char *data;
	uint64_t bytes, room;
	int failed;
} fy_pool;

static uint64_t fy_pool_add(fy_pool *pool, const void *data, uint64_t bytes) {
	uint64_t at = pool->bytes, need = fy_round_up(at + bytes + 1, 8);
	if (need > pool->room) {
		uint64_t room = need * 2;
		char *grown = (uint64_t)(size_t)room == room ? (char *)realloc(pool->data, (size_t)room) : NULL;
		if (grown == NULL) return pool->failed = 1, 0;
		pool->data = grown, pool->room = room;
	}
	memset(pool->data + at, 0, (size_t)(need - at));
	if (bytes > 0) memcpy(pool->data + at, data, (size_t)bytes);
	pool->bytes = need;
	return at;
}

static int fy_scalar_bounds(const ferry_field *field, fy_entry *entry, fy_pool *pool, const char *path, ferry_why *why) {
	const int discrete = entry->kind == FERRY_DISCRETE, exact = discrete || entry->kind == FERRY_MULTI_BINARY;
	const uint32_t size = ferry_dtype_bytes(entry->dtype);
	char low[8] = {0}, high[8] = {0};
	int64_t first = 0, last = 1;
	double from = field->low, to = field->high, least, most;
	if (discrete) {
		if (field->n < 1 || field->start > INT64_MAX - (field->n - 1))
			return fy_wrong_field(entry, path, why, ": a Discrete needs n >= 1 (here n = %lld, start = %lld)", (long long)field->n,
				(long long)field->start);
		first = field->start, last = field->start + (field->n - 1);
	}
	if (exact) from = (double)first, to = (double)last;
	if (from == 0 && to == 0 && entry->kind == FERRY_MULTI_DISCRETE)
		return fy_wrong_field(entry, path, why,
			": a MultiDiscrete takes its ranges from low_each and high_each, or low and high; none are set");
	if (from == 0 && to == 0 && entry->kind == FERRY_BOX) return 0;
	if (!(from <= to)) return fy_wrong_field(entry, path, why, ": low (%g) is above high (%g)", from, to);
	if (entry->dtype == FERRY_F16)
		return fy_wrong_field(entry, path, why, ": give the bounds of 16-bit floats by low_each and high_each");
	if ((size < 8 || !exact) && fy_integer_range(entry->dtype, &least, &most) && (from < least || to > most))
		return fy_wrong_field(entry, path, why,
			": the dtype cannot hold the bounds %g to %g as written; take a wider one, or low_each and high_each",
			from, to);
	entry->bounds = FY_BOUNDS_SCALAR;
	fy_element(entry->dtype, from, first, exact, low);
	fy_element(entry->dtype, to, last, exact, high);
	entry->low_offset = fy_pool_add(pool, low, size);
	entry->high_offset = fy_pool_add(pool, high, size);
	return 0;
}

static int fy_entry_of(const ferry_field *field, uint32_t rows, fy_entry *entry, fy_pool *pool, ferry_why *why) {
	static const uint8_t usual[] = {FERRY_F32, FERRY_I64, FERRY_I64, FERRY_I8, FERRY_U8, FERRY_U8, FERRY_U8, FERRY_U8};
	const char *path = field->path != NULL ? field->path : "";
	uint64_t bytes;
	memset(entry, 0, sizeof *entry);
	if (strlen(path) > FY_MAX_PATH)
		return fy_fail(why, FERRY_ESPEC, "the path '%.40s...' is longer than %d bytes", path, FY_MAX_PATH);
	entry->path_bytes = (uint16_t)strlen(path);
	entry->role = field->role, entry->kind = field->kind, entry->ndim = field->ndim, entry->capacity = field->capacity;
	entry->dtype = field->dtype != FERRY_DEFAULT || field->kind > FERRY_OTHER ? field->dtype : usual[field->kind];
	memcpy(entry->shape, field->shape, sizeof entry->shape);
	if (fy_measure_field(entry, rows, path, &bytes, why) < 0) return why->code;
	entry->stride = fy_stride(entry, bytes);
	entry->path_offset = (uint32_t)fy_pool_add(pool, path, entry->path_bytes);
	if ((field->low_each == NULL) != (field->high_each == NULL))
		return fy_wrong_field(entry, path, why, ": give low_each and high_each, or neither");
	if (field->kind >= FERRY_DICT) return 0;
	if (field->low_each != NULL && (field->kind == FERRY_BOX || field->kind == FERRY_MULTI_DISCRETE)) {
		entry->bounds = FY_BOUNDS_EACH;
		entry->low_offset = fy_pool_add(pool, field->low_each, bytes);
		entry->high_offset = fy_pool_add(pool, field->high_each, bytes);
	} else if (fy_scalar_bounds(field, entry, pool, path, why) < 0) return why->code;
	return 0;
}

static uint64_t fy_place_column(uint64_t *end, uint64_t bytes, uint64_t align) {
	uint64_t at = fy_round_up(*end, align);
	*end = at + bytes;
	return at;
}

static uint64_t fy_place_field(uint64_t *end, uint64_t bytes, uint64_t slot_in_page) {
	uint64_t at;
	if (bytes < FY_BIG_FIELD) return fy_place_column(end, bytes, bytes >= FY_CACHE_LINE ? FY_CACHE_LINE : 8);
	at = fy_round_up(slot_in_page + *end, FY_PAGE) - slot_in_page;
	*end = at + bytes;
	return at;
}

static const uint64_t fy_slot_in_page[] = {FY_PAGE / 2, sizeof(fy_line)};

static void fy_lay_out(fy_spec *spec) {
	fy_header *header = &spec->header;
	fy_group *group = &spec->group;
	const uint64_t rows = group->num_rows, lane_slots = spec->realtime ? FY_LANE_SLOTS : 0;
	uint64_t end[2] = {sizeof(fy_slot), sizeof(fy_slot)}, *env = &end[FY_ENV - 1], *agent = &end[FY_AGENT - 1];
	uint64_t agent_pitch, env_pitch;
	uint32_t i;
	for (i = 0; i < FY_COLUMNS; i++) {
		const fy_column *column = &fy_columns_of_group[i];
		*fy_column_offset(group, column) = fy_place_column(&end[column->writer - 1], column->bytes * rows, column->bytes);
	}
	group->action_moment_offset = spec->realtime ? fy_place_column(agent, sizeof(fy_moment), 8) : 0;
	group->frame_moment_offset = spec->realtime ? fy_place_column(env, sizeof(fy_moment), 8) : 0;
	*agent = fy_round_up(*agent, FY_CACHE_LINE), *env = fy_round_up(*env, FY_CACHE_LINE);
	for (i = 0; i < header->num_fields; i++)
		if (spec->entries[i].role == FERRY_INFO) spec->entries[i].present_offset = fy_place_column(env, rows, 1);
	for (i = 0; i < header->num_fields; i++) {
		fy_entry *entry = &spec->entries[i];
		entry->offset = fy_place_field(&end[fy_writer(entry)], entry->stride * rows, fy_slot_in_page[fy_writer(entry)]);
	}
	for (i = 0; i < header->num_fields; i++) {
		fy_entry *entry = &spec->entries[i];
		int wanted = fy_has_final(group, entry);
		entry->final_offset = wanted ? fy_place_field(env, entry->stride * rows, fy_slot_in_page[FY_ENV - 1]) : 0;
		entry->final_present_offset = wanted && entry->role == FERRY_INFO ? fy_place_column(env, rows, 1) : 0;
	}
	header->agent_blob = fy_place_column(agent, header->blob_bytes, FY_CACHE_LINE);
	header->env_blob = fy_place_column(env, header->blob_bytes, FY_CACHE_LINE);

	header->groups_offset = fy_round_up(sizeof(fy_header), 64);
	header->fields_offset = header->groups_offset + sizeof(fy_group);
	header->pool_offset = header->fields_offset + header->num_fields * sizeof(fy_entry);
	header->agent_offset = fy_round_up(header->pool_offset + header->pool_bytes, FY_PAGE);
	header->agent_slot = header->agent_offset + fy_slot_in_page[FY_AGENT - 1];
	agent_pitch = fy_lane_pitch(header->agent_blob, header->blob_bytes);
	env_pitch = fy_lane_pitch(header->env_blob, header->blob_bytes);
	header->action_slots = spec->realtime ? header->agent_slot + agent_pitch : 0;
	header->env_offset = fy_round_up(header->agent_slot + *agent + lane_slots * agent_pitch, FY_PAGE);
	header->agent_bytes = header->env_offset - header->agent_offset;
	header->env_slot[0] = header->env_offset + fy_slot_in_page[FY_ENV - 1];
	header->env_slot[1] = header->env_slot[0] + env_pitch;
	header->frame_slots = spec->realtime ? header->env_slot[1] + env_pitch : 0;
	header->region_bytes = fy_round_up(header->env_slot[1] + *env + lane_slots * env_pitch, FY_PAGE);
	header->env_bytes = header->region_bytes - header->env_offset;
}

static int fy_put_into_words(fy_spec *spec, ferry_why *why) {
	const fy_header *header = &spec->header;
	ferry_env_desc *desc = &spec->desc;
	uint32_t i;
	spec->fields = (ferry_field *)calloc(header->num_fields + 1, sizeof *spec->fields);
	if (spec->fields == NULL) return fy_no_memory(why);
	for (i = 0; i < header->num_fields; i++) {
		const fy_entry *entry = &spec->entries[i];
		ferry_field *field = &spec->fields[i];
		const char *low = spec->pool + entry->low_offset, *high = spec->pool + entry->high_offset;
		field->path = spec->pool + entry->path_offset;
		field->role = entry->role, field->kind = entry->kind, field->dtype = entry->dtype, field->ndim = entry->ndim;
		memcpy(field->shape, entry->shape, sizeof field->shape);
		if (entry->bounds == FY_BOUNDS_EACH) field->low_each = low, field->high_each = high;
		if (entry->bounds == FY_BOUNDS_SCALAR)
			field->low = fy_double_at(entry->dtype, low), field->high = fy_double_at(entry->dtype, high);
		field->capacity = entry->capacity;
		if (entry->kind == FERRY_DISCRETE) {
			uint64_t first, last;
			field->start = fy_integer_at(entry->dtype, low);
			first = (uint64_t)field->start, last = (uint64_t)fy_integer_at(entry->dtype, high);
			field->n = (int64_t)(last - first + 1);
			if ((int64_t)last < field->start || field->n < 1)
				return fy_wrong_field(entry, field->path, why, ": a Discrete without values");
		}
	}
	memset(desc, 0, sizeof *desc);
	desc->struct_size = sizeof *desc;
	desc->num_rows = spec->group.num_rows;
	desc->max_episode_steps = spec->group.max_episode_steps;
	desc->rows_tick_together = (spec->group.flags & FY_TICK_TOGETHER) != 0;
	desc->name = spec->pool + header->name_offset;
	desc->fields = spec->fields, desc->num_fields = header->num_fields;
	desc->blob_format = header->blob_format;
	desc->about.data = spec->pool + header->about_offset, desc->about.size_bytes = header->about_bytes,
	desc->about.format = header->about_format;
	desc->blob_bytes = header->blob_bytes;
	desc->takes_calls = (header->compat & FY_OFFERS_CALLS) != 0;
	desc->realtime = (uint32_t)spec->realtime;
	return 0;
}

static void fy_spec_clear(fy_spec *spec) {
	free(spec->entries);
	free(spec->pool);
	free(spec->fields);
	memset(spec, 0, sizeof *spec);
}

static int fy_spec_collect(const ferry_env_desc *desc, const char *name, fy_spec *spec, fy_pool *pool, ferry_why *why) {
	fy_header *header = &spec->header;
	uint32_t i, roles = 0;
	(void)fy_pool_add(pool, "", 0);
	for (i = 0; i < desc->num_fields; i++) {
		if (fy_entry_of(&desc->fields[i], spec->group.num_rows, &spec->entries[i], pool, why) < 0) return why->code;
		roles |= 1u << desc->fields[i].role;
	}
	if ((roles & 3) != 3)
		return fy_fail(why, FERRY_ESPEC, "the environment has no %s field; it needs one or more",
			fy_role_name((roles & 1) == 0 ? FERRY_OBSERVATION : FERRY_ACTION));
	header->name_offset = (uint32_t)fy_pool_add(pool, name, strlen(name));
	header->name_bytes = (uint32_t)strlen(name);
	if (desc->about.format != FERRY_NONE) {
		header->about_offset = (uint32_t)fy_pool_add(pool, desc->about.data, desc->about.size_bytes);
		header->about_bytes = (uint32_t)desc->about.size_bytes, header->about_format = desc->about.format;
	}
	if (pool->failed) return fy_no_memory(why);
	if (pool->bytes > UINT32_MAX) return fy_fail(why, FERRY_ETOOBIG, "names and bounds take more than 4 GiB");
	header->pool_bytes = pool->bytes;
	return 0;
}

static int fy_spec_build(const ferry_env_desc *desc, fy_spec *out, ferry_why *why) {
	fy_header *header = &out->header;
	fy_pool pool = {NULL, 0, 0, 0};
	const char *name = desc->name != NULL ? desc->name : "";
	int err;
	memset(out, 0, sizeof *out);
	if (desc->num_rows > FERRY_MAX_ROWS)
		return fy_fail(why, FERRY_ESPEC, "an environment of %u rows; at most %d are possible", desc->num_rows, FERRY_MAX_ROWS);
	if (desc->num_fields > FY_MAX_FIELDS)
		return fy_fail(why, FERRY_ESPEC, "the environment has %u fields; at most %d are possible", desc->num_fields, FY_MAX_FIELDS);
	if (desc->num_fields > 0 && desc->fields == NULL)
		return fy_fail(why, FERRY_ESPEC, "num_fields is %u, and fields is NULL; point it at the field table", desc->num_fields);
	if (strlen(name) > FY_MAX_PATH)
		return fy_fail(why, FERRY_ESPEC, "the environment's name is longer than %d bytes", FY_MAX_PATH);
	if (desc->about.format != FERRY_NONE && desc->about.size_bytes > FY_MAX_ABOUT)
		return fy_fail(why, FERRY_ESPEC, "about has %llu bytes; at most %d are possible", (unsigned long long)desc->about.size_bytes,
			FY_MAX_ABOUT);
	if (desc->about.format != FERRY_NONE && desc->about.data == NULL && desc->about.size_bytes > 0)
		return fy_fail(why, FERRY_ESPEC, "about.data is NULL; point it at the map, or set about.format to FERRY_NONE");
	if (desc->blob_format > FERRY_MSGPACK) return fy_fail(why, FERRY_ESPEC, "blob_format may be FERRY_JSON or FERRY_MSGPACK");
	if (desc->blob_bytes > FERRY_MAX_BLOB) return fy_fail(why, FERRY_ETOOBIG, "blob_bytes is more than FERRY_MAX_BLOB");
	memcpy(header->magic, FY_REGION_MAGIC, 8);
	header->endian = FY_ENDIAN, header->abi_major = FY_ABI_MAJOR, header->abi_minor = FY_ABI_MINOR;
	header->header_bytes = sizeof(fy_header), header->group_bytes = sizeof(fy_group), header->field_bytes = sizeof(fy_entry);
	header->compat = desc->takes_calls != 0 ? FY_OFFERS_CALLS : 0;
	header->num_groups = 1, header->num_fields = desc->num_fields;
	header->seq_start = FY_SEQ_START;
	header->blob_bytes = fy_round_up(desc->blob_bytes != 0 ? desc->blob_bytes : FY_DEFAULT_BLOB_BYTES, 64);
	header->blob_format = desc->blob_format == FERRY_MSGPACK ? FERRY_MSGPACK : FERRY_JSON;
	header->env_pid = fy_platform_pid();
	out->group.num_rows = desc->num_rows != 0 ? desc->num_rows : 1, out->group.num_fields = desc->num_fields;
	out->group.max_episode_steps = desc->max_episode_steps;
	out->group.flags = desc->rows_tick_together != 0 ? FY_TICK_TOGETHER : 0;
	header->incompat = (out->group.num_rows > 1 ? FY_FEATURE_ROWS : 0) | (desc->realtime != 0 ? FY_FEATURE_REALTIME : 0);
	out->realtime = desc->realtime != 0;
	if (out->realtime && out->group.num_rows > 1)
		return fy_fail(why, FERRY_ESPEC, "an environment in real time has one row, not %u; open one for each", out->group.num_rows);
	out->entries = (fy_entry *)calloc(desc->num_fields + 1, sizeof *out->entries);
	if (out->entries == NULL) return fy_no_memory(why);
	err = fy_spec_collect(desc, name, out, &pool, why);
	out->pool = pool.data;
	if (err == 0) {
		fy_lay_out(out);
		if (fy_spec_check(out, why) == 0 && fy_put_into_words(out, why) == 0) return 0;
	}
	fy_spec_clear(out);
	return why->code;
}

static int fy_spec_choose(fy_spec *spec, uint32_t autoreset, ferry_why *why) {
	if (autoreset > FERRY_AUTORESET_SAME_STEP)
		return fy_fail(why, FERRY_EPROTOCOL, "the agent wants the unknown autoreset mode %u", autoreset);
	if (spec->realtime && autoreset != FERRY_AUTORESET_DISABLED)
		return fy_fail(why, FERRY_EPROTOCOL, "the agent wants autoreset mode %u; in real time there is none", autoreset);
	if ((spec->group.flags & FY_AUTORESET_MASK) == autoreset) return 0;
	spec->group.flags = (spec->group.flags & ~FY_AUTORESET_MASK) | autoreset;
	spec->header.incompat &= ~FY_FEATURE_AUTORESET;
	if (autoreset != FERRY_AUTORESET_DISABLED) spec->header.incompat |= FY_FEATURE_AUTORESET;
	fy_lay_out(spec);
	return fy_spec_check(spec, why);
}

static void fy_spec_write(const fy_spec *spec, char *base) {
	const fy_header *header = &spec->header;
	uint32_t seq = header->seq_start, start = FY_LANE_START;
	memcpy(base, header, sizeof *header);
	memcpy(base + header->groups_offset, &spec->group, sizeof spec->group);
	memcpy(base + header->fields_offset, spec->entries, header->num_fields * sizeof *spec->entries);
	memcpy(base + header->pool_offset, spec->pool, (size_t)header->pool_bytes);
	memcpy(base + header->agent_slot, &seq, sizeof seq);
	memcpy(base + header->env_slot[0], &seq, sizeof seq);
	memcpy(base + header->env_slot[1], &seq, sizeof seq);
	memcpy(base + header->env_offset + FY_FRAMES_WORD, &start, sizeof start);
	memcpy(base + header->env_offset + FY_ACTIONS_WORD, &start, sizeof start);
}

static int fy_spec_take(const char *base, uint64_t readable, uint64_t region_bytes, fy_spec *out, ferry_why *why) {
	fy_header *header = &out->header;
	uint32_t i;
	memset(out, 0, sizeof *out);
	fy_copy_in(header, base, sizeof *header);
	if (fy_spec_check_header(header, region_bytes, why) < 0) return why->code;
	if (header->groups_offset + header->group_bytes > readable || header->pool_offset + header->pool_bytes > readable ||
		header->fields_offset + (uint64_t)header->field_bytes * header->num_fields > readable)
		return fy_fail(why, FERRY_ESPEC, "the description in the peer's memory does not lie inside what it shows");
	fy_copy_in(&out->group, base + header->groups_offset, sizeof out->group);
	out->entries = (fy_entry *)calloc(header->num_fields + 1, sizeof *out->entries);
	out->pool = (char *)malloc((size_t)header->pool_bytes + 1);
	if (out->entries == NULL || out->pool == NULL) {
		fy_no_memory(why);
		goto fail;
	}
	for (i = 0; i < header->num_fields; i++)
		fy_copy_in(&out->entries[i], base + header->fields_offset + (uint64_t)header->field_bytes * i, sizeof *out->entries);
	fy_copy_in(out->pool, base + header->pool_offset, (size_t)header->pool_bytes);
	if (fy_spec_check(out, why) == 0 && fy_put_into_words(out, why) == 0) return 0;
fail:
	fy_spec_clear(out);
	return why->code;
}

/* ---- turns.c ---- */

#define FY_TURN_SLOTS 2
#define FY_ANSWERS (FY_TURN_SLOTS + FY_LANE_SLOTS)

typedef struct fy_turns {
	ferry_turn turn[FY_TURN_SLOTS];
	ferry_turn frame[FY_LANE_SLOTS];
	uint32_t *all;
	void *block;
} fy_turns;

static inline ferry_turn *fy_turns_at(fy_turns *turns, uint32_t answer) {
	return answer < FY_TURN_SLOTS ? &turns->turn[answer] : &turns->frame[answer - FY_TURN_SLOTS];
}

static inline void fy_turn_clear_infos(ferry_turn *turn) {
	uint32_t i;
	for (i = 0; i < turn->num_fields; i++)
		if (turn->present[i] != NULL) memset(turn->present[i], 0, turn->num_rows);
}

static void fy_turns_place(const fy_spec *spec, char *base, char *answers[FY_ANSWERS]) {
	const fy_header *header = &spec->header;
	uint64_t pitch = fy_lane_pitch(header->env_blob, header->blob_bytes);
	uint32_t i;
	for (i = 0; i < FY_TURN_SLOTS; i++) answers[i] = base + header->env_slot[i];
	for (; i < FY_ANSWERS; i++) answers[i] = base + header->frame_slots + pitch * (i - FY_TURN_SLOTS);
}

static int fy_turns_open(fy_turns *turns, const fy_spec *spec, char *const answers[FY_ANSWERS], char *message, ferry_why *why) {
	const fy_group *group = &spec->group;
	size_t n = spec->header.num_fields, rows = group->num_rows;
	uint32_t i, slot, num_slots = spec->realtime ? FY_ANSWERS : FY_TURN_SLOTS;
	uint64_t *stride = (uint64_t *)calloc(1, n * (num_slots * 4 * sizeof(void *) + sizeof *stride) + (rows + 1) * sizeof *turns->all);
	void **data;
	memset(turns, 0, sizeof *turns);
	if (stride == NULL) return fy_no_memory(why);
	turns->block = stride, data = (void **)(void *)(stride + n);
	turns->all = (uint32_t *)(void *)(data + num_slots * 4 * n);
	for (i = 0; i < rows; i++) turns->all[i] = i;
	for (slot = 0; slot < num_slots; slot++, data += 4 * n) {
		ferry_turn *turn = fy_turns_at(turns, slot);
		char *answer = answers[slot];
		uint8_t **present = (uint8_t **)(data + n), **final_present = (uint8_t **)(data + 3 * n);
		turn->struct_size = sizeof *turn;
		turn->num_fields = (uint32_t)n;
		turn->num_rows = (uint32_t)rows, turn->rows = turns->all;
		turn->data = data, turn->present = present, turn->stride = stride;
		turn->final_data = data + 2 * n, turn->final_present = final_present;
		for (i = 0; i < n; i++) {
			const fy_entry *entry = &spec->entries[i];
			stride[i] = entry->stride;
			data[i] = (entry->role == FERRY_ACTION ? message : answer) + entry->offset;
			if (entry->role == FERRY_INFO) present[i] = (uint8_t *)answer + entry->present_offset;
			if (entry->final_offset != 0) data[2 * n + i] = answer + entry->final_offset;
			if (entry->final_present_offset != 0) final_present[i] = (uint8_t *)answer + entry->final_present_offset;
		}
		turn->reward = (double *)(void *)(answer + group->reward_offset);
		turn->episode = (uint64_t *)(void *)(answer + group->episode_offset);
		turn->terminated = (uint8_t *)answer + group->terminated_offset;
		turn->truncated = (uint8_t *)answer + group->truncated_offset;
		turn->status = (uint8_t *)answer + group->status_offset;
		turn->seed = (int64_t *)(void *)(message + group->seed_offset);
	}
	return 0;
}

static void fy_turns_close(fy_turns *turns) {
	free(turns->block);
	memset(turns, 0, sizeof *turns);
}

/* ---- rows.c ---- */

typedef enum fy_row_state {
	FY_ROW_IDLE,
	FY_ROW_PLAYING,
	FY_ROW_ENDED
} fy_row_state;

typedef struct fy_row_list {
	uint32_t *rows;
	uint32_t count;
	uint32_t *own;
} fy_row_list;

typedef struct fy_rows {
	uint32_t num_rows, max_steps, autoreset, num_idle;
	uint32_t *all;
	int any_over;
	int tick_together;
	fy_row_list step, reset;
	uint8_t *state;
	uint32_t *steps;
	uint64_t *episode;
	uint8_t *discard;
} fy_rows;

static void fy_rows_idle(fy_rows *rows) {
	memset(rows->state, FY_ROW_IDLE, rows->num_rows);
	rows->num_idle = rows->num_rows;
	rows->any_over = 0;
}

static int fy_rows_open(fy_rows *rows, const fy_spec *spec, ferry_why *why) {
	const fy_group *group = &spec->group;
	size_t n = group->num_rows;
	uint32_t row;
	char *block;
	memset(rows, 0, sizeof *rows);
	rows->num_rows = group->num_rows, rows->max_steps = group->max_episode_steps;
	rows->tick_together = (group->flags & FY_TICK_TOGETHER) != 0;
	block = (char *)calloc(n, sizeof(uint64_t) + 4 * sizeof(uint32_t) + 2);
	if (block == NULL) return fy_no_memory(why);
	rows->episode = (uint64_t *)(void *)block, block += n * sizeof(uint64_t);
	rows->all = (uint32_t *)(void *)block, rows->steps = rows->all + n;
	rows->step.own = rows->steps + n, rows->reset.own = rows->step.own + n;
	rows->state = (uint8_t *)(rows->reset.own + n), rows->discard = rows->state + n;
	for (row = 0; row < n; row++) rows->all[row] = row;
	fy_rows_idle(rows);
	return 0;
}

static void fy_rows_close(fy_rows *rows) {
	free(rows->episode);
	memset(rows, 0, sizeof *rows);
}

static int fy_rows_valid(const uint32_t *list, uint32_t count, uint32_t num_rows) {
	uint32_t i;
	if (count == 0 || count > num_rows) return 0;
	for (i = 1; i < count; i++)
		if (list[i] <= list[i - 1]) return 0;
	return list[count - 1] < num_rows;
}

static void fy_add_row(fy_row_list *list, uint32_t row) { list->rows[list->count++] = row; }

static void fy_set_rows(fy_row_list *list, uint32_t *rows, uint32_t count) { list->rows = rows, list->count = count; }

static int fy_rows_plan(fy_rows *rows, ferry_kind kind, const uint32_t *list, uint32_t count, ferry_why *why) {
	const int next_step = rows->autoreset == FERRY_AUTORESET_NEXT_STEP;
	uint32_t i, row;
	fy_set_rows(&rows->step, rows->step.own, 0);
	fy_set_rows(&rows->reset, rows->reset.own, 0);
	if (kind == FERRY_RESET) {
		for (i = 0; i < count; i++) fy_add_row(&rows->reset, list != NULL ? list[i] : i);
		return 0;
	}
	if (list == NULL && rows->num_idle == 0 && !(next_step && rows->any_over)) {
		fy_set_rows(&rows->step, rows->all, count);
		return 0;
	}
	if (rows->tick_together && count < rows->num_rows)
		return fy_fail(why, FERRY_ESTATE, "the rows of this environment tick together: step all %u of them, not %u", rows->num_rows,
			count);
	for (i = 0; i < count; i++) {
		int over;
		row = list != NULL ? list[i] : i;
		if (rows->num_idle > 0 && rows->state[row] == FY_ROW_IDLE && rows->num_rows == 1)
			return fy_fail(why, FERRY_ESTATE, "the first turn of an agent, and the next after a failure, must be a reset");
		if (rows->num_idle > 0 && rows->state[row] == FY_ROW_IDLE)
			return fy_fail(why, FERRY_ESTATE, "row %u has no episode under way: reset it before it is stepped", row);
		over = next_step && rows->state[row] == FY_ROW_ENDED;
		if (over) fy_add_row(&rows->reset, row);
		if (!over || rows->tick_together) fy_add_row(&rows->step, row);
		rows->discard[row] = (uint8_t)(over && rows->tick_together);
	}
	if (rows->reset.count == rows->num_rows) rows->step.count = 0;
	return 0;
}

static int fy_any_ended(const uint8_t *terminated, const uint8_t *truncated, uint32_t num_rows) {
	uint32_t row;
	uint8_t any = 0;
	for (row = 0; row < num_rows; row++) any |= terminated[row] | truncated[row];
	return any != 0;
}

static void fy_rows_stepped(fy_rows *rows, uint8_t *terminated, uint8_t *truncated) {
	uint32_t i, row;
	if (rows->max_steps == 0 && !fy_any_ended(terminated, truncated, rows->num_rows)) rows->step.count = 0;
	for (i = 0; i < rows->step.count; i++) {
		row = rows->step.rows[i];
		if (rows->discard[row]) continue;
		rows->steps[row]++;
		if (rows->max_steps != 0 && rows->steps[row] >= rows->max_steps) truncated[row] = 1;
		if ((terminated[row] | truncated[row]) == 0) continue;
		rows->state[row] = FY_ROW_ENDED;
		rows->any_over = 1;
		if (rows->autoreset == FERRY_AUTORESET_SAME_STEP) fy_add_row(&rows->reset, row);
	}
	rows->step.count = 0;
}

static void fy_rows_begin_episodes(fy_rows *rows) {
	uint32_t i, row;
	for (i = 0; i < rows->reset.count; i++) {
		row = rows->reset.rows[i];
		if (rows->state[row] == FY_ROW_IDLE) rows->num_idle--;
		rows->state[row] = FY_ROW_PLAYING;
		rows->steps[row] = 0;
		rows->episode[row]++;
		rows->discard[row] = 0;
	}
	rows->any_over = memchr(rows->state, FY_ROW_ENDED, rows->num_rows) != NULL;
}

/* ---- channel.c ---- */

struct fy_channel;

typedef struct fy_seat {
	fy_os stream;
	int taken, observes;
	uint32_t pid;
	int64_t since_ns;
	uint32_t received;
	char greeting[sizeof(fy_frame) + sizeof(fy_hello)];
} fy_seat;

#define FY_SEATS (2 * FY_MAX_OBSERVERS)

typedef struct fy_gallery {
	fy_seat seats[FY_SEATS];
	uint32_t taken, observers;
} fy_gallery;

static void fy_gallery_seat(fy_gallery *gallery, fy_os stream, uint32_t pid, int64_t now_ns);
static void fy_gallery_look(struct fy_channel *channel, int64_t now_ns);
static void fy_gallery_dismiss(struct fy_channel *channel);
static void fy_gallery_close(struct fy_channel *channel);

static inline void fy_slot_publish(fy_slot *slot, uint32_t seq, const fy_line *peer, const fy_os *memory) {
	fy_store_release(&slot->seq, seq);
	fy_fence_dekker();
	if (fy_load_relaxed(&peer->parked) != 0) fy_platform_wake(*memory, &slot->seq);
}

typedef struct fy_plain {
	uint32_t seq;
	uint16_t kind;
	uint8_t blob_format, blob_where;
	uint64_t number;
} fy_plain;
FY_SIZE(fy_plain, 16);

static inline int fy_slot_is_plain(const fy_slot *slot, const fy_plain *expected) {
	uint64_t seen[2], wanted[2];
	fy_copy_in(seen, slot, sizeof seen);
	memcpy(wanted, expected, sizeof wanted);
	return ((seen[0] ^ wanted[0]) | (seen[1] ^ wanted[1])) == 0;
}

static inline fy_plain fy_plain_of(uint32_t seq, uint32_t kind, uint64_t number) {
	fy_plain plain;
	plain.seq = seq, plain.kind = (uint16_t)kind, plain.blob_format = FERRY_NONE, plain.blob_where = FY_WHERE_SLOT,
	plain.number = number;
	return plain;
}

static inline int fy_slot_state(const fy_slot *slot, uint32_t previous, uint32_t next) {
	uint32_t seq = fy_load_acquire(&slot->seq);
	return seq == next ? 1 : seq == previous ? 0 : FERRY_ECORRUPT;
}

typedef enum fy_state {
	FY_ALONE,
	FY_GREETING,
	FY_OFFERING,
	FY_OPEN
} fy_state;

typedef struct fy_handshake {
	int (*offer)(void *user, const fy_hello *hello, fy_os bell, fy_os *memory, uint64_t *bytes, ferry_why *why);
	void (*ready)(void *user);
	int (*accept)(void *user, fy_os memory, uint64_t bytes, ferry_why *why);
	int (*watch)(void *user, fy_os *memory, uint64_t *bytes, ferry_why *why);
	void (*unwatch)(void *user);
	void (*refresh)(void *user, int64_t now_ns);
} fy_handshake;

typedef struct fy_door {
	fy_listener listener;
	uint32_t places, taken;
} fy_door;

typedef struct fy_channel {
	fy_side side;
	fy_address address;
	fy_policy policy;
	fy_handshake handshake;
	void *user;
	ferry_log log;
	void *log_user;
	uint64_t max_bytes;
	fy_gallery gallery;
	uint32_t autoreset;
	uint32_t realtime;
	fy_os bell;
	uint32_t *canary;
	fy_door *door;
	fy_state state;
	int lost;
	int used_up;
	int unsaid;
	int told;
	fy_os stream, watch;
	uint32_t peer_pid;
	int quiet;
	int32_t peer_index;
	fy_frame frame;
	uint32_t received;
	fy_os passed;
	char payload[FY_MAX_FRAME];
	fy_line *line, *peer_line;
	fy_os memory;
	fy_os blob;
	uint64_t blob_bytes;
	int64_t alone_ns, state_ns, tried_ns, looked_ns;
	uint32_t unlooked;
	uint32_t attend;
	uint32_t attended;
	int64_t attended_ns;
	int64_t taken_ns;
	uint32_t crowded;
	fy_manners manners;
	ferry_why why;
	ferry_why visitor;
} fy_channel;

static inline int fy_channel_is_mine(const fy_channel *channel) { return fy_platform_canary_is_mine(channel->canary); }

#define FY_TIMED_TURNS 128
#define FY_SLOW_TURN_NS 16000
#define FY_LOOK_TURNS 1024

static inline int fy_channel_spin(fy_channel *channel, const fy_slot *slot, uint32_t previous, uint32_t next,
	int64_t timeout_ns) {
	int looks = timeout_ns != 0 ? channel->manners.looks : 0, state;
	while ((state = fy_slot_state(slot, previous, next)) == 0 && looks-- > 0) fy_pause();
	return state == 1 && next != channel->attend;
}

#define FY_RETRY_NS 10000000
#define FY_LOOK_NS 5000000
#define FY_HANDSHAKE_NS 5000000000
#define FY_TELL_NS 2000000000
#define FY_VISITORS 8

static const char *fy_side_name(fy_side side) { return side == FY_ENV ? "environment" : side == FY_AGENT ? "agent" : "observer"; }

static const char *fy_peer_name(const fy_channel *channel) {
	return fy_side_name(channel->side == FY_ENV ? FY_AGENT : FY_ENV);
}

FY_PRINTF(3, 4) static void fy_tell(const fy_channel *channel, int level, const char *format, ...) {
	char text[sizeof(((ferry_why *)0)->text) + 128];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	if (channel->log != NULL) channel->log(channel->log_user, level, text);
	else if (level >= FERRY_LOG_WARNING) fprintf(stderr, "ferry: %s\n", text);
}

static int fy_channel_lose(fy_channel *channel, int code, const char *format, ...) {
	va_list arguments;
	if (channel->lost != 0) return channel->lost;
	channel->lost = channel->why.code = code;
	va_start(arguments, format);
	vsnprintf(channel->why.text, sizeof channel->why.text, format, arguments);
	va_end(arguments);
	return code;
}

static int fy_channel_damaged(fy_channel *channel, const char *format, ...) {
	char what[sizeof channel->why.text];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(what, sizeof what, format, arguments);
	va_end(arguments);
	return fy_channel_lose(channel, FERRY_ECORRUPT, "the region shared with the %s (pid %u) is damaged: %s", fy_peer_name(channel),
		channel->peer_pid, what);
}

static int fy_send_frame(fy_os stream, fy_frame_type type, const void *payload, uint32_t bytes, fy_os pass) {
	char message[sizeof(fy_frame) + FY_MAX_FRAME];
	fy_frame frame;
	memset(&frame, 0, sizeof frame);
	frame.magic = FY_FRAME_MAGIC, frame.type = (uint16_t)type, frame.bytes = bytes;
	memcpy(message, &frame, sizeof frame);
	if (bytes > 0) memcpy(message + sizeof frame, payload, bytes);
	return fy_platform_send(stream, message, (uint32_t)sizeof frame + bytes, pass);
}

static void fy_send_refusal(fy_os stream, const ferry_why *why) {
	char payload[FY_MAX_FRAME];
	fy_refuse refuse;
	refuse.code = why->code, refuse.text_bytes = (uint32_t)strlen(why->text);
	memcpy(payload, &refuse, sizeof refuse);
	memcpy(payload + sizeof refuse, why->text, refuse.text_bytes);
	(void)fy_send_frame(stream, FY_REFUSE, payload, (uint32_t)sizeof refuse + refuse.text_bytes, FY_NO_OS);
}

static int fy_receive_frame(fy_channel *channel, ferry_why *why) {
	const uint32_t head = sizeof(fy_frame);
	for (;;) {
		int in_head = channel->received < head, got;
		uint32_t want = in_head ? head : head + channel->frame.bytes;
		char *to = in_head ? (char *)&channel->frame + channel->received : channel->payload + (channel->received - head);
		if (channel->received == want) {
			channel->received = 0;
			return 1;
		}
		got = fy_platform_receive(channel->stream, to, want - channel->received, &channel->passed);
		if (got == 0) return 0;
		if (got == FERRY_ECLOSED) return fy_fail(why, FERRY_ECLOSED, "the connection ended");
		if (got < 0)
			return fy_fail(why, FERRY_ESYSTEM, "the %s (pid %u) at '%s' could not receive; has it run out of descriptors (ulimit -n)?",
				fy_side_name(channel->side), fy_platform_pid(), channel->address.text);
		channel->received += (uint32_t)got;
		if (in_head && channel->received >= 4 && channel->frame.magic != FY_FRAME_MAGIC)
			return fy_fail(why, FERRY_EPROTOCOL, "the peer (pid %u) at '%s' does not speak Ferry: its bytes begin with 0x%08x",
				channel->peer_pid, channel->address.text, channel->frame.magic);
		if (channel->received == head && channel->frame.bytes > FY_MAX_FRAME)
			return fy_fail(why, FERRY_EPROTOCOL, "the peer (pid %u) at '%s' announces a frame of %u bytes; at most %d are possible",
				channel->peer_pid, channel->address.text, channel->frame.bytes, FY_MAX_FRAME);
	}
}

static fy_os fy_take_passed(fy_channel *channel) {
	fy_os passed = channel->passed;
	channel->passed = FY_NO_OS;
	return passed;
}

static int fy_read_refusal(const fy_channel *channel, ferry_why *why) {
	fy_refuse refuse;
	uint32_t i;
	if (channel->frame.bytes < sizeof refuse)
		return fy_fail(why, FERRY_EPROTOCOL, "the peer sent a refusal of %u bytes", channel->frame.bytes);
	memcpy(&refuse, channel->payload, sizeof refuse);
	if (refuse.code >= 0 || refuse.code <= FERRY__ERR_LAST || refuse.text_bytes > channel->frame.bytes - sizeof refuse ||
		refuse.text_bytes >= sizeof why->text)
		return fy_fail(why, FERRY_EPROTOCOL, "the peer sent a refusal that makes no sense (code %d)", refuse.code);
	why->code = refuse.code;
	memcpy(why->text, channel->payload + sizeof refuse, refuse.text_bytes);
	why->text[refuse.text_bytes] = 0;
	for (i = 0; i < refuse.text_bytes; i++)
		if ((unsigned char)why->text[i] < 0x20 || why->text[i] == 0x7F) why->text[i] = '?';
	return why->code;
}

static void fy_enter(fy_channel *channel, fy_state state) {
	if (channel->door != NULL) channel->door->taken += (uint32_t)(state != FY_ALONE) - (uint32_t)(channel->state != FY_ALONE);
	channel->state = state;
	channel->state_ns = fy_platform_now_ns();
}

static void fy_disconnect(fy_channel *channel) {
	fy_gallery_close(channel);
	fy_platform_close(channel->stream);
	fy_platform_close(channel->watch);
	fy_platform_close(channel->passed);
	fy_platform_close(channel->blob);
	channel->stream = channel->watch = channel->passed = channel->blob = FY_NO_OS;
	channel->received = 0, channel->lost = 0;
	if (channel->state == FY_OPEN) channel->alone_ns = fy_platform_now_ns(), channel->told = 0;
	fy_enter(channel, FY_ALONE);
}

static void fy_channel_hang_up(fy_channel *channel) {
	if (channel->state == FY_ALONE) return;
	fy_gallery_dismiss(channel);
	if (channel->lost == FERRY_ECORRUPT || channel->lost == FERRY_EPROTOCOL) {
		fy_tell(channel, FERRY_LOG_WARNING, "%s", channel->why.text);
		fy_send_refusal(channel->stream, &channel->why);
	} else if (channel->lost == 0) (void)fy_send_frame(channel->stream, FY_GOODBYE, NULL, 0, FY_NO_OS);
	else fy_tell(channel, FERRY_LOG_INFO, "%s", channel->why.text);
	if (channel->state == FY_OPEN && channel->line != NULL) fy_store_relaxed(&channel->line->left, 1);
	fy_disconnect(channel);
}

static int fy_turn_away(fy_channel *channel, const ferry_why *why, int tell_peer) {
	if (tell_peer) fy_send_refusal(channel->stream, why);
	if (!channel->quiet) channel->visitor = *why;
	fy_disconnect(channel);
	if (channel->address.serve) {
		fy_tell(channel, channel->quiet ? FERRY_LOG_DEBUG : FERRY_LOG_WARNING, "a peer (pid %u) at '%s' was turned away: %s",
			channel->peer_pid, channel->address.text, why->text);
		return 0;
	}
	channel->why = *why;
	return why->code;
}

static int fy_send_hello(const fy_channel *channel, fy_os stream, fy_os pass) {
	fy_hello hello;
	memset(&hello, 0, sizeof hello);
	memcpy(hello.magic, FY_HELLO_MAGIC, 8);
	hello.endian = FY_ENDIAN, hello.abi_major = FY_ABI_MAJOR, hello.abi_minor = FY_ABI_MINOR;
	hello.features = FY_FEATURES_KNOWN;
	hello.side = channel->side, hello.pid = fy_platform_pid(), hello.index = channel->address.index;
	hello.max_bytes = channel->max_bytes, hello.version = FERRY_VERSION, hello.autoreset = channel->autoreset;
	hello.realtime = channel->realtime;
	return fy_send_frame(stream, FY_HELLO, &hello, sizeof hello, pass);
}

static int fy_greet(fy_channel *channel, fy_os stream) {
	ferry_why why;
	channel->stream = stream;
	channel->quiet = 0;
	channel->peer_pid = 0, channel->received = 0, channel->lost = 0, channel->unlooked = 0;
	fy_enter(channel, FY_GREETING);
	if (channel->address.place != FY_INHERITED && fy_platform_peer(stream, &channel->peer_pid, &why) < 0)
		return fy_turn_away(channel, &why, 1);
	channel->unsaid = fy_send_hello(channel, stream, channel->bell) < 0;
	return 0;
}

static int fy_hello_is_known(const fy_channel *channel, const fy_hello *hello, uint32_t bytes, uint32_t pid, ferry_why *why) {
	uint32_t theirs = hello->version;
	if (bytes < 16 || memcmp(hello->magic, FY_HELLO_MAGIC, 8) != 0)
		return fy_fail(why, FERRY_EPROTOCOL, "the peer (pid %u) at '%s' does not greet as Ferry does", pid, channel->address.text);
	if (hello->endian != FY_ENDIAN || hello->abi_major != FY_ABI_MAJOR || bytes < sizeof *hello)
		return fy_fail(why, FERRY_EVERSION,
			"the %s (pid %u) speaks Ferry's protocol %u.%u (library %u.%u.%u), the %s (pid %u) %u.%u (library %u.%u.%u); "
			"build or install both with the same version",
			hello->side == FY_OBSERVER ? "observer" : fy_peer_name(channel), pid, hello->abi_major, hello->abi_minor,
			theirs >> 16, theirs >> 8 & 255, theirs & 255, fy_side_name(channel->side), fy_platform_pid(),
			FY_ABI_MAJOR, FY_ABI_MINOR, FERRY_VERSION_MAJOR, FERRY_VERSION_MINOR, FERRY_VERSION_PATCH);
	return 0;
}

static int fy_nothing_to_observe(const fy_channel *channel, ferry_why *why) {
	return fy_fail(why, FERRY_EUNSUPPORTED,
		"at '%s' an agent listens, and only environments that listen let observers in; ferry top shows what it does",
		channel->address.text);
}

static int fy_check_hello(fy_channel *channel, fy_hello *hello, ferry_why *why) {
	uint32_t bytes = channel->frame.bytes;
	memset(hello, 0, sizeof *hello);
	memcpy(hello, channel->payload, bytes < sizeof *hello ? bytes : sizeof *hello);
	channel->quiet = hello->side == FY_OBSERVER;
	if (fy_hello_is_known(channel, hello, bytes, channel->peer_pid, why) < 0) return why->code;
	if (hello->side == FY_OBSERVER && channel->side == FY_ENV)
		return fy_fail(why, FERRY_ESTATE, "no agent plays at '%s' now, so that there is nothing to observe", channel->address.text);
	if (channel->side == FY_OBSERVER ? hello->side == FY_AGENT : hello->side == FY_OBSERVER)
		return fy_nothing_to_observe(channel, why);
	if (hello->side == (uint32_t)channel->side)
		return fy_fail(
			why, FERRY_EROLE,
			"both sides of '%s' are %ss (pids %u and %u); an environment (ServerBackend, ClientBackend, ferry_env) belongs on one side and "
			"an agent (ClientEnv, ServerEnv, ferry_agent) on the other",
			channel->address.text, fy_side_name(channel->side), channel->peer_pid, fy_platform_pid());
	if (hello->side != FY_ENV && hello->side != FY_AGENT)
		return fy_fail(why, FERRY_EPROTOCOL, "the peer (pid %u) is neither environment nor agent (%u)", channel->peer_pid, hello->side);
	return 0;
}

static int fy_on_hello(fy_channel *channel, ferry_why *why) {
	fy_hello hello;
	fy_welcome welcome;
	fy_os memory = FY_NO_OS;
	int inherited = channel->address.place == FY_INHERITED;
	if (fy_check_hello(channel, &hello, why) < 0) return why->code;
	if (inherited || channel->peer_pid == 0) channel->peer_pid = hello.pid;
	channel->peer_index = hello.index;
	channel->watch = fy_platform_watch(inherited ? FY_NO_OS : channel->stream, channel->peer_pid);
	if (channel->side == FY_ENV) {
		fy_os bell = fy_take_passed(channel);
		if (channel->handshake.offer(channel->user, &hello, bell, &memory, &welcome.bytes, why) < 0) return why->code;
		channel->unsaid |= fy_send_frame(channel->stream, FY_WELCOME, &welcome, sizeof welcome, memory) < 0;
	}
	fy_enter(channel, FY_OFFERING);
	return 0;
}

static int fy_on_welcome(fy_channel *channel, ferry_why *why) {
	fy_welcome welcome;
	fy_os memory = fy_take_passed(channel);
	if (channel->frame.bytes < sizeof welcome || memory == FY_NO_OS) {
		fy_platform_close(memory);
		return fy_fail(why, FERRY_EPROTOCOL, "the environment (pid %u) offered no region", channel->peer_pid);
	}
	memcpy(&welcome, channel->payload, sizeof welcome);
	return channel->handshake.accept(channel->user, memory, welcome.bytes, why);
}

static void fy_opened(fy_channel *channel) {
	fy_enter(channel, FY_OPEN);
	channel->looked_ns = channel->state_ns;
	fy_fail(&channel->why, 0, "%s", "");
	fy_fail(&channel->visitor, 0, "%s", "");
	fy_tell(channel, FERRY_LOG_INFO, "the %s (pid %u) is connected at '%s'", fy_peer_name(channel), channel->peer_pid,
		channel->address.text);
}

static int fy_on_frame(fy_channel *channel, ferry_why *why) {
	int type = channel->frame.type;
	if (type == FY_REFUSE) return fy_read_refusal(channel, why);
	if (type == FY_GOODBYE) return fy_fail(why, FERRY_ECLOSED, "the peer (pid %u) left during the handshake", channel->peer_pid);
	if (type == FY_HELLO && channel->state == FY_GREETING) return fy_on_hello(channel, why);
	if (type == FY_WELCOME && channel->state == FY_OFFERING && channel->side != FY_ENV) {
		if (fy_on_welcome(channel, why) < 0) return why->code;
		channel->unsaid |= fy_send_frame(channel->stream, FY_READY, NULL, 0, FY_NO_OS) < 0;
		if (!channel->unsaid) fy_opened(channel);
		return 0;
	}
	if (type == FY_READY && channel->state == FY_OFFERING && channel->side == FY_ENV) {
		channel->handshake.ready(channel->user);
		fy_opened(channel);
		return 0;
	}
	return fy_fail(why, FERRY_EPROTOCOL, "the peer (pid %u) sent a frame of type %d that has no place in this handshake",
		channel->peer_pid, type);
}

static int fy_shake_hands(fy_channel *channel) {
	ferry_why why;
	int got = fy_receive_frame(channel, &why), refused, spoken = channel->state == FY_OFFERING;
	if (got == 0 && !channel->unsaid) {
		if (!channel->address.serve || fy_platform_now_ns() - channel->state_ns < FY_HANDSHAKE_NS) return 0;
		fy_fail(&why, FERRY_EPROTOCOL, "it said nothing for %d s in the handshake", (int)(FY_HANDSHAKE_NS / 1000000000));
	} else if (got > 0) {
		if (fy_on_frame(channel, &why) == 0) return 1;
	} else if (got == 0 || why.code == FERRY_ECLOSED) {
		fy_disconnect(channel);
		if (channel->address.place != FY_INHERITED) return 1;
		return fy_fail(&channel->why, FERRY_ECLOSED, "the process at the other end of '%s' has gone %s", channel->address.text,
			spoken ? "in the handshake" : "without speaking Ferry");
	}
	refused = got > 0 && (channel->frame.type == FY_REFUSE || channel->frame.type == FY_GOODBYE);
	got = fy_turn_away(channel, &why, !refused);
	return got < 0 ? got : 1;
}

static fy_os fy_door_handle(const fy_channel *channel) {
	return channel->door != NULL ? channel->door->listener.os : FY_NO_OS;
}

static int fy_find_peer(fy_channel *channel) {
	fy_os stream = FY_NO_OS;
	int64_t now = fy_platform_now_ns();
	int got;
	if (channel->door != NULL) got = fy_platform_accept(&channel->door->listener, &stream, &channel->why);
	else {
		if (channel->used_up) return fy_fail(&channel->why, FERRY_ECLOSED, "the connection of '%s' has ended", channel->address.text);
		if (now - channel->tried_ns < FY_RETRY_NS) return 0;
		channel->tried_ns = now;
		got = fy_address_connect(&channel->address, &stream, &channel->why);
		channel->used_up = channel->address.place == FY_INHERITED;
	}
	if (got <= 0) return got;
	got = fy_greet(channel, stream);
	return got < 0 ? got : 1;
}

static void fy_describe(const fy_channel *channel, ferry_why *why) {
	int64_t now = fy_platform_now_ns();
	double seconds = (double)(now - channel->alone_ns) * 1e-9, state_seconds = (double)(now - channel->state_ns) * 1e-9;
	const char *peer = fy_peer_name(channel), *text = channel->address.text;
	if (channel->state != FY_ALONE && channel->peer_pid == 0)
		fy_fail(why, 0, "the process at the other end of '%s' has not spoken for %.1f s: it may be busy in its own code, or stopped",
			text, state_seconds);
	else if (channel->state != FY_ALONE)
		fy_fail(why, 0,
			"the peer (pid %u) at '%s' has not gone on with the handshake for %.1f s: it may be busy in its own code, or stopped",
			channel->peer_pid, text, state_seconds);
	else if (channel->address.serve)
		fy_fail(why, 0,
			"no %s has connected to '%s' for %.1f s; start one: a game or an agent with FERRY_ADDRESS=connect:%s, in Python %s",
			peer, text, seconds, text, channel->side == FY_AGENT ? "a ClientBackend" : "a ClientEnv");
	else {
		fy_fail(why, 0, "no %s has served '%s' for %.1f s; start one there, or correct the address", peer, text, seconds);
		fy_address_advise(&channel->address, why);
	}
	if (channel->visitor.code != 0) fy_also(why, "; the last one that came was turned away: %s", channel->visitor.text);
}

static int fy_channel_explains(const fy_channel *channel, ferry_why *why) {
	if (!fy_channel_is_mine(channel)) fy_fail(why, FERRY_EFORKED, "%s; open one after the fork", ferry_strerror(FERRY_EFORKED));
	else if (channel->why.code != 0) *why = channel->why;
	else if (channel->state != FY_OPEN) fy_describe(channel, why);
	else return 0;
	return 1;
}

static void fy_tell_what_for(fy_channel *channel, int64_t now) {
	ferry_why why;
	if (channel->told || now - channel->alone_ns < FY_TELL_NS || (channel->side == FY_ENV && channel->address.serve)) return;
	channel->told = 1;
	fy_describe(channel, &why);
	fy_tell(channel, FERRY_LOG_WARNING, "waiting: %s", why.text);
}

static int fy_channel_meet(fy_channel *channel, int64_t timeout_ns) {
	const int64_t deadline = fy_deadline(timeout_ns, fy_platform_now_ns());
	int64_t now;
	fy_os handles[2];
	int got, visitors = 0;
	channel->why.code = 0;
	for (;;) {
		while (channel->state != FY_OPEN && visitors < FY_VISITORS) {
			got = channel->state == FY_ALONE ? fy_find_peer(channel) : fy_shake_hands(channel);
			if (got < 0) return got;
			if (got == 0) break;
			visitors += channel->state == FY_ALONE;
		}
		if (channel->state == FY_OPEN) return 1;
		visitors = 0;
		now = fy_platform_now_ns();
		fy_tell_what_for(channel, now);
		if (now >= deadline) return 0;
		handles[0] = channel->state == FY_ALONE ? fy_door_handle(channel) : FY_NO_OS;
		handles[1] = channel->stream;
		fy_platform_poll(handles, 2, fy_least(FY_RETRY_NS, deadline - now));
	}
}

static void fy_say_busy(const fy_channel *channel, uint32_t pid, fy_os stream) {
	ferry_why why;
	fy_fail(&why, FERRY_EBUSY, "'%s' is held by the %s with pid %u; end that one, or wait until it has closed", channel->address.text,
		fy_peer_name(channel), channel->peer_pid);
	fy_send_refusal(stream, &why);
	fy_tell(channel, FERRY_LOG_INFO, "a second peer (pid %u) at '%s' was told: %s", pid, channel->address.text, why.text);
}

static void fy_answer_the_door(fy_channel *channel, int64_t now) {
	fy_os visitor;
	ferry_why why;
	uint32_t pid;
	int i;
	fy_fail(&why, 0, "%s", "");
	if (channel->door->taken < channel->door->places) return;
	for (i = 0; i < FY_VISITORS && channel->gallery.taken < FY_SEATS; i++) {
		if (fy_platform_accept(&channel->door->listener, &visitor, &why) <= 0) return;
		if (fy_platform_peer(visitor, &pid, &why) == 0) {
			fy_gallery_seat(&channel->gallery, visitor, pid, now);
			continue;
		}
		fy_send_refusal(visitor, &why);
		fy_platform_close(visitor);
	}
}

static int fy_hear_peer(fy_channel *channel) {
	ferry_why why;
	fy_welcome blob;
	int got;
	while ((got = fy_receive_frame(channel, &why)) > 0) {
		switch (channel->frame.type) {
		case FY_GOODBYE:
			return fy_channel_lose(channel, FERRY_ECLOSED, "the %s (pid %u) at '%s' said goodbye", fy_peer_name(channel),
				channel->peer_pid, channel->address.text);
		case FY_REFUSE: (void)fy_read_refusal(channel, &why); return fy_channel_lose(channel, why.code, "%s", why.text);
		case FY_BLOB:
			if (channel->frame.bytes < sizeof blob || channel->blob != FY_NO_OS || channel->passed == FY_NO_OS) break;
			memcpy(&blob, channel->payload, sizeof blob);
			channel->blob = fy_take_passed(channel), channel->blob_bytes = blob.bytes;
			continue;
		default: break;
		}
		return fy_channel_lose(channel, FERRY_EPROTOCOL, "the %s (pid %u) sent a frame of type %d that has no place here",
			fy_peer_name(channel), channel->peer_pid, channel->frame.type);
	}
	if (got == 0) return 0;
	if (why.code != FERRY_ECLOSED) return fy_channel_lose(channel, why.code, "%s", why.text);
	return fy_channel_lose(channel, FERRY_EPEERDEAD, "the %s (pid %u) at '%s' is gone: its connection ended without a goodbye",
		fy_peer_name(channel), channel->peer_pid, channel->address.text);
}

static int fy_look_around(fy_channel *channel, int64_t now) {
	fy_os handles[3];
	uint32_t ready;
	channel->looked_ns = now, channel->unlooked = 0;
	if (channel->lost != 0) return channel->lost;
	handles[0] = channel->stream, handles[1] = channel->watch, handles[2] = fy_door_handle(channel);
	ready = fy_platform_poll(handles, 3, 0);
	if (ready == 0 && channel->gallery.taken == 0) return 0;
	if ((ready & 3) != 0 && fy_hear_peer(channel) < 0) return channel->lost;
	if ((ready & 2) != 0)
		return fy_channel_lose(channel, FERRY_EPEERDEAD, "the %s (pid %u) at '%s' is gone: its process has ended",
			fy_peer_name(channel), channel->peer_pid, channel->address.text);
	if ((ready & 4) != 0) fy_answer_the_door(channel, now);
	if (channel->gallery.taken > 0) fy_gallery_look(channel, now);
	if (channel->gallery.observers > 0) channel->handshake.refresh(channel->user, now);
	return 0;
}

static int fy_channel_look(fy_channel *channel, int64_t now_ns, int slept) {
	if (channel->lost != 0) return channel->lost;
	return slept || now_ns - channel->looked_ns >= FY_LOOK_NS ? fy_look_around(channel, now_ns) : 0;
}

static void fy_channel_begin(fy_channel *channel, uint32_t seq_start) {
	channel->attended = seq_start, channel->attend = seq_start + 1;
	channel->attended_ns = fy_platform_now_ns();
	channel->taken_ns = 0;
}

static int64_t fy_attend(fy_channel *channel) {
	uint32_t seq = channel->attend, turns = seq - channel->attended;
	int64_t now = fy_platform_now_ns();
	int slow = now - channel->attended_ns >= (int64_t)turns * FY_SLOW_TURN_NS;
	channel->unlooked += turns;
	channel->attended = seq, channel->attended_ns = now;
	channel->attend = slow ? seq + 1 : (seq | (FY_TIMED_TURNS - 1)) + 1;
	return now;
}

static void fy_channel_sample(fy_channel *channel, uint64_t number, int64_t first_ns, int64_t second_ns, int64_t third_ns) {
	fy_line *line = channel->line;
	uint64_t times[3];
	times[0] = (uint64_t)first_ns, times[1] = (uint64_t)second_ns, times[2] = (uint64_t)third_ns;
	fy_store_relaxed(&line->sample_begun, (uint32_t)number);
	fy_fence_release();
	fy_copy_words_out(line->sample_ns, times, sizeof times);
	fy_store_release(&line->sample_done, (uint32_t)number);
}

static fy_waiter fy_waiter_of(fy_channel *channel, uint32_t next) {
	fy_waiter waiter;
	waiter.policy = channel->policy, waiter.line = channel->line, waiter.memory = channel->memory, waiter.peer = channel->peer_line,
	waiter.crowded = &channel->crowded, waiter.manners = &channel->manners, waiter.idle = fy_channel_look, waiter.channel = channel,
	waiter.next = next, waiter.turn = NULL;
	return waiter;
}

static int fy_channel_await_lane(fy_channel *channel, const uint32_t *word, uint32_t previous, const fy_slot *slot, uint32_t next,
	int64_t timeout_ns) {
	fy_waiter waiter = fy_waiter_of(channel, next);
	waiter.turn = &slot->seq;
	return fy_wait(&waiter, word, previous, timeout_ns);
}

static int fy_channel_await(fy_channel *channel, const fy_slot *slot, uint32_t previous, uint32_t next, int64_t timeout_ns) {
	int state = fy_slot_state(slot, previous, next);
	if (state == 0) {
		fy_waiter waiter = fy_waiter_of(channel, next);
		state = fy_wait(&waiter, &slot->seq, previous, timeout_ns);
		if (state <= 0) return state;
		state = fy_slot_state(slot, previous, next);
	}
	if (state < 0) return fy_channel_damaged(channel, "a sequence word is neither the last nor the next one");
	channel->taken_ns = next == channel->attend ? fy_attend(channel) : 0;
	if (channel->unlooked >= FY_LOOK_TURNS) (void)fy_look_around(channel, fy_platform_now_ns());
	return 1;
}

static int fy_channel_take_blob(fy_channel *channel, uint64_t bytes, fy_os *out) {
	ferry_why why;
	*out = FY_NO_OS;
	if (channel->blob == FY_NO_OS && fy_hear_peer(channel) < 0 && channel->blob == FY_NO_OS) return channel->lost;
	if (channel->blob == FY_NO_OS || channel->blob_bytes != bytes)
		return fy_channel_lose(channel, FERRY_EPROTOCOL, "the %s (pid %u) announced a large blob and did not send it",
			fy_peer_name(channel), channel->peer_pid);
	*out = channel->blob;
	channel->blob = FY_NO_OS;
	if (bytes > FERRY_MAX_BLOB)
		fy_fail(&why, FERRY_EPROTOCOL, "its blob of %llu bytes is larger than any may be", (unsigned long long)bytes);
	else if (fy_platform_memory_check(*out, bytes, 1, &why) == 0) return 0;
	fy_platform_close(*out);
	*out = FY_NO_OS;
	return fy_channel_lose(channel, FERRY_EPROTOCOL, "the %s (pid %u): %s", fy_peer_name(channel), channel->peer_pid, why.text);
}

static int fy_open_door(fy_channel *channel, const fy_channel *beside, ferry_why *why) {
	fy_door *door;
	if (beside != NULL) {
		if (beside->door == NULL) return fy_fail(why, FERRY_EINVAL, "the agent beside which this one is to listen does not listen");
		if (!fy_channel_is_mine(beside)) return fy_fail(why, FERRY_EFORKED, "%s", ferry_strerror(FERRY_EFORKED));
		channel->door = beside->door;
		channel->door->places++;
		return 0;
	}
	door = (fy_door *)calloc(1, sizeof *door);
	if (door == NULL) return fy_no_memory(why);
	if (fy_address_listen(&channel->address, &door->listener, why) < 0) {
		free(door);
		return why->code;
	}
	door->places = 1;
	channel->door = door;
	return 0;
}

static void fy_close_door(fy_channel *channel, int mine) {
	fy_door *door = channel->door;
	channel->door = NULL;
	if (door == NULL || --door->places > 0) return;
	fy_platform_unlisten(&door->listener, mine);
	free(door);
}

static int fy_channel_open(fy_channel *channel, fy_side side, const char *text, const fy_channel *beside, ferry_why *why) {
	char set[1024];
	int serve = side == FY_ENV;
	channel->side = side;
	channel->stream = channel->watch = channel->passed = channel->blob = channel->bell = FY_NO_OS;
	channel->canary = NULL, channel->door = NULL;
	if ((side == FY_ENV || text == NULL) && fy_platform_variable("FERRY_ADDRESS", set, sizeof set)) text = set;
	if (fy_address_parse(text, serve, &channel->address, why) < 0 || fy_policy_from_environment(&channel->policy, why) < 0 ||
		fy_platform_canary_create(&channel->canary, why) < 0)
		return why->code;
	if (side == FY_OBSERVER && (channel->address.serve || channel->address.place == FY_INHERITED)) {
		fy_platform_canary_destroy(channel->canary);
		return fy_fail(why, FERRY_EINVAL, "an observer looks at a name or a path that somebody else serves, not at '%s'", text);
	}
	channel->manners.looks = channel->policy != FY_BLOCK ? FY_SPIN_LOOKS : 0;
	if (beside != NULL && !channel->address.serve) fy_fail(why, FERRY_EINVAL, "an agent beside another serves, as serve:NAME");
	else if (!channel->address.serve || fy_open_door(channel, beside, why) == 0) {
		fy_enter(channel, FY_ALONE);
		channel->alone_ns = channel->state_ns;
		channel->tried_ns = channel->state_ns - FY_RETRY_NS;
		return 0;
	}
	fy_platform_canary_destroy(channel->canary);
	return why->code;
}

static void fy_channel_close(fy_channel *channel) {
	int mine = fy_channel_is_mine(channel);
	if (mine) fy_channel_hang_up(channel);
	else fy_disconnect(channel);
	fy_close_door(channel, mine);
	fy_platform_canary_destroy(channel->canary);
}

/* ---- gallery.c ---- */

#define FY_GREETING_NS 100000000

void fy_gallery_seat(fy_gallery *gallery, fy_os stream, uint32_t pid, int64_t now_ns) {
	fy_seat *seat = gallery->seats;
	while (seat->taken) seat++;
	memset(seat, 0, sizeof *seat);
	seat->taken = 1, seat->stream = stream, seat->pid = pid, seat->since_ns = now_ns;
	gallery->taken++;
}

static void fy_gallery_let_go(fy_channel *channel, fy_seat *seat) {
	fy_gallery *gallery = &channel->gallery;
	int observed = seat->observes;
	fy_platform_close(seat->stream);
	memset(seat, 0, sizeof *seat);
	gallery->taken--;
	if (observed && --gallery->observers == 0) channel->handshake.unwatch(channel->user);
}

static int fy_gallery_admit(fy_channel *channel, fy_seat *seat, ferry_why *why) {
	fy_gallery *gallery = &channel->gallery;
	fy_welcome welcome;
	fy_os memory;
	if (channel->handshake.watch == NULL) return fy_nothing_to_observe(channel, why);
	if (gallery->observers == FY_MAX_OBSERVERS)
		return fy_fail(why, FERRY_EBUSY, "%d observers look at '%s' already, and there is no room for more; end one of them",
			FY_MAX_OBSERVERS, channel->address.text);
	if (channel->handshake.watch(channel->user, &memory, &welcome.bytes, why) < 0) return why->code;
	seat->observes = 1;
	gallery->observers++;
	if (fy_send_hello(channel, seat->stream, FY_NO_OS) == 0 &&
		fy_send_frame(seat->stream, FY_WELCOME, &welcome, sizeof welcome, memory) == 0)
		return 0;
	return fy_fail(why, FERRY_ESYSTEM, "the memory that observers of '%s' see could not be handed over; look again",
		channel->address.text);
}

static void fy_gallery_answer(fy_channel *channel, fy_seat *seat, int heard) {
	fy_frame frame;
	fy_hello hello;
	ferry_why why;
	memcpy(&frame, seat->greeting, sizeof frame);
	memcpy(&hello, seat->greeting + sizeof frame, sizeof hello);
	fy_fail(&why, 0, "%s", "");
	heard = heard && frame.magic == FY_FRAME_MAGIC && frame.type == FY_HELLO && frame.bytes >= sizeof hello;
	if (heard && fy_hello_is_known(channel, &hello, frame.bytes, seat->pid, &why) == 0 && hello.side == FY_OBSERVER &&
		fy_gallery_admit(channel, seat, &why) == 0)
		return;
	if (heard && hello.side == FY_OBSERVER) fy_send_refusal(seat->stream, &why);
	else fy_say_busy(channel, seat->pid, seat->stream);
	fy_gallery_let_go(channel, seat);
}

static void fy_gallery_drain(fy_channel *channel, fy_seat *seat) {
	enum { READS = 4 };
	char ignored[256];
	int i, got = 1;
	for (i = 0; i < READS && got > 0; i++) {
		fy_os passed = FY_NO_OS;
		got = fy_platform_receive(seat->stream, ignored, sizeof ignored, &passed);
		fy_platform_close(passed);
	}
	if (got < 0) fy_gallery_let_go(channel, seat);
}

static void fy_gallery_hear(fy_channel *channel, fy_seat *seat, int64_t now_ns) {
	uint32_t left = (uint32_t)sizeof seat->greeting - seat->received;
	fy_os passed = FY_NO_OS;
	int got = fy_platform_receive(seat->stream, seat->greeting + seat->received, left, &passed);
	fy_platform_close(passed);
	if (got > 0) seat->received += (uint32_t)got;
	if (seat->received == sizeof seat->greeting) fy_gallery_answer(channel, seat, 1);
	else if (got < 0 || now_ns - seat->since_ns >= FY_GREETING_NS) fy_gallery_answer(channel, seat, 0);
}

static void fy_gallery_drain_all(fy_channel *channel) {
	fy_os handles[FY_MAX_OBSERVERS];
	fy_seat *seats[FY_MAX_OBSERVERS];
	uint32_t ready, count = 0, i;
	for (i = 0; i < FY_SEATS; i++) {
		fy_seat *seat = &channel->gallery.seats[i];
		if (seat->observes) seats[count] = seat, handles[count++] = seat->stream;
	}
	ready = fy_platform_poll(handles, count, 0);
	for (i = 0; i < count; i++)
		if ((ready >> i & 1) != 0) fy_gallery_drain(channel, seats[i]);
}

void fy_gallery_look(fy_channel *channel, int64_t now_ns) {
	fy_gallery *gallery = &channel->gallery;
	int i;
	if (gallery->observers > 0) fy_gallery_drain_all(channel);
	for (i = 0; i < FY_SEATS && gallery->taken > gallery->observers; i++)
		if (gallery->seats[i].taken && !gallery->seats[i].observes) fy_gallery_hear(channel, &gallery->seats[i], now_ns);
}

void fy_gallery_dismiss(fy_channel *channel) {
	ferry_why why;
	int i;
	if (channel->gallery.taken == 0) return;
	fy_fail(&why, FERRY_ECLOSED, "what was observed at '%s' is over: the agent or the environment has left", channel->address.text);
	for (i = 0; i < FY_SEATS; i++) {
		const fy_seat *seat = &channel->gallery.seats[i];
		if (seat->taken && seat->observes) fy_send_refusal(seat->stream, &why);
	}
	fy_gallery_close(channel);
}

void fy_gallery_close(fy_channel *channel) {
	int i;
	for (i = 0; i < FY_SEATS; i++)
		if (channel->gallery.seats[i].taken) fy_gallery_let_go(channel, &channel->gallery.seats[i]);
}

/* ---- blob.c ---- */

typedef struct fy_inbox {
	char *copy;
	uint64_t at, room;
	void *mapped;
	uint64_t mapped_bytes;
	int used;
} fy_inbox;

typedef struct fy_first_blob {
	char *data;
	uint64_t bytes;
} fy_first_blob;

typedef struct fy_outbox {
	uint64_t at, room;
	fy_os memory;
	uint64_t bytes;
	uint32_t format;
	int used;
} fy_outbox;

static inline int fy_outbox_is_idle(const fy_outbox *outbox, const ferry_blob *blob) {
	return blob->format == FERRY_NONE && !outbox->used;
}

static void fy_first_blob_clear(fy_first_blob *first) {
	free(first->data);
	memset(first, 0, sizeof *first);
}

static void fy_outbox_clear(fy_outbox *outbox) {
	if (outbox->memory != FY_NO_OS) fy_platform_close(outbox->memory);
	outbox->memory = FY_NO_OS;
}

static int fy_inbox_open(fy_inbox *inbox, uint64_t at, uint64_t room, ferry_why *why) {
	memset(inbox, 0, sizeof *inbox);
	inbox->copy = (char *)malloc((size_t)room + 1);
	if (inbox->copy == NULL) return fy_no_memory(why);
	inbox->at = at, inbox->room = room;
	return 0;
}

static void fy_inbox_unmap(fy_inbox *inbox) {
	if (inbox->mapped != NULL) fy_platform_memory_unmap(inbox->mapped, inbox->mapped_bytes);
	inbox->mapped = NULL;
}

static int fy_damaged_blob(fy_channel *channel, const fy_slot *head) {
	return fy_channel_damaged(channel, "a blob has format %d, place %d, %llu bytes", head->blob_format, head->blob_where,
		(unsigned long long)head->blob_bytes);
}

static int fy_blobs_part(ferry_blob *out, ferry_blob *first) {
	fy_joined joined;
	const char *data = (const char *)out->data;
	uint64_t left = out->size_bytes;
	if (left < sizeof joined) return -1;
	memcpy(&joined, data, sizeof joined);
	left -= sizeof joined;
	if (joined.first_format > FERRY_VALUES || joined.second_format > FERRY_VALUES || joined.first_bytes > left) return -1;
	first->data = data + sizeof joined, first->size_bytes = joined.first_bytes, first->format = joined.first_format;
	out->data = data + sizeof joined + joined.first_bytes, out->size_bytes = left - joined.first_bytes, out->format = joined.second_format;
	return 0;
}

static int fy_inbox_take(fy_inbox *inbox, fy_channel *channel, const fy_slot *head, const fy_slot *slot, ferry_blob *out,
	ferry_blob *first) {
	fy_os memory;
	ferry_why why;
	int err;
	if (inbox->mapped != NULL) fy_inbox_unmap(inbox);
	memset(out, 0, sizeof *out);
	if (first != NULL) memset(first, 0, sizeof *first);
	inbox->used = head->blob_format != FERRY_NONE;
	if (!inbox->used) return 0;
	if (head->blob_format > (first != NULL ? FY_JOINED : FERRY_VALUES) || head->blob_where > FY_WHERE_DESCRIPTOR ||
		(head->blob_where == FY_WHERE_SLOT && head->blob_bytes > inbox->room))
		return fy_damaged_blob(channel, head);
	out->format = head->blob_format, out->size_bytes = head->blob_bytes, out->data = inbox->copy;
	if (head->blob_where == FY_WHERE_SLOT) {
		fy_copy_in(inbox->copy, (const char *)slot + inbox->at, (size_t)head->blob_bytes);
		return out->format != FY_JOINED || fy_blobs_part(out, first) == 0 ? 0 : fy_damaged_blob(channel, head);
	}
	err = fy_channel_take_blob(channel, head->blob_bytes, &memory);
	if (err < 0) return err;
	if (head->blob_bytes > 0) err = fy_platform_memory_map(memory, head->blob_bytes, 0, &inbox->mapped, &why);
	fy_platform_close(memory);
	if (err < 0) return fy_channel_lose(channel, why.code, "%s", why.text);
	inbox->mapped_bytes = head->blob_bytes;
	if (inbox->mapped != NULL) out->data = inbox->mapped;
	return out->format != FY_JOINED || fy_blobs_part(out, first) == 0 ? 0 : fy_damaged_blob(channel, head);
}

static void fy_inbox_close(fy_inbox *inbox) {
	fy_inbox_unmap(inbox);
	free(inbox->copy);
	inbox->copy = NULL;
}

static int fy_outbox_write(fy_outbox *outbox, const ferry_blob *blob, fy_slot *slot, ferry_why *why) {
	fy_outbox_clear(outbox);
	outbox->used = blob->format != FERRY_NONE;
	outbox->format = blob->format;
	slot->blob_format = FERRY_NONE, slot->blob_where = FY_WHERE_SLOT, slot->blob_bytes = 0;
	if (blob->format == FERRY_NONE) return 0;
	if (blob->size_bytes > FERRY_MAX_BLOB)
		return fy_fail(why, FERRY_ETOOBIG,
			"a blob of %llu bytes: at most %llu can travel with a turn; send less, or write it to a file",
			(unsigned long long)blob->size_bytes, (unsigned long long)FERRY_MAX_BLOB);
	if (blob->size_bytes > outbox->room) {
		if (fy_region_allowed(blob->size_bytes, FERRY_MAX_BLOB, why) < 0 ||
			fy_platform_memory_freeze(blob->data, blob->size_bytes, &outbox->memory, why) < 0)
			return why->code;
		slot->blob_where = FY_WHERE_DESCRIPTOR;
	} else if (blob->size_bytes > 0) memcpy((char *)slot + outbox->at, blob->data, (size_t)blob->size_bytes);
	slot->blob_format = (uint8_t)blob->format, slot->blob_bytes = outbox->bytes = blob->size_bytes;
	return 0;
}

static int fy_outbox_put(fy_outbox *outbox, const ferry_blob *blob, fy_slot *slot, ferry_why *why) {
	if (blob->format > FERRY_VALUES || (blob->format != FERRY_NONE && blob->data == NULL && blob->size_bytes > 0))
		return fy_fail(why, FERRY_EINVAL, "a blob needs data and one of the formats JSON, MSGPACK, TEXT, VALUES (format is %u)",
			blob->format);
	return fy_outbox_write(outbox, blob, slot, why);
}

static int fy_first_blob_grow(fy_first_blob *first, uint64_t bytes, ferry_why *why) {
	uint64_t need = sizeof(fy_joined) + bytes;
	char *grown = (uint64_t)(size_t)need == need ? (char *)realloc(first->data, (size_t)need) : NULL;
	if (grown == NULL) return fy_no_memory(why);
	first->data = grown;
	return 0;
}

static int fy_outbox_keep(fy_outbox *outbox, const fy_slot *slot, fy_first_blob *first, ferry_why *why) {
	fy_joined joined;
	void *mapped = NULL;
	fy_first_blob_clear(first);
	if (!outbox->used) return 0;
	memset(&joined, 0, sizeof joined);
	joined.first_format = outbox->format, joined.first_bytes = outbox->bytes;
	if (fy_first_blob_grow(first, outbox->bytes, why) < 0) return why->code;
	memcpy(first->data, &joined, sizeof joined);
	if (outbox->memory != FY_NO_OS) {
		if (fy_platform_memory_map(outbox->memory, outbox->bytes, 0, &mapped, why) < 0) return why->code;
		memcpy(first->data + sizeof joined, mapped, (size_t)outbox->bytes);
		fy_platform_memory_unmap(mapped, outbox->bytes);
	} else memcpy(first->data + sizeof joined, (const char *)slot + outbox->at, (size_t)outbox->bytes);
	first->bytes = sizeof joined + outbox->bytes;
	fy_outbox_clear(outbox);
	outbox->used = 0;
	return 0;
}

static int fy_outbox_put_joined(fy_outbox *outbox, fy_first_blob *first, const ferry_blob *blob, fy_slot *slot, ferry_why *why) {
	fy_joined joined;
	ferry_blob both;
	uint64_t second_bytes = blob->format != FERRY_NONE ? blob->size_bytes : 0;
	if (second_bytes > FERRY_MAX_BLOB) return fy_outbox_put(outbox, blob, slot, why);
	memcpy(&joined, first->data, sizeof joined);
	if (fy_first_blob_grow(first, joined.first_bytes + second_bytes, why) < 0) return why->code;
	joined.second_format = blob->format;
	memcpy(first->data, &joined, sizeof joined);
	if (second_bytes > 0) memcpy(first->data + first->bytes, blob->data, (size_t)second_bytes);
	memset(&both, 0, sizeof both);
	both.data = first->data, both.size_bytes = first->bytes + second_bytes, both.format = FY_JOINED;
	return fy_outbox_write(outbox, &both, slot, why);
}

static void fy_outbox_send(fy_outbox *outbox, fy_channel *channel) {
	fy_welcome blob;
	blob.bytes = outbox->bytes;
	(void)fy_send_frame(channel->stream, FY_BLOB, &blob, sizeof blob, outbox->memory);
	channel->line->big_blobs++;
	fy_outbox_clear(outbox);
}

/* ---- ring.c ---- */

#define FY_RING_PERIOD_NS 33333333

typedef struct fy_ring {
	fy_region *region;
	const fy_spec *spec;
	fy_ring_head head;
	uint32_t latest, seq[FY_RING_SLOTS];
	double *returns;
	uint64_t *episode;
	uint8_t *over;
	uint64_t finished;
	double finished_return;
	int64_t copied_ns;
	int behind;
} fy_ring;

static inline void fy_ring_add(fy_ring *ring, double reward) {
	ring->returns[0] += reward;
	ring->behind = 1;
}

typedef struct fy_ring_reader {
	const char *base;
	uint64_t bytes;
	fy_ring_head head;
	fy_spec spec;
	uint32_t seen;
	char *copy;
	const fy_ring_slot *said;
	const double *returns;
	const fy_slot *request, *answer;
} fy_ring_reader;

#include <math.h>

#define FY_RING_ALIGN 8

#define FY_RING_TRIES 16

static fy_ring_slot *fy_ring_slot_at(char *base, const fy_ring_head *head, uint32_t which) {
	return (fy_ring_slot *)(void *)(base + head->slots_offset + head->slot_bytes * (which % FY_RING_SLOTS));
}

static fy_ring_head *fy_ring_head_at(char *base) { return (fy_ring_head *)(void *)base; }

typedef void fy_copier(void *to, const void *from, size_t bytes);

static void fy_ring_copy(const fy_spec *spec, const fy_ring_head *head, fy_copier *copy, char *to, const void *returns,
	const void *request, const char *answer, const fy_slot *told) {
	const fy_header *header = &spec->header;
	char *env = to + head->env_at;
	copy(to + head->returns_at, returns, sizeof(double) * spec->group.num_rows);
	copy(to + head->agent_at, request, (size_t)head->agent_bytes);
	copy(env, answer, (size_t)fy_round_up(spec->fields_end[FY_ENV - 1], FY_RING_ALIGN));
	if (told->blob_format == FERRY_NONE || told->blob_where != FY_WHERE_SLOT) return;
	copy(env + header->env_blob, answer + header->env_blob,
		(size_t)fy_round_up(told->blob_bytes < header->blob_bytes ? told->blob_bytes : header->blob_bytes, FY_RING_ALIGN));
}

static void fy_ring_lay_out(const fy_spec *spec, fy_ring_head *head) {
	const fy_header *header = &spec->header;
	memset(head, 0, sizeof *head);
	memcpy(head->magic, FY_RING_MAGIC, 8);
	head->spec_offset = FY_PAGE, head->spec_bytes = spec->parts_begin;
	head->slots_offset = head->spec_offset + fy_round_up(head->spec_bytes, FY_PAGE);
	head->returns_at = sizeof(fy_ring_slot);
	head->agent_at = fy_round_up(head->returns_at + sizeof(double) * spec->group.num_rows, FY_CACHE_LINE);
	head->agent_bytes = fy_round_up(spec->fields_end[FY_AGENT - 1], FY_RING_ALIGN);
	head->env_at = fy_round_up(head->agent_at + head->agent_bytes, FY_CACHE_LINE);
	head->env_bytes = header->env_blob + header->blob_bytes;
	head->slot_bytes = fy_round_up(head->env_at + head->env_bytes, FY_CACHE_LINE);
	head->bytes = fy_round_up(head->slots_offset + FY_RING_SLOTS * head->slot_bytes, FY_PAGE);
	head->latest = FY_SEQ_START;
}

static void fy_ring_close(fy_ring *ring) {
	if (ring == NULL) return;
	fy_region_release(ring->region);
	free(ring->returns);
	free(ring->episode);
	free(ring->over);
	free(ring);
}

static int fy_ring_open(const fy_spec *spec, const char *start, const uint64_t *episode, uint64_t max_bytes, fy_ring **out,
	ferry_why *why) {
	fy_ring *ring = (fy_ring *)calloc(1, sizeof *ring);
	size_t rows = spec->group.num_rows, i;
	char *base;
	*out = NULL;
	if (ring == NULL) return fy_no_memory(why);
	ring->spec = spec;
	fy_ring_lay_out(spec, &ring->head);
	ring->returns = (double *)malloc(rows * sizeof *ring->returns);
	ring->episode = (uint64_t *)calloc(rows, sizeof *ring->episode);
	ring->over = (uint8_t *)calloc(rows, 1);
	if (ring->returns == NULL || ring->episode == NULL || ring->over == NULL) {
		fy_no_memory(why);
		goto fail;
	}
	if (fy_region_create(ring->head.bytes, max_bytes, &ring->region, why) < 0) goto fail;
	base = ring->region->base;
	memcpy(base, &ring->head, sizeof ring->head);
	memcpy(base + ring->head.spec_offset, start, (size_t)ring->head.spec_bytes);
	ring->latest = FY_SEQ_START;
	for (i = 0; i < FY_RING_SLOTS; i++) {
		ring->seq[i] = FY_SEQ_START;
		fy_store_relaxed(&fy_ring_slot_at(base, &ring->head, (uint32_t)i)->seq, FY_SEQ_START);
	}
	for (i = 0; i < rows; i++) ring->returns[i] = NAN, ring->episode[i] = episode[i];
	fy_platform_memory_seal(ring->region->memory);
	*out = ring;
	return 0;
fail:
	fy_ring_close(ring);
	return why->code;
}

static void fy_ring_note(fy_ring *ring, const fy_slot *answer) {
	const fy_group *group = &ring->spec->group;
	const char *slot = (const char *)answer;
	const double *reward = (const double *)(const void *)(slot + group->reward_offset);
	const uint64_t *episode = (const uint64_t *)(const void *)(slot + group->episode_offset);
	const uint8_t *terminated = (const uint8_t *)slot + group->terminated_offset;
	const uint8_t *truncated = (const uint8_t *)slot + group->truncated_offset;
	int same_step = (group->flags & FY_AUTORESET_MASK) == FERRY_AUTORESET_SAME_STEP;
	uint32_t row;
	ring->behind = 1;
	for (row = 0; row < group->num_rows; row++) {
		int begun = episode[row] != ring->episode[row];
		if (answer->kind == FERRY_STEP && (!begun || same_step)) {
			int over = (terminated[row] | truncated[row]) != 0;
			ring->returns[row] += reward[row];
			if (over && !ring->over[row] && !isnan(ring->returns[row])) {
				ring->finished++;
				ring->finished_return += ring->returns[row];
			}
			ring->over[row] |= (uint8_t)over;
		}
		if (begun) ring->returns[row] = 0, ring->over[row] = 0, ring->episode[row] = episode[row];
	}
}

static void fy_ring_write(fy_ring *ring, const char *request, const fy_slot *answer, int64_t now_ns) {
	uint32_t next = ring->latest + 1, *seq = &ring->seq[next % FY_RING_SLOTS];
	fy_ring_slot *slot = fy_ring_slot_at(ring->region->base, &ring->head, next), said;
	fy_slot told;
	fy_copy_in(&told, answer, sizeof told);
	memset(&said, 0, sizeof said);
	said.number = told.number, said.stamp_ns = (uint64_t)now_ns;
	said.count = next;
	said.finished = ring->finished, said.finished_return = ring->finished_return;
	fy_store_relaxed(&slot->seq, *seq + 1);
	fy_fence_release();
	fy_copy_words_out(&slot->number, &said.number, sizeof said - offsetof(fy_ring_slot, number));
	fy_ring_copy(ring->spec, &ring->head, fy_copy_words_out, (char *)slot, ring->returns, request, (const char *)answer, &told);
	*seq += 2;
	fy_store_release(&slot->seq, *seq);
	fy_store_release(&fy_ring_head_at(ring->region->base)->latest, next);
	ring->latest = next, ring->copied_ns = now_ns, ring->behind = 0;
}

static int fy_ring_head_is_sound(const fy_ring_head *head, uint64_t bytes) {
	return memcmp(head->magic, FY_RING_MAGIC, 8) == 0 && head->bytes == bytes &&
		fy_lies_in(head->spec_offset, head->spec_bytes, sizeof *head, bytes, 8) && head->spec_bytes >= sizeof(fy_header) &&
		head->slot_bytes <= bytes / FY_RING_SLOTS && head->slot_bytes % FY_CACHE_LINE == 0 &&
		fy_lies_in(head->slots_offset, FY_RING_SLOTS * head->slot_bytes, sizeof *head, bytes, FY_CACHE_LINE);
}

static int fy_ring_slots_are_sound(const fy_ring_head *head, const fy_spec *spec) {
	const uint64_t from = sizeof(fy_ring_slot), end = head->slot_bytes;
	return fy_lies_in(head->returns_at, sizeof(double) * spec->group.num_rows, from, end, 8) &&
		fy_lies_in(head->agent_at, head->agent_bytes, from, end, 8) && fy_lies_in(head->env_at, head->env_bytes, from, end, 8) &&
		head->agent_bytes >= spec->fields_end[FY_AGENT - 1] && head->agent_bytes % FY_RING_ALIGN == 0 &&
		spec->header.env_blob <= head->env_bytes &&
		fy_round_up(spec->header.blob_bytes, FY_RING_ALIGN) <= head->env_bytes - spec->header.env_blob;
}

static int fy_ring_check(fy_ring_reader *reader, ferry_why *why) {
	const fy_ring_head *head = &reader->head;
	fy_header header;
	int sound = fy_ring_head_is_sound(head, reader->bytes);
	if (sound) {
		const char *start = reader->base + head->spec_offset;
		fy_copy_in(&header, start, sizeof header);
		if (fy_spec_take(start, head->spec_bytes, header.region_bytes, &reader->spec, why) < 0) return why->code;
		sound = fy_ring_slots_are_sound(head, &reader->spec);
	}
	return sound ? 0 : fy_fail(why, FERRY_EPROTOCOL, "what the environment shows to observers is not laid out as it must be");
}

static void fy_ring_forget(fy_ring_reader *reader) {
	if (reader->base != NULL) fy_platform_memory_unmap((void *)(uintptr_t)reader->base, reader->bytes);
	fy_spec_clear(&reader->spec);
	free(reader->copy);
	memset(reader, 0, sizeof *reader);
}

static int fy_ring_adopt(fy_os memory, uint64_t bytes, fy_ring_reader *out, ferry_why *why) {
	void *base = NULL;
	int err = 0;
	memset(out, 0, sizeof *out);
	if (bytes < sizeof out->head || bytes % FY_PAGE != 0)
		err = fy_fail(why, FERRY_EPROTOCOL, "a region cannot have %llu bytes", (unsigned long long)bytes);
	else if (fy_platform_memory_check(memory, bytes, 0, why) < 0 ||
		fy_platform_memory_map(memory, bytes, FY_MAP_LIVE, &base, why) < 0)
		err = why->code;
	fy_platform_close(memory);
	if (err < 0) return err;
	out->base = (const char *)base, out->bytes = bytes;
	fy_copy_in(&out->head, base, sizeof out->head);
	if (fy_ring_check(out, why) == 0) {
		out->seen = FY_SEQ_START;
		out->copy = (char *)calloc(1, (size_t)out->head.slot_bytes);
		if (out->copy != NULL) {
			out->said = (const fy_ring_slot *)(void *)out->copy;
			out->returns = (const double *)(void *)(out->copy + out->head.returns_at);
			out->request = (const fy_slot *)(void *)(out->copy + out->head.agent_at);
			out->answer = (const fy_slot *)(void *)(out->copy + out->head.env_at);
			return 0;
		}
		fy_no_memory(why);
	}
	fy_ring_forget(out);
	return why->code;
}

static int fy_ring_read(fy_ring_reader *reader) {
	const fy_ring_head *head = &reader->head;
	char *base = (char *)(uintptr_t)reader->base, *copy = reader->copy;
	int tries;
	for (tries = 0; tries < FY_RING_TRIES; tries++) {
		uint32_t latest = fy_load_acquire(&fy_ring_head_at(base)->latest), seq;
		const fy_ring_slot *slot = fy_ring_slot_at(base, head, latest);
		const char *from = (const char *)slot;
		if (latest == reader->seen) return 0;
		seq = fy_load_acquire(&slot->seq);
		if (seq % 2 != 0) continue;
		fy_copy_words_in(copy + offsetof(fy_ring_slot, number), &slot->number, sizeof *slot - offsetof(fy_ring_slot, number));
		fy_ring_copy(&reader->spec, head, fy_copy_words_in, copy, from + head->returns_at, from + head->agent_at,
			from + head->env_at, reader->answer);
		fy_fence_acquire();
		if (fy_load_relaxed(&slot->seq) != seq) continue;
		if (reader->said->count != latest) continue;
		reader->seen = latest;
		return 1;
	}
	return 0;
}

/* ---- observer.c ---- */

#define FY_ASK_AGAIN_NS 100000000
#define FY_GLANCE_NS 5000000
#define FY_DEFAULT_MAX_RING (5 * FY_DEFAULT_MAX_BYTES)

struct ferry_observer {
	fy_channel channel;
	uint64_t max_bytes;
	fy_ring_reader reader;
	fy_turns turns;
	ferry_snapshot snapshot;
	int64_t asked_ns;
};

static void fy_observer_forget(ferry_observer *observer) {
	fy_turns_close(&observer->turns);
	fy_ring_forget(&observer->reader);
}

static int fy_observer_accept(void *user, fy_os memory, uint64_t bytes, ferry_why *why) {
	ferry_observer *observer = (ferry_observer *)user;
	fy_ring_reader *reader = &observer->reader;
	char *answers[FY_ANSWERS];
	int i;
	fy_observer_forget(observer);
	if (bytes > observer->max_bytes) {
		fy_platform_close(memory);
		return fy_fail(why, FERRY_ETOOBIG,
			"what the environment shows takes %.1f MiB, and this observer accepts %.1f MiB; raise max_bytes",
			(double)bytes / 1048576, (double)observer->max_bytes / 1048576);
	}
	if (fy_ring_adopt(memory, bytes, reader, why) < 0) return why->code;
	for (i = 0; i < FY_ANSWERS; i++) answers[i] = reader->copy + reader->head.env_at;
	if (fy_turns_open(&observer->turns, &reader->spec, answers, reader->copy + reader->head.agent_at, why) < 0) {
		fy_observer_forget(observer);
		return why->code;
	}
	observer->turns.turn[0].peer_pid = observer->channel.peer_pid;
	return 0;
}

int ferry_observer_open(const ferry_observer_desc *desc, ferry_observer **out, ferry_why *why) {
	ferry_why ignored;
	ferry_observer *observer;
	if (why == NULL) why = &ignored;
	if (out != NULL) *out = NULL;
	if (fy_check_open("observer", out, desc != NULL ? &desc->struct_size : NULL, sizeof *desc, why) < 0) return why->code;
	observer = (ferry_observer *)calloc(1, sizeof *observer);
	if (observer == NULL) return fy_no_memory(why);
	observer->max_bytes = desc->max_bytes != 0 ? desc->max_bytes : FY_DEFAULT_MAX_RING;
	observer->channel.log = desc->log, observer->channel.log_user = desc->log_user;
	observer->channel.handshake.accept = fy_observer_accept;
	observer->channel.user = observer;
	if (fy_channel_open(&observer->channel, FY_OBSERVER, desc->address, NULL, why) < 0) {
		free(observer);
		return why->code;
	}
	observer->asked_ns = fy_platform_now_ns() - FY_ASK_AGAIN_NS;
	*out = observer;
	return 0;
}

void ferry_observer_close(ferry_observer *observer) {
	if (observer == NULL) return;
	fy_channel_close(&observer->channel);
	fy_observer_forget(observer);
	free(observer);
}

const ferry_env_desc *ferry_observer_env(const ferry_observer *observer) {
	return observer->channel.state == FY_OPEN ? &observer->reader.spec.desc : NULL;
}

void ferry_observer_why(const ferry_observer *observer, ferry_why *why) {
	const fy_channel *channel = &observer->channel;
	if (fy_channel_explains(channel, why)) return;
	fy_fail(why, 0, "observing the environment (pid %u) at '%s'", channel->peer_pid, channel->address.text);
}

static int fy_observer_attach(ferry_observer *observer, int64_t deadline_ns) {
	int64_t now = fy_platform_now_ns();
	for (;;) {
		if (now - observer->asked_ns >= FY_ASK_AGAIN_NS) {
			int got = fy_channel_meet(&observer->channel, now < deadline_ns ? deadline_ns - now : 0);
			if (got != FERRY_ESTATE) return got;
			now = observer->asked_ns = fy_platform_now_ns();
		}
		if (now >= deadline_ns) return 0;
		fy_platform_poll(NULL, 0, fy_least(observer->asked_ns + FY_ASK_AGAIN_NS, deadline_ns) - now);
		now = fy_platform_now_ns();
	}
}

static int fy_observer_show(ferry_observer *observer, const ferry_snapshot **out) {
	const fy_ring_reader *reader = &observer->reader;
	const fy_group *group = &reader->spec.group;
	const fy_slot *request = reader->request, *answer = reader->answer;
	const uint32_t *rows = (const uint32_t *)(const void *)((const char *)request + group->rows_offset);
	const fy_ring_slot *said = reader->said;
	ferry_snapshot *snapshot = &observer->snapshot;
	ferry_turn *turn = &observer->turns.turn[0];
	if ((answer->kind != FERRY_STEP && answer->kind != FERRY_RESET) || answer->number != said->number ||
		answer->blob_format > FY_JOINED || answer->blob_where > FY_WHERE_DESCRIPTOR ||
		(answer->blob_where == FY_WHERE_SLOT && answer->blob_format != FERRY_NONE &&
		answer->blob_bytes > reader->spec.header.blob_bytes))
		return -1;
	memset(snapshot, 0, sizeof *snapshot);
	snapshot->struct_size = sizeof *snapshot, snapshot->turn = turn;
	snapshot->time_ns = (int64_t)said->stamp_ns;
	snapshot->returns = reader->returns;
	snapshot->finished = said->finished, snapshot->finished_return = said->finished_return;
	turn->number = answer->number, turn->kind = answer->kind;
	turn->rows = observer->turns.all, turn->num_rows = group->num_rows;
	if (request->num_rows > 0 && request->num_rows < group->num_rows && fy_rows_valid(rows, request->num_rows, group->num_rows))
		turn->rows = rows, turn->num_rows = request->num_rows;
	if (reader->spec.realtime) {
		fy_moment moment;
		memcpy(&moment, (const char *)answer + group->frame_moment_offset, sizeof moment);
		turn->frame = answer->kind == FERRY_STEP ? answer->number : 0, turn->answers = moment.answers;
		turn->frame_ns = (int64_t)moment.frame_ns, turn->action_ns = (int64_t)moment.action_ns;
	}
	memset(&turn->blob, 0, sizeof turn->blob);
	memset(&turn->step_blob, 0, sizeof turn->step_blob);
	*out = snapshot;
	if (answer->blob_format == FERRY_NONE) return 1;
	snapshot->blob_left_out = answer->blob_where == FY_WHERE_DESCRIPTOR;
	if (snapshot->blob_left_out) return 1;
	turn->blob.data = (const char *)answer + reader->spec.header.env_blob, turn->blob.size_bytes = answer->blob_bytes,
	turn->blob.format = answer->blob_format;
	return answer->blob_format != FY_JOINED || fy_blobs_part(&turn->blob, &turn->step_blob) == 0 ? 1 : -1;
}

static int fy_observer_look(ferry_observer *observer, const ferry_snapshot **out) {
	fy_channel *channel = &observer->channel;
	int got = fy_ring_read(&observer->reader);
	if (got > 0) got = fy_observer_show(observer, out);
	if (got < 0)
		got =
			fy_channel_lose(channel, FERRY_ECORRUPT, "what the environment (pid %u) shows to observers is damaged", channel->peer_pid);
	if (got == 0) got = fy_channel_look(channel, fy_platform_now_ns(), 1);
	if (got >= 0) return got;
	*out = NULL;
	fy_channel_hang_up(channel);
	return got;
}

static int64_t fy_observer_pause(const ferry_observer *observer, int64_t now_ns) {
	uint64_t age = (uint64_t)now_ns - (uint64_t)observer->snapshot.time_ns;
	int64_t pause = age < FY_RING_PERIOD_NS ? FY_RING_PERIOD_NS - (int64_t)age : 0;
	return pause < FY_GLANCE_NS ? FY_GLANCE_NS : pause;
}

int ferry_observer_snapshot(ferry_observer *observer, int64_t timeout_ns, const ferry_snapshot **out) {
	const int64_t deadline = fy_deadline(timeout_ns, fy_platform_now_ns());
	int64_t now;
	int got;
	*out = NULL;
	if (!fy_channel_is_mine(&observer->channel)) return FERRY_EFORKED;
	for (;;) {
		if (observer->channel.state != FY_OPEN) {
			got = fy_observer_attach(observer, deadline);
			if (got <= 0) return got;
		}
		got = fy_observer_look(observer, out);
		if (got != 0) return got;
		now = fy_platform_now_ns();
		if (now >= deadline) return 0;
		fy_platform_poll(&observer->channel.stream, 1, fy_least(fy_observer_pause(observer, now), deadline - now));
	}
}

/* ---- view.c ---- */

typedef struct fy_view {
	fy_lane frames, actions;
	const ferry_turn *reset;
	int runs;
	uint64_t episode, frame;
	int64_t frame_ns, period_ns;
	double reward, returned;
	uint8_t terminated, truncated, status;
} fy_view;

struct ferry_agent {
	fy_channel channel;
	fy_spec spec;
	fy_region *region;
	fy_slot *out, *in[2];
	fy_turns turns;
	ferry_turn request;
	int64_t *seed;
	int seeded;
	uint32_t told_rows;
	uint32_t *asked;
	ferry_bell *bell;
	fy_inbox inbox;
	fy_outbox outbox;
	uint64_t number;
	uint32_t which;
	uint32_t next;
	uint32_t seen[2];
	int64_t owed_ns;
	int owed;
	uint32_t notice;
	int64_t sent_ns, received_ns;
	int64_t thought_ns;
	fy_plain expected;
	fy_view view;
};

static void fy_view_open(ferry_agent *agent, char *base) {
	fy_view *view = &agent->view;
	int i;
	memset(view, 0, sizeof *view);
	fy_lanes_open(&agent->spec.header, base, FY_AGENT, &view->frames, &view->actions);
	for (i = 0; i < FY_LANE_SLOTS; i++) {
		ferry_turn *turn = &agent->turns.frame[i];
		turn->kind = FERRY_STEP, turn->peer_pid = agent->channel.peer_pid;
		turn->reward = &view->reward, turn->episode = &view->episode, turn->status = &view->status;
		turn->terminated = &view->terminated, turn->truncated = &view->truncated;
	}
}

static void fy_view_wake(const ferry_agent *agent) {
	fy_fence_dekker();
	if (fy_load_relaxed(&agent->channel.peer_line->parked) != 0) fy_platform_wake(agent->channel.memory, agent->view.actions.word);
}

static FY_COLD void fy_view_sent(ferry_agent *agent) {
	fy_lane_knock(&agent->view.actions);
	fy_view_wake(agent);
	if (agent->request.kind != FERRY_RESET) return;
	agent->view.reset = &agent->turns.turn[agent->next];
	agent->view.runs = 0;
}

static void fy_view_begin_episode(ferry_agent *agent) {
	fy_view *view = &agent->view;
	uint8_t status;
	if (view->reset == NULL || agent->owed) return;
	fy_copy_in(&view->episode, view->reset->episode, sizeof view->episode);
	fy_copy_in(&status, view->reset->status, sizeof status);
	view->reset = NULL;
	view->runs = status == FERRY_ROW_OK, view->frame = 0, view->returned = 0, view->frame_ns = 0;
}

static FY_WARM int fy_view_act(ferry_agent *agent) {
	const fy_group *group = &agent->spec.group;
	fy_view *view = &agent->view;
	ferry_why *why = &agent->channel.why;
	char *slot = (char *)fy_lane_mine(&view->actions);
	size_t begin = (size_t)agent->spec.columns_end[FY_AGENT - 1], end = (size_t)agent->spec.fields_end[FY_AGENT - 1];
	fy_moment moment;
	fy_view_begin_episode(agent);
	if (!view->runs) return fy_fail(why, FERRY_ESTATE, "no episode runs: a RESET comes first");
	if (agent->request.blob.format != FERRY_NONE) return fy_fail(why, FERRY_EINVAL, "in real time an action has no blob");
	if (fy_spec_check_actions(&agent->spec, (const char *)agent->out, agent->turns.all, 1, why) < 0) return why->code;
	memset(&moment, 0, sizeof moment);
	moment.answers = view->frame, moment.episode = view->episode, moment.action_ns = (uint64_t)fy_platform_now_ns();
	memcpy(slot + group->action_moment_offset, &moment, sizeof moment);
	memcpy(slot + begin, (const char *)agent->out + begin, end - begin);
	if (fy_lane_push(&view->actions) < 0) return fy_channel_damaged(&agent->channel, "actions have lost their lane");
	fy_view_wake(agent);
	return 0;
}

#define FY_MOST_PERIOD_NS UINT64_C(60000000000)
static inline void fy_view_note_period(fy_view *view, uint64_t passed_ns, uint64_t frames) {
	uint64_t period = frames == 1 ? passed_ns : passed_ns / frames;
	if (period > FY_MOST_PERIOD_NS) return;
	view->period_ns = view->period_ns == 0 ? (int64_t)period : view->period_ns + ((int64_t)period - view->period_ns) / 8;
}

static inline int fy_view_take_frame(ferry_agent *agent, const ferry_turn **out) {
	const fy_group *group = &agent->spec.group;
	fy_view *view = &agent->view;
	ferry_turn *turn = &agent->turns.frame[view->frames.mine];
	const char *slot = (const char *)fy_lane_mine(&view->frames);
	fy_slot head;
	fy_moment moment;
	double reward;
	uint8_t status;
	fy_copy_in(&head, slot, sizeof head);
	fy_copy_in(&moment, slot + group->frame_moment_offset, sizeof moment);
	if (moment.episode != view->episode) return 0;
	if (head.kind != FERRY_STEP || head.number <= view->frame || (head.blob_format != FERRY_NONE && head.blob_where != FY_WHERE_SLOT))
		return fy_channel_damaged(&agent->channel, "frame %llu follows %llu, kind %d", (unsigned long long)head.number,
			(unsigned long long)view->frame, head.kind);
	fy_copy_in(&reward, slot + group->reward_offset, sizeof reward);
	fy_copy_in(&view->terminated, slot + group->terminated_offset, 1);
	fy_copy_in(&view->truncated, slot + group->truncated_offset, 1);
	fy_copy_in(&status, slot + group->status_offset, 1);
	if (fy_inbox_take(&agent->inbox, &agent->channel, &head, (const fy_slot *)(const void *)slot, &turn->blob, NULL) < 0)
		return agent->channel.lost;
	view->reward = head.number == view->frame + 1 ? reward : moment.returned - view->returned;
	view->returned = moment.returned, view->status = status;
	if (view->frame_ns != 0) fy_view_note_period(view, moment.frame_ns - (uint64_t)view->frame_ns, head.number - view->frame);
	view->frame = head.number, view->frame_ns = (int64_t)moment.frame_ns;
	view->runs = status == FERRY_ROW_OK && !view->terminated && !view->truncated;
	turn->number = agent->number, turn->frame = head.number, turn->answers = moment.answers;
	turn->frame_ns = (int64_t)moment.frame_ns, turn->action_ns = (int64_t)moment.action_ns;
	*out = turn;
	return 1;
}

static inline int fy_view_pull_frame(ferry_agent *agent, const ferry_turn **out) {
	int got = fy_lane_pull(&agent->view.frames);
	if (got < 0) return fy_channel_damaged(&agent->channel, "frames have lost their lane");
	return got > 0 ? fy_view_take_frame(agent, out) : 0;
}

#define FY_EARLY_NS 150000
#define FY_LEAST_NAP_NS 50000
#define FY_MOST_NAP_NS 2000000
static int64_t fy_view_nap(const fy_view *view, int64_t start, int64_t now) {
	int known = view->frame_ns != 0 && view->period_ns > 0;
	int64_t late = known ? (int64_t)((uint64_t)now - (uint64_t)view->frame_ns - (uint64_t)view->period_ns) : now - start;
	if (late < -FY_EARLY_NS) return late > -FY_EARLY_NS - FY_SLICE_NS ? -late - FY_EARLY_NS : FY_SLICE_NS;
	if (late < FY_EARLY_NS) return 0;
	late /= 8;
	return late < FY_LEAST_NAP_NS ? FY_LEAST_NAP_NS : late < FY_MOST_NAP_NS ? late : FY_MOST_NAP_NS;
}

static FY_WARM int fy_view_wait(ferry_agent *agent, int64_t timeout_ns, const ferry_turn **out) {
	fy_channel *channel = &agent->channel;
	fy_view *view = &agent->view;
	int64_t start = 0, deadline = 0, now, nap;
	int got, looks, slept = 0;
	fy_view_begin_episode(agent);
	if (!view->runs) return fy_fail(&channel->why, FERRY_ESTATE, "no episode runs: a RESET comes first");
	for (;;) {
		for (looks = timeout_ns != 0 ? FY_SPIN_LOOKS : 0;
			(fy_load_acquire(view->frames.word) & FY_LANE_FRESH) == 0 && looks > 0; looks--)
			fy_pause();
		got = fy_view_pull_frame(agent, out);
		if (got != 0) break;
		now = fy_platform_now_ns();
		if (start == 0) start = now, deadline = fy_deadline(timeout_ns, now);
		got = fy_channel_look(channel, now, slept);
		if (got < 0) {
			got = fy_view_pull_frame(agent, out);
			if (got == 0) got = channel->lost;
			break;
		}
		if (now >= deadline) {
			if (agent->owed_ns == 0 && timeout_ns > 0) agent->owed_ns = start;
			return 0;
		}
		if (channel->policy == FY_SPIN) continue;
		nap = fy_least(fy_view_nap(view, start, now), deadline - now);
		slept = nap >= FY_MOST_NAP_NS;
		if (nap == 0) fy_platform_yield();
		else fy_platform_nap(nap);
	}
	agent->owed_ns = 0;
	return got;
}

/* ---- agent.c ---- */

static void fy_agent_forget(ferry_agent *agent) {
	free(agent->seed);
	free(agent->asked);
	agent->seed = NULL, agent->asked = NULL;
	fy_inbox_close(&agent->inbox);
	fy_turns_close(&agent->turns);
	fy_spec_clear(&agent->spec);
	fy_region_release(agent->region);
	agent->region = NULL;
}

static int fy_agent_make_room(ferry_agent *agent, ferry_why *why) {
	const fy_group *group = &agent->spec.group;
	if ((group->flags & FY_AUTORESET_MASK) != agent->channel.autoreset || (uint32_t)agent->spec.realtime != agent->channel.realtime)
		return fy_fail(why, FERRY_EPROTOCOL, "the environment (pid %u) offers another way of playing than it was asked for",
			agent->channel.peer_pid);
	agent->seed = (int64_t *)malloc(group->num_rows * sizeof *agent->seed);
	agent->asked = (uint32_t *)malloc(group->num_rows * sizeof *agent->asked);
	agent->seeded = 1;
	return agent->seed != NULL && agent->asked != NULL ? 0 : fy_no_memory(why);
}

static void fy_agent_show(ferry_agent *agent, int shown) {
	const fy_door *door = agent->channel.door;
	if (door != NULL && door->places == 1) {
		fy_platform_show(&door->listener, shown ? agent->region->memory : FY_NO_OS);
		if (shown) return;
	}
	fy_platform_memory_settle(&agent->region->memory);
}

static int fy_agent_accept(void *user, fy_os memory, uint64_t bytes, ferry_why *why) {
	ferry_agent *agent = (ferry_agent *)user;
	const fy_header *header = &agent->spec.header;
	char *base, *answers[FY_ANSWERS];
	fy_agent_forget(agent);
	if (fy_region_adopt(memory, bytes, agent->channel.max_bytes, &agent->region, why) < 0) return why->code;
	base = agent->region->base;
	if (fy_spec_take(base, bytes, bytes, &agent->spec, why) < 0) {
		fy_agent_forget(agent);
		return why->code;
	}
	fy_turns_place(&agent->spec, base, answers);
	if (fy_turns_open(&agent->turns, &agent->spec, answers, base + header->agent_slot, why) < 0 ||
		fy_inbox_open(&agent->inbox, header->env_blob, header->blob_bytes, why) < 0 || fy_agent_make_room(agent, why) < 0 ||
		fy_platform_memory_protect(agent->region->base, agent->spec.parts_begin, why) < 0) {
		fy_agent_forget(agent);
		return why->code;
	}
	agent->channel.line = (fy_line *)(void *)(base + header->agent_offset);
	agent->channel.peer_line = (fy_line *)(void *)(base + header->env_offset);
	agent->out = (fy_slot *)(void *)(base + header->agent_slot);
	agent->in[0] = (fy_slot *)(void *)(base + header->env_slot[0]);
	agent->in[1] = (fy_slot *)(void *)(base + header->env_slot[1]);
	fy_agent_show(agent, 1);
	agent->channel.memory = agent->region->memory;
	agent->spec.desc.index = agent->channel.peer_index;
	agent->turns.turn[0].peer_pid = agent->turns.turn[1].peer_pid = agent->channel.peer_pid;
	agent->request = agent->turns.turn[0];
	agent->request.seed = agent->seed;
	agent->channel.line->pid = fy_platform_pid();
	if (agent->spec.realtime) fy_view_open(agent, base);
	agent->outbox.at = header->agent_blob, agent->outbox.room = header->blob_bytes;
	agent->told_rows = 0;
	agent->number = 0, agent->next = 0, agent->owed = 0, agent->owed_ns = 0;
	agent->seen[0] = agent->seen[1] = header->seq_start;
	fy_channel_begin(&agent->channel, header->seq_start);
	agent->notice = agent->channel.attend, agent->received_ns = agent->thought_ns = 0;
	return 0;
}

int ferry_agent_open(const ferry_agent_desc *desc, ferry_agent **out, ferry_why *why) {
	ferry_why ignored;
	ferry_agent *agent;
	if (why == NULL) why = &ignored;
	if (out != NULL) *out = NULL;
	if (fy_check_open("agent", out, desc != NULL ? &desc->struct_size : NULL, sizeof *desc, why) < 0) return why->code;
	if (desc->autoreset > FERRY_AUTORESET_SAME_STEP)
		return fy_fail(why, FERRY_EINVAL, "autoreset is %u; it may be FERRY_AUTORESET_DISABLED, NEXT_STEP or SAME_STEP",
			desc->autoreset);
	if (desc->realtime > 1 || (desc->realtime == 1 && desc->autoreset != FERRY_AUTORESET_DISABLED))
		return fy_fail(why, FERRY_EINVAL,
			"realtime is 0 or 1, and with 1 autoreset is FERRY_AUTORESET_DISABLED: a frame that ends stands");
	agent = (ferry_agent *)calloc(1, sizeof *agent);
	if (agent == NULL) return fy_no_memory(why);
	agent->outbox.memory = FY_NO_OS;
	agent->channel.log = desc->log, agent->channel.log_user = desc->log_user;
	agent->channel.max_bytes = desc->max_bytes != 0 ? desc->max_bytes : FY_DEFAULT_MAX_BYTES;
	agent->channel.handshake.accept = fy_agent_accept;
	agent->channel.user = agent;
	if (fy_channel_open(&agent->channel, FY_AGENT, desc->address, desc->beside != NULL ? &desc->beside->channel : NULL, why) < 0) {
		free(agent);
		return why->code;
	}
	agent->bell = desc->bell;
	agent->channel.autoreset = desc->autoreset, agent->channel.realtime = desc->realtime;
	if (desc->bell != NULL) agent->channel.bell = desc->bell->region->memory;
	*out = agent;
	return 0;
}

static void fy_agent_leave(ferry_agent *agent) {
	fy_agent_show(agent, 0);
	fy_channel_hang_up(&agent->channel);
	fy_platform_wake(agent->region->memory, &agent->out->seq);
	if (agent->spec.realtime) fy_platform_wake(agent->region->memory, agent->view.actions.word);
	fy_outbox_clear(&agent->outbox);
	agent->owed = 0;
}

void ferry_agent_close(ferry_agent *agent) {
	if (agent == NULL) return;
	if (agent->channel.state == FY_OPEN && fy_channel_is_mine(&agent->channel)) fy_agent_leave(agent);
	fy_channel_close(&agent->channel);
	fy_outbox_clear(&agent->outbox);
	fy_agent_forget(agent);
	free(agent);
}

int ferry_agent_connect(ferry_agent *agent, int64_t timeout_ns) {
	if (!fy_channel_is_mine(&agent->channel)) return FERRY_EFORKED;
	if (agent->channel.state == FY_OPEN && fy_channel_look(&agent->channel, fy_platform_now_ns(), 0) < 0)
		fy_agent_leave(agent);
	return agent->channel.state == FY_OPEN ? 1 : fy_channel_meet(&agent->channel, timeout_ns);
}

const ferry_env_desc *ferry_agent_env(const ferry_agent *agent) { return agent->spec.desc.struct_size != 0 ? &agent->spec.desc : NULL; }

ferry_hold *ferry_agent_hold(ferry_agent *agent) { return fy_region_keep(agent->region); }

void ferry_release(ferry_hold *hold) { fy_region_release(hold); }

void ferry_agent_why(const ferry_agent *agent, ferry_why *why) {
	const fy_channel *channel = &agent->channel;
	const char *text = channel->address.text;
	unsigned long long number = (unsigned long long)agent->number;
	if (fy_channel_explains(channel, why)) return;
	if (!agent->owed && agent->view.runs && agent->owed_ns != 0)
		fy_fail(why, 0, "the environment (pid %u) at '%s' has published no frame for %.1f s, after number %llu of episode %llu",
			channel->peer_pid, text, (double)(fy_platform_now_ns() - agent->owed_ns) * 1e-9,
			(unsigned long long)agent->view.frame, (unsigned long long)agent->view.episode);
	else if (!agent->owed)
		fy_fail(why, 0, "the environment (pid %u) at '%s' has answered turn %llu and waits for the next", channel->peer_pid, text,
			number);
	else
		fy_fail(why, 0, "the environment (pid %u) at '%s' has held the turn for %.1f s, at turn %llu (a %s)", channel->peer_pid, text,
			agent->owed_ns == 0 ? 0.0 : (double)(fy_platform_now_ns() - agent->owed_ns) * 1e-9, number,
			agent->request.kind == FERRY_STEP    ? "step"
			: agent->request.kind == FERRY_RESET ? "reset"
			: "call");
}

FY_COLD static void fy_agent_forget_seeds(ferry_agent *agent) {
	uint32_t row;
	for (row = 0; row < agent->spec.group.num_rows; row++) agent->seed[row] = -1;
	agent->seeded = 0;
}

FY_COLD static int fy_agent_put_rows(ferry_agent *agent, const ferry_turn *turn, fy_slot *slot) {
	const fy_group *group = &agent->spec.group;
	if (!fy_rows_valid(turn->rows, turn->num_rows, group->num_rows))
		return fy_fail(&agent->channel.why, FERRY_EINVAL, "a turn is about one row or more, in ascending order, below %u",
			group->num_rows);
	memcpy(agent->asked, turn->rows, turn->num_rows * sizeof *turn->rows);
	memcpy((char *)slot + group->rows_offset, agent->asked, turn->num_rows * sizeof *turn->rows);
	return 0;
}

ferry_turn *ferry_agent_turn(ferry_agent *agent) {
	ferry_turn *turn = &agent->request;
	if (!fy_channel_is_mine(&agent->channel) || agent->channel.state != FY_OPEN || agent->owed) return NULL;
	turn->number = agent->number + 1;
	turn->kind = 0;
	turn->rows = agent->turns.all, turn->num_rows = agent->spec.group.num_rows;
	if (agent->seeded) fy_agent_forget_seeds(agent);
	turn->blob.data = NULL, turn->blob.size_bytes = 0, turn->blob.format = FERRY_NONE;
	return turn;
}

FY_COLD static void fy_agent_note_sending(ferry_agent *agent, uint32_t seq) {
	int64_t now = fy_platform_now_ns();
	if (agent->received_ns != 0) agent->thought_ns = now - agent->received_ns, agent->received_ns = 0;
	if (seq == agent->channel.attend) agent->sent_ns = now;
	agent->notice = agent->channel.attend;
}

int ferry_agent_send(ferry_agent *agent) {
	const fy_header *header = &agent->spec.header;
	fy_slot *slot = agent->out;
	ferry_turn *turn = &agent->request, *answer;
	ferry_why *why = &agent->channel.why;
	uint32_t seq;
	if (!fy_channel_is_mine(&agent->channel)) return FERRY_EFORKED;
	if (agent->channel.lost == 0) why->code = 0;
	if (agent->channel.state != FY_OPEN) return fy_fail(why, FERRY_ESTATE, "there is no connection: call ferry_agent_connect");
	if (agent->owed)
		return fy_fail(why, FERRY_ESTATE, "the answer to turn %llu is owed: wait for it first", (unsigned long long)agent->number);
	if ((turn->kind != FERRY_STEP && turn->kind != FERRY_RESET && turn->kind != FERRY_CALL) || turn->number != agent->number + 1)
		return fy_fail(why, FERRY_EINVAL, "an agent sends turns of kind FERRY_STEP, RESET or CALL, not %u; fill ferry_agent_turn first",
			turn->kind);
	if (agent->spec.realtime && turn->kind == FERRY_STEP) return fy_view_act(agent);
	if (!fy_outbox_is_idle(&agent->outbox, &turn->blob) && fy_outbox_put(&agent->outbox, &turn->blob, slot, why) < 0)
		return why->code;
	if (turn->num_rows != agent->spec.group.num_rows && fy_agent_put_rows(agent, turn, slot) < 0) return why->code;
	if (turn->kind == FERRY_RESET) {
		memcpy((char *)slot + agent->spec.group.seed_offset, agent->seed, agent->spec.group.num_rows * sizeof *agent->seed);
		agent->seeded = 1;
	}
	if (turn->num_rows != agent->told_rows) slot->num_rows = agent->told_rows = turn->num_rows;
	slot->kind = (uint16_t)turn->kind;
	slot->number = ++agent->number;
	seq = header->seq_start + (uint32_t)agent->number;
	agent->owed = 1, agent->owed_ns = 0;
	if (agent->outbox.memory != FY_NO_OS) fy_outbox_send(&agent->outbox, &agent->channel);
	if (seq == agent->notice) fy_agent_note_sending(agent, seq);
	fy_slot_publish(slot, seq, agent->channel.peer_line, &agent->channel.memory);
	if (agent->spec.realtime) fy_view_sent(agent);
	agent->expected = fy_plain_of(seq, turn->kind, agent->number);
	agent->which = agent->next;
	agent->next ^= turn->kind != FERRY_CALL;
	answer = &agent->turns.turn[agent->which];
	answer->kind = turn->kind, answer->number = agent->number;
	answer->num_rows = turn->num_rows, answer->rows = turn->num_rows != agent->spec.group.num_rows ? agent->asked : agent->turns.all;
	return 0;
}

static int fy_agent_take(ferry_agent *agent, const fy_slot *slot, ferry_turn *answer) {
	fy_slot head;
	fy_copy_in(&head, slot, sizeof head);
	if (head.number != agent->number || head.kind != agent->request.kind)
		return fy_channel_damaged(&agent->channel, "the answer to turn %llu says it is number %llu, kind %d",
			(unsigned long long)agent->number, (unsigned long long)head.number, head.kind);
	agent->turns.turn[0].blob.format = agent->turns.turn[1].blob.format = FERRY_NONE;
	agent->turns.turn[0].step_blob.format = agent->turns.turn[1].step_blob.format = FERRY_NONE;
	if (fy_inbox_take(&agent->inbox, &agent->channel, &head, slot, &answer->blob, &answer->step_blob) < 0) return agent->channel.lost;
	return 1;
}

static void fy_agent_note_answer(ferry_agent *agent) {
	agent->received_ns = agent->channel.taken_ns, agent->notice = agent->expected.seq + 1;
	fy_channel_sample(&agent->channel, agent->number, agent->sent_ns, agent->received_ns, agent->thought_ns);
}

FY_COLD static int fy_agent_wait_longer(ferry_agent *agent, int64_t timeout_ns, const ferry_turn **out) {
	uint32_t which = agent->which;
	ferry_turn *answer = &agent->turns.turn[which];
	int got;
	if (!agent->owed && agent->spec.realtime && agent->channel.state == FY_OPEN) {
		got = fy_view_wait(agent, timeout_ns, out);
		if (got < 0 && got != FERRY_ESTATE) fy_agent_leave(agent);
		return got;
	}
	if (!agent->owed) return fy_fail(&agent->channel.why, FERRY_ESTATE, "no answer is owed: send a turn first");
	got = fy_channel_await(&agent->channel, agent->in[which], agent->seen[which], agent->expected.seq, timeout_ns);
	if (got > 0 && agent->channel.taken_ns != 0) fy_agent_note_answer(agent);
	if (got > 0) got = fy_agent_take(agent, agent->in[which], answer);
	if (got > 0) agent->owed = 0, agent->seen[which] = agent->expected.seq, *out = answer;
	else if (got < 0) fy_agent_leave(agent);
	else if (agent->owed_ns == 0 && timeout_ns > 0) agent->owed_ns = fy_platform_now_ns() - timeout_ns;
	return got;
}

int ferry_agent_wait(ferry_agent *agent, int64_t timeout_ns, const ferry_turn **out) {
	uint32_t which = agent->which, next = agent->expected.seq;
	const fy_slot *slot = agent->in[which];
	*out = NULL;
	if (!fy_channel_is_mine(&agent->channel)) return FERRY_EFORKED;
	if (agent->channel.lost == 0) agent->channel.why.code = 0;
	if (agent->owed && fy_channel_spin(&agent->channel, slot, agent->seen[which], next, timeout_ns) && !agent->inbox.used &&
		fy_slot_is_plain(slot, &agent->expected)) {
		agent->owed = 0;
		agent->seen[which] = next;
		*out = &agent->turns.turn[which];
		return 1;
	}
	return fy_agent_wait_longer(agent, timeout_ns, out);
}

static int fy_agent_is_ready(const ferry_agent *agent) {
	uint32_t which = agent->which;
	return !agent->owed || agent->channel.lost != 0 || fy_slot_state(agent->in[which], agent->seen[which], agent->expected.seq) != 0;
}

static uint32_t fy_count_ready(ferry_agent *const *agents, uint32_t count, uint8_t *ready) {
	uint32_t i, total = 0;
	for (i = 0; i < count; i++) total += ready[i] = (uint8_t)fy_agent_is_ready(agents[i]);
	return total;
}

static void fy_look_after_all(ferry_agent *const *agents, uint32_t count, int slept) {
	uint32_t i;
	for (i = 0; i < count; i++)
		if (!fy_agent_is_ready(agents[i])) (void)fy_channel_look(&agents[i]->channel, fy_platform_now_ns(), slept);
}

static void fy_note_late(ferry_agent *const *agents, uint32_t count, int64_t start_ns) {
	uint32_t i;
	for (i = 0; i < count; i++)
		if (agents[i]->owed_ns == 0 && !fy_agent_is_ready(agents[i])) agents[i]->owed_ns = start_ns;
}

#define FY_CROWDED_NS 10000
static void fy_ask_to_come(ferry_agent *const *agents, uint32_t count) {
	uint32_t i, here = fy_platform_processor();
	fy_line *crowded = NULL;
	uint64_t met = 0;
	for (i = 0; i < count; i++)
		if (agents[i]->channel.line->come != 0) fy_store_relaxed(&agents[i]->channel.line->come, 0);
	for (i = 0; i < count; i++) {
		uint32_t there = fy_load_relaxed(&agents[i]->channel.peer_line->processor);
		uint64_t bit = UINT64_C(1) << there % 64;
		if (there == here || there == 0) return;
		if ((met & bit) != 0) crowded = agents[i]->channel.line;
		met |= bit;
	}
	if (crowded != NULL) fy_store_relaxed(&crowded->come, here);
}

static void fy_tell_of_wait(ferry_agent *const *agents, uint32_t count, int64_t now_ns) {
	uint32_t i;
	for (i = 0; i < count; i++) {
		fy_line *line = agents[i]->channel.line;
		(void)fy_tell_processor(line);
		if (!fy_agent_is_ready(agents[i])) fy_note_wait(line, agents[i]->expected.seq, now_ns);
	}
}

static int fy_wait_for_many(ferry_bell *bell, ferry_agent *const *agents, uint32_t count, uint32_t at_least, int64_t timeout_ns,
	uint8_t *ready) {
	fy_bell_page *page = fy_bell_page_of(bell->region);
	fy_policy policy = agents[0]->channel.policy;
	const int64_t start = fy_platform_now_ns(), deadline = fy_deadline(timeout_ns, start);
	int64_t now = start, in_vain = 0;
	uint32_t total, seen;
	int slept = 0, yields = policy == FY_ADAPTIVE && bell->manners.hasty == 0;
	if (bell->manners.hasty > 0) bell->manners.hasty--;
	fy_tell_of_wait(agents, count, now);
	for (;;) {
		seen = fy_load_acquire(&page->count);
		total = fy_count_ready(agents, count, ready);
		if (total >= at_least) {
			if (policy == FY_ADAPTIVE && now - start > FY_CROWDED_NS) fy_ask_to_come(agents, count);
			return (int)total;
		}
		if (now >= deadline) {
			fy_note_late(agents, count, start);
			return 0;
		}
		if (policy == FY_SPIN) fy_pause();
		else if (yields) yields = fy_yield(&bell->manners, &in_vain, &now);
		else if (!slept) slept = 1, fy_look_after_all(agents, count, 0);
		else {
			fy_bell_sleep(bell->region, seen, at_least - total, fy_least(deadline - now, FY_SLICE_NS));
			if (fy_count_ready(agents, count, ready) < at_least) fy_look_after_all(agents, count, 1);
		}
		now = fy_platform_now_ns();
		if (policy == FY_SPIN && now - start > FY_SLICE_NS) fy_look_after_all(agents, count, 0);
	}
}

int ferry_agent_wait_any(ferry_bell *bell, ferry_agent *const *agents, uint32_t count, uint32_t at_least, int64_t timeout_ns,
	uint8_t *ready) {
	uint32_t i, total;
	int looks;
	if (bell == NULL) return FERRY_EINVAL;
	for (i = 0; i < count; i++) {
		if (!fy_channel_is_mine(&agents[i]->channel)) return FERRY_EFORKED;
		if (agents[i]->bell != bell) return FERRY_EINVAL;
	}
	if (at_least > count) at_least = count;
	if (at_least == 0) at_least = 1;
	if (count == 0) return 0;
	for (looks = timeout_ns != 0 && agents[0]->channel.policy != FY_BLOCK ? bell->manners.looks : 0; looks >= 0; looks--) {
		total = fy_count_ready(agents, count, ready);
		if (total >= at_least) return (int)total;
		if (looks > 0) fy_pause();
	}
	if (timeout_ns == 0) {
		fy_look_after_all(agents, count, 0);
		total = fy_count_ready(agents, count, ready);
		return total >= at_least ? (int)total : 0;
	}
	return fy_wait_for_many(bell, agents, count, at_least, timeout_ns, ready);
}

/* ---- world.c ---- */

typedef struct fy_columns {
	double *reward;
	uint64_t *episode;
	uint8_t *terminated, *truncated, *status;
} fy_columns;

typedef struct fy_answer {
	fy_slot *slot;
	fy_columns columns;
} fy_answer;

typedef enum fy_holding {
	FY_HOLDING_NOTHING,
	FY_HOLDING_TURN,
	FY_HOLDING_RESET,
	FY_HOLDING_FRAME
} fy_holding;

typedef struct fy_world {
	fy_lane frames, actions;
	char *incoming;
	int runs;
	uint64_t frame;
	uint64_t published;
	uint64_t answers;
	uint64_t action_ns;
	double returned;
} fy_world;

struct ferry_env {
	fy_channel channel;
	fy_spec spec;
	uint64_t max_bytes;
	fy_region *region;
	fy_slot *in;
	fy_answer out[2];
	char *message;
	size_t actions_begin, actions_lines;
	fy_plain expected;
	double reward;
	uint64_t episode;
	uint8_t terminated, truncated, status;
	fy_columns columns;
	char *block;
	fy_rows rows;
	int steady;
	int brisk;
	fy_region *bell;
	fy_ring *ring;
	int spoilt;
	fy_first_blob first;
	fy_turns turns;
	fy_inbox inbox;
	fy_outbox outbox;
	ferry_turn left;
	uint64_t number;
	uint32_t kind;
	uint32_t which;
	fy_holding holding;
	int abandoned;
	int takes_calls;
	fy_world world;
};

static void fy_world_open(ferry_env *env, char *base) {
	env->world.published = 0;
	fy_lanes_open(&env->spec.header, base, FY_ENV, &env->world.frames, &env->world.actions);
}

static void fy_world_rest(ferry_env *env) {
	uint32_t i;
	memset(env->message + env->actions_begin, 0, env->actions_lines * FY_CACHE_LINE);
	for (i = 0; i < env->spec.header.num_fields; i++) {
		const fy_entry *entry = &env->spec.entries[i];
		uint64_t size = ferry_dtype_bytes(entry->dtype), bytes = size, at;
		uint32_t k;
		if (entry->role != FERRY_ACTION || entry->bounds == FY_BOUNDS_NONE || entry->capacity != 0) continue;
		for (k = 0; k < entry->ndim; k++) bytes *= entry->shape[k];
		for (at = 0; at < bytes; at += size) {
			uint64_t bound = entry->bounds == FY_BOUNDS_EACH ? at : 0;
			const char *low = env->spec.pool + entry->low_offset + bound, *high = env->spec.pool + entry->high_offset + bound;
			if (fy_double_at(entry->dtype, low) > 0) memcpy(env->message + entry->offset + at, low, (size_t)size);
			else if (fy_double_at(entry->dtype, high) < 0) memcpy(env->message + entry->offset + at, high, (size_t)size);
		}
	}
}

static void fy_world_begin(ferry_env *env, ferry_status status) {
	fy_world *world = &env->world;
	world->runs = status == FERRY_ROW_OK;
	world->frame = world->answers = world->action_ns = 0, world->returned = 0;
	fy_world_rest(env);
}

static int fy_world_take_latest(ferry_env *env) {
	fy_world *world = &env->world;
	const char *slot;
	fy_moment moment;
	ferry_why why;
	int got = fy_lane_pull(&world->actions);
	if (got < 0) return fy_channel_damaged(&env->channel, "actions have lost their lane");
	if (got == 0) return 0;
	slot = (const char *)fy_lane_mine(&world->actions);
	fy_copy_in(&moment, slot + env->spec.group.action_moment_offset, sizeof moment);
	if (moment.episode != env->rows.episode[0] || moment.answers > world->frame || moment.action_ns == 0) return 0;
	fy_copy_lines_in(world->incoming + env->actions_begin, slot + env->actions_begin, env->actions_lines);
	if (fy_spec_check_actions(&env->spec, world->incoming, env->turns.all, 1, &why) < 0) return 0;
	memcpy(env->message + env->actions_begin, world->incoming + env->actions_begin, env->actions_lines * FY_CACHE_LINE);
	world->answers = moment.answers, world->action_ns = moment.action_ns;
	return 1;
}

static int fy_world_await(ferry_env *env, int64_t timeout_ns) {
	fy_world *world = &env->world;
	int got = fy_world_take_latest(env);
	if (got >= 0 && timeout_ns != 0 && (world->action_ns == 0 || world->answers != world->frame)) {
		got = fy_channel_await_lane(&env->channel, world->actions.word, fy_load_acquire(world->actions.word) & ~FY_LANE_FRESH,
			env->in, env->expected.seq, timeout_ns);
		if (got > 0 || got == FY_INTERRUPTED) return 0;
	}
	return got < 0 ? got : 1;
}

static ferry_turn *fy_world_frame(ferry_env *env) {
	fy_world *world = &env->world;
	const fy_group *group = &env->spec.group;
	ferry_turn *turn = &env->turns.frame[world->frames.mine];
	fy_slot *slot = fy_lane_mine(&world->frames);
	fy_moment *moment = (fy_moment *)(void *)((char *)slot + group->frame_moment_offset);
	turn->kind = FERRY_STEP, turn->number = env->number, turn->peer_pid = env->channel.peer_pid;
	turn->frame = world->frame + 1, turn->frame_ns = fy_platform_now_ns();
	turn->answers = world->answers, turn->action_ns = (int64_t)world->action_ns;
	slot->kind = FERRY_STEP, slot->number = turn->frame;
	moment->answers = turn->answers, moment->episode = env->rows.episode[0];
	moment->frame_ns = (uint64_t)turn->frame_ns, moment->action_ns = world->action_ns;
	memcpy((char *)slot + group->episode_offset, env->rows.episode, sizeof *env->rows.episode);
	env->reward = 0, env->terminated = env->truncated = 0;
	env->outbox.used = 0;
	if (env->spec.num_infos > 0) fy_turn_clear_infos(turn);
	env->holding = FY_HOLDING_FRAME;
	return turn;
}

static void fy_world_show(ferry_env *env, const fy_slot *slot) {
	int64_t now = fy_platform_now_ns();
	fy_ring_note(env->ring, slot);
	if (!env->world.runs || now - env->ring->copied_ns >= FY_RING_PERIOD_NS) fy_ring_write(env->ring, env->message, slot, now);
}

static FY_WARM void fy_world_publish(ferry_env *env, ferry_status status) {
	fy_world *world = &env->world;
	const fy_group *group = &env->spec.group;
	fy_slot *slot = fy_lane_mine(&world->frames);
	ferry_turn *turn = &env->turns.frame[world->frames.mine];
	char *base = (char *)slot;
	fy_moment *moment = (fy_moment *)(void *)(base + group->frame_moment_offset);
	world->frame = turn->frame;
	moment->returned = world->returned += env->reward;
	env->truncated |= (uint8_t)(env->rows.max_steps != 0 && world->frame >= env->rows.max_steps && status == FERRY_ROW_OK);
	world->runs = status == FERRY_ROW_OK && !env->terminated && !env->truncated;
	memcpy(base + group->reward_offset, &env->reward, sizeof env->reward);
	base[group->terminated_offset] = (char)env->terminated, base[group->truncated_offset] = (char)env->truncated;
	base[group->status_offset] = (char)status;
	if (!env->outbox.used) slot->blob_format = FERRY_NONE;
	env->holding = FY_HOLDING_NOTHING;
	env->spoilt = 1;
	if (env->ring != NULL && status == FERRY_ROW_OK) fy_world_show(env, slot);
	env->channel.line->frames = ++world->published;
	if (fy_lane_push(&world->frames) < 0) (void)fy_channel_damaged(&env->channel, "frames have lost their lane");
}

/* ---- env.c ---- */

static int fy_env_is_held(const ferry_env *env) { return env->holding == FY_HOLDING_TURN || env->holding == FY_HOLDING_FRAME; }

static void fy_env_show_columns(ferry_env *env, ferry_turn *turn, const fy_columns *columns) {
	turn->reward = columns->reward, turn->episode = env->columns.episode, turn->status = columns->status;
	turn->terminated = columns->terminated, turn->truncated = columns->truncated;
}

static int fy_env_offer(void *user, const fy_hello *hello, fy_os bell, fy_os *memory, uint64_t *bytes, ferry_why *why) {
	ferry_env *env = (ferry_env *)user;
	const fy_header *header = &env->spec.header;
	char *base, *answers[FY_ANSWERS];
	fy_region *region;
	fy_turns turns;
	int i;
	fy_region_release(env->bell);
	env->bell = NULL;
	if (bell != FY_NO_OS && fy_region_adopt(bell, FY_PAGE, 0, &env->bell, why) < 0) return why->code;
	if (fy_spec_choose(&env->spec, hello->autoreset, why) < 0) return why->code;
	if (env->spec.realtime && !hello->realtime)
		return fy_fail(why, FERRY_EINVAL,
			"the environment runs in real time, and the agent plays in turns; play it with a RealtimeEnv in Python, "
			"ferry_agent_desc.realtime in C");
	if (!env->spec.realtime && hello->realtime)
		return fy_fail(why, FERRY_EINVAL,
			"the agent plays in real time, and the environment in turns; play it with a ClientEnv or ServerEnv in Python, "
			"or let it run in real time (realtime_hz in Python, ferry_env_desc.realtime in C)");
	if (hello->max_bytes != 0 && header->region_bytes > hello->max_bytes)
		return fy_fail(why, FERRY_ETOOBIG,
			"the environment's region has %.1f MiB, and the agent accepts %.1f MiB; raise the agent's max_bytes",
			(double)header->region_bytes / 1048576, (double)hello->max_bytes / 1048576);
	if (!env->world.runs) {
		fy_region_release(env->region);
		env->region = NULL;
	}
	if (fy_region_create(header->region_bytes, env->max_bytes, &region, why) < 0) return why->code;
	base = region->base;
	fy_spec_write(&env->spec, base);
	fy_turns_place(&env->spec, base, answers);
	if (fy_platform_memory_protect(region->base, env->spec.parts_begin, why) < 0 ||
		fy_turns_open(&turns, &env->spec, answers, env->message, why) < 0) {
		fy_region_release(region);
		return why->code;
	}
	fy_region_release(env->region);
	env->region = region;
	fy_turns_close(&env->turns);
	env->turns = turns;
	env->channel.line = (fy_line *)(void *)(base + header->env_offset);
	env->channel.peer_line = (fy_line *)(void *)(base + header->agent_offset);
	env->channel.memory = env->region->memory;
	env->in = (fy_slot *)(void *)(base + header->agent_slot);
	if (env->spec.realtime) {
		fy_world_open(env, base);
		for (i = 0; i < FY_LANE_SLOTS; i++) fy_env_show_columns(env, &env->turns.frame[i], &env->columns);
	}
	for (i = 0; i < 2; i++) {
		ferry_turn *turn = &env->turns.turn[i];
		fy_answer *answer = &env->out[i];
		answer->slot = (fy_slot *)(void *)(base + header->env_slot[i]);
		answer->columns.reward = turn->reward, answer->columns.episode = turn->episode, answer->columns.status = turn->status;
		answer->columns.terminated = turn->terminated, answer->columns.truncated = turn->truncated;
		fy_env_show_columns(env, turn, &env->columns);
	}
	env->rows.autoreset = hello->autoreset;
	env->steady =
		env->rows.num_rows == 1 && env->rows.autoreset == FERRY_AUTORESET_DISABLED && env->rows.max_steps == 0 && !env->spec.realtime;
	env->outbox.at = header->env_blob, env->outbox.room = header->blob_bytes;
	env->spoilt = 1;
	env->number = 0, env->which = 0, env->holding = FY_HOLDING_NOTHING, env->abandoned = 0;
	fy_rows_idle(&env->rows);
	*memory = env->region->memory, *bytes = header->region_bytes;
	return 0;
}

#define FY_FETCHED_LINES 64
static void fy_env_fetch_slot(const ferry_env *env) {
	const char *slot = (const char *)env->out[env->which].slot;
	uint64_t at, end = env->spec.fields_end[FY_ENV - 1];
	if (end > FY_FETCHED_LINES * FY_CACHE_LINE) end = FY_FETCHED_LINES * FY_CACHE_LINE;
	for (at = FY_CACHE_LINE; at < end; at += FY_CACHE_LINE) fy_fetch_to_write(slot + at);
}

static void fy_clear_columns(const fy_columns *columns, size_t num_rows) {
	memset(columns->reward, 0, num_rows * sizeof *columns->reward);
	memset(columns->terminated, 0, num_rows);
	memset(columns->truncated, 0, num_rows);
}

static void fy_env_begin_answer(ferry_env *env, uint64_t number) {
	ferry_turn *turn = &env->turns.turn[env->which];
	turn->number = number;
	turn->kind = FERRY_STEP;
	env->expected = fy_plain_of(env->spec.header.seq_start + (uint32_t)number, FERRY_STEP, number);
	fy_env_fetch_slot(env);
	if (env->steady) env->reward = 0, env->terminated = 0, env->truncated = 0;
	else {
		turn->rows = env->turns.all, turn->num_rows = env->rows.num_rows;
		fy_clear_columns(&env->columns, env->rows.num_rows);
	}
	env->outbox.used = 0;
	if (env->spec.num_infos > 0) fy_turn_clear_infos(turn);
}

static void fy_env_show(const ferry_env *env, fy_os memory) {
	if (env->channel.door != NULL) fy_platform_show(&env->channel.door->listener, memory);
}

static void fy_env_settle(ferry_env *env) {
	env->brisk = env->steady && env->channel.taken_ns == 0 && env->ring == NULL && !env->spoilt;
}

static void fy_env_ready(void *user) {
	ferry_env *env = (ferry_env *)user;
	fy_platform_memory_seal(env->region->memory);
	fy_channel_begin(&env->channel, env->spec.header.seq_start);
	fy_env_settle(env);
	env->channel.line->pid = env->spec.header.env_pid;
	fy_env_show(env, env->region->memory);
	env->turns.turn[0].peer_pid = env->turns.turn[1].peer_pid = env->channel.peer_pid;
	fy_env_begin_answer(env, 1);
}

static void fy_env_refresh(void *user, int64_t now_ns) {
	ferry_env *env = (ferry_env *)user;
	if (env->ring == NULL || !env->ring->behind || env->spoilt || env->holding != FY_HOLDING_NOTHING) return;
	if (now_ns - env->ring->copied_ns >= FY_RING_PERIOD_NS)
		fy_ring_write(env->ring, env->message, env->out[env->which ^ 1].slot, now_ns);
}

static int fy_env_watch(void *user, fy_os *memory, uint64_t *bytes, ferry_why *why) {
	ferry_env *env = (ferry_env *)user;
	if (env->ring == NULL) {
		if (fy_ring_open(&env->spec, env->region->base, env->rows.episode, env->max_bytes, &env->ring, why) < 0) return why->code;
		env->ring->behind = 1;
		fy_env_settle(env);
	}
	*memory = env->ring->region->memory, *bytes = env->ring->region->bytes;
	return 0;
}

static void fy_env_unwatch(void *user) {
	ferry_env *env = (ferry_env *)user;
	fy_ring_close(env->ring);
	env->ring = NULL;
}

static int fy_env_make_columns(ferry_env *env, ferry_why *why) {
	fy_columns *columns = &env->columns;
	size_t n = env->spec.group.num_rows;
	if (fy_rows_open(&env->rows, &env->spec, why) < 0) return why->code;
	columns->episode = env->rows.episode;
	columns->reward = &env->reward;
	columns->terminated = &env->terminated, columns->truncated = &env->truncated, columns->status = &env->status;
	if (n == 1) return 0;
	env->block = (char *)calloc(n, sizeof(double) + 3);
	if (env->block == NULL) return fy_no_memory(why);
	columns->reward = (double *)(void *)env->block;
	columns->terminated = (uint8_t *)(columns->reward + n), columns->truncated = columns->terminated + n;
	columns->status = columns->truncated + n;
	return 0;
}

static int fy_env_make_room(ferry_env *env, ferry_why *why) {
	const size_t line = FY_CACHE_LINE;
	size_t columns_end = (size_t)env->spec.columns_end[FY_AGENT - 1], fields_end = (size_t)env->spec.fields_end[FY_AGENT - 1];
	env->actions_begin = (columns_end + line - 1) / line * line;
	env->actions_lines = fields_end > env->actions_begin ? (fields_end - env->actions_begin + line - 1) / line : 0;
	env->message = (char *)calloc(1, env->actions_begin + env->actions_lines * line);
	if (env->spec.realtime) {
		env->world.incoming = (char *)malloc(env->actions_begin + env->actions_lines * line);
		if (env->world.incoming == NULL) return fy_no_memory(why);
	}
	return env->message != NULL ? fy_env_make_columns(env, why) : fy_no_memory(why);
}

static void fy_env_free(ferry_env *env) {
	fy_region_release(env->region);
	fy_region_release(env->bell);
	fy_ring_close(env->ring);
	fy_first_blob_clear(&env->first);
	fy_rows_close(&env->rows);
	free(env->block);
	fy_inbox_close(&env->inbox);
	fy_outbox_clear(&env->outbox);
	fy_turns_close(&env->turns);
	fy_spec_clear(&env->spec);
	free(env->message);
	free(env->world.incoming);
	free(env);
}

int ferry_env_open(const ferry_env_desc *desc, ferry_env **out, ferry_why *why) {
	static const fy_handshake handshake = {fy_env_offer, fy_env_ready,   NULL,
											fy_env_watch, fy_env_unwatch, fy_env_refresh};
	ferry_why ignored;
	ferry_env *env;
	if (why == NULL) why = &ignored;
	if (out != NULL) *out = NULL;
	if (fy_check_open("env", out, desc != NULL ? &desc->struct_size : NULL, sizeof *desc, why) < 0) return why->code;
	env = (ferry_env *)calloc(1, sizeof *env);
	if (env == NULL) return fy_no_memory(why);
	env->outbox.memory = FY_NO_OS;
	env->max_bytes = desc->max_bytes;
	env->takes_calls = desc->takes_calls != 0;
	env->channel.log = desc->log, env->channel.log_user = desc->log_user;
	env->channel.handshake = handshake;
	env->channel.user = env;
	if (fy_spec_build(desc, &env->spec, why) == 0 && fy_region_allowed(env->spec.header.region_bytes, desc->max_bytes, why) == 0 &&
		fy_inbox_open(&env->inbox, env->spec.header.agent_blob, env->spec.header.blob_bytes, why) == 0 &&
		fy_env_make_room(env, why) == 0 && fy_channel_open(&env->channel, FY_ENV, desc->address, NULL, why) == 0) {
		*out = env;
		return 0;
	}
	fy_env_free(env);
	return why->code;
}

void ferry_env_close(ferry_env *env) {
	if (env == NULL) return;
	if (env->channel.state == FY_OPEN && fy_channel_is_mine(&env->channel)) {
		fy_channel_hang_up(&env->channel);
		fy_platform_wake(env->region->memory, &env->out[0].slot->seq);
		fy_platform_wake(env->region->memory, &env->out[1].slot->seq);
		if (env->bell != NULL) fy_platform_wake(env->bell->memory, &fy_bell_page_of(env->bell)->count);
	}
	fy_channel_close(&env->channel);
	fy_env_free(env);
}

void ferry_env_why(const ferry_env *env, ferry_why *why) {
	const fy_channel *channel = &env->channel;
	if (fy_channel_explains(channel, why)) return;
	fy_fail(why, 0, "the agent (pid %u) at '%s' %s turn %llu", channel->peer_pid, channel->address.text,
		env->holding != FY_HOLDING_NOTHING ? "waits for the answer to" : "has the word after", (unsigned long long)env->number);
}

static void fy_env_put_columns(ferry_env *env, const fy_columns *to, ferry_status status) {
	const fy_columns *columns = &env->columns;
	size_t n = env->rows.num_rows;
	memcpy(to->reward, columns->reward, n * sizeof *columns->reward);
	memcpy(to->episode, columns->episode, n * sizeof *columns->episode);
	memcpy(to->terminated, columns->terminated, n);
	memcpy(to->truncated, columns->truncated, n);
	memset(to->status, status, n);
	fy_env_show_columns(env, &env->turns.turn[env->which], columns);
}

static void fy_env_publish(ferry_env *env, ferry_status status) {
	const fy_columns *columns = &env->out[env->which].columns;
	uint32_t kind = env->kind;
	fy_slot *slot = env->out[env->which].slot;
	env->holding = FY_HOLDING_NOTHING;
	if (env->steady) {
		*columns->reward = env->reward, *columns->episode = env->episode;
		*columns->terminated = env->terminated, *columns->truncated = env->truncated, *columns->status = (uint8_t)status;
	} else fy_env_put_columns(env, columns, status);
	if (!env->outbox.used) slot->blob_format = FERRY_NONE;
	else if (env->outbox.memory != FY_NO_OS) fy_outbox_send(&env->outbox, &env->channel);
	slot->kind = (uint16_t)kind;
	slot->number = env->number;
	if (env->spec.realtime && kind == FERRY_RESET) fy_world_begin(env, status);
	fy_slot_publish(slot, env->expected.seq, env->channel.peer_line, &env->channel.memory);
	if (env->bell != NULL) fy_bell_ring(env->bell);
	env->which ^= kind != FERRY_CALL;
	fy_env_begin_answer(env, env->number + 1);
}

static void fy_env_publish_seen(ferry_env *env, ferry_status status) {
	fy_channel *channel = &env->channel;
	const fy_slot *slot = env->out[env->which].slot;
	int64_t taken_ns = channel->taken_ns, answered_ns = taken_ns != 0 ? fy_platform_now_ns() : 0;
	fy_env_publish(env, status);
	channel->taken_ns = 0;
	if (taken_ns != 0) fy_channel_sample(channel, env->number, taken_ns, answered_ns, 0);
	env->spoilt = status != FERRY_ROW_OK || env->kind == FERRY_CALL;
	if (env->ring != NULL && !env->spoilt) {
		fy_ring_note(env->ring, slot);
		if (taken_ns != 0) fy_env_refresh(env, answered_ns);
	}
	fy_env_settle(env);
}

static int fy_env_put_blob(ferry_env *env, const ferry_blob *blob) {
	fy_slot *slot = env->out[env->which].slot;
	if (env->holding == FY_HOLDING_FRAME) {
		slot = fy_lane_mine(&env->world.frames);
		if (blob->format != FERRY_NONE && blob->size_bytes > env->outbox.room)
			return fy_fail(
				&env->channel.why, FERRY_ETOOBIG,
				"a blob of %llu bytes: a frame has room for blob_bytes, which are %llu; ask for more when the environment is opened",
				(unsigned long long)blob->size_bytes, (unsigned long long)env->outbox.room);
	}
	if (env->first.data != NULL) return fy_outbox_put_joined(&env->outbox, &env->first, blob, slot, &env->channel.why);
	return fy_outbox_put(&env->outbox, blob, slot, &env->channel.why);
}

static void fy_env_put_text(ferry_env *env, const char *text) {
	ferry_blob blob;
	fy_first_blob_clear(&env->first);
	memset(&blob, 0, sizeof blob);
	blob.data = text, blob.size_bytes = strlen(text), blob.format = FERRY_TEXT;
	if (env->holding == FY_HOLDING_FRAME && blob.size_bytes > env->outbox.room) {
		blob.size_bytes = env->outbox.room;
		while (blob.size_bytes > 0 && (text[blob.size_bytes] & 0xC0) == 0x80) blob.size_bytes--;
	}
	(void)fy_env_put_blob(env, &blob);
}

static int fy_env_may_answer(ferry_env *env) {
	if (!fy_channel_is_mine(&env->channel)) return FERRY_EFORKED;
	if (env->channel.lost == 0) env->channel.why.code = 0;
	if (fy_env_is_held(env)) return 1;
	if (env->abandoned) return 0;
	return fy_fail(&env->channel.why, FERRY_ESTATE, "there is no turn to answer: ferry_env_wait gives one");
}

int ferry_env_blob(ferry_env *env, const ferry_blob *blob) {
	int may = fy_env_may_answer(env);
	return may > 0 ? fy_env_put_blob(env, blob) : may;
}

static void fy_env_publish_failure(ferry_env *env) {
	if (env->kind != FERRY_CALL) fy_rows_idle(&env->rows);
	fy_env_publish_seen(env, FERRY_ROW_FAILED);
}

static void fy_env_save_finals(ferry_env *env, const ferry_turn *turn) {
	const fy_row_list *ended = &env->rows.reset;
	uint32_t i, k;
	for (i = 0; i < turn->num_fields; i++) {
		size_t stride = (size_t)turn->stride[i];
		if (turn->final_data[i] == NULL) continue;
		for (k = 0; k < ended->count; k++) {
			size_t row = ended->rows[k];
			memcpy((char *)turn->final_data[i] + stride * row, (const char *)turn->data[i] + stride * row, stride);
			if (turn->present[i] != NULL) turn->final_present[i][row] = turn->present[i][row];
		}
	}
}

static void fy_env_spare_columns(ferry_env *env, ferry_turn *turn) {
	const fy_columns *spare = &env->out[env->which].columns;
	fy_clear_columns(spare, env->rows.num_rows);
	fy_env_show_columns(env, turn, spare);
}

static void fy_env_begin_reset(ferry_env *env, ferry_turn *turn) {
	const fy_row_list *reset = &env->rows.reset;
	uint32_t i, k;
	for (k = 0; k < reset->count; k++) {
		uint32_t row = reset->rows[k];
		turn->seed[row] = -1;
		if (env->rows.autoreset == FERRY_AUTORESET_NEXT_STEP)
			env->columns.reward[row] = 0, env->columns.terminated[row] = env->columns.truncated[row] = 0;
		for (i = 0; i < turn->num_fields; i++)
			if (turn->present[i] != NULL) turn->present[i][row] = 0;
	}
	fy_rows_begin_episodes(&env->rows);
	fy_env_spare_columns(env, turn);
	turn->kind = FERRY_RESET, turn->rows = reset->rows, turn->num_rows = reset->count;
	turn->blob.format = FERRY_NONE, turn->blob.data = NULL, turn->blob.size_bytes = 0;
}

static int fy_env_end_step(ferry_env *env, ferry_turn *turn) {
	const fy_slot *slot = env->out[env->which].slot;
	ferry_blob none;
	fy_rows_stepped(&env->rows, env->columns.terminated, env->columns.truncated);
	if (env->rows.reset.count == 0) return 1;
	if (env->rows.autoreset == FERRY_AUTORESET_SAME_STEP) fy_env_save_finals(env, turn);
	if (env->outbox.used) {
		memset(&none, 0, sizeof none);
		if (fy_outbox_keep(&env->outbox, slot, &env->first, &env->channel.why) < 0 || fy_env_put_blob(env, &none) < 0)
			return env->channel.why.code;
	}
	fy_env_begin_reset(env, turn);
	env->holding = FY_HOLDING_RESET;
	return 0;
}

FY_COLD static int fy_env_reply_longer(ferry_env *env) {
	ferry_turn *turn = &env->turns.turn[env->which];
	int may = fy_env_may_answer(env), rest = 1;
	if (may > 0 && env->holding == FY_HOLDING_FRAME) fy_world_publish(env, FERRY_ROW_OK);
	else if (may > 0) {
		if (!env->steady && turn->kind == FERRY_STEP) rest = fy_env_end_step(env, turn);
		if (rest > 0) fy_env_publish_seen(env, FERRY_ROW_OK);
		else if (rest < 0) {
			fy_env_put_text(env, env->channel.why.text);
			fy_env_publish_failure(env);
			may = rest;
		}
	} else env->abandoned = 0;
	return may < 0 ? may : 0;
}

__attribute__((noinline)) static int fy_env_reply_slowly(ferry_env *env) {
	double reward = env->reward;
	if (!env->steady || env->ring == NULL || env->spoilt || env->kind != FERRY_STEP || env->channel.taken_ns != 0 ||
		(env->terminated | env->truncated) != 0 || env->holding != FY_HOLDING_TURN || !fy_channel_is_mine(&env->channel))
		return fy_env_reply_longer(env);
	if (env->channel.lost == 0) env->channel.why.code = 0;
	fy_env_publish(env, FERRY_ROW_OK);
	fy_ring_add(env->ring, reward);
	return 0;
}

int ferry_env_reply(ferry_env *env) {
	if (!env->brisk || env->holding != FY_HOLDING_TURN || !fy_channel_is_mine(&env->channel)) return fy_env_reply_slowly(env);
	if (env->channel.lost == 0) env->channel.why.code = 0;
	fy_env_publish(env, FERRY_ROW_OK);
	return 0;
}

int ferry_env_fail(ferry_env *env, const char *text) {
	int may = fy_env_may_answer(env);
	if (may > 0) {
		if (text != NULL) fy_env_put_text(env, text);
		if (env->holding == FY_HOLDING_FRAME) fy_world_publish(env, FERRY_ROW_FAILED);
		else fy_env_publish_failure(env);
	} else env->abandoned = 0;
	return may < 0 ? may : 0;
}

static void fy_env_keep_rows(ferry_env *env, const ferry_turn *turn, const uint32_t *rows, uint32_t count) {
	const ferry_turn *before = &env->turns.turn[env->which ^ 1];
	uint32_t i, k, row, end;
	for (i = 0; i < turn->num_fields; i++) {
		size_t stride = (size_t)turn->stride[i];
		if (env->spec.entries[i].role != FERRY_OBSERVATION) continue;
		for (k = 0, row = 0; k <= count; row = end + 1, k++) {
			end = k < count ? rows[k] : env->rows.num_rows;
			if (end > row) memcpy((char *)turn->data[i] + stride * row, (const char *)before->data[i] + stride * row, stride * (end - row));
		}
	}
}

static int fy_env_refuse(ferry_env *env, const char *text) {
	if (env->kind != FERRY_CALL && env->rows.num_rows > 1) fy_env_keep_rows(env, &env->turns.turn[env->which], NULL, 0);
	fy_env_put_text(env, text);
	fy_env_publish_seen(env, FERRY_ROW_REFUSED);
	return 0;
}

static int fy_env_refuse_actions(ferry_env *env, ferry_turn *turn) {
	ferry_why why;
	if (fy_spec_check_actions(&env->spec, env->message, turn->rows, turn->num_rows, &why) == 0) return 0;
	(void)fy_env_refuse(env, why.text);
	return 1;
}

static inline int fy_env_take_actions(ferry_env *env, ferry_turn *turn) {
	fy_copy_lines_in(env->message + env->actions_begin, (const char *)env->in + env->actions_begin, env->actions_lines);
	if (env->spec.num_checked > 0 && fy_env_refuse_actions(env, turn)) return 0;
	env->holding = FY_HOLDING_TURN;
	return 1;
}

static int fy_env_take_rows(ferry_env *env, ferry_turn *turn, uint32_t count) {
	fy_rows *rows = &env->rows;
	const fy_group *group = &env->spec.group;
	const uint32_t *list = NULL;
	ferry_why why;
	if (count < rows->num_rows) {
		list = (const uint32_t *)(void *)(env->message + group->rows_offset);
		fy_copy_in(env->message + group->rows_offset, (const char *)env->in + group->rows_offset, count * sizeof *list);
	}
	if (list != NULL && !fy_rows_valid(list, count, rows->num_rows))
		return fy_channel_damaged(&env->channel, "turn %llu is about rows that are not there", (unsigned long long)env->number);
	if (fy_rows_plan(rows, (ferry_kind)env->kind, list, count, &why) < 0) return fy_env_refuse(env, why.text);
	if (list != NULL) fy_env_keep_rows(env, turn, list, count);
	turn->kind = env->kind;
	if (env->kind == FERRY_STEP && rows->step.count > 0) {
		turn->rows = rows->step.rows, turn->num_rows = rows->step.count;
		return fy_env_take_actions(env, turn);
	}
	if (env->kind == FERRY_STEP) fy_env_begin_reset(env, turn);
	else {
		fy_copy_in(env->message + group->seed_offset, (const char *)env->in + group->seed_offset, rows->num_rows * sizeof(int64_t));
		fy_rows_begin_episodes(rows);
		env->episode = rows->episode[0];
		if (!env->steady) fy_env_spare_columns(env, turn);
		turn->rows = rows->reset.rows, turn->num_rows = rows->reset.count;
	}
	env->holding = FY_HOLDING_TURN;
	return 1;
}

static int fy_env_take(ferry_env *env) {
	const fy_slot *head = (const fy_slot *)(void *)env->message;
	ferry_turn *turn = &env->turns.turn[env->which];
	fy_copy_in(env->message, env->in, sizeof *head);
	if (head->number != env->number + 1 ||
		((head->kind != FERRY_STEP || env->spec.realtime) && head->kind != FERRY_RESET && head->kind != FERRY_CALL) ||
		head->num_rows == 0 || head->num_rows > env->rows.num_rows)
		return fy_channel_damaged(&env->channel, "turn %llu says it is number %llu, kind %d, rows %u",
			(unsigned long long)env->number + 1, (unsigned long long)head->number, head->kind, head->num_rows);
	env->turns.turn[0].blob.format = env->turns.turn[1].blob.format = FERRY_NONE;
	fy_first_blob_clear(&env->first);
	if (fy_inbox_take(&env->inbox, &env->channel, head, env->in, &turn->blob, NULL) < 0) return env->channel.lost;
	turn->kind = env->kind = head->kind;
	env->number++;
	if (env->kind != FERRY_CALL) return fy_env_take_rows(env, turn, head->num_rows);
	if (!env->takes_calls) return fy_env_refuse(env, "this environment takes no calls");
	env->holding = FY_HOLDING_TURN;
	return 1;
}

static int fy_env_leave(ferry_env *env, const ferry_turn **out) {
	uint32_t pid = env->channel.peer_pid;
	int reason = env->channel.lost;
	env->abandoned = fy_env_is_held(env), env->holding = FY_HOLDING_NOTHING;
	fy_outbox_clear(&env->outbox);
	fy_env_show(env, FY_NO_OS);
	fy_channel_hang_up(&env->channel);
	memset(&env->left, 0, sizeof env->left);
	env->left.struct_size = sizeof env->left, env->left.kind = FERRY_LEFT, env->left.reason = reason;
	env->left.number = env->number, env->left.peer_pid = pid;
	*out = &env->left;
	return 1;
}

static int fy_env_await(ferry_env *env, int64_t timeout_ns, const ferry_turn **out, int *answered) {
	ferry_turn *turn = &env->turns.turn[env->which];
	uint32_t next = env->expected.seq;
	int got = fy_channel_await(&env->channel, env->in, next - 1, next, timeout_ns);
	*answered = 0;
	if (got > 0) {
		got = fy_env_take(env);
		if (got > 0) *out = turn;
		*answered = got == 0;
	}
	return got < 0 ? fy_env_leave(env, out) : got;
}

static int fy_env_find_frame(ferry_env *env, int64_t timeout_ns, const ferry_turn **out) {
	int got, answered;
	if (env->channel.state != FY_OPEN) {
		got = fy_channel_meet(&env->channel, timeout_ns);
		if (got != 0) return got > 0 ? 0 : got;
	} else {
		got = fy_env_await(env, 0, out, &answered);
		if (got != 0 || answered) return got;
		got = fy_world_await(env, timeout_ns);
		if (got <= 0) return got < 0 ? fy_env_leave(env, out) : 0;
	}
	*out = fy_world_frame(env);
	return 1;
}

static int fy_env_find_turn(ferry_env *env, int64_t timeout_ns, const ferry_turn **out) {
	fy_channel *channel = &env->channel;
	int64_t start, left = timeout_ns;
	int got, answered;
	if (env->holding == FY_HOLDING_RESET) {
		env->holding = FY_HOLDING_TURN;
		*out = &env->turns.turn[env->which];
		return 1;
	}
	if (fy_env_is_held(env)) {
		channel->why.code = 0;
		if (timeout_ns != 0)
			return fy_fail(&channel->why, FERRY_ESTATE,
				"turn %llu is unanswered: ferry_env_reply or ferry_env_fail comes before the next wait",
				(unsigned long long)env->number);
		return fy_channel_look(channel, fy_platform_now_ns(), 0) < 0 ? fy_env_leave(env, out) : 0;
	}
	start = fy_platform_now_ns();
	for (;;) {
		if (env->world.runs) {
			got = fy_env_find_frame(env, left, out);
			if (got != 0) return got;
		} else if (channel->state != FY_OPEN) {
			got = fy_channel_meet(channel, left);
			if (got <= 0) return got;
		} else {
			got = fy_env_await(env, left, out, &answered);
			if (got != 0 || !answered) return got;
		}
		if (timeout_ns > 0) left = timeout_ns - (fy_platform_now_ns() - start);
		if (timeout_ns > 0 && left < 0) left = 0;
	}
}

FY_COLD static int fy_env_wait_longer(ferry_env *env, int64_t timeout_ns, const ferry_turn **out) {
	int got = fy_env_find_turn(env, timeout_ns, out);
	fy_env_settle(env);
	return got;
}

int ferry_env_wait(ferry_env *env, int64_t timeout_ns, const ferry_turn **out) {
	ferry_turn *turn = &env->turns.turn[env->which];
	uint32_t next = env->expected.seq;
	*out = NULL;
	if (!fy_channel_is_mine(&env->channel)) return FERRY_EFORKED;
	if (!env->holding && env->channel.state == FY_OPEN && fy_channel_spin(&env->channel, env->in, next - 1, next, timeout_ns) &&
		env->steady && env->rows.num_idle == 0 && !env->inbox.used && fy_slot_is_plain(env->in, &env->expected)) {
		env->number++;
		env->kind = FERRY_STEP;
		if (fy_env_take_actions(env, turn)) {
			*out = turn;
			return 1;
		}
	}
	return fy_env_wait_longer(env, timeout_ns, out);
}
