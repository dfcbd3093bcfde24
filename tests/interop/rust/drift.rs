//! The scenario of tests/interop/README.md in Rust.
#![deny(warnings)]

use ferry::{Error, Event, Format, Kind, Space, Spec};

fn play() -> Result<(), Error> {
    let mut spec = Spec::new();
    let position = spec.observation("position", Space::<f32>::within(-10.0, 10.0, &[2]));
    let counted = spec.observation("ticks", Space::discrete(101));
    let moved = spec.action("move", Space::discrete(3).starting_at(-1));
    let pushed = spec.action("push", Space::<f32>::within(-1.0, 1.0, &[2]));
    let energy = spec.info("energy", Space::<f64>::within(0.0, f64::INFINITY, &[]));
    let mut env = spec.open()?;
    let (mut x, mut y, mut ticks) = (0f32, 0f32, 0i64);
    loop {
        let mut turn = match env.wait(None)? {
            Event::Turn(turn) => turn,
            Event::Left(_) | Event::NotYet => continue,
        };
        if turn.kind() == Kind::Reset {
            if turn.blob().map_or(false, |options| options.bytes.len() > "{}".len()) {
                turn.fail("drift takes no options")?;
                continue;
            }
            ticks = 0;
            (x, y) = match turn.row(0).seed() {
                Some(seed) => ((seed % 7) as f32 - 3.0, (seed % 5) as f32 - 2.0),
                None => (0.0, 0.0),
            };
            turn.attach(Format::Json, br#"{"language": "rust"}"#)?;
        } else {
            let mut row = turn.row(0);
            let push = row.action(pushed);
            x += 0.5 * row.action(moved)[0] as f32 + push[0];
            y += push[1];
            ticks += 1;
            row.set_terminated(x.abs() > 8.0 || y.abs() > 8.0);
            row.set_truncated(ticks == 100);
            row.set_reward(-(f64::from(x.abs()) + f64::from(y.abs())));
        }
        let mut row = turn.row(0);
        row.observation(position).copy_from_slice(&[x, y]);
        row.observation(counted)[0] = ticks;
        row.info(energy)[0] = f64::from(x) * f64::from(x) + f64::from(y) * f64::from(y);
        turn.reply()?;
    }
}

fn main() {
    if let Err(error) = play() {
        eprintln!("drift: {error}");
        std::process::exit(1);
    }
}
