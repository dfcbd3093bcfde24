//! What an environment is made of.

use crate::env::{Env, Format};
use crate::error::{Error, ErrorKind};
use crate::sys;
use std::ffi::CString;
use std::marker::PhantomData;
use std::mem::{size_of, size_of_val};
use std::ptr;

mod sealed {
    pub trait Sealed {}
    pub trait Answered {}
    impl Answered for super::role::Observation {}
    impl Answered for super::role::Info {}
}

pub(crate) use sealed::Answered;

/// The number types that fields may have. Every pattern of bits is a value of each.
pub trait Element: Copy + sealed::Sealed + 'static {
    #[doc(hidden)]
    const DTYPE: u8;
}

macro_rules! elements {
    ($($type:ty = $dtype:ident),*) => {$(
        impl sealed::Sealed for $type {}
        impl Element for $type {
            const DTYPE: u8 = sys::$dtype;
        }
    )*};
}

elements!(
    i8 = FERRY_I8,
    u8 = FERRY_U8,
    i16 = FERRY_I16,
    u16 = FERRY_U16,
    i32 = FERRY_I32,
    u32 = FERRY_U32,
    i64 = FERRY_I64,
    u64 = FERRY_U64,
    f32 = FERRY_F32,
    f64 = FERRY_F64
);

/// What distinguishes the keys of observations, actions and infos.
pub(crate) mod role {
    #[derive(Clone, Copy, Debug)]
    pub struct Observation;
    #[derive(Clone, Copy, Debug)]
    pub struct Action;
    #[derive(Clone, Copy, Debug)]
    pub struct Info;
}

/// Names a field of a [`Spec`] when a [`crate::Row`] is read or written. `T` is the type of its elements; `[T]` where there is a list of
/// them in each row, `str` for text.
#[derive(Debug)]
pub struct Key<R, T: ?Sized + 'static> {
    pub(crate) field: u32,
    of: PhantomData<fn(R) -> &'static T>,
}

impl<R, T: ?Sized> Key<R, T> {
    pub(crate) fn at(field: u32) -> Self {
        Self { field, of: PhantomData }
    }
}

impl<R, T: ?Sized> Clone for Key<R, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R, T: ?Sized> Copy for Key<R, T> {}

/// Names an observation.
pub type Observation<T> = Key<role::Observation, T>;
/// Names an action.
pub type Action<T> = Key<role::Action, T>;
/// Names an entry of the info dict that has a fixed shape.
pub type Info<T> = Key<role::Info, T>;

/// A field as the library wants it, but for pointers.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub path: String,
    pub role: u8,
    pub kind: u8,
    pub dtype: u8,
    pub shape: Vec<u32>,
    pub low: f64,
    pub high: f64,
    pub each: Option<Each>,
    pub n: i64,
    pub start: i64,
    pub capacity: u32,
}

/// Bounds of each element, as bytes that are aligned for any of them.
#[derive(Clone, Debug)]
pub(crate) struct Each {
    low: Vec<u64>,
    high: Vec<u64>,
    low_count: usize,
    high_count: usize,
}

impl Each {
    fn new<T: Element>(low: &[T], high: &[T]) -> Self {
        Self { low: bytes_of(low), high: bytes_of(high), low_count: low.len(), high_count: high.len() }
    }
}

fn bytes_of<T: Element>(values: &[T]) -> Vec<u64> {
    let mut words = vec![0u64; (size_of_val(values) + size_of::<u64>() - 1) / size_of::<u64>()];
    // SAFETY: there is room for all values, and numbers are copied as bytes.
    unsafe { ptr::copy_nonoverlapping(values.as_ptr().cast::<u8>(), words.as_mut_ptr().cast::<u8>(), size_of_val(values)) };
    words
}

/// A space of Gymnasium's, with elements of type `T`; `Space<[T]>` is a Sequence, `Space<str>` a Text.
///
/// Made by [`Space::any`], [`Space::within`] and [`Space::within_each`] (Box), [`Space::discrete`], [`Space::multi_discrete`],
/// [`Space::multi_binary`], [`Space::up_to`] (Sequence) and [`Space::text`].
#[derive(Debug)]
pub struct Space<T: ?Sized + 'static> {
    field: Field,
    of: PhantomData<fn() -> &'static T>,
}

impl<T: ?Sized> Clone for Space<T> {
    fn clone(&self) -> Self {
        Self { field: self.field.clone(), of: PhantomData }
    }
}

impl<T: ?Sized> Space<T> {
    fn new(kind: u8, dtype: u8, shape: &[u32]) -> Self {
        let shape = shape.to_vec();
        let field =
            Field { path: String::new(), role: 0, kind, dtype, shape, low: 0.0, high: 0.0, each: None, n: 0, start: 0, capacity: 0 };
        Self { field, of: PhantomData }
    }
}

impl<T: Element> Space<T> {
    /// A Box without bounds.
    pub fn any(shape: &[u32]) -> Self {
        Self::new(sys::FERRY_BOX, T::DTYPE, shape)
    }

    /// A Box with the same bounds, inclusive, for all elements.
    pub fn within(low: f64, high: f64, shape: &[u32]) -> Self {
        let mut space = Self::any(shape);
        if low == 0.0 && high == 0.0 {
            // Two zeros would mean no bounds. Zeros of every type are words of zeros.
            let zeros = vec![0u64; space.field.num_elements()];
            let count = zeros.len();
            space.field.each = Some(Each { low: zeros.clone(), high: zeros, low_count: count, high_count: count });
        }
        space.field.low = low;
        space.field.high = high;
        space
    }

    /// A Box with bounds for each element, in the order of C.
    pub fn within_each(low: &[T], high: &[T], shape: &[u32]) -> Self {
        let mut space = Self::any(shape);
        space.field.each = Some(Each::new(low, high));
        space
    }

    /// A Sequence of up to `capacity` elements of this space.
    pub fn up_to(self, capacity: u32) -> Space<[T]> {
        Space { field: Field { capacity, ..self.field }, of: PhantomData }
    }
}

impl Space<i64> {
    /// A Discrete: one of `n` numbers from 0 on.
    pub fn discrete(n: i64) -> Self {
        let mut space = Self::new(sys::FERRY_DISCRETE, sys::FERRY_I64, &[]);
        space.field.n = n;
        space
    }

    /// The number that a Discrete begins with.
    pub fn starting_at(mut self, start: i64) -> Self {
        self.field.start = start;
        self
    }

    /// A MultiDiscrete of one dimension: element i is one of `nvec[i]` numbers from 0 on.
    pub fn multi_discrete(nvec: &[i64]) -> Self {
        let mut space = Self::new(sys::FERRY_MULTI_DISCRETE, sys::FERRY_I64, &[nvec.len() as u32]);
        let high: Vec<i64> = nvec.iter().map(|n| n.wrapping_sub(1)).collect();
        space.field.each = Some(Each::new(&vec![0; nvec.len()], &high));
        space
    }
}

impl Space<i8> {
    /// A MultiBinary: zeros and ones.
    pub fn multi_binary(shape: &[u32]) -> Self {
        Self::new(sys::FERRY_MULTI_BINARY, sys::FERRY_I8, shape)
    }
}

impl Space<str> {
    /// A Text of up to `capacity` characters of printable ASCII.
    pub fn text(capacity: u32) -> Self {
        let mut space = Self::new(sys::FERRY_STRING, sys::FERRY_U8, &[]);
        space.field.capacity = capacity;
        space
    }
}

impl Field {
    pub(crate) fn num_elements(&self) -> usize {
        self.shape.iter().fold(1, |all: usize, &n| all.saturating_mul(n as usize))
    }

    fn checked(&self) -> Result<(), Error> {
        let fault = |text: String| Err(Error::new(ErrorKind::Spec, format!("field '{}': {}", self.path, text)));
        if self.shape.len() > sys::FERRY_MAX_NDIM {
            return fault(format!("it has {} dimensions, and may have {}", self.shape.len(), sys::FERRY_MAX_NDIM));
        }
        match &self.each {
            Some(each) if each.low_count != self.num_elements() || each.high_count != self.num_elements() => fault(format!(
                "it has {} elements, with {} lower and {} upper bounds",
                self.num_elements(),
                each.low_count,
                each.high_count
            )),
            _ => Ok(()),
        }
    }

    fn to_c(&self, path: &CString) -> sys::ferry_field {
        let mut shape = [0; sys::FERRY_MAX_NDIM];
        shape[..self.shape.len()].copy_from_slice(&self.shape);
        let each = |bounds: fn(&Each) -> &Vec<u64>| self.each.as_ref().map_or(ptr::null(), |each| bounds(each).as_ptr().cast());
        sys::ferry_field {
            path: path.as_ptr(),
            role: self.role,
            kind: self.kind,
            dtype: self.dtype,
            ndim: self.shape.len() as u8,
            shape,
            low: self.low,
            high: self.high,
            low_each: each(|each| &each.low),
            high_each: each(|each| &each.high),
            n: self.n,
            start: self.start,
            capacity: self.capacity,
            reserved: 0,
        }
    }
}

/// How much a line of the log matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For who looks for a fault.
    Debug,
    /// What happens.
    Info,
    /// What should not.
    Warning,
}

pub(crate) type Log = Box<dyn FnMut(Level, &str) + Send>;

/// What an environment says of itself, and where it is met. [`Spec::open`] may be called again, for another environment.
#[derive(Default)]
pub struct Spec {
    address: Option<String>,
    name: Option<String>,
    about: Option<(Format, Vec<u8>)>,
    pub(crate) fields: Vec<Field>,
    num_rows: u32,
    max_episode_steps: u32,
    blob_format: u32,
    blob_bytes: u64,
    max_bytes: u64,
    takes_calls: bool,
    rows_tick_together: bool,
    log: Option<Log>,
}

impl Spec {
    /// No fields, one row.
    pub fn new() -> Self {
        Self::default()
    }

    fn add<R, T: ?Sized>(&mut self, role: u8, path: &str, space: Space<T>) -> Key<R, T> {
        let field = self.fields.len() as u32;
        self.fields.push(Field { path: path.to_owned(), role, ..space.field });
        Key::at(field)
    }

    /// Adds an observation. Keys of a Dict are joined by '/'; with an empty path it is all there is to observe.
    pub fn observation<T: ?Sized>(&mut self, path: &str, space: Space<T>) -> Observation<T> {
        self.add(sys::FERRY_OBSERVATION, path, space)
    }

    /// Adds an action; paths as those of observations.
    pub fn action<T: ?Sized>(&mut self, path: &str, space: Space<T>) -> Action<T> {
        self.add(sys::FERRY_ACTION, path, space)
    }

    /// Adds an entry of the info dict.
    pub fn info<T: ?Sized>(&mut self, key: &str, space: Space<T>) -> Info<T> {
        self.add(sys::FERRY_INFO, key, space)
    }

    /// Where to meet: a name, a path, `serve:WHERE`, `connect:WHERE` or `fd:N`. The variable `FERRY_ADDRESS` takes precedence; without
    /// an address it must be there.
    pub fn address(&mut self, address: &str) -> &mut Self {
        self.address = Some(address.to_owned());
        self
    }

    /// What people are shown; else the address.
    pub fn name(&mut self, name: &str) -> &mut Self {
        self.name = Some(name.to_owned());
        self
    }

    /// A map told to each agent, as JSON or MessagePack: "metadata", "spec", "spaces".
    pub fn about(&mut self, format: Format, map: &[u8]) -> &mut Self {
        self.about = Some((format, map.to_owned()));
        self
    }

    /// How many environments this is, stepped together.
    pub fn rows(&mut self, count: u32) -> &mut Self {
        self.num_rows = count;
        self
    }

    /// A world that cannot step some rows alone: a step is about all of them, always.
    pub fn rows_tick_together(&mut self) -> &mut Self {
        self.rows_tick_together = true;
        self
    }

    /// The library truncates an episode of so many steps.
    pub fn max_episode_steps(&mut self, count: u32) -> &mut Self {
        self.max_episode_steps = count;
        self
    }

    /// Turns of kind [`crate::Kind::Call`] may come.
    pub fn takes_calls(&mut self) -> &mut Self {
        self.takes_calls = true;
        self
    }

    /// In which format options and requests shall arrive: JSON, unless said otherwise, or MessagePack.
    pub fn blob_format(&mut self, format: Format) -> &mut Self {
        self.blob_format = format.code();
        self
    }

    /// Room in shared memory for a blob, each way; larger ones travel more slowly.
    pub fn blob_bytes(&mut self, count: u64) -> &mut Self {
        self.blob_bytes = count;
        self
    }

    /// Refuse to take more memory than this; else 1 GiB.
    pub fn max_bytes(&mut self, count: u64) -> &mut Self {
        self.max_bytes = count;
        self
    }

    /// Who gets the lines of the log, on the thread that uses the environment; else warnings go to standard error. It goes to the
    /// environment that is opened next. A panic in it goes no further than to the panic hook.
    pub fn log(&mut self, log: impl FnMut(Level, &str) + Send + 'static) -> &mut Self {
        self.log = Some(Box::new(log));
        self
    }

    /// Checks the description and takes the address. Waits for nobody.
    pub fn open(&mut self) -> Result<Env, Error> {
        let c_string =
            |text: &str| CString::new(text).map_err(|_| Error::new(ErrorKind::InvalidArgument, format!("{text:?} has a zero byte in it")));
        let optional = |text: &Option<String>| text.as_deref().map(c_string).transpose();
        let paths = self.fields.iter().map(|field| c_string(&field.path)).collect::<Result<Vec<_>, _>>()?;
        self.fields.iter().try_for_each(Field::checked)?;
        let fields: Vec<_> = self.fields.iter().zip(&paths).map(|(field, path)| field.to_c(path)).collect();
        let (address, name) = (optional(&self.address)?, optional(&self.name)?);
        let pointer = |text: &Option<CString>| text.as_ref().map_or(ptr::null(), |text| text.as_ptr());
        let about = self.about.as_ref().map_or(Blob::NONE, |(format, map)| Blob::of(*format, map));
        let desc = sys::ferry_env_desc {
            struct_size: size_of::<sys::ferry_env_desc>() as u32,
            num_rows: self.num_rows,
            address: pointer(&address),
            name: pointer(&name),
            fields: fields.as_ptr(),
            num_fields: fields.len() as u32,
            blob_format: self.blob_format,
            about,
            blob_bytes: self.blob_bytes,
            max_bytes: self.max_bytes,
            log: None,
            log_user: ptr::null_mut(),
            takes_calls: u32::from(self.takes_calls),
            max_episode_steps: self.max_episode_steps,
            rows_tick_together: u32::from(self.rows_tick_together),
            index: -1,
            realtime: 0,
            reserved: 0,
        };
        // SAFETY: it points at locals, and at what self owns.
        unsafe { Env::open(desc, &self.fields, self.log.take()) }
    }
}

/// Makes C's blobs.
pub(crate) struct Blob;

impl Blob {
    pub(crate) const NONE: sys::ferry_blob = sys::ferry_blob { data: ptr::null(), size_bytes: 0, format: sys::FERRY_NONE, reserved: 0 };

    pub(crate) fn of(format: Format, bytes: &[u8]) -> sys::ferry_blob {
        sys::ferry_blob { data: bytes.as_ptr().cast(), size_bytes: bytes.len() as u64, format: format.code(), reserved: 0 }
    }
}
