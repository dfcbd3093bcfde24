/* libferry: the Gymnasium API across a process boundary, through shared memory.
 *
 * One process holds an environment (a game, a simulator), another the agent that plays it. They meet at an address, agree on a
 * region of memory, and take turns in it: the agent writes an action, the environment writes what followed. A turn costs two cache
 * misses and no system call while both sides are busy; whoever has to wait longer sleeps. C99, C++11, libc alone.
 *
 * A complete environment (cc -Iinclude walk.c build/libferry.a -o walk):
 *
 *     #include <libferry.h>
 *     #include <stdio.h>
 *
 *     int main(void) {
 *         enum { POSITION, MOVE, NUM_FIELDS };
 *         ferry_field fields[NUM_FIELDS] = {{0}};
 *         fields[POSITION].role = FERRY_OBSERVATION, fields[POSITION].kind = FERRY_BOX, fields[POSITION].dtype = FERRY_F32;
 *         fields[POSITION].ndim = 1, fields[POSITION].shape[0] = 1, fields[POSITION].low = -10, fields[POSITION].high = 10;
 *         fields[MOVE].role = FERRY_ACTION, fields[MOVE].kind = FERRY_DISCRETE, fields[MOVE].n = 3, fields[MOVE].start = -1;
 *         ferry_env_desc desc = {0};
 *         desc.struct_size = sizeof desc, desc.address = "walk", desc.fields = fields, desc.num_fields = NUM_FIELDS;
 *         ferry_env *env;
 *         ferry_why why;
 *         const ferry_turn *turn;
 *         float x = 0;
 *         if (ferry_env_open(&desc, &env, &why) < 0) return fprintf(stderr, "%s\n", why.text), 1;
 *         while (ferry_env_wait(env, FERRY_FOREVER, &turn) > 0) {
 *             if (turn->kind == FERRY_LEFT) continue; // the next agent may come
 *             x = turn->kind == FERRY_RESET ? 0 : x + (float)*(const int64_t *)turn->data[MOVE];
 *             *(float *)turn->data[POSITION] = x;
 *             turn->reward[0] = x >= 10;
 *             turn->terminated[0] = x >= 10 || x <= -10;
 *             ferry_env_reply(env);
 *         }
 *         ferry_env_close(env);
 *     }
 *
 * and from Python: env = ferry.ClientEnv("walk").
 *
 * Guarantees
 *   - No call waits longer than the time-out it is given; ferry_env_open, ferry_env_reply and ferry_agent_open never wait.
 *   - A peer that dies is noticed by whoever waits for it within 50 ms, some 20 as a rule. A half-written message is never delivered.
 *   - Whatever a peer writes, the library neither crashes nor reads out of bounds: it checks, and reports FERRY_EPROTOCOL or
 *     FERRY_ECORRUPT.
 *   - No globals, no threads, no signal handlers; open, close and open again as often as you like, several handles side by side.
 *   - While turns are exchanged there is no allocation, and no system call unless a side has to sleep. (Now and then, by the clock
 *     or every 1024 turns, the peer's health and the door are looked at.)
 *
 * Caveats
 *   - A handle is used by one thread at a time. Different handles need no care.
 *   - After fork() the child's handle is dead: every call on it answers FERRY_EFORKED; ferry_*_close only frees what the child holds
 *     and says no goodbye.
 *   - Both processes run on one machine, under one user. Nothing here is encrypted: the operating system guards the address.
 *   - Buffers for observations alternate: the one you are given holds what you wrote two turns ago, not one. Fill it whole, or keep
 *     book of both.
 *   - Memory of a region is reserved in full when an agent connects (see max_bytes).
 */
#ifndef LIBFERRY_H
#define LIBFERRY_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* For Windows: whoever uses the DLL defines FERRY_SHARED. Nobody needs to for the static library. */
#ifndef FERRY_API
#if defined(_WIN32) && defined(FERRY_SHARED)
#ifdef FERRY_BUILDING
#define FERRY_API __declspec(dllexport)
#else
#define FERRY_API __declspec(dllimport)
#endif
#elif defined(__GNUC__) && !defined(_WIN32)
#define FERRY_API __attribute__((visibility("default")))
#else
#define FERRY_API
#endif
#endif

/* ---- Version ------------------------------------------------------------------------------------------------------------------ */

#define FERRY_VERSION_MAJOR 0
#define FERRY_VERSION_MINOR 1
#define FERRY_VERSION_PATCH 0
#define FERRY_VERSION ((FERRY_VERSION_MAJOR << 16) | (FERRY_VERSION_MINOR << 8) | FERRY_VERSION_PATCH)

/* FERRY_VERSION of the library that is linked, to compare with the header's. */
FERRY_API uint32_t ferry_version(void);

/* ---- Errors ------------------------------------------------------------------------------------------------------------------- */

/* Every call that can fail returns an int: negative is one of these. "Not yet" is no error: the waiting calls return 0. */
#define FERRY_ERRORS(X)                                                                                                                    \
    X(FERRY_EINVAL, -1, "an argument is not valid")                                                                                        \
    X(FERRY_ESTATE, -2, "this call is not possible now")                                                                                   \
    X(FERRY_ENOMEM, -3, "out of memory")                                                                                                   \
    X(FERRY_ESYSTEM, -4, "an operating system call failed")                                                                                \
    X(FERRY_EADDRESS, -5, "the address cannot be used")                                                                                    \
    X(FERRY_EINUSE, -6, "the address is in use")                                                                                           \
    X(FERRY_EBUSY, -7, "the peer is held by another agent")                                                                                \
    X(FERRY_EVERSION, -8, "the peer speaks another version")                                                                               \
    X(FERRY_EROLE, -9, "both sides are of the same kind")                                                                                  \
    X(FERRY_EPROTOCOL, -10, "the peer does not speak Ferry")                                                                               \
    X(FERRY_ESPEC, -11, "the description of the environment is not valid")                                                                 \
    X(FERRY_ETOOBIG, -12, "too big")                                                                                                       \
    X(FERRY_ECLOSED, -13, "the peer said goodbye")                                                                                         \
    X(FERRY_EPEERDEAD, -14, "the peer's process is gone")                                                                                  \
    X(FERRY_ECORRUPT, -15, "the shared memory holds what no peer may write")                                                               \
    X(FERRY_EFORKED, -16, "this handle belongs to the parent process")                                                                     \
    X(FERRY_EUNSUPPORTED, -17, "not supported by this build")

#define FERRY__ENUM(name, value, text) name = value,
typedef enum ferry_err { FERRY_OK = 0, FERRY_ERRORS(FERRY__ENUM) FERRY__ERR_LAST = -18 } ferry_err;
#undef FERRY__ENUM

/* A static sentence for an error code; never NULL. */
FERRY_API const char *ferry_strerror(int err);

/* What went wrong, in full: what was tried, what is known, what to do. Owned by the caller; text is always terminated. */
typedef struct ferry_why {
    int32_t code; /* ferry_err; 0 when nothing is wrong */
    char text[1532];
} ferry_why;

/* The clock of frame_ns and action_ns: nanoseconds of the system's monotonic clock. */
FERRY_API int64_t ferry_now_ns(void);

/* ---- Fields: what observations, actions and typed infos are made of ------------------------------------------------------------ */

typedef enum ferry_role { FERRY_OBSERVATION = 0, FERRY_ACTION = 1, FERRY_INFO = 2 } ferry_role;

/* The Gymnasium space that a field stands for. FERRY_DICT and FERRY_TUPLE are only for empty ones: they have no bytes. Of FERRY_STRING (a
 * Text) the elements are bytes of UTF-8. Values of FERRY_OTHER (Graph, OneOf, what has no kind of its own) travel in the turn's blob, in
 * the format FERRY_VALUES; what space it is, "about" says. */
typedef enum ferry_space {
    FERRY_BOX = 0,
    FERRY_DISCRETE = 1,
    FERRY_MULTI_DISCRETE = 2,
    FERRY_MULTI_BINARY = 3,
    FERRY_DICT = 4,
    FERRY_TUPLE = 5,
    FERRY_STRING = 6,
    FERRY_OTHER = 7
} ferry_space;

typedef enum ferry_dtype {
    FERRY_DEFAULT = 0, /* F32 for Box, I64 for Discrete and MultiDiscrete, I8 for MultiBinary */
    FERRY_BOOL = 1,
    FERRY_I8 = 2,
    FERRY_U8 = 3,
    FERRY_I16 = 4,
    FERRY_U16 = 5,
    FERRY_I32 = 6,
    FERRY_U32 = 7,
    FERRY_I64 = 8,
    FERRY_U64 = 9,
    FERRY_F16 = 10,
    FERRY_F32 = 11,
    FERRY_F64 = 12
} ferry_dtype;

#define FERRY_MAX_NDIM 8

/* One leaf. Zero-initialise, then set what differs from zero. Arrays are C-contiguous; a Discrete is one number (ndim 0). */
typedef struct ferry_field {
    /* Place in the space, UTF-8. NULL or "": the space is this leaf alone. Keys of a Dict are joined by '/', places in a Tuple written
     * '#0', '#1', ...: "camera/rgb", "pair#0", "#1/x". In a key '%', '/' and '#' are written %25, %2F, %23; an empty key is "%-".
     * For FERRY_INFO no path but the key in the info dict as it is, which it must have; a scalar arrives in Python as an array of no
     * dimensions. */
    const char *path;
    uint8_t role;  /* ferry_role */
    uint8_t kind;  /* ferry_space */
    uint8_t dtype; /* ferry_dtype */
    uint8_t ndim;  /* at most FERRY_MAX_NDIM; 0 is a scalar */
    uint32_t shape[FERRY_MAX_NDIM];
    /* Bounds, inclusive. Box: both zero means no bounds (the whole range of the dtype). Scalars stand for every element; where the
     * elements differ, or a double cannot hold the bound, point low_each and high_each (both) at arrays of the field's shape and dtype.
     * MultiDiscrete: low_each and high_each (start and start + nvec - 1), or scalars; n and start do not count. Others: ignored. */
    double low, high;
    const void *low_each, *high_each;
    int64_t n, start; /* Discrete: the n values from start on */
    /* Not 0: the field is a list of up to so many elements that fit into shared memory, and kind, dtype, shape and bounds are those of one
     * element: a Gymnasium Sequence. A FERRY_STRING must have one, in bytes; its Text has printable
     * ASCII and 0 to capacity characters, unless "spaces" in "about" says more. data[] then points to a ferry_list. */
    uint32_t capacity;
    uint32_t reserved;
} ferry_field;

/* What a field with a capacity begins with; its elements follow at once, count of them. */
typedef struct ferry_list {
    uint32_t count; /* at most the capacity; FERRY_IN_BLOB: there are more, and they travel in the turn's blob */
    uint32_t reserved;
} ferry_list;

#define FERRY_IN_BLOB UINT32_MAX

/* Bytes of one element; 0 if the dtype is unknown. */
FERRY_API uint32_t ferry_dtype_bytes(int dtype);

/* ---- Blobs: free-form bytes that ride on a turn -------------------------------------------------------------------------------- */

/* JSON is UTF-8 text, MSGPACK one MessagePack value with Ferry's extension types (docs/protocol.md), TEXT plain UTF-8.
 * VALUES is MessagePack too: an array of two, first what the blob of the turn would be otherwise (nil: none), then a map from field numbers
 * to the values of fields that do not lie in the slot. */
typedef enum ferry_format { FERRY_NONE = 0, FERRY_JSON = 1, FERRY_MSGPACK = 2, FERRY_TEXT = 3, FERRY_VALUES = 4 } ferry_format;

typedef struct ferry_blob {
    const void *data;
    uint64_t size_bytes; /* at most FERRY_MAX_BLOB */
    uint32_t format; /* ferry_format; FERRY_NONE: there is no blob */
    uint32_t reserved;
} ferry_blob;

#define FERRY_MAX_BLOB ((uint64_t)256 << 20)

/* ---- Turns --------------------------------------------------------------------------------------------------------------------- */

typedef enum ferry_kind {
    FERRY_STEP = 1, /* an action is given; wants observation, reward, flags */
    FERRY_RESET = 2, /* a seed and options may be given; wants the first observation of a new episode */
    FERRY_LEFT = 3, /* the agent is gone (reason says how); wants nothing. Only env sides see it. */
    FERRY_CALL = 4 /* a request in the blob, at any time; wants a blob, no observation. Only for envs that take calls. See below. */
} ferry_kind;

/* Calls. The request is a map, in the env's blob_format, with its keys in this order and, in JSON, no spaces between: {"op": "call", "name": NAME, "args": [...], "kwargs": {...}} calls a method;
 * {"op": "get", "name": NAME}, {"op": "set", "name": NAME, "value": VALUE}, {"op": "has", "name": NAME} are about attributes ("has" wants
 * "method", "value" or null); {"op": "render"} wants a frame (an array, text, or a list of them), {"op": "render_mode", "mode": MODE or null} comes
 * before it and chooses among the modes that "about" lists. Requests may come before the first reset. The answer's blob (ferry_env_blob, then ferry_env_reply) is the value, as JSON or MessagePack; without one it is null. ferry_env_fail says
 * that there is no such thing, or that it failed; the episode goes on all the same. */

/* Per-row status of an answer. */
typedef enum ferry_status {
    FERRY_ROW_OK = 0,
    FERRY_ROW_FAILED = 1, /* ferry_env_fail: the blob says why */
    FERRY_ROW_REFUSED = 2 /* the library refused the action on the env's behalf (out of range): the blob, TEXT, says why */
} ferry_status;

/* Rows are environments that one program holds and steps together, each with episodes of its own. A program that has them obeys two orders:
 * step these rows, reset these rows. What becomes of a row whose episode has ended, the agent chooses when it connects, and the library
 * sees to it: in one turn of the agent's it may ask the program to STEP some rows and then to RESET others (or the same), as two turns with
 * the same number, and only then publishes. */
typedef enum ferry_autoreset {
    FERRY_AUTORESET_DISABLED = 0, /* nothing: the agent resets it */
    FERRY_AUTORESET_NEXT_STEP = 1, /* the next STEP resets it instead of stepping it; its action is ignored, its reward 0 */
    FERRY_AUTORESET_SAME_STEP = 2 /* the STEP that ended it resets it too; what was observed at the end lies in final_data */
} ferry_autoreset;

/* One message, for both directions; owned by the library. The agent's side keeps it until the next send, the env's until it is answered, or
 * until LEFT comes instead; after that its data[] may still be written to, unheard, until the next agent connects. Arrays with [row] have one
 * element for each of the environment's rows; arrays with [field] follow the field table.
 * Env side: actions, seed and blob are private copies, already checked; observations and typed infos (directly in shared memory), reward,
 * flags and presence (they come zeroed) are yours to fill. Agent side: the reverse; what you read there is the env's. */
typedef struct ferry_turn {
    uint32_t struct_size;
    uint32_t kind; /* ferry_kind */
    uint64_t number; /* counts the channel's turns, from 1 */
    uint32_t num_fields; /* length of the [field] arrays */
    uint32_t num_rows; /* length of rows: how many rows this turn is about */
    const uint32_t *rows; /* their numbers, ascending. Agent: all, unless you point it at fewer (STEP and RESET) before you send */
    void *const *data; /* [field] first row; row r is stride[field] * r bytes further on */
    const uint64_t *stride; /* [field] bytes */
    uint8_t *const *present; /* [field][row] 1 where a typed info is given; NULL for other fields */
    double *reward; /* [row] */
    uint8_t *terminated; /* [row] 0 or 1 */
    uint8_t *truncated; /* [row] 0 or 1 */
    uint8_t *status; /* [row] ferry_status; the library fills it */
    int64_t *seed; /* [row] RESET: the seed, or -1 for none */
    uint64_t *episode; /* [row] RESETs so far; the library fills it */
    /* RESET: options, the same for all rows. CALL: the request. Answers: info, what a call returned, or what went wrong. The info of an env
     * with more than one row is a map from row numbers (in JSON as text) to infos. */
    ferry_blob blob;
    int32_t reason; /* LEFT: FERRY_ECLOSED, FERRY_EPEERDEAD, or the error that ended the connection */
    uint32_t peer_pid; /* process id of the other side, 0 if unknown */
    /* Answers, agent's side. Where the library has reset rows, blob is what the env said to that RESET, and step_blob what it said to the
     * STEP before it. With FERRY_AUTORESET_SAME_STEP final_data[field][row] and final_present are observations and typed infos of the rows
     * whose episode ended; other rows of it, and with other modes the pointers, mean nothing. */
    ferry_blob step_blob;
    void *const *final_data; /* [field] as data */
    uint8_t *const *final_present; /* [field][row] as present */
    /* Real time, kind STEP. A frame's number in its episode, from 1; the answer to the RESET counts as frame 0. Env: of the frame to be published. */
    uint64_t frame;
    uint64_t answers; /* the number of the frame that the action answers: the newest that its agent had */
    int64_t frame_ns; /* when the frame was begun, by the system's monotonic clock */
    int64_t
        action_ns; /* when the action was sent; 0: none has been in this episode, and the values are at rest (0, or the nearest that may be) */
} ferry_turn;

/* ---- Log ----------------------------------------------------------------------------------------------------------------------- */

typedef enum ferry_level { FERRY_LOG_DEBUG = 0, FERRY_LOG_INFO = 1, FERRY_LOG_WARNING = 2 } ferry_level;

/* Receives one line without a newline, on the thread that called the library; must not call the library with the same handle. */
typedef void (*ferry_log)(void *user, int level, const char *text);

/* ---- Real time ----------------------------------------------------------------------------------------------------------------- */

/* An environment that goes on whether or not its agent has thought: a robot, a game at 60 Hz. The calls are those of lock-step, and mean:
 *
 *   - ferry_env_wait with 0 gives a turn of kind STEP at once, as long as an episode runs, with the latest action: tick the world, fill in
 *     observation, reward (since the last frame) and flags. With a time it *decides*: it waits until the action that answers the last frame has come, and no longer
 *     than that; turn->answers == turn->frame - 1 says that it has. RESET, CALL and LEFT come first. 0 where no episode runs.
 *   - ferry_env_reply publishes the frame. No system call, no waiting, the same work with an agent, with none, with one that is stopped.
 *     A frame replaces the one before, seen or not. What else wakes the program, a clock of its own, is up to it.
 *   - A frame that ends the episode stands until the agent resets; so does one that failed (ferry_env_fail). After LEFT the episode goes on.
 *   - A blob of a frame has to fit in blob_bytes.
 *   - ferry_agent_send hands a STEP over and owes nothing: the latest action counts. FERRY_EINVAL for one outside its space.
 *   - ferry_agent_wait gives the newest frame of the episode that has not been given yet: its reward is what has accrued since the last one
 *     given, so frames that were passed over lose nothing. The env wakes nobody; the agent naps until one is due. data[] is right until the next is given.
 *     FERRY_ESTATE if no episode runs: answer RESET first, as ever.
 *
 * Both sides have to say realtime = 1; whoever says otherwise is turned away. */

/* ---- The environment's side ---------------------------------------------------------------------------------------------------- */

#define FERRY_FOREVER ((int64_t)-1)

typedef struct ferry_env ferry_env;

/* What an environment says of itself. Zero-initialise, set struct_size. Everything is copied. */
typedef struct ferry_env_desc {
    uint32_t struct_size;
    uint32_t num_rows; /* 0 means 1; at most FERRY_MAX_ROWS */
    /* Where to meet; FERRY_ADDRESS in the process environment takes precedence, so that launchers work with any engine. NULL: it alone.
     *   NAME              serve that name ([A-Za-z0-9][A-Za-z0-9._-]*, at most 40 characters), in FERRY_RUNTIME_DIR, else
     *                     $XDG_RUNTIME_DIR/ferry, else /tmp/ferry-UID; on Windows %LOCALAPPDATA%\ferry, and either case of a letter
     *                     is the same
     *   /absolute/path    serve that path; on Windows also C:\path
     *   serve:WHERE, connect:WHERE, connect:WHERE#INDEX    the same, with the role spelled out
     *   fd:N              a connected stream socket that was inherited; there is no second agent. Not on Windows: FERRY_EUNSUPPORTED
     */
    const char *address;
    const char *name; /* shown to people; NULL: the address */
    const ferry_field *fields;
    uint32_t num_fields;
    uint32_t blob_format; /* in which format options shall arrive: FERRY_JSON (also 0) or FERRY_MSGPACK */
    /* A JSON or MessagePack map told to the agent at connection: "metadata" (as Env.metadata), "spec" (as EnvSpec.to_json),
     * "spaces" (what fields leave unsaid of their spaces: docs/protocol.md). */
    ferry_blob about;
    uint64_t blob_bytes; /* room for a blob in the region, each way; larger ones travel by descriptor, slower. 0: 16 KiB */
    uint64_t max_bytes; /* refuse to make a region larger than this. 0: 1 GiB */
    ferry_log log; /* NULL: warnings go to standard error */
    void *log_user;
    uint32_t takes_calls; /* 1: turns of kind FERRY_CALL may come; 0: the library refuses them */
    uint32_t max_episode_steps; /* not 0: the library sets truncated where a row has taken so many steps */
    uint32_t rows_tick_together; /* 1: a world that cannot step some rows alone. A STEP is about all rows, always */
    int32_t index; /* told to the agent: #INDEX of the address, -1 for none. Ignored in a description that is opened */
    uint32_t realtime; /* 1: it waits for nobody (see Real time). One row */
    uint32_t reserved;
} ferry_env_desc;

#define FERRY_MAX_ROWS 65536

/* Checks the description and, where the role is to serve, takes the address. Does not wait for anybody.
 * On failure *out is NULL, and why (may be NULL) says what to do. FERRY_EINVAL, ESPEC, ETOOBIG, EADDRESS, EINUSE, ESYSTEM, ENOMEM. */
FERRY_API int ferry_env_open(const ferry_env_desc *desc, ferry_env **out, ferry_why *why);

/* Waits up to timeout_ns (0: looks and returns; FERRY_FOREVER) for the agent's next turn: 1 and *out, or 0 and NULL for not yet: so
 * keep a turn that is still to be answered in a variable of its own, which stays right until the answer or LEFT.
 * Connecting, being connected to, and telling a second agent that the place is taken happen in here.
 * When the agent goes, once: a turn of kind LEFT; after it, wait again for the next agent. With fd:N there is none: FERRY_ECLOSED.
 * Tick-driven programs call it with 0 until it says 0. While a turn is unanswered it answers 0 (or LEFT), and FERRY_ESTATE if asked to
 * wait. Other errors: FERRY_EADDRESS, ESYSTEM, EVERSION, EROLE, EBUSY (the peer refused), EFORKED. */
FERRY_API int ferry_env_wait(ferry_env *env, int64_t timeout_ns, const ferry_turn **out);

/* Publishes the answer to the turn. Never waits; never fails because the agent left. FERRY_ESTATE if there is no turn to answer. */
FERRY_API int ferry_env_reply(ferry_env *env);

/* Answers the turn with a failure instead: text (UTF-8), or with NULL the blob set before. The agent must reset next. */
FERRY_API int ferry_env_fail(ferry_env *env, const char *text);

/* Sets the blob of the answer under way (an info: a JSON object or MessagePack map). Copied at once. FERRY_ESTATE, EINVAL, ETOOBIG. */
FERRY_API int ferry_env_blob(ferry_env *env, const ferry_blob *blob);

/* What is known about the handle's state, in words: the last error, or whom it waits for and how long. */
FERRY_API void ferry_env_why(const ferry_env *env, ferry_why *why);

/* Says goodbye, gives up the address, frees everything. NULL is allowed. */
FERRY_API void ferry_env_close(ferry_env *env);

/* ---- The agent's side ---------------------------------------------------------------------------------------------------------- */

typedef struct ferry_agent ferry_agent;
typedef struct ferry_bell ferry_bell; /* see ferry_agent_wait_any */

typedef struct ferry_agent_desc {
    uint32_t struct_size;
    uint32_t autoreset; /* ferry_autoreset */
    const char *address; /* as above, but a bare NAME or path is connected to; NULL: FERRY_ADDRESS */
    uint64_t max_bytes; /* refuse a region larger than this. 0: 1 GiB */
    ferry_log log;
    void *log_user;
    ferry_bell *bell; /* NULL: none. Not owned; it must outlive the handle */
    /* NULL, or an agent of this thread that serves the same address: then both listen there, and so many environments may come as there
     * are agents, each for whichever of them waits in ferry_agent_connect. */
    const ferry_agent *beside;
    uint32_t realtime; /* 1: plays an environment in real time */
    uint32_t reserved;
} ferry_agent_desc;

/* Checks the address and, where the role is to serve, takes it. Does not wait. Errors as ferry_env_open. */
FERRY_API int ferry_agent_open(const ferry_agent_desc *desc, ferry_agent **out, ferry_why *why);

/* Connects, or waits to be connected to, up to timeout_ns: 1 when an environment is there (also if it was before), 0 not yet. Call it
 * again to go on waiting, and after FERRY_ECLOSED or FERRY_EPEERDEAD to meet the next environment.
 * FERRY_EBUSY, EVERSION, EROLE, EPROTOCOL, ESPEC, ETOOBIG, EADDRESS, ESYSTEM, EFORKED; ECLOSED for fd:N when it is used up. */
FERRY_API int ferry_agent_connect(ferry_agent *agent, int64_t timeout_ns);

/* What the environment says of itself, checked; NULL before the first connection. Valid until the next connection. */
FERRY_API const ferry_env_desc *ferry_agent_env(const ferry_agent *agent);

/* The turn to fill (kind, then actions for STEP, and a blob if values lie in one; seed and blob for RESET; blob for CALL), or NULL if there is no connection or an answer is owed.
 * Seed comes as -1 and the blob empty; actions keep what was written last. Of a request only kind, actions, seed and blob count. */
FERRY_API ferry_turn *ferry_agent_turn(ferry_agent *agent);

/* Hands the turn to the environment. Never waits. FERRY_ESTATE if an answer is owed or there is no connection; EINVAL for an unknown
 * kind or a list of rows that is empty, not ascending, or names one that is not there; ETOOBIG for a blob beyond FERRY_MAX_BLOB. */
FERRY_API int ferry_agent_send(ferry_agent *agent);

/* Waits for the answer: 1 and *out, or 0 and NULL for not yet (the answer stays owed: wait again). The two observation buffers
 * alternate: data[] stays right through the next turn and is overwritten by the one after; all else in *out, until the next send.
 * FERRY_ECLOSED, EPEERDEAD: the environment is gone; ferry_agent_connect meets the next. FERRY_ECORRUPT; ESTATE if nothing is owed. */
FERRY_API int ferry_agent_wait(ferry_agent *agent, int64_t timeout_ns, const ferry_turn **out);

/* Many environments, whoever is ready first. A bell is rung by the environments of all agents that were opened with it. */
FERRY_API int ferry_bell_open(ferry_bell **out, ferry_why *why); /* FERRY_ENOMEM, ESYSTEM, ETOOBIG */
FERRY_API void ferry_bell_close(ferry_bell *bell); /* after its agents. NULL is allowed */

/* Waits until at_least of the agents, which share the bell, have something to tell: their answer has come, or their environment is gone, or
 * nothing is owed. Then ferry_agent_wait says at once what. Asleep meanwhile, and woken once.
 * How many have (more than asked for, perhaps), with ready[i] 1 for these; 0 for not yet, ready filled all the same. FERRY_EINVAL, EFORKED. */
FERRY_API int ferry_agent_wait_any(ferry_bell *bell, ferry_agent *const *agents, uint32_t count, uint32_t at_least, int64_t timeout_ns,
                                   uint8_t *ready);

/* What is known, in words: the last error; else whom it waits for, since when, at which turn. */
FERRY_API void ferry_agent_why(const ferry_agent *agent, ferry_why *why);

/* Keeps the present connection's region mapped, past reconnection and close, until ferry_release: for views of observations that outlive
 * the handle. NULL if there is no connection or no memory. ferry_release may be called from any thread; NULL is allowed. */
typedef struct ferry_hold ferry_hold;
FERRY_API ferry_hold *ferry_agent_hold(ferry_agent *agent);
FERRY_API void ferry_release(ferry_hold *hold);

/* Says goodbye (the environment of a server goes on), frees everything, unmaps the region unless held. NULL is allowed. */
FERRY_API void ferry_agent_close(ferry_agent *agent);

/* ---- Observers ----------------------------------------------------------------------------------------------------------------- */

/* An observer looks at a channel that an environment serves and an agent uses, and takes no part. It is shown whole messages, at most
 * thirty a second; between them turns pass unseen. Neither side waits for it, hears of it or can be harmed by it: it maps its memory for
 * reading alone. Up to eight may look at a channel. */
typedef struct ferry_observer ferry_observer;

typedef struct ferry_observer_desc {
    uint32_t struct_size;
    uint32_t reserved;
    const char *address; /* a NAME or a path that an environment serves; NULL: FERRY_ADDRESS */
    uint64_t max_bytes; /* refuse to map more than this, about four messages. 0: 5 GiB */
    ferry_log log;
    void *log_user;
} ferry_observer_desc;

typedef struct ferry_snapshot {
    uint32_t struct_size;
    uint32_t blob_left_out; /* 1: the turn had a blob that did not fit into shared memory, and it is not here */
    /* The turn and its answer in one: data[] has the actions and the observations, with reward, flags, infos, episode, number. After a
     * RESET the actions are old ones. In real time it is a frame, whose number counts in its episode, as frame does. A private copy, of
     * which nothing but its shape has been checked. */
    const ferry_turn *turn;
    int64_t time_ns; /* when it was copied, by the monotonic clock */
    const double *returns; /* [row] sum of the rewards of the episode under way; NaN where it began before anybody observed */
    uint64_t finished; /* how many episodes have begun and ended while somebody observed, in all rows */
    double finished_return; /* the sum of their returns */
} ferry_snapshot;

/* Checks the address; connects nothing. FERRY_EINVAL, EUNSUPPORTED, ESYSTEM, ENOMEM. */
FERRY_API int ferry_observer_open(const ferry_observer_desc *desc, ferry_observer **out, ferry_why *why);

/* Waits up to timeout_ns for a message that is newer than the last: 1 and *out, valid until the next call; or 0 and NULL. Getting in
 * happens in here: while there is no environment, or it has no agent, or is busy in its own code, the answer is 0, and ferry_observer_why
 * says which. FERRY_ECLOSED, EPEERDEAD: the agent or the environment has gone; the next call waits for others. EBUSY: no room.
 * EUNSUPPORTED: an agent listens there. EADDRESS: it is another user's. EVERSION, EPROTOCOL, ESPEC, ETOOBIG, ECORRUPT, EFORKED, ESYSTEM. */
FERRY_API int ferry_observer_snapshot(ferry_observer *observer, int64_t timeout_ns, const ferry_snapshot **out);

/* What the environment says of itself, checked; NULL while the observer is not in. Valid until ferry_observer_snapshot says that it is
 * gone. */
FERRY_API const ferry_env_desc *ferry_observer_env(const ferry_observer *observer);

/* What is known, in words. */
FERRY_API void ferry_observer_why(const ferry_observer *observer, ferry_why *why);

/* NULL is allowed. */
FERRY_API void ferry_observer_close(ferry_observer *observer);

#ifdef __cplusplus
}
#endif

#endif /* LIBFERRY_H */
