//! `libferry.h` as it is, for what the safe part of this crate does not cover: the agent's side, bells, observers, calls of several
//! threads. The header is the manual. `tests/engines/test_declarations.py` compares every line with it.
//!
//! An enumerator has the type of the place where it is stored, so that no use of it needs a cast.

#![allow(non_camel_case_types)]

use std::os::raw::{c_char, c_int, c_void};

pub const FERRY_VERSION_MAJOR: u32 = 0;
pub const FERRY_VERSION_MINOR: u32 = 1;
pub const FERRY_VERSION_PATCH: u32 = 0;
pub const FERRY_VERSION: u32 = FERRY_VERSION_MAJOR << 16 | FERRY_VERSION_MINOR << 8 | FERRY_VERSION_PATCH;

// ferry_err
pub const FERRY_OK: c_int = 0;
pub const FERRY_EINVAL: c_int = -1;
pub const FERRY_ESTATE: c_int = -2;
pub const FERRY_ENOMEM: c_int = -3;
pub const FERRY_ESYSTEM: c_int = -4;
pub const FERRY_EADDRESS: c_int = -5;
pub const FERRY_EINUSE: c_int = -6;
pub const FERRY_EBUSY: c_int = -7;
pub const FERRY_EVERSION: c_int = -8;
pub const FERRY_EROLE: c_int = -9;
pub const FERRY_EPROTOCOL: c_int = -10;
pub const FERRY_ESPEC: c_int = -11;
pub const FERRY_ETOOBIG: c_int = -12;
pub const FERRY_ECLOSED: c_int = -13;
pub const FERRY_EPEERDEAD: c_int = -14;
pub const FERRY_ECORRUPT: c_int = -15;
pub const FERRY_EFORKED: c_int = -16;
pub const FERRY_EUNSUPPORTED: c_int = -17;

// ferry_role
pub const FERRY_OBSERVATION: u8 = 0;
pub const FERRY_ACTION: u8 = 1;
pub const FERRY_INFO: u8 = 2;

// ferry_space
pub const FERRY_BOX: u8 = 0;
pub const FERRY_DISCRETE: u8 = 1;
pub const FERRY_MULTI_DISCRETE: u8 = 2;
pub const FERRY_MULTI_BINARY: u8 = 3;
pub const FERRY_DICT: u8 = 4;
pub const FERRY_TUPLE: u8 = 5;
pub const FERRY_STRING: u8 = 6;
pub const FERRY_OTHER: u8 = 7;

// ferry_dtype
pub const FERRY_DEFAULT: u8 = 0;
pub const FERRY_BOOL: u8 = 1;
pub const FERRY_I8: u8 = 2;
pub const FERRY_U8: u8 = 3;
pub const FERRY_I16: u8 = 4;
pub const FERRY_U16: u8 = 5;
pub const FERRY_I32: u8 = 6;
pub const FERRY_U32: u8 = 7;
pub const FERRY_I64: u8 = 8;
pub const FERRY_U64: u8 = 9;
pub const FERRY_F16: u8 = 10;
pub const FERRY_F32: u8 = 11;
pub const FERRY_F64: u8 = 12;

// ferry_format
pub const FERRY_NONE: u32 = 0;
pub const FERRY_JSON: u32 = 1;
pub const FERRY_MSGPACK: u32 = 2;
pub const FERRY_TEXT: u32 = 3;
pub const FERRY_VALUES: u32 = 4;

// ferry_kind
pub const FERRY_STEP: u32 = 1;
pub const FERRY_RESET: u32 = 2;
pub const FERRY_LEFT: u32 = 3;
pub const FERRY_CALL: u32 = 4;

// ferry_status
pub const FERRY_ROW_OK: u8 = 0;
pub const FERRY_ROW_FAILED: u8 = 1;
pub const FERRY_ROW_REFUSED: u8 = 2;

// ferry_autoreset
pub const FERRY_AUTORESET_DISABLED: u32 = 0;
pub const FERRY_AUTORESET_NEXT_STEP: u32 = 1;
pub const FERRY_AUTORESET_SAME_STEP: u32 = 2;

// ferry_level
pub const FERRY_LOG_DEBUG: c_int = 0;
pub const FERRY_LOG_INFO: c_int = 1;
pub const FERRY_LOG_WARNING: c_int = 2;

pub const FERRY_MAX_NDIM: usize = 8;
pub const FERRY_IN_BLOB: u32 = u32::MAX;
pub const FERRY_MAX_BLOB: u64 = 256 << 20;
pub const FERRY_MAX_ROWS: u32 = 65536;
pub const FERRY_FOREVER: i64 = -1;

pub type ferry_log = Option<unsafe extern "C" fn(user: *mut c_void, level: c_int, text: *const c_char)>;

#[repr(C)]
pub struct ferry_why {
    pub code: i32,
    pub text: [c_char; 1532],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct ferry_field {
    pub path: *const c_char,
    pub role: u8,
    pub kind: u8,
    pub dtype: u8,
    pub ndim: u8,
    pub shape: [u32; FERRY_MAX_NDIM],
    pub low: f64,
    pub high: f64,
    pub low_each: *const c_void,
    pub high_each: *const c_void,
    pub n: i64,
    pub start: i64,
    pub capacity: u32,
    pub reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct ferry_list {
    pub count: u32,
    pub reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct ferry_blob {
    pub data: *const c_void,
    pub size_bytes: u64,
    pub format: u32,
    pub reserved: u32,
}

#[repr(C)]
pub struct ferry_turn {
    pub struct_size: u32,
    pub kind: u32,
    pub number: u64,
    pub num_fields: u32,
    pub num_rows: u32,
    pub rows: *const u32,
    pub data: *const *mut c_void,
    pub stride: *const u64,
    pub present: *const *mut u8,
    pub reward: *mut f64,
    pub terminated: *mut u8,
    pub truncated: *mut u8,
    pub status: *mut u8,
    pub seed: *mut i64,
    pub episode: *mut u64,
    pub blob: ferry_blob,
    pub reason: i32,
    pub peer_pid: u32,
    pub step_blob: ferry_blob,
    pub final_data: *const *mut c_void,
    pub final_present: *const *mut u8,
    pub frame: u64,
    pub answers: u64,
    pub frame_ns: i64,
    pub action_ns: i64,
}

#[repr(C)]
pub struct ferry_env_desc {
    pub struct_size: u32,
    pub num_rows: u32,
    pub address: *const c_char,
    pub name: *const c_char,
    pub fields: *const ferry_field,
    pub num_fields: u32,
    pub blob_format: u32,
    pub about: ferry_blob,
    pub blob_bytes: u64,
    pub max_bytes: u64,
    pub log: ferry_log,
    pub log_user: *mut c_void,
    pub takes_calls: u32,
    pub max_episode_steps: u32,
    pub rows_tick_together: u32,
    pub index: i32,
    pub realtime: u32,
    pub reserved: u32,
}

#[repr(C)]
pub struct ferry_agent_desc {
    pub struct_size: u32,
    pub autoreset: u32,
    pub address: *const c_char,
    pub max_bytes: u64,
    pub log: ferry_log,
    pub log_user: *mut c_void,
    pub bell: *mut ferry_bell,
    pub beside: *const ferry_agent,
    pub realtime: u32,
    pub reserved: u32,
}

#[repr(C)]
pub struct ferry_observer_desc {
    pub struct_size: u32,
    pub reserved: u32,
    pub address: *const c_char,
    pub max_bytes: u64,
    pub log: ferry_log,
    pub log_user: *mut c_void,
}

#[repr(C)]
pub struct ferry_snapshot {
    pub struct_size: u32,
    pub blob_left_out: u32,
    pub turn: *const ferry_turn,
    pub time_ns: i64,
    pub returns: *const f64,
    pub finished: u64,
    pub finished_return: f64,
}

#[repr(C)]
pub struct ferry_env {
    _opaque: [u8; 0],
}

#[repr(C)]
pub struct ferry_agent {
    _opaque: [u8; 0],
}

#[repr(C)]
pub struct ferry_bell {
    _opaque: [u8; 0],
}

#[repr(C)]
pub struct ferry_hold {
    _opaque: [u8; 0],
}

#[repr(C)]
pub struct ferry_observer {
    _opaque: [u8; 0],
}

extern "C" {
    pub fn ferry_version() -> u32;
    pub fn ferry_strerror(err: c_int) -> *const c_char;
    pub fn ferry_now_ns() -> i64;
    pub fn ferry_dtype_bytes(dtype: c_int) -> u32;

    pub fn ferry_env_open(desc: *const ferry_env_desc, out: *mut *mut ferry_env, why: *mut ferry_why) -> c_int;
    pub fn ferry_env_wait(env: *mut ferry_env, timeout_ns: i64, out: *mut *const ferry_turn) -> c_int;
    pub fn ferry_env_reply(env: *mut ferry_env) -> c_int;
    pub fn ferry_env_fail(env: *mut ferry_env, text: *const c_char) -> c_int;
    pub fn ferry_env_blob(env: *mut ferry_env, blob: *const ferry_blob) -> c_int;
    pub fn ferry_env_why(env: *const ferry_env, why: *mut ferry_why);
    pub fn ferry_env_close(env: *mut ferry_env);

    pub fn ferry_agent_open(desc: *const ferry_agent_desc, out: *mut *mut ferry_agent, why: *mut ferry_why) -> c_int;
    pub fn ferry_agent_connect(agent: *mut ferry_agent, timeout_ns: i64) -> c_int;
    pub fn ferry_agent_env(agent: *const ferry_agent) -> *const ferry_env_desc;
    pub fn ferry_agent_turn(agent: *mut ferry_agent) -> *mut ferry_turn;
    pub fn ferry_agent_send(agent: *mut ferry_agent) -> c_int;
    pub fn ferry_agent_wait(agent: *mut ferry_agent, timeout_ns: i64, out: *mut *const ferry_turn) -> c_int;
    pub fn ferry_bell_open(out: *mut *mut ferry_bell, why: *mut ferry_why) -> c_int;
    pub fn ferry_bell_close(bell: *mut ferry_bell);
    pub fn ferry_agent_wait_any(
        bell: *mut ferry_bell,
        agents: *const *mut ferry_agent,
        count: u32,
        at_least: u32,
        timeout_ns: i64,
        ready: *mut u8,
    ) -> c_int;
    pub fn ferry_agent_why(agent: *const ferry_agent, why: *mut ferry_why);
    pub fn ferry_agent_hold(agent: *mut ferry_agent) -> *mut ferry_hold;
    pub fn ferry_release(hold: *mut ferry_hold);
    pub fn ferry_agent_close(agent: *mut ferry_agent);

    pub fn ferry_observer_open(desc: *const ferry_observer_desc, out: *mut *mut ferry_observer, why: *mut ferry_why) -> c_int;
    pub fn ferry_observer_snapshot(observer: *mut ferry_observer, timeout_ns: i64, out: *mut *const ferry_snapshot) -> c_int;
    pub fn ferry_observer_env(observer: *const ferry_observer) -> *const ferry_env_desc;
    pub fn ferry_observer_why(observer: *const ferry_observer, why: *mut ferry_why);
    pub fn ferry_observer_close(observer: *mut ferry_observer);
}
