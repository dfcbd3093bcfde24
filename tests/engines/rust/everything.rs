//! An environment with one of every kind of field, which shows the agent what it was given. An argument has it misbehave: "leak" allocates
//! in each step, "panic" panics in the log.
#![deny(warnings)]

use ferry::{Env, Error, ErrorKind, Event, Format, Kind, Level, Space, Spec};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts allocations.
struct Counter;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: the system's, and a number.
unsafe impl GlobalAlloc for Counter {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        System.alloc(layout)
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        System.dealloc(at, layout);
    }
}

#[global_allocator]
static COUNTER: Counter = Counter;

/// The tenth step is the first that counts.
const WARM_UP: u64 = 10;

/// What the safe part answers to misuse, in words.
fn misuse(env: &mut Env) -> String {
    let waiting = match env.wait(Some(Duration::from_millis(1))) {
        Err(error) => error.kind() == ErrorKind::WrongState && error.to_string() == env.why(),
        Ok(_) => false,
    };
    let looking = matches!(env.wait(Some(Duration::ZERO)), Ok(Event::NotYet));
    let mut other = Spec::new();
    let wrong = other.action("", Space::<f64>::any(&[2]));
    let mut turn = env.turn().expect("it was dropped unanswered");
    let key = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| turn.row(0).action(wrong).len())).is_err();
    let row = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| turn.row(1).number())).is_err();
    format!("{{\"waiting\": {waiting}, \"looking\": {looking}, \"key\": {key}, \"row\": {row}}}")
}

fn play(mode: &str) -> Result<(), Error> {
    let mut spec = Spec::new();
    let numbers = Space::<f32>::within(-1.0, 1.0, &[2]).up_to(4);
    let seen_numbers = spec.observation("numbers", numbers.clone());
    let seen_word = spec.observation("word", Space::text(16));
    let seen_bits = spec.observation("bits", Space::multi_binary(&[3]));
    let seen_pair = spec.observation("pair", Space::multi_discrete(&[3, 5]));
    let nothing = spec.observation("nothing", Space::<f64>::within(0.0, 0.0, &[2]));
    let picture = spec.observation("picture", Space::<u8>::any(&[4, 2]));
    let given_numbers = spec.action("numbers", numbers);
    let given_word = spec.action("word", Space::text(16));
    let given_bits = spec.action("bits", Space::multi_binary(&[3]));
    let given_pair = spec.action("pair", Space::multi_discrete(&[3, 5]));
    let count = spec.info("count", Space::<u32>::any(&[]));
    let panics = mode == "panic";
    let mut env = spec
        .takes_calls()
        .log(move |level, text| {
            assert!(!panics, "the log has had enough");
            println!("{} {text}", if level == Level::Warning { "warning:" } else { "log:" });
        })
        .open()?;
    let (mut steps, mut begun, mut leaks) = (0u32, 0u64, Vec::new());
    loop {
        let mut turn = match env.wait(None)? {
            Event::Turn(turn) => turn,
            Event::Left(left) => {
                println!("left: {:?}, {} allocations since step {WARM_UP} of {steps}", left.reason, ALLOCATIONS.load(Ordering::Relaxed) - begun);
                continue;
            }
            Event::NotYet => continue,
        };
        if turn.kind() == Kind::Call {
            let request = turn.blob().map_or(Vec::new(), |blob| blob.bytes.to_vec());
            drop(turn);
            let answer = if String::from_utf8_lossy(&request).contains("misuse") { misuse(&mut env).into_bytes() } else { request };
            let mut turn = env.turn().expect("it was dropped unanswered");
            turn.attach(Format::Json, &answer)?;
            turn.reply()?;
            continue;
        }
        let is_step = turn.kind() == Kind::Step;
        let mut row = turn.row(0);
        if is_step {
            steps += 1;
            if mode == "leak" {
                leaks.push(Box::new(steps));
            }
            row.set_list(seen_numbers, row.action_list(given_numbers).unwrap_or(&[]));
            row.set_text(seen_word, row.action_text(given_word).unwrap_or("too long"));
            let (bits, pair) = (row.action(given_bits), row.action(given_pair));
            row.observation(seen_bits).copy_from_slice(bits);
            row.observation(seen_pair).copy_from_slice(pair);
            row.info(count)[0] = steps;
            if u64::from(steps) == WARM_UP {
                begun = ALLOCATIONS.load(Ordering::Relaxed);
            }
        } else {
            steps = 0;
            row.set_list(seen_numbers, &[]);
            row.set_text(seen_word, "");
            row.observation(seen_bits).fill(0);
            row.observation(seen_pair).fill(0);
        }
        row.observation(nothing).fill(0.0);
        for (i, pixel) in row.observation(picture).iter_mut().enumerate() {
            *pixel = i as u8;
        }
        turn.reply()?;
    }
}

fn main() {
    if let Err(error) = play(&std::env::args().nth(1).unwrap_or_default()) {
        println!("{:?}: {error}", error.kind());
    }
}
