/* The shared bytes: everything that two processes must agree on, in plain fixed-width words. docs/protocol.md says the same in prose.
 *
 * Invariants: the header, groups, fields and pool never change after READY. Every other cache line has one writing process: the agent's
 * part is written by the agent alone, the env's part by the env alone. All integers have the machine's byte order. Reserved is zero. */
#ifndef FERRY__LAYOUT_H
#define FERRY__LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "libferry.h"

#ifdef __cplusplus
#define FERRY__STATIC_ASSERT(condition, name) static_assert(condition, #name)
#else
#define FERRY__STATIC_ASSERT(condition, name) typedef char ferry__assert_##name[(condition) ? 1 : -1]
#endif
#define FERRY__SIZE(type, bytes) FERRY__STATIC_ASSERT(sizeof(type) == (bytes), type##_size)
#define FERRY__AT(type, member, at) FERRY__STATIC_ASSERT(offsetof(type, member) == (at), type##_##member)

#define FERRY__ABI_MAJOR 1
#define FERRY__ABI_MINOR 1
#define FERRY__ENDIAN UINT32_C(0x01020304)

/* Features a region may need (incompat bits). Where this library does not know them yet, their places in the layout are kept. */
#define FERRY__FEATURE_ROWS (UINT64_C(1) << 0)      /* more than one row */
#define FERRY__FEATURE_GROUPS (UINT64_C(1) << 1)    /* more than one group */
#define FERRY__FEATURE_AUTORESET (UINT64_C(1) << 2) /* final observations and infos */
#define FERRY__FEATURE_BELL (UINT64_C(1) << 3)      /* a page of the agent's that is rung at each answer */
#define FERRY__FEATURE_OBSERVERS (UINT64_C(1) << 4) /* an env that listens lets observers in; the region does not need it */
#define FERRY__FEATURE_REALTIME (UINT64_C(1) << 5)  /* steps are frames and actions in lanes of their own */
#define FERRY__FEATURES_KNOWN                                                                                                              \
    (FERRY__FEATURE_ROWS | FERRY__FEATURE_AUTORESET | FERRY__FEATURE_BELL | FERRY__FEATURE_OBSERVERS | FERRY__FEATURE_REALTIME)

/* Features that may be ignored (compat bits). */
#define FERRY__OFFERS_CALLS (UINT64_C(1) << 0) /* the env takes turns of kind CALL */

#define FERRY__CACHE_LINE 64 /* what processors move */
#define FERRY__LINE_BYTES 128 /* what they prefetch together: nothing of two writers shares it */
#define FERRY__PAGE 4096
#define FERRY__MAX_FIELDS 4096
#define FERRY__MAX_PATH 1024
#define FERRY__MAX_ABOUT (1 << 20)

/* Sequence words count turns from here, so that they pass the wrap in every connection that lives for 256 turns. */
#define FERRY__SEQ_START UINT32_C(0xFFFFFF00)

/* ---- The region ---- */

typedef struct ferry__header {
    uint8_t magic[8]; /* FERRY__REGION_MAGIC */
    uint32_t endian;
    uint16_t abi_major, abi_minor;
    uint64_t compat, incompat; /* feature bits: may be ignored; must be known */
    uint64_t region_bytes;
    uint32_t header_bytes, group_bytes, field_bytes; /* sizes of these structs, so that later minors can append */
    uint32_t num_groups, num_fields;
    uint32_t seq_start;
    uint64_t groups_offset, fields_offset, pool_offset, pool_bytes; /* offsets in the region */
    uint64_t agent_offset, agent_bytes, env_offset, env_bytes;      /* the two parts, page-aligned; each begins with its line */
    uint64_t agent_slot;                                            /* offset in the region */
    uint64_t env_slot[2];
    uint64_t agent_blob, env_blob, blob_bytes; /* offset from the slot; room */
    uint32_t env_pid, blob_format;             /* blob_format: what the env reads */
    uint32_t name_offset, name_bytes;          /* in the pool */
    uint32_t about_offset, about_bytes, about_format;
    uint32_t reserved0;
    uint64_t frame_slots, action_slots; /* real time: offset in the region of the first of three each, whole pages apart; else 0 */
    uint32_t reserved[10];
} ferry__header;

#define FERRY__REGION_MAGIC "FERRYmap"
FERRY__AT(ferry__header, endian, 8);
FERRY__AT(ferry__header, abi_major, 12);
FERRY__AT(ferry__header, abi_minor, 14);
FERRY__AT(ferry__header, compat, 16);
FERRY__AT(ferry__header, incompat, 24);
FERRY__AT(ferry__header, region_bytes, 32);
FERRY__AT(ferry__header, header_bytes, 40);
FERRY__AT(ferry__header, group_bytes, 44);
FERRY__AT(ferry__header, field_bytes, 48);
FERRY__AT(ferry__header, num_groups, 52);
FERRY__AT(ferry__header, num_fields, 56);
FERRY__AT(ferry__header, seq_start, 60);
FERRY__AT(ferry__header, groups_offset, 64);
FERRY__AT(ferry__header, fields_offset, 72);
FERRY__AT(ferry__header, pool_offset, 80);
FERRY__AT(ferry__header, pool_bytes, 88);
FERRY__AT(ferry__header, agent_offset, 96);
FERRY__AT(ferry__header, agent_bytes, 104);
FERRY__AT(ferry__header, env_offset, 112);
FERRY__AT(ferry__header, env_bytes, 120);
FERRY__AT(ferry__header, agent_slot, 128);
FERRY__AT(ferry__header, env_slot, 136);
FERRY__AT(ferry__header, agent_blob, 152);
FERRY__AT(ferry__header, env_blob, 160);
FERRY__AT(ferry__header, blob_bytes, 168);
FERRY__AT(ferry__header, env_pid, 176);
FERRY__AT(ferry__header, blob_format, 180);
FERRY__AT(ferry__header, name_offset, 184);
FERRY__AT(ferry__header, name_bytes, 188);
FERRY__AT(ferry__header, about_offset, 192);
FERRY__AT(ferry__header, about_bytes, 196);
FERRY__AT(ferry__header, about_format, 200);
FERRY__AT(ferry__header, frame_slots, 208);
FERRY__AT(ferry__header, action_slots, 216);
FERRY__SIZE(ferry__header, 264);

/* Flags of a group. */
#define FERRY__AUTORESET_MASK UINT32_C(3) /* ferry_autoreset of the connection */
#define FERRY__TICK_TOGETHER UINT32_C(4)
#define FERRY__FLAGS_KNOWN UINT32_C(7)

/* One kind of agent. Offsets count from the start of the slot that carries the column; 0: there is no such column. */
typedef struct ferry__group {
    uint32_t num_rows, flags;
    uint32_t first_field, num_fields;
    uint32_t max_episode_steps, reserved0;
    uint64_t rows_offset, seed_offset;       /* agent's slot: u32[num_rows] which rows, if not all; i64[num_rows] */
    uint64_t reward_offset, episode_offset;  /* env's slots: f64[num_rows]; u64[num_rows] */
    uint64_t terminated_offset, truncated_offset, status_offset, active_offset; /* u8[num_rows] */
    uint64_t env_number_offset, agent_number_offset;                            /* u32[num_rows]; absent so far */
    uint64_t action_moment_offset, frame_moment_offset; /* agent's slot, env's slots: ferry__moment, in real time */
    uint64_t reserved[1];
} ferry__group;

FERRY__AT(ferry__group, rows_offset, 24);
FERRY__AT(ferry__group, reward_offset, 40);
FERRY__AT(ferry__group, terminated_offset, 56);
FERRY__AT(ferry__group, active_offset, 80);
FERRY__AT(ferry__group, action_moment_offset, 104);
FERRY__SIZE(ferry__group, 128);

typedef enum ferry__bounds { FERRY__BOUNDS_NONE = 0, FERRY__BOUNDS_SCALAR = 1, FERRY__BOUNDS_EACH = 2 } ferry__bounds;

/* One leaf. Actions lie in the agent's slot, observations and infos in the env's. */
typedef struct ferry__entry {
    uint32_t path_offset; /* in the pool, UTF-8, followed by a zero */
    uint16_t path_bytes;
    uint8_t role, kind, dtype, ndim;
    uint8_t bounds; /* ferry__bounds: none, one element of the dtype each, or a whole array each */
    uint8_t reserved0;
    uint32_t shape[FERRY_MAX_NDIM];
    uint32_t capacity; /* not 0: a ferry_list of up to so many elements (bytes of a Text), and dtype, shape and bounds are of one */
    uint64_t stride; /* bytes of one row */
    uint64_t offset; /* from the start of the slot: row 0 */
    uint64_t final_offset; /* observations and infos: those at the end of a row's episode; 0: none */
    uint64_t present_offset; /* u8[num_rows], infos only; 0: none */
    uint64_t low_offset, high_offset; /* in the pool, 8-aligned */
    uint64_t final_present_offset; /* u8[num_rows], infos only; 0: none */
    uint64_t reserved2[3];
} ferry__entry;

FERRY__AT(ferry__entry, path_bytes, 4);
FERRY__AT(ferry__entry, role, 6);
FERRY__AT(ferry__entry, bounds, 10);
FERRY__AT(ferry__entry, shape, 12);
FERRY__AT(ferry__entry, capacity, 44);
FERRY__AT(ferry__entry, stride, 48);
FERRY__AT(ferry__entry, offset, 56);
FERRY__AT(ferry__entry, final_offset, 64);
FERRY__AT(ferry__entry, present_offset, 72);
FERRY__AT(ferry__entry, low_offset, 80);
FERRY__AT(ferry__entry, high_offset, 88);
FERRY__AT(ferry__entry, final_present_offset, 96);
FERRY__SIZE(ferry__entry, 128);

/* What a side says outside its turns. The peer reads parked after each publication, so nothing else in the first half changes while both are
 * busy. The second half, a cache line of its own, is for onlookers: the peer never reads it. */
typedef struct ferry__line {
    uint32_t parked; /* 1: its owner is about to sleep on the peer's next sequence word */
    uint32_t left; /* 1: its owner has said goodbye; look at the control socket before you sleep */
    uint64_t sleeps; /* how often it slept */
    uint64_t big_blobs; /* blobs that went by descriptor */
    uint64_t stamp_ns; /* monotonic clock at a publication; 0: not taken */
    uint32_t processor; /* where its owner waited last, counted from 1; 0: unknown */
    uint32_t pid; /* the owner */
    uint64_t reserved0[3];
    /* A turn that was timed: both words are the one for which its sequence word stands, while the times between belong to it. Env: it took the
     * turn, it published the answer. Agent: it published the turn, it took the answer; and how long it took from
     * the answer timed before that to the turn after it, 0 if unknown: so that both sides' samples are of one turn nearly always. Monotonic
     * clock. */
    uint32_t sample_begun, sample_done;
    uint64_t sample_ns[3];
    uint64_t waits_ns; /* since when it waits for the sequence word waits_for, if that has not come in the time of a spin */
    uint32_t waits_for;
    uint32_t fetched; /* agent: how often it has moved the env to its own processor */
    uint64_t frames; /* real time, env: published in this connection */
    uint64_t reserved2[1];
} ferry__line;

FERRY__AT(ferry__line, left, 4);
FERRY__AT(ferry__line, sleeps, 8);
FERRY__AT(ferry__line, pid, 36);
FERRY__AT(ferry__line, sample_begun, 64);
FERRY__AT(ferry__line, sample_ns, 72);
FERRY__AT(ferry__line, waits_ns, 96);
FERRY__AT(ferry__line, waits_for, 104);
FERRY__AT(ferry__line, frames, 112);
FERRY__SIZE(ferry__line, FERRY__LINE_BYTES);

/* Head of a message. The agent has one slot, the env two: its answers lie in one and the other in turn, so that an observation stays
 * whole for a further step. seq is stored last: seq_start + n says that turn n is complete. The columns of group 0 follow the head; the fields begin
 * at the next line.
 *
 * The answer to a CALL has no observation; it lies where that of the next step will, so that it shortens no observation's life.
 *
 * The peer polls the first line. A store to it may have to fetch the line back from the peer, so head and columns are written in one go,
 * just before seq, and not piece by piece while the message is made. */
typedef struct ferry__slot {
    uint32_t seq;
    uint16_t kind;
    uint8_t blob_format, blob_where; /* ferry__where */
    uint64_t number; /* n, in full */
    uint64_t blob_bytes;
    uint32_t num_rows; /* agent's slot: how many rows the turn is about; where it is all of them, the list is not read */
    uint32_t reserved;
} ferry__slot;

typedef enum ferry__where { FERRY__WHERE_SLOT = 0, FERRY__WHERE_DESCRIPTOR = 1 } ferry__where;

FERRY__AT(ferry__slot, kind, 4);
FERRY__AT(ferry__slot, blob_format, 6);
FERRY__AT(ferry__slot, blob_where, 7);
FERRY__AT(ferry__slot, number, 8);
FERRY__AT(ferry__slot, blob_bytes, 16);
FERRY__AT(ferry__slot, num_rows, 24);
FERRY__SIZE(ferry__slot, 32);

/* Real time. Steps go through two lanes (lane.h), frames to the agent and actions to the env, whose slots look like those of turns; number in a frame's
 * head counts the frames of its episode, from 1. The words of the lanes, each written by both sides, lie in the env's part,
 * between its line and its slots. */
#define FERRY__FRAMES_WORD 128
#define FERRY__ACTIONS_WORD 256
#define FERRY__LANES_END 384

typedef struct ferry__moment {
    uint64_t answers; /* the frame that the action answers, the RESET's answer being number 0; a frame: that of the action behind it */
    uint64_t episode; /* action: that of the frame it answers */
    uint64_t frame_ns; /* frame: when it was begun, by the monotonic clock */
    uint64_t action_ns; /* when the action was sent; frame: the action behind it, or 0 if there was none in its episode */
    double returned; /* frame: sum of the episode's rewards up to and with it */
} ferry__moment;
FERRY__SIZE(ferry__moment, 40);

/* Two blobs in one, of an answer that the library asked the env for in two parts: what it said to the STEP, and then to the RESET. Of the
 * sizes the second is what is left. */
typedef struct ferry__joined {
    uint32_t first_format, second_format; /* ferry_format */
    uint64_t first_bytes;
} ferry__joined;

#define FERRY__JOINED 5 /* a ferry_format on the wire */
FERRY__SIZE(ferry__joined, 16);

/* What the agent of many environments shares with all of them: they ring, it sleeps. */
typedef struct ferry__bell_page {
    uint32_t count; /* answers published; its cache line is everybody's */
    uint32_t parked; /* agent: 1 while it is about to sleep on count */
    uint32_t target; /* agent: wake it when count has come so far */
    uint32_t reserved[29];
} ferry__bell_page;
FERRY__SIZE(ferry__bell_page, FERRY__LINE_BYTES);

/* ---- What observers map: memory of its own, written by the env, made when the first of them comes ---- */

#define FERRY__RING_SLOTS 4
#define FERRY__MAX_OBSERVERS 8

typedef struct ferry__ring_head {
    uint8_t magic[8]; /* FERRY__RING_MAGIC */
    uint64_t bytes;
    uint64_t spec_offset, spec_bytes;  /* a copy of the region up to its parts: header, group, entries, pool */
    uint64_t slots_offset, slot_bytes; /* FERRY__RING_SLOTS of them */
    uint64_t returns_at;               /* from the start of a slot: f64[num_rows] */
    uint64_t agent_at,
        agent_bytes;    /* the agent's slot, up to the end of its fields; of its head and columns only the list of rows counts */
    uint64_t env_at, env_bytes;        /* the env's slot, with its blob where that lies in the slot */
    uint64_t reserved0[5];
    uint32_t latest; /* counts messages from seq_start on: the newest lies in slot latest % FERRY__RING_SLOTS */
    uint32_t reserved1[31];
} ferry__ring_head;

#define FERRY__RING_MAGIC "FERRYobs"
FERRY__AT(ferry__ring_head, spec_offset, 16);
FERRY__AT(ferry__ring_head, slots_offset, 32);
FERRY__AT(ferry__ring_head, returns_at, 48);
FERRY__AT(ferry__ring_head, agent_at, 56);
FERRY__AT(ferry__ring_head, env_at, 72);
FERRY__AT(ferry__ring_head, latest, 128);
FERRY__SIZE(ferry__ring_head, 256);

typedef struct ferry__ring_slot {
    uint32_t seq; /* from seq_start on; odd while the slot is being written */
    uint32_t reserved0;
    uint64_t number;        /* of the turn */
    uint64_t stamp_ns;      /* when it was copied; monotonic clock */
    uint64_t finished;      /* episodes that began and ended observed */
    double finished_return; /* the sum of their returns */
    uint64_t count;         /* of this message, as latest counts them */
    uint64_t reserved1[2];
} ferry__ring_slot;

FERRY__AT(ferry__ring_slot, number, 8);
FERRY__AT(ferry__ring_slot, finished_return, 32);
FERRY__SIZE(ferry__ring_slot, 64);

/* ---- The control socket: frames, each a head and a payload ---- */

typedef enum ferry__frame_type {
    FERRY__HELLO = 1, /* both sides, at once: ferry__hello; an agent's may bring the descriptor of its bell */
    FERRY__WELCOME = 2, /* env: ferry__welcome and the region's descriptor; to an observer, the ring's */
    FERRY__READY = 3, /* agent: the region is checked and mapped; nothing */
    FERRY__REFUSE = 4, /* either, then it hangs up: ferry__refuse and a text */
    FERRY__GOODBYE = 5, /* either: nothing */
    FERRY__BLOB = 6 /* either, before the turn that it belongs to: ferry__welcome's layout (bytes) and a sealed descriptor */
} ferry__frame_type;

typedef struct ferry__frame {
    uint32_t magic; /* FERRY__FRAME_MAGIC */
    uint16_t type, reserved0;
    uint32_t bytes; /* of the payload, at most FERRY__MAX_FRAME */
    uint32_t reserved1;
} ferry__frame;

#define FERRY__FRAME_MAGIC UINT32_C(0x59525246) /* "FRRY" on a little-endian machine */
#define FERRY__MAX_FRAME 2048
FERRY__SIZE(ferry__frame, 16);

/* The first 16 bytes keep their meaning in every version to come. */
typedef struct ferry__hello {
    uint8_t magic[8]; /* FERRY__HELLO_MAGIC */
    uint32_t endian;
    uint16_t abi_major, abi_minor;
    uint64_t features; /* what this side knows */
    uint32_t side; /* ferry__side */
    uint32_t pid;
    int32_t index; /* of an env among its fellows; -1: none */
    uint32_t autoreset; /* agent: ferry_autoreset */
    uint64_t max_bytes; /* agent: largest region it accepts */
    uint32_t version; /* FERRY_VERSION, for people */
    uint32_t realtime; /* agent: 1 if it plays in real time */
    uint32_t reserved[2];
} ferry__hello;

#define FERRY__HELLO_MAGIC "FERRYhi\n"
FERRY__AT(ferry__hello, endian, 8);
FERRY__AT(ferry__hello, features, 16);
FERRY__AT(ferry__hello, side, 24);
FERRY__AT(ferry__hello, max_bytes, 40);
FERRY__AT(ferry__hello, version, 48);
FERRY__SIZE(ferry__hello, 64);

typedef enum ferry__side { FERRY__ENV = 1, FERRY__AGENT = 2, FERRY__OBSERVER = 3 } ferry__side;

typedef struct ferry__welcome {
    uint64_t bytes;
} ferry__welcome;

typedef struct ferry__refuse {
    int32_t code; /* ferry_err */
    uint32_t text_bytes;
} ferry__refuse;

#endif
