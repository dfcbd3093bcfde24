//! The environment's side: waits for turns, shows what lies in them, answers.
//!
//! Memory that the library lends is read and written through raw pointers, and lent on for no longer than the library promises: until
//! the answer. That rests on who borrows whom: a `Row` borrows its `Turn`, a `Turn` its `Env`, and an answer consumes the `Turn`.

use crate::error::{why, Error, ErrorKind};
use crate::spec::{role, Action, Answered, Element, Field, Info, Key, Level, Log, Observation};
use crate::sys;
use std::ffi::CStr;
use std::mem::{align_of, size_of};
use std::os::raw::{c_char, c_int, c_void};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr::{self, NonNull};
use std::time::Duration;

/// An open environment. Dropped, it says goodbye and gives up its address.
///
/// A game that needs several ticks for a step may drop the [`Turn`] unanswered and take it up again with [`Env::turn`].
pub struct Env {
    handle: NonNull<sys::ferry_env>,
    /// The turn that is to be answered, or null.
    turn: *const sys::ferry_turn,
    num_rows: u32,
    layout: Box<[Layout]>,
    _log: Option<Logger>,
}

/// What `log_user` points at. Declared last in `Env`, it outlives the handle, which may have something to say when it is closed.
struct Logger(*mut Log);

impl Drop for Logger {
    fn drop(&mut self) {
        // SAFETY: made of a Box, and nobody calls it any longer.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

// SAFETY: a handle may be used by any thread, by one at a time; it cannot be shared, for it is not Sync. The log is Send.
unsafe impl Send for Env {}

/// What a key is checked against, and how a row is cut into elements.
struct Layout {
    role: u8,
    dtype: u8,
    capacity: u32,
    num_elements: usize,
}

/// What [`Env::wait`] has met.
pub enum Event<'env> {
    /// The agent wants something.
    Turn(Turn<'env>),
    /// The agent is gone. The next may come.
    Left(Left),
    /// Nothing yet.
    NotYet,
}

/// How an agent has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// [`ErrorKind::Closed`], [`ErrorKind::PeerDead`], or the error that ended the connection.
    pub reason: ErrorKind,
    /// Its process; 0 if unknown.
    pub peer_pid: u32,
}

/// What the agent wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A step: actions are given; observations, reward and flags are wanted.
    Step,
    /// A new episode; seeds and options may be given.
    Reset,
    /// A request, in the blob; a blob is wanted. Only where the spec takes calls.
    Call,
}

/// What bytes beside the fields are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// UTF-8 text.
    Json,
    /// One value.
    MessagePack,
    /// UTF-8 text.
    Text,
    /// A pair of MessagePack: what the blob would be otherwise, and values of fields that do not lie in shared memory.
    Values,
}

impl Format {
    pub(crate) fn code(self) -> u32 {
        match self {
            Self::Json => sys::FERRY_JSON,
            Self::MessagePack => sys::FERRY_MSGPACK,
            Self::Text => sys::FERRY_TEXT,
            Self::Values => sys::FERRY_VALUES,
        }
    }

    fn from_code(code: u32) -> Option<Self> {
        [Self::Json, Self::MessagePack, Self::Text, Self::Values].into_iter().find(|format| format.code() == code)
    }
}

/// Bytes that ride on a turn: options or a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blob<'turn> {
    /// What they are.
    pub format: Format,
    /// As the agent sent them.
    pub bytes: &'turn [u8],
}

/// Runs on a stack of C, through which nothing may unwind.
unsafe extern "C" fn forward(user: *mut c_void, level: c_int, text: *const c_char) {
    let level = match level {
        sys::FERRY_LOG_DEBUG => Level::Debug,
        sys::FERRY_LOG_INFO => Level::Info,
        _ => Level::Warning,
    };
    // SAFETY: user is the log of Env::open, which nobody else uses, and text a string of the library's.
    let (log, text) = unsafe { (&mut *user.cast::<Log>(), CStr::from_ptr(text)) };
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| log(level, &text.to_string_lossy()))) {
        std::mem::forget(payload); // dropping it may panic, too
    }
}

impl Env {
    /// # Safety
    ///
    /// What desc points at must be there.
    pub(crate) unsafe fn open(mut desc: sys::ferry_env_desc, fields: &[Field], log: Option<Log>) -> Result<Self, Error> {
        let log = log.map(|log| Logger(Box::into_raw(Box::new(log))));
        if let Some(Logger(log)) = log {
            desc.log = Some(forward);
            desc.log_user = log.cast();
        }
        let mut handle = ptr::null_mut();
        let mut code = 0;
        // SAFETY: what desc points at is there, and the log lives as long as the handle.
        let text = why(|why| code = unsafe { sys::ferry_env_open(&desc, &mut handle, why) });
        let layout = fields.iter().map(|field| Layout {
            role: field.role,
            dtype: field.dtype,
            capacity: field.capacity,
            num_elements: field.num_elements(),
        });
        match NonNull::new(handle) {
            Some(handle) => Ok(Self { handle, turn: ptr::null(), num_rows: desc.num_rows.max(1), layout: layout.collect(), _log: log }),
            None => Err(Error::new(ErrorKind::from_code(code), text)),
        }
    }

    /// Waits for the agent's next turn, or for an agent; `None` for ever, `Duration::ZERO` not at all.
    ///
    /// While a turn is unanswered it looks whether the agent has left, and may not wait: [`ErrorKind::WrongState`].
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<Event<'_>, Error> {
        let timeout_ns = timeout.map_or(sys::FERRY_FOREVER, |time| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX));
        let mut turn = ptr::null();
        // SAFETY: the handle is open.
        let got = unsafe { sys::ferry_env_wait(self.handle.as_ptr(), timeout_ns, &mut turn) };
        if got == 0 {
            return Ok(Event::NotYet);
        }
        if got < 0 {
            if got != sys::FERRY_ESTATE {
                self.turn = ptr::null();
            }
            return Err(self.error(got));
        }
        // SAFETY: the library shows a turn, which lives until the answer.
        let kind = unsafe { (*turn).kind };
        if kind == sys::FERRY_LEFT {
            self.turn = ptr::null();
            // SAFETY: as above.
            let (reason, peer_pid) = unsafe { ((*turn).reason, (*turn).peer_pid) };
            return Ok(Event::Left(Left { reason: ErrorKind::from_code(reason), peer_pid }));
        }
        self.turn = turn;
        Ok(Event::Turn(Turn { env: self, next: 0 }))
    }

    /// The turn that was taken and is not answered yet.
    pub fn turn(&mut self) -> Option<Turn<'_>> {
        if self.turn.is_null() {
            None
        } else {
            Some(Turn { env: self, next: 0 })
        }
    }

    /// Whom it waits for and since when, or what went wrong last.
    pub fn why(&self) -> String {
        // SAFETY: the handle is open.
        why(|why| unsafe { sys::ferry_env_why(self.handle.as_ptr(), why) })
    }

    fn error(&self, code: c_int) -> Error {
        // SAFETY: the handle is open.
        Error::from_why(code, |why| unsafe { sys::ferry_env_why(self.handle.as_ptr(), why) })
    }

    fn check(&self, code: c_int) -> Result<(), Error> {
        if code < 0 {
            Err(self.error(code))
        } else {
            Ok(())
        }
    }
}

impl Drop for Env {
    fn drop(&mut self) {
        // SAFETY: nothing of the handle is lent any longer.
        unsafe { sys::ferry_env_close(self.handle.as_ptr()) }
    }
}

/// What the agent wants, and room for the answer. Dropped, it is not answered: [`Env::turn`] has it again.
///
/// It does not outlive its environment:
///
/// ```compile_fail,E0505
/// fn keep(mut env: ferry::Env) {
///     let turn = env.turn();
///     drop(env);
///     turn.map(|turn| turn.reply());
/// }
/// ```
///
/// nor the next wait:
///
/// ```compile_fail,E0499
/// fn keep(env: &mut ferry::Env) {
///     let turn = env.turn();
///     let _ = env.wait(None);
///     turn.map(|turn| turn.reply());
/// }
/// ```
///
/// It is answered once, after which its memory is not to be seen:
///
/// ```compile_fail,E0382
/// fn answer(turn: ferry::Turn) {
///     let _ = turn.reply();
///     let _ = turn.reply();
/// }
/// ```
///
/// ```compile_fail,E0505
/// fn peek(mut turn: ferry::Turn, push: ferry::Action<i64>) -> i64 {
///     let pushed = turn.row(0).action(push);
///     let _ = turn.reply();
///     pushed[0]
/// }
/// ```
///
/// Actions are the agent's to write:
///
/// ```compile_fail,E0308
/// fn forge(mut turn: ferry::Turn, push: ferry::Action<i64>) {
///     turn.row(0).observation(push)[0] = 1;
/// }
/// ```
#[must_use = "the agent waits for an answer"]
pub struct Turn<'env> {
    env: &'env mut Env,
    /// Index of the row that `next_row` gives.
    next: u32,
}

impl Turn<'_> {
    fn c(&self) -> *const sys::ferry_turn {
        self.env.turn
    }

    /// What is wanted.
    pub fn kind(&self) -> Kind {
        // SAFETY: here and below, the turn is unanswered, so that its memory is lent to us.
        match unsafe { (*self.c()).kind } {
            sys::FERRY_RESET => Kind::Reset,
            sys::FERRY_CALL => Kind::Call,
            _ => Kind::Step,
        }
    }

    /// Counts the channel's turns, from 1.
    pub fn number(&self) -> u64 {
        unsafe { (*self.c()).number }
    }

    /// The agent's process; 0 if unknown.
    pub fn peer_pid(&self) -> u32 {
        unsafe { (*self.c()).peer_pid }
    }

    /// Options of a reset, or the request of a call.
    pub fn blob(&self) -> Option<Blob<'_>> {
        // SAFETY: so many bytes lie there until the answer, which consumes self.
        let blob = unsafe { (*self.c()).blob };
        let format = Format::from_code(blob.format)?;
        let bytes = match blob.size_bytes {
            0 => &[],
            count => unsafe { std::slice::from_raw_parts(blob.data.cast(), count as usize) },
        };
        Some(Blob { format, bytes })
    }

    /// How many rows the turn is about.
    pub fn num_rows(&self) -> u32 {
        unsafe { (*self.c()).num_rows }
    }

    /// One after the other the rows that the turn is about: `while let Some(mut row) = turn.next_row()`.
    pub fn next_row(&mut self) -> Option<Row<'_>> {
        if self.next == self.num_rows() {
            return None;
        }
        // SAFETY: the list has num_rows numbers.
        let number = unsafe { *(*self.c()).rows.add(self.next as usize) };
        self.next += 1;
        Some(self.row(number))
    }

    /// A row by its number; 0, where there is only one.
    ///
    /// # Panics
    ///
    /// If the environment has no such row.
    pub fn row(&mut self, number: u32) -> Row<'_> {
        assert!(number < self.env.num_rows, "there is no row {number}: the environment has {}", self.env.num_rows);
        Row { turn: self.c(), layout: &self.env.layout, number: number as usize }
    }

    /// Gives bytes along with the answer: of a reset or step the info, a map; of a call what it returns. The map of an environment with
    /// more than one row is from numbers of rows to infos.
    pub fn attach(&mut self, format: Format, bytes: &[u8]) -> Result<(), Error> {
        let blob = crate::spec::Blob::of(format, bytes);
        // SAFETY: it is copied at once.
        let code = unsafe { sys::ferry_env_blob(self.env.handle.as_ptr(), &blob) };
        self.env.check(code)
    }

    /// Publishes the answer. Waits for nobody, and does not mind if the agent has left.
    pub fn reply(self) -> Result<(), Error> {
        self.env.turn = ptr::null();
        // SAFETY: the handle is open.
        let code = unsafe { sys::ferry_env_reply(self.env.handle.as_ptr()) };
        self.env.check(code)
    }

    /// Answers that it has failed, and why. The agent must reset next; after a call it goes on.
    pub fn fail(mut self, text: &str) -> Result<(), Error> {
        self.attach(Format::Text, text.as_bytes())?; // which, unlike a string of C's, needs no zero at its end
        self.env.turn = ptr::null();
        // SAFETY: the handle is open, and NULL stands for the blob.
        let code = unsafe { sys::ferry_env_fail(self.env.handle.as_ptr(), ptr::null()) };
        self.env.check(code)
    }
}

/// One environment of those that are stepped together: what the agent gave it, and room for its answer.
///
/// All that take a key panic if it is of another spec, where the field has another type or role.
pub struct Row<'turn> {
    turn: *const sys::ferry_turn,
    layout: &'turn [Layout],
    number: usize,
}

impl<'turn> Row<'turn> {
    /// Which it is.
    pub fn number(&self) -> u32 {
        self.number as u32
    }

    /// The seed that a reset was given.
    pub fn seed(&self) -> Option<u64> {
        // SAFETY: here and below, arrays by row have an element for each row of the environment, which number is one of.
        u64::try_from(unsafe { *(*self.turn).seed.add(self.number) }).ok()
    }

    /// How many resets there have been.
    pub fn episode(&self) -> u64 {
        unsafe { *(*self.turn).episode.add(self.number) }
    }

    /// The reward of a step; 0 unless it is set.
    pub fn set_reward(&mut self, reward: f64) {
        unsafe { *(*self.turn).reward.add(self.number) = reward }
    }

    /// Whether the step has brought the episode to its end; false unless it is set.
    pub fn set_terminated(&mut self, terminated: bool) {
        unsafe { *(*self.turn).terminated.add(self.number) = u8::from(terminated) }
    }

    /// Whether the episode is broken off; false unless it is set.
    pub fn set_truncated(&mut self, truncated: bool) {
        unsafe { *(*self.turn).truncated.add(self.number) = u8::from(truncated) }
    }

    /// An action, checked by the library: a Discrete is one of its numbers, a Box lies within its bounds.
    pub fn action<T: Element>(&self, key: Action<T>) -> &'turn [T] {
        let layout = self.field(key, sys::FERRY_ACTION, T::DTYPE, false);
        // SAFETY: the field has so many elements of this type, in private memory that nobody writes to until the answer.
        unsafe { std::slice::from_raw_parts(self.data(key), layout.num_elements) }
    }

    /// Room for an observation. It holds what was written two turns ago: fill it whole.
    pub fn observation<T: Element>(&mut self, key: Observation<T>) -> &mut [T] {
        let layout = self.field(key, sys::FERRY_OBSERVATION, T::DTYPE, false);
        // SAFETY: as above, and by contract the agent does not write there. If it did, numbers would be wrong, and no more than that.
        unsafe { std::slice::from_raw_parts_mut(self.data(key), layout.num_elements) }
    }

    /// Room for an entry of the info dict, which is given by asking for it.
    pub fn info<T: Element>(&mut self, key: Info<T>) -> &mut [T] {
        let layout = self.field(key, sys::FERRY_INFO, T::DTYPE, false);
        self.set_present(key.field, sys::FERRY_INFO);
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.data(key), layout.num_elements) }
    }

    /// The elements of a Sequence, one after the other; `None` if they are too many for shared memory, and travel in the blob.
    pub fn action_list<T: Element>(&self, key: Action<[T]>) -> Option<&'turn [T]> {
        let layout = self.field(key, sys::FERRY_ACTION, T::DTYPE, true);
        // SAFETY: the list begins with a head, which the library has checked; its elements follow.
        unsafe {
            let head = self.data::<_, _, sys::ferry_list>(key);
            let count = (*head).count;
            if count == sys::FERRY_IN_BLOB {
                return None;
            }
            let count = count.min(layout.capacity) as usize * layout.num_elements;
            Some(std::slice::from_raw_parts(head.add(1).cast(), count))
        }
    }

    /// The text of an action; `None` if it is too long for shared memory, or no UTF-8.
    pub fn action_text(&self, key: Action<str>) -> Option<&'turn str> {
        let bytes = Key::<role::Action, [u8]>::at(key.field);
        std::str::from_utf8(self.action_list(bytes)?).ok()
    }

    /// Sets the elements of a Sequence, of an observation or info.
    ///
    /// # Panics
    ///
    /// If they are no whole number of elements, or more than the capacity.
    pub fn set_list<R: Answered, T: Element>(&mut self, key: Key<R, [T]>, elements: &[T]) {
        let role = self.layout[key.field as usize].role;
        assert!(role != sys::FERRY_ACTION, "field {} is an action, which the agent sets", key.field);
        let layout = self.field(key, role, T::DTYPE, true);
        let count = elements.len() / layout.num_elements.max(1);
        assert!(
            count <= layout.capacity as usize && count * layout.num_elements == elements.len(),
            "field {} has room for {} elements of {} numbers, not for {} numbers",
            key.field,
            layout.capacity,
            layout.num_elements,
            elements.len()
        );
        self.set_present(key.field, role);
        // SAFETY: there is room for a head and as many elements as the capacity says.
        unsafe {
            let head = self.data::<_, _, sys::ferry_list>(key);
            ptr::copy_nonoverlapping(elements.as_ptr(), head.add(1).cast(), elements.len());
            (*head).count = count as u32;
        }
    }

    /// Sets the text of an observation or info.
    ///
    /// # Panics
    ///
    /// If it has more bytes than the capacity.
    pub fn set_text<R: Answered>(&mut self, key: Key<R, str>, text: &str) {
        self.set_list(Key::<R, [u8]>::at(key.field), text.as_bytes());
    }

    /// What a key names, if it may be seen as that.
    fn field<R, T: ?Sized>(&self, key: Key<R, T>, role: u8, dtype: u8, is_list: bool) -> &'turn Layout {
        let layout = &self.layout[key.field as usize];
        assert!(
            layout.role == role && layout.dtype == dtype && (layout.capacity > 0) == is_list,
            "the key of field {} belongs to another spec",
            key.field
        );
        layout
    }

    fn set_present(&mut self, field: u32, role: u8) {
        if role == sys::FERRY_INFO {
            // SAFETY: infos have a column of presence.
            unsafe { *(*(*self.turn).present.add(field as usize)).add(self.number) = 1 }
        }
    }

    /// Where the row of a field begins.
    fn data<R, T: ?Sized, E>(&self, key: Key<R, T>) -> *mut E {
        // SAFETY: arrays by field have an element for each, and there are as many of Layout; rows are a stride apart.
        let at = unsafe {
            let field = key.field as usize;
            (*(*self.turn).data.add(field)).cast::<u8>().add(*(*self.turn).stride.add(field) as usize * self.number)
        };
        debug_assert!(at as usize % align_of::<E>() == 0 && size_of::<E>() > 0);
        at.cast()
    }
}
