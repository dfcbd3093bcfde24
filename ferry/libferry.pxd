# The C contract, word for word; include/libferry.h says what each name promises.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t


cdef extern from "libferry.h" nogil:
    uint32_t ferry_version()
    const char *ferry_strerror(int err)
    int64_t ferry_now_ns()
    uint32_t ferry_dtype_bytes(int dtype)

    enum:
        FERRY_EINVAL
        FERRY_ESTATE
        FERRY_ENOMEM
        FERRY_ESYSTEM
        FERRY_EADDRESS
        FERRY_EINUSE
        FERRY_EBUSY
        FERRY_EVERSION
        FERRY_EROLE
        FERRY_EPROTOCOL
        FERRY_ESPEC
        FERRY_ETOOBIG
        FERRY_ECLOSED
        FERRY_EPEERDEAD
        FERRY_ECORRUPT
        FERRY_EFORKED
        FERRY_EUNSUPPORTED

    ctypedef struct ferry_why:
        int32_t code
        char text[1532]

    enum:
        FERRY_OBSERVATION
        FERRY_ACTION
        FERRY_INFO

    enum:
        FERRY_BOX
        FERRY_DISCRETE
        FERRY_MULTI_DISCRETE
        FERRY_MULTI_BINARY
        FERRY_DICT
        FERRY_TUPLE
        FERRY_STRING
        FERRY_OTHER

    enum:
        FERRY_DEFAULT
        FERRY_BOOL
        FERRY_I8
        FERRY_U8
        FERRY_I16
        FERRY_U16
        FERRY_I32
        FERRY_U32
        FERRY_I64
        FERRY_U64
        FERRY_F16
        FERRY_F32
        FERRY_F64

    enum:
        FERRY_MAX_NDIM

    ctypedef struct ferry_field:
        const char *path
        uint8_t role
        uint8_t kind
        uint8_t dtype
        uint8_t ndim
        uint32_t shape[FERRY_MAX_NDIM]
        double low
        double high
        const void *low_each
        const void *high_each
        int64_t n
        int64_t start
        uint32_t capacity

    ctypedef struct ferry_list:
        uint32_t count

    uint32_t FERRY_IN_BLOB

    enum:
        FERRY_NONE
        FERRY_JSON
        FERRY_MSGPACK
        FERRY_TEXT
        FERRY_VALUES

    ctypedef struct ferry_blob:
        const void *data
        uint64_t size_bytes
        uint32_t format

    enum:
        FERRY_STEP
        FERRY_RESET
        FERRY_LEFT
        FERRY_CALL

    enum:
        FERRY_ROW_OK
        FERRY_ROW_FAILED
        FERRY_ROW_REFUSED

    ctypedef struct ferry_turn:
        uint32_t struct_size
        uint32_t kind
        uint64_t number
        uint32_t num_fields
        uint32_t num_rows
        const uint32_t *rows
        void **data
        const uint64_t *stride
        uint8_t **present
        double *reward
        uint8_t *terminated
        uint8_t *truncated
        uint8_t *status
        int64_t *seed
        uint64_t *episode
        ferry_blob blob
        int32_t reason
        uint32_t peer_pid
        ferry_blob step_blob
        void **final_data
        uint8_t **final_present
        uint64_t frame
        uint64_t answers
        int64_t frame_ns
        int64_t action_ns

    enum:
        FERRY_LOG_DEBUG
        FERRY_LOG_INFO
        FERRY_LOG_WARNING

    ctypedef void (*ferry_log)(void *user, int level, const char *text) noexcept

    int64_t FERRY_FOREVER

    ctypedef struct ferry_env:
        pass

    ctypedef struct ferry_env_desc:
        uint32_t struct_size
        uint32_t num_rows
        const char *address
        const char *name
        const ferry_field *fields
        uint32_t num_fields
        uint32_t blob_format
        ferry_blob about
        uint64_t blob_bytes
        uint64_t max_bytes
        ferry_log log
        void *log_user
        uint32_t takes_calls
        uint32_t max_episode_steps
        uint32_t rows_tick_together
        int32_t index
        uint32_t realtime

    uint32_t FERRY_MAX_ROWS

    int ferry_env_open(const ferry_env_desc *desc, ferry_env **out, ferry_why *why)
    int ferry_env_wait(ferry_env *env, int64_t timeout_ns, const ferry_turn **out)
    int ferry_env_reply(ferry_env *env)
    int ferry_env_fail(ferry_env *env, const char *text)
    int ferry_env_blob(ferry_env *env, const ferry_blob *blob)
    void ferry_env_why(const ferry_env *env, ferry_why *why)
    void ferry_env_close(ferry_env *env)

    ctypedef struct ferry_agent:
        pass

    ctypedef struct ferry_bell:
        pass

    enum:
        FERRY_AUTORESET_DISABLED
        FERRY_AUTORESET_NEXT_STEP
        FERRY_AUTORESET_SAME_STEP

    ctypedef struct ferry_agent_desc:
        uint32_t struct_size
        uint32_t autoreset
        const char *address
        uint64_t max_bytes
        ferry_log log
        void *log_user
        ferry_bell *bell
        const ferry_agent *beside
        uint32_t realtime

    int ferry_agent_open(const ferry_agent_desc *desc, ferry_agent **out, ferry_why *why)
    int ferry_agent_connect(ferry_agent *agent, int64_t timeout_ns)
    const ferry_env_desc *ferry_agent_env(const ferry_agent *agent)
    ferry_turn *ferry_agent_turn(ferry_agent *agent)
    int ferry_agent_send(ferry_agent *agent)
    int ferry_agent_wait(ferry_agent *agent, int64_t timeout_ns, const ferry_turn **out)
    void ferry_agent_why(const ferry_agent *agent, ferry_why *why)
    void ferry_agent_close(ferry_agent *agent)
    int ferry_bell_open(ferry_bell **out, ferry_why *why)
    void ferry_bell_close(ferry_bell *bell)
    int ferry_agent_wait_any(
        ferry_bell *bell, ferry_agent **agents, uint32_t count, uint32_t at_least, int64_t timeout_ns, uint8_t *ready
    ) nogil

    ctypedef struct ferry_observer:
        pass

    ctypedef struct ferry_observer_desc:
        uint32_t struct_size
        const char *address
        uint64_t max_bytes
        ferry_log log
        void *log_user

    ctypedef struct ferry_snapshot:
        uint32_t struct_size
        uint32_t blob_left_out
        const ferry_turn *turn
        int64_t time_ns
        const double *returns
        uint64_t finished
        double finished_return

    int ferry_observer_open(const ferry_observer_desc *desc, ferry_observer **out, ferry_why *why)
    int ferry_observer_snapshot(ferry_observer *observer, int64_t timeout_ns, const ferry_snapshot **out)
    const ferry_env_desc *ferry_observer_env(const ferry_observer *observer)
    void ferry_observer_why(const ferry_observer *observer, ferry_why *why)
    void ferry_observer_close(ferry_observer *observer)

    ctypedef struct ferry_hold:
        pass

    ferry_hold *ferry_agent_hold(ferry_agent *agent)
    void ferry_release(ferry_hold *hold)
