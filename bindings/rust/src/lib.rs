//! Serve an environment to agents that speak the Gymnasium API, through shared memory.
//!
//! A [`Spec`] says what the environment is made of and opens an [`Env`]; [`Env::wait`] gives turns; a [`Turn`] is answered with
//! [`Turn::reply`]. Observations are written in place, into the memory that the agent reads.
//!
//! ```no_run
//! use ferry::{Event, Kind, Space, Spec};
//!
//! fn main() -> Result<(), ferry::Error> {
//!     let mut spec = Spec::new();
//!     let position = spec.observation("", Space::<f32>::within(-10.0, 10.0, &[1]));
//!     let walk = spec.action("", Space::discrete(3).starting_at(-1));
//!     let mut env = spec.address("walk").open()?;
//!     let mut x = 0.0;
//!     loop {
//!         if let Event::Turn(mut turn) = env.wait(None)? {
//!             let reset = turn.kind() == Kind::Reset;
//!             let mut row = turn.row(0);
//!             x = if reset { 0.0 } else { x + row.action(walk)[0] as f32 };
//!             row.observation(position)[0] = x;
//!             row.set_reward(if x >= 10.0 { 1.0 } else { 0.0 });
//!             row.set_terminated(x.abs() >= 10.0);
//!             turn.reply()?;
//!         }
//!     }
//! }
//! ```
//!
//! What the compiler holds: a turn cannot outlive its environment or the next wait, is answered at most once, and its memory is not
//! seen after the answer; actions cannot be written, elements have the type that the spec gave them. No step allocates.
//!
//! The agent's side, and what else is not here, is in [`sys`].

#![deny(unsafe_op_in_unsafe_fn)]
#![warn(missing_docs)]

mod env;
mod error;
mod spec;
#[allow(missing_docs)]
pub mod sys;

pub use env::{Blob, Env, Event, Format, Kind, Left, Row, Turn};
pub use error::{Error, ErrorKind};
pub use spec::{Action, Element, Info, Key, Level, Observation, Space, Spec};
