//! The floor of bench/engines/languages.py in Rust: see loop.c.

#[allow(dead_code)]
#[path = "../../../bindings/rust/examples/pole.rs"]
mod pole;

use std::hint::black_box;
use std::io::{stdin, stdout, BufRead, Write};
use std::time::Instant;

fn main() {
    let mut seen = [0f32; 4];
    for line in stdin().lock().lines() {
        let line = line.expect("text");
        let (seed, actions) = line.split_once(' ').expect("SEED ACTIONS");
        let mut pole = pole::Pole::default();
        pole.reset(seed.parse().ok(), None);
        let mut total = 0.0;
        let begun = Instant::now();
        for action in actions.bytes() {
            let down = pole.advance(if action == b'1' { 10.0 } else { -10.0 });
            seen = black_box(pole.state.map(|x| x as f32));
            total += if down { 0.0 } else { 1.0 };
        }
        println!("{} {total}", begun.elapsed().as_nanos());
        stdout().flush().expect("somebody reads");
    }
    black_box(seen);
}
