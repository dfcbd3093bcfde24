//! Errors: a kind to match on, and a text that says what was tried, what is known and what to do.

use crate::sys;
use std::ffi::CStr;
use std::fmt;
use std::mem::MaybeUninit;
use std::os::raw::c_int;

/// What went wrong, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument is not valid.
    InvalidArgument,
    /// The call is not possible now.
    WrongState,
    /// Out of memory.
    OutOfMemory,
    /// An operating system call failed.
    System,
    /// The address cannot be used.
    Address,
    /// The address is in use.
    AddressInUse,
    /// The peer is held by another agent.
    Busy,
    /// The peer speaks another version.
    Version,
    /// Both sides are of the same kind.
    Role,
    /// The peer does not speak Ferry.
    Protocol,
    /// The description of the environment is not valid.
    Spec,
    /// Too big.
    TooBig,
    /// The peer said goodbye.
    Closed,
    /// The peer's process is gone.
    PeerDead,
    /// The shared memory holds what no peer may write.
    Corrupt,
    /// The handle belongs to the parent process.
    Forked,
    /// Not supported by this build.
    Unsupported,
    /// A code that this crate does not know.
    Unknown,
}

impl ErrorKind {
    pub(crate) fn from_code(code: c_int) -> Self {
        match code {
            sys::FERRY_EINVAL => Self::InvalidArgument,
            sys::FERRY_ESTATE => Self::WrongState,
            sys::FERRY_ENOMEM => Self::OutOfMemory,
            sys::FERRY_ESYSTEM => Self::System,
            sys::FERRY_EADDRESS => Self::Address,
            sys::FERRY_EINUSE => Self::AddressInUse,
            sys::FERRY_EBUSY => Self::Busy,
            sys::FERRY_EVERSION => Self::Version,
            sys::FERRY_EROLE => Self::Role,
            sys::FERRY_EPROTOCOL => Self::Protocol,
            sys::FERRY_ESPEC => Self::Spec,
            sys::FERRY_ETOOBIG => Self::TooBig,
            sys::FERRY_ECLOSED => Self::Closed,
            sys::FERRY_EPEERDEAD => Self::PeerDead,
            sys::FERRY_ECORRUPT => Self::Corrupt,
            sys::FERRY_EFORKED => Self::Forked,
            sys::FERRY_EUNSUPPORTED => Self::Unsupported,
            _ => Self::Unknown,
        }
    }
}

/// What went wrong, in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    text: String,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }

    /// Of a code that a call returned, and what `fill` says about it.
    pub(crate) fn from_why(code: c_int, fill: impl FnOnce(*mut sys::ferry_why)) -> Self {
        Self::new(ErrorKind::from_code(code), why(fill))
    }

    /// What to match on.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}

/// The text that `fill` writes into a `ferry_why`.
pub(crate) fn why(fill: impl FnOnce(*mut sys::ferry_why)) -> String {
    let mut why = MaybeUninit::<sys::ferry_why>::zeroed();
    fill(why.as_mut_ptr());
    // SAFETY: integers, for which zeroes will do; and the library terminates its texts.
    unsafe { CStr::from_ptr(why.assume_init_ref().text.as_ptr()) }.to_string_lossy().into_owned()
}
